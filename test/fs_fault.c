/*
 * The linker gives us the library's calls of these functions first
 * (-Wl,--wrap), to have the first of them fail, the second, and so on until all
 * goes well. Of those on descriptors only the file under test is meant, not
 * what wakes the loop. Which name a call has, open or open64, depends on the
 * system; the other one may not exist.
 */
#include "fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>

#include "test/tap.h"

#define MAYBE __attribute__((weak))

MAYBE int __real_open(const char *path, int flags, ...);
MAYBE int __real_open64(const char *path, int flags, ...);
MAYBE int __real_fstat(int fd, struct stat *stat);
MAYBE int __real_fstat64(int fd, struct stat *stat);
MAYBE ssize_t __real_pread(int fd, void *buffer, size_t size, off_t offset);
MAYBE ssize_t __real_pread64(int fd, void *buffer, size_t size, off_t offset);
MAYBE ssize_t __real_pwrite(int fd, const void *buffer, size_t size,
                            off_t offset);
MAYBE ssize_t __real_pwrite64(int fd, const void *buffer, size_t size,
                              off_t offset);
ssize_t __real_read(int fd, void *buffer, size_t size);
ssize_t __real_write(int fd, const void *buffer, size_t size);
int __real_close(int fd);
void *__real_malloc(size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);

int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_fstat(int fd, struct stat *stat);
int __wrap_fstat64(int fd, struct stat *stat);
ssize_t __wrap_pread(int fd, void *buffer, size_t size, off_t offset);
ssize_t __wrap_pread64(int fd, void *buffer, size_t size, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *buffer, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *buffer, size_t size, off_t offset);
ssize_t __wrap_read(int fd, void *buffer, size_t size);
ssize_t __wrap_write(int fd, const void *buffer, size_t size);
int __wrap_close(int fd);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

/* ---- faults -------------------------------------------------------------- */

enum call { OPEN, FSTAT, READ, WRITE, CLOSE, MEMORY, CALLS };

struct fault {
    int seen;        // calls so far
    int first, last; // to fail, counted from 1; 0: none
    int error;
};

static struct fault faults[CALLS];
static size_t longest;   // most bytes that a read or write moves; 0: any
static int file_fd = -1; // the descriptor under test

static bool fails(enum call call)
{
    struct fault *fault = &faults[call];
    int nth = __atomic_add_fetch(&fault->seen, 1, __ATOMIC_SEQ_CST);
    if (nth < fault->first || nth > fault->last)
        return false;
    errno = fault->error;
    return true;
}

static bool is_ours(int fd)
{
    return fd >= 0 && fd == __atomic_load_n(&file_fd, __ATOMIC_SEQ_CST);
}

static size_t shortened(size_t size)
{
    return longest && size > longest ? longest : size;
}

static int note_open(int fd)
{
    __atomic_store_n(&file_fd, fd, __ATOMIC_SEQ_CST);
    return fd;
}

/* A mode is there with O_CREAT only. */
#define MODE_OF(flags)                                                         \
    mode_t mode = 0;                                                           \
    if (flags & O_CREAT) {                                                     \
        va_list arguments;                                                     \
        va_start(arguments, flags);                                            \
        mode = (mode_t)va_arg(arguments, unsigned);                            \
        va_end(arguments);                                                     \
    }

int __wrap_open(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return fails(OPEN) ? -1 : note_open(__real_open(path, flags, mode));
}

int __wrap_open64(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return fails(OPEN) ? -1 : note_open(__real_open64(path, flags, mode));
}

int __wrap_fstat(int fd, struct stat *stat)
{
    return is_ours(fd) && fails(FSTAT) ? -1 : __real_fstat(fd, stat);
}

int __wrap_fstat64(int fd, struct stat *stat)
{
    return is_ours(fd) && fails(FSTAT) ? -1 : __real_fstat64(fd, stat);
}

ssize_t __wrap_read(int fd, void *buffer, size_t size)
{
    if (!is_ours(fd))
        return __real_read(fd, buffer, size);
    return fails(READ) ? -1 : __real_read(fd, buffer, shortened(size));
}

ssize_t __wrap_pread(int fd, void *buffer, size_t size, off_t offset)
{
    return fails(READ) ? -1 : __real_pread(fd, buffer, shortened(size), offset);
}

ssize_t __wrap_pread64(int fd, void *buffer, size_t size, off_t offset)
{
    return fails(READ) ? -1
                       : __real_pread64(fd, buffer, shortened(size), offset);
}

ssize_t __wrap_write(int fd, const void *buffer, size_t size)
{
    if (!is_ours(fd))
        return __real_write(fd, buffer, size);
    return fails(WRITE) ? -1 : __real_write(fd, buffer, shortened(size));
}

ssize_t __wrap_pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    return fails(WRITE) ? -1
                        : __real_pwrite(fd, buffer, shortened(size), offset);
}

ssize_t __wrap_pwrite64(int fd, const void *buffer, size_t size, off_t offset)
{
    return fails(WRITE) ? -1
                        : __real_pwrite64(fd, buffer, shortened(size), offset);
}

/* The descriptor is gone whatever close says, as on Linux. */
int __wrap_close(int fd)
{
    if (!is_ours(fd))
        return __real_close(fd);
    __atomic_store_n(&file_fd, -1, __ATOMIC_SEQ_CST);
    int result = __real_close(fd);
    return fails(CLOSE) ? -1 : result;
}

void *__wrap_malloc(size_t size)
{
    return fails(MEMORY) ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails(MEMORY) ? NULL : __real_realloc(memory, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails(MEMORY) ? NULL : __real_aligned_alloc(alignment, size);
}

/* ---- both forms ---------------------------------------------------------- */

static struct ed_loop loop;
static struct ed_pool pool;
static char path[] = "/tmp/eddy-XXXXXX";
static int descriptors;

enum { SIZE = 100000 };

static char bytes[SIZE];

static void do_nothing(struct ed_fs_request *request)
{
    (void)request;
}

static int read_sync(const char *name, struct ed_file *file)
{
    return ed_fs_read_file_sync(name, file);
}

/* With a pool that has no buffers yet, and reads nothing by itself. */
static void renew_pool(void)
{
    ed_pool_destroy(&pool);
    CHECK_EQ(ed_pool_init(&pool, &loop, NULL), 0);
    CHECK_EQ(ed_fs_limit_cached(&pool, 0), 0);
}

static int read_async(const char *name, struct ed_file *file)
{
    struct ed_fs_request request = {.file = *file};
    renew_pool();
    CHECK_EQ(ed_fs_read_file(&pool, &request, name, do_nothing), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    *file = request.file;
    return (int)request.result;
}

typedef int read_fn(const char *name, struct ed_file *file);

static read_fn *const forms[] = {read_sync, read_async};

enum { FORMS = 2 };

static int count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void forget_faults(void)
{
    memset(faults, 0, sizeof faults);
    longest = 0;
}

/* With a file of that size. */
static void begin(size_t size)
{
    forget_faults();
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (char)(i * 7 + i / 256);
    strcpy(path + strlen(path) - 6, "XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
        abort();
    close(fd);
    CHECK_EQ(ed_loop_init(&loop), 0);
    CHECK_EQ(ed_pool_init(&pool, &loop, NULL), 0);
    descriptors = count_descriptors();
}

static void end(void)
{
    CHECK_EQ(count_descriptors(), descriptors);
    forget_faults();
    ed_pool_destroy(&pool);
    ed_loop_destroy(&loop);
    unlink(path);
}

static void check_read(const struct ed_file *file, int result, size_t size)
{
    CHECK_EQ(result, 0);
    NEED(file->data);
    CHECK_EQ(file->size, size);
    CHECK(file->size == size && memcmp(file->data, bytes, size) == 0);
    CHECK(file->data[file->size] == '\0');
}

static void check_failed(const struct ed_file *file, int result, int error)
{
    CHECK_EQ(result, error);
    CHECK(!file->data);
    CHECK_EQ(file->size, 0);
}

/*
 * Reads the file with the first such call failing, then the second, and so on,
 * until none does. Returns how many could.
 */
static int read_with_each_failing(read_fn *form, enum call call, int error,
                                  size_t size)
{
    for (int nth = 1;; nth++) {
        struct ed_file file = {0};
        faults[call] = (struct fault){0, nth, nth, error};
        int result = form(path, &file);
        bool has_failed = faults[call].seen >= nth;
        faults[call] = (struct fault){0};
        CHECK_EQ(count_descriptors(), descriptors);
        if (has_failed && error != EINTR)
            check_failed(&file, result, -error);
        else
            check_read(&file, result, size);
        ed_file_free(&file);
        if (!has_failed || nth == 1000)
            return nth - 1;
    }
}

/* ---- read_file ----------------------------------------------------------- */

static void an_error_of_any_call_is_the_result_and_nothing_is_left(void)
{
    static const int errors[] = {EIO, ENOMEM, EMFILE, ENFILE, EACCES};
    begin(SIZE);
    longest = 9000;
    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++) {
        for (int i = 0; i < FORMS; i++) {
            CHECK_EQ(read_with_each_failing(forms[i], OPEN, errors[e], SIZE),
                     1);
            CHECK_EQ(read_with_each_failing(forms[i], FSTAT, errors[e], SIZE),
                     1);
            CHECK_EQ(read_with_each_failing(forms[i], READ, errors[e], SIZE),
                     SIZE / 9000 + 1);
        }
    }
    end();
}

static void an_interrupted_open_is_taken_up_again(void)
{
    begin(SIZE);
    for (int i = 0; i < FORMS; i++)
        CHECK_EQ(read_with_each_failing(forms[i], OPEN, EINTR, SIZE), 1);
    end();
}

static void an_interrupted_fstat_is_taken_up_again(void)
{
    begin(SIZE);
    for (int i = 0; i < FORMS; i++)
        CHECK_EQ(read_with_each_failing(forms[i], FSTAT, EINTR, SIZE), 1);
    end();
}

static void an_interrupted_read_is_taken_up_again(void)
{
    begin(SIZE);
    for (int i = 0; i < FORMS; i++)
        CHECK_EQ(read_with_each_failing(forms[i], READ, EINTR, SIZE), 1);
    end();
}

static void a_call_may_be_interrupted_many_times_in_a_row(void)
{
    begin(SIZE);
    for (int i = 0; i < FORMS; i++) {
        struct ed_file file = {0};
        faults[OPEN] = (struct fault){0, 1, 50, EINTR};
        faults[READ] = (struct fault){0, 1, 50, EINTR};
        check_read(&file, forms[i](path, &file), SIZE);
        ed_file_free(&file);
    }
    end();
}

static void a_file_read_byte_by_byte_is_the_same(void)
{
    static const size_t sizes[] = {0, 1, 2, 1000, 16384, 20000};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        begin(sizes[s]);
        longest = 1;
        for (int i = 0; i < FORMS; i++) {
            struct ed_file file = {0};
            check_read(&file, forms[i](path, &file), sizes[s]);
            ed_file_free(&file);
        }
        end();
    }
}

static void without_memory_it_is_enomem_and_nothing_is_left(void)
{
    begin(SIZE);
    for (int i = 0; i < FORMS; i++)
        CHECK_EQ(read_with_each_failing(forms[i], MEMORY, ENOMEM, SIZE), 1);
    end();
}

/* Of a file that does not tell its size the buffer grows, and is cut at last.
 */
static void a_buffer_that_cannot_grow_is_enomem_and_one_not_cut_is_kept(void)
{
    struct ed_file whole = {0};
    if (access("/proc/filesystems", R_OK))
        SKIP("no /proc");
    begin(0);
    longest = 100;
    CHECK_EQ(ed_fs_read_file_sync("/proc/filesystems", &whole), 0);
    int calls = faults[MEMORY].seen;
    CHECK(calls >= 2);
    for (int i = 0; i < FORMS; i++) {
        for (int nth = 1; nth <= calls; nth++) {
            struct ed_file file = {0};
            faults[MEMORY] = (struct fault){0, nth, nth, ENOMEM};
            int result = forms[i]("/proc/filesystems", &file);
            CHECK(faults[MEMORY].seen >= nth);
            if (nth < calls) {
                check_failed(&file, result, -ENOMEM);
            } else {
                CHECK_EQ(result, 0);
                CHECK_STR(file.data, whole.data);
            }
            ed_file_free(&file);
        }
    }
    ed_file_free(&whole);
    end();
}

static void an_endless_file_runs_out_of_memory_at_whichever_growth(void)
{
    begin(0);
    for (int i = 0; i < FORMS; i++) {
        for (int nth = 1;; nth++) {
            struct ed_file file = {.limit = 1 << 20};
            faults[MEMORY] = (struct fault){0, nth, nth, ENOMEM};
            int result = forms[i]("/dev/zero", &file);
            bool has_failed = faults[MEMORY].seen >= nth;
            check_failed(&file, result, has_failed ? -ENOMEM : -EFBIG);
            if (!has_failed) {
                CHECK(nth > 2);
                break;
            }
        }
    }
    end();
}

static void what_close_says_does_not_matter_once_the_bytes_are_there(void)
{
    static const int errors[] = {EINTR, EIO};
    begin(SIZE);
    for (size_t e = 0; e < 2; e++) {
        for (int i = 0; i < FORMS; i++) {
            struct ed_file file = {0};
            faults[CLOSE] = (struct fault){0, 1, 1, errors[e]};
            check_read(&file, forms[i](path, &file), SIZE);
            CHECK_EQ(faults[CLOSE].seen, 1);
            ed_file_free(&file);
        }
    }
    end();
}

static void a_failed_read_is_told_also_when_close_fails(void)
{
    begin(SIZE);
    longest = 9000;
    for (int i = 0; i < FORMS; i++) {
        struct ed_file file = {0};
        faults[READ] = (struct fault){0, 2, 2, EIO};
        faults[CLOSE] = (struct fault){0, 1, 1, ENOSPC};
        check_failed(&file, forms[i](path, &file), -EIO);
    }
    end();
}

/* ---- the calls ----------------------------------------------------------- */

static int64_t write_async(int fd, const void *buffer, size_t size,
                           int64_t offset)
{
    struct ed_fs_request request = {0};
    CHECK_EQ(ed_fs_write(&pool, &request, fd, buffer, size, offset, do_nothing),
             0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    return request.result;
}

typedef int64_t write_fn(int fd, const void *buffer, size_t size,
                         int64_t offset);

static write_fn *const writes[] = {ed_fs_write_sync, write_async};

static void writing_goes_on_when_interrupted_and_tells_what_it_wrote(void)
{
    begin(0);
    for (int i = 0; i < FORMS; i++) {
        int fd = ed_fs_open_sync(path, O_RDWR, 0);
        NEED(fd >= 0);
        for (int64_t offset = -1; offset <= 0; offset++) {
            faults[WRITE] = (struct fault){0, 1, 3, EINTR};
            CHECK_EQ(writes[i](fd, "data", 4, offset), 4);
            CHECK_EQ(faults[WRITE].seen, 4);
            faults[WRITE] = (struct fault){0, 1, 1, ENOSPC};
            CHECK_EQ(writes[i](fd, "data", 4, offset), -ENOSPC);
            longest = 3;
            CHECK_EQ(writes[i](fd, "data", 4, offset), 3);
            longest = 0;
        }
        CHECK_EQ(ed_fs_close_sync(fd), 0);
    }
    end();
}

static void reading_at_an_offset_goes_on_when_interrupted(void)
{
    char buffer[4];
    begin(SIZE);
    int fd = ed_fs_open_sync(path, O_RDONLY, 0);
    NEED(fd >= 0);
    faults[READ] = (struct fault){0, 1, 3, EINTR};
    CHECK_EQ(ed_fs_read_sync(fd, buffer, sizeof buffer, 5), 4);
    CHECK(memcmp(buffer, bytes + 5, 4) == 0);
    CHECK_EQ(faults[READ].seen, 4);
    faults[READ] = (struct fault){0, 1, 1, EIO};
    CHECK_EQ(ed_fs_read_sync(fd, buffer, sizeof buffer, 5), -EIO);
    CHECK_EQ(ed_fs_close_sync(fd), 0);
    end();
}

static void close_is_called_once_whatever_it_says(void)
{
    static const int errors[] = {EINTR, EIO, ENOSPC, EDQUOT};
    begin(0);
    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++) {
        int fd = ed_fs_open_sync(path, O_RDWR, 0);
        faults[CLOSE] = (struct fault){0, 1, 1, errors[e]};
        CHECK_EQ(ed_fs_close_sync(fd), errors[e] == EINTR ? 0 : -errors[e]);
        CHECK_EQ(faults[CLOSE].seen, 1);
        CHECK_EQ(count_descriptors(), descriptors);
    }
    end();
}

TESTS(TEST(an_error_of_any_call_is_the_result_and_nothing_is_left),
      TEST(an_interrupted_open_is_taken_up_again),
      TEST(an_interrupted_fstat_is_taken_up_again),
      TEST(an_interrupted_read_is_taken_up_again),
      TEST(a_call_may_be_interrupted_many_times_in_a_row),
      TEST(a_file_read_byte_by_byte_is_the_same),
      TEST(without_memory_it_is_enomem_and_nothing_is_left),
      TEST(a_buffer_that_cannot_grow_is_enomem_and_one_not_cut_is_kept),
      TEST(an_endless_file_runs_out_of_memory_at_whichever_growth),
      TEST(what_close_says_does_not_matter_once_the_bytes_are_there),
      TEST(a_failed_read_is_told_also_when_close_fails),
      TEST(writing_goes_on_when_interrupted_and_tells_what_it_wrote),
      TEST(reading_at_an_offset_goes_on_when_interrupted),
      TEST(close_is_called_once_whatever_it_says))
