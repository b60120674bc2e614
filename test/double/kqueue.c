/*
 * test/double/kqueue.c - kqueue() and kevent() on top of epoll
 *
 *     queue -> knote -> knote -> ...          one for each (ident, filter)
 *       |        |
 *       |        +-- fd, in the epoll set of its side
 *       +-- sets[READ_SIDE], whose descriptor is also the queue's
 *       +-- sets[WRITE_SIDE]
 *
 *       +-- inotify, in sets[READ_SIDE]; noted, there while a file has notes
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
 * What happens to a file (EVFILT_VNODE) is told by inotify, of the file that
 * the descriptor is open to (/proc/self/fd). Since that keeps it from going,
 * that it is deleted is seen by its count of links; and of a directory by
 * events of the directory above, since the removal itself has none.
 *
 * A queue that is itself polled is readable when its read side is, where
 * processes are, too: that is all that eddy needs.
 *
 * Not here, since eddy uses none of it: other filters, files without EV_CLEAR,
 * EV_ONESHOT of what ends of itself, EV_DISPATCH, EV_ENABLE, EV_RECEIPT, other
 * fflags.
 */
#include <sys/event.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
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

    // Of EVFILT_VNODE.
    int wd;         // of the file
    int parent_wd;  // of the directory above, if it is a directory; -1: none
    unsigned notes; // that are to be told
    off_t size;     // as last seen
    nlink_t links;
};

struct queue {
    struct queue *next;
    int sets[SIDES];
    int first_side; // to look at in the next harvest, so that neither starves
    struct knote *knotes;
    int inotify; // -1: none; as with noted
    int noted;   // an eventfd that is readable while notes are to be told
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

static bool is_file(const struct kevent *event)
{
    return event->filter == EVFILT_VNODE;
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

/* For as long as a knote needs it. Never a wd that is -1. */
static void leave_wd(const struct queue *queue, int wd)
{
    const struct knote *knote = queue->knotes;
    while (knote && (!is_file(&knote->event) ||
                     (knote->wd != wd && knote->parent_wd != wd)))
        knote = knote->next;
    if (!knote && wd >= 0)
        inotify_rm_watch(queue->inotify, wd);
}

static void free_knote(struct queue *queue, struct knote **link)
{
    struct knote *knote = *link;
    *link = knote->next;
    if (is_file(&knote->event)) {
        leave_wd(queue, knote->wd);
        leave_wd(queue, knote->parent_wd);
    } else {
        epoll_ctl(queue->sets[knote->side], EPOLL_CTL_DEL, knote->fd, NULL);
    }
    if (knote->is_fd_own)
        close_own(knote->fd);
    free(knote);
}

static void close_notes(struct queue *queue)
{
    if (queue->inotify < 0)
        return;
    close_own(queue->inotify);
    close_own(queue->noted);
}

static void free_queue(struct queue **link)
{
    struct queue *queue = *link;
    *link = queue->next;
    while (queue->knotes)
        free_knote(queue, &queue->knotes);
    close_notes(queue);
    // sets[READ_SIDE] is the descriptor that is being closed.
    close_own(queue->sets[WRITE_SIDE]);
    free(queue);
}

static void forget_in(struct queue *queue, int fd)
{
    struct knote **link = &queue->knotes;
    while (*link) {
        const struct kevent *event = &(*link)->event;
        if ((is_descriptor(event) || is_file(event)) &&
            event->ident == (uintptr_t)fd)
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
        close_notes(queue);
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
    queue->inotify = -1;
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

/* ---- files ------------------------------------------------------------- */

enum {
    INOTIFY_EVENTS = IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE |
                     IN_MOVED_FROM | IN_MOVED_TO | IN_MOVE_SELF | IN_DELETE_SELF
};

static int add_to_set(const struct queue *queue, int fd)
{
    // Not a knote: see harvest().
    struct epoll_event wanted = {.events = EPOLLIN};
    return epoll_ctl(queue->sets[READ_SIDE], EPOLL_CTL_ADD, fd, &wanted) ? errno
                                                                         : 0;
}

static int open_notes(struct queue *queue)
{
    if (queue->inotify >= 0)
        return 0;
    queue->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (queue->inotify < 0)
        return errno;
    queue->noted = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int err = queue->noted < 0 ? errno : 0;
    if (!err)
        err = add_to_set(queue, queue->inotify);
    if (!err)
        err = add_to_set(queue, queue->noted);
    if (!err)
        return 0;
    close_own(queue->inotify);
    close_own(queue->noted);
    queue->inotify = -1;
    return err;
}

static int open_file(struct queue *queue, struct knote *knote)
{
    char path[64];
    struct stat stat;
    int fd = (int)knote->event.ident;
    knote->parent_wd = -1;
    if (fstat(fd, &stat))
        return EBADF;
    if (faults.add_errno && adds++ >= faults.adds_before)
        return faults.add_errno;
    int err = open_notes(queue);
    if (err)
        return err;
    knote->size = stat.st_size;
    knote->links = stat.st_nlink;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    knote->wd = inotify_add_watch(queue->inotify, path, INOTIFY_EVENTS);
    if (knote->wd < 0)
        return errno;
    if (S_ISDIR(stat.st_mode)) {
        snprintf(path, sizeof path, "/proc/self/fd/%d/..", fd);
        knote->parent_wd =
            inotify_add_watch(queue->inotify, path, INOTIFY_EVENTS);
    }
    return 0;
}

/* A file was written to: made longer, shorter, or neither. */
static unsigned note_of_size(struct knote *knote, off_t size)
{
    off_t before = knote->size;
    knote->size = size;
    if (size > before)
        return NOTE_WRITE | NOTE_EXTEND;
    if (size == before)
        return NOTE_WRITE;
#ifdef NOTE_TRUNCATE
    return NOTE_ATTRIB | NOTE_TRUNCATE;
#else
    return NOTE_ATTRIB; // truncate() sets an attribute
#endif
}

static unsigned note_of_links(struct knote *knote, nlink_t links)
{
    unsigned notes = knote->links != links ? NOTE_LINK : 0;
    if (knote->links && !links)
        notes |= NOTE_DELETE;
    knote->links = links;
    return notes;
}

/* What an event says of a knote, by the wd of its file. */
static unsigned notes_of_own(struct knote *knote, uint32_t mask,
                             bool is_of_entry)
{
    struct stat stat;
    unsigned notes = 0;
    if (fstat((int)knote->event.ident, &stat))
        return 0;
    if (mask & (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO))
        notes |= NOTE_WRITE | note_of_links(knote, stat.st_nlink);
    if (is_of_entry)
        return notes;
    if (mask & IN_MODIFY)
        notes |= note_of_size(knote, stat.st_size);
    if (mask & IN_ATTRIB) {
        unsigned links = note_of_links(knote, stat.st_nlink);
        notes |= links || !stat.st_nlink ? links : NOTE_ATTRIB;
    }
    if (mask & IN_MOVE_SELF)
        notes |= NOTE_RENAME;
    if (mask & IN_UNMOUNT)
        notes |= NOTE_REVOKE;
    return notes;
}

/* Of a directory that was removed. */
static unsigned notes_of_parent(struct knote *knote)
{
    struct stat stat;
    if (!knote->links || fstat((int)knote->event.ident, &stat) || stat.st_nlink)
        return 0;
    knote->links = 0;
    return NOTE_DELETE;
}

static void note(const struct queue *queue, const struct inotify_event *event)
{
    struct knote *knote;
    for (knote = queue->knotes; knote; knote = knote->next) {
        unsigned notes = 0;
        if (!is_file(&knote->event))
            continue;
        if (event->mask & IN_Q_OVERFLOW)
            notes = NOTE_WRITE;
        else if (event->wd == knote->wd)
            notes = notes_of_own(knote, event->mask, event->len > 0);
        if (event->wd == knote->parent_wd)
            notes |= notes_of_parent(knote);
        knote->notes |= notes & knote->event.fflags;
    }
}

static void take_notes(const struct queue *queue)
{
    _Alignas(struct inotify_event) char buffer[16384];
    ssize_t size;
    while ((size = read(queue->inotify, buffer, sizeof buffer)) > 0) {
        for (char *at = buffer; at < buffer + size;) {
            const struct inotify_event *event = (void *)at;
            note(queue, event);
            at += sizeof *event + event->len;
        }
    }
}

/* Returns how many files had notes to tell, at most as many as wanted. */
static int report_files(const struct queue *queue, struct kevent *events,
                        int most)
{
    eventfd_t unused;
    int count = 0;
    if (queue->inotify < 0)
        return 0;
    take_notes(queue);
    eventfd_read(queue->noted, &unused);
    for (struct knote *knote = queue->knotes; knote; knote = knote->next) {
        if (!is_file(&knote->event) || !knote->notes)
            continue;
        if (count == most) {
            eventfd_write(queue->noted, 1); // for the next time
            break;
        }
        events[count] = knote->event;
        events[count].flags = EV_CLEAR;
        events[count++].fflags = knote->notes;
        knote->notes = 0;
    }
    return count;
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
    int err = is_file(change) ? open_file(queue, knote) : open_knote(knote);
    if (err)
        goto free_knote;
    if (is_file(change))
        goto add;

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
add:
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
    if (!is_descriptor(change) && !is_user(change) && !is_process(change) &&
        !is_file(change))
        return EINVAL;
    if (is_file(change) && (change->flags & EV_ADD) &&
        !(change->flags & EV_CLEAR))
        return EINVAL; // not here
    if (change->flags & ~(EV_ADD | EV_DELETE | EV_CLEAR))
        return EINVAL;

    struct knote **link = find_knote(queue, change);
    if (!*link && (is_descriptor(change) || is_file(change)) &&
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
    if (is_file(change))
        (*link)->event.fflags = change->fflags;
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
            if (ready[j].data.ptr)
                count += report(queue, ready[j].data.ptr, ready[j].events,
                                &events[count]);
    }
    count += report_files(queue, events + count, most - count);
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
