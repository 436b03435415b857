/* Stop, start and delete of one sandbox. Every driver call happens between two writes of the row: the phase
 * says what is under way, so that a gateway that was killed knows how to go on. */
#include "gateway/lifecycle.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "core/log.h"
#include "gateway/store/reserve.h"
#include "gateway/watch.h"
#include "rpc/pb.h"

#define PHASE(x) OPENSHELL__V1__SANDBOX_PHASE__SANDBOX_PHASE_##x

typedef Openshell__V1__SandboxStatus sandbox_status;
typedef Openshell__Compute__V1__DriverSandboxStatus driver_status;

/* One request's way from a phase at rest into the phase that says what is under way. */
struct transition {
    int from, to;
    const char *reason, *message;
    struct os_arena *arena;
    int found;             /* phase the row had */
    const uint8_t *before; /* packed status before the write; NULL = nothing was written */
    size_t before_n;
    uint64_t written; /* row version of the write */
};

static enum sandbox_change enter(void *ctx, sandbox_row *row, struct os_arena *a)
{
    struct transition *t = ctx;
    t->found = (int)row->status->phase;
    t->before = NULL;
    if (t->found != t->from && t->found != PHASE(ERROR))
        return SANDBOX_KEEP;
    t->before = pb_pack(t->arena, &row->status->base, &t->before_n);
    t->written = row->metadata->resource_version + 1;
    row->status->phase = (Openshell__V1__SandboxPhase)t->to;
    row->status->_exit_code_case = OPENSHELL__V1__SANDBOX_STATUS___EXIT_CODE__NOT_SET;
    sandbox_set_ready(row, a, "False", t->reason, t->message);
    return SANDBOX_WRITE;
}

static enum sandbox_change restore(void *ctx, sandbox_row *row, struct os_arena *a)
{
    const struct transition *t = ctx;
    if (row->metadata->resource_version != t->written)
        return SANDBOX_KEEP; /* something else has happened since */
    const sandbox_status *old = (const sandbox_status *)rpc_unpack(
        a, &openshell__v1__sandbox_status__descriptor, t->before, t->before_n);
    if (!old)
        return SANDBOX_KEEP;
    row->status->phase = old->phase;
    row->status->conditions = old->conditions;
    row->status->n_conditions = old->n_conditions;
    row->status->_exit_code_case = old->_exit_code_case;
    row->status->exit_code = old->exit_code;
    return SANDBOX_WRITE;
}

/* Still on its way down, by its own account. */
static bool suspending(const driver_status *st)
{
    for (size_t i = 0; st && i < st->n_conditions; i++)
        if (strcasecmp(st->conditions[i]->type, "Suspended") == 0 &&
            (strcasecmp(st->conditions[i]->reason, "podterminating") == 0 ||
             strcasecmp(st->conditions[i]->reason, "podnotterminated") == 0))
            return true;
    return false;
}

/* After a failed driver call: what the driver says decides (spec/gateway.md 5.4). */
static void recover(struct gateway *gw, const char *id, const struct transition *t)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    driver_sandbox *s = gw->driver->ops->get(gw->driver->self, id, &a, &err);
    if (!s || strcmp(s->id, id) != 0 || !s->status)
        return; /* absent or unknown: the phase stays, reconciliation finds out */
    bool stopping = t->to == PHASE(STOPPING), stopped = sandbox_backend_stopped(s->status);
    if (stopping && suspending(s->status))
        return;
    bool apply = stopped ? stopping : sandbox_backend_phase(s->status) == PHASE(ERROR);
    if (apply)
        sandbox_apply_snapshot(gw, s);
    else if (t->before && sandbox_change(gw, id, "update sandbox lifecycle", restore, (void *)t, &err) < 0 &&
             err.code != OS_NOT_FOUND)
        os_log_warn("lifecycle", "%s: %s", id, os_error_text(&err));
}

static int driver_failed(struct gateway *gw, const char *id, const struct transition *t, const char *what,
                         struct os_error *err)
{
    recover(gw, id, t);
    return os_error_wrap(err, "%s sandbox failed", what);
}

/* 1 = go on with the driver, 0 = nothing to do, -1 = refused. */
static int enter_phase(struct gateway *gw, const char *id, struct transition *t, int rest,
                       struct os_error *err)
{
    if (sandbox_change(gw, id, "update sandbox lifecycle", enter, t, err) < 0)
        return -1;
    if (t->before || t->found == t->to)
        return 1;
    if (t->found == rest)
        return 0;
    return os_error_set(err, OS_FAILED_PRECONDITION, "sandbox must be %s to %s (current phase: %s)",
                        sandbox_phase_name(t->from), t->to == PHASE(STOPPING) ? "stop" : "start",
                        sandbox_phase_name(t->found));
}

/* The phase could not be written because the disk is full. What is asked for may make room, so it goes on
 * without; a gateway that is killed meanwhile finds a phase at rest and asks the driver. */
static bool goes_on_unmarked(const char *id, struct transition *t, struct os_error *err)
{
    if (err->code != OS_RESOURCE_EXHAUSTED || !t->before)
        return false;
    os_log_warn("lifecycle", "%s: %s; going on", id, os_error_text(err));
    os_error_clear(err);
    t->before = NULL;
    t->to = t->found;
    return true;
}

/* The same write may succeed with the reserve. */
static bool made_room(struct gateway *gw, struct os_error *err)
{
    bool full = err->code == OS_RESOURCE_EXHAUSTED || err->sys_errno == ENOSPC || err->sys_errno == EDQUOT;
    if (!full || !reserve_release(gw->reserve))
        return false;
    os_error_clear(err);
    return true;
}

/* --- stop --- */

struct stopped {
    int from; /* the phase that stopping leaves */
    bool changed;
};

static enum sandbox_change set_stopped(void *ctx, sandbox_row *row, struct os_arena *a)
{
    struct stopped *s = ctx;
    s->changed = (int)row->status->phase != s->from && row->status->phase != PHASE(STOPPED);
    if (s->changed)
        return SANDBOX_KEEP;
    row->status->phase = PHASE(STOPPED);
    sandbox_set_ready(row, a, "False", "Stopped", "Sandbox compute is stopped");
    return SANDBOX_WRITE;
}

static int stop_compute(struct gateway *gw, const char *id, const struct transition *t, struct os_error *err)
{
    struct stopped s = {.from = t->to};
    const struct driver_ops *ops = gw->driver->ops;
    if (ops->stop(gw->driver->self, id, err) < 0 &&
        (!made_room(gw, err) || ops->stop(gw->driver->self, id, err) < 0))
        return driver_failed(gw, id, t, "stop", err);
    int rc = sandbox_change(gw, id, "update sandbox lifecycle", set_stopped, &s, err);
    if (rc < 0 && made_room(gw, err))
        rc = sandbox_change(gw, id, "update sandbox lifecycle", set_stopped, &s, err);
    if (rc < 0)
        return -1;
    return s.changed ? os_error_set(err, OS_ABORTED, "sandbox lifecycle changed while stop completed") : 0;
}

static int stop_gated(struct gateway *gw, const char *id, struct os_arena *a, struct os_error *err)
{
    struct transition t = {.from = PHASE(READY),
                           .to = PHASE(STOPPING),
                           .reason = "Stopping",
                           .message = "Sandbox stop requested",
                           .arena = a};
    int rc = enter_phase(gw, id, &t, PHASE(STOPPED), err);
    if (rc < 0 && goes_on_unmarked(id, &t, err))
        rc = 1;
    if (rc > 0)
        rc = stop_compute(gw, id, &t, err);
    if (rc == 0)
        sandbox_end_sessions(gw, id);
    return rc;
}

/* --- start --- */

static int start_gated(struct gateway *gw, const char *id, struct os_arena *a, struct os_error *err)
{
    struct transition t = {.from = PHASE(STOPPED),
                           .to = PHASE(STARTING),
                           .reason = "Starting",
                           .message = "Sandbox start requested",
                           .arena = a};
    const struct driver_ops *ops = gw->driver->ops;
    int rc = enter_phase(gw, id, &t, PHASE(READY), err);
    if (rc <= 0)
        return rc;
    /* In Error something of it may still run. */
    if ((t.found == PHASE(ERROR) && ops->stop(gw->driver->self, id, err) < 0) ||
        ops->start(gw->driver->self, id, err) < 0)
        return driver_failed(gw, id, &t, "start", err);
    return 0;
}

/* --- delete --- */

static enum sandbox_change set_deleting(void *ctx, sandbox_row *row, struct os_arena *a)
{
    struct transition *t = ctx;
    t->found = (int)row->status->phase;
    if (t->found == PHASE(DELETING))
        return SANDBOX_KEEP;
    t->before = pb_pack(t->arena, &row->status->base, &t->before_n);
    t->written = row->metadata->resource_version + 1;
    row->status->phase = PHASE(DELETING);
    return SANDBOX_WRITE;
}

static void recover_delete(struct gateway *gw, const sandbox_row *row, struct transition *t)
{
    cleanup_error struct os_error err = {0};
    const char *id = row->metadata->id;
    driver_sandbox *s = gw->driver->ops->get(gw->driver->self, id, t->arena, &err);
    bool absent = !s && err.code == OS_NOT_FOUND;
    os_error_clear(&err);
    int rc = absent      ? sandbox_remove(gw, row, &err)
             : t->before ? sandbox_change(gw, id, "restore sandbox phase", restore, t, &err)
                         : 0;
    if (rc == 0 && s && t->before)
        sandbox_apply_snapshot(gw, s);
    if (rc < 0 && err.code != OS_NOT_FOUND)
        os_log_error("lifecycle", "%s: %s", id, os_error_text(&err));
}

static int delete_gated(struct gateway *gw, const sandbox_row *row, bool *deleted, struct os_error *err)
{
    cleanup_arena struct os_arena a = {0};
    struct transition t = {.arena = &a};
    const char *id = row->metadata->id;
    *deleted = true;
    if (sandbox_change(gw, id, "set sandbox phase to Deleting", set_deleting, &t, err) < 0) {
        if (err->code == OS_NOT_FOUND) {
            os_error_clear(err); /* an earlier delete finished while this one waited for the gate */
            return 0;
        }
        if (!goes_on_unmarked(id, &t, err))
            return -1;
    }
    if (gw->driver->ops->remove(gw->driver->self, id, deleted, err) < 0) {
        recover_delete(gw, row, &t);
        os_error_wrap(err, "delete sandbox failed");
        err->code = OS_INTERNAL;
        return -1;
    }
    if (sandbox_remove(gw, row, err) == 0)
        return 0;
    return made_room(gw, err) ? sandbox_remove(gw, row, err) : -1;
}

/* --- requests --- */

static sandbox_row *gated(struct gateway *gw, const char *id,
                          int (*op)(struct gateway *, const char *, struct os_arena *, struct os_error *),
                          struct os_arena *a, struct os_error *err)
{
    pthread_mutex_t *gate = gateway_gate(gw, id);
    pthread_mutex_lock(gate);
    sandbox_row *row = op(gw, id, a, err) < 0 ? NULL : sandbox_load(gw, id, a, err);
    pthread_mutex_unlock(gate);
    return row;
}

sandbox_row *lifecycle_stop(struct gateway *gw, const char *id, struct os_arena *a, struct os_error *err)
{
    return gated(gw, id, stop_gated, a, err);
}

sandbox_row *lifecycle_start(struct gateway *gw, const char *id, struct os_arena *a, struct os_error *err)
{
    return gated(gw, id, start_gated, a, err);
}

int lifecycle_delete(struct gateway *gw, const sandbox_row *row, bool *deleted, struct os_error *err)
{
    pthread_mutex_t *gate = gateway_gate(gw, row->metadata->id);
    pthread_mutex_lock(gate);
    int rc = delete_gated(gw, row, deleted, err);
    pthread_mutex_unlock(gate);
    return rc;
}

/* --- reconciliation --- */

struct failure {
    const char *reason, *message;
};

static enum sandbox_change set_error(void *ctx, sandbox_row *row, struct os_arena *a)
{
    const struct failure *f = ctx;
    row->status->phase = PHASE(ERROR);
    sandbox_set_ready(row, a, "False", f->reason, f->message);
    return SANDBOX_WRITE;
}

static void fail(struct gateway *gw, const char *id, const char *reason, const char *message)
{
    cleanup_error struct os_error err = {0};
    struct failure f = {reason, message};
    if (sandbox_change(gw, id, "reconcile", set_error, &f, &err) < 0 && err.code != OS_NOT_FOUND)
        os_log_warn("lifecycle", "%s: %s", id, os_error_text(&err));
}

static void missing(struct gateway *gw, const char *id, int phase)
{
    if (phase == PHASE(STOPPING) || phase == PHASE(STOPPED) || phase == PHASE(STARTING))
        fail(gw, id, "ComputeResourceMissing",
             "The compute driver could not find the retained sandbox resource; delete the sandbox to clean "
             "up its remaining state");
    else
        fail(gw, id, "BackendResourceMissing",
             "Sandbox compute resource disappeared while the gateway was offline");
}

static bool host_restarted(const driver_status *st)
{
    for (size_t i = 0; st && i < st->n_conditions; i++)
        if (strcmp(st->conditions[i]->reason, "HostRestarted") == 0)
            return true;
    return false;
}

static enum sandbox_change set_starting(void *ctx, sandbox_row *row, struct os_arena *a)
{
    row->status->phase = PHASE(STARTING);
    sandbox_set_ready(row, a, "False", "Starting", "Sandbox start requested");
    return SANDBOX_WRITE;
}

static void start_again(struct gateway *gw, const char *id)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    if (gw->driver->ops->start(gw->driver->self, id, &err) == 0)
        return;
    if (err.code == OS_NOT_FOUND)
        missing(gw, id, PHASE(STARTING));
    else
        fail(gw, id, "StartFailed",
             os_arena_printf(&a, "Failed to start sandbox during gateway startup: %s", os_error_text(&err)));
}

static void stop_again(struct gateway *gw, const char *id)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    if (stop_gated(gw, id, &a, &err) == 0)
        return;
    if (err.code == OS_NOT_FOUND)
        missing(gw, id, PHASE(STOPPING));
    else
        os_log_warn("lifecycle", "%s: %s", id, os_error_text(&err));
}

/* Phases at rest: the driver's snapshot decides. */
static void compare(struct gateway *gw, const char *id, int phase)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    driver_sandbox *s = gw->driver->ops->get(gw->driver->self, id, &a, &err);
    bool lives = phase != PHASE(ERROR) && phase != PHASE(STOPPED);
    if (!s && err.code == OS_NOT_FOUND && phase != PHASE(ERROR)) {
        missing(gw, id, phase);
    } else if (!s) {
        if (err.code != OS_NOT_FOUND)
            os_log_warn("lifecycle", "%s: %s", id, os_error_text(&err));
    } else if (lives && gw->settling && host_restarted(s->status)) {
        os_log_info("lifecycle", "%s: starting again after a restart of the machine", id);
        if (sandbox_change(gw, id, "reconcile", set_starting, NULL, &err) == 0)
            start_again(gw, id);
    } else {
        sandbox_apply_snapshot(gw, s);
    }
}

static void finish_delete(struct gateway *gw, const sandbox_row *row)
{
    cleanup_error struct os_error err = {0};
    bool gone;
    if (gw->driver->ops->remove(gw->driver->self, row->metadata->id, &gone, &err) < 0 ||
        sandbox_remove(gw, row, &err) < 0)
        os_log_warn("lifecycle", "%s: %s", row->metadata->id, os_error_text(&err));
}

/* Under the sandbox's gate, so that a request that is under way is not taken for one that was cut short. */
static void reconcile_gated(struct gateway *gw, const char *id)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    sandbox_row *row = sandbox_load(gw, id, &a, &err);
    if (!row) {
        if (err.code != OS_NOT_FOUND)
            os_log_warn("lifecycle", "%s: %s", id, os_error_text(&err));
        return;
    }
    switch ((int)row->status->phase) {
    case PHASE(DELETING):
        finish_delete(gw, row);
        break;
    case PHASE(STOPPING):
        stop_again(gw, id);
        break;
    case PHASE(STARTING):
        start_again(gw, id);
        break;
    default:
        compare(gw, id, (int)row->status->phase);
    }
}

/* Sandboxes of the driver that no row names: a create that never got its row, a delete that lost the race. */
static void remove_orphans(struct gateway *gw)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    driver_sandbox **list = NULL;
    size_t n = 0;
    if (gw->driver->ops->list(gw->driver->self, &a, &list, &n, &err) < 0) {
        os_log_warn("lifecycle", "cannot list the driver's sandboxes: %s", os_error_text(&err));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct store_object o;
        os_error_clear(&err);
        bool gone = false;
        if (store_get(gw->store, STORE_SANDBOX, list[i]->id, &a, &o, &err) < 0 && err.code == OS_NOT_FOUND) {
            os_log_warn("lifecycle", "%s: removing compute without a record", list[i]->id);
            os_error_clear(&err);
            gw->driver->ops->remove(gw->driver->self, list[i]->id, &gone, &err);
        }
    }
}

void lifecycle_reconcile(struct gateway *gw)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    struct store_object *rows = NULL;
    size_t n = 0;
    if (store_list(gw->store, STORE_SANDBOX, NULL, 0, 0, &a, &rows, &n, &err) < 0) {
        os_log_error("lifecycle", "cannot read the stored sandboxes: %s", os_error_text(&err));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        pthread_mutex_t *gate = gateway_gate(gw, rows[i].id);
        pthread_mutex_lock(gate);
        reconcile_gated(gw, rows[i].id);
        pthread_mutex_unlock(gate);
    }
    remove_orphans(gw);
}
