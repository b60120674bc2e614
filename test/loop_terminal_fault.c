/*
 * What terminals do when the system says no. The calls below are linked with
 * --wrap (see meson.build), so that each can be made to fail.
 */
#include "loop/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#include "test/tap.h"

/* ---- the wrapped calls --------------------------------------------------- */

enum call {
    ISATTY,
    TTYNAME_R,
    OPEN,
    FCNTL,
    FSTAT,
    IOCTL,
    TCGETATTR,
    TCSETATTR,
    SIGACTION,
    CALLS,
};

static int made[CALLS];       // how often it was called
static int fails_from[CALLS]; // the first of the calls to fail; 0: none
static int fails_to[CALLS];   // the last of them
static int fails_with[CALLS]; // errno

static bool fails(enum call call)
{
    int number = ++made[call];
    if (!fails_from[call] || number < fails_from[call] ||
        number > fails_to[call])
        return false;
    errno = fails_with[call];
    return true;
}

static void forget_calls(void)
{
    for (int i = 0; i < CALLS; i++)
        made[i] = fails_from[i] = fails_to[i] = 0;
}

/* From now on, lets the first, and so many in all, of the calls fail. */
static void let_fail(enum call call, int first, int count, int err)
{
    made[call] = 0;
    fails_from[call] = first;
    fails_to[call] = first + count - 1;
    fails_with[call] = err;
}

static const int for_ever = 1000000000;

int __real_isatty(int fd);
int __wrap_isatty(int fd);
int __wrap_isatty(int fd)
{
    return fails(ISATTY) ? 0 : __real_isatty(fd);
}

int __real_ttyname_r(int fd, char *name, size_t size);
int __wrap_ttyname_r(int fd, char *name, size_t size);
int __wrap_ttyname_r(int fd, char *name, size_t size)
{
    return fails(TTYNAME_R) ? fails_with[TTYNAME_R]
                            : __real_ttyname_r(fd, name, size);
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    return fails(OPEN) ? -1 : __real_open(path, flags, 0);
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    return fails(OPEN) ? -1 : __real_open64(path, flags, 0);
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

int __real_fstat(int fd, struct stat *stat);
int __wrap_fstat(int fd, struct stat *stat);
int __wrap_fstat(int fd, struct stat *stat)
{
    return fails(FSTAT) ? -1 : __real_fstat(fd, stat);
}

int __real_fstat64(int fd, struct stat *stat);
int __wrap_fstat64(int fd, struct stat *stat);
int __wrap_fstat64(int fd, struct stat *stat)
{
    return fails(FSTAT) ? -1 : __real_fstat64(fd, stat);
}

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return fails(IOCTL) ? -1 : __real_ioctl(fd, request, argument);
}

int __real_tcgetattr(int fd, struct termios *mode);
int __wrap_tcgetattr(int fd, struct termios *mode);
int __wrap_tcgetattr(int fd, struct termios *mode)
{
    return fails(TCGETATTR) ? -1 : __real_tcgetattr(fd, mode);
}

static bool restores_first; // a signal handler, just before the mode is set

int __real_tcsetattr(int fd, int when, const struct termios *mode);
int __wrap_tcsetattr(int fd, int when, const struct termios *mode);
int __wrap_tcsetattr(int fd, int when, const struct termios *mode)
{
    if (restores_first) {
        restores_first = false;
        ed_terminal_restore();
    }
    return fails(TCSETATTR) ? -1 : __real_tcsetattr(fd, when, mode);
}

static int closed; // by the library

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    closed++;
    return __real_close(fd);
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

/* ---- helpers ------------------------------------------------------------- */

static int emulator, terminal;
static struct termios before;
static int open_before;

static int count_open(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += __real_fcntl(fd, F_GETFD) >= 0;
    return count;
}

static bool begin(void)
{
    forget_calls();
    emulator = posix_openpt(O_RDWR | O_NOCTTY);
    terminal = -1;
    if (emulator < 0 || grantpt(emulator) || unlockpt(emulator))
        return false;
    terminal = __real_open(ptsname(emulator), O_RDWR | O_NOCTTY);
    open_before = count_open();
    return terminal >= 0 && __real_tcgetattr(terminal, &before) == 0;
}

static void end(void)
{
    CHECK_EQ(count_open(), open_before);
    __real_close(terminal);
    __real_close(emulator);
    forget_calls();
}

static bool is_raw(void)
{
    struct termios now;
    return __real_tcgetattr(terminal, &now) == 0 && !(now.c_lflag & ICANON);
}

static bool is_as_before(void)
{
    struct termios now;
    return __real_tcgetattr(terminal, &now) == 0 &&
           now.c_iflag == before.c_iflag && now.c_lflag == before.c_lflag &&
           now.c_oflag == before.c_oflag && now.c_cflag == before.c_cflag;
}

static bool is_default(int number)
{
    struct sigaction now;
    return __real_sigaction(number, NULL, &now) == 0 &&
           now.sa_handler == SIG_DFL;
}

/* After one that failed, nothing is left, and the next goes well. */
static void check_can_be_raw(void)
{
    forget_calls();
    CHECK_EQ(count_open(), open_before);
    CHECK(is_as_before());
    CHECK(is_default(SIGTERM));
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    CHECK(is_raw());
    CHECK(!is_default(SIGTERM));
    ed_terminal_restore();
    CHECK(is_as_before());
    CHECK(is_default(SIGTERM));
}

/* ---- opening, size ------------------------------------------------------- */

static void what_systems_call_no_terminal_is_enotty(void)
{
    static const int errors[][2] = {{ENOTTY, -ENOTTY},
                                    {EINVAL, -ENOTTY},
                                    {EOPNOTSUPP, -ENOTTY},
                                    {EBADF, -EBADF}};
    int columns, rows;
    NEED(begin());
    for (int i = 0; i < 4; i++) {
        let_fail(ISATTY, 1, for_ever, errors[i][0]);
        CHECK_EQ(ed_terminal_open(terminal), errors[i][1]);
        CHECK_EQ(ed_terminal_size(terminal, &columns, &rows), errors[i][1]);
        CHECK_EQ(ed_terminal_raw(terminal), errors[i][1]);
    }
    check_can_be_raw();
    end();
}

static void a_terminal_without_a_name_is_told(void)
{
    NEED(begin());
    let_fail(TTYNAME_R, 1, 1, ENODEV);
    CHECK_EQ(ed_terminal_open(terminal), -ENODEV);
    CHECK_EQ(made[OPEN], 0);
    end();
}

static void one_that_may_not_be_written_to_is_opened_as_it_is(void)
{
    NEED(begin());
    int read_only = __real_open(ptsname(emulator), O_RDONLY | O_NOCTTY);
    NEED(read_only >= 0);
    let_fail(OPEN, 1, 1, EACCES);
    int fd = ed_terminal_open(read_only);
    NEED(fd >= 0);
    CHECK_EQ(made[OPEN], 2);
    CHECK_EQ(__real_fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    CHECK(__real_fcntl(fd, F_GETFL) & O_NONBLOCK);
    CHECK(__real_fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);

    let_fail(OPEN, 1, 2, EACCES);
    CHECK_EQ(ed_terminal_open(read_only), -EACCES);
    CHECK_EQ(made[OPEN], 2);
    close(read_only);

    let_fail(OPEN, 1, 1, EACCES); // nothing less was asked for
    CHECK_EQ(ed_terminal_open(terminal), -EACCES);
    CHECK_EQ(made[OPEN], 1);
    let_fail(OPEN, 1, 1, EMFILE);
    let_fail(FCNTL, 1, 1, EBADF);
    CHECK_EQ(ed_terminal_open(terminal), -EMFILE);
    end();
}

static void opening_goes_on_when_interrupted(void)
{
    NEED(begin());
    let_fail(OPEN, 1, 3, EINTR);
    int fd = ed_terminal_open(terminal);
    CHECK(fd >= 0);
    CHECK_EQ(made[OPEN], 4);
    close(fd);
    end();
}

static void a_size_that_cannot_be_had_is_told(void)
{
    int columns = -7, rows = -7;
    NEED(begin());
    let_fail(IOCTL, 1, 1, EIO);
    CHECK_EQ(ed_terminal_size(terminal, &columns, &rows), -EIO);
    CHECK_EQ(columns, -7);
    CHECK_EQ(rows, -7);
    end();
}

/* ---- raw ----------------------------------------------------------------- */

static void each_call_that_fails_leaves_the_terminal_as_it_was(void)
{
    static const enum call calls[] = {FSTAT, FCNTL, TCGETATTR, TCSETATTR};
    NEED(begin());
    for (int i = 0; i < 4; i++) {
        let_fail(calls[i], 1, 1, EIO);
        CHECK_EQ(ed_terminal_raw(terminal), -EIO);
        CHECK_EQ(made[calls[i]], calls[i] == TCSETATTR ? 2 : 1);
        check_can_be_raw();
    }
    end();
}

static void raw_mode_that_cannot_be_set_again_can_still_be_restored(void)
{
    NEED(begin());
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    let_fail(TCSETATTR, 1, 1, EIO);
    CHECK_EQ(ed_terminal_raw(terminal), -EIO);
    CHECK(is_raw());
    CHECK(!is_default(SIGTERM));
    ed_terminal_restore();
    check_can_be_raw();
    end();
}

static void the_mode_is_set_also_when_interrupted(void)
{
    NEED(begin());
    let_fail(TCSETATTR, 1, 3, EINTR);
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    CHECK_EQ(made[TCSETATTR], 4);
    CHECK(is_raw());
    let_fail(TCSETATTR, 1, 3, EINTR);
    ed_terminal_restore();
    CHECK_EQ(made[TCSETATTR], 4);
    CHECK(is_as_before());
    end();
}

static void one_that_is_restored_before_it_is_raw_is_not_raw(void)
{
    NEED(begin());
    restores_first = true;
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    CHECK(!restores_first);
    check_can_be_raw();
    end();
}

static void one_that_is_restored_while_it_is_restored_is_restored_once(void)
{
    NEED(begin());
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    closed = 0;
    restores_first = true;
    ed_terminal_restore();
    CHECK(!restores_first);
    CHECK_EQ(closed, 1);
    check_can_be_raw();
    end();
}

static void one_that_cannot_be_restored_is_given_up(void)
{
    NEED(begin());
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    let_fail(TCSETATTR, 1, for_ever, EIO);
    errno = ERANGE;
    ed_terminal_restore();
    CHECK_EQ(errno, ERANGE);
    CHECK(is_raw());
    CHECK(is_default(SIGTERM));
    forget_calls();
    CHECK_EQ(__real_tcsetattr(terminal, TCSANOW, &before), 0);
    check_can_be_raw();
    end();
}

static void raw_mode_does_without_handlers_that_are_refused(void)
{
    NEED(begin());
    let_fail(SIGACTION, 1, for_ever, EPERM);
    CHECK_EQ(ed_terminal_raw(terminal), 0);
    CHECK(is_raw());
    CHECK(is_default(SIGTERM));
    ed_terminal_restore();
    check_can_be_raw();
    end();
}

TESTS(TEST(what_systems_call_no_terminal_is_enotty),
      TEST(a_terminal_without_a_name_is_told),
      TEST(one_that_may_not_be_written_to_is_opened_as_it_is),
      TEST(opening_goes_on_when_interrupted),
      TEST(a_size_that_cannot_be_had_is_told),
      TEST(each_call_that_fails_leaves_the_terminal_as_it_was),
      TEST(raw_mode_that_cannot_be_set_again_can_still_be_restored),
      TEST(the_mode_is_set_also_when_interrupted),
      TEST(one_that_is_restored_before_it_is_raw_is_not_raw),
      TEST(one_that_is_restored_while_it_is_restored_is_restored_once),
      TEST(one_that_cannot_be_restored_is_given_up),
      TEST(raw_mode_does_without_handlers_that_are_refused))
