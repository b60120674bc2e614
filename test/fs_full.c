/*
 * A full disk: a small file system in memory, mounted where only this process
 * sees it. Where that is not permitted, this is skipped.
 */
#include "fs/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "test/tap.h"

enum { DISK = 1 << 20, SIZE = 600 << 10 };

static struct ed_loop loop;
static struct ed_pool pool;
static int home;
static char directory[] = "/tmp/eddy-XXXXXX";
static char old_bytes[SIZE], new_bytes[SIZE];

/* Returns whether there is a small disk now. */
static bool begin(void)
{
    char options[32];
    memset(old_bytes, 'o', SIZE);
    memset(new_bytes, 'n', SIZE);
    snprintf(options, sizeof options, "size=%d", DISK);
    home = open(".", O_RDONLY | O_CLOEXEC);
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    if (!mkdtemp(directory))
        abort();
    if (unshare(CLONE_NEWNS) ||
        mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) ||
        mount("eddy-test", directory, "tmpfs", 0, options) ||
        chdir(directory)) {
        rmdir(directory);
        close(home);
        return false;
    }
    CHECK_EQ(ed_loop_init(&loop), 0);
    CHECK_EQ(ed_pool_init(&pool, &loop, NULL), 0);
    return true;
}

static void end(void)
{
    ed_pool_destroy(&pool);
    ed_loop_destroy(&loop);
    if (fchdir(home) || umount(directory) || rmdir(directory))
        abort();
    close(home);
}

#define NEED_DISK()                                                            \
    if (!begin())                                                              \
    SKIP("file systems may not be mounted")

static void do_nothing(struct ed_fs_request *request)
{
    (void)request;
}

static int finish(struct ed_fs_request *request, int err)
{
    CHECK_EQ(err, 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    return (int)request->result;
}

static int count_names(void)
{
    int count = 0;
    DIR *dir = opendir(".");
    while (dir && readdir(dir))
        count++;
    closedir(dir);
    return count - 2;
}

static void expect_old(void)
{
    struct ed_file file = {0};
    CHECK_EQ(ed_fs_read_file_sync("file", &file), 0);
    CHECK_EQ(file.size, SIZE);
    CHECK(file.data && memcmp(file.data, old_bytes, SIZE) == 0);
    ed_file_free(&file);
    CHECK_EQ(count_names(), 1);
}

static void a_replacement_fails_and_leaves_the_old_file_and_nothing_else(void)
{
    struct ed_fs_request request = {0};
    NEED_DISK();
    CHECK_EQ(ed_fs_write_file_sync("file", old_bytes, SIZE, 0600), 0);
    CHECK_EQ(ed_fs_replace_file_sync("file", new_bytes, SIZE, 0600), -ENOSPC);
    expect_old();
    CHECK_EQ(
        finish(&request, ed_fs_replace_file(&pool, &request, "file", new_bytes,
                                            SIZE, 0600, do_nothing)),
        -ENOSPC);
    expect_old();
    // What the failed ones took is free again.
    CHECK_EQ(ed_fs_replace_file_sync("file", new_bytes, 300 << 10, 0600), 0);
    end();
}

static void a_copy_fails_and_is_removed(void)
{
    struct ed_fs_request request = {0};
    NEED_DISK();
    CHECK_EQ(ed_fs_write_file_sync("file", old_bytes, SIZE, 0600), 0);
    CHECK_EQ(ed_fs_copy_file_sync("file", "copy", 0, NULL), -ENOSPC);
    expect_old();
    CHECK_EQ(finish(&request, ed_fs_copy_file(&pool, &request, "file", "copy",
                                              0, NULL, do_nothing)),
             -ENOSPC);
    expect_old();
    end();
}

static void writing_and_appending_say_so(void)
{
    struct ed_fs_request request = {0};
    NEED_DISK();
    CHECK_EQ(ed_fs_write_file_sync("file", old_bytes, SIZE, 0600), 0);
    CHECK_EQ(ed_fs_append_file_sync("file", new_bytes, SIZE, 0600), -ENOSPC);
    CHECK_EQ(ed_fs_write_file_sync("other", new_bytes, SIZE, 0600), -ENOSPC);
    CHECK_EQ(
        finish(&request, ed_fs_append_file(&pool, &request, "file", new_bytes,
                                           SIZE, 0600, do_nothing)),
        -ENOSPC);
    CHECK_EQ(
        finish(&request, ed_fs_write_file(&pool, &request, "other", new_bytes,
                                          SIZE, 0600, do_nothing)),
        -ENOSPC);
    // What was there is still the beginning.
    struct ed_file file = {.count = SIZE};
    CHECK_EQ(ed_fs_read_file_sync("file", &file), 0);
    CHECK(file.size == SIZE && memcmp(file.data, old_bytes, SIZE) == 0);
    ed_file_free(&file);
    end();
}

TESTS(TEST(a_replacement_fails_and_leaves_the_old_file_and_nothing_else),
      TEST(a_copy_fails_and_is_removed), TEST(writing_and_appending_say_so))
