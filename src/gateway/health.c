/* The database probe; /healthz, /readyz and /health. */
#include "gateway/health.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/str.h"

#define PROBE_INTERVAL_MS 5000
#define PROBE_TIMEOUT_MS 2000

struct health {
    struct gateway *gw;
    uv_timer_t timer;
    bool probing;       /* a worker is at it, since started_ms */
    int64_t started_ms; /* monotonic */
    bool ever;          /* a probe came back */
    bool ok;            /* how the last one ended */
    bool probe_ok;      /* the worker's result */
    int64_t latency_ms, probe_latency_ms;
    bool ending;
    health_fn *changed;
    void *ctx;
    bool told; /* what `changed` heard last; not serving before the first probe */
};

static bool is_late(const struct health *r)
{
    return r->probing && os_clock_mono_ms() - r->started_ms > PROBE_TIMEOUT_MS;
}

bool health_serving(const struct health *r)
{
    return r->ever && r->ok && !is_late(r) && !r->ending;
}

static void tell(struct health *r)
{
    bool serving = health_serving(r);
    if (serving == r->told)
        return;
    r->told = serving;
    r->changed(r->ctx, serving);
}

void health_ending(struct health *r)
{
    r->ending = true;
    tell(r);
}

static void probe(void *arg)
{
    struct health *r = arg;
    cleanup_error struct os_error err = {0};
    cleanup_arena struct os_arena a = {0};
    struct store_object *rows;
    size_t n;
    int64_t from = os_clock_mono_ms();
    r->probe_ok = store_list(r->gw->store, STORE_WORKSPACE, NULL, 1, 0, &a, &rows, &n, &err) == 0;
    r->probe_latency_ms = os_clock_mono_ms() - from;
}

static void probed(void *arg)
{
    struct health *r = arg;
    r->probing = false;
    r->ever = true;
    r->ok = r->probe_ok;
    r->latency_ms = r->probe_latency_ms;
    tell(r);
}

static void on_timer(uv_timer_t *t)
{
    struct health *r = t->data;
    if (r->probing) {
        tell(r);
        return;
    }
    r->probing = true;
    r->started_ms = os_clock_mono_ms();
    rpc_server_work(r->gw->rpc, probe, probed, r);
}

struct health *health_new(struct gateway *gw, health_fn *changed, void *ctx)
{
    struct health *r = os_calloc(1, sizeof(*r));
    r->gw = gw;
    r->changed = changed;
    r->ctx = ctx;
    uv_timer_init(gw->loop, &r->timer);
    r->timer.data = r;
    uv_timer_start(&r->timer, on_timer, 0, PROBE_INTERVAL_MS);
    uv_unref((uv_handle_t *)&r->timer);
    return r;
}

void health_stop(struct health *r)
{
    uv_close((uv_handle_t *)&r->timer, NULL);
}

void health_free(struct health *r)
{
    free(r);
}

static void report(const struct health *r, struct rpc_http_response *resp)
{
    bool late = is_late(r), ok = health_serving(r);
    const char *status = ok ? "healthy" : "unhealthy";
    json_t *db = json_pack("{s:s}", "status", status);
    if (r->ever && !late)
        json_object_set_new(db, "latency_ms", json_integer(r->latency_ms));
    if (!ok)
        json_object_set_new(db, "error",
                            json_string(r->ending ? "the gateway is shutting down"
                                        : late    ? "database health check timed out"
                                        : r->ever ? "database unavailable"
                                                  : "readiness monitor still initializing"));
    json_t *all = json_pack("{s:s,s:s,s:{s:o}}", "status", status, "version", OPENSHELL_VERSION, "checks",
                            "database", db);
    resp->status = ok ? 200 : 503;
    resp->content_type = "application/json";
    resp->body = json_dumps(all, JSON_COMPACT);
    json_decref(all);
}

void health_http(void *ctx, const struct rpc_http_request *req, struct rpc_http_response *resp)
{
    bool live = strcmp(req->path, "/healthz") == 0;
    bool ready = strcmp(req->path, "/readyz") == 0 || strcmp(req->path, "/health") == 0;
    if (!live && !ready)
        resp->status = 404;
    else if (strcmp(req->method, "GET") != 0 && strcmp(req->method, "HEAD") != 0)
        resp->status = 405;
    else if (live)
        resp->status = 200;
    else
        report(ctx, resp);
}
