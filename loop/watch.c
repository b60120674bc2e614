/*
 * loop/watch.c - descriptors
 *
 * What the system is to look for (interest) and what it has been told (told)
 * differ only while the watch is in loop->changed, or after telling it failed.
 * Starting and stopping tell it at once: starting, because errors belong to the
 * call that caused them; stopping, because the caller will close the
 * descriptor, and epoll cannot be told about a closed one.
 *
 * The poller hands out pointers to watches, but only within ed_poller_wait(),
 * which puts them all into loop->ready before any callback runs. From then on
 * that list is all that refers to them, and stopping one is to unlink it.
 */
#include <assert.h>
#include <errno.h>

#include "loop/turn.h"

enum { INTERESTS = ED_READABLE | ED_WRITABLE };

int ed_watch_start(struct ed_loop *loop, struct ed_watch *watch, int fd,
                   unsigned interest, ed_watch_fn *fn)
{
    assert((interest & ~(unsigned)INTERESTS) == 0);

    ed_watch_stop(watch);
    if (fd < 0)
        return -EBADF;
    watch->fd = fd;
    watch->ready = 0;
    watch->loop = loop;
    watch->fn = fn;
    if (interest) {
        int err = ed_poller_set(&loop->poller, watch, 0, interest);
        if (err)
            return err;
    }
    watch->interest = interest;
    watch->told = interest;
    watch->is_active = true;
    ed_count_add(&loop->watches, 1);
    loop->alive += !watch->is_unref;
    return 0;
}

void ed_watch_change(struct ed_watch *watch, unsigned interest)
{
    assert((interest & ~(unsigned)INTERESTS) == 0);
    assert(watch->is_active);

    watch->interest = interest;
    if (!ed_list_is_linked(&watch->change_link))
        ed_list_append(&watch->loop->changed, &watch->change_link);
}

void ed_watch_stop(struct ed_watch *watch)
{
    if (!watch->is_active)
        return;

    if (ed_list_is_linked(&watch->change_link))
        ed_list_remove(&watch->change_link);
    if (ed_list_is_linked(&watch->ready_link))
        ed_list_remove(&watch->ready_link);
    if (watch->told)
        ed_poller_set(&watch->loop->poller, watch, watch->told, 0);
    watch->told = 0;
    watch->is_active = false;
    ed_count_take(&watch->loop->watches, 1);
    watch->loop->alive -= !watch->is_unref;
}

bool ed_watch_is_active(const struct ed_watch *watch)
{
    return watch->is_active;
}

static void set_watch_unref(struct ed_watch *watch, bool is_unref)
{
    if (watch->is_active) {
        watch->loop->alive += watch->is_unref;
        watch->loop->alive -= is_unref;
    }
    watch->is_unref = is_unref;
}

void ed_watch_ref(struct ed_watch *watch)
{
    set_watch_unref(watch, false);
}

void ed_watch_unref(struct ed_watch *watch)
{
    set_watch_unref(watch, true);
}

void ed_turn_tell_changes(struct ed_loop *loop)
{
    struct ed_list *link;
    while ((link = ed_list_pop(&loop->changed))) {
        struct ed_watch *watch =
            ED_CONTAINER_OF(link, struct ed_watch, change_link);
        if (watch->interest == watch->told)
            continue;

        int err =
            ed_poller_set(&loop->poller, watch, watch->told, watch->interest);
        watch->told = err ? 0 : watch->interest;
        if (err)
            ed_turn_report(&loop->ready, watch, ED_ERROR);
    }
}

void ed_turn_run_watches(struct ed_loop *loop)
{
    struct ed_list *link;
    while ((link = ed_list_pop(&loop->ready))) {
        struct ed_watch *watch =
            ED_CONTAINER_OF(link, struct ed_watch, ready_link);
        // A callback before this one may have changed what is of interest.
        if (!watch->interest)
            continue;
        watch->ready &= watch->interest | ED_HANGUP | ED_ERROR;
        if (!watch->ready)
            continue;
        ed_turn_begin(loop, "watch", watch, (ed_trace_callback_fn *)watch->fn);
        watch->fn(watch);
        ed_turn_called(loop);
    }
}
