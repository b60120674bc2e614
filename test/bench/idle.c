/*
 * test/bench/idle.c - what does a program use that has nothing to do?
 *
 * A loop and a pool do some work, then nothing. Their CPU time is read from
 * outside, by another process, so that looking at it costs them nothing.
 */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "loop/loop.h"
#include "pool/pool.h"
#include "test/bench/bench.h"

#ifdef BENCH_LIBUV
#include <uv.h>
#endif

enum { TASKS = 1000 };

static const struct timespec settling = {.tv_nsec = 100000000};
static const struct timespec idling = {.tv_sec = 1};

static int signal_fd; // where to say that the work is done
static int done_tasks;

static void say_when_all_is_done(void)
{
    if (++done_tasks == TASKS)
        BENCH_NEED(write(signal_fd, "", 1) == 1);
}

static double cpu_us(clockid_t clock)
{
    struct timespec used;
    BENCH_NEED(clock_gettime(clock, &used) == 0);
    return (double)used.tv_sec * 1e6 + (double)used.tv_nsec / 1e3;
}

/* The program works, says that it is done, and then never returns. */
static void watch_idling(void (*program)(void), double *values)
{
    int ends[2];
    BENCH_NEED(pipe(ends) == 0);
    pid_t child = fork();
    BENCH_NEED(child >= 0);
    if (child == 0) {
        signal_fd = ends[1];
        program();
        _exit(1);
    }
    close(ends[1]);
    char byte;
    BENCH_NEED(read(ends[0], &byte, 1) == 1);

    clockid_t clock;
    BENCH_NEED(clock_getcpuclockid(child, &clock) == 0);
    nanosleep(&settling, NULL);
    double before_us = cpu_us(clock);
    nanosleep(&idling, NULL);
    values[0] = cpu_us(clock) - before_us;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

/* ---- eddy ---------------------------------------------------------------- */

static void run_eddy(struct ed_task *task)
{
    (void)task;
}

static void done_eddy(struct ed_task *task)
{
    (void)task;
    say_when_all_is_done();
}

static void work_then_idle_eddy(void)
{
    static struct ed_task tasks[TASKS];
    struct ed_loop loop;
    struct ed_pool pool;
    BENCH_NEED(ed_loop_init(&loop) == 0);
    BENCH_NEED(ed_pool_init(&pool, &loop, NULL) == 0);
    ed_loop_ref(&loop);
    for (int i = 0; i < TASKS; i++)
        ed_task_submit(&pool, &tasks[i], run_eddy, done_eddy);
    ed_loop_run(&loop);
}

static void idle_eddy(const struct bench *bench, double *values)
{
    (void)bench;
    watch_idling(work_then_idle_eddy, values);
}

/* ---- libuv --------------------------------------------------------------- */

#ifdef BENCH_LIBUV
static void run_libuv(uv_work_t *work)
{
    (void)work;
}

static void done_libuv(uv_work_t *work, int status)
{
    (void)work;
    (void)status;
    say_when_all_is_done();
}

static void work_then_idle_libuv(void)
{
    static uv_work_t works[TASKS];
    uv_loop_t loop;
    uv_async_t something_to_wait_for;
    BENCH_NEED(uv_loop_init(&loop) == 0);
    BENCH_NEED(uv_async_init(&loop, &something_to_wait_for, NULL) == 0);
    for (int i = 0; i < TASKS; i++)
        uv_queue_work(&loop, &works[i], run_libuv, done_libuv);
    uv_run(&loop, UV_RUN_DEFAULT);
}

static void idle_libuv(const struct bench *bench, double *values)
{
    (void)bench;
    watch_idling(work_then_idle_libuv, values);
}
#endif

/* -------------------------------------------------------------------------- */

const struct bench bench_idle = {
    .figures =
        (const struct bench_figure[]){
            {"idle.cpu", "us"},
            {NULL, NULL},
        },
    .contenders =
        (const struct bench_contender[]){
            {"eddy", idle_eddy},
            {"libuv", BENCH_IF_LIBUV(idle_libuv)},
            {NULL, NULL},
        },
};
