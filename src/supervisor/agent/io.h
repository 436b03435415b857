/* One end of a pipe, a PTY master or a connected socket on the loop: non-blocking reads that can be switched
 * off (the peer then waits), and a write queue. */
#ifndef SUPERVISOR_AGENT_IO_H
#define SUPERVISOR_AGENT_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "core/buf.h"

enum io_kind {
    IO_PIPE,   /* io_finish closes it */
    IO_PTY,    /* io_finish only stops writing */
    IO_SOCKET, /* io_finish shuts the write side down */
};

struct io;

/* Callbacks may call io_close(). */
struct io_ops {
    void (*on_data)(void *ctx, struct io *io, const uint8_t *data, size_t n); /* n <= OS_RELAY_FRAME */
    /* End of input or a read error (a PTY without processes); reading has stopped. */
    void (*on_eof)(void *ctx, struct io *io);
    /* The queue was above OS_RELAY_WINDOW and fell below half of it, or the peer closed and it was dropped.
     */
    void (*on_drained)(void *ctx, struct io *io);
};

/* Takes the descriptor. Reading is off at first. */
struct io *io_new(uv_loop_t *loop, int fd, enum io_kind kind, const struct io_ops *ops, void *ctx);
void io_read(struct io *io, bool on);
/* False when the peer has closed: nothing was queued. */
bool io_write(struct io *io, const uint8_t *data, size_t n);
size_t io_queued(const struct io *io);
/* No more writes; takes effect when the queue is written. */
void io_finish(struct io *io);
int io_fd(const struct io *io);
/* Closes the descriptor now; io is freed by the loop. NULL is allowed. */
void io_close(struct io *io);

#endif
