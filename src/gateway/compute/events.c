/* Driver events: queued as packed messages, applied one after the other by a worker, so that two snapshots of
 * a sandbox never pass each other. */
#include "gateway/compute/events.h"

#include <stdlib.h>

#include "core/log.h"
#include "core/str.h"
#include "gateway/logbus.h"
#include "gateway/sandbox.h"
#include "rpc/pb.h"

struct queued {
    struct queued *next;
    size_t n;
    uint8_t data[];
};

struct compute_events {
    struct gateway *gw;
    pthread_mutex_t lock;
    struct queued *first, **last;
    bool draining;
};

struct compute_events *compute_events_new(struct gateway *gw)
{
    struct compute_events *e = os_calloc(1, sizeof(*e));
    e->gw = gw;
    e->last = &e->first;
    pthread_mutex_init(&e->lock, NULL);
    return e;
}

void compute_events_free(struct compute_events *e)
{
    if (!e)
        return;
    while (e->first) {
        struct queued *q = e->first;
        e->first = q->next;
        free(q);
    }
    pthread_mutex_destroy(&e->lock);
    free(e);
}

static void removed(struct gateway *gw, const char *id)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    pthread_mutex_t *gate = gateway_gate(gw, id);
    pthread_mutex_lock(gate);
    sandbox_row *row = sandbox_load(gw, id, &a, &err);
    if (row)
        sandbox_remove(gw, row, &err);
    pthread_mutex_unlock(gate);
    if (err.code != OS_OK && err.code != OS_NOT_FOUND)
        os_log_warn("compute", "%s: %s", id, os_error_text(&err));
}

static void platform_event(struct gateway *gw, const char *id,
                           const Openshell__Compute__V1__DriverPlatformEvent *from)
{
    Openshell__V1__PlatformEvent ev = OPENSHELL__V1__PLATFORM_EVENT__INIT;
    ev.timestamp_ms = from->timestamp_ms;
    ev.source = from->source;
    ev.type = from->type;
    ev.reason = from->reason;
    ev.message = from->message;
    cleanup_arena struct os_arena a = {0};
    ev.n_metadata = from->n_metadata;
    ev.metadata = os_arena_alloc(&a, (from->n_metadata + 1) * sizeof(*ev.metadata));
    for (size_t i = 0; i < from->n_metadata; i++) {
        ev.metadata[i] = pb_new(&a, openshell__v1__platform_event__metadata_entry);
        ev.metadata[i]->key = from->metadata[i]->key;
        ev.metadata[i]->value = from->metadata[i]->value;
    }
    logbus_add_event(gw->logs, id, &ev);
}

static void apply(struct gateway *gw, const driver_event *ev)
{
    switch (ev->payload_case) {
    case OPENSHELL__COMPUTE__V1__WATCH_SANDBOXES_EVENT__PAYLOAD_SANDBOX:
        if (ev->sandbox->sandbox)
            sandbox_apply_snapshot(gw, ev->sandbox->sandbox);
        break;
    case OPENSHELL__COMPUTE__V1__WATCH_SANDBOXES_EVENT__PAYLOAD_DELETED:
        removed(gw, ev->deleted->sandbox_id);
        break;
    case OPENSHELL__COMPUTE__V1__WATCH_SANDBOXES_EVENT__PAYLOAD_PLATFORM_EVENT:
        if (ev->platform_event->event)
            platform_event(gw, ev->platform_event->sandbox_id, ev->platform_event->event);
        break;
    default:
        break;
    }
}

static void drain(void *arg)
{
    struct compute_events *e = arg;
    for (;;) {
        pthread_mutex_lock(&e->lock);
        struct queued *q = e->first;
        if (!q) {
            e->draining = false;
            pthread_mutex_unlock(&e->lock);
            return;
        }
        e->first = q->next;
        if (!e->first)
            e->last = &e->first;
        pthread_mutex_unlock(&e->lock);
        cleanup_arena struct os_arena a = {0};
        driver_event *ev = (driver_event *)rpc_unpack(
            &a, &openshell__compute__v1__watch_sandboxes_event__descriptor, q->data, q->n);
        if (ev)
            apply(e->gw, ev);
        free(q);
    }
}

static void drained(void *arg)
{
    /* the worker cleared `draining` under the lock */
}

static void start_drain(void *arg)
{
    struct compute_events *e = arg;
    rpc_server_work(e->gw->rpc, drain, drained, e);
}

void compute_events_push(void *ctx, const driver_event *event)
{
    struct compute_events *e = ctx;
    size_t n = protobuf_c_message_get_packed_size(&event->base);
    struct queued *q = os_calloc(1, sizeof(*q) + n);
    q->n = n;
    protobuf_c_message_pack(&event->base, q->data);
    pthread_mutex_lock(&e->lock);
    *e->last = q;
    e->last = &q->next;
    bool start = !e->draining;
    e->draining = true;
    pthread_mutex_unlock(&e->lock);
    if (start)
        rpc_server_post(e->gw->rpc, start_drain, e);
}
