/*
 * loop/system.h - what differs between systems, waiting apart (loop/poller.h)
 *
 * Internal. linux.c and posix.c each answer all of this; the second needs
 * nothing but POSIX and works everywhere. All return -errno for an error, and
 * none lets SIGPIPE come.
 */
#ifndef EDDY_LOOP_SYSTEM_H
#define EDDY_LOOP_SYSTEM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

struct ed_address;
struct ed_datagram; // loop/udp.h

/* Descriptors, close-on-exec; sockets are non-blocking, too, pipes are not. */
int ed_system_socket(int family, int type);
int ed_system_accept(int listener);
int ed_system_socketpair(int ends[2]);
int ed_system_pipe(int ends[2]); // [0] is read from

/* For a socket that somebody else has made. */
void ed_system_adopt(int socket);

/* As send(), sendmsg() and recvmsg(); received descriptors are close-on-exec.
 */
int64_t ed_system_send(int socket, const void *data, size_t size);
int64_t ed_system_send_message(int socket, const struct msghdr *message);
int64_t ed_system_receive_message(int socket, struct msghdr *message);

/*
 * Sends up to size bytes of a file from offset on. Returns how many; 0 at the
 * end of the file; -ENOTSUP if it takes reading and writing them.
 */
int64_t ed_system_send_file(int fd, int file, uint64_t offset, uint64_t size);

/* Seconds; see ed_stream_keep_alive(). */
int ed_system_keep_alive(int socket, unsigned idle_s, unsigned interval_s,
                         unsigned count);

/* Others may bind the datagram socket's address, too, for multicast. */
int ed_system_share(int socket);

/*
 * Others may bind the socket's address, too, and what arrives is shared out
 * among them, where the system can do that.
 */
int ed_system_balance(int socket);

enum { ED_SYSTEM_MANY = 64 };

/*
 * Receives what waits, at most count (and ED_SYSTEM_MANY) datagrams. The data
 * and size of each say where to; on return all its fields are set. Returns how
 * many; -EAGAIN if none waits. *error is what came after them and will not come
 * again, or 0.
 */
int64_t ed_system_receive_many(int socket, struct ed_datagram *datagrams,
                               size_t count, int *error);

/*
 * Sends datagrams in order, at most ED_SYSTEM_MANY, on a socket of that family.
 * Returns how many, or -errno if not even the first.
 */
int64_t ed_system_send_many(int socket, int family,
                            const struct ed_datagram *datagrams, size_t count);

/* Groups of either family; source may be NULL. */
int ed_system_join(int socket, const struct ed_address *group,
                   const struct ed_address *source, unsigned interface);
int ed_system_leave(int socket, const struct ed_address *group,
                    const struct ed_address *source, unsigned interface);

/* Where IPv4 multicast goes out. */
int ed_system_multicast_interface(int socket, unsigned interface);

/* ---- child processes ----------------------------------------------------- */

/* For a socket that another program gets: blocking, and SIGPIPE comes. */
int ed_system_disown(int socket);

/* The environment of this process; ends with NULL. */
char **ed_system_environment(void);

typedef int ed_system_main_fn(void *context);

/*
 * As fork(), with fn as the main function of the child, and cheap however much
 * memory this process has: until the child executes a program or ends, this
 * thread stands still, and the child uses the memory of this process instead of
 * a copy. Returns the child, or -errno: -ENOTSUP where that cannot be done.
 */
pid_t ed_system_fork_quickly(ed_system_main_fn *fn, void *context);

/* The two below are for such a child, or that of a program with threads. */

/* Back to the default, also those that are ignored. */
void ed_system_reset_signals(void);

/*
 * Closes, or marks close-on-exec, all descriptors from first on. There are none
 * above last.
 */
void ed_system_close_others(int first, int last);

#endif
