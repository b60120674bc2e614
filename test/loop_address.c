#include "loop/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdint.h>
#include <unistd.h>

#include "loop/socket.h"
#include "test/tap.h"

static struct ed_address parsed(const char *text)
{
    struct ed_address address;
    CHECK_EQ(ed_address_parse(&address, text), 0);
    return address;
}

static const char *formatted(const struct ed_address *address)
{
    static char text[ED_ADDRESS_TEXT];
    ed_address_format(address, text, sizeof text);
    return text;
}

static void check_refused(const char *text, int err)
{
    struct ed_address address;
    int got = ed_address_parse(&address, text);
    if (got != err)
        printf("# \"%s\":\n", text);
    CHECK_EQ(got, err);
    CHECK_EQ(address.size, 0);
}

static void check_kept(const char *text)
{
    struct ed_address address = parsed(text);
    CHECK_STR(formatted(&address), text);
}

/* The first interface there is: the loopback, as a rule. */
static bool find_interface(char name[IF_NAMESIZE])
{
    for (unsigned index = 1; index < 100; index++)
        if (if_indextoname(index, name))
            return true;
    return false;
}

/* ---- from text ----------------------------------------------------------- */

static void ipv4_is_four_numbers_and_a_port(void)
{
    struct ed_address address = parsed("127.0.0.1:8080");
    CHECK_EQ(address.size, sizeof(struct sockaddr_in));
    CHECK_EQ(address.socket.any.sa_family, AF_INET);
    CHECK_EQ(ntohs(address.socket.ipv4.sin_port), 8080);
    CHECK_EQ(ntohl(address.socket.ipv4.sin_addr.s_addr), 0x7f000001);
}

static void ipv6_is_in_brackets(void)
{
    struct ed_address address = parsed("[2001:db8::1]:65535");
    CHECK_EQ(address.size, sizeof(struct sockaddr_in6));
    CHECK_EQ(address.socket.any.sa_family, AF_INET6);
    CHECK_EQ(ntohs(address.socket.ipv6.sin6_port), 65535);
    CHECK_EQ(address.socket.ipv6.sin6_addr.s6_addr[0], 0x20);
    CHECK_EQ(address.socket.ipv6.sin6_addr.s6_addr[15], 1);
    CHECK_EQ(address.socket.ipv6.sin6_scope_id, 0);
}

static void a_star_is_all_of_this_machine(void)
{
    struct ed_address address = parsed("*:80"), brackets = parsed("[::]:80");
    CHECK_EQ(address.socket.any.sa_family, AF_INET6);
    CHECK(IN6_IS_ADDR_UNSPECIFIED(&address.socket.ipv6.sin6_addr));
    CHECK_EQ(ed_address_port(&address), 80);
    CHECK(ed_address_is_same(&address, &brackets));
    CHECK_STR(formatted(&address), "[::]:80");
}

static void a_port_of_0_is_a_port(void)
{
    struct ed_address address = parsed("127.0.0.1:0");
    CHECK_EQ(ed_address_port(&address), 0);
    address = parsed("*:0");
    CHECK_EQ(ed_address_port(&address), 0);
}

static void a_scope_is_the_name_of_an_interface_or_its_number(void)
{
    char name[IF_NAMESIZE], text[ED_ADDRESS_TEXT], again[ED_ADDRESS_TEXT];
    if (!find_interface(name))
        SKIP("no network interface");
    snprintf(text, sizeof text, "[fe80::1%%%s]:80", name);
    struct ed_address address = parsed(text), by_number;
    CHECK_EQ(address.socket.ipv6.sin6_scope_id, if_nametoindex(name));
    CHECK_STR(formatted(&address), text);

    snprintf(again, sizeof again, "[fe80::1%%%u]:80", if_nametoindex(name));
    by_number = parsed(again);
    CHECK(ed_address_is_same(&address, &by_number));
    CHECK_STR(formatted(&by_number), text);
}

static void a_scope_without_an_interface_stays_a_number(void)
{
    check_kept("[fe80::1%4000000000]:80");
    check_refused("[fe80::1%4294967296]:80", -ENODEV);
    check_refused("[fe80::1%no-such]:80", -ENODEV);
    check_refused("[fe80::1%0]:80", -ENODEV);
    check_refused("[fe80::1%]:80", -EINVAL);
}

static void what_is_no_address_is_refused(void)
{
    static const char *const wrong[] = {
        "",
        ":",
        "80",
        ":80",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:80x",
        "127.0.0.1: 80",
        "127.0.0.1:+80",
        "127.0.0.1:-1",
        "127.0.0.1:65536",
        "127.0.0.1:99999999999999999999999",
        "127.0.0.1:80:80",
        "127.0.0:80",
        "127.0.0.256:80",
        " 127.0.0.1:80",
        "127.1:80",
        "localhost:80",
        "**:80",
        "::1:80",
        "::1",
        "[::1]",
        "[::1]:",
        "[::1]80",
        "[::1",
        "[::1]:80]",
        "[]:80",
        "[*]:80",
        "[127.0.0.1]:80",
        "[:::1]:80",
        "[::1%]:80",
        "[1:2:3:4:5:6:7:8:9]:80",
        "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:80",
        "1111111111111111111111111111111111111111111111111111111111111111:80",
        "unix",
        "unix:",
        "unix:@",
        "UNIX:/run/me",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        check_refused(wrong[i], -EINVAL);
}

static void numbers_without_a_port_are_taken_too(void)
{
    struct ed_address address;
    CHECK_EQ(ed_address_ip(&address, "10.1.2.3", 53), 0);
    CHECK_STR(formatted(&address), "10.1.2.3:53");
    CHECK_EQ(ed_address_ip(&address, "::1", 53), 0);
    CHECK_STR(formatted(&address), "[::1]:53");
    CHECK_EQ(ed_address_ip(&address, "*", 53), 0);
    CHECK_STR(formatted(&address), "[::]:53");
    CHECK_EQ(ed_address_ip(&address, "[::1]", 53), -EINVAL);
    CHECK_EQ(ed_address_ip(&address, "10.1.2.3:53", 53), -EINVAL);
    CHECK_EQ(ed_address_ip(&address, "", 53), -EINVAL);
    CHECK_EQ(address.size, 0);
}

/* ---- Unix domain sockets ------------------------------------------------- */

static void a_path_is_kept_as_it_is(void)
{
    struct ed_address address = parsed("unix:/run/a b:80");
    CHECK_EQ(address.socket.any.sa_family, AF_UNIX);
    CHECK_STR(address.socket.local.sun_path, "/run/a b:80");
    CHECK_EQ(address.size, offsetof(struct sockaddr_un, sun_path) +
                               strlen("/run/a b:80") + 1);
    CHECK_EQ(ed_address_port(&address), 0);
    CHECK_STR(formatted(&address), "unix:/run/a b:80");
}

static void a_path_may_fill_all_the_room_there_is(void)
{
    enum { ROOM = sizeof((struct sockaddr_un *)NULL)->sun_path };
    char path[ROOM + 2], text[ED_ADDRESS_TEXT];
    struct ed_address address;
    memset(path, 'p', sizeof path);

    path[ROOM + 1] = 0;
    CHECK_EQ(ed_address_unix(&address, path), -ENAMETOOLONG);
    CHECK_EQ(address.size, 0);

    path[ROOM] = 0;
    CHECK_EQ(ed_address_unix(&address, path), 0);
    CHECK_EQ(address.size, sizeof(struct sockaddr_un));
    snprintf(text, sizeof text, "unix:%s", path);
    CHECK_STR(formatted(&address), text);
    struct ed_address again = parsed(text);
    CHECK(ed_address_is_same(&address, &again));
}

static void a_path_that_fills_all_the_room_can_be_bound_and_asked_for(void)
{
    enum { ROOM = sizeof((struct sockaddr_un *)NULL)->sun_path };
    static const struct ed_socket_options options;
    char path[ROOM + 1], directory[] = "/tmp/eddy-XXXXXX";
    struct ed_address address, local;
    NEED(mkdtemp(directory));
    memset(path, 'p', sizeof path);
    memcpy(path, directory, strlen(directory));
    path[strlen(directory)] = '/';
    path[ROOM] = 0;
    CHECK_EQ(ed_address_unix(&address, path), 0);
    int fd = ed_socket_bound(&address, SOCK_STREAM, &options);
    CHECK(fd >= 0);
    CHECK_EQ(ed_socket_local(fd, &local), 0);
    CHECK(ed_address_is_same(&address, &local));
    CHECK_STR(formatted(&local) + strlen("unix:"), path);
    CHECK_EQ(ed_socket_bound(&address, SOCK_STREAM, &options), -EADDRINUSE);
    close(fd);
    unlink(path);
    rmdir(directory);
}

static void an_abstract_name_begins_with_an_at(void)
{
    struct ed_address address = parsed("unix:@me");
    size_t size = offsetof(struct sockaddr_un, sun_path) + 3;
    CHECK_EQ(address.size, size);
    CHECK(memcmp(address.socket.local.sun_path, "\0me", 3) == 0);
    CHECK_STR(formatted(&address), "unix:@me");
}

static void what_cannot_be_printed_of_an_abstract_name_is_not(void)
{
    struct ed_address address = parsed("unix:@12345678");
    memcpy(address.socket.local.sun_path + 1, "a\0\n\x7f\xff~ b", 8);
    CHECK_STR(formatted(&address), "unix:@a????~ b");
}

static void a_socket_without_a_name_is_said_to_be_one(void)
{
    int fds[2];
    struct ed_address local;
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    CHECK_EQ(ed_socket_local(fds[0], &local), 0);
    CHECK_STR(formatted(&local), "unix:");
    CHECK_EQ(ed_address_port(&local), 0);
    CHECK_EQ(ed_socket_peer(fds[0], &local), 0);
    CHECK_STR(formatted(&local), "unix:");
    // As macOS says it.
    local.size = 16;
    CHECK_STR(formatted(&local), "unix:");
    close(fds[0]);
    close(fds[1]);
}

/* ---- to text ------------------------------------------------------------- */

static void text_is_taken_apart_and_put_together_again(void)
{
    check_kept("0.0.0.0:0");
    check_kept("255.255.255.255:65535");
    check_kept("[::]:0");
    check_kept("[2001:db8::ff00:42:8329]:53");
    check_kept("[1:2:3:4:5:6:7:8]:1");
    check_kept("[::ffff:127.0.0.1]:9");
    check_kept("unix:relative");
    check_kept("unix:@a");
}

static void no_address_is_no_text(void)
{
    struct ed_address none = {0};
    CHECK_STR(formatted(&none), "");
    CHECK_EQ(ed_address_port(&none), 0);
    none.size = sizeof none.socket.any;
    none.socket.any.sa_family = AF_UNSPEC;
    CHECK_STR(formatted(&none), "");
    CHECK_EQ(ed_address_port(&none), 0);
}

static void a_text_that_does_not_fit_is_cut_off(void)
{
    static const char *const all[] = {"127.0.0.1:80", "[::1]:80", "unix:/me"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct ed_address address = parsed(all[i]);
        for (size_t size = 1; size <= strlen(all[i]) + 1; size++) {
            char text[ED_ADDRESS_TEXT];
            memset(text, '#', sizeof text);
            ed_address_format(&address, text, size);
            CHECK_EQ(strlen(text), size - 1);
            CHECK(strncmp(text, all[i], size - 1) == 0);
            CHECK_EQ(text[size], '#');
        }
    }
}

static void addresses_are_compared_by_what_they_mean(void)
{
    static const char *const all[] = {
        "127.0.0.1:80",
        "127.0.0.1:81",
        "127.0.0.2:80",
        "[::1]:80",
        "[::1]:81",
        "[::2]:80",
        "[fe80::1%4000000000]:80",
        "[fe80::1%4000000001]:80",
        "[fe80::1]:80",
        "[::ffff:127.0.0.1]:80",
        "unix:/run/me",
        "unix:/run/you",
        "unix:/run/me2",
        "unix:@me",
        "unix:@you",
        "unix:@me2",
    };
    enum { COUNT = sizeof all / sizeof *all };
    struct ed_address none = {0};
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < COUNT; j++) {
            struct ed_address a = parsed(all[i]), b = parsed(all[j]);
            // What lies beyond does not matter.
            if (a.size < sizeof a.socket)
                memset((char *)&a.socket + a.size, 7, sizeof a.socket - a.size);
            CHECK_EQ(ed_address_is_same(&a, &b), i == j);
            CHECK(!ed_address_is_same(&none, &a));
            CHECK(!ed_address_is_same(&a, &none));
        }
    CHECK(ed_address_is_same(&none, &none));
}

/* ---- any address, any text ----------------------------------------------- */

static uint64_t random_state = 1;

static unsigned random_below(unsigned limit)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % limit;
}

static void random_bytes(void *to, size_t count)
{
    unsigned char *bytes = to;
    // Zeros in a row, too, which IPv6 has a way to write.
    unsigned kind = random_below(3);
    for (size_t i = 0; i < count; i++)
        bytes[i] =
            (unsigned char)(kind && random_below(kind + 1) ? 0
                                                           : random_below(256));
}

static struct ed_address random_address(void)
{
    struct ed_address address;
    unsigned char ip[16];
    char host[INET6_ADDRSTRLEN], path[sizeof address.socket.local.sun_path + 1];
    unsigned kind = random_below(4);
    if (kind < 2) {
        int family = kind ? AF_INET6 : AF_INET;
        random_bytes(ip, sizeof ip);
        inet_ntop(family, ip, host, sizeof host);
        CHECK_EQ(ed_address_ip(&address, host, (uint16_t)random_below(65536)),
                 0);
        if (kind && random_below(2))
            address.socket.ipv6.sin6_scope_id = 1 + random_below(1000);
        return address;
    }
    size_t length = 2 + random_below(sizeof path - 2);
    for (size_t i = 0; i < length; i++)
        path[i] =
            (char)(kind == 3 ? 32 + random_below(95) : 1 + random_below(255));
    path[length] = 0;
    path[0] = kind == 3 ? '@' : '/';
    CHECK_EQ(ed_address_unix(&address, path), 0);
    return address;
}

static void any_address_is_the_same_after_its_text(void)
{
    for (int i = 0; i < 20000; i++) {
        struct ed_address address = random_address(), again;
        const char *text = formatted(&address);
        int err = ed_address_parse(&again, text);
        if (err || !ed_address_is_same(&address, &again) ||
            address.size != again.size ||
            memcmp(&address.socket, &again.socket, address.size) != 0) {
            CHECK(false);
            printf("# %s\n", text);
            return;
        }
    }
}

static void any_text_is_an_address_or_none(void)
{
    static const char letters[] = "[]:.%@*0123456789abcdef::..ulnix/ \xff";
    int taken = 0;
    for (int i = 0; i < 100000; i++) {
        char text[2 * ED_ADDRESS_TEXT];
        struct ed_address seed = random_address(), address, again;
        ed_address_format(&seed, text, ED_ADDRESS_TEXT);
        size_t length = strlen(text);
        for (unsigned changes = random_below(4); changes > 0; changes--)
            text[random_below((unsigned)length)] =
                letters[random_below(sizeof letters)];
        int err = ed_address_parse(&address, text);
        CHECK(err == 0 || err == -EINVAL || err == -ENODEV ||
              err == -ENAMETOOLONG);
        CHECK_EQ(address.size > 0, err == 0);
        if (err)
            continue;
        taken++;
        ed_address_format(&address, text, sizeof text);
        CHECK_EQ(ed_address_parse(&again, text), 0);
        CHECK_STR(formatted(&again), text);
    }
    CHECK(taken > 1000);
}

/* ---- sockets ------------------------------------------------------------- */

static void an_ipv4_address_is_one_of_ipv6_too(void)
{
    struct ed_address ipv4 = parsed("1.2.3.4:80"), ipv6 = parsed("[::2]:80");
    struct ed_address mapped = ed_socket_address(AF_INET6, &ipv4);
    CHECK_STR(formatted(&mapped), "[::ffff:1.2.3.4]:80");
    mapped = ed_socket_address(AF_INET, &ipv4);
    CHECK(ed_address_is_same(&mapped, &ipv4));
    mapped = ed_socket_address(AF_INET6, &ipv6);
    CHECK(ed_address_is_same(&mapped, &ipv6));
}

static void a_socket_is_bound_to_all_of_the_machine_with_ipv6_or_without(void)
{
    static const struct ed_socket_options options;
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
    struct ed_address all = parsed("*:0"), local;
    for (int i = 0; i < 2; i++) {
        int fd = ed_socket_bound(&all, types[i], &options);
        CHECK(fd >= 0);
        CHECK_EQ(ed_socket_local(fd, &local), 0);
        CHECK(ed_address_port(&local) > 0);
        CHECK_EQ(ed_socket_peer(fd, &local), -ENOTCONN);
        close(fd);
    }
    CHECK_EQ(ed_socket_local(-1, &local), -EBADF);
}

TESTS(TEST(ipv4_is_four_numbers_and_a_port), TEST(ipv6_is_in_brackets),
      TEST(a_star_is_all_of_this_machine), TEST(a_port_of_0_is_a_port),
      TEST(a_scope_is_the_name_of_an_interface_or_its_number),
      TEST(a_scope_without_an_interface_stays_a_number),
      TEST(what_is_no_address_is_refused),
      TEST(numbers_without_a_port_are_taken_too), TEST(a_path_is_kept_as_it_is),
      TEST(a_path_may_fill_all_the_room_there_is),
      TEST(a_path_that_fills_all_the_room_can_be_bound_and_asked_for),
      TEST(an_abstract_name_begins_with_an_at),
      TEST(what_cannot_be_printed_of_an_abstract_name_is_not),
      TEST(a_socket_without_a_name_is_said_to_be_one),
      TEST(text_is_taken_apart_and_put_together_again),
      TEST(no_address_is_no_text), TEST(a_text_that_does_not_fit_is_cut_off),
      TEST(addresses_are_compared_by_what_they_mean),
      TEST(any_address_is_the_same_after_its_text),
      TEST(any_text_is_an_address_or_none),
      TEST(an_ipv4_address_is_one_of_ipv6_too),
      TEST(a_socket_is_bound_to_all_of_the_machine_with_ipv6_or_without))
