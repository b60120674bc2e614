/*
 * test/bench/bench.c - runs the measurements and prints the medians
 *
 * Signals that end a program are blocked but while it waits for a measurement,
 * so that none is lost and what a bench has set up is always cleaned up. A
 * measurement, with all the processes it starts, is a process group, to be
 * ended whole.
 */
#include "test/bench/bench.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef BENCH_LIBUV
#include <uv.h>
#endif
#ifdef BENCH_LIBEV
#include <ev.h>
#endif
#ifdef BENCH_LIBEVENT
#include <event2/event.h>
#endif

enum { MOST_RUNS = 99, DEFAULT_RUNS = 5, TIMEOUT_MS = 120 * 1000 };

static const uint64_t warm_up_ns = 50 * 1000 * 1000;
static const uint64_t lap_ns = 300 * 1000 * 1000;

static const struct bench *const benches[] = {
    &bench_timer_start_stop,
    &bench_timer_fire,
    &bench_timer_late,
    &bench_message_burst,
    &bench_message_pingpong,
    &bench_task_burst,
    &bench_task_pingpong,
    &bench_idle,
    &bench_read_4k_1,
    &bench_read_4k_64,
    &bench_read_64k_64,
    &bench_read_1m_8,
    &bench_stat_64,
    &bench_echo_64_1,
    &bench_echo_64_100,
    &bench_echo_64_1000,
    &bench_echo_16k_1,
    &bench_echo_16k_100,
    &bench_echo_16k_1000,
    &bench_connect,
    &bench_connections,
    &bench_udp,
    &bench_loop_init,
    &bench_loop_turn,
    &bench_sizes,
};
enum { BENCHES = sizeof benches / sizeof *benches };

/* What is asked for. */
static char **names; // none: everything
static int name_count;
static int runs = DEFAULT_RUNS;
static const char *only_who; // NULL: everybody

static sigset_t usual_signals; // those blocked when the program began
static volatile sig_atomic_t end_signal;

/* ---- for the measurements ------------------------------------------------ */

void bench_give_up(const char *file, int line, const char *what)
{
    fprintf(stderr, "bench: %s:%d: not so: %s\n", file, line, what);
    _exit(1);
}

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t bench_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t bench_cpu_ns(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

void *bench_memory(size_t count, size_t size)
{
    void *memory = mmap(NULL, count * size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    BENCH_NEED(memory != MAP_FAILED);
    return memory;
}

uint32_t bench_random(uint32_t limit)
{
    static uint64_t state = 88172645463325252;
    state ^= state << 13; // Marsaglia's xorshift
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % limit;
}

uint32_t *bench_shuffled(uint32_t count)
{
    uint32_t *numbers = bench_memory(count, sizeof *numbers);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t other = bench_random(i + 1);
        numbers[i] = numbers[other];
        numbers[other] = i;
    }
    return numbers;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_quantile(double *values, size_t count, double part)
{
    BENCH_NEED(count > 0);
    qsort(values, count, sizeof *values, compare);
    return values[(size_t)((double)(count - 1) * part)];
}

static void start_clocks(struct bench_lap *lap)
{
    lap->count = 0;
    lap->begin_cpu_ns = read_clock(lap->cpu_clock);
    lap->begin_ns = bench_now_ns();
}

void bench_lap_begin(struct bench_lap *lap)
{
    bench_lap_begin_with(lap, CLOCK_PROCESS_CPUTIME_ID);
}

void bench_lap_begin_with(struct bench_lap *lap, clockid_t cpu_clock)
{
    *lap = (struct bench_lap){.cpu_clock = cpu_clock};
    start_clocks(lap);
}

bool bench_lap_goes_on(struct bench_lap *lap)
{
    // Reading the clock would take a good part of a short round trip.
    enum { UNSEEN_TIMES = 16 };
    lap->count++;
    if (++lap->unseen < UNSEEN_TIMES)
        return true;

    lap->unseen = 0;
    uint64_t passed_ns = bench_now_ns() - lap->begin_ns;
    if (passed_ns < (lap->is_warm ? lap_ns : warm_up_ns))
        return true;
    if (!lap->is_warm) {
        lap->is_warm = true;
        start_clocks(lap);
        return true;
    }
    lap->ns = (double)passed_ns / (double)lap->count;
    lap->cpu_ns = (double)(read_clock(lap->cpu_clock) - lap->begin_cpu_ns) /
                  (double)lap->count;
    return false;
}

/* ---- runs ------------------------------------------------------------------
 */

static void remember_signal(int number)
{
    end_signal = number;
}

static void watch_signals(void)
{
    sigset_t ending;
    sigemptyset(&ending);
    struct sigaction action = {.sa_handler = remember_signal};
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        sigaddset(&ending, numbers[i]);
        sigaction(numbers[i], &action, NULL);
    }
    sigprocmask(SIG_BLOCK, &ending, &usual_signals);
}

/* No value is measured. Nothing to complain about. */
static const char *leave_out(double *values)
{
    for (int i = 0; i < BENCH_MOST_FIGURES; i++)
        values[i] = NAN;
    return NULL;
}

/* The whole life of a process that measures. */
static _Noreturn void measure(const struct bench *bench, bench_fn *fn, int out)
{
    // exec resets handlers, but these processes may not exec.
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &usual_signals, NULL);

    double values[BENCH_MOST_FIGURES];
    leave_out(values);
    fn(bench, values);
    BENCH_NEED(write(out, values, sizeof values) == sizeof values);
    _exit(0);
}

/* Returns what there is to complain about, or NULL. */
static const char *await(int in, double *values)
{
    struct pollfd answer = {.fd = in, .events = POLLIN};
    int n = ppoll(&answer, 1, &(struct timespec){TIMEOUT_MS / 1000, 0},
                  &usual_signals);
    if (n < 0)
        return "interrupted";
    if (n == 0)
        return "it hangs";
    size_t size = BENCH_MOST_FIGURES * sizeof *values;
    return read(in, values, size) == (ssize_t)size ? NULL : "it failed";
}

static const char *run_once(const struct bench *bench, bench_fn *fn,
                            double *values)
{
    int ends[2];
    if (pipe(ends))
        return strerror(errno);
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        return strerror(errno);
    if (child == 0) {
        setpgid(0, 0);
        close(ends[0]);
        measure(bench, fn, ends[1]);
    }
    setpgid(child, child);
    close(ends[1]);
    const char *complaint = await(ends[0], values);
    close(ends[0]);
    kill(-child, SIGKILL);
    waitpid(child, NULL, 0);
    return complaint;
}

static bool is_wanted(const char *figure)
{
    for (int i = 0; i < name_count; i++) {
        size_t length = strlen(names[i]);
        if (strncmp(figure, names[i], length) == 0 &&
            (figure[length] == '.' || figure[length] == '\0'))
            return true;
    }
    return name_count == 0;
}

static bool is_any_wanted(const struct bench *bench)
{
    for (const struct bench_figure *f = bench->figures; f->name; f++)
        if (is_wanted(f->name))
            return true;
    return false;
}

static bool is_asked(const struct bench_contender *contender)
{
    return contender->measure &&
           (!only_who || strcmp(contender->who, only_who) == 0);
}

/* [contender][figure][run] */
typedef double table[BENCH_MOST_CONTENDERS][BENCH_MOST_FIGURES][MOST_RUNS];

static const char *run_all(const struct bench *bench, table values)
{
    for (int run = 0; run < runs; run++) {
        for (int c = 0; bench->contenders[c].who; c++) {
            const struct bench_contender *contender = &bench->contenders[c];
            double once[BENCH_MOST_FIGURES];
            const char *complaint =
                is_asked(contender) ? run_once(bench, contender->measure, once)
                                    : leave_out(once);
            if (complaint) {
                fprintf(stderr, "bench: %s, %s: %s\n", bench->figures->name,
                        contender->who, complaint);
                return complaint;
            }
            for (int f = 0; f < BENCH_MOST_FIGURES; f++)
                values[c][f][run] = once[f];
        }
    }
    return NULL;
}

static int decimals(double value)
{
    return fabs(value) >= 1000 || value == floor(value) ? 0 : 2;
}

static void print(const struct bench *bench, table values)
{
    for (int f = 0; bench->figures[f].name; f++) {
        if (!is_wanted(bench->figures[f].name))
            continue;
        for (int c = 0; bench->contenders[c].who; c++) {
            double value = bench_quantile(values[c][f], (size_t)runs, 0.5);
            if (!isnan(value))
                printf("%s\t%s\t%.*f\t%s\n", bench->figures[f].name,
                       bench->contenders[c].who, decimals(value), value,
                       bench->figures[f].unit);
        }
    }
    fflush(stdout);
}

/* Returns the program's exit code: 0, or it does not go on. */
static int run_bench(const struct bench *bench)
{
    static table values;
    if (bench->set_up)
        bench->set_up(bench);
    const char *complaint = run_all(bench, values);
    if (bench->clean_up)
        bench->clean_up(bench);

    if (end_signal)
        return 128 + end_signal;
    if (complaint)
        return 1;
    print(bench, values);
    return 0;
}

/* ---- the program --------------------------------------------------------- */

static void print_processor_name(void)
{
    FILE *info = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (info && fgets(line, sizeof line, info)) {
        char *value = strchr(line, ':');
        if (value && strncmp(line, "model name", 10) == 0) {
            value[strcspn(value, "\n")] = '\0';
            printf("# processor:%s\n", value + 1);
            break;
        }
    }
    if (info)
        fclose(info);
}

static void print_circumstances(void)
{
    struct utsname system;
    uname(&system);
    cpu_set_t usable;
    sched_getaffinity(0, sizeof usable, &usable);

    print_processor_name();
    printf("# processors: %ld, usable: %d\n", sysconf(_SC_NPROCESSORS_ONLN),
           CPU_COUNT(&usable));
    printf("# system: %s %s %s\n", system.sysname, system.release,
           system.machine);
    printf("# compiler: %s\n", __VERSION__);
#ifdef BENCH_LIBUV
    printf("# libuv %s\n", uv_version_string());
#endif
#ifdef BENCH_LIBEV
    printf("# libev %d.%d\n", ev_version_major(), ev_version_minor());
#endif
#ifdef BENCH_LIBEVENT
    printf("# libevent %s\n", event_get_version());
#endif
    printf("# median of %d runs\n", runs);
}

static int complain(const char *what, const char *which)
{
    fprintf(stderr, "bench: %s: %s (see --list)\n", what, which);
    return 2;
}

static int list(void)
{
    for (int i = 0; i < BENCHES; i++)
        for (const struct bench_figure *f = benches[i]->figures; f->name; f++)
            puts(f->name);
    return 0;
}

/* Returns the first name that nothing has, or NULL. */
static const char *unknown_name(char **given, int count)
{
    for (int i = 0; i < count; i++) {
        names = &given[i];
        name_count = 1;
        bool is_known = false;
        for (int b = 0; b < BENCHES; b++)
            is_known = is_known || is_any_wanted(benches[b]);
        if (!is_known)
            return given[i];
    }
    return NULL;
}

static void pin(void)
{
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    if (sched_setaffinity(0, sizeof first, &first))
        perror("bench: --pin");
}

int main(int argc, char **argv)
{
    int next = 1;
    for (; next < argc && argv[next][0] == '-'; next++) {
        if (strcmp(argv[next], "--list") == 0)
            return list();
        if (strcmp(argv[next], "--pin") == 0) {
            pin();
        } else if (strcmp(argv[next], "--only") == 0 && next + 1 < argc) {
            only_who = argv[++next];
        } else if (strcmp(argv[next], "--runs") == 0) {
            const char *number = ++next < argc ? argv[next] : "";
            runs = atoi(number);
            if (runs < 1 || runs > MOST_RUNS)
                return complain("not a number of runs", number);
        } else {
            return complain("no such option", argv[next]);
        }
    }
    const char *unknown = unknown_name(argv + next, argc - next);
    if (unknown)
        return complain("nothing is called", unknown);
    names = argv + next;
    name_count = argc - next;

    watch_signals();
    print_circumstances();
    int code = 0;
    for (int i = 0; i < BENCHES && code == 0; i++)
        if (is_any_wanted(benches[i]))
            code = run_bench(benches[i]);
    return code;
}
