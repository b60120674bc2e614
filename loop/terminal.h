/*
 * loop/terminal.h - the screen and keyboard of whoever started the program
 *
 *     struct ed_stream keys = {0};
 *     int fd = ed_terminal_open(STDIN_FILENO);
 *
 *     ed_terminal_raw(fd);
 *     ed_stream_open(loop, &keys, fd);
 *     ...
 *     ed_terminal_restore();
 *
 * Its size changes with SIGWINCH (loop/signal.h).
 */
#ifndef EDDY_LOOP_TERMINAL_H
#define EDDY_LOOP_TERMINAL_H

#include <stdbool.h>

/*
 * The terminal that fd is, opened anew: a stream on it can be non-blocking
 * without making it so for the shell and everybody else who shares fd. Returns
 * a descriptor, close-on-exec, or -errno: -ENOTTY.
 */
int ed_terminal_open(int fd);

/* Returns 0, or -errno: -ENOTTY. */
int ed_terminal_size(int fd, int *columns, int *rows);

/*
 * Raw mode: each key comes at once, as typed; nothing is echoed, and ctrl-C is
 * a byte like others. How the terminal was is kept, once for the process,
 * because it is put back also when the program is ended by SIGABRT, SIGSEGV,
 * SIGBUS, SIGFPE, SIGILL, SIGTERM, SIGHUP, SIGINT or SIGQUIT: for those of them
 * that are at their default, a handler is installed that does so and then lets
 * the signal end the program as it would have. Returns 0, or -errno: -ENOTTY;
 * -EBUSY if another terminal is in raw mode.
 *
 * Any thread, one at a time.
 */
int ed_terminal_raw(int fd);

/*
 * Any thread, and signal handlers. Puts the terminal back as it was, and takes
 * the handlers away again. Does nothing if it is not in raw mode.
 */
void ed_terminal_restore(void);

#endif
