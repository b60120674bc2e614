#include "loop/loop.h"

#include <pthread.h>

#include "test/tap.h"

/* A timer that remembers what happened to it. */
struct probe {
    struct ed_timer timer;
    int calls;
    int turn;            // the turn of its last call
    struct probe *other; // to do something to in the callback
};

static struct ed_loop loop;
static struct ed_hook turn_hook;
static int turns; // waits that the loop has come to
static char told[64];

static void count_turn(struct ed_hook *hook)
{
    (void)hook;
    turns++;
}

static void begin(void)
{
    turns = 0;
    told[0] = '\0';
    CHECK_EQ(ed_loop_init(&loop), 0);
    turn_hook = (struct ed_hook){0};
    ed_hook_prepare(&loop, &turn_hook, count_turn);
}

static struct probe *probe_of(struct ed_timer *timer)
{
    return ED_CONTAINER_OF(timer, struct probe, timer);
}

static void note(struct ed_timer *timer)
{
    struct probe *probe = probe_of(timer);
    probe->calls++;
    probe->turn = turns;
}

static void wait_for_clock(uint64_t until_ns)
{
    while (ed_clock_ns() < until_ns)
        ;
}

/* A small generator of our own: the same numbers everywhere. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- when a timer fires -------------------------------------------------- */

static void note_inactive(struct ed_timer *timer)
{
    note(timer);
    CHECK(!ed_timer_is_active(timer));
    CHECK(!ed_loop_is_alive(timer->loop));
}

static void a_timer_fires_once(void)
{
    struct probe probe = {0};
    begin();
    ed_timer_start(&loop, &probe.timer, ED_US, note_inactive);
    CHECK(ed_timer_is_active(&probe.timer));
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 1);
    CHECK(!ed_timer_is_active(&probe.timer));
    ed_loop_destroy(&loop);
}

static void a_timer_is_not_called_by_its_start(void)
{
    struct probe probe = {0};
    begin();
    ed_timer_start(&loop, &probe.timer, 0, note);
    CHECK_EQ(probe.calls, 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 1);
    ed_loop_destroy(&loop);
}

static void a_stopped_timer_does_not_fire(void)
{
    struct probe probe = {0};
    begin();
    ed_timer_stop(&probe.timer); // never started
    ed_timer_start(&loop, &probe.timer, 0, note);
    ed_timer_stop(&probe.timer);
    ed_timer_stop(&probe.timer);
    CHECK(!ed_timer_is_active(&probe.timer));
    CHECK_EQ(ed_loop_run_once(&loop, ED_MS), 0);
    CHECK_EQ(probe.calls, 0);
    ed_loop_destroy(&loop);
}

static void check_not_early(struct ed_timer *timer)
{
    note(timer);
    CHECK(ed_clock_ns() >= timer->node.deadline_ns);
    CHECK(ed_loop_now(timer->loop) >= timer->node.deadline_ns);
}

static void no_timer_fires_before_its_deadline(void)
{
    static const uint64_t delays_ns[] = {
        1,
        999,
        ED_US,
        10 * ED_US,
        50 * ED_US + 1,
        300 * ED_US,
        999 * ED_US + 999,
        ED_MS,
        ED_MS + 1,
        2 * ED_MS + 345678,
    };
    enum { COUNT = sizeof delays_ns / sizeof *delays_ns };
    begin();
    for (int round = 0; round < 30; round++) {
        for (int i = 0; i < COUNT; i++) {
            struct probe probe = {0};
            uint64_t start_ns = ed_loop_now(&loop);
            ed_timer_start(&loop, &probe.timer, delays_ns[i], check_not_early);
            CHECK(probe.timer.node.deadline_ns == start_ns + delays_ns[i]);
            CHECK_EQ(ed_loop_run(&loop), 0);
            CHECK_EQ(probe.calls, 1);
        }
    }
    ed_loop_destroy(&loop);
}

static void delays_count_from_the_loops_time(void)
{
    struct probe probe = {0};
    begin();
    uint64_t now_ns = ed_loop_now(&loop);
    wait_for_clock(now_ns + 2 * ED_US);
    ed_timer_start(&loop, &probe.timer, ED_S, note);
    CHECK(probe.timer.node.deadline_ns == now_ns + ED_S);
    ed_loop_update_now(&loop);
    ed_timer_start(&loop, &probe.timer, ED_S, note);
    CHECK(probe.timer.node.deadline_ns == ed_loop_now(&loop) + ED_S);
    CHECK(probe.timer.node.deadline_ns > now_ns + ED_S);
    ed_loop_destroy(&loop);
}

static void start_with_0_again(struct ed_timer *timer)
{
    struct probe *probe = probe_of(timer);
    CHECK(probe->calls == 0 || probe->turn + 1 == turns);
    note(timer);
    if (probe->calls < 10)
        ed_timer_start(timer->loop, timer, 0, start_with_0_again);
}

static void a_delay_of_0_is_the_next_turn_and_never_this_one(void)
{
    struct probe probe = {0};
    begin();
    ed_timer_start(&loop, &probe.timer, 0, start_with_0_again);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 10);
    CHECK_EQ(turns, 10);
    ed_loop_destroy(&loop);
}

static void start_other_with_0(struct ed_timer *timer)
{
    note(timer);
    ed_timer_start(timer->loop, &probe_of(timer)->other->timer, 0, note);
}

static void a_timer_started_by_another_fires_in_a_later_turn(void)
{
    struct probe started = {0}, starter = {.other = &started}, last = {0};
    begin();
    ed_timer_start(&loop, &starter.timer, 0, start_other_with_0);
    ed_timer_start(&loop, &last.timer, 0, note);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(last.turn, starter.turn);
    CHECK_EQ(started.turn, starter.turn + 1);
    ed_loop_destroy(&loop);
}

/* Longer than the clock can be let pass: only whether they wait is tested. */
static void note_and_stop_the_loop(struct ed_timer *timer)
{
    note(timer);
    ed_loop_stop(timer->loop);
}

static void a_huge_delay_does_not_overflow(void)
{
    static const uint64_t delays_ns[] = {
        UINT64_MAX, UINT64_MAX - 1, (uint64_t)INT64_MAX + 1,
        INT64_MAX,  INT64_MAX - 1,  UINT64_C(1) << 62,
    };
    enum { COUNT = sizeof delays_ns / sizeof *delays_ns };
    struct probe huge[COUNT] = {0}, huge_period = {0}, soon = {0};
    begin();
    for (int i = 0; i < COUNT; i++) {
        ed_timer_start(&loop, &huge[i].timer, delays_ns[i], note);
        CHECK(huge[i].timer.node.deadline_ns > ed_loop_now(&loop));
    }
    ed_timer_repeat(&loop, &huge_period.timer, UINT64_MAX, note);
    CHECK_EQ(ed_loop_run_once(&loop, ED_MS), 1);
    ed_timer_start(&loop, &soon.timer, ED_MS, note_and_stop_the_loop);
    CHECK_EQ(ed_loop_run(&loop), 1);
    CHECK_EQ(soon.calls, 1);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(huge[i].calls, 0);
    CHECK_EQ(huge_period.calls, 0);
    ed_loop_destroy(&loop);
}

static void *stop_when_it_waits(void *unused)
{
    // It need not wait yet: a stop is not forgotten.
    ed_loop_stop(&loop);
    return unused;
}

static void a_loop_can_wait_for_nothing_but_a_huge_delay(void)
{
    struct probe probe = {0};
    pthread_t thread;
    begin();
    ed_timer_start(&loop, &probe.timer, UINT64_MAX, note);
    NEED(pthread_create(&thread, NULL, stop_when_it_waits, NULL) == 0);
    CHECK_EQ(ed_loop_run(&loop), 1);
    pthread_join(thread, NULL);
    CHECK_EQ(probe.calls, 0);
    CHECK(turns <= 2); // it waits, and does not turn
    ed_loop_destroy(&loop);
}

/* ---- order --------------------------------------------------------------- */

struct lettered {
    struct ed_timer timer;
    char letter;
};

static void tell_letter(struct ed_timer *timer)
{
    struct lettered *lettered = ED_CONTAINER_OF(timer, struct lettered, timer);
    size_t length = strlen(told);
    if (length + 1 < sizeof told) {
        told[length] = lettered->letter;
        told[length + 1] = '\0';
    }
}

static void timers_of_one_instant_fire_in_the_order_started(void)
{
    struct lettered timers[8] = {0};
    begin();
    for (int i = 0; i < 8; i++) {
        timers[i].letter = (char)('a' + i);
        ed_timer_start(&loop, &timers[i].timer, ED_MS, tell_letter);
    }
    // Started anew, one is the last; stopped, it is none.
    ed_timer_start(&loop, &timers[2].timer, ED_MS, tell_letter);
    ed_timer_again(&timers[0].timer);
    ed_timer_stop(&timers[5].timer);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_STR(told, "bdeghca");
    ed_loop_destroy(&loop);
}

static void timers_fire_by_deadline_however_late_the_loop_is(void)
{
    static const uint64_t delays_ns[] = {700, 30, 5000, 0, 64, 4096, 63, 31};
    struct lettered timers[8] = {0};
    begin();
    for (int i = 0; i < 8; i++) {
        timers[i].letter = (char)('a' + i);
        ed_timer_start(&loop, &timers[i].timer, delays_ns[i], tell_letter);
    }
    wait_for_clock(ed_loop_now(&loop) + 5000);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    CHECK_STR(told, "dbhgeafc");
    ed_loop_destroy(&loop);
}

enum { MANY = 100000 };

static struct many {
    struct ed_timer timer;
    int number;
} many[MANY];
static int many_calls;
static struct many *last_of_many;

static void check_order(struct ed_timer *timer)
{
    struct many *one = ED_CONTAINER_OF(timer, struct many, timer);
    uint64_t deadline_ns = timer->node.deadline_ns;
    if (last_of_many) {
        uint64_t last_ns = last_of_many->timer.node.deadline_ns;
        CHECK(last_ns < deadline_ns ||
              (last_ns == deadline_ns && last_of_many->number < one->number));
    }
    CHECK(ed_loop_now(timer->loop) >= deadline_ns);
    last_of_many = one;
    many_calls++;
}

static void a_hundred_thousand_random_timers_fire_in_order(void)
{
    uint64_t random = 0x9E3779B97F4A7C15u;
    many_calls = 0;
    last_of_many = NULL;
    begin();
    for (int i = 0; i < MANY; i++) {
        // Of any magnitude up to a quarter of a second, with many equal ones.
        uint64_t r = next_random(&random);
        uint64_t delay_ns = (r >> (36 + r % 20)) / 16 * 16;
        many[i] = (struct many){.number = i};
        ed_timer_start(&loop, &many[i].timer, delay_ns, check_order);
    }
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(many_calls, MANY);
    ed_loop_destroy(&loop);
}

/* ---- repeating ----------------------------------------------------------- */

static uint64_t first_ns; // the first deadline of a repeating timer

static void check_multiple(struct ed_timer *timer)
{
    note(timer);
    // It has its next deadline before it is called.
    uint64_t next_ns = timer->node.deadline_ns;
    CHECK(ed_timer_is_active(timer));
    CHECK(next_ns > ed_loop_now(timer->loop));
    CHECK(next_ns <= ed_loop_now(timer->loop) + timer->interval_ns);
    CHECK_EQ((next_ns - first_ns) % timer->interval_ns, 0);
    if (probe_of(timer)->calls == 100)
        ed_timer_stop(timer);
}

static void a_repeating_timer_does_not_drift(void)
{
    struct probe probe = {0};
    begin();
    ed_timer_repeat(&loop, &probe.timer, 70 * ED_US + 7, check_multiple);
    first_ns = probe.timer.node.deadline_ns;
    CHECK(first_ns == ed_loop_now(&loop) + 70 * ED_US + 7);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 100);
    CHECK(ed_loop_now(&loop) >= first_ns + 99 * (70 * ED_US + 7));
    ed_loop_destroy(&loop);
}

static void miss_five_periods_once(struct ed_timer *timer)
{
    struct probe *probe = probe_of(timer);
    check_multiple(timer);
    if (probe->calls == 1)
        wait_for_clock(timer->node.deadline_ns + 5 * timer->interval_ns);
    if (probe->calls == 2) {
        // One call for all that was missed, and on it goes from there.
        CHECK(timer->node.deadline_ns >= first_ns + 7 * timer->interval_ns);
        ed_timer_stop(timer);
    }
}

static void periods_missed_by_a_busy_loop_are_left_out(void)
{
    struct probe probe = {0};
    begin();
    ed_timer_repeat(&loop, &probe.timer, 100 * ED_US, miss_five_periods_once);
    first_ns = probe.timer.node.deadline_ns;
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 2);
    ed_loop_destroy(&loop);
}

static void a_repeating_timer_fires_once_a_turn_even_with_the_least_period(void)
{
    struct probe probe = {0};
    begin();
    ed_timer_repeat(&loop, &probe.timer, 1, note);
    for (int i = 1; i <= 10; i++) {
        CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
        CHECK(probe.calls <= i);
    }
    CHECK(probe.calls > 0);
    ed_loop_destroy(&loop);
}

/* ---- again --------------------------------------------------------------- */

static void again_counts_the_delay_of_a_running_timer_anew(void)
{
    struct probe probe = {0};
    begin();
    ed_timer_start(&loop, &probe.timer, ED_S, note);
    uint64_t before_ns = probe.timer.node.deadline_ns;
    wait_for_clock(ed_loop_now(&loop) + 1);
    ed_loop_update_now(&loop);
    ed_timer_again(&probe.timer);
    CHECK(probe.timer.node.deadline_ns > before_ns);
    CHECK(probe.timer.node.deadline_ns == ed_loop_now(&loop) + ED_S);
    ed_timer_stop(&probe.timer);
    CHECK_EQ(ed_loop_run(&loop), 0);
    ed_loop_destroy(&loop);
}

static void again_starts_a_timer_that_fired_or_was_stopped(void)
{
    struct probe probe = {0};
    begin();
    ed_timer_start(&loop, &probe.timer, ED_US, check_not_early);
    CHECK_EQ(ed_loop_run(&loop), 0);
    ed_timer_again(&probe.timer);
    CHECK(probe.timer.node.deadline_ns == ed_loop_now(&loop) + ED_US);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 2);
    ed_timer_again(&probe.timer);
    ed_timer_stop(&probe.timer);
    ed_timer_again(&probe.timer);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 3);
    ed_loop_destroy(&loop);
}

static void again_until_3(struct ed_timer *timer)
{
    note(timer);
    if (probe_of(timer)->calls < 3)
        ed_timer_again(timer);
}

static void again_in_the_own_callback_starts_a_timer_anew(void)
{
    struct probe probe = {0};
    begin();
    ed_timer_start(&loop, &probe.timer, ED_US, again_until_3);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 3);
    ed_loop_destroy(&loop);
}

static void again_and_stop_at_3(struct ed_timer *timer)
{
    struct probe *probe = probe_of(timer);
    note(timer);
    // Late by a part of a period, it begins its periods anew from there.
    ed_loop_update_now(timer->loop);
    ed_timer_again(timer);
    CHECK(timer->node.deadline_ns ==
          ed_loop_now(timer->loop) + timer->interval_ns);
    if (probe->calls == 3)
        ed_timer_stop(timer);
}

static void again_begins_the_periods_of_a_repeating_timer_anew(void)
{
    struct probe probe = {0};
    begin();
    ed_timer_repeat(&loop, &probe.timer, 10 * ED_US, again_and_stop_at_3);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 3);
    ed_timer_again(&probe.timer); // still a repeating one
    CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
    CHECK(ed_timer_is_active(&probe.timer));
    ed_loop_destroy(&loop);
}

/* ---- start, stop and free in callbacks ----------------------------------- */

static void stop_at_3(struct ed_timer *timer)
{
    note(timer);
    if (probe_of(timer)->calls == 3)
        ed_timer_stop(timer);
}

static void a_repeating_timer_may_be_stopped_in_its_callback(void)
{
    struct probe probe = {0};
    begin();
    ed_timer_repeat(&loop, &probe.timer, ED_US, stop_at_3);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 3);
    CHECK(!ed_timer_is_active(&probe.timer));
    ed_loop_destroy(&loop);
}

static void start_until_3(struct ed_timer *timer)
{
    note(timer);
    if (probe_of(timer)->calls < 3)
        ed_timer_start(timer->loop, timer, ED_US, start_until_3);
}

static void a_timer_may_be_started_anew_in_its_callback(void)
{
    struct probe probe = {0};
    begin();
    ed_timer_start(&loop, &probe.timer, 0, start_until_3);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 3);
    ed_loop_destroy(&loop);
}

static void start_once_instead(struct ed_timer *timer)
{
    note(timer);
    ed_timer_start(timer->loop, timer, ED_US, note);
}

static void a_repeating_timer_may_become_a_single_one_in_its_callback(void)
{
    struct probe probe = {0};
    begin();
    ed_timer_repeat(&loop, &probe.timer, ED_US, start_once_instead);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 2);
    ed_loop_destroy(&loop);
}

static void free_self(struct ed_timer *timer)
{
    turns += 100;
    ed_timer_stop(timer);
    free(probe_of(timer));
}

static void a_timer_may_be_freed_in_its_callback(void)
{
    struct probe *once = calloc(1, sizeof *once);
    struct probe *repeating = calloc(1, sizeof *repeating);
    NEED(once && repeating);
    begin();
    ed_timer_start(&loop, &once->timer, 0, free_self);
    ed_timer_repeat(&loop, &repeating->timer, ED_US, free_self);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK(turns >= 200);
    ed_loop_destroy(&loop);
}

static void stop_and_free_other(struct ed_timer *timer)
{
    struct probe *probe = probe_of(timer);
    note(timer);
    if (probe->other) {
        ed_timer_stop(&probe->other->timer);
        free(probe->other);
        probe->other = NULL;
    }
}

static void a_timer_due_in_the_same_turn_may_be_stopped_and_freed(void)
{
    struct probe *next = calloc(1, sizeof *next);
    struct probe *last = calloc(1, sizeof *last);
    NEED(next && last);
    struct probe first = {.other = next}, between = {.other = last};
    begin();
    ed_timer_start(&loop, &first.timer, 0, stop_and_free_other);
    ed_timer_start(&loop, &next->timer, 0, note);
    ed_timer_start(&loop, &between.timer, 0, stop_and_free_other);
    ed_timer_repeat(&loop, &last->timer, 1, note);
    wait_for_clock(ed_loop_now(&loop) + 1);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(first.calls, 1);
    CHECK_EQ(between.calls, 1);
    ed_loop_destroy(&loop);
}

static void put_off_other(struct ed_timer *timer)
{
    note(timer);
    ed_timer_start(timer->loop, &probe_of(timer)->other->timer, ED_US, note);
}

static void a_timer_due_in_the_same_turn_may_be_put_off(void)
{
    struct probe second = {0}, first = {.other = &second};
    begin();
    ed_timer_start(&loop, &first.timer, 0, put_off_other);
    ed_timer_start(&loop, &second.timer, 0, note);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(second.calls, 1);
    CHECK(second.turn > first.turn);
    ed_loop_destroy(&loop);
}

static void to_start_a_started_timer_starts_it_anew(void)
{
    struct probe probe = {0};
    struct ed_loop other;
    begin();
    NEED(ed_loop_init(&other) == 0);
    ed_timer_repeat(&loop, &probe.timer, ED_US, free_self);
    ed_timer_start(&loop, &probe.timer, 3600 * ED_S, free_self);
    ed_timer_start(&other, &probe.timer, 0, note); // on another loop, even
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 0);
    CHECK_EQ(ed_loop_run(&other), 0);
    CHECK_EQ(probe.calls, 1);
    ed_loop_destroy(&other);
    ed_loop_destroy(&loop);
}

/* ---- all at once --------------------------------------------------------- */

enum { CROWD = 500, CROWD_CALLS = 20000 };

static struct member {
    struct ed_timer timer;
    bool is_wanted;
    uint64_t deadline_ns; // as it was started
} crowd[CROWD];
static uint64_t crowd_random;
static int crowd_calls;

static void start_or_stop_others(struct ed_timer *timer);

static void start_member(struct member *member)
{
    uint64_t r = next_random(&crowd_random);
    uint64_t delay_ns = r >> (44 + r % 20); // up to a millisecond
    member->is_wanted = true;
    member->deadline_ns = ed_loop_now(&loop) + delay_ns;
    ed_timer_start(&loop, &member->timer, delay_ns, start_or_stop_others);
}

static void start_or_stop_others(struct ed_timer *timer)
{
    struct member *member = ED_CONTAINER_OF(timer, struct member, timer);
    CHECK(member->is_wanted);
    CHECK(ed_loop_now(timer->loop) >= member->deadline_ns);
    member->is_wanted = false;
    if (++crowd_calls >= CROWD_CALLS)
        return;

    for (int i = 0; i < 3; i++) {
        struct member *other = &crowd[next_random(&crowd_random) % CROWD];
        if (i == 0) {
            ed_timer_stop(&other->timer);
            other->is_wanted = false;
        } else {
            start_member(other);
        }
    }
}

static void each_wanted_timer_fires_once_whatever_others_start_and_stop(void)
{
    crowd_random = 0x2545F4914F6CDD1Du;
    crowd_calls = 0;
    memset(crowd, 0, sizeof crowd);
    begin();
    for (int i = 0; i < CROWD; i++)
        start_member(&crowd[i]);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK(crowd_calls >= CROWD_CALLS);
    for (int i = 0; i < CROWD; i++)
        CHECK(!crowd[i].is_wanted);
    ed_loop_destroy(&loop);
}

TESTS(TEST(a_timer_fires_once), TEST(a_timer_is_not_called_by_its_start),
      TEST(a_stopped_timer_does_not_fire),
      TEST(no_timer_fires_before_its_deadline),
      TEST(delays_count_from_the_loops_time),
      TEST(a_delay_of_0_is_the_next_turn_and_never_this_one),
      TEST(a_timer_started_by_another_fires_in_a_later_turn),
      TEST(a_huge_delay_does_not_overflow),
      TEST(a_loop_can_wait_for_nothing_but_a_huge_delay),
      TEST(timers_of_one_instant_fire_in_the_order_started),
      TEST(timers_fire_by_deadline_however_late_the_loop_is),
      TEST(a_hundred_thousand_random_timers_fire_in_order),
      TEST(a_repeating_timer_does_not_drift),
      TEST(periods_missed_by_a_busy_loop_are_left_out),
      TEST(a_repeating_timer_fires_once_a_turn_even_with_the_least_period),
      TEST(again_counts_the_delay_of_a_running_timer_anew),
      TEST(again_starts_a_timer_that_fired_or_was_stopped),
      TEST(again_in_the_own_callback_starts_a_timer_anew),
      TEST(again_begins_the_periods_of_a_repeating_timer_anew),
      TEST(a_repeating_timer_may_be_stopped_in_its_callback),
      TEST(a_timer_may_be_started_anew_in_its_callback),
      TEST(a_repeating_timer_may_become_a_single_one_in_its_callback),
      TEST(a_timer_may_be_freed_in_its_callback),
      TEST(a_timer_due_in_the_same_turn_may_be_stopped_and_freed),
      TEST(a_timer_due_in_the_same_turn_may_be_put_off),
      TEST(to_start_a_started_timer_starts_it_anew),
      TEST(each_wanted_timer_fires_once_whatever_others_start_and_stop))
