/*
 * loop/linux.c - what Linux has of its own, waiting apart (epoll.c)
 */
#include "loop/system.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "loop/sigpipe.h"

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

int64_t ed_system_send(int socket, const struct msghdr *message)
{
    ssize_t sent = sendmsg(socket, message, MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

int64_t ed_system_receive(int socket, struct msghdr *message)
{
    ssize_t received = recvmsg(socket, message, MSG_CMSG_CLOEXEC);
    return received < 0 ? -errno : received;
}

int64_t ed_system_send_file(int fd, int file, uint64_t offset, uint64_t size,
                            char *buffer, size_t buffer_size)
{
    (void)buffer;
    (void)buffer_size;
    off_t from = (off_t)offset;
    struct ed_sigpipe sigpipe;
    ed_sigpipe_hold(&sigpipe);
    ssize_t sent = sendfile(fd, file, &from, (size_t)size);
    int64_t result = sent < 0 ? -errno : sent;
    ed_sigpipe_release(&sigpipe);
    return result;
}
