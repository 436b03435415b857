/* What every request inside a tunnel must pass, in HTTP/1 and HTTP/2: it is for the endpoint that CONNECT was
 * allowed for, its target is canonical, the rules let it through (spec/proxy.md 3.3, 6.2, 6.5). Whatever is
 * refused is answered and logged here. */
#include <string.h>

#include "core/str.h"
#include "supervisor/egress/credentials/marker.h"
#include "supervisor/egress/internal.h"

void gate_refuse_malformed(const struct tunnel_http *t, struct egress_request *r, const struct os_error *err)
{
    struct egress_conn *c = t->c;
    struct deny_answer a cleanup_answer = {0};
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
    deny_make_json(&a, "400 Bad Request", "invalid_request", "HTTP request rejected before policy evaluation",
                   detail);
    t->answer(t, r, &a);
}

/* Not this client's fault, and it may try again. */
static void refuse_busy(const struct tunnel_http *t, struct egress_request *r, const struct os_error *err)
{
    struct deny_answer a cleanup_answer = {0};
    event_failure(t->c, "L7 relay error", err);
    deny_make_json(&a, "503 Service Unavailable", "body_capacity_exhausted", os_error_text(err), NULL);
    t->answer(t, r, &a);
}

void gate_refuse_body(const struct tunnel_http *t, struct egress_request *r, const struct os_error *err)
{
    if (err->code == OS_RESOURCE_EXHAUSTED)
        refuse_busy(t, r, err);
    else if (err->code != OS_UNAVAILABLE)
        gate_refuse_malformed(t, r, err);
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

static bool names_credential(const struct egress_request *r)
{
    bool any = marker_in(r->head->target.p, r->head->target.n);
    for (size_t i = 0; i < r->head->n_fields; i++)
        any = any || marker_in_header(r->head->fields[i].value.p, r->head->fields[i].value.n);
    return any;
}

/* The request must be for the endpoint that CONNECT was allowed for. */
static bool authority_matches(const struct tunnel_http *t, const struct egress_request *r,
                              const struct http1_authority *a, bool present)
{
    uint16_t port = !strcmp(t->scheme, "https") ? 443 : 80;
    if (!present) /* HTTP/1.0 that does not say where it goes carries no credentials (spec/proxy.md 3.3) */
        return !names_credential(r);
    return (!strcmp(a->host, t->c->host) && (a->port ? a->port : port) == t->c->port);
}

static void refuse_authority(const struct tunnel_http *t, struct egress_request *r)
{
    static const char message[] = "HTTP request authority does not match the authorized tunnel endpoint";
    struct egress_conn *c = t->c;
    struct deny_answer a cleanup_answer = {0};
    const struct conn_event ev = {"Refuse", AUDIT_SEV_HIGH, AUDIT_DENIED, "request-authority", message};
    event_http(r, t->scheme, c->l4.policy, &ev, "%s", message);
    event_finding(c, "openshell.http.request_authority_mismatch", "HTTP request authority mismatch", message);
    deny_make_message(&a, "403 Forbidden", "request_authority_mismatch", message);
    t->answer(t, r, &a);
}

bool gate_admit(const struct tunnel_http *t, struct egress_request *r)
{
    struct os_error err cleanup_error = {0};
    struct http1_authority authority;
    bool present;
    r->method = os_arena_strndup(r->arena, r->head->method.p, r->head->method.n);
    if (!request_authority(r, &authority, &present, &err) || request_parse(r, &err) < 0) {
        gate_refuse_malformed(t, r, &err);
        return false;
    }
    if (authority_matches(t, r, &authority, present))
        return true;
    refuse_authority(t, r);
    return false;
}

void gate_no_upstream(const struct tunnel_http *t, struct egress_request *r, const char *reason)
{
    struct deny_answer a cleanup_answer = {0};
    cleanup_free char *detail = os_asprintf("connection to %s:%u failed", t->c->host, t->c->port);
    deny_make_json(&a, "502 Bad Gateway", "upstream_unreachable", detail, reason);
    t->answer(t, r, &a);
}

static bool judge(const struct tunnel_http *t, struct egress_request *r)
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
    struct deny_answer a cleanup_answer = {0};
    const char *policy;
    if (request_judge(r, t->scheme, false, &policy, &reason) == REQUEST_FORWARD)
        return true;
    deny_make_request(&a, r, policy, os_buf_str(&reason));
    t->answer(t, r, &a);
    return false;
}

static void send_answer(void *ctx, struct egress_request *r, const struct deny_answer *a)
{
    const struct tunnel_http *t = ctx;
    t->answer(t, r, a);
}

static void send_malformed(void *ctx, struct egress_request *r, const struct os_error *err)
{
    gate_refuse_body(ctx, r, err);
}

bool gate_middleware(const struct tunnel_http *t, struct egress_request *r)
{
    const struct middleware_front front = {r,           t->scheme,      false,
                                           send_answer, send_malformed, (void *)(uintptr_t)t};
    return middleware_pass(&front);
}

bool gate_allow(const struct tunnel_http *t, struct egress_request *r)
{
    if (!judge(t, r))
        return false;
    if (t->upstream_error)
        gate_no_upstream(t, r, t->upstream_error);
    return !t->upstream_error;
}
