/* HTTP inside a tunnel: one request after the other, each read, checked against the tunnel's authority,
 * judged and relayed before the next one is looked at (spec/proxy.md 3.3, 6.2, 6.5). */
#include <string.h>

#include "core/log.h"
#include "core/str.h"
#include "supervisor/egress/internal.h"

struct tunnel_http {
    struct egress_conn *c;
    const char *scheme;
    bool inspect;
    const char *upstream_error;
};

/* Answers 400 and says why in an event; the target is not shown, it could be anything. */
static void refuse_malformed(const struct tunnel_http *t, struct egress_request *r,
                             const struct os_error *err)
{
    struct egress_conn *c = t->c;
    bool slash = strstr(os_error_text(err), "%2F") != NULL;
    cleanup_free char *detail =
        os_asprintf("%s%s", os_error_text(err),
                    slash ? "; set allow_encoded_slash: true on the endpoint to allow it" : "");
    const struct conn_event ev = {"Refuse", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "http-parser", detail};
    r->path = "/[INVALID_REQUEST_TARGET]";
    if (!r->method)
        event_conn(c, &ev, "HTTP request rejected before policy evaluation for %s:%u", c->host, c->port);
    else
        event_http(r, t->scheme, c->l4.policy, &ev,
                   "HTTP request rejected before policy evaluation for %s:%u", c->host, c->port);
    deny_json(&c->client, "400 Bad Request", "invalid_request",
              "HTTP request rejected before policy evaluation", detail);
}

/* The one Host of a request, or the authority of an absolute target, which must agree. False when there is
 * none, several, or they differ: *err says so. */
static bool request_authority(const struct egress_request *r, struct http1_authority *out, bool *present,
                              struct os_error *err)
{
    const struct http1_head *h = r->head;
    const struct http1_field *host = http1_find(h, "host", NULL);
    struct http1_text scheme, authority, rest;
    *present = host != NULL;
    if (host && http1_find(h, "host", host))
        return os_error_set(err, OS_INVALID_ARGUMENT, "several Host fields") == 0;
    if (!host && h->minor == 1)
        return os_error_set(err, OS_INVALID_ARGUMENT, "no Host field in an HTTP/1.1 request") == 0;
    if (host && !http1_parse_authority(host->value, out))
        return os_error_set(err, OS_INVALID_ARGUMENT, "Host is not an authority") == 0;
    if (h->target.p[0] == '/' || !http1_split_absolute(h->target, &scheme, &authority, &rest))
        return true;
    struct http1_authority target;
    uint16_t port = http1_text_is_nocase(scheme, "https") ? 443 : 80;
    if (!http1_parse_authority(authority, &target))
        return os_error_set(err, OS_INVALID_ARGUMENT, "authority of the target is malformed") == 0;
    target.port = target.port ? target.port : port;
    if (host && (strcmp(target.host, out->host) || target.port != (out->port ? out->port : port)))
        return os_error_set(err, OS_INVALID_ARGUMENT, "Host and the authority of the target differ") == 0;
    *out = target;
    *present = true;
    return true;
}

/* The request must be for the endpoint that CONNECT was allowed for. */
static bool authority_matches(const struct tunnel_http *t, const struct http1_authority *a, bool present)
{
    uint16_t port = !strcmp(t->scheme, "https") ? 443 : 80;
    return !present || (!strcmp(a->host, t->c->host) && (a->port ? a->port : port) == t->c->port);
}

static void refuse_authority(const struct tunnel_http *t, struct egress_request *r)
{
    static const char message[] = "HTTP request authority does not match the authorized tunnel endpoint";
    struct egress_conn *c = t->c;
    const struct conn_event ev = {"Refuse", AUDIT_SEV_HIGH, AUDIT_DENIED, "request-authority", message};
    event_http(r, t->scheme, c->l4.policy, &ev, "%s", message);
    event_finding(c, "openshell.http.request_authority_mismatch", "HTTP request authority mismatch", message);
    deny_json_message(&c->client, "403 Forbidden", "request_authority_mismatch", message);
}

/* 502 for a first request; a later one may have met an upstream that was closing, which clients retry by
 * themselves when the connection just ends. */
static void answer_no_reply(const struct tunnel_http *t, const struct os_error *err)
{
    struct egress_conn *c = t->c;
    event_failure(c, "L7 relay error", err);
    if (c->requests > 1)
        return;
    cleanup_free char *detail = os_asprintf("connection to %s:%u failed", c->host, c->port);
    deny_json(&c->client, "502 Bad Gateway", "upstream_unreachable", detail, os_error_text(err));
}

static bool relay(const struct tunnel_http *t, struct egress_request *r)
{
    struct os_error err cleanup_error = {0};
    struct egress_conn *c = t->c;
    request_write_head(r, false, NULL);
    switch (exchange_run(r, &err)) {
    case EXCHANGE_KEEP:
        return true;
    case EXCHANGE_CLOSE:
        stream_finish(&c->client);
        return false;
    case EXCHANGE_BAD_BODY:
        refuse_malformed(t, r, &err);
        return false;
    case EXCHANGE_NO_REPLY:
        if (!conn_stale(c))
            answer_no_reply(t, &err);
        return false;
    case EXCHANGE_BROKEN:
        if (!conn_stale(c))
            os_log_debug("egress", "L7 relay error: %s", os_error_text(&err));
        return false;
    case EXCHANGE_STALE:
        return false;
    case EXCHANGE_SWITCHED:
        upgrade_serve(r, t->scheme, false);
        return false;
    }
    return false;
}

static bool allowed(const struct tunnel_http *t, struct egress_request *r)
{
    struct egress_conn *c = t->c;
    if (!t->inspect) {
        const struct conn_event ev = {"Open", AUDIT_SEV_INFO, AUDIT_ALLOWED, "opa", NULL};
        event_http(r, t->scheme, c->l4.policy, &ev,
                   "HTTP_REQUEST %s %s:%u%s credentials_injected=false request_num=%u", r->method, c->host,
                   c->port, r->path, c->requests);
        return true;
    }
    cleanup_buf struct os_buf reason = {0};
    const char *policy;
    if (request_judge(r, t->scheme, false, &policy, &reason) == REQUEST_FORWARD)
        return true;
    deny_request(&c->client, r, policy, os_buf_str(&reason));
    return false;
}

/* One request whose head is parsed; true when another may follow. */
static bool serve_parsed(const struct tunnel_http *t, struct egress_request *r)
{
    struct os_error err cleanup_error = {0};
    struct http1_authority authority;
    struct egress_conn *c = t->c;
    bool present;
    r->method = os_arena_strndup(r->arena, r->head->method.p, r->head->method.n);
    if (!request_authority(r, &authority, &present, &err) || request_parse(r, &err) < 0) {
        refuse_malformed(t, r, &err);
        return false;
    }
    if (!authority_matches(t, &authority, present)) {
        refuse_authority(t, r);
        return false;
    }
    upgrade_recognise(r);
    if (t->inspect && request_inspect(r, &err) < 0) {
        if (err.code != OS_UNAVAILABLE)
            refuse_malformed(t, r, &err);
        return false;
    }
    if (!allowed(t, r))
        return false;
    if (t->upstream_error) {
        cleanup_free char *detail = os_asprintf("connection to %s:%u failed", c->host, c->port);
        deny_json(&c->client, "502 Bad Gateway", "upstream_unreachable", detail, t->upstream_error);
        return false;
    }
    return !conn_stale(c) && relay(t, r);
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
        refuse_malformed(t, &r, &err);
        return false;
    }
    /* The views of the head must outlive the buffer, which the body goes through. */
    char *head = os_arena_memdup(&arena, stream_bytes(&c->client), (size_t)n);
    stream_consume(&c->client, (size_t)n);
    if (http1_parse_request(head, (size_t)n, &c->head, &err) < 0) {
        refuse_malformed(t, &r, &err);
        return false;
    }
    bool more = serve_parsed(t, &r);
    request_free(&r);
    return more;
}

void http_serve(struct egress_conn *c, const char *scheme, const char *upstream_error)
{
    const struct tunnel_http t = {
        .c = c, .scheme = scheme, .inspect = policy_l4_inspects(&c->l4), .upstream_error = upstream_error};
    while (serve_next(&t))
        ;
}
