/*
 * loop/stream.c - the life of a stream, and its reading side
 *
 *     closed --connect--> connecting --> open --finish--> (finishing) --+
 *       ^    --open------------------------^                            |
 *       +---------close, or it is over: call on_phase ------------------+
 *
 * What a stream waits for follows from its fields; ed_stream_changed() is
 * called after all that changes them, and tells the watch. It also starts the
 * hook when somebody is to be called back, so that no call calls back from
 * within: first the writes that are done, then on_drain, then who reads from
 * what broke as it was written to, and last, when the stream is over, on_phase.
 * The hook is an immediate, since the program will write again in its
 * callbacks, and that may be done at once: as a tick, a stream whose peer takes
 * everything would have the loop for itself.
 */
#include "loop/stream.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/socket.h"
#include "loop/system.h"
#include "loop/turn.h"
#include "loop/write.h"

enum phase { CLOSED, CONNECTING, OPEN };

/* Of the loop's buffer: a piece that stays in the second-level cache. */
enum { READ_SIZE = 64 * 1024 };

/* Descriptors that came with what is being read. */
struct ed_passed {
    struct ed_stream *stream;
    size_t count;
    size_t taken;
    bool were_lost;
    int fds[ED_MOST_FDS];
};

static void on_ready(struct ed_watch *watch);
static void on_timeout(struct ed_timer *timer);
static void on_hook(struct ed_hook *hook);
static void read_next(struct ed_stream *stream);

static struct ed_loop *loop_of(const struct ed_stream *stream)
{
    return stream->watch.loop;
}

bool ed_stream_is_open(const struct ed_stream *stream)
{
    return stream->phase != CLOSED;
}

bool ed_stream_is_connecting(const struct ed_stream *stream)
{
    return stream->phase == CONNECTING;
}

/* ---- what it waits for ------------------------------------------------- */

static void call_phase(struct ed_stream *stream, struct ed_loop *loop,
                       const char *name)
{
    ed_trace_begin(loop->trace, name, stream,
                   (ed_trace_callback_fn *)stream->on_phase);
    stream->on_phase(stream);
    ed_trace_end(loop->trace);
}

/*
 * Not so if nobody reads any more what is written (-EPIPE): there may still be
 * an answer.
 */
static bool is_broken(const struct ed_stream *stream)
{
    return stream->error && stream->error != -EPIPE;
}

/* The system need not tell who reads of what broke as it was written to. */
static bool has_to_tell_reader(const struct ed_stream *stream)
{
    return stream->phase == OPEN && is_broken(stream) && stream->is_reading &&
           !stream->is_finishing;
}

/*
 * Whoever finishes reads on, to see the other side close; and from the start,
 * or two that finish with much to send would wait for each other.
 */
static bool wants_to_read(const struct ed_stream *stream)
{
    if (stream->phase != OPEN || stream->has_ended || is_broken(stream))
        return false;
    return stream->is_finishing ? stream->is_socket : stream->is_reading;
}

static bool wants_to_write(const struct ed_stream *stream)
{
    return stream->phase == CONNECTING || stream->unsent;
}

/* The writing end of a pipe says that no more comes by being closed. */
static void close_pipe(struct ed_stream *stream)
{
    int flags = fcntl(stream->fd, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) != O_WRONLY)
        return;
    ed_watch_stop(&stream->watch);
    close(stream->fd);
    stream->fd = -1;
    stream->has_ended = true;
}

/* What the system has noticed and not told yet: 0 or -errno. */
static int pending_error(const struct ed_stream *stream)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &size))
        error = errno;
    return -error;
}

static void shut(struct ed_stream *stream)
{
    stream->is_shut = true;
    if (!stream->is_socket) {
        close_pipe(stream);
    } else if (shutdown(stream->fd, SHUT_WR)) {
        // A connection that was reset is not connected any more.
        int err = -errno, reason = pending_error(stream);
        stream->error = reason ? reason : err;
    }
}

static bool is_finished(const struct ed_stream *stream)
{
    if (!stream->is_finishing)
        return false;
    return stream->error ||
           (stream->is_shut && (stream->has_ended || !stream->is_socket));
}

void ed_stream_changed(struct ed_stream *stream)
{
    if (stream->will_end && !stream->is_shut && !stream->unsent &&
        stream->phase == OPEN && !stream->error)
        shut(stream);
    if (is_finished(stream))
        stream->is_over = true;

    unsigned interest = 0;
    if (wants_to_read(stream) && !stream->is_over)
        interest |= ED_READABLE;
    if (wants_to_write(stream) && !stream->is_over)
        interest |= ED_WRITABLE;
    if (interest != stream->watch.interest &&
        ed_watch_is_active(&stream->watch))
        ed_watch_change(&stream->watch, interest);

    if ((stream->is_over || ed_write_has_news(stream) ||
         has_to_tell_reader(stream)) &&
        !stream->was_closed && !ed_hook_is_active(&stream->hook))
        ed_hook_immediate(loop_of(stream), &stream->hook, on_hook);
}

/* In any callback the program may close the stream, and free it. */
static void on_hook(struct ed_hook *hook)
{
    struct ed_stream *stream = ED_CONTAINER_OF(hook, struct ed_stream, hook);
    bool was_closed = false;
    stream->was_closed = &was_closed;
    // Not what is done only now, in these callbacks; one more is on_drain.
    for (size_t left = ed_write_count_done(stream) + 1;
         left && ed_write_has_news(stream); left--) {
        ed_write_call_back(stream);
        if (was_closed)
            return;
    }
    stream->was_closed = NULL;
    if (!stream->is_over || ed_write_has_news(stream)) {
        ed_stream_changed(stream);
        if (has_to_tell_reader(stream))
            read_next(stream);
        return;
    }

    struct ed_loop *loop = loop_of(stream);
    const char *name = stream->is_finishing ? "finish" : "connect";
    ed_stream_close(stream);
    call_phase(stream, loop, name);
}

/* ---- open and close ---------------------------------------------------- */

/* Everything that is not the program's to set, but the watch. */
static void begin(struct ed_stream *stream, int fd, enum phase phase)
{
    assert(!ed_stream_is_open(stream));
    stream->fd = fd;
    stream->error = 0;
    stream->on_read = NULL;
    stream->on_phase = NULL;
    stream->phase = (unsigned char)phase;
    stream->is_socket = true;
    stream->is_reading = false;
    stream->has_ended = false;
    stream->will_end = false;
    stream->is_shut = false;
    stream->is_finishing = false;
    stream->is_over = false;
    stream->was_closed = NULL;
    ed_write_init(stream);
}

void ed_stream_open_socket(struct ed_loop *loop, struct ed_stream *stream,
                           int fd)
{
    assert(fd >= 0);
    begin(stream, fd, OPEN);
    // Cannot fail, since the system is not told of it yet.
    (void)ed_watch_start(loop, &stream->watch, fd, 0, on_ready);
}

int ed_stream_open(struct ed_loop *loop, struct ed_stream *stream, int fd)
{
    struct stat stat;
    if (fstat(fd, &stat))
        return -errno;
    // Whether it can be waited for shows when the system is told of it.
    int err = ed_watch_start(loop, &stream->watch, fd, ED_READABLE, on_ready);
    if (err)
        return err;
    ed_watch_stop(&stream->watch);

    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 ||
        (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK)))
        return -errno;
    ed_stream_open_socket(loop, stream, fd);
    stream->is_socket = S_ISSOCK(stat.st_mode);
    if (stream->is_socket)
        ed_system_adopt(fd);
    return 0;
}

static int connect_socket(int fd, const struct ed_address *to,
                          const struct ed_address *local)
{
    if (local && bind(fd, &local->socket.any, local->size))
        return -errno;
    if (connect(fd, &to->socket.any, to->size) == 0)
        return 0;
    // What is interrupted goes on by itself.
    return errno == EINPROGRESS || errno == EINTR ? 0 : -errno;
}

int ed_stream_connect(struct ed_loop *loop, struct ed_stream *stream,
                      const struct ed_address *to, uint64_t timeout_ns,
                      ed_stream_fn *fn)
{
    assert(!ed_stream_is_open(stream));
    int fd = ed_system_socket(to->socket.any.sa_family, SOCK_STREAM);
    if (fd < 0)
        return fd;
    int err = connect_socket(fd, to, stream->local);
    if (!err)
        err = ed_watch_start(loop, &stream->watch, fd, ED_WRITABLE, on_ready);
    if (err) {
        close(fd);
        return err;
    }
    begin(stream, fd, CONNECTING);
    stream->on_phase = fn;
    ed_timer_unref(&stream->timer);
    if (timeout_ns)
        ed_timer_start(loop, &stream->timer, timeout_ns, on_timeout);
    return 0;
}

void ed_stream_close(struct ed_stream *stream)
{
    if (!ed_stream_is_open(stream))
        return;
    ed_watch_stop(&stream->watch);
    ed_timer_stop(&stream->timer);
    ed_hook_stop(&stream->hook);
    ed_write_forget(stream);
    if (stream->fd >= 0)
        close(stream->fd);
    stream->fd = -1;
    stream->phase = CLOSED;
    if (stream->was_closed)
        *stream->was_closed = true;
    stream->was_closed = NULL;
}

void ed_stream_abort(struct ed_stream *stream)
{
    if (!ed_stream_is_open(stream))
        return;
    // Fails for what is no socket, which knows no reset.
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    ed_stream_close(stream);
}

int ed_stream_end(struct ed_stream *stream)
{
    assert(ed_stream_is_open(stream));
    stream->will_end = true;
    ed_stream_changed(stream);
    return stream->error;
}

void ed_stream_finish(struct ed_stream *stream, uint64_t timeout_ns,
                      ed_stream_fn *fn)
{
    assert(ed_stream_is_open(stream));
    struct ed_loop *loop = loop_of(stream);
    stream->on_phase = fn;
    stream->is_finishing = true;
    stream->will_end = true;
    ed_timer_stop(&stream->timer);
    ed_timer_unref(&stream->timer);
    if (timeout_ns)
        ed_timer_start(loop, &stream->timer, timeout_ns, on_timeout);
    ed_stream_changed(stream);
}

void ed_stream_ref(struct ed_stream *stream)
{
    ed_watch_ref(&stream->watch);
}

void ed_stream_unref(struct ed_stream *stream)
{
    ed_watch_unref(&stream->watch);
}

/* The end of a connect or a finish that does not come to its own. */
static void give_up(struct ed_stream *stream, int error)
{
    stream->is_over = true;
    ed_write_fail(stream, error);
}

static void on_timeout(struct ed_timer *timer)
{
    struct ed_stream *stream = ED_CONTAINER_OF(timer, struct ed_stream, timer);
    if (!stream->is_over)
        give_up(stream, -ETIMEDOUT);
}

/* ---- reading ----------------------------------------------------------- */

int ed_stream_read_start(struct ed_stream *stream, ed_read_fn *fn)
{
    assert(ed_stream_is_open(stream) && !stream->is_finishing);
    if (stream->has_ended)
        return -EPIPE;
    if (!stream->buffer && !ed_turn_buffer(loop_of(stream)))
        return -ENOMEM;
    stream->on_read = fn;
    stream->is_reading = true;
    ed_stream_changed(stream);
    return 0;
}

void ed_stream_read_stop(struct ed_stream *stream)
{
    if (!stream->is_reading)
        return;
    stream->is_reading = false;
    ed_stream_changed(stream);
}

static void call_reader(struct ed_stream *stream, char *data, int64_t size)
{
    struct ed_loop *loop = loop_of(stream);
    ed_trace_begin(loop->trace, "read", stream,
                   (ed_trace_callback_fn *)stream->on_read);
    stream->on_read(stream, data, size);
    ed_trace_end(loop->trace);
}

/*
 * What is read ends: 0 or -errno. Whoever reads is told, and after an error
 * whoever writes.
 */
static void end_reading(struct ed_stream *stream, int64_t how)
{
    bool is_reading = stream->is_reading && !stream->is_finishing;
    stream->has_ended = true;
    stream->is_reading = false;
    if (how < 0)
        ed_write_fail(stream, (int)how);
    else
        ed_stream_changed(stream);
    if (is_reading)
        call_reader(stream, NULL, how);
}

static void keep_fds(struct ed_passed *passed, struct msghdr *message)
{
    passed->were_lost = message->msg_flags & MSG_CTRUNC;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part;
         part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(passed->fds + passed->count, CMSG_DATA(part),
               count * sizeof(int));
        passed->count += count;
    }
}

static int64_t read_with_fds(struct ed_stream *stream, char *data, size_t size,
                             struct ed_passed *passed)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(ED_MOST_FDS * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = data, .iov_len = size};
    struct msghdr message = {0};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    int64_t got = ed_system_receive_message(stream->fd, &message);
    if (got >= 0)
        keep_fds(passed, &message);
    return got;
}

int ed_stream_take_fd(struct ed_stream *stream)
{
    struct ed_passed *passed = loop_of(stream)->passed;
    if (!passed || passed->stream != stream)
        return -ENOENT;
    if (passed->taken < passed->count)
        return passed->fds[passed->taken++];
    return passed->were_lost ? -EMFILE : -ENOENT;
}

static bool is_not_now(int64_t got)
{
    return got == -EAGAIN || got == -EWOULDBLOCK;
}

/* For sockets recv() is the shorter way. */
static int64_t read_bytes(struct ed_stream *stream, char *data, size_t size)
{
    ssize_t got = stream->is_socket ? recv(stream->fd, data, size, 0)
                                    : read(stream->fd, data, size);
    return got < 0 ? -errno : got;
}

/* Returns what read() does, with -errno; passed is NULL or empty at first. */
static int64_t read_piece(struct ed_stream *stream, char *data, size_t size,
                          struct ed_passed *passed)
{
    int64_t got;
    do {
        if (passed && stream->is_socket)
            got = read_with_fds(stream, data, size, passed);
        else
            got = read_bytes(stream, data, size);
    } while (got == -EINTR);
    // Whoever wrote was told that the connection broke, and the system tells
    // that once. It is not the end of what the peer wanted to send.
    if (is_broken(stream) && (got == 0 || is_not_now(got)))
        got = stream->error;
    return got;
}

static void tell_piece(struct ed_stream *stream, char *data, int64_t got)
{
    if (got > 0)
        call_reader(stream, data, got);
    else if (!is_not_now(got))
        end_reading(stream, got);
}

static void read_next_with_fds(struct ed_stream *stream, char *data,
                               size_t size)
{
    struct ed_loop *loop = loop_of(stream);
    struct ed_passed passed;
    passed.stream = stream;
    passed.count = 0;
    passed.taken = 0;
    passed.were_lost = false;
    int64_t got = read_piece(stream, data, size, &passed);
    loop->passed = &passed;
    tell_piece(stream, data, got);
    loop->passed = NULL;
    for (size_t i = passed.taken; i < passed.count; i++)
        close(passed.fds[i]);
}

static void read_next(struct ed_stream *stream)
{
    char *data = stream->buffer;
    size_t size = stream->buffer_size;
    if (!data) {
        data = ed_turn_buffer(loop_of(stream));
        size = READ_SIZE;
    }
    if (!data)
        end_reading(stream, -ENOMEM);
    else if (stream->takes_fds)
        read_next_with_fds(stream, data, size);
    else
        tell_piece(stream, data, read_piece(stream, data, size, NULL));
}

/* For a stream that finishes: nobody wants what comes, but its end. */
static void read_in_vain(struct ed_stream *stream)
{
    char data[16 * 1024];
    int64_t got = read_piece(stream, data, sizeof data, NULL);
    if (got <= 0 && !is_not_now(got))
        end_reading(stream, got);
}

/* ---- what the watch says ----------------------------------------------- */

static void connected(struct ed_stream *stream)
{
    int err = pending_error(stream);
    if (err) {
        give_up(stream, err);
        return;
    }
    stream->phase = OPEN;
    if (!stream->is_finishing)
        ed_timer_stop(&stream->timer);
    ed_write_flush(stream);
    if (stream->error)
        give_up(stream, stream->error);
    else if (!stream->is_finishing)
        call_phase(stream, loop_of(stream), "connect");
}

/* The system could not be told what to look for. */
static void lost(struct ed_stream *stream)
{
    if (stream->phase == CONNECTING)
        give_up(stream, -ENOMEM);
    else
        end_reading(stream, -ENOMEM);
}

static void on_ready(struct ed_watch *watch)
{
    struct ed_stream *stream = ED_CONTAINER_OF(watch, struct ed_stream, watch);
    if (!watch->told) {
        lost(stream);
        return;
    }
    if (stream->phase == CONNECTING) {
        connected(stream);
        return;
    }
    // Reading is last, since the program is called from there.
    if (watch->ready & ED_WRITABLE)
        ed_write_flush(stream);
    if (!(watch->ready & ED_READABLE) || stream->is_over)
        return;
    if (stream->is_finishing)
        read_in_vain(stream);
    else
        read_next(stream);
}

/* ---- what the system can be asked for ---------------------------------- */

int ed_stream_peer(const struct ed_stream *stream, struct ed_address *peer)
{
    return ed_socket_peer(stream->fd, peer);
}

int ed_stream_local(const struct ed_stream *stream, struct ed_address *local)
{
    return ed_socket_local(stream->fd, local);
}

int ed_stream_no_delay(struct ed_stream *stream, bool is_on)
{
    return ed_socket_option(stream->fd, IPPROTO_TCP, TCP_NODELAY, is_on);
}

int ed_stream_keep_alive(struct ed_stream *stream, unsigned idle_s,
                         unsigned interval_s, unsigned count)
{
    return ed_system_keep_alive(stream->fd, idle_s, interval_s, count);
}

int ed_stream_buffers(struct ed_stream *stream, int receive, int send)
{
    return ed_socket_buffers(stream->fd, receive, send);
}
