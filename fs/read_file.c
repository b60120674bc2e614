/*
 * fs/read_file.c - open, fstat, read to the end, close
 *
 * The size that fstat tells is where the buffer starts, not what is believed: a
 * file may grow or shrink while it is read, a pipe has no size, and files of
 * /proc say 0. So a read always asks for one byte more than is expected. Only
 * if a regular file has just what it said, or a read returns 0, is that the
 * end. Of a file that keeps its size that is one read.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "fs/buffer.h"
#include "fs/cached.h"
#include "fs/request.h"
#include "fs/wait.h"

/* What is first read of a file that does not tell its size. */
static const size_t first_room = 16 << 10;

struct reading {
    int fd;
    struct ed_file *file;
    const struct ed_fs_request *request; // NULL: on the caller's thread
    struct ed_buffers *buffers;          // NULL: from the system
    size_t limit;
    size_t most; // to be read, though there may be more
};

static void tell(const struct ed_file *file, const char *name, int64_t value)
{
    ed_trace_tell(file->trace, ED_TRACE_STEP, file, name, value);
}

/*
 * Makes room for size bytes and the NUL. Returns 0 or -ENOMEM; then what was
 * read is still there.
 */
static int make_room(struct reading *reading, size_t size)
{
    struct ed_file *file = reading->file;
    if (file->buffer) {
        file->data = file->buffer;
        return 0;
    }
    if (file->data && ed_buffer_room(file->data) == ed_buffer_room_for(size))
        return 0;
    char *data = ed_buffer_take(reading->buffers, size);
    if (!data)
        return -ENOMEM;
    if (file->data) {
        memcpy(data, file->data, file->size);
        ed_buffer_give_back(file->data);
    }
    file->data = data;
    return 0;
}

static size_t grown(size_t room, size_t limit)
{
    room = room < first_room ? first_room : room * 2;
    return room < limit ? room : limit;
}

static int64_t read_some(struct reading *reading, void *buffer, size_t size)
{
    struct ed_file *file = reading->file;
    int64_t offset = file->offset ? (int64_t)(file->offset + file->size) : -1;
    for (;;) {
        int err = ed_fs_go_on(reading->request);
        if (err)
            return err;
        int64_t count = ed_fs_read_sync(reading->fd, buffer, size, offset);
        tell(file, "read", count);
        if (count != -EAGAIN)
            return count;
        err = ed_fs_await(reading->fd, POLLIN, reading->request);
        if (err)
            return err;
    }
}

/*
 * Reads what there is room for, and a byte more: it shows that there is more,
 * and is the place for the NUL. In a buffer of the caller's there may be no
 * such byte, and where only a part is wanted it is not looked for.
 */
static int64_t read_next(struct reading *reading, size_t room)
{
    struct ed_file *file = reading->file;
    size_t end = room < reading->most ? room + 1 : reading->most;
    if (!file->buffer || end <= file->buffer_size)
        return read_some(reading, file->data + file->size, end - file->size);
    if (file->size < room)
        return read_some(reading, file->data + file->size, room - file->size);
    char more;
    int64_t count = read_some(reading, &more, 1);
    return count > 0 ? -EFBIG : count;
}

static int read_to_end(struct reading *reading, size_t expected)
{
    struct ed_file *file = reading->file;
    size_t limit = reading->limit;
    size_t room = expected ? expected : grown(0, limit);
    int err = make_room(reading, room);
    while (!err && file->size < reading->most) {
        size_t asked = room + 1 - file->size;
        int64_t count = read_next(reading, room);
        if (count < 0)
            return (int)count;
        if (count == 0)
            break;
        file->size += (size_t)count;
        // One byte more was asked for, and is not there.
        if (file->size == expected && (size_t)count < asked &&
            !(file->buffer && file->buffer_size == expected))
            break;
        if (file->size > limit)
            return -EFBIG;
        if (file->size > room) {
            room = grown(room, limit);
            err = make_room(reading, room);
        }
    }
    // What came of a guess or of a file that shrank is not kept. Should that
    // fail, it is kept.
    if (!err && file->size < room / 2)
        make_room(reading, file->size);
    return err;
}

static void set_limits(struct reading *reading)
{
    const struct ed_file *file = reading->file;
    size_t limit = file->limit ? file->limit : ED_FILE_LIMIT;
    if (file->buffer && limit > file->buffer_size)
        limit = file->buffer_size;
    if (limit > SIZE_MAX / 4)
        limit = SIZE_MAX / 4; // so that doubling it does not overflow
    reading->limit = limit;
    reading->most = file->count ? file->count : SIZE_MAX;
}

static int read_open_file(struct reading *reading)
{
    struct ed_file *file = reading->file;
    struct stat stat;
    int err = ed_fs_plain_fstat(reading->fd, &stat);
    tell(file, "fstat", err ? err : stat.st_size);
    if (err)
        return err;
    if (S_ISDIR(stat.st_mode))
        return -EISDIR;

    set_limits(reading);
    uint64_t size = S_ISREG(stat.st_mode) ? (uint64_t)stat.st_size : 0;
    size = size > file->offset ? size - file->offset : 0;
    if (size > reading->most)
        size = reading->most;
    if (size > reading->limit)
        return -EFBIG;
    // Without a writer a read would return 0, as at the end.
    if (S_ISFIFO(stat.st_mode))
        err = ed_fs_await(reading->fd, POLLIN, reading->request);
    return err ? err : read_to_end(reading, (size_t)size);
}

static void drop_data(struct ed_file *file)
{
    if (file->data && file->data != file->buffer)
        ed_buffer_give_back(file->data);
    file->data = NULL;
    file->size = 0;
}

/* With the file open as reading->fd, unless that is negative. */
static int read_whole(const char *path, struct reading *reading)
{
    struct ed_file *file = reading->file;
    file->data = NULL;
    file->size = 0;
    if (file->offset > INT64_MAX)
        return -EINVAL;
    if (reading->fd < 0) {
        reading->fd = ed_fs_open_patiently(path, O_RDONLY, 0, reading->request);
        tell(file, "open", reading->fd);
    }
    if (reading->fd < 0)
        return reading->fd;

    int err = read_open_file(reading);
    int close_err = ed_fs_close_sync(reading->fd);
    tell(file, "close", close_err);
    if (err) {
        drop_data(file);
        return err;
    }
    if (!file->buffer || file->size < file->buffer_size)
        file->data[file->size] = '\0';
    return 0;
}

int ed_fs_read_file_sync(const char *path, struct ed_file *file)
{
    return read_whole(path, &(struct reading){.fd = -1, .file = file});
}

/* ---- asynchronously -------------------------------------------------- */

static void run_read_file(struct ed_fs_request *request)
{
    struct ed_file *file = &request->file;
    struct ed_trace *trace = file->trace;
    if (!trace)
        file->trace = ed_trace_read(&request->task.loop->trace);
    request->undo = NULL;
    request->result =
        read_whole(request->path, &(struct reading){.fd = request->fd,
                                                    .file = file,
                                                    .request = request,
                                                    .buffers = request->out});
    file->trace = trace;
}

static void close_unread(struct ed_fs_request *request)
{
    request->undo = NULL;
    if (request->fd >= 0)
        ed_fs_close_sync(request->fd);
}

int ed_fs_read_file(struct ed_pool *pool, struct ed_fs_request *request,
                    const char *path, ed_fs_fn *done)
{
    struct ed_fs_home *home = ed_fs_home_of(pool);
    request->file.data = NULL;
    request->file.size = 0;
    request->path = path;
    request->fd = -1;
    request->out = home ? home->buffers : NULL;
    if (home && ed_fs_read_cached(home, pool->loop, request)) {
        int err = ed_fs_request_finish(pool, request, done);
        if (err)
            drop_data(&request->file);
        return err;
    }

    request->undo = close_unread;
    int err = ed_fs_request_start(pool, request, run_read_file, done);
    if (err)
        close_unread(request);
    return err;
}

void ed_file_free(struct ed_file *file)
{
    drop_data(file);
}
