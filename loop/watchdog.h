/*
 * loop/watchdog.h - which callback held up the loop
 *
 *     static void on_slow(struct ed_watchdog *watchdog,
 *                         const struct ed_callback *callback)
 *     {
 *         fprintf(stderr, "%s took %llu ms\n", callback->name, ...);
 *     }
 *
 *     struct ed_watchdog watchdog = {.limit_ns = 50 * ED_MS, .fn = on_slow};
 *     ed_watchdog_start(loop, &watchdog);
 *
 * A loop is as quick as its slowest callback. A watchdog takes the time of each
 * one; started without fn it just remembers the longest. Where callbacks are
 * made within callbacks (loop/trace.h says which), each has a time of its own,
 * without those within it: of a watch, a stream and the program's reader it is
 * the reader that is slow.
 *
 * It listens to loop->trace and passes on what it hears to whoever listened
 * before, so that both can be had; not started, it costs nothing.
 *
 * What still runs can be asked for from another thread, which is how to find a
 * callback that never returns.
 */
#ifndef EDDY_LOOP_WATCHDOG_H
#define EDDY_LOOP_WATCHDOG_H

#include "loop/loop.h"

struct ed_watchdog;

struct ed_callback {
    const char *name;         // "timer", "read", "message": see loop/trace.h
    const void *subject;      // the struct that it got; maybe gone by now
    ed_trace_callback_fn *fn; // the program's function
    uint64_t began_ns;        // on the clock of ed_clock_ns()
    uint64_t took_ns; // until now if it still runs; callbacks within it apart
};

/*
 * The callback is over, and fn not a part of it; callbacks that it was made by
 * may still run, and go on afterwards. So fn notes, prints, posts, stops the
 * loop or the watchdog, but leaves alone what may have been called back.
 */
typedef void ed_watchdog_fn(struct ed_watchdog *watchdog,
                            const struct ed_callback *callback);

/*
 * Callbacks within callbacks: a watch, the stream's reader in it. What is
 * nested deeper counts as part of the last one.
 */
enum { ED_WATCHDOG_DEPTH = 4 };

struct ed_watchdog {
    // yours to set, before start
    uint64_t limit_ns;  // warn of callbacks that took longer
    ed_watchdog_fn *fn; // NULL: do not

    // yours to read, on the loop's thread
    struct ed_callback longest; // since start, or since you zeroed took_ns
    uint64_t warnings;          // calls of fn since start

    // private
    struct ed_trace trace;
    struct ed_trace *next; // who listened before
    struct ed_loop *loop;
    unsigned depth; // of callbacks that run now
    struct ed_callback running[ED_WATCHDOG_DEPTH];
    unsigned changes; // odd while running is being changed
};

/*
 * Outside of the loop's run, or in a callback, which itself is not watched yet.
 * Not to be started anew before it is stopped.
 */
void ed_watchdog_start(struct ed_loop *loop, struct ed_watchdog *watchdog);

/*
 * The last one started is the first to stop. A thread that posts to the loop,
 * or works for it, just now may still be passing through: until those that did
 * when it was stopped are done, the memory has to stay.
 */
void ed_watchdog_stop(struct ed_watchdog *watchdog);

/*
 * Any thread, as long as the watchdog is started. Returns whether a callback
 * runs now, and which: of several, the innermost.
 */
bool ed_watchdog_running(const struct ed_watchdog *watchdog,
                         struct ed_callback *callback);

#endif
