/*
 * Peers that vanish without a word, and a network that loses things: two
 * network namespaces, joined by a pair of devices of which one goes down.
 *
 *     [ here: the server, an honest client ] === [ there: the peers ]
 *
 * A socket belongs to the namespace in which it was made, so that all this is
 * one thread. It takes Linux, root and ip(8); otherwise nothing is tested.
 */
#include "loop/loop.h"

#include "test/tap.h"

#if !defined __linux__

static void networks_are_made_on_linux_only(void)
{
    SKIP("no network namespaces");
}

TESTS(TEST(networks_are_made_on_linux_only))

#else

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>

#include "loop/listener.h"
#include "loop/stream.h"

enum { MOST_FDS = 1024, AMOUNT = 4 * 1024 * 1024 };

static const uint64_t soon_ns = 200 * ED_MS;

/* ---- the network ------------------------------------------------------- */

static int home = -1, here = -1, there = -1; // namespaces

/* Runs a command of the shell. Returns whether it succeeded. */
static bool run(const char *command)
{
    char line[256];
    snprintf(line, sizeof line,
             "PATH=$PATH:/usr/sbin:/sbin; %s >/dev/null 2>&1", command);
    fflush(NULL);
    return system(line) == 0;
}

static bool run_there(const char *command)
{
    bool is_good = setns(there, CLONE_NEWNET) == 0 && run(command);
    return setns(here, CLONE_NEWNET) == 0 && is_good;
}

static int open_namespace(void)
{
    return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

/* Returns why not, or NULL. From then on this thread is here. */
static const char *make_network(void)
{
    home = open_namespace();
    if (home < 0 || unshare(CLONE_NEWNET))
        return "may not make network namespaces";
    here = open_namespace();
    if (unshare(CLONE_NEWNET))
        return "may not make network namespaces";
    there = open_namespace();
    char command[128];
    snprintf(command, sizeof command,
             "ip link add there type veth peer name here netns /proc/%d/fd/%d",
             (int)getpid(), here);
    if (!run(command) || !run("ip addr add 10.9.0.2/24 dev there && "
                              "ip link set there up"))
        return "no ip(8), or no pairs of devices";
    if (setns(here, CLONE_NEWNET) ||
        !run("ip link set lo up && ip addr add 10.9.0.1/24 dev here && "
             "ip link set here up"))
        return "no ip(8), or no pairs of devices";
    return NULL;
}

static void remove_network(void)
{
    CHECK(here < 0 || setns(home, CLONE_NEWNET) == 0);
    int fds[] = {home, here, there};
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    home = here = there = -1;
}

static void set_link(bool is_up)
{
    CHECK(run_there(is_up ? "ip link set there up" : "ip link set there down"));
}

/* ---- the server ---------------------------------------------------------- */

struct client {
    struct ed_stream stream;
    struct ed_timer idle;
};

static struct ed_loop loop;
static struct ed_listener listener;
static struct ed_address address;
static struct client *newest;
static int clients, ends;
static int64_t last_end;
static uint64_t idle_ns; // 0: no limit
static bool is_kept_alive;
static int fds_before;
static int honest; // a client here
static const char zeros[AMOUNT];

static int count_fds(void)
{
    int count = 0;
    for (int fd = 0; fd < MOST_FDS; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void end_client(struct client *client, int64_t how)
{
    clients--;
    ends++;
    last_end = how;
    ed_timer_stop(&client->idle);
    ed_stream_close(&client->stream);
    free(client);
}

static struct client *client_of(struct ed_stream *stream)
{
    return ED_CONTAINER_OF(stream, struct client, stream);
}

static void on_idle(struct ed_timer *timer)
{
    end_client(ED_CONTAINER_OF(timer, struct client, idle), -ETIMEDOUT);
}

static void on_finish(struct ed_stream *stream)
{
    end_client(client_of(stream), stream->error);
}

static void on_read(struct ed_stream *stream, char *data, int64_t size)
{
    struct client *client = client_of(stream);
    if (size <= 0 || ed_stream_write(stream, data, (size_t)size)) {
        end_client(client, size);
        return;
    }
    if (ed_timer_is_active(&client->idle))
        ed_timer_again(&client->idle);
    if (ed_stream_is_full(stream))
        ed_stream_read_stop(stream);
}

static void on_drain(struct ed_stream *stream)
{
    struct client *client = client_of(stream);
    if (stream->error || ed_stream_read_start(stream, on_read))
        end_client(client, stream->error);
    else if (ed_timer_is_active(&client->idle))
        ed_timer_again(&client->idle);
}

static void on_accept(struct ed_listener *at, int fd)
{
    (void)at;
    struct client *client = calloc(1, sizeof *client);
    if (!client)
        abort();
    newest = client;
    clients++;
    client->stream.on_drain = on_drain;
    ed_stream_open_socket(&loop, &client->stream, fd);
    CHECK_EQ(ed_stream_read_start(&client->stream, on_read), 0);
    if (idle_ns)
        ed_timer_start(&loop, &client->idle, idle_ns, on_idle);
    if (is_kept_alive)
        CHECK_EQ(ed_stream_keep_alive(&client->stream, 1, 1, 2), 0);
}

static void take_turn(void)
{
    CHECK(ed_loop_run_once(&loop, (int64_t)ED_MS) >= 0);
}

#define WAIT_UNTIL(condition)                                                  \
    while (!(condition))                                                       \
    take_turn()

static int connect_to(const char *host)
{
    struct ed_address to;
    if (ed_address_ip(&to, host, ed_address_port(&address)))
        return -1;
    newest = NULL;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, &to.socket.any, to.size)) {
        close(fd);
        return -1;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    WAIT_UNTIL(newest);
    return fd;
}

/* A peer on the other side of the link, which the server has as newest. */
static int connect_from_there(void)
{
    CHECK(setns(there, CLONE_NEWNET) == 0);
    int fd = connect_to("10.9.0.1");
    CHECK(setns(here, CLONE_NEWNET) == 0);
    return fd;
}

/* Waits for as many bytes, or any if size is 0. Returns whether they came. */
static bool receive(int fd, size_t size)
{
    static char data[64 * 1024];
    while (size) {
        size_t most = size < sizeof data ? size : sizeof data;
        ssize_t got = recv(fd, data, most, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            return false;
        if (got > 0)
            size -= (size_t)got;
        else
            take_turn();
    }
    return true;
}

static bool is_served(int fd)
{
    return send(fd, "?", 1, 0) == 1 && receive(fd, 1);
}

/* Returns whether there is a network to test. */
static bool begin(void)
{
    fds_before = count_fds();
    const char *why_not = make_network();
    if (why_not) {
        remove_network();
        tap_skipped = why_not;
        return false;
    }
    listener = (struct ed_listener){0};
    clients = ends = 0;
    idle_ns = 0;
    is_kept_alive = false;
    CHECK_EQ(ed_loop_init(&loop), 0);
    CHECK_EQ(ed_address_ip(&address, "0.0.0.0", 0), 0);
    CHECK_EQ(ed_listener_start(&loop, &listener, &address, on_accept), 0);
    CHECK_EQ(ed_listener_local(&listener, &address), 0);
    honest = connect_to("127.0.0.1");
    CHECK(honest >= 0 && is_served(honest));
    return true;
}

/* All that came from there has ended. */
static void end(void)
{
    CHECK(is_served(honest));
    close(honest);
    WAIT_UNTIL(clients == 0);
    ed_listener_stop(&listener);
    CHECK(!ed_loop_is_alive(&loop));
    ed_loop_destroy(&loop);
    remove_network();
    CHECK_EQ(count_fds(), fds_before);
}

/* ---- who vanishes -------------------------------------------------------- */

static void an_idle_peer_that_vanishes_is_found_out_by_keep_alive(void)
{
    if (!begin())
        return;
    is_kept_alive = true;
    int peer = connect_from_there();
    NEED(peer >= 0 && is_served(peer));
    set_link(false);
    while (ends == 0)
        NEED(is_served(honest));
    CHECK_EQ(last_end, -ETIMEDOUT);
    close(peer);
    end();
}

static void a_peer_that_vanishes_with_much_unsent_meets_the_idle_timer(void)
{
    if (!begin())
        return;
    idle_ns = soon_ns;
    int peer = connect_from_there();
    NEED(peer >= 0 && is_served(peer));
    set_link(false);
    CHECK_EQ(ed_stream_write(&newest->stream, zeros, sizeof zeros), 0);
    while (ends == 0)
        NEED(is_served(honest));
    CHECK_EQ(last_end, -ETIMEDOUT);
    close(peer);
    end();
}

static void to_finish_with_a_peer_that_vanishes_takes_its_time_and_ends(void)
{
    if (!begin())
        return;
    int peer = connect_from_there();
    NEED(peer >= 0 && is_served(peer));
    set_link(false);
    CHECK_EQ(ed_stream_write(&newest->stream, zeros, sizeof zeros), 0);
    ed_stream_finish(&newest->stream, soon_ns, on_finish);
    while (ends == 0)
        NEED(is_served(honest));
    CHECK_EQ(last_end, -ETIMEDOUT);
    close(peer);
    end();
}

static bool is_connect_over;

static void on_connect(struct ed_stream *stream)
{
    CHECK_EQ(stream->error, -ETIMEDOUT);
    is_connect_over = true;
}

static void to_connect_to_whom_has_vanished_times_out(void)
{
    if (!begin())
        return;
    set_link(false);
    struct ed_stream stream = {0};
    struct ed_address to;
    is_connect_over = false;
    CHECK_EQ(ed_address_parse(&to, "10.9.0.2:7"), 0);
    CHECK_EQ(ed_stream_connect(&loop, &stream, &to, soon_ns, on_connect), 0);
    while (!is_connect_over)
        NEED(is_served(honest));
    CHECK(!ed_stream_is_open(&stream));
    end();
}

static void who_comes_back_has_missed_nothing(void)
{
    if (!begin())
        return;
    idle_ns = 60 * ED_S;
    int peer = connect_from_there();
    NEED(peer >= 0 && is_served(peer));
    for (int i = 0; i < 5; i++) {
        set_link(false);
        CHECK_EQ(ed_stream_write(&newest->stream, zeros, sizeof zeros / 8), 0);
        CHECK(is_served(honest));
        set_link(true);
        CHECK(receive(peer, sizeof zeros / 8));
    }
    CHECK(is_served(peer));
    close(peer);
    end();
}

static void a_link_that_delays_and_drops_only_takes_longer(void)
{
    if (!begin())
        return;
    int peer = connect_from_there();
    NEED(peer >= 0);
    bool is_lossy =
        run("tc qdisc add dev here root netem delay 2ms 1ms loss 2%");
    if (is_lossy) {
        CHECK(run_there("tc qdisc add dev there root netem delay 2ms loss 2%"));
        CHECK_EQ(ed_stream_write(&newest->stream, zeros, sizeof zeros), 0);
        CHECK(receive(peer, sizeof zeros));
        for (int i = 0; i < 50; i++)
            CHECK(is_served(peer) && is_served(honest));
    }
    close(peer);
    end();
    if (!is_lossy)
        SKIP("no tc(8), or its netem is unknown here");
}

TESTS(TEST(an_idle_peer_that_vanishes_is_found_out_by_keep_alive),
      TEST(a_peer_that_vanishes_with_much_unsent_meets_the_idle_timer),
      TEST(to_finish_with_a_peer_that_vanishes_takes_its_time_and_ends),
      TEST(to_connect_to_whom_has_vanished_times_out),
      TEST(who_comes_back_has_missed_nothing),
      TEST(a_link_that_delays_and_drops_only_takes_longer))

#endif
