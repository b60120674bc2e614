/*
 * test/bench/tasks.c - what does a trip to a worker and back cost?
 *
 * The tasks are empty. task.burst: 1024 are always under way. task.pingpong:
 * one after the other; with the CPU time that each takes on both threads. Who
 * lingers pays by looking for what comes; "eddy-quiet" does not.
 */
#include "loop/loop.h"
#include "pool/pool.h"
#include "test/bench/bench.h"

#ifdef BENCH_LIBUV
#include <uv.h>
#endif

enum { UNDER_WAY = 1024 };

static struct bench_lap lap;
static int left; // under way

/* What the workers do; counted on one of them at a time only in ping-pong. */
static uint64_t ran;

static void tell_rate(double *values)
{
    values[0] = 1e9 / lap.ns;
    BENCH_NEED(left == 0);
    BENCH_NEED(__atomic_load_n(&ran, __ATOMIC_RELAXED) >= lap.count);
}

static void tell_trip(double *values)
{
    values[0] = lap.ns / 1000;
    values[1] = lap.cpu_ns / 1000;
    BENCH_NEED(left == 0);
    BENCH_NEED(__atomic_load_n(&ran, __ATOMIC_RELAXED) >= lap.count);
}

/* ---- eddy ---------------------------------------------------------------- */

static struct ed_pool pool;

static void run_eddy(struct ed_task *task)
{
    (void)task;
    __atomic_add_fetch(&ran, 1, __ATOMIC_RELAXED);
}

static void done_eddy(struct ed_task *task)
{
    static bool is_over;
    BENCH_NEED(task->error == 0);
    is_over = is_over || !bench_lap_goes_on(&lap);
    if (is_over)
        left--;
    else
        ed_task_submit(&pool, task, run_eddy, done_eddy);
}

static void run_tasks_eddy(int count, const struct ed_pool_options *options)
{
    static struct ed_task tasks[UNDER_WAY];
    struct ed_loop loop;
    BENCH_NEED(ed_loop_init(&loop) == 0);
    BENCH_NEED(ed_pool_init(&pool, &loop, options) == 0);

    bench_lap_begin(&lap);
    for (left = 0; left < count; left++)
        ed_task_submit(&pool, &tasks[left], run_eddy, done_eddy);
    BENCH_NEED(ed_loop_run(&loop) == 0);
    ed_pool_destroy(&pool);
    ed_loop_destroy(&loop);
}

static const struct ed_pool_options quiet = {.never_linger = true};

static void burst_eddy(const struct bench *bench, double *values)
{
    (void)bench;
    run_tasks_eddy(UNDER_WAY, NULL);
    tell_rate(values);
}

static void burst_eddy_quiet(const struct bench *bench, double *values)
{
    (void)bench;
    run_tasks_eddy(UNDER_WAY, &quiet);
    tell_rate(values);
}

static void pingpong_eddy(const struct bench *bench, double *values)
{
    (void)bench;
    run_tasks_eddy(1, NULL);
    tell_trip(values);
}

static void pingpong_eddy_quiet(const struct bench *bench, double *values)
{
    (void)bench;
    run_tasks_eddy(1, &quiet);
    tell_trip(values);
}

/* ---- libuv --------------------------------------------------------------- */

#ifdef BENCH_LIBUV
static void run_libuv(uv_work_t *work)
{
    (void)work;
    __atomic_add_fetch(&ran, 1, __ATOMIC_RELAXED);
}

static void done_libuv(uv_work_t *work, int status)
{
    static bool is_over;
    BENCH_NEED(status == 0);
    is_over = is_over || !bench_lap_goes_on(&lap);
    if (is_over)
        left--;
    else
        uv_queue_work(work->loop, work, run_libuv, done_libuv);
}

static void run_works_libuv(int count)
{
    static uv_work_t works[UNDER_WAY];
    uv_loop_t loop;
    BENCH_NEED(uv_loop_init(&loop) == 0);

    bench_lap_begin(&lap);
    for (left = 0; left < count; left++)
        uv_queue_work(&loop, &works[left], run_libuv, done_libuv);
    BENCH_NEED(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    BENCH_NEED(uv_loop_close(&loop) == 0);
}

static void burst_libuv(const struct bench *bench, double *values)
{
    (void)bench;
    run_works_libuv(UNDER_WAY);
    tell_rate(values);
}

static void pingpong_libuv(const struct bench *bench, double *values)
{
    (void)bench;
    run_works_libuv(1);
    tell_trip(values);
}
#endif

/* -------------------------------------------------------------------------- */

const struct bench bench_task_burst = {
    .figures =
        (const struct bench_figure[]){
            {"task.burst", "tasks/s"},
            {NULL, NULL},
        },
    .contenders =
        (const struct bench_contender[]){
            {"eddy", burst_eddy},
            {"eddy-quiet", burst_eddy_quiet},
            {"libuv", BENCH_IF_LIBUV(burst_libuv)},
            {NULL, NULL},
        },
};

const struct bench bench_task_pingpong = {
    .figures =
        (const struct bench_figure[]){
            {"task.pingpong", "us"},
            {"task.pingpong.cpu", "us"},
            {NULL, NULL},
        },
    .contenders =
        (const struct bench_contender[]){
            {"eddy", pingpong_eddy},
            {"eddy-quiet", pingpong_eddy_quiet},
            {"libuv", BENCH_IF_LIBUV(pingpong_libuv)},
            {NULL, NULL},
        },
};
