/*
 * loop/trace.h - what happens in a loop, told as it happens
 *
 * A program that wants to see the way of its work sets loop->trace, on the
 * loop's thread, while no other thread posts to the loop or works for it. Off
 * (NULL), this costs one branch. Of the loop, on its thread:
 *
 *     ED_TRACE_BEGIN   a callback is about to be called: its name says of
 *                      what, subject is the struct that it gets, callback the
 *                      function. They nest: a watch calls back a stream, which
 *                      calls back the program
 *     ED_TRACE_END     the callback that began last has returned; its subject
 *                      may be gone
 *     ED_TRACE_SLEEP   about to wait; value: for so many ns, negative: for
 *                      whatever comes. A look at what is ready that does not
 *                      wait is not told. Subject is the loop
 *     ED_TRACE_WAKE    the wait is over; value: so many descriptors are ready
 *
 * Of a message, its struct ed_msg:
 *
 *     ED_TRACE_MESSAGE about to be queued; then it begins with the name
 *                      "message"                          any thread
 *
 * Of a task, in this order:
 *
 *     ED_TRACE_SUBMIT  handed to the pool                    loop's thread
 *     ED_TRACE_TAKE    picked up; value: the worker's number  worker
 *     ED_TRACE_STEP    a system call of fs is done, name says which;
 *                      value: what it returned, or -errno     worker, or the
 *                                                             caller's (sync)
 *     ED_TRACE_POST    about to be queued as a message        worker
 *     ED_TRACE_DONE    about to call back; then it begins     loop's thread
 *                      with the name "done"
 *
 * Names of callbacks: timer, tick, immediate, prepare, idle, watch, message,
 * signal, exit (of a process), done (of a task); of streams connect, read,
 * written, drain, finish; accept, overload; receive, and drain, of datagrams;
 * file (fs/watch.h).
 *
 * tell is called on those threads, several at a time: it locks what it needs,
 * and calls nothing of eddy's but ed_clock_ns().
 */
#ifndef EDDY_LOOP_TRACE_H
#define EDDY_LOOP_TRACE_H

#include <stddef.h>
#include <stdint.h>

enum ed_trace_kind {
    ED_TRACE_BEGIN,
    ED_TRACE_END,
    ED_TRACE_SLEEP,
    ED_TRACE_WAKE,
    ED_TRACE_MESSAGE,
    ED_TRACE_SUBMIT,
    ED_TRACE_TAKE,
    ED_TRACE_STEP,
    ED_TRACE_POST,
    ED_TRACE_DONE,
};

/* Any function: to be looked up or compared, not called. */
typedef void ed_trace_callback_fn(void);

struct ed_trace_event {
    enum ed_trace_kind kind;
    const void *subject; // the struct concerned; for a step, what is worked on
    const char *name;    // of a step: "open", "read"; of a callback; else NULL
    int64_t value;
    ed_trace_callback_fn *callback; // of ED_TRACE_BEGIN; else NULL
};

struct ed_trace {
    void (*tell)(struct ed_trace *trace, const struct ed_trace_event *event);
};

/* For those below: tells it to trace, which is not NULL. */
void ed_trace_send(struct ed_trace *trace, enum ed_trace_kind kind,
                   const void *subject, const char *name, int64_t value,
                   ed_trace_callback_fn *callback);

static inline void ed_trace_tell(struct ed_trace *trace,
                                 enum ed_trace_kind kind, const void *subject,
                                 const char *name, int64_t value)
{
    if (trace)
        ed_trace_send(trace, kind, subject, name, value, NULL);
}

static inline void ed_trace_begin(struct ed_trace *trace, const char *name,
                                  const void *subject,
                                  ed_trace_callback_fn *callback)
{
    if (trace)
        ed_trace_send(trace, ED_TRACE_BEGIN, subject, name, 0, callback);
}

static inline void ed_trace_end(struct ed_trace *trace)
{
    ed_trace_tell(trace, ED_TRACE_END, NULL, NULL, 0);
}

/*
 * Any thread. Whom to tell; on the loop's own thread, just look at loop->trace.
 */
static inline struct ed_trace *ed_trace_read(struct ed_trace *const *place)
{
    return __atomic_load_n(place, __ATOMIC_ACQUIRE);
}

#endif
