/*
 * test/fs.h - both forms of every operation, in an empty directory of one's own
 *
 *     static void make_one(const struct form *fs)
 *     {
 *         CHECK_EQ(fs->mkdir("one", 0700), 0);
 *     }
 *
 *     static void a_directory_can_be_made(void)
 *     {
 *         with_both(make_one);
 *     }
 *
 * A form's functions are all synchronous: those of the second send a request
 * through the pool and run the loop until it is done.
 */
#ifndef EDDY_TEST_FS_H
#define EDDY_TEST_FS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/directory.h"
#include "fs/fs.h"
#include "test/tap.h"

struct form {
    const char *name;
    int (*open)(const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    int64_t (*read)(int fd, void *buffer, size_t size, int64_t offset);
    int64_t (*write)(int fd, const void *buffer, size_t size, int64_t offset);
    int64_t (*readv)(int fd, const struct iovec *parts, int count,
                     int64_t offset);
    int64_t (*writev)(int fd, const struct iovec *parts, int count,
                      int64_t offset);
    int (*truncate)(const char *path, int64_t size);
    int (*ftruncate)(int fd, int64_t size);
    int (*allocate)(int fd, int64_t offset, int64_t size);
    int (*fsync)(int fd);
    int (*fdatasync)(int fd);
    int (*sync_directory)(const char *path);
    int (*flock)(int fd, int operation);
    int (*stat)(const char *path, struct ed_stat *stat);
    int (*lstat)(const char *path, struct ed_stat *stat);
    int (*fstat)(int fd, struct ed_stat *stat);
    int (*statfs)(const char *path, struct ed_statfs *statfs);
    int (*access)(const char *path, int mode);
    int (*chmod)(const char *path, mode_t mode);
    int (*fchmod)(int fd, mode_t mode);
    int (*chown)(const char *path, uid_t uid, gid_t gid);
    int (*lchown)(const char *path, uid_t uid, gid_t gid);
    int (*fchown)(int fd, uid_t uid, gid_t gid);
    int (*utimes)(const char *path, const struct timespec times[2]);
    int (*lutimes)(const char *path, const struct timespec times[2]);
    int (*futimes)(int fd, const struct timespec times[2]);
    int (*link)(const char *path, const char *new_path);
    int (*symlink)(const char *target, const char *path);
    int64_t (*readlink)(const char *path, char *buffer, size_t size);
    int64_t (*realpath)(const char *path, char *buffer, size_t size);
    int (*rename)(const char *path, const char *new_path, unsigned flags);
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
    int (*mkdir_parents)(const char *path, mode_t mode);
    int (*rmdir)(const char *path);
    int (*mkdtemp)(char *path);
    int (*mkstemp)(char *path);
    int (*opendir)(const char *path, struct ed_dir *dir);
    int64_t (*readdir)(struct ed_dir *dir, struct ed_dir_entry *entries,
                       size_t count);
    int (*closedir)(struct ed_dir *dir);
};

static struct ed_loop loop;
static struct ed_pool pool;
static int dones;

/* For tests of requests themselves: what is done with every one. */
static uint64_t common_deadline_ns;
static void (*before_submit)(void);
static void (*after_submit)(struct ed_fs_request *request);
static int submit_error; // that is expected

static inline struct ed_fs_request new_request(void)
{
    if (before_submit)
        before_submit();
    return (struct ed_fs_request){.deadline_ns = common_deadline_ns};
}

static inline void count_done(struct ed_fs_request *request)
{
    (void)request;
    dones++;
}

/* What a request came to, which was submitted with err. */
static inline int64_t result_of(struct ed_fs_request *request, int err)
{
    CHECK_EQ(err, submit_error);
    CHECK_EQ(dones, 0);
    if (err)
        return err;
    if (after_submit)
        after_submit(request);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(dones, 1);
    dones = 0;
    return request->result;
}

static inline int open_async(const char *path, int flags, mode_t mode)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(
        &request, ed_fs_open(&pool, &request, path, flags, mode, count_done));
}

static inline int close_async(int fd)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(&request,
                          ed_fs_close(&pool, &request, fd, count_done));
}

static inline int64_t read_async(int fd, void *buffer, size_t size,
                                 int64_t offset)
{
    struct ed_fs_request request = new_request();
    return result_of(&request, ed_fs_read(&pool, &request, fd, buffer, size,
                                          offset, count_done));
}

static inline int64_t write_async(int fd, const void *buffer, size_t size,
                                  int64_t offset)
{
    struct ed_fs_request request = new_request();
    return result_of(&request, ed_fs_write(&pool, &request, fd, buffer, size,
                                           offset, count_done));
}

static inline int64_t readv_async(int fd, const struct iovec *parts, int count,
                                  int64_t offset)
{
    struct ed_fs_request request = new_request();
    return result_of(&request, ed_fs_readv(&pool, &request, fd, parts, count,
                                           offset, count_done));
}

static inline int64_t writev_async(int fd, const struct iovec *parts, int count,
                                   int64_t offset)
{
    struct ed_fs_request request = new_request();
    return result_of(&request, ed_fs_writev(&pool, &request, fd, parts, count,
                                            offset, count_done));
}

static inline int truncate_async(const char *path, int64_t size)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(
        &request, ed_fs_truncate(&pool, &request, path, size, count_done));
}

static inline int ftruncate_async(int fd, int64_t size)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(
        &request, ed_fs_ftruncate(&pool, &request, fd, size, count_done));
}

static inline int allocate_async(int fd, int64_t offset, int64_t size)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(&request, ed_fs_allocate(&pool, &request, fd, offset,
                                                   size, count_done));
}

static inline int fsync_async(int fd)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(&request,
                          ed_fs_fsync(&pool, &request, fd, count_done));
}

static inline int fdatasync_async(int fd)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(&request,
                          ed_fs_fdatasync(&pool, &request, fd, count_done));
}

static inline int sync_directory_async(const char *path)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(
        &request, ed_fs_sync_directory(&pool, &request, path, count_done));
}

static inline int flock_async(int fd, int operation)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(
        &request, ed_fs_flock(&pool, &request, fd, operation, count_done));
}

static inline int stat_async(const char *path, struct ed_stat *stat)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(&request,
                          ed_fs_stat(&pool, &request, path, stat, count_done));
}

static inline int lstat_async(const char *path, struct ed_stat *stat)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(&request,
                          ed_fs_lstat(&pool, &request, path, stat, count_done));
}

static inline int fstat_async(int fd, struct ed_stat *stat)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(&request,
                          ed_fs_fstat(&pool, &request, fd, stat, count_done));
}

static inline int statfs_async(const char *path, struct ed_statfs *statfs)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(
        &request, ed_fs_statfs(&pool, &request, path, statfs, count_done));
}

static inline int access_async(const char *path, int mode)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(
        &request, ed_fs_access(&pool, &request, path, mode, count_done));
}

static inline int chmod_async(const char *path, mode_t mode)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(&request,
                          ed_fs_chmod(&pool, &request, path, mode, count_done));
}

static inline int fchmod_async(int fd, mode_t mode)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(&request,
                          ed_fs_fchmod(&pool, &request, fd, mode, count_done));
}

static inline int chown_async(const char *path, uid_t uid, gid_t gid)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(
        &request, ed_fs_chown(&pool, &request, path, uid, gid, count_done));
}

static inline int lchown_async(const char *path, uid_t uid, gid_t gid)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(
        &request, ed_fs_lchown(&pool, &request, path, uid, gid, count_done));
}

static inline int fchown_async(int fd, uid_t uid, gid_t gid)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(
        &request, ed_fs_fchown(&pool, &request, fd, uid, gid, count_done));
}

static inline int utimes_async(const char *path, const struct timespec times[2])
{
    struct ed_fs_request request = new_request();
    return (int)result_of(
        &request, ed_fs_utimes(&pool, &request, path, times, count_done));
}

static inline int lutimes_async(const char *path,
                                const struct timespec times[2])
{
    struct ed_fs_request request = new_request();
    return (int)result_of(
        &request, ed_fs_lutimes(&pool, &request, path, times, count_done));
}

static inline int futimes_async(int fd, const struct timespec times[2])
{
    struct ed_fs_request request = new_request();
    return (int)result_of(
        &request, ed_fs_futimes(&pool, &request, fd, times, count_done));
}

static inline int link_async(const char *path, const char *new_path)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(
        &request, ed_fs_link(&pool, &request, path, new_path, count_done));
}

static inline int symlink_async(const char *target, const char *path)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(
        &request, ed_fs_symlink(&pool, &request, target, path, count_done));
}

static inline int64_t readlink_async(const char *path, char *buffer,
                                     size_t size)
{
    struct ed_fs_request request = new_request();
    return result_of(&request, ed_fs_readlink(&pool, &request, path, buffer,
                                              size, count_done));
}

static inline int64_t realpath_async(const char *path, char *buffer,
                                     size_t size)
{
    struct ed_fs_request request = new_request();
    return result_of(&request, ed_fs_realpath(&pool, &request, path, buffer,
                                              size, count_done));
}

static inline int rename_async(const char *path, const char *new_path,
                               unsigned flags)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(&request, ed_fs_rename(&pool, &request, path,
                                                 new_path, flags, count_done));
}

static inline int unlink_async(const char *path)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(&request,
                          ed_fs_unlink(&pool, &request, path, count_done));
}

static inline int mkdir_async(const char *path, mode_t mode)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(&request,
                          ed_fs_mkdir(&pool, &request, path, mode, count_done));
}

static inline int mkdir_parents_async(const char *path, mode_t mode)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(
        &request, ed_fs_mkdir_parents(&pool, &request, path, mode, count_done));
}

static inline int rmdir_async(const char *path)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(&request,
                          ed_fs_rmdir(&pool, &request, path, count_done));
}

static inline int mkdtemp_async(char *path)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(&request,
                          ed_fs_mkdtemp(&pool, &request, path, count_done));
}

static inline int mkstemp_async(char *path)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(&request,
                          ed_fs_mkstemp(&pool, &request, path, count_done));
}

static inline int opendir_async(const char *path, struct ed_dir *dir)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(
        &request, ed_fs_opendir(&pool, &request, path, dir, count_done));
}

static inline int64_t readdir_async(struct ed_dir *dir,
                                    struct ed_dir_entry *entries, size_t count)
{
    struct ed_fs_request request = new_request();
    return result_of(&request, ed_fs_readdir(&pool, &request, dir, entries,
                                             count, count_done));
}

static inline int closedir_async(struct ed_dir *dir)
{
    struct ed_fs_request request = new_request();
    return (int)result_of(&request,
                          ed_fs_closedir(&pool, &request, dir, count_done));
}

static const struct form forms[] = {
    {
        .name = "blocking",
        .open = ed_fs_open_sync,
        .close = ed_fs_close_sync,
        .read = ed_fs_read_sync,
        .write = ed_fs_write_sync,
        .readv = ed_fs_readv_sync,
        .writev = ed_fs_writev_sync,
        .truncate = ed_fs_truncate_sync,
        .ftruncate = ed_fs_ftruncate_sync,
        .allocate = ed_fs_allocate_sync,
        .fsync = ed_fs_fsync_sync,
        .fdatasync = ed_fs_fdatasync_sync,
        .sync_directory = ed_fs_sync_directory_sync,
        .flock = ed_fs_flock_sync,
        .stat = ed_fs_stat_sync,
        .lstat = ed_fs_lstat_sync,
        .fstat = ed_fs_fstat_sync,
        .statfs = ed_fs_statfs_sync,
        .access = ed_fs_access_sync,
        .chmod = ed_fs_chmod_sync,
        .fchmod = ed_fs_fchmod_sync,
        .chown = ed_fs_chown_sync,
        .lchown = ed_fs_lchown_sync,
        .fchown = ed_fs_fchown_sync,
        .utimes = ed_fs_utimes_sync,
        .lutimes = ed_fs_lutimes_sync,
        .futimes = ed_fs_futimes_sync,
        .link = ed_fs_link_sync,
        .symlink = ed_fs_symlink_sync,
        .readlink = ed_fs_readlink_sync,
        .realpath = ed_fs_realpath_sync,
        .rename = ed_fs_rename_sync,
        .unlink = ed_fs_unlink_sync,
        .mkdir = ed_fs_mkdir_sync,
        .mkdir_parents = ed_fs_mkdir_parents_sync,
        .rmdir = ed_fs_rmdir_sync,
        .mkdtemp = ed_fs_mkdtemp_sync,
        .mkstemp = ed_fs_mkstemp_sync,
        .opendir = ed_fs_opendir_sync,
        .readdir = ed_fs_readdir_sync,
        .closedir = ed_fs_closedir_sync,
    },
    {
        .name = "asynchronous",
        .open = open_async,
        .close = close_async,
        .read = read_async,
        .write = write_async,
        .readv = readv_async,
        .writev = writev_async,
        .truncate = truncate_async,
        .ftruncate = ftruncate_async,
        .allocate = allocate_async,
        .fsync = fsync_async,
        .fdatasync = fdatasync_async,
        .sync_directory = sync_directory_async,
        .flock = flock_async,
        .stat = stat_async,
        .lstat = lstat_async,
        .fstat = fstat_async,
        .statfs = statfs_async,
        .access = access_async,
        .chmod = chmod_async,
        .fchmod = fchmod_async,
        .chown = chown_async,
        .lchown = lchown_async,
        .fchown = fchown_async,
        .utimes = utimes_async,
        .lutimes = lutimes_async,
        .futimes = futimes_async,
        .link = link_async,
        .symlink = symlink_async,
        .readlink = readlink_async,
        .realpath = realpath_async,
        .rename = rename_async,
        .unlink = unlink_async,
        .mkdir = mkdir_async,
        .mkdir_parents = mkdir_parents_async,
        .rmdir = rmdir_async,
        .mkdtemp = mkdtemp_async,
        .mkstemp = mkstemp_async,
        .opendir = opendir_async,
        .readdir = readdir_async,
        .closedir = closedir_async,
    },
};

enum { FORMS = sizeof forms / sizeof *forms };

/* ---- the directory ------------------------------------------------------- */

static int home; // the directory to go back to
static char directory[] = "/tmp/eddy-XXXXXX";
static int descriptors;

static inline int count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* What is in the directory that fd is of, which is closed. */
static inline void remove_all(int fd)
{
    DIR *dir = fdopendir(fd);
    if (!dir)
        abort();
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (!unlinkat(fd, name, 0))
            continue;
        if (unlinkat(fd, name, AT_REMOVEDIR)) {
            (void)fchmodat(fd, name, 0700, 0);
            remove_all(openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
            (void)unlinkat(fd, name, AT_REMOVEDIR);
        }
    }
    closedir(dir);
}

/* In an empty directory of our own. */
static inline void begin(void)
{
    home = open(".", O_RDONLY);
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    if (!mkdtemp(directory) || chdir(directory))
        abort();
    dones = 0;
    CHECK_EQ(ed_loop_init(&loop), 0);
    CHECK_EQ(ed_pool_init(&pool, &loop, NULL), 0);
    descriptors = count_descriptors();
}

static inline void end(void)
{
    CHECK_EQ(count_descriptors(), descriptors);
    ed_pool_destroy(&pool);
    ed_loop_destroy(&loop);
    remove_all(open(".", O_RDONLY));
    if (fchdir(home) || rmdir(directory))
        abort();
    close(home);
}

/* Runs a test's body with each form, each time in a fresh directory. */
static inline void with_both(void (*body)(const struct form *fs))
{
    for (int i = 0; i < FORMS; i++) {
        int failures = tap_failures;
        begin();
        body(&forms[i]);
        end();
        if (tap_failures > failures)
            printf("# that was the %s form\n", forms[i].name);
    }
}

/*
 * Takes all descriptors, of which there are no more than a few then, and gives
 * them back.
 */
struct shortage {
    struct rlimit limit;
    int fds[64];
    int count;
};

static inline void begin_shortage(struct shortage *shortage)
{
    enum { FEW = 64 };
    *shortage = (struct shortage){0};
    if (getrlimit(RLIMIT_NOFILE, &shortage->limit))
        abort();
    struct rlimit few = {FEW, shortage->limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &few))
        abort();
    for (int fd; (fd = dup(home)) >= 0;)
        shortage->fds[shortage->count++] = fd;
    CHECK_EQ(errno, EMFILE);
}

static inline void end_shortage(struct shortage *shortage)
{
    while (shortage->count > 0)
        close(shortage->fds[--shortage->count]);
    if (setrlimit(RLIMIT_NOFILE, &shortage->limit))
        abort();
}

/* A file of that text. */
static inline void make_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t size = (ssize_t)strlen(text);
    if (fd < 0 || write(fd, text, (size_t)size) != size || close(fd))
        abort();
}

/* Whether a file is that text. */
static inline bool is_file(const char *path, const char *text)
{
    char buffer[256];
    int fd = open(path, O_RDONLY);
    ssize_t size = fd < 0 ? -1 : read(fd, buffer, sizeof buffer);
    if (fd >= 0)
        close(fd);
    return size == (ssize_t)strlen(text) &&
           memcmp(buffer, text, (size_t)size) == 0;
}

#endif
