/*
 * fs/inotify.c - watches of files on Linux
 *
 *     watched directory -> wd -> the nodes that stand for it, one in each
 *                                ed_fs_watch (by_wd)
 *
 * Only directories are watched: their events have the names of files. One
 * inotify descriptor serves all watches of a loop, since a user may have 128;
 * all ask for the same events, so that they do not get into each other's way
 * where they watch the same directory.
 *
 * A rename is two events, which the kernel queues one right after the other,
 * but not at once. When the second is not there yet, the first is held, and all
 * behind it, until it comes or some milliseconds have passed: then the file has
 * left what is watched.
 *
 * Two files that have exchanged their names are told as two renames, of which
 * the second undoes the first; but both files are there. So what undoes the
 * rename right before it is a removal, and of both names it is looked what is
 * there now.
 *
 * By the time that a new directory is to be watched, its name may lead to
 * another. It will turn out when that one's event is heard, and the kernel
 * answers with a wd that stands already for a node of another name: that other
 * one is stale, if its name does not lead there as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "fs/notify.h"

enum {
    EVENTS = IN_CREATE | IN_DELETE | IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM |
             IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR |
             IN_EXCL_UNLINK,
    BUFFER_SIZE = 32 * 1024,
    MOST_BUFFERS = 16, // taken before directories are read
};

/* How long the other half of a rename is waited for. */
static const uint64_t patience_ns = 5 * ED_MS;

struct inotify {
    struct ed_fs_notifier base;
    struct ed_fs_table by_wd;
    struct ed_fs_link *next_bound; // of the nodes that an event is told to
    struct ed_timer patience;
    size_t waited_for; // up to there the timer counts, or has
    bool is_impatient; // it has
    int last_from_wd;  // the last event, if it was a rename; -1: it was not
    int last_to_wd;
    uint32_t last_kind; // IN_ISDIR, or 0
    char last_from[NAME_MAX + 1];
    char last_to[NAME_MAX + 1];
    size_t at, end; // what is left in the buffer
    _Alignas(struct inotify_event) char buffer[BUFFER_SIZE];
};

static struct inotify *inotify_of(const struct ed_fs_watch *watch)
{
    return ED_CONTAINER_OF(watch->notifier, struct inotify, base);
}

/* ---- wd and nodes -------------------------------------------------------- */

static uint32_t hash_wd(int wd)
{
    return (uint32_t)wd * 2654435769U;
}

/* From link on, the first node that stands for wd. */
static struct ed_fs_node *bound_at(const struct ed_fs_link *link, int wd)
{
    for (; link; link = link->next) {
        struct ed_fs_node *node =
            ED_CONTAINER_OF(link, struct ed_fs_node, by_handle);
        if (node->handle == wd)
            return node;
    }
    return NULL;
}

static struct ed_fs_node *first_bound(const struct inotify *inotify, int wd)
{
    return bound_at(ed_fs_table_first(&inotify->by_wd, hash_wd(wd)), wd);
}

/* The node that stands for wd in a watch. */
static struct ed_fs_node *bound_in(const struct ed_fs_watch *watch, int wd)
{
    struct ed_fs_node *node = first_bound(inotify_of(watch), wd);
    while (node && node->watch != watch)
        node = bound_at(node->by_handle.next, wd);
    return node;
}

static void bind_node(struct ed_fs_node *node, int wd)
{
    node->handle = wd;
    node->watch->watched++;
    ed_fs_table_add(&inotify_of(node->watch)->by_wd, &node->by_handle,
                    hash_wd(wd));
}

static void unbind_node(struct ed_fs_node *node)
{
    struct inotify *inotify = inotify_of(node->watch);
    if (inotify->next_bound == &node->by_handle)
        inotify->next_bound = node->by_handle.next;
    ed_fs_table_remove(&inotify->by_wd, &node->by_handle);
    node->watch->watched--;
    node->handle = -1;
}

void ed_fs_notifier_forget(struct ed_fs_node *node)
{
    int wd = node->handle;
    if (wd < 0)
        return;
    unbind_node(node);
    // Its last events are nobody's then. Fails if they have said so already.
    if (!first_bound(inotify_of(node->watch), wd))
        (void)inotify_rm_watch(node->watch->notifier->ready.fd, wd);
}

/* Whether the node's name leads to this directory. */
static bool leads_to(struct ed_fs_node *node, const struct stat *wanted)
{
    struct stat found;
    const char *path = ed_fs_full_path(&(struct ed_fs_place){node, NULL},
                                       node->watch->notifier->old_path);
    return path && lstat(path, &found) == 0 && found.st_dev == wanted->st_dev &&
           found.st_ino == wanted->st_ino;
}

/* A node that the wd does not belong to any more is looked at anew. */
static void find_stale(const struct ed_fs_watch *watch, int wd, int fd)
{
    struct ed_fs_node *node = bound_in(watch, wd);
    struct stat stat;
    if (!node || !node->parent || fstat(fd, &stat) || leads_to(node, &stat))
        return;
    unbind_node(node);
    node->is_stale = true;
    ed_fs_read_later(node);
}

/*
 * By way of the descriptor, so that the directory which is watched is the one
 * that is read; where there is no /proc, by its name.
 */
static int add_wd(const struct ed_fs_notifier *notifier, int fd,
                  const char *path)
{
    char name[sizeof "/proc/self/fd/" + 3 * sizeof fd];
    (void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int wd = inotify_add_watch(notifier->ready.fd, name, EVENTS);
    if (wd < 0 && (errno == ENOENT || errno == ENOTDIR))
        wd = inotify_add_watch(notifier->ready.fd, path,
                               EVENTS | IN_DONT_FOLLOW);
    return wd < 0 ? -errno : wd;
}

int ed_fs_notifier_open(struct ed_fs_node *node)
{
    struct ed_fs_notifier *notifier = node->watch->notifier;
    const char *path =
        ed_fs_full_path(&(struct ed_fs_place){node, NULL}, notifier->path);
    if (!path)
        return -ENAMETOOLONG;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (node->handle >= 0)
        return fd;

    int wd = add_wd(notifier, fd, path);
    if (wd < 0) {
        close(fd);
        return wd;
    }
    find_stale(node->watch, wd, fd);
    bind_node(node, wd);
    return fd;
}

/* ---- directories that are read ------------------------------------------- */

void ed_fs_notifier_begin(struct ed_fs_node *node)
{
    (void)node;
}

void ed_fs_notifier_end(struct ed_fs_node *node)
{
    (void)node;
}

void ed_fs_notifier_settle(struct ed_fs_notifier *notifier)
{
    (void)notifier;
}

/* Has a directory of a tree watched, unless it is. */
static bool add_directory(struct ed_fs_node *parent, const char *name,
                          enum ed_fs_event_kind news)
{
    if (ed_fs_node_find(parent, name))
        return true;
    struct ed_fs_node *node = ed_fs_node_create(parent->watch, parent, name);
    if (!node)
        return ed_fs_tell_failed(
            parent->watch, (struct ed_fs_place){parent, name}, true, -ENOMEM);
    node->is_directory = true;
    node->news = news;
    ed_fs_node_enter(node);
    ed_fs_read_later(node);
    return true;
}

bool ed_fs_notifier_entry(struct ed_fs_node *node, int fd, const char *name,
                          unsigned char type)
{
    bool is_directory = type == DT_DIR;
    struct stat stat;
    if (type == DT_UNKNOWN) {
        if (fstatat(fd, name, &stat, AT_SYMLINK_NOFOLLOW))
            return true; // gone again
        is_directory = S_ISDIR(stat.st_mode);
    }
    struct ed_fs_watch *watch = node->watch;
    enum ed_fs_event_kind news = node->news;
    if (news != ED_FS_READY &&
        !ed_fs_tell(watch, news, (struct ed_fs_place){node, name},
                    is_directory))
        return false;
    return !is_directory || watch->extent != ED_FS_WATCH_TREE ||
           add_directory(node, name, news);
}

/* ---- events -------------------------------------------------------------- */

static bool is_of_interest(const struct ed_fs_watch *watch, const char *name)
{
    return !watch->name || strcmp(watch->name, name) == 0;
}

static bool is_tree_directory(const struct ed_fs_watch *watch,
                              const struct inotify_event *event)
{
    return watch->extent == ED_FS_WATCH_TREE && (event->mask & IN_ISDIR);
}

static bool tell_of_entry(struct ed_fs_node *node, enum ed_fs_event_kind kind,
                          const struct inotify_event *event)
{
    return !is_of_interest(node->watch, event->name) ||
           ed_fs_tell(node->watch, kind,
                      (struct ed_fs_place){node, event->name},
                      event->mask & IN_ISDIR);
}

static void on_appearance(struct ed_fs_node *node,
                          const struct inotify_event *event)
{
    // Only a rename takes the place of what was there.
    struct ed_fs_node *old = NULL;
    if (event->mask & IN_MOVED_TO)
        old = ed_fs_node_find(node, event->name);
    if (old)
        ed_fs_node_free(old);
    bool is_directory = is_tree_directory(node->watch, event);
    if (tell_of_entry(node, ED_FS_CREATED, event) && is_directory)
        add_directory(node, event->name, ED_FS_CREATED);
}

/*
 * What is known of the name goes, even if it was a file that has gone: then the
 * directory of that name is a later one, and its own event is still to come.
 */
static void on_disappearance(struct ed_fs_node *node,
                             const struct inotify_event *event)
{
    struct ed_fs_node *old = ed_fs_node_find(node, event->name);
    if (old)
        ed_fs_node_free(old);
    tell_of_entry(node, ED_FS_REMOVED, event);
}

/* Directories that were looked for under an old name can be found now. */
static void look_again(struct ed_fs_node *top)
{
    if (top->watch->watched == top->watch->nodes)
        return;
    for (struct ed_fs_node *node = top; node; node = ed_fs_node_next(node, top))
        if (node->handle < 0)
            ed_fs_read_later(node);
}

/* Returns whether the watch is still there. */
static bool rename_directory(struct ed_fs_node *node,
                             struct ed_fs_node *to_node, const char *to)
{
    struct ed_fs_node *old = ed_fs_node_find(to_node, to);
    // What is known may be wrong, and what happened impossible.
    if ((old && ed_fs_node_is_below(node, old)) ||
        ed_fs_node_is_below(to_node, node))
        return false;
    if (old)
        ed_fs_node_free(old);
    if (ed_fs_node_move(node, to_node, to))
        return false;
    look_again(node);
    return true;
}

/* Both names are in the same watch. */
static void on_rename(struct ed_fs_node *from_node,
                      const struct inotify_event *from,
                      struct ed_fs_node *to_node,
                      const struct inotify_event *to)
{
    struct ed_fs_watch *watch = from_node->watch;
    struct ed_fs_node *node = ed_fs_node_find(from_node, from->name);
    bool is_directory = is_tree_directory(watch, from);
    // A node of what is no directory is a later one's, see above.
    if (watch->extent == ED_FS_WATCH_FILE || (node && !is_directory)) {
        if (node)
            ed_fs_node_free(node);
        if (tell_of_entry(from_node, ED_FS_REMOVED, from))
            on_appearance(to_node, to);
        return;
    }
    if (!node && is_directory) {
        on_appearance(to_node, to); // too new to be known
        return;
    }
    if (node && !rename_directory(node, to_node, to->name)) {
        ed_fs_tell_overflow(watch);
        return;
    }
    struct ed_fs_node *old = node ? NULL : ed_fs_node_find(to_node, to->name);
    if (old && ed_fs_node_is_below(from_node, old)) {
        ed_fs_tell_overflow(watch);
        return;
    }
    if (old)
        ed_fs_node_free(old);
    ed_fs_tell_renamed(watch, (struct ed_fs_place){from_node, from->name},
                       (struct ed_fs_place){to_node, to->name},
                       from->mask & IN_ISDIR);
}

static bool is_root_lost(const struct ed_fs_watch *watch)
{
    struct stat stat;
    return lstat(watch->path, &stat) && errno == ENOENT;
}

/* About the directory itself. Of all but the root, its parent tells. */
static void on_event_of_self(struct ed_fs_node *node, uint32_t mask)
{
    struct ed_fs_watch *watch = node->watch;
    if (mask & IN_IGNORED)
        unbind_node(node);
    if (node->parent) {
        if (mask & IN_UNMOUNT)
            ed_fs_tell_overflow(watch);
        return;
    }
    // One that is still open somewhere is not yet deleted.
    if ((mask & (IN_IGNORED | IN_UNMOUNT | IN_DELETE_SELF | IN_MOVE_SELF)) ||
        is_root_lost(watch))
        ed_fs_tell_gone(watch);
    else if ((mask & IN_ATTRIB) && watch->extent != ED_FS_WATCH_FILE)
        ed_fs_tell(watch, ED_FS_ATTRIBUTES, (struct ed_fs_place){node, NULL},
                   true);
}

static void on_event(struct ed_fs_node *node, const struct inotify_event *event)
{
    if (!event->len)
        on_event_of_self(node, event->mask);
    else if (event->mask & (IN_CREATE | IN_MOVED_TO))
        on_appearance(node, event);
    else if (event->mask & (IN_DELETE | IN_MOVED_FROM))
        on_disappearance(node, event);
    else if (event->mask & IN_MODIFY)
        tell_of_entry(node, ED_FS_CHANGED, event);
    else if (event->mask & IN_ATTRIB)
        tell_of_entry(node, ED_FS_ATTRIBUTES, event);
}

/* For each node of a wd, whatever callbacks stop or start meanwhile. */
static struct ed_fs_node *next_node(struct inotify *inotify, int wd)
{
    struct ed_fs_node *node = bound_at(inotify->next_bound, wd);
    inotify->next_bound = node ? node->by_handle.next : NULL;
    return node;
}

static struct ed_fs_node *first_node(struct inotify *inotify, int wd)
{
    inotify->next_bound = ed_fs_table_first(&inotify->by_wd, hash_wd(wd));
    return next_node(inotify, wd);
}

static void tell_event_to_all(struct inotify *inotify,
                              const struct inotify_event *event)
{
    int wd = event->wd;
    for (struct ed_fs_node *node = first_node(inotify, wd); node;
         node = next_node(inotify, wd))
        on_event(node, event);
}

/* Of each watch that has both names, one has, or the other. */
static void tell_rename_to_all(struct inotify *inotify,
                               const struct inotify_event *from,
                               const struct inotify_event *to)
{
    struct ed_fs_node *node, *other;
    for (node = first_node(inotify, to->wd); node;
         node = next_node(inotify, to->wd))
        if (!bound_in(node->watch, from->wd))
            on_appearance(node, to);
    for (node = first_node(inotify, from->wd); node;
         node = next_node(inotify, from->wd)) {
        other = from->wd == to->wd ? node : bound_in(node->watch, to->wd);
        if (other)
            on_rename(node, from, other, to);
        else
            on_disappearance(node, from);
    }
}

/* Events are lost, and nobody knows whose. */
static void tell_overflow_to_all(struct inotify *inotify)
{
    struct ed_list all, *link;
    ed_list_init(&all);
    ed_list_move_all(&all, &inotify->base.watches);
    while ((link = ed_list_pop(&all))) {
        ed_list_append(&inotify->base.watches, link);
        ed_fs_tell_overflow(ED_CONTAINER_OF(link, struct ed_fs_watch, link));
    }
}

/* ---- the buffer ---------------------------------------------------------- */

/* NULL: nothing is left from there on. */
static struct inotify_event *event_at(struct inotify *inotify, size_t at)
{
    void *place = inotify->buffer + at;
    return at < inotify->end ? place : NULL;
}

static struct inotify_event *event_after(struct inotify *inotify,
                                         const struct inotify_event *event)
{
    size_t at = (size_t)((const char *)event - inotify->buffer);
    return event_at(inotify, at + sizeof *event + event->len);
}

/* Behind what is left. Returns whether there was any. */
static bool take_more(struct inotify *inotify)
{
    char *bytes = inotify->buffer;
    size_t left = inotify->end - inotify->at;
    memmove(bytes, bytes + inotify->at, left);
    inotify->waited_for -=
        inotify->waited_for < inotify->at ? inotify->waited_for : inotify->at;
    inotify->at = 0;
    inotify->end = left;
    ssize_t count;
    do
        count = read(inotify->base.ready.fd, bytes + left, BUFFER_SIZE - left);
    while (count < 0 && errno == EINTR);
    if (count <= 0)
        return false; // nothing there, or no room
    inotify->end += (size_t)count;
    return true;
}

static struct inotify_event *find_other_half(struct inotify *inotify,
                                             const struct inotify_event *from)
{
    struct inotify_event *to = event_after(inotify, from);
    while (to && !((to->mask & IN_MOVED_TO) && to->cookie == from->cookie))
        to = event_after(inotify, to);
    return to;
}

static void stop_waiting(struct ed_timer *timer);

/* Whether there is reason to wait for the other half of the next event. */
static bool is_worth_waiting(struct inotify *inotify)
{
    size_t end = inotify->end;
    if (end == BUFFER_SIZE || end - inotify->at > BUFFER_SIZE / 2)
        return false;
    if (inotify->is_impatient && inotify->at < inotify->waited_for)
        return false;
    if (!ed_timer_is_active(&inotify->patience)) {
        inotify->is_impatient = false;
        inotify->waited_for = end;
        ed_timer_start(inotify->base.loop, &inotify->patience, patience_ns,
                       stop_waiting);
    }
    return true;
}

/* So that it can be seen whether the next event undoes it. */
static void remember_rename(struct inotify *inotify,
                            const struct inotify_event *from,
                            const struct inotify_event *to)
{
    inotify->last_from_wd = from->wd;
    inotify->last_to_wd = to->wd;
    inotify->last_kind = from->mask & IN_ISDIR;
    (void)snprintf(inotify->last_from, sizeof inotify->last_from, "%s",
                   from->name);
    (void)snprintf(inotify->last_to, sizeof inotify->last_to, "%s", to->name);
}

static bool undoes_last(const struct inotify *inotify,
                        const struct inotify_event *from,
                        const struct inotify_event *to)
{
    return inotify->last_from_wd == to->wd && inotify->last_to_wd == from->wd &&
           strcmp(inotify->last_from, to->name) == 0 &&
           strcmp(inotify->last_to, from->name) == 0;
}

/* What has that name now is told as created; without, what follows tells. */
static void tell_what_is_there(struct inotify *inotify,
                               struct inotify_event *event)
{
    struct ed_fs_node *node = first_bound(inotify, event->wd);
    struct stat stat;
    const char *path = NULL;
    if (node)
        path = ed_fs_full_path(&(struct ed_fs_place){node, event->name},
                               inotify->base.path);
    if (!path || lstat(path, &stat))
        return;
    event->mask = IN_CREATE | (S_ISDIR(stat.st_mode) ? IN_ISDIR : 0U);
    tell_event_to_all(inotify, event);
}

static void tell_rename(struct inotify *inotify, struct inotify_event *from,
                        struct inotify_event *to)
{
    if (!undoes_last(inotify, from, to)) {
        tell_rename_to_all(inotify, from, to);
        remember_rename(inotify, from, to);
    } else {
        from->mask = IN_DELETE | inotify->last_kind;
        tell_event_to_all(inotify, from);
        tell_what_is_there(inotify, to);
        tell_what_is_there(inotify, from);
        inotify->last_from_wd = -1;
    }
    to->mask = 0; // told
}

/* Tells the next event. Returns false if it has to wait. */
static bool tell_next(struct inotify *inotify)
{
    struct inotify_event *event = event_at(inotify, inotify->at), *to = NULL;
    if (event->mask & IN_MOVED_FROM) {
        to = find_other_half(inotify, event);
        if (!to && is_worth_waiting(inotify))
            return false;
    }
    inotify->at += sizeof *event + event->len;
    if (to) {
        tell_rename(inotify, event, to);
    } else if (event->mask & IN_Q_OVERFLOW) {
        tell_overflow_to_all(inotify);
    } else if (event->mask) {
        // What the directory says of itself comes in the midst of it.
        if (event->len)
            inotify->last_from_wd = -1;
        tell_event_to_all(inotify, event);
    }
    return true;
}

static bool tell_what_came(struct inotify *inotify)
{
    while (inotify->at < inotify->end)
        if (!tell_next(inotify))
            return false;
    return true;
}

static void stop_waiting(struct ed_timer *timer)
{
    struct inotify *inotify = ED_CONTAINER_OF(timer, struct inotify, patience);
    ed_fs_notifier_enter(&inotify->base);
    inotify->is_impatient = true;
    take_more(inotify);
    tell_what_came(inotify);
    ed_fs_notifier_leave(&inotify->base);
}

static void on_inotify(struct ed_watch *ready)
{
    struct inotify *inotify =
        ED_CONTAINER_OF(ready, struct inotify, base.ready);
    ed_fs_notifier_enter(&inotify->base);
    take_more(inotify);
    tell_what_came(inotify);
    ed_fs_notifier_leave(&inotify->base);
}

void ed_fs_notifier_catch_up(struct ed_fs_notifier *notifier)
{
    struct inotify *inotify = ED_CONTAINER_OF(notifier, struct inotify, base);
    for (int i = 0; i < MOST_BUFFERS && take_more(inotify); i++)
        if (!tell_what_came(inotify))
            return;
}

/* ---- the notifier -------------------------------------------------------- */

int ed_fs_notifier_create(struct ed_loop *loop,
                          struct ed_fs_notifier **notifier)
{
    struct inotify *inotify = malloc(sizeof *inotify);
    if (!inotify)
        return -ENOMEM;
    // All but the buffers.
    memset(inotify, 0, offsetof(struct inotify, buffer));
    struct ed_fs_notifier *base = &inotify->base;
    base->loop = loop;
    base->node_size = sizeof(struct ed_fs_node);
    ed_list_init(&base->watches);
    ed_list_init(&base->queue);
    ed_fs_table_init(&base->names);
    ed_fs_table_init(&inotify->by_wd);
    inotify->last_from_wd = -1;
    ed_timer_unref(&inotify->patience);
    ed_watch_unref(&base->ready);

    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    int err = fd < 0 ? -errno : 0;
    if (err)
        goto free_inotify;
    err = ed_watch_start(loop, &base->ready, fd, ED_READABLE, on_inotify);
    if (err)
        goto close_fd;
    *notifier = base;
    return 0;

close_fd:
    close(fd);
free_inotify:
    free(inotify);
    return err;
}

void ed_fs_notifier_free(struct ed_fs_notifier *notifier)
{
    struct inotify *inotify = ED_CONTAINER_OF(notifier, struct inotify, base);
    ed_timer_stop(&inotify->patience);
    ed_fs_table_destroy(&inotify->by_wd);
    close(notifier->ready.fd);
    free(inotify);
}
