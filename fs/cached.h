/*
 * fs/cached.h - what fs keeps with a pool, and reads that need no thread
 *
 * Internal. On the loop's thread, but for the buffers.
 */
#ifndef EDDY_FS_CACHED_H
#define EDDY_FS_CACHED_H

#include <stdbool.h>

#include "fs/buffer.h"
#include "fs/fs.h"

struct ed_fs_home {
    struct ed_pool_guest guest;
    struct ed_buffers *buffers;
    struct ed_list lines;  // struct ed_lines that are being read
    size_t bytes_per_turn; // that the loop reads itself
    size_t spent;          // of them, in the turn of that number
    uint64_t turn;
    bool is_refused; // the system does not know, or allow, the calls
    bool has_deaf;   // a device cannot tell what is in the page cache:
    dev_t deaf;
};

/* Makes one if the pool has none. Returns NULL without memory. */
struct ed_fs_home *ed_fs_home_of(struct ed_pool *pool);

/*
 * Reads request->path into request->file if that can be done without waiting.
 * Returns whether request->result is the answer. If not, a worker has to do it,
 * with request->fd if that is not negative: what has been opened is not a
 * regular file, and others may have seen it.
 */
bool ed_fs_read_cached(struct ed_fs_home *home, const struct ed_loop *loop,
                       struct ed_fs_request *request);

#endif
