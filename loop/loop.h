/*
 * loop/loop.h - the event loop: what is ready, and whose turn it is
 *
 *     struct ed_loop loop;
 *     struct ed_timer timer = {0};
 *
 *     ed_loop_init(&loop);
 *     ed_timer_start(&loop, &timer, 5 * ED_MS, on_timer);
 *     ed_loop_run(&loop);             until nothing is left to wait for
 *     ed_loop_destroy(&loop);
 *
 * One turn:
 *
 *     timers due -> messages -> signals -> prepare, idle hooks -> wait
 *                -> ready descriptors -> immediates
 *
 * and after every single callback, before anything else, the ticks that were
 * asked for meanwhile, in order. This is the order that Node documents.
 *
 * Memory. Everything here is a struct of the caller's, embedded in whatever it
 * belongs to; a callback gets it back, and ED_CONTAINER_OF() leads to the rest.
 * Each begins its life zeroed ("= {0}", calloc). From start until stop returns
 * or a one-shot's callback begins, the loop refers to it. Stop is immediate
 * wherever it is called from, its own callback included: afterwards the struct
 * may be freed or used anew. To stop what is not started does nothing; to start
 * what is started starts it anew.
 *
 * Threads. A loop and all that is started on it belong to the thread that runs
 * it, except where it says "Any thread". There is no global state but for what
 * a process has once (signals, the terminal's mode): any number of loops live
 * in one process. After fork, the child may use none of its parent's.
 *
 * Errors are -errno. Misuse is an assertion. Where a function returns nothing,
 * it cannot fail. No signal handler is installed but for those who ask
 * (loop/signal.h, loop/terminal.h), and no signal is blocked.
 */
#ifndef EDDY_LOOP_LOOP_H
#define EDDY_LOOP_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop/count.h"
#include "loop/list.h"
#include "loop/poller.h"
#include "loop/queue.h"
#include "loop/spin.h"
#include "loop/trace.h"
#include "loop/wheel.h"

/* Times are nanoseconds. */
#define ED_US UINT64_C(1000)
#define ED_MS UINT64_C(1000000)
#define ED_S UINT64_C(1000000000)

/* What processors move between each other, in bytes, as a rule. */
enum { ED_CACHE_LINE = 64 };

struct ed_loop {
    // yours to set
    struct ed_trace *trace; // told what happens in this loop; NULL: nobody

    // yours to read
    uint64_t idle_until_ns; // for an idle hook: be back by then

    // private; apart from trace, which other threads look at with each message
    char apart_from_trace[ED_CACHE_LINE];
    uint64_t now_ns;   // the clock as last read
    uint64_t pass_ns;  // timers are due in this turn that are due by then
    bool is_now_stale; // foreign code ran since
    bool is_stopping;  // set by any thread
    bool is_running;
    size_t alive; // what keeps the loop going

    // What ed_loop_metrics() tells, as loop/count.h has it. A negative idle_ns
    // says that the loop sleeps: see the note in loop.c.
    uint64_t turns;
    uint64_t callbacks;
    uint64_t events;
    uint64_t messages;
    uint64_t sleeps;
    int64_t idle_ns;
    uint64_t timers;
    uint64_t watches;

    struct ed_wheel wheel;
    struct ed_list due; // timers to fire in this turn
    struct ed_list ticks;
    struct ed_list immediates; // of this turn, or if it is past them, the next
    struct ed_list prepares;
    struct ed_list idles;
    struct ed_list changed; // watches whose interest the system has to be told
    struct ed_list ready;   // watches to call back in this turn
    struct ed_msg *taken;   // messages to run in this turn
    struct ed_poller poller;

    // For what is built on watches.
    char *buffer; // ED_BUFFER_SIZE bytes to read into; NULL: not needed yet
    struct ed_passed *passed;      // descriptors that came with what is read
    struct ed_signal_inbox *inbox; // NULL: no signal is watched
    struct ed_fs_notifier *notifier; // NULL: no file is watched
    struct ed_list children;       // processes that have not ended

    // For what sends requests to other threads and gets messages back (pool).
    uint64_t requests;      // under way; as loop/count.h has it
    size_t linger_requests; // linger while there are no more than these
    unsigned unpolled;      // turns since the last look at the descriptors
    struct ed_linger linger;
    int reply_processor; // where the last reply came from

    // Messages from all threads. Apart from the rest by a line of the cache, or
    // each message that the loop runs would take the lock from those who post.
    char apart_before[ED_CACHE_LINE];
    struct ed_queue queue;
    char apart_after[ED_CACHE_LINE];
};

/* ---- the loop -------------------------------------------------------- */

/* Returns 0, or -errno (-EMFILE, -ENOMEM) with nothing left to destroy. */
int ed_loop_init(struct ed_loop *loop);

/*
 * Requests must be done and watches (of signals, too) stopped. Timers and hooks
 * still started are stopped; messages still queued are forgotten.
 */
void ed_loop_destroy(struct ed_loop *loop);

/*
 * Takes turns until nothing is left that keeps the loop alive, or it is
 * stopped. Not from within its own callbacks, which is an assertion: what the
 * turn under way still has to call would be called in the midst of a callback
 * that relies on being alone. Alive it is kept by: started timers and watches
 * (unless unref'd), ticks and immediates, requests under way, queued messages,
 * and ed_loop_ref(). Returns 0 when nothing is left, 1 when stopped before, or
 * -errno if waiting failed.
 */
int ed_loop_run(struct ed_loop *loop);

/*
 * Takes one turn, in which it waits at most max_wait_ns (0: not at all,
 * negative: as long as it takes). Returns 1 if something is left, 0 if not, or
 * -errno. A stop ends the wait, and is forgotten when the turn is over.
 */
int ed_loop_run_once(struct ed_loop *loop, int64_t max_wait_ns);

/*
 * Any thread, and signal handlers. The loop returns from ed_loop_run() at the
 * end of its turn; if it is not running, at once when it is next run.
 */
void ed_loop_stop(struct ed_loop *loop);

/* Any thread, and signal handlers. The loop does not sleep through this turn.
 */
void ed_loop_wake(struct ed_loop *loop);

/* Whether anything keeps the loop alive. */
bool ed_loop_is_alive(const struct ed_loop *loop);

/*
 * The caller expects something that the loop does not know of, such as a
 * message from a thread of its own: the loop stays alive until as many unrefs.
 */
void ed_loop_ref(struct ed_loop *loop);
void ed_loop_unref(struct ed_loop *loop);

/*
 * The loop's time, on the clock of ed_clock_ns(). It is read about once a turn
 * and stands still while callbacks run; delays count from it.
 */
uint64_t ed_loop_now(const struct ed_loop *loop);

/* Sets the loop's time right; worth it after a callback that took long. */
void ed_loop_update_now(struct ed_loop *loop);

/* Any thread. A monotonic clock. Not related to the time of day. */
uint64_t ed_clock_ns(void);

/* ---- timers ---------------------------------------------------------- */

struct ed_timer;

typedef void ed_timer_fn(struct ed_timer *timer);

struct ed_timer {
    // private, but for node.deadline_ns, which is yours to read
    struct ed_wheel_node node;
    struct ed_loop *loop;
    uint64_t interval_ns : 62; // the delay, or the period
    uint64_t repeats : 1;
    uint64_t is_unref : 1;
    ed_timer_fn *fn;
};

/*
 * Calls fn once, at the first turn that begins not before delay_ns from
 * ed_loop_now(). With 0 that is the next turn, never this one. Timers fire by
 * deadline, those with the same one in the order started. A delay of more than
 * 146 years is that long.
 */
void ed_timer_start(struct ed_loop *loop, struct ed_timer *timer,
                    uint64_t delay_ns, ed_timer_fn *fn);

/*
 * Calls fn every period_ns (at least 1). The periods are counted from the
 * start, so that it does not drift; those missed by a loop that was busy are
 * left out.
 */
void ed_timer_repeat(struct ed_loop *loop, struct ed_timer *timer,
                     uint64_t period_ns, ed_timer_fn *fn);

/*
 * Counts the delay or period of a timer that has been started before anew from
 * now, whether it is still running, fired or was stopped. For time limits that
 * begin again with each sign of life.
 */
void ed_timer_again(struct ed_timer *timer);

void ed_timer_stop(struct ed_timer *timer);

bool ed_timer_is_active(const struct ed_timer *timer);

/* Whether the timer, while started, keeps the loop alive; it does at first. */
void ed_timer_ref(struct ed_timer *timer);
void ed_timer_unref(struct ed_timer *timer);

/* ---- hooks: a function called at a certain point of the turn --------- */

struct ed_hook;

typedef void ed_hook_fn(struct ed_hook *hook);

struct ed_hook {
    // private
    struct ed_list link;
    struct ed_loop *loop;
    ed_hook_fn *fn;
    bool keeps_alive;
};

/*
 * Once, as soon as the callback that runs now has returned (process.nextTick).
 * Outside of callbacks: at the beginning of the next turn. A tick may ask for
 * ticks; they come before anything else, so it must not do so for ever.
 */
void ed_hook_tick(struct ed_loop *loop, struct ed_hook *hook, ed_hook_fn *fn);

/*
 * Once, after the descriptors of this turn (setImmediate). What an immediate
 * asks for itself comes in the next turn.
 */
void ed_hook_immediate(struct ed_loop *loop, struct ed_hook *hook,
                       ed_hook_fn *fn);

/* In each turn, before the loop waits. Does not keep the loop alive. */
void ed_hook_prepare(struct ed_loop *loop, struct ed_hook *hook,
                     ed_hook_fn *fn);

/*
 * Whenever the loop has nothing else to do, instead of sleeping: for work that
 * can be done in slices. fn is back by loop->idle_until_ns (one millisecond, or
 * less when a timer is due earlier) and is called again and again, with a look
 * for events in between, until it stops the hook. Does not keep the loop alive.
 */
void ed_hook_idle(struct ed_loop *loop, struct ed_hook *hook, ed_hook_fn *fn);

void ed_hook_stop(struct ed_hook *hook);

bool ed_hook_is_active(const struct ed_hook *hook);

/* ---- watches: descriptors -------------------------------------------- */

enum {
    ED_READABLE = 1, // a read would not block: data, end of file, connection
    ED_WRITABLE = 2, // a write would not block
    ED_HANGUP = 4,   // the other side will send no more; read what is left
    ED_ERROR = 8,    // a read or write will say which; or nobody reads any more
};

struct ed_watch;

typedef void ed_watch_fn(struct ed_watch *watch);

struct ed_watch {
    // yours to read
    int fd;
    unsigned ready; // in the callback: what of ED_* happened

    // private
    unsigned interest; // ED_READABLE, ED_WRITABLE as last asked for
    unsigned told;     // as the system knows it
    bool is_active;
    bool is_unref;
    struct ed_loop *loop;
    ed_watch_fn *fn;
    struct ed_list change_link;
    struct ed_list ready_link;
};

/*
 * Calls fn in each turn in which fd is ready for what interest asks for
 * (ED_READABLE, ED_WRITABLE, both, or 0 for nothing yet). Hang-up and error are
 * told as far as the system tells them to who asks for that; they are hints,
 * what read() and write() return decides. A descriptor has one watch on a loop;
 * dup() makes more.
 *
 * Returns 0, or -errno with nothing started: -EBADF; -EPERM for what cannot be
 * waited for (regular files, directories: always ready, use fs); -EEXIST if it
 * is watched already (told by epoll only); -ENOMEM, -ENOSPC. The system is
 * first told of the descriptor, and so finds fault with it, when there is an
 * interest.
 */
int ed_watch_start(struct ed_loop *loop, struct ed_watch *watch, int fd,
                   unsigned interest, ed_watch_fn *fn);

/*
 * Changes the interest. The system is told once, before the loop waits, so that
 * off and on within a turn cost no system call; should that fail, the watch is
 * called with ED_ERROR and watches nothing.
 */
void ed_watch_change(struct ed_watch *watch, unsigned interest);

/* Before the descriptor is closed: a closed one cannot be taken back. */
void ed_watch_stop(struct ed_watch *watch);

bool ed_watch_is_active(const struct ed_watch *watch);

/* Whether the watch, while started, keeps the loop alive; it does at first. */
void ed_watch_ref(struct ed_watch *watch);
void ed_watch_unref(struct ed_watch *watch);

/* ---- messages -------------------------------------------------------- */

/*
 * Any thread, not signal handlers. Calls fn on the loop's thread, in the order
 * posted. Until fn begins the message belongs to the loop. Cannot fail. The
 * loop is woken if it sleeps, once for any number of messages. The loop has to
 * exist as long as somebody may post to it.
 */
void ed_loop_post(struct ed_loop *loop, struct ed_msg *msg, ed_msg_fn *fn);

/*
 * Any thread. The same for several at once: first to last, linked by next, each
 * with its fn set.
 */
void ed_loop_post_list(struct ed_loop *loop, struct ed_msg *first,
                       struct ed_msg *last);

/*
 * Any thread. For who posts often: as ed_loop_post(), but a loop that sleeps is
 * left asleep. Returns whether it is; then ed_loop_wake_sleeper() must follow,
 * before long, by whomever.
 */
bool ed_loop_post_quietly(struct ed_loop *loop, struct ed_msg *msg,
                          ed_msg_fn *fn);

/* Any thread. Wakes the loop if it sleeps and nobody has woken it yet. */
void ed_loop_wake_sleeper(struct ed_loop *loop);

/* ---- metrics --------------------------------------------------------- */

struct ed_loop_metrics {
    uint64_t at_ns; // when they were read, on the clock of ed_clock_ns()

    // since ed_loop_init()
    uint64_t turns;
    uint64_t callbacks; // made by the turns; not those made by these in turn
    uint64_t events;    // descriptors found ready
    uint64_t messages;  // begun
    uint64_t sleeps;    // waits in which the system was told to wait
    uint64_t idle_ns;   // asleep, the sleep under way included

    // at this time
    uint64_t messages_waiting; // posted, and not begun
    uint64_t timers;           // started
    uint64_t watches;          // started
    uint64_t requests;         // under way
};

/*
 * Any thread, at any time from init to destroy; it takes no lock and holds up
 * nobody. The numbers are always counted. Each is right, but a loop that runs
 * meanwhile may have changed one before the next is read. How busy the loop was
 * from one reading to another:
 *
 *     1 - (b.idle_ns - a.idle_ns) / (b.at_ns - a.at_ns)
 *
 * Read by another thread just as the loop wakes up, idle_ns can be ahead by as
 * long as the loop then takes to say so.
 */
void ed_loop_metrics(const struct ed_loop *loop,
                     struct ed_loop_metrics *metrics);

#endif
