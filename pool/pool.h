/*
 * pool/pool.h - the other threads: work that may block, and its way home
 *
 *     struct ed_pool pool;
 *     struct ed_task task = {0};
 *
 *     ed_pool_init(&pool, &loop, NULL);
 *     ed_task_submit(&pool, &task, run, done);
 *     ed_loop_run(&loop);
 *     ed_pool_destroy(&pool);
 *
 *     loop's thread                        a worker
 *
 *     ed_task_submit() ----- queue ----->  task->run(task)
 *                                             |
 *     task->done(task) <--- message -------- done
 *
 * A pool serves one loop. The threads behind it can serve several:
 * ed_pool_share makes a pool for another loop on the same ones. They are
 * started when there is work, up to a limit for each lane, and leave when there
 * has been none for a while. Any does the work of any lane, so there are never
 * more than the workers of all lanes together that have been used.
 *
 * A task is the pool's from submit until its done begins: once, on the loop's
 * thread, whatever happens. Those of one pool and lane are begun in the order
 * submitted; pools that share threads take turns. Nothing here is copied and,
 * but for the threads, nothing is allocated by a submit.
 *
 * Everything belongs to the loop's thread, but for run and
 * ed_task_is_cancelled. The workers block all signals. After fork, the child
 * has no workers and may use no pool of its parent's.
 */
#ifndef EDDY_POOL_POOL_H
#define EDDY_POOL_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop/loop.h"

struct ed_crew; // the threads; see crew.h

/* ---- lanes ----------------------------------------------------------- */

/*
 * Work of one kind has a lane of its own. However much of it blocks, and for
 * however long, it takes no worker from the others.
 */
enum {
    ED_LANE_WORK,  // the program's computing
    ED_LANE_FILES, // fs
    ED_LANE_NAMES, // names.h
    ED_LANE_OWN,   // from here on: what the program says
    ED_LANES = 8,
};

struct ed_lane_options {
    unsigned workers; // most at once; 0: as the pool's options say
    size_t limit;     // most tasks of a pool under way; 0: any number
    int priority;     // who is free looks at higher ones first; mostly 0
};

/* ---- the pool -------------------------------------------------------- */

struct ed_pool_options {
    unsigned workers;     // most at once in a lane that does not say it itself;
                          // 0: as many as processors, at least 4
    uint64_t retire_ns;   // a worker without work leaves after; 0: 10 s
    size_t request_limit; // most tasks of a pool under way; 0: any number

    /*
     * Without work, one worker and a loop that awaits few replies look for it
     * up to 50 us before they sleep, where that has been found to pay. True:
     * never.
     */
    bool never_linger;

    struct ed_lane_options lanes[ED_LANES];
};

struct ed_pool;

typedef void ed_pool_room_fn(struct ed_pool *pool, unsigned lane);

/* A pool's tasks that wait for a worker of one lane. */
struct ed_pool_queue {
    struct ed_list tasks; // oldest first
    struct ed_list link;  // in the lane's list, while there are any
};

/* What a pool knows of a lane on its loop's thread. */
struct ed_pool_lane {
    size_t limit;
    size_t under_way; // tasks submitted and not done
    bool has_tiny;    // tasks, as far as is known: not all are measured
};

struct ed_pool {
    // Yours to set, after init. Called once there is room again in a lane that
    // a submit was refused for; from a turn of the loop. May be NULL.
    ed_pool_room_fn *on_room;

    // private
    struct ed_loop *loop;
    struct ed_crew *crew;
    size_t request_limit;
    size_t under_way;     // tasks submitted and not done
    struct ed_list batch; // tasks not yet handed to the workers
    unsigned batched;     // how many
    unsigned submits;     // ever
    bool is_timed;        // one of the batch is to be measured
    struct ed_hook flush; // does so before the loop waits
    unsigned refused;     // bit l: so was a submit to lane l
    unsigned told_lane;   // that on_room was called for last
    struct ed_hook room;  // to call it
    struct ed_pool_lane lanes[ED_LANES];

    // Guarded by the crew's lock, and apart from what the loop writes.
    char apart[ED_CACHE_LINE];
    unsigned running;         // tasks that workers have
    unsigned unheard;         // results since a wake-up of the loop was put off
    struct ed_list owed_link; // in crew->owed, meanwhile
    struct ed_pool_queue queues[ED_LANES];
};

/* ---- tasks ----------------------------------------------------------- */

struct ed_task;

typedef void ed_task_fn(struct ed_task *task);

enum ed_task_place {
    ED_TASK_IN_BATCH,
    ED_TASK_IN_QUEUE,
    ED_TASK_TAKEN, // by a worker, or it has failed; its message will come
    ED_TASK_LEFT,  // so it will, but the pool is no more
};

struct ed_task_group;

struct ed_task {
    // Yours to set, before submit; they stay as they are. The group that it
    // belongs to until it is done, or NULL.
    struct ed_task_group *group;

    // When it is no longer worth beginning, on the clock of ed_loop_now(); 0:
    // always. Then it is not run, and done comes with -ETIMEDOUT. If it runs
    // already, ed_task_is_cancelled() is true from then on, and done comes when
    // run has returned.
    uint64_t deadline_ns;

    unsigned lane; // 0: ED_LANE_WORK

    // Yours to read, in done. 0: it ran; -ECANCELED; -ETIMEDOUT; -EAGAIN: no
    // thread could be started.
    int error;

    // private
    struct ed_pool *pool; // NULL: not submitted
    struct ed_loop *loop;
    ed_task_fn *run;
    ed_task_fn *done;
    enum ed_task_place place; // changed under the crew's lock
    bool is_cancelled;
    bool is_measured;
    union {
        uint64_t queued_ns; // when it was handed over, if measured; then
        int processor;      // where it ran; -1: it did not
    };
    union {
        struct ed_list link; // in the pool's batch or queue; then
        struct ed_msg msg;
    };
    struct ed_list group_link;
    struct ed_timer deadline; // started only if there is one
};

/*
 * options may be NULL. Returns 0, or -errno (-ENOMEM) with nothing left to
 * destroy. No thread is started yet. The loop has to outlive the pool.
 */
int ed_pool_init(struct ed_pool *pool, struct ed_loop *loop,
                 const struct ed_pool_options *options);

/*
 * Any thread that owns loop, while other exists. A pool for loop with the
 * threads of other; what of the options concerns threads is as there. Returns
 * 0. Either may be destroyed first.
 */
int ed_pool_share(struct ed_pool *pool, struct ed_loop *loop,
                  struct ed_pool *other);

/*
 * Cancels the tasks that have not begun and waits for those that run; if no
 * pool is left that shares its threads, ends them. The memory is the caller's
 * again when it returns, but done of those tasks is still to come: run the
 * loop.
 */
void ed_pool_destroy(struct ed_pool *pool);

/*
 * Has run called on a worker and then done on the loop's thread, never from
 * within this call. If run is not called task->error says why. Returns 0, or
 * -EAGAIN when the limit of the lane or request_limit is reached: then nothing
 * is called but, when there is room again, pool->on_room.
 *
 * The first task of a turn is handed to the workers at once, the others
 * together, at the latest when the loop is about to wait.
 */
int ed_task_submit(struct ed_pool *pool, struct ed_task *task, ed_task_fn *run,
                   ed_task_fn *done);

/*
 * Returns 0 if no worker had taken it: run is not called, and done comes soon
 * with an error of -ECANCELED. Else -EBUSY: it runs, did, or is about to, and
 * done comes as it would have; ed_task_is_cancelled() is true from now on.
 * -ENOENT: it is not submitted.
 */
int ed_task_cancel(struct ed_task *task);

/* Any thread; for a run that can leave early. */
bool ed_task_is_cancelled(const struct ed_task *task);

/* ---- groups ---------------------------------------------------------- */

/*
 * The tasks that belong to one thing, such as a connection: to be cancelled,
 * and waited for, together.
 *
 *     connection->tasks.on_empty = free_connection;
 *     task->group = &connection->tasks;     of each task, before submit
 *     ...
 *     ed_task_group_cancel(&connection->tasks);
 *     if (ed_task_group_is_empty(&connection->tasks))
 *         free_connection(&connection->tasks);
 *
 * A group is the loop's thread's, which its tasks are submitted on, to any
 * pools. It has to exist while it is not empty; it is not while a task is under
 * way or in its done.
 */
typedef void ed_task_group_fn(struct ed_task_group *group);

struct ed_task_group {
    // Yours to set. Called when the done of the last task has returned; here
    // the group may be freed, or used anew. May be NULL.
    ed_task_group_fn *on_empty;

    // private
    struct ed_list tasks; // all zero: there has been none
    size_t undone;        // tasks whose done has not returned
};

/*
 * Cancels all tasks that are under way, each as ed_task_cancel() does. Calls
 * nothing. Those that are submitted afterwards are not concerned.
 */
void ed_task_group_cancel(struct ed_task_group *group);

bool ed_task_group_is_empty(const struct ed_task_group *group);

/* ---- metrics --------------------------------------------------------- */

enum { ED_TIMES = 40 };

/* How long something took, each time. */
struct ed_times {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t longest_ns;
    // [i]: how many took 2^(i-1) ns or more, but less than 2^i; of the last one
    // also all that took longer. [0]: none at all.
    uint64_t counts[ED_TIMES];
};

struct ed_lane_metrics {
    uint64_t queued;      // tasks that wait for a worker
    uint64_t running;     // that a worker has
    uint64_t taken;       // that a worker has or had, ever
    struct ed_times wait; // from being handed to the workers to being taken
    struct ed_times run;
};

struct ed_pool_metrics {
    unsigned threads; // there, or being started
    unsigned idle;    // those of them that have no task
    uint64_t started; // ever
    struct ed_lane_metrics lanes[ED_LANES];
};

/*
 * Any thread, from init to destroy. What the pool's threads do, for all pools
 * that share them, at one moment. It is always counted; the times are those of
 * every task, or of one in eight in a lane whose tasks have been found to take
 * less than a microsecond.
 */
void ed_pool_metrics(const struct ed_pool *pool,
                     struct ed_pool_metrics *metrics);

/*
 * The time that this part of all (0.5: half of them; 0.99) was not longer than,
 * to the next power of two: never less than it was, at most twice as much. 0:
 * there has been none.
 */
uint64_t ed_times_quantile(const struct ed_times *times, double part);

#endif
