/*
 * loop/sigpipe.h - writing where a flag against SIGPIPE does not exist
 *
 * Internal. Pipes and sendfile() know no MSG_NOSIGNAL. Around such a call the
 * signal is held off in this thread, and the one that the call raised is taken
 * away; those that others sent stay.
 */
#ifndef EDDY_LOOP_SIGPIPE_H
#define EDDY_LOOP_SIGPIPE_H

#include <stdbool.h>

struct ed_sigpipe {
    bool was_blocked; // in this thread
    bool was_pending;
};

void ed_sigpipe_hold(struct ed_sigpipe *sigpipe);

/* may_have_come: as far as the result of the call tells. */
void ed_sigpipe_release(struct ed_sigpipe *sigpipe, bool may_have_come);

#endif
