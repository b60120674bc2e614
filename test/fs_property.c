/*
 * Random operations, by both forms and by plain system calls, in a directory
 * for each of the three: they have the same answers and make the same trees.
 * As root, every other sequence is one of nobody's.
 *
 *     EDDY_SEED=7 test_fs_property      one sequence, again
 */
#include <stdarg.h>
#include <sys/file.h>
#include <time.h>

#include "test/fs.h"

#ifdef __linux__
#include <sys/syscall.h> // of renameat2
#endif

enum { NOBODY = 65534, WAYS = 3, SLOTS = 4, LONGEST_ANSWER = 4096 };

/* ---- chance -------------------------------------------------------------- */

static uint64_t random_state;

static uint32_t below(uint32_t limit)
{
    random_state ^= random_state << 13; // Marsaglia's xorshift
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32) % limit;
}

static void begin_chance(uint64_t seed)
{
    random_state = seed * 0x9e3779b97f4a7c15u + 1;
    for (int i = 0; i < 10; i++)
        below(2);
}

/* None leads upwards: the three must not meet. */
static const char *any_path(void)
{
    static const char *const paths[] = {
        "a",     "b",     "c",       "a",           "b",      "c",
        "a/a",   "a/b",   "b/a",     "b/c",         "c/a",    "a/b/c",
        "b/a/c", "a/a/a", "a/b/c/a", "a/",          "a//b",   "b/./c",
        "b/a/",  "",      ".",       "\xff\n/\x01", "\xff\n", "c/\xff\n",
    };
    return paths[below(sizeof paths / sizeof *paths)];
}

static mode_t any_mode(void)
{
    // Somebody who is not root could not look at the tree with the others.
    static const mode_t modes[] = {0700, 0755, 0777, 0711, 0500, 0300, 0, 0644};
    return modes[below(geteuid() && getuid() ? 3 : 8)];
}

/* ---- plain system calls -------------------------------------------------- */

static int64_t errno_or(int64_t result)
{
    return result < 0 ? -errno : result;
}

static int plain_open(const char *path, int flags, mode_t mode)
{
    return (int)errno_or(open(path, flags | O_CLOEXEC, mode));
}

static int plain_close(int fd)
{
    return (int)errno_or(close(fd));
}

static int64_t plain_read(int fd, void *buffer, size_t size, int64_t offset)
{
    return errno_or(offset < 0 ? read(fd, buffer, size)
                               : pread(fd, buffer, size, offset));
}

static int64_t plain_write(int fd, const void *buffer, size_t size,
                           int64_t offset)
{
    return errno_or(offset < 0 ? write(fd, buffer, size)
                               : pwrite(fd, buffer, size, offset));
}

static int64_t plain_readv(int fd, const struct iovec *parts, int count,
                           int64_t offset)
{
    return errno_or(offset < 0 ? readv(fd, parts, count)
                               : preadv(fd, parts, count, offset));
}

static int64_t plain_writev(int fd, const struct iovec *parts, int count,
                            int64_t offset)
{
    return errno_or(offset < 0 ? writev(fd, parts, count)
                               : pwritev(fd, parts, count, offset));
}

static int plain_truncate(const char *path, int64_t size)
{
    return (int)errno_or(truncate(path, size));
}

static int plain_ftruncate(int fd, int64_t size)
{
    return (int)errno_or(ftruncate(fd, size));
}

static int plain_flock(int fd, int operation)
{
    return (int)errno_or(flock(fd, operation));
}

static int taken(struct ed_stat *to, int failed, const struct stat *from)
{
    if (failed)
        return -errno;
    *to = (struct ed_stat){
        .links = from->st_nlink,
        .size = from->st_size,
        .mode = from->st_mode,
        .uid = from->st_uid,
        .gid = from->st_gid,
    };
    return 0;
}

static int plain_stat(const char *path, struct ed_stat *to)
{
    struct stat from;
    return taken(to, stat(path, &from), &from);
}

static int plain_lstat(const char *path, struct ed_stat *to)
{
    struct stat from;
    return taken(to, lstat(path, &from), &from);
}

static int plain_fstat(int fd, struct ed_stat *to)
{
    struct stat from;
    return taken(to, fstat(fd, &from), &from);
}

static int plain_access(const char *path, int mode)
{
    return (int)errno_or(access(path, mode));
}

static int plain_chmod(const char *path, mode_t mode)
{
    return (int)errno_or(chmod(path, mode));
}

static int plain_fchmod(int fd, mode_t mode)
{
    return (int)errno_or(fchmod(fd, mode));
}

static int plain_chown(const char *path, uid_t uid, gid_t gid)
{
    return (int)errno_or(chown(path, uid, gid));
}

static int plain_lchown(const char *path, uid_t uid, gid_t gid)
{
    return (int)errno_or(lchown(path, uid, gid));
}

static int plain_fchown(int fd, uid_t uid, gid_t gid)
{
    return (int)errno_or(fchown(fd, uid, gid));
}

static int plain_utimes(const char *path, const struct timespec times[2])
{
    return (int)errno_or(utimensat(AT_FDCWD, path, times, 0));
}

static int plain_lutimes(const char *path, const struct timespec times[2])
{
    return (int)errno_or(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW));
}

static int plain_futimes(int fd, const struct timespec times[2])
{
    return (int)errno_or(futimens(fd, times));
}

static int plain_link(const char *path, const char *new_path)
{
    return (int)errno_or(linkat(AT_FDCWD, path, AT_FDCWD, new_path, 0));
}

static int plain_symlink(const char *target, const char *path)
{
    return (int)errno_or(symlink(target, path));
}

static int64_t plain_readlink(const char *path, char *buffer, size_t size)
{
    ssize_t length = readlink(path, buffer, size);
    if (length >= 0)
        buffer[length] = '\0'; // it has room
    return errno_or(length);
}

static int64_t plain_realpath(const char *path, char *buffer, size_t size)
{
    char *real = realpath(path, NULL);
    if (!real)
        return -errno;
    snprintf(buffer, size, "%s", real);
    free(real);
    return (int64_t)strlen(buffer);
}

static bool has_flags; // of rename

static int plain_rename(const char *path, const char *new_path, unsigned flags)
{
#ifdef SYS_renameat2
    unsigned kernel_flags = flags == ED_RENAME_EXCHANGE     ? 2
                            : flags == ED_RENAME_NO_REPLACE ? 1
                                                            : 0;
    if (flags)
        return (int)errno_or(syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD,
                                     new_path, kernel_flags));
#endif
    if (flags)
        return -ENOTSUP;
    return (int)errno_or(rename(path, new_path));
}

static int plain_unlink(const char *path)
{
    return (int)errno_or(unlink(path));
}

static int plain_mkdir(const char *path, mode_t mode)
{
    return (int)errno_or(mkdir(path, mode));
}

/* From the first to the last, whatever is there. */
static int plain_mkdir_parents(const char *path, mode_t mode)
{
    char prefix[64];
    int count = 0;
    size_t length = strlen(path), end = 0;
    if (!length)
        return -ENOENT;
    while (end < length) {
        while (path[end] == '/')
            end++;
        end += strcspn(path + end, "/");
        // Slashes at the end belong to the last.
        bool is_last = strspn(path + end, "/") == length - end;
        if (is_last)
            end = length;
        snprintf(prefix, sizeof prefix, "%.*s", (int)end, path);
        if (!mkdir(prefix, is_last ? mode : mode | 0300)) {
            count++;
            continue;
        }
        int err = -errno;
        struct stat stat_;
        if (!stat(prefix, &stat_))
            err = S_ISDIR(stat_.st_mode) ? 0 : is_last ? err : -ENOTDIR;
        else if (!is_last && errno != ENOENT)
            err = -errno;
        if (err)
            return err;
    }
    return count;
}

static int plain_rmdir(const char *path)
{
    return (int)errno_or(rmdir(path));
}

static int plain_mkdtemp(char *path)
{
    return mkdtemp(path) ? 0 : -errno;
}

static int plain_mkstemp(char *path)
{
    return (int)errno_or(mkstemp(path));
}

static int plain_sync_directory(const char *path)
{
    int fd = plain_open(path, O_RDONLY | O_DIRECTORY, 0);
    return fd < 0 ? fd : plain_close(fd);
}

static const struct form plainly = {
    .name = "plain",
    .open = plain_open,
    .close = plain_close,
    .read = plain_read,
    .write = plain_write,
    .readv = plain_readv,
    .writev = plain_writev,
    .truncate = plain_truncate,
    .ftruncate = plain_ftruncate,
    .flock = plain_flock,
    .stat = plain_stat,
    .lstat = plain_lstat,
    .fstat = plain_fstat,
    .access = plain_access,
    .chmod = plain_chmod,
    .fchmod = plain_fchmod,
    .chown = plain_chown,
    .lchown = plain_lchown,
    .fchown = plain_fchown,
    .utimes = plain_utimes,
    .lutimes = plain_lutimes,
    .futimes = plain_futimes,
    .link = plain_link,
    .symlink = plain_symlink,
    .readlink = plain_readlink,
    .realpath = plain_realpath,
    .rename = plain_rename,
    .unlink = plain_unlink,
    .mkdir = plain_mkdir,
    .mkdir_parents = plain_mkdir_parents,
    .rmdir = plain_rmdir,
    .mkdtemp = plain_mkdtemp,
    .mkstemp = plain_mkstemp,
    .sync_directory = plain_sync_directory,
};

static const struct form *const ways[WAYS] = {&plainly, &forms[0], &forms[1]};

/* ---- operations ---------------------------------------------------------- */

/* What all three are asked. */
struct question {
    const char *path, *other;
    int slot, flags;
    mode_t mode;
    uint32_t owner;
    int64_t offset;
    size_t size;
    struct timespec times[2];
};

static int slots[WAYS][SLOTS]; // descriptors, or -1
static int way;                // who is asked
static char answer[WAYS][LONGEST_ANSWER];

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
    va_list arguments;
    size_t length = strlen(answer[way]);
    va_start(arguments, format);
    vsnprintf(answer[way] + length, LONGEST_ANSWER - length, format, arguments);
    va_end(arguments);
}

static void say_stat(int err, const struct ed_stat *stat)
{
    say("%d", err);
    if (err)
        return;
    say(" %o %d %d", (unsigned)stat->mode, (int)stat->uid, (int)stat->gid);
    if (!S_ISDIR(stat->mode))
        say(" %d %d", (int)stat->links, (int)stat->size);
}

/* The directories differ in one digit, which is the first after the slash. */
static void say_path(int64_t length, const char *path)
{
    const char *root = length > 0 ? strstr(path, "/eddy-") : NULL;
    say("%lld", (long long)length);
    if (root)
        say(" %s", root + strlen("/eddy-XXXXXX/1"));
}

static int *slot_of(const struct question *q)
{
    return &slots[way][q->slot];
}

static void keep(const struct question *q, int fd)
{
    int *slot = slot_of(q);
    say("%d", fd < 0 ? fd : 0);
    if (fd >= 0 && *slot >= 0)
        close(*slot);
    if (fd >= 0)
        *slot = fd;
}

static void ask_open(const struct form *fs, const struct question *q)
{
    keep(q, fs->open(q->path, q->flags, q->mode));
}

static void ask_close(const struct form *fs, const struct question *q)
{
    say("%d", fs->close(*slot_of(q)));
    *slot_of(q) = -1;
}

static void ask_read(const struct form *fs, const struct question *q)
{
    char buffer[100];
    int64_t count = fs->read(*slot_of(q), buffer, sizeof buffer, q->offset);
    say("%d", (int)count);
    for (int64_t i = 0; i < count; i++)
        say("%02x", (unsigned char)buffer[i]);
}

static void ask_readv(const struct form *fs, const struct question *q)
{
    char buffer[100];
    struct iovec parts[] = {{buffer, 10}, {buffer + 10, 90}};
    int64_t count = fs->readv(*slot_of(q), parts, 2, q->offset);
    say("%d", (int)count);
    for (int64_t i = 0; i < count; i++)
        say("%02x", (unsigned char)buffer[i]);
}

static char text[70000];

static void ask_write(const struct form *fs, const struct question *q)
{
    say("%d", (int)fs->write(*slot_of(q), text + q->slot, q->size, q->offset));
}

static void ask_writev(const struct form *fs, const struct question *q)
{
    struct iovec parts[] = {{text, q->size / 2}, {text + 7, q->size / 3}};
    say("%d", (int)fs->writev(*slot_of(q), parts, 2, q->offset));
}

static void ask_truncate(const struct form *fs, const struct question *q)
{
    say("%d", fs->truncate(q->path, q->offset));
}

static void ask_ftruncate(const struct form *fs, const struct question *q)
{
    say("%d", fs->ftruncate(*slot_of(q), q->offset));
}

static void ask_flock(const struct form *fs, const struct question *q)
{
    static const int locks[] = {LOCK_SH, LOCK_EX, LOCK_UN};
    say("%d", fs->flock(*slot_of(q), locks[q->owner % 3] | LOCK_NB));
}

static void ask_stat(const struct form *fs, const struct question *q)
{
    struct ed_stat stat;
    int err = fs->stat(q->path, &stat);
    say_stat(err, &stat);
}

static void ask_lstat(const struct form *fs, const struct question *q)
{
    struct ed_stat stat;
    int err = fs->lstat(q->path, &stat);
    say_stat(err, &stat);
}

static void ask_fstat(const struct form *fs, const struct question *q)
{
    struct ed_stat stat;
    int err = fs->fstat(*slot_of(q), &stat);
    say_stat(err, &stat);
}

static void ask_access(const struct form *fs, const struct question *q)
{
    say("%d", fs->access(q->path, (int)q->owner % 8));
}

static void ask_chmod(const struct form *fs, const struct question *q)
{
    say("%d", fs->chmod(q->path, q->mode));
}

static void ask_fchmod(const struct form *fs, const struct question *q)
{
    say("%d", fs->fchmod(*slot_of(q), q->mode));
}

static void ask_chown(const struct form *fs, const struct question *q)
{
    say("%d", fs->chown(q->path, q->owner, (gid_t)-1));
}

static void ask_lchown(const struct form *fs, const struct question *q)
{
    say("%d", fs->lchown(q->path, (uid_t)-1, q->owner));
}

static void ask_fchown(const struct form *fs, const struct question *q)
{
    say("%d", fs->fchown(*slot_of(q), q->owner, q->owner + 1));
}

static void ask_utimes(const struct form *fs, const struct question *q)
{
    say("%d", fs->utimes(q->path, q->times));
}

static void ask_lutimes(const struct form *fs, const struct question *q)
{
    say("%d", fs->lutimes(q->path, q->times));
}

static void ask_futimes(const struct form *fs, const struct question *q)
{
    say("%d", fs->futimes(*slot_of(q), q->times));
}

static void ask_link(const struct form *fs, const struct question *q)
{
    say("%d", fs->link(q->path, q->other));
}

static void ask_symlink(const struct form *fs, const struct question *q)
{
    say("%d", fs->symlink(q->other, q->path));
}

static void ask_readlink(const struct form *fs, const struct question *q)
{
    char buffer[256] = "";
    int64_t length = fs->readlink(q->path, buffer, sizeof buffer);
    say("%lld %s", (long long)length, buffer);
}

static void ask_realpath(const struct form *fs, const struct question *q)
{
    char buffer[256] = "";
    say_path(fs->realpath(q->path, buffer, sizeof buffer), buffer);
}

static void ask_rename(const struct form *fs, const struct question *q)
{
    unsigned flags = has_flags && q->slot ? (unsigned)q->slot % 3 : 0;
    say("%d", fs->rename(q->path, q->other, flags));
}

static void ask_unlink(const struct form *fs, const struct question *q)
{
    say("%d", fs->unlink(q->path));
}

static void ask_mkdir(const struct form *fs, const struct question *q)
{
    say("%d", fs->mkdir(q->path, q->mode));
}

static void ask_mkdir_parents(const struct form *fs, const struct question *q)
{
    say("%d", fs->mkdir_parents(q->path, q->mode));
}

static void ask_rmdir(const struct form *fs, const struct question *q)
{
    say("%d", fs->rmdir(q->path));
}

/* The new name is another one for each. */
static void ask_mkdtemp(const struct form *fs, const struct question *q)
{
    char path[64];
    snprintf(path, sizeof path, "%s/XXXXXX", q->path);
    int err = fs->mkdtemp(path);
    say("%d", err);
    if (!err && rename(path, q->other))
        say(" %d %d", errno, rmdir(path));
}

static void ask_mkstemp(const struct form *fs, const struct question *q)
{
    char path[64];
    snprintf(path, sizeof path, "%s/XXXXXX", q->path);
    int fd = fs->mkstemp(path);
    keep(q, fd);
    if (fd >= 0 && rename(path, q->other))
        say(" %d %d", errno, unlink(path));
}

static void ask_sync_directory(const struct form *fs, const struct question *q)
{
    say("%d", fs->sync_directory(q->path));
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void say_names(char **names, size_t count)
{
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++) {
        say(" %s", names[i]);
        free(names[i]);
    }
}

static void list_plainly(const char *path)
{
    char *names[64];
    size_t count = 0;
    DIR *dir = opendir(path);
    say("%d", dir ? 0 : -errno);
    if (!dir)
        return;
    for (struct dirent *entry; count < 64 && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            names[count++] = strdup(entry->d_name);
    closedir(dir);
    say_names(names, count);
}

static void ask_readdir(const struct form *fs, const struct question *q)
{
    char *names[64];
    size_t count = 0;
    struct ed_dir dir;
    struct ed_dir_entry entries[3];
    if (!fs->opendir) {
        list_plainly(q->path);
        return;
    }
    int err = fs->opendir(q->path, &dir);
    say("%d", err);
    if (err)
        return;
    int64_t found;
    while (count < 60 && (found = fs->readdir(&dir, entries, 3)) > 0)
        for (int64_t i = 0; i < found; i++)
            names[count++] = strdup(entries[i].name);
    CHECK_EQ(fs->closedir(&dir), 0);
    say_names(names, count);
}

typedef void ask_fn(const struct form *fs, const struct question *q);

static const struct {
    const char *name;
    ask_fn *ask;
    unsigned weight;
} operations[] = {
    {"open", ask_open, 8},
    {"close", ask_close, 1},
    {"read", ask_read, 2},
    {"readv", ask_readv, 2},
    {"write", ask_write, 4},
    {"writev", ask_writev, 2},
    {"truncate", ask_truncate, 1},
    {"ftruncate", ask_ftruncate, 1},
    {"flock", ask_flock, 1},
    {"stat", ask_stat, 2},
    {"lstat", ask_lstat, 2},
    {"fstat", ask_fstat, 1},
    {"access", ask_access, 1},
    {"chmod", ask_chmod, 2},
    {"fchmod", ask_fchmod, 1},
    {"chown", ask_chown, 1},
    {"lchown", ask_lchown, 1},
    {"fchown", ask_fchown, 1},
    {"utimes", ask_utimes, 1},
    {"lutimes", ask_lutimes, 1},
    {"futimes", ask_futimes, 1},
    {"link", ask_link, 3},
    {"symlink", ask_symlink, 3},
    {"readlink", ask_readlink, 2},
    {"realpath", ask_realpath, 2},
    {"rename", ask_rename, 5},
    {"unlink", ask_unlink, 3},
    {"mkdir", ask_mkdir, 3},
    {"mkdir_parents", ask_mkdir_parents, 2},
    {"rmdir", ask_rmdir, 4},
    {"mkdtemp", ask_mkdtemp, 1},
    {"mkstemp", ask_mkstemp, 1},
    {"sync_directory", ask_sync_directory, 1},
    {"readdir", ask_readdir, 3},
};

enum { OPERATIONS = sizeof operations / sizeof *operations };

static size_t any_operation(void)
{
    unsigned total = 0;
    for (size_t i = 0; i < OPERATIONS; i++)
        total += operations[i].weight;
    unsigned at = below(total);
    size_t i = 0;
    while (at >= operations[i].weight)
        at -= operations[i++].weight;
    return i;
}

static struct question any_question(void)
{
    static const int kinds[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR};
    static const int extras[] = {0,
                                 O_CREAT,
                                 O_CREAT,
                                 O_CREAT | O_EXCL,
                                 O_CREAT | O_TRUNC,
                                 O_CREAT | O_APPEND,
                                 O_DIRECTORY,
                                 O_NOFOLLOW};
    struct question q = {
        .path = any_path(),
        .other = any_path(),
        .slot = (int)below(SLOTS),
        .flags = kinds[below(4)] | extras[below(8)],
        .mode = any_mode(),
        .owner = 1000 + below(4),
        .offset = (int64_t)below(4) * (int64_t)below(20000) - 1,
        .size = below(3) ? below(200) : below(60000),
    };
    // Those that are set are of the seventies.
    for (int i = 0; i < 2; i++)
        q.times[i] = (struct timespec){
            .tv_sec = below(1000),
            .tv_nsec =
                below(4) ? (long)below(1000000) * 1000 : (long)UTIME_OMIT,
        };
    return q;
}

/* ---- trees --------------------------------------------------------------- */

static FILE *tree; // what is written of one

static uint64_t hash_file(int at, const char *name)
{
    unsigned char buffer[4096];
    uint64_t hash = 14695981039346656037u; // FNV
    int fd = openat(at, name, O_RDONLY);
    for (ssize_t count; (count = read(fd, buffer, sizeof buffer)) > 0;)
        for (ssize_t i = 0; i < count; i++)
            hash = (hash ^ buffer[i]) * 1099511628211u;
    close(fd);
    return hash;
}

static void draw(int fd, const char *path);

static void draw_entry(int at, const char *path, const char *name)
{
    struct stat stat;
    char below_it[1024], target[256] = "";
    if (fstatat(at, name, &stat, AT_SYMLINK_NOFOLLOW))
        abort();
    snprintf(below_it, sizeof below_it, "%s/%s", path, name);
    fprintf(tree, "%s %o %d %d", below_it, (unsigned)stat.st_mode,
            (int)stat.st_uid, (int)stat.st_gid);
    if (stat.st_mtime < 1000)
        fprintf(tree, " %ld", (long)stat.st_mtime);
    if (S_ISLNK(stat.st_mode) &&
        readlinkat(at, name, target, sizeof target - 1) > 0)
        fprintf(tree, " %s", target);
    if (S_ISREG(stat.st_mode))
        fprintf(tree, " %d %d %llx", (int)stat.st_nlink, (int)stat.st_size,
                (unsigned long long)hash_file(at, name));
    fprintf(tree, "\n");
    if (S_ISDIR(stat.st_mode))
        draw(openat(at, name, O_RDONLY | O_DIRECTORY), below_it);
}

static void draw(int fd, const char *path)
{
    char *names[256];
    size_t count = 0;
    DIR *dir = fdopendir(fd);
    if (!dir)
        abort();
    for (struct dirent *entry; count < 256 && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            names[count++] = strdup(entry->d_name);
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++) {
        draw_entry(fd, path, names[i]);
        free(names[i]);
    }
    closedir(dir);
}

static char *tree_of(const char *path)
{
    char *lines = NULL;
    size_t size = 0;
    tree = open_memstream(&lines, &size);
    draw(open(path, O_RDONLY | O_DIRECTORY), "");
    fclose(tree);
    return lines;
}

/* ---- sequences ----------------------------------------------------------- */

static const char *const roots[WAYS] = {"1", "2", "3"};
static int root_fds[WAYS];

static void become(uid_t uid)
{
    if (getuid() == 0 && seteuid(uid))
        abort();
}

/* Returns whether all three say the same. */
static bool ask_all(size_t operation, const struct question *q, uid_t uid)
{
    for (way = 0; way < WAYS; way++) {
        answer[way][0] = '\0';
        if (fchdir(root_fds[way]))
            abort();
        become(uid);
        operations[operation].ask(ways[way], q);
        become(0);
    }
    for (way = 1; way < WAYS; way++) {
        if (strcmp(answer[0], answer[way]) == 0)
            continue;
        printf("# %s(\"%s\", \"%s\"), slot %d, flags %o, mode %o, offset %lld, "
               "size %zu: \"%s\" says %s, \"%s\" says %s\n",
               operations[operation].name, q->path, q->other, q->slot,
               (unsigned)q->flags, (unsigned)q->mode, (long long)q->offset,
               q->size, ways[0]->name, answer[0], ways[way]->name, answer[way]);
        CHECK(strcmp(answer[0], answer[way]) == 0);
        return false;
    }
    return true;
}

static bool compare_trees(void)
{
    char *trees[WAYS];
    bool are_same = true;
    for (int i = 0; i < WAYS; i++)
        trees[i] = tree_of(roots[i]);
    for (int i = 1; i < WAYS; i++) {
        bool is_same = strcmp(trees[0], trees[i]) == 0;
        CHECK(is_same);
        if (!is_same)
            printf("# of %s:\n%s# of %s:\n%s", ways[0]->name, trees[0],
                   ways[i]->name, trees[i]);
        are_same = are_same && is_same;
    }
    for (int i = 0; i < WAYS; i++)
        free(trees[i]);
    return are_same;
}

static void run_sequence(uint64_t seed)
{
    enum { LENGTH = 400, LOOKS = 50 };
    int failures = tap_failures;
    uid_t uid = seed % 2 ? NOBODY : 0;
    int back = open(".", O_RDONLY);
    begin_chance(seed);
    for (int i = 0; i < WAYS; i++) {
        CHECK_EQ(mkdir(roots[i], 0700), 0);
        if (getuid() == 0)
            CHECK_EQ(chown(roots[i], uid, (gid_t)-1), 0);
        root_fds[i] = open(roots[i], O_RDONLY);
        for (int s = 0; s < SLOTS; s++)
            slots[i][s] = -1;
    }

    bool goes_on = true;
    for (int done = 0; done < LENGTH && goes_on; done++) {
        struct question q = any_question();
        size_t operation = any_operation();
        goes_on = ask_all(operation, &q, uid);
        if (fchdir(back))
            abort();
        if (goes_on && done % LOOKS == LOOKS - 1)
            goes_on = compare_trees();
        if (!goes_on)
            printf("# that was number %d\n", done);
    }

    for (int i = 0; i < WAYS; i++) {
        for (int s = 0; s < SLOTS; s++)
            if (slots[i][s] >= 0)
                close(slots[i][s]);
        close(root_fds[i]);
        (void)chmod(roots[i], 0700);
        remove_all(open(roots[i], O_RDONLY));
        CHECK_EQ(rmdir(roots[i]), 0);
    }
    close(back);
    if (tap_failures > failures)
        printf("# EDDY_SEED=%llu\n", (unsigned long long)seed);
}

static void probe_rename(void)
{
    make_file("one", "");
    has_flags = !ed_fs_rename_sync("one", "two", ED_RENAME_NO_REPLACE);
    unlink("one");
    unlink("two");
}

static void
random_operations_have_the_same_answers_and_make_the_same_trees(void)
{
    enum { SEEDS = 20 };
    const char *wanted = getenv("EDDY_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    mode_t before = umask(022);
    begin();
    CHECK_EQ(chmod(".", 0755), 0);
    probe_rename();
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 7 + i / 251);
    if (wanted) {
        run_sequence(strtoull(wanted, NULL, 10));
    } else {
        // The same ones each time, and two that nobody has seen yet.
        uint64_t seed =
            (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
        printf("# seeds: 0 to %d, %llu and the next\n", SEEDS - 1,
               (unsigned long long)seed);
        for (uint64_t i = 0; i < SEEDS; i++)
            run_sequence(i);
        run_sequence(seed);
        run_sequence(seed + 1);
    }
    umask(before);
    end();
}

TESTS(TEST(random_operations_have_the_same_answers_and_make_the_same_trees))
