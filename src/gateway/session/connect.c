/* ConnectSupervisor: one control stream per live sandbox; registration, heartbeats, pushes. */
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "gateway/identity/principal.h"
#include "gateway/sandbox.h"
#include "gateway/session/internal.h"
#include "rpc/pb.h"

static int by_sandbox(const void *a, const void *b)
{
    return strcmp(((const struct session *)a)->sandbox_id, ((const struct session *)b)->sandbox_id);
}

struct session *session_find(struct sessions *s, const char *sandbox_id)
{
    if (strlen(sandbox_id) >= OS_UUID_LEN)
        return NULL;
    struct session key;
    strcpy(key.sandbox_id, sandbox_id);
    struct session **at = tfind(&key, &s->by_sandbox, by_sandbox);
    return at ? *at : NULL;
}

bool sessions_connected(struct sessions *s, const char *sandbox_id)
{
    pthread_mutex_lock(&s->lock);
    bool yes = session_find(s, sandbox_id) != NULL;
    pthread_mutex_unlock(&s->lock);
    return yes;
}

static void session_unregister(struct session *ss)
{
    if (!ss->registered)
        return;
    pthread_mutex_lock(&ss->all->lock);
    tdelete(ss, &ss->all->by_sandbox, by_sandbox);
    pthread_mutex_unlock(&ss->all->lock);
    ss->registered = false;
}

static void session_register(struct session *ss)
{
    struct session *old = session_find(ss->all, ss->sandbox_id);
    if (old) {
        session_unregister(old);
        rpc_call_finish(old->call, OS_OK, NULL);
    }
    pthread_mutex_lock(&ss->all->lock);
    tsearch(ss, &ss->all->by_sandbox, by_sandbox);
    pthread_mutex_unlock(&ss->all->lock);
    ss->registered = true;
}

static void session_free(struct session *ss)
{
    rpc_call_unref(ss->call);
    os_error_clear(&ss->work_err);
    free(ss);
}

static void session_send(struct session *ss, const Openshell__V1__GatewayMessage *m)
{
    rpc_call_send(ss->call, &m->base);
}

/* --- heartbeats --- */

static void heartbeat(const void *node, VISIT which, void *arg)
{
    if (which != postorder && which != leaf)
        return;
    struct session *ss = *(struct session *const *)node;
    Openshell__V1__GatewayHeartbeat beat = OPENSHELL__V1__GATEWAY_HEARTBEAT__INIT;
    Openshell__V1__GatewayMessage m = OPENSHELL__V1__GATEWAY_MESSAGE__INIT;
    m.payload_case = OPENSHELL__V1__GATEWAY_MESSAGE__PAYLOAD_HEARTBEAT;
    m.heartbeat = &beat;
    if (ss->accepted)
        session_send(ss, &m);
}

static void on_tick(uv_timer_t *t)
{
    struct sessions *s = t->data;
    int64_t now = os_clock_mono_ms();
    relays_expire(s, now);
    if (now < s->next_heartbeat_ms)
        return;
    s->next_heartbeat_ms = now + OS_HEARTBEAT_SECS * 1000;
    twalk_r(s->by_sandbox, heartbeat, NULL);
}

struct sessions *sessions_new(struct gateway *gw)
{
    struct sessions *s = os_calloc(1, sizeof(*s));
    s->gw = gw;
    pthread_mutex_init(&s->lock, NULL);
    s->next_heartbeat_ms = os_clock_mono_ms() + OS_HEARTBEAT_SECS * 1000;
    uv_timer_init(gw->loop, &s->tick);
    s->tick.data = s;
    uv_timer_start(&s->tick, on_tick, 1000, 1000);
    uv_unref((uv_handle_t *)&s->tick);
    return s;
}

static void keep(void *p)
{
    /* sessions are freed by their own on_done */
}

void sessions_free(struct sessions *s)
{
    if (!s)
        return;
    tdestroy(s->by_sandbox, keep);
    tdestroy(s->by_channel, keep);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* --- posted from other threads --- */

struct post {
    struct sessions *all;
    char id[OS_UUID_LEN];
    size_t n;
    uint8_t data[];
};

static struct post *post_new(struct sessions *s, const char *id, const uint8_t *data, size_t n)
{
    struct post *p = os_calloc(1, sizeof(*p) + n);
    p->all = s;
    strncpy(p->id, id, sizeof(p->id) - 1);
    p->n = n;
    if (n)
        memcpy(p->data, data, n);
    return p;
}

static void do_close(void *arg)
{
    struct post *p = arg;
    struct session *ss = session_find(p->all, p->id);
    if (ss) {
        session_unregister(ss);
        rpc_call_finish(ss->call, OS_OK, NULL);
    }
    relays_fail(p->all, p->id);
    free(p);
}

void sessions_close(struct sessions *s, const char *sandbox_id)
{
    rpc_server_post(s->gw->rpc, do_close, post_new(s, sandbox_id, NULL, 0));
}

static void do_push(void *arg)
{
    struct post *p = arg;
    cleanup_arena struct os_arena a = {0};
    struct session *ss = session_find(p->all, p->id);
    Openshell__V1__GatewayMessage m = OPENSHELL__V1__GATEWAY_MESSAGE__INIT;
    if (ss && ss->accepted && ss->can_push)
        m.config_push = (Openshell__Sandbox__V1__GetSandboxConfigResponse *)rpc_unpack(
            &a, &openshell__sandbox__v1__get_sandbox_config_response__descriptor, p->data, p->n);
    if (m.config_push)
        session_send(ss, &m);
    free(p);
}

void sessions_push_config(struct sessions *s, const char *sandbox_id, const uint8_t *config, size_t n)
{
    rpc_server_post(s->gw->rpc, do_push, post_new(s, sandbox_id, config, n));
}

/* --- the stream --- */

static void connected_work(void *arg)
{
    struct session *ss = arg;
    cleanup_arena struct os_arena a = {0};
    struct gateway *gw = ss->all->gw;
    if (!sandbox_load(gw, ss->sandbox_id, &a, &ss->work_err))
        return;
    cleanup_error struct os_error err = {0};
    const struct sandbox_supervisor supervisor = {.instance_id = ss->instance_id,
                                                  .enforcement = *ss->enforcement ? ss->enforcement : NULL,
                                                  .complete = ss->enforcement_complete};
    if (sandbox_session_connected(gw, ss->sandbox_id, &supervisor, &err) < 0)
        os_log_warn("session", "%s: %s", ss->sandbox_id, os_error_text(&err));
}

static void lost_work(void *arg)
{
    struct session *ss = arg;
    sandbox_session_lost(ss->all->gw, ss->sandbox_id);
}

static void lost_done(void *arg)
{
    session_free(arg);
}

/* The row is set back before the struct goes: a registered session that ends was the live one. */
static void session_over(struct session *ss)
{
    bool live = ss->registered;
    session_unregister(ss);
    if (!live) {
        session_free(ss);
        return;
    }
    gateway_log(ss->all->gw, ss->sandbox_id, OS_LOG_INFO, "session", "supervisor session: ended");
    rpc_server_work(ss->all->gw->rpc, lost_work, lost_done, ss);
}

static void connected_done(void *arg)
{
    struct session *ss = arg;
    ss->busy = false;
    if (ss->ended) {
        session_over(ss);
        return;
    }
    if (ss->work_err.code != OS_OK) {
        session_unregister(ss);
        rpc_call_finish(ss->call, ss->work_err.code, os_error_text(&ss->work_err));
        return;
    }
    static char *capabilities[] = {"exec-relay", "config-push", "attach-main"};
    Openshell__V1__SessionAccepted ok = OPENSHELL__V1__SESSION_ACCEPTED__INIT;
    ok.session_id = ss->session_id;
    ok.heartbeat_interval_secs = OS_HEARTBEAT_SECS;
    ok.version = (char *)OPENSHELL_VERSION;
    ok.capabilities = capabilities;
    ok.n_capabilities = sizeof(capabilities) / sizeof(capabilities[0]);
    Openshell__V1__GatewayMessage m = OPENSHELL__V1__GATEWAY_MESSAGE__INIT;
    m.payload_case = OPENSHELL__V1__GATEWAY_MESSAGE__PAYLOAD_SESSION_ACCEPTED;
    m.session_accepted = &ok;
    session_send(ss, &m);
    ss->accepted = true;
    gateway_log(ss->all->gw, ss->sandbox_id, OS_LOG_INFO, "session", "supervisor session: accepted");
    relays_session_ready(ss->all, ss);
}

static void on_hello(struct session *ss, const Openshell__V1__SupervisorHello *hello)
{
    if (!*hello->sandbox_id) {
        rpc_call_finish(ss->call, OS_INVALID_ARGUMENT, "sandbox_id is required");
        return;
    }
    cleanup_error struct os_error err = {0};
    if (principal_require_supervisor(ss->call, hello->sandbox_id, &err) < 0) {
        rpc_call_finish(ss->call, err.code, os_error_text(&err));
        return;
    }
    strcpy(ss->sandbox_id, hello->sandbox_id); /* equals the token's UUID */
    strncpy(ss->instance_id, hello->instance_id, sizeof(ss->instance_id) - 1);
    os_uuid(ss->session_id);
    for (size_t i = 0; i < hello->n_capabilities; i++) {
        ss->can_exec |= strcmp(hello->capabilities[i], "exec-relay") == 0;
        ss->can_push |= strcmp(hello->capabilities[i], "config-push") == 0;
    }
    if (hello->enforcement) {
        if (strlen(hello->enforcement->detail) >= sizeof(ss->enforcement)) {
            rpc_call_finish(ss->call, OS_INVALID_ARGUMENT,
                            "the enforcement report exceeds the maximum length");
            return;
        }
        ss->enforcement_complete = hello->enforcement->complete;
        strcpy(ss->enforcement, hello->enforcement->detail);
    }
    session_register(ss);
    ss->busy = true;
    rpc_server_work(ss->all->gw->rpc, connected_work, connected_done, ss);
}

static void on_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct session *ss = ctx;
    cleanup_arena struct os_arena a = {0};
    Openshell__V1__SupervisorMessage *m = (Openshell__V1__SupervisorMessage *)rpc_unpack(
        &a, &openshell__v1__supervisor_message__descriptor, data, n);
    if (!m) {
        rpc_call_finish(call, OS_INTERNAL, "failed to decode Protobuf message");
        return;
    }
    bool hello = m->payload_case == OPENSHELL__V1__SUPERVISOR_MESSAGE__PAYLOAD_HELLO;
    if (!*ss->sandbox_id) {
        if (hello)
            on_hello(ss, m->hello);
        else
            rpc_call_finish(call, OS_INVALID_ARGUMENT, "expected SupervisorHello");
        return;
    }
    if (m->payload_case == OPENSHELL__V1__SUPERVISOR_MESSAGE__PAYLOAD_RELAY_OPEN_RESULT)
        relays_open_result(ss, m->relay_open_result);
    else if (hello)
        os_log_warn("session", "%s: unexpected second hello", ss->sandbox_id);
}

static void on_half_close(struct rpc_call *call, void *ctx)
{
    struct session *ss = ctx;
    if (*ss->sandbox_id)
        rpc_call_finish(call, OS_OK, NULL);
    else
        rpc_call_finish(call, OS_INVALID_ARGUMENT, "stream closed before hello");
}

static void on_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct session *ss = ctx;
    ss->ended = true;
    if (!ss->busy)
        session_over(ss);
}

void session_connect_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {
        .on_message = on_message, .on_half_close = on_half_close, .on_done = on_done};
    struct gateway *gw = ctx;
    struct session *ss = os_calloc(1, sizeof(*ss));
    ss->all = gw->sessions;
    ss->call = rpc_call_ref(call);
    rpc_call_set_ops(call, &ops, ss);
}
