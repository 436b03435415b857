/* Reports of the supervisor: policy acknowledgements in order, and the end of the main process. */
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "rpc/pb.h"
#include "supervisor/agent/agent.h"
#include "supervisor/session/internal.h"

#define REPORTS_MAX 64 /* the gateway only cares for the latest; older ones are dropped beyond this */

/* --- ReportPolicyStatus --- */

static void report_pop(struct session *s)
{
    struct policy_report *r = s->reports;
    s->reports = r->next;
    if (!s->reports)
        s->reports_tail = &s->reports;
    free(r->error);
    free(r);
}

static void on_reported(void *ctx, const struct os_error *status, const ProtobufCMessage *response)
{
    struct session *s = ctx;
    if (!session_drop(s))
        return;
    s->reporting = false;
    if (status->code != OS_OK && session_retryable(status->code)) {
        session_timer(s, TIMER_POLICY, backoff_next(&s->report_backoff, session_random()));
        return;
    }
    if (status->code != OS_OK)
        os_log_warn("session", "the gateway does not take the status of policy version %u: %s",
                    s->reports->version, os_error_text(status));
    backoff_reset(&s->report_backoff);
    report_pop(s);
    report_policy_next(s);
}

void report_policy_next(struct session *s)
{
    struct policy_report *r = s->reports;
    if (!r || s->reporting || s->stopping)
        return;
    s->reporting = true;
    Openshell__V1__ReportPolicyStatusRequest req = OPENSHELL__V1__REPORT_POLICY_STATUS_REQUEST__INIT;
    req.sandbox_id = (char *)s->opt.sandbox_id;
    req.version = r->version;
    req.status = r->loaded ? OPENSHELL__V1__POLICY_STATUS__POLICY_STATUS_LOADED
                           : OPENSHELL__V1__POLICY_STATUS__POLICY_STATUS_FAILED;
    if (r->error)
        req.load_error = r->error;
    session_hold(s);
    rpc_client_unary(s->client, RPC_OpenShell_ReportPolicyStatus, &req.base, SESSION_UNARY_MS, on_reported,
                     s);
}

static unsigned reports_count(const struct session *s)
{
    unsigned n = 0;
    for (const struct policy_report *r = s->reports; r; r = r->next)
        n++;
    return n;
}

void session_report_policy(struct session *s, uint32_t version, bool loaded, const char *error)
{
    if (reports_count(s) >= REPORTS_MAX && !s->reporting)
        report_pop(s);
    struct policy_report *r = os_calloc(1, sizeof(*r));
    r->version = version;
    r->loaded = loaded;
    r->error = error ? os_strdup(error) : NULL;
    *s->reports_tail = r;
    s->reports_tail = &r->next;
    if (!uv_is_active((uv_handle_t *)&s->timers[TIMER_POLICY]))
        report_policy_next(s);
}

void reports_free(struct session *s)
{
    while (s->reports)
        report_pop(s);
}

/* --- ReportMainProcessExit --- */

static void on_exit_reported(void *ctx, const struct os_error *status, const ProtobufCMessage *response)
{
    struct session *s = ctx;
    if (!session_drop(s) || s->stopping)
        return;
    bool refused = status->code == OS_UNAUTHENTICATED || status->code == OS_PERMISSION_DENIED ||
                   status->code == OS_NOT_FOUND || status->code == OS_INVALID_ARGUMENT ||
                   status->code == OS_UNIMPLEMENTED;
    if (status->code != OS_OK && !refused) {
        os_log_warn("session", "cannot report the end of the main process: %s", os_error_text(status));
        session_timer(s, TIMER_EXIT, backoff_next(&s->exit_backoff, session_random()));
        return;
    }
    if (refused)
        os_log_error("session", "the gateway refuses the report of the main process's end: %s",
                     os_error_text(status));
    void (*done)(void *) = s->exit_done;
    s->exit_done = NULL;
    if (done)
        done(s->exit_ctx);
}

struct collected {
    struct os_arena arena;
    Openshell__V1__MainProcessOutput **list;
    size_t n, cap;
};

static void collect(void *ctx, bool is_err, const uint8_t *data, size_t n)
{
    struct collected *c = ctx;
    if (c->n == c->cap) {
        void *grown = os_arena_alloc(&c->arena, (c->cap = c->cap ? 2 * c->cap : 8) * sizeof(*c->list));
        c->list = c->n ? memcpy(grown, c->list, c->n * sizeof(*c->list)) : grown;
    }
    Openshell__V1__MainProcessOutput *o = pb_new(&c->arena, openshell__v1__main_process_output);
    o->data = (ProtobufCBinaryData){.data = (uint8_t *)data, .len = n};
    o->is_stderr = is_err;
    c->list[c->n++] = o;
}

void report_exit_send(struct session *s)
{
    Openshell__V1__ReportMainProcessExitRequest req = OPENSHELL__V1__REPORT_MAIN_PROCESS_EXIT_REQUEST__INIT;
    struct collected output = {0};
    req.sandbox_id = (char *)s->opt.sandbox_id;
    req.instance_id = (char *)s->opt.instance_id;
    req.exit_code = s->exit_code;
    req.output_dropped = agent_main_output(s->opt.agent, OS_MAIN_REPORTED, collect, &output);
    req.output = output.list;
    req.n_output = output.n;
    if (s->start_error)
        req.start_error = (char *)s->start_error;
    session_hold(s);
    rpc_client_unary(s->client, RPC_OpenShell_ReportMainProcessExit, &req.base, SESSION_UNARY_MS,
                     on_exit_reported, s);
    os_arena_free(&output.arena);
}

/* A program's name may be longer than what the gateway takes. */
static char *start_error_text(struct session *s, const char *text)
{
    size_t n = strlen(text);
    if (n > OS_LIMIT_START_ERROR)
        for (n = OS_LIMIT_START_ERROR; n && ((unsigned char)text[n] & 0xc0) == 0x80;)
            n--;
    return os_arena_strndup(&s->arena, text, n);
}

void session_report_exit(struct session *s, int32_t exit_code, const char *start_error,
                         void (*done)(void *ctx), void *ctx)
{
    s->start_error = start_error ? start_error_text(s, start_error) : NULL;
    s->exit_code = exit_code;
    s->exit_done = done;
    s->exit_ctx = ctx;
    report_exit_send(s);
}

/* --- UpdateConfig: the policy the sandbox brought along --- */

static void on_policy_offered(void *ctx, const struct os_error *status, const ProtobufCMessage *response)
{
    struct session *s = ctx;
    if (session_drop(s) && status->code != OS_OK)
        os_log_warn("session", "the gateway does not take the sandbox's own policy, which stays in force: %s",
                    os_error_text(status));
}

void session_offer_policy(struct session *s, const char *sandbox_name,
                          const Openshell__Sandbox__V1__SandboxPolicy *policy)
{
    Openshell__V1__UpdateConfigRequest req = OPENSHELL__V1__UPDATE_CONFIG_REQUEST__INIT;
    req.name = (char *)sandbox_name;
    req.policy = (Openshell__Sandbox__V1__SandboxPolicy *)policy;
    session_hold(s);
    rpc_client_unary(s->client, RPC_OpenShell_UpdateConfig, &req.base, SESSION_UNARY_MS, on_policy_offered,
                     s);
}
