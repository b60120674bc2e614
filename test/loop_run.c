#include "loop/loop.h"
#include "loop/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "test/tap.h"

static struct ed_loop loop;
static int calls; // of the counting callbacks

static void begin(void)
{
    calls = 0;
    CHECK_EQ(ed_loop_init(&loop), 0);
}

static void count_timer(struct ed_timer *timer)
{
    (void)timer;
    calls++;
}

static void count_hook(struct ed_hook *hook)
{
    (void)hook;
    calls++;
}

static void count_watch(struct ed_watch *watch)
{
    (void)watch;
    calls++;
}

static void count_message(struct ed_msg *msg)
{
    (void)msg;
    calls++;
}

static void stop_in_timer(struct ed_timer *timer)
{
    calls++;
    ed_loop_stop(timer->loop);
}

static void let_pass(uint64_t duration_ns)
{
    uint64_t end_ns = ed_clock_ns() + duration_ns;
    while (ed_clock_ns() < end_ns)
        ;
}

/* ---- the end of a run ---------------------------------------------------- */

static void a_loop_with_nothing_to_wait_for_returns_at_once(void)
{
    begin();
    CHECK(!ed_loop_is_alive(&loop));
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(ed_loop_run_once(&loop, -1), 0);
    ed_loop_destroy(&loop);
}

static void a_run_ends_when_the_last_timer_has_fired(void)
{
    struct ed_timer first = {0}, last = {0};
    begin();
    ed_timer_start(&loop, &first, ED_MS, count_timer);
    ed_timer_start(&loop, &last, 2 * ED_MS, count_timer);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 2);
    ed_loop_destroy(&loop);
}

static void a_stopped_run_returns_1_and_can_be_gone_on_with(void)
{
    struct ed_timer timer = {0};
    begin();
    ed_timer_repeat(&loop, &timer, ED_US, stop_in_timer);
    for (int runs = 1; runs <= 3; runs++) {
        CHECK_EQ(ed_loop_run(&loop), 1);
        CHECK_EQ(calls, runs);
        CHECK(ed_timer_is_active(&timer));
    }
    ed_loop_destroy(&loop);
}

static void a_stopped_loop_finishes_its_turn(void)
{
    struct ed_timer stopper = {0}, other = {0}, later = {0};
    struct ed_hook immediate = {0};
    begin();
    ed_timer_start(&loop, &stopper, 0, stop_in_timer);
    ed_timer_start(&loop, &other, 0, count_timer);
    ed_timer_start(&loop, &later, 3600 * ED_S, count_timer);
    ed_hook_immediate(&loop, &immediate, count_hook);
    CHECK_EQ(ed_loop_run(&loop), 1);
    CHECK_EQ(calls, 3);
    ed_loop_destroy(&loop);
}

static void a_run_is_stopped_also_if_nothing_is_left(void)
{
    struct ed_timer stopper = {0};
    begin();
    ed_timer_start(&loop, &stopper, 0, stop_in_timer);
    CHECK_EQ(ed_loop_run(&loop), 1);
    CHECK_EQ(ed_loop_run(&loop), 0);
    ed_loop_destroy(&loop);
}

static void a_stop_before_the_run_ends_it_before_its_first_turn(void)
{
    struct ed_timer timer = {0};
    begin();
    ed_timer_start(&loop, &timer, 0, count_timer);
    ed_loop_stop(&loop);
    CHECK_EQ(ed_loop_run(&loop), 1);
    CHECK_EQ(calls, 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 1);
    ed_loop_destroy(&loop);
}

static void stops_are_not_counted(void)
{
    begin();
    for (int i = 0; i < 1000; i++)
        ed_loop_stop(&loop);
    CHECK_EQ(ed_loop_run(&loop), 1);
    CHECK_EQ(ed_loop_run(&loop), 0);
    ed_loop_destroy(&loop);
}

static void *stop_in_thread(void *unused)
{
    ed_loop_stop(&loop);
    return unused;
}

static void a_stop_from_another_thread_ends_the_wait(void)
{
    begin();
    ed_loop_ref(&loop);
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        NEED(pthread_create(&thread, NULL, stop_in_thread, NULL) == 0);
        CHECK_EQ(ed_loop_run(&loop), 1);
        pthread_join(thread, NULL);
    }
    ed_loop_unref(&loop);
    ed_loop_destroy(&loop);
}

/* Not before the loop sleeps, as near as another thread can tell. */
static void *stop_sleeper_in_thread(void *sleeps)
{
    struct ed_loop_metrics metrics;
    do
        ed_loop_metrics(&loop, &metrics);
    while (metrics.sleeps == *(uint64_t *)sleeps);
    ed_loop_stop(&loop);
    return NULL;
}

static void a_stop_from_another_thread_ends_a_sleep(void)
{
    struct ed_timer far = {0};
    begin();
    ed_timer_start(&loop, &far, 3600 * ED_S, count_timer);
    for (uint64_t sleeps = 0; sleeps < 100; sleeps++) {
        pthread_t thread;
        NEED(pthread_create(&thread, NULL, stop_sleeper_in_thread, &sleeps) ==
             0);
        CHECK_EQ(ed_loop_run(&loop), 1);
        pthread_join(thread, NULL);
    }
    CHECK_EQ(calls, 0);
    ed_timer_stop(&far);
    ed_loop_destroy(&loop);
}

static void stop_in_handler(int signal)
{
    (void)signal;
    ed_loop_stop(&loop);
}

static void *kill_in_thread(void *target)
{
    pthread_kill(*(pthread_t *)target, SIGUSR1);
    return NULL;
}

static void a_stop_from_a_signal_handler_ends_the_wait(void)
{
    struct sigaction action = {.sa_handler = stop_in_handler}, before;
    pthread_t self = pthread_self();
    begin();
    ed_loop_ref(&loop);
    NEED(sigaction(SIGUSR1, &action, &before) == 0);
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        NEED(pthread_create(&thread, NULL, kill_in_thread, &self) == 0);
        CHECK_EQ(ed_loop_run(&loop), 1);
        pthread_join(thread, NULL);
    }
    sigaction(SIGUSR1, &before, NULL);
    ed_loop_unref(&loop);
    ed_loop_destroy(&loop);
}

static void raise_in_timer(struct ed_timer *timer)
{
    (void)timer;
    calls++;
    raise(SIGUSR1);
}

static void a_stop_from_a_signal_handler_during_a_callback_ends_the_run(void)
{
    struct sigaction action = {.sa_handler = stop_in_handler}, before;
    struct ed_timer timer = {0};
    begin();
    NEED(sigaction(SIGUSR1, &action, &before) == 0);
    ed_timer_repeat(&loop, &timer, ED_US, raise_in_timer);
    CHECK_EQ(ed_loop_run(&loop), 1);
    CHECK_EQ(calls, 1);
    sigaction(SIGUSR1, &before, NULL);
    ed_loop_destroy(&loop);
}

static void do_nothing(int signal)
{
    (void)signal;
}

static void a_signal_alone_does_not_end_a_run(void)
{
    struct sigaction action = {.sa_handler = do_nothing}, before;
    struct ed_timer timer = {0};
    pthread_t self = pthread_self();
    begin();
    NEED(sigaction(SIGUSR1, &action, &before) == 0);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        NEED(pthread_create(&thread, NULL, kill_in_thread, &self) == 0);
        ed_timer_start(&loop, &timer, ED_MS, count_timer);
        CHECK_EQ(ed_loop_run(&loop), 0);
        pthread_join(thread, NULL);
    }
    CHECK_EQ(calls, 20);
    sigaction(SIGUSR1, &before, NULL);
    ed_loop_destroy(&loop);
}

static void note_signals(void (*handlers[32])(int), sigset_t *blocked)
{
    for (int number = 1; number < 32; number++) {
        struct sigaction action = {0};
        sigaction(number, NULL, &action);
        handlers[number] = action.sa_handler;
    }
    sigemptyset(blocked);
    pthread_sigmask(SIG_SETMASK, NULL, blocked);
}

static void a_loop_leaves_signals_alone(void)
{
    void (*before[32])(int), (*after[32])(int);
    sigset_t blocked_before, blocked_after;
    struct ed_timer timer = {0};
    note_signals(before, &blocked_before);
    begin();
    ed_timer_start(&loop, &timer, ED_US, count_timer);
    CHECK_EQ(ed_loop_run(&loop), 0);
    ed_loop_destroy(&loop);
    note_signals(after, &blocked_after);
    for (int number = 1; number < 32; number++) {
        CHECK(before[number] == after[number]);
        CHECK_EQ(sigismember(&blocked_before, number),
                 sigismember(&blocked_after, number));
    }
}

/* ---- one turn ------------------------------------------------------------ */

static void one_turn_without_waiting_fires_what_is_due(void)
{
    struct ed_timer due = {0}, later = {0};
    begin();
    ed_timer_start(&loop, &due, 0, count_timer);
    ed_timer_start(&loop, &later, 3600 * ED_S, count_timer);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    CHECK_EQ(calls, 1);
    ed_timer_stop(&later);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    CHECK_EQ(calls, 1);
    ed_loop_destroy(&loop);
}

static void one_turn_waits_no_longer_than_its_limit(void)
{
    struct ed_timer timer = {0};
    begin();
    ed_timer_start(&loop, &timer, 3600 * ED_S, count_timer);
    CHECK_EQ(ed_loop_run_once(&loop, ED_MS), 1); // returns at all
    ed_timer_stop(&timer);
    ed_loop_ref(&loop);
    CHECK_EQ(ed_loop_run_once(&loop, ED_MS), 1);
    ed_loop_unref(&loop);
    ed_loop_destroy(&loop);
}

static void one_turn_waits_no_longer_than_until_the_next_timer(void)
{
    struct ed_timer timer = {0};
    int turns = 0;
    begin();
    ed_timer_start(&loop, &timer, ED_MS, count_timer);
    // The wait is the end of a turn, timers are the beginning.
    do
        turns++;
    while (ed_loop_run_once(&loop, -1));
    CHECK(turns <= 2);
    CHECK_EQ(calls, 1);
    ed_loop_destroy(&loop);
}

static void a_stop_is_used_up_by_one_turn(void)
{
    begin();
    ed_loop_ref(&loop);
    ed_loop_stop(&loop);
    CHECK_EQ(ed_loop_run_once(&loop, -1), 1); // does not wait
    ed_loop_unref(&loop);
    CHECK_EQ(ed_loop_run(&loop), 0);
    ed_loop_destroy(&loop);
}

static void *wake_in_thread(void *unused)
{
    ed_loop_wake(&loop);
    return unused;
}

static void a_woken_loop_does_not_sleep_through_the_turn(void)
{
    begin();
    ed_loop_ref(&loop);
    for (int i = 0; i < 100; i++) {
        ed_loop_wake(&loop);
        CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
    }
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        NEED(pthread_create(&thread, NULL, wake_in_thread, NULL) == 0);
        CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
        pthread_join(thread, NULL);
    }
    ed_loop_unref(&loop);
    ed_loop_destroy(&loop);
}

static void stop_and_wake_keep_errno(void)
{
    begin();
    errno = ENOTTY;
    ed_loop_wake(&loop);
    CHECK_EQ(errno, ENOTTY);
    ed_loop_stop(&loop);
    CHECK_EQ(errno, ENOTTY);
    ed_loop_destroy(&loop);
}

static void a_loop_that_waits_does_not_turn(void)
{
    struct ed_timer timer = {0};
    struct ed_hook turns = {0};
    begin();
    ed_hook_prepare(&loop, &turns, count_hook);
    ed_timer_start(&loop, &timer, 20 * ED_MS, count_timer);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK(calls <= 3); // the wait, the turn of the timer, the timer
    ed_loop_destroy(&loop);
}

/* ---- what keeps a loop alive --------------------------------------------- */

static void timers_keep_a_loop_alive(void)
{
    struct ed_timer once = {0}, again_and_again = {0};
    begin();
    ed_timer_start(&loop, &once, 0, count_timer);
    ed_timer_start(&loop, &once, 0, count_timer); // is counted once
    CHECK(ed_loop_is_alive(&loop));
    ed_timer_stop(&once);
    CHECK(!ed_loop_is_alive(&loop));
    ed_timer_repeat(&loop, &again_and_again, ED_MS, count_timer);
    CHECK(ed_loop_is_alive(&loop));
    ed_timer_stop(&again_and_again);
    CHECK(!ed_loop_is_alive(&loop));
    ed_loop_destroy(&loop);
}

static void watches_keep_a_loop_alive(void)
{
    struct ed_watch watch = {0};
    int fds[2];
    begin();
    NEED(pipe(fds) == 0);
    CHECK_EQ(ed_watch_start(&loop, &watch, fds[0], 0, count_watch), 0);
    CHECK(ed_loop_is_alive(&loop));
    CHECK_EQ(ed_watch_start(&loop, &watch, fds[0], ED_READABLE, count_watch),
             0);
    CHECK(ed_loop_is_alive(&loop));
    ed_watch_stop(&watch);
    CHECK(!ed_loop_is_alive(&loop));
    CHECK_EQ(ed_loop_run(&loop), 0);
    close(fds[0]);
    close(fds[1]);
    ed_loop_destroy(&loop);
}

static void ticks_and_immediates_keep_a_loop_alive(void)
{
    struct ed_hook hook = {0};
    begin();
    ed_hook_tick(&loop, &hook, count_hook);
    CHECK(ed_loop_is_alive(&loop));
    ed_hook_stop(&hook);
    CHECK(!ed_loop_is_alive(&loop));
    ed_hook_immediate(&loop, &hook, count_hook);
    CHECK(ed_loop_is_alive(&loop));
    ed_hook_stop(&hook);
    CHECK(!ed_loop_is_alive(&loop));
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 0);
    ed_loop_destroy(&loop);
}

static void prepare_and_idle_hooks_do_not_keep_a_loop_alive(void)
{
    struct ed_hook prepare = {0}, idle = {0};
    begin();
    ed_hook_prepare(&loop, &prepare, count_hook);
    ed_hook_idle(&loop, &idle, count_hook);
    CHECK(!ed_loop_is_alive(&loop));
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK(ed_hook_is_active(&prepare) && ed_hook_is_active(&idle));
    ed_loop_destroy(&loop);
}

static void a_queued_message_keeps_a_loop_alive(void)
{
    struct ed_msg msg;
    begin();
    ed_loop_post(&loop, &msg, count_message);
    CHECK(ed_loop_is_alive(&loop));
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 1);
    CHECK(!ed_loop_is_alive(&loop));
    ed_loop_destroy(&loop);
}

static bool was_alive;

static void look_whether_alive(struct ed_msg *msg)
{
    (void)msg;
    was_alive = ed_loop_is_alive(&loop);
}

static void a_message_yet_to_run_in_this_turn_keeps_a_loop_alive(void)
{
    struct ed_msg first, second;
    begin();
    ed_loop_post(&loop, &first, look_whether_alive);
    ed_loop_post(&loop, &second, count_message);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    CHECK(was_alive);
    ed_loop_post(&loop, &first, look_whether_alive);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    CHECK(!was_alive);
    ed_loop_destroy(&loop);
}

static void ref_keeps_a_loop_alive_until_as_many_unrefs(void)
{
    begin();
    ed_loop_ref(&loop);
    ed_loop_ref(&loop);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    ed_loop_unref(&loop);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    ed_loop_unref(&loop);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    ed_loop_destroy(&loop);
}

static void a_timer_can_be_unrefd_and_refd_at_any_time(void)
{
    struct ed_timer timer = {0};
    begin();
    ed_timer_unref(&timer);
    ed_timer_start(&loop, &timer, 3600 * ED_S, count_timer);
    CHECK(!ed_loop_is_alive(&loop));
    ed_timer_ref(&timer);
    ed_timer_ref(&timer);
    CHECK(ed_loop_is_alive(&loop));
    ed_timer_unref(&timer);
    ed_timer_unref(&timer);
    CHECK(!ed_loop_is_alive(&loop));
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK(ed_timer_is_active(&timer));

    ed_timer_stop(&timer);
    CHECK(!ed_loop_is_alive(&loop));
    ed_timer_again(&timer); // it remembers
    CHECK(!ed_loop_is_alive(&loop));
    ed_timer_stop(&timer);
    ed_timer_ref(&timer);
    CHECK(!ed_loop_is_alive(&loop));
    ed_timer_again(&timer);
    CHECK(ed_loop_is_alive(&loop));
    ed_timer_stop(&timer);
    CHECK(!ed_loop_is_alive(&loop));
    ed_loop_destroy(&loop);
}

static void a_watch_can_be_unrefd_and_refd_at_any_time(void)
{
    struct ed_watch watch = {0};
    int fds[2];
    begin();
    NEED(pipe(fds) == 0);
    ed_watch_unref(&watch);
    CHECK_EQ(ed_watch_start(&loop, &watch, fds[0], ED_READABLE, count_watch),
             0);
    CHECK(!ed_loop_is_alive(&loop));
    ed_watch_ref(&watch);
    ed_watch_ref(&watch);
    CHECK(ed_loop_is_alive(&loop));
    ed_watch_unref(&watch);
    ed_watch_unref(&watch);
    CHECK(!ed_loop_is_alive(&loop));
    CHECK_EQ(ed_loop_run(&loop), 0);

    ed_watch_stop(&watch);
    ed_watch_ref(&watch);
    CHECK(!ed_loop_is_alive(&loop));
    CHECK_EQ(ed_watch_start(&loop, &watch, fds[0], ED_READABLE, count_watch),
             0);
    CHECK(ed_loop_is_alive(&loop));
    ed_watch_stop(&watch);
    CHECK(!ed_loop_is_alive(&loop));
    close(fds[0]);
    close(fds[1]);
    ed_loop_destroy(&loop);
}

static void an_unrefd_timer_fires_as_long_as_others_keep_the_loop_alive(void)
{
    struct ed_timer unrefd = {0}, other = {0};
    begin();
    ed_timer_unref(&unrefd);
    ed_timer_start(&loop, &unrefd, 0, count_timer);
    ed_timer_start(&loop, &other, ED_MS, count_timer);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 2);
    CHECK(!ed_loop_is_alive(&loop));

    ed_timer_repeat(&loop, &unrefd, ED_US, count_timer);
    ed_timer_start(&loop, &other, ED_MS, count_timer);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK(calls >= 4);
    CHECK(!ed_loop_is_alive(&loop));
    ed_timer_stop(&unrefd);
    CHECK(!ed_loop_is_alive(&loop));
    ed_loop_destroy(&loop);
}

/* ---- time ---------------------------------------------------------------- */

static uint64_t seen_ns[2];

static void note_now_and_let_it_pass(struct ed_timer *timer)
{
    seen_ns[calls++] = ed_loop_now(timer->loop);
    let_pass(ED_US);
}

static void time_stands_still_while_callbacks_run(void)
{
    struct ed_timer first = {0}, second = {0};
    begin();
    ed_timer_start(&loop, &first, 0, note_now_and_let_it_pass);
    ed_timer_start(&loop, &second, 0, note_now_and_let_it_pass);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 2);
    CHECK(seen_ns[0] == seen_ns[1]);
    ed_loop_destroy(&loop);
}

static void update_now_sets_the_time_right(void)
{
    begin();
    let_pass(ED_US);
    uint64_t before_ns = ed_clock_ns();
    CHECK(ed_loop_now(&loop) < before_ns);
    ed_loop_update_now(&loop);
    CHECK(ed_loop_now(&loop) >= before_ns);
    CHECK(ed_loop_now(&loop) <= ed_clock_ns());
    ed_loop_destroy(&loop);
}

static void time_goes_on_from_turn_to_turn_and_never_back(void)
{
    struct ed_timer timer = {0};
    begin();
    ed_timer_repeat(&loop, &timer, 3 * ED_US, count_timer);
    uint64_t first_ns = ed_loop_now(&loop), last_ns = first_ns;
    while (calls < 100) {
        ed_loop_run_once(&loop, -1);
        CHECK(ed_loop_now(&loop) >= last_ns);
        CHECK(ed_loop_now(&loop) <= ed_clock_ns());
        last_ns = ed_loop_now(&loop);
    }
    CHECK(last_ns >= first_ns + 100 * 3 * ED_US);
    ed_loop_destroy(&loop);
}

/* ---- loops and threads --------------------------------------------------- */

enum { RUNNERS = 4, ROUNDS = 100 };

/* A thread with a loop that sends messages to the next one's. */
struct runner {
    pthread_t thread;
    struct ed_loop loop;
    struct ed_timer timer;
    struct ed_hook immediate;
    struct runner *next;
    struct letter {
        struct ed_msg msg;
        struct runner *receiver;
    } letters[ROUNDS];
    int sent;
    int received;
    int immediates;
    int result;
};

static void receive(struct ed_msg *msg)
{
    struct letter *letter = ED_CONTAINER_OF(msg, struct letter, msg);
    if (++letter->receiver->received == ROUNDS)
        ed_loop_unref(&letter->receiver->loop);
}

static void count_immediate(struct ed_hook *hook)
{
    ED_CONTAINER_OF(hook, struct runner, immediate)->immediates++;
}

static void send_to_next(struct ed_timer *timer)
{
    struct runner *runner = ED_CONTAINER_OF(timer, struct runner, timer);
    struct letter *letter = &runner->letters[runner->sent++];
    letter->receiver = runner->next;
    ed_loop_post(&runner->next->loop, &letter->msg, receive);
    ed_hook_immediate(timer->loop, &runner->immediate, count_immediate);
    if (runner->sent == ROUNDS)
        ed_timer_stop(timer);
}

static void *run_a_runner(void *arg)
{
    struct runner *runner = arg;
    ed_loop_ref(&runner->loop);
    ed_timer_repeat(&runner->loop, &runner->timer, 50 * ED_US, send_to_next);
    runner->result = ed_loop_run(&runner->loop);
    return NULL;
}

static void loops_of_several_threads_run_at_once(void)
{
    static struct runner runners[RUNNERS];
    memset(runners, 0, sizeof runners);
    for (int i = 0; i < RUNNERS; i++) {
        runners[i].next = &runners[(i + 1) % RUNNERS];
        NEED(ed_loop_init(&runners[i].loop) == 0);
    }
    for (int i = 0; i < RUNNERS; i++)
        NEED(pthread_create(&runners[i].thread, NULL, run_a_runner,
                            &runners[i]) == 0);
    for (int i = 0; i < RUNNERS; i++)
        pthread_join(runners[i].thread, NULL);
    for (int i = 0; i < RUNNERS; i++) {
        CHECK_EQ(runners[i].result, 0);
        CHECK_EQ(runners[i].received, ROUNDS);
        CHECK_EQ(runners[i].immediates, ROUNDS);
        ed_loop_destroy(&runners[i].loop);
    }
}

static void two_loops_of_one_thread_take_turns(void)
{
    struct ed_loop other;
    struct ed_timer timer = {0}, others_timer = {0};
    begin();
    NEED(ed_loop_init(&other) == 0);
    ed_timer_start(&loop, &timer, 0, count_timer);
    ed_timer_start(&other, &others_timer, 0, count_timer);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    CHECK_EQ(calls, 1);
    CHECK(ed_loop_is_alive(&other));
    CHECK_EQ(ed_loop_run_once(&other, 0), 0);
    CHECK_EQ(calls, 2);
    ed_loop_destroy(&other);
    ed_loop_destroy(&loop);
}

/* ---- init and destroy ---------------------------------------------------- */

static int count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void loops_leave_no_descriptor_behind(void)
{
    int before = count_descriptors();
    for (int i = 0; i < 2000; i++) {
        struct ed_timer timer = {0};
        begin();
        ed_timer_start(&loop, &timer, 0, count_timer);
        CHECK_EQ(ed_loop_run(&loop), 0);
        ed_loop_destroy(&loop);
    }
    CHECK_EQ(count_descriptors(), before);
}

static void descriptors_of_a_loop_are_closed_by_exec(void)
{
    bool was_open[1024];
    for (int fd = 0; fd < 1024; fd++)
        was_open[fd] = fcntl(fd, F_GETFD) >= 0;
    begin();
    for (int fd = 0; fd < 1024; fd++) {
        int flags = fcntl(fd, F_GETFD);
        CHECK(flags < 0 || was_open[fd] || (flags & FD_CLOEXEC));
    }
    ed_loop_destroy(&loop);
}

static void to_destroy_a_loop_stops_its_timers(void)
{
    enum { COUNT = 40 };
    struct ed_timer timers[COUNT] = {0};
    begin();
    for (int i = 0; i < COUNT; i++)
        ed_timer_start(&loop, &timers[i], UINT64_C(1) << (i * 63 / COUNT),
                       count_timer);
    ed_loop_destroy(&loop);
    memset(&loop, 0xee, sizeof loop);
    for (int i = 0; i < COUNT; i++) {
        CHECK(!ed_timer_is_active(&timers[i]));
        ed_timer_stop(&timers[i]);
        ed_timer_unref(&timers[i]);
    }
    CHECK_EQ(calls, 0);
}

static void to_destroy_a_loop_stops_its_hooks(void)
{
    struct ed_hook hooks[4] = {0};
    begin();
    ed_hook_tick(&loop, &hooks[0], count_hook);
    ed_hook_immediate(&loop, &hooks[1], count_hook);
    ed_hook_prepare(&loop, &hooks[2], count_hook);
    ed_hook_idle(&loop, &hooks[3], count_hook);
    ed_loop_destroy(&loop);
    memset(&loop, 0xee, sizeof loop);
    for (int i = 0; i < 4; i++) {
        CHECK(!ed_hook_is_active(&hooks[i]));
        ed_hook_stop(&hooks[i]);
    }
    CHECK_EQ(calls, 0);

    begin(); // and they can be started on another
    ed_hook_immediate(&loop, &hooks[2], count_hook);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 1);
    ed_loop_destroy(&loop);
}

static void to_destroy_a_loop_forgets_its_messages(void)
{
    struct ed_msg msg;
    begin();
    ed_loop_post(&loop, &msg, count_message);
    ed_loop_destroy(&loop);
    CHECK_EQ(calls, 0);
}

/* ---- misuse -------------------------------------------------------------- */

/* Whether fn, in a process of its own, ends in a failed assertion. */
static bool asserts(void (*fn)(void))
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit no_core = {0};
        setrlimit(RLIMIT_CORE, &no_core);
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        alarm(30);
        fn();
        _exit(0);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child &&
           WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void run_in_timer(struct ed_timer *timer)
{
    ed_loop_run(timer->loop);
}

static void run_once_in_timer(struct ed_timer *timer)
{
    ed_loop_run_once(timer->loop, 0);
}

static void destroy_in_timer(struct ed_timer *timer)
{
    ed_loop_destroy(timer->loop);
}

static void call_in_loop(ed_timer_fn *fn)
{
    struct ed_timer timer = {0};
    begin();
    ed_timer_start(&loop, &timer, 0, fn);
    ed_loop_run(&loop);
}

static void run_in_callback(void)
{
    call_in_loop(run_in_timer);
}

static void run_once_in_callback(void)
{
    call_in_loop(run_once_in_timer);
}

static void destroy_in_callback(void)
{
    call_in_loop(destroy_in_timer);
}

static void destroy_with_watch(void)
{
    static struct ed_watch watch;
    int fds[2];
    begin();
    if (pipe(fds) == 0)
        ed_watch_start(&loop, &watch, fds[0], ED_READABLE, count_watch);
    ed_loop_destroy(&loop);
}

static void unref_too_often(void)
{
    begin();
    ed_loop_unref(&loop);
}

static void repeat_without_period(void)
{
    struct ed_timer timer = {0};
    begin();
    ed_timer_repeat(&loop, &timer, 0, count_timer);
}

static void again_without_start(void)
{
    struct ed_timer timer = {0};
    ed_timer_again(&timer);
}

static void change_without_start(void)
{
    struct ed_watch watch = {0};
    ed_watch_change(&watch, ED_READABLE);
}

static void watch_for_what_is_not_there(void)
{
    struct ed_watch watch = {0};
    begin();
    ed_watch_start(&loop, &watch, 0, ED_HANGUP, count_watch);
}

static void start_watchdog_twice(void)
{
    struct ed_watchdog watchdog = {0};
    begin();
    ed_watchdog_start(&loop, &watchdog);
    ed_watchdog_start(&loop, &watchdog);
}

static void stop_first_watchdog_first(void)
{
    struct ed_watchdog first = {0}, second = {0};
    begin();
    ed_watchdog_start(&loop, &first);
    ed_watchdog_start(&loop, &second);
    ed_watchdog_stop(&first);
}

static void misuse_is_an_assertion(void)
{
#ifdef NDEBUG
    SKIP("built without assertions");
#endif
    CHECK(asserts(run_in_callback));
    CHECK(asserts(run_once_in_callback));
    CHECK(asserts(destroy_in_callback));
    CHECK(asserts(destroy_with_watch));
    CHECK(asserts(unref_too_often));
    CHECK(asserts(repeat_without_period));
    CHECK(asserts(again_without_start));
    CHECK(asserts(change_without_start));
    CHECK(asserts(watch_for_what_is_not_there));
    CHECK(asserts(start_watchdog_twice));
    CHECK(asserts(stop_first_watchdog_first));
}

TESTS(TEST(a_loop_with_nothing_to_wait_for_returns_at_once),
      TEST(a_run_ends_when_the_last_timer_has_fired),
      TEST(a_stopped_run_returns_1_and_can_be_gone_on_with),
      TEST(a_stopped_loop_finishes_its_turn),
      TEST(a_run_is_stopped_also_if_nothing_is_left),
      TEST(a_stop_before_the_run_ends_it_before_its_first_turn),
      TEST(stops_are_not_counted),
      TEST(a_stop_from_another_thread_ends_the_wait),
      TEST(a_stop_from_another_thread_ends_a_sleep),
      TEST(a_stop_from_a_signal_handler_ends_the_wait),
      TEST(a_stop_from_a_signal_handler_during_a_callback_ends_the_run),
      TEST(a_signal_alone_does_not_end_a_run),
      TEST(a_loop_leaves_signals_alone),
      TEST(one_turn_without_waiting_fires_what_is_due),
      TEST(one_turn_waits_no_longer_than_its_limit),
      TEST(one_turn_waits_no_longer_than_until_the_next_timer),
      TEST(a_stop_is_used_up_by_one_turn),
      TEST(a_woken_loop_does_not_sleep_through_the_turn),
      TEST(stop_and_wake_keep_errno), TEST(a_loop_that_waits_does_not_turn),
      TEST(timers_keep_a_loop_alive), TEST(watches_keep_a_loop_alive),
      TEST(ticks_and_immediates_keep_a_loop_alive),
      TEST(prepare_and_idle_hooks_do_not_keep_a_loop_alive),
      TEST(a_queued_message_keeps_a_loop_alive),
      TEST(a_message_yet_to_run_in_this_turn_keeps_a_loop_alive),
      TEST(ref_keeps_a_loop_alive_until_as_many_unrefs),
      TEST(a_timer_can_be_unrefd_and_refd_at_any_time),
      TEST(a_watch_can_be_unrefd_and_refd_at_any_time),
      TEST(an_unrefd_timer_fires_as_long_as_others_keep_the_loop_alive),
      TEST(time_stands_still_while_callbacks_run),
      TEST(update_now_sets_the_time_right),
      TEST(time_goes_on_from_turn_to_turn_and_never_back),
      TEST(loops_of_several_threads_run_at_once),
      TEST(two_loops_of_one_thread_take_turns),
      TEST(loops_leave_no_descriptor_behind),
      TEST(descriptors_of_a_loop_are_closed_by_exec),
      TEST(to_destroy_a_loop_stops_its_timers),
      TEST(to_destroy_a_loop_stops_its_hooks),
      TEST(to_destroy_a_loop_forgets_its_messages),
      TEST(misuse_is_an_assertion))
