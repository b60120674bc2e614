/*
 * The linker gives us the library's calls of these functions first
 * (-Wl,--wrap): to have them fail, or take as long as we like. Nobody is asked
 * who is not on this machine.
 */
#include "pool/names.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>

#include "test/gate.h"
#include "test/tap.h"

int __real_getaddrinfo(const char *host, const char *service,
                       const struct addrinfo *hints, struct addrinfo **first);
void __real_freeaddrinfo(struct addrinfo *first);
int __real_getnameinfo(const struct sockaddr *address, socklen_t size,
                       char *host, socklen_t host_size, char *service,
                       socklen_t service_size, int flags);
void *__real_calloc(size_t count, size_t size);

int __wrap_getaddrinfo(const char *host, const char *service,
                       const struct addrinfo *hints, struct addrinfo **first);
void __wrap_freeaddrinfo(struct addrinfo *first);
int __wrap_getnameinfo(const struct sockaddr *address, socklen_t size,
                       char *host, socklen_t host_size, char *service,
                       socklen_t service_size, int flags);
void *__wrap_calloc(size_t count, size_t size);

static int answer;       // of both, instead of asking; 0: ask
static int answer_errno; // set then
static bool fails_calloc;
static int infos_there;   // to be freed
static int asked;         // how often
static struct gate began; // somebody asks for "slow"
static struct gate held;  // who asks for "slow" may go on

int __wrap_getaddrinfo(const char *host, const char *service,
                       const struct addrinfo *hints, struct addrinfo **first)
{
    __atomic_add_fetch(&asked, 1, __ATOMIC_SEQ_CST);
    if (host && strcmp(host, "slow") == 0) {
        gate_open(&began);
        gate_pass(&held);
        host = "127.0.0.1";
    }
    if (answer) {
        errno = answer_errno;
        return answer;
    }
    int error = __real_getaddrinfo(host, service, hints, first);
    __atomic_add_fetch(&infos_there, !error, __ATOMIC_SEQ_CST);
    return error;
}

void __wrap_freeaddrinfo(struct addrinfo *first)
{
    __atomic_sub_fetch(&infos_there, 1, __ATOMIC_SEQ_CST);
    __real_freeaddrinfo(first);
}

int __wrap_getnameinfo(const struct sockaddr *address, socklen_t size,
                       char *host, socklen_t host_size, char *service,
                       socklen_t service_size, int flags)
{
    if (answer) {
        errno = answer_errno;
        return answer;
    }
    return __real_getnameinfo(address, size, host, host_size, service,
                              service_size, flags);
}

void *__wrap_calloc(size_t count, size_t size)
{
    bool fails = __atomic_load_n(&fails_calloc, __ATOMIC_SEQ_CST);
    return fails ? NULL : __real_calloc(count, size);
}

static struct ed_loop loop;
static struct ed_pool pool;

struct lookup {
    struct ed_name_request request;
    int dones;
};

static void begin(const struct ed_pool_options *options)
{
    gate_init(&began);
    gate_init(&held);
    answer = infos_there = asked = 0;
    CHECK_EQ(ed_loop_init(&loop), 0);
    CHECK_EQ(ed_pool_init(&pool, &loop, options), 0);
}

static void end(void)
{
    ed_pool_destroy(&pool);
    ed_loop_destroy(&loop);
    CHECK_EQ(infos_there, 0);
    gate_destroy(&began);
    gate_destroy(&held);
}

static void done(struct ed_name_request *request)
{
    ED_CONTAINER_OF(request, struct lookup, request)->dones++;
}

static void look_up(struct lookup *lookup, const char *host,
                    const char *service, unsigned flags)
{
    CHECK_EQ(
        ed_name_lookup(&pool, &lookup->request, host, service, flags, done), 0);
}

static void wait_for(const struct lookup *lookup)
{
    while (!lookup->dones)
        ed_loop_run_once(&loop, (int64_t)ED_MS);
}

static bool has(const struct ed_addresses *found, const char *text)
{
    char formatted[ED_ADDRESS_TEXT];
    for (size_t i = 0; i < found->count; i++) {
        ed_address_format(&found->addresses[i], formatted, sizeof formatted);
        if (strcmp(formatted, text) == 0)
            return true;
    }
    return false;
}

/* ---- look-ups ------------------------------------------------------------ */

static const struct {
    const char *host, *service;
    unsigned flags;
    int result; // -errno, or how many at least
    const char *text;
} known[] = {
    {"127.0.0.1", "80", 0, 1, "127.0.0.1:80"},
    {"127.0.0.1", NULL, 0, 1, "127.0.0.1:0"},
    {"::1", "65535", 0, 1, "[::1]:65535"},
    {"127.0.0.1", "80", ED_NAME_NUMERIC, 1, "127.0.0.1:80"},
    {"127.0.0.1", "80", ED_NAME_DATAGRAM, 1, "127.0.0.1:80"},
    {"127.0.0.1", "80", ED_NAME_IPV4 | ED_NAME_IPV6, 1, "127.0.0.1:80"},
    {"localhost", "7", ED_NAME_IPV4, 1, "127.0.0.1:7"},
    {NULL, "80", ED_NAME_IPV4, 1, "127.0.0.1:80"},
    {NULL, "80", ED_NAME_IPV4 | ED_NAME_PASSIVE, 1, "0.0.0.0:80"},
    {NULL, "80", ED_NAME_IPV6 | ED_NAME_PASSIVE, 1, "[::]:80"},
    {NULL, NULL, 0, -EINVAL, NULL},
    {"127.0.0.1", "80", ED_NAME_IPV6, -ENOENT, NULL},
    {"::1", "80", ED_NAME_IPV4, -ENOENT, NULL},
    {"localhost", "80", ED_NAME_NUMERIC, -ENOENT, NULL},
    {"127.0.0.1", "no-such-service", 0, -EPROTONOSUPPORT, NULL},
};
enum { KNOWN = sizeof known / sizeof *known };

static void check_known(int i, int result, const struct ed_addresses *found)
{
    int failures_before = tap_failures;
    if (known[i].result < 0) {
        CHECK_EQ(result, known[i].result);
        CHECK(!found->addresses);
        CHECK_EQ(found->count, 0);
    } else {
        CHECK(result >= known[i].result);
        CHECK_EQ(found->count, result);
        CHECK(has(found, known[i].text));
    }
    if (tap_failures != failures_before)
        printf("# of look-up %d\n", i);
}

static void a_look_up_finds_addresses_or_says_why_not(void)
{
    begin(NULL);
    for (int i = 0; i < KNOWN; i++) {
        struct ed_addresses found;
        int result = ed_name_lookup_sync(known[i].host, known[i].service,
                                         known[i].flags, &found);
        check_known(i, result, &found);
        ed_addresses_free(&found);
        CHECK(!found.addresses);
    }
    end();
}

static void through_the_pool_the_answer_is_the_same(void)
{
    struct lookup lookups[KNOWN] = {0};
    begin(NULL);
    for (int i = 0; i < KNOWN; i++) {
        look_up(&lookups[i], known[i].host, known[i].service, known[i].flags);
        CHECK_EQ(lookups[i].dones, 0);
    }
    CHECK_EQ(ed_loop_run(&loop), 0);
    for (int i = 0; i < KNOWN; i++) {
        CHECK_EQ(lookups[i].dones, 1);
        check_known(i, lookups[i].request.result, &lookups[i].request.found);
        ed_addresses_free(&lookups[i].request.found);
    }
    end();
}

static void a_request_can_be_used_again(void)
{
    struct lookup lookup = {0};
    begin(NULL);
    for (int i = 0; i < 10; i++) {
        look_up(&lookup, i % 2 ? "127.0.0.1" : "::1", "1", ED_NAME_IPV4);
        ed_loop_run(&loop);
        CHECK_EQ(lookup.dones, i + 1);
        CHECK_EQ(lookup.request.result, i % 2 ? 1 : -ENOENT);
        CHECK_EQ(lookup.request.found.count, i % 2);
        ed_addresses_free(&lookup.request.found);
    }
    end();
}

static void each_address_is_found_once(void)
{
    struct ed_addresses found;
    begin(NULL);
    CHECK_EQ(ed_name_lookup_sync("127.0.0.1", NULL, 0, &found), 1);
    ed_addresses_free(&found);
    end();
}

/* ---- the other way ------------------------------------------------------- */

static void an_address_has_a_name(void)
{
    struct ed_address address;
    struct ed_name name;
    begin(NULL);
    CHECK_EQ(ed_address_parse(&address, "127.0.0.1:65535"), 0);
    CHECK_EQ(ed_name_of_sync(&address, ED_NAME_NUMERIC, &name), 0);
    CHECK_STR(name.host, "127.0.0.1");
    CHECK_STR(name.service, "65535");
    CHECK_EQ(ed_name_of_sync(&address, ED_NAME_DATAGRAM, &name), 0);
    CHECK(name.host[0]);
    CHECK_EQ(ed_address_parse(&address, "[::1]:1"), 0);
    CHECK_EQ(ed_name_of_sync(&address, ED_NAME_NUMERIC, &name), 0);
    CHECK_STR(name.host, "::1");
    CHECK_STR(name.service, "1");
    end();
}

static void through_the_pool_it_has_the_same_name(void)
{
    struct lookup lookup = {0};
    struct ed_address address;
    struct ed_name name, here;
    begin(NULL);
    CHECK_EQ(ed_address_parse(&address, "127.0.0.1:65535"), 0);
    CHECK_EQ(ed_name_of(&pool, &lookup.request, &address, 0, &name, done), 0);
    ed_loop_run(&loop);
    CHECK_EQ(lookup.dones, 1);
    CHECK_EQ(lookup.request.result, 0);
    CHECK_EQ(ed_name_of_sync(&address, 0, &here), 0);
    CHECK_STR(name.host, here.host);
    CHECK_STR(name.service, here.service);
    end();
}

static void what_is_not_on_a_network_has_no_name(void)
{
    struct ed_address address;
    struct ed_name name;
    begin(NULL);
    CHECK_EQ(ed_address_parse(&address, "unix:/run/me"), 0);
    CHECK_EQ(ed_name_of_sync(&address, 0, &name), -EAFNOSUPPORT);
    address = (struct ed_address){0};
    CHECK_EQ(ed_name_of_sync(&address, 0, &name), -EAFNOSUPPORT);
    CHECK_STR(name.host, "");
    CHECK_STR(name.service, "");
    end();
}

/* ---- faults -------------------------------------------------------------- */

static void each_error_of_the_system_has_an_errno(void)
{
    static const struct {
        int error, system_errno, result;
    } errors[] = {
        {EAI_AGAIN, 0, -EAGAIN},
        {EAI_BADFLAGS, 0, -EINVAL},
        {EAI_FAIL, 0, -EIO},
        {EAI_FAMILY, 0, -EAFNOSUPPORT},
        {EAI_SOCKTYPE, 0, -EAFNOSUPPORT},
        {EAI_MEMORY, 0, -ENOMEM},
        {EAI_OVERFLOW, 0, -ENAMETOOLONG},
        {EAI_SERVICE, 0, -EPROTONOSUPPORT},
        {EAI_NONAME, 0, -ENOENT},
        {EAI_SYSTEM, EMFILE, -EMFILE},
        {EAI_SYSTEM, 0, -EIO},
    };
    struct ed_address address;
    begin(NULL);
    CHECK_EQ(ed_address_parse(&address, "127.0.0.1:1"), 0);
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct lookup lookup = {0};
        struct ed_name name;
        answer = errors[i].error;
        answer_errno = errors[i].system_errno;
        look_up(&lookup, "localhost", NULL, 0);
        ed_loop_run(&loop);
        CHECK_EQ(lookup.request.result, errors[i].result);
        CHECK(!lookup.request.found.addresses);
        CHECK_EQ(ed_name_of_sync(&address, 0, &name), errors[i].result);
        CHECK_STR(name.host, "");
    }
    end();
}

static void without_memory_nothing_is_found_and_nothing_is_left(void)
{
    struct lookup lookup = {0};
    begin(NULL);
    look_up(&lookup, "slow", NULL, 0);
    gate_pass(&began);
    __atomic_store_n(&fails_calloc, true, __ATOMIC_SEQ_CST);
    gate_open(&held);
    wait_for(&lookup);
    __atomic_store_n(&fails_calloc, false, __ATOMIC_SEQ_CST);
    CHECK_EQ(lookup.request.result, -ENOMEM);
    CHECK(!lookup.request.found.addresses);
    end();
}

/* ---- the lane ------------------------------------------------------------ */

struct job {
    struct ed_task task;
    int dones;
};

static void run_job(struct ed_task *task)
{
    (void)task;
}

static void done_job(struct ed_task *task)
{
    ED_CONTAINER_OF(task, struct job, task)->dones++;
}

static void look_ups_that_hang_hold_up_nothing_else(void)
{
    enum { COUNT = 12 };
    struct lookup lookups[COUNT] = {0};
    begin(&(struct ed_pool_options){.workers = 3});
    for (int i = 0; i < COUNT; i++)
        look_up(&lookups[i], "slow", NULL, 0);
    ed_loop_run_once(&loop, 0);
    for (int i = 0; i < 3; i++)
        gate_pass(&began);
    for (int i = 0; i < 50; i++) {
        struct job job = {.task.lane = i % 2 ? ED_LANE_FILES : ED_LANE_WORK};
        CHECK_EQ(ed_task_submit(&pool, &job.task, run_job, done_job), 0);
        while (!job.dones)
            ed_loop_run_once(&loop, (int64_t)ED_MS);
    }
    CHECK_EQ(__atomic_load_n(&asked, __ATOMIC_SEQ_CST), 3);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(lookups[i].dones, 0);
        gate_open(&held);
    }
    ed_loop_run(&loop);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(lookups[i].request.result, 1);
        ed_addresses_free(&lookups[i].request.found);
    }
    end();
}

static void what_waits_behind_one_that_hangs_can_be_called_off(void)
{
    struct lookup slow = {0}, cancelled = {0}, late = {0}, grouped = {0};
    struct ed_task_group group = {0};
    begin(&(struct ed_pool_options){.workers = 1});
    look_up(&slow, "slow", NULL, 0);
    gate_pass(&began);
    look_up(&cancelled, "localhost", NULL, 0);
    ed_loop_update_now(&loop);
    late.request.task.deadline_ns = ed_loop_now(&loop) + ED_MS;
    look_up(&late, "localhost", NULL, 0);
    grouped.request.task.group = &group;
    look_up(&grouped, "localhost", NULL, 0);
    CHECK_EQ(ed_name_cancel(&cancelled.request), 0);
    CHECK_EQ(ed_name_cancel(&slow.request), -EBUSY);
    ed_task_group_cancel(&group);
    wait_for(&cancelled);
    wait_for(&late);
    wait_for(&grouped);
    CHECK_EQ(cancelled.request.result, -ECANCELED);
    CHECK_EQ(late.request.result, -ETIMEDOUT);
    CHECK_EQ(grouped.request.result, -ECANCELED);
    CHECK_EQ(slow.dones, 0);
    CHECK_EQ(__atomic_load_n(&asked, __ATOMIC_SEQ_CST), 1);
    gate_open(&held);
    ed_loop_run(&loop);
    CHECK_EQ(slow.request.result, 1);
    ed_addresses_free(&slow.request.found);
    end();
}

static void at_the_lanes_limit_a_look_up_is_refused(void)
{
    struct lookup slow = {0}, refused = {0};
    begin(&(struct ed_pool_options){.lanes[ED_LANE_NAMES].limit = 1});
    look_up(&slow, "slow", NULL, 0);
    gate_pass(&began);
    CHECK_EQ(
        ed_name_lookup(&pool, &refused.request, "localhost", NULL, 0, done),
        -EAGAIN);
    gate_open(&held);
    ed_loop_run(&loop);
    CHECK_EQ(refused.dones, 0);
    ed_addresses_free(&slow.request.found);
    end();
}

TESTS(TEST(a_look_up_finds_addresses_or_says_why_not),
      TEST(through_the_pool_the_answer_is_the_same),
      TEST(a_request_can_be_used_again), TEST(each_address_is_found_once),
      TEST(an_address_has_a_name), TEST(through_the_pool_it_has_the_same_name),
      TEST(what_is_not_on_a_network_has_no_name),
      TEST(each_error_of_the_system_has_an_errno),
      TEST(without_memory_nothing_is_found_and_nothing_is_left),
      TEST(look_ups_that_hang_hold_up_nothing_else),
      TEST(what_waits_behind_one_that_hangs_can_be_called_off),
      TEST(at_the_lanes_limit_a_look_up_is_refused))
