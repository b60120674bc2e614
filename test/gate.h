/*
 * test/gate.h - for threads of a test that wait for each other
 *
 * Lets pass as many as it was opened times: a semaphore that any system has.
 */
#ifndef EDDY_TEST_GATE_H
#define EDDY_TEST_GATE_H

#include <stdlib.h>
#include <unistd.h>

struct gate {
    int fds[2];
};

static inline void gate_init(struct gate *gate)
{
    if (pipe(gate->fds))
        abort();
}

static inline void gate_destroy(struct gate *gate)
{
    close(gate->fds[0]);
    close(gate->fds[1]);
}

static inline void gate_open(struct gate *gate)
{
    if (write(gate->fds[1], "", 1) != 1)
        abort();
}

static inline void gate_pass(struct gate *gate)
{
    char byte;
    while (read(gate->fds[0], &byte, 1) != 1)
        ;
}

#endif
