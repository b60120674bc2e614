/*
 * tail - the end of files, and what is added to them
 *
 *     tail [-n LINES] [-f] FILE...
 *
 *     show_end -> follow -> on_event -> look_again -> print_more
 *                              ^            |
 *                              +-- files are renamed, removed, created,
 *                                  truncated, written to
 *
 * A file is followed by its name. An event is only a hint to look again at what
 * that name leads to: the file that is open, another, or none. So it does not
 * matter how a log is rotated, nor how many events that was.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/fs.h"
#include "fs/watch.h"
#include "loop/signal.h"

static const char usage[] =
    "usage: tail [-n LINES] [-f] FILE...\n"
    "\n"
    "Prints the last LINES lines of each FILE. With -f it goes on, and prints\n"
    "what is added, until SIGINT or SIGTERM. A FILE is followed by its name: "
    "if\n"
    "it is replaced, as when logs are rotated, the new one is printed from "
    "its\n"
    "beginning; if it is not there, it is waited for.\n"
    "\n"
    "  -n LINES  how many lines (default: 10)\n"
    "  -f        follow\n"
    "  -h        this text\n";

struct file {
    struct ed_fs_watch watch;
    const char *name;
    int fd;         // -1: not there
    int64_t offset; // up to there it is printed
};

static struct ed_loop loop;
static struct ed_signal interrupt, terminate;
static struct file *files;
static int file_count;
static const struct file *printed; // whose text was last
static int status;

static void complain(const struct file *file, const char *what)
{
    fprintf(stderr, "tail: %s: %s\n", file->name, what);
}

static void fail(const struct file *file, int err)
{
    complain(file, strerror(-err));
    status = 1;
}

/* ---- printing -------------------------------------------------------- */

/* Of several files, says which one the text that follows is of. */
static void print_name(const struct file *file)
{
    if (file_count > 1 && printed != file)
        printf("%s==> %s <==\n", printed ? "\n" : "", file->name);
    printed = file;
}

/* From the offset to the end as it is now. */
static void print_more(struct file *file)
{
    static char buffer[64 * 1024];
    int64_t size;
    while ((size = ed_fs_read_sync(file->fd, buffer, sizeof buffer,
                                   file->offset)) > 0) {
        print_name(file);
        fwrite(buffer, 1, (size_t)size, stdout);
        file->offset += size;
    }
    if (size < 0)
        fail(file, (int)size);
    fflush(stdout);
}

/*
 * Where the last so many lines begin, looking from the end backwards. A newline
 * at the very end belongs to the line before it.
 */
static int64_t find_lines(const struct file *file, int64_t end, unsigned lines)
{
    char block[4096];
    int64_t at = end;
    while (at > 0) {
        int64_t size = at < (int64_t)sizeof block ? at : (int64_t)sizeof block;
        size = ed_fs_read_sync(file->fd, block, (size_t)size, at - size);
        if (size <= 0)
            return end;
        for (; size > 0; size--, at--)
            if (block[size - 1] == '\n' && at < end && lines-- <= 1)
                return at;
    }
    return 0;
}

static void show_end(struct file *file, unsigned lines)
{
    struct stat stat;
    if (fstat(file->fd, &stat) == 0 && S_ISREG(stat.st_mode))
        file->offset =
            lines ? find_lines(file, stat.st_size, lines) : stat.st_size;
    print_name(file);
    print_more(file);
}

/* ---- following ------------------------------------------------------- */

static int open_file(struct file *file)
{
    // O_NONBLOCK: there may be a FIFO of that name.
    int fd = ed_fs_open_sync(file->name, O_RDONLY | O_NONBLOCK, 0);
    file->offset = 0;
    file->fd = fd < 0 ? -1 : fd;
    return fd < 0 ? fd : 0;
}

static void close_file(struct file *file)
{
    if (file->fd >= 0)
        ed_fs_close_sync(file->fd);
    file->fd = -1;
}

/* Whether the name leads to the file that is open. */
static bool is_same(const struct file *file)
{
    struct stat named, open;
    return file->fd >= 0 && stat(file->name, &named) == 0 &&
           fstat(file->fd, &open) == 0 && named.st_dev == open.st_dev &&
           named.st_ino == open.st_ino;
}

static void look_again(struct file *file)
{
    struct stat stat;
    bool was_open = file->fd >= 0;
    if (was_open) {
        if (fstat(file->fd, &stat) == 0 && stat.st_size < file->offset) {
            complain(file, "truncated");
            file->offset = 0;
        }
        // Also of one that has lost its name: the rest of it.
        print_more(file);
    }
    if (is_same(file))
        return;
    close_file(file);
    int err = open_file(file);
    if (!err) {
        complain(file, was_open ? "replaced" : "there it is");
        print_more(file);
    } else if (was_open || err != -ENOENT) {
        complain(file, err == -ENOENT ? "gone, waiting for the next"
                                      : strerror(-err));
    }
}

static void on_event(struct ed_fs_watch *watch, const struct ed_fs_event *event)
{
    struct file *file = ED_CONTAINER_OF(watch, struct file, watch);
    look_again(file);
    if (event->kind == ED_FS_FAILED)
        fail(file, event->error);
    if (event->kind == ED_FS_GONE) {
        complain(file, "its directory is gone, giving up");
        close_file(file);
        status = 1;
    }
}

static void follow(struct file *file)
{
    int err = ed_fs_watch_file(&loop, &file->watch, file->name, on_event);
    if (err)
        fail(file, err);
}

/* Without watches, the loop has nothing left to do. */
static void on_signal(struct ed_signal *signal)
{
    (void)signal;
    for (int i = 0; i < file_count; i++)
        ed_fs_watch_stop(&files[i].watch);
}

static int follow_all(void)
{
    int err = ed_loop_init(&loop);
    if (!err)
        err = ed_signal_start(&loop, &interrupt, SIGINT, on_signal);
    if (!err)
        err = ed_signal_start(&loop, &terminate, SIGTERM, on_signal);
    if (err)
        return err;
    ed_signal_unref(&interrupt);
    ed_signal_unref(&terminate);
    for (int i = 0; i < file_count; i++)
        follow(&files[i]);
    err = ed_loop_run(&loop);
    ed_signal_stop(&interrupt);
    ed_signal_stop(&terminate);
    ed_loop_destroy(&loop);
    return err;
}

/* ---- the beginning --------------------------------------------------- */

static _Noreturn void refuse(const char *what)
{
    fprintf(stderr, "tail: %s\n%s", what, usage);
    exit(2);
}

static unsigned parse_lines(const char *text)
{
    char *end;
    errno = 0;
    unsigned long lines = strtoul(text, &end, 10);
    if (errno || *text < '0' || *text > '9' || *end || lines > 1000000000)
        refuse("-n takes a number of lines");
    return (unsigned)lines;
}

int main(int argc, char **argv)
{
    unsigned lines = 10;
    bool is_following = false;
    int option;
    while ((option = getopt(argc, argv, "n:fh")) != -1) {
        if (option == 'n') {
            lines = parse_lines(optarg);
        } else if (option == 'f') {
            is_following = true;
        } else {
            fputs(usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    file_count = argc - optind;
    if (file_count == 0)
        refuse("no FILE given");
    files = calloc((size_t)file_count, sizeof *files);
    if (!files)
        return 1;

    for (int i = 0; i < file_count; i++) {
        struct file *file = &files[i];
        file->name = argv[optind + i];
        int err = open_file(file);
        if (!err)
            show_end(file, lines);
        else if (is_following && err == -ENOENT)
            complain(file, "not there, waiting for it");
        else
            fail(file, err);
    }
    int err = is_following ? follow_all() : 0;
    if (err) {
        fprintf(stderr, "tail: %s\n", strerror(-err));
        status = 1;
    }
    for (int i = 0; i < file_count; i++)
        close_file(&files[i]);
    free(files);
    return status;
}
