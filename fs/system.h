/*
 * fs/system.h - what differs between systems
 *
 * Internal. linux.c and posix.c each answer all of this; the second needs
 * little but POSIX and works everywhere. All return -errno for an error, and
 * -EINTR too, to be called again.
 */
#ifndef EDDY_FS_SYSTEM_H
#define EDDY_FS_SYSTEM_H

#include <stddef.h>
#include <stdint.h>

#include "fs/directory.h"
#include "fs/fs.h"

/* As fstatat(); a path of NULL is at itself. */
int ed_fs_system_stat(int at, const char *path, int flags, struct ed_stat *to);

int ed_fs_system_statfs(const char *path, struct ed_statfs *to);

/* flags are not 0; -ENOTSUP. */
int ed_fs_system_rename(const char *path, const char *new_path, unsigned flags);

/* -EOPNOTSUPP. */
int ed_fs_system_allocate(int fd, int64_t offset, int64_t size);

int ed_fs_system_sync(int fd);
int ed_fs_system_sync_data(int fd);

/* ---- whole files --------------------------------------------------------- */

/*
 * As open() and pread(), but of what is in memory: -EAGAIN where the system
 * would have to wait for it. The descriptor is close-on-exec. -ENOSYS: it
 * cannot tell.
 */
int ed_fs_system_open_cached(const char *path, int flags);
int64_t ed_fs_system_read_cached(int fd, void *buffer, size_t size,
                                 uint64_t offset);

/* Asks for large pages; memory of malloc()'s that is not in use yet. */
void ed_fs_system_use_huge_pages(void *memory, size_t size);

/* Has the whole of an empty file share the other's blocks; -EOPNOTSUPP. */
int ed_fs_system_share(int fd, int other);

/*
 * Copies up to size bytes from offset on to the same place. Returns how many; 0
 * at the end of the file; -EOPNOTSUPP if it takes reading and writing them.
 */
int64_t ed_fs_system_copy(int fd, int other, int64_t offset, size_t size);

/*
 * Finds the next bytes that are more than a hole: *begin to *end, at most to
 * size. Returns 0, or -ENXIO if there are none from offset on.
 */
int ed_fs_system_find_data(int fd, int64_t offset, int64_t size, int64_t *begin,
                           int64_t *end);

/* ---- directories --------------------------------------------------------- */

enum { ED_DIR_ROOM = 32 << 10 }; // of dir->buffer; no name is longer

/*
 * Opens an ed_dir of a descriptor, which is its own from now on, whatever is
 * returned. The same on all systems.
 */
int ed_dir_begin(struct ed_dir *dir, int fd);

/* Of what ed_dir_begin() does, the system's part. */
int ed_fs_system_begin_dir(struct ed_dir *dir);

int64_t ed_fs_system_read_dir(struct ed_dir *dir, struct ed_dir_entry *entries,
                              size_t count);

/* Closes the descriptor; the buffer stays. */
int ed_fs_system_end_dir(struct ed_dir *dir);

#endif
