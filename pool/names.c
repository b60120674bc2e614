/*
 * pool/names.c - getaddrinfo and getnameinfo, here or on a worker
 *
 * As in fs, each operation is written once, as its _sync form, which a request
 * carries the arguments of to a worker.
 */
#include "pool/names.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

/*
 * From getaddrinfo's numbers to -errno. What is not mentioned says in one way
 * or another that there is no such name; not every system has names for all of
 * these ways.
 */
static int error_of_names(int error)
{
    switch (error) {
    case EAI_AGAIN:
        return -EAGAIN;
    case EAI_BADFLAGS:
        return -EINVAL;
    case EAI_FAIL:
        return -EIO;
    case EAI_FAMILY:
    case EAI_SOCKTYPE:
        return -EAFNOSUPPORT;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_OVERFLOW:
        return -ENAMETOOLONG;
    case EAI_SERVICE:
        return -EPROTONOSUPPORT;
    case EAI_SYSTEM:
        return errno ? -errno : -EIO;
    default:
        return -ENOENT;
    }
}

/* ---- the addresses of a name --------------------------------------------- */

static int hinted_family(unsigned flags)
{
    unsigned kinds = flags & (ED_NAME_IPV4 | ED_NAME_IPV6);
    if (kinds == ED_NAME_IPV4)
        return AF_INET;
    return kinds == ED_NAME_IPV6 ? AF_INET6 : AF_UNSPEC;
}

static bool is_address(const struct addrinfo *info)
{
    return (info->ai_family == AF_INET &&
            info->ai_addrlen == sizeof(struct sockaddr_in)) ||
           (info->ai_family == AF_INET6 &&
            info->ai_addrlen == sizeof(struct sockaddr_in6));
}

static int copy_addresses(const struct addrinfo *first,
                          struct ed_addresses *found)
{
    size_t count = 0;
    for (const struct addrinfo *info = first; info; info = info->ai_next)
        count += is_address(info);
    if (!count)
        return -ENOENT;

    found->addresses = calloc(count, sizeof *found->addresses);
    if (!found->addresses)
        return -ENOMEM;
    for (const struct addrinfo *info = first; info; info = info->ai_next) {
        if (!is_address(info))
            continue;
        struct ed_address *address = &found->addresses[found->count++];
        address->size = (socklen_t)info->ai_addrlen;
        memcpy(&address->socket, info->ai_addr, info->ai_addrlen);
    }
    return (int)count;
}

int ed_name_lookup_sync(const char *host, const char *service, unsigned flags,
                        struct ed_addresses *found)
{
    *found = (struct ed_addresses){0};
    if (!host && !service)
        return -EINVAL;

    struct addrinfo hints = {
        .ai_family = hinted_family(flags),
        // One, or each address comes once for each type there is.
        .ai_socktype = flags & ED_NAME_DATAGRAM ? SOCK_DGRAM : SOCK_STREAM,
    };
    if (flags & ED_NAME_PASSIVE)
        hints.ai_flags |= AI_PASSIVE;
    if (flags & ED_NAME_NUMERIC)
        hints.ai_flags |= AI_NUMERICHOST;
    if (flags & ED_NAME_USABLE)
        hints.ai_flags |= AI_ADDRCONFIG;

    struct addrinfo *first = NULL;
    errno = 0;
    int error = getaddrinfo(host, service, &hints, &first);
    if (error)
        return error_of_names(error);
    int count = copy_addresses(first, found);
    freeaddrinfo(first);
    return count;
}

void ed_addresses_free(struct ed_addresses *found)
{
    free(found->addresses);
    *found = (struct ed_addresses){0};
}

/* ---- the name of an address ---------------------------------------------- */

int ed_name_of_sync(const struct ed_address *address, unsigned flags,
                    struct ed_name *name)
{
    name->host[0] = name->service[0] = 0;
    int family = address->size ? address->socket.any.sa_family : AF_UNSPEC;
    if (family != AF_INET && family != AF_INET6)
        return -EAFNOSUPPORT;

    int how = 0;
    if (flags & ED_NAME_DATAGRAM)
        how |= NI_DGRAM;
    if (flags & ED_NAME_NUMERIC)
        how |= NI_NUMERICHOST | NI_NUMERICSERV;
    errno = 0;
    int error = getnameinfo(&address->socket.any, address->size, name->host,
                            sizeof name->host, name->service,
                            sizeof name->service, how);
    if (!error)
        return 0;
    name->host[0] = name->service[0] = 0;
    return error_of_names(error);
}

/* ---- requests ------------------------------------------------------------ */

static struct ed_name_request *name_request_of(struct ed_task *task)
{
    return ED_CONTAINER_OF(task, struct ed_name_request, task);
}

static void finish_name_request(struct ed_task *task)
{
    struct ed_name_request *request = name_request_of(task);
    if (task->error)
        request->result = task->error;
    request->done(request);
}

static int submit_name_request(struct ed_pool *pool,
                               struct ed_name_request *request, ed_task_fn *run,
                               ed_name_fn *done)
{
    request->found = (struct ed_addresses){0};
    request->done = done;
    request->task.lane = ED_LANE_NAMES;
    return ed_task_submit(pool, &request->task, run, finish_name_request);
}

static void run_lookup(struct ed_task *task)
{
    struct ed_name_request *request = name_request_of(task);
    request->result = ed_name_lookup_sync(request->host, request->service,
                                          request->flags, &request->found);
}

int ed_name_lookup(struct ed_pool *pool, struct ed_name_request *request,
                   const char *host, const char *service, unsigned flags,
                   ed_name_fn *done)
{
    request->host = host;
    request->service = service;
    request->flags = flags;
    return submit_name_request(pool, request, run_lookup, done);
}

static void run_name_of(struct ed_task *task)
{
    struct ed_name_request *request = name_request_of(task);
    request->result =
        ed_name_of_sync(request->address, request->flags, request->name);
}

int ed_name_of(struct ed_pool *pool, struct ed_name_request *request,
               const struct ed_address *address, unsigned flags,
               struct ed_name *name, ed_name_fn *done)
{
    name->host[0] = name->service[0] = 0;
    request->address = address;
    request->flags = flags;
    request->name = name;
    return submit_name_request(pool, request, run_name_of, done);
}

int ed_name_cancel(struct ed_name_request *request)
{
    return ed_task_cancel(&request->task);
}
