#include "pool/pool.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#include "test/gate.h"
#include "test/tap.h"

static struct ed_loop loop;
static struct ed_pool pool;
static struct gate began; // a task that is held has begun
static struct gate held;  // a task that is held may go on

struct job {
    struct ed_task task;
    int dones;
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

static void end(void)
{
    ed_pool_destroy(&pool);
    ed_loop_destroy(&loop);
    gate_destroy(&began);
    gate_destroy(&held);
}

static void run(struct ed_task *task)
{
    (void)task;
}

static void run_held(struct ed_task *task)
{
    (void)task;
    gate_open(&began);
    gate_pass(&held);
}

static void let_pass(uint64_t ns)
{
    uint64_t end_ns = ed_clock_ns() + ns;
    while (ed_clock_ns() < end_ns)
        poll(NULL, 0, 1);
}

static void run_for_a_while(struct ed_task *task)
{
    (void)task;
    let_pass(3 * ED_MS);
}

static void done(struct ed_task *task)
{
    ED_CONTAINER_OF(task, struct job, task)->dones++;
}

static void submit(struct job *job, ed_task_fn *fn)
{
    CHECK_EQ(ed_task_submit(&pool, &job->task, fn, done), 0);
}

static const struct ed_lane_metrics *read_lane(unsigned lane)
{
    static struct ed_pool_metrics metrics;
    ed_pool_metrics(&pool, &metrics);
    return &metrics.lanes[lane];
}

static void a_fresh_pool_has_done_nothing(void)
{
    struct ed_pool_metrics metrics;
    begin_with_workers(1);
    memset(&metrics, 0xA5, sizeof metrics);
    ed_pool_metrics(&pool, &metrics);
    CHECK_EQ(metrics.threads, 0);
    CHECK_EQ(metrics.idle, 0);
    CHECK_EQ(metrics.started, 0);
    for (int i = 0; i < ED_LANES; i++) {
        CHECK_EQ(metrics.lanes[i].queued, 0);
        CHECK_EQ(metrics.lanes[i].running, 0);
        CHECK_EQ(metrics.lanes[i].taken, 0);
        CHECK_EQ(metrics.lanes[i].wait.count, 0);
        CHECK_EQ(metrics.lanes[i].run.count, 0);
    }
    end();
}

static void tasks_are_counted_in_their_lanes(void)
{
    struct ed_pool_metrics metrics;
    struct job first = {0}, queued[5] = {0}, other = {.task.lane = 3};
    begin_with_workers(1);
    submit(&first, run_held);
    ed_loop_run_once(&loop, 0);
    gate_pass(&began);
    for (int i = 0; i < 5; i++)
        submit(&queued[i], run);
    submit(&other, run_held);
    ed_loop_run_once(&loop, 0);
    gate_pass(&began);

    ed_pool_metrics(&pool, &metrics);
    CHECK_EQ(metrics.threads, 2);
    CHECK_EQ(metrics.idle, 0);
    CHECK_EQ(metrics.started, 2);
    CHECK_EQ(metrics.lanes[0].queued, 5);
    CHECK_EQ(metrics.lanes[0].running, 1);
    CHECK_EQ(metrics.lanes[0].taken, 1);
    CHECK_EQ(metrics.lanes[3].queued, 0);
    CHECK_EQ(metrics.lanes[3].running, 1);
    CHECK_EQ(metrics.lanes[3].taken, 1);

    CHECK_EQ(ed_task_cancel(&queued[2].task), 0);
    CHECK_EQ(read_lane(0)->queued, 4);
    gate_open(&held);
    gate_open(&held);
    ed_loop_run(&loop);
    CHECK_EQ(read_lane(0)->queued, 0);
    CHECK_EQ(read_lane(0)->taken, 5);
    CHECK_EQ(read_lane(3)->taken, 1);
    CHECK_EQ(read_lane(1)->taken, 0);
    end();
}

static void what_a_task_waits_and_runs_is_measured(void)
{
    struct job first = {0}, second = {0};
    begin_with_workers(1);
    submit(&first, run_held);
    ed_loop_run_once(&loop, 0);
    gate_pass(&began);
    submit(&second, run_for_a_while);
    ed_loop_run_once(&loop, 0);
    let_pass(2 * ED_MS);
    gate_open(&held);
    ed_loop_run(&loop);
    while (read_lane(0)->run.count < 2)
        poll(NULL, 0, 1); // it is counted when the message has been sent
    const struct ed_lane_metrics *lane = read_lane(0);
    CHECK_EQ(lane->wait.count, 2);
    CHECK(lane->wait.longest_ns >= 2 * ED_MS);
    CHECK(lane->wait.sum_ns >= lane->wait.longest_ns);
    CHECK(lane->run.longest_ns >= 3 * ED_MS);
    CHECK(ed_times_quantile(&lane->wait, 1) == lane->wait.longest_ns);
    CHECK(ed_times_quantile(&lane->run, 0.99) >= 3 * ED_MS);
    end();
}

static void what_is_not_run_has_no_time(void)
{
    struct job first = {0}, late = {0};
    begin_with_workers(1);
    submit(&first, run_held);
    ed_loop_run_once(&loop, 0);
    gate_pass(&began);
    ed_loop_update_now(&loop);
    late.task.deadline_ns = ed_loop_now(&loop) + ED_MS;
    submit(&late, run);
    while (!late.dones)
        ed_loop_run_once(&loop, (int64_t)ED_MS);
    CHECK_EQ(late.task.error, -ETIMEDOUT);
    gate_open(&held);
    ed_loop_run(&loop);
    CHECK(read_lane(0)->run.count <= 1);
    end();
}

static void of_many_tasks_all_are_counted_and_enough_are_measured(void)
{
    enum { COUNT = 4000 };
    static struct job jobs[COUNT];
    memset(jobs, 0, sizeof jobs);
    begin_with_workers(2);
    for (int i = 0; i < COUNT; i++)
        submit(&jobs[i], run);
    ed_loop_run(&loop);
    const struct ed_lane_metrics *lane = read_lane(0);
    CHECK_EQ(lane->taken, COUNT);
    CHECK(lane->wait.count >= COUNT / 16);
    CHECK(lane->run.count >= COUNT / 16);
    CHECK(lane->wait.count <= COUNT);
    uint64_t sum = 0;
    for (int i = 0; i < ED_TIMES; i++)
        sum += lane->wait.counts[i];
    CHECK_EQ(sum, lane->wait.count);
    end();
}

static bool is_over;

static void *watch_pool(void *argument)
{
    uint64_t taken = 0;
    (void)argument;
    while (!__atomic_load_n(&is_over, __ATOMIC_SEQ_CST)) {
        struct ed_pool_metrics metrics;
        ed_pool_metrics(&pool, &metrics);
        if (metrics.lanes[0].taken < taken || metrics.threads < metrics.idle ||
            metrics.lanes[0].running > 2)
            return &is_over; // wrong
        taken = metrics.lanes[0].taken;
    }
    return NULL;
}

static void any_thread_can_read_them_meanwhile(void)
{
    enum { COUNT = 200 };
    static struct job jobs[COUNT];
    pthread_t thread;
    void *wrong;
    memset(jobs, 0, sizeof jobs);
    is_over = false;
    begin_with_workers(2);
    NEED(!pthread_create(&thread, NULL, watch_pool, NULL));
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < COUNT; i++)
            submit(&jobs[i], run);
        ed_loop_run(&loop);
    }
    __atomic_store_n(&is_over, true, __ATOMIC_SEQ_CST);
    pthread_join(thread, &wrong);
    CHECK(!wrong);
    end();
}

static void quantiles_are_right_to_a_power_of_two(void)
{
    struct ed_times times = {0};
    CHECK_EQ(ed_times_quantile(&times, 0.5), 0);
    times.counts[0] = 1;
    times.count = 1;
    CHECK_EQ(ed_times_quantile(&times, 0.5), 0);
    times.counts[10] = 98; // 512 to 1023
    times.counts[20] = 1;
    times.count = 100;
    times.longest_ns = 600000;
    CHECK_EQ(ed_times_quantile(&times, 0), 0);
    CHECK_EQ(ed_times_quantile(&times, 0.5), 1023);
    CHECK_EQ(ed_times_quantile(&times, 0.99), 1023);
    CHECK_EQ(ed_times_quantile(&times, 0.995), 600000);
    CHECK_EQ(ed_times_quantile(&times, 1), 600000);
    times = (struct ed_times){.count = 1, .longest_ns = UINT64_MAX};
    times.counts[ED_TIMES - 1] = 1;
    CHECK(ed_times_quantile(&times, 0.5) == UINT64_MAX);
}

TESTS(TEST(a_fresh_pool_has_done_nothing),
      TEST(tasks_are_counted_in_their_lanes),
      TEST(what_a_task_waits_and_runs_is_measured),
      TEST(what_is_not_run_has_no_time),
      TEST(of_many_tasks_all_are_counted_and_enough_are_measured),
      TEST(any_thread_can_read_them_meanwhile),
      TEST(quantiles_are_right_to_a_power_of_two))
