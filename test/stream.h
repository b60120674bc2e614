/*
 * test/stream.h - for tests of streams
 *
 * Connected descriptors of all kinds, and streams that remember what was told
 * to them. A test runs between begin() and end(), which looks for descriptors
 * that were left open.
 */
#ifndef EDDY_TEST_STREAM_H
#define EDDY_TEST_STREAM_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <termios.h>

#include "loop/stream.h"
#include "test/tap.h"

static struct ed_loop loop;
static int open_before; // descriptors

/* ---- the loop ------------------------------------------------------------ */

static inline int count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static inline void begin(void)
{
    open_before = count_descriptors();
    CHECK_EQ(ed_loop_init(&loop), 0);
}

static inline void end(void)
{
    CHECK(!ed_loop_is_alive(&loop));
    ed_loop_destroy(&loop);
    CHECK_EQ(count_descriptors(), open_before);
}

/* A turn that takes what is there and does not wait. */
static inline void take_turn(void)
{
    CHECK(ed_loop_run_once(&loop, 0) >= 0);
}

/* A turn that waits for something to happen; not for ever, if it does not. */
static inline bool wait_turn(void)
{
    return ed_loop_run_once(&loop, (int64_t)(20 * ED_S)) > 0;
}

#define WAIT_FOR(condition)                                                    \
    do {                                                                       \
        bool goes_on_ = true;                                                  \
        while (!(condition) && goes_on_)                                       \
            goes_on_ = wait_turn();                                            \
        CHECK(condition);                                                      \
    } while (0)

/* Nothing is called any more, and nothing is found ready again and again. */
static inline void check_quiet(void)
{
    take_turn(); // What has to be told to the system is told.
    take_turn();
    uint64_t callbacks = loop.callbacks, events = loop.events;
    for (int i = 0; i < 5; i++)
        take_turn();
    CHECK_EQ(loop.callbacks, callbacks);
    CHECK_EQ(loop.events, events);
}

/* Which keeps to a limit of descriptors in its own way. */
static inline bool is_in_valgrind(void)
{
    const char *preloaded = getenv("LD_PRELOAD");
    return preloaded && strstr(preloaded, "vgpreload");
}

/* ---- descriptors --------------------------------------------------------- */

enum kind {
    SOCKETPAIR,
    TCP_IPV4,
    TCP_IPV6,
    UNIX_PATH,
    UNIX_ABSTRACT, // Linux only
    SOCKETS,       // so many kinds of sockets
    TERMINAL = SOCKETS,
    PIPE, // written to at [0], read from at [1]
    KINDS,
};

static const char *const kind_names[] = {
    "socketpair", "IPv4", "IPv6", "unix", "abstract", "terminal", "pipe",
};

static inline void set_nonblocking(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static inline void close_both(const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

/* A path for a socket that is not there. */
static inline const char *path_for_socket(void)
{
    static char path[64];
    static int number;
    snprintf(path, sizeof path, "/tmp/eddy-test-%d-%d", (int)getpid(),
             number++);
    return path;
}

/* Whether this system has such addresses; sets one that is free. */
static inline bool free_address(enum kind kind, struct ed_address *address)
{
    char name[80];
    switch (kind) {
    case TCP_IPV4:
        return ed_address_parse(address, "127.0.0.1:0") == 0;
    case TCP_IPV6:
        return ed_address_parse(address, "[::1]:0") == 0;
    case UNIX_PATH:
        return ed_address_unix(address, path_for_socket()) == 0;
    case UNIX_ABSTRACT:
#ifdef __linux__
        snprintf(name, sizeof name, "@%s", path_for_socket());
        return ed_address_unix(address, name) == 0;
#endif
    default:
        (void)name;
        return false;
    }
}

/* Sets the address to that of a new listening socket. Returns it or -1. */
static inline int listen_at(struct ed_address *address, int backlog)
{
    int fd = socket(address->socket.any.sa_family, SOCK_STREAM, 0);
    if (fd < 0)
        return -1;
    if (bind(fd, &address->socket.any, address->size) || listen(fd, backlog)) {
        close(fd);
        return -1;
    }
    socklen_t size = sizeof address->socket;
    getsockname(fd, &address->socket.any, &size);
    if (address->socket.any.sa_family != AF_UNIX)
        address->size = size;
    return fd;
}

static inline void remove_path(const struct ed_address *address)
{
    if (address->socket.any.sa_family == AF_UNIX &&
        address->socket.local.sun_path[0])
        unlink(address->socket.local.sun_path);
}

static inline bool open_sockets(enum kind kind, int fds[2])
{
    struct ed_address address;
    if (kind == SOCKETPAIR)
        return socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0;
    if (!free_address(kind, &address))
        return false;
    int listener = listen_at(&address, 1);
    if (listener < 0)
        return false;
    fds[0] = socket(address.socket.any.sa_family, SOCK_STREAM, 0);
    bool is_connected = connect(fds[0], &address.socket.any, address.size) == 0;
    fds[1] = is_connected ? accept(listener, NULL, NULL) : -1;
    remove_path(&address);
    close(listener);
    if (fds[1] >= 0)
        return true;
    close(fds[0]);
    return false;
}

/* [0] is the side that emulates the terminal. Both pass bytes as they are. */
static inline bool open_terminal(int fds[2])
{
    struct termios raw;
    fds[0] = posix_openpt(O_RDWR | O_NOCTTY);
    if (fds[0] < 0)
        return false;
    if (grantpt(fds[0]) || unlockpt(fds[0]) ||
        (fds[1] = open(ptsname(fds[0]), O_RDWR | O_NOCTTY)) < 0) {
        close(fds[0]);
        return false;
    }
    tcgetattr(fds[1], &raw);
    raw.c_iflag = 0;
    raw.c_oflag = 0;
    raw.c_lflag = 0;
    raw.c_cc[VMIN] = 1;
    tcsetattr(fds[1], TCSANOW, &raw);
    return true;
}

/* Both ends block, as those do that a program is handed. */
static inline bool open_pair(enum kind kind, int fds[2])
{
    if (kind == TERMINAL)
        return open_terminal(fds);
    if (kind != PIPE)
        return open_sockets(kind, fds);
    int ends[2];
    if (pipe(ends))
        return false;
    fds[0] = ends[1];
    fds[1] = ends[0];
    return true;
}

/* As much as fits. Returns how much. */
static inline int64_t fill(int fd)
{
    static const char block[4096];
    int64_t total = 0;
    ssize_t written;
    set_nonblocking(fd);
    while ((written = write(fd, block, sizeof block)) > 0)
        total += written;
    return total;
}

/* ---- streams that remember ----------------------------------------------- */

struct client {
    struct ed_stream stream;
    char *data; // all that was read
    size_t size;
    size_t capacity;
    int reads;   // calls with data
    int ends;    // calls with 0 or an error
    int64_t how; // which
    int connects;
    int finishes;
    int drains;
    int error; // stream.error in connect, finish or drain
};

static inline struct client *client_of(struct ed_stream *stream)
{
    return ED_CONTAINER_OF(stream, struct client, stream);
}

static inline void keep(struct client *client, const char *data, size_t size)
{
    if (client->size + size > client->capacity) {
        client->capacity = 2 * (client->size + size);
        client->data = realloc(client->data, client->capacity);
        if (!client->data)
            abort();
    }
    memcpy(client->data + client->size, data, size);
    client->size += size;
}

static inline void note_read(struct ed_stream *stream, char *data, int64_t size)
{
    struct client *client = client_of(stream);
    if (size > 0) {
        CHECK_EQ(client->ends, 0);
        client->reads++;
        keep(client, data, (size_t)size);
    } else {
        client->ends++;
        client->how = size;
    }
}

static inline void note_connect(struct ed_stream *stream)
{
    client_of(stream)->connects++;
    client_of(stream)->error = stream->error;
}

static inline void note_finish(struct ed_stream *stream)
{
    CHECK(!ed_stream_is_open(stream));
    client_of(stream)->finishes++;
    client_of(stream)->error = stream->error;
}

static inline void note_drain(struct ed_stream *stream)
{
    client_of(stream)->drains++;
    client_of(stream)->error = stream->error;
}

static inline bool has_read(const struct client *client, const char *text)
{
    return client->size == strlen(text) &&
           memcmp(client->data, text, client->size) == 0;
}

/* Opens both ends, which are zeroed first. */
static inline bool open_clients(enum kind kind, struct client *a,
                                struct client *b)
{
    int fds[2];
    *a = *b = (struct client){0};
    if (!open_pair(kind, fds))
        return false;
    a->stream.on_drain = b->stream.on_drain = note_drain;
    if (ed_stream_open(&loop, &a->stream, fds[0]) == 0 &&
        ed_stream_open(&loop, &b->stream, fds[1]) == 0)
        return true;
    printf("# cannot open a %s\n", kind_names[kind]);
    return false;
}

static inline void close_client(struct client *client)
{
    ed_stream_close(&client->stream);
    free(client->data);
    client->data = NULL;
    client->size = client->capacity = 0;
}

static inline void close_clients(struct client *a, struct client *b)
{
    close_client(a);
    close_client(b);
}

static inline bool has_kind(enum kind kind)
{
#ifdef __linux__
    (void)kind;
    return true;
#else
    return kind != UNIX_ABSTRACT;
#endif
}

/* Writes that remember. */
struct note {
    struct ed_write write;
    int calls;
    int number; // how many were called before
};

static int notes; // calls in all

static inline void note_done(struct ed_write *write)
{
    struct note *note = ED_CONTAINER_OF(write, struct note, write);
    note->calls++;
    note->number = notes++;
}

static inline int send_bytes(struct ed_stream *stream, struct note *note,
                             const void *data, size_t size)
{
    note->write.part.iov_base = (void *)data;
    note->write.part.iov_len = size;
    return ed_stream_send(stream, &note->write, &note->write.part, 1,
                          note_done);
}

/* Bytes that tell their place. */
static inline char *pattern(size_t size)
{
    char *bytes = malloc(size + 1);
    if (!bytes)
        abort();
    uint32_t state = 12345;
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525 + 1013904223;
        bytes[i] = (char)(state >> 24);
    }
    return bytes;
}

/* A file of these bytes that has no name any more. */
static inline int file_of(const void *bytes, size_t size)
{
    char path[] = "/tmp/eddy-test-file-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0)
        abort();
    unlink(path);
    while (size) {
        ssize_t written = write(fd, bytes, size);
        if (written <= 0)
            abort();
        bytes = (const char *)bytes + written;
        size -= (size_t)written;
    }
    return fd;
}

#endif
