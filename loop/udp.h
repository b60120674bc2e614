/*
 * loop/udp.h - datagrams
 *
 *     static void on_receive(struct ed_udp *udp,
 *                            const struct ed_datagram *datagrams, int count)
 *     {
 *         ed_udp_send(udp, datagrams, (size_t)count);     an echo
 *     }
 *
 *     struct ed_udp udp = {0};
 *     ed_udp_open(loop, &udp, &address);
 *     ed_udp_receive_start(&udp, on_receive);
 *
 * Datagrams that wait are received together, and such as are sent together
 * leave together, where the system can do that in one call. Nothing is queued
 * here: what the system has no room for, the program may drop, or send again
 * when on_drain says so.
 *
 * The struct is the caller's and zeroed at first; from open until close the
 * loop refers to it. Close is immediate, also in callbacks. Everything here
 * belongs to the loop's thread.
 */
#ifndef EDDY_LOOP_UDP_H
#define EDDY_LOOP_UDP_H

#include "loop/address.h"
#include "loop/loop.h"

struct ed_udp;

struct ed_datagram {
    void *data;
    size_t size;
    struct ed_address peer; // who sent it; to whom (size 0: as connected)
    bool is_truncated;      // received: it was longer than there was room
};

/*
 * count > 0: as many datagrams, with their data, good until the callback
 * returns. Negative: -errno, such as -ECONNREFUSED when a peer that we are
 * connected to has said that nobody is there; receiving goes on. If there is
 * nothing but errors (-ENOMEM), it pauses for 10 ms after each from the 17th
 * on.
 *
 * To a socket that has both, IPv4 peers are [::ffff:1.2.3.4], as the system
 * gives them; an answer finds them so.
 */
typedef void ed_udp_receive_fn(struct ed_udp *udp,
                               const struct ed_datagram *datagrams, int count);

typedef void ed_udp_fn(struct ed_udp *udp);

struct ed_udp {
    // yours to set, before open
    bool reuse_address; // others may be bound to it, too (multicast)
    bool reuse_port; // the same, and unicast is shared out among them (Linux,
                     // FreeBSD)
    bool ipv6_only;  // of "*" and "[::]"
    // at any time
    ed_udp_fn *on_drain; // room again after a send returned -EAGAIN
    void *buffer;        // to receive into; NULL: the loop's
    size_t buffer_size;
    size_t max_size; // of a datagram, or it is truncated; 0: 64 KiB, or all of
                     // the program's buffer

    // yours to read
    int fd;

    // private
    struct ed_watch watch; // active while open
    struct ed_timer pause; // of receiving, after too many errors
    ed_udp_receive_fn *on_receive;
    int family;
    int error;            // still to be told; 0: none
    unsigned char errors; // in a row
    bool is_full;         // a send was refused
};

/*
 * Opens a socket bound to an address of this machine: "*:0" for a client. It
 * must not be open. Returns 0, or -errno: -EADDRINUSE, -EACCES, -EADDRNOTAVAIL,
 * -EMFILE ... ; -EAFNOSUPPORT for what is no IP address.
 */
int ed_udp_open(struct ed_loop *loop, struct ed_udp *udp,
                const struct ed_address *local);

/* Does nothing if it is not open. */
void ed_udp_close(struct ed_udp *udp);

bool ed_udp_is_open(const struct ed_udp *udp);

/*
 * From now on sends to this peer and receives from it alone, but for what is
 * waiting already; NULL: from and to all again, with the same port. Returns 0
 * or -errno.
 */
int ed_udp_connect(struct ed_udp *udp, const struct ed_address *peer);

/*
 * Sends datagrams in order, as many as the system takes. Returns how many, or
 * -errno if not even the first: -EAGAIN (no room now: on_drain will follow),
 * -EMSGSIZE, -ECONNREFUSED (of an earlier one), -ENETUNREACH, -EDESTADDRREQ,
 * -ENOBUFS (BSD: the network is busy) ... . After fewer than count, sending the
 * rest tells why, if it is still so.
 */
int64_t ed_udp_send(struct ed_udp *udp, const struct ed_datagram *datagrams,
                    size_t count);

/*
 * Starts, or goes on after a stop, or goes on with another fn. Returns 0, or
 * -errno and receives nothing: -ENOMEM if there is no buffer to receive into,
 * and -ENOMEM or -ENOSPC if the system cannot watch one more descriptor.
 */
int ed_udp_receive_start(struct ed_udp *udp, ed_udp_receive_fn *fn);

void ed_udp_receive_stop(struct ed_udp *udp);

/* Whether the socket, while open, keeps the loop alive; it does at first. */
void ed_udp_ref(struct ed_udp *udp);
void ed_udp_unref(struct ed_udp *udp);

/* ---- what the system can be asked for; these return 0 or -errno -------- */

int ed_udp_local(const struct ed_udp *udp, struct ed_address *local);

/* The peer it is connected to; -ENOTCONN. */
int ed_udp_peer(const struct ed_udp *udp, struct ed_address *peer);

/*
 * Takes part in a multicast group, or no longer. interface is an index as
 * if_nametoindex() has it; 0: the system's choice. Not every socket that has
 * both IPv4 and IPv6 can be in an IPv4 group; on Linux it can.
 */
int ed_udp_join(struct ed_udp *udp, const struct ed_address *group,
                unsigned interface);
int ed_udp_leave(struct ed_udp *udp, const struct ed_address *group,
                 unsigned interface);

/* Only what source sends to the group; -EOPNOTSUPP (NetBSD, OpenBSD). */
int ed_udp_join_source(struct ed_udp *udp, const struct ed_address *group,
                       const struct ed_address *source, unsigned interface);
int ed_udp_leave_source(struct ed_udp *udp, const struct ed_address *group,
                        const struct ed_address *source, unsigned interface);

/*
 * These are for the family of the socket; on one that has both for IPv6, and
 * for IPv4 as far as the system allows.
 */

/* Where multicast goes out. */
int ed_udp_multicast_interface(struct ed_udp *udp, unsigned interface);

/* How far multicast goes (1 at first: this network); 0 to 255. */
int ed_udp_multicast_ttl(struct ed_udp *udp, int ttl);

/* Whether this machine gets what it sends to groups; it does at first. */
int ed_udp_multicast_loop(struct ed_udp *udp, bool is_on);

/* How far the rest goes; 1 to 255. */
int ed_udp_ttl(struct ed_udp *udp, int ttl);

/* Allows to send to a broadcast address. */
int ed_udp_broadcast(struct ed_udp *udp, bool is_on);

/* Bytes that the system keeps for this socket; 0: leave it. */
int ed_udp_buffers(struct ed_udp *udp, int receive, int send);

#endif
