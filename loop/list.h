/*
 * loop/list.h - doubly linked lists whose links live in the things listed
 *
 * A list is a ring: the head is a link that belongs to nothing. Embed a
 * struct ed_list in whatever is to be listed, and get back to it with
 * ED_CONTAINER_OF(). A link that is in no list is all zero, so what begins its
 * life zeroed begins it unlisted. Nothing here allocates and nothing can fail.
 */
#ifndef EDDY_LOOP_LIST_H
#define EDDY_LOOP_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* From a pointer to a member back to the struct around it. */
#define ED_CONTAINER_OF(pointer, type, member)                                 \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct ed_list {
    struct ed_list *next; // NULL: in no list
    struct ed_list *prev;
};

static inline void ed_list_init(struct ed_list *head)
{
    head->next = head;
    head->prev = head;
}

static inline bool ed_list_is_empty(const struct ed_list *head)
{
    return head->next == head;
}

static inline bool ed_list_is_linked(const struct ed_list *link)
{
    return link->next != NULL;
}

/* Makes link the last of the list. It must be in none. */
static inline void ed_list_append(struct ed_list *head, struct ed_list *link)
{
    link->next = head;
    link->prev = head->prev;
    head->prev->next = link;
    head->prev = link;
}

/* Takes link out of the list that it is in. */
static inline void ed_list_remove(struct ed_list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = NULL;
}

/* Removes the first link and returns it; NULL when there is none. */
static inline struct ed_list *ed_list_pop(struct ed_list *head)
{
    if (ed_list_is_empty(head))
        return NULL;

    struct ed_list *first = head->next;
    head->next = first->next;
    head->next->prev = head;
    first->next = NULL;
    return first;
}

/* Moves all that from holds, in order, to the end of to. */
static inline void ed_list_move_all(struct ed_list *to, struct ed_list *from)
{
    if (ed_list_is_empty(from))
        return;

    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    ed_list_init(from);
}

#endif
