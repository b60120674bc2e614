/* Each test is run with the calls that block, and with those of the pool. */
#include "fs/directory.h"

#include <limits.h>

#include "test/fs.h"

enum { MOST = 4096 };

static char *found[MOST]; // names, sorted
static int founds;

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void forget_found(void)
{
    while (founds > 0)
        free(found[--founds]);
}

/* Reads a directory, so many entries at a time; checks what can be of each. */
static void read_directory(const struct form *fs, const char *path,
                           size_t batch)
{
    static struct ed_dir_entry entries[MOST];
    struct ed_dir dir;
    int64_t count;
    forget_found();
    NEED(fs->opendir(path, &dir) == 0);
    while ((count = fs->readdir(&dir, entries, batch)) > 0) {
        CHECK(count <= (int64_t)batch);
        for (int64_t i = 0; i < count; i++) {
            struct stat stat;
            CHECK_EQ(
                fstatat(dir.fd, entries[i].name, &stat, AT_SYMLINK_NOFOLLOW),
                0);
            CHECK_EQ(entries[i].inode, stat.st_ino);
            CHECK(!entries[i].type ||
                  entries[i].type == (stat.st_mode & S_IFMT));
            NEED(founds < MOST);
            found[founds++] = strdup(entries[i].name);
        }
    }
    CHECK_EQ(count, 0);
    CHECK_EQ(fs->readdir(&dir, entries, batch), 0);
    int fd = dir.fd;
    CHECK_EQ(fs->closedir(&dir), 0);
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
    qsort(found, (size_t)founds, sizeof *found, compare_names);
}

static void read_kinds(const struct form *fs)
{
    static const char *const names[] = {"...", "dir", "fifo", "file", "link"};
    make_file("file", "");
    make_file("...", "");
    CHECK_EQ(mkdir("dir", 0700), 0);
    CHECK_EQ(mkfifo("fifo", 0600), 0);
    CHECK_EQ(symlink("nowhere", "link"), 0);
    read_directory(fs, ".", 10);
    CHECK_EQ(founds, 5);
    for (int i = 0; i < founds && i < 5; i++)
        CHECK_STR(found[i], names[i]);
    read_directory(fs, "dir", 10);
    CHECK_EQ(founds, 0);
    forget_found();
}

static void entries_have_names_and_types(void)
{
    with_both(read_kinds);
}

/* Long names, so that one buffer is not enough. */
static void read_many(const struct form *fs)
{
    static const size_t batches[] = {1, 2, 7, 64, 1000, MOST};
    enum { COUNT = 1500 };
    char name[NAME_MAX + 1];
    for (int i = 0; i < COUNT; i++) {
        int length = snprintf(name, sizeof name, "%05d", i);
        memset(name + length, 'x', (size_t)i % 250);
        name[length + i % 250] = '\0';
        make_file(name, "");
    }
    for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
        read_directory(fs, ".", batches[b]);
        CHECK_EQ(founds, COUNT);
        for (int i = 0; i < founds; i++) {
            CHECK_EQ(atoi(found[i]), i);
            CHECK_EQ(strlen(found[i]), 5 + i % 250);
        }
    }
    forget_found();
}

static void every_entry_comes_once_whatever_the_batch(void)
{
    with_both(read_many);
}

static void read_every_byte(const struct form *fs)
{
    int made = 0;
    for (int byte = 1; byte < 256; byte++) {
        char name[] = {(char)byte, 'x', '\0'};
        int fd = byte == '/' ? -1 : open(name, O_WRONLY | O_CREAT, 0600);
        made += fd >= 0;
        if (fd >= 0)
            close(fd);
    }
    read_directory(fs, ".", 100);
    CHECK_EQ(founds, made);
    CHECK(made >= 94);
    for (int i = 0; i < founds; i++)
        CHECK_EQ(unlink(found[i]), 0);
    read_directory(fs, ".", 100);
    CHECK_EQ(founds, 0);
    forget_found();
}

static void names_of_any_bytes_are_found(void)
{
    with_both(read_every_byte);
}

static void remove_while_reading(const struct form *fs)
{
    enum { COUNT = 1000 };
    struct ed_dir_entry entries[10];
    struct ed_dir dir;
    int removed = 0;
    int64_t count;
    CHECK_EQ(mkdir("dir", 0700), 0);
    for (int i = 0; i < COUNT; i++) {
        char name[32];
        snprintf(name, sizeof name, "dir/file-%d", i);
        make_file(name, "");
    }
    CHECK_EQ(fs->opendir("dir", &dir), 0);
    while ((count = fs->readdir(&dir, entries, 10)) > 0)
        for (int64_t i = 0; i < count; i++)
            removed += !unlinkat(dir.fd, entries[i].name, 0);
    CHECK_EQ(count, 0);
    CHECK_EQ(removed, COUNT);
    CHECK_EQ(fs->rmdir("dir"), 0);
    CHECK_EQ(fs->readdir(&dir, entries, 10), 0);
    CHECK_EQ(fs->closedir(&dir), 0);

    CHECK_EQ(mkdir("dir", 0700), 0);
    CHECK_EQ(fs->opendir("dir", &dir), 0);
    CHECK_EQ(rmdir("dir"), 0);
    CHECK_EQ(fs->readdir(&dir, entries, 10), 0);
    CHECK_EQ(fs->closedir(&dir), 0);
}

static void what_is_found_may_be_removed_and_the_directory_too(void)
{
    with_both(remove_while_reading);
}

static void misuse_directories(const struct form *fs)
{
    struct ed_dir dir;
    struct shortage shortage;
    make_file("file", "");
    CHECK_EQ(mkfifo("fifo", 0600), 0);
    CHECK_EQ(symlink("fifo", "link"), 0);
    CHECK_EQ(fs->opendir("missing", &dir), -ENOENT);
    CHECK_EQ(fs->opendir("file", &dir), -ENOTDIR);
    CHECK_EQ(fs->opendir("fifo", &dir), -ENOTDIR);
    CHECK_EQ(fs->opendir("link", &dir), -ENOTDIR);
    CHECK_EQ(fs->opendir("", &dir), -ENOENT);

    begin_shortage(&shortage);
    CHECK_EQ(fs->opendir(".", &dir), -EMFILE);
    end_shortage(&shortage);
}

static void opendir_says_why_it_fails(void)
{
    with_both(misuse_directories);
}

static void a_directory_is_closed_on_exec(void)
{
    struct ed_dir dir;
    begin();
    CHECK_EQ(ed_fs_opendir_sync(".", &dir), 0);
    CHECK(fcntl(dir.fd, F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(ed_fs_closedir_sync(&dir), 0);
    end();
}

TESTS(TEST(entries_have_names_and_types),
      TEST(every_entry_comes_once_whatever_the_batch),
      TEST(names_of_any_bytes_are_found),
      TEST(what_is_found_may_be_removed_and_the_directory_too),
      TEST(opendir_says_why_it_fails), TEST(a_directory_is_closed_on_exec))
