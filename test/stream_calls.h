/*
 * test/stream_calls.h - the system's calls as loop_stream_fault.c gets them
 *
 *     arm();
 *     let_fail(SEND, 2, 1, EPIPE);      the second one
 *     ...
 *     CHECK_EQ(made[SEND], 3);
 *     disarm();
 *
 * They are linked with --wrap. Which name a call has, open or open64, depends
 * on the system; the other one may not exist.
 */
#ifndef EDDY_TEST_STREAM_CALLS_H
#define EDDY_TEST_STREAM_CALLS_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

enum call {
    SOCKET,
    BIND,
    CONNECT,
    ACCEPT,
    LISTEN,
    GETSOCKOPT,
    SETSOCKOPT,
    READ,
    SEND,
    SENDMSG,
    RECVMSG,
    WRITEV,
    SENDFILE,
    PREAD,
    SHUTDOWN,
    FCNTL,
    FSTAT,
    MALLOC,
    EPOLL_CTL,
    OPEN,
    CHMOD,
    CALLS,
};

// Volatile, since compilers know that malloc() changes no variable.
static volatile bool is_armed; // or else no call is counted, and none fails
static volatile int made[CALLS];
static int fails_from[CALLS]; // the first of the calls to fail; 0: none
static int fails_to[CALLS];   // the last of them
static int fails_with;        // errno
static size_t most_sent;      // by send and sendfile; 0: as much as goes
static bool raises_sigpipe;   // after what sendfile has sent

static bool fails(enum call call)
{
    if (!is_armed)
        return false;
    int number = ++made[call];
    if (!fails_from[call] || number < fails_from[call] ||
        number > fails_to[call])
        return false;
    errno = fails_with;
    return true;
}

static void arm(void)
{
    for (int i = 0; i < CALLS; i++)
        made[i] = fails_from[i] = fails_to[i] = 0;
    is_armed = true;
}

static void disarm(void)
{
    is_armed = false;
    most_sent = 0;
    raises_sigpipe = false;
}

/* From now on, lets the first, and so many in all, of the calls fail. */
static void let_fail(enum call call, int first, int count, int err)
{
    made[call] = 0;
    fails_from[call] = first;
    fails_to[call] = first + count - 1;
    fails_with = err;
}

static const int for_ever = 1000000000;

/* All that were made since arm(). */
static int calls_made(void)
{
    int count = 0;
    for (int i = 0; i < CALLS; i++)
        count += made[i];
    return count;
}

#define MAYBE __attribute__((weak))

#define WRAP(type, call, name, parameters, arguments)                          \
    MAYBE type __real_##name parameters;                                       \
    type __wrap_##name parameters;                                             \
    type __wrap_##name parameters                                              \
    {                                                                          \
        return fails(call) ? -1 : __real_##name arguments;                     \
    }

typedef const struct sockaddr address_type;

WRAP(int, SOCKET, socket, (int family, int type, int protocol),
     (family, type, protocol))
WRAP(int, BIND, bind, (int fd, address_type *address, socklen_t size),
     (fd, address, size))
WRAP(int, ACCEPT, accept4,
     (int fd, struct sockaddr *address, socklen_t *size, int flags),
     (fd, address, size, flags))
WRAP(int, LISTEN, listen, (int fd, int backlog), (fd, backlog))
WRAP(int, GETSOCKOPT, getsockopt,
     (int fd, int level, int name, void *value, socklen_t *size),
     (fd, level, name, value, size))
WRAP(int, SETSOCKOPT, setsockopt,
     (int fd, int level, int name, const void *value, socklen_t size),
     (fd, level, name, value, size))
WRAP(ssize_t, READ, read, (int fd, void *bytes, size_t size), (fd, bytes, size))
WRAP(ssize_t, READ, recv, (int fd, void *bytes, size_t size, int flags),
     (fd, bytes, size, flags))
WRAP(ssize_t, SENDMSG, sendmsg,
     (int fd, const struct msghdr *message, int flags), (fd, message, flags))
WRAP(ssize_t, RECVMSG, recvmsg, (int fd, struct msghdr *message, int flags),
     (fd, message, flags))
WRAP(ssize_t, WRITEV, writev, (int fd, const struct iovec *parts, int count),
     (fd, parts, count))
WRAP(ssize_t, PREAD, pread, (int fd, void *bytes, size_t size, off_t offset),
     (fd, bytes, size, offset))
WRAP(ssize_t, PREAD, pread64, (int fd, void *bytes, size_t size, off_t offset),
     (fd, bytes, size, offset))
WRAP(int, SHUTDOWN, shutdown, (int fd, int how), (fd, how))
WRAP(int, FSTAT, fstat, (int fd, struct stat *stat), (fd, stat))
WRAP(int, FSTAT, fstat64, (int fd, struct stat *stat), (fd, stat))
WRAP(int, CHMOD, chmod, (const char *path, mode_t mode), (path, mode))

/* An interrupted one goes on by itself. */
int __real_connect(int fd, address_type *address, socklen_t size);
int __wrap_connect(int fd, address_type *address, socklen_t size);
int __wrap_connect(int fd, address_type *address, socklen_t size)
{
    if (!fails(CONNECT))
        return __real_connect(fd, address, size);
    if (fails_with == EINTR)
        (void)__real_connect(fd, address, size);
    errno = fails_with;
    return -1;
}

ssize_t __real_send(int fd, const void *bytes, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags)
{
    if (most_sent && size > most_sent)
        size = most_sent;
    if (!fails(SEND))
        return __real_send(fd, bytes, size, flags);
    if (fails_with == EPIPE)
        (void)__real_shutdown(fd, SHUT_RDWR); // or it would be a lie
    errno = fails_with;
    return -1;
}

typedef ssize_t sendfile_fn(int to, int from, off_t *offset, size_t size);

static ssize_t wrapped_sendfile(sendfile_fn *real, int to, int from,
                                off_t *offset, size_t size)
{
    if (fails(SENDFILE))
        return -1;
    if (most_sent && size > most_sent)
        size = most_sent;
    ssize_t sent = real(to, from, offset, size);
    if (raises_sigpipe)
        raise(SIGPIPE);
    return sent;
}

MAYBE sendfile_fn __real_sendfile, __real_sendfile64;
sendfile_fn __wrap_sendfile, __wrap_sendfile64;
ssize_t __wrap_sendfile(int to, int from, off_t *offset, size_t size)
{
    return wrapped_sendfile(__real_sendfile, to, from, offset, size);
}
ssize_t __wrap_sendfile64(int to, int from, off_t *offset, size_t size)
{
    return wrapped_sendfile(__real_sendfile64, to, from, offset, size);
}

static int flags_of(int change, va_list arguments)
{
    return change == F_SETFL || change == F_SETFD ? va_arg(arguments, int) : 0;
}

MAYBE int __real_fcntl(int fd, int change, ...);
MAYBE int __real_fcntl64(int fd, int change, ...);
int __wrap_fcntl(int fd, int change, ...);
int __wrap_fcntl64(int fd, int change, ...);
int __wrap_fcntl(int fd, int change, ...)
{
    va_list arguments;
    va_start(arguments, change);
    int flags = flags_of(change, arguments);
    va_end(arguments);
    return fails(FCNTL) ? -1 : __real_fcntl(fd, change, flags);
}
int __wrap_fcntl64(int fd, int change, ...)
{
    va_list arguments;
    va_start(arguments, change);
    int flags = flags_of(change, arguments);
    va_end(arguments);
    return fails(FCNTL) ? -1 : __real_fcntl64(fd, change, flags);
}

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & O_CREAT ? (mode_t)va_arg(arguments, unsigned) : 0;
}

MAYBE int __real_open(const char *path, int flags, ...);
MAYBE int __real_open64(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return fails(OPEN) ? -1 : __real_open(path, flags, mode);
}
int __wrap_open64(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return fails(OPEN) ? -1 : __real_open64(path, flags, mode);
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    return fails(MALLOC) ? NULL : __real_malloc(size);
}

void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails(MALLOC) ? NULL : __real_aligned_alloc(alignment, size);
}

/* To take something out never fails. */
int __real_epoll_ctl(int epoll, int change, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int change, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int change, int fd, struct epoll_event *event)
{
    if (change != EPOLL_CTL_DEL && fails(EPOLL_CTL))
        return -1;
    return __real_epoll_ctl(epoll, change, fd, event);
}

#endif
