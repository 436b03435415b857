/* The stages of one WebSocket once it is open: told of every text message of the client, and when it is over
 * (spec/proxy.md 13.7). One thread, that of the connection; while a stage thinks, its session waits, and no
 * other connection does. */
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/str.h"
#include "net/websocket/handshake.h"
#include "supervisor/egress/middleware/result.h"
#include "supervisor/egress/middleware/session.h"

#define EVENT(x) OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_SESSION_EVENT__EVENT_##x
#define RESULT(x) OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_SESSION_EVENT_RESULT__RESULT_##x

void session_end_stage(struct session_stage *st, enum middleware_end reason)
{
    Openshell__Middleware__V1__WebSocketSessionEnd end =
        OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_SESSION_END__INIT;
    mw_event event = OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_SESSION_EVENT__INIT;
    struct middleware_stream *stream = st->stream;
    if (!stream)
        return;
    end.reason = (Openshell__Middleware__V1__WebSocketSessionEndReason)reason;
    event.event_case = EVENT(SESSION_END);
    event.session_end = &end;
    st->stream = NULL;
    stream->service->ops->send(stream, &event);
    stream->service->ops->close(stream);
}

static void end_all(struct middleware_session *s, enum middleware_end reason)
{
    for (size_t i = 0; i < s->n; i++)
        session_end_stage(&s->stages[i], reason);
}

void middleware_session_end(struct middleware_session *s, enum middleware_end reason)
{
    if (s && !s->reason)
        s->reason = reason;
}

void middleware_session_free(struct middleware_session *s)
{
    if (!s)
        return;
    end_all(s, s->reason ? s->reason : s->started ? MIDDLEWARE_END_CANCELLED : MIDDLEWARE_END_REJECTED);
    admission_give(&s->r->conn->egress->middleware.sessions, &s->permit);
    free(s);
}

void session_log_stage(const struct middleware_session *s, const struct session_stage *st, const char *word,
                       const char *failure)
{
    const struct middleware_message_verdict m = {
        .v = {.stage = &st->s, .word = word, .failure = failure, .reason_code = ""}};
    middleware_message_event(s->r, s->scheme, &m);
}

bool session_has_listeners(const struct middleware_session *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->stages[i].stream)
            return true;
    return false;
}

/* --- the session --- */

/* The stage is out for the rest of the session; false when it must not be. */
static bool disable(struct middleware_session *s, struct session_stage *st)
{
    cleanup_free char *message = os_asprintf("%s is left out for the rest of the session", st->s.config->key);
    session_end_stage(st, MIDDLEWARE_END_FAILURE);
    if (st->s.config->fail_open) {
        middleware_finding(s->r->conn, AUDIT_SEV_MEDIUM, AUDIT_OBSERVED, "websocket_stage_disabled",
                           "WebSocket middleware stage disabled", message);
        return true;
    }
    middleware_session_end(s, MIDDLEWARE_END_FAILURE);
    return false;
}

bool middleware_session_start(struct middleware_session *s, const struct websocket_agreement *agreed)
{
    Openshell__Middleware__V1__WebSocketSessionStart start =
        OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_SESSION_START__INIT;
    mw_event event = OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_SESSION_EVENT__INIT;
    bool fits = agreed->subprotocol.n <= OS_MIDDLEWARE_SUBPROTOCOL, ok = true;
    cleanup_free char *protocol = os_strndup(agreed->subprotocol.p ? agreed->subprotocol.p : "",
                                             agreed->subprotocol.p && fits ? agreed->subprotocol.n : 0);
    start.selected_subprotocol = protocol;
    event.event_case = EVENT(SESSION_START);
    event.session_start = &start;
    s->started = true;
    for (size_t i = 0; i < s->n; i++) {
        struct session_stage *st = &s->stages[i];
        if (!st->stream || (fits && st->s.service->ops->send(st->stream, &event)))
            continue;
        session_log_stage(s, st, "failed", "session_start_send_failed");
        ok = disable(s, st) && ok;
    }
    return ok;
}

static const char *ask_stage(const struct middleware_session *s, const struct session_stage *st,
                             struct http1_text text, const struct middleware_limit *chain,
                             struct os_arena *arena, mw_message_result **out)
{
    mw_event_result *r;
    const struct middleware_binding *b = &st->s.service->bindings.websocket;
    if (text.n > b->max_payload)
        return "request_message_over_capacity";
    if (middleware_left(chain) <= 0)
        return "middleware_chain_timeout";
    struct middleware_limit limit = middleware_stage_limit(chain, b->timeout_ms);
    if (!st->s.service->ops->send_text(st->stream, s->sequence, text.p, text.n))
        return "missing_message_result";
    const char *failure =
        st->s.service->ops->receive(st->stream, "missing_message_result", &limit, arena, &r);
    if (failure)
        return failure;
    if (r->result_case != RESULT(MESSAGE_RESULT) || !r->message_result)
        return "unexpected_websocket_response";
    *out = r->message_result;
    return middleware_check_message(*out, s->sequence, st->s.service->external, b->max_payload);
}

/* One stage and one message; *text is what it becomes. False when the session ends. */
static bool run_stage(struct middleware_session *s, struct session_stage *st, struct http1_text *text,
                      const struct middleware_limit *chain, struct os_buf *out, bool *replaced)
{
    struct os_arena arena cleanup_arena = {0};
    mw_message_result *r = NULL;
    struct http1_text fresh = {0};
    struct middleware_message_verdict m = {
        .v = {.stage = &st->s, .reason_code = ""}, .sequence = s->sequence, .input = text->n};
    m.v.failure = ask_stage(s, st, *text, chain, &arena, &r);
    bool denied = !m.v.failure && r->decision == MW_DENY;
    if (!m.v.failure) {
        m.v.findings = r->findings;
        m.v.n_findings = r->n_findings;
        m.v.reason_code = middleware_reason_code_ok(r->reason_code) ? r->reason_code : "";
        m.v.transformed = !denied && middleware_replacement(r, &fresh);
        m.replacement = fresh.n;
    }
    m.v.word = denied ? "deny" : m.v.failure ? "failed" : "allow";
    middleware_message_event(s->r, s->scheme, &m);
    if (denied)
        middleware_session_end(s, MIDDLEWARE_END_DENIAL);
    if (m.v.transformed) {
        os_buf_clear(out);
        os_buf_add(out, fresh.p, fresh.n);
        *text = (struct http1_text){os_buf_str(out), out->len};
        *replaced = true;
    }
    if (!m.v.failure)
        return !denied;
    if (strcmp(m.v.failure, "request_message_over_capacity") != 0)
        return disable(s, st);
    if (!st->s.config->fail_open)
        middleware_session_end(s, MIDDLEWARE_END_FAILURE);
    return st->s.config->fail_open;
}

enum middleware_message middleware_session_text(struct middleware_session *s, const char *p, size_t n,
                                                struct os_buf *out)
{
    struct admission *places = &s->r->conn->egress->middleware.requests;
    struct admission_ticket ticket = {0};
    struct middleware_limit chain = {os_clock_mono_ms() + OS_MIDDLEWARE_CHAIN_MS, middleware_cancelled,
                                     s->r->conn};
    struct http1_text text = {p, n};
    bool replaced = false, ok = true;
    s->sequence++;
    if (!session_has_listeners(s))
        return MIDDLEWARE_MESSAGE_KEEP;
    if (!admission_wait(places, &ticket, &chain)) {
        middleware_finding(s->r->conn, AUDIT_SEV_HIGH, AUDIT_DENIED, "admission_exhausted",
                           "Middleware admission exhausted",
                           "too many messages wait for the middleware chain");
        return MIDDLEWARE_MESSAGE_BUSY;
    }
    chain.end_ms = os_clock_mono_ms() + OS_MIDDLEWARE_CHAIN_MS;
    for (size_t i = 0; i < s->n && ok; i++)
        if (s->stages[i].stream)
            ok = run_stage(s, &s->stages[i], &text, &chain, out, &replaced);
    admission_give(places, &ticket);
    return !ok ? MIDDLEWARE_MESSAGE_CLOSE : replaced ? MIDDLEWARE_MESSAGE_REPLACE : MIDDLEWARE_MESSAGE_KEEP;
}

void middleware_session_binary(struct middleware_session *s)
{
    s->sequence++;
    for (size_t i = 0; i < s->n && !s->told_binary; i++)
        if (s->stages[i].stream)
            middleware_coverage_event(s->r, s->scheme, s->stages[i].s.config->key,
                                      s->stages[i].s.config->service, "unsupported_message_type");
    s->told_binary = true;
}
