/*
 * loop/posix.c - what every system has, waiting apart (kqueue.c)
 *
 * Flags are set in a second call. A child that another thread starts in between
 * would inherit the descriptor; those that eddy starts close what is not meant
 * for them.
 */
#include "loop/system.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#ifdef __APPLE__
#include <crt_externs.h>
#endif

#include "loop/socket.h"
#include "loop/udp.h"

#ifdef MSG_NOSIGNAL
enum { SEND_FLAGS = MSG_NOSIGNAL };
#else
enum { SEND_FLAGS = 0 };
#endif

static int prepare(int fd, bool is_socket)
{
    int flags = is_socket ? fcntl(fd, F_GETFL) : 0;
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) || flags < 0 ||
        (is_socket && fcntl(fd, F_SETFL, flags | O_NONBLOCK)))
        return -errno;
    if (is_socket)
        ed_system_adopt(fd);
    return 0;
}

/* Of what socket() and accept() return. -errno: nothing is left open. */
static int prepared_socket(int fd)
{
    if (fd < 0)
        return -errno;
    int err = prepare(fd, true);
    if (!err)
        return fd;
    close(fd);
    return err;
}

static int prepared_ends(int ends[2], bool are_sockets)
{
    int err = prepare(ends[0], are_sockets);
    if (!err)
        err = prepare(ends[1], are_sockets);
    if (!err)
        return 0;
    close(ends[0]);
    close(ends[1]);
    return err;
}

int ed_system_socket(int family, int type)
{
    return prepared_socket(socket(family, type, 0));
}

int ed_system_accept(int listener)
{
    return prepared_socket(accept(listener, NULL, NULL));
}

int ed_system_socketpair(int ends[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
        return -errno;
    return prepared_ends(ends, true);
}

int ed_system_pipe(int ends[2])
{
    if (pipe(ends))
        return -errno;
    return prepared_ends(ends, false);
}

void ed_system_adopt(int socket)
{
#ifdef SO_NOSIGPIPE
    // Fails for what is no socket.
    (void)setsockopt(socket, SOL_SOCKET, SO_NOSIGPIPE, &(int){1}, sizeof(int));
#else
    (void)socket;
#endif
}

int64_t ed_system_send(int socket, const void *data, size_t size)
{
    ssize_t sent = send(socket, data, size, SEND_FLAGS);
    return sent < 0 ? -errno : sent;
}

int64_t ed_system_send_message(int socket, const struct msghdr *message)
{
    ssize_t sent = sendmsg(socket, message, SEND_FLAGS);
    return sent < 0 ? -errno : sent;
}

static void set_close_on_exec(struct msghdr *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part;
         part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
            (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        }
    }
}

int64_t ed_system_receive_message(int socket, struct msghdr *message)
{
    ssize_t received = recvmsg(socket, message, 0);
    if (received < 0)
        return -errno;
    set_close_on_exec(message);
    return received;
}

/* Where there is a call for it, its arguments differ from system to system. */
int64_t ed_system_send_file(int fd, int file, uint64_t offset, uint64_t size)
{
    (void)fd;
    (void)file;
    (void)offset;
    (void)size;
    return -ENOTSUP;
}

/* What a system cannot be told it decides itself. */
int ed_system_keep_alive(int socket, unsigned idle_s, unsigned interval_s,
                         unsigned count)
{
    int err = ed_socket_option(socket, SOL_SOCKET, SO_KEEPALIVE, idle_s > 0);
    if (err || !idle_s)
        return err;
#if defined TCP_KEEPIDLE
    err = ed_socket_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, (int)idle_s);
#elif defined TCP_KEEPALIVE
    err = ed_socket_option(socket, IPPROTO_TCP, TCP_KEEPALIVE, (int)idle_s);
#endif
#ifdef TCP_KEEPINTVL
    if (!err)
        err = ed_socket_option(socket, IPPROTO_TCP, TCP_KEEPINTVL,
                               (int)interval_s);
#endif
#ifdef TCP_KEEPCNT
    if (!err)
        err = ed_socket_option(socket, IPPROTO_TCP, TCP_KEEPCNT, (int)count);
#endif
    (void)interval_s;
    (void)count;
    return err;
}

/* ---- datagrams ----------------------------------------------------------- */

int ed_system_share(int socket)
{
    // BSD shares with those alone that have SO_REUSEPORT, too.
    int err = ed_socket_option(socket, SOL_SOCKET, SO_REUSEADDR, 1);
    return err ? err : ed_socket_option(socket, SOL_SOCKET, SO_REUSEPORT, 1);
}

int ed_system_balance(int socket)
{
#ifdef SO_REUSEPORT_LB
    return ed_socket_option(socket, SOL_SOCKET, SO_REUSEPORT_LB, 1);
#else
    return ed_socket_option(socket, SOL_SOCKET, SO_REUSEPORT, 1);
#endif
}

static int receive_one(int socket, struct ed_datagram *datagram)
{
    struct iovec part = {datagram->data, datagram->size};
    struct msghdr message = {
        .msg_name = &datagram->peer.socket,
        .msg_namelen = sizeof datagram->peer.socket,
        .msg_iov = &part,
        .msg_iovlen = 1,
    };
    ssize_t received;
    do
        received = recvmsg(socket, &message, 0);
    while (received < 0 && errno == EINTR);
    if (received < 0)
        return -errno;
    datagram->size = (size_t)received;
    datagram->peer.size = message.msg_namelen;
    datagram->is_truncated = message.msg_flags & MSG_TRUNC;
    return 0;
}

int64_t ed_system_receive_many(int socket, struct ed_datagram *datagrams,
                               size_t count, int *error)
{
    int64_t received = 0;
    int err = 0;
    if (count > ED_SYSTEM_MANY)
        count = ED_SYSTEM_MANY;
    for (size_t i = 0; i < count && !err; i++) {
        err = receive_one(socket, &datagrams[i]);
        received += !err;
    }
    *error = received && err != -EAGAIN && err != -EWOULDBLOCK ? err : 0;
    return received ? received : err;
}

static int send_one(int socket, int family, const struct ed_datagram *datagram)
{
    struct ed_address peer = ed_socket_address(family, &datagram->peer);
    struct iovec part = {datagram->data, datagram->size};
    struct msghdr message = {
        .msg_name = peer.size ? &peer.socket : NULL,
        .msg_namelen = peer.size,
        .msg_iov = &part,
        .msg_iovlen = 1,
    };
    ssize_t sent;
    do
        sent = sendmsg(socket, &message, SEND_FLAGS);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

int64_t ed_system_send_many(int socket, int family,
                            const struct ed_datagram *datagrams, size_t count)
{
    int64_t sent = 0;
    int err = 0;
    if (count > ED_SYSTEM_MANY)
        count = ED_SYSTEM_MANY;
    for (size_t i = 0; i < count && !err; i++) {
        err = send_one(socket, family, &datagrams[i]);
        sent += !err;
    }
    return sent ? sent : err;
}

/* An interface by the address that IPv4 knows it by. */
static int interface_address(unsigned interface, struct in_addr *address)
{
    char name[IF_NAMESIZE];
    *address = (struct in_addr){0};
    if (!interface)
        return 0;
    if (!if_indextoname(interface, name))
        return -ENODEV;

    struct ifaddrs *all;
    if (getifaddrs(&all))
        return -errno;
    int err = -EADDRNOTAVAIL;
    for (struct ifaddrs *at = all; at && err; at = at->ifa_next) {
        if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET ||
            strcmp(at->ifa_name, name) != 0)
            continue;
        struct sockaddr_in ipv4;
        memcpy(&ipv4, at->ifa_addr, sizeof ipv4);
        *address = ipv4.sin_addr;
        err = 0;
    }
    freeifaddrs(all);
    return err;
}

static int change_group(int socket, bool is_joined,
                        const struct ed_address *group, unsigned interface)
{
    if (group->socket.any.sa_family == AF_INET6) {
        struct ipv6_mreq request = {group->socket.ipv6.sin6_addr, interface};
        int change = is_joined ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP;
        return setsockopt(socket, IPPROTO_IPV6, change, &request,
                          sizeof request)
                   ? -errno
                   : 0;
    }
    struct ip_mreq request = {.imr_multiaddr = group->socket.ipv4.sin_addr};
    int change = is_joined ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP;
    int err = interface_address(interface, &request.imr_interface);
    if (err)
        return err;
    return setsockopt(socket, IPPROTO_IP, change, &request, sizeof request)
               ? -errno
               : 0;
}

#ifdef MCAST_JOIN_SOURCE_GROUP
static void copy_socket_address(struct sockaddr_storage *to,
                                const struct ed_address *from)
{
    memcpy(to, &from->socket, from->size);
#ifdef SIN6_LEN // BSD
    to->ss_len = (unsigned char)from->size;
#endif
}
#endif

static int change_source(int socket, bool is_joined,
                         const struct ed_address *group,
                         const struct ed_address *source, unsigned interface)
{
#ifdef MCAST_JOIN_SOURCE_GROUP
    struct group_source_req request = {.gsr_interface = interface};
    bool is_ipv6 = group->socket.any.sa_family == AF_INET6;
    int change = is_joined ? MCAST_JOIN_SOURCE_GROUP : MCAST_LEAVE_SOURCE_GROUP;
    copy_socket_address(&request.gsr_group, group);
    copy_socket_address(&request.gsr_source, source);
    return setsockopt(socket, is_ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, change,
                      &request, sizeof request)
               ? -errno
               : 0;
#else
    (void)socket;
    (void)is_joined;
    (void)group;
    (void)source;
    (void)interface;
    return -EOPNOTSUPP;
#endif
}

int ed_system_join(int socket, const struct ed_address *group,
                   const struct ed_address *source, unsigned interface)
{
    return source ? change_source(socket, true, group, source, interface)
                  : change_group(socket, true, group, interface);
}

int ed_system_leave(int socket, const struct ed_address *group,
                    const struct ed_address *source, unsigned interface)
{
    return source ? change_source(socket, false, group, source, interface)
                  : change_group(socket, false, group, interface);
}

int ed_system_multicast_interface(int socket, unsigned interface)
{
    struct in_addr address;
    int err = interface_address(interface, &address);
    if (err)
        return err;
    return setsockopt(socket, IPPROTO_IP, IP_MULTICAST_IF, &address,
                      sizeof address)
               ? -errno
               : 0;
}

/* ---- child processes ----------------------------------------------------- */

int ed_system_disown(int socket)
{
    int flags = fcntl(socket, F_GETFL);
    if (flags < 0 || fcntl(socket, F_SETFL, flags & ~O_NONBLOCK))
        return -errno;
#ifdef SO_NOSIGPIPE
    if (setsockopt(socket, SOL_SOCKET, SO_NOSIGPIPE, &(int){0}, sizeof(int)))
        return -errno;
#endif
    return 0;
}

#ifdef __APPLE__

char **ed_system_environment(void)
{
    return *_NSGetEnviron();
}

#else

#ifndef __GLIBC__ // whose headers have it
extern char **environ;
#endif

char **ed_system_environment(void)
{
    return environ;
}

#endif

pid_t ed_system_fork_quickly(ed_system_main_fn *fn, void *context)
{
    (void)fn;
    (void)context;
    return -ENOTSUP;
}

/* No system has more signals. Numbers that are none are refused. */
enum { MOST_SIGNALS = 128 };

void ed_system_reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int number = 1; number <= MOST_SIGNALS; number++)
        (void)sigaction(number, &action, NULL);
}

#if defined __FreeBSD__ || defined __NetBSD__ || defined __OpenBSD__

void ed_system_close_others(int first, int last)
{
    (void)last;
    (void)closefrom(first);
}

#else

void ed_system_close_others(int first, int last)
{
    for (int fd = first; fd <= last; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

#endif
