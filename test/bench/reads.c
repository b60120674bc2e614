/*
 * test/bench/reads.c - how many whole files are read in a second?
 *
 * The files are in the page cache, so this is what the way to the system call
 * and back costs. Everybody allocates a file's buffer, reads it, looks at its
 * size and its ends, and frees it on the loop's thread.
 *
 *     eddy, eddy-quiet  ed_fs_read_file, lingering or not
 *     libuv-4trips      uv_fs_open, _fstat, _read, _close, each through the
 *                       pool: what libuv offers
 *     libuv-1item       the four system calls in one uv_queue_work
 *     node              fs.readFile, in read.js
 *     plain             the four system calls, one file after the other
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/fs.h"
#include "test/bench/bench.h"

#ifdef BENCH_LIBUV
#include <uv.h>
#endif

enum { MOST_FILES = 256, MOST_UNDER_WAY = 64, LONGEST_PATH = 512 };

struct file_set {
    int files;
    size_t size; // of each
    int under_way;
};

static char directory[LONGEST_PATH];
static char paths[MOST_FILES][LONGEST_PATH + 16];

static const struct file_set *set; // what is measured
static struct bench_lap lap;
static int left; // under way

/* ---- the files ----------------------------------------------------------- */

/* A file begins and ends with its number. */
static void write_file(int number, size_t size)
{
    char *data = calloc(1, size);
    FILE *file = fopen(paths[number], "wb");
    BENCH_NEED(data && file);
    memcpy(data, &number, sizeof number);
    memcpy(data + size - sizeof number, &number, sizeof number);
    BENCH_NEED(fwrite(data, size, 1, file) == 1);
    BENCH_NEED(fclose(file) == 0);
    free(data);
}

static void make_files(const struct bench *bench)
{
    const struct file_set *wanted = bench->subject;
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/eddy-bench-XXXXXX",
             parent ? parent : "/tmp");
    BENCH_NEED(mkdtemp(directory));
    for (int i = 0; i < wanted->files; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%d", directory, i);
        write_file(i, wanted->size);
    }
}

static void remove_files(const struct bench *bench)
{
    const struct file_set *made = bench->subject;
    for (int i = 0; i < made->files; i++)
        unlink(paths[i]);
    rmdir(directory);
}

static void check_file(int number, const char *data, size_t size)
{
    BENCH_NEED(size == set->size);
    BENCH_NEED(memcmp(data, &number, sizeof number) == 0);
    BENCH_NEED(memcmp(data + size - sizeof number, &number, sizeof number) ==
               0);
}

static int next_number(void)
{
    static int number;
    number = (number + 1) % set->files;
    return number;
}

/* When a file has been read. Returns whether to read another one in its place.
 */
static bool goes_on(void)
{
    static bool is_over;
    is_over = is_over || !bench_lap_goes_on(&lap);
    if (is_over)
        left--;
    return !is_over;
}

static void begin(const struct bench *bench)
{
    set = bench->subject;
    bench_lap_begin(&lap);
}

static void tell(double *values)
{
    BENCH_NEED(left == 0);
    values[0] = 1e9 / lap.ns;
    values[1] = lap.cpu_ns / 1000;
}

/* ---- eddy ---------------------------------------------------------------- */

struct eddy_read {
    struct ed_fs_request request;
    int number;
};

static struct ed_pool pool;

static void done_eddy(struct ed_fs_request *request);

static void start_eddy(struct eddy_read *one)
{
    one->number = next_number();
    ed_fs_read_file(&pool, &one->request, paths[one->number], done_eddy);
}

static void done_eddy(struct ed_fs_request *request)
{
    struct eddy_read *one = ED_CONTAINER_OF(request, struct eddy_read, request);
    BENCH_NEED(request->result == 0);
    check_file(one->number, request->file.data, request->file.size);
    ed_file_free(&request->file);
    if (goes_on())
        start_eddy(one);
}

static void read_with_eddy(const struct bench *bench, double *values,
                           const struct ed_pool_options *options)
{
    static struct eddy_read reads[MOST_UNDER_WAY];
    struct ed_loop loop;
    BENCH_NEED(ed_loop_init(&loop) == 0);
    BENCH_NEED(ed_pool_init(&pool, &loop, options) == 0);

    begin(bench);
    for (left = 0; left < set->under_way; left++)
        start_eddy(&reads[left]);
    BENCH_NEED(ed_loop_run(&loop) == 0);
    tell(values);
    ed_pool_destroy(&pool);
    ed_loop_destroy(&loop);
}

static void read_eddy(const struct bench *bench, double *values)
{
    read_with_eddy(bench, values, NULL);
}

static void read_eddy_quiet(const struct bench *bench, double *values)
{
    read_with_eddy(bench, values,
                   &(struct ed_pool_options){.never_linger = true});
}

/* ---- plain system calls -------------------------------------------------- */

/* Returns the file's bytes, to be freed. */
static char *read_plainly(const char *path, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    BENCH_NEED(fd >= 0);
    struct stat stat;
    BENCH_NEED(fstat(fd, &stat) == 0);
    *size = (size_t)stat.st_size;
    char *data = malloc(*size);
    BENCH_NEED(data);
    BENCH_NEED(read(fd, data, *size) == stat.st_size);
    BENCH_NEED(close(fd) == 0);
    return data;
}

static void read_plain(const struct bench *bench, double *values)
{
    begin(bench);
    left = 1;
    do {
        int number = next_number();
        size_t size;
        char *data = read_plainly(paths[number], &size);
        check_file(number, data, size);
        free(data);
    } while (goes_on());
    tell(values);
}

/* ---- libuv: four trips --------------------------------------------------- */

#ifdef BENCH_LIBUV
struct libuv_read {
    uv_fs_t request;
    int number;
    uv_file fd;
    uv_buf_t buffer;
};

static void start_libuv(uv_loop_t *loop, struct libuv_read *one);

static struct libuv_read *read_of(uv_fs_t *request)
{
    return ED_CONTAINER_OF(request, struct libuv_read, request);
}

static void closed_libuv(uv_fs_t *request)
{
    struct libuv_read *one = read_of(request);
    BENCH_NEED(request->result == 0);
    uv_fs_req_cleanup(request);

    check_file(one->number, one->buffer.base, one->buffer.len);
    free(one->buffer.base);
    if (goes_on())
        start_libuv(request->loop, one);
}

static void has_read_libuv(uv_fs_t *request)
{
    struct libuv_read *one = read_of(request);
    BENCH_NEED(request->result == (ssize_t)one->buffer.len);
    uv_fs_req_cleanup(request);

    uv_fs_close(request->loop, request, one->fd, closed_libuv);
}

static void has_stat_libuv(uv_fs_t *request)
{
    struct libuv_read *one = read_of(request);
    BENCH_NEED(request->result == 0);
    size_t size = request->statbuf.st_size;
    uv_fs_req_cleanup(request);

    one->buffer = (uv_buf_t){.base = malloc(size), .len = size};
    BENCH_NEED(one->buffer.base);
    uv_fs_read(request->loop, request, one->fd, &one->buffer, 1, -1,
               has_read_libuv);
}

static void opened_libuv(uv_fs_t *request)
{
    struct libuv_read *one = read_of(request);
    BENCH_NEED(request->result >= 0);
    one->fd = (uv_file)request->result;
    uv_fs_req_cleanup(request);

    uv_fs_fstat(request->loop, request, one->fd, has_stat_libuv);
}

static void start_libuv(uv_loop_t *loop, struct libuv_read *one)
{
    one->number = next_number();
    uv_fs_open(loop, &one->request, paths[one->number], O_RDONLY, 0,
               opened_libuv);
}

static void read_libuv_4trips(const struct bench *bench, double *values)
{
    static struct libuv_read reads[MOST_UNDER_WAY];
    uv_loop_t loop;
    BENCH_NEED(uv_loop_init(&loop) == 0);

    begin(bench);
    for (left = 0; left < set->under_way; left++)
        start_libuv(&loop, &reads[left]);
    BENCH_NEED(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    tell(values);
    BENCH_NEED(uv_loop_close(&loop) == 0);
}

/* ---- libuv: one work item ------------------------------------------------ */

struct libuv_item {
    uv_work_t work;
    int number;
    char *data;
    size_t size;
};

static struct libuv_item *item_of(uv_work_t *work)
{
    return ED_CONTAINER_OF(work, struct libuv_item, work);
}

static void run_item(uv_work_t *work)
{
    struct libuv_item *item = item_of(work);
    item->data = read_plainly(paths[item->number], &item->size);
}

static void done_item(uv_work_t *work, int status);

static void start_item(uv_loop_t *loop, struct libuv_item *item)
{
    item->number = next_number();
    uv_queue_work(loop, &item->work, run_item, done_item);
}

static void done_item(uv_work_t *work, int status)
{
    struct libuv_item *item = item_of(work);
    BENCH_NEED(status == 0);
    check_file(item->number, item->data, item->size);
    free(item->data);
    if (goes_on())
        start_item(work->loop, item);
}

static void read_libuv_1item(const struct bench *bench, double *values)
{
    static struct libuv_item items[MOST_UNDER_WAY];
    uv_loop_t loop;
    BENCH_NEED(uv_loop_init(&loop) == 0);

    begin(bench);
    for (left = 0; left < set->under_way; left++)
        start_item(&loop, &items[left]);
    BENCH_NEED(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    tell(values);
    BENCH_NEED(uv_loop_close(&loop) == 0);
}
#endif

/* ---- node ---------------------------------------------------------------- */

static void read_node(const struct bench *bench, double *values)
{
    enum { NO_NODE = 77 };
    const struct file_set *wanted = bench->subject;
    char command[2 * LONGEST_PATH];
    snprintf(command, sizeof command,
             "command -v node >/dev/null || exit %d; exec node %s %s %d %zu %d",
             NO_NODE, BENCH_READ_JS, directory, wanted->files, wanted->size,
             wanted->under_way);
    FILE *output = popen(command, "r");
    BENCH_NEED(output);
    double files_per_s, cpu_us;
    int got = fscanf(output, "%lf %lf", &files_per_s, &cpu_us);
    int status = pclose(output);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_NODE)
        return;
    BENCH_NEED(status == 0 && got == 2);
    values[0] = files_per_s;
    values[1] = cpu_us;
}

/* -------------------------------------------------------------------------- */

static const struct bench_contender contenders[] = {
    {"eddy", read_eddy},
    {"eddy-quiet", read_eddy_quiet},
    {"libuv-4trips", BENCH_IF_LIBUV(read_libuv_4trips)},
    {"libuv-1item", BENCH_IF_LIBUV(read_libuv_1item)},
    {"node", read_node},
    {"plain", read_plain},
    {NULL, NULL},
};

const struct bench bench_read_4k_1 = {
    .figures =
        (const struct bench_figure[]){
            {"read.4k.1", "files/s"},
            {"read.4k.1.cpu", "us"},
            {NULL, NULL},
        },
    .contenders = contenders,
    .subject = &(const struct file_set){256, 4 << 10, 1},
    .set_up = make_files,
    .clean_up = remove_files,
};

const struct bench bench_read_4k_64 = {
    .figures =
        (const struct bench_figure[]){
            {"read.4k.64", "files/s"},
            {"read.4k.64.cpu", "us"},
            {NULL, NULL},
        },
    .contenders = contenders,
    .subject = &(const struct file_set){256, 4 << 10, 64},
    .set_up = make_files,
    .clean_up = remove_files,
};

const struct bench bench_read_64k_64 = {
    .figures =
        (const struct bench_figure[]){
            {"read.64k.64", "files/s"},
            {"read.64k.64.cpu", "us"},
            {NULL, NULL},
        },
    .contenders = contenders,
    .subject = &(const struct file_set){256, 64 << 10, 64},
    .set_up = make_files,
    .clean_up = remove_files,
};

const struct bench bench_read_1m_8 = {
    .figures =
        (const struct bench_figure[]){
            {"read.1m.8", "files/s"},
            {"read.1m.8.cpu", "us"},
            {NULL, NULL},
        },
    .contenders = contenders,
    .subject = &(const struct file_set){64, 1 << 20, 8},
    .set_up = make_files,
    .clean_up = remove_files,
};
