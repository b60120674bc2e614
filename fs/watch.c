/*
 * fs/watch.c - watches, their directories read, their callbacks called
 *
 * One notifier serves all watches of a loop, since systems allow a user few of
 * what it is made of (inotify: 128). It comes with the first watch and goes
 * with the last, but not while somebody is within (busy): whoever calls back
 * finds it there when the callback returns, whatever that has stopped.
 *
 * Directories are read in an immediate, for a millisecond a turn, after what
 * the system had to say has been heard: what is read is newer than any event
 * before it, which keeps a directory from being looked for under a name that it
 * no longer has.
 */
#include "fs/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/notify.h"

/* How long a turn is spent on reading. */
static const uint64_t read_slice_ns = ED_MS;

/* Entries read between two looks at the clock. */
enum { ENTRIES = 64 };

/* ---- telling ------------------------------------------------------------- */

void ed_fs_notifier_enter(struct ed_fs_notifier *notifier)
{
    notifier->busy++;
}

static void free_if_unused(struct ed_fs_notifier *notifier)
{
    if (notifier->busy || !ed_list_is_empty(&notifier->watches))
        return;
    struct ed_loop *loop = notifier->loop;
    ed_watch_stop(&notifier->ready);
    ed_hook_stop(&notifier->work);
    ed_fs_table_destroy(&notifier->names);
    ed_fs_notifier_free(notifier);
    loop->notifier = NULL;
}

void ed_fs_notifier_leave(struct ed_fs_notifier *notifier)
{
    notifier->busy--;
    free_if_unused(notifier);
}

static void call_back(struct ed_fs_watch *watch, struct ed_loop *loop,
                      const struct ed_fs_event *event)
{
    ed_trace_begin(loop->trace, "file", watch,
                   (ed_trace_callback_fn *)watch->fn);
    watch->fn(watch, event);
    ed_trace_end(loop->trace);
}

static bool tell_event(struct ed_fs_watch *watch,
                       const struct ed_fs_event *event)
{
    struct ed_fs_notifier *notifier = watch->notifier;
    notifier->told = watch;
    call_back(watch, notifier->loop, event);
    bool is_there = notifier->told == watch;
    notifier->told = NULL;
    return is_there;
}

/* A path is too long to be told: so is the nearest directory whose is not. */
static bool tell_too_long(struct ed_fs_watch *watch,
                          const struct ed_fs_node *directory)
{
    char *buffer = watch->notifier->path;
    const char *path;
    while (!(path = ed_fs_path(&(struct ed_fs_place){directory, NULL}, buffer)))
        directory = directory->parent;
    return tell_event(watch, &(struct ed_fs_event){.kind = ED_FS_FAILED,
                                                   .is_directory = true,
                                                   .error = -ENAMETOOLONG,
                                                   .path = path});
}

static bool tell_of(struct ed_fs_watch *watch, struct ed_fs_event *event,
                    const struct ed_fs_place *place)
{
    event->path = ed_fs_path(place, watch->notifier->path);
    return event->path ? tell_event(watch, event)
                       : tell_too_long(watch, place->directory);
}

bool ed_fs_tell(struct ed_fs_watch *watch, enum ed_fs_event_kind kind,
                struct ed_fs_place place, bool is_directory)
{
    struct ed_fs_event event = {.kind = kind, .is_directory = is_directory};
    return tell_of(watch, &event, &place);
}

bool ed_fs_tell_renamed(struct ed_fs_watch *watch, struct ed_fs_place old,
                        struct ed_fs_place new, bool is_directory)
{
    struct ed_fs_event event = {.kind = ED_FS_RENAMED,
                                .is_directory = is_directory};
    event.old_path = ed_fs_path(&old, watch->notifier->old_path);
    return event.old_path ? tell_of(watch, &event, &new)
                          : tell_too_long(watch, old.directory);
}

bool ed_fs_tell_failed(struct ed_fs_watch *watch, struct ed_fs_place place,
                       bool is_directory, int error)
{
    struct ed_fs_event event = {
        .kind = ED_FS_FAILED, .is_directory = is_directory, .error = error};
    return tell_of(watch, &event, &place);
}

static void read_from_the_top(struct ed_fs_watch *watch)
{
    watch->is_ready = false;
    watch->root->news = watch->list ? ED_FS_FOUND : ED_FS_READY;
    ed_fs_read_later(watch->root);
}

bool ed_fs_tell_overflow(struct ed_fs_watch *watch)
{
    ed_fs_node_free_children(watch->root);
    read_from_the_top(watch);
    return tell_event(watch, &(struct ed_fs_event){.kind = ED_FS_OVERFLOW,
                                                   .is_directory = true,
                                                   .path = ""});
}

void ed_fs_tell_gone(struct ed_fs_watch *watch)
{
    struct ed_loop *loop = watch->notifier->loop;
    ed_fs_watch_stop(watch);
    call_back(watch, loop,
              &(struct ed_fs_event){
                  .kind = ED_FS_GONE, .is_directory = true, .path = ""});
}

/* ---- reading directories ------------------------------------------------- */

/*
 * A directory is done with, for good or bad. That it is not there, or not one
 * any more, will be told by the events of its parent.
 */
static void finish_reading(struct ed_fs_node *node, int err)
{
    struct ed_fs_watch *watch = node->watch;
    watch->notifier->reading = NULL;
    watch->unread--;
    if (err && err != -ENOENT && err != -ENOTDIR && err != -ELOOP &&
        !ed_fs_tell_failed(watch, (struct ed_fs_place){node, NULL}, true, err))
        return;
    if (watch->unread || watch->is_ready)
        return;
    watch->is_ready = true;
    ed_fs_tell(watch, ED_FS_READY, (struct ed_fs_place){watch->root, NULL},
               true);
}

/* What was told of it was another's. */
static bool tell_anew(struct ed_fs_node *node)
{
    struct ed_fs_watch *watch = node->watch;
    struct ed_fs_place place = {node, NULL};
    node->is_stale = false;
    node->news = ED_FS_CREATED;
    ed_fs_node_free_children(node);
    return ed_fs_tell(watch, ED_FS_REMOVED, place, true) &&
           ed_fs_tell(watch, ED_FS_CREATED, place, true);
}

static bool is_to_be_read(const struct ed_fs_node *node)
{
    const struct ed_fs_watch *watch = node->watch;
    return watch->notifier->reads_always || watch->list ||
           watch->extent == ED_FS_WATCH_TREE;
}

/* Of a watched file's directory only that one name is of interest. */
static void read_file_entry(struct ed_fs_node *node, int fd)
{
    const char *name = node->watch->name;
    struct stat stat;
    int err = 0;
    bool is_there = true;
    if (fstatat(fd, name, &stat, AT_SYMLINK_NOFOLLOW) == 0)
        is_there = ed_fs_notifier_entry(node, fd, name, DT_UNKNOWN);
    else if (errno != ENOENT)
        err = -errno;
    close(fd);
    if (!is_there)
        return;
    if (!err)
        ed_fs_notifier_end(node);
    finish_reading(node, err);
}

static void begin_reading(struct ed_fs_notifier *notifier)
{
    struct ed_fs_node *node = ED_CONTAINER_OF(ed_list_pop(&notifier->queue),
                                              struct ed_fs_node, queue_link);
    notifier->reading = node;
    if (node->is_stale && !tell_anew(node))
        return;
    if (!is_to_be_read(node)) {
        finish_reading(node, 0);
        return;
    }
    int fd = ed_fs_notifier_open(node);
    if (fd < 0) {
        finish_reading(node, fd);
        return;
    }
    ed_fs_notifier_begin(node);
    if (node->watch->extent == ED_FS_WATCH_FILE) {
        read_file_entry(node, fd);
        return;
    }
    notifier->dir = fdopendir(fd);
    if (notifier->dir)
        return;
    int err = -errno;
    close(fd);
    finish_reading(node, err);
}

static void end_reading(struct ed_fs_notifier *notifier, int err)
{
    struct ed_fs_node *node = notifier->reading;
    closedir(notifier->dir);
    notifier->dir = NULL;
    if (!err)
        ed_fs_notifier_end(node);
    finish_reading(node, err);
}

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/*
 * The stream is ours alone, and of such no system's readdir() is known not to
 * be safe.
 */
static struct dirent *(*const read_dirent)(DIR *dir) = readdir;

static void read_entries(struct ed_fs_notifier *notifier)
{
    for (int i = 0; i < ENTRIES; i++) {
        errno = 0;
        const struct dirent *entry = read_dirent(notifier->dir);
        if (!entry) {
            end_reading(notifier, -errno);
            return;
        }
        if (!is_dot(entry->d_name) &&
            !ed_fs_notifier_entry(notifier->reading, dirfd(notifier->dir),
                                  entry->d_name, entry->d_type))
            return;
    }
}

static bool is_reading(const struct ed_fs_notifier *notifier)
{
    return notifier->reading || !ed_list_is_empty(&notifier->queue);
}

static void read_for_a_while(struct ed_hook *hook)
{
    struct ed_fs_notifier *notifier =
        ED_CONTAINER_OF(hook, struct ed_fs_notifier, work);
    uint64_t end_ns = ed_clock_ns() + read_slice_ns;
    ed_fs_notifier_enter(notifier);
    ed_fs_notifier_catch_up(notifier);
    do {
        if (notifier->reading)
            read_entries(notifier);
        else if (is_reading(notifier))
            begin_reading(notifier);
        if (!is_reading(notifier))
            ed_fs_notifier_settle(notifier);
    } while (is_reading(notifier) && ed_clock_ns() < end_ns);
    if (is_reading(notifier))
        ed_hook_immediate(notifier->loop, hook, read_for_a_while);
    ed_fs_notifier_leave(notifier);
}

void ed_fs_read_later(struct ed_fs_node *node)
{
    struct ed_fs_notifier *notifier = node->watch->notifier;
    if (ed_list_is_linked(&node->queue_link))
        return;
    ed_list_append(&notifier->queue, &node->queue_link);
    node->watch->unread++;
    if (!ed_hook_is_active(&notifier->work))
        ed_hook_immediate(notifier->loop, &notifier->work, read_for_a_while);
}

/* ---- starting and stopping ----------------------------------------------- */

/* The directory, and for a file the name in it. */
static int resolve(struct ed_fs_watch *watch, const char *path)
{
    if (watch->extent != ED_FS_WATCH_FILE) {
        watch->path = realpath(path, NULL);
        return watch->path ? 0 : -errno;
    }
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (!*path)
        return -ENOENT;
    if (!*name || is_dot(name))
        return -EISDIR;
    watch->name = strdup(name);
    char *parent = slash ? strndup(path, (size_t)(name - path)) : strdup(".");
    if (watch->name && parent)
        watch->path = realpath(parent, NULL);
    int err = watch->path ? 0 : -errno;
    free(parent);
    return err;
}

static void free_paths(struct ed_fs_watch *watch)
{
    free(watch->path);
    free(watch->name);
    watch->path = NULL;
    watch->name = NULL;
}

/* Watches the root, so that what is wrong with it is told here. */
static int open_root(struct ed_fs_watch *watch)
{
    watch->root = ed_fs_node_create(watch, NULL, NULL);
    if (!watch->root)
        return -ENOMEM;
    watch->root->is_directory = true;
    int fd = ed_fs_notifier_open(watch->root);
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    ed_fs_node_free(watch->root);
    watch->root = NULL;
    return fd;
}

static int find_notifier(struct ed_loop *loop, struct ed_fs_watch *watch)
{
    if (!loop->notifier) {
        int err = ed_fs_notifier_create(loop, &loop->notifier);
        if (err)
            return err;
    }
    watch->notifier = loop->notifier;
    return 0;
}

static int start_watch(struct ed_loop *loop, struct ed_fs_watch *watch,
                       const char *path, enum ed_fs_watch_extent extent,
                       ed_fs_watch_fn *fn)
{
    ed_fs_watch_stop(watch);
    watch->extent = extent;
    watch->fn = fn;
    watch->watched = watch->nodes = watch->unread = 0;
    watch->path = watch->name = NULL;
    int err = resolve(watch, path);
    if (err)
        goto free_paths;
    err = find_notifier(loop, watch);
    if (err)
        goto free_paths;
    err = open_root(watch);
    if (err)
        goto leave_notifier;

    ed_list_append(&watch->notifier->watches, &watch->link);
    read_from_the_top(watch);
    if (!watch->is_unref)
        ed_loop_ref(loop);
    return 0;

leave_notifier:
    free_if_unused(watch->notifier);
    watch->notifier = NULL;
free_paths:
    free_paths(watch);
    return err;
}

int ed_fs_watch_file(struct ed_loop *loop, struct ed_fs_watch *watch,
                     const char *path, ed_fs_watch_fn *fn)
{
    return start_watch(loop, watch, path, ED_FS_WATCH_FILE, fn);
}

int ed_fs_watch_directory(struct ed_loop *loop, struct ed_fs_watch *watch,
                          const char *path, ed_fs_watch_fn *fn)
{
    return start_watch(loop, watch, path, ED_FS_WATCH_DIRECTORY, fn);
}

int ed_fs_watch_tree(struct ed_loop *loop, struct ed_fs_watch *watch,
                     const char *path, ed_fs_watch_fn *fn)
{
    return start_watch(loop, watch, path, ED_FS_WATCH_TREE, fn);
}

void ed_fs_watch_stop(struct ed_fs_watch *watch)
{
    struct ed_fs_notifier *notifier = watch->notifier;
    if (!notifier)
        return;

    ed_fs_node_free(watch->root);
    watch->root = NULL;
    free_paths(watch);
    ed_list_remove(&watch->link);
    if (notifier->told == watch)
        notifier->told = NULL;
    watch->notifier = NULL;
    if (!watch->is_unref)
        ed_loop_unref(notifier->loop);
    free_if_unused(notifier);
}

bool ed_fs_watch_is_active(const struct ed_fs_watch *watch)
{
    return watch->notifier != NULL;
}

void ed_fs_watch_ref(struct ed_fs_watch *watch)
{
    if (watch->notifier && watch->is_unref)
        ed_loop_ref(watch->notifier->loop);
    watch->is_unref = false;
}

void ed_fs_watch_unref(struct ed_fs_watch *watch)
{
    if (watch->notifier && !watch->is_unref)
        ed_loop_unref(watch->notifier->loop);
    watch->is_unref = true;
}
