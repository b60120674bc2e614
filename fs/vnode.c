/*
 * fs/vnode.c - watches of files on macOS, FreeBSD, OpenBSD and NetBSD
 *
 * EVFILT_VNODE needs an open descriptor and has no names: a directory says that
 * entries of it have changed, but not which, a file that it was written to, but
 * not what it is called. So there is a node, with a descriptor, for each
 * directory and each regular file in it, and a directory that has changed is
 * read anew and compared:
 *
 *     an entry that was not there                appeared
 *     a node whose name is not there any more,   vanished
 *       or is another file's now
 *
 * When all directories that have changed are read, what appeared and what
 * vanished are settled: the same file in both is a rename. A node has its name
 * until it is told that it vanished, and gets it when it is told that it
 * appeared; so renames are told in an order in which none takes a name that is
 * still in use.
 *
 * That a descriptor is open keeps the number of a file from being used again,
 * so that another file cannot be taken for it.
 */
#include <sys/types.h>

#include <sys/event.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/notify.h"

enum {
    NOTES = NOTE_DELETE | NOTE_WRITE | NOTE_EXTEND | NOTE_ATTRIB | NOTE_LINK |
            NOTE_RENAME | NOTE_REVOKE,
    MOST_AT_ONCE = 64,
    MOST_TIMES = 16, // in a turn
};

/* macOS has a way to open files that does not hold up an unmount. */
#ifdef O_EVTONLY
enum { OPEN_TO_WATCH = O_EVTONLY };
#else
enum { OPEN_TO_WATCH = O_RDONLY };
#endif

struct vnode {
    struct ed_fs_node node;
    dev_t dev;
    ino_t ino;
    mode_t kind; // S_IFMT
    off_t size;
    unsigned notes;             // that have come
    struct ed_list noted_link;  // in notes->noted, if there are any
    struct ed_list change_link; // in notes->appeared, vanished, or settle()'s
    unsigned reading;           // when its name was last found
    bool is_vanished;           // is in vanished, or about to be renamed
    struct vnode *origin;       // what it was before a rename; or NULL
    struct vnode *heir;         // what it is after it
};

struct vnodes {
    struct ed_fs_notifier base;
    struct ed_list noted;
    struct ed_list appeared;
    struct ed_list vanished;
    unsigned readings; // of directories, so far
};

static struct vnode *vnode_of(struct ed_fs_node *node)
{
    return ED_CONTAINER_OF(node, struct vnode, node);
}

static struct vnodes *vnodes_of(const struct ed_fs_watch *watch)
{
    return ED_CONTAINER_OF(watch->notifier, struct vnodes, base);
}

static struct vnode *pop_change(struct ed_list *list)
{
    return ED_CONTAINER_OF(ed_list_pop(list), struct vnode, change_link);
}

static struct ed_fs_place place_of(const struct vnode *vnode)
{
    return (struct ed_fs_place){vnode->node.parent, vnode->node.name};
}

/* ---- descriptors --------------------------------------------------------- */

static void identify(struct vnode *vnode, const struct stat *stat)
{
    vnode->dev = stat->st_dev;
    vnode->ino = stat->st_ino;
    vnode->kind = stat->st_mode & S_IFMT;
    vnode->size = stat->st_size;
    vnode->node.is_directory = S_ISDIR(stat->st_mode);
}

static bool is_same_file(const struct vnode *vnode, const struct stat *stat)
{
    return vnode->dev == stat->st_dev && vnode->ino == stat->st_ino &&
           vnode->kind == (stat->st_mode & S_IFMT);
}

static int add_event(struct ed_fs_node *node, int fd)
{
    struct kevent event = {0};
    event.ident = (uintptr_t)fd;
    event.filter = EVFILT_VNODE;
    event.flags = EV_ADD | EV_CLEAR;
    event.fflags = NOTES;
    event.udata = (__typeof__(event.udata))node;
    int queue = node->watch->notifier->ready.fd;
    return kevent(queue, &event, 1, NULL, 0, NULL) ? -errno : 0;
}

/* Nothing that a program could be held up by: no FIFOs, no devices. */
static bool can_be_watched(const struct vnode *vnode)
{
    const struct ed_fs_watch *watch = vnode->node.watch;
    return S_ISREG(vnode->kind) ||
           (S_ISDIR(vnode->kind) && watch->extent != ED_FS_WATCH_FILE);
}

/*
 * Opens what the node stands for and watches it. Returns 0, or -errno; -ENOENT
 * if something else has its name now, which its directory will tell.
 */
static int watch_vnode(struct vnode *vnode)
{
    struct ed_fs_node *node = &vnode->node;
    int flags = OPEN_TO_WATCH | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC;
    int fd = node->parent ? openat(node->parent->handle, node->name, flags)
                          : open(node->watch->path, flags | O_DIRECTORY);
    if (fd < 0)
        return -errno;
    struct stat stat;
    int err = fstat(fd, &stat) ? -errno : 0;
    if (!err && node->parent && !is_same_file(vnode, &stat))
        err = -ENOENT;
    if (!err)
        err = add_event(node, fd);
    if (err) {
        close(fd);
        return err;
    }
    identify(vnode, &stat);
    node->handle = fd;
    node->watch->watched++;
    return 0;
}

int ed_fs_notifier_open(struct ed_fs_node *node)
{
    int err = node->handle < 0 ? watch_vnode(vnode_of(node)) : 0;
    if (err)
        return err;
    int fd = openat(node->handle, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static void unlist(struct ed_list *link)
{
    if (ed_list_is_linked(link))
        ed_list_remove(link);
}

static void part_from_origin(struct vnode *vnode)
{
    if (vnode->origin)
        vnode->origin->heir = NULL;
    vnode->origin = NULL;
}

void ed_fs_notifier_forget(struct ed_fs_node *node)
{
    struct vnode *vnode = vnode_of(node);
    unlist(&vnode->noted_link);
    unlist(&vnode->change_link);
    part_from_origin(vnode);
    if (vnode->heir)
        part_from_origin(vnode->heir);
    if (node->handle < 0)
        return;
    close(node->handle); // and so it is out of the queue
    node->handle = -1;
    node->watch->watched--;
}

/* ---- directories that are read and compared ------------------------------ */

/* What an earlier reading has found, and has not been told yet, is forgotten.
 */
void ed_fs_notifier_begin(struct ed_fs_node *node)
{
    struct ed_list *link = node->children.next;
    while (link != &node->children) {
        struct vnode *vnode = ED_CONTAINER_OF(link, struct vnode, node.link);
        link = link->next;
        if (vnode->is_vanished)
            ed_list_remove(&vnode->change_link);
        vnode->is_vanished = false;
        if (!vnode->node.is_named)
            ed_fs_node_free(&vnode->node);
    }
    vnode_of(node)->reading = ++vnodes_of(node->watch)->readings;
}

static void vanish(struct vnode *vnode)
{
    vnode->is_vanished = true;
    ed_list_append(&vnodes_of(vnode->node.watch)->vanished,
                   &vnode->change_link);
}

/*
 * A node has its name, new or not: has it watched, its directory read, and
 * afterwards what its watch returned told. That something else has the name by
 * now is no failure.
 */
static int follow(struct vnode *vnode)
{
    struct ed_fs_node *node = &vnode->node;
    if (node->handle >= 0 || !can_be_watched(vnode))
        return 0;
    int err = watch_vnode(vnode);
    if (!err && node->is_directory && node->watch->extent == ED_FS_WATCH_TREE)
        ed_fs_read_later(node);
    return err == -ENOENT || err == -ELOOP ? 0 : err;
}

static bool tell_if_failed(struct vnode *vnode, int err)
{
    return !err || ed_fs_tell_failed(vnode->node.watch, place_of(vnode),
                                     vnode->node.is_directory, err);
}

/* Enters a new node. */
static bool take_up(struct vnode *vnode, enum ed_fs_event_kind news)
{
    struct ed_fs_node *node = &vnode->node;
    ed_fs_node_enter(node);
    node->news = news;
    int err = follow(vnode);
    if (news != ED_FS_READY &&
        !ed_fs_tell(node->watch, news, place_of(vnode), node->is_directory))
        return false;
    return tell_if_failed(vnode, err);
}

bool ed_fs_notifier_entry(struct ed_fs_node *node, int fd, const char *name,
                          unsigned char type)
{
    (void)type;
    struct vnode *directory = vnode_of(node);
    struct ed_fs_watch *watch = node->watch;
    struct stat stat;
    if (fstatat(fd, name, &stat, AT_SYMLINK_NOFOLLOW))
        return true; // gone again
    struct ed_fs_node *known = ed_fs_node_find(node, name);
    if (known && is_same_file(vnode_of(known), &stat)) {
        vnode_of(known)->reading = directory->reading;
        return true;
    }

    if (known && !vnode_of(known)->is_vanished)
        vanish(vnode_of(known));
    struct ed_fs_node *new = ed_fs_node_create(watch, node, name);
    if (!new)
        return ed_fs_tell_failed(watch, (struct ed_fs_place){node, name},
                                 S_ISDIR(stat.st_mode), -ENOMEM);
    struct vnode *vnode = vnode_of(new);
    identify(vnode, &stat);
    vnode->reading = directory->reading;
    if (!known && node->news != ED_FS_CREATED)
        return take_up(vnode, node->news);
    ed_list_append(&vnodes_of(watch)->appeared, &vnode->change_link);
    return true;
}

void ed_fs_notifier_end(struct ed_fs_node *node)
{
    unsigned reading = vnode_of(node)->reading;
    for (struct ed_list *link = node->children.next; link != &node->children;
         link = link->next) {
        struct vnode *vnode = ED_CONTAINER_OF(link, struct vnode, node.link);
        if (vnode->reading != reading && !vnode->is_vanished)
            vanish(vnode);
    }
    // What appears from now on is news.
    node->news = ED_FS_CREATED;
}

/* ---- settling ------------------------------------------------------------ */

static uint32_t hash_ino(ino_t ino)
{
    return (uint32_t)((uint64_t)ino * UINT64_C(11400714819323198485) >> 32);
}

/* Finds for what appeared what of it vanished. */
static void find_renames(struct vnodes *vnodes)
{
    struct ed_fs_table by_ino;
    struct ed_list *link;
    ed_fs_table_init(&by_ino);
    for (link = vnodes->vanished.next; link != &vnodes->vanished;
         link = link->next) {
        struct vnode *old = ED_CONTAINER_OF(link, struct vnode, change_link);
        ed_fs_table_add(&by_ino, &old->node.by_handle, hash_ino(old->ino));
    }
    for (link = vnodes->appeared.next; link != &vnodes->appeared;
         link = link->next) {
        struct vnode *new = ED_CONTAINER_OF(link, struct vnode, change_link);
        struct ed_fs_link *other =
            ed_fs_table_first(&by_ino, hash_ino(new->ino));
        for (; other && !new->origin; other = other->next) {
            struct vnode *old =
                ED_CONTAINER_OF(other, struct vnode, node.by_handle);
            if (old->ino != new->ino || old->dev != new->dev ||
                old->kind != new->kind || old->heir ||
                old->node.watch != new->node.watch ||
                ed_fs_node_is_below(new->node.parent, &old->node))
                continue;
            new->origin = old;
            old->heir = new;
        }
    }
    ed_fs_table_destroy(&by_ino);
}

static void tell_removed(struct vnode *vnode)
{
    struct ed_fs_node *node = &vnode->node;
    unlist(&vnode->change_link);
    if (ed_fs_tell(node->watch, ED_FS_REMOVED, place_of(vnode),
                   node->is_directory))
        ed_fs_node_free(node);
}

/* The node that was, now under its new name; the new one is not needed. */
static void tell_renamed(struct vnode *new)
{
    struct vnode *old = new->origin;
    struct ed_fs_watch *watch = old->node.watch;
    struct ed_fs_place from = {old->node.parent, NULL};
    char *name = strdup(old->node.name);
    struct ed_fs_node *parent = new->node.parent;
    int err =
        name ? ed_fs_node_move(&old->node, parent, new->node.name) : -ENOMEM;
    if (err) {
        free(name);
        ed_fs_tell_overflow(watch);
        return;
    }
    unlist(&old->change_link);
    old->is_vanished = false;
    old->reading = new->reading;
    ed_fs_node_free(&new->node); // parts from its origin
    from.name = name;
    err = follow(old);
    if (ed_fs_tell_renamed(watch, from, place_of(old), old->node.is_directory))
        tell_if_failed(old, err);
    free(name);
}

/* Who has the name that a node is to have, and is to lose it. */
static struct vnode *occupant_of(const struct vnode *vnode)
{
    struct ed_fs_node *node =
        ed_fs_node_find(vnode->node.parent, vnode->node.name);
    return node ? vnode_of(node) : NULL;
}

/*
 * Tells the renames whose new names are free, and so makes others free. Returns
 * whether there was any.
 */
static bool tell_some_renames(struct vnodes *vnodes)
{
    struct ed_list waiting;
    bool is_any = false;
    ed_list_init(&waiting);
    ed_list_move_all(&waiting, &vnodes->appeared);
    while (!ed_list_is_empty(&waiting)) {
        struct vnode *new = pop_change(&waiting);
        struct vnode *occupant = new->origin ? occupant_of(new) : NULL;
        ed_list_append(&vnodes->appeared, &new->change_link);
        if (!new->origin || (occupant && occupant->heir))
            continue;
        is_any = true;
        if (occupant)
            tell_removed(occupant);
        else
            tell_renamed(new);
    }
    return is_any;
}

/* Only circles are left, of names exchanged: one of each is no rename. */
static bool break_circle(struct vnodes *vnodes)
{
    for (struct ed_list *link = vnodes->appeared.next;
         link != &vnodes->appeared; link = link->next) {
        struct vnode *new = ED_CONTAINER_OF(link, struct vnode, change_link);
        if (!new->origin)
            continue;
        part_from_origin(new);
        return true;
    }
    return false;
}

void ed_fs_notifier_settle(struct ed_fs_notifier *notifier)
{
    struct vnodes *vnodes = ED_CONTAINER_OF(notifier, struct vnodes, base);
    find_renames(vnodes);
    do
        while (tell_some_renames(vnodes))
            ;
    while (break_circle(vnodes));
    while (!ed_list_is_empty(&vnodes->vanished))
        tell_removed(pop_change(&vnodes->vanished));
    while (!ed_list_is_empty(&vnodes->appeared)) {
        struct vnode *vnode = pop_change(&vnodes->appeared);
        // A directory that changes while it is read may have an entry twice;
        // it will be read again.
        if (occupant_of(vnode))
            ed_fs_node_free(&vnode->node);
        else
            take_up(vnode, ED_FS_CREATED);
    }
}

/* ---- events -------------------------------------------------------------- */

static void on_file_notes(struct vnode *vnode, unsigned notes)
{
    struct ed_fs_watch *watch = vnode->node.watch;
    off_t size = vnode->size;
    struct stat stat;
    if (fstat(vnode->node.handle, &stat) == 0)
        vnode->size = stat.st_size;
    // Some tell of a file that is truncated as of one whose mode is changed.
    if (((notes & (NOTE_WRITE | NOTE_EXTEND)) || vnode->size != size) &&
        !ed_fs_tell(watch, ED_FS_CHANGED, place_of(vnode), false))
        return;
    if (notes & NOTE_ATTRIB)
        ed_fs_tell(watch, ED_FS_ATTRIBUTES, place_of(vnode), false);
}

static void on_directory_notes(struct ed_fs_node *node, unsigned notes)
{
    struct ed_fs_watch *watch = node->watch;
    if (!node->parent && (notes & (NOTE_DELETE | NOTE_RENAME | NOTE_REVOKE))) {
        ed_fs_tell_gone(watch);
        return;
    }
    bool is_read = !node->parent || watch->extent == ED_FS_WATCH_TREE;
    if ((notes & (NOTE_WRITE | NOTE_EXTEND | NOTE_LINK)) && is_read)
        ed_fs_read_later(node);
    if (!(notes & NOTE_ATTRIB) || watch->extent == ED_FS_WATCH_FILE)
        return;
    ed_fs_tell(watch, ED_FS_ATTRIBUTES,
               node->parent ? place_of(vnode_of(node))
                            : (struct ed_fs_place){node, NULL},
               true);
}

static void take_notes(struct vnodes *vnodes, const struct kevent *events,
                       int count)
{
    for (int i = 0; i < count; i++) {
        struct vnode *vnode = (struct vnode *)events[i].udata;
        vnode->notes |= events[i].fflags;
        if (!ed_list_is_linked(&vnode->noted_link))
            ed_list_append(&vnodes->noted, &vnode->noted_link);
    }
}

static void tell_notes(struct vnodes *vnodes)
{
    struct ed_list *link;
    while ((link = ed_list_pop(&vnodes->noted))) {
        struct vnode *vnode = ED_CONTAINER_OF(link, struct vnode, noted_link);
        unsigned notes = vnode->notes;
        vnode->notes = 0;
        if (vnode->node.is_directory)
            on_directory_notes(&vnode->node, notes);
        else if (!vnode->is_vanished)
            on_file_notes(vnode, notes);
    }
}

void ed_fs_notifier_catch_up(struct ed_fs_notifier *notifier)
{
    static const struct timespec no_time = {0};
    struct vnodes *vnodes = ED_CONTAINER_OF(notifier, struct vnodes, base);
    struct kevent events[MOST_AT_ONCE];
    for (int i = 0; i < MOST_TIMES; i++) {
        int count =
            kevent(notifier->ready.fd, NULL, 0, events, MOST_AT_ONCE, &no_time);
        if (count <= 0)
            return;
        take_notes(vnodes, events, count);
        tell_notes(vnodes);
    }
}

static void on_vnodes(struct ed_watch *ready)
{
    struct ed_fs_notifier *notifier =
        ED_CONTAINER_OF(ready, struct ed_fs_notifier, ready);
    ed_fs_notifier_enter(notifier);
    ed_fs_notifier_catch_up(notifier);
    ed_fs_notifier_leave(notifier);
}

/* ---- the notifier -------------------------------------------------------- */

int ed_fs_notifier_create(struct ed_loop *loop,
                          struct ed_fs_notifier **notifier)
{
    struct vnodes *vnodes = calloc(1, sizeof *vnodes);
    if (!vnodes)
        return -ENOMEM;
    struct ed_fs_notifier *base = &vnodes->base;
    base->loop = loop;
    base->node_size = sizeof(struct vnode);
    base->reads_always = true;
    ed_list_init(&base->watches);
    ed_list_init(&base->queue);
    ed_list_init(&vnodes->noted);
    ed_list_init(&vnodes->appeared);
    ed_list_init(&vnodes->vanished);
    ed_fs_table_init(&base->names);
    ed_watch_unref(&base->ready);

    int fd = kqueue();
    int err = fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) ? -errno : 0;
    if (!err)
        err = ed_watch_start(loop, &base->ready, fd, ED_READABLE, on_vnodes);
    if (!err) {
        *notifier = base;
        return 0;
    }
    if (fd >= 0)
        close(fd);
    free(vnodes);
    return err;
}

void ed_fs_notifier_free(struct ed_fs_notifier *notifier)
{
    close(notifier->ready.fd);
    free(ED_CONTAINER_OF(notifier, struct vnodes, base));
}
