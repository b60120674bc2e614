/*
 * test/bench/messages.c - what does a word to another thread cost?
 *
 * message.burst: a thread posts messages at full speed, the loop receives them.
 * message.pingpong: a message goes to another thread's loop and back.
 *
 * libuv has wake-ups but no messages, so for it there is what its users write:
 * a list under a lock, and a wake-up when the list was empty.
 */
#include <pthread.h>

#include "loop/loop.h"
#include "test/bench/bench.h"

#ifdef BENCH_LIBUV
#include <uv.h>
#endif

enum { MESSAGES = 5000000, TRIPS = 20000, WARM_UP_TRIPS = 1000 };

static int received; // of a burst

static void tell_rate(double *values, uint64_t begin_ns)
{
    values[0] = MESSAGES / ((double)(bench_now_ns() - begin_ns) / 1e9);
    BENCH_NEED(received == MESSAGES);
}

/*
 * At the home end of the ping-pong, when the ball is back. Returns whether to
 * play it again.
 */
static bool play_on(double *values)
{
    static int trips;
    static uint64_t begin_ns;
    trips++;
    if (trips == WARM_UP_TRIPS)
        begin_ns = bench_now_ns();
    if (trips < WARM_UP_TRIPS + TRIPS)
        return true;
    values[0] = (double)(bench_now_ns() - begin_ns) / TRIPS;
    return false;
}

static pthread_t start_thread(void *(*fn)(void *), void *argument)
{
    pthread_t thread;
    BENCH_NEED(pthread_create(&thread, NULL, fn, argument) == 0);
    return thread;
}

/* ---- eddy: a burst ------------------------------------------------------- */

static struct ed_loop receiver;

static void receive_eddy(struct ed_msg *msg)
{
    (void)msg;
    if (++received == MESSAGES)
        ed_loop_unref(&receiver);
}

static void *send_eddy(void *argument)
{
    struct ed_msg *messages = argument;
    for (int i = 0; i < MESSAGES; i++)
        ed_loop_post(&receiver, &messages[i], receive_eddy);
    return NULL;
}

static void burst_eddy(const struct bench *bench, double *values)
{
    (void)bench;
    struct ed_msg *messages = bench_memory(MESSAGES, sizeof *messages);
    BENCH_NEED(ed_loop_init(&receiver) == 0);
    ed_loop_ref(&receiver);

    uint64_t begin_ns = bench_now_ns();
    pthread_t sender = start_thread(send_eddy, messages);
    BENCH_NEED(ed_loop_run(&receiver) == 0);
    tell_rate(values, begin_ns);
    pthread_join(sender, NULL);
    ed_loop_destroy(&receiver);
}

/* ---- eddy: ping-pong ----------------------------------------------------- */

struct eddy_game {
    struct ed_loop home;
    struct ed_loop away;
    struct ed_msg ball;
    double *values;
};

static void return_eddy(struct ed_msg *ball);

static void play_eddy(struct ed_msg *ball)
{
    struct eddy_game *game = ED_CONTAINER_OF(ball, struct eddy_game, ball);
    if (play_on(game->values)) {
        ed_loop_post(&game->away, ball, return_eddy);
        return;
    }
    ed_loop_unref(&game->home);
    ed_loop_stop(&game->away);
}

static void return_eddy(struct ed_msg *ball)
{
    struct eddy_game *game = ED_CONTAINER_OF(ball, struct eddy_game, ball);
    ed_loop_post(&game->home, ball, play_eddy);
}

static void *run_away_eddy(void *argument)
{
    struct eddy_game *game = argument;
    ed_loop_run(&game->away);
    return NULL;
}

static void pingpong_eddy(const struct bench *bench, double *values)
{
    (void)bench;
    struct eddy_game game = {.values = values};
    BENCH_NEED(ed_loop_init(&game.home) == 0);
    BENCH_NEED(ed_loop_init(&game.away) == 0);
    ed_loop_ref(&game.home);
    ed_loop_ref(&game.away);

    pthread_t away = start_thread(run_away_eddy, &game);
    ed_loop_post(&game.away, &game.ball, return_eddy);
    BENCH_NEED(ed_loop_run(&game.home) == 0);
    pthread_join(away, NULL);
    ed_loop_destroy(&game.away);
    ed_loop_destroy(&game.home);
}

/* ---- libuv: messages as its users write them ----------------------------- */

#ifdef BENCH_LIBUV
struct letter {
    struct letter *next;
    void *content;
};

struct mailbox {
    uv_async_t arrived;
    uv_mutex_t lock; // guards what follows
    struct letter *oldest;
    struct letter **end;
};

static void open_mailbox(struct mailbox *box, uv_loop_t *loop, uv_async_cb fn)
{
    box->oldest = NULL;
    box->end = &box->oldest;
    BENCH_NEED(uv_mutex_init(&box->lock) == 0);
    BENCH_NEED(uv_async_init(loop, &box->arrived, fn) == 0);
}

static void send_letter(struct mailbox *box, struct letter *letter)
{
    letter->next = NULL;
    uv_mutex_lock(&box->lock);
    bool was_empty = !box->oldest;
    *box->end = letter;
    box->end = &letter->next;
    uv_mutex_unlock(&box->lock);

    if (was_empty)
        uv_async_send(&box->arrived);
}

static struct letter *take_letters(uv_async_t *arrived)
{
    struct mailbox *box = ED_CONTAINER_OF(arrived, struct mailbox, arrived);
    uv_mutex_lock(&box->lock);
    struct letter *oldest = box->oldest;
    box->oldest = NULL;
    box->end = &box->oldest;
    uv_mutex_unlock(&box->lock);
    return oldest;
}

/* ---- libuv: a burst ------------------------------------------------------ */

static struct mailbox mailbox;

static void receive_libuv(uv_async_t *arrived)
{
    for (struct letter *l = take_letters(arrived); l; l = l->next)
        received++;
    if (received == MESSAGES)
        uv_close((uv_handle_t *)arrived, NULL);
}

static void *send_libuv(void *argument)
{
    struct letter *letters = argument;
    for (int i = 0; i < MESSAGES; i++)
        send_letter(&mailbox, &letters[i]);
    return NULL;
}

static void burst_libuv(const struct bench *bench, double *values)
{
    (void)bench;
    struct letter *letters = bench_memory(MESSAGES, sizeof *letters);
    uv_loop_t loop;
    BENCH_NEED(uv_loop_init(&loop) == 0);
    open_mailbox(&mailbox, &loop, receive_libuv);

    uint64_t begin_ns = bench_now_ns();
    pthread_t sender = start_thread(send_libuv, letters);
    BENCH_NEED(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    tell_rate(values, begin_ns);
    pthread_join(sender, NULL);
    BENCH_NEED(uv_loop_close(&loop) == 0);
}

/* ---- libuv: ping-pong ---------------------------------------------------- */

struct libuv_game {
    uv_loop_t home_loop;
    uv_loop_t away_loop;
    struct mailbox home;
    struct mailbox away;
    double *values;
};

static struct libuv_game game;

static void play_libuv(uv_async_t *arrived)
{
    struct letter *ball = take_letters(arrived);
    if (!ball)
        return;
    bool plays_on = play_on(game.values);
    ball->content = plays_on ? &game : NULL;
    send_letter(&game.away, ball);
    if (!plays_on)
        uv_close((uv_handle_t *)arrived, NULL);
}

static void return_libuv(uv_async_t *arrived)
{
    struct letter *ball = take_letters(arrived);
    if (!ball)
        return;
    if (ball->content)
        send_letter(&game.home, ball);
    else
        uv_close((uv_handle_t *)arrived, NULL);
}

static void *run_away_libuv(void *argument)
{
    (void)argument;
    uv_run(&game.away_loop, UV_RUN_DEFAULT);
    return NULL;
}

static void pingpong_libuv(const struct bench *bench, double *values)
{
    (void)bench;
    struct letter ball = {.content = &game};
    game.values = values;
    BENCH_NEED(uv_loop_init(&game.home_loop) == 0);
    BENCH_NEED(uv_loop_init(&game.away_loop) == 0);
    open_mailbox(&game.home, &game.home_loop, play_libuv);
    open_mailbox(&game.away, &game.away_loop, return_libuv);

    pthread_t away = start_thread(run_away_libuv, NULL);
    send_letter(&game.away, &ball);
    BENCH_NEED(uv_run(&game.home_loop, UV_RUN_DEFAULT) == 0);
    pthread_join(away, NULL);
}
#endif

/* -------------------------------------------------------------------------- */

const struct bench bench_message_burst = {
    .figures =
        (const struct bench_figure[]){
            {"message.burst", "messages/s"},
            {NULL, NULL},
        },
    .contenders =
        (const struct bench_contender[]){
            {"eddy", burst_eddy},
            {"libuv", BENCH_IF_LIBUV(burst_libuv)},
            {NULL, NULL},
        },
};

const struct bench bench_message_pingpong = {
    .figures =
        (const struct bench_figure[]){
            {"message.pingpong", "ns"},
            {NULL, NULL},
        },
    .contenders =
        (const struct bench_contender[]){
            {"eddy", pingpong_eddy},
            {"libuv", BENCH_IF_LIBUV(pingpong_libuv)},
            {NULL, NULL},
        },
};
