/*
 * Starting programs when the system says no, at each place in turn, and their
 * end where there is no pidfd. The calls below are linked with --wrap (see
 * meson.build), those of the child before it is the program included; that is
 * Linux's way to do it.
 */
#include "loop/process.h"

#include "test/tap.h"

#if !defined __linux__ || defined KQUEUE_DOUBLE

static void the_system_is_made_to_fail_on_linux_only(void)
{
    SKIP("wraps the calls of Linux");
}

TESTS(TEST(the_system_is_made_to_fail_on_linux_only))

#else

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- the wrapped calls --------------------------------------------------- */

enum call {
    FORK, // clone, too
    PIPE,
    SOCKETPAIR,
    OPEN,
    FCNTL,
    DUP2,
    READ,
    WAITPID,
    SIGACTION,
    EPOLL_CTL,
    PIDFD_OPEN,
    CLOSE_RANGE,
    GETDENTS,
    SETID, // setuid, setgid, setgroups
    SETSID,
    CHDIR,
    ALLOCATE, // malloc and calloc
    CALLS,
};

struct faults {
    // Volatile, since compilers know that malloc() changes no variable.
    volatile int made[CALLS];
    volatile bool is_in; // whether one has failed
    int first[CALLS];    // of those that fail; 0: none does
    int last[CALLS];
    int with[CALLS]; // errno
};

static struct faults *faults; // shared with children of memory of their own

static bool fails(enum call call)
{
    int number = ++faults->made[call];
    if (!faults->first[call] || number < faults->first[call] ||
        number > faults->last[call])
        return false;
    faults->is_in = true;
    errno = faults->with[call];
    return true;
}

static void forget_calls(void)
{
    *faults = (struct faults){0};
}

static const int for_ever = 1000000000;

/* From now on, lets the first, and so many in all, of the calls fail. */
static void let_fail(enum call call, int first, int count, int err)
{
    faults->made[call] = 0;
    faults->first[call] = first;
    faults->last[call] = first + count - 1;
    faults->with[call] = err;
    faults->is_in = false;
}

pid_t __real_fork(void);
pid_t __wrap_fork(void);
pid_t __wrap_fork(void)
{
    return fails(FORK) ? -1 : __real_fork();
}

int __real_clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
int __wrap_clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
int __wrap_clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
    return fails(FORK) ? -1 : __real_clone(fn, stack, flags, arg);
}

int __real_pipe2(int ends[2], int flags);
int __wrap_pipe2(int ends[2], int flags);
int __wrap_pipe2(int ends[2], int flags)
{
    return fails(PIPE) ? -1 : __real_pipe2(ends, flags);
}

int __real_socketpair(int family, int type, int protocol, int ends[2]);
int __wrap_socketpair(int family, int type, int protocol, int ends[2]);
int __wrap_socketpair(int family, int type, int protocol, int ends[2])
{
    return fails(SOCKETPAIR) ? -1
                             : __real_socketpair(family, type, protocol, ends);
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    return fails(OPEN) ? -1 : __real_open(path, flags);
}

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    int argument = va_arg(arguments, int);
    va_end(arguments);
    return fails(FCNTL) ? -1 : __real_fcntl(fd, command, argument);
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    return fails(OPEN) ? -1 : __real_open64(path, flags);
}

int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    int argument = va_arg(arguments, int);
    va_end(arguments);
    return fails(FCNTL) ? -1 : __real_fcntl64(fd, command, argument);
}

int __real_dup2(int from, int to);
int __wrap_dup2(int from, int to);
int __wrap_dup2(int from, int to)
{
    return fails(DUP2) ? -1 : __real_dup2(from, to);
}

ssize_t __real_read(int fd, void *bytes, size_t size);
ssize_t __wrap_read(int fd, void *bytes, size_t size);
ssize_t __wrap_read(int fd, void *bytes, size_t size)
{
    return fails(READ) ? -1 : __real_read(fd, bytes, size);
}

pid_t __real_waitpid(pid_t pid, int *status, int options);
pid_t __wrap_waitpid(pid_t pid, int *status, int options);
pid_t __wrap_waitpid(pid_t pid, int *status, int options)
{
    return fails(WAITPID) ? -1 : __real_waitpid(pid, status, options);
}

int __real_sigaction(int number, const struct sigaction *action,
                     struct sigaction *before);
int __wrap_sigaction(int number, const struct sigaction *action,
                     struct sigaction *before);
int __wrap_sigaction(int number, const struct sigaction *action,
                     struct sigaction *before)
{
    return fails(SIGACTION) ? -1 : __real_sigaction(number, action, before);
}

int __real_epoll_ctl(int epoll, int change, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int change, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int change, int fd, struct epoll_event *event)
{
    // To take something out always works.
    return change != EPOLL_CTL_DEL && fails(EPOLL_CTL)
               ? -1
               : __real_epoll_ctl(epoll, change, fd, event);
}

static bool syscall_fails(long number)
{
    switch (number) {
    case SYS_pidfd_open:
        return fails(PIDFD_OPEN);
    case SYS_close_range:
        return fails(CLOSE_RANGE);
    case SYS_getdents64:
        return fails(GETDENTS);
    default:
        return false;
    }
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    if (syscall_fails(number))
        return -1;
    long args[4];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 4; i++)
        args[i] = va_arg(arguments, long);
    va_end(arguments);
    return __real_syscall(number, args[0], args[1], args[2], args[3]);
}

int __real_setuid(uid_t uid);
int __wrap_setuid(uid_t uid);
int __wrap_setuid(uid_t uid)
{
    return fails(SETID) ? -1 : __real_setuid(uid);
}

int __real_setgid(gid_t gid);
int __wrap_setgid(gid_t gid);
int __wrap_setgid(gid_t gid)
{
    return fails(SETID) ? -1 : __real_setgid(gid);
}

int __real_setgroups(size_t count, const gid_t *groups);
int __wrap_setgroups(size_t count, const gid_t *groups);
int __wrap_setgroups(size_t count, const gid_t *groups)
{
    return fails(SETID) ? -1 : __real_setgroups(count, groups);
}

pid_t __real_setsid(void);
pid_t __wrap_setsid(void);
pid_t __wrap_setsid(void)
{
    return fails(SETSID) ? -1 : __real_setsid();
}

int __real_chdir(const char *path);
int __wrap_chdir(const char *path);
int __wrap_chdir(const char *path)
{
    return fails(CHDIR) ? -1 : __real_chdir(path);
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

/* ---- helpers ------------------------------------------------------------- */

static struct ed_loop loop;
static struct ed_process process;
static struct ed_stream input, output, both;
static int exits;
static int descriptors_before;

/* A descriptor to inherit. */
enum { STRAY = 77 };
#define STRAY_TEXT "77"

static int count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += __real_fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void begin(void)
{
    descriptors_before = count_descriptors();
    forget_calls();
    CHECK_EQ(ed_loop_init(&loop), 0);
    CHECK_EQ(dup2(1, STRAY), STRAY);
}

static void end(void)
{
    forget_calls();
    CHECK(!ed_loop_is_alive(&loop));
    ed_loop_destroy(&loop);
    close(STRAY);
    CHECK_EQ(count_descriptors(), descriptors_before);
    CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_EQ(errno, ECHILD);
}

static void note_exit(struct ed_process *ended)
{
    (void)ended;
    exits++;
}

/*
 * With one of everything: it says "good" if it has what it should, and not what
 * lies about.
 */
static int start(bool as_oneself)
{
    static const char *const args[] = {
        "sh", "-c",
        "[ ! -e /proc/self/fd/" STRAY_TEXT " ] && echo good >&3; exit 5", NULL};
    const uid_t uid = getuid();
    const gid_t gid = getgid();
    const struct ed_spawn_fd fds[] = {
        {.kind = ED_FD_READ, .stream = &input},
        {.kind = ED_FD_NULL},
        {.kind = ED_FD_SAME, .fd = 2},
        {.kind = ED_FD_WRITTEN, .stream = &output},
        {.kind = ED_FD_BOTH, .stream = &both},
        {.kind = ED_FD_SAME, .fd = 1},
        {.kind = ED_FD_NULL},
        {.kind = ED_FD_SAME, .fd = STRAY},
    };
    exits = 0;
    return ed_process_spawn(&loop, &process,
                            &(struct ed_spawn){.args = args,
                                               .directory = "/",
                                               .fds = fds,
                                               .fd_count = 8,
                                               .uid = as_oneself ? &uid : NULL,
                                               .gid = as_oneself ? &gid : NULL,
                                               .is_detached = true},
                            note_exit);
}

static char said[64];
static size_t said_size;

static void on_output(struct ed_stream *stream, char *data, int64_t size)
{
    if (size <= 0)
        ed_stream_close(stream);
    for (int64_t i = 0; i < size && said_size < sizeof said - 1; i++)
        said[said_size++] = data[i];
}

static void run_to_its_end(void)
{
    memset(said, 0, sizeof said);
    said_size = 0;
    CHECK_EQ(ed_stream_read_start(&output, on_output), 0);
    ed_stream_close(&input);
    ed_stream_close(&both);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(exits, 1);
    CHECK_EQ(process.status, 5);
    CHECK_EQ(process.signal, 0);
    CHECK_STR(said, "good\n");
}

static void nothing_is_left(void)
{
    CHECK(!ed_process_is_active(&process));
    CHECK(!ed_stream_is_open(&input));
    CHECK(!ed_stream_is_open(&output));
    CHECK(!ed_stream_is_open(&both));
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(exits, 0);
}

/*
 * Lets the call fail at the first place, at the second, and so on. Each time
 * that is either the result, or it makes no difference. Returns how often it
 * was the result.
 */
static int fail_everywhere(enum call call, int err, bool as_oneself)
{
    int refused = 0;
    for (int place = 1; place < 100; place++) {
        int before = count_descriptors();
        let_fail(call, place, 1, err);
        int result = start(as_oneself);
        bool is_in = faults->is_in;
        faults->first[call] = 0;
        CHECK(result == 0 || (is_in && result == -err));
        if (result)
            nothing_is_left();
        else
            run_to_its_end();
        refused += result != 0;
        CHECK_EQ(count_descriptors(), before);
        if (!is_in)
            break;
    }
    return refused;
}

/* ---- tests --------------------------------------------------------------- */

static void what_fails_on_the_way_to_the_program_is_the_result(void)
{
    begin();
    CHECK_EQ(fail_everywhere(FORK, EAGAIN, false), 1);
    CHECK_EQ(fail_everywhere(PIPE, EMFILE, false), 3);
    CHECK_EQ(fail_everywhere(SOCKETPAIR, ENFILE, false), 1);
    CHECK_EQ(fail_everywhere(OPEN, ENOENT, false), 1);
    CHECK_EQ(fail_everywhere(SETSID, EPERM, false), 1);
    CHECK_EQ(fail_everywhere(CHDIR, EACCES, false), 1);
    CHECK(fail_everywhere(DUP2, EMFILE, false) >= 6);
    CHECK(fail_everywhere(FCNTL, EMFILE, false) >= 6);
    end();
}

static void so_it_is_with_a_child_in_memory_of_its_own(void)
{
    begin();
    CHECK_EQ(fail_everywhere(FORK, ENOMEM, true), 1);
    CHECK_EQ(fail_everywhere(SETID, EINVAL, true), 3);
    CHECK(fail_everywhere(DUP2, EMFILE, true) >= 6);
    CHECK(fail_everywhere(FCNTL, EMFILE, true) >= 6);
    end();
}

static void memory_that_is_missing_is_the_result(void)
{
    begin();
    // One more where SIGCHLD is to be watched.
    CHECK(fail_everywhere(ALLOCATE, ENOMEM, false) >= 2);
    end();
}

static void interrupted_calls_are_made_again(void)
{
    begin();
    CHECK_EQ(fail_everywhere(READ, EINTR, false), 0);
    // Also those after the start.
    let_fail(WAITPID, 1, 3, EINTR);
    CHECK_EQ(start(false), 0);
    run_to_its_end();
    CHECK(faults->is_in);

    // Also those for a child that has failed.
    let_fail(WAITPID, 1, 3, EINTR);
    let_fail(CHDIR, 1, 1, EACCES);
    CHECK_EQ(start(false), -EACCES);
    nothing_is_left();
    CHECK(faults->made[WAITPID] > 3);
    end();
}

static void without_a_pidfd_SIGCHLD_tells_of_the_end(void)
{
    static const int errors[] = {ENOSYS, EPERM, EMFILE, ENOMEM};
    begin();
    for (int i = 0; i < 4; i++) {
        let_fail(PIDFD_OPEN, 1, for_ever, errors[i]);
        CHECK_EQ(start(false), 0);
        CHECK_EQ(faults->made[PIDFD_OPEN], 1);
        run_to_its_end();
    }
    end();
}

static void so_it_does_if_epoll_does_not_take_the_pidfd(void)
{
    begin();
    for (int place = 1;; place++) {
        let_fail(EPOLL_CTL, place, 1, ENOSPC);
        int err = start(false);
        bool is_in = faults->is_in;
        faults->first[EPOLL_CTL] = 0;
        // The streams try it, too.
        CHECK(err == 0 || err == -ENOSPC);
        if (err)
            nothing_is_left();
        else
            run_to_its_end();
        if (!is_in)
            break;
    }
    end();
}

static void one_whose_end_nobody_would_tell_is_not_started(void)
{
    begin();
    for (int place = 1; place < 10; place++) {
        let_fail(ALLOCATE, place, 1, ENOMEM);
        let_fail(PIDFD_OPEN, 1, for_ever, ENOMEM);
        faults->is_in = false;
        int err = start(false);
        bool is_in = faults->made[ALLOCATE] >= place;
        faults->first[ALLOCATE] = 0;
        CHECK_EQ(err, is_in ? -ENOMEM : 0);
        if (err)
            nothing_is_left();
        else
            run_to_its_end();
        if (!is_in)
            break;
    }
    end();
}

enum { CROWD = 30 };

static struct ed_process crowd[CROWD];

static void *crowd_of_shells(bool are_quick)
{
    const char *const quick[] = {"/bin/sh", "-c", "exit 3", NULL};
    const char *const slow[] = {"/bin/sh", "-c", "sleep 0.02; exit 3", NULL};
    for (int i = 0; i < CROWD; i++)
        CHECK_EQ(ed_process_spawn(
                     &loop, &crowd[i],
                     &(struct ed_spawn){.args = are_quick ? quick : slow},
                     note_exit),
                 0);
    return NULL;
}

static bool is_child(pid_t pid)
{
    siginfo_t info;
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void signals_tell_of_many_and_of_those_that_are_stopped(void)
{
    for (int round = 0; round < 4; round++) {
        begin();
        let_fail(PIDFD_OPEN, 1, for_ever, ENOSYS);
        exits = 0;
        crowd_of_shells(round % 2);
        for (int i = 0; i < CROWD; i += 2)
            if (round >= 2)
                ed_process_stop(&crowd[i]);
        ed_process_unref(&crowd[1]);
        ed_process_ref(&crowd[1]);
        CHECK_EQ(ed_loop_run(&loop), 0);
        CHECK_EQ(exits, round >= 2 ? CROWD / 2 : CROWD);

        ed_loop_ref(&loop);
        for (int i = 0; i < CROWD; i++)
            while (is_child(crowd[i].pid))
                CHECK(ed_loop_run_once(&loop, (int64_t)(10 * ED_S)) >= 0);
        ed_loop_unref(&loop);
        end();
    }
}

static void a_loop_may_end_before_one_that_a_signal_would_tell_of(void)
{
    static const char *const args[] = {"/bin/sh", "-c", "sleep 0.02", NULL};
    begin();
    let_fail(PIDFD_OPEN, 1, for_ever, ENOSYS);
    CHECK_EQ(ed_process_spawn(&loop, &process, &(struct ed_spawn){.args = args},
                              note_exit),
             0);
    ed_process_stop(&process);
    ed_loop_destroy(&loop);
    close(STRAY);
    CHECK_EQ(count_descriptors(), descriptors_before);
    // Unless it was so quick that the loop did it.
    CHECK(waitpid(process.pid, NULL, 0) == process.pid || errno == ECHILD);
}

static void descriptors_are_closed_the_older_ways_too(void)
{
    begin();
    CHECK_EQ(fail_everywhere(CLOSE_RANGE, ENOSYS, false), 0);
    for (int way = 0; way < 3; way++) {
        let_fail(CLOSE_RANGE, 1, for_ever, way ? ENOSYS : EINVAL);
        if (way == 1)
            let_fail(OPEN, 2, for_ever, ENOENT); // the first is /dev/null
        if (way == 2)
            let_fail(GETDENTS, 1, for_ever, EPERM);
        CHECK_EQ(start(false), 0);
        faults->first[OPEN] = 0;
        run_to_its_end();
        CHECK_EQ(faults->made[GETDENTS] > 0, way != 1);
        forget_calls();
    }
    end();
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        TEST(what_fails_on_the_way_to_the_program_is_the_result),
        TEST(so_it_is_with_a_child_in_memory_of_its_own),
        TEST(memory_that_is_missing_is_the_result),
        TEST(interrupted_calls_are_made_again),
        TEST(without_a_pidfd_SIGCHLD_tells_of_the_end),
        TEST(so_it_does_if_epoll_does_not_take_the_pidfd),
        TEST(one_whose_end_nobody_would_tell_is_not_started),
        TEST(signals_tell_of_many_and_of_those_that_are_stopped),
        TEST(a_loop_may_end_before_one_that_a_signal_would_tell_of),
        TEST(descriptors_are_closed_the_older_ways_too),
    };

    faults = mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (faults == MAP_FAILED)
        return 99;
    return tap_main(argc, argv, tests, sizeof tests / sizeof *tests);
}

#endif
