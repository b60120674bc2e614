/*
 * What the loop does when the system says no, and how often it asks. The calls
 * below are linked with --wrap (see meson.build), so that each can be counted
 * and made to fail; that works with epoll alone.
 */
#include "loop/loop.h"

#include "test/tap.h"

#if !defined __linux__ || defined KQUEUE_DOUBLE

static void the_system_is_made_to_fail_on_epoll_only(void)
{
    SKIP("wraps the calls of the epoll backend");
}

TESTS(TEST(the_system_is_made_to_fail_on_epoll_only))

#else

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/* ---- the wrapped calls --------------------------------------------------- */

enum call {
    EPOLL_CREATE1,
    EVENTFD,
    EPOLL_CTL,
    EPOLL_WAIT,
    EPOLL_PWAIT2,
    TIMERFD_CREATE,
    WRITE,
    ALLOCATE, // malloc, calloc and realloc
    CALLS,
};

// How often it was called; volatile, since compilers know that malloc() changes
// no variable.
static volatile int made[CALLS];
static int fails_from[CALLS]; // the first of the calls to fail; 0: none
static int fails_to[CALLS];   // the last of them
static int fails_with;        // errno

static bool fails(enum call call)
{
    int number = __atomic_add_fetch(&made[call], 1, __ATOMIC_RELAXED);
    if (!fails_from[call] || number < fails_from[call] ||
        number > fails_to[call])
        return false;
    errno = fails_with;
    return true;
}

static void forget_calls(void)
{
    for (int i = 0; i < CALLS; i++)
        made[i] = fails_from[i] = fails_to[i] = 0;
}

/* From now on, lets the first, and so many in all, of the calls fail. */
static void let_fail(enum call call, int first, int count, int err)
{
    made[call] = 0;
    fails_from[call] = first;
    fails_to[call] = first + count - 1;
    fails_with = err;
}

static const int for_ever = 1000000000;

int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);
int __wrap_epoll_create1(int flags)
{
    return fails(EPOLL_CREATE1) ? -1 : __real_epoll_create1(flags);
}

int __real_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags)
{
    return fails(EVENTFD) ? -1 : __real_eventfd(value, flags);
}

int __real_epoll_ctl(int epoll, int change, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int change, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int change, int fd, struct epoll_event *event)
{
    return fails(EPOLL_CTL) ? -1 : __real_epoll_ctl(epoll, change, fd, event);
}

int __real_epoll_wait(int epoll, struct epoll_event *events, int size,
                      int timeout_ms);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int size,
                      int timeout_ms);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int size,
                      int timeout_ms)
{
    return fails(EPOLL_WAIT)
               ? -1
               : __real_epoll_wait(epoll, events, size, timeout_ms);
}

int __real_epoll_pwait2(int epoll, struct epoll_event *events, int size,
                        const struct timespec *timeout, const sigset_t *mask);
int __wrap_epoll_pwait2(int epoll, struct epoll_event *events, int size,
                        const struct timespec *timeout, const sigset_t *mask);
int __wrap_epoll_pwait2(int epoll, struct epoll_event *events, int size,
                        const struct timespec *timeout, const sigset_t *mask)
{
    return fails(EPOLL_PWAIT2)
               ? -1
               : __real_epoll_pwait2(epoll, events, size, timeout, mask);
}

int __real_timerfd_create(clockid_t clock, int flags);
int __wrap_timerfd_create(clockid_t clock, int flags);
int __wrap_timerfd_create(clockid_t clock, int flags)
{
    return fails(TIMERFD_CREATE) ? -1 : __real_timerfd_create(clock, flags);
}

ssize_t __real_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
    return fails(WRITE) ? -1 : __real_write(fd, bytes, size);
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    return fails(ALLOCATE) ? NULL : __real_malloc(size);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return fails(ALLOCATE) ? NULL : __real_calloc(count, size);
}

void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size)
{
    return fails(ALLOCATE) ? NULL : __real_realloc(memory, size);
}

/* ---- helpers ------------------------------------------------------------- */

/* A watch that remembers its calls. */
struct probe {
    struct ed_watch watch;
    int calls;
    unsigned ready; // of its last call
    int fds[2];
};

static struct ed_loop loop;
static int calls; // of the counting callbacks

static void begin(void)
{
    forget_calls();
    calls = 0;
    CHECK_EQ(ed_loop_init(&loop), 0);
}

static void end(void)
{
    forget_calls();
    CHECK(!ed_loop_is_alive(&loop));
    ed_loop_destroy(&loop);
}

static int count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void note(struct ed_watch *watch)
{
    struct probe *probe = ED_CONTAINER_OF(watch, struct probe, watch);
    probe->calls++;
    probe->ready = watch->ready;
}

static void note_and_stop(struct ed_watch *watch)
{
    note(watch);
    ed_watch_stop(watch);
}

static void count_timer(struct ed_timer *timer)
{
    calls++;
    CHECK(ed_clock_ns() >= timer->node.deadline_ns);
    CHECK(ed_loop_now(timer->loop) >= timer->node.deadline_ns);
}

static void count_hook(struct ed_hook *hook)
{
    (void)hook;
    calls++;
}

static void count_message(struct ed_msg *msg)
{
    (void)msg;
    calls++;
}

/* A probe on a socket that can be read from and written to. */
static bool open_ready(struct probe *probe)
{
    *probe = (struct probe){0};
    return socketpair(AF_UNIX, SOCK_STREAM, 0, probe->fds) == 0 &&
           write(probe->fds[1], "x", 1) == 1;
}

static void close_both(const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

/* ---- init ---------------------------------------------------------------- */

static void init_that_fails_anywhere_leaves_nothing_behind(void)
{
    static const enum call by_init[] = {EPOLL_CREATE1, EVENTFD, EPOLL_CTL,
                                        ALLOCATE};
    static const int errors[] = {EMFILE, ENOMEM};
    int before = count_descriptors(), failures = 0;
    for (size_t i = 0; i < sizeof by_init / sizeof *by_init; i++) {
        for (int e = 0; e < 2; e++) {
            // The first call fails, then the second, until all goes well.
            for (int nth = 1; nth < 100; nth++) {
                forget_calls();
                let_fail(by_init[i], nth, 1, errors[e]);
                int err = ed_loop_init(&loop);
                if (err == 0 && made[by_init[i]] < nth) {
                    ed_loop_destroy(&loop);
                    break;
                }
                CHECK_EQ(err, -errors[e]);
                CHECK_EQ(count_descriptors(), before);
                failures++;
            }
        }
    }
    CHECK(failures >= 2 * 3); // each but the allocations is made
    forget_calls();
    CHECK_EQ(count_descriptors(), before);
}

/* ---- waiting ------------------------------------------------------------- */

static void fire_timers_of_many_delays(void)
{
    for (uint64_t delay_ns = 1; delay_ns < 10 * ED_MS; delay_ns *= 3) {
        struct ed_timer timer = {0};
        ed_timer_start(&loop, &timer, delay_ns, count_timer);
        CHECK_EQ(ed_loop_run(&loop), 0);
    }
}

static void *wake_in_thread(void *unused)
{
    ed_loop_wake(&loop);
    return unused;
}

static void check_waiting_without_pwait2(int err)
{
    struct ed_timer far = {0};
    struct probe probe;
    pthread_t thread;
    begin();
    let_fail(EPOLL_PWAIT2, 1, for_ever, err);
    fire_timers_of_many_delays();
    CHECK(made[EPOLL_PWAIT2] > 0);
    CHECK_EQ(calls, 15);

    ed_timer_unref(&far);
    ed_timer_start(&loop, &far, 3600 * ED_S, count_timer);
    NEED(open_ready(&probe));
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0], ED_READABLE,
                        note_and_stop) == 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 1);

    ed_loop_ref(&loop);
    NEED(pthread_create(&thread, NULL, wake_in_thread, NULL) == 0);
    CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
    pthread_join(thread, NULL);
    ed_loop_unref(&loop);
    close_both(probe.fds);
    ed_timer_stop(&far);
    end();
}

static void a_system_without_pwait2_waits_as_exactly(void)
{
    check_waiting_without_pwait2(ENOSYS);
}

static void a_system_that_forbids_pwait2_waits_as_exactly(void)
{
    check_waiting_without_pwait2(EPERM);
}

/* Not before its time, by whatever ends the wait. */
static void check_a_timer(uint64_t delay_ns)
{
    struct ed_timer timer = {0};
    ed_loop_update_now(&loop);
    ed_timer_start(&loop, &timer, delay_ns, count_timer);
    uint64_t deadline_ns = timer.node.deadline_ns;
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK(ed_clock_ns() >= deadline_ns);
    CHECK(!ed_timer_is_active(&timer));
}

static void without_a_timerfd_short_waits_are_waits_as_others(void)
{
    begin();
    let_fail(TIMERFD_CREATE, 1, for_ever, EMFILE);
    check_a_timer(200 * ED_US);
    check_a_timer(2 * ED_MS);
    CHECK(made[TIMERFD_CREATE] >= 1);
    CHECK(made[EPOLL_PWAIT2] >= 1); // valgrind has none, and is asked once
    end();
}

static void without_timerfd_and_pwait2_waits_are_rounded_up(void)
{
    begin();
    let_fail(TIMERFD_CREATE, 1, for_ever, EMFILE);
    let_fail(EPOLL_PWAIT2, 1, for_ever, ENOSYS);
    check_a_timer(200 * ED_US);
    check_a_timer(2 * ED_MS);
    CHECK(made[EPOLL_WAIT] >= 2);
    end();
}

static void an_interrupted_wait_is_no_error(void)
{
    struct ed_timer far = {0};
    struct probe probe;
    begin();
    let_fail(EPOLL_PWAIT2, 1, 5, EINTR);
    ed_timer_start(&loop, &far, 3600 * ED_S, count_timer);
    for (int i = 0; i < 6; i++)
        CHECK_EQ(ed_loop_run_once(&loop, ED_MS), 1);
    CHECK_EQ(made[EPOLL_PWAIT2], 6);
    ed_timer_stop(&far);

    let_fail(EPOLL_WAIT, 1, 5, EINTR);
    NEED(open_ready(&probe));
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0], ED_READABLE,
                        note_and_stop) == 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(made[EPOLL_WAIT], 6);
    CHECK_EQ(probe.calls, 1);
    close_both(probe.fds);
    end();
}

static void the_error_of_a_wait_ends_the_run_and_can_be_gone_on_from(void)
{
    struct ed_timer timer = {0};
    begin();
    ed_timer_start(&loop, &timer, 3600 * ED_S, count_timer);
    let_fail(EPOLL_PWAIT2, 1, 1, EBADF);
    CHECK_EQ(ed_loop_run(&loop), -EBADF);
    let_fail(EPOLL_PWAIT2, 1, 1, ENOMEM);
    CHECK_EQ(ed_loop_run_once(&loop, -1), -ENOMEM);
    CHECK_EQ(calls, 0);
    CHECK(ed_timer_is_active(&timer));
    ed_timer_start(&loop, &timer, ED_MS, count_timer);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 1);
    end();
}

/* ---- watches ------------------------------------------------------------- */

static void a_watch_that_the_system_refuses_is_not_started(void)
{
    static const int errors[] = {ENOMEM, ENOSPC, EPERM, ELOOP};
    struct probe probe;
    begin();
    NEED(open_ready(&probe));
    for (int i = 0; i < 4; i++) {
        let_fail(EPOLL_CTL, 1, 1, errors[i]);
        CHECK_EQ(ed_watch_start(&loop, &probe.watch, probe.fds[0], ED_READABLE,
                                note),
                 -errors[i]);
        CHECK(!ed_watch_is_active(&probe.watch));
        CHECK(!ed_loop_is_alive(&loop));
        CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
        CHECK_EQ(probe.calls, 0);
    }
    CHECK_EQ(ed_watch_start(&loop, &probe.watch, probe.fds[0], ED_READABLE,
                            note_and_stop),
             0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 1);
    close_both(probe.fds);
    end();
}

static void check_failing_change(unsigned before)
{
    struct probe probe;
    begin();
    NEED(open_ready(&probe));
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0], before, note) == 0);
    ed_watch_change(&probe.watch, ED_READABLE | ED_WRITABLE);
    let_fail(EPOLL_CTL, 1, 1, ENOMEM);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    CHECK_EQ(probe.calls, 1);
    CHECK_EQ(probe.ready, ED_ERROR);

    // It is still started, and watches nothing, until that is changed.
    CHECK(ed_watch_is_active(&probe.watch));
    CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    CHECK_EQ(probe.calls, 1);
    ed_watch_change(&probe.watch, ED_READABLE | ED_WRITABLE);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    CHECK_EQ(probe.calls, 2);
    CHECK_EQ(probe.ready, ED_READABLE | ED_WRITABLE);
    ed_watch_stop(&probe.watch);
    close_both(probe.fds);
    end();
}

static void a_first_interest_that_fails_is_told_as_an_error(void)
{
    check_failing_change(0);
}

static void a_change_of_interest_that_fails_is_told_and_leaves_none(void)
{
    check_failing_change(ED_READABLE);
}

static void a_watch_whose_change_failed_may_be_stopped_and_freed(void)
{
    struct probe *probe = calloc(1, sizeof *probe);
    begin();
    NEED(probe && open_ready(probe));
    NEED(ed_watch_start(&loop, &probe->watch, probe->fds[0], ED_READABLE,
                        note_and_stop) == 0);
    ed_watch_change(&probe->watch, ED_WRITABLE);
    let_fail(EPOLL_CTL, 1, 1, ENOMEM);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe->calls, 1);
    int fds[2] = {probe->fds[0], probe->fds[1]};
    // If the system still knows it, it is told about here.
    struct epoll_event event;
    int n = epoll_wait(loop.poller.fd, &event, 1, 0);
    CHECK_EQ(n, 0);
    if (n == 0)
        CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    free(probe);
    close_both(fds);
    end();
}

static struct probe *to_toggle;

static void toggle(struct ed_hook *hook)
{
    (void)hook;
    calls++;
    ed_watch_change(&to_toggle->watch, 0);
    ed_watch_change(&to_toggle->watch, ED_WRITABLE);
    ed_watch_change(&to_toggle->watch, ED_READABLE);
}

static void interest_off_and_on_within_a_turn_costs_no_call(void)
{
    struct ed_hook prepare = {0};
    struct probe probe;
    begin();
    NEED(open_ready(&probe));
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0], ED_READABLE, note) ==
         0);
    to_toggle = &probe;
    ed_hook_prepare(&loop, &prepare, toggle);
    made[EPOLL_CTL] = 0;
    for (int i = 0; i < 10; i++)
        CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    CHECK_EQ(calls, 10);
    CHECK_EQ(probe.calls, 10);
    CHECK_EQ(made[EPOLL_CTL], 0);
    ed_watch_stop(&probe.watch);
    close_both(probe.fds);
    end();
}

static void many_changes_within_a_turn_cost_one_call(void)
{
    struct probe probe;
    begin();
    NEED(open_ready(&probe));
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0], ED_READABLE, note) ==
         0);
    made[EPOLL_CTL] = 0;
    for (int i = 0; i < 10; i++) {
        ed_watch_change(&probe.watch, 0);
        ed_watch_change(&probe.watch, ED_READABLE);
        ed_watch_change(&probe.watch, ED_WRITABLE);
    }
    CHECK_EQ(made[EPOLL_CTL], 0); // told before the wait
    CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    CHECK_EQ(made[EPOLL_CTL], 1);
    ed_watch_stop(&probe.watch);
    CHECK_EQ(made[EPOLL_CTL], 2);
    close_both(probe.fds);
    end();
}

static void a_watch_without_interest_costs_no_call(void)
{
    struct probe probe;
    begin();
    NEED(open_ready(&probe));
    made[EPOLL_CTL] = 0;
    NEED(ed_watch_start(&loop, &probe.watch, probe.fds[0], 0, note) == 0);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    ed_watch_stop(&probe.watch);
    CHECK_EQ(made[EPOLL_CTL], 0);
    close_both(probe.fds);
    end();
}

/* ---- waking -------------------------------------------------------------- */

enum { BURST = 1000 };

static struct ed_msg burst[BURST];
static bool is_posted; // the whole burst

/* Does not return before the burst is posted, so the loop sleeps just once. */
static void wait_until_posted(struct ed_msg *msg)
{
    while (!__atomic_load_n(&is_posted, __ATOMIC_ACQUIRE))
        sched_yield();
    count_message(msg);
}

static void expect_no_more(struct ed_msg *msg)
{
    count_message(msg);
    ed_loop_unref(&loop);
}

static void *post_burst_when_asleep(void *unused)
{
    while (!__atomic_load_n(&loop.queue.is_asleep, __ATOMIC_RELAXED))
        sched_yield();
    ed_loop_post(&loop, &burst[0], wait_until_posted);
    for (int i = 1; i < BURST - 1; i++)
        ed_loop_post(&loop, &burst[i], count_message);
    ed_loop_post(&loop, &burst[BURST - 1], expect_no_more);
    __atomic_store_n(&is_posted, true, __ATOMIC_RELEASE);
    return unused;
}

static void a_burst_of_messages_costs_one_wake_up(void)
{
    pthread_t thread;
    begin();
    is_posted = false;
    ed_loop_ref(&loop);
    NEED(pthread_create(&thread, NULL, post_burst_when_asleep, NULL) == 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    pthread_join(thread, NULL);
    CHECK_EQ(calls, BURST);
    CHECK_EQ(made[WRITE], 1);
    end();
}

static void messages_of_the_own_thread_cost_no_wake_up(void)
{
    begin();
    made[WRITE] = 0;
    for (int i = 0; i < BURST; i++)
        ed_loop_post(&loop, &burst[i], count_message);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, BURST);
    CHECK_EQ(made[WRITE], 0);
    end();
}

/* ---- what a turn costs --------------------------------------------------- */

static void repost(struct ed_msg *msg)
{
    if (++calls < 100)
        ed_loop_post(&loop, msg, repost);
}

static void a_turn_looks_at_the_descriptors_once(void)
{
    struct ed_msg msg;
    begin();
    made[EPOLL_WAIT] = made[EPOLL_PWAIT2] = 0;
    ed_loop_post(&loop, &msg, repost);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 100);
    CHECK_EQ(made[EPOLL_WAIT], 100);
    CHECK_EQ(made[EPOLL_PWAIT2], 0);
    end();
}

static void no_more_than_starting_and_stopping_happens_here(struct probe *probe)
{
    static struct ed_timer timers[1000];
    static struct ed_hook hooks[4][1000];
    for (int i = 0; i < 1000; i++) {
        timers[i] = (struct ed_timer){0};
        for (int kind = 0; kind < 4; kind++)
            hooks[kind][i] = (struct ed_hook){0};
        ed_timer_start(&loop, &timers[i], (uint64_t)i * ED_US, count_timer);
        ed_hook_tick(&loop, &hooks[0][i], count_hook);
        ed_hook_immediate(&loop, &hooks[1][i], count_hook);
        ed_hook_prepare(&loop, &hooks[2][i], count_hook);
        ed_hook_idle(&loop, &hooks[3][i], count_hook);
        ed_loop_post(&loop, &burst[i], count_message);
        if (i % 4 == 0) {
            ed_timer_stop(&timers[i]);
            ed_timer_again(&timers[i]);
            ed_hook_stop(&hooks[i / 4 % 4][i]);
        }
        ed_watch_stop(&probe->watch);
        CHECK_EQ(ed_watch_start(&loop, &probe->watch, probe->fds[0],
                                ED_READABLE, note),
                 0);
        ed_watch_change(&probe->watch, ED_WRITABLE);
    }
    CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    ed_watch_stop(&probe->watch);
    CHECK_EQ(ed_loop_run(&loop), 0);
    for (int i = 0; i < 1000; i++)
        for (int kind = 0; kind < 4; kind++)
            ed_hook_stop(&hooks[kind][i]);
}

static void nothing_allocates(void)
{
    struct probe probe;
    begin();
    NEED(open_ready(&probe));
    made[ALLOCATE] = 0;
    void *volatile memory = malloc(1); // are they counted at all?
    free(memory);
    CHECK_EQ(made[ALLOCATE], 1);
    made[ALLOCATE] = 0;
    no_more_than_starting_and_stopping_happens_here(&probe);
    CHECK_EQ(made[ALLOCATE], 0);
    CHECK(calls >= 4000);
    CHECK_EQ(probe.calls, 1);
    end();
    close_both(probe.fds);
    CHECK_EQ(made[ALLOCATE], 0);
}

TESTS(TEST(init_that_fails_anywhere_leaves_nothing_behind),
      TEST(a_system_without_pwait2_waits_as_exactly),
      TEST(a_system_that_forbids_pwait2_waits_as_exactly),
      TEST(without_a_timerfd_short_waits_are_waits_as_others),
      TEST(without_timerfd_and_pwait2_waits_are_rounded_up),
      TEST(an_interrupted_wait_is_no_error),
      TEST(the_error_of_a_wait_ends_the_run_and_can_be_gone_on_from),
      TEST(a_watch_that_the_system_refuses_is_not_started),
      TEST(a_first_interest_that_fails_is_told_as_an_error),
      TEST(a_change_of_interest_that_fails_is_told_and_leaves_none),
      TEST(a_watch_whose_change_failed_may_be_stopped_and_freed),
      TEST(interest_off_and_on_within_a_turn_costs_no_call),
      TEST(many_changes_within_a_turn_cost_one_call),
      TEST(a_watch_without_interest_costs_no_call),
      TEST(a_burst_of_messages_costs_one_wake_up),
      TEST(messages_of_the_own_thread_cost_no_wake_up),
      TEST(a_turn_looks_at_the_descriptors_once), TEST(nothing_allocates))

#endif
