/* Expiry of sandbox tokens and the renewal loop. */
#include "supervisor/session/token.h"

#include <jansson.h>
#include <string.h>

#include "core/clock.h"
#include "core/encode.h"
#include "core/log.h"
#include "supervisor/session/internal.h"

#define HOUR_MS 3600000
#define RETRY_MS 10000

int64_t token_expiry(const char *token)
{
    cleanup_buf struct os_buf payload = {.max = 16384};
    const char *dot = strchr(token, '.');
    const char *end = dot ? strchr(dot + 1, '.') : NULL;
    if (!end || !os_base64url_decode(&payload, dot + 1, (size_t)(end - dot - 1)))
        return 0;
    json_t *claims = json_loadb(os_buf_str(&payload), payload.len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *exp = json_object_get(claims, "exp");
    double at = json_is_number(exp) ? json_number_value(exp) : 0;
    json_decref(claims);
    return at > 0 && at < 1e12 ? (int64_t)at : 0;
}

int64_t token_renew_in(int64_t expiry_ms, int64_t now_ms, uint32_t random)
{
    int64_t wait = 6 * (int64_t)HOUR_MS;
    if (expiry_ms && expiry_ms <= now_ms)
        return 1000;
    if (expiry_ms)
        wait = (expiry_ms - now_ms) / 10 * 8;
    if (wait < 1000)
        wait = 1000;
    if (wait > 12 * (int64_t)HOUR_MS)
        wait = 12 * (int64_t)HOUR_MS;
    return wait + wait / 100 * (random % 10);
}

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
