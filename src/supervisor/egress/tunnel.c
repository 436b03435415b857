/* CONNECT: decide, vet, dial, answer 200, then find out what is inside the tunnel (spec/proxy.md 4). Captured
 * connections take the same way; where CONNECT is answered, they are let through or reset. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "core/clock.h"
#include "core/str.h"
#include "supervisor/egress/internal.h"

#define PEEK 24

/* What the agent did, for events. */
static const char *entry(const struct egress_conn *c)
{
    return c->captured ? "TRANSPARENT_TCP" : "CONNECT";
}

/* Every refusal before the tunnel stands. */
static void refuse(struct egress_conn *c, const char *status_line, const char *error, const char *detail,
                   const char *reason)
{
    if (c->captured)
        stream_reset(&c->client);
    else
        deny_json(&c->client, status_line, error, detail, reason);
}

static void deny_connect(struct egress_conn *c, const char *error, const char *reason, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void deny_connect(struct egress_conn *c, const char *error, const char *reason, const char *fmt, ...)
{
    cleanup_buf struct os_buf detail = {0};
    va_list ap;
    va_start(ap, fmt);
    os_buf_vaddf(&detail, fmt, ap);
    va_end(ap);
    refuse(c, "403 Forbidden", error, os_buf_str(&detail), reason);
}

/* Steps 2 and 3: who, and may it. */
static bool admitted(struct egress_conn *c)
{
    cleanup_buf struct os_buf reason = {0};
    if (decide_connection(c, &reason) == 0)
        return true;
    if (c->captured && !c->named) {
        event_bypass(c, "tcp");
    } else {
        const struct conn_event ev = {"Open", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "opa", os_buf_str(&reason)};
        event_conn(c, &ev, "%s denied %s:%u", entry(c), c->host, c->port);
    }
    deny_connect(c, "policy_denied", os_buf_str(&reason), "CONNECT %s:%u not permitted by policy", c->host,
                 c->port);
    return false;
}

/* Answers 403 when the policy changed since this connection was admitted. */
static bool still_current(struct egress_conn *c)
{
    if (!conn_stale(c))
        return true;
    const struct conn_event ev = {"Open", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "opa", "policy changed"};
    event_conn(c, &ev, "%s denied %s:%u", entry(c), c->host, c->port);
    deny_connect(c, "policy_denied", NULL, "CONNECT %s:%u not permitted because policy changed", c->host,
                 c->port);
    return false;
}

/* Step 4. */
static bool vetted(struct egress_conn *c, struct net_addrs *addrs)
{
    struct os_error reason cleanup_error = {0};
    const char *kind;
    if (destination_resolve(c, addrs, &kind, &reason) == 0)
        return true;
    const struct conn_event ev = {"Open", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "ssrf", os_error_text(&reason)};
    if (!strcmp(kind, "internal address"))
        event_conn(c, &ev, "%s blocked: internal address %s:%u", entry(c), c->host, c->port);
    else
        event_conn(c, &ev, "%s blocked: %s for %s:%u", entry(c), kind, c->host, c->port);
    deny_connect(c, "ssrf_denied", NULL, "CONNECT %s:%u blocked: %s", c->host, c->port, kind);
    return false;
}

/* Step 5: without a CA nothing but a declared raw tunnel passes. */
static bool can_terminate(struct egress_conn *c)
{
    static const char detail[] = "TLS termination unavailable (CA initialization failed); refusing to tunnel "
                                 "\xe2\x80\x94 credential rewrite would be bypassed";
    if (c->egress->ca)
        return true;
    const struct conn_event ev = {"Open", AUDIT_SEV_HIGH, AUDIT_DENIED, "tls", "TLS termination unavailable"};
    event_conn(c, &ev, "%s refused for %s:%u: TLS termination unavailable", entry(c), c->host, c->port);
    refuse(c, "503 Service Unavailable", "tls_termination_unavailable", detail, NULL);
    return false;
}

/* Step 6: what nobody reads must not carry the credentials of a provider. */
static bool keeps_credentials(struct egress_conn *c)
{
    static const char detail[] =
        "credentialed endpoint requires L7 inspection; raw tunnel is not explicitly allowed";
    if (!policy_l4_exposes_credentials(&c->l4))
        return true;
    const struct conn_event ev = {"Open", AUDIT_SEV_HIGH, AUDIT_DENIED, "credentials", detail};
    event_conn(c, &ev, "%s refused for %s:%u: uninspected credentials", entry(c), c->host, c->port);
    event_finding(c, "openshell.credentials.traffic_uninspectable", "Credential traffic cannot be inspected",
                  detail);
    refuse(c, "403 Forbidden", "uninspected_credentials", detail, NULL);
    return false;
}

/* Step 8. */
static bool dialled(struct egress_conn *c, const struct net_addrs *addrs)
{
    struct os_error err cleanup_error = {0};
    if (dial_upstream(c, addrs, &err) == 0)
        return true;
    if (!still_current(c))
        return false;
    const struct conn_event ev = {"Fail", AUDIT_SEV_LOW, AUDIT_ACTION_NONE, NULL, os_error_text(&err)};
    event_conn(c, &ev, "%s refused for %s:%u: %s", entry(c), c->host, c->port, os_error_text(&err));
    cleanup_free char *detail = os_asprintf("connection to %s:%u failed", c->host, c->port);
    refuse(c, "502 Bad Gateway", "upstream_unreachable", detail, NULL);
    return false;
}

enum tunnel_class { TUNNEL_CLOSED, TUNNEL_TLS, TUNNEL_HTTP, TUNNEL_H2C, TUNNEL_OTHER, TUNNEL_AMBIGUOUS };

/* What the first n bytes are the beginning of. */
static enum tunnel_class classify(const char *p, size_t n)
{
    static const char *const methods[] = {"GET ",   "HEAD ",    "POST ",    "PUT ",  "DELETE ",
                                          "PATCH ", "OPTIONS ", "CONNECT ", "TRACE "};
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    if (p[0] == 0x16) {
        if (n < 3)
            return n < 2 || p[1] == 3 ? TUNNEL_AMBIGUOUS : TUNNEL_OTHER;
        return p[1] == 3 && (unsigned char)p[2] <= 4 ? TUNNEL_TLS : TUNNEL_OTHER;
    }
    for (size_t i = 0; i < OS_ARRAY_LEN(methods); i++) {
        size_t len = strlen(methods[i]);
        if (!memcmp(p, methods[i], n < len ? n : len))
            return n < len ? TUNNEL_AMBIGUOUS : TUNNEL_HTTP;
    }
    size_t len = n < sizeof(preface) - 1 ? n : sizeof(preface) - 1;
    if (!memcmp(p, preface, len))
        return n < 8 ? TUNNEL_AMBIGUOUS : TUNNEL_H2C;
    return TUNNEL_OTHER;
}

/* Waits for the agent's first byte. With raw_allowed an upstream that speaks first settles it: neither TLS
 * nor HTTP does. */
static enum tunnel_class first_byte(struct egress_conn *c, bool raw_allowed)
{
    int64_t end = os_clock_mono_ms() + OS_PROXY_TUNNEL_IDLE_MS;
    for (;;) {
        struct pollfd p[] = {{.fd = c->client.fd, .events = POLLIN},
                             {.fd = raw_allowed ? c->upstream.fd : -1, .events = POLLIN}};
        int64_t left = end - os_clock_mono_ms();
        if (raw_allowed && stream_decrypted(&c->upstream))
            return TUNNEL_OTHER;
        int n = left > 0 ? poll(p, 2, (int)left) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return TUNNEL_CLOSED;
        if (p[0].revents)
            return TUNNEL_AMBIGUOUS;
        /* TLS to the operator's proxy has messages of its own. */
        if (!c->upstream.ssl || stream_fill(&c->upstream) != STREAM_AGAIN)
            return TUNNEL_OTHER;
    }
}

static enum tunnel_class sniff(struct egress_conn *c, bool raw_allowed)
{
    enum tunnel_class class = first_byte(c, raw_allowed);
    for (int waited = 0; class == TUNNEL_AMBIGUOUS && waited <= OS_PROXY_SNIFF_MS; waited += 5) {
        char bytes[PEEK];
        if (waited)
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        ssize_t n = recv(c->client.fd, bytes, sizeof(bytes), MSG_PEEK);
        if (n <= 0)
            return TUNNEL_CLOSED;
        class = classify(bytes, (size_t)n);
    }
    return class == TUNNEL_AMBIGUOUS ? TUNNEL_OTHER : class;
}

static bool is_benign(const char *text)
{
    static const char *const known[] = {"close notify", "reset", "broken pipe", "unexpected eof",
                                        "timed out"};
    for (size_t i = 0; i < OS_ARRAY_LEN(known); i++)
        if (strcasestr(text, known[i]))
            return true;
    return false;
}

/* The handshake with the agent failed: say so where it was our refusal or a real fault. */
static void report_handshake(struct egress_conn *c, const struct egress_hello *hello,
                             const struct os_error *err)
{
    struct conn_event ev = {"Refuse", AUDIT_SEV_HIGH, AUDIT_DENIED, "request-authority",
                            "TLS server name differs from the CONNECT host"};
    if (hello->wrong_name) {
        event_conn(c, &ev, "TLS relay error: server name differs from %s", c->host);
    } else if (strcasestr(os_error_text(err), "no application protocol")) {
        ev.rule_type = "tls";
        ev.severity = AUDIT_SEV_MEDIUM;
        ev.detail = hello->h2
                        ? "client offers h2 alone, which the upstream does not speak; offer http/1.1 too, "
                          "or set tls: skip on the endpoint"
                        : "client speaks none of the protocols that can be inspected (HTTP/1.1, HTTP/2); "
                          "offer http/1.1, or set tls: skip on the endpoint";
        event_conn(c, &ev, "TLS relay error: no application protocol");
    } else if (!is_benign(os_error_text(err))) {
        event_failure(c, "TLS relay error", err);
    }
}

static void serve_tls(struct egress_conn *c)
{
    struct os_error err cleanup_error = {0}, upstream cleanup_error = {0};
    struct egress_hello *hello = os_arena_alloc(&c->arena, sizeof(*hello));
    hello->host = c->host;
    if (tls_hold_agent(c, hello, &err) < 0) {
        report_handshake(c, hello, &err);
        return;
    }
    bool connected = tls_connect_upstream(c, hello, &upstream) == 0;
    if (!connected)
        event_failure(c, "TLS relay error", &upstream);
    if (tls_accept_agent(c, hello, &err) < 0)
        report_handshake(c, hello, &err);
    else if (hello->speak_h2)
        h2_serve(c);
    else
        http_serve(c, "https", connected ? NULL : os_error_text(&upstream));
}

/* What nobody here can read, where somebody has to. */
static void refuse_unsupported(struct egress_conn *c, enum tunnel_class class, bool inspect)
{
    bool h2c = class == TUNNEL_H2C;
    const char *detail =
        inspect ? (h2c ? "HTTP/2 prior-knowledge (h2c) is not supported for L7-inspected endpoints"
                       : "Unsupported tunnel protocol for L7-inspected endpoint")
                : (h2c ? "HTTP/2 prior-knowledge (h2c) cannot be inspected by required middleware"
                       : "Unsupported tunnel protocol cannot be inspected by required middleware");
    const struct conn_event ev = {"Open", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "l7", detail};
    event_conn(c, &ev, "CONNECT_L7 blocked unsupported tunnel protocol for %s:%u", c->host, c->port);
    deny_json(&c->client, "403 Forbidden", "unsupported_l7_protocol", detail, NULL);
    if (!inspect)
        event_finding(c, "openshell.middleware.traffic_uninspectable",
                      "Traffic cannot be inspected by middleware", detail);
}

/* Bytes that pass unread, unless a middleware must see them. */
static void relay_unread(struct egress_conn *c, enum tunnel_class class, const char *what)
{
    enum middleware_need need = middleware_need(c);
    if (need == MIDDLEWARE_REQUIRED) {
        refuse_unsupported(c, class, false);
        return;
    }
    if (need == MIDDLEWARE_OPTIONAL)
        middleware_unseen(c, what);
    relay_opaque(c);
}

static void serve_skipped(struct egress_conn *c)
{
    static const char detail[] = "tls: skip tunnel cannot be inspected by required middleware";
    if (middleware_need(c) != MIDDLEWARE_REQUIRED) {
        relay_unread(c, TUNNEL_OTHER, "tls: skip tunnel");
        return;
    }
    const struct conn_event ev = {"Open", AUDIT_SEV_HIGH, AUDIT_DENIED, "middleware", detail};
    event_conn(c, &ev, "%s refused for %s:%u: %s", entry(c), c->host, c->port, detail);
    event_finding(c, "openshell.middleware.traffic_uninspectable",
                  "Traffic cannot be inspected by middleware", detail);
    deny_json(&c->client, "403 Forbidden", "middleware_required", detail, NULL);
}

static void serve_inside(struct egress_conn *c, bool inspect)
{
    enum tunnel_class class = sniff(c, !inspect && middleware_need(c) != MIDDLEWARE_REQUIRED);
    switch (class) {
    case TUNNEL_TLS:
        serve_tls(c);
        break;
    case TUNNEL_HTTP:
        http_serve(c, "http", NULL);
        break;
    case TUNNEL_H2C:
    case TUNNEL_OTHER:
    case TUNNEL_AMBIGUOUS:
        if (inspect)
            refuse_unsupported(c, class, true);
        else
            relay_unread(c, class, "tunnel of an unknown protocol");
        break;
    case TUNNEL_CLOSED:
        break;
    }
}

static bool parse_target(struct egress_conn *c)
{
    struct http1_authority to;
    if (!http1_parse_authority(c->head.target, &to) || !to.port) {
        struct os_error err cleanup_error = {0};
        os_error_set(&err, OS_INVALID_ARGUMENT, "CONNECT target is not host:port");
        event_failure(c, "Proxy connection error", &err);
        deny_bare(&c->client, "400 Bad Request");
        return false;
    }
    conn_set_target(c, to.host, to.port);
    return true;
}

/* Step 9: the agent may speak. */
static bool established(struct egress_conn *c, bool inspect)
{
    static const char answer[] = "HTTP/1.1 200 Connection Established\r\n\r\n";
    if (!c->captured && stream_send(&c->client, answer, sizeof(answer) - 1, OS_PROXY_HANDSHAKE_MS) < 0)
        return false;
    const struct conn_event ev = {"Open", AUDIT_SEV_INFO, AUDIT_ALLOWED, "opa",
                                  c->captured ? "transparent_tcp_allowed" : NULL};
    event_conn(c, &ev, "%s%s allowed %s:%u", entry(c), inspect ? "_L7" : "", c->host, c->port);
    return true;
}

/* SQL is recorded, not understood: its rules have nothing to look at (spec/policy.md 5.10). */
static bool is_sql(const struct policy_l4 *l4)
{
    bool any = false;
    for (size_t i = 0; i < l4->n_configs; i++) {
        if (l4->configs[i]->protocol != POLICY_SQL)
            return false;
        any = true;
    }
    return any;
}

static void serve_sql(struct egress_conn *c)
{
    const struct conn_event ev = {"Open", AUDIT_SEV_LOW, AUDIT_OBSERVED, "l7",
                                  "SQL is relayed without inspection"};
    if (middleware_need(c) != MIDDLEWARE_REQUIRED)
        event_conn(c, &ev, "SQL_L7 relayed without inspection %s:%u", c->host, c->port);
    relay_unread(c, TUNNEL_OTHER, "SQL");
}

void tunnel_serve_target(struct egress_conn *c)
{
    struct net_addrs addrs;
    if (!admitted(c) || !still_current(c) || !vetted(c, &addrs))
        return;
    bool skip = c->l4.opaque || (c->l4.n_configs && c->l4.configs[0]->tls == POLICY_TLS_SKIP);
    bool inspect = !skip && policy_l4_inspects(&c->l4);
    if ((!skip && !can_terminate(c)) || !keeps_credentials(c) || !still_current(c) || !dialled(c, &addrs))
        return;
    conn_follow_policy(c);
    if (!still_current(c) || !established(c, inspect))
        return;
    if (skip)
        serve_skipped(c);
    else if (is_sql(&c->l4))
        serve_sql(c);
    else
        serve_inside(c, inspect);
    if (conn_stale(c))
        event_reloaded(c);
}

void tunnel_serve(struct egress_conn *c)
{
    if (parse_target(c))
        tunnel_serve_target(c);
}
