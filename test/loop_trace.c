#include "loop/trace.h"

#include <pthread.h>
#include <unistd.h>

#include "loop/loop.h"
#include "test/tap.h"

enum { MOST_NOTES = 64 };

struct note {
    struct ed_trace_event event;
    pthread_t thread;
};

static struct ed_loop loop;
static struct note notes[MOST_NOTES];
static size_t note_count, checked;

/* Without a lock: here nothing happens at the same time. */
static void tell(struct ed_trace *trace, const struct ed_trace_event *event)
{
    (void)trace;
    if (note_count < MOST_NOTES)
        notes[note_count++] = (struct note){*event, pthread_self()};
}

static struct ed_trace trace = {.tell = tell};

static void begin(void)
{
    CHECK_EQ(ed_loop_init(&loop), 0);
    loop.trace = &trace;
    note_count = checked = 0;
}

static void end(void)
{
    CHECK_EQ(checked, note_count);
    ed_loop_destroy(&loop);
}

/* The next note. */
static void check(enum ed_trace_kind kind, const char *name,
                  const void *subject, ed_trace_callback_fn *callback)
{
    NEED(checked < note_count);
    const struct ed_trace_event *event = &notes[checked++].event;
    CHECK_EQ(event->kind, kind);
    if (name)
        CHECK_STR(event->name, name);
    else
        CHECK(!event->name);
    CHECK(event->subject == subject);
    CHECK(event->callback == callback);
}

static void check_begin(const char *name, const void *subject,
                        ed_trace_callback_fn *callback)
{
    check(ED_TRACE_BEGIN, name, subject, callback);
}

static void check_end(void)
{
    check(ED_TRACE_END, NULL, NULL, NULL);
}

static void check_call(const char *name, const void *subject,
                       ed_trace_callback_fn *callback)
{
    check_begin(name, subject, callback);
    check_end();
}

static void check_wait(enum ed_trace_kind kind, int64_t value)
{
    check(kind, NULL, &loop, NULL);
    CHECK_EQ(notes[checked - 1].event.value, value);
}

/* ---- callbacks ----------------------------------------------------------- */

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

static ed_trace_callback_fn *const of_timer = (ed_trace_callback_fn *)nothing;
static ed_trace_callback_fn *const of_hook =
    (ed_trace_callback_fn *)nothing_of_hook;
static ed_trace_callback_fn *const of_message =
    (ed_trace_callback_fn *)nothing_of_message;
static ed_trace_callback_fn *const of_watch =
    (ed_trace_callback_fn *)nothing_of_watch;

static void each_callback_of_a_turn_is_told(void)
{
    struct ed_timer timer = {0};
    struct ed_hook prepare = {0}, immediate = {0};
    struct ed_watch watch = {0};
    struct ed_msg msg;
    int fds[2];
    begin();
    NEED(pipe(fds) == 0);
    ed_hook_immediate(&loop, &immediate, nothing_of_hook);
    ed_hook_prepare(&loop, &prepare, nothing_of_hook);
    NEED(ed_watch_start(&loop, &watch, fds[1], ED_WRITABLE, nothing_of_watch) ==
         0);
    ed_loop_post(&loop, &msg, nothing_of_message);
    ed_timer_start(&loop, &timer, 0, nothing);
    CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
    check(ED_TRACE_MESSAGE, NULL, &msg, NULL);
    check_call("timer", &timer, of_timer);
    check_call("message", &msg, of_message);
    check_call("prepare", &prepare, of_hook);
    check_call("watch", &watch, of_watch);
    check_call("immediate", &immediate, of_hook);
    ed_watch_stop(&watch);
    close(fds[0]);
    close(fds[1]);
    end();
}

static void an_idle_hook_is_told(void)
{
    struct ed_hook idle = {0};
    begin();
    ed_loop_ref(&loop);
    ed_hook_idle(&loop, &idle, nothing_of_hook);
    CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
    check_call("idle", &idle, of_hook);
    ed_loop_unref(&loop);
    end();
}

static struct ed_hook ticks[2];

static void ask_for_second_tick(struct ed_hook *hook)
{
    ed_hook_tick(hook->loop, &ticks[1], nothing_of_hook);
}

static void ask_for_ticks(struct ed_timer *timer)
{
    ed_hook_tick(timer->loop, &ticks[0], ask_for_second_tick);
}

static void ticks_begin_when_the_callback_before_them_has_ended(void)
{
    struct ed_timer timer = {0};
    begin();
    ed_timer_start(&loop, &timer, 0, ask_for_ticks);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    check_call("timer", &timer, (ed_trace_callback_fn *)ask_for_ticks);
    check_call("tick", &ticks[0], (ed_trace_callback_fn *)ask_for_second_tick);
    check_call("tick", &ticks[1], of_hook);
    end();
}

static void a_tick_from_outside_is_told(void)
{
    struct ed_hook tick = {0};
    begin();
    ed_hook_tick(&loop, &tick, nothing_of_hook);
    CHECK_EQ(ed_loop_run(&loop), 0);
    check_call("tick", &tick, of_hook);
    end();
}

static void free_timer(struct ed_timer *timer)
{
    free(timer);
}

static void the_end_of_a_callback_that_frees_its_struct_is_told(void)
{
    struct ed_timer *timer = calloc(1, sizeof *timer);
    begin();
    NEED(timer);
    const void *subject = timer;
    ed_timer_start(&loop, timer, 0, free_timer);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    check_call("timer", subject, (ed_trace_callback_fn *)free_timer);
    end();
}

static void nobody_is_told_of_a_loop_without_a_trace(void)
{
    struct ed_timer timer = {0};
    begin();
    loop.trace = NULL;
    ed_timer_start(&loop, &timer, ED_US, nothing);
    CHECK_EQ(ed_loop_run(&loop), 0);
    end();
}

static void begin_to_listen(struct ed_timer *timer)
{
    timer->loop->trace = &trace;
}

static void end_to_listen(struct ed_timer *timer)
{
    timer->loop->trace = NULL;
}

static void a_trace_can_be_set_and_taken_away_in_a_callback(void)
{
    struct ed_timer first = {0}, second = {0}, third = {0}, fourth = {0};
    begin();
    loop.trace = NULL;
    ed_timer_start(&loop, &first, 0, begin_to_listen);
    ed_timer_start(&loop, &second, 0, nothing);
    ed_timer_start(&loop, &third, 0, end_to_listen);
    ed_timer_start(&loop, &fourth, 0, nothing);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    check_end();
    check_call("timer", &second, of_timer);
    check_begin("timer", &third, (ed_trace_callback_fn *)end_to_listen);
    end();
}

/* ---- messages ------------------------------------------------------------ */

static void each_message_of_a_list_is_told_before_any_begins(void)
{
    struct ed_msg messages[3], quiet;
    begin();
    for (int i = 0; i < 3; i++)
        messages[i] = (struct ed_msg){i < 2 ? &messages[i + 1] : NULL,
                                      nothing_of_message};
    ed_loop_post_list(&loop, &messages[0], &messages[2]);
    CHECK(!ed_loop_post_quietly(&loop, &quiet, nothing_of_message));
    for (int i = 0; i < 3; i++)
        check(ED_TRACE_MESSAGE, NULL, &messages[i], NULL);
    check(ED_TRACE_MESSAGE, NULL, &quiet, NULL);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    for (int i = 0; i < 3; i++)
        check_call("message", &messages[i], of_message);
    check_call("message", &quiet, of_message);
    end();
}

static void *post_in_thread(void *msg)
{
    ed_loop_post(&loop, msg, nothing_of_message);
    return NULL;
}

static void a_message_is_told_on_the_thread_that_posts_it(void)
{
    struct ed_msg msg;
    pthread_t thread;
    begin();
    NEED(pthread_create(&thread, NULL, post_in_thread, &msg) == 0);
    pthread_join(thread, NULL);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 0);
    NEED(note_count == 3);
    check(ED_TRACE_MESSAGE, NULL, &msg, NULL);
    check_call("message", &msg, of_message);
    CHECK(!pthread_equal(notes[0].thread, pthread_self()));
    CHECK(pthread_equal(notes[1].thread, pthread_self()));
    end();
}

/* ---- sleep --------------------------------------------------------------- */

static void a_wait_that_may_last_is_told_with_what_it_brings(void)
{
    struct ed_watch watches[3] = {0};
    int fds[3][2];
    begin();
    for (int i = 0; i < 3; i++) {
        NEED(pipe(fds[i]) == 0);
        NEED(ed_watch_start(&loop, &watches[i], fds[i][0], ED_READABLE,
                            nothing_of_watch) == 0);
    }
    NEED(write(fds[0][1], "x", 1) == 1);
    NEED(write(fds[1][1], "x", 1) == 1);
    CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
    NEED(note_count == 6);
    bool is_first = notes[2].event.subject == &watches[0];
    check_wait(ED_TRACE_SLEEP, -1);
    check_wait(ED_TRACE_WAKE, 2);
    check_call("watch", &watches[is_first ? 0 : 1], of_watch);
    check_call("watch", &watches[is_first ? 1 : 0], of_watch);
    for (int i = 0; i < 3; i++) {
        ed_watch_stop(&watches[i]);
        close(fds[i][0]);
        close(fds[i][1]);
    }
    end();
}

static void a_wait_is_told_with_how_long_it_may_last(void)
{
    begin();
    ed_loop_ref(&loop);
    CHECK_EQ(ed_loop_run_once(&loop, 1000), 1);
    check_wait(ED_TRACE_SLEEP, 1000);
    check_wait(ED_TRACE_WAKE, 0);
    ed_loop_unref(&loop);
    end();
}

static void a_look_that_does_not_wait_is_not_told(void)
{
    struct ed_timer timer = {0};
    struct ed_hook immediate = {0};
    begin();
    ed_timer_start(&loop, &timer, 3600 * ED_S, nothing);
    CHECK_EQ(ed_loop_run_once(&loop, 0), 1);
    ed_hook_immediate(&loop, &immediate, nothing_of_hook);
    CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
    check_call("immediate", &immediate, of_hook);
    end();
}

TESTS(TEST(each_callback_of_a_turn_is_told), TEST(an_idle_hook_is_told),
      TEST(ticks_begin_when_the_callback_before_them_has_ended),
      TEST(a_tick_from_outside_is_told),
      TEST(the_end_of_a_callback_that_frees_its_struct_is_told),
      TEST(nobody_is_told_of_a_loop_without_a_trace),
      TEST(a_trace_can_be_set_and_taken_away_in_a_callback),
      TEST(each_message_of_a_list_is_told_before_any_begins),
      TEST(a_message_is_told_on_the_thread_that_posts_it),
      TEST(a_wait_that_may_last_is_told_with_what_it_brings),
      TEST(a_wait_is_told_with_how_long_it_may_last),
      TEST(a_look_that_does_not_wait_is_not_told))
