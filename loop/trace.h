/*
 * loop/trace.h - what happens to a task, told as it happens
 *
 * A program that wants to see the way of its work sets loop->trace. Off (NULL),
 * this costs one branch. The events of a task, in order:
 *
 *     ED_TRACE_SUBMIT  handed to the pool                    loop's thread
 *     ED_TRACE_TAKE    picked up; value: the worker's number  worker
 *     ED_TRACE_STEP    a system call of fs is done, name says which;
 *                      value: what it returned, or -errno     worker, or the
 *                                                             caller's (sync)
 *     ED_TRACE_POST    about to be queued as a message        worker
 *     ED_TRACE_DONE    about to call back                     loop's thread
 *
 * tell is called on those threads, several at a time: it locks what it needs,
 * and calls nothing of eddy's but ed_clock_ns().
 */
#ifndef EDDY_LOOP_TRACE_H
#define EDDY_LOOP_TRACE_H

#include <stddef.h>
#include <stdint.h>

enum ed_trace_kind {
    ED_TRACE_SUBMIT,
    ED_TRACE_TAKE,
    ED_TRACE_STEP,
    ED_TRACE_POST,
    ED_TRACE_DONE,
};

struct ed_trace_event {
    enum ed_trace_kind kind;
    const void *subject; // the struct ed_task; for a step, what is worked on
    const char *name;    // of a step: "open", "read"; else NULL
    int64_t value;
};

struct ed_trace {
    void (*tell)(struct ed_trace *trace, const struct ed_trace_event *event);
};

static inline void ed_trace_tell(struct ed_trace *trace,
                                 enum ed_trace_kind kind, const void *subject,
                                 const char *name, int64_t value)
{
    if (!trace)
        return;

    const struct ed_trace_event event = {kind, subject, name, value};
    trace->tell(trace, &event);
}

#endif
