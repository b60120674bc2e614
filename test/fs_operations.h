/*
 * test/fs_operations.h - one call of each operation, that goes well
 *
 * For tests of what is so for all of them. Each finds the files of
 * make_files() and returns what the operation does.
 */
#ifndef EDDY_TEST_FS_OPERATIONS_H
#define EDDY_TEST_FS_OPERATIONS_H

#include <sys/file.h>

#include "test/fs.h"

/* Of "file", and one that was opened for closing it. */
static int file_fd = -1;
static int spare_fd = -1;
static struct ed_dir open_dir; // of "."

/* What operations have opened: it is closed when they are over. */
static int new_fd = -1;
static struct ed_dir new_dir;

static char new_name[] = "new-XXXXXX"; // made by mkdtemp or mkstemp

static inline void make_files(void)
{
    make_file("file", "0123456789");
    CHECK_EQ(mkdir("dir", 0700), 0);
    make_file("dir/file", "");
    CHECK_EQ(mkdir("empty", 0700), 0);
    CHECK_EQ(symlink("file", "link"), 0);
    strcpy(new_name, "new-XXXXXX");
    file_fd = open("file", O_RDWR);
    spare_fd = open("file", O_RDWR);
    CHECK_EQ(ed_fs_opendir_sync(".", &open_dir), 0);
}

static inline void close_files(void)
{
    close(file_fd);
    if (spare_fd >= 0)
        close(spare_fd);
    if (open_dir.buffer)
        CHECK_EQ(ed_fs_closedir_sync(&open_dir), 0);
    if (new_fd >= 0)
        close(new_fd);
    new_fd = -1;
    if (new_dir.buffer)
        CHECK_EQ(ed_fs_closedir_sync(&new_dir), 0);
}

/* ---- descriptors --------------------------------------------------------- */

static inline int64_t opened(int fd)
{
    new_fd = fd;
    return fd;
}

static inline int64_t do_open(const struct form *fs)
{
    return opened(fs->open("new", O_RDWR | O_CREAT, 0600));
}

static inline int64_t do_close(const struct form *fs)
{
    int err = fs->close(spare_fd);
    if (fcntl(spare_fd, F_GETFD) < 0)
        spare_fd = -1;
    return err;
}

static inline int64_t do_read(const struct form *fs)
{
    char buffer[4];
    return fs->read(file_fd, buffer, sizeof buffer, -1);
}

static inline int64_t do_read_at(const struct form *fs)
{
    char buffer[4];
    return fs->read(file_fd, buffer, sizeof buffer, 2);
}

static inline int64_t do_write(const struct form *fs)
{
    return fs->write(file_fd, "abc", 3, -1);
}

static inline int64_t do_write_at(const struct form *fs)
{
    return fs->write(file_fd, "abc", 3, 2);
}

static inline int64_t do_vector(const struct form *fs, bool is_write,
                                int64_t offset)
{
    char one[2] = "a", two[2] = "b";
    struct iovec parts[] = {{one, 2}, {two, 2}};
    return is_write ? fs->writev(file_fd, parts, 2, offset)
                    : fs->readv(file_fd, parts, 2, offset);
}

static inline int64_t do_readv(const struct form *fs)
{
    return do_vector(fs, false, -1);
}

static inline int64_t do_readv_at(const struct form *fs)
{
    return do_vector(fs, false, 2);
}

static inline int64_t do_writev(const struct form *fs)
{
    return do_vector(fs, true, -1);
}

static inline int64_t do_writev_at(const struct form *fs)
{
    return do_vector(fs, true, 2);
}

static inline int64_t do_truncate(const struct form *fs)
{
    return fs->truncate("file", 3);
}

static inline int64_t do_ftruncate(const struct form *fs)
{
    return fs->ftruncate(file_fd, 3);
}

static inline int64_t do_allocate(const struct form *fs)
{
    return fs->allocate(file_fd, 0, 10000);
}

static inline int64_t do_fsync(const struct form *fs)
{
    return fs->fsync(file_fd);
}

static inline int64_t do_fdatasync(const struct form *fs)
{
    return fs->fdatasync(file_fd);
}

static inline int64_t do_sync_directory(const struct form *fs)
{
    return fs->sync_directory("dir");
}

static inline int64_t do_flock(const struct form *fs)
{
    return fs->flock(file_fd, LOCK_EX);
}

/* ---- what is known of a file --------------------------------------------- */

static inline int64_t do_stat(const struct form *fs)
{
    struct ed_stat stat;
    return fs->stat("link", &stat);
}

static inline int64_t do_lstat(const struct form *fs)
{
    struct ed_stat stat;
    return fs->lstat("link", &stat);
}

static inline int64_t do_fstat(const struct form *fs)
{
    struct ed_stat stat;
    return fs->fstat(file_fd, &stat);
}

static inline int64_t do_statfs(const struct form *fs)
{
    struct ed_statfs statfs;
    return fs->statfs(".", &statfs);
}

static inline int64_t do_access(const struct form *fs)
{
    return fs->access("file", R_OK);
}

static inline int64_t do_chmod(const struct form *fs)
{
    return fs->chmod("file", 0640);
}

static inline int64_t do_fchmod(const struct form *fs)
{
    return fs->fchmod(file_fd, 0640);
}

static inline int64_t do_chown(const struct form *fs)
{
    return fs->chown("file", getuid(), (gid_t)-1);
}

static inline int64_t do_lchown(const struct form *fs)
{
    return fs->lchown("link", getuid(), (gid_t)-1);
}

static inline int64_t do_fchown(const struct form *fs)
{
    return fs->fchown(file_fd, getuid(), (gid_t)-1);
}

static const struct timespec long_ago[2] = {{.tv_sec = 1}, {.tv_sec = 2}};

static inline int64_t do_utimes(const struct form *fs)
{
    return fs->utimes("file", long_ago);
}

static inline int64_t do_lutimes(const struct form *fs)
{
    return fs->lutimes("link", long_ago);
}

static inline int64_t do_futimes(const struct form *fs)
{
    return fs->futimes(file_fd, long_ago);
}

/* ---- names --------------------------------------------------------------- */

static inline int64_t do_link(const struct form *fs)
{
    return fs->link("file", "new");
}

static inline int64_t do_symlink(const struct form *fs)
{
    return fs->symlink("file", "new");
}

static inline int64_t do_readlink(const struct form *fs)
{
    char target[8];
    return fs->readlink("link", target, sizeof target);
}

static inline int64_t do_realpath(const struct form *fs)
{
    char path[4096];
    return fs->realpath("link", path, sizeof path);
}

static inline int64_t do_rename(const struct form *fs)
{
    return fs->rename("file", "new", 0);
}

static inline int64_t do_exchange(const struct form *fs)
{
    int err = fs->rename("file", "empty", ED_RENAME_EXCHANGE);
    return err == -ENOTSUP ? 0 : err;
}

static inline int64_t do_unlink(const struct form *fs)
{
    return fs->unlink("file");
}

static inline int64_t do_mkdir(const struct form *fs)
{
    return fs->mkdir("new", 0700);
}

static inline int64_t do_mkdir_parents(const struct form *fs)
{
    return fs->mkdir_parents("new/b/c", 0700);
}

static inline int64_t do_rmdir(const struct form *fs)
{
    return fs->rmdir("empty");
}

static inline int64_t do_mkdtemp(const struct form *fs)
{
    return fs->mkdtemp(new_name);
}

static inline int64_t do_mkstemp(const struct form *fs)
{
    return opened(fs->mkstemp(new_name));
}

/* ---- directories --------------------------------------------------------- */

static inline int64_t do_opendir(const struct form *fs)
{
    new_dir = (struct ed_dir){0};
    int err = fs->opendir("dir", &new_dir);
    if (err)
        new_dir = (struct ed_dir){0};
    return err;
}

/* To its end. */
static inline int64_t do_readdir(const struct form *fs)
{
    struct ed_dir_entry entries[2];
    int64_t count;
    do
        count = fs->readdir(&open_dir, entries, 2);
    while (count > 0);
    return count;
}

static inline int64_t do_closedir(const struct form *fs)
{
    return fs->closedir(&open_dir);
}

struct operation {
    const char *name;
    int64_t (*run)(const struct form *fs);
};

#define OPERATION(name)                                                        \
    {                                                                          \
#name, do_##name                                                       \
    }

static const struct operation operations[] = {
    OPERATION(open),           OPERATION(close),    OPERATION(read),
    OPERATION(read_at),        OPERATION(write),    OPERATION(write_at),
    OPERATION(readv),          OPERATION(readv_at), OPERATION(writev),
    OPERATION(writev_at),      OPERATION(truncate), OPERATION(ftruncate),
    OPERATION(allocate),       OPERATION(fsync),    OPERATION(fdatasync),
    OPERATION(sync_directory), OPERATION(flock),    OPERATION(stat),
    OPERATION(lstat),          OPERATION(fstat),    OPERATION(statfs),
    OPERATION(access),         OPERATION(chmod),    OPERATION(fchmod),
    OPERATION(chown),          OPERATION(lchown),   OPERATION(fchown),
    OPERATION(utimes),         OPERATION(lutimes),  OPERATION(futimes),
    OPERATION(link),           OPERATION(symlink),  OPERATION(readlink),
    OPERATION(realpath),       OPERATION(rename),   OPERATION(exchange),
    OPERATION(unlink),         OPERATION(mkdir),    OPERATION(mkdir_parents),
    OPERATION(rmdir),          OPERATION(mkdtemp),  OPERATION(mkstemp),
    OPERATION(opendir),        OPERATION(readdir),  OPERATION(closedir),
};

enum { OPERATIONS = sizeof operations / sizeof *operations };

#endif
