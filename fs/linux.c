/*
 * fs/linux.c - what Linux has of its own
 */
#include "fs/system.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0 // older headers
#endif

static struct timespec time_of(const struct statx_timestamp *time)
{
    return (struct timespec){.tv_sec = time->tv_sec, .tv_nsec = time->tv_nsec};
}

static uint64_t mount_of(const struct statx *from)
{
#if STATX_MNT_ID
    return from->stx_mask & STATX_MNT_ID ? from->stx_mnt_id : 0;
#else
    (void)from;
    return 0;
#endif
}

static void take_statx(struct ed_stat *to, const struct statx *from)
{
    bool is_born = from->stx_mask & STATX_BTIME;
    *to = (struct ed_stat){
        .device = makedev(from->stx_dev_major, from->stx_dev_minor),
        .inode = from->stx_ino,
        .mount = mount_of(from),
        .special = makedev(from->stx_rdev_major, from->stx_rdev_minor),
        .links = from->stx_nlink,
        .size = (int64_t)from->stx_size,
        .blocks = from->stx_blocks,
        .block_size = from->stx_blksize,
        .mode = from->stx_mode,
        .uid = from->stx_uid,
        .gid = from->stx_gid,
        .accessed = time_of(&from->stx_atime),
        .modified = time_of(&from->stx_mtime),
        .changed = time_of(&from->stx_ctime),
        .born = is_born ? time_of(&from->stx_btime) : (struct timespec){0},
    };
}

static void take_stat(struct ed_stat *to, const struct stat *from)
{
    *to = (struct ed_stat){
        .device = from->st_dev,
        .inode = from->st_ino,
        .special = from->st_rdev,
        .links = from->st_nlink,
        .size = from->st_size,
        .blocks = (uint64_t)from->st_blocks,
        .block_size = (uint32_t)from->st_blksize,
        .mode = from->st_mode,
        .uid = from->st_uid,
        .gid = from->st_gid,
        .accessed = from->st_atim,
        .modified = from->st_mtim,
        .changed = from->st_ctim,
    };
}

int ed_fs_system_stat(int at, const char *path, int flags, struct ed_stat *to)
{
    if (!path && at < 0)
        return -EBADF; // AT_FDCWD, too, is a number
    const int statx_flags =
        flags | AT_NO_AUTOMOUNT | (path ? 0 : AT_EMPTY_PATH);
    const unsigned wanted = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;
    struct statx extended;
    if (!statx(at, path ? path : "", statx_flags, wanted, &extended)) {
        take_statx(to, &extended);
        return 0;
    }
    // Kernels before 4.11 do not have it; filters that do not know it say
    // EPERM.
    if (errno != ENOSYS && errno != EPERM)
        return -errno;

    struct stat plain;
    if (path ? fstatat(at, path, &plain, flags) : fstat(at, &plain))
        return -errno;
    take_stat(to, &plain);
    return 0;
}

int ed_fs_system_statfs(const char *path, struct ed_statfs *to)
{
    struct statfs from;
    if (statfs(path, &from))
        return -errno;
    *to = (struct ed_statfs){
        .type = (uint64_t)from.f_type,
        // Blocks are counted in fragments where these are something else.
        .block_size = (uint64_t)(from.f_frsize ? from.f_frsize : from.f_bsize),
        .blocks = from.f_blocks,
        .blocks_free = from.f_bfree,
        .blocks_available = from.f_bavail,
        .files = from.f_files,
        .files_free = from.f_ffree,
        .name_max = (uint64_t)from.f_namelen,
    };
    return 0;
}

/* Not all C libraries have renameat2() or its flags. */
int ed_fs_system_rename(const char *path, const char *new_path, unsigned flags)
{
    static const unsigned no_replace = 1 << 0, exchange = 1 << 1;
    unsigned kernel_flags = (flags & ED_RENAME_NO_REPLACE ? no_replace : 0) |
                            (flags & ED_RENAME_EXCHANGE ? exchange : 0);
    if (!syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, new_path,
                 kernel_flags))
        return 0;
    return errno == ENOSYS ? -ENOTSUP : -errno;
}

int ed_fs_system_allocate(int fd, int64_t offset, int64_t size)
{
    return fallocate(fd, 0, (off_t)offset, (off_t)size) ? -errno : 0;
}

int ed_fs_system_sync(int fd)
{
    return fsync(fd) ? -errno : 0;
}

int ed_fs_system_sync_data(int fd)
{
    return fdatasync(fd) ? -errno : 0;
}

/* ---- directories --------------------------------------------------------- */

/* As the kernel writes them, one after the other. */
struct kernel_entry {
    uint64_t inode;
    int64_t next;
    uint16_t size; // with the name and what is left free after it
    uint8_t type;
    char name[];
};

int ed_fs_system_begin_dir(struct ed_dir *dir)
{
    (void)dir;
    return 0;
}

/* Returns how many bytes of entries there are; 0 at the end. */
static int64_t fill_dir(struct ed_dir *dir)
{
    long size = syscall(SYS_getdents64, dir->fd, dir->buffer, ED_DIR_ROOM);
    if (size < 0)
        return errno == ENOENT ? 0 : -errno; // it has been removed
    dir->at = 0;
    dir->end = (size_t)size;
    return size;
}

static bool is_dots(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

int64_t ed_fs_system_read_dir(struct ed_dir *dir, struct ed_dir_entry *entries,
                              size_t count)
{
    size_t found = 0;
    while (found < count) {
        if (dir->at == dir->end) {
            // Names that were found are in the buffer.
            int64_t size = found ? 0 : fill_dir(dir);
            if (size <= 0)
                return size < 0 ? size : (int64_t)found;
        }
        const void *place = dir->buffer + dir->at;
        const struct kernel_entry *entry = place;
        dir->at += entry->size;
        if (is_dots(entry->name))
            continue;
        entries[found++] = (struct ed_dir_entry){
            .name = entry->name,
            .inode = entry->inode,
            .type = (mode_t)entry->type << 12, // DTTOIF()
        };
    }
    return (int64_t)found;
}

int ed_fs_system_end_dir(struct ed_dir *dir)
{
    return ed_fs_close_sync(dir->fd);
}

/* ---- whole files --------------------------------------------------------- */

enum { RESOLVE_IF_CACHED = 0x20, READ_IF_CACHED = 0x8 };

#ifndef SYS_openat2
#define SYS_openat2 437 // the same on all processors
#endif

int ed_fs_system_open_cached(const char *path, int flags)
{
    // As the kernel has it; the C library may not know it.
    const struct {
        uint64_t flags, mode, resolve;
    } how = {.flags = (unsigned)(flags | O_CLOEXEC | O_LARGEFILE),
             .resolve = RESOLVE_IF_CACHED};
    long fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    return fd < 0 ? -errno : (int)fd;
}

int64_t ed_fs_system_read_cached(int fd, void *buffer, size_t size,
                                 uint64_t offset)
{
    // The wrapper of the C library would hide that a filter refuses it.
    struct iovec vector = {.iov_base = buffer, .iov_len = size};
    long count =
        syscall(SYS_preadv2, fd, &vector, 1, (unsigned long)offset,
                (unsigned long)(offset >> 32), (unsigned long)READ_IF_CACHED);
    return count < 0 ? -errno : count;
}

void ed_fs_system_use_huge_pages(void *memory, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)memory + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)memory + size) & ~(page - 1);
    if (begin < end)
        madvise((char *)memory + (begin - (uintptr_t)memory), end - begin,
                MADV_HUGEPAGE);
}

int ed_fs_system_share(int fd, int other)
{
    const unsigned long clone = _IOW(0x94, 9, int); // FICLONE
    if (ioctl(fd, clone, other) == 0)
        return 0;
    // Each file system has its own way to say that it cannot.
    bool is_broken = errno == EIO || errno == ENOSPC || errno == EDQUOT;
    return is_broken ? -errno : -EOPNOTSUPP;
}

int64_t ed_fs_system_copy(int fd, int other, int64_t offset, size_t size)
{
    loff_t from = offset, to = offset;
    ssize_t count = copy_file_range(other, &from, fd, &to, size, 0);
    if (count >= 0)
        return count;
    switch (errno) {
    case EIO:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
    case EINTR:
        return -errno;
    default: // other file systems, other kinds of files, older kernels, filters
        return -EOPNOTSUPP;
    }
}

int ed_fs_system_find_data(int fd, int64_t offset, int64_t size, int64_t *begin,
                           int64_t *end)
{
    off_t data = lseek(fd, offset, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
        return -ENXIO;
    off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
    *begin = data < 0 ? offset : data;
    *end = hole < 0 || hole > size ? size : hole;
    return *begin < size ? 0 : -ENXIO;
}
