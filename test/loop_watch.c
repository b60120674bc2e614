#include "loop/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "test/tap.h"

/* A watch that remembers its calls. */
struct probe {
    struct ed_watch watch;
    int calls;
    unsigned ready;      // of its last call
    struct probe *other; // to do something to in the callback
    int fds[2];
};

static struct ed_loop loop;
static struct ed_hook turn_hook;
static int turns; // waits that the loop has come to

static void count_turn(struct ed_hook *hook)
{
    (void)hook;
    turns++;
}

static void begin(void)
{
    turns = 0;
    CHECK_EQ(ed_loop_init(&loop), 0);
    turn_hook = (struct ed_hook){0};
    ed_hook_prepare(&loop, &turn_hook, count_turn);
}

static void end(void)
{
    CHECK(!ed_loop_is_alive(&loop));
    ed_loop_destroy(&loop);
}

/* A turn that takes what is there and does not wait. */
static void take_turn(void)
{
    CHECK(ed_loop_run_once(&loop, 0) >= 0);
}

/* A turn that waits for something to happen; not for ever, if it does not. */
static void wait_turn(void)
{
    CHECK(ed_loop_run_once(&loop, (int64_t)(10 * ED_S)) >= 0);
}

static struct probe *probe_of(struct ed_watch *watch)
{
    return ED_CONTAINER_OF(watch, struct probe, watch);
}

static void note(struct ed_watch *watch)
{
    struct probe *probe = probe_of(watch);
    probe->calls++;
    probe->ready = watch->ready;
}

static void note_and_stop(struct ed_watch *watch)
{
    note(watch);
    ed_watch_stop(watch);
}

static void set_nonblocking(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* Connected sockets that do not block; returns whether there are. */
static bool open_sockets(int fds[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds))
        return false;
    set_nonblocking(fds[0]);
    set_nonblocking(fds[1]);
    return true;
}

static bool open_pipe(int fds[2])
{
    if (pipe(fds))
        return false;
    set_nonblocking(fds[0]);
    set_nonblocking(fds[1]);
    return true;
}

static void close_both(const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

static void put_byte(int fd)
{
    CHECK(write(fd, "x", 1) == 1);
}

static void take_byte(int fd)
{
    char byte;
    CHECK(read(fd, &byte, 1) == 1);
}

static void fill(int fd)
{
    static const char block[4096];
    while (write(fd, block, sizeof block) > 0)
        ;
    CHECK(errno == EAGAIN || errno == EWOULDBLOCK);
}

static void drain(int fd)
{
    char block[4096];
    while (read(fd, block, sizeof block) > 0)
        ;
}

/* ---- what is told -------------------------------------------------------- */

static void a_readable_descriptor_is_told_until_it_has_been_read(void)
{
    struct probe probe = {0};
    begin();
    NEED(open_sockets(probe.fds));
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0], ED_READABLE, note) ==
         0);
    CHECK(ed_watch_is_active(&probe.watch));
    CHECK_EQ(probe.watch.fd, probe.fds[0]);
    take_turn();
    CHECK_EQ(probe.calls, 0);

    put_byte(probe.fds[1]);
    put_byte(probe.fds[1]);
    wait_turn();
    CHECK_EQ(probe.calls, 1);
    CHECK_EQ(probe.ready, ED_READABLE);
    take_byte(probe.fds[0]);
    wait_turn();
    CHECK_EQ(probe.calls, 2);
    take_byte(probe.fds[0]);
    take_turn();
    CHECK_EQ(probe.calls, 2);
    put_byte(probe.fds[1]);
    wait_turn();
    CHECK_EQ(probe.calls, 3);

    ed_watch_stop(&probe.watch);
    take_turn();
    CHECK_EQ(probe.calls, 3);
    close_both(probe.fds);
    end();
}

static void a_writable_descriptor_is_told_until_it_is_full(void)
{
    struct probe probe = {0};
    begin();
    NEED(open_sockets(probe.fds));
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0], ED_WRITABLE, note) ==
         0);
    wait_turn();
    CHECK_EQ(probe.calls, 1);
    CHECK_EQ(probe.ready, ED_WRITABLE);
    fill(probe.fds[0]);
    take_turn();
    CHECK_EQ(probe.calls, 1);
    drain(probe.fds[1]);
    wait_turn();
    CHECK_EQ(probe.calls, 2);
    ed_watch_stop(&probe.watch);
    close_both(probe.fds);
    end();
}

static void both_directions_are_told_in_one_call(void)
{
    struct probe probe = {0};
    begin();
    NEED(open_sockets(probe.fds));
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0],
                        ED_READABLE | ED_WRITABLE, note) == 0);
    put_byte(probe.fds[1]);
    wait_turn();
    CHECK_EQ(probe.calls, 1);
    CHECK_EQ(probe.ready, ED_READABLE | ED_WRITABLE);
    take_byte(probe.fds[0]);
    wait_turn();
    CHECK_EQ(probe.calls, 2);
    CHECK_EQ(probe.ready, ED_WRITABLE);
    put_byte(probe.fds[1]);
    fill(probe.fds[0]);
    wait_turn();
    CHECK_EQ(probe.calls, 3);
    CHECK_EQ(probe.ready, ED_READABLE);
    ed_watch_stop(&probe.watch);
    close_both(probe.fds);
    end();
}

static void a_direction_that_is_not_of_interest_is_not_told(void)
{
    struct probe reader = {0}, writer = {0};
    begin();
    NEED(open_sockets(reader.fds));
    NEED(ed_watch_start(&loop, &reader.watch, reader.fds[0], ED_READABLE,
                        note) == 0);
    NEED(ed_watch_start(&loop, &writer.watch, reader.fds[1], ED_WRITABLE,
                        note) == 0);
    put_byte(reader.fds[0]);
    put_byte(reader.fds[1]);
    wait_turn();
    CHECK_EQ(reader.ready, ED_READABLE);
    CHECK_EQ(writer.ready, ED_WRITABLE);
    ed_watch_stop(&reader.watch);
    ed_watch_stop(&writer.watch);
    close_both(reader.fds);
    end();
}

static void a_closed_socket_hangs_up_and_its_data_can_still_be_read(void)
{
    struct probe probe = {0};
    char bytes[8];
    begin();
    NEED(open_sockets(probe.fds));
    put_byte(probe.fds[1]);
    close(probe.fds[1]);
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0], ED_READABLE, note) ==
         0);
    wait_turn();
    CHECK_EQ(probe.calls, 1);
    CHECK((probe.ready & ED_READABLE) && (probe.ready & ED_HANGUP));
    CHECK_EQ(read(probe.fds[0], bytes, sizeof bytes), 1);
    CHECK_EQ(read(probe.fds[0], bytes, sizeof bytes), 0);
    wait_turn(); // the end is told again, too
    CHECK_EQ(probe.calls, 2);
    CHECK((probe.ready & ED_READABLE) && (probe.ready & ED_HANGUP));
    ed_watch_stop(&probe.watch);
    close(probe.fds[0]);
    end();
}

static void one_that_will_send_no_more_hangs_up_and_can_be_written_to(void)
{
    struct probe probe = {0};
    char byte;
    begin();
    NEED(open_sockets(probe.fds));
    NEED(shutdown(probe.fds[1], SHUT_WR) == 0);
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0], ED_READABLE, note) ==
         0);
    wait_turn();
    CHECK_EQ(probe.calls, 1);
    CHECK_EQ(probe.ready, ED_READABLE | ED_HANGUP);
    CHECK_EQ(read(probe.fds[0], &byte, 1), 0);
    put_byte(probe.fds[0]);
    take_byte(probe.fds[1]);
    ed_watch_stop(&probe.watch);
    close_both(probe.fds);
    end();
}

static void a_writer_is_told_that_the_other_side_is_gone(void)
{
    struct probe probe = {0};
    begin();
    signal(SIGPIPE, SIG_IGN);
    NEED(open_sockets(probe.fds));
    fill(probe.fds[0]);
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0], ED_WRITABLE, note) ==
         0);
    close(probe.fds[1]);
    wait_turn();
    CHECK_EQ(probe.calls, 1);
    CHECK(probe.ready & ED_WRITABLE);
    CHECK(probe.ready & (ED_HANGUP | ED_ERROR));
    CHECK(write(probe.fds[0], "x", 1) < 0);
    ed_watch_stop(&probe.watch);
    close(probe.fds[0]);
    signal(SIGPIPE, SIG_DFL);
    end();
}

static void the_writer_of_a_pipe_without_reader_is_told_an_error(void)
{
    struct probe probe = {0};
    begin();
    signal(SIGPIPE, SIG_IGN);
    NEED(open_pipe(probe.fds));
    fill(probe.fds[1]);
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[1], ED_WRITABLE, note) ==
         0);
    take_turn();
    CHECK_EQ(probe.calls, 0);
    close(probe.fds[0]);
    wait_turn();
    CHECK_EQ(probe.calls, 1);
    CHECK((probe.ready & ED_WRITABLE) && (probe.ready & ED_ERROR));
    CHECK(write(probe.fds[1], "x", 1) < 0 && errno == EPIPE);
    ed_watch_stop(&probe.watch);
    close(probe.fds[1]);
    signal(SIGPIPE, SIG_DFL);
    end();
}

static void the_reader_of_a_pipe_without_writer_is_told_the_end(void)
{
    struct probe probe = {0};
    char byte;
    begin();
    NEED(open_pipe(probe.fds));
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0], ED_READABLE, note) ==
         0);
    close(probe.fds[1]);
    wait_turn();
    CHECK_EQ(probe.calls, 1);
    CHECK_EQ(probe.ready, ED_READABLE | ED_HANGUP);
    CHECK_EQ(read(probe.fds[0], &byte, 1), 0);
    ed_watch_stop(&probe.watch);
    close(probe.fds[0]);
    end();
}

static void a_fifo_is_watched_like_a_pipe(void)
{
    char folder[] = "/tmp/eddy-test-XXXXXX", path[64];
    struct probe probe = {0};
    begin();
    NEED(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/fifo", folder);
    NEED(mkfifo(path, 0600) == 0);
    probe.fds[0] = open(path, O_RDONLY | O_NONBLOCK);
    probe.fds[1] = open(path, O_WRONLY | O_NONBLOCK);
    NEED(probe.fds[0] >= 0 && probe.fds[1] >= 0);
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0], ED_READABLE, note) ==
         0);
    take_turn();
    CHECK_EQ(probe.calls, 0);
    put_byte(probe.fds[1]);
    wait_turn();
    CHECK_EQ(probe.ready, ED_READABLE);
    take_byte(probe.fds[0]);
    close(probe.fds[1]);
    wait_turn();
    CHECK_EQ(probe.ready, ED_READABLE | ED_HANGUP);
    CHECK_EQ(probe.calls, 2);
    ed_watch_stop(&probe.watch);
    close(probe.fds[0]);
    unlink(path);
    rmdir(folder);
    end();
}

static void connections_are_told_on_both_sides(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct probe server = {0}, client = {0};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    NEED(listener >= 0 && connection >= 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) ||
        listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&address, &length))
        SKIP("no loopback interface");

    begin();
    set_nonblocking(connection);
    NEED(ed_watch_start(&loop, &server.watch, listener, ED_READABLE,
                        note_and_stop) == 0);
    CHECK(connect(connection, (struct sockaddr *)&address, sizeof address) ==
              0 ||
          errno == EINPROGRESS);
    NEED(ed_watch_start(&loop, &client.watch, connection, ED_WRITABLE,
                        note_and_stop) == 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(server.ready, ED_READABLE);
    CHECK_EQ(client.ready, ED_WRITABLE);
    int accepted = accept(listener, NULL, NULL);
    CHECK(accepted >= 0);
    close(accepted);
    close(connection);
    close(listener);
    end();
}

static void a_refused_connection_is_told_to_its_writer(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct probe client = {0};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    // Bound and not listening: nobody else gets the port, and it refuses.
    int bound = socket(AF_INET, SOCK_STREAM, 0);
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    NEED(bound >= 0 && connection >= 0);
    if (bind(bound, (struct sockaddr *)&address, sizeof address) ||
        getsockname(bound, (struct sockaddr *)&address, &length))
        SKIP("no loopback interface");

    begin();
    set_nonblocking(connection);
    if (connect(connection, (struct sockaddr *)&address, sizeof address) < 0 &&
        errno == EINPROGRESS) {
        int err = 0;
        length = sizeof err;
        NEED(ed_watch_start(&loop, &client.watch, connection, ED_WRITABLE,
                            note_and_stop) == 0);
        CHECK_EQ(ed_loop_run(&loop), 0);
        CHECK(client.ready & ED_WRITABLE);
        CHECK(client.ready & (ED_HANGUP | ED_ERROR));
        CHECK_EQ(getsockopt(connection, SOL_SOCKET, SO_ERROR, &err, &length),
                 0);
        CHECK_EQ(err, ECONNREFUSED);
    }
    close(connection);
    close(bound);
    end();
}

/* ---- interest ------------------------------------------------------------ */

static void interest_can_be_changed_and_taken_back(void)
{
    struct probe probe = {0};
    begin();
    NEED(open_sockets(probe.fds));
    put_byte(probe.fds[1]);
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0], 0, note) == 0);
    take_turn();
    CHECK_EQ(probe.calls, 0);

    static const unsigned interests[] = {
        ED_READABLE, ED_WRITABLE, ED_READABLE | ED_WRITABLE,
        0,           ED_WRITABLE, ED_READABLE,
        0,           0,           ED_READABLE | ED_WRITABLE,
        ED_READABLE, 0,           ED_READABLE,
    };
    int calls = 0;
    for (size_t i = 0; i < sizeof interests / sizeof *interests; i++) {
        ed_watch_change(&probe.watch, interests[i]);
        take_turn();
        take_turn();
        calls += interests[i] ? 2 : 0;
        CHECK_EQ(probe.calls, calls);
        if (interests[i])
            CHECK_EQ(probe.ready, interests[i]);
    }
    ed_watch_stop(&probe.watch);
    close_both(probe.fds);
    end();
}

static void only_the_last_change_of_a_turn_counts(void)
{
    struct probe probe = {0};
    begin();
    NEED(open_sockets(probe.fds));
    put_byte(probe.fds[1]);
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0], ED_READABLE, note) ==
         0);
    ed_watch_change(&probe.watch, 0);
    ed_watch_change(&probe.watch, ED_READABLE | ED_WRITABLE);
    ed_watch_change(&probe.watch, ED_WRITABLE);
    take_turn();
    CHECK_EQ(probe.ready, ED_WRITABLE);
    ed_watch_change(&probe.watch, ED_READABLE);
    ed_watch_change(&probe.watch, 0);
    take_turn();
    CHECK_EQ(probe.calls, 1);
    ed_watch_stop(&probe.watch);
    close_both(probe.fds);
    end();
}

static void take_interest_back(struct ed_watch *watch)
{
    note(watch);
    ed_watch_change(watch, 0);
}

static void a_hang_up_without_interest_does_not_make_the_loop_turn(void)
{
    struct probe from_start = {0}, from_then_on = {0};
    begin();
    NEED(open_sockets(from_start.fds) && open_sockets(from_then_on.fds));
    NEED(ed_watch_start(&loop, &from_start.watch, from_start.fds[0], 0, note) ==
         0);
    NEED(ed_watch_start(&loop, &from_then_on.watch, from_then_on.fds[0],
                        ED_READABLE, take_interest_back) == 0);
    close(from_start.fds[1]);
    close(from_then_on.fds[1]);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(ed_loop_run_once(&loop, (int64_t)ED_MS), 1);
    CHECK_EQ(from_start.calls, 0);
    CHECK_EQ(from_then_on.calls, 1);

    struct ed_timer timer = {0};
    turns = 0;
    ed_watch_unref(&from_start.watch);
    ed_watch_unref(&from_then_on.watch);
    ed_timer_start(&loop, &timer, 20 * ED_MS, ed_timer_stop);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK(turns <= 3);
    ed_watch_stop(&from_start.watch);
    ed_watch_stop(&from_then_on.watch);
    close(from_start.fds[0]);
    close(from_then_on.fds[0]);
    end();
}

static void silence_other(struct ed_watch *watch)
{
    note(watch);
    ed_watch_change(&probe_of(watch)->other->watch, 0);
}

static void check_silencing(bool by_hang_up)
{
    struct probe a = {0}, b = {.other = &a};
    a.other = &b;
    begin();
    NEED(open_sockets(a.fds) && open_sockets(b.fds));
    NEED(ed_watch_start(&loop, &a.watch, a.fds[0], ED_READABLE,
                        silence_other) == 0);
    NEED(ed_watch_start(&loop, &b.watch, b.fds[0], ED_READABLE,
                        silence_other) == 0);
    put_byte(a.fds[1]);
    put_byte(b.fds[1]);
    if (by_hang_up) {
        CHECK(shutdown(a.fds[1], SHUT_WR) == 0);
        CHECK(shutdown(b.fds[1], SHUT_WR) == 0);
    }
    wait_turn();
    CHECK_EQ(a.calls + b.calls, 1);
    ed_watch_stop(&a.watch);
    ed_watch_stop(&b.watch);
    close_both(a.fds);
    close_both(b.fds);
    end();
}

static void a_watch_that_is_silenced_in_its_turn_is_not_called(void)
{
    check_silencing(false);
    check_silencing(true);
}

static void make_other_a_writer(struct ed_watch *watch)
{
    note(watch);
    ed_watch_change(&probe_of(watch)->other->watch, ED_WRITABLE);
}

static void a_watch_is_not_told_what_it_lost_interest_in_in_its_turn(void)
{
    struct probe a = {0}, b = {.other = &a};
    a.other = &b;
    begin();
    NEED(open_sockets(a.fds) && open_sockets(b.fds));
    put_byte(a.fds[1]);
    put_byte(b.fds[1]);
    NEED(ed_watch_start(&loop, &a.watch, a.fds[0], ED_READABLE,
                        make_other_a_writer) == 0);
    NEED(ed_watch_start(&loop, &b.watch, b.fds[0], ED_READABLE,
                        make_other_a_writer) == 0);
    wait_turn();
    CHECK_EQ(a.calls + b.calls, 1);
    struct probe *writer = a.calls ? &b : &a;
    wait_turn();
    CHECK_EQ(writer->ready, ED_WRITABLE);
    ed_watch_stop(&a.watch);
    ed_watch_stop(&b.watch);
    close_both(a.fds);
    close_both(b.fds);
    end();
}

/* ---- stop, close and free in callbacks ----------------------------------- */

static int freed;

static void stop_close_and_free(struct ed_watch *watch)
{
    struct probe *probe = probe_of(watch);
    ed_watch_change(watch, ED_WRITABLE); // of which nothing may be left
    ed_watch_stop(watch);
    close_both(probe->fds);
    free(probe);
    freed++;
}

static void a_watch_may_be_stopped_closed_and_freed_in_its_callback(void)
{
    enum { COUNT = 10 };
    freed = 0;
    begin();
    for (int i = 0; i < COUNT; i++) {
        struct probe *probe = calloc(1, sizeof *probe);
        NEED(probe && open_sockets(probe->fds));
        put_byte(probe->fds[1]);
        NEED(ed_watch_start(&loop, &probe->watch, probe->fds[0],
                            ED_READABLE | ED_WRITABLE,
                            stop_close_and_free) == 0);
    }
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(freed, COUNT);
    end();
}

static struct probe *survivor;

static void stop_and_free_other(struct ed_watch *watch)
{
    struct probe *probe = probe_of(watch);
    note(watch);
    if (!probe->other)
        return;
    ed_watch_stop(&probe->other->watch);
    close_both(probe->other->fds);
    free(probe->other);
    probe->other = NULL;
    survivor = probe;
}

static void a_watch_that_is_stopped_and_freed_in_its_turn_is_not_called(void)
{
    struct probe *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
    begin();
    NEED(a && b && open_sockets(a->fds) && open_sockets(b->fds));
    a->other = b;
    b->other = a;
    put_byte(a->fds[1]);
    put_byte(b->fds[1]);
    NEED(ed_watch_start(&loop, &a->watch, a->fds[0], ED_READABLE,
                        stop_and_free_other) == 0);
    NEED(ed_watch_start(&loop, &b->watch, b->fds[0], ED_READABLE,
                        stop_and_free_other) == 0);
    // Whichever is called first is alone from then on.
    survivor = NULL;
    wait_turn();
    NEED(survivor);
    wait_turn();
    CHECK_EQ(survivor->calls, 2);
    ed_watch_stop(&survivor->watch);
    close_both(survivor->fds);
    free(survivor);
    end();
}

static struct probe newcomer;

/* Puts a new watch, on a new descriptor of the same number, in its place. */
static void replace_other(struct ed_watch *watch)
{
    struct probe *probe = probe_of(watch);
    note(watch);
    if (!probe->other)
        return;
    int number = probe->other->fds[0];
    ed_watch_stop(&probe->other->watch);
    close(number);
    CHECK_EQ(dup2(newcomer.fds[0], number), number);
    CHECK_EQ(ed_watch_start(&loop, &newcomer.watch, number, ED_READABLE, note),
             0);
    probe->other->other = NULL;
    probe->other = NULL;
}

static void a_new_watch_on_a_used_number_is_told_nothing_of_the_old_one(void)
{
    struct probe a = {0}, b = {.other = &a};
    a.other = &b;
    newcomer = (struct probe){0};
    begin();
    NEED(open_sockets(a.fds) && open_sockets(b.fds) &&
         open_sockets(newcomer.fds));
    put_byte(a.fds[1]);
    put_byte(b.fds[1]);
    NEED(ed_watch_start(&loop, &a.watch, a.fds[0], ED_READABLE,
                        replace_other) == 0);
    NEED(ed_watch_start(&loop, &b.watch, b.fds[0], ED_READABLE,
                        replace_other) == 0);
    wait_turn();
    CHECK_EQ(a.calls + b.calls, 1);
    wait_turn();
    CHECK_EQ(a.calls + b.calls, 2);
    CHECK_EQ(newcomer.calls, 0);
    put_byte(newcomer.fds[1]);
    wait_turn();
    CHECK_EQ(newcomer.calls, 1);
    ed_watch_stop(&a.watch);
    ed_watch_stop(&b.watch);
    ed_watch_stop(&newcomer.watch);
    close_both(a.fds);
    close_both(b.fds);
    close_both(newcomer.fds);
    end();
}

static void restart_for_writing(struct ed_watch *watch)
{
    note(watch);
    CHECK_EQ(
        ed_watch_start(&loop, watch, watch->fd, ED_WRITABLE, note_and_stop), 0);
}

static void a_watch_may_be_started_anew_in_its_callback(void)
{
    struct probe probe = {0};
    begin();
    NEED(open_sockets(probe.fds));
    put_byte(probe.fds[1]);
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0], ED_READABLE,
                        restart_for_writing) == 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 2);
    CHECK_EQ(probe.ready, ED_WRITABLE);
    close_both(probe.fds);
    end();
}

static void to_start_a_started_watch_starts_it_anew(void)
{
    struct probe probe = {0};
    begin();
    NEED(open_sockets(probe.fds));
    put_byte(probe.fds[0]);
    put_byte(probe.fds[1]);
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0],
                        ED_READABLE | ED_WRITABLE, stop_close_and_free) == 0);
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[1], ED_READABLE,
                        note_and_stop) == 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 1);
    CHECK_EQ(probe.ready, ED_READABLE);
    close_both(probe.fds);
    end();
}

static void a_changed_watch_may_be_stopped_and_freed_before_the_turn(void)
{
    struct probe *probe = calloc(1, sizeof *probe);
    begin();
    NEED(probe && open_sockets(probe->fds));
    NEED(ed_watch_start(&loop, &probe->watch, probe->fds[0], 0, note) == 0);
    ed_watch_change(&probe->watch, ED_WRITABLE);
    ed_watch_stop(&probe->watch);
    ed_watch_stop(&probe->watch);
    close_both(probe->fds);
    free(probe);
    take_turn();
    end();
}

/* ---- errors -------------------------------------------------------------- */

static void check_refused(int fd, int err)
{
    struct probe probe = {0};
    CHECK_EQ(ed_watch_start(&loop, &probe.watch, fd, ED_READABLE, note), err);
    CHECK(!ed_watch_is_active(&probe.watch));
    CHECK(!ed_loop_is_alive(&loop));
    ed_watch_stop(&probe.watch);
    take_turn();
    CHECK_EQ(probe.calls, 0);
}

static void a_bad_descriptor_is_refused(void)
{
    int fds[2];
    begin();
    NEED(open_pipe(fds));
    close_both(fds);
    check_refused(-1, -EBADF);
    check_refused(fds[0], -EBADF);
    end();
}

static void files_and_folders_are_refused(void)
{
    FILE *file = tmpfile();
    int folder = open("/", O_RDONLY);
    begin();
    NEED(file && folder >= 0);
    check_refused(fileno(file), -EPERM);
    check_refused(folder, -EPERM);
    close(folder);
    fclose(file);
    end();
}

static void a_bad_descriptor_without_interest_is_told_at_the_latest_then(void)
{
    struct probe probe = {0};
    int fds[2];
    begin();
    NEED(open_pipe(fds));
    close_both(fds);
    if (ed_watch_start(&loop, &probe.watch, fds[0], 0, note) == 0) {
        take_turn();
        CHECK_EQ(probe.calls, 0);
        ed_watch_change(&probe.watch, ED_READABLE);
        wait_turn();
        CHECK_EQ(probe.calls, 1);
        CHECK_EQ(probe.ready, ED_ERROR);
        take_turn();
        CHECK_EQ(probe.calls, 1);
        ed_watch_stop(&probe.watch);
    }
    end();
}

static void a_descriptor_has_one_watch_and_dup_makes_more(void)
{
#if !defined __linux__ || defined KQUEUE_DOUBLE
    SKIP("told by epoll only");
#endif
    struct probe first = {0}, second = {0};
    begin();
    NEED(open_sockets(first.fds));
    put_byte(first.fds[1]);
    NEED(ed_watch_start(&loop, &first.watch, first.fds[0], ED_READABLE, note) ==
         0);
    CHECK_EQ(
        ed_watch_start(&loop, &second.watch, first.fds[0], ED_READABLE, note),
        -EEXIST);
    CHECK(!ed_watch_is_active(&second.watch));
    wait_turn();
    CHECK_EQ(first.calls, 1);
    ed_watch_stop(&first.watch);
    close_both(first.fds);
    end();
}

static void each_dup_of_a_descriptor_is_told(void)
{
    struct probe first = {0}, second = {0};
    begin();
    NEED(open_sockets(first.fds));
    int other = dup(first.fds[0]);
    NEED(other >= 0);
    NEED(ed_watch_start(&loop, &first.watch, first.fds[0], ED_READABLE, note) ==
         0);
    NEED(ed_watch_start(&loop, &second.watch, other, ED_READABLE, note) == 0);
    put_byte(first.fds[1]);
    wait_turn();
    CHECK_EQ(first.calls, 1);
    CHECK_EQ(second.calls, 1);
    // Stopped and closed, one says nothing while the other goes on.
    ed_watch_stop(&first.watch);
    close(first.fds[0]);
    wait_turn();
    CHECK_EQ(first.calls, 1);
    CHECK_EQ(second.calls, 2);
    ed_watch_stop(&second.watch);
    close(other);
    close(first.fds[1]);
    end();
}

/* ---- many ---------------------------------------------------------------- */

enum { MANY = 1000 };

static struct probe many[MANY];

static void a_thousand_watches_that_are_ready_at_once_are_all_called(void)
{
    struct rlimit limit;
    int fds[2];
    NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur < MANY + 100) {
        limit.rlim_cur = MANY + 100;
        if (setrlimit(RLIMIT_NOFILE, &limit))
            SKIP("too few descriptors");
    }

    begin();
    NEED(open_pipe(fds));
    put_byte(fds[1]);
    for (int i = 0; i < MANY; i++) {
        many[i] = (struct probe){0};
        int fd = dup(fds[0]);
        NEED(fd >= 0);
        NEED(ed_watch_start(&loop, &many[i].watch, fd, ED_READABLE, note) == 0);
    }
    // They stay ready, and yet none waits for ever behind the others.
    int missing = MANY;
    for (int turn = 0; turn < MANY && missing; turn++) {
        wait_turn();
        missing = 0;
        for (int i = 0; i < MANY; i++)
            missing += many[i].calls == 0;
    }
    CHECK_EQ(missing, 0);
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(many[i].ready, ED_READABLE);
        ed_watch_stop(&many[i].watch);
        close(many[i].watch.fd);
    }
    close_both(fds);
    end();
}

static void a_thousand_watches_that_stop_when_ready_are_called_once(void)
{
    int fds[2];
    begin();
    NEED(open_pipe(fds));
    put_byte(fds[1]);
    int count = 0;
    for (; count < MANY; count++) {
        many[count] = (struct probe){0};
        int fd = dup(fds[0]);
        if (fd < 0)
            break;
        NEED(ed_watch_start(&loop, &many[count].watch, fd, ED_READABLE,
                            note_and_stop) == 0);
    }
    CHECK(count > 200);
    CHECK_EQ(ed_loop_run(&loop), 0);
    for (int i = 0; i < count; i++) {
        CHECK_EQ(many[i].calls, 1);
        close(many[i].watch.fd);
    }
    close_both(fds);
    end();
}

TESTS(TEST(a_readable_descriptor_is_told_until_it_has_been_read),
      TEST(a_writable_descriptor_is_told_until_it_is_full),
      TEST(both_directions_are_told_in_one_call),
      TEST(a_direction_that_is_not_of_interest_is_not_told),
      TEST(a_closed_socket_hangs_up_and_its_data_can_still_be_read),
      TEST(one_that_will_send_no_more_hangs_up_and_can_be_written_to),
      TEST(a_writer_is_told_that_the_other_side_is_gone),
      TEST(the_writer_of_a_pipe_without_reader_is_told_an_error),
      TEST(the_reader_of_a_pipe_without_writer_is_told_the_end),
      TEST(a_fifo_is_watched_like_a_pipe),
      TEST(connections_are_told_on_both_sides),
      TEST(a_refused_connection_is_told_to_its_writer),
      TEST(interest_can_be_changed_and_taken_back),
      TEST(only_the_last_change_of_a_turn_counts),
      TEST(a_hang_up_without_interest_does_not_make_the_loop_turn),
      TEST(a_watch_that_is_silenced_in_its_turn_is_not_called),
      TEST(a_watch_is_not_told_what_it_lost_interest_in_in_its_turn),
      TEST(a_watch_may_be_stopped_closed_and_freed_in_its_callback),
      TEST(a_watch_that_is_stopped_and_freed_in_its_turn_is_not_called),
      TEST(a_new_watch_on_a_used_number_is_told_nothing_of_the_old_one),
      TEST(a_watch_may_be_started_anew_in_its_callback),
      TEST(to_start_a_started_watch_starts_it_anew),
      TEST(a_changed_watch_may_be_stopped_and_freed_before_the_turn),
      TEST(a_bad_descriptor_is_refused), TEST(files_and_folders_are_refused),
      TEST(a_bad_descriptor_without_interest_is_told_at_the_latest_then),
      TEST(a_descriptor_has_one_watch_and_dup_makes_more),
      TEST(each_dup_of_a_descriptor_is_told),
      TEST(a_thousand_watches_that_are_ready_at_once_are_all_called),
      TEST(a_thousand_watches_that_stop_when_ready_are_called_once))
