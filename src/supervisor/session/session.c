/* The control session: hello, heartbeats, dispatch of what the gateway asks, and coming back after a loss. */
#include "supervisor/session/session.h"

#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/id.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "supervisor/session/internal.h"

#define BEAT_MIN_MS 5000
#define ACCEPT_MS 15000 /* for session_accepted to come */
#define STOP_MS 1000
#define AWAY_MAX_MS                                                                                          \
    700 /* between attempts while nothing listens: a session is back within a second of its gateway */
#define REFUSED_MAX_MS 30000 /* while a gateway answers, but not with a session */
#define STOP_LOOK_MS 5

/* --- life of the struct --- */

void session_hold(struct session *s)
{
    s->refs++;
}

bool session_drop(struct session *s)
{
    bool alive = !s->freed;
    if (--s->refs)
        return alive;
    logs_free(s);
    reports_free(s);
    os_arena_free(&s->arena);
    free(s);
    return false;
}

static void on_closed(uv_handle_t *h)
{
    session_drop(h->data);
}

void session_free(struct session *s)
{
    if (!s || s->freed)
        return;
    s->stopping = true;
    s->freed = true;
    relays_free(s);
    for (int i = 0; i < TIMER_COUNT; i++)
        uv_close((uv_handle_t *)&s->timers[i], on_closed);
    uv_close((uv_handle_t *)&s->logs.wake, on_closed);
    rpc_client_free(s->client);
}

uint32_t session_random(void)
{
    uint32_t r;
    os_random(&r, sizeof(r));
    return r;
}

bool session_retryable(enum os_code code)
{
    return code == OS_UNAVAILABLE || code == OS_DEADLINE_EXCEEDED || code == OS_RESOURCE_EXHAUSTED ||
           code == OS_ABORTED || code == OS_INTERNAL || code == OS_UNKNOWN || code == OS_CANCELLED;
}

void session_link_up(struct session *s)
{
    if (s->link_up)
        return;
    s->link_up = true;
    backoff_reset(&s->logs.backoff);
    logs_flush(s, true);
}

static void on_disconnect(void *ctx, const struct os_error *why)
{
    struct session *s = ctx;
    s->link_up = false;
}

/* --- control stream --- */

static void send_control(struct session *s, Openshell__V1__SupervisorMessage *m)
{
    if (s->control)
        rpc_call_send(s->control, &m->base);
}

void session_send_open_result(struct session *s, const char *channel_id, const char *error)
{
    Openshell__V1__RelayOpenResult r = OPENSHELL__V1__RELAY_OPEN_RESULT__INIT;
    Openshell__V1__SupervisorMessage m = OPENSHELL__V1__SUPERVISOR_MESSAGE__INIT;
    r.channel_id = (char *)channel_id;
    r.success = !error;
    if (error)
        r.error = (char *)error;
    m.payload_case = OPENSHELL__V1__SUPERVISOR_MESSAGE__PAYLOAD_RELAY_OPEN_RESULT;
    m.relay_open_result = &r;
    send_control(s, &m);
}

void session_set_enforcement(struct session *s, bool complete, const char *detail)
{
    s->enforcement_complete = complete;
    s->enforcement = os_arena_strdup(&s->arena, detail);
}

static void send_hello(struct session *s)
{
    static char *capabilities[] = {"exec-relay", "config-push", "attach-main"};
    Openshell__V1__SupervisorHello hello = OPENSHELL__V1__SUPERVISOR_HELLO__INIT;
    Openshell__V1__SupervisorMessage m = OPENSHELL__V1__SUPERVISOR_MESSAGE__INIT;
    hello.sandbox_id = (char *)s->opt.sandbox_id;
    hello.instance_id = (char *)s->opt.instance_id;
    hello.version = (char *)s->opt.version;
    hello.capabilities = capabilities;
    hello.n_capabilities = OS_ARRAY_LEN(capabilities);
    Openshell__V1__EnforcementReport report = OPENSHELL__V1__ENFORCEMENT_REPORT__INIT;
    report.complete = s->enforcement_complete;
    report.detail = (char *)s->enforcement;
    if (s->enforcement)
        hello.enforcement = &report;
    m.payload_case = OPENSHELL__V1__SUPERVISOR_MESSAGE__PAYLOAD_HELLO;
    m.hello = &hello;
    send_control(s, &m);
}

static void beat(struct session *s)
{
    Openshell__V1__SupervisorHeartbeat h = OPENSHELL__V1__SUPERVISOR_HEARTBEAT__INIT;
    Openshell__V1__SupervisorMessage m = OPENSHELL__V1__SUPERVISOR_MESSAGE__INIT;
    m.payload_case = OPENSHELL__V1__SUPERVISOR_MESSAGE__PAYLOAD_HEARTBEAT;
    m.heartbeat = &h;
    if (!s->accepted) {
        os_log_warn("session", "the gateway did not accept the session within %d s", ACCEPT_MS / 1000);
        rpc_call_cancel(s->control);
        return;
    }
    send_control(s, &m);
    session_timer(s, TIMER_BEAT, s->beat_ms);
}

static void on_accepted(struct session *s, const Openshell__V1__SessionAccepted *a)
{
    s->accepted = true;
    s->gateway_pushes = false;
    for (size_t i = 0; i < a->n_capabilities; i++)
        s->gateway_pushes |= strcmp(a->capabilities[i], "config-push") == 0;
    s->beat_ms = a->heartbeat_interval_secs < BEAT_MIN_MS / 1000 ? BEAT_MIN_MS
                 : a->heartbeat_interval_secs > 3600             ? 3600 * 1000
                                                                 : a->heartbeat_interval_secs * 1000;
    session_timer(s, TIMER_BEAT, s->beat_ms);
    backoff_reset(&s->connect_backoff);
    os_log_info("session", "supervisor session established");
    session_link_up(s);
    config_session_changed(s);
}

static void on_first(struct session *s, const Openshell__V1__GatewayMessage *m)
{
    if (m->payload_case == OPENSHELL__V1__GATEWAY_MESSAGE__PAYLOAD_SESSION_ACCEPTED) {
        on_accepted(s, m->session_accepted);
        return;
    }
    if (m->payload_case == OPENSHELL__V1__GATEWAY_MESSAGE__PAYLOAD_SESSION_REJECTED)
        os_log_warn("session", "session rejected: %s", m->session_rejected->reason);
    else
        os_log_warn("session", "expected SessionAccepted or SessionRejected");
    rpc_call_cancel(s->control);
}

static void on_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct session *s = ctx;
    cleanup_arena struct os_arena a = {0};
    Openshell__V1__GatewayMessage *m =
        (Openshell__V1__GatewayMessage *)rpc_unpack(&a, &openshell__v1__gateway_message__descriptor, data, n);
    if (!m) {
        os_log_warn("session", "the gateway sent a message that cannot be decoded");
        rpc_call_cancel(call);
        return;
    }
    if (s->stopping)
        return;
    if (!s->accepted) {
        on_first(s, m);
        return;
    }
    if (m->payload_case == OPENSHELL__V1__GATEWAY_MESSAGE__PAYLOAD_RELAY_OPEN)
        relay_begin(s, m->relay_open);
    else if (m->payload_case == OPENSHELL__V1__GATEWAY_MESSAGE__PAYLOAD_RELAY_CLOSE)
        relay_close(s, m->relay_close->channel_id);
    if (m->config_push)
        config_pushed(s, m->config_push);
}

static void on_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct session *s = ctx;
    bool was_accepted = s->accepted;
    s->control = NULL;
    s->accepted = s->gateway_pushes = false;
    if (!session_drop(s) || s->stopping)
        return;
    uv_timer_stop(&s->timers[TIMER_BEAT]);
    /* One that nobody answers for is away, and back at any time; one that answers and refuses is spared. */
    bool away = status->code == OS_UNAVAILABLE && !rpc_call_header(call, "content-type");
    bool again = away && s->connect_backoff.next_ms >= AWAY_MAX_MS;
    s->connect_backoff.max_ms = away ? AWAY_MAX_MS : REFUSED_MAX_MS;
    uint32_t wait = backoff_next(&s->connect_backoff, session_random());
    os_log(again ? OS_LOG_DEBUG : OS_LOG_INFO, "session",
           "supervisor session ended (%s); next attempt in %u ms",
           status->code == OS_OK ? "gateway closed stream" : os_error_text(status), wait);
    session_timer(s, TIMER_CONNECT, wait);
    if (was_accepted)
        config_session_changed(s);
}

static void connect_control(struct session *s)
{
    static const struct rpc_call_ops ops = {.on_message = on_message, .on_done = on_done};
    session_hold(s);
    s->control = rpc_client_call(s->client, RPC_OpenShell_ConnectSupervisor, &ops, s, 0);
    send_hello(s);
    session_timer(s, TIMER_BEAT, ACCEPT_MS);
}

void session_start(struct session *s)
{
    if (s->started || s->stopping)
        return;
    s->started = true;
    connect_control(s);
}

bool session_connected(const struct session *s)
{
    return s->accepted;
}

/* --- end --- */

static void stop_look(struct session *s)
{
    logs_finish(s);
    bool quiet = logs_drained(s) && relays_drained(s) && !s->control;
    if (!quiet && os_clock_mono_ms() < s->stop_deadline_ms) {
        session_timer(s, TIMER_STOP, STOP_LOOK_MS);
        return;
    }
    void (*done)(void *) = s->stop_done;
    s->stop_done = NULL;
    if (done)
        done(s->stop_ctx);
}

void session_stop(struct session *s, void (*done)(void *ctx), void *ctx)
{
    s->stop_done = done;
    s->stop_ctx = ctx;
    s->stop_deadline_ms = os_clock_mono_ms() + STOP_MS;
    for (int i = 0; i < TIMER_COUNT; i++)
        uv_timer_stop(&s->timers[i]);
    s->stopping = true;
    if (s->control)
        rpc_call_half_close(s->control);
    session_timer(s, TIMER_STOP, 0);
}

/* --- start --- */

static void on_timer(uv_timer_t *t)
{
    struct session *s = t->data;
    switch ((enum session_timer_id)(t - s->timers)) {
    case TIMER_CONFIG:
        config_fetch(s);
        return;
    case TIMER_CONNECT:
        connect_control(s);
        return;
    case TIMER_BEAT:
        beat(s);
        return;
    case TIMER_TOKEN:
        session_token_renew(s);
        return;
    case TIMER_POLICY:
        report_policy_next(s);
        return;
    case TIMER_EXIT:
        report_exit_send(s);
        return;
    case TIMER_LOGS:
        s->logs.waiting = false;
        logs_flush(s, true);
        return;
    case TIMER_STOP:
        stop_look(s);
        return;
    case TIMER_COUNT:
        return;
    }
}

void session_timer(struct session *s, enum session_timer_id id, uint64_t ms)
{
    if (!s->freed)
        uv_timer_start(&s->timers[id], on_timer, ms, 0);
}

static int check_options(const struct session_options *o, struct os_error *err)
{
    if (!o->sandbox_id || !*o->sandbox_id)
        return os_error_set(err, OS_INVALID_ARGUMENT, "OPENSHELL_SANDBOX_ID is required");
    if (!o->token || !*o->token)
        return os_error_set(err, OS_UNAUTHENTICATED,
                            "no sandbox token source available — set one of OPENSHELL_SANDBOX_TOKEN, "
                            "OPENSHELL_SANDBOX_TOKEN_FILE, or OPENSHELL_K8S_SA_TOKEN_FILE");
    if (!o->endpoint || !*o->endpoint)
        return os_error_set(err, OS_INVALID_ARGUMENT, "OPENSHELL_ENDPOINT is required");
    if (!os_str_starts(o->endpoint, "https://"))
        return 0;
    const char *missing = !o->ca_pem ? "OPENSHELL_TLS_CA" : !o->cert_pem ? "OPENSHELL_TLS_CERT" : NULL;
    if (!missing && !o->key_pem)
        missing = "OPENSHELL_TLS_KEY";
    return missing ? os_error_set(err, OS_INVALID_ARGUMENT, "%s is required", missing) : 0;
}

struct session *session_new(const struct session_options *opt, struct os_error *err)
{
    if (check_options(opt, err) < 0)
        return NULL;
    struct session *s = os_calloc(1, sizeof(*s));
    const struct rpc_client_options co = {.loop = opt->loop,
                                          .endpoint = opt->endpoint,
                                          .ca_pem = opt->ca_pem,
                                          .cert_pem = opt->cert_pem,
                                          .key_pem = opt->key_pem,
                                          .server_name = opt->server_name,
                                          .bearer = opt->token,
                                          .on_disconnect = on_disconnect,
                                          .ctx = s};
    s->client = rpc_client_new(&co, err);
    if (!s->client) {
        free(s);
        return NULL;
    }
    s->opt = *opt;
    s->opt.sandbox_id = os_arena_strdup(&s->arena, opt->sandbox_id);
    s->opt.instance_id = os_arena_strdup(&s->arena, opt->instance_id ? opt->instance_id : "");
    s->opt.version = os_arena_strdup(&s->arena, opt->version ? opt->version : "");
    s->opt.endpoint = s->opt.ca_pem = s->opt.cert_pem = s->opt.key_pem = s->opt.server_name = s->opt.token =
        NULL;
    for (int i = 0; i < TIMER_COUNT; i++) {
        uv_timer_init(opt->loop, &s->timers[i]);
        s->timers[i].data = s;
        session_hold(s);
    }
    s->fetch_backoff = (struct backoff){.first_ms = 100, .max_ms = 4000};
    s->connect_backoff = (struct backoff){.first_ms = 100, .max_ms = REFUSED_MAX_MS};
    s->report_backoff = (struct backoff){.first_ms = 1000, .max_ms = 32000};
    s->exit_backoff = (struct backoff){.first_ms = 250, .max_ms = 2000};
    s->reports_tail = &s->reports;
    logs_init(s);
    session_token_start(s, opt->token);
    return s;
}
