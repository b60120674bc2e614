/*
 * loop/wheel.c - the hierarchical timing wheel
 *
 * Invariants, between calls:
 *
 * - A node is at level l, slot s, where l is the place of the highest base-64
 *   digit in which max(deadline, time as it was added) and time_ns differ, and
 *   s is that digit of the deadline. So all digits above l are those of the
 *   time, and every node of a level is due before every node of a higher one.
 * - Within a level slots are in order of time, for no slot before the time's
 * own digit is filled.
 * - Bit s of filled[l] is set exactly when that slot holds a node; bit l of
 *   levels exactly when filled[l] is not 0.
 * - Two nodes of one deadline are always in the same slot: where a node is
 *   depends on nothing but its deadline and the time. Slots are first in, first
 *   out and are emptied in order, hence so are equal deadlines.
 */
#include "loop/wheel.h"

/* How many nodes of a slot ed_wheel_next() is willing to look at. */
enum { LOOK_AT_MOST = 16 };

static unsigned lowest_bit(uint64_t bits)
{
    return (unsigned)__builtin_ctzll(bits);
}

static struct ed_wheel_node *node_of(struct ed_list *link)
{
    return ED_CONTAINER_OF(link, struct ed_wheel_node, link);
}

static void insert(struct ed_wheel *wheel, struct ed_wheel_node *node)
{
    uint64_t when = node->deadline_ns;
    if (when < wheel->time_ns)
        when = wheel->time_ns;

    // Or-ing 1 changes no level and spares the case of no difference.
    uint64_t differs = (when ^ wheel->time_ns) | 1;
    unsigned level = (63 - (unsigned)__builtin_clzll(differs)) / ED_WHEEL_BITS;
    unsigned slot =
        (unsigned)(when >> (level * ED_WHEEL_BITS)) % ED_WHEEL_SLOTS;

    ed_list_append(&wheel->slots[level * ED_WHEEL_SLOTS + slot], &node->link);
    wheel->filled[level] |= UINT64_C(1) << slot;
    wheel->levels |= 1u << level;
}

static void mark_empty(struct ed_wheel *wheel, unsigned level, unsigned slot)
{
    wheel->filled[level] &= ~(UINT64_C(1) << slot);
    if (!wheel->filled[level])
        wheel->levels &= ~(1u << level);
}

/* The time at which the first filled slot of a level begins. */
static uint64_t slot_start(const struct ed_wheel *wheel, unsigned level)
{
    unsigned shift = level * ED_WHEEL_BITS;
    uint64_t slot = lowest_bit(wheel->filled[level]);
    uint64_t above = shift + ED_WHEEL_BITS < 64
                         ? wheel->time_ns >> (shift + ED_WHEEL_BITS)
                                                 << (shift + ED_WHEEL_BITS)
                         : 0;

    return above | slot << shift;
}

void ed_wheel_init(struct ed_wheel *wheel, uint64_t now_ns)
{
    wheel->time_ns = now_ns;
    wheel->levels = 0;
    for (unsigned i = 0; i < ED_WHEEL_LEVELS; i++)
        wheel->filled[i] = 0;
    for (unsigned i = 0; i < ED_WHEEL_LEVELS * ED_WHEEL_SLOTS; i++)
        ed_list_init(&wheel->slots[i]);
}

void ed_wheel_add(struct ed_wheel *wheel, struct ed_wheel_node *node,
                  uint64_t deadline_ns)
{
    node->deadline_ns = deadline_ns;
    insert(wheel, node);
}

void ed_wheel_remove(struct ed_wheel *wheel, struct ed_wheel_node *node)
{
    struct ed_list *next = node->link.next;
    bool was_alone = next == node->link.prev;
    ed_list_remove(&node->link);

    // What is left of a list of one is its head: a slot's, unless the node was
    // due already. Compared as numbers, since it may point into no slot.
    uintptr_t offset = (uintptr_t)next - (uintptr_t)wheel->slots;
    if (was_alone && offset < sizeof wheel->slots) {
        unsigned index = (unsigned)(offset / sizeof *next);
        mark_empty(wheel, index / ED_WHEEL_SLOTS, index % ED_WHEEL_SLOTS);
    }
}

uint64_t ed_wheel_next(const struct ed_wheel *wheel)
{
    if (!wheel->levels)
        return ED_WHEEL_NEVER;

    unsigned level = lowest_bit(wheel->levels);
    unsigned slot = lowest_bit(wheel->filled[level]);
    const struct ed_list *head = &wheel->slots[level * ED_WHEEL_SLOTS + slot];
    uint64_t earliest = ED_WHEEL_NEVER;
    unsigned looked_at = 0;
    for (struct ed_list *link = head->next; link != head; link = link->next) {
        if (looked_at++ == LOOK_AT_MOST)
            return slot_start(wheel, level);
        if (node_of(link)->deadline_ns < earliest)
            earliest = node_of(link)->deadline_ns;
    }
    return earliest;
}

/*
 * Fetches the nodes of a slot into the cache, from both ends at once: where the
 * next one is is known only when the one before it has come, so this is two
 * waits at a time instead of one after the other.
 */
static void fetch(const struct ed_list *head)
{
    const struct ed_list *front = head->next;
    const struct ed_list *back = head->prev;
    while (front != back && front->next != back) {
        front = front->next;
        back = back->prev;
    }
}

/* Moves the nodes of a slot to the levels below. */
static void open_slot(struct ed_wheel *wheel, struct ed_list *head)
{
    fetch(head);
    struct ed_list opened;
    ed_list_init(&opened);
    ed_list_move_all(&opened, head);
    struct ed_list *link = opened.next;
    while (link != &opened) {
        struct ed_list *next = link->next;
        insert(wheel, node_of(link));
        link = next;
    }
}

bool ed_wheel_take_due(struct ed_wheel *wheel, uint64_t now_ns,
                       struct ed_list *due)
{
    while (wheel->levels) {
        unsigned level = lowest_bit(wheel->levels);
        uint64_t start = slot_start(wheel, level);
        if (start > now_ns)
            break;

        unsigned slot = lowest_bit(wheel->filled[level]);
        struct ed_list *head = &wheel->slots[level * ED_WHEEL_SLOTS + slot];
        mark_empty(wheel, level, slot);
        if (start > wheel->time_ns)
            wheel->time_ns = start;

        // All of a slot of level 0 have one deadline. So has a single node, and
        // it need not pass through the levels below.
        bool is_single = head->next == head->prev;
        if (level == 0 ||
            (is_single && node_of(head->next)->deadline_ns <= now_ns)) {
            ed_list_move_all(due, head);
            return true;
        }
        open_slot(wheel, head);
    }
    if (now_ns > wheel->time_ns)
        wheel->time_ns = now_ns;
    return false;
}
