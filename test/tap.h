/*
 * test/tap.h - the whole test harness: TAP on standard output
 *
 *     static void one_and_one_is_two(void)
 *     {
 *         CHECK(1 + 1 == 2);
 *         CHECK_EQ(1 + 1, 2);
 *     }
 *
 *     TESTS(TEST(one_and_one_is_two))
 *
 *     test_x            runs all tests         test_x NAME...    runs those
 *     test_x --list     prints their names     test_x --repeat N all, N times
 *
 * A test is a function whose name is a sentence. A failed check is printed and
 * the test goes on; NEED() gives up on the test. The plan is printed first and
 * a program that ends before its last test says "Bail out!", so that neither a
 * crash nor a stray exit() can be taken for success.
 */
#ifndef EDDY_TEST_TAP_H
#define EDDY_TEST_TAP_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct tap_test {
    const char *name;
    void (*fn)(void);
};

static int tap_failures; // of the test that runs now
static const char *tap_skipped;
static bool tap_is_done;

/* Seconds after which a test that hangs is killed. */
enum { TAP_TIMEOUT_S = 120 };

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            tap_failures++;                                                    \
            printf("# %s:%d: CHECK(%s)\n", __FILE__, __LINE__, #condition);    \
        }                                                                      \
    } while (0)

#define CHECK_EQ(got, want)                                                    \
    do {                                                                       \
        long long got_ = (long long)(got), want_ = (long long)(want);          \
        if (got_ != want_) {                                                   \
            tap_failures++;                                                    \
            printf("# %s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__,      \
                   #got, got_, want_);                                         \
        }                                                                      \
    } while (0)

#define CHECK_STR(got, want)                                                   \
    do {                                                                       \
        const char *got_ = (got), *want_ = (want);                             \
        if (!got_ || strcmp(got_, want_) != 0) {                               \
            tap_failures++;                                                    \
            printf("# %s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__,  \
                   #got, got_ ? got_ : "(null)", want_);                       \
        }                                                                      \
    } while (0)

/* What the rest of the test cannot do without. */
#define NEED(condition)                                                        \
    do {                                                                       \
        if (!(condition)) {                                                    \
            tap_failures++;                                                    \
            printf("# %s:%d: NEED(%s)\n", __FILE__, __LINE__, #condition);     \
            return;                                                            \
        }                                                                      \
    } while (0)

#define SKIP(why)                                                              \
    do {                                                                       \
        tap_skipped = (why);                                                   \
        return;                                                                \
    } while (0)

static void tap_at_exit(void)
{
    if (tap_is_done)
        return;
    printf("Bail out! exit before the last test\n");
    fflush(NULL);
    _exit(99);
}

static bool tap_is_wanted(const char *name, int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--repeat") == 0)
        return true;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return false;
}

static int tap_main(int argc, char **argv, const struct tap_test *tests,
                    size_t count)
{
    int repeat = argc > 2 && !strcmp(argv[1], "--repeat") ? atoi(argv[2]) : 1;
    if (argc > 1 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < count; i++)
            puts(tests[i].name);
        return 0;
    }

    int planned = 0;
    for (size_t i = 0; i < count; i++)
        planned += repeat * tap_is_wanted(tests[i].name, argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("1..%d\n", planned);
    atexit(tap_at_exit);

    int number = 0, failed = 0;
    for (int round = 0; round < repeat; round++) {
        for (size_t i = 0; i < count; i++) {
            if (!tap_is_wanted(tests[i].name, argc, argv))
                continue;
            tap_failures = 0;
            tap_skipped = NULL;
            alarm(TAP_TIMEOUT_S);
            tests[i].fn();
            alarm(0);
            printf("%s %d - %s", tap_failures ? "not ok" : "ok", ++number,
                   tests[i].name);
            if (tap_skipped && !tap_failures)
                printf(" # SKIP %s", tap_skipped);
            printf("\n");
            failed += tap_failures != 0;
        }
    }
    tap_is_done = true;
    return failed != 0 || number == 0;
}

#define TEST(function)                                                         \
    {                                                                          \
#function, function                                                    \
    }

#define TESTS(...)                                                             \
    int main(int argc, char **argv)                                            \
    {                                                                          \
        static const struct tap_test tests[] = {__VA_ARGS__};                  \
        return tap_main(argc, argv, tests, sizeof tests / sizeof *tests);      \
    }

#endif
