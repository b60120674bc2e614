/*
 * What streams and listeners do when the system says no, and how often they ask
 * it. Its calls are linked with --wrap (see meson.build), so that each can be
 * counted and made to fail.
 */
#include "loop/listener.h"

#include "test/stream.h"

#if !defined __linux__ || defined KQUEUE_DOUBLE

static void the_system_is_made_to_fail_on_epoll_only(void)
{
    SKIP("wraps the calls of Linux");
}

TESTS(TEST(the_system_is_made_to_fail_on_epoll_only))

#else

#include "test/stream_calls.h"

/* ---- what it costs ------------------------------------------------------- */

static void to_open_a_socket_that_does_not_block_costs_no_call(void)
{
    struct client a = {0};
    int fds[2];
    begin();
    NEED(open_pair(SOCKETPAIR, fds));
    set_nonblocking(fds[0]);
    arm();
    ed_stream_open_socket(&loop, &a.stream, fds[0]);
    CHECK_EQ(calls_made(), 0);
    disarm();
    close(fds[1]);
    close_client(&a);
    end();
}

static void what_the_system_takes_is_one_call_and_no_memory(void)
{
    struct client a, b;
    struct note note = {0};
    struct iovec parts[3] = {
        {(void *)"a", 1}, {(void *)"b", 1}, {(void *)"c", 1}};
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    take_turn();

    arm();
    CHECK_EQ(ed_stream_write(&a.stream, "hello", 5), 0);
    CHECK_EQ(made[SEND], 1);
    CHECK_EQ(calls_made(), 1);
    arm();
    CHECK_EQ(ed_stream_writev(&a.stream, parts, 3), 0);
    CHECK_EQ(made[SENDMSG], 1);
    CHECK_EQ(calls_made(), 1);
    arm();
    CHECK_EQ(ed_stream_try_write(&a.stream, "hello", 5), 5);
    CHECK_EQ(made[SEND], 1);
    CHECK_EQ(calls_made(), 1);
    arm();
    CHECK_EQ(send_bytes(&a.stream, &note, "hello", 5), 0);
    CHECK_EQ(made[SEND], 1);
    WAIT_FOR(note.calls);
    CHECK_EQ(calls_made(), 1);
    disarm();
    close_clients(&a, &b);
    end();
}

static void a_piece_is_one_call_and_no_memory(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    take_turn();
    for (int i = 1; i <= 3; i++) {
        CHECK_EQ(ed_stream_write(&a.stream, "x", 1), 0);
        arm();
        WAIT_FOR(b.reads == i);
        CHECK_EQ(made[READ], 1);
        CHECK_EQ(made[MALLOC], 0);
        disarm();
    }
    close_clients(&a, &b);
    end();
}

static void what_was_queued_goes_out_in_few_calls(void)
{
    struct client a, b;
    struct note many[30] = {{{0}}};
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    int64_t filled = fill(a.stream.fd);
    for (int i = 0; i < 30; i++)
        CHECK_EQ(send_bytes(&a.stream, &many[i], "0123456789", 10), 0);
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    arm();
    WAIT_FOR((int64_t)b.size == filled + 300);
    CHECK_EQ(made[SENDMSG], 1);
    disarm();
    WAIT_FOR(many[29].calls);
    close_clients(&a, &b);
    end();
}

/* ---- an exchange that uses all ------------------------------------------- */

enum { BIG = 300000 };

static struct {
    struct ed_listener listener;
    struct ed_address address;
    struct client client, server; // connected
    struct client out, in;        // a pipe
    struct note sends[4];         // client: bytes, file; out: bytes, file
    bool was_sent[4];
    char *bytes;
    int file;
    int accepts;
    int told; // errors
} scene;

static void tell(int64_t err)
{
    if (err < 0)
        scene.told++;
}

static void scene_finished(struct ed_stream *stream)
{
    note_finish(stream);
    tell(stream->error);
}

/* The pipe is finishing. */
static void scene_done(struct ed_write *write)
{
    note_done(write);
    tell(write->result);
    if (write->result && write->stream == &scene.client.stream)
        ed_stream_close(write->stream);
}

static void read_to_server(struct ed_stream *stream, char *data, int64_t size)
{
    note_read(stream, data, size);
    tell(size);
    if (size < 0)
        ed_stream_close(stream);
    if (size == 0) {
        tell(ed_stream_write(stream, "answer", 6));
        ed_stream_finish(stream, ED_S, scene_finished);
    }
}

static void read_to_client(struct ed_stream *stream, char *data, int64_t size)
{
    note_read(stream, data, size);
    tell(size);
    if (size < 0)
        ed_stream_close(stream);
    if (size == 0)
        ed_stream_finish(stream, ED_S, scene_finished);
}

static void read_from_pipe(struct ed_stream *stream, char *data, int64_t size)
{
    note_read(stream, data, size);
    tell(size);
    if (size <= 0)
        ed_stream_close(stream);
}

static void scene_connected(struct ed_stream *stream)
{
    note_connect(stream);
    tell(stream->error);
}

static void scene_accepted(struct ed_listener *listener, int fd)
{
    (void)listener;
    if (scene.accepts++) { // of a client that was thought lost
        close(fd);
        return;
    }
    scene.server.stream.takes_fds = true;
    ed_stream_open_socket(&loop, &scene.server.stream, fd);
    int err = ed_stream_read_start(&scene.server.stream, read_to_server);
    tell(err);
    if (err)
        ed_stream_close(&scene.server.stream);
}

static void scene_overloaded(struct ed_listener *listener, int error)
{
    (void)listener;
    tell(error);
}

/*
 * Writes from all kinds of places; number: where its notes are. Returns whether
 * it could.
 */
static bool write_all(struct ed_stream *stream, int number)
{
    struct iovec parts[2] = {{scene.bytes, 10}, {scene.bytes + 10, 20}};
    struct note *bytes = &scene.sends[number], *file = bytes + 1;
    bytes->write.part = (struct iovec){scene.bytes, BIG};
    int err = ed_stream_write(stream, scene.bytes, 30);
    if (!err) {
        err = ed_stream_send(stream, &bytes->write, &bytes->write.part, 1,
                             scene_done);
        scene.was_sent[number] = !err;
    }
    if (!err) {
        err = ed_stream_send_file(stream, &file->write, scene.file, 0, BIG,
                                  scene_done);
        scene.was_sent[number + 1] = !err;
    }
    if (!err)
        err = ed_stream_writev(stream, parts, 2);
    tell(err);
    return !err;
}

static void start_connection(void)
{
    struct ed_stream *stream = &scene.client.stream;
    scene.listener.on_overload = scene_overloaded;
    scene.listener.mode =
        scene.address.socket.any.sa_family == AF_UNIX ? 0600 : 0;
    int err = ed_listener_start(&loop, &scene.listener, &scene.address,
                                scene_accepted);
    tell(err);
    if (err)
        return;
    CHECK_EQ(ed_listener_local(&scene.listener, &scene.address), 0);
    err = ed_stream_connect(&loop, stream, &scene.address, 5 * ED_S,
                            scene_connected);
    tell(err);
    if (err)
        return;
    bool could_write = write_all(stream, 0);
    tell(ed_stream_end(stream));
    err = ed_stream_read_start(stream, read_to_client);
    tell(err);
    if (err || !could_write)
        ed_stream_close(stream);
}

static void start_pipe(int fds[2])
{
    int err = ed_stream_open(&loop, &scene.out.stream, fds[0]);
    tell(err);
    if (err)
        close(fds[0]);
    int in_err = ed_stream_open(&loop, &scene.in.stream, fds[1]);
    tell(in_err);
    if (in_err)
        close(fds[1]);
    if (!in_err) {
        in_err = ed_stream_read_start(&scene.in.stream, read_from_pipe);
        tell(in_err);
        if (in_err)
            ed_stream_close(&scene.in.stream);
    }
    if (err)
        return;
    (void)write_all(&scene.out.stream, 2);
    ed_stream_finish(&scene.out.stream, 5 * ED_S, scene_finished);
}

static bool is_at_work(void)
{
    return ed_stream_is_open(&scene.client.stream) ||
           ed_stream_is_open(&scene.server.stream) ||
           ed_stream_is_open(&scene.in.stream) ||
           ed_stream_is_open(&scene.out.stream);
}

static bool has_all(const struct client *client)
{
    return client->size == 2 * BIG + 60 && client->how == 0 &&
           memcmp(client->data, scene.bytes, 30) == 0 &&
           memcmp(client->data + 30, scene.bytes, BIG) == 0 &&
           memcmp(client->data + 30 + BIG, scene.bytes, BIG) == 0 &&
           memcmp(client->data + 30 + 2 * BIG, scene.bytes, 30) == 0;
}

static bool is_success(void)
{
    return has_all(&scene.server) && has_all(&scene.in) &&
           has_read(&scene.client, "answer") && scene.client.finishes == 1 &&
           scene.server.finishes == 1 && scene.out.finishes == 1;
}

/* Arrived is at most what was sent, in order. */
static bool is_prefix(const struct client *client)
{
    size_t first = client->size < 30 ? client->size : 30;
    size_t second = client->size - first < BIG ? client->size - first : BIG;
    return first == 0 ||
           (memcmp(client->data, scene.bytes, first) == 0 &&
            memcmp(client->data + first, scene.bytes, second) == 0);
}

static bool has_hung;

static void give_up(struct ed_timer *timer)
{
    has_hung = true;
    ed_loop_stop(timer->loop);
}

static void play(enum kind kind, enum call call, int nth, int err)
{
    struct ed_timer timer = {0};
    int fds[2];
    char *bytes = scene.bytes;
    int file = scene.file;
    memset(&scene, 0, sizeof scene);
    scene.bytes = bytes;
    scene.file = file;
    has_hung = false;
    begin();
    NEED(free_address(kind, &scene.address));
    NEED(open_pair(PIPE, fds));
    ed_timer_start(&loop, &timer, 2 * ED_S, give_up);
    arm();
    if (nth)
        let_fail(call, nth, 1, err);
    start_connection();
    start_pipe(fds);
    while (is_at_work() && !has_hung)
        CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
    is_armed = false;
    CHECK(!has_hung);
    ed_timer_stop(&timer);
    ed_listener_stop(&scene.listener);
    struct client *clients[] = {&scene.client, &scene.server, &scene.in,
                                &scene.out};
    CHECK(is_prefix(&scene.server) && is_prefix(&scene.in));
    for (int i = 0; i < 4; i++) {
        CHECK(clients[i]->finishes <= 1);
        CHECK(clients[i]->connects <= 1);
        CHECK(clients[i]->ends <= 1);
        CHECK(scene.sends[i].calls <= scene.was_sent[i]);
    }
    // Those of the pipe are not closed before their time.
    CHECK_EQ(scene.sends[2].calls, scene.was_sent[2]);
    CHECK_EQ(scene.sends[3].calls, scene.was_sent[3]);
}

static void strike(void)
{
    close_clients(&scene.client, &scene.server);
    close_clients(&scene.in, &scene.out);
    remove_path(&scene.address);
    end();
    disarm();
}

static const struct {
    enum call call;
    int err;
    bool is_overcome; // nobody notices
} faults[] = {
    {SOCKET, EMFILE, false},      {SOCKET, ENOBUFS, false},
    {BIND, EADDRINUSE, false},    {BIND, EACCES, false},
    {CONNECT, EAGAIN, false},     {CONNECT, ENETUNREACH, false},
    {CONNECT, EINTR, true},       {ACCEPT, ECONNABORTED, true},
    {ACCEPT, EPROTO, true},       {ACCEPT, EINTR, true},
    {ACCEPT, EAGAIN, true},       {ACCEPT, EMFILE, false},
    {ACCEPT, ENFILE, false},      {ACCEPT, ENOMEM, false},
    {ACCEPT, ENOBUFS, false},     {LISTEN, EADDRINUSE, false},
    {GETSOCKOPT, ENOBUFS, false}, {SETSOCKOPT, ENOMEM, false},
    {READ, ECONNRESET, false},    {READ, EIO, false},
    {READ, EINTR, true},          {READ, EAGAIN, true},
    {SEND, ECONNRESET, false},    {SEND, EPIPE, false},
    {SEND, ENOBUFS, false},       {SEND, EINTR, true},
    {SEND, EAGAIN, true},         {SENDMSG, EPIPE, false},
    {SENDMSG, EINTR, true},       {SENDMSG, EAGAIN, true},
    {RECVMSG, ECONNRESET, false}, {RECVMSG, EINTR, true},
    {RECVMSG, EAGAIN, true},      {WRITEV, EPIPE, false},
    {WRITEV, EIO, false},         {WRITEV, EINTR, true},
    {WRITEV, EAGAIN, true},       {SENDFILE, EPIPE, false},
    {SENDFILE, EIO, false},       {SENDFILE, EINTR, true},
    {SENDFILE, EAGAIN, true},     {SENDFILE, EINVAL, true},
    {SENDFILE, ENOSYS, true},     {FCNTL, EBADF, false},
    {FSTAT, EBADF, false},        {MALLOC, ENOMEM, false},
    {EPOLL_CTL, ENOMEM, false},   {EPOLL_CTL, ENOSPC, false},
    {OPEN, EMFILE, false},        {CHMOD, EPERM, false},
};

static void check_fault(enum kind kind, size_t fault)
{
    enum call call = faults[fault].call;
    for (int nth = 1; nth < 200; nth++) {
        int before = tap_failures;
        play(kind, call, nth, faults[fault].err);
        bool has_failed = made[call] >= nth;
        CHECK(is_success() || scene.told);
        if (faults[fault].is_overcome || !has_failed) {
            CHECK(is_success());
            CHECK_EQ(scene.told, 0);
        }
        strike();
        if (tap_failures > before)
            printf("# %s: call %d, number %d, with \"%s\"\n", kind_names[kind],
                   (int)call, nth, strerror(faults[fault].err));
        if (!has_failed) {
            // Not all are made for each kind of address.
            bool is_made = nth > 1 || call == CHMOD || call == SETSOCKOPT;
            CHECK(is_made);
            return;
        }
    }
}

static void check_faults(enum kind kind)
{
    scene.bytes = pattern(BIG);
    scene.file = file_of(scene.bytes, BIG);
    play(kind, 0, 0, 0);
    CHECK(is_success());
    CHECK_EQ(scene.told, 0);
    strike();
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        check_fault(kind, i);
    close(scene.file);
    free(scene.bytes);
}

static void each_call_may_fail_each_time_over_tcp(void)
{
    check_faults(TCP_IPV4);
}

static void each_call_may_fail_each_time_over_unix_sockets(void)
{
    check_faults(UNIX_PATH);
}

/* ---- what the system cannot be told later -------------------------------- */

static void an_interest_that_fails_reaches_the_reader(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    arm();
    let_fail(EPOLL_CTL, 1, 1, ENOSPC);
    WAIT_FOR(b.ends);
    disarm();
    CHECK_EQ(b.how, -ENOMEM);
    CHECK_EQ(b.stream.error, -ENOMEM);
    CHECK_EQ(ed_stream_write(&b.stream, "x", 1), -ENOMEM);
    check_quiet();
    CHECK_EQ(b.ends, 1);
    close_clients(&a, &b);
    end();
}

static void an_interest_that_fails_reaches_the_writer(void)
{
    struct client a, b;
    struct note note = {0};
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    char *bytes = pattern(BIG);
    CHECK_EQ(send_bytes(&a.stream, &note, bytes, BIG), 0);
    CHECK(a.stream.queued > 0);
    arm();
    let_fail(EPOLL_CTL, 1, 1, ENOMEM);
    WAIT_FOR(note.calls && a.drains);
    disarm();
    CHECK_EQ(note.write.result, -ENOMEM);
    CHECK_EQ(a.error, -ENOMEM);
    CHECK_EQ(a.ends, 0);
    check_quiet();
    free(bytes);
    close_clients(&a, &b);
    end();
}

static void an_interest_that_fails_ends_a_finish(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    ed_stream_finish(&a.stream, 0, note_finish);
    arm();
    let_fail(EPOLL_CTL, 1, 1, ENOMEM);
    WAIT_FOR(a.finishes);
    disarm();
    CHECK_EQ(a.error, -ENOMEM);
    close_clients(&a, &b);
    end();
}

static int accepts, overloads, overload;

static void count_accept(struct ed_listener *listener, int fd)
{
    (void)listener;
    accepts++;
    close(fd);
}

static void count_overload(struct ed_listener *listener, int error)
{
    (void)listener;
    overloads++;
    overload = error;
}

static bool open_listener(struct ed_listener *listener,
                          struct ed_address *address)
{
    accepts = overloads = overload = 0;
    *listener = (struct ed_listener){.on_overload = count_overload};
    return free_address(TCP_IPV4, address) &&
           ed_listener_start(&loop, listener, address, count_accept) == 0 &&
           ed_listener_local(listener, address) == 0;
}

static int knock(const struct ed_address *address)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_EQ(connect(fd, &address->socket.any, address->size), 0);
    return fd;
}

static void a_listener_whose_interest_fails_tells_so_and_tries_again(void)
{
    struct ed_listener listener;
    struct ed_address address;
    begin();
    NEED(open_listener(&listener, &address));
    ed_listener_pause(&listener);
    take_turn();
    ed_listener_resume(&listener);
    int fd = knock(&address);
    arm();
    let_fail(EPOLL_CTL, 1, 1, ENOMEM);
    WAIT_FOR(overloads);
    CHECK_EQ(overload, -ENOMEM);
    CHECK_EQ(accepts, 0);
    WAIT_FOR(accepts == 1);
    disarm();
    CHECK_EQ(overloads, 1);
    close(fd);
    ed_listener_stop(&listener);
    end();
}

/* ---- accept -------------------------------------------------------------- */

static int turns;

static void count_turn(struct ed_hook *hook)
{
    (void)hook;
    turns++;
}

/* As long as it lasts, whatever it is. */
static void a_listener_that_cannot_accept_does_not_spin(void)
{
    static const int errors[] = {EMFILE, ENFILE, ENOMEM, ENOBUFS, EINVAL};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct ed_listener listener;
        struct ed_address address;
        struct ed_hook hook = {0};
        begin();
        turns = 0;
        NEED(open_listener(&listener, &address));
        int fd = knock(&address);
        ed_hook_prepare(&loop, &hook, count_turn);
        arm();
        let_fail(ACCEPT, 1, for_ever, errors[i]);
        WAIT_FOR(overloads == 3);
        CHECK(turns < 20);
        CHECK_EQ(overload, -errors[i]);
        CHECK_EQ(listener.shed, 0);
        disarm();
        WAIT_FOR(accepts == 1);
        ed_hook_stop(&hook);
        close(fd);
        ed_listener_stop(&listener);
        end();
    }
}

static void a_reserve_that_is_lost_is_made_anew(void)
{
    struct ed_listener listener;
    struct ed_address address;
    begin();
    NEED(open_listener(&listener, &address));
    int fds[3];
    fds[0] = knock(&address);
    arm();
    let_fail(ACCEPT, 1, 1, EMFILE);
    fails_from[OPEN] = fails_to[OPEN] = 1; // another thread is faster
    WAIT_FOR(listener.shed == 1);
    CHECK_EQ(listener.reserve, -1);
    CHECK_EQ(overloads, 1);
    disarm();
    fds[1] = knock(&address);
    WAIT_FOR(accepts == 1);
    CHECK(listener.reserve >= 0);

    // Without one, nothing is shed; it waits.
    arm();
    let_fail(ACCEPT, 1, 1, EMFILE);
    fails_from[OPEN] = 1;
    fails_to[OPEN] = for_ever;
    close(listener.reserve);
    listener.reserve = -1;
    fds[2] = knock(&address);
    WAIT_FOR(accepts == 2);
    CHECK_EQ(listener.shed, 1);
    CHECK_EQ(overloads, 2);
    CHECK_EQ(listener.reserve, -1);
    disarm();
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    ed_listener_stop(&listener);
    end();
}

/* ---- writing ------------------------------------------------------------- */

static void without_memory_nothing_is_written_or_the_stream_is_broken(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    char *bytes = pattern(BIG);

    // Nothing is sent yet: try again later.
    int64_t filled = fill(a.stream.fd);
    arm();
    let_fail(MALLOC, 1, 1, ENOMEM);
    CHECK_EQ(ed_stream_write(&a.stream, "lost", 4), -ENOMEM);
    disarm();
    CHECK_EQ(a.stream.error, 0);
    CHECK_EQ(a.stream.queued, 0);
    CHECK_EQ(ed_stream_write(&a.stream, "kept", 4), 0);
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    WAIT_FOR((int64_t)b.size == filled + 4);
    CHECK(memcmp(b.data + filled, "kept", 4) == 0);

    // A part of it is on its way.
    most_sent = 10;
    arm();
    let_fail(MALLOC, 1, 1, ENOMEM);
    CHECK_EQ(ed_stream_write(&a.stream, bytes, BIG), -ENOMEM);
    disarm();
    CHECK_EQ(a.stream.error, -ENOMEM);
    CHECK_EQ(ed_stream_write(&a.stream, "x", 1), -ENOMEM);
    CHECK_EQ(a.stream.queued, 0);
    WAIT_FOR((int64_t)b.size == filled + 14);
    check_quiet();
    free(bytes);
    close_clients(&a, &b);
    end();
}

static void without_a_buffer_reading_does_not_begin(void)
{
    struct client a, b;
    char buffer[8];
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    arm();
    let_fail(MALLOC, 1, for_ever, ENOMEM);
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), -ENOMEM);
    CHECK_EQ(ed_stream_write(&a.stream, "x", 1), 0);
    take_turn();
    CHECK_EQ(b.reads, 0);
    CHECK_EQ(b.stream.error, 0);
    b.stream.buffer = buffer; // one of the program's own will do
    b.stream.buffer_size = sizeof buffer;
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    WAIT_FOR(b.reads);

    // That is taken away while it reads.
    b.stream.buffer = NULL;
    CHECK_EQ(ed_stream_write(&a.stream, "x", 1), 0);
    WAIT_FOR(b.ends);
    CHECK_EQ(b.how, -ENOMEM);

    // A graceful close needs none.
    ed_stream_finish(&a.stream, 0, note_finish);
    ed_stream_close(&b.stream);
    WAIT_FOR(a.finishes);
    disarm();
    close_clients(&a, &b);
    end();
}

static void pieces_of_any_size_are_put_together(void)
{
    static const size_t sizes[] = {1, 7, 4095, 4097, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct client a, b;
        struct note note = {0}, file_note = {0};
        size_t size = sizes[i] * 5 + 3;
        begin();
        NEED(open_clients(TCP_IPV4, &a, &b));
        char *bytes = pattern(size);
        int file = file_of(bytes, size);
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        most_sent = sizes[i];
        CHECK_EQ(ed_stream_write(&a.stream, bytes, size), 0);
        CHECK_EQ(send_bytes(&a.stream, &note, bytes, size), 0);
        CHECK_EQ(ed_stream_send_file(&a.stream, &file_note.write, file, 0, size,
                                     note_done),
                 0);
        WAIT_FOR(b.size == 3 * size && file_note.calls);
        disarm();
        for (size_t k = 0; k < 3; k++)
            CHECK(memcmp(b.data + k * size, bytes, size) == 0);
        close(file);
        free(bytes);
        close_clients(&a, &b);
        end();
    }
}

/* The error is hidden by what was sent before it, the signal is not. */
static void a_pipe_that_breaks_in_the_midst_of_a_file_raises_no_sigpipe(void)
{
    struct client a, b;
    struct note note = {0};
    begin();
    NEED(open_clients(SOCKETPAIR, &a, &b));
    char *bytes = pattern(BIG);
    int file = file_of(bytes, BIG);
    arm();
    most_sent = 1000;
    raises_sigpipe = true;
    CHECK_EQ(
        ed_stream_send_file(&a.stream, &note.write, file, 0, BIG, note_done),
        0);
    CHECK_EQ(note.write.sent, 1000);
    disarm();
    CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
    WAIT_FOR(note.calls && b.size == BIG);
    close(file);
    free(bytes);
    close_clients(&a, &b);
    end();
}

static void a_kernel_that_cannot_pass_files_on_sends_them_all_the_same(void)
{
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct client a, b;
        struct note note = {0};
        begin();
        NEED(open_clients(kind, &a, &b));
        char *bytes = pattern(BIG);
        int file = file_of(bytes, BIG);
        arm();
        let_fail(SENDFILE, 1, for_ever, kind % 2 ? EINVAL : ENOSYS);
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        CHECK_EQ(ed_stream_send_file(&a.stream, &note.write, file, 1000,
                                     BIG - 1000, note_done),
                 0);
        WAIT_FOR(note.calls && b.size == BIG - 1000);
        CHECK_EQ(note.write.result, 0);
        CHECK(memcmp(b.data, bytes + 1000, BIG - 1000) == 0);

        // Reading it can fail, or find its end too early.
        struct note again = {0};
        let_fail(SENDFILE, 1, for_ever, EINVAL);
        fails_from[PREAD] = kind % 2 ? 1 : 0;
        fails_to[PREAD] = for_ever;
        made[PREAD] = 0;
        CHECK_EQ(ed_stream_send_file(&a.stream, &again.write, file, 0, BIG + 1,
                                     note_done),
                 0);
        WAIT_FOR(again.calls);
        CHECK_EQ(again.write.result, kind % 2 ? -EINVAL : -ENODATA);
        disarm();
        close(file);
        free(bytes);
        close_clients(&a, &b);
        end();
    }
}

/* ---- the rest ------------------------------------------------------------ */

static void a_connection_that_cannot_be_asked_about_is_none(void)
{
    struct ed_listener listener;
    struct ed_address address;
    struct client a = {0};
    struct note note = {0};
    begin();
    NEED(open_listener(&listener, &address));
    CHECK_EQ(ed_stream_connect(&loop, &a.stream, &address, 0, note_connect), 0);
    CHECK_EQ(send_bytes(&a.stream, &note, "x", 1), 0);
    arm();
    let_fail(GETSOCKOPT, 1, 1, ENOBUFS);
    WAIT_FOR(a.connects);
    disarm();
    CHECK_EQ(a.error, -ENOBUFS);
    CHECK_EQ(note.calls, 1);
    CHECK_EQ(note.write.result, -ENOBUFS);
    CHECK(!ed_stream_is_open(&a.stream));
    ed_listener_stop(&listener);
    end();
}

/* What breaks in the moment of being connected never was. */
static void a_first_write_that_fails_is_told_by_the_connect(void)
{
    struct ed_listener listener;
    struct ed_address address;
    struct client a = {0};
    struct note note = {0};
    begin();
    NEED(open_listener(&listener, &address));
    CHECK_EQ(ed_stream_connect(&loop, &a.stream, &address, 0, note_connect), 0);
    CHECK_EQ(send_bytes(&a.stream, &note, "x", 1), 0);
    arm();
    let_fail(SEND, 1, 1, ECONNRESET);
    WAIT_FOR(a.connects);
    disarm();
    CHECK_EQ(a.connects, 1);
    CHECK_EQ(a.error, -ECONNRESET);
    CHECK_EQ(note.write.result, -ECONNRESET);
    CHECK(!ed_stream_is_open(&a.stream));
    ed_listener_stop(&listener);
    end();
}

static void an_end_that_cannot_be_said_is_an_error(void)
{
    struct client a, b;
    begin();
    NEED(open_clients(TCP_IPV4, &a, &b));
    arm();
    let_fail(SHUTDOWN, 1, for_ever, ENOTCONN);
    CHECK_EQ(ed_stream_end(&a.stream), -ENOTCONN);
    CHECK_EQ(a.stream.error, -ENOTCONN);
    ed_stream_finish(&b.stream, 0, note_finish);
    CHECK_EQ(b.finishes, 0);
    WAIT_FOR(b.finishes);
    CHECK_EQ(b.error, -ENOTCONN);
    disarm();
    close_clients(&a, &b);
    end();
}

static void what_cannot_be_opened_is_left_as_it_was(void)
{
    static const struct {
        enum call call;
        int nth, err;
    } cases[] = {
        {FSTAT, 1, EIO},        {EPOLL_CTL, 1, ENOMEM}, {EPOLL_CTL, 1, EEXIST},
        {EPOLL_CTL, 1, ENOSPC}, {FCNTL, 1, EBADF},      {FCNTL, 2, EBADF},
    };
    begin();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client a = {0};
        int fds[2];
        NEED(open_pair(SOCKETPAIR, fds));
        arm();
        let_fail(cases[i].call, cases[i].nth, 1, cases[i].err);
        CHECK_EQ(ed_stream_open(&loop, &a.stream, fds[0]), -cases[i].err);
        disarm();
        CHECK(!ed_stream_is_open(&a.stream));
        CHECK(!(fcntl(fds[0], F_GETFL) & O_NONBLOCK));
        CHECK(!ed_loop_is_alive(&loop));
        CHECK_EQ(ed_stream_open(&loop, &a.stream, fds[0]), 0);
        close_client(&a);
        close(fds[1]);
    }
    end();
}

TESTS(TEST(to_open_a_socket_that_does_not_block_costs_no_call),
      TEST(what_the_system_takes_is_one_call_and_no_memory),
      TEST(a_piece_is_one_call_and_no_memory),
      TEST(what_was_queued_goes_out_in_few_calls),
      TEST(each_call_may_fail_each_time_over_tcp),
      TEST(each_call_may_fail_each_time_over_unix_sockets),
      TEST(an_interest_that_fails_reaches_the_reader),
      TEST(an_interest_that_fails_reaches_the_writer),
      TEST(an_interest_that_fails_ends_a_finish),
      TEST(a_listener_whose_interest_fails_tells_so_and_tries_again),
      TEST(a_listener_that_cannot_accept_does_not_spin),
      TEST(a_reserve_that_is_lost_is_made_anew),
      TEST(without_memory_nothing_is_written_or_the_stream_is_broken),
      TEST(without_a_buffer_reading_does_not_begin),
      TEST(pieces_of_any_size_are_put_together),
      TEST(a_pipe_that_breaks_in_the_midst_of_a_file_raises_no_sigpipe),
      TEST(a_kernel_that_cannot_pass_files_on_sends_them_all_the_same),
      TEST(a_connection_that_cannot_be_asked_about_is_none),
      TEST(a_first_write_that_fails_is_told_by_the_connect),
      TEST(an_end_that_cannot_be_said_is_an_error),
      TEST(what_cannot_be_opened_is_left_as_it_was))

#endif
