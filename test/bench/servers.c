/*
 * test/bench/servers.c - the same echo server, five times
 *
 * All read into one buffer of 64 KiB, write at once what they have read, and
 * stop reading while the client does not take it. Only libevent's bufferevents
 * do it their own way: they read what there is into memory of theirs, and write
 * when epoll has said that there is room.
 *
 * The sockets that are accepted have TCP_NODELAY from the one that listens, so
 * that a message in two pieces does not wait for an acknowledgement.
 *
 * What is written here without a library, for bare and libev, calls recv() and
 * send(): on a socket they are cheaper than read() and write().
 */
#include "test/bench/servers.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/listener.h"
#include "loop/loop.h"
#include "loop/stream.h"
#include "test/bench/bench.h"

#ifdef BENCH_LIBUV
#include <uv.h>
#endif
#ifdef BENCH_LIBEV
#include <ev.h>
// Of which libevent has macros of the same names, and other values.
enum { LIBEV_READ = EV_READ, LIBEV_WRITE = EV_WRITE };
#endif
#ifdef BENCH_LIBEVENT
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#endif

enum { BACKLOG = 511, MOST_EVENTS = 256 };

/*
 * Aligned, since some processors (AMD's) copy several times slower to where a
 * page's first bytes end up a little further in another page.
 */
static _Alignas(64) char buffer[64 << 10];

/* ---- what the client does not take yet ----------------------------------- */

struct rest {
    char *data; // NULL: there is none
    size_t size;
    size_t sent;
};

/* Sends as much as goes. Returns how much, or -1 if the connection is broken.
 */
static ssize_t send_some(int fd, const char *data, size_t size)
{
    ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
    return n < 0 && errno == EAGAIN ? 0 : n;
}

static void keep_rest(struct rest *rest, const char *data, size_t size)
{
    *rest = (struct rest){.data = malloc(size), .size = size};
    BENCH_NEED(rest->data);
    memcpy(rest->data, data, size);
}

/* Returns whether the connection still works. */
static bool send_rest(int fd, struct rest *rest)
{
    ssize_t n = send_some(fd, rest->data + rest->sent, rest->size - rest->sent);
    if (n < 0)
        return false;
    rest->sent += (size_t)n;
    if (rest->sent == rest->size) {
        free(rest->data);
        *rest = (struct rest){0};
    }
    return true;
}

/* ---- bare epoll ---------------------------------------------------------- */

struct bare_client {
    int fd;
    struct rest rest;
};

static int bare_epoll;

static void watch_bare(int change, struct bare_client *client, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};
    BENCH_NEED(epoll_ctl(bare_epoll, change, client->fd, &event) == 0);
}

static void accept_bare(const struct bare_client *listener)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct bare_client *client = calloc(1, sizeof *client);
    BENCH_NEED(client);
    client->fd = fd;
    watch_bare(EPOLL_CTL_ADD, client, EPOLLIN);
}

static void close_bare(struct bare_client *client)
{
    close(client->fd);
    free(client->rest.data);
    free(client);
}

/* Returns whether the connection still works. */
static bool echo_bare(struct bare_client *client)
{
    if (client->rest.data) {
        if (!send_rest(client->fd, &client->rest))
            return false;
        if (!client->rest.data)
            watch_bare(EPOLL_CTL_MOD, client, EPOLLIN);
        return true;
    }
    ssize_t size = recv(client->fd, buffer, sizeof buffer, 0);
    if (size <= 0)
        return false;
    ssize_t n = send_some(client->fd, buffer, (size_t)size);
    if (n < 0)
        return false;
    if (n < size) {
        keep_rest(&client->rest, buffer + n, (size_t)(size - n));
        watch_bare(EPOLL_CTL_MOD, client, EPOLLOUT);
    }
    return true;
}

void bench_serve_bare(int listening)
{
    struct bare_client listener = {.fd = listening};
    bare_epoll = epoll_create1(EPOLL_CLOEXEC);
    BENCH_NEED(bare_epoll >= 0);
    watch_bare(EPOLL_CTL_ADD, &listener, EPOLLIN);
    for (;;) {
        struct epoll_event events[MOST_EVENTS];
        int n = epoll_wait(bare_epoll, events, MOST_EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct bare_client *client = events[i].data.ptr;
            if (client == &listener)
                accept_bare(client);
            else if (!echo_bare(client))
                close_bare(client);
        }
    }
}

/* ---- eddy ---------------------------------------------------------------- */

static void close_eddy(struct ed_stream *stream)
{
    ed_stream_close(stream);
    free(stream);
}

static void read_eddy(struct ed_stream *stream, char *data, int64_t size)
{
    if (size <= 0 || ed_stream_write(stream, data, (size_t)size))
        close_eddy(stream);
    else if (ed_stream_is_full(stream))
        ed_stream_read_stop(stream);
}

static void drain_eddy(struct ed_stream *stream)
{
    if (stream->error || ed_stream_read_start(stream, read_eddy))
        close_eddy(stream);
}

static void accept_eddy(struct ed_listener *listener, int fd)
{
    struct ed_stream *stream = calloc(1, sizeof *stream);
    BENCH_NEED(stream);
    stream->on_drain = drain_eddy;
    ed_stream_open_socket(listener->watch.loop, stream, fd);
    BENCH_NEED(ed_stream_read_start(stream, read_eddy) == 0);
}

void bench_serve_eddy(int listening)
{
    struct ed_loop loop;
    struct ed_listener listener = {0};
    BENCH_NEED(ed_loop_init(&loop) == 0);
    BENCH_NEED(ed_listener_open(&loop, &listener, listening, accept_eddy) == 0);
    ed_loop_run(&loop);
}

/* ---- libuv --------------------------------------------------------------- */

#ifdef BENCH_LIBUV
struct libuv_rest {
    uv_write_t request;
    char data[];
};

static void free_libuv(uv_handle_t *client)
{
    free(client);
}

static void close_libuv(uv_stream_t *client)
{
    uv_close((uv_handle_t *)client, free_libuv);
}

static void lend_buffer_libuv(uv_handle_t *client, size_t wish, uv_buf_t *lent)
{
    (void)client;
    (void)wish;
    *lent = uv_buf_init(buffer, sizeof buffer);
}

static void read_libuv(uv_stream_t *client, ssize_t size, const uv_buf_t *lent);

static void wrote_rest_libuv(uv_write_t *request, int status)
{
    uv_stream_t *client = request->handle;
    free(ED_CONTAINER_OF(request, struct libuv_rest, request));
    if (status == UV_ECANCELED) // it is being closed
        return;
    if (status)
        close_libuv(client);
    else
        uv_read_start(client, lend_buffer_libuv, read_libuv);
}

static void write_rest_libuv(uv_stream_t *client, const char *data, size_t size)
{
    struct libuv_rest *rest = malloc(sizeof *rest + size);
    BENCH_NEED(rest);
    memcpy(rest->data, data, size);
    uv_buf_t part = uv_buf_init(rest->data, (unsigned)size);
    uv_read_stop(client);
    BENCH_NEED(uv_write(&rest->request, client, &part, 1, wrote_rest_libuv) ==
               0);
}

static void read_libuv(uv_stream_t *client, ssize_t size, const uv_buf_t *lent)
{
    if (size == 0) // nothing there, after all
        return;
    if (size < 0) {
        close_libuv(client);
        return;
    }
    uv_buf_t part = uv_buf_init(lent->base, (unsigned)size);
    int n = uv_try_write(client, &part, 1);
    if (n == UV_EAGAIN)
        n = 0;
    if (n < 0)
        close_libuv(client);
    else if (n < size)
        write_rest_libuv(client, lent->base + n, (size_t)(size - n));
}

static void accept_libuv(uv_stream_t *listener, int status)
{
    if (status)
        return;
    uv_tcp_t *client = malloc(sizeof *client);
    BENCH_NEED(client);
    BENCH_NEED(uv_tcp_init(listener->loop, client) == 0);
    BENCH_NEED(uv_accept(listener, (uv_stream_t *)client) == 0);
    uv_read_start((uv_stream_t *)client, lend_buffer_libuv, read_libuv);
}

void bench_serve_libuv(int listening)
{
    uv_loop_t loop;
    uv_tcp_t listener;
    BENCH_NEED(uv_loop_init(&loop) == 0);
    BENCH_NEED(uv_tcp_init(&loop, &listener) == 0);
    BENCH_NEED(uv_tcp_open(&listener, listening) == 0);
    BENCH_NEED(uv_listen((uv_stream_t *)&listener, BACKLOG, accept_libuv) == 0);
    uv_run(&loop, UV_RUN_DEFAULT);
}
#endif

/* ---- libev --------------------------------------------------------------- */

#ifdef BENCH_LIBEV
struct libev_client {
    ev_io readable;
    ev_io writable;
    struct rest rest;
};

static void close_libev(struct ev_loop *loop, struct libev_client *client)
{
    ev_io_stop(loop, &client->readable);
    ev_io_stop(loop, &client->writable);
    close(client->readable.fd);
    free(client->rest.data);
    free(client);
}

static void read_libev(struct ev_loop *loop, ev_io *io, int events)
{
    (void)events;
    struct libev_client *client =
        ED_CONTAINER_OF(io, struct libev_client, readable);
    ssize_t size = recv(io->fd, buffer, sizeof buffer, 0);
    if (size < 0 && errno == EAGAIN)
        return;
    ssize_t n = size > 0 ? send_some(io->fd, buffer, (size_t)size) : -1;
    if (n < 0) {
        close_libev(loop, client);
    } else if (n < size) {
        keep_rest(&client->rest, buffer + n, (size_t)(size - n));
        ev_io_stop(loop, &client->readable);
        ev_io_start(loop, &client->writable);
    }
}

static void write_libev(struct ev_loop *loop, ev_io *io, int events)
{
    (void)events;
    struct libev_client *client =
        ED_CONTAINER_OF(io, struct libev_client, writable);
    if (!send_rest(io->fd, &client->rest)) {
        close_libev(loop, client);
    } else if (!client->rest.data) {
        ev_io_stop(loop, &client->writable);
        ev_io_start(loop, &client->readable);
    }
}

static void accept_libev(struct ev_loop *loop, ev_io *listener, int events)
{
    (void)events;
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct libev_client *client = calloc(1, sizeof *client);
    BENCH_NEED(client);
    ev_io_init(&client->readable, read_libev, fd, LIBEV_READ);
    ev_io_init(&client->writable, write_libev, fd, LIBEV_WRITE);
    ev_io_start(loop, &client->readable);
}

void bench_serve_libev(int listening)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    ev_io listener;
    BENCH_NEED(loop);
    ev_io_init(&listener, accept_libev, listening, LIBEV_READ);
    ev_io_start(loop, &listener);
    ev_run(loop, 0);
}
#endif

/* ---- libevent ------------------------------------------------------------ */

#ifdef BENCH_LIBEVENT
static void read_libevent(struct bufferevent *client, void *data)
{
    (void)data;
    BENCH_NEED(
        bufferevent_write_buffer(client, bufferevent_get_input(client)) == 0);
}

static void end_libevent(struct bufferevent *client, short events, void *data)
{
    (void)data;
    if (events & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        bufferevent_free(client);
}

static void accept_libevent(struct evconnlistener *listener, evutil_socket_t fd,
                            struct sockaddr *from, int size, void *data)
{
    (void)from;
    (void)size;
    (void)data;
    struct bufferevent *client = bufferevent_socket_new(
        evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
    BENCH_NEED(client);
    bufferevent_setcb(client, read_libevent, NULL, end_libevent, NULL);
    BENCH_NEED(bufferevent_enable(client, EV_READ) == 0);
}

void bench_serve_libevent(int listening)
{
    struct event_base *base = event_base_new();
    BENCH_NEED(base);
    BENCH_NEED(evconnlistener_new(base, accept_libevent, NULL,
                                  LEV_OPT_CLOSE_ON_EXEC, 0, listening));
    event_base_dispatch(base);
}
#endif

/* ---- the process --------------------------------------------------------- */

static cpu_set_t usable_processors(void)
{
    cpu_set_t usable;
    BENCH_NEED(sched_getaffinity(0, sizeof usable, &usable) == 0);
    return usable;
}

static void pin_to(size_t processor)
{
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(processor, &own);
    BENCH_NEED(sched_setaffinity(0, sizeof own, &own) == 0);
}

static void pin_to_first_processor(void)
{
    cpu_set_t usable = usable_processors();
    size_t first = 0;
    while (!CPU_ISSET(first, &usable))
        first++;
    pin_to(first);
}

static void pin_to_last_processor(void)
{
    cpu_set_t usable = usable_processors();
    size_t last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(last, &usable))
        last--;
    pin_to(last);
}

static int listen_somewhere(struct sockaddr_in *address)
{
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t size = sizeof *address;
    BENCH_NEED(fd >= 0);
    BENCH_NEED(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
    BENCH_NEED(bind(fd, (struct sockaddr *)address, size) == 0);
    BENCH_NEED(listen(fd, BACKLOG) == 0);
    BENCH_NEED(getsockname(fd, (struct sockaddr *)address, &size) == 0);
    return fd;
}

void bench_server_start(struct bench_server *server, bench_serve_fn *serve)
{
    int listening = listen_somewhere(&server->address);
    server->process = fork();
    BENCH_NEED(server->process >= 0);
    if (server->process == 0) {
        pin_to_first_processor();
        serve(listening);
        _exit(1);
    }
    close(listening);
    pin_to_last_processor();
    BENCH_NEED(clock_getcpuclockid(server->process, &server->cpu_clock) == 0);
}

void bench_server_stop(struct bench_server *server)
{
    int status;
    // Not SIGKILL, which would leave a profiler nothing to tell.
    BENCH_NEED(kill(server->process, SIGTERM) == 0);
    BENCH_NEED(waitpid(server->process, &status, 0) == server->process);
    BENCH_NEED(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

int bench_server_connect(const struct bench_server *server)
{
    static const int on = 1;
    static const struct linger reset = {.l_onoff = 1};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    BENCH_NEED(fd >= 0);
    BENCH_NEED(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) ==
               0);
    BENCH_NEED(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
    BENCH_NEED(connect(fd, (const struct sockaddr *)&server->address,
                       sizeof server->address) == 0);
    return fd;
}

bool bench_may_have_descriptors(unsigned long count)
{
    struct rlimit limit;
    BENCH_NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_max < count)
        return false;
    if (limit.rlim_cur < count)
        limit.rlim_cur = count;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}
