/*
 * Programs that are started, what they find, and how their end is told. Most of
 * them are this one, which plays a role when its first argument names one.
 */
#include "loop/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "test/tap.h"

#include "loop/system.h"

static char self[PATH_MAX]; // this program

/* ---- the roles of a child ------------------------------------------------ */

enum { MOST_FDS = 1024 };

static int play_args(char **args)
{
    for (; *args; args++)
        printf("<%s>", *args);
    return 0;
}

static int play_env(char **args)
{
    (void)args;
    for (char **entry = ed_system_environment(); *entry; entry++)
        printf("<%s>", *entry);
    return 0;
}

static int play_exit(char **args)
{
    return atoi(args[0]);
}

/* Ends by a signal, without a core file. */
static int play_die(char **args)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    signal(atoi(args[0]), SIG_DFL);
    raise(atoi(args[0]));
    return 0;
}

/* Lives until it is killed or its input ends. */
static int play_live(char **args)
{
    char byte;
    (void)args;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    return 0;
}

static int play_cat(char **args)
{
    char bytes[4096];
    ssize_t size;
    (void)args;
    while ((size = read(STDIN_FILENO, bytes, sizeof bytes)) > 0)
        for (ssize_t done = 0; done < size;) {
            ssize_t n =
                write(STDOUT_FILENO, bytes + done, (size_t)(size - done));
            if (n < 0)
                return errno;
            done += n;
        }
    return size < 0 ? errno : 0;
}

static int play_pour(char **args)
{
    for (long left = atol(args[0]); left > 0; left--)
        putchar('x');
    return 0;
}

static int play_directory(char **args)
{
    char path[PATH_MAX];
    (void)args;
    fputs(getcwd(path, sizeof path), stdout);
    return 0;
}

static int play_descriptors(char **args)
{
    (void)args;
    for (int fd = 0; fd < MOST_FDS; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf("%d ", fd);
    return 0;
}

static void print_file(FILE *out, int fd)
{
    struct stat stat;
    if (fstat(fd, &stat))
        fprintf(out, "%d:none ", fd);
    else
        fprintf(out, "%d:%lld.%lld ", fd, (long long)stat.st_dev,
                (long long)stat.st_ino);
}

/* The descriptor to tell it by, then those to tell about. */
static int play_files(char **args)
{
    FILE *out = fdopen(atoi(args[0]), "w");
    for (args++; *args; args++)
        print_file(out, atoi(*args));
    fflush(out);
    return 0;
}

static int play_flags(char **args)
{
    (void)args;
    for (int fd = 0; fd < 3; fd++)
        fprintf(stderr, "%d:%s ", fd,
                fcntl(fd, F_GETFL) & O_NONBLOCK ? "nonblocking" : "blocking");
    return 0;
}

static int play_session(char **args)
{
    (void)args;
    printf("%d %d %d", (int)getpid(), (int)getpgrp(), (int)getsid(0));
    return 0;
}

static const int telling_signals[] = {SIGHUP,  SIGINT,  SIGPIPE, SIGTERM,
                                      SIGUSR1, SIGUSR2, SIGCHLD};
enum { TELLING = sizeof telling_signals / sizeof *telling_signals };

static int play_signals(char **args)
{
    (void)args;
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    for (int i = 0; i < TELLING; i++) {
        struct sigaction action;
        sigaction(telling_signals[i], NULL, &action);
        if (action.sa_handler != SIG_DFL)
            printf("%d is set ", telling_signals[i]);
        if (sigismember(&blocked, telling_signals[i]))
            printf("%d is blocked ", telling_signals[i]);
    }
    printf("done");
    return 0;
}

static int play_identity(char **args)
{
    gid_t groups[64];
    (void)args;
    printf("%d %d %d %d", (int)getuid(), (int)geteuid(), (int)getgid(),
           (int)getegid());
    int count = getgroups(64, groups);
    for (int i = 0; i < count; i++)
        if (groups[i] != getegid()) // some systems count that one
            printf(" %d", (int)groups[i]);
    return 0;
}

static void on_nothing(struct ed_process *process)
{
    (void)process;
}

/* Wants to be root. */
static int play_climb(char **args)
{
    struct ed_loop loop;
    struct ed_process process = {0};
    const char *const command[] = {"/bin/sh", "-c", "exit 0", NULL};
    (void)args;
    if (ed_loop_init(&loop))
        return 1;
    printf("%d ", ed_process_spawn(
                      &loop, &process,
                      &(struct ed_spawn){.args = command, .uid = &(uid_t){0}},
                      on_nothing));
    printf("%d", ed_process_spawn(
                     &loop, &process,
                     &(struct ed_spawn){.args = command, .gid = &(gid_t){0}},
                     on_nothing));
    ed_loop_destroy(&loop);
    return 0;
}

/* Ends at once, but leaves somebody behind who has its output. */
static int play_leave(char **args)
{
    if (fork() > 0)
        _exit(7);
    play_live(args);
    printf("late");
    return 0;
}

static const struct {
    const char *name;
    int (*play)(char **args);
} roles[] = {
    {"args", play_args},
    {"env", play_env},
    {"exit", play_exit},
    {"die", play_die},
    {"live", play_live},
    {"cat", play_cat},
    {"pour", play_pour},
    {"directory", play_directory},
    {"descriptors", play_descriptors},
    {"files", play_files},
    {"flags", play_flags},
    {"session", play_session},
    {"signals", play_signals},
    {"identity", play_identity},
    {"climb", play_climb},
    {"leave", play_leave},
};

/* ---- the parent's side --------------------------------------------------- */

/* A process, and what it has written. */
struct job {
    struct ed_process process;
    struct ed_stream input;
    struct ed_stream output;
    int exits;
    int64_t end; // what the last read said
    size_t size;
    char text[4096]; // its beginning
};

static struct ed_loop loop;

#define ARGS(...)                                                              \
    (const char *const[])                                                      \
    {                                                                          \
        self, __VA_ARGS__, NULL                                                \
    }

static struct job *job_of(struct ed_process *process)
{
    return ED_CONTAINER_OF(process, struct job, process);
}

static int count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < MOST_FDS; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static int descriptors_before;

static void begin(void)
{
    descriptors_before = count_descriptors();
    CHECK_EQ(ed_loop_init(&loop), 0);
}

/* No descriptor and no child is left. */
static void end(void)
{
    CHECK(!ed_loop_is_alive(&loop));
    ed_loop_destroy(&loop);
    CHECK_EQ(count_descriptors(), descriptors_before);
    CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_EQ(errno, ECHILD);
}

static void on_exit_note(struct ed_process *process)
{
    CHECK(!ed_process_is_active(process));
    job_of(process)->exits++;
}

static void on_output(struct ed_stream *stream, char *data, int64_t size)
{
    struct job *job = ED_CONTAINER_OF(stream, struct job, output);
    job->end = size;
    if (size <= 0) {
        ed_stream_close(stream);
        return;
    }
    for (int64_t i = 0; i < size; i++, job->size++)
        if (job->size < sizeof job->text - 1)
            job->text[job->size] = data[i];
}

/* With its output read; the rest as spawn has it. */
static int start(struct job *job, struct ed_spawn spawn)
{
    const struct ed_spawn_fd usual[] = {
        {.kind = ED_FD_NULL},
        {.kind = ED_FD_WRITTEN, .stream = &job->output},
        {.kind = ED_FD_SAME, .fd = 2},
    };
    job->end = 1;
    job->exits = 0;
    job->size = 0;
    memset(job->text, 0, sizeof job->text);
    if (!spawn.fds) {
        spawn.fds = usual;
        spawn.fd_count = 3;
    }
    int err = ed_process_spawn(&loop, &job->process, &spawn, on_exit_note);
    if (!err && ed_stream_is_open(&job->output))
        CHECK_EQ(ed_stream_read_start(&job->output, on_output), 0);
    return err;
}

/* Returns what it wrote. */
static const char *run(struct job *job, struct ed_spawn spawn)
{
    CHECK_EQ(start(job, spawn), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(job->exits, 1);
    CHECK_EQ(job->process.signal, 0);
    CHECK_EQ(job->process.status, 0);
    return job->text;
}

/* One that reads its input, which is the caller's to close. */
static int start_living(struct job *job)
{
    struct ed_spawn_fd input = {.kind = ED_FD_READ, .stream = &job->input};
    ed_stream_unref(&job->input);
    return start(job, (struct ed_spawn){
                          .args = ARGS("live"), .fds = &input, .fd_count = 1});
}

static bool is_child(pid_t pid)
{
    siginfo_t info;
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void run_until_reaped(pid_t pid)
{
    ed_loop_ref(&loop);
    while (is_child(pid))
        CHECK(ed_loop_run_once(&loop, (int64_t)(10 * ED_S)) >= 0);
    ed_loop_unref(&loop);
}

/* ---- how it ends --------------------------------------------------------- */

static void the_exit_status_is_told(void)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {{"0", 0}, {"1", 1}, {"7", 7}, {"255", 255}};
    struct job job = {0};
    begin();
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(
            start(&job, (struct ed_spawn){.args = ARGS("exit", cases[i].text)}),
            0);
        CHECK(ed_process_is_active(&job.process));
        CHECK(job.process.pid > 0);
        CHECK_EQ(ed_loop_run(&loop), 0);
        CHECK_EQ(job.exits, 1);
        CHECK_EQ(job.process.status, cases[i].status);
        CHECK_EQ(job.process.signal, 0);
    }
    end();
}

static void the_signal_that_ended_it_is_told(void)
{
    static const int numbers[] = {SIGTERM, SIGKILL, SIGABRT, SIGPIPE};
    struct job job = {0};
    begin();
    for (int i = 0; i < 4; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", numbers[i]);
        CHECK_EQ(start(&job, (struct ed_spawn){.args = ARGS("die", number)}),
                 0);
        CHECK_EQ(ed_loop_run(&loop), 0);
        CHECK_EQ(job.exits, 1);
        CHECK_EQ(job.process.status, 0);
        CHECK_EQ(job.process.signal, numbers[i]);
    }
    end();
}

static void a_hundred_end_at_once(void)
{
    enum { CROWD = 100 };
    static struct job jobs[CROWD];
    begin();
    for (int i = 0; i < CROWD; i++) {
        char number[16];
        const char *const args[] = {"/bin/sh", "-c", "exit $0", number, NULL};
        const struct ed_spawn_fd output = {.kind = ED_FD_SAME, .fd = 1};
        snprintf(number, sizeof number, "%d", i);
        CHECK_EQ(start(&jobs[i], (struct ed_spawn){.args = args,
                                                   .fds = &output,
                                                   .fd_count = 1}),
                 0);
    }
    CHECK_EQ(ed_loop_run(&loop), 0);
    for (int i = 0; i < CROWD; i++) {
        CHECK_EQ(jobs[i].exits, 1);
        CHECK_EQ(jobs[i].process.status, i);
    }
    end();
}

static void who_has_waited_for_it_instead_has_its_status(void)
{
    struct job job = {0};
    int status;
    begin();
    CHECK_EQ(start(&job, (struct ed_spawn){.args = ARGS("exit", "7")}), 0);
    CHECK_EQ(waitpid(job.process.pid, &status, 0), job.process.pid);
    CHECK_EQ(WEXITSTATUS(status), 7);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(job.exits, 1);
    CHECK_EQ(job.process.status, -ECHILD);
    CHECK_EQ(job.process.signal, 0);
    end();
}

static void its_end_is_told_even_if_SIGCHLD_is_ignored(void)
{
    struct job job = {0};
    begin();
    signal(SIGCHLD, SIG_IGN);
    CHECK_EQ(start(&job, (struct ed_spawn){.args = ARGS("exit", "7")}), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(job.exits, 1);
    // It is not, for as long as it has to tell of the end.
    CHECK(job.process.status == -ECHILD || job.process.status == 7);
    const char *const missing[] = {"/nowhere/nothing", NULL};
    CHECK_EQ(start(&job, (struct ed_spawn){.args = missing}), -ENOENT);
    signal(SIGCHLD, SIG_DFL);
    end();
}

static void other_children_are_left_alone(void)
{
    struct job job = {0};
    int status;
    begin();
    pid_t other = fork();
    if (other == 0)
        _exit(9);
    run(&job, (struct ed_spawn){.args = ARGS("exit", "0")});
    CHECK_EQ(waitpid(other, &status, 0), other);
    CHECK_EQ(WEXITSTATUS(status), 9);
    end();
}

static void its_output_may_come_after_its_end(void)
{
    struct job job = {0};
    begin();
    const struct ed_spawn_fd fds[] = {
        {.kind = ED_FD_READ, .stream = &job.input},
        {.kind = ED_FD_WRITTEN, .stream = &job.output},
    };
    CHECK_EQ(start(&job, (struct ed_spawn){.args = ARGS("leave"),
                                           .fds = fds,
                                           .fd_count = 2}),
             0);
    while (!job.exits)
        CHECK(ed_loop_run_once(&loop, (int64_t)(10 * ED_S)) >= 0);
    CHECK_EQ(job.process.status, 7);
    CHECK(ed_stream_is_open(&job.output));
    CHECK_EQ(job.size, 0);

    ed_stream_close(&job.input);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_STR(job.text, "late");
    CHECK_EQ(job.end, 0);
    end();
}

/* ---- what it gets -------------------------------------------------------- */

static void arguments_arrive_as_given(void)
{
    struct job job = {0};
    begin();
    CHECK_STR(run(&job, (struct ed_spawn){.args = ARGS("args", "a b", "", "$c",
                                                       "\n")}),
              "<a b><><$c><\n>");

    const char *const args[] = {"another name", "args", "x", NULL};
    CHECK_STR(run(&job, (struct ed_spawn){.args = args, .file = self}), "<x>");
    end();
}

static void the_environment_is_the_one_given(void)
{
    struct job job = {0};
    const char *const some[] = {"A=1", "B=", NULL};
    const char *const none[] = {NULL};
    begin();
    CHECK_STR(
        run(&job, (struct ed_spawn){.args = ARGS("env"), .environment = some}),
        "<A=1><B=>");
    CHECK_STR(
        run(&job, (struct ed_spawn){.args = ARGS("env"), .environment = none}),
        "");
    end();
}

static void without_one_the_environment_is_that_of_here(void)
{
    struct job job = {0};
    const char *const args[] = {"/bin/sh", "-c", "printf %s \"$EDDY_TEST\"",
                                NULL};
    begin();
    setenv("EDDY_TEST", "is here", 1);
    CHECK_STR(run(&job, (struct ed_spawn){.args = args}), "is here");
    unsetenv("EDDY_TEST");
    end();
}

static void it_works_in_the_directory_given(void)
{
    struct job job = {0};
    char here[PATH_MAX];
    begin();
    CHECK_STR(run(&job, (struct ed_spawn){.args = ARGS("directory"),
                                          .directory = "/"}),
              "/");
    CHECK(getcwd(here, sizeof here));
    CHECK_STR(run(&job, (struct ed_spawn){.args = ARGS("directory")}), here);
    end();
}

static void all_signals_are_unblocked_and_at_their_default(void)
{
    struct job job = {0};
    sigset_t some, before, after;
    begin();
    sigfillset(&some);
    sigdelset(&some, SIGALRM); // by which tests that hang are ended
    sigdelset(&some, SIGCHLD); // needed where there is no pidfd
    pthread_sigmask(SIG_SETMASK, &some, &before);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    signal(SIGUSR1, _exit);
    CHECK_STR(run(&job, (struct ed_spawn){.args = ARGS("signals")}), "done");

    // Nothing of that has happened to the parent.
    CHECK(signal(SIGUSR1, SIG_DFL) == _exit);
    CHECK(signal(SIGUSR2, SIG_DFL) == SIG_IGN);
    CHECK(signal(SIGPIPE, SIG_DFL) == SIG_IGN);
    pthread_sigmask(SIG_SETMASK, &before, &after);
    for (int i = 0; i < TELLING; i++)
        CHECK_EQ(sigismember(&after, telling_signals[i]),
                 telling_signals[i] != SIGCHLD);
    CHECK(!sigismember(&after, SIGALRM));
    end();
}

static void one_that_is_detached_leads_a_session(void)
{
    struct job job = {0};
    int pid, group, session;
    begin();
    const char *text = run(
        &job, (struct ed_spawn){.args = ARGS("session"), .is_detached = true});
    CHECK_EQ(sscanf(text, "%d %d %d", &pid, &group, &session), 3);
    CHECK_EQ(pid, job.process.pid);
    CHECK_EQ(group, pid);
    CHECK_EQ(session, pid);

    text = run(&job, (struct ed_spawn){.args = ARGS("session")});
    CHECK_EQ(sscanf(text, "%d %d %d", &pid, &group, &session), 3);
    CHECK_EQ(group, getpgrp());
    CHECK_EQ(session, getsid(0));
    end();
}

enum { NOBODY = 65534 };

/* Whether nobody may execute this program, too. */
static bool is_public(void)
{
    struct job job = {0};
    int err = start(&job, (struct ed_spawn){.args = ARGS("exit", "0"),
                                            .uid = &(uid_t){NOBODY},
                                            .gid = &(gid_t){NOBODY}});
    CHECK(err == 0 || err == -EACCES);
    CHECK_EQ(ed_loop_run(&loop), 0);
    return !err;
}

static void root_can_run_it_as_somebody_else(void)
{
    struct job job = {0};
    const uid_t nobody = NOBODY;
    const gid_t group = NOBODY - 1, more[] = {1, 2};
    if (getuid())
        SKIP("for root");
    begin();
    gid_t before[64];
    int count = getgroups(64, before);
    CHECK_EQ(setgroups(2, more), 0);
    bool is_known = is_public();
    if (is_known) {
        CHECK_STR(run(&job, (struct ed_spawn){.args = ARGS("identity"),
                                              .uid = &nobody,
                                              .gid = &group}),
                  "65534 65534 65533 65533");
        CHECK_STR(run(&job, (struct ed_spawn){.args = ARGS("climb"),
                                              .uid = &nobody,
                                              .gid = &group}),
                  "-1 -1");
    }
    CHECK_STR(
        run(&job, (struct ed_spawn){.args = ARGS("identity"), .gid = &group}),
        "0 0 65533 65533");
    CHECK_EQ(setgroups((unsigned short)count, before), 0);
    CHECK_EQ(getuid(), 0);
    CHECK(getgid() != group);
    end();
    if (!is_known)
        SKIP("nobody but root can execute this program");
}

static void anybody_can_run_it_as_oneself(void)
{
    struct job job = {0};
    char me[64];
    begin();
    snprintf(me, sizeof me, "%d %d", (int)getuid(), (int)geteuid());
    const char *text = run(&job, (struct ed_spawn){.args = ARGS("identity"),
                                                   .uid = &(uid_t){getuid()},
                                                   .gid = &(gid_t){getgid()}});
    CHECK(strncmp(text, me, strlen(me)) == 0);
    end();
}

/* ---- finding it ---------------------------------------------------------- */

static char directory[PATH_MAX];

static const char *in_directory(const char *name)
{
    static char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static bool make_directory(void)
{
    char name[] = "/tmp/eddy-process-XXXXXX";
    return mkdtemp(name) && realpath(name, directory) &&
           mkdir(in_directory("first"), 0755) == 0 &&
           mkdir(in_directory("second"), 0755) == 0;
}

static void make_file(const char *name, const char *text, mode_t mode)
{
    int fd = open(in_directory(name), O_WRONLY | O_CREAT | O_CLOEXEC, mode);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void remove_directory(void)
{
    static const char *const names[] = {"first/program",
                                        "second/program",
                                        "first/plain",
                                        "first/unknown",
                                        "first",
                                        "second",
                                        "."};
    for (int i = 0; i < 6; i++)
        (void)remove(in_directory(names[i]));
    CHECK_EQ(rmdir(directory), 0);
}

/* Runs "program", with that as the PATH; NULL: without one. */
static int run_with_path(const char *path, const char *where)
{
    struct job job = {0};
    const char *const args[] = {"program", "args", "found", NULL};
    char *before = strdup(getenv("PATH"));
    if (path)
        setenv("PATH", path, 1);
    else
        unsetenv("PATH");
    int err = start(&job, (struct ed_spawn){.args = args, .directory = where});
    setenv("PATH", before, 1);
    free(before);
    CHECK_EQ(ed_loop_run(&loop), 0);
    if (!err)
        CHECK_STR(job.text, "<found>");
    CHECK_EQ(job.exits, !err);
    return err;
}

static void it_is_looked_for_in_PATH(void)
{
    struct job job = {0};
    char path[3 * PATH_MAX];
    const char *const args[] = {"sh", "-c", "exit 0", NULL};
    begin();
    run(&job, (struct ed_spawn){.args = args});

    NEED(make_directory());
    snprintf(path, sizeof path, "/nowhere:%s/first:%s/second", directory,
             directory);
    CHECK_EQ(run_with_path(path, NULL), -ENOENT);
    CHECK_EQ(run_with_path(NULL, NULL), -ENOENT);
    CHECK_EQ(run_with_path("", NULL), -ENOENT);

    CHECK_EQ(symlink(self, in_directory("second/program")), 0);
    CHECK_EQ(run_with_path(path, NULL), 0);
    CHECK_EQ(run_with_path("", in_directory("second")), 0);
    CHECK_EQ(run_with_path("/nowhere::/nowhere", in_directory("second")), 0);
    CHECK_EQ(run_with_path("second", directory), 0);

    // One that may not be executed is passed over, but not forgotten.
    make_file("first/program", "", 0644);
    CHECK_EQ(run_with_path(path, NULL), 0);
    CHECK_EQ(unlink(in_directory("second/program")), 0);
    CHECK_EQ(run_with_path(path, NULL), -EACCES);
    remove_directory();
    end();
}

static void fails_with(struct ed_spawn spawn, int err)
{
    struct job job = {0};
    int before = count_descriptors();
    const struct ed_spawn_fd fds[] = {
        {.kind = ED_FD_READ, .stream = &job.input},
        {.kind = ED_FD_BOTH, .stream = &job.output},
    };
    if (!spawn.fds) {
        spawn.fds = fds;
        spawn.fd_count = 2;
    }
    CHECK_EQ(ed_process_spawn(&loop, &job.process, &spawn, on_exit_note), err);
    CHECK(!ed_process_is_active(&job.process));
    CHECK(!ed_stream_is_open(&job.input));
    CHECK(!ed_stream_is_open(&job.output));
    CHECK_EQ(count_descriptors(), before);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(job.exits, 0);
    CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_EQ(errno, ECHILD);
}

static void what_cannot_be_executed_is_an_error_at_once(void)
{
    begin();
    NEED(make_directory());
    make_file("first/plain", "exit 0\n", 0644);
    const char *const args[] = {"it", NULL};
    const char *const empty[] = {"", NULL};
    fails_with((struct ed_spawn){.args = args, .file = "/nowhere/it"}, -ENOENT);
    fails_with((struct ed_spawn){.args = args, .file = "eddy-knows-no-such"},
               -ENOENT);
    fails_with((struct ed_spawn){.args = empty}, -ENOENT);
    fails_with(
        (struct ed_spawn){.args = args, .file = in_directory("first/plain")},
        -EACCES);
    fails_with((struct ed_spawn){.args = args, .file = directory}, -EACCES);
    fails_with(
        (struct ed_spawn){.args = args, .file = in_directory("first/plain/it")},
        -ENOTDIR);
    remove_directory();
    end();
}

/* Which cannot go on when execve() fails, unless it has foreseen it. */
static bool is_in_valgrind(void)
{
    const char *preloaded = getenv("LD_PRELOAD");
    return preloaded && strstr(preloaded, "vgpreload");
}

static void what_the_system_finds_out_late_is_an_error_too(void)
{
    if (is_in_valgrind())
        SKIP("valgrind cannot do it");
    begin();
    NEED(make_directory());
    make_file("first/unknown", "exit 0\n", 0755);
    const char *const args[] = {"it", NULL};
    fails_with(
        (struct ed_spawn){.args = args, .file = in_directory("first/unknown")},
        -ENOEXEC);
    remove_directory();

    enum { LONG = 4 * 1024 * 1024 };
    char *word = malloc(LONG);
    NEED(word);
    memset(word, 'x', LONG - 1);
    word[LONG - 1] = '\0';
    fails_with((struct ed_spawn){.args = ARGS("args", word)}, -E2BIG);
    free(word);
    end();
}

static void a_directory_that_cannot_be_entered_is_an_error(void)
{
    begin();
    fails_with(
        (struct ed_spawn){.args = ARGS("exit", "0"), .directory = "/nowhere"},
        -ENOENT);
    fails_with(
        (struct ed_spawn){.args = ARGS("exit", "0"), .directory = "/dev/null"},
        -ENOTDIR);
    end();
}

static void a_descriptor_that_is_not_open_is_an_error(void)
{
    begin();
    const struct ed_spawn_fd negative = {.kind = ED_FD_SAME, .fd = -1};
    const struct ed_spawn_fd closed = {.kind = ED_FD_SAME, .fd = 999};
    const struct ed_spawn_fd in_place[1000] = {
        [999] = {.kind = ED_FD_SAME, .fd = 999}};
    fails_with((struct ed_spawn){.args = ARGS("exit", "0"),
                                 .fds = &negative,
                                 .fd_count = 1},
               -EBADF);
    // The next that is opened gets this number.
    int next = dup(1);
    close(next);
    const struct ed_spawn_fd early[] = {{.kind = ED_FD_NULL},
                                        {.kind = ED_FD_SAME, .fd = next}};
    fails_with((struct ed_spawn){.args = ARGS("exit", "0"),
                                 .fds = early,
                                 .fd_count = 2},
               -EBADF);
    fails_with((struct ed_spawn){.args = ARGS("exit", "0"),
                                 .fds = &closed,
                                 .fd_count = 1},
               -EBADF);
    fails_with((struct ed_spawn){.args = ARGS("exit", "0"),
                                 .fds = in_place,
                                 .fd_count = 1000},
               -EBADF);
    end();
}

/* ---- descriptors --------------------------------------------------------- */

static void what_is_missing_of_the_first_three_is_null(void)
{
    struct job job = {0};
    char want[256];
    struct stat null;
    begin();
    CHECK_EQ(stat("/dev/null", &null), 0);
    long long dev = (long long)null.st_dev, ino = (long long)null.st_ino;
    const struct ed_spawn_fd fds[] = {
        {.kind = ED_FD_NULL},
        {.kind = ED_FD_NULL},
        {.kind = ED_FD_NULL},
        {.kind = ED_FD_WRITTEN, .stream = &job.output},
    };
    snprintf(want, sizeof want, "0:%lld.%lld 1:%lld.%lld 2:%lld.%lld 4:none ",
             dev, ino, dev, ino, dev, ino);
    CHECK_STR(run(&job, (struct ed_spawn){.args = ARGS("files", "3", "0", "1",
                                                       "2", "4"),
                                          .fds = fds,
                                          .fd_count = 4}),
              want);
    snprintf(want, sizeof want, "0:%lld.%lld 2:%lld.%lld ", dev, ino, dev, ino);
    const struct ed_spawn_fd two[] = {
        {.kind = ED_FD_NULL},
        {.kind = ED_FD_WRITTEN, .stream = &job.output},
    };
    CHECK_STR(run(&job, (struct ed_spawn){.args = ARGS("files", "1", "0", "2"),
                                          .fds = two,
                                          .fd_count = 2}),
              want);
    end();
}

static bool is_enough;

/* Opens descriptors for all to inherit, as badly written libraries do. */
static void *open_strays(void *arg)
{
    (void)arg;
    while (!__atomic_load_n(&is_enough, __ATOMIC_ACQUIRE)) {
        int fds[2];
        if (pipe(fds) == 0) {
            close(fds[0]);
            close(fds[1]);
        }
    }
    return NULL;
}

static void a_child_gets_no_descriptor_that_it_was_not_given(void)
{
    enum { STRAYS = 100, TIMES = 30 };
    struct job job = {0};
    pthread_t thread;
    int strays[STRAYS], pair[2];
    begin();
    for (int i = 0; i < STRAYS; i++)
        strays[i] = open("/dev/null", O_RDONLY);
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK_EQ(dup2(pair[1], MOST_FDS - 1), MOST_FDS - 1);
    is_enough = false;
    NEED(pthread_create(&thread, NULL, open_strays, NULL) == 0);
    for (int i = 0; i < TIMES; i++) {
        const struct ed_spawn_fd fds[] = {
            {.kind = ED_FD_READ, .stream = &job.input},
            {.kind = ED_FD_WRITTEN, .stream = &job.output},
            {.kind = ED_FD_SAME, .fd = 2},
            {.kind = ED_FD_SAME, .fd = strays[50]},
            {.kind = ED_FD_NULL},
            {.kind = ED_FD_SAME, .fd = pair[0]},
        };
        CHECK_EQ(start(&job, (struct ed_spawn){.args = ARGS("descriptors"),
                                               .fds = fds,
                                               .fd_count = 6}),
                 0);
        ed_stream_close(&job.input);
        CHECK_EQ(ed_loop_run(&loop), 0);
        CHECK_STR(job.text, "0 1 2 3 5 ");
    }
    __atomic_store_n(&is_enough, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    for (int i = 0; i < STRAYS; i++)
        close(strays[i]);
    close(pair[0]);
    close(pair[1]);
    close(MOST_FDS - 1);
    end();
}

/* A file that is no other. */
static int open_file(void)
{
    char name[] = "/tmp/eddy-process-XXXXXX";
    int fd = mkstemp(name);
    unlink(name);
    return fd;
}

static void describe_file(char *text, size_t size, int as, int fd)
{
    struct stat stat;
    CHECK_EQ(fstat(fd, &stat), 0);
    size_t length = strlen(text);
    snprintf(text + length, size - length, "%d:%lld.%lld ", as,
             (long long)stat.st_dev, (long long)stat.st_ino);
}

static void descriptors_may_change_places(void)
{
    struct job job = {0};
    char want[256] = "", a[16], b[16], out[16];
    begin();
    int files[] = {open_file(), open_file()};
    NEED(files[0] > 2 && files[1] > files[0] && files[1] < 60);
    struct ed_spawn_fd fds[64] = {
        [0] = {.kind = ED_FD_SAME, .fd = 1},
        [1] = {.kind = ED_FD_SAME, .fd = 0},
        [2] = {.kind = ED_FD_SAME, .fd = 2},
        [60] = {.kind = ED_FD_SAME, .fd = files[1]},
        [61] = {.kind = ED_FD_SAME, .fd = 0},
        [62] = {.kind = ED_FD_WRITTEN, .stream = &job.output},
    };
    fds[files[0]] = (struct ed_spawn_fd){.kind = ED_FD_SAME, .fd = files[1]};
    fds[files[1]] = (struct ed_spawn_fd){.kind = ED_FD_SAME, .fd = files[0]};
    snprintf(a, sizeof a, "%d", files[0]);
    snprintf(b, sizeof b, "%d", files[1]);
    snprintf(out, sizeof out, "%d", 62);
    describe_file(want, sizeof want, 0, 1);
    describe_file(want, sizeof want, 1, 0);
    describe_file(want, sizeof want, 2, 2);
    describe_file(want, sizeof want, files[0], files[1]);
    describe_file(want, sizeof want, files[1], files[0]);
    describe_file(want, sizeof want, 60, files[1]);
    describe_file(want, sizeof want, 61, 0);
    CHECK_STR(run(&job, (struct ed_spawn){.args = ARGS("files", out, "0", "1",
                                                       "2", a, b, "60", "61"),
                                          .fds = fds,
                                          .fd_count = 63}),
              want);
    close(files[0]);
    close(files[1]);
    end();
}

static void a_descriptor_may_keep_its_place(void)
{
    struct job job = {0};
    char want[64] = "", number[16];
    begin();
    int file = open_file();
    NEED(file > 2 && file < 60);
    CHECK_EQ(fcntl(file, F_SETFD, FD_CLOEXEC), 0);
    struct ed_spawn_fd fds[64] = {
        [1] = {.kind = ED_FD_WRITTEN, .stream = &job.output},
    };
    fds[file] = (struct ed_spawn_fd){.kind = ED_FD_SAME, .fd = file};
    snprintf(number, sizeof number, "%d", file);
    describe_file(want, sizeof want, file, file);
    CHECK_STR(run(&job, (struct ed_spawn){.args = ARGS("files", "1", number),
                                          .fds = fds,
                                          .fd_count = (size_t)file + 1}),
              want);
    CHECK_EQ(fcntl(file, F_GETFD), FD_CLOEXEC);
    close(file);
    end();
}

static void the_ends_that_a_child_gets_block(void)
{
    struct job job = {0};
    struct ed_stream socket = {0};
    begin();
    const struct ed_spawn_fd fds[] = {
        {.kind = ED_FD_READ, .stream = &job.input},
        {.kind = ED_FD_BOTH, .stream = &socket},
        {.kind = ED_FD_WRITTEN, .stream = &job.output},
    };
    CHECK_EQ(start(&job, (struct ed_spawn){.args = ARGS("flags"),
                                           .fds = fds,
                                           .fd_count = 3}),
             0);
    CHECK(fcntl(job.input.fd, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(job.output.fd, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(socket.fd, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(job.input.fd, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(job.output.fd, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(socket.fd, F_GETFD) & FD_CLOEXEC);
    ed_stream_close(&job.input);
    ed_stream_close(&socket);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_STR(job.text, "0:blocking 1:blocking 2:blocking ");
    end();
}

enum { MUCH = 1000000 };

static void output_larger_than_a_pipe_arrives_whole(void)
{
    struct job job = {0};
    begin();
    run(&job, (struct ed_spawn){.args = ARGS("pour", "1000000")});
    CHECK_EQ(job.size, MUCH);
    CHECK_EQ(job.end, 0);
    end();
}

static void input_larger_than_a_pipe_arrives_whole(void)
{
    struct job job = {0};
    begin();
    const struct ed_spawn_fd fds[] = {
        {.kind = ED_FD_READ, .stream = &job.input},
        {.kind = ED_FD_WRITTEN, .stream = &job.output},
    };
    CHECK_EQ(start(&job, (struct ed_spawn){.args = ARGS("cat"),
                                           .fds = fds,
                                           .fd_count = 2}),
             0);
    char *bytes = calloc(1, MUCH);
    NEED(bytes);
    CHECK_EQ(ed_stream_write(&job.input, bytes, MUCH), 0);
    ed_stream_finish(&job.input, 0, ed_stream_close);
    free(bytes);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(job.size, MUCH);
    CHECK_EQ(job.exits, 1);
    CHECK_EQ(job.process.status, 0);
    end();
}

static void a_socket_goes_both_ways(void)
{
    struct job job = {0};
    begin();
    const struct ed_spawn_fd fds[] = {
        {.kind = ED_FD_BOTH, .stream = &job.output},
    };
    const char *const args[] = {"/bin/sh", "-c", "exec \"$0\" cat <&0 >&0",
                                self, NULL};
    CHECK_EQ(
        start(&job, (struct ed_spawn){.args = args, .fds = fds, .fd_count = 1}),
        0);
    char *bytes = calloc(1, MUCH);
    NEED(bytes);
    CHECK_EQ(ed_stream_write(&job.output, bytes, MUCH), 0);
    CHECK_EQ(ed_stream_end(&job.output), 0);
    free(bytes);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(job.size, MUCH);
    CHECK_EQ(job.end, 0);
    CHECK_EQ(job.exits, 1);
    CHECK_EQ(job.process.status, 0);
    end();
}

/* ---- kill, stop, ref ----------------------------------------------------- */

static void a_signal_can_be_sent_until_its_end_is_told(void)
{
    struct job job = {0};
    begin();
    CHECK_EQ(ed_process_kill(&job.process, SIGTERM), -ESRCH);
    CHECK_EQ(start_living(&job), 0);
    CHECK_EQ(ed_process_kill(&job.process, 0), 0);
    CHECK_EQ(ed_process_kill(&job.process, 12345), -EINVAL);
    CHECK_EQ(ed_process_kill(&job.process, SIGKILL), 0);

    // Wait for its end, but let it wait to be reaped.
    siginfo_t info;
    CHECK_EQ(waitid(P_PID, (id_t)job.process.pid, &info, WEXITED | WNOWAIT), 0);
    CHECK_EQ(ed_process_kill(&job.process, SIGTERM), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(job.process.signal, SIGKILL);
    CHECK_EQ(ed_process_kill(&job.process, SIGTERM), -ESRCH);
    ed_stream_close(&job.input);
    end();
}

static void one_that_is_stopped_goes_on_and_leaves_no_zombie(void)
{
    struct job job = {0};
    begin();
    CHECK_EQ(start_living(&job), 0);
    pid_t pid = job.process.pid;
    ed_process_stop(&job.process);
    CHECK(!ed_process_is_active(&job.process));
    CHECK_EQ(ed_process_kill(&job.process, SIGKILL), -ESRCH);
    ed_process_stop(&job.process);
    CHECK_EQ(kill(pid, 0), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK(is_child(pid));

    ed_stream_close(&job.input);
    run_until_reaped(pid);
    CHECK_EQ(job.exits, 0);
    end();
}

static void one_that_has_been_stopped_may_be_freed_or_started_anew(void)
{
    struct job job = {0};
    struct job *other = calloc(1, sizeof *other);
    NEED(other);
    begin();
    CHECK_EQ(start(other, (struct ed_spawn){.args = ARGS("exit", "0")}), 0);
    CHECK_EQ(start(&job, (struct ed_spawn){.args = ARGS("exit", "1")}), 0);
    pid_t first = other->process.pid, second = job.process.pid;
    ed_process_stop(&other->process);
    ed_stream_close(&other->output);
    free(other);
    ed_process_stop(&job.process);
    ed_stream_close(&job.output);
    CHECK_EQ(start(&job, (struct ed_spawn){.args = ARGS("exit", "2")}), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(job.exits, 1);
    CHECK_EQ(job.process.status, 2);
    run_until_reaped(first);
    run_until_reaped(second);
    end();
}

static void a_loop_may_end_before_a_child_that_is_stopped(void)
{
    struct job job = {0};
    begin();
    CHECK_EQ(start_living(&job), 0);
    pid_t pid = job.process.pid;
    ed_process_stop(&job.process);
    ed_stream_close(&job.input);
    ed_loop_destroy(&loop);
    CHECK_EQ(count_descriptors(), descriptors_before);
    // Unless it was so quick that the loop did it.
    CHECK(waitpid(pid, NULL, 0) == pid || errno == ECHILD);
}

static void only_while_it_is_referred_to_it_keeps_the_loop_alive(void)
{
    struct job job = {0};
    begin();
    CHECK_EQ(start_living(&job), 0);
    CHECK(ed_loop_is_alive(&loop));
    ed_process_unref(&job.process);
    ed_process_unref(&job.process);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(job.exits, 0);

    ed_process_ref(&job.process);
    CHECK(ed_loop_is_alive(&loop));
    ed_stream_close(&job.input);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(job.exits, 1);

    // Also if that was said before.
    ed_process_unref(&job.process);
    CHECK_EQ(start_living(&job), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK(ed_process_is_active(&job.process));
    ed_stream_close(&job.input);
    run_until_reaped(job.process.pid);
    CHECK_EQ(job.exits, 1);
    end();
}

/* ---- in callbacks -------------------------------------------------------- */

static void free_it(struct ed_process *process)
{
    ed_stream_close(&job_of(process)->output);
    free(job_of(process));
}

static void it_may_be_freed_by_its_callback(void)
{
    begin();
    for (int i = 0; i < 3; i++) {
        struct job *job = calloc(1, sizeof *job);
        NEED(job);
        CHECK_EQ(ed_process_spawn(&loop, &job->process,
                                  &(struct ed_spawn){.args = ARGS("exit", "0")},
                                  free_it),
                 0);
    }
    CHECK_EQ(ed_loop_run(&loop), 0);
    end();
}

static void start_again(struct ed_process *process)
{
    struct job *job = job_of(process);
    ed_process_stop(process);
    if (++job->exits == 5)
        return;
    CHECK_EQ(ed_process_spawn(&loop, process,
                              &(struct ed_spawn){.args = ARGS("exit", "3")},
                              start_again),
             0);
}

static void it_may_be_started_anew_by_its_callback(void)
{
    struct job job = {0};
    begin();
    start_again(&job.process);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(job.exits, 5);
    CHECK_EQ(job.process.status, 3);
    end();
}

static struct job pair[2];

static void stop_the_other(struct ed_process *process)
{
    struct job *other = job_of(process) == pair ? &pair[1] : pair;
    job_of(process)->exits++;
    ed_process_stop(&other->process);
}

static void one_may_be_stopped_by_the_callback_of_another(void)
{
    begin();
    for (int i = 0; i < 2; i++) {
        pair[i] = (struct job){0};
        CHECK_EQ(ed_process_spawn(&loop, &pair[i].process,
                                  &(struct ed_spawn){.args = ARGS("exit", "0")},
                                  stop_the_other),
                 0);
    }
    for (int i = 0; i < 2; i++) {
        siginfo_t info;
        CHECK_EQ(
            waitid(P_PID, (id_t)pair[i].process.pid, &info, WEXITED | WNOWAIT),
            0);
    }
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(pair[0].exits + pair[1].exits, 1);
    run_until_reaped(pair[0].process.pid);
    run_until_reaped(pair[1].process.pid);
    end();
}

struct telling {
    struct ed_trace trace;
    const void *subject;
    ed_trace_callback_fn *callback;
    int depth;
    int exits;
};

static void tell(struct ed_trace *trace, const struct ed_trace_event *event)
{
    struct telling *telling = ED_CONTAINER_OF(trace, struct telling, trace);
    telling->depth += event->kind == ED_TRACE_BEGIN;
    telling->depth -= event->kind == ED_TRACE_END;
    if (event->kind == ED_TRACE_BEGIN && strcmp(event->name, "exit") == 0) {
        telling->exits++;
        telling->subject = event->subject;
        telling->callback = event->callback;
    }
}

static void the_trace_is_told_of_its_end(void)
{
    struct job job = {0};
    struct telling telling = {.trace.tell = tell};
    begin();
    loop.trace = &telling.trace;
    run(&job, (struct ed_spawn){.args = ARGS("exit", "0")});
    CHECK_EQ(telling.exits, 1);
    CHECK(telling.subject == &job.process);
    CHECK(telling.callback == (ed_trace_callback_fn *)on_exit_note);
    CHECK_EQ(telling.depth, 0);
    end();
}

/* ---- several loops ------------------------------------------------------- */

struct worker {
    pthread_t thread;
    struct ed_loop loop;
    struct ed_process process;
    int left;
    int good;
};

static void work_on(struct ed_process *process)
{
    struct worker *worker = ED_CONTAINER_OF(process, struct worker, process);
    worker->good += process->status == 5;
    if (worker->left-- > 0 &&
        ed_process_spawn(&worker->loop, process,
                         &(struct ed_spawn){.args = ARGS("exit", "5")},
                         work_on))
        worker->left = -1;
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    if (ed_loop_init(&worker->loop))
        return NULL;
    work_on(&worker->process);
    ed_loop_run(&worker->loop);
    ed_loop_destroy(&worker->loop);
    return NULL;
}

static void loops_in_several_threads_start_processes_at_once(void)
{
    enum { WORKERS = 4, EACH = 10 };
    static struct worker workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.left = EACH};
        NEED(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(workers[i].thread, NULL);
        CHECK_EQ(workers[i].good, EACH);
    }
}

static int play(char **args)
{
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(args[0], roles[i].name) == 0)
            return roles[i].play(args + 1);
    return -1;
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        TEST(the_exit_status_is_told),
        TEST(the_signal_that_ended_it_is_told),
        TEST(a_hundred_end_at_once),
        TEST(who_has_waited_for_it_instead_has_its_status),
        TEST(its_end_is_told_even_if_SIGCHLD_is_ignored),
        TEST(other_children_are_left_alone),
        TEST(its_output_may_come_after_its_end),
        TEST(arguments_arrive_as_given),
        TEST(the_environment_is_the_one_given),
        TEST(without_one_the_environment_is_that_of_here),
        TEST(it_works_in_the_directory_given),
        TEST(all_signals_are_unblocked_and_at_their_default),
        TEST(one_that_is_detached_leads_a_session),
        TEST(root_can_run_it_as_somebody_else),
        TEST(anybody_can_run_it_as_oneself),
        TEST(it_is_looked_for_in_PATH),
        TEST(what_cannot_be_executed_is_an_error_at_once),
        TEST(what_the_system_finds_out_late_is_an_error_too),
        TEST(a_directory_that_cannot_be_entered_is_an_error),
        TEST(a_descriptor_that_is_not_open_is_an_error),
        TEST(what_is_missing_of_the_first_three_is_null),
        TEST(a_child_gets_no_descriptor_that_it_was_not_given),
        TEST(descriptors_may_change_places),
        TEST(a_descriptor_may_keep_its_place),
        TEST(the_ends_that_a_child_gets_block),
        TEST(output_larger_than_a_pipe_arrives_whole),
        TEST(input_larger_than_a_pipe_arrives_whole),
        TEST(a_socket_goes_both_ways),
        TEST(a_signal_can_be_sent_until_its_end_is_told),
        TEST(one_that_is_stopped_goes_on_and_leaves_no_zombie),
        TEST(one_that_has_been_stopped_may_be_freed_or_started_anew),
        TEST(a_loop_may_end_before_a_child_that_is_stopped),
        TEST(only_while_it_is_referred_to_it_keeps_the_loop_alive),
        TEST(it_may_be_freed_by_its_callback),
        TEST(it_may_be_started_anew_by_its_callback),
        TEST(one_may_be_stopped_by_the_callback_of_another),
        TEST(the_trace_is_told_of_its_end),
        TEST(loops_in_several_threads_start_processes_at_once),
    };

    int status = argc > 1 ? play(argv + 1) : -1;
    if (status >= 0)
        return status;
    // Where the loop over all numbers of descriptors has to be gone through,
    // it need not be a long one.
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur > 2 * MOST_FDS)
        limit.rlim_cur = 2 * MOST_FDS;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (!realpath(argv[0], self))
        return 99;
    return tap_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
