/*
 * loop/queue.c - a singly linked list and a lock
 *
 * While the lock is free, *end is NULL, and end points at oldest exactly when
 * the queue is empty. The lock is held to move a few pointers, never while
 * foreign code runs, so it takes part in no deadlock; that is also why it can
 * be of the cheap kind.
 *
 * Note "no wake-up is lost": the receiver sets is_asleep under the lock, and
 * only when the queue is empty; a push appends and reads is_asleep under the
 * same lock. So either the push comes first and the receiver stays up, or it
 * comes second and is told to wake it.
 */
#include "loop/queue.h"

void ed_queue_init(struct ed_queue *queue)
{
    *queue = (struct ed_queue){.end = &queue->oldest};
}

bool ed_queue_push(struct ed_queue *queue, struct ed_msg *first,
                   struct ed_msg *last, uint64_t count)
{
    last->next = NULL;

    ed_lock_take(&queue->lock);
    *queue->end = first;
    queue->end = &last->next;
    ed_count_add(&queue->pushed, count);
    if (!queue->is_filled)
        __atomic_store_n(&queue->is_filled, true, __ATOMIC_RELAXED);
    bool is_asleep = __atomic_load_n(&queue->is_asleep, __ATOMIC_RELAXED);
    ed_lock_leave(&queue->lock);

    return is_asleep;
}

bool ed_queue_claim_wake(struct ed_queue *queue)
{
    return __atomic_exchange_n(&queue->is_asleep, false, __ATOMIC_RELAXED);
}

struct ed_msg *ed_queue_take_all(struct ed_queue *queue)
{
    if (ed_queue_is_empty(queue))
        return NULL;

    ed_lock_take(&queue->lock);
    struct ed_msg *oldest = queue->oldest;
    queue->oldest = NULL;
    queue->end = &queue->oldest;
    __atomic_store_n(&queue->is_filled, false, __ATOMIC_RELAXED);
    ed_lock_leave(&queue->lock);

    return oldest;
}

bool ed_queue_is_empty(const struct ed_queue *queue)
{
    return !__atomic_load_n(&queue->is_filled, __ATOMIC_RELAXED);
}

bool ed_queue_fall_asleep(struct ed_queue *queue)
{
    ed_lock_take(&queue->lock);
    bool sleeps = !queue->oldest;
    __atomic_store_n(&queue->is_asleep, sleeps, __ATOMIC_RELAXED);
    ed_lock_leave(&queue->lock);

    return sleeps;
}

void ed_queue_wake_up(struct ed_queue *queue)
{
    // Without the lock: a push that still saw it asleep wakes it once too
    // often, which costs a turn and loses nothing.
    __atomic_store_n(&queue->is_asleep, false, __ATOMIC_RELAXED);
}
