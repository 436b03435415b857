/* One request and its response, both directions at once, so that neither side can block the other: interim
 * responses, early answers and slow readers included (spec/proxy.md 3.6, 3.7). */
#include <poll.h>
#include <string.h>

#include "core/clock.h"
#include "supervisor/egress/credentials/guard.h"
#include "supervisor/egress/internal.h"

struct exchange {
    struct egress_conn *c;
    struct egress_request *r;
    struct egress_stream *client, *upstream;
    struct http1_head
        *head;       /* of the response; reuses the room of the request's, unless that is an upgrade */
    size_t head_len; /* of a response that switches protocols */
    bool is_upgrade; /* and may it */
    struct http1_body request, response;
    struct body_guard *guard; /* looks at the request body; NULL = nobody does */
    bool holds;               /* and only what it lets go is sent, with framing of ours */
    struct os_buf payload, released, framed, work; /* of one step of that */
    struct http1_text collected; /* what is left to send of a body that does not go straight through */
    size_t request_ready;        /* bytes in the client's buffer that belong to the body and may be sent */
    size_t response_ready;       /* bytes in the upstream's buffer that may be sent */
    bool is_head, client_is_10;
    bool client_closes; /* the client wants the connection closed */
    bool client_ended;  /* the client sends no more: gone, or waiting for its answer alone */
    unsigned interims;  /* interim responses so far */
    int64_t head_end;   /* when the head that has begun must be complete; 0 = none has */
    bool final;         /* the final response head was seen */
    bool to_eof;        /* its body ends with the connection */
    bool answered;      /* a byte of a final response was sent */
    bool request_lost;  /* the upstream takes no more of the body */
    bool close;
    bool done;
    int eof_idle_ms; /* limit of silence in a body that ends with the connection */
};

enum step { STEP_IDLE, STEP_MOVED, STEP_BAD_BODY, STEP_REFUSED, STEP_BROKEN, STEP_STALE, STEP_SWITCHED };

/* Marks what is buffered of the request body as ready; -1 when the framing is broken. */
static int take_body(struct exchange *x, struct os_error *err)
{
    if (x->request.done || x->request_ready)
        return 0;
    os_buf_clear(&x->payload);
    int64_t n = http1_body_decode(&x->request, stream_bytes(x->client), stream_buffered(x->client),
                                  x->guard ? &x->payload : NULL, err);
    if (n < 0)
        return -1;
    x->request_ready = (size_t)n;
    if (x->guard)
        body_guard_feed(x->guard, os_buf_str(&x->payload), x->payload.len, x->request.done, NULL, &x->work);
    return 0;
}

/* What may go on, framed as the head says. */
static void frame_released(struct exchange *x)
{
    bool chunked = x->request.framing == HTTP1_CHUNKED;
    os_buf_clear(&x->framed);
    if (chunked && x->released.len)
        os_buf_addf(&x->framed, "%zx\r\n", x->released.len);
    os_buf_add(&x->framed, os_buf_str(&x->released), x->released.len);
    if (chunked && x->released.len)
        os_buf_adds(&x->framed, "\r\n");
    if (chunked && x->request.done)
        os_buf_adds(&x->framed, "0\r\n\r\n");
    x->collected = (struct http1_text){x->framed.data, x->framed.len};
}

/* The same where bytes are held: takes what is buffered, and has what may be sent in x->collected, which is
 * empty before. */
static enum step take_held(struct exchange *x, struct os_error *err)
{
    os_buf_clear(&x->payload);
    os_buf_clear(&x->released);
    int64_t n =
        http1_body_decode(&x->request, stream_bytes(x->client), stream_buffered(x->client), &x->payload, err);
    if (n < 0)
        return STEP_BAD_BODY;
    stream_consume(x->client, (size_t)n);
    if (!body_guard_feed(x->guard, os_buf_str(&x->payload), x->payload.len, x->request.done, &x->released,
                         &x->work))
        return STEP_REFUSED;
    frame_released(x);
    return STEP_MOVED;
}

static enum step move_collected(struct exchange *x)
{
    ssize_t n = stream_write(x->upstream, x->collected.p, x->collected.n);
    if (n == STREAM_AGAIN)
        return STEP_IDLE;
    if (n < 0) {
        x->request_lost = x->close = true;
        request_drop_body(x->r);
        return STEP_MOVED;
    }
    x->collected.p += n;
    x->collected.n -= (size_t)n;
    if (!x->collected.n)
        request_drop_body(x->r);
    return STEP_MOVED;
}

/* client -> upstream */
static enum step move_request(struct exchange *x, struct os_error *err)
{
    if (x->collected.n && !x->request_lost)
        return move_collected(x);
    if (x->request_lost || (x->request.done && !x->request_ready))
        return STEP_IDLE;
    enum step step = STEP_IDLE;
    if (!x->request_ready && !stream_buffered(x->client)) {
        ssize_t n = stream_fill(x->client);
        if (n == STREAM_AGAIN)
            return STEP_IDLE;
        if (n <= 0) {
            os_error_set(err, OS_UNAVAILABLE, "client closed the connection inside the request body");
            return STEP_BROKEN;
        }
        if (conn_stale(x->c))
            return STEP_STALE;
        step = STEP_MOVED;
    }
    if (x->holds)
        return take_held(x, err);
    if (take_body(x, err) < 0)
        return STEP_BAD_BODY;
    if (!x->request_ready)
        return step;
    ssize_t n = stream_write(x->upstream, stream_bytes(x->client), x->request_ready);
    if (n == STREAM_AGAIN)
        return step;
    if (n < 0) {
        x->request_lost = x->close = true;
        return STEP_MOVED;
    }
    x->request_ready -= (size_t)n;
    stream_consume(x->client, (size_t)n);
    return STEP_MOVED;
}

/* How the final response is framed, and whether the connection outlives it. */
static void frame_response(struct exchange *x)
{
    const struct http1_head *h = x->head;
    bool promised = http1_has_token(h, "connection", "close") || h->minor == 0;
    x->close = x->close || promised || x->client_closes;
    if (x->is_head || h->status == 204 || h->status == 304) {
        http1_body_start(&x->response, HTTP1_NO_BODY, 0);
        return;
    }
    http1_body_start(&x->response, h->framing, h->length);
    x->to_eof = h->framing == HTTP1_NO_BODY;
    if (!x->to_eof)
        return;
    x->close = true;
    const struct http1_field *type = http1_find(h, "content-type", NULL);
    bool stream = type && type->value.n >= 17 && !strncasecmp(type->value.p, "text/event-stream", 17);
    x->eof_idle_ms = stream ? -1 : promised ? OS_PROXY_BODY_IDLE_MS : OS_PROXY_UNFRAMED_IDLE_MS;
}

/* A complete head of n bytes stands at the start of the upstream's buffer. */
static enum step take_head(struct exchange *x, size_t n, struct os_error *err)
{
    if (http1_parse_response(stream_bytes(x->upstream), n, x->head, err) < 0)
        return STEP_BROKEN;
    int status = x->head->status;
    if (status == 101 && x->is_upgrade) {
        x->head_len = n;
        return STEP_SWITCHED;
    }
    if (status == 101) {
        os_error_set(err, OS_UNAVAILABLE, "upstream switched protocols without being asked");
        return STEP_BROKEN;
    }
    x->head_end = 0;
    if (status < 200 && ++x->interims > OS_PROXY_INTERIM_MAX) {
        os_error_set(err, OS_UNAVAILABLE, "upstream sent more than %d interim responses",
                     OS_PROXY_INTERIM_MAX);
        return STEP_BROKEN;
    }
    if (status == 407 && x->c->asks_proxy) {
        os_error_set(err, OS_UNAVAILABLE,
                     "upstream proxy: status 407: it wants credentials, or others than it was given");
        return STEP_BROKEN;
    }
    if (status < 200) {
        if (x->client_is_10 || x->interims > OS_PROXY_INTERIM)
            stream_consume(x->upstream, n);
        else
            x->response_ready = n;
        return STEP_MOVED;
    }
    frame_response(x);
    x->final = true;
    x->response_ready = n;
    if (!x->to_eof)
        return STEP_MOVED;
    static const char closing[] = "Connection: close\r\n\r\n";
    x->answered = true;
    x->response_ready = 0;
    if (stream_send(x->client, stream_bytes(x->upstream), n - 2, OS_PROXY_BODY_IDLE_MS) < 0 ||
        stream_send(x->client, closing, sizeof(closing) - 1, OS_PROXY_BODY_IDLE_MS) < 0)
        return STEP_BROKEN;
    stream_consume(x->upstream, n);
    return STEP_MOVED;
}

/* Marks buffered response bytes as ready to be sent. */
static enum step take_response(struct exchange *x, struct os_error *err)
{
    struct egress_stream *up = x->upstream;
    if (!x->final && !x->response_ready) {
        size_t seen = 0, n = http1_head_end(stream_bytes(up), stream_buffered(up), &seen);
        if (!n && stream_buffered(up) && !x->head_end)
            x->head_end = os_clock_mono_ms() + OS_PROXY_FIRST_BYTE_MS;
        if (!n && stream_buffered(up) >= OS_PROXY_HEADER) {
            os_error_set(err, OS_OUT_OF_RANGE, "response head is longer than %d bytes", OS_PROXY_HEADER);
            return STEP_BROKEN;
        }
        if (!n)
            return STEP_IDLE;
        enum step step = take_head(x, n, err);
        if (step == STEP_BROKEN || step == STEP_SWITCHED || !x->final)
            return step;
    }
    if (!x->final)
        return STEP_IDLE;
    size_t rest = stream_buffered(up) - x->response_ready;
    if (x->to_eof) {
        x->response_ready += rest;
        return STEP_IDLE;
    }
    int64_t n = http1_body_feed(&x->response, stream_bytes(up) + x->response_ready, rest, err);
    if (n < 0)
        return STEP_BROKEN;
    x->response_ready += (size_t)n;
    return STEP_IDLE;
}

/* The upstream ended its direction. */
static enum step upstream_ended(struct exchange *x, bool clean, struct os_error *err)
{
    if (x->to_eof && clean) {
        x->done = true;
        return STEP_MOVED;
    }
    os_error_set(err, OS_UNAVAILABLE,
                 x->final ? "upstream closed the connection inside the response"
                          : "upstream closed the connection before a response");
    return STEP_BROKEN;
}

/* upstream -> client */
static enum step move_response(struct exchange *x, bool readable, struct os_error *err)
{
    struct egress_stream *up = x->upstream;
    enum step step = STEP_IDLE;
    if (!x->response_ready && readable && !(x->final && x->response.done && !x->to_eof)) {
        ssize_t n = stream_fill(up);
        if (n != STREAM_AGAIN && n <= 0)
            return upstream_ended(x, n == 0, err);
        if (n > 0)
            step = STEP_MOVED;
    }
    if (!x->response_ready) {
        enum step taken = take_response(x, err);
        if (taken == STEP_BROKEN || taken == STEP_SWITCHED)
            return taken;
        if (taken == STEP_MOVED)
            step = taken;
    }
    if (x->response_ready) {
        ssize_t n = stream_write(x->client, stream_bytes(up), x->response_ready);
        if (n == STREAM_FAIL) {
            os_error_set(err, OS_UNAVAILABLE, "client closed the connection inside the response");
            return STEP_BROKEN;
        }
        if (n > 0) {
            x->answered = x->answered || x->final;
            x->response_ready -= (size_t)n;
            stream_consume(up, (size_t)n);
            step = STEP_MOVED;
        }
    }
    if (x->final && !x->to_eof && x->response.done && !x->response_ready)
        x->done = true;
    return step;
}

/* How long to wait for something to move at most, -1 = any time. */
static int patience(const struct exchange *x, bool body_missing)
{
    bool held = body_missing || x->response_ready || x->request_ready || x->collected.n;
    int64_t limit = x->to_eof ? x->eof_idle_ms : held ? OS_PROXY_BODY_IDLE_MS : -1;
    int64_t head = x->head_end ? x->head_end - os_clock_mono_ms() : -1;
    if (x->client_ended && !x->response_ready && (limit < 0 || limit > OS_PROXY_CLIENT_ENDED_MS))
        limit = OS_PROXY_CLIENT_ENDED_MS;
    if (x->head_end && (limit < 0 || head < limit))
        limit = head > 0 ? head : 0;
    return (int)limit;
}

static bool too_slow(const struct exchange *x, int limit, struct os_error *err)
{
    if (x->head_end && os_clock_mono_ms() >= x->head_end)
        os_error_set(err, OS_DEADLINE_EXCEEDED, "no complete response head within %d s",
                     OS_PROXY_FIRST_BYTE_MS / 1000);
    else
        os_error_set(err, OS_DEADLINE_EXCEEDED, "no progress for %d s", limit / 1000);
    return false;
}

/* Waits until something can move; false when the client is gone or a limit passed. */
static bool wait_any(struct exchange *x, bool *upstream_readable, struct os_error *err)
{
    struct pollfd p[] = {
        {.fd = x->client->fd}, {.fd = x->upstream->fd}, {.fd = x->c->reload_fd, .events = POLLIN}};
    bool body_missing = !x->request_lost && !x->request.done && !x->request_ready && !x->collected.n;
    if (body_missing)
        p[0].events |= x->client->read_wants;
    else if (!x->client_ended)
        p[0].events |= POLLRDHUP;
    if ((x->request_ready || x->collected.n) && !x->request_lost)
        p[1].events |= x->upstream->write_wants;
    if (x->response_ready)
        p[0].events |= x->client->write_wants;
    else
        p[1].events |= x->upstream->read_wants;
    if (!p[1].events)
        p[1].fd = -1;
    int limit = patience(x, body_missing);
    int n = poll(p, 3, limit);
    *upstream_readable = n > 0 && p[1].revents != 0;
    if (n == 0)
        return too_slow(x, limit, err);
    x->client_ended = x->client_ended || (n > 0 && (p[0].revents & POLLRDHUP));
    if (n > 0 && (p[0].revents & (POLLERR | POLLHUP | POLLNVAL))) {
        os_error_set(err, OS_UNAVAILABLE, "client closed the connection");
        return false;
    }
    return true;
}

/* The head and whatever of the body is already here, in one write. */
static int send_head(struct exchange *x, struct os_buf *head)
{
    if (x->request_ready) {
        os_buf_add(head, stream_bytes(x->client), x->request_ready);
        stream_consume(x->client, x->request_ready);
        x->request_ready = 0;
    }
    if (x->holds) {
        os_buf_add(head, x->collected.p, x->collected.n);
        x->collected.n = 0;
    }
    if (head->failed)
        return -1;
    return stream_send(x->upstream, head->data, head->len, OS_PROXY_HANDSHAKE_MS);
}

static enum exchange_end broken(const struct exchange *x)
{
    return x->answered ? EXCHANGE_BROKEN : EXCHANGE_NO_REPLY;
}

/* The wait ended without anything to move. */
static enum exchange_end gave_up(const struct exchange *x, const struct os_error *err)
{
    if (err->code != OS_DEADLINE_EXCEEDED)
        return EXCHANGE_BROKEN;
    if (x->to_eof)
        return x->eof_idle_ms == OS_PROXY_UNFRAMED_IDLE_MS ? EXCHANGE_CLOSE : EXCHANGE_BROKEN;
    bool upstream_slow = x->head_end || x->request_ready || x->collected.n;
    return upstream_slow ? broken(x) : EXCHANGE_BROKEN;
}

static enum exchange_end run(struct exchange *x, struct os_error *err)
{
    bool readable = false; /* nothing is tried before the first wait: the answer takes a while */
    while (!x->done) {
        if (conn_stale(x->c))
            return x->answered ? EXCHANGE_BROKEN : EXCHANGE_STALE;
        enum step a = move_request(x, err);
        if (a == STEP_STALE)
            return EXCHANGE_STALE;
        if (a == STEP_REFUSED)
            return x->answered ? EXCHANGE_BROKEN : EXCHANGE_REFUSED;
        if (a == STEP_BAD_BODY)
            return x->answered ? EXCHANGE_BROKEN : EXCHANGE_BAD_BODY;
        enum step b = a == STEP_BROKEN ? a : move_response(x, readable, err);
        if (b == STEP_SWITCHED)
            return EXCHANGE_SWITCHED;
        if (b == STEP_BROKEN)
            return a == STEP_BROKEN ? EXCHANGE_BROKEN : broken(x);
        readable = stream_decrypted(x->upstream);
        if (x->done || a == STEP_MOVED || b == STEP_MOVED || (readable && !x->response_ready))
            continue;
        if (!wait_any(x, &readable, err))
            return gave_up(x, err);
    }
    bool complete = x->request.done && !x->request_ready && !x->collected.n && !x->request_lost;
    return complete && !x->close && !stream_buffered(x->upstream) && !stream_decrypted(x->upstream)
               ? EXCHANGE_KEEP
               : EXCHANGE_CLOSE;
}

/* What is here of the body, before the head goes: a body that is refused or broken from the start is not sent
 * at all. */
static enum step begin_body(struct exchange *x, struct os_error *err)
{
    if (!x->request.done && !stream_buffered(x->client))
        stream_fill(x->client);
    if (x->holds)
        return take_held(x, err);
    return take_body(x, err) < 0 ? STEP_BAD_BODY : STEP_MOVED;
}

static enum exchange_end send_and_run(struct exchange *x, struct egress_request *r, struct os_error *err)
{
    enum step begun = begin_body(x, err);
    if (begun == STEP_BAD_BODY)
        return EXCHANGE_BAD_BODY;
    if (begun == STEP_REFUSED)
        return EXCHANGE_REFUSED;
    if (conn_stale(x->c))
        return EXCHANGE_STALE;
    if (send_head(x, &r->out) < 0) {
        os_error_set(err, OS_UNAVAILABLE, "upstream closed the connection before the request was sent");
        return EXCHANGE_NO_REPLY;
    }
    return run(x, err);
}

static void end_guard(struct exchange *x, struct egress_request *r, enum exchange_end end)
{
    if (end == EXCHANGE_REFUSED) {
        r->refusal = os_arena_alloc(r->arena, sizeof(*r->refusal));
        body_guard_answer(x->guard, r->refusal);
    }
    body_guard_free(x->guard);
    os_buf_free(&x->payload);
    os_buf_free(&x->released);
    os_buf_free(&x->framed);
    os_buf_free(&x->work);
}

enum exchange_end exchange_run(struct egress_request *r, const char *scheme, bool forward,
                               struct os_error *err)
{
    struct egress_conn *c = r->conn;
    struct exchange x = {.c = c,
                         .r = r,
                         .client = &c->client,
                         .upstream = &c->upstream,
                         .head = r->kind == POLICY_HTTP_UPGRADE ? r->response : &c->head,
                         .is_upgrade = r->kind == POLICY_HTTP_UPGRADE,
                         .is_head = !strcmp(r->method, "HEAD"),
                         .client_is_10 = r->head->minor == 0,
                         .client_closes =
                             r->head->minor == 0 || http1_has_token(r->head, "connection", "close")};
    if (r->body_read)
        x.collected = (struct http1_text){r->body.data, r->body.len};
    http1_body_start(&x.request, r->body_read ? HTTP1_NO_BODY : r->head->framing, r->head->length);
    if (!x.request.done)
        x.guard = body_guard_new(r, scheme, forward);
    x.holds = x.guard && body_guard_holds(x.guard);
    enum exchange_end end = send_and_run(&x, r, err);
    end_guard(&x, r, end);
    r->response_len = x.head_len;
    return end;
}
