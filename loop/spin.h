/*
 * loop/spin.h - looking for a moment before sleeping
 *
 * To put a thread to sleep and to wake it up costs 5 to 40 us, far more than
 * what it is woken for often takes. Who expects something at once therefore
 * looks a little before it sleeps.
 *
 * struct ed_linger says whether looking for work or a reply is worth it. It is
 * not where both sides last ran on one processor, since there looking keeps the
 * other from running; and less and less where it was in vain: after n vain
 * looks in a row the next 2^n occasions are let pass (at most 1024).
 */
#ifndef EDDY_LOOP_SPIN_H
#define EDDY_LOOP_SPIN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* The longest look: less than a slow wake-up, and the first would be in vain.
 */
enum { ED_LINGER_NS = 50000 };

/* Tells the processor that this is a waiting loop. */
static inline void ed_spin_pause(void)
{
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("isb" ::: "memory");
#endif
}

/* Locks a mutex that is held for moments: tries a little before it sleeps. */
void ed_spin_lock(pthread_mutex_t *mutex);

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
bool ed_linger_begin(struct ed_linger *linger, int own_processor,
                     int other_processor);

void ed_linger_end(struct ed_linger *linger, bool found);

#endif
