/* Relays: a requester inside the gateway on one side, the supervisor's RelayStream on the other. */
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "gateway/identity/principal.h"
#include "gateway/session/internal.h"
#include "rpc/pb.h"

enum relay_state { WAIT_SESSION, WAIT_CLAIM, OPEN, OVER };

struct relay {
    struct relay *next; /* in sessions->pending while waiting */
    struct sessions *all;
    enum relay_state state;
    enum relay_target target;
    char sandbox_id[OS_UUID_LEN];
    char channel_id[OS_UUID_LEN];
    int64_t deadline_ms;
    uint8_t *open; /* packed RelayOpen */
    size_t open_len;
    const struct relay_ops *ops;
    void *ctx;
    struct rpc_call *stream; /* RelayStream, once claimed */
    bool paused;
};

static int by_channel(const void *a, const void *b)
{
    return strcmp(((const struct relay *)a)->channel_id, ((const struct relay *)b)->channel_id);
}

static void relay_unlist(struct relay *r)
{
    struct relay **at = &r->all->pending;
    while (*at && *at != r)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = r->next;
    r->all->n_pending--;
    tdelete(r, &r->all->by_channel, by_channel);
}

static void relay_free(struct relay *r)
{
    relay_unlist(r);
    free(r->open);
    free(r);
}

/* Tells the requester and forgets the relay. A claimed stream ends on its own on_done. */
static void relay_end(struct relay *r, enum os_code code, const char *text)
{
    cleanup_error struct os_error status = {0};
    if (code != OS_OK)
        os_error_set(&status, code, "%s", text);
    r->state = OVER;
    const struct relay_ops *ops = r->ops;
    void *ctx = r->ctx;
    relay_free(r);
    ops->on_end(ctx, &status);
}

static unsigned pending_of(struct sessions *s, const char *sandbox_id)
{
    unsigned n = 0;
    for (struct relay *r = s->pending; r; r = r->next)
        n += strcmp(r->sandbox_id, sandbox_id) == 0;
    return n;
}

static void relay_request(struct relay *r, struct session *ss)
{
    if (r->target == RELAY_EXEC && !ss->can_exec) {
        relay_end(r, OS_FAILED_PRECONDITION,
                  "the supervisor of this sandbox does not offer direct exec relays, and exec over SSH is "
                  "not built "
                  "into this gateway; recreate the sandbox with a current supervisor");
        return;
    }
    cleanup_arena struct os_arena a = {0};
    Openshell__V1__GatewayMessage m = OPENSHELL__V1__GATEWAY_MESSAGE__INIT;
    m.payload_case = OPENSHELL__V1__GATEWAY_MESSAGE__PAYLOAD_RELAY_OPEN;
    m.relay_open = (Openshell__V1__RelayOpen *)rpc_unpack(&a, &openshell__v1__relay_open__descriptor, r->open,
                                                          r->open_len);
    rpc_call_send(ss->call, &m.base);
    r->state = WAIT_CLAIM;
    r->deadline_ms = os_clock_mono_ms() + OS_RELAY_CLAIM_MS;
}

/* Runs from the loop, never inside relay_open(): the requester has the pointer before the first callback. */
static void relay_start(void *arg)
{
    struct sessions *s = arg;
    for (bool again = true; again;) {
        again = false;
        for (struct relay *r = s->pending; r; r = r->next) {
            struct session *ss = r->state == WAIT_SESSION ? session_find(s, r->sandbox_id) : NULL;
            if (!ss || !ss->accepted)
                continue;
            relay_request(r, ss); /* may end and free relays: start over */
            again = true;
            break;
        }
    }
}

static void relay_over_capacity(void *arg)
{
    struct relay *r = arg;
    char text[128];
    if (r->all->n_pending >= OS_RELAYS_PENDING_GATEWAY)
        snprintf(text, sizeof(text), "supervisor relay failed: gateway relay capacity reached (%d in flight)",
                 OS_RELAYS_PENDING_GATEWAY);
    else
        snprintf(text, sizeof(text),
                 "supervisor relay failed: per-sandbox relay limit reached (%d in flight for %s)",
                 OS_RELAYS_PENDING_SANDBOX, r->sandbox_id);
    if (r->state == OVER)
        relay_free(r); /* aborted meanwhile */
    else
        relay_end(r, OS_UNAVAILABLE, text);
}

struct relay *relay_open(struct sessions *s, const char *sandbox_id, enum relay_target target,
                         const Openshell__V1__RelayOpen *open, const struct relay_ops *ops, void *ctx)
{
    struct relay *r = os_calloc(1, sizeof(*r));
    r->all = s;
    r->target = target;
    r->ops = ops;
    r->ctx = ctx;
    strncpy(r->sandbox_id, sandbox_id, sizeof(r->sandbox_id) - 1);
    os_uuid(r->channel_id);
    Openshell__V1__RelayOpen with = *open;
    with.channel_id = r->channel_id;
    r->open_len = protobuf_c_message_get_packed_size(&with.base);
    r->open = os_calloc(1, r->open_len);
    protobuf_c_message_pack(&with.base, r->open);
    if (s->n_pending >= OS_RELAYS_PENDING_GATEWAY || pending_of(s, sandbox_id) >= OS_RELAYS_PENDING_SANDBOX) {
        rpc_server_post(s->gw->rpc, relay_over_capacity, r);
        return r;
    }
    r->state = WAIT_SESSION;
    r->deadline_ms = os_clock_mono_ms() + OS_SESSION_WAIT_MS;
    r->next = s->pending;
    s->pending = r;
    s->n_pending++;
    tsearch(r, &s->by_channel, by_channel);
    rpc_server_post(s->gw->rpc, relay_start, s);
    return r;
}

void relays_session_ready(struct sessions *s, struct session *ss)
{
    /* A superseded session took its unanswered requests along: ask again. */
    for (struct relay *r = s->pending; r; r = r->next)
        if (r->state == WAIT_CLAIM && strcmp(r->sandbox_id, ss->sandbox_id) == 0)
            r->state = WAIT_SESSION;
    relay_start(s);
}

void relays_fail(struct sessions *s, const char *sandbox_id)
{
    for (struct relay *r = s->pending, *next; r; r = next) {
        next = r->next;
        if (strcmp(r->sandbox_id, sandbox_id) != 0)
            continue;
        relay_end(r, OS_UNAVAILABLE, "supervisor relay failed: supervisor session disconnected");
        next = s->pending; /* callbacks may have changed the list */
    }
}

void relays_expire(struct sessions *s, int64_t now)
{
    for (struct relay *r = s->pending, *next; r; r = next) {
        next = r->next;
        if (now < r->deadline_ms)
            continue;
        if (r->state == WAIT_SESSION)
            relay_end(r, OS_UNAVAILABLE, "supervisor relay failed: supervisor session not connected");
        else
            relay_end(r, OS_DEADLINE_EXCEEDED, "relay open timed out");
        next = s->pending; /* callbacks may have changed the list */
    }
}

static struct relay *relay_find(struct sessions *s, const char *channel_id)
{
    if (strlen(channel_id) >= OS_UUID_LEN)
        return NULL;
    struct relay key;
    strcpy(key.channel_id, channel_id);
    struct relay **at = tfind(&key, &s->by_channel, by_channel);
    return at ? *at : NULL;
}

void relays_open_result(struct session *ss, const Openshell__V1__RelayOpenResult *result)
{
    struct relay *r = relay_find(ss->all, result->channel_id);
    if (r && !result->success && strcmp(r->sandbox_id, ss->sandbox_id) == 0)
        relay_end(r, OS_UNAVAILABLE, *result->error ? result->error : "the supervisor refused the relay");
}

/* --- requester side --- */

void relay_send(struct relay *r, const Openshell__V1__RelayFrame *frame)
{
    if (r->stream)
        rpc_call_send(r->stream, &frame->base);
}

void relay_send_data(struct relay *r, const uint8_t *data, size_t n)
{
    for (size_t at = 0; at < n; at += OS_RELAY_FRAME) {
        Openshell__V1__RelayFrame f = OPENSHELL__V1__RELAY_FRAME__INIT;
        f.payload_case = OPENSHELL__V1__RELAY_FRAME__PAYLOAD_DATA;
        f.data.data = (uint8_t *)(uintptr_t)data + at;
        f.data.len = n - at < OS_RELAY_FRAME ? n - at : OS_RELAY_FRAME;
        relay_send(r, &f);
    }
}

size_t relay_queued(const struct relay *r)
{
    return r->stream ? rpc_call_queued(r->stream) : 0;
}

void relay_pause(struct relay *r)
{
    r->paused = true;
    if (r->stream)
        rpc_call_pause(r->stream);
}

void relay_resume(struct relay *r)
{
    r->paused = false;
    if (r->stream)
        rpc_call_resume(r->stream);
}

void relay_abort(struct relay *r)
{
    r->state = OVER;
    if (r->stream)
        rpc_call_cancel(r->stream); /* its on_done frees the relay */
    else if (r->deadline_ms)
        relay_free(r); /* otherwise relay_over_capacity does */
}

/* --- RelayStream --- */

struct claim {
    struct sessions *all;
    struct rpc_call *call;
    struct relay *relay; /* NULL before the init frame */
    bool ended_in_order;
};

static void claim_refuse(struct claim *c, enum os_code code, const char *text)
{
    rpc_call_finish(c->call, code, text);
}

static void claim_init(struct claim *c, const Openshell__V1__RelayFrame *f)
{
    if (f->payload_case != OPENSHELL__V1__RELAY_FRAME__PAYLOAD_INIT || !*f->init->channel_id) {
        claim_refuse(c, OS_INVALID_ARGUMENT, "first RelayFrame must be init with non-empty channel_id");
        return;
    }
    struct relay *r = relay_find(c->all, f->init->channel_id);
    if (!r || r->state != WAIT_CLAIM) {
        claim_refuse(c, OS_NOT_FOUND, "unknown or expired relay channel");
        return;
    }
    cleanup_error struct os_error err = {0};
    if (principal_require_supervisor(c->call, r->sandbox_id, &err) < 0) {
        claim_refuse(c, err.code, os_error_text(&err));
        return;
    }
    relay_unlist(r);
    r->state = OPEN;
    r->stream = c->call;
    c->relay = r;
    rpc_call_send_headers(c->call);
    if (r->paused)
        rpc_call_pause(c->call);
    r->ops->on_open(r->ctx);
}

static void claim_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct claim *c = ctx;
    cleanup_arena struct os_arena a = {0};
    Openshell__V1__RelayFrame *f =
        (Openshell__V1__RelayFrame *)rpc_unpack(&a, &openshell__v1__relay_frame__descriptor, data, n);
    if (!f)
        claim_refuse(c, OS_INTERNAL, "failed to decode Protobuf message");
    else if (!c->relay)
        claim_init(c, f);
    else if (c->relay->state == OPEN)
        c->relay->ops->on_frame(c->relay->ctx, f);
}

static void claim_half_close(struct rpc_call *call, void *ctx)
{
    struct claim *c = ctx;
    if (!c->relay) {
        claim_refuse(c, OS_INVALID_ARGUMENT, "empty RelayStream");
        return;
    }
    c->ended_in_order = true;
    rpc_call_finish(call, OS_OK, NULL);
    struct relay *r = c->relay;
    if (r->state == OPEN) {
        c->relay = NULL;
        r->stream = NULL;
        relay_end(r, OS_OK, NULL);
    }
}

static void claim_writable(struct rpc_call *call, void *ctx)
{
    struct claim *c = ctx;
    if (c->relay && c->relay->state == OPEN)
        c->relay->ops->on_writable(c->relay->ctx);
}

static void claim_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct claim *c = ctx;
    struct relay *r = c->relay;
    if (r) {
        r->stream = NULL;
        if (r->state == OPEN)
            relay_end(r, OS_UNAVAILABLE, "relay channel dropped");
        else
            relay_free(r);
    }
    rpc_call_unref(c->call);
    free(c);
}

void session_relay_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {.on_message = claim_message,
                                            .on_half_close = claim_half_close,
                                            .on_writable = claim_writable,
                                            .on_done = claim_done};
    struct gateway *gw = ctx;
    struct claim *c = os_calloc(1, sizeof(*c));
    c->all = gw->sessions;
    c->call = rpc_call_ref(call);
    rpc_call_set_ops(call, &ops, c);
}
