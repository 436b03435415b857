/* Renewal of the sandbox token: in memory only, for every later call of the connection. */
#include <stdlib.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/str.h"
#include "supervisor/session/internal.h"
#include "supervisor/session/token.h"

#define RETRY_MS 10000

static void schedule(struct session *s, int64_t expiry_ms, int64_t extra_ms)
{
    int64_t wait = token_renew_in(expiry_ms, os_clock_ms(), session_random()) + extra_ms;
    session_timer(s, TIMER_TOKEN, (uint64_t)wait);
    s->token_expiry_ms = expiry_ms;
}

static void install(struct session *s, const Openshell__V1__RefreshSandboxTokenResponse *r)
{
    rpc_client_set_bearer(s->client, r->token);
    schedule(s, r->expires_at_ms > 0 ? r->expires_at_ms : token_expiry(r->token) * 1000, 0);
}

static void on_renewed(void *ctx, const struct os_error *status, const ProtobufCMessage *response)
{
    struct session *s = ctx;
    if (!session_drop(s) || s->stopping)
        return;
    if (status->code != OS_OK) {
        os_log_warn("session", "cannot renew the sandbox token: %s", os_error_text(status));
        schedule(s, s->token_expiry_ms, RETRY_MS);
        return;
    }
    const Openshell__V1__RefreshSandboxTokenResponse *r =
        (const Openshell__V1__RefreshSandboxTokenResponse *)response;
    if (!*r->token) {
        os_log_warn("session", "cannot renew the sandbox token: the gateway answered without one");
        schedule(s, s->token_expiry_ms, RETRY_MS);
        return;
    }
    install(s, r);
}

/* --- tokens for others --- */

struct request {
    struct session *s;
    session_tokens_cb *cb;
    void *ctx;
};

static void on_tokens(void *ctx, const struct os_error *status, const ProtobufCMessage *response)
{
    struct request req = *(struct request *)ctx;
    free(ctx);
    if (!session_drop(req.s) || req.s->stopping)
        return;
    const Openshell__V1__RefreshSandboxTokenResponse *r =
        (const Openshell__V1__RefreshSandboxTokenResponse *)response;
    if (r && *r->token)
        install(req.s, r);
    req.cb(req.ctx, status, r);
}

void session_extension_tokens(struct session *s, const char *const *names, size_t n, session_tokens_cb *cb,
                              void *ctx)
{
    Openshell__V1__RefreshSandboxTokenRequest req = OPENSHELL__V1__REFRESH_SANDBOX_TOKEN_REQUEST__INIT;
    struct request *r = os_calloc(1, sizeof(*r));
    *r = (struct request){s, cb, ctx};
    req.extension_service_names = (char **)(uintptr_t)names;
    req.n_extension_service_names = n;
    session_hold(s);
    rpc_client_unary(s->client, RPC_OpenShell_RefreshSandboxToken, &req.base, SESSION_UNARY_MS, on_tokens, r);
}

void session_token_start(struct session *s, const char *token)
{
    s->token_expiry_ms = token_expiry(token) * 1000;
}

void session_token_schedule(struct session *s)
{
    schedule(s, s->token_expiry_ms, 0);
}

void session_token_renew(struct session *s)
{
    Openshell__V1__RefreshSandboxTokenRequest req = OPENSHELL__V1__REFRESH_SANDBOX_TOKEN_REQUEST__INIT;
    session_hold(s);
    rpc_client_unary(s->client, RPC_OpenShell_RefreshSandboxToken, &req.base, SESSION_UNARY_MS, on_renewed,
                     s);
}
