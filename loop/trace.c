/*
 * loop/trace.c - the part that is not for those who are not listened to
 *
 * Out of line, so that what is left in each place where something can be told
 * is a branch and a call behind it.
 */
#include "loop/trace.h"

void ed_trace_send(struct ed_trace *trace, enum ed_trace_kind kind,
                   const void *subject, const char *name, int64_t value,
                   ed_trace_callback_fn *callback)
{
    const struct ed_trace_event event = {kind, subject, name, value, callback};
    trace->tell(trace, &event);
}
