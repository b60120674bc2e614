/*
 * fs/wait.h - waiting on a worker, and being called back from it
 *
 * Internal. The request is NULL in the _sync forms, which nobody calls back.
 */
#ifndef EDDY_FS_WAIT_H
#define EDDY_FS_WAIT_H

#include <sys/types.h>

struct ed_fs_request;

/* Whether to go on: 0, or -ECANCELED, or -ETIMEDOUT. */
int ed_fs_go_on(const struct ed_fs_request *request);

/* Waits until poll(2) has something of events, or an error, to say of fd. */
int ed_fs_await(int fd, short events, const struct ed_fs_request *request);

/*
 * As ed_fs_open_sync(), and the descriptor does not block. Waits for the reader
 * of a FIFO that is to be written, and for another process to give up its lease
 * on the file. With O_NOCTTY: to open a terminal must not make it the program's
 * own.
 */
int ed_fs_open_patiently(const char *path, int flags, mode_t mode,
                         const struct ed_fs_request *request);

/* Waits a moment, before another try of what cannot be waited for. */
int ed_fs_pause(const struct ed_fs_request *request);

#endif
