/*
 * test/example/udp-echo.c - sends every datagram back to where it came from
 *
 *     udp-echo ADDRESS...
 *
 *     udp-echo 127.0.0.1:7007 '[::1]:7007'
 *     echo hello | socat - UDP:127.0.0.1:7007
 *
 * It prints the addresses that it listens at, and its totals when SIGINT or
 * SIGTERM ends it.
 *
 * Datagrams that have arrived together are answered together: the callback gets
 * them as an array, and hands the same array to ed_udp_send(). What the system
 * has no room for is dropped and counted. That is what UDP does anyway, and all
 * that an answer is worth: to keep it, a server would need memory without end
 * for clients that do not exist.
 *
 * (Two such servers that are told of each other, by a datagram with a false
 * sender, would never stop. A real service does not answer answers.)
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <eddy.h>

struct server {
    struct ed_loop loop;
    struct ed_signal interrupt;
    struct ed_signal terminate;
    struct ed_udp *sockets; // one for each address
    int socket_count;
    bool is_ending;

    uint64_t datagrams;
    uint64_t bytes;
    uint64_t dropped; // answers for which there was no room, or no way
    uint64_t errors;  // of receiving
};

static struct server server;

/* ---- serving --------------------------------------------------------- */

static void on_receive(struct ed_udp *udp, const struct ed_datagram *datagrams,
                       int count)
{
    if (count < 0) {
        server.errors++;
        return;
    }
    server.datagrams += (uint64_t)count;
    for (int i = 0; i < count; i++)
        server.bytes += datagrams[i].size;

    // What cannot be sent holds up none of those behind it.
    int next = 0;
    while (next < count) {
        int64_t sent =
            ed_udp_send(udp, datagrams + next, (size_t)(count - next));
        if (sent <= 0)
            server.dropped++;
        next += sent > 0 ? (int)sent : 1;
    }
}

/* Nothing is left that keeps the loop alive when the sockets are closed. */
static void on_end(struct ed_signal *signal)
{
    (void)signal;
    server.is_ending = true;
    ed_signal_stop(&server.interrupt);
    ed_signal_stop(&server.terminate);
    for (int i = 0; i < server.socket_count; i++)
        ed_udp_close(&server.sockets[i]);
}

/* ---- the beginning and the end --------------------------------------- */

static bool complain(const char *what, int err)
{
    fprintf(stderr, "udp-echo: %s: %s\n", what, strerror(-err));
    return false;
}

static bool listen_at(struct ed_udp *udp, const struct ed_address *address)
{
    struct ed_address local = *address;
    char text[ED_ADDRESS_TEXT];
    int err = ed_udp_open(&server.loop, udp, address);
    if (!err)
        err = ed_udp_local(udp, &local); // with the port that the system chose
    if (!err)
        err = ed_udp_receive_start(udp, on_receive);
    ed_address_format(&local, text, sizeof text);
    if (err)
        return complain(text, err);
    printf("listening at %s\n", text);
    return true;
}

static bool start(const struct ed_address *addresses)
{
    for (int i = 0; i < server.socket_count; i++)
        if (!listen_at(&server.sockets[i], &addresses[i]))
            return false;
    fflush(stdout);

    int err = ed_signal_start(&server.loop, &server.interrupt, SIGINT, on_end);
    if (!err)
        err = ed_signal_start(&server.loop, &server.terminate, SIGTERM, on_end);
    return err ? complain("signals", err) : true;
}

/* Returns whether it went well until the end. */
static bool serve(const struct ed_address *addresses)
{
    int err = ed_loop_init(&server.loop);
    if (err)
        return complain("the loop", err);

    bool is_good = start(addresses);
    if (is_good) {
        err = ed_loop_run(&server.loop);
        is_good = err == 0 || complain("the loop", err);
        printf("%" PRIu64 " datagrams, %" PRIu64 " bytes, %" PRIu64
               " dropped, %" PRIu64 " errors\n",
               server.datagrams, server.bytes, server.dropped, server.errors);
    }
    if (!server.is_ending)
        on_end(NULL);
    ed_loop_destroy(&server.loop);
    return is_good;
}

static const char usage[] =
    "usage: udp-echo ADDRESS...\n"
    "\n"
    "Sends every UDP datagram back to where it came from.\n"
    "\n"
    "  ADDRESS   127.0.0.1:7007, [::1]:7007, or *:7007 for all of this "
    "machine;\n"
    "            port 0 is any that is free\n";

static void parse_addresses(struct ed_address *addresses, char **texts)
{
    for (int i = 0; i < server.socket_count; i++) {
        int err = ed_address_parse(&addresses[i], texts[i]);
        if (!err)
            continue;
        fprintf(stderr, "udp-echo: '%s' is no address: %s\n%s", texts[i],
                strerror(-err), usage);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc < 2) {
        fprintf(stderr, "udp-echo: no ADDRESS given\n%s", usage);
        return 2;
    }

    server.socket_count = argc - 1;
    server.sockets =
        calloc((size_t)server.socket_count, sizeof *server.sockets);
    struct ed_address *addresses =
        calloc((size_t)server.socket_count, sizeof *addresses);
    bool is_good = server.sockets && addresses;
    if (is_good) {
        parse_addresses(addresses, argv + 1);
        is_good = serve(addresses);
    } else {
        complain("memory", -ENOMEM);
    }
    free(addresses);
    free(server.sockets);
    return is_good ? 0 : 1;
}
