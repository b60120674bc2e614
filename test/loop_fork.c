/*
 * After fork the child leaves its parent's loop alone and may make one of its
 * own. What it does there is checked in the child, which tells by how it exits
 * whether all went well; that the parent's loop goes on, in the parent.
 */
#include "loop/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>

#include "test/gate.h"
#include "test/tap.h"

/* The parent's. */
static struct ed_loop loop;
static int fires;
static int bytes;

static int count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void count_fire(struct ed_timer *timer)
{
    (void)timer;
    fires++;
}

static void read_byte(struct ed_watch *watch)
{
    char byte;
    CHECK(watch->ready & ED_READABLE);
    CHECK_EQ(read(watch->fd, &byte, 1), 1);
    bytes++;
}

/* Forks; the child runs fn and is gone. Returns its id. */
static pid_t start_child(void (*fn)(void))
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(TAP_TIMEOUT_S);
        tap_failures = 0;
        fn();
        fflush(stdout);
        _exit(tap_failures ? 1 : 0);
    }
    CHECK(child > 0);
    return child;
}

static bool went_well(pid_t child)
{
    int status = 1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- what a child does on its own loop ----------------------------------- */

static struct ed_loop own;
static int calls;

static void count_timer(struct ed_timer *timer)
{
    CHECK(timer->loop == &own);
    calls++;
}

static void count_hook(struct ed_hook *hook)
{
    CHECK(hook->loop == &own);
    calls++;
}

static void count_message(struct ed_msg *msg)
{
    (void)msg;
    calls++;
}

static void read_and_stop(struct ed_watch *watch)
{
    char byte;
    CHECK_EQ(read(watch->fd, &byte, 1), 1);
    ed_watch_stop(watch);
    calls++;
}

static void use_loop_of_its_own(void)
{
    struct ed_timer once = {0};
    struct ed_hook tick = {0}, immediate = {0};
    struct ed_watch watch = {0};
    struct ed_msg msg;
    int fds[2], before = count_descriptors();
    calls = 0;
    NEED(ed_loop_init(&own) == 0);
    NEED(pipe(fds) == 0);
    NEED(ed_watch_start(&own, &watch, fds[0], ED_READABLE, read_and_stop) == 0);
    ed_hook_tick(&own, &tick, count_hook);
    ed_hook_immediate(&own, &immediate, count_hook);
    ed_loop_post(&own, &msg, count_message);
    CHECK_EQ(ed_loop_run_once(&own, 0), 1);
    CHECK_EQ(calls, 3);
    ed_timer_start(&own, &once, ED_MS, count_timer);
    NEED(write(fds[1], "x", 1) == 1);
    CHECK_EQ(ed_loop_run(&own), 0);
    CHECK_EQ(calls, 5);
    ed_loop_stop(&own);
    CHECK_EQ(ed_loop_run(&own), 1);
    ed_loop_destroy(&own);
    close(fds[0]);
    close(fds[1]);
    CHECK_EQ(count_descriptors(), before);
}

static void *post_to_own(void *msg)
{
    ed_loop_post(&own, msg, count_message);
    ed_loop_stop(&own);
    return NULL;
}

static void use_loop_with_a_thread(void)
{
    struct ed_msg msg;
    pthread_t thread;
    use_loop_of_its_own();
    calls = 0;
    NEED(ed_loop_init(&own) == 0);
    ed_loop_ref(&own);
    NEED(pthread_create(&thread, NULL, post_to_own, &msg) == 0);
    CHECK_EQ(ed_loop_run(&own), 1);
    pthread_join(thread, NULL);
    CHECK_EQ(ed_loop_run_once(&own, 0), 1);
    CHECK_EQ(calls, 1);
    ed_loop_unref(&own);
    ed_loop_destroy(&own);
}

static struct ed_watch *inherited;

/* The same descriptor as the parent watches, on a loop of the child's. */
static void watch_what_the_parent_watches(void)
{
    struct ed_watch watch = {0};
    NEED(ed_loop_init(&own) == 0);
    NEED(ed_watch_start(&own, &watch, inherited->fd, ED_READABLE,
                        read_and_stop) == 0);
    CHECK_EQ(ed_loop_run_once(&own, 0), 1);
    ed_watch_stop(&watch);
    close(inherited->fd);
    ed_loop_destroy(&own);
}

/* ---- and the parent ------------------------------------------------------ */

static void *wake_parent(void *unused)
{
    ed_loop_stop(&loop);
    return unused;
}

/* Its timers, watches and wake-ups work. */
static void check_parent(struct ed_timer *timer, struct ed_watch *watch,
                         int writable)
{
    pthread_t thread;
    int fires_before = fires, bytes_before = bytes;
    ed_timer_start(&loop, timer, ED_MS, count_fire);
    // It fires when a turn begins, which then has nothing to wait for.
    while (fires == fires_before)
        CHECK_EQ(ed_loop_run_once(&loop, (int64_t)ED_MS), 1);
    CHECK_EQ(bytes, bytes_before);
    NEED(write(writable, "x", 1) == 1);
    CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
    CHECK_EQ(bytes, bytes_before + 1);
    ed_watch_change(watch, 0);
    NEED(write(writable, "x", 1) == 1);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    CHECK_EQ(bytes, bytes_before + 1);
    ed_watch_change(watch, ED_READABLE);
    CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
    CHECK_EQ(bytes, bytes_before + 2);
    NEED(pthread_create(&thread, NULL, wake_parent, NULL) == 0);
    CHECK_EQ(ed_loop_run(&loop), 1);
    pthread_join(thread, NULL);
}

/* Runs fn in children; the parent's loop is the same before and after. */
static void check_with_child(void (*fn)(void))
{
    struct ed_timer timer = {0};
    struct ed_watch watch = {0};
    int fds[2], before = count_descriptors();
    fires = bytes = 0;
    NEED(ed_loop_init(&loop) == 0);
    NEED(pipe(fds) == 0);
    NEED(ed_watch_start(&loop, &watch, fds[0], ED_READABLE, read_byte) == 0);
    inherited = &watch;
    check_parent(&timer, &watch, fds[1]);
    for (int i = 0; i < 3; i++) {
        pid_t child = start_child(fn);
        check_parent(&timer, &watch, fds[1]); // while the child runs, maybe
        CHECK(went_well(child));
        check_parent(&timer, &watch, fds[1]);
    }
    ed_watch_stop(&watch);
    close(fds[0]);
    close(fds[1]);
    ed_loop_destroy(&loop);
    CHECK_EQ(count_descriptors(), before);
}

static void a_child_can_have_a_loop_of_its_own(void)
{
    check_with_child(use_loop_of_its_own);
}

static void a_childs_loop_can_be_posted_to_by_its_threads(void)
{
    check_with_child(use_loop_with_a_thread);
}

static void leave_at_once(void)
{
}

static void a_child_that_leaves_harms_nobody(void)
{
    check_with_child(leave_at_once);
}

static void a_child_may_watch_and_close_what_its_parent_watches(void)
{
    struct ed_timer timer = {0};
    struct ed_watch watch = {0};
    int fds[2];
    fires = bytes = 0;
    NEED(ed_loop_init(&loop) == 0);
    NEED(pipe(fds) == 0);
    NEED(ed_watch_start(&loop, &watch, fds[0], ED_READABLE, read_byte) == 0);
    inherited = &watch;
    CHECK(went_well(start_child(watch_what_the_parent_watches)));
    check_parent(&timer, &watch, fds[1]);
    ed_watch_stop(&watch);
    close(fds[0]);
    close(fds[1]);
    ed_loop_destroy(&loop);
}

static pid_t child_of_callback;

static void fork_in_callback(struct ed_timer *timer)
{
    (void)timer;
    child_of_callback = start_child(use_loop_with_a_thread);
}

static void a_child_forked_in_a_callback_can_have_a_loop_of_its_own(void)
{
    struct ed_timer forker = {0}, timer = {0};
    fires = 0;
    NEED(ed_loop_init(&loop) == 0);
    ed_timer_start(&loop, &forker, 0, fork_in_callback);
    ed_timer_start(&loop, &timer, 1, count_fire);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(fires, 1);
    CHECK(went_well(child_of_callback));
    ed_loop_destroy(&loop);
}

/* ---- with another thread's loop ------------------------------------------ */

static struct gate other_runs;

static void other_is_running(struct ed_msg *msg)
{
    (void)msg;
    gate_open(&other_runs);
}

static void *run_other(void *unused)
{
    CHECK_EQ(ed_loop_run(&loop), 1);
    return unused;
}

static void a_child_can_have_a_loop_while_its_parents_threads_run_others(void)
{
    struct ed_msg first, last;
    struct ed_timer ticker = {0};
    pthread_t thread;
    NEED(ed_loop_init(&loop) == 0);
    gate_init(&other_runs);
    ed_timer_repeat(&loop, &ticker, ED_US, count_fire);
    ed_loop_post(&loop, &first, other_is_running);
    NEED(pthread_create(&thread, NULL, run_other, NULL) == 0);
    gate_pass(&other_runs);
    for (int i = 0; i < 5; i++)
        CHECK(went_well(start_child(use_loop_of_its_own)));
    ed_loop_post(&loop, &last, other_is_running);
    gate_pass(&other_runs);
    ed_loop_stop(&loop);
    pthread_join(thread, NULL);
    ed_timer_stop(&ticker);
    gate_destroy(&other_runs);
    ed_loop_destroy(&loop);
}

TESTS(TEST(a_child_can_have_a_loop_of_its_own),
      TEST(a_childs_loop_can_be_posted_to_by_its_threads),
      TEST(a_child_that_leaves_harms_nobody),
      TEST(a_child_may_watch_and_close_what_its_parent_watches),
      TEST(a_child_forked_in_a_callback_can_have_a_loop_of_its_own),
      TEST(a_child_can_have_a_loop_while_its_parents_threads_run_others))
