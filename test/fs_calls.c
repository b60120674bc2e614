/* Each test is run with the calls that block, and with those of the pool. */
#include "fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include "test/fs.h"

/* ---- open and close ------------------------------------------------------ */

static void open_and_close(const struct form *fs)
{
    CHECK_EQ(fs->open("file", O_RDONLY, 0), -ENOENT);
    int fd = fs->open("file", O_WRONLY | O_CREAT, 0600);
    NEED(fd >= 0);
    CHECK((fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(fs->close(fd), 0);
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
    CHECK_EQ(fs->close(fd), -EBADF);
    CHECK_EQ(fs->close(-1), -EBADF);
}

static void a_descriptor_is_close_on_exec_and_closed_once(void)
{
    with_both(open_and_close);
}

static void open_exclusively(const struct form *fs)
{
    const int flags = O_RDWR | O_CREAT | O_EXCL;
    int fd = fs->open("file", flags, 0600);
    NEED(fd >= 0);
    CHECK_EQ(fs->open("file", flags, 0600), -EEXIST);
    CHECK_EQ(fs->write(fd, "data", 4, 0), 4);
    CHECK_EQ(fs->close(fd), 0);

    struct ed_stat stat;
    fd = fs->open("file", O_RDWR | O_TRUNC, 0);
    CHECK_EQ(fs->fstat(fd, &stat), 0);
    CHECK_EQ(stat.size, 0);
    CHECK_EQ(fs->close(fd), 0);
}

static void the_flags_of_open_do_what_they_say(void)
{
    with_both(open_exclusively);
}

static void create_with_mode(const struct form *fs)
{
    struct ed_stat stat;
    mode_t before = umask(027);
    int fd = fs->open("file", O_WRONLY | O_CREAT, 0666);
    umask(before);
    CHECK_EQ(fs->fstat(fd, &stat), 0);
    CHECK_EQ(stat.mode & 07777, 0640);
    CHECK_EQ(fs->close(fd), 0);
}

static void a_new_file_has_the_mode_less_the_umask(void)
{
    with_both(create_with_mode);
}

static void open_what_cannot_be(const struct form *fs)
{
    int fd = fs->open("file", O_WRONLY | O_CREAT, 0600);
    CHECK_EQ(fs->close(fd), 0);
    CHECK_EQ(fs->open(".", O_WRONLY, 0), -EISDIR);
    CHECK_EQ(fs->open("file/inside", O_RDONLY, 0), -ENOTDIR);
    CHECK_EQ(fs->open("file", O_RDONLY | O_DIRECTORY, 0), -ENOTDIR);
    CHECK_EQ(fs->open("missing/file", O_WRONLY | O_CREAT, 0600), -ENOENT);
    CHECK_EQ(fs->open("", O_RDONLY, 0), -ENOENT);
}

static void open_says_why_it_fails(void)
{
    with_both(open_what_cannot_be);
}

/* ---- fstat --------------------------------------------------------------- */

static void stat_things(const struct form *fs)
{
    struct ed_stat stat;
    int fd = fs->open("file", O_RDWR | O_CREAT, 0600);
    CHECK_EQ(fs->write(fd, "12345", 5, -1), 5);
    CHECK_EQ(fs->fstat(fd, &stat), 0);
    CHECK(S_ISREG(stat.mode));
    CHECK_EQ(stat.size, 5);
    CHECK_EQ(fs->close(fd), 0);
    CHECK_EQ(fs->fstat(fd, &stat), -EBADF);

    fd = fs->open(".", O_RDONLY, 0);
    CHECK_EQ(fs->fstat(fd, &stat), 0);
    CHECK(S_ISDIR(stat.mode));
    CHECK_EQ(fs->close(fd), 0);
}

static void fstat_tells_kind_and_size(void)
{
    with_both(stat_things);
}

/* ---- read and write ------------------------------------------------------ */

static void read_and_write(const struct form *fs)
{
    char buffer[16];
    int fd = fs->open("file", O_RDWR | O_CREAT, 0600);

    // With an offset: the position stays.
    CHECK_EQ(fs->write(fd, "0123456789", 10, 0), 10);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 0);
    CHECK_EQ(fs->read(fd, buffer, 4, 3), 4);
    CHECK(memcmp(buffer, "3456", 4) == 0);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 0);

    // Without: it moves.
    CHECK_EQ(fs->read(fd, buffer, 4, -1), 4);
    CHECK(memcmp(buffer, "0123", 4) == 0);
    CHECK_EQ(fs->write(fd, "ab", 2, -1), 2);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 6);
    CHECK_EQ(fs->read(fd, buffer, sizeof buffer, -1), 4);
    CHECK(memcmp(buffer, "6789", 4) == 0);

    // At the end and beyond.
    CHECK_EQ(fs->read(fd, buffer, sizeof buffer, -1), 0);
    CHECK_EQ(fs->read(fd, buffer, sizeof buffer, 8), 2);
    CHECK_EQ(fs->read(fd, buffer, sizeof buffer, 10), 0);
    CHECK_EQ(fs->read(fd, buffer, sizeof buffer, 1000), 0);
    CHECK_EQ(fs->read(fd, buffer, 0, 0), 0);
    CHECK_EQ(fs->write(fd, "", 0, 0), 0);
    CHECK_EQ(fs->read(fd, buffer, sizeof buffer, 0), 10);
    CHECK(memcmp(buffer, "0123ab6789", 10) == 0);
    CHECK_EQ(fs->close(fd), 0);
}

static void an_offset_leaves_the_position_and_none_moves_it(void)
{
    with_both(read_and_write);
}

static void append_to_file(const struct form *fs)
{
    char buffer[16];
    int fd = fs->open("file", O_RDWR | O_CREAT | O_APPEND, 0600);
    CHECK_EQ(fs->write(fd, "one", 3, -1), 3);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    CHECK_EQ(fs->write(fd, "two", 3, -1), 3);
    CHECK_EQ(fs->read(fd, buffer, sizeof buffer, 0), 6);
    CHECK(memcmp(buffer, "onetwo", 6) == 0);
    CHECK_EQ(fs->close(fd), 0);
}

static void appended_is_at_the_end(void)
{
    with_both(append_to_file);
}

static void go_beyond_4_gib(const struct form *fs)
{
    const int64_t far = ((int64_t)5 << 30) + 3;
    char buffer[8];
    struct ed_stat stat;
    int fd = fs->open("file", O_RDWR | O_CREAT, 0600);
    CHECK_EQ(fs->write(fd, "far", 3, far), 3);
    CHECK_EQ(fs->fstat(fd, &stat), 0);
    CHECK_EQ(stat.size, far + 3);
    CHECK_EQ(fs->read(fd, buffer, sizeof buffer, far - 2), 5);
    CHECK(memcmp(buffer, "\0\0far", 5) == 0);
    CHECK_EQ(fs->read(fd, buffer, sizeof buffer, 3), 8);
    CHECK(memcmp(buffer, "\0\0\0\0\0\0\0\0", 8) == 0);
    CHECK_EQ(fs->close(fd), 0);
}

static void offsets_may_be_beyond_4_gib(void)
{
    with_both(go_beyond_4_gib);
}

static void misuse_descriptors(const struct form *fs)
{
    char buffer[4] = "";
    int reader = fs->open(".", O_RDONLY, 0);
    CHECK_EQ(fs->read(reader, buffer, 4, -1), -EISDIR);
    CHECK_EQ(fs->read(reader, buffer, 4, 0), -EISDIR);
    CHECK_EQ(fs->close(reader), 0);
    CHECK_EQ(fs->read(reader, buffer, 4, -1), -EBADF);
    CHECK_EQ(fs->read(reader, buffer, 4, 0), -EBADF);
    CHECK_EQ(fs->write(reader, buffer, 4, -1), -EBADF);
    CHECK_EQ(fs->write(reader, buffer, 4, 0), -EBADF);

    int writer = fs->open("file", O_WRONLY | O_CREAT, 0600);
    CHECK_EQ(fs->read(writer, buffer, 4, -1), -EBADF);
    CHECK_EQ(fs->close(writer), 0);
    reader = fs->open("file", O_RDONLY, 0);
    CHECK_EQ(fs->write(reader, "data", 4, -1), -EBADF);
    CHECK_EQ(fs->close(reader), 0);
}

static void reading_and_writing_say_why_they_fail(void)
{
    with_both(misuse_descriptors);
}

static void fill_a_device(const struct form *fs)
{
    int fd = fs->open("/dev/full", O_WRONLY, 0);
    CHECK_EQ(fs->write(fd, "data", 4, -1), -ENOSPC);
    CHECK_EQ(fs->close(fd), 0);
}

static void a_full_device_is_enospc(void)
{
    if (access("/dev/full", W_OK))
        SKIP("no /dev/full");
    with_both(fill_a_device);
}

static void use_pipe(const struct form *fs)
{
    char buffer[8];
    int fds[2];
    NEED(pipe(fds) == 0);
    CHECK_EQ(fs->write(fds[1], "data", 4, -1), 4);
    CHECK_EQ(fs->read(fds[0], buffer, sizeof buffer, -1), 4);
    CHECK_EQ(fs->read(fds[0], buffer, sizeof buffer, 0), -ESPIPE);
    CHECK_EQ(fs->write(fds[1], "data", 4, 0), -ESPIPE);
    CHECK_EQ(fs->close(fds[0]), 0);

    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    CHECK_EQ(fs->write(fds[1], "data", 4, -1), -EPIPE);
    signal(SIGPIPE, before);
    CHECK_EQ(fs->close(fds[1]), 0);
}

static void a_pipe_has_no_offsets_and_breaks_when_nobody_reads(void)
{
    with_both(use_pipe);
}

/* ---- requests ------------------------------------------------------------ */

static int steps_done;
static struct ed_fs_request chain;
static char chain_buffer[8];
static int chain_fd;

static void after_close(struct ed_fs_request *request)
{
    CHECK_EQ(request->result, 0);
    steps_done++;
}

static void after_read(struct ed_fs_request *request)
{
    CHECK_EQ(request->result, 5);
    CHECK(memcmp(chain_buffer, "chain", 5) == 0);
    steps_done++;
    CHECK_EQ(ed_fs_close(&pool, request, chain_fd, after_close), 0);
}

static void after_write(struct ed_fs_request *request)
{
    CHECK_EQ(request->result, 5);
    steps_done++;
    CHECK_EQ(ed_fs_read(&pool, request, chain_fd, chain_buffer,
                        sizeof chain_buffer, 0, after_read),
             0);
}

static void after_open(struct ed_fs_request *request)
{
    CHECK(request->result >= 0);
    chain_fd = (int)request->result;
    steps_done++;
    CHECK_EQ(ed_fs_write(&pool, request, chain_fd, "chain", 5, -1, after_write),
             0);
}

static void one_request_serves_a_chain_of_calls(void)
{
    begin();
    steps_done = 0;
    chain = (struct ed_fs_request){0};
    CHECK_EQ(
        ed_fs_open(&pool, &chain, "file", O_RDWR | O_CREAT, 0600, after_open),
        0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(steps_done, 4);
    end();
}

static void many_writes_at_once_each_have_their_place(void)
{
    enum { COUNT = 500 };
    static struct ed_fs_request requests[COUNT];
    static char letters[COUNT];
    struct ed_file file = {0};
    begin();
    int fd = ed_fs_open_sync("file", O_WRONLY | O_CREAT, 0600);
    for (int i = 0; i < COUNT; i++) {
        letters[i] = (char)('a' + i % 26);
        CHECK_EQ(
            ed_fs_write(&pool, &requests[i], fd, &letters[i], 1, i, count_done),
            0);
    }
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(dones, COUNT);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(requests[i].result, 1);
    CHECK_EQ(ed_fs_close_sync(fd), 0);
    CHECK_EQ(ed_fs_read_file_sync("file", &file), 0);
    CHECK_EQ(file.size, COUNT);
    CHECK(file.size == COUNT && memcmp(file.data, letters, COUNT) == 0);
    ed_file_free(&file);
    end();
}

TESTS(TEST(a_descriptor_is_close_on_exec_and_closed_once),
      TEST(the_flags_of_open_do_what_they_say),
      TEST(a_new_file_has_the_mode_less_the_umask),
      TEST(open_says_why_it_fails), TEST(fstat_tells_kind_and_size),
      TEST(an_offset_leaves_the_position_and_none_moves_it),
      TEST(appended_is_at_the_end), TEST(offsets_may_be_beyond_4_gib),
      TEST(reading_and_writing_say_why_they_fail),
      TEST(a_full_device_is_enospc),
      TEST(a_pipe_has_no_offsets_and_breaks_when_nobody_reads),
      TEST(one_request_serves_a_chain_of_calls),
      TEST(many_writes_at_once_each_have_their_place))
