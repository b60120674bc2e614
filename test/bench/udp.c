/*
 * test/bench/udp.c - how many datagrams does a server answer?
 *
 * udp.echo: a client keeps so many datagrams of 64 bytes under way on the
 * loopback, a server on another thread sends each back. udp.cpu: what one
 * costs the server of CPU time, most of it in the kernel.
 *
 * bare is recvmmsg() and sendmmsg() around epoll, with nothing else: what there
 * is to be had. libuv receives by recvmmsg(), too, when asked to; it sends one
 * at a time, by uv_udp_try_send().
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "loop/udp.h"
#include "test/bench/bench.h"

#ifdef BENCH_LIBUV
#include <uv.h>
#endif

enum {
    DATAGRAMS = 300000,
    WARM_UP = 20000,
    UNDER_WAY = 64,
    SIZE = 64,
    ROOM = 2048, // for one, at the server
    BATCH = 64,
    PATIENCE_MS = 10000,
};

/* ---- a server on a thread of its own ------------------------------------- */

/* It serves until an empty datagram comes. */
typedef void serve_fn(int fd);

struct server {
    int fd;
    serve_fn *serve;
    double cpu_ns;
};

static double thread_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void *run_server(void *argument)
{
    struct server *server = argument;
    server->serve(server->fd);
    server->cpu_ns = thread_cpu_ns();
    return NULL;
}

static int open_socket(struct sockaddr_in *local, int flags)
{
    socklen_t size = sizeof *local;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | flags, 0);
    *local = (struct sockaddr_in){.sin_family = AF_INET};
    local->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    BENCH_NEED(fd >= 0);
    BENCH_NEED(bind(fd, (struct sockaddr *)local, size) == 0);
    BENCH_NEED(getsockname(fd, (struct sockaddr *)local, &size) == 0);
    return fd;
}

/* Many of the same, each with a place of its own. */
struct batch {
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    struct sockaddr_in peers[BATCH];
    char data[BATCH][ROOM];
};

static void prepare_batch(struct batch *batch, size_t size, bool has_peers)
{
    for (int i = 0; i < BATCH; i++) {
        batch->parts[i] = (struct iovec){batch->data[i], size};
        batch->messages[i].msg_hdr = (struct msghdr){
            .msg_name = has_peers ? &batch->peers[i] : NULL,
            .msg_namelen = has_peers ? sizeof batch->peers[i] : 0,
            .msg_iov = &batch->parts[i],
            .msg_iovlen = 1,
        };
    }
}

/* ---- the client ---------------------------------------------------------- */

static void send_all(int fd, struct batch *batch, int count)
{
    int sent = 0;
    while (sent < count) {
        int n =
            sendmmsg(fd, batch->messages + sent, (unsigned)(count - sent), 0);
        BENCH_NEED(n > 0);
        sent += n;
    }
}

/* Takes part until so many have come back. */
static void play(int fd, struct batch *out, struct batch *in, int count)
{
    int sent = UNDER_WAY, came = 0;
    send_all(fd, out, sent);
    while (came < count) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int n = recvmmsg(fd, in->messages, BATCH, MSG_DONTWAIT, NULL);
        if (n < 0) {
            BENCH_NEED(errno == EAGAIN);
            BENCH_NEED(poll(&ready, 1, PATIENCE_MS) == 1);
            continue;
        }
        for (int i = 0; i < n; i++)
            BENCH_NEED(in->messages[i].msg_len == SIZE);
        came += n;
        int more = count - sent < n ? count - sent : n;
        send_all(fd, out, more);
        sent += more;
    }
}

static void measure_server(serve_fn *serve, double *values)
{
    struct sockaddr_in to, from;
    pthread_t thread;
    struct server server = {.fd = open_socket(&to, SOCK_NONBLOCK),
                            .serve = serve};
    int fd = open_socket(&from, 0);
    struct batch *out = bench_memory(1, sizeof *out);
    struct batch *in = bench_memory(1, sizeof *in);
    prepare_batch(out, SIZE, false);
    prepare_batch(in, ROOM, false);
    BENCH_NEED(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    BENCH_NEED(pthread_create(&thread, NULL, run_server, &server) == 0);

    play(fd, out, in, WARM_UP);
    uint64_t begin_ns = bench_now_ns();
    play(fd, out, in, DATAGRAMS);
    double took_ns = (double)(bench_now_ns() - begin_ns);
    BENCH_NEED(send(fd, NULL, 0, 0) == 0);
    pthread_join(thread, NULL);
    values[0] = DATAGRAMS / (took_ns / 1e9);
    values[1] = server.cpu_ns / (WARM_UP + DATAGRAMS);
    close(fd);
}

/* ---- bare ---------------------------------------------------------------- */

static void serve_bare(int fd)
{
    struct batch *batch = bench_memory(1, sizeof *batch);
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    BENCH_NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    for (;;) {
        BENCH_NEED(epoll_wait(epoll, &event, 1, -1) == 1);
        prepare_batch(batch, ROOM, true);
        int n = recvmmsg(fd, batch->messages, BATCH, 0, NULL);
        BENCH_NEED(n > 0);
        if (batch->messages[0].msg_len == 0)
            break;
        for (int i = 0; i < n; i++)
            batch->parts[i].iov_len = batch->messages[i].msg_len;
        BENCH_NEED(sendmmsg(fd, batch->messages, (unsigned)n, 0) == n);
    }
    close(epoll);
    close(fd);
}

static void measure_bare(const struct bench *bench, double *values)
{
    (void)bench;
    measure_server(serve_bare, values);
}

/* ---- eddy ---------------------------------------------------------------- */

static void answer_eddy(struct ed_udp *udp, const struct ed_datagram *datagrams,
                        int count)
{
    BENCH_NEED(count > 0);
    if (datagrams[0].size == 0) {
        ed_udp_close(udp);
        return;
    }
    BENCH_NEED(ed_udp_send(udp, datagrams, (size_t)count) == count);
}

/* It opens a socket of its own, in whose place the bench's is put. */
static void serve_eddy(int fd)
{
    struct ed_loop loop;
    struct ed_address local;
    struct ed_udp udp = {.max_size = ROOM};
    BENCH_NEED(ed_loop_init(&loop) == 0);
    BENCH_NEED(ed_address_parse(&local, "127.0.0.1:0") == 0);
    BENCH_NEED(ed_udp_open(&loop, &udp, &local) == 0);
    BENCH_NEED(dup2(fd, udp.fd) == udp.fd);
    close(fd);
    BENCH_NEED(ed_udp_receive_start(&udp, answer_eddy) == 0);
    BENCH_NEED(ed_loop_run(&loop) == 0);
    ed_loop_destroy(&loop);
}

static void measure_eddy(const struct bench *bench, double *values)
{
    (void)bench;
    measure_server(serve_eddy, values);
}

/* ---- libuv --------------------------------------------------------------- */

#ifdef BENCH_LIBUV
static char libuv_buffer[BATCH * 64 * 1024]; // it wants 64 KiB for each

static void lend_libuv(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    (void)handle;
    (void)wanted;
    *buffer = uv_buf_init(libuv_buffer, sizeof libuv_buffer);
}

static void answer_libuv(uv_udp_t *udp, ssize_t size, const uv_buf_t *buffer,
                         const struct sockaddr *peer, unsigned flags)
{
    (void)flags;
    BENCH_NEED(size >= 0);
    if (!peer)
        return;
    if (size == 0) {
        uv_close((uv_handle_t *)udp, NULL);
        return;
    }
    uv_buf_t answer = uv_buf_init(buffer->base, (unsigned)size);
    BENCH_NEED(uv_udp_try_send(udp, &answer, 1, peer) == size);
}

static void serve_libuv(int fd)
{
    uv_loop_t loop;
    uv_udp_t udp;
    BENCH_NEED(uv_loop_init(&loop) == 0);
    BENCH_NEED(uv_udp_init_ex(&loop, &udp, AF_UNSPEC | UV_UDP_RECVMMSG) == 0);
    BENCH_NEED(uv_udp_open(&udp, fd) == 0);
    BENCH_NEED(uv_udp_recv_start(&udp, lend_libuv, answer_libuv) == 0);
    BENCH_NEED(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    BENCH_NEED(uv_loop_close(&loop) == 0);
}

static void measure_libuv(const struct bench *bench, double *values)
{
    (void)bench;
    measure_server(serve_libuv, values);
}
#endif

/* -------------------------------------------------------------------------- */

const struct bench bench_udp = {
    .figures =
        (const struct bench_figure[]){
            {"udp.echo", "datagrams/s"},
            {"udp.cpu", "ns"},
            {NULL, NULL},
        },
    .contenders =
        (const struct bench_contender[]){
            {"eddy", measure_eddy},
            {"libuv", BENCH_IF_LIBUV(measure_libuv)},
            {"bare", measure_bare},
            {NULL, NULL},
        },
};
