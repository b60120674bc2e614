/*
 * loop/signal.h - signals, as callbacks of the loop
 *
 *     struct ed_signal interrupt = {0};
 *     ed_signal_start(loop, &interrupt, SIGINT, on_interrupt);
 *
 * Any number of watches of any number of loops may wait for one signal; each
 * gets its callback, on its loop's thread, with the messages. Several that
 * arrive before the loop gets there are one, as always with signals.
 *
 * A signal has one disposition for the whole process. The first watch of a
 * signal installs a handler, the last one to stop puts back what was there
 * before. This is the only state that eddy shares between loops, and the only
 * handler that it installs unasked for by name (loop/terminal.h has the other).
 *
 * After fork, watches of the parent's loops do not concern the child: the
 * handler does nothing there until the child starts watches of its own.
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
    struct ed_list link;
    struct ed_loop *loop;
    ed_signal_fn *fn;
    bool is_once;
    bool is_unref;
};

/*
 * Calls fn each time the signal arrives. Returns 0, or -errno with nothing
 * started: -EINVAL (no signal, or SIGKILL, SIGSTOP, and those that a fault in
 * the program raises: SIGSEGV, SIGBUS, SIGFPE, SIGILL), -ENOMEM.
 */
int ed_signal_start(struct ed_loop *loop, struct ed_signal *signal, int number,
                    ed_signal_fn *fn);

/*
 * The first time only: it has stopped when fn begins, and if it was the last,
 * the previous disposition is back.
 */
int ed_signal_once(struct ed_loop *loop, struct ed_signal *signal, int number,
                   ed_signal_fn *fn);

void ed_signal_stop(struct ed_signal *signal);

bool ed_signal_is_active(const struct ed_signal *signal);

/* Whether the watch, while started, keeps the loop alive; it does at first. */
void ed_signal_ref(struct ed_signal *signal);
void ed_signal_unref(struct ed_signal *signal);

#endif
