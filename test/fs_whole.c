/*
 * Whole files read in part, written, replaced, copied, and their lines: in both
 * forms. FIFOs without another side are waited for, and called back from.
 */
#include "fs/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test/tap.h"

static struct ed_loop loop;
static struct ed_pool pool;
static int home;
static char directory[] = "/tmp/eddy-XXXXXX";
static int descriptors;

static int count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void begin(void)
{
    umask(022);
    home = open(".", O_RDONLY | O_CLOEXEC);
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    if (!mkdtemp(directory) || chdir(directory))
        abort();
    descriptors = count_descriptors();
    CHECK_EQ(ed_loop_init(&loop), 0);
    CHECK_EQ(ed_pool_init(&pool, &loop, NULL), 0);
}

static void end(void)
{
    ed_pool_destroy(&pool);
    CHECK_EQ(ed_loop_run(&loop), 0);
    ed_loop_destroy(&loop);
    CHECK_EQ(count_descriptors(), descriptors);
    DIR *dir = opendir(".");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        // Names left over begin so.
        CHECK(strncmp(entry->d_name, ".eddy-", 6) != 0);
        if (unlink(entry->d_name))
            rmdir(entry->d_name);
    }
    closedir(dir);
    if (fchdir(home) || rmdir(directory))
        abort();
    close(home);
}

/* ---- both forms ---------------------------------------------------------- */

enum { SYNC, ASYNC, FORMS };

static void do_nothing(struct ed_fs_request *request)
{
    (void)request;
}

/* err is what the submitting call has returned. */
static int finish(struct ed_fs_request *request, int err)
{
    CHECK_EQ(err, 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    return (int)request->result;
}

static int write_in(int form, const char *path, const char *data, size_t size,
                    mode_t mode)
{
    struct ed_fs_request request = {0};
    return form == SYNC
               ? ed_fs_write_file_sync(path, data, size, mode)
               : finish(&request, ed_fs_write_file(&pool, &request, path, data,
                                                   size, mode, do_nothing));
}

static int append_in(int form, const char *path, const char *data, size_t size,
                     mode_t mode)
{
    struct ed_fs_request request = {0};
    return form == SYNC
               ? ed_fs_append_file_sync(path, data, size, mode)
               : finish(&request, ed_fs_append_file(&pool, &request, path, data,
                                                    size, mode, do_nothing));
}

static int replace_in(int form, const char *path, const char *data, size_t size,
                      mode_t mode)
{
    struct ed_fs_request request = {0};
    return form == SYNC ? ed_fs_replace_file_sync(path, data, size, mode)
                        : finish(&request,
                                 ed_fs_replace_file(&pool, &request, path, data,
                                                    size, mode, do_nothing));
}

static int copy_in(int form, const char *path, const char *new_path,
                   unsigned flags, struct ed_copy_progress *progress)
{
    struct ed_fs_request request = {0};
    return form == SYNC
               ? ed_fs_copy_file_sync(path, new_path, flags, progress)
               : finish(&request,
                        ed_fs_copy_file(&pool, &request, path, new_path, flags,
                                        progress, do_nothing));
}

static int lines_in(int form, const char *path, struct ed_lines *lines)
{
    struct ed_fs_request request = {0};
    return form == SYNC
               ? ed_fs_read_lines_sync(path, lines)
               : finish(&request, ed_fs_read_lines(&pool, &request, path, lines,
                                                   do_nothing));
}

static int read_in(int form, const char *path, struct ed_file *file)
{
    struct ed_fs_request request = {.file = *file};
    if (form == SYNC)
        return ed_fs_read_file_sync(path, file);
    int err =
        finish(&request, ed_fs_read_file(&pool, &request, path, do_nothing));
    *file = request.file;
    return err;
}

static void expect(const char *path, const char *data, size_t size)
{
    struct ed_file file = {0};
    CHECK_EQ(ed_fs_read_file_sync(path, &file), 0);
    CHECK_EQ(file.size, size);
    CHECK(file.size == size && memcmp(file.data, data, size) == 0);
    ed_file_free(&file);
}

static mode_t mode_of(const char *path)
{
    struct stat stat = {0};
    CHECK_EQ(lstat(path, &stat), 0);
    return stat.st_mode & 07777;
}

/* ---- reading a part ------------------------------------------------------ */

static void a_part_of_a_file_is_read(void)
{
    static const struct {
        uint64_t offset;
        size_t count, size;
    } parts[] = {{0, 3, 3},  {0, 10, 10}, {0, 11, 10}, {4, 0, 6},
                 {4, 2, 2},  {9, 1, 1},   {9, 9, 1},   {10, 0, 0},
                 {10, 5, 0}, {99, 0, 0},  {99, 99, 0}, {1, 9, 9}};
    begin();
    CHECK_EQ(ed_fs_write_file_sync("file", "0123456789", 10, 0600), 0);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        for (int form = 0; form < FORMS; form++) {
            struct ed_file file = {.offset = parts[i].offset,
                                   .count = parts[i].count};
            CHECK_EQ(read_in(form, "file", &file), 0);
            CHECK_EQ(file.size, parts[i].size);
            CHECK(file.data &&
                  memcmp(file.data,
                         &"0123456789"[parts[i].size ? parts[i].offset : 0],
                         parts[i].size) == 0);
            CHECK(file.data && file.data[file.size] == '\0');
            ed_file_free(&file);
        }
    }
    end();
}

static void the_limit_is_that_of_the_part(void)
{
    begin();
    CHECK_EQ(ed_fs_write_file_sync("file", "0123456789", 10, 0600), 0);
    for (int form = 0; form < FORMS; form++) {
        struct ed_file file = {.limit = 4, .offset = 5};
        CHECK_EQ(read_in(form, "file", &file), -EFBIG);
        file = (struct ed_file){.limit = 4, .offset = 6};
        CHECK_EQ(read_in(form, "file", &file), 0);
        CHECK_STR(file.data, "6789");
        ed_file_free(&file);
        file = (struct ed_file){.limit = 4, .offset = 1, .count = 4};
        CHECK_EQ(read_in(form, "file", &file), 0);
        CHECK_STR(file.data, "1234");
        ed_file_free(&file);
        file = (struct ed_file){.offset = UINT64_MAX};
        CHECK_EQ(read_in(form, "file", &file), -EINVAL);
    }
    end();
}

static void a_part_of_an_endless_file_is_read(void)
{
    static const char zeros[70000];
    begin();
    for (int form = 0; form < FORMS; form++) {
        struct ed_file file = {.count = sizeof zeros};
        CHECK_EQ(read_in(form, "/dev/zero", &file), 0);
        CHECK_EQ(file.size, sizeof zeros);
        CHECK(file.data && memcmp(file.data, zeros, sizeof zeros) == 0);
        ed_file_free(&file);
    }
    end();
}

static void beyond_four_gibibytes_the_offset_holds(void)
{
    const int64_t far = (int64_t)5 << 30;
    begin();
    int fd = open("sparse", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK_EQ(pwrite(fd, "end", 3, (off_t)far), 3);
    close(fd);
    for (int form = 0; form < FORMS; form++) {
        struct ed_file file = {.offset = (uint64_t)far - 1};
        CHECK_EQ(read_in(form, "sparse", &file), 0);
        CHECK_EQ(file.size, 4);
        CHECK(file.data && memcmp(file.data, "\0end", 4) == 0);
        ed_file_free(&file);
    }
    end();
}

/* ---- writing ------------------------------------------------------------- */

static void a_file_is_made_written_anew_and_appended_to(void)
{
    begin();
    for (int form = 0; form < FORMS; form++) {
        CHECK_EQ(write_in(form, "file", "first", 5, 0640), 0);
        expect("file", "first", 5);
        CHECK_EQ(mode_of("file"), 0640);
        CHECK_EQ(append_in(form, "file", " last", 5, 0600), 0);
        expect("file", "first last", 10);
        CHECK_EQ(write_in(form, "file", "new", 3, 0600), 0);
        expect("file", "new", 3);
        CHECK_EQ(write_in(form, "file", NULL, 0, 0600), 0);
        expect("file", "", 0);
        CHECK_EQ(mode_of("file"), 0640);
        unlink("file");
        CHECK_EQ(append_in(form, "file", "x", 1, 0666), 0);
        CHECK_EQ(mode_of("file"), 0644);
        unlink("file");
    }
    end();
}

static void what_cannot_be_written_says_why(void)
{
    begin();
    CHECK_EQ(mkdir("dir", 0700), 0);
    for (int form = 0; form < FORMS; form++) {
        CHECK_EQ(write_in(form, "dir", "x", 1, 0600), -EISDIR);
        CHECK_EQ(append_in(form, "dir", "x", 1, 0600), -EISDIR);
        CHECK_EQ(replace_in(form, "dir", "x", 1, 0600), -EISDIR);
        CHECK_EQ(replace_in(form, "dir/", "x", 1, 0600), -EISDIR);
        CHECK_EQ(write_in(form, "no/file", "x", 1, 0600), -ENOENT);
        CHECK_EQ(replace_in(form, "no/file", "x", 1, 0600), -ENOENT);
        CHECK_EQ(replace_in(form, "", "x", 1, 0600), -ENOENT);
        CHECK_EQ(replace_in(form, "/dev/null", "x", 1, 0600), -EINVAL);
        CHECK_EQ(copy_in(form, "dir", "copy", 0, NULL), -EISDIR);
        CHECK_EQ(copy_in(form, "missing", "copy", 0, NULL), -ENOENT);
        CHECK_EQ(access("copy", F_OK), -1);
    }
    end();
}

/* ---- replacing ----------------------------------------------------------- */

static void a_file_is_replaced_with_its_owner_and_permissions(void)
{
    enum { OTHER = 12345 };
    begin();
    for (int form = 0; form < FORMS; form++) {
        struct stat before, after;
        CHECK_EQ(replace_in(form, "file", "first", 5, 0666), 0);
        CHECK_EQ(mode_of("file"), 0644);
        expect("file", "first", 5);
        CHECK_EQ(chmod("file", 0751), 0);
        bool is_given = chown("file", OTHER, OTHER) == 0;
        CHECK_EQ(stat("file", &before), 0);
        CHECK_EQ(replace_in(form, "file", "second", 6, 0600), 0);
        expect("file", "second", 6);
        CHECK_EQ(stat("file", &after), 0);
        CHECK_EQ(after.st_mode & 07777, 0751);
        CHECK_EQ(after.st_uid, is_given ? OTHER : before.st_uid);
        CHECK_EQ(after.st_gid, before.st_gid);
        CHECK(after.st_ino != before.st_ino);
        CHECK_EQ(replace_in(form, "file", NULL, 0, 0600), 0);
        expect("file", "", 0);
        unlink("file");
    }
    end();
}

static void who_has_the_old_file_open_keeps_it(void)
{
    char was[4] = {0};
    begin();
    for (int form = 0; form < FORMS; form++) {
        CHECK_EQ(ed_fs_write_file_sync("file", "old", 3, 0600), 0);
        int fd = open("file", O_RDONLY | O_CLOEXEC);
        CHECK_EQ(replace_in(form, "file", "new", 3, 0600), 0);
        CHECK_EQ(read(fd, was, 3), 3);
        CHECK_STR(was, "old");
        close(fd);
        expect("file", "new", 3);
    }
    end();
}

static void a_link_is_followed_and_stays(void)
{
    char absolute[128];
    begin();
    CHECK_EQ(mkdir("dir", 0700), 0);
    CHECK_EQ(symlink("dir/middle", "link"), 0);
    CHECK_EQ(symlink("../file", "dir/middle"), 0);
    CHECK_EQ(symlink("around", "around"), 0);
    snprintf(absolute, sizeof absolute, "%s/file", directory);
    CHECK_EQ(symlink(absolute, "absolute"), 0);
    for (int form = 0; form < FORMS; form++) {
        CHECK_EQ(replace_in(form, "link", "made", 4, 0600), 0);
        expect("file", "made", 4);
        CHECK_EQ(replace_in(form, "link", "again", 5, 0600), 0);
        expect("file", "again", 5);
        CHECK_EQ(replace_in(form, "absolute", "abs", 3, 0600), 0);
        expect("file", "abs", 3);
        CHECK_EQ(replace_in(form, absolute, "path", 4, 0600), 0);
        expect("file", "path", 4);
        CHECK_EQ(replace_in(form, "around", "x", 1, 0600), -ELOOP);
        unlink("file");
    }
    unlink("dir/middle");
    end();
}

/* ---- lines --------------------------------------------------------------- */

struct noted {
    struct ed_lines lines;
    char text[64];
    int stop_at;
    uint64_t size;
};

static int note_line(struct ed_lines *lines)
{
    struct noted *noted = ED_CONTAINER_OF(lines, struct noted, lines);
    CHECK_EQ(strlen(lines->line), lines->size);
    noted->size += lines->size;
    size_t length = strlen(noted->text);
    snprintf(noted->text + length, sizeof noted->text - length, "%d:%.8s|",
             (int)lines->number, lines->line);
    return (int)lines->number == noted->stop_at ? 77 : 0;
}

static void expect_lines(const char *data, const char *text)
{
    CHECK_EQ(ed_fs_write_file_sync("file", data, strlen(data), 0600), 0);
    for (int form = 0; form < FORMS; form++) {
        struct noted noted = {.lines.on_line = note_line};
        CHECK_EQ(lines_in(form, "file", &noted.lines), 0);
        CHECK_STR(noted.text, text);
    }
}

static void lines_come_one_by_one(void)
{
    begin();
    expect_lines("", "");
    expect_lines("one", "1:one|");
    expect_lines("one\n", "1:one|");
    expect_lines("\n", "1:|");
    expect_lines("\n\n", "1:|2:|");
    expect_lines("one\n\ntwo", "1:one|2:|3:two|");
    expect_lines("one\r\ntwo\n", "1:one\r|2:two|");
    end();
}

static void a_line_can_stop_it(void)
{
    begin();
    CHECK_EQ(ed_fs_write_file_sync("file", "1\n2\n3\n", 6, 0600), 0);
    for (int form = 0; form < FORMS; form++) {
        struct noted noted = {.lines.on_line = note_line, .stop_at = 2};
        CHECK_EQ(lines_in(form, "file", &noted.lines), 77);
        CHECK_STR(noted.text, "1:1|2:2|");
    }
    end();
}

static void long_lines_are_read_up_to_the_longest_allowed(void)
{
    enum { SIZE = 300000 };
    char *text = malloc(2 * SIZE);
    NEED(text);
    begin();
    memset(text, 'x', 2 * SIZE);
    text[SIZE] = '\n';
    CHECK_EQ(ed_fs_write_file_sync("file", text, 2 * SIZE, 0600), 0);
    CHECK_EQ(ed_fs_write_file_sync("short", "12345\n123456\n", 13, 0600), 0);
    for (int form = 0; form < FORMS; form++) {
        struct noted noted = {.lines.on_line = note_line};
        CHECK_EQ(lines_in(form, "file", &noted.lines), 0);
        CHECK_EQ(noted.lines.number, 2);
        CHECK_EQ(noted.size, 2 * SIZE - 1);
        noted = (struct noted){
            .lines = {.on_line = note_line, .longest = SIZE - 1}};
        CHECK_EQ(lines_in(form, "file", &noted.lines), -EMSGSIZE);
        CHECK_EQ(noted.lines.number, 0);
        noted = (struct noted){.lines = {.on_line = note_line, .longest = 5}};
        CHECK_EQ(lines_in(form, "short", &noted.lines), -EMSGSIZE);
        CHECK_STR(noted.text, "1:12345|");
        CHECK_EQ(lines_in(form, "missing", &noted.lines), -ENOENT);
        CHECK_EQ(lines_in(form, ".", &noted.lines), -EISDIR);
    }
    free(text);
    end();
}

static struct ed_pool *to_destroy;

static int destroy_pool(struct ed_lines *lines)
{
    (void)lines;
    if (to_destroy)
        ed_pool_destroy(to_destroy);
    to_destroy = NULL;
    return 0;
}

static void lines_end_with_the_pool(void)
{
    static char text[200000];
    struct ed_lines lines = {.on_line = destroy_pool};
    struct ed_fs_request request = {0};
    struct ed_pool gone;
    begin();
    memset(text, '\n', sizeof text);
    CHECK_EQ(ed_fs_write_file_sync("file", text, sizeof text, 0600), 0);
    CHECK_EQ(ed_pool_init(&gone, &loop, NULL), 0);
    to_destroy = &gone;
    CHECK_EQ(finish(&request, ed_fs_read_lines(&gone, &request, "file", &lines,
                                               do_nothing)),
             -ECANCELED);
    CHECK(!to_destroy);
    end();
}

/* ---- copying ------------------------------------------------------------- */

static void a_file_is_copied_with_its_permissions(void)
{
    static char data[600000];
    begin();
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 7 + i / 256);
    for (int form = 0; form < FORMS; form++) {
        for (unsigned flags = 0; flags <= ED_COPY_NO_SHARING; flags += 2) {
            struct ed_copy_progress progress;
            uint64_t size, copied;
            CHECK_EQ(ed_fs_write_file_sync("from", data, sizeof data, 0600), 0);
            CHECK_EQ(chmod("from", 0751), 0);
            CHECK_EQ(copy_in(form, "from", "to", flags, &progress), 0);
            expect("to", data, sizeof data);
            CHECK_EQ(mode_of("to"), 0751);
            ed_copy_progress_read(&progress, &size, &copied);
            CHECK_EQ(size, sizeof data);
            CHECK_EQ(copied, sizeof data);
            // Over a longer one.
            CHECK_EQ(ed_fs_write_file_sync("from", "short", 5, 0600), 0);
            CHECK_EQ(copy_in(form, "from", "to", flags, NULL), 0);
            expect("to", "short", 5);
            CHECK_EQ(
                copy_in(form, "from", "to", flags | ED_COPY_EXCLUSIVE, NULL),
                -EEXIST);
            CHECK_EQ(copy_in(form, "from", "from", flags, NULL), -EINVAL);
            expect("from", "short", 5);
            CHECK_EQ(ed_fs_write_file_sync("from", NULL, 0, 0600), 0);
            CHECK_EQ(copy_in(form, "from", "to", flags, NULL), 0);
            expect("to", "", 0);
            unlink("to");
        }
    }
    end();
}

static void holes_are_copied_as_holes(void)
{
    enum { MIB = 1 << 20 };
    static char ends[2][5] = {"data", "more"};
    begin();
    int fd = open("from", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK_EQ(pwrite(fd, ends[0], 4, 8 * MIB), 4);
    CHECK_EQ(pwrite(fd, ends[1], 4, 16 * MIB), 4);
    CHECK_EQ(ftruncate(fd, 32 * MIB), 0);
    close(fd);
    for (int form = 0; form < FORMS; form++) {
        struct stat from, to;
        CHECK_EQ(copy_in(form, "from", "to", ED_COPY_NO_SHARING, NULL), 0);
        CHECK_EQ(stat("from", &from), 0);
        CHECK_EQ(stat("to", &to), 0);
        CHECK_EQ(to.st_size, 32 * MIB);
        CHECK(from.st_blocks > MIB / 512 || to.st_blocks < MIB / 512);
        for (int i = 0; i < 2; i++) {
            struct ed_file file = {.offset = (uint64_t)(8 + 8 * i) * MIB,
                                   .count = 4};
            CHECK_EQ(ed_fs_read_file_sync("to", &file), 0);
            CHECK_STR(file.data, ends[i]);
            ed_file_free(&file);
        }
        unlink("to");
    }
    end();
}

static void what_has_no_size_is_copied_to_its_end(void)
{
    if (access("/proc/filesystems", R_OK))
        SKIP("no /proc");
    begin();
    struct ed_file whole = {0};
    CHECK_EQ(ed_fs_read_file_sync("/proc/filesystems", &whole), 0);
    for (int form = 0; form < FORMS; form++) {
        CHECK_EQ(copy_in(form, "/proc/filesystems", "to", 0, NULL), 0);
        expect("to", whole.data, whole.size);
        CHECK_EQ(copy_in(form, "to", "/dev/null", 0, NULL), 0);
        unlink("to");
    }
    ed_file_free(&whole);
    end();
}

/* ---- called back --------------------------------------------------------- */

static int nothing(struct ed_lines *lines)
{
    (void)lines;
    return 0;
}

typedef int start_fn(struct ed_fs_request *request);

static struct ed_lines fifo_lines = {.on_line = nothing};

static int start_read(struct ed_fs_request *request)
{
    return ed_fs_read_file(&pool, request, "fifo", do_nothing);
}

static int start_lines(struct ed_fs_request *request)
{
    return ed_fs_read_lines(&pool, request, "fifo", &fifo_lines, do_nothing);
}

static int start_write(struct ed_fs_request *request)
{
    return ed_fs_write_file(&pool, request, "fifo", "x", 1, 0600, do_nothing);
}

static int start_append(struct ed_fs_request *request)
{
    return ed_fs_append_file(&pool, request, "fifo", "x", 1, 0600, do_nothing);
}

static int start_copy(struct ed_fs_request *request)
{
    return ed_fs_copy_file(&pool, request, "fifo", "to", 0, NULL, do_nothing);
}

static int start_copy_to(struct ed_fs_request *request)
{
    return ed_fs_copy_file(&pool, request, "file", "fifo", 0, NULL, do_nothing);
}

static start_fn *const starts[] = {start_read,   start_lines, start_write,
                                   start_append, start_copy,  start_copy_to};
enum { STARTS = 6 };

static struct ed_fs_request *to_cancel;

static void cancel_it(struct ed_timer *timer)
{
    (void)timer;
    ed_fs_cancel(to_cancel);
}

static void a_fifo_without_another_side_is_called_back_from(void)
{
    begin();
    CHECK_EQ(mkfifo("fifo", 0600), 0);
    CHECK_EQ(ed_fs_write_file_sync("file", "x", 1, 0600), 0);
    for (int i = 0; i < STARTS; i++) {
        struct ed_fs_request request = {0};
        struct ed_timer timer = {0};
        to_cancel = &request;
        ed_timer_start(&loop, &timer, 30 * ED_MS, cancel_it);
        CHECK_EQ(finish(&request, starts[i](&request)), -ECANCELED);
        CHECK(!request.file.data);
    }
    CHECK_EQ(access("to", F_OK), -1);
    end();
}

static void a_fifo_without_another_side_is_waited_for_until_the_deadline(void)
{
    begin();
    CHECK_EQ(mkfifo("fifo", 0600), 0);
    CHECK_EQ(ed_fs_write_file_sync("file", "x", 1, 0600), 0);
    for (int i = 0; i < STARTS; i++) {
        struct ed_fs_request request = {.deadline_ns =
                                            ed_clock_ns() + 30 * ED_MS};
        CHECK_EQ(finish(&request, starts[i](&request)), -ETIMEDOUT);
    }
    end();
}

static void what_is_late_touches_nothing(void)
{
    begin();
    CHECK_EQ(ed_fs_write_file_sync("file", "old", 3, 0600), 0);
    struct ed_fs_request request = {.deadline_ns = 1};
    CHECK_EQ(finish(&request, ed_fs_replace_file(&pool, &request, "file", "new",
                                                 3, 0600, do_nothing)),
             -ETIMEDOUT);
    CHECK_EQ(finish(&request, ed_fs_write_file(&pool, &request, "file", "new",
                                               3, 0600, do_nothing)),
             -ETIMEDOUT);
    expect("file", "old", 3);
    CHECK_EQ(
        finish(&request, ed_fs_read_file(&pool, &request, "file", do_nothing)),
        -ETIMEDOUT);
    CHECK(!request.file.data);
    end();
}

static void *read_fifo(void *out)
{
    struct ed_file file = {0};
    CHECK_EQ(ed_fs_read_file_sync("fifo", &file), 0);
    *(struct ed_file *)out = file;
    return NULL;
}

static void a_fifo_is_written_from_one_side_and_read_from_the_other(void)
{
    static char data[300000];
    begin();
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 7 + i / 256);
    CHECK_EQ(mkfifo("fifo", 0600), 0);
    for (int form = 0; form < FORMS; form++) {
        pthread_t reader;
        struct ed_file file = {0};
        NEED(!pthread_create(&reader, NULL, read_fifo, &file));
        CHECK_EQ(write_in(form, "fifo", data, sizeof data, 0600), 0);
        pthread_join(reader, NULL);
        CHECK_EQ(file.size, sizeof data);
        CHECK(file.size == sizeof data &&
              memcmp(file.data, data, sizeof data) == 0);
        ed_file_free(&file);
    }
    end();
}

TESTS(TEST(a_part_of_a_file_is_read), TEST(the_limit_is_that_of_the_part),
      TEST(a_part_of_an_endless_file_is_read),
      TEST(beyond_four_gibibytes_the_offset_holds),
      TEST(a_file_is_made_written_anew_and_appended_to),
      TEST(what_cannot_be_written_says_why),
      TEST(a_file_is_replaced_with_its_owner_and_permissions),
      TEST(who_has_the_old_file_open_keeps_it),
      TEST(a_link_is_followed_and_stays), TEST(lines_come_one_by_one),
      TEST(a_line_can_stop_it),
      TEST(long_lines_are_read_up_to_the_longest_allowed),
      TEST(lines_end_with_the_pool),
      TEST(a_file_is_copied_with_its_permissions),
      TEST(holes_are_copied_as_holes),
      TEST(what_has_no_size_is_copied_to_its_end),
      TEST(a_fifo_without_another_side_is_called_back_from),
      TEST(a_fifo_without_another_side_is_waited_for_until_the_deadline),
      TEST(what_is_late_touches_nothing),
      TEST(a_fifo_is_written_from_one_side_and_read_from_the_other))
