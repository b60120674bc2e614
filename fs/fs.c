/*
 * fs/fs.c - system calls, here or on a worker
 *
 * Each operation is written once, as its _sync form. A request carries the
 * arguments of one to a worker, which calls it: run_read() and its like are all
 * that the asynchronous forms add.
 */
#include "fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* The most that one call is asked to move; some systems refuse INT_MAX and up.
 */
static const size_t longest_io = 1u << 30;

static size_t at_most(size_t size)
{
    return size < longest_io ? size : longest_io;
}

int ed_fs_open_sync(const char *path, int flags, mode_t mode)
{
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

int ed_fs_fstat_sync(int fd, struct stat *stat)
{
    int failed;
    do
        failed = fstat(fd, stat);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

int64_t ed_fs_read_sync(int fd, void *buffer, size_t size, int64_t offset)
{
    ssize_t count;
    do
        count = offset < 0 ? read(fd, buffer, at_most(size))
                           : pread(fd, buffer, at_most(size), (off_t)offset);
    while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : count;
}

int64_t ed_fs_write_sync(int fd, const void *buffer, size_t size,
                         int64_t offset)
{
    ssize_t count;
    do
        count = offset < 0 ? write(fd, buffer, at_most(size))
                           : pwrite(fd, buffer, at_most(size), (off_t)offset);
    while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : count;
}

int ed_fs_close_sync(int fd)
{
    // Interrupted or not, the descriptor is gone; another try could hit one
    // that another thread has just been given.
    return close(fd) && errno != EINTR ? -errno : 0;
}

/* ---- requests
 * ---------------------------------------------------------------- */

static struct ed_fs_request *request_of(struct ed_task *task)
{
    return ED_CONTAINER_OF(task, struct ed_fs_request, task);
}

static void finish_request(struct ed_task *task)
{
    struct ed_fs_request *request = request_of(task);
    if (task->error)
        request->result = task->error;
    request->done(request);
}

static int submit(struct ed_pool *pool, struct ed_fs_request *request,
                  ed_task_fn *run, ed_fs_fn *done)
{
    request->done = done;
    request->task.lane = ED_LANE_FILES;
    return ed_task_submit(pool, &request->task, run, finish_request);
}

static void run_read_file(struct ed_task *task)
{
    struct ed_fs_request *request = request_of(task);
    struct ed_file *file = &request->file;
    struct ed_trace *trace = file->trace;
    if (!trace)
        file->trace = ed_trace_read(&task->loop->trace);
    request->result = ed_fs_read_file_sync(request->args.open.path, file);
    file->trace = trace;
}

int ed_fs_read_file(struct ed_pool *pool, struct ed_fs_request *request,
                    const char *path, ed_fs_fn *done)
{
    request->file.data = NULL;
    request->file.size = 0;
    request->args.open.path = path;
    return submit(pool, request, run_read_file, done);
}

static void run_open(struct ed_task *task)
{
    struct ed_fs_request *request = request_of(task);
    request->result =
        ed_fs_open_sync(request->args.open.path, request->args.open.flags,
                        request->args.open.mode);
}

int ed_fs_open(struct ed_pool *pool, struct ed_fs_request *request,
               const char *path, int flags, mode_t mode, ed_fs_fn *done)
{
    request->args.open.path = path;
    request->args.open.flags = flags;
    request->args.open.mode = mode;
    return submit(pool, request, run_open, done);
}

static void run_fstat(struct ed_task *task)
{
    struct ed_fs_request *request = request_of(task);
    request->result =
        ed_fs_fstat_sync(request->args.fstat.fd, request->args.fstat.stat);
}

int ed_fs_fstat(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                struct stat *stat, ed_fs_fn *done)
{
    request->args.fstat.fd = fd;
    request->args.fstat.stat = stat;
    return submit(pool, request, run_fstat, done);
}

static void run_read(struct ed_task *task)
{
    struct ed_fs_request *request = request_of(task);
    request->result =
        ed_fs_read_sync(request->args.io.fd, request->args.io.buffer,
                        request->args.io.size, request->args.io.offset);
}

int ed_fs_read(struct ed_pool *pool, struct ed_fs_request *request, int fd,
               void *buffer, size_t size, int64_t offset, ed_fs_fn *done)
{
    request->args.io.fd = fd;
    request->args.io.buffer = buffer;
    request->args.io.size = size;
    request->args.io.offset = offset;
    return submit(pool, request, run_read, done);
}

static void run_write(struct ed_task *task)
{
    struct ed_fs_request *request = request_of(task);
    request->result =
        ed_fs_write_sync(request->args.io.fd, request->args.io.source,
                         request->args.io.size, request->args.io.offset);
}

int ed_fs_write(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                const void *buffer, size_t size, int64_t offset, ed_fs_fn *done)
{
    request->args.io.fd = fd;
    request->args.io.source = buffer;
    request->args.io.size = size;
    request->args.io.offset = offset;
    return submit(pool, request, run_write, done);
}

static void run_close(struct ed_task *task)
{
    struct ed_fs_request *request = request_of(task);
    request->result = ed_fs_close_sync(request->args.io.fd);
}

int ed_fs_close(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                ed_fs_fn *done)
{
    request->args.io.fd = fd;
    return submit(pool, request, run_close, done);
}

int ed_fs_cancel(struct ed_fs_request *request)
{
    return ed_task_cancel(&request->task);
}
