/*
 * test/bench/connections.c - how much memory does a connection take?
 *
 * 10,000 of them, over each of which a message has come and gone. What the
 * server's process has of memory of its own then is compared with what it had
 * after the first hundred; the kernel's sockets are not in it.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "test/bench/bench.h"
#include "test/bench/servers.h"

enum { FIRST = 100, CONNECTIONS = 10000, SPARE_DESCRIPTORS = 64 };

static struct bench_server server;

static void connect_and_use(int count)
{
    static const char message[64] = "a message";
    for (int i = 0; i < count; i++) {
        char reply[sizeof message];
        int fd = bench_server_connect(&server); // open until the process ends
        BENCH_NEED(write(fd, message, sizeof message) == sizeof message);
        BENCH_NEED(read(fd, reply, sizeof reply) == sizeof reply);
        BENCH_NEED(memcmp(message, reply, sizeof reply) == 0);
    }
}

/* Pages of the server's that are not a file's, exactly. */
static double server_memory(void)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)server.process);
    FILE *file = fopen(path, "r");
    BENCH_NEED(file);
    double kib = 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "Anonymous: %lf", &kib) == 1)
            break;
    BENCH_NEED(kib > 0);
    fclose(file);
    return kib * 1024;
}

static void measure_connections(double *values, bench_serve_fn *serve)
{
    unsigned long descriptors = FIRST + CONNECTIONS + SPARE_DESCRIPTORS;
    if (!bench_may_have_descriptors(descriptors)) {
        fprintf(stderr,
                "bench: connections: left out, for it takes %lu "
                "descriptors (ulimit -Hn)\n",
                descriptors);
        return;
    }
    bench_server_start(&server, serve);
    connect_and_use(FIRST);
    double before = server_memory();
    connect_and_use(CONNECTIONS);
    values[0] = (server_memory() - before) / CONNECTIONS;
    bench_server_stop(&server);
}

/* ---- the servers --------------------------------------------------------- */

static void connections_eddy(const struct bench *bench, double *values)
{
    (void)bench;
    measure_connections(values, bench_serve_eddy);
}

#ifdef BENCH_LIBUV
static void connections_libuv(const struct bench *bench, double *values)
{
    (void)bench;
    measure_connections(values, bench_serve_libuv);
}
#endif

#ifdef BENCH_LIBEV
static void connections_libev(const struct bench *bench, double *values)
{
    (void)bench;
    measure_connections(values, bench_serve_libev);
}
#endif

#ifdef BENCH_LIBEVENT
static void connections_libevent(const struct bench *bench, double *values)
{
    (void)bench;
    measure_connections(values, bench_serve_libevent);
}
#endif

/* -------------------------------------------------------------------------- */

const struct bench bench_connections = {
    .figures =
        (const struct bench_figure[]){
            {"connections.memory", "bytes"},
            {NULL, NULL},
        },
    .contenders =
        (const struct bench_contender[]){
            {"eddy", connections_eddy},
            {"libuv", BENCH_IF_LIBUV(connections_libuv)},
            {"libev", BENCH_IF_LIBEV(connections_libev)},
            {"libevent", BENCH_IF_LIBEVENT(connections_libevent)},
            {NULL, NULL},
        },
};
