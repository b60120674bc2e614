/*
 * pool/names.h - from a host's name to its addresses, and back
 *
 *     struct ed_name_request request = {0};
 *
 *     ed_name_lookup(&pool, &request, "example.org", "https", 0, done);
 *
 *     static void done(struct ed_name_request *request)
 *     {
 *         for (int i = 0; i < request->result; i++)
 *             ... request->found.addresses[i] ...
 *         ed_addresses_free(&request->found);
 *     }
 *
 * The system is asked, getaddrinfo() and getnameinfo(): it knows of
 * /etc/hosts, of DNS and of whatever else this machine is set up for. That can
 * take many seconds and cannot be interrupted; so it has a lane to itself,
 * ED_LANE_NAMES. The forms that end in _sync ask on the calling thread, any
 * thread, and block it.
 *
 * A request, and the texts and the address given with it, is the library's from
 * submit until done begins: exactly once, unless the submitting call itself
 * returned an error. It begins its life zeroed and can be used again from its
 * done on. Before submit, task.deadline_ns and task.group are yours to set; a
 * look-up that has begun when its deadline passes, or when it is cancelled,
 * goes on, and done comes with what it finds.
 *
 * Answers are counts, 0, or -errno:
 *
 *     -ENOENT           no such host, or it has no address of that kind
 *     -EPROTONOSUPPORT  no such service
 *     -EAGAIN           nobody who knows could be asked; later, perhaps. Or the
 *                       pool is at a limit, or has no thread
 *     -EIO              who was asked cannot answer
 *     -EINVAL           neither host nor service, or flags that do not fit
 *     -EAFNOSUPPORT     no such kind of address
 *     -ENAMETOOLONG     the name does not fit
 *     -ECANCELED, -ETIMEDOUT (the deadline), -ENOMEM, and what the system says
 */
#ifndef EDDY_POOL_NAMES_H
#define EDDY_POOL_NAMES_H

#include <stddef.h>

#include "loop/address.h"
#include "pool/pool.h"

enum {
    ED_NAME_IPV4 = 1,     // only addresses of IPv4
    ED_NAME_IPV6 = 2,     // only of IPv6; neither or both: of either
    ED_NAME_DATAGRAM = 4, // the service is one of UDP
    ED_NAME_PASSIVE = 8,  // no host means all of this machine, not "localhost"
    ED_NAME_NUMERIC = 16, // nobody is asked: numbers only
    ED_NAME_USABLE = 32,  // only what this machine has an address of itself
};

/* ---- the addresses of a name ----------------------------------------- */

struct ed_addresses {
    struct ed_address *addresses; // count of them; NULL: none
    size_t count;
};

/* Frees what a look-up has allocated. Any thread; once, or on a zeroed one. */
void ed_addresses_free(struct ed_addresses *found);

struct ed_name_request;

typedef void ed_name_fn(struct ed_name_request *request);

/* What an address is called: texts, each with its 0. */
struct ed_name {
    char host[1025];
    char service[32];
};

struct ed_name_request {
    struct ed_task task; // deadline_ns and group are yours to set

    // yours to read, in done
    int result;                // what the _sync form would have returned
    struct ed_addresses found; // of a look-up; yours to free

    // private
    const char *host;
    const char *service;
    const struct ed_address *address;
    struct ed_name *name;
    unsigned flags;
    ed_name_fn *done;
};

/*
 * The addresses of host, which may be a name or numbers, in the order in which
 * to try them (RFC 6724), with the port of service: a name such as "https", a
 * decimal number, or NULL for 0. Either host or service may be NULL. Returns
 * how many, at least 1, to be freed, or -errno with nothing found.
 */
int ed_name_lookup_sync(const char *host, const char *service, unsigned flags,
                        struct ed_addresses *found);

/* Returns 0, or -EAGAIN at a limit of the pool. */
int ed_name_lookup(struct ed_pool *pool, struct ed_name_request *request,
                   const char *host, const char *service, unsigned flags,
                   ed_name_fn *done);

/* ---- the name of an address ------------------------------------------ */

/*
 * What the host and the service of an address of IPv4 or IPv6 are called. What
 * has no name is told in numbers. Of the flags, ED_NAME_NUMERIC and
 * ED_NAME_DATAGRAM matter. Returns 0, or -errno with both texts empty.
 */
int ed_name_of_sync(const struct ed_address *address, unsigned flags,
                    struct ed_name *name);

/* Returns 0, or -EAGAIN at a limit of the pool. */
int ed_name_of(struct ed_pool *pool, struct ed_name_request *request,
               const struct ed_address *address, unsigned flags,
               struct ed_name *name, ed_name_fn *done);

/*
 * As ed_task_cancel(). What is cancelled in time has a result of -ECANCELED,
 * and nobody was asked.
 */
int ed_name_cancel(struct ed_name_request *request);

#endif
