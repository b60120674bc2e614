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
 * A request, and the path, buffer or struct given with it, is the library's
 * from submit until done begins: exactly once, unless the submitting call
 * itself returned an error, which is -EAGAIN at the pool's request_limit. A
 * request begins its life zeroed and can be used again from its done on.
 *
 * Answers are 0, a descriptor or a count, or -errno. System calls interrupted
 * by a signal are taken up again. Unless something else is said, an operation
 * is the system call of its name, with its errors.
 */
#ifndef EDDY_FS_FS_H
#define EDDY_FS_FS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#include "fs/file.h"
#include "pool/pool.h"

/* ---- requests -------------------------------------------------------- */

struct ed_dir; // fs/directory.h

struct ed_fs_request {
    // yours to set, for ed_fs_read_file
    struct ed_file file;

    // Yours to set: on the clock of ed_clock_ns(); 0: none. What has not begun
    // by then ends with -ETIMEDOUT, having touched nothing; flock, which
    // waits, also later.
    uint64_t deadline_ns;

    // yours to read, in done
    int64_t result; // what the _sync form would have returned

    // private
    struct ed_task task;
    ed_fs_fn *run; // does the work and sets result
    ed_fs_fn *done;
    ed_fs_fn *undo; // what was begun before, unless run is called; may be NULL
    const char *path;
    const char *other; // the second path
    void *out;         // where an answer goes
    const void *in;
    struct ed_dir *dir;
    size_t size; // of out or in
    int64_t offset;
    int fd;
    int flags;
    mode_t mode;
    uid_t uid;
    gid_t gid;
    struct timespec times[2];
};

/*
 * Returns 0 if the request had not begun: it has touched nothing and will not,
 * and done comes soon with a result of -ECANCELED; so of a close that is
 * cancelled the descriptor is still open. Returns -EBUSY if it has begun, or
 * even ended: done comes with its answer. What has begun is one system call or
 * a few, which cannot be called back; only a flock that waits leaves off, also
 * with -ECANCELED. -ENOENT: it is not under way. Not for requests of a pool
 * that has been destroyed.
 */
int ed_fs_cancel(struct ed_fs_request *request);

/* ---- descriptors ----------------------------------------------------- */

/*
 * Returns the descriptor, close-on-exec. flags are any of open(2); mode is for
 * O_CREAT and O_TMPFILE. A FIFO is waited for, unless with O_NONBLOCK.
 */
int ed_fs_open_sync(const char *path, int flags, mode_t mode);
int ed_fs_open(struct ed_pool *pool, struct ed_fs_request *request,
               const char *path, int flags, mode_t mode, ed_fs_fn *done);

/* The descriptor is closed whatever is returned. */
int ed_fs_close_sync(int fd);
int ed_fs_close(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                ed_fs_fn *done);

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

/*
 * The same with count buffers, one after the other. Of more than 1024, or of
 * more than 1 GiB in all, it is the first.
 */
int64_t ed_fs_readv_sync(int fd, const struct iovec *parts, int count,
                         int64_t offset);
int ed_fs_readv(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                const struct iovec *parts, int count, int64_t offset,
                ed_fs_fn *done);
int64_t ed_fs_writev_sync(int fd, const struct iovec *parts, int count,
                          int64_t offset);
int ed_fs_writev(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                 const struct iovec *parts, int count, int64_t offset,
                 ed_fs_fn *done);

/* A file that gets longer by this is longer by zeros. */
int ed_fs_truncate_sync(const char *path, int64_t size);
int ed_fs_truncate(struct ed_pool *pool, struct ed_fs_request *request,
                   const char *path, int64_t size, ed_fs_fn *done);
int ed_fs_ftruncate_sync(int fd, int64_t size);
int ed_fs_ftruncate(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                    int64_t size, ed_fs_fn *done);

/*
 * Has the file system set space aside for size bytes from offset on, so that
 * writing them cannot fail for lack of it; a shorter file gets that long.
 * -EOPNOTSUPP where a file system or system cannot.
 */
int ed_fs_allocate_sync(int fd, int64_t offset, int64_t size);
int ed_fs_allocate(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                   int64_t offset, int64_t size, ed_fs_fn *done);

/*
 * Return when what was written is on the disk: with all that is known of the
 * file, or with what it takes to read it again.
 */
int ed_fs_fsync_sync(int fd);
int ed_fs_fsync(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                ed_fs_fn *done);
int ed_fs_fdatasync_sync(int fd);
int ed_fs_fdatasync(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                    ed_fs_fn *done);

/*
 * The same for the names in a directory: those that were made, renamed and
 * removed. 0 also where the file system knows no such thing.
 */
int ed_fs_sync_directory_sync(const char *path);
int ed_fs_sync_directory(struct ed_pool *pool, struct ed_fs_request *request,
                         const char *path, ed_fs_fn *done);

/*
 * LOCK_SH, LOCK_EX or LOCK_UN of <sys/file.h>; with LOCK_NB -EWOULDBLOCK if
 * somebody else has it, else waits. A request that waits looks for the lock
 * from time to time, keeps its worker meanwhile, and ends by itself with
 * -ECANCELED or -ETIMEDOUT when it is cancelled or its deadline has passed.
 * Cancel it before the pool is destroyed, which waits for it.
 */
int ed_fs_flock_sync(int fd, int operation);
int ed_fs_flock(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                int operation, ed_fs_fn *done);

/* ---- what is known of a file ----------------------------------------- */

struct ed_stat {
    uint64_t device;     // which it is on
    uint64_t inode;      // its number there
    uint64_t mount;      // by which it was reached; 0: not told
    uint64_t special;    // of a device file: the device that it is
    uint64_t links;      // names that it has
    int64_t size;        // bytes
    uint64_t blocks;     // of 512 bytes, that it takes up
    uint32_t block_size; // bytes that are good to read and write at once
    mode_t mode;         // kind and permissions: S_ISREG(mode), mode & 0777
    uid_t uid;
    gid_t gid;
    struct timespec accessed;
    struct timespec modified; // its bytes
    struct timespec changed;  // anything of it
    struct timespec born;     // 0: not told
};

/* Of a symbolic link: of what it leads to, or, lstat, of itself. */
int ed_fs_stat_sync(const char *path, struct ed_stat *stat);
int ed_fs_stat(struct ed_pool *pool, struct ed_fs_request *request,
               const char *path, struct ed_stat *stat, ed_fs_fn *done);
int ed_fs_lstat_sync(const char *path, struct ed_stat *stat);
int ed_fs_lstat(struct ed_pool *pool, struct ed_fs_request *request,
                const char *path, struct ed_stat *stat, ed_fs_fn *done);
int ed_fs_fstat_sync(int fd, struct ed_stat *stat);
int ed_fs_fstat(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                struct ed_stat *stat, ed_fs_fn *done);

struct ed_statfs {
    uint64_t type;       // as the system numbers them; 0: not told
    uint64_t block_size; // bytes
    uint64_t blocks;
    uint64_t blocks_free;
    uint64_t blocks_available; // to those who are not root
    uint64_t files;            // that there can be; 0: not told
    uint64_t files_free;
    uint64_t name_max; // bytes that a name can have
};

/* The file system that path is on. */
int ed_fs_statfs_sync(const char *path, struct ed_statfs *statfs);
int ed_fs_statfs(struct ed_pool *pool, struct ed_fs_request *request,
                 const char *path, struct ed_statfs *statfs, ed_fs_fn *done);

/* mode is F_OK, or R_OK, W_OK and X_OK of <unistd.h>. */
int ed_fs_access_sync(const char *path, int mode);
int ed_fs_access(struct ed_pool *pool, struct ed_fs_request *request,
                 const char *path, int mode, ed_fs_fn *done);

int ed_fs_chmod_sync(const char *path, mode_t mode);
int ed_fs_chmod(struct ed_pool *pool, struct ed_fs_request *request,
                const char *path, mode_t mode, ed_fs_fn *done);
int ed_fs_fchmod_sync(int fd, mode_t mode);
int ed_fs_fchmod(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                 mode_t mode, ed_fs_fn *done);

/* (uid_t)-1 and (gid_t)-1 stay as they are. lchown: of a link itself. */
int ed_fs_chown_sync(const char *path, uid_t uid, gid_t gid);
int ed_fs_chown(struct ed_pool *pool, struct ed_fs_request *request,
                const char *path, uid_t uid, gid_t gid, ed_fs_fn *done);
int ed_fs_lchown_sync(const char *path, uid_t uid, gid_t gid);
int ed_fs_lchown(struct ed_pool *pool, struct ed_fs_request *request,
                 const char *path, uid_t uid, gid_t gid, ed_fs_fn *done);
int ed_fs_fchown_sync(int fd, uid_t uid, gid_t gid);
int ed_fs_fchown(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                 uid_t uid, gid_t gid, ed_fs_fn *done);

/*
 * When it was accessed, and when modified. A tv_nsec of UTIME_NOW: now;
 * UTIME_OMIT: as it is. lutimes: of a link itself. The times are copied.
 */
int ed_fs_utimes_sync(const char *path, const struct timespec times[2]);
int ed_fs_utimes(struct ed_pool *pool, struct ed_fs_request *request,
                 const char *path, const struct timespec times[2],
                 ed_fs_fn *done);
int ed_fs_lutimes_sync(const char *path, const struct timespec times[2]);
int ed_fs_lutimes(struct ed_pool *pool, struct ed_fs_request *request,
                  const char *path, const struct timespec times[2],
                  ed_fs_fn *done);
int ed_fs_futimes_sync(int fd, const struct timespec times[2]);
int ed_fs_futimes(struct ed_pool *pool, struct ed_fs_request *request, int fd,
                  const struct timespec times[2], ed_fs_fn *done);

/* ---- names ----------------------------------------------------------- */

/* Of a symbolic link, another name of the link itself. */
int ed_fs_link_sync(const char *path, const char *new_path);
int ed_fs_link(struct ed_pool *pool, struct ed_fs_request *request,
               const char *path, const char *new_path, ed_fs_fn *done);

int ed_fs_symlink_sync(const char *target, const char *path);
int ed_fs_symlink(struct ed_pool *pool, struct ed_fs_request *request,
                  const char *target, const char *path, ed_fs_fn *done);

/*
 * What a symbolic link says, as a C string. Returns its length; -ENAMETOOLONG
 * if it does not fit into size bytes with its NUL.
 */
int64_t ed_fs_readlink_sync(const char *path, char *buffer, size_t size);
int ed_fs_readlink(struct ed_pool *pool, struct ed_fs_request *request,
                   const char *path, char *buffer, size_t size, ed_fs_fn *done);

/* The path from the root, without links and dots. As readlink otherwise. */
int64_t ed_fs_realpath_sync(const char *path, char *buffer, size_t size);
int ed_fs_realpath(struct ed_pool *pool, struct ed_fs_request *request,
                   const char *path, char *buffer, size_t size, ed_fs_fn *done);

enum {
    ED_RENAME_EXCHANGE = 1,   // both are there, and become each other
    ED_RENAME_NO_REPLACE = 2, // -EEXIST if new_path is there
};

/*
 * flags: 0, or one of those, at once and for all to see; -ENOTSUP where the
 * system has no such, -ENOTSUP or -EINVAL where the file system has not.
 */
int ed_fs_rename_sync(const char *path, const char *new_path, unsigned flags);
int ed_fs_rename(struct ed_pool *pool, struct ed_fs_request *request,
                 const char *path, const char *new_path, unsigned flags,
                 ed_fs_fn *done);

int ed_fs_unlink_sync(const char *path);
int ed_fs_unlink(struct ed_pool *pool, struct ed_fs_request *request,
                 const char *path, ed_fs_fn *done);

int ed_fs_mkdir_sync(const char *path, mode_t mode);
int ed_fs_mkdir(struct ed_pool *pool, struct ed_fs_request *request,
                const char *path, mode_t mode, ed_fs_fn *done);

/*
 * Makes the directory and those above it that are missing; these one can also
 * write to and search. Returns how many it made: 0 if there was a directory
 * already, or a link to one.
 */
int ed_fs_mkdir_parents_sync(const char *path, mode_t mode);
int ed_fs_mkdir_parents(struct ed_pool *pool, struct ed_fs_request *request,
                        const char *path, mode_t mode, ed_fs_fn *done);

int ed_fs_rmdir_sync(const char *path);
int ed_fs_rmdir(struct ed_pool *pool, struct ed_fs_request *request,
                const char *path, ed_fs_fn *done);

/*
 * A new directory, or a new file with a descriptor of it, which is the answer,
 * for its owner only. path ends in XXXXXX, which becomes what makes it a new
 * name; after an error it is as it was.
 */
int ed_fs_mkdtemp_sync(char *path);
int ed_fs_mkdtemp(struct ed_pool *pool, struct ed_fs_request *request,
                  char *path, ed_fs_fn *done);
int ed_fs_mkstemp_sync(char *path);
int ed_fs_mkstemp(struct ed_pool *pool, struct ed_fs_request *request,
                  char *path, ed_fs_fn *done);

#endif
