/* Snapshots and events of the local driver: see snapshot.h. */
#include "drivers/local/snapshot.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "rpc/pb.h"

typedef Openshell__Compute__V1__DriverSandboxStatus driver_status;
typedef Openshell__Compute__V1__DriverCondition driver_condition;
typedef Openshell__Compute__V1__DriverPlatformEvent platform_event;
typedef Openshell__Compute__V1__DriverPlatformEvent__MetadataEntry metadata_entry;

#define METADATA_MAX 5

static driver_condition *condition(struct os_arena *a, const char *type, const char *status,
                                   const char *reason, const char *message, int64_t since)
{
    char text[OS_CLOCK_TEXT_LEN];
    driver_condition *c = pb_new(a, openshell__compute__v1__driver_condition);
    c->type = os_arena_strdup(a, type);
    c->status = os_arena_strdup(a, status);
    c->reason = os_arena_strdup(a, reason);
    c->message = os_arena_strdup(a, message);
    c->last_transition_time = os_arena_strdup(a, os_clock_iso(since, text));
    return c;
}

static driver_condition *ready(struct os_arena *a, const struct snapshot *s)
{
    switch (s->phase) {
    case LOCAL_RUNNING:
        return condition(a, "Ready", "True", "BackendReady", "Supervisor is running", s->since_ms);
    case LOCAL_EXITED:
        return condition(a, "Ready", "False", s->reason, s->message, s->since_ms);
    case LOCAL_STOPPED:
        return condition(a, "Ready", "False", "ContainerStopped", "Sandbox is stopped", s->since_ms);
    case LOCAL_REMOVING:
        return condition(a, "Ready", "False", "Deleting", "Sandbox is being removed", s->since_ms);
    case LOCAL_STARTING:
        break;
    }
    return condition(a, "Ready", "False", "Starting", "Sandbox is starting", s->since_ms);
}

driver_sandbox *snapshot_message(struct os_arena *a, const struct snapshot *s)
{
    driver_sandbox *m = pb_new(a, openshell__compute__v1__driver_sandbox);
    driver_status *st = pb_new(a, openshell__compute__v1__driver_sandbox_status);
    m->id = os_arena_strdup(a, s->id);
    m->name = os_arena_strdup(a, s->name);
    m->namespace_ = os_arena_strdup(a, "local");
    m->workspace = os_arena_strdup(a, s->workspace);
    m->status = st;
    st->sandbox_name = os_arena_strdup(a, s->name);
    st->instance_id = os_arena_strdup(a, s->instance_id);
    st->deleting = s->phase == LOCAL_REMOVING;
    st->conditions = os_arena_alloc(a, 2 * sizeof(*st->conditions));
    st->conditions[st->n_conditions++] = ready(a, s);
    if (s->phase == LOCAL_STOPPED)
        st->conditions[st->n_conditions++] =
            condition(a, "Suspended", "True", "ContainerStopped", "Sandbox is stopped", s->since_ms);
    return m;
}

void snapshot_emit(driver_watch_fn *fn, void *ctx, const struct snapshot *s)
{
    cleanup_arena struct os_arena a = {0};
    if (!fn)
        return;
    driver_event *e = pb_new(&a, openshell__compute__v1__watch_sandboxes_event);
    Openshell__Compute__V1__WatchSandboxesSandboxEvent *body =
        pb_new(&a, openshell__compute__v1__watch_sandboxes_sandbox_event);
    body->sandbox = snapshot_message(&a, s);
    e->payload_case = OPENSHELL__COMPUTE__V1__WATCH_SANDBOXES_EVENT__PAYLOAD_SANDBOX;
    e->sandbox = body;
    fn(ctx, e);
}

void snapshot_emit_deleted(driver_watch_fn *fn, void *ctx, const char *id)
{
    cleanup_arena struct os_arena a = {0};
    if (!fn)
        return;
    driver_event *e = pb_new(&a, openshell__compute__v1__watch_sandboxes_event);
    Openshell__Compute__V1__WatchSandboxesDeletedEvent *body =
        pb_new(&a, openshell__compute__v1__watch_sandboxes_deleted_event);
    body->sandbox_id = os_arena_strdup(&a, id);
    e->payload_case = OPENSHELL__COMPUTE__V1__WATCH_SANDBOXES_EVENT__PAYLOAD_DELETED;
    e->deleted = body;
    fn(ctx, e);
}

/* metadata: key, value, key, value, NULL */
static void emit_platform(driver_watch_fn *fn, void *ctx, const char *id, const char *type,
                          const char *reason, const char *message, const char *const *metadata)
{
    cleanup_arena struct os_arena a = {0};
    if (!fn)
        return;
    driver_event *e = pb_new(&a, openshell__compute__v1__watch_sandboxes_event);
    Openshell__Compute__V1__WatchSandboxesPlatformEvent *body =
        pb_new(&a, openshell__compute__v1__watch_sandboxes_platform_event);
    platform_event *p = pb_new(&a, openshell__compute__v1__driver_platform_event);
    body->sandbox_id = os_arena_strdup(&a, id);
    body->event = p;
    p->timestamp_ms = os_clock_ms();
    p->source = os_arena_strdup(&a, "local");
    p->type = os_arena_strdup(&a, type);
    p->reason = os_arena_strdup(&a, reason);
    p->message = os_arena_strdup(&a, message);
    p->metadata = os_arena_alloc(&a, METADATA_MAX * sizeof(*p->metadata));
    for (; metadata && *metadata && p->n_metadata < METADATA_MAX; metadata += 2) {
        metadata_entry *m = pb_new(&a, openshell__compute__v1__driver_platform_event__metadata_entry);
        m->key = os_arena_strdup(&a, metadata[0]);
        m->value = os_arena_strdup(&a, metadata[1]);
        p->metadata[p->n_metadata++] = m;
    }
    e->payload_case = OPENSHELL__COMPUTE__V1__WATCH_SANDBOXES_EVENT__PAYLOAD_PLATFORM_EVENT;
    e->platform_event = body;
    fn(ctx, e);
}

#define COMPLETE_STEP "openshell.progress.complete_step"
#define COMPLETE_LABEL "openshell.progress.complete_label"
#define ACTIVE_STEP "openshell.progress.active_step"
#define ACTIVE_DETAIL "openshell.progress.active_detail"

void snapshot_emit_progress(driver_watch_fn *fn, void *ctx, const char *id, const char *what,
                            enum local_progress step)
{
    const char *const scheduled[] = {COMPLETE_STEP, "requesting_sandbox", COMPLETE_LABEL, "Sandbox allocated",
                                     ACTIVE_STEP,   "pulling_image",      ACTIVE_DETAIL,  what,
                                     NULL};
    static const char *const image[] = {COMPLETE_STEP,
                                        "pulling_image",
                                        COMPLETE_LABEL,
                                        "Image already present",
                                        ACTIVE_STEP,
                                        "starting_sandbox",
                                        NULL};
    static const char *const created[] = {ACTIVE_STEP, "starting_sandbox", ACTIVE_DETAIL, "Sandbox created",
                                          NULL};
    static const char *const started[] = {ACTIVE_STEP, "starting_sandbox", ACTIVE_DETAIL,
                                          "Waiting for supervisor relay", NULL};
    cleanup_arena struct os_arena a = {0};
    switch (step) {
    case PROGRESS_SCHEDULED:
        emit_platform(fn, ctx, id, "Normal", "Scheduled",
                      os_arena_printf(&a, "Local sandbox accepted for image \"%s\"", what), scheduled);
        return;
    case PROGRESS_IMAGE:
        emit_platform(fn, ctx, id, "Normal", "ImagePresent",
                      os_arena_printf(&a, "Image \"%s\" is present on this machine", what), image);
        return;
    case PROGRESS_CREATED:
        emit_platform(fn, ctx, id, "Normal", "Created",
                      os_arena_printf(&a, "Created local sandbox \"%s\"", what), created);
        return;
    case PROGRESS_STARTED:
        emit_platform(fn, ctx, id, "Normal", "Started",
                      os_arena_printf(&a, "Started local sandbox \"%s\"", what), started);
        return;
    }
}

void snapshot_emit_warning(driver_watch_fn *fn, void *ctx, const char *id, const char *reason,
                           const char *message)
{
    emit_platform(fn, ctx, id, "Warning", reason, message, NULL);
}
