/*
 * loop/timer.c - timers on the loop's wheel
 *
 * A timer is started exactly when its node is linked: in the wheel, or in
 * loop->due, which holds those of one slot that are to be called next. A
 * repeating timer goes back into the wheel before its callback, so that
 * stopping it there is no special case.
 */
#include <assert.h>

#include "loop/turn.h"

/*
 * 146 years: what interval_ns can hold; added to any time that a clock shows,
 * it does not overflow.
 */
#define LONGEST_NS ((UINT64_C(1) << 62) - 1)

static struct ed_timer *timer_of(struct ed_list *link)
{
    struct ed_wheel_node *node =
        ED_CONTAINER_OF(link, struct ed_wheel_node, link);
    return ED_CONTAINER_OF(node, struct ed_timer, node);
}

static void activate(struct ed_timer *timer, uint64_t deadline_ns)
{
    // What is started in a turn is not due in that turn.
    if (deadline_ns <= timer->loop->pass_ns)
        deadline_ns = timer->loop->pass_ns + 1;
    ed_wheel_add(&timer->loop->wheel, &timer->node, deadline_ns);
    timer->loop->alive += !timer->is_unref;
    ed_count_add(&timer->loop->timers, 1);
}

static void start_timer(struct ed_loop *loop, struct ed_timer *timer,
                        uint64_t interval_ns, bool repeats, ed_timer_fn *fn)
{
    ed_timer_stop(timer);
    timer->loop = loop;
    timer->fn = fn;
    if (interval_ns > LONGEST_NS)
        interval_ns = LONGEST_NS;
    timer->interval_ns = interval_ns & LONGEST_NS;
    timer->repeats = repeats;
    activate(timer, loop->now_ns + timer->interval_ns);
}

void ed_timer_start(struct ed_loop *loop, struct ed_timer *timer,
                    uint64_t delay_ns, ed_timer_fn *fn)
{
    start_timer(loop, timer, delay_ns, false, fn);
}

void ed_timer_repeat(struct ed_loop *loop, struct ed_timer *timer,
                     uint64_t period_ns, ed_timer_fn *fn)
{
    assert(period_ns > 0);
    start_timer(loop, timer, period_ns, true, fn);
}

void ed_timer_again(struct ed_timer *timer)
{
    assert(timer->loop);
    start_timer(timer->loop, timer, timer->interval_ns, timer->repeats,
                timer->fn);
}

void ed_timer_stop(struct ed_timer *timer)
{
    if (!ed_timer_is_active(timer))
        return;

    ed_wheel_remove(&timer->loop->wheel, &timer->node);
    timer->loop->alive -= !timer->is_unref;
    ed_count_take(&timer->loop->timers, 1);
}

bool ed_timer_is_active(const struct ed_timer *timer)
{
    return ed_list_is_linked(&timer->node.link);
}

static void set_timer_unref(struct ed_timer *timer, bool is_unref)
{
    if (ed_timer_is_active(timer)) {
        timer->loop->alive += timer->is_unref;
        timer->loop->alive -= is_unref;
    }
    timer->is_unref = is_unref;
}

void ed_timer_ref(struct ed_timer *timer)
{
    set_timer_unref(timer, false);
}

void ed_timer_unref(struct ed_timer *timer)
{
    set_timer_unref(timer, true);
}

/* The first deadline after now that is a whole number of periods away. */
static uint64_t next_period(const struct ed_timer *timer, uint64_t now_ns)
{
    uint64_t late_ns = now_ns - timer->node.deadline_ns;
    uint64_t missed = late_ns / timer->interval_ns;
    return timer->node.deadline_ns + (missed + 1) * timer->interval_ns;
}

static void fire(struct ed_loop *loop, struct ed_timer *timer)
{
    ed_timer_stop(timer);
    if (timer->repeats)
        activate(timer, next_period(timer, loop->now_ns));
    ed_turn_begin(loop, "timer", timer, (ed_trace_callback_fn *)timer->fn);
    timer->fn(timer);
    ed_turn_called(loop);
}

/* Slot by slot: what was just moved in the wheel is still in the cache. */
void ed_turn_run_timers(struct ed_loop *loop)
{
    loop->pass_ns = loop->now_ns;
    while (ed_wheel_take_due(&loop->wheel, loop->pass_ns, &loop->due))
        while (!ed_list_is_empty(&loop->due))
            fire(loop, timer_of(loop->due.next));
}
