/* Calls to a service: started and fed on the loop, waited for by the thread of a connection. One struct
 * serves a question with one answer and the stream of a WebSocket session. */
#include "supervisor/egress/middleware/remote_call.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"
#include "rpc/client.h"

#define SLICE_MS 100 /* between two looks at whether the wait was cancelled */
/* Answers that may wait for a thread that did not ask; a service has no reason to send any. */
#define ANSWERS_MAX 4
#define LINGER_MS 5000 /* for a service to end a session that we ended */

struct answer {
    struct answer *next;
    size_t n;
    uint8_t data[];
};

struct call {
    struct middleware_stream stream; /* first: what the chain holds of a session */
    struct remote *r;
    enum rpc_method_id method;
    int64_t deadline_ms; /* 0 = none */
    atomic_uint refs;

    /* Loop only. */
    struct rpc_call *rpc; /* NULL before the start and after the end */
    uv_timer_t *linger;   /* runs while the service may still end it by itself */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t heard;
    struct answer *first, **last;
    unsigned n;
    bool done, flooded;
    enum os_code code;
    char *message;
};

static void unref(struct call *c)
{
    if (atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    for (struct answer *a = c->first, *next; a; a = next) {
        next = a->next;
        free(a);
    }
    pthread_cond_destroy(&c->heard);
    pthread_mutex_destroy(&c->lock);
    free(c->message);
    free(c);
}

static struct call *call_new(struct remote *r, enum rpc_method_id method, int64_t deadline_ms)
{
    struct call *c = os_calloc(1, sizeof(*c));
    c->stream.service = &r->service;
    c->r = r;
    c->method = method;
    c->deadline_ms = deadline_ms;
    atomic_init(&c->refs, 1);
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->heard, &attr);
    pthread_condattr_destroy(&attr);
    c->last = &c->first;
    return c;
}

/* --- on the loop --- */

static void on_message(struct rpc_call *rpc, void *ctx, const uint8_t *data, size_t n)
{
    struct call *c = ctx;
    struct answer *a = os_calloc(1, sizeof(*a) + n);
    a->n = n;
    memcpy(a->data, data, n);
    pthread_mutex_lock(&c->lock);
    bool room = c->n < ANSWERS_MAX;
    if (room) {
        *c->last = a;
        c->last = &a->next;
        c->n++;
    }
    c->flooded = c->flooded || !room;
    pthread_cond_signal(&c->heard);
    pthread_mutex_unlock(&c->lock);
    if (room)
        return;
    free(a);
    rpc_call_cancel(rpc);
}

static void free_timer(uv_handle_t *timer)
{
    free(timer);
}

static void on_done(struct rpc_call *rpc, void *ctx, const struct os_error *status)
{
    struct call *c = ctx;
    if (c->linger)
        uv_close((uv_handle_t *)c->linger, free_timer);
    c->linger = NULL;
    pthread_mutex_lock(&c->lock);
    c->done = true;
    c->code = status->code;
    c->message = os_strdup(os_error_text(status));
    pthread_cond_signal(&c->heard);
    pthread_mutex_unlock(&c->lock);
    c->rpc = NULL;
    rpc_call_unref(rpc);
    c->r->calls--;
    remote_retire(c->r);
    unref(c);
}

static void on_linger(uv_timer_t *timer)
{
    struct call *c = timer->data;
    rpc_call_cancel(c->rpc);
}

static void end_stream(struct call *c)
{
    rpc_call_half_close(c->rpc);
    c->linger = os_calloc(1, sizeof(*c->linger));
    uv_timer_init(middleware_loop_uv(c->r->loop), c->linger);
    c->linger->data = c;
    uv_timer_start(c->linger, on_linger, LINGER_MS, 0);
}

/* A step posted to the loop: bytes to send, and what follows. */
struct step {
    struct call *c;
    bool begin, half_close, end, cancel;
    size_t n;
    uint8_t data[];
};

static void take_step(void *arg)
{
    static const struct rpc_call_ops ops = {.on_message = on_message, .on_done = on_done};
    struct step *s = arg;
    struct call *c = s->c;
    if (s->begin) {
        atomic_fetch_add(&c->refs, 1); /* until on_done */
        c->r->calls++;
        c->rpc = rpc_call_ref(rpc_client_call(c->r->client, c->method, &ops, c, c->deadline_ms));
    }
    if (c->rpc && s->n)
        rpc_call_send_packed(c->rpc, s->data, s->n);
    else if (c->rpc && s->begin)
        rpc_call_send_packed(c->rpc, "", 0);
    if (c->rpc && s->half_close)
        rpc_call_half_close(c->rpc);
    if (c->rpc && s->end && !c->linger)
        end_stream(c);
    if (c->rpc && s->cancel)
        rpc_call_cancel(c->rpc);
    unref(c);
    free(s);
}

static struct step *step_new(struct call *c, size_t n)
{
    struct step *s = os_calloc(1, sizeof(*s) + n);
    atomic_fetch_add(&c->refs, 1);
    s->c = c;
    s->n = n;
    return s;
}

static void post(struct step *s)
{
    middleware_loop_post(s->c->r->loop, take_step, s);
}

static struct step *step_with(struct call *c, const ProtobufCMessage *m)
{
    struct step *s = step_new(c, protobuf_c_message_get_packed_size(m));
    protobuf_c_message_pack(m, s->data);
    return s;
}

/* --- waiting --- */

static void wait_slice(struct call *c, int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (ms < SLICE_MS ? ms : SLICE_MS) * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&c->heard, &c->lock, &until);
}

/* The next answer (caller frees), or NULL and how it ended. */
static struct answer *await(struct call *c, const struct middleware_limit *limit, bool *timeout)
{
    int left = 1;
    pthread_mutex_lock(&c->lock);
    while (!c->first && !c->done && !c->flooded && (left = middleware_left(limit)) > 0)
        wait_slice(c, left);
    struct answer *a = c->flooded ? NULL : c->first;
    if (a && !(c->first = a->next))
        c->last = &c->first;
    c->n -= a != NULL;
    *timeout = !a && (left <= 0 || (c->done && c->code == OS_DEADLINE_EXCEEDED));
    pthread_mutex_unlock(&c->lock);
    return a;
}

/* A call with a token that is not there or no longer good is not made. */
static bool may_call(const struct remote *r, struct os_error *err)
{
    int64_t expires = atomic_load(&r->expires_ms);
    if (!r->authenticated)
        return true;
    if (!atomic_load(&r->credential))
        os_error_set(err, OS_UNAUTHENTICATED, "extension bearer token is unavailable");
    else if (expires && expires <= os_clock_ms())
        os_error_set(err, OS_UNAUTHENTICATED, "extension bearer token has expired");
    else
        return true;
    return false;
}

static void explain(struct call *c, bool timeout, struct os_error *err)
{
    pthread_mutex_lock(&c->lock);
    if (timeout)
        os_error_set(err, OS_DEADLINE_EXCEEDED, "no answer in time");
    else
        os_error_set(err, c->code ? c->code : OS_INTERNAL, "%s",
                     c->flooded   ? "more answers than questions"
                     : c->message ? c->message
                                  : "no answer");
    pthread_mutex_unlock(&c->lock);
}

enum remote_outcome remote_unary(struct remote *r, enum rpc_method_id method, const ProtobufCMessage *request,
                                 const struct middleware_limit *limit, struct os_arena *arena,
                                 ProtobufCMessage **out, struct os_error *err)
{
    int left = middleware_left(limit);
    bool timeout = left <= 0;
    if (!may_call(r, err))
        return REMOTE_ERROR;
    struct call *c = call_new(r, method, left > 0 ? left : 1);
    struct step *s = step_with(c, request);
    s->begin = s->half_close = true;
    post(s);
    cleanup_free struct answer *a = await(c, limit, &timeout);
    *out = a ? rpc_unpack(arena, rpc_method(method)->response, a->data, a->n) : NULL;
    enum remote_outcome outcome = *out ? REMOTE_OK : timeout ? REMOTE_TIMEOUT : REMOTE_ERROR;
    if (!a)
        explain(c, timeout, err);
    else if (!*out)
        os_error_set(err, OS_INTERNAL, "malformed answer");
    if (outcome != REMOTE_OK) {
        s = step_new(c, 0);
        s->cancel = true;
        post(s);
    }
    unref(c);
    return outcome;
}

const char *remote_http(const struct middleware_service *s, const mw_request *request,
                        const struct middleware_limit *limit, struct os_arena *arena, mw_result **out)
{
    ProtobufCMessage *m;
    switch (remote_unary(s->self, RPC_SupervisorMiddleware_EvaluateHttpRequest, &request->base, limit, arena,
                         &m, NULL)) {
    case REMOTE_OK:
        *out = (mw_result *)m;
        return NULL;
    case REMOTE_TIMEOUT:
        return "middleware_timeout";
    case REMOTE_ERROR:
        break;
    }
    return "external_service_error";
}

/* --- sessions --- */

struct middleware_stream *remote_open(const struct middleware_service *s, const mw_event *preflight)
{
    struct remote *r = s->self;
    if (!may_call(r, NULL))
        return NULL;
    struct call *c = call_new(r, RPC_SupervisorMiddleware_EvaluateWebSocketSession, 0);
    struct step *step = step_with(c, &preflight->base);
    step->begin = true;
    post(step);
    return &c->stream;
}

const char *remote_receive(struct middleware_stream *st, const char *missing,
                           const struct middleware_limit *limit, struct os_arena *arena,
                           mw_event_result **out)
{
    struct call *c = (struct call *)st;
    bool timeout;
    cleanup_free struct answer *a = await(c, limit, &timeout);
    if (!a) {
        pthread_mutex_lock(&c->lock);
        bool ended = c->done && c->code == OS_OK;
        pthread_mutex_unlock(&c->lock);
        return timeout ? "middleware_timeout" : ended ? missing : "external_service_error";
    }
    *out = (mw_event_result *)rpc_unpack(
        arena, &openshell__middleware__v1__web_socket_session_event_result__descriptor, a->data, a->n);
    return *out ? NULL : "external_service_error";
}

static bool is_over(struct call *c)
{
    pthread_mutex_lock(&c->lock);
    bool over = c->done || c->flooded;
    pthread_mutex_unlock(&c->lock);
    return over;
}

bool remote_send(struct middleware_stream *st, const mw_event *event)
{
    struct call *c = (struct call *)st;
    if (is_over(c))
        return false;
    post(step_with(c, &event->base));
    return true;
}

static size_t varint_size(uint64_t v)
{
    size_t n = 1;
    while (v >>= 7)
        n++;
    return n;
}

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
    for (; v > 0x7f; v >>= 7)
        *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)v;
    return p;
}

/* By hand: the generated code ends a text at its first NUL, and a service must see what goes upstream.
 * WebSocketSessionEvent{message 3: WebSocketMessage{sequence 1, text 2}}. */
bool remote_send_text(struct middleware_stream *st, uint64_t sequence, const char *text, size_t n)
{
    struct call *c = (struct call *)st;
    size_t inner = 1 + varint_size(sequence) + 1 + varint_size(n) + n;
    if (is_over(c))
        return false;
    struct step *s = step_new(c, 1 + varint_size(inner) + inner);
    uint8_t *p = s->data;
    *p++ = 3 << 3 | 2;
    p = put_varint(p, inner);
    *p++ = 1 << 3;
    p = put_varint(p, sequence);
    *p++ = 2 << 3 | 2;
    p = put_varint(p, n);
    memcpy(p, text, n);
    post(s);
    return true;
}

void remote_close(struct middleware_stream *st)
{
    struct call *c = (struct call *)st;
    struct step *s = step_new(c, 0);
    s->end = true;
    post(s);
    unref(c);
}
