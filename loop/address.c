/*
 * loop/address.c - addresses as text, and back
 *
 * The numbers are taken apart and put together by inet_pton() and inet_ntop(),
 * which know nothing of scopes: "%eth0" is dealt with here.
 */
#include "loop/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

static const char local_prefix[] = "unix:";

enum {
    PREFIX_LENGTH = sizeof local_prefix - 1,
    PATH_OFFSET = offsetof(struct sockaddr_un, sun_path),
    PATH_SIZE = sizeof(struct sockaddr_un) - PATH_OFFSET,
};

/* ---- from text ----------------------------------------------------------- */

/* A number of decimal digits and nothing else, up to max; -1 if it is not. */
static int64_t parse_number(const char *text, int64_t max)
{
    int64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && number <= max; at++)
        number = number * 10 + (*at - '0');
    return at == text || *at || number > max ? -1 : number;
}

/* What stands behind the '%': the name of an interface, or its index. */
static int parse_scope(const char *text, uint32_t *scope)
{
    errno = 0;
    *scope = if_nametoindex(text);
    if (*scope)
        return 0;
    // It takes a descriptor to ask, on some systems.
    int err = errno == EMFILE || errno == ENFILE ? -errno : -ENODEV;
    int64_t number = parse_number(text, UINT32_MAX);
    if (number <= 0)
        return *text ? err : -EINVAL;
    *scope = (uint32_t)number;
    return 0;
}

static int parse_ipv6(struct sockaddr_in6 *ipv6, const char *text)
{
    char digits[INET6_ADDRSTRLEN];
    const char *scope = strchr(text, '%');
    size_t length = scope ? (size_t)(scope - text) : strlen(text);
    if (length >= sizeof digits)
        return -EINVAL;
    memcpy(digits, text, length);
    digits[length] = 0;
    if (inet_pton(AF_INET6, digits, &ipv6->sin6_addr) != 1)
        return -EINVAL;
    return scope ? parse_scope(scope + 1, &ipv6->sin6_scope_id) : 0;
}

int ed_address_ip(struct ed_address *address, const char *host, uint16_t port)
{
    *address = (struct ed_address){0};
    struct sockaddr_in *ipv4 = &address->socket.ipv4;
    if (inet_pton(AF_INET, host, &ipv4->sin_addr) == 1) {
        address->size = sizeof *ipv4;
        ipv4->sin_family = AF_INET;
        ipv4->sin_port = htons(port);
        return 0;
    }

    struct sockaddr_in6 *ipv6 = &address->socket.ipv6;
    *address = (struct ed_address){0};
    int err = parse_ipv6(ipv6, strcmp(host, "*") == 0 ? "::" : host);
    if (err) {
        *address = (struct ed_address){0};
        return err;
    }
    address->size = sizeof *ipv6;
    ipv6->sin6_family = AF_INET6;
    ipv6->sin6_port = htons(port);
    return 0;
}

int ed_address_unix(struct ed_address *address, const char *path)
{
    struct sockaddr_un *local = &address->socket.local;
    bool is_abstract = path[0] == '@';
    size_t length = strlen(path);

    *address = (struct ed_address){0};
    if (length == (is_abstract ? 1 : 0))
        return -EINVAL;
    if (length > PATH_SIZE)
        return -ENAMETOOLONG;
    local->sun_family = AF_UNIX;
    memcpy(local->sun_path, path, length);
    if (is_abstract)
        local->sun_path[0] = 0;
    // The 0 at the end belongs to a path if there is room for it, but would be
    // one more byte of an abstract name.
    bool has_end = !is_abstract && length < PATH_SIZE;
    address->size = (socklen_t)(PATH_OFFSET + length + has_end);
    return 0;
}

int ed_address_parse(struct ed_address *address, const char *text)
{
    char host[INET6_ADDRSTRLEN + IF_NAMESIZE];

    *address = (struct ed_address){0};
    if (strncmp(text, local_prefix, PREFIX_LENGTH) == 0)
        return ed_address_unix(address, text + PREFIX_LENGTH);

    bool is_ipv6 = text[0] == '[';
    const char *begin = text + is_ipv6;
    const char *end = strchr(begin, is_ipv6 ? ']' : ':');
    if (!end)
        return -EINVAL;
    const char *colon = end + is_ipv6;
    int64_t port = *colon == ':' ? parse_number(colon + 1, UINT16_MAX) : -1;
    size_t length = (size_t)(end - begin);
    if (port < 0 || length >= sizeof host)
        return -EINVAL;
    memcpy(host, begin, length);
    host[length] = 0;
    // Brackets are for IPv6, and IPv6 has to have them.
    if (is_ipv6 != (strchr(host, ':') != NULL))
        return -EINVAL;
    return ed_address_ip(address, host, (uint16_t)port);
}

/* ---- to text ------------------------------------------------------------- */

uint16_t ed_address_port(const struct ed_address *address)
{
    if (!address->size)
        return 0;
    if (address->socket.any.sa_family == AF_INET)
        return ntohs(address->socket.ipv4.sin_port);
    if (address->socket.any.sa_family == AF_INET6)
        return ntohs(address->socket.ipv6.sin6_port);
    return 0;
}

/*
 * How many bytes of sun_path are the name; of one in the abstract namespace,
 * all there are, with the 0 that it begins with. 0: it has none, which some
 * systems say by a path that is all 0.
 */
static size_t local_length(const struct ed_address *address)
{
    const char *name = address->socket.local.sun_path;
    size_t size = address->size > (socklen_t)PATH_OFFSET
                      ? address->size - (size_t)PATH_OFFSET
                      : 0;
    if (size > PATH_SIZE)
        size = PATH_SIZE;
    size_t length = strnlen(name, size);
    for (size_t i = 0; i < size && length == 0; i++)
        if (name[i])
            length = size;
    return length;
}

bool ed_address_is_same(const struct ed_address *a, const struct ed_address *b)
{
    if (!a->size || !b->size)
        return a->size == b->size;
    if (a->socket.any.sa_family != b->socket.any.sa_family ||
        ed_address_port(a) != ed_address_port(b))
        return false;

    const struct sockaddr_in6 *ipv6_a = &a->socket.ipv6;
    const struct sockaddr_in6 *ipv6_b = &b->socket.ipv6;
    if (a->socket.any.sa_family == AF_INET)
        return a->socket.ipv4.sin_addr.s_addr == b->socket.ipv4.sin_addr.s_addr;
    if (a->socket.any.sa_family == AF_INET6)
        return IN6_ARE_ADDR_EQUAL(&ipv6_a->sin6_addr, &ipv6_b->sin6_addr) &&
               ipv6_a->sin6_scope_id == ipv6_b->sin6_scope_id;
    return local_length(a) == local_length(b) &&
           memcmp(a->socket.local.sun_path, b->socket.local.sun_path,
                  local_length(a)) == 0;
}

static void format_ipv6(const struct sockaddr_in6 *ipv6, char *text,
                        size_t size)
{
    char digits[INET6_ADDRSTRLEN], scope[IF_NAMESIZE + 1] = "";
    unsigned port = ntohs(ipv6->sin6_port);
    inet_ntop(AF_INET6, &ipv6->sin6_addr, digits, sizeof digits);
    if (ipv6->sin6_scope_id) {
        scope[0] = '%';
        if (!if_indextoname(ipv6->sin6_scope_id, scope + 1))
            snprintf(scope + 1, sizeof scope - 1, "%u",
                     (unsigned)ipv6->sin6_scope_id);
    }
    snprintf(text, size, "[%s%s]:%u", digits, scope, port);
}

static void format_local(const struct ed_address *address, char *text,
                         size_t size)
{
    char name[PATH_SIZE + 1];
    size_t length = local_length(address);
    memcpy(name, address->socket.local.sun_path, length);
    name[length] = 0;
    if (length && !name[0]) {
        name[0] = '@';
        for (size_t i = 1; i < length; i++)
            if (name[i] < ' ' || name[i] > '~')
                name[i] = '?';
    }
    snprintf(text, size, "%s%s", local_prefix, name);
}

void ed_address_format(const struct ed_address *address, char *text,
                       size_t size)
{
    char digits[INET_ADDRSTRLEN];
    int family = address->size ? address->socket.any.sa_family : AF_UNSPEC;
    text[0] = 0;
    if (family == AF_INET) {
        inet_ntop(AF_INET, &address->socket.ipv4.sin_addr, digits,
                  sizeof digits);
        snprintf(text, size, "%s:%u", digits,
                 (unsigned)ed_address_port(address));
    } else if (family == AF_INET6) {
        format_ipv6(&address->socket.ipv6, text, size);
    } else if (family == AF_UNIX) {
        format_local(address, text, size);
    }
}
