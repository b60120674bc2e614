/*
 * loop/linux.c - what Linux has of its own, waiting apart (epoll.c)
 */
#include "loop/system.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "loop/sigpipe.h"
#include "loop/socket.h"
#include "loop/udp.h"

int ed_system_socket(int family, int type)
{
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

int ed_system_accept(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int ed_system_socketpair(int ends[2])
{
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    return socketpair(AF_UNIX, type, 0, ends) ? -errno : 0;
}

int ed_system_pipe(int ends[2])
{
    return pipe2(ends, O_CLOEXEC) ? -errno : 0;
}

void ed_system_adopt(int socket)
{
    (void)socket;
}

int64_t ed_system_send(int socket, const void *data, size_t size)
{
    ssize_t sent = send(socket, data, size, MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

int64_t ed_system_send_message(int socket, const struct msghdr *message)
{
    ssize_t sent = sendmsg(socket, message, MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

int64_t ed_system_receive_message(int socket, struct msghdr *message)
{
    ssize_t received = recvmsg(socket, message, MSG_CMSG_CLOEXEC);
    return received < 0 ? -errno : received;
}

int64_t ed_system_send_file(int fd, int file, uint64_t offset, uint64_t size)
{
    off_t from = (off_t)offset;
    struct ed_sigpipe sigpipe;
    ed_sigpipe_hold(&sigpipe);
    ssize_t sent = sendfile(fd, file, &from, (size_t)size);
    int64_t result = sent < 0 ? -errno : sent;
    // What was sent before the pipe broke hides the error, not the signal.
    ed_sigpipe_release(&sigpipe, result < (int64_t)size);
    // Some files have no pages to pass on, and some kernels no way into a
    // terminal or pipe.
    return result == -EINVAL || result == -ENOSYS ? -ENOTSUP : result;
}

int ed_system_keep_alive(int socket, unsigned idle_s, unsigned interval_s,
                         unsigned count)
{
    int err = ed_socket_option(socket, SOL_SOCKET, SO_KEEPALIVE, idle_s > 0);
    if (err || !idle_s)
        return err;
    err = ed_socket_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, (int)idle_s);
    if (!err)
        err = ed_socket_option(socket, IPPROTO_TCP, TCP_KEEPINTVL,
                               (int)interval_s);
    if (!err)
        err = ed_socket_option(socket, IPPROTO_TCP, TCP_KEEPCNT, (int)count);
    return err;
}

/* ---- datagrams ----------------------------------------------------------- */

int ed_system_share(int socket)
{
    return ed_socket_option(socket, SOL_SOCKET, SO_REUSEADDR, 1);
}

int ed_system_balance(int socket)
{
    return ed_socket_option(socket, SOL_SOCKET, SO_REUSEPORT, 1);
}

int64_t ed_system_receive_many(int socket, struct ed_datagram *datagrams,
                               size_t count, int *error)
{
    struct mmsghdr messages[ED_SYSTEM_MANY];
    struct iovec parts[ED_SYSTEM_MANY];
    if (count > ED_SYSTEM_MANY)
        count = ED_SYSTEM_MANY;
    for (size_t i = 0; i < count; i++) {
        struct ed_datagram *datagram = &datagrams[i];
        parts[i] = (struct iovec){datagram->data, datagram->size};
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = &datagram->peer.socket,
            .msg_namelen = sizeof datagram->peer.socket,
            .msg_iov = &parts[i],
            .msg_iovlen = 1,
        };
    }

    *error = 0; // The system keeps it for the next call.
    int received;
    do
        received = recvmmsg(socket, messages, (unsigned)count, 0, NULL);
    while (received < 0 && errno == EINTR);
    if (received < 0)
        return -errno;

    for (int i = 0; i < received; i++) {
        const struct msghdr *header = &messages[i].msg_hdr;
        datagrams[i].size = messages[i].msg_len;
        datagrams[i].peer.size = header->msg_namelen;
        datagrams[i].is_truncated = header->msg_flags & MSG_TRUNC;
    }
    return received;
}

int64_t ed_system_send_many(int socket, int family,
                            const struct ed_datagram *datagrams, size_t count)
{
    (void)family; // An IPv6 socket takes IPv4 addresses as they are.
    struct mmsghdr messages[ED_SYSTEM_MANY];
    struct iovec parts[ED_SYSTEM_MANY];
    if (count > ED_SYSTEM_MANY)
        count = ED_SYSTEM_MANY;
    for (size_t i = 0; i < count; i++) {
        const struct ed_datagram *datagram = &datagrams[i];
        const struct ed_address *peer = &datagram->peer;
        parts[i] = (struct iovec){datagram->data, datagram->size};
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = peer->size ? (void *)&peer->socket : NULL,
            .msg_namelen = peer->size,
            .msg_iov = &parts[i],
            .msg_iovlen = 1,
        };
    }

    int sent;
    do
        sent = sendmmsg(socket, messages, (unsigned)count, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

static int multicast_level(const struct ed_address *group)
{
    return group->socket.any.sa_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
}

static int change_group(int socket, int change, const struct ed_address *group,
                        unsigned interface)
{
    struct group_req request = {.gr_interface = interface};
    memcpy(&request.gr_group, &group->socket, group->size);
    return setsockopt(socket, multicast_level(group), change, &request,
                      sizeof request)
               ? -errno
               : 0;
}

static int change_source(int socket, int change, const struct ed_address *group,
                         const struct ed_address *source, unsigned interface)
{
    struct group_source_req request = {.gsr_interface = interface};
    memcpy(&request.gsr_group, &group->socket, group->size);
    memcpy(&request.gsr_source, &source->socket, source->size);
    return setsockopt(socket, multicast_level(group), change, &request,
                      sizeof request)
               ? -errno
               : 0;
}

int ed_system_join(int socket, const struct ed_address *group,
                   const struct ed_address *source, unsigned interface)
{
    return source ? change_source(socket, MCAST_JOIN_SOURCE_GROUP, group,
                                  source, interface)
                  : change_group(socket, MCAST_JOIN_GROUP, group, interface);
}

int ed_system_leave(int socket, const struct ed_address *group,
                    const struct ed_address *source, unsigned interface)
{
    return source ? change_source(socket, MCAST_LEAVE_SOURCE_GROUP, group,
                                  source, interface)
                  : change_group(socket, MCAST_LEAVE_GROUP, group, interface);
}

int ed_system_multicast_interface(int socket, unsigned interface)
{
    struct ip_mreqn request = {.imr_ifindex = (int)interface};
    return setsockopt(socket, IPPROTO_IP, IP_MULTICAST_IF, &request,
                      sizeof request)
               ? -errno
               : 0;
}

/* ---- child processes ----------------------------------------------------- */

int ed_system_disown(int socket)
{
    int flags = fcntl(socket, F_GETFL);
    return flags < 0 || fcntl(socket, F_SETFL, flags & ~O_NONBLOCK) ? -errno
                                                                    : 0;
}

char **ed_system_environment(void)
{
    return environ;
}

/*
 * These sanitizers keep books on each thread and on signal handlers, in which a
 * child that shares the memory would write.
 */
#if defined __SANITIZE_THREAD__
#define NEEDS_MEMORY_OF_ITS_OWN
#elif defined __has_feature
#if __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define NEEDS_MEMORY_OF_ITS_OWN
#endif
#endif

#ifdef NEEDS_MEMORY_OF_ITS_OWN

pid_t ed_system_fork_quickly(ed_system_main_fn *fn, void *context)
{
    (void)fn;
    (void)context;
    return -ENOTSUP;
}

#else

/* As vfork(), but the child has a stack of its own to spoil. */
pid_t ed_system_fork_quickly(ed_system_main_fn *fn, void *context)
{
    _Alignas(16) char stack[32 * 1024];
    pid_t pid = clone(fn, stack + sizeof stack,
                      CLONE_VM | CLONE_VFORK | SIGCHLD, context);
    return pid < 0 ? -errno : pid;
}

#endif

/*
 * By the system call itself: nobody else, in whose memory the child may be,
 * need know. An all-zero action is the default, however the kernel lays it out.
 * From 32 on to SIGRTMIN the signals are the C library's.
 */
void ed_system_reset_signals(void)
{
    static const unsigned char action[64];
    for (int number = 1; number < _NSIG; number++)
        if (number < 32 || number >= SIGRTMIN)
            (void)syscall(SYS_rt_sigaction, number, action, NULL,
                          (size_t)(_NSIG / 8));
}

/* What getdents64() returns. */
struct directory_entry {
    uint64_t inode;
    int64_t offset;
    unsigned short size;
    unsigned char type;
    char name[];
};

static void mark_close_on_exec(const char *name, int first)
{
    int fd = 0;
    for (; *name >= '0' && *name <= '9'; name++)
        fd = fd * 10 + (*name - '0');
    if (fd >= first)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* Returns whether it could. */
static bool mark_listed(int first)
{
    _Alignas(8) char buffer[1024];
    int directory = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return false;
    long size;
    while ((size = syscall(SYS_getdents64, directory, buffer, sizeof buffer)) >
           0) {
        const struct directory_entry *entry;
        for (long at = 0; at < size; at += entry->size) {
            entry = (const struct directory_entry *)&buffer[at];
            mark_close_on_exec(entry->name, first);
        }
    }
    close(directory);
    return size == 0;
}

/* Before Linux 5.11, and where it is forbidden, the second or third way. */
void ed_system_close_others(int first, int last)
{
#if defined SYS_close_range && defined CLOSE_RANGE_CLOEXEC
    if (syscall(SYS_close_range, first, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return;
#endif
    if (mark_listed(first))
        return;
    for (int fd = first; fd <= last; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}
