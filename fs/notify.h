/*
 * fs/notify.h - what the watches of a loop have in common
 *
 * Internal. A notifier is there while a loop has watches (loop->notifier):
 *
 *     ed_fs_watch -> root node -> node -> node     directories that are known
 *                                   \--> node      (with kqueue, files, too)
 *
 *     notifier: the descriptor that the system tells us by
 *               names        (parent, name) -> node
 *               queue        directories to be read, by and by, in an immediate
 *
 * watch.c reads directories and calls back, node.c keeps the nodes. What the
 * system has to say is the business of inotify.c or vnode.c, whichever the
 * build picks.
 *
 * Any call that ends in ed_fs_tell() may stop watches, and so free nodes: they
 * return whether the watch concerned is still there. If it is, so are its
 * nodes. Others may be gone.
 */
#ifndef EDDY_FS_NOTIFY_H
#define EDDY_FS_NOTIFY_H

#include <dirent.h>
#include <stdint.h>
#include <sys/stat.h>

#include "fs/watch.h"

/* ---- a hash table whose links live in what is in it --------------------- */

struct ed_fs_link {
    struct ed_fs_link *next; // in the same bucket
    uint32_t hash;
};

struct ed_fs_table {
    struct ed_fs_link **buckets; // size of them, a power of two; first, or ours
    size_t size;
    size_t count;
    struct ed_fs_link *first;
};

void ed_fs_table_init(struct ed_fs_table *table);
void ed_fs_table_destroy(struct ed_fs_table *table);

/* Cannot fail: without memory to grow the table is only slower. */
void ed_fs_table_add(struct ed_fs_table *table, struct ed_fs_link *link,
                     uint32_t hash);
void ed_fs_table_remove(struct ed_fs_table *table, struct ed_fs_link *link);

/* Those that follow by next may have another hash. */
struct ed_fs_link *ed_fs_table_first(const struct ed_fs_table *table,
                                     uint32_t hash);

/* ---- nodes -------------------------------------------------------------- */

struct ed_fs_node {
    struct ed_fs_watch *watch;
    struct ed_fs_node *parent;   // NULL: the root
    char *name;                  // ours; NULL: the root
    struct ed_list link;         // in parent->children
    struct ed_list children;     // nodes
    struct ed_list queue_link;   // in notifier->queue
    struct ed_fs_link by_name;   // in notifier->names, if is_named
    struct ed_fs_link by_handle; // the system's part may have a table
    int handle;                  // the system's part; -1: not watched
    enum ed_fs_event_kind news;  // what its entries are; READY: none
    bool is_named;
    bool is_directory;
    bool is_stale; // with what was told of it; to be told anew
};

struct ed_fs_notifier {
    struct ed_loop *loop;
    struct ed_watch ready; // of the descriptor by which the system tells
    struct ed_hook work;   // while something is in the queue
    struct ed_list watches;
    struct ed_fs_watch *told; // whose callback runs; NULL once it is stopped
    unsigned busy;            // users within; not freed meanwhile
    bool reads_always;        // directories are read also if nobody asked
    size_t node_size;         // of what begins with a struct ed_fs_node
    struct ed_fs_table names;
    struct ed_list queue;
    struct ed_fs_node *reading; // a directory, from dir; NULL: none
    DIR *dir;
    char path[4096]; // of what is told, or opened
    char old_path[4096];
};

/* A name in a directory; NULL: the directory itself. */
struct ed_fs_place {
    const struct ed_fs_node *directory;
    const char *name;
};

/* Unnamed: in parent, but not yet to be found. NULL: out of memory. */
struct ed_fs_node *ed_fs_node_create(struct ed_fs_watch *watch,
                                     struct ed_fs_node *parent,
                                     const char *name);

/* With all that is below. */
void ed_fs_node_free(struct ed_fs_node *node);
void ed_fs_node_free_children(struct ed_fs_node *top);

struct ed_fs_node *ed_fs_node_find(const struct ed_fs_node *parent,
                                   const char *name);

/* From now on it is found. */
void ed_fs_node_enter(struct ed_fs_node *node);

/* Or is the same. */
bool ed_fs_node_is_below(const struct ed_fs_node *below,
                         const struct ed_fs_node *above);

/*
 * With all that is below. Returns 0, -ENOMEM, or -ELOOP if parent is below
 * node; then nothing has changed.
 */
int ed_fs_node_move(struct ed_fs_node *node, struct ed_fs_node *parent,
                    const char *name);

/*
 * The next node in a walk of the tree that begins at top, parents first. NULL
 * at the end.
 */
struct ed_fs_node *ed_fs_node_next(const struct ed_fs_node *node,
                                   const struct ed_fs_node *top);

/*
 * The path of a place, seen from the root; or with that of the root in front.
 * In buffer, of 4096 bytes; NULL: it does not fit.
 */
const char *ed_fs_path(const struct ed_fs_place *place, char *buffer);
const char *ed_fs_full_path(const struct ed_fs_place *place, char *buffer);

/* ---- watch.c, for the system's part ------------------------------------- */

/* Around whatever may call back; the second may free the notifier. */
void ed_fs_notifier_enter(struct ed_fs_notifier *notifier);
void ed_fs_notifier_leave(struct ed_fs_notifier *notifier);

/* Has a directory read soon. */
void ed_fs_read_later(struct ed_fs_node *node);

/* These return whether the watch is still there. */
bool ed_fs_tell(struct ed_fs_watch *watch, enum ed_fs_event_kind kind,
                struct ed_fs_place place, bool is_directory);
bool ed_fs_tell_renamed(struct ed_fs_watch *watch, struct ed_fs_place old,
                        struct ed_fs_place new, bool is_directory);

/* What is at a place cannot be watched. */
bool ed_fs_tell_failed(struct ed_fs_watch *watch, struct ed_fs_place place,
                       bool is_directory, int error);

/* Something is lost: all is read anew. */
bool ed_fs_tell_overflow(struct ed_fs_watch *watch);

/* The watch is over. */
void ed_fs_tell_gone(struct ed_fs_watch *watch);

/* ---- the system's part: inotify.c, vnode.c ------------------------------ */

/* Returns 0 or -errno. */
int ed_fs_notifier_create(struct ed_loop *loop,
                          struct ed_fs_notifier **notifier);
void ed_fs_notifier_free(struct ed_fs_notifier *notifier);

/* What is in the system's queue, so far as it can be taken without waiting. */
void ed_fs_notifier_catch_up(struct ed_fs_notifier *notifier);

/*
 * Sees to it that a directory is watched. Returns a descriptor to read it from,
 * the caller's, or -errno.
 */
int ed_fs_notifier_open(struct ed_fs_node *node);

/* A node is about to be freed: no more is told of it. */
void ed_fs_notifier_forget(struct ed_fs_node *node);

/*
 * The directory is about to be read, has such an entry, has no more. fd is open
 * to it, type is that of struct dirent. The second returns whether the watch is
 * still there.
 */
void ed_fs_notifier_begin(struct ed_fs_node *node);
bool ed_fs_notifier_entry(struct ed_fs_node *node, int fd, const char *name,
                          unsigned char type);
void ed_fs_notifier_end(struct ed_fs_node *node);

/* All have been read. */
void ed_fs_notifier_settle(struct ed_fs_notifier *notifier);

#endif
