/*
 * fs/directory.h - what is in a directory, some entries at a time
 *
 *     struct ed_dir dir;
 *     struct ed_dir_entry entries[64];
 *     int64_t count;
 *
 *     int err = ed_fs_opendir_sync("src", &dir);
 *     while ((count = ed_fs_readdir_sync(&dir, entries, 64)) > 0)
 *         for (int64_t i = 0; i < count; i++)
 *             ... entries[i].name, entries[i].type ...
 *     ed_fs_closedir_sync(&dir);
 *
 * However many entries there are, this takes 32 KiB. They come as the file
 * system has them, in no order, without . and .. . What is made or removed
 * meanwhile may be among them or not; what stays comes once.
 */
#ifndef EDDY_FS_DIRECTORY_H
#define EDDY_FS_DIRECTORY_H

#include "fs/fs.h"

struct ed_dir {
    // yours to read
    int fd; // for openat() and its like

    // private
    char *buffer; // where names are
    size_t at;    // of what has not been told yet
    size_t end;
    void *stream; // of systems that read entry by entry
    void *next;   // an entry for which there was no more room
    int error;    // that came after entries that were told first
};

struct ed_dir_entry {
    const char *name; // until the directory is read again or closed
    uint64_t inode;
    mode_t type; // S_ISDIR(type); 0: not told, see lstat
};

/* -ENOTDIR, -ENOMEM, ...; then there is nothing to close. */
int ed_fs_opendir_sync(const char *path, struct ed_dir *dir);
int ed_fs_opendir(struct ed_pool *pool, struct ed_fs_request *request,
                  const char *path, struct ed_dir *dir, ed_fs_fn *done);

/*
 * Fills in up to count entries, which is not 0. Returns how many: any number, 0
 * only at the end. One call at a time.
 */
int64_t ed_fs_readdir_sync(struct ed_dir *dir, struct ed_dir_entry *entries,
                           size_t count);
int ed_fs_readdir(struct ed_pool *pool, struct ed_fs_request *request,
                  struct ed_dir *dir, struct ed_dir_entry *entries,
                  size_t count, ed_fs_fn *done);

/* It is closed whatever is returned. Not if it was cancelled. */
int ed_fs_closedir_sync(struct ed_dir *dir);
int ed_fs_closedir(struct ed_pool *pool, struct ed_fs_request *request,
                   struct ed_dir *dir, ed_fs_fn *done);

#endif
