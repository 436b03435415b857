/* Renewal of the sandbox token: in memory only, for every later call of the connection. */
#include "core/clock.h"
#include "core/log.h"
#include "supervisor/session/internal.h"
#include "supervisor/session/token.h"

#define RETRY_MS 10000

static void schedule(struct session *s, int64_t expiry_ms, int64_t extra_ms)
{
    int64_t wait = token_renew_in(expiry_ms, os_clock_ms(), session_random()) + extra_ms;
    session_timer(s, TIMER_TOKEN, (uint64_t)wait);
    s->token_expiry_ms = expiry_ms;
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
    rpc_client_set_bearer(s->client, r->token);
    schedule(s, r->expires_at_ms > 0 ? r->expires_at_ms : token_expiry(r->token) * 1000, 0);
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
