/* Each test is run with the calls that block, and with those of the pool. */
#include "fs/fs.h"

#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>

#include "test/fs.h"
#include "test/gate.h"

/* ---- several buffers ----------------------------------------------------- */

static void move_parts(const struct form *fs)
{
    char one[4] = "", two[3] = "", three[8] = "";
    char abc[] = "abc", defgh[] = "defgh", i[] = "i";
    struct iovec texts[] = {{abc, 3}, {NULL, 0}, {defgh, 5}, {i, 1}};
    struct iovec parts[] = {{one, 3}, {two, 2}, {NULL, 0}, {three, 7}};
    int fd = fs->open("file", O_RDWR | O_CREAT, 0600);
    CHECK_EQ(fs->writev(fd, texts, 4, -1), 9);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 9);
    CHECK_EQ(fs->readv(fd, parts, 4, 0), 9);
    CHECK_STR(one, "abc");
    CHECK_STR(two, "de");
    CHECK_STR(three, "fghi");
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 9);
    CHECK_EQ(fs->readv(fd, parts, 4, -1), 0);
    CHECK_EQ(fs->readv(fd, parts, 4, 100), 0);

    CHECK_EQ(fs->writev(fd, texts + 2, 2, 2), 6);
    CHECK_EQ(lseek(fd, 1, SEEK_SET), 1);
    CHECK_EQ(fs->readv(fd, parts, 2, -1), 5);
    CHECK_STR(one, "bde");
    CHECK_STR(two, "fg");
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 6);
    CHECK_EQ(fs->close(fd), 0);
    CHECK(is_file("file", "abdefghii"));

    CHECK_EQ(fs->readv(fd, parts, 4, 0), -EBADF);
    CHECK_EQ(fs->readv(fd, parts, 4, -1), -EBADF);
    CHECK_EQ(fs->writev(fd, texts, 4, 0), -EBADF);
    CHECK_EQ(fs->writev(fd, texts, 4, -1), -EBADF);
}

static void buffers_are_filled_and_written_one_after_the_other(void)
{
    with_both(move_parts);
}

static void move_nothing(const struct form *fs)
{
    char byte = 'x';
    struct iovec empty[] = {{NULL, 0}, {&byte, 0}};
    int fd = fs->open("file", O_RDWR | O_CREAT, 0600);
    CHECK_EQ(fs->write(fd, "text", 4, 0), 4);
    CHECK_EQ(fs->readv(fd, empty, 2, 0), 0);
    CHECK_EQ(fs->writev(fd, empty, 2, 0), 0);
    CHECK_EQ(fs->readv(fd, empty, 0, -1), 0);
    CHECK_EQ(fs->writev(fd, empty, 0, -1), 0);
    CHECK_EQ(fs->close(fd), 0);
    CHECK_EQ(fs->readv(fd, empty, 0, 0), -EBADF);
    CHECK(is_file("file", "text"));
}

static void no_buffers_are_nothing_to_do(void)
{
    with_both(move_nothing);
}

/* More than one call takes, with empty ones before, which are not the end. */
static void move_many_parts(const struct form *fs)
{
    enum { COUNT = 3000, EMPTY = 1500 };
    static struct iovec parts[EMPTY + COUNT];
    static char letters[COUNT];
    int fd = fs->open("file", O_RDWR | O_CREAT, 0600);
    for (int i = 0; i < COUNT; i++) {
        letters[i] = (char)('a' + i % 26);
        parts[EMPTY + i] = (struct iovec){&letters[i], 1};
    }
    int64_t at = fs->writev(fd, parts, EMPTY + COUNT, -1);
    CHECK(at > 0 && at < COUNT);
    while (at < COUNT) {
        int64_t count = fs->writev(fd, parts + EMPTY + at, COUNT - (int)at, -1);
        NEED(count > 0);
        at += count;
    }
    CHECK_EQ(at, COUNT);
    memset(letters, 0, sizeof letters);
    for (at = 0; at < COUNT;) {
        int64_t count = fs->readv(fd, parts + EMPTY + at, COUNT - (int)at, at);
        NEED(count > 0);
        at += count;
    }
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(letters[i], 'a' + i % 26);
    CHECK_EQ(fs->close(fd), 0);
}

static void of_too_many_buffers_it_is_the_first(void)
{
    with_both(move_many_parts);
}

/* Of a short file: none of that memory is touched but the first bytes. */
static void move_huge_parts(const struct form *fs)
{
    const size_t huge = (size_t)3 << 30;
    char byte = 'x';
    char *memory =
        mmap(NULL, huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (memory == MAP_FAILED)
        SKIP("no room");
    struct iovec parts[] = {{&byte, 1}, {memory, huge}, {&byte, 1}};
    make_file("file", "abc");
    int fd = fs->open("file", O_RDONLY, 0);
    CHECK_EQ(fs->readv(fd, parts, 3, 0), 1);
    CHECK_EQ(byte, 'a');
    CHECK_EQ(fs->readv(fd, parts + 1, 2, 1), 2);
    CHECK(memcmp(memory, "bc", 3) == 0);
    CHECK_EQ(fs->read(fd, memory, huge, 0), 3);
    CHECK(memcmp(memory, "abc", 4) == 0);
    CHECK_EQ(fs->close(fd), 0);
    munmap(memory, huge);
}

static void buffers_may_be_larger_than_one_call_takes(void)
{
    with_both(move_huge_parts);
}

/* ---- sizes and the disk -------------------------------------------------- */

static int64_t size_of(const char *path)
{
    struct ed_stat stat = {.size = -1};
    CHECK_EQ(ed_fs_stat_sync(path, &stat), 0);
    return stat.size;
}

static void change_sizes(const struct form *fs)
{
    const int64_t far = (int64_t)5 << 30;
    make_file("file", "0123456789");
    CHECK_EQ(fs->truncate("file", 4), 0);
    CHECK(is_file("file", "0123"));
    int fd = fs->open("file", O_RDWR, 0);
    CHECK_EQ(fs->ftruncate(fd, 2), 0);
    CHECK(is_file("file", "01"));
    CHECK_EQ(fs->ftruncate(fd, far + 1), 0);
    CHECK_EQ(size_of("file"), far + 1);
    CHECK_EQ(fs->truncate("file", far + 2), 0);
    CHECK_EQ(size_of("file"), far + 2);
    CHECK_EQ(fs->ftruncate(fd, -1), -EINVAL);
    CHECK_EQ(fs->truncate("file", -1), -EINVAL);
    CHECK_EQ(fs->ftruncate(fd, 0), 0);
    CHECK_EQ(size_of("file"), 0);
    CHECK_EQ(fs->close(fd), 0);

    CHECK_EQ(fs->ftruncate(fd, 0), -EBADF);
    CHECK_EQ(fs->truncate("missing", 0), -ENOENT);
    CHECK_EQ(fs->truncate(".", 0), -EISDIR);
    fd = fs->open("file", O_RDONLY, 0);
    CHECK_EQ(fs->ftruncate(fd, 0), -EINVAL);
    CHECK_EQ(fs->close(fd), 0);
}

static void a_file_becomes_shorter_or_longer_by_zeros(void)
{
    with_both(change_sizes);
}

static void set_space_aside(const struct form *fs)
{
    struct ed_stat stat;
    make_file("file", "text");
    int fd = fs->open("file", O_RDWR, 0);
    int err = fs->allocate(fd, 0, 1 << 20);
    if (err == -EOPNOTSUPP) {
        CHECK_EQ(fs->close(fd), 0);
        SKIP("not on this file system");
    }
    CHECK_EQ(err, 0);
    CHECK_EQ(fs->fstat(fd, &stat), 0);
    CHECK_EQ(stat.size, 1 << 20);
    CHECK(stat.blocks >= (1 << 20) / 512);
    CHECK_EQ(fs->allocate(fd, 1 << 20, 1 << 20), 0);
    CHECK_EQ(fs->allocate(fd, 0, 1), 0);
    CHECK_EQ(fs->fstat(fd, &stat), 0);
    CHECK_EQ(stat.size, 2 << 20);
    CHECK_EQ(fs->ftruncate(fd, 4), 0);
    CHECK(is_file("file", "text"));

    CHECK_EQ(fs->allocate(fd, -1, 1), -EINVAL);
    CHECK_EQ(fs->allocate(fd, 0, 0), -EINVAL);
    CHECK_EQ(fs->allocate(fd, INT64_MAX, INT64_MAX), -EFBIG);
    CHECK_EQ(fs->close(fd), 0);
    CHECK_EQ(fs->allocate(fd, 0, 1), -EBADF);
}

static void space_is_set_aside_and_the_file_that_long(void)
{
    with_both(set_space_aside);
}

static void bring_to_disk(const struct form *fs)
{
    int fds[2];
    int fd = fs->open("file", O_RDWR | O_CREAT, 0600);
    CHECK_EQ(fs->write(fd, "text", 4, 0), 4);
    CHECK_EQ(fs->fdatasync(fd), 0);
    CHECK_EQ(fs->fsync(fd), 0);
    CHECK_EQ(fs->sync_directory("."), 0);
    CHECK_EQ(fs->close(fd), 0);
    CHECK_EQ(fs->fsync(fd), -EBADF);
    CHECK_EQ(fs->fdatasync(fd), -EBADF);
    CHECK_EQ(fs->sync_directory("missing"), -ENOENT);
    CHECK_EQ(fs->sync_directory("file"), -ENOTDIR);
    NEED(pipe(fds) == 0);
    CHECK_EQ(fs->fsync(fds[0]), -EINVAL);
    CHECK_EQ(fs->fdatasync(fds[0]), -EINVAL);
    CHECK_EQ(fs->close(fds[0]), 0);
    CHECK_EQ(fs->close(fds[1]), 0);
}

static void what_is_written_can_be_brought_to_the_disk(void)
{
    with_both(bring_to_disk);
}

static void exhaust_descriptors(const struct form *fs)
{
    char path[] = "new-XXXXXX", buffer[8];
    struct shortage shortage;
    struct ed_stat stat;
    make_file("file", "text");
    int fd = fs->open("file", O_RDWR, 0);
    begin_shortage(&shortage);
    CHECK_EQ(fs->open("file", O_RDONLY, 0), -EMFILE);
    CHECK_EQ(fs->mkstemp(path), -EMFILE);
    CHECK_EQ(fs->sync_directory("."), -EMFILE);
    // What needs no new one goes on.
    CHECK_EQ(fs->stat("file", &stat), 0);
    CHECK_EQ(fs->read(fd, buffer, sizeof buffer, 0), 4);
    CHECK_EQ(fs->rename("file", "other", 0), 0);
    CHECK_EQ(fs->mkdir_parents("a/b/c", 0700), 3);
    end_shortage(&shortage);
    CHECK_STR(path, "new-XXXXXX");
    CHECK_EQ(fs->access("file", F_OK), -ENOENT);
    CHECK_EQ(fs->close(fd), 0);
}

static void without_descriptors_it_is_emfile(void)
{
    with_both(exhaust_descriptors);
}

/* ---- locks --------------------------------------------------------------- */

static void lock_and_unlock(const struct form *fs)
{
    int one = fs->open("file", O_RDWR | O_CREAT, 0600);
    int other = fs->open("file", O_RDWR, 0);
    CHECK_EQ(fs->flock(one, LOCK_EX), 0);
    CHECK_EQ(fs->flock(other, LOCK_EX | LOCK_NB), -EWOULDBLOCK);
    CHECK_EQ(fs->flock(other, LOCK_SH | LOCK_NB), -EWOULDBLOCK);
    CHECK_EQ(fs->flock(one, LOCK_UN), 0);
    CHECK_EQ(fs->flock(other, LOCK_SH), 0);
    CHECK_EQ(fs->flock(one, LOCK_SH), 0);
    CHECK_EQ(fs->flock(one, LOCK_EX | LOCK_NB), -EWOULDBLOCK);
    CHECK_EQ(fs->close(other), 0);
    CHECK_EQ(fs->flock(one, LOCK_EX), 0);
    CHECK_EQ(fs->flock(one, 0), -EINVAL);
    CHECK_EQ(fs->close(one), 0);
    CHECK_EQ(fs->flock(one, LOCK_EX), -EBADF);
}

static void a_lock_is_shared_or_one_s_own(void)
{
    with_both(lock_and_unlock);
}

static int locked;

static void *unlock_at_the_gate(void *gate)
{
    gate_pass(gate);
    if (flock(locked, LOCK_UN))
        abort();
    return NULL;
}

static void wait_for_lock(const struct form *fs)
{
    struct gate gate;
    pthread_t unlocker;
    locked = fs->open("file", O_RDWR | O_CREAT, 0600);
    int other = fs->open("file", O_RDWR, 0);
    CHECK_EQ(fs->flock(locked, LOCK_EX), 0);
    gate_init(&gate);
    NEED(!pthread_create(&unlocker, NULL, unlock_at_the_gate, &gate));
    gate_open(&gate);
    CHECK_EQ(fs->flock(other, LOCK_EX), 0);
    pthread_join(unlocker, NULL);
    gate_destroy(&gate);
    CHECK_EQ(fs->flock(locked, LOCK_SH | LOCK_NB), -EWOULDBLOCK);
    CHECK_EQ(fs->close(locked), 0);
    CHECK_EQ(fs->close(other), 0);
}

static void a_lock_is_waited_for(void)
{
    with_both(wait_for_lock);
}

static struct ed_fs_request waiting;

/* A worker has it by then, or it is cancelled all the same. */
static void cancel_waiting(struct ed_timer *timer)
{
    (void)timer;
    int err = ed_fs_cancel(&waiting);
    CHECK(err == 0 || err == -EBUSY);
}

static void a_request_that_waits_for_a_lock_can_be_cancelled(void)
{
    struct ed_timer timer = {0};
    begin();
    int one = ed_fs_open_sync("file", O_RDWR | O_CREAT, 0600);
    int other = ed_fs_open_sync("file", O_RDWR, 0);
    CHECK_EQ(ed_fs_flock_sync(one, LOCK_EX), 0);
    waiting = (struct ed_fs_request){0};
    CHECK_EQ(ed_fs_flock(&pool, &waiting, other, LOCK_EX, count_done), 0);
    ed_timer_start(&loop, &timer, 20 * ED_MS, cancel_waiting);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(dones, 1);
    CHECK_EQ(waiting.result, -ECANCELED);
    CHECK_EQ(ed_fs_flock_sync(one, LOCK_UN), 0);
    CHECK_EQ(ed_fs_flock_sync(one, LOCK_EX | LOCK_NB), 0);
    CHECK_EQ(ed_fs_close_sync(one), 0);
    CHECK_EQ(ed_fs_close_sync(other), 0);
    end();
}

static void a_request_that_waits_for_a_lock_ends_at_its_deadline(void)
{
    begin();
    int one = ed_fs_open_sync("file", O_RDWR | O_CREAT, 0600);
    int other = ed_fs_open_sync("file", O_RDWR, 0);
    CHECK_EQ(ed_fs_flock_sync(one, LOCK_EX), 0);
    uint64_t deadline_ns = ed_clock_ns() + 20 * ED_MS;
    struct ed_fs_request request = {.deadline_ns = deadline_ns};
    CHECK_EQ(ed_fs_flock(&pool, &request, other, LOCK_EX, count_done), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(dones, 1);
    CHECK_EQ(request.result, -ETIMEDOUT);
    CHECK(ed_clock_ns() >= deadline_ns);
    CHECK_EQ(ed_fs_close_sync(one), 0);
    CHECK_EQ(ed_fs_close_sync(other), 0);
    end();
}

TESTS(TEST(buffers_are_filled_and_written_one_after_the_other),
      TEST(no_buffers_are_nothing_to_do),
      TEST(of_too_many_buffers_it_is_the_first),
      TEST(buffers_may_be_larger_than_one_call_takes),
      TEST(a_file_becomes_shorter_or_longer_by_zeros),
      TEST(space_is_set_aside_and_the_file_that_long),
      TEST(what_is_written_can_be_brought_to_the_disk),
      TEST(without_descriptors_it_is_emfile),
      TEST(a_lock_is_shared_or_one_s_own), TEST(a_lock_is_waited_for),
      TEST(a_request_that_waits_for_a_lock_can_be_cancelled),
      TEST(a_request_that_waits_for_a_lock_ends_at_its_deadline))
