/*
 * test/fs_watch.c - what is told of files, directories and trees
 *
 * After each step we wait for a mark: a file in a directory of its own, whose
 * events come after those of the step. So what has not come then will not come.
 */
#include "fs/watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "test/tap.h"

#if defined __linux__ && !defined KQUEUE_DOUBLE
#include <sched.h>
#include <sys/mount.h>
enum { IS_INOTIFY = 1 };
#else
enum { IS_INOTIFY = 0 };
#endif

enum { TEXT = 1 << 16 };

static struct ed_loop loop;
static char top[64];     // has in it what follows
static char root[80];    // what is watched
static char outside[80]; // what is not
static char marks[80];   // the directory of the mark
static struct ed_fs_watch mark_watch;
static unsigned marks_made, marks_seen;

/* ---- files --------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *stat, int kind,
                      struct FTW *where)
{
    (void)stat;
    (void)kind;
    (void)where;
    return remove(path);
}

static void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* In a few buffers, so that two can be used in a call. */
static const char *in(const char *directory, const char *name)
{
    static char paths[4][8192];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

static void append(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    ssize_t size = (ssize_t)strlen(text);
    CHECK(fd >= 0 && write(fd, text, (size_t)size) == size);
    if (fd >= 0)
        close(fd);
}

static void exchange(const char *a, const char *b)
{
#ifdef RENAME_EXCHANGE
    CHECK(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0);
#else
    (void)a;
    (void)b;
#endif
}

static int count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 4096; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* ---- what was told ------------------------------------------------------- */

static const char *const words[] = {
    [ED_FS_READY] = "ready",           [ED_FS_FOUND] = "found",
    [ED_FS_CREATED] = "created",       [ED_FS_CHANGED] = "changed",
    [ED_FS_ATTRIBUTES] = "attributes", [ED_FS_RENAMED] = "renamed",
    [ED_FS_REMOVED] = "removed",       [ED_FS_OVERFLOW] = "overflow",
    [ED_FS_FAILED] = "failed",         [ED_FS_GONE] = "gone",
};

static char told[TEXT]; // "created a, renamed a b, ..."

static void say(char *text, const char *format, ...)
{
    size_t size = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + size, TEXT - size, format, arguments);
    va_end(arguments);
}

static void write_down(struct ed_fs_watch *watch,
                       const struct ed_fs_event *event)
{
    (void)watch;
    CHECK((event->old_path != NULL) == (event->kind == ED_FS_RENAMED));
    CHECK((event->error != 0) == (event->kind == ED_FS_FAILED));
    if (event->kind == ED_FS_READY)
        return;
    say(told, "%s%s", *told ? ", " : "", words[event->kind]);
    if (event->old_path)
        say(told, " %s", event->old_path);
    if (*event->path)
        say(told, " %s%s", event->path, event->is_directory ? "/" : "");
}

static void see_mark(struct ed_fs_watch *watch, const struct ed_fs_event *event)
{
    (void)watch;
    if (event->kind != ED_FS_CREATED)
        return;
    marks_seen++;
    ed_loop_wake(&loop); // it may be before the wait of its turn
}

static bool is_busy(const struct ed_fs_watch *watch)
{
    return watch && ed_fs_watch_is_active(watch) &&
           (watch->unread || !watch->is_ready);
}

/* Until all that has happened is told. */
static void settle(const struct ed_fs_watch *watch)
{
    char name[32];
    // The second, because with kqueue a new directory is read after the first.
    for (int i = 0; i < 2; i++) {
        while (is_busy(watch) || is_busy(&mark_watch))
            if (ed_loop_run_once(&loop, -1) != 1)
                break;
        snprintf(name, sizeof name, "%u", marks_made++);
        append(in(marks, name), "");
        while (marks_seen < marks_made || is_busy(watch))
            if (ed_loop_run_once(&loop, -1) != 1)
                break;
    }
}

static void begin(void)
{
    static const struct rlimit many = {4096, 4096};
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 4096)
        setrlimit(RLIMIT_NOFILE, &many);
    *told = '\0';
    marks_made = marks_seen = 0;
    mark_watch = (struct ed_fs_watch){0};
    strcpy(top, "/tmp/eddy-watch-XXXXXX");
    CHECK(mkdtemp(top) != NULL);
    snprintf(root, sizeof root, "%s/root", top);
    snprintf(outside, sizeof outside, "%s/outside", top);
    snprintf(marks, sizeof marks, "%s/marks", top);
    CHECK(mkdir(root, 0755) == 0);
    CHECK(mkdir(outside, 0755) == 0);
    CHECK(mkdir(marks, 0755) == 0);
    CHECK_EQ(ed_loop_init(&loop), 0);
    CHECK_EQ(ed_fs_watch_directory(&loop, &mark_watch, marks, see_mark), 0);
    settle(&mark_watch);
}

static void end(void)
{
    ed_fs_watch_stop(&mark_watch);
    CHECK(!ed_loop_is_alive(&loop));
    CHECK(!loop.notifier);
    ed_loop_destroy(&loop);
    remove_tree(top);
}

/* ---- scenarios ----------------------------------------------------------- */

enum action {
    NOTHING,
    CREATE,
    APPEND,
    TRUNCATE,
    CHMOD,
    LINK,
    SYMLINK,
    FIFO,
    UNLINK,
    MKDIR,
    RMDIR,
    RENAME,
    EXCHANGE,
    MOVE_OUT,
    MOVE_IN, // from outside
    RENAME_ROOT,
    REMOVE_ROOT,
    WATCH, // what comes before is there already
};

struct step {
    enum action action;
    const char *name;
    const char *other;
    bool at_once; // with the next one
};

static void take_step(const struct step *step)
{
    const char *path = in(root, step->name ? step->name : "");
    const char *other = in(root, step->other ? step->other : "");
    const char *away = in(outside, step->name ? step->name : "");
    switch (step->action) {
    case CREATE:
        append(path, "");
        break;
    case APPEND:
        append(path, "more");
        break;
    case TRUNCATE:
        CHECK(truncate(path, 0) == 0);
        break;
    case CHMOD:
        CHECK(chmod(path, 0700) == 0);
        break;
    case LINK:
        CHECK(link(path, other) == 0);
        break;
    case SYMLINK:
        CHECK(symlink("nowhere", path) == 0);
        break;
    case FIFO:
        CHECK(mkfifo(path, 0600) == 0);
        break;
    case UNLINK:
        CHECK(unlink(path) == 0);
        break;
    case MKDIR:
        CHECK(mkdir(path, 0755) == 0);
        break;
    case RMDIR:
        CHECK(rmdir(path) == 0);
        break;
    case RENAME:
        CHECK(rename(path, other) == 0);
        break;
    case EXCHANGE:
        exchange(path, other);
        break;
    case MOVE_OUT:
        CHECK(rename(path, away) == 0);
        break;
    case MOVE_IN:
        CHECK(rename(away, path) == 0);
        break;
    case RENAME_ROOT:
        CHECK(rename(root, in(outside, "root")) == 0);
        break;
    case REMOVE_ROOT:
        CHECK(rmdir(root) == 0);
        break;
    case NOTHING:
    case WATCH:
        break;
    }
}

struct scenario {
    const char *about;
    char extent; // 'f'ile "f", 'd'irectory, 't'ree
    bool list;
    struct step steps[12];
    const char *told;
    const char *told_by_kqueue; // if that is something else
};

static const struct scenario scenarios[] = {
    {"a file in a directory",
     'd',
     false,
     {{WATCH}, {CREATE, "f"}, {APPEND, "f"}, {CHMOD, "f"}, {UNLINK, "f"}},
     "created f, changed f, attributes f, removed f",
     NULL},
    {"what is there already is not told, but watched",
     'd',
     false,
     {{CREATE, "f"}, {WATCH}, {APPEND, "f"}},
     "changed f",
     NULL},
    {"what is there already is told on request",
     't',
     true,
     {{MKDIR, "d"}, {CREATE, "d/f"}, {WATCH}, {APPEND, "d/f"}},
     "found d/, found d/f, changed d/f",
     NULL},
    {"of a directory that is not a tree, what is directly in it",
     'd',
     true,
     {{MKDIR, "d"}, {WATCH}, {CREATE, "d/f"}, {CHMOD, "d"}, {RMDIR, NULL}},
     "found d/, attributes d/",
     NULL},
    {"truncated",
     'd',
     false,
     {{APPEND, "f"}, {WATCH}, {TRUNCATE, "f"}},
     "changed f",
     "changed f, attributes f"},
    {"linked",
     'd',
     false,
     {{CREATE, "f"}, {WATCH}, {LINK, "f", "g"}, {UNLINK, "f"}},
     "created g, removed f",
     NULL},
    {"things that are not files",
     't',
     false,
     {{WATCH}, {SYMLINK, "s"}, {FIFO, "p"}, {UNLINK, "s"}, {UNLINK, "p"}},
     "created s, created p, removed s, removed p",
     NULL},
    {"renamed",
     'd',
     false,
     {{CREATE, "f"}, {WATCH}, {RENAME, "f", "g"}, {APPEND, "g"}},
     "renamed f g, changed g",
     NULL},
    {"saved as editors do",
     'd',
     false,
     {{CREATE, "f"},
      {WATCH},
      {CREATE, "f~"},
      {RENAME, "f~", "f"},
      {APPEND, "f"}},
     "created f~, renamed f~ f, changed f",
     "created f~, removed f, renamed f~ f, changed f"},
    {"moved out, and in again",
     'd',
     false,
     {{CREATE, "f"}, {WATCH}, {MOVE_OUT, "f"}, {MOVE_IN, "f"}, {APPEND, "f"}},
     "removed f, created f, changed f",
     NULL},
    {"the directory's own mode",
     'd',
     false,
     {{WATCH}, {CHMOD, ""}},
     "attributes",
     NULL},
    {"a directory that appears in a tree",
     't',
     false,
     {{WATCH},
      {MKDIR, "d"},
      {CREATE, "d/f"},
      {APPEND, "d/f"},
      {UNLINK, "d/f"},
      {RMDIR, "d"}},
     "created d/, created d/f, changed d/f, removed d/f, removed d/",
     NULL},
    {"with what was created before anybody could look",
     't',
     false,
     {{WATCH},
      {MKDIR, "d", NULL, true},
      {MKDIR, "d/e", NULL, true},
      {CREATE, "d/e/f"},
      {APPEND, "d/e/f"}},
     "created d/, created d/e/, created d/e/f, changed d/e/f",
     NULL},
    {"a directory renamed, with what is below",
     't',
     false,
     {{MKDIR, "d"},
      {MKDIR, "d/e"},
      {CREATE, "d/e/f"},
      {WATCH},
      {RENAME, "d", "c"},
      {APPEND, "c/e/f"},
      {MKDIR, "d"},
      {CREATE, "d/g"}},
     "renamed d c/, changed c/e/f, created d/, created d/g",
     NULL},
    {"renamed from one directory to another",
     't',
     false,
     {{MKDIR, "d"},
      {MKDIR, "e"},
      {CREATE, "d/f"},
      {WATCH},
      {RENAME, "d/f", "e/g"},
      {RENAME, "d", "e/d"},
      {CREATE, "e/d/h"}},
     "renamed d/f e/g, renamed d e/d/, created e/d/h",
     NULL},
    {"a directory renamed as soon as it is there",
     't',
     false,
     {{WATCH},
      {MKDIR, "d", NULL, true},
      {RENAME, "d", "e", true},
      {MKDIR, "d", NULL, true},
      {CREATE, "d/f", NULL, true},
      {CREATE, "e/g"},
      {APPEND, "d/f"},
      {APPEND, "e/g"}},
     "created d/, renamed d e/, created d/, created e/g, created d/f, "
     "changed d/f, changed e/g",
     "created e/, created d/, created e/g, created d/f, changed d/f, "
     "changed e/g"},
    {"a directory moved out of a tree, and into it",
     't',
     false,
     {{MKDIR, "d"},
      {CREATE, "d/f"},
      {WATCH},
      {MOVE_OUT, "d"},
      {MOVE_IN, "d"},
      {APPEND, "d/f"}},
     "removed d/, created d/, created d/f, changed d/f",
     NULL},
    {"an empty directory replaced by another",
     't',
     false,
     {{MKDIR, "d"},
      {MKDIR, "e"},
      {CREATE, "e/f"},
      {WATCH},
      {RENAME, "e", "d"},
      {APPEND, "d/f"},
      {MKDIR, "e"}},
     "renamed e d/, changed d/f, created e/",
     "removed d/, renamed e d/, changed d/f, created e/"},
    {"a file by its name",
     'f',
     false,
     {{WATCH},
      {CREATE, "g"},
      {CREATE, "f"},
      {APPEND, "g"},
      {APPEND, "f"},
      {CHMOD, "f"},
      {UNLINK, "f"},
      {CREATE, "f"}},
     "created f, changed f, attributes f, removed f, created f",
     NULL},
    {"a file that is there",
     'f',
     true,
     {{CREATE, "f"}, {WATCH}, {APPEND, "f"}},
     "found f, changed f",
     NULL},
    {"a file that is rotated",
     'f',
     false,
     {{CREATE, "f"},
      {WATCH},
      {RENAME, "f", "f.1"},
      {CREATE, "f"},
      {APPEND, "f.1"},
      {APPEND, "f"}},
     "removed f, created f, changed f",
     NULL},
    {"a file that is saved as editors do",
     'f',
     false,
     {{CREATE, "f"}, {WATCH}, {CREATE, "g"}, {RENAME, "g", "f"}, {APPEND, "f"}},
     "created f, changed f",
     "removed f, created f, changed f"},
    {"a file moved out, and in again",
     'f',
     false,
     {{CREATE, "f"}, {WATCH}, {MOVE_OUT, "f"}, {MOVE_IN, "f"}, {APPEND, "f"}},
     "removed f, created f, changed f",
     NULL},
    {"the root of a tree renamed",
     't',
     false,
     {{CREATE, "f"}, {WATCH}, {RENAME_ROOT}},
     "gone/",
     NULL},
    {"the root of a tree removed",
     't',
     false,
     {{WATCH}, {CREATE, "f"}, {UNLINK, "f"}, {REMOVE_ROOT}},
     "created f, removed f, gone/",
     NULL},
    {"the directory of a file removed",
     'f',
     false,
     {{WATCH}, {REMOVE_ROOT}},
     "gone/",
     NULL},
};

static int start(struct ed_fs_watch *watch, char extent, ed_fs_watch_fn *fn)
{
    if (extent == 'f')
        return ed_fs_watch_file(&loop, watch, in(root, "f"), fn);
    if (extent == 'd')
        return ed_fs_watch_directory(&loop, watch, root, fn);
    return ed_fs_watch_tree(&loop, watch, root, fn);
}

static void play(const struct scenario *scenario)
{
    struct ed_fs_watch watch = {.list = scenario->list};
    const char *wanted = scenario->told;
    int failures = tap_failures;
    if (!IS_INOTIFY && scenario->told_by_kqueue)
        wanted = scenario->told_by_kqueue;
    begin();
    for (const struct step *step = scenario->steps; step->action; step++) {
        if (step->action == RMDIR && !step->name)
            continue;
        take_step(step);
        if (step->action == WATCH)
            CHECK_EQ(start(&watch, scenario->extent, write_down), 0);
        if (!step->at_once)
            settle(&watch);
    }
    bool is_gone = strstr(wanted, "gone") != NULL;
    CHECK_EQ(ed_fs_watch_is_active(&watch), !is_gone);
    ed_fs_watch_stop(&watch);
    CHECK_EQ(watch.watched, 0);
    if (is_gone)
        CHECK(strlen(told) >= 4 && !strcmp(told + strlen(told) - 4, "gone"));
    else
        CHECK_STR(told, wanted);
    if (tap_failures != failures)
        printf("# %s\n", scenario->about);
    end();
}

static void each_scenario_is_told_as_it_happens(void)
{
    int before = count_descriptors();
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        play(&scenarios[i]);
    CHECK_EQ(count_descriptors(), before);
}

/* ---- a list of what is there --------------------------------------------- */

enum { MOST_NAMES = 8192 };

struct names {
    char *names[MOST_NAMES];
    int count;
    unsigned overflows, failures, readies;
};

static struct names known, present;

static int find(const struct names *names, const char *name)
{
    for (int i = 0; i < names->count; i++)
        if (strcmp(names->names[i], name) == 0)
            return i;
    return -1;
}

static void add(struct names *names, const char *name)
{
    if (find(names, name) < 0 && names->count < MOST_NAMES)
        names->names[names->count++] = strdup(name);
}

static bool is_below(const char *name, const char *directory)
{
    size_t size = strlen(directory);
    return strncmp(name, directory, size) == 0 &&
           (name[size] == '\0' || name[size] == '/' || size == 0);
}

static void drop(struct names *names, const char *directory)
{
    int kept = 0;
    for (int i = 0; i < names->count; i++) {
        if (is_below(names->names[i], directory))
            free(names->names[i]);
        else
            names->names[kept++] = names->names[i];
    }
    names->count = kept;
}

static void move(struct names *names, const char *from, const char *to)
{
    char path[8192];
    if (find(names, from) < 0) {
        add(names, to);
        return;
    }
    drop(names, to);
    for (int i = 0; i < names->count; i++) {
        if (!is_below(names->names[i], from))
            continue;
        snprintf(path, sizeof path, "%s%s", to, names->names[i] + strlen(from));
        free(names->names[i]);
        names->names[i] = strdup(path);
    }
}

/* The rules that fs/watch.h has for it. */
static void keep_list(struct ed_fs_watch *watch,
                      const struct ed_fs_event *event)
{
    (void)watch;
    switch (event->kind) {
    case ED_FS_FOUND:
    case ED_FS_CREATED:
        add(&known, event->path);
        break;
    case ED_FS_REMOVED:
        drop(&known, event->path);
        break;
    case ED_FS_RENAMED:
        move(&known, event->old_path, event->path);
        break;
    case ED_FS_OVERFLOW:
        drop(&known, "");
        known.overflows++;
        break;
    case ED_FS_FAILED:
        known.failures++;
        break;
    case ED_FS_READY:
        known.readies++;
        break;
    case ED_FS_CHANGED:
    case ED_FS_ATTRIBUTES:
    case ED_FS_GONE:
        break;
    }
}

static int directories; // in the tree

static void walk(const char *relative)
{
    char path[8192];
    DIR *dir = opendir(in(root, relative));
    struct dirent *entry;
    directories++;
    if (!dir)
        return;
    while ((entry = readdir(dir))) {
        struct stat stat;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        snprintf(path, sizeof path, "%s%s%s", relative, *relative ? "/" : "",
                 entry->d_name);
        add(&present, path);
        if (lstat(in(root, path), &stat) == 0 && S_ISDIR(stat.st_mode))
            walk(path);
    }
    closedir(dir);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_list_right(const struct ed_fs_watch *watch)
{
    directories = 0;
    drop(&present, "");
    walk("");
    qsort(known.names, (size_t)known.count, sizeof(char *), compare);
    qsort(present.names, (size_t)present.count, sizeof(char *), compare);
    bool is_right = known.count == present.count;
    for (int i = 0; is_right && i < known.count; i++)
        is_right = strcmp(known.names[i], present.names[i]) == 0;
    for (int i = 0; i < known.count && !is_right; i++)
        if (find(&present, known.names[i]) < 0)
            printf("# known, but not there: %s\n", known.names[i]);
    for (int i = 0; i < present.count && !is_right; i++)
        if (find(&known, present.names[i]) < 0)
            printf("# there, but not known: %s\n", present.names[i]);
    if (watch->extent == ED_FS_WATCH_TREE && IS_INOTIFY)
        CHECK_EQ(watch->watched, directories);
    CHECK(!IS_INOTIFY || watch->watched == watch->nodes);
    return is_right;
}

static void forget_lists(void)
{
    drop(&known, "");
    drop(&present, "");
    known.overflows = known.failures = known.readies = 0;
}

static unsigned random_state;

static unsigned below(unsigned limit)
{
    random_state = random_state * 1664525U + 1013904223U;
    return (random_state >> 10) % limit;
}

/* Few names, so that they are used again and again. */
static void random_path(char *path, size_t size)
{
    unsigned depth = 1 + below(4);
    *path = '\0';
    for (unsigned i = 0; i < depth; i++) {
        size_t at = strlen(path);
        snprintf(path + at, size - at, "%s%c", i ? "/" : "", "abcde"[below(5)]);
    }
}

/* Most of what it does fails, which does no harm. */
static void do_anything(void)
{
    char a[64], b[64];
    random_path(a, sizeof a);
    random_path(b, sizeof b);
    const char *path = in(root, a), *other = in(root, b);
    const char *away = in(outside, &"abc"[below(3)]);
    int fd;
    switch (below(14)) {
    case 0:
    case 1:
    case 2:
        (void)mkdir(path, 0755);
        break;
    case 3:
    case 4:
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd >= 0)
            close(fd);
        break;
    case 5:
    case 6:
    case 7:
        (void)rename(path, other);
        break;
    case 8:
        (void)remove(path);
        break;
    case 9:
        if (below(8) == 0)
            remove_tree(path);
        break;
    case 10:
        (void)rename(path, away);
        break;
    case 11:
        (void)rename(away, path);
        break;
    case 12:
        (void)truncate(path, below(2));
        break;
    default:
#ifdef RENAME_EXCHANGE
        (void)renameat2(AT_FDCWD, path, AT_FDCWD, other, RENAME_EXCHANGE);
#endif
        break;
    }
}

static void the_list_is_right_after_any_sequence_of_operations(void)
{
    for (unsigned seed = 1; seed <= 40; seed++) {
        struct ed_fs_watch watch = {.list = true};
        random_state = seed;
        begin();
        forget_lists();
        for (int i = 0; i < 50; i++)
            do_anything();
        CHECK_EQ(start(&watch, 't', keep_list), 0);
        for (int round = 0; round < 15; round++) {
            unsigned count = 1 + below(40), chance = below(10);
            for (unsigned i = 0; i < count; i++) {
                do_anything();
                if (below(10) < chance)
                    ed_loop_run_once(&loop, 0);
            }
            settle(&watch);
            bool is_right = is_list_right(&watch);
            CHECK(is_right);
            if (is_right)
                continue;
            printf("# seed %u, round %d\n", seed, round);
            break;
        }
        CHECK_EQ(known.overflows + known.failures, 0);
        ed_fs_watch_stop(&watch);
        forget_lists();
        end();
    }
}

static void *do_many_things(void *unused)
{
    for (int i = 0; i < 3000; i++)
        do_anything();
    ed_loop_stop(&loop);
    return unused;
}

static void so_it_is_when_somebody_else_works_meanwhile(void)
{
    for (unsigned seed = 1; seed <= 5; seed++) {
        struct ed_fs_watch watch = {.list = true};
        pthread_t thread;
        random_state = seed * 77;
        begin();
        forget_lists();
        CHECK_EQ(start(&watch, 't', keep_list), 0);
        NEED(pthread_create(&thread, NULL, do_many_things, NULL) == 0);
        CHECK_EQ(ed_loop_run(&loop), 1);
        pthread_join(thread, NULL);
        settle(&watch);
        bool is_right = is_list_right(&watch);
        CHECK(is_right);
        if (!is_right)
            printf("# seed %u\n", seed);
        CHECK_EQ(known.failures, 0);
        ed_fs_watch_stop(&watch);
        forget_lists();
        end();
    }
}

/* ---- much at once -------------------------------------------------------- */

static void a_thousand_files_are_a_thousand_events(void)
{
    struct ed_fs_watch watch = {0};
    char name[32];
    begin();
    forget_lists();
    CHECK_EQ(start(&watch, 't', keep_list), 0);
    settle(&watch);
    CHECK_EQ(known.readies, 1);
    CHECK(mkdir(in(root, "d"), 0755) == 0);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "%s%d", i % 2 ? "d/" : "", i);
        append(in(root, name), "");
    }
    settle(&watch);
    CHECK_EQ(known.count, 1001);
    CHECK(is_list_right(&watch));
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "%s%d", i % 2 ? "d/" : "", i);
        CHECK(unlink(in(root, name)) == 0);
    }
    settle(&watch);
    CHECK_EQ(known.count, 1);
    CHECK_EQ(known.overflows + known.failures, 0);
    ed_fs_watch_stop(&watch);
    forget_lists();
    end();
}

static unsigned turns;

static void count_turn(struct ed_hook *hook)
{
    (void)hook;
    turns++;
}

static void a_large_tree_is_taken_up_over_many_turns(void)
{
    struct ed_fs_watch watch = {.list = true};
    struct ed_hook hook = {0};
    char name[32];
    begin();
    forget_lists();
    for (int i = 0; i < 1200; i++) {
        snprintf(name, sizeof name, "%d", i);
        CHECK(mkdir(in(root, name), 0755) == 0);
    }
    turns = 0;
    ed_hook_prepare(&loop, &hook, count_turn);
    CHECK_EQ(start(&watch, 't', keep_list), 0);
    while (!known.readies)
        CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
    CHECK(turns > 1);
    CHECK_EQ(known.count, 1200);
    CHECK_EQ(watch.watched, 1201);

    // It can be stopped halfway.
    CHECK_EQ(start(&watch, 't', keep_list), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(ed_loop_run_once(&loop, -1), 1);
    ed_fs_watch_stop(&watch);
    ed_hook_stop(&hook);
    forget_lists();
    end();
}

static unsigned overflows_of_file;

static void count_overflows(struct ed_fs_watch *watch,
                            const struct ed_fs_event *event)
{
    (void)watch;
    overflows_of_file += event->kind == ED_FS_OVERFLOW;
}

/* What the system does not queue is told as lost, and the list is made anew. */
static void an_overflow_is_told_and_the_tree_is_read_anew(void)
{
    struct ed_fs_watch watch = {.list = true}, other = {0};
    overflows_of_file = 0;
    int limit = 16384;
    FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
    if (file) {
        if (fscanf(file, "%d", &limit) != 1)
            limit = 16384;
        fclose(file);
    }
    if (limit > 100000)
        SKIP("the queue of events is too long");
    begin();
    forget_lists();
    append(in(root, "old"), "");
    CHECK_EQ(start(&watch, 't', keep_list), 0);
    CHECK_EQ(ed_fs_watch_file(&loop, &other, in(root, "f"), count_overflows),
             0);
    settle(&watch);
    for (int i = 0; i < limit / 2 + 100; i++) {
        append(in(root, "f"), "");
        CHECK(unlink(in(root, "f")) == 0);
    }
    CHECK(unlink(in(root, "old")) == 0);
    CHECK(mkdir(in(root, "d"), 0755) == 0);
    append(in(root, "d/new"), "");
    // The mark is lost, too.
    for (int i = 0; i < 2000 && !(known.overflows && known.readies > 1); i++)
        ed_loop_run_once(&loop, (int64_t)ED_MS);
    if (IS_INOTIFY) {
        CHECK_EQ(known.overflows, 1);
        CHECK_EQ(overflows_of_file, 1);
    }
    marks_seen = marks_made;
    settle(&watch);
    CHECK(is_list_right(&watch));
    append(in(root, "d/newer"), "");
    settle(&watch);
    CHECK(is_list_right(&watch));
    ed_fs_watch_stop(&watch);
    ed_fs_watch_stop(&other);
    forget_lists();
    end();
}

/* ---- names --------------------------------------------------------------- */

static void names_have_any_byte(void)
{
    struct ed_fs_watch watch = {0};
    begin();
    forget_lists();
    CHECK_EQ(start(&watch, 't', keep_list), 0);
    settle(&watch);
    for (int byte = 1; byte < 256; byte++) {
        char name[] = {'-', (char)byte, '\n', '\0'};
        if (byte == '/')
            continue;
        append(in(root, name), "");
        settle(&watch);
        CHECK(find(&known, name) >= 0);
    }
    CHECK(is_list_right(&watch));
    ed_fs_watch_stop(&watch);

    // Also of the file that is watched, and of a directory that is not there.
    struct ed_fs_watch file = {0};
    CHECK_EQ(ed_fs_watch_file(&loop, &file, in(root, "\xff\n*"), write_down),
             0);
    settle(&file);
    append(in(root, "\xff\n*"), "");
    settle(&file);
    CHECK_STR(told, "created \xff\n*");
    ed_fs_watch_stop(&file);
    forget_lists();
    end();
}

static void a_path_that_is_too_long_is_told(void)
{
    struct ed_fs_watch watch = {.list = true};
    char name[201];
    memset(name, 'x', 200);
    name[200] = '\0';
    begin();
    forget_lists();
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 25 && fd >= 0; i++) {
        CHECK(mkdirat(fd, name, 0755) == 0);
        int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(fd);
        fd = next;
    }
    CHECK(fd >= 0);
    CHECK_EQ(start(&watch, 't', keep_list), 0);
    settle(&watch);
    CHECK(known.failures > 0);
    CHECK(known.count >= 19);
    ed_fs_watch_stop(&watch);
    if (fd >= 0)
        close(fd);
    // Too long for nftw(), too.
    char command[128];
    snprintf(command, sizeof command, "rm -r %s/*", root);
    CHECK_EQ(system(command), 0);
    forget_lists();
    end();
}

/* ---- starting and stopping ----------------------------------------------- */

static void what_cannot_be_watched_is_refused(void)
{
    struct ed_fs_watch watch = {0};
    begin();
    append(in(root, "file"), "");
    CHECK_EQ(ed_fs_watch_tree(&loop, &watch, in(root, "none"), write_down),
             -ENOENT);
    CHECK_EQ(ed_fs_watch_directory(&loop, &watch, in(root, "file"), write_down),
             -ENOTDIR);
    CHECK_EQ(ed_fs_watch_file(&loop, &watch, in(root, "none/file"), write_down),
             -ENOENT);
    CHECK_EQ(ed_fs_watch_file(&loop, &watch, in(root, "file/x"), write_down),
             -ENOTDIR);
    CHECK_EQ(ed_fs_watch_file(&loop, &watch, "/", write_down), -EISDIR);
    CHECK_EQ(ed_fs_watch_file(&loop, &watch, "a/..", write_down), -EISDIR);
    CHECK_EQ(ed_fs_watch_file(&loop, &watch, "", write_down), -ENOENT);
    CHECK_EQ(ed_fs_watch_tree(&loop, &watch, "", write_down), -ENOENT);
    CHECK(!ed_fs_watch_is_active(&watch));
    ed_fs_watch_stop(&watch);
    end();
}

static void ignore(struct ed_fs_watch *watch, const struct ed_fs_event *event)
{
    (void)watch;
    (void)event;
}

static void relative_paths_are_those_of_the_start(void)
{
    struct ed_fs_watch watch = {0}, slash = {0};
    char before[4096];
    begin();
    NEED(getcwd(before, sizeof before));
    NEED(chdir(root) == 0);
    CHECK_EQ(ed_fs_watch_file(&loop, &watch, "f", write_down), 0);
    NEED(chdir(before) == 0);
    CHECK_EQ(ed_fs_watch_directory(&loop, &slash, "/", ignore), 0);
    settle(&watch);
    append(in(root, "f"), "");
    settle(&watch);
    CHECK_STR(told, "created f");
    ed_fs_watch_stop(&watch);
    ed_fs_watch_stop(&slash);
    end();
}

static void links_in_the_path_are_followed(void)
{
    struct ed_fs_watch watch = {0};
    begin();
    NEED(symlink(root, in(outside, "link")) == 0);
    CHECK_EQ(ed_fs_watch_tree(&loop, &watch, in(outside, "link"), write_down),
             0);
    settle(&watch);
    append(in(root, "f"), "");
    settle(&watch);
    CHECK_STR(told, "created f");
    ed_fs_watch_stop(&watch);
    end();
}

enum { CROWD = 150 };

static struct ed_fs_watch *crowd[CROWD];
static unsigned crowd_calls;
static enum ed_fs_event_kind crowd_kind;

/* Whoever is called first ends all, itself included. */
static void end_the_crowd(struct ed_fs_watch *watch,
                          const struct ed_fs_event *event)
{
    (void)watch;
    if (event->kind != crowd_kind)
        return;
    crowd_calls++;
    for (int i = 0; i < CROWD; i++) {
        ed_fs_watch_stop(crowd[i]);
        free(crowd[i]);
    }
}

static void a_callback_may_stop_and_free_all_watches(void)
{
    static const enum ed_fs_event_kind kinds[] = {
        ED_FS_READY, ED_FS_FOUND, ED_FS_CREATED, ED_FS_REMOVED, ED_FS_RENAMED};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        begin();
        crowd_kind = kinds[k];
        crowd_calls = 0;
        CHECK(mkdir(in(root, "d"), 0755) == 0);
        append(in(root, "d/x"), "");
        for (int i = 0; i < CROWD; i++) {
            crowd[i] = calloc(1, sizeof *crowd[i]);
            NEED(crowd[i]);
            crowd[i]->list = true;
            CHECK_EQ(start(crowd[i], i % 2 ? 't' : 'd', end_the_crowd), 0);
        }
        settle(NULL);
        if (!crowd_calls) {
            CHECK(mkdir(in(root, "e"), 0755) == 0);
            append(in(root, "e/x"), "");
            CHECK(rename(in(root, "e"), in(root, "f")) == 0);
            CHECK(unlink(in(root, "f/x")) == 0);
            settle(NULL);
        }
        if (!crowd_calls) { // kqueue has seen only f
            CHECK(rename(in(root, "d"), in(root, "e")) == 0);
            settle(NULL);
        }
        if (!crowd_calls) {
            CHECK(rmdir(in(root, "f")) == 0);
            settle(NULL);
        }
        CHECK_EQ(crowd_calls, 1);
        end();
    }
}

static void stop_last(struct ed_fs_watch *watch,
                      const struct ed_fs_event *event)
{
    if (event->kind != ED_FS_CREATED)
        return;
    ed_fs_watch_stop(&mark_watch);
    ed_fs_watch_stop(watch);
    free(watch);
}

static void the_last_watch_may_be_freed_in_its_callback(void)
{
    struct ed_fs_watch *watch = calloc(1, sizeof *watch);
    begin();
    NEED(watch);
    CHECK_EQ(start(watch, 't', stop_last), 0);
    settle(watch);
    append(in(root, "a"), "");
    append(in(root, "b"), "");
    CHECK_EQ(ed_loop_run(&loop), 0);
    end();
}

static void restart(struct ed_fs_watch *watch, const struct ed_fs_event *event)
{
    write_down(watch, event);
    if (event->kind == ED_FS_CREATED && strcmp(event->path, "a") == 0)
        CHECK_EQ(start(watch, 't', write_down), 0);
}

static void a_watch_may_start_anew_in_its_callback(void)
{
    struct ed_fs_watch watch = {0};
    begin();
    CHECK_EQ(start(&watch, 'd', restart), 0);
    settle(&watch);
    append(in(root, "a"), "");
    settle(&watch);
    append(in(root, "b"), "");
    settle(&watch);
    CHECK_STR(told, "created a, created b");
    ed_fs_watch_stop(&watch);
    end();
}

static void many_watches_of_one_directory_are_all_told(void)
{
    static struct ed_fs_watch watches[CROWD];
    int before;
    begin();
    memset(watches, 0, sizeof watches);
    before = count_descriptors();
    for (int i = 0; i < CROWD; i++)
        CHECK_EQ(start(&watches[i], "fdt"[i % 3], write_down), 0);
    if (IS_INOTIFY)
        CHECK_EQ(count_descriptors(), before);
    for (int i = 0; i < CROWD; i++)
        settle(&watches[i]);
    append(in(root, "f"), "");
    settle(NULL);
    CHECK_EQ(strlen(told), CROWD * strlen(", created f") - 2);
    for (int i = 1; i < CROWD; i++)
        ed_fs_watch_stop(&watches[i]);
    *told = '\0';
    append(in(root, "f"), "more");
    settle(NULL);
    CHECK_STR(told, "changed f");
    ed_fs_watch_stop(&watches[0]);
    end();
}

static void an_unrefd_watch_does_not_keep_the_loop_alive(void)
{
    struct ed_fs_watch watch = {0};
    begin();
    ed_fs_watch_unref(&watch);
    CHECK_EQ(start(&watch, 't', write_down), 0);
    ed_fs_watch_unref(&mark_watch);
    CHECK_EQ(ed_loop_run(&loop), 0);
    ed_fs_watch_ref(&watch);
    CHECK(ed_loop_is_alive(&loop));
    ed_fs_watch_unref(&watch);
    CHECK(!ed_loop_is_alive(&loop));
    ed_fs_watch_ref(&watch);
    ed_fs_watch_stop(&watch);
    end();
}

static unsigned begins;

static void count_begins(struct ed_trace *trace,
                         const struct ed_trace_event *event)
{
    (void)trace;
    begins += event->kind == ED_TRACE_BEGIN && !strcmp(event->name, "file") &&
              event->callback == (ed_trace_callback_fn *)write_down;
}

static void callbacks_are_traced(void)
{
    struct ed_trace trace = {count_begins};
    struct ed_fs_watch watch = {0};
    begin();
    begins = 0;
    loop.trace = &trace;
    CHECK_EQ(start(&watch, 'd', write_down), 0);
    settle(&watch);
    append(in(root, "a"), "");
    settle(&watch);
    CHECK_EQ(begins, 2);
    ed_fs_watch_stop(&watch);
    end();
}

/* ---- mounts -------------------------------------------------------------- */

#if defined __linux__ && !defined KQUEUE_DOUBLE

static void an_unmount_is_an_overflow_or_the_end(void)
{
    struct ed_fs_watch tree = {.list = true}, mounted = {0};
    if (unshare(CLONE_NEWNS) ||
        mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL))
        SKIP("may not mount");
    begin();
    forget_lists();
    CHECK(mkdir(in(root, "m"), 0755) == 0);
    if (mount("none", in(root, "m"), "tmpfs", 0, NULL)) {
        end();
        SKIP("may not mount");
    }
    CHECK(mkdir(in(root, "m/d"), 0755) == 0);
    append(in(root, "m/d/f"), "");
    CHECK_EQ(start(&tree, 't', keep_list), 0);
    CHECK_EQ(ed_fs_watch_tree(&loop, &mounted, in(root, "m"), write_down), 0);
    settle(&tree);
    settle(&mounted);
    CHECK(is_list_right(&tree));
    CHECK(umount(in(root, "m")) == 0);
    settle(&tree);
    CHECK(known.overflows > 0);
    CHECK(is_list_right(&tree));
    CHECK(strlen(told) >= 4 && !strcmp(told + strlen(told) - 4, "gone"));
    CHECK(!ed_fs_watch_is_active(&mounted));
    append(in(root, "m/f"), "");
    settle(&tree);
    CHECK(is_list_right(&tree));
    ed_fs_watch_stop(&tree);
    forget_lists();
    end();
}

#else

static void an_unmount_is_an_overflow_or_the_end(void)
{
    SKIP("only with inotify; with kqueue what is watched is in use");
}

#endif

TESTS(TEST(each_scenario_is_told_as_it_happens),
      TEST(the_list_is_right_after_any_sequence_of_operations),
      TEST(so_it_is_when_somebody_else_works_meanwhile),
      TEST(a_thousand_files_are_a_thousand_events),
      TEST(a_large_tree_is_taken_up_over_many_turns),
      TEST(an_overflow_is_told_and_the_tree_is_read_anew),
      TEST(names_have_any_byte), TEST(a_path_that_is_too_long_is_told),
      TEST(what_cannot_be_watched_is_refused),
      TEST(relative_paths_are_those_of_the_start),
      TEST(links_in_the_path_are_followed),
      TEST(a_callback_may_stop_and_free_all_watches),
      TEST(the_last_watch_may_be_freed_in_its_callback),
      TEST(a_watch_may_start_anew_in_its_callback),
      TEST(many_watches_of_one_directory_are_all_told),
      TEST(an_unrefd_watch_does_not_keep_the_loop_alive),
      TEST(callbacks_are_traced), TEST(an_unmount_is_an_overflow_or_the_end))
