/*
 * pool/pool.c - a loop's side of the pool
 *
 * From submit on a task is in the pool's batch, then in its queue of a lane,
 * then taken by a worker, then a message to the loop (crew.c). What is here
 * runs on the loop's thread and keeps no lock.
 *
 * Note "a pool that is gone": done of a task may come after its pool has been
 * destroyed, and its memory used for something else. By then the task has been
 * taken: it is a message in the loop's queue, or among those that run in this
 * turn. There destroy finds it and notes that it is left to itself
 * (ED_TASK_LEFT); so whoever has a task knows from its place alone whether
 * task->pool may be looked at.
 */
#include "pool/pool.h"

#include <assert.h>
#include <errno.h>

#include "pool/crew.h"

/* So many tasks are handed over at once. */
enum { BATCH = 16 };

/* Of tiny tasks one in so many is measured: to look at the clock costs as much.
 */
enum { MEASURE_ONE_IN = 8 };

static void open_pool(struct ed_pool *pool, struct ed_loop *loop,
                      struct ed_crew *crew, size_t request_limit)
{
    *pool = (struct ed_pool){
        .loop = loop,
        .crew = crew,
        .request_limit = request_limit,
    };
    ed_list_init(&pool->batch);
    for (int i = 0; i < ED_LANES; i++) {
        pool->lanes[i].limit = crew->lanes[i].limit;
        ed_list_init(&pool->queues[i].tasks);
    }
    ed_crew_add_pool(crew);
    // A loop that looks for replies needs a processor, and so do those who work
    // on them.
    unsigned others = crew->processors - 1;
    if (!crew->never_linger)
        loop->linger_requests =
            others < crew->usual_workers ? others : crew->usual_workers;
}

int ed_pool_init(struct ed_pool *pool, struct ed_loop *loop,
                 const struct ed_pool_options *options)
{
    static const struct ed_pool_options defaults;
    if (!options)
        options = &defaults;

    struct ed_crew *crew = NULL;
    int err = ed_crew_create(options, &crew);
    if (err)
        return err;
    open_pool(pool, loop, crew, options->request_limit);
    return 0;
}

int ed_pool_share(struct ed_pool *pool, struct ed_loop *loop,
                  struct ed_pool *other)
{
    open_pool(pool, loop, other->crew, other->request_limit);
    return 0;
}

/* See the note "a pool that is gone". */
static void leave_tasks(const struct ed_pool *pool, struct ed_msg *first)
{
    for (struct ed_msg *msg = first; msg; msg = msg->next) {
        if (msg->fn != ed_pool_finish_task)
            continue;
        struct ed_task *task = ED_CONTAINER_OF(msg, struct ed_task, msg);
        if (task->pool == pool)
            task->place = ED_TASK_LEFT;
    }
}

void ed_pool_destroy(struct ed_pool *pool)
{
    struct ed_loop *loop = pool->loop;
    struct ed_list unrun;
    struct ed_list *link;
    ed_list_init(&unrun);
    ed_hook_stop(&pool->flush);
    ed_hook_stop(&pool->room);
    ed_crew_remove_pool(pool, &unrun);
    loop->linger_requests = 0;
    while ((link = ed_list_pop(&unrun)))
        ed_crew_post(ED_CONTAINER_OF(link, struct ed_task, link), -ECANCELED);

    leave_tasks(pool, loop->taken);
    ed_lock_take(&loop->queue.lock);
    leave_tasks(pool, loop->queue.oldest);
    ed_lock_leave(&loop->queue.lock);
}

/* ---- room ---------------------------------------------------------------- */

static bool is_full(const struct ed_pool *pool, unsigned lane)
{
    const struct ed_pool_lane *it = &pool->lanes[lane];
    return (pool->request_limit && pool->under_way >= pool->request_limit) ||
           (it->limit && it->under_way >= it->limit);
}

/* Returns the lane whose turn it is to be told that there is room, or -1. */
static int lane_to_tell(const struct ed_pool *pool)
{
    for (unsigned i = 1; i <= ED_LANES; i++) {
        unsigned lane = (pool->told_lane + i) % ED_LANES;
        if (pool->refused & 1u << lane && !is_full(pool, lane))
            return (int)lane;
    }
    return -1;
}

/* One lane at a time: the pool may be destroyed by who is told. */
static void tell_room(struct ed_hook *hook)
{
    struct ed_pool *pool = ED_CONTAINER_OF(hook, struct ed_pool, room);
    struct ed_loop *loop = pool->loop;
    ed_pool_room_fn *on_room = pool->on_room;
    int lane = lane_to_tell(pool);
    if (lane < 0)
        return;

    pool->told_lane = (unsigned)lane;
    pool->refused &= ~(1u << lane);
    if (pool->refused)
        ed_hook_tick(loop, hook, tell_room);
    if (!on_room)
        return;
    ed_trace_begin(loop->trace, "room", pool, (ed_trace_callback_fn *)on_room);
    on_room(pool, (unsigned)lane);
    ed_trace_end(loop->trace);
}

/* ---- tasks --------------------------------------------------------------- */

static void leave_lane(struct ed_pool *pool, unsigned lane)
{
    pool->under_way--;
    pool->lanes[lane].under_way--;
    if (pool->refused)
        ed_hook_tick(pool->loop, &pool->room, tell_room);
}

/* The task's done has returned; the task may be gone. */
static void leave_group(struct ed_loop *loop, struct ed_task_group *group)
{
    ed_task_group_fn *on_empty = group->on_empty;
    if (--group->undone || !on_empty)
        return;
    ed_trace_begin(loop->trace, "empty", group,
                   (ed_trace_callback_fn *)on_empty);
    on_empty(group);
    ed_trace_end(loop->trace);
}

void ed_pool_finish_task(struct ed_msg *msg)
{
    struct ed_task *task = ED_CONTAINER_OF(msg, struct ed_task, msg);
    struct ed_loop *loop = task->loop;
    struct ed_task_group *group = task->group;
    if (task->place != ED_TASK_LEFT)
        leave_lane(task->pool, task->lane);
    task->pool = NULL;
    if (task->deadline_ns)
        ed_timer_stop(&task->deadline);
    if (group)
        ed_list_remove(&task->group_link);
    ed_count_take(&loop->requests, 1);
    loop->reply_processor = task->processor;
    ed_trace_tell(loop->trace, ED_TRACE_DONE, task, NULL, task->error);
    ed_trace_begin(loop->trace, "done", task,
                   (ed_trace_callback_fn *)task->done);
    task->done(task);
    ed_trace_end(loop->trace);
    if (group)
        leave_group(loop, group);
}

static void flush(struct ed_hook *hook)
{
    struct ed_pool *pool = ED_CONTAINER_OF(hook, struct ed_pool, flush);
    ed_hook_stop(hook);
    if (pool->batched)
        ed_crew_hand_over(pool);
}

static void put_in_batch(struct ed_pool *pool, struct ed_task *task)
{
    ed_list_append(&pool->batch, &task->link);
    pool->batched++;
    pool->is_timed = pool->is_timed || task->is_measured;

    // The hook is active exactly from the first submit of a turn on.
    bool is_first = !ed_hook_is_active(&pool->flush);
    if (is_first)
        ed_hook_prepare(pool->loop, &pool->flush, flush);
    if (is_first || pool->batched == BATCH)
        ed_crew_hand_over(pool);
}

static void join_group(struct ed_task *task)
{
    struct ed_task_group *group = task->group;
    if (!ed_list_is_linked(&group->tasks))
        ed_list_init(&group->tasks);
    ed_list_append(&group->tasks, &task->group_link);
    group->undone++;
}

/* Returns whether no worker had taken it; then none will. */
static bool call_off(struct ed_task *task, int error)
{
    bool is_ours = ed_crew_take_back(task);
    __atomic_store_n(&task->is_cancelled, true, __ATOMIC_RELAXED);
    if (is_ours)
        ed_crew_post(task, error);
    return is_ours;
}

static void miss_deadline(struct ed_timer *timer)
{
    call_off(ED_CONTAINER_OF(timer, struct ed_task, deadline), -ETIMEDOUT);
}

/* Returns whether the task is still worth beginning; else it is done. */
static bool start_deadline(struct ed_task *task)
{
    uint64_t now_ns = ed_loop_now(task->loop);
    if (task->deadline_ns <= now_ns) {
        task->place = ED_TASK_TAKEN;
        ed_crew_post(task, -ETIMEDOUT);
        return false;
    }
    ed_timer_start(task->loop, &task->deadline, task->deadline_ns - now_ns,
                   miss_deadline);
    return true;
}

int ed_task_submit(struct ed_pool *pool, struct ed_task *task, ed_task_fn *run,
                   ed_task_fn *done)
{
    assert(!task->pool);
    assert(task->lane < ED_LANES);
    struct ed_loop *loop = pool->loop;
    if (is_full(pool, task->lane)) {
        pool->refused |= 1u << task->lane;
        return -EAGAIN;
    }

    // What is not mentioned here is as it has to be: zeroed at first, and left
    // so by each use.
    task->error = 0;
    task->pool = pool;
    task->loop = loop;
    task->run = run;
    task->done = done;
    task->place = ED_TASK_IN_BATCH;
    task->is_cancelled = false;
    task->is_measured = !pool->lanes[task->lane].has_tiny ||
                        pool->submits++ % MEASURE_ONE_IN == 0;
    pool->under_way++;
    pool->lanes[task->lane].under_way++;
    ed_count_add(&loop->requests, 1);
    ed_trace_tell(loop->trace, ED_TRACE_SUBMIT, task, NULL, task->lane);
    if (task->group)
        join_group(task);
    if (task->deadline_ns && !start_deadline(task))
        return 0;
    put_in_batch(pool, task);
    return 0;
}

int ed_task_cancel(struct ed_task *task)
{
    if (!task->pool)
        return -ENOENT;
    return call_off(task, -ECANCELED) ? 0 : -EBUSY;
}

bool ed_task_is_cancelled(const struct ed_task *task)
{
    return __atomic_load_n(&task->is_cancelled, __ATOMIC_RELAXED);
}

/* ---- groups -------------------------------------------------------------- */

void ed_task_group_cancel(struct ed_task_group *group)
{
    if (!ed_list_is_linked(&group->tasks))
        return;
    struct ed_list *link = group->tasks.next;
    for (; link != &group->tasks; link = link->next)
        call_off(ED_CONTAINER_OF(link, struct ed_task, group_link), -ECANCELED);
}

bool ed_task_group_is_empty(const struct ed_task_group *group)
{
    return group->undone == 0;
}

/* ---- metrics ------------------------------------------------------------- */

void ed_pool_metrics(const struct ed_pool *pool,
                     struct ed_pool_metrics *metrics)
{
    ed_crew_metrics(pool->crew, metrics);
}

uint64_t ed_times_quantile(const struct ed_times *times, double part)
{
    double wanted = part * (double)times->count;
    uint64_t seen = 0;
    for (int i = 0; i < ED_TIMES - 1; i++) {
        seen += times->counts[i];
        uint64_t end_ns = (UINT64_C(1) << i) - 1;
        if (seen && (double)seen >= wanted)
            return end_ns < times->longest_ns ? end_ns : times->longest_ns;
    }
    return times->longest_ns;
}
