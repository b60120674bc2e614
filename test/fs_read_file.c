/*
 * Each case is read in both forms. A trace tells of each system call as soon as
 * it is done, on the thread that did it: so a file can be changed between two
 * of them, and a writer be held until its bytes were read, without any waiting.
 */
#include "fs/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "test/gate.h"
#include "test/tap.h"

enum { KIB = 1 << 10, MIB = 1 << 20 };

/* ---- both forms ---------------------------------------------------------- */

static struct ed_loop loop;
static struct ed_pool pool;   // whose reads are all done by workers
static struct ed_pool cached; // for which the loop reads what it can
static struct gate gate;
static int home; // the directory to go back to
static char directory[] = "/tmp/eddy-XXXXXX";
static int descriptors;

static void do_nothing(struct ed_fs_request *request)
{
    (void)request;
}

static int read_sync(const char *path, struct ed_file *file)
{
    return ed_fs_read_file_sync(path, file);
}

static int read_with(struct ed_pool *with, const char *path,
                     struct ed_file *file)
{
    struct ed_fs_request request = {.file = *file};
    int err = ed_fs_read_file(with, &request, path, do_nothing);
    if (err)
        return err;
    CHECK_EQ(ed_loop_run(&loop), 0);
    *file = request.file;
    return (int)request.result;
}

static int read_async(const char *path, struct ed_file *file)
{
    return read_with(&pool, path, file);
}

static int read_cached(const char *path, struct ed_file *file)
{
    return read_with(&cached, path, file);
}

typedef int read_fn(const char *path, struct ed_file *file);

static read_fn *const forms[] = {read_sync, read_async, read_cached};

/* The last one's steps are told by test/fs_cached.c. */
enum { FORMS = 2, ALL_FORMS = 3 };

static int count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* In an empty directory of our own. */
static void begin(void)
{
    gate_init(&gate);
    home = open(".", O_RDONLY);
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    if (!mkdtemp(directory) || chdir(directory))
        abort();
    CHECK_EQ(ed_loop_init(&loop), 0);
    CHECK_EQ(ed_pool_init(&pool, &loop, NULL), 0);
    CHECK_EQ(ed_fs_limit_cached(&pool, 0), 0);
    CHECK_EQ(ed_pool_init(&cached, &loop, NULL), 0);
    descriptors = count_descriptors();
}

static void end(void)
{
    CHECK_EQ(count_descriptors(), descriptors);
    ed_pool_destroy(&pool);
    ed_pool_destroy(&cached);
    ed_loop_destroy(&loop);
    DIR *dir = opendir(".");
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (unlink(entry->d_name))
            rmdir(entry->d_name);
    closedir(dir);
    if (fchdir(home) || rmdir(directory))
        abort();
    close(home);
    gate_destroy(&gate);
}

/* What the files have in them, of every value. */
static char *bytes;

static void make_bytes(size_t size)
{
    uint32_t random = 1;
    bytes = malloc(size ? size : 1);
    if (!bytes)
        abort();
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)((random = random * 1664525 + 1013904223) >> 24);
}

static void append(const char *path, const char *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    while (size) {
        ssize_t count = write(fd, data, size);
        if (count <= 0)
            abort();
        data += count;
        size -= (size_t)count;
    }
    close(fd);
}

static void make_sparse(const char *path, off_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (ftruncate(fd, size))
        abort();
    close(fd);
}

static void check_read(const struct ed_file *file, int result,
                       const char *expected, size_t size)
{
    CHECK_EQ(result, 0);
    NEED(file->data);
    CHECK_EQ(file->size, size);
    CHECK(file->size == size && memcmp(file->data, expected, size) == 0);
    CHECK(file->data[file->size] == '\0');
}

static void check_failed(const struct ed_file *file, int result, int error)
{
    CHECK_EQ(result, error);
    CHECK(!file->data);
    CHECK_EQ(file->size, 0);
}

static void expect_bytes(const char *path, size_t limit, const char *expected,
                         size_t size)
{
    for (int i = 0; i < ALL_FORMS; i++) {
        struct ed_file file = {.limit = limit};
        check_read(&file, forms[i](path, &file), expected, size);
        ed_file_free(&file);
    }
}

static void expect_error(const char *path, size_t limit, int error)
{
    for (int i = 0; i < ALL_FORMS; i++) {
        struct ed_file file = {.limit = limit};
        check_failed(&file, forms[i](path, &file), error);
        ed_file_free(&file);
    }
}

/* ---- what is told -------------------------------------------------------- */

enum { MOST_NOTES = 64 };

struct teller {
    struct ed_trace trace;
    void (*step)(const char *name, int nth); // the nth of that name, from 1
    int opens, fstats, reads, closes;
    int64_t most_read; // by one call
    size_t count;
    struct ed_trace_event notes[MOST_NOTES];
};

/* Without a lock: one request is in one place at a time. */
static void tell(struct ed_trace *trace, const struct ed_trace_event *event)
{
    struct teller *teller = ED_CONTAINER_OF(trace, struct teller, trace);
    if (event->kind < ED_TRACE_SUBMIT)
        return; // of the loop
    if (teller->count < MOST_NOTES)
        teller->notes[teller->count++] = *event;
    if (event->kind != ED_TRACE_STEP)
        return;

    int nth = 0;
    if (strcmp(event->name, "open") == 0)
        nth = ++teller->opens;
    if (strcmp(event->name, "fstat") == 0)
        nth = ++teller->fstats;
    if (strcmp(event->name, "read") == 0)
        nth = ++teller->reads;
    if (strcmp(event->name, "close") == 0)
        nth = ++teller->closes;
    CHECK(nth > 0);
    if (nth == teller->reads && event->value > teller->most_read)
        teller->most_read = event->value;
    if (teller->step)
        teller->step(event->name, nth);
}

static void check_note(const struct teller *teller, size_t nth,
                       enum ed_trace_kind kind, const void *subject,
                       const char *name, int64_t value)
{
    NEED(nth < teller->count);
    const struct ed_trace_event *note = &teller->notes[nth];
    CHECK_EQ(note->kind, kind);
    CHECK(note->subject == subject);
    if (name)
        CHECK_STR(note->name, name);
    else
        CHECK(!note->name);
    CHECK_EQ(note->value, value);
}

/* ---- regular files ------------------------------------------------------- */

static void expect_around_its_size(const char *path, size_t size)
{
    expect_bytes(path, 0, bytes, size);
    expect_bytes(path, size + 1, bytes, size);
    if (size > 0)
        expect_bytes(path, size, bytes, size);
    if (size > 1)
        expect_error(path, size - 1, -EFBIG);
    if (size > 1)
        expect_error(path, 1, -EFBIG);
}

static void files_of_sizes_around_the_powers_of_two_are_read_whole(void)
{
    begin();
    make_bytes(MIB + 1);
    for (size_t power = 1; power <= MIB; power *= 2) {
        for (size_t size = power - 1; size <= power + 1; size++) {
            append("file", bytes, size);
            expect_around_its_size("file", size);
            unlink("file");
        }
    }
    free(bytes);
    end();
}

static void an_empty_file_is_an_empty_string(void)
{
    begin();
    append("empty", NULL, 0);
    expect_bytes("empty", 0, "", 0);
    expect_bytes("empty", 1, "", 0);
    end();
}

static void a_file_may_have_nuls_in_it(void)
{
    static const char nuls[] = "\0a\0\0b\0";
    begin();
    append("file", nuls, sizeof nuls);
    expect_bytes("file", 0, nuls, sizeof nuls);
    end();
}

static void a_large_file_is_read_at_once(void)
{
    enum { SIZE = 50 * MIB };
    begin();
    make_bytes(SIZE);
    append("large", bytes, SIZE);
    for (int i = 0; i < FORMS; i++) {
        struct teller teller = {.trace.tell = tell};
        struct ed_file file = {.trace = &teller.trace};
        check_read(&file, forms[i]("large", &file), bytes, SIZE);
        CHECK_EQ(teller.reads, 1);
        ed_file_free(&file);
    }
    free(bytes);
    end();
}

static void a_sparse_file_is_read_as_zeros(void)
{
    enum { SIZE = 40 * MIB };
    char *zeros = calloc(1, SIZE);
    NEED(zeros);
    begin();
    make_sparse("sparse", SIZE);
    expect_bytes("sparse", SIZE, zeros, SIZE);
    expect_error("sparse", SIZE - 1, -EFBIG);
    end();
    free(zeros);
}

static void a_file_of_more_than_a_gibibyte_is_read_if_the_limit_allows(void)
{
    const size_t size = (size_t)1536 * MIB;
    if (!getenv("EDDY_TEST_BIG"))
        SKIP("takes 3 GiB of memory; set EDDY_TEST_BIG to have it");
    begin();
    make_sparse("sparse", (off_t)size);
    for (int i = 0; i < FORMS; i++) {
        struct ed_file file = {.limit = size};
        CHECK_EQ(forms[i]("sparse", &file), 0);
        CHECK_EQ(file.size, size);
        CHECK(file.data && !file.data[0] && !file.data[size]);
        ed_file_free(&file);
    }
    end();
}

static void a_file_that_is_too_big_is_not_even_begun(void)
{
    static const int64_t sizes[] = {(int64_t)ED_FILE_LIMIT + 1,
                                    (int64_t)5 << 30};
    begin();
    for (size_t s = 0; s < 2; s++) {
        make_sparse("sparse", (off_t)sizes[s]);
        for (int i = 0; i < FORMS; i++) {
            struct teller teller = {.trace.tell = tell};
            struct ed_file file = {.trace = &teller.trace};
            check_failed(&file, forms[i]("sparse", &file), -EFBIG);
            CHECK_EQ(teller.fstats, 1);
            CHECK_EQ(teller.reads, 0);
            CHECK_EQ(teller.closes, 1);
        }
    }
    end();
}

/* ---- files that change --------------------------------------------------- */

static void grow_after_fstat_and_reads(const char *name, int nth)
{
    if (strcmp(name, "fstat") == 0)
        append("file", bytes + 100, 1);
    if (strcmp(name, "read") == 0 && nth == 1)
        append("file", bytes + 101, 20000);
    if (strcmp(name, "read") == 0 && nth == 2)
        append("file", bytes + 20101, 70000);
}

static void a_file_that_grows_is_read_to_its_new_end(void)
{
    begin();
    make_bytes(100000);
    for (int i = 0; i < FORMS; i++) {
        struct teller teller = {.trace.tell = tell,
                                .step = grow_after_fstat_and_reads};
        struct ed_file file = {.trace = &teller.trace};
        append("file", bytes, 100);
        check_read(&file, forms[i]("file", &file), bytes, 90101);
        ed_file_free(&file);
        unlink("file");
    }
    free(bytes);
    end();
}

static void grow_without_end(const char *name, int nth)
{
    (void)nth;
    if (strcmp(name, "fstat") == 0 || strcmp(name, "read") == 0)
        append("file", bytes, 5000);
}

static void a_file_that_grows_without_end_meets_the_limit(void)
{
    begin();
    make_bytes(5000);
    for (int i = 0; i < FORMS; i++) {
        struct teller teller = {.trace.tell = tell, .step = grow_without_end};
        struct ed_file file = {.limit = 100000, .trace = &teller.trace};
        append("file", bytes, 5000);
        check_failed(&file, forms[i]("file", &file), -EFBIG);
        unlink("file");
    }
    free(bytes);
    end();
}

static int shrink_to;

static void shrink_after_fstat(const char *name, int nth)
{
    (void)nth;
    if (strcmp(name, "fstat") == 0)
        CHECK_EQ(truncate("file", shrink_to), 0);
}

static void a_file_that_shrinks_is_what_is_left(void)
{
    static const int sizes[] = {0, 1, 1000, 49999, 50000, 50001, 99999};
    begin();
    make_bytes(100000);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (int i = 0; i < FORMS; i++) {
            struct teller teller = {.trace.tell = tell,
                                    .step = shrink_after_fstat};
            struct ed_file file = {.trace = &teller.trace};
            shrink_to = sizes[s];
            append("file", bytes, 100000);
            check_read(&file, forms[i]("file", &file), bytes, (size_t)sizes[s]);
            ed_file_free(&file);
            unlink("file");
        }
    }
    free(bytes);
    end();
}

enum { PIECE = 3000, PIECES = 400 };

static void *append_all_the_time(void *argument)
{
    (void)argument;
    for (size_t i = 1; i < PIECES; i++)
        append("file", bytes + i * PIECE, PIECE);
    return NULL;
}

static void what_is_read_beside_a_writer_is_the_beginning_of_it(void)
{
    begin();
    make_bytes(PIECE * PIECES);
    for (int i = 0; i < FORMS; i++) {
        pthread_t writer;
        append("file", bytes, PIECE);
        NEED(!pthread_create(&writer, NULL, append_all_the_time, NULL));
        size_t last = 0;
        while (last < PIECE * PIECES) {
            struct ed_file file = {0};
            NEED(forms[i]("file", &file) == 0);
            NEED(file.size >= last && file.size <= PIECE * PIECES);
            CHECK(memcmp(file.data, bytes, file.size) == 0);
            CHECK(file.data[file.size] == '\0');
            last = file.size;
            ed_file_free(&file);
        }
        pthread_join(writer, NULL);
        unlink("file");
    }
    free(bytes);
    // The writer opens the file, too, so the count is right only now.
    end();
}

/* ---- what is not a regular file ------------------------------------------ */

static void files_of_proc_are_read_though_they_tell_no_size(void)
{
    static const struct {
        const char *path, *start;
    } files[] = {
        {"/proc/self/status", "Name:"},
        {"/proc/cpuinfo", ""},
        {"/proc/self/maps", ""},
        {"/proc/filesystems", "nodev"},
    };
    if (access("/proc/self/status", R_OK))
        SKIP("no /proc");
    begin();
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        for (int i = 0; i < FORMS; i++) {
            struct ed_file file = {0};
            CHECK_EQ(forms[i](files[f].path, &file), 0);
            NEED(file.data);
            CHECK(file.size > 10);
            CHECK_EQ(strlen(file.data), file.size);
            CHECK(strncmp(file.data, files[f].start, strlen(files[f].start)) ==
                  0);
            ed_file_free(&file);
        }
    }
    expect_error("/proc/filesystems", 1, -EFBIG);
    end();
}

static void memory_that_is_not_there_is_an_error_of_read(void)
{
    if (access("/proc/self/mem", R_OK))
        SKIP("no /proc/self/mem");
    begin();
    expect_error("/proc/self/mem", 0, -EIO);
    end();
}

static void the_null_device_is_empty(void)
{
    begin();
    expect_bytes("/dev/null", 0, "", 0);
    expect_bytes("/dev/null", 1, "", 0);
    end();
}

static void an_endless_device_meets_the_limit(void)
{
    static const size_t limits[] = {
        1, 2, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, MIB, 3 * MIB + 7};
    begin();
    for (size_t l = 0; l < sizeof limits / sizeof *limits; l++) {
        for (int i = 0; i < FORMS; i++) {
            struct teller teller = {.trace.tell = tell};
            struct ed_file file = {.limit = limits[l], .trace = &teller.trace};
            check_failed(&file, forms[i]("/dev/zero", &file), -EFBIG);
            // One byte more shows that it is too much; no more is read.
            CHECK(teller.most_read <= (int64_t)limits[l] + 1);
        }
    }
    end();
}

static size_t fifo_size;
static size_t fifo_piece;

/* Writes the next piece when the last was read. */
static void *write_fifo(void *argument)
{
    (void)argument;
    int fd = open("fifo", O_WRONLY | O_CLOEXEC);
    for (size_t at = 0; at < fifo_size;) {
        size_t left = fifo_size - at;
        size_t piece = left < fifo_piece ? left : fifo_piece;
        ssize_t count = write(fd, bytes + at, piece);
        if (count < 0)
            break; // the reader has seen enough
        at += (size_t)count;
        gate_pass(&gate);
    }
    close(fd);
    return NULL;
}

/* Also when the reader leaves: the writer must not wait for ever. */
static void let_writer_go_on(const char *name, int nth)
{
    (void)nth;
    if (strcmp(name, "read") == 0 || strcmp(name, "close") == 0)
        gate_open(&gate);
}

static void read_fifo(read_fn *form, size_t size, size_t piece, size_t limit)
{
    struct teller teller = {.trace.tell = tell, .step = let_writer_go_on};
    struct ed_file file = {.limit = limit, .trace = &teller.trace};
    pthread_t writer;
    fifo_size = size;
    fifo_piece = piece;
    gate_destroy(&gate);
    gate_init(&gate);
    NEED(!pthread_create(&writer, NULL, write_fifo, NULL));
    int result = form("fifo", &file);
    pthread_join(writer, NULL);
    if (limit && size > limit)
        check_failed(&file, result, -EFBIG);
    else
        check_read(&file, result, bytes, size);
    ed_file_free(&file);
}

static void a_fifo_is_read_to_its_end_however_it_is_written(void)
{
    static const size_t sizes[] = {
        0,     1, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 32 * KIB, 32 * KIB + 1,
        200000};
    static const size_t pieces[] = {4000, 16 * KIB, 16 * KIB + 1, 60000};
    begin();
    make_bytes(200000);
    CHECK_EQ(mkfifo("fifo", 0600), 0);
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
            for (int i = 0; i < FORMS; i++) {
                size_t size = sizes[s];
                read_fifo(forms[i], size, pieces[p], 0);
                read_fifo(forms[i], size, pieces[p], size + 1);
                if (size > 0)
                    read_fifo(forms[i], size, pieces[p], size);
                if (size > 1)
                    read_fifo(forms[i], size, pieces[p], size - 1);
            }
        }
    }
    signal(SIGPIPE, before);
    free(bytes);
    end();
}

static void a_pipe_can_be_read_by_its_number(void)
{
    if (access("/dev/fd/0", F_OK) && access("/dev/fd", F_OK))
        SKIP("no /dev/fd");
    begin();
    for (int i = 0; i < FORMS; i++) {
        struct ed_file file = {0};
        char path[32];
        int fds[2];
        NEED(pipe(fds) == 0);
        CHECK_EQ(write(fds[1], "through a pipe", 14), 14);
        close(fds[1]);
        snprintf(path, sizeof path, "/dev/fd/%d", fds[0]);
        check_read(&file, forms[i](path, &file), "through a pipe", 14);
        close(fds[0]);
        ed_file_free(&file);
    }
    end();
}

/* ---- errors -------------------------------------------------------------- */

static void what_cannot_be_opened_says_why(void)
{
    char long_name[5000];
    memset(long_name, 'a', sizeof long_name);
    begin();
    append("file", "x", 1);
    CHECK_EQ(symlink("loop", "loop"), 0);
    CHECK_EQ(symlink("nowhere", "dangling"), 0);
    CHECK_EQ(symlink("file", "link"), 0);
    CHECK_EQ(mkdir("dir", 0700), 0);
    expect_error("missing", 0, -ENOENT);
    expect_error("", 0, -ENOENT);
    expect_error("dangling", 0, -ENOENT);
    expect_error("missing/file", 0, -ENOENT);
    expect_error("file/inside", 0, -ENOTDIR);
    expect_error("loop", 0, -ELOOP);
    long_name[NAME_MAX + 1] = '\0';
    expect_error(long_name, 0, -ENAMETOOLONG);
    long_name[NAME_MAX + 1] = 'a';
    long_name[sizeof long_name - 1] = '\0';
    expect_error(long_name, 0, -ENAMETOOLONG);
    expect_error("dir", 0, -EISDIR);
    expect_error(".", 1, -EISDIR);
    expect_bytes("link", 0, "x", 1);
    end();
}

static void without_permission_it_is_eacces(void)
{
    enum { NOBODY = 65534 };
    bool is_root = geteuid() == 0;
    begin();
    append("secret", "x", 1);
    CHECK_EQ(chmod("secret", 0), 0);
    CHECK_EQ(chmod(".", 0755), 0);
    if (is_root)
        NEED(seteuid(NOBODY) == 0);
    expect_error("secret", 0, -EACCES);
    if (is_root)
        NEED(seteuid(0) == 0);
    end();
}

/* ---- requests ------------------------------------------------------------ */

static void a_file_can_be_freed_twice(void)
{
    begin();
    append("file", "x", 1);
    for (int i = 0; i < FORMS; i++) {
        struct ed_file file = {0};
        ed_file_free(&file);
        CHECK_EQ(forms[i]("file", &file), 0);
        ed_file_free(&file);
        CHECK(!file.data);
        CHECK_EQ(file.size, 0);
        ed_file_free(&file);
    }
    end();
}

static int rereads;

static void read_again(struct ed_fs_request *request)
{
    check_read(&request->file, (int)request->result, "x", 1);
    ed_file_free(&request->file);
    if (rereads-- > 0)
        CHECK_EQ(ed_fs_read_file(&pool, request, "file", read_again), 0);
}

static void a_request_can_be_used_again_from_its_done_on(void)
{
    struct ed_fs_request request = {0};
    begin();
    append("file", "x", 1);
    rereads = 20;
    CHECK_EQ(ed_fs_read_file(&pool, &request, "file", read_again), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(rereads, -1);
    end();
}

static int dones;

static void count_and_check(struct ed_fs_request *request)
{
    dones++;
    check_read(&request->file, (int)request->result, bytes, 20000);
    ed_file_free(&request->file);
}

static void many_files_are_read_at_once(void)
{
    enum { COUNT = 300 };
    static struct ed_fs_request requests[COUNT];
    begin();
    make_bytes(20000);
    append("file", bytes, 20000);
    dones = 0;
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(ed_fs_read_file(&pool, &requests[i], "file", count_and_check),
                 0);
    CHECK_EQ(dones, 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(dones, COUNT);
    free(bytes);
    end();
}

static struct gate began;

static void hold(struct ed_task *task)
{
    (void)task;
    gate_open(&began);
    gate_pass(&gate);
}

static void ignore_task(struct ed_task *task)
{
    (void)task;
}

static void a_read_that_is_cancelled_in_time_reads_nothing(void)
{
    const struct ed_pool_options one = {.workers = 1};
    struct ed_pool small;
    struct ed_task blocker = {0};
    struct teller teller = {.trace.tell = tell};
    struct ed_fs_request request = {.file.trace = &teller.trace};
    gate_init(&began);
    begin();
    append("file", "x", 1);
    CHECK_EQ(ed_pool_init(&small, &loop, &one), 0);
    CHECK_EQ(ed_fs_limit_cached(&small, 0), 0);
    CHECK_EQ(ed_task_submit(&small, &blocker, hold, ignore_task), 0);
    gate_pass(&began);
    CHECK_EQ(ed_fs_cancel(&request), -ENOENT);
    CHECK_EQ(ed_fs_read_file(&small, &request, "file", do_nothing), 0);
    CHECK_EQ(ed_fs_cancel(&request), 0);
    gate_open(&gate);
    CHECK_EQ(ed_loop_run(&loop), 0);
    check_failed(&request.file, (int)request.result, -ECANCELED);
    CHECK_EQ(teller.count, 0);
    CHECK_EQ(ed_fs_cancel(&request), -ENOENT);
    ed_pool_destroy(&small);
    end();
    gate_destroy(&began);
}

static void at_the_request_limit_a_read_is_refused(void)
{
    const struct ed_pool_options two = {.request_limit = 2};
    struct ed_pool small;
    struct ed_fs_request requests[3] = {0};
    begin();
    append("file", "x", 1);
    CHECK_EQ(ed_pool_init(&small, &loop, &two), 0);
    CHECK_EQ(ed_fs_read_file(&small, &requests[0], "file", do_nothing), 0);
    CHECK_EQ(ed_fs_read_file(&small, &requests[1], "file", do_nothing), 0);
    CHECK_EQ(ed_fs_read_file(&small, &requests[2], "file", do_nothing),
             -EAGAIN);
    ed_loop_run(&loop);
    for (int i = 0; i < 2; i++)
        check_read(&requests[i].file, (int)requests[i].result, "x", 1);
    CHECK(!requests[2].file.data);
    for (int i = 0; i < 3; i++)
        ed_file_free(&requests[i].file);
    ed_pool_destroy(&small);
    end();
}

/* ---- descriptors and trace ----------------------------------------------- */

static int opened;
static int opened_flags;

static void note_flags(struct ed_trace *trace,
                       const struct ed_trace_event *event)
{
    tell(trace, event);
    if (event->kind == ED_TRACE_STEP && strcmp(event->name, "open") == 0) {
        opened = (int)event->value;
        opened_flags = fcntl(opened, F_GETFD);
    }
}

static void the_descriptor_is_closed_on_exec_and_in_the_end(void)
{
    begin();
    append("file", "x", 1);
    for (int i = 0; i < FORMS; i++) {
        struct teller teller = {.trace.tell = note_flags};
        struct ed_file file = {.trace = &teller.trace};
        CHECK_EQ(forms[i]("file", &file), 0);
        CHECK(opened_flags & FD_CLOEXEC);
        CHECK_EQ(fcntl(opened, F_GETFD), -1);
        ed_file_free(&file);
    }
    end();
}

/* The values are those of system calls: the descriptor can be any. */
static void check_steps(const struct teller *teller, size_t first,
                        const struct ed_file *file, int64_t size)
{
    NEED(first < teller->count);
    check_note(teller, first, ED_TRACE_STEP, file, "open",
               teller->notes[first].value);
    CHECK(teller->notes[first].value >= 0);
    check_note(teller, first + 1, ED_TRACE_STEP, file, "fstat", size);
    check_note(teller, first + 2, ED_TRACE_STEP, file, "read", size);
    check_note(teller, first + 3, ED_TRACE_STEP, file, "close", 0);
}

static void a_read_on_this_thread_tells_its_steps(void)
{
    struct teller teller = {.trace.tell = tell};
    struct ed_file file = {.trace = &teller.trace};
    begin();
    append("file", "four", 4);
    CHECK_EQ(ed_fs_read_file_sync("file", &file), 0);
    CHECK_EQ(teller.count, 4);
    check_steps(&teller, 0, &file, 4);
    ed_file_free(&file);
    end();
}

static void a_read_through_the_pool_tells_its_way_and_its_steps(void)
{
    struct teller teller = {.trace.tell = tell};
    struct ed_fs_request request = {.file.trace = &teller.trace};
    begin();
    append("file", "four", 4);
    loop.trace = &teller.trace;
    CHECK_EQ(ed_fs_read_file(&pool, &request, "file", do_nothing), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(request.result, 0);
    CHECK_EQ(teller.count, 8);
    check_note(&teller, 0, ED_TRACE_SUBMIT, &request.task, NULL, 0);
    check_note(&teller, 1, ED_TRACE_TAKE, &request.task, NULL, 1);
    check_steps(&teller, 2, &request.file, 4);
    check_note(&teller, 6, ED_TRACE_POST, &request.task, NULL, 0);
    check_note(&teller, 7, ED_TRACE_DONE, &request.task, NULL, 0);
    ed_file_free(&request.file);
    end();
}

static void without_a_trace_of_its_own_a_read_tells_its_steps_to_the_loops(void)
{
    struct teller teller = {.trace.tell = tell};
    struct ed_fs_request request = {0};
    begin();
    append("file", "four", 4);
    loop.trace = &teller.trace;
    CHECK_EQ(ed_fs_read_file(&pool, &request, "file", do_nothing), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(teller.count, 8);
    check_steps(&teller, 2, &request.file, 4);
    ed_file_free(&request.file);

    // The trace may end before the request is used again.
    CHECK(!request.file.trace);
    loop.trace = NULL;
    CHECK_EQ(ed_fs_read_file(&pool, &request, "file", do_nothing), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(teller.count, 8);
    ed_file_free(&request.file);
    end();
}

static void steps_that_fail_are_told_with_their_error(void)
{
    begin();
    for (int i = 0; i < FORMS; i++) {
        struct teller missing = {.trace.tell = tell};
        struct ed_file file = {.trace = &missing.trace};
        CHECK_EQ(forms[i]("missing", &file), -ENOENT);
        CHECK_EQ(missing.count, 1);
        CHECK_STR(missing.notes[0].name, "open");
        CHECK_EQ(missing.notes[0].value, -ENOENT);

        struct teller dir = {.trace.tell = tell};
        file = (struct ed_file){.trace = &dir.trace};
        CHECK_EQ(forms[i](".", &file), -EISDIR);
        CHECK_EQ(dir.count, 3);
        CHECK_STR(dir.notes[2].name, "close");
    }
    end();
}

TESTS(TEST(files_of_sizes_around_the_powers_of_two_are_read_whole),
      TEST(an_empty_file_is_an_empty_string), TEST(a_file_may_have_nuls_in_it),
      TEST(a_large_file_is_read_at_once), TEST(a_sparse_file_is_read_as_zeros),
      TEST(a_file_of_more_than_a_gibibyte_is_read_if_the_limit_allows),
      TEST(a_file_that_is_too_big_is_not_even_begun),
      TEST(a_file_that_grows_is_read_to_its_new_end),
      TEST(a_file_that_grows_without_end_meets_the_limit),
      TEST(a_file_that_shrinks_is_what_is_left),
      TEST(what_is_read_beside_a_writer_is_the_beginning_of_it),
      TEST(files_of_proc_are_read_though_they_tell_no_size),
      TEST(memory_that_is_not_there_is_an_error_of_read),
      TEST(the_null_device_is_empty), TEST(an_endless_device_meets_the_limit),
      TEST(a_fifo_is_read_to_its_end_however_it_is_written),
      TEST(a_pipe_can_be_read_by_its_number),
      TEST(what_cannot_be_opened_says_why),
      TEST(without_permission_it_is_eacces), TEST(a_file_can_be_freed_twice),
      TEST(a_request_can_be_used_again_from_its_done_on),
      TEST(many_files_are_read_at_once),
      TEST(a_read_that_is_cancelled_in_time_reads_nothing),
      TEST(at_the_request_limit_a_read_is_refused),
      TEST(the_descriptor_is_closed_on_exec_and_in_the_end),
      TEST(a_read_on_this_thread_tells_its_steps),
      TEST(a_read_through_the_pool_tells_its_way_and_its_steps),
      TEST(without_a_trace_of_its_own_a_read_tells_its_steps_to_the_loops),
      TEST(steps_that_fail_are_told_with_their_error))
