/*
 * fs/copy_file.c - share the blocks, or copy what is not a hole
 *
 * A file of a size is copied from data to data (ed_fs_system_find_data), in
 * pieces, by the kernel or, from the first time that it says that it cannot, by
 * reading and writing. What has no size (files of /proc, pipes) is read to its
 * end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/buffer.h"
#include "fs/request.h"
#include "fs/system.h"
#include "fs/wait.h"

enum { COPY_BUFFER = 256 << 10, COPY_PIECE = 8 << 20 };

struct copying {
    int from, to;
    unsigned flags;
    bool takes_reading; // the kernel does not copy
    char *buffer;       // NULL: not needed yet
    struct ed_copy_progress *progress;
    const struct ed_fs_request *request;
};

void ed_copy_progress_read(const struct ed_copy_progress *progress,
                           uint64_t *size, uint64_t *copied)
{
    *copied = ed_count_read(&progress->copied);
    *size = ed_count_read(&progress->size);
}

static void tell_progress(struct copying *copying, int64_t copied)
{
    if (copying->progress)
        __atomic_store_n(&copying->progress->copied, (uint64_t)copied,
                         __ATOMIC_RELAXED);
}

static int write_copy(struct copying *copying, const char *data, int64_t size,
                      int64_t offset)
{
    while (size) {
        int err = ed_fs_go_on(copying->request);
        if (err)
            return err;
        int64_t count =
            ed_fs_write_sync(copying->to, data, (size_t)size, offset);
        if (count == -EAGAIN)
            count = ed_fs_await(copying->to, POLLOUT, copying->request);
        else if (count == 0)
            count = -EIO;
        if (count < 0)
            return (int)count;
        data += count;
        size -= count;
        offset += offset < 0 ? 0 : count;
    }
    return 0;
}

/* With an offset of -1 from where the two stand. Returns as a read does. */
static int64_t read_and_write(struct copying *copying, int64_t offset,
                              size_t size)
{
    if (!copying->buffer)
        copying->buffer = ed_buffer_take(NULL, COPY_BUFFER);
    if (!copying->buffer)
        return -ENOMEM;
    size = size < COPY_BUFFER ? size : COPY_BUFFER;
    int64_t count;
    do {
        count = ed_fs_read_sync(copying->from, copying->buffer, size, offset);
        int err = count == -EAGAIN
                      ? ed_fs_await(copying->from, POLLIN, copying->request)
                      : 0;
        if (err)
            return err;
    } while (count == -EAGAIN);
    int err = count > 0 ? write_copy(copying, copying->buffer, count, offset)
                        : (int)count;
    return err ? err : count;
}

static int64_t copy_some(struct copying *copying, int64_t offset, int64_t left)
{
    int64_t count = -EOPNOTSUPP;
    size_t size = left < COPY_PIECE ? (size_t)left : COPY_PIECE;
    if (!copying->takes_reading) {
        do
            count = ed_fs_system_copy(copying->to, copying->from, offset, size);
        while (count == -EINTR);
        copying->takes_reading = count == -EOPNOTSUPP;
    }
    return copying->takes_reading ? read_and_write(copying, offset, size)
                                  : count;
}

static int set_size(int fd, int64_t size)
{
    int failed;
    do
        failed = ftruncate(fd, (off_t)size);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static int copy_data(struct copying *copying, int64_t size)
{
    int64_t begin, end, offset = 0;
    int err = 0;
    while (!err && ed_fs_system_find_data(copying->from, offset, size, &begin,
                                          &end) == 0) {
        for (offset = begin; offset < end && !err;) {
            int64_t count = copy_some(copying, offset, end - offset);
            if (count < 0)
                return (int)count;
            if (count == 0) // it has become shorter
                return set_size(copying->to, offset);
            offset += count;
            tell_progress(copying, offset);
            err = ed_fs_go_on(copying->request);
        }
    }
    if (!err)
        err = set_size(copying->to, size);
    if (!err)
        tell_progress(copying, size);
    return err;
}

static int copy_stream(struct copying *copying)
{
    int64_t count, copied = 0;
    int err = 0;
    while (!err && (count = read_and_write(copying, -1, COPY_BUFFER)) != 0) {
        if (count < 0)
            return (int)count;
        copied += count;
        tell_progress(copying, copied);
        err = ed_fs_go_on(copying->request);
    }
    return err;
}

static int copy_bytes(struct copying *copying, const struct stat *from)
{
    if (copying->progress)
        __atomic_store_n(&copying->progress->size,
                         from->st_size > 0 ? (uint64_t)from->st_size : 0,
                         __ATOMIC_RELAXED);
    if (S_ISFIFO(from->st_mode)) {
        int err = ed_fs_await(copying->from, POLLIN, copying->request);
        if (err)
            return err;
    }
    if (!S_ISREG(from->st_mode) || from->st_size == 0)
        return copy_stream(copying);

    int err = -EOPNOTSUPP;
    if (!(copying->flags & ED_COPY_NO_SHARING))
        err = ed_fs_system_share(copying->to, copying->from);
    if (err == 0)
        tell_progress(copying, from->st_size);
    return err == -EOPNOTSUPP ? copy_data(copying, from->st_size) : err;
}

/* With both open. */
static int copy_open_files(struct copying *copying, const struct stat *from,
                           bool is_new)
{
    struct stat to;
    int err = ed_fs_plain_fstat(copying->to, &to);
    if (err)
        return err;
    if (from->st_dev == to.st_dev && from->st_ino == to.st_ino)
        return -EINVAL;
    bool is_regular = S_ISREG(to.st_mode);
    if (!is_new && is_regular)
        err = set_size(copying->to, 0);
    if (err)
        return err;
    err = is_regular ? copy_bytes(copying, from) : copy_stream(copying);
    if (!err && is_regular && fchmod(copying->to, from->st_mode & 07777))
        err = -errno;
    return err;
}

/* Opens a file to write to; *is_new: it was made. */
static int open_copy(const char *path, unsigned flags, mode_t mode,
                     const struct ed_fs_request *request, bool *is_new)
{
    mode &= S_IRWXU; // nobody else's yet
    int fd =
        ed_fs_open_patiently(path, O_WRONLY | O_CREAT | O_EXCL, mode, request);
    *is_new = fd >= 0;
    if (fd != -EEXIST || flags & ED_COPY_EXCLUSIVE)
        return fd;
    // Made, too, where a link leads nowhere; but that is not removed.
    return ed_fs_open_patiently(path, O_WRONLY | O_CREAT, mode, request);
}

static int copy_file(const char *path, const char *new_path,
                     struct copying *copying)
{
    if (copying->progress)
        *copying->progress = (struct ed_copy_progress){0};
    int err = ed_fs_go_on(copying->request);
    if (err)
        return err;
    copying->from = ed_fs_open_patiently(path, O_RDONLY, 0, copying->request);
    if (copying->from < 0)
        return copying->from;

    bool is_new = false;
    struct stat from;
    err = ed_fs_plain_fstat(copying->from, &from);
    if (!err && S_ISDIR(from.st_mode))
        err = -EISDIR;
    if (err)
        goto close_from;
    copying->to = open_copy(new_path, copying->flags, from.st_mode,
                            copying->request, &is_new);
    err = copying->to < 0 ? copying->to : 0;
    if (err)
        goto close_from;

    err = copy_open_files(copying, &from, is_new);
    int close_err = ed_fs_close_sync(copying->to);
    if (!err)
        err = close_err;
    if (err && is_new)
        unlink(new_path);
    if (copying->buffer)
        ed_buffer_give_back(copying->buffer);
close_from:
    ed_fs_close_sync(copying->from);
    return err;
}

int ed_fs_copy_file_sync(const char *path, const char *new_path, unsigned flags,
                         struct ed_copy_progress *progress)
{
    return copy_file(path, new_path,
                     &(struct copying){.flags = flags, .progress = progress});
}

static void run_copy_file(struct ed_fs_request *request)
{
    request->result = copy_file(request->path, request->other,
                                &(struct copying){
                                    .flags = (unsigned)request->flags,
                                    .progress = request->out,
                                    .request = request,
                                });
}

int ed_fs_copy_file(struct ed_pool *pool, struct ed_fs_request *request,
                    const char *path, const char *new_path, unsigned flags,
                    struct ed_copy_progress *progress, ed_fs_fn *done)
{
    request->path = path;
    request->other = new_path;
    request->flags = (int)flags;
    request->out = progress;
    return ed_fs_request_start(pool, request, run_copy_file, done);
}
