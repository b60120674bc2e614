/*
 * test/bench/sizes.c - how big is what a user has to embed?
 *
 * A watcher of libevent is a struct event, whatever it watches. Where a peer
 * has no such thing, or it is not the user's memory, there is no figure.
 */
#include "fs/fs.h"
#include "loop/loop.h"
#include "pool/pool.h"
#include "test/bench/bench.h"

#ifdef BENCH_LIBUV
#include <uv.h>
#endif
#ifdef BENCH_LIBEV
#include <ev.h>
#endif
#ifdef BENCH_LIBEVENT
#include <event2/event.h>
#include <event2/event_struct.h>
#endif

/* As in the figures below. */
enum { TIMER, WATCH, HOOK, MSG, TASK, LOOP, POOL, FS_REQUEST };

static void sizes_eddy(const struct bench *bench, double *values)
{
    (void)bench;
    values[TIMER] = sizeof(struct ed_timer);
    values[WATCH] = sizeof(struct ed_watch);
    values[HOOK] = sizeof(struct ed_hook);
    values[MSG] = sizeof(struct ed_msg);
    values[TASK] = sizeof(struct ed_task);
    values[LOOP] = sizeof(struct ed_loop);
    values[POOL] = sizeof(struct ed_pool);
    values[FS_REQUEST] = sizeof(struct ed_fs_request);
}

#ifdef BENCH_LIBUV
static void sizes_libuv(const struct bench *bench, double *values)
{
    (void)bench;
    values[TIMER] = sizeof(uv_timer_t);
    values[WATCH] = sizeof(uv_poll_t);
    values[HOOK] = sizeof(uv_prepare_t);
    values[MSG] = sizeof(uv_async_t);
    values[TASK] = sizeof(uv_work_t);
    values[LOOP] = sizeof(uv_loop_t);
    values[FS_REQUEST] = sizeof(uv_fs_t);
}
#endif

#ifdef BENCH_LIBEV
static void sizes_libev(const struct bench *bench, double *values)
{
    (void)bench;
    values[TIMER] = sizeof(ev_timer);
    values[WATCH] = sizeof(ev_io);
    values[HOOK] = sizeof(ev_prepare);
    values[MSG] = sizeof(ev_async);
}
#endif

#ifdef BENCH_LIBEVENT
static void sizes_libevent(const struct bench *bench, double *values)
{
    (void)bench;
    values[TIMER] = sizeof(struct event);
    values[WATCH] = sizeof(struct event);
}
#endif

const struct bench bench_sizes = {
    .figures =
        (const struct bench_figure[]){
            [TIMER] = {"size.ed_timer", "bytes"},
            [WATCH] = {"size.ed_watch", "bytes"},
            [HOOK] = {"size.ed_hook", "bytes"},
            [MSG] = {"size.ed_msg", "bytes"},
            [TASK] = {"size.ed_task", "bytes"},
            [LOOP] = {"size.ed_loop", "bytes"},
            [POOL] = {"size.ed_pool", "bytes"},
            [FS_REQUEST] = {"size.ed_fs_request", "bytes"},
            {NULL, NULL},
        },
    .contenders =
        (const struct bench_contender[]){
            {"eddy", sizes_eddy},
            {"libuv", BENCH_IF_LIBUV(sizes_libuv)},
            {"libev", BENCH_IF_LIBEV(sizes_libev)},
            {"libevent", BENCH_IF_LIBEVENT(sizes_libevent)},
            {NULL, NULL},
        },
};
