/*
 * loop/stream.h - bytes in order: TCP, Unix domain sockets, pipes, terminals
 *
 *     struct ed_stream stream = {0};
 *
 *     ed_stream_connect(loop, &stream, &address, 5 * ED_S, on_connect);
 *     ed_stream_read_start(&stream, on_read);
 *     ed_stream_write(&stream, "hello", 5);
 *     ed_stream_finish(&stream, 2 * ED_S, on_finish);
 *
 * Reading. Data comes as it arrives, in a buffer that is the loop's and good
 * until the callback returns, so that a connection on which nothing happens
 * holds no memory for it; or in one of the program's own. Who cannot take more
 * stops reading, and the sender will notice.
 *
 * Writing. What is written is given to the system at once. Only what it does
 * not take is kept, in order, and sent when there is room: as a copy, which
 * ed_stream_write() makes of the rest, or in place, which ed_stream_send() asks
 * the program to leave alone until done.
 *
 *      queued bytes
 *      queue_limit  ------------------  no more copies: -ENOBUFS
 *      high_water   ------------------  ed_stream_is_full(): stop writing
 *      low_water    ------------------  on_drain, after it was full: go on
 *                0
 *
 * Memory. The stream is a struct of the caller's and zeroed at first; from
 * ed_stream_open() until close, abort, or the callback of finish the loop
 * refers to it and owns the descriptor. Close is immediate, also in callbacks:
 * nothing is called any more, and writes that are not done belong to the caller
 * again. Everything here belongs to the loop's thread.
 *
 * Errors are -errno. When the connection breaks, whoever waits is told: the
 * reader by on_read, each write by its done, a stream that was full by
 * on_drain; and later calls return it. The stream stays open until closed. Only
 * -EPIPE, that nobody reads what is written, lets reading go on: there may be
 * an answer. No write raises SIGPIPE.
 */
#ifndef EDDY_LOOP_STREAM_H
#define EDDY_LOOP_STREAM_H

#include <sys/types.h>
#include <sys/uio.h>

#include "loop/address.h"
#include "loop/loop.h"

struct ed_stream;
struct ed_write;

typedef void ed_stream_fn(struct ed_stream *stream);

/*
 * size > 0: as many bytes at data. 0: the other side sends no more. Negative:
 * -errno, the connection broke. After 0 or -errno reading has stopped.
 */
typedef void ed_read_fn(struct ed_stream *stream, char *data, int64_t size);

typedef void ed_write_fn(struct ed_write *write);

struct ed_stream {
    // yours to set, at any time
    ed_stream_fn *on_drain; // room again after it was full; or error is set
    void *buffer;           // to read into, fastest at a multiple of 64; NULL:
                            // the loop's
    size_t buffer_size;
    size_t queue_limit; // bytes of memory for copies; 0: 16 MiB
    size_t high_water;  // bytes; 0: 64 KiB
    size_t low_water;   // bytes; 0: a quarter of high_water
    bool takes_fds;     // from Unix domain sockets: see ed_stream_take_fd()
    // before it is connected
    const struct ed_address *local; // the address to connect from

    // yours to read
    int fd;    // while it is open
    int error; // 0, or -errno: what broke it, or became of connect or finish
    uint64_t queued; // bytes written here that the system has not taken yet

    // private
    struct ed_watch watch;
    struct ed_timer timer; // ends a connect or a finish
    struct ed_hook hook;   // calls back who waits for writes, and on_phase
    ed_read_fn *on_read;
    ed_stream_fn *on_phase;  // connected, or finished
    struct ed_write *writes; // in order; the first ones may be sent already
    struct ed_write **writes_end;
    struct ed_write *unsent; // the first of them that is not
    size_t copied;           // bytes of memory that hold copies
    unsigned char phase;
    bool is_socket;
    bool is_reading;   // as asked for
    bool has_ended;    // there is no more to read
    bool was_full;     // and on_drain has not been called since
    bool will_end;     // nothing more is written after what is queued
    bool is_shut;      // and the other side has been told so
    bool is_finishing; // being closed gracefully
    bool is_over;      // close, and call on_phase
    bool *was_closed;  // set by close while the hook calls back
};

/* ---- open and close ---------------------------------------------------- */

/*
 * Makes a stream of a descriptor, which from now on is the stream's to close:
 * a connected socket, a pipe, a terminal. It becomes non-blocking, for all who
 * share it, such as the shell whose terminal it is: see loop/terminal.h.
 *
 * Returns 0, or -errno with the descriptor as before: -EBADF, -EPERM (files and
 * directories: use fs).
 */
int ed_stream_open(struct ed_loop *loop, struct ed_stream *stream, int fd);

/*
 * The same for a socket that is non-blocking already, such as those that a
 * listener hands out. Needs no system call and cannot fail.
 */
void ed_stream_open_socket(struct ed_loop *loop, struct ed_stream *stream,
                           int fd);

/*
 * Connects, and calls fn with stream->error set to 0 or -errno; with -ETIMEDOUT
 * after timeout_ns (0: when the system gives up). After an error the stream is
 * closed. Data may be written at once; it is sent when there is a connection.
 *
 * Returns 0, or -errno if it is clear at once that this will not work; then fn
 * is not called. A Unix domain socket whose queue of connections is full is
 * such a case: -EAGAIN.
 */
int ed_stream_connect(struct ed_loop *loop, struct ed_stream *stream,
                      const struct ed_address *to, uint64_t timeout_ns,
                      ed_stream_fn *fn);

/* Now. What is queued is lost. Does nothing to a stream that is not open. */
void ed_stream_close(struct ed_stream *stream);

/* The same, and a TCP peer sees the connection reset. */
void ed_stream_abort(struct ed_stream *stream);

/*
 * Half-close: says, after all that is queued, that no more will come. Reading
 * goes on. Returns 0, or stream->error.
 */
int ed_stream_end(struct ed_stream *stream);

/*
 * The graceful close: sends all that is queued, says that no more will come,
 * takes what the peer still sends without looking at it until it closes, too,
 * and closes. (To close with data unread would reset the connection, which
 * destroys what the peer has not read yet.) Calls fn with stream->error 0 or
 * -errno; -ETIMEDOUT after timeout_ns (0: without limit). When fn begins the
 * stream is closed. Until then on_read is not called any more; done and
 * on_drain are. Of a stream that is still connecting, fn is called instead of
 * that of connect.
 */
void ed_stream_finish(struct ed_stream *stream, uint64_t timeout_ns,
                      ed_stream_fn *fn);

bool ed_stream_is_open(const struct ed_stream *stream);

/* Whether the stream, while open, keeps the loop alive; it does at first. */
void ed_stream_ref(struct ed_stream *stream);
void ed_stream_unref(struct ed_stream *stream);

/* ---- reading ----------------------------------------------------------- */

/*
 * Starts, or goes on after a stop. At most one piece is read in a turn. Returns
 * 0, or -ENOMEM if there is no buffer to read into; -EPIPE if the end has been
 * read.
 */
int ed_stream_read_start(struct ed_stream *stream, ed_read_fn *fn);

/* Back-pressure: what is not read waits in the system, then at the sender. */
void ed_stream_read_stop(struct ed_stream *stream);

/*
 * In on_read, for streams that take descriptors: the next of those that came
 * with this piece, now the caller's, close-on-exec; -ENOENT if there is no
 * more, -EMFILE if some were lost because this process has too many. What is
 * not taken is closed when on_read returns.
 */
int ed_stream_take_fd(struct ed_stream *stream);

/* ---- writing ----------------------------------------------------------- */

/*
 * Writes all of it: what the system does not take now is copied. Returns 0; or
 * -errno and nothing was written: -ENOBUFS (over the queue_limit), -ENOMEM,
 * -EPIPE (after end), or what broke the stream. The bytes that the system takes
 * before memory for the rest turns out to be missing are not taken back: the
 * stream is broken then.
 */
int ed_stream_write(struct ed_stream *stream, const void *data, size_t size);

/* The same, gathered from several places. */
int ed_stream_writev(struct ed_stream *stream, const struct iovec *parts,
                     size_t count);

/*
 * Writes what the system takes now. Returns how many bytes, which may be fewer
 * than there are; -EAGAIN if none, or if something is queued; or what broke the
 * stream.
 */
int64_t ed_stream_try_write(struct ed_stream *stream, const void *data,
                            size_t size);

struct ed_write {
    // yours to set
    const int *fds;    // descriptors that go along with the first byte (Unix
    size_t fd_count;   // domain); at most 253, left open, yours again in done
    struct iovec part; // a place for parts, if there is but one

    // yours to read, in done
    struct ed_stream *stream;
    int result;    // 0, or -errno: not all of it was sent
    uint64_t sent; // bytes that the system has taken

    // private
    struct ed_write *next;
    ed_write_fn *fn;
    const struct iovec *parts; // that are not all sent
    size_t part_count;
    size_t part_sent; // bytes of the first of them
    uint64_t left;    // bytes, of all that is to be sent
    uint64_t offset;  // in the file
    int file;         // -1: from parts
    bool is_copy;     // the library's own
};

/*
 * Writes in place: parts, what they point to, and write itself are the
 * library's until done is called, which happens exactly once, never from here,
 * in the order of the writes; unless the stream is closed first. Returns 0, or
 * -errno as ed_stream_write(), and done is not called.
 */
int ed_stream_send(struct ed_stream *stream, struct ed_write *write,
                   const struct iovec *parts, size_t count, ed_write_fn *done);

/*
 * The same for size bytes of a file from offset on; the file stays the
 * caller's, and has to be open until done. The system may have to wait for the
 * disk, and the loop with it. A file that turns out to be shorter breaks the
 * stream with -ENODATA, since what comes next would be taken for the rest of
 * it.
 */
int ed_stream_send_file(struct ed_stream *stream, struct ed_write *write,
                        int file, uint64_t offset, uint64_t size,
                        ed_write_fn *done);

/* Whether queued has reached high_water, and on_drain has not come since. */
bool ed_stream_is_full(const struct ed_stream *stream);

/*
 * For before a close, if the program has to get back to its writes: takes back
 * the oldest one whose done has not begun. NULL: there is none.
 */
struct ed_write *ed_stream_take_back(struct ed_stream *stream);

/* ---- what the system can be asked for ---------------------------------- */

/* These return 0 or -errno. */

/* The addresses of both ends. */
int ed_stream_peer(const struct ed_stream *stream, struct ed_address *peer);
int ed_stream_local(const struct ed_stream *stream, struct ed_address *local);

/* Small pieces go out at once instead of waiting for more (TCP_NODELAY). */
int ed_stream_no_delay(struct ed_stream *stream, bool is_on);

/*
 * A TCP connection on which nothing came for idle_s seconds is tested count
 * times, every interval_s, and then breaks with -ETIMEDOUT. 0 seconds: off.
 */
int ed_stream_keep_alive(struct ed_stream *stream, unsigned idle_s,
                         unsigned interval_s, unsigned count);

/* Bytes that the system keeps for this socket; 0: leave it. */
int ed_stream_buffers(struct ed_stream *stream, int receive, int send);

#endif
