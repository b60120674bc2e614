/*
 * loop/kqueue.c - the poller on macOS, FreeBSD, OpenBSD and NetBSD
 *
 * Each direction of a watch is a filter of its own, level-triggered, that
 * carries the watch's address; ed_turn_report() joins the two. What woke the
 * poller is an EVFILT_USER event, or where there is none (OpenBSD before 7.8,
 * NetBSD before 10) a pipe.
 *
 * Changes are made one system call each: in a list, an error of one would hide
 * what became of the others. Of an event only filter, udata and EV_EOF are
 * used: data is a hint that differs between systems, and errors are for read
 * and write to tell.
 */
#include "loop/poller.h"

#include <sys/types.h>

#include <sys/event.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include "loop/turn.h"

/* Events taken in one wait; what is left comes with the next. */
enum { MOST_EVENTS = 256 };

/* Systems disagree about the longest timeout; waking once a day is allowed. */
static const int64_t longest_wait_s = INT64_C(24) * 60 * 60;

/*
 * One change. Systems differ in the types of these fields; on NetBSD before 10
 * even udata is a number.
 */
static int change(struct ed_poller *poller, int ident, int filter,
                  unsigned flags, unsigned fflags, struct ed_watch *watch)
{
    struct kevent event = {0};
    event.ident = (uintptr_t)ident;
    event.filter = (__typeof__(event.filter))filter;
    event.flags = (__typeof__(event.flags))flags;
    event.fflags = fflags;
    event.udata = (__typeof__(event.udata))watch;
    return kevent(poller->fd, &event, 1, NULL, 0, NULL) ? -errno : 0;
}

static int set_flags(int fd, bool is_pipe)
{
    if (fcntl(fd, F_SETFD, FD_CLOEXEC))
        return -errno;
    if (is_pipe && fcntl(fd, F_SETFL, O_NONBLOCK))
        return -errno;
    return 0;
}

static int init_pipe(struct ed_poller *poller)
{
    int err;
    if (pipe(poller->wake))
        return -errno;
    for (int i = 0; i < 2; i++) {
        err = set_flags(poller->wake[i], true);
        if (err)
            goto close_pipe;
    }
    err = change(poller, poller->wake[0], EVFILT_READ, EV_ADD | EV_CLEAR, 0,
                 NULL);
    if (err)
        goto close_pipe;
    return 0;

close_pipe:
    close(poller->wake[0]);
    close(poller->wake[1]);
    return err;
}

/* Systems differ in what they have at compile time and in what they do then. */
static int init_user_event(struct ed_poller *poller)
{
#ifdef EVFILT_USER
    return change(poller, 0, EVFILT_USER, EV_ADD | EV_CLEAR, 0, NULL);
#else
    (void)poller;
    return -ENOTSUP;
#endif
}

int ed_poller_init(struct ed_poller *poller)
{
    poller->wake[0] = -1;
    poller->wake[1] = -1;
    poller->fd = kqueue();
    if (poller->fd < 0)
        return -errno;

    int err = set_flags(poller->fd, false);
    if (!err && init_user_event(poller))
        err = init_pipe(poller);
    if (err)
        close(poller->fd);
    return err;
}

void ed_poller_destroy(struct ed_poller *poller)
{
    if (poller->wake[0] >= 0) {
        close(poller->wake[0]);
        close(poller->wake[1]);
    }
    close(poller->fd);
}

/* Files and directories count as always ready here: no use to wait for them. */
static int check_kind(int fd)
{
    struct stat stat;
    if (fstat(fd, &stat))
        return -errno;
    return S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode) ? -EPERM : 0;
}

/*
 * NetBSD (EBADF) and older macOS (EPIPE) refuse the writing end of a pipe that
 * nobody reads any more. Elsewhere it counts as ready, so that a write tells.
 */
static bool is_dead_pipe(int fd, int err)
{
    return err == -EPIPE || (err == -EBADF && fcntl(fd, F_GETFD) >= 0);
}

static int add_filter(struct ed_poller *poller, struct ed_watch *watch,
                      int filter)
{
    int err = change(poller, watch->fd, filter, EV_ADD, 0, watch);
    if (filter != EVFILT_WRITE || !is_dead_pipe(watch->fd, err))
        return err;
    // Once, not in each turn: there is nothing in the queue that could.
    ed_turn_report(&watch->loop->ready, watch, ED_WRITABLE | ED_ERROR);
    return 0;
}

/* Cannot fail: what is not there went with its descriptor. */
static void delete_filter(struct ed_poller *poller, struct ed_watch *watch,
                          int filter)
{
    (void)change(poller, watch->fd, filter, EV_DELETE, 0, watch);
}

int ed_poller_set(struct ed_poller *poller, struct ed_watch *watch,
                  unsigned before, unsigned after)
{
    static const struct {
        unsigned interest;
        int filter;
    } filters[] = {
        {ED_READABLE, EVFILT_READ},
        {ED_WRITABLE, EVFILT_WRITE},
    };

    int err = before ? 0 : check_kind(watch->fd);
    if (err)
        return err;
    for (int i = 0; i < 2; i++) {
        bool was = before & filters[i].interest;
        bool is = after & filters[i].interest;
        if (was && !is)
            delete_filter(poller, watch, filters[i].filter);
        if (!was && is)
            err = add_filter(poller, watch, filters[i].filter);
        if (err)
            goto forget;
    }
    return 0;

forget:
    for (int i = 0; i < 2; i++)
        delete_filter(poller, watch, filters[i].filter);
    return err;
}

/* The poller's own events carry no watch. Empties the pipe, if there is one. */
static void woken(struct ed_poller *poller)
{
    char bytes[64];
    if (poller->wake[0] >= 0)
        while (read(poller->wake[0], bytes, sizeof bytes) > 0)
            ;
}

static unsigned happened(const struct kevent *event)
{
    bool is_end = event->flags & EV_EOF;
    if (event->filter == EVFILT_READ)
        return is_end ? ED_READABLE | ED_HANGUP : ED_READABLE;
    // For a writer the end is that nobody reads any more.
    return is_end ? ED_WRITABLE | ED_ERROR : ED_WRITABLE;
}

int ed_poller_wait(struct ed_poller *poller, int64_t timeout_ns,
                   struct ed_list *ready)
{
    struct kevent events[MOST_EVENTS];
    struct timespec timeout = {0};
    if (timeout_ns > 0) {
        timeout.tv_sec = (time_t)((uint64_t)timeout_ns / ED_S);
        timeout.tv_nsec = (long)((uint64_t)timeout_ns % ED_S);
        if (timeout.tv_sec > longest_wait_s)
            timeout.tv_sec = longest_wait_s;
    }
    int n = kevent(poller->fd, NULL, 0, events, MOST_EVENTS,
                   timeout_ns < 0 ? NULL : &timeout);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;

    for (int i = 0; i < n; i++) {
        struct ed_watch *watch = (struct ed_watch *)events[i].udata;
        if (!watch)
            woken(poller);
        else if (!(events[i].flags & EV_ERROR))
            ed_turn_report(ready, watch, happened(&events[i]));
    }
    return 0;
}

void ed_poller_wake(struct ed_poller *poller)
{
    int saved = errno;
    if (poller->wake[1] >= 0) {
        // Fails only when the pipe is full, and then the poller is awake.
        ssize_t written = write(poller->wake[1], "", 1);
        (void)written;
    } else {
#ifdef EVFILT_USER
        (void)change(poller, 0, EVFILT_USER, 0, NOTE_TRIGGER, NULL);
#endif
    }
    errno = saved;
}

/* For a process that has ended: readable, since nobody writes to it any more.
 */
static int open_ended(void)
{
    int ends[2];
    if (pipe(ends))
        return -errno;
    close(ends[1]);
    int err = set_flags(ends[0], false);
    if (!err)
        return ends[0];
    close(ends[0]);
    return err;
}

/*
 * A queue of its own, which is itself a descriptor to be watched. The event is
 * left in it: some systems send it before the process can be reaped, so that
 * one has to look again.
 */
int ed_poller_open_process(pid_t pid)
{
    struct ed_poller poller = {.fd = kqueue()};
    if (poller.fd < 0)
        return -errno;
    int err = set_flags(poller.fd, false);
    if (!err)
        err = change(&poller, pid, EVFILT_PROC, EV_ADD, NOTE_EXIT, NULL);
    if (!err)
        return poller.fd;
    close(poller.fd);
    // Most systems do not find a process any more when it has ended.
    return err == -ESRCH ? open_ended() : err;
}

int ed_poller_processor(void)
{
    return -1; // no call for it that all of these systems have
}
