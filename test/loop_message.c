#include "loop/loop.h"

#include <pthread.h>
#include <sched.h>

#include "test/tap.h"

/* A message that knows its place. */
struct numbered {
    struct ed_msg msg;
    int number;
};

static struct ed_loop loop;
static struct ed_hook turn_hook;
static int turns; // waits that the loop has come to
static int calls;

static void count_turn(struct ed_hook *hook)
{
    (void)hook;
    turns++;
}

static void begin(void)
{
    turns = 0;
    calls = 0;
    CHECK_EQ(ed_loop_init(&loop), 0);
    turn_hook = (struct ed_hook){0};
    ed_hook_prepare(&loop, &turn_hook, count_turn);
}

static struct numbered *numbered_of(struct ed_msg *msg)
{
    return ED_CONTAINER_OF(msg, struct numbered, msg);
}

static void count(struct ed_msg *msg)
{
    (void)msg;
    calls++;
}

static void check_number(struct ed_msg *msg)
{
    CHECK_EQ(numbered_of(msg)->number, calls);
    calls++;
}

/* ---- from the loop's own thread ------------------------------------------ */

static void messages_run_in_the_order_posted(void)
{
    struct numbered messages[100];
    begin();
    for (int i = 0; i < 100; i++) {
        messages[i].number = i;
        ed_loop_post(&loop, &messages[i].msg, check_number);
    }
    CHECK_EQ(calls, 0); // not by the call itself
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 100);
    CHECK_EQ(turns, 1);
    ed_loop_destroy(&loop);
}

static void a_list_is_posted_at_once_and_in_order(void)
{
    struct numbered messages[12];
    begin();
    for (int i = 0; i < 12; i++) {
        messages[i].number = i;
        messages[i].msg.fn = check_number;
        messages[i].msg.next = i < 11 ? &messages[i + 1].msg : NULL;
    }
    // A list may be a part of a longer one.
    ed_loop_post_list(&loop, &messages[0].msg, &messages[4].msg);
    ed_loop_post_list(&loop, &messages[5].msg, &messages[5].msg);
    ed_loop_post_list(&loop, &messages[6].msg, &messages[11].msg);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 12);
    ed_loop_destroy(&loop);
}

static void a_message_waits_until_the_loop_runs(void)
{
    struct ed_msg first, second;
    begin();
    ed_loop_post(&loop, &first, count);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    CHECK_EQ(calls, 1);
    ed_loop_post(&loop, &second, count);
    CHECK_EQ(ed_loop_run_once(&loop, -1), 0); // and ends no wait, for there is
    CHECK_EQ(calls, 2);                       // none
    ed_loop_destroy(&loop);
}

static void free_self(struct ed_msg *msg)
{
    calls++;
    free(numbered_of(msg));
}

static void a_message_may_be_freed_in_its_function(void)
{
    begin();
    for (int i = 0; i < 10; i++) {
        struct numbered *message = malloc(sizeof *message);
        NEED(message);
        ed_loop_post(&loop, &message->msg, free_self);
    }
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 10);
    ed_loop_destroy(&loop);
}

static int last_turn;

static void post_until_5(struct ed_msg *msg)
{
    CHECK(calls == 0 || turns == last_turn + 1);
    last_turn = turns;
    if (++calls < 5)
        ed_loop_post(&loop, msg, post_until_5);
}

static void a_message_posted_again_by_itself_runs_in_the_next_turn(void)
{
    struct ed_msg msg;
    begin();
    ed_loop_post(&loop, &msg, post_until_5);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 5);
    CHECK_EQ(turns, 5);
    ed_loop_destroy(&loop);
}

static struct numbered answer;

static void note_turn(struct ed_msg *msg)
{
    calls++;
    numbered_of(msg)->number = turns;
}

static void post_answer(struct ed_msg *msg)
{
    note_turn(msg);
    ed_loop_post(&loop, &answer.msg, note_turn);
}

static void a_message_posted_by_a_message_runs_in_the_next_turn(void)
{
    struct numbered first, last;
    begin();
    ed_loop_post(&loop, &first.msg, post_answer);
    ed_loop_post(&loop, &last.msg, note_turn);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(calls, 3);
    CHECK_EQ(last.number, first.number);
    CHECK_EQ(answer.number, first.number + 1);
    ed_loop_destroy(&loop);
}

static void post_answer_of_hook(struct ed_hook *hook)
{
    ed_hook_stop(hook);
    ed_loop_post(&loop, &answer.msg, note_turn);
}

static void a_message_posted_before_the_wait_keeps_the_loop_from_sleeping(void)
{
    struct ed_hook prepare = {0}, idle = {0}, immediate = {0};
    begin();
    ed_loop_ref(&loop); // else it would not sleep anyway
    ed_hook_prepare(&loop, &prepare, post_answer_of_hook);
    CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    CHECK_EQ(calls, 1);
    ed_hook_idle(&loop, &idle, post_answer_of_hook);
    CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    CHECK_EQ(calls, 2);
    ed_hook_immediate(&loop, &immediate, post_answer_of_hook);
    CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    CHECK_EQ(calls, 3);
    ed_loop_unref(&loop);
    ed_loop_destroy(&loop);
}

static void stop_the_loop(struct ed_msg *msg)
{
    count(msg);
    ed_loop_stop(&loop);
}

static void a_stop_does_not_lose_the_messages_behind_it(void)
{
    struct ed_msg first, second, third;
    begin();
    ed_loop_post(&loop, &first, stop_the_loop);
    ed_loop_post(&loop, &second, stop_the_loop);
    ed_loop_post(&loop, &third, count);
    CHECK_EQ(ed_loop_run(&loop), 1);
    CHECK_EQ(calls, 3);
    CHECK_EQ(ed_loop_run(&loop), 0);
    ed_loop_destroy(&loop);
}

/* ---- from other threads -------------------------------------------------- */

enum { SENDERS = 4, LETTERS = 5000 };

static struct sender {
    pthread_t thread;
    int received;
    struct letter {
        struct ed_msg msg;
        struct sender *sender;
        int number;
    } letters[LETTERS];
} senders[SENDERS];

static void receive(struct ed_msg *msg)
{
    struct letter *letter = ED_CONTAINER_OF(msg, struct letter, msg);
    CHECK_EQ(letter->number, letter->sender->received);
    letter->sender->received++;
    if (++calls == SENDERS * LETTERS)
        ed_loop_unref(&loop);
}

static void *send_letters(void *arg)
{
    struct sender *sender = arg;
    for (int i = 0; i < LETTERS; i++)
        ed_loop_post(&loop, &sender->letters[i].msg, receive);
    return NULL;
}

static void messages_of_each_thread_arrive_in_its_order(void)
{
    begin();
    ed_loop_ref(&loop);
    for (int i = 0; i < SENDERS; i++) {
        senders[i].received = 0;
        for (int n = 0; n < LETTERS; n++)
            senders[i].letters[n] =
                (struct letter){.sender = &senders[i], .number = n};
        NEED(pthread_create(&senders[i].thread, NULL, send_letters,
                            &senders[i]) == 0);
    }
    CHECK_EQ(ed_loop_run(&loop), 0);
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        CHECK_EQ(senders[i].received, LETTERS);
    }
    ed_loop_destroy(&loop);
}

/* ---- sleeping and waking ------------------------------------------------- */

/* A thread that posts the next message when the one before has arrived. */
struct talker {
    struct ed_msg msg;
    int arrived; // read and written by both threads
};

enum { TALKS = 10000 };

static void set_arrived(struct ed_msg *msg)
{
    struct talker *talker = ED_CONTAINER_OF(msg, struct talker, msg);
    int arrived = talker->arrived + 1;
    if (arrived == TALKS)
        ed_loop_unref(&loop);
    __atomic_store_n(&talker->arrived, arrived, __ATOMIC_RELEASE);
}

static void *talk(void *arg)
{
    struct talker *talker = arg;
    for (int i = 0; i < TALKS; i++) {
        ed_loop_post(&loop, &talker->msg, set_arrived);
        while (__atomic_load_n(&talker->arrived, __ATOMIC_ACQUIRE) <= i)
            sched_yield();
        // Now a bit earlier, now a bit later than the loop falls asleep.
        for (volatile int pause = 0; pause < i % 100 * 20; pause++)
            ;
    }
    return NULL;
}

static void no_wake_up_is_lost(void)
{
    struct talker talker = {0};
    pthread_t thread;
    begin();
    ed_loop_ref(&loop);
    NEED(pthread_create(&thread, NULL, talk, &talker) == 0);
    CHECK_EQ(ed_loop_run(&loop), 0); // or never
    pthread_join(thread, NULL);
    CHECK_EQ(talker.arrived, TALKS);
    ed_loop_destroy(&loop);
}

/* A message that goes to and fro between the loops of two threads. */
struct traveller {
    struct ed_msg msg;
    struct ed_loop loops[2];
    int trips;
};

static void travel_on(struct ed_msg *msg)
{
    struct traveller *traveller = ED_CONTAINER_OF(msg, struct traveller, msg);
    int trip = ++traveller->trips;
    if (trip < TALKS)
        ed_loop_post(&traveller->loops[trip % 2], msg, travel_on);
    if (trip >= TALKS - 1)
        ed_loop_unref(&traveller->loops[(trip - 1) % 2]);
}

static void *run_second_loop(void *arg)
{
    struct traveller *traveller = arg;
    ed_loop_run(&traveller->loops[1]);
    return NULL;
}

static void a_message_may_travel_between_the_loops_of_two_threads(void)
{
    static struct traveller traveller;
    pthread_t thread;
    traveller = (struct traveller){0};
    for (int i = 0; i < 2; i++) {
        NEED(ed_loop_init(&traveller.loops[i]) == 0);
        ed_loop_ref(&traveller.loops[i]);
    }
    NEED(pthread_create(&thread, NULL, run_second_loop, &traveller) == 0);
    ed_loop_post(&traveller.loops[0], &traveller.msg, travel_on);
    CHECK_EQ(ed_loop_run(&traveller.loops[0]), 0);
    pthread_join(thread, NULL);
    CHECK_EQ(traveller.trips, TALKS);
    ed_loop_destroy(&traveller.loops[0]);
    ed_loop_destroy(&traveller.loops[1]);
}

/*
 * Two loops, each of which posts to the other all that it has. Where the last
 * of all arrives, both are stopped.
 */
struct peer {
    pthread_t thread;
    struct ed_loop loop;
    struct ed_hook prepare;
    struct peer *other;
    struct parcel {
        struct ed_msg msg;
        struct peer *receiver;
        int number;
    } parcels[LETTERS];
    int sent;
    int received;
    int result;
};

static int peers_done;

static void unpack(struct ed_msg *msg)
{
    struct parcel *parcel = ED_CONTAINER_OF(msg, struct parcel, msg);
    struct peer *peer = parcel->receiver;
    CHECK_EQ(parcel->number, peer->received);
    if (++peer->received == LETTERS &&
        __atomic_add_fetch(&peers_done, 1, __ATOMIC_RELAXED) == 2) {
        ed_loop_stop(&peer->other->loop);
        ed_loop_stop(&peer->loop);
    }
}

static void send_some(struct ed_hook *hook)
{
    struct peer *peer = ED_CONTAINER_OF(hook, struct peer, prepare);
    for (int i = 0; i < 7 && peer->sent < LETTERS; i++) {
        struct parcel *parcel = &peer->parcels[peer->sent];
        *parcel =
            (struct parcel){.receiver = peer->other, .number = peer->sent++};
        ed_loop_post(&peer->other->loop, &parcel->msg, unpack);
    }
    if (peer->sent < LETTERS)
        ed_loop_wake(&peer->loop); // for the next turn
}

static void *run_peer(void *arg)
{
    struct peer *peer = arg;
    ed_hook_prepare(&peer->loop, &peer->prepare, send_some);
    peer->result = ed_loop_run(&peer->loop);
    return NULL;
}

static void two_loops_post_to_each_other_until_one_stops_both(void)
{
    static struct peer peers[2];
    memset(peers, 0, sizeof peers);
    peers_done = 0;
    for (int i = 0; i < 2; i++) {
        NEED(ed_loop_init(&peers[i].loop) == 0);
        ed_loop_ref(&peers[i].loop);
        peers[i].other = &peers[!i];
    }
    for (int i = 0; i < 2; i++)
        NEED(pthread_create(&peers[i].thread, NULL, run_peer, &peers[i]) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(peers[i].thread, NULL);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(peers[i].result, 1);
        CHECK_EQ(peers[i].received, LETTERS);
        ed_loop_destroy(&peers[i].loop);
    }
}

TESTS(TEST(messages_run_in_the_order_posted),
      TEST(a_list_is_posted_at_once_and_in_order),
      TEST(a_message_waits_until_the_loop_runs),
      TEST(a_message_may_be_freed_in_its_function),
      TEST(a_message_posted_again_by_itself_runs_in_the_next_turn),
      TEST(a_message_posted_by_a_message_runs_in_the_next_turn),
      TEST(a_message_posted_before_the_wait_keeps_the_loop_from_sleeping),
      TEST(a_stop_does_not_lose_the_messages_behind_it),
      TEST(messages_of_each_thread_arrive_in_its_order),
      TEST(no_wake_up_is_lost),
      TEST(a_message_may_travel_between_the_loops_of_two_threads),
      TEST(two_loops_post_to_each_other_until_one_stops_both))
