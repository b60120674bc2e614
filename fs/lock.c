/*
 * fs/lock.c - flock, which waits
 *
 * A thread of the caller's may wait in the system call. A worker must come back
 * when its request is cancelled or late, so it tries, with pauses between,
 * which are short at first: most locks are.
 */
#include <errno.h>
#include <sys/file.h>
#include <time.h>

#include "fs/request.h"

static const long first_pause_ns = 500000;
static const long longest_pause_ns = 50000000;

int ed_fs_flock_sync(int fd, int operation)
{
    int failed;
    do
        failed = flock(fd, operation);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static int64_t wait_for_lock(const struct ed_fs_request *request)
{
    struct timespec pause = {.tv_nsec = first_pause_ns};
    for (;;) {
        int err = ed_fs_flock_sync(request->fd, request->flags | LOCK_NB);
        if (err != -EWOULDBLOCK)
            return err;
        if (ed_task_is_cancelled(&request->task))
            return -ECANCELED;
        if (ed_fs_request_is_late(request))
            return -ETIMEDOUT;
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < longest_pause_ns)
            pause.tv_nsec *= 2;
    }
}

static void run_flock(struct ed_fs_request *request)
{
    request->result = request->flags & LOCK_NB
                          ? ed_fs_flock_sync(request->fd, request->flags)
                          : wait_for_lock(request);
}

int ed_fs_flock(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                int operation, ed_fs_fn *done)
{
    request->fd = fd;
    request->flags = operation;
    return ed_fs_request_start(pool, request, run_flock, done);
}
