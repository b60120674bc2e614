/*
 * test/bench/timers.c - what does a timer cost among a million others?
 *
 * timer.start, timer.stop: started in the order in which they lie in memory,
 * stopped in a random one, as time limits are; start_stop is the sum. A round
 * that is not measured comes first. timer.fire: all are due when the loop runs.
 *
 * Delays are random, up to a second, whole microseconds; libuv gets whole
 * milliseconds, since it has no others. Nothing here waits, so it is CPU time
 * that is measured, which suffers less from what else the machine does.
 */
#include <time.h>

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
#include <event2/event_struct.h>
#endif

enum { TIMERS = 1000000, LONGEST_US = 1000000 };

static uint32_t fired;

static uint32_t *random_delays_us(void)
{
    uint32_t *delays_us = bench_memory(TIMERS, sizeof *delays_us);
    for (int i = 0; i < TIMERS; i++)
        delays_us[i] = bench_random(LONGEST_US);
    return delays_us;
}

/* Between starting the timers and firing them. */
static void let_all_become_due(void)
{
    nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 50000000}, NULL);
}

static void tell_start_stop(double *values, uint64_t begin_ns,
                            uint64_t started_ns, uint64_t stopped_ns)
{
    values[0] = (double)(started_ns - begin_ns) / TIMERS;
    values[1] = (double)(stopped_ns - started_ns) / TIMERS;
    values[2] = (double)(stopped_ns - begin_ns) / TIMERS;
}

static void tell_fired(double *values, uint64_t begin_ns)
{
    values[0] = (double)(bench_cpu_ns() - begin_ns) / TIMERS;
    BENCH_NEED(fired == TIMERS);
}

/* ---- eddy ---------------------------------------------------------------- */

static void fire_eddy_timer(struct ed_timer *timer)
{
    (void)timer;
    fired++;
}

static void start_stop_eddy(const struct bench *bench, double *values)
{
    (void)bench;
    struct ed_timer *timers = bench_memory(TIMERS, sizeof *timers);
    const uint32_t *delays_us = random_delays_us();
    const uint32_t *order = bench_shuffled(TIMERS);
    struct ed_loop loop;
    BENCH_NEED(ed_loop_init(&loop) == 0);

    for (int round = 0; round < 2; round++) {
        uint64_t begin_ns = bench_cpu_ns();
        for (int i = 0; i < TIMERS; i++)
            ed_timer_start(&loop, &timers[i], delays_us[i] * ED_US,
                           fire_eddy_timer);
        uint64_t started_ns = bench_cpu_ns();
        for (int i = 0; i < TIMERS; i++)
            ed_timer_stop(&timers[order[i]]);
        tell_start_stop(values, begin_ns, started_ns, bench_cpu_ns());
    }
    BENCH_NEED(!ed_loop_is_alive(&loop));
    ed_loop_destroy(&loop);
}

static void fire_eddy(const struct bench *bench, double *values)
{
    (void)bench;
    struct ed_timer *timers = bench_memory(TIMERS, sizeof *timers);
    const uint32_t *delays_us = random_delays_us();
    struct ed_loop loop;
    BENCH_NEED(ed_loop_init(&loop) == 0);

    for (int i = 0; i < TIMERS; i++)
        ed_timer_start(&loop, &timers[i], delays_us[i] * ED_US,
                       fire_eddy_timer);
    let_all_become_due();
    uint64_t begin_ns = bench_cpu_ns();
    BENCH_NEED(ed_loop_run(&loop) == 0);
    tell_fired(values, begin_ns);
    ed_loop_destroy(&loop);
}

/* ---- libuv --------------------------------------------------------------- */

#ifdef BENCH_LIBUV
static void fire_libuv_timer(uv_timer_t *timer)
{
    (void)timer;
    fired++;
}

static uv_timer_t *libuv_timers(uv_loop_t *loop)
{
    uv_timer_t *timers = bench_memory(TIMERS, sizeof *timers);
    BENCH_NEED(uv_loop_init(loop) == 0);
    for (int i = 0; i < TIMERS; i++)
        uv_timer_init(loop, &timers[i]);
    return timers;
}

static void start_stop_libuv(const struct bench *bench, double *values)
{
    (void)bench;
    uv_loop_t loop;
    uv_timer_t *timers = libuv_timers(&loop);
    const uint32_t *delays_us = random_delays_us();
    const uint32_t *order = bench_shuffled(TIMERS);

    for (int round = 0; round < 2; round++) {
        uint64_t begin_ns = bench_cpu_ns();
        for (int i = 0; i < TIMERS; i++)
            uv_timer_start(&timers[i], fire_libuv_timer, delays_us[i] / 1000,
                           0);
        uint64_t started_ns = bench_cpu_ns();
        for (int i = 0; i < TIMERS; i++)
            uv_timer_stop(&timers[order[i]]);
        tell_start_stop(values, begin_ns, started_ns, bench_cpu_ns());
    }
    BENCH_NEED(!uv_loop_alive(&loop));
}

static void fire_libuv(const struct bench *bench, double *values)
{
    (void)bench;
    uv_loop_t loop;
    uv_timer_t *timers = libuv_timers(&loop);
    const uint32_t *delays_us = random_delays_us();

    uv_update_time(&loop);
    for (int i = 0; i < TIMERS; i++)
        uv_timer_start(&timers[i], fire_libuv_timer, delays_us[i] / 1000, 0);
    let_all_become_due();
    uint64_t begin_ns = bench_cpu_ns();
    BENCH_NEED(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    tell_fired(values, begin_ns);
}
#endif

/* ---- libev --------------------------------------------------------------- */

#ifdef BENCH_LIBEV
static void fire_libev_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
    fired++;
}

static ev_timer *libev_timers(void)
{
    ev_timer *timers = bench_memory(TIMERS, sizeof *timers);
    for (int i = 0; i < TIMERS; i++)
        ev_init(&timers[i], fire_libev_timer);
    return timers;
}

static void start_libev(struct ev_loop *loop, ev_timer *timer,
                        uint32_t delay_us)
{
    ev_timer_set(timer, delay_us * 1e-6, 0.);
    ev_timer_start(loop, timer);
}

static void start_stop_libev(const struct bench *bench, double *values)
{
    (void)bench;
    ev_timer *timers = libev_timers();
    const uint32_t *delays_us = random_delays_us();
    const uint32_t *order = bench_shuffled(TIMERS);
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    BENCH_NEED(loop);

    for (int round = 0; round < 2; round++) {
        uint64_t begin_ns = bench_cpu_ns();
        for (int i = 0; i < TIMERS; i++)
            start_libev(loop, &timers[i], delays_us[i]);
        uint64_t started_ns = bench_cpu_ns();
        for (int i = 0; i < TIMERS; i++)
            ev_timer_stop(loop, &timers[order[i]]);
        tell_start_stop(values, begin_ns, started_ns, bench_cpu_ns());
    }
    ev_loop_destroy(loop);
}

static void fire_libev(const struct bench *bench, double *values)
{
    (void)bench;
    ev_timer *timers = libev_timers();
    const uint32_t *delays_us = random_delays_us();
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    BENCH_NEED(loop);

    for (int i = 0; i < TIMERS; i++)
        start_libev(loop, &timers[i], delays_us[i]);
    let_all_become_due();
    uint64_t begin_ns = bench_cpu_ns();
    ev_run(loop, 0);
    tell_fired(values, begin_ns);
    ev_loop_destroy(loop);
}
#endif

/* ---- libevent ------------------------------------------------------------ */

#ifdef BENCH_LIBEVENT
static void fire_libevent_timer(evutil_socket_t fd, short events, void *data)
{
    (void)fd;
    (void)events;
    (void)data;
    fired++;
}

static struct event *libevent_timers(struct event_base *base)
{
    struct event *timers = bench_memory(TIMERS, sizeof *timers);
    for (int i = 0; i < TIMERS; i++)
        evtimer_assign(&timers[i], base, fire_libevent_timer, NULL);
    return timers;
}

static void start_libevent(struct event *timer, uint32_t delay_us)
{
    struct timeval delay = {.tv_sec = delay_us / 1000000,
                            .tv_usec = delay_us % 1000000};
    evtimer_add(timer, &delay);
}

static void start_stop_libevent(const struct bench *bench, double *values)
{
    (void)bench;
    struct event_base *base = event_base_new();
    BENCH_NEED(base);
    struct event *timers = libevent_timers(base);
    const uint32_t *delays_us = random_delays_us();
    const uint32_t *order = bench_shuffled(TIMERS);

    for (int round = 0; round < 2; round++) {
        uint64_t begin_ns = bench_cpu_ns();
        for (int i = 0; i < TIMERS; i++)
            start_libevent(&timers[i], delays_us[i]);
        uint64_t started_ns = bench_cpu_ns();
        for (int i = 0; i < TIMERS; i++)
            evtimer_del(&timers[order[i]]);
        tell_start_stop(values, begin_ns, started_ns, bench_cpu_ns());
    }
    event_base_free(base);
}

static void fire_libevent(const struct bench *bench, double *values)
{
    (void)bench;
    struct event_base *base = event_base_new();
    BENCH_NEED(base);
    struct event *timers = libevent_timers(base);
    const uint32_t *delays_us = random_delays_us();

    for (int i = 0; i < TIMERS; i++)
        start_libevent(&timers[i], delays_us[i]);
    let_all_become_due();
    uint64_t begin_ns = bench_cpu_ns();
    BENCH_NEED(event_base_dispatch(base) == 1);
    tell_fired(values, begin_ns);
    event_base_free(base);
}
#endif

/* -------------------------------------------------------------------------- */

const struct bench bench_timer_start_stop = {
    .figures =
        (const struct bench_figure[]){
            {"timer.start", "ns"},
            {"timer.stop", "ns"},
            {"timer.start_stop", "ns"},
            {NULL, NULL},
        },
    .contenders =
        (const struct bench_contender[]){
            {"eddy", start_stop_eddy},
            {"libuv", BENCH_IF_LIBUV(start_stop_libuv)},
            {"libev", BENCH_IF_LIBEV(start_stop_libev)},
            {"libevent", BENCH_IF_LIBEVENT(start_stop_libevent)},
            {NULL, NULL},
        },
};

const struct bench bench_timer_fire = {
    .figures =
        (const struct bench_figure[]){
            {"timer.fire", "ns"},
            {NULL, NULL},
        },
    .contenders =
        (const struct bench_contender[]){
            {"eddy", fire_eddy},
            {"libuv", BENCH_IF_LIBUV(fire_libuv)},
            {"libev", BENCH_IF_LIBEV(fire_libev)},
            {"libevent", BENCH_IF_LIBEVENT(fire_libevent)},
            {NULL, NULL},
        },
};
