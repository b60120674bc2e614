/*
 * loop/write.c - the writing side of a stream
 *
 * The queue holds, in order, writes that are all sent, then those that are not:
 *
 *     writes -> [sent] -> [sent] -> [unsent] -> ... -> NULL
 *                                   ^ unsent
 *
 * Those of the program stay until the stream's hook has called them back, first
 * to last; copies are freed once they are sent and at the front. queued is what
 * the unsent ones have left. As long as nothing is unsent, a write goes
 * straight to the system.
 */
#include "loop/write.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/sigpipe.h"
#include "loop/system.h"

enum {
    MOST_PARTS = 64, // gathered in one call
    COPY_SIZE = 4096,
    DEFAULT_LIMIT = 16 * 1024 * 1024,
    DEFAULT_HIGH_WATER = 64 * 1024,
};

/* So that a fast reader of much data does not have the loop for himself. */
static const uint64_t most_at_once = UINT64_C(1024) * 1024;

/* Bytes that the library keeps. The block is a whole number of COPY_SIZE. */
struct copy {
    struct ed_write write;
    size_t capacity;
    char bytes[];
};

void ed_write_init(struct ed_stream *stream)
{
    stream->writes = NULL;
    stream->writes_end = &stream->writes;
    stream->unsent = NULL;
    stream->queued = 0;
    stream->copied = 0;
    stream->was_full = false;
}

/* ---- the queue --------------------------------------------------------- */

static size_t high_water(const struct ed_stream *stream)
{
    return stream->high_water ? stream->high_water : DEFAULT_HIGH_WATER;
}

static size_t low_water(const struct ed_stream *stream)
{
    return stream->low_water ? stream->low_water : high_water(stream) / 4;
}

static size_t queue_limit(const struct ed_stream *stream)
{
    return stream->queue_limit ? stream->queue_limit : DEFAULT_LIMIT;
}

static void enqueue(struct ed_stream *stream, struct ed_write *write)
{
    write->next = NULL;
    *stream->writes_end = write;
    stream->writes_end = &write->next;
    if (!stream->unsent)
        stream->unsent = write;
}

/* After queued has grown. */
static void note_full(struct ed_stream *stream)
{
    if (stream->queued >= high_water(stream))
        stream->was_full = true;
    ed_stream_changed(stream);
}

static struct ed_write *dequeue(struct ed_stream *stream)
{
    struct ed_write *first = stream->writes;
    if (stream->unsent == first) {
        stream->unsent = first->next;
        stream->queued -= first->left;
    }
    stream->writes = first->next;
    if (!stream->writes)
        stream->writes_end = &stream->writes;
    return first;
}

static void free_copy(struct ed_stream *stream, struct ed_write *write)
{
    struct copy *copy = ED_CONTAINER_OF(write, struct copy, write);
    stream->copied -= copy->capacity;
    free(copy);
}

static void free_sent_copies(struct ed_stream *stream)
{
    while (stream->writes != stream->unsent && stream->writes->is_copy)
        free_copy(stream, dequeue(stream));
}

struct ed_write *ed_stream_take_back(struct ed_stream *stream)
{
    while (stream->writes) {
        struct ed_write *write = dequeue(stream);
        if (!write->is_copy)
            return write;
        free_copy(stream, write);
    }
    return NULL;
}

void ed_write_forget(struct ed_stream *stream)
{
    while (ed_stream_take_back(stream))
        ;
}

bool ed_stream_is_full(const struct ed_stream *stream)
{
    return stream->was_full;
}

/* ---- sending ----------------------------------------------------------- */

/* For pipes and terminals. */
static int64_t write_to_file(int fd, const struct iovec *parts, size_t count)
{
    struct ed_sigpipe sigpipe;
    ed_sigpipe_hold(&sigpipe);
    ssize_t sent = writev(fd, parts, (int)count);
    int64_t result = sent < 0 ? -errno : sent;
    ed_sigpipe_release(&sigpipe, result == -EPIPE);
    return result;
}

/* Descriptors go in a message of their own kind, beside the bytes. */
static int64_t send_with_fds(int fd, struct msghdr *message,
                             const struct ed_write *write)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(ED_MOST_FDS * sizeof(int))];
    } control = {0};
    size_t size = write->fd_count * sizeof(int);
    message->msg_control = &control;
    message->msg_controllen =
        (__typeof__(message->msg_controllen))CMSG_SPACE(size);
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len =
        (__typeof__(control.header.cmsg_len))CMSG_LEN(size);
    memcpy(CMSG_DATA(&control.header), write->fds, size);
    int64_t sent = ed_system_send_message(fd, message);
    message->msg_control = NULL; // which ends here
    return sent;
}

/* Sends parts, with the descriptors of write if there are any. */
static int64_t send_parts(struct ed_stream *stream, const struct iovec *parts,
                          size_t count, const struct ed_write *write)
{
    if (!stream->is_socket)
        return write_to_file(stream->fd, parts, count);
    struct msghdr message = {0};
    message.msg_iov = (struct iovec *)parts;
    message.msg_iovlen = (__typeof__(message.msg_iovlen))count;
    if (write && write->fd_count && write->sent == 0)
        return send_with_fds(stream->fd, &message, write);
    if (count == 1)
        return ed_system_send(stream->fd, parts->iov_base, parts->iov_len);
    return ed_system_send_message(stream->fd, &message);
}

/*
 * Gathers what is next to be sent in one call. A file is sent by a call of its
 * own; descriptors begin a new message.
 */
static size_t gather(const struct ed_write *first, struct iovec *parts,
                     uint64_t *size)
{
    size_t count = 0;
    *size = 0;
    for (const struct ed_write *write = first; write; write = write->next) {
        if (write->file >= 0 || (write != first && write->fd_count))
            break;
        size_t skip = write->part_sent;
        for (size_t i = 0; i < write->part_count; i++) {
            if (count == MOST_PARTS || *size == most_at_once)
                return count;
            size_t length = write->parts[i].iov_len - skip;
            if (length > most_at_once - *size)
                length = (size_t)(most_at_once - *size);
            // Nothing but empty parts would be sent again and again.
            if (!length)
                continue;
            parts[count].iov_base = (char *)write->parts[i].iov_base + skip;
            parts[count++].iov_len = length;
            *size += length;
            skip = 0;
        }
    }
    return count;
}

/* The long way. */
static int64_t read_and_send(struct ed_stream *stream,
                             const struct ed_write *write, uint64_t *asked)
{
    char bytes[16 * 1024];
    if (*asked > sizeof bytes)
        *asked = sizeof bytes;
    ssize_t got =
        pread(write->file, bytes, (size_t)*asked, (off_t)write->offset);
    if (got <= 0)
        return got < 0 ? -errno : 0;
    *asked = (uint64_t)got;
    struct iovec part = {.iov_base = bytes, .iov_len = (size_t)got};
    return send_parts(stream, &part, 1, NULL);
}

static int64_t send_file(struct ed_stream *stream, const struct ed_write *write,
                         uint64_t *asked)
{
    *asked = write->left < most_at_once ? write->left : most_at_once;
    int64_t sent =
        ed_system_send_file(stream->fd, write->file, write->offset, *asked);
    if (sent == -ENOTSUP)
        sent = read_and_send(stream, write, asked);
    return sent ? sent : -ENODATA;
}

/* One call. Returns how many bytes were sent, with how many were asked for. */
static int64_t send_next(struct ed_stream *stream, uint64_t *asked)
{
    struct ed_write *write = stream->unsent;
    if (write->file >= 0)
        return send_file(stream, write, asked);
    struct iovec parts[MOST_PARTS];
    size_t count = gather(write, parts, asked);
    return send_parts(stream, parts, count, write);
}

static void advance_parts(struct ed_write *write, uint64_t sent)
{
    while (sent) {
        size_t left = write->parts->iov_len - write->part_sent;
        if (sent < left) {
            write->part_sent += (size_t)sent;
            return;
        }
        sent -= left;
        write->part_sent = 0;
        write->parts++;
        write->part_count--;
    }
}

static void advance(struct ed_stream *stream, uint64_t sent)
{
    stream->queued -= sent;
    while (stream->unsent) {
        struct ed_write *write = stream->unsent;
        uint64_t of_this = sent < write->left ? sent : write->left;
        if (write->file >= 0)
            write->offset += of_this;
        else
            advance_parts(write, of_this);
        write->sent += of_this;
        write->left -= of_this;
        sent -= of_this;
        if (write->left)
            return;
        stream->unsent = write->next;
    }
}

void ed_write_flush(struct ed_stream *stream)
{
    uint64_t total = 0;
    advance(stream, 0); // past writes of nothing
    while (stream->unsent && total < most_at_once) {
        uint64_t asked;
        int64_t sent = send_next(stream, &asked);
        if (sent == -EINTR)
            continue;
        if (sent == -EAGAIN || sent == -EWOULDBLOCK)
            break;
        if (sent < 0) {
            ed_write_fail(stream, (int)sent);
            return;
        }
        advance(stream, (uint64_t)sent);
        total += (uint64_t)sent;
        // Less than it was asked for: there is no more room.
        if ((uint64_t)sent < asked)
            break;
    }
    free_sent_copies(stream);
    ed_stream_changed(stream);
}

void ed_write_fail(struct ed_stream *stream, int error)
{
    if (!stream->error)
        stream->error = error;
    for (; stream->unsent; stream->unsent = stream->unsent->next)
        stream->unsent->result = error;
    stream->queued = 0;
    free_sent_copies(stream);
    ed_stream_changed(stream);
}

/* ---- calling back ------------------------------------------------------ */

static bool is_drained(const struct ed_stream *stream)
{
    return stream->was_full &&
           (stream->queued <= low_water(stream) || stream->error);
}

size_t ed_write_count_done(const struct ed_stream *stream)
{
    size_t count = 0;
    const struct ed_write *write = stream->writes;
    for (; write != stream->unsent; write = write->next)
        count++;
    return count;
}

bool ed_write_has_news(const struct ed_stream *stream)
{
    return stream->writes != stream->unsent || is_drained(stream);
}

void ed_write_call_back(struct ed_stream *stream)
{
    struct ed_loop *loop = stream->watch.loop;
    if (stream->writes != stream->unsent) {
        struct ed_write *write = dequeue(stream);
        free_sent_copies(stream);
        ed_stream_changed(stream);
        ed_trace_begin(loop->trace, "written", write,
                       (ed_trace_callback_fn *)write->fn);
        write->fn(write);
        ed_trace_end(loop->trace);
        return;
    }
    stream->was_full = false;
    ed_stream_changed(stream);
    if (!stream->on_drain)
        return;
    ed_trace_begin(loop->trace, "drain", stream,
                   (ed_trace_callback_fn *)stream->on_drain);
    stream->on_drain(stream);
    ed_trace_end(loop->trace);
}

/* ---- writing ----------------------------------------------------------- */

static int check_writable(const struct ed_stream *stream)
{
    assert(ed_stream_is_open(stream));
    if (stream->error)
        return stream->error;
    return stream->will_end ? -EPIPE : 0;
}

static bool can_send_at_once(const struct ed_stream *stream)
{
    return !stream->unsent && !ed_stream_is_connecting(stream);
}

/* What is sent now of what is to be written. -EAGAIN counts as 0. */
static int64_t send_at_once(struct ed_stream *stream, const struct iovec *parts,
                            size_t count)
{
    if (!can_send_at_once(stream))
        return 0;
    if (count > MOST_PARTS)
        count = MOST_PARTS;
    int64_t sent;
    do
        sent = send_parts(stream, parts, count, NULL);
    while (sent == -EINTR);
    if (sent == -EAGAIN || sent == -EWOULDBLOCK)
        return 0;
    if (sent < 0)
        ed_write_fail(stream, (int)sent);
    return sent;
}

static struct copy *last_copy(const struct ed_stream *stream)
{
    if (!stream->unsent)
        return NULL;
    struct ed_write *last =
        ED_CONTAINER_OF(stream->writes_end, struct ed_write, next);
    return last->is_copy ? ED_CONTAINER_OF(last, struct copy, write) : NULL;
}

static struct copy *create_copy(struct ed_stream *stream, size_t size)
{
    size_t block = sizeof(struct copy) + size;
    block = (block + COPY_SIZE - 1) / COPY_SIZE * COPY_SIZE;
    struct copy *copy = malloc(block);
    if (!copy)
        return NULL;
    copy->write = (struct ed_write){.stream = stream, .file = -1};
    copy->write.is_copy = true;
    copy->write.part = (struct iovec){.iov_base = copy->bytes};
    copy->write.parts = &copy->write.part;
    copy->write.part_count = 1;
    copy->capacity = block - sizeof(struct copy);
    stream->copied += copy->capacity;
    enqueue(stream, &copy->write);
    return copy;
}

/* Appends what follows the first skip bytes of parts. */
static void append(struct copy *copy, const struct iovec *parts, size_t count,
                   size_t skip)
{
    for (size_t i = 0; i < count; i++) {
        size_t left = parts[i].iov_len;
        if (skip >= left) {
            skip -= left;
            continue;
        }
        left -= skip;
        memcpy(copy->bytes + copy->write.part.iov_len,
               (const char *)parts[i].iov_base + skip, left);
        copy->write.part.iov_len += left;
        copy->write.left += left;
        skip = 0;
    }
}

static int copy_rest(struct ed_stream *stream, const struct iovec *parts,
                     size_t count, size_t sent, size_t size)
{
    struct copy *copy = last_copy(stream);
    size_t left = size - sent;
    if (!copy || copy->capacity - copy->write.part.iov_len < left)
        copy = create_copy(stream, left);
    if (!copy && sent)
        ed_write_fail(stream, -ENOMEM); // the peer has half of it
    if (!copy)
        return -ENOMEM;
    append(copy, parts, count, sent);
    stream->queued += left;
    note_full(stream);
    return 0;
}

int ed_stream_writev(struct ed_stream *stream, const struct iovec *parts,
                     size_t count)
{
    int err = check_writable(stream);
    if (err)
        return err;
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += parts[i].iov_len;
    size_t limit = queue_limit(stream);
    if (size > limit || stream->copied > limit - size)
        return -ENOBUFS;

    int64_t sent = size ? send_at_once(stream, parts, count) : 0;
    if (sent < 0)
        return (int)sent;
    if ((size_t)sent == size)
        return 0;
    return copy_rest(stream, parts, count, (size_t)sent, size);
}

int ed_stream_write(struct ed_stream *stream, const void *data, size_t size)
{
    struct iovec part = {.iov_base = (void *)data, .iov_len = size};
    return ed_stream_writev(stream, &part, 1);
}

int64_t ed_stream_try_write(struct ed_stream *stream, const void *data,
                            size_t size)
{
    int err = check_writable(stream);
    if (err)
        return err;
    struct iovec part = {.iov_base = (void *)data, .iov_len = size};
    int64_t sent = size ? send_at_once(stream, &part, 1) : 0;
    return sent || !size ? sent : -EAGAIN;
}

/* Everything is set but the size. */
static int submit_write(struct ed_stream *stream, struct ed_write *write,
                        uint64_t size, ed_write_fn *done)
{
    write->stream = stream;
    write->result = 0;
    write->sent = 0;
    write->fn = done;
    write->part_sent = 0;
    write->left = size;
    write->is_copy = false;
    bool is_first = can_send_at_once(stream);
    enqueue(stream, write);
    stream->queued += size;
    if (is_first)
        ed_write_flush(stream);
    note_full(stream);
    return 0;
}

int ed_stream_send(struct ed_stream *stream, struct ed_write *write,
                   const struct iovec *parts, size_t count, ed_write_fn *done)
{
    int err = check_writable(stream);
    if (err)
        return err;
    uint64_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += parts[i].iov_len;
    if (write->fd_count &&
        (size == 0 || write->fd_count > ED_MOST_FDS || !stream->is_socket))
        return -EINVAL;
    write->parts = parts;
    write->part_count = count;
    write->file = -1;
    return submit_write(stream, write, size, done);
}

int ed_stream_send_file(struct ed_stream *stream, struct ed_write *write,
                        int file, uint64_t offset, uint64_t size,
                        ed_write_fn *done)
{
    int err = check_writable(stream);
    if (err)
        return err;
    if (file < 0)
        return -EBADF;
    if (write->fd_count || offset > INT64_MAX || size > INT64_MAX - offset)
        return -EINVAL;
    write->parts = NULL;
    write->part_count = 0;
    write->file = file;
    write->offset = offset;
    return submit_write(stream, write, size, done);
}
