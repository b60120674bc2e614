#include "loop/wheel.h"

#include "test/tap.h"

static struct ed_wheel wheel;

/* A small generator of our own: the same numbers everywhere. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void take_all_due(uint64_t now, struct ed_list *due)
{
    while (ed_wheel_take_due(&wheel, now, due))
        ;
}

static struct ed_wheel_node *take_first(struct ed_list *due)
{
    struct ed_list *link = ed_list_pop(due);
    return link ? ED_CONTAINER_OF(link, struct ed_wheel_node, link) : NULL;
}

static void an_empty_wheel_has_nothing_due(void)
{
    struct ed_list due;
    ed_list_init(&due);
    ed_wheel_init(&wheel, 1000);
    CHECK(ed_wheel_next(&wheel) == ED_WHEEL_NEVER);
    take_all_due(UINT64_MAX, &due);
    CHECK(ed_list_is_empty(&due));
}

static void a_node_is_due_at_its_deadline_and_not_before(void)
{
    // One for each level, and around the borders between levels.
    for (unsigned bit = 0; bit < 63; bit++) {
        for (int off = -1; off <= 1; off++) {
            struct ed_wheel_node node = {0};
            struct ed_list due;
            uint64_t deadline = 12345 + (UINT64_C(1) << bit) + (uint64_t)off;
            ed_list_init(&due);
            ed_wheel_init(&wheel, 12345);
            ed_wheel_add(&wheel, &node, deadline);
            CHECK(ed_wheel_next(&wheel) == deadline);
            if (deadline > 12345) {
                take_all_due(deadline - 1, &due);
                CHECK(ed_list_is_empty(&due));
                CHECK(ed_wheel_next(&wheel) == deadline);
            }
            take_all_due(deadline, &due);
            CHECK(take_first(&due) == &node);
            CHECK(ed_wheel_next(&wheel) == ED_WHEEL_NEVER);
        }
    }
}

static void a_deadline_in_the_past_is_due_at_once(void)
{
    struct ed_wheel_node node = {0};
    struct ed_list due;
    ed_list_init(&due);
    ed_wheel_init(&wheel, 5000);
    ed_wheel_add(&wheel, &node, 10);
    CHECK(ed_wheel_next(&wheel) <= 5000);
    take_all_due(5000, &due);
    CHECK(take_first(&due) == &node);
}

static void equal_deadlines_come_in_the_order_added(void)
{
    enum { COUNT = 300 };
    static struct ed_wheel_node nodes[COUNT];
    uint64_t now = 7, deadline = now + 1000000007;
    struct ed_list due;
    ed_list_init(&due);
    ed_wheel_init(&wheel, now);
    // As the time comes nearer, nodes are added at lower and lower levels.
    for (int i = 0; i < COUNT; i++) {
        nodes[i] = (struct ed_wheel_node){0};
        ed_wheel_add(&wheel, &nodes[i], deadline);
        now += (deadline - now) / 8;
        take_all_due(now, &due);
    }
    CHECK(ed_list_is_empty(&due));
    take_all_due(deadline, &due);
    for (int i = 0; i < COUNT; i++)
        CHECK(take_first(&due) == &nodes[i]);
}

static void a_removed_node_is_gone(void)
{
    struct ed_wheel_node a = {0}, b = {0};
    struct ed_list due;
    ed_list_init(&due);
    ed_wheel_init(&wheel, 0);
    ed_wheel_add(&wheel, &a, 100);
    ed_wheel_add(&wheel, &b, 100);
    ed_wheel_remove(&wheel, &a);
    CHECK(!ed_list_is_linked(&a.link));
    CHECK(ed_wheel_next(&wheel) == 100);
    ed_wheel_remove(&wheel, &b);
    CHECK(ed_wheel_next(&wheel) == ED_WHEEL_NEVER);
    CHECK_EQ(wheel.levels, 0);
}

static void a_due_node_can_still_be_removed(void)
{
    struct ed_wheel_node a = {0}, b = {0};
    struct ed_list due;
    ed_list_init(&due);
    ed_wheel_init(&wheel, 0);
    ed_wheel_add(&wheel, &a, 100);
    ed_wheel_add(&wheel, &b, 200);
    take_all_due(200, &due);
    ed_wheel_remove(&wheel, &a);
    CHECK(take_first(&due) == &b);
    CHECK(take_first(&due) == NULL);
}

static void a_crowded_slot_is_opened_early_but_nothing_is_due_early(void)
{
    enum { COUNT = 1000 };
    static struct ed_wheel_node nodes[COUNT];
    struct ed_list due;
    ed_list_init(&due);
    ed_wheel_init(&wheel, 0);
    for (int i = 0; i < COUNT; i++) {
        nodes[i] = (struct ed_wheel_node){0};
        ed_wheel_add(&wheel, &nodes[i], 2000000000 + (uint64_t)i);
    }
    uint64_t now = 0;
    int looks = 0;
    while ((now = ed_wheel_next(&wheel)) < 2000000000) {
        take_all_due(now, &due);
        CHECK(ed_list_is_empty(&due));
        NEED(looks++ < ED_WHEEL_LEVELS);
    }
    CHECK(now == 2000000000);
}

/* A plain model: an array that is searched for the least (deadline, order). */
struct model {
    struct ed_wheel_node node;
    uint64_t deadline;
    uint64_t order;
    bool is_in;
};

static void random_use_agrees_with_a_plain_model(void)
{
    enum { COUNT = 200, STEPS = 20000 };
    static struct model model[COUNT];
    for (uint64_t seed = 1; seed <= 10; seed++) {
        uint64_t random = seed * 0x9E3779B97F4A7C15u, now = seed, order = 0;
        memset(model, 0, sizeof model);
        ed_wheel_init(&wheel, now);
        for (int step = 0; step < STEPS; step++) {
            struct model *m = &model[next_random(&random) % COUNT];
            if (m->is_in) {
                ed_wheel_remove(&wheel, &m->node);
                m->is_in = false;
            } else {
                // Of any magnitude; small steps make many equal deadlines.
                uint64_t r = next_random(&random);
                m->deadline = now + (r >> (r % 40 + 24)) / 4 * 4;
                m->order = order++;
                m->is_in = true;
                ed_wheel_add(&wheel, &m->node, m->deadline);
            }
            if (step % 8)
                continue;

            struct ed_list due;
            ed_list_init(&due);
            uint64_t r = next_random(&random);
            now += r >> (r % 30 + 34);
            CHECK(ed_wheel_next(&wheel) == ED_WHEEL_NEVER ||
                  ed_wheel_next(&wheel) >= wheel.time_ns);
            take_all_due(now, &due);
            for (;;) {
                struct model *least = NULL;
                for (int i = 0; i < COUNT; i++) {
                    struct model *c = &model[i];
                    if (c->is_in && c->deadline <= now &&
                        (!least || c->deadline < least->deadline ||
                         (c->deadline == least->deadline &&
                          c->order < least->order)))
                        least = c;
                }
                NEED(take_first(&due) == (least ? &least->node : NULL));
                if (!least)
                    break;
                least->is_in = false;
            }
        }
    }
}

TESTS(TEST(an_empty_wheel_has_nothing_due),
      TEST(a_node_is_due_at_its_deadline_and_not_before),
      TEST(a_deadline_in_the_past_is_due_at_once),
      TEST(equal_deadlines_come_in_the_order_added),
      TEST(a_removed_node_is_gone), TEST(a_due_node_can_still_be_removed),
      TEST(a_crowded_slot_is_opened_early_but_nothing_is_due_early),
      TEST(random_use_agrees_with_a_plain_model))
