/*
 * loop/queue.h - messages from any thread to one
 *
 *     any thread                         the receiver
 *
 *     push --+                           take_all: the whole list, oldest first
 *     push --+--> [ oldest ... newest ] ------->  run it, without the lock
 *     push --+            |
 *                         +-- "wake it", told to one pusher per sleep
 *
 * Messages are intrusive: embed a struct ed_msg in whatever travels, and get
 * back to it with ED_CONTAINER_OF(). The queue never allocates, so a push
 * cannot fail. A message belongs to the queue from push until take_all returns
 * it, and is in one queue at a time.
 */
#ifndef EDDY_LOOP_QUEUE_H
#define EDDY_LOOP_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include "loop/count.h"
#include "loop/lock.h"

struct ed_msg;

typedef void ed_msg_fn(struct ed_msg *msg);

struct ed_msg {
    struct ed_msg *next; // towards the newest
    ed_msg_fn *fn;       // called by the receiver
};

struct ed_queue {
    struct ed_lock lock;   // guards all that follows
    struct ed_msg *oldest; // NULL when empty
    struct ed_msg **end;   // the link that the next push fills in
    bool is_filled;        // oldest is not NULL; read without the lock, too
    bool is_asleep;        // the receiver sleeps and nobody woke it yet
    uint64_t pushed;       // messages, ever; read without the lock, too
};

/* Messages still in a queue that is given up are their senders' memory. */
void ed_queue_init(struct ed_queue *queue);

/*
 * Any thread. Appends the messages from first to last, linked by next, which
 * are so many. Returns whether the receiver sleeps: then somebody has to wake
 * it.
 */
bool ed_queue_push(struct ed_queue *queue, struct ed_msg *first,
                   struct ed_msg *last, uint64_t count);

/*
 * Any thread. Returns whether it is the caller who has to wake the receiver:
 * true once a sleep.
 */
bool ed_queue_claim_wake(struct ed_queue *queue);

/* Removes all, oldest first, linked by next; NULL when there is none. */
struct ed_msg *ed_queue_take_all(struct ed_queue *queue);

/* Any thread. A glance without the lock: what it says may just have changed. */
bool ed_queue_is_empty(const struct ed_queue *queue);

/*
 * The receiver says that it is going to sleep. Returns false, and nothing is
 * said, if there are messages to take.
 */
bool ed_queue_fall_asleep(struct ed_queue *queue);

/* The receiver is up again, whatever woke it. */
void ed_queue_wake_up(struct ed_queue *queue);

#endif
