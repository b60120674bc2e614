#include "pool/pool.h"

#include <errno.h>
#include <pthread.h>

#include "test/gate.h"
#include "test/tap.h"

static struct gate began; // a task that is held has begun
static struct gate held;  // a task that is held may go on
static int at_work;       // tasks that are in their run
static int most_at_work;

/* A loop and its pool. */
struct side {
    struct ed_loop loop;
    struct ed_pool pool;
};

static struct side left, right;

struct job {
    struct ed_task task;
    int runs, dones;
    pthread_t finisher;
    int error;
};

/* Two loops on this thread, so that it is known who does what when. */
static void begin(const struct ed_pool_options *options)
{
    gate_init(&began);
    gate_init(&held);
    at_work = most_at_work = 0;
    CHECK_EQ(ed_loop_init(&left.loop), 0);
    CHECK_EQ(ed_loop_init(&right.loop), 0);
    CHECK_EQ(ed_pool_init(&left.pool, &left.loop, options), 0);
    CHECK_EQ(ed_pool_share(&right.pool, &right.loop, &left.pool), 0);
}

static void end(void)
{
    ed_loop_destroy(&left.loop);
    ed_loop_destroy(&right.loop);
    gate_destroy(&began);
    gate_destroy(&held);
}

static struct job *job_of(struct ed_task *task)
{
    return ED_CONTAINER_OF(task, struct job, task);
}

static void enter(struct job *job)
{
    job->runs++;
    int now = __atomic_add_fetch(&at_work, 1, __ATOMIC_SEQ_CST);
    int most = __atomic_load_n(&most_at_work, __ATOMIC_SEQ_CST);
    while (now > most &&
           !__atomic_compare_exchange_n(&most_at_work, &most, now, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
}

static void leave(void)
{
    __atomic_sub_fetch(&at_work, 1, __ATOMIC_SEQ_CST);
}

static void run(struct ed_task *task)
{
    enter(job_of(task));
    leave();
}

static void run_held(struct ed_task *task)
{
    enter(job_of(task));
    gate_open(&began);
    gate_pass(&held);
    leave();
}

static void done(struct ed_task *task)
{
    struct job *job = job_of(task);
    job->dones++;
    job->finisher = pthread_self();
    job->error = task->error;
}

static void submit(struct side *side, struct job *job)
{
    CHECK_EQ(ed_task_submit(&side->pool, &job->task, run, done), 0);
}

static void submit_held(struct side *side, struct job *job)
{
    CHECK_EQ(ed_task_submit(&side->pool, &job->task, run_held, done), 0);
    ed_loop_run_once(&side->loop, 0);
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

static void a_task_comes_back_to_the_loop_it_was_submitted_on(void)
{
    struct job a = {0}, b = {0};
    begin(NULL);
    submit(&left, &a);
    submit(&right, &b);
    CHECK_EQ(ed_loop_run(&left.loop), 0);
    check_ran(&a);
    CHECK_EQ(b.dones, 0);
    CHECK_EQ(ed_loop_run(&right.loop), 0);
    check_ran(&b);
    ed_pool_destroy(&left.pool);
    ed_pool_destroy(&right.pool);
    end();
}

static void the_limit_of_workers_is_for_all_together(void)
{
    struct job a = {0}, b = {0}, more[2] = {0};
    begin(&(struct ed_pool_options){.workers = 2});
    submit_held(&left, &a);
    submit_held(&right, &b);
    submit(&left, &more[0]);
    submit(&right, &more[1]);
    ed_loop_run_once(&left.loop, 0);
    ed_loop_run_once(&right.loop, 0);
    gate_open(&held);
    gate_open(&held);
    ed_loop_run(&left.loop);
    ed_loop_run(&right.loop);
    CHECK_EQ(most_at_work, 2);
    check_ran(&a);
    check_ran(&b);
    check_ran(&more[0]);
    check_ran(&more[1]);
    ed_pool_destroy(&left.pool);
    ed_pool_destroy(&right.pool);
    end();
}

static void the_request_limit_is_for_each_loop(void)
{
    struct job a = {0}, b = {0}, c = {0};
    begin(&(struct ed_pool_options){.request_limit = 1});
    submit_held(&left, &a);
    submit_held(&right, &b);
    CHECK_EQ(ed_task_submit(&right.pool, &c.task, run, done), -EAGAIN);
    gate_open(&held);
    gate_open(&held);
    ed_loop_run(&left.loop);
    ed_loop_run(&right.loop);
    check_ran(&a);
    check_ran(&b);
    CHECK_EQ(c.dones, 0);
    ed_pool_destroy(&left.pool);
    ed_pool_destroy(&right.pool);
    end();
}

static void destroy_first(struct side *first, struct side *second)
{
    struct job before = {0}, after = {0};
    begin(NULL);
    submit(first, &before);
    ed_loop_run(&first->loop);
    ed_pool_destroy(&first->pool);
    memset(&first->pool, 0xA5, sizeof first->pool);

    submit(second, &after);
    CHECK_EQ(ed_loop_run(&second->loop), 0);
    check_ran(&before);
    check_ran(&after);
    ed_pool_destroy(&second->pool);
    end();
}

static void the_first_pool_may_be_destroyed_first(void)
{
    destroy_first(&left, &right);
}

static void the_second_pool_may_be_destroyed_first(void)
{
    destroy_first(&right, &left);
}

static void destroy_cancels_its_own_tasks_and_waits_for_nobody_elses(void)
{
    enum { COUNT = 10 };
    struct job blocker = {0}, lefts[COUNT] = {0}, rights[COUNT] = {0};
    begin(&(struct ed_pool_options){.workers = 1});
    submit_held(&left, &blocker);
    for (int i = 0; i < COUNT; i++) {
        submit(&left, &lefts[i]);
        submit(&right, &rights[i]);
        ed_loop_run_once(&left.loop, 0);
        ed_loop_run_once(&right.loop, 0);
    }
    ed_pool_destroy(&right.pool);
    CHECK_EQ(ed_loop_run(&right.loop), 0);
    for (int i = 0; i < COUNT; i++) {
        check_cancelled(&rights[i]);
        CHECK_EQ(lefts[i].dones, 0);
    }
    gate_open(&held);
    CHECK_EQ(ed_loop_run(&left.loop), 0);
    check_ran(&blocker);
    for (int i = 0; i < COUNT; i++)
        check_ran(&lefts[i]);
    ed_pool_destroy(&left.pool);
    end();
}

static void a_shared_pool_can_be_shared_on(void)
{
    struct job job = {0};
    struct side third;
    begin(NULL);
    CHECK_EQ(ed_loop_init(&third.loop), 0);
    CHECK_EQ(ed_pool_share(&third.pool, &third.loop, &right.pool), 0);
    ed_pool_destroy(&left.pool);
    ed_pool_destroy(&right.pool);
    submit(&third, &job);
    CHECK_EQ(ed_loop_run(&third.loop), 0);
    check_ran(&job);
    ed_pool_destroy(&third.pool);
    ed_loop_destroy(&third.loop);
    end();
}

static void one_loop_can_have_two_pools(void)
{
    struct job a = {0}, b = {0};
    struct ed_pool other;
    begin(NULL);
    CHECK_EQ(ed_pool_init(&other, &left.loop, NULL), 0);
    submit(&left, &a);
    CHECK_EQ(ed_task_submit(&other, &b.task, run, done), 0);
    CHECK_EQ(ed_loop_run(&left.loop), 0);
    check_ran(&a);
    check_ran(&b);
    ed_pool_destroy(&left.pool);
    CHECK_EQ(ed_task_submit(&other, &b.task, run, done), 0);
    CHECK_EQ(ed_loop_run(&left.loop), 0);
    CHECK_EQ(b.dones, 2);
    ed_pool_destroy(&other);
    ed_pool_destroy(&right.pool);
    end();
}

/* ---- a thread for each loop ---------------------------------------------- */

enum { THREADS = 4, JOBS = 500 };

struct peer {
    struct ed_pool *shared; // from another thread, which keeps it
    struct job jobs[JOBS];
    int failures;
};

static void *use_shared_pool(void *argument)
{
    struct peer *peer = argument;
    struct side side;
    if (ed_loop_init(&side.loop) ||
        ed_pool_share(&side.pool, &side.loop, peer->shared)) {
        peer->failures++;
        return NULL;
    }
    for (int i = 0; i < JOBS; i++) {
        peer->failures +=
            ed_task_submit(&side.pool, &peer->jobs[i].task, run, done) != 0;
        if (i % 50 == 0)
            ed_loop_run_once(&side.loop, 0);
    }
    peer->failures += ed_loop_run(&side.loop) != 0;
    ed_pool_destroy(&side.pool);
    ed_loop_destroy(&side.loop);
    return NULL;
}

static void done_is_called_on_the_thread_of_its_own_loop(void)
{
    static struct peer peers[THREADS];
    pthread_t threads[THREADS];
    struct job mine = {0};
    memset(peers, 0, sizeof peers);
    begin(&(struct ed_pool_options){.workers = 3});
    ed_pool_destroy(&right.pool);
    for (int i = 0; i < THREADS; i++) {
        peers[i].shared = &left.pool;
        NEED(!pthread_create(&threads[i], NULL, use_shared_pool, &peers[i]));
    }
    submit(&left, &mine);
    ed_loop_run(&left.loop);
    check_ran(&mine);
    CHECK(pthread_equal(mine.finisher, pthread_self()));
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK_EQ(peers[i].failures, 0);
        for (int j = 0; j < JOBS; j++) {
            check_ran(&peers[i].jobs[j]);
            CHECK(pthread_equal(peers[i].jobs[j].finisher, threads[i]));
        }
    }
    CHECK(most_at_work <= 3);
    ed_pool_destroy(&left.pool);
    end();
}

static struct gate shared; // the other thread has its pool
static struct gate gone;   // the pool it was shared from is no more

static void *outlive(void *argument)
{
    struct peer *peer = argument;
    struct side side;
    peer->failures += ed_loop_init(&side.loop) != 0;
    peer->failures += ed_pool_share(&side.pool, &side.loop, peer->shared) != 0;
    gate_open(&shared);
    gate_pass(&gone);
    for (int i = 0; i < JOBS; i++)
        peer->failures +=
            ed_task_submit(&side.pool, &peer->jobs[i].task, run, done) != 0;
    peer->failures += ed_loop_run(&side.loop) != 0;
    ed_pool_destroy(&side.pool);
    ed_loop_destroy(&side.loop);
    return NULL;
}

static void another_thread_may_outlive_the_pool_and_the_loop_it_shares(void)
{
    static struct peer peer;
    struct side first;
    pthread_t thread;
    struct job job = {0};
    at_work = most_at_work = 0;
    gate_init(&shared);
    gate_init(&gone);
    CHECK_EQ(ed_loop_init(&first.loop), 0);
    CHECK_EQ(ed_pool_init(&first.pool, &first.loop, NULL), 0);
    submit(&first, &job);
    ed_loop_run(&first.loop);
    peer = (struct peer){.shared = &first.pool};
    NEED(!pthread_create(&thread, NULL, outlive, &peer));
    gate_pass(&shared);
    ed_pool_destroy(&first.pool);
    ed_loop_destroy(&first.loop);
    memset(&first, 0xA5, sizeof first);
    gate_open(&gone);
    pthread_join(thread, NULL);
    CHECK_EQ(peer.failures, 0);
    for (int i = 0; i < JOBS; i++)
        check_ran(&peer.jobs[i]);
    gate_destroy(&shared);
    gate_destroy(&gone);
}

TESTS(TEST(a_task_comes_back_to_the_loop_it_was_submitted_on),
      TEST(the_limit_of_workers_is_for_all_together),
      TEST(the_request_limit_is_for_each_loop),
      TEST(the_first_pool_may_be_destroyed_first),
      TEST(the_second_pool_may_be_destroyed_first),
      TEST(destroy_cancels_its_own_tasks_and_waits_for_nobody_elses),
      TEST(a_shared_pool_can_be_shared_on), TEST(one_loop_can_have_two_pools),
      TEST(done_is_called_on_the_thread_of_its_own_loop),
      TEST(another_thread_may_outlive_the_pool_and_the_loop_it_shares))
