/*
 * test/bench/echo.c - how many requests does a server answer, and how fast?
 *
 * Over each of a number of connections a client sends a message, waits until
 * all of it has come back, and sends the next. So as many requests are under
 * way as there are connections, and with many of them each waits mostly for its
 * turn: what counts there is the rate.
 *
 *     echo.64.100        with messages of 64 bytes over 100 connections
 *     echo.64.100.p99    from before the message is sent until the reply is
 *                        read: 99 of 100 requests took no longer
 *     echo.64.100.cpu    CPU time of the server for a request
 *
 * The client costs less than the barest of the servers: it is told only once
 * of what has come (EPOLLET). So it is the servers that are measured.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test/bench/bench.h"
#include "test/bench/servers.h"

enum { LARGEST = 16 << 10, MOST_EVENTS = 1024, SPARE_DESCRIPTORS = 32 };

struct load {
    size_t size; // of a message
    uint32_t connections;
};

struct connection {
    int fd;
    uint64_t message; // the number that its message ends with
    uint64_t sent_ns; // when it was
    size_t received;  // bytes of it that have come back
};

static struct bench_server server;
static size_t message_size;
static struct bench_lap lap;

/* ---- latencies ------------------------------------------------------------
 *
 * Counted by their six highest bits, so that a figure is at most 3 % too low.
 */

enum { STEP_BITS = 5, STEPS = 1 << STEP_BITS };

static uint32_t latencies[64 * STEPS];

static unsigned latency_slot(uint64_t ns)
{
    if (ns < STEPS)
        return (unsigned)ns;
    unsigned shift = 63 - STEP_BITS - (unsigned)__builtin_clzll(ns);
    return shift * STEPS + (unsigned)(ns >> shift);
}

static uint64_t slot_latency(unsigned slot)
{
    if (slot < STEPS)
        return slot;
    unsigned shift = slot / STEPS - 1;
    return (uint64_t)(slot % STEPS + STEPS) << shift;
}

static double latency_quantile_us(double part)
{
    uint64_t above = (uint64_t)((double)lap.count * (1 - part));
    unsigned slot = sizeof latencies / sizeof *latencies - 1;
    for (uint64_t seen = latencies[slot]; seen <= above && slot > 0;)
        seen += latencies[--slot];
    return (double)slot_latency(slot) / 1000;
}

/* ---- the load ------------------------------------------------------------ */

static void send_message(struct connection *connection)
{
    static _Alignas(64) char message[LARGEST];
    connection->message++;
    connection->received = 0;
    memcpy(message + message_size - sizeof connection->message,
           &connection->message, sizeof connection->message);
    connection->sent_ns = bench_now_ns();
    BENCH_NEED(write(connection->fd, message, message_size) ==
               (ssize_t)message_size);
}

/* Returns whether all of the message has come back. */
static bool receive_message(struct connection *connection)
{
    static _Alignas(64) char piece[LARGEST];
    ssize_t n = recv(connection->fd, piece, message_size - connection->received,
                     MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return false;
    BENCH_NEED(n > 0);
    connection->received += (size_t)n;
    if (connection->received < message_size)
        return false;
    if ((size_t)n >= sizeof connection->message)
        BENCH_NEED(memcmp(piece + n - sizeof connection->message,
                          &connection->message,
                          sizeof connection->message) == 0);
    return true;
}

/* Returns whether to send the next one. */
static bool count_message(const struct connection *connection)
{
    latencies[latency_slot(bench_now_ns() - connection->sent_ns)]++;
    bool was_warm = lap.is_warm;
    bool goes_on = bench_lap_goes_on(&lap);
    if (!was_warm && lap.is_warm)
        memset(latencies, 0, sizeof latencies);
    return goes_on;
}

/*
 * One after the other, and each is used once before the next: the server has
 * taken them all when the lap begins.
 */
static void connect_all(int epoll, struct connection *connections,
                        uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct connection *connection = &connections[i];
        struct epoll_event event = {EPOLLIN | EPOLLET, {.ptr = connection}};
        connection->fd = bench_server_connect(&server);
        BENCH_NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event) ==
                   0);
        connection->message = (uint64_t)i << 32;
        send_message(connection);
        do
            BENCH_NEED(epoll_wait(epoll, &event, 1, -1) == 1);
        while (!receive_message(connection));
    }
}

static void run_load(int epoll)
{
    static struct epoll_event events[MOST_EVENTS];
    for (;;) {
        int n = epoll_wait(epoll, events, MOST_EVENTS, -1);
        BENCH_NEED(n > 0);
        for (int i = 0; i < n; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!receive_message(connection))
                continue;
            if (!count_message(connection))
                return;
            send_message(connection);
        }
    }
}

static void measure_echo(const struct bench *bench, double *values,
                         bench_serve_fn *serve)
{
    const struct load *load = bench->subject;
    message_size = load->size;
    BENCH_NEED(
        bench_may_have_descriptors(load->connections + SPARE_DESCRIPTORS));
    bench_server_start(&server, serve);

    int epoll = epoll_create1(EPOLL_CLOEXEC);
    BENCH_NEED(epoll >= 0);
    struct connection *connections =
        bench_memory(load->connections, sizeof *connections);
    connect_all(epoll, connections, load->connections);

    bench_lap_begin_with(&lap, server.cpu_clock);
    for (uint32_t i = 0; i < load->connections; i++)
        send_message(&connections[i]);
    run_load(epoll);

    values[0] = 1e9 / lap.ns;
    values[1] = latency_quantile_us(0.5);
    values[2] = latency_quantile_us(0.99);
    values[3] = latency_quantile_us(0.999);
    values[4] = lap.cpu_ns / 1000;
    bench_server_stop(&server);
}

/* ---- the servers --------------------------------------------------------- */

static void echo_bare(const struct bench *bench, double *values)
{
    measure_echo(bench, values, bench_serve_bare);
}

static void echo_eddy(const struct bench *bench, double *values)
{
    measure_echo(bench, values, bench_serve_eddy);
}

#ifdef BENCH_LIBUV
static void echo_libuv(const struct bench *bench, double *values)
{
    measure_echo(bench, values, bench_serve_libuv);
}
#endif

#ifdef BENCH_LIBEV
static void echo_libev(const struct bench *bench, double *values)
{
    measure_echo(bench, values, bench_serve_libev);
}
#endif

#ifdef BENCH_LIBEVENT
static void echo_libevent(const struct bench *bench, double *values)
{
    measure_echo(bench, values, bench_serve_libevent);
}
#endif

/* -------------------------------------------------------------------------- */

static const struct bench_contender contenders[] = {
    {"eddy", echo_eddy},
    {"libuv", BENCH_IF_LIBUV(echo_libuv)},
    {"libev", BENCH_IF_LIBEV(echo_libev)},
    {"libevent", BENCH_IF_LIBEVENT(echo_libevent)},
    {"bare", echo_bare},
    {NULL, NULL},
};

/* The figures, whatever the load. */
#define FIGURES(name)                                                          \
    (const struct bench_figure[])                                              \
    {                                                                          \
        {name, "requests/s"}, {name ".p50", "us"}, {name ".p99", "us"},        \
            {name ".p99.9", "us"}, {name ".cpu", "us"},                        \
        {                                                                      \
            NULL, NULL                                                         \
        }                                                                      \
    }

const struct bench bench_echo_64_1 = {
    .figures = FIGURES("echo.64.1"),
    .contenders = contenders,
    .subject = &(const struct load){64, 1},
};

const struct bench bench_echo_64_100 = {
    .figures = FIGURES("echo.64.100"),
    .contenders = contenders,
    .subject = &(const struct load){64, 100},
};

const struct bench bench_echo_64_1000 = {
    .figures = FIGURES("echo.64.1000"),
    .contenders = contenders,
    .subject = &(const struct load){64, 1000},
};

const struct bench bench_echo_16k_1 = {
    .figures = FIGURES("echo.16k.1"),
    .contenders = contenders,
    .subject = &(const struct load){16 << 10, 1},
};

const struct bench bench_echo_16k_100 = {
    .figures = FIGURES("echo.16k.100"),
    .contenders = contenders,
    .subject = &(const struct load){16 << 10, 100},
};

const struct bench bench_echo_16k_1000 = {
    .figures = FIGURES("echo.16k.1000"),
    .contenders = contenders,
    .subject = &(const struct load){16 << 10, 1000},
};
