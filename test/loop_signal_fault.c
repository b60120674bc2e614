/*
 * What signals do when the system says no, and how often it is asked. The calls
 * below are linked with --wrap (see meson.build), so that each can be counted
 * and made to fail.
 */
#include "loop/signal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "test/gate.h"
#include "test/tap.h"

/* ---- the wrapped calls --------------------------------------------------- */

enum call {
    MALLOC,
    SIGACTION,
    PTHREAD_ATFORK,
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
    int number = ++made[call];
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

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    return fails(MALLOC) ? NULL : __real_malloc(size);
}

int __real_sigaction(int number, const struct sigaction *action,
                     struct sigaction *before);
int __wrap_sigaction(int number, const struct sigaction *action,
                     struct sigaction *before);
int __wrap_sigaction(int number, const struct sigaction *action,
                     struct sigaction *before)
{
    return fails(SIGACTION) ? -1 : __real_sigaction(number, action, before);
}

typedef void fork_fn(void);

int __real_pthread_atfork(fork_fn *before, fork_fn *parent, fork_fn *child);
int __wrap_pthread_atfork(fork_fn *before, fork_fn *parent, fork_fn *child);
int __wrap_pthread_atfork(fork_fn *before, fork_fn *parent, fork_fn *child)
{
    return fails(PTHREAD_ATFORK) ? fails_with
                                 : __real_pthread_atfork(before, parent, child);
}

static bool holds_wake; // once: the handler, before it wakes the loop
static struct gate is_held, may_go_on;

void __real_ed_poller_wake(struct ed_poller *poller);
void __wrap_ed_poller_wake(struct ed_poller *poller);
void __wrap_ed_poller_wake(struct ed_poller *poller)
{
    if (__atomic_exchange_n(&holds_wake, false, __ATOMIC_ACQ_REL)) {
        gate_open(&is_held);
        gate_pass(&may_go_on);
    }
    __real_ed_poller_wake(poller);
}

/* ---- helpers ------------------------------------------------------------- */

static struct ed_loop loop;
static int calls;

static void begin(void)
{
    calls = 0;
    forget_calls();
    CHECK_EQ(ed_loop_init(&loop), 0);
}

static void end(void)
{
    forget_calls();
    CHECK(!ed_loop_is_alive(&loop));
    CHECK(!loop.inbox);
    ed_loop_destroy(&loop);
}

static void count(struct ed_signal *signal)
{
    (void)signal;
    calls++;
}

static void count_and_stop(struct ed_signal *signal)
{
    calls++;
    ed_signal_stop(signal);
}

static void (*handler_of(int number))(int)
{
    struct sigaction now;
    if (__real_sigaction(number, NULL, &now))
        abort();
    return now.sa_handler;
}

/* That one that failed to start has left nothing. */
static void check_nothing_left(struct ed_signal *signal)
{
    CHECK(!ed_signal_is_active(signal));
    CHECK(!ed_loop_is_alive(&loop));
    CHECK(!loop.inbox);
    CHECK(handler_of(SIGUSR1) == SIG_DFL);
    CHECK(ed_loop_run_once(&loop, 0) == 0);
    ed_signal_stop(signal);
}

static void check_can_be_started(struct ed_signal *signal)
{
    forget_calls();
    CHECK_EQ(ed_signal_start(&loop, signal, SIGUSR1, count_and_stop), 0);
    raise(SIGUSR1);
    calls = 0;
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 1);
    CHECK(handler_of(SIGUSR1) == SIG_DFL);
}

/* ---- the tests ----------------------------------------------------------- */

/* The first test, for the program registers only once. */
static void that_forks_cannot_be_noticed_is_told(void)
{
    static bool is_registered;
    if (is_registered)
        SKIP("done already");
    struct ed_signal signal = {0};
    begin();
    let_fail(PTHREAD_ATFORK, 1, 1, ENOMEM);
    CHECK_EQ(ed_signal_start(&loop, &signal, SIGUSR1, count), -ENOMEM);
    CHECK_EQ(made[PTHREAD_ATFORK], 1);
    check_nothing_left(&signal);
    check_can_be_started(&signal);
    CHECK_EQ(made[PTHREAD_ATFORK], 1);
    is_registered = true;
    check_can_be_started(&signal);
    CHECK_EQ(made[PTHREAD_ATFORK], 0);
    end();
}

static void out_of_memory_is_told(void)
{
    struct ed_signal signal = {0};
    begin();
    let_fail(MALLOC, 1, for_ever, ENOMEM);
    CHECK_EQ(ed_signal_start(&loop, &signal, SIGUSR1, count), -ENOMEM);
    CHECK_EQ(ed_signal_once(&loop, &signal, SIGUSR1, count), -ENOMEM);
    CHECK_EQ(made[MALLOC], 2);
    CHECK_EQ(made[SIGACTION], 0);
    check_nothing_left(&signal);
    check_can_be_started(&signal);
    end();
}

static void a_handler_that_cannot_be_installed_is_told(void)
{
    struct ed_signal signal = {0};
    begin();
    let_fail(SIGACTION, 1, 1, EPERM);
    CHECK_EQ(ed_signal_start(&loop, &signal, SIGUSR1, count), -EPERM);
    CHECK_EQ(made[SIGACTION], 1);
    check_nothing_left(&signal);
    check_can_be_started(&signal);
    end();
}

static void others_go_on_when_one_cannot_be_started(void)
{
    struct ed_signal first = {0}, second = {0};
    begin();
    CHECK_EQ(ed_signal_start(&loop, &first, SIGUSR1, count), 0);
    let_fail(SIGACTION, 1, 1, EPERM);
    CHECK_EQ(ed_signal_start(&loop, &second, SIGUSR2, count), -EPERM);
    CHECK(!ed_signal_is_active(&second));
    raise(SIGUSR1);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    CHECK_EQ(calls, 1);
    ed_signal_stop(&first);
    end();
}

static void one_that_cannot_be_started_anew_has_stopped(void)
{
    struct ed_signal signal = {0};
    begin();
    CHECK_EQ(ed_signal_start(&loop, &signal, SIGUSR1, count), 0);
    let_fail(SIGACTION, 1, 1, EPERM);
    CHECK_EQ(ed_signal_start(&loop, &signal, SIGUSR2, count), -EPERM);
    check_nothing_left(&signal);
    CHECK(handler_of(SIGUSR2) == SIG_DFL);
    end();
}

static void start_another(struct ed_signal *signal)
{
    static struct ed_signal other;
    calls++;
    let_fail(SIGACTION, 1, 1, EPERM);
    CHECK_EQ(ed_signal_start(signal->loop, &other, SIGUSR2, count), -EPERM);
    ed_signal_stop(signal);
}

static void the_loop_goes_on_when_a_callback_cannot_start_one(void)
{
    struct ed_signal first = {0}, last = {0};
    begin();
    CHECK_EQ(ed_signal_start(&loop, &first, SIGUSR1, start_another), 0);
    CHECK_EQ(ed_signal_start(&loop, &last, SIGUSR1, count_and_stop), 0);
    raise(SIGUSR1);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 2);
    end();
}

/*
 * Should the previous disposition not come back, which no system is known to
 * do, it is not forgotten.
 */
static void what_cannot_be_put_back_is_put_back_later(void)
{
    for (int call = 1; call <= 2; call++) {
        struct ed_signal signal = {0};
        begin();
        CHECK_EQ(ed_signal_start(&loop, &signal, SIGUSR1, count), 0);
        let_fail(SIGACTION, call, 1, EPERM);
        ed_signal_stop(&signal);
        CHECK_EQ(made[SIGACTION], call);
        forget_calls();
        CHECK(!ed_signal_is_active(&signal));
        CHECK(!loop.inbox);
        CHECK(handler_of(SIGUSR1) != SIG_DFL);
        raise(SIGUSR1); // concerns nobody
        CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
        CHECK_EQ(calls, 0);
        check_can_be_started(&signal);
        end();
    }
}

static void more_watches_of_a_loop_and_signal_ask_nothing_of_the_system(void)
{
    struct ed_signal first = {0}, second = {0};
    begin();
    CHECK_EQ(ed_signal_start(&loop, &first, SIGUSR1, count), 0);
    CHECK_EQ(made[MALLOC], 1);
    CHECK_EQ(made[SIGACTION], 1);
    forget_calls();
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(ed_signal_start(&loop, &second, SIGUSR1, count), 0);
        CHECK_EQ(ed_signal_start(&loop, &first, SIGUSR1, count), 0);
        raise(SIGUSR1);
        CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
        ed_signal_stop(&second);
    }
    CHECK_EQ(calls, 200);
    CHECK_EQ(made[MALLOC], 0);
    CHECK_EQ(made[SIGACTION], 0);
    ed_signal_stop(&first);
    end();
}

static void *raise_in_thread(void *argument)
{
    (void)argument;
    raise(SIGUSR1);
    return NULL;
}

/* There the thread is not, nor anybody else to wait for. */
static void a_child_does_not_wait_for_a_handler_of_its_parents(void)
{
    struct ed_signal signal = {0};
    pthread_t thread;
    begin();
    gate_init(&is_held);
    gate_init(&may_go_on);
    CHECK_EQ(ed_signal_start(&loop, &signal, SIGUSR1, count_and_stop), 0);
    holds_wake = true;
    NEED(pthread_create(&thread, NULL, raise_in_thread, NULL) == 0);
    gate_pass(&is_held);

    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct ed_signal own = {0};
        alarm(60);
        begin();
        check_can_be_started(&own);
        end();
        fflush(stdout);
        // Before valgrind finds that what is the parent's was not freed.
        if (!tap_failures)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

    gate_open(&may_go_on);
    pthread_join(thread, NULL);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 1);
    gate_destroy(&is_held);
    gate_destroy(&may_go_on);
    end();
}

TESTS(TEST(that_forks_cannot_be_noticed_is_told), TEST(out_of_memory_is_told),
      TEST(a_handler_that_cannot_be_installed_is_told),
      TEST(others_go_on_when_one_cannot_be_started),
      TEST(one_that_cannot_be_started_anew_has_stopped),
      TEST(the_loop_goes_on_when_a_callback_cannot_start_one),
      TEST(what_cannot_be_put_back_is_put_back_later),
      TEST(a_child_does_not_wait_for_a_handler_of_its_parents),
      TEST(more_watches_of_a_loop_and_signal_ask_nothing_of_the_system))
