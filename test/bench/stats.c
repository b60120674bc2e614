/*
 * test/bench/stats.c - how many files are looked at in a second?
 *
 * 64 are under way at a time. It is one system call, so this is what the way to
 * it and back costs. Everybody looks at the size that it tells.
 *
 *     eddy      ed_fs_stat
 *     libuv     uv_fs_stat
 *     node      fs.stat, in stat.js
 *     plain     stat(), one after the other
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/fs.h"
#include "test/bench/bench.h"

#ifdef BENCH_LIBUV
#include <uv.h>
#endif

enum { FILES = 256, UNDER_WAY = 64, LONGEST_PATH = 512 };

static char directory[LONGEST_PATH];
static char paths[FILES][LONGEST_PATH + 16];

static struct bench_lap lap;
static int left; // under way

/* A file is as long as its number. */
static void make_files(const struct bench *bench)
{
    (void)bench;
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/eddy-bench-XXXXXX",
             parent ? parent : "/tmp");
    BENCH_NEED(mkdtemp(directory));
    for (int i = 0; i < FILES; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%d", directory, i);
        int fd = open(paths[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        BENCH_NEED(fd >= 0 && ftruncate(fd, i) == 0 && close(fd) == 0);
    }
}

static void remove_files(const struct bench *bench)
{
    (void)bench;
    for (int i = 0; i < FILES; i++)
        unlink(paths[i]);
    rmdir(directory);
}

static int next_number(void)
{
    static int number;
    number = (number + 1) % FILES;
    return number;
}

/* Returns whether to look at another one. */
static bool goes_on(void)
{
    static bool is_over;
    is_over = is_over || !bench_lap_goes_on(&lap);
    if (is_over)
        left--;
    return !is_over;
}

static void tell(double *values)
{
    BENCH_NEED(left == 0);
    values[0] = 1e9 / lap.ns;
    values[1] = lap.cpu_ns / 1000;
}

/* ---- eddy ---------------------------------------------------------------- */

struct eddy_stat {
    struct ed_fs_request request;
    struct ed_stat stat;
    int number;
};

static struct ed_pool pool;

static void done_eddy(struct ed_fs_request *request);

static void start_eddy(struct eddy_stat *one)
{
    one->number = next_number();
    ed_fs_stat(&pool, &one->request, paths[one->number], &one->stat, done_eddy);
}

static void done_eddy(struct ed_fs_request *request)
{
    struct eddy_stat *one = ED_CONTAINER_OF(request, struct eddy_stat, request);
    BENCH_NEED(request->result == 0 && one->stat.size == one->number);
    if (goes_on())
        start_eddy(one);
}

static void stat_eddy(const struct bench *bench, double *values)
{
    static struct eddy_stat stats[UNDER_WAY];
    struct ed_loop loop;
    (void)bench;
    BENCH_NEED(ed_loop_init(&loop) == 0);
    BENCH_NEED(ed_pool_init(&pool, &loop, NULL) == 0);
    bench_lap_begin(&lap);
    for (left = 0; left < UNDER_WAY; left++)
        start_eddy(&stats[left]);
    BENCH_NEED(ed_loop_run(&loop) == 0);
    tell(values);
    ed_pool_destroy(&pool);
    ed_loop_destroy(&loop);
}

/* ---- libuv --------------------------------------------------------------- */

#ifdef BENCH_LIBUV
struct libuv_stat {
    uv_fs_t request;
    int number;
};

static void done_libuv(uv_fs_t *request);

static void start_libuv(uv_loop_t *loop, struct libuv_stat *one)
{
    one->number = next_number();
    uv_fs_stat(loop, &one->request, paths[one->number], done_libuv);
}

static void done_libuv(uv_fs_t *request)
{
    struct libuv_stat *one =
        ED_CONTAINER_OF(request, struct libuv_stat, request);
    BENCH_NEED(request->result == 0);
    BENCH_NEED(request->statbuf.st_size == (uint64_t)one->number);
    uv_fs_req_cleanup(request);
    if (goes_on())
        start_libuv(request->loop, one);
}

static void stat_libuv(const struct bench *bench, double *values)
{
    static struct libuv_stat stats[UNDER_WAY];
    uv_loop_t loop;
    (void)bench;
    BENCH_NEED(uv_loop_init(&loop) == 0);
    bench_lap_begin(&lap);
    for (left = 0; left < UNDER_WAY; left++)
        start_libuv(&loop, &stats[left]);
    BENCH_NEED(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    tell(values);
    BENCH_NEED(uv_loop_close(&loop) == 0);
}
#endif

/* ---- node and plain ------------------------------------------------------ */

static void stat_node(const struct bench *bench, double *values)
{
    enum { NO_NODE = 77 };
    char command[2 * LONGEST_PATH];
    (void)bench;
    snprintf(command, sizeof command,
             "command -v node >/dev/null || exit %d; exec node %s %s %d %d",
             NO_NODE, BENCH_STAT_JS, directory, FILES, UNDER_WAY);
    FILE *output = popen(command, "r");
    BENCH_NEED(output);
    double stats_per_s, cpu_us;
    int got = fscanf(output, "%lf %lf", &stats_per_s, &cpu_us);
    int status = pclose(output);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_NODE)
        return;
    BENCH_NEED(status == 0 && got == 2);
    values[0] = stats_per_s;
    values[1] = cpu_us;
}

static void stat_plain(const struct bench *bench, double *values)
{
    (void)bench;
    bench_lap_begin(&lap);
    left = 1;
    do {
        struct stat one;
        int number = next_number();
        BENCH_NEED(stat(paths[number], &one) == 0 && one.st_size == number);
    } while (goes_on());
    tell(values);
}

/* -------------------------------------------------------------------------- */

const struct bench bench_stat_64 = {
    .figures =
        (const struct bench_figure[]){
            {"stat.64", "files/s"},
            {"stat.64.cpu", "us"},
            {NULL, NULL},
        },
    .contenders =
        (const struct bench_contender[]){
            {"eddy", stat_eddy},
            {"libuv", BENCH_IF_LIBUV(stat_libuv)},
            {"node", stat_node},
            {"plain", stat_plain},
            {NULL, NULL},
        },
    .set_up = make_files,
    .clean_up = remove_files,
};
