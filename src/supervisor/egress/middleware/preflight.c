/* Before a WebSocket's upgrade goes upstream: the stages that look at messages are asked whether they want
 * to, all at once (spec/proxy.md 13.7). */
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/id.h"
#include "core/str.h"
#include "net/http1/chars.h"
#include "net/websocket/handshake.h"
#include "rpc/pb.h"
#include "supervisor/egress/middleware/result.h"
#include "supervisor/egress/middleware/session.h"

#define EVENT(x) OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_SESSION_EVENT__EVENT_##x
#define RESULT(x) OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_SESSION_EVENT_RESULT__RESULT_##x
#define ACTION(x) OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_PREFLIGHT_ACTION__WEB_SOCKET_PREFLIGHT_ACTION_##x

static void put_subprotocols(const struct http1_head *head, struct os_arena *arena, mw_preflight *p)
{
    const struct http1_field *f = NULL;
    struct http1_text item;
    p->requested_subprotocols = os_arena_alloc(arena, (OS_MIDDLEWARE_SUBPROTOCOLS + 1) * sizeof(char *));
    while ((f = http1_find(head, "sec-websocket-protocol", f)))
        for (struct http1_text rest = f->value; rest.p;) {
            http1_list_next(&rest, &item);
            /* One too many is enough to be refused for it. */
            if (item.n && p->n_requested_subprotocols <= OS_MIDDLEWARE_SUBPROTOCOLS)
                p->requested_subprotocols[p->n_requested_subprotocols++] =
                    os_arena_strndup(arena, item.p, item.n);
        }
}

static mw_preflight *make_preflight(const struct middleware_session *s, struct os_arena *arena)
{
    char id[OS_UUID_LEN];
    mw_preflight *p = pb_new(arena, openshell__middleware__v1__web_socket_preflight);
    p->session_id = os_arena_strdup(arena, os_uuid(id));
    p->phase = MW_PHASE;
    p->context = middleware_context(s->r->conn, arena);
    p->target = middleware_target(s->r, s->forward ? "ws" : "wss", NULL, arena);
    put_subprotocols(s->r->head, arena, p);
    return p;
}

static const char *open_stage(struct session_stage *st, mw_preflight *p)
{
    mw_event event = OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_SESSION_EVENT__INIT;
    const char *failure = middleware_check_preflight(p, st->s.config->config_size);
    if (failure)
        return failure;
    p->middleware_name = (char *)(uintptr_t)st->s.service->name;
    p->config = (Google__Protobuf__Struct *)(uintptr_t)st->s.config->config;
    event.event_case = EVENT(PREFLIGHT);
    event.preflight = p;
    st->stream = st->s.service->ops->open(st->s.service, &event);
    return st->stream ? NULL : "external_service_error";
}

static const char *hear_stage(const struct session_stage *st, const struct middleware_limit *all,
                              struct os_arena *arena, mw_preflight_decision **out)
{
    mw_event_result *r;
    struct middleware_limit limit = *all;
    int64_t own = all->end_ms - OS_MIDDLEWARE_PREFLIGHT_MS + st->s.service->bindings.websocket.timeout_ms;
    if (own < limit.end_ms)
        limit.end_ms = own;
    const char *failure =
        st->s.service->ops->receive(st->stream, "missing_preflight_decision", &limit, arena, &r);
    if (failure)
        return failure;
    if (r->result_case != RESULT(PREFLIGHT_DECISION) || !r->preflight_decision)
        return "invalid_preflight_decision";
    *out = r->preflight_decision;
    return middleware_check_decision(*out);
}

/* What the stages said. */
struct preflight {
    const struct middleware_stage *denied, *failed; /* the first of each; failed: a required one */
    const char *reason_code;
};

static void take_decision(struct middleware_session *s, struct session_stage *st, const char *failure,
                          const mw_preflight_decision *d, struct preflight *p)
{
    struct middleware_message_verdict m = {.v = {.stage = &st->s, .failure = failure, .reason_code = ""}};
    if (failure) {
        m.v.word = "failed";
        session_end_stage(st, MIDDLEWARE_END_FAILURE);
        if (!st->s.config->fail_open && !p->failed)
            p->failed = &st->s;
    } else {
        m.v.reason_code = middleware_reason_code_ok(d->reason_code) ? d->reason_code : "";
        m.v.findings = d->findings;
        m.v.n_findings = d->n_findings;
        m.v.word = d->action == ACTION(INSPECT) ? "inspect" : d->action == ACTION(SKIP) ? "skip" : "deny";
        if (d->action == ACTION(SKIP))
            session_end_stage(st, MIDDLEWARE_END_SKIPPED);
        if (d->action == ACTION(DENY) && !p->denied) {
            p->denied = &st->s;
            p->reason_code = m.v.reason_code;
        }
    }
    middleware_message_event(s->r, s->scheme, &m);
}

/* All stages at once: every stream is opened before the first answer is waited for. */
static void ask_all(struct middleware_session *s, struct os_arena *arena, struct preflight *out)
{
    const struct middleware_limit limit = {os_clock_mono_ms() + OS_MIDDLEWARE_PREFLIGHT_MS,
                                           middleware_cancelled, s->r->conn};
    const char *failures[OS_LIMIT_MIDDLEWARES] = {0};
    mw_preflight *p = make_preflight(s, arena);
    for (size_t i = 0; i < s->n; i++)
        failures[i] = open_stage(&s->stages[i], p);
    for (size_t i = 0; i < s->n; i++) {
        mw_preflight_decision *d = NULL;
        if (!failures[i])
            failures[i] = hear_stage(&s->stages[i], &limit, arena, &d);
        take_decision(s, &s->stages[i], failures[i], d, out);
    }
}

/* The stages that look at messages; the others are only noted. */
static void select_stages(struct middleware_session *s)
{
    const struct policy_middleware_config *selected[OS_LIMIT_MIDDLEWARES];
    const struct egress_conn *c = s->r->conn;
    size_t n = policy_middlewares_for(c->engine, c->host, selected);
    for (size_t i = 0; i < n; i++) {
        const struct middleware_service *service =
            middleware_registry_find(middleware_registry_of(c), selected[i]->service);
        if (service && service->bindings.websocket.max_payload)
            s->stages[s->n++].s = (struct middleware_stage){selected[i], service};
        else
            middleware_coverage_event(s->r, s->scheme, selected[i]->key, selected[i]->service,
                                      "binding_not_selected");
    }
}

/* No permit: every stage fails. True when that is put up with. */
static bool without_permit(const struct middleware_session *s)
{
    bool ok = true;
    middleware_finding(s->r->conn, AUDIT_SEV_HIGH, AUDIT_DENIED, "session_capacity_exhausted",
                       "WebSocket middleware sessions exhausted",
                       "too many WebSockets are looked into by middleware");
    for (size_t i = 0; i < s->n; i++) {
        session_log_stage(s, &s->stages[i], "failed", "middleware_session_capacity_exhausted");
        ok = ok && s->stages[i].s.config->fail_open;
    }
    return ok;
}

static bool agree(struct middleware_session *s, struct deny_answer *answer)
{
    struct os_arena arena cleanup_arena = {0};
    struct preflight p = {.reason_code = ""};
    ask_all(s, &arena, &p);
    if (p.denied) {
        middleware_session_end(s, MIDDLEWARE_END_DENIAL);
        deny_make_middleware(answer, s->r, s->forward, p.denied->config->key, p.reason_code);
    } else if (p.failed) {
        middleware_session_end(s, MIDDLEWARE_END_FAILURE);
        deny_make_middleware(answer, s->r, s->forward, NULL, "");
    }
    return !p.denied && !p.failed;
}

bool middleware_preflight(struct egress_request *r, const char *scheme, bool forward,
                          struct deny_answer *answer)
{
    struct middleware_session *s = os_calloc(1, sizeof(*s));
    *s = (struct middleware_session){.r = r, .scheme = scheme, .forward = forward};
    select_stages(s);
    bool ok = true;
    if (s->n && admission_ask(&r->conn->egress->middleware.sessions, &s->permit) != ADMISSION_IN) {
        ok = without_permit(s);
        if (!ok)
            deny_make_middleware(answer, r, forward, NULL, "");
    } else if (s->n) {
        ok = agree(s, answer);
    }
    if (!ok || !session_has_listeners(s)) {
        middleware_session_free(s);
        return ok;
    }
    r->session = s;
    r->reads_messages = true;
    r->safe_offer = websocket_safe_offer(r->head);
    return true;
}
