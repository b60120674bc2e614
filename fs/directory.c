/*
 * fs/directory.c - a directory's descriptor, and the buffer of its names
 *
 * How entries come from the system is linux.c's and posix.c's.
 */
#include "fs/directory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fs/request.h"
#include "fs/system.h"

int ed_dir_begin(struct ed_dir *dir, int fd)
{
    *dir = (struct ed_dir){.fd = fd, .buffer = malloc(ED_DIR_ROOM)};
    int err = dir->buffer ? ed_fs_system_begin_dir(dir) : -ENOMEM;
    if (err) {
        free(dir->buffer);
        (void)ed_fs_close_sync(fd);
    }
    return err;
}

int ed_fs_opendir_sync(const char *path, struct ed_dir *dir)
{
    int fd = ed_fs_open_sync(path, O_RDONLY | O_DIRECTORY, 0);
    return fd < 0 ? fd : ed_dir_begin(dir, fd);
}

static void run_opendir(struct ed_fs_request *request)
{
    request->result = ed_fs_opendir_sync(request->path, request->dir);
}

int ed_fs_opendir(struct ed_pool *pool, struct ed_fs_request *request,
                  const char *path, struct ed_dir *dir, ed_fs_fn *done)
{
    request->path = path;
    request->dir = dir;
    return ed_fs_request_start(pool, request, run_opendir, done);
}

int64_t ed_fs_readdir_sync(struct ed_dir *dir, struct ed_dir_entry *entries,
                           size_t count)
{
    assert(count > 0);
    int64_t found;
    do
        found = ed_fs_system_read_dir(dir, entries, count);
    while (found == -EINTR);
    return found;
}

static void run_readdir(struct ed_fs_request *request)
{
    request->result =
        ed_fs_readdir_sync(request->dir, request->out, request->size);
}

int ed_fs_readdir(struct ed_pool *pool, struct ed_fs_request *request,
                  struct ed_dir *dir, struct ed_dir_entry *entries,
                  size_t count, ed_fs_fn *done)
{
    request->dir = dir;
    request->out = entries;
    request->size = count;
    return ed_fs_request_start(pool, request, run_readdir, done);
}

int ed_fs_closedir_sync(struct ed_dir *dir)
{
    int err = ed_fs_system_end_dir(dir);
    free(dir->buffer);
    *dir = (struct ed_dir){.fd = -1};
    return err == -EINTR ? 0 : err;
}

static void run_closedir(struct ed_fs_request *request)
{
    request->result = ed_fs_closedir_sync(request->dir);
}

int ed_fs_closedir(struct ed_pool *pool, struct ed_fs_request *request,
                   struct ed_dir *dir, ed_fs_fn *done)
{
    request->dir = dir;
    return ed_fs_request_start(pool, request, run_closedir, done);
}
