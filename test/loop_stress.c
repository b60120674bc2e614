/*
 * Everything at once, for the thread sanitizer above all: threads that post,
 * wake and stop at random while the loop has timers, hooks and descriptors of
 * its own. Each message arrives exactly once and in its thread's order.
 */
#include "loop/loop.h"

#include <pthread.h>
#include <sched.h>

#include "test/tap.h"

enum { SENDERS = 4, LETTERS = 15000, BYTES = 1000, BURST = 8, TIMERS = 16 };

static struct ed_loop loop;
static int received; // of all senders

static struct sender {
    pthread_t thread;
    uint64_t random;
    int received;
    struct letter {
        struct ed_msg msg;
        struct sender *sender;
        int number;
    } letters[LETTERS];
} senders[SENDERS];

/* A small generator of our own: the same numbers everywhere. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- what other threads do ----------------------------------------------- */

static void receive(struct ed_msg *msg)
{
    struct letter *letter = ED_CONTAINER_OF(msg, struct letter, msg);
    CHECK_EQ(letter->number, letter->sender->received);
    letter->sender->received++;
    if (++received == SENDERS * LETTERS)
        ed_loop_unref(&loop);
}

static void *send_letters(void *arg)
{
    struct sender *sender = arg;
    int sent = 0;
    while (sent < LETTERS) {
        uint64_t r = next_random(&sender->random);
        int end = sent + 1 + (int)(r % BURST);
        for (; sent < end && sent < LETTERS; sent++)
            ed_loop_post(&loop, &sender->letters[sent].msg, receive);
        if (r >> 8 & 1)
            sched_yield();
        if ((r >> 9 & 15) == 0)
            ed_loop_wake(&loop);
        if ((r >> 13 & 63) == 0)
            ed_loop_stop(&loop);
        // Now and then long enough for the loop to fall asleep.
        if ((r >> 19 & 63) == 0)
            usleep((useconds_t)(r >> 25 & 127));
    }
    return NULL;
}

static void *write_bytes(void *arg)
{
    const int *fd = arg;
    for (int i = 0; i < BYTES; i++) {
        CHECK(write(*fd, "x", 1) == 1);
        if (i % 16 == 0)
            usleep(50);
    }
    close(*fd);
    return NULL;
}

/* ---- what the loop does meanwhile ---------------------------------------- */

static uint64_t loop_random;
static struct ed_timer timers[TIMERS];
static struct ed_hook immediate, tick, idle;
static int bytes_read;
static int slices;

static void count_slice(struct ed_hook *hook)
{
    if (++slices % 4 == 0)
        ed_hook_stop(hook);
}

static void start_idle(struct ed_hook *hook)
{
    (void)hook;
    ed_hook_idle(&loop, &idle, count_slice);
}

static void start_tick(struct ed_hook *hook)
{
    (void)hook;
    ed_hook_tick(&loop, &tick, start_idle);
}

static void stop_and_start_timers(struct ed_timer *timer)
{
    uint64_t r = next_random(&loop_random);
    struct ed_timer *other = &timers[r % TIMERS];
    ed_timer_stop(other);
    ed_timer_start(&loop, other, r >> 20 & 0xfffff, stop_and_start_timers);
    ed_timer_unref(other);
    ed_timer_again(timer);
    if (r >> 60 == 0)
        ed_hook_immediate(&loop, &immediate, start_tick);
}

static void read_bytes(struct ed_watch *watch)
{
    char bytes[7];
    ssize_t n = read(watch->fd, bytes, sizeof bytes);
    CHECK(n >= 0);
    if (n > 0)
        bytes_read += (int)n;
    else
        ed_watch_stop(watch);
}

static void all_messages_arrive_once_and_in_order_whatever_else_goes_on(void)
{
    struct ed_watch watch = {0};
    pthread_t writer;
    int fds[2];
    loop_random = 0x9E3779B97F4A7C15u;
    received = 0;
    bytes_read = 0;
    slices = 0;
    memset(timers, 0, sizeof timers);
    immediate = tick = idle = (struct ed_hook){0};
    NEED(ed_loop_init(&loop) == 0);
    NEED(pipe(fds) == 0);
    NEED(ed_watch_start(&loop, &watch, fds[0], ED_READABLE, read_bytes) == 0);
    ed_loop_ref(&loop);
    for (int i = 0; i < TIMERS; i++) {
        ed_timer_unref(&timers[i]);
        ed_timer_repeat(&loop, &timers[i], (uint64_t)(i + 1) * 20 * ED_US,
                        stop_and_start_timers);
    }

    NEED(pthread_create(&writer, NULL, write_bytes, &fds[1]) == 0);
    for (int i = 0; i < SENDERS; i++) {
        senders[i].received = 0;
        senders[i].random = (uint64_t)(i + 1) * 0x2545F4914F6CDD1Du;
        for (int n = 0; n < LETTERS; n++)
            senders[i].letters[n] =
                (struct letter){.sender = &senders[i], .number = n};
        NEED(pthread_create(&senders[i].thread, NULL, send_letters,
                            &senders[i]) == 0);
    }
    // Each stop makes it return, and on it goes.
    while (ed_loop_run(&loop) == 1)
        ;
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        CHECK_EQ(senders[i].received, LETTERS);
    }
    pthread_join(writer, NULL);
    CHECK_EQ(bytes_read, BYTES);
    CHECK(!ed_loop_is_alive(&loop));
    ed_loop_destroy(&loop);
    close(fds[0]);
}

/* ---- loops that come and go ---------------------------------------------- */

struct caller {
    struct ed_msg msgs[10];
    pthread_t thread;
};

static void count_received(struct ed_msg *msg)
{
    (void)msg;
    received++;
}

static void *call(void *arg)
{
    struct caller *caller = arg;
    for (int i = 0; i < 10; i++)
        ed_loop_post(&loop, &caller->msgs[i], count_received);
    ed_loop_stop(&loop);
    return NULL;
}

static void a_loop_may_be_destroyed_as_soon_as_its_callers_are_joined(void)
{
    for (int round = 0; round < 200; round++) {
        struct caller callers[2];
        received = 0;
        NEED(ed_loop_init(&loop) == 0);
        ed_loop_ref(&loop);
        for (int i = 0; i < 2; i++)
            NEED(pthread_create(&callers[i].thread, NULL, call, &callers[i]) ==
                 0);
        CHECK_EQ(ed_loop_run(&loop), 1);
        for (int i = 0; i < 2; i++)
            pthread_join(callers[i].thread, NULL);
        CHECK(received <= 20);
        ed_loop_unref(&loop);
        // What has been posted is still there, if it is wanted.
        while (ed_loop_run(&loop) == 1)
            ;
        CHECK_EQ(received, 20);
        ed_loop_destroy(&loop);
    }
}

TESTS(TEST(all_messages_arrive_once_and_in_order_whatever_else_goes_on),
      TEST(a_loop_may_be_destroyed_as_soon_as_its_callers_are_joined))
