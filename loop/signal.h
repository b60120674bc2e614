/*
 * loop/signal.h - signals, as callbacks of the loop
 *
 *     struct ed_signal interrupt = {0};
 *     ed_signal_start(loop, &interrupt, SIGINT, on_interrupt);
 *
 * Any number of watches of any number of loops may wait for one signal; each
 * gets its callback, on its loop's thread, after the messages, in the order
 * started. Several that arrive before the loop gets there are one, as always
 * with signals. One that all threads block does not arrive.
 *
 * A signal has one disposition for the whole process. The first watch of a
 * signal installs a handler, the last one to stop puts back what was there
 * before; unless somebody else has installed theirs over it, which is then left
 * alone. This is the only state that eddy shares between loops, and the only
 * handler that it installs unasked for by name (loop/terminal.h has the other).
 * System calls that a signal interrupts go on where they can (SA_RESTART).
 * SIGCHLD arrives for children that stop or go on, too.
 *
 * After fork, the child has none of its parent's watches: its signals are as
 * they were before these. It starts watches of its own on a loop of its own.
 *
 * Watches must be stopped before their loop is destroyed.
 */
#ifndef EDDY_LOOP_SIGNAL_H
#define EDDY_LOOP_SIGNAL_H

#include "loop/loop.h"

struct ed_signal;

typedef void ed_signal_fn(struct ed_signal *signal);

struct ed_signal {
    // yours to read
    int number;

    // private
    struct ed_list link;     // of the loop's watches
    struct ed_list due_link; // of those to call back in this turn
    struct ed_loop *loop;
    ed_signal_fn *fn;
    bool is_once;
    bool is_unref;
};

/*
 * Calls fn each time the signal arrives. Returns 0, or -errno with nothing
 * started: -EINVAL (no signal, or SIGKILL, SIGSTOP, and those that a fault in
 * the program raises: SIGSEGV, SIGBUS, SIGFPE, SIGILL), -ENOMEM. A watch that
 * is started anew misses nothing in between.
 */
int ed_signal_start(struct ed_loop *loop, struct ed_signal *signal, int number,
                    ed_signal_fn *fn);

/*
 * The first time only: it has stopped when fn begins, and if it was the last,
 * the previous disposition is back.
 */
int ed_signal_once(struct ed_loop *loop, struct ed_signal *signal, int number,
                   ed_signal_fn *fn);

/* What has arrived and was not told yet goes with the last watch of it. */
void ed_signal_stop(struct ed_signal *signal);

bool ed_signal_is_active(const struct ed_signal *signal);

/* Whether the watch, while started, keeps the loop alive; it does at first. */
void ed_signal_ref(struct ed_signal *signal);
void ed_signal_unref(struct ed_signal *signal);

#endif
