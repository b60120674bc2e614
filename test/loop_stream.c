/*
 * The life of streams: opening, connecting, what can be asked of them. Reading
 * and its end are in loop_stream_read.c, writing in loop_stream_write.c, the
 * graceful end in loop_stream_finish.c.
 */
#include "test/stream.h"

#include <netinet/tcp.h>

/* ---- open and close ------------------------------------------------------ */

static void bytes_arrive_on_every_kind(void)
{
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct client a, b;
        if (!has_kind(kind))
            continue;
        begin();
        NEED(open_clients(kind, &a, &b));
        CHECK(ed_stream_is_open(&a.stream));
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        CHECK_EQ(ed_stream_write(&a.stream, "hello ", 6), 0);
        CHECK_EQ(ed_stream_write(&a.stream, "world", 5), 0);
        CHECK_EQ(a.stream.queued, 0);
        WAIT_FOR(b.size >= 11);
        CHECK(has_read(&b, "hello world"));
        if (kind != PIPE) {
            CHECK_EQ(ed_stream_read_start(&a.stream, note_read), 0);
            CHECK_EQ(ed_stream_write(&b.stream, "back", 4), 0);
            WAIT_FOR(a.size >= 4);
            CHECK(has_read(&a, "back"));
        }
        CHECK_EQ(a.ends + b.ends, 0);
        check_quiet();
        close_clients(&a, &b);
        end();
    }
}

static void a_stream_that_is_not_open_can_be_closed(void)
{
    struct client a = {0};
    begin();
    ed_stream_close(&a.stream);
    ed_stream_abort(&a.stream);
    CHECK(!ed_stream_is_open(&a.stream));
    CHECK(fcntl(0, F_GETFD) >= 0 || errno == EBADF); // fd 0 is not closed
    end();
}

static void a_closed_stream_can_be_opened_again(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    a.stream.high_water = 10;
    set_nonblocking(a.stream.fd);
    CHECK_EQ(ed_stream_end(&a.stream), 0);
    CHECK_EQ(ed_stream_write(&a.stream, "x", 1), -EPIPE);
    ed_stream_close(&a.stream);
    ed_stream_close(&b.stream);
    CHECK(!ed_stream_is_open(&a.stream));

    int fds[2];
    NEED(open_pair(TCP_IPV4, fds));
    set_nonblocking(fds[0]);
    ed_stream_open_socket(&loop, &a.stream, fds[0]);
    CHECK_EQ(ed_stream_open(&loop, &b.stream, fds[1]), 0);
    CHECK_EQ(a.stream.high_water, 10); // what is the program's stays
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    CHECK_EQ(ed_stream_write(&a.stream, "again", 5), 0);
    WAIT_FOR(b.size == 5);
    close_clients(&a, &b);
    end();
}

static void check_refused(int fd, int err)
{
    struct client a = {0};
    int flags = fcntl(fd, F_GETFL);
    CHECK_EQ(ed_stream_open(&loop, &a.stream, fd), err);
    CHECK(!ed_stream_is_open(&a.stream));
    CHECK_EQ(fcntl(fd, F_GETFL), flags);
}

static void files_directories_and_nothing_are_no_streams(void)
{
    begin();
    int file = file_of("x", 1), directory = open("/", O_RDONLY);
    check_refused(file, -EPERM);
    check_refused(directory, -EPERM);
    close(file);
    close(directory);
    check_refused(file, -EBADF);
    check_refused(-1, -EBADF);
    end();
}

static void what_is_opened_becomes_non_blocking(void)
{
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct client a, b;
        if (!has_kind(kind))
            continue;
        begin();
        NEED(open_clients(kind, &a, &b));
        CHECK(fcntl(a.stream.fd, F_GETFL) & O_NONBLOCK);
        CHECK(fcntl(b.stream.fd, F_GETFL) & O_NONBLOCK);
        close_clients(&a, &b);
        end();
    }
}

static void close_closes_the_descriptor_at_once(void)
{
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct client a, b;
        if (!has_kind(kind))
            continue;
        begin();
        NEED(open_clients(kind, &a, &b));
        int fd = a.stream.fd;
        ed_stream_close(&a.stream);
        CHECK(fcntl(fd, F_GETFD) < 0);
        CHECK_EQ(a.stream.fd, -1);
        close_clients(&a, &b);
        end();
    }
}

static void only_a_stream_with_a_ref_keeps_the_loop_alive(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(TCP_IPV4, &a, &b));
    CHECK(ed_loop_is_alive(&loop));
    ed_stream_unref(&a.stream);
    CHECK(ed_loop_is_alive(&loop));
    ed_stream_unref(&b.stream);
    CHECK(!ed_loop_is_alive(&loop));
    CHECK_EQ(ed_stream_read_start(&a.stream, note_read), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    ed_stream_ref(&a.stream);
    CHECK(ed_loop_is_alive(&loop));

    // Whoever is to be called back is waited for all the same.
    struct note note = {0};
    ed_stream_unref(&a.stream);
    CHECK_EQ(send_bytes(&a.stream, &note, "x", 1), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(note.calls, 1);
    close_clients(&a, &b);
    end();
}

/* ---- connect ------------------------------------------------------------- */

static void connects_to_every_kind_of_address(void)
{
    for (enum kind kind = TCP_IPV4; kind <= UNIX_ABSTRACT; kind++) {
        struct ed_address address, seen;
        struct client a = {0};
        if (!has_kind(kind))
            continue;
        begin();
        NEED(free_address(kind, &address));
        int listener = listen_at(&address, 1);
        NEED(listener >= 0);
        CHECK_EQ(ed_stream_connect(&loop, &a.stream, &address, 5 * ED_S,
                                   note_connect),
                 0);
        CHECK(ed_stream_is_open(&a.stream));
        CHECK_EQ(a.connects, 0);
        WAIT_FOR(a.connects);
        CHECK_EQ(a.error, 0);
        CHECK(!ed_timer_is_active(&a.stream.timer)); // the deadline was kept
        CHECK_EQ(ed_stream_peer(&a.stream, &seen), 0);
        CHECK(ed_address_is_same(&seen, &address));
        CHECK(fcntl(a.stream.fd, F_GETFL) & O_NONBLOCK);
        CHECK(fcntl(a.stream.fd, F_GETFD) & FD_CLOEXEC);

        int fd = accept(listener, NULL, NULL);
        CHECK_EQ(ed_stream_write(&a.stream, "hi", 2), 0);
        char bytes[4];
        CHECK_EQ(read(fd, bytes, sizeof bytes), 2);
        check_quiet();
        CHECK_EQ(a.connects, 1);
        close(fd);
        close(listener);
        remove_path(&address);
        close_client(&a);
        end();
    }
}

/* At once or later, that is the system's affair. Returns the error. */
static int connect_in_vain(const struct ed_address *address,
                           const struct ed_address *local)
{
    struct client a = {.stream = {.local = local}};
    int err =
        ed_stream_connect(&loop, &a.stream, address, 5 * ED_S, note_connect);
    CHECK_EQ(a.connects, 0);
    if (err) {
        CHECK(!ed_stream_is_open(&a.stream));
        take_turn();
        CHECK_EQ(a.connects, 0);
        return err;
    }
    WAIT_FOR(a.connects);
    CHECK_EQ(a.connects, 1);
    CHECK(!ed_stream_is_open(&a.stream));
    return a.error;
}

/* An address where nobody listens any more. */
static bool deserted_address(enum kind kind, struct ed_address *address)
{
    if (!free_address(kind, address))
        return false;
    int listener = listen_at(address, 1);
    close(listener);
    return listener >= 0;
}

static void where_nobody_listens_it_is_refused(void)
{
    for (enum kind kind = TCP_IPV4; kind <= UNIX_ABSTRACT; kind++) {
        struct ed_address address;
        if (!has_kind(kind))
            continue;
        begin();
        NEED(deserted_address(kind, &address));
        CHECK_EQ(connect_in_vain(&address, NULL), -ECONNREFUSED);
        remove_path(&address);
        end();
    }
}

static void a_socket_that_is_not_there_is_not_found(void)
{
    struct ed_address address;
    begin();
    NEED(free_address(UNIX_PATH, &address));
    CHECK_EQ(connect_in_vain(&address, NULL), -ENOENT);
    end();
}

static void a_family_that_is_none_is_refused_at_once(void)
{
    struct ed_address address;
    struct client a = {0};
    begin();
    NEED(ed_address_parse(&address, "127.0.0.1:1") == 0);
    address.socket.any.sa_family = 250;
    CHECK_EQ(ed_stream_connect(&loop, &a.stream, &address, 0, note_connect),
             -EAFNOSUPPORT);
    end();
}

/*
 * A listener that takes no more: to connect takes for ever. The clients that
 * fill it are closed with it.
 */
struct full_listener {
    int fd;
    int clients[8];
};

static bool open_full_listener(struct full_listener *full,
                               struct ed_address *address)
{
    if (!free_address(TCP_IPV4, address))
        return false;
    full->fd = listen_at(address, 0);
    for (int i = 0; i < 8; i++) {
        full->clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        set_nonblocking(full->clients[i]);
        if (connect(full->clients[i], &address->socket.any, address->size) &&
            errno != EINPROGRESS)
            return false;
    }
    return full->fd >= 0;
}

static void close_full_listener(struct full_listener *full)
{
    close(full->fd);
    for (int i = 0; i < 8; i++)
        close(full->clients[i]);
}

static void a_connect_ends_at_its_deadline(void)
{
    struct ed_address address;
    struct full_listener full;
    struct client a = {0};
    begin();
    NEED(open_full_listener(&full, &address));
    CHECK_EQ(ed_stream_connect(&loop, &a.stream, &address, ED_MS, note_connect),
             0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(a.connects, 1);
    CHECK_EQ(a.error, -ETIMEDOUT);
    CHECK(!ed_stream_is_open(&a.stream));
    close_full_listener(&full);
    end();
}

static struct note order[3];

static void note_connect_after_writes(struct ed_stream *stream)
{
    note_connect(stream);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(order[i].calls, 1);
}

static void what_was_written_gets_the_error_of_the_connect(void)
{
    struct ed_address address;
    struct full_listener full;
    struct client a = {.stream = {.high_water = 1, .on_drain = note_drain}};
    begin();
    memset(order, 0, sizeof order);
    notes = 0;
    int file = file_of("file", 4);
    NEED(open_full_listener(&full, &address));
    CHECK_EQ(ed_stream_connect(&loop, &a.stream, &address, ED_MS,
                               note_connect_after_writes),
             0);
    CHECK_EQ(ed_stream_write(&a.stream, "copy", 4), 0);
    CHECK_EQ(send_bytes(&a.stream, &order[0], "12", 2), 0);
    CHECK_EQ(ed_stream_write(&a.stream, "copy", 4), 0);
    CHECK_EQ(send_bytes(&a.stream, &order[1], "", 0), 0);
    CHECK_EQ(
        ed_stream_send_file(&a.stream, &order[2].write, file, 0, 4, note_done),
        0);
    CHECK_EQ(ed_stream_try_write(&a.stream, "x", 1), -EAGAIN);
    CHECK_EQ(a.stream.queued, 14);
    CHECK_EQ(ed_stream_read_start(&a.stream, note_read), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(a.connects, 1);
    CHECK_EQ(a.error, -ETIMEDOUT);
    CHECK_EQ(a.drains, 1);
    CHECK_EQ(a.ends, 0);
    CHECK_EQ(a.stream.queued, 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(order[i].calls, 1);
        CHECK_EQ(order[i].number, i);
        CHECK_EQ(order[i].write.result, -ETIMEDOUT);
        CHECK_EQ(order[i].write.sent, 0);
    }
    close(file);
    close_full_listener(&full);
    end();
}

static void what_is_written_while_connecting_is_sent_in_order(void)
{
    for (enum kind kind = TCP_IPV4; kind <= UNIX_ABSTRACT; kind++) {
        struct ed_address address;
        struct client a = {0}, b = {0};
        struct note note = {0};
        if (!has_kind(kind))
            continue;
        begin();
        int file = file_of("-file", 5);
        NEED(free_address(kind, &address));
        int listener = listen_at(&address, 1);
        CHECK_EQ(ed_stream_connect(&loop, &a.stream, &address, 0, note_connect),
                 0);
        CHECK_EQ(ed_stream_read_start(&a.stream, note_read), 0);
        CHECK_EQ(ed_stream_write(&a.stream, "copy", 4), 0);
        CHECK_EQ(
            ed_stream_send_file(&a.stream, &note.write, file, 0, 5, note_done),
            0);
        CHECK_EQ(ed_stream_write(&a.stream, "-end", 4), 0);
        CHECK_EQ(ed_stream_end(&a.stream), 0);
        CHECK_EQ(ed_stream_write(&a.stream, "x", 1), -EPIPE);
        int fd = accept(listener, NULL, NULL);
        CHECK_EQ(ed_stream_open(&loop, &b.stream, fd), 0);
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        CHECK_EQ(ed_stream_write(&b.stream, "answer", 6), 0);
        WAIT_FOR(b.ends && a.size == 6 && note.calls);
        CHECK(has_read(&b, "copy-file-end"));
        CHECK(has_read(&a, "answer"));
        CHECK_EQ(b.how, 0);
        CHECK_EQ(a.connects, 1);
        CHECK_EQ(note.calls, 1);
        CHECK_EQ(note.write.result, 0);
        close(file);
        close(listener);
        remove_path(&address);
        close_clients(&a, &b);
        end();
    }
}

static void close_while_connecting_calls_nothing(void)
{
    struct ed_address address;
    struct note note = {0};
    begin();
    NEED(free_address(TCP_IPV4, &address));
    int listener = listen_at(&address, 4);
    for (int turns = 0; turns < 2; turns++) {
        struct client *a = calloc(1, sizeof *a);
        CHECK_EQ(
            ed_stream_connect(&loop, &a->stream, &address, ED_S, note_connect),
            0);
        CHECK_EQ(ed_stream_write(&a->stream, "x", 1), 0);
        CHECK_EQ(send_bytes(&a->stream, &note, "x", 1), 0);
        if (turns)
            ed_stream_abort(&a->stream);
        else
            ed_stream_close(&a->stream);
        free(a);
        check_quiet();
        CHECK_EQ(note.calls, 0);
    }
    close(listener);
    end();
}

static void close_on_connect(struct ed_stream *stream)
{
    note_connect(stream);
    struct client *client = client_of(stream);
    ed_stream_close(stream);
    client->connects = 100;
}

static void a_stream_can_be_closed_when_it_is_connected(void)
{
    struct ed_address address;
    struct client a = {0};
    struct note note = {0};
    begin();
    NEED(free_address(TCP_IPV4, &address));
    int listener = listen_at(&address, 4);
    CHECK_EQ(
        ed_stream_connect(&loop, &a.stream, &address, ED_S, close_on_connect),
        0);
    CHECK_EQ(send_bytes(&a.stream, &note, "x", 1), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(a.connects, 100);
    CHECK_EQ(note.calls, 0);
    close(listener);
    end();
}

static struct ed_address where_to;

static void connect_again(struct ed_stream *stream)
{
    note_connect(stream);
    CHECK(!ed_stream_is_open(stream));
    if (client_of(stream)->connects < 3)
        CHECK_EQ(
            ed_stream_connect(&loop, stream, &where_to, ED_MS, connect_again),
            0);
}

static void who_fails_to_connect_can_try_again_in_the_callback(void)
{
    struct full_listener full;
    struct client a = {0};
    begin();
    NEED(open_full_listener(&full, &where_to));
    CHECK_EQ(
        ed_stream_connect(&loop, &a.stream, &where_to, ED_MS, connect_again),
        0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(a.connects, 3);
    CHECK_EQ(a.error, -ETIMEDOUT);
    close_full_listener(&full);
    end();
}

static void free_on_connect(struct ed_stream *stream)
{
    CHECK_EQ(stream->error, -ETIMEDOUT);
    free(client_of(stream));
}

static void who_fails_to_connect_can_be_freed_in_the_callback(void)
{
    struct ed_address address;
    struct full_listener full;
    struct client *a = calloc(1, sizeof *a);
    begin();
    NEED(open_full_listener(&full, &address));
    CHECK_EQ(
        ed_stream_connect(&loop, &a->stream, &address, ED_MS, free_on_connect),
        0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    close_full_listener(&full);
    end();
}

static void close_in_done(struct ed_write *write)
{
    note_done(write);
    ed_stream_close(write->stream);
}

static void a_close_by_the_first_write_ends_it_all(void)
{
    struct ed_address address;
    struct full_listener full;
    struct client a = {0};
    struct note first = {0}, second = {0};
    begin();
    NEED(open_full_listener(&full, &address));
    CHECK_EQ(ed_stream_connect(&loop, &a.stream, &address, ED_MS, note_connect),
             0);
    first.write.part = (struct iovec){(void *)"x", 1};
    CHECK_EQ(ed_stream_send(&a.stream, &first.write, &first.write.part, 1,
                            close_in_done),
             0);
    CHECK_EQ(send_bytes(&a.stream, &second, "x", 1), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(first.calls, 1);
    CHECK_EQ(second.calls, 0);
    CHECK_EQ(a.connects, 0);
    close_full_listener(&full);
    end();
}

static void it_connects_from_the_address_asked_for(void)
{
    for (enum kind kind = TCP_IPV4; kind <= UNIX_ABSTRACT; kind++) {
        struct ed_address address, local, seen;
        struct client a = {.stream = {.local = &local}};
        if (!has_kind(kind))
            continue;
        begin();
        NEED(free_address(kind, &address) && free_address(kind, &local));
#ifdef __linux__
        if (kind == TCP_IPV4)
            NEED(ed_address_parse(&local, "127.0.0.2:0") == 0);
#endif
        int listener = listen_at(&address, 1);
        CHECK_EQ(ed_stream_connect(&loop, &a.stream, &address, 0, note_connect),
                 0);
        WAIT_FOR(a.connects);
        CHECK_EQ(a.error, 0);
        CHECK_EQ(ed_stream_local(&a.stream, &seen), 0);
        if (kind == TCP_IPV4)
            CHECK_EQ(seen.socket.ipv4.sin_addr.s_addr,
                     local.socket.ipv4.sin_addr.s_addr);
        if (kind >= UNIX_PATH)
            CHECK(ed_address_is_same(&seen, &local));
        close(listener);
        remove_path(&address);
        remove_path(&local);
        close_client(&a);
        end();
    }
}

static void it_does_not_connect_from_an_address_of_somebody_else(void)
{
    struct ed_address address, local;
    begin();
    NEED(free_address(TCP_IPV4, &address));
    int listener = listen_at(&address, 1);
    NEED(ed_address_parse(&local, "203.0.113.7:0") == 0);
    CHECK_EQ(connect_in_vain(&address, &local), -EADDRNOTAVAIL);
    close(listener);
    end();
}

static void connecting_keeps_the_loop_alive_unless_unrefd(void)
{
    struct ed_address address;
    struct full_listener full;
    struct client a = {0};
    begin();
    NEED(open_full_listener(&full, &address));
    CHECK_EQ(ed_stream_connect(&loop, &a.stream, &address, 3600 * ED_S,
                               note_connect),
             0);
    CHECK(ed_loop_is_alive(&loop));
    ed_stream_unref(&a.stream);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(a.connects, 0);
    close_client(&a);
    close_full_listener(&full);
    end();
}

/* ---- what the system can be asked for ------------------------------------ */

static void both_ends_know_each_other(void)
{
    for (enum kind kind = TCP_IPV4; kind <= TCP_IPV6; kind++) {
        struct ed_address local, peer;
        struct client a, b;
        begin();
        NEED(open_clients(kind, &a, &b));
        CHECK_EQ(ed_stream_local(&a.stream, &local), 0);
        CHECK_EQ(ed_stream_peer(&b.stream, &peer), 0);
        CHECK(ed_address_port(&local) > 0);
        CHECK(ed_address_is_same(&local, &peer));
        CHECK_EQ(ed_stream_local(&b.stream, &local), 0);
        CHECK_EQ(ed_stream_peer(&a.stream, &peer), 0);
        CHECK(ed_address_is_same(&local, &peer));
        close_clients(&a, &b);
        end();
    }
}

static int option(const struct client *client, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof value;
    CHECK_EQ(getsockopt(client->stream.fd, level, name, &value, &size), 0);
    return value;
}

static void options_reach_the_system(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(TCP_IPV4, &a, &b));
    CHECK_EQ(ed_stream_no_delay(&a.stream, true), 0);
    CHECK(option(&a, IPPROTO_TCP, TCP_NODELAY) != 0);
    CHECK_EQ(ed_stream_no_delay(&a.stream, false), 0);
    CHECK_EQ(option(&a, IPPROTO_TCP, TCP_NODELAY), 0);

    CHECK_EQ(ed_stream_keep_alive(&a.stream, 30, 5, 4), 0);
    CHECK(option(&a, SOL_SOCKET, SO_KEEPALIVE) != 0);
#ifdef __linux__
    CHECK_EQ(option(&a, IPPROTO_TCP, TCP_KEEPIDLE), 30);
    CHECK_EQ(option(&a, IPPROTO_TCP, TCP_KEEPINTVL), 5);
    CHECK_EQ(option(&a, IPPROTO_TCP, TCP_KEEPCNT), 4);
#endif
    CHECK_EQ(ed_stream_keep_alive(&a.stream, 0, 0, 0), 0);
    CHECK_EQ(option(&a, SOL_SOCKET, SO_KEEPALIVE), 0);

    int receive = option(&a, SOL_SOCKET, SO_RCVBUF);
    CHECK_EQ(ed_stream_buffers(&a.stream, 0, 20000), 0);
    CHECK(option(&a, SOL_SOCKET, SO_SNDBUF) >= 20000);
    CHECK(option(&a, SOL_SOCKET, SO_SNDBUF) <= 40000);
    CHECK_EQ(option(&a, SOL_SOCKET, SO_RCVBUF), receive);
    CHECK_EQ(ed_stream_buffers(&a.stream, 30000, 0), 0);
    CHECK(option(&a, SOL_SOCKET, SO_RCVBUF) <= 60000);
    close_clients(&a, &b);
    end();
}

static void a_pipe_has_no_options_and_no_addresses(void)
{
    struct client a, b;
    struct ed_address address;
    begin();
    NEED(open_clients(PIPE, &a, &b));
    CHECK_EQ(ed_stream_no_delay(&a.stream, true), -ENOTSOCK);
    CHECK_EQ(ed_stream_keep_alive(&a.stream, 1, 1, 1), -ENOTSOCK);
    CHECK_EQ(ed_stream_buffers(&a.stream, 1, 1), -ENOTSOCK);
    CHECK_EQ(ed_stream_buffers(&a.stream, 0, 0), 0);
    CHECK_EQ(ed_stream_peer(&a.stream, &address), -ENOTSOCK);
    CHECK_EQ(ed_stream_local(&a.stream, &address), -ENOTSOCK);
    close_clients(&a, &b);
    end();
}

TESTS(TEST(bytes_arrive_on_every_kind),
      TEST(a_stream_that_is_not_open_can_be_closed),
      TEST(a_closed_stream_can_be_opened_again),
      TEST(files_directories_and_nothing_are_no_streams),
      TEST(what_is_opened_becomes_non_blocking),
      TEST(close_closes_the_descriptor_at_once),
      TEST(only_a_stream_with_a_ref_keeps_the_loop_alive),
      TEST(connects_to_every_kind_of_address),
      TEST(where_nobody_listens_it_is_refused),
      TEST(a_socket_that_is_not_there_is_not_found),
      TEST(a_family_that_is_none_is_refused_at_once),
      TEST(a_connect_ends_at_its_deadline),
      TEST(what_was_written_gets_the_error_of_the_connect),
      TEST(what_is_written_while_connecting_is_sent_in_order),
      TEST(close_while_connecting_calls_nothing),
      TEST(a_stream_can_be_closed_when_it_is_connected),
      TEST(who_fails_to_connect_can_try_again_in_the_callback),
      TEST(who_fails_to_connect_can_be_freed_in_the_callback),
      TEST(a_close_by_the_first_write_ends_it_all),
      TEST(it_connects_from_the_address_asked_for),
      TEST(it_does_not_connect_from_an_address_of_somebody_else),
      TEST(connecting_keeps_the_loop_alive_unless_unrefd),
      TEST(both_ends_know_each_other), TEST(options_reach_the_system),
      TEST(a_pipe_has_no_options_and_no_addresses))
