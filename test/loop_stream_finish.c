/*
 * How streams end: half-close, the graceful close, the abrupt one.
 */
#include "test/stream.h"

enum { MUCH = 4000000 };

static char *much;

/* ---- end ----------------------------------------------------------------- */

static void end_comes_after_all_that_is_queued(void)
{
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct client a, b;
        struct note note = {0};
        if (!has_kind(kind) || kind == TERMINAL)
            continue;
        begin();
        much = pattern(MUCH);
        NEED(open_clients(kind, &a, &b));
        CHECK_EQ(ed_stream_write(&a.stream, much, MUCH), 0);
        CHECK_EQ(send_bytes(&a.stream, &note, much, MUCH), 0);
        CHECK(a.stream.queued > 0);
        CHECK_EQ(ed_stream_end(&a.stream), 0);
        CHECK_EQ(ed_stream_end(&a.stream), 0); // is not said twice
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        WAIT_FOR(b.ends && note.calls);
        CHECK_EQ(b.how, 0);
        CHECK_EQ(note.write.result, 0);
        CHECK_EQ(b.size, 2 * MUCH);
        CHECK(memcmp(b.data, much, MUCH) == 0);
        CHECK(memcmp(b.data + MUCH, much, MUCH) == 0);
        CHECK(ed_stream_is_open(&a.stream));
        check_quiet();
        free(much);
        close_clients(&a, &b);
        end();
    }
}

static void after_the_end_nothing_is_written(void)
{
    struct client a, b;
    struct note note = {0};
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    int file = file_of("x", 1);
    CHECK_EQ(ed_stream_end(&a.stream), 0);
    CHECK_EQ(ed_stream_write(&a.stream, "x", 1), -EPIPE);
    CHECK_EQ(ed_stream_write(&a.stream, "", 0), -EPIPE);
    CHECK_EQ(ed_stream_try_write(&a.stream, "x", 1), -EPIPE);
    CHECK_EQ(send_bytes(&a.stream, &note, "x", 1), -EPIPE);
    CHECK_EQ(ed_stream_send_file(&a.stream, &note.write, file, 0, 1, note_done),
             -EPIPE);
    check_quiet();
    CHECK_EQ(note.calls, 0);
    CHECK_EQ(a.stream.error, 0); // it is not broken
    CHECK_EQ(ed_stream_write(&b.stream, "x", 1), 0);
    CHECK_EQ(ed_stream_read_start(&a.stream, note_read), 0);
    WAIT_FOR(a.reads);
    close(file);
    close_clients(&a, &b);
    end();
}

static void the_end_of_a_pipe_closes_it(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(PIPE, &a, &b));
    int fd = a.stream.fd;
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    CHECK_EQ(ed_stream_end(&a.stream), 0);
    CHECK(fcntl(fd, F_GETFD) < 0);
    CHECK(ed_stream_is_open(&a.stream));
    WAIT_FOR(b.ends);
    CHECK_EQ(b.how, 0);
    CHECK_EQ(ed_stream_read_start(&a.stream, note_read), -EPIPE);
    CHECK_EQ(ed_stream_end(&a.stream), 0);
    ed_stream_unref(&a.stream);
    ed_stream_ref(&a.stream);
    check_quiet();
    close_clients(&a, &b);
    end();
}

static void the_end_of_the_reading_side_of_a_pipe_is_nothing(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(PIPE, &a, &b));
    CHECK_EQ(ed_stream_end(&b.stream), 0);
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    CHECK_EQ(ed_stream_write(&a.stream, "x", 1), 0);
    WAIT_FOR(b.reads);
    close_clients(&a, &b);
    end();
}

static void a_terminal_goes_on_after_the_end(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(TERMINAL, &a, &b));
    CHECK_EQ(ed_stream_end(&b.stream), 0);
    CHECK_EQ(ed_stream_write(&b.stream, "x", 1), -EPIPE);
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    CHECK_EQ(ed_stream_write(&a.stream, "x", 1), 0);
    WAIT_FOR(b.reads);
    CHECK_EQ(b.ends, 0);
    close_clients(&a, &b);
    end();
}

/* ---- finish -------------------------------------------------------------- */

static struct note last_note;
static bool is_inside; // a call of the library

static void note_finish_after_writes(struct ed_stream *stream)
{
    CHECK(!is_inside);
    CHECK_EQ(last_note.calls, 1);
    CHECK_EQ(stream->queued, 0);
    note_finish(stream);
}

static void finish_sends_all_of_it_and_waits_for_the_peer(void)
{
    for (enum kind kind = 0; kind < SOCKETS; kind++) {
        struct client a, b;
        if (!has_kind(kind))
            continue;
        begin();
        last_note = (struct note){0};
        much = pattern(MUCH);
        NEED(open_clients(kind, &a, &b));
        CHECK_EQ(ed_stream_write(&a.stream, much, MUCH), 0);
        CHECK_EQ(send_bytes(&a.stream, &last_note, much, MUCH), 0);
        is_inside = true;
        ed_stream_finish(&a.stream, 0, note_finish_after_writes);
        is_inside = false;
        CHECK_EQ(ed_stream_write(&a.stream, "x", 1), -EPIPE);
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        WAIT_FOR(b.ends);
        CHECK_EQ(b.size, 2 * MUCH);
        CHECK_EQ(b.how, 0);
        check_quiet();
        CHECK_EQ(a.finishes, 0);
        CHECK(ed_stream_is_open(&a.stream));
        ed_stream_close(&b.stream);
        WAIT_FOR(a.finishes);
        CHECK_EQ(a.error, 0);
        CHECK_EQ(a.finishes, 1);
        free(much);
        close_clients(&a, &b);
        end();
    }
}

static void finish_drops_what_the_peer_still_sends(void)
{
    for (enum kind kind = 0; kind < SOCKETS; kind++) {
        struct client a, b;
        char buffer[8] = "mine";
        if (!has_kind(kind))
            continue;
        begin();
        much = pattern(MUCH);
        NEED(open_clients(kind, &a, &b));
        a.stream.buffer = buffer;
        a.stream.buffer_size = sizeof buffer;
        CHECK_EQ(ed_stream_read_start(&a.stream, note_read), 0);
        CHECK_EQ(ed_stream_write(&b.stream, much, MUCH), 0);
        CHECK_EQ(ed_stream_write(&a.stream, "last", 4), 0);
        ed_stream_finish(&a.stream, 0, note_finish);
        CHECK_EQ(ed_stream_end(&b.stream), 0);
        WAIT_FOR(a.finishes);
        CHECK_EQ(a.error, 0);
        CHECK_EQ(a.reads + a.ends, 0);
        CHECK_STR(buffer, "mine");
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        WAIT_FOR(b.ends);
        CHECK(has_read(&b, "last"));
        CHECK_EQ(b.how, 0); // no reset
        free(much);
        close_clients(&a, &b);
        end();
    }
}

static void two_that_finish_with_much_to_send_do_not_wait_for_each_other(void)
{
    for (enum kind kind = 0; kind < SOCKETS; kind++) {
        struct client a, b;
        if (!has_kind(kind))
            continue;
        begin();
        much = pattern(MUCH);
        NEED(open_clients(kind, &a, &b));
        CHECK_EQ(ed_stream_write(&a.stream, much, MUCH), 0);
        CHECK_EQ(ed_stream_write(&b.stream, much, MUCH), 0);
        ed_stream_finish(&a.stream, 0, note_finish);
        ed_stream_finish(&b.stream, 0, note_finish);
        WAIT_FOR(a.finishes && b.finishes);
        CHECK_EQ(a.error, 0);
        CHECK_EQ(b.error, 0);
        free(much);
        close_clients(&a, &b);
        end();
    }
}

static void finish_ends_at_its_deadline(void)
{
    struct client a, b;
    begin();
    // All is sent, but the peer does not close.
    NEED(open_clients(TCP_IPV4, &a, &b));
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    CHECK_EQ(ed_stream_write(&a.stream, "last", 4), 0);
    ed_stream_finish(&a.stream, ED_MS, note_finish);
    WAIT_FOR(a.finishes);
    CHECK_EQ(a.error, -ETIMEDOUT);
    WAIT_FOR(b.ends);
    CHECK(has_read(&b, "last"));
    close_clients(&a, &b);

    // It does not even read.
    last_note = (struct note){0};
    much = pattern(MUCH);
    NEED(open_clients(SOCKETPAIR, &a, &b));
    CHECK_EQ(ed_stream_write(&a.stream, "x", 1), 0);
    CHECK_EQ(send_bytes(&a.stream, &last_note, much, MUCH), 0);
    ed_stream_finish(&a.stream, ED_MS, note_finish_after_writes);
    WAIT_FOR(a.finishes);
    CHECK_EQ(a.error, -ETIMEDOUT);
    CHECK_EQ(a.drains, 1);
    CHECK_EQ(last_note.write.result, -ETIMEDOUT);
    CHECK(last_note.write.sent > 0);
    CHECK(last_note.write.sent < MUCH);
    check_quiet();
    CHECK_EQ(a.finishes, 1);
    free(much);
    close_clients(&a, &b);
    end();
}

static void a_reset_ends_a_finish(void)
{
    for (int is_sent = 0; is_sent < 2; is_sent++) {
        struct client a, b;
        begin();
        last_note = (struct note){0};
        much = pattern(4 * MUCH);
        NEED(open_clients(TCP_IPV4, &a, &b));
        CHECK_EQ(
            send_bytes(&a.stream, &last_note, much, is_sent ? 1 : 4 * MUCH), 0);
        CHECK_EQ(a.stream.queued > 0, !is_sent);
        ed_stream_finish(&a.stream, 0, note_finish_after_writes);
        take_turn();
        CHECK_EQ(a.finishes, 0);
        ed_stream_abort(&b.stream);
        WAIT_FOR(a.finishes);
        CHECK_EQ(a.error, -ECONNRESET);
        CHECK_EQ(last_note.write.result, is_sent ? 0 : -ECONNRESET);
        free(much);
        close_clients(&a, &b);
        end();
    }
}

static void to_finish_what_was_reset_meanwhile_tells_so(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(TCP_IPV4, &a, &b));
    ed_stream_abort(&b.stream);
    ed_stream_finish(&a.stream, 0, note_finish);
    CHECK_EQ(a.finishes, 0);
    WAIT_FOR(a.finishes);
    CHECK_EQ(a.error, -ECONNRESET);
    close_clients(&a, &b);
    end();
}

static void to_finish_a_broken_stream_tells_what_broke_it(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(TCP_IPV4, &a, &b));
    CHECK_EQ(ed_stream_read_start(&a.stream, note_read), 0);
    ed_stream_abort(&b.stream);
    WAIT_FOR(a.ends);
    ed_stream_finish(&a.stream, 0, note_finish);
    CHECK_EQ(a.finishes, 0);
    take_turn();
    CHECK_EQ(a.finishes, 1);
    CHECK_EQ(a.error, -ECONNRESET);
    close_clients(&a, &b);
    end();
}

static void who_has_read_the_end_finishes_at_once(void)
{
    for (enum kind kind = 0; kind < SOCKETS; kind++) {
        struct client a, b;
        if (!has_kind(kind))
            continue;
        begin();
        NEED(open_clients(kind, &a, &b));
        CHECK_EQ(ed_stream_read_start(&a.stream, note_read), 0);
        CHECK_EQ(ed_stream_end(&b.stream), 0);
        WAIT_FOR(a.ends);
        CHECK_EQ(ed_stream_write(&a.stream, "last", 4), 0);
        ed_stream_finish(&a.stream, 0, note_finish);
        CHECK_EQ(a.finishes, 0);
        take_turn();
        CHECK_EQ(a.finishes, 1);
        CHECK_EQ(a.error, 0);
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        WAIT_FOR(b.ends);
        CHECK(has_read(&b, "last"));
        close_clients(&a, &b);
        end();
    }
}

static void a_pipe_is_finished_when_all_is_sent(void)
{
    struct client a, b;
    begin();
    last_note = (struct note){0};
    much = pattern(MUCH);
    NEED(open_clients(PIPE, &a, &b));
    CHECK_EQ(send_bytes(&a.stream, &last_note, much, MUCH), 0);
    ed_stream_finish(&a.stream, 0, note_finish_after_writes);
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    WAIT_FOR(a.finishes && b.ends);
    CHECK_EQ(a.error, 0);
    CHECK_EQ(b.size, MUCH);
    CHECK_EQ(b.how, 0);

    ed_stream_finish(&b.stream, 0, note_finish); // only read from
    WAIT_FOR(b.finishes);
    CHECK_EQ(b.error, 0);
    free(much);
    close_clients(&a, &b);
    end();
}

static void a_broken_pipe_ends_a_finish(void)
{
    struct client a, b;
    begin();
    last_note = (struct note){0};
    much = pattern(MUCH);
    NEED(open_clients(PIPE, &a, &b));
    CHECK_EQ(send_bytes(&a.stream, &last_note, much, MUCH), 0);
    ed_stream_finish(&a.stream, 0, note_finish_after_writes);
    take_turn();
    ed_stream_close(&b.stream);
    WAIT_FOR(a.finishes);
    CHECK_EQ(a.error, -EPIPE);
    CHECK_EQ(last_note.write.result, -EPIPE);
    free(much);
    close_clients(&a, &b);
    end();
}

static void a_terminal_is_finished_when_all_is_sent(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(TERMINAL, &a, &b));
    CHECK_EQ(ed_stream_write(&a.stream, "keys", 4), 0);
    CHECK_EQ(ed_stream_write(&b.stream, "screen", 6), 0);
    ed_stream_finish(&b.stream, 0, note_finish);
    WAIT_FOR(b.finishes);
    CHECK_EQ(b.error, 0);
    close_clients(&a, &b);
    end();
}

/* What is typed is for whoever comes next. */
static void finish_leaves_what_a_terminal_has_to_read(void)
{
    struct client a, b;
    char keys[8];
    begin();
    NEED(open_clients(TERMINAL, &a, &b));
    int again = dup(b.stream.fd);
    much = pattern(MUCH);
    CHECK_EQ(ed_stream_write(&b.stream, much, MUCH), 0);
    CHECK(b.stream.queued > 0);
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    ed_stream_finish(&b.stream, 0, note_finish);
    CHECK_EQ(ed_stream_write(&a.stream, "keys", 4), 0);
    take_turn();
    take_turn();
    CHECK_EQ(b.finishes, 0);
    CHECK_EQ(ed_stream_read_start(&a.stream, note_read), 0);
    WAIT_FOR(b.finishes);
    CHECK_EQ(read(again, keys, sizeof keys), 4);
    close(again);
    free(much);
    close_clients(&a, &b);
    end();
}

static int finished;

static void free_at_finish(struct ed_stream *stream)
{
    CHECK_EQ(stream->error, 0);
    finished++;
    free(client_of(stream));
}

static void a_finished_stream_may_be_freed_in_the_callback(void)
{
    struct client *a = calloc(1, sizeof *a), b = {0};
    int fds[2];
    begin();
    finished = 0;
    NEED(open_pair(SOCKETPAIR, fds));
    NEED(ed_stream_open(&loop, &a->stream, fds[0]) == 0);
    NEED(ed_stream_open(&loop, &b.stream, fds[1]) == 0);
    CHECK_EQ(ed_stream_write(&a->stream, "last", 4), 0);
    ed_stream_finish(&a->stream, 3600 * ED_S, free_at_finish);
    ed_stream_finish(&b.stream, 0, note_finish);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(finished, 1);
    CHECK_EQ(b.finishes, 1);
    close_client(&b);
    end();
}

static void close_in_done(struct ed_write *write)
{
    note_done(write);
    ed_stream_close(write->stream);
}

static void close_calls_no_finish(void)
{
    struct client a, b;
    struct note note = {0};
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    ed_stream_finish(&a.stream, ED_MS, note_finish);
    ed_stream_close(&a.stream);
    check_quiet();
    CHECK_EQ(a.finishes, 0);
    close_clients(&a, &b);

    NEED(open_clients(SOCKETPAIR, &a, &b));
    note.write.part = (struct iovec){(void *)"x", 1};
    CHECK_EQ(ed_stream_send(&a.stream, &note.write, &note.write.part, 1,
                            close_in_done),
             0);
    ed_stream_end(&b.stream);
    ed_stream_finish(&a.stream, 0, note_finish);
    WAIT_FOR(note.calls);
    check_quiet();
    CHECK_EQ(a.finishes, 0);
    close_clients(&a, &b);
    end();
}

static void finish_in_done(struct ed_write *write)
{
    note_done(write);
    ed_stream_finish(write->stream, 0, note_finish);
    CHECK_EQ(client_of(write->stream)->finishes, 0);
}

static void finish_may_begin_in_a_callback(void)
{
    struct client a, b;
    struct note note = {0}, after = {0};
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    CHECK_EQ(ed_stream_read_start(&a.stream, note_read), 0);
    ed_stream_end(&b.stream);
    WAIT_FOR(a.ends);
    note.write.part = (struct iovec){(void *)"x", 1};
    CHECK_EQ(ed_stream_send(&a.stream, &note.write, &note.write.part, 1,
                            finish_in_done),
             0);
    CHECK_EQ(send_bytes(&a.stream, &after, "y", 1), 0);
    WAIT_FOR(a.finishes);
    CHECK_EQ(a.error, 0);
    CHECK_EQ(after.calls, 1);
    close_clients(&a, &b);
    end();
}

static void finish_may_begin_while_connecting(void)
{
    struct ed_address address;
    struct client a = {0}, b = {0};
    begin();
    NEED(free_address(TCP_IPV4, &address));
    int listener = listen_at(&address, 1);
    CHECK_EQ(ed_stream_connect(&loop, &a.stream, &address, ED_S, note_connect),
             0);
    CHECK_EQ(ed_stream_write(&a.stream, "all", 3), 0);
    ed_stream_finish(&a.stream, 0, note_finish);
    CHECK_EQ(ed_stream_open(&loop, &b.stream, accept(listener, NULL, NULL)), 0);
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    WAIT_FOR(b.ends);
    CHECK(has_read(&b, "all"));
    close_client(&b);
    WAIT_FOR(a.finishes);
    CHECK_EQ(a.error, 0);
    CHECK_EQ(a.connects, 0); // one callback is the end of it
    close(listener);
    close_client(&a);
    end();
}

static void a_finish_begun_while_connecting_keeps_its_deadline(void)
{
    struct ed_address address;
    struct client a = {0};
    begin();
    NEED(free_address(TCP_IPV4, &address));
    int listener = listen_at(&address, 1); // that does not even accept
    CHECK_EQ(ed_stream_connect(&loop, &a.stream, &address, 0, note_connect), 0);
    ed_stream_finish(&a.stream, 10 * ED_MS, note_finish);
    WAIT_FOR(a.finishes);
    CHECK_EQ(a.error, -ETIMEDOUT);
    CHECK_EQ(a.connects, 0);
    close(listener);
    close_client(&a);
    end();
}

static void a_finish_that_cannot_connect_tells_so(void)
{
    struct ed_address address;
    struct client a = {0};
    int clients[8];
    begin();
    NEED(free_address(TCP_IPV4, &address));
    int listener = listen_at(&address, 0);
    for (int i = 0; i < 8; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        set_nonblocking(clients[i]);
        (void)connect(clients[i], &address.socket.any, address.size);
    }
    last_note = (struct note){0};
    CHECK_EQ(ed_stream_connect(&loop, &a.stream, &address, 0, note_connect), 0);
    CHECK_EQ(send_bytes(&a.stream, &last_note, "all", 3), 0);
    ed_stream_finish(&a.stream, ED_MS, note_finish_after_writes);
    WAIT_FOR(a.finishes);
    CHECK_EQ(a.error, -ETIMEDOUT);
    CHECK_EQ(last_note.write.result, -ETIMEDOUT);
    CHECK_EQ(a.connects, 0);
    close(listener);
    for (int i = 0; i < 8; i++)
        close(clients[i]);
    close_client(&a);
    end();
}

/* The deadline is due, too, when the loop gets to it. */
static void what_is_finished_already_does_not_miss_its_deadline(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    CHECK_EQ(ed_stream_read_start(&a.stream, note_read), 0);
    ed_stream_close(&b.stream);
    WAIT_FOR(a.ends);
    ed_stream_finish(&a.stream, 1, note_finish);
    uint64_t due_ns = ed_clock_ns() + 10;
    while (ed_clock_ns() < due_ns)
        ;
    WAIT_FOR(a.finishes);
    CHECK_EQ(a.error, 0);
    close_clients(&a, &b);
    end();
}

/* ---- abort --------------------------------------------------------------- */

static void an_abort_resets_the_connection_whatever_is_queued(void)
{
    for (enum kind kind = TCP_IPV4; kind <= TCP_IPV6; kind++) {
        struct client a, b;
        struct note note = {0};
        begin();
        much = pattern(MUCH);
        NEED(open_clients(kind, &a, &b));
        CHECK_EQ(send_bytes(&a.stream, &note, much, MUCH), 0);
        take_turn();
        ed_stream_abort(&a.stream);
        CHECK(!ed_stream_is_open(&a.stream));
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        WAIT_FOR(b.ends);
        CHECK_EQ(b.how, -ECONNRESET);
        check_quiet();
        CHECK_EQ(note.calls, 0);
        free(much);
        close_clients(&a, &b);
        end();
    }
}

static void an_abort_of_what_knows_no_reset_closes_it(void)
{
    static const enum kind kinds[] = {SOCKETPAIR, PIPE, UNIX_PATH};
    for (int i = 0; i < 3; i++) {
        struct client a, b;
        begin();
        NEED(open_clients(kinds[i], &a, &b));
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        ed_stream_abort(&a.stream);
        WAIT_FOR(b.ends);
        CHECK_EQ(b.how, 0);
        close_clients(&a, &b);
        end();
    }
}

static void a_pipe_that_has_ended_can_be_aborted(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(PIPE, &a, &b));
    CHECK_EQ(ed_stream_end(&a.stream), 0);
    ed_stream_abort(&a.stream);
    CHECK(!ed_stream_is_open(&a.stream));
    close_clients(&a, &b);
    end();
}

TESTS(TEST(end_comes_after_all_that_is_queued),
      TEST(after_the_end_nothing_is_written), TEST(the_end_of_a_pipe_closes_it),
      TEST(the_end_of_the_reading_side_of_a_pipe_is_nothing),
      TEST(a_terminal_goes_on_after_the_end),
      TEST(finish_sends_all_of_it_and_waits_for_the_peer),
      TEST(finish_drops_what_the_peer_still_sends),
      TEST(two_that_finish_with_much_to_send_do_not_wait_for_each_other),
      TEST(finish_ends_at_its_deadline), TEST(a_reset_ends_a_finish),
      TEST(to_finish_what_was_reset_meanwhile_tells_so),
      TEST(to_finish_a_broken_stream_tells_what_broke_it),
      TEST(who_has_read_the_end_finishes_at_once),
      TEST(a_pipe_is_finished_when_all_is_sent),
      TEST(a_broken_pipe_ends_a_finish),
      TEST(a_terminal_is_finished_when_all_is_sent),
      TEST(finish_leaves_what_a_terminal_has_to_read),
      TEST(a_finished_stream_may_be_freed_in_the_callback),
      TEST(close_calls_no_finish), TEST(finish_may_begin_in_a_callback),
      TEST(finish_may_begin_while_connecting),
      TEST(a_finish_begun_while_connecting_keeps_its_deadline),
      TEST(a_finish_that_cannot_connect_tells_so),
      TEST(what_is_finished_already_does_not_miss_its_deadline),
      TEST(an_abort_resets_the_connection_whatever_is_queued),
      TEST(an_abort_of_what_knows_no_reset_closes_it),
      TEST(a_pipe_that_has_ended_can_be_aborted))
