/*
 * pool/crew.c - queues of tasks, and the threads that work them off
 *
 * One lock guards the crew. It is held to move links and counters, never while
 * foreign code runs, a thread is started or a message is posted.
 *
 * Lanes. Each has its own limit of workers, and its tasks their own history of
 * having been short. Threads belong to none: a free one takes from the lane
 * that comes first and has room. As no limit is common, a lane that is blocked
 * keeps nothing from the others. In a lane the pools take turns.
 *
 * A worker is in one of these states:
 *
 *     at work    --nothing wanted--> lingers (one at a time, ~50 us)
 *        ^                              |
 *        |<--------- a task ------------+--> sleeps (in crew->work)
 *        |<--------- called --------------------+--> retires, after retire_ns
 *        |
 *        +<-- no progress -- on guard (one in a lane, while others suffice)
 *
 * Few wake-ups. Waking a thread costs more than most tasks, so one worker at a
 * time is on its way (is_waking): who hands over tasks calls one unless one is
 * on its way or lingers; and who arrives and finds that more are wanted than
 * itself calls the next. Both do so after unlocking, or the called one would
 * run into the lock.
 *
 * Few workers. Of tasks that have been found to be short, more workers than
 * processors do not do more, they only contend for the lock. Those that are not
 * needed sleep. But the next task may be a long one in spite of its
 * forerunners, and then those behind it must not wait for it: so as long as
 * tasks are queued in a lane and it has room for more workers, one stands
 * guard. If in a millisecond nobody took a task there, those at work in it are
 * stuck: until their tasks end they do not count as workers, and as many others
 * go to work.
 *
 * Few wake-ups of the loop. A loop that sleeps is woken by a result. But of
 * short tasks the next result is at hand, and to be woken for each costs the
 * loop, and the workers that it takes the processor from, more than the task.
 * So while more tasks are queued in their lane the wake-up is put off until
 * there are 32 results (crew->owed). As the next task may turn out to be a long
 * one, that is only done while a guard stands there, who makes up for it after
 * at most a millisecond.
 *
 * Note "no task is forgotten": a lane wants a worker while tasks are queued in
 * it and there is room for one at work or on guard. A worker sleeps only if,
 * under the lock, no lane wants one; tasks are queued under the same lock, and
 * whoever makes a lane want one sees to it that somebody comes: a worker that
 * lingers looks at the lanes once more, under the lock, before it sleeps; one
 * that is on its way does so when it arrives; one whose task has ended does so
 * next; else one is woken or started. When there are as many threads as all
 * lanes have room for, and a lane has room, one of them is in none, and so
 * about to look. Only if none can be started and there is none do the tasks
 * fail, with -EAGAIN.
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

/* How long a guard lets nothing happen. */
static const struct timespec guard_time = {.tv_nsec = 1000000};

/* Ten years: longer, and the time of day at its end might not be a time. */
static const uint64_t longest_retire_ns = UINT64_C(315360000) * ED_S;

static const uint64_t default_retire_ns = 10 * ED_S;

/* On a worker's own stack; guarded by the crew's lock. */
struct worker {
    struct ed_list link; // in lane->busy, while it has a task
    bool is_stuck;       // with that task
};

/* What to do, once unlocked, so that a queued task finds a worker. */
enum call { CALL_NOBODY, CALL_SLEEPER, CALL_NEW_WORKER };

static void *work(void *argument);

/* ---- tasks ----------------------------------------------------------- */

/*
 * Any thread. From here on the task is the loop's. Returns whether that sleeps
 * and has to be woken.
 */
static bool post_quietly(struct ed_task *task, int error)
{
    task->error = error;
    ed_trace_tell(ed_trace_read(&task->loop->trace), ED_TRACE_POST, task, NULL,
                  error);
    return ed_loop_post_quietly(task->loop, &task->msg, ed_pool_finish_task);
}

void ed_crew_post(struct ed_task *task, int error)
{
    struct ed_loop *loop = task->loop;
    task->processor = -1;
    if (post_quietly(task, error))
        ed_loop_wake_sleeper(loop);
}

static struct ed_task *task_of(struct ed_list *link)
{
    return ED_CONTAINER_OF(link, struct ed_task, link);
}

/* Locked; but others look at it without the lock. */
static void put_task(struct ed_task *task, enum ed_task_place place)
{
    __atomic_store_n(&task->place, place, __ATOMIC_RELAXED);
}

/* ---- lanes ----------------------------------------------------------- */

static struct ed_lane *lane_of(struct ed_list *link)
{
    return ED_CONTAINER_OF(link, struct ed_lane, link);
}

/* Locked. Behind the lanes of its priority. */
static void list_lane(struct ed_crew *crew, struct ed_lane *lane)
{
    struct ed_list *before = crew->filled.prev;
    while (before != &crew->filled &&
           lane_of(before)->priority < lane->priority)
        before = before->prev;
    ed_list_append(before->next, &lane->link);
}

/* Locked. */
static void queue_task(struct ed_crew *crew, struct ed_task *task)
{
    struct ed_lane *lane = &crew->lanes[task->lane];
    struct ed_pool_queue *queue = &task->pool->queues[task->lane];
    put_task(task, ED_TASK_IN_QUEUE);
    if (ed_list_is_empty(&queue->tasks))
        ed_list_append(&lane->pools, &queue->link);
    ed_list_append(&queue->tasks, &task->link);
    if (lane->queued++ == 0)
        list_lane(crew, lane);
}

/* Locked. Takes a task out of the queue that it is in. */
static void unqueue_task(struct ed_lane *lane, struct ed_pool_queue *queue,
                         struct ed_task *task)
{
    put_task(task, ED_TASK_TAKEN);
    ed_list_remove(&task->link);
    if (ed_list_is_empty(&queue->tasks))
        ed_list_remove(&queue->link);
    if (--lane->queued == 0)
        ed_list_remove(&lane->link);
}

/* Locked. What one of its tasks takes has been measured. */
static void set_task_ns(const struct ed_crew *crew, struct ed_lane *lane,
                        uint64_t task_ns)
{
    lane->task_ns = task_ns;
    lane->useful = crew->processors;
    if (task_ns >= short_ns)
        lane->useful = lane->most_workers;
    // With tiny tasks the loop has as much to do as a worker.
    else if (task_ns < tiny_ns && crew->processors > 1)
        lane->useful = crew->processors - 1;
}

/* Locked. Whether one more may be at work or on guard. */
static bool has_room(const struct ed_lane *lane)
{
    return lane->workers + lane->is_guarded < lane->most_workers;
}

/* Locked. Returns the first lane of which a task can be taken, or NULL. */
static struct ed_lane *lane_to_work_in(struct ed_crew *crew)
{
    struct ed_list *link = crew->filled.next;
    for (; link != &crew->filled; link = link->next) {
        struct ed_lane *lane = lane_of(link);
        if (has_room(lane) && lane->at_work < lane->useful)
            return lane;
    }
    return NULL;
}

/* Locked. Returns the first lane that needs a guard, or NULL. */
static struct ed_lane *lane_to_guard(struct ed_crew *crew)
{
    struct ed_list *link = crew->filled.next;
    for (; link != &crew->filled; link = link->next) {
        struct ed_lane *lane = lane_of(link);
        if (has_room(lane) && !lane->is_guarded)
            return lane;
    }
    return NULL;
}

/* Locked. Whether a lane wants a worker; notes it for who lingers. */
static bool note_wanted(struct ed_crew *crew)
{
    bool is_wanted = false;
    struct ed_list *link = crew->filled.next;
    for (; link != &crew->filled && !is_wanted; link = link->next) {
        const struct ed_lane *lane = lane_of(link);
        is_wanted = has_room(lane) &&
                    (!lane->is_guarded || lane->at_work < lane->useful);
    }
    if (crew->has_work != is_wanted)
        __atomic_store_n(&crew->has_work, is_wanted, __ATOMIC_RELAXED);
    return is_wanted;
}

/* Locked. There must be a task; afterwards it is the others' turn. */
static struct ed_task *take_task(struct ed_crew *crew, struct ed_lane *lane)
{
    struct ed_pool_queue *queue =
        ED_CONTAINER_OF(lane->pools.next, struct ed_pool_queue, link);
    struct ed_task *task = task_of(queue->tasks.next);
    unqueue_task(lane, queue, task);
    // What is alone is next in any case.
    if (lane->pools.next != lane->pools.prev &&
        ed_list_is_linked(&queue->link)) {
        ed_list_remove(&queue->link);
        ed_list_append(&lane->pools, &queue->link);
    }
    if (crew->filled.next != crew->filled.prev &&
        ed_list_is_linked(&lane->link)) {
        ed_list_remove(&lane->link);
        list_lane(crew, lane);
    }
    return task;
}

/* ---- the crew -------------------------------------------------------- */

/* Locked. Who is to be called for what is queued. */
static enum call whom_to_call(struct ed_crew *crew)
{
    if (!note_wanted(crew) || crew->is_waking || crew->is_lingering)
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
    if (!pool->running && pool->crew->leaving)
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
 * Locked, and unlocked meanwhile. A worker has posted a result of this lane to
 * the loop of pool. Wakes who has to be woken, or puts it off.
 */
static void wake_loops(const struct ed_lane *lane, struct ed_pool *pool,
                       bool is_asleep)
{
    struct ed_crew *crew = pool->crew;
    if (is_asleep && !ed_list_is_linked(&pool->owed_link)) {
        ed_list_append(&crew->owed, &pool->owed_link);
        pool->unheard = 0;
    }
    if (ed_list_is_empty(&crew->owed))
        return;
    if (!lane->queued || !lane->is_guarded) {
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
    crew->is_waking = note_wanted(crew) && crew->sleeping;
    if (crew->is_waking)
        pthread_cond_signal(&crew->work);
    while (!crew->workers && !ed_list_is_empty(&crew->filled)) {
        struct ed_task *task = take_task(crew, lane_of(crew->filled.next));
        struct ed_pool *pool = task->pool;
        pool->running++;
        pthread_mutex_unlock(&crew->lock);
        ed_crew_post(task, -EAGAIN);
        ed_spin_lock(&crew->lock);
        leave_pool(pool);
    }
    note_wanted(crew);
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
 * Locked, and unlocked meanwhile. Returns whether to stay: a worker is wanted,
 * or something happened that is worth another look.
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
    return note_wanted(crew) || err != ETIMEDOUT;
}

/* Locked, and unlocked meanwhile. */
static void stand_guard(struct ed_crew *crew, struct ed_lane *lane)
{
    uint64_t taken = lane->taken;
    lane->is_guarded = true;
    enum call call = whom_to_call(crew);
    pthread_mutex_unlock(&crew->lock);
    make_call(crew, call);
    // Not in crew->work: this must not depend on the time of day.
    nanosleep(&guard_time, NULL);
    ed_spin_lock(&crew->lock);
    lane->is_guarded = false;
    if (lane->taken == taken) {
        struct ed_list *link = lane->busy.next;
        for (; link != &lane->busy; link = link->next)
            ED_CONTAINER_OF(link, struct worker, link)->is_stuck = true;
        lane->at_work = 0;
    }
    wake_all_owed(crew);
}

/* Locked, and unlocked meanwhile. Returns NULL when the worker is to leave. */
static struct ed_task *next_task(struct ed_crew *crew)
{
    bool may_look = true;
    for (;;) {
        struct ed_lane *lane = lane_to_work_in(crew);
        if (lane)
            return take_task(crew, lane);
        lane = lane_to_guard(crew);
        if (lane)
            stand_guard(crew, lane);
        else if (may_look)
            look_for_work(crew);
        else if (crew->is_closing || !sleep_for_work(crew))
            return NULL;
        may_look = false;
    }
}

/* Locked. */
static void begin_work(struct ed_lane *lane, struct worker *worker,
                       struct ed_pool *pool)
{
    worker->is_stuck = false;
    ed_list_append(&lane->busy, &worker->link);
    lane->taken++;
    lane->workers++;
    lane->at_work++;
    pool->running++;
}

/* Locked. */
static void end_work(struct ed_lane *lane, struct worker *worker,
                     struct ed_pool *pool)
{
    ed_list_remove(&worker->link);
    lane->workers--;
    lane->at_work -= !worker->is_stuck;
    leave_pool(pool);
}

static void add_time(struct ed_times *times, uint64_t took_ns)
{
    int place = took_ns ? 64 - __builtin_clzll(took_ns) : 0;
    times->counts[place < ED_TIMES ? place : ED_TIMES - 1]++;
    times->count++;
    times->sum_ns += took_ns;
    if (took_ns > times->longest_ns)
        times->longest_ns = took_ns;
}

/* Locked. */
static void note_run(const struct ed_crew *crew, struct ed_lane *lane,
                     uint64_t took_ns)
{
    add_time(&lane->run, took_ns);
    set_task_ns(crew, lane, (7 * lane->task_ns + took_ns) / 8);
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
    int processor = -1;
    struct ed_task *task;
    while ((task = next_task(crew))) {
        struct ed_pool *pool = task->pool;
        struct ed_lane *lane = &crew->lanes[task->lane];
        begin_work(lane, &self, pool);
        bool is_measured = task->is_measured || lane->task_ns >= tiny_ns;
        bool is_last = ed_list_is_empty(&crew->filled);
        enum call call = whom_to_call(crew);
        pthread_mutex_unlock(&crew->lock);
        make_call(crew, call);

        ed_trace_tell(ed_trace_read(&task->loop->trace), ED_TRACE_TAKE, task,
                      NULL, number);
        uint64_t begin_ns =
            is_measured || task->deadline_ns ? ed_clock_ns() : 0;
        uint64_t queued_ns = task->is_measured ? task->queued_ns : 0;
        bool is_late = task->deadline_ns && begin_ns >= task->deadline_ns;
        if (!is_late)
            task->run(task);
        uint64_t end_ns = is_measured && !is_late ? ed_clock_ns() : 0;
        // It matters to a loop that expects few replies.
        if (is_last || processor < 0)
            processor = ed_poller_processor();
        task->processor = processor;
        bool is_asleep = post_quietly(task, is_late ? -ETIMEDOUT : 0);

        ed_spin_lock(&crew->lock);
        if (queued_ns)
            add_time(&lane->wait, begin_ns - queued_ns);
        if (end_ns)
            note_run(crew, lane, end_ns - begin_ns);
        wake_loops(lane, pool, is_asleep);
        end_work(lane, &self, pool);
    }
    retire(crew);
    return NULL;
}

static void init_lane(struct ed_crew *crew, struct ed_lane *lane,
                      const struct ed_lane_options *options)
{
    ed_list_init(&lane->pools);
    ed_list_init(&lane->busy);
    lane->most_workers =
        options->workers ? options->workers : crew->usual_workers;
    set_task_ns(crew, lane, 2 * short_ns); // to be shown otherwise
    lane->priority = options->priority;
    lane->limit = options->limit;
    crew->most_workers += lane->most_workers;
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
    ed_list_init(&crew->filled);
    ed_list_init(&crew->owed);
    crew->submit_processor = -1;
    crew->processors = processors > 1 ? (unsigned)processors : 1;
    crew->usual_workers = options->workers;
    if (!crew->usual_workers)
        crew->usual_workers = crew->processors > FEWEST_WORKERS
                                  ? crew->processors
                                  : FEWEST_WORKERS;
    for (int i = 0; i < ED_LANES; i++)
        init_lane(crew, &crew->lanes[i], &options->lanes[i]);
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
    uint64_t now_ns = pool->is_timed ? ed_clock_ns() : 0;
    pool->is_timed = false;
    ed_spin_lock(&crew->lock);
    struct ed_list *link;
    while ((link = ed_list_pop(&pool->batch))) {
        struct ed_task *task = task_of(link);
        task->queued_ns = now_ns;
        queue_task(crew, task);
        pool->lanes[task->lane].has_tiny =
            crew->lanes[task->lane].task_ns < tiny_ns;
    }
    pool->batched = 0;
    crew->submit_processor = ed_poller_processor();
    enum call call = whom_to_call(crew);
    pthread_mutex_unlock(&crew->lock);
    make_call(crew, call);
}

bool ed_crew_take_back(struct ed_task *task)
{
    // Once it is taken it stays so, and its pool may be gone.
    if (__atomic_load_n(&task->place, __ATOMIC_RELAXED) >= ED_TASK_TAKEN)
        return false;

    struct ed_pool *pool = task->pool;
    struct ed_crew *crew = pool->crew;
    ed_spin_lock(&crew->lock);
    enum ed_task_place place = task->place;
    if (place == ED_TASK_IN_BATCH) {
        put_task(task, ED_TASK_TAKEN);
        ed_list_remove(&task->link);
        pool->batched--;
    } else if (place == ED_TASK_IN_QUEUE) {
        unqueue_task(&crew->lanes[task->lane], &pool->queues[task->lane], task);
        note_wanted(crew);
    }
    pthread_mutex_unlock(&crew->lock);
    return place < ED_TASK_TAKEN;
}

/* Locked. Moves tasks from where they wait; returns how many. */
static size_t take_all(struct ed_list *from, struct ed_list *to)
{
    size_t count = 0;
    struct ed_list *link = from->next;
    for (; link != from; link = link->next) {
        put_task(task_of(link), ED_TASK_TAKEN);
        count++;
    }
    ed_list_move_all(to, from);
    return count;
}

/* Locked. */
static void take_all_of(struct ed_pool *pool, struct ed_list *mine)
{
    for (int i = 0; i < ED_LANES; i++) {
        struct ed_lane *lane = &pool->crew->lanes[i];
        struct ed_pool_queue *queue = &pool->queues[i];
        size_t count = take_all(&queue->tasks, mine);
        if (!count)
            continue;
        ed_list_remove(&queue->link);
        lane->queued -= count;
        if (!lane->queued)
            ed_list_remove(&lane->link);
    }
    take_all(&pool->batch, mine);
    pool->batched = 0;
    note_wanted(pool->crew);
}

void ed_crew_remove_pool(struct ed_pool *pool, struct ed_list *unrun)
{
    struct ed_crew *crew = pool->crew;
    ed_spin_lock(&crew->lock);
    take_all_of(pool, unrun);
    crew->leaving++;
    while (pool->running)
        pthread_cond_wait(&crew->quiet, &crew->lock);
    crew->leaving--;
    if (ed_list_is_linked(&pool->owed_link))
        ed_list_remove(&pool->owed_link);
    bool is_last = --crew->pools == 0;
    pthread_mutex_unlock(&crew->lock);
    if (is_last)
        free_crew(crew);
}

void ed_crew_metrics(struct ed_crew *crew, struct ed_pool_metrics *metrics)
{
    ed_spin_lock(&crew->lock);
    metrics->threads = metrics->idle = crew->workers;
    metrics->started = crew->started;
    for (int i = 0; i < ED_LANES; i++) {
        const struct ed_lane *lane = &crew->lanes[i];
        metrics->idle -= lane->workers;
        metrics->lanes[i] = (struct ed_lane_metrics){
            .queued = lane->queued,
            .running = lane->workers,
            .taken = lane->taken,
            .wait = lane->wait,
            .run = lane->run,
        };
    }
    pthread_mutex_unlock(&crew->lock);
}
