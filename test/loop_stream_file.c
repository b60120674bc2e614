/*
 * Files that streams send.
 */
#include "test/stream.h"

enum { MUCH = 1000000 };

static const enum kind both_ways[] = {SOCKETPAIR, TCP_IPV4, TERMINAL, PIPE};

static int turns;

static void a_file_is_sent_whole_or_in_part(void)
{
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct client a, b;
        struct note whole = {0}, part = {0};
        if (!has_kind(kind))
            continue;
        begin();
        NEED(open_clients(kind, &a, &b));
        char *bytes = pattern(MUCH);
        int file = file_of(bytes, MUCH);
        CHECK_EQ(lseek(file, 77, SEEK_SET), 77);
        CHECK_EQ(ed_stream_write(&a.stream, "head", 4), 0);
        CHECK_EQ(ed_stream_send_file(&a.stream, &whole.write, file, 0, MUCH,
                                     note_done),
                 0);
        CHECK_EQ(ed_stream_write(&a.stream, "middle", 6), 0);
        CHECK_EQ(ed_stream_send_file(&a.stream, &part.write, file, 1000, 5000,
                                     note_done),
                 0);
        CHECK_EQ(ed_stream_write(&a.stream, "tail", 4), 0);
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        WAIT_FOR(b.size == MUCH + 5014 && part.calls);
        CHECK(memcmp(b.data, "head", 4) == 0);
        CHECK(memcmp(b.data + 4, bytes, MUCH) == 0);
        CHECK(memcmp(b.data + 4 + MUCH, "middle", 6) == 0);
        CHECK(memcmp(b.data + 10 + MUCH, bytes + 1000, 5000) == 0);
        CHECK(memcmp(b.data + 5010 + MUCH, "tail", 4) == 0);
        CHECK_EQ(whole.write.result, 0);
        CHECK_EQ(whole.write.sent, MUCH);
        CHECK_EQ(part.write.sent, 5000);
        CHECK_EQ(lseek(file, 0, SEEK_CUR), 77); // stays where it was
        CHECK_EQ(a.stream.copied, 0);
        close(file);
        free(bytes);
        close_clients(&a, &b);
        end();
    }
}

static void a_file_that_is_shorter_breaks_the_stream(void)
{
    for (int i = 0; i < 4; i++) {
        struct client a, b;
        struct note note = {0}, after = {0};
        begin();
        NEED(open_clients(both_ways[i], &a, &b));
        char *bytes = pattern(MUCH);
        int file = file_of(bytes, 1000);
        CHECK_EQ(ed_stream_send_file(&a.stream, &note.write, file, 100, 1000,
                                     note_done),
                 0);
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        int err = send_bytes(&a.stream, &after, "x", 1);
        WAIT_FOR(note.calls && b.size == 900);
        CHECK_EQ(note.write.result, -ENODATA);
        CHECK_EQ(note.write.sent, 900);
        CHECK_EQ(a.stream.error, -ENODATA);
        CHECK(err == -ENODATA || after.write.result == -ENODATA);
        CHECK_EQ(ed_stream_write(&a.stream, "x", 1), -ENODATA);
        check_quiet();
        CHECK(memcmp(b.data, bytes + 100, 900) == 0);
        close(file);
        free(bytes);
        close_clients(&a, &b);
        end();
    }
}

static void a_range_or_file_that_is_none_is_refused(void)
{
    struct client a, b;
    struct note note = {0};
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    int file = file_of("x", 1);
    CHECK_EQ(ed_stream_send_file(&a.stream, &note.write, -1, 0, 1, note_done),
             -EBADF);
    CHECK_EQ(ed_stream_send_file(&a.stream, &note.write, file, UINT64_MAX, 1,
                                 note_done),
             -EINVAL);
    CHECK_EQ(ed_stream_send_file(&a.stream, &note.write, file, 1, INT64_MAX,
                                 note_done),
             -EINVAL);
    note.write.fds = &file;
    note.write.fd_count = 1;
    CHECK_EQ(ed_stream_send_file(&a.stream, &note.write, file, 0, 1, note_done),
             -EINVAL);
    check_quiet();
    CHECK_EQ(note.calls, 0);
    CHECK_EQ(a.stream.error, 0);
    close(file);
    close_clients(&a, &b);
    end();
}

static void a_descriptor_that_is_no_file_breaks_the_stream(void)
{
    struct client a, b;
    struct note note = {0};
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    int directory = open("/", O_RDONLY);
    CHECK_EQ(
        ed_stream_send_file(&a.stream, &note.write, directory, 0, 1, note_done),
        0);
    WAIT_FOR(note.calls);
    CHECK(note.write.result < 0);
    CHECK_EQ(a.stream.error, note.write.result);
    close(directory);
    close_clients(&a, &b);
    end();
}

/* Such files have nothing that could be passed on without being copied. */
static void a_file_that_is_made_up_as_it_is_read_is_sent(void)
{
    for (int i = 0; i < 4; i++) {
        struct client a, b;
        struct note note = {0};
        char bytes[64];
        int file = open("/proc/self/stat", O_RDONLY);
        if (file < 0)
            SKIP("no /proc");
        CHECK_EQ(pread(file, bytes, 8, 0), 8);
        close(file);
        begin();
        NEED(open_clients(both_ways[i], &a, &b));
        file = open("/proc/self/stat", O_RDONLY);
        CHECK_EQ(
            ed_stream_send_file(&a.stream, &note.write, file, 0, 8, note_done),
            0);
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        WAIT_FOR(note.calls);
        CHECK_EQ(note.write.result, 0);
        WAIT_FOR(b.size == 8 || a.stream.error);
        CHECK(b.size == 8 && memcmp(b.data, bytes, 8) == 0);
        close(file);
        close_clients(&a, &b);
        end();
    }
}

static uint64_t eaten;

static void eat(struct ed_stream *stream, char *data, int64_t size)
{
    CHECK(size > 0);
    (void)stream;
    (void)data;
    eaten += (uint64_t)size;
}

static void count_fire(struct ed_timer *timer)
{
    (void)timer;
    turns++;
}

static void a_huge_file_lets_others_have_their_turn(void)
{
    struct client a, b;
    struct note note = {0};
    struct ed_timer timer = {0};
    const uint64_t size = 64 * 1024 * 1024;
    begin();
    NEED(open_clients(TCP_IPV4, &a, &b));
    int file = file_of("", 0);
    NEED(ftruncate(file, (off_t)size) == 0); // holes are cheap to send
    eaten = 0;
    turns = 0;
    ed_timer_repeat(&loop, &timer, 1, count_fire); // each turn
    CHECK_EQ(ed_stream_read_start(&b.stream, eat), 0);
    CHECK_EQ(
        ed_stream_send_file(&a.stream, &note.write, file, 0, size, note_done),
        0);
    CHECK(size - a.stream.queued <= 2 * 1024 * 1024); // not all in one go
    WAIT_FOR(eaten == size && note.calls);
    CHECK(turns >= 30);
    CHECK_EQ(note.write.result, 0);
    ed_timer_stop(&timer);
    close(file);
    close_clients(&a, &b);
    end();
}

TESTS(TEST(a_file_is_sent_whole_or_in_part),
      TEST(a_file_that_is_shorter_breaks_the_stream),
      TEST(a_range_or_file_that_is_none_is_refused),
      TEST(a_descriptor_that_is_no_file_breaks_the_stream),
      TEST(a_file_that_is_made_up_as_it_is_read_is_sent),
      TEST(a_huge_file_lets_others_have_their_turn))
