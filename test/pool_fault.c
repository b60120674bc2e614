/*
 * The linker gives us the library's calls of these functions first
 * (-Wl,--wrap): to have them fail, to count them, and to know to the point what
 * another thread is at.
 */
#include "pool/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "test/gate.h"
#include "test/tap.h"

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*fn)(void *), void *argument);
int __real_pthread_mutex_init(pthread_mutex_t *lock,
                              const pthread_mutexattr_t *attributes);
int __real_pthread_mutex_destroy(pthread_mutex_t *lock);
int __real_pthread_cond_init(pthread_cond_t *condition,
                             const pthread_condattr_t *attributes);
int __real_pthread_cond_destroy(pthread_cond_t *condition);
int __real_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *lock);
int __real_pthread_cond_timedwait(pthread_cond_t *condition,
                                  pthread_mutex_t *lock,
                                  const struct timespec *end);
bool __real_ed_loop_post_quietly(struct ed_loop *to, struct ed_msg *msg,
                                 ed_msg_fn *fn);
int __real_nanosleep(const struct timespec *time, struct timespec *left);
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*fn)(void *), void *argument);
int __wrap_pthread_mutex_init(pthread_mutex_t *lock,
                              const pthread_mutexattr_t *attributes);
int __wrap_pthread_mutex_destroy(pthread_mutex_t *lock);
int __wrap_pthread_cond_init(pthread_cond_t *condition,
                             const pthread_condattr_t *attributes);
int __wrap_pthread_cond_destroy(pthread_cond_t *condition);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *lock);
int __wrap_pthread_cond_timedwait(pthread_cond_t *condition,
                                  pthread_mutex_t *lock,
                                  const struct timespec *end);
bool __wrap_ed_loop_post_quietly(struct ed_loop *to, struct ed_msg *msg,
                                 ed_msg_fn *fn);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void __wrap_free(void *memory);

/* ---- faults -------------------------------------------------------------- */

struct fault {
    int calls;       // so far
    int first, last; // to fail, counted from 1; 0: none
};

static struct fault threads, locks, conditions, memory;
static int locks_there, conditions_there, memory_there;

static struct gate began;  // a task that is held has begun
static struct gate held;   // a task that is held may go on
static struct gate asleep; // a worker sleeps, since the lock was last free
static void (*before_thread_fails)(void);
static struct gate *opened_by_wait; // as destroy begins to wait for a task
static struct ed_loop *slow_loop;   // posting to it takes until returns opens
static struct gate returns;
static int guards;          // how often a worker stood guard
static int64_t sleep_end_s; // until when a worker would sleep

static int add(int *number, int by)
{
    return __atomic_add_fetch(number, by, __ATOMIC_SEQ_CST);
}

static bool fails(struct fault *fault)
{
    int nth = add(&fault->calls, 1);
    return fault->first <= nth && nth <= fault->last;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*fn)(void *), void *argument)
{
    if (!fails(&threads))
        return __real_pthread_create(thread, attributes, fn, argument);
    if (before_thread_fails)
        before_thread_fails();
    return EAGAIN;
}

int __wrap_pthread_mutex_init(pthread_mutex_t *lock,
                              const pthread_mutexattr_t *attributes)
{
    if (fails(&locks))
        return EAGAIN;
    locks_there++;
    return __real_pthread_mutex_init(lock, attributes);
}

int __wrap_pthread_mutex_destroy(pthread_mutex_t *lock)
{
    locks_there--;
    return __real_pthread_mutex_destroy(lock);
}

int __wrap_pthread_cond_init(pthread_cond_t *condition,
                             const pthread_condattr_t *attributes)
{
    if (fails(&conditions))
        return ENOMEM;
    conditions_there++;
    return __real_pthread_cond_init(condition, attributes);
}

int __wrap_pthread_cond_destroy(pthread_cond_t *condition)
{
    conditions_there--;
    return __real_pthread_cond_destroy(condition);
}

int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *lock)
{
    if (opened_by_wait)
        gate_open(opened_by_wait);
    opened_by_wait = NULL;
    return __real_pthread_cond_wait(condition, lock);
}

/* The lock is held: who gets it after us finds the worker asleep. */
int __wrap_pthread_cond_timedwait(pthread_cond_t *condition,
                                  pthread_mutex_t *lock,
                                  const struct timespec *end)
{
    __atomic_store_n(&sleep_end_s, (int64_t)end->tv_sec, __ATOMIC_SEQ_CST);
    gate_open(&asleep);
    return __real_pthread_cond_timedwait(condition, lock, end);
}

bool __wrap_ed_loop_post_quietly(struct ed_loop *to, struct ed_msg *msg,
                                 ed_msg_fn *fn)
{
    bool is_slow = to == __atomic_load_n(&slow_loop, __ATOMIC_SEQ_CST);
    bool is_asleep = __real_ed_loop_post_quietly(to, msg, fn);
    if (!is_slow)
        return is_asleep;

    // What else there is to be done, before the long time that it takes.
    if (is_asleep)
        ed_loop_wake_sleeper(to);
    gate_pass(&returns);
    return false;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    add(&guards, 1);
    return __real_nanosleep(time, left);
}

static void *note_memory(void *got)
{
    if (got)
        add(&memory_there, 1);
    return got;
}

void *__wrap_malloc(size_t size)
{
    return fails(&memory) ? NULL : note_memory(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails(&memory) ? NULL : note_memory(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    if (fails(&memory))
        return NULL;
    void *got = __real_realloc(old, size);
    return old ? got : note_memory(got);
}

void __wrap_free(void *old)
{
    if (old)
        add(&memory_there, -1);
    __real_free(old);
}

/* ---- the pool of the tests ----------------------------------------------- */

static struct ed_loop loop;
static struct ed_pool pool;

struct job {
    struct ed_task task;
    int runs, dones;
    int nth; // to run
    int error;
};

static int begun; // tasks

static void begin(const struct ed_pool_options *options)
{
    threads = locks = conditions = memory = (struct fault){0};
    before_thread_fails = NULL;
    opened_by_wait = NULL;
    slow_loop = NULL;
    begun = 0;
    gate_init(&began);
    gate_init(&held);
    gate_init(&asleep);
    CHECK_EQ(ed_loop_init(&loop), 0);
    CHECK_EQ(ed_pool_init(&pool, &loop, options), 0);
}

static void end(void)
{
    ed_pool_destroy(&pool);
    ed_loop_destroy(&loop);
    gate_destroy(&began);
    gate_destroy(&held);
    gate_destroy(&asleep);
}

static struct job *job_of(struct ed_task *task)
{
    return ED_CONTAINER_OF(task, struct job, task);
}

static void run(struct ed_task *task)
{
    job_of(task)->runs++;
    job_of(task)->nth = add(&begun, 1);
}

static void run_held(struct ed_task *task)
{
    job_of(task)->runs++;
    gate_open(&began);
    gate_pass(&held);
}

static void done(struct ed_task *task)
{
    job_of(task)->dones++;
    job_of(task)->error = task->error;
}

static int submit(struct job *job)
{
    return ed_task_submit(&pool, &job->task, run, done);
}

static void submit_held(struct job *job)
{
    CHECK_EQ(ed_task_submit(&pool, &job->task, run_held, done), 0);
    ed_loop_run_once(&loop, 0);
    gate_pass(&began);
}

static void check_done(const struct job *job, int error)
{
    CHECK_EQ(job->dones, 1);
    CHECK_EQ(job->error, error);
    CHECK_EQ(job->runs, error == 0);
}

/* ---- init ---------------------------------------------------------------- */

/* Returns how many calls can fail. */
static int init_with_each_call_failing(struct fault *fault, int error)
{
    for (int nth = 1;; nth++) {
        int locks_before = locks_there, conditions_before = conditions_there;
        int memory_before = memory_there;
        CHECK_EQ(ed_loop_init(&loop), 0);
        *fault = (struct fault){.first = nth, .last = nth};
        int err = ed_pool_init(&pool, &loop, NULL);
        *fault = (struct fault){0};
        CHECK(err == 0 || err == error);
        if (!err)
            ed_pool_destroy(&pool);
        ed_loop_destroy(&loop);
        CHECK_EQ(locks_there, locks_before);
        CHECK_EQ(conditions_there, conditions_before);
        CHECK_EQ(memory_there, memory_before);
        if (!err || nth == 20)
            return nth - 1;
    }
}

static void init_without_memory_fails_and_leaves_nothing(void)
{
    CHECK(init_with_each_call_failing(&memory, -ENOMEM) >= 1);
}

static void init_without_a_lock_fails_and_leaves_nothing(void)
{
    CHECK(init_with_each_call_failing(&locks, -EAGAIN) >= 1);
}

static void init_without_a_condition_fails_and_leaves_nothing(void)
{
    CHECK(init_with_each_call_failing(&conditions, -ENOMEM) >= 1);
}

/* ---- threads ------------------------------------------------------------- */

static void without_any_thread_tasks_are_done_with_eagain(void)
{
    enum { COUNT = 40 };
    struct job jobs[COUNT] = {0};
    begin(NULL);
    threads = (struct fault){.first = 1, .last = INT32_MAX};
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(submit(&jobs[i]), 0);
        for (int j = 0; j <= i; j++)
            CHECK_EQ(jobs[j].dones, 0);
    }
    CHECK_EQ(ed_loop_run(&loop), 0);
    for (int i = 0; i < COUNT; i++)
        check_done(&jobs[i], -EAGAIN);
    end();
}

static void once_threads_can_be_started_again_tasks_are_run(void)
{
    struct job failed = {0}, good = {0};
    begin(NULL);
    threads = (struct fault){.first = 1, .last = 1};
    CHECK_EQ(submit(&failed), 0);
    ed_loop_run(&loop);
    check_done(&failed, -EAGAIN);
    CHECK_EQ(submit(&good), 0);
    ed_loop_run(&loop);
    check_done(&good, 0);
    end();
}

static void a_task_that_found_no_thread_is_past_cancelling(void)
{
    struct job job = {0};
    begin(NULL);
    threads = (struct fault){.first = 1, .last = 1};
    CHECK_EQ(submit(&job), 0);
    CHECK_EQ(ed_task_cancel(&job.task), -EBUSY);
    ed_loop_run(&loop);
    check_done(&job, -EAGAIN);
    end();
}

static void a_pool_without_any_thread_can_be_destroyed_at_once(void)
{
    struct job a = {0}, b = {0};
    begin(NULL);
    threads = (struct fault){.first = 1, .last = INT32_MAX};
    CHECK_EQ(submit(&a), 0);
    CHECK_EQ(submit(&b), 0);
    ed_pool_destroy(&pool);
    ed_loop_run(&loop);
    check_done(&a, -EAGAIN);
    check_done(&b, -ECANCELED);
    CHECK_EQ(ed_pool_init(&pool, &loop, NULL), 0);
    end();
}

static void with_one_worker_there_everything_is_still_done(void)
{
    enum { COUNT = 100 };
    struct job first = {0}, jobs[COUNT] = {0};
    begin(&(struct ed_pool_options){.workers = 8});
    submit_held(&first);
    threads = (struct fault){.first = 1, .last = INT32_MAX};
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(submit(&jobs[i]), 0);
        if (i % 9 == 0)
            ed_loop_run_once(&loop, 0);
    }
    CHECK(threads.calls > 0);
    gate_open(&held);
    CHECK_EQ(ed_loop_run(&loop), 0);
    check_done(&first, 0);
    for (int i = 0; i < COUNT; i++)
        check_done(&jobs[i], 0);
    end();
}

static void whichever_thread_fails_each_task_is_done_once(void)
{
    enum { COUNT = 60, LIMIT = 4 };
    for (int nth = 1; nth <= LIMIT + 1; nth++) {
        struct job jobs[COUNT] = {0};
        begin(&(struct ed_pool_options){.workers = LIMIT, .retire_ns = 1});
        threads = (struct fault){.first = nth, .last = nth + 1};
        for (int i = 0; i < COUNT; i++) {
            CHECK_EQ(submit(&jobs[i]), 0);
            if (i % 7 == 0)
                ed_loop_run_once(&loop, 0);
        }
        CHECK_EQ(ed_loop_run(&loop), 0);
        for (int i = 0; i < COUNT; i++) {
            CHECK(jobs[i].error == 0 || jobs[i].error == -EAGAIN);
            check_done(&jobs[i], jobs[i].error);
        }
        end();
    }
}

static void a_failed_start_leaves_the_signal_mask_as_it_was(void)
{
    struct job job = {0};
    sigset_t before, after;
    begin(NULL);
    threads = (struct fault){.first = 1, .last = 1};
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    CHECK_EQ(submit(&job), 0);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    CHECK_EQ(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
    ed_loop_run(&loop);
    end();
}

/* So it is seen what a worker that is free takes first. */
static void one_thread_goes_by_the_priority_of_lanes_then_in_turn(void)
{
    enum { EACH = 3 };
    static const int priorities[] = {0, 0, 5, 0, -1};
    static const int nths[][EACH] = {
        {4, 7, 10}, {5, 8, 11}, {1, 2, 3}, {6, 9, 12}, {13, 14, 15}};
    enum { LANES = sizeof nths / sizeof *nths };
    struct ed_pool_options options = {.workers = 2};
    struct job first = {0}, jobs[LANES][EACH] = {0};
    for (int lane = 0; lane < LANES; lane++)
        options.lanes[lane].priority = priorities[lane];
    begin(&options);
    submit_held(&first);
    threads = (struct fault){.first = 1, .last = INT32_MAX};
    for (int i = 0; i < EACH; i++)
        for (unsigned lane = 0; lane < LANES; lane++) {
            jobs[lane][i].task.lane = lane;
            CHECK_EQ(submit(&jobs[lane][i]), 0);
        }
    ed_loop_run_once(&loop, 0);
    gate_open(&held);
    ed_loop_run(&loop);
    for (int lane = 0; lane < LANES; lane++)
        for (int i = 0; i < EACH; i++) {
            check_done(&jobs[lane][i], 0);
            CHECK_EQ(jobs[lane][i].nth, nths[lane][i]);
        }
    end();
}

static void without_any_thread_the_tasks_of_all_lanes_fail(void)
{
    struct job jobs[ED_LANES][5] = {0};
    begin(NULL);
    threads = (struct fault){.first = 1, .last = INT32_MAX};
    for (int i = 0; i < 5; i++)
        for (unsigned lane = 0; lane < ED_LANES; lane++) {
            jobs[lane][i].task.lane = lane;
            CHECK_EQ(submit(&jobs[lane][i]), 0);
        }
    ed_loop_run(&loop);
    for (int lane = 0; lane < ED_LANES; lane++)
        for (int i = 0; i < 5; i++)
            check_done(&jobs[lane][i], -EAGAIN);
    end();
}

static struct ed_loop other_loop;
static struct ed_pool other_pool;
static struct job other_job;

/*
 * Meanwhile the only worker has done all there was and gone to sleep, and then
 * another loop submits a task, for which nobody is called: a worker is on its
 * way, it seems.
 */
static void submit_to_a_sleeping_worker(void)
{
    gate_open(&held);
    gate_pass(&asleep);
    CHECK_EQ(ed_task_submit(&other_pool, &other_job.task, run, done), 0);
}

static void a_task_that_relied_on_a_thread_that_failed_is_not_forgotten(void)
{
    struct job a = {0}, b = {0}, late = {0};
    other_job = (struct job){0};
    begin(&(struct ed_pool_options){
        .workers = 2, .retire_ns = 3600 * ED_S, .never_linger = true});
    CHECK_EQ(ed_loop_init(&other_loop), 0);
    CHECK_EQ(ed_pool_share(&other_pool, &other_loop, &pool), 0);
    submit_held(&a);
    threads = (struct fault){.first = 1, .last = 1};
    before_thread_fails = submit_to_a_sleeping_worker;
    CHECK_EQ(submit(&b), 0);
    ed_loop_run(&loop);
    check_done(&a, 0);
    check_done(&b, 0);

    // That long only if it is forgotten; then the next task calls a worker.
    ed_loop_run_once(&other_loop, (int64_t)(5 * ED_S));
    ed_loop_run_once(&other_loop, 0);
    check_done(&other_job, 0);
    CHECK_EQ(submit(&late), 0);
    ed_loop_run(&loop);
    ed_loop_run(&other_loop);
    ed_pool_destroy(&other_pool);
    ed_loop_destroy(&other_loop);
    end();
}

static struct gate may_submit, submitted;
static bool is_destroyed;

static void let_other_submit(void)
{
    gate_open(&may_submit);
    gate_pass(&submitted);
    __atomic_store_n(&slow_loop, &other_loop, __ATOMIC_SEQ_CST);
}

/* Its task fails on the thread whose pthread_create failed. */
static void *submit_and_leave(void *argument)
{
    (void)argument;
    gate_pass(&may_submit);
    CHECK_EQ(ed_task_submit(&other_pool, &other_job.task, run, done), 0);
    gate_open(&submitted);
    CHECK_EQ(ed_loop_run(&other_loop), 0);
    opened_by_wait = &returns;
    ed_pool_destroy(&other_pool);
    __atomic_store_n(&is_destroyed, opened_by_wait != NULL, __ATOMIC_SEQ_CST);
    if (opened_by_wait)
        gate_open(&returns);
    ed_loop_destroy(&other_loop);
    return NULL;
}

/*
 * A loop may be destroyed after its pool: then nobody may be in the middle of
 * posting to it.
 */
static void destroy_waits_for_who_is_posting_to_the_loop(void)
{
    struct job job = {0};
    pthread_t thread;
    other_job = (struct job){0};
    is_destroyed = false;
    gate_init(&may_submit);
    gate_init(&submitted);
    gate_init(&returns);
    begin(NULL);
    CHECK_EQ(ed_loop_init(&other_loop), 0);
    CHECK_EQ(ed_pool_share(&other_pool, &other_loop, &pool), 0);
    NEED(!__real_pthread_create(&thread, NULL, submit_and_leave, NULL));
    threads = (struct fault){.first = 1, .last = 1};
    before_thread_fails = let_other_submit;
    CHECK_EQ(submit(&job), 0);
    CHECK(!__atomic_load_n(&is_destroyed, __ATOMIC_SEQ_CST));
    pthread_join(thread, NULL);
    ed_loop_run(&loop);
    check_done(&job, -EAGAIN);
    check_done(&other_job, -EAGAIN);
    end();
    gate_destroy(&may_submit);
    gate_destroy(&submitted);
    gate_destroy(&returns);
}

/* ---- without faults, but with a close look ------------------------------- */

static void one_worker_is_enough_for_one_task_after_the_other(void)
{
    begin(&(struct ed_pool_options){.never_linger = true});
    for (int i = 0; i < 50; i++) {
        struct job job = {0};
        CHECK_EQ(submit(&job), 0);
        ed_loop_run(&loop);
        check_done(&job, 0);
        gate_pass(&asleep);
    }
    CHECK_EQ(threads.calls, 1);
    end();
}

static void one_worker_does_the_work_of_all_lanes(void)
{
    begin(&(struct ed_pool_options){.never_linger = true});
    for (unsigned i = 0; i < 40; i++) {
        struct job job = {.task.lane = i % ED_LANES};
        CHECK_EQ(submit(&job), 0);
        ed_loop_run(&loop);
        check_done(&job, 0);
        gate_pass(&asleep);
    }
    CHECK_EQ(threads.calls, 1);
    end();
}

static void there_are_as_many_threads_as_the_lanes_have_workers(void)
{
    enum { EACH = 3, MOST = 2 * ED_LANES };
    struct job jobs[ED_LANES][EACH] = {0};
    begin(&(struct ed_pool_options){.workers = 2});
    for (int i = 0; i < EACH; i++)
        for (unsigned lane = 0; lane < ED_LANES; lane++) {
            jobs[lane][i].task.lane = lane;
            CHECK_EQ(ed_task_submit(&pool, &jobs[lane][i].task, run_held, done),
                     0);
        }
    ed_loop_run_once(&loop, 0);
    for (int i = 0; i < MOST; i++)
        gate_pass(&began);
    CHECK_EQ(__atomic_load_n(&threads.calls, __ATOMIC_SEQ_CST), MOST);
    for (int i = 0; i < EACH * ED_LANES; i++)
        gate_open(&held);
    ed_loop_run(&loop);
    CHECK_EQ(threads.calls, MOST);
    end();
}

static void a_worker_that_is_to_stay_for_ever_stays(void)
{
    static const uint64_t long_times[] = {3600 * ED_S, (uint64_t)INT64_MAX,
                                          UINT64_MAX - ED_S, UINT64_MAX};
    for (size_t i = 0; i < sizeof long_times / sizeof *long_times; i++) {
        struct job job = {0};
        begin(&(struct ed_pool_options){.retire_ns = long_times[i],
                                        .never_linger = true});
        CHECK_EQ(submit(&job), 0);
        ed_loop_run(&loop);
        gate_pass(&asleep);
        CHECK(__atomic_load_n(&sleep_end_s, __ATOMIC_SEQ_CST) >
              (int64_t)time(NULL) + 1800);
        end();
    }
}

static void destroy_cancels_all_that_is_queued_behind_a_running_task(void)
{
    enum { COUNT = 40 };
    struct job running = {0}, jobs[COUNT] = {0};
    begin(&(struct ed_pool_options){.workers = 1});
    submit_held(&running);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(submit(&jobs[i]), 0);
        if (i == COUNT / 2)
            ed_loop_run_once(&loop, 0);
    }
    opened_by_wait = &held;
    ed_pool_destroy(&pool);
    CHECK(!opened_by_wait);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(jobs[i].dones, 0);
    CHECK_EQ(running.dones, 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    check_done(&running, 0);
    for (int i = 0; i < COUNT; i++)
        check_done(&jobs[i], -ECANCELED);
    CHECK_EQ(ed_pool_init(&pool, &loop, NULL), 0);
    end();
}

/*
 * Of tiny tasks few workers take any, and one stands guard lest they all be
 * held up. Once it has seen that they are, others do the work: not one task for
 * each guard, which would make a pool a thousand times slower.
 */
static void one_guard_sees_that_a_task_blocks_not_each_task_anew(void)
{
    enum { COUNT = 1000 };
    static struct job jobs[COUNT];
    struct job tiny = {0}, blocker = {0};
    memset(jobs, 0, sizeof jobs);
    begin(&(struct ed_pool_options){.workers = 4});
    for (int i = 0; i < 2 * COUNT; i++) {
        CHECK_EQ(submit(&tiny), 0);
        ed_loop_run(&loop);
    }
    submit_held(&blocker);
    __atomic_store_n(&guards, 0, __ATOMIC_SEQ_CST);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(submit(&jobs[i]), 0);
    for (int dones = 0; dones < COUNT;) {
        ed_loop_run_once(&loop, ED_MS);
        dones = 0;
        for (int i = 0; i < COUNT; i++)
            dones += jobs[i].dones;
    }
    CHECK(__atomic_load_n(&guards, __ATOMIC_SEQ_CST) < COUNT / 4);
    CHECK_EQ(blocker.dones, 0);
    gate_open(&held);
    ed_loop_run(&loop);
    for (int i = 0; i < COUNT; i++)
        check_done(&jobs[i], 0);
    check_done(&blocker, 0);
    end();
}

static void tasks_allocate_nothing(void)
{
    enum { COUNT = 300 };
    static struct job jobs[COUNT];
    struct job first = {0};
    memset(jobs, 0, sizeof jobs);
    begin(NULL);
    int before = memory.calls;
    CHECK_EQ(submit(&first), 0);
    ed_loop_run(&loop);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(submit(&jobs[i]), 0);
        if (i % 5 == 0)
            ed_task_cancel(&jobs[i].task);
        if (i % 31 == 0)
            ed_loop_run(&loop);
    }
    ed_loop_run(&loop);
    CHECK_EQ(memory.calls, before);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(jobs[i].dones, 1);
    end();
}

TESTS(TEST(init_without_memory_fails_and_leaves_nothing),
      TEST(init_without_a_lock_fails_and_leaves_nothing),
      TEST(init_without_a_condition_fails_and_leaves_nothing),
      TEST(without_any_thread_tasks_are_done_with_eagain),
      TEST(once_threads_can_be_started_again_tasks_are_run),
      TEST(a_task_that_found_no_thread_is_past_cancelling),
      TEST(a_pool_without_any_thread_can_be_destroyed_at_once),
      TEST(with_one_worker_there_everything_is_still_done),
      TEST(whichever_thread_fails_each_task_is_done_once),
      TEST(a_failed_start_leaves_the_signal_mask_as_it_was),
      TEST(one_thread_goes_by_the_priority_of_lanes_then_in_turn),
      TEST(without_any_thread_the_tasks_of_all_lanes_fail),
      TEST(a_task_that_relied_on_a_thread_that_failed_is_not_forgotten),
      TEST(destroy_waits_for_who_is_posting_to_the_loop),
      TEST(one_worker_is_enough_for_one_task_after_the_other),
      TEST(one_worker_does_the_work_of_all_lanes),
      TEST(there_are_as_many_threads_as_the_lanes_have_workers),
      TEST(a_worker_that_is_to_stay_for_ever_stays),
      TEST(destroy_cancels_all_that_is_queued_behind_a_running_task),
      TEST(one_guard_sees_that_a_task_blocks_not_each_task_anew),
      TEST(tasks_allocate_nothing))
