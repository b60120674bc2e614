#include "loop/listener.h"

#include <sys/resource.h>

#include "test/stream.h"

/* A listener that keeps what it is given. */
struct server {
    struct ed_listener listener;
    struct ed_address address; // where it listens
    int fds[1200];
    int count;
    int overloads;
    int overload; // the last error
    int in_turn;  // accepted in the turn under way
    int most_in_turn;
};

static struct server *server_of(struct ed_listener *listener)
{
    return ED_CONTAINER_OF(listener, struct server, listener);
}

static void keep_connection(struct ed_listener *listener, int fd)
{
    struct server *server = server_of(listener);
    CHECK(fd >= 0);
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    server->fds[server->count++] = fd;
    if (++server->in_turn > server->most_in_turn)
        server->most_in_turn = server->in_turn;
}

static void note_overload(struct ed_listener *listener, int error)
{
    server_of(listener)->overloads++;
    server_of(listener)->overload = error;
}

static int start_at(struct server *server, const struct ed_address *address)
{
    server->listener.on_overload = note_overload;
    int err =
        ed_listener_start(&loop, &server->listener, address, keep_connection);
    if (err)
        return err;
    err = ed_listener_local(&server->listener, &server->address);
    return err;
}

static int start(struct server *server, enum kind kind)
{
    struct ed_address address;
    if (!free_address(kind, &address))
        return -EAFNOSUPPORT;
    return start_at(server, &address);
}

static void drop_connections(struct server *server)
{
    for (int i = 0; i < server->count; i++)
        close(server->fds[i]);
    server->count = 0;
}

static void stop(struct server *server)
{
    drop_connections(server);
    ed_listener_stop(&server->listener);
    CHECK(!ed_listener_is_active(&server->listener));
}

/* A client's socket, that connects or is connected; or -errno. */
static int knock(const struct ed_address *address)
{
    int fd = socket(address->socket.any.sa_family, SOCK_STREAM, 0);
    if (fd < 0)
        return -errno;
    set_nonblocking(fd);
    if (connect(fd, &address->socket.any, address->size) == 0 ||
        errno == EINPROGRESS)
        return fd;
    int err = -errno;
    close(fd);
    return err;
}

static bool exists(const struct ed_address *address, struct stat *stat)
{
    return lstat(address->socket.local.sun_path, stat) == 0;
}

/* ---- accepting ----------------------------------------------------------- */

static void connections_are_accepted_on_every_kind_of_address(void)
{
    for (enum kind kind = TCP_IPV4; kind <= UNIX_ABSTRACT; kind++) {
        struct server server = {0};
        struct client a = {0}, b = {0};
        if (!has_kind(kind))
            continue;
        begin();
        NEED(start(&server, kind) == 0);
        CHECK(ed_listener_is_active(&server.listener));
        CHECK(ed_loop_is_alive(&loop));
        if (kind <= TCP_IPV6)
            CHECK(ed_address_port(&server.address) > 0);
        CHECK_EQ(ed_stream_connect(&loop, &a.stream, &server.address, 0,
                                   note_connect),
                 0);
        WAIT_FOR(server.count && a.connects);
        CHECK_EQ(a.error, 0);
        CHECK_EQ(server.listener.accepted, 1);
        ed_stream_open_socket(&loop, &b.stream, server.fds[0]);
        server.count = 0;
        CHECK_EQ(ed_stream_read_start(&b.stream, note_read), 0);
        CHECK_EQ(ed_stream_write(&a.stream, "hello", 5), 0);
        WAIT_FOR(b.size == 5);
        check_quiet();
        close_clients(&a, &b);
        stop(&server);
        CHECK_EQ(server.listener.fd, -1);
        CHECK_EQ(server.overloads, 0);
        CHECK_EQ(server.listener.shed, 0);
        end();
    }
}

static struct server *counted;

static void forget_turn(struct ed_hook *hook)
{
    (void)hook;
    counted->in_turn = 0;
}

static void the_more_wait_the_more_are_accepted_in_a_turn(void)
{
    struct server server = {0};
    struct ed_hook hook = {0};
    static int clients[300];
    begin();
    counted = &server;
    ed_hook_prepare(&loop, &hook, forget_turn);
    NEED(start(&server, TCP_IPV4) == 0);
    for (int i = 0; i < 300; i++)
        NEED((clients[i] = knock(&server.address)) >= 0);
    take_turn();
    CHECK_EQ(server.count, 1);
    take_turn();
    CHECK_EQ(server.count, 3);
    WAIT_FOR(server.count == 300);
    CHECK(server.most_in_turn > 16);
    CHECK(server.most_in_turn <= 64);
    CHECK_EQ(server.listener.accepted, 300);
    ed_hook_stop(&hook);
    check_quiet();
    for (int i = 0; i < 300; i++)
        close(clients[i]);
    stop(&server);
    end();
}

static bool got_x(const struct server *server)
{
    char byte = 0;
    for (int i = 0; i < server->count && byte != 'x'; i++)
        if (recv(server->fds[i], &byte, 1, MSG_PEEK) != 1)
            byte = 0;
    return byte == 'x';
}

/* Those are accepted or not, as the system likes. */
static void who_is_gone_before_being_accepted_does_no_harm(void)
{
    struct server server = {0};
    begin();
    NEED(start(&server, TCP_IPV4) == 0);
    for (int i = 0; i < 4; i++) {
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        int gone = knock(&server.address);
        NEED(gone >= 0);
        setsockopt(gone, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(gone);
    }
    int fd = knock(&server.address);
    NEED(fd >= 0);
    CHECK_EQ(write(fd, "x", 1), 1);
    WAIT_FOR(got_x(&server));
    CHECK_EQ(server.overloads, 0);
    check_quiet();
    close(fd);
    stop(&server);
    end();
}

static void a_paused_listener_leaves_connections_waiting(void)
{
    struct server server = {0};
    begin();
    NEED(start(&server, TCP_IPV4) == 0);
    ed_listener_pause(&server.listener);
    CHECK(ed_listener_is_active(&server.listener));
    int fd = knock(&server.address);
    check_quiet();
    CHECK_EQ(server.count, 0);
    ed_listener_resume(&server.listener);
    WAIT_FOR(server.count == 1);
    ed_listener_resume(&server.listener); // is no error
    check_quiet();
    close(fd);
    stop(&server);
    end();
}

static void keep_and_pause(struct ed_listener *listener, int fd)
{
    keep_connection(listener, fd);
    ed_listener_pause(listener);
}

static void a_listener_may_pause_in_the_midst_of_a_batch(void)
{
    struct server server = {0};
    int clients[10];
    begin();
    NEED(start(&server, TCP_IPV4) == 0);
    for (int i = 0; i < 3; i++)
        clients[i] = knock(&server.address);
    WAIT_FOR(server.count == 3); // now it takes several at once
    server.listener.fn = keep_and_pause;
    for (int i = 3; i < 10; i++)
        clients[i] = knock(&server.address);
    for (int count = 4; count <= 10; count++) {
        WAIT_FOR(server.count == count);
        check_quiet();
        CHECK_EQ(server.count, count);
        ed_listener_resume(&server.listener);
    }
    for (int i = 0; i < 10; i++)
        close(clients[i]);
    stop(&server);
    end();
}

static int accepted;

static void stop_and_free(struct ed_listener *listener, int fd)
{
    close(fd);
    accepted++;
    ed_listener_stop(listener);
    free(server_of(listener));
}

static void a_listener_may_be_freed_in_the_midst_of_a_batch(void)
{
    struct server *server = calloc(1, sizeof *server);
    int clients[10];
    begin();
    accepted = 0;
    NEED(start(server, TCP_IPV4) == 0);
    for (int i = 0; i < 3; i++)
        clients[i] = knock(&server->address);
    WAIT_FOR(server->count == 3);
    drop_connections(server);
    server->listener.fn = stop_and_free;
    for (int i = 3; i < 10; i++)
        clients[i] = knock(&server->address);
    WAIT_FOR(accepted);
    check_quiet();
    CHECK_EQ(accepted, 1);
    for (int i = 0; i < 10; i++)
        close(clients[i]);
    end();
}

static void start_anew(struct ed_listener *listener, int fd)
{
    close(fd);
    accepted++;
    CHECK_EQ(start(server_of(listener), TCP_IPV4), 0);
}

static void a_listener_may_be_started_anew_in_its_callback(void)
{
    struct server server = {0};
    begin();
    accepted = 0;
    NEED(start(&server, TCP_IPV4) == 0);
    server.listener.fn = start_anew;
    struct ed_address before = server.address;
    int first = knock(&server.address), second = knock(&server.address);
    WAIT_FOR(accepted);
    CHECK(ed_listener_is_active(&server.listener));
    CHECK(!ed_address_is_same(&before, &server.address));
    CHECK_EQ(server.listener.accepted, 0);
    int third = knock(&server.address);
    WAIT_FOR(server.count == 1);
    CHECK_EQ(accepted, 1);
    close(first);
    close(second);
    close(third);
    stop(&server);
    end();
}

static void only_a_listener_with_a_ref_keeps_the_loop_alive(void)
{
    struct server server = {0};
    begin();
    ed_listener_unref(&server.listener);
    NEED(start(&server, TCP_IPV4) == 0);
    CHECK(!ed_loop_is_alive(&loop));
    CHECK_EQ(ed_loop_run(&loop), 0);
    ed_listener_ref(&server.listener);
    CHECK(ed_loop_is_alive(&loop));
    stop(&server);
    stop(&server); // is no error
    end();
}

/* ---- addresses ----------------------------------------------------------- */

static void an_address_in_use_is_refused(void)
{
    for (enum kind kind = TCP_IPV4; kind <= UNIX_ABSTRACT; kind++) {
        struct server server = {0}, late = {0};
        if (!has_kind(kind))
            continue;
        begin();
        NEED(start(&server, kind) == 0);
        CHECK_EQ(start_at(&late, &server.address), -EADDRINUSE);
        CHECK(!ed_listener_is_active(&late.listener));
        int fd = knock(&server.address); // the first one is as before
        WAIT_FOR(server.count == 1);
        close(fd);
        stop(&server);
        CHECK_EQ(start_at(&late, &server.address), 0); // at once
        stop(&late);
        end();
    }
}

static void an_address_with_old_connections_can_be_listened_at(void)
{
    struct server server = {0}, again = {0};
    begin();
    NEED(start(&server, TCP_IPV4) == 0);
    int fd = knock(&server.address);
    WAIT_FOR(server.count == 1);
    stop(&server); // closes the connection first, so it is remembered here
    close(fd);
    CHECK_EQ(start_at(&again, &server.address), 0);
    stop(&again);
    end();
}

static void an_address_of_somebody_else_is_refused(void)
{
    struct server server = {0};
    struct ed_address address;
    begin();
    NEED(ed_address_parse(&address, "203.0.113.7:0") == 0);
    CHECK_EQ(start_at(&server, &address), -EADDRNOTAVAIL);
    NEED(ed_address_unix(&address, "/tmp/eddy-is-not-there/socket") == 0);
    CHECK_EQ(start_at(&server, &address), -ENOENT);
    CHECK(!ed_listener_is_active(&server.listener));
    end();
}

static bool can_connect(const char *host, uint16_t port)
{
    struct ed_address address;
    struct client a = {0};
    if (ed_address_ip(&address, host, port))
        return false;
    int err =
        ed_stream_connect(&loop, &a.stream, &address, 5 * ED_S, note_connect);
    if (!err) {
        WAIT_FOR(a.connects);
        err = a.error;
    }
    CHECK(err == 0 || err == -ECONNREFUSED);
    close_client(&a);
    return err == 0;
}

static void any_address_is_reached_by_ipv4_and_ipv6(void)
{
    struct server server = {0};
    struct ed_address address;
    begin();
    NEED(ed_address_parse(&address, "*:0") == 0);
    NEED(start_at(&server, &address) == 0);
    uint16_t port = ed_address_port(&server.address);
    CHECK(port > 0);
    CHECK(can_connect("127.0.0.1", port));
    if (server.address.socket.any.sa_family == AF_INET6)
        CHECK(can_connect("::1", port));
    stop(&server);
    end();
}

static void with_ipv6_only_ipv4_is_somebody_elses(void)
{
    struct server six = {0}, four = {0};
    struct ed_address address;
    begin();
    six.listener.ipv6_only = true;
    NEED(ed_address_parse(&address, "[::]:0") == 0);
    NEED(start_at(&six, &address) == 0);
    uint16_t port = ed_address_port(&six.address);
    CHECK(can_connect("::1", port));
    CHECK(!can_connect("127.0.0.1", port));
    NEED(ed_address_ip(&address, "0.0.0.0", port) == 0);
    CHECK_EQ(start_at(&four, &address), 0);
    CHECK(can_connect("127.0.0.1", port));
    WAIT_FOR(six.count == 1 && four.count == 1);
    stop(&six);
    stop(&four);
    end();
}

static void two_listeners_can_share_an_address(void)
{
    struct server first = {0}, second = {0};
    static int clients[64];
    begin();
    first.listener.reuse_port = second.listener.reuse_port = true;
    NEED(start(&first, TCP_IPV4) == 0);
    CHECK_EQ(start_at(&second, &first.address), 0);
    for (int i = 0; i < 64; i++)
        NEED((clients[i] = knock(&first.address)) >= 0);
    WAIT_FOR(first.count + second.count == 64);
#ifdef __linux__
    CHECK(first.count > 0 && second.count > 0);
#endif
    for (int i = 0; i < 64; i++)
        close(clients[i]);
    stop(&first);
    stop(&second);
    end();
}

/* ---- sockets in the file system ------------------------------------------ */

static void its_file_comes_and_goes_with_the_listener(void)
{
    struct server server = {0};
    struct stat stat;
    begin();
    NEED(start(&server, UNIX_PATH) == 0);
    CHECK(exists(&server.address, &stat) && S_ISSOCK(stat.st_mode));
    stop(&server);
    CHECK(!exists(&server.address, &stat));
    end();
}

static void the_file_of_another_server_is_left_where_it_is(void)
{
    struct server first = {0}, second = {0};
    struct stat stat;
    begin();
    NEED(start(&first, UNIX_PATH) == 0);
    unlink(first.address.socket.local.sun_path);
    NEED(start_at(&second, &first.address) == 0);
    stop(&first);
    CHECK(exists(&second.address, &stat));
    stop(&second);
    CHECK(!exists(&second.address, &stat));
    end();
}

static void its_file_has_the_mode_asked_for_or_that_of_the_umask(void)
{
    static const unsigned modes[] = {0600, 0660, 0666};
    struct stat stat;
    begin();
    mode_t before = umask(027);
    for (int i = 0; i < 3; i++) {
        struct server server = {.listener = {.mode = modes[i]}};
        NEED(start(&server, UNIX_PATH) == 0);
        CHECK(exists(&server.address, &stat));
        CHECK_EQ(stat.st_mode & 0777, modes[i]);
        stop(&server);
    }
    struct server server = {0};
    NEED(start(&server, UNIX_PATH) == 0);
    CHECK(exists(&server.address, &stat));
    CHECK_EQ(stat.st_mode & 0777, 0750);
    stop(&server);
    umask(before);
    end();
}

static void a_dead_socket_is_replaced_if_asked_for(void)
{
    struct server server = {0};
    struct ed_address address;
    struct stat stat;
    begin();
    NEED(free_address(UNIX_PATH, &address));
    close(listen_at(&address, 1));
    CHECK(exists(&address, &stat));
    CHECK_EQ(start_at(&server, &address), -EADDRINUSE);
    CHECK(exists(&address, &stat)); // not removed with what failed
    server.listener.replace = true;
    CHECK_EQ(start_at(&server, &address), 0);
    int fd = knock(&address);
    CHECK(fd >= 0);
    WAIT_FOR(server.count == 1);
    close(fd);
    stop(&server);
    CHECK(!exists(&address, &stat));
    CHECK_EQ(start_at(&server, &address), 0); // where nothing is, too
    stop(&server);
    end();
}

static void a_living_socket_is_not_replaced(void)
{
    struct server first = {0}, second = {.listener = {.replace = true}};
    struct stat stat;
    begin();
    NEED(start(&first, UNIX_PATH) == 0);
    CHECK_EQ(start_at(&second, &first.address), -EADDRINUSE);
    CHECK(exists(&first.address, &stat));
    take_turn();
    drop_connections(&first);

    // Not even one that has no time for anybody.
    struct ed_address address;
    NEED(free_address(UNIX_PATH, &address));
    int busy = listen_at(&address, 0), clients[4];
    for (int i = 0; i < 4; i++)
        clients[i] = knock(&address);
    CHECK(clients[3] < 0); // full
    CHECK_EQ(start_at(&second, &address), -EADDRINUSE);
    CHECK(exists(&address, &stat));
    for (int i = 0; i < 4; i++)
        if (clients[i] >= 0)
            close(clients[i]);
    close(busy);
    remove_path(&address);
    stop(&first);
    end();
}

static void what_is_no_socket_is_not_replaced(void)
{
    struct server server = {.listener = {.replace = true}};
    struct ed_address address, target;
    struct stat stat;
    begin();
    NEED(free_address(UNIX_PATH, &address));
    const char *path = address.socket.local.sun_path;
    close(open(path, O_CREAT | O_WRONLY, 0600));
    CHECK_EQ(start_at(&server, &address), -EADDRINUSE);
    CHECK(exists(&address, &stat) && S_ISREG(stat.st_mode));
    unlink(path);

    // A link to a dead socket is no socket either.
    NEED(free_address(UNIX_PATH, &target));
    close(listen_at(&target, 1));
    NEED(symlink(target.socket.local.sun_path, path) == 0);
    CHECK_EQ(start_at(&server, &address), -EADDRINUSE);
    CHECK(exists(&address, &stat) && S_ISLNK(stat.st_mode));
    CHECK(exists(&target, &stat));
    unlink(path);
    remove_path(&target);

    // Nor is a socket for datagrams one that nobody listens at.
    int datagrams = socket(AF_UNIX, SOCK_DGRAM, 0);
    NEED(bind(datagrams, &address.socket.any, address.size) == 0);
    CHECK_EQ(start_at(&server, &address), -EADDRINUSE);
    CHECK(exists(&address, &stat));
    close(datagrams);
    unlink(path);
    end();
}

/* ---- passed on ----------------------------------------------------------- */

static void a_socket_that_listens_already_is_taken_over(void)
{
    for (enum kind kind = TCP_IPV4; kind <= UNIX_PATH; kind++) {
        struct server server = {0};
        struct ed_address address;
        struct stat stat;
        begin();
        NEED(free_address(kind, &address));
        int fd = listen_at(&address, 5);
        CHECK_EQ(ed_listener_open(&loop, &server.listener, fd, keep_connection),
                 0);
        CHECK_EQ(server.listener.fd, fd);
        int client = knock(&address);
        WAIT_FOR(server.count == 1);
        check_quiet(); // it does not block
        close(client);
        stop(&server);
        CHECK(fcntl(fd, F_GETFD) < 0);
        // The file is not of its making.
        if (kind == UNIX_PATH)
            CHECK(exists(&address, &stat));
        remove_path(&address);
        end();
    }
}

static void what_does_not_listen_is_refused_and_left_alone(void)
{
    struct server server = {0};
    int fds[2];
    begin();
    int file = file_of("x", 1), stream = socket(AF_INET, SOCK_STREAM, 0),
        datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    NEED(open_pair(SOCKETPAIR, fds));
    const struct {
        int fd, err;
    } cases[] = {
        {-1, -EBADF},         {file, -ENOTSOCK}, {stream, -EINVAL},
        {datagrams, -EINVAL}, {fds[0], -EINVAL},
    };
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(ed_listener_open(&loop, &server.listener, cases[i].fd,
                                  keep_connection),
                 cases[i].err);
        CHECK(!ed_listener_is_active(&server.listener));
        if (cases[i].fd >= 0)
            CHECK(!(fcntl(cases[i].fd, F_GETFL) & O_NONBLOCK));
    }
    close(file);
    close(stream);
    close(datagrams);
    close_both(fds);
    end();
}

/* ---- out of descriptors -------------------------------------------------- */

static const char valgrind_cannot[] =
    "valgrind takes connections that it has no descriptor for";

static struct rlimit limit_before;

/* So many more descriptors can be opened. */
static bool leave_descriptors(int count)
{
    int fds[64];
    if (getrlimit(RLIMIT_NOFILE, &limit_before))
        return false;
    for (int i = 0; i <= count; i++)
        fds[i] = dup(0);
    struct rlimit low = limit_before;
    low.rlim_cur = (rlim_t)fds[count];
    for (int i = 0; i <= count; i++)
        close(fds[i]);
    return setrlimit(RLIMIT_NOFILE, &low) == 0;
}

static void allow_descriptors(void)
{
    setrlimit(RLIMIT_NOFILE, &limit_before);
}

static int turns;

static void count_turn(struct ed_hook *hook)
{
    (void)hook;
    turns++;
}

/* What a client sees: 1 data or nothing yet, 0 closed or reset. */
static bool is_connected(int fd)
{
    char byte;
    ssize_t got = read(fd, &byte, 1);
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
}

static void out_of_descriptors_connections_are_closed_not_left_hanging(void)
{
    if (is_in_valgrind())
        SKIP(valgrind_cannot);
    for (enum kind kind = TCP_IPV4; kind <= UNIX_PATH; kind++) {
        struct server server = {0};
        struct ed_hook hook = {0};
        int clients[20];
        begin();
        turns = 0;
        ed_hook_prepare(&loop, &hook, count_turn);
        NEED(start(&server, kind) == 0);
        for (int i = 0; i < 20; i++)
            NEED((clients[i] = knock(&server.address)) >= 0);
        NEED(leave_descriptors(5));
        WAIT_FOR(server.count + (int)server.listener.shed == 20);
        CHECK_EQ(server.count, 5);
        CHECK_EQ(server.listener.accepted, 5);
        CHECK_EQ(server.listener.shed, 15);
        CHECK_EQ(server.overloads, 15);
        CHECK_EQ(server.overload, -EMFILE);
        CHECK(turns <= 40);
        ed_hook_stop(&hook);
        check_quiet();

        int connected = 0;
        for (int i = 0; i < 20; i++)
            connected += is_connected(clients[i]);
        CHECK_EQ(connected, 5);

        // As soon as there are descriptors it goes on.
        close(server.fds[--server.count]);
        close(clients[0]);
        int fd = knock(&server.address);
        NEED(fd >= 0);
        allow_descriptors();
        WAIT_FOR(server.count == 5);
        CHECK_EQ(server.listener.shed, 15);
        close(fd);
        for (int i = 1; i < 20; i++)
            close(clients[i]);
        stop(&server);
        end();
    }
}

/* Who comes when there is none left, and no reserve, waits for its turn. */
static void without_a_reserve_it_pauses_and_serves_again(void)
{
    if (is_in_valgrind())
        SKIP(valgrind_cannot);
    struct server server = {0};
    struct ed_hook hook = {0};
    begin();
    NEED(start(&server, TCP_IPV4) == 0);
    close(server.listener.reserve);
    server.listener.reserve = -1; // somebody else was faster
    int fd = knock(&server.address);
    NEED(leave_descriptors(0));
    turns = 0;
    ed_hook_prepare(&loop, &hook, count_turn);
    WAIT_FOR(server.overloads == 2); // two pauses
    CHECK(turns < 20);
    CHECK_EQ(server.overload, -EMFILE);
    CHECK_EQ(server.count, 0);
    CHECK_EQ(server.listener.shed, 0);
    allow_descriptors();
    WAIT_FOR(server.count == 1);
    CHECK(server.listener.reserve >= 0);
    ed_hook_stop(&hook);
    close(fd);
    stop(&server);
    end();
}

static void a_pause_of_the_program_outlasts_that_for_want_of_descriptors(void)
{
    if (is_in_valgrind())
        SKIP(valgrind_cannot);
    struct server server = {0};
    begin();
    NEED(start(&server, TCP_IPV4) == 0);
    close(server.listener.reserve);
    server.listener.reserve = -1;
    int fd = knock(&server.address);
    NEED(leave_descriptors(0));
    WAIT_FOR(server.overloads == 1);
    CHECK(ed_timer_is_active(&server.listener.pause));
    ed_listener_pause(&server.listener);
    allow_descriptors();
    while (ed_timer_is_active(&server.listener.pause))
        CHECK(ed_loop_run_once(&loop, 10 * ED_MS) == 1);
    check_quiet();
    CHECK_EQ(server.count, 0);
    ed_listener_resume(&server.listener);
    WAIT_FOR(server.count == 1);

    // And the other way round: who resumes does not end it.
    close(server.listener.reserve);
    server.listener.reserve = -1;
    close(fd);
    fd = knock(&server.address);
    NEED(leave_descriptors(0));
    WAIT_FOR(server.overloads == 2);
    ed_listener_pause(&server.listener);
    ed_listener_resume(&server.listener);
    CHECK(ed_timer_is_active(&server.listener.pause));
    CHECK_EQ(server.listener.watch.interest, 0);
    allow_descriptors();
    WAIT_FOR(server.count == 2);
    close(fd);
    stop(&server);
    end();
}

static void stop_when_overloaded(struct ed_listener *listener, int error)
{
    CHECK_EQ(error, -EMFILE);
    ed_listener_stop(listener);
    free(server_of(listener));
    accepted = -1;
}

static void a_listener_may_be_freed_when_it_is_overloaded(void)
{
    if (is_in_valgrind())
        SKIP(valgrind_cannot);
    for (int has_reserve = 0; has_reserve < 2; has_reserve++) {
        struct server *server = calloc(1, sizeof *server);
        begin();
        accepted = 0;
        NEED(start(server, TCP_IPV4) == 0);
        server->listener.on_overload = stop_when_overloaded;
        if (!has_reserve) {
            close(server->listener.reserve);
            server->listener.reserve = -1;
        }
        int fd = knock(&server->address);
        NEED(leave_descriptors(0));
        CHECK_EQ(ed_loop_run(&loop), 0);
        allow_descriptors();
        CHECK_EQ(accepted, -1);
        close(fd);
        end();
    }
}

static void nobody_need_be_told_of_an_overload(void)
{
    if (is_in_valgrind())
        SKIP(valgrind_cannot);
    struct server server = {0};
    begin();
    NEED(start(&server, TCP_IPV4) == 0);
    server.listener.on_overload = NULL;
    int fd = knock(&server.address);
    NEED(leave_descriptors(0));
    WAIT_FOR(server.listener.shed == 1);
    check_quiet();
    allow_descriptors();
    close(fd);
    stop(&server);
    end();
}

/* Some systems look for a descriptor before they look for a connection. */
static void the_last_descriptor_is_no_overload(void)
{
    struct server server = {0};
    int clients[4];
    begin();
    NEED(start(&server, TCP_IPV4) == 0);
    for (int i = 0; i < 3; i++)
        clients[i] = knock(&server.address);
    WAIT_FOR(server.count == 3); // now it would take more than one
    CHECK(server.listener.batch > 1);
    clients[3] = knock(&server.address);
    NEED(leave_descriptors(1));
    WAIT_FOR(server.count == 4);
    check_quiet();
    CHECK_EQ(server.overloads, 0);
    CHECK_EQ(server.listener.shed, 0);
    CHECK_EQ(knock(&server.address), -EMFILE); // there is really none left
    allow_descriptors();
    for (int i = 0; i < 4; i++)
        close(clients[i]);
    stop(&server);
    end();
}

static void out_of_descriptors_none_is_started(void)
{
    struct ed_address address;
    begin();
    NEED(ed_address_parse(&address, "127.0.0.1:0") == 0);
    for (int count = 0; count < 2; count++) {
        struct server server = {0};
        NEED(leave_descriptors(count));
        CHECK_EQ(start_at(&server, &address), -EMFILE);
        allow_descriptors();
        CHECK(!ed_listener_is_active(&server.listener));
    }
    end();
}

TESTS(TEST(connections_are_accepted_on_every_kind_of_address),
      TEST(the_more_wait_the_more_are_accepted_in_a_turn),
      TEST(who_is_gone_before_being_accepted_does_no_harm),
      TEST(a_paused_listener_leaves_connections_waiting),
      TEST(a_listener_may_pause_in_the_midst_of_a_batch),
      TEST(a_listener_may_be_freed_in_the_midst_of_a_batch),
      TEST(a_listener_may_be_started_anew_in_its_callback),
      TEST(only_a_listener_with_a_ref_keeps_the_loop_alive),
      TEST(an_address_in_use_is_refused),
      TEST(an_address_with_old_connections_can_be_listened_at),
      TEST(an_address_of_somebody_else_is_refused),
      TEST(any_address_is_reached_by_ipv4_and_ipv6),
      TEST(with_ipv6_only_ipv4_is_somebody_elses),
      TEST(two_listeners_can_share_an_address),
      TEST(its_file_comes_and_goes_with_the_listener),
      TEST(the_file_of_another_server_is_left_where_it_is),
      TEST(its_file_has_the_mode_asked_for_or_that_of_the_umask),
      TEST(a_dead_socket_is_replaced_if_asked_for),
      TEST(a_living_socket_is_not_replaced),
      TEST(what_is_no_socket_is_not_replaced),
      TEST(a_socket_that_listens_already_is_taken_over),
      TEST(what_does_not_listen_is_refused_and_left_alone),
      TEST(out_of_descriptors_connections_are_closed_not_left_hanging),
      TEST(without_a_reserve_it_pauses_and_serves_again),
      TEST(a_pause_of_the_program_outlasts_that_for_want_of_descriptors),
      TEST(a_listener_may_be_freed_when_it_is_overloaded),
      TEST(nobody_need_be_told_of_an_overload),
      TEST(the_last_descriptor_is_no_overload),
      TEST(out_of_descriptors_none_is_started))
