/*
 * test/example/chat.c - what one says, all others hear
 *
 *     chat [-q queue-kib] ADDRESS
 *
 *     chat 127.0.0.1:7001
 *     nc 127.0.0.1 7001           a member; "/name ann" gives it a name
 *
 * A line is kept once, however many are to get it. Each member that the system
 * cannot give it to right away has a delivery, which refers to it; the line is
 * freed with its last delivery:
 *
 *     line <-- delivery, of ann's stream
 *          <-- delivery, of bob's stream
 *
 * Whoever does not read must cost neither the others time nor the server
 * memory. So what waits for a member, lines and deliveries, is limited (-q, 64
 * KiB if not said). What comes beyond is not for this member: it is counted,
 * and when the member has read most of what waits, it is told how many lines it
 * missed, and hears again what is said from then on. Nobody is sent away for
 * reading slowly. (High and low water of streams do the same for bytes; here
 * short lines cost more than their bytes, so the program counts itself.)
 *
 * A line is at most 1000 bytes, what is longer is cut off. Control characters,
 * which could do things to the terminals of others, become '?'.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <eddy.h>

enum { LINE_SIZE = 1000, NAME_SIZE = 24 };

static const uint64_t finish_ns = 2 * ED_S;

struct line {
    size_t references;
    size_t size;
    char text[];
};

struct delivery {
    struct ed_write write;
    struct line *line;
    struct member *member;
};

struct member {
    struct ed_stream stream;
    struct ed_list link; // of all who are here
    char name[NAME_SIZE];
    size_t waiting; // bytes of memory that its deliveries and their lines take
    uint64_t missed;
    size_t said_size; // of a line that is not complete yet
    char said[LINE_SIZE];
};

static struct ed_loop loop;
static struct ed_listener listener;
static struct ed_signal interrupt, terminate;
static struct ed_list members;
static size_t queue_size = 64 * 1024;
static uint64_t members_ever, lines_ever, missed_ever;

/* ---- lines ----------------------------------------------------------- */

/* As printf(), one reference; NULL: out of memory. */
static struct line *create_line(const char *format, ...)
{
    char text[NAME_SIZE + LINE_SIZE + 64];
    va_list arguments;
    va_start(arguments, format);
    size_t size = (size_t)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct line *line = malloc(sizeof *line + size);
    if (!line)
        return NULL;
    line->references = 1;
    line->size = size;
    memcpy(line->text, text, size);
    return line;
}

static void drop_line(struct line *line)
{
    if (--line->references == 0)
        free(line);
}

/* ---- deliveries ------------------------------------------------------ */

static void tell_what_was_missed(struct member *member);

static size_t cost_of(const struct delivery *delivery)
{
    return sizeof *delivery + sizeof *delivery->line + delivery->line->size;
}

static void free_delivery(struct delivery *delivery)
{
    delivery->member->waiting -= cost_of(delivery);
    drop_line(delivery->line);
    free(delivery);
}

static void on_delivered(struct ed_write *write)
{
    struct delivery *delivery = ED_CONTAINER_OF(write, struct delivery, write);
    struct member *member = delivery->member;
    free_delivery(delivery);
    tell_what_was_missed(member);
}

/* Returns whether the member will get it. */
static bool deliver(struct member *member, struct line *line)
{
    struct delivery *delivery = calloc(1, sizeof *delivery);
    if (!delivery)
        return false;
    delivery->member = member;
    delivery->line = line;
    delivery->write.part = (struct iovec){line->text, line->size};
    line->references++;
    member->waiting += cost_of(delivery);
    if (ed_stream_send(&member->stream, &delivery->write, &delivery->write.part,
                       1, on_delivered)) {
        // The connection is broken, or being finished.
        free_delivery(delivery);
        return false;
    }
    return true;
}

/* Whoever has missed lines gets none until told so. */
static void say_to(struct member *member, struct line *line)
{
    tell_what_was_missed(member);
    if (!member->missed && member->waiting < queue_size &&
        deliver(member, line))
        return;
    member->missed++;
    missed_ever++;
}

/* If it is time to. */
static void tell_what_was_missed(struct member *member)
{
    if (!member->missed || member->waiting > queue_size / 4)
        return;
    struct line *line =
        create_line("* you missed %" PRIu64 " lines\n", member->missed);
    if (!line)
        return; // another time
    if (deliver(member, line))
        member->missed = 0;
    drop_line(line);
}

static void say_to_others(const struct member *speaker, struct line *line)
{
    if (!line)
        return;
    for (struct ed_list *link = members.next; link != &members;
         link = link->next) {
        struct member *member = ED_CONTAINER_OF(link, struct member, link);
        if (member != speaker)
            say_to(member, line);
    }
    drop_line(line);
}

/* ---- members --------------------------------------------------------- */

/* By now all its deliveries have been called back. */
static void on_finish(struct ed_stream *stream)
{
    free(ED_CONTAINER_OF(stream, struct member, stream));
}

/* Gets what it is still to get, if the connection is good for that. */
static void finish_member(struct member *member)
{
    ed_list_remove(&member->link);
    ed_stream_finish(&member->stream, finish_ns, on_finish);
}

static bool is_name(const char *name, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (name[i] == ' ' || name[i] == '?')
            return false;
    return size > 0 && size < NAME_SIZE;
}

static void rename_member(struct member *member, const char *name, size_t size)
{
    if (!is_name(name, size)) {
        struct line *line = create_line("* names have no blanks, no '?', and "
                                        "at most %d bytes\n",
                                        NAME_SIZE - 1);
        if (!line)
            return;
        say_to(member, line);
        drop_line(line);
        return;
    }
    say_to_others(
        NULL, create_line("* %s is now %.*s\n", member->name, (int)size, name));
    memcpy(member->name, name, size);
    member->name[size] = '\0';
}

static void end_line(struct member *member)
{
    static const char command[] = "/name ";
    size_t prefix = sizeof command - 1, size = member->said_size;
    member->said_size = 0;
    if (size >= prefix && memcmp(member->said, command, prefix) == 0) {
        rename_member(member, member->said + prefix, size - prefix);
        return;
    }
    lines_ever++;
    say_to_others(member, create_line("%s: %.*s\n", member->name, (int)size,
                                      member->said));
}

static void take_byte(struct member *member, unsigned char byte)
{
    if (byte == '\n') {
        end_line(member);
        return;
    }
    if (byte == '\r' || member->said_size == LINE_SIZE)
        return;
    bool is_control = (byte < ' ' && byte != '\t') || byte == 0x7f;
    member->said[member->said_size++] = is_control ? '?' : (char)byte;
}

static void on_read(struct ed_stream *stream, char *data, int64_t size)
{
    struct member *member = ED_CONTAINER_OF(stream, struct member, stream);
    for (int64_t i = 0; i < size; i++)
        take_byte(member, (unsigned char)data[i]);
    if (size > 0)
        return;
    say_to_others(member, create_line("* %s left\n", member->name));
    finish_member(member);
}

static void on_accept(struct ed_listener *at, int fd)
{
    (void)at;
    struct member *member = calloc(1, sizeof *member);
    if (!member) {
        close(fd);
        return;
    }
    ed_stream_open_socket(&loop, &member->stream, fd);
    if (ed_stream_read_start(&member->stream, on_read)) {
        ed_stream_close(&member->stream);
        free(member);
        return;
    }
    // Members may say nothing for days. Whether one is still there the system
    // has to find out; a Unix domain socket always knows.
    (void)ed_stream_keep_alive(&member->stream, 60, 10, 6);
    (void)ed_stream_no_delay(&member->stream, true);
    snprintf(member->name, sizeof member->name, "guest%" PRIu64,
             ++members_ever);
    ed_list_append(&members, &member->link);
    say_to_others(NULL, create_line("* %s came\n", member->name));
}

/* ---- the program ----------------------------------------------------- */

/* When the last member has gone, nothing keeps the loop alive. */
static void on_end(struct ed_signal *signal)
{
    (void)signal;
    // From now on a signal does what it does to any program.
    ed_signal_stop(&interrupt);
    ed_signal_stop(&terminate);
    ed_listener_stop(&listener);
    say_to_others(NULL, create_line("* the server ends\n"));
    while (!ed_list_is_empty(&members))
        finish_member(ED_CONTAINER_OF(members.next, struct member, link));
}

static const char usage[] =
    "usage: chat [-q queue-kib] ADDRESS\n"
    "\n"
    "  ADDRESS   127.0.0.1:7001, [::1]:7001, *:7001 or unix:/path;\n"
    "            port 0 is any that is free\n"
    "  -q        KiB of lines that may wait for a member (default: 64)\n";

static _Noreturn void refuse(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "chat: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n%s", usage);
    va_end(arguments);
    exit(2);
}

static void parse_options(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "q:")) != -1) {
        if (option != 'q') {
            fputs(usage, stderr);
            exit(2);
        }
        char *end;
        long kib = strtol(optarg, &end, 10);
        if (end == optarg || *end || kib < 1 || kib > 1024 * 1024)
            refuse("-q takes a number from 1 to 1048576, not '%s'", optarg);
        queue_size = (size_t)kib * 1024;
    }
    if (optind != argc - 1)
        refuse("exactly one ADDRESS is needed");
}

static bool complain(const char *what, int err)
{
    fprintf(stderr, "chat: %s: %s\n", what, strerror(-err));
    return false;
}

static bool start(struct ed_address *address)
{
    char text[ED_ADDRESS_TEXT];
    ed_address_format(address, text, sizeof text);
    ed_list_init(&members);
    listener.replace = true;
    int err = ed_listener_start(&loop, &listener, address, on_accept);
    if (err)
        return complain(text, err);
    // The loop is there for the listener and the members.
    ed_signal_unref(&interrupt);
    ed_signal_unref(&terminate);
    err = ed_signal_start(&loop, &interrupt, SIGINT, on_end);
    if (!err)
        err = ed_signal_start(&loop, &terminate, SIGTERM, on_end);
    if (!err)
        err = ed_listener_local(&listener, address);
    if (err)
        return complain("signals", err);
    ed_address_format(address, text, sizeof text);
    printf("listening at %s\n", text);
    fflush(stdout);
    return true;
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    struct ed_address address;
    int err = ed_address_parse(&address, argv[optind]);
    if (err)
        refuse("'%s' is no address: %s", argv[optind], strerror(-err));
    err = ed_loop_init(&loop);
    if (err) {
        complain("the loop", err);
        return 1;
    }

    bool is_good = start(&address);
    if (is_good && (err = ed_loop_run(&loop)) < 0)
        is_good = complain("the loop", err);
    if (is_good)
        printf("%" PRIu64 " members, %" PRIu64 " lines, %" PRIu64 " missed\n",
               members_ever, lines_ever, missed_ever);
    ed_signal_stop(&interrupt);
    ed_signal_stop(&terminate);
    ed_listener_stop(&listener);
    ed_loop_destroy(&loop);
    return is_good ? 0 : 1;
}
