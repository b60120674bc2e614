#include "loop/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

#include "loop/signal.h"

#include "test/gate.h"
#include "test/tap.h"

static const int ending[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL,
                             SIGTERM, SIGHUP,  SIGINT, SIGQUIT};
enum { ENDING = sizeof ending / sizeof *ending };

/* A pseudo-terminal: what emulates it, and what the program has. */
static int emulator, terminal;
static struct termios before;

static bool begin(void)
{
    emulator = posix_openpt(O_RDWR | O_NOCTTY);
    terminal = -1;
    if (emulator < 0 || grantpt(emulator) || unlockpt(emulator))
        return false;
    terminal = open(ptsname(emulator), O_RDWR | O_NOCTTY);
    return terminal >= 0 && tcgetattr(terminal, &before) == 0;
}

static void end(void)
{
    close(terminal);
    close(emulator);
}

static bool is_same_mode(const struct termios *a, const struct termios *b)
{
    return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag &&
           a->c_cflag == b->c_cflag && a->c_lflag == b->c_lflag &&
           memcmp(a->c_cc, b->c_cc, sizeof a->c_cc) == 0 &&
           cfgetispeed(a) == cfgetispeed(b) && cfgetospeed(a) == cfgetospeed(b);
}

static bool is_as_before(void)
{
    struct termios now;
    return tcgetattr(terminal, &now) == 0 && is_same_mode(&now, &before);
}

static bool is_raw(void)
{
    struct termios now;
    return tcgetattr(terminal, &now) == 0 &&
           !(now.c_lflag & (ECHO | ICANON | ISIG)) && !(now.c_iflag & ICRNL) &&
           now.c_oflag == before.c_oflag;
}

static struct sigaction disposition(int number)
{
    struct sigaction now;
    if (sigaction(number, NULL, &now))
        abort();
    return now;
}

/* The sanitizers have handlers of their own for some. */
static void by_default(int number)
{
    if (signal(number, SIG_DFL) == SIG_ERR)
        abort();
}

static int count_open(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Runs fn in a child and returns its wait status. */
static int in_child(int (*fn)(void))
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit no_core = {0};
        setrlimit(RLIMIT_CORE, &no_core);
        alarm(60);
        int result = fn();
        fflush(stdout);
        _exit(tap_failures ? 99 : result);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    return status;
}

static void check_child(int (*fn)(void))
{
    int status = in_child(fn);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
}

/* ---- opening ------------------------------------------------------------- */

static void a_terminal_that_is_opened_anew_is_the_same_one(void)
{
    NEED(begin());
    int fd = ed_terminal_open(terminal);
    NEED(fd >= 0);
    CHECK(fd != terminal);
    CHECK_EQ(write(fd, "x", 1), 1);
    char byte = 0;
    CHECK_EQ(read(emulator, &byte, 1), 1);
    CHECK_EQ(byte, 'x');
    close(fd);
    end();
}

static void
one_that_is_opened_anew_does_not_block_and_the_first_still_does(void)
{
    char byte;
    NEED(begin());
    int fd = ed_terminal_open(terminal);
    NEED(fd >= 0);
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK(!(fcntl(terminal, F_GETFL) & O_NONBLOCK));
    CHECK_EQ(read(fd, &byte, 1), -1);
    CHECK_EQ(errno, EAGAIN);
    close(fd);
    end();
}

static void one_that_is_read_only_is_opened_anew_for_both(void)
{
    NEED(begin());
    int read_only = open(ptsname(emulator), O_RDONLY | O_NOCTTY);
    NEED(read_only >= 0);
    int fd = ed_terminal_open(read_only);
    NEED(fd >= 0);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
    close(fd);
    close(read_only);
    end();
}

static int open_without_permission(void)
{
    if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
        return 0;
    struct stat stat;
    if (fstat(terminal, &stat) || stat.st_uid == geteuid())
        return 0;
    CHECK_EQ(ed_terminal_open(terminal), -EACCES);
    return 0;
}

static void that_it_may_not_be_opened_is_told(void)
{
    NEED(begin());
    if (geteuid() == 0)
        NEED(fchmod(terminal, 0600) == 0);
    check_child(open_without_permission);
    end();
}

static int open_as_leader(void)
{
    CHECK(setsid() >= 0);
    int fd = ed_terminal_open(terminal);
    CHECK(fd >= 0);
    CHECK_EQ(open("/dev/tty", O_RDWR), -1);
    return 0;
}

static void to_open_one_does_not_make_it_the_controlling_terminal(void)
{
    NEED(begin());
    check_child(open_as_leader);
    end();
}

static void check_refused(int fd, int err)
{
    int columns = -7, rows = -7;
    CHECK_EQ(ed_terminal_open(fd), err);
    CHECK_EQ(ed_terminal_size(fd, &columns, &rows), err);
    CHECK_EQ(columns, -7);
    CHECK_EQ(rows, -7);
    CHECK_EQ(ed_terminal_raw(fd), err);
}

static void what_is_no_terminal_is_refused(void)
{
    int fds[2], count = count_open();
    NEED(pipe(fds) == 0);
    check_refused(fds[0], -ENOTTY);
    close(fds[0]);
    close(fds[1]);
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    check_refused(fds[0], -ENOTTY);
    close(fds[0]);
    close(fds[1]);
    int null = open("/dev/null", O_RDWR);
    check_refused(null, -ENOTTY);
    close(null);
    check_refused(null, -EBADF);
    check_refused(-1, -EBADF);
    CHECK_EQ(count_open(), count);
}

static void the_emulators_side_is_not_opened_as_another_pseudo_terminal(void)
{
    NEED(begin());
    CHECK(ed_terminal_open(emulator) < 0);
    end();
}

/* ---- size ---------------------------------------------------------------- */

static void the_size_is_told(void)
{
    int columns = -1, rows = -1;
    NEED(begin());
    struct winsize size = {.ws_col = 132, .ws_row = 43};
    NEED(ioctl(emulator, TIOCSWINSZ, &size) == 0);
    CHECK_EQ(ed_terminal_size(terminal, &columns, &rows), 0);
    CHECK_EQ(columns, 132);
    CHECK_EQ(rows, 43);
    end();
}

static void a_size_that_the_terminal_does_not_know_is_0(void)
{
    int columns = -1, rows = -1;
    NEED(begin());
    struct winsize size = {0};
    NEED(ioctl(emulator, TIOCSWINSZ, &size) == 0);
    CHECK_EQ(ed_terminal_size(terminal, &columns, &rows), 0);
    CHECK_EQ(columns, 0);
    CHECK_EQ(rows, 0);
    end();
}

static struct gate watching;
static int size_told; // columns

/* Makes the terminal that of a session that this process leads. */
static void lead_session(void)
{
    CHECK(setsid() >= 0);
#ifdef TIOCSCTTY
    CHECK_EQ(ioctl(terminal, TIOCSCTTY, 0), 0);
#else
    close(open(ptsname(emulator), O_RDWR));
#endif
}

static void look_at_size(struct ed_signal *signal)
{
    int rows;
    CHECK_EQ(ed_terminal_size(terminal, &size_told, &rows), 0);
    ed_signal_stop(signal);
}

static int watch_size(void)
{
    struct ed_loop loop;
    struct ed_signal signal = {0};
    lead_session();
    CHECK_EQ(ed_loop_init(&loop), 0);
    CHECK_EQ(ed_signal_start(&loop, &signal, SIGWINCH, look_at_size), 0);
    gate_open(&watching);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(size_told, 99);
    ed_loop_destroy(&loop);
    return 0;
}

static void a_change_of_size_is_a_signal(void)
{
    NEED(begin());
    gate_init(&watching);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        int result = watch_size();
        fflush(stdout);
        _exit(tap_failures ? 99 : result);
    }
    gate_pass(&watching);
    struct winsize size = {.ws_col = 99, .ws_row = 33};
    CHECK_EQ(ioctl(emulator, TIOCSWINSZ, &size), 0);
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    gate_destroy(&watching);
    end();
}

/* ---- raw ----------------------------------------------------------------- */

static void raw_mode_is_raw_and_restored_it_is_as_before(void)
{
    NEED(begin());
    int count = count_open();
    CHECK(!is_raw());
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    CHECK(is_raw());
    ed_terminal_restore();
    CHECK(is_as_before());
    CHECK_EQ(count_open(), count);
    ed_terminal_restore();
    CHECK(is_as_before());
    end();
}

static void keys_come_at_once_as_typed_and_without_echo(void)
{
    static const char keys[] = "\3\r\n\32\x7f\xff\4\21\23\26\33x";
    char got[sizeof keys];
    NEED(begin());
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    for (size_t i = 0; i < sizeof keys; i++) {
        CHECK_EQ(write(emulator, &keys[i], 1), 1);
        CHECK_EQ(read(terminal, &got[i], 1), 1);
        CHECK_EQ(got[i], keys[i]);
    }
    // What the screen gets is what is written, not an echo of the keys.
    CHECK_EQ(write(terminal, "a\nb", 3), 3);
    for (ssize_t size = 0, more = 1; size < 4 && more > 0; size += more) {
        more = read(emulator, got + size, 4 - (size_t)size);
        CHECK(more > 0);
    }
    CHECK(memcmp(got, "a\r\nb", 4) == 0);
    ed_terminal_restore();
    end();
}

static void raw_mode_of_a_terminal_in_raw_mode_sets_it_again(void)
{
    NEED(begin());
    int count = count_open();
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    NEED(tcsetattr(terminal, TCSANOW, &before) == 0); // as the shell does
    CHECK(!is_raw());
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    CHECK(is_raw());
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    CHECK_EQ(count_open(), count + 1);
    ed_terminal_restore();
    CHECK(is_as_before());
    CHECK_EQ(count_open(), count);
    end();
}

static void one_terminal_at_a_time_is_in_raw_mode(void)
{
    NEED(begin());
    int first_emulator = emulator, first = terminal;
    NEED(begin());
    CHECK_EQ(ed_terminal_raw(first), 0);
    CHECK_EQ(ed_terminal_raw(terminal), -EBUSY);
    CHECK(is_as_before());
    ed_terminal_restore();
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    CHECK(is_raw());
    ed_terminal_restore();
    CHECK(is_as_before());
    end();
    close(first);
    close(first_emulator);
}

static void it_is_restored_also_when_its_descriptor_is_closed(void)
{
    NEED(begin());
    int fd = ed_terminal_open(terminal);
    NEED(fd >= 0);
    CHECK_EQ(ed_terminal_raw(fd), 0);
    CHECK(is_raw());
    close(fd);
    ed_terminal_restore();
    CHECK(is_as_before());
    end();
}

static void a_terminal_that_is_gone_can_be_restored_and_another_be_raw(void)
{
    int count = count_open();
    NEED(begin());
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    end();
    ed_terminal_restore();
    CHECK_EQ(count_open(), count);
    NEED(begin());
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    CHECK(is_raw());
    ed_terminal_restore();
    CHECK(is_as_before());
    end();
}

static void restore_when_told(int number)
{
    (void)number;
    ed_terminal_restore();
}

static void it_can_be_restored_by_a_signal_handler(void)
{
    struct sigaction action = {.sa_handler = restore_when_told};
    sigemptyset(&action.sa_mask);
    NEED(begin());
    NEED(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    errno = ERANGE;
    raise(SIGUSR1);
    CHECK_EQ(errno, ERANGE);
    CHECK(is_as_before());
    raise(SIGUSR1);
    by_default(SIGUSR1);
    end();
}

static void *restore_in_thread(void *argument)
{
    bool *is_time = argument;
    while (!__atomic_load_n(is_time, __ATOMIC_ACQUIRE))
        ;
    ed_terminal_restore();
    return NULL;
}

static void threads_may_restore_it_at_the_same_time(void)
{
    NEED(begin());
    int count = count_open();
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        bool is_time = false;
        CHECK_EQ(ed_terminal_raw(terminal), 0);
        NEED(pthread_create(&thread, NULL, restore_in_thread, &is_time) == 0);
        __atomic_store_n(&is_time, true, __ATOMIC_RELEASE);
        ed_terminal_restore();
        pthread_join(thread, NULL);
        CHECK(is_as_before());
        CHECK_EQ(count_open(), count);
    }
    end();
}

/* ---- handlers ------------------------------------------------------------ */

static int look_at_handlers(void)
{
    for (int i = 0; i < ENDING; i++)
        by_default(ending[i]);
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    for (int i = 0; i < ENDING; i++) {
        CHECK(disposition(ending[i]).sa_handler != SIG_DFL);
        CHECK(disposition(ending[i]).sa_flags & SA_ONSTACK);
    }
    ed_terminal_restore();
    for (int i = 0; i < ENDING; i++)
        CHECK(disposition(ending[i]).sa_handler == SIG_DFL);
    return 0;
}

static void handlers_are_there_in_raw_mode_only(void)
{
    NEED(begin());
    check_child(look_at_handlers);
    end();
}

static void do_nothing(int number)
{
    (void)number;
}

static int look_at_others(void)
{
    for (int i = 0; i < ENDING; i++)
        signal(ending[i], i % 2 ? SIG_IGN : do_nothing);
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    for (int i = 0; i < ENDING; i++)
        CHECK(disposition(ending[i]).sa_handler ==
              (i % 2 ? SIG_IGN : do_nothing));
    ed_terminal_restore();
    for (int i = 0; i < ENDING; i++)
        CHECK(disposition(ending[i]).sa_handler ==
              (i % 2 ? SIG_IGN : do_nothing));
    return 0;
}

static void signals_that_are_not_at_their_default_are_left_alone(void)
{
    NEED(begin());
    check_child(look_at_others);
    end();
}

static int replace_handlers(void)
{
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    signal(SIGTERM, do_nothing);
    signal(SIGINT, SIG_IGN);
    ed_terminal_restore();
    CHECK(disposition(SIGTERM).sa_handler == do_nothing);
    CHECK(disposition(SIGINT).sa_handler == SIG_IGN);
    return 0;
}

static void handlers_that_were_installed_over_ours_are_left_alone(void)
{
    NEED(begin());
    check_child(replace_handlers);
    end();
}

static void restore_and_stop(struct ed_signal *signal)
{
    CHECK(is_raw());
    ed_terminal_restore();
    ed_signal_stop(signal);
}

static void a_watched_signal_is_left_to_its_watch(void)
{
    struct ed_loop loop;
    struct ed_signal early = {0}, late = {0};
    NEED(begin());
    NEED(ed_loop_init(&loop) == 0);
    // Whichever is first.
    CHECK_EQ(ed_signal_start(&loop, &early, SIGTERM, restore_and_stop), 0);
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    raise(SIGTERM);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK(is_as_before());
    CHECK(disposition(SIGTERM).sa_handler == SIG_DFL);

    CHECK_EQ(ed_terminal_raw(terminal), 0);
    CHECK_EQ(ed_signal_start(&loop, &late, SIGTERM, restore_and_stop), 0);
    raise(SIGTERM);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK(is_as_before());
    by_default(SIGTERM); // the watch has put back our handler
    ed_loop_destroy(&loop);
    end();
}

/* ---- the end of the program ---------------------------------------------- */

static int number_to_raise;
static char *no_access; // memory that may not be read

static int go_raw(void)
{
    for (int i = 0; i < ENDING; i++)
        by_default(ending[i]);
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    CHECK(is_raw());
    return 0;
}

static int raise_in_raw_mode(void)
{
    go_raw();
    raise(number_to_raise);
    return 98;
}

static int kill_in_raw_mode(void)
{
    go_raw();
    kill(getpid(), number_to_raise);
    pause();
    return 98;
}

static void *raise_in_thread(void *argument)
{
    (void)argument;
    raise(number_to_raise);
    return NULL;
}

static int raise_in_other_thread(void)
{
    pthread_t thread;
    go_raw();
    if (pthread_create(&thread, NULL, raise_in_thread, NULL) == 0)
        pthread_join(thread, NULL);
    return 98;
}

static int abort_in_raw_mode(void)
{
    go_raw();
    abort();
}

static int read_where_there_is_nothing(void)
{
    go_raw();
    return *(volatile char *)no_access;
}

static void check_ended_by(int (*fn)(void), int number)
{
    number_to_raise = number;
    int status = in_child(fn);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WIFSIGNALED(status) ? WTERMSIG(status) : 0, number);
    CHECK(is_as_before());
}

static void a_signal_that_ends_the_program_restores_it_and_still_ends_it(void)
{
    NEED(begin());
    for (int i = 0; i < ENDING; i++) {
        check_ended_by(raise_in_raw_mode, ending[i]);
        check_ended_by(kill_in_raw_mode, ending[i]);
        check_ended_by(raise_in_other_thread, ending[i]);
    }
    end();
}

static void so_does_a_fault(void)
{
    NEED(begin());
    no_access = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANON, -1, 0);
    NEED(no_access != MAP_FAILED);
    int status = in_child(read_where_there_is_nothing);
    // Systems differ in which of the two it is.
    CHECK(WIFSIGNALED(status) &&
          (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS));
    CHECK(is_as_before());
    munmap(no_access, 4096);
    end();
}

static void so_does_abort(void)
{
    NEED(begin());
    check_ended_by(abort_in_raw_mode, SIGABRT);
    end();
}

static int watch_after_raw_mode(void)
{
    struct ed_loop loop;
    struct ed_signal signal = {0};
    go_raw();
    CHECK_EQ(ed_loop_init(&loop), 0);
    CHECK_EQ(ed_signal_start(&loop, &signal, SIGTERM, restore_and_stop), 0);
    ed_signal_stop(&signal);
    CHECK(is_raw());
    raise(SIGTERM);
    return 98;
}

static void so_does_one_that_was_watched_for_a_while(void)
{
    NEED(begin());
    check_ended_by(watch_after_raw_mode, SIGTERM);
    end();
}

static int exit_by_atexit(void)
{
    go_raw();
    atexit(ed_terminal_restore);
    tap_is_done = true;
    exit(3);
}

static void it_can_be_restored_at_exit(void)
{
    NEED(begin());
    int status = in_child(exit_by_atexit);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    CHECK(is_as_before());
    end();
}

/* ---- children ------------------------------------------------------------ */

static int restore_in_child(void)
{
    ed_terminal_restore();
    CHECK(is_raw());
    return 0;
}

static int raise_in_child(void)
{
    raise(number_to_raise);
    return 98;
}

static int be_raw_in_child(void)
{
    int emulators = emulator, parents = terminal, count = count_open();
    struct termios parents_before = before;
    CHECK(begin());
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    CHECK(is_raw());
    ed_terminal_restore();
    CHECK(is_as_before());
    end();
    CHECK_EQ(count_open(), count - 1); // without that of the parent's raw mode
    emulator = emulators;
    terminal = parents;
    before = parents_before;
    CHECK(is_raw());
    return 0;
}

static int have_children(void)
{
    go_raw();
    check_child(restore_in_child);
    CHECK(is_raw());
    for (int i = 0; i < ENDING; i++) {
        number_to_raise = ending[i];
        int status = in_child(raise_in_child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == number_to_raise);
        CHECK(is_raw());
    }
    check_child(be_raw_in_child);
    CHECK(is_raw());
    ed_terminal_restore();
    CHECK(is_as_before());
    return 0;
}

static void a_child_leaves_its_parents_terminal_alone(void)
{
    NEED(begin());
    check_child(have_children);
    end();
}

/* ---- the background ------------------------------------------------------ */

static int restore_in_background(void)
{
    lead_session();
    go_raw();
    struct gate ready;
    gate_init(&ready);
    fflush(stdout);
    pid_t other = fork();
    if (other == 0) {
        setpgid(0, 0);
        gate_open(&ready);
        for (;;)
            pause();
    }
    gate_pass(&ready);
    CHECK_EQ(tcsetpgrp(terminal, other), 0);
    CHECK(tcgetpgrp(terminal) != getpgrp());
    ed_terminal_restore(); // without being stopped for it
    CHECK(is_as_before());
    kill(other, SIGKILL);
    CHECK_EQ(waitpid(other, NULL, 0), other);
    gate_destroy(&ready);
    return 0;
}

static void it_can_be_restored_from_the_background(void)
{
    NEED(begin());
    check_child(restore_in_background);
    end();
}

TESTS(TEST(a_terminal_that_is_opened_anew_is_the_same_one),
      TEST(one_that_is_opened_anew_does_not_block_and_the_first_still_does),
      TEST(one_that_is_read_only_is_opened_anew_for_both),
      TEST(that_it_may_not_be_opened_is_told),
      TEST(to_open_one_does_not_make_it_the_controlling_terminal),
      TEST(what_is_no_terminal_is_refused),
      TEST(the_emulators_side_is_not_opened_as_another_pseudo_terminal),
      TEST(the_size_is_told), TEST(a_size_that_the_terminal_does_not_know_is_0),
      TEST(a_change_of_size_is_a_signal),
      TEST(raw_mode_is_raw_and_restored_it_is_as_before),
      TEST(keys_come_at_once_as_typed_and_without_echo),
      TEST(raw_mode_of_a_terminal_in_raw_mode_sets_it_again),
      TEST(one_terminal_at_a_time_is_in_raw_mode),
      TEST(it_is_restored_also_when_its_descriptor_is_closed),
      TEST(a_terminal_that_is_gone_can_be_restored_and_another_be_raw),
      TEST(it_can_be_restored_by_a_signal_handler),
      TEST(threads_may_restore_it_at_the_same_time),
      TEST(handlers_are_there_in_raw_mode_only),
      TEST(signals_that_are_not_at_their_default_are_left_alone),
      TEST(handlers_that_were_installed_over_ours_are_left_alone),
      TEST(a_watched_signal_is_left_to_its_watch),
      TEST(a_signal_that_ends_the_program_restores_it_and_still_ends_it),
      TEST(so_does_a_fault), TEST(so_does_abort),
      TEST(so_does_one_that_was_watched_for_a_while),
      TEST(it_can_be_restored_at_exit),
      TEST(a_child_leaves_its_parents_terminal_alone),
      TEST(it_can_be_restored_from_the_background))
