/*
 * test/bench/servers.h - echo servers, as their libraries' users write them
 *
 *     struct bench_server server;
 *     bench_server_start(&server, bench_serve_eddy);
 *     int fd = bench_server_connect(&server);
 *     ...
 *     bench_server_stop(&server);
 *
 * A server is a process of its own, and so is its load: the process that
 * measures. Where there are two processors, each has one to itself.
 */
#ifndef EDDY_TEST_BENCH_SERVERS_H
#define EDDY_TEST_BENCH_SERVERS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/*
 * Sends back what comes, over each connection to this socket, which listens
 * already and is non-blocking; until the process is killed.
 */
typedef void bench_serve_fn(int listening);

void bench_serve_bare(int listening); // epoll, and nothing above it
void bench_serve_eddy(int listening);
#ifdef BENCH_LIBUV
void bench_serve_libuv(int listening);
#endif
#ifdef BENCH_LIBEV
void bench_serve_libev(int listening);
#endif
#ifdef BENCH_LIBEVENT
void bench_serve_libevent(int listening);
#endif

struct bench_server {
    pid_t process;
    clockid_t cpu_clock;
    struct sockaddr_in address;
};

void bench_server_start(struct bench_server *server, bench_serve_fn *serve);
void bench_server_stop(struct bench_server *server);

/*
 * Returns a connected socket, which blocks. To close it resets the connection:
 * so nothing is left of it, and ports do not run out.
 */
int bench_server_connect(const struct bench_server *server);

/* Raises this process's limit. Returns whether it may have so many. */
bool bench_may_have_descriptors(unsigned long count);

#endif
