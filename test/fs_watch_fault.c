/*
 * What a watch does when the system says no. With inotify the calls below are
 * linked with --wrap (see meson.build), so that the first of them fails, the
 * second, and so on until all goes well; with the kqueue double, it is told to.
 */
#include "fs/watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "test/tap.h"

#if defined KQUEUE_DOUBLE || defined __linux__

/* ---- a tree -------------------------------------------------------------- */

static struct ed_loop loop;
static char root[64];
static unsigned told[ED_FS_GONE + 1];
static int last_error;
static char last_path[256];

static void count(struct ed_fs_watch *watch, const struct ed_fs_event *event)
{
    (void)watch;
    told[event->kind]++;
    snprintf(last_path, sizeof last_path, "%s", event->path);
    if (event->kind == ED_FS_FAILED)
        last_error = event->error;
}

static const char *in_root(const char *name)
{
    static char paths[2][128]; // for two in a call
    static unsigned next;
    char *path = paths[next++ % 2];
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

static void create(const char *name)
{
    FILE *file = fopen(in_root(name), "w");
    CHECK(file != NULL);
    if (file)
        fclose(file);
}

static int count_descriptors(void)
{
    int number = 0;
    for (int fd = 0; fd < 256; fd++)
        number += fcntl(fd, F_GETFD) >= 0;
    return number;
}

static void begin(void)
{
    memset(told, 0, sizeof told);
    last_error = 0;
    strcpy(root, "/tmp/eddy-fault-XXXXXX");
    CHECK(mkdtemp(root) != NULL);
    CHECK(mkdir(in_root("a"), 0755) == 0);
    CHECK(mkdir(in_root("a/b"), 0755) == 0);
    create("a/b/f");
    CHECK_EQ(ed_loop_init(&loop), 0);
}

static void end(void)
{
    CHECK(!ed_loop_is_alive(&loop));
    CHECK(!loop.notifier);
    ed_loop_destroy(&loop);
    static const char *const names[] = {"a/b/f", "a/b", "a/n",  "a",
                                        "c/b/f", "c/b", "c/n",  "c",
                                        "d/g",   "d",   "mark", ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)remove(in_root(names[i]));
}

/* Until it is ready, which it gets even so. */
static void get_ready(const struct ed_fs_watch *watch)
{
    while (watch->unread || !watch->is_ready)
        if (ed_loop_run_once(&loop, (int64_t)ED_S) != 1)
            break;
}

/* The events of one file come, whatever went wrong before. */
static void check_that_it_goes_on(const struct ed_fs_watch *watch)
{
    create("mark");
    for (int i = 0; i < 1000 && strcmp(last_path, "mark") != 0; i++)
        ed_loop_run_once(&loop, (int64_t)ED_MS * 10);
    CHECK_STR(last_path, "mark");
    get_ready(watch);
}

#endif

#if defined KQUEUE_DOUBLE

#include "test/double/faults.h"

/* ---- kqueue -------------------------------------------------------------- */

static void what_cannot_be_added_is_told(void)
{
    int before = count_descriptors();
    bool is_over = false;
    for (unsigned adds = 0; !is_over; adds++) {
        struct ed_fs_watch watch = {.list = true};
        begin();
        kqueue_double_set_faults(
            &(struct kqueue_faults){.add_errno = ENOMEM, .adds_before = adds});
        int err = ed_fs_watch_tree(&loop, &watch, root, count);
        CHECK(err == 0 || err == -ENOMEM);
        if (!err) {
            get_ready(&watch);
            CHECK(!told[ED_FS_FAILED] || last_error == -ENOMEM);
            is_over = !told[ED_FS_FAILED];
            kqueue_double_set_faults(&(struct kqueue_faults){0});
            check_that_it_goes_on(&watch);
        }
        kqueue_double_set_faults(&(struct kqueue_faults){0});
        ed_fs_watch_stop(&watch);
        end();
        CHECK(adds < 100);
    }
    CHECK_EQ(count_descriptors(), before);
}

static void so_is_what_there_are_no_descriptors_for(void)
{
    struct ed_fs_watch watch = {.list = true};
    struct rlimit limit, few;
    char name[32];
    int before = count_descriptors();
    begin();
    NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    few = limit;
    few.rlim_cur = 64;
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "%d", i);
        create(name);
    }
    NEED(setrlimit(RLIMIT_NOFILE, &few) == 0);
    CHECK_EQ(ed_fs_watch_tree(&loop, &watch, root, count), 0);
    get_ready(&watch);
    CHECK(told[ED_FS_FAILED] > 0);
    CHECK_EQ(last_error, -EMFILE);
    CHECK(told[ED_FS_FOUND] >= 101); // their names are known even so
    setrlimit(RLIMIT_NOFILE, &limit);
    check_that_it_goes_on(&watch);
    ed_fs_watch_stop(&watch);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "%d", i);
        (void)remove(in_root(name));
    }
    end();
    CHECK_EQ(count_descriptors(), before);
}

TESTS(TEST(what_cannot_be_added_is_told),
      TEST(so_is_what_there_are_no_descriptors_for))

#elif defined __linux__

#include <sys/epoll.h>
#include <sys/inotify.h>

/* ---- the wrapped calls --------------------------------------------------- */

enum call {
    INIT,
    ADD_WATCH,
    READ,
    OPEN,
    FDOPENDIR,
    READDIR,
    REALPATH,
    EPOLL_CTL,
    ALLOCATE,
    CALLS,
};

static volatile int made[CALLS];
static int fails_from[CALLS]; // the first of the calls to fail; 0: none
static int fails_to[CALLS];   // the last of them
static int fails_with;        // errno

static bool fails(enum call call)
{
    int number = ++made[call];
    if (!fails_from[call] || number < fails_from[call] ||
        number > fails_to[call])
        return false;
    errno = fails_with;
    return true;
}

static void forget_calls(void)
{
    for (int i = 0; i < CALLS; i++)
        made[i] = fails_from[i] = fails_to[i] = 0;
}

static void let_fail(enum call call, int first, int count, int err)
{
    forget_calls();
    fails_from[call] = first;
    fails_to[call] = first + count - 1;
    fails_with = err;
}

static const int for_ever = 1000000000;

#define MAYBE __attribute__((weak))

int __real_inotify_init1(int flags);
int __wrap_inotify_init1(int flags);
int __wrap_inotify_init1(int flags)
{
    return fails(INIT) ? -1 : __real_inotify_init1(flags);
}

int __real_inotify_add_watch(int fd, const char *path, uint32_t mask);
int __wrap_inotify_add_watch(int fd, const char *path, uint32_t mask);
int __wrap_inotify_add_watch(int fd, const char *path, uint32_t mask)
{
    return fails(ADD_WATCH) ? -1 : __real_inotify_add_watch(fd, path, mask);
}

ssize_t __real_read(int fd, void *buffer, size_t size);
ssize_t __wrap_read(int fd, void *buffer, size_t size);
ssize_t __wrap_read(int fd, void *buffer, size_t size)
{
    return fails(READ) ? -1 : __real_read(fd, buffer, size);
}

MAYBE int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    return fails(OPEN) ? -1 : __real_open(path, flags, 0644);
}

MAYBE int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    return fails(OPEN) ? -1 : __real_open64(path, flags, 0644);
}

DIR *__real_fdopendir(int fd);
DIR *__wrap_fdopendir(int fd);
DIR *__wrap_fdopendir(int fd)
{
    return fails(FDOPENDIR) ? NULL : __real_fdopendir(fd);
}

MAYBE struct dirent *__real_readdir(DIR *dir);
struct dirent *__wrap_readdir(DIR *dir);
struct dirent *__wrap_readdir(DIR *dir)
{
    return fails(READDIR) ? NULL : __real_readdir(dir);
}

MAYBE struct dirent64 *__real_readdir64(DIR *dir);
struct dirent64 *__wrap_readdir64(DIR *dir);
struct dirent64 *__wrap_readdir64(DIR *dir)
{
    return fails(READDIR) ? NULL : __real_readdir64(dir);
}

char *__real_realpath(const char *path, char *resolved);
char *__wrap_realpath(const char *path, char *resolved);
char *__wrap_realpath(const char *path, char *resolved)
{
    return fails(REALPATH) ? NULL : __real_realpath(path, resolved);
}

int __real_epoll_ctl(int epoll, int change, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int change, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int change, int fd, struct epoll_event *event)
{
    return change == EPOLL_CTL_ADD && fails(EPOLL_CTL)
               ? -1
               : __real_epoll_ctl(epoll, change, fd, event);
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    return fails(ALLOCATE) ? NULL : __real_malloc(size);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return fails(ALLOCATE) ? NULL : __real_calloc(count, size);
}

char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
char *__wrap_strdup(const char *text)
{
    return fails(ALLOCATE) ? NULL : __real_strdup(text);
}

char *__real_strndup(const char *text, size_t size);
char *__wrap_strndup(const char *text, size_t size);
char *__wrap_strndup(const char *text, size_t size)
{
    return fails(ALLOCATE) ? NULL : __real_strndup(text, size);
}

/* Returns how often the call was made. */
static int use_a_tree(enum call call, int nth, int err)
{
    struct ed_fs_watch watch = {.list = true};
    begin();
    let_fail(call, nth, 1, err);
    int failed = ed_fs_watch_tree(&loop, &watch, root, count);
    if (failed) {
        CHECK_EQ(failed, -err);
        CHECK(!ed_fs_watch_is_active(&watch));
        CHECK_EQ(made[call], nth);
        forget_calls();
        end();
        return nth;
    }
    get_ready(&watch);
    CHECK(rename(in_root("a"), in_root("c")) == 0);
    CHECK(mkdir(in_root("d"), 0755) == 0);
    create("d/g");
    create("c/n");
    for (int i = 0; i < 10; i++)
        ed_loop_run_once(&loop, 0);
    get_ready(&watch);
    int calls = made[call];
    forget_calls();
    check_that_it_goes_on(&watch);
    ed_fs_watch_stop(&watch);
    end();
    return calls;
}

static void check_each(enum call call, int err)
{
    int before = count_descriptors(), nth = 1;
    while (use_a_tree(call, nth, err) >= nth)
        nth++;
    CHECK(nth > 1);
    CHECK_EQ(count_descriptors(), before);
}

static void each_call_may_fail(void)
{
    check_each(INIT, EMFILE);
    check_each(ADD_WATCH, ENOSPC);
    check_each(ADD_WATCH, ENOMEM);
    check_each(OPEN, EMFILE);
    check_each(OPEN, EACCES);
    check_each(FDOPENDIR, ENOMEM);
    check_each(READDIR, EIO);
    check_each(READ, EINTR);
    check_each(READ, EIO);
    check_each(EPOLL_CTL, ENOSPC);
    check_each(REALPATH, ENOMEM);
    check_each(ALLOCATE, ENOMEM);
}

static void of_a_file_too(void)
{
    static const enum call calls[] = {INIT,     ADD_WATCH, OPEN,
                                      REALPATH, EPOLL_CTL, ALLOCATE};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        for (int nth = 1;; nth++) {
            struct ed_fs_watch watch = {0};
            begin();
            let_fail(calls[i], nth, 1, ENOMEM);
            int err = ed_fs_watch_file(&loop, &watch, in_root("mark"), count);
            CHECK(err == 0 || err == -ENOMEM);
            CHECK_EQ(ed_fs_watch_is_active(&watch), !err);
            if (!err)
                get_ready(&watch);
            bool is_over = made[calls[i]] < nth;
            forget_calls();
            if (!err)
                check_that_it_goes_on(&watch);
            ed_fs_watch_stop(&watch);
            end();
            if (is_over)
                break;
        }
    }
}

static void the_limit_of_watches_is_told_and_the_rest_is_watched(void)
{
    struct ed_fs_watch watch = {.list = true};
    begin();
    let_fail(ADD_WATCH, 2, for_ever, ENOSPC);
    CHECK_EQ(ed_fs_watch_tree(&loop, &watch, root, count), 0);
    get_ready(&watch);
    CHECK_EQ(told[ED_FS_FAILED], 1); // of a, and so of a/b
    CHECK_EQ(last_error, -ENOSPC);
    CHECK_EQ(told[ED_FS_FOUND], 1);
    CHECK_EQ(told[ED_FS_READY], 1);
    forget_calls();
    check_that_it_goes_on(&watch);
    ed_fs_watch_stop(&watch);
    end();
}

static void without_proc_directories_are_watched_by_name(void)
{
    struct ed_fs_watch watch = {.list = true};
    begin();
    let_fail(ADD_WATCH, 1, 1, ENOENT);
    CHECK_EQ(ed_fs_watch_tree(&loop, &watch, root, count), 0);
    CHECK_EQ(made[ADD_WATCH], 2);
    get_ready(&watch);
    CHECK_EQ(told[ED_FS_FAILED], 0);
    CHECK_EQ(told[ED_FS_FOUND], 3);
    check_that_it_goes_on(&watch);
    ed_fs_watch_stop(&watch);
    end();
}

TESTS(TEST(each_call_may_fail), TEST(of_a_file_too),
      TEST(the_limit_of_watches_is_told_and_the_rest_is_watched),
      TEST(without_proc_directories_are_watched_by_name))

#else

static void the_system_is_made_to_fail(void)
{
    SKIP("wraps the calls of inotify");
}

TESTS(TEST(the_system_is_made_to_fail))

#endif
