/*
 * loop/listener.h - waits for connections
 *
 *     static void on_accept(struct ed_listener *listener, int fd)
 *     {
 *         struct client *client = calloc(1, sizeof *client);
 *         ed_stream_open_socket(loop, &client->stream, fd);
 *         ...
 *     }
 *
 *     struct ed_listener listener = {0};
 *     ed_listener_start(loop, &listener, &address, on_accept);
 *
 * When descriptors run out, a listener does not spin on a connection that it
 * cannot take: it gives up a descriptor that it holds in reserve, takes the
 * connection with it, closes it, and tells the program. Where even that fails
 * it pauses for a moment.
 */
#ifndef EDDY_LOOP_LISTENER_H
#define EDDY_LOOP_LISTENER_H

#include "loop/address.h"
#include "loop/loop.h"

struct ed_listener;

/*
 * fd is a connected socket, non-blocking, close-on-exec, and the callee's: for
 * ed_stream_open_socket() on this loop or, from its thread, another.
 */
typedef void ed_accept_fn(struct ed_listener *listener, int fd);

/* error: -EMFILE, -ENFILE (a connection was shed), -ENOBUFS, -ENOMEM. */
typedef void ed_overload_fn(struct ed_listener *listener, int error);

struct ed_listener {
    // yours to set, before start
    ed_overload_fn *on_overload; // may be NULL
    int backlog;                 // connections waiting to be accepted; 0: 511
    bool reuse_port; // others may listen at this address, too, and share it
    bool ipv6_only;  // of "*" and "[::]"
    bool replace;    // a socket in the file system that nobody listens at
    unsigned mode;   // of that file, such as 0660; 0: as the umask has it

    // yours to read
    int fd;
    uint64_t accepted;
    uint64_t shed; // closed at once, for lack of descriptors

    // private
    struct ed_watch watch;
    ed_accept_fn *fn;
    struct ed_timer pause;
    int reserve;       // a descriptor, or -1
    unsigned batch;    // connections to take in a turn
    unsigned single;   // turns to take but one
    unsigned vain;     // so often in a row there was none beyond the first
    bool *was_stopped; // set by stop while connections are being taken
    bool is_paused;    // by the program
    uint64_t file;     // the number of its file, to be removed with it; 0: none
};

/*
 * Returns 0, or -errno with nothing started: -EADDRINUSE, -EACCES,
 * -EADDRNOTAVAIL, -EMFILE ... . SO_REUSEADDR is set, so that a server can start
 * anew at once.
 */
int ed_listener_start(struct ed_loop *loop, struct ed_listener *listener,
                      const struct ed_address *address, ed_accept_fn *fn);

/*
 * For a socket that listens already, such as one that init has passed on; now
 * it is the listener's to close. Returns 0, or -errno with the socket as
 * before: -ENOTSOCK, -EINVAL if it does not listen, as above.
 */
int ed_listener_open(struct ed_loop *loop, struct ed_listener *listener, int fd,
                     ed_accept_fn *fn);

/* Closes it. A socket in the file system is removed. */
void ed_listener_stop(struct ed_listener *listener);

/* Leaves connections waiting, and goes on. */
void ed_listener_pause(struct ed_listener *listener);
void ed_listener_resume(struct ed_listener *listener);

bool ed_listener_is_active(const struct ed_listener *listener);

/* The address it listens at, with the port that the system chose. */
int ed_listener_local(const struct ed_listener *listener,
                      struct ed_address *local);

/* Whether the listener, while started, keeps the loop alive; it does at first.
 */
void ed_listener_ref(struct ed_listener *listener);
void ed_listener_unref(struct ed_listener *listener);

#endif
