/*
 * loop/watchdog.c - a listener that takes the time between begin and end
 *
 * running is a stack: of the callbacks that run now, each was made by the one
 * before it. Its first min(depth, ED_WATCHDOG_DEPTH) entries are filled in;
 * what is nested deeper is only counted, as part of the last one. While a
 * callback runs, its took_ns is what callbacks within it took.
 *
 * Only the loop's thread begins and ends callbacks, so only it writes to the
 * stack. What other threads do is told on these, and only passed on.
 *
 * Note "another thread reads the stack": changes is odd while the stack is
 * being written to, and grows with each time. Who finds the same even number
 * before and after it has read has read what belongs together, since:
 *
 * - all fields are stored with release, so whoever reads a new value also sees
 *   that changes had been made odd before; and they are loaded with acquire, so
 *   changes is read again after them;
 * - changes is made even with release, and first loaded with acquire, so
 *   whoever finds it even sees all that was stored until then.
 *
 * The loop's thread never waits for a reader; a reader tries again.
 */
#include "loop/watchdog.h"

#include <assert.h>

static void begin_change(struct ed_watchdog *watchdog)
{
    __atomic_store_n(&watchdog->changes, watchdog->changes + 1,
                     __ATOMIC_RELAXED);
}

static void end_change(struct ed_watchdog *watchdog)
{
    __atomic_store_n(&watchdog->changes, watchdog->changes + 1,
                     __ATOMIC_RELEASE);
}

static void set_depth(struct ed_watchdog *watchdog, unsigned depth)
{
    __atomic_store_n(&watchdog->depth, depth, __ATOMIC_RELEASE);
}

static void set_took(struct ed_callback *callback, uint64_t took_ns)
{
    __atomic_store_n(&callback->took_ns, took_ns, __ATOMIC_RELEASE);
}

static void note_begin(struct ed_watchdog *watchdog,
                       const struct ed_trace_event *event)
{
    begin_change(watchdog);
    if (watchdog->depth < ED_WATCHDOG_DEPTH) {
        struct ed_callback *callback = &watchdog->running[watchdog->depth];
        __atomic_store_n(&callback->name, event->name, __ATOMIC_RELEASE);
        __atomic_store_n(&callback->subject, event->subject, __ATOMIC_RELEASE);
        __atomic_store_n(&callback->fn, event->callback, __ATOMIC_RELEASE);
        __atomic_store_n(&callback->began_ns, ed_clock_ns(), __ATOMIC_RELEASE);
        set_took(callback, 0);
    }
    set_depth(watchdog, watchdog->depth + 1);
    end_change(watchdog);
}

/* Returns whether it is known what ended; *ended is that. */
static bool note_end(struct ed_watchdog *watchdog, struct ed_callback *ended)
{
    // It may have been started in the callback that ends.
    if (watchdog->depth == 0)
        return false;

    unsigned depth = watchdog->depth - 1;
    bool is_known = depth < ED_WATCHDOG_DEPTH;
    uint64_t all_ns = 0;
    if (is_known) {
        *ended = watchdog->running[depth];
        all_ns = ed_clock_ns() - ended->began_ns;
        ended->took_ns = all_ns - ended->took_ns;
    }
    begin_change(watchdog);
    if (is_known && depth > 0) {
        struct ed_callback *outer = &watchdog->running[depth - 1];
        set_took(outer, outer->took_ns + all_ns);
    }
    set_depth(watchdog, depth);
    end_change(watchdog);
    return is_known;
}

/* The last that is done with a watchdog, since fn may stop and free it. */
static void judge(struct ed_watchdog *watchdog,
                  const struct ed_callback *callback)
{
    if (callback->took_ns > watchdog->longest.took_ns)
        watchdog->longest = *callback;
    if (!watchdog->fn || callback->took_ns <= watchdog->limit_ns)
        return;
    watchdog->warnings++;
    watchdog->fn(watchdog, callback);
}

/* Other listeners come before the time is taken and after, so as not to count.
 */
static void hear(struct ed_trace *trace, const struct ed_trace_event *event)
{
    struct ed_watchdog *watchdog =
        ED_CONTAINER_OF(trace, struct ed_watchdog, trace);
    struct ed_trace *next = watchdog->next;
    struct ed_callback ended;
    bool is_end = event->kind == ED_TRACE_END && note_end(watchdog, &ended);
    if (next)
        next->tell(next, event);
    if (event->kind == ED_TRACE_BEGIN)
        note_begin(watchdog, event);
    if (is_end)
        judge(watchdog, &ended);
}

void ed_watchdog_start(struct ed_loop *loop, struct ed_watchdog *watchdog)
{
    assert(!watchdog->loop);

    watchdog->longest = (struct ed_callback){0};
    watchdog->warnings = 0;
    watchdog->trace.tell = hear;
    watchdog->next = loop->trace;
    watchdog->loop = loop;
    __atomic_store_n(&loop->trace, &watchdog->trace, __ATOMIC_RELEASE);
}

void ed_watchdog_stop(struct ed_watchdog *watchdog)
{
    struct ed_loop *loop = watchdog->loop;
    if (!loop)
        return;

    assert(loop->trace == &watchdog->trace);
    __atomic_store_n(&loop->trace, watchdog->next, __ATOMIC_RELEASE);
    watchdog->loop = NULL;
    begin_change(watchdog);
    set_depth(watchdog, 0);
    end_change(watchdog);
}

/* Whatever the stack is meanwhile. Returns whether it was not empty. */
static bool read_last(const struct ed_watchdog *watchdog,
                      struct ed_callback *callback)
{
    unsigned depth = __atomic_load_n(&watchdog->depth, __ATOMIC_ACQUIRE);
    if (depth == 0)
        return false;
    if (depth > ED_WATCHDOG_DEPTH)
        depth = ED_WATCHDOG_DEPTH;

    const struct ed_callback *last = &watchdog->running[depth - 1];
    *callback = (struct ed_callback){
        .name = __atomic_load_n(&last->name, __ATOMIC_ACQUIRE),
        .subject = __atomic_load_n(&last->subject, __ATOMIC_ACQUIRE),
        .fn = __atomic_load_n(&last->fn, __ATOMIC_ACQUIRE),
        .began_ns = __atomic_load_n(&last->began_ns, __ATOMIC_ACQUIRE),
        .took_ns = __atomic_load_n(&last->took_ns, __ATOMIC_ACQUIRE),
    };
    return true;
}

bool ed_watchdog_running(const struct ed_watchdog *watchdog,
                         struct ed_callback *callback)
{
    for (;;) {
        unsigned before = __atomic_load_n(&watchdog->changes, __ATOMIC_ACQUIRE);
        bool is_running = read_last(watchdog, callback);
        if (is_running)
            callback->took_ns =
                ed_clock_ns() - callback->began_ns - callback->took_ns;
        unsigned after = __atomic_load_n(&watchdog->changes, __ATOMIC_RELAXED);
        if (before % 2 == 0 && before == after)
            return is_running;
        ed_spin_pause();
    }
}
