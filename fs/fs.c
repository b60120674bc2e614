/*
 * fs/fs.c - system calls on descriptors, here or on a worker
 *
 * Each operation is written once, as its _sync form. A request carries the
 * arguments of one to a worker, which calls it: run_read() and its like are all
 * that the asynchronous forms add. So it is in all of fs.
 */
#include "fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fs/request.h"

/* The most that one call is asked to move; some systems refuse INT_MAX and up.
 */
static const size_t longest_io = 1u << 30;

/* The most buffers that one call takes on any system. */
enum { PARTS_AT_ONCE = 1024 };

static size_t at_most(size_t size)
{
    return size < longest_io ? size : longest_io;
}

/* ---- requests ------------------------------------------------------------ */

static struct ed_fs_request *request_of(struct ed_task *task)
{
    return ED_CONTAINER_OF(task, struct ed_fs_request, task);
}

static void finish_request(struct ed_task *task)
{
    struct ed_fs_request *request = request_of(task);
    if (task->error)
        request->result = task->error;
    if (request->undo)
        request->undo(request);
    request->done(request);
}

static void run_request(struct ed_task *task)
{
    struct ed_fs_request *request = request_of(task);
    if (ed_fs_request_is_late(request))
        request->result = -ETIMEDOUT;
    else
        request->run(request);
}

int ed_fs_request_start(struct ed_pool *pool, struct ed_fs_request *request,
                        ed_fs_fn *run, ed_fs_fn *done)
{
    request->run = run;
    request->done = done;
    return ed_task_submit(pool, &request->task, run_request, finish_request);
}

int ed_fs_request_finish(struct ed_pool *pool, struct ed_fs_request *request,
                         ed_fs_fn *done)
{
    request->done = done;
    return ed_task_submit_finished(pool, &request->task, finish_request);
}

bool ed_fs_request_is_late(const struct ed_fs_request *request)
{
    return request->deadline_ns && ed_clock_ns() >= request->deadline_ns;
}

int ed_fs_cancel(struct ed_fs_request *request)
{
    return ed_task_cancel(&request->task);
}

/* ---- descriptors --------------------------------------------------------- */

int ed_fs_open_sync(const char *path, int flags, mode_t mode)
{
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static void run_open(struct ed_fs_request *request)
{
    request->result =
        ed_fs_open_sync(request->path, request->flags, request->mode);
}

int ed_fs_open(struct ed_pool *pool, struct ed_fs_request *request,
               const char *path, int flags, mode_t mode, ed_fs_fn *done)
{
    request->path = path;
    request->flags = flags;
    request->mode = mode;
    return ed_fs_request_start(pool, request, run_open, done);
}

int ed_fs_close_sync(int fd)
{
    // Interrupted or not, the descriptor is gone; another try could hit one
    // that another thread has just been given.
    return close(fd) && errno != EINTR ? -errno : 0;
}

static void run_close(struct ed_fs_request *request)
{
    request->result = ed_fs_close_sync(request->fd);
}

int ed_fs_close(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                ed_fs_fn *done)
{
    request->fd = fd;
    return ed_fs_request_start(pool, request, run_close, done);
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

static void run_read(struct ed_fs_request *request)
{
    request->result = ed_fs_read_sync(request->fd, request->out, request->size,
                                      request->offset);
}

int ed_fs_read(struct ed_pool *pool, struct ed_fs_request *request, int fd,
               void *buffer, size_t size, int64_t offset, ed_fs_fn *done)
{
    request->fd = fd;
    request->out = buffer;
    request->size = size;
    request->offset = offset;
    return ed_fs_request_start(pool, request, run_read, done);
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

static void run_write(struct ed_fs_request *request)
{
    request->result = ed_fs_write_sync(request->fd, request->in, request->size,
                                       request->offset);
}

int ed_fs_write(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                const void *buffer, size_t size, int64_t offset, ed_fs_fn *done)
{
    request->fd = fd;
    request->in = buffer;
    request->size = size;
    request->offset = offset;
    return ed_fs_request_start(pool, request, run_write, done);
}

/* ---- several buffers ----------------------------------------------------- */

/*
 * How many of the buffers one call can move. 0: there is none, or the first
 * alone is too much. The empty ones before it are left out, or a call that
 * moves nothing would look like the end.
 */
static int parts_at_most(const struct iovec **parts, int count)
{
    while (count > 0 && !(*parts)->iov_len) {
        (*parts)++;
        count--;
    }
    size_t room = longest_io;
    int fitting = 0;
    while (fitting < count && fitting < PARTS_AT_ONCE &&
           (*parts)[fitting].iov_len <= room)
        room -= (*parts)[fitting++].iov_len;
    return fitting;
}

/* The first buffer, if any. */
static struct iovec only_part(const struct iovec *first,
                              const struct iovec *end)
{
    static const struct iovec empty = {"", 0};
    return first < end ? *first : empty;
}

int64_t ed_fs_readv_sync(int fd, const struct iovec *parts, int count,
                         int64_t offset)
{
    const struct iovec *end = parts + count;
    int fitting = parts_at_most(&parts, count);
    if (!fitting) {
        struct iovec part = only_part(parts, end);
        return ed_fs_read_sync(fd, part.iov_base, part.iov_len, offset);
    }

    ssize_t moved;
    do
        moved = offset < 0 ? readv(fd, parts, fitting)
                           : preadv(fd, parts, fitting, (off_t)offset);
    while (moved < 0 && errno == EINTR);
    return moved < 0 ? -errno : moved;
}

static void run_readv(struct ed_fs_request *request)
{
    request->result = ed_fs_readv_sync(request->fd, request->in, request->flags,
                                       request->offset);
}

int ed_fs_readv(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                const struct iovec *parts, int count, int64_t offset,
                ed_fs_fn *done)
{
    request->fd = fd;
    request->in = parts;
    request->flags = count;
    request->offset = offset;
    return ed_fs_request_start(pool, request, run_readv, done);
}

int64_t ed_fs_writev_sync(int fd, const struct iovec *parts, int count,
                          int64_t offset)
{
    const struct iovec *end = parts + count;
    int fitting = parts_at_most(&parts, count);
    if (!fitting) {
        struct iovec part = only_part(parts, end);
        return ed_fs_write_sync(fd, part.iov_base, part.iov_len, offset);
    }

    ssize_t moved;
    do
        moved = offset < 0 ? writev(fd, parts, fitting)
                           : pwritev(fd, parts, fitting, (off_t)offset);
    while (moved < 0 && errno == EINTR);
    return moved < 0 ? -errno : moved;
}

static void run_writev(struct ed_fs_request *request)
{
    request->result = ed_fs_writev_sync(request->fd, request->in,
                                        request->flags, request->offset);
}

int ed_fs_writev(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                 const struct iovec *parts, int count, int64_t offset,
                 ed_fs_fn *done)
{
    request->fd = fd;
    request->in = parts;
    request->flags = count;
    request->offset = offset;
    return ed_fs_request_start(pool, request, run_writev, done);
}
