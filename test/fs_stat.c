/* Each test is run with the calls that block, and with those of the pool. */
#include "fs/fs.h"

#include <sys/resource.h>
#include <sys/statvfs.h>

#include "test/fs.h"

/* ---- stat ---------------------------------------------------------------- */

static void check_time(struct timespec got, time_t want)
{
    CHECK_EQ(got.tv_sec, want);
    CHECK(got.tv_nsec >= 0 && got.tv_nsec < 1000000000);
}

/* What we say is what the system says. */
static void compare(const struct ed_stat *got, const struct stat *want)
{
    CHECK_EQ(got->device, want->st_dev);
    CHECK_EQ(got->inode, want->st_ino);
    CHECK_EQ(got->special, want->st_rdev);
    CHECK_EQ(got->links, want->st_nlink);
    CHECK_EQ(got->size, want->st_size);
    CHECK_EQ(got->blocks, want->st_blocks);
    CHECK_EQ(got->block_size, want->st_blksize);
    CHECK_EQ(got->mode, want->st_mode);
    CHECK_EQ(got->uid, want->st_uid);
    CHECK_EQ(got->gid, want->st_gid);
    check_time(got->accessed, want->st_atime);
    check_time(got->modified, want->st_mtime);
    check_time(got->changed, want->st_ctime);
}

static void stat_kinds(const struct form *fs)
{
    static const char *const paths[] = {
        "file", "dir", ".", "/", "fifo", "link", "to-dir", "/dev/null", "/tmp"};
    make_file("file", "12345");
    CHECK_EQ(link("file", "other"), 0);
    CHECK_EQ(mkdir("dir", 0751), 0);
    CHECK_EQ(mkfifo("fifo", 0620), 0);
    CHECK_EQ(symlink("file", "link"), 0);
    CHECK_EQ(symlink("dir", "to-dir"), 0);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct ed_stat got;
        struct stat want;
        CHECK_EQ(fs->stat(paths[i], &got), 0);
        CHECK_EQ(stat(paths[i], &want), 0);
        compare(&got, &want);
        CHECK_EQ(fs->lstat(paths[i], &got), 0);
        CHECK_EQ(lstat(paths[i], &want), 0);
        compare(&got, &want);
        if (S_ISFIFO(got.mode))
            continue;
        int fd = fs->open(paths[i], O_RDONLY, 0);
        CHECK_EQ(fs->fstat(fd, &got), 0);
        CHECK_EQ(fstat(fd, &want), 0);
        compare(&got, &want);
        CHECK_EQ(fs->close(fd), 0);
    }
}

static void stat_says_what_the_system_says(void)
{
    with_both(stat_kinds);
}

static void stat_births_and_mounts(const struct form *fs)
{
    struct ed_stat file, here, root;
    make_file("file", "");
    CHECK_EQ(fs->stat("file", &file), 0);
    CHECK_EQ(fs->stat(".", &here), 0);
    CHECK_EQ(fs->stat("/", &root), 0);
    CHECK_EQ(file.mount, here.mount);
    if (file.born.tv_sec) {
        CHECK(file.born.tv_sec <= file.changed.tv_sec);
        CHECK(file.born.tv_sec >= here.born.tv_sec);
    } else {
        CHECK_EQ(file.born.tv_nsec, 0);
    }

    // Changing a file later does not change its birth.
    struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000001}};
    struct ed_stat later;
    CHECK_EQ(fs->lutimes("file", times), 0);
    CHECK_EQ(fs->stat("file", &later), 0);
    CHECK_EQ(later.modified.tv_sec, 1000000001);
    CHECK_EQ(later.born.tv_sec, file.born.tv_sec);
    CHECK_EQ(later.born.tv_nsec, file.born.tv_nsec);
}

static void a_file_tells_its_birth_and_its_mount_or_0(void)
{
    with_both(stat_births_and_mounts);
}

static void stat_what_is_not(const struct form *fs)
{
    struct ed_stat stat;
    make_file("file", "");
    CHECK_EQ(symlink("nowhere", "dangling"), 0);
    CHECK_EQ(symlink("turning", "turning"), 0);
    CHECK_EQ(fs->stat("missing", &stat), -ENOENT);
    CHECK_EQ(fs->lstat("missing", &stat), -ENOENT);
    CHECK_EQ(fs->stat("", &stat), -ENOENT);
    CHECK_EQ(fs->lstat("", &stat), -ENOENT);
    CHECK_EQ(fs->stat("file/inside", &stat), -ENOTDIR);
    CHECK_EQ(fs->stat("dangling", &stat), -ENOENT);
    CHECK_EQ(fs->lstat("dangling", &stat), 0);
    CHECK(S_ISLNK(stat.mode));
    CHECK_EQ(fs->stat("turning", &stat), -ELOOP);
    CHECK_EQ(fs->fstat(-1, &stat), -EBADF);
    CHECK_EQ(fs->fstat(AT_FDCWD, &stat), -EBADF);
    CHECK_EQ(fs->fstat(1000, &stat), -EBADF);
}

static void stat_says_why_it_fails(void)
{
    with_both(stat_what_is_not);
}

static void stat_file_system(const struct form *fs)
{
    struct ed_statfs got;
    struct statvfs want;
    CHECK_EQ(fs->statfs(".", &got), 0);
    CHECK_EQ(statvfs(".", &want), 0);
    CHECK_EQ(got.block_size, want.f_frsize);
    CHECK_EQ(got.blocks, want.f_blocks);
    CHECK_EQ(got.files, want.f_files);
    CHECK_EQ(got.name_max, want.f_namemax);
    CHECK(got.blocks_free <= got.blocks);
    CHECK(got.blocks_available <= got.blocks_free);
    CHECK(got.files_free <= got.files);
    CHECK_EQ(fs->statfs("missing", &got), -ENOENT);
    CHECK_EQ(fs->statfs("", &got), -ENOENT);
}

static void a_file_system_tells_how_much_there_is_and_is_left(void)
{
    with_both(stat_file_system);
}

/* ---- permissions --------------------------------------------------------- */

enum { NOBODY = 65534 };

static void ask_for_access(const struct form *fs)
{
    make_file("file", "");
    CHECK_EQ(fs->access("file", F_OK), 0);
    CHECK_EQ(fs->access("file", R_OK | W_OK), 0);
    CHECK_EQ(fs->access("file", X_OK), -EACCES); // to root, too
    CHECK_EQ(fs->access("missing", F_OK), -ENOENT);
    CHECK_EQ(fs->access("file/inside", F_OK), -ENOTDIR);
    CHECK_EQ(fs->access("file", 64), -EINVAL);
}

static void access_says_whether_it_would_be_allowed(void)
{
    with_both(ask_for_access);
}

static mode_t mode_of(const char *path)
{
    struct stat stat = {0};
    CHECK_EQ(lstat(path, &stat), 0);
    return stat.st_mode & 07777;
}

static void change_modes(const struct form *fs)
{
    make_file("file", "");
    CHECK_EQ(symlink("file", "link"), 0);
    CHECK_EQ(fs->chmod("file", 0421), 0);
    CHECK_EQ(mode_of("file"), 0421);
    CHECK_EQ(fs->chmod("link", 0644), 0);
    CHECK_EQ(mode_of("file"), 0644);
    CHECK_EQ(mkdir("dir", 0700), 0);
    CHECK_EQ(fs->chmod("dir", 01777), 0);
    CHECK_EQ(mode_of("dir"), 01777);
    CHECK_EQ(fs->chmod("missing", 0600), -ENOENT);

    int fd = fs->open("file", O_RDONLY, 0);
    CHECK_EQ(fs->fchmod(fd, 0600), 0);
    CHECK_EQ(mode_of("file"), 0600);
    CHECK_EQ(fs->close(fd), 0);
    CHECK_EQ(fs->fchmod(fd, 0600), -EBADF);
}

static void modes_are_changed_of_what_links_lead_to(void)
{
    with_both(change_modes);
}

static void check_owner(const char *path, uid_t uid, gid_t gid)
{
    struct stat stat = {0};
    CHECK_EQ(lstat(path, &stat), 0);
    CHECK_EQ(stat.st_uid, uid);
    CHECK_EQ(stat.st_gid, gid);
}

static void change_owners(const struct form *fs)
{
    const uid_t same_uid = (uid_t)-1;
    const gid_t same_gid = (gid_t)-1;
    make_file("file", "");
    CHECK_EQ(symlink("file", "link"), 0);
    CHECK_EQ(fs->chown("file", same_uid, same_gid), 0);
    CHECK_EQ(fs->chown("missing", same_uid, same_gid), -ENOENT);
    CHECK_EQ(fs->lchown("missing", same_uid, same_gid), -ENOENT);
    int fd = fs->open("file", O_RDONLY, 0);
    CHECK_EQ(fs->fchown(fd, same_uid, same_gid), 0);
    if (geteuid() != 0) {
        CHECK_EQ(fs->chown("file", 0, same_gid), -EPERM);
    } else {
        CHECK_EQ(fs->chown("link", 1, 2), 0);
        check_owner("file", 1, 2);
        check_owner("link", 0, getegid());
        CHECK_EQ(fs->lchown("link", 3, same_gid), 0);
        check_owner("file", 1, 2);
        check_owner("link", 3, getegid());
        CHECK_EQ(fs->fchown(fd, same_uid, 4), 0);
        check_owner("file", 1, 4);
        // A user id that is a negative number to some.
        CHECK_EQ(fs->fchown(fd, 4000000000u, 4000000001u), 0);
        check_owner("file", 4000000000u, 4000000001u);
    }
    CHECK_EQ(fs->close(fd), 0);
    CHECK_EQ(fs->fchown(fd, same_uid, same_gid), -EBADF);
}

static void owners_are_changed_also_of_links(void)
{
    with_both(change_owners);
}

static void be_nobody(const struct form *fs)
{
    char path[] = "dir/XXXXXX", target[8];
    struct ed_stat stat;
    struct ed_dir dir;
    struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
    bool is_root = geteuid() == 0;
    CHECK_EQ(mkdir("dir", 0700), 0);
    make_file("dir/file", "");
    make_file("theirs", "");
    CHECK_EQ(chmod(".", 0755), 0);
    if (is_root)
        NEED(seteuid(NOBODY) == 0);
    else
        CHECK_EQ(chmod("dir", 0), 0);
    CHECK_EQ(fs->open("dir/file", O_RDONLY, 0), -EACCES);
    CHECK_EQ(fs->stat("dir/file", &stat), -EACCES);
    CHECK_EQ(fs->unlink("dir/file"), -EACCES);
    CHECK_EQ(fs->mkdir("dir/dir", 0700), -EACCES);
    CHECK_EQ(fs->mkdir_parents("dir/a/b", 0700), -EACCES);
    CHECK_EQ(fs->rename("dir/file", "dir/other", 0), -EACCES);
    CHECK_EQ(fs->readlink("dir/file", target, sizeof target), -EACCES);
    CHECK_EQ(fs->realpath("dir/file", target, sizeof target), -EACCES);
    CHECK_EQ(fs->opendir("dir", &dir), -EACCES);
    CHECK_EQ(fs->sync_directory("dir"), -EACCES);
    CHECK_EQ(fs->mkstemp(path), -EACCES);
    CHECK_EQ(fs->mkdtemp(path), -EACCES);
    CHECK_EQ(fs->truncate("dir/file", 0), -EACCES);
    if (is_root) {
        CHECK_EQ(fs->chmod("theirs", 0600), -EPERM);
        CHECK_EQ(fs->chown("theirs", NOBODY, NOBODY), -EPERM);
        CHECK_EQ(fs->utimes("theirs", now), -EACCES);
        NEED(seteuid(0) == 0);
    }
    CHECK_EQ(chmod("dir", 0700), 0);
}

static void without_permission_they_say_so(void)
{
    with_both(be_nobody);
}

/* ---- times --------------------------------------------------------------- */

static void check_times(const struct form *fs, const char *path,
                        struct timespec accessed, struct timespec modified)
{
    struct ed_stat stat = {0};
    CHECK_EQ(fs->lstat(path, &stat), 0);
    CHECK_EQ(stat.accessed.tv_sec, accessed.tv_sec);
    CHECK_EQ(stat.accessed.tv_nsec, accessed.tv_nsec);
    CHECK_EQ(stat.modified.tv_sec, modified.tv_sec);
    CHECK_EQ(stat.modified.tv_nsec, modified.tv_nsec);
}

static void set_times(const struct form *fs)
{
    const struct timespec early = {.tv_sec = 1, .tv_nsec = 123456000};
    const struct timespec late = {.tv_sec = 2000000000, .tv_nsec = 654321000};
    const struct timespec old = {.tv_sec = -86400};
    const struct timespec omit = {.tv_nsec = UTIME_OMIT};
    const struct timespec now = {.tv_nsec = UTIME_NOW};
    make_file("file", "");
    CHECK_EQ(symlink("file", "link"), 0);
    CHECK_EQ(symlink("nowhere", "dangling"), 0);

    CHECK_EQ(fs->utimes("file", (struct timespec[]){early, late}), 0);
    check_times(fs, "file", early, late);
    CHECK_EQ(fs->utimes("link", (struct timespec[]){late, omit}), 0);
    check_times(fs, "file", late, late);
    CHECK_EQ(fs->utimes("file", (struct timespec[]){omit, early}), 0);
    check_times(fs, "file", late, early);
    CHECK_EQ(fs->utimes("file", (struct timespec[]){old, old}), 0);
    check_times(fs, "file", old, old);

    CHECK_EQ(fs->lutimes("link", (struct timespec[]){early, late}), 0);
    check_times(fs, "link", early, late);
    check_times(fs, "file", old, old);
    CHECK_EQ(fs->lutimes("dangling", (struct timespec[]){late, early}), 0);
    check_times(fs, "dangling", late, early);

    int fd = fs->open("file", O_RDONLY, 0);
    CHECK_EQ(fs->futimes(fd, (struct timespec[]){late, early}), 0);
    check_times(fs, "file", late, early);

    struct timespec before, after;
    struct ed_stat stat;
    CHECK_EQ(clock_gettime(CLOCK_REALTIME, &before), 0);
    CHECK_EQ(fs->futimes(fd, (struct timespec[]){omit, now}), 0);
    CHECK_EQ(clock_gettime(CLOCK_REALTIME, &after), 0);
    CHECK_EQ(fs->fstat(fd, &stat), 0);
    CHECK_EQ(stat.accessed.tv_sec, late.tv_sec);
    CHECK(stat.modified.tv_sec >= before.tv_sec - 1);
    CHECK(stat.modified.tv_sec <= after.tv_sec);
    CHECK_EQ(fs->close(fd), 0);

    const struct timespec wrong = {.tv_nsec = 2000000000};
    CHECK_EQ(fs->utimes("file", (struct timespec[]){wrong, early}), -EINVAL);
    CHECK_EQ(fs->utimes("missing", (struct timespec[]){now, now}), -ENOENT);
    CHECK_EQ(fs->utimes("dangling", (struct timespec[]){now, now}), -ENOENT);
    CHECK_EQ(fs->lutimes("missing", (struct timespec[]){now, now}), -ENOENT);
    CHECK_EQ(fs->futimes(fd, (struct timespec[]){now, now}), -EBADF);
}

static void times_are_set_to_the_nanosecond_or_left_or_now(void)
{
    with_both(set_times);
}

TESTS(TEST(stat_says_what_the_system_says),
      TEST(a_file_tells_its_birth_and_its_mount_or_0),
      TEST(stat_says_why_it_fails),
      TEST(a_file_system_tells_how_much_there_is_and_is_left),
      TEST(access_says_whether_it_would_be_allowed),
      TEST(modes_are_changed_of_what_links_lead_to),
      TEST(owners_are_changed_also_of_links),
      TEST(without_permission_they_say_so),
      TEST(times_are_set_to_the_nanosecond_or_left_or_now))
