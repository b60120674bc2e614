/*
 * test/double/faults.h - what a test can make kevent() do
 *
 *     kqueue_double_set_faults(&(struct kqueue_faults){.eintr_every = 2});
 *     ...
 *     kqueue_double_set_faults(&(struct kqueue_faults){0});
 *
 * All of it happens on one system or another.
 */
#ifndef EDDY_TEST_DOUBLE_FAULTS_H
#define EDDY_TEST_DOUBLE_FAULTS_H

struct kqueue_faults {
    unsigned eintr_every; // each so many-th call that may sleep is interrupted
    unsigned max_batch;   // no call returns more events than this
    unsigned shuffle;     // a seed: events come in a random order
    int add_errno;        // EV_ADD of a descriptor fails
    unsigned adds_before; // after so many that still succeed
    int dead_pipe_errno;  // the same, for EVFILT_WRITE of a pipe without reader
    int zero_data;        // the field data says nothing
    int refire;     // EV_CLEAR does not keep descriptors from firing again
    int no_user;    // EVFILT_USER is refused, though the header has it
    int early_exit; // EVFILT_PROC tells of the end before there is one
    int proc_errno; // EV_ADD of EVFILT_PROC fails
};

/* Any thread. The counts and the random order begin anew. */
void kqueue_double_set_faults(const struct kqueue_faults *wanted);

/* Any thread. How many events were returned so far. */
unsigned long kqueue_double_events(void);

#endif
