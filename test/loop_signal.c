#include "loop/signal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "test/gate.h"
#include "test/tap.h"

static struct ed_loop loop;

struct probe {
    struct ed_signal signal;
    int calls;
    int order; // the number of its last call among all
    pthread_t thread;
    struct probe *other; // what the callback works on
};

static int calls; // of all probes

static void note(struct ed_signal *signal)
{
    struct probe *probe = ED_CONTAINER_OF(signal, struct probe, signal);
    probe->calls++;
    probe->order = ++calls;
    probe->thread = pthread_self();
}

static void note_and_stop(struct ed_signal *signal)
{
    note(signal);
    ed_signal_stop(signal);
}

static void note_and_free(struct ed_signal *signal)
{
    note_and_stop(signal);
    free(ED_CONTAINER_OF(signal, struct probe, signal));
}

static void note_and_stop_other(struct ed_signal *signal)
{
    note(signal);
    ed_signal_stop(
        &ED_CONTAINER_OF(signal, struct probe, signal)->other->signal);
}

static void note_and_free_other(struct ed_signal *signal)
{
    struct probe *probe = ED_CONTAINER_OF(signal, struct probe, signal);
    note_and_stop_other(signal);
    free(probe->other);
}

static void note_and_start_other(struct ed_signal *signal)
{
    struct probe *probe = ED_CONTAINER_OF(signal, struct probe, signal);
    note(signal);
    if (probe->calls == 1)
        CHECK_EQ(ed_signal_start(signal->loop, &probe->other->signal,
                                 signal->number, note),
                 0);
}

static void begin(void)
{
    calls = 0;
    CHECK_EQ(ed_loop_init(&loop), 0);
}

static void end(void)
{
    CHECK(!ed_loop_is_alive(&loop));
    CHECK(!loop.inbox);
    ed_loop_destroy(&loop);
}

static void start(struct probe *probe, int number)
{
    CHECK_EQ(ed_signal_start(&loop, &probe->signal, number, note), 0);
}

static void take_turn(void)
{
    CHECK(ed_loop_run_once(&loop, 0) >= 0);
}

/* ---- dispositions -------------------------------------------------------- */

static volatile sig_atomic_t handled; // how often, by a handler of the test's

static void count_handled(int number)
{
    (void)number;
    handled++;
}

static void do_nothing(int number)
{
    (void)number;
}

static void count_with_info(int number, siginfo_t *info, void *context)
{
    (void)context;
    handled += info->si_signo == number;
}

static struct sigaction disposition(int number)
{
    struct sigaction now;
    if (sigaction(number, NULL, &now))
        abort();
    return now;
}

static void dispose(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    sigemptyset(&action.sa_mask);
    if (sigaction(number, &action, NULL))
        abort();
}

static bool is_default(int number)
{
    return disposition(number).sa_handler == SIG_DFL;
}

/* ---- arrival ------------------------------------------------------------- */

static void a_signal_is_told_in_the_next_turn(void)
{
    struct probe probe = {0};
    begin();
    start(&probe, SIGUSR1);
    CHECK_EQ(probe.signal.number, SIGUSR1);
    take_turn();
    CHECK_EQ(probe.calls, 0);
    raise(SIGUSR1);
    CHECK_EQ(probe.calls, 0);
    take_turn();
    CHECK_EQ(probe.calls, 1);
    take_turn();
    CHECK_EQ(probe.calls, 1);
    raise(SIGUSR1);
    take_turn();
    CHECK_EQ(probe.calls, 2);
    ed_signal_stop(&probe.signal);
    end();
}

static void several_that_arrive_before_the_turn_are_one(void)
{
    struct probe probe = {0};
    begin();
    start(&probe, SIGUSR1);
    for (int i = 0; i < 10; i++)
        raise(SIGUSR1);
    take_turn();
    take_turn();
    CHECK_EQ(probe.calls, 1);
    ed_signal_stop(&probe.signal);
    end();
}

static void all_watches_of_a_signal_are_called_in_the_order_started(void)
{
    enum { MANY = 1000 };
    static struct probe probes[MANY];
    begin();
    for (int i = 0; i < MANY; i++) {
        probes[i] = (struct probe){0};
        start(&probes[i], i % 10 ? SIGUSR1 : SIGUSR2);
    }
    for (int round = 1; round <= 3; round++) {
        raise(SIGUSR1);
        calls = 0;
        take_turn();
        CHECK_EQ(calls, MANY - MANY / 10);
        raise(SIGUSR2);
        raise(SIGUSR1);
        calls = 0;
        take_turn();
        for (int i = 0; i < MANY; i++) {
            CHECK_EQ(probes[i].order, i + 1);
            CHECK_EQ(probes[i].calls, round * (i % 10 ? 2 : 1));
        }
    }
    for (int i = 0; i < MANY; i++)
        ed_signal_stop(&probes[i * 7 % MANY].signal);
    end();
}

static void a_signal_that_is_not_watched_is_not_told(void)
{
    struct probe first = {0}, second = {0};
    begin();
    start(&first, SIGUSR1);
    start(&second, SIGUSR2);
    raise(SIGUSR2);
    take_turn();
    CHECK_EQ(first.calls, 0);
    CHECK_EQ(second.calls, 1);
    ed_signal_stop(&first.signal);
    ed_signal_stop(&second.signal);
    end();
}

static void the_highest_signal_is_a_signal_like_others(void)
{
#ifndef SIGRTMAX
    SKIP("no signals but the old ones");
#else
    struct probe lowest = {0}, highest = {0};
    begin();
    if (ed_signal_start(&loop, &highest.signal, SIGRTMAX, note)) {
        end();
        SKIP("valgrind needs that signal for itself");
    }
    start(&lowest, SIGHUP);
    raise(SIGRTMAX);
    take_turn();
    CHECK_EQ(lowest.calls, 0);
    CHECK_EQ(highest.calls, 1);
    raise(SIGHUP);
    take_turn();
    CHECK_EQ(lowest.calls, 1);
    CHECK_EQ(highest.calls, 1);
    ed_signal_stop(&lowest.signal);
    ed_signal_stop(&highest.signal);
    CHECK(is_default(SIGRTMAX));
    end();
#endif
}

static void the_interrupted_see_their_errno(void)
{
    struct probe probe = {0};
    begin();
    start(&probe, SIGUSR1);
    errno = ERANGE;
    raise(SIGUSR1);
    CHECK_EQ(errno, ERANGE);
    ed_signal_stop(&probe.signal);
    end();
}

static void an_interrupted_read_goes_on(void)
{
    struct probe probe = {0};
    struct gate gate;
    begin();
    gate_init(&gate);
    start(&probe, SIGUSR1);
    CHECK(disposition(SIGUSR1).sa_flags & SA_RESTART);

    fflush(stdout);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        for (int i = 0; i < 20; i++) {
            kill(parent, SIGUSR1);
            usleep(1000);
        }
        gate_open(&gate);
        _exit(0);
    }
    char byte;
    CHECK_EQ(read(gate.fds[0], &byte, 1), 1);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    take_turn();
    CHECK_EQ(probe.calls, 1);
    ed_signal_stop(&probe.signal);
    gate_destroy(&gate);
    end();
}

/* ---- the loop wakes up --------------------------------------------------- */

static struct probe awaited; // stops when called, and the loop has no more

static void raise_in_hook(struct ed_hook *hook)
{
    ed_hook_stop(hook);
    raise(SIGUSR1);
}

static void raise_in_timer(struct ed_timer *timer)
{
    (void)timer;
    raise(SIGUSR1);
}

static void raise_in_message(struct ed_msg *msg)
{
    (void)msg;
    raise(SIGUSR1);
}

static void await(void)
{
    awaited = (struct probe){0};
    begin();
    NEED(ed_signal_start(&loop, &awaited.signal, SIGUSR1, note_and_stop) == 0);
}

static void run_until_told(void)
{
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(awaited.calls, 1);
    end();
}

static void
a_signal_of_any_moment_of_the_turn_keeps_the_loop_from_sleeping(void)
{
    struct ed_hook hook = {0};
    struct ed_timer timer = {0};
    struct ed_msg msg;

    await();
    raise(SIGUSR1);
    run_until_told();
    await();
    ed_timer_start(&loop, &timer, ED_MS, raise_in_timer);
    run_until_told();
    await();
    ed_loop_post(&loop, &msg, raise_in_message);
    run_until_told();
    await();
    ed_hook_prepare(&loop, &hook, raise_in_hook); // after the look for signals
    run_until_told();
    await();
    ed_hook_idle(&loop, &hook, raise_in_hook);
    run_until_told();
    await();
    ed_hook_immediate(&loop, &hook, raise_in_hook);
    run_until_told();
    await();
    ed_hook_tick(&loop, &hook, raise_in_hook);
    run_until_told();
}

static void stop_with_request(struct ed_signal *signal)
{
    note_and_stop(signal);
    loop.requests = 0;
}

static void a_loop_that_looks_out_for_a_reply_is_told_too(void)
{
    struct ed_hook hook = {0};
    awaited = (struct probe){0};
    begin();
    // As with a task in the pool, whose end never comes.
    loop.requests = 1;
    loop.linger_requests = 1;
    NEED(ed_signal_start(&loop, &awaited.signal, SIGUSR1, stop_with_request) ==
         0);
    ed_hook_prepare(&loop, &hook, raise_in_hook);
    run_until_told();
}

enum how { BY_KILL, BY_RAISE, BY_PTHREAD_KILL, WAYS };

struct sender {
    struct gate gate;
    pthread_t to;
    pthread_t thread;
    int rounds;
};

static void *send_at_the_gate(void *argument)
{
    struct sender *sender = argument;
    for (int i = 0; i < sender->rounds; i++) {
        gate_pass(&sender->gate);
        switch ((enum how)(i % WAYS)) {
        case BY_KILL:
            kill(getpid(), SIGUSR1);
            break;
        case BY_RAISE:
            raise(SIGUSR1);
            break;
        default:
            pthread_kill(sender->to, SIGUSR1);
        }
    }
    return NULL;
}

static struct sender sender;

static void open_gate(struct ed_hook *hook)
{
    ed_hook_stop(hook);
    gate_open(&sender.gate);
}

static void a_loop_that_sleeps_or_is_about_to_is_woken_up(void)
{
    struct ed_hook hook = {0};
    sender = (struct sender){.to = pthread_self(), .rounds = 300};
    gate_init(&sender.gate);
    NEED(pthread_create(&sender.thread, NULL, send_at_the_gate, &sender) == 0);
    for (int i = 0; i < sender.rounds; i++) {
        await();
        ed_hook_prepare(&loop, &hook, open_gate);
        run_until_told();
        CHECK(pthread_equal(awaited.thread, pthread_self()));
    }
    pthread_join(sender.thread, NULL);
    gate_destroy(&sender.gate);
}

/* ---- once ---------------------------------------------------------------- */

static void note_that_it_has_stopped(struct ed_signal *signal)
{
    note(signal);
    CHECK(!ed_signal_is_active(signal));
    CHECK(is_default(SIGUSR1));
}

static void once_is_the_first_time_only(void)
{
    struct probe probe = {0};
    begin();
    CHECK_EQ(
        ed_signal_once(&loop, &probe.signal, SIGUSR1, note_that_it_has_stopped),
        0);
    CHECK(ed_signal_is_active(&probe.signal));
    CHECK(!is_default(SIGUSR1));
    raise(SIGUSR1);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 1);
    end();
}

static void note_and_ask_again(struct ed_signal *signal)
{
    note(signal);
    if (calls < 3)
        CHECK_EQ(ed_signal_once(&loop, signal, SIGUSR1, note_and_ask_again), 0);
}

static void once_can_be_asked_for_again_in_the_callback(void)
{
    struct probe probe = {0};
    begin();
    CHECK_EQ(ed_signal_once(&loop, &probe.signal, SIGUSR1, note_and_ask_again),
             0);
    for (int i = 1; i <= 3; i++) {
        raise(SIGUSR1);
        take_turn();
        take_turn();
        CHECK_EQ(probe.calls, i);
    }
    CHECK(is_default(SIGUSR1));
    end();
}

static void note_free(struct ed_signal *signal)
{
    calls++;
    free(ED_CONTAINER_OF(signal, struct probe, signal));
}

static void once_may_be_freed_in_the_callback(void)
{
    struct probe *probe = calloc(1, sizeof *probe);
    begin();
    NEED(probe);
    CHECK_EQ(ed_signal_once(&loop, &probe->signal, SIGUSR1, note_free), 0);
    raise(SIGUSR1);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 1);
    end();
}

/* ---- stopping and starting ----------------------------------------------- */

static void to_stop_what_is_not_started_does_nothing(void)
{
    struct probe probe = {0};
    begin();
    ed_signal_stop(&probe.signal);
    CHECK(!ed_signal_is_active(&probe.signal));
    start(&probe, SIGUSR1);
    ed_signal_stop(&probe.signal);
    ed_signal_stop(&probe.signal);
    CHECK(!ed_signal_is_active(&probe.signal));
    end();
}

static void a_watch_may_be_stopped_or_freed_in_its_callback(void)
{
    struct probe stopped = {0}, stays = {0};
    struct probe *freed = calloc(1, sizeof *freed);
    begin();
    NEED(freed);
    CHECK_EQ(ed_signal_start(&loop, &stopped.signal, SIGUSR1, note_and_stop),
             0);
    CHECK_EQ(ed_signal_start(&loop, &freed->signal, SIGUSR1, note_and_free), 0);
    start(&stays, SIGUSR1);
    raise(SIGUSR1);
    take_turn();
    CHECK_EQ(calls, 3);
    CHECK_EQ(stopped.calls, 1);
    CHECK_EQ(stays.order, 3);
    raise(SIGUSR1);
    take_turn();
    CHECK_EQ(calls, 4);
    ed_signal_stop(&stays.signal);
    end();
}

static void the_last_watch_may_be_stopped_or_freed_in_its_callback(void)
{
    struct probe stopped = {0};
    struct probe *freed = calloc(1, sizeof *freed);
    begin();
    NEED(freed);
    CHECK_EQ(ed_signal_start(&loop, &stopped.signal, SIGUSR1, note_and_stop),
             0);
    raise(SIGUSR1);
    take_turn();
    CHECK_EQ(ed_signal_start(&loop, &freed->signal, SIGUSR1, note_and_free), 0);
    raise(SIGUSR1);
    take_turn();
    CHECK_EQ(calls, 2);
    end();
}

static void one_that_is_stopped_by_a_callback_before_it_is_not_called(void)
{
    struct probe first = {0}, second = {0}, third = {0};
    struct probe *freed = calloc(1, sizeof *freed);
    begin();
    NEED(freed);
    first.other = &second;
    third.other = freed;
    CHECK_EQ(
        ed_signal_start(&loop, &first.signal, SIGUSR1, note_and_stop_other), 0);
    start(&second, SIGUSR2); // of another signal that has arrived, too
    CHECK_EQ(
        ed_signal_start(&loop, &third.signal, SIGUSR1, note_and_free_other), 0);
    CHECK_EQ(ed_signal_start(&loop, &freed->signal, SIGUSR1, note), 0);
    raise(SIGUSR1);
    raise(SIGUSR2);
    take_turn();
    CHECK_EQ(calls, 2);
    CHECK_EQ(second.calls, 0);
    CHECK(is_default(SIGUSR2));
    ed_signal_stop(&first.signal);
    ed_signal_stop(&third.signal);
    end();
}

static void all_may_be_stopped_by_the_first_callback(void)
{
    struct probe first = {0}, second = {0};
    begin();
    first.other = &second;
    CHECK_EQ(ed_signal_once(&loop, &first.signal, SIGUSR1, note_and_stop_other),
             0);
    start(&second, SIGUSR1);
    raise(SIGUSR1);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 1);
    end();
}

static void one_that_is_started_by_a_callback_waits_for_the_next(void)
{
    struct probe first = {0}, second = {0};
    begin();
    first.other = &second;
    CHECK_EQ(
        ed_signal_start(&loop, &first.signal, SIGUSR1, note_and_start_other),
        0);
    raise(SIGUSR1);
    take_turn();
    take_turn();
    CHECK_EQ(first.calls, 1);
    CHECK_EQ(second.calls, 0);
    raise(SIGUSR1);
    take_turn();
    CHECK_EQ(first.calls, 2);
    CHECK_EQ(second.calls, 1);
    ed_signal_stop(&first.signal);
    ed_signal_stop(&second.signal);
    end();
}

static void what_arrived_before_the_last_watch_stopped_is_forgotten(void)
{
    struct probe probe = {0}, other = {0};
    begin();
    start(&other, SIGUSR2); // so that the loop still watches something
    start(&probe, SIGUSR1);
    raise(SIGUSR1);
    ed_signal_stop(&probe.signal);
    start(&probe, SIGUSR1);
    take_turn();
    CHECK_EQ(probe.calls, 0);
    raise(SIGUSR1);
    take_turn();
    CHECK_EQ(probe.calls, 1);
    ed_signal_stop(&probe.signal);
    ed_signal_stop(&other.signal);
    end();
}

static void to_start_a_started_watch_starts_it_anew(void)
{
    struct probe probe = {0};
    begin();
    start(&probe, SIGUSR1);
    start(&probe, SIGUSR2);
    CHECK(is_default(SIGUSR1));
    CHECK_EQ(probe.signal.number, SIGUSR2);
    CHECK_EQ(ed_signal_start(&loop, &probe.signal, SIGUSR2, note_and_stop), 0);
    raise(SIGUSR2);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 1);
    end();
}

static void a_watch_can_move_to_another_loop(void)
{
    struct probe probe = {0};
    struct ed_loop other;
    begin();
    NEED(ed_loop_init(&other) == 0);
    start(&probe, SIGUSR1);
    CHECK_EQ(ed_signal_start(&other, &probe.signal, SIGUSR1, note_and_stop), 0);
    raise(SIGUSR1);
    take_turn();
    CHECK_EQ(probe.calls, 0);
    CHECK_EQ(ed_loop_run(&other), 0);
    CHECK_EQ(probe.calls, 1);
    ed_loop_destroy(&other);
    end();
}

static void *send_until_told(void *argument)
{
    while (!__atomic_load_n((bool *)argument, __ATOMIC_ACQUIRE))
        kill(getpid(), SIGUSR1); // would end the program by default
    return NULL;
}

static void one_that_is_started_anew_is_watched_throughout(void)
{
    struct probe probe = {0};
    pthread_t thread;
    bool is_enough = false;
    begin();
    start(&probe, SIGUSR1);
    NEED(pthread_create(&thread, NULL, send_until_told, &is_enough) == 0);
    for (int i = 0; i < 500 || !probe.calls; i++) {
        start(&probe, SIGUSR1);
        take_turn();
    }
    __atomic_store_n(&is_enough, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    take_turn(); // what is still under way arrives
    ed_signal_stop(&probe.signal);
    end();
}

/* ---- alive --------------------------------------------------------------- */

static void a_watch_keeps_the_loop_alive_unless_unrefd(void)
{
    struct probe probe = {0};
    begin();
    start(&probe, SIGUSR1);
    CHECK(ed_loop_is_alive(&loop));
    ed_signal_unref(&probe.signal);
    ed_signal_unref(&probe.signal);
    CHECK(!ed_loop_is_alive(&loop));
    CHECK_EQ(ed_loop_run(&loop), 0);
    ed_signal_ref(&probe.signal);
    CHECK(ed_loop_is_alive(&loop));
    ed_signal_unref(&probe.signal);
    raise(SIGUSR1);
    take_turn();
    CHECK_EQ(probe.calls, 1);
    start(&probe, SIGUSR1); // as before, unref'd
    CHECK(!ed_loop_is_alive(&loop));
    ed_signal_stop(&probe.signal);
    ed_signal_ref(&probe.signal);
    CHECK(!ed_loop_is_alive(&loop));
    start(&probe, SIGUSR1);
    CHECK(ed_loop_is_alive(&loop));
    ed_signal_stop(&probe.signal);
    end();
}

/* ---- errors -------------------------------------------------------------- */

static void what_cannot_be_watched_is_refused(void)
{
    static const int numbers[] = {0,       -1,      64 * 1024, 128,    SIGKILL,
                                  SIGSTOP, SIGSEGV, SIGBUS,    SIGFPE, SIGILL};
    begin();
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct probe probe = {0};
        CHECK_EQ(ed_signal_start(&loop, &probe.signal, numbers[i], note),
                 -EINVAL);
        CHECK_EQ(ed_signal_once(&loop, &probe.signal, numbers[i], note),
                 -EINVAL);
        CHECK(!ed_signal_is_active(&probe.signal));
        CHECK(!ed_loop_is_alive(&loop));
        ed_signal_stop(&probe.signal);
    }
    end();
}

static void a_number_that_the_system_does_not_know_is_refused(void)
{
    struct probe probe = {0};
    struct sigaction ignored;
    begin();
    for (int number = 1; number < 128; number++) {
        if (sigaction(number, NULL, &ignored) == 0)
            continue;
        CHECK_EQ(ed_signal_start(&loop, &probe.signal, number, note), -EINVAL);
    }
    end();
}

static void one_that_is_refused_anew_has_stopped(void)
{
    struct probe probe = {0};
    begin();
    start(&probe, SIGUSR1);
    CHECK_EQ(ed_signal_start(&loop, &probe.signal, SIGKILL, note), -EINVAL);
    CHECK(!ed_signal_is_active(&probe.signal));
    CHECK(is_default(SIGUSR1));
    end();
}

/* ---- what was there before ----------------------------------------------- */

static void the_previous_disposition_is_back_after_the_last_watch(void)
{
    struct probe first = {0}, second = {0};
    struct ed_loop other;
    begin();
    NEED(ed_loop_init(&other) == 0);
    start(&first, SIGUSR1);
    CHECK_EQ(ed_signal_start(&other, &second.signal, SIGUSR1, note), 0);
    ed_signal_stop(&first.signal);
    CHECK(!is_default(SIGUSR1));
    raise(SIGUSR1);
    CHECK(ed_loop_run_once(&other, 0) >= 0);
    CHECK_EQ(second.calls, 1);
    ed_signal_stop(&second.signal);
    CHECK(is_default(SIGUSR1));
    ed_loop_destroy(&other);
    end();
}

static void one_that_was_ignored_is_ignored_again(void)
{
    struct probe probe = {0};
    begin();
    dispose(SIGUSR1, SIG_IGN);
    start(&probe, SIGUSR1);
    raise(SIGUSR1);
    take_turn();
    CHECK_EQ(probe.calls, 1);
    ed_signal_stop(&probe.signal);
    CHECK(disposition(SIGUSR1).sa_handler == SIG_IGN);
    raise(SIGUSR1);
    dispose(SIGUSR1, SIG_DFL);
    end();
}

static void one_that_had_a_handler_has_it_again_as_it_was(void)
{
    struct probe probe = {0};
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_NODEFER};
    action.sa_sigaction = count_with_info;
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGUSR2);
    begin();
    NEED(sigaction(SIGUSR1, &action, NULL) == 0);
    for (int round = 0; round < 2; round++) {
        handled = 0;
        start(&probe, SIGUSR1);
        raise(SIGUSR1);
        CHECK_EQ(handled, 0);
        ed_signal_stop(&probe.signal);
        struct sigaction now = disposition(SIGUSR1);
        CHECK(now.sa_sigaction == count_with_info);
        CHECK_EQ(now.sa_flags & (SA_SIGINFO | SA_NODEFER | SA_RESTART),
                 SA_SIGINFO | SA_NODEFER);
        CHECK(sigismember(&now.sa_mask, SIGUSR2) == 1);
        CHECK(sigismember(&now.sa_mask, SIGTERM) == 0);
        raise(SIGUSR1);
        CHECK_EQ(handled, 1);
    }
    CHECK_EQ(probe.calls, 0);
    dispose(SIGUSR1, SIG_DFL);
    end();
}

static void a_handler_that_was_installed_over_ours_is_left_alone(void)
{
    struct probe probe = {0};
    begin();
    handled = 0;
    start(&probe, SIGUSR1);
    dispose(SIGUSR1, count_handled);
    raise(SIGUSR1);
    CHECK_EQ(handled, 1);
    take_turn();
    CHECK_EQ(probe.calls, 0);
    ed_signal_stop(&probe.signal);
    CHECK(disposition(SIGUSR1).sa_handler == count_handled);
    dispose(SIGUSR1, SIG_DFL);
    end();
}

static void ours_that_somebody_puts_back_too_late_is_not_kept_for_ever(void)
{
    struct probe probe = {0};
    begin();
    start(&probe, SIGUSR1);
    struct sigaction ours = disposition(SIGUSR1);
    ed_signal_stop(&probe.signal);
    NEED(sigaction(SIGUSR1, &ours, NULL) == 0);
    raise(SIGUSR1); // nobody is concerned
    start(&probe, SIGUSR1);
    raise(SIGUSR1);
    take_turn();
    CHECK_EQ(probe.calls, 1);
    ed_signal_stop(&probe.signal);
    CHECK(is_default(SIGUSR1));
    end();
}

/* ---- several loops, several threads -------------------------------------- */

enum { LOOPS = 4, ROUNDS = 50 };

struct runner {
    struct ed_loop loop;
    struct probe probe;
    struct ed_timer timer; // keeps it from being alone
    struct ed_msg leave;
    pthread_t thread;
};

static struct gate told; // opened for each call

static void note_and_open(struct ed_signal *signal)
{
    struct probe *probe = ED_CONTAINER_OF(signal, struct probe, signal);
    probe->calls++;
    CHECK(pthread_equal(ED_CONTAINER_OF(probe, struct runner, probe)->thread,
                        pthread_self()));
    gate_open(&told);
}

static void stop_runner(struct ed_msg *msg)
{
    struct runner *runner = ED_CONTAINER_OF(msg, struct runner, leave);
    ed_signal_stop(&runner->probe.signal);
}

static void open_when_started(struct ed_timer *timer)
{
    (void)timer;
    gate_open(&told);
}

static void *run_loop_with_signal(void *argument)
{
    struct runner *runner = argument;
    CHECK_EQ(ed_signal_start(&runner->loop, &runner->probe.signal, SIGUSR1,
                             note_and_open),
             0);
    ed_timer_start(&runner->loop, &runner->timer, 0, open_when_started);
    CHECK_EQ(ed_loop_run(&runner->loop), 0);
    return NULL;
}

static void each_loop_is_told_on_its_thread(void)
{
    static struct runner runners[LOOPS];
    gate_init(&told);
    for (int i = 0; i < LOOPS; i++) {
        runners[i] = (struct runner){0};
        NEED(ed_loop_init(&runners[i].loop) == 0);
        NEED(pthread_create(&runners[i].thread, NULL, run_loop_with_signal,
                            &runners[i]) == 0);
        gate_pass(&told);
    }
    for (int round = 0; round < ROUNDS; round++) {
        if (round % 2)
            kill(getpid(), SIGUSR1);
        else
            pthread_kill(runners[round % LOOPS].thread, SIGUSR1);
        for (int i = 0; i < LOOPS; i++)
            gate_pass(&told);
    }
    for (int i = 0; i < LOOPS; i++) {
        ed_loop_post(&runners[i].loop, &runners[i].leave, stop_runner);
        pthread_join(runners[i].thread, NULL);
        CHECK_EQ(runners[i].probe.calls, ROUNDS);
        CHECK(!ed_loop_is_alive(&runners[i].loop));
        ed_loop_destroy(&runners[i].loop);
    }
    CHECK(is_default(SIGUSR1));
    gate_destroy(&told);
}

/* ---- a storm ------------------------------------------------------------- */

static const int storm[] = {SIGUSR1, SIGUSR2, SIGWINCH};
enum { STORM = sizeof storm / sizeof *storm, STORM_WATCHES = 6 };

struct storm_loop {
    pthread_t thread;
    unsigned random;
    long calls;
};

struct storm_watch {
    struct ed_signal signal;
    struct storm_loop *home;
};

static unsigned next_random(unsigned *random, unsigned below)
{
    *random = *random * 1103515245u + 12345u;
    return (*random >> 16) % below;
}

static void change_in_storm(struct ed_loop *here, struct storm_watch *watch,
                            ed_signal_fn *fn)
{
    unsigned *random = &watch->home->random;
    int number = storm[next_random(random, STORM)];
    switch (next_random(random, 3)) {
    case 0:
        ed_signal_stop(&watch->signal);
        break;
    case 1:
        CHECK_EQ(ed_signal_start(here, &watch->signal, number, fn), 0);
        break;
    default:
        CHECK_EQ(ed_signal_once(here, &watch->signal, number, fn), 0);
    }
}

static void note_and_change(struct ed_signal *signal)
{
    struct storm_watch *watch =
        ED_CONTAINER_OF(signal, struct storm_watch, signal);
    struct storm_loop *home = watch->home;
    home->calls++;
    change_in_storm(signal->loop, watch, note_and_change);
}

/* Loops come and go as well. */
static void *live_in_storm(void *argument)
{
    struct storm_loop *home = argument;
    struct storm_watch watches[STORM_WATCHES];
    struct ed_loop here;
    for (int life = 0; life < 5 || (!home->calls && life < 100000); life++) {
        if (ed_loop_init(&here))
            abort();
        for (int i = 0; i < STORM_WATCHES; i++)
            watches[i] = (struct storm_watch){.home = home};
        for (int i = 0; i < 40; i++) {
            change_in_storm(&here,
                            &watches[next_random(&home->random, STORM_WATCHES)],
                            note_and_change);
            ed_loop_run_once(&here, 0);
        }
        for (int i = 0; i < STORM_WATCHES; i++)
            ed_signal_stop(&watches[i].signal);
        ed_loop_destroy(&here);
    }
    return NULL;
}

static void *send_in_storm(void *argument)
{
    unsigned random = 1;
    while (!__atomic_load_n((bool *)argument, __ATOMIC_ACQUIRE)) {
        kill(getpid(), storm[next_random(&random, STORM)]);
        sched_yield();
    }
    return NULL;
}

static void watches_start_and_stop_in_a_storm_of_signals(void)
{
    struct storm_loop loops[LOOPS] = {{0}};
    pthread_t sender_thread;
    bool is_over = false;
    for (int i = 0; i < STORM; i++)
        dispose(storm[i], do_nothing); // while nobody watches
    NEED(pthread_create(&sender_thread, NULL, send_in_storm, &is_over) == 0);
    for (int i = 0; i < LOOPS; i++) {
        loops[i].random = (unsigned)i;
        NEED(pthread_create(&loops[i].thread, NULL, live_in_storm, &loops[i]) ==
             0);
    }
    for (int i = 0; i < LOOPS; i++) {
        pthread_join(loops[i].thread, NULL);
        CHECK(loops[i].calls > 0);
    }
    __atomic_store_n(&is_over, true, __ATOMIC_RELEASE);
    pthread_join(sender_thread, NULL);
    for (int i = 0; i < STORM; i++) {
        CHECK(disposition(storm[i]).sa_handler == do_nothing);
        dispose(storm[i], SIG_IGN); // drops what is still under way
        dispose(storm[i], SIG_DFL);
    }
}

/* ---- forks --------------------------------------------------------------- */

/*
 * Runs fn in a child and returns what it does; -signal if one ends the child.
 * SIGKILL ends it in any case, before valgrind finds that what belongs to the
 * parent was not freed.
 */
static int in_child(int (*fn)(void))
{
    int fds[2];
    if (pipe(fds))
        abort();
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit no_core = {0};
        setrlimit(RLIMIT_CORE, &no_core);
        alarm(60);
        char result = (char)fn();
        if (tap_failures)
            result = 99;
        fflush(stdout);
        if (write(fds[1], &result, 1) == 1)
            kill(getpid(), SIGKILL);
        _exit(0);
    }
    close(fds[1]);
    char result = 0;
    bool is_told = read(fds[0], &result, 1) == 1;
    close(fds[0]);
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    return is_told ? result : -WTERMSIG(status);
}

static int say_what_is_there(void)
{
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    CHECK(is_default(SIGUSR1));
    CHECK(disposition(SIGUSR2).sa_handler == SIG_IGN);
    CHECK(disposition(SIGWINCH).sa_handler == count_handled);
    CHECK(sigismember(&blocked, SIGUSR1) == 0);
    CHECK(sigismember(&blocked, SIGTERM) == 1);
    handled = 0;
    raise(SIGWINCH);
    raise(SIGUSR2);
    CHECK_EQ(handled, 1);
    raise(SIGUSR1);
    return 0;
}

static void a_child_has_what_was_there_before(void)
{
    struct probe probes[] = {{.calls = 0}, {.calls = 0}, {.calls = 0}};
    sigset_t only, before;
    begin();
    dispose(SIGUSR2, SIG_IGN);
    dispose(SIGWINCH, count_handled);
    start(&probes[0], SIGUSR1);
    start(&probes[1], SIGUSR2);
    start(&probes[2], SIGWINCH);
    sigemptyset(&only);
    sigaddset(&only, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &only, &before);

    CHECK_EQ(in_child(say_what_is_there), -SIGUSR1);

    pthread_sigmask(SIG_SETMASK, &before, NULL);
    take_turn();
    CHECK_EQ(calls, 0);
    raise(SIGUSR1);
    raise(SIGUSR2);
    raise(SIGWINCH);
    take_turn();
    CHECK_EQ(calls, 3);
    for (int i = 0; i < 3; i++)
        ed_signal_stop(&probes[i].signal);
    CHECK(disposition(SIGUSR2).sa_handler == SIG_IGN);
    dispose(SIGUSR2, SIG_DFL);
    dispose(SIGWINCH, SIG_DFL);
    end();
}

static int run_a_loop_of_its_own(void)
{
    struct ed_loop own;
    struct probe first = {0}, second = {0};
    CHECK_EQ(ed_loop_init(&own), 0);
    CHECK_EQ(ed_signal_start(&own, &first.signal, SIGUSR1, note_and_stop), 0);
    CHECK_EQ(ed_signal_start(&own, &second.signal, SIGUSR2, note_and_stop), 0);
    raise(SIGUSR1);
    raise(SIGUSR2);
    CHECK_EQ(ed_loop_run(&own), 0);
    CHECK_EQ(first.calls, 1);
    CHECK_EQ(second.calls, 1);
    CHECK(is_default(SIGUSR1));
    CHECK(is_default(SIGUSR2));
    ed_loop_destroy(&own);
    return 7;
}

static int fork_again(void)
{
    CHECK_EQ(run_a_loop_of_its_own(), 7);
    return in_child(run_a_loop_of_its_own);
}

static void a_child_has_watches_of_its_own(void)
{
    struct probe probe = {0};
    begin();
    start(&probe, SIGUSR1);
    take_turn();
    CHECK_EQ(in_child(fork_again), 7);
    // Nor has the child woken its parent.
    struct pollfd poller = {.fd = loop.poller.fd, .events = POLLIN};
    CHECK_EQ(poll(&poller, 1, 0), 0);
    take_turn();
    CHECK_EQ(probe.calls, 0);
    raise(SIGUSR1);
    take_turn();
    CHECK_EQ(probe.calls, 1);
    ed_signal_stop(&probe.signal);
    end();
}

static void note_and_leave(struct ed_signal *signal)
{
    note(signal);
    ed_loop_stop(signal->loop);
}

/* In a process group of its own, with a child: both get what is sent there. */
static int send_to_the_group(void)
{
    struct probe probe = {0};
    struct gate ready;
    gate_init(&ready);
    begin();
    CHECK_EQ(ed_signal_start(&loop, &probe.signal, SIGTERM, note_and_leave), 0);
    CHECK_EQ(setpgid(0, 0), 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        gate_open(&ready);
        for (;;)
            pause();
    }
    gate_pass(&ready);
    kill(-getpgrp(), SIGTERM);
    CHECK_EQ(ed_loop_run(&loop), 1);
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    take_turn();
    CHECK_EQ(probe.calls, 1);
    ed_signal_stop(&probe.signal);
    end();
    gate_destroy(&ready);
    return 0;
}

static void
what_is_sent_to_a_group_is_told_to_the_parent_and_ends_the_child(void)
{
    CHECK_EQ(in_child(send_to_the_group), 0);
}

/* A child that would lose the signal would wait for ever. */
static void a_signal_at_the_moment_of_a_fork_is_not_lost(void)
{
    struct probe probe = {0};
    begin();
    start(&probe, SIGUSR1);
    for (int i = 0; i < 100; i++) {
        fflush(stdout);
        pid_t child = fork();
        while (child == 0)
            pause();
        NEED(child > 0);
        kill(child, SIGUSR1);
        int status = 0;
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
    }
    take_turn();
    CHECK_EQ(probe.calls, 0);
    ed_signal_stop(&probe.signal);
    end();
}

static void a_child_that_forked_unseen_does_not_wake_the_parent(void)
{
#ifndef __linux__
    SKIP("vfork() is obsolete");
#else
    struct probe probe = {0};
    begin();
    start(&probe, SIGUSR1);
    pid_t child = vfork();
    if (child == 0) {
        raise(SIGUSR1);
        _exit(0);
    }
    CHECK(child > 0 && waitpid(child, NULL, 0) == child);
    take_turn();
    CHECK_EQ(probe.calls, 0);
    raise(SIGUSR1);
    take_turn();
    CHECK_EQ(probe.calls, 1);
    ed_signal_stop(&probe.signal);
    end();
#endif
}

static void *watch_again_and_again(void *argument)
{
    struct ed_loop here;
    struct ed_signal signal = {0}, stays = {0};
    if (ed_loop_init(&here) || ed_signal_start(&here, &stays, SIGUSR2, note))
        abort();
    while (!__atomic_load_n((bool *)argument, __ATOMIC_ACQUIRE)) {
        if (ed_signal_start(&here, &signal, SIGUSR1, note))
            abort();
        ed_signal_stop(&signal);
    }
    ed_signal_stop(&stays);
    ed_loop_destroy(&here);
    return NULL;
}

/* A lock that was held at the fork would be held in the child for ever. */
static void a_child_is_well_whatever_other_threads_were_doing(void)
{
    pthread_t thread;
    bool is_enough = false;
    NEED(pthread_create(&thread, NULL, watch_again_and_again, &is_enough) == 0);
    for (int i = 0; i < 25; i++) {
        CHECK_EQ(in_child(run_a_loop_of_its_own), 7);
    }
    __atomic_store_n(&is_enough, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
}

/* ---- misuse -------------------------------------------------------------- */

static int destroy_with_a_watch(void)
{
    struct probe probe = {0};
    int null = open("/dev/null", O_WRONLY);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    begin();
    start(&probe, SIGUSR1);
    ed_loop_destroy(&loop);
    return 0;
}

static void to_destroy_a_loop_with_a_watch_is_an_assertion(void)
{
#ifdef NDEBUG
    SKIP("assertions are off");
#endif
    CHECK_EQ(in_child(destroy_with_a_watch), -SIGABRT);
}

TESTS(TEST(a_signal_is_told_in_the_next_turn),
      TEST(several_that_arrive_before_the_turn_are_one),
      TEST(all_watches_of_a_signal_are_called_in_the_order_started),
      TEST(a_signal_that_is_not_watched_is_not_told),
      TEST(the_highest_signal_is_a_signal_like_others),
      TEST(the_interrupted_see_their_errno), TEST(an_interrupted_read_goes_on),
      TEST(a_signal_of_any_moment_of_the_turn_keeps_the_loop_from_sleeping),
      TEST(a_loop_that_looks_out_for_a_reply_is_told_too),
      TEST(a_loop_that_sleeps_or_is_about_to_is_woken_up),
      TEST(once_is_the_first_time_only),
      TEST(once_can_be_asked_for_again_in_the_callback),
      TEST(once_may_be_freed_in_the_callback),
      TEST(to_stop_what_is_not_started_does_nothing),
      TEST(a_watch_may_be_stopped_or_freed_in_its_callback),
      TEST(the_last_watch_may_be_stopped_or_freed_in_its_callback),
      TEST(one_that_is_stopped_by_a_callback_before_it_is_not_called),
      TEST(all_may_be_stopped_by_the_first_callback),
      TEST(one_that_is_started_by_a_callback_waits_for_the_next),
      TEST(what_arrived_before_the_last_watch_stopped_is_forgotten),
      TEST(to_start_a_started_watch_starts_it_anew),
      TEST(a_watch_can_move_to_another_loop),
      TEST(one_that_is_started_anew_is_watched_throughout),
      TEST(a_watch_keeps_the_loop_alive_unless_unrefd),
      TEST(what_cannot_be_watched_is_refused),
      TEST(a_number_that_the_system_does_not_know_is_refused),
      TEST(one_that_is_refused_anew_has_stopped),
      TEST(the_previous_disposition_is_back_after_the_last_watch),
      TEST(one_that_was_ignored_is_ignored_again),
      TEST(one_that_had_a_handler_has_it_again_as_it_was),
      TEST(a_handler_that_was_installed_over_ours_is_left_alone),
      TEST(ours_that_somebody_puts_back_too_late_is_not_kept_for_ever),
      TEST(each_loop_is_told_on_its_thread),
      TEST(watches_start_and_stop_in_a_storm_of_signals),
      TEST(a_child_has_what_was_there_before),
      TEST(a_child_has_watches_of_its_own),
      TEST(what_is_sent_to_a_group_is_told_to_the_parent_and_ends_the_child),
      TEST(a_signal_at_the_moment_of_a_fork_is_not_lost),
      TEST(a_child_that_forked_unseen_does_not_wake_the_parent),
      TEST(a_child_is_well_whatever_other_threads_were_doing),
      TEST(to_destroy_a_loop_with_a_watch_is_an_assertion))
