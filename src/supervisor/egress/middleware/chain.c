/* One request through the chain: stages in the order of the policy, each judged by what it answers and, when
 * it fails, by its on_error (spec/proxy.md 13.3). No I/O but through the stages. */
#include <stdatomic.h>
#include <string.h>

#include "core/clock.h"
#include "core/id.h"
#include "core/str.h"
#include "rpc/pb.h"
#include "supervisor/egress/middleware/internal.h"
#include "supervisor/egress/middleware/result.h"

void middleware_state_init(struct middleware_state *s)
{
    admission_init(&s->requests, OS_MIDDLEWARE_ACTIVE, OS_MIDDLEWARE_WAITING);
    admission_init(&s->sessions, OS_MIDDLEWARE_SESSIONS, 0);
}

void middleware_state_destroy(struct middleware_state *s)
{
    admission_destroy(&s->requests);
    admission_destroy(&s->sessions);
}

int middleware_left(const struct middleware_limit *limit)
{
    int64_t left = limit->end_ms - os_clock_mono_ms();
    return left <= 0 || (limit->cancelled && limit->cancelled(limit->ctx)) ? 0 : (int)left;
}

struct middleware_limit middleware_stage_limit(const struct middleware_limit *chain, int timeout_ms)
{
    struct middleware_limit limit = *chain;
    int64_t end = os_clock_mono_ms() + timeout_ms;
    if (end < limit.end_ms)
        limit.end_ms = end;
    return limit;
}

/* --- which stages --- */

const struct middleware_registry *middleware_registry_of(const struct egress_conn *c)
{
    return policy_engine_attached(c->engine);
}

bool middleware_chain_for(const struct egress_conn *c, struct middleware_chain *out)
{
    const struct policy_middleware_config *selected[OS_LIMIT_MIDDLEWARES];
    size_t n = policy_middlewares_for(c->engine, c->host, selected);
    *out = (struct middleware_chain){.n = 0};
    for (size_t i = 0; i < n; i++) {
        const struct middleware_service *s =
            middleware_registry_find(middleware_registry_of(c), selected[i]->service);
        size_t max = s ? s->bindings.http.max_payload : 0;
        if (s && !max)
            continue;
        out->stages[out->n++] = (struct middleware_stage){selected[i], s};
        out->max_payload = max > out->max_payload ? max : out->max_payload;
        out->required = out->required || !selected[i]->fail_open;
    }
    return out->n > 0;
}

enum middleware_need middleware_need(const struct egress_conn *c)
{
    const struct policy_middleware_config *selected[OS_LIMIT_MIDDLEWARES];
    size_t n = policy_middlewares_for(c->engine, c->host, selected);
    for (size_t i = 0; i < n; i++)
        if (!selected[i]->fail_open)
            return MIDDLEWARE_REQUIRED;
    return n ? MIDDLEWARE_OPTIONAL : MIDDLEWARE_NONE;
}

void middleware_unseen(struct egress_conn *c, const char *why)
{
    cleanup_free char *message = os_asprintf("%s to %s:%u passes middleware unseen", why, c->host, c->port);
    middleware_finding(c, AUDIT_SEV_MEDIUM, AUDIT_OBSERVED, "traffic_uninspectable",
                       "Traffic cannot be inspected by middleware", message);
}

/* --- what stages are told --- */

mw_context *middleware_context(const struct egress_conn *c, struct os_arena *arena)
{
    mw_context *x = pb_new(arena, openshell__middleware__v1__request_context);
    char id[OS_UUID_LEN];
    x->request_id = os_arena_strdup(arena, os_uuid(id));
    middleware_registry_context(middleware_registry_of(c), x);
    return x;
}

mw_target *middleware_target(const struct egress_request *r, const char *scheme, const char *query,
                             struct os_arena *arena)
{
    mw_target *t = pb_new(arena, openshell__middleware__v1__http_request_target);
    t->scheme = os_arena_strdup(arena, scheme);
    t->host = os_arena_strdup(arena, r->conn->host);
    t->port = r->conn->port;
    t->method = os_arena_strdup(arena, r->method);
    t->path = os_arena_strdup(arena, r->target.path);
    t->query = os_arena_strdup(arena, query ? query : "");
    return t;
}

static mw_request *make_request(const struct middleware_job *j, struct os_arena *arena)
{
    const struct egress_request *r = j->r;
    mw_request *m = pb_new(arena, openshell__middleware__v1__http_request_evaluation);
    m->phase = MW_PHASE;
    m->context = middleware_context(r->conn, arena);
    m->target = middleware_target(r, j->forward ? "http" : "https", r->target.query, arena);
    return m;
}

/* --- answers --- */

static void answer_denied(const struct middleware_job *j, const struct middleware_verdict *v,
                          struct deny_answer *a)
{
    const char *code = middleware_reason_code_ok(v->reason_code) ? v->reason_code : "";
    deny_make_middleware(a, j->r, j->forward, v->stage->config->key, code);
}

void middleware_refuse_admission(struct middleware_job *j, struct deny_answer *answer)
{
    struct egress_request *r = j->r;
    const struct conn_event ev = {"Open", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "middleware",
                                  "admission_exhausted"};
    event_http(r, j->scheme, r->conn->l4.policy, &ev, "MIDDLEWARE admission exhausted %s %s:%u%s", r->method,
               r->conn->host, r->conn->port, r->path);
    middleware_finding(r->conn, AUDIT_SEV_HIGH, AUDIT_DENIED, "admission_exhausted",
                       "Middleware admission exhausted", "too many requests wait for the middleware chain");
    deny_make_middleware(answer, r, j->forward, NULL, "");
    answer->status_line = "503 Service Unavailable";
}

void middleware_saturated(struct egress_conn *c)
{
    _Atomic int64_t *last = &c->egress->middleware.saturated_ms;
    int64_t now = os_clock_mono_ms(), before = atomic_load(last);
    if ((before && now - before < OS_MIDDLEWARE_SATURATED_MS) ||
        !atomic_compare_exchange_strong(last, &before, now))
        return;
    middleware_finding(c, AUDIT_SEV_LOW, AUDIT_OBSERVED, "admission_saturated",
                       "Middleware admission saturated", "requests wait for a place in the middleware chain");
}

static void answer_without_body(struct middleware_job *j, const char *detail, const char *message,
                                struct deny_answer *answer)
{
    const struct conn_event ev = {"Open", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "middleware", detail};
    event_http(j->r, j->scheme, j->r->conn->l4.policy, &ev, "MIDDLEWARE %s", message);
    middleware_finding(j->r->conn, AUDIT_SEV_HIGH, AUDIT_DENIED, "body_unavailable",
                       "Request body unavailable to middleware", message);
    deny_make_middleware(answer, j->r, j->forward, NULL, "");
}

void middleware_body_too_long(struct middleware_job *j, struct deny_answer *answer)
{
    cleanup_free char *message =
        os_asprintf("request body exceeds the %zu bytes that middleware takes", j->chain.max_payload);
    answer_without_body(j, "middleware_failed: request_body_over_capacity", message, answer);
}

void middleware_body_too_late(struct middleware_job *j, struct deny_answer *answer)
{
    answer_without_body(j, "middleware_failed: middleware_chain_timeout",
                        "request body was not complete in the time that the middleware chain has", answer);
}

/* --- the body --- */

enum middleware_outcome middleware_before_body(struct middleware_job *j, bool *unseen,
                                               struct deny_answer *answer)
{
    const struct egress_request *r = j->r;
    *unseen = !r->body_read && r->head->framing == HTTP1_LENGTH && r->head->length > j->chain.max_payload;
    if (!*unseen)
        return MIDDLEWARE_PASSED;
    if (j->chain.required) {
        middleware_body_too_long(j, answer);
        return MIDDLEWARE_ANSWER;
    }
    middleware_finding(r->conn, AUDIT_SEV_MEDIUM, AUDIT_OBSERVED, "body_unavailable",
                       "Request body unavailable to middleware",
                       "request body is longer than middleware takes; it passes unseen");
    return MIDDLEWARE_PASSED;
}

static void replace_body(struct egress_request *r, const ProtobufCBinaryData *body)
{
    os_buf_free(&r->body);
    r->body = (struct os_buf){.max = OS_MIDDLEWARE_PAYLOAD};
    os_buf_add(&r->body, body->data, body->len);
    r->body_read = true;
}

/* --- rules that look at the body, after it was replaced --- */

/* True when it may go on. */
static bool still_allowed(const struct middleware_job *j)
{
    struct egress_request *r = j->r;
    struct os_error err cleanup_error = {0};
    cleanup_buf struct os_buf reason = {0};
    struct inspect_plan plan;
    const char *policy = r->conn->l4.policy;
    if (!policy_l4_inspects(&r->conn->l4))
        return true;
    if (inspect_plan(r, &plan, &err) == 0) {
        if (plan.protocol == POLICY_L4)
            return true;
        if (r->body.len > plan.limit)
            body_too_long(plan.what, plan.limit, &err);
        else if (!plan.body && r->body.len && plan.protocol != POLICY_GRAPHQL)
            os_error_set(&err, OS_INVALID_ARGUMENT, "a body in a request that has none to be judged by");
    }
    if (!err.code) {
        r->graphql = NULL;
        r->jsonrpc = NULL;
        inspect_request(r, &plan);
        if (request_rejudge(r, j->scheme, &policy, &reason) == REQUEST_FORWARD)
            return true;
    } else {
        os_buf_adds(&reason, os_error_text(&err));
        const struct conn_event ev = {"Open", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "l7", os_error_text(&err)};
        event_http(r, j->scheme, policy, &ev, "L7_REQUEST_TRANSFORMED deny %s %s:%u%s", r->method,
                   r->conn->host, r->conn->port, r->path);
    }
    middleware_finding(r->conn, AUDIT_SEV_HIGH, AUDIT_DENIED, "policy_evaluation_failure",
                       "Transformed request denied by policy", os_buf_str(&reason));
    return false;
}

/* --- stages --- */

struct turn {
    struct middleware_verdict v;
    mw_result *result;
    bool denied;
};

static const char *ask(const struct middleware_job *j, const struct middleware_stage *s, mw_request *m,
                       struct os_arena *arena, mw_result **out)
{
    const struct middleware_binding *b = s->service ? &s->service->bindings.http : NULL;
    if (!b)
        return "binding_not_described";
    if (middleware_left(&j->limit) <= 0)
        return "middleware_chain_timeout";
    m->config = (Google__Protobuf__Struct *)(uintptr_t)s->config->config;
    m->middleware_name = (char *)(uintptr_t)s->service->name;
    m->body = (ProtobufCBinaryData){j->r->body.len, (uint8_t *)j->r->body.data};
    middleware_visible_headers(j->r->head, arena, m);
    const char *failure = middleware_check_request(m, s->config->config_size, b->max_payload);
    if (failure)
        return failure;
    struct middleware_limit limit = middleware_stage_limit(&j->limit, b->timeout_ms);
    failure = s->service->ops->http(s->service, m, &limit, arena, out);
    if (failure)
        return middleware_left(&j->limit) <= 0 && !strcmp(failure, "middleware_timeout")
                   ? "middleware_chain_timeout"
                   : failure;
    return middleware_check_result(*out, b->max_payload);
}

/* Takes over what the stage wants changed; all of it or nothing. */
static const char *apply(struct egress_request *r, const mw_result *result, bool *replaced)
{
    const struct http1_head *head;
    const char *failure =
        middleware_mutate(r->head, result->header_mutations, result->n_header_mutations, r->arena, &head);
    if (failure)
        return failure;
    if (result->has_body && result->body.len && r->kind == POLICY_HTTP_UPGRADE)
        return "response_body_over_capacity"; /* of a request that has no body */
    r->head = head;
    /* A request without a body stays without. */
    *replaced = result->has_body && r->kind != POLICY_HTTP_UPGRADE && r->head->framing != HTTP1_NO_BODY;
    if (*replaced)
        replace_body(r, &result->body);
    return NULL;
}

static char *note_of(const struct middleware_stage *s, const mw_result *r)
{
    cleanup_buf struct os_buf text = {0};
    if (!s->service || s->service->external || !r)
        return NULL;
    for (size_t i = 0; i < r->n_metadata; i++)
        os_buf_addf(&text, "%s%s=%s", i ? " " : "", r->metadata[i]->key, r->metadata[i]->value);
    return text.len ? os_buf_take(&text) : NULL;
}

/* False when the chain ends here: *answer says so. */
static bool run_stage(const struct middleware_job *j, const struct middleware_stage *s, mw_request *m,
                      struct deny_answer *answer)
{
    struct os_arena arena cleanup_arena = {0};
    struct egress_request *r = j->r;
    mw_result *result = NULL;
    bool replaced = false;
    struct middleware_verdict v = {.stage = s, .word = "allow", .reason_code = ""};
    v.failure = ask(j, s, m, &arena, &result);
    bool denied = !v.failure && result->decision == MW_DENY;
    if (!v.failure && !denied)
        v.failure = apply(r, result, &replaced);
    if (result && !v.failure) {
        v.findings = result->findings;
        v.n_findings = result->n_findings;
        if (middleware_reason_code_ok(result->reason_code))
            v.reason_code = result->reason_code;
    }
    cleanup_free char *note = v.failure ? NULL : note_of(s, result);
    v.note = note;
    v.transformed = replaced || (result && !v.failure && result->n_header_mutations);
    v.word = denied ? "deny" : v.failure ? "failed" : "allow";
    middleware_event(r, j->scheme, &v);
    if (denied) {
        answer_denied(j, &v, answer);
        return false;
    }
    if ((v.failure && !s->config->fail_open) || (replaced && !still_allowed(j))) {
        deny_make_middleware(answer, r, j->forward, NULL, "");
        return false;
    }
    return true;
}

bool middleware_cancelled(void *conn)
{
    return conn_ending(conn);
}

bool middleware_job_init(struct middleware_job *j, struct egress_request *r, const char *scheme, bool forward)
{
    *j = (struct middleware_job){.r = r, .scheme = scheme, .forward = forward};
    j->limit =
        (struct middleware_limit){os_clock_mono_ms() + OS_MIDDLEWARE_CHAIN_MS, middleware_cancelled, r->conn};
    return middleware_chain_for(r->conn, &j->chain);
}

enum middleware_outcome middleware_run(struct middleware_job *j, struct deny_answer *answer,
                                       struct os_error *err)
{
    struct os_arena arena cleanup_arena = {0};
    if (j->r->body_trailers) {
        os_error_set(err, OS_INVALID_ARGUMENT, "trailers of a request that middleware looks at");
        return MIDDLEWARE_MALFORMED;
    }
    mw_request *m = make_request(j, &arena);
    for (size_t i = 0; i < j->chain.n; i++)
        if (!run_stage(j, &j->chain.stages[i], m, answer))
            return MIDDLEWARE_ANSWER;
    return MIDDLEWARE_PASSED;
}
