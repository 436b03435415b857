/* The opaque relays: splice(2) both ways in one thread, where bytes never enter this process, and copies
 * between streams under TLS. The end of one direction is passed on while the other goes on. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "supervisor/egress/internal.h"

struct direction {
    int from, to;
    int in, out; /* the pipe in between */
    size_t held; /* bytes in it */
    bool ended;  /* nothing more comes */
    bool done;   /* and that was passed on */
};

static int open_pipe(struct direction *d, int from, int to)
{
    int p[2];
    *d = (struct direction){.from = from, .to = to, .in = -1, .out = -1};
    if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    d->in = p[1];
    d->out = p[0];
    fcntl(d->in, F_SETPIPE_SZ, OS_PROXY_PIPE);
    return 0;
}

static void close_pipe(const struct direction *d)
{
    if (d->in >= 0)
        close(d->in);
    if (d->out >= 0)
        close(d->out);
}

/* Moves what can be moved now; -1 when the connection is broken, 1 when something moved. */
static int move(struct direction *d)
{
    const unsigned flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
    int moved = 0;
    if (!d->ended) {
        ssize_t n = splice(d->from, NULL, d->in, NULL, OS_PROXY_PIPE, flags);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
        if (n == 0)
            d->ended = true;
        if (n > 0) {
            d->held += (size_t)n;
            moved = 1;
        }
    }
    if (d->held) {
        ssize_t n = splice(d->out, NULL, d->to, NULL, d->held, flags);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
        if (n > 0) {
            d->held -= (size_t)n;
            moved = 1;
        }
    }
    if (d->ended && !d->held && !d->done) {
        d->done = true;
        shutdown(d->to, SHUT_WR);
    }
    return moved;
}

/* What a direction waits for: room at its target while it holds bytes, else bytes at its source. */
static void want(const struct direction *d, struct pollfd *from, struct pollfd *to)
{
    if (d->held)
        to->events |= POLLOUT;
    else if (!d->ended)
        from->events |= POLLIN;
}

static bool is_ready(const struct direction *d, const struct pollfd *from, const struct pollfd *to)
{
    return (d->held ? to->revents : from->revents) != 0;
}

static int pump(struct direction *up, struct direction *down)
{
    while (!up->done || !down->done) {
        struct pollfd p[2] = {{.fd = up->from}, {.fd = up->to}};
        want(up, &p[0], &p[1]);
        want(down, &p[1], &p[0]);
        /* A socket nobody waits for must not wake the loop by its hang-up alone. */
        for (size_t i = 0; i < 2; i++)
            if (!p[i].events)
                p[i].fd = -1;
        int n = poll(p, 2, up->done || down->done ? OS_PROXY_HALF_CLOSED_MS : -1);
        if (n == 0 || (n < 0 && errno != EINTR))
            return -1;
        if (n < 0)
            continue;
        if ((is_ready(up, &p[0], &p[1]) && move(up) < 0) || (is_ready(down, &p[1], &p[0]) && move(down) < 0))
            return -1;
    }
    return 0;
}

/* --- streams, which may be under TLS --- */

/* One direction as far as it goes now; false when the connection is broken. */
static bool copy_on(struct egress_stream *from, struct egress_stream *to, bool *done, bool *moved)
{
    enum copy_step step = *done ? COPY_IDLE : stream_copy(from, to);
    *moved |= step == COPY_MOVED;
    if (step == COPY_ENDED) {
        *done = true;
        stream_end(to);
    }
    return step != COPY_BROKEN;
}

static void want_stream(const struct egress_stream *from, const struct egress_stream *to, struct pollfd *in,
                        struct pollfd *out)
{
    if (stream_buffered(from))
        out->events |= to->write_wants;
    else
        in->events |= from->read_wants;
}

void relay_streams(struct egress_conn *c)
{
    bool up_done = false, down_done = false;
    while (!up_done || !down_done) {
        bool moved = false;
        if (!copy_on(&c->client, &c->upstream, &up_done, &moved) ||
            !copy_on(&c->upstream, &c->client, &down_done, &moved))
            break;
        if (moved || (up_done && down_done))
            continue;
        struct pollfd p[2] = {{.fd = c->client.fd}, {.fd = c->upstream.fd}};
        if (!up_done)
            want_stream(&c->client, &c->upstream, &p[0], &p[1]);
        if (!down_done)
            want_stream(&c->upstream, &c->client, &p[1], &p[0]);
        for (size_t i = 0; i < 2; i++)
            if (!p[i].events)
                p[i].fd = -1;
        if (poll(p, 2, up_done || down_done ? OS_PROXY_HALF_CLOSED_MS : -1) == 0)
            break;
    }
    if (up_done && down_done)
        return;
    stream_reset(&c->client);
    stream_reset(&c->upstream);
}

void relay_opaque(struct egress_conn *c)
{
    struct direction up, down;
    if (c->client.ssl || c->upstream.ssl) {
        relay_streams(c);
        return;
    }
    int rc = open_pipe(&up, c->client.fd, c->upstream.fd);
    rc |= open_pipe(&down, c->upstream.fd, c->client.fd);
    if (rc == 0)
        rc = pump(&up, &down);
    close_pipe(&up);
    close_pipe(&down);
    if (rc < 0) {
        stream_reset(&c->client);
        stream_reset(&c->upstream);
    }
}
