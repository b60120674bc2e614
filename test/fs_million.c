/* A directory so large that nobody wants all of it in memory. */
#include "fs/directory.h"

#include <sys/resource.h>

#include "test/fs.h"

enum { MILLION = 1000000 };

static int64_t most_memory(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss; // KiB, and bytes on macOS
}

/* All are names of one file, where that may have so many. */
static void fill(int fd)
{
    char name[16];
    close(openat(fd, "0", O_WRONLY | O_CREAT, 0600));
    for (int i = 1; i < MILLION; i++) {
        snprintf(name, sizeof name, "%d", i);
        if (!linkat(fd, "0", fd, name, 0))
            continue;
        int other = openat(fd, name, O_WRONLY | O_CREAT, 0600);
        if (other < 0)
            abort();
        close(other);
    }
}

static void read_million(const struct form *fs, const char *path)
{
    static char seen[MILLION];
    static struct ed_dir_entry entries[1000];
    struct ed_dir dir;
    int64_t count, total = 0, wrong = 0;
    memset(seen, 0, sizeof seen);
    CHECK_EQ(fs->opendir(path, &dir), 0);
    int64_t before = most_memory();
    while ((count = fs->readdir(&dir, entries, 1000)) > 0) {
        for (int64_t i = 0; i < count; i++) {
            int number = atoi(entries[i].name);
            wrong += number < 0 || number >= MILLION || seen[number]++;
        }
        total += count;
    }
    CHECK_EQ(count, 0);
    CHECK_EQ(total, MILLION);
    CHECK_EQ(wrong, 0);
    CHECK(most_memory() - before < 8 << 10);
    CHECK_EQ(fs->closedir(&dir), 0);
}

/* In memory, where there is such a place: a disk takes its time. */
static void a_directory_of_a_million_is_read_in_constant_memory(void)
{
    char path[] = "/dev/shm/eddy-XXXXXX";
    if (!mkdtemp(path))
        SKIP("no /dev/shm");
    begin();
    int fd = open(path, O_RDONLY);
    fill(fd);
    for (int i = 0; i < FORMS; i++)
        read_million(&forms[i], path);
    remove_all(fd);
    CHECK_EQ(rmdir(path), 0);
    end();
}

TESTS(TEST(a_directory_of_a_million_is_read_in_constant_memory))
