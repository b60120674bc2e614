/*
 * 20,000 connections come to a server that may have 1,000 descriptors. The
 * server is a process of its own, and reports what it uses when it is asked.
 */
#include "loop/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

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
    DESCRIPTORS = 1000,
    CONNECTIONS = 20000,
    CROWD = 4000,           // come, and stay if they can, before all leave
    BATCH = 100,            // fewer than a listener's queue takes
    KEPT_BYTES = 64 * 1024, // that are free, but malloc() has at hand
};

struct report {
    struct ed_loop_metrics metrics;
    uint64_t accepted;
    uint64_t overloads;
    int clients;
    int fds;
    size_t bytes;
};

/* ---- the server's process ---------------------------------------------- */

struct client {
    struct ed_stream stream;
};

static struct ed_loop loop;
static struct ed_listener listener;
static struct ed_watch control;
static int clients;
static uint64_t overloads;

static int count_fds(void)
{
    int count = 0;
    for (int fd = 0; fd < DESCRIPTORS; fd++)
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

static void on_finish(struct ed_stream *stream)
{
    clients--;
    free(ED_CONTAINER_OF(stream, struct client, stream));
}

static void on_read(struct ed_stream *stream, char *data, int64_t size)
{
    if (size <= 0 || ed_stream_write(stream, data, (size_t)size))
        ed_stream_finish(stream, 0, on_finish);
}

static void on_accept(struct ed_listener *at, int fd)
{
    (void)at;
    struct client *client = calloc(1, sizeof *client);
    if (!client)
        abort();
    clients++;
    ed_stream_open_socket(&loop, &client->stream, fd);
    if (ed_stream_read_start(&client->stream, on_read))
        abort();
}

static void on_overload(struct ed_listener *at, int error)
{
    (void)at, (void)error;
    overloads++;
}

static void on_control(struct ed_watch *watch)
{
    char byte;
    if (read(watch->fd, &byte, 1) != 1) {
        ed_loop_stop(&loop);
        return;
    }
    struct report report = {
        .accepted = listener.accepted,
        .overloads = overloads,
        .clients = clients,
        .fds = count_fds(),
        .bytes = count_bytes(),
    };
    ed_loop_metrics(&loop, &report.metrics);
    if (write(watch->fd, &report, sizeof report) != sizeof report)
        abort();
}

/* Listens at any port, and says which. */
static void serve(int fd)
{
    struct rlimit limit;
    struct ed_address address;
    listener.on_overload = on_overload;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        _exit(2);
    limit.rlim_cur = DESCRIPTORS;
    if (setrlimit(RLIMIT_NOFILE, &limit) || ed_loop_init(&loop) ||
        ed_address_ip(&address, "127.0.0.1", 0) ||
        ed_listener_start(&loop, &listener, &address, on_accept) ||
        ed_listener_local(&listener, &address) ||
        ed_watch_start(&loop, &control, fd, ED_READABLE, on_control) ||
        write(fd, &address, sizeof address) != sizeof address)
        _exit(2);
    ed_loop_run(&loop);
    ed_watch_stop(&control);
    ed_listener_stop(&listener);
    ed_loop_destroy(&loop);
    _exit(0);
}

/* ---- the crowd ----------------------------------------------------------- */

static int server; // a socket to the server's process

static bool ask(struct report *report)
{
    return write(server, "?", 1) == 1 &&
           recv(server, report, sizeof *report, MSG_WAITALL) == sizeof *report;
}

static int connect_to(const struct ed_address *address)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, &address->socket.any, address->size)) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool is_served(int fd)
{
    char byte = 0;
    return send(fd, "x", 1, 0) == 1 && recv(fd, &byte, 1, 0) == 1 &&
           byte == 'x';
}

/* Those that are let in stay, in fds. Returns how many. */
static int come(const struct ed_address *address, int *fds)
{
    int served = 0;
    for (int come = 0; come < CROWD; come += BATCH) {
        int batch[BATCH];
        for (int i = 0; i < BATCH; i++)
            batch[i] = connect_to(address);
        for (int i = 0; i < BATCH; i++) {
            if (batch[i] >= 0 && is_served(batch[i]))
                fds[served++] = batch[i];
            else if (batch[i] >= 0)
                close(batch[i]);
        }
    }
    return served;
}

/* Each says that it ends, and waits until the server has closed. */
static void leave(const int *fds, int count)
{
    char byte;
    for (int i = 0; i < count; i++)
        shutdown(fds[i], SHUT_WR);
    for (int i = 0; i < count; i++) {
        CHECK_EQ(recv(fds[i], &byte, 1, 0), 0);
        close(fds[i]);
    }
}

/* How many turns it takes to serve one of a full house a number of times. */
static uint64_t count_turns(int fd, int times)
{
    struct report before = {0}, after = {0};
    CHECK(ask(&before));
    for (int i = 0; i < times; i++)
        CHECK(is_served(fd));
    CHECK(ask(&after));
    return after.metrics.turns - before.metrics.turns;
}

static void besiege(const struct ed_address *address)
{
    int fds[DESCRIPTORS];
    struct report before = {0}, after = {0};
    fds[0] = connect_to(address);
    NEED(fds[0] >= 0 && is_served(fds[0]));
    leave(fds, 1);
    NEED(ask(&before));

    uint64_t all = 1;
    int first = 0;
    for (int i = 0; i < CONNECTIONS / CROWD; i++) {
        int served = come(address, fds);
        all += (uint64_t)served;
        if (!first)
            first = served;
        CHECK_EQ(served, first);
        NEED(served > DESCRIPTORS - 50 && served < DESCRIPTORS);
        for (int k = 0; k < served; k++)
            CHECK(is_served(fds[k]));
        CHECK(count_turns(fds[0], 1000) < 3000);
        leave(fds, served);
    }

    NEED(ask(&after));
    CHECK_EQ(after.accepted, all);
    CHECK(after.overloads > 0);
    CHECK_EQ(after.clients, 0);
    CHECK_EQ(after.fds, before.fds);
    CHECK(after.bytes < before.bytes + KEPT_BYTES);
    // A few for each that comes.
    CHECK(after.metrics.turns < 3 * CONNECTIONS);
    printf("# %d of %d at a time let in; %llu turns for %d connections\n",
           first, CROWD, (unsigned long long)after.metrics.turns, CONNECTIONS);
}

static void a_crowd_beyond_all_descriptors_is_shed_and_the_others_served(void)
{
    struct rlimit limit, more;
    NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_max < DESCRIPTORS + 2 * BATCH)
        SKIP("the limit of descriptors is too low for the crowd");
    more = limit;
    if (more.rlim_cur < DESCRIPTORS + 2 * BATCH)
        more.rlim_cur = DESCRIPTORS + 2 * BATCH;
    NEED(setrlimit(RLIMIT_NOFILE, &more) == 0);

    int ends[2];
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        serve(ends[1]);
    }
    close(ends[1]);
    server = ends[0];
    void (*before)(int) = signal(SIGPIPE, SIG_IGN); // of the crowd
    struct ed_address address;
    bool listens =
        recv(server, &address, sizeof address, MSG_WAITALL) == sizeof address;
    CHECK(listens);
    if (listens)
        besiege(&address);
    signal(SIGPIPE, before);

    int status;
    close(server);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    setrlimit(RLIMIT_NOFILE, &limit);
}

TESTS(TEST(a_crowd_beyond_all_descriptors_is_shed_and_the_others_served))
