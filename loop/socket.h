/*
 * loop/socket.h - what all that have a socket ask the system for
 *
 * Internal. All return -errno for an error.
 */
#ifndef EDDY_LOOP_SOCKET_H
#define EDDY_LOOP_SOCKET_H

#include <stdbool.h>

#include "loop/address.h"

struct ed_socket_options {
    bool reuse_address;
    bool reuse_port;
    bool ipv6_only;
};

/*
 * A new socket of this type (SOCK_STREAM, SOCK_DGRAM), non-blocking,
 * close-on-exec, bound to an address of this machine. All of this machine,
 * IPv4 and IPv6 at once, means IPv4 alone where IPv6 is missing, or where no
 * socket can have both (OpenBSD). Returns the descriptor or -errno.
 */
int ed_socket_bound(const struct ed_address *address, int type,
                    const struct ed_socket_options *options);

/* setsockopt() with a number. Returns 0 or -errno. */
int ed_socket_option(int fd, int level, int name, int value);

/* Bytes that the system keeps; 0: leave it. Returns 0 or -errno. */
int ed_socket_buffers(int fd, int receive, int send);

/* getsockname() and getpeername(). Return 0 or -errno. */
int ed_socket_local(int fd, struct ed_address *local);
int ed_socket_peer(int fd, struct ed_address *peer);

/*
 * The address as a socket of this family takes it: IPv4 as ::ffff:1.2.3.4 for
 * an IPv6 socket, all else as it is.
 */
struct ed_address ed_socket_address(int family,
                                    const struct ed_address *address);

#endif
