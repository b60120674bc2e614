/*
 * What datagrams do when the system says no, and how often it is asked. The
 * calls below are linked with --wrap (see meson.build), so that each can be
 * counted and made to fail; those are Linux's.
 */
#include "loop/udp.h"

#include "test/tap.h"

#if !defined __linux__ || defined KQUEUE_DOUBLE

static void the_system_is_made_to_fail_on_linux_only(void)
{
    SKIP("wraps the calls of loop/linux.c");
}

TESTS(TEST(the_system_is_made_to_fail_on_linux_only))

#else

#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <sched.h>
#include <sys/epoll.h>

/* ---- the wrapped calls --------------------------------------------------- */

enum call {
    SOCKET,
    BIND,
    CONNECT,
    GETSOCKNAME,
    SETSOCKOPT,
    RECVMMSG,
    SENDMMSG,
    EPOLL_CTL,
    IF_NAMETOINDEX,
    MALLOC,
    CALLS,
};

static volatile int made[CALLS]; // how often it was called
static int fails_from[CALLS];    // the first of the calls to fail; 0: none
static int fails_to[CALLS];      // the last of them
static int fails_with[CALLS];    // errno
static int most_sent;            // by one sendmmsg(); 0: all
static int error_after;          // what the next datagrams received; 0: none

static bool fails(enum call call)
{
    int number = ++made[call];
    if (!fails_from[call] || number < fails_from[call] ||
        number > fails_to[call])
        return false;
    errno = fails_with[call];
    return true;
}

static void forget_calls(void)
{
    for (int i = 0; i < CALLS; i++)
        made[i] = fails_from[i] = fails_to[i] = 0;
    most_sent = error_after = 0;
}

/* From now on, lets the first, and so many in all, of the calls fail. */
static void let_fail(enum call call, int first, int count, int err)
{
    made[call] = 0;
    fails_from[call] = first;
    fails_to[call] = first + count - 1;
    fails_with[call] = err;
}

static const int for_ever = 1000000000;

int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol)
{
    return fails(SOCKET) ? -1 : __real_socket(family, type, protocol);
}

int __real_bind(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t size)
{
    return fails(BIND) ? -1 : __real_bind(fd, address, size);
}

int __real_connect(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    return fails(CONNECT) ? -1 : __real_connect(fd, address, size);
}

int __real_getsockname(int fd, struct sockaddr *address, socklen_t *size);
int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *size);
int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *size)
{
    return fails(GETSOCKNAME) ? -1 : __real_getsockname(fd, address, size);
}

int __real_setsockopt(int fd, int level, int name, const void *value,
                      socklen_t size);
int __wrap_setsockopt(int fd, int level, int name, const void *value,
                      socklen_t size);
int __wrap_setsockopt(int fd, int level, int name, const void *value,
                      socklen_t size)
{
    return fails(SETSOCKOPT) ? -1
                             : __real_setsockopt(fd, level, name, value, size);
}

int __real_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
                    struct timespec *timeout);
int __wrap_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
                    struct timespec *timeout);
int __wrap_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
                    struct timespec *timeout)
{
    return fails(RECVMMSG)
               ? -1
               : __real_recvmmsg(fd, messages, count, flags, timeout);
}

int __real_sendmmsg(int fd, struct mmsghdr *messages, unsigned count,
                    int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned count,
                    int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    if (fails(SENDMMSG))
        return -1;
    if (most_sent && count > (unsigned)most_sent)
        count = (unsigned)most_sent;
    return __real_sendmmsg(fd, messages, count, flags);
}

int __real_epoll_ctl(int epoll, int change, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int change, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int change, int fd, struct epoll_event *event)
{
    // To take one out cannot fail; the loop's own, without a watch, are not
    // meant.
    bool is_meant = change != EPOLL_CTL_DEL && event->data.ptr;
    return is_meant && fails(EPOLL_CTL)
               ? -1
               : __real_epoll_ctl(epoll, change, fd, event);
}

unsigned __real_if_nametoindex(const char *name);
unsigned __wrap_if_nametoindex(const char *name);
unsigned __wrap_if_nametoindex(const char *name)
{
    return fails(IF_NAMETOINDEX) ? 0 : __real_if_nametoindex(name);
}

void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails(MALLOC) ? NULL : __real_aligned_alloc(alignment, size);
}

int64_t __real_ed_system_receive_many(int fd, struct ed_datagram *datagrams,
                                      size_t count, int *error);
int64_t __wrap_ed_system_receive_many(int fd, struct ed_datagram *datagrams,
                                      size_t count, int *error);
int64_t __wrap_ed_system_receive_many(int fd, struct ed_datagram *datagrams,
                                      size_t count, int *error)
{
    int64_t received =
        __real_ed_system_receive_many(fd, datagrams, count, error);
    if (received > 0) {
        *error = error_after;
        error_after = 0;
    }
    return received;
}

/* ---- two sockets --------------------------------------------------------- */

static struct ed_loop loop;
static struct ed_udp from, to;
static struct ed_address from_address, to_address;
static int received, calls, errors, error, drains;
static int most_errors; // after which the loop is to stop
static int first_fd;

static struct ed_address address_of(const char *text)
{
    struct ed_address address;
    CHECK_EQ(ed_address_parse(&address, text), 0);
    return address;
}

/* The lowest descriptor that is free: the same one, if none has leaked. */
static int free_fd(void)
{
    int fd = dup(0);
    close(fd);
    return fd;
}

static void open_both(void)
{
    struct ed_address local = address_of("127.0.0.1:0");
    from = to = (struct ed_udp){0};
    CHECK_EQ(ed_udp_open(&loop, &from, &local), 0);
    CHECK_EQ(ed_udp_open(&loop, &to, &local), 0);
    CHECK_EQ(ed_udp_local(&from, &from_address), 0);
    CHECK_EQ(ed_udp_local(&to, &to_address), 0);
}

static void begin(void)
{
    forget_calls();
    received = calls = errors = error = drains = most_errors = 0;
    first_fd = free_fd();
    CHECK_EQ(ed_loop_init(&loop), 0);
}

static void end(void)
{
    forget_calls();
    ed_udp_close(&from);
    ed_udp_close(&to);
    CHECK(!ed_loop_is_alive(&loop));
    ed_loop_destroy(&loop);
    CHECK_EQ(free_fd(), first_fd);
}

static void take_turn(void)
{
    CHECK(ed_loop_run_once(&loop, 0) >= 0);
}

/* Turns until what is waited for is true; not for ever, if it never is. */
#define WAIT_FOR(condition)                                                    \
    do {                                                                       \
        uint64_t end_ns_ = ed_clock_ns() + 20 * ED_S;                          \
        while (!(condition) && ed_clock_ns() < end_ns_)                        \
            CHECK(ed_loop_run_once(&loop, (int64_t)ED_S) >= 0);                \
        CHECK(condition);                                                      \
    } while (0)

static void note(struct ed_udp *udp, const struct ed_datagram *datagrams,
                 int count)
{
    (void)udp;
    (void)datagrams;
    calls++;
    if (count > 0) {
        received += count;
    } else {
        errors++;
        error = count;
    }
}

static void echo(struct ed_udp *udp, const struct ed_datagram *datagrams,
                 int count)
{
    note(udp, datagrams, count);
    CHECK_EQ(ed_udp_send(udp, datagrams, (size_t)count), count);
}

static void note_drain(struct ed_udp *udp)
{
    CHECK(ed_udp_is_open(udp));
    drains++;
}

static int64_t send_some(struct ed_udp *udp, const struct ed_address *peer,
                         size_t count)
{
    struct ed_datagram datagrams[256];
    for (size_t i = 0; i < count; i++)
        datagrams[i] =
            (struct ed_datagram){.data = "x", .size = 1, .peer = *peer};
    return ed_udp_send(udp, datagrams, count);
}

/* What the datagrams that wait at a socket take of its memory. */
static uint32_t memory_of(const struct ed_udp *udp)
{
    uint32_t memory[SK_MEMINFO_VARS];
    socklen_t size = sizeof memory;
    CHECK_EQ(getsockopt(udp->fd, SOL_SOCKET, SO_MEMINFO, memory, &size), 0);
    return memory[SK_MEMINFO_RMEM_ALLOC];
}

/* Sends so many and sees to it that they have all arrived. */
static void let_wait(const struct ed_udp *at, const struct ed_address *address,
                     uint32_t count)
{
    uint32_t one;
    CHECK_EQ(send_some(&from, address, 1), 1);
    while ((one = memory_of(at)) == 0)
        sched_yield();
    CHECK_EQ(send_some(&from, address, count - 1), count - 1);
    while (memory_of(at) < count * one)
        sched_yield();
}

/* ---- to open ------------------------------------------------------------- */

static void a_socket_that_cannot_be_opened_leaves_nothing(void)
{
    static const enum call opens[] = {SOCKET, SETSOCKOPT, BIND, GETSOCKNAME};
    struct ed_address local = address_of("*:0");
    begin();
    for (size_t i = 0; i < sizeof opens / sizeof *opens; i++) {
        int failed = 0;
        for (int nth = 1; failed == nth - 1; nth++) {
            from = (struct ed_udp){.reuse_address = true, .reuse_port = true};
            int fd = free_fd();
            let_fail(opens[i], nth, 1, EPERM);
            int err = ed_udp_open(&loop, &from, &local);
            CHECK(err == 0 || err == -EPERM);
            CHECK_EQ(ed_udp_is_open(&from), err == 0);
            failed += err != 0;
            ed_udp_close(&from);
            CHECK_EQ(free_fd(), fd);
            CHECK(!ed_loop_is_alive(&loop));
            forget_calls();
        }
        CHECK_EQ(failed, opens[i] == SETSOCKOPT ? 3 : 1);
    }
    end();
}

static void check_family(const char *text, bool ipv6_only, int want)
{
    struct ed_address local = address_of(text), bound;
    from = (struct ed_udp){.ipv6_only = ipv6_only};
    int fd = free_fd(), err = ed_udp_open(&loop, &from, &local);
    forget_calls();
    if (want < 0) {
        CHECK_EQ(err, want);
    } else {
        CHECK_EQ(err, 0);
        CHECK_EQ(ed_udp_local(&from, &bound), 0);
        CHECK_EQ(bound.socket.any.sa_family, want);
        CHECK(ed_address_port(&bound) > 0);
    }
    ed_udp_close(&from);
    CHECK_EQ(free_fd(), fd);
}

static void without_ipv6_a_star_is_ipv4(void)
{
    begin();
    let_fail(SOCKET, 1, 1, EAFNOSUPPORT);
    check_family("*:0", false, AF_INET);
    let_fail(BIND, 1, 1, EADDRNOTAVAIL);
    check_family("*:0", false, AF_INET);
    // IPv6 is there, but not with IPv4.
    let_fail(SETSOCKOPT, 1, 1, EINVAL);
    check_family("*:0", false, AF_INET);

    // Not where IPv6 alone is asked for.
    let_fail(SOCKET, 1, 1, EAFNOSUPPORT);
    check_family("*:0", true, -EAFNOSUPPORT);
    let_fail(SOCKET, 1, 1, EAFNOSUPPORT);
    check_family("[::1]:0", false, -EAFNOSUPPORT);
    let_fail(SOCKET, 1, for_ever, EAFNOSUPPORT);
    check_family("*:0", false, -EAFNOSUPPORT);
    let_fail(BIND, 1, 1, EADDRINUSE);
    check_family("*:0", false, -EADDRINUSE);
    end();
}

static void that_ipv6_has_no_ipv4_matters_to_no_single_address(void)
{
    struct ed_address local = address_of("[::1]:0");
    begin();
    int err = ed_udp_open(&loop, &from, &local);
    ed_udp_close(&from);
    if (err) {
        end();
        SKIP("no IPv6 here");
    }
    let_fail(SETSOCKOPT, 1, 1, EINVAL);
    check_family("[::1]:0", false, AF_INET6);
    let_fail(SETSOCKOPT, 1, 1, EINVAL);
    check_family("[::1]:0", true, -EINVAL);
    end();
}

static void an_interface_that_cannot_be_looked_for_is_an_error(void)
{
    static const int all[][2] = {
        {EMFILE, -EMFILE},
        {ENFILE, -ENFILE},
        {ENODEV, -ENODEV},
        {ENXIO, -ENODEV},
    };
    struct ed_address address;
    forget_calls();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        let_fail(IF_NAMETOINDEX, 1, 1, all[i][0]);
        CHECK_EQ(ed_address_parse(&address, "[fe80::1%lo]:80"), all[i][1]);
        CHECK_EQ(address.size, 0);
    }
    forget_calls();
}

/* ---- batches ------------------------------------------------------------- */

static void ten_that_wait_are_one_call_each_way(void)
{
    begin();
    open_both();
    let_wait(&to, &to_address, 10);
    CHECK_EQ(ed_udp_receive_start(&to, echo), 0);
    forget_calls();
    WAIT_FOR(received == 10);
    CHECK_EQ(calls, 1);
    CHECK_EQ(made[RECVMMSG], 1);
    CHECK_EQ(made[SENDMMSG], 1);
    end();
}

static void the_loops_buffer_holds_sixteen(void)
{
    begin();
    open_both();
    let_wait(&to, &to_address, 20);
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    WAIT_FOR(received > 0);
    CHECK_EQ(received, 16);
    WAIT_FOR(received == 20);
    CHECK_EQ(calls, 2);
    end();
}

static void short_ones_are_received_sixty_four_at_a_time(void)
{
    begin();
    open_both();
    to.max_size = 1500;
    let_wait(&to, &to_address, 70);
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    WAIT_FOR(received > 0);
    CHECK_EQ(received, 64);
    WAIT_FOR(received == 70);
    CHECK_EQ(made[RECVMMSG], 2);
    end();
}

static void many_are_sent_sixty_four_at_a_time(void)
{
    begin();
    open_both();
    CHECK_EQ(send_some(&from, &to_address, 130), 130);
    CHECK_EQ(made[SENDMMSG], 3);
    CHECK_EQ(send_some(&from, &to_address, 0), 0);
    CHECK_EQ(made[SENDMMSG], 3);
    end();
}

static void what_the_system_takes_is_what_is_sent(void)
{
    begin();
    open_both();
    most_sent = 3;
    CHECK_EQ(send_some(&from, &to_address, 10), 3);
    CHECK_EQ(made[SENDMMSG], 1);
    most_sent = 0;

    // The second batch is refused.
    let_fail(SENDMMSG, 2, 1, EAGAIN);
    CHECK_EQ(send_some(&from, &to_address, 100), 64);
    CHECK_EQ(made[SENDMMSG], 2);
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    WAIT_FOR(received == 67);
    end();
}

static void an_interrupted_call_is_made_again(void)
{
    begin();
    open_both();
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    let_fail(SENDMMSG, 1, 2, EINTR);
    let_fail(RECVMMSG, 1, 2, EINTR);
    let_fail(CONNECT, 1, 2, EINTR);
    CHECK_EQ(send_some(&from, &to_address, 1), 1);
    CHECK_EQ(made[SENDMMSG], 3);
    WAIT_FOR(received == 1);
    CHECK_EQ(made[RECVMMSG], 3);
    CHECK_EQ(errors, 0);
    CHECK_EQ(ed_udp_connect(&from, &to_address), 0);
    CHECK_EQ(made[CONNECT], 3);
    end();
}

static void a_socket_that_has_nothing_after_all_is_not_told(void)
{
    begin();
    open_both();
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    let_wait(&to, &to_address, 2);
    let_fail(RECVMMSG, 1, 3, EAGAIN);
    WAIT_FOR(made[RECVMMSG] >= 3);
    CHECK_EQ(calls, 0);
    WAIT_FOR(received == 2);
    CHECK_EQ(calls, 1);
    end();
}

/* ---- a socket that is full ----------------------------------------------- */

static void a_full_socket_says_when_there_is_room(void)
{
    begin();
    open_both();
    from.on_drain = note_drain;
    let_fail(SENDMMSG, 1, 2, EAGAIN);
    CHECK_EQ(send_some(&from, &to_address, 2), -EAGAIN);
    CHECK_EQ(send_some(&from, &to_address, 2), -EAGAIN);
    CHECK_EQ(drains, 0);
    WAIT_FOR(drains == 1);
    take_turn();
    CHECK_EQ(drains, 1);
    CHECK_EQ(send_some(&from, &to_address, 2), 2);
    take_turn();
    CHECK_EQ(drains, 1);
    end();
}

static void a_full_socket_that_nobody_asks_about_is_forgotten(void)
{
    begin();
    open_both();
    let_fail(SENDMMSG, 1, 1, EAGAIN);
    CHECK_EQ(send_some(&from, &to_address, 2), -EAGAIN);
    WAIT_FOR(!from.is_full);
    take_turn();
    made[EPOLL_CTL] = 0;
    take_turn();
    CHECK_EQ(made[EPOLL_CTL], 0);
    end();
}

static void send_again(struct ed_udp *udp)
{
    drains++;
    CHECK_EQ(send_some(udp, &to_address, 1), drains < 3 ? -EAGAIN : 1);
}

static void it_may_be_full_again_at_once(void)
{
    begin();
    open_both();
    from.on_drain = send_again;
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    let_fail(SENDMMSG, 1, 3, EAGAIN);
    CHECK_EQ(send_some(&from, &to_address, 1), -EAGAIN);
    WAIT_FOR(received == 1);
    CHECK_EQ(drains, 3);
    end();
}

static void it_receives_while_it_is_full(void)
{
    begin();
    open_both();
    to.on_drain = note_drain;
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    let_wait(&to, &to_address, 2);
    let_fail(SENDMMSG, 1, 1, EAGAIN);
    CHECK_EQ(send_some(&to, &from_address, 1), -EAGAIN);
    // Both in one turn.
    CHECK(ed_loop_run_once(&loop, (int64_t)(20 * ED_S)) >= 0);
    CHECK_EQ(drains, 1);
    CHECK_EQ(received, 2);
    take_turn();
    CHECK_EQ(drains, 1);
    end();
}

static void close_it(struct ed_udp *udp)
{
    drains++;
    ed_udp_close(udp);
    memset(udp, 0xff, sizeof *udp);
    *udp = (struct ed_udp){0};
}

static void it_is_closed_when_there_is_room(void)
{
    begin();
    open_both();
    to.on_drain = close_it;
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    let_wait(&to, &to_address, 2);
    let_fail(SENDMMSG, 1, 1, EAGAIN);
    CHECK_EQ(send_some(&to, &from_address, 1), -EAGAIN);
    WAIT_FOR(drains == 1);
    take_turn();
    CHECK_EQ(received, 0);
    end();
}

static void stop_it(struct ed_udp *udp)
{
    drains++;
    ed_udp_receive_stop(udp);
}

static void it_stops_receiving_when_there_is_room(void)
{
    begin();
    open_both();
    to.on_drain = stop_it;
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    let_wait(&to, &to_address, 2);
    let_fail(SENDMMSG, 1, 1, EAGAIN);
    CHECK_EQ(send_some(&to, &from_address, 1), -EAGAIN);
    WAIT_FOR(drains == 1);
    take_turn();
    CHECK_EQ(received, 0);
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    WAIT_FOR(received == 2);
    end();
}

static void an_error_counts_as_room_since_a_send_will_say_it(void)
{
    begin();
    open_both();
    from.on_drain = note_drain;
    CHECK_EQ(ed_udp_connect(&from, &to_address), 0);
    ed_udp_close(&to);
    struct ed_address none = {0};
    CHECK_EQ(send_some(&from, &none, 1), 1);
    let_fail(SENDMMSG, 1, 1, EAGAIN);
    CHECK_EQ(send_some(&from, &none, 1), -EAGAIN);
    WAIT_FOR(drains == 1);
    take_turn();
    CHECK_EQ(drains, 1);
    end();
}

static void other_errors_of_a_send_are_the_callers(void)
{
    static const int all[] = {ENOBUFS, ENOMEM, EPERM, ENETUNREACH};
    begin();
    open_both();
    from.on_drain = note_drain;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        let_fail(SENDMMSG, 1, 1, all[i]);
        CHECK_EQ(send_some(&from, &to_address, 3), -all[i]);
        take_turn();
    }
    CHECK_EQ(drains, 0);
    CHECK_EQ(send_some(&from, &to_address, 3), 3);
    end();
}

/* ---- a socket that cannot be watched ------------------------------------- */

static void one_that_cannot_be_watched_does_not_start(void)
{
    begin();
    open_both();
    let_fail(EPOLL_CTL, 1, 1, ENOSPC);
    CHECK_EQ(ed_udp_receive_start(&to, note), -ENOSPC);
    CHECK_EQ(send_some(&from, &to_address, 1), 1);
    take_turn();
    CHECK_EQ(calls, 0);
    CHECK(ed_udp_is_open(&to));
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    WAIT_FOR(received == 1);
    end();
}

static void one_without_a_buffer_does_not_start(void)
{
    char buffer[16];
    begin();
    open_both();
    let_fail(MALLOC, 1, 2, ENOMEM);
    CHECK_EQ(ed_udp_receive_start(&to, note), -ENOMEM);
    to.buffer = buffer;
    to.buffer_size = sizeof buffer;
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    CHECK_EQ(send_some(&from, &to_address, 1), 1);
    WAIT_FOR(received == 1);

    // And if it is taken away later.
    to.buffer = NULL;
    CHECK_EQ(send_some(&from, &to_address, 1), 1);
    WAIT_FOR(errors == 1);
    CHECK_EQ(error, -ENOMEM);
    WAIT_FOR(received == 2);
    end();
}

static void one_that_cannot_be_watched_is_not_full(void)
{
    begin();
    open_both();
    from.on_drain = note_drain;
    let_fail(SENDMMSG, 1, 1, EAGAIN);
    let_fail(EPOLL_CTL, 1, 1, ENOMEM);
    CHECK_EQ(send_some(&from, &to_address, 1), -ENOMEM);
    take_turn();
    CHECK_EQ(drains, 0);
    CHECK_EQ(send_some(&from, &to_address, 1), 1);
    end();
}

static void a_change_that_fails_is_tried_again(void)
{
    begin();
    open_both();
    to.on_drain = note_drain;
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    let_fail(SENDMMSG, 1, 1, EAGAIN);
    CHECK_EQ(send_some(&to, &from_address, 1), -EAGAIN);
    // The change, and being watched anew at once.
    let_fail(EPOLL_CTL, 1, 2, ENOMEM);
    WAIT_FOR(errors == 1);
    CHECK_EQ(error, -ENOMEM);
    CHECK_EQ(send_some(&from, &to_address, 1), 1);
    WAIT_FOR(drains == 1 && received == 1);
    CHECK_EQ(errors, 1);

    // At once, if it can be.
    let_fail(SENDMMSG, 1, 1, EAGAIN);
    CHECK_EQ(send_some(&to, &from_address, 1), -EAGAIN);
    let_fail(EPOLL_CTL, 1, 1, ENOMEM);
    WAIT_FOR(drains == 2);
    CHECK_EQ(errors, 1);
    end();
}

static void note_and_close(struct ed_udp *udp,
                           const struct ed_datagram *datagrams, int count)
{
    note(udp, datagrams, count);
    ed_udp_close(udp);
}

static void it_is_closed_when_a_change_has_failed(void)
{
    begin();
    open_both();
    CHECK_EQ(ed_udp_receive_start(&to, note_and_close), 0);
    let_fail(SENDMMSG, 1, 1, EAGAIN);
    CHECK_EQ(send_some(&to, &from_address, 1), -EAGAIN);
    let_fail(EPOLL_CTL, 1, 2, ENOMEM);
    WAIT_FOR(errors == 1);
    take_turn();
    CHECK_EQ(calls, 1);
    end();
}

/* ---- errors of receiving ------------------------------------------------- */

static void an_error_is_told_and_receiving_goes_on(void)
{
    begin();
    open_both();
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    CHECK_EQ(send_some(&from, &to_address, 1), 1);
    let_fail(RECVMMSG, 1, 1, ENOBUFS);
    WAIT_FOR(received == 1);
    CHECK_EQ(errors, 1);
    CHECK_EQ(error, -ENOBUFS);
    end();
}

static void note_and_stop(struct ed_udp *udp,
                          const struct ed_datagram *datagrams, int count)
{
    note(udp, datagrams, count);
    ed_udp_receive_stop(udp);
}

/* Where datagrams are received one by one (loop/posix.c). */
static void an_error_that_came_with_datagrams_is_told_after_them(void)
{
    begin();
    open_both();
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    let_wait(&to, &to_address, 2);
    error_after = -ECONNREFUSED;
    CHECK(ed_loop_run_once(&loop, (int64_t)(20 * ED_S)) >= 0);
    CHECK_EQ(received, 2);
    CHECK_EQ(errors, 1);
    CHECK_EQ(error, -ECONNREFUSED);

    // Who stops before is told when it goes on.
    CHECK_EQ(ed_udp_receive_start(&to, note_and_stop), 0);
    let_wait(&to, &to_address, 2);
    error_after = -EHOSTUNREACH;
    WAIT_FOR(received == 4);
    take_turn();
    CHECK_EQ(errors, 1);
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    take_turn();
    CHECK_EQ(errors, 2);
    CHECK_EQ(error, -EHOSTUNREACH);
    take_turn();
    CHECK_EQ(calls, 4);

    // Who closes never.
    CHECK_EQ(ed_udp_receive_start(&to, note_and_close), 0);
    let_wait(&to, &to_address, 2);
    error_after = -EHOSTUNREACH;
    WAIT_FOR(received == 6);
    CHECK_EQ(ed_udp_open(&loop, &to, &to_address), 0);
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    take_turn();
    CHECK_EQ(errors, 2);
    end();
}

static void count_and_stop(struct ed_udp *udp,
                           const struct ed_datagram *datagrams, int count)
{
    note(udp, datagrams, count);
    if (errors == most_errors)
        ed_loop_stop(&loop);
}

/* An error that stays has made receiving pause, and the loop can sleep. */
static void check_pause(void)
{
    CHECK(ed_timer_is_active(&to.pause));
    CHECK_EQ(to.watch.interest, 0);
}

static void an_error_that_stays_does_not_keep_the_loop_busy(void)
{
    begin();
    open_both();
    CHECK_EQ(ed_udp_receive_start(&to, count_and_stop), 0);
    CHECK_EQ(send_some(&from, &to_address, 1), 1);
    let_fail(RECVMMSG, 1, for_ever, ENOMEM);
    for (most_errors = 17; most_errors < 20; most_errors++) {
        CHECK_EQ(ed_loop_run(&loop), 1);
        CHECK_EQ(errors, most_errors);
        check_pause();
    }
    CHECK_EQ(error, -ENOMEM);

    // It was not lost.
    forget_calls();
    WAIT_FOR(received == 1);
    CHECK_EQ(errors, 19);

    // And errors are counted anew.
    let_fail(RECVMMSG, 1, 1, ENOMEM);
    CHECK_EQ(send_some(&from, &to_address, 1), 1);
    WAIT_FOR(errors == 20);
    CHECK(!ed_timer_is_active(&to.pause));
    WAIT_FOR(received == 2);
    end();
}

static void let_pause(void)
{
    open_both();
    CHECK_EQ(ed_udp_receive_start(&to, count_and_stop), 0);
    CHECK_EQ(send_some(&from, &to_address, 1), 1);
    let_fail(RECVMMSG, 1, for_ever, ENOMEM);
    most_errors = 17;
    CHECK_EQ(ed_loop_run(&loop), 1);
    check_pause();
    forget_calls();
}

static void in_a_pause_it_is_stopped_and_started(void)
{
    begin();
    let_pause();
    ed_udp_receive_stop(&to);
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    check_pause();
    WAIT_FOR(received == 1);
    end();
}

static void after_a_pause_that_it_was_stopped_in_it_is_silent(void)
{
    begin();
    let_pause();
    ed_udp_receive_stop(&to);
    WAIT_FOR(!ed_timer_is_active(&to.pause));
    take_turn();
    CHECK_EQ(received, 0);
    CHECK_EQ(errors, 17);
    CHECK_EQ(ed_udp_receive_start(&to, note), 0);
    WAIT_FOR(received == 1);
    end();
}

static void in_a_pause_it_is_closed(void)
{
    begin();
    let_pause();
    ed_udp_close(&to);
    CHECK(!ed_timer_is_active(&to.pause));
    end();
}

static void in_a_pause_it_sends(void)
{
    begin();
    let_pause();
    to.on_drain = note_drain;
    let_fail(SENDMMSG, 1, 1, EAGAIN);
    CHECK_EQ(send_some(&to, &from_address, 1), -EAGAIN);
    WAIT_FOR(drains == 1);
    WAIT_FOR(received == 1);
    end();
}

static void a_pause_after_which_it_cannot_be_watched_is_one_more_error(void)
{
    begin();
    let_pause();
    ed_timer_fn *go_on = to.pause.fn;
    ed_timer_start(&loop, &to.pause, 3600 * ED_S, go_on);
    take_turn();
    CHECK_EQ(to.watch.told, 0);
    let_fail(EPOLL_CTL, 1, 2, ENOSPC);
    ed_timer_start(&loop, &to.pause, 0, go_on);
    WAIT_FOR(errors == 19);
    CHECK_EQ(error, -ENOSPC);
    WAIT_FOR(received == 1);
    CHECK_EQ(errors, 19);
    end();
}

/* ---- to connect ---------------------------------------------------------- */

static void a_connection_that_cannot_be_made_or_ended_is_an_error(void)
{
    struct ed_address peer, local;
    begin();
    open_both();
    let_fail(CONNECT, 1, 1, ENETUNREACH);
    CHECK_EQ(ed_udp_connect(&from, &to_address), -ENETUNREACH);
    CHECK_EQ(ed_udp_peer(&from, &peer), -ENOTCONN);
    CHECK_EQ(ed_udp_connect(&from, &to_address), 0);

    let_fail(CONNECT, 1, 1, EPERM);
    CHECK_EQ(ed_udp_connect(&from, NULL), -EPERM);
    CHECK_EQ(ed_udp_peer(&from, &peer), 0);
    let_fail(GETSOCKNAME, 1, 1, ENOBUFS);
    CHECK_EQ(ed_udp_connect(&from, NULL), -ENOBUFS);
    CHECK_EQ(ed_udp_peer(&from, &peer), 0);
    let_fail(GETSOCKNAME, 2, 1, ENOBUFS);
    CHECK_EQ(ed_udp_connect(&from, NULL), -ENOBUFS);

    // The port that the system takes away may be gone when it is wanted back.
    ed_udp_close(&from);
    local = address_of("127.0.0.1:0");
    CHECK_EQ(ed_udp_open(&loop, &from, &local), 0);
    CHECK_EQ(ed_udp_connect(&from, &to_address), 0);
    let_fail(BIND, 1, 1, EADDRINUSE);
    CHECK_EQ(ed_udp_connect(&from, NULL), -EADDRINUSE);
    CHECK_EQ(made[BIND], 1);
    end();
}

static void options_that_are_refused_are_errors(void)
{
    struct ed_address group = address_of("239.1.2.3:0");
    begin();
    open_both();
    let_fail(SETSOCKOPT, 1, for_ever, ENOBUFS);
    CHECK_EQ(ed_udp_join(&from, &group, 0), -ENOBUFS);
    CHECK_EQ(ed_udp_leave(&from, &group, 0), -ENOBUFS);
    CHECK_EQ(ed_udp_join_source(&from, &group, &to_address, 0), -ENOBUFS);
    CHECK_EQ(ed_udp_leave_source(&from, &group, &to_address, 0), -ENOBUFS);
    CHECK_EQ(ed_udp_multicast_interface(&from, 0), -ENOBUFS);
    CHECK_EQ(ed_udp_multicast_ttl(&from, 1), -ENOBUFS);
    CHECK_EQ(ed_udp_multicast_loop(&from, true), -ENOBUFS);
    CHECK_EQ(ed_udp_ttl(&from, 1), -ENOBUFS);
    CHECK_EQ(ed_udp_broadcast(&from, true), -ENOBUFS);
    CHECK_EQ(ed_udp_buffers(&from, 1, 0), -ENOBUFS);
    CHECK_EQ(ed_udp_buffers(&from, 0, 1), -ENOBUFS);
    CHECK_EQ(ed_udp_buffers(&from, 0, 0), 0);
    let_fail(GETSOCKNAME, 1, 1, ENOBUFS);
    CHECK_EQ(ed_udp_local(&from, &group), -ENOBUFS);
    end();
}

TESTS(TEST(a_socket_that_cannot_be_opened_leaves_nothing),
      TEST(without_ipv6_a_star_is_ipv4),
      TEST(that_ipv6_has_no_ipv4_matters_to_no_single_address),
      TEST(an_interface_that_cannot_be_looked_for_is_an_error),
      TEST(ten_that_wait_are_one_call_each_way),
      TEST(the_loops_buffer_holds_sixteen),
      TEST(short_ones_are_received_sixty_four_at_a_time),
      TEST(many_are_sent_sixty_four_at_a_time),
      TEST(what_the_system_takes_is_what_is_sent),
      TEST(an_interrupted_call_is_made_again),
      TEST(a_socket_that_has_nothing_after_all_is_not_told),
      TEST(a_full_socket_says_when_there_is_room),
      TEST(a_full_socket_that_nobody_asks_about_is_forgotten),
      TEST(it_may_be_full_again_at_once), TEST(it_receives_while_it_is_full),
      TEST(it_is_closed_when_there_is_room),
      TEST(it_stops_receiving_when_there_is_room),
      TEST(an_error_counts_as_room_since_a_send_will_say_it),
      TEST(other_errors_of_a_send_are_the_callers),
      TEST(one_that_cannot_be_watched_does_not_start),
      TEST(one_without_a_buffer_does_not_start),
      TEST(one_that_cannot_be_watched_is_not_full),
      TEST(a_change_that_fails_is_tried_again),
      TEST(it_is_closed_when_a_change_has_failed),
      TEST(an_error_is_told_and_receiving_goes_on),
      TEST(an_error_that_came_with_datagrams_is_told_after_them),
      TEST(an_error_that_stays_does_not_keep_the_loop_busy),
      TEST(in_a_pause_it_is_stopped_and_started),
      TEST(after_a_pause_that_it_was_stopped_in_it_is_silent),
      TEST(in_a_pause_it_is_closed), TEST(in_a_pause_it_sends),
      TEST(a_pause_after_which_it_cannot_be_watched_is_one_more_error),
      TEST(a_connection_that_cannot_be_made_or_ended_is_an_error),
      TEST(options_that_are_refused_are_errors))

#endif
