/*
 * test/bench/connect.c - how many connections does a server take in a second?
 *
 * Each is accepted, carries one request of 64 bytes and its reply, and is
 * closed; 16 are under way, and the client waits for the oldest. The client
 * closes first, by a reset, so that neither side keeps the port for a minute,
 * which would make them run out.
 *
 * To connect costs the client more than to accept costs the server, so the rate
 * says less of a server than its CPU time for a connection (connect.cpu).
 */
#include <string.h>
#include <unistd.h>

#include "test/bench/bench.h"
#include "test/bench/servers.h"

enum { UNDER_WAY = 16, MESSAGE = 64 };

static struct bench_server server;

static int open_one(void)
{
    static const char message[MESSAGE] = "a request";
    int fd = bench_server_connect(&server);
    BENCH_NEED(write(fd, message, MESSAGE) == MESSAGE);
    return fd;
}

static void finish_one(int fd)
{
    char reply[MESSAGE];
    BENCH_NEED(read(fd, reply, MESSAGE) == MESSAGE);
    BENCH_NEED(strcmp(reply, "a request") == 0);
    close(fd);
}

static void measure_connect(double *values, bench_serve_fn *serve)
{
    bench_server_start(&server, serve);
    int under_way[UNDER_WAY];
    for (int i = 0; i < UNDER_WAY; i++)
        under_way[i] = open_one();

    struct bench_lap lap;
    int oldest = 0;
    bench_lap_begin_with(&lap, server.cpu_clock);
    do {
        finish_one(under_way[oldest]);
        under_way[oldest] = open_one();
        oldest = (oldest + 1) % UNDER_WAY;
    } while (bench_lap_goes_on(&lap));

    values[0] = 1e9 / lap.ns;
    values[1] = lap.cpu_ns / 1000;
    bench_server_stop(&server);
}

/* ---- the servers --------------------------------------------------------- */

static void connect_bare(const struct bench *bench, double *values)
{
    (void)bench;
    measure_connect(values, bench_serve_bare);
}

static void connect_eddy(const struct bench *bench, double *values)
{
    (void)bench;
    measure_connect(values, bench_serve_eddy);
}

#ifdef BENCH_LIBUV
static void connect_libuv(const struct bench *bench, double *values)
{
    (void)bench;
    measure_connect(values, bench_serve_libuv);
}
#endif

#ifdef BENCH_LIBEV
static void connect_libev(const struct bench *bench, double *values)
{
    (void)bench;
    measure_connect(values, bench_serve_libev);
}
#endif

#ifdef BENCH_LIBEVENT
static void connect_libevent(const struct bench *bench, double *values)
{
    (void)bench;
    measure_connect(values, bench_serve_libevent);
}
#endif

/* -------------------------------------------------------------------------- */

const struct bench bench_connect = {
    .figures =
        (const struct bench_figure[]){
            {"connect", "connections/s"},
            {"connect.cpu", "us"},
            {NULL, NULL},
        },
    .contenders =
        (const struct bench_contender[]){
            {"eddy", connect_eddy},
            {"libuv", BENCH_IF_LIBUV(connect_libuv)},
            {"libev", BENCH_IF_LIBEV(connect_libev)},
            {"libevent", BENCH_IF_LIBEVENT(connect_libevent)},
            {"bare", connect_bare},
            {NULL, NULL},
        },
};
