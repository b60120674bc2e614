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
 * started when there is work, up to a limit, and leave when there has been none
 * for a while.
 *
 * A task is the pool's from submit until its done begins: once, on the loop's
 * thread, whatever happens. Tasks are begun in the order submitted. Nothing
 * here is copied and, but for the threads, nothing is allocated by a submit.
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

struct ed_pool_options {
    unsigned workers;     // most at once; 0: as many as processors, at least 4
    uint64_t retire_ns;   // a worker without work leaves after; 0: 10 s
    size_t request_limit; // most requests under way on the loop; 0: any number

    /*
     * Without work, one worker and a loop that awaits few replies look for it
     * up to 50 us before they sleep, where that has been found to pay. True:
     * never.
     */
    bool never_linger;
};

/*
 * What a module above keeps with a pool. leave is called once, on the loop's
 * thread, when the pool is destroyed and no worker has a task of it any more.
 */
struct ed_pool_guest {
    void (*leave)(struct ed_pool_guest *guest);
};

struct ed_pool {
    // for the module above that sets it (fs); NULL: none
    struct ed_pool_guest *guest;

    // private
    struct ed_loop *loop;
    struct ed_crew *crew;
    size_t request_limit;
    struct ed_list batch; // tasks not yet handed to the workers
    unsigned batched;     // how many
    struct ed_hook flush; // does so before the loop waits

    // Guarded by the crew's lock, and apart from what the loop writes.
    char apart[ED_CACHE_LINE];
    unsigned running;         // tasks that workers have
    unsigned unheard;         // results since a wake-up of the loop was put off
    struct ed_list owed_link; // in crew->owed, meanwhile
};

struct ed_task;

typedef void ed_task_fn(struct ed_task *task);

enum ed_task_place {
    ED_TASK_IN_BATCH,
    ED_TASK_IN_QUEUE,
    ED_TASK_TAKEN, // by a worker, or it has failed; its message will come
};

struct ed_task {
    // yours to read, in done
    int error; // 0: it ran; -ECANCELED; -EAGAIN: no thread could be started

    // private
    struct ed_pool *pool;     // NULL: not submitted
    enum ed_task_place place; // guarded by the crew's lock
    bool is_cancelled;
    int processor; // where it ran
    struct ed_loop *loop;
    ed_task_fn *run;
    ed_task_fn *done;
    struct ed_list link; // in the pool's batch or the crew's queue
    struct ed_msg msg;
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
 * -EAGAIN when request_limit is reached: then nothing is called.
 *
 * The first task of a turn is handed to the workers at once, the others
 * together, at the latest when the loop is about to wait.
 */
int ed_task_submit(struct ed_pool *pool, struct ed_task *task, ed_task_fn *run,
                   ed_task_fn *done);

/*
 * For a task whose work is done already, by the caller: there is no run, and
 * done comes as that of a task that a worker has just finished.
 */
int ed_task_submit_finished(struct ed_pool *pool, struct ed_task *task,
                            ed_task_fn *done);

/*
 * Returns 0 if no worker had taken it: run is not called, and done comes soon
 * with an error of -ECANCELED. Else -EBUSY: it runs, did, or is about to, and
 * done comes as it would have; ed_task_is_cancelled() is true from now on.
 * -ENOENT: it is not submitted. Not for tasks of a pool that has been
 * destroyed.
 */
int ed_task_cancel(struct ed_task *task);

/* Any thread; for a run that can leave early. */
bool ed_task_is_cancelled(const struct ed_task *task);

#endif
