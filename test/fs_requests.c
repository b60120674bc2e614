/*
 * What is so for the requests of all operations: cancelled in time, or too
 * late, they have touched nothing.
 */
#include "test/fs_operations.h"
#include "test/gate.h"

static const struct form *const requests = &forms[1];

enum { MOST_SEEN = 16 };

/* All there is to see of the directory and what is open. */
struct view {
    struct ed_stat stats[MOST_SEEN];
    char names[MOST_SEEN][256];
    int count;
    off_t place;
    bool is_spare_open;
};

static void look_at(struct view *view, const char *name)
{
    struct ed_stat *stat = &view->stats[view->count];
    snprintf(view->names[view->count++], sizeof *view->names, "%s", name);
    if (ed_fs_lstat_sync(name, stat))
        abort();
    stat->accessed = (struct timespec){0}; // that is what looking changes
}

static void look(struct view *view)
{
    memset(view, 0, sizeof *view);
    DIR *dir = opendir(".");
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strcmp(entry->d_name, "..") != 0 && view->count < MOST_SEEN)
            look_at(view, entry->d_name);
    closedir(dir);
    view->place = lseek(file_fd, 0, SEEK_CUR);
    view->is_spare_open = fcntl(spare_fd, F_GETFD) >= 0;
}

/* With each operation, from the same files: it ends so and touches nothing. */
static void expect_untouched(int64_t result)
{
    static struct view before, after;
    make_files();
    look(&before);
    for (int i = 0; i < OPERATIONS; i++) {
        const struct operation *operation = &operations[i];
        int failures = tap_failures;
        int64_t got = operation->run(requests);
        CHECK_EQ(got, result);
        look(&after);
        CHECK(memcmp(&before, &after, sizeof before) == 0);
        CHECK_STR(new_name, "new-XXXXXX");
        CHECK(open_dir.buffer);
        if (tap_failures > failures)
            printf("# that was %s\n", operation->name);
    }
    close_files();
}

static struct gate began, gate;
static struct ed_task blocker;

static void hold(struct ed_task *task)
{
    (void)task;
    gate_open(&began);
    gate_pass(&gate);
}

static void ignore_task(struct ed_task *task)
{
    (void)task;
}

static void hold_the_worker(void)
{
    CHECK_EQ(ed_task_submit(&pool, &blocker, hold, ignore_task), 0);
    gate_pass(&began);
}

static void cancel(struct ed_fs_request *request)
{
    CHECK_EQ(ed_fs_cancel(request), 0);
    gate_open(&gate);
}

static void begin_with(const struct ed_pool_options *options)
{
    begin();
    ed_pool_destroy(&pool);
    CHECK_EQ(ed_pool_init(&pool, &loop, options), 0);
}

static void what_is_cancelled_in_time_has_touched_nothing(void)
{
    gate_init(&began);
    gate_init(&gate);
    begin_with(&(struct ed_pool_options){.workers = 1});
    before_submit = hold_the_worker;
    after_submit = cancel;
    expect_untouched(-ECANCELED);
    before_submit = NULL;
    after_submit = NULL;
    end();
    gate_destroy(&began);
    gate_destroy(&gate);
}

static void what_has_not_begun_at_its_deadline_has_touched_nothing(void)
{
    begin();
    common_deadline_ns = ed_clock_ns();
    expect_untouched(-ETIMEDOUT);
    common_deadline_ns = 0;
    end();
}

static void at_the_request_limit_each_is_refused(void)
{
    struct ed_task one = {0};
    begin_with(&(struct ed_pool_options){.request_limit = 1});
    CHECK_EQ(ed_task_submit(&pool, &one, ignore_task, ignore_task), 0);
    submit_error = -EAGAIN;
    expect_untouched(-EAGAIN);
    submit_error = 0;
    CHECK_EQ(ed_loop_run(&loop), 0);
    end();
}

static void a_deadline_to_come_changes_nothing(void)
{
    common_deadline_ns = UINT64_MAX;
    for (int i = 0; i < OPERATIONS; i++) {
        begin();
        make_files();
        CHECK(operations[i].run(requests) >= 0);
        close_files();
        end();
    }
    common_deadline_ns = 0;
}

static void a_request_that_is_not_under_way_cannot_be_cancelled(void)
{
    struct ed_fs_request request = {0};
    begin();
    CHECK_EQ(ed_fs_cancel(&request), -ENOENT);
    CHECK_EQ(ed_fs_access(&pool, &request, ".", F_OK, count_done), 0);
    CHECK_EQ(ed_loop_run(&loop), 0);
    CHECK_EQ(request.result, 0);
    CHECK_EQ(ed_fs_cancel(&request), -ENOENT);
    end();
}

TESTS(TEST(what_is_cancelled_in_time_has_touched_nothing),
      TEST(what_has_not_begun_at_its_deadline_has_touched_nothing),
      TEST(at_the_request_limit_each_is_refused),
      TEST(a_deadline_to_come_changes_nothing),
      TEST(a_request_that_is_not_under_way_cannot_be_cancelled))
