/*
 * run - keeps a command running
 *
 *     run [-n restarts] [-b back-off-ms] [-g grace-ms] COMMAND [ARGS...]
 *
 *              +------------------ the pause is over -----------------+
 *              v                                                      |
 *     start_command --> on_end, outputs end --> end_of_run --> pause -+
 *              |                                     |
 *           SIGTERM,                                 +--> finish: it went well,
 *           then SIGKILL                                  it failed too often,
 * or it was told to end
 *
 * Nothing here waits: each thing that may happen (the command ends, writes,
 * does not end in time; somebody presses ctrl-C) has a function that is called
 * when it does. When nothing is left that could, ed_loop_run() returns.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/process.h"
#include "loop/signal.h"

static const char usage[] =
    "usage: run [-n RESTARTS] [-b MS] [-g MS] COMMAND [ARGS...]\n"
    "\n"
    "Starts COMMAND and passes on what it writes, each line with its name and\n"
    "pid in front. When it ends with an error it is started again, after a\n"
    "pause that doubles each time up to 10 s. A command that has run for 10 s\n"
    "begins with a clean slate. SIGINT and SIGTERM end it: COMMAND gets\n"
    "SIGTERM, and if that does not help, or if told once more, SIGKILL. The\n"
    "exit status is that of COMMAND, as a shell has it.\n"
    "\n"
    "  -n RESTARTS  give up after so many in a row (default: 5)\n"
    "  -b MS        the first pause, in milliseconds (default: 100)\n"
    "  -g MS        the time from SIGTERM to SIGKILL (default: 5000)\n"
    "  -h           this text\n";

static const uint64_t longest_pause_ns = 10 * ED_S;
static const uint64_t good_run_ns = 10 * ED_S;

/* Of a command that has ended, others may still have the output. */
static const uint64_t late_output_ns = 500 * ED_MS;

/* One of the two that the command writes to. */
struct output {
    struct ed_stream stream;
    FILE *to;
    bool is_within_line;
};

static struct {
    unsigned restarts;
    uint64_t pause_ns;
    uint64_t grace_ns;
    const char *const *command;
} options = {.restarts = 5, .pause_ns = 100 * ED_MS, .grace_ns = 5 * ED_S};

static struct ed_loop loop;
static struct ed_process process;
static struct output outputs[2];
static struct ed_timer late, pause_end, grace_end;
static struct ed_signal interrupt, terminate;

static uint64_t started_ns;
static uint64_t pause_ns; // the next one
static unsigned restarts; // since the last good run
static bool must_end;     // somebody said so
static int status;        // of the command that ended last

static void start_command(void);

/* ---- the end --------------------------------------------------------- */

/* Takes back all that could still happen, and so ends the loop. */
static void finish(void)
{
    for (int i = 0; i < 2; i++)
        ed_stream_close(&outputs[i].stream);
    ed_timer_stop(&late);
    ed_timer_stop(&pause_end);
    ed_timer_stop(&grace_end);
    ed_signal_stop(&interrupt);
    ed_signal_stop(&terminate);
}

static void on_grace_end(struct ed_timer *timer)
{
    (void)timer;
    fprintf(stderr, "run: it does not end, SIGKILL\n");
    ed_process_kill(&process, SIGKILL);
}

static void on_signal(struct ed_signal *signal)
{
    (void)signal;
    if (!ed_process_is_active(&process)) {
        finish();
        return;
    }
    // Whoever asks twice has no patience left.
    ed_process_kill(&process, must_end ? SIGKILL : SIGTERM);
    if (!must_end)
        ed_timer_start(&loop, &grace_end, options.grace_ns, on_grace_end);
    must_end = true;
}

/* ---- from one run to the next ---------------------------------------- */

static void on_pause_end(struct ed_timer *timer)
{
    (void)timer;
    start_command();
}

/* The command has ended, and so has its output. */
static void end_of_run(void)
{
    ed_timer_stop(&late);
    if (status == 0 || must_end) {
        finish();
        return;
    }
    if (ed_loop_now(&loop) - started_ns >= good_run_ns) {
        restarts = 0;
        pause_ns = options.pause_ns;
    }
    if (restarts == options.restarts) {
        fprintf(stderr, "run: %s failed with status %d, giving up\n",
                options.command[0], status);
        finish();
        return;
    }
    restarts++;
    fprintf(stderr, "run: %s failed with status %d, restart %u of %u in %g s\n",
            options.command[0], status, restarts, options.restarts,
            (double)pause_ns / (double)ED_S);
    ed_timer_start(&loop, &pause_end, pause_ns, on_pause_end);
    pause_ns =
        2 * pause_ns < longest_pause_ns ? 2 * pause_ns : longest_pause_ns;
}

static bool is_over(void)
{
    return !ed_process_is_active(&process) &&
           !ed_stream_is_open(&outputs[0].stream) &&
           !ed_stream_is_open(&outputs[1].stream);
}

static void on_late(struct ed_timer *timer)
{
    (void)timer;
    for (int i = 0; i < 2; i++)
        ed_stream_close(&outputs[i].stream);
    end_of_run();
}

static void on_end(struct ed_process *ended)
{
    ed_timer_stop(&grace_end);
    status = ended->signal ? 128 + ended->signal : ended->status;
    if (is_over())
        end_of_run();
    else
        ed_timer_start(&loop, &late, late_output_ns, on_late);
}

/* ---- what the command writes ----------------------------------------- */

static void print_lines(struct output *output, const char *text, size_t size)
{
    while (size > 0) {
        const char *newline = memchr(text, '\n', size);
        size_t length = newline ? (size_t)(newline - text) + 1 : size;
        if (!output->is_within_line)
            fprintf(output->to, "%s[%d] ", options.command[0],
                    (int)process.pid);
        fwrite(text, 1, length, output->to);
        output->is_within_line = !newline;
        text += length;
        size -= length;
    }
    // May have to wait until somebody reads it. That is as it should be: the
    // command then waits, too.
    fflush(output->to);
}

static void on_output(struct ed_stream *stream, char *data, int64_t size)
{
    struct output *output = ED_CONTAINER_OF(stream, struct output, stream);
    if (size > 0) {
        print_lines(output, data, (size_t)size);
        return;
    }
    // A command that ends within a line has its successor begin with a new one.
    if (output->is_within_line)
        fputc('\n', output->to);
    output->is_within_line = false;
    ed_stream_close(stream);
    if (is_over())
        end_of_run();
}

/* ---- the beginning --------------------------------------------------- */

static void start_command(void)
{
    const struct ed_spawn_fd fds[] = {
        {.kind = ED_FD_SAME, .fd = STDIN_FILENO},
        {.kind = ED_FD_WRITTEN, .stream = &outputs[0].stream},
        {.kind = ED_FD_WRITTEN, .stream = &outputs[1].stream},
    };
    const struct ed_spawn spawn = {
        .args = options.command, .fds = fds, .fd_count = 3};

    started_ns = ed_loop_now(&loop);
    int err = ed_process_spawn(&loop, &process, &spawn, on_end);
    if (err) {
        fprintf(stderr, "run: %s: %s\n", options.command[0], strerror(-err));
        status = err == -ENOENT ? 127 : 126;
        // What could not even be started once will not be later.
        must_end |= restarts == 0;
        end_of_run();
        return;
    }
    // Cannot fail but for lack of memory, and then the output ends there.
    for (int i = 0; i < 2; i++)
        if (ed_stream_read_start(&outputs[i].stream, on_output))
            ed_stream_close(&outputs[i].stream);
}

static _Noreturn void refuse(const char *option)
{
    fprintf(stderr, "run: %s\n%s", option, usage);
    exit(2);
}

static unsigned parse_number(const char *text, const char *complaint)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (errno || *text < '0' || *text > '9' || *end || number > 1000000)
        refuse(complaint);
    return (unsigned)number;
}

static void parse_options(int argc, char **argv)
{
    int option;
    // "+": what follows the command is the command's.
    while ((option = getopt(argc, argv, "+n:b:g:h")) != -1) {
        if (option == 'n')
            options.restarts = parse_number(optarg, "-n takes a number");
        else if (option == 'b')
            options.pause_ns =
                parse_number(optarg, "-b takes milliseconds") * ED_MS;
        else if (option == 'g')
            options.grace_ns =
                parse_number(optarg, "-g takes milliseconds") * ED_MS;
        else if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        } else {
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (optind == argc)
        refuse("no COMMAND given");
    options.command = (const char *const *)argv + optind;
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    pause_ns = options.pause_ns;
    outputs[0].to = stdout;
    outputs[1].to = stderr;

    int err = ed_loop_init(&loop);
    if (!err)
        err = ed_signal_start(&loop, &interrupt, SIGINT, on_signal);
    if (!err)
        err = ed_signal_start(&loop, &terminate, SIGTERM, on_signal);
    if (!err) {
        // Signals alone are no reason to go on.
        ed_signal_unref(&interrupt);
        ed_signal_unref(&terminate);
        start_command();
        err = ed_loop_run(&loop);
    }
    if (err) {
        fprintf(stderr, "run: %s\n", strerror(-err));
        return 126;
    }
    ed_loop_destroy(&loop);
    return status;
}
