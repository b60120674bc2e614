#include "loop/udp.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "loop/turn.h"
#include "test/tap.h"

/* A socket that remembers what it received. */
struct party {
    struct ed_udp udp;
    struct ed_address address;
    int calls;
    int errors;
    int error; // the last
    int received;
    int most; // at once
    struct ed_datagram last;
    char text[32];       // of the last one, the beginning
    struct party *other; // to do something to in the callback
};

static struct ed_loop loop;

static void begin(void)
{
    CHECK_EQ(ed_loop_init(&loop), 0);
}

static void end(void)
{
    CHECK(!ed_loop_is_alive(&loop));
    ed_loop_destroy(&loop);
}

static void take_turn(void)
{
    CHECK(ed_loop_run_once(&loop, 0) >= 0);
}

/* Turns until what is waited for is true; not for ever, if it never is. */
#define WAIT_FOR(condition)                                                    \
    do {                                                                       \
        uint64_t end_ns_ = ed_clock_ns() + 20 * ED_S;                          \
        while (!(condition) && ed_clock_ns() < end_ns_)                        \
            CHECK(ed_loop_run_once(&loop, (int64_t)ED_S) >= 0);                \
        CHECK(condition);                                                      \
    } while (0)

static struct party *party_of(struct ed_udp *udp)
{
    return ED_CONTAINER_OF(udp, struct party, udp);
}

static void note(struct ed_udp *udp, const struct ed_datagram *datagrams,
                 int count)
{
    struct party *party = party_of(udp);
    party->calls++;
    if (count <= 0) {
        CHECK(count < 0);
        party->errors++;
        party->error = count;
        return;
    }
    party->received += count;
    if (party->most < count)
        party->most = count;
    const struct ed_datagram *last = &datagrams[count - 1];
    size_t size = last->size;
    party->last = *last;
    if (size >= sizeof party->text)
        size = sizeof party->text - 1;
    memcpy(party->text, last->data, size);
    party->text[size] = 0;
}

static void echo(struct ed_udp *udp, const struct ed_datagram *datagrams,
                 int count)
{
    note(udp, datagrams, count);
    if (count > 0)
        CHECK_EQ(ed_udp_send(udp, datagrams, (size_t)count), count);
}

static struct ed_address address_of(const char *text)
{
    struct ed_address address;
    CHECK_EQ(ed_address_parse(&address, text), 0);
    return address;
}

static bool open_party(struct party *party, const char *local)
{
    struct ed_address address = address_of(local);
    int err = ed_udp_open(&loop, &party->udp, &address);
    if (err)
        return false;
    CHECK(ed_udp_is_open(&party->udp));
    CHECK_EQ(ed_udp_local(&party->udp, &party->address), 0);
    return ed_address_port(&party->address) > 0;
}

static int send_bytes(struct party *from, const struct ed_address *to,
                      const void *data, size_t size)
{
    struct ed_datagram datagram = {.data = (void *)data, .size = size};
    if (to)
        datagram.peer = *to;
    return (int)ed_udp_send(&from->udp, &datagram, 1);
}

static void send_text(struct party *from, const struct ed_address *to,
                      const char *text)
{
    CHECK_EQ(send_bytes(from, to, text, strlen(text)), 1);
}

static bool has_ipv6(void)
{
    struct ed_udp udp = {0};
    struct ed_address address = address_of("[::1]:0");
    int err = ed_udp_open(&loop, &udp, &address);
    ed_udp_close(&udp);
    return !err;
}

/* The same port at another address. */
static struct ed_address at(const char *host, const struct party *party)
{
    struct ed_address address;
    CHECK_EQ(ed_address_ip(&address, host, ed_address_port(&party->address)),
             0);
    return address;
}

/* Where a text is not formatted elsewhere meanwhile. */
static const char *formatted(const struct ed_address *address)
{
    static char text[ED_ADDRESS_TEXT];
    ed_address_format(address, text, sizeof text);
    return text;
}

/* The lowest descriptor that is free: the same one, if none has leaked. */
static int free_fd(void)
{
    int fd = dup(0);
    close(fd);
    return fd;
}

/* ---- there and back ------------------------------------------------------ */

static void check_echo(const char *host)
{
    struct party server = {0}, client = {0};
    NEED(open_party(&server, host));
    NEED(open_party(&client, host));
    CHECK_EQ(ed_udp_receive_start(&server.udp, echo), 0);
    CHECK_EQ(ed_udp_receive_start(&client.udp, note), 0);

    send_text(&client, &server.address, "hello");
    WAIT_FOR(client.received == 1);
    CHECK_EQ(server.received, 1);
    CHECK(ed_address_is_same(&server.last.peer, &client.address));
    CHECK(ed_address_is_same(&client.last.peer, &server.address));
    CHECK_STR(client.text, "hello");
    CHECK_EQ(client.last.size, 5);
    CHECK(!client.last.is_truncated);
    ed_udp_close(&server.udp);
    ed_udp_close(&client.udp);
    CHECK(!ed_udp_is_open(&client.udp));
    CHECK_EQ(client.udp.fd, -1);
}

static void a_datagram_finds_its_way_and_back(void)
{
    begin();
    check_echo("127.0.0.1:0");
    end();
}

static void a_datagram_of_ipv6_finds_its_way_and_back(void)
{
    begin();
    if (has_ipv6())
        check_echo("[::1]:0");
    else
        tap_skipped = "no IPv6 here";
    end();
}

static void each_client_gets_its_own_back(void)
{
    enum { CLIENTS = 20 };
    struct party server = {0}, clients[CLIENTS] = {0};
    begin();
    NEED(open_party(&server, "127.0.0.1:0"));
    CHECK_EQ(ed_udp_receive_start(&server.udp, echo), 0);
    for (int i = 0; i < CLIENTS; i++) {
        NEED(open_party(&clients[i], "127.0.0.1:0"));
        CHECK_EQ(ed_udp_receive_start(&clients[i].udp, note), 0);
        CHECK_EQ(send_bytes(&clients[i], &server.address, &i, sizeof i), 1);
    }
    for (int i = 0; i < CLIENTS; i++) {
        int got;
        WAIT_FOR(clients[i].received == 1);
        memcpy(&got, clients[i].text, sizeof got);
        CHECK_EQ(got, i);
        ed_udp_close(&clients[i].udp);
    }
    ed_udp_close(&server.udp);
    end();
}

static int next_number;

static void check_numbers(struct ed_udp *udp,
                          const struct ed_datagram *datagrams, int count)
{
    for (int i = 0; i < count; i++) {
        const unsigned char *bytes = datagrams[i].data;
        CHECK_EQ(datagrams[i].size, next_number);
        for (size_t j = 0; j < datagrams[i].size; j++)
            if (bytes[j] != next_number)
                CHECK_EQ(bytes[j], next_number);
        next_number++;
    }
    note(udp, datagrams, count);
}

static void datagrams_keep_their_order_and_their_sizes(void)
{
    enum { COUNT = 150 }; // more than go in one call
    struct party from = {0}, to = {0};
    struct ed_datagram datagrams[COUNT];
    unsigned char bytes[COUNT][COUNT];
    begin();
    NEED(open_party(&from, "127.0.0.1:0"));
    NEED(open_party(&to, "127.0.0.1:0"));
    next_number = 0;
    to.udp.max_size = COUNT;
    CHECK_EQ(ed_udp_receive_start(&to.udp, check_numbers), 0);
    for (int i = 0; i < COUNT; i++) {
        memset(bytes[i], i, sizeof bytes[i]);
        datagrams[i] = (struct ed_datagram){
            .data = bytes[i], .size = (size_t)i, .peer = to.address};
    }
    CHECK_EQ(ed_udp_send(&from.udp, datagrams, COUNT), COUNT);
    WAIT_FOR(to.received == COUNT);
    ed_udp_close(&from.udp);
    ed_udp_close(&to.udp);
    end();
}

static void an_empty_datagram_is_a_datagram(void)
{
    struct party from = {0}, to = {0};
    begin();
    NEED(open_party(&from, "127.0.0.1:0"));
    NEED(open_party(&to, "127.0.0.1:0"));
    CHECK_EQ(ed_udp_receive_start(&to.udp, note), 0);
    CHECK_EQ(send_bytes(&from, &to.address, NULL, 0), 1);
    WAIT_FOR(to.received == 1);
    CHECK_EQ(to.last.size, 0);
    CHECK(!to.last.is_truncated);
    CHECK(ed_address_is_same(&to.last.peer, &from.address));
    ed_udp_close(&from.udp);
    ed_udp_close(&to.udp);
    end();
}

static void the_longest_datagram_comes_whole(void)
{
    static char bytes[65508];
    struct party from = {0}, to = {0};
    begin();
    NEED(open_party(&from, "127.0.0.1:0"));
    NEED(open_party(&to, "127.0.0.1:0"));
    CHECK_EQ(ed_udp_buffers(&from.udp, 0, 100000), 0);
    CHECK_EQ(ed_udp_buffers(&to.udp, 200000, 0), 0);
    CHECK_EQ(ed_udp_receive_start(&to.udp, note), 0);
    memset(bytes, 'x', sizeof bytes);
    CHECK_EQ(send_bytes(&from, &to.address, bytes, 65508), -EMSGSIZE);
    int sent = send_bytes(&from, &to.address, bytes, 65507);
    if (sent == 1) {
        WAIT_FOR(to.received == 1);
        CHECK_EQ(to.last.size, 65507);
        CHECK(!to.last.is_truncated);
    } else {
        CHECK_EQ(sent, -EMSGSIZE);
        tap_skipped = "the system sends none of 65507 bytes";
    }
    ed_udp_close(&from.udp);
    ed_udp_close(&to.udp);
    end();
}

static void what_follows_one_that_cannot_be_sent_is_left(void)
{
    static char bytes[70000];
    struct party from = {0}, to = {0};
    begin();
    NEED(open_party(&from, "127.0.0.1:0"));
    NEED(open_party(&to, "127.0.0.1:0"));
    CHECK_EQ(ed_udp_receive_start(&to.udp, note), 0);
    struct ed_datagram datagrams[] = {
        {.data = bytes, .size = 1, .peer = to.address},
        {.data = bytes, .size = sizeof bytes, .peer = to.address},
        {.data = bytes, .size = 3, .peer = to.address},
    };
    CHECK_EQ(ed_udp_send(&from.udp, datagrams, 3), 1);
    CHECK_EQ(ed_udp_send(&from.udp, datagrams + 1, 2), -EMSGSIZE);
    CHECK_EQ(ed_udp_send(&from.udp, datagrams + 2, 1), 1);
    CHECK_EQ(ed_udp_send(&from.udp, datagrams, 0), 0);
    WAIT_FOR(to.received == 2);
    CHECK_EQ(to.last.size, 3);
    ed_udp_close(&from.udp);
    ed_udp_close(&to.udp);
    end();
}

static void one_without_a_destination_is_refused(void)
{
    struct party from = {0};
    begin();
    NEED(open_party(&from, "127.0.0.1:0"));
    int sent = send_bytes(&from, NULL, "x", 1);
    CHECK(sent == -EDESTADDRREQ || sent == -ENOTCONN);
    ed_udp_close(&from.udp);
    end();
}

/* ---- where to ------------------------------------------------------------ */

static void what_is_longer_than_there_is_room_is_truncated(void)
{
    struct party from = {0}, to = {0};
    begin();
    NEED(open_party(&from, "127.0.0.1:0"));
    NEED(open_party(&to, "127.0.0.1:0"));
    to.udp.max_size = 4;
    CHECK_EQ(ed_udp_receive_start(&to.udp, note), 0);
    send_text(&from, &to.address, "12345");
    WAIT_FOR(to.received == 1);
    CHECK_EQ(to.last.size, 4);
    CHECK_STR(to.text, "1234");
    CHECK(to.last.is_truncated);
    send_text(&from, &to.address, "abcd");
    WAIT_FOR(to.received == 2);
    CHECK_STR(to.text, "abcd");
    CHECK(!to.last.is_truncated);
    ed_udp_close(&from.udp);
    ed_udp_close(&to.udp);
    end();
}

static void data_comes_in_the_programs_own_buffer(void)
{
    char buffer[10];
    struct party from = {0}, to = {0};
    begin();
    NEED(open_party(&from, "127.0.0.1:0"));
    NEED(open_party(&to, "127.0.0.1:0"));
    to.udp.buffer = buffer;
    to.udp.buffer_size = sizeof buffer;
    CHECK_EQ(ed_udp_receive_start(&to.udp, note), 0);
    send_text(&from, &to.address, "0123456789ab");
    WAIT_FOR(to.received == 1);
    CHECK(to.last.data == buffer);
    CHECK_EQ(to.last.size, 10);
    CHECK(to.last.is_truncated);

    // Room for three at a time.
    to.udp.max_size = 3;
    for (int i = 0; i < 8; i++)
        send_text(&from, &to.address, "xyz");
    WAIT_FOR(to.received == 9);
    CHECK(to.most <= 3);
    CHECK(!to.last.is_truncated);
    CHECK((char *)to.last.data >= buffer && (char *)to.last.data <= buffer + 6);

    // No datagram is longer than there is room, whatever its limit.
    to.udp.max_size = 100;
    send_text(&from, &to.address, "0123456789ab");
    WAIT_FOR(to.received == 10);
    CHECK_EQ(to.last.size, 10);
    CHECK(to.last.is_truncated);

    // And back to the loop's, which is there or made.
    to.udp.buffer = NULL;
    to.udp.max_size = ED_BUFFER_SIZE + 1;
    send_text(&from, &to.address, "0123456789ab");
    WAIT_FOR(to.received == 11);
    CHECK_EQ(to.last.size, 12);
    ed_udp_close(&from.udp);
    ed_udp_close(&to.udp);
    end();
}

/* ---- in callbacks -------------------------------------------------------- */

static void note_and_stop(struct ed_udp *udp,
                          const struct ed_datagram *datagrams, int count)
{
    note(udp, datagrams, count);
    ed_udp_receive_stop(udp);
}

static void receiving_stops_and_goes_on(void)
{
    struct party from = {0}, to = {0};
    begin();
    NEED(open_party(&from, "127.0.0.1:0"));
    NEED(open_party(&to, "127.0.0.1:0"));
    to.udp.max_size = ED_BUFFER_SIZE; // one at a time
    ed_udp_receive_stop(&to.udp);
    send_text(&from, &to.address, "1");
    send_text(&from, &to.address, "2");
    send_text(&from, &to.address, "3");
    take_turn();
    CHECK_EQ(to.calls, 0);
    CHECK_EQ(ed_udp_receive_start(&to.udp, note_and_stop), 0);
    WAIT_FOR(to.received == 1);
    CHECK_STR(to.text, "1");
    take_turn();
    take_turn();
    CHECK_EQ(to.calls, 1);

    // On and off within a turn.
    CHECK_EQ(ed_udp_receive_start(&to.udp, note), 0);
    ed_udp_receive_stop(&to.udp);
    take_turn();
    CHECK_EQ(to.calls, 1);
    CHECK_EQ(ed_udp_receive_start(&to.udp, note), 0);
    ed_udp_receive_stop(&to.udp);
    CHECK_EQ(ed_udp_receive_start(&to.udp, note_and_stop), 0);
    WAIT_FOR(to.received == 2);
    take_turn();
    CHECK_EQ(to.received, 2);

    // Another function, while started.
    CHECK_EQ(ed_udp_receive_start(&to.udp, note_and_stop), 0);
    CHECK_EQ(ed_udp_receive_start(&to.udp, note), 0);
    WAIT_FOR(to.received == 3);
    CHECK_STR(to.text, "3");
    send_text(&from, &to.address, "4");
    WAIT_FOR(to.received == 4);
    ed_udp_close(&from.udp);
    ed_udp_close(&to.udp);
    ed_udp_close(&to.udp);
    ed_udp_receive_stop(&to.udp);
    end();
}

static void note_and_go_on(struct ed_udp *udp,
                           const struct ed_datagram *datagrams, int count)
{
    note(udp, datagrams, count);
    ed_udp_receive_stop(udp);
    CHECK_EQ(ed_udp_receive_start(udp, note), 0);
}

static void receiving_is_stopped_and_started_in_its_callback(void)
{
    struct party from = {0}, to = {0};
    begin();
    NEED(open_party(&from, "127.0.0.1:0"));
    NEED(open_party(&to, "127.0.0.1:0"));
    CHECK_EQ(ed_udp_receive_start(&to.udp, note_and_go_on), 0);
    send_text(&from, &to.address, "1");
    WAIT_FOR(to.received == 1);
    send_text(&from, &to.address, "2");
    WAIT_FOR(to.received == 2);
    ed_udp_close(&from.udp);
    ed_udp_close(&to.udp);
    end();
}

static int freed;

static void close_and_free(struct ed_udp *udp,
                           const struct ed_datagram *datagrams, int count)
{
    note(udp, datagrams, count);
    ed_udp_close(udp);
    free(party_of(udp));
    freed++;
}

static void a_socket_is_closed_and_freed_in_its_callback(void)
{
    struct party from = {0}, *to = calloc(1, sizeof *to);
    int fd = free_fd();
    begin();
    freed = 0;
    NEED(open_party(&from, "127.0.0.1:0"));
    NEED(to && open_party(to, "127.0.0.1:0"));
    CHECK_EQ(ed_udp_receive_start(&to->udp, close_and_free), 0);
    send_text(&from, &to->address, "1");
    send_text(&from, &to->address, "2");
    WAIT_FOR(freed == 1);
    take_turn();
    CHECK_EQ(freed, 1);
    ed_udp_close(&from.udp);
    end();
    CHECK_EQ(free_fd(), fd);
}

static void close_other(struct ed_udp *udp, const struct ed_datagram *datagrams,
                        int count)
{
    note(udp, datagrams, count);
    ed_udp_close(&party_of(udp)->other->udp);
}

static void of_two_that_are_ready_the_first_closes_the_second(void)
{
    struct party from = {0}, a = {0}, b = {0};
    begin();
    NEED(open_party(&from, "127.0.0.1:0"));
    NEED(open_party(&a, "127.0.0.1:0"));
    NEED(open_party(&b, "127.0.0.1:0"));
    a.other = &b;
    b.other = &a;
    CHECK_EQ(ed_udp_receive_start(&a.udp, close_other), 0);
    CHECK_EQ(ed_udp_receive_start(&b.udp, close_other), 0);
    send_text(&from, &a.address, "1");
    send_text(&from, &b.address, "1");
    WAIT_FOR(a.calls + b.calls > 0);
    take_turn();
    CHECK_EQ(a.calls + b.calls, 1);
    CHECK(ed_udp_is_open(&a.udp) != ed_udp_is_open(&b.udp));
    ed_udp_close(&a.udp);
    ed_udp_close(&b.udp);
    ed_udp_close(&from.udp);
    end();
}

static void open_anew(struct ed_udp *udp, const struct ed_datagram *datagrams,
                      int count)
{
    struct party *party = party_of(udp);
    note(udp, datagrams, count);
    ed_udp_close(udp);
    CHECK_EQ(ed_udp_open(&loop, udp, &party->address), 0);
    CHECK_EQ(ed_udp_receive_start(udp, note), 0);
}

static void a_socket_is_opened_anew_in_its_callback(void)
{
    struct party from = {0}, to = {0};
    begin();
    NEED(open_party(&from, "127.0.0.1:0"));
    NEED(open_party(&to, "127.0.0.1:0"));
    CHECK_EQ(ed_udp_receive_start(&to.udp, open_anew), 0);
    send_text(&from, &to.address, "1");
    WAIT_FOR(to.received == 1);
    send_text(&from, &to.address, "2");
    WAIT_FOR(to.received == 2);
    CHECK_STR(to.text, "2");
    ed_udp_close(&from.udp);
    ed_udp_close(&to.udp);
    end();
}

/* ---- the loop ------------------------------------------------------------ */

static void an_open_socket_keeps_the_loop_alive_unless_unref(void)
{
    struct party party = {0};
    begin();
    CHECK(!ed_loop_is_alive(&loop));
    NEED(open_party(&party, "127.0.0.1:0"));
    CHECK(ed_loop_is_alive(&loop));
    ed_udp_unref(&party.udp);
    CHECK(!ed_loop_is_alive(&loop));
    CHECK_EQ(ed_udp_receive_start(&party.udp, note), 0);
    CHECK(!ed_loop_is_alive(&loop));
    ed_udp_ref(&party.udp);
    CHECK(ed_loop_is_alive(&loop));
    ed_udp_close(&party.udp);
    CHECK(!ed_loop_is_alive(&loop));
    end();
}

struct told {
    struct ed_trace trace;
    int receives;
    int depth;
    const void *subject;
    ed_trace_callback_fn *callback;
};

static void tell(struct ed_trace *trace, const struct ed_trace_event *event)
{
    struct told *told = ED_CONTAINER_OF(trace, struct told, trace);
    if (event->kind == ED_TRACE_BEGIN)
        told->depth++;
    if (event->kind == ED_TRACE_END)
        told->depth--;
    if (event->kind != ED_TRACE_BEGIN || strcmp(event->name, "receive") != 0)
        return;
    told->receives++;
    told->subject = event->subject;
    told->callback = event->callback;
}

static void a_callback_is_traced(void)
{
    struct party from = {0}, to = {0};
    struct told told = {.trace.tell = tell};
    begin();
    loop.trace = &told.trace;
    NEED(open_party(&from, "127.0.0.1:0"));
    NEED(open_party(&to, "127.0.0.1:0"));
    CHECK_EQ(ed_udp_receive_start(&to.udp, note), 0);
    send_text(&from, &to.address, "1");
    WAIT_FOR(to.received == 1);
    CHECK_EQ(told.receives, 1);
    CHECK_EQ(told.depth, 0);
    CHECK(told.subject == &to.udp);
    CHECK(told.callback == (ed_trace_callback_fn *)note);
    ed_udp_close(&from.udp);
    ed_udp_close(&to.udp);
    end();
}

/* ---- one peer ------------------------------------------------------------ */

static void a_connected_socket_hears_its_peer_alone(void)
{
    struct party a = {0}, b = {0}, stranger = {0};
    struct ed_address address;
    begin();
    NEED(open_party(&a, "127.0.0.1:0"));
    NEED(open_party(&b, "127.0.0.1:0"));
    NEED(open_party(&stranger, "127.0.0.1:0"));
    CHECK_EQ(ed_udp_receive_start(&a.udp, note), 0);
    CHECK_EQ(ed_udp_receive_start(&b.udp, note), 0);
    CHECK_EQ(ed_udp_peer(&a.udp, &address), -ENOTCONN);
    CHECK_EQ(ed_udp_connect(&a.udp, &b.address), 0);
    CHECK_EQ(ed_udp_peer(&a.udp, &address), 0);
    CHECK(ed_address_is_same(&address, &b.address));

    send_text(&a, NULL, "to b");
    WAIT_FOR(b.received == 1);
    CHECK_STR(b.text, "to b");
    send_bytes(&stranger, &a.address, "from a stranger", 15);
    send_text(&b, &a.address, "from b");
    WAIT_FOR(a.received == 1);
    CHECK_STR(a.text, "from b");
    ed_udp_close(&a.udp);
    ed_udp_close(&b.udp);
    ed_udp_close(&stranger.udp);
    end();
}

static void check_connections(const char *local, const char *host)
{
    struct party a = {0}, b = {0}, c = {0};
    struct ed_address address, to_a;
    NEED(open_party(&a, local));
    NEED(open_party(&b, host));
    NEED(open_party(&c, host));
    CHECK_EQ(ed_udp_receive_start(&a.udp, note), 0);
    CHECK_EQ(ed_udp_receive_start(&b.udp, note), 0);
    CHECK_EQ(ed_udp_receive_start(&c.udp, note), 0);
    CHECK_EQ(ed_udp_connect(&a.udp, &b.address), 0);
    CHECK_EQ(ed_udp_connect(&a.udp, &c.address), 0);
    send_text(&a, NULL, "to c");
    WAIT_FOR(c.received == 1);
    CHECK_EQ(b.received, 0);
    to_a = c.last.peer;

    CHECK_EQ(ed_udp_connect(&a.udp, NULL), 0);
    CHECK_EQ(ed_udp_connect(&a.udp, NULL), 0);
    CHECK_EQ(ed_udp_peer(&a.udp, &address), -ENOTCONN);
    CHECK_EQ(ed_udp_local(&a.udp, &address), 0);
    CHECK(ed_address_is_same(&address, &a.address));
    send_text(&b, &to_a, "from b");
    WAIT_FOR(a.received == 1);
    send_text(&c, &to_a, "from c");
    WAIT_FOR(a.received == 2);
    ed_udp_close(&a.udp);
    ed_udp_close(&b.udp);
    ed_udp_close(&c.udp);
}

static void a_connected_socket_is_connected_anew_or_no_more(void)
{
    begin();
    check_connections("127.0.0.1:0", "127.0.0.1:0");
    check_connections("0.0.0.0:0", "127.0.0.1:0");
    check_connections("*:0", "127.0.0.1:0");
    if (has_ipv6())
        check_connections("[::1]:0", "[::1]:0");
    if (has_ipv6())
        check_connections("*:0", "[::1]:0");
    end();
}

static void a_peer_that_is_not_there_is_told_once_for_each_time(void)
{
    struct party from = {0}, to = {0};
    begin();
    NEED(open_party(&from, "127.0.0.1:0"));
    NEED(open_party(&to, "127.0.0.1:0"));
    CHECK_EQ(ed_udp_connect(&from.udp, &to.address), 0);
    ed_udp_close(&to.udp);
    CHECK_EQ(ed_udp_receive_start(&from.udp, note), 0);
    for (int i = 1; i <= 40; i++) {
        send_text(&from, NULL, "anybody?");
        WAIT_FOR(from.errors == i);
        CHECK_EQ(from.error, -ECONNREFUSED);
    }
    take_turn();
    CHECK_EQ(from.errors, 40);

    // It comes back.
    struct ed_address address = to.address;
    CHECK_EQ(ed_udp_open(&loop, &to.udp, &address), 0);
    CHECK_EQ(ed_udp_receive_start(&to.udp, echo), 0);
    send_text(&from, NULL, "anybody?");
    WAIT_FOR(from.received == 1);
    CHECK_EQ(from.errors, 40);
    ed_udp_close(&from.udp);
    ed_udp_close(&to.udp);
    end();
}

static void an_error_that_nobody_receives_meets_the_next_send(void)
{
    struct party from = {0}, to = {0};
    struct ed_datagram datagram = {.data = "x", .size = 1};
    begin();
    NEED(open_party(&from, "127.0.0.1:0"));
    NEED(open_party(&to, "127.0.0.1:0"));
    CHECK_EQ(ed_udp_connect(&from.udp, &to.address), 0);
    ed_udp_close(&to.udp);
    send_text(&from, NULL, "anybody?");
    int64_t sent;
    do
        sent = ed_udp_send(&from.udp, &datagram, 1);
    while (sent == 1);
    CHECK_EQ(sent, -ECONNREFUSED);
    ed_udp_close(&from.udp);
    end();
}

/* ---- addresses ----------------------------------------------------------- */

static void a_star_hears_ipv4_and_ipv6(void)
{
    struct party server = {0}, ipv4 = {0}, ipv6 = {0};
    begin();
    NEED(open_party(&server, "*:0"));
    CHECK_EQ(ed_udp_receive_start(&server.udp, echo), 0);
    struct ed_address to = at("127.0.0.1", &server);
    NEED(open_party(&ipv4, "127.0.0.1:0"));
    CHECK_EQ(ed_udp_receive_start(&ipv4.udp, note), 0);
    send_text(&ipv4, &to, "four");
    WAIT_FOR(ipv4.received == 1);
    CHECK(ed_address_is_same(&ipv4.last.peer, &to));

    if (has_ipv6()) {
        char text[ED_ADDRESS_TEXT];
        snprintf(text, sizeof text, "[::ffff:127.0.0.1]:%u",
                 ed_address_port(&ipv4.address));
        CHECK_STR(formatted(&server.last.peer), text);

        to = at("::1", &server);
        NEED(open_party(&ipv6, "[::1]:0"));
        CHECK_EQ(ed_udp_receive_start(&ipv6.udp, note), 0);
        send_text(&ipv6, &to, "six");
        WAIT_FOR(ipv6.received == 1);
        CHECK(ed_address_is_same(&server.last.peer, &ipv6.address));
    }
    ed_udp_close(&server.udp);
    ed_udp_close(&ipv4.udp);
    ed_udp_close(&ipv6.udp);
    end();
}

static void a_star_sends_to_ipv4_and_ipv6(void)
{
    struct party client = {0}, ipv4 = {0}, ipv6 = {0};
    begin();
    NEED(open_party(&client, "*:0"));
    NEED(open_party(&ipv4, "127.0.0.1:0"));
    CHECK_EQ(ed_udp_receive_start(&ipv4.udp, note), 0);
    send_text(&client, &ipv4.address, "four");
    WAIT_FOR(ipv4.received == 1);
    CHECK_EQ(ed_udp_connect(&client.udp, &ipv4.address), 0);
    send_text(&client, NULL, "four");
    WAIT_FOR(ipv4.received == 2);
    CHECK_EQ(ed_udp_connect(&client.udp, NULL), 0);

    if (has_ipv6()) {
        NEED(open_party(&ipv6, "[::1]:0"));
        CHECK_EQ(ed_udp_receive_start(&ipv6.udp, note), 0);
        send_text(&client, &ipv6.address, "six");
        WAIT_FOR(ipv6.received == 1);
    }
    ed_udp_close(&client.udp);
    ed_udp_close(&ipv4.udp);
    ed_udp_close(&ipv6.udp);
    end();
}

static void ipv6_alone_leaves_the_port_to_ipv4(void)
{
    struct party ipv6 = {.udp.ipv6_only = true}, ipv4 = {0}, both = {0};
    begin();
    if (!has_ipv6()) {
        end();
        SKIP("no IPv6 here");
    }
    // Another program may have taken the port meanwhile.
    bool is_open = false;
    for (int i = 0; i < 100 && !is_open; i++) {
        ed_udp_close(&ipv6.udp);
        NEED(open_party(&ipv6, "[::]:0"));
        struct ed_address address = at("0.0.0.0", &ipv6);
        is_open = ed_udp_open(&loop, &ipv4.udp, &address) == 0;
    }
    CHECK(is_open);
    struct ed_address address = at("*", &ipv6);
    CHECK_EQ(ed_udp_open(&loop, &both.udp, &address), -EADDRINUSE);
    ed_udp_close(&ipv6.udp);
    ed_udp_close(&ipv4.udp);
    end();
}

static void an_address_is_shared_only_by_those_that_agree(void)
{
    struct party a = {0}, b = {0};
    begin();
    for (int i = 0; i < 3; i++) {
        a.udp.reuse_address = b.udp.reuse_address = i == 1;
        a.udp.reuse_port = b.udp.reuse_port = i == 2;
        NEED(open_party(&a, "127.0.0.1:0"));
        int fd = free_fd();
        CHECK_EQ(ed_udp_open(&loop, &b.udp, &a.address),
                 i == 0 ? -EADDRINUSE : 0);
        ed_udp_close(&b.udp);
        CHECK_EQ(free_fd(), fd);
        b.udp.reuse_address = b.udp.reuse_port = false;
        CHECK_EQ(ed_udp_open(&loop, &b.udp, &a.address), -EADDRINUSE);
        ed_udp_close(&a.udp);
    }
    end();
}

static void what_is_no_address_of_this_machine_is_refused(void)
{
    static const struct {
        const char *address;
        int error;
    } wrong[] = {
        {"192.0.2.1:0", -EADDRNOTAVAIL},
        {"unix:/tmp/me", -EAFNOSUPPORT},
        {"unix:@me", -EAFNOSUPPORT},
    };
    struct ed_udp udp = {0};
    int fd = free_fd();
    begin();
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct ed_address address = address_of(wrong[i].address);
        CHECK_EQ(ed_udp_open(&loop, &udp, &address), wrong[i].error);
        CHECK(!ed_udp_is_open(&udp));
    }
    struct ed_address none = {0};
    CHECK_EQ(ed_udp_open(&loop, &udp, &none), -EAFNOSUPPORT);
    end();
    CHECK_EQ(free_fd(), fd);
}

static void a_socket_neither_blocks_nor_survives_exec(void)
{
    struct party party = {0};
    begin();
    NEED(open_party(&party, "127.0.0.1:0"));
    CHECK(fcntl(party.udp.fd, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(party.udp.fd, F_GETFD) & FD_CLOEXEC);
    ed_udp_close(&party.udp);
    end();
}

/* ---- options ------------------------------------------------------------- */

static int number_of(const struct party *party, int level, int name)
{
    int number = 0;
    socklen_t size = sizeof number;
    CHECK_EQ(getsockopt(party->udp.fd, level, name, &number, &size), 0);
    // Some systems have bytes here.
    unsigned char byte;
    memcpy(&byte, &number, 1);
    return size == 1 ? byte : number;
}

static void options_reach_the_system(void)
{
    struct party party = {0};
    begin();
    NEED(open_party(&party, "127.0.0.1:0"));
    CHECK_EQ(ed_udp_ttl(&party.udp, 7), 0);
    CHECK_EQ(number_of(&party, IPPROTO_IP, IP_TTL), 7);
    CHECK_EQ(ed_udp_ttl(&party.udp, 0), -EINVAL);
    CHECK_EQ(ed_udp_ttl(&party.udp, 256), -EINVAL);
    CHECK_EQ(ed_udp_multicast_ttl(&party.udp, 255), 0);
    CHECK_EQ(number_of(&party, IPPROTO_IP, IP_MULTICAST_TTL), 255);
    CHECK_EQ(ed_udp_multicast_ttl(&party.udp, 0), 0);
    CHECK_EQ(number_of(&party, IPPROTO_IP, IP_MULTICAST_TTL), 0);
    CHECK_EQ(ed_udp_multicast_ttl(&party.udp, -1), -EINVAL);
    CHECK_EQ(ed_udp_multicast_ttl(&party.udp, 256), -EINVAL);
    CHECK_EQ(ed_udp_multicast_loop(&party.udp, false), 0);
    CHECK_EQ(number_of(&party, IPPROTO_IP, IP_MULTICAST_LOOP), 0);
    CHECK_EQ(ed_udp_multicast_loop(&party.udp, true), 0);
    CHECK(number_of(&party, IPPROTO_IP, IP_MULTICAST_LOOP));
    CHECK_EQ(ed_udp_broadcast(&party.udp, true), 0);
    CHECK(number_of(&party, SOL_SOCKET, SO_BROADCAST));
    CHECK_EQ(ed_udp_broadcast(&party.udp, false), 0);
    CHECK(!number_of(&party, SOL_SOCKET, SO_BROADCAST));
    int send = number_of(&party, SOL_SOCKET, SO_SNDBUF);
    CHECK_EQ(ed_udp_buffers(&party.udp, 50000, 0), 0);
    CHECK(number_of(&party, SOL_SOCKET, SO_RCVBUF) >= 50000);
    CHECK_EQ(number_of(&party, SOL_SOCKET, SO_SNDBUF), send);
    CHECK_EQ(ed_udp_buffers(&party.udp, 0, 40000), 0);
    CHECK(number_of(&party, SOL_SOCKET, SO_SNDBUF) >= 40000);
    ed_udp_close(&party.udp);
    end();
}

static void options_of_ipv6_reach_the_system(void)
{
    struct party party = {0};
    begin();
    if (!has_ipv6()) {
        end();
        SKIP("no IPv6 here");
    }
    NEED(open_party(&party, "*:0"));
    CHECK_EQ(ed_udp_ttl(&party.udp, 7), 0);
    CHECK_EQ(number_of(&party, IPPROTO_IPV6, IPV6_UNICAST_HOPS), 7);
    CHECK_EQ(ed_udp_multicast_ttl(&party.udp, 9), 0);
    CHECK_EQ(number_of(&party, IPPROTO_IPV6, IPV6_MULTICAST_HOPS), 9);
    CHECK_EQ(ed_udp_multicast_loop(&party.udp, false), 0);
    CHECK_EQ(number_of(&party, IPPROTO_IPV6, IPV6_MULTICAST_LOOP), 0);
    unsigned interface = if_nametoindex("lo");
    if (interface) {
        CHECK_EQ(ed_udp_multicast_interface(&party.udp, interface), 0);
        CHECK_EQ(number_of(&party, IPPROTO_IPV6, IPV6_MULTICAST_IF), interface);
        CHECK_EQ(ed_udp_multicast_interface(&party.udp, 0), 0);
    }
    CHECK(ed_udp_multicast_interface(&party.udp, 123456) < 0);
    ed_udp_close(&party.udp);
    end();
}

static void what_is_no_group_is_refused(void)
{
    struct party party = {0};
    struct ed_address none = {0}, ipv4 = address_of("239.1.2.3:0");
    struct ed_address ipv6 = address_of("[ff02::1:2]:0");
    struct ed_address local = address_of("unix:/me");
    struct ed_address single = address_of("127.0.0.1:0");
    begin();
    NEED(open_party(&party, "0.0.0.0:0"));
    struct ed_udp *udp = &party.udp;
    CHECK_EQ(ed_udp_join(udp, &none, 0), -EINVAL);
    CHECK_EQ(ed_udp_join(udp, &local, 0), -EINVAL);
    CHECK_EQ(ed_udp_leave(udp, &none, 0), -EINVAL);
    CHECK_EQ(ed_udp_join_source(udp, &ipv4, &ipv6, 0), -EINVAL);
    CHECK_EQ(ed_udp_join_source(udp, &ipv4, &none, 0), -EINVAL);
    CHECK_EQ(ed_udp_join_source(udp, &local, &local, 0), -EINVAL);
    CHECK_EQ(ed_udp_leave_source(udp, &ipv4, &ipv6, 0), -EINVAL);
    CHECK(ed_udp_join(udp, &single, 0) < 0);
    CHECK(ed_udp_leave(udp, &ipv4, 0) < 0);
    CHECK(ed_udp_join(udp, &ipv4, 123456) < 0);
    CHECK(ed_udp_multicast_interface(udp, 123456) < 0);
    ed_udp_close(&party.udp);
    end();
}

/* ---- a network of its own ------------------------------------------------ */

#ifdef __linux__
#include <sched.h>

/* Without a network card, so that nothing leaves this machine. */
static bool enter_network(void)
{
    if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
        return false;

    struct ifreq lo = {.ifr_name = "lo",
                       .ifr_flags = IFF_UP | IFF_RUNNING | IFF_MULTICAST};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    bool is_up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
    close(fd);
    return is_up && if_nametoindex("lo");
}

/*
 * Adds a cable both ends of which are here, for the loopback neither has IPv6
 * multicast nor keeps what is not meant for this machine. While it is coming up
 * its addresses come and go.
 */
static bool add_cable(void)
{
    return system("{ ip link add ed0 type veth peer name ed1 &&"
                  " ip link set ed1 up &&"
                  " ip link set ed0 addrgenmode none up &&"
                  " timeout 20 sh -c \"until ip link show ed0 |"
                  "  grep -q 'state UP'; do sleep 0.01; done\" &&"
                  " ip addr add 10.0.0.1/24 dev ed0 &&"
                  " ip addr add 10.0.0.2/24 dev ed0 &&"
                  " ip addr add fd00::1/64 dev ed0 nodad &&"
                  " ip addr add fd00::2/64 dev ed0 nodad; }"
                  " >/dev/null 2>&1") == 0;
}

/* Runs it in a process with a network of its own, if that can be had. */
static void in_network(void (*fn)(void))
{
    enum { SKIPPED = 77 };
    int status;
    fflush(stdout);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        alarm(TAP_TIMEOUT_S);
        if (!enter_network())
            _exit(SKIPPED);
        fn();
        fflush(stdout);
        _exit(tap_failures ? 1 : 0);
    }
    NEED(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        SKIP("no network namespace to be had");
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
}

/* What a member of the group hears of two that send to it, and what not. */
static void check_group(const char *host, const char *other_host,
                        const char *group)
{
    struct party from = {0}, other = {0}, to = {0};
    const char *any = strchr(host, ':') ? "*:0" : "0.0.0.0:0";
    unsigned cable = if_nametoindex("ed0");
    struct ed_address address;
    CHECK_EQ(ed_address_ip(&address, host, 0), 0);
    NEED(ed_udp_open(&loop, &from.udp, &address) == 0);
    CHECK_EQ(ed_udp_local(&from.udp, &from.address), 0);
    CHECK_EQ(ed_address_ip(&address, other_host, 0), 0);
    NEED(ed_udp_open(&loop, &other.udp, &address) == 0);
    NEED(open_party(&to, any));
    struct ed_address all = at(group, &to), single = at(host, &to);
    CHECK_EQ(ed_udp_receive_start(&to.udp, note), 0);
    CHECK_EQ(ed_udp_multicast_interface(&from.udp, cable), 0);
    CHECK_EQ(ed_udp_multicast_interface(&other.udp, cable), 0);

    // A member hears it, nobody else does.
    CHECK_EQ(ed_udp_join(&to.udp, &all, cable), 0);
    CHECK(ed_udp_join(&to.udp, &all, cable) < 0);
    send_text(&from, &all, "to all");
    WAIT_FOR(to.received == 1);
    CHECK_STR(to.text, "to all");
    CHECK(ed_address_is_same(&to.last.peer, &from.address));
    CHECK_EQ(ed_udp_leave(&to.udp, &all, cable), 0);
    send_text(&from, &all, "to nobody");
    send_text(&from, &single, "to one");
    WAIT_FOR(to.received == 2);
    CHECK_STR(to.text, "to one");

    // Nor does this machine, if it is not meant to.
    CHECK_EQ(ed_udp_join(&to.udp, &all, cable), 0);
    CHECK_EQ(ed_udp_multicast_loop(&from.udp, false), 0);
    send_text(&from, &all, "to other machines");
    send_text(&from, &single, "to one");
    WAIT_FOR(to.received == 3);
    CHECK_STR(to.text, "to one");
    CHECK_EQ(ed_udp_multicast_loop(&from.udp, true), 0);
    CHECK_EQ(ed_udp_leave(&to.udp, &all, cable), 0);

    // Only what one sender says.
    CHECK_EQ(ed_udp_join_source(&to.udp, &all, &from.address, cable), 0);
    send_text(&other, &all, "from the wrong one");
    send_text(&from, &all, "from the right one");
    WAIT_FOR(to.received == 4);
    CHECK_STR(to.text, "from the right one");
    CHECK_EQ(ed_udp_leave_source(&to.udp, &all, &from.address, cable), 0);
    CHECK(ed_udp_leave_source(&to.udp, &all, &from.address, cable) < 0);
    ed_udp_close(&from.udp);
    ed_udp_close(&other.udp);
    ed_udp_close(&to.udp);
}

static void take_part_in_ipv4_groups(void)
{
    begin();
    if (add_cable())
        check_group("10.0.0.1", "10.0.0.2", "239.1.2.3");
    else
        printf("# cannot add an interface for it\n");
    end();
}

static void groups_of_ipv4_are_joined_and_left(void)
{
    in_network(take_part_in_ipv4_groups);
}

static void take_part_in_ipv6_groups(void)
{
    begin();
    if (add_cable())
        check_group("fd00::1", "fd00::2", "ff05::1:2");
    else
        printf("# cannot add an interface for it\n");
    end();
}

static void groups_of_ipv6_are_joined_and_left(void)
{
    in_network(take_part_in_ipv6_groups);
}

static void take_part_in_an_ipv4_group_with_both(void)
{
    struct party from = {0}, to = {0};
    unsigned lo = if_nametoindex("lo");
    begin();
    NEED(open_party(&from, "127.0.0.1:0"));
    NEED(open_party(&to, "*:0"));
    struct ed_address everybody = at("239.1.2.3", &to);
    CHECK_EQ(ed_udp_receive_start(&to.udp, note), 0);
    CHECK_EQ(ed_udp_multicast_interface(&from.udp, lo), 0);
    CHECK_EQ(ed_udp_join(&to.udp, &everybody, lo), 0);
    send_text(&from, &everybody, "to all");
    WAIT_FOR(to.received == 1);
    ed_udp_close(&from.udp);
    ed_udp_close(&to.udp);
    end();
}

static void a_socket_that_has_both_is_in_an_ipv4_group(void)
{
    in_network(take_part_in_an_ipv4_group_with_both);
}

static void send_to_a_broadcast_address(void)
{
    struct party from = {0}, to = {0};
    begin();
    NEED(open_party(&from, "127.0.0.1:0"));
    NEED(open_party(&to, "0.0.0.0:0"));
    struct ed_address everybody = at("127.255.255.255", &to);
    CHECK_EQ(ed_udp_receive_start(&to.udp, note), 0);
    CHECK_EQ(send_bytes(&from, &everybody, "to all", 6), -EACCES);
    CHECK_EQ(ed_udp_broadcast(&from.udp, true), 0);
    send_text(&from, &everybody, "to all");
    WAIT_FOR(to.received == 1);
    CHECK_STR(to.text, "to all");
    ed_udp_close(&from.udp);
    ed_udp_close(&to.udp);
    end();
}

static void broadcast_needs_permission(void)
{
    in_network(send_to_a_broadcast_address);
}

static void reach_nobody(void)
{
    struct party from = {0};
    struct ed_address far = address_of("192.0.2.1:9");
    begin();
    NEED(open_party(&from, "0.0.0.0:0"));
    CHECK_EQ(send_bytes(&from, &far, "x", 1), -ENETUNREACH);
    CHECK_EQ(ed_udp_connect(&from.udp, &far), -ENETUNREACH);
    ed_udp_close(&from.udp);
    end();
}

static void what_cannot_be_reached_is_an_error_of_the_send(void)
{
    in_network(reach_nobody);
}

#else

static void groups_of_ipv4_are_joined_and_left(void)
{
    SKIP("needs a network namespace");
}

static void groups_of_ipv6_are_joined_and_left(void)
{
    SKIP("needs a network namespace");
}

static void a_socket_that_has_both_is_in_an_ipv4_group(void)
{
    SKIP("needs a network namespace");
}

static void broadcast_needs_permission(void)
{
    SKIP("needs a network namespace");
}

static void what_cannot_be_reached_is_an_error_of_the_send(void)
{
    SKIP("needs a network namespace");
}

#endif

TESTS(TEST(a_datagram_finds_its_way_and_back),
      TEST(a_datagram_of_ipv6_finds_its_way_and_back),
      TEST(each_client_gets_its_own_back),
      TEST(datagrams_keep_their_order_and_their_sizes),
      TEST(an_empty_datagram_is_a_datagram),
      TEST(the_longest_datagram_comes_whole),
      TEST(what_follows_one_that_cannot_be_sent_is_left),
      TEST(one_without_a_destination_is_refused),
      TEST(what_is_longer_than_there_is_room_is_truncated),
      TEST(data_comes_in_the_programs_own_buffer),
      TEST(receiving_stops_and_goes_on),
      TEST(receiving_is_stopped_and_started_in_its_callback),
      TEST(a_socket_is_closed_and_freed_in_its_callback),
      TEST(of_two_that_are_ready_the_first_closes_the_second),
      TEST(a_socket_is_opened_anew_in_its_callback),
      TEST(an_open_socket_keeps_the_loop_alive_unless_unref),
      TEST(a_callback_is_traced), TEST(a_connected_socket_hears_its_peer_alone),
      TEST(a_connected_socket_is_connected_anew_or_no_more),
      TEST(a_peer_that_is_not_there_is_told_once_for_each_time),
      TEST(an_error_that_nobody_receives_meets_the_next_send),
      TEST(a_star_hears_ipv4_and_ipv6), TEST(a_star_sends_to_ipv4_and_ipv6),
      TEST(ipv6_alone_leaves_the_port_to_ipv4),
      TEST(an_address_is_shared_only_by_those_that_agree),
      TEST(what_is_no_address_of_this_machine_is_refused),
      TEST(a_socket_neither_blocks_nor_survives_exec),
      TEST(options_reach_the_system), TEST(options_of_ipv6_reach_the_system),
      TEST(what_is_no_group_is_refused),
      TEST(groups_of_ipv4_are_joined_and_left),
      TEST(groups_of_ipv6_are_joined_and_left),
      TEST(a_socket_that_has_both_is_in_an_ipv4_group),
      TEST(broadcast_needs_permission),
      TEST(what_cannot_be_reached_is_an_error_of_the_send))
