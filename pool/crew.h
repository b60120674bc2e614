/*
 * pool/crew.h - the threads behind the pools, and the queues that they work off
 *
 * Internal. A crew serves any number of pools; each calls these on its loop's
 * thread.
 */
#ifndef EDDY_POOL_CREW_H
#define EDDY_POOL_CREW_H

#include <pthread.h>

#include "pool/pool.h"

struct ed_lane {
    struct ed_list link;  // in crew->filled, while tasks are queued
    struct ed_list pools; // queues with tasks, by whose turn it is
    size_t queued;        // how many tasks
    uint64_t taken;       // how many were, ever
    uint64_t task_ns;     // what a task takes, smoothed
    unsigned useful;      // workers that such tasks can use
    unsigned most_workers;
    unsigned workers;    // that have a task of this lane
    unsigned at_work;    // those of them that are not stuck
    bool is_guarded;     // another one stands guard
    struct ed_list busy; // the workers
    int priority;
    size_t limit; // for the pools
    struct ed_times wait;
    struct ed_times run;
};

struct ed_crew {
    pthread_mutex_t lock;  // guards all that follows
    pthread_cond_t work;   // for a sleeping worker: a task is there, or the end
    pthread_cond_t quiet;  // a pool has no task running, or no worker is left
    struct ed_list filled; // lanes, by priority and then by whose turn it is
    bool has_work;         // one wants a worker; read without the lock, too
    bool is_waking;        // a worker has been called and has not arrived
    bool is_lingering;     // a worker looks for work
    struct ed_list owed;   // pools whose loops are still to be woken
    bool is_closing;
    bool never_linger;
    unsigned workers;  // threads that are there or being started
    unsigned sleeping; // in crew->work; not those on guard
    unsigned started;  // threads ever; numbers them
    unsigned most_workers;
    unsigned usual_workers; // of a lane that does not say
    unsigned processors;
    unsigned pools;
    unsigned leaving; // of these, wait until none of their tasks runs
    uint64_t retire_ns;
    struct ed_linger linger;
    int submit_processor; // where tasks came from last
    bool has_retired;     // somebody has left and is not yet joined:
    pthread_t retired;
    struct ed_lane lanes[ED_LANES];
};

/* Returns 0, or -errno with nothing created. No thread is started yet. */
int ed_crew_create(const struct ed_pool_options *options,
                   struct ed_crew **created);

void ed_crew_add_pool(struct ed_crew *crew);

/*
 * Moves the pool's tasks that no worker has taken to unrun and waits for the
 * others to be posted. The last pool takes the crew and its threads with it.
 */
void ed_crew_remove_pool(struct ed_pool *pool, struct ed_list *unrun);

/* Moves the pool's batch to the queues and sees to it that somebody comes. */
void ed_crew_hand_over(struct ed_pool *pool);

/* Returns whether no worker had taken the task; then none will. */
bool ed_crew_take_back(struct ed_task *task);

/*
 * Any thread. Sends home a task that has not run. From here on it is the
 * loop's.
 */
void ed_crew_post(struct ed_task *task, int error);

/* Any thread. */
void ed_crew_metrics(struct ed_crew *crew, struct ed_pool_metrics *metrics);

/* What a task does at home: pool.c. */
void ed_pool_finish_task(struct ed_msg *msg);

#endif
