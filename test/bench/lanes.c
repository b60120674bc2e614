/*
 * test/bench/lanes.c - do reads wait for work that blocks?
 *
 * task.hol: 64 tasks sleep for a second each, and meanwhile, once a
 * millisecond, 4 KiB of a file are read, for a second in all. What is told is
 * how long those reads took that took longest but for one in a hundred, with
 * the sleepers there and without ("alone"). The file is in the page cache and
 * open: it is one trip to a worker.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "fs/fs.h"
#include "test/bench/bench.h"

#ifdef BENCH_LIBUV
#include <uv.h>
#endif

enum { SLEEPERS = 64, READS = 1000, SIZE = 4 << 10 };

static char file_path[512];
static int file_fd;
static int done_reads;
static uint64_t begun_ns[READS];
static double took_us[READS];
static char buffers[READS][SIZE];

static void make_file(const struct bench *bench)
{
    (void)bench;
    const char *parent = getenv("TMPDIR");
    snprintf(file_path, sizeof file_path, "%s/eddy-bench-XXXXXX",
             parent ? parent : "/tmp");
    int fd = mkstemp(file_path);
    BENCH_NEED(fd >= 0);
    BENCH_NEED(write(fd, buffers[0], SIZE) == SIZE);
    close(fd);
}

static void remove_file(const struct bench *bench)
{
    (void)bench;
    unlink(file_path);
}

static void sleep_a_second(void)
{
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
}

/* Returns whether it was the last one. */
static bool finish_read(int number, int64_t result)
{
    BENCH_NEED(result == SIZE);
    took_us[number] = (double)(bench_now_ns() - begun_ns[number]) / 1000;
    return ++done_reads == READS;
}

/* ---- eddy ---------------------------------------------------------------- */

static struct ed_loop loop;
static struct ed_pool pool;
static struct ed_timer ticker;
static struct ed_task_group sleepers;
static struct ed_fs_request requests[READS];
static int begun_reads;

static void run_sleeper(struct ed_task *task)
{
    (void)task;
    sleep_a_second();
}

static void done_sleeper(struct ed_task *task)
{
    (void)task;
}

static void done_read(struct ed_fs_request *request)
{
    if (finish_read((int)(request - requests), request->result))
        ed_task_group_cancel(&sleepers);
}

static void begin_read(struct ed_timer *timer)
{
    int number = begun_reads++;
    if (begun_reads == READS)
        ed_timer_stop(timer);
    begun_ns[number] = bench_now_ns();
    BENCH_NEED(ed_fs_read(&pool, &requests[number], file_fd, buffers[number],
                          SIZE, 0, done_read) == 0);
}

static double read_beside_eddy(int sleeping)
{
    static struct ed_task tasks[SLEEPERS];
    BENCH_NEED(ed_loop_init(&loop) == 0);
    BENCH_NEED(ed_pool_init(&pool, &loop, NULL) == 0);
    begun_reads = done_reads = 0;
    for (int i = 0; i < sleeping; i++) {
        tasks[i].group = &sleepers;
        BENCH_NEED(
            ed_task_submit(&pool, &tasks[i], run_sleeper, done_sleeper) == 0);
    }
    ed_timer_repeat(&loop, &ticker, ED_MS, begin_read);
    BENCH_NEED(ed_loop_run(&loop) == 0);
    ed_pool_destroy(&pool);
    ed_loop_destroy(&loop);
    return bench_quantile(took_us, READS, 0.99);
}

static void hol_eddy(const struct bench *bench, double *values)
{
    (void)bench;
    file_fd = open(file_path, O_RDONLY | O_CLOEXEC);
    BENCH_NEED(file_fd >= 0);
    values[1] = read_beside_eddy(0);
    values[0] = read_beside_eddy(SLEEPERS);
}

/* ---- libuv --------------------------------------------------------------- */

#ifdef BENCH_LIBUV
static uv_work_t works[SLEEPERS];
static uv_fs_t reads_libuv[READS];

static void run_sleeper_libuv(uv_work_t *work)
{
    (void)work;
    sleep_a_second();
}

static void done_sleeper_libuv(uv_work_t *work, int status)
{
    (void)work;
    BENCH_NEED(status == 0 || status == UV_ECANCELED);
}

static void done_read_libuv(uv_fs_t *request)
{
    int64_t result = request->result;
    uv_fs_req_cleanup(request);
    if (finish_read((int)(request - reads_libuv), result))
        for (int i = 0; i < SLEEPERS; i++)
            if (works[i].loop)
                uv_cancel((uv_req_t *)&works[i]);
}

static void begin_read_libuv(uv_timer_t *timer)
{
    int number = begun_reads++;
    if (begun_reads == READS)
        uv_close((uv_handle_t *)timer, NULL);
    uv_buf_t buffer = {.base = buffers[number], .len = SIZE};
    begun_ns[number] = bench_now_ns();
    BENCH_NEED(uv_fs_read(timer->loop, &reads_libuv[number], file_fd, &buffer,
                          1, 0, done_read_libuv) == 0);
}

static double read_beside_libuv(int sleeping)
{
    uv_loop_t uv_loop;
    uv_timer_t timer;
    BENCH_NEED(uv_loop_init(&uv_loop) == 0);
    begun_reads = done_reads = 0;
    for (int i = 0; i < sleeping; i++)
        BENCH_NEED(uv_queue_work(&uv_loop, &works[i], run_sleeper_libuv,
                                 done_sleeper_libuv) == 0);
    uv_timer_init(&uv_loop, &timer);
    uv_timer_start(&timer, begin_read_libuv, 1, 1);
    BENCH_NEED(uv_run(&uv_loop, UV_RUN_DEFAULT) == 0);
    BENCH_NEED(uv_loop_close(&uv_loop) == 0);
    return bench_quantile(took_us, READS, 0.99);
}

static void hol_libuv(const struct bench *bench, double *values)
{
    (void)bench;
    file_fd = open(file_path, O_RDONLY | O_CLOEXEC);
    BENCH_NEED(file_fd >= 0);
    values[1] = read_beside_libuv(0);
    values[0] = read_beside_libuv(SLEEPERS);
}
#endif

/* -------------------------------------------------------------------------- */

const struct bench bench_task_hol = {
    .figures =
        (const struct bench_figure[]){
            {"task.hol", "us"},
            {"task.hol.alone", "us"},
            {NULL, NULL},
        },
    .contenders =
        (const struct bench_contender[]){
            {"eddy", hol_eddy},
            {"libuv", BENCH_IF_LIBUV(hol_libuv)},
            {NULL, NULL},
        },
    .set_up = make_file,
    .clean_up = remove_file,
};
