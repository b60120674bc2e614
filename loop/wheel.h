/*
 * loop/wheel.h - timers by deadline: O(1) to add and to remove
 *
 * A clock has a hand for seconds, one for minutes, one for hours. This wheel
 * has eleven hands (levels) of 64 positions (slots), and level 0 counts
 * nanoseconds:
 *
 *     level    0      1      2        3       4      5     ...   10
 *     slot   1 ns   64 ns  4.1 us  262 us  16.8 ms  1.07 s     36 years
 *
 * A timer sits at the level of the highest base-64 digit in which its deadline
 * differs from the wheel's time: far ones coarsely, near ones exactly. When the
 * time reaches a slot, its timers move to lower levels, until at level 0 all in
 * one slot have the same deadline. So a timer moves a few times in its life,
 * and most are stopped before they moved at all.
 *
 *     ed_wheel_init(&wheel, now);
 *     ed_wheel_add(&wheel, &timer.node, deadline);
 *     ...
 *     while (ed_wheel_take_due(&wheel, now, &due))
 *         ...                          due: earliest deadline first, equal ones
 *                                      in the order added
 *
 * After: G. Varghese, T. Lauck, "Hashed and hierarchical timing wheels" (1987).
 * A wheel has one owner, a thread; nothing here allocates or reads a clock.
 */
#ifndef EDDY_LOOP_WHEEL_H
#define EDDY_LOOP_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "loop/list.h"

enum {
    ED_WHEEL_BITS = 6, // of the time, for each level
    ED_WHEEL_SLOTS = 1 << ED_WHEEL_BITS,
    ED_WHEEL_LEVELS = 11, // 66 bits, which is all of a uint64_t
};

/* Later than any deadline. */
#define ED_WHEEL_NEVER UINT64_MAX

struct ed_wheel_node {
    struct ed_list link; // in a slot, or in a list of due nodes
    uint64_t deadline_ns;
};

struct ed_wheel {
    uint64_t time_ns; // all that was due before it has been taken
    uint32_t levels;  // bit l: level l holds something
    uint64_t filled[ED_WHEEL_LEVELS]; // bit s of [l]: slot s of level l does
    struct ed_list slots[ED_WHEEL_LEVELS * ED_WHEEL_SLOTS];
};

void ed_wheel_init(struct ed_wheel *wheel, uint64_t now_ns);

/* A deadline before the wheel's time is due at the next ed_wheel_take_due(). */
void ed_wheel_add(struct ed_wheel *wheel, struct ed_wheel_node *node,
                  uint64_t deadline_ns);

/* Removes a node from the wheel, or from the list of due ones that it is in. */
void ed_wheel_remove(struct ed_wheel *wheel, struct ed_wheel_node *node);

/*
 * When to look again: the earliest deadline; or, where finding that would mean
 * a walk along a crowded slot, the moment at which the slot is opened, which is
 * earlier. ED_WHEEL_NEVER: the wheel is empty.
 */
uint64_t ed_wheel_next(const struct ed_wheel *wheel);

/*
 * Appends to due the next nodes whose deadline is not after now_ns: some, all
 * of one deadline. Returns whether there were any; to be called until there are
 * none. They come by deadline and, among equals, in the order in which they
 * were added.
 */
bool ed_wheel_take_due(struct ed_wheel *wheel, uint64_t now_ns,
                       struct ed_list *due);

#endif
