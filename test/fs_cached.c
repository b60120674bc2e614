/*
 * Reads that the loop does itself. They are told from others by the trace: a
 * worker takes the ones that are not. The linker gives us the calls by which
 * the system is asked what it has at hand (-Wl,--wrap=syscall), to have it
 * refuse them as filters and older kernels do.
 */
#include "fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test/tap.h"

/* ---- faults -------------------------------------------------------------- */

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

static struct {
    int open_error; // 0: none
    int read_error;
    size_t longest_read; // 0: any
    int opens, reads;
} system_;

#ifndef SYS_openat2
#define SYS_openat2 437
#endif

long __wrap_syscall(long number, ...)
{
    long a[6] = {0};
    // The only ones that are made here have four and six.
    int count = number == SYS_openat2 ? 4 : number == SYS_preadv2 ? 6 : 0;
    if (!count)
        abort();
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < count; i++)
        a[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_openat2) {
        system_.opens++;
        if (system_.open_error) {
            errno = system_.open_error;
            return -1;
        }
    }
    if (number == SYS_preadv2) {
        system_.reads++;
        if (system_.read_error) {
            errno = system_.read_error;
            return -1;
        }
        if (system_.longest_read) {
            void *buffer = **(void ***)&a[1];
            return pread((int)a[0], buffer, system_.longest_read, 0);
        }
    }
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- who reads ----------------------------------------------------------- */

static struct ed_loop loop;
static struct ed_pool pool;
static char directory[] = "/tmp/eddy-XXXXXX";
static char path[64], other_path[64];

static int taken; // by workers
static void (*on_step)(const char *name);

static void tell(struct ed_trace *trace, const struct ed_trace_event *event)
{
    (void)trace;
    if (event->kind == ED_TRACE_TAKE)
        __atomic_add_fetch(&taken, 1, __ATOMIC_SEQ_CST);
    if (event->kind == ED_TRACE_STEP && on_step)
        on_step(event->name);
}

static struct ed_trace trace = {.tell = tell};

static char bytes[200000];

static void make_file(const char *name, size_t size)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
        abort();
    close(fd);
}

static int descriptors;

static int count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void begin(void)
{
    memset(&system_, 0, sizeof system_);
    on_step = NULL;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7 + i / 256);
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    if (!mkdtemp(directory))
        abort();
    snprintf(path, sizeof path, "%s/file", directory);
    snprintf(other_path, sizeof other_path, "%s/other", directory);
    CHECK_EQ(ed_loop_init(&loop), 0);
    CHECK_EQ(ed_pool_init(&pool, &loop, NULL), 0);
    loop.trace = &trace;
    taken = 0;
    descriptors = count_descriptors();
}

static void end(void)
{
    CHECK_EQ(count_descriptors(), descriptors);
    ed_pool_destroy(&pool);
    CHECK_EQ(ed_loop_run(&loop), 0);
    ed_loop_destroy(&loop);
    unlink(path);
    unlink(other_path);
    rmdir(directory);
}

static int dones;

static void count_done(struct ed_fs_request *request)
{
    (void)request;
    dones++;
}

/* Reads the file and checks it. Returns how many reads a worker took. */
static int read_checked(struct ed_file with, size_t size)
{
    struct ed_fs_request request = {.file = with};
    int before = taken;
    dones = 0;
    CHECK_EQ(ed_fs_read_file(&pool, &request, path, count_done), 0);
    CHECK_EQ(dones, 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(dones, 1);
    CHECK_EQ(request.result, 0);
    CHECK_EQ(request.file.size, size);
    CHECK(request.file.data && request.file.size == size &&
          memcmp(request.file.data, bytes + with.offset, size) == 0);
    CHECK(((uintptr_t)request.file.data & 63) == 0);
    ed_file_free(&request.file);
    return taken - before;
}

static bool is_possible(void)
{
    begin();
    make_file(path, 100);
    bool is_cached = read_checked((struct ed_file){0}, 100) == 0;
    end();
    return is_cached;
}

#define NEED_CACHED()                                                          \
    if (!is_possible())                                                        \
    SKIP("the system does not tell what is in the page cache")

static void a_small_file_in_the_page_cache_is_read_by_the_loop(void)
{
    static const size_t sizes[] = {1, 255, 4096, 65536};
    NEED_CACHED();
    begin();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        make_file(path, sizes[i]);
        CHECK_EQ(read_checked((struct ed_file){0}, sizes[i]), 0);
    }
    make_file(path, 65537);
    CHECK_EQ(read_checked((struct ed_file){0}, 65537), 1);
    CHECK_EQ(read_checked((struct ed_file){.offset = 1}, 65536), 0);
    CHECK_EQ(read_checked((struct ed_file){.count = 65536}, 65536), 0);
    make_file(path, 0);
    CHECK_EQ(read_checked((struct ed_file){0}, 0), 1);
    end();
}

static void with_nothing_per_turn_the_loop_reads_nothing(void)
{
    begin();
    make_file(path, 100);
    CHECK_EQ(ed_fs_limit_cached(&pool, 0), 0);
    CHECK_EQ(read_checked((struct ed_file){0}, 100), 1);
    CHECK_EQ(system_.opens, 0);
    end();
}

static void in_a_turn_the_loop_reads_a_bounded_amount(void)
{
    enum { COUNT = 30 };
    static struct ed_fs_request requests[COUNT];
    NEED_CACHED();
    begin();
    make_file(path, 8192);
    CHECK_EQ(ed_fs_limit_cached(&pool, 80000), 0);
    memset(requests, 0, sizeof requests);
    dones = 0;
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(ed_fs_read_file(&pool, &requests[i], path, count_done), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(dones, COUNT);
    CHECK_EQ(taken, COUNT - 9);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(requests[i].result, 0);
        CHECK_EQ(requests[i].file.size, 8192);
        ed_file_free(&requests[i].file);
    }
    end();
}

static struct ed_fs_request *order[8];

static void note_order(struct ed_fs_request *request)
{
    order[dones++ & 7] = request;
    ed_file_free(&request->file);
}

static void callbacks_come_later_and_in_the_order_asked_for(void)
{
    struct ed_fs_request requests[8] = {0};
    NEED_CACHED();
    begin();
    make_file(path, 100);
    dones = 0;
    for (int i = 0; i < 8; i++)
        CHECK_EQ(ed_fs_read_file(&pool, &requests[i], path, note_order), 0);
    CHECK_EQ(dones, 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(dones, 8);
    for (int i = 0; i < 8; i++)
        CHECK(order[i] == &requests[i]);
    CHECK_EQ(taken, 0);
    end();
}

static void what_does_not_exist_the_loop_says_itself(void)
{
    struct ed_fs_request request = {0};
    begin();
    dones = 0;
    CHECK_EQ(ed_fs_read_file(&pool, &request, path, count_done), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(dones, 1);
    CHECK_EQ(request.result, -ENOENT);
    CHECK(!request.file.data);
    end();
}

static void a_call_that_is_refused_is_noticed_once(void)
{
    static const int errors[] = {ENOSYS, EPERM, EINVAL};
    NEED_CACHED();
    for (size_t i = 0; i < 3; i++) {
        begin();
        make_file(path, 100);
        system_.open_error = errors[i];
        CHECK_EQ(read_checked((struct ed_file){0}, 100), 1);
        CHECK_EQ(read_checked((struct ed_file){0}, 100), 1);
        CHECK_EQ(system_.opens, 1);
        end();
        begin();
        make_file(path, 100);
        system_.read_error = errors[i];
        CHECK_EQ(read_checked((struct ed_file){0}, 100), 1);
        CHECK_EQ(read_checked((struct ed_file){0}, 100), 1);
        CHECK(system_.opens <= 1);
        CHECK(system_.reads <= 1);
        end();
    }
}

static void what_is_not_at_hand_a_worker_reads_and_the_loop_tries_again(void)
{
    NEED_CACHED();
    begin();
    make_file(path, 100);
    system_.open_error = EAGAIN;
    CHECK_EQ(read_checked((struct ed_file){0}, 100), 1);
    system_.open_error = 0;
    system_.read_error = EAGAIN;
    CHECK_EQ(read_checked((struct ed_file){0}, 100), 1);
    system_.read_error = 0;
    CHECK_EQ(read_checked((struct ed_file){0}, 100), 0);
    end();
}

static void a_device_that_cannot_tell_is_not_asked_again(void)
{
    NEED_CACHED();
    begin();
    make_file(path, 100);
    system_.read_error = EOPNOTSUPP;
    CHECK_EQ(read_checked((struct ed_file){0}, 100), 1);
    system_.read_error = 0;
    CHECK_EQ(read_checked((struct ed_file){0}, 100), 1);
    CHECK_EQ(system_.reads, 1);
    end();
}

static void a_short_read_is_not_trusted(void)
{
    NEED_CACHED();
    begin();
    make_file(path, 10000);
    system_.longest_read = 4096;
    CHECK_EQ(read_checked((struct ed_file){0}, 10000), 1);
    CHECK_EQ(system_.reads, 1);
    end();
}

static int change_to; // of the size

static void change_after_fstat(const char *name)
{
    if (strcmp(name, "fstat") == 0 && change_to >= 0) {
        make_file(path, (size_t)change_to);
        change_to = -1;
    }
}

static void a_file_that_changes_is_left_to_a_worker(void)
{
    NEED_CACHED();
    begin();
    on_step = change_after_fstat;
    make_file(path, 1000);
    change_to = 500;
    CHECK_EQ(read_checked((struct ed_file){0}, 500), 1);
    change_to = 0;
    CHECK_EQ(read_checked((struct ed_file){0}, 0), 1);
    make_file(path, 1000);
    change_to = 5000;
    CHECK_EQ(read_checked((struct ed_file){0}, 5000), 1);
    end();
}

static void remove_after_open(const char *name)
{
    if (strcmp(name, "openat2") == 0 || strcmp(name, "open") == 0) {
        CHECK_EQ(unlink(path), 0);
        CHECK_EQ(rmdir(directory), 0);
    }
}

static void a_file_whose_directory_is_removed_meanwhile_is_read(void)
{
    for (int per_turn = 0; per_turn < 2; per_turn++) {
        begin();
        CHECK_EQ(ed_fs_limit_cached(&pool, per_turn ? 65536 : 0), 0);
        on_step = remove_after_open;
        make_file(path, 3000);
        read_checked((struct ed_file){0}, 3000);
        end();
    }
}

static void a_buffer_of_the_callers_is_read_into(void)
{
    char buffer[1001];
    begin();
    make_file(path, 1000);
    for (size_t room = 999; room <= 1001; room++) {
        for (int per_turn = 0; per_turn < 2; per_turn++) {
            struct ed_fs_request request = {
                .file = {.buffer = buffer, .buffer_size = room}};
            CHECK_EQ(ed_fs_limit_cached(&pool, per_turn ? 65536 : 0), 0);
            CHECK_EQ(ed_fs_read_file(&pool, &request, path, count_done), 0);
            CHECK_EQ(ed_loop_run(&loop), 0);
            CHECK_EQ(request.result, room < 1000 ? -EFBIG : 0);
            CHECK(request.file.data == (room < 1000 ? NULL : buffer));
            CHECK(room < 1000 || memcmp(buffer, bytes, 1000) == 0);
            CHECK(room < 1001 || buffer[1000] == '\0');
            ed_file_free(&request.file);
        }
    }
    end();
}

static struct ed_fs_request endless;
static struct ed_timer timer;
static struct ed_watch watch;
static bool is_over;
static bool has_fired;

static void read_for_ever(struct ed_fs_request *request)
{
    ed_file_free(&request->file);
    if (!is_over)
        CHECK_EQ(ed_fs_read_file(&pool, request, path, read_for_ever), 0);
}

static void note_timer(struct ed_timer *fired)
{
    (void)fired;
    has_fired = true;
}

static void end_it(struct ed_watch *readable)
{
    if (!has_fired)
        return; // the descriptor stays readable
    ed_watch_stop(readable);
    is_over = true;
}

static void reading_for_ever_holds_up_neither_timers_nor_descriptors(void)
{
    int fds[2];
    begin();
    make_file(path, 100);
    CHECK_EQ(pipe(fds), 0);
    CHECK_EQ(write(fds[1], "x", 1), 1);
    is_over = has_fired = false;
    ed_timer_start(&loop, &timer, ED_MS, note_timer);
    CHECK_EQ(ed_watch_start(&loop, &watch, fds[0], ED_READABLE, end_it), 0);
    CHECK_EQ(ed_fs_read_file(&pool, &endless, path, read_for_ever), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK(is_over);
    close(fds[0]);
    close(fds[1]);
    end();
}

static void done_comes_also_when_the_pool_is_gone(void)
{
    struct ed_fs_request request = {0};
    struct ed_pool gone;
    NEED_CACHED();
    begin();
    make_file(path, 100);
    CHECK_EQ(ed_pool_init(&gone, &loop, NULL), 0);
    dones = 0;
    CHECK_EQ(ed_fs_read_file(&gone, &request, path, count_done), 0);
    CHECK_EQ(ed_fs_cancel(&request), -EBUSY);
    ed_pool_destroy(&gone);
    CHECK_EQ(dones, 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(dones, 1);
    CHECK_EQ(request.file.size, 100);
    ed_file_free(&request.file);
    end();
}

static void at_the_request_limit_the_loop_reads_nothing_either(void)
{
    const struct ed_pool_options one = {.request_limit = 1};
    struct ed_fs_request requests[2] = {0};
    struct ed_pool small;
    begin();
    make_file(path, 100);
    CHECK_EQ(ed_pool_init(&small, &loop, &one), 0);
    CHECK_EQ(ed_fs_read_file(&small, &requests[0], path, count_done), 0);
    CHECK_EQ(ed_fs_read_file(&small, &requests[1], path, count_done), -EAGAIN);
    CHECK(!requests[1].file.data);
    CHECK_EQ(ed_loop_run(&loop), 0);
    ed_file_free(&requests[0].file);
    ed_pool_destroy(&small);
    end();
}

/* ---- buffers ------------------------------------------------------------- */

static void a_buffer_that_came_back_is_used_again(void)
{
    begin();
    make_file(path, 5000);
    for (int per_turn = 0; per_turn < 2; per_turn++) {
        struct ed_fs_request request = {0};
        CHECK_EQ(ed_fs_limit_cached(&pool, per_turn ? 65536 : 0), 0);
        CHECK_EQ(ed_fs_read_file(&pool, &request, path, count_done), 0);
        CHECK_EQ(ed_loop_run(&loop), 0);
        const char *first = request.file.data;
        ed_file_free(&request.file);
        CHECK_EQ(ed_fs_read_file(&pool, &request, path, count_done), 0);
        CHECK_EQ(ed_loop_run(&loop), 0);
        CHECK(request.file.data == first);
        ed_file_free(&request.file);
    }
    end();
}

static void *free_file(void *file)
{
    ed_file_free(file);
    return NULL;
}

static void a_file_is_freed_on_any_thread_and_after_the_pool(void)
{
    enum { COUNT = 20 };
    static struct ed_fs_request requests[COUNT];
    static const size_t sizes[] = {10, 5000, 200000};
    struct ed_pool gone;
    begin();
    memset(requests, 0, sizeof requests);
    CHECK_EQ(ed_pool_init(&gone, &loop, NULL), 0);
    for (size_t i = 0; i < COUNT; i++) {
        make_file(path, sizes[i % 3]);
        CHECK_EQ(ed_fs_read_file(&gone, &requests[i], path, count_done), 0);
        CHECK_EQ(ed_loop_run(&loop), 0);
        CHECK_EQ(requests[i].file.size, sizes[i % 3]);
    }
    pthread_t threads[COUNT];
    for (int i = 0; i < COUNT; i++) {
        if (i == COUNT / 2)
            ed_pool_destroy(&gone);
        NEED(!pthread_create(&threads[i], NULL, free_file, &requests[i].file));
    }
    for (int i = 0; i < COUNT; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < COUNT; i++)
        CHECK(!requests[i].file.data);
    end();
}

static void more_than_is_kept_can_be_out_and_come_back(void)
{
    enum { COUNT = 100 };
    static struct ed_fs_request requests[COUNT];
    begin();
    make_file(path, 200000);
    memset(requests, 0, sizeof requests);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < COUNT; i++)
            CHECK_EQ(ed_fs_read_file(&pool, &requests[i], path, count_done), 0);
        CHECK_EQ(ed_loop_run(&loop), 0);
        for (int i = 0; i < COUNT; i++) {
            CHECK(requests[i].file.data &&
                  memcmp(requests[i].file.data, bytes, 200000) == 0);
            ed_file_free(&requests[i].file);
        }
    }
    end();
}

TESTS(TEST(a_small_file_in_the_page_cache_is_read_by_the_loop),
      TEST(with_nothing_per_turn_the_loop_reads_nothing),
      TEST(in_a_turn_the_loop_reads_a_bounded_amount),
      TEST(callbacks_come_later_and_in_the_order_asked_for),
      TEST(what_does_not_exist_the_loop_says_itself),
      TEST(a_call_that_is_refused_is_noticed_once),
      TEST(what_is_not_at_hand_a_worker_reads_and_the_loop_tries_again),
      TEST(a_device_that_cannot_tell_is_not_asked_again),
      TEST(a_short_read_is_not_trusted),
      TEST(a_file_that_changes_is_left_to_a_worker),
      TEST(a_file_whose_directory_is_removed_meanwhile_is_read),
      TEST(a_buffer_of_the_callers_is_read_into),
      TEST(reading_for_ever_holds_up_neither_timers_nor_descriptors),
      TEST(done_comes_also_when_the_pool_is_gone),
      TEST(at_the_request_limit_the_loop_reads_nothing_either),
      TEST(a_buffer_that_came_back_is_used_again),
      TEST(a_file_is_freed_on_any_thread_and_after_the_pool),
      TEST(more_than_is_kept_can_be_out_and_come_back))
