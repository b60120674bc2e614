/*
 * A server on eddy among peers that do what they should not. The peers are
 * plain sockets of this thread, which act between the server's turns. Each test
 * counts, before and after, descriptors and bytes of memory, and serves an
 * honest client meanwhile.
 */
#include "loop/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "loop/listener.h"
#include "loop/stream.h"
#include "test/tap.h"

#if defined __GLIBC__
#if __GLIBC_PREREQ(2, 33)
#include <malloc.h>
#define COUNTS_MEMORY 1
#endif
#endif

enum {
    MOST_FDS = 1024,
    CHUNK = 16 * 1024,        // written at a time
    ANSWER = 8 * 1024 * 1024, // what a client of the kind ASKS is sent
    HIGH_WATER = 64 * 1024,   // of all streams, by default
    KEPT_BYTES = 16 * 1024,   // that are free, but malloc() has at hand
};

/* What the server does for a client. */
enum kind {
    ECHOES,
    ASKS,   // gets the answer at once, and is finished
    STANDS, // it reads, and the rest is up to the test
};

struct client {
    struct ed_stream stream;
    struct ed_timer deadline; // for a whole line
    struct ed_list link;
    enum kind kind;
    uint64_t answered;
    struct ed_write write; // in place
    struct iovec part;
};

static struct ed_loop loop;
static struct ed_listener listener;
static struct ed_address address;
static struct ed_list clients;
static struct client *newest;
static enum kind next_kind;
static uint64_t next_deadline_ns;
static int clients_left;
static int ends;         // of clients, since begin()
static int64_t last_end; // how the last of them ended: 0 or -errno
static bool may_end;     // a client that stands may send no more, and stay
static uint64_t most_queued;
static int written;      // writes in place that are done
static int last_written; // the result of the last one
static const char zeros[4 * 1024 * 1024];
static int fds_before;
static size_t bytes_before;

/* ---- what is used ------------------------------------------------------ */

static int count_fds(void)
{
    int count = 0;
    for (int fd = 0; fd < MOST_FDS; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static size_t count_bytes(void)
{
#ifdef COUNTS_MEMORY
    return mallinfo2().uordblks;
#else
    return 0;
#endif
}

/* ---- the server -------------------------------------------------------- */

/* The nth byte of the answer, so that none can get lost unnoticed. */
static unsigned char answer_at(uint64_t n)
{
    return (unsigned char)(n ^ (n >> 8) ^ (n >> 16));
}

static void end_client(struct client *client, int64_t how)
{
    ends++;
    last_end = how;
    clients_left--;
    ed_timer_stop(&client->deadline);
    ed_list_remove(&client->link);
    if (client == newest)
        newest = NULL;
    ed_stream_close(&client->stream);
    free(client);
}

static struct client *client_of(struct ed_stream *stream)
{
    return ED_CONTAINER_OF(stream, struct client, stream);
}

static void on_finish(struct ed_stream *stream)
{
    CHECK(!ed_stream_is_open(stream));
    end_client(client_of(stream), stream->error);
}

static void note_queued(const struct ed_stream *stream)
{
    if (stream->queued > most_queued)
        most_queued = stream->queued;
}

/* As much of the answer as goes in. */
static void answer(struct client *client)
{
    struct ed_stream *stream = &client->stream;
    while (client->answered < ANSWER && !ed_stream_is_full(stream)) {
        char chunk[CHUNK];
        for (size_t i = 0; i < sizeof chunk; i++)
            chunk[i] = (char)answer_at(client->answered + i);
        int err = ed_stream_write(stream, chunk, sizeof chunk);
        if (err) {
            end_client(client, err);
            return;
        }
        client->answered += sizeof chunk;
        note_queued(stream);
    }
    if (client->answered == ANSWER)
        ed_stream_finish(stream, 0, on_finish);
}

static void on_read(struct ed_stream *stream, char *data, int64_t size)
{
    struct client *client = client_of(stream);
    if (size < 0 || (size == 0 && (client->kind == ECHOES || !may_end))) {
        end_client(client, size);
        return;
    }
    if (size && memchr(data, '\n', (size_t)size))
        ed_timer_stop(&client->deadline);
    if (client->kind != ECHOES)
        return;
    int err = ed_stream_write(stream, data, (size_t)size);
    note_queued(stream);
    if (err)
        end_client(client, err);
    else if (ed_stream_is_full(stream))
        ed_stream_read_stop(stream);
}

static void on_drain(struct ed_stream *stream)
{
    struct client *client = client_of(stream);
    if (stream->error)
        end_client(client, stream->error);
    else if (client->kind == ECHOES)
        CHECK_EQ(ed_stream_read_start(stream, on_read), 0);
    else if (client->kind == ASKS && client->answered < ANSWER)
        answer(client);
}

static void on_deadline(struct ed_timer *timer)
{
    struct client *client = ED_CONTAINER_OF(timer, struct client, deadline);
    ed_stream_abort(&client->stream);
    end_client(client, -ETIMEDOUT);
}

static void on_accept(struct ed_listener *at, int fd)
{
    CHECK(at == &listener);
    struct client *client = calloc(1, sizeof *client);
    if (!client)
        abort();
    newest = client;
    clients_left++;
    client->kind = next_kind;
    client->stream.on_drain = on_drain;
    ed_list_append(&clients, &client->link);
    ed_stream_open_socket(&loop, &client->stream, fd);
    CHECK_EQ(ed_stream_read_start(&client->stream, on_read), 0);
    if (next_deadline_ns)
        ed_timer_start(&loop, &client->deadline, next_deadline_ns, on_deadline);
    if (client->kind == ASKS)
        answer(client);
}

/* At a socket in the file system, or at a port. */
static void begin(bool is_unix)
{
    static int number;
    char path[64];
    snprintf(path, sizeof path, "/tmp/eddy-hostile.%d.%d", (int)getpid(),
             number++);
    fds_before = count_fds();
    bytes_before = count_bytes();
    listener = (struct ed_listener){0};
    newest = NULL;
    next_kind = ECHOES;
    next_deadline_ns = 0;
    clients_left = ends = written = 0;
    most_queued = 0;
    may_end = false;
    ed_list_init(&clients);
    CHECK_EQ(ed_loop_init(&loop), 0);
    int err = is_unix ? ed_address_unix(&address, path)
                      : ed_address_ip(&address, "127.0.0.1", 0);
    CHECK_EQ(err, 0);
    CHECK_EQ(ed_listener_start(&loop, &listener, &address, on_accept), 0);
    CHECK_EQ(ed_listener_local(&listener, &address), 0);
}

/* A turn, which waits for a moment at most, since peers do not wake it. */
static void take_turn(void)
{
    CHECK(ed_loop_run_once(&loop, (int64_t)ED_MS) >= 0);
}

#define WAIT_UNTIL(condition)                                                  \
    while (!(condition))                                                       \
    take_turn()

/* Turns until nothing happens any more; for ever, if something spins. */
static void settle(void)
{
    struct ed_loop_metrics before, now;
    int quiet = 0;
    ed_loop_metrics(&loop, &before);
    while (quiet < 10) {
        take_turn();
        ed_loop_metrics(&loop, &now);
        quiet = now.callbacks == before.callbacks ? quiet + 1 : 0;
        before = now;
    }
}

/* When all peers have gone. */
static void end(void)
{
    WAIT_UNTIL(clients_left == 0);
    ed_listener_stop(&listener);
    CHECK(!ed_loop_is_alive(&loop));
    ed_loop_destroy(&loop);
    CHECK_EQ(count_fds(), fds_before);
    CHECK(count_bytes() < bytes_before + KEPT_BYTES);
}

/* ---- peers --------------------------------------------------------------- */

static int connect_peer(int receive_buffer)
{
    int fd = socket(address.socket.any.sa_family, SOCK_STREAM, 0);
    if (receive_buffer)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer,
                   sizeof receive_buffer);
    if (connect(fd, &address.socket.any, address.size)) {
        close(fd);
        return -1;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

/* One that the server knows, as newest. */
static int join(enum kind kind)
{
    next_kind = kind;
    newest = NULL;
    uint64_t before = listener.accepted;
    int fd = connect_peer(0);
    if (fd >= 0)
        WAIT_UNTIL(listener.accepted > before);
    return fd;
}

static void reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

static bool is_unix(void)
{
    return address.socket.any.sa_family == AF_UNIX;
}

/* Waits for as many bytes. Returns whether they came. */
static bool receive(int fd, char *data, size_t size)
{
    while (size) {
        ssize_t got = recv(fd, data, size, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK))
            return false;
        if (got < 0) {
            take_turn();
            continue;
        }
        data += got;
        size -= (size_t)got;
    }
    return true;
}

static bool is_served(int fd)
{
    static const char line[] = "are you there?\n";
    char back[sizeof line];
    return send(fd, line, sizeof line, 0) == (ssize_t)sizeof line &&
           receive(fd, back, sizeof back) &&
           memcmp(back, line, sizeof line) == 0;
}

/* Waits until no more comes. Returns 0 or -errno. */
static int wait_for_end(int fd)
{
    char data[4096];
    for (;;) {
        ssize_t got = recv(fd, data, sizeof data, 0);
        if (got == 0)
            return 0;
        if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            return -errno;
        if (got < 0)
            take_turn();
    }
}

/* ---- slow ones ----------------------------------------------------------- */

static void check_a_slow_reader(bool at_unix)
{
    begin(at_unix);
    int honest = join(ECHOES);
    NEED(honest >= 0 && is_served(honest));
    size_t bytes_served = count_bytes();

    next_kind = ASKS;
    int slow = connect_peer(4096);
    NEED(slow >= 0);
    WAIT_UNTIL(newest && newest->kind == ASKS);
    for (int i = 0; i < 200; i++)
        NEED(is_served(honest));
    settle();

    // It is stuck, at no more than its due, and costs no turns.
    NEED(newest);
    CHECK(ed_stream_is_full(&newest->stream));
    CHECK(newest->answered < ANSWER);
    CHECK(most_queued < HIGH_WATER + CHUNK);
    CHECK(count_bytes() - bytes_served < 2 * HIGH_WATER);

    // It reads on, a little at a time, and gets each byte.
    char data[CHUNK];
    uint64_t received = 0;
    int wrong = 0;
    while (received < ANSWER && !wrong) {
        NEED(receive(slow, data, sizeof data));
        for (size_t i = 0; i < sizeof data; i++)
            wrong += (unsigned char)data[i] != answer_at(received + i);
        received += sizeof data;
        if (received % (1024 * 1024) == 0)
            NEED(is_served(honest));
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(wait_for_end(slow), 0);
    CHECK(most_queued < HIGH_WATER + CHUNK);
    close(slow);
    close(honest);
    end();
}

static void a_slow_reader_costs_no_more_than_its_limit(void)
{
    check_a_slow_reader(false);
    check_a_slow_reader(true);
}

static void who_sends_and_never_reads_is_stopped(void)
{
    begin(false);
    int honest = join(ECHOES);
    int greedy = join(ECHOES);
    NEED(honest >= 0 && greedy >= 0);
    struct client *client = newest;

    // As much as goes in: until the server has not read any more for a while.
    for (int stuck = 0; stuck < 20;) {
        ssize_t sent = send(greedy, zeros, sizeof zeros, 0);
        stuck = sent < 0 ? stuck + 1 : 0;
        take_turn();
    }
    settle();
    CHECK(ed_stream_is_full(&client->stream));
    CHECK(most_queued < HIGH_WATER + 64 * 1024);
    for (int i = 0; i < 200; i++)
        NEED(is_served(honest));

    reset(greedy);
    WAIT_UNTIL(ends == 1);
    CHECK(last_end < 0);
    close(honest);
    end();
}

static void a_byte_a_turn_is_served_as_it_comes(void)
{
    enum { BYTES = 2000 };
    begin(false);
    int honest = join(ECHOES);
    int slow = join(ECHOES);
    NEED(honest >= 0 && slow >= 0);
    struct ed_loop_metrics before, after;
    ed_loop_metrics(&loop, &before);
    for (int i = 0; i < BYTES; i++) {
        char byte = (char)i, back;
        NEED(send(slow, &byte, 1, 0) == 1);
        NEED(receive(slow, &back, 1));
        CHECK_EQ(back, byte);
        if (i % 100 == 0)
            CHECK(is_served(honest));
    }
    ed_loop_metrics(&loop, &after);
    CHECK(after.callbacks - before.callbacks <= BYTES + BYTES / 100);
    close(slow);
    close(honest);
    end();
}

static void who_never_completes_a_line_meets_the_deadline(void)
{
    begin(false);
    int honest = join(ECHOES);
    next_deadline_ns = 50 * ED_MS;
    int slow = join(STANDS);
    NEED(honest >= 0 && slow >= 0);
    // Signs of life, which this timer does not care for.
    while (ends == 0) {
        send(slow, "x", 1, 0);
        take_turn();
    }
    CHECK_EQ(last_end, -ETIMEDOUT);
    CHECK_EQ(wait_for_end(slow), -ECONNRESET);
    CHECK(is_served(honest));
    close(slow);
    close(honest);
    end();
}

static void connections_that_have_to_wait_cost_no_turns(void)
{
    begin(false);
    int honest = join(ECHOES);
    NEED(honest >= 0);
    ed_listener_pause(&listener);
    int waiting[20];
    for (int i = 0; i < 20; i++)
        waiting[i] = connect_peer(0);
    settle();
    CHECK_EQ(clients_left, 1);
    CHECK(is_served(honest));
    // Some give up.
    for (int i = 0; i < 10; i++)
        reset(waiting[i]);
    ed_listener_resume(&listener);
    for (int i = 10; i < 20; i++) {
        CHECK(is_served(waiting[i]));
        close(waiting[i]);
    }
    close(honest);
    end();
}

/* ---- resets, in each state ----------------------------------------------- */

static void on_written(struct ed_write *write)
{
    written++;
    last_written = write->result;
}

/* Until the system takes no more; at last it is full. */
static void leave_unsent(struct client *client)
{
    while (client->stream.queued == 0)
        CHECK_EQ(ed_stream_write(&client->stream, zeros, sizeof zeros / 64), 0);
    client->part = (struct iovec){(void *)zeros, HIGH_WATER};
    CHECK_EQ(ed_stream_send(&client->stream, &client->write, &client->part, 1,
                            on_written),
             0);
    CHECK(ed_stream_is_full(&client->stream));
}

static void is_idle(struct client *client, int peer)
{
    (void)client, (void)peer;
}

static void has_sent_something(struct client *client, int peer)
{
    (void)client;
    CHECK(send(peer, "x", 1, 0) == 1);
}

static void has_something_to_read(struct client *client, int peer)
{
    (void)peer;
    CHECK_EQ(ed_stream_write(&client->stream, "x", 1), 0);
}

static void is_not_read(struct client *client, int peer)
{
    (void)peer;
    ed_stream_read_stop(&client->stream);
}

static void has_unsent(struct client *client, int peer)
{
    (void)peer;
    leave_unsent(client);
}

static void has_unsent_and_is_not_read(struct client *client, int peer)
{
    (void)peer;
    leave_unsent(client);
    ed_stream_read_stop(&client->stream);
}

static void is_finishing(struct client *client, int peer)
{
    (void)peer;
    ed_stream_finish(&client->stream, 0, on_finish);
}

static void is_finishing_with_unsent(struct client *client, int peer)
{
    (void)peer;
    leave_unsent(client);
    ed_stream_finish(&client->stream, 0, on_finish);
}

static void has_been_told_the_end(struct client *client, int peer)
{
    (void)peer;
    CHECK_EQ(ed_stream_end(&client->stream), 0);
}

static void has_ended(struct client *client, int peer)
{
    (void)client;
    may_end = true;
    shutdown(peer, SHUT_WR);
}

static void has_ended_with_unsent(struct client *client, int peer)
{
    may_end = true;
    shutdown(peer, SHUT_WR);
    leave_unsent(client);
}

static void has_ended_and_been_told_the_end_with_unsent(struct client *client,
                                                        int peer)
{
    may_end = true;
    shutdown(peer, SHUT_WR);
    leave_unsent(client);
    CHECK_EQ(ed_stream_end(&client->stream), 0);
}

static const struct {
    const char *name;
    void (*prepare)(struct client *client, int peer);
    bool needs_write; // the server notices when it writes
    bool needs_read;  // or when it reads
} states[] = {
    {"idle", is_idle, false, false},
    {"has sent something", has_sent_something, false, false},
    {"has something to read", has_something_to_read, false, false},
    {"is written to", is_idle, true, false},
    {"is not read", is_not_read, false, true},
    {"is not read, but written to", is_not_read, true, false},
    {"unsent", has_unsent, false, false},
    {"unsent, not read", has_unsent_and_is_not_read, false, false},
    {"finishing", is_finishing, false, false},
    {"finishing, unsent", is_finishing_with_unsent, false, false},
    {"told the end", has_been_told_the_end, false, false},
    {"has ended", has_ended, true, false},
    {"has ended, unsent", has_ended_with_unsent, false, false},
    {"both ended, unsent", has_ended_and_been_told_the_end_with_unsent, false,
     false},
};

/* Has the server notice, if it is the one to act. Returns whether it has. */
static bool notices(struct client *client, bool by_write, bool by_read)
{
    if (ends)
        return true;
    if (by_read) {
        CHECK_EQ(ed_stream_read_start(&client->stream, on_read), 0);
        return false;
    }
    int err = by_write ? ed_stream_write(&client->stream, "x", 1) : 0;
    if (err)
        end_client(client, err);
    return err != 0;
}

static void check_a_reset(size_t state, bool at_unix, bool settles)
{
    begin(at_unix);
    int honest = join(ECHOES);
    int peer = join(STANDS);
    NEED(honest >= 0 && peer >= 0 && newest);
    struct client *client = newest;
    states[state].prepare(client, peer);
    bool has_write = client->write.stream;
    if (settles)
        settle();
    CHECK_EQ(ends, 0);
    reset(peer);
    if (settles)
        settle(); // whether it is noticed or not, nothing spins
    while (!notices(client, states[state].needs_write,
                    states[state].needs_read && settles))
        take_turn();
    // To Unix domain sockets a reset is an end, mostly.
    CHECK(is_unix() ? last_end <= 0 : last_end < 0);
    if (written)
        CHECK(last_written < 0);
    CHECK_EQ(written, has_write ? written : 0);
    CHECK(is_served(honest));
    CHECK_EQ(ends, 1);
    close(honest);
    end();
    if (tap_failures)
        printf("# in the state: %s\n", states[state].name);
}

static void a_reset_in_any_state_is_the_end_of_one_client(void)
{
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        check_a_reset(i, false, true);
        check_a_reset(i, true, true);
        if (tap_failures)
            return;
    }
}

static void a_reset_right_after_what_the_server_did_is_the_end_too(void)
{
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        if (states[i].needs_read)
            continue;
        check_a_reset(i, false, false);
        check_a_reset(i, true, false);
        if (tap_failures)
            return;
    }
}

static void a_connection_reset_before_it_is_accepted_harms_nobody(void)
{
    for (int at_unix = 0; at_unix < 2; at_unix++) {
        begin(at_unix);
        int honest = join(ECHOES);
        for (int i = 0; i < 50; i++) {
            int peer = connect_peer(0);
            NEED(peer >= 0);
            CHECK(send(peer, "x", 1, 0) == 1);
            reset(peer);
        }
        CHECK(is_served(honest));
        settle();
        CHECK_EQ(clients_left, 1);
        close(honest);
        end();
    }
}

/* ---- eddy as the client -------------------------------------------------- */

static int connects;
static int last_connect;

static void on_connect(struct ed_stream *stream)
{
    connects++;
    last_connect = stream->error;
}

static void a_server_that_goes_while_one_connects_is_an_error(void)
{
    begin(false);
    connects = 0;
    int doomed = socket(AF_INET, SOCK_STREAM, 0);
    struct ed_address at;
    CHECK_EQ(ed_address_ip(&at, "127.0.0.1", 0), 0);
    NEED(bind(doomed, &at.socket.any, at.size) == 0);
    NEED(listen(doomed, 4) == 0);
    NEED(getsockname(doomed, &at.socket.any, &at.size) == 0);

    struct client client = {0};
    clients_left++;
    NEED(ed_stream_connect(&loop, &client.stream, &at, 0, on_connect) == 0);
    CHECK_EQ(ed_stream_write(&client.stream, "hello", 5), 0);
    close(doomed); // it was in the queue: a reset
    WAIT_UNTIL(connects == 1);
    if (last_connect == 0) {
        int err = 0;
        while (!err) {
            err = ed_stream_write(&client.stream, "x", 1);
            take_turn();
        }
        CHECK(err < 0);
        ed_stream_close(&client.stream);
    }
    CHECK(!ed_stream_is_open(&client.stream));

    // Now nobody is there at all.
    struct ed_stream stream = {0};
    int err = ed_stream_connect(&loop, &stream, &at, 0, on_connect);
    if (!err) {
        WAIT_UNTIL(connects == 2);
        err = last_connect;
    }
    CHECK_EQ(err, -ECONNREFUSED);
    clients_left--;
    end();
}

/* ---- all at once --------------------------------------------------------- */

static uint64_t seed;

static unsigned draw(unsigned below)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

/* One thing that a peer may do; returns its descriptor, or -1 if it has gone.
 */
static int misbehave(int fd)
{
    char data[CHUNK];
    if (fd < 0) {
        next_kind = draw(4) ? ECHOES : ASKS;
        return connect_peer(draw(2) ? 4096 : 0);
    }
    switch (draw(8)) {
    case 0:
        reset(fd);
        return -1;
    case 1:
        close(fd);
        return -1;
    case 2:
        shutdown(fd, draw(2) ? SHUT_WR : SHUT_RD);
        return fd;
    case 3:
    case 4:
        (void)!recv(fd, data, 1 + draw(sizeof data), 0);
        return fd;
    default:
        (void)!send(fd, zeros, 1 + draw(sizeof zeros / 16), 0);
        return fd;
    }
}

static void nothing_that_others_do_harms_an_honest_client(void)
{
    enum { PEERS = 50, STEPS = 1500 };
    void (*before)(int) = signal(SIGPIPE, SIG_IGN); // of the peers' own
    for (int at_unix = 0; at_unix < 2; at_unix++) {
        begin(at_unix);
        int honest = join(ECHOES);
        NEED(honest >= 0);
        int peers[PEERS];
        for (int i = 0; i < PEERS; i++)
            peers[i] = -1;
        for (int step = 0; step < STEPS; step++) {
            int *peer = &peers[draw(PEERS)];
            *peer = misbehave(*peer);
            if (draw(3) == 0)
                CHECK(ed_loop_run_once(&loop, 0) >= 0);
            if (step % 20 == 0)
                NEED(is_served(honest));
        }
        CHECK(most_queued < 2 * HIGH_WATER);
        for (int i = 0; i < PEERS; i++)
            if (peers[i] >= 0)
                close(peers[i]);
        CHECK(is_served(honest));
        close(honest);
        end();
    }
    signal(SIGPIPE, before);
}

TESTS(TEST(a_slow_reader_costs_no_more_than_its_limit),
      TEST(who_sends_and_never_reads_is_stopped),
      TEST(a_byte_a_turn_is_served_as_it_comes),
      TEST(who_never_completes_a_line_meets_the_deadline),
      TEST(connections_that_have_to_wait_cost_no_turns),
      TEST(a_reset_in_any_state_is_the_end_of_one_client),
      TEST(a_reset_right_after_what_the_server_did_is_the_end_too),
      TEST(a_connection_reset_before_it_is_accepted_harms_nobody),
      TEST(a_server_that_goes_while_one_connects_is_an_error),
      TEST(nothing_that_others_do_harms_an_honest_client))
