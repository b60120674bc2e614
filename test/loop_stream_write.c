/*
 * The writing side of streams.
 */
#include "test/stream.h"

#include <signal.h>

enum { MUCH = 1000000 };

static const enum kind both_ways[] = {SOCKETPAIR, TCP_IPV4, TERMINAL, PIPE};

/* ---- order: any mixture of writes ---------------------------------------- */

static uint64_t random_state;

static size_t random_below(size_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state % limit);
}

/* Mostly small, now and then large. */
static size_t random_size(void)
{
    static const size_t limits[] = {2, 10, 100, 5000, 70000, 300000};
    return random_below(limits[random_below(6)]);
}

enum { MOST_PARTS = 200, MOST_WRITES = 400 };

struct random_write {
    struct ed_write write;
    struct iovec parts[MOST_PARTS];
    bool is_used;
};

/* A stream of bytes that are a pattern's, in order, and who reads it. */
static struct {
    struct client writer, reader;
    char *bytes;   // what is written, all over again
    size_t period; // of them
    uint64_t at;   // written so far
    uint64_t read; // and checked
    int file;      // with the same bytes
    struct random_write writes[MOST_WRITES];
    int begun;
    int done;
    int drains;
} mix;

static void check_order(struct ed_write *write)
{
    struct random_write *own =
        ED_CONTAINER_OF(write, struct random_write, write);
    CHECK_EQ(own - mix.writes, mix.done);
    CHECK(own->is_used);
    CHECK_EQ(write->result, 0);
    own->is_used = false;
    mix.done++;
}

static void check_bytes(struct ed_stream *stream, char *data, int64_t size)
{
    if (size <= 0) {
        note_read(stream, data, size);
        return;
    }
    for (int64_t done = 0; done < size;) {
        size_t place = mix.read % mix.period;
        size_t length = (size_t)(size - done);
        if (length > mix.period - place)
            length = mix.period - place;
        bool is_same = memcmp(data + done, mix.bytes + place, length) == 0;
        CHECK(is_same);
        if (!is_same) {
            ed_stream_read_stop(stream);
            return;
        }
        mix.read += length;
        done += (int64_t)length;
    }
    if (random_below(4) == 0)
        ed_stream_read_stop(stream);
}

/* The next bytes to write, not beyond the end of the period. */
static size_t next_bytes(const char **bytes)
{
    size_t place = mix.at % mix.period, size = random_size();
    *bytes = mix.bytes + place;
    if (size > mix.period - place)
        size = mix.period - place;
    return size;
}

/* Several pieces of what is next. Returns how many bytes that is. */
static size_t split(struct iovec *parts, size_t *count)
{
    const char *bytes;
    size_t size = next_bytes(&bytes), left = size;
    *count = 0;
    size_t wanted = 1 + random_below(random_below(10) ? 5 : MOST_PARTS - 1);
    while (*count < wanted) {
        size_t length = *count + 1 == wanted ? left : random_below(left + 1);
        if (random_below(5) == 0)
            length = *count + 1 == wanted ? left : 0;
        parts[*count].iov_base = (void *)bytes;
        parts[(*count)++].iov_len = length;
        bytes += length;
        left -= length;
    }
    return size;
}

static void write_something(void)
{
    struct ed_stream *stream = &mix.writer.stream;
    struct random_write *own = &mix.writes[mix.begun];
    const char *bytes;
    size_t size, count;
    struct iovec parts[MOST_PARTS];
    switch (random_below(5)) {
    case 0:
        size = next_bytes(&bytes);
        CHECK_EQ(ed_stream_write(stream, bytes, size), 0);
        mix.at += size;
        break;
    case 1:
        size = split(parts, &count);
        CHECK_EQ(ed_stream_writev(stream, parts, count), 0);
        mix.at += size;
        break;
    case 2: {
        size = next_bytes(&bytes);
        int64_t written = ed_stream_try_write(stream, bytes, size);
        CHECK(written >= 0 || written == -EAGAIN);
        if (stream->queued && size)
            CHECK_EQ(written, -EAGAIN);
        if (written > 0)
            mix.at += (uint64_t)written;
        break;
    }
    case 3:
        if (mix.begun == MOST_WRITES)
            return;
        own->is_used = true;
        size = split(own->parts, &count);
        CHECK_EQ(
            ed_stream_send(stream, &own->write, own->parts, count, check_order),
            0);
        mix.begun++;
        mix.at += size;
        break;
    default:
        if (mix.begun == MOST_WRITES)
            return;
        own->is_used = true;
        size = next_bytes(&bytes);
        CHECK_EQ(ed_stream_send_file(stream, &own->write, mix.file,
                                     (uint64_t)(bytes - mix.bytes), size,
                                     check_order),
                 0);
        mix.begun++;
        mix.at += size;
        break;
    }
}

static void note_mix_drain(struct ed_stream *stream)
{
    mix.drains++;
    CHECK(!ed_stream_is_full(stream));
    CHECK(stream->queued <= 10000);
}

static void write_at_random(enum kind kind, uint64_t seed)
{
    random_state = seed;
    memset(mix.writes, 0, sizeof mix.writes);
    mix.at = mix.read = 0;
    mix.begun = mix.done = mix.drains = 0;
    begin();
    NEED(open_clients(kind, &mix.writer, &mix.reader));
    if (kind < SOCKETS && random_below(2))
        CHECK_EQ(ed_stream_buffers(&mix.writer.stream, 0,
                                   kind == SOCKETPAIR ? 1 : 50000),
                 0);
    mix.writer.stream.high_water = 30000;
    mix.writer.stream.low_water = 10000;
    mix.writer.stream.on_drain = note_mix_drain;
    mix.writer.stream.queue_limit = SIZE_MAX;
    bool was_full = false;
    for (int step = 0; step < 600; step++) {
        if (random_below(3))
            write_something();
        was_full |= ed_stream_is_full(&mix.writer.stream);
        if (random_below(3) == 0)
            CHECK_EQ(ed_stream_read_start(&mix.reader.stream, check_bytes), 0);
        if (random_below(2))
            take_turn();
    }
    if (kind != TERMINAL)
        CHECK_EQ(ed_stream_end(&mix.writer.stream), 0);
    while (mix.read < mix.at && !tap_failures) {
        CHECK_EQ(ed_stream_read_start(&mix.reader.stream, check_bytes), 0);
        wait_turn();
    }
    take_turn();
    CHECK_EQ(mix.read, mix.at);
    CHECK_EQ(mix.done, mix.begun);
    CHECK_EQ(mix.writer.stream.queued, 0);
    CHECK_EQ(mix.writer.stream.copied, 0);
    CHECK(!ed_stream_is_full(&mix.writer.stream));
    CHECK_EQ(mix.drains > 0, was_full);
    check_quiet();
    close_clients(&mix.writer, &mix.reader);
    end();
}

static void any_mixture_of_writes_arrives_in_order(void)
{
    mix.period = 250007;
    mix.bytes = pattern(mix.period);
    mix.file = file_of(mix.bytes, mix.period);
    for (uint64_t seed = 1; seed <= 24 && !tap_failures; seed++) {
        write_at_random(both_ways[seed % 4], seed * 7919);
        if (tap_failures)
            printf("# with seed %d\n", (int)seed);
    }
    close(mix.file);
    free(mix.bytes);
}

/* ---- done ---------------------------------------------------------------- */

static bool is_inside;

static void done_outside(struct ed_write *write)
{
    CHECK(!is_inside);
    note_done(write);
}

static void done_is_called_once_in_order_and_never_from_inside(void)
{
    struct client a, b;
    static struct note many[50];
    begin();
    memset(many, 0, sizeof many);
    notes = 0;
    NEED(open_clients(SOCKETPAIR, &a, &b));
    char *bytes = pattern(MUCH);
    is_inside = true;
    for (int i = 0; i < 50; i++) {
        many[i].write.part.iov_base = bytes;
        many[i].write.part.iov_len = (size_t)(i < 25 ? i : 20000);
        CHECK_EQ(ed_stream_send(&a.stream, &many[i].write, &many[i].write.part,
                                1, done_outside),
                 0);
    }
    is_inside = false;
    CHECK_EQ(notes, 0);
    CHECK(a.stream.queued > 0); // some are sent already, some are not
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    WAIT_FOR(notes == 50);
    check_quiet();
    for (int i = 0; i < 50; i++) {
        CHECK_EQ(many[i].calls, 1);
        CHECK_EQ(many[i].number, i);
        CHECK_EQ(many[i].write.result, 0);
        CHECK_EQ(many[i].write.sent, many[i].write.part.iov_len);
        CHECK(many[i].write.stream == &a.stream);
    }
    free(bytes);
    close_clients(&a, &b);
    end();
}

/* Writes that are sent at once, one out of the other. */
static struct note chain;
static int chained;

static void send_next(struct ed_write *write)
{
    if (++chained == 100)
        return;
    CHECK_EQ(ed_stream_send(write->stream, write, &write->part, 1, send_next),
             0);
}

static int turns;

static void count_turn(struct ed_hook *hook)
{
    (void)hook;
    turns++;
}

static void who_writes_in_done_does_not_have_the_loop_for_himself(void)
{
    struct client a, b;
    struct ed_hook hook = {0};
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    chain = (struct note){0};
    chained = turns = 0;
    ed_hook_prepare(&loop, &hook, count_turn);
    chain.write.part = (struct iovec){(void *)"x", 1};
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    CHECK_EQ(ed_stream_send(&a.stream, &chain.write, &chain.write.part, 1,
                            send_next),
             0);
    WAIT_FOR(chained == 100);
    CHECK(turns >= 50);
    ed_hook_stop(&hook);
    close_clients(&a, &b);
    end();
}

static void free_in_done(struct ed_write *write)
{
    struct ed_stream *stream = write->stream;
    notes++;
    ed_stream_close(stream);
    free(client_of(stream));
    free(ED_CONTAINER_OF(write, struct note, write));
}

static void a_stream_and_its_write_may_be_freed_in_done(void)
{
    begin();
    for (int is_broken = 0; is_broken < 2; is_broken++) {
        struct client *a = calloc(1, sizeof *a);
        struct note *note = calloc(1, sizeof *note), never = {0};
        int fds[2];
        notes = 0;
        NEED(open_pair(SOCKETPAIR, fds));
        NEED(ed_stream_open(&loop, &a->stream, fds[0]) == 0);
        if (is_broken)
            close(fds[1]);
        a->stream.high_water = 1;
        note->write.part = (struct iovec){(void *)"x", 1};
        CHECK_EQ(ed_stream_send(&a->stream, &note->write, &note->write.part, 1,
                                free_in_done),
                 0);
        CHECK_EQ(send_bytes(&a->stream, &never, "x", 1),
                 is_broken ? -EPIPE : 0);
        CHECK_EQ(ed_loop_run(&loop), 0);
        CHECK_EQ(notes, 1);
        CHECK_EQ(never.calls, 0);
        if (!is_broken)
            close(fds[1]);
    }
    end();
}

static void a_stream_may_be_freed_before_done_is_called(void)
{
    struct client *a = calloc(1, sizeof *a);
    struct note *note = calloc(1, sizeof *note);
    int fds[2];
    begin();
    NEED(open_pair(SOCKETPAIR, fds));
    NEED(ed_stream_open(&loop, &a->stream, fds[0]) == 0);
    CHECK_EQ(send_bytes(&a->stream, note, "x", 1), 0);
    CHECK_EQ(note->write.sent, 1);
    ed_stream_close(&a->stream);
    CHECK_EQ(note->calls, 0);
    free(note);
    free(a);
    CHECK_EQ(ed_loop_run(&loop), 0);
    close(fds[1]);
    end();
}

static void what_is_empty_is_done_in_its_turn(void)
{
    struct client a, b;
    struct note first = {0}, empty[3] = {{{0}}}, last = {0};
    begin();
    notes = 0;
    NEED(open_clients(SOCKETPAIR, &a, &b));
    int file = file_of("", 0);
    CHECK_EQ(ed_stream_write(&a.stream, "", 0), 0);
    CHECK_EQ(ed_stream_writev(&a.stream, NULL, 0), 0);
    CHECK_EQ(ed_stream_try_write(&a.stream, "", 0), 0);
    CHECK_EQ(send_bytes(&a.stream, &empty[0], "", 0), 0); // nothing before it
    WAIT_FOR(empty[0].calls);

    char *bytes = pattern(MUCH);
    CHECK_EQ(send_bytes(&a.stream, &first, bytes, MUCH), 0);
    CHECK_EQ(ed_stream_send(&a.stream, &empty[1].write, NULL, 0, note_done), 0);
    CHECK_EQ(
        ed_stream_send_file(&a.stream, &empty[2].write, file, 5, 0, note_done),
        0);
    CHECK_EQ(ed_stream_write(&a.stream, "", 0), 0);
    CHECK_EQ(send_bytes(&a.stream, &last, "x", 1), 0);
    take_turn();
    CHECK_EQ(empty[1].calls, 0);
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    WAIT_FOR(last.calls);
    CHECK_EQ(first.number, 1);
    CHECK_EQ(empty[1].number, 2);
    CHECK_EQ(empty[2].number, 3);
    CHECK_EQ(last.number, 4);
    WAIT_FOR(b.size == MUCH + 1);
    close(file);
    free(bytes);
    close_clients(&a, &b);
    end();
}

static void any_number_of_parts_is_written_the_empty_ones_too(void)
{
    static struct iovec parts[1000];
    struct client a, b;
    struct note note = {0};
    for (int i = 0; i < 1000; i++)
        parts[i] = (struct iovec){(void *)"0123456789", i < 500 ? 0 : 10};
    for (int is_queued = 0; is_queued < 2; is_queued++) {
        begin();
        NEED(open_clients(SOCKETPAIR, &a, &b));
        size_t before = 0;
        note = (struct note){0};
        char *bytes = pattern(MUCH);
        if (is_queued) {
            CHECK_EQ(ed_stream_write(&a.stream, bytes, MUCH), 0);
            before = MUCH;
        }
        CHECK_EQ(ed_stream_writev(&a.stream, parts, 1000), 0);
        CHECK_EQ(ed_stream_writev(&a.stream, parts, 100), 0); // all empty
        CHECK_EQ(ed_stream_send(&a.stream, &note.write, parts, 1000, note_done),
                 0);
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        WAIT_FOR(b.size == before + 10000 && note.calls);
        CHECK_EQ(note.write.result, 0);
        CHECK_EQ(note.write.sent, 5000);
        CHECK(memcmp(b.data + before + 4990, "01234567890123456789", 20) == 0);
        check_quiet();
        free(bytes);
        close_clients(&a, &b);
        end();
    }
}

/* ---- how much is queued -------------------------------------------------- */

static void a_full_stream_tells_when_it_has_drained(void)
{
    static const enum kind kinds[] = {SOCKETPAIR, PIPE}; // exact when full
    for (int i = 0; i < 2; i++) {
        struct client a, b;
        static char bytes[1000];
        begin();
        NEED(open_clients(kinds[i], &a, &b));
        a.stream.high_water = 3000;
        a.stream.low_water = 1000;
        int64_t filled = fill(a.stream.fd);
        CHECK_EQ(ed_stream_try_write(&a.stream, bytes, 1), -EAGAIN);
        for (int k = 1; k <= 5; k++) {
            CHECK_EQ(ed_stream_is_full(&a.stream), k > 3);
            CHECK_EQ(ed_stream_write(&a.stream, bytes, sizeof bytes), 0);
            CHECK_EQ(a.stream.queued, 1000 * k);
        }
        CHECK_EQ(ed_stream_try_write(&a.stream, bytes, 1), -EAGAIN);
        take_turn();
        CHECK_EQ(a.drains, 0);
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        WAIT_FOR(a.drains);
        CHECK(a.stream.queued <= 1000);
        CHECK(!ed_stream_is_full(&a.stream));
        WAIT_FOR((int64_t)b.size == filled + 5000);
        check_quiet();
        CHECK_EQ(a.drains, 1);
        CHECK_EQ(a.error, 0);
        close_clients(&a, &b);
        end();
    }
}

static void what_is_taken_at_once_does_not_fill(void)
{
    struct client a, b;
    struct note note = {0};
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    a.stream.high_water = 10;
    CHECK_EQ(ed_stream_write(&a.stream, "0123456789012345", 16), 0);
    CHECK(!ed_stream_is_full(&a.stream));
    CHECK_EQ(send_bytes(&a.stream, &note, "0123456789012345", 16), 0);
    CHECK(!ed_stream_is_full(&a.stream));
    CHECK_EQ(a.stream.queued, 0);
    WAIT_FOR(note.calls);
    check_quiet();
    CHECK_EQ(a.drains, 0);
    close_clients(&a, &b);
    end();
}

static int refills;
static size_t refilled;

static void refill(struct ed_stream *stream)
{
    static char bytes[20000];
    note_drain(stream);
    CHECK_EQ(stream->queued, 0);
    if (refills++ == 5)
        return;
    do {
        CHECK_EQ(ed_stream_write(stream, bytes, sizeof bytes), 0);
        refilled += sizeof bytes;
    } while (!ed_stream_is_full(stream));
}

static void on_drain_may_fill_it_again(void)
{
    struct client a, b;
    begin();
    refills = 0;
    refilled = 0;
    NEED(open_clients(SOCKETPAIR, &a, &b));
    a.stream.on_drain = refill;
    a.stream.high_water = 1; // a low_water of 0: when all is sent
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    refill(&a.stream);
    WAIT_FOR(refills == 6 && b.size == refilled);
    check_quiet();
    CHECK_EQ(a.drains, 6);
    close_clients(&a, &b);
    end();
}

static void close_at_drain(struct ed_stream *stream)
{
    note_drain(stream);
    ed_stream_close(stream);
    free(client_of(stream));
    refills++;
}

static void a_stream_may_be_freed_when_it_drains(void)
{
    struct client *a = calloc(1, sizeof *a), b = {0};
    int fds[2];
    begin();
    refills = 0;
    NEED(open_pair(SOCKETPAIR, fds));
    NEED(ed_stream_open(&loop, &a->stream, fds[0]) == 0);
    NEED(ed_stream_open(&loop, &b.stream, fds[1]) == 0);
    a->stream.on_drain = close_at_drain;
    char *bytes = pattern(MUCH);
    CHECK_EQ(ed_stream_write(&a->stream, bytes, MUCH), 0);
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    WAIT_FOR(b.ends);
    CHECK_EQ(refills, 1);
    free(bytes);
    close_client(&b);
    end();
}

static void over_the_limit_nothing_is_written(void)
{
    struct client a, b;
    struct note note = {0};
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    a.stream.queue_limit = 100000;
    char *bytes = pattern(MUCH);
    CHECK_EQ(ed_stream_write(&a.stream, bytes, 100001), -ENOBUFS);
    struct iovec parts[2] = {{bytes, 60000}, {bytes, 60000}};
    CHECK_EQ(ed_stream_writev(&a.stream, parts, 2), -ENOBUFS);
    CHECK_EQ(ed_stream_write(&a.stream, bytes, SIZE_MAX), -ENOBUFS);
    CHECK_EQ(a.stream.queued, 0);
    CHECK_EQ(a.stream.error, 0);

    // However much is written, no more memory than that is used.
    int64_t filled = fill(a.stream.fd);
    uint64_t written = 0;
    while (ed_stream_write(&a.stream, bytes, 999) == 0)
        written += 999;
    CHECK(written > 50000);
    CHECK(written <= 100000);
    CHECK_EQ(a.stream.queued, written);
    // In place it needs none.
    CHECK_EQ(send_bytes(&a.stream, &note, bytes, MUCH), 0);
    CHECK_EQ(ed_stream_write(&a.stream, bytes, 50000), -ENOBUFS);
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    WAIT_FOR(note.calls);
    WAIT_FOR((int64_t)b.size == filled + (int64_t)written + MUCH);
    CHECK_EQ(ed_stream_write(&a.stream, bytes, 50000), 0);
    free(bytes);
    close_clients(&a, &b);
    end();
}

static void small_writes_share_memory(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    int64_t filled = fill(a.stream.fd);
    for (int i = 0; i < 3000; i++)
        CHECK_EQ(ed_stream_write(&a.stream, "x", 1), 0);
    CHECK_EQ(a.stream.queued, 3000);
    CHECK(a.stream.copied <= 4096);
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    WAIT_FOR((int64_t)b.size == filled + 3000);
    CHECK_EQ(a.stream.copied, 0);
    close_clients(&a, &b);
    end();
}

static void try_write_takes_what_fits(void)
{
    for (int i = 0; i < 4; i++) {
        struct client a, b;
        begin();
        NEED(open_clients(both_ways[i], &a, &b));
        char *bytes = pattern(8 * MUCH);
        int64_t written = ed_stream_try_write(&a.stream, bytes, 8 * MUCH);
        CHECK(written > 0);
        CHECK(written < 8 * MUCH);
        CHECK_EQ(a.stream.queued, 0);
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        WAIT_FOR((int64_t)b.size == written);
        CHECK(memcmp(b.data, bytes, b.size) == 0);
        check_quiet();
        free(bytes);
        close_clients(&a, &b);
        end();
    }
}

/* ---- closed with writes pending ------------------------------------------ */

static void close_calls_nothing_and_take_back_gives_them_back(void)
{
    struct client a, b;
    struct note sent = {0}, first = {0}, second = {0};
    for (int takes_back = 0; takes_back < 2; takes_back++) {
        begin();
        NEED(open_clients(SOCKETPAIR, &a, &b));
        char *bytes = pattern(MUCH);
        CHECK_EQ(send_bytes(&a.stream, &sent, "x", 1), 0);
        CHECK_EQ(ed_stream_write(&a.stream, bytes, MUCH), 0);
        CHECK_EQ(send_bytes(&a.stream, &first, bytes, MUCH), 0);
        CHECK_EQ(ed_stream_write(&a.stream, bytes, MUCH), 0);
        CHECK_EQ(send_bytes(&a.stream, &second, bytes, MUCH), 0);
        if (takes_back) {
            // What is sent, but not called back yet, is among them.
            CHECK(ed_stream_take_back(&a.stream) == &sent.write);
            CHECK(ed_stream_take_back(&a.stream) == &first.write);
            CHECK(ed_stream_take_back(&a.stream) == &second.write);
            CHECK(!ed_stream_take_back(&a.stream));
            CHECK_EQ(a.stream.queued, 0);
            check_quiet();
        }
        ed_stream_close(&a.stream);
        CHECK(!ed_stream_take_back(&a.stream));
        check_quiet();
        CHECK_EQ(sent.calls + first.calls + second.calls, 0);
        free(bytes);
        close_clients(&a, &b);
        end();
    }
}

static void take_back_rest(struct ed_write *write)
{
    struct ed_stream *stream = write->stream;
    note_done(write);
    while ((write = ed_stream_take_back(stream)))
        ED_CONTAINER_OF(write, struct note, write)->number = -1;
}

static void writes_may_be_taken_back_in_done(void)
{
    struct client a, b;
    struct note many[4] = {{{0}}};
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    char *bytes = pattern(MUCH);
    many[0].write.part = (struct iovec){bytes, 1};
    CHECK_EQ(ed_stream_send(&a.stream, &many[0].write, &many[0].write.part, 1,
                            take_back_rest),
             0);
    CHECK_EQ(send_bytes(&a.stream, &many[1], bytes, 1), 0);
    CHECK_EQ(send_bytes(&a.stream, &many[2], bytes, MUCH), 0);
    CHECK_EQ(send_bytes(&a.stream, &many[3], bytes, MUCH), 0);
    WAIT_FOR(many[0].calls);
    check_quiet();
    for (int i = 1; i < 4; i++) {
        CHECK_EQ(many[i].calls, 0);
        CHECK_EQ(many[i].number, -1);
    }
    free(bytes);
    close_clients(&a, &b);
    end();
}

/* ---- nobody reads any more ----------------------------------------------- */

static volatile sig_atomic_t sigpipes;

static void count_sigpipe(int number)
{
    (void)number;
    sigpipes++;
}

/* Each pending write gets the error, and SIGPIPE, which would kill, is none. */
static void check_broken(enum kind kind)
{
    struct client a, b;
    struct note parts = {0}, file_write = {0}, late = {0};
    begin();
    NEED(open_clients(kind, &a, &b));
    char *bytes = pattern(8 * MUCH);
    int file = file_of(bytes, MUCH);
    CHECK_EQ(send_bytes(&a.stream, &parts, bytes, 8 * MUCH), 0);
    CHECK_EQ(ed_stream_write(&a.stream, bytes, MUCH), 0);
    CHECK_EQ(ed_stream_send_file(&a.stream, &file_write.write, file, 0, MUCH,
                                 note_done),
             0);
    CHECK(ed_stream_is_full(&a.stream));
    take_turn();
    ed_stream_close(&b.stream);
    WAIT_FOR(a.drains);
    CHECK(a.error == -EPIPE || a.error == -ECONNRESET);
    CHECK_EQ(a.stream.error, a.error);
    CHECK_EQ(parts.calls, 1);
    CHECK_EQ(parts.write.result, a.error);
    CHECK(parts.write.sent > 0 && parts.write.sent < 8 * MUCH);
    CHECK_EQ(file_write.calls, 1);
    CHECK_EQ(file_write.write.result, a.error);
    CHECK_EQ(a.stream.queued, 0);
    CHECK_EQ(a.stream.copied, 0);
    CHECK(!ed_stream_is_full(&a.stream));
    CHECK_EQ(send_bytes(&a.stream, &late, "x", 1), a.error);
    CHECK_EQ(ed_stream_write(&a.stream, "x", 1), a.error);
    CHECK_EQ(ed_stream_send_file(&a.stream, &late.write, file, 0, 1, note_done),
             a.error);
    CHECK_EQ(ed_stream_end(&a.stream), a.error);
    check_quiet();
    CHECK_EQ(late.calls, 0);
    CHECK_EQ(a.drains, 1);
    CHECK(ed_stream_is_open(&a.stream));
    close(file);
    free(bytes);
    close_clients(&a, &b);
    end();
}

static void each_pending_write_gets_the_error_of_a_broken_stream(void)
{
    for (enum kind kind = 0; kind < KINDS; kind++)
        if (has_kind(kind) && kind != TERMINAL)
            check_broken(kind);
}

/* Each way to write breaks a stream that nobody reads. */
static void write_in_vain(enum kind kind)
{
    for (int way = 0; way < 4; way++) {
        struct client a, b;
        struct note note = {0};
        NEED(open_clients(kind, &a, &b));
        int file = file_of("x", 1);
        close_client(&b);
        int64_t err = 0;
        if (way == 0)
            err = ed_stream_write(&a.stream, "x", 1);
        if (way == 1)
            err = ed_stream_try_write(&a.stream, "x", 1);
        if (way == 2)
            CHECK_EQ(send_bytes(&a.stream, &note, "x", 1), 0);
        if (way == 3)
            CHECK_EQ(ed_stream_send_file(&a.stream, &note.write, file, 0, 1,
                                         note_done),
                     0);
        if (way >= 2) {
            CHECK_EQ(note.calls, 0);
            WAIT_FOR(note.calls);
            err = note.write.result;
            CHECK_EQ(note.write.sent, 0);
        }
        CHECK_EQ(err, -EPIPE);
        CHECK_EQ(a.stream.error, -EPIPE);
        check_quiet();
        close(file);
        close_client(&a);
    }
}

static bool is_sigpipe_pending(void)
{
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGPIPE) == 1;
}

static void no_write_raises_sigpipe_and_that_of_others_stays(void)
{
    static const enum kind kinds[] = {SOCKETPAIR, PIPE};
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    begin();
    signal(SIGPIPE, count_sigpipe);
    for (int i = 0; i < 2; i++) {
        sigpipes = 0;
        write_in_vain(kinds[i]);
        CHECK_EQ(sigpipes, 0);

        // Blocked by the program: as it was, and none is waiting.
        sigprocmask(SIG_BLOCK, &set, &before);
        CHECK(sigismember(&before, SIGPIPE) == 0);
        write_in_vain(kinds[i]);
        CHECK(!is_sigpipe_pending());
        sigprocmask(SIG_BLOCK, NULL, &before);
        CHECK(sigismember(&before, SIGPIPE) == 1);

        // One of the program's own is waiting: still.
        raise(SIGPIPE);
        write_in_vain(kinds[i]);
        CHECK(is_sigpipe_pending());
        CHECK_EQ(sigpipes, 0);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
        CHECK_EQ(sigpipes, 1);
    }
    signal(SIGPIPE, SIG_DFL);
    end();
}

TESTS(TEST(any_mixture_of_writes_arrives_in_order),
      TEST(done_is_called_once_in_order_and_never_from_inside),
      TEST(who_writes_in_done_does_not_have_the_loop_for_himself),
      TEST(a_stream_and_its_write_may_be_freed_in_done),
      TEST(a_stream_may_be_freed_before_done_is_called),
      TEST(what_is_empty_is_done_in_its_turn),
      TEST(any_number_of_parts_is_written_the_empty_ones_too),
      TEST(a_full_stream_tells_when_it_has_drained),
      TEST(what_is_taken_at_once_does_not_fill),
      TEST(on_drain_may_fill_it_again),
      TEST(a_stream_may_be_freed_when_it_drains),
      TEST(over_the_limit_nothing_is_written), TEST(small_writes_share_memory),
      TEST(try_write_takes_what_fits),
      TEST(close_calls_nothing_and_take_back_gives_them_back),
      TEST(writes_may_be_taken_back_in_done),
      TEST(each_pending_write_gets_the_error_of_a_broken_stream),
      TEST(no_write_raises_sigpipe_and_that_of_others_stays))
