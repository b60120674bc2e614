#include "pool/pool.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include "test/gate.h"
#include "test/tap.h"

static struct ed_loop loop;
static struct ed_pool pool;
static struct gate began; // a task that is held has begun
static struct gate held;  // a task that is held may go on
static int begun;         // tasks
static int at_work;       // tasks that are in their run
static int most_at_work;

struct job {
    struct ed_task task;
    int runs, dones;
    int nth; // to begin
    pthread_t runner, finisher;
    int error;          // as seen in done
    bool was_cancelled; // as seen at the end of run
    int again;          // how often done is to submit it anew
};

static void begin(const struct ed_pool_options *options)
{
    gate_init(&began);
    gate_init(&held);
    begun = at_work = most_at_work = 0;
    CHECK_EQ(ed_loop_init(&loop), 0);
    CHECK_EQ(ed_pool_init(&pool, &loop, options), 0);
}

static void end_without_pool(void)
{
    ed_loop_destroy(&loop);
    gate_destroy(&began);
    gate_destroy(&held);
}

static void end(void)
{
    ed_pool_destroy(&pool);
    end_without_pool();
}

static void begin_with_workers(unsigned workers)
{
    begin(&(struct ed_pool_options){.workers = workers});
}

static struct job *job_of(struct ed_task *task)
{
    return ED_CONTAINER_OF(task, struct job, task);
}

static void enter(struct job *job)
{
    job->runs++;
    job->runner = pthread_self();
    job->nth = __atomic_add_fetch(&begun, 1, __ATOMIC_SEQ_CST);
    int now = __atomic_add_fetch(&at_work, 1, __ATOMIC_SEQ_CST);
    int most = __atomic_load_n(&most_at_work, __ATOMIC_SEQ_CST);
    while (now > most &&
           !__atomic_compare_exchange_n(&most_at_work, &most, now, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
}

static void leave(struct job *job)
{
    job->was_cancelled = ed_task_is_cancelled(&job->task);
    __atomic_sub_fetch(&at_work, 1, __ATOMIC_SEQ_CST);
}

static void run(struct ed_task *task)
{
    enter(job_of(task));
    leave(job_of(task));
}

static void run_held(struct ed_task *task)
{
    enter(job_of(task));
    gate_open(&began);
    gate_pass(&held);
    leave(job_of(task));
}

static void done(struct ed_task *task)
{
    struct job *job = job_of(task);
    job->dones++;
    job->finisher = pthread_self();
    job->error = task->error;
    if (job->again) {
        job->again--;
        CHECK_EQ(ed_task_submit(&pool, task, run, done), 0);
    }
}

static int submit(struct job *job)
{
    return ed_task_submit(&pool, &job->task, run, done);
}

/* Has the batch handed to the workers. */
static void turn(void)
{
    ed_loop_run_once(&loop, 0);
}

/* Returns when the job is in the hands of a worker, and stays there. */
static void submit_held(struct job *job)
{
    CHECK_EQ(ed_task_submit(&pool, &job->task, run_held, done), 0);
    turn();
    gate_pass(&began);
}

static void check_ran(const struct job *job)
{
    CHECK_EQ(job->runs, 1);
    CHECK_EQ(job->dones, 1);
    CHECK_EQ(job->error, 0);
}

static void check_cancelled(const struct job *job)
{
    CHECK_EQ(job->runs, 0);
    CHECK_EQ(job->dones, 1);
    CHECK_EQ(job->error, -ECANCELED);
}

/* Of this process; -1 where there is no /proc to tell. */
static int count_threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    if (!dir)
        return -1;
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void wait_for_threads(int count)
{
    while (count_threads() != count)
        poll(NULL, 0, 1);
}

/* ---- run and done -------------------------------------------------------- */

static void run_is_on_another_thread_and_done_on_the_loops(void)
{
    struct job job = {0};
    begin(NULL);
    CHECK_EQ(submit(&job), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    check_ran(&job);
    CHECK(!pthread_equal(job.runner, pthread_self()));
    CHECK(pthread_equal(job.finisher, pthread_self()));
    end();
}

static void submit_calls_nothing_itself(void)
{
    enum { COUNT = 100 };
    struct job jobs[COUNT] = {0};
    begin(NULL);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(submit(&jobs[i]), 0);
        for (int j = 0; j <= i; j++)
            CHECK_EQ(jobs[j].dones, 0);
    }
    ed_loop_run(&loop);
    for (int i = 0; i < COUNT; i++) {
        check_ran(&jobs[i]);
        CHECK(!pthread_equal(jobs[i].runner, pthread_self()));
    }
    end();
}

static void each_of_many_tasks_is_run_and_done_once(void)
{
    enum { COUNT = 5000 };
    static struct job jobs[COUNT];
    memset(jobs, 0, sizeof jobs);
    begin(NULL);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(submit(&jobs[i]), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    for (int i = 0; i < COUNT; i++)
        check_ran(&jobs[i]);
    end();
}

static void one_worker_begins_tasks_in_the_order_submitted(void)
{
    enum { COUNT = 200 };
    struct job jobs[COUNT] = {0};
    begin_with_workers(1);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(submit(&jobs[i]), 0);
        if (i % 37 == 0)
            turn();
    }
    ed_loop_run(&loop);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(jobs[i].nth, i + 1);
    end();
}

static void a_task_can_be_submitted_anew_in_its_done(void)
{
    struct job job = {.again = 99};
    begin(NULL);
    CHECK_EQ(submit(&job), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(job.runs, 100);
    CHECK_EQ(job.dones, 100);
    end();
}

static void done_and_free(struct ed_task *task)
{
    CHECK_EQ(job_of(task)->runs, 1);
    free(job_of(task));
}

static void a_task_can_be_freed_in_its_done(void)
{
    begin(NULL);
    for (int i = 0; i < 100; i++) {
        struct job *job = calloc(1, sizeof *job);
        NEED(job);
        CHECK_EQ(ed_task_submit(&pool, &job->task, run, done_and_free), 0);
    }
    CHECK_EQ(ed_loop_run(&loop), 0);
    end();
}

static struct job from_done, from_timer, from_tick, from_immediate;

static void submit_in_done(struct ed_task *task)
{
    done(task);
    CHECK_EQ(submit(&from_done), 0);
}

static void submit_in_timer(struct ed_timer *timer)
{
    (void)timer;
    CHECK_EQ(submit(&from_timer), 0);
}

static void submit_in_tick(struct ed_hook *hook)
{
    (void)hook;
    CHECK_EQ(submit(&from_tick), 0);
}

static void submit_in_immediate(struct ed_hook *hook)
{
    (void)hook;
    CHECK_EQ(submit(&from_immediate), 0);
}

static void tasks_may_be_submitted_from_any_callback(void)
{
    struct job first = {0};
    struct ed_timer timer = {0};
    struct ed_hook tick = {0}, immediate = {0};
    from_done = from_timer = from_tick = from_immediate = (struct job){0};
    begin(NULL);
    CHECK_EQ(ed_task_submit(&pool, &first.task, run, submit_in_done), 0);
    ed_timer_start(&loop, &timer, 0, submit_in_timer);
    ed_hook_tick(&loop, &tick, submit_in_tick);
    ed_hook_immediate(&loop, &immediate, submit_in_immediate);
    CHECK_EQ(ed_loop_run(&loop), 0);
    check_ran(&first);
    check_ran(&from_done);
    check_ran(&from_timer);
    check_ran(&from_tick);
    check_ran(&from_immediate);
    end();
}

static void a_request_keeps_the_loop_alive(void)
{
    struct job job = {0};
    begin(NULL);
    CHECK(!ed_loop_is_alive(&loop));
    submit_held(&job);
    CHECK(ed_loop_is_alive(&loop));
    CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    CHECK_EQ(job.dones, 0);
    gate_open(&held);
    CHECK_EQ(ed_loop_run(&loop), 0);
    check_ran(&job);
    CHECK(!ed_loop_is_alive(&loop));
    end();
}

static void a_stopped_loop_finishes_its_tasks_when_run_again(void)
{
    struct job job = {0};
    begin(NULL);
    submit_held(&job);
    ed_loop_stop(&loop);
    CHECK_EQ(ed_loop_run(&loop), 1);
    CHECK_EQ(job.dones, 0);
    gate_open(&held);
    CHECK_EQ(ed_loop_run(&loop), 0);
    check_ran(&job);
    end();
}

static void at_the_request_limit_submit_fails_and_nothing_is_called(void)
{
    struct job a = {0}, b = {0}, c = {0};
    begin(&(struct ed_pool_options){.request_limit = 2});
    submit_held(&a);
    submit_held(&b);
    CHECK_EQ(submit(&c), -EAGAIN);
    CHECK_EQ(ed_task_cancel(&c.task), -ENOENT);
    gate_open(&held);
    gate_open(&held);
    ed_loop_run(&loop);
    check_ran(&a);
    check_ran(&b);
    CHECK_EQ(c.runs, 0);
    CHECK_EQ(c.dones, 0);
    CHECK_EQ(submit(&c), 0);
    ed_loop_run(&loop);
    check_ran(&c);
    end();
}

static void a_done_makes_room_below_the_request_limit(void)
{
    struct job job = {.again = 10};
    begin(&(struct ed_pool_options){.request_limit = 1});
    CHECK_EQ(submit(&job), 0);
    ed_loop_run(&loop);
    CHECK_EQ(job.dones, 11);
    end();
}

static void a_pool_that_never_lingers_does_the_same(void)
{
    struct job job = {.again = 200};
    begin(&(struct ed_pool_options){.never_linger = true});
    CHECK_EQ(submit(&job), 0);
    ed_loop_run(&loop);
    CHECK_EQ(job.runs, 201);
    CHECK_EQ(job.dones, 201);
    end();
}

/* ---- workers ------------------------------------------------------------- */

static void a_fresh_pool_has_no_thread(void)
{
    int before = count_threads();
    begin(NULL);
    int with_pool = count_threads();
    end();
    CHECK_EQ(with_pool, before);
    if (before < 0)
        SKIP("no /proc to count threads in");
}

static void there_are_at_least_four_workers_if_need_be(void)
{
    struct job jobs[4] = {0};
    begin(NULL);
    // Each returns with one more that has begun and not ended.
    for (int i = 0; i < 4; i++)
        submit_held(&jobs[i]);
    CHECK_EQ(at_work, 4);
    for (int i = 0; i < 4; i++)
        gate_open(&held);
    ed_loop_run(&loop);
    end();
}

static void there_are_never_more_workers_than_the_limit(void)
{
    enum { LIMIT = 3, COUNT = 30 };
    struct job jobs[COUNT] = {0};
    begin_with_workers(LIMIT);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(ed_task_submit(&pool, &jobs[i].task, run_held, done), 0);
    turn();
    for (int i = 0; i < COUNT; i++) {
        gate_pass(&began);
        if (i == LIMIT - 1)
            CHECK_EQ(__atomic_load_n(&at_work, __ATOMIC_SEQ_CST), LIMIT);
        if (i >= LIMIT - 1)
            gate_open(&held);
    }
    for (int i = 0; i < LIMIT - 1; i++)
        gate_open(&held);
    ed_loop_run(&loop);
    for (int i = 0; i < COUNT; i++)
        check_ran(&jobs[i]);
    CHECK_EQ(most_at_work, LIMIT);
    end();
}

static void with_all_workers_blocked_the_next_task_waits(void)
{
    struct job blockers[4] = {0}, fifth = {0};
    begin_with_workers(4);
    for (int i = 0; i < 4; i++)
        submit_held(&blockers[i]);
    CHECK_EQ(ed_task_submit(&pool, &fifth.task, run_held, done), 0);
    turn();
    CHECK_EQ(__atomic_load_n(&begun, __ATOMIC_SEQ_CST), 4);
    gate_open(&held);
    gate_pass(&began);
    for (int i = 0; i < 4; i++)
        gate_open(&held);
    ed_loop_run(&loop);
    CHECK_EQ(fifth.nth, 5);
    CHECK_EQ(most_at_work, 4);
    check_ran(&fifth);
    end();
}

static void idle_workers_retire_and_come_back(void)
{
    int before = count_threads();
    if (before < 0)
        SKIP("no /proc to count threads in");
    begin(&(struct ed_pool_options){.workers = 3, .retire_ns = ED_MS});
    for (int round = 0; round < 3; round++) {
        struct job jobs[3] = {0};
        for (int i = 0; i < 3; i++)
            submit_held(&jobs[i]);
        CHECK_EQ(count_threads(), before + 3);
        for (int i = 0; i < 3; i++)
            gate_open(&held);
        ed_loop_run(&loop);
        for (int i = 0; i < 3; i++)
            check_ran(&jobs[i]);
        wait_for_threads(before);
    }
    end();
    CHECK_EQ(count_threads(), before);
}

static void destroy_ends_the_workers(void)
{
    int before = count_threads();
    if (before < 0)
        SKIP("no /proc to count threads in");
    struct job jobs[4] = {0};
    begin_with_workers(4);
    for (int i = 0; i < 4; i++)
        submit_held(&jobs[i]);
    for (int i = 0; i < 4; i++)
        gate_open(&held);
    ed_loop_run(&loop);
    end();
    // A joined thread can be seen in /proc for a moment yet.
    wait_for_threads(before);
}

enum { MANY = 64, WARM_UP = 2000 };

static struct job crowd[MANY];
static struct ed_timer patience;

static void lose_patience(struct ed_timer *timer)
{
    (void)timer;
    ed_loop_stop(&loop);
}

static void done_of_crowd(struct ed_task *task)
{
    done(task);
    int dones = 0;
    for (int i = 0; i < MANY; i++)
        dones += crowd[i].dones;
    if (dones >= MANY - 1)
        ed_loop_stop(&loop);
}

/*
 * That tasks were short before does not make the next one short: others must
 * neither wait for it to begin nor for their done. The timer only ends the
 * waiting for what does not come.
 */
static void a_task_that_blocks_holds_up_no_other_while_workers_are_free(void)
{
    enum { BLOCKER = 20 };
    struct job short_one = {.again = WARM_UP};
    begin_with_workers(4);
    CHECK_EQ(submit(&short_one), 0);
    ed_loop_run(&loop);

    memset(crowd, 0, sizeof crowd);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(ed_task_submit(&pool, &crowd[i].task,
                                i == BLOCKER ? run_held : run, done_of_crowd),
                 0);
    ed_timer_start(&loop, &patience, 5 * ED_S, lose_patience);
    ed_loop_run(&loop);
    ed_timer_stop(&patience);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(crowd[i].dones, i != BLOCKER);
    gate_open(&held);
    ed_loop_run(&loop);
    for (int i = 0; i < MANY; i++)
        check_ran(&crowd[i]);
    end();
}

/* ---- cancel -------------------------------------------------------------- */

static void a_queued_task_that_is_cancelled_is_not_run(void)
{
    struct job first = {0}, queued = {0}, last = {0};
    begin_with_workers(1);
    submit_held(&first);
    CHECK_EQ(submit(&queued), 0);
    CHECK_EQ(submit(&last), 0);
    turn();
    CHECK_EQ(ed_task_cancel(&queued.task), 0);
    CHECK_EQ(queued.dones, 0);
    gate_open(&held);
    CHECK_EQ(ed_loop_run(&loop), 0);
    check_ran(&first);
    check_cancelled(&queued);
    check_ran(&last);
    CHECK(pthread_equal(queued.finisher, pthread_self()));
    end();
}

static void done_of_a_cancelled_task_does_not_wait_for_a_worker(void)
{
    struct job first = {0}, queued = {0};
    begin_with_workers(1);
    submit_held(&first);
    CHECK_EQ(submit(&queued), 0);
    CHECK_EQ(ed_task_cancel(&queued.task), 0);
    while (!queued.dones)
        ed_loop_run_once(&loop, 0);
    check_cancelled(&queued);
    CHECK_EQ(first.dones, 0);
    gate_open(&held);
    ed_loop_run(&loop);
    end();
}

static void a_task_can_be_cancelled_in_the_turn_it_was_submitted_in(void)
{
    struct job first = {0}, batched = {0}, last = {0};
    begin(NULL);
    CHECK_EQ(submit(&first), 0);
    CHECK_EQ(submit(&batched), 0);
    CHECK_EQ(submit(&last), 0);
    CHECK_EQ(ed_task_cancel(&batched.task), 0);
    CHECK_EQ(batched.dones, 0);
    ed_loop_run(&loop);
    check_ran(&first);
    check_cancelled(&batched);
    check_ran(&last);
    end();
}

static void a_running_task_is_told_that_it_is_cancelled(void)
{
    struct job job = {0};
    begin(NULL);
    submit_held(&job);
    CHECK(!ed_task_is_cancelled(&job.task));
    CHECK_EQ(ed_task_cancel(&job.task), -EBUSY);
    CHECK_EQ(ed_task_cancel(&job.task), -EBUSY);
    gate_open(&held);
    ed_loop_run(&loop);
    check_ran(&job);
    CHECK(job.was_cancelled);
    end();
}

static void a_task_cancelled_twice_is_done_once(void)
{
    struct job first = {0}, queued = {0};
    begin_with_workers(1);
    submit_held(&first);
    CHECK_EQ(submit(&queued), 0);
    CHECK_EQ(ed_task_cancel(&queued.task), 0);
    CHECK_EQ(ed_task_cancel(&queued.task), -EBUSY);
    CHECK(ed_task_is_cancelled(&queued.task));
    gate_open(&held);
    ed_loop_run(&loop);
    check_cancelled(&queued);
    end();
}

static void cancel_in_done(struct ed_task *task)
{
    done(task);
    CHECK_EQ(ed_task_cancel(task), -ENOENT);
}

static void what_is_not_submitted_cannot_be_cancelled(void)
{
    struct job job = {0};
    begin(NULL);
    CHECK_EQ(ed_task_cancel(&job.task), -ENOENT);
    CHECK_EQ(ed_task_submit(&pool, &job.task, run, cancel_in_done), 0);
    ed_loop_run(&loop);
    check_ran(&job);
    CHECK_EQ(ed_task_cancel(&job.task), -ENOENT);
    end();
}

static void a_cancelled_task_can_be_submitted_anew_and_is_not_cancelled(void)
{
    struct job first = {0}, queued = {0};
    begin_with_workers(1);
    submit_held(&first);
    CHECK_EQ(submit(&queued), 0);
    CHECK_EQ(ed_task_cancel(&queued.task), 0);
    gate_open(&held);
    ed_loop_run(&loop);
    CHECK_EQ(queued.error, -ECANCELED);
    CHECK_EQ(submit(&queued), 0);
    ed_loop_run(&loop);
    CHECK_EQ(queued.runs, 1);
    CHECK_EQ(queued.dones, 2);
    CHECK_EQ(queued.error, 0);
    CHECK(!queued.was_cancelled);
    end();
}

static void all_of_a_batch_can_be_cancelled(void)
{
    enum { COUNT = 50 };
    struct job first = {0}, jobs[COUNT] = {0};
    begin_with_workers(1);
    submit_held(&first);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(submit(&jobs[i]), 0);
    for (int i = COUNT - 1; i >= 0; i--)
        CHECK_EQ(ed_task_cancel(&jobs[i].task), 0);
    gate_open(&held);
    ed_loop_run(&loop);
    for (int i = 0; i < COUNT; i++)
        check_cancelled(&jobs[i]);
    end();
}

/* ---- destroy ------------------------------------------------------------- */

static void a_pool_can_be_destroyed_unused(void)
{
    begin(NULL);
    end();
}

static void destroy_cancels_what_has_not_begun_and_done_comes_later(void)
{
    enum { COUNT = 40 };
    struct job running = {0}, jobs[COUNT] = {0};
    begin_with_workers(1);
    submit_held(&running);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(submit(&jobs[i]), 0);
        if (i == COUNT / 2)
            turn();
    }
    gate_open(&held);
    ed_pool_destroy(&pool);
    memset(&pool, 0xA5, sizeof pool);

    CHECK_EQ(running.runs, 1);
    CHECK_EQ(running.dones, 0);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(jobs[i].dones, 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    check_ran(&running);
    for (int i = 0; i < COUNT; i++) {
        // The worker may have been quick.
        if (jobs[i].runs)
            check_ran(&jobs[i]);
        else
            check_cancelled(&jobs[i]);
    }
    end_without_pool();
}

static void destroy_in_done(struct ed_task *task)
{
    done(task);
    ed_pool_destroy(&pool);
}

static void a_pool_can_be_destroyed_in_a_done(void)
{
    enum { COUNT = 20 };
    struct job first = {0}, jobs[COUNT] = {0};
    begin_with_workers(1);
    CHECK_EQ(ed_task_submit(&pool, &first.task, run, destroy_in_done), 0);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(submit(&jobs[i]), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    check_ran(&first);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(jobs[i].dones, 1);
    end_without_pool();
}

static void a_task_that_a_destroyed_pool_cancelled_suits_another_pool(void)
{
    struct job first = {0}, queued = {0};
    begin_with_workers(1);
    CHECK_EQ(submit(&first), 0);
    CHECK_EQ(submit(&queued), 0);
    ed_pool_destroy(&pool);
    CHECK_EQ(ed_loop_run(&loop), 0);
    check_cancelled(&queued);

    CHECK_EQ(ed_pool_init(&pool, &loop, NULL), 0);
    CHECK_EQ(submit(&queued), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(queued.runs, 1);
    CHECK_EQ(queued.dones, 2);
    CHECK_EQ(queued.error, 0);
    end();
}

/* ---- signals ------------------------------------------------------------- */

static struct gate signalled;
static pthread_t main_thread;
static volatile sig_atomic_t was_on_main_thread;

static void on_signal(int number)
{
    (void)number;
    was_on_main_thread = pthread_equal(pthread_self(), main_thread) != 0;
    gate_open(&signalled);
}

static void signals_reach_the_programs_own_thread(void)
{
    struct job jobs[4] = {0};
    struct sigaction action = {.sa_handler = on_signal}, before;
    sigset_t usr1, pending;
    main_thread = pthread_self();
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    gate_init(&signalled);
    sigaction(SIGUSR1, &action, &before);
    begin_with_workers(4);
    for (int i = 0; i < 4; i++)
        submit_held(&jobs[i]);

    was_on_main_thread = 0;
    kill(getpid(), SIGUSR1);
    gate_pass(&signalled);
    CHECK(was_on_main_thread);

    // If the program's thread blocks it, nobody else takes it.
    was_on_main_thread = 0;
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    kill(getpid(), SIGUSR1);
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGUSR1) == 1);
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
    gate_pass(&signalled);
    CHECK(was_on_main_thread);

    for (int i = 0; i < 4; i++)
        gate_open(&held);
    ed_loop_run(&loop);
    end();
    sigaction(SIGUSR1, &before, NULL);
    gate_destroy(&signalled);
}

static sigset_t workers_mask;

static void run_and_note_mask(struct ed_task *task)
{
    enter(job_of(task));
    pthread_sigmask(SIG_SETMASK, NULL, &workers_mask);
    leave(job_of(task));
}

static void workers_block_all_signals_and_submit_changes_no_mask(void)
{
    static const int signals[] = {SIGHUP,  SIGINT,  SIGTERM, SIGUSR1, SIGUSR2,
                                  SIGALRM, SIGCHLD, SIGPIPE, SIGTSTP};
    struct job job = {0};
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    begin(NULL);
    CHECK_EQ(ed_task_submit(&pool, &job.task, run_and_note_mask, done), 0);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    ed_loop_run(&loop);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        CHECK(sigismember(&workers_mask, signals[i]) == 1);
        CHECK_EQ(sigismember(&after, signals[i]),
                 sigismember(&before, signals[i]));
    }
    end();
}

/* ---- trace --------------------------------------------------------------- */

struct note {
    enum ed_trace_kind kind;
    const void *subject;
    int64_t value;
};

static struct note notes[20];
static size_t note_count;

/* Without a lock: where these tests use it nothing happens at the same time. */
static void take_note(struct ed_trace *trace,
                      const struct ed_trace_event *event)
{
    (void)trace;
    bool is_done = event->kind == ED_TRACE_BEGIN &&
                   event->callback == (ed_trace_callback_fn *)done;
    if (event->kind < ED_TRACE_SUBMIT && !is_done)
        return; // of the loop
    if (is_done)
        CHECK_STR(event->name, "done");
    else
        CHECK(!event->name);
    if (note_count < sizeof notes / sizeof *notes)
        notes[note_count++] =
            (struct note){event->kind, event->subject, event->value};
}

static void check_note(size_t nth, enum ed_trace_kind kind, const void *subject,
                       int64_t value)
{
    NEED(nth < note_count);
    CHECK_EQ(notes[nth].kind, kind);
    CHECK(notes[nth].subject == subject);
    CHECK_EQ(notes[nth].value, value);
}

static void the_way_of_a_task_is_traced(void)
{
    struct ed_trace trace = {.tell = take_note};
    struct job job = {0};
    begin_with_workers(1);
    loop.trace = &trace;
    note_count = 0;
    CHECK_EQ(submit(&job), 0);
    ed_loop_run(&loop);
    CHECK_EQ(note_count, 5);
    check_note(0, ED_TRACE_SUBMIT, &job.task, 0);
    check_note(1, ED_TRACE_TAKE, &job.task, 1);
    check_note(2, ED_TRACE_POST, &job.task, 0);
    check_note(3, ED_TRACE_DONE, &job.task, 0);
    check_note(4, ED_TRACE_BEGIN, &job.task, 0);
    end();
}

static void a_cancelled_task_is_traced_without_being_taken(void)
{
    struct ed_trace trace = {.tell = take_note};
    struct job first = {0}, queued = {0};
    begin_with_workers(1);
    submit_held(&first);
    loop.trace = &trace;
    note_count = 0;
    CHECK_EQ(submit(&queued), 0);
    CHECK_EQ(ed_task_cancel(&queued.task), 0);
    while (!queued.dones)
        ed_loop_run_once(&loop, 0);
    CHECK_EQ(note_count, 4);
    check_note(0, ED_TRACE_SUBMIT, &queued.task, 0);
    check_note(1, ED_TRACE_POST, &queued.task, -ECANCELED);
    check_note(2, ED_TRACE_DONE, &queued.task, -ECANCELED);
    check_note(3, ED_TRACE_BEGIN, &queued.task, 0);
    loop.trace = NULL;
    gate_open(&held);
    ed_loop_run(&loop);
    end();
}

TESTS(TEST(run_is_on_another_thread_and_done_on_the_loops),
      TEST(submit_calls_nothing_itself),
      TEST(each_of_many_tasks_is_run_and_done_once),
      TEST(one_worker_begins_tasks_in_the_order_submitted),
      TEST(a_task_can_be_submitted_anew_in_its_done),
      TEST(a_task_can_be_freed_in_its_done),
      TEST(tasks_may_be_submitted_from_any_callback),
      TEST(a_request_keeps_the_loop_alive),
      TEST(a_stopped_loop_finishes_its_tasks_when_run_again),
      TEST(at_the_request_limit_submit_fails_and_nothing_is_called),
      TEST(a_done_makes_room_below_the_request_limit),
      TEST(a_pool_that_never_lingers_does_the_same),
      TEST(a_fresh_pool_has_no_thread),
      TEST(there_are_at_least_four_workers_if_need_be),
      TEST(there_are_never_more_workers_than_the_limit),
      TEST(with_all_workers_blocked_the_next_task_waits),
      TEST(a_task_that_blocks_holds_up_no_other_while_workers_are_free),
      TEST(idle_workers_retire_and_come_back), TEST(destroy_ends_the_workers),
      TEST(a_queued_task_that_is_cancelled_is_not_run),
      TEST(done_of_a_cancelled_task_does_not_wait_for_a_worker),
      TEST(a_task_can_be_cancelled_in_the_turn_it_was_submitted_in),
      TEST(a_running_task_is_told_that_it_is_cancelled),
      TEST(a_task_cancelled_twice_is_done_once),
      TEST(what_is_not_submitted_cannot_be_cancelled),
      TEST(a_cancelled_task_can_be_submitted_anew_and_is_not_cancelled),
      TEST(all_of_a_batch_can_be_cancelled),
      TEST(a_pool_can_be_destroyed_unused),
      TEST(destroy_cancels_what_has_not_begun_and_done_comes_later),
      TEST(a_pool_can_be_destroyed_in_a_done),
      TEST(a_task_that_a_destroyed_pool_cancelled_suits_another_pool),
      TEST(signals_reach_the_programs_own_thread),
      TEST(workers_block_all_signals_and_submit_changes_no_mask),
      TEST(the_way_of_a_task_is_traced),
      TEST(a_cancelled_task_is_traced_without_being_taken))
