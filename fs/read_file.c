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
#include <stdlib.h>

#include "fs/fs.h"

/* What is first read of a file that does not tell its size. */
static const size_t first_room = 16 << 10;

static void tell(const struct ed_file *file, const char *name, int64_t value)
{
    ed_trace_tell(file->trace, ED_TRACE_STEP, file, name, value);
}

/*
 * Makes room for size bytes and the NUL. Returns 0 or -ENOMEM; then what was
 * read is still there.
 */
static int make_room(struct ed_file *file, size_t size)
{
    char *data = realloc(file->data, size + 1);
    if (!data)
        return -ENOMEM;
    file->data = data;
    return 0;
}

static size_t grown(size_t room, size_t limit)
{
    room = room < first_room ? first_room : room * 2;
    return room < limit ? room : limit;
}

/*
 * Room is what can be read without growing; the byte for the NUL comes on top
 * and serves to see that there is more: than there is room for, or than the
 * limit.
 */
static int read_to_end(int fd, struct ed_file *file, size_t expected,
                       size_t limit)
{
    size_t room = expected ? expected : grown(0, limit);
    int err = make_room(file, room);
    while (!err) {
        int64_t count = ed_fs_read_sync(fd, file->data + file->size,
                                        room + 1 - file->size, -1);
        tell(file, "read", count);
        if (count < 0)
            return (int)count;
        if (count == 0)
            break;
        file->size += (size_t)count;
        // One byte more was asked for, and is not there.
        if (file->size == expected)
            break;
        if (file->size > limit)
            return -EFBIG;
        if (file->size > room) {
            room = grown(room, limit);
            err = make_room(file, room);
        }
    }
    // What came of a guess or of a file that shrank is not kept. Should that
    // fail, it is kept.
    if (!err && file->size < room / 2)
        make_room(file, file->size);
    return err;
}

static int read_open_file(int fd, struct ed_file *file)
{
    size_t limit = file->limit ? file->limit : ED_FILE_LIMIT;
    if (limit > SIZE_MAX / 4)
        limit = SIZE_MAX / 4; // so that doubling it does not overflow

    struct stat stat;
    int err = ed_fs_fstat_sync(fd, &stat);
    tell(file, "fstat", err ? err : stat.st_size);
    if (err)
        return err;
    if (S_ISDIR(stat.st_mode))
        return -EISDIR;
    uintmax_t size = S_ISREG(stat.st_mode) ? (uintmax_t)stat.st_size : 0;
    if (size > limit)
        return -EFBIG;
    return read_to_end(fd, file, (size_t)size, limit);
}

int ed_fs_read_file_sync(const char *path, struct ed_file *file)
{
    file->data = NULL;
    file->size = 0;
    // O_NOCTTY: reading a terminal must not make it the program's own.
    int fd = ed_fs_open_sync(path, O_RDONLY | O_NOCTTY, 0);
    tell(file, "open", fd);
    if (fd < 0)
        return fd;

    int err = read_open_file(fd, file);
    int close_err = ed_fs_close_sync(fd);
    tell(file, "close", close_err);
    if (err) {
        ed_file_free(file);
        return err;
    }
    file->data[file->size] = '\0';
    return 0;
}

void ed_file_free(struct ed_file *file)
{
    free(file->data);
    file->data = NULL;
    file->size = 0;
}
