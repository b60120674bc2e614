/*
 * Loops on threads of their own use one crew of workers, at random: bursts of
 * tasks in all lanes, some of which submit more, some of which are cancelled at
 * any moment, alone or in groups, or miss their deadlines; workers that come
 * and go; pools that are destroyed in the middle of it. What
 * counts is that each task is done exactly once. Most is seen by the thread
 * sanitizer.
 */
#include "pool/pool.h"

#include <errno.h>
#include <pthread.h>

#include "test/tap.h"

enum { LOOPS = 3, ROUNDS = 12, SLOTS = 64, TASKS = 400, GROUPS = 4 };

/* Each is submitted, done and submitted again. */
struct slot {
    struct ed_task task;
    struct player *player;
    bool is_out; // submitted and not done
    bool has_run;
    bool is_cancelled;     // cancel said 0
    bool may_be_cancelled; // with its group
};

struct group {
    struct ed_task_group tasks;
    struct player *player;
    int out; // submitted and not done
};

struct player {
    struct ed_pool *shared; // NULL: to have workers of its own
    struct ed_loop loop;
    struct ed_pool pool;
    bool has_pool;
    uint64_t random;
    int left; // tasks still to be submitted in this round
    int out;  // submitted and not done
    int wrong;
    long submitted, ran, cancelled;
    struct slot slots[SLOTS];
    struct group groups[GROUPS];
};

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static bool happens(struct player *player, unsigned one_in)
{
    return next_random(&player->random) % one_in == 0;
}

static struct slot *any_slot(struct player *player)
{
    return &player->slots[next_random(&player->random) % SLOTS];
}

static void run(struct ed_task *task)
{
    struct slot *slot = ED_CONTAINER_OF(task, struct slot, task);
    slot->has_run = true;
    // Some take a while, and look whether they are still wanted.
    unsigned length = (unsigned)((uintptr_t)slot >> 4) % 64;
    for (unsigned i = 0; i < length && !ed_task_is_cancelled(task); i++)
        ed_spin_pause();
}

static void done(struct ed_task *task);

static void submit_some(struct player *player, int count)
{
    for (int i = 0; i < count && player->left && player->has_pool; i++) {
        struct slot *slot = any_slot(player);
        if (slot->is_out)
            continue;
        slot->is_out = true;
        slot->has_run = false;
        slot->is_cancelled = false;
        slot->may_be_cancelled = false;
        struct group *group = &player->groups[i % GROUPS];
        slot->task.group = happens(player, 2) ? &group->tasks : NULL;
        slot->task.deadline_ns = 0;
        if (happens(player, 3))
            slot->task.deadline_ns = ed_loop_now(&player->loop) +
                                     next_random(&player->random) % (ED_MS / 4);
        slot->task.lane = (unsigned)(next_random(&player->random) % ED_LANES);
        player->wrong +=
            ed_task_submit(&player->pool, &slot->task, run, done) != 0;
        group->out += slot->task.group != NULL;
        player->left--;
        player->out++;
        player->submitted++;
    }
}

static void cancel_some(struct player *player)
{
    if (!player->has_pool)
        return;
    struct slot *slot = any_slot(player);
    int err = ed_task_cancel(&slot->task);
    if (err == 0) {
        player->wrong += !slot->is_out || slot->is_cancelled;
        slot->is_cancelled = true;
    } else {
        player->wrong += err != (slot->is_out ? -EBUSY : -ENOENT);
    }
}

static void cancel_group(struct player *player)
{
    struct group *group =
        &player->groups[next_random(&player->random) % GROUPS];
    ed_task_group_cancel(&group->tasks);
    for (int i = 0; i < SLOTS; i++)
        if (player->slots[i].task.group == &group->tasks)
            player->slots[i].may_be_cancelled = true;
}

static void empty(struct ed_task_group *tasks)
{
    struct group *group = ED_CONTAINER_OF(tasks, struct group, tasks);
    group->player->wrong += group->out != 0;
}

static void done(struct ed_task *task)
{
    struct slot *slot = ED_CONTAINER_OF(task, struct slot, task);
    struct player *player = slot->player;
    player->wrong += !slot->is_out;
    player->wrong += slot->has_run != (task->error == 0);
    bool is_late = task->error == -ETIMEDOUT;
    player->wrong += is_late && !task->deadline_ns;
    player->wrong += task->error != 0 && task->error != -ECANCELED && !is_late;
    // After destroy, tasks are cancelled that nobody asked to be.
    player->wrong += slot->is_cancelled && task->error != -ECANCELED;
    player->wrong += !slot->is_cancelled && !slot->may_be_cancelled &&
                     !is_late && task->error && player->has_pool;
    if (task->group)
        ED_CONTAINER_OF(task->group, struct group, tasks)->out--;
    slot->is_out = false;
    player->out--;
    player->ran += slot->has_run;
    player->cancelled += !slot->has_run;

    submit_some(player, (int)(next_random(&player->random) % 3));
    if (happens(player, 4))
        cancel_some(player);
    if (happens(player, 20))
        cancel_group(player);
    if (player->has_pool && happens(player, 600)) {
        ed_pool_destroy(&player->pool);
        player->has_pool = false;
    }
}

static void play_round(struct player *player)
{
    // Workers leave at once, or soon, or stay.
    const struct ed_pool_options options = {
        .workers = 1 + (unsigned)(next_random(&player->random) % 4),
        .retire_ns = happens(player, 2) ? 1 : ED_MS,
        .never_linger = happens(player, 2),
        .lanes[1].workers = 1 + (unsigned)(next_random(&player->random) % 2),
        .lanes[2].priority = (int)(next_random(&player->random) % 3) - 1,
    };
    player->wrong += ed_loop_init(&player->loop) != 0;
    player->wrong +=
        (player->shared && !happens(player, 4)
             ? ed_pool_share(&player->pool, &player->loop, player->shared)
             : ed_pool_init(&player->pool, &player->loop, &options)) != 0;
    player->has_pool = true;
    player->left = TASKS;
    while (player->left && player->has_pool) {
        submit_some(player, (int)(next_random(&player->random) % 40));
        if (happens(player, 2))
            cancel_some(player);
        ed_loop_run_once(&player->loop,
                         happens(player, 3) ? (int64_t)ED_MS : 0);
        if (happens(player, 10))
            player->wrong += ed_loop_run(&player->loop) != 0;
    }
    // Sometimes with much of it still under way.
    if (happens(player, 2))
        player->wrong += ed_loop_run(&player->loop) != 0;
    if (player->has_pool)
        ed_pool_destroy(&player->pool);
    player->has_pool = false;
    player->wrong += ed_loop_run(&player->loop) != 0;
    player->wrong += player->out != 0;
    ed_loop_destroy(&player->loop);
}

static void *play(void *argument)
{
    struct player *player = argument;
    for (int i = 0; i < SLOTS; i++)
        player->slots[i] = (struct slot){.player = player};
    for (int i = 0; i < GROUPS; i++)
        player->groups[i] =
            (struct group){.tasks.on_empty = empty, .player = player};
    for (int round = 0; round < ROUNDS; round++)
        play_round(player);
    return NULL;
}

static void play_all(struct ed_pool *shared, uint64_t seed)
{
    static struct player players[LOOPS];
    pthread_t threads[LOOPS];
    for (uint64_t i = 0; i < LOOPS; i++) {
        players[i] = (struct player){
            .shared = shared,
            .random = (seed * LOOPS + i + 1) * 0x9E3779B97F4A7C15u,
        };
        NEED(!pthread_create(&threads[i], NULL, play, &players[i]));
    }
    for (int i = 0; i < LOOPS; i++) {
        pthread_join(threads[i], NULL);
        CHECK_EQ(players[i].wrong, 0);
        CHECK(players[i].submitted > 0);
        CHECK_EQ(players[i].ran + players[i].cancelled, players[i].submitted);
    }
}

static void loops_that_share_workers_do_each_task_once(void)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        const struct ed_pool_options options = {
            .workers = (unsigned)seed,
            .retire_ns = seed % 2 ? ED_MS : 1,
            .never_linger = seed > 2,
        };
        struct ed_loop loop;
        struct ed_pool pool;
        CHECK_EQ(ed_loop_init(&loop), 0);
        CHECK_EQ(ed_pool_init(&pool, &loop, &options), 0);
        play_all(&pool, seed);
        ed_pool_destroy(&pool);
        ed_loop_destroy(&loop);
    }
}

static void loops_with_workers_of_their_own_do_each_task_once(void)
{
    play_all(NULL, 100);
}

TESTS(TEST(loops_that_share_workers_do_each_task_once),
      TEST(loops_with_workers_of_their_own_do_each_task_once))
