/*
 * loop/spin.h - looking for a moment before sleeping
 *
 * To put a thread to sleep and to wake it up costs 5 to 35 us, far more than
 * what it is woken for often takes. Who expects something at once therefore
 * looks a little before it sleeps:
 *
 * - ed_spin_lock() tries a mutex for about a microsecond, since ours are held
 * to move a few pointers.
 * - struct ed_linger says whether looking for a reply is worth it. It is not
 *   where both sides last ran on one processor, since there looking keeps the
 *   other from running; and less and less where it was in vain: after n vain
 *   looks in a row the next 2^n occasions are let pass (at most 1024).
 */
#ifndef EDDY_LOOP_SPIN_H
#define EDDY_LOOP_SPIN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { ED_LINGER_NS = 50000 }; // the longest look

/* Tells the processor that this is a waiting loop. */
static inline void ed_spin_pause(void)
{
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("isb" ::: "memory");
#endif
}

static inline void ed_spin_lock(pthread_mutex_t *lock)
{
    // Each try takes the lock's memory from its holder, so ever fewer.
    for (int pauses = 1; pauses <= 32; pauses *= 2) {
        if (pthread_mutex_trylock(lock) == 0)
            return;
        for (int i = 0; i < pauses; i++)
            ed_spin_pause();
    }
    pthread_mutex_lock(lock);
}

/*
 * Looks at a flag that another thread will set, for about look_ns at most.
 * Returns whether it is set.
 */
bool ed_spin_until(const bool *flag, uint64_t look_ns);

struct ed_linger {
    unsigned vain; // looks in a row that found nothing
    unsigned pass; // occasions still to be let pass
};

/* Whether to look now. Processors are numbers, or -1 where unknown. */
static inline bool ed_linger_begin(struct ed_linger *linger, int own_processor,
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

static inline void ed_linger_end(struct ed_linger *linger, bool found)
{
    if (found) {
        linger->vain = 0;
        return;
    }
    if (linger->vain < 10)
        linger->vain++;
    linger->pass = 1u << linger->vain;
}

#endif
