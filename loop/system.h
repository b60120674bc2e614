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

/* Descriptors, close-on-exec; sockets are non-blocking, too, pipes are not. */
int ed_system_socket(int family, int type);
int ed_system_accept(int listener);
int ed_system_socketpair(int ends[2]);
int ed_system_pipe(int ends[2]); // [0] is read from

/* For a socket that somebody else has made. */
void ed_system_adopt(int socket);

/* As sendmsg() and recvmsg(); descriptors received are close-on-exec. */
int64_t ed_system_send(int socket, const struct msghdr *message);
int64_t ed_system_receive(int socket, struct msghdr *message);

/*
 * Sends up to size bytes of a file from offset on, maybe through the buffer.
 * Returns how many; 0 at the end of the file.
 */
int64_t ed_system_send_file(int fd, int file, uint64_t offset, uint64_t size,
                            char *buffer, size_t buffer_size);

#endif
