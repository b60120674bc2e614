/*
 * fs/buffer.c - a stack of free buffers for each power of two
 *
 * In front of a buffer, in the same block, are 64 bytes that say where it
 * belongs. Up to 1 MiB a buffer is of a power of two (from 256 bytes), with a
 * little more for the NUL; those are kept when they come back, 8 MiB in all.
 * Larger ones are of the size asked for, rounded up, and never kept; of those
 * the pages are all new, which takes most of the time of a read unless they are
 * large ones, too.
 *
 * The lock guards the stacks and the counts. It is held for moments. The store
 * ends when it is retired and no buffer is out; whoever sees that frees it.
 */
#include "fs/buffer.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "fs/system.h"
#include "loop/loop.h"

enum {
    HEADER = 64, // bytes in front of a buffer, and what it is aligned to
    SMALLEST_BUFFER = 256,
    CLASSES = 13,          // the last one: 1 MiB
    MOST_KEPT = 8 << 20,   // bytes
    HUGE_BUFFER = 4 << 20, // from here on large pages are asked for
};

struct block {
    struct ed_buffers *home; // NULL: the system
    struct block *below;     // on the stack, while it is free
    size_t room;
    unsigned class;
};

_Static_assert(sizeof(struct block) <= HEADER, "a header is as long as that");

struct ed_buffers {
    pthread_mutex_t lock; // guards all that follows
    bool is_retired;
    size_t out;  // buffers taken and not given back
    size_t kept; // bytes
    struct block *free[CLASSES];
};

static struct block *block_of(char *buffer)
{
    return (struct block *)(void *)(buffer - HEADER);
}

static char *buffer_of(struct block *block)
{
    return (char *)block + HEADER;
}

static unsigned class_of(size_t size)
{
    unsigned class = 0;
    while (class < CLASSES && ((size_t)SMALLEST_BUFFER << class) < size)
        class ++;
    return class;
}

size_t ed_buffer_room_for(size_t size)
{
    unsigned class = class_of(size);
    if (class < CLASSES)
        return (size_t)SMALLEST_BUFFER << class;
    return (size | (HEADER - 1)); // and one for the NUL
}

/* With size at most SIZE_MAX / 2. */
static struct block *allocate_block(size_t size)
{
    size_t room = ed_buffer_room_for(size);
    size_t whole = HEADER + (room | (HEADER - 1)) + 1;
    struct block *block = aligned_alloc(HEADER, whole);
    if (!block)
        return NULL;
    if (room >= HUGE_BUFFER)
        ed_fs_system_use_huge_pages(block, whole);
    *block = (struct block){.room = room, .class = class_of(size)};
    return block;
}

struct ed_buffers *ed_buffers_create(void)
{
    struct ed_buffers *buffers = calloc(1, sizeof *buffers);
    if (buffers && pthread_mutex_init(&buffers->lock, NULL)) {
        free(buffers);
        return NULL;
    }
    return buffers;
}

static void free_blocks(struct block *block)
{
    while (block) {
        struct block *below = block->below;
        free(block);
        block = below;
    }
}

static void free_buffers(struct ed_buffers *buffers)
{
    pthread_mutex_destroy(&buffers->lock);
    free(buffers);
}

void ed_buffers_retire(struct ed_buffers *buffers)
{
    ed_spin_lock(&buffers->lock);
    buffers->is_retired = true;
    bool is_last = buffers->out == 0;
    for (unsigned i = 0; i < CLASSES; i++) {
        free_blocks(buffers->free[i]);
        buffers->free[i] = NULL;
    }
    pthread_mutex_unlock(&buffers->lock);
    if (is_last)
        free_buffers(buffers);
}

/* Returns a kept one, or NULL; counts one as taken in any case. */
static struct block *take_kept(struct ed_buffers *buffers, unsigned class)
{
    struct block *block = NULL;
    ed_spin_lock(&buffers->lock);
    buffers->out++;
    if (class < CLASSES && buffers->free[class]) {
        block = buffers->free[class];
        buffers->free[class] = block->below;
        buffers->kept -= block->room;
    }
    pthread_mutex_unlock(&buffers->lock);
    return block;
}

/* Of a buffer that was taken. Returns whether the block is kept. */
static bool put_back(struct ed_buffers *buffers, struct block *block)
{
    ed_spin_lock(&buffers->lock);
    bool is_kept = block && block->class < CLASSES && !buffers->is_retired &&
                   buffers->kept + block->room <= MOST_KEPT;
    if (is_kept) {
        block->below = buffers->free[block->class];
        buffers->free[block->class] = block;
        buffers->kept += block->room;
    }
    buffers->out--;
    bool is_last = buffers->is_retired && buffers->out == 0;
    pthread_mutex_unlock(&buffers->lock);
    if (is_last)
        free_buffers(buffers);
    return is_kept;
}

char *ed_buffer_take(struct ed_buffers *buffers, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    struct block *block = buffers ? take_kept(buffers, class_of(size)) : NULL;
    if (!block)
        block = allocate_block(size);
    if (!block) {
        if (buffers)
            put_back(buffers, NULL);
        return NULL;
    }
    block->home = buffers;
    return buffer_of(block);
}

size_t ed_buffer_room(char *buffer)
{
    return block_of(buffer)->room;
}

void ed_buffer_give_back(char *buffer)
{
    struct block *block = block_of(buffer);
    if (!block->home || !put_back(block->home, block))
        free(block);
}
