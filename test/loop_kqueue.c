/*
 * test/loop_kqueue.c - the loop on the kqueue double, without and with faults
 *
 * A scenario is something that users do. Each is a test of its own, and all of
 * them are played again under each kind of fault. What one fault alone is about
 * follows after them.
 */
#include "loop/loop.h"

#include "test/tap.h"

#ifdef KQUEUE_DOUBLE

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/event.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "loop/process.h"
#include "test/double/faults.h"

enum { MOST_TURNS = 100, SEEDS = 50 };

static struct ed_loop loop;

static void no_faults(void)
{
    kqueue_double_set_faults(&(struct kqueue_faults){0});
}

/* ---- a watch that writes down what happens ------------------------- */

struct seen {
    struct ed_watch watch;
    unsigned calls;
    unsigned ready; // all that was ever ready, together
    unsigned last;  // what was in the last call
    char bytes[64]; // what was read, if it reads
    size_t size;
    bool is_ended; // read() returned 0
};

static struct seen *seen_by(struct ed_watch *watch)
{
    return ED_CONTAINER_OF(watch, struct seen, watch);
}

static void note(struct ed_watch *watch)
{
    struct seen *seen = seen_by(watch);
    seen->calls++;
    seen->ready |= watch->ready;
    seen->last = watch->ready;
}

/* One byte in each call, so that something is left unread. */
static void note_and_read(struct ed_watch *watch)
{
    struct seen *seen = seen_by(watch);
    note(watch);
    if (!(watch->ready & ED_READABLE))
        return;
    ssize_t n = read(watch->fd, seen->bytes + seen->size, 1);
    CHECK(n >= 0);
    if (n > 0)
        seen->size++;
    if (n == 0) {
        seen->is_ended = true;
        ed_watch_stop(watch);
    }
}

static void take_turns(unsigned turns)
{
    for (unsigned i = 0; i < turns; i++)
        CHECK(ed_loop_run_once(&loop, 0) >= 0);
}

/* A number of turns in which, whatever the faults, all comes that will. */
static void settle(void)
{
    take_turns(20);
}

/* ---- scenarios: descriptors ---------------------------------------- */

static void what_is_left_unread_is_reported_again(void)
{
    struct seen reader = {0};
    int ends[2];
    NEED(ed_loop_init(&loop) == 0);
    NEED(pipe(ends) == 0);
    CHECK_EQ(ed_watch_start(&loop, &reader.watch, ends[0], ED_READABLE,
                            note_and_read),
             0);
    CHECK(write(ends[1], "hello", 5) == 5);
    settle();
    CHECK_EQ(reader.calls, 5);
    CHECK_STR(reader.bytes, "hello");
    CHECK_EQ(reader.ready, ED_READABLE);

    CHECK(write(ends[1], " you", 4) == 4);
    close(ends[1]);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_STR(reader.bytes, "hello you");
    CHECK(reader.is_ended);
    CHECK_EQ(reader.last, ED_READABLE | ED_HANGUP);
    close(ends[0]);
    ed_loop_destroy(&loop);
}

static void a_writer_learns_that_nobody_reads_any_more(void)
{
    struct seen writer = {0};
    int ends[2];
    NEED(ed_loop_init(&loop) == 0);
    NEED(pipe(ends) == 0);
    CHECK_EQ(ed_watch_start(&loop, &writer.watch, ends[1], ED_WRITABLE, note),
             0);
    settle();
    CHECK(writer.calls > 0);
    CHECK_EQ(writer.ready, ED_WRITABLE);

    close(ends[0]);
    settle();
    CHECK_EQ(writer.ready, ED_WRITABLE | ED_ERROR);
    ed_watch_stop(&writer.watch);
    close(ends[1]);
    ed_loop_destroy(&loop);
}

static void both_directions_of_a_descriptor_are_reported(void)
{
    struct seen both = {0};
    int ends[2];
    NEED(ed_loop_init(&loop) == 0);
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHECK_EQ(ed_watch_start(&loop, &both.watch, ends[0],
                            ED_READABLE | ED_WRITABLE, note),
             0);
    settle();
    CHECK_EQ(both.ready, ED_WRITABLE);
    CHECK(write(ends[1], "x", 1) == 1);
    settle();
    CHECK_EQ(both.ready, ED_READABLE | ED_WRITABLE);

    ed_watch_change(&both.watch, ED_READABLE);
    take_turns(1);
    both.ready = 0;
    settle();
    CHECK_EQ(both.ready, ED_READABLE);
    ed_watch_change(&both.watch, ED_WRITABLE);
    take_turns(1);
    both.ready = 0;
    settle();
    CHECK_EQ(both.ready, ED_WRITABLE);
    ed_watch_stop(&both.watch);
    close(ends[0]);
    close(ends[1]);
    ed_loop_destroy(&loop);
}

static void what_is_of_no_interest_does_not_even_wake_the_loop(void)
{
    struct seen both = {0};
    int ends[2];
    NEED(ed_loop_init(&loop) == 0);
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHECK(write(ends[1], "x", 1) == 1);
    CHECK_EQ(ed_watch_start(&loop, &both.watch, ends[0],
                            ED_READABLE | ED_WRITABLE, note),
             0);
    settle();
    CHECK(both.calls > 0);

    ed_watch_change(&both.watch, 0);
    unsigned long events = kqueue_double_events();
    both.calls = 0;
    settle();
    CHECK_EQ(both.calls, 0);
    CHECK_EQ(kqueue_double_events() - events, 0);

    ed_watch_change(&both.watch, ED_READABLE | ED_WRITABLE);
    settle();
    CHECK(both.calls > 0);
    ed_watch_stop(&both.watch);
    events = kqueue_double_events();
    settle();
    CHECK_EQ(kqueue_double_events() - events, 0);
    close(ends[0]);
    close(ends[1]);
    ed_loop_destroy(&loop);
}

enum { CROWD = 16 };

static struct seen *crowd[CROWD];
static int crowd_ends[CROWD][2];
static unsigned crowd_calls;

/* Whoever is called first ends all of them, itself included. */
static void end_the_crowd(struct ed_watch *watch)
{
    CHECK(watch->ready & ED_READABLE);
    crowd_calls++;
    for (int i = 0; i < CROWD; i++) {
        ed_watch_stop(&crowd[i]->watch);
        close(crowd_ends[i][0]);
        free(crowd[i]);
    }
}

static void a_callback_may_stop_close_and_free_all_others(void)
{
    NEED(ed_loop_init(&loop) == 0);
    crowd_calls = 0;
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = calloc(1, sizeof *crowd[i]);
        NEED(crowd[i] && pipe(crowd_ends[i]) == 0);
        CHECK(write(crowd_ends[i][1], "x", 1) == 1);
        CHECK_EQ(ed_watch_start(&loop, &crowd[i]->watch, crowd_ends[i][0],
                                ED_READABLE, end_the_crowd),
                 0);
    }
    CHECK_EQ(ed_loop_run(&loop), 0);
    settle();
    CHECK_EQ(crowd_calls, 1);
    for (int i = 0; i < CROWD; i++)
        close(crowd_ends[i][1]);
    ed_loop_destroy(&loop);
}

static struct seen twins[2], heir;
static int twin_ends[2][2], heir_ends[2];

/* Closes the other's descriptor and has its number used by the heir. */
static void replace_the_twin(struct ed_watch *watch)
{
    struct seen *other = seen_by(watch) == &twins[0] ? &twins[1] : &twins[0];
    int number = other->watch.fd;
    note(watch);
    ed_watch_stop(watch);
    ed_watch_stop(&other->watch);
    NEED(pipe(heir_ends) == 0);
    NEED(dup2(heir_ends[0], number) == number);
    close(heir_ends[0]);
    heir_ends[0] = number;
    CHECK_EQ(
        ed_watch_start(&loop, &heir.watch, number, ED_READABLE, note_and_read),
        0);
}

static void a_descriptor_used_anew_has_none_of_the_old_events(void)
{
    NEED(ed_loop_init(&loop) == 0);
    heir = (struct seen){0};
    for (int i = 0; i < 2; i++) {
        twins[i] = (struct seen){0};
        NEED(pipe(twin_ends[i]) == 0);
        CHECK(write(twin_ends[i][1], "old", 3) == 3);
        CHECK_EQ(ed_watch_start(&loop, &twins[i].watch, twin_ends[i][0],
                                ED_READABLE, replace_the_twin),
                 0);
    }
    settle();
    CHECK_EQ(twins[0].calls + twins[1].calls, 1);
    CHECK_EQ(heir.calls, 0);

    CHECK(write(heir_ends[1], "new", 3) == 3);
    close(heir_ends[1]);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_STR(heir.bytes, "new");
    for (int i = 0; i < 2; i++) {
        close(twin_ends[i][0]); // one of them is the heir's
        close(twin_ends[i][1]);
    }
    ed_loop_destroy(&loop);
}

static void a_descriptor_closed_too_early_does_no_harm(void)
{
    struct seen stopped = {0}, changed = {0};
    int ends[2][2];
    NEED(ed_loop_init(&loop) == 0);
    NEED(pipe(ends[0]) == 0 && pipe(ends[1]) == 0);
    CHECK_EQ(
        ed_watch_start(&loop, &stopped.watch, ends[0][0], ED_READABLE, note),
        0);
    CHECK_EQ(
        ed_watch_start(&loop, &changed.watch, ends[1][0], ED_READABLE, note),
        0);
    close(ends[0][0]);
    close(ends[1][0]);
    ed_watch_stop(&stopped.watch);
    ed_watch_change(&changed.watch, 0);
    settle();
    CHECK_EQ(stopped.calls + changed.calls, 0);
    ed_watch_stop(&changed.watch);
    CHECK_EQ(ed_loop_run(&loop), 0);
    close(ends[0][1]);
    close(ends[1][1]);
    ed_loop_destroy(&loop);
}

static void what_cannot_be_waited_for_is_refused(void)
{
    struct seen seen = {0};
    int ends[2];
    NEED(ed_loop_init(&loop) == 0);
    int directory = open(".", O_RDONLY);
    FILE *file = tmpfile();
    NEED(directory >= 0 && file);
    CHECK_EQ(ed_watch_start(&loop, &seen.watch, directory, ED_READABLE, note),
             -EPERM);
    CHECK_EQ(
        ed_watch_start(&loop, &seen.watch, fileno(file), ED_WRITABLE, note),
        -EPERM);
    NEED(pipe(ends) == 0);
    close(ends[0]);
    close(ends[1]);
    CHECK_EQ(ed_watch_start(&loop, &seen.watch, ends[0], ED_READABLE, note),
             -EBADF);
    CHECK(!ed_watch_is_active(&seen.watch));
    CHECK_EQ(ed_loop_run(&loop), 0);
    close(directory);
    fclose(file);
    ed_loop_destroy(&loop);
}

/* ---- scenarios: sleeping and waking -------------------------------- */

static unsigned turns_taken; // read by other threads, too
static struct ed_hook turn_counter;

static void count_turn(struct ed_hook *hook)
{
    (void)hook;
    __atomic_add_fetch(&turns_taken, 1, __ATOMIC_RELAXED);
}

static void count_turns(void)
{
    turns_taken = 0;
    turn_counter = (struct ed_hook){0};
    ed_hook_prepare(&loop, &turn_counter, count_turn);
}

static void do_nothing(struct ed_timer *timer)
{
    (void)timer;
}

/* Sleeps in short pieces are where a wrong unit shows. */
static void the_loop_sleeps_for_as_long_as_a_timer_says(void)
{
    static const uint64_t delays_ns[] = {
        ED_US, 300 * ED_US, 999 * ED_US, ED_MS, 1500 * ED_US, 30 * ED_MS,
    };
    struct ed_timer timer = {0};
    NEED(ed_loop_init(&loop) == 0);
    count_turns();
    for (size_t i = 0; i < sizeof delays_ns / sizeof *delays_ns; i++) {
        uint64_t begin_ns = ed_clock_ns();
        ed_loop_update_now(&loop);
        ed_timer_start(&loop, &timer, delays_ns[i], do_nothing);
        CHECK_EQ(ed_loop_run(&loop), 0);
        uint64_t took_ns = ed_clock_ns() - begin_ns;
        CHECK(took_ns >= delays_ns[i]);
        CHECK(took_ns < 10 * ED_S);
    }
    CHECK(turns_taken < MOST_TURNS);
    ed_loop_destroy(&loop);
}

static void a_timer_in_the_far_future_is_no_error(void)
{
    struct ed_timer timer = {0};
    struct seen writer = {0};
    int ends[2];
    NEED(ed_loop_init(&loop) == 0);
    NEED(pipe(ends) == 0);
    ed_timer_start(&loop, &timer, UINT64_MAX, do_nothing);
    CHECK_EQ(ed_watch_start(&loop, &writer.watch, ends[1], ED_WRITABLE, note),
             0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
    CHECK(writer.calls > 0);
    ed_watch_stop(&writer.watch);
    ed_timer_stop(&timer);
    close(ends[0]);
    close(ends[1]);
    ed_loop_destroy(&loop);
}

enum { WAKES = 10 };

/* Leaves the loop the time to fall asleep. */
static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

/* One wake-up after the other, each once the one before has been noticed. */
static void *wake_repeatedly(void *unused)
{
    for (int i = 0; i < WAKES; i++) {
        sleep_ms(2);
        unsigned before = __atomic_load_n(&turns_taken, __ATOMIC_RELAXED);
        ed_loop_wake(&loop);
        while (__atomic_load_n(&turns_taken, __ATOMIC_RELAXED) == before)
            sched_yield();
    }
    ed_loop_stop(&loop);
    return unused;
}

static void after_each_wake_up_the_loop_sleeps_again(void)
{
    pthread_t waker;
    NEED(ed_loop_init(&loop) == 0);
    count_turns();
    ed_loop_ref(&loop);
    NEED(pthread_create(&waker, NULL, wake_repeatedly, NULL) == 0);
    CHECK_EQ(ed_loop_run(&loop), 1);
    pthread_join(waker, NULL);
    CHECK(turns_taken >= WAKES);
    CHECK(turns_taken < MOST_TURNS);
    ed_loop_unref(&loop);
    ed_loop_destroy(&loop);
}

static void a_wake_up_before_the_sleep_is_not_lost(void)
{
    NEED(ed_loop_init(&loop) == 0);
    ed_loop_ref(&loop);
    for (int i = 0; i < WAKES; i++) {
        uint64_t begin_ns = ed_clock_ns();
        errno = 77;
        for (int j = 0; j <= i; j++)
            ed_loop_wake(&loop);
        CHECK_EQ(errno, 77);
        CHECK_EQ(ed_loop_run_once(&loop, (int64_t)(20 * ED_S)), 1);
        CHECK(ed_clock_ns() - begin_ns < 10 * ED_S);
    }
    ed_loop_unref(&loop);
    ed_loop_destroy(&loop);
}

static struct ed_msg mail[WAKES];
static unsigned mail_received;

static void receive(struct ed_msg *msg)
{
    CHECK(msg == &mail[mail_received]);
    mail_received++;
    if (mail_received == WAKES)
        ed_loop_unref(&loop);
}

static void *post_slowly(void *unused)
{
    for (int i = 0; i < WAKES; i++) {
        if (i % 2 == 0)
            sleep_ms(1);
        ed_loop_post(&loop, &mail[i], receive);
    }
    return unused;
}

static void messages_of_other_threads_wake_the_loop(void)
{
    pthread_t poster;
    NEED(ed_loop_init(&loop) == 0);
    count_turns();
    mail_received = 0;
    ed_loop_ref(&loop);
    NEED(pthread_create(&poster, NULL, post_slowly, NULL) == 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    pthread_join(poster, NULL);
    CHECK_EQ(mail_received, WAKES);
    CHECK(turns_taken < MOST_TURNS);
    ed_loop_destroy(&loop);
}

static pthread_t loop_thread;

static void stop_on_signal(int signal)
{
    (void)signal;
    ed_loop_stop(&loop);
}

static void *send_signal(void *unused)
{
    sleep_ms(2);
    pthread_kill(loop_thread, SIGUSR1);
    return unused;
}

static void a_signal_handler_may_stop_the_loop(void)
{
    pthread_t sender;
    struct sigaction old, new = {.sa_handler = stop_on_signal};
    NEED(ed_loop_init(&loop) == 0);
    sigaction(SIGUSR1, &new, &old);
    loop_thread = pthread_self();
    ed_loop_ref(&loop);
    NEED(pthread_create(&sender, NULL, send_signal, NULL) == 0);
    CHECK_EQ(ed_loop_run(&loop), 1);
    pthread_join(sender, NULL);
    ed_loop_unref(&loop);
    sigaction(SIGUSR1, &old, NULL);
    ed_loop_destroy(&loop);
}

/* ---- scenarios: processes ------------------------------------------ */

static unsigned ends_told;

static void count_end(struct ed_process *process)
{
    CHECK_EQ(process->status, 3);
    ends_told++;
}

static void processes_are_reaped_when_they_have_ended(void)
{
    static const char *const commands[] = {"exit 3", "sleep 0.02; exit 3"};
    struct ed_process processes[4] = {0};
    NEED(ed_loop_init(&loop) == 0);
    ends_told = 0;
    for (int i = 0; i < 4; i++) {
        const char *const args[] = {"/bin/sh", "-c", commands[i % 2], NULL};
        CHECK_EQ(ed_process_spawn(&loop, &processes[i],
                                  &(struct ed_spawn){.args = args}, count_end),
                 0);
    }
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(ends_told, 4);
    CHECK(waitpid(-1, NULL, WNOHANG) < 0);
    ed_loop_destroy(&loop);
}

/* ---- the same, with faults ----------------------------------------- */

typedef void scenario_fn(void);

static scenario_fn *const about_descriptors[] = {
    what_is_left_unread_is_reported_again,
    a_writer_learns_that_nobody_reads_any_more,
    both_directions_of_a_descriptor_are_reported,
    what_is_of_no_interest_does_not_even_wake_the_loop,
    a_callback_may_stop_close_and_free_all_others,
    a_descriptor_used_anew_has_none_of_the_old_events,
    a_descriptor_closed_too_early_does_no_harm,
    what_cannot_be_waited_for_is_refused,
    processes_are_reaped_when_they_have_ended,
    NULL,
};

static scenario_fn *const about_sleeping[] = {
    the_loop_sleeps_for_as_long_as_a_timer_says,
    a_timer_in_the_far_future_is_no_error,
    after_each_wake_up_the_loop_sleeps_again,
    a_wake_up_before_the_sleep_is_not_lost,
    messages_of_other_threads_wake_the_loop,
    a_signal_handler_may_stop_the_loop,
    NULL,
};

static void play(scenario_fn *const *scenarios,
                 const struct kqueue_faults *faults)
{
    for (; *scenarios; scenarios++) {
        kqueue_double_set_faults(faults);
        (*scenarios)();
    }
    no_faults();
}

static void play_all(const struct kqueue_faults *faults)
{
    play(about_descriptors, faults);
    play(about_sleeping, faults);
}

static void all_goes_well_when_waits_are_interrupted(void)
{
    play_all(&(struct kqueue_faults){.eintr_every = 2});
    play_all(&(struct kqueue_faults){.eintr_every = 3});
}

static void all_goes_well_when_events_come_one_at_a_time(void)
{
    play_all(&(struct kqueue_faults){.max_batch = 1});
    play_all(&(struct kqueue_faults){.max_batch = 3});
}

static void all_goes_well_when_events_come_in_any_order(void)
{
    for (unsigned seed = 1; seed <= SEEDS; seed++)
        play(about_descriptors, &(struct kqueue_faults){.shuffle = seed});
}

static void all_goes_well_when_events_carry_no_data(void)
{
    play_all(&(struct kqueue_faults){.zero_data = 1});
}

static void all_goes_well_when_edges_are_told_again(void)
{
    play_all(&(struct kqueue_faults){.refire = 1, .no_user = 1});
}

static void all_goes_well_when_processes_end_later_than_told(void)
{
    play_all(&(struct kqueue_faults){.early_exit = 1});
}

static void all_goes_well_without_events_of_processes(void)
{
    play_all(&(struct kqueue_faults){.proc_errno = EINVAL});
    play_all(&(struct kqueue_faults){.proc_errno = ENOMEM, .eintr_every = 2});
}

static void all_goes_well_without_user_events(void)
{
    play_all(&(struct kqueue_faults){.no_user = 1});
    play_all(&(struct kqueue_faults){.no_user = 1, .eintr_every = 2});
    play_all(&(struct kqueue_faults){.no_user = 1, .max_batch = 1});
}

/* ---- one fault ----------------------------------------------------- */

static void two_events_of_one_descriptor_are_one_call(void)
{
    struct seen both = {0};
    int ends[2];
    NEED(ed_loop_init(&loop) == 0);
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHECK(write(ends[1], "x", 1) == 1);
    CHECK_EQ(ed_watch_start(&loop, &both.watch, ends[0],
                            ED_READABLE | ED_WRITABLE, note),
             0);
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        kqueue_double_set_faults(&(struct kqueue_faults){.shuffle = seed});
        take_turns(1);
        CHECK_EQ(both.calls, seed);
        CHECK_EQ(both.last, ED_READABLE | ED_WRITABLE);
    }
    no_faults();
    ed_watch_stop(&both.watch);
    close(ends[0]);
    close(ends[1]);
    ed_loop_destroy(&loop);
}

static void a_watch_that_cannot_be_added_is_not_started(void)
{
    int ends[2];
    NEED(ed_loop_init(&loop) == 0);
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHECK(write(ends[1], "x", 1) == 1);
    for (unsigned before = 0; before < 2; before++) {
        struct seen *seen = calloc(1, sizeof *seen);
        NEED(seen);
        kqueue_double_set_faults(&(struct kqueue_faults){
            .add_errno = ENOMEM, .adds_before = before});
        CHECK_EQ(ed_watch_start(&loop, &seen->watch, ends[0],
                                ED_READABLE | ED_WRITABLE, note),
                 -ENOMEM);
        CHECK(!ed_watch_is_active(&seen->watch));
        free(seen);

        // Nothing is left of it: neither in the loop nor in the kqueue.
        unsigned long events = kqueue_double_events();
        settle();
        CHECK_EQ(kqueue_double_events() - events, 0);
    }
    no_faults();
    CHECK_EQ(ed_loop_run(&loop), 0);
    close(ends[0]);
    close(ends[1]);
    ed_loop_destroy(&loop);
}

static void a_change_that_fails_is_an_error_and_the_end_of_watching(void)
{
    struct seen seen = {0};
    int ends[2];
    NEED(ed_loop_init(&loop) == 0);
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHECK(write(ends[1], "x", 1) == 1);
    CHECK_EQ(ed_watch_start(&loop, &seen.watch, ends[0], ED_READABLE, note), 0);
    take_turns(1);
    CHECK_EQ(seen.last, ED_READABLE);

    kqueue_double_set_faults(&(struct kqueue_faults){.add_errno = ENOMEM});
    ed_watch_change(&seen.watch, ED_READABLE | ED_WRITABLE);
    take_turns(1);
    CHECK_EQ(seen.calls, 2);
    CHECK_EQ(seen.last, ED_ERROR);
    settle();
    CHECK_EQ(seen.calls, 2);
    CHECK(ed_watch_is_active(&seen.watch));

    no_faults();
    ed_watch_change(&seen.watch, ED_READABLE);
    take_turns(1);
    CHECK_EQ(seen.calls, 3);
    CHECK_EQ(seen.last, ED_READABLE);
    ed_watch_stop(&seen.watch);
    close(ends[0]);
    close(ends[1]);
    ed_loop_destroy(&loop);
}

static void a_pipe_without_reader_is_ready_whatever_the_system_says(void)
{
    static const int errors[] = {0, EBADF, EPIPE};
    int ends[2];
    NEED(ed_loop_init(&loop) == 0);
    NEED(pipe(ends) == 0);
    close(ends[0]);
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct seen seen = {0};
        kqueue_double_set_faults(
            &(struct kqueue_faults){.dead_pipe_errno = errors[i]});
        CHECK_EQ(ed_watch_start(&loop, &seen.watch, ends[1], ED_WRITABLE, note),
                 0);
        CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
        CHECK_EQ(seen.calls, 1);
        CHECK_EQ(seen.last, ED_WRITABLE | ED_ERROR);

        ed_watch_change(&seen.watch, 0);
        settle();
        CHECK_EQ(seen.calls, 1);
        ed_watch_change(&seen.watch, ED_WRITABLE);
        CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
        CHECK_EQ(seen.calls, 2);
        CHECK_EQ(seen.last, ED_WRITABLE | ED_ERROR);

        // The report still to come goes with the watch.
        ed_watch_change(&seen.watch, 0);
        ed_watch_stop(&seen.watch);
        CHECK_EQ(ed_watch_start(&loop, &seen.watch, ends[1], ED_WRITABLE, note),
                 0);
        ed_watch_stop(&seen.watch);
        settle();
        CHECK_EQ(seen.calls, 2);
    }
    no_faults();
    close(ends[1]);
    ed_loop_destroy(&loop);
}

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void a_pipe_that_wakes_is_asked_for_only_where_it_is_needed(void)
{
    NEED(ed_loop_init(&loop) == 0);
#ifdef EVFILT_USER
    CHECK_EQ(loop.poller.wake[0], -1);
#endif
    ed_loop_destroy(&loop);

    kqueue_double_set_faults(&(struct kqueue_faults){.no_user = 1});
    NEED(ed_loop_init(&loop) == 0);
    CHECK(loop.poller.wake[0] >= 0);
    CHECK(fcntl(loop.poller.fd, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(loop.poller.wake[0], F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(loop.poller.wake[1], F_GETFL) & O_NONBLOCK);
    ed_loop_destroy(&loop);

    int before = open_descriptors();
    kqueue_double_set_faults(
        &(struct kqueue_faults){.no_user = 1, .add_errno = ENOMEM});
    CHECK_EQ(ed_loop_init(&loop), -ENOMEM);
    no_faults();
    CHECK_EQ(open_descriptors(), before);
}

/* Ends with status 3 when told to. Returns its pid. */
static pid_t fork_child(int go[2])
{
    char byte;
    if (pipe(go))
        return -1;
    pid_t pid = fork();
    if (pid)
        return pid;
    while (read(go[0], &byte, 1) < 0)
        ;
    _exit(3);
}

static int change_process(int queue, pid_t pid, unsigned flags, unsigned what)
{
    struct kevent event = {0};
    event.ident = (uintptr_t)pid;
    event.filter = EVFILT_PROC;
    event.flags = (__typeof__(event.flags))flags;
    event.fflags = what;
    return kevent(queue, &event, 1, NULL, 0, NULL) ? -errno : 0;
}

static void the_end_of_a_process_is_told_once(void)
{
    static const struct timespec no_time = {0};
    struct kevent event = {0};
    int go[2];
    pid_t pid = fork_child(go);
    int queue = kqueue();
    NEED(pid > 0 && queue >= 0);
    CHECK_EQ(change_process(queue, pid, EV_ADD, 0), -EINVAL);
    CHECK_EQ(change_process(queue, pid, EV_DELETE, 0), -ENOENT);
    CHECK_EQ(change_process(queue, pid, EV_ADD, NOTE_EXIT), 0);
    CHECK_EQ(change_process(queue, pid, EV_DELETE, 0), 0);
    CHECK_EQ(change_process(queue, pid, EV_ADD, NOTE_EXIT), 0);
    CHECK_EQ(kevent(queue, NULL, 0, &event, 1, &no_time), 0);

    CHECK_EQ(write(go[1], "x", 1), 1);
    CHECK_EQ(kevent(queue, NULL, 0, &event, 1, NULL), 1);
    CHECK_EQ(event.ident, pid);
    CHECK_EQ(event.filter, EVFILT_PROC);
    CHECK_EQ(event.fflags, NOTE_EXIT);
    CHECK(event.flags & EV_EOF);
    CHECK(event.flags & EV_ONESHOT);
    CHECK_EQ(WEXITSTATUS((int)event.data), 3);
    CHECK_EQ(kevent(queue, NULL, 0, &event, 1, &no_time), 0);
    CHECK_EQ(change_process(queue, pid, EV_DELETE, 0), -ENOENT);

    // Now that it has ended, only FreeBSD finds it.
    int err = change_process(queue, pid, EV_ADD, NOTE_EXIT);
#ifdef KQUEUE_DOUBLE_FREEBSD
    CHECK_EQ(err, 0);
    CHECK_EQ(kevent(queue, NULL, 0, &event, 1, &no_time), 1);
#else
    CHECK_EQ(err, -ESRCH);
#endif
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    CHECK_EQ(change_process(queue, pid, EV_ADD, NOTE_EXIT), -ESRCH);
    close(queue);
    close(go[0]);
    close(go[1]);
}

static int change_file(int queue, int fd, unsigned flags)
{
    struct kevent event = {0};
    event.ident = (uintptr_t)fd;
    event.filter = EVFILT_VNODE;
    event.flags = (__typeof__(event.flags))flags;
    event.fflags = NOTE_DELETE | NOTE_WRITE | NOTE_EXTEND | NOTE_ATTRIB |
                   NOTE_LINK | NOTE_RENAME | NOTE_REVOKE;
    return kevent(queue, &event, 1, NULL, 0, NULL) ? -errno : 0;
}

/* What is told of a file now; 0: nothing. */
static unsigned notes_of(int queue, int fd)
{
    static const struct timespec no_time = {0};
    struct kevent events[4];
    unsigned notes = 0;
    int count = kevent(queue, NULL, 0, events, 4, &no_time);
    for (int i = 0; i < count; i++) {
        CHECK_EQ(events[i].filter, EVFILT_VNODE);
        if (events[i].ident == (uintptr_t)fd)
            notes |= events[i].fflags;
    }
    return notes;
}

static void what_happens_to_a_file_is_told_once(void)
{
    char directory[] = "/tmp/eddy-vnode-XXXXXX", names[3][64];
    NEED(mkdtemp(directory));
    for (int i = 0; i < 3; i++)
        snprintf(names[i], sizeof names[i], "%s/%d", directory, i);
    int queue = kqueue();
    int parent = open(directory, O_RDONLY | O_DIRECTORY);
    int file = open(names[0], O_RDWR | O_CREAT, 0600);
    NEED(queue >= 0 && parent >= 0 && file >= 0);
    CHECK_EQ(change_file(queue, file, EV_DELETE), -ENOENT);
    CHECK_EQ(change_file(queue, file, EV_ADD), -EINVAL); // not here
    CHECK_EQ(change_file(queue, 1000, EV_ADD | EV_CLEAR), -EBADF);
    CHECK_EQ(change_file(queue, file, EV_ADD | EV_CLEAR), 0);
    CHECK_EQ(notes_of(queue, file), 0);

    CHECK_EQ(write(file, "abc", 3), 3);
    CHECK_EQ(notes_of(queue, file), NOTE_WRITE | NOTE_EXTEND);
    CHECK_EQ(notes_of(queue, file), 0);
    CHECK_EQ(pwrite(file, "x", 1, 0), 1);
    CHECK_EQ(notes_of(queue, file), NOTE_WRITE);
    CHECK_EQ(ftruncate(file, 1), 0);
    CHECK_EQ(notes_of(queue, file), NOTE_ATTRIB);
    CHECK_EQ(fchmod(file, 0700), 0);
    CHECK_EQ(notes_of(queue, file), NOTE_ATTRIB);
    CHECK_EQ(link(names[0], names[1]), 0);
    CHECK_EQ(notes_of(queue, file), NOTE_LINK);
    CHECK_EQ(rename(names[0], names[2]), 0);
    CHECK_EQ(notes_of(queue, file), NOTE_RENAME);
    CHECK_EQ(unlink(names[1]), 0);
    CHECK_EQ(notes_of(queue, file), NOTE_LINK);
    CHECK_EQ(unlink(names[2]), 0);
    CHECK_EQ(notes_of(queue, file), NOTE_LINK | NOTE_DELETE);

    // Of a directory, that it has other entries, not what becomes of them.
    CHECK_EQ(change_file(queue, parent, EV_ADD | EV_CLEAR), 0);
    close(file);
    file = open(names[0], O_RDWR | O_CREAT, 0600);
    CHECK_EQ(notes_of(queue, parent), NOTE_WRITE);
    CHECK_EQ(write(file, "abc", 3), 3);
    CHECK_EQ(notes_of(queue, parent), 0);
    CHECK_EQ(rename(names[0], names[1]), 0);
    CHECK_EQ(notes_of(queue, parent), NOTE_WRITE);
    CHECK_EQ(mkdir(names[2], 0700), 0);
    CHECK_EQ(notes_of(queue, parent), NOTE_WRITE | NOTE_LINK);

    // A directory that goes; a descriptor that is closed.
    int child = open(names[2], O_RDONLY | O_DIRECTORY);
    CHECK_EQ(change_file(queue, child, EV_ADD | EV_CLEAR), 0);
    CHECK_EQ(rmdir(names[2]), 0);
    CHECK_EQ(notes_of(queue, child), NOTE_DELETE);
    CHECK_EQ(change_file(queue, child, EV_DELETE), 0);
    close(child);
    (void)notes_of(queue, parent);
    close(parent);
    CHECK_EQ(unlink(names[1]), 0);
    CHECK_EQ(rmdir(directory), 0);
    CHECK_EQ(notes_of(queue, parent), 0);
    close(file);
    close(queue);
}

TESTS(TEST(what_is_left_unread_is_reported_again),
      TEST(a_writer_learns_that_nobody_reads_any_more),
      TEST(both_directions_of_a_descriptor_are_reported),
      TEST(what_is_of_no_interest_does_not_even_wake_the_loop),
      TEST(a_callback_may_stop_close_and_free_all_others),
      TEST(a_descriptor_used_anew_has_none_of_the_old_events),
      TEST(a_descriptor_closed_too_early_does_no_harm),
      TEST(what_cannot_be_waited_for_is_refused),
      TEST(the_loop_sleeps_for_as_long_as_a_timer_says),
      TEST(a_timer_in_the_far_future_is_no_error),
      TEST(after_each_wake_up_the_loop_sleeps_again),
      TEST(a_wake_up_before_the_sleep_is_not_lost),
      TEST(messages_of_other_threads_wake_the_loop),
      TEST(a_signal_handler_may_stop_the_loop),
      TEST(processes_are_reaped_when_they_have_ended),
      TEST(all_goes_well_when_waits_are_interrupted),
      TEST(all_goes_well_when_events_come_one_at_a_time),
      TEST(all_goes_well_when_events_come_in_any_order),
      TEST(all_goes_well_when_events_carry_no_data),
      TEST(all_goes_well_when_edges_are_told_again),
      TEST(all_goes_well_when_processes_end_later_than_told),
      TEST(all_goes_well_without_events_of_processes),
      TEST(all_goes_well_without_user_events),
      TEST(two_events_of_one_descriptor_are_one_call),
      TEST(a_watch_that_cannot_be_added_is_not_started),
      TEST(a_change_that_fails_is_an_error_and_the_end_of_watching),
      TEST(a_pipe_without_reader_is_ready_whatever_the_system_says),
      TEST(a_pipe_that_wakes_is_asked_for_only_where_it_is_needed),
      TEST(the_end_of_a_process_is_told_once),
      TEST(what_happens_to_a_file_is_told_once))

#else

static void the_kqueue_poller(void)
{
    SKIP("only with the kqueue double");
}

TESTS(TEST(the_kqueue_poller))

#endif
