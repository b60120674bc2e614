/*
 * test/example/echo.c - a server that sends back what it gets
 *
 *     echo [-t threads] [-c connections] [-i idle-seconds] ADDRESS...
 *
 *     echo 127.0.0.1:7000 '*:0' unix:/tmp/e.sock
 *     nc 127.0.0.1 7000
 *
 * What a server has to care for, besides its purpose:
 *
 * - Back-pressure. A client that sends but does not read would have its echo
 *   pile up here. When its stream is full, no more is read from it until
 *   on_drain; then TCP slows the client down.
 * - Limits. With as many connections as it may have, the listener pauses, and
 *   who comes next waits in the system's queue.
 * - Silence. Each client has a timer that begins again with each sign of life.
 * - The end. At SIGINT or SIGTERM nobody is let in any more; those who are in
 *   get what is theirs, for a few seconds. A second signal ends it at once.
 *
 * With -t, each thread has a loop of its own, and listeners of its own at the
 * same TCP addresses (SO_REUSEPORT): the system shares the connections out, and
 * nothing is shared between the threads here. A Unix domain socket cannot be
 * had twice, so those are the first thread's. (An address that is shared is not
 * in use: a second echo -t of the same user shares it, too.)
 *
 * It prints the addresses it listens at, one a line, and totals at the end.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <eddy.h>

static const uint64_t finish_ns = 5 * ED_S;

/* One thread with all that it serves. */
struct server {
    struct ed_loop loop;
    pthread_t thread;
    struct ed_signal interrupt;
    struct ed_signal terminate;
    struct ed_listener *listeners; // one for each address
    struct ed_list clients;
    long client_count;
    bool is_ending;

    uint64_t connections;
    uint64_t bytes;
    uint64_t idle; // clients that were sent away for silence
    uint64_t shed; // connections for which there was no descriptor
    int error;     // of the loop
};

struct client {
    struct ed_stream stream;
    struct ed_timer idle;
    struct ed_list link;
    struct server *server;
};

static struct {
    long threads;
    long connections; // at a time, of one thread
    long idle_s;
} options = {.threads = 1, .connections = 1000, .idle_s = 60};

static struct server *servers;
static long started; // of them
static struct ed_address *addresses;
static int address_count;

/* ---- clients --------------------------------------------------------- */

static struct client *client_of(struct ed_stream *stream)
{
    return ED_CONTAINER_OF(stream, struct client, stream);
}

/* The stream is closed, or is closed here. */
static void free_client(struct client *client)
{
    struct server *server = client->server;
    ed_stream_close(&client->stream);
    ed_timer_stop(&client->idle);
    ed_list_remove(&client->link);
    free(client);
    if (server->client_count-- < options.connections || server->is_ending)
        return;
    for (int i = 0; i < address_count; i++)
        if (ed_listener_is_active(&server->listeners[i]))
            ed_listener_resume(&server->listeners[i]);
}

static void on_finish(struct ed_stream *stream)
{
    free_client(client_of(stream));
}

/* The echo that is still queued is sent, then the connection closed. */
static void finish_client(struct client *client)
{
    ed_timer_stop(&client->idle);
    client->stream.on_drain = NULL;
    ed_stream_finish(&client->stream, finish_ns, on_finish);
}

static void on_idle(struct ed_timer *timer)
{
    struct client *client = ED_CONTAINER_OF(timer, struct client, idle);
    client->server->idle++;
    finish_client(client);
}

static void on_read(struct ed_stream *stream, char *data, int64_t size)
{
    struct client *client = client_of(stream);
    if (size == 0) {
        finish_client(client);
        return;
    }
    if (size < 0 || ed_stream_write(stream, data, (size_t)size)) {
        free_client(client); // broken
        return;
    }
    client->server->bytes += (uint64_t)size;
    ed_timer_again(&client->idle);
    if (ed_stream_is_full(stream))
        ed_stream_read_stop(stream);
}

static void on_drain(struct ed_stream *stream)
{
    struct client *client = client_of(stream);
    if (stream->error || ed_stream_read_start(stream, on_read)) {
        free_client(client);
        return;
    }
    ed_timer_again(&client->idle);
}

static struct server *server_of(struct ed_listener *listener)
{
    return ED_CONTAINER_OF(listener->watch.loop, struct server, loop);
}

static void on_accept(struct ed_listener *listener, int fd)
{
    struct server *server = server_of(listener);
    struct client *client = calloc(1, sizeof *client);
    if (!client) {
        close(fd);
        return;
    }
    client->server = server;
    client->stream.on_drain = on_drain;
    ed_stream_open_socket(&server->loop, &client->stream, fd);
    ed_timer_start(&server->loop, &client->idle,
                   (uint64_t)options.idle_s * ED_S, on_idle);
    ed_list_append(&server->clients, &client->link);
    server->connections++;
    server->client_count++;
    if (ed_stream_read_start(&client->stream, on_read)) {
        free_client(client);
        return;
    }
    if (server->client_count < options.connections)
        return;
    for (int i = 0; i < address_count; i++)
        if (ed_listener_is_active(&server->listeners[i]))
            ed_listener_pause(&server->listeners[i]);
}

/* ---- servers --------------------------------------------------------- */

/* When its last client has gone, nothing keeps the loop alive. */
static void on_end(struct ed_signal *signal)
{
    struct server *server = ED_CONTAINER_OF(signal->loop, struct server, loop);
    if (server->is_ending)
        return;
    server->is_ending = true;
    // From now on a signal does what it does to any program.
    ed_signal_stop(&server->interrupt);
    ed_signal_stop(&server->terminate);
    for (int i = 0; i < address_count; i++) {
        server->shed += server->listeners[i].shed;
        ed_listener_stop(&server->listeners[i]);
    }
    for (struct ed_list *link = server->clients.next; link != &server->clients;
         link = link->next)
        finish_client(ED_CONTAINER_OF(link, struct client, link));
}

static bool complain(const char *what, int err)
{
    fprintf(stderr, "echo: %s: %s\n", what, strerror(-err));
    return false;
}

static bool is_unix(const struct ed_address *address)
{
    return address->socket.any.sa_family == AF_UNIX;
}

/*
 * The first server learns which port the system chose where 0 was asked for;
 * the others listen there, too.
 */
static bool listen_at(struct server *server, int number)
{
    struct ed_listener *listener = &server->listeners[number];
    struct ed_address *address = &addresses[number];
    bool is_first = server == servers;
    char text[ED_ADDRESS_TEXT];
    if (is_unix(address) && !is_first)
        return true;
    listener->reuse_port = options.threads > 1;
    listener->replace = true;
    int err = ed_listener_start(&server->loop, listener, address, on_accept);
    if (!err && is_first)
        err = ed_listener_local(listener, address);
    ed_address_format(address, text, sizeof text);
    if (err)
        return complain(text, err);
    if (is_first)
        printf("listening at %s\n", text);
    return true;
}

static bool start(struct server *server)
{
    int err = ed_loop_init(&server->loop);
    if (err)
        return complain("a loop", err);
    started++;
    ed_list_init(&server->clients);
    server->listeners =
        calloc((size_t)address_count, sizeof *server->listeners);
    if (!server->listeners)
        return complain("listeners", -ENOMEM);
    for (int i = 0; i < address_count; i++)
        if (!listen_at(server, i))
            return false;
    // A loop is there for its listeners and clients; signals keep none alive.
    ed_signal_unref(&server->interrupt);
    ed_signal_unref(&server->terminate);
    err = ed_signal_start(&server->loop, &server->interrupt, SIGINT, on_end);
    if (!err)
        err =
            ed_signal_start(&server->loop, &server->terminate, SIGTERM, on_end);
    return err ? complain("signals", err) : true;
}

static void *serve(void *argument)
{
    struct server *server = argument;
    int result = ed_loop_run(&server->loop);
    server->error = result < 0 ? result : 0;
    return NULL;
}

/* Also of one whose start went wrong half-way. */
static void destroy(struct server *server)
{
    ed_signal_stop(&server->interrupt);
    ed_signal_stop(&server->terminate);
    for (int i = 0; i < address_count && server->listeners; i++)
        ed_listener_stop(&server->listeners[i]);
    free(server->listeners);
    ed_loop_destroy(&server->loop);
}

/* Serves until the end, in this thread and others. Returns whether it could. */
static bool serve_in_all_threads(void)
{
    long threads = 1;
    int err = 0;
    while (!err && threads < options.threads) {
        struct server *server = &servers[threads];
        err = pthread_create(&server->thread, NULL, serve, server);
        threads += !err;
    }
    if (err) {
        complain("a thread", -err);
        kill(getpid(), SIGTERM);
    }
    serve(&servers[0]);
    for (long i = 1; i < threads; i++)
        pthread_join(servers[i].thread, NULL);
    return !err;
}

/* Returns whether all loops did their work. */
static bool report(void)
{
    struct server all = {0};
    for (long i = 0; i < options.threads; i++) {
        all.connections += servers[i].connections;
        all.bytes += servers[i].bytes;
        all.idle += servers[i].idle;
        all.shed += servers[i].shed;
        if (servers[i].error)
            all.error = servers[i].error;
    }
    printf("%" PRIu64 " connections, %" PRIu64 " bytes, %" PRIu64
           " idle, %" PRIu64 " shed\n",
           all.connections, all.bytes, all.idle, all.shed);
    return all.error ? complain("a loop", all.error) : true;
}

/* ---- the program ----------------------------------------------------- */

static const char usage[] =
    "usage: echo [-t threads] [-c connections] [-i idle-seconds] ADDRESS...\n"
    "\n"
    "  ADDRESS   127.0.0.1:7000, [::1]:7000, *:7000 or unix:/path;\n"
    "            port 0 is any that is free\n"
    "  -t        threads, 1 to 256 (default: 1)\n"
    "  -c        connections at a time in each thread (default: 1000)\n"
    "  -i        seconds after which a silent client is sent away (default: "
    "60)\n";

static _Noreturn void refuse(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "echo: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n%s", usage);
    va_end(arguments);
    exit(2);
}

static long parse_number(int option, const char *text, long most)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno || end == text || *end || number < 1 || number > most)
        refuse("-%c takes a number from 1 to %ld, not '%s'", option, most,
               text);
    return number;
}

static void parse_options(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "t:c:i:")) != -1) {
        if (option == 't')
            options.threads = parse_number(option, optarg, 256);
        else if (option == 'c')
            options.connections = parse_number(option, optarg, 1000000);
        else if (option == 'i')
            options.idle_s = parse_number(option, optarg, 1000000);
        else {
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (optind == argc)
        refuse("no ADDRESS given");
}

static void parse_addresses(char **texts)
{
    for (int i = 0; i < address_count; i++) {
        int err = ed_address_parse(&addresses[i], texts[i]);
        if (err)
            refuse("'%s' is no address: %s", texts[i], strerror(-err));
    }
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    address_count = argc - optind;
    addresses = calloc((size_t)address_count, sizeof *addresses);
    servers = calloc((size_t)options.threads, sizeof *servers);
    if (!addresses || !servers) {
        complain("memory", -ENOMEM);
        return 1;
    }
    parse_addresses(argv + optind);

    // All listen before the first serves: what is printed is true.
    bool is_good = true;
    while (is_good && started < options.threads)
        is_good = start(&servers[started]);
    fflush(stdout);
    if (is_good) {
        is_good = serve_in_all_threads();
        is_good &= report();
    }
    while (started)
        destroy(&servers[--started]);
    free(servers);
    free(addresses);
    return is_good ? 0 : 1;
}
