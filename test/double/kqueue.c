/*
 * test/double/kqueue.c - kqueue() and kevent() on top of epoll
 *
 *     queue -> knote -> knote -> ...          one for each (ident, filter)
 *       |        |
 *       |        +-- fd, in the epoll set of its side
 *       +-- sets[READ_SIDE], whose descriptor is also the queue's
 *       +-- sets[WRITE_SIDE]
 *
 * There are two sets because a descriptor can be in one only once, but have two
 * knotes. A knote's address is in its set exactly as long as the knote is in
 * its queue.
 *
 * Locking. One lock guards all there is, so that threads may do what they like
 * to queues and descriptors. Sleeping is done without it: epoll sees what
 * changes in a set meanwhile. Signals are blocked while it is held, because
 * kevent() and close() may be called by signal handlers.
 *
 * A queue that is itself polled is readable when its read side is, where
 * processes are, too: that is all that eddy needs.
 *
 * Not here, since eddy uses none of it: other filters, EV_ONESHOT of what ends
 * of itself, EV_DISPATCH, EV_ENABLE, EV_RECEIPT, other fflags.
 */
#include <sys/event.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/double/faults.h"

enum { READ_SIDE, WRITE_SIDE, SIDES };

/* Events taken from a set at once; kevent() may return fewer than wanted. */
enum { BATCH = 64 };

/* Longer timeouts are an error on some systems. */
enum { LONGEST_WAIT_S = 100 * 1000 * 1000 };

static const int64_t ns_per_s = 1000000000;

struct knote {
    struct knote *next;
    struct kevent event; // as it was added
    int fd;              // event.ident, or one of our own
    int side;
    bool is_fd_own; // for a user's event, a file, and a process
};

struct queue {
    struct queue *next;
    int sets[SIDES];
    int first_side; // to look at in the next harvest, so that neither starves
    struct knote *knotes;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; // guards what follows
static sigset_t signals; // that the thread which holds it had blocked before
static struct queue *queues;
static struct kqueue_faults faults;
static unsigned waits; // since faults were set
static unsigned adds;
static unsigned long events_returned;

static void lock(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_mutex_lock(&mutex);
    signals = before;
}

static void unlock(void)
{
    sigset_t before = signals;
    pthread_mutex_unlock(&mutex);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void kqueue_double_set_faults(const struct kqueue_faults *wanted)
{
    lock();
    faults = *wanted;
    waits = 0;
    adds = 0;
    unlock();
}

unsigned long kqueue_double_events(void)
{
    lock();
    unsigned long count = events_returned;
    unlock();
    return count;
}

/* ---- filters ------------------------------------------------------- */

static bool is_user(const struct kevent *event)
{
#ifdef EVFILT_USER
    return event->filter == EVFILT_USER;
#else
    (void)event;
    return false;
#endif
}

static bool is_descriptor(const struct kevent *event)
{
    return event->filter == EVFILT_READ || event->filter == EVFILT_WRITE;
}

static bool is_process(const struct kevent *event)
{
    return event->filter == EVFILT_PROC;
}

static bool is_trigger(const struct kevent *change)
{
#ifdef EVFILT_USER
    return is_user(change) && (change->fflags & NOTE_TRIGGER);
#else
    (void)change;
    return false;
#endif
}

/* ---- closing ------------------------------------------------------- */

static int (*libc_close)(int fd);

__attribute__((constructor)) static void find_libc_close(void)
{
    *(void **)&libc_close = dlsym(RTLD_NEXT, "close");
}

/*
 * That of libc, or of the thread sanitizer, which would take the next
 * descriptor of that number for the same one if it did not see the end of this.
 */
static int real_close(int fd)
{
    return libc_close ? libc_close(fd) : (int)syscall(SYS_close, fd);
}

/* What is defined below would forget the descriptor. */
static void close_own(int fd)
{
    real_close(fd);
}

static void free_knote(struct queue *queue, struct knote **link)
{
    struct knote *knote = *link;
    *link = knote->next;
    epoll_ctl(queue->sets[knote->side], EPOLL_CTL_DEL, knote->fd, NULL);
    if (knote->is_fd_own)
        close_own(knote->fd);
    free(knote);
}

static void free_queue(struct queue **link)
{
    struct queue *queue = *link;
    *link = queue->next;
    while (queue->knotes)
        free_knote(queue, &queue->knotes);
    // sets[READ_SIDE] is the descriptor that is being closed.
    close_own(queue->sets[WRITE_SIDE]);
    free(queue);
}

static void forget_in(struct queue *queue, int fd)
{
    struct knote **link = &queue->knotes;
    while (*link) {
        const struct kevent *event = &(*link)->event;
        if (is_descriptor(event) && event->ident == (uintptr_t)fd)
            free_knote(queue, link);
        else
            link = &(*link)->next;
    }
}

/*
 * A kqueue forgets a descriptor when it is closed, epoll when the last
 * duplicate of it is. Hence close() and the others are defined here, before
 * libc's. Closing within libc, as fclose() does, goes unseen.
 */
static void forget(int fd)
{
    lock();
    struct queue **link = &queues;
    while (*link) {
        if ((*link)->sets[READ_SIDE] == fd) {
            free_queue(link);
        } else {
            forget_in(*link, fd);
            link = &(*link)->next;
        }
    }
    unlock();
}

int close(int fd)
{
    forget(fd);
    return real_close(fd);
}

static void forget_replaced(int fd, int replaced)
{
    if (fd != replaced && fcntl(fd, F_GETFD) >= 0)
        forget(replaced);
}

int dup2(int fd, int replaced)
{
    forget_replaced(fd, replaced);
    return (int)syscall(SYS_dup2, fd, replaced);
}

int dup3(int fd, int replaced, int flags)
{
    forget_replaced(fd, replaced);
    return (int)syscall(SYS_dup3, fd, replaced, flags);
}

/*
 * A child has no queues. The sets are shared with the parent: to take anything
 * out of them would take it from the parent, too.
 */
static void forget_all(void)
{
    while (queues) {
        struct queue *queue = queues;
        queues = queue->next;
        for (int side = 0; side < SIDES; side++)
            close_own(queue->sets[side]);
        while (queue->knotes) {
            struct knote *knote = queue->knotes;
            queue->knotes = knote->next;
            if (knote->is_fd_own)
                close_own(knote->fd);
            free(knote);
        }
        free(queue);
    }
    unlock();
}

static void prepare_for_forks(void)
{
    pthread_atfork(lock, unlock, forget_all);
}

/* ---- kqueue() ------------------------------------------------------ */

int kqueue(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare_for_forks);

    struct queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return -1;
    queue->sets[READ_SIDE] = epoll_create1(0);
    if (queue->sets[READ_SIDE] < 0)
        goto free_queue;
    queue->sets[WRITE_SIDE] = epoll_create1(EPOLL_CLOEXEC);
    if (queue->sets[WRITE_SIDE] < 0)
        goto close_first;

    lock();
    queue->next = queues;
    queues = queue;
    unlock();
    return queue->sets[READ_SIDE];

close_first:
    close_own(queue->sets[READ_SIDE]);
free_queue:
    free(queue);
    errno = EMFILE;
    return -1;
}

/* ---- changes ------------------------------------------------------- */

static bool is_without_reader(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLOUT};
    return poll(&poller, 1, 0) > 0 && (poller.revents & POLLERR);
}

/* Returns 0 or an errno, as the others below do. */
static int open_own(struct knote *knote, unsigned count)
{
    knote->fd = eventfd(count, EFD_CLOEXEC | EFD_NONBLOCK);
    knote->is_fd_own = true;
    return knote->fd < 0 ? errno : 0;
}

static int open_descriptor(struct knote *knote)
{
    struct stat stat;
    knote->fd = (int)knote->event.ident;
    if (fstat(knote->fd, &stat))
        return EBADF;
    if (faults.add_errno && adds++ >= faults.adds_before)
        return faults.add_errno;
    if (faults.dead_pipe_errno && knote->side == WRITE_SIDE &&
        S_ISFIFO(stat.st_mode) && is_without_reader(knote->fd))
        return faults.dead_pipe_errno;
    // A file is always ready. Epoll would refuse it.
    if (S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode))
        return open_own(knote, 1);
    return 0;
}

/*
 * FreeBSD finds processes that have ended and wait to be reaped, the others do
 * not.
 */
static bool is_lost(int pidfd)
{
#ifdef KQUEUE_DOUBLE_FREEBSD
    (void)pidfd;
    return false;
#else
    struct pollfd poller = {.fd = pidfd, .events = POLLIN};
    return poll(&poller, 1, 0) > 0;
#endif
}

static int open_process(struct knote *knote)
{
    if (knote->event.fflags != NOTE_EXIT)
        return EINVAL;
    if (faults.proc_errno)
        return faults.proc_errno;
    if (faults.early_exit)
        return open_own(knote, 1);
    knote->fd = (int)syscall(SYS_pidfd_open, (pid_t)knote->event.ident, 0);
    if (knote->fd < 0)
        return errno;
    knote->is_fd_own = true;
    if (!is_lost(knote->fd))
        return 0;
    close_own(knote->fd);
    return ESRCH;
}

/* Sets what epoll is to look at. */
static int open_knote(struct knote *knote)
{
    if (is_descriptor(&knote->event))
        return open_descriptor(knote);
    if (is_process(&knote->event))
        return open_process(knote);
    return faults.no_user ? EINVAL : open_own(knote, 0);
}

static int add_knote(struct queue *queue, const struct kevent *change)
{
    struct knote *knote = calloc(1, sizeof *knote);
    if (!knote)
        return ENOMEM;
    knote->event = *change;
    knote->side = change->filter == EVFILT_WRITE ? WRITE_SIDE : READ_SIDE;
    int err = open_knote(knote);
    if (err)
        goto free_knote;

    struct epoll_event wanted = {.data.ptr = knote};
    wanted.events = knote->side == READ_SIDE ? EPOLLIN | EPOLLRDHUP : EPOLLOUT;
    // A user's event is cleared by reading it.
    if ((change->flags & EV_CLEAR) && is_descriptor(change) && !faults.refire)
        wanted.events |= EPOLLET;
    if (epoll_ctl(queue->sets[knote->side], EPOLL_CTL_ADD, knote->fd,
                  &wanted)) {
        err = errno;
        goto close_fd;
    }
    knote->next = queue->knotes;
    queue->knotes = knote;
    return 0;

close_fd:
    if (knote->is_fd_own)
        close_own(knote->fd);
free_knote:
    free(knote);
    return err;
}

static struct knote **find_knote(struct queue *queue,
                                 const struct kevent *change)
{
    struct knote **link = &queue->knotes;
    while (*link && ((*link)->event.ident != change->ident ||
                     (*link)->event.filter != change->filter))
        link = &(*link)->next;
    return link;
}

static int apply(struct queue *queue, const struct kevent *change)
{
    if (!is_descriptor(change) && !is_user(change) && !is_process(change))
        return EINVAL;
    if (change->flags & ~(EV_ADD | EV_DELETE | EV_CLEAR))
        return EINVAL;

    struct knote **link = find_knote(queue, change);
    if (!*link && is_descriptor(change) &&
        fcntl((int)change->ident, F_GETFD) < 0)
        return EBADF;
    if (!*link)
        return change->flags & EV_ADD ? add_knote(queue, change) : ENOENT;
    if (change->flags & EV_DELETE) {
        free_knote(queue, link);
        return 0;
    }
    // Every change does this on most systems, and none changes EV_CLEAR.
    (*link)->event.udata = change->udata;
    if (is_trigger(change) && eventfd_write((*link)->fd, 1))
        return errno;
    return 0;
}

/* ---- events -------------------------------------------------------- */

/* As wait() would have it, which can still come. */
static int status_of(int pidfd)
{
    siginfo_t info = {0};
    if (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info,
               WEXITED | WNOHANG | WNOWAIT))
        return 0;
    return info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status;
}

/* The end of a process is told once, and the knote goes with it. */
static void report_exit(struct queue *queue, struct knote *knote,
                        struct kevent *event)
{
    event->flags = EV_EOF | EV_ONESHOT;
    event->fflags = NOTE_EXIT;
    event->data = faults.early_exit ? 0 : status_of(knote->fd);
    free_knote(queue, find_knote(queue, event));
}

/* Fills in event if the knote has one, knowing what epoll said of it. */
static bool report(struct queue *queue, struct knote *knote, uint32_t said,
                   struct kevent *event)
{
    int bytes = 0;
    eventfd_t triggers;
    *event = (struct kevent){.ident = knote->event.ident,
                             .filter = knote->event.filter,
                             .udata = knote->event.udata};
    event->flags = knote->event.flags & EV_CLEAR;
    if (is_user(event))
        return !(event->flags & EV_CLEAR) ||
               eventfd_read(knote->fd, &triggers) == 0;
    if (is_process(event)) {
        report_exit(queue, knote, event);
        return true;
    }

    uint32_t end = EPOLLRDHUP;
    if (knote->side == WRITE_SIDE) {
        bytes = 4096; // whatever there is, as some systems have it
        end = EPOLLERR;
    } else if (ioctl(knote->fd, FIONREAD, &bytes)) {
        bytes = 1; // connections to accept
    }
    if (said & (end | EPOLLHUP))
        event->flags |= EV_EOF;
    event->data = faults.zero_data ? 0 : bytes;
    return true;
}

static unsigned next_random(void)
{
    faults.shuffle = faults.shuffle * 1103515245U + 12345U;
    return faults.shuffle >> 16;
}

static void shuffle(struct kevent *events, int count)
{
    for (int left = count; left > 1; left--) {
        unsigned other = next_random() % (unsigned)left;
        struct kevent last = events[left - 1];
        events[left - 1] = events[other];
        events[other] = last;
    }
}

/* Returns how many events there are now. */
static int harvest(struct queue *queue, struct kevent *events, int most)
{
    int count = 0;
    if (faults.max_batch && most > (int)faults.max_batch)
        most = (int)faults.max_batch;

    for (int i = 0; i < SIDES && count < most; i++) {
        struct epoll_event ready[BATCH];
        int side = (queue->first_side + i) % SIDES;
        int wanted = most - count < BATCH ? most - count : BATCH;
        int n = epoll_wait(queue->sets[side], ready, wanted, 0);
        for (int j = 0; j < n; j++)
            count += report(queue, ready[j].data.ptr, ready[j].events,
                            &events[count]);
    }
    queue->first_side = (queue->first_side + 1) % SIDES;
    if (faults.shuffle)
        shuffle(events, count);
    events_returned += (unsigned long)count;
    return count;
}

/* ---- kevent() ------------------------------------------------------ */

static struct queue *find_queue(int fd)
{
    struct queue *queue = queues;
    while (queue && queue->sets[READ_SIDE] != fd)
        queue = queue->next;
    return queue;
}

/*
 * Returns the number of errors told by way of events. If there is no room for
 * one, *err is that error and the changes after it are not made.
 */
static int apply_all(struct queue *queue, const struct kevent *changes,
                     kqueue_double_count change_count, struct kevent *events,
                     kqueue_double_count event_count, int *err)
{
    int errors = 0;
    for (kqueue_double_count i = 0; i < change_count; i++) {
        struct kevent change = changes[i]; // events may be the same array
        *err = apply(queue, &change);
        if (!*err)
            continue;
        if (errors >= (int)event_count)
            return errors;
        change.flags = EV_ERROR;
        change.data = *err;
        *err = 0;
        events[errors++] = change;
    }
    return errors;
}

static int64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * ns_per_s + now.tv_nsec;
}

static bool is_interrupted(void)
{
    lock();
    bool is = faults.eintr_every && ++waits % faults.eintr_every == 0;
    unlock();
    return is;
}

/* Returns how many events came before the end; never: a negative end_ns. */
static int wait_until(int fd, struct kevent *events, int most, int64_t end_ns)
{
    for (;;) {
        lock();
        struct queue *queue = find_queue(fd);
        if (!queue) {
            unlock();
            errno = EBADF;
            return -1;
        }
        int count = harvest(queue, events, most);
        struct pollfd sets[SIDES];
        for (int side = 0; side < SIDES; side++)
            sets[side] =
                (struct pollfd){.fd = queue->sets[side], .events = POLLIN};
        unlock();
        if (count > 0)
            return count;

        struct timespec left = {0};
        if (end_ns >= 0) {
            int64_t left_ns = end_ns - clock_ns();
            if (left_ns <= 0)
                return 0;
            left.tv_sec = left_ns / ns_per_s;
            left.tv_nsec = left_ns % ns_per_s;
        }
        if (ppoll(sets, SIDES, end_ns < 0 ? NULL : &left, NULL) < 0)
            return -1;
    }
}

int kevent(int fd, const struct kevent *changes,
           kqueue_double_count change_count, struct kevent *events,
           kqueue_double_count event_count, const struct timespec *timeout)
{
    if (timeout && (timeout->tv_sec < 0 || timeout->tv_sec > LONGEST_WAIT_S ||
                    timeout->tv_nsec < 0 || timeout->tv_nsec >= ns_per_s)) {
        errno = EINVAL;
        return -1;
    }

    int err = EBADF, errors = 0;
    lock();
    struct queue *queue = find_queue(fd);
    if (queue) {
        err = 0;
        errors =
            apply_all(queue, changes, change_count, events, event_count, &err);
    }
    unlock();
    if (err) {
        errno = err;
        return -1;
    }
    if (errors || event_count == 0)
        return errors;

    int64_t end_ns = 0; // long ago: look, but do not sleep
    if (!timeout)
        end_ns = -1;
    else if (timeout->tv_sec || timeout->tv_nsec)
        end_ns = clock_ns() + timeout->tv_sec * ns_per_s + timeout->tv_nsec;
    if (end_ns != 0 && is_interrupted()) {
        errno = EINTR;
        return -1;
    }
    return wait_until(fd, events, (int)event_count, end_ns);
}
