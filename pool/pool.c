/*
 * pool/pool.c - a loop's side of the pool
 *
 * From submit on a task is in the pool's batch, then in the crew's queue, then
 * taken by a worker, then a message to the loop (crew.c). What is here runs on
 * the loop's thread and keeps no lock.
 */
#include "pool/pool.h"

#include <assert.h>
#include <errno.h>

#include "pool/crew.h"

/* So many tasks are handed over at once. */
enum { BATCH = 16 };

static void open_pool(struct ed_pool *pool, struct ed_loop *loop,
                      struct ed_crew *crew, size_t request_limit)
{
    *pool = (struct ed_pool){
        .loop = loop,
        .crew = crew,
        .request_limit = request_limit,
    };
    ed_list_init(&pool->batch);
    ed_crew_add_pool(crew);
    // A loop that looks for replies needs a processor, and so do those who work
    // on them.
    unsigned others = crew->processors - 1;
    if (!crew->never_linger)
        loop->linger_requests =
            others < crew->most_workers ? others : crew->most_workers;
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

void ed_pool_destroy(struct ed_pool *pool)
{
    struct ed_list unrun;
    struct ed_list *link;
    ed_list_init(&unrun);
    ed_hook_stop(&pool->flush);
    ed_crew_remove_pool(pool, &unrun);
    if (pool->guest)
        pool->guest->leave(pool->guest);
    pool->loop->linger_requests = 0;
    while ((link = ed_list_pop(&unrun)))
        ed_crew_post(ED_CONTAINER_OF(link, struct ed_task, link), -ECANCELED);
}

static void flush(struct ed_hook *hook)
{
    struct ed_pool *pool = ED_CONTAINER_OF(hook, struct ed_pool, flush);
    ed_hook_stop(hook);
    if (pool->batched)
        ed_crew_hand_over(pool);
}

/* Returns 0, or -EAGAIN at the limit. */
static int begin_task(struct ed_pool *pool, struct ed_task *task,
                      ed_task_fn *run, ed_task_fn *done)
{
    assert(!task->pool);
    struct ed_loop *loop = pool->loop;
    if (pool->request_limit && loop->requests >= pool->request_limit)
        return -EAGAIN;

    *task = (struct ed_task){
        .pool = pool,
        .place = ED_TASK_IN_BATCH,
        .processor = -1,
        .loop = loop,
        .run = run,
        .done = done,
    };
    ed_count_add(&loop->requests, 1);
    ed_trace_tell(loop->trace, ED_TRACE_SUBMIT, task, NULL, 0);
    return 0;
}

int ed_task_submit(struct ed_pool *pool, struct ed_task *task, ed_task_fn *run,
                   ed_task_fn *done)
{
    int err = begin_task(pool, task, run, done);
    if (err)
        return err;
    struct ed_loop *loop = pool->loop;
    ed_list_append(&pool->batch, &task->link);
    pool->batched++;

    // The hook is active exactly from the first submit of a turn on.
    bool is_first = !ed_hook_is_active(&pool->flush);
    if (is_first)
        ed_hook_prepare(loop, &pool->flush, flush);
    if (is_first || pool->batched == BATCH)
        ed_crew_hand_over(pool);
    return 0;
}

int ed_task_submit_finished(struct ed_pool *pool, struct ed_task *task,
                            ed_task_fn *done)
{
    int err = begin_task(pool, task, NULL, done);
    if (err)
        return err;
    // It says nothing of where a worker's reply will come from.
    task->processor = pool->loop->reply_processor;
    task->place = ED_TASK_TAKEN;
    ed_crew_post(task, 0);
    return 0;
}

int ed_task_cancel(struct ed_task *task)
{
    if (!task->pool)
        return -ENOENT;

    bool is_ours = ed_crew_take_back(task);
    __atomic_store_n(&task->is_cancelled, true, __ATOMIC_RELAXED);
    if (!is_ours)
        return -EBUSY;
    ed_crew_post(task, -ECANCELED);
    return 0;
}

bool ed_task_is_cancelled(const struct ed_task *task)
{
    return __atomic_load_n(&task->is_cancelled, __ATOMIC_RELAXED);
}
