/*
 * loop/process.c - starting programs, and reaping them
 *
 *     ed_process --child--> ed_child     in loop->children until it is reaped
 *     (the caller's) <--process--        (the library's)
 *
 * A child that has ended stays a zombie, and its number its own, until it is
 * reaped, which happens right before on_exit. So nobody else can be hit by
 * ed_process_kill(). A process that is stopped leaves its ed_child with the
 * loop. Only children that are in the list are reaped, never "any": the program
 * may have others.
 *
 * What tells that a child has ended is a descriptor (ed_poller_open_process),
 * or if there is none to be had, SIGCHLD. Both may come too early or for
 * somebody else. They only say that it is time to look.
 *
 * The way to the program. All that needs memory or can wait is done before the
 * fork. The child runs nothing but what POSIX allows after the fork of a
 * program with threads, with all signals blocked until none has a handler any
 * more. It may do so in the parent's memory (ed_system_fork_quickly): it writes
 * to nothing but struct launch. When something goes wrong it writes the errno
 * into a pipe, which closes unwritten when the program begins.
 */
#include "loop/process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/signal.h"
#include "loop/system.h"
#include "loop/turn.h"

struct ed_child {
    struct ed_list link;
    struct ed_loop *loop;
    struct ed_process *process; // NULL: forgotten
    pid_t pid;
    struct ed_watch watch;   // active: tells when it has ended; or else these:
    struct ed_signal signal; // SIGCHLD, and
    struct ed_hook hook;     // a look for what happened before that was watched
};

/* ---- the child's side ------------------------------------------------ */

/* What the child is to do. */
struct launch {
    const struct ed_spawn *spawn;
    char *const *environment;
    const char *file; // the program
    const char *path; // where to look for it; NULL: nowhere
    int count;        // of the descriptors that it gets
    int most_fds;     // there are no numbers of descriptors above

    // Allocated in one piece.
    int *sources;    // what will be 0, 1, 2 ... in the child; -1: nothing
    int *moved;      // the child's: where they are now
    char *candidate; // the child's: a file to try

    int error_fd; // what the child tells the errno by; the child's to move
    int null_fd;  // /dev/null; -1: not needed
    int opened;   // so many sources are there
};

/* Returns an errno, as do all on this side. */
static int move_up(int fd, int count, int *moved)
{
    *moved = fcntl(fd, F_DUPFD_CLOEXEC, count);
    return *moved < 0 ? errno : 0;
}

/* What lies where something else is to be put goes out of the way. */
static int clear_places(struct launch *launch)
{
    int fd = launch->error_fd;
    int err = 0;
    if (fd < launch->count)
        err = move_up(fd, launch->count, &fd);
    if (err)
        return err;
    launch->error_fd = fd;

    for (int i = 0; i < launch->count && !err; i++) {
        fd = launch->sources[i];
        launch->moved[i] = fd;
        if (fd >= 0 && fd < launch->count && fd != i)
            err = move_up(fd, launch->count, &launch->moved[i]);
    }
    return err;
}

/* dup2() makes what stays open; what is there already has to be told to. */
static int put_in_place(int fd, int place)
{
    if (fd < 0)
        (void)close(place);
    else if (fd == place ? fcntl(fd, F_SETFD, 0) : dup2(fd, place) < 0)
        return errno;
    return 0;
}

static int place_descriptors(struct launch *launch)
{
    int err = clear_places(launch);
    for (int i = 0; i < launch->count && !err; i++)
        err = put_in_place(launch->moved[i], i);
    if (err)
        return err;

    // The errno comes next, so that all that follows can be closed.
    if (launch->error_fd != launch->count) {
        if (dup2(launch->error_fd, launch->count) < 0)
            return errno;
        launch->error_fd = launch->count;
    }
    if (fcntl(launch->error_fd, F_SETFD, FD_CLOEXEC))
        return errno;
    ed_system_close_others(launch->error_fd + 1, launch->most_fds);
    return 0;
}

/*
 * The groups have to go first, while there is the right to. Who is not root has
 * no right to give them up, nor to take on others.
 */
static int change_identity(const struct ed_spawn *spawn)
{
    if (spawn->gid) {
        if (setgroups(0, NULL) && (geteuid() == 0 || errno != EPERM))
            return errno;
        if (setgid(*spawn->gid))
            return errno;
    }
    return spawn->uid && setuid(*spawn->uid) ? errno : 0;
}

/* After these the program may be in another directory of the path. */
static bool is_elsewhere(int err)
{
    return err == ENOENT || err == ENOTDIR || err == EACCES || err == ELOOP ||
           err == ENAMETOOLONG || err == ESTALE || err == ENODEV ||
           err == ETIMEDOUT;
}

static int execute(const char *file, const struct launch *launch)
{
    execve(file, (char *const *)launch->spawn->args, launch->environment);
    return errno;
}

/* Up to that character. Returns the end of the copy. */
static char *copy_until(char *to, const char *from, char end)
{
    while (*from && *from != end)
        *to++ = *from++;
    *to = '\0';
    return to;
}

static int execute_from_path(struct launch *launch)
{
    bool is_forbidden = false;
    const char *directory = launch->path;
    for (;;) {
        char *name = copy_until(launch->candidate, directory, ':');
        size_t length = (size_t)(name - launch->candidate);
        if (length)
            *name++ = '/'; // or else it is the working directory
        copy_until(name, launch->file, '\0');

        int err = execute(launch->candidate, launch);
        if (!is_elsewhere(err))
            return err;
        is_forbidden |= err == EACCES;
        if (!directory[length])
            return is_forbidden ? EACCES : ENOENT;
        directory += length + 1;
    }
}

/* Returns only if it failed. */
static int become_program(struct launch *launch)
{
    const struct ed_spawn *spawn = launch->spawn;
    ed_system_reset_signals();
    if (spawn->is_detached && setsid() < 0)
        return errno;
    if (spawn->directory && chdir(spawn->directory))
        return errno;
    int err = place_descriptors(launch);
    if (!err)
        err = change_identity(spawn);
    if (err)
        return err;

    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    return launch->path ? execute_from_path(launch)
                        : execute(launch->file, launch);
}

static int child_main(void *context)
{
    struct launch *launch = context;
    int err = become_program(launch);
    // Fits into the empty pipe.
    ssize_t written = write(launch->error_fd, &err, sizeof err);
    (void)written;
    return 127;
}

/* ---- the fork -------------------------------------------------------- */

/* Returns the child, or -errno. */
static pid_t fork_child(struct launch *launch)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);

    pid_t pid = -ENOTSUP;
    // Memory is not to be shared with a process of other rights.
    if (!launch->spawn->uid && !launch->spawn->gid)
        pid = ed_system_fork_quickly(child_main, launch);
    if (pid == -ENOTSUP) {
        pid = fork();
        if (pid == 0)
            _exit(child_main(launch));
        if (pid < 0)
            pid = -errno;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid;
}

static pid_t wait_for_child(pid_t pid, int *status, int options)
{
    pid_t ended;
    do
        ended = waitpid(pid, status, options);
    while (ended < 0 && errno == EINTR);
    return ended < 0 ? -errno : ended;
}

/* Waits until the child is another program or has failed to be. */
static int receive_error(int fd)
{
    int err = 0;
    ssize_t got;
    do
        got = read(fd, &err, sizeof err);
    while (got < 0 && errno == EINTR);
    return got == sizeof err ? -err : 0;
}

/* Returns the child, which is another program now, or -errno. */
static pid_t start_program(struct launch *launch)
{
    int ends[2];
    int err = ed_system_pipe(ends);
    if (err)
        return err;
    launch->error_fd = ends[1];
    pid_t pid = fork_child(launch);
    close(ends[1]);
    err = pid < 0 ? (int)pid : receive_error(ends[0]);
    close(ends[0]);
    if (!err)
        return pid;
    if (pid > 0)
        (void)wait_for_child(pid, NULL, 0);
    return err;
}

/* ---- before the fork ------------------------------------------------- */

static const char *search_path(void)
{
    for (char **entry = ed_system_environment(); *entry; entry++)
        if (strncmp(*entry, "PATH=", 5) == 0)
            return *entry + 5;
    return "/usr/bin:/bin";
}

static int init_launch(struct launch *launch, const struct ed_spawn *spawn)
{
    long most_fds = sysconf(_SC_OPEN_MAX);
    if (most_fds < 0 || most_fds > INT_MAX)
        most_fds = INT_MAX;
    size_t count = spawn->fd_count > 3 ? spawn->fd_count : 3;
    if (count >= (size_t)most_fds)
        return -EMFILE;

    const char *file = spawn->file ? spawn->file : spawn->args[0];
    bool is_searched = *file && !strchr(file, '/');
    const char *path = is_searched ? search_path() : NULL;
    size_t size = path ? strlen(path) + 1 + strlen(file) + 1 : 0;
    int *memory = malloc(2 * count * sizeof(int) + size);
    if (!memory)
        return -ENOMEM;
    *launch = (struct launch){
        .spawn = spawn,
        .environment = spawn->environment ? (char *const *)spawn->environment
                                          : ed_system_environment(),
        .file = file,
        .path = path,
        .count = (int)count,
        .most_fds = (int)most_fds,
        .sources = memory,
        .moved = memory + count,
        .candidate = (char *)(memory + 2 * count),
        .error_fd = -1,
        .null_fd = -1,
    };
    return 0;
}

static int open_stream(struct ed_loop *loop, const struct ed_spawn_fd *fd,
                       int *source)
{
    bool is_socket = fd->kind == ED_FD_BOTH;
    int childs = fd->kind == ED_FD_WRITTEN; // the end that it gets
    int ends[2];
    int err = is_socket ? ed_system_socketpair(ends) : ed_system_pipe(ends);
    if (err)
        return err;
    err = is_socket ? ed_system_disown(ends[childs]) : 0;
    if (!err)
        err = ed_stream_open(loop, fd->stream, ends[1 - childs]);
    if (err)
        goto close_ends;
    *source = ends[childs];
    return 0;

close_ends:
    close(ends[0]);
    close(ends[1]);
    return err;
}

static int open_null(struct launch *launch, int *source)
{
    if (launch->null_fd < 0)
        launch->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    *source = launch->null_fd;
    return launch->null_fd < 0 ? -errno : 0;
}

static enum ed_spawn_fd_kind kind_of(const struct ed_spawn *spawn, int i)
{
    return (size_t)i < spawn->fd_count ? spawn->fds[i].kind : ED_FD_NULL;
}

/*
 * Before any is opened, which may get the number of one that is given but not
 * open.
 */
static int check_given(const struct ed_spawn *spawn)
{
    for (size_t i = 0; i < spawn->fd_count; i++)
        if (spawn->fds[i].kind == ED_FD_SAME &&
            fcntl(spawn->fds[i].fd, F_GETFD) < 0)
            return -errno;
    return 0;
}

static int open_source(struct ed_loop *loop, struct launch *launch, int i)
{
    int *source = &launch->sources[i];
    switch (kind_of(launch->spawn, i)) {
    case ED_FD_NULL:
        *source = -1;
        return i <= 2 ? open_null(launch, source) : 0;
    case ED_FD_SAME:
        *source = launch->spawn->fds[i].fd;
        return 0;
    default:
        return open_stream(loop, &launch->spawn->fds[i], source);
    }
}

/* As many as can be. */
static int open_sources(struct ed_loop *loop, struct launch *launch)
{
    int err = check_given(launch->spawn);
    while (!err && launch->opened < launch->count) {
        err = open_source(loop, launch, launch->opened);
        launch->opened += !err;
    }
    return err;
}

static void close_sources(const struct launch *launch)
{
    for (int i = 0; i < launch->opened; i++)
        if (kind_of(launch->spawn, i) >= ED_FD_READ)
            close(launch->sources[i]);
    if (launch->null_fd >= 0)
        close(launch->null_fd);
}

static void close_streams(const struct ed_spawn *spawn, int count)
{
    for (int i = 0; i < count; i++)
        if (kind_of(spawn, i) >= ED_FD_READ)
            ed_stream_close(spawn->fds[i].stream);
}

/* Returns the child, whose streams are open, or -errno. */
static pid_t launch_program(struct ed_loop *loop, const struct ed_spawn *spawn)
{
    struct launch launch;
    int err = init_launch(&launch, spawn);
    if (err)
        return err;
    err = open_sources(loop, &launch);
    pid_t pid = err ? err : start_program(&launch);
    close_sources(&launch);
    if (pid < 0)
        close_streams(spawn, launch.opened);
    free(launch.sources);
    return pid;
}

/* ---- the end of a child ---------------------------------------------- */

/* Nothing tells of its end any more. */
static void unwatch_child(struct ed_child *child)
{
    if (ed_watch_is_active(&child->watch)) {
        ed_watch_stop(&child->watch);
        close(child->watch.fd);
    }
    ed_signal_stop(&child->signal);
    ed_hook_stop(&child->hook);
}

/* Has it ended? */
static void look_at_child(struct ed_child *child)
{
    int status = 0;
    pid_t ended = wait_for_child(child->pid, &status, WNOHANG);
    if (ended == 0)
        return; // We are told again.

    struct ed_loop *loop = child->loop;
    struct ed_process *process = child->process;
    unwatch_child(child);
    ed_list_remove(&child->link);
    free(child);
    if (!process)
        return;

    process->child = NULL;
    process->status = ended < 0 ? (int)ended : 0;
    process->signal = 0;
    if (ended > 0 && WIFEXITED(status))
        process->status = WEXITSTATUS(status);
    if (ended > 0 && WIFSIGNALED(status))
        process->signal = WTERMSIG(status);
    ed_trace_begin(loop->trace, "exit", process,
                   (ed_trace_callback_fn *)process->fn);
    process->fn(process);
    ed_trace_end(loop->trace);
}

static void on_child_watch(struct ed_watch *watch)
{
    look_at_child(ED_CONTAINER_OF(watch, struct ed_child, watch));
}

static void on_child_signal(struct ed_signal *signal)
{
    look_at_child(ED_CONTAINER_OF(signal, struct ed_child, signal));
}

static void on_child_hook(struct ed_hook *hook)
{
    look_at_child(ED_CONTAINER_OF(hook, struct ed_child, hook));
}

static void set_child_unref(struct ed_child *child, bool is_unref)
{
    if (is_unref) {
        ed_watch_unref(&child->watch);
        ed_signal_unref(&child->signal);
    } else {
        ed_watch_ref(&child->watch);
        ed_signal_ref(&child->signal);
    }
}

static int watch_by_descriptor(struct ed_child *child)
{
    int fd = ed_poller_open_process(child->pid);
    if (fd < 0)
        return fd;
    int err = ed_watch_start(child->loop, &child->watch, fd, ED_READABLE,
                             on_child_watch);
    if (err)
        close(fd);
    return err;
}

static int watch_by_signal(struct ed_child *child)
{
    int err =
        ed_signal_start(child->loop, &child->signal, SIGCHLD, on_child_signal);
    if (err)
        return err;
    ed_hook_immediate(child->loop, &child->hook, on_child_hook);
    return 0;
}

/* ---- processes ------------------------------------------------------- */

int ed_process_spawn(struct ed_loop *loop, struct ed_process *process,
                     const struct ed_spawn *spawn, ed_process_fn *on_exit)
{
    assert(!process->child);
    assert(spawn->args && spawn->args[0]);

    struct ed_child *child = calloc(1, sizeof *child);
    if (!child)
        return -ENOMEM;
    int err;
    child->loop = loop;
    child->pid = launch_program(loop, spawn);
    if (child->pid < 0) {
        err = child->pid;
        goto free_child;
    }
    set_child_unref(child, process->is_unref);
    // Whatever is wrong with the descriptor, a signal is as good.
    if (watch_by_descriptor(child)) {
        err = watch_by_signal(child);
        if (err)
            goto kill_child;
    }

    ed_list_append(&loop->children, &child->link);
    child->process = process;
    process->child = child;
    process->pid = child->pid;
    process->fn = on_exit;
    return 0;

kill_child:
    (void)kill(child->pid, SIGKILL);
    (void)wait_for_child(child->pid, NULL, 0);
    close_streams(spawn, (int)spawn->fd_count);
free_child:
    free(child);
    return err;
}

int ed_process_kill(struct ed_process *process, int number)
{
    if (!process->child)
        return -ESRCH;
    // Some systems cannot find one that has ended and is not reaped yet.
    return kill(process->pid, number) && errno != ESRCH ? -errno : 0;
}

void ed_process_stop(struct ed_process *process)
{
    struct ed_child *child = process->child;
    if (!child)
        return;
    process->child = NULL;
    child->process = NULL;
    set_child_unref(child, true);
}

bool ed_process_is_active(const struct ed_process *process)
{
    return process->child;
}

static void set_process_unref(struct ed_process *process, bool is_unref)
{
    process->is_unref = is_unref;
    if (process->child)
        set_child_unref(process->child, is_unref);
}

void ed_process_ref(struct ed_process *process)
{
    set_process_unref(process, false);
}

void ed_process_unref(struct ed_process *process)
{
    set_process_unref(process, true);
}

void ed_turn_forget_children(struct ed_loop *loop)
{
    struct ed_list *link;
    while ((link = ed_list_pop(&loop->children))) {
        struct ed_child *child = ED_CONTAINER_OF(link, struct ed_child, link);
        assert(!child->process);
        (void)wait_for_child(child->pid, NULL, WNOHANG);
        unwatch_child(child);
        free(child);
    }
}
