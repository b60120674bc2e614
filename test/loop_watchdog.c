/*
 * The watchdog's clock is the test's: the library's calls of ed_clock_ns() from
 * outside of loop.c, which has it, are linked with --wrap (see meson.build). So
 * how long a callback takes is known to the nanosecond.
 */
#include "loop/watchdog.h"

#include <pthread.h>

#include "test/gate.h"
#include "test/tap.h"

enum { MOST_TOLD = 64 };

static uint64_t clock_ns; // read by any thread

uint64_t __wrap_ed_clock_ns(void);
uint64_t __wrap_ed_clock_ns(void)
{
    return __atomic_load_n(&clock_ns, __ATOMIC_RELAXED);
}

static void let_pass(uint64_t duration_ns)
{
    __atomic_add_fetch(&clock_ns, duration_ns, __ATOMIC_RELAXED);
}

static struct ed_loop loop;
static struct ed_callback told[MOST_TOLD];
static size_t told_count;

static void note(struct ed_watchdog *watchdog,
                 const struct ed_callback *callback)
{
    (void)watchdog;
    if (told_count < MOST_TOLD)
        told[told_count++] = *callback;
}

static void begin(void)
{
    CHECK_EQ(ed_loop_init(&loop), 0);
    told_count = 0;
    clock_ns = 5000;
}

static void begin_with(struct ed_watchdog *watchdog)
{
    begin();
    ed_watchdog_start(&loop, watchdog);
}

static void end_with(struct ed_watchdog *watchdog)
{
    ed_watchdog_stop(watchdog);
    CHECK(!loop.trace);
    ed_loop_destroy(&loop);
}

/* A timer whose callback takes a while. */
struct busy {
    struct ed_timer timer;
    uint64_t takes_ns;
};

static void be_busy(struct ed_timer *timer)
{
    let_pass(ED_CONTAINER_OF(timer, struct busy, timer)->takes_ns);
}

static void start_busy(struct busy *busy, uint64_t takes_ns)
{
    busy->takes_ns = takes_ns;
    ed_timer_start(&loop, &busy->timer, 0, be_busy);
}

static void run_for(uint64_t takes_ns)
{
    struct busy busy = {0};
    start_busy(&busy, takes_ns);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
}

static void check_callback(const struct ed_callback *callback, const char *name,
                           const void *subject, ed_trace_callback_fn *fn,
                           uint64_t took_ns)
{
    CHECK_STR(callback->name, name);
    CHECK(callback->subject == subject);
    CHECK(callback->fn == fn);
    CHECK_EQ(callback->took_ns, took_ns);
}

/* ---- which is slow ------------------------------------------------------- */

static void the_slow_one_of_many_is_told(void)
{
    struct ed_watchdog watchdog = {.limit_ns = 50, .fn = note};
    struct busy many[20] = {0};
    begin_with(&watchdog);
    for (size_t i = 0; i < 20; i++)
        start_busy(&many[i], i == 13 ? 51 : i);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    NEED(told_count == 1);
    check_callback(&told[0], "timer", &many[13],
                   (ed_trace_callback_fn *)be_busy, 51);
    CHECK_EQ(told[0].began_ns, 5000 + 12 * 13 / 2);
    CHECK_EQ(watchdog.warnings, 1);
    end_with(&watchdog);
}

static void what_takes_as_long_as_the_limit_is_not_told(void)
{
    struct ed_watchdog watchdog = {.limit_ns = 50, .fn = note};
    begin_with(&watchdog);
    run_for(50);
    CHECK_EQ(told_count, 0);
    CHECK_EQ(watchdog.warnings, 0);
    CHECK_EQ(watchdog.longest.took_ns, 50);
    end_with(&watchdog);
}

static void without_fn_the_longest_is_remembered(void)
{
    struct ed_watchdog watchdog = {0};
    struct busy many[5] = {0};
    begin_with(&watchdog);
    CHECK_EQ(watchdog.longest.took_ns, 0);
    for (size_t i = 0; i < 5; i++)
        start_busy(&many[i], i == 2 ? 100 : 10 * i);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    check_callback(&watchdog.longest, "timer", &many[2],
                   (ed_trace_callback_fn *)be_busy, 100);
    CHECK_EQ(watchdog.warnings, 0);

    watchdog.longest.took_ns = 0;
    run_for(7);
    CHECK_EQ(watchdog.longest.took_ns, 7);
    end_with(&watchdog);
}

static struct ed_hook slow_tick;

static void be_busy_in_tick(struct ed_hook *hook)
{
    (void)hook;
    let_pass(100);
}

static void ask_for_tick(struct ed_timer *timer)
{
    let_pass(1);
    ed_hook_tick(timer->loop, &slow_tick, be_busy_in_tick);
}

static void a_slow_tick_is_not_its_callers_slowness(void)
{
    struct ed_watchdog watchdog = {.limit_ns = 50, .fn = note};
    struct ed_timer timer = {0};
    begin_with(&watchdog);
    ed_timer_start(&loop, &timer, 0, ask_for_tick);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    NEED(told_count == 1);
    check_callback(&told[0], "tick", &slow_tick,
                   (ed_trace_callback_fn *)be_busy_in_tick, 100);
    end_with(&watchdog);
}

static void free_and_be_busy(struct ed_timer *timer)
{
    free(timer);
    let_pass(100);
}

static void a_slow_callback_may_have_freed_its_struct(void)
{
    struct ed_watchdog watchdog = {.limit_ns = 50, .fn = note};
    struct ed_timer *timer = calloc(1, sizeof *timer);
    begin_with(&watchdog);
    NEED(timer);
    const void *subject = timer;
    ed_timer_start(&loop, timer, 0, free_and_be_busy);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    NEED(told_count == 1);
    check_callback(&told[0], "timer", subject,
                   (ed_trace_callback_fn *)free_and_be_busy, 100);
    end_with(&watchdog);
}

/* ---- callbacks within callbacks ------------------------------------------ */

static void reader(void)
{
}

static const char readers[8]; // as subjects

/* As a stream calls back from within a watch. */
static void call_reader(struct ed_timer *timer)
{
    let_pass(5);
    ed_trace_begin(timer->loop->trace, "read", &readers[0], reader);
    let_pass(100);
    ed_trace_end(timer->loop->trace);
    let_pass(7);
    ed_trace_begin(timer->loop->trace, "drain", &readers[1], reader);
    let_pass(20);
    ed_trace_end(timer->loop->trace);
    let_pass(1);
}

static void each_has_a_time_of_its_own_without_those_within_it(void)
{
    struct ed_watchdog watchdog = {.fn = note};
    struct ed_timer timer = {0};
    begin_with(&watchdog);
    ed_timer_start(&loop, &timer, 0, call_reader);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    NEED(told_count == 3);
    check_callback(&told[0], "read", &readers[0], reader, 100);
    check_callback(&told[1], "drain", &readers[1], reader, 20);
    check_callback(&told[2], "timer", &timer,
                   (ed_trace_callback_fn *)call_reader, 13);
    check_callback(&watchdog.longest, "read", &readers[0], reader, 100);
    end_with(&watchdog);
}

/* Each takes 1 ns before the one within it and 1 after. */
static void call_deeper(struct ed_trace *trace, size_t depth, size_t deepest)
{
    let_pass(1);
    if (depth < deepest) {
        ed_trace_begin(trace, "read", &readers[depth], reader);
        call_deeper(trace, depth + 1, deepest);
        ed_trace_end(trace);
    }
    let_pass(1);
}

static void call_deep(struct ed_timer *timer)
{
    call_deeper(timer->loop->trace, 0, 6);
}

static void what_is_nested_too_deep_is_a_part_of_the_last(void)
{
    struct ed_watchdog watchdog = {.fn = note};
    struct ed_timer timer = {0};
    begin_with(&watchdog);
    for (int i = 0; i < 2; i++) {
        told_count = 0;
        ed_timer_start(&loop, &timer, 0, call_deep);
        CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
        NEED(told_count == ED_WATCHDOG_DEPTH);
        check_callback(&told[0], "read", &readers[2], reader, 8);
        check_callback(&told[1], "read", &readers[1], reader, 2);
        check_callback(&told[2], "read", &readers[0], reader, 2);
        check_callback(&told[3], "timer", &timer,
                       (ed_trace_callback_fn *)call_deep, 2);
    }
    end_with(&watchdog);
}

/* What runs while fn is called. */
static void note_what_runs(struct ed_watchdog *watchdog,
                           const struct ed_callback *callback)
{
    struct ed_callback running;
    note(watchdog, callback);
    bool is_running = ed_watchdog_running(watchdog, &running);
    CHECK_EQ(is_running, callback->fn == reader);
    if (is_running)
        CHECK_STR(running.name, "timer");
}

static void fn_is_called_when_the_callback_is_over(void)
{
    struct ed_watchdog watchdog = {.fn = note_what_runs};
    struct ed_timer timer = {0};
    begin_with(&watchdog);
    ed_timer_start(&loop, &timer, 0, call_reader);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    CHECK_EQ(told_count, 3);
    end_with(&watchdog);
}

/* ---- start and stop ------------------------------------------------------ */

static struct ed_watchdog started;

static void start_in_callback(struct ed_timer *timer)
{
    let_pass(100);
    ed_watchdog_start(timer->loop, &started);
    ed_trace_begin(timer->loop->trace, "read", &readers[0], reader);
    let_pass(60);
    ed_trace_end(timer->loop->trace);
    let_pass(100);
}

static void a_watchdog_started_in_a_callback_watches_those_that_follow(void)
{
    struct ed_timer timer = {0};
    struct busy busy = {0};
    begin();
    started = (struct ed_watchdog){.limit_ns = 50, .fn = note};
    ed_timer_start(&loop, &timer, 0, start_in_callback);
    start_busy(&busy, 70);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    NEED(told_count == 2);
    check_callback(&told[0], "read", &readers[0], reader, 60);
    check_callback(&told[1], "timer", &busy, (ed_trace_callback_fn *)be_busy,
                   70);
    end_with(&started);
}

static void stop_in_callback(struct ed_timer *timer)
{
    (void)timer;
    let_pass(100);
    ed_watchdog_stop(&started);
    let_pass(100);
}

static void a_watchdog_can_be_stopped_in_a_callback_and_started_again(void)
{
    struct ed_timer timer = {0};
    struct ed_callback running;
    started = (struct ed_watchdog){.limit_ns = 50, .fn = note};
    begin_with(&started);
    ed_timer_start(&loop, &timer, 0, stop_in_callback);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    run_for(100);
    CHECK_EQ(told_count, 0);
    ed_watchdog_stop(&started); // does nothing
    ed_watchdog_start(&loop, &started);
    CHECK(!ed_watchdog_running(&started, &running));
    run_for(100);
    CHECK_EQ(told_count, 1);
    end_with(&started);
}

static void stop_and_free(struct ed_watchdog *watchdog,
                          const struct ed_callback *callback)
{
    note(watchdog, callback);
    ed_watchdog_stop(watchdog);
    free(watchdog);
}

static void fn_may_stop_and_free_its_watchdog(void)
{
    struct ed_watchdog *watchdog = calloc(1, sizeof *watchdog);
    begin();
    NEED(watchdog);
    watchdog->fn = stop_and_free;
    ed_watchdog_start(&loop, watchdog);
    run_for(100);
    run_for(100);
    CHECK_EQ(told_count, 1);
    CHECK(!loop.trace);
    ed_loop_destroy(&loop);
}

/* ---- who listened before ------------------------------------------------- */

static struct ed_trace_event heard[MOST_TOLD];
static size_t heard_count;

static void hear(struct ed_trace *trace, const struct ed_trace_event *event)
{
    (void)trace;
    let_pass(1000); // is no callback's time
    if (heard_count < MOST_TOLD)
        heard[heard_count++] = *event;
}

static void nothing(struct ed_msg *msg)
{
    (void)msg;
}

static void all_is_passed_on_to_who_listened_before(void)
{
    static const enum ed_trace_kind kinds[] = {
        ED_TRACE_MESSAGE, ED_TRACE_BEGIN, ED_TRACE_END,  ED_TRACE_BEGIN,
        ED_TRACE_END,     ED_TRACE_SLEEP, ED_TRACE_WAKE,
    };
    struct ed_trace before = {.tell = hear};
    struct ed_watchdog first = {.limit_ns = 50, .fn = note}, second = first;
    struct busy busy = {0};
    struct ed_msg msg;
    begin();
    heard_count = 0;
    loop.trace = &before;
    ed_watchdog_start(&loop, &first);
    ed_watchdog_start(&loop, &second);
    ed_loop_ref(&loop);
    start_busy(&busy, 100);
    ed_loop_post(&loop, &msg, nothing);
    CHECK_EQ(ed_loop_run_once(&loop, 1000), 1);
    ed_loop_unref(&loop);
    NEED(heard_count == 7);
    for (int i = 0; i < 7; i++)
        CHECK_EQ(heard[i].kind, kinds[i]);
    CHECK(heard[1].subject == &busy && heard[1].callback != NULL);
    CHECK_EQ(heard[5].value, 1000);

    NEED(told_count == 2); // one warning of each
    check_callback(&told[0], "timer", &busy, (ed_trace_callback_fn *)be_busy,
                   100);
    check_callback(&told[1], "timer", &busy, (ed_trace_callback_fn *)be_busy,
                   100);
    ed_watchdog_stop(&second);
    CHECK(loop.trace == &first.trace);
    ed_watchdog_stop(&first);
    CHECK(loop.trace == &before);
    ed_loop_destroy(&loop);
}

/* ---- from another thread ------------------------------------------------- */

static struct gate is_inside, may_go_on;

static void wait_inside(struct ed_timer *timer)
{
    let_pass(40);
    ed_trace_begin(timer->loop->trace, "read", &readers[0], reader);
    let_pass(10);
    gate_open(&is_inside);
    gate_pass(&may_go_on);
    ed_trace_end(timer->loop->trace);
    let_pass(2);
    gate_open(&is_inside);
    gate_pass(&may_go_on);
}

static void *run_in_thread(void *unused)
{
    CHECK_EQ(ed_loop_run(&loop), 0);
    return unused;
}

static void another_thread_can_ask_what_runs(void)
{
    struct ed_watchdog watchdog = {0};
    struct ed_timer timer = {0};
    struct ed_callback running;
    pthread_t thread;
    begin_with(&watchdog);
    gate_init(&is_inside);
    gate_init(&may_go_on);
    CHECK(!ed_watchdog_running(&watchdog, &running));
    ed_timer_start(&loop, &timer, 0, wait_inside);
    NEED(pthread_create(&thread, NULL, run_in_thread, NULL) == 0);
    gate_pass(&is_inside);
    CHECK(ed_watchdog_running(&watchdog, &running));
    check_callback(&running, "read", &readers[0], reader, 10);
    let_pass(3);
    CHECK(ed_watchdog_running(&watchdog, &running));
    check_callback(&running, "read", &readers[0], reader, 13);
    gate_open(&may_go_on);
    gate_pass(&is_inside);
    CHECK(ed_watchdog_running(&watchdog, &running));
    check_callback(&running, "timer", &timer,
                   (ed_trace_callback_fn *)wait_inside, 42);
    CHECK_EQ(running.began_ns, 5000);
    gate_open(&may_go_on);
    pthread_join(thread, NULL);
    CHECK(!ed_watchdog_running(&watchdog, &running));
    gate_destroy(&is_inside);
    gate_destroy(&may_go_on);
    end_with(&watchdog);
}

enum { KINDS = 3, ANSWERS = 20000 };

static const char *const names[KINDS] = {"read", "drain", "written"};
static int answers; // that the other thread got

static void drainer(void)
{
}

static void writer(void)
{
}

static ed_trace_callback_fn *const fns[KINDS] = {reader, drainer, writer};

/* By the time at which a callback began it can be told which it is. */
static void *ask_all_the_time(void *of)
{
    const struct ed_watchdog *watchdog = of;
    while (__atomic_load_n(&answers, __ATOMIC_RELAXED) < ANSWERS) {
        struct ed_callback running;
        if (!ed_watchdog_running(watchdog, &running))
            continue;
        size_t kind = running.began_ns % KINDS;
        CHECK(running.subject == &readers[kind]);
        CHECK_STR(running.name, names[kind]);
        CHECK(running.fn == fns[kind]);
        __atomic_add_fetch(&answers, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void what_another_thread_gets_belongs_together(void)
{
    struct ed_watchdog watchdog = {0};
    pthread_t thread;
    begin_with(&watchdog);
    __atomic_store_n(&answers, 0, __ATOMIC_RELAXED);
    NEED(pthread_create(&thread, NULL, ask_all_the_time, &watchdog) == 0);
    for (size_t i = 0; __atomic_load_n(&answers, __ATOMIC_RELAXED) < ANSWERS;
         i++) {
        size_t kind = clock_ns % KINDS;
        ed_trace_begin(loop.trace, names[kind], &readers[kind], fns[kind]);
        if (i % 2)
            let_pass(1);
        kind = clock_ns % KINDS;
        ed_trace_begin(loop.trace, names[kind], &readers[kind], fns[kind]);
        let_pass(1);
        ed_trace_end(loop.trace);
        ed_trace_end(loop.trace);
    }
    pthread_join(thread, NULL);
    end_with(&watchdog);
}

TESTS(TEST(the_slow_one_of_many_is_told),
      TEST(what_takes_as_long_as_the_limit_is_not_told),
      TEST(without_fn_the_longest_is_remembered),
      TEST(a_slow_tick_is_not_its_callers_slowness),
      TEST(a_slow_callback_may_have_freed_its_struct),
      TEST(each_has_a_time_of_its_own_without_those_within_it),
      TEST(what_is_nested_too_deep_is_a_part_of_the_last),
      TEST(fn_is_called_when_the_callback_is_over),
      TEST(a_watchdog_started_in_a_callback_watches_those_that_follow),
      TEST(a_watchdog_can_be_stopped_in_a_callback_and_started_again),
      TEST(fn_may_stop_and_free_its_watchdog),
      TEST(all_is_passed_on_to_who_listened_before),
      TEST(another_thread_can_ask_what_runs),
      TEST(what_another_thread_gets_belongs_together))
