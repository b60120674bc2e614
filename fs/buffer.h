/*
 * fs/buffer.h - memory for the bytes of files, that comes back
 *
 * Internal. What a worker allocates and the loop's thread frees makes malloc
 * return memory to the system and fault it in again, file for file. So a pool
 * has a store of buffers:
 *
 *     ed_buffers_create() ... ed_buffers_retire()     with the pool
 *     ed_buffer_take() ... ed_buffer_give_back()      any thread
 *
 * A buffer may be given back when the pool is gone; the store's memory goes
 * with its last buffer. Buffers begin at a multiple of 64, since some
 * processors copy ten times slower to where malloc() would have put them.
 */
#ifndef EDDY_FS_BUFFER_H
#define EDDY_FS_BUFFER_H

#include <stddef.h>

struct ed_buffers;

/* Returns NULL without memory. */
struct ed_buffers *ed_buffers_create(void);

/* The owner's end. */
void ed_buffers_retire(struct ed_buffers *buffers);

/*
 * Returns room for at least size bytes and a NUL, or NULL. Without a store
 * (NULL) it will be given back to the system.
 */
char *ed_buffer_take(struct ed_buffers *buffers, size_t size);

/* How many bytes, besides the NUL, a buffer has room for. */
size_t ed_buffer_room(char *buffer);

/* What ed_buffer_room() would be of a new one for size bytes. */
size_t ed_buffer_room_for(size_t size);

void ed_buffer_give_back(char *buffer);

#endif
