#include "loop/loop.h"

#include <pthread.h>
#include <unistd.h>

#include "pool/pool.h"
#include "test/gate.h"
#include "test/tap.h"

static struct ed_loop loop;

static void begin(void)
{
    CHECK_EQ(ed_loop_init(&loop), 0);
}

static struct ed_loop_metrics metrics(void)
{
    struct ed_loop_metrics read;
    ed_loop_metrics(&loop, &read);
    return read;
}

static void nothing(struct ed_timer *timer)
{
    (void)timer;
}

static void nothing_of_hook(struct ed_hook *hook)
{
    (void)hook;
}

static void nothing_of_message(struct ed_msg *msg)
{
    (void)msg;
}

static void nothing_of_watch(struct ed_watch *watch)
{
    (void)watch;
}

/* ---- counts -------------------------------------------------------------- */

static void a_new_loop_has_counted_nothing(void)
{
    uint64_t before_ns = ed_clock_ns();
    begin();
    struct ed_loop_metrics read = metrics();
    CHECK(read.at_ns >= before_ns && read.at_ns <= ed_clock_ns());
    read.at_ns = 0;
    static const struct ed_loop_metrics none;
    CHECK(memcmp(&read, &none, sizeof none) == 0);
    ed_loop_destroy(&loop);
}

static void turns_are_counted(void)
{
    begin();
    for (uint64_t i = 1; i <= 3; i++) {
        ed_loop_run_once(&loop, 0);
        CHECK_EQ(metrics().turns, i);
    }
    CHECK_EQ(ed_loop_run(&loop), 0); // takes none
    CHECK_EQ(metrics().turns, 3);
    ed_loop_destroy(&loop);
}

static uint64_t seen; // of a number, by a callback

static void see_callbacks(struct ed_hook *hook)
{
    (void)hook;
    seen = metrics().callbacks;
}

static void each_callback_counts_one_from_its_beginning_on(void)
{
    struct ed_timer timer = {0};
    struct ed_hook prepare = {0}, immediate = {0}, tick = {0};
    struct ed_watch watch = {0};
    struct ed_msg msg;
    int fds[2];
    begin();
    NEED(pipe(fds) == 0);
    ed_timer_start(&loop, &timer, 0, nothing);
    ed_loop_post(&loop, &msg, nothing_of_message);
    ed_hook_prepare(&loop, &prepare, nothing_of_hook);
    NEED(ed_watch_start(&loop, &watch, fds[1], ED_WRITABLE, nothing_of_watch) ==
         0);
    ed_hook_tick(&loop, &tick, nothing_of_hook);
    ed_hook_immediate(&loop, &immediate, see_callbacks);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    CHECK_EQ(seen, 6);
    CHECK_EQ(metrics().callbacks, 6);
    ed_watch_stop(&watch);
    close(fds[0]);
    close(fds[1]);
    ed_loop_destroy(&loop);
}

static void see_waiting(struct ed_msg *msg)
{
    (void)msg;
    seen = metrics().messages_waiting;
}

static void messages_are_counted_as_waiting_until_they_begin(void)
{
    struct ed_msg list[4], single, quiet, last;
    begin();
    for (int i = 0; i < 4; i++)
        list[i] =
            (struct ed_msg){i < 3 ? &list[i + 1] : NULL, nothing_of_message};
    ed_loop_post(&loop, &single, see_waiting);
    CHECK_EQ(metrics().messages_waiting, 1);
    ed_loop_post_list(&loop, &list[0], &list[3]);
    CHECK_EQ(metrics().messages_waiting, 5);
    ed_loop_post_quietly(&loop, &quiet, nothing_of_message);
    CHECK_EQ(metrics().messages_waiting, 6);
    CHECK_EQ(metrics().messages, 0);
    ed_loop_run_once(&loop, 0);
    CHECK_EQ(seen, 5); // also while they are taken, but not yet begun
    CHECK_EQ(metrics().messages_waiting, 0);
    CHECK_EQ(metrics().messages, 6);
    ed_loop_post(&loop, &last, see_waiting);
    ed_loop_run_once(&loop, 0);
    CHECK_EQ(seen, 0);
    CHECK_EQ(metrics().messages, 7);
    ed_loop_destroy(&loop);
}

static void timers_are_counted_while_started(void)
{
    struct ed_timer once = {0}, repeating = {0}, unrefd = {0};
    begin();
    ed_timer_start(&loop, &once, 0, nothing);
    ed_timer_start(&loop, &once, 0, nothing); // is counted once
    CHECK_EQ(metrics().timers, 1);
    ed_timer_repeat(&loop, &repeating, 3600 * ED_S, nothing);
    ed_timer_unref(&unrefd);
    ed_timer_start(&loop, &unrefd, 3600 * ED_S, nothing);
    CHECK_EQ(metrics().timers, 3);
    ed_timer_again(&repeating);
    ed_timer_ref(&unrefd);
    CHECK_EQ(metrics().timers, 3);
    ed_loop_run_once(&loop, 0);
    CHECK_EQ(metrics().timers, 2);
    ed_timer_stop(&once);
    ed_timer_stop(&unrefd);
    ed_timer_stop(&repeating);
    CHECK_EQ(metrics().timers, 0);

    ed_timer_repeat(&loop, &repeating, 1, nothing);
    ed_loop_run_once(&loop, 0);
    ed_loop_run_once(&loop, 0);
    CHECK_EQ(metrics().timers, 1);
    ed_timer_stop(&repeating);
    CHECK_EQ(metrics().timers, 0);
    ed_loop_destroy(&loop);
}

static void descriptors_found_ready_are_counted_and_watches_while_started(void)
{
    struct ed_watch watches[2] = {0};
    int fds[2];
    begin();
    NEED(pipe(fds) == 0);
    NEED(ed_watch_start(&loop, &watches[0], fds[0], ED_READABLE,
                        nothing_of_watch) == 0);
    CHECK_EQ(metrics().watches, 1);
    NEED(ed_watch_start(&loop, &watches[1], fds[1], ED_WRITABLE,
                        nothing_of_watch) == 0);
    CHECK_EQ(metrics().watches, 2);
    ed_loop_run_once(&loop, 0);
    CHECK_EQ(metrics().events, 1);
    NEED(write(fds[1], "x", 1) == 1);
    ed_loop_run_once(&loop, 0);
    CHECK_EQ(metrics().events, 3);
    ed_watch_stop(&watches[1]);
    ed_watch_unref(&watches[0]);
    CHECK_EQ(metrics().watches, 1);
    ed_watch_stop(&watches[0]);
    CHECK_EQ(metrics().watches, 0);
    CHECK_EQ(metrics().events, 3);
    close(fds[0]);
    close(fds[1]);
    ed_loop_destroy(&loop);
}

static struct gate held;

static void hold(struct ed_task *task)
{
    (void)task;
    gate_pass(&held);
}

static void see_requests(struct ed_task *task)
{
    (void)task;
    seen = metrics().requests;
}

static void requests_are_counted_while_under_way(void)
{
    struct ed_task tasks[2] = {0};
    struct ed_pool pool;
    begin();
    gate_init(&held);
    NEED(ed_pool_init(&pool, &loop, NULL) == 0);
    CHECK_EQ(ed_task_submit(&pool, &tasks[0], hold, see_requests), 0);
    CHECK_EQ(ed_task_submit(&pool, &tasks[1], hold, see_requests), 0);
    CHECK_EQ(metrics().requests, 2);
    gate_open(&held);
    gate_open(&held);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(seen, 0);
    CHECK_EQ(metrics().requests, 0);
    CHECK_EQ(metrics().messages, 2);
    ed_pool_destroy(&pool);
    gate_destroy(&held);
    ed_loop_destroy(&loop);
}

/* ---- sleep --------------------------------------------------------------- */

static void a_look_without_a_wait_is_no_sleep(void)
{
    struct ed_timer timer = {0};
    begin();
    ed_timer_start(&loop, &timer, 3600 * ED_S, nothing);
    for (int i = 0; i < 10; i++)
        ed_loop_run_once(&loop, 0);
    CHECK_EQ(metrics().sleeps, 0);
    CHECK_EQ(metrics().idle_ns, 0);
    ed_loop_destroy(&loop);
}

static void time_asleep_is_idle(void)
{
    begin();
    uint64_t before_ns = ed_clock_ns(), idle_ns = 0;
    ed_loop_ref(&loop);
    for (uint64_t i = 1; i <= 10; i++) {
        ed_loop_run_once(&loop, (int64_t)ED_US);
        struct ed_loop_metrics read = metrics();
        CHECK_EQ(read.sleeps, i);
        CHECK(read.idle_ns >= idle_ns + ED_US);
        CHECK(read.idle_ns <= read.at_ns - before_ns);
        idle_ns = read.idle_ns;
    }
    ed_loop_unref(&loop);
    ed_loop_destroy(&loop);
}

static struct ed_loop_metrics asleep[2];

/* Reads twice while the loop sleeps, a while apart. */
static void *read_asleep(void *unused)
{
    struct ed_loop_metrics before;
    do
        before = metrics();
    while (before.sleeps == 0 || metrics().idle_ns == before.idle_ns);
    asleep[0] = metrics();
    do
        asleep[1] = metrics();
    while (asleep[1].at_ns < asleep[0].at_ns + ED_MS);
    ed_loop_stop(&loop);
    return unused;
}

static void the_sleep_under_way_is_idle_time_too(void)
{
    pthread_t thread;
    begin();
    ed_loop_ref(&loop);
    NEED(pthread_create(&thread, NULL, read_asleep, NULL) == 0);
    CHECK_EQ(ed_loop_run(&loop), 1);
    pthread_join(thread, NULL);
    CHECK(asleep[1].idle_ns > asleep[0].idle_ns);
    CHECK_EQ(asleep[1].idle_ns - asleep[0].idle_ns,
             asleep[1].at_ns - asleep[0].at_ns);
    CHECK(metrics().idle_ns >= asleep[1].idle_ns);
    CHECK_EQ(metrics().sleeps, 1);
    ed_loop_unref(&loop);
    ed_loop_destroy(&loop);
}

/* ---- from another thread ------------------------------------------------- */

static bool is_over;

static void *read_all_the_time(void *unused)
{
    struct ed_loop_metrics before = metrics();
    while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) {
        struct ed_loop_metrics now = metrics();
        CHECK(now.at_ns >= before.at_ns);
        CHECK(now.turns >= before.turns);
        CHECK(now.callbacks >= before.callbacks);
        CHECK(now.events >= before.events);
        CHECK(now.messages >= before.messages);
        CHECK(now.sleeps >= before.sleeps);
        CHECK(now.timers <= 2 && now.watches <= 1 && now.requests == 0);
        before = now;
    }
    return unused;
}

enum { ROUNDS = 2000 };

struct player {
    struct ed_timer timer;
    struct ed_timer limit;
    struct ed_watch watch;
    struct ed_msg msg;
    bool is_posted;
    int rounds;
};

static void arrive(struct ed_msg *msg)
{
    ED_CONTAINER_OF(msg, struct player, msg)->is_posted = false;
}

static void play(struct ed_timer *timer)
{
    struct player *player = ED_CONTAINER_OF(timer, struct player, timer);
    if (!player->is_posted)
        ed_loop_post(&loop, &player->msg, arrive);
    player->is_posted = true;
    if (++player->rounds < ROUNDS) {
        ed_timer_start(&loop, timer, ED_US * (uint64_t)(player->rounds % 9),
                       play);
        ed_timer_again(&player->limit);
    } else {
        ed_timer_stop(&player->limit);
        ed_watch_stop(&player->watch);
    }
}

static void off_and_on(struct ed_watch *watch)
{
    int fd = watch->fd;
    ed_watch_stop(watch);
    CHECK_EQ(ed_watch_start(&loop, watch, fd, ED_WRITABLE, off_and_on), 0);
}

static void any_thread_may_read_them_while_the_loop_runs(void)
{
    struct player player = {0};
    pthread_t thread;
    int fds[2];
    begin();
    NEED(pipe(fds) == 0);
    __atomic_store_n(&is_over, false, __ATOMIC_RELAXED);
    NEED(pthread_create(&thread, NULL, read_all_the_time, NULL) == 0);
    ed_timer_start(&loop, &player.timer, 0, play);
    ed_timer_start(&loop, &player.limit, 3600 * ED_S, nothing);
    CHECK_EQ(
        ed_watch_start(&loop, &player.watch, fds[1], ED_WRITABLE, off_and_on),
        0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    __atomic_store_n(&is_over, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    CHECK_EQ(player.rounds, ROUNDS);
    close(fds[0]);
    close(fds[1]);
    ed_loop_destroy(&loop);
}

TESTS(TEST(a_new_loop_has_counted_nothing), TEST(turns_are_counted),
      TEST(each_callback_counts_one_from_its_beginning_on),
      TEST(messages_are_counted_as_waiting_until_they_begin),
      TEST(timers_are_counted_while_started),
      TEST(descriptors_found_ready_are_counted_and_watches_while_started),
      TEST(requests_are_counted_while_under_way),
      TEST(a_look_without_a_wait_is_no_sleep), TEST(time_asleep_is_idle),
      TEST(the_sleep_under_way_is_idle_time_too),
      TEST(any_thread_may_read_them_while_the_loop_runs))
