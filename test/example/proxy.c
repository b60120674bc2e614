/*
 * test/example/proxy.c - passes connections on
 *
 *     proxy LISTEN-ADDRESS TARGET-ADDRESS
 *
 *     proxy 127.0.0.1:8080 unix:/run/app.sock
 *
 * For each client it connects to the target, and from then on there are two
 * sides, each sending to the other what it gets:
 *
 *     client == side <---- pair ----> side == target
 *
 * - Back-pressure. What cannot be sent to one side yet is queued, and while
 *   that stream is full nothing is read from the other one. So a pair takes no
 *   more memory for a terabyte than for a megabyte, at the pace of the slower.
 * - Half-close. When one side says that it sends no more, the other one is told
 *   so, after all that came before, and the rest of the answer still gets
 *   through. When both have said so, the pair is finished.
 * - Reset. When one side breaks, the other one is reset, so that nobody takes
 *   half of something for all of it. So is a client whose target cannot be
 *   reached, within 5 seconds.
 *
 * How long a pair may be silent only those who talk can know: there is no limit
 * here. What the system can find out is whether the others are still there
 * (keep-alive).
 *
 * It prints the address it listens at, and totals at the end. At SIGINT or
 * SIGTERM no more clients are let in; pairs have a few seconds to end.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <eddy.h>

static const uint64_t connect_ns = 5 * ED_S;
static const uint64_t finish_ns = 30 * ED_S;
static const uint64_t end_ns = 5 * ED_S;

enum { CLIENT, TARGET };

struct side {
    struct ed_stream stream;
    struct pair *pair;
    struct side *other;
    bool has_ended; // sends no more
};

struct pair {
    struct side sides[2];
    struct ed_list link;
};

static struct ed_loop loop;
static struct ed_listener listener;
static struct ed_signal interrupt, terminate;
static struct ed_timer deadline; // of the pairs, at the end
static struct ed_address target;
static struct ed_list pairs;
static uint64_t clients_ever, resets_ever, bytes_ever;

/* ---- pairs ----------------------------------------------------------- */

static struct side *side_of(struct ed_stream *stream)
{
    return ED_CONTAINER_OF(stream, struct side, stream);
}

/* Both sides are closed. */
static void free_pair(struct pair *pair)
{
    ed_list_remove(&pair->link);
    free(pair);
    if (ed_list_is_empty(&pairs))
        ed_timer_stop(&deadline);
}

static void reset_pair(struct pair *pair)
{
    resets_ever++;
    ed_stream_abort(&pair->sides[CLIENT].stream);
    ed_stream_abort(&pair->sides[TARGET].stream);
    free_pair(pair);
}

static void on_finish(struct ed_stream *stream)
{
    struct side *side = side_of(stream);
    if (stream->error)
        reset_pair(side->pair);
    else if (!ed_stream_is_open(&side->other->stream))
        free_pair(side->pair);
}

/* Nothing more comes from this side. */
static void end_side(struct side *side)
{
    side->has_ended = true;
    if (!side->other->has_ended) {
        if (ed_stream_end(&side->other->stream))
            reset_pair(side->pair);
        return;
    }
    // Each closes when it has got what is queued for it.
    ed_stream_finish(&side->stream, finish_ns, on_finish);
    ed_stream_finish(&side->other->stream, finish_ns, on_finish);
}

static void on_read(struct ed_stream *stream, char *data, int64_t size)
{
    struct side *side = side_of(stream);
    struct ed_stream *to = &side->other->stream;
    // What has broken may also end, once its error has been told to a write.
    if (size == 0 && !stream->error) {
        end_side(side);
        return;
    }
    if (size <= 0 || ed_stream_write(to, data, (size_t)size)) {
        reset_pair(side->pair);
        return;
    }
    bytes_ever += (uint64_t)size;
    if (ed_stream_is_full(to))
        ed_stream_read_stop(stream);
}

static void on_drain(struct ed_stream *stream)
{
    struct side *side = side_of(stream), *from = side->other;
    if (stream->error ||
        (!from->has_ended && ed_stream_read_start(&from->stream, on_read)))
        reset_pair(side->pair);
}

static void on_connect(struct ed_stream *stream)
{
    struct side *side = side_of(stream);
    if (stream->error) {
        fprintf(stderr, "proxy: the target: %s\n", strerror(-stream->error));
        reset_pair(side->pair);
        return;
    }
    // Fails for Unix domain sockets, which always know.
    (void)ed_stream_keep_alive(stream, 60, 10, 6);
    (void)ed_stream_keep_alive(&side->other->stream, 60, 10, 6);
    (void)ed_stream_no_delay(stream, true);
    (void)ed_stream_no_delay(&side->other->stream, true);
    if (ed_stream_read_start(stream, on_read) ||
        ed_stream_read_start(&side->other->stream, on_read))
        reset_pair(side->pair);
}

static void on_accept(struct ed_listener *at, int fd)
{
    (void)at;
    struct pair *pair = calloc(1, sizeof *pair);
    if (!pair) {
        close(fd);
        return;
    }
    for (int i = CLIENT; i <= TARGET; i++) {
        pair->sides[i].pair = pair;
        pair->sides[i].other = &pair->sides[!i];
        pair->sides[i].stream.on_drain = on_drain;
    }
    ed_list_append(&pairs, &pair->link);
    clients_ever++;
    ed_stream_open_socket(&loop, &pair->sides[CLIENT].stream, fd);
    int err = ed_stream_connect(&loop, &pair->sides[TARGET].stream, &target,
                                connect_ns, on_connect);
    if (err) {
        fprintf(stderr, "proxy: the target: %s\n", strerror(-err));
        reset_pair(pair);
    }
}

/* ---- the program ----------------------------------------------------- */

static void on_deadline(struct ed_timer *timer)
{
    (void)timer;
    while (!ed_list_is_empty(&pairs))
        reset_pair(ED_CONTAINER_OF(pairs.next, struct pair, link));
}

/* When the last pair has gone, nothing keeps the loop alive. */
static void on_end(struct ed_signal *signal)
{
    (void)signal;
    // From now on a signal does what it does to any program.
    ed_signal_stop(&interrupt);
    ed_signal_stop(&terminate);
    ed_listener_stop(&listener);
    if (!ed_list_is_empty(&pairs))
        ed_timer_start(&loop, &deadline, end_ns, on_deadline);
}

static _Noreturn void refuse(const char *what, const char *why)
{
    fprintf(stderr,
            "proxy: %s: %s\n"
            "usage: proxy LISTEN-ADDRESS TARGET-ADDRESS\n"
            "\n"
            "  an address is 127.0.0.1:8080, [::1]:8080 or unix:/path; to "
            "listen at,\n"
            "  also *:8080, and port 0 is any that is free\n",
            what, why);
    exit(2);
}

static bool complain(const char *what, int err)
{
    fprintf(stderr, "proxy: %s: %s\n", what, strerror(-err));
    return false;
}

static bool start(const struct ed_address *address)
{
    struct ed_address local;
    char text[ED_ADDRESS_TEXT];
    ed_address_format(address, text, sizeof text);
    ed_list_init(&pairs);
    listener.replace = true;
    int err = ed_listener_start(&loop, &listener, address, on_accept);
    if (!err)
        err = ed_listener_local(&listener, &local);
    if (err)
        return complain(text, err);
    // The loop is there for the listener and the pairs.
    ed_signal_unref(&interrupt);
    ed_signal_unref(&terminate);
    err = ed_signal_start(&loop, &interrupt, SIGINT, on_end);
    if (!err)
        err = ed_signal_start(&loop, &terminate, SIGTERM, on_end);
    if (err)
        return complain("signals", err);
    ed_address_format(&local, text, sizeof text);
    printf("listening at %s\n", text);
    fflush(stdout);
    return true;
}

int main(int argc, char **argv)
{
    struct ed_address address;
    if (argc != 3)
        refuse("arguments", "two addresses are needed");
    int err = ed_address_parse(&address, argv[1]);
    if (err)
        refuse(argv[1], strerror(-err));
    err = ed_address_parse(&target, argv[2]);
    if (err)
        refuse(argv[2], strerror(-err));
    err = ed_loop_init(&loop);
    if (err) {
        complain("the loop", err);
        return 1;
    }

    bool is_good = start(&address);
    if (is_good && (err = ed_loop_run(&loop)) < 0)
        is_good = complain("the loop", err);
    if (is_good)
        printf("%" PRIu64 " clients, %" PRIu64 " bytes, %" PRIu64 " resets\n",
               clients_ever, bytes_ever, resets_ever);
    ed_signal_stop(&interrupt);
    ed_signal_stop(&terminate);
    ed_listener_stop(&listener);
    ed_loop_destroy(&loop);
    return is_good ? 0 : 1;
}
