/*
 * loop/spin.c - what to do while another thread is about to do something
 */
#include "loop/spin.h"

#include <time.h>

#include "loop/lock.h"
#include "loop/loop.h"

enum {
    LOOKS_BEFORE_SLEEP = 128, // about a microsecond
    MOST_VAIN = 10,           // doublings of the occasions that are let pass
};

void ed_lock_wait(const struct ed_lock *lock)
{
    static const struct timespec moment = {.tv_nsec = 1000};
    for (int looks = 1; __atomic_load_n(&lock->is_held, __ATOMIC_RELAXED);
         looks++) {
        if (looks % LOOKS_BEFORE_SLEEP)
            ed_spin_pause();
        else
            nanosleep(&moment, NULL);
    }
}

void ed_spin_lock(pthread_mutex_t *mutex)
{
    // Each try takes the mutex's memory from its holder, so ever fewer.
    for (int pauses = 1; pauses <= 32; pauses *= 2) {
        if (pthread_mutex_trylock(mutex) == 0)
            return;
        for (int i = 0; i < pauses; i++)
            ed_spin_pause();
    }
    pthread_mutex_lock(mutex);
}

bool ed_spin_until(const bool *flag, uint64_t look_ns)
{
    uint64_t end_ns = ed_clock_ns() + look_ns;
    do {
        // Reading the clock costs as much as a few looks.
        for (int looks = 0; looks < 8; looks++) {
            if (__atomic_load_n(flag, __ATOMIC_RELAXED))
                return true;
            ed_spin_pause();
        }
    } while (ed_clock_ns() < end_ns);
    return false;
}

bool ed_linger_begin(struct ed_linger *linger, int own_processor,
                     int other_processor)
{
    if (own_processor == other_processor && own_processor >= 0)
        return false;
    if (linger->pass) {
        linger->pass--;
        return false;
    }
    return true;
}

void ed_linger_end(struct ed_linger *linger, bool found)
{
    if (found) {
        linger->vain = 0;
        return;
    }
    if (linger->vain < MOST_VAIN)
        linger->vain++;
    linger->pass = 1u << linger->vain;
}
