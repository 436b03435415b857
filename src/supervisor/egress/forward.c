/* Requests in absolute form, plain HTTP only: one request per connection, judged by the same rules as inside
 * a tunnel (spec/proxy.md 5). */
#include <string.h>

#include "core/str.h"
#include "supervisor/egress/credentials/guard.h"
#include "supervisor/egress/internal.h"

static void deny_forward(struct egress_request *r, const char *status_line, const char *error,
                         const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void deny_forward(struct egress_request *r, const char *status_line, const char *error,
                         const char *fmt, ...)
{
    cleanup_buf struct os_buf detail = {0};
    va_list ap;
    va_start(ap, fmt);
    os_buf_vaddf(&detail, fmt, ap);
    va_end(ap);
    deny_json(&r->conn->client, status_line, error, os_buf_str(&detail), NULL);
}

/* Host, port and scheme of the target. On false the answer was sent. */
static bool parse_target(struct egress_request *r)
{
    struct egress_conn *c = r->conn;
    struct os_error err cleanup_error = {0};
    struct http1_text scheme, authority, rest;
    struct http1_authority to;
    if (!http1_split_absolute(r->head->target, &scheme, &authority, &rest) ||
        memchr(r->head->target.p, '#', r->head->target.n) || !http1_parse_authority(authority, &to)) {
        os_error_set(&err, OS_INVALID_ARGUMENT, "request target is not an absolute URL");
        event_failure(c, "Proxy connection error", &err);
        deny_bare(&c->client, "400 Bad Request");
        return false;
    }
    bool http = http1_text_is_nocase(scheme, "http"), https = http1_text_is_nocase(scheme, "https");
    conn_set_target(c, to.host, to.port ? to.port : https ? 443 : 80);
    bool local = !strcmp(c->host, "policy.local");
    if (http && !local)
        return true;
    const struct conn_event ev = {"Refuse", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "http-parser", NULL};
    if (local && (!http || c->port != 80)) {
        event_conn(c, &ev, "FORWARD rejected: unsupported scheme or port for policy.local");
        deny_forward(r, "400 Bad Request", "invalid_policy_local_scheme", "Use http://policy.local only");
    } else if (local) {
        event_conn(c, &ev, "FORWARD rejected: policy.local is not configured");
        deny_plain(&c->client, "503 Service Unavailable", "policy.local is not configured");
    } else {
        event_conn(c, &ev, "FORWARD rejected: unsupported scheme for %s:%u", c->host, c->port);
        if (https)
            deny_plain(&c->client, "400 Bad Request", "Use CONNECT for HTTPS URLs");
        else
            deny_forward(r, "400 Bad Request", "unsupported_proxy_scheme",
                         "Forward proxy requests must use http");
    }
    return false;
}

/* Answers as for a policy denial when the policy changed since the request was admitted. */
static bool still_current(struct egress_request *r)
{
    struct egress_conn *c = r->conn;
    if (!conn_stale(c))
        return true;
    const struct conn_event ev = {"Open", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "opa", "policy changed"};
    event_http(r, "http", NULL, &ev, "FORWARD denied %s %s:%u%s", r->method, c->host, c->port, r->path);
    deny_forward(r, "403 Forbidden", "policy_denied", "%s %s:%u%s not permitted by policy", r->method,
                 c->host, c->port, r->path);
    return false;
}

static bool admitted(struct egress_request *r)
{
    struct egress_conn *c = r->conn;
    cleanup_buf struct os_buf reason = {0};
    if (decide_connection(c, &reason) == 0)
        return still_current(r);
    const struct conn_event ev = {"Open", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "opa", os_buf_str(&reason)};
    event_http(r, "http", NULL, &ev, "FORWARD denied %s %s:%u%s", r->method, c->host, c->port, r->path);
    deny_forward(r, "403 Forbidden", "policy_denied", "%s %s:%u%s not permitted by policy", r->method,
                 c->host, c->port, r->path);
    return false;
}

static void refuse_target(struct egress_request *r, const struct os_error *err)
{
    struct egress_conn *c = r->conn;
    const struct conn_event ev = {"Refuse", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "http-parser",
                                  os_error_text(err)};
    r->path = "/[INVALID_REQUEST_TARGET]";
    event_http(r, "http", c->l4.policy, &ev, "FORWARD parse error for %s", r->path);
    deny_forward(r, "400 Bad Request", "invalid_request_target", "request-target must be canonical");
}

/* The target says that it holds a credential, and does not say which. */
static void refuse_placeholder(struct egress_request *r)
{
    struct egress_conn *c = r->conn;
    const struct conn_event ev = {"Refuse", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "credentials",
                                  "malformed credential placeholder in the request-target"};
    event_http(r, "http", c->l4.policy, &ev, "FORWARD parse error for %s", r->path);
    deny_forward(r, "400 Bad Request", "invalid_credential_placeholder",
                 "request-target contains an invalid credential placeholder");
}

/* Nothing leaves that must not; answered otherwise. */
static bool guarded(struct egress_request *r)
{
    struct deny_answer a cleanup_answer = {0};
    if (guard_request(r, "http", true, &a))
        return true;
    deny_send(&r->conn->client, &a);
    return false;
}

/* A body that the rules would have to see and that cannot be read. */
static void refuse_body(struct egress_request *r, const struct os_error *err)
{
    struct egress_conn *c = r->conn;
    if (err->code == OS_UNAVAILABLE)
        return;
    if (err->code == OS_RESOURCE_EXHAUSTED) {
        event_failure(c, "FORWARD relay error", err);
        deny_forward(r, "503 Service Unavailable", "body_capacity_exhausted", "%s", os_error_text(err));
        return;
    }
    const struct conn_event ev = {"Refuse", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "http-parser",
                                  os_error_text(err)};
    event_http(r, "http", c->l4.policy, &ev, "FORWARD parse error for %s", r->path);
    deny_forward(r, "400 Bad Request", "invalid_request", "%s", os_error_text(err));
}

/* The rules, where the endpoint asks for inspection. */
static bool allowed(struct egress_request *r)
{
    struct egress_conn *c = r->conn;
    if (!policy_l4_inspects(&c->l4))
        return true;
    cleanup_buf struct os_buf reason = {0};
    const char *policy;
    if (request_judge(r, "http", true, &policy, &reason) == REQUEST_FORWARD)
        return still_current(r);
    if (request_is_h2c_upgrade(r->head)) {
        deny_forward(r, "403 Forbidden", "unsupported_l7_protocol", "%s", os_buf_str(&reason));
        return false;
    }
    cleanup_free char *detail = os_asprintf("%s %s:%u%s denied by L7 policy: %s", r->method, c->host, c->port,
                                            r->path, os_buf_str(&reason));
    deny_request(&c->client, r, policy, detail);
    return false;
}

static bool vetted(struct egress_request *r, struct net_addrs *addrs)
{
    struct egress_conn *c = r->conn;
    struct os_error reason cleanup_error = {0};
    const char *kind;
    if (destination_resolve(c, addrs, &kind, &reason) == 0)
        return still_current(r);
    const struct conn_event ev = {"Open", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "ssrf", os_error_text(&reason)};
    const char *shown = strcmp(kind, "internal address") ? kind : "internal IP without allowed_ips";
    event_http(r, "http", c->l4.policy, &ev, "FORWARD blocked: %s for %s:%u", shown, c->host, c->port);
    deny_forward(r, "403 Forbidden", "ssrf_denied", "%s %s:%u blocked: %s", r->method, c->host, c->port,
                 kind);
    return false;
}

static void refuse_upstream(struct egress_request *r, const struct os_error *err)
{
    struct egress_conn *c = r->conn;
    const struct conn_event ev = {"Fail", AUDIT_SEV_LOW, AUDIT_ACTION_NONE, NULL, os_error_text(err)};
    event_conn(c, &ev, "FORWARD upstream connect failed for %s:%u: %s", c->host, c->port, os_error_text(err));
    deny_forward(r, "502 Bad Gateway", "upstream_unreachable", "connection to %s:%u failed", c->host,
                 c->port);
}

static void send_answer(void *ctx, struct egress_request *r, const struct deny_answer *a)
{
    (void)ctx;
    deny_send(&r->conn->client, a);
}

static void send_malformed(void *ctx, struct egress_request *r, const struct os_error *err)
{
    (void)ctx;
    refuse_body(r, err);
}

static bool passed_middleware(struct egress_request *r)
{
    const struct middleware_front front = {r, "http", true, send_answer, send_malformed, NULL};
    return middleware_pass(&front) && still_current(r);
}

static void relay(struct egress_request *r)
{
    struct egress_conn *c = r->conn;
    struct os_error err cleanup_error = {0};
    bool ipv6 = strchr(c->host, ':') != NULL;
    cleanup_free char *port = c->port == 80 ? os_strdup("") : os_asprintf(":%u", c->port);
    cleanup_free char *host = os_asprintf("%s%s%s%s", ipv6 ? "[" : "", c->host, ipv6 ? "]" : "", port);
    request_write_head(r, true, host);
    const struct conn_event ev = {"Open", AUDIT_SEV_INFO, AUDIT_ALLOWED, "opa", NULL};
    conn_announce_reload(c, true);
    enum exchange_end end = exchange_run(r, "http", true, &err);
    conn_announce_reload(c, false);
    switch (end) {
    case EXCHANGE_KEEP:
    case EXCHANGE_CLOSE:
        event_http(r, "http", c->l4.policy, &ev, "FORWARD allowed %s %s:%u%s", r->method, c->host, c->port,
                   r->path);
        stream_finish(&c->client);
        break;
    case EXCHANGE_BAD_BODY:
        refuse_target(r, &err);
        break;
    case EXCHANGE_NO_REPLY:
        refuse_upstream(r, &err);
        break;
    case EXCHANGE_BROKEN:
        if (conn_stale(c))
            event_reloaded(c);
        else
            event_failure(c, "HTTP relay error", &err);
        stream_reset(&c->client);
        break;
    case EXCHANGE_REFUSED:
        stream_reset(&c->upstream);
        deny_send(&c->client, r->refusal);
        break;
    case EXCHANGE_STALE:
        still_current(r);
        break;
    case EXCHANGE_SWITCHED:
        event_http(r, "http", c->l4.policy, &ev, "FORWARD allowed %s %s:%u%s", r->method, c->host, c->port,
                   r->path);
        conn_follow_policy(c);
        if (!conn_stale(c))
            upgrade_serve(r, "http", true);
        break;
    }
}

static void serve(struct egress_request *r)
{
    struct egress_conn *c = r->conn;
    struct os_error err cleanup_error = {0};
    struct net_addrs addrs;
    r->method = os_arena_strndup(r->arena, r->head->method.p, r->head->method.n);
    if (!parse_target(r))
        return;
    /* Denials show the path before a policy is known; it is parsed again under that policy's settings. */
    if (policy_target_parse(r->arena, r->head->target.p, r->head->target.n, true, &r->target, NULL) == 0)
        guard_show_path(r);
    if (!admitted(r))
        return;
    c->requests++;
    if (request_parse(r, &err) < 0) {
        refuse_target(r, &err);
        return;
    }
    if (policy_l4_inspects(&c->l4) && r->bad_placeholder) {
        refuse_placeholder(r);
        return;
    }
    upgrade_recognise(r);
    if (policy_l4_inspects(&c->l4) && request_inspect(r, &err) < 0) {
        refuse_body(r, &err);
        return;
    }
    if (!allowed(r) || !vetted(r, &addrs) || !passed_middleware(r) || !guarded(r))
        return;
    c->one_request = r->kind != POLICY_HTTP_UPGRADE;
    if (dial_upstream(c, &addrs, &err) < 0) {
        if (still_current(r))
            refuse_upstream(r, &err);
        return;
    }
    if (still_current(r))
        relay(r);
}

void forward_serve(struct egress_conn *c)
{
    struct egress_request r = {
        .conn = c, .arena = &c->arena, .head = &c->head, .path = "/[INVALID_REQUEST_TARGET]"};
    serve(&r);
    request_free(&r);
}
