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
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "loop/sigpipe.h"

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

/* Returns fd, or -errno with fd closed; fd is -1 with errno if there is none.
 */
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

int64_t ed_system_send(int socket, const struct msghdr *message)
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

int64_t ed_system_receive(int socket, struct msghdr *message)
{
    ssize_t received = recvmsg(socket, message, 0);
    if (received < 0)
        return -errno;
    set_close_on_exec(message);
    return received;
}

int64_t ed_system_send_file(int fd, int file, uint64_t offset, uint64_t size,
                            char *buffer, size_t buffer_size)
{
    if (size > buffer_size)
        size = buffer_size;
    ssize_t got = pread(file, buffer, (size_t)size, (off_t)offset);
    if (got <= 0)
        return got < 0 ? -errno : 0;

    struct ed_sigpipe sigpipe;
    ed_sigpipe_hold(&sigpipe);
    ssize_t sent = write(fd, buffer, (size_t)got);
    int64_t result = sent < 0 ? -errno : sent;
    ed_sigpipe_release(&sigpipe);
    return result;
}
