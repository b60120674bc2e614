/*
 * pool/crew.c - a queue of tasks, and the threads that work it off
 *
 * One lock guards the crew. It is held to move links and counters, never while
 * foreign code runs, a thread is started or a message is posted.
 *
 * A worker is in one of these states:
 *
 *     at work    --queue empty--> lingers (one at a time, ~50 us)
 *        ^                           |
 *        |<--------- a task ---------+--> sleeps (in crew->work)
 *        |<--------- called -----------------+--> retires, after retire_ns
 *        |
 *        +<-- no progress -- on guard (one at a time, while others suffice)
 *
 * Few wake-ups. Waking a thread costs more than most tasks, so one worker at a
 * time is on its way (is_waking): who hands over tasks calls one unless one is
 * on its way or lingers; and who arrives and finds more than its own task calls
 * the next. Both do so after unlocking, or the called one would run into the
 * lock.
 *
 * Few workers. Of tasks that have been found to be short, more workers than
 * processors do not do more, they only contend for the lock. Those that are not
 * needed sleep. But the next task may be a long one in spite of its
 * forerunners, and then those behind it must not wait for it: so as long as
 * tasks are queued and not everybody is at work, one worker stands guard. If in
 * a millisecond nobody took a task, those at work are stuck: until their tasks
 * end they do not count as workers, and as many others go to work.
 *
 * Few wake-ups of the loop. A loop that sleeps is woken by a result. But of
 * short tasks the next result is at hand, and to be woken for each costs the
 * loop, and the workers that it takes the processor from, more than the task.
 * So while more tasks are queued the wake-up is put off until there are 32
 * results (crew->owed). As the next task may turn out to be a long one, that is
 * only done while a guard stands, who makes up for it after at most a
 * millisecond.
 *
 * Note "no task is forgotten": a worker sleeps only if, under the lock, the
 * queue is empty; tasks are queued under the same lock, and whoever queues them
 * sees to it that somebody comes: a worker that lingers looks at the queue once
 * more, under the lock, before it sleeps; one that is on its way does so when
 * it arrives; else one is woken or started. Only if none can be started and
 * there is none do the tasks fail, with -EAGAIN.
 *
 * Leaving. A worker that retires joins the one that retired before it; so
 * whoever joins the last one has joined them all.
 */
#include "pool/crew.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { MOST_UNHEARD = 32, FEWEST_WORKERS = 4 };

/*
 * Tasks that take less than this on average are short, which is less than it
 * takes to wake a thread, or tiny.
 */
static const uint64_t short_ns = 50 * ED_US;
static const uint64_t tiny_ns = ED_US;

/* Of tiny tasks one in so many is measured: to look at the clock costs as much.
 */
enum { MEASURE_ONE_IN = 8 };

/* How long a guard lets nothing happen. */
static const struct timespec guard_time = {.tv_nsec = 1000000};

/* Ten years: longer, and the time of day at its end might not be a time. */
static const uint64_t longest_retire_ns = UINT64_C(315360000) * ED_S;

static const uint64_t default_retire_ns = 10 * ED_S;

/* On a worker's own stack; guarded by the crew's lock. */
struct worker {
    struct ed_list link; // in crew->busy, while it has a task
    bool is_stuck;       // with that task
};

/* What to do, once unlocked, so that a queued task finds a worker. */
enum call { CALL_NOBODY, CALL_SLEEPER, CALL_NEW_WORKER };

static void *work(void *argument);

/* ---- tasks ----------------------------------------------------------- */

/* On the loop's thread. The pool may be gone by now. */
static void finish_task(struct ed_msg *msg)
{
    struct ed_task *task = ED_CONTAINER_OF(msg, struct ed_task, msg);
    struct ed_loop *loop = task->loop;
    task->pool = NULL;
    ed_count_take(&loop->requests, 1);
    loop->reply_processor = task->processor;
    ed_trace_tell(loop->trace, ED_TRACE_DONE, task, NULL, task->error);
    ed_trace_begin(loop->trace, "done", task,
                   (ed_trace_callback_fn *)task->done);
    task->done(task);
    ed_trace_end(loop->trace);
}

/*
 * Any thread. From here on the task is the loop's. Returns whether that sleeps
 * and has to be woken.
 */
static bool post_quietly(struct ed_task *task, int error)
{
    task->error = error;
    ed_trace_tell(ed_trace_read(&task->loop->trace), ED_TRACE_POST, task, NULL,
                  error);
    return ed_loop_post_quietly(task->loop, &task->msg, finish_task);
}

void ed_crew_post(struct ed_task *task, int error)
{
    struct ed_loop *loop = task->loop;
    if (post_quietly(task, error))
        ed_loop_wake_sleeper(loop);
}

static struct ed_task *task_of(struct ed_list *link)
{
    return ED_CONTAINER_OF(link, struct ed_task, link);
}

/* ---- the crew -------------------------------------------------------- */

/* Locked. To be called whenever the queue has changed. */
static void note_work(struct ed_crew *crew)
{
    bool has_work = crew->queued != 0;
    if (crew->has_work != has_work)
        __atomic_store_n(&crew->has_work, has_work, __ATOMIC_RELAXED);
}

/* Locked. There must be one. */
static struct ed_task *take_task(struct ed_crew *crew)
{
    struct ed_task *task = task_of(ed_list_pop(&crew->queue));
    task->place = ED_TASK_TAKEN;
    crew->queued--;
    crew->taken++;
    note_work(crew);
    return task;
}

/* Locked. How many workers can be of use at once, as tasks have been lately. */
static unsigned useful_workers(const struct ed_crew *crew)
{
    if (crew->task_ns >= short_ns)
        return crew->most_workers;
    // With tiny tasks the loop has as much to do as a worker.
    if (crew->task_ns < tiny_ns && crew->processors > 1)
        return crew->processors - 1;
    return crew->processors;
}

/* Locked. Who is to be called for what is in the queue. */
static enum call whom_to_call(struct ed_crew *crew)
{
    if (!crew->queued || crew->is_waking || crew->is_lingering)
        return CALL_NOBODY;
    // The next one would have to stand guard.
    if (crew->is_guarded && crew->at_work >= useful_workers(crew))
        return CALL_NOBODY;
    if (crew->sleeping) {
        crew->is_waking = true;
        return CALL_SLEEPER;
    }
    if (crew->workers < crew->most_workers) {
        crew->is_waking = true;
        crew->workers++;
        return CALL_NEW_WORKER;
    }
    return CALL_NOBODY;
}

/*
 * Locked. A task of the pool has been posted. Until then the pool, and with it
 * the loop posted to, may not be destroyed.
 */
static void leave_pool(struct ed_pool *pool)
{
    pool->running--;
    if (!pool->running)
        pthread_cond_broadcast(&pool->crew->quiet);
}

/* Locked, and unlocked meanwhile. The pool is no longer in crew->owed. */
static void wake_loop_of(struct ed_pool *pool)
{
    struct ed_crew *crew = pool->crew;
    pool->running++; // so that it stays
    pthread_mutex_unlock(&crew->lock);
    ed_loop_wake_sleeper(pool->loop);
    ed_spin_lock(&crew->lock);
    leave_pool(pool);
}

/* Locked, and unlocked meanwhile. */
static void wake_all_owed(struct ed_crew *crew)
{
    struct ed_list *link;
    while ((link = ed_list_pop(&crew->owed)))
        wake_loop_of(ED_CONTAINER_OF(link, struct ed_pool, owed_link));
}

/*
 * Locked, and unlocked meanwhile. A worker has posted a result to the loop of
 * pool. Wakes who has to be woken, or puts it off.
 */
static void wake_loops(struct ed_crew *crew, struct ed_pool *pool,
                       bool is_asleep)
{
    if (is_asleep && !ed_list_is_linked(&pool->owed_link)) {
        ed_list_append(&crew->owed, &pool->owed_link);
        pool->unheard = 0;
    }
    if (ed_list_is_empty(&crew->owed))
        return;
    if (!crew->queued || !crew->is_guarded) {
        wake_all_owed(crew);
    } else if (ed_list_is_linked(&pool->owed_link) &&
               ++pool->unheard == MOST_UNHEARD) {
        ed_list_remove(&pool->owed_link);
        wake_loop_of(pool);
    }
}

/* Signals are for the program's own threads. Returns 0, or an error number. */
static int start_thread(struct ed_crew *crew)
{
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&thread, NULL, work, crew);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

static void start_worker(struct ed_crew *crew)
{
    if (start_thread(crew) == 0)
        return;

    ed_spin_lock(&crew->lock);
    crew->workers--;
    // Others relied on the one that does not come, and those that were at work
    // may have gone to sleep meanwhile.
    crew->is_waking = crew->queued && crew->sleeping;
    if (crew->is_waking)
        pthread_cond_signal(&crew->work);
    while (!crew->workers && crew->queued) {
        struct ed_task *task = take_task(crew);
        struct ed_pool *pool = task->pool;
        pool->running++;
        pthread_mutex_unlock(&crew->lock);
        ed_crew_post(task, -EAGAIN);
        ed_spin_lock(&crew->lock);
        leave_pool(pool);
    }
    pthread_cond_broadcast(&crew->quiet);
    pthread_mutex_unlock(&crew->lock);
}

/* Unlocked. */
static void make_call(struct ed_crew *crew, enum call call)
{
    if (call == CALL_SLEEPER)
        pthread_cond_signal(&crew->work);
    if (call == CALL_NEW_WORKER)
        start_worker(crew);
}

/* Locked, and unlocked meanwhile. */
static void look_for_work(struct ed_crew *crew)
{
    if (crew->never_linger || crew->is_lingering || crew->is_closing ||
        !ed_linger_begin(&crew->linger, ed_poller_processor(),
                         crew->submit_processor))
        return;

    crew->is_lingering = true;
    pthread_mutex_unlock(&crew->lock);
    bool found = ed_spin_until(&crew->has_work, ED_LINGER_NS);
    ed_spin_lock(&crew->lock);
    crew->is_lingering = false;
    ed_linger_end(&crew->linger, found);
}

/*
 * Locked, and unlocked meanwhile. Returns whether to stay: there is a task, or
 * something happened that is worth another look.
 */
static bool sleep_for_work(struct ed_crew *crew)
{
    // On the clock of the day, since not every system has a condition with
    // another; should that jump, a worker leaves early or late.
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    uint64_t nsec = (uint64_t)end.tv_nsec + crew->retire_ns;
    end.tv_sec += (time_t)(nsec / ED_S);
    end.tv_nsec = (long)(nsec % ED_S);

    crew->sleeping++;
    int err = pthread_cond_timedwait(&crew->work, &crew->lock, &end);
    crew->sleeping--;
    crew->is_waking = false;
    return crew->queued || err != ETIMEDOUT;
}

/* Locked, and unlocked meanwhile. */
static void stand_guard(struct ed_crew *crew)
{
    uint64_t taken = crew->taken;
    crew->is_guarded = true;
    pthread_mutex_unlock(&crew->lock);
    // Not in crew->work: this must not depend on the time of day.
    nanosleep(&guard_time, NULL);
    ed_spin_lock(&crew->lock);
    crew->is_guarded = false;
    if (crew->taken == taken) {
        struct ed_list *link = crew->busy.next;
        for (; link != &crew->busy; link = link->next)
            ED_CONTAINER_OF(link, struct worker, link)->is_stuck = true;
        crew->at_work = 0;
    }
    wake_all_owed(crew);
}

/* Locked, and unlocked meanwhile. Returns NULL when the worker is to leave. */
static struct ed_task *next_task(struct ed_crew *crew)
{
    if (!crew->queued)
        look_for_work(crew);
    for (;;) {
        if (crew->queued && crew->at_work < useful_workers(crew))
            return take_task(crew);
        if (crew->queued && !crew->is_guarded)
            stand_guard(crew);
        else if (crew->is_closing || !sleep_for_work(crew))
            return NULL;
    }
}

/* Locked. */
static void begin_work(struct ed_crew *crew, struct worker *worker,
                       struct ed_pool *pool)
{
    worker->is_stuck = false;
    ed_list_append(&crew->busy, &worker->link);
    crew->at_work++;
    pool->running++;
}

/* Locked. */
static void end_work(struct ed_crew *crew, struct worker *worker,
                     struct ed_pool *pool)
{
    ed_list_remove(&worker->link);
    crew->at_work -= !worker->is_stuck;
    leave_pool(pool);
}

/* Locked at first. */
static void retire(struct ed_crew *crew)
{
    bool has_before = crew->has_retired;
    pthread_t before = crew->retired;
    crew->has_retired = true;
    crew->retired = pthread_self();
    crew->workers--;
    pthread_cond_broadcast(&crew->quiet);
    pthread_mutex_unlock(&crew->lock);

    // From here on the crew may be gone.
    if (has_before)
        pthread_join(before, NULL);
}

static void *work(void *argument)
{
    struct ed_crew *crew = argument;
    ed_spin_lock(&crew->lock);
    crew->is_waking = false;
    unsigned number = ++crew->started;

    struct worker self = {0};
    struct ed_task *task;
    while ((task = next_task(crew))) {
        struct ed_pool *pool = task->pool;
        begin_work(crew, &self, pool);
        bool is_measured =
            crew->task_ns >= tiny_ns || crew->taken % MEASURE_ONE_IN == 0;
        enum call call = whom_to_call(crew);
        pthread_mutex_unlock(&crew->lock);
        make_call(crew, call);

        ed_trace_tell(ed_trace_read(&task->loop->trace), ED_TRACE_TAKE, task,
                      NULL, number);
        uint64_t begin_ns = is_measured ? ed_clock_ns() : 0;
        task->run(task);
        uint64_t took_ns = is_measured ? ed_clock_ns() - begin_ns : 0;
        task->processor = ed_poller_processor();
        bool is_asleep = post_quietly(task, 0);

        ed_spin_lock(&crew->lock);
        if (is_measured)
            crew->task_ns = (7 * crew->task_ns + took_ns) / 8;
        wake_loops(crew, pool, is_asleep);
        end_work(crew, &self, pool);
    }
    retire(crew);
    return NULL;
}

static int init_crew(struct ed_crew *crew,
                     const struct ed_pool_options *options)
{
    int err = pthread_mutex_init(&crew->lock, NULL);
    if (err)
        return -err;
    err = pthread_cond_init(&crew->work, NULL);
    if (err)
        goto destroy_lock;
    err = pthread_cond_init(&crew->quiet, NULL);
    if (err)
        goto destroy_work;

    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    ed_list_init(&crew->queue);
    ed_list_init(&crew->busy);
    ed_list_init(&crew->owed);
    crew->submit_processor = -1;
    crew->task_ns = 2 * short_ns; // to be shown otherwise
    crew->processors = processors > 1 ? (unsigned)processors : 1;
    crew->most_workers = options->workers;
    if (!crew->most_workers)
        crew->most_workers = crew->processors > FEWEST_WORKERS
                                 ? crew->processors
                                 : FEWEST_WORKERS;
    crew->retire_ns =
        options->retire_ns ? options->retire_ns : default_retire_ns;
    if (crew->retire_ns > longest_retire_ns)
        crew->retire_ns = longest_retire_ns;
    crew->never_linger = options->never_linger || crew->processors == 1;
    return 0;

destroy_work:
    pthread_cond_destroy(&crew->work);
destroy_lock:
    pthread_mutex_destroy(&crew->lock);
    return -err;
}

int ed_crew_create(const struct ed_pool_options *options,
                   struct ed_crew **created)
{
    struct ed_crew *crew = calloc(1, sizeof *crew);
    if (!crew)
        return -ENOMEM;
    int err = init_crew(crew, options);
    if (err) {
        free(crew);
        return err;
    }
    *created = crew;
    return 0;
}

/* Ends the workers of a crew that no pool uses any more. */
static void free_crew(struct ed_crew *crew)
{
    ed_spin_lock(&crew->lock);
    crew->is_closing = true;
    pthread_cond_broadcast(&crew->work);
    while (crew->workers)
        pthread_cond_wait(&crew->quiet, &crew->lock);
    pthread_mutex_unlock(&crew->lock);

    if (crew->has_retired)
        pthread_join(crew->retired, NULL);
    pthread_cond_destroy(&crew->quiet);
    pthread_cond_destroy(&crew->work);
    pthread_mutex_destroy(&crew->lock);
    free(crew);
}

/* ---- for the pools --------------------------------------------------- */

void ed_crew_add_pool(struct ed_crew *crew)
{
    ed_spin_lock(&crew->lock);
    crew->pools++;
    pthread_mutex_unlock(&crew->lock);
}

void ed_crew_hand_over(struct ed_pool *pool)
{
    struct ed_crew *crew = pool->crew;
    ed_spin_lock(&crew->lock);
    struct ed_list *link;
    while ((link = ed_list_pop(&pool->batch))) {
        task_of(link)->place = ED_TASK_IN_QUEUE;
        ed_list_append(&crew->queue, link);
    }
    crew->queued += pool->batched;
    pool->batched = 0;
    note_work(crew);
    crew->submit_processor = ed_poller_processor();
    enum call call = whom_to_call(crew);
    pthread_mutex_unlock(&crew->lock);
    make_call(crew, call);
}

bool ed_crew_take_back(struct ed_task *task)
{
    struct ed_pool *pool = task->pool;
    struct ed_crew *crew = pool->crew;
    ed_spin_lock(&crew->lock);
    enum ed_task_place place = task->place;
    if (place != ED_TASK_TAKEN) {
        ed_list_remove(&task->link);
        task->place = ED_TASK_TAKEN;
    }
    if (place == ED_TASK_IN_BATCH)
        pool->batched--;
    if (place == ED_TASK_IN_QUEUE)
        crew->queued--;
    note_work(crew);
    pthread_mutex_unlock(&crew->lock);
    return place != ED_TASK_TAKEN;
}

/* Locked. Moves the tasks of one pool out of the queue. */
static void take_all_of(struct ed_pool *pool, struct ed_list *mine)
{
    struct ed_crew *crew = pool->crew;
    struct ed_list others;
    ed_list_init(&others);
    size_t kept = 0;
    while (crew->queued) {
        struct ed_task *task = take_task(crew);
        bool is_mine = task->pool == pool;
        ed_list_append(is_mine ? mine : &others, &task->link);
        if (!is_mine) {
            task->place = ED_TASK_IN_QUEUE;
            kept++;
        }
    }
    ed_list_move_all(&crew->queue, &others);
    crew->queued = kept;
    note_work(crew);
}

void ed_crew_remove_pool(struct ed_pool *pool, struct ed_list *unrun)
{
    struct ed_crew *crew = pool->crew;
    ed_spin_lock(&crew->lock);
    take_all_of(pool, unrun);
    ed_list_move_all(unrun, &pool->batch);
    while (pool->running)
        pthread_cond_wait(&crew->quiet, &crew->lock);
    if (ed_list_is_linked(&pool->owed_link))
        ed_list_remove(&pool->owed_link);
    bool is_last = --crew->pools == 0;
    pthread_mutex_unlock(&crew->lock);
    if (is_last)
        free_crew(crew);
}
