/* The gateway's side of the supervisor protocol, just enough to test against. */
#include "fake_gateway.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/str.h"
#include "rpc/pb.h"
#include "sandbox.pb-c.h"

/* --- unary, worker threads --- */

static int get_config(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *a,
                      ProtobufCMessage **response, struct os_error *err)
{
    struct fake_gateway *g = ctx;
    Openshell__Sandbox__V1__GetSandboxConfigResponse *r =
        pb_new(a, openshell__sandbox__v1__get_sandbox_config_response);
    pthread_mutex_lock(&g->lock);
    g->config_calls++;
    bool fail = g->config_failures > 0;
    if (fail)
        g->config_failures--;
    r->version = g->version;
    pthread_mutex_unlock(&g->lock);
    if (fail)
        return os_error_set(err, g->config_error, "not now");
    r->policy_hash = os_arena_printf(a, "hash-%u", r->version);
    r->policy_source = OPENSHELL__SANDBOX__V1__POLICY_SOURCE__POLICY_SOURCE_SANDBOX;
    *response = &r->base;
    return 0;
}

static int report_exit(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *a,
                       ProtobufCMessage **response, struct os_error *err)
{
    struct fake_gateway *g = ctx;
    const Openshell__V1__ReportMainProcessExitRequest *q =
        (const Openshell__V1__ReportMainProcessExitRequest *)request;
    pthread_mutex_lock(&g->lock);
    g->exit_calls++;
    bool fail = g->exit_failures > 0;
    if (fail)
        g->exit_failures--;
    g->exit_code = q->exit_code;
    snprintf(g->exit_instance, sizeof(g->exit_instance), "%s", q->instance_id);
    pthread_mutex_unlock(&g->lock);
    if (fail)
        return os_error_set(err, OS_FAILED_PRECONDITION, "storage is busy");
    *response = pb_new_desc(a, &openshell__v1__report_main_process_exit_response__descriptor);
    return 0;
}

static int report_policy(void *ctx, struct rpc_call *call, const ProtobufCMessage *request,
                         struct os_arena *a, ProtobufCMessage **response, struct os_error *err)
{
    struct fake_gateway *g = ctx;
    const Openshell__V1__ReportPolicyStatusRequest *q =
        (const Openshell__V1__ReportPolicyStatusRequest *)request;
    pthread_mutex_lock(&g->lock);
    os_buf_addf(&g->policy_reports, "%u:%d:%s;", q->version, (int)q->status, q->load_error);
    pthread_mutex_unlock(&g->lock);
    *response = pb_new_desc(a, &openshell__v1__report_policy_status_response__descriptor);
    return 0;
}

static int refresh(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *a,
                   ProtobufCMessage **response, struct os_error *err)
{
    struct fake_gateway *g = ctx;
    Openshell__V1__RefreshSandboxTokenResponse *r = pb_new(a, openshell__v1__refresh_sandbox_token_response);
    pthread_mutex_lock(&g->lock);
    g->refreshes++;
    pthread_mutex_unlock(&g->lock);
    r->token = os_arena_strdup(a, "second-token");
    *response = &r->base;
    return 0;
}

/* --- control stream --- */

static void accept_session(struct fake_gateway *g)
{
    static char *capabilities[] = {"exec-relay", "config-push"};
    Openshell__V1__SessionAccepted ok = OPENSHELL__V1__SESSION_ACCEPTED__INIT;
    Openshell__V1__GatewayMessage m = OPENSHELL__V1__GATEWAY_MESSAGE__INIT;
    ok.session_id = (char *)"s";
    ok.heartbeat_interval_secs = 15;
    ok.capabilities = capabilities;
    ok.n_capabilities = g->no_push ? 1 : 2;
    m.payload_case = OPENSHELL__V1__GATEWAY_MESSAGE__PAYLOAD_SESSION_ACCEPTED;
    m.session_accepted = &ok;
    rpc_call_send(g->control, &m.base);
}

static void take_hello(struct fake_gateway *g, const Openshell__V1__SupervisorHello *h)
{
    g->hellos++;
    snprintf(g->sandbox_id, sizeof(g->sandbox_id), "%s", h->sandbox_id);
    snprintf(g->instance_id, sizeof(g->instance_id), "%s", h->instance_id);
    snprintf(g->version_text, sizeof(g->version_text), "%s", h->version);
    if (h->enforcement)
        snprintf(g->enforcement, sizeof(g->enforcement), "%d %s", h->enforcement->complete,
                 h->enforcement->detail);
    os_buf_clear(&g->capabilities);
    for (size_t i = 0; i < h->n_capabilities; i++)
        os_buf_addf(&g->capabilities, "%s,", h->capabilities[i]);
    if (!g->no_accept)
        accept_session(g);
}

static void control_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct fake_gateway *g = ctx;
    cleanup_arena struct os_arena a = {0};
    const Openshell__V1__SupervisorMessage *m = (const Openshell__V1__SupervisorMessage *)rpc_unpack(
        &a, &openshell__v1__supervisor_message__descriptor, data, n);
    if (m->payload_case == OPENSHELL__V1__SUPERVISOR_MESSAGE__PAYLOAD_HELLO)
        take_hello(g, m->hello);
    else if (m->payload_case == OPENSHELL__V1__SUPERVISOR_MESSAGE__PAYLOAD_HEARTBEAT)
        g->heartbeats++;
    else if (m->payload_case == OPENSHELL__V1__SUPERVISOR_MESSAGE__PAYLOAD_RELAY_OPEN_RESULT &&
             !m->relay_open_result->success) {
        g->open_refused = true;
        snprintf(g->open_error, sizeof(g->open_error), "%s", m->relay_open_result->error);
    }
}

static void control_half_close(struct rpc_call *call, void *ctx)
{
    rpc_call_finish(call, OS_OK, NULL);
}

static void control_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct fake_gateway *g = ctx;
    if (g->control == call)
        g->control = NULL;
}

static void connect_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {
        .on_message = control_message, .on_half_close = control_half_close, .on_done = control_done};
    struct fake_gateway *g = ctx;
    const char *bearer = rpc_call_header(call, "authorization");
    snprintf(g->bearer, sizeof(g->bearer), "%s", bearer ? bearer : "");
    g->control = call;
    rpc_call_set_ops(call, &ops, g);
}

void fake_gateway_push(struct fake_gateway *g, uint32_t version)
{
    char hash[32];
    snprintf(hash, sizeof(hash), "hash-%u", version);
    Openshell__Sandbox__V1__GetSandboxConfigResponse c =
        OPENSHELL__SANDBOX__V1__GET_SANDBOX_CONFIG_RESPONSE__INIT;
    Openshell__V1__GatewayMessage m = OPENSHELL__V1__GATEWAY_MESSAGE__INIT;
    c.version = version;
    c.policy_hash = hash;
    c.policy_source = OPENSHELL__SANDBOX__V1__POLICY_SOURCE__POLICY_SOURCE_SANDBOX;
    m.config_push = &c;
    rpc_call_send(g->control, &m.base);
}

/* --- relays --- */

static uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at % 251 ^ at >> 16);
}

void fake_gateway_send(struct fake_gateway *g, const Openshell__V1__RelayFrame *f)
{
    rpc_call_send(g->relay.call, &f->base);
}

void fake_gateway_pump(struct fake_gateway *g)
{
    struct fake_relay *r = &g->relay;
    while (r->call && r->sent < r->to_send && rpc_call_queued(r->call) <= OS_RELAY_WINDOW) {
        uint8_t data[OS_RELAY_FRAME];
        Openshell__V1__RelayFrame f = OPENSHELL__V1__RELAY_FRAME__INIT;
        size_t n = r->to_send - r->sent < sizeof(data) ? (size_t)(r->to_send - r->sent) : sizeof(data);
        for (size_t i = 0; i < n; i++)
            data[i] = pattern(r->sent + i);
        f.payload_case = OPENSHELL__V1__RELAY_FRAME__PAYLOAD_DATA;
        f.data = (ProtobufCBinaryData){.data = data, .len = n};
        fake_gateway_send(g, &f);
        r->sent += n;
    }
    if (r->call && r->sent == r->to_send && r->eof_when_sent && !r->eof_sent) {
        Openshell__V1__RelayFrame f = OPENSHELL__V1__RELAY_FRAME__INIT;
        f.stdin_eof = 1;
        r->eof_sent = true;
        fake_gateway_send(g, &f);
    }
}

static void take_output(struct fake_relay *r, const ProtobufCBinaryData *d)
{
    if (r->check_pattern)
        for (size_t i = 0; i < d->len; i++)
            r->pattern_broken |= d->data[i] != pattern(r->received + i);
    else
        os_buf_add(&r->out, d->data, d->len);
    r->received += d->len;
}

static void relay_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct fake_gateway *g = ctx;
    struct fake_relay *r = &g->relay;
    cleanup_arena struct os_arena a = {0};
    const Openshell__V1__RelayFrame *f =
        (const Openshell__V1__RelayFrame *)rpc_unpack(&a, &openshell__v1__relay_frame__descriptor, data, n);
    if (f->payload_case == OPENSHELL__V1__RELAY_FRAME__PAYLOAD_INIT) {
        char expected[32];
        snprintf(expected, sizeof(expected), "channel-%u", g->channels);
        r->claimed = strcmp(f->init->channel_id, expected) == 0;
        rpc_call_send_headers(call);
        if (r->hold)
            rpc_call_pause(call);
        fake_gateway_pump(g);
        return;
    }
    if (f->payload_case == OPENSHELL__V1__RELAY_FRAME__PAYLOAD_DATA)
        take_output(r, &f->data);
    os_buf_add(&r->err, f->stderr.data, f->stderr.len);
    if (*f->error)
        snprintf(r->error, sizeof(r->error), "%s", f->error);
    if (f->exit) {
        r->exited = true;
        r->exit_code = f->exit->exit_code;
    }
}

static void relay_writable(struct rpc_call *call, void *ctx)
{
    fake_gateway_pump(ctx);
}

static void relay_half_close(struct rpc_call *call, void *ctx)
{
    rpc_call_finish(call, OS_OK, NULL);
}

static void relay_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct fake_gateway *g = ctx;
    g->relay.call = NULL;
    g->relay.ended = true;
}

static void relay_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {.on_message = relay_message,
                                            .on_half_close = relay_half_close,
                                            .on_writable = relay_writable,
                                            .on_done = relay_done};
    struct fake_gateway *g = ctx;
    g->relay.call = call;
    rpc_call_set_ops(call, &ops, g);
}

void fake_gateway_open(struct fake_gateway *g, Openshell__V1__RelayOpen *open)
{
    char channel[32];
    Openshell__V1__GatewayMessage m = OPENSHELL__V1__GATEWAY_MESSAGE__INIT;
    os_buf_free(&g->relay.out);
    os_buf_free(&g->relay.err);
    g->relay = (struct fake_relay){0};
    g->open_refused = false;
    snprintf(channel, sizeof(channel), "channel-%u", ++g->channels);
    open->channel_id = channel;
    m.payload_case = OPENSHELL__V1__GATEWAY_MESSAGE__PAYLOAD_RELAY_OPEN;
    m.relay_open = open;
    rpc_call_send(g->control, &m.base);
}

/* --- logs --- */

static void logs_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct fake_gateway *g = ctx;
    cleanup_arena struct os_arena a = {0};
    const Openshell__V1__PushSandboxLogsRequest *b =
        (const Openshell__V1__PushSandboxLogsRequest *)rpc_unpack(
            &a, &openshell__v1__push_sandbox_logs_request__descriptor, data, n);
    for (size_t i = 0; i < b->n_logs; i++)
        os_buf_addf(&g->logs, "%s %s %s: %s\n", b->sandbox_id, b->logs[i]->level, b->logs[i]->target,
                    b->logs[i]->message);
    g->log_lines += (unsigned)b->n_logs;
}

static void logs_half_close(struct rpc_call *call, void *ctx)
{
    Openshell__V1__PushSandboxLogsResponse r = OPENSHELL__V1__PUSH_SANDBOX_LOGS_RESPONSE__INIT;
    rpc_call_send(call, &r.base);
    rpc_call_finish(call, OS_OK, NULL);
}

static void logs_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    /* the stream may come back */
}

static void logs_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {
        .on_message = logs_message, .on_half_close = logs_half_close, .on_done = logs_done};
    struct fake_gateway *g = ctx;
    g->log_calls++;
    rpc_call_set_ops(call, &ops, g);
}

/* --- life --- */

void fake_gateway_up(struct fake_gateway *g)
{
    const struct rpc_server_options o = {.loop = g->loop, .workers = 1, .queue = 64};
    cleanup_error struct os_error err = {0};
    g->server = rpc_server_new(&o);
    rpc_server_unary(g->server, RPC_OpenShell_GetSandboxConfig, get_config, g);
    rpc_server_unary(g->server, RPC_OpenShell_ReportMainProcessExit, report_exit, g);
    rpc_server_unary(g->server, RPC_OpenShell_ReportPolicyStatus, report_policy, g);
    rpc_server_unary(g->server, RPC_OpenShell_RefreshSandboxToken, refresh, g);
    rpc_server_stream(g->server, RPC_OpenShell_ConnectSupervisor, connect_rpc, g);
    rpc_server_stream(g->server, RPC_OpenShell_RelayStream, relay_rpc, g);
    rpc_server_stream(g->server, RPC_OpenShell_PushSandboxLogs, logs_rpc, g);
    int port = rpc_server_listen(g->server, "127.0.0.1", g->port, &err);
    if (port < 0) {
        fprintf(stderr, "%s\n", os_error_text(&err));
        abort();
    }
    g->port = port;
    g->down = false;
}

void fake_gateway_init(struct fake_gateway *g, uv_loop_t *loop)
{
    *g = (struct fake_gateway){.loop = loop, .version = 1, .config_error = OS_UNAVAILABLE};
    pthread_mutex_init(&g->lock, NULL);
    fake_gateway_up(g);
}

static void on_down(void *arg)
{
    struct fake_gateway *g = arg;
    rpc_server_free(g->server);
    g->server = NULL;
    g->down = true;
}

void fake_gateway_down(struct fake_gateway *g)
{
    rpc_server_shutdown(g->server, 0, on_down, g);
}

void fake_gateway_free(struct fake_gateway *g)
{
    os_buf_free(&g->relay.out);
    os_buf_free(&g->relay.err);
    os_buf_free(&g->policy_reports);
    os_buf_free(&g->capabilities);
    os_buf_free(&g->logs);
    pthread_mutex_destroy(&g->lock);
}
