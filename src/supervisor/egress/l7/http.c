/* HTTP/1 inside a tunnel: one request after the other, each read, passed through the gate and relayed before
 * the next one is looked at (spec/proxy.md 3.3, 6.2, 6.5). */
#include <string.h>

#include "core/log.h"
#include "core/str.h"
#include "supervisor/egress/credentials/guard.h"
#include "supervisor/egress/internal.h"

/* 502 for a first request; a later one may have met an upstream that was closing, which clients retry by
 * themselves when the connection just ends. */
static void answer_no_reply(const struct tunnel_http *t, struct egress_request *r, const struct os_error *err)
{
    event_failure(t->c, "L7 relay error", err);
    if (t->c->requests == 1)
        gate_no_upstream(t, r, os_error_text(err));
}

static bool relay(const struct tunnel_http *t, struct egress_request *r)
{
    struct os_error err cleanup_error = {0};
    struct egress_conn *c = t->c;
    request_write_head(r, false, NULL);
    switch (exchange_run(r, t->scheme, false, &err)) {
    case EXCHANGE_KEEP:
        return true;
    case EXCHANGE_CLOSE:
        stream_finish(&c->client);
        return false;
    case EXCHANGE_BAD_BODY:
        gate_refuse_malformed(t, r, &err);
        return false;
    case EXCHANGE_NO_REPLY:
        if (!conn_stale(c))
            answer_no_reply(t, r, &err);
        return false;
    case EXCHANGE_BROKEN:
        if (!conn_stale(c))
            os_log_debug("egress", "L7 relay error: %s", os_error_text(&err));
        return false;
    case EXCHANGE_REFUSED:
        stream_reset(&c->upstream);
        t->answer(t, r, r->refusal);
        return false;
    case EXCHANGE_STALE:
        return false;
    case EXCHANGE_SWITCHED:
        upgrade_serve(r, t->scheme, false);
        return false;
    }
    return false;
}

/* One request whose head is parsed; true when another may follow. */
static bool serve_parsed(const struct tunnel_http *t, struct egress_request *r)
{
    struct os_error err cleanup_error = {0};
    if (!gate_admit(t, r))
        return false;
    upgrade_recognise(r);
    if (t->inspect && request_inspect(r, &err) < 0) {
        gate_refuse_body(t, r, &err);
        return false;
    }
    return gate_allow(t, r) && !conn_stale(t->c) && gate_middleware(t, r) && guard_admit(t, r) &&
           !conn_stale(t->c) && relay(t, r);
}

/* Reads and serves the next request; true when another may follow. */
static bool serve_next(const struct tunnel_http *t)
{
    struct os_error err cleanup_error = {0};
    struct os_arena arena cleanup_arena = {0};
    struct egress_conn *c = t->c;
    struct egress_request r = {.conn = c, .arena = &arena, .head = &c->head, .path = "/"};
    ssize_t n = head_read(&c->client, t->upstream_error ? NULL : &c->upstream, OS_PROXY_HEADER, -1, &err);
    if (n == 0 || (n < 0 && conn_stale(c)))
        return false;
    if (n < 0 && err.code == OS_UNAVAILABLE)
        return false;
    c->requests++;
    if (n < 0) {
        gate_refuse_malformed(t, &r, &err);
        return false;
    }
    /* The views of the head must outlive the buffer, which the body goes through. */
    char *head = os_arena_memdup(&arena, stream_bytes(&c->client), (size_t)n);
    stream_consume(&c->client, (size_t)n);
    if (http1_parse_request(head, (size_t)n, &c->head, &err) < 0) {
        gate_refuse_malformed(t, &r, &err);
        return false;
    }
    bool more = serve_parsed(t, &r);
    request_free(&r);
    return more;
}

static void answer(const struct tunnel_http *t, struct egress_request *r, const struct deny_answer *a)
{
    deny_send(&t->c->client, a);
}

void http_serve(struct egress_conn *c, const char *scheme, const char *upstream_error)
{
    const struct tunnel_http t = {.c = c,
                                  .scheme = scheme,
                                  .inspect = policy_l4_inspects(&c->l4),
                                  .upstream_error = upstream_error,
                                  .answer = answer};
    while (serve_next(&t))
        ;
}
