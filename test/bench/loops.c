/*
 * test/bench/loops.c - what do a loop and a turn of it cost?
 *
 * loop.init: a loop is made and destroyed. loop.turn: a turn in which nothing
 * happens, with a timer that is not due, since without anything to wait for
 * some take no turn at all. Both are CPU time: nothing here waits.
 */
#include "loop/loop.h"
#include "test/bench/bench.h"

#ifdef BENCH_LIBUV
#include <uv.h>
#endif
#ifdef BENCH_LIBEV
#include <ev.h>
#endif
#ifdef BENCH_LIBEVENT
#include <event2/event.h>
#endif

enum { DELAY_S = 3600 };

/* ---- eddy ---------------------------------------------------------------- */

static void init_eddy(const struct bench *bench, double *values)
{
    (void)bench;
    struct bench_lap lap;
    bench_lap_begin(&lap);
    do {
        struct ed_loop loop;
        BENCH_NEED(ed_loop_init(&loop) == 0);
        ed_loop_destroy(&loop);
    } while (bench_lap_goes_on(&lap));
    values[0] = lap.cpu_ns;
}

static void fire_eddy(struct ed_timer *timer)
{
    BENCH_NEED(!timer);
}

static void turn_eddy(const struct bench *bench, double *values)
{
    (void)bench;
    struct ed_loop loop;
    struct ed_timer timer = {0};
    BENCH_NEED(ed_loop_init(&loop) == 0);
    ed_timer_start(&loop, &timer, DELAY_S * ED_S, fire_eddy);

    struct bench_lap lap;
    bench_lap_begin(&lap);
    do
        BENCH_NEED(ed_loop_run_once(&loop, 0) == 1);
    while (bench_lap_goes_on(&lap));
    values[0] = lap.cpu_ns;
    ed_loop_destroy(&loop);
}

/* ---- libuv --------------------------------------------------------------- */

#ifdef BENCH_LIBUV
static void init_libuv(const struct bench *bench, double *values)
{
    (void)bench;
    struct bench_lap lap;
    bench_lap_begin(&lap);
    do {
        uv_loop_t loop;
        BENCH_NEED(uv_loop_init(&loop) == 0);
        BENCH_NEED(uv_loop_close(&loop) == 0);
    } while (bench_lap_goes_on(&lap));
    values[0] = lap.cpu_ns;
}

static void fire_libuv(uv_timer_t *timer)
{
    BENCH_NEED(!timer);
}

static void turn_libuv(const struct bench *bench, double *values)
{
    (void)bench;
    uv_loop_t loop;
    uv_timer_t timer;
    BENCH_NEED(uv_loop_init(&loop) == 0);
    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, fire_libuv, DELAY_S * 1000, 0);

    struct bench_lap lap;
    bench_lap_begin(&lap);
    do
        BENCH_NEED(uv_run(&loop, UV_RUN_NOWAIT) != 0);
    while (bench_lap_goes_on(&lap));
    values[0] = lap.cpu_ns;
}
#endif

/* ---- libev --------------------------------------------------------------- */

#ifdef BENCH_LIBEV
static void init_libev(const struct bench *bench, double *values)
{
    (void)bench;
    struct bench_lap lap;
    bench_lap_begin(&lap);
    do {
        struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
        BENCH_NEED(loop);
        ev_loop_destroy(loop);
    } while (bench_lap_goes_on(&lap));
    values[0] = lap.cpu_ns;
}

static void fire_libev(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    BENCH_NEED(!timer);
}

static void turn_libev(const struct bench *bench, double *values)
{
    (void)bench;
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    BENCH_NEED(loop);
    ev_timer timer;
    ev_timer_init(&timer, fire_libev, DELAY_S, 0.);
    ev_timer_start(loop, &timer);

    struct bench_lap lap;
    bench_lap_begin(&lap);
    do
        BENCH_NEED(ev_run(loop, EVRUN_NOWAIT) != 0);
    while (bench_lap_goes_on(&lap));
    values[0] = lap.cpu_ns;
    ev_loop_destroy(loop);
}
#endif

/* ---- libevent ------------------------------------------------------------ */

#ifdef BENCH_LIBEVENT
static void init_libevent(const struct bench *bench, double *values)
{
    (void)bench;
    struct bench_lap lap;
    bench_lap_begin(&lap);
    do {
        struct event_base *base = event_base_new();
        BENCH_NEED(base);
        event_base_free(base);
    } while (bench_lap_goes_on(&lap));
    values[0] = lap.cpu_ns;
}

static void fire_libevent(evutil_socket_t fd, short events, void *data)
{
    (void)fd;
    (void)data;
    BENCH_NEED(!events);
}

static void turn_libevent(const struct bench *bench, double *values)
{
    (void)bench;
    struct event_base *base = event_base_new();
    BENCH_NEED(base);
    struct event *timer = evtimer_new(base, fire_libevent, NULL);
    BENCH_NEED(timer);
    evtimer_add(timer, &(struct timeval){.tv_sec = DELAY_S});

    struct bench_lap lap;
    bench_lap_begin(&lap);
    do
        BENCH_NEED(event_base_loop(base, EVLOOP_NONBLOCK) == 0);
    while (bench_lap_goes_on(&lap));
    values[0] = lap.cpu_ns;
    event_free(timer);
    event_base_free(base);
}
#endif

/* -------------------------------------------------------------------------- */

const struct bench bench_loop_init = {
    .figures =
        (const struct bench_figure[]){
            {"loop.init", "ns"},
            {NULL, NULL},
        },
    .contenders =
        (const struct bench_contender[]){
            {"eddy", init_eddy},
            {"libuv", BENCH_IF_LIBUV(init_libuv)},
            {"libev", BENCH_IF_LIBEV(init_libev)},
            {"libevent", BENCH_IF_LIBEVENT(init_libevent)},
            {NULL, NULL},
        },
};

const struct bench bench_loop_turn = {
    .figures =
        (const struct bench_figure[]){
            {"loop.turn", "ns"},
            {NULL, NULL},
        },
    .contenders =
        (const struct bench_contender[]){
            {"eddy", turn_eddy},
            {"libuv", BENCH_IF_LIBUV(turn_libuv)},
            {"libev", BENCH_IF_LIBEV(turn_libev)},
            {"libevent", BENCH_IF_LIBEVENT(turn_libevent)},
            {NULL, NULL},
        },
};
