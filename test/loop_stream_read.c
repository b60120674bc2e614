/*
 * The reading side of streams, how it ends, and descriptors that come along.
 */
#include "test/stream.h"

#include <sys/resource.h>

/* ---- pieces -------------------------------------------------------------- */

static void stop_after_each_piece(struct ed_stream *stream, char *data,
                                  int64_t size)
{
    note_read(stream, data, size);
    ed_stream_read_stop(stream);
}

static void a_small_buffer_of_the_programs_own_gets_a_piece_a_turn(void)
{
    struct client a, b;
    char buffer[3];
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    b.stream.buffer = buffer;
    b.stream.buffer_size = sizeof buffer;
    CHECK_EQ(ed_stream_write(&a.stream, "12345678", 8), 0);
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    for (int turn = 1; turn <= 3; turn++) {
        NEED(wait_turn());
        CHECK_EQ(b.reads, turn);
        CHECK_EQ(b.size, turn < 3 ? 3 * turn : 8);
    }
    CHECK(has_read(&b, "12345678"));
    CHECK(memcmp(buffer, "78", 2) == 0);
    CHECK(!loop.buffer);
    check_quiet();
    close_clients(&a, &b);
    end();
}

static const char *last_data;

static void note_where(struct ed_stream *stream, char *data, int64_t size)
{
    note_read(stream, data, size);
    last_data = data;
}

static void the_loop_lends_one_buffer_to_all_who_read_and_none_before(void)
{
    struct client a, b, c, d;
    struct note note = {0};
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    NEED(open_clients(TCP_IPV4, &c, &d));
    CHECK_EQ(send_bytes(&a.stream, &note, "one", 3), 0);
    CHECK_EQ(ed_stream_write(&c.stream, "two", 3), 0);
    WAIT_FOR(note.calls);
    CHECK(!loop.buffer);
    ed_stream_finish(&a.stream, 0, note_finish);
    ed_stream_close(&b.stream);
    WAIT_FOR(a.finishes);
    CHECK(!loop.buffer);
    close_clients(&a, &b);

    NEED(open_clients(SOCKETPAIR, &a, &b));
    CHECK_EQ(ed_stream_write(&a.stream, "one", 3), 0);
    CHECK_EQ(ed_stream_read_start(&b.stream, note_where), 0);
    CHECK(loop.buffer);
    WAIT_FOR(b.reads);
    const char *first = last_data;
    CHECK_EQ(ed_stream_read_start(&d.stream, note_where), 0);
    WAIT_FOR(d.reads);
    CHECK(last_data == first);
    CHECK(has_read(&b, "one") && has_read(&d, "two"));
    close_clients(&a, &b);
    close_clients(&c, &d);
    end();
}

static void who_pauses_loses_nothing(void)
{
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct client a, b;
        if (!has_kind(kind))
            continue;
        begin();
        NEED(open_clients(kind, &a, &b));
        ed_stream_read_stop(&b.stream); // before it has begun
        CHECK_EQ(ed_stream_read_start(&b.stream, stop_after_each_piece), 0);
        CHECK_EQ(ed_stream_write(&a.stream, "first ", 6), 0);
        WAIT_FOR(b.reads == 1);
        CHECK_EQ(ed_stream_write(&a.stream, "second", 6), 0);
        check_quiet();
        CHECK_EQ(b.reads, 1);
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        WAIT_FOR(b.size == 12);
        CHECK(has_read(&b, "first second"));

        // Off and on within a turn; with another function.
        ed_stream_read_stop(&b.stream);
        CHECK_EQ(ed_stream_read_start(&b.stream, stop_after_each_piece), 0);
        CHECK_EQ(ed_stream_write(&a.stream, "!", 1), 0);
        WAIT_FOR(b.size == 13);
        check_quiet();
        close_clients(&a, &b);
        end();
    }
}

static struct client *other;

static void pause_other(struct ed_stream *stream, char *data, int64_t size)
{
    note_read(stream, data, size);
    ed_stream_read_stop(&other->stream);
}

static struct client *pair[2];

static void pause_both(struct ed_stream *stream, char *data, int64_t size)
{
    note_read(stream, data, size);
    ed_stream_read_stop(&pair[0]->stream);
    ed_stream_read_stop(&pair[1]->stream);
}

static void who_is_paused_by_another_in_this_turn_reads_nothing_more(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    pair[0] = &a;
    pair[1] = &b;
    CHECK_EQ(ed_stream_read_start(&a.stream, pause_both), 0);
    CHECK_EQ(ed_stream_read_start(&b.stream, pause_both), 0);
    CHECK_EQ(ed_stream_write(&a.stream, "x", 1), 0);
    CHECK_EQ(ed_stream_write(&b.stream, "x", 1), 0);
    WAIT_FOR(a.reads + b.reads > 0);
    check_quiet();
    CHECK_EQ(a.reads + b.reads, 1);
    CHECK_EQ(ed_stream_read_start(&a.stream, note_read), 0);
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    WAIT_FOR(a.reads + b.reads == 2);
    CHECK(a.reads == 1 && b.reads == 1);
    close_clients(&a, &b);
    end();
}

/* The hang-up is in the list of what is ready, but nobody reads any more. */
static void a_hangup_does_not_break_who_was_paused_in_the_same_turn(void)
{
    struct client a, b, c, d;
    struct note note = {0};
    static char bytes[1000000];
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    NEED(open_clients(SOCKETPAIR, &c, &d));
    CHECK_EQ(ed_stream_read_start(&b.stream, pause_other), 0);
    CHECK_EQ(ed_stream_read_start(&d.stream, note_read), 0);
    CHECK_EQ(send_bytes(&d.stream, &note, bytes, sizeof bytes), 0);
    CHECK(d.stream.queued > 0);
    take_turn(); // The system knows of both interests.
    CHECK_EQ(ed_stream_write(&a.stream, "x", 1), 0);
    CHECK_EQ(ed_stream_end(&c.stream), 0);
    other = &d;
    while (!b.reads)
        NEED(wait_turn());
    take_turn();
    CHECK_EQ(d.stream.error, 0);
    CHECK_EQ(note.calls, 0);

    CHECK_EQ(ed_stream_read_start(&c.stream, note_read), 0);
    WAIT_FOR(c.size == sizeof bytes);
    WAIT_FOR(note.calls);
    CHECK_EQ(note.write.result, 0);
    if (!d.ends)
        CHECK_EQ(ed_stream_read_start(&d.stream, note_read), 0);
    WAIT_FOR(d.ends);
    CHECK_EQ(d.how, 0);
    close_clients(&a, &b);
    close_clients(&c, &d);
    end();
}

static void close_and_free(struct ed_stream *stream, char *data, int64_t size)
{
    (void)data;
    (void)size;
    ed_stream_close(stream);
    free(client_of(stream));
}

static void a_stream_may_be_freed_by_who_reads(void)
{
    static const bool takes_fds[] = {false, true};
    for (int i = 0; i < 2; i++) {
        for (int is_end = 0; is_end < 2; is_end++) {
            struct client *b = calloc(1, sizeof *b);
            int fds[2];
            begin();
            NEED(open_pair(SOCKETPAIR, fds));
            NEED(ed_stream_open(&loop, &b->stream, fds[0]) == 0);
            b->stream.takes_fds = takes_fds[i];
            CHECK_EQ(ed_stream_read_start(&b->stream, close_and_free), 0);
            if (!is_end)
                CHECK_EQ(write(fds[1], "x", 1), 1);
            close(fds[1]);
            CHECK_EQ(ed_loop_run(&loop), 0);
            end();
        }
    }
}

static void close_all(struct ed_stream *stream, char *data, int64_t size)
{
    note_read(stream, data, size);
    ed_stream_close(&pair[0]->stream);
    ed_stream_close(&pair[1]->stream);
}

static void a_stream_may_be_closed_by_another_that_is_ready_too(void)
{
    struct client a, b;
    struct note to_a = {0}, to_b = {0};
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    pair[0] = &a;
    pair[1] = &b;
    CHECK_EQ(ed_stream_read_start(&a.stream, close_all), 0);
    CHECK_EQ(ed_stream_read_start(&b.stream, close_all), 0);
    CHECK_EQ(send_bytes(&a.stream, &to_b, "x", 1), 0);
    CHECK_EQ(send_bytes(&b.stream, &to_a, "x", 1), 0);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    CHECK_EQ(a.reads + b.reads, 1);
    CHECK_EQ(to_a.calls + to_b.calls, 0);
    close_clients(&a, &b);
    end();
}

/* ---- the end ------------------------------------------------------------- */

static void the_end_is_told_once_after_all_data(void)
{
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct client a, b;
        if (!has_kind(kind) || kind == TERMINAL)
            continue;
        begin();
        NEED(open_clients(kind, &a, &b));
        CHECK_EQ(ed_stream_write(&a.stream, "all", 3), 0);
        ed_stream_close(&a.stream);
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        WAIT_FOR(b.ends);
        CHECK(has_read(&b, "all"));
        CHECK_EQ(b.how, 0);
        CHECK_EQ(b.stream.error, 0);
        CHECK(ed_stream_is_open(&b.stream));
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), -EPIPE);
        ed_stream_read_stop(&b.stream);
        check_quiet();
        CHECK_EQ(b.ends, 1);
        close_clients(&a, &b);
        end();
    }
}

static void who_has_read_the_end_can_still_write(void)
{
    for (enum kind kind = 0; kind < SOCKETS; kind++) {
        struct client a, b;
        if (!has_kind(kind))
            continue;
        begin();
        NEED(open_clients(kind, &a, &b));
        CHECK_EQ(ed_stream_read_start(&a.stream, note_read), 0);
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        CHECK_EQ(ed_stream_end(&a.stream), 0);
        WAIT_FOR(b.ends);
        CHECK_EQ(ed_stream_write(&b.stream, "answer", 6), 0);
        CHECK_EQ(ed_stream_end(&b.stream), 0);
        WAIT_FOR(a.ends);
        CHECK(has_read(&a, "answer"));
        CHECK_EQ(a.how, 0);
        check_quiet();
        close_clients(&a, &b);
        end();
    }
}

static void a_terminal_that_is_closed_ends(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(TERMINAL, &a, &b));
    CHECK_EQ(ed_stream_read_start(&a.stream, note_read), 0);
    CHECK_EQ(ed_stream_write(&b.stream, "bye", 3), 0);
    WAIT_FOR(a.size == 3);
    ed_stream_close(&b.stream);
    WAIT_FOR(a.ends);
    CHECK(a.how == 0 || a.how == -EIO); // systems differ
    check_quiet();
    CHECK_EQ(a.ends, 1);
    close_clients(&a, &b);
    end();
}

static void a_reset_is_told_once_and_breaks_the_stream(void)
{
    for (enum kind kind = TCP_IPV4; kind <= TCP_IPV6; kind++) {
        struct client a, b;
        begin();
        NEED(open_clients(kind, &a, &b));
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        ed_stream_abort(&a.stream);
        CHECK(!ed_stream_is_open(&a.stream));
        WAIT_FOR(b.ends);
        CHECK_EQ(b.how, -ECONNRESET);
        CHECK_EQ(b.stream.error, -ECONNRESET);
        CHECK(ed_stream_is_open(&b.stream));
        check_quiet();
        CHECK_EQ(b.ends, 1);
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), -EPIPE);
        CHECK_EQ(ed_stream_write(&b.stream, "x", 1), -ECONNRESET);
        CHECK_EQ(ed_stream_try_write(&b.stream, "x", 1), -ECONNRESET);
        CHECK_EQ(ed_stream_end(&b.stream), -ECONNRESET);
        close_clients(&a, &b);
        end();
    }
}

static void a_socket_closed_with_data_unread_is_reset(void)
{
    for (enum kind kind = 0; kind < SOCKETS; kind++) {
        struct client a, b;
        if (!has_kind(kind))
            continue;
        begin();
        NEED(open_clients(kind, &a, &b));
        CHECK_EQ(ed_stream_write(&b.stream, "unread", 6), 0);
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        ed_stream_close(&a.stream);
        WAIT_FOR(b.ends);
#ifdef __linux__
        CHECK_EQ(b.how, -ECONNRESET);
#endif
        check_quiet();
        close_clients(&a, &b);
        end();
    }
}

/* The writer asks the system first, and the system tells of a reset once. */
static void a_reset_is_no_end_to_who_reads_though_the_writer_saw_it_first(void)
{
    struct client a, b;
    static char bytes[8000000];
    struct note first = {0}, second = {0};
    begin();
    NEED(open_clients(TCP_IPV4, &a, &b));
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    CHECK_EQ(send_bytes(&b.stream, &first, bytes, sizeof bytes), 0);
    CHECK_EQ(send_bytes(&b.stream, &second, bytes, sizeof bytes), 0);
    CHECK(b.stream.queued > 0);
    CHECK_EQ(b.stream.queued,
             2 * sizeof bytes - first.write.sent - second.write.sent);
    take_turn();
    ed_stream_abort(&a.stream);
    WAIT_FOR(b.ends && second.calls);
    CHECK_EQ(b.how, -ECONNRESET);
    CHECK_EQ(first.write.result, -ECONNRESET);
    CHECK_EQ(second.write.result, -ECONNRESET);
    CHECK_EQ(first.calls, 1);
    CHECK_EQ(b.drains, 1);
    CHECK_EQ(b.error, -ECONNRESET);
    CHECK_EQ(b.stream.queued, 0);
    check_quiet();
    CHECK_EQ(b.ends, 1);
    close_clients(&a, &b);
    end();
}

static void what_came_before_the_reader_closed_can_be_read(void)
{
    for (enum kind kind = 0; kind < SOCKETS; kind++) {
        struct client a, b;
        if (!has_kind(kind))
            continue;
        begin();
        NEED(open_clients(kind, &a, &b));
        CHECK_EQ(ed_stream_write(&a.stream, "last words", 10), 0);
        ed_stream_close(&a.stream);
        // TCP takes the first one; the answer to it is a reset.
        for (int i = 0; i < 5 && ed_stream_write(&b.stream, "x", 1) == 0; i++)
            take_turn();
        CHECK(ed_stream_write(&b.stream, "x", 1) < 0);
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        WAIT_FOR(b.ends);
        CHECK(has_read(&b, "last words"));
#ifdef __linux__
        CHECK_EQ(b.how, 0); // that is all the peer wanted to say
#endif
        check_quiet();
        close_clients(&a, &b);
        end();
    }
}

static void who_has_no_reader_any_more_still_gets_the_answer(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    NEED(shutdown(b.stream.fd, SHUT_RD) == 0);
    CHECK_EQ(ed_stream_read_start(&a.stream, note_read), 0);
    CHECK_EQ(ed_stream_write(&a.stream, "request", 7), -EPIPE);
    take_turn();
    CHECK_EQ(a.ends, 0);
    CHECK_EQ(ed_stream_write(&b.stream, "too long", 8), 0);
    ed_stream_close(&b.stream);
    WAIT_FOR(a.ends);
    CHECK(has_read(&a, "too long"));
    CHECK_EQ(a.how, 0);
    check_quiet();
    close_clients(&a, &b);
    end();
}

static void to_read_from_the_writing_end_of_a_pipe_is_an_error(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(PIPE, &a, &b));
    CHECK_EQ(ed_stream_read_start(&a.stream, note_read), 0);
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    ed_stream_close(&b.stream);
    WAIT_FOR(a.ends);
    CHECK(a.how < 0);
    check_quiet();
    CHECK_EQ(a.ends, 1);
    close_clients(&a, &b);
    end();
}

/* ---- descriptors --------------------------------------------------------- */

enum { MOST = 253 };

/* Takes all there is, or as many as wanted. */
struct taker {
    struct client client;
    int wanted;
    int taken[2 * MOST];
    int count;
    int last; // what told that there is no more
};

static void take_fds(struct ed_stream *stream, char *data, int64_t size)
{
    struct taker *taker =
        ED_CONTAINER_OF(client_of(stream), struct taker, client);
    note_read(stream, data, size);
    int fd = 0;
    while (taker->wanted-- > 0 && (fd = ed_stream_take_fd(stream)) >= 0)
        taker->taken[taker->count++] = fd;
    taker->last = fd;
}

static bool open_taker(enum kind kind, struct client *a, struct taker *b)
{
    *b = (struct taker){.wanted = 1000};
    if (!open_clients(kind, a, &b->client))
        return false;
    b->client.stream.takes_fds = true;
    // A short wait: now the loop has all descriptors that it will ever need.
    if (ed_loop_run_once(&loop, 1) < 0)
        return false;
    return ed_stream_read_start(&b->client.stream, take_fds) == 0;
}

static void close_taker(struct client *a, struct taker *b)
{
    for (int i = 0; i < b->count; i++)
        close(b->taken[i]);
    close_clients(a, &b->client);
}

static bool is_same_file(int a, int b)
{
    struct stat first, second;
    return fstat(a, &first) == 0 && fstat(b, &second) == 0 &&
           first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

static int send_fds(struct client *a, struct note *note, const int *fds,
                    size_t count, const char *text)
{
    note->write.fds = fds;
    note->write.fd_count = count;
    return send_bytes(&a->stream, note, text, strlen(text));
}

static void a_descriptor_goes_along_with_the_bytes(void)
{
    for (enum kind kind = 0; kind < SOCKETS; kind++) {
        struct client a;
        struct taker b;
        struct note note = {0};
        if (!has_kind(kind) || kind == TCP_IPV4 || kind == TCP_IPV6)
            continue;
        begin();
        int file = file_of("x", 1);
        NEED(open_taker(kind, &a, &b));
        CHECK_EQ(send_fds(&a, &note, &file, 1, "here"), 0);
        WAIT_FOR(b.client.size == 4);
        WAIT_FOR(note.calls);
        CHECK_EQ(note.write.result, 0);
        NEED(b.count == 1);
        CHECK_EQ(b.last, -ENOENT);
        CHECK(is_same_file(file, b.taken[0]));
        CHECK(b.taken[0] != file);
        CHECK(fcntl(b.taken[0], F_GETFD) & FD_CLOEXEC);
        CHECK(fcntl(file, F_GETFD) >= 0); // left open
        CHECK_EQ(ed_stream_take_fd(&b.client.stream), -ENOENT);
        close(file);
        close_taker(&a, &b);
        end();
    }
}

static void each_message_brings_its_own_descriptors_in_order(void)
{
    struct client a;
    struct taker b;
    struct note notes_of[4] = {{{0}}};
    int files[4];
    begin();
    NEED(open_taker(SOCKETPAIR, &a, &b));
    for (int i = 0; i < 4; i++)
        files[i] = file_of("x", 1);
    CHECK_EQ(ed_stream_write(&a.stream, "before ", 7), 0);
    CHECK_EQ(send_fds(&a, &notes_of[0], files, 1, "one "), 0);
    CHECK_EQ(send_fds(&a, &notes_of[1], files + 1, 2, "two "), 0);
    CHECK_EQ(ed_stream_write(&a.stream, "between ", 8), 0);
    CHECK_EQ(send_fds(&a, &notes_of[2], files + 3, 1, "three "), 0);
    CHECK_EQ(ed_stream_write(&a.stream, "after", 5), 0);
    WAIT_FOR(b.client.size == 34);
    CHECK(has_read(&b.client, "before one two between three after"));
    NEED(b.count == 4);
    for (int i = 0; i < 4; i++) {
        CHECK(is_same_file(files[i], b.taken[i]));
        close(files[i]);
    }
    close_taker(&a, &b);
    end();
}

static void descriptors_that_have_to_wait_go_with_their_own_bytes(void)
{
    struct client a;
    struct taker b;
    struct note first = {0}, second = {0};
    const size_t size = 1000000;
    char *bytes = pattern(size);
    begin();
    int files[2] = {file_of("x", 1), file_of("y", 1)};
    NEED(open_taker(SOCKETPAIR, &a, &b));
    ed_stream_read_stop(&b.client.stream);
    CHECK_EQ(ed_stream_write(&a.stream, bytes, size), 0);
    CHECK(a.stream.queued > 0);
    bytes[size] = 0;
    CHECK_EQ(send_fds(&a, &first, &files[0], 1, "one"), 0);
    CHECK_EQ(send_fds(&a, &second, &files[1], 1, "two"), 0);
    CHECK_EQ(ed_stream_write(&a.stream, bytes, size), 0);
    CHECK_EQ(ed_stream_end(&a.stream), 0);
    CHECK_EQ(ed_stream_read_start(&b.client.stream, take_fds), 0);
    WAIT_FOR(b.client.ends);
    CHECK_EQ(b.client.size, 2 * size + 6);
    CHECK(memcmp(b.client.data, bytes, size) == 0);
    CHECK(memcmp(b.client.data + size, "onetwo", 6) == 0);
    CHECK(memcmp(b.client.data + size + 6, bytes, size) == 0);
    NEED(b.count == 2);
    for (int i = 0; i < 2; i++) {
        CHECK(is_same_file(files[i], b.taken[i]));
        close(files[i]);
    }
    free(bytes);
    close_taker(&a, &b);
    end();
}

static void as_many_as_the_system_allows_go_at_once(void)
{
    struct client a;
    struct taker b;
    struct note note = {0};
    int fds[MOST + 1];
    begin();
    int file = file_of("x", 1);
    for (int i = 0; i <= MOST; i++)
        fds[i] = file;
    NEED(open_taker(SOCKETPAIR, &a, &b));
    CHECK_EQ(send_fds(&a, &note, fds, MOST + 1, "x"), -EINVAL);
    CHECK_EQ(send_fds(&a, &note, fds, 1, ""), -EINVAL); // no byte to go with
    CHECK_EQ(send_fds(&a, &note, fds, MOST, "x"), 0);
    WAIT_FOR(b.client.size == 1);
    CHECK_EQ(b.count, MOST);
    CHECK_EQ(b.last, -ENOENT);
    CHECK(is_same_file(file, b.taken[MOST - 1]));
    close(file);
    close_taker(&a, &b);
    end();
}

static void a_large_write_brings_its_descriptors_once(void)
{
    struct client a;
    struct taker b;
    struct note note = {0};
    const size_t size = 3000000;
    char *bytes = pattern(size);
    begin();
    int file = file_of("x", 1);
    NEED(open_taker(UNIX_PATH, &a, &b));
    note.write.fds = &file;
    note.write.fd_count = 1;
    CHECK_EQ(send_bytes(&a.stream, &note, bytes, size), 0);
    WAIT_FOR(b.client.size == size);
    CHECK(memcmp(b.client.data, bytes, size) == 0);
    CHECK_EQ(b.count, 1);
    free(bytes);
    close(file);
    close_taker(&a, &b);
    end();
}

static void what_is_not_taken_is_closed(void)
{
    struct client a;
    struct taker b;
    struct note note = {0};
    begin();
    int file = file_of("x", 1);
    int fds[5] = {file, file, file, file, file};
    NEED(open_taker(SOCKETPAIR, &a, &b));
    b.wanted = 2;
    int before = count_descriptors();
    CHECK_EQ(send_fds(&a, &note, fds, 5, "x"), 0);
    WAIT_FOR(b.client.size == 1);
    CHECK_EQ(b.count, 2);
    CHECK_EQ(count_descriptors(), before + 2);
    CHECK_EQ(ed_stream_take_fd(&b.client.stream), -ENOENT);
    close(file);
    close_taker(&a, &b);
    end();
}

static void close_reader(struct ed_stream *stream, char *data, int64_t size)
{
    note_read(stream, data, size);
    ed_stream_close(stream);
}

static void a_reader_that_closes_leaves_no_descriptor_behind(void)
{
    struct client a;
    struct taker b;
    struct note note = {0};
    begin();
    int file = file_of("x", 1);
    NEED(open_taker(SOCKETPAIR, &a, &b));
    CHECK_EQ(ed_stream_read_start(&b.client.stream, close_reader), 0);
    CHECK_EQ(send_fds(&a, &note, &file, 1, "x"), 0);
    WAIT_FOR(b.client.reads);
    close(file);
    close_taker(&a, &b);
    end(); // which counts them
}

static void who_does_not_take_them_does_not_get_them(void)
{
    struct client a;
    struct taker b;
    struct note note = {0};
    for (int finishes = 0; finishes < 2; finishes++) {
        begin();
        int file = file_of("x", 1);
        int fds[3] = {file, file, file};
        NEED(open_taker(SOCKETPAIR, &a, &b));
        b.client.stream.takes_fds = finishes;
        if (finishes)
            ed_stream_finish(&b.client.stream, 0, note_finish);
        int before = count_descriptors();
        CHECK_EQ(send_fds(&a, &note, fds, 3, "x"), 0);
        CHECK_EQ(ed_stream_end(&a.stream), 0);
        WAIT_FOR(finishes ? b.client.finishes : b.client.ends);
        CHECK_EQ(b.count, 0);
        CHECK_EQ(count_descriptors(), before - finishes);
        close(file);
        close_taker(&a, &b);
        end();
    }
}

static void who_asks_at_another_time_is_told_that_there_is_none(void)
{
    struct client a;
    struct taker b;
    begin();
    NEED(open_taker(SOCKETPAIR, &a, &b));
    CHECK_EQ(ed_stream_take_fd(&a.stream), -ENOENT);
    CHECK_EQ(ed_stream_take_fd(&b.client.stream), -ENOENT);
    CHECK_EQ(ed_stream_write(&a.stream, "x", 1), 0); // none with it
    WAIT_FOR(b.client.reads);
    CHECK_EQ(b.last, -ENOENT);
    close_taker(&a, &b);
    end();
}

static void a_receiver_out_of_descriptors_is_told_and_reads_on(void)
{
    if (is_in_valgrind())
        SKIP("valgrind receives more than the limit allows");
    struct client a;
    struct taker b;
    struct note note = {0}, later = {0};
    struct rlimit limit, low;
    begin();
    int file = file_of("x", 1);
    int fds[4] = {file, file, file, file};
    NEED(open_taker(SOCKETPAIR, &a, &b));
    CHECK_EQ(send_fds(&a, &note, fds, 4, "first"), 0);
    NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    int next = dup(0); // the lowest that is free
    close(next);
    low = limit;
    low.rlim_cur = (rlim_t)next;
    NEED(setrlimit(RLIMIT_NOFILE, &low) == 0);
    while (!b.client.reads && wait_turn())
        ;
    setrlimit(RLIMIT_NOFILE, &limit);
    CHECK(has_read(&b.client, "first"));
    CHECK(b.count < 4); // some were open below the limit
    CHECK_EQ(b.last, -EMFILE);
    CHECK_EQ(b.client.ends, 0);

    int before = b.count;
    b.wanted = 1000;
    CHECK_EQ(send_fds(&a, &later, fds, 4, " second"), 0);
    WAIT_FOR(b.client.size == 12);
    CHECK(has_read(&b.client, "first second"));
    CHECK_EQ(b.count, before + 4);
    CHECK_EQ(b.last, -ENOENT);
    close(file);
    close_taker(&a, &b);
    end();
}

static void pipes_take_no_descriptors(void)
{
    struct client a, b;
    struct note note = {0};
    begin();
    int file = file_of("x", 1);
    NEED(open_clients(PIPE, &a, &b));
    CHECK_EQ(send_fds(&a, &note, &file, 1, "x"), -EINVAL);
    b.stream.takes_fds = true;
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    CHECK_EQ(ed_stream_write(&a.stream, "x", 1), 0);
    WAIT_FOR(b.reads);
    close(file);
    close_clients(&a, &b);
    end();
}

TESTS(TEST(a_small_buffer_of_the_programs_own_gets_a_piece_a_turn),
      TEST(the_loop_lends_one_buffer_to_all_who_read_and_none_before),
      TEST(who_pauses_loses_nothing),
      TEST(who_is_paused_by_another_in_this_turn_reads_nothing_more),
      TEST(a_hangup_does_not_break_who_was_paused_in_the_same_turn),
      TEST(a_stream_may_be_freed_by_who_reads),
      TEST(a_stream_may_be_closed_by_another_that_is_ready_too),
      TEST(the_end_is_told_once_after_all_data),
      TEST(who_has_read_the_end_can_still_write),
      TEST(a_terminal_that_is_closed_ends),
      TEST(a_reset_is_told_once_and_breaks_the_stream),
      TEST(a_socket_closed_with_data_unread_is_reset),
      TEST(a_reset_is_no_end_to_who_reads_though_the_writer_saw_it_first),
      TEST(what_came_before_the_reader_closed_can_be_read),
      TEST(who_has_no_reader_any_more_still_gets_the_answer),
      TEST(to_read_from_the_writing_end_of_a_pipe_is_an_error),
      TEST(a_descriptor_goes_along_with_the_bytes),
      TEST(each_message_brings_its_own_descriptors_in_order),
      TEST(descriptors_that_have_to_wait_go_with_their_own_bytes),
      TEST(as_many_as_the_system_allows_go_at_once),
      TEST(a_large_write_brings_its_descriptors_once),
      TEST(what_is_not_taken_is_closed),
      TEST(a_reader_that_closes_leaves_no_descriptor_behind),
      TEST(who_does_not_take_them_does_not_get_them),
      TEST(who_asks_at_another_time_is_told_that_there_is_none),
      TEST(a_receiver_out_of_descriptors_is_told_and_reads_on),
      TEST(pipes_take_no_descriptors))
