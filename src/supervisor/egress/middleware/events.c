/* Audit events of the middleware chain (spec/proxy.md 13.9, 18). What services of the operator say reaches
 * the log only as codes that were checked, counts, and severities. */
#include <string.h>

#include "core/str.h"
#include "supervisor/egress/middleware/internal.h"

static const char *service_name(const struct middleware_stage *s)
{
    return s->config->service;
}

void middleware_finding(struct egress_conn *c, enum audit_severity severity, enum audit_action action,
                        const char *what, const char *title, const char *message)
{
    cleanup_free char *uid = os_asprintf("openshell.middleware.%s", what);
    event_finding_as(c, severity, action, uid, title, message);
}

static enum audit_severity severity_of(const char *text)
{
    return !strcmp(text, "low") ? AUDIT_SEV_LOW : !strcmp(text, "high") ? AUDIT_SEV_HIGH : AUDIT_SEV_MEDIUM;
}

static void put_findings(const struct egress_request *r, const struct middleware_verdict *v)
{
    bool external = !v->stage->service || v->stage->service->external;
    for (size_t i = 0; i < v->n_findings && i < OS_MIDDLEWARE_FINDINGS; i++) {
        const mw_finding *f = v->findings[i];
        cleanup_free char *uid =
            external ? os_asprintf("%s.finding", service_name(v->stage)) : os_strdup(f->type);
        cleanup_free char *message = os_asprintf(
            "%s: %s count=%u%s%s", v->stage->config->key, external ? "External middleware finding" : f->label,
            f->count, external ? "" : " confidence=", external ? "" : f->confidence);
        event_finding_as(r->conn, severity_of(f->severity), AUDIT_OBSERVED, uid,
                         external ? "External middleware finding" : f->label, message);
    }
}

/* Names of configurations in reasons: what is not plain becomes '_'. */
static char *plain(const char *key)
{
    char *copy = os_strdup(key);
    for (char *p = copy; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '-'))
            *p = '_';
    return copy;
}

static char *detail_of(const struct middleware_verdict *v)
{
    if (v->failure)
        return os_asprintf("middleware_failed: %s", v->failure);
    if (strcmp(v->word, "deny") != 0)
        return NULL;
    cleanup_free char *key = plain(v->stage->config->key);
    return os_asprintf("middleware_denied:%s%s%s", key, *v->reason_code ? ":" : "", v->reason_code);
}

static struct conn_event base(const struct middleware_verdict *v, const char *rule_type, const char *detail)
{
    bool open = v->failure && v->stage->config->fail_open;
    bool bad = v->failure || !strcmp(v->word, "deny");
    return (struct conn_event){"Open", bad ? AUDIT_SEV_MEDIUM : AUDIT_SEV_INFO,
                               open  ? AUDIT_OBSERVED
                               : bad ? AUDIT_DENIED
                                     : AUDIT_ALLOWED,
                               rule_type, detail};
}

static void put_failure(const struct egress_request *r, const struct middleware_verdict *v, const char *what,
                        const char *title)
{
    if (!v->failure)
        return;
    bool open = v->stage->config->fail_open;
    cleanup_free char *message =
        os_asprintf("%s (%s) failed: %s; %s", v->stage->config->key, service_name(v->stage), v->failure,
                    open ? "left out" : "denied");
    middleware_finding(r->conn, open ? AUDIT_SEV_MEDIUM : AUDIT_SEV_HIGH,
                       open ? AUDIT_OBSERVED : AUDIT_DENIED, what, title, message);
}

void middleware_event(const struct egress_request *r, const char *scheme, const struct middleware_verdict *v)
{
    cleanup_free char *detail = detail_of(v);
    const struct conn_event ev = base(v, "middleware", detail);
    event_http(r, scheme, r->conn->l4.policy, &ev, "MIDDLEWARE %s %s decision=%s transformed=%s%s%s%s%s",
               v->stage->config->key, service_name(v->stage), v->word, v->transformed ? "true" : "false",
               *v->reason_code ? " reason_code=" : "", v->reason_code, v->note ? " " : "",
               v->note ? v->note : "");
    put_failure(r, v, "failure", "Middleware failure");
    put_findings(r, v);
}

void middleware_message_event(const struct egress_request *r, const char *scheme,
                              const struct middleware_message_verdict *m)
{
    const struct middleware_verdict *v = &m->v;
    cleanup_free char *detail = detail_of(v);
    const struct conn_event ev = base(v, "supervisor-middleware", detail);
    event_http(r, scheme, r->conn->l4.policy, &ev,
               "WEBSOCKET_MIDDLEWARE %s config=%s implementation=%s sequence=%llu input_bytes=%zu "
               "replacement_bytes=%zu transformed=%s reason_code=%s",
               v->word, v->stage->config->key, service_name(v->stage), (unsigned long long)m->sequence,
               m->input, m->replacement, v->transformed ? "true" : "false",
               *v->reason_code ? v->reason_code : "-");
    put_failure(r, v, "websocket_failure", "WebSocket middleware failure");
    put_findings(r, v);
}

void middleware_coverage_event(const struct egress_request *r, const char *scheme, const char *config,
                               const char *implementation, const char *outcome)
{
    const struct conn_event ev = {"Open", AUDIT_SEV_INFO, AUDIT_OBSERVED, "supervisor-middleware", outcome};
    event_http(r, scheme, r->conn->l4.policy, &ev, "WEBSOCKET_MIDDLEWARE %s config=%s implementation=%s",
               outcome, config, implementation);
}
