/*
 * The linker gives us the library's calls of these functions first
 * (-Wl,--wrap). Of each operation the first call fails, then the second, and so
 * on until all goes well. Which name a call has, stat or stat64, depends on the
 * system, and so does which are made; others may not exist.
 */
#include <stdarg.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include "fs/system.h"
#include "test/fs_operations.h"

/* ---- faults -------------------------------------------------------------- */

static bool is_armed;   // else nothing is counted
static int seen;        // calls so far
static int first, last; // to fail, counted from 1
static int error;
static int told; // what the failed one said
static bool statx_is_refused;

static bool fails_with(int what)
{
    if (!__atomic_load_n(&is_armed, __ATOMIC_SEQ_CST))
        return false;
    int nth = __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST);
    if (nth < first || nth > last)
        return false;
    told = errno = what;
    return true;
}

static bool fails(void)
{
    return fails_with(error);
}

__attribute__((weak)) int __real_fstat(int fd, struct stat *stat);
__attribute__((weak)) int __real_fstat64(int fd, struct stat *stat);

static int fstat_unwrapped(int fd, struct stat *stat)
{
    return __real_fstat64 ? __real_fstat64(fd, stat) : __real_fstat(fd, stat);
}

/* The loop and the pool read, write and close what is theirs. */
static bool is_ours(int fd)
{
    struct stat stat;
    return __atomic_load_n(&is_armed, __ATOMIC_SEQ_CST) &&
           !fstat_unwrapped(fd, &stat) &&
           (S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode));
}

#define WRAP_IF(condition, result, name, parameters, arguments)                \
    __attribute__((weak)) result __real_##name parameters;                     \
    result __wrap_##name parameters;                                           \
    result __wrap_##name parameters                                            \
    {                                                                          \
        return (condition) && fails() ? -1 : __real_##name arguments;          \
    }

#define WRAP(result, name, parameters, arguments)                              \
    WRAP_IF(true, result, name, parameters, arguments)

#define WRAP_BOTH(result, name, parameters, arguments)                         \
    WRAP(result, name, parameters, arguments)                                  \
    WRAP(result, name##64, parameters, arguments)

WRAP_IF(is_ours(fd), ssize_t, read, (int fd, void *buffer, size_t size),
        (fd, buffer, size))
WRAP_IF(is_ours(fd), ssize_t, write, (int fd, const void *buffer, size_t size),
        (fd, buffer, size))
WRAP_IF(is_ours(fd), ssize_t, readv,
        (int fd, const struct iovec *parts, int count), (fd, parts, count))
WRAP_IF(is_ours(fd), ssize_t, writev,
        (int fd, const struct iovec *parts, int count), (fd, parts, count))
WRAP_BOTH(ssize_t, pread, (int fd, void *buffer, size_t size, off_t offset),
          (fd, buffer, size, offset))
WRAP_BOTH(ssize_t, pwrite,
          (int fd, const void *buffer, size_t size, off_t offset),
          (fd, buffer, size, offset))
WRAP_BOTH(ssize_t, preadv,
          (int fd, const struct iovec *parts, int count, off_t offset),
          (fd, parts, count, offset))
WRAP_BOTH(ssize_t, pwritev,
          (int fd, const struct iovec *parts, int count, off_t offset),
          (fd, parts, count, offset))
WRAP_BOTH(int, truncate, (const char *path, off_t size), (path, size))
WRAP_BOTH(int, ftruncate, (int fd, off_t size), (fd, size))
WRAP_BOTH(int, fallocate, (int fd, int mode, off_t offset, off_t size),
          (fd, mode, offset, size))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, fdatasync, (int fd), (fd))
WRAP(int, flock, (int fd, int operation), (fd, operation))
WRAP_BOTH(int, fstatat, (int at, const char *path, struct stat *to, int flags),
          (at, path, to, flags))
WRAP_BOTH(int, fstat, (int fd, struct stat *to), (fd, to))
WRAP_BOTH(int, statfs, (const char *path, struct statfs *to), (path, to))
WRAP_BOTH(int, statvfs, (const char *path, struct statvfs *to), (path, to))
WRAP(int, access, (const char *path, int mode), (path, mode))
WRAP(int, chmod, (const char *path, mode_t mode), (path, mode))
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(int, chown, (const char *path, uid_t uid, gid_t gid), (path, uid, gid))
WRAP(int, lchown, (const char *path, uid_t uid, gid_t gid), (path, uid, gid))
WRAP(int, fchown, (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
WRAP(int, utimensat,
     (int at, const char *path, const struct timespec *times, int flags),
     (at, path, times, flags))
WRAP(int, futimens, (int fd, const struct timespec *times), (fd, times))
WRAP(int, linkat,
     (int at, const char *path, int new_at, const char *new_path, int flags),
     (at, path, new_at, new_path, flags))
WRAP(int, symlink, (const char *target, const char *path), (target, path))
WRAP(ssize_t, readlink, (const char *path, char *buffer, size_t size),
     (path, buffer, size))
WRAP(int, rename, (const char *path, const char *new_path), (path, new_path))
WRAP(int, unlink, (const char *path), (path))
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(int, rmdir, (const char *path), (path))

#define WRAP_OPEN(name)                                                        \
    __attribute__((weak)) int __real_##name(const char *path, int flags, ...); \
    int __wrap_##name(const char *path, int flags, ...);                       \
    int __wrap_##name(const char *path, int flags, ...)                        \
    {                                                                          \
        mode_t mode = 0;                                                       \
        if (flags & O_CREAT) {                                                 \
            va_list arguments;                                                 \
            va_start(arguments, flags);                                        \
            mode = (mode_t)va_arg(arguments, unsigned);                        \
            va_end(arguments);                                                 \
        }                                                                      \
        return fails() ? -1 : __real_##name(path, flags, mode);                \
    }

WRAP_OPEN(open)
WRAP_OPEN(open64)

int __real_close(int fd);
int __wrap_close(int fd);
DIR *__real_fdopendir(int fd);
DIR *__wrap_fdopendir(int fd);
int __real_closedir(DIR *dir);
int __wrap_closedir(DIR *dir);
char *__real_realpath(const char *path, char *buffer);
char *__wrap_realpath(const char *path, char *buffer);
char *__real_mkdtemp(char *path);
char *__wrap_mkdtemp(char *path);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
int __real_statx(int at, const char *path, int flags, unsigned mask,
                 struct statx *to);
int __wrap_statx(int at, const char *path, int flags, unsigned mask,
                 struct statx *to);

/* What is closed is gone, whatever is said. */
int __wrap_close(int fd)
{
    bool has_failed = is_ours(fd) && fails();
    int err = errno;
    int result = __real_close(fd);
    errno = err;
    return has_failed ? -1 : result;
}

int __wrap_closedir(DIR *dir)
{
    bool has_failed = fails();
    int err = errno;
    int result = __real_closedir(dir);
    errno = err;
    return has_failed ? -1 : result;
}

DIR *__wrap_fdopendir(int fd)
{
    return fails() ? NULL : __real_fdopendir(fd);
}

#define WRAP_READDIR(name, entry)                                              \
    __attribute__((weak)) struct entry *__real_##name(DIR *dir);               \
    struct entry *__wrap_##name(DIR *dir);                                     \
    struct entry *__wrap_##name(DIR *dir)                                      \
    {                                                                          \
        return fails() ? NULL : __real_##name(dir);                            \
    }

WRAP_READDIR(readdir, dirent)
WRAP_READDIR(readdir64, dirent64)

/* It says what is wrong itself. */
#define WRAP_ALLOCATE(name)                                                    \
    __attribute__((weak)) int __real_##name(int fd, off_t offset, off_t size); \
    int __wrap_##name(int fd, off_t offset, off_t size);                       \
    int __wrap_##name(int fd, off_t offset, off_t size)                        \
    {                                                                          \
        return fails() ? error : __real_##name(fd, offset, size);              \
    }

WRAP_ALLOCATE(posix_fallocate)
WRAP_ALLOCATE(posix_fallocate64)

char *__wrap_realpath(const char *path, char *buffer)
{
    return fails() ? NULL : __real_realpath(path, buffer);
}

/* Those that fail leave the name of their last try. */
static void spoil(char *path)
{
    memcpy(path + strlen(path) - 6, "tried1", 6);
}

char *__wrap_mkdtemp(char *path)
{
    if (!fails())
        return __real_mkdtemp(path);
    spoil(path);
    return NULL;
}

#define WRAP_MKOSTEMP(name)                                                    \
    __attribute__((weak)) int __real_##name(char *path, int flags);            \
    int __wrap_##name(char *path, int flags);                                  \
    int __wrap_##name(char *path, int flags)                                   \
    {                                                                          \
        if (!fails())                                                          \
            return __real_##name(path, flags);                                 \
        spoil(path);                                                           \
        return -1;                                                             \
    }

WRAP_MKOSTEMP(mkostemp)
WRAP_MKOSTEMP(mkostemp64)

/* Of a directory's names. */
void *__wrap_malloc(size_t size)
{
    if (size == ED_DIR_ROOM && error != EINTR && fails_with(ENOMEM))
        return NULL;
    return __real_malloc(size);
}

long __wrap_syscall(long number, ...)
{
    long a[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(arguments, long);
    va_end(arguments);
    bool is_ours = number == SYS_getdents64 || number == SYS_renameat2;
    return is_ours && fails()
               ? -1
               : __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int __wrap_statx(int at, const char *path, int flags, unsigned mask,
                 struct statx *to)
{
    if (statx_is_refused) {
        errno = error;
        return -1;
    }
    return fails() ? -1 : __real_statx(at, path, flags, mask, to);
}

/* ---- every operation ----------------------------------------------------- */

static int64_t run_with_faults(const struct operation *operation,
                               const struct form *fs, int from, int to)
{
    seen = 0;
    first = from;
    last = to;
    told = 0;
    __atomic_store_n(&is_armed, true, __ATOMIC_SEQ_CST);
    int64_t result = operation->run(fs);
    __atomic_store_n(&is_armed, false, __ATOMIC_SEQ_CST);
    return result;
}

/* What a directory's descriptor says when it is closed is of no interest. */
static bool is_ignored(const struct operation *operation, int nth)
{
    int calls = operation->run == do_sync_directory ? 3 : 0;
    return calls && nth == calls;
}

/* Returns how many calls it makes. */
static int fail_each(const struct operation *operation, const struct form *fs)
{
    for (int nth = 1;; nth++) {
        begin();
        make_files();
        int before = count_descriptors();
        int64_t result = run_with_faults(operation, fs, nth, nth);
        bool has_failed = told != 0;
        int opened = (new_fd >= 0) + (new_dir.buffer != NULL);
        int closed = (spare_fd < 0) + !open_dir.buffer;
        CHECK_EQ(count_descriptors(), before + opened - closed);
        if (has_failed && !is_ignored(operation, nth)) {
            CHECK_EQ(result, -told);
            CHECK_STR(new_name, "new-XXXXXX");
        } else {
            CHECK(result >= 0);
        }
        close_files();
        end();
        if (!has_failed)
            return nth - 1;
    }
}

static void an_error_of_any_call_is_the_answer_and_nothing_is_left(void)
{
    static const int errors[] = {EIO, ENOMEM, EDQUOT};
    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++) {
        error = errors[e];
        for (int i = 0; i < OPERATIONS; i++) {
            for (int f = 0; f < FORMS; f++) {
                int failures = tap_failures;
                int calls = fail_each(&operations[i], &forms[f]);
                // Where there is no such, nothing is called.
                CHECK(calls > 0 || operations[i].run == do_exchange);
                if (tap_failures > failures)
                    printf("# that was %s, %s, error %d\n", operations[i].name,
                           forms[f].name, error);
            }
        }
    }
}

static void interrupted_calls_are_taken_up_again(void)
{
    error = EINTR;
    for (int i = 0; i < OPERATIONS; i++) {
        for (int f = 0; f < FORMS; f++) {
            int failures = tap_failures;
            for (int nth = 1; nth == 1 || told; nth++) {
                begin();
                make_files();
                CHECK(run_with_faults(&operations[i], &forms[f], nth,
                                      nth + 4) >= 0);
                close_files();
                end();
            }
            if (tap_failures > failures)
                printf("# that was %s, %s\n", operations[i].name,
                       forms[f].name);
        }
    }
}

static void close_is_not_called_twice(void)
{
    error = EINTR;
    for (int f = 0; f < FORMS; f++) {
        begin();
        make_files();
        struct operation operation = {"close", do_close};
        CHECK_EQ(run_with_faults(&operation, &forms[f], 1, 1), 0);
        CHECK_EQ(seen, 1);
        CHECK_EQ(spare_fd, -1);
        close_files();
        end();
    }
}

/* ---- special cases ------------------------------------------------------- */

static void without_statx_there_is_stat(void)
{
    static const int errors[] = {ENOSYS, EPERM};
    for (size_t e = 0; e < 2; e++) {
        for (int f = 0; f < FORMS; f++) {
            const struct form *fs = &forms[f];
            struct ed_stat with, without;
            begin();
            make_files();
            CHECK_EQ(fs->lstat("link", &with), 0);
            error = errors[e];
            statx_is_refused = true;
            CHECK_EQ(fs->lstat("link", &without), 0);
            CHECK(S_ISLNK(without.mode));
            CHECK_EQ(without.born.tv_sec, 0);
            CHECK_EQ(without.born.tv_nsec, 0);
            CHECK_EQ(without.mount, 0);
            without.born = with.born;
            without.mount = with.mount;
            CHECK(memcmp(&with, &without, sizeof with) == 0);
            CHECK_EQ(fs->stat("missing", &without), -ENOENT);
            CHECK_EQ(fs->stat("link", &without), 0);
            CHECK_EQ(without.size, 10);
            CHECK_EQ(fs->fstat(file_fd, &without), 0);
            CHECK_EQ(without.size, 10);
            CHECK_EQ(fs->fstat(-1, &without), -EBADF);
            CHECK_EQ(fs->fstat(AT_FDCWD, &without), -EBADF);
            statx_is_refused = false;
            close_files();
            end();
        }
    }
}

static int64_t make_existing(const struct form *fs)
{
    return fs->mkdir_parents("dir", 0700);
}

static void a_directory_that_cannot_be_looked_at_is_not_taken_for_one(void)
{
    const struct operation operation = {"mkdir_parents", make_existing};
    error = EIO;
    for (int f = 0; f < FORMS; f++) {
        begin();
        make_files();
        CHECK_EQ(run_with_faults(&operation, &forms[f], 2, 2), -EEXIST);
        CHECK_EQ(told, EIO);
        CHECK_EQ(run_with_faults(&operation, &forms[f], 0, 0), 0);
        close_files();
        end();
    }
}

static void a_file_system_that_cannot_sync_directories_is_no_error(void)
{
    const struct operation operation = {"sync_directory", do_sync_directory};
    error = EINVAL;
    for (int f = 0; f < FORMS; f++) {
        begin();
        make_files();
        CHECK_EQ(run_with_faults(&operation, &forms[f], 2, 2), 0);
        CHECK_EQ(told, EINVAL);
        close_files();
        end();
    }
}

TESTS(TEST(an_error_of_any_call_is_the_answer_and_nothing_is_left),
      TEST(interrupted_calls_are_taken_up_again),
      TEST(close_is_not_called_twice), TEST(without_statx_there_is_stat),
      TEST(a_directory_that_cannot_be_looked_at_is_not_taken_for_one),
      TEST(a_file_system_that_cannot_sync_directories_is_no_error))
