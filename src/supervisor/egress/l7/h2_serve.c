/* HTTP/2 inside a tunnel: moves bytes between the two sockets and the two sessions until either is done. A
 * side that does not take what it is sent stops the reading, so nothing piles up here. */
#include <errno.h>
#include <poll.h>

#include "core/clock.h"
#include "core/str.h"
#include "supervisor/egress/l7/h2.h"

struct side {
    struct egress_stream *stream;
    struct os_buf out; /* frames on their way to the socket */
    size_t written;
    int64_t blocked_ms; /* since when the socket takes nothing; 0 = it does */
    bool readable;      /* a read may give something */
    bool deaf;          /* it takes nothing any more */
    bool gone;
};

struct serving {
    struct egress_conn *c;
    struct h2_relay *h;
    struct side side[H2_SIDES];
    bool over;
    bool parting; /* only last words are sent: what fails now matters to nobody */
};

/* The agent's session ends because of what it did. */
static void end_agent(struct serving *s, const struct os_error *err)
{
    struct egress_conn *c = s->c;
    const struct conn_event ev = {"Refuse", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "http-parser",
                                  os_error_text(err)};
    event_conn(c, &ev, "HTTP/2 connection ended for %s:%u", c->host, c->port);
    s->over = true;
}

static void lose_upstream(struct serving *s, const struct os_error *err)
{
    s->side[H2_UPSTREAM].gone = true;
    h2_relay_lost_upstream(s->h, err);
}

static void failed(struct serving *s, enum h2_side which, const struct os_error *err)
{
    if (s->parting || conn_stale(s->c))
        s->over = s->side[which].gone = true;
    else if (which == H2_AGENT)
        end_agent(s, err);
    else
        lose_upstream(s, err);
}

static void closed(struct serving *s, enum h2_side which)
{
    struct os_error err cleanup_error = {0};
    os_error_set(&err, OS_UNAVAILABLE, "upstream closed the connection");
    if (which == H2_AGENT)
        s->over = s->side[which].gone = true;
    else
        failed(s, which, &err);
}

/* A write failed. What the upstream said before it closed may still wait to be read. */
static void deafen(struct serving *s, enum h2_side which)
{
    s->side[which].deaf = true;
    s->side[which].readable = true;
    s->side[which].written = s->side[which].out.len;
    if (which == H2_AGENT)
        closed(s, which);
    else
        h2_relay_drain(s->h);
}

/* Writes what can be written now; true when something was. */
static bool write_side(struct serving *s, enum h2_side which)
{
    struct os_error err cleanup_error = {0};
    struct side *side = &s->side[which];
    bool moved = false;
    while (!side->gone && !side->deaf) {
        if (side->written == side->out.len) {
            os_buf_clear(&side->out);
            side->written = 0;
            if (h2_relay_pull(s->h, which, &side->out, &err) < 0) {
                failed(s, which, &err);
                break;
            }
            if (!side->out.len)
                break;
        }
        ssize_t n = stream_write(side->stream, side->out.data + side->written, side->out.len - side->written);
        if (n == STREAM_AGAIN) {
            side->blocked_ms = side->blocked_ms ? side->blocked_ms : os_clock_mono_ms();
            break;
        }
        side->blocked_ms = 0;
        if (n < 0)
            deafen(s, which);
        else
            side->written += (size_t)n;
        moved = true;
    }
    return moved;
}

/* The socket takes no more, and much more waits. */
static bool is_clogged(const struct serving *s, enum h2_side which)
{
    const struct side *side = &s->side[which];
    return !side->gone && side->written < side->out.len && h2_relay_clogged(s->h, which);
}

static bool may_read(const struct serving *s, enum h2_side which)
{
    return !s->side[which].gone && !is_clogged(s, H2_AGENT) && !is_clogged(s, H2_UPSTREAM);
}

static bool read_side(struct serving *s, enum h2_side which)
{
    struct os_error err cleanup_error = {0};
    struct side *side = &s->side[which];
    struct egress_stream *stream = side->stream;
    if (!may_read(s, which) || !(side->readable || stream_decrypted(stream)))
        return false;
    ssize_t n = stream_fill(stream);
    if (n == STREAM_AGAIN) {
        side->readable = false;
        return false;
    }
    if (n <= 0) {
        closed(s, which);
        return true;
    }
    if (h2_relay_feed(s->h, which, stream_bytes(stream), stream_buffered(stream), &err) < 0)
        failed(s, which, &err);
    stream_consume(stream, stream_buffered(stream));
    return true;
}

/* How long to wait at most for something to move; -1 = any time. */
static int patience(struct serving *s, struct os_error *err)
{
    int64_t now = os_clock_mono_ms();
    int timeout = h2_relay_tick(s->h, err);
    for (enum h2_side i = 0; i < H2_SIDES; i++) {
        if (!s->side[i].blocked_ms)
            continue;
        timeout = 1000;
        if (now - s->side[i].blocked_ms > OS_PROXY_BODY_IDLE_MS)
            os_error_set(err, OS_DEADLINE_EXCEEDED, "%s took nothing for %d s",
                         i == H2_AGENT ? "client" : "upstream", OS_PROXY_BODY_IDLE_MS / 1000);
    }
    return timeout;
}

/* chains: milliseconds until the middleware chains are to be looked at again, -1 = none is under way. */
static void wait_any(struct serving *s, int chains)
{
    struct os_error err cleanup_error = {0};
    struct pollfd p[H2_SIDES + 1];
    int timeout = patience(s, &err);
    if (timeout < 0 || (chains >= 0 && chains < timeout))
        timeout = chains;
    if (err.code) {
        end_agent(s, &err);
        return;
    }
    for (enum h2_side i = 0; i < H2_SIDES; i++) {
        const struct side *side = &s->side[i];
        p[i] = (struct pollfd){.fd = side->stream->fd};
        if (may_read(s, i))
            p[i].events |= side->stream->read_wants;
        if (side->written < side->out.len)
            p[i].events |= side->stream->write_wants;
        if (side->gone || !p[i].events)
            p[i].fd = -1;
    }
    p[H2_SIDES] = (struct pollfd){.fd = s->h->wake, .events = POLLIN};
    int n = poll(p, H2_SIDES + 1, timeout);
    for (enum h2_side i = 0; n > 0 && i < H2_SIDES; i++)
        s->side[i].readable = s->side[i].readable || p[i].revents;
}

static void run(struct serving *s)
{
    while (!s->over && !conn_stale(s->c)) {
        int chains = -1;
        bool moved = h2_chains_turn(s->h, &chains);
        for (enum h2_side i = 0; i < H2_SIDES; i++)
            moved = read_side(s, i) || moved;
        for (enum h2_side i = 0; i < H2_SIDES; i++)
            moved = write_side(s, i) || moved;
        const struct side *agent = &s->side[H2_AGENT];
        if (agent->written == agent->out.len && h2_relay_over(s->h))
            s->over = true;
        if (!moved && !s->over)
            wait_any(s, chains);
    }
}

void h2_serve(struct egress_conn *c)
{
    const struct tunnel_http t = {
        .c = c, .scheme = "https", .inspect = policy_l4_inspects(&c->l4), .answer = h2_answer};
    struct serving s = {.c = c, .h = h2_relay_new(&t)};
    s.side[H2_AGENT] = (struct side){.stream = &c->client, .readable = true};
    s.side[H2_UPSTREAM] = (struct side){.stream = &c->upstream, .readable = true};
    conn_cut_gently(c);
    run(&s);
    s.parting = true;
    for (enum h2_side i = 0; i < H2_SIDES; i++) {
        h2_relay_goodbye(s.h, i);
        write_side(&s, i);
        os_buf_free(&s.side[i].out);
    }
    h2_relay_free(s.h);
    stream_finish(&c->client);
}
