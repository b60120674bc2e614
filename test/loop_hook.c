#include "loop/loop.h"

#include <fcntl.h>

#include "test/tap.h"

/* One of each kind of thing that calls back, in any test that wants it. */
struct all {
    struct ed_timer timers[2];
    struct ed_msg msgs[2];
    struct ed_hook prepares[2];
    struct ed_watch watches[2];
    struct ed_hook immediates[2];
    struct ed_hook ticks[10];
    int ticks_used;
};

/* A hook that remembers its calls. */
struct probe {
    struct ed_hook hook;
    int calls;
    int turn;                // of its last call
    int place;               // of its last call among all calls
    struct probe *others[2]; // to do something to in the callback
};

/* The four kinds are started alike. */
typedef void start_fn(struct ed_loop *loop, struct ed_hook *hook,
                      ed_hook_fn *fn);

static start_fn *const kinds[] = {ed_hook_tick, ed_hook_immediate,
                                  ed_hook_prepare, ed_hook_idle};
enum { KINDS = 4 };

static struct ed_loop loop;
static struct all all;
static struct ed_hook turn_hook;
static int turns;  // waits that the loop has come to
static int places; // calls of probes
static char told[512];

static void tell(const char *word)
{
    size_t length = strlen(told);
    snprintf(told + length, sizeof told - length, "%s%s", length ? " " : "",
             word);
}

static void count_turn(struct ed_hook *hook)
{
    (void)hook;
    turns++;
}

static void begin(void)
{
    turns = 0;
    places = 0;
    told[0] = '\0';
    all = (struct all){0};
    CHECK_EQ(ed_loop_init(&loop), 0);
    turn_hook = (struct ed_hook){0};
    ed_hook_prepare(&loop, &turn_hook, count_turn);
}

/* A turn in which idle hooks are called, too, if there is nothing to do. */
static void take_turn(void)
{
    ed_loop_ref(&loop);
    CHECK_EQ(ed_loop_run_once(&loop, 1), 1);
    ed_loop_unref(&loop);
}

static struct probe *probe_of(struct ed_hook *hook)
{
    return ED_CONTAINER_OF(hook, struct probe, hook);
}

static void note(struct ed_hook *hook)
{
    struct probe *probe = probe_of(hook);
    probe->calls++;
    probe->turn = turns;
    probe->place = ++places;
}

static void note_and_stop(struct ed_hook *hook)
{
    note(hook);
    ed_hook_stop(hook);
}

/* ---- the order of a turn ------------------------------------------------- */

static void tell_tick(struct ed_hook *hook)
{
    (void)hook;
    tell(">tick");
}

static void ask_for_tick(void)
{
    ed_hook_tick(&loop, &all.ticks[all.ticks_used++], tell_tick);
}

static void tell_timer(struct ed_timer *timer)
{
    (void)timer;
    tell("timer");
    ask_for_tick();
}

static void tell_message(struct ed_msg *msg)
{
    (void)msg;
    tell("message");
    ask_for_tick();
}

static void tell_prepare(struct ed_hook *hook)
{
    (void)hook;
    tell("prepare");
    ask_for_tick();
}

static void tell_watch(struct ed_watch *watch)
{
    (void)watch;
    tell("watch");
    ask_for_tick();
}

static void tell_immediate(struct ed_hook *hook)
{
    (void)hook;
    tell("immediate");
    ask_for_tick();
}

static void a_turn_has_its_order_and_ticks_come_after_each_callback(void)
{
    int fds[2][2];
    begin();
    // Asked for in the opposite order.
    for (int i = 0; i < 2; i++) {
        NEED(pipe(fds[i]) == 0 && write(fds[i][1], "x", 1) == 1);
        ed_hook_immediate(&loop, &all.immediates[i], tell_immediate);
        NEED(ed_watch_start(&loop, &all.watches[i], fds[i][0], ED_READABLE,
                            tell_watch) == 0);
        ed_hook_prepare(&loop, &all.prepares[i], tell_prepare);
        ed_loop_post(&loop, &all.msgs[i], tell_message);
        ed_timer_start(&loop, &all.timers[i], 0, tell_timer);
    }
    CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
    CHECK_STR(told, "timer >tick timer >tick message >tick message >tick "
                    "prepare >tick prepare >tick watch >tick watch >tick "
                    "immediate >tick immediate >tick");
    for (int i = 0; i < 2; i++) {
        ed_watch_stop(&all.watches[i]);
        close(fds[i][0]);
        close(fds[i][1]);
    }
    ed_loop_destroy(&loop);
}

/* ---- ticks --------------------------------------------------------------- */

static void tell_tick_of_tick(struct ed_hook *hook)
{
    (void)hook;
    tell(">tick>tick");
}

static void tell_and_ask_for_another(struct ed_hook *hook)
{
    (void)hook;
    tell(">tick");
    ed_hook_tick(&loop, &all.ticks[all.ticks_used++], tell_tick_of_tick);
}

static void tell_and_ask_for_two(struct ed_hook *hook)
{
    (void)hook;
    tell("immediate");
    for (int i = 0; i < 2; i++)
        ed_hook_tick(&loop, &all.ticks[all.ticks_used++],
                     tell_and_ask_for_another);
}

static void ticks_of_ticks_come_before_anything_else(void)
{
    begin();
    ed_hook_immediate(&loop, &all.immediates[0], tell_and_ask_for_two);
    ed_hook_immediate(&loop, &all.immediates[1], tell_immediate);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_STR(told, "immediate >tick >tick >tick>tick >tick>tick "
                    "immediate >tick");
    ed_loop_destroy(&loop);
}

static void a_tick_asked_for_outside_of_callbacks_begins_the_next_turn(void)
{
    begin();
    ed_timer_start(&loop, &all.timers[0], 0, tell_timer);
    ask_for_tick();
    CHECK_STR(told, ""); // not by the call itself
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    CHECK_STR(told, ">tick timer >tick");
    ask_for_tick();
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_STR(told, ">tick timer >tick >tick");
    ed_loop_destroy(&loop);
}

static void ask_for_tick_and_stop(struct ed_hook *hook)
{
    tell("idle");
    ask_for_tick();
    ed_hook_stop(hook);
}

static void ticks_come_after_idle_hooks_too(void)
{
    struct ed_hook idles[2] = {0};
    begin();
    ed_hook_idle(&loop, &idles[0], ask_for_tick_and_stop);
    ed_hook_idle(&loop, &idles[1], ask_for_tick_and_stop);
    take_turn();
    CHECK_STR(told, "idle >tick idle >tick");
    ed_loop_destroy(&loop);
}

static void tick_until_100(struct ed_hook *hook)
{
    note(hook);
    CHECK(!ed_hook_is_active(hook));
    if (probe_of(hook)->calls < 100)
        ed_hook_tick(&loop, hook, tick_until_100);
}

static void a_tick_may_ask_for_itself(void)
{
    struct probe probe = {0};
    begin();
    ed_hook_tick(&loop, &probe.hook, tick_until_100);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 100);
    CHECK_EQ(turns, 0);
    ed_loop_destroy(&loop);
}

/* ---- immediates ---------------------------------------------------------- */

static void immediate_until_5(struct ed_hook *hook)
{
    struct probe *probe = probe_of(hook);
    CHECK(!ed_hook_is_active(hook));
    CHECK(probe->calls == 0 || probe->turn + 1 == turns);
    note(hook);
    if (probe->calls < 5)
        ed_hook_immediate(&loop, hook, immediate_until_5);
}

static void what_an_immediate_asks_for_comes_in_the_next_turn(void)
{
    struct probe probe = {0};
    begin();
    ed_hook_immediate(&loop, &probe.hook, immediate_until_5);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(probe.calls, 5);
    CHECK_EQ(turns, 5);
    ed_loop_destroy(&loop);
}

static void ask_for_immediate(struct ed_hook *hook)
{
    note(hook);
    ed_hook_immediate(&loop, &probe_of(hook)->others[0]->hook, note);
}

static void ask_for_tick_that_asks_for_immediate(struct ed_hook *hook)
{
    note(hook);
    ed_hook_tick(&loop, &probe_of(hook)->others[0]->hook, ask_for_immediate);
}

static void what_a_tick_of_an_immediate_asks_for_comes_in_the_next_turn(void)
{
    struct probe last = {0}, tick = {.others = {&last}};
    struct probe first = {.others = {&tick}};
    begin();
    ed_hook_immediate(&loop, &first.hook, ask_for_tick_that_asks_for_immediate);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(tick.turn, first.turn);
    CHECK_EQ(last.turn, first.turn + 1);
    ed_loop_destroy(&loop);
}

static struct probe asked_for;

static void immediate_of_timer(struct ed_timer *timer)
{
    ed_hook_immediate(timer->loop, &asked_for.hook, note);
}

static void immediate_of_message(struct ed_msg *msg)
{
    (void)msg;
    ed_hook_immediate(&loop, &asked_for.hook, note);
}

static void immediate_of_watch(struct ed_watch *watch)
{
    ed_hook_immediate(watch->loop, &asked_for.hook, note);
}

static void immediate_of_hook(struct ed_hook *hook)
{
    ed_hook_stop(hook);
    ed_hook_immediate(&loop, &asked_for.hook, note);
}

static void what_others_ask_for_comes_in_this_turn(void)
{
    int fds[2];
    NEED(pipe(fds) == 0 && write(fds[1], "x", 1) == 1);

    asked_for = (struct probe){0};
    begin();
    ed_timer_start(&loop, &all.timers[0], 0, immediate_of_timer);
    take_turn();
    CHECK_EQ(asked_for.calls, 1);
    ed_loop_post(&loop, &all.msgs[0], immediate_of_message);
    take_turn();
    CHECK_EQ(asked_for.calls, 2);
    ed_hook_prepare(&loop, &all.prepares[0], immediate_of_hook);
    take_turn();
    CHECK_EQ(asked_for.calls, 3);
    ed_hook_idle(&loop, &all.prepares[0], immediate_of_hook);
    take_turn();
    CHECK_EQ(asked_for.calls, 4);
    CHECK_EQ(ed_watch_start(&loop, &all.watches[0], fds[0], ED_READABLE,
                            immediate_of_watch),
             0);
    take_turn();
    CHECK_EQ(asked_for.calls, 5);
    ed_watch_stop(&all.watches[0]);
    close(fds[0]);
    close(fds[1]);
    ed_loop_destroy(&loop);
}

/* ---- prepare hooks ------------------------------------------------------- */

static void a_prepare_hook_is_called_in_each_turn_once(void)
{
    struct probe probe = {0};
    begin();
    ed_hook_prepare(&loop, &probe.hook, note);
    for (int i = 1; i <= 5; i++) {
        take_turn();
        CHECK_EQ(probe.calls, i);
    }
    ed_hook_stop(&probe.hook);
    take_turn();
    CHECK_EQ(probe.calls, 5);
    ed_loop_destroy(&loop);
}

static void start_other_prepare(struct ed_hook *hook)
{
    note(hook);
    ed_hook_prepare(&loop, &probe_of(hook)->others[0]->hook, note);
}

static void a_prepare_hook_started_by_one_begins_in_the_next_turn(void)
{
    struct probe second = {0}, first = {.others = {&second}};
    begin();
    ed_hook_prepare(&loop, &first.hook, start_other_prepare);
    take_turn();
    CHECK_EQ(second.calls, 0);
    ed_hook_stop(&first.hook);
    take_turn();
    CHECK_EQ(second.calls, 1);
    ed_loop_destroy(&loop);
}

/* ---- idle hooks ---------------------------------------------------------- */

static void an_idle_hook_is_not_called_while_there_is_something_to_do(void)
{
    struct probe idle = {0}, busy = {0};
    int fds[2];
    begin();
    NEED(pipe(fds) == 0 && write(fds[1], "x", 1) == 1);
    ed_hook_idle(&loop, &idle.hook, note_and_stop);

    ed_hook_immediate(&loop, &busy.hook, immediate_until_5);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(busy.calls, 5);
    ed_timer_start(&loop, &all.timers[0], 0, tell_timer);
    CHECK_EQ(ed_loop_run(&loop), 0);
    ed_loop_post(&loop, &all.msgs[0], tell_message);
    CHECK_EQ(ed_loop_run(&loop), 0);
    NEED(ed_watch_start(&loop, &all.watches[0], fds[0], ED_READABLE,
                        tell_watch) == 0);
    take_turn();
    ed_watch_stop(&all.watches[0]);
    CHECK_STR(told, "timer >tick message >tick watch >tick");
    CHECK_EQ(idle.calls, 0);

    take_turn();
    CHECK_EQ(idle.calls, 1);
    close(fds[0]);
    close(fds[1]);
    ed_loop_destroy(&loop);
}

static void post_from_prepare(struct ed_hook *hook)
{
    ed_hook_stop(hook);
    ed_loop_post(&loop, &all.msgs[0], tell_message);
}

static void an_idle_hook_is_not_called_while_a_message_waits(void)
{
    struct probe idle = {0};
    begin();
    ed_hook_idle(&loop, &idle.hook, note_and_stop);
    ed_hook_prepare(&loop, &all.prepares[0], post_from_prepare);
    take_turn();
    CHECK_EQ(idle.calls, 0);
    take_turn();
    CHECK_EQ(idle.calls, 1);
    CHECK_STR(told, "message >tick");
    ed_loop_destroy(&loop);
}

static void idle_until_5(struct ed_hook *hook)
{
    note(hook);
    if (probe_of(hook)->calls == 5)
        ed_hook_stop(hook);
}

static void a_loop_turns_until_no_idle_hook_is_left_and_then_sleeps(void)
{
    struct probe idle = {0};
    begin();
    ed_hook_idle(&loop, &idle.hook, idle_until_5);
    ed_timer_start(&loop, &all.timers[0], 20 * ED_MS, tell_timer);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(idle.calls, 5);
    CHECK(turns <= 5 + 3); // one a slice; then the wait and the timer
    ed_loop_destroy(&loop);
}

static void a_loop_that_may_not_wait_has_no_time_for_idle_hooks(void)
{
    struct probe idle = {0};
    begin();
    ed_hook_idle(&loop, &idle.hook, note);
    ed_loop_ref(&loop);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    CHECK_EQ(idle.calls, 0);
    ed_loop_unref(&loop);
    ed_loop_destroy(&loop);
}

static void check_deadline(struct ed_hook *hook)
{
    note(hook);
    CHECK(loop.idle_until_ns <= ed_loop_now(&loop) + ED_MS);
    for (int i = 0; i < 2; i++)
        if (ed_timer_is_active(&all.timers[i]))
            CHECK(loop.idle_until_ns <= all.timers[i].node.deadline_ns);
}

static void stop_repeating(struct ed_timer *timer)
{
    if (turns >= 50)
        ed_timer_stop(timer);
}

static void an_idle_hook_has_until_the_next_timer(void)
{
    struct probe idle = {0};
    begin();
    uint64_t start_ns = ed_loop_now(&loop);
    ed_hook_idle(&loop, &idle.hook, check_deadline);
    take_turn();
    CHECK(loop.idle_until_ns > start_ns);
    ed_timer_start(&loop, &all.timers[1], 3600 * ED_S, stop_repeating);
    take_turn();
    CHECK(loop.idle_until_ns > start_ns);
    ed_timer_unref(&all.timers[1]);
    ed_timer_repeat(&loop, &all.timers[0], 200 * ED_US, stop_repeating);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK(idle.calls > 2);
    ed_loop_destroy(&loop);
}

static int idle_pipe[2];

static void write_in_third_slice(struct ed_hook *hook)
{
    note(hook);
    if (probe_of(hook)->calls == 3)
        CHECK(write(idle_pipe[1], "x", 1) == 1);
}

static void stop_idle_of_watch(struct ed_watch *watch)
{
    ed_hook_stop(&asked_for.hook);
    ed_watch_stop(watch);
}

static void a_ready_descriptor_is_noticed_between_slices(void)
{
    asked_for = (struct probe){0};
    begin();
    NEED(pipe(idle_pipe) == 0);
    NEED(ed_watch_start(&loop, &all.watches[0], idle_pipe[0], ED_READABLE,
                        stop_idle_of_watch) == 0);
    ed_hook_idle(&loop, &asked_for.hook, write_in_third_slice);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(asked_for.calls, 3);
    close(idle_pipe[0]);
    close(idle_pipe[1]);
    ed_loop_destroy(&loop);
}

static void stop_idle_of_message(struct ed_msg *msg)
{
    (void)msg;
    ed_hook_stop(&asked_for.hook);
    ed_timer_stop(&all.timers[0]);
}

static void post_in_third_slice(struct ed_hook *hook)
{
    note(hook);
    if (probe_of(hook)->calls == 3)
        ed_loop_post(&loop, &all.msgs[0], stop_idle_of_message);
}

static void a_message_is_noticed_between_slices(void)
{
    asked_for = (struct probe){0};
    begin();
    ed_timer_start(&loop, &all.timers[0], 3600 * ED_S, tell_timer);
    ed_hook_idle(&loop, &asked_for.hook, post_in_third_slice);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(asked_for.calls, 3);
    ed_loop_destroy(&loop);
}

static void use_up_the_slice(struct ed_hook *hook)
{
    note(hook);
    while (ed_clock_ns() < loop.idle_until_ns)
        ;
}

static void a_due_timer_is_noticed_between_slices(void)
{
    struct probe idle = {0};
    begin();
    ed_timer_start(&loop, &all.timers[0], 100 * ED_US, tell_timer);
    ed_hook_idle(&loop, &idle.hook, use_up_the_slice);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_STR(told, "timer >tick");
    CHECK(idle.calls <= 2); // with one wait in which the slice is opened
    ed_loop_destroy(&loop);
}

static void stop_loop_in_idle(struct ed_hook *hook)
{
    note(hook);
    ed_loop_stop(&loop);
}

static void an_idle_hook_may_stop_the_loop(void)
{
    struct probe idle = {0};
    begin();
    ed_hook_idle(&loop, &idle.hook, stop_loop_in_idle);
    ed_loop_ref(&loop);
    CHECK_EQ(ed_loop_run(&loop), 1);
    CHECK_EQ(idle.calls, 1);
    ed_loop_unref(&loop);
    ed_loop_destroy(&loop);
}

/* ---- every kind ---------------------------------------------------------- */

static void hooks_of_a_kind_are_called_in_the_order_started(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct probe probes[3] = {0};
        begin();
        kinds[kind](&loop, &probes[2].hook, note_and_stop);
        kinds[kind](&loop, &probes[0].hook, note_and_stop);
        kinds[kind](&loop, &probes[1].hook, note_and_stop);
        kinds[kind](&loop, &probes[2].hook, note_and_stop); // now the last
        take_turn();
        for (int i = 0; i < 3; i++) {
            CHECK_EQ(probes[i].calls, 1);
            CHECK_EQ(probes[i].place, i + 1);
        }
        CHECK(!ed_loop_is_alive(&loop));
        ed_loop_destroy(&loop);
    }
}

static void a_stopped_hook_is_not_called(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct probe probe = {0};
        begin();
        ed_hook_stop(&probe.hook); // never started
        kinds[kind](&loop, &probe.hook, note);
        CHECK(ed_hook_is_active(&probe.hook));
        ed_hook_stop(&probe.hook);
        ed_hook_stop(&probe.hook);
        CHECK(!ed_hook_is_active(&probe.hook));
        take_turn();
        CHECK_EQ(probe.calls, 0);
        CHECK(!ed_loop_is_alive(&loop));
        ed_loop_destroy(&loop);
    }
}

static void a_hook_may_be_stopped_in_its_callback(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct probe probe = {0};
        begin();
        kinds[kind](&loop, &probe.hook, note_and_stop);
        take_turn();
        take_turn();
        CHECK_EQ(probe.calls, 1);
        CHECK(!ed_hook_is_active(&probe.hook));
        CHECK(!ed_loop_is_alive(&loop));
        ed_loop_destroy(&loop);
    }
}

static void note_and_stop_others(struct ed_hook *hook)
{
    note(hook);
    for (int i = 0; i < 2; i++)
        ed_hook_stop(&probe_of(hook)->others[i]->hook);
}

static void a_hook_may_stop_others_before_and_after_it_in_its_list(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct probe before = {0}, after = {0};
        struct probe stopper = {.others = {&before, &after}};
        begin();
        kinds[kind](&loop, &before.hook, note);
        kinds[kind](&loop, &stopper.hook, note_and_stop_others);
        kinds[kind](&loop, &after.hook, note);
        take_turn();
        take_turn();
        CHECK_EQ(before.calls, 1);
        CHECK(stopper.calls >= 1);
        CHECK_EQ(after.calls, 0);
        ed_hook_stop(&stopper.hook);
        CHECK(!ed_loop_is_alive(&loop));
        ed_loop_destroy(&loop);
    }
}

static void free_self(struct ed_hook *hook)
{
    tell("freed");
    ed_hook_stop(hook);
    free(probe_of(hook));
}

static void a_hook_may_be_freed_in_its_callback(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        begin();
        for (int i = 0; i < 3; i++) {
            struct probe *probe = calloc(1, sizeof *probe);
            NEED(probe);
            kinds[kind](&loop, &probe->hook, free_self);
        }
        take_turn();
        CHECK_STR(told, "freed freed freed");
        CHECK(!ed_loop_is_alive(&loop));
        ed_loop_destroy(&loop);
    }
}

static void stop_and_free_other(struct ed_hook *hook)
{
    struct probe *probe = probe_of(hook);
    note_and_stop(hook);
    ed_hook_stop(&probe->others[0]->hook);
    free(probe->others[0]);
}

static void a_hook_may_free_the_next_in_its_list(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct probe *next = calloc(1, sizeof *next);
        NEED(next);
        struct probe first = {.others = {next}}, last = {0};
        begin();
        kinds[kind](&loop, &first.hook, stop_and_free_other);
        kinds[kind](&loop, &next->hook, note);
        kinds[kind](&loop, &last.hook, note_and_stop);
        take_turn();
        CHECK_EQ(first.calls, 1);
        CHECK_EQ(last.calls, 1);
        CHECK(!ed_loop_is_alive(&loop));
        ed_loop_destroy(&loop);
    }
}

static int kind_to_become;

static void become_another_kind(struct ed_hook *hook)
{
    note(hook);
    kinds[kind_to_become](&loop, hook, note_and_stop);
}

static void a_hook_may_become_one_of_another_kind(void)
{
    for (int from = 0; from < KINDS; from++) {
        for (int to = 0; to < KINDS; to++) {
            struct probe probe = {0};
            begin();
            kind_to_become = to;
            kinds[from](&loop, &probe.hook, become_another_kind);
            CHECK_EQ(ed_loop_is_alive(&loop), from < 2);
            // If its new kind comes later in the turn, that is in this one.
            for (int turn = 0; turn < 3; turn++)
                take_turn();
            CHECK_EQ(probe.calls, 2);
            CHECK(!ed_loop_is_alive(&loop));

            kinds[from](&loop, &probe.hook, become_another_kind);
            kinds[to](&loop, &probe.hook, note_and_stop);
            CHECK_EQ(ed_loop_is_alive(&loop), to < 2);
            take_turn();
            take_turn();
            CHECK_EQ(probe.calls, 3);
            CHECK(!ed_hook_is_active(&probe.hook));
            CHECK(!ed_loop_is_alive(&loop));
            ed_loop_destroy(&loop);
        }
    }
}

static void start_anew(struct ed_hook *hook)
{
    note(hook);
    if (probe_of(hook)->others[0] == NULL)
        ed_hook_prepare(&loop, hook, start_anew);
    else
        ed_hook_idle(&loop, hook, start_anew);
}

static void a_lasting_hook_started_anew_in_its_callback_waits_for_the_next(void)
{
    struct probe prepare = {0}, idle = {.others = {&prepare}};
    begin();
    ed_hook_prepare(&loop, &prepare.hook, start_anew);
    ed_hook_idle(&loop, &idle.hook, start_anew);
    for (int i = 1; i <= 3; i++) {
        take_turn();
        CHECK_EQ(prepare.calls, i);
        CHECK_EQ(idle.calls, i);
    }
    ed_loop_destroy(&loop);
}

TESTS(TEST(a_turn_has_its_order_and_ticks_come_after_each_callback),
      TEST(ticks_of_ticks_come_before_anything_else),
      TEST(a_tick_asked_for_outside_of_callbacks_begins_the_next_turn),
      TEST(ticks_come_after_idle_hooks_too), TEST(a_tick_may_ask_for_itself),
      TEST(what_an_immediate_asks_for_comes_in_the_next_turn),
      TEST(what_a_tick_of_an_immediate_asks_for_comes_in_the_next_turn),
      TEST(what_others_ask_for_comes_in_this_turn),
      TEST(a_prepare_hook_is_called_in_each_turn_once),
      TEST(a_prepare_hook_started_by_one_begins_in_the_next_turn),
      TEST(an_idle_hook_is_not_called_while_there_is_something_to_do),
      TEST(an_idle_hook_is_not_called_while_a_message_waits),
      TEST(a_loop_turns_until_no_idle_hook_is_left_and_then_sleeps),
      TEST(a_loop_that_may_not_wait_has_no_time_for_idle_hooks),
      TEST(an_idle_hook_has_until_the_next_timer),
      TEST(a_ready_descriptor_is_noticed_between_slices),
      TEST(a_message_is_noticed_between_slices),
      TEST(a_due_timer_is_noticed_between_slices),
      TEST(an_idle_hook_may_stop_the_loop),
      TEST(hooks_of_a_kind_are_called_in_the_order_started),
      TEST(a_stopped_hook_is_not_called),
      TEST(a_hook_may_be_stopped_in_its_callback),
      TEST(a_hook_may_stop_others_before_and_after_it_in_its_list),
      TEST(a_hook_may_be_freed_in_its_callback),
      TEST(a_hook_may_free_the_next_in_its_list),
      TEST(a_hook_may_become_one_of_another_kind),
      TEST(a_lasting_hook_started_anew_in_its_callback_waits_for_the_next))
