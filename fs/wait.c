/*
 * fs/wait.c - waits in slices, with a look at the request between them
 */
#include "fs/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "fs/request.h"

/* How long a worker does not notice that it is called back. */
enum { SLICE_MS = 20 };

int ed_fs_go_on(const struct ed_fs_request *request)
{
    if (!request)
        return 0;
    if (ed_task_is_cancelled(&request->task))
        return -ECANCELED;
    if (request->deadline_ns && ed_clock_ns() >= request->deadline_ns)
        return -ETIMEDOUT;
    return 0;
}

static int slice_ms(const struct ed_fs_request *request)
{
    if (!request->deadline_ns)
        return SLICE_MS;
    uint64_t now_ns = ed_clock_ns();
    uint64_t left_ns =
        request->deadline_ns > now_ns ? request->deadline_ns - now_ns : 0;
    // Round up, so as not to look before it is due.
    return left_ns < SLICE_MS * ED_MS ? (int)(left_ns / ED_MS) + 1 : SLICE_MS;
}

int ed_fs_await(int fd, short events, const struct ed_fs_request *request)
{
    for (;;) {
        int err = ed_fs_go_on(request);
        if (err)
            return err;
        struct pollfd poll_fd = {.fd = fd, .events = events};
        int count = poll(&poll_fd, 1, request ? slice_ms(request) : -1);
        if (count > 0)
            return 0;
        if (count < 0 && errno != EINTR && errno != EAGAIN)
            return -errno;
    }
}

int ed_fs_pause(const struct ed_fs_request *request)
{
    int err = ed_fs_go_on(request);
    if (err)
        return err;
    poll(NULL, 0, request ? slice_ms(request) : SLICE_MS);
    return ed_fs_go_on(request);
}

static bool is_fifo(const char *path)
{
    struct stat stat;
    return fstatat(AT_FDCWD, path, &stat, 0) == 0 && S_ISFIFO(stat.st_mode);
}

int ed_fs_open_patiently(const char *path, int flags, mode_t mode,
                         const struct ed_fs_request *request)
{
    for (;;) {
        int fd = ed_fs_open_sync(path, flags | O_NOCTTY | O_NONBLOCK, mode);
        if (fd != -EAGAIN && !(fd == -ENXIO && is_fifo(path)))
            return fd;
        int err = ed_fs_pause(request);
        if (err)
            return err;
    }
}
