#include "pool/pool.h"

#include <errno.h>

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
    int again;          // how often done is to submit it anew
};

/* What tasks belong to. */
struct owner {
    struct ed_task_group group;
    int empties;
    int dones_by_then; // of first_job and those behind it
    struct job *first_job;
    int job_count;
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

static void done(struct ed_task *task)
{
    struct job *job = job_of(task);
    job->dones++;
    job->error = task->error;
    if (task->group)
        CHECK(!ed_task_group_is_empty(task->group));
    if (job->again) {
        job->again--;
        CHECK_EQ(ed_task_submit(&pool, task, run, done), 0);
    }
}

static void submit(struct job *job, struct owner *owner)
{
    job->task.group = owner ? &owner->group : NULL;
    CHECK_EQ(ed_task_submit(&pool, &job->task, run, done), 0);
}

static void submit_held(struct job *job, struct owner *owner)
{
    job->task.group = owner ? &owner->group : NULL;
    CHECK_EQ(ed_task_submit(&pool, &job->task, run_held, done), 0);
    ed_loop_run_once(&loop, 0);
    gate_pass(&began);
}

static void on_empty(struct ed_task_group *group)
{
    struct owner *owner = ED_CONTAINER_OF(group, struct owner, group);
    CHECK(ed_task_group_is_empty(group));
    owner->empties++;
    owner->dones_by_then = 0;
    for (int i = 0; i < owner->job_count; i++)
        owner->dones_by_then += owner->first_job[i].dones;
}

static void check_done(const struct job *job, int error)
{
    CHECK_EQ(job->dones, 1);
    CHECK_EQ(job->error, error);
    CHECK_EQ(job->runs, error == 0);
}

static void a_group_is_empty_at_first_and_nothing_to_cancel(void)
{
    struct owner owner = {.group.on_empty = on_empty};
    CHECK(ed_task_group_is_empty(&owner.group));
    ed_task_group_cancel(&owner.group);
    CHECK(ed_task_group_is_empty(&owner.group));
    CHECK_EQ(owner.empties, 0);
}

static void cancel_ends_what_is_the_groups_and_nothing_else(void)
{
    enum { COUNT = 30 };
    struct job running = {0}, mine[COUNT] = {0}, others[COUNT] = {0};
    struct owner owner = {
        .group.on_empty = on_empty, .first_job = mine, .job_count = COUNT};
    struct owner other = {.group.on_empty = on_empty};
    begin_with_workers(1);
    submit_held(&running, &owner);
    for (int i = 0; i < COUNT; i++) {
        submit(&mine[i], &owner);
        submit(&others[i], i % 2 ? &other : NULL);
        if (i == COUNT / 2)
            ed_loop_run_once(&loop, 0);
    }
    CHECK(!ed_task_group_is_empty(&owner.group));
    ed_task_group_cancel(&owner.group);
    ed_task_group_cancel(&owner.group);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(mine[i].dones, 0);
    for (int turns = 0; turns < 3; turns++)
        ed_loop_run_once(&loop, 0);
    for (int i = 0; i < COUNT; i++)
        check_done(&mine[i], -ECANCELED);
    // One still runs, and knows.
    CHECK_EQ(owner.empties, 0);
    CHECK(!ed_task_group_is_empty(&owner.group));
    gate_open(&held);
    ed_loop_run(&loop);
    check_done(&running, 0);
    CHECK(running.was_cancelled);
    for (int i = 0; i < COUNT; i++)
        check_done(&others[i], 0);
    CHECK_EQ(owner.empties, 1);
    CHECK_EQ(owner.dones_by_then, COUNT);
    CHECK_EQ(other.empties, 1);
    end();
}

static void a_group_is_empty_each_time_that_its_last_task_is_done(void)
{
    enum { COUNT = 10 };
    struct job jobs[COUNT] = {0};
    struct owner owner = {
        .group.on_empty = on_empty, .first_job = jobs, .job_count = COUNT};
    begin_with_workers(4);
    for (int round = 1; round <= 5; round++) {
        for (int i = 0; i < COUNT; i++)
            submit(&jobs[i], &owner);
        ed_loop_run(&loop);
        CHECK_EQ(owner.empties, round);
        CHECK_EQ(owner.dones_by_then, round * COUNT);
        CHECK(ed_task_group_is_empty(&owner.group));
    }
    end();
}

static void a_task_submitted_anew_in_its_done_keeps_the_group(void)
{
    struct job job = {.again = 20};
    struct owner owner = {
        .group.on_empty = on_empty, .first_job = &job, .job_count = 1};
    begin_with_workers(1);
    submit(&job, &owner);
    ed_loop_run(&loop);
    CHECK_EQ(job.dones, 21);
    CHECK_EQ(owner.empties, 1);
    CHECK_EQ(owner.dones_by_then, 21);
    CHECK(job.task.group == &owner.group);
    end();
}

static void nobody_need_be_told_that_a_group_is_empty(void)
{
    struct job job = {0};
    struct owner owner = {0};
    begin_with_workers(1);
    submit(&job, &owner);
    CHECK(!ed_task_group_is_empty(&owner.group));
    ed_loop_run(&loop);
    CHECK(ed_task_group_is_empty(&owner.group));
    end();
}

/* ---- as a connection would use it ---------------------------------------- */

struct connection {
    struct ed_task_group tasks;
    struct ed_task fixed[3];
    int left; // of its tasks
};

static int connections;

struct loose {
    struct ed_task task;
};

static void run_nothing(struct ed_task *task)
{
    (void)task;
}

static void done_of_fixed(struct ed_task *task)
{
    ED_CONTAINER_OF(task->group, struct connection, tasks)->left--;
}

static void done_and_free(struct ed_task *task)
{
    ED_CONTAINER_OF(task->group, struct connection, tasks)->left--;
    free(ED_CONTAINER_OF(task, struct loose, task));
}

static void free_connection(struct ed_task_group *group)
{
    struct connection *connection =
        ED_CONTAINER_OF(group, struct connection, tasks);
    CHECK_EQ(connection->left, 0);
    connections--;
    free(connection);
}

static void open_connection(struct ed_pool *of)
{
    struct connection *connection = calloc(1, sizeof *connection);
    NEED(connection);
    connections++;
    connection->tasks.on_empty = free_connection;
    for (int i = 0; i < 3; i++) {
        connection->fixed[i].group = &connection->tasks;
        connection->fixed[i].lane = (unsigned)i;
        connection->left++;
        CHECK_EQ(ed_task_submit(of, &connection->fixed[i], run_nothing,
                                done_of_fixed),
                 0);
        struct loose *loose = calloc(1, sizeof *loose);
        NEED(loose);
        loose->task.group = &connection->tasks;
        connection->left++;
        CHECK_EQ(ed_task_submit(of, &loose->task, run_nothing, done_and_free),
                 0);
    }
    if (connections % 2)
        ed_task_group_cancel(&connection->tasks);
}

static void the_group_and_its_tasks_can_be_freed_when_it_is_empty(void)
{
    begin_with_workers(2);
    for (int i = 0; i < 50; i++)
        open_connection(&pool);
    ed_loop_run(&loop);
    CHECK_EQ(connections, 0);
    end();
}

static void a_group_outlives_the_pool_and_is_empty_all_the_same(void)
{
    begin_with_workers(2);
    for (int i = 0; i < 50; i++)
        open_connection(&pool);
    ed_pool_destroy(&pool);
    memset(&pool, 0xA5, sizeof pool);
    ed_loop_run(&loop);
    CHECK_EQ(connections, 0);
    end_without_pool();
}

static void what_a_destroyed_pool_left_can_be_cancelled_as_a_group(void)
{
    struct job running = {0}, queued = {0};
    struct owner owner = {.group.on_empty = on_empty};
    begin_with_workers(1);
    submit_held(&running, &owner);
    submit(&queued, &owner);
    gate_open(&held);
    ed_pool_destroy(&pool);
    memset(&pool, 0xA5, sizeof pool);
    ed_task_group_cancel(&owner.group);
    ed_loop_run(&loop);
    CHECK_EQ(running.dones, 1);
    CHECK_EQ(queued.dones, 1);
    CHECK_EQ(owner.empties, 1);
    end_without_pool();
}

static void a_group_can_have_tasks_of_several_pools(void)
{
    struct job a = {0}, b = {0};
    struct owner owner = {.group.on_empty = on_empty};
    struct ed_pool other;
    begin_with_workers(1);
    CHECK_EQ(ed_pool_init(&other, &loop, NULL), 0);
    submit(&a, &owner);
    b.task.group = &owner.group;
    CHECK_EQ(ed_task_submit(&other, &b.task, run, done), 0);
    ed_loop_run(&loop);
    check_done(&a, 0);
    check_done(&b, 0);
    CHECK_EQ(owner.empties, 1);
    ed_pool_destroy(&other);
    end();
}

static void a_refused_task_is_not_in_the_group(void)
{
    struct job a = {0};
    struct owner owner = {.group.on_empty = on_empty};
    begin_with_workers(1);
    pool.request_limit = 1;
    submit_held(&a, NULL);
    struct job b = {.task.group = &owner.group};
    CHECK_EQ(ed_task_submit(&pool, &b.task, run, done), -EAGAIN);
    CHECK(ed_task_group_is_empty(&owner.group));
    gate_open(&held);
    ed_loop_run(&loop);
    CHECK_EQ(owner.empties, 0);
    end();
}

TESTS(TEST(a_group_is_empty_at_first_and_nothing_to_cancel),
      TEST(cancel_ends_what_is_the_groups_and_nothing_else),
      TEST(a_group_is_empty_each_time_that_its_last_task_is_done),
      TEST(a_task_submitted_anew_in_its_done_keeps_the_group),
      TEST(nobody_need_be_told_that_a_group_is_empty),
      TEST(the_group_and_its_tasks_can_be_freed_when_it_is_empty),
      TEST(a_group_outlives_the_pool_and_is_empty_all_the_same),
      TEST(what_a_destroyed_pool_left_can_be_cancelled_as_a_group),
      TEST(a_group_can_have_tasks_of_several_pools),
      TEST(a_refused_task_is_not_in_the_group))
