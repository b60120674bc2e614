/*
 * loop/count.h - numbers that one thread counts and any thread may read
 *
 * Only the owner of a number writes to it, so it may read it plainly, add, and
 * store the sum: that takes no locked instruction, and costs what a plain
 * number does. A reader gets a value that the number had a moment ago. Of two
 * numbers that are read one after the other, that says nothing about how they
 * belong together.
 */
#ifndef EDDY_LOOP_COUNT_H
#define EDDY_LOOP_COUNT_H

#include <stdint.h>

/* The owner of the number. */
static inline void ed_count_add(uint64_t *number, uint64_t more)
{
    __atomic_store_n(number, *number + more, __ATOMIC_RELAXED);
}

static inline void ed_count_take(uint64_t *number, uint64_t less)
{
    __atomic_store_n(number, *number - less, __ATOMIC_RELAXED);
}

/* Any thread. */
static inline uint64_t ed_count_read(const uint64_t *number)
{
    return __atomic_load_n(number, __ATOMIC_RELAXED);
}

#endif
