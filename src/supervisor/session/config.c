/* Configuration: the first fetch, pushes over the control session, and polling of a gateway that does not
 * push (spec/supervisor.md 13). A push that overtakes a fetch makes the fetch's answer stale: it is asked
 * again. */
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "supervisor/session/internal.h"

#define POLL_SECONDS 10

static struct config_mark mark_of(const session_config *c)
{
    struct config_mark m = {.version = c->version,
                            .global_version = c->global_policy_version,
                            .revision = c->config_revision,
                            .provider_revision = c->provider_env_revision};
    snprintf(m.hash, sizeof(m.hash), "%s", c->policy_hash);
    return m;
}

static bool same_mark(const struct config_mark *a, const struct config_mark *b)
{
    return a->version == b->version && a->global_version == b->global_version && a->revision == b->revision &&
           a->provider_revision == b->provider_revision && strcmp(a->hash, b->hash) == 0;
}

static void deliver(struct session *s, const session_config *c)
{
    struct config_mark m = mark_of(c);
    bool known = s->configured && same_mark(&m, &s->mark);
    s->mark = m;
    s->configured = true;
    if (!known && s->opt.on_config)
        s->opt.on_config(s->opt.ctx, c);
}

static void poll_later(struct session *s)
{
    if (s->started && !(s->accepted && s->gateway_pushes))
        session_timer(s, TIMER_CONFIG,
                      (uint64_t)(s->opt.poll_seconds ? s->opt.poll_seconds : POLL_SECONDS) * 1000);
}

static void fetch_failed(struct session *s, const struct os_error *status)
{
    if (!s->configured && !session_retryable(status->code)) {
        if (s->opt.on_config_failed)
            s->opt.on_config_failed(s->opt.ctx, status);
        return;
    }
    os_log_warn("session", "cannot fetch the configuration: %s", os_error_text(status));
    bool poll = s->configured && !(s->accepted && s->gateway_pushes);
    if (poll)
        poll_later(s);
    else
        session_timer(s, TIMER_CONFIG, backoff_next(&s->fetch_backoff, session_random()));
}

static void on_fetched(void *ctx, const struct os_error *status, const ProtobufCMessage *response)
{
    struct session *s = ctx;
    if (!session_drop(s) || s->stopping)
        return;
    s->fetching = false;
    if (status->code != OS_OK) {
        fetch_failed(s, status);
        return;
    }
    backoff_reset(&s->fetch_backoff);
    session_link_up(s);
    if (s->fetch_again) {
        config_fetch(s);
        return;
    }
    poll_later(s);
    deliver(s, (const session_config *)response);
}

void config_fetch(struct session *s)
{
    if (s->fetching) {
        s->fetch_again = true;
        return;
    }
    s->fetching = true;
    s->fetch_again = false;
    Openshell__Sandbox__V1__GetSandboxConfigRequest req =
        OPENSHELL__SANDBOX__V1__GET_SANDBOX_CONFIG_REQUEST__INIT;
    req.sandbox_id = (char *)s->opt.sandbox_id;
    session_hold(s);
    rpc_client_unary(s->client, RPC_OpenShell_GetSandboxConfig, &req.base, SESSION_UNARY_MS, on_fetched, s);
}

void config_pushed(struct session *s, const session_config *config)
{
    if (s->fetching)
        s->fetch_again = true;
    /* Two commits may be pushed in the wrong order: the gateway is asked which one holds. */
    if (s->configured &&
        config->policy_source == OPENSHELL__SANDBOX__V1__POLICY_SOURCE__POLICY_SOURCE_SANDBOX &&
        config->version < s->mark.version)
        config_fetch(s);
    else
        deliver(s, config);
}

void config_session_changed(struct session *s)
{
    if (s->accepted)
        config_fetch(s); /* what changed while no session was there to push it */
    else
        poll_later(s);
}

void session_fetch_config(struct session *s)
{
    session_token_schedule(s);
    config_fetch(s);
}
