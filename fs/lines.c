/*
 * fs/lines.c - a buffer is filled, and its lines are handed out
 *
 * In turns: a fill reads until there is a whole line, or the end; handing out
 * calls back for each whole line. What is left, a part of a line, goes to the
 * front and is filled up. In the asynchronous form a fill is a trip to a
 * worker, and handing out is done by the loop; the buffer is one side's at a
 * time.
 *
 *     begin        scanned          end          room
 *       |  no newline  |  not seen   |    free    |
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/buffer.h"
#include "fs/cached.h"
#include "fs/request.h"
#include "fs/wait.h"

static const size_t first_lines = 64 << 10;

static size_t longest_line(const struct ed_lines *lines)
{
    size_t longest = lines->longest ? lines->longest : ED_LINE_LIMIT;
    return longest < SIZE_MAX / 4 ? longest : SIZE_MAX / 4;
}

static void begin_lines(struct ed_lines *lines)
{
    lines->line = NULL;
    lines->size = 0;
    lines->number = 0;
    lines->buffer = NULL;
    lines->room = 0;
    lines->begin = lines->scanned = lines->end = 0;
    lines->is_at_end = false;
    lines->pool = NULL;
}

static int open_lines(const char *path, const struct ed_fs_request *request)
{
    int fd = ed_fs_open_patiently(path, O_RDONLY, 0, request);
    if (fd < 0)
        return fd;
    struct stat stat;
    int err = ed_fs_plain_fstat(fd, &stat);
    if (!err && S_ISDIR(stat.st_mode))
        err = -EISDIR;
    if (!err && S_ISFIFO(stat.st_mode))
        err = ed_fs_await(fd, POLLIN, request);
    if (!err)
        return fd;
    ed_fs_close_sync(fd);
    return err;
}

/* Doubles the buffer. */
static int enlarge_lines(struct ed_lines *lines)
{
    size_t room = lines->room ? lines->room * 2 : first_lines;
    char *buffer = ed_buffer_take(NULL, room);
    if (!buffer)
        return -ENOMEM;
    if (lines->buffer) {
        memcpy(buffer, lines->buffer, lines->end);
        ed_buffer_give_back(lines->buffer);
    }
    lines->buffer = buffer;
    lines->room = room;
    return 0;
}

/* Reads until there is a whole line in the buffer, or the end is reached. */
static int fill_lines(struct ed_lines *lines, int fd,
                      const struct ed_fs_request *request)
{
    lines->end -= lines->begin;
    if (lines->begin)
        memmove(lines->buffer, lines->buffer + lines->begin, lines->end);
    lines->begin = 0;
    lines->scanned = lines->end;
    for (;;) {
        int err = ed_fs_go_on(request);
        if (!err && lines->end == lines->room)
            err = enlarge_lines(lines);
        if (err)
            return err;
        int64_t count = ed_fs_read_sync(fd, lines->buffer + lines->end,
                                        lines->room - lines->end, -1);
        if (count == -EAGAIN) {
            err = ed_fs_await(fd, POLLIN, request);
            if (err)
                return err;
            continue;
        }
        if (count < 0)
            return (int)count;
        lines->is_at_end = count == 0;
        lines->end += (size_t)count;
        if (count == 0 || memchr(lines->buffer + lines->scanned, '\n',
                                 lines->end - lines->scanned))
            return 0;
        lines->scanned = lines->end;
        if (lines->end > longest_line(lines))
            return -EMSGSIZE;
    }
}

/* Of size bytes, where there is room for a NUL. */
static int hand_out_line(struct ed_lines *lines, size_t size,
                         struct ed_trace *trace)
{
    if (size > longest_line(lines))
        return -EMSGSIZE;
    lines->line = lines->buffer + lines->begin;
    lines->line[size] = '\0';
    lines->size = size;
    lines->number++;
    ed_trace_begin(trace, "line", lines,
                   (ed_trace_callback_fn *)lines->on_line);
    int stop = lines->on_line(lines);
    ed_trace_end(trace);
    return stop;
}

/* Returns what stops it, or 0. */
static int hand_out_lines(struct ed_lines *lines, struct ed_trace *trace)
{
    int stop = 0;
    while (!stop) {
        size_t left = lines->end - lines->begin;
        char *begin = lines->buffer + lines->begin;
        char *newline = left ? memchr(begin, '\n', left) : NULL;
        if (!newline)
            break;
        size_t size = (size_t)(newline - begin);
        stop = hand_out_line(lines, size, trace);
        lines->begin += size + 1;
    }
    if (!stop && lines->is_at_end && lines->begin < lines->end)
        stop = hand_out_line(lines, lines->end - lines->begin, trace);
    return stop;
}

static void free_lines(struct ed_lines *lines)
{
    if (lines->buffer)
        ed_buffer_give_back(lines->buffer);
    lines->buffer = NULL;
    lines->line = NULL;
}

int ed_fs_read_lines_sync(const char *path, struct ed_lines *lines)
{
    begin_lines(lines);
    int fd = open_lines(path, NULL);
    if (fd < 0)
        return fd;
    int err = 0;
    while (!err && !lines->is_at_end) {
        err = fill_lines(lines, fd, NULL);
        if (!err)
            err = hand_out_lines(lines, NULL);
    }
    ed_fs_close_sync(fd);
    free_lines(lines);
    return err;
}

/* ---- asynchronously -------------------------------------------------- */

static void run_fill_lines(struct ed_fs_request *request)
{
    if (request->fd < 0)
        request->fd = open_lines(request->path, request);
    request->result = request->fd < 0
                          ? request->fd
                          : fill_lines(request->out, request->fd, request);
}

static void filled_lines(struct ed_fs_request *request)
{
    struct ed_lines *lines = request->out;
    struct ed_loop *loop = request->task.loop;
    int64_t result = request->result;
    if (!result)
        result = hand_out_lines(lines, loop->trace);
    if (!result && !lines->is_at_end) {
        // The pool may have been destroyed since.
        result = lines->pool && !ed_task_is_cancelled(&request->task)
                     ? ed_fs_request_start(lines->pool, request, run_fill_lines,
                                           filled_lines)
                     : -ECANCELED;
        if (!result)
            return;
    }
    if (request->fd >= 0)
        ed_fs_close_sync(request->fd);
    if (ed_list_is_linked(&lines->link))
        ed_list_remove(&lines->link);
    free_lines(lines);
    request->result = result;
    request->done = lines->done;
    request->done(request);
}

int ed_fs_read_lines(struct ed_pool *pool, struct ed_fs_request *request,
                     const char *path, struct ed_lines *lines, ed_fs_fn *done)
{
    struct ed_fs_home *home = ed_fs_home_of(pool);
    if (!home)
        return -ENOMEM;
    begin_lines(lines);
    lines->pool = pool;
    lines->done = done;
    request->path = path;
    request->out = lines;
    request->fd = -1;
    int err = ed_fs_request_start(pool, request, run_fill_lines, filled_lines);
    if (!err)
        ed_list_append(&home->lines, &lines->link);
    return err;
}
