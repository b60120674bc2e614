/* Each test is run with the calls that block, and with those of the pool. */
#include "fs/fs.h"

#include <limits.h>

#include "test/fs.h"

/* ---- links --------------------------------------------------------------- */

static void link_files(const struct form *fs)
{
    struct ed_stat one, other;
    make_file("file", "text");
    CHECK_EQ(fs->link("file", "other"), 0);
    CHECK_EQ(fs->stat("file", &one), 0);
    CHECK_EQ(fs->stat("other", &other), 0);
    CHECK_EQ(one.inode, other.inode);
    CHECK_EQ(one.links, 2);
    CHECK(is_file("other", "text"));

    CHECK_EQ(fs->link("file", "other"), -EEXIST);
    CHECK_EQ(fs->link("missing", "third"), -ENOENT);
    CHECK_EQ(fs->link("file", "missing/third"), -ENOENT);
    CHECK_EQ(fs->link("file/inside", "third"), -ENOTDIR);
    CHECK_EQ(fs->mkdir("dir", 0700), 0);
    CHECK_EQ(fs->link("dir", "third"), -EPERM);
}

static void a_link_is_another_name_of_the_file(void)
{
    with_both(link_files);
}

static void link_link(const struct form *fs)
{
    char target[16];
    CHECK_EQ(fs->symlink("nowhere", "link"), 0);
    CHECK_EQ(fs->link("link", "other"), 0);
    CHECK_EQ(fs->readlink("other", target, sizeof target), 7);
    CHECK_STR(target, "nowhere");
}

static void a_link_to_a_symbolic_link_is_of_the_link_itself(void)
{
    with_both(link_link);
}

static void read_links(const struct form *fs)
{
    char target[8] = "before";
    CHECK_EQ(fs->symlink("1234567", "link"), 0);
    CHECK_EQ(fs->readlink("link", target, 8), 7);
    CHECK_STR(target, "1234567");
    CHECK_EQ(fs->readlink("link", target, 7), -ENAMETOOLONG);
    CHECK_EQ(fs->readlink("link", target, 1), -ENAMETOOLONG);

    make_file("file", "");
    CHECK_EQ(fs->readlink("file", target, 8), -EINVAL);
    CHECK_EQ(fs->readlink("missing", target, 8), -ENOENT);
    CHECK_EQ(fs->readlink("file/inside", target, 8), -ENOTDIR);
    CHECK_EQ(fs->symlink("1234567", "link"), -EEXIST);
    CHECK_EQ(fs->symlink("1234567", "missing/link"), -ENOENT);
}

static void what_a_link_says_fits_with_its_nul_or_not_at_all(void)
{
    with_both(read_links);
}

static void find_real_paths(const struct form *fs)
{
    char here[PATH_MAX], path[PATH_MAX], want[PATH_MAX + 16];
    int64_t length = fs->realpath(".", here, sizeof here);
    CHECK_EQ(length, strlen(here));
    CHECK_EQ(here[0], '/');
    CHECK_EQ(fs->realpath("/", path, 2), 1);
    CHECK_STR(path, "/");

    CHECK_EQ(fs->mkdir("dir", 0700), 0);
    make_file("dir/file", "");
    CHECK_EQ(fs->symlink("dir/.", "link"), 0);
    snprintf(want, sizeof want, "%s/dir/file", here);
    length = (int64_t)strlen(want);
    CHECK_EQ(fs->realpath("link/../dir//./file", path, sizeof path), length);
    CHECK_STR(path, want);
    CHECK_EQ(fs->realpath("link/file", path, (size_t)length + 1), length);
    strcpy(path, "before");
    CHECK_EQ(fs->realpath("link/file", path, (size_t)length), -ENAMETOOLONG);
    CHECK_EQ(fs->realpath("link/file", path, 0), -ENAMETOOLONG);
    CHECK_STR(path, "before");

    CHECK_EQ(fs->symlink("turning", "turning"), 0);
    CHECK_EQ(fs->realpath("turning", path, sizeof path), -ELOOP);
    CHECK_EQ(fs->realpath("missing", path, sizeof path), -ENOENT);
    CHECK_EQ(fs->realpath("dir/file/..", path, sizeof path), -ENOTDIR);
    CHECK_EQ(fs->realpath("", path, sizeof path), -ENOENT);
}

static void the_real_path_has_no_links_and_no_dots(void)
{
    with_both(find_real_paths);
}

/* ---- rename and unlink --------------------------------------------------- */

static void rename_things(const struct form *fs)
{
    make_file("one", "1");
    make_file("two", "2");
    CHECK_EQ(fs->rename("one", "two", 0), 0);
    CHECK(is_file("two", "1"));
    CHECK_EQ(fs->access("one", F_OK), -ENOENT);
    CHECK_EQ(fs->rename("one", "two", 0), -ENOENT);

    CHECK_EQ(fs->mkdir("dir", 0700), 0);
    CHECK_EQ(fs->mkdir("full", 0700), 0);
    make_file("full/file", "");
    CHECK_EQ(fs->rename("two", "dir", 0), -EISDIR);
    CHECK_EQ(fs->rename("dir", "two", 0), -ENOTDIR);
    int err = fs->rename("dir", "full", 0);
    CHECK(err == -ENOTEMPTY || err == -EEXIST);
    CHECK_EQ(fs->rename("full", "full/inside", 0), -EINVAL);
    CHECK_EQ(fs->rename("full", "dir", 0), 0);
    CHECK(is_file("dir/file", ""));
}

static void a_renamed_file_takes_the_place_of_what_was_there(void)
{
    with_both(rename_things);
}

static void rename_with_flags(const struct form *fs)
{
    make_file("one", "1");
    make_file("two", "2");
    CHECK_EQ(fs->rename("one", "two", 4), -EINVAL);
    CHECK_EQ(
        fs->rename("one", "two", ED_RENAME_EXCHANGE | ED_RENAME_NO_REPLACE),
        -EINVAL);

    int err = fs->rename("one", "two", ED_RENAME_NO_REPLACE);
    if (err == -ENOTSUP || err == -EINVAL) {
        CHECK_EQ(fs->rename("one", "two", ED_RENAME_EXCHANGE), err);
        CHECK(is_file("one", "1") && is_file("two", "2"));
        SKIP("this system, or file system, has no such renames");
    }
    CHECK_EQ(err, -EEXIST);
    CHECK(is_file("one", "1") && is_file("two", "2"));
    CHECK_EQ(fs->rename("one", "new", ED_RENAME_NO_REPLACE), 0);
    CHECK(is_file("new", "1"));
    CHECK_EQ(fs->rename("one", "new", ED_RENAME_NO_REPLACE), -ENOENT);

    CHECK_EQ(fs->mkdir("dir", 0700), 0);
    CHECK_EQ(fs->rename("dir", "two", ED_RENAME_EXCHANGE), 0);
    CHECK(is_file("dir", "2"));
    CHECK_EQ(fs->rmdir("two"), 0);
    CHECK_EQ(fs->rename("dir", "two", ED_RENAME_EXCHANGE), -ENOENT);
    CHECK(is_file("dir", "2"));
}

static void a_rename_can_exchange_or_refuse_to_replace(void)
{
    with_both(rename_with_flags);
}

static void remove_things(const struct form *fs)
{
    make_file("file", "");
    CHECK_EQ(fs->symlink("file", "link"), 0);
    CHECK_EQ(fs->mkdir("dir", 0700), 0);
    make_file("dir/file", "");

    CHECK_EQ(fs->unlink("link"), 0);
    CHECK_EQ(fs->unlink("link"), -ENOENT);
    CHECK_EQ(fs->rmdir("file"), -ENOTDIR);
    CHECK_EQ(fs->unlink("file/inside"), -ENOTDIR);
    CHECK_EQ(fs->unlink("file"), 0);
    int err = fs->unlink("dir");
    CHECK(err == -EISDIR || err == -EPERM);
    err = fs->rmdir("dir");
    CHECK(err == -ENOTEMPTY || err == -EEXIST);
    CHECK_EQ(fs->unlink("dir/file"), 0);
    CHECK_EQ(fs->rmdir("dir"), 0);
    CHECK_EQ(fs->rmdir("dir"), -ENOENT);
    CHECK_EQ(fs->rmdir("."), -EINVAL);
}

static void files_are_unlinked_and_empty_directories_removed(void)
{
    with_both(remove_things);
}

/* ---- directories --------------------------------------------------------- */

static mode_t permissions(const struct form *fs, const char *path)
{
    struct ed_stat stat = {0};
    CHECK_EQ(fs->stat(path, &stat), 0);
    CHECK(S_ISDIR(stat.mode));
    return stat.mode & 0777;
}

static void make_directories(const struct form *fs)
{
    mode_t before = umask(027);
    CHECK_EQ(fs->mkdir("dir", 0777), 0);
    CHECK_EQ(permissions(fs, "dir"), 0750);
    CHECK_EQ(fs->mkdir("dir", 0777), -EEXIST);
    CHECK_EQ(fs->mkdir("missing/dir", 0777), -ENOENT);
    make_file("file", "");
    CHECK_EQ(fs->mkdir("file", 0777), -EEXIST);
    CHECK_EQ(fs->mkdir("file/dir", 0777), -ENOTDIR);
    umask(before);
}

static void a_new_directory_has_the_mode_less_the_umask(void)
{
    with_both(make_directories);
}

static void make_parents(const struct form *fs)
{
    static const struct {
        const char *path;
        int result;
    } steps[] = {
        {"a/b/c", 3},
        {"a/b/c", 0},
        {"a/b/c/", 0},
        {"a/b/d//", 1},
        {"a//e/./f/", 2},
        {"g/../h/i", 3},
        {".", 0},
        {"..", 0},
        {"./j", 1},
        {"/", 0},
        {"//", 0},
        {"", -ENOENT},
        {"k/l/m/n/o", 5},
        {"k/l/m/n/p", 1},
        {"file", -EEXIST},
        {"file/q", -ENOTDIR},
        {"file/q/r", -ENOTDIR},
        {"file/", -EEXIST},
        {"to-a", 0},
        {"to-a/s/t", 2},
        {"nowhere", -EEXIST},
        {"u/.", 1},
        {"u/./v/..", 1},
    };
    make_file("file", "");
    CHECK_EQ(fs->symlink("a", "to-a"), 0);
    CHECK_EQ(fs->symlink("missing", "nowhere"), 0);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        int made = fs->mkdir_parents(steps[i].path, 0700);
        // What is said of a file with a slash behind differs between systems.
        if (made == -ENOTDIR && steps[i].result == -EEXIST)
            made = -EEXIST;
        CHECK_EQ(made, steps[i].result);
        if (made != steps[i].result)
            printf("# that was \"%s\"\n", steps[i].path);
    }
    CHECK_EQ(permissions(fs, "g"), 0700);
    CHECK_EQ(permissions(fs, "a/s/t"), 0700);
    CHECK_EQ(fs->mkdir_parents("nowhere/w", 0700), -EEXIST);
}

static void missing_parents_are_made_and_counted(void)
{
    with_both(make_parents);
}

static void make_parents_with_mode(const struct form *fs)
{
    char here[PATH_MAX], path[PATH_MAX + 16];
    mode_t before = umask(022);
    CHECK_EQ(fs->mkdir_parents("a/b/c", 0555), 3);
    CHECK_EQ(permissions(fs, "a"), 0755);
    CHECK_EQ(permissions(fs, "a/b"), 0755);
    CHECK_EQ(permissions(fs, "a/b/c"), 0555);
    CHECK_EQ(fs->mkdir_parents("a/b/c", 0700), 0);
    CHECK_EQ(permissions(fs, "a/b/c"), 0555);
    umask(before);

    CHECK(fs->realpath(".", here, sizeof here) > 0);
    snprintf(path, sizeof path, "%s/d//e", here);
    CHECK_EQ(fs->mkdir_parents(path, 0700), 2);
    CHECK_EQ(fs->rmdir("d/e"), 0);
}

static void parents_can_be_written_to_whatever_the_mode(void)
{
    with_both(make_parents_with_mode);
}

static void make_deep(const struct form *fs)
{
    static char path[PATH_MAX + 1];
    size_t length = PATH_MAX - 1;
    for (size_t i = 0; i < length; i++)
        path[i] = i % 2 ? '/' : 'd';
    path[length] = '\0';
    // The system's answer for what has just room, ours for what has not.
    int made = fs->mkdir_parents(path, 0700);
    CHECK_EQ(made, (length + 1) / 2);
    path[length] = '/';
    path[length + 1] = '\0';
    CHECK_EQ(fs->mkdir_parents(path, 0700), -ENAMETOOLONG);
    CHECK_EQ(fs->mkdir(path, 0700), -ENAMETOOLONG);
    for (; length > 0; length -= length > 1 ? 2 : 1) {
        path[length] = '\0';
        CHECK_EQ(rmdir(path), 0);
    }
}

static void a_path_is_as_deep_as_the_system_allows(void)
{
    with_both(make_deep);
}

static void many_who_make_the_same_parents_all_succeed(void)
{
    enum { COUNT = 200, DEPTH = 20 };
    static struct ed_fs_request requests[COUNT];
    int made = 0;
    begin();
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(ed_fs_mkdir_parents(&pool, &requests[i],
                                     "1/2/3/4/5/6/7/8/9/10/"
                                     "11/12/13/14/15/16/17/18/19/20",
                                     0700, count_done),
                 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(dones, COUNT);
    for (int i = 0; i < COUNT; i++) {
        CHECK(requests[i].result >= 0);
        made += (int)requests[i].result;
    }
    CHECK_EQ(made, DEPTH);
    end();
}

/* ---- new names ----------------------------------------------------------- */

static void make_new_files(const struct form *fs)
{
    enum { COUNT = 20 };
    char paths[COUNT][16];
    struct ed_stat stat;
    for (int i = 0; i < COUNT; i++) {
        strcpy(paths[i], "new-XXXXXX");
        int fd = fs->mkstemp(paths[i]);
        CHECK(fd >= 0);
        CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        CHECK_EQ(fs->write(fd, "text", 4, 0), 4);
        CHECK_EQ(fs->close(fd), 0);
        CHECK_EQ(strlen(paths[i]), 10);
        CHECK(strncmp(paths[i], "new-", 4) == 0);
        CHECK(strcmp(paths[i], "new-XXXXXX") != 0);
        CHECK(is_file(paths[i], "text"));
        CHECK_EQ(fs->stat(paths[i], &stat), 0);
        CHECK(S_ISREG(stat.mode));
        CHECK_EQ(stat.mode & 0777, 0600);
        for (int j = 0; j < i; j++)
            CHECK(strcmp(paths[i], paths[j]) != 0);
    }
}

static void a_new_file_has_a_name_of_its_own_and_belongs_to_its_owner(void)
{
    with_both(make_new_files);
}

static void make_new_directories(const struct form *fs)
{
    char one[] = "new-XXXXXX", other[] = "new-XXXXXX", bare[] = "XXXXXX";
    CHECK_EQ(fs->mkdtemp(one), 0);
    CHECK_EQ(fs->mkdtemp(other), 0);
    CHECK_EQ(fs->mkdtemp(bare), 0);
    CHECK(strcmp(one, other) != 0);
    CHECK_EQ(permissions(fs, one), 0700);
    CHECK_EQ(permissions(fs, other), 0700);
    CHECK_EQ(permissions(fs, bare), 0700);
}

static void a_new_directory_has_a_name_of_its_own(void)
{
    with_both(make_new_directories);
}

static void misuse_templates(const struct form *fs)
{
    char missing[] = "missing/XXXXXX", wrong[] = "XXXXXXx", few[] = "XXXXX";
    char empty[] = "";
    CHECK_EQ(fs->mkstemp(missing), -ENOENT);
    CHECK_EQ(fs->mkdtemp(missing), -ENOENT);
    CHECK_STR(missing, "missing/XXXXXX");
    CHECK_EQ(fs->mkstemp(wrong), -EINVAL);
    CHECK_EQ(fs->mkdtemp(wrong), -EINVAL);
    CHECK_STR(wrong, "XXXXXXx");
    CHECK_EQ(fs->mkstemp(few), -EINVAL);
    CHECK_EQ(fs->mkdtemp(few), -EINVAL);
    CHECK_EQ(fs->mkstemp(empty), -EINVAL);
    CHECK_EQ(fs->mkdtemp(empty), -EINVAL);
}

static void a_template_is_as_it_was_after_an_error(void)
{
    with_both(misuse_templates);
}

/* ---- every byte ---------------------------------------------------------- */

/* Returns whether the file system takes that name. */
static bool use_name(const struct form *fs, const char *name)
{
    struct ed_stat stat, other;
    char target[300], back[300];
    int fd = fs->open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd == -EILSEQ || fd == -EINVAL)
        return false;
    CHECK(fd >= 0);
    CHECK_EQ(fs->close(fd), 0);
    CHECK_EQ(fs->stat(name, &stat), 0);
    CHECK_EQ(fs->access(name, F_OK), 0);
    CHECK_EQ(fs->rename(name, "plain", 0), 0);
    CHECK_EQ(fs->link("plain", name), 0);
    CHECK_EQ(fs->lstat(name, &other), 0);
    CHECK_EQ(other.inode, stat.inode);
    CHECK_EQ(fs->unlink(name), 0);
    CHECK_EQ(fs->unlink("plain"), 0);

    CHECK_EQ(fs->mkdir(name, 0700), 0);
    snprintf(target, sizeof target, "./%s", name);
    CHECK_EQ(fs->symlink(target, "link"), 0);
    CHECK_EQ(fs->readlink("link", back, sizeof back), strlen(target));
    CHECK_STR(back, target);
    CHECK_EQ(fs->stat("link", &stat), 0);
    CHECK(S_ISDIR(stat.mode));
    CHECK_EQ(fs->unlink("link"), 0);
    CHECK_EQ(fs->rmdir(name), 0);
    snprintf(target, sizeof target, "%s/%s/%s", name, name, name);
    CHECK_EQ(fs->mkdir_parents(target, 0700), 3);
    CHECK_EQ(fs->rmdir(target), 0);
    snprintf(target, sizeof target, "%s/%s", name, name);
    CHECK_EQ(fs->rmdir(target), 0);
    CHECK_EQ(fs->rmdir(name), 0);
    return true;
}

static void use_every_byte(const struct form *fs)
{
    int taken = 0;
    for (int byte = 1; byte < 256; byte++) {
        char inside[] = {'a', (char)byte, 'b', '\0'};
        char alone[] = {(char)byte, '\0'};
        if (byte == '/')
            continue;
        taken += use_name(fs, inside);
        if (byte != '.')
            taken += use_name(fs, alone);
    }
    CHECK(taken >= 2 * 94); // all of ASCII that can be seen
}

static void names_are_of_any_bytes(void)
{
    with_both(use_every_byte);
}

static void use_long_names(const struct form *fs)
{
    static char name[NAME_MAX + 2];
    memset(name, 'n', NAME_MAX);
    name[NAME_MAX] = '\0';
    make_file(name, "long");
    CHECK(is_file(name, "long"));
    CHECK_EQ(fs->rename(name, "short", 0), 0);
    CHECK_EQ(fs->rename("short", name, 0), 0);
    CHECK_EQ(fs->unlink(name), 0);
    CHECK_EQ(fs->mkdir_parents(name, 0700), 1);
    CHECK_EQ(fs->rmdir(name), 0);
    name[NAME_MAX] = 'n';
    CHECK_EQ(fs->open(name, O_WRONLY | O_CREAT, 0600), -ENAMETOOLONG);
    CHECK_EQ(fs->mkdir(name, 0700), -ENAMETOOLONG);
    CHECK_EQ(fs->mkdir_parents(name, 0700), -ENAMETOOLONG);
    CHECK_EQ(fs->symlink("x", name), -ENAMETOOLONG);
    CHECK_EQ(fs->unlink(name), -ENAMETOOLONG);
    CHECK_EQ(fs->rename(name, "short", 0), -ENAMETOOLONG);
}

static void names_are_as_long_as_the_system_allows(void)
{
    with_both(use_long_names);
}

TESTS(TEST(a_link_is_another_name_of_the_file),
      TEST(a_link_to_a_symbolic_link_is_of_the_link_itself),
      TEST(what_a_link_says_fits_with_its_nul_or_not_at_all),
      TEST(the_real_path_has_no_links_and_no_dots),
      TEST(a_renamed_file_takes_the_place_of_what_was_there),
      TEST(a_rename_can_exchange_or_refuse_to_replace),
      TEST(files_are_unlinked_and_empty_directories_removed),
      TEST(a_new_directory_has_the_mode_less_the_umask),
      TEST(missing_parents_are_made_and_counted),
      TEST(parents_can_be_written_to_whatever_the_mode),
      TEST(a_path_is_as_deep_as_the_system_allows),
      TEST(many_who_make_the_same_parents_all_succeed),
      TEST(a_new_file_has_a_name_of_its_own_and_belongs_to_its_owner),
      TEST(a_new_directory_has_a_name_of_its_own),
      TEST(a_template_is_as_it_was_after_an_error),
      TEST(names_are_of_any_bytes),
      TEST(names_are_as_long_as_the_system_allows))
