/*
 * loop/poller.h - what the loop asks of the system
 *
 * A system is a file: epoll.c and kqueue.c each answer all of this, and the
 * build takes one of them. Nothing else in eddy knows which system it is on.
 */
#ifndef EDDY_LOOP_POLLER_H
#define EDDY_LOOP_POLLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "loop/list.h"

struct ed_watch;

struct ed_poller {
    int fd;            // the epoll or kqueue descriptor
    int wake[2];       // what wakes it: read end, write end; -1 if not needed
    int timer;         // what ends short waits (epoll); -1 if not needed yet
    bool lacks_pwait2; // the system has refused that call (epoll)
};

/* Returns 0, or -errno with nothing left to destroy. */
int ed_poller_init(struct ed_poller *poller);

void ed_poller_destroy(struct ed_poller *poller);

/*
 * Tells the system that of watch->fd no longer what ED_READABLE and ED_WRITABLE
 * of before ask for is of interest, but what those of after ask for. Returns 0
 * or -errno: then the system looks for nothing on that descriptor. Taking the
 * interest back (after == 0) always works, also if the descriptor was closed.
 */
int ed_poller_set(struct ed_poller *poller, struct ed_watch *watch,
                  unsigned before, unsigned after);

/*
 * Waits at most timeout_ns (negative: without end) for descriptors and
 * wake-ups. Adds what happened to the ready field of each watch concerned and
 * appends the watch to ready, unless it is linked there already; calls nothing.
 * Returns 0, also when interrupted by a signal, or -errno.
 */
int ed_poller_wait(struct ed_poller *poller, int64_t timeout_ns,
                   struct ed_list *ready);

/*
 * Any thread, and signal handlers: the wait under way, or else the next,
 * returns at once. Keeps errno.
 */
void ed_poller_wake(struct ed_poller *poller);

/*
 * Opens a descriptor, close-on-exec, that is readable from when a child process
 * has ended, or a moment before it can be reaped. Returns it, or -errno, also
 * where there is no such thing.
 */
int ed_poller_open_process(pid_t pid);

/* Any thread. The number of the processor that runs the caller; -1: unknown. */
int ed_poller_processor(void);

#endif
