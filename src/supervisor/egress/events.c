/* Audit events of egress (spec/proxy.md 18, spec/supervisor.md 4.2). Queries and bodies never get here. */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/str.h"
#include "supervisor/egress/credentials/guard.h"
#include "supervisor/egress/internal.h"

#define LOG "egress"

/* Where the agent's end of the connection is; 0 = unknown. */
static uint16_t source_of(const struct egress_conn *c, char *text)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&c->agent;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&c->agent;
    bool v6 = c->agent.ss_family == AF_INET6;
    text[0] = '\0';
    if (!v6 && c->agent.ss_family != AF_INET)
        return 0;
    inet_ntop(c->agent.ss_family, v6 ? (const void *)&in6->sin6_addr : &in->sin_addr, text, INET6_ADDRSTRLEN);
    return ntohs(v6 ? in6->sin6_port : in->sin_port);
}

/* Process, endpoints and rule of the connection; source keeps a text of the event. */
static struct audit_event base(const struct egress_conn *c, enum audit_class cls, const struct conn_event *ev,
                               char source[INET6_ADDRSTRLEN])
{
    const char *exe = c->who.process.exe;
    uint16_t source_port = source_of(c, source);
    return (struct audit_event){
        .cls = cls,
        .activity = ev->activity,
        .severity = ev->severity,
        .action = ev->action,
        .process = exe && *exe ? exe
                   : c->host   ? "-"
                               : NULL,
        .pid = c->who.pid,
        .ancestors = c->ancestors ? c->ancestors : "-",
        .cmdline = c->cmdline ? c->cmdline : "-",
        .source = source[0] ? source : NULL,
        .source_port = source_port,
        .host = c->host,
        .port = c->port,
        .rule = ev->rule_type ? (c->l4.allow && c->l4.policy ? c->l4.policy : "-") : NULL,
        .rule_type = ev->rule_type,
        .detail = ev->detail,
    };
}

/* What peers wrote ends up in texts: names of operations, values that are refused. */
static const char *hide(const struct egress_conn *c, struct os_buf *text)
{
    if (text->len)
        guard_hide(c, text->data, text->len);
    return os_buf_str(text);
}

static const char *hide_detail(const struct egress_conn *c, const char *detail, struct os_buf *copy)
{
    if (!detail)
        return NULL;
    os_buf_adds(copy, detail);
    return hide(c, copy);
}

void event_conn(struct egress_conn *c, const struct conn_event *ev, const char *fmt, ...)
{
    cleanup_buf struct os_buf message = {.max = OS_AUDIT_LINE}, detail = {0};
    va_list ap;
    va_start(ap, fmt);
    os_buf_vaddf(&message, fmt, ap);
    va_end(ap);
    char source[INET6_ADDRSTRLEN];
    struct audit_event out = base(c, AUDIT_NET, ev, source);
    out.message = hide(c, &message);
    out.detail = hide_detail(c, ev->detail, &detail);
    audit_emit(c->egress->opt.audit, &out);
}

void event_http(const struct egress_request *r, const char *scheme, const char *policy,
                const struct conn_event *ev, const char *fmt, ...)
{
    const struct egress_conn *c = r->conn;
    cleanup_buf struct os_buf message = {.max = OS_AUDIT_LINE}, url = {.max = OS_AUDIT_LINE}, detail = {0},
                              method = {0};
    va_list ap;
    va_start(ap, fmt);
    os_buf_vaddf(&message, fmt, ap);
    va_end(ap);
    bool ipv6 = strchr(c->host, ':') != NULL;
    os_buf_addf(&url, "%s://%s%s%s", scheme, ipv6 ? "[" : "", c->host, ipv6 ? "]" : "");
    if (c->port != (!strcmp(scheme, "https") ? 443 : 80))
        os_buf_addf(&url, ":%u", c->port);
    os_buf_adds(&url, r->path);
    char source[INET6_ADDRSTRLEN];
    struct audit_event out = base(c, AUDIT_HTTP, ev, source);
    out.activity = hide_detail(c, r->method, &method);
    out.url = os_buf_str(&url);
    out.rule = policy ? policy : "-";
    out.message = hide(c, &message);
    out.detail = hide_detail(c, ev->detail, &detail);
    audit_emit(c->egress->opt.audit, &out);
}

void event_finding(struct egress_conn *c, const char *uid, const char *title, const char *message)
{
    event_finding_as(c, AUDIT_SEV_HIGH, AUDIT_DENIED, uid, title, message);
}

void event_finding_as(struct egress_conn *c, enum audit_severity severity, enum audit_action action,
                      const char *uid, const char *title, const char *message)
{
    const struct conn_event ev = {.severity = severity, .action = action};
    char source[INET6_ADDRSTRLEN];
    struct audit_event out = base(c, AUDIT_FINDING, &ev, source);
    out.finding_uid = uid;
    cleanup_buf struct os_buf copy = {0};
    out.title = title;
    out.message = hide_detail(c, message, &copy);
    audit_emit(c->egress->opt.audit, &out);
}

void event_uninspectable(struct egress_conn *c, const char *surface)
{
    const struct conn_event ev = {"Refuse", AUDIT_SEV_HIGH, AUDIT_DENIED, "credentials",
                                  "credential traffic that cannot be inspected"};
    cleanup_free char *message =
        os_asprintf("%s credential traffic denied for %s:%u", surface, c->host, c->port);
    event_conn(c, &ev, "%s", message);
    event_finding(c, "openshell.credentials.traffic_uninspectable", "Credential traffic cannot be inspected",
                  message);
}

void event_failure(struct egress_conn *c, const char *what, const struct os_error *err)
{
    cleanup_buf struct os_buf text = {0};
    os_buf_adds(&text, os_error_text(err));
    const struct conn_event ev = {.activity = "Fail", .severity = AUDIT_SEV_LOW, .detail = hide(c, &text)};
    event_conn(c, &ev, "%s: %s", what, ev.detail);
    os_log_info(LOG, "%s (%s:%u): %s", what, c->host ? c->host : "-", c->port, ev.detail);
}

void event_reloaded(struct egress_conn *c)
{
    const struct conn_event ev = {.activity = "Close", .severity = AUDIT_SEV_INFO, .rule_type = "opa"};
    event_conn(c, &ev,
               "L7 tunnel closed after policy reload [host:%s port:%u captured_generation:%llu "
               "current_generation:%llu]",
               c->host, c->port, (unsigned long long)c->generation,
               (unsigned long long)policy_slot_generation(c->egress->opt.policy));
}

void event_listening(struct egress *e)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof(ss);
    char host[INET6_ADDRSTRLEN] = "";
    uint16_t port = 0;
    getsockname(e->opt.proxy_listener, (struct sockaddr *)&ss, &len);
    if (ss.ss_family == AF_INET) {
        const struct sockaddr_in *in = (struct sockaddr_in *)&ss;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        port = ntohs(in->sin_port);
    } else if (ss.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        port = ntohs(in6->sin6_port);
    }
    cleanup_free char *message = os_asprintf("Proxy listening on %s:%u", host, port);
    audit_emit(e->opt.audit, &(struct audit_event){.cls = AUDIT_NET,
                                                   .activity = "Listen",
                                                   .severity = AUDIT_SEV_INFO,
                                                   .host = host,
                                                   .port = port,
                                                   .message = message});
}

void event_upstream_proxy(struct egress *e)
{
    const struct forward_proxy *p = e->opt.upstream_proxy;
    if (!p)
        return;
    bool ipv6 = strchr(p->url.host, ':') != NULL;
    cleanup_free char *message = os_asprintf(
        "Upstream corporate proxy enabled: https_proxy=%s%s%s:%u no_proxy_entries=%zu connect_target=%s",
        ipv6 ? "[" : "", p->url.host, ipv6 ? "]" : "", p->url.port, p->n_direct,
        p->by_hostname ? "hostname" : "validated-ip");
    audit_emit(e->opt.audit,
               &(struct audit_event){
                   .cls = AUDIT_NET, .activity = "Other", .severity = AUDIT_SEV_INFO, .message = message});
}

void event_ca_failed(struct audit *a, const char *what, const struct os_error *err)
{
    cleanup_free char *message = os_asprintf("%s, TLS termination disabled: %s", what, os_error_text(err));
    os_log_error(LOG, "%s", message);
    audit_emit(a,
               &(struct audit_event){
                   .cls = AUDIT_CONFIG, .state = "disabled", .severity = AUDIT_SEV_HIGH, .message = message});
}

/* --- traffic around the proxy --- */

void event_limit_init(struct event_limit *l)
{
    *l = (struct event_limit){.refilled_ms = os_clock_mono_ms(), .tokens = OS_BYPASS_BURST};
    pthread_mutex_init(&l->lock, NULL);
}

/* True when an event may be emitted; *suppressed is how many were not since the last one. */
static bool take_token(struct event_limit *l, uint64_t *suppressed)
{
    pthread_mutex_lock(&l->lock);
    int64_t now = os_clock_mono_ms();
    l->tokens += (double)(now - l->refilled_ms) * OS_BYPASS_PER_SECOND / 1000;
    l->refilled_ms = now;
    if (l->tokens > OS_BYPASS_BURST)
        l->tokens = OS_BYPASS_BURST;
    bool ok = l->tokens >= 1;
    if (ok) {
        l->tokens -= 1;
        *suppressed = l->suppressed;
        l->suppressed = 0;
    } else {
        l->suppressed++;
    }
    pthread_mutex_unlock(&l->lock);
    return ok;
}

/* A resolver asks for both families, and again after a while: one event says it all. */
static bool repeated(struct event_limit *l, const char *what)
{
    pthread_mutex_lock(&l->lock);
    int64_t now = os_clock_mono_ms();
    bool yes = !strcmp(l->last, what) && now - l->last_ms < OS_NAMES_REPEAT_MS;
    if (!yes) {
        snprintf(l->last, sizeof(l->last), "%s", what);
        l->last_ms = now;
    }
    pthread_mutex_unlock(&l->lock);
    return yes;
}

void event_upstream_proxy_failed(struct egress *e, const struct os_error *err)
{
    uint64_t suppressed = 0;
    if (!take_token(&e->proxy_failures, &suppressed))
        return;
    audit_emit(e->opt.audit, &(struct audit_event){.cls = AUDIT_NET,
                                                   .activity = "Fail",
                                                   .severity = AUDIT_SEV_LOW,
                                                   .message = os_error_text(err)});
}

void event_name_denied(struct egress_conn *c, const char *name, const char *detail)
{
    struct event_limit *limit = &c->egress->denied_names;
    uint64_t suppressed = 0;
    if (repeated(limit, name) || !take_token(limit, &suppressed))
        return;
    const struct conn_event ev = {.activity = "Refuse",
                                  .severity = AUDIT_SEV_MEDIUM,
                                  .action = AUDIT_DENIED,
                                  .rule_type = "policy-dns"};
    c->host = os_arena_strdup(&c->arena, name);
    c->port = OS_DNS_PORT;
    char source[INET6_ADDRSTRLEN];
    struct audit_event out = base(c, AUDIT_NET, &ev, source);
    cleanup_buf struct os_buf text = {0};
    os_buf_adds(&text, detail);
    if (suppressed)
        os_buf_addf(&text, "; %llu more not logged", (unsigned long long)suppressed);
    out.detail = os_buf_str(&text);
    out.message = "Policy DNS query refused";
    audit_emit(c->egress->opt.audit, &out);
}

void event_name_published(struct egress *e, const char *name, const struct net_addr *address)
{
    char text[INET6_ADDRSTRLEN];
    cleanup_free char *message =
        os_asprintf("Policy DNS mapped %s synthetic=%s", name, net_addr_text(address, text));
    audit_emit(e->opt.audit, &(struct audit_event){.cls = AUDIT_CONFIG,
                                                   .activity = "Log",
                                                   .state = "published",
                                                   .severity = AUDIT_SEV_INFO,
                                                   .message = message});
}

/* --- secrets --- */

void event_secret(const struct egress_request *r, const struct event_secret *ev)
{
    const struct egress_conn *c = r->conn;
    uint64_t suppressed = 0;
    if (!take_token(&c->egress->secret_events, &suppressed))
        return;
    const struct conn_event of = {.severity = ev->certain ? AUDIT_SEV_HIGH : AUDIT_SEV_LOW,
                                  .action = ev->action};
    char source[INET6_ADDRSTRLEN];
    struct audit_event out = base(c, AUDIT_FINDING, &of, source);
    cleanup_free char *uid = os_asprintf("openshell.secret_egress.%s", ev->rule);
    cleanup_free char *title = os_asprintf("Secret in request: %s in %s%s to %s:%u, fingerprint %s", ev->rule,
                                           ev->place, ev->form, c->host, c->port, ev->fingerprint);
    cleanup_buf struct os_buf message = {.max = OS_AUDIT_LINE};
    os_buf_addf(&message, "%s %s:%u%s carries a secret: rule %s, place %s%s, fingerprint %s", r->method,
                c->host, c->port, r->path, ev->rule, ev->place, ev->form, ev->fingerprint);
    if (suppressed)
        os_buf_addf(&message, "; %llu more not logged", (unsigned long long)suppressed);
    out.finding_uid = uid;
    out.title = title;
    out.message = os_buf_str(&message);
    audit_emit(c->egress->opt.audit, &out);
}

void event_secret_setting(struct egress *e, size_t n)
{
    cleanup_free char *message =
        os_asprintf("setting secret_egress_allow: entry %zu is not RULE@HOST and is ignored", n);
    os_log_warn(LOG, "%s", message);
    audit_emit(e->opt.audit, &(struct audit_event){.cls = AUDIT_CONFIG,
                                                   .activity = "Log",
                                                   .state = "invalid",
                                                   .severity = AUDIT_SEV_MEDIUM,
                                                   .message = message});
}

static const char *hint(const char *protocol, uint16_t port)
{
    if (strcmp(protocol, "udp"))
        return "ensure process honors HTTP_PROXY/HTTPS_PROXY; for Node.js set NODE_USE_ENV_PROXY=1";
    return port == 53 ? "DNS queries should route through the sandbox proxy; check resolver configuration"
                      : "UDP traffic must route through the sandbox proxy";
}

void event_bypass(struct egress_conn *c, const char *protocol)
{
    uint64_t suppressed = 0;
    if (!take_token(&c->egress->bypass, &suppressed))
        return;
    const struct conn_event ev = {
        .activity = "Refuse", .severity = AUDIT_SEV_MEDIUM, .action = AUDIT_DENIED, .rule_type = "nftables"};
    char source[INET6_ADDRSTRLEN];
    struct audit_event out = base(c, AUDIT_NET, &ev, source);
    cleanup_buf struct os_buf message = {.max = OS_AUDIT_LINE}, detail = {0};
    os_buf_adds(&detail, "direct connection bypassed HTTP CONNECT proxy");
    if (suppressed)
        os_buf_addf(&detail, "; %llu more not logged", (unsigned long long)suppressed);
    os_buf_addf(&message, "BYPASS_DETECT %s:%u proto=%s binary=%s action=reject reason=%s", c->host, c->port,
                protocol, out.process, os_buf_str(&detail));
    out.protocol = protocol;
    out.rule = "bypass-detect";
    out.detail = os_buf_str(&detail);
    out.message = os_buf_str(&message);
    audit_emit(c->egress->opt.audit, &out);

    os_buf_clear(&message);
    os_buf_addf(&message, "BYPASS_DETECT %s:%u proto=%s binary=%s hint=%s", c->host, c->port, protocol,
                out.process, hint(protocol, c->port));
    out.cls = AUDIT_FINDING;
    out.finding_uid = "bypass-detect";
    out.title = "Proxy Bypass Detected";
    out.detail = NULL;
    out.message = os_buf_str(&message);
    audit_emit(c->egress->opt.audit, &out);
}
