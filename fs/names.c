/*
 * fs/names.c - links, directories, and the names of both
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/request.h"
#include "fs/system.h"

int ed_fs_link_sync(const char *path, const char *new_path)
{
    int failed;
    do
        failed = linkat(AT_FDCWD, path, AT_FDCWD, new_path, 0);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static void run_link(struct ed_fs_request *request)
{
    request->result = ed_fs_link_sync(request->path, request->other);
}

int ed_fs_link(struct ed_pool *pool, struct ed_fs_request *request,
               const char *path, const char *new_path, ed_fs_fn *done)
{
    request->path = path;
    request->other = new_path;
    return ed_fs_request_start(pool, request, run_link, done);
}

int ed_fs_symlink_sync(const char *target, const char *path)
{
    int failed;
    do
        failed = symlink(target, path);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static void run_symlink(struct ed_fs_request *request)
{
    request->result = ed_fs_symlink_sync(request->other, request->path);
}

int ed_fs_symlink(struct ed_pool *pool, struct ed_fs_request *request,
                  const char *target, const char *path, ed_fs_fn *done)
{
    request->other = target;
    request->path = path;
    return ed_fs_request_start(pool, request, run_symlink, done);
}

int64_t ed_fs_readlink_sync(const char *path, char *buffer, size_t size)
{
    ssize_t length;
    do
        length = readlink(path, buffer, size);
    while (length < 0 && errno == EINTR);
    if (length < 0)
        return -errno;
    if ((size_t)length == size)
        return -ENAMETOOLONG; // with the NUL, or cut off
    buffer[length] = '\0';
    return length;
}

static void run_readlink(struct ed_fs_request *request)
{
    request->result =
        ed_fs_readlink_sync(request->path, request->out, request->size);
}

int ed_fs_readlink(struct ed_pool *pool, struct ed_fs_request *request,
                   const char *path, char *buffer, size_t size, ed_fs_fn *done)
{
    request->path = path;
    request->out = buffer;
    request->size = size;
    return ed_fs_request_start(pool, request, run_readlink, done);
}

int64_t ed_fs_realpath_sync(const char *path, char *buffer, size_t size)
{
    char *real;
    do
        real = realpath(path, NULL);
    while (!real && errno == EINTR);
    if (!real)
        return -errno;

    size_t length = strlen(real);
    bool fits = length < size;
    if (fits)
        memcpy(buffer, real, length + 1);
    free(real);
    return fits ? (int64_t)length : -ENAMETOOLONG;
}

static void run_realpath(struct ed_fs_request *request)
{
    request->result =
        ed_fs_realpath_sync(request->path, request->out, request->size);
}

int ed_fs_realpath(struct ed_pool *pool, struct ed_fs_request *request,
                   const char *path, char *buffer, size_t size, ed_fs_fn *done)
{
    request->path = path;
    request->out = buffer;
    request->size = size;
    return ed_fs_request_start(pool, request, run_realpath, done);
}

int ed_fs_rename_sync(const char *path, const char *new_path, unsigned flags)
{
    if (flags > ED_RENAME_NO_REPLACE)
        return -EINVAL; // none of ours, or both
    int err;
    do
        if (flags)
            err = ed_fs_system_rename(path, new_path, flags);
        else
            err = rename(path, new_path) ? -errno : 0;
    while (err == -EINTR);
    return err;
}

static void run_rename(struct ed_fs_request *request)
{
    request->result = ed_fs_rename_sync(request->path, request->other,
                                        (unsigned)request->flags);
}

int ed_fs_rename(struct ed_pool *pool, struct ed_fs_request *request,
                 const char *path, const char *new_path, unsigned flags,
                 ed_fs_fn *done)
{
    request->path = path;
    request->other = new_path;
    request->flags = (int)flags;
    return ed_fs_request_start(pool, request, run_rename, done);
}

int ed_fs_unlink_sync(const char *path)
{
    int failed;
    do
        failed = unlink(path);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static void run_unlink(struct ed_fs_request *request)
{
    request->result = ed_fs_unlink_sync(request->path);
}

int ed_fs_unlink(struct ed_pool *pool, struct ed_fs_request *request,
                 const char *path, ed_fs_fn *done)
{
    request->path = path;
    return ed_fs_request_start(pool, request, run_unlink, done);
}

int ed_fs_rmdir_sync(const char *path)
{
    int failed;
    do
        failed = rmdir(path);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static void run_rmdir(struct ed_fs_request *request)
{
    request->result = ed_fs_rmdir_sync(request->path);
}

int ed_fs_rmdir(struct ed_pool *pool, struct ed_fs_request *request,
                const char *path, ed_fs_fn *done)
{
    request->path = path;
    return ed_fs_request_start(pool, request, run_rmdir, done);
}

int ed_fs_mkdir_sync(const char *path, mode_t mode)
{
    int failed;
    do
        failed = mkdir(path, mode);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

static void run_mkdir(struct ed_fs_request *request)
{
    request->result = ed_fs_mkdir_sync(request->path, request->mode);
}

int ed_fs_mkdir(struct ed_pool *pool, struct ed_fs_request *request,
                const char *path, mode_t mode, ed_fs_fn *done)
{
    request->path = path;
    request->mode = mode;
    return ed_fs_request_start(pool, request, run_mkdir, done);
}

/* Returns 1, or 0 if there was one, or -errno. */
static int make_directory(const char *path, mode_t mode)
{
    int err = ed_fs_mkdir_sync(path, mode);
    if (!err)
        return 1;
    struct ed_stat stat;
    if (err != -ENOENT && !ed_fs_stat_sync(path, &stat) && S_ISDIR(stat.mode))
        return 0;
    return err;
}

/* Where the path of the parent ends; 0: there is no parent to make. */
static size_t parent_length(const char *path, size_t length)
{
    while (length > 0 && path[length - 1] == '/')
        length--;
    while (length > 0 && path[length - 1] != '/')
        length--;
    while (length > 0 && path[length - 1] == '/')
        length--;
    return length;
}

/*
 * Goes back until there is a directory or one can be made, each time cutting
 * the path by a NUL in the place of a slash, then forward from cut to cut.
 */
int ed_fs_mkdir_parents_sync(const char *path, mode_t mode)
{
    const mode_t parent_mode = mode | S_IWUSR | S_IXUSR;
    char cut[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof cut)
        return -ENAMETOOLONG;
    memcpy(cut, path, length + 1);

    size_t end = length;
    int made = make_directory(cut, mode);
    while (made == -ENOENT) {
        size_t parent = parent_length(cut, end);
        if (!parent)
            return made;
        end = parent;
        cut[end] = '\0';
        made = make_directory(cut, parent_mode);
    }

    int count = made;
    while (made >= 0 && end < length) {
        cut[end] = '/';
        end += strlen(cut + end);
        made = make_directory(cut, end < length ? parent_mode : mode);
        count += made;
    }
    return made < 0 ? made : count;
}

static void run_mkdir_parents(struct ed_fs_request *request)
{
    request->result = ed_fs_mkdir_parents_sync(request->path, request->mode);
}

int ed_fs_mkdir_parents(struct ed_pool *pool, struct ed_fs_request *request,
                        const char *path, mode_t mode, ed_fs_fn *done)
{
    request->path = path;
    request->mode = mode;
    return ed_fs_request_start(pool, request, run_mkdir_parents, done);
}

/* ---- new names ----------------------------------------------------------- */

static const char new_name_end[] = "XXXXXX";

/* Where they are in path; NULL: it does not end so. */
static char *find_new_name(char *path)
{
    size_t length = strlen(path), ending = sizeof new_name_end - 1;
    if (length < ending || strcmp(path + length - ending, new_name_end) != 0)
        return NULL;
    return path + length - ending;
}

int ed_fs_mkdtemp_sync(char *path)
{
    char *ending = find_new_name(path);
    if (!ending)
        return -EINVAL;
    for (;;) {
        if (mkdtemp(path))
            return 0;
        int err = -errno;
        memcpy(ending, new_name_end, sizeof new_name_end);
        if (err != -EINTR)
            return err;
    }
}

static void run_mkdtemp(struct ed_fs_request *request)
{
    request->result = ed_fs_mkdtemp_sync(request->out);
}

int ed_fs_mkdtemp(struct ed_pool *pool, struct ed_fs_request *request,
                  char *path, ed_fs_fn *done)
{
    request->out = path;
    return ed_fs_request_start(pool, request, run_mkdtemp, done);
}

int ed_fs_mkstemp_sync(char *path)
{
    char *ending = find_new_name(path);
    if (!ending)
        return -EINVAL;
    for (;;) {
        int fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0)
            return fd;
        int err = -errno;
        memcpy(ending, new_name_end, sizeof new_name_end);
        if (err != -EINTR)
            return err;
    }
}

static void run_mkstemp(struct ed_fs_request *request)
{
    request->result = ed_fs_mkstemp_sync(request->out);
}

int ed_fs_mkstemp(struct ed_pool *pool, struct ed_fs_request *request,
                  char *path, ed_fs_fn *done)
{
    request->out = path;
    return ed_fs_request_start(pool, request, run_mkstemp, done);
}
