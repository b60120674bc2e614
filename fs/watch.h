/*
 * fs/watch.h - what happens to files, told as it happens
 *
 *     struct ed_fs_watch watch = {0};
 *     int err = ed_fs_watch_tree(&loop, &watch, "/srv/www", on_event);
 *     ...
 *     static void on_event(struct ed_fs_watch *watch,
 *                          const struct ed_fs_event *event)
 *     {
 *         if (event->kind == ED_FS_CHANGED)
 *             ... event->path, as in "css/site.css" ...
 *     }
 *     ...
 *     ed_fs_watch_stop(&watch);
 *
 * A file, a directory with what is directly in it, or a tree: a directory with
 * all that is below it, also what appears there later. The watch sets itself up
 * over some turns of the loop, a tree of 10,000 directories in two hundred;
 * then it says ED_FS_READY. From then on nothing is missed. What happens before
 * may or may not be told: a program that wants to know what is there looks when
 * the watch is ready, or sets watch.list and is told.
 *
 * Events are about names. They say what happened to a name, in order, some time
 * later; what the name leads to now is for the program to look at. Who keeps a
 * list of what is there has these rules:
 *
 *     FOUND, CREATED   is there, which may not be news. Of a directory that is
 *                      created or moved here in a tree, all that is in it is
 *                      told as created, too
 *     REMOVED          is not there any more, nor is anything below it
 *     RENAMED          if the old name is not in the list, as CREATED. Else
 *                      what was below the new name is not there any more, what
 *                      was below the old one is now below the new one
 *     OVERFLOW         too much happened at once, and some of it is lost. Throw
 *                      the list away; READY comes again as at the beginning
 *     FAILED           a directory (path) cannot be watched, for what is in
 *                      error; what happens in it and below is not told.
 *                      -ENOSPC: fs.inotify.max_user_watches is reached;
 *                      -EMFILE: out of descriptors (kqueue); -EACCES
 *     GONE             the watched directory is removed, renamed or unmounted,
 *                      or that of the watched file is. The watch is over, as if
 *                      stopped
 *
 * What is renamed into or out of what is watched is told as CREATED or REMOVED,
 * and so is, now and then, what could have been told as RENAMED.
 *
 * A watched file is a name in a directory: that it is removed, is created
 * again, or that another file is renamed to it (as editors save and logs
 * rotate) is told as REMOVED and CREATED, and the watch goes on. The file need
 * not be there at first, its directory must. Symbolic links are names, too;
 * they are not followed, except in the path of what is watched. What is written
 * by way of a name that is not watched, a hard link elsewhere, may not be told.
 * Nor are mounts.
 *
 * What it costs: with inotify (Linux), one descriptor and 40 KiB for all
 * watches of a loop, and for each directory about 200 bytes here and 1 KiB in
 * the kernel; files cost nothing. With kqueue (elsewhere), a descriptor for all
 * watches of a loop, and one for each directory and for each file in it, with
 * about 300 bytes; a directory in which something happens is read anew to find
 * out what. In a turn, 1 ms at most goes into reading directories, unless the
 * disk lets a single call wait.
 *
 * Everything here belongs to the loop's thread.
 */
#ifndef EDDY_FS_WATCH_H
#define EDDY_FS_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "loop/loop.h"

enum ed_fs_event_kind {
    ED_FS_READY,
    ED_FS_FOUND,   // was there at the beginning: if watch.list is set
    ED_FS_CREATED, // or linked, or renamed from elsewhere
    ED_FS_CHANGED, // a file was written to or truncated
    ED_FS_ATTRIBUTES,
    ED_FS_RENAMED, // from old_path to path, which may have been another file's
    ED_FS_REMOVED, // or renamed to elsewhere
    ED_FS_OVERFLOW,
    ED_FS_FAILED,
    ED_FS_GONE,
};

struct ed_fs_event {
    enum ed_fs_event_kind kind;
    bool is_directory;
    int error; // of ED_FS_FAILED: -errno

    // Any bytes but NUL, good until the callback returns. Seen from the watched
    // directory, which itself is ""; of a watched file, its name.
    const char *path;
    const char *old_path; // of ED_FS_RENAMED; else NULL
};

struct ed_fs_watch;

typedef void ed_fs_watch_fn(struct ed_fs_watch *watch,
                            const struct ed_fs_event *event);

enum ed_fs_watch_extent {
    ED_FS_WATCH_FILE,
    ED_FS_WATCH_DIRECTORY,
    ED_FS_WATCH_TREE,
};

struct ed_fs_watch {
    // yours to set, before start
    bool list; // tell what is there already, as ED_FS_FOUND

    // yours to read
    size_t watched; // what the system watches for us: directories; with kqueue
                    // also files

    // private
    bool is_unref;
    bool is_ready;
    enum ed_fs_watch_extent extent;
    struct ed_fs_notifier *notifier; // NULL: not started
    ed_fs_watch_fn *fn;
    struct ed_list link;     // in the notifier's list
    struct ed_fs_node *root; // the watched directory, or that of the file
    size_t nodes;            // directories that are known; as with watched
    size_t unread;           // of these, to be read
    char *path;              // of root, from "/"
    char *name;              // of the file, else NULL
};

/*
 * Calls fn with each event, never from within this call. Returns 0, or -errno
 * with nothing started: -ENOENT, -ENOTDIR, -EACCES; -ENOSPC or -EMFILE at a
 * limit (fs.inotify.max_user_watches; max_user_instances, of which each loop
 * that watches needs one; descriptors); -ENOMEM. What is started starts anew.
 */
int ed_fs_watch_file(struct ed_loop *loop, struct ed_fs_watch *watch,
                     const char *path, ed_fs_watch_fn *fn);
int ed_fs_watch_directory(struct ed_loop *loop, struct ed_fs_watch *watch,
                          const char *path, ed_fs_watch_fn *fn);
int ed_fs_watch_tree(struct ed_loop *loop, struct ed_fs_watch *watch,
                     const char *path, ed_fs_watch_fn *fn);

/*
 * From anywhere, its own callback included; no other follows. Of a large tree,
 * it takes some microseconds for each directory.
 */
void ed_fs_watch_stop(struct ed_fs_watch *watch);

bool ed_fs_watch_is_active(const struct ed_fs_watch *watch);

/*
 * Whether the watch, while started, keeps the loop alive; it does at first.
 * While directories are read, the loop is alive anyway.
 */
void ed_fs_watch_ref(struct ed_fs_watch *watch);
void ed_fs_watch_unref(struct ed_fs_watch *watch);

#endif
