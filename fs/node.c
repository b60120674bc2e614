/*
 * fs/node.c - the tree of what is watched, and where to find it
 *
 * A node knows its parent and its own name; what a path is follows from that,
 * so that to rename a directory is to change one node, however much is below.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/notify.h"

/* ---- tables -------------------------------------------------------------- */

void ed_fs_table_init(struct ed_fs_table *table)
{
    *table = (struct ed_fs_table){.size = 1};
    table->buckets = &table->first;
}

void ed_fs_table_destroy(struct ed_fs_table *table)
{
    if (table->buckets != &table->first)
        free(table->buckets);
}

static struct ed_fs_link **bucket_of(const struct ed_fs_table *table,
                                     uint32_t hash)
{
    return &table->buckets[hash & (table->size - 1)];
}

static void grow_table(struct ed_fs_table *table)
{
    struct ed_fs_table bigger = {.size = table->size * 2,
                                 .count = table->count};
    bigger.buckets = calloc(bigger.size, sizeof(void *));
    if (!bigger.buckets)
        return;
    // What a bucket holds goes into two, which keep its order: somebody may be
    // in the midst of it.
    for (size_t i = 0; i < table->size; i++) {
        struct ed_fs_link **ends[] = {&bigger.buckets[i],
                                      &bigger.buckets[i + table->size]};
        for (struct ed_fs_link *link = table->buckets[i]; link;
             link = link->next) {
            struct ed_fs_link ***end = &ends[(link->hash & table->size) != 0];
            **end = link;
            *end = &link->next;
        }
        *ends[0] = NULL;
        *ends[1] = NULL;
    }
    ed_fs_table_destroy(table);
    *table = bigger;
}

void ed_fs_table_add(struct ed_fs_table *table, struct ed_fs_link *link,
                     uint32_t hash)
{
    if (table->count >= table->size)
        grow_table(table);
    struct ed_fs_link **bucket = bucket_of(table, hash);
    link->hash = hash;
    link->next = *bucket;
    *bucket = link;
    table->count++;
}

void ed_fs_table_remove(struct ed_fs_table *table, struct ed_fs_link *link)
{
    struct ed_fs_link **place = bucket_of(table, link->hash);
    while (*place != link)
        place = &(*place)->next;
    *place = link->next;
    table->count--;
}

struct ed_fs_link *ed_fs_table_first(const struct ed_fs_table *table,
                                     uint32_t hash)
{
    return *bucket_of(table, hash);
}

/* ---- nodes --------------------------------------------------------------- */

/* FNV-1a, over the parent's address and the name. */
static uint32_t hash_name(const struct ed_fs_node *parent, const char *name)
{
    uint32_t hash = 2166136261U;
    for (uintptr_t bits = (uintptr_t)parent; bits; bits >>= 8)
        hash = (hash ^ (uint32_t)(bits & 0xff)) * 16777619U;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619U;
    return hash;
}

struct ed_fs_node *ed_fs_node_create(struct ed_fs_watch *watch,
                                     struct ed_fs_node *parent,
                                     const char *name)
{
    struct ed_fs_node *node = calloc(1, watch->notifier->node_size);
    if (!node)
        return NULL;
    if (name) {
        node->name = strdup(name);
        if (!node->name) {
            free(node);
            return NULL;
        }
    }
    node->watch = watch;
    node->parent = parent;
    node->handle = -1;
    ed_list_init(&node->children);
    if (parent)
        ed_list_append(&parent->children, &node->link);
    watch->nodes++;
    return node;
}

static struct ed_fs_node *node_at(struct ed_list *link)
{
    return ED_CONTAINER_OF(link, struct ed_fs_node, link);
}

static void free_leaf(struct ed_fs_node *node)
{
    struct ed_fs_watch *watch = node->watch;
    struct ed_fs_notifier *notifier = watch->notifier;
    ed_fs_notifier_forget(node);
    if (notifier->reading == node) {
        if (notifier->dir)
            closedir(notifier->dir);
        notifier->dir = NULL;
        notifier->reading = NULL;
        watch->unread--;
    }
    if (ed_list_is_linked(&node->queue_link)) {
        ed_list_remove(&node->queue_link);
        watch->unread--;
    }
    if (node->is_named)
        ed_fs_table_remove(&notifier->names, &node->by_name);
    if (node->parent)
        ed_list_remove(&node->link);
    watch->nodes--;
    free(node->name);
    free(node);
}

/* Without recursion, since a tree can be deeper than a stack. */
void ed_fs_node_free_children(struct ed_fs_node *top)
{
    struct ed_fs_node *node = top;
    for (;;) {
        while (!ed_list_is_empty(&node->children))
            node = node_at(node->children.next);
        if (node == top)
            return;
        struct ed_fs_node *parent = node->parent;
        free_leaf(node);
        node = parent;
    }
}

void ed_fs_node_free(struct ed_fs_node *node)
{
    ed_fs_node_free_children(node);
    free_leaf(node);
}

struct ed_fs_node *ed_fs_node_find(const struct ed_fs_node *parent,
                                   const char *name)
{
    uint32_t hash = hash_name(parent, name);
    struct ed_fs_link *link =
        ed_fs_table_first(&parent->watch->notifier->names, hash);
    for (; link; link = link->next) {
        struct ed_fs_node *node =
            ED_CONTAINER_OF(link, struct ed_fs_node, by_name);
        if (link->hash == hash && node->parent == parent &&
            strcmp(node->name, name) == 0)
            return node;
    }
    return NULL;
}

void ed_fs_node_enter(struct ed_fs_node *node)
{
    node->is_named = true;
    ed_fs_table_add(&node->watch->notifier->names, &node->by_name,
                    hash_name(node->parent, node->name));
}

bool ed_fs_node_is_below(const struct ed_fs_node *below,
                         const struct ed_fs_node *above)
{
    while (below && below != above)
        below = below->parent;
    return below != NULL;
}

int ed_fs_node_move(struct ed_fs_node *node, struct ed_fs_node *parent,
                    const char *name)
{
    if (ed_fs_node_is_below(parent, node))
        return -ELOOP;
    char *copy = strdup(name);
    if (!copy)
        return -ENOMEM;

    if (node->is_named)
        ed_fs_table_remove(&node->watch->notifier->names, &node->by_name);
    ed_list_remove(&node->link);
    free(node->name);
    node->name = copy;
    node->parent = parent;
    ed_list_append(&parent->children, &node->link);
    ed_fs_node_enter(node);
    return 0;
}

struct ed_fs_node *ed_fs_node_next(const struct ed_fs_node *node,
                                   const struct ed_fs_node *top)
{
    if (!ed_list_is_empty(&node->children))
        return node_at(node->children.next);
    while (node != top && node->link.next == &node->parent->children)
        node = node->parent;
    return node == top ? NULL : node_at(node->link.next);
}

/* ---- paths --------------------------------------------------------------- */

enum { PATH_SIZE = sizeof(((struct ed_fs_notifier *)0)->path) };

/* Puts text, and a slash if something follows, in front of what is at path. */
static char *put_before(char *path, const char *buffer, const char *text)
{
    size_t size = strlen(text);
    bool has_slash = *path != '\0';
    if ((size_t)(path - buffer) < size + has_slash)
        return NULL;
    if (has_slash)
        *--path = '/';
    return memcpy(path - size, text, size);
}

static char *build_path(const struct ed_fs_place *place, char *buffer)
{
    char *path = buffer + PATH_SIZE - 1;
    *path = '\0';
    if (place->name)
        path = put_before(path, buffer, place->name);
    for (const struct ed_fs_node *node = place->directory; path && node->parent;
         node = node->parent)
        path = put_before(path, buffer, node->name);
    return path;
}

const char *ed_fs_path(const struct ed_fs_place *place, char *buffer)
{
    return build_path(place, buffer);
}

const char *ed_fs_full_path(const struct ed_fs_place *place, char *buffer)
{
    const char *top = place->directory->watch->path;
    char *path = build_path(place, buffer);
    if (!path)
        return NULL;
    // "/" has its slash already.
    bool is_slash_enough = *path && strcmp(top, "/") == 0;
    return put_before(path, buffer, is_slash_enough ? "" : top);
}
