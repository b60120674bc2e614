/*
 * loop/epoll.c - the poller on Linux
 *
 * Watches are level-triggered and hand their own address to the kernel. The
 * eventfd that wakes the poller is edge-triggered: each write is an event, so
 * it is never read. Neither is the timerfd.
 *
 * Waits end in nanoseconds. epoll_pwait2 (Linux 5.11) takes them so, but the
 * kernel lets a thread sleep up to its timer slack longer, 50 us unless that
 * was changed. So short waits are timed by a timerfd, which knows no slack and
 * costs one system call more. It also serves where epoll_pwait2 is missing or
 * forbidden. One that is left armed when something else ends the wait ends a
 * later wait too early, once, which is harmless.
 */
#include "loop/poller.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "loop/turn.h"

/* Events taken in one wait; what is left comes with the next. */
enum { MOST_EVENTS = 256 };

/* Of a wait that is longer, 50 us are less than a twentieth. */
static const int64_t short_wait_ns = 1000000;

int ed_poller_init(struct ed_poller *poller)
{
    int err;
    poller->fd = epoll_create1(EPOLL_CLOEXEC);
    if (poller->fd < 0)
        return -errno;
    poller->wake[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    poller->wake[1] = -1;
    poller->timer = -1;
    poller->lacks_pwait2 = false;
    if (poller->wake[0] < 0) {
        err = -errno;
        goto close_epoll;
    }
    struct epoll_event wake = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (epoll_ctl(poller->fd, EPOLL_CTL_ADD, poller->wake[0], &wake)) {
        err = -errno;
        goto close_eventfd;
    }
    return 0;

close_eventfd:
    close(poller->wake[0]);
close_epoll:
    close(poller->fd);
    return err;
}

void ed_poller_destroy(struct ed_poller *poller)
{
    if (poller->timer >= 0)
        close(poller->timer);
    close(poller->wake[0]);
    close(poller->fd);
}

int ed_poller_set(struct ed_poller *poller, struct ed_watch *watch,
                  unsigned before, unsigned after)
{
    struct epoll_event event = {.data.ptr = watch};
    if (after & ED_READABLE)
        event.events |= EPOLLIN | EPOLLRDHUP;
    if (after & ED_WRITABLE)
        event.events |= EPOLLOUT;

    // Without interest the kernel would still report hang-ups, in every wait.
    int change = !after    ? EPOLL_CTL_DEL
                 : !before ? EPOLL_CTL_ADD
                           : EPOLL_CTL_MOD;
    if (epoll_ctl(poller->fd, change, watch->fd, &event) == 0 || !after)
        return 0;
    int err = -errno;
    if (before)
        (void)epoll_ctl(poller->fd, EPOLL_CTL_DEL, watch->fd, NULL);
    return err;
}

static unsigned happened(uint32_t events)
{
    unsigned what = 0;
    // A read or write tells what is wrong, so it is time for one.
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        what |= ED_READABLE;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        what |= ED_WRITABLE;
    if (events & (EPOLLRDHUP | EPOLLHUP))
        what |= ED_HANGUP;
    if (events & EPOLLERR)
        what |= ED_ERROR;
    return what;
}

static struct timespec timespec_of(int64_t time_ns)
{
    return (struct timespec){
        .tv_sec = (time_t)((uint64_t)time_ns / ED_S),
        .tv_nsec = (long)((uint64_t)time_ns % ED_S),
    };
}

static void create_timer(struct ed_poller *poller)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (fd >= 0 && epoll_ctl(poller->fd, EPOLL_CTL_ADD, fd, &event)) {
        close(fd);
        fd = -1;
    }
    poller->timer = fd;
}

/* Returns whether a wait without end will end by the timer. */
static bool set_timer(struct ed_poller *poller, int64_t timeout_ns)
{
    if (poller->timer < 0)
        create_timer(poller);
    struct itimerspec time = {.it_value = timespec_of(timeout_ns)};
    return poller->timer >= 0 &&
           timerfd_settime(poller->timer, 0, &time, NULL) == 0;
}

/* Returns how many events there are, or -1 with errno. */
static int wait_for(struct ed_poller *poller, struct epoll_event *events,
                    int64_t timeout_ns)
{
    if (timeout_ns <= 0)
        return epoll_wait(poller->fd, events, MOST_EVENTS, timeout_ns ? -1 : 0);
    bool by_timer = timeout_ns < short_wait_ns && set_timer(poller, timeout_ns);
    if (!by_timer && !poller->lacks_pwait2) {
        struct timespec timeout = timespec_of(timeout_ns);
        int n = epoll_pwait2(poller->fd, events, MOST_EVENTS, &timeout, NULL);
        if (n >= 0 || (errno != ENOSYS && errno != EPERM))
            return n;
        poller->lacks_pwait2 = true;
    }
    if (by_timer || set_timer(poller, timeout_ns))
        return epoll_wait(poller->fd, events, MOST_EVENTS, -1);
    // Rounded up, so as not to wake before a timer is due.
    int64_t timeout_ms = (timeout_ns - 1) / (int64_t)ED_MS + 1;
    return epoll_wait(poller->fd, events, MOST_EVENTS,
                      timeout_ms < INT_MAX ? (int)timeout_ms : INT_MAX);
}

int ed_poller_wait(struct ed_poller *poller, int64_t timeout_ns,
                   struct ed_list *ready)
{
    struct epoll_event events[MOST_EVENTS];
    int n = wait_for(poller, events, timeout_ns);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;

    for (int i = 0; i < n; i++) {
        struct ed_watch *watch = events[i].data.ptr;
        if (watch)
            ed_turn_report(ready, watch, happened(events[i].events));
    }
    return 0;
}

void ed_poller_wake(struct ed_poller *poller)
{
    int saved = errno;
    uint64_t one = 1;
    // Fails only when the counter is full, at 2^64 - 1, and it is written to
    // once per sleep at most.
    ssize_t written = write(poller->wake[0], &one, sizeof one);
    (void)written;
    errno = saved;
}

int ed_poller_open_process(pid_t pid)
{
#ifdef SYS_pidfd_open
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : fd;
#else
    (void)pid;
    return -ENOSYS;
#endif
}

int ed_poller_processor(void)
{
    return sched_getcpu();
}
