/*
 * loop/address.h - where something is on the network, or on this machine
 *
 *     struct ed_address address;
 *     char text[ED_ADDRESS_TEXT];
 *
 *     ed_address_parse(&address, "[::1]:8080");
 *     ed_address_format(&address, text, sizeof text);
 *
 * An address is a value: copied by assignment, owned by nobody. Names of hosts
 * are not addresses; to look one up can take long and is not done here.
 */
#ifndef EDDY_LOOP_ADDRESS_H
#define EDDY_LOOP_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct ed_address {
    socklen_t size; // of what is used below; 0: no address
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
        struct sockaddr_un local;
    } socket;
};

/* What any address takes as text, the final 0 included. */
enum { ED_ADDRESS_TEXT = 128 };

/*
 * Takes apart what a person writes:
 *
 *     127.0.0.1:80   [::1]:80   [fe80::1%eth0]:80
 *     *:80           all of this machine, IPv4 and IPv6 at once
 *     unix:/run/me   a Unix domain socket; unix:@me in the abstract namespace
 *
 * The port may be 0, which asks the system for a free one. Returns 0, or
 * -EINVAL (what it is not), -ENAMETOOLONG, -ENODEV (no such interface); -EMFILE
 * or -ENFILE where it takes a descriptor to look for the interface. Then it is
 * no address.
 *
 * What is bound to "*" is an IPv6 socket, "[::]", to which IPv4 peers are
 * [::ffff:1.2.3.4]. Where there is no IPv6, or a socket cannot have both
 * (OpenBSD), it is "0.0.0.0".
 */
int ed_address_parse(struct ed_address *address, const char *text);

/* From numbers as text: "127.0.0.1", "::1", "fe80::1%eth0", "*". Returns 0 or
 * -errno, as above. */
int ed_address_ip(struct ed_address *address, const char *host, uint16_t port);

/*
 * A Unix domain socket. With an @ before it, path is a name in the abstract
 * namespace, which only Linux has. Returns 0, -EINVAL (empty) or -ENAMETOOLONG.
 */
int ed_address_unix(struct ed_address *address, const char *path);

/* 0 for what has none. */
uint16_t ed_address_port(const struct ed_address *address);

/* Whether both are the same place; or both none. */
bool ed_address_is_same(const struct ed_address *a, const struct ed_address *b);

/*
 * Writes the address in the form that ed_address_parse() takes, or "" for none;
 * "unix:" for a Unix domain socket without a name, as most clients are. What a
 * name in the abstract namespace has of bytes that are not ASCII to be printed
 * becomes '?'. A text that does not fit is cut off; size is at least 1.
 */
void ed_address_format(const struct ed_address *address, char *text,
                       size_t size);

#endif
