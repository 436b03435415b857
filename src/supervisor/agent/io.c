/* Descriptors on the loop, by uv_poll: the same few lines serve pipes, PTY masters and sockets. */
#include "supervisor/agent/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/limits.h"
#include "core/str.h"

#define READS_PER_TURN 4 /* then other descriptors get theirs */

struct io {
    uv_poll_t poll;
    int fd;
    enum io_kind kind;
    const struct io_ops *ops;
    void *ctx;
    struct os_buf out;
    size_t out_at; /* bytes of out already written */
    bool reading, eof;
    bool finishing, write_closed; /* io_finish was asked; write side is gone */
    bool was_full;
    bool closed;   /* descriptor and handle are let go */
    bool released; /* the owner is done with it */
    bool gone;     /* the loop is done with it */
};

static void on_poll(uv_poll_t *h, int status, int events);

static void update(struct io *io)
{
    if (io->closed)
        return;
    int events = (io->reading && !io->eof ? UV_READABLE : 0) | (io_queued(io) ? UV_WRITABLE : 0);
    if (events)
        uv_poll_start(&io->poll, events, on_poll);
    else
        uv_poll_stop(&io->poll);
}

struct io *io_new(uv_loop_t *loop, int fd, enum io_kind kind, const struct io_ops *ops, void *ctx)
{
    struct io *io = os_calloc(1, sizeof(*io));
    io->fd = fd;
    io->kind = kind;
    io->ops = ops;
    io->ctx = ctx;
    uv_poll_init(loop, &io->poll, fd); /* also makes it non-blocking */
    io->poll.data = io;
    return io;
}

static void on_gone(uv_handle_t *h)
{
    struct io *io = h->data;
    io->gone = true;
    if (io->released)
        free(io);
}

/* Handle and descriptor go together: libuv must not know a number that may be reused. */
static void let_go(struct io *io)
{
    if (io->closed)
        return;
    io->closed = true;
    uv_close((uv_handle_t *)&io->poll, on_gone);
    close(io->fd);
    os_buf_free(&io->out);
    io->out_at = 0;
}

void io_close(struct io *io)
{
    if (!io || io->released)
        return;
    io->released = true;
    let_go(io);
    if (io->gone)
        free(io);
}

void io_read(struct io *io, bool on)
{
    if (io->reading == on)
        return;
    io->reading = on;
    update(io);
}

size_t io_queued(const struct io *io)
{
    return io->out.len - io->out_at;
}

int io_fd(const struct io *io)
{
    return io->fd;
}

static void close_write(struct io *io)
{
    os_buf_free(&io->out);
    io->out_at = 0;
    if (io->write_closed)
        return;
    io->write_closed = true;
    if (io->kind == IO_SOCKET)
        shutdown(io->fd, SHUT_WR);
    else if (io->kind == IO_PIPE)
        let_go(io); /* the write end of a pipe: nothing else can happen to it */
}

static void drained(struct io *io)
{
    if (!io->was_full || io_queued(io) >= OS_RELAY_WINDOW / 2)
        return;
    io->was_full = false;
    io->ops->on_drained(io->ctx, io);
}

/* Writes what the peer takes. */
static void flush(struct io *io)
{
    while (io_queued(io)) {
        ssize_t n = write(io->fd, io->out.data + io->out_at, io_queued(io));
        if (n >= 0) {
            io->out_at += (size_t)n;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            close_write(io);
        break;
    }
    if (!io_queued(io)) {
        os_buf_clear(&io->out);
        io->out_at = 0;
        if (io->finishing)
            close_write(io);
    } else if (io->out_at >= OS_RELAY_WINDOW) {
        os_buf_consume(&io->out, io->out_at);
        io->out_at = 0;
    }
}

bool io_write(struct io *io, const uint8_t *data, size_t n)
{
    if (io->closed || io->write_closed || io->finishing)
        return false;
    os_buf_add(&io->out, data, n);
    flush(io);
    if (io->write_closed)
        return false;
    io->was_full |= io_queued(io) > OS_RELAY_WINDOW;
    update(io);
    return true;
}

void io_finish(struct io *io)
{
    if (io->closed || io->finishing)
        return;
    io->finishing = true;
    if (!io_queued(io))
        close_write(io);
}

static void read_some(struct io *io)
{
    uint8_t data[OS_RELAY_FRAME];
    for (int i = 0; i < READS_PER_TURN && io->reading && !io->closed; i++) {
        ssize_t n = read(io->fd, data, sizeof(data));
        if (n > 0) {
            io->ops->on_data(io->ctx, io, data, (size_t)n);
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        io->eof = true;
        update(io);
        io->ops->on_eof(io->ctx, io);
        return;
    }
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct io *io = h->data;
    if (status < 0)
        events = UV_READABLE | UV_WRITABLE; /* the calls say what is wrong */
    if (events & UV_WRITABLE && io_queued(io)) {
        flush(io);
        drained(io);
    }
    if (events & UV_READABLE && !io->closed && io->reading && !io->eof)
        read_some(io);
    update(io); /* io itself lives until the loop is done with it */
}
