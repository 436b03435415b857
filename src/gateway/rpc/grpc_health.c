/* grpc.health.v1: Check, List and Watch. All services of a gateway are ready or not together, since all need
 * the database. Answered on the loop thread, so that a stuck database cannot keep the answer back. */
#include <stdlib.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "gateway/health.h"
#include "gateway/rpc/grpc_health.h"
#include "gateway/rpc/handlers.h"
#include "gateway/rpc/services.h"
#include "health.pb-c.h"
#include "rpc/pb.h"

typedef Grpc__Health__V1__HealthCheckResponse health_response;
typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name
#define UNREAD_MAX 4096 /* bytes of statuses that wait for a watcher */

struct health_watches {
    struct health_call *head;
    unsigned n;
};

/* One call of any of the three. */
struct health_call {
    struct gateway *gw;
    struct rpc_call *call;
    struct health_call *prev, *next; /* Watch only */
    bool counted;
    bool asked; /* the request is there */
    bool known; /* it names a served service, or all of them */
};

static bool is_known(const char *service)
{
    return !*service || service_is_served(service);
}

static serving_status status_now(const struct gateway *gw)
{
    return health_serving(gw->health) ? STATUS(SERVING) : STATUS(NOT_SERVING);
}

static void send_status(struct health_call *h, serving_status status)
{
    health_response r = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    r.status = status;
    rpc_call_send(h->call, &r.base);
}

/* The request, once; NULL when the call was refused. */
static ProtobufCMessage *take_request(struct health_call *h, struct os_arena *a, const uint8_t *data,
                                      size_t n)
{
    const ProtobufCMessageDescriptor *desc = rpc_call_method(h->call)->request;
    ProtobufCMessage *m = NULL;
    if (h->asked)
        rpc_call_finish(h->call, OS_INTERNAL, "a unary request holds exactly one message");
    else if (!(m = rpc_unpack(a, desc, data, n)))
        rpc_call_finish(h->call, OS_INTERNAL, "failed to decode Protobuf message: malformed health request");
    h->asked = true;
    return m;
}

static void on_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct health_call *h = ctx;
    struct health_watches *w = h->gw->health_watches;
    if (h->counted) {
        w->n--;
        if (h->prev)
            h->prev->next = h->next;
        else
            w->head = h->next;
        if (h->next)
            h->next->prev = h->prev;
    }
    free(h);
}

static struct health_call *health_call_new(struct gateway *gw, struct rpc_call *call,
                                           const struct rpc_call_ops *ops)
{
    struct health_call *h = os_calloc(1, sizeof(*h));
    h->gw = gw;
    h->call = call;
    rpc_call_set_ops(call, ops, h);
    return h;
}

/* --- Check --- */

static void check_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct health_call *h = ctx;
    cleanup_arena struct os_arena a = {0};
    ProtobufCMessage *m = take_request(h, &a, data, n);
    if (!m)
        return;
    const char *service = ((Grpc__Health__V1__HealthCheckRequest *)m)->service;
    h->known = is_known(service);
    if (h->known)
        return;
    cleanup_free char *text = os_asprintf("unknown service '%.256s'", service);
    rpc_call_finish(call, OS_NOT_FOUND, text);
}

static bool request_is_there(struct health_call *h)
{
    if (!h->asked)
        rpc_call_finish(h->call, OS_INTERNAL, "Missing request message.");
    return h->asked;
}

static void check_half_close(struct rpc_call *call, void *ctx)
{
    struct health_call *h = ctx;
    if (!request_is_there(h))
        return;
    send_status(h, status_now(h->gw));
    rpc_call_finish(call, OS_OK, NULL);
}

void health_check_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {
        .on_message = check_message, .on_half_close = check_half_close, .on_done = on_done};
    health_call_new(ctx, call, &ops);
}

/* --- List --- */

static void list_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    cleanup_arena struct os_arena a = {0};
    take_request(ctx, &a, data, n);
}

static void list_half_close(struct rpc_call *call, void *ctx)
{
    struct health_call *h = ctx;
    if (!request_is_there(h))
        return;
    cleanup_arena struct os_arena a = {0};
    size_t n;
    const char *const *names = services_served(&n);
    health_response *status = pb_new(&a, grpc__health__v1__health_check_response);
    status->status = status_now(h->gw);
    Grpc__Health__V1__HealthListResponse *r = pb_new(&a, grpc__health__v1__health_list_response);
    r->n_statuses = n + 1;
    r->statuses = os_arena_alloc(&a, r->n_statuses * sizeof(r->statuses[0]));
    for (size_t i = 0; i <= n; i++) {
        r->statuses[i] = pb_new(&a, grpc__health__v1__health_list_response__statuses_entry);
        r->statuses[i]->key = (char *)(i < n ? names[i] : "");
        r->statuses[i]->value = status;
    }
    rpc_call_send(call, &r->base);
    rpc_call_finish(call, OS_OK, NULL);
}

void health_list_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {
        .on_message = list_message, .on_half_close = list_half_close, .on_done = on_done};
    health_call_new(ctx, call, &ops);
}

/* --- Watch --- */

struct health_watches *health_watches_new(void)
{
    return os_calloc(1, sizeof(struct health_watches));
}

void health_watches_free(struct health_watches *w)
{
    free(w);
}

void health_watches_tell(void *ctx, bool serving)
{
    struct health_watches *w = ctx;
    for (struct health_call *h = w->head; h; h = h->next) {
        if (!h->known)
            continue;
        if (rpc_call_queued(h->call) > UNREAD_MAX)
            rpc_call_finish(h->call, OS_RESOURCE_EXHAUSTED, "the watcher does not read what it is told");
        else
            send_status(h, serving ? STATUS(SERVING) : STATUS(NOT_SERVING));
    }
}

static void watch_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct health_call *h = ctx;
    cleanup_arena struct os_arena a = {0};
    ProtobufCMessage *m = take_request(h, &a, data, n);
    if (!m)
        return;
    h->known = is_known(((Grpc__Health__V1__HealthCheckRequest *)m)->service);
    send_status(h, h->known ? status_now(h->gw) : STATUS(SERVICE_UNKNOWN));
}

/* A watcher has nothing more to say; it ends the call when it has heard enough. */
static void watch_half_close(struct rpc_call *call, void *ctx)
{
    request_is_there(ctx);
}

/* Why one more is not taken; NULL = it is. */
static char *refusal(const struct health_watches *w, const struct rpc_call *call)
{
    unsigned mine = 0;
    if (w->n >= OS_LIMIT_HEALTH_WATCHES)
        return os_strdup("too many health watches are open; use Check");
    for (const struct health_call *h = w->head; h; h = h->next)
        mine += rpc_call_same_connection(h->call, call);
    return mine < OS_LIMIT_HEALTH_WATCHES_CONN
               ? NULL
               : os_asprintf("too many health watches are open on this connection (at most %u); end one, or "
                             "use Check",
                             OS_LIMIT_HEALTH_WATCHES_CONN);
}

void health_watch_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {
        .on_message = watch_message, .on_half_close = watch_half_close, .on_done = on_done};
    struct gateway *gw = ctx;
    struct health_watches *w = gw->health_watches;
    struct health_call *h = health_call_new(gw, call, &ops);
    cleanup_free char *why = refusal(w, call);
    if (why) {
        rpc_call_finish(call, OS_RESOURCE_EXHAUSTED, why);
        return;
    }
    h->counted = true;
    w->n++;
    h->next = w->head;
    if (w->head)
        w->head->prev = h;
    w->head = h;
}
