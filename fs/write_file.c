/*
 * fs/write_file.c - write, append, replace
 *
 * Replacing is done relative to the open directory, so that all names meant are
 * in the same one whatever becomes of the path. Until the rename the old file
 * is not touched; the rename is the one moment. The new file is on the disk
 * before it has the name (fsync), and the name is when the directory is synced.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/request.h"
#include "fs/wait.h"

/* The most that is written without a look at the request. */
static const size_t longest_write = 8 << 20;

static int write_whole(int fd, const char *data, size_t size,
                       const struct ed_fs_request *request)
{
    int err = ed_fs_go_on(request);
    while (size && !err) {
        size_t part = size < longest_write ? size : longest_write;
        int64_t count = ed_fs_write_sync(fd, data, part, -1);
        if (count == -EAGAIN) {
            err = ed_fs_await(fd, POLLOUT, request);
            continue;
        }
        if (count <= 0)
            return count ? (int)count : -EIO;
        data += count;
        size -= (size_t)count;
        err = ed_fs_go_on(request);
    }
    return size ? err : 0;
}

static int write_out(const char *path, int flags, const void *data, size_t size,
                     mode_t mode, const struct ed_fs_request *request)
{
    int err = ed_fs_go_on(request);
    if (err)
        return err;
    int fd =
        ed_fs_open_patiently(path, flags | O_WRONLY | O_CREAT, mode, request);
    if (fd < 0)
        return fd;
    err = write_whole(fd, data, size, request);
    int close_err = ed_fs_close_sync(fd);
    return err ? err : close_err;
}

/* ---- replacing ------------------------------------------------------- */

enum { MOST_LINKS = 40, MOST_TRIES = 100, LONGEST_TARGET = 4096 };

struct replacement {
    char path[LONGEST_TARGET]; // where the links lead to
    const char *name;          // its last part, in path
    char temporary[32];
    int directory;
    const struct ed_fs_request *request;
};

static int set_path(struct replacement *new, const char *path)
{
    size_t size = strlen(path) + 1;
    if (size > sizeof new->path)
        return -ENAMETOOLONG;
    memcpy(new->path, path, size);
    return 0;
}

/* Replaces the last part of the path, or all if the target is absolute. */
static int follow(struct replacement *new, const char *target)
{
    char *slash = strrchr(new->path, '/');
    size_t kept = slash && *target != '/' ? (size_t)(slash + 1 - new->path) : 0;
    size_t size = strlen(target) + 1;
    if (kept + size > sizeof new->path)
        return -ENAMETOOLONG;
    memcpy(new->path + kept, target, size);
    return 0;
}

/* Follows the links that the last part of the path may be. */
static int find_place(struct replacement *new, const char *path)
{
    char target[LONGEST_TARGET];
    int err = set_path(new, path);
    for (int links = 0; !err; links++) {
        ssize_t size = readlink(new->path, target, sizeof target - 1);
        if (size < 0)
            return errno == EINVAL || errno == ENOENT ? 0 : -errno;
        if (links == MOST_LINKS)
            return -ELOOP;
        target[size] = '\0';
        err = follow(new, target);
    }
    return err;
}

/* Opens the directory and leaves the name in it. Returns 0 or -errno. */
static int open_place(struct replacement *new)
{
    char *slash = strrchr(new->path, '/');
    const char *directory = slash == new->path ? "/" : slash ? new->path : ".";
    new->name = slash ? slash + 1 : new->path;
    if (!*new->name)
        return *new->path ? -EISDIR : -ENOENT;
    if (slash)
        *slash = '\0';
    new->directory = ed_fs_open_sync(directory, O_RDONLY | O_DIRECTORY, 0);
    return new->directory < 0 ? new->directory : 0;
}

/* Makes the temporary file, under a name that is free. Returns it, open. */
static int make_temporary(struct replacement *new, mode_t mode)
{
    // Not a secret: the name is claimed with O_EXCL, others are then tried.
    uint64_t number =
        ed_clock_ns() ^ (uint64_t)getpid() << 40 ^ (uint64_t)(uintptr_t) new;
    for (int tries = 0; tries < MOST_TRIES; tries++) {
        number = number * UINT64_C(6364136223846793005) + 1442695040888963407;
        snprintf(new->temporary, sizeof new->temporary, ".eddy-%016llx",
                 (unsigned long long)number);
        int fd = openat(new->directory, new->temporary,
                        O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd >= 0)
            return fd;
        if (errno != EEXIST && errno != EINTR)
            return -errno;
    }
    return -EEXIST;
}

/* The owner first: to change it takes permissions away. */
static int take_after(int fd, const struct stat *old)
{
    struct stat stat;
    if (fstat(fd, &stat))
        return -errno;
    if ((stat.st_uid != old->st_uid || stat.st_gid != old->st_gid) &&
        fchown(fd, old->st_uid, old->st_gid))
        return -errno;
    return fchmod(fd, old->st_mode & 07777) ? -errno : 0;
}

/* Some file systems have no directories that can be synced, or need not. */
static int sync_place(int directory)
{
    int err = ed_fs_fsync_sync(directory);
    return err == -EINVAL || err == -ENOTSUP ? 0 : err;
}

static int fill_temporary(const struct replacement *new, int fd,
                          const struct stat *old, const void *data, size_t size)
{
    int err = old ? take_after(fd, old) : 0;
    if (!err)
        err = write_whole(fd, data, size, new->request);
    if (!err)
        err = ed_fs_fsync_sync(fd);
    int close_err = ed_fs_close_sync(fd);
    if (!err)
        err = close_err;
    return err ? err : ed_fs_go_on(new->request);
}

static int replace_in_place(struct replacement *new, const struct stat *old,
                            const void *data, size_t size, mode_t mode)
{
    // Until it has its permissions nobody else may read it.
    int fd = make_temporary(new, old ? S_IRUSR | S_IWUSR : mode);
    if (fd < 0)
        return fd;
    int err = fill_temporary(new, fd, old, data, size);
    if (!err &&
        renameat(new->directory, new->temporary, new->directory, new->name))
        err = -errno;
    if (err) {
        unlinkat(new->directory, new->temporary, 0);
        return err;
    }
    return sync_place(new->directory);
}

static int replace(const char *path, const void *data, size_t size, mode_t mode,
                   const struct ed_fs_request *request)
{
    struct replacement new = {.directory = -1, .request = request};
    int err = ed_fs_go_on(request);
    if (!err)
        err = find_place(&new, path);
    if (!err)
        err = open_place(&new);
    if (err)
        return err;

    struct stat old;
    bool is_there =
        fstatat(new.directory, new.name, &old, AT_SYMLINK_NOFOLLOW) == 0;
    if (!is_there && errno != ENOENT)
        err = -errno;
    else if (is_there && S_ISDIR(old.st_mode))
        err = -EISDIR;
    else if (is_there && !S_ISREG(old.st_mode))
        err = -EINVAL;
    if (!err)
        err = replace_in_place(&new, is_there ? &old : NULL, data, size, mode);
    ed_fs_close_sync(new.directory);
    return err;
}

/* ---- both forms ------------------------------------------------------ */

int ed_fs_write_file_sync(const char *path, const void *data, size_t size,
                          mode_t mode)
{
    return write_out(path, O_TRUNC, data, size, mode, NULL);
}

int ed_fs_append_file_sync(const char *path, const void *data, size_t size,
                           mode_t mode)
{
    return write_out(path, O_APPEND, data, size, mode, NULL);
}

int ed_fs_replace_file_sync(const char *path, const void *data, size_t size,
                            mode_t mode)
{
    return replace(path, data, size, mode, NULL);
}

static void run_write_file(struct ed_fs_request *request)
{
    request->result = write_out(request->path, request->flags, request->in,
                                request->size, request->mode, request);
}

static void run_replace_file(struct ed_fs_request *request)
{
    request->result = replace(request->path, request->in, request->size,
                              request->mode, request);
}

static int start_writing(struct ed_pool *pool, struct ed_fs_request *request,
                         ed_fs_fn *run, const char *path, const void *data,
                         size_t size, mode_t mode, ed_fs_fn *done)
{
    request->path = path;
    request->in = data;
    request->size = size;
    request->mode = mode;
    return ed_fs_request_start(pool, request, run, done);
}

int ed_fs_write_file(struct ed_pool *pool, struct ed_fs_request *request,
                     const char *path, const void *data, size_t size,
                     mode_t mode, ed_fs_fn *done)
{
    request->flags = O_TRUNC;
    return start_writing(pool, request, run_write_file, path, data, size, mode,
                         done);
}

int ed_fs_append_file(struct ed_pool *pool, struct ed_fs_request *request,
                      const char *path, const void *data, size_t size,
                      mode_t mode, ed_fs_fn *done)
{
    request->flags = O_APPEND;
    return start_writing(pool, request, run_write_file, path, data, size, mode,
                         done);
}

int ed_fs_replace_file(struct ed_pool *pool, struct ed_fs_request *request,
                       const char *path, const void *data, size_t size,
                       mode_t mode, ed_fs_fn *done)
{
    return start_writing(pool, request, run_replace_file, path, data, size,
                         mode, done);
}
