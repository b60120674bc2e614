/*
 * fs/fs.h - files, on the calling thread or through the pool
 *
 *     struct ed_file file = {0};                      readFileSync(path)
 *     int err = ed_fs_read_file_sync("notes.txt", &file);
 *     ... file.data, file.size ...
 *     ed_file_free(&file);
 *
 *     struct ed_fs_request request = {0};             readFile(path, done)
 *     ed_fs_read_file(&pool, &request, "notes.txt", done);
 *
 *     static void done(struct ed_fs_request *request)
 *     {
 *         ... request->result, request->file.data, request->file.size ...
 *         ed_file_free(&request->file);
 *     }
 *
 * Every operation has both forms. The one that ends in _sync does its work on
 * the calling thread, any thread, and blocks it. The other belongs to the
 * loop's thread: a worker does the same work, in one trip, and done is called
 * on the loop's thread with the same answer in request->result.
 *
 * A request, and the path, buffer or struct stat given with it, is the
 * library's from submit until done begins: exactly once, unless the submitting
 * call itself returned an error. A request begins its life zeroed and can be
 * used again from its done on.
 *
 * Answers are 0, a descriptor or a count, or -errno. System calls interrupted
 * by a signal are taken up again.
 */
#ifndef EDDY_FS_FS_H
#define EDDY_FS_FS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "pool/pool.h"

/* ---- a whole file in memory ------------------------------------------ */

enum { ED_FILE_LIMIT = 1 << 30 }; // bytes: 1 GiB

struct ed_file {
    // yours to set
    size_t limit; // most bytes to read; 0: ED_FILE_LIMIT
    struct ed_trace
        *trace; // told of each system call; NULL: the loop's, if any

    // yours to read
    char *data; // size bytes and a NUL; NULL after an error
    size_t size;
};

/* Frees what reading a file has allocated. Any thread; once, or on a zeroed
 * one. */
void ed_file_free(struct ed_file *file);

struct ed_fs_request;

typedef void ed_fs_fn(struct ed_fs_request *request);

struct ed_fs_request {
    // yours to set, for ed_fs_read_file
    struct ed_file file;

    // yours to read, in done
    int64_t result; // what the _sync form would have returned

    // private
    struct ed_task task;
    ed_fs_fn *done;
    union {
        struct {
            const char *path;
            int flags;
            mode_t mode;
        } open;
        struct {
            int fd;
            void *buffer;       // of a read
            const void *source; // of a write
            size_t size;
            int64_t offset;
        } io;
        struct {
            int fd;
            struct stat *stat;
        } fstat;
    } args;
};

/*
 * Reads a whole file, whatever it is: regular, empty, of the kind that /proc
 * has (whose size is told as 0), a pipe, a device. It is read to its end, also
 * when it grows or shrinks meanwhile. The bytes are file->data, with a NUL
 * after the last one so that text is a C string; they are the caller's, to
 * ed_file_free().
 *
 * Returns 0, or -errno with nothing allocated: -EFBIG if there is more than
 * file->limit (known without reading it for regular files), -EISDIR, -ENOMEM,
 * and what open(2), fstat(2) and read(2) say. A FIFO that nobody writes to is
 * waited for.
 */
int ed_fs_read_file_sync(const char *path, struct ed_file *file);
int ed_fs_read_file(struct ed_pool *pool, struct ed_fs_request *request,
                    const char *path, ed_fs_fn *done);

/* ---- descriptors ----------------------------------------------------- */

/*
 * Each is the system call of that name, without EINTR and with -errno. The
 * asynchronous forms return 0, or -EAGAIN at a limit of the pool's; the
 * answer is request->result.
 */

/* Returns the descriptor, close-on-exec. mode is for O_CREAT. */
int ed_fs_open_sync(const char *path, int flags, mode_t mode);
int ed_fs_open(struct ed_pool *pool, struct ed_fs_request *request,
               const char *path, int flags, mode_t mode, ed_fs_fn *done);

int ed_fs_fstat_sync(int fd, struct stat *stat);
int ed_fs_fstat(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                struct stat *stat, ed_fs_fn *done);

/*
 * Up to size bytes from offset, or with an offset of -1 from where the
 * descriptor stands. Returns how many were read: fewer near the end, 0 at it.
 */
int64_t ed_fs_read_sync(int fd, void *buffer, size_t size, int64_t offset);
int ed_fs_read(struct ed_pool *pool, struct ed_fs_request *request, int fd,
               void *buffer, size_t size, int64_t offset, ed_fs_fn *done);

/* The same for writing. Returns how many were written, which may be fewer. */
int64_t ed_fs_write_sync(int fd, const void *buffer, size_t size,
                         int64_t offset);
int ed_fs_write(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                const void *buffer, size_t size, int64_t offset,
                ed_fs_fn *done);

/* The descriptor is closed whatever is returned. */
int ed_fs_close_sync(int fd);
int ed_fs_close(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                ed_fs_fn *done);

/*
 * As ed_task_cancel(). A request that is cancelled in time has a result of
 * -ECANCELED and has touched nothing.
 */
int ed_fs_cancel(struct ed_fs_request *request);

#endif
