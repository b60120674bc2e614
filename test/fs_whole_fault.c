/*
 * The linker gives us the library's calls of these functions first
 * (-Wl,--wrap): to have the nth of all calls fail, for every n, or to have the
 * process end at it, as a crash would.
 */
#include "fs/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/tap.h"

/* ---- faults -------------------------------------------------------------- */

static struct {
    bool is_armed;
    pthread_t but; // calls of this thread do not count, if
    bool has_but;
    int seen;       // calls so far
    int nth;        // to fail, counted from 1
    int error;      // 0: the process ends
    size_t longest; // most bytes that a read, write or copy moves; 0: any
    char name[32];  // of the one that failed
} faults;

static bool fails(const char *name)
{
    if (!__atomic_load_n(&faults.is_armed, __ATOMIC_SEQ_CST) ||
        (faults.has_but && pthread_equal(pthread_self(), faults.but)))
        return false;
    int seen = __atomic_add_fetch(&faults.seen, 1, __ATOMIC_SEQ_CST);
    if (seen != faults.nth)
        return false;
    if (!faults.error)
        raise(SIGKILL);
    snprintf(faults.name, sizeof faults.name, "%s", name);
    errno = faults.error;
    return true;
}

static size_t shortened(size_t size)
{
    bool is_shorter = __atomic_load_n(&faults.is_armed, __ATOMIC_SEQ_CST) &&
                      faults.longest && size > faults.longest;
    return is_shorter ? faults.longest : size;
}

#define MAYBE __attribute__((weak))

/* Some names only exist with or without 64, as the system has it. */
#define WRAP(result, failure, name, parameters, arguments)                     \
    MAYBE result __real_##name parameters;                                     \
    result __wrap_##name parameters;                                           \
    result __wrap_##name parameters                                            \
    {                                                                          \
        return fails(#name) ? (failure) : __real_##name arguments;             \
    }

#define MODE_OF(flags)                                                         \
    mode_t mode = 0;                                                           \
    if (flags & O_CREAT) {                                                     \
        va_list list;                                                          \
        va_start(list, flags);                                                 \
        mode = (mode_t)va_arg(list, unsigned);                                 \
        va_end(list);                                                          \
    }

#define WRAP_OPEN(name)                                                        \
    MAYBE int __real_##name(const char *path, int flags, ...);                 \
    int __wrap_##name(const char *path, int flags, ...);                       \
    int __wrap_##name(const char *path, int flags, ...)                        \
    {                                                                          \
        MODE_OF(flags)                                                         \
        return fails(#name) ? -1 : __real_##name(path, flags, mode);           \
    }

#define WRAP_OPENAT(name)                                                      \
    MAYBE int __real_##name(int at, const char *path, int flags, ...);         \
    int __wrap_##name(int at, const char *path, int flags, ...);               \
    int __wrap_##name(int at, const char *path, int flags, ...)                \
    {                                                                          \
        MODE_OF(flags)                                                         \
        return fails(#name) ? -1 : __real_##name(at, path, flags, mode);       \
    }

WRAP_OPEN(open)
WRAP_OPEN(open64)
WRAP_OPENAT(openat)
WRAP_OPENAT(openat64)
WRAP(int, -1, fstat, (int fd, struct stat *stat), (fd, stat))
WRAP(int, -1, fstat64, (int fd, struct stat *stat), (fd, stat))
WRAP(int, -1, fstatat, (int at, const char *path, struct stat *stat, int flags),
     (at, path, stat, flags))
WRAP(int, -1, fstatat64,
     (int at, const char *path, struct stat *stat, int flags),
     (at, path, stat, flags))
WRAP(ssize_t, -1, read, (int fd, void *buffer, size_t size),
     (fd, buffer, shortened(size)))
WRAP(ssize_t, -1, write, (int fd, const void *buffer, size_t size),
     (fd, buffer, shortened(size)))
WRAP(ssize_t, -1, pread, (int fd, void *buffer, size_t size, off_t offset),
     (fd, buffer, shortened(size), offset))
WRAP(ssize_t, -1, pread64, (int fd, void *buffer, size_t size, off_t offset),
     (fd, buffer, shortened(size), offset))
WRAP(ssize_t, -1, pwrite,
     (int fd, const void *buffer, size_t size, off_t offset),
     (fd, buffer, shortened(size), offset))
WRAP(ssize_t, -1, pwrite64,
     (int fd, const void *buffer, size_t size, off_t offset),
     (fd, buffer, shortened(size), offset))
WRAP(int, -1, fsync, (int fd), (fd))
WRAP(int, -1, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(int, -1, fchown, (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
WRAP(int, -1, ftruncate, (int fd, off_t size), (fd, size))
WRAP(int, -1, ftruncate64, (int fd, off_t size), (fd, size))
WRAP(ssize_t, -1, readlink, (const char *path, char *to, size_t size),
     (path, to, size))
WRAP(int, -1, renameat, (int at, const char *from, int to, const char *name),
     (at, from, to, name))
WRAP(int, -1, unlinkat, (int at, const char *path, int flags),
     (at, path, flags))
WRAP(int, -1, unlink, (const char *path), (path))
WRAP(off_t, -1, lseek, (int fd, off_t offset, int whence), (fd, offset, whence))
WRAP(off_t, -1, lseek64, (int fd, off_t offset, int whence),
     (fd, offset, whence))
WRAP(ssize_t, -1, copy_file_range,
     (int from, off_t *at, int to, off_t *to_at, size_t size, unsigned flags),
     (from, at, to, to_at, shortened(size), flags))
WRAP(void *, NULL, aligned_alloc, (size_t alignment, size_t size),
     (alignment, size))

/* The descriptor is gone whatever close says, as on Linux. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    bool has_failed = fails("close");
    int error = errno;
    int result = __real_close(fd);
    if (has_failed)
        errno = error;
    return has_failed ? -1 : result;
}

/* ---- what is tried ------------------------------------------------------- */

enum { SIZE = 10000 };

static char old_bytes[SIZE], new_bytes[SIZE];
static int home;
static char directory[] = "/tmp/eddy-XXXXXX";

static int count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void make_old(void)
{
    FILE *file = fopen("file", "wb");
    if (!file || fwrite(old_bytes, SIZE, 1, file) != 1 || fclose(file))
        abort();
}

static void begin(void)
{
    memset(&faults, 0, sizeof faults);
    memset(old_bytes, 'o', SIZE);
    memset(new_bytes, 'n', SIZE);
    old_bytes[SIZE / 2] = '\n';
    home = open(".", O_RDONLY | O_CLOEXEC);
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    if (!mkdtemp(directory) || chdir(directory))
        abort();
    make_old();
}

/* Returns how many names there are; those left over by a crash in *left. */
static int look_around(int *left, bool is_clearing)
{
    int count = 0;
    DIR *dir = opendir(".");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        bool is_left = strncmp(entry->d_name, ".eddy-", 6) == 0;
        if (is_left)
            ++*left;
        count++;
        if (is_left || is_clearing)
            unlink(entry->d_name);
    }
    closedir(dir);
    return count;
}

static void end(void)
{
    int left = 0;
    look_around(&left, true);
    CHECK_EQ(left, 0);
    if (fchdir(home) || rmdir(directory))
        abort();
    close(home);
}

/* Of "file": whether it is that. */
static bool is_all(const char *bytes)
{
    char got[SIZE + 1];
    FILE *file = fopen("file", "rb");
    if (!file)
        return false;
    size_t size = fread(got, 1, sizeof got, file);
    fclose(file);
    return size == SIZE && memcmp(got, bytes, SIZE) == 0;
}

static int replace_it(void)
{
    return ed_fs_replace_file_sync("file", new_bytes, SIZE, 0600);
}

static int write_it(void)
{
    return ed_fs_write_file_sync("file", new_bytes, SIZE, 0600);
}

static int append_it(void)
{
    return ed_fs_append_file_sync("file", new_bytes, SIZE, 0600);
}

static int copy_it(void)
{
    return ed_fs_copy_file_sync("file", "copy", ED_COPY_NO_SHARING, NULL);
}

static int read_it(void)
{
    struct ed_file file = {0};
    int err = ed_fs_read_file_sync("file", &file);
    CHECK(!err == (file.data != NULL));
    ed_file_free(&file);
    return err;
}

static int go_on(struct ed_lines *lines)
{
    (void)lines;
    return 0;
}

static int read_lines(void)
{
    struct ed_lines lines = {.on_line = go_on};
    return ed_fs_read_lines_sync("file", &lines);
}

static void arm(int nth, int error)
{
    faults.seen = 0;
    faults.nth = nth;
    faults.error = error;
    faults.longest = 3000;
    faults.name[0] = '\0';
    __atomic_store_n(&faults.is_armed, true, __ATOMIC_SEQ_CST);
}

static void disarm(void)
{
    __atomic_store_n(&faults.is_armed, false, __ATOMIC_SEQ_CST);
}

typedef int operation_fn(void);

/*
 * Has each call fail in turn. check is given the result. Returns how many there
 * are.
 */
static int with_each_failing(operation_fn *operation, int error,
                             void (*check)(int result))
{
    for (int nth = 1;; nth++) {
        make_old();
        int before = count_descriptors();
        arm(nth, error);
        int result = operation();
        disarm();
        bool has_failed = faults.name[0];
        CHECK_EQ(count_descriptors(), before);
        bool is_memory = strcmp(faults.name, "aligned_alloc") == 0;
        if (result)
            CHECK_EQ(result, is_memory ? -ENOMEM : -error);
        if (!has_failed)
            CHECK_EQ(result, 0);
        check(result);
        unlink("copy");
        if (!has_failed)
            return nth - 1;
    }
}

/* ---- failing ------------------------------------------------------------- */

/* After the rename only the syncing of the directory can fail. */
static void check_replaced(int result)
{
    int left = 0;
    bool is_last = strcmp(faults.name, "fsync") == 0 && is_all(new_bytes);
    CHECK_EQ(look_around(&left, false), 1);
    CHECK_EQ(left, 0);
    if (result && !is_last)
        CHECK(is_all(old_bytes));
    if (!result)
        CHECK(is_all(new_bytes));
}

static void a_failed_replacement_leaves_the_old_file_and_nothing_else(void)
{
    static const int errors[] = {EIO, ENOSPC, EACCES, EMFILE};
    begin();
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        CHECK(with_each_failing(replace_it, errors[i], check_replaced) > 12);
    end();
}

static void check_copied(int result)
{
    int left = 0;
    // A failed one is gone, unless that was what failed.
    CHECK_EQ(look_around(&left, false), result ? 1 : 2);
    CHECK(is_all(old_bytes));
}

static void a_failed_copy_is_removed(void)
{
    begin();
    CHECK(with_each_failing(copy_it, EIO, check_copied) > 10);
    end();
}

static void check_nothing(int result)
{
    (void)result;
}

static void an_error_of_any_call_is_told_and_leaves_no_descriptor(void)
{
    begin();
    CHECK(with_each_failing(write_it, ENOSPC, check_nothing) > 4);
    CHECK(with_each_failing(append_it, EIO, check_nothing) > 4);
    CHECK(with_each_failing(read_it, EIO, check_nothing) > 4);
    CHECK(with_each_failing(read_lines, EIO, check_nothing) > 4);
    end();
}

static void check_succeeded(int result)
{
    CHECK_EQ(result, 0);
}

static void calls_that_are_interrupted_are_taken_up_again(void)
{
    begin();
    CHECK(with_each_failing(write_it, EINTR, check_succeeded) > 4);
    CHECK(with_each_failing(append_it, EINTR, check_succeeded) > 4);
    end();
}

static void a_kernel_that_does_not_copy_is_noticed(void)
{
    begin();
    for (int nth = 1; nth < 40; nth++) {
        arm(nth, EXDEV);
        int result = copy_it();
        disarm();
        if (strcmp(faults.name, "copy_file_range") == 0)
            CHECK_EQ(result, 0);
        unlink("copy");
    }
    end();
}

/* ---- crashing ------------------------------------------------------------ */

static void do_nothing(struct ed_fs_request *request)
{
    (void)request;
}

/* In the child. Ends it. */
static void replace_and_crash(int nth, bool is_async)
{
    struct ed_loop loop;
    struct ed_pool pool;
    struct ed_fs_request request = {0};
    if (!is_async) {
        arm(nth, 0);
        _exit(replace_it() ? 1 : 0);
    }
    if (ed_loop_init(&loop) || ed_pool_init(&pool, &loop, NULL))
        _exit(1);
    faults.but = pthread_self();
    faults.has_but = true;
    arm(nth, 0);
    if (ed_fs_replace_file(&pool, &request, "file", new_bytes, SIZE, 0600,
                           do_nothing) ||
        ed_loop_run(&loop))
        _exit(1);
    disarm();
    ed_pool_destroy(&pool);
    ed_loop_destroy(&loop);
    _exit(request.result ? 1 : 0);
}

static void after_a_crash_there_is_the_old_file_or_the_new_one(void)
{
    begin();
    for (int form = 0; form < 2; form++) {
        int olds = 0, news = 0, most_left = 0;
        for (int nth = 1;; nth++) {
            make_old();
            pid_t child = fork();
            if (child == 0)
                replace_and_crash(nth, form);
            int status;
            NEED(waitpid(child, &status, 0) == child);
            bool is_old = is_all(old_bytes), is_new = is_all(new_bytes);
            int left = 0;
            CHECK(is_old || is_new);
            int count = look_around(&left, false);
            CHECK_EQ(count - left, 1);
            CHECK(left <= 1);
            // Once it is the new one, it is so for good.
            CHECK(!(news && is_old));
            olds += is_old;
            news += is_new;
            most_left += left;
            if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
                continue;
            CHECK_EQ(status, 0);
            CHECK(is_new);
            break;
        }
        CHECK(olds > 8);
        CHECK(news >= 2);
        CHECK(most_left > 3);
    }
    end();
}

TESTS(TEST(a_failed_replacement_leaves_the_old_file_and_nothing_else),
      TEST(a_failed_copy_is_removed),
      TEST(an_error_of_any_call_is_told_and_leaves_no_descriptor),
      TEST(calls_that_are_interrupted_are_taken_up_again),
      TEST(a_kernel_that_does_not_copy_is_noticed),
      TEST(after_a_crash_there_is_the_old_file_or_the_new_one))
