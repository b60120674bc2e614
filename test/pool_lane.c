#include "pool/pool.h"

#include <errno.h>
#include <pthread.h>

#include "test/gate.h"
#include "test/tap.h"

/* A loop and its pool. */
struct side {
    struct ed_loop loop;
    struct ed_pool pool;
};

static struct side left, right;
static struct gate began; // a task that is held has begun
static struct gate held;  // a task that is held may go on
static int begun;         // tasks
static int at_work[ED_LANES];
static int most_at_work[ED_LANES];

struct job {
    struct ed_task task;
    int runs, dones;
    int nth; // to begin
    int error;
    int again; // how often done is to submit it anew
    struct ed_pool *pool;
};

static void begin(const struct ed_pool_options *options)
{
    gate_init(&began);
    gate_init(&held);
    begun = 0;
    memset(at_work, 0, sizeof at_work);
    memset(most_at_work, 0, sizeof most_at_work);
    CHECK_EQ(ed_loop_init(&left.loop), 0);
    CHECK_EQ(ed_pool_init(&left.pool, &left.loop, options), 0);
}

static void end_without_pool(void)
{
    ed_loop_destroy(&left.loop);
    gate_destroy(&began);
    gate_destroy(&held);
}

static void end(void)
{
    ed_pool_destroy(&left.pool);
    end_without_pool();
}

static struct job *job_of(struct ed_task *task)
{
    return ED_CONTAINER_OF(task, struct job, task);
}

static void enter(struct job *job)
{
    unsigned lane = job->task.lane;
    job->runs++;
    job->nth = __atomic_add_fetch(&begun, 1, __ATOMIC_SEQ_CST);
    int now = __atomic_add_fetch(&at_work[lane], 1, __ATOMIC_SEQ_CST);
    int most = __atomic_load_n(&most_at_work[lane], __ATOMIC_SEQ_CST);
    while (now > most &&
           !__atomic_compare_exchange_n(&most_at_work[lane], &most, now, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
}

static void leave(struct job *job)
{
    __atomic_sub_fetch(&at_work[job->task.lane], 1, __ATOMIC_SEQ_CST);
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
    job->error = task->error;
    if (job->again) {
        job->again--;
        CHECK_EQ(ed_task_submit(&left.pool, task, run, done), 0);
    }
}

static int submit_to(struct side *side, struct job *job, unsigned lane)
{
    job->task.lane = lane;
    return ed_task_submit(&side->pool, &job->task, run, done);
}

static int submit(struct job *job, unsigned lane)
{
    return submit_to(&left, job, lane);
}

/* Has the batch handed to the workers. */
static void turn(void)
{
    ed_loop_run_once(&left.loop, 0);
}

static int submit_to_be_held(struct job *job, unsigned lane)
{
    job->task.lane = lane;
    return ed_task_submit(&left.pool, &job->task, run_held, done);
}

/* Returns when the job is in the hands of a worker, and stays there. */
static void submit_held(struct job *job, unsigned lane)
{
    CHECK_EQ(submit_to_be_held(job, lane), 0);
    turn();
    gate_pass(&began);
}

static void let_go(int count)
{
    for (int i = 0; i < count; i++)
        gate_open(&held);
}

static void wait_for(const struct job *job)
{
    while (!job->dones)
        ed_loop_run_once(&left.loop, (int64_t)ED_MS);
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

/* ---- workers ------------------------------------------------------------- */

static void a_lane_that_blocks_leaves_workers_to_each_of_the_others(void)
{
    enum { COUNT = 8 };
    struct job blockers[COUNT] = {0};
    begin(&(struct ed_pool_options){.workers = 2});
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(submit_to_be_held(&blockers[i], ED_LANE_WORK), 0);
    turn();
    gate_pass(&began);
    gate_pass(&began);
    for (int round = 0; round < 20; round++) {
        for (unsigned lane = 1; lane < ED_LANES; lane++) {
            struct job job = {0};
            CHECK_EQ(submit(&job, lane), 0);
            wait_for(&job);
            check_ran(&job);
        }
    }
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(blockers[i].dones, 0);
    let_go(COUNT);
    CHECK_EQ(ed_loop_run(&left.loop), 0);
    for (int i = 0; i < COUNT; i++)
        check_ran(&blockers[i]);
    CHECK_EQ(most_at_work[ED_LANE_WORK], 2);
    end();
}

static void each_lane_has_its_own_most_workers(void)
{
    static const unsigned workers[ED_LANES] = {3, 1, 2, 4, 1, 2, 1, 1};
    enum { EACH = 6 };
    struct job jobs[ED_LANES][EACH] = {0};
    struct ed_pool_options options = {.workers = 4};
    int all = 0;
    for (int lane = 0; lane < ED_LANES; lane++) {
        options.lanes[lane].workers = workers[lane];
        all += (int)workers[lane];
    }
    begin(&options);
    for (int i = 0; i < EACH; i++)
        for (unsigned lane = 0; lane < ED_LANES; lane++)
            CHECK_EQ(submit_to_be_held(&jobs[lane][i], lane), 0);
    turn();
    for (int i = 0; i < all; i++)
        gate_pass(&began);
    let_go(EACH * ED_LANES);
    CHECK_EQ(ed_loop_run(&left.loop), 0);
    for (int lane = 0; lane < ED_LANES; lane++) {
        CHECK_EQ(most_at_work[lane], workers[lane]);
        for (int i = 0; i < EACH; i++)
            check_ran(&jobs[lane][i]);
    }
    end();
}

static void a_lane_that_says_nothing_has_the_pools_workers(void)
{
    enum { COUNT = 9 };
    struct job jobs[COUNT] = {0};
    begin(&(struct ed_pool_options){.workers = 3,
                                    .lanes[ED_LANE_FILES].workers = 1});
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(submit_to_be_held(&jobs[i], ED_LANE_OWN), 0);
    turn();
    for (int i = 0; i < 3; i++)
        gate_pass(&began);
    let_go(COUNT);
    ed_loop_run(&left.loop);
    CHECK_EQ(most_at_work[ED_LANE_OWN], 3);
    end();
}

static void a_lane_of_one_worker_begins_tasks_in_the_order_submitted(void)
{
    enum { COUNT = 100 };
    static struct job mine[COUNT], others[COUNT];
    memset(mine, 0, sizeof mine);
    memset(others, 0, sizeof others);
    begin(&(struct ed_pool_options){.lanes[ED_LANE_OWN].workers = 1});
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(submit(&mine[i], ED_LANE_OWN), 0);
        CHECK_EQ(submit(&others[i], ED_LANE_FILES), 0);
        if (i % 37 == 0)
            turn();
    }
    ed_loop_run(&left.loop);
    for (int i = 1; i < COUNT; i++)
        CHECK(mine[i].nth > mine[i - 1].nth);
    CHECK_EQ(most_at_work[ED_LANE_OWN], 1);
    end();
}

enum { MANY = 64, WARM_UP = 2000, BLOCKER = 20 };

static struct job crowds[2][MANY];
static struct ed_timer patience;

static void lose_patience(struct ed_timer *timer)
{
    (void)timer;
    ed_loop_stop(&left.loop);
}

static void done_of_crowd(struct ed_task *task)
{
    done(task);
    int dones = 0;
    for (int i = 0; i < MANY; i++)
        dones += crowds[0][i].dones + crowds[1][i].dones;
    if (dones == 2 * (MANY - 1))
        ed_loop_stop(&left.loop);
}

/* The timer only ends the waiting for what does not come. */
static void of_each_lanes_short_tasks_one_that_blocks_holds_up_no_other(void)
{
    static const unsigned lanes[] = {ED_LANE_FILES, ED_LANE_OWN};
    struct job short_ones[2] = {{.again = WARM_UP}, {.again = WARM_UP}};
    begin(&(struct ed_pool_options){.workers = 4});
    CHECK_EQ(submit(&short_ones[0], lanes[0]), 0);
    CHECK_EQ(submit(&short_ones[1], lanes[1]), 0);
    ed_loop_run(&left.loop);

    memset(crowds, 0, sizeof crowds);
    for (int i = 0; i < MANY; i++)
        for (int j = 0; j < 2; j++) {
            crowds[j][i].task.lane = lanes[j];
            CHECK_EQ(ed_task_submit(&left.pool, &crowds[j][i].task,
                                    i == BLOCKER ? run_held : run,
                                    done_of_crowd),
                     0);
        }
    ed_timer_start(&left.loop, &patience, 5 * ED_S, lose_patience);
    ed_loop_run(&left.loop);
    ed_timer_stop(&patience);
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(crowds[0][i].dones, i != BLOCKER);
        CHECK_EQ(crowds[1][i].dones, i != BLOCKER);
    }
    let_go(2);
    ed_loop_run(&left.loop);
    end();
}

static void a_task_keeps_its_lane(void)
{
    struct job job = {.again = 10};
    begin(NULL);
    CHECK_EQ(submit(&job, ED_LANE_OWN + 1), 0);
    ed_loop_run(&left.loop);
    CHECK_EQ(job.dones, 11);
    CHECK_EQ(job.task.lane, ED_LANE_OWN + 1);
    end();
}

static void tasks_can_be_cancelled_in_any_lane(void)
{
    struct job blockers[ED_LANES] = {0}, jobs[ED_LANES][3] = {0};
    begin(&(struct ed_pool_options){.workers = 1});
    for (unsigned lane = 0; lane < ED_LANES; lane++)
        submit_held(&blockers[lane], lane);
    for (int i = 0; i < 3; i++)
        for (unsigned lane = 0; lane < ED_LANES; lane++)
            CHECK_EQ(submit(&jobs[lane][i], lane), 0);
    turn();
    for (int lane = 0; lane < ED_LANES; lane++)
        CHECK_EQ(ed_task_cancel(&jobs[lane][lane % 3].task), 0);
    let_go(ED_LANES);
    ed_loop_run(&left.loop);
    for (int lane = 0; lane < ED_LANES; lane++)
        for (int i = 0; i < 3; i++)
            if (i == lane % 3)
                check_cancelled(&jobs[lane][i]);
            else
                check_ran(&jobs[lane][i]);
    end();
}

static void destroy_cancels_what_is_queued_in_any_lane(void)
{
    enum { EACH = 5 };
    struct job blockers[ED_LANES] = {0}, jobs[ED_LANES][EACH] = {0};
    begin(&(struct ed_pool_options){.workers = 1});
    for (unsigned lane = 0; lane < ED_LANES; lane++)
        submit_held(&blockers[lane], lane);
    for (int i = 0; i < EACH; i++)
        for (unsigned lane = 0; lane < ED_LANES; lane++) {
            CHECK_EQ(submit(&jobs[lane][i], lane), 0);
            if (i == 3)
                turn();
        }
    for (int lane = 0; lane < ED_LANES; lane++)
        for (int i = 0; i < EACH; i++)
            CHECK_EQ(jobs[lane][i].dones, 0);
    let_go(ED_LANES);
    ed_pool_destroy(&left.pool);
    memset(&left.pool, 0xA5, sizeof left.pool);
    ed_loop_run(&left.loop);
    for (int lane = 0; lane < ED_LANES; lane++) {
        check_ran(&blockers[lane]);
        for (int i = 0; i < EACH; i++)
            if (jobs[lane][i].runs) // a worker has been quick
                check_ran(&jobs[lane][i]);
            else
                check_cancelled(&jobs[lane][i]);
    }
    end_without_pool();
}

static void a_task_of_a_destroyed_pool_can_be_asked_to_be_cancelled(void)
{
    struct job running = {0}, queued = {0};
    begin(&(struct ed_pool_options){.workers = 1});
    submit_held(&running, 0);
    CHECK_EQ(submit(&queued, 0), 0);
    let_go(1);
    ed_pool_destroy(&left.pool);
    memset(&left.pool, 0xA5, sizeof left.pool);
    CHECK_EQ(ed_task_cancel(&running.task), -EBUSY);
    CHECK_EQ(ed_task_cancel(&queued.task), -EBUSY);
    ed_loop_run(&left.loop);
    CHECK_EQ(running.dones, 1);
    CHECK_EQ(queued.dones, 1);
    CHECK_EQ(ed_task_cancel(&running.task), -ENOENT);
    end_without_pool();
}

/* ---- fairness ------------------------------------------------------------ */

static void pools_that_share_a_lane_take_turns(void)
{
    enum { COUNT = 20 };
    struct job blocker = {0}, lefts[COUNT] = {0}, rights[COUNT] = {0};
    begin(&(struct ed_pool_options){.workers = 1});
    CHECK_EQ(ed_loop_init(&right.loop), 0);
    CHECK_EQ(ed_pool_share(&right.pool, &right.loop, &left.pool), 0);
    submit_held(&blocker, 0);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(submit_to(&left, &lefts[i], 0), 0);
    turn();
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(submit_to(&right, &rights[i], 0), 0);
    ed_loop_run_once(&right.loop, 0);
    let_go(1);
    ed_loop_run(&left.loop);
    ed_loop_run(&right.loop);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(lefts[i].nth, 2 * i + 2);
        CHECK_EQ(rights[i].nth, 2 * i + 3);
    }
    ed_pool_destroy(&right.pool);
    ed_loop_destroy(&right.loop);
    end();
}

/* ---- limits -------------------------------------------------------------- */

static int told[ED_LANES]; // how often that there is room
static int told_in_all;
static struct job *waiting[ED_LANES]; // to be submitted then
static bool is_in_submit;

static void on_room(struct ed_pool *pool, unsigned lane)
{
    CHECK(pool == &left.pool);
    CHECK(!is_in_submit);
    told[lane]++;
    told_in_all++;
    struct job *job = waiting[lane];
    waiting[lane] = NULL;
    if (job)
        CHECK_EQ(submit(job, lane), 0);
}

static void begin_to_be_told(const struct ed_pool_options *options)
{
    begin(options);
    left.pool.on_room = on_room;
    memset(told, 0, sizeof told);
    memset(waiting, 0, sizeof waiting);
    told_in_all = 0;
}

static void at_a_lanes_limit_submit_fails_and_other_lanes_go_on(void)
{
    struct job a = {0}, b = {0}, c = {0}, other = {0};
    begin(&(struct ed_pool_options){.lanes[ED_LANE_NAMES].limit = 2});
    submit_held(&a, ED_LANE_NAMES);
    submit_held(&b, ED_LANE_NAMES);
    CHECK_EQ(submit(&c, ED_LANE_NAMES), -EAGAIN);
    CHECK_EQ(ed_task_cancel(&c.task), -ENOENT);
    CHECK_EQ(submit(&other, ED_LANE_FILES), 0);
    wait_for(&other);
    check_ran(&other);
    let_go(2);
    ed_loop_run(&left.loop);
    CHECK_EQ(c.dones, 0);
    CHECK_EQ(submit(&c, ED_LANE_NAMES), 0);
    ed_loop_run(&left.loop);
    check_ran(&c);
    end();
}

static void who_was_refused_is_told_once_when_there_is_room(void)
{
    struct job a = {0}, b = {0}, c = {0}, d = {0};
    begin_to_be_told(&(struct ed_pool_options){.lanes[3].limit = 2});
    submit_held(&a, 3);
    submit_held(&b, 3);
    is_in_submit = true;
    CHECK_EQ(submit(&c, 3), -EAGAIN);
    CHECK_EQ(submit(&d, 3), -EAGAIN);
    is_in_submit = false;
    CHECK_EQ(told_in_all, 0);
    turn();
    CHECK_EQ(told_in_all, 0);
    let_go(2);
    ed_loop_run(&left.loop);
    CHECK_EQ(told[3], 1);
    CHECK_EQ(told_in_all, 1);
    check_ran(&a);
    check_ran(&b);
    // Nobody was refused again.
    CHECK_EQ(submit(&c, 3), 0);
    ed_loop_run(&left.loop);
    CHECK_EQ(told_in_all, 1);
    end();
}

static void who_is_told_can_submit_and_be_refused_again(void)
{
    struct job a = {0}, b = {0}, c = {0};
    begin_to_be_told(&(struct ed_pool_options){.lanes[3].limit = 1});
    submit_held(&a, 3);
    CHECK_EQ(submit(&b, 3), -EAGAIN);
    waiting[3] = &b;
    let_go(1);
    wait_for(&a);
    turn();
    CHECK_EQ(told_in_all, 1);
    if (!b.dones)
        CHECK(submit(&c, 3) == -EAGAIN || b.dones);
    ed_loop_run(&left.loop);
    check_ran(&b);
    CHECK(told_in_all <= 2);
    end();
}

static void room_that_a_done_has_filled_is_not_told_of(void)
{
    struct job a = {.again = 5}, b = {0};
    begin_to_be_told(&(struct ed_pool_options){.lanes[3].limit = 1});
    submit_held(&a, 3);
    CHECK_EQ(submit(&b, 3), -EAGAIN);
    waiting[3] = &b;
    let_go(1);
    ed_loop_run(&left.loop);
    CHECK_EQ(a.dones, 6);
    check_ran(&b);
    CHECK_EQ(b.nth, 7);
    CHECK_EQ(told_in_all, 1);
    end();
}

static void of_the_request_limit_all_lanes_refused_are_told_in_turn(void)
{
    struct job a = {0}, jobs[ED_LANES] = {0};
    begin_to_be_told(&(struct ed_pool_options){.request_limit = 1});
    submit_held(&a, 3);
    for (unsigned lane = 0; lane < ED_LANES; lane++) {
        CHECK_EQ(submit(&jobs[lane], lane), -EAGAIN);
        waiting[lane] = &jobs[lane];
    }
    let_go(1);
    ed_loop_run(&left.loop);
    for (int lane = 0; lane < ED_LANES; lane++) {
        CHECK_EQ(told[lane], 1);
        check_ran(&jobs[lane]);
    }
    CHECK_EQ(begun, ED_LANES + 1);
    end();
}

static void tasks_that_are_cancelled_make_room(void)
{
    struct job a = {0}, b = {0}, c = {0};
    begin_to_be_told(
        &(struct ed_pool_options){.workers = 1, .lanes[0].limit = 2});
    submit_held(&a, 0);
    CHECK_EQ(submit(&b, 0), 0);
    CHECK_EQ(submit(&c, 0), -EAGAIN);
    CHECK_EQ(ed_task_cancel(&b.task), 0);
    CHECK_EQ(told_in_all, 0);
    wait_for(&b);
    turn();
    CHECK_EQ(told_in_all, 1);
    CHECK_EQ(submit(&c, 0), 0);
    let_go(1);
    ed_loop_run(&left.loop);
    check_ran(&c);
    end();
}

static void the_limit_is_each_pools_own(void)
{
    struct job a = {0}, b = {0}, c = {0}, d = {0};
    begin(&(struct ed_pool_options){.lanes[2].limit = 1});
    CHECK_EQ(ed_loop_init(&right.loop), 0);
    CHECK_EQ(ed_pool_share(&right.pool, &right.loop, &left.pool), 0);
    submit_held(&a, 2);
    CHECK_EQ(submit_to(&right, &b, 2), 0);
    CHECK_EQ(submit_to(&right, &c, 2), -EAGAIN);
    CHECK_EQ(submit_to(&left, &d, 2), -EAGAIN);
    ed_loop_run(&right.loop);
    check_ran(&b);
    let_go(1);
    ed_loop_run(&left.loop);
    ed_pool_destroy(&right.pool);
    ed_loop_destroy(&right.loop);
    end();
}

static void destroy_on_room(struct ed_pool *pool, unsigned lane)
{
    on_room(pool, lane);
    ed_pool_destroy(pool);
    memset(pool, 0xA5, sizeof *pool);
}

static void a_pool_can_be_destroyed_by_who_is_told_of_room(void)
{
    struct job a = {0}, b = {0}, c = {0};
    begin_to_be_told(&(struct ed_pool_options){.request_limit = 2});
    left.pool.on_room = destroy_on_room;
    submit_held(&a, 1);
    submit_held(&b, 2);
    CHECK_EQ(submit(&c, 1), -EAGAIN);
    CHECK_EQ(submit(&c, 2), -EAGAIN);
    CHECK_EQ(submit(&c, 3), -EAGAIN);
    let_go(2);
    ed_loop_run(&left.loop);
    check_ran(&a);
    check_ran(&b);
    CHECK_EQ(told_in_all, 1);
    end_without_pool();
}

static void nobody_is_told_of_room_in_a_pool_that_is_gone(void)
{
    struct job a = {0}, b = {0};
    begin_to_be_told(&(struct ed_pool_options){.request_limit = 1});
    submit_held(&a, 1);
    CHECK_EQ(submit(&b, 1), -EAGAIN);
    let_go(1);
    ed_pool_destroy(&left.pool);
    memset(&left.pool, 0xA5, sizeof left.pool);
    ed_loop_run(&left.loop);
    check_ran(&a);
    CHECK_EQ(told_in_all, 0);
    end_without_pool();
}

static void destroy_and_free(struct ed_task *task)
{
    struct job *job = job_of(task);
    if (job->pool) {
        ed_pool_destroy(job->pool);
        free(job->pool);
    }
    free(job);
}

/* Its other tasks are messages already, of this turn or the next. */
static void a_pool_can_be_freed_in_a_done_with_others_still_to_come(void)
{
    enum { COUNT = 50 };
    for (int breaker = 0; breaker < COUNT; breaker += 7) {
        gate_init(&began);
        gate_init(&held);
        CHECK_EQ(ed_loop_init(&left.loop), 0);
        struct ed_pool *pool = calloc(1, sizeof *pool);
        NEED(pool);
        CHECK_EQ(ed_pool_init(pool, &left.loop, NULL), 0);
        for (int i = 0; i < COUNT; i++) {
            struct job *job = calloc(1, sizeof *job);
            NEED(job);
            job->pool = i == breaker ? pool : NULL;
            job->task.lane = (unsigned)i % ED_LANES;
            CHECK_EQ(ed_task_submit(pool, &job->task, run, destroy_and_free),
                     0);
        }
        if (breaker % 2)
            ed_loop_run_once(&left.loop, 0);
        CHECK_EQ(ed_loop_run(&left.loop), 0);
        end_without_pool();
    }
}

TESTS(TEST(a_lane_that_blocks_leaves_workers_to_each_of_the_others),
      TEST(each_lane_has_its_own_most_workers),
      TEST(a_lane_that_says_nothing_has_the_pools_workers),
      TEST(a_lane_of_one_worker_begins_tasks_in_the_order_submitted),
      TEST(of_each_lanes_short_tasks_one_that_blocks_holds_up_no_other),
      TEST(a_task_keeps_its_lane), TEST(tasks_can_be_cancelled_in_any_lane),
      TEST(destroy_cancels_what_is_queued_in_any_lane),
      TEST(a_task_of_a_destroyed_pool_can_be_asked_to_be_cancelled),
      TEST(pools_that_share_a_lane_take_turns),
      TEST(at_a_lanes_limit_submit_fails_and_other_lanes_go_on),
      TEST(who_was_refused_is_told_once_when_there_is_room),
      TEST(who_is_told_can_submit_and_be_refused_again),
      TEST(room_that_a_done_has_filled_is_not_told_of),
      TEST(of_the_request_limit_all_lanes_refused_are_told_in_turn),
      TEST(tasks_that_are_cancelled_make_room),
      TEST(the_limit_is_each_pools_own),
      TEST(a_pool_can_be_destroyed_by_who_is_told_of_room),
      TEST(nobody_is_told_of_room_in_a_pool_that_is_gone),
      TEST(a_pool_can_be_freed_in_a_done_with_others_still_to_come))
