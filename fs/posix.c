/*
 * fs/posix.c - what needs little but POSIX
 */
#include "fs/system.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#ifdef __APPLE__
#include <sys/mount.h>
#include <sys/param.h>
#endif

#ifdef __APPLE__
#define ACCESSED(stat) ((stat)->st_atimespec)
#define MODIFIED(stat) ((stat)->st_mtimespec)
#define CHANGED(stat) ((stat)->st_ctimespec)
#define BORN(stat) ((stat)->st_birthtimespec)
#else
#define ACCESSED(stat) ((stat)->st_atim)
#define MODIFIED(stat) ((stat)->st_mtim)
#define CHANGED(stat) ((stat)->st_ctim)
#if defined __FreeBSD__ || defined __NetBSD__
#define BORN(stat) ((stat)->st_birthtim)
#else
#define BORN(stat) ((struct timespec){0})
#endif
#endif

/* Where a file system does not know, it is before all times. */
static struct timespec birth_of(const struct stat *from)
{
    (void)from;
    struct timespec born = BORN(from);
    return born.tv_sec < 0 ? (struct timespec){0} : born;
}

int ed_fs_system_stat(int at, const char *path, int flags, struct ed_stat *to)
{
    struct stat from;
    if (path ? fstatat(at, path, &from, flags) : fstat(at, &from))
        return -errno;
    *to = (struct ed_stat){
        .device = (uint64_t)from.st_dev,
        .inode = (uint64_t)from.st_ino,
        .special = (uint64_t)from.st_rdev,
        .links = (uint64_t)from.st_nlink,
        .size = (int64_t)from.st_size,
        .blocks = (uint64_t)from.st_blocks,
        .block_size = (uint32_t)from.st_blksize,
        .mode = from.st_mode,
        .uid = from.st_uid,
        .gid = from.st_gid,
        .accessed = ACCESSED(&from),
        .modified = MODIFIED(&from),
        .changed = CHANGED(&from),
        .born = birth_of(&from),
    };
    return 0;
}

#ifdef __APPLE__

/* Its statvfs() counts blocks in 32 bits. */
int ed_fs_system_statfs(const char *path, struct ed_statfs *to)
{
    struct statfs from;
    if (statfs(path, &from))
        return -errno;
    *to = (struct ed_statfs){
        .type = from.f_type,
        .block_size = from.f_bsize,
        .blocks = from.f_blocks,
        .blocks_free = from.f_bfree,
        .blocks_available = from.f_bavail,
        .files = from.f_files,
        .files_free = from.f_ffree,
        .name_max = NAME_MAX,
    };
    return 0;
}

#else

int ed_fs_system_statfs(const char *path, struct ed_statfs *to)
{
    struct statvfs from;
    if (statvfs(path, &from))
        return -errno;
    *to = (struct ed_statfs){
        .block_size = from.f_frsize,
        .blocks = from.f_blocks,
        .blocks_free = from.f_bfree,
        .blocks_available = from.f_bavail,
        .files = from.f_files,
        .files_free = from.f_ffree,
        .name_max = from.f_namemax,
    };
    return 0;
}

#endif

#ifdef RENAME_SWAP

int ed_fs_system_rename(const char *path, const char *new_path, unsigned flags)
{
    unsigned own_flags = (flags & ED_RENAME_NO_REPLACE ? RENAME_EXCL : 0) |
                         (flags & ED_RENAME_EXCHANGE ? RENAME_SWAP : 0);
    return renamex_np(path, new_path, own_flags) ? -errno : 0;
}

#else

int ed_fs_system_rename(const char *path, const char *new_path, unsigned flags)
{
    (void)path;
    (void)new_path;
    (void)flags;
    return -ENOTSUP;
}

#endif

#if defined F_PREALLOCATE

/*
 * Space is added behind what the file has, so holes within it are not filled;
 * that they are among what is asked for counts as much.
 */
int ed_fs_system_allocate(int fd, int64_t offset, int64_t size)
{
    struct stat stat;
    if (offset < 0 || size <= 0)
        return -EINVAL;
    if (size > INT64_MAX - offset)
        return -EFBIG;
    if (fstat(fd, &stat))
        return -errno;
    int64_t end = offset + size, had = (int64_t)stat.st_blocks * 512;
    fstore_t store = {
        .fst_flags = F_ALLOCATEALL,
        .fst_posmode = F_PEOFPOSMODE,
        .fst_length = end - had,
    };
    if (end > had && fcntl(fd, F_PREALLOCATE, &store) < 0)
        return -errno;
    return end > stat.st_size && ftruncate(fd, end) ? -errno : 0;
}

#elif defined __OpenBSD__

int ed_fs_system_allocate(int fd, int64_t offset, int64_t size)
{
    (void)fd;
    (void)offset;
    (void)size;
    return -EOPNOTSUPP;
}

#else

int ed_fs_system_allocate(int fd, int64_t offset, int64_t size)
{
    return -posix_fallocate(fd, (off_t)offset, (off_t)size);
}

#endif

#ifdef F_FULLFSYNC

/* Its fsync() leaves the bytes with the disk, which may still lose them. */
int ed_fs_system_sync(int fd)
{
    if (fcntl(fd, F_FULLFSYNC) != -1)
        return 0;
    if (errno == EINTR)
        return -EINTR;
    return fsync(fd) ? -errno : 0; // not on this file system
}

int ed_fs_system_sync_data(int fd)
{
    return ed_fs_system_sync(fd);
}

#else

int ed_fs_system_sync(int fd)
{
    return fsync(fd) ? -errno : 0;
}

int ed_fs_system_sync_data(int fd)
{
    return fdatasync(fd) ? -errno : 0;
}

#endif

/* ---- directories --------------------------------------------------------- */

int ed_fs_system_begin_dir(struct ed_dir *dir)
{
    do
        dir->stream = fdopendir(dir->fd);
    while (!dir->stream && errno == EINTR);
    return dir->stream ? 0 : -errno;
}

/* It is safe with a stream that no other thread uses, whatever checkers say. */
static struct dirent *(*const read_entry)(DIR *stream) = readdir;

/* The entry that there was no room for, or the next. NULL: the end or *error.
 */
static struct dirent *next_entry(struct ed_dir *dir, int *error)
{
    struct dirent *entry = dir->next;
    dir->next = NULL;
    if (entry)
        return entry;
    do {
        errno = 0;
        entry = read_entry(dir->stream);
    } while (!entry && errno == EINTR);
    *error = entry ? 0 : -errno;
    return entry;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Names are copied: the next entry may take the place of this one. */
int64_t ed_fs_system_read_dir(struct ed_dir *dir, struct ed_dir_entry *entries,
                              size_t count)
{
    size_t found = 0, used = 0;
    int error = dir->error;
    dir->error = 0;
    while (found < count && !error) {
        struct dirent *entry = next_entry(dir, &error);
        if (!entry)
            break;
        if (is_dots(entry->d_name))
            continue;
        size_t size = strlen(entry->d_name) + 1;
        if (size > ED_DIR_ROOM - used) {
            dir->next = entry;
            break;
        }
        char *name = memcpy(dir->buffer + used, entry->d_name, size);
        used += size;
        entries[found++] = (struct ed_dir_entry){
            .name = name,
            .inode = (uint64_t)entry->d_ino,
            .type = (mode_t)(entry->d_type << 12), // DTTOIF()
        };
    }
    if (found)
        dir->error = error;
    return found ? (int64_t)found : error;
}

int ed_fs_system_end_dir(struct ed_dir *dir)
{
    return closedir(dir->stream) ? -errno : 0;
}

/* ---- whole files --------------------------------------------------------- */

int ed_fs_system_open_cached(const char *path, int flags)
{
    (void)path;
    (void)flags;
    return -ENOSYS;
}

int64_t ed_fs_system_read_cached(int fd, void *buffer, size_t size,
                                 uint64_t offset)
{
    (void)fd;
    (void)buffer;
    (void)size;
    (void)offset;
    return -ENOSYS;
}

void ed_fs_system_use_huge_pages(void *memory, size_t size)
{
    (void)memory;
    (void)size;
}

int ed_fs_system_share(int fd, int other)
{
    (void)fd;
    (void)other;
    return -EOPNOTSUPP;
}

int64_t ed_fs_system_copy(int fd, int other, int64_t offset, size_t size)
{
    (void)fd;
    (void)other;
    (void)offset;
    (void)size;
    return -EOPNOTSUPP;
}

int ed_fs_system_find_data(int fd, int64_t offset, int64_t size, int64_t *begin,
                           int64_t *end)
{
    *begin = offset;
    *end = size;
#ifdef SEEK_DATA
    off_t data = lseek(fd, offset, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
        return -ENXIO;
    off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
    if (data >= 0)
        *begin = data;
    if (hole >= 0 && hole < size)
        *end = hole;
#else
    (void)fd;
#endif
    return *begin < size ? 0 : -ENXIO;
}
