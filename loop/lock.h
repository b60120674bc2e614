/*
 * loop/lock.h - a lock that is held for a few instructions
 *
 * Taking it is one atomic exchange and leaving it one store, which is half of
 * what a mutex costs. Who finds it held looks for a microsecond or so, which
 * is long enough unless its holder has lost the processor; then it sleeps in
 * between, so that the holder gets the processor back whatever the priorities
 * of the two are. A zeroed lock is free; nothing can fail.
 *
 * Only for sections that make no call, and never from a signal handler.
 */
#ifndef EDDY_LOOP_LOCK_H
#define EDDY_LOOP_LOCK_H

#include <stdbool.h>

#include "loop/spin.h"

struct ed_lock {
    bool is_held;
};

/* Until the lock looks free, which it may not be any more. */
void ed_lock_wait(const struct ed_lock *lock);

static inline void ed_lock_take(struct ed_lock *lock)
{
    while (__atomic_exchange_n(&lock->is_held, true, __ATOMIC_ACQUIRE))
        ed_lock_wait(lock);
}

static inline void ed_lock_leave(struct ed_lock *lock)
{
    __atomic_store_n(&lock->is_held, false, __ATOMIC_RELEASE);
}

#endif
