/*
 * loop/hook.c - ticks, immediates, prepare and idle hooks
 *
 * A hook is started exactly when it is linked. The steps that run more than one
 * first move them all to a list of their own: what is started meanwhile waits
 * for the next time, and what is stopped meanwhile unlinks itself from wherever
 * it is. The hooks that stay go back to their list before they are called.
 */
#include "loop/turn.h"

/* The longest slice of an idle hook, so that new events do not wait for long.
 */
static const uint64_t idle_slice_ns = ED_MS;

static struct ed_hook *hook_of(struct ed_list *link)
{
    return ED_CONTAINER_OF(link, struct ed_hook, link);
}

static void start_hook(struct ed_loop *loop, struct ed_hook *hook,
                       ed_hook_fn *fn, struct ed_list *list, bool keeps_alive)
{
    ed_hook_stop(hook);
    hook->loop = loop;
    hook->fn = fn;
    hook->keeps_alive = keeps_alive;
    ed_list_append(list, &hook->link);
    loop->alive += keeps_alive;
}

void ed_hook_tick(struct ed_loop *loop, struct ed_hook *hook, ed_hook_fn *fn)
{
    start_hook(loop, hook, fn, &loop->ticks, true);
}

void ed_hook_immediate(struct ed_loop *loop, struct ed_hook *hook,
                       ed_hook_fn *fn)
{
    start_hook(loop, hook, fn, &loop->immediates, true);
}

void ed_hook_prepare(struct ed_loop *loop, struct ed_hook *hook, ed_hook_fn *fn)
{
    start_hook(loop, hook, fn, &loop->prepares, false);
}

void ed_hook_idle(struct ed_loop *loop, struct ed_hook *hook, ed_hook_fn *fn)
{
    start_hook(loop, hook, fn, &loop->idles, false);
}

void ed_hook_stop(struct ed_hook *hook)
{
    if (!ed_hook_is_active(hook))
        return;

    ed_list_remove(&hook->link);
    hook->loop->alive -= hook->keeps_alive;
}

bool ed_hook_is_active(const struct ed_hook *hook)
{
    return ed_list_is_linked(&hook->link);
}

static void call_hook(struct ed_loop *loop, const char *name,
                      struct ed_hook *hook)
{
    ed_turn_begin(loop, name, hook, (ed_trace_callback_fn *)hook->fn);
    hook->fn(hook);
}

/* Ticks have no ticks of their own: what they ask for is next in their list. */
void ed_turn_run_ticks(struct ed_loop *loop)
{
    while (!ed_list_is_empty(&loop->ticks)) {
        struct ed_hook *hook = hook_of(loop->ticks.next);
        ed_hook_stop(hook);
        call_hook(loop, "tick", hook);
        ed_trace_end(loop->trace);
    }
}

void ed_turn_run_immediates(struct ed_loop *loop)
{
    struct ed_list current;
    ed_list_init(&current);
    ed_list_move_all(&current, &loop->immediates);

    while (!ed_list_is_empty(&current)) {
        struct ed_hook *hook = hook_of(current.next);
        ed_hook_stop(hook);
        call_hook(loop, "immediate", hook);
        ed_turn_called(loop);
    }
}

static void run_lasting(struct ed_loop *loop, const char *name,
                        struct ed_list *list)
{
    struct ed_list current;
    ed_list_init(&current);
    ed_list_move_all(&current, list);

    while (!ed_list_is_empty(&current)) {
        struct ed_list *link = ed_list_pop(&current);
        ed_list_append(list, link);
        call_hook(loop, name, hook_of(link));
        ed_turn_called(loop);
    }
}

void ed_turn_run_prepares(struct ed_loop *loop)
{
    run_lasting(loop, "prepare", &loop->prepares);
}

void ed_turn_run_idles(struct ed_loop *loop, uint64_t end_ns)
{
    ed_loop_update_now(loop);
    loop->idle_until_ns = loop->now_ns + idle_slice_ns;
    if (end_ns < loop->idle_until_ns)
        loop->idle_until_ns = end_ns;
    run_lasting(loop, "idle", &loop->idles);
}
