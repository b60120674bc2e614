/*
 * fs/file.h - whole files; see fs/fs.h, which includes this
 *
 *     struct ed_file file = {0};
 *     int err = ed_fs_read_file_sync("notes.txt", &file);
 *     err = ed_fs_replace_file_sync("notes.txt", text, size, 0644);
 *     err = ed_fs_copy_file_sync("notes.txt", "copy.txt", 0, NULL);
 *
 * Called back. A request on a worker looks between two system calls whether it
 * was cancelled or its deadline has passed; then its result is -ECANCELED or
 * -ETIMEDOUT. What it had done by then is done, unless it says so below. It
 * also looks while it waits for the other side of a FIFO, so that none keeps a
 * worker for ever. For that files are opened with O_NONBLOCK.
 */
#ifndef EDDY_FS_FILE_H
#define EDDY_FS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "pool/pool.h"

struct ed_fs_request; // fs/fs.h

typedef void ed_fs_fn(struct ed_fs_request *request);

/* ---- reading --------------------------------------------------------- */

enum {
    ED_FILE_LIMIT = 1 << 30,            // bytes: 1 GiB
    ED_FILE_CACHED_PER_TURN = 64 << 10, // bytes
};

struct ed_file {
    // yours to set
    size_t limit;       // most bytes to read, more is -EFBIG; 0: ED_FILE_LIMIT
    uint64_t offset;    // where to begin
    size_t count;       // read no more than that, and leave the rest; 0: all
    char *buffer;       // where to read to; NULL: memory of the library's
    size_t buffer_size; // a limit, too
    struct ed_trace
        *trace; // told of each system call; NULL: the loop's, if any

    // yours to read
    char *data; // size bytes and a NUL; NULL after an error
    size_t size;
};

/*
 * Any thread, also when the pool is gone. Frees what reading a file has
 * allocated; once, or on a zeroed one. Buffers of up to 1 MiB go back to the
 * pool that the file was read through, which keeps up to 8 MiB of them.
 */
void ed_file_free(struct ed_file *file);

/*
 * Reads a file, whatever it is: regular, empty, of the kind that /proc has
 * (whose size is told as 0), a pipe, a device. It is read to its end, or as far
 * as file->count wants it, also when it grows or shrinks meanwhile. The bytes
 * are file->data, aligned to 64, with a NUL after the last one so that text is
 * a C string; they are the caller's, to ed_file_free(). In a buffer of the
 * caller's there is a NUL if there is room for it.
 *
 * Returns 0, or -errno with nothing allocated: -EFBIG if there is more than
 * file->limit or the buffer hold (known without reading it for regular files),
 * -EISDIR, -ENOMEM, -ESPIPE for an offset into what has none, and what open(2),
 * fstat(2) and read(2) say. A FIFO that nobody writes to is waited for.
 */
int ed_fs_read_file_sync(const char *path, struct ed_file *file);
int ed_fs_read_file(struct ed_pool *pool, struct ed_fs_request *request,
                    const char *path, ed_fs_fn *done);

/*
 * What is in the page cache the loop reads by itself, where the system can tell
 * (Linux 5.12 and newer), which is faster than to ask a worker. done comes
 * later all the same, as a worker's answer would. The loop reads files of up to
 * 64 KiB so, and at most bytes_per_turn (ED_FILE_CACHED_PER_TURN unless set
 * here; a small file counts as 4 KiB) in a turn; 0: none. Should be none where
 * to open a file may take long though its name is known, as on a file system
 * that a server provides. Returns 0 or -ENOMEM.
 */
int ed_fs_limit_cached(struct ed_pool *pool, size_t bytes_per_turn);

/*
 * Calls lines->on_line for each line of a file, in constant memory: twice that
 * of the longest line, and at least 64 KiB. on_line is called on the thread
 * that asks; in the asynchronous form, where a worker reads, in several turns
 * of the loop until done. Till then lines is the library's.
 *
 *     static int on_line(struct ed_lines *lines)
 *     {
 *         ... lines->line, lines->size, lines->number ...
 *         return 0;
 *     }
 *
 * Returns 0 at the end of the file; what on_line returned if that is not 0,
 * after which it is not called again; -ECANCELED, also when
 * the pool is destroyed; -EMSGSIZE for a line longer than
 * lines->longest; or as reading a file does.
 */
struct ed_lines;

typedef int ed_line_fn(struct ed_lines *lines);

enum { ED_LINE_LIMIT = 1 << 20 }; // bytes: 1 MiB

struct ed_lines {
    // yours to set
    ed_line_fn *on_line;
    size_t longest; // bytes of a line without its end; 0: ED_LINE_LIMIT

    // yours to read, in on_line
    char *line;      // size bytes and a NUL in place of the newline
    size_t size;     // the last line may have no newline, and then is no
    uint64_t number; // less a line; from 1

    // private
    char *buffer;
    size_t room;
    size_t begin, scanned, end; // in buffer: the bytes without a newline
    bool is_at_end;
    struct ed_pool *pool; // NULL: gone
    struct ed_list link;  // in a list of the pool's, which clears it
    ed_fs_fn *done;
};

int ed_fs_read_lines_sync(const char *path, struct ed_lines *lines);
int ed_fs_read_lines(struct ed_pool *pool, struct ed_fs_request *request,
                     const char *path, struct ed_lines *lines, ed_fs_fn *done);

/* ---- writing --------------------------------------------------------- */

/*
 * Writes size bytes: as all that the file has, or after what it has. The file
 * is made if there is none, with mode as umask(2) leaves it. Returns 0 when all
 * is written, or -errno; then some of it may be. To have a file only as it was
 * or as it shall be, replace it.
 */
int ed_fs_write_file_sync(const char *path, const void *data, size_t size,
                          mode_t mode);
int ed_fs_write_file(struct ed_pool *pool, struct ed_fs_request *request,
                     const char *path, const void *data, size_t size,
                     mode_t mode, ed_fs_fn *done);

int ed_fs_append_file_sync(const char *path, const void *data, size_t size,
                           mode_t mode);
int ed_fs_append_file(struct ed_pool *pool, struct ed_fs_request *request,
                      const char *path, const void *data, size_t size,
                      mode_t mode, ed_fs_fn *done);

/*
 * Puts a new file in the place of an old one, at once: who opens the path gets
 * all of the one or all of the other, also after a crash of the program or of
 * the system. The new one is written beside it under a name that begins with
 * ".eddy-", synced and renamed; then the directory is synced. Only a crash can
 * leave such a name behind.
 *
 * It has the old one's owner and permissions (not its ACLs, attributes and
 * other hard links), or mode as umask(2) leaves it if there was none. A
 * symbolic link is followed, and stays.
 *
 * Returns 0, or -errno: -EISDIR; -EINVAL for what is not a regular file; -EPERM
 * if the owner cannot be kept; -EACCES if the directory cannot be read, to sync
 * it. After an error, -ECANCELED and -ETIMEDOUT included, the old file is what
 * it was; but if syncing the directory fails, which is last, it is the new one,
 * and might not be after a crash of the system.
 */
int ed_fs_replace_file_sync(const char *path, const void *data, size_t size,
                            mode_t mode);
int ed_fs_replace_file(struct ed_pool *pool, struct ed_fs_request *request,
                       const char *path, const void *data, size_t size,
                       mode_t mode, ed_fs_fn *done);

/* ---- copying --------------------------------------------------------- */

enum {
    ED_COPY_EXCLUSIVE = 1,  // -EEXIST if there is a file already
    ED_COPY_NO_SHARING = 2, // have blocks of its own, where they can be shared
};

/* How far a copy is. */
struct ed_copy_progress {
    uint64_t size;   // bytes, as fstat told it
    uint64_t copied; // of them, holes included
};

/* Any thread, as often as wanted. */
void ed_copy_progress_read(const struct ed_copy_progress *progress,
                           uint64_t *size, uint64_t *copied);

/*
 * Copies a file's bytes, holes and permissions over another, or to a new one.
 * The two share their blocks where the file system can do that; else the kernel
 * copies, where it can. Symbolic links are followed. A regular file that grows
 * meanwhile is copied as long as it was. progress may be NULL.
 *
 * Returns 0, or -errno: -EISDIR, -EEXIST, -EINVAL if both are the same file.
 * After an error a file that was made for it is removed; one that was there may
 * have any of the bytes.
 */
int ed_fs_copy_file_sync(const char *path, const char *new_path, unsigned flags,
                         struct ed_copy_progress *progress);
int ed_fs_copy_file(struct ed_pool *pool, struct ed_fs_request *request,
                    const char *path, const char *new_path, unsigned flags,
                    struct ed_copy_progress *progress, ed_fs_fn *done);

#endif
