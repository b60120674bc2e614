/*
 * loop/socket.c - sockets are made and asked here
 *
 * Whether an IPv6 socket takes IPv4, too, is another default on each system, so
 * that is always said.
 */
#include "loop/socket.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "loop/system.h"

int ed_socket_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) ? -errno : 0;
}

int ed_socket_buffers(int fd, int receive, int send)
{
    int err = 0;
    if (receive)
        err = ed_socket_option(fd, SOL_SOCKET, SO_RCVBUF, receive);
    if (!err && send)
        err = ed_socket_option(fd, SOL_SOCKET, SO_SNDBUF, send);
    return err;
}

static bool is_any_ipv6(const struct ed_address *address)
{
    return address->socket.any.sa_family == AF_INET6 &&
           IN6_IS_ADDR_UNSPECIFIED(&address->socket.ipv6.sin6_addr);
}

static int set_bind_options(int fd, const struct ed_address *address, int type,
                            const struct ed_socket_options *options)
{
    int family = address->socket.any.sa_family, err = 0;
    if (family == AF_INET6)
        err =
            ed_socket_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, options->ipv6_only);
    // Some systems cannot take it back, which matters to no other address.
    if (!options->ipv6_only && !is_any_ipv6(address))
        err = 0;
    if (family == AF_UNIX)
        return 0;
    if (!err && options->reuse_address)
        err = type == SOCK_STREAM
                  ? ed_socket_option(fd, SOL_SOCKET, SO_REUSEADDR, 1)
                  : ed_system_share(fd);
    if (!err && options->reuse_port)
        err = ed_system_balance(fd);
    return err;
}

static int open_and_bind(const struct ed_address *address, int type,
                         const struct ed_socket_options *options)
{
    int fd = ed_system_socket(address->socket.any.sa_family, type);
    if (fd < 0)
        return fd;

    int err = set_bind_options(fd, address, type, options);
    if (!err && bind(fd, &address->socket.any, address->size))
        err = -errno;
    if (!err)
        return fd;
    close(fd);
    return err;
}

int ed_socket_bound(const struct ed_address *address, int type,
                    const struct ed_socket_options *options)
{
    int fd = open_and_bind(address, type, options);
    if (!is_any_ipv6(address) || options->ipv6_only ||
        (fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL && fd != -EINVAL))
        return fd;

    struct ed_address ipv4;
    int err = ed_address_ip(&ipv4, "0.0.0.0", ed_address_port(address));
    return err ? err : open_and_bind(&ipv4, type, options);
}

/* What the system knows may be longer than there is room, for it counts a final
 * 0 of a path that fills all. */
static int keep_size(struct ed_address *address, socklen_t size)
{
    address->size = size;
    if (size > sizeof address->socket)
        address->size = sizeof address->socket;
    return 0;
}

int ed_socket_local(int fd, struct ed_address *local)
{
    socklen_t size = sizeof local->socket;
    *local = (struct ed_address){0};
    if (getsockname(fd, &local->socket.any, &size))
        return -errno;
    return keep_size(local, size);
}

int ed_socket_peer(int fd, struct ed_address *peer)
{
    socklen_t size = sizeof peer->socket;
    *peer = (struct ed_address){0};
    if (getpeername(fd, &peer->socket.any, &size))
        return -errno;
    return keep_size(peer, size);
}

struct ed_address ed_socket_address(int family,
                                    const struct ed_address *address)
{
    if (family != AF_INET6 || address->socket.any.sa_family != AF_INET)
        return *address;

    struct ed_address mapped = {.size = sizeof mapped.socket.ipv6};
    unsigned char *bytes = mapped.socket.ipv6.sin6_addr.s6_addr;
    mapped.socket.ipv6.sin6_family = AF_INET6;
    mapped.socket.ipv6.sin6_port = address->socket.ipv4.sin_port;
    bytes[10] = bytes[11] = 0xff;
    memcpy(bytes + 12, &address->socket.ipv4.sin_addr, 4);
    return mapped;
}
