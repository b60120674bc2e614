/*
 * loop/sigpipe.c - SIGPIPE is raised in the thread that writes, so that holding
 * it off there is enough
 */
#include "loop/sigpipe.h"

#include <signal.h>
#include <stddef.h>

static bool is_sigpipe_pending(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
}

static sigset_t only_sigpipe(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    return set;
}

void ed_sigpipe_hold(struct ed_sigpipe *sigpipe)
{
    sigset_t set = only_sigpipe(), before;
    pthread_sigmask(SIG_BLOCK, &set, &before);
    sigpipe->was_blocked = sigismember(&before, SIGPIPE) == 1;
    // One that was not blocked cannot be waiting.
    sigpipe->was_pending = sigpipe->was_blocked && is_sigpipe_pending();
}

void ed_sigpipe_release(struct ed_sigpipe *sigpipe, bool may_have_come)
{
    sigset_t set = only_sigpipe();
    int number;
    if (may_have_come && !sigpipe->was_pending && is_sigpipe_pending())
        sigwait(&set, &number); // at once
    if (!sigpipe->was_blocked)
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
