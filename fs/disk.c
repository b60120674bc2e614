/*
 * fs/disk.c - how long a file is, and when it is on the disk
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fs/request.h"
#include "fs/system.h"

int ed_fs_truncate_sync(const char *path, int64_t size)
{
    int failed;
    do
        failed = truncate(path, (off_t)size);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static void run_truncate(struct ed_fs_request *request)
{
    request->result = ed_fs_truncate_sync(request->path, request->offset);
}

int ed_fs_truncate(struct ed_pool *pool, struct ed_fs_request *request,
                   const char *path, int64_t size, ed_fs_fn *done)
{
    request->path = path;
    request->offset = size;
    return ed_fs_request_start(pool, request, run_truncate, done);
}

int ed_fs_ftruncate_sync(int fd, int64_t size)
{
    int failed;
    do
        failed = ftruncate(fd, (off_t)size);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static void run_ftruncate(struct ed_fs_request *request)
{
    request->result = ed_fs_ftruncate_sync(request->fd, request->offset);
}

int ed_fs_ftruncate(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                    int64_t size, ed_fs_fn *done)
{
    request->fd = fd;
    request->offset = size;
    return ed_fs_request_start(pool, request, run_ftruncate, done);
}

int ed_fs_allocate_sync(int fd, int64_t offset, int64_t size)
{
    int err;
    do
        err = ed_fs_system_allocate(fd, offset, size);
    while (err == -EINTR);
    return err;
}

static void run_allocate(struct ed_fs_request *request)
{
    request->result = ed_fs_allocate_sync(request->fd, request->offset,
                                          (int64_t)request->size);
}

int ed_fs_allocate(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                   int64_t offset, int64_t size, ed_fs_fn *done)
{
    request->fd = fd;
    request->offset = offset;
    request->size = (size_t)size;
    return ed_fs_request_start(pool, request, run_allocate, done);
}

int ed_fs_fsync_sync(int fd)
{
    int err;
    do
        err = ed_fs_system_sync(fd);
    while (err == -EINTR);
    return err;
}

static void run_fsync(struct ed_fs_request *request)
{
    request->result = ed_fs_fsync_sync(request->fd);
}

int ed_fs_fsync(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                ed_fs_fn *done)
{
    request->fd = fd;
    return ed_fs_request_start(pool, request, run_fsync, done);
}

int ed_fs_fdatasync_sync(int fd)
{
    int err;
    do
        err = ed_fs_system_sync_data(fd);
    while (err == -EINTR);
    return err;
}

static void run_fdatasync(struct ed_fs_request *request)
{
    request->result = ed_fs_fdatasync_sync(request->fd);
}

int ed_fs_fdatasync(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                    ed_fs_fn *done)
{
    request->fd = fd;
    return ed_fs_request_start(pool, request, run_fdatasync, done);
}

int ed_fs_sync_directory_sync(const char *path)
{
    int fd = ed_fs_open_sync(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    int err = ed_fs_fsync_sync(fd);
    (void)ed_fs_close_sync(fd);
    return err == -EINVAL ? 0 : err; // not on this file system
}

static void run_sync_directory(struct ed_fs_request *request)
{
    request->result = ed_fs_sync_directory_sync(request->path);
}

int ed_fs_sync_directory(struct ed_pool *pool, struct ed_fs_request *request,
                         const char *path, ed_fs_fn *done)
{
    request->path = path;
    return ed_fs_request_start(pool, request, run_sync_directory, done);
}
