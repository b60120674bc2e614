/*
 * loop/process.h - other programs
 *
 *     struct ed_stream output = {0};
 *     struct ed_process process = {0};
 *     const char *const args[] = {"date", "-u", NULL};
 *
 *     ed_process_spawn(loop, &process,
 *                      &(struct ed_spawn){
 *                          .args = args,
 *                          .fds = (struct ed_spawn_fd[]){
 *                              {0},                                    stdin
 *                              {.kind = ED_FD_WRITTEN, .stream = &output},
 *                              {.kind = ED_FD_SAME, .fd = 2},
 *                          },
 *                          .fd_count = 3},
 *                      on_exit);
 *
 * The child gets the descriptors that it is given and no others, no blocked
 * signals, and all signals at their default. A program that cannot be executed
 * is an error of ed_process_spawn(), not a child that exits: it waits until the
 * child has become the program, as a rule for less than a millisecond. On Linux
 * that does not depend on how much memory this process has, except with uid or
 * gid; elsewhere it does.
 *
 * Where the system lets one wait for a process by descriptor or event (pidfd,
 * EVFILT_PROC), no signal handler is involved; on a Linux without (before 5.3,
 * or where it is forbidden), SIGCHLD is watched as by ed_signal_start().
 * Other children of this process are left alone. It should leave these alone,
 * too: wait for pids of its own, not for any, and not ignore SIGCHLD.
 *
 * The struct is the caller's and zeroed at first; from spawn until on_exit
 * begins or stop returns the loop refers to it. Everything here belongs to the
 * loop's thread.
 */
#ifndef EDDY_LOOP_PROCESS_H
#define EDDY_LOOP_PROCESS_H

#include <sys/types.h>

#include "loop/loop.h"
#include "loop/stream.h"

struct ed_process;

typedef void ed_process_fn(struct ed_process *process);

struct ed_process {
    // yours to read
    pid_t pid;
    int status; // once it has ended: its exit status; -ECHILD: not known,
                // since somebody else has waited for it
    int signal; // if not 0, the signal that ended it

    // private
    struct ed_child *child; // the library's part; NULL: not running
    ed_process_fn *fn;
    bool is_unref;
};

enum ed_spawn_fd_kind {
    ED_FD_NULL,    // /dev/null; above 2: not open
    ED_FD_SAME,    // fd of this process
    ED_FD_READ,    // a pipe that the child reads and stream writes
    ED_FD_WRITTEN, // a pipe that the child writes and stream reads
    ED_FD_BOTH,    // a socket, both ways
};

struct ed_spawn_fd {
    enum ed_spawn_fd_kind kind;
    int fd;                   // of ED_FD_SAME
    struct ed_stream *stream; // of the last three: not open, is opened
};

struct ed_spawn {
    // args[0] is the program. Without a '/' in it, it is looked for in this
    // process's PATH, or if there is none, in /usr/bin and /bin. It is not
    // handed to a shell if the system does not know what it is (-ENOEXEC).
    const char *const *args;        // ends with NULL
    const char *file;               // the program, if it is not args[0]
    const char *const *environment; // ends with NULL; NULL: as here
    const char *directory; // to work in, and to look for a program from that
                           // is given by a relative path; NULL: as here
    const struct ed_spawn_fd *fds; // what is at 0, 1, 2 ... in the child
    size_t fd_count;  // those of 0, 1 and 2 that are missing: ED_FD_NULL
    const uid_t *uid; // whom to run as; NULL: as here
    const gid_t *gid; // with supplementary groups given up; NULL: as here
    bool is_detached; // leads a session of its own, and no signal that a
                      // terminal sends reaches it
};

/*
 * Starts a program. on_exit is called once when it has ended; its output may
 * still be on the way. The process must not be active: stop it first. Nothing
 * of spawn is needed any more afterwards.
 *
 * Returns 0, or -errno with nothing started and no stream opened: of finding
 * and executing the program (-ENOENT, -EACCES, -ENOEXEC, -E2BIG ...), of
 * directory, uid and gid (-EPERM), of a descriptor that is not open (-EBADF),
 * or for lack of something (-EAGAIN, -ENOMEM, -EMFILE).
 */
int ed_process_spawn(struct ed_loop *loop, struct ed_process *process,
                     const struct ed_spawn *spawn, ed_process_fn *on_exit);

/*
 * Sends it a signal, and surely it and no other: the system does not give its
 * number to another process before on_exit. Returns 0, or -ESRCH when it is not
 * active, -EINVAL, -EPERM. One that has just ended notices nothing.
 */
int ed_process_kill(struct ed_process *process, int number);

/*
 * Forgets it: on_exit is not called any more. The program goes on, no longer
 * keeps the loop alive, and leaves no zombie as long as the loop is run. Needed
 * before the loop is destroyed; children that end after that remain zombies
 * until this process ends.
 */
void ed_process_stop(struct ed_process *process);

bool ed_process_is_active(const struct ed_process *process);

/* Whether it, while running, keeps the loop alive; it does at first. */
void ed_process_ref(struct ed_process *process);
void ed_process_unref(struct ed_process *process);

#endif
