/*
 * test/example/readfile.c - reads files twice, and shows who did what and when
 *
 *     readfile [--sync | --async] [--pool] [--workers N] [--cat] FILE...
 *
 * Each file is read as JavaScript's readFileSync(path) does it, and as
 * readFile(path, callback) does it. Meanwhile a timer ticks on the loop: it
 * stands still while the first form keeps the main thread, and goes on during
 * the second.
 *
 * In the second form a worker reads the file, or if it is small and in the page
 * cache, the loop itself, in less time than it takes to ask a worker.
 *
 * How it goes, all on the loop:
 *
 *     a few ticks -> the sync reads, in one callback -> a few ticks
 *                 -> all async reads submitted -> ... ticks, callbacks ... ->
 * end
 *
 * What happens to a read is told by the library's trace hooks, on whatever
 * thread it happens, and kept in the struct reading concerned until the end.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <eddy.h>

enum { TICKS_BEFORE = 3, MOST_EVENTS = 16, MOST_WORKERS = 1024 };

static const uint64_t tick_ns = 100 * ED_US;

/* Where something happened: the columns of the timeline. */
enum place { MAIN_THREAD, MESSAGE_QUEUE, WORKER };

struct event {
    enum place place;
    uint64_t at_ns;
    unsigned ticks_before; // of the timer, since the event before this one
    const char *name;
    unsigned times; // consecutive reads are one event
    int64_t value;
};

/* One file, read in one form. */
struct reading {
    struct ed_fs_request request; // the sync form uses only its file
    bool is_done;
    int err;
    uint64_t checksum;
    uint64_t kept_ns;     // how long it kept the main thread
    uint64_t callback_ns; // when the callback began
    int64_t worker;       // who read it; 0: nobody has picked it up
    unsigned ticks;       // since the last event
    unsigned count;
    struct event events[MOST_EVENTS];
};

struct job {
    const char *path;
    struct reading sync;
    struct reading async;
};

static struct {
    bool sync;
    bool async;
    bool pool;
    bool cat;
    unsigned workers;
} options = {.sync = true, .async = true};

static struct ed_loop loop;
static struct ed_pool pool;
static struct ed_task first_task;
static struct job *jobs;
static int job_count;
static int async_left;
static FILE *out; // for the timeline

/* Guards the events and tick counts of all readings: workers add to them. */
static pthread_mutex_t events_lock = PTHREAD_MUTEX_INITIALIZER;

static volatile sig_atomic_t is_interrupted;
static volatile sig_atomic_t is_reading_sync;

/* ---- what happens ---------------------------------------------------- */

static void note(struct reading *reading, enum place place, const char *name,
                 int64_t value)
{
    pthread_mutex_lock(&events_lock);
    unsigned count = reading->count;
    struct event *last = count ? &reading->events[count - 1] : NULL;
    bool is_more =
        last && strcmp(name, "read") == 0 && strcmp(last->name, name) == 0;
    if (is_more) {
        last->times++;
        last->value = value < 0 ? value : last->value + value;
        last->ticks_before += reading->ticks;
    } else if (count < MOST_EVENTS) {
        last = &reading->events[reading->count++];
        *last = (struct event){
            .place = place,
            .ticks_before = reading->ticks,
            .name = name,
            .times = 1,
            .value = value,
        };
    }
    last->at_ns = ed_clock_ns();
    reading->ticks = 0;
    pthread_mutex_unlock(&events_lock);
}

/* Called by the library, on the thread where it happens. */
static void tell(struct ed_trace *trace, const struct ed_trace_event *event)
{
    (void)trace;
    if (event->kind < ED_TRACE_SUBMIT)
        return; // of the loop
    if (event->kind == ED_TRACE_STEP) {
        struct reading *reading =
            ED_CONTAINER_OF(event->subject, struct reading, request.file);
        enum place place = reading->request.task.pool ? WORKER : MAIN_THREAD;
        note(reading, place, event->name, event->value);
        return;
    }
    if (event->subject == &first_task)
        return;
    struct reading *reading =
        ED_CONTAINER_OF(event->subject, struct reading, request.task);
    if (event->kind == ED_TRACE_SUBMIT)
        note(reading, MAIN_THREAD, "submit", 0);
    if (event->kind == ED_TRACE_TAKE) {
        reading->worker = event->value;
        note(reading, WORKER, "picked up by worker", event->value);
    }
    if (event->kind == ED_TRACE_POST)
        note(reading, MESSAGE_QUEUE, "message queued", 0);
    if (event->kind == ED_TRACE_DONE)
        note(reading, MAIN_THREAD, "callback", 0);
}

static struct ed_trace trace = {.tell = tell};

static uint64_t checksum(const char *data, size_t size)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325); // FNV-1a
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ (unsigned char)data[i]) * UINT64_C(0x100000001b3);
    return sum;
}

/* ---- the two forms --------------------------------------------------- */

static void finish(struct reading *reading, int64_t result)
{
    struct ed_file *file = &reading->request.file;
    reading->is_done = true;
    reading->err = (int)result;
    reading->checksum = checksum(file->data, file->size);
}

static void read_sync(struct job *job)
{
    struct reading *reading = &job->sync;
    uint64_t begin_ns = ed_clock_ns();
    reading->request.file.trace = &trace;
    note(reading, MAIN_THREAD, "call", 0);
    int err = ed_fs_read_file_sync(job->path, &reading->request.file);
    note(reading, MAIN_THREAD, "return", 0);
    reading->kept_ns = ed_clock_ns() - begin_ns;
    finish(reading, err);
}

static void on_read(struct ed_fs_request *request)
{
    struct reading *reading = ED_CONTAINER_OF(request, struct reading, request);
    uint64_t begin_ns = ed_clock_ns();
    // Here a program would do something with request->file.
    if (--async_left == 0)
        ed_loop_stop(&loop);
    reading->kept_ns += ed_clock_ns() - begin_ns;
    finish(reading, request->result);
}

static void read_async(struct job *job)
{
    struct reading *reading = &job->async;
    uint64_t begin_ns = ed_clock_ns();
    int err = ed_fs_read_file(&pool, &reading->request, job->path, on_read);
    note(reading, MAIN_THREAD, "free for other things", 0);
    reading->kept_ns = ed_clock_ns() - begin_ns;
    if (err) {
        finish(reading, err);
        async_left--;
    }
}

static void count_tick(void)
{
    pthread_mutex_lock(&events_lock);
    for (int i = 0; i < job_count; i++)
        jobs[i].async.ticks += jobs[i].async.count && !jobs[i].async.is_done;
    pthread_mutex_unlock(&events_lock);
}

static void nothing(struct ed_task *task)
{
    (void)task;
}

static void on_tick(struct ed_timer *timer)
{
    static int ticks;
    (void)timer;
    count_tick();
    ticks++;
    // Has the first worker started, as in a server it would be already. Where
    // not even that can be had, the reads will say so.
    if (ticks == 1 && options.async)
        ed_task_submit(&pool, &first_task, nothing, nothing);
    if (ticks == TICKS_BEFORE && options.sync) {
        is_reading_sync = true;
        for (int i = 0; i < job_count; i++)
            read_sync(&jobs[i]);
        is_reading_sync = false;
    }
    if (ticks == 2 * TICKS_BEFORE && options.async)
        for (int i = 0; i < job_count; i++)
            read_async(&jobs[i]);
    if (ticks >= 2 * TICKS_BEFORE && async_left == 0)
        ed_loop_stop(&loop);
}

/* ---- the report ------------------------------------------------------ */

static double us(uint64_t ns)
{
    return (double)ns / 1000;
}

static const int indents[] = {0, 24, 42};

static void describe(const struct event *event, char *text, size_t size)
{
    if (strcmp(event->name, "picked up by worker") == 0)
        snprintf(text, size, "%s %" PRId64, event->name, event->value);
    else if (event->value < 0)
        snprintf(text, size, "%s: %s", event->name,
                 strerror((int)-event->value));
    else if (strcmp(event->name, "fstat") == 0)
        snprintf(text, size, "fstat: size %" PRId64, event->value);
    else if (strcmp(event->name, "read") == 0 && event->times > 1)
        snprintf(text, size, "read x%u: %" PRId64 " bytes", event->times,
                 event->value);
    else if (strcmp(event->name, "read") == 0 ||
             strcmp(event->name, "preadv2") == 0)
        snprintf(text, size, "%s: %" PRId64 " bytes", event->name,
                 event->value);
    else
        snprintf(text, size, "%s", event->name);
}

static void print_timeline(const char *title, const struct reading *reading)
{
    fprintf(out, "\n %s\n          us  %-24s%-18s%s\n", title, "main thread",
            "message queue", "worker");
    uint64_t begin_ns = reading->events[0].at_ns;
    for (unsigned i = 0; i < reading->count; i++) {
        const struct event *event = &reading->events[i];
        char text[128];
        if (event->ticks_before)
            fprintf(out, "         ...  %u tick%s\n", event->ticks_before,
                    event->ticks_before > 1 ? "s" : "");
        describe(event, text, sizeof text);
        fprintf(out, "  %10.1f  %*s%s\n", us(event->at_ns - begin_ns),
                indents[event->place], "", text);
    }
}

static unsigned all_ticks(const struct reading *reading)
{
    unsigned ticks = 0;
    for (unsigned i = 0; i < reading->count; i++)
        ticks += reading->events[i].ticks_before;
    return ticks;
}

static void print_way(const struct reading *reading)
{
    if (reading->worker)
        fprintf(out, " %13sread by worker %" PRId64 "\n", "", reading->worker);
    else
        fprintf(out, " %13sread in the loop, from the page cache\n", "");
}

static void print_summary(const char *form, const struct reading *reading)
{
    const struct ed_file *file = &reading->request.file;
    uint64_t took_ns =
        reading->events[reading->count - 1].at_ns - reading->events[0].at_ns;
    uint64_t due = took_ns / tick_ns, ticks = all_ticks(reading);
    fprintf(out, " %-13s", form);
    if (reading->err)
        fprintf(out, "%s\n", strerror(-reading->err));
    else
        fprintf(out, "%zu bytes, checksum %016" PRIx64 "\n", file->size,
                reading->checksum);
    fprintf(out,
            " %13skept the main thread %.1f of %.1f us; %" PRIu64 " of %" PRIu64
            " ticks came\n",
            "", us(reading->kept_ns), us(took_ns), ticks,
            due > ticks ? due : ticks);
}

/* Returns whether the file was read, the same in each form. */
static bool print_job(const struct job *job)
{
    const struct reading *sync = &job->sync, *async = &job->async;
    fprintf(out, "%s\n", job->path);
    if (options.sync)
        print_timeline("readFileSync(path)", sync);
    if (options.async)
        print_timeline("readFile(path, callback)", async);
    fprintf(out, "\n");
    if (options.sync)
        print_summary("readFileSync", sync);
    if (options.async)
        print_summary("readFile", async);
    if (options.async && !async->err)
        print_way(async);
    fprintf(out, "\n");
    fflush(out);

    int err = sync->err ? sync->err : async->err;
    if (err) {
        fprintf(stderr, "readfile: %s: %s\n", job->path, strerror(-err));
        return false;
    }
    if (options.sync && options.async &&
        (sync->checksum != async->checksum ||
         sync->request.file.size != async->request.file.size)) {
        fprintf(stderr,
                "readfile: %s: the two reads differ: it changed meanwhile, or "
                "can be read only once\n",
                job->path);
        return false;
    }
    return true;
}

static bool print_contents(const struct job *job)
{
    const struct reading *reading = options.sync ? &job->sync : &job->async;
    const struct ed_file *file = &reading->request.file;
    if (fwrite(file->data, 1, file->size, stdout) == file->size &&
        fflush(stdout) == 0)
        return true;
    fprintf(stderr, "readfile: standard output: %s\n", strerror(errno));
    return false;
}

/* ---- the program
 * -------------------------------------------------------------- */

static void on_interrupt(int signal)
{
    static const char line[] = "readfile: interrupted\n";
    (void)signal;
    is_interrupted = true;
    ed_loop_stop(&loop);
    // In the sync form nothing else gets a turn, not even the end of the
    // program.
    if (is_reading_sync) {
        ssize_t written = write(STDERR_FILENO, line, sizeof line - 1);
        (void)written;
        _exit(128 + SIGINT);
    }
}

static const char usage[] =
    "usage: readfile [--sync | --async] [--pool] [--workers N] [--cat] "
    "FILE...\n"
    "\n"
    "Reads each FILE twice, on the main thread (--sync) and through the "
    "worker\n"
    "pool (--async), and shows what happened where.\n"
    "\n"
    "  --sync        only on the main thread\n"
    "  --async       only through the pool\n"
    "  --pool        by workers also what is in the page cache\n"
    "  --workers N   at most N workers, 1 to 1024 (default: one per "
    "processor,\n"
    "                at least 4)\n"
    "  --cat         the contents to standard output, the timeline to "
    "standard\n"
    "                error\n"
    "  --help        this text\n";

static _Noreturn void refuse(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "readfile: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n%s", usage);
    va_end(arguments);
    exit(2);
}

static unsigned parse_workers(const char *text)
{
    char *end;
    errno = 0;
    long workers = strtol(text, &end, 10);
    if (errno || end == text || *end || workers < 1 || workers > MOST_WORKERS)
        refuse("--workers takes a number from 1 to %d, not '%s'", MOST_WORKERS,
               text);
    return (unsigned)workers;
}

static void parse_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"sync", no_argument, NULL, 's'},
        {"async", no_argument, NULL, 'a'},
        {"pool", no_argument, NULL, 'p'},
        {"workers", required_argument, NULL, 'w'},
        {"cat", no_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    bool sync = false, async = false;
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 's')
            sync = true;
        else if (option == 'a')
            async = true;
        else if (option == 'p')
            options.pool = true;
        else if (option == 'w')
            options.workers = parse_workers(optarg);
        else if (option == 'c')
            options.cat = true;
        else if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        } else {
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (optind == argc)
        refuse("no FILE given");
    if (sync != async) {
        options.sync = sync;
        options.async = async;
    }
}

static void catch_interrupts(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* Does all the reading. Returns whether it could. */
static bool run(void)
{
    struct ed_timer ticker = {0};
    struct ed_pool_options pool_options = {.workers = options.workers};
    int err = ed_loop_init(&loop);
    if (!err)
        err = ed_pool_init(&pool, &loop, &pool_options);
    if (!err && options.pool)
        err = ed_fs_limit_cached(&pool, 0);
    if (err) {
        fprintf(stderr, "readfile: %s\n", strerror(-err));
        return false;
    }
    loop.trace = &trace;
    catch_interrupts(on_interrupt);
    ed_timer_repeat(&loop, &ticker, tick_ns, on_tick);
    err = ed_loop_run(&loop);
    if (is_interrupted) {
        // Workers may be stuck in a read that never ends; they go with the
        // rest.
        fprintf(stderr, "readfile: interrupted\n");
        _exit(128 + SIGINT);
    }
    catch_interrupts(SIG_DFL);
    ed_timer_stop(&ticker);
    ed_pool_destroy(&pool);
    ed_loop_run(&loop);
    ed_loop_destroy(&loop);
    if (err < 0)
        fprintf(stderr, "readfile: the loop: %s\n", strerror(-err));
    return err >= 0;
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    out = options.cat ? stderr : stdout;
    job_count = argc - optind;
    async_left = options.async ? job_count : 0;
    jobs = calloc((size_t)job_count, sizeof *jobs);
    if (!jobs) {
        fprintf(stderr, "readfile: %s\n", strerror(ENOMEM));
        return 1;
    }
    for (int i = 0; i < job_count; i++)
        jobs[i].path = argv[optind + i];

    bool has_run = run(), is_good = has_run;
    for (int i = 0; i < job_count && has_run; i++) {
        bool is_read = print_job(&jobs[i]);
        if (is_read && options.cat)
            is_read = print_contents(&jobs[i]);
        is_good &= is_read;
    }
    for (int i = 0; i < job_count; i++) {
        ed_file_free(&jobs[i].sync.request.file);
        ed_file_free(&jobs[i].async.request.file);
    }
    free(jobs);
    return is_good ? 0 : 1;
}
