/*
 * fs/cached.c - files that are in the page cache are read by the loop itself
 *
 * To hand a read of a few KiB to a worker and to hear of it costs more than the
 * read. So the loop asks the system for what it has at hand: for the path, if
 * all names on it are known (openat2, RESOLVE_CACHED), and for the bytes, if
 * all of them are in memory (preadv2, RWF_NOWAIT). Whatever the system would
 * have to wait for it refuses with -EAGAIN, and then a worker reads the file
 * from the beginning.
 *
 * The loop has other things to do: what it reads in a turn is bounded, and
 * beyond that the workers help. A small file counts as 4 KiB.
 *
 * What is not trusted: a size of 0 (files of /proc compute their text), and a
 * short read, which Linux 5.9 and 5.10 had in the middle of files.
 */
#include "fs/cached.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fs/request.h"
#include "fs/system.h"

enum { LONGEST_CACHED = 64 << 10, LEAST_CHARGED = 4 << 10 };

static void leave_home(struct ed_pool_guest *guest)
{
    struct ed_fs_home *home = ED_CONTAINER_OF(guest, struct ed_fs_home, guest);
    struct ed_list *link;
    while ((link = ed_list_pop(&home->lines)))
        ED_CONTAINER_OF(link, struct ed_lines, link)->pool = NULL;
    ed_buffers_retire(home->buffers);
    free(home);
}

struct ed_fs_home *ed_fs_home_of(struct ed_pool *pool)
{
    if (pool->guest)
        return ED_CONTAINER_OF(pool->guest, struct ed_fs_home, guest);

    struct ed_fs_home *home = calloc(1, sizeof *home);
    struct ed_buffers *buffers = home ? ed_buffers_create() : NULL;
    if (!buffers) {
        free(home);
        return NULL;
    }
    home->guest.leave = leave_home;
    home->buffers = buffers;
    ed_list_init(&home->lines);
    home->bytes_per_turn = ED_FILE_CACHED_PER_TURN;
    pool->guest = &home->guest;
    return home;
}

int ed_fs_limit_cached(struct ed_pool *pool, size_t bytes_per_turn)
{
    struct ed_fs_home *home = ed_fs_home_of(pool);
    if (!home)
        return -ENOMEM;
    home->bytes_per_turn = bytes_per_turn;
    return 0;
}

/* How much the loop may still read in this turn. */
static size_t left_in_turn(struct ed_fs_home *home, const struct ed_loop *loop)
{
    uint64_t turn = ed_count_read(&loop->turns);
    if (home->turn != turn) {
        home->turn = turn;
        home->spent = 0;
    }
    return home->spent < home->bytes_per_turn
               ? home->bytes_per_turn - home->spent
               : 0;
}

/*
 * Looks at the error of a call that asks for what is at hand. A filter of
 * system calls may answer for all of them.
 */
static bool is_refusal(struct ed_fs_home *home, int64_t error)
{
    bool is_unknown = error == -ENOSYS || error == -EPERM || error == -EINVAL;
    if (is_unknown)
        home->is_refused = true;
    return is_unknown || error == -EAGAIN || error == -EINTR;
}

static void tell_cached(struct ed_trace *trace, const struct ed_file *file,
                        const char *name, int64_t value)
{
    ed_trace_tell(trace, ED_TRACE_STEP, file, name, value);
}

/* How much of it there is to read; or 0 if that is not for the loop. */
static size_t expected_size(const struct ed_file *file, const struct stat *stat,
                            size_t most)
{
    uint64_t whole = (uint64_t)stat->st_size;
    uint64_t size = whole > file->offset ? whole - file->offset : 0;
    if (file->count && size > file->count)
        size = file->count;
    size_t limit = file->limit ? file->limit : ED_FILE_LIMIT;
    return size > most || size > limit ||
                   (file->buffer && size > file->buffer_size)
               ? 0
               : (size_t)size;
}

/*
 * Returns whether the file has been read; if not, the worker will meet the
 * error, too. One byte more is asked for than is
 * expected where there is room; it also is there for the NUL.
 */
static bool read_expected(struct ed_fs_home *home, struct ed_trace *trace,
                          int fd, const struct stat *stat, struct ed_file *file,
                          size_t size)
{
    char *data =
        file->buffer ? file->buffer : ed_buffer_take(home->buffers, size);
    if (!data)
        return false;
    bool has_more_room = !file->buffer || file->buffer_size > size;
    int64_t count = ed_fs_system_read_cached(
        fd, data, size + (has_more_room && file->count != size), file->offset);
    tell_cached(trace, file, "preadv2", count);
    if (count != (int64_t)size) {
        if (!file->buffer)
            ed_buffer_give_back(data);
        if (!is_refusal(home, count) && count == -EOPNOTSUPP) {
            home->has_deaf = true;
            home->deaf = stat->st_dev;
        }
        return false;
    }
    if (has_more_room)
        data[size] = '\0';
    file->data = data;
    file->size = size;
    return true;
}

bool ed_fs_read_cached(struct ed_fs_home *home, const struct ed_loop *loop,
                       struct ed_fs_request *request)
{
    size_t left = left_in_turn(home, loop);
    if (home->is_refused || left == 0 || ed_fs_request_is_late(request))
        return false;
    struct ed_file *file = &request->file;
    struct ed_trace *trace = file->trace ? file->trace : loop->trace;
    int fd = ed_fs_system_open_cached(request->path,
                                      O_RDONLY | O_NOCTTY | O_NONBLOCK);
    if (fd != -ENOSYS)
        tell_cached(trace, file, "openat2", fd);
    home->spent += LEAST_CHARGED;
    if (fd < 0) {
        request->result = fd;
        return !is_refusal(home, fd);
    }

    struct stat stat;
    int err = ed_fs_plain_fstat(fd, &stat);
    tell_cached(trace, file, "fstat", err ? err : stat.st_size);
    if (!err && !S_ISREG(stat.st_mode) && !S_ISDIR(stat.st_mode)) {
        request->fd = fd;
        return false;
    }
    size_t most = left < LONGEST_CACHED ? left : LONGEST_CACHED;
    size_t size = err || !S_ISREG(stat.st_mode) ||
                          (home->has_deaf && home->deaf == stat.st_dev)
                      ? 0
                      : expected_size(file, &stat, most);
    bool is_read =
        size > 0 && read_expected(home, trace, fd, &stat, file, size);
    tell_cached(trace, file, "close", ed_fs_close_sync(fd));
    request->result = 0;
    if (is_read && size > LEAST_CHARGED)
        home->spent += size - LEAST_CHARGED;
    return is_read;
}
