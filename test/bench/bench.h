/*
 * test/bench/bench.h - how fast is it, and how fast are others?
 *
 *     build/bench                      measures everything
 *     build/bench timer read.4k.1      what is called so, or so and a dot
 *     build/bench --list               prints the names
 *     build/bench --runs 9 --pin       nine runs each; on one processor only
 *     build/bench --only eddy task     measures nobody else, for profiling
 *
 * A bench asks one question of several contenders: eddy, and its peers as far
 * as they were there when this was built. It prints one line a figure:
 *
 *     name TAB who TAB value TAB unit
 *
 * The runs alternate between the contenders, and the median is printed. Each
 * measurement has a process of its own, and so its own heap, threads and CPU
 * time. It checks what it did: a fast wrong answer ends the program.
 */
#ifndef EDDY_TEST_BENCH_BENCH_H
#define EDDY_TEST_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct bench;

/*
 * Measures once. Fills in a value for each of the bench's figures, in their
 * order; those that it leaves alone are not printed.
 */
typedef void bench_fn(const struct bench *bench, double *values);

struct bench_figure {
    const char *name;
    const char *unit;
};

struct bench_contender {
    const char *who;
    bench_fn *measure; // NULL: not on this machine
};

struct bench {
    const struct bench_figure *figures;       // the last one's name is NULL
    const struct bench_contender *contenders; // the last one's who is NULL
    const void *subject;                      // told to measure; may be NULL

    // Before the first run and after the last, however that ends; may be NULL.
    void (*set_up)(const struct bench *bench);
    void (*clean_up)(const struct bench *bench);
};

enum { BENCH_MOST_FIGURES = 16, BENCH_MOST_CONTENDERS = 16 };

/*
 * The peers. A table of contenders names them all and gets those there are:
 *
 *     {"eddy", fire_eddy}, {"libuv", BENCH_IF_LIBUV(fire_libuv)}, {NULL, NULL}
 */
#ifdef BENCH_LIBUV
#define BENCH_IF_LIBUV(measure) (measure)
#else
#define BENCH_IF_LIBUV(measure) NULL
#endif
#ifdef BENCH_LIBEV
#define BENCH_IF_LIBEV(measure) (measure)
#else
#define BENCH_IF_LIBEV(measure) NULL
#endif
#ifdef BENCH_LIBEVENT
#define BENCH_IF_LIBEVENT(measure) (measure)
#else
#define BENCH_IF_LIBEVENT(measure) NULL
#endif

/* Ends the measurement and the program unless what must be true is. */
#define BENCH_NEED(condition)                                                  \
    ((condition) ? (void)0 : bench_give_up(__FILE__, __LINE__, #condition))

_Noreturn void bench_give_up(const char *file, int line, const char *what);

/* The clock, and the CPU time that this process has used on all threads. */
uint64_t bench_now_ns(void);
uint64_t bench_cpu_ns(void);

/* Zeroed memory whose pages are there already. It goes with the process. */
void *bench_memory(size_t count, size_t size);

/* A random number below limit; the same ones in every measurement. */
uint32_t bench_random(uint32_t limit);

/* The numbers from 0 to count - 1 in random order. */
uint32_t *bench_shuffled(uint32_t count);

/* Sorts the values and returns the one that this part of them is not above. */
double bench_quantile(double *values, size_t count, double part);

/*
 * For work that is repeated for a while: first to warm up, then to be measured.
 *
 *     struct bench_lap lap;
 *     bench_lap_begin(&lap);
 *     do work(); while (bench_lap_goes_on(&lap));
 */
struct bench_lap {
    uint64_t count;  // how often it was done, warming up not counted
    double ns;       // for each, by the clock
    double cpu_ns;   // for each, of CPU time
    bool is_warm;    // it counts from now on
    unsigned unseen; // private: times since the clock was read
    clockid_t cpu_clock;
    uint64_t begin_ns;
    uint64_t begin_cpu_ns;
};

void bench_lap_begin(struct bench_lap *lap);

/* The same, with the CPU time of another process. */
void bench_lap_begin_with(struct bench_lap *lap, clockid_t cpu_clock);

/* To be called after each time. Returns false when it is enough. */
bool bench_lap_goes_on(struct bench_lap *lap);

/* ---- the questions ------------------------------------------------------- */

extern const struct bench bench_timer_start_stop; // timers.c
extern const struct bench bench_timer_fire;
extern const struct bench bench_timer_late;    // lateness.c
extern const struct bench bench_message_burst; // messages.c
extern const struct bench bench_message_pingpong;
extern const struct bench bench_task_burst; // tasks.c
extern const struct bench bench_task_pingpong;
extern const struct bench bench_idle;      // idle.c
extern const struct bench bench_read_4k_1; // reads.c
extern const struct bench bench_read_4k_64;
extern const struct bench bench_read_64k_64;
extern const struct bench bench_read_1m_8;
extern const struct bench bench_stat_64;   // stats.c
extern const struct bench bench_echo_64_1; // echo.c
extern const struct bench bench_echo_64_100;
extern const struct bench bench_echo_64_1000;
extern const struct bench bench_echo_16k_1;
extern const struct bench bench_echo_16k_100;
extern const struct bench bench_echo_16k_1000;
extern const struct bench bench_connect;     // connect.c
extern const struct bench bench_connections; // connections.c
extern const struct bench bench_udp;         // udp.c
extern const struct bench bench_loop_init;   // loops.c
extern const struct bench bench_loop_turn;
extern const struct bench bench_sizes; // sizes.c

#endif
