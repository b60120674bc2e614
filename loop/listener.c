/*
 * loop/listener.c - accepts connections, and knows what to do when it cannot
 *
 * What accept() says falls into three kinds. About a connection that is gone
 * again (ECONNABORTED, and on Linux whatever its network said): the next one,
 * please. Out of descriptors: one connection is shed with the help of the
 * reserve, so that it does not make the listener ready for ever. Everything
 * else, out of memory above all: a pause, and again.
 *
 * Mostly there is one connection to take, and to ask for a second costs a call.
 * So one is taken in a turn, and twice as many in the next each time there were
 * enough. When there were not, it is back to one for some turns, and for longer
 * each time, until there are more again.
 */
#include "loop/listener.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/socket.h"
#include "loop/system.h"

enum { DEFAULT_BACKLOG = 511, MOST_ACCEPTED = 64, MOST_TRIED_IN_VAIN = 6 };

static const uint64_t pause_ns = 50 * ED_MS;

static struct ed_loop *listening_loop(const struct ed_listener *listener)
{
    return listener->watch.loop;
}

/* ---- accepting --------------------------------------------------------- */

static bool is_about_connection(int err)
{
    static const int errors[] = {
        ECONNABORTED, EPROTO,    EINTR,        ENETDOWN,
        ENOPROTOOPT,  EHOSTDOWN, EHOSTUNREACH, EOPNOTSUPP,
        ENETUNREACH,  ETIMEDOUT, EPERM,        ECONNRESET,
    };
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (err == -errors[i])
            return true;
    return false;
}

static void on_pause_over(struct ed_timer *timer)
{
    struct ed_listener *listener =
        ED_CONTAINER_OF(timer, struct ed_listener, pause);
    if (!listener->is_paused)
        ed_watch_change(&listener->watch, ED_READABLE);
}

static void pause_for_a_moment(struct ed_listener *listener)
{
    ed_watch_change(&listener->watch, 0);
    ed_timer_start(listening_loop(listener), &listener->pause, pause_ns,
                   on_pause_over);
}

static void open_reserve(struct ed_listener *listener)
{
    listener->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static bool is_none_waiting(int err)
{
    return err == -EAGAIN || err == -EWOULDBLOCK;
}

/* Takes a connection, only to close it. Returns 0 or what accept() says. */
static int shed(struct ed_listener *listener)
{
    close(listener->reserve);
    int fd = ed_system_accept(listener->fd);
    if (fd >= 0) {
        close(fd);
        listener->shed++;
    }
    // Another thread may have been faster than this one.
    open_reserve(listener);
    return fd < 0 ? fd : 0;
}

static void overloaded(struct ed_listener *listener, int err)
{
    bool lacks_fds = err == -EMFILE || err == -ENFILE;
    int shed_err = lacks_fds && listener->reserve >= 0 ? shed(listener) : err;
    // Some systems look for a descriptor before they look for a connection.
    if (is_none_waiting(shed_err) || is_about_connection(shed_err))
        return;
    if (shed_err)
        pause_for_a_moment(listener);
    if (!listener->on_overload)
        return;
    struct ed_loop *loop = listening_loop(listener);
    ed_trace_begin(loop->trace, "overload", listener,
                   (ed_trace_callback_fn *)listener->on_overload);
    listener->on_overload(listener, err);
    ed_trace_end(loop->trace);
}

static void call_accept(struct ed_listener *listener, int fd)
{
    struct ed_loop *loop = listening_loop(listener);
    listener->accepted++;
    if (listener->reserve < 0)
        open_reserve(listener);
    ed_trace_begin(loop->trace, "accept", listener,
                   (ed_trace_callback_fn *)listener->fn);
    listener->fn(listener, fd);
    ed_trace_end(loop->trace);
}

/* There was nothing left to take. */
static void take_fewer(struct ed_listener *listener)
{
    if (listener->batch == 1)
        return;
    listener->batch = 1;
    listener->single = 1u << listener->vain;
    if (listener->vain < MOST_TRIED_IN_VAIN)
        listener->vain++;
}

/* There was enough to take. */
static void take_more(struct ed_listener *listener)
{
    if (listener->batch > 1)
        listener->vain = 0;
    if (listener->single)
        listener->single--;
    else if (listener->batch < MOST_ACCEPTED)
        listener->batch *= 2;
}

/* In any callback the program may stop the listener, and free it. */
static void on_ready_to_accept(struct ed_watch *watch)
{
    struct ed_listener *listener =
        ED_CONTAINER_OF(watch, struct ed_listener, watch);
    if (!watch->told) { // The system could not be told what to look for.
        overloaded(listener, -ENOMEM);
        return;
    }
    bool was_stopped = false;
    listener->was_stopped = &was_stopped;
    int fd = 0;
    for (unsigned i = 0; i < listener->batch && !listener->is_paused; i++) {
        fd = ed_system_accept(listener->fd);
        if (is_about_connection(fd))
            continue;
        if (fd < 0)
            break;
        call_accept(listener, fd);
        if (was_stopped)
            return;
    }
    listener->was_stopped = NULL;
    if (fd == -EAGAIN || fd == -EWOULDBLOCK)
        take_fewer(listener);
    else if (fd >= 0 || is_about_connection(fd))
        take_more(listener);
    else
        overloaded(listener, fd);
}

/* ---- start and stop ---------------------------------------------------- */

/* One that does not would be ready for ever with nothing to accept. */
static int check_listening(int fd)
{
    int listens;
    socklen_t size = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size))
        return -errno;
    return listens ? 0 : -EINVAL;
}

int ed_listener_open(struct ed_loop *loop, struct ed_listener *listener, int fd,
                     ed_accept_fn *fn)
{
    ed_listener_stop(listener);
    int err = check_listening(fd);
    if (err)
        return err;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 ||
        (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK)))
        return -errno;
    open_reserve(listener);
    if (listener->reserve < 0)
        return -errno;
    err = ed_watch_start(loop, &listener->watch, fd, ED_READABLE,
                         on_ready_to_accept);
    if (err) {
        close(listener->reserve);
        return err;
    }
    ed_timer_unref(&listener->pause);
    listener->fd = fd;
    listener->fn = fn;
    listener->accepted = 0;
    listener->shed = 0;
    listener->batch = 1;
    listener->single = 0;
    listener->vain = 0;
    listener->was_stopped = NULL;
    listener->is_paused = false;
    listener->file = 0;
    return 0;
}

/* The path of a socket in the file system; "" for all others. */
struct path {
    char text[sizeof(struct sockaddr_un)];
};

static struct path path_of(const struct ed_address *address)
{
    struct path path = {""};
    size_t start = offsetof(struct sockaddr_un, sun_path);
    if (address->socket.any.sa_family == AF_UNIX && address->size > start)
        memcpy(path.text, address->socket.local.sun_path,
               address->size - start);
    return path;
}

/* 0: there is none. */
static uint64_t file_number(const char *path)
{
    struct stat stat;
    return lstat(path, &stat) ? 0 : stat.st_ino;
}

/* Removes a socket that nobody listens at: connecting to it is refused. */
static void remove_dead_socket(const struct ed_address *address)
{
    struct path path = path_of(address);
    struct stat stat;
    if (!path.text[0] || lstat(path.text, &stat) || !S_ISSOCK(stat.st_mode))
        return;
    int fd = ed_system_socket(AF_UNIX, SOCK_STREAM);
    if (fd < 0)
        return;
    if (connect(fd, &address->socket.any, address->size) &&
        errno == ECONNREFUSED)
        unlink(path.text);
    close(fd);
}

int ed_listener_start(struct ed_loop *loop, struct ed_listener *listener,
                      const struct ed_address *address, ed_accept_fn *fn)
{
    ed_listener_stop(listener);
    if (listener->replace)
        remove_dead_socket(address);
    const struct ed_socket_options options = {
        .reuse_address = true,
        .reuse_port = listener->reuse_port,
        .ipv6_only = listener->ipv6_only,
    };
    int fd = ed_socket_bound(address, SOCK_STREAM, &options);
    if (fd < 0)
        return fd;
    struct path path = path_of(address);
    bool has_file = path.text[0];
    int err = 0;
    if (has_file && listener->mode && chmod(path.text, (mode_t)listener->mode))
        err = -errno;
    int backlog = listener->backlog ? listener->backlog : DEFAULT_BACKLOG;
    if (!err && listen(fd, backlog))
        err = -errno;
    if (!err)
        err = ed_listener_open(loop, listener, fd, fn);
    if (err) {
        if (has_file)
            unlink(path.text);
        close(fd);
        return err;
    }
    listener->file = has_file ? file_number(path.text) : 0;
    return 0;
}

static void remove_file(const struct ed_listener *listener)
{
    struct ed_address address;
    if (ed_socket_local(listener->fd, &address))
        return;
    struct path path = path_of(&address);
    // Another server may have put its own there.
    if (file_number(path.text) == listener->file)
        unlink(path.text);
}

void ed_listener_stop(struct ed_listener *listener)
{
    if (!ed_listener_is_active(listener))
        return;
    ed_watch_stop(&listener->watch);
    ed_timer_stop(&listener->pause);
    if (listener->file)
        remove_file(listener);
    close(listener->fd);
    if (listener->reserve >= 0)
        close(listener->reserve);
    listener->fd = -1;
    if (listener->was_stopped)
        *listener->was_stopped = true;
}

bool ed_listener_is_active(const struct ed_listener *listener)
{
    return ed_watch_is_active(&listener->watch);
}

void ed_listener_pause(struct ed_listener *listener)
{
    assert(ed_listener_is_active(listener));
    listener->is_paused = true;
    ed_watch_change(&listener->watch, 0);
}

void ed_listener_resume(struct ed_listener *listener)
{
    assert(ed_listener_is_active(listener));
    listener->is_paused = false;
    if (!ed_timer_is_active(&listener->pause))
        ed_watch_change(&listener->watch, ED_READABLE);
}

int ed_listener_local(const struct ed_listener *listener,
                      struct ed_address *local)
{
    return ed_socket_local(listener->fd, local);
}

void ed_listener_ref(struct ed_listener *listener)
{
    ed_watch_ref(&listener->watch);
}

void ed_listener_unref(struct ed_listener *listener)
{
    ed_watch_unref(&listener->watch);
}
