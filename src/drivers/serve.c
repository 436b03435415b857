/* A compute driver as a service of its own: see serve.h. */
#include "drivers/serve.h"

#include <errno.h>
#include <libgen.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "rpc/pb.h"
#include "rpc/server.h"
#include "sys/file.h"

#define WORKERS 16
#define QUEUE 1024
#define GRACE_MS 10000

#define V1(name) Openshell__Compute__V1__##name

struct service {
    const struct driver *driver;
    uv_loop_t loop;
    uv_signal_t sigterm, sigint;
    struct rpc_server *rpc;
    pthread_mutex_t lock;
    bool open;                /* events can be posted */
    struct watcher *watchers; /* loop thread */
};

/* One WatchSandboxes. What happens before the list of sandboxes was sent waits, so that an old snapshot never
 * follows a new one. */
struct watcher {
    struct service *service;
    struct watcher *next;
    struct rpc_call *call;
    bool listing, synced, ended;
    struct os_buf pending; /* length and bytes of each event */
    struct os_arena arena;
    driver_sandbox **list;
    size_t n;
    struct os_error err;
};

/* An event on its way from any thread to the loop. */
struct event {
    struct service *service;
    size_t n;
    uint8_t data[];
};

/* --- unary calls, on worker threads --- */

#define HANDLER(name)                                                                                        \
    static int name(void *ctx, struct rpc_call *call, const ProtobufCMessage *request,                       \
                    struct os_arena *arena, ProtobufCMessage **response, struct os_error *err)

HANDLER(get_capabilities)
{
    const struct driver_ops *ops = ((struct service *)ctx)->driver->ops;
    V1(GetCapabilitiesResponse) *r = pb_new(arena, openshell__compute__v1__get_capabilities_response);
    r->driver_name = (char *)ops->name;
    r->driver_version = (char *)ops->version;
    r->default_image = (char *)ops->default_image;
    r->gateway_manages_lifecycle = true;
    *response = &r->base;
    return 0;
}

HANDLER(get_listener_requirements)
{
    V1(GetGatewayListenerRequirementsResponse) *r =
        pb_new(arena, openshell__compute__v1__get_gateway_listener_requirements_response);
    V1(GatewayListenerRequirement) *one = pb_new(arena, openshell__compute__v1__gateway_listener_requirement);
    one->reason = (char *)"supervisors call the gateway over the loopback interface";
    one->selector_case = OPENSHELL__COMPUTE__V1__GATEWAY_LISTENER_REQUIREMENT__SELECTOR_LOOPBACK_INTERFACE;
    one->loopback_interface = pb_new(arena, openshell__compute__v1__gateway_loopback_interface_requirement);
    r->requirements = os_arena_alloc(arena, sizeof(*r->requirements));
    r->requirements[r->n_requirements++] = one;
    *response = &r->base;
    return 0;
}

static int need_id(const char *id, struct os_error *err)
{
    return *id ? 0 : os_error_set(err, OS_INVALID_ARGUMENT, "sandbox_id is required");
}

HANDLER(validate_sandbox)
{
    const struct driver *d = ((struct service *)ctx)->driver;
    const driver_sandbox *s = ((const V1(ValidateSandboxCreateRequest) *)request)->sandbox;
    *response = pb_new(arena, openshell__compute__v1__validate_sandbox_create_response);
    return s ? d->ops->validate(d->self, s, err)
             : os_error_set(err, OS_INVALID_ARGUMENT, "sandbox is required");
}

HANDLER(create_sandbox)
{
    const struct driver *d = ((struct service *)ctx)->driver;
    const driver_sandbox *s = ((const V1(CreateSandboxRequest) *)request)->sandbox;
    *response = pb_new(arena, openshell__compute__v1__create_sandbox_response);
    return s ? d->ops->create(d->self, s, err)
             : os_error_set(err, OS_INVALID_ARGUMENT, "sandbox is required");
}

HANDLER(get_sandbox)
{
    const struct driver *d = ((struct service *)ctx)->driver;
    const char *id = ((const V1(GetSandboxRequest) *)request)->sandbox_id;
    V1(GetSandboxResponse) *r = pb_new(arena, openshell__compute__v1__get_sandbox_response);
    *response = &r->base;
    if (need_id(id, err) < 0)
        return -1;
    r->sandbox = d->ops->get(d->self, id, arena, err);
    return r->sandbox ? 0 : -1;
}

HANDLER(list_sandboxes)
{
    const struct driver *d = ((struct service *)ctx)->driver;
    V1(ListSandboxesResponse) *r = pb_new(arena, openshell__compute__v1__list_sandboxes_response);
    *response = &r->base;
    return d->ops->list(d->self, arena, &r->sandboxes, &r->n_sandboxes, err);
}

HANDLER(stop_sandbox)
{
    const struct driver *d = ((struct service *)ctx)->driver;
    const char *id = ((const V1(StopSandboxRequest) *)request)->sandbox_id;
    *response = pb_new(arena, openshell__compute__v1__stop_sandbox_response);
    return need_id(id, err) < 0 ? -1 : d->ops->stop(d->self, id, err);
}

HANDLER(start_sandbox)
{
    const struct driver *d = ((struct service *)ctx)->driver;
    const char *id = ((const V1(StartSandboxRequest) *)request)->sandbox_id;
    *response = pb_new(arena, openshell__compute__v1__start_sandbox_response);
    return need_id(id, err) < 0 ? -1 : d->ops->start(d->self, id, err);
}

HANDLER(delete_sandbox)
{
    const struct driver *d = ((struct service *)ctx)->driver;
    const char *id = ((const V1(DeleteSandboxRequest) *)request)->sandbox_id;
    V1(DeleteSandboxResponse) *r = pb_new(arena, openshell__compute__v1__delete_sandbox_response);
    bool deleted = false;
    *response = &r->base;
    if (need_id(id, err) < 0 || d->ops->remove(d->self, id, &deleted, err) < 0)
        return -1;
    r->deleted = deleted;
    return 0;
}

HANDLER(ensure_workspace)
{
    *response = pb_new(arena, openshell__compute__v1__ensure_workspace_response);
    return 0;
}

HANDLER(delete_workspace)
{
    *response = pb_new(arena, openshell__compute__v1__delete_workspace_response);
    return 0;
}

/* --- watching --- */

static void watcher_free(struct watcher *w)
{
    struct watcher **at = &w->service->watchers;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    rpc_call_unref(w->call);
    os_buf_free(&w->pending);
    os_arena_free(&w->arena);
    os_error_clear(&w->err);
    free(w);
}

/* A reader that is too slow begins again: what it missed is in the list it then gets. */
static void send_event(struct watcher *w, const void *data, size_t n)
{
    if (rpc_call_queued(w->call) > OS_RELAY_WINDOW)
        rpc_call_finish(w->call, OS_INTERNAL, "the watcher is too slow; watch again");
    else
        rpc_call_send_packed(w->call, data, n);
}

static void deliver(void *arg)
{
    struct event *e = arg;
    for (struct watcher *w = e->service->watchers; w; w = w->next) {
        if (w->synced) {
            send_event(w, e->data, e->n);
        } else {
            os_buf_add(&w->pending, &e->n, sizeof(e->n));
            os_buf_add(&w->pending, e->data, e->n);
        }
    }
    free(e);
}

static void on_driver_event(void *ctx, const driver_event *event)
{
    struct service *s = ctx;
    size_t n = openshell__compute__v1__watch_sandboxes_event__get_packed_size(event);
    struct event *e = os_calloc(1, sizeof(*e) + n);
    e->service = s;
    e->n = n;
    openshell__compute__v1__watch_sandboxes_event__pack(event, e->data);
    pthread_mutex_lock(&s->lock);
    if (s->open)
        rpc_server_post(s->rpc, deliver, os_steal(e));
    pthread_mutex_unlock(&s->lock);
    free(e);
}

static void list_work(void *arg)
{
    struct watcher *w = arg;
    const struct driver *d = w->service->driver;
    d->ops->list(d->self, &w->arena, &w->list, &w->n, &w->err);
}

static void list_done(void *arg)
{
    struct watcher *w = arg;
    w->listing = false;
    if (w->ended) {
        watcher_free(w);
        return;
    }
    if (w->err.code || w->pending.failed) {
        rpc_call_finish(w->call, OS_INTERNAL, w->err.code ? os_error_text(&w->err) : "too many events");
        return;
    }
    for (size_t i = 0; i < w->n; i++) {
        V1(WatchSandboxesEvent) e = OPENSHELL__COMPUTE__V1__WATCH_SANDBOXES_EVENT__INIT;
        V1(WatchSandboxesSandboxEvent) body = OPENSHELL__COMPUTE__V1__WATCH_SANDBOXES_SANDBOX_EVENT__INIT;
        body.sandbox = w->list[i];
        e.payload_case = OPENSHELL__COMPUTE__V1__WATCH_SANDBOXES_EVENT__PAYLOAD_SANDBOX;
        e.sandbox = &body;
        rpc_call_send(w->call, &e.base);
    }
    w->synced = true;
    for (size_t at = 0, n; at < w->pending.len; at += sizeof(n) + n) {
        memcpy(&n, w->pending.data + at, sizeof(n));
        rpc_call_send_packed(w->call, w->pending.data + at + sizeof(n), n);
    }
    os_buf_free(&w->pending);
    os_arena_free(&w->arena);
}

static void on_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct watcher *w = ctx;
    if (w->listing || w->synced)
        return;
    w->listing = true;
    rpc_call_send_headers(call);
    rpc_server_work(w->service->rpc, list_work, list_done, w);
}

static void on_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct watcher *w = ctx;
    w->ended = true;
    if (!w->listing)
        watcher_free(w);
}

static void watch_sandboxes(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {.on_message = on_message, .on_done = on_done};
    struct service *s = ctx;
    struct watcher *w = os_calloc(1, sizeof(*w));
    w->service = s;
    w->call = rpc_call_ref(call);
    w->pending.max = OS_LIMIT_GRPC_CLIENT_MESSAGE;
    w->next = s->watchers;
    s->watchers = w;
    rpc_call_set_ops(call, &ops, w);
}

/* --- the socket --- */

/* Its directory is ours alone, and nothing but an own socket is replaced (spec/drivers.md 2.2). */
static int prepare_socket(const char *path, struct os_error *err)
{
    struct stat st;
    cleanup_free char *copy = os_strdup(path);
    const char *dir = dirname(copy);
    if (os_dir_make(dir, 0700, err) < 0)
        return -1;
    if (lstat(dir, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "the directory '%s' of the driver socket is not a directory of this user", dir);
    if (chmod(dir, 0700) < 0)
        return os_error_sys(err, errno, "cannot make '%s' private", dir);
    if (lstat(path, &st) == 0 && (!S_ISSOCK(st.st_mode) || st.st_uid != geteuid()))
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "driver socket path '%s' exists but is not an owned Unix socket", path);
    return 0;
}

static int same_user(void *ctx, struct rpc_call *call, struct os_error *err)
{
    const struct rpc_peer *peer = rpc_call_peer(call);
    if (peer->unix_socket && peer->uid == geteuid())
        return 0;
    os_log_warn("driver", "refused a call by user %u", peer->uid);
    return os_error_set(err, OS_PERMISSION_DENIED, "this driver serves processes of its own user only");
}

static void stopped(void *arg)
{
    struct service *s = arg;
    uv_stop(&s->loop);
}

static void on_signal(uv_signal_t *h, int number)
{
    struct service *s = h->data;
    uv_signal_stop(h);
    rpc_server_shutdown(s->rpc, GRACE_MS, stopped, s);
    for (struct watcher *w = s->watchers; w; w = w->next)
        rpc_call_finish(w->call, OS_UNAVAILABLE, "the driver is shutting down");
}

static void catch_signals(struct service *s)
{
    s->sigterm.data = s->sigint.data = s;
    uv_signal_init(&s->loop, &s->sigterm);
    uv_signal_init(&s->loop, &s->sigint);
    uv_signal_start(&s->sigterm, on_signal, SIGTERM);
    uv_signal_start(&s->sigint, on_signal, SIGINT);
}

static void register_handlers(struct service *s)
{
    static const struct {
        enum rpc_method_id id;
        rpc_unary_fn *fn;
    } unary[] = {{RPC_ComputeDriver_GetCapabilities, get_capabilities},
                 {RPC_ComputeDriver_GetGatewayListenerRequirements, get_listener_requirements},
                 {RPC_ComputeDriver_ValidateSandboxCreate, validate_sandbox},
                 {RPC_ComputeDriver_CreateSandbox, create_sandbox},
                 {RPC_ComputeDriver_GetSandbox, get_sandbox},
                 {RPC_ComputeDriver_ListSandboxes, list_sandboxes},
                 {RPC_ComputeDriver_StopSandbox, stop_sandbox},
                 {RPC_ComputeDriver_StartSandbox, start_sandbox},
                 {RPC_ComputeDriver_DeleteSandbox, delete_sandbox},
                 {RPC_ComputeDriver_EnsureWorkspace, ensure_workspace},
                 {RPC_ComputeDriver_DeleteWorkspace, delete_workspace}};
    for (size_t i = 0; i < OS_ARRAY_LEN(unary); i++)
        rpc_server_unary(s->rpc, unary[i].id, unary[i].fn, s);
    rpc_server_stream(s->rpc, RPC_ComputeDriver_WatchSandboxes, watch_sandboxes, s);
}

static void close_handle(uv_handle_t *h, void *arg)
{
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

int driver_serve(const struct driver *driver, const char *socket, struct os_error *err)
{
    struct service s = {.driver = driver, .open = true, .lock = PTHREAD_MUTEX_INITIALIZER};
    if (prepare_socket(socket, err) < 0) {
        driver->ops->free(driver->self);
        return -1;
    }
    uv_loop_init(&s.loop);
    s.rpc = rpc_server_new(&(struct rpc_server_options){
        .loop = &s.loop, .workers = WORKERS, .queue = QUEUE, .authenticate = same_user});
    register_handlers(&s);
    driver->ops->watch(driver->self, on_driver_event, &s);
    int rc = rpc_server_listen_unix(s.rpc, socket, err);
    if (rc == 0) {
        catch_signals(&s);
        os_log_info("driver", "the %s driver serves on %s", driver->ops->name, socket);
        uv_run(&s.loop, UV_RUN_DEFAULT);
        unlink(socket);
    }
    pthread_mutex_lock(&s.lock);
    s.open = false;
    pthread_mutex_unlock(&s.lock);
    rpc_server_free(s.rpc);
    driver->ops->free(driver->self);
    pthread_mutex_destroy(&s.lock);
    uv_walk(&s.loop, close_handle, NULL);
    uv_run(&s.loop, UV_RUN_DEFAULT);
    uv_loop_close(&s.loop);
    return rc;
}
