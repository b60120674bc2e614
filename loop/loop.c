/*
 * loop/loop.c - a turn, and what ends the turning
 *
 * The steps of a turn are in the files of what they run: timer.c, signal.c,
 * watch.c, hook.c; messages are here. This file decides how long to wait.
 *
 * Time. now_ns is read anew where it matters and only if foreign code or a wait
 * may have made it wrong (is_now_stale): before timers are looked at, and
 * before the length of a wait is computed.
 *
 * Sleeping. Whoever changes something from another thread either posts a
 * message (loop/queue.c says why that is never slept through) or sets a flag
 * and calls ed_poller_wake(), which ends the wait under way or else the next.
 *
 * Note "idle time": idle_ns is how long the loop has slept in all. While it
 * sleeps, the time at which it fell asleep is taken off; whoever adds the time
 * at which it wakes up, or at which somebody asks, has the sum again. As a loop
 * cannot have slept for longer than the clock shows, only a loop that sleeps
 * has a negative idle_ns. So one number says all, whenever another thread reads
 * it; that the loop did not wake up before the clock was read is seen by
 * reading it once more.
 */
#include "loop/loop.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "loop/turn.h"

/* How many turns in a row may go without a look at the descriptors. */
enum { UNPOLLED_TURNS = 16 };

uint64_t ed_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * ED_S + (uint64_t)now.tv_nsec;
}

int ed_loop_init(struct ed_loop *loop)
{
    *loop = (struct ed_loop){.now_ns = ed_clock_ns(), .reply_processor = -1};
    int err = ed_poller_init(&loop->poller);
    if (err)
        return err;

    ed_queue_init(&loop->queue);
    ed_wheel_init(&loop->wheel, loop->now_ns);
    ed_list_init(&loop->due);
    ed_list_init(&loop->ticks);
    ed_list_init(&loop->immediates);
    ed_list_init(&loop->prepares);
    ed_list_init(&loop->idles);
    ed_list_init(&loop->changed);
    ed_list_init(&loop->ready);
    ed_list_init(&loop->children);
    return 0;
}

static void unlink_all(struct ed_list *list)
{
    while (ed_list_pop(list))
        ;
}

void ed_loop_destroy(struct ed_loop *loop)
{
    assert(!loop->is_running);
    ed_turn_forget_children(loop);
    assert(loop->requests == 0);
    assert(loop->watches == 0);
    assert(!loop->inbox);
    assert(!loop->notifier);

    // All timers there are become due before the end of time.
    while (ed_wheel_take_due(&loop->wheel, UINT64_MAX, &loop->due))
        ;
    unlink_all(&loop->due);
    unlink_all(&loop->ticks);
    unlink_all(&loop->immediates);
    unlink_all(&loop->prepares);
    unlink_all(&loop->idles);
    ed_poller_destroy(&loop->poller);
    free(loop->buffer);
}

char *ed_turn_buffer(struct ed_loop *loop)
{
    // Some processors copy many times slower to a block that malloc() has put
    // sixteen bytes into a page.
    if (!loop->buffer)
        loop->buffer = aligned_alloc(ED_CACHE_LINE, ED_BUFFER_SIZE);
    return loop->buffer;
}

uint64_t ed_loop_now(const struct ed_loop *loop)
{
    return loop->now_ns;
}

void ed_loop_update_now(struct ed_loop *loop)
{
    loop->now_ns = ed_clock_ns();
    loop->is_now_stale = false;
}

static void freshen_now(struct ed_loop *loop)
{
    if (loop->is_now_stale)
        ed_loop_update_now(loop);
}

/* ---- alive, stop, wake ----------------------------------------------- */

bool ed_loop_is_alive(const struct ed_loop *loop)
{
    return loop->alive || loop->requests || loop->taken ||
           !ed_queue_is_empty(&loop->queue);
}

void ed_loop_ref(struct ed_loop *loop)
{
    loop->alive++;
}

void ed_loop_unref(struct ed_loop *loop)
{
    assert(loop->alive > 0);
    loop->alive--;
}

static bool is_stopping(const struct ed_loop *loop)
{
    return __atomic_load_n(&loop->is_stopping, __ATOMIC_ACQUIRE);
}

void ed_loop_stop(struct ed_loop *loop)
{
    __atomic_store_n(&loop->is_stopping, true, __ATOMIC_RELEASE);
    ed_poller_wake(&loop->poller);
}

void ed_loop_wake(struct ed_loop *loop)
{
    ed_poller_wake(&loop->poller);
}

/* ---- messages -------------------------------------------------------- */

/* Before it is pushed: afterwards it may be gone. */
static void tell_message(struct ed_loop *loop, const struct ed_msg *msg)
{
    ed_trace_tell(ed_trace_read(&loop->trace), ED_TRACE_MESSAGE, msg, NULL, 0);
}

void ed_loop_post(struct ed_loop *loop, struct ed_msg *msg, ed_msg_fn *fn)
{
    if (ed_loop_post_quietly(loop, msg, fn))
        ed_loop_wake_sleeper(loop);
}

void ed_loop_post_list(struct ed_loop *loop, struct ed_msg *first,
                       struct ed_msg *last)
{
    uint64_t count = 1;
    for (const struct ed_msg *msg = first; msg != last; msg = msg->next) {
        tell_message(loop, msg);
        count++;
    }
    tell_message(loop, last);
    if (ed_queue_push(&loop->queue, first, last, count))
        ed_loop_wake_sleeper(loop);
}

bool ed_loop_post_quietly(struct ed_loop *loop, struct ed_msg *msg,
                          ed_msg_fn *fn)
{
    msg->fn = fn;
    tell_message(loop, msg);
    return ed_queue_push(&loop->queue, msg, msg, 1);
}

void ed_loop_wake_sleeper(struct ed_loop *loop)
{
    if (ed_queue_claim_wake(&loop->queue))
        ed_poller_wake(&loop->poller);
}

static void run_messages(struct ed_loop *loop)
{
    loop->taken = ed_queue_take_all(&loop->queue);
    while (loop->taken) {
        struct ed_msg *msg = loop->taken;
        loop->taken = msg->next; // before fn, which may free the message
        ed_count_add(&loop->messages, 1);
        ed_turn_begin(loop, "message", msg, (ed_trace_callback_fn *)msg->fn);
        msg->fn(msg);
        ed_turn_called(loop);
    }
}

/* ---- waiting --------------------------------------------------------- */

/* How long the loop may sleep: 0 not at all, negative without end. */
static int64_t time_to_wait(struct ed_loop *loop, int64_t max_wait_ns)
{
    if (is_stopping(loop) || (!loop->alive && !loop->requests) ||
        !ed_list_is_empty(&loop->immediates) || !ed_list_is_empty(&loop->ready))
        return 0;

    uint64_t next_ns = ed_wheel_next(&loop->wheel);
    if (next_ns == ED_WHEEL_NEVER)
        return max_wait_ns;
    if (next_ns <= loop->now_ns)
        return 0;
    int64_t wait_ns = (int64_t)(next_ns - loop->now_ns);
    return max_wait_ns >= 0 && max_wait_ns < wait_ns ? max_wait_ns : wait_ns;
}

/*
 * Whether a reply to a request is to be expected any moment. With more requests
 * under way than there are workers, and processors for them, looking for it
 * would only take the processor from them.
 */
static bool expects_reply(const struct ed_loop *loop)
{
    return loop->requests && loop->requests <= loop->linger_requests;
}

/*
 * Looks for the reply for as long as that is cheaper than to sleep and be woken
 * up. Returns whether it came.
 */
static bool linger(struct ed_loop *loop, int64_t wait_ns)
{
    if (!ed_linger_begin(&loop->linger, ed_poller_processor(),
                         loop->reply_processor))
        return false;

    uint64_t look_ns = ED_LINGER_NS;
    if (wait_ns >= 0 && (uint64_t)wait_ns < look_ns)
        look_ns = (uint64_t)wait_ns;
    bool came = ed_spin_until(&loop->queue.is_filled, look_ns);
    ed_linger_end(&loop->linger, came);
    loop->is_now_stale = true;
    if (!came)
        loop->now_ns += look_ns; // at least
    return came;
}

/* To be called when the queue knows it. */
static int sleep_in_poller(struct ed_loop *loop, int64_t wait_ns)
{
    uint64_t events_before = loop->events;
    ed_count_add(&loop->sleeps, 1);
    ed_trace_tell(loop->trace, ED_TRACE_SLEEP, loop, NULL, wait_ns);
    __atomic_store_n(&loop->idle_ns, loop->idle_ns - (int64_t)loop->now_ns,
                     __ATOMIC_RELAXED);
    int err = ed_poller_wait(&loop->poller, wait_ns, &loop->ready);
    ed_queue_wake_up(&loop->queue);
    ed_loop_update_now(loop);
    __atomic_store_n(&loop->idle_ns, loop->idle_ns + (int64_t)loop->now_ns,
                     __ATOMIC_RELAXED);
    ed_trace_tell(loop->trace, ED_TRACE_WAKE, loop, NULL,
                  (int64_t)(loop->events - events_before));
    return err;
}

static int wait_for_events(struct ed_loop *loop, int64_t max_wait_ns)
{
    ed_turn_tell_changes(loop);
    freshen_now(loop);
    int64_t wait_ns = time_to_wait(loop, max_wait_ns);
    uint64_t end_ns =
        wait_ns < 0 ? ED_WHEEL_NEVER : loop->now_ns + (uint64_t)wait_ns;

    if (expects_reply(loop) && loop->unpolled < UNPOLLED_TURNS &&
        (!ed_queue_is_empty(&loop->queue) ||
         (wait_ns != 0 && linger(loop, wait_ns)))) {
        loop->unpolled++;
        return 0;
    }
    loop->unpolled = 0;
    // A look that was in vain took its part of the wait.
    if (wait_ns > 0)
        wait_ns = (int64_t)(end_ns - loop->now_ns);

    bool is_idle = wait_ns != 0 && !ed_list_is_empty(&loop->idles);
    bool sleeps =
        wait_ns != 0 && !is_idle && ed_queue_fall_asleep(&loop->queue);
    int err = sleeps ? sleep_in_poller(loop, wait_ns)
                     : ed_poller_wait(&loop->poller, 0, &loop->ready);
    if (is_idle && !err && ed_list_is_empty(&loop->ready) &&
        ed_queue_is_empty(&loop->queue))
        ed_turn_run_idles(loop, end_ns);
    return err;
}

/* ---- turning
 * ----------------------------------------------------------------- */

static int turn(struct ed_loop *loop, int64_t max_wait_ns)
{
    ed_count_add(&loop->turns, 1);
    freshen_now(loop);
    ed_turn_run_timers(loop);
    run_messages(loop);
    ed_turn_run_signals(loop);
    ed_turn_run_prepares(loop);
    int err = wait_for_events(loop, max_wait_ns);
    if (err)
        return err;
    ed_turn_run_watches(loop);
    ed_turn_run_immediates(loop);
    return ed_loop_is_alive(loop);
}

static void begin_run(struct ed_loop *loop)
{
    assert(!loop->is_running);
    loop->is_running = true;
    loop->is_now_stale = true;
    ed_turn_run_ticks(loop);
}

/* Returns whether the loop was asked to stop; now that is done. */
static bool end_run(struct ed_loop *loop)
{
    loop->is_running = false;
    return __atomic_exchange_n(&loop->is_stopping, false, __ATOMIC_ACQ_REL);
}

int ed_loop_run(struct ed_loop *loop)
{
    begin_run(loop);
    int left = ed_loop_is_alive(loop);
    while (left > 0 && !is_stopping(loop))
        left = turn(loop, -1);
    bool was_stopped = end_run(loop);
    return left < 0 ? left : was_stopped;
}

int ed_loop_run_once(struct ed_loop *loop, int64_t max_wait_ns)
{
    begin_run(loop);
    int left = turn(loop, max_wait_ns);
    end_run(loop);
    return left;
}

/* ---- metrics --------------------------------------------------------- */

void ed_loop_metrics(const struct ed_loop *loop,
                     struct ed_loop_metrics *metrics)
{
    int64_t idle_ns;
    uint64_t now_ns;
    do {
        idle_ns = __atomic_load_n(&loop->idle_ns, __ATOMIC_ACQUIRE);
        now_ns = ed_clock_ns();
    } while (__atomic_load_n(&loop->idle_ns, __ATOMIC_ACQUIRE) != idle_ns);
    if (idle_ns < 0)
        idle_ns += (int64_t)now_ns;

    uint64_t begun = ed_count_read(&loop->messages);
    uint64_t posted = ed_count_read(&loop->queue.pushed);
    *metrics = (struct ed_loop_metrics){
        .at_ns = now_ns,
        .turns = ed_count_read(&loop->turns),
        .callbacks = ed_count_read(&loop->callbacks),
        .events = ed_count_read(&loop->events),
        .messages = begun,
        .sleeps = ed_count_read(&loop->sleeps),
        .idle_ns = (uint64_t)idle_ns,
        .messages_waiting = posted > begun ? posted - begun : 0,
        .timers = ed_count_read(&loop->timers),
        .watches = ed_count_read(&loop->watches),
        .requests = ed_count_read(&loop->requests),
    };
}
