#include "pool/pool.h"

#include <errno.h>
#include <poll.h>

#include "test/gate.h"
#include "test/tap.h"

static struct ed_loop loop;
static struct ed_pool pool;
static struct gate began; // a task that is held has begun
static struct gate held;  // a task that is held may go on

struct job {
    struct ed_task task;
    int runs, dones;
    int error;
    bool was_cancelled; // as seen at the end of run
};

static void begin_with_workers(unsigned workers)
{
    gate_init(&began);
    gate_init(&held);
    CHECK_EQ(ed_loop_init(&loop), 0);
    CHECK_EQ(ed_pool_init(&pool, &loop,
                          &(struct ed_pool_options){.workers = workers}),
             0);
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

static struct job *job_of(struct ed_task *task)
{
    return ED_CONTAINER_OF(task, struct job, task);
}

static void run(struct ed_task *task)
{
    job_of(task)->runs++;
    job_of(task)->was_cancelled = ed_task_is_cancelled(task);
}

static void run_held(struct ed_task *task)
{
    gate_open(&began);
    gate_pass(&held);
    run(task);
}

/* Leaves as soon as it is told to. */
static void run_until_cancelled(struct ed_task *task)
{
    gate_open(&began);
    while (!ed_task_is_cancelled(task))
        poll(NULL, 0, 1);
    run(task);
}

static void done(struct ed_task *task)
{
    job_of(task)->dones++;
    job_of(task)->error = task->error;
}

static void submit(struct job *job, ed_task_fn *fn, uint64_t in_ns)
{
    ed_loop_update_now(&loop);
    job->task.deadline_ns = in_ns ? ed_loop_now(&loop) + in_ns : 0;
    CHECK_EQ(ed_task_submit(&pool, &job->task, fn, done), 0);
}

static void turn(void)
{
    ed_loop_run_once(&loop, 0);
}

static void submit_held(struct job *job, uint64_t in_ns)
{
    submit(job, run_held, in_ns);
    turn();
    gate_pass(&began);
}

static void let_pass(const struct job *job)
{
    while (ed_clock_ns() < job->task.deadline_ns)
        poll(NULL, 0, 1);
}

static void wait_for(const struct job *job)
{
    while (!job->dones)
        ed_loop_run_once(&loop, (int64_t)ED_MS);
}

static void check_done(const struct job *job, int error)
{
    CHECK_EQ(job->dones, 1);
    CHECK_EQ(job->error, error);
    CHECK_EQ(job->runs, error == 0);
}

static void check_no_timer_is_left(void)
{
    struct ed_loop_metrics metrics;
    ed_loop_metrics(&loop, &metrics);
    CHECK_EQ(metrics.timers, 0);
}

static void a_task_whose_deadline_passes_in_the_queue_is_not_run(void)
{
    struct job first = {0}, queued = {0}, last = {0};
    begin_with_workers(1);
    submit_held(&first, 0);
    submit(&queued, run, ED_MS);
    submit(&last, run, 0);
    turn();
    wait_for(&queued);
    check_done(&queued, -ETIMEDOUT);
    CHECK_EQ(first.dones, 0);
    CHECK_EQ(last.dones, 0);
    gate_open(&held);
    ed_loop_run(&loop);
    check_done(&first, 0);
    check_done(&last, 0);
    check_done(&queued, -ETIMEDOUT);
    end();
}

static void a_deadline_that_passes_in_the_batch_is_kept_too(void)
{
    struct job first = {0}, second = {0}, batched = {0};
    begin_with_workers(1);
    submit_held(&first, 0);
    submit(&second, run, 0); // goes out at once, the next one later
    submit(&batched, run, ED_MS);
    let_pass(&batched);
    gate_open(&held);
    ed_loop_run(&loop);
    check_done(&first, 0);
    check_done(&batched, -ETIMEDOUT);
    end();
}

static void a_deadline_that_has_passed_at_submit_is_told_in_done(void)
{
    struct job job = {0};
    begin_with_workers(1);
    ed_loop_update_now(&loop);
    job.task.deadline_ns = ed_loop_now(&loop);
    CHECK_EQ(ed_task_submit(&pool, &job.task, run, done), 0);
    CHECK_EQ(job.dones, 0);
    CHECK_EQ(ed_task_cancel(&job.task), -EBUSY);
    CHECK_EQ(ed_loop_run(&loop), 0);
    check_done(&job, -ETIMEDOUT);
    end();
}

/* The loop does not look at its timers meanwhile. */
static void a_worker_does_not_begin_what_is_too_late(void)
{
    struct job first = {0}, late = {0}, last = {0};
    begin_with_workers(1);
    submit_held(&first, 0);
    submit(&late, run, 50 * ED_MS);
    submit(&last, run_held, 0);
    turn();
    let_pass(&late);
    gate_open(&held);
    gate_pass(&began);
    gate_open(&held);
    CHECK_EQ(late.dones, 0);
    ed_loop_run(&loop);
    check_done(&first, 0);
    check_done(&late, -ETIMEDOUT);
    check_done(&last, 0);
    check_no_timer_is_left();
    end();
}

static void a_task_that_is_done_in_time_leaves_no_timer(void)
{
    static const uint64_t times[] = {3600 * ED_S, UINT64_MAX / 2};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct job job = {0};
        begin_with_workers(1);
        submit(&job, run, times[i]);
        CHECK_EQ(ed_loop_run(&loop), 0);
        check_done(&job, 0);
        CHECK(!job.was_cancelled);
        check_no_timer_is_left();
        end();
    }
}

static void a_deadline_at_the_end_of_time_is_none(void)
{
    struct job job = {.task.deadline_ns = UINT64_MAX};
    begin_with_workers(1);
    CHECK_EQ(ed_task_submit(&pool, &job.task, run, done), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    check_done(&job, 0);
    CHECK(job.task.deadline_ns == UINT64_MAX);
    end();
}

static void a_task_that_runs_at_its_deadline_is_told_and_done_when_it_ends(void)
{
    struct job job = {0};
    begin_with_workers(1);
    // Until it has begun before the deadline.
    for (uint64_t in_ns = 20 * ED_MS; !job.runs; in_ns *= 2) {
        job = (struct job){0};
        submit(&job, run_until_cancelled, in_ns);
        wait_for(&job);
        if (!job.runs)
            check_done(&job, -ETIMEDOUT);
    }
    gate_pass(&began);
    check_done(&job, 0);
    CHECK(job.was_cancelled);
    end();
}

static void a_task_cancelled_before_its_deadline_is_done_once(void)
{
    struct job first = {0}, queued = {0};
    begin_with_workers(1);
    submit_held(&first, 0);
    submit(&queued, run, 3600 * ED_S);
    turn();
    CHECK_EQ(ed_task_cancel(&queued.task), 0);
    wait_for(&queued);
    check_done(&queued, -ECANCELED);
    check_no_timer_is_left();
    gate_open(&held);
    ed_loop_run(&loop);
    check_done(&queued, -ECANCELED);
    end();
}

static void a_task_past_its_deadline_can_be_submitted_anew(void)
{
    struct job first = {0}, queued = {0};
    begin_with_workers(1);
    submit_held(&first, 0);
    submit(&queued, run, ED_MS);
    wait_for(&queued);
    CHECK_EQ(queued.error, -ETIMEDOUT);
    gate_open(&held);
    submit(&queued, run, 0);
    ed_loop_run(&loop);
    CHECK_EQ(queued.dones, 2);
    CHECK_EQ(queued.runs, 1);
    CHECK_EQ(queued.error, 0);
    CHECK(!queued.was_cancelled);
    end();
}

static void a_deadline_that_passes_after_the_pool_is_gone_does_no_harm(void)
{
    struct job running = {0}, queued = {0};
    begin_with_workers(1);
    submit_held(&running, 0);
    submit(&queued, run, 50 * ED_MS);
    gate_open(&held);
    ed_pool_destroy(&pool);
    memset(&pool, 0xA5, sizeof pool);
    let_pass(&queued);
    CHECK_EQ(ed_loop_run(&loop), 0);
    check_done(&running, 0);
    CHECK_EQ(queued.dones, 1);
    CHECK(queued.error == -ECANCELED || queued.error == 0 ||
          queued.error == -ETIMEDOUT);
    check_no_timer_is_left();
    end_without_pool();
}

static void many_deadlines_pass_and_each_task_is_done_once(void)
{
    enum { COUNT = 500 };
    static struct job jobs[COUNT];
    struct job first = {0};
    memset(jobs, 0, sizeof jobs);
    begin_with_workers(1);
    submit_held(&first, 0);
    for (int i = 0; i < COUNT; i++) {
        jobs[i].task.lane = i % 3 == 0 ? ED_LANE_FILES : ED_LANE_WORK;
        submit(&jobs[i], run, i % 2 ? ED_MS : 3600 * ED_S);
    }
    for (int i = 1; i < COUNT; i += 2)
        wait_for(&jobs[i]);
    gate_open(&held);
    ed_loop_run(&loop);
    for (int i = 0; i < COUNT; i++) {
        CHECK(jobs[i].error == 0 || (i % 2 && jobs[i].error == -ETIMEDOUT));
        CHECK(jobs[i].task.lane != ED_LANE_WORK || i % 2 == 0 || jobs[i].error);
        check_done(&jobs[i], jobs[i].error);
    }
    end();
}

TESTS(TEST(a_task_whose_deadline_passes_in_the_queue_is_not_run),
      TEST(a_deadline_that_passes_in_the_batch_is_kept_too),
      TEST(a_deadline_that_has_passed_at_submit_is_told_in_done),
      TEST(a_worker_does_not_begin_what_is_too_late),
      TEST(a_task_that_is_done_in_time_leaves_no_timer),
      TEST(a_deadline_at_the_end_of_time_is_none),
      TEST(a_task_that_runs_at_its_deadline_is_told_and_done_when_it_ends),
      TEST(a_task_cancelled_before_its_deadline_is_done_once),
      TEST(a_task_past_its_deadline_can_be_submitted_anew),
      TEST(a_deadline_that_passes_after_the_pool_is_gone_does_no_harm),
      TEST(many_deadlines_pass_and_each_task_is_done_once))
