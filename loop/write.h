/*
 * loop/write.h - what a stream has still to send
 *
 * Internal. write.c keeps the queue, stream.c everything else. Nothing here
 * calls the program but ed_write_call_back().
 */
#ifndef EDDY_LOOP_WRITE_H
#define EDDY_LOOP_WRITE_H

#include "loop/stream.h"

/* Descriptors that Linux takes along with one message. */
enum { ED_MOST_FDS = 253 };

/* An empty queue. */
void ed_write_init(struct ed_stream *stream);

/* Sends what the system takes. An error breaks the stream. */
void ed_write_flush(struct ed_stream *stream);

/* Breaks the writing side: what is not sent ends with the error. */
void ed_write_fail(struct ed_stream *stream, int error);

/* Whether somebody is to be called back, and calls back the first of them. */
bool ed_write_has_news(const struct ed_stream *stream);
void ed_write_call_back(struct ed_stream *stream);

/* How many writes are done; copies may be among them. */
size_t ed_write_count_done(const struct ed_stream *stream);

/* Gives all writes back to whom they belong. */
void ed_write_forget(struct ed_stream *stream);

/* stream.c: after all that changes what a stream waits for. */
void ed_stream_changed(struct ed_stream *stream);

bool ed_stream_is_connecting(const struct ed_stream *stream);

#endif
