/*
 * loop/turn.h - the steps of a turn, for loop.c
 *
 * Internal. Each step runs what is due in it, one callback at a time, each
 * between ed_turn_begin() and ed_turn_called(). What a step has still to run is
 * in a list that the things concerned are linked in, so stopping one is to
 * unlink it.
 */
#ifndef EDDY_LOOP_TURN_H
#define EDDY_LOOP_TURN_H

#include "loop/loop.h"

/* Before every callback: counts it and tells of it. Names: loop/trace.h. */
static inline void ed_turn_begin(struct ed_loop *loop, const char *name,
                                 const void *subject, ed_trace_callback_fn *fn)
{
    ed_count_add(&loop->callbacks, 1);
    ed_trace_begin(loop->trace, name, subject, fn);
}

void ed_turn_run_ticks(struct ed_loop *loop);

/* After every callback: tells of its end and runs the ticks. */
static inline void ed_turn_called(struct ed_loop *loop)
{
    ed_trace_end(loop->trace);
    loop->is_now_stale = true;
    if (!ed_list_is_empty(&loop->ticks))
        ed_turn_run_ticks(loop);
}

void ed_turn_run_timers(struct ed_loop *loop);
void ed_turn_run_immediates(struct ed_loop *loop);
void ed_turn_run_signals(struct ed_loop *loop);
void ed_turn_run_prepares(struct ed_loop *loop);
void ed_turn_run_watches(struct ed_loop *loop);

/* Instead of a wait, which would have ended then. */
void ed_turn_run_idles(struct ed_loop *loop, uint64_t end_ns);

/* For the pollers: what happened to a watch. Lists it in ready once. */
static inline void ed_turn_report(struct ed_list *ready, struct ed_watch *watch,
                                  unsigned happened)
{
    if (!ed_list_is_linked(&watch->ready_link)) {
        ed_list_append(ready, &watch->ready_link);
        watch->ready = 0;
        ed_count_add(&watch->loop->events, 1);
    }
    watch->ready |= happened;
}

/*
 * What the loop lends to whatever reads: ED_BUFFER_SIZE bytes, of which only
 * those that are used cost memory. Good until the callback that gets the data
 * returns. NULL: out of memory.
 */
enum { ED_BUFFER_SIZE = 1024 * 1024 };
char *ed_turn_buffer(struct ed_loop *loop);

/* Tells the system of the changes of interest since the last time. */
void ed_turn_tell_changes(struct ed_loop *loop);

/* For the end of the loop: of child processes, which have all been stopped. */
void ed_turn_forget_children(struct ed_loop *loop);

#endif
