/* The standard health service (grpc.health.v1): Check, and Watch, which is told of every change. */
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "gateway/health.h"
#include "gateway/rpc/handlers.h"
#include "health.pb-c.h"
#include "rpc/pb.h"

typedef Grpc__Health__V1__HealthCheckResponse health_response;

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

static Grpc__Health__V1__HealthCheckResponse__ServingStatus status_of(struct gateway *gw, const char *service)
{
    if (*service && !reflection_serves(service))
        return STATUS(SERVICE_UNKNOWN);
    return atomic_load(&gw->serving) ? STATUS(SERVING) : STATUS(NOT_SERVING);
}

int rpc_grpc_health_check(void *ctx, struct rpc_call *call, const ProtobufCMessage *request,
                          struct os_arena *a, ProtobufCMessage **response, struct os_error *err)
{
    const Grpc__Health__V1__HealthCheckRequest *req = (const void *)request;
    health_response *r = pb_new(a, grpc__health__v1__health_check_response);
    r->status = status_of(ctx, req->service);
    if (r->status == STATUS(SERVICE_UNKNOWN))
        return os_error_set(err, OS_NOT_FOUND, "unknown service '%.200s'", req->service);
    *response = &r->base;
    return 0;
}

/* --- Watch --- */

struct health_watch {
    struct health_watch *next, **link; /* in gateway->health_watches */
    struct gateway *gw;
    struct rpc_call *call;
    struct os_arena arena;
    const char *service; /* NULL before the request */
    int told;            /* status sent last, -1 = none */
};

static void tell(struct health_watch *w)
{
    health_response r = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    if (!w->service)
        return;
    r.status = status_of(w->gw, w->service);
    if (w->told == (int)r.status)
        return;
    w->told = (int)r.status;
    rpc_call_send(w->call, &r.base);
}

void health_set(struct gateway *gw, bool serving)
{
    if (atomic_exchange(&gw->serving, serving) == serving)
        return;
    for (struct health_watch *w = gw->health_watches; w; w = w->next)
        tell(w);
}

static void on_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct health_watch *w = ctx;
    if (w->service)
        return;
    const Grpc__Health__V1__HealthCheckRequest *req =
        (const void *)rpc_unpack(&w->arena, &grpc__health__v1__health_check_request__descriptor, data, n);
    if (!req) {
        rpc_call_finish(call, OS_INTERNAL, "failed to decode Protobuf message");
        return;
    }
    w->service = req->service;
    tell(w);
}

static void on_half_close(struct rpc_call *call, void *ctx)
{
    struct health_watch *w = ctx;
    if (!w->service)
        rpc_call_finish(call, OS_INVALID_ARGUMENT, "Watch needs a request");
}

static void on_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct health_watch *w = ctx;
    *w->link = w->next;
    if (w->next)
        w->next->link = w->link;
    os_arena_free(&w->arena);
    free(w);
}

void grpc_health_watch_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {
        .on_message = on_message, .on_half_close = on_half_close, .on_done = on_done};
    struct gateway *gw = ctx;
    struct health_watch *w = os_calloc(1, sizeof(*w));
    w->gw = gw;
    w->call = call;
    w->told = -1;
    w->link = &gw->health_watches;
    w->next = gw->health_watches;
    if (w->next)
        w->next->link = &w->next;
    gw->health_watches = w;
    rpc_call_set_ops(call, &ops, w);
}
