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
 * without making it so for the shell and everybody else who shares fd. It is
 * open for reading and writing, or where that is refused, for what fd is.
 * Returns a descriptor, non-blocking and close-on-exec, or -errno: -EBADF;
 * -ENOTTY, also for the side of a pseudo-terminal that emulates one; or what
 * says that it cannot be found or opened under its name. Then there is still fd
 * itself.
 */
int ed_terminal_open(int fd);

/*
 * 0 columns or rows: the terminal does not know. Returns 0, or -errno: -EBADF,
 * -ENOTTY.
 */
int ed_terminal_size(int fd, int *columns, int *rows);

/*
 * Raw mode: each key comes at once, as typed; nothing is echoed, and ctrl-C is
 * a byte like others. Output is not changed: "\n" begins a new line. In raw
 * mode already, it is set again, as is due when a stopped program goes on
 * (SIGCONT).
 *
 * How the terminal was is kept, once for the process, because it is put back
 * also when the program is ended by SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL,
 * SIGTERM, SIGHUP, SIGINT or SIGQUIT: for those of them that are at their
 * default, a handler is installed that does so and then lets the signal end the
 * program as it would have. It can do nothing when
 *
 *     a signal has a handler of the program's, or is watched (loop/signal.h):
 *         that calls ed_terminal_restore()
 *     the program returns from main() or calls exit():
 *         atexit(ed_terminal_restore)
 *     the stack overflows: a thread with an alternate one (sigaltstack) is safe
 *     SIGKILL ends the program or SIGSTOP stops it
 *
 * fd may be closed before the terminal is put back. Returns 0, or -errno:
 * -EBADF; -ENOTTY; -EBUSY if another terminal is in raw mode; -EMFILE; -EIO if
 * the terminal is gone.
 *
 * Any thread, one at a time.
 */
int ed_terminal_raw(int fd);

/*
 * Any thread, and signal handlers. Puts the terminal back as it was, and takes
 * the handlers away again. Does nothing if it is not in raw mode, and nothing
 * in a child of the process that set that.
 */
void ed_terminal_restore(void);

#endif
