/*
 * loop/udp.c - datagrams, in batches
 *
 * The watch is active while the socket is open; what it is interested in
 * follows from the fields: in reading while somebody receives and there is no
 * pause, in writing while is_full.
 *
 * At most one callback of the program's is called for an event, and last, since
 * the struct may be gone afterwards. What is left to be done then has been put
 * into the loop's ready list before, as if the system had reported it again.
 *
 * An error of receiving is mostly one that waited at the socket (ICMP), and is
 * gone when it has been told. One that stays would make the loop spin, since
 * the socket stays readable, too: hence the pause after ERRORS in a row.
 */
#include "loop/udp.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "loop/socket.h"
#include "loop/system.h"
#include "loop/turn.h"

enum {
    ERRORS = 16,
    DATAGRAM_SIZE = 64 * 1024, // no UDP datagram is longer
};

static const uint64_t receive_pause_ns = 10 * ED_MS;

/* ---- open and close ------------------------------------------------------ */

static void on_udp_ready(struct ed_watch *watch);
static void go_on_receiving(struct ed_timer *timer);

static int open_udp(const struct ed_udp *udp, const struct ed_address *local)
{
    struct ed_socket_options options = {
        .reuse_address = udp->reuse_address,
        .reuse_port = udp->reuse_port,
        .ipv6_only = udp->ipv6_only,
    };
    int family = local->socket.any.sa_family;
    if (!local->size || (family != AF_INET && family != AF_INET6))
        return -EAFNOSUPPORT;
    return ed_socket_bound(local, SOCK_DGRAM, &options);
}

int ed_udp_open(struct ed_loop *loop, struct ed_udp *udp,
                const struct ed_address *local)
{
    struct ed_address bound;
    assert(!ed_udp_is_open(udp));

    int fd = open_udp(udp, local);
    if (fd < 0)
        return fd;
    int err = ed_socket_local(fd, &bound);
    if (!err)
        err = ed_watch_start(loop, &udp->watch, fd, 0, on_udp_ready);
    if (err) {
        close(fd);
        return err;
    }
    udp->fd = fd;
    udp->family = bound.socket.any.sa_family;
    udp->on_receive = NULL;
    udp->error = 0;
    udp->errors = 0;
    udp->is_full = false;
    ed_timer_unref(&udp->pause); // The watch keeps the loop alive, or not.
    return 0;
}

void ed_udp_close(struct ed_udp *udp)
{
    if (!ed_udp_is_open(udp))
        return;

    ed_timer_stop(&udp->pause);
    ed_watch_stop(&udp->watch);
    close(udp->fd);
    udp->fd = -1;
}

bool ed_udp_is_open(const struct ed_udp *udp)
{
    return ed_watch_is_active(&udp->watch);
}

void ed_udp_ref(struct ed_udp *udp)
{
    ed_watch_ref(&udp->watch);
}

void ed_udp_unref(struct ed_udp *udp)
{
    ed_watch_unref(&udp->watch);
}

/* ---- who is watched for what --------------------------------------------- */

/*
 * Tells the watch what is of interest now. As long as the system knows the
 * descriptor that can wait for the end of the turn; else it is told at once,
 * for the sake of the error. Returns 0, or -errno and nothing is watched.
 */
static int update_interest(struct ed_udp *udp)
{
    struct ed_watch *watch = &udp->watch;
    unsigned interest = udp->is_full ? ED_WRITABLE : 0;
    if (udp->on_receive && !ed_timer_is_active(&udp->pause))
        interest |= ED_READABLE;

    if (watch->told || !interest) {
        if (interest != watch->interest)
            ed_watch_change(watch, interest);
        return 0;
    }
    int err =
        ed_watch_start(watch->loop, watch, udp->fd, interest, on_udp_ready);
    if (err)
        ed_watch_start(watch->loop, watch, udp->fd, 0, on_udp_ready);
    return err;
}

static void pause_receiving(struct ed_udp *udp)
{
    ed_timer_start(udp->watch.loop, &udp->pause, receive_pause_ns,
                   go_on_receiving);
}

static void call_on_receive(struct ed_udp *udp,
                            const struct ed_datagram *datagrams, int count)
{
    struct ed_loop *loop = udp->watch.loop;
    ed_udp_receive_fn *fn = udp->on_receive;
    ed_trace_begin(loop->trace, "receive", udp, (ed_trace_callback_fn *)fn);
    fn(udp, datagrams, count);
    ed_trace_end(loop->trace);
}

/* Where no caller can be told of the error: tries again after a pause. */
static void watch_again(struct ed_udp *udp)
{
    int err = update_interest(udp);
    if (!err)
        return;
    pause_receiving(udp);
    if (udp->on_receive)
        call_on_receive(udp, NULL, err);
}

static void go_on_receiving(struct ed_timer *timer)
{
    watch_again(ED_CONTAINER_OF(timer, struct ed_udp, pause));
}

/* ---- receiving ----------------------------------------------------------- */

/* Returns how many datagrams came, or -errno. */
static int64_t receive_batch(struct ed_udp *udp, struct ed_datagram *datagrams)
{
    char *buffer = udp->buffer;
    size_t buffer_size = udp->buffer_size;
    size_t size = udp->max_size ? udp->max_size : buffer_size;
    if (!buffer) {
        buffer = ed_turn_buffer(udp->watch.loop);
        buffer_size = ED_BUFFER_SIZE;
        size = udp->max_size ? udp->max_size : (size_t)DATAGRAM_SIZE;
    }
    if (!buffer)
        return -ENOMEM;
    if (size > buffer_size)
        size = buffer_size;
    assert(size > 0);

    size_t count = buffer_size / size;
    if (count > ED_SYSTEM_MANY)
        count = ED_SYSTEM_MANY;
    for (size_t i = 0; i < count; i++) {
        datagrams[i].data = buffer + i * size;
        datagrams[i].size = size;
    }
    return ed_system_receive_many(udp->fd, datagrams, count, &udp->error);
}

static void receive_some(struct ed_udp *udp)
{
    struct ed_datagram datagrams[ED_SYSTEM_MANY];
    struct ed_watch *watch = &udp->watch;
    int64_t count = udp->error;
    udp->error = 0;
    if (!count)
        count = receive_batch(udp, datagrams);
    if (udp->error)
        ed_turn_report(&watch->loop->ready, watch, ED_READABLE);

    if (count >= 0 || count == -EAGAIN) {
        udp->errors = 0;
    } else if (udp->errors < ERRORS) {
        udp->errors++;
    } else {
        pause_receiving(udp);
        update_interest(udp); // To less: that cannot fail.
    }
    if (count != -EAGAIN)
        call_on_receive(udp, datagrams, (int)count);
}

int ed_udp_receive_start(struct ed_udp *udp, ed_udp_receive_fn *fn)
{
    assert(ed_udp_is_open(udp));

    if (!udp->buffer && !ed_turn_buffer(udp->watch.loop)) {
        ed_udp_receive_stop(udp);
        return -ENOMEM;
    }
    udp->on_receive = fn;
    int err = update_interest(udp);
    if (err)
        udp->on_receive = NULL;
    else if (udp->error)
        ed_turn_report(&udp->watch.loop->ready, &udp->watch, ED_READABLE);
    return err;
}

void ed_udp_receive_stop(struct ed_udp *udp)
{
    if (!ed_udp_is_open(udp))
        return;

    udp->on_receive = NULL;
    update_interest(udp);
}

/* ---- sending ------------------------------------------------------------- */

int64_t ed_udp_send(struct ed_udp *udp, const struct ed_datagram *datagrams,
                    size_t count)
{
    assert(ed_udp_is_open(udp));

    size_t sent = 0, batch = 0;
    int64_t result = 0;
    while (sent < count && (size_t)result == batch) {
        batch = count - sent;
        if (batch > ED_SYSTEM_MANY)
            batch = ED_SYSTEM_MANY;
        result =
            ed_system_send_many(udp->fd, udp->family, datagrams + sent, batch);
        if (result > 0)
            sent += (size_t)result;
    }
    if (sent || !count)
        return (int64_t)sent;
    if (result != -EAGAIN)
        return result;

    udp->is_full = true;
    int err = update_interest(udp);
    if (!err)
        return -EAGAIN;
    udp->is_full = false;
    return err;
}

static void tell_drained(struct ed_udp *udp)
{
    struct ed_loop *loop = udp->watch.loop;
    ed_udp_fn *fn = udp->on_drain;
    udp->is_full = false;
    update_interest(udp); // To less: that cannot fail.
    if (!fn)
        return;
    ed_trace_begin(loop->trace, "drain", udp, (ed_trace_callback_fn *)fn);
    fn(udp);
    ed_trace_end(loop->trace);
}

static void on_udp_ready(struct ed_watch *watch)
{
    struct ed_udp *udp = ED_CONTAINER_OF(watch, struct ed_udp, watch);
    if (!watch->told) {
        watch_again(udp);
        return;
    }
    // With an error, too: if nobody receives, the next send takes it away.
    if (udp->is_full && (watch->ready & (ED_WRITABLE | ED_ERROR))) {
        if (watch->ready & ED_READABLE)
            ed_turn_report(&watch->loop->ready, watch, ED_READABLE);
        tell_drained(udp);
        return;
    }
    if (udp->on_receive)
        receive_some(udp);
}

/* ---- peers --------------------------------------------------------------- */

int ed_udp_local(const struct ed_udp *udp, struct ed_address *local)
{
    return ed_socket_local(udp->fd, local);
}

int ed_udp_peer(const struct ed_udp *udp, struct ed_address *peer)
{
    return ed_socket_peer(udp->fd, peer);
}

static int connect_to(int fd, const struct ed_address *peer)
{
    int result;
    do
        result = connect(fd, &peer->socket.any, peer->size);
    while (result && errno == EINTR);
    return result ? -errno : 0;
}

static void set_port(struct ed_address *address, const struct ed_address *from)
{
    if (address->socket.any.sa_family == AF_INET)
        address->socket.ipv4.sin_port = from->socket.ipv4.sin_port;
    else
        address->socket.ipv6.sin6_port = from->socket.ipv6.sin6_port;
}

static int disconnect(int fd)
{
    const struct ed_address nobody = {
        .size = sizeof nobody.socket.any,
        .socket.any.sa_family = AF_UNSPEC,
    };
    struct ed_address before, after;
    int err = ed_socket_local(fd, &before);
    if (err)
        return err;
    // Some systems do it and say that there is no such address.
    err = connect_to(fd, &nobody);
    if (err && ed_socket_peer(fd, &after) != -ENOTCONN)
        return err;

    // Linux takes away a port that it has chosen itself.
    err = ed_socket_local(fd, &after);
    if (err || ed_address_port(&after))
        return err;
    set_port(&after, &before);
    return bind(fd, &after.socket.any, after.size) ? -errno : 0;
}

int ed_udp_connect(struct ed_udp *udp, const struct ed_address *peer)
{
    struct ed_address to, old;
    bool is_connected = ed_socket_peer(udp->fd, &old) == 0;
    // Before another one, too, or Linux keeps the address of the interface that
    // leads to the first.
    int err = is_connected ? disconnect(udp->fd) : 0;
    if (err || !peer)
        return err;
    to = ed_socket_address(udp->family, peer);
    return connect_to(udp->fd, &to);
}

/* ---- options ------------------------------------------------------------- */

static bool is_group(const struct ed_address *group,
                     const struct ed_address *source)
{
    int family = group->socket.any.sa_family;
    return group->size && (family == AF_INET || family == AF_INET6) &&
           (!source ||
            (source->size && source->socket.any.sa_family == family));
}

int ed_udp_join(struct ed_udp *udp, const struct ed_address *group,
                unsigned interface)
{
    if (!is_group(group, NULL))
        return -EINVAL;
    return ed_system_join(udp->fd, group, NULL, interface);
}

int ed_udp_leave(struct ed_udp *udp, const struct ed_address *group,
                 unsigned interface)
{
    if (!is_group(group, NULL))
        return -EINVAL;
    return ed_system_leave(udp->fd, group, NULL, interface);
}

int ed_udp_join_source(struct ed_udp *udp, const struct ed_address *group,
                       const struct ed_address *source, unsigned interface)
{
    if (!is_group(group, source))
        return -EINVAL;
    return ed_system_join(udp->fd, group, source, interface);
}

int ed_udp_leave_source(struct ed_udp *udp, const struct ed_address *group,
                        const struct ed_address *source, unsigned interface)
{
    if (!is_group(group, source))
        return -EINVAL;
    return ed_system_leave(udp->fd, group, source, interface);
}

/* In bytes: the one form that all systems take. */
static int set_ipv4_byte(int fd, int name, int value)
{
    unsigned char byte = (unsigned char)value;
    return setsockopt(fd, IPPROTO_IP, name, &byte, sizeof byte) ? -errno : 0;
}

/* Of an IPv6 socket, IPv4 is a part that it need not have. */
static int set_both(const struct ed_udp *udp, int ipv4_result, int ipv6_name,
                    int value)
{
    if (udp->family == AF_INET)
        return ipv4_result;
    return ed_socket_option(udp->fd, IPPROTO_IPV6, ipv6_name, value);
}

int ed_udp_multicast_interface(struct ed_udp *udp, unsigned interface)
{
    int result = ed_system_multicast_interface(udp->fd, interface);
    return set_both(udp, result, IPV6_MULTICAST_IF, (int)interface);
}

int ed_udp_multicast_ttl(struct ed_udp *udp, int ttl)
{
    if (ttl < 0 || ttl > UINT8_MAX)
        return -EINVAL;
    int result = set_ipv4_byte(udp->fd, IP_MULTICAST_TTL, ttl);
    return set_both(udp, result, IPV6_MULTICAST_HOPS, ttl);
}

int ed_udp_multicast_loop(struct ed_udp *udp, bool is_on)
{
    int result = set_ipv4_byte(udp->fd, IP_MULTICAST_LOOP, is_on);
    return set_both(udp, result, IPV6_MULTICAST_LOOP, is_on);
}

int ed_udp_ttl(struct ed_udp *udp, int ttl)
{
    if (ttl < 1 || ttl > UINT8_MAX)
        return -EINVAL;
    int result = ed_socket_option(udp->fd, IPPROTO_IP, IP_TTL, ttl);
    return set_both(udp, result, IPV6_UNICAST_HOPS, ttl);
}

int ed_udp_broadcast(struct ed_udp *udp, bool is_on)
{
    return ed_socket_option(udp->fd, SOL_SOCKET, SO_BROADCAST, is_on);
}

int ed_udp_buffers(struct ed_udp *udp, int receive, int send)
{
    return ed_socket_buffers(udp->fd, receive, send);
}
