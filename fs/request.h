/*
 * fs/request.h - what the asynchronous forms are made of
 *
 * An operation is written once, as its _sync form. The other one puts the
 * arguments into the request and starts it with a run of two lines:
 *
 *     static void run_unlink(struct ed_fs_request *request)
 *     {
 *         request->result = ed_fs_unlink_sync(request->path);
 *     }
 *
 *     int ed_fs_unlink(struct ed_pool *pool, struct ed_fs_request *request,
 *                      const char *path, ed_fs_fn *done)
 *     {
 *         request->path = path;
 *         return ed_fs_request_start(pool, request, run_unlink, done);
 *     }
 */
#ifndef EDDY_FS_REQUEST_H
#define EDDY_FS_REQUEST_H

#include <stdbool.h>

#include "fs/fs.h"

/*
 * Has run called on a worker, and then done on the loop's thread. Returns 0, or
 * -EAGAIN at the pool's request_limit.
 */
int ed_fs_request_start(struct ed_pool *pool, struct ed_fs_request *request,
                        ed_fs_fn *run, ed_fs_fn *done);

/* The same, with request->result there already. */
int ed_fs_request_finish(struct ed_pool *pool, struct ed_fs_request *request,
                         ed_fs_fn *done);

/* Whether its deadline has passed; for a run that waits. */
bool ed_fs_request_is_late(const struct ed_fs_request *request);

/* Kind and size of an open file, for less than ed_fs_fstat_sync() takes. */
int ed_fs_plain_fstat(int fd, struct stat *stat);

#endif
