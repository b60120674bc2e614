/*
 * fs/stat.c - what is known of a file, and how that is changed
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/request.h"
#include "fs/system.h"

int ed_fs_stat_sync(const char *path, struct ed_stat *stat)
{
    int err;
    do
        err = ed_fs_system_stat(AT_FDCWD, path, 0, stat);
    while (err == -EINTR);
    return err;
}

static void run_stat(struct ed_fs_request *request)
{
    request->result = ed_fs_stat_sync(request->path, request->out);
}

int ed_fs_stat(struct ed_pool *pool, struct ed_fs_request *request,
               const char *path, struct ed_stat *stat, ed_fs_fn *done)
{
    request->path = path;
    request->out = stat;
    return ed_fs_request_start(pool, request, run_stat, done);
}

int ed_fs_lstat_sync(const char *path, struct ed_stat *stat)
{
    int err;
    do
        err = ed_fs_system_stat(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, stat);
    while (err == -EINTR);
    return err;
}

static void run_lstat(struct ed_fs_request *request)
{
    request->result = ed_fs_lstat_sync(request->path, request->out);
}

int ed_fs_lstat(struct ed_pool *pool, struct ed_fs_request *request,
                const char *path, struct ed_stat *stat, ed_fs_fn *done)
{
    request->path = path;
    request->out = stat;
    return ed_fs_request_start(pool, request, run_lstat, done);
}

int ed_fs_fstat_sync(int fd, struct ed_stat *stat)
{
    int err;
    do
        err = ed_fs_system_stat(fd, NULL, 0, stat);
    while (err == -EINTR);
    return err;
}

static void run_fstat(struct ed_fs_request *request)
{
    request->result = ed_fs_fstat_sync(request->fd, request->out);
}

int ed_fs_fstat(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                struct ed_stat *stat, ed_fs_fn *done)
{
    request->fd = fd;
    request->out = stat;
    return ed_fs_request_start(pool, request, run_fstat, done);
}

int ed_fs_plain_fstat(int fd, struct stat *stat)
{
    int failed;
    do
        failed = fstat(fd, stat);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

int ed_fs_statfs_sync(const char *path, struct ed_statfs *statfs)
{
    int err;
    do
        err = ed_fs_system_statfs(path, statfs);
    while (err == -EINTR);
    return err;
}

static void run_statfs(struct ed_fs_request *request)
{
    request->result = ed_fs_statfs_sync(request->path, request->out);
}

int ed_fs_statfs(struct ed_pool *pool, struct ed_fs_request *request,
                 const char *path, struct ed_statfs *statfs, ed_fs_fn *done)
{
    request->path = path;
    request->out = statfs;
    return ed_fs_request_start(pool, request, run_statfs, done);
}

int ed_fs_access_sync(const char *path, int mode)
{
    int failed;
    do
        failed = access(path, mode);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static void run_access(struct ed_fs_request *request)
{
    request->result = ed_fs_access_sync(request->path, request->flags);
}

int ed_fs_access(struct ed_pool *pool, struct ed_fs_request *request,
                 const char *path, int mode, ed_fs_fn *done)
{
    request->path = path;
    request->flags = mode;
    return ed_fs_request_start(pool, request, run_access, done);
}

int ed_fs_chmod_sync(const char *path, mode_t mode)
{
    int failed;
    do
        failed = chmod(path, mode);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static void run_chmod(struct ed_fs_request *request)
{
    request->result = ed_fs_chmod_sync(request->path, request->mode);
}

int ed_fs_chmod(struct ed_pool *pool, struct ed_fs_request *request,
                const char *path, mode_t mode, ed_fs_fn *done)
{
    request->path = path;
    request->mode = mode;
    return ed_fs_request_start(pool, request, run_chmod, done);
}

int ed_fs_fchmod_sync(int fd, mode_t mode)
{
    int failed;
    do
        failed = fchmod(fd, mode);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static void run_fchmod(struct ed_fs_request *request)
{
    request->result = ed_fs_fchmod_sync(request->fd, request->mode);
}

int ed_fs_fchmod(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                 mode_t mode, ed_fs_fn *done)
{
    request->fd = fd;
    request->mode = mode;
    return ed_fs_request_start(pool, request, run_fchmod, done);
}

int ed_fs_chown_sync(const char *path, uid_t uid, gid_t gid)
{
    int failed;
    do
        failed = chown(path, uid, gid);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static void run_chown(struct ed_fs_request *request)
{
    request->result =
        ed_fs_chown_sync(request->path, request->uid, request->gid);
}

int ed_fs_chown(struct ed_pool *pool, struct ed_fs_request *request,
                const char *path, uid_t uid, gid_t gid, ed_fs_fn *done)
{
    request->path = path;
    request->uid = uid;
    request->gid = gid;
    return ed_fs_request_start(pool, request, run_chown, done);
}

int ed_fs_lchown_sync(const char *path, uid_t uid, gid_t gid)
{
    int failed;
    do
        failed = lchown(path, uid, gid);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static void run_lchown(struct ed_fs_request *request)
{
    request->result =
        ed_fs_lchown_sync(request->path, request->uid, request->gid);
}

int ed_fs_lchown(struct ed_pool *pool, struct ed_fs_request *request,
                 const char *path, uid_t uid, gid_t gid, ed_fs_fn *done)
{
    request->path = path;
    request->uid = uid;
    request->gid = gid;
    return ed_fs_request_start(pool, request, run_lchown, done);
}

int ed_fs_fchown_sync(int fd, uid_t uid, gid_t gid)
{
    int failed;
    do
        failed = fchown(fd, uid, gid);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static void run_fchown(struct ed_fs_request *request)
{
    request->result =
        ed_fs_fchown_sync(request->fd, request->uid, request->gid);
}

int ed_fs_fchown(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                 uid_t uid, gid_t gid, ed_fs_fn *done)
{
    request->fd = fd;
    request->uid = uid;
    request->gid = gid;
    return ed_fs_request_start(pool, request, run_fchown, done);
}

int ed_fs_utimes_sync(const char *path, const struct timespec times[2])
{
    int failed;
    do
        failed = utimensat(AT_FDCWD, path, times, 0);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static void run_utimes(struct ed_fs_request *request)
{
    request->result = ed_fs_utimes_sync(request->path, request->times);
}

int ed_fs_utimes(struct ed_pool *pool, struct ed_fs_request *request,
                 const char *path, const struct timespec times[2],
                 ed_fs_fn *done)
{
    request->path = path;
    request->times[0] = times[0];
    request->times[1] = times[1];
    return ed_fs_request_start(pool, request, run_utimes, done);
}

int ed_fs_lutimes_sync(const char *path, const struct timespec times[2])
{
    int failed;
    do
        failed = utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static void run_lutimes(struct ed_fs_request *request)
{
    request->result = ed_fs_lutimes_sync(request->path, request->times);
}

int ed_fs_lutimes(struct ed_pool *pool, struct ed_fs_request *request,
                  const char *path, const struct timespec times[2],
                  ed_fs_fn *done)
{
    request->path = path;
    request->times[0] = times[0];
    request->times[1] = times[1];
    return ed_fs_request_start(pool, request, run_lutimes, done);
}

int ed_fs_futimes_sync(int fd, const struct timespec times[2])
{
    int failed;
    do
        failed = futimens(fd, times);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static void run_futimes(struct ed_fs_request *request)
{
    request->result = ed_fs_futimes_sync(request->fd, request->times);
}

int ed_fs_futimes(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                  const struct timespec times[2], ed_fs_fn *done)
{
    request->fd = fd;
    request->times[0] = times[0];
    request->times[1] = times[1];
    return ed_fs_request_start(pool, request, run_futimes, done);
}
