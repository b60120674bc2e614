/*
 * loop/terminal.c - the terminal's mode, and that it is put back
 *
 * A terminal has one mode for all who use it, and keeps it when the process is
 * gone. So how it was (raw_terminal) is the process's to know. A signal handler
 * must be able to put it back at any moment:
 *
 *     COOKED --> BUSY --> RAW         the rest of raw_terminal is filled in
 *        ^        ^        |          while BUSY, and then the mode changed
 *        |        |        |
 *        +--------+--------+          the mode is put back while still RAW,
 * then the rest is emptied while BUSY
 *
 * Whenever the mode may not be as it was, the state is RAW, and what is needed
 * to put it back is there. Two that put it back at once do the same twice; one
 * of them leaves RAW behind. The descriptor is one of our own, since the
 * caller's may be closed by then.
 *
 * All this is true in the process that owns it. A child has a copy, with which
 * it must leave the parent's terminal alone.
 */
#include "loop/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum raw_state { COOKED, BUSY, RAW };

static struct {
    enum raw_state state;
    pid_t owner;
    int fd;
    dev_t device;
    struct termios before;
} raw_terminal;

static const int ending_signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL,
                                     SIGTERM, SIGHUP,  SIGINT, SIGQUIT};
enum { ENDING_SIGNALS = sizeof ending_signals / sizeof *ending_signals };

/* ---- opening, size ------------------------------------------------------- */

static int check_terminal(int fd)
{
    if (isatty(fd))
        return 0;
    return errno == EBADF ? -EBADF : -ENOTTY; // systems have other words, too
}

/* The side of a pseudo-terminal that emulates one has the name of all. */
static bool is_name_of_all(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash && strcmp(slash, "/ptmx") == 0;
}

static int open_by_name(const char *name, int access)
{
    int fd;
    do
        fd = open(name, access | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

int ed_terminal_open(int fd)
{
    char name[256];
    int err = check_terminal(fd);
    if (err)
        return err;
    err = ttyname_r(fd, name, sizeof name);
    if (err)
        return -err;
    if (is_name_of_all(name))
        return -ENOTTY;

    int opened = open_by_name(name, O_RDWR);
    int flags = opened < 0 ? fcntl(fd, F_GETFL) : -1;
    if (flags < 0 || (flags & O_ACCMODE) == O_RDWR)
        return opened;
    return open_by_name(name, flags & O_ACCMODE);
}

int ed_terminal_size(int fd, int *columns, int *rows)
{
    struct winsize size;
    int err = check_terminal(fd);
    if (err)
        return err;
    if (ioctl(fd, TIOCGWINSZ, &size))
        return -errno;
    *columns = size.ws_col;
    *rows = size.ws_row;
    return 0;
}

/* ---- putting it back ----------------------------------------------------- */

static enum raw_state raw_state(void)
{
    return __atomic_load_n(&raw_terminal.state, __ATOMIC_SEQ_CST);
}

static bool is_ours_and_raw(void)
{
    return raw_state() == RAW && raw_terminal.owner == getpid();
}

/* From the background, too, where SIGTTOU would stop the process. */
static void put_mode_back(void)
{
    sigset_t only, before;
    sigemptyset(&only);
    sigaddset(&only, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &only, &before);
    while (tcsetattr(raw_terminal.fd, TCSANOW, &raw_terminal.before) &&
           errno == EINTR)
        ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/*
 * The signal is raised here and arrives when this returns, for until then all
 * signals wait. So what ends the program is the signal, where it struck: a core
 * dump shows that.
 */
static void on_ending_signal(int number)
{
    int saved = errno;
    if (is_ours_and_raw())
        put_mode_back();
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    sigaction(number, &by_default, NULL);
    raise(number);
    errno = saved;
}

static bool has_handler(int number, void (*handler)(int))
{
    struct sigaction now;
    return sigaction(number, NULL, &now) == 0 && now.sa_handler == handler;
}

static void install_ending_handlers(void)
{
    struct sigaction ours = {.sa_handler = on_ending_signal,
                             .sa_flags = SA_ONSTACK};
    sigfillset(&ours.sa_mask);
    for (int i = 0; i < ENDING_SIGNALS; i++)
        if (has_handler(ending_signals[i], SIG_DFL))
            sigaction(ending_signals[i], &ours, NULL);
}

static void remove_ending_handlers(void)
{
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    for (int i = 0; i < ENDING_SIGNALS; i++)
        if (has_handler(ending_signals[i], on_ending_signal))
            sigaction(ending_signals[i], &by_default, NULL);
}

/* Returns whether it was in the state that it has now left for another. */
static bool change_raw_state(enum raw_state from, enum raw_state into)
{
    return __atomic_compare_exchange_n(&raw_terminal.state, &from, into, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void forget_raw_terminal(void)
{
    close(raw_terminal.fd);
    change_raw_state(BUSY, COOKED);
}

void ed_terminal_restore(void)
{
    int saved = errno;
    if (is_ours_and_raw()) {
        put_mode_back();
        if (change_raw_state(RAW, BUSY)) {
            remove_ending_handlers();
            forget_raw_terminal();
        }
    }
    errno = saved;
}

/* ---- raw ----------------------------------------------------------------- */

/*
 * Bytes as they come, one at a time. Output is left as it is: a line that
 * somebody prints still begins at the left margin.
 */
static struct termios raw_mode(const struct termios *mode)
{
    struct termios raw = *mode;
    raw.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | INPCK | ISTRIP |
                               INLCR | IGNCR | ICRNL | IXON);
    raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
    raw.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
    raw.c_cflag |= CS8;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    return raw;
}

static int set_raw_mode(int fd)
{
    struct termios raw = raw_mode(&raw_terminal.before);
    while (tcsetattr(fd, TCSANOW, &raw))
        if (errno != EINTR)
            return -errno;
    // A signal handler may have put it back meanwhile; that is what counts.
    if (raw_state() != RAW)
        (void)tcsetattr(fd, TCSANOW, &raw_terminal.before);
    return 0;
}

/* What a parent had in raw mode is not ours. */
static void forget_the_parents(void)
{
    pid_t self = getpid();
    if (raw_terminal.owner == self)
        return;
    if (raw_state() == RAW)
        close(raw_terminal.fd);
    __atomic_store_n(&raw_terminal.state, COOKED, __ATOMIC_SEQ_CST);
    raw_terminal.owner = self;
}

/* From COOKED into RAW, with the mode still to be changed. */
static int remember_terminal(int fd, dev_t device)
{
    if (!change_raw_state(COOKED, BUSY))
        return raw_terminal.device == device ? 0 : -EBUSY;

    int err;
    raw_terminal.device = device;
    raw_terminal.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (raw_terminal.fd < 0) {
        err = -errno;
        goto cooked;
    }
    if (tcgetattr(fd, &raw_terminal.before)) {
        err = -errno;
        goto forget;
    }
    install_ending_handlers();
    change_raw_state(BUSY, RAW);
    return 0;

forget:
    forget_raw_terminal();
    return err;
cooked:
    change_raw_state(BUSY, COOKED);
    return err;
}

int ed_terminal_raw(int fd)
{
    struct stat stat;
    int err = check_terminal(fd);
    if (err)
        return err;
    if (fstat(fd, &stat))
        return -errno;

    forget_the_parents();
    bool was_raw = raw_state() == RAW;
    err = remember_terminal(fd, stat.st_rdev);
    if (err)
        return err;
    err = set_raw_mode(fd);
    if (err && !was_raw)
        ed_terminal_restore();
    return err;
}
