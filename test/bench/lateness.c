/*
 * test/bench/lateness.c - how late is a timer of a tenth of a millisecond?
 *
 * One timer after the other; each is started by the one before. Late is counted
 * from 100 us after the call that starts it, with the loop's time set right
 * first. libuv can be asked for no less than a millisecond.
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

enum { TIMES = 500, DELAY_US = 100 };

static uint64_t started_ns;
static double late_us[TIMES];
static size_t times;

/* In the timer's callback. Returns whether to start it again. */
static bool note_lateness(void)
{
    double after_ns = (double)(bench_now_ns() - started_ns);
    late_us[times++] = after_ns / 1000 - DELAY_US;
    return times < TIMES;
}

static void tell_lateness(double *values)
{
    BENCH_NEED(times == TIMES);
    values[0] = bench_quantile(late_us, TIMES, 0.5);
    values[1] = bench_quantile(late_us, TIMES, 0.99);
}

/* ---- eddy ---------------------------------------------------------------- */

static void fire_eddy(struct ed_timer *timer);

static void start_eddy(struct ed_loop *loop, struct ed_timer *timer)
{
    started_ns = bench_now_ns();
    ed_loop_update_now(loop);
    ed_timer_start(loop, timer, DELAY_US * ED_US, fire_eddy);
}

static void fire_eddy(struct ed_timer *timer)
{
    if (note_lateness())
        start_eddy(timer->loop, timer);
}

static void late_eddy(const struct bench *bench, double *values)
{
    (void)bench;
    struct ed_loop loop;
    struct ed_timer timer = {0};
    BENCH_NEED(ed_loop_init(&loop) == 0);
    start_eddy(&loop, &timer);
    BENCH_NEED(ed_loop_run(&loop) == 0);
    tell_lateness(values);
    ed_loop_destroy(&loop);
}

/* ---- libuv --------------------------------------------------------------- */

#ifdef BENCH_LIBUV
static void fire_libuv(uv_timer_t *timer);

static void start_libuv(uv_timer_t *timer)
{
    started_ns = bench_now_ns();
    uv_update_time(timer->loop);
    uv_timer_start(timer, fire_libuv, 1, 0);
}

static void fire_libuv(uv_timer_t *timer)
{
    if (note_lateness())
        start_libuv(timer);
}

static void late_libuv(const struct bench *bench, double *values)
{
    (void)bench;
    uv_loop_t loop;
    uv_timer_t timer;
    BENCH_NEED(uv_loop_init(&loop) == 0);
    uv_timer_init(&loop, &timer);
    start_libuv(&timer);
    BENCH_NEED(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    tell_lateness(values);
}
#endif

/* ---- libev --------------------------------------------------------------- */

#ifdef BENCH_LIBEV
static void start_libev(struct ev_loop *loop, ev_timer *timer)
{
    started_ns = bench_now_ns();
    ev_now_update(loop);
    ev_timer_set(timer, DELAY_US * 1e-6, 0.);
    ev_timer_start(loop, timer);
}

static void fire_libev(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)events;
    if (note_lateness())
        start_libev(loop, timer);
}

static void late_libev(const struct bench *bench, double *values)
{
    (void)bench;
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    BENCH_NEED(loop);
    ev_timer timer;
    ev_init(&timer, fire_libev);
    start_libev(loop, &timer);
    ev_run(loop, 0);
    tell_lateness(values);
    ev_loop_destroy(loop);
}
#endif

/* ---- libevent ------------------------------------------------------------ */

#ifdef BENCH_LIBEVENT
static void start_libevent(struct event *timer)
{
    started_ns = bench_now_ns();
    event_base_update_cache_time(event_get_base(timer));
    evtimer_add(timer, &(struct timeval){.tv_usec = DELAY_US});
}

static void fire_libevent(evutil_socket_t fd, short events, void *data)
{
    (void)fd;
    (void)events;
    if (note_lateness())
        start_libevent(*(struct event **)data);
}

static void late_libevent(const struct bench *bench, double *values)
{
    (void)bench;
    struct event_config *config = event_config_new();
    BENCH_NEED(config);
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    struct event_base *base = event_base_new_with_config(config);
    BENCH_NEED(base);
    struct event *timer = NULL;
    timer = evtimer_new(base, fire_libevent, &timer);
    start_libevent(timer);
    BENCH_NEED(event_base_dispatch(base) == 1);
    tell_lateness(values);
    event_free(timer);
    event_base_free(base);
    event_config_free(config);
}
#endif

/* -------------------------------------------------------------------------- */

const struct bench bench_timer_late = {
    .figures =
        (const struct bench_figure[]){
            {"timer.late.p50", "us"},
            {"timer.late.p99", "us"},
            {NULL, NULL},
        },
    .contenders =
        (const struct bench_contender[]){
            {"eddy", late_eddy},
            {"libuv", BENCH_IF_LIBUV(late_libuv)},
            {"libev", BENCH_IF_LIBEV(late_libev)},
            {"libevent", BENCH_IF_LIBEVENT(late_libevent)},
            {NULL, NULL},
        },
};
