/* When a sandbox is Ready: the phase and the conditions of its row, composed of what the driver says and of
 * the supervisor's session (spec/gateway.md 5). What users ask for (stop, start, delete) is lifecycle.c. */
#include <string.h>
#include <strings.h>

#include "core/log.h"
#include "core/str.h"
#include "gateway/sandbox.h"
#include "gateway/session/sessions.h"
#include "rpc/pb.h"

#define ENFORCED "Enforced"

typedef Openshell__V1__SandboxCondition condition;
#define PHASE(x) OPENSHELL__V1__SANDBOX_PHASE__SANDBOX_PHASE_##x

const char *sandbox_phase_name(int phase)
{
    static const char *const names[] = {"Unspecified", "Provisioning", "Ready",   "Error",   "Deleting",
                                        "Unknown",     "Stopping",     "Stopped", "Starting"};
    return phase >= 0 && phase < (int)(sizeof(names) / sizeof(names[0])) ? names[phase] : "Unknown";
}

/* --- conditions --- */

static condition *find_condition(const Openshell__V1__SandboxStatus *st, const char *type)
{
    for (size_t i = 0; i < st->n_conditions; i++)
        if (strcmp(st->conditions[i]->type, type) == 0)
            return st->conditions[i];
    return NULL;
}

static void set_condition(sandbox_row *row, struct os_arena *a, const char *type, const char *status,
                          const char *reason, const char *message)
{
    Openshell__V1__SandboxStatus *st = row->status;
    condition *c = find_condition(st, type);
    if (!c) {
        condition **grown = os_arena_alloc(a, (st->n_conditions + 1) * sizeof(*grown));
        if (st->n_conditions)
            memcpy(grown, st->conditions, st->n_conditions * sizeof(*grown));
        c = pb_new(a, openshell__v1__sandbox_condition);
        c->type = os_arena_strdup(a, type);
        grown[st->n_conditions++] = c;
        st->conditions = grown;
    }
    c->status = os_arena_strdup(a, status);
    c->reason = os_arena_strdup(a, reason);
    c->message = os_arena_strdup(a, message);
    c->last_transition_time = (char *)"";
}

void sandbox_set_ready(sandbox_row *row, struct os_arena *a, const char *status, const char *reason,
                       const char *message)
{
    set_condition(row, a, "Ready", status, reason, message);
}

/* --- supervisor session --- */

static enum sandbox_change on_connected(void *ctx, sandbox_row *row, struct os_arena *a)
{
    switch ((int)row->status->phase) {
    case PHASE(ERROR):
        /* Its supervisor is back, so it lives; unless its main process is over. */
        if (row->status->_exit_code_case == OPENSHELL__V1__SANDBOX_STATUS___EXIT_CODE__NOT_SET)
            break;
        return SANDBOX_KEEP;
    case PHASE(DELETING):
    case PHASE(STOPPING):
    case PHASE(STOPPED):
        return SANDBOX_KEEP;
    }
    row->status->phase = PHASE(READY);
    const struct sandbox_supervisor *supervisor = ctx;
    /* A kept sandbox that comes back still knows how its first command ended. */
    if (strcmp(row->status->main_process_instance_id, supervisor->instance_id) != 0)
        row->status->_exit_code_case = OPENSHELL__V1__SANDBOX_STATUS___EXIT_CODE__NOT_SET;
    row->status->main_process_instance_id = os_arena_strdup(a, supervisor->instance_id);
    sandbox_set_ready(row, a, "True", "DependenciesReady", "Supervisor session connected");
    if (supervisor->enforcement)
        set_condition(row, a, ENFORCED, supervisor->complete ? "True" : "False",
                      supervisor->complete ? "SelfTestPassed" : "PartiallyEnforced", supervisor->enforcement);
    return SANDBOX_WRITE;
}

int sandbox_session_connected(struct gateway *gw, const char *id, const struct sandbox_supervisor *supervisor,
                              struct os_error *err)
{
    return sandbox_change(gw, id, "update sandbox phase", on_connected, (void *)supervisor, err);
}

static enum sandbox_change on_lost(void *ctx, sandbox_row *row, struct os_arena *a)
{
    struct gateway *gw = ctx;
    /* Workers do not keep order: a newer session may have written its row before this one is set back. */
    if (gw->ending || row->status->phase != PHASE(READY) ||
        sessions_connected(gw->sessions, row->metadata->id))
        return SANDBOX_KEEP;
    row->status->phase = PHASE(PROVISIONING);
    sandbox_set_ready(row, a, "False", "DependenciesNotReady", "Supervisor session disconnected");
    return SANDBOX_WRITE;
}

void sandbox_session_lost(struct gateway *gw, const char *id)
{
    cleanup_error struct os_error err = {0};
    if (sandbox_change(gw, id, "update sandbox phase", on_lost, gw, &err) < 0 && err.code != OS_NOT_FOUND)
        os_log_warn("sandbox", "%s: %s", id, os_error_text(&err));
}

/* --- driver snapshots --- */

static bool transient(const char *reason)
{
    static const char *const reasons[] = {
        "reconcilererror",   "dependenciesnotready", "supervisornotconnected", "starting",
        "containerstarting", "containercreated",     "healthcheckstarting",    "inspectfailed"};
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (strcasecmp(reason, reasons[i]) == 0)
            return true;
    return false;
}

int sandbox_backend_phase(const Openshell__Compute__V1__DriverSandboxStatus *st)
{
    if (!st)
        return PHASE(UNKNOWN);
    if (st->deleting)
        return PHASE(DELETING);
    for (size_t i = 0; i < st->n_conditions; i++)
        if (strcasecmp(st->conditions[i]->type, "Suspended") == 0 &&
            strcasecmp(st->conditions[i]->status, "true") == 0)
            return PHASE(STOPPED);
    for (size_t i = 0; i < st->n_conditions; i++) {
        const Openshell__Compute__V1__DriverCondition *c = st->conditions[i];
        if (strcmp(c->type, "Ready") != 0)
            continue;
        if (strcasecmp(c->status, "true") == 0)
            return PHASE(READY);
        if (strcasecmp(c->status, "false") == 0)
            return transient(c->reason) ? PHASE(PROVISIONING) : PHASE(ERROR);
        return PHASE(PROVISIONING);
    }
    return PHASE(PROVISIONING);
}

bool sandbox_backend_stopped(const Openshell__Compute__V1__DriverSandboxStatus *st)
{
    for (size_t i = 0; st && i < st->n_conditions; i++)
        if (strcasecmp(st->conditions[i]->status, "false") == 0 &&
            (strcasecmp(st->conditions[i]->reason, "containerexited") == 0 ||
             strcasecmp(st->conditions[i]->reason, "containerstopped") == 0))
            return true;
    return false;
}

struct snapshot {
    struct gateway *gw;
    const driver_sandbox *s;
    bool stopped; /* by this snapshot */
};

static void copy_driver_fields(sandbox_row *row, const Openshell__Compute__V1__DriverSandboxStatus *st,
                               struct os_arena *a)
{
    row->status->sandbox_name = os_arena_strdup(a, st->sandbox_name);
    row->status->agent_pod = os_arena_strdup(a, st->instance_id);
    row->status->agent_fd = os_arena_strdup(a, st->agent_fd);
    row->status->sandbox_fd = os_arena_strdup(a, st->sandbox_fd);
    condition *enforced = find_condition(row->status, ENFORCED); /* the supervisor's word, not the driver's */
    condition **list = os_arena_alloc(a, (st->n_conditions + 2) * sizeof(*list));
    for (size_t i = 0; i < st->n_conditions; i++) {
        const Openshell__Compute__V1__DriverCondition *from = st->conditions[i];
        condition *c = list[i] = pb_new(a, openshell__v1__sandbox_condition);
        c->type = os_arena_strdup(a, from->type);
        c->status = os_arena_strdup(a, from->status);
        c->reason = os_arena_strdup(a, from->reason);
        c->message = os_arena_strdup(a, from->message);
        c->last_transition_time = os_arena_strdup(a, from->last_transition_time);
    }
    row->status->conditions = list;
    row->status->n_conditions = st->n_conditions;
    if (enforced)
        list[row->status->n_conditions++] = enforced;
}

static int composed_phase(int old, int backend, bool stopped, bool session)
{
    int next = backend;
    if (backend == PHASE(READY) || backend == PHASE(PROVISIONING) || backend == PHASE(UNKNOWN))
        next = session && backend == PHASE(READY) ? PHASE(READY) : PHASE(PROVISIONING);
    if (old == PHASE(STOPPING))
        return next == PHASE(STOPPED) || stopped ? PHASE(STOPPED) : next == PHASE(ERROR) ? next : old;
    if (old == PHASE(STOPPED))
        return old;
    if (old == PHASE(STARTING))
        return next == PHASE(READY) || next == PHASE(ERROR) ? next : old;
    return next;
}

/* The end of the run before, told late: the new run has another instance, and its start is not over. */
static bool is_of_earlier_run(const sandbox_row *row, const Openshell__Compute__V1__DriverSandboxStatus *st)
{
    return row->status->phase == PHASE(STARTING) && sandbox_backend_phase(st) == PHASE(ERROR) &&
           *st->instance_id && strcmp(st->instance_id, row->status->agent_pod) == 0;
}

static enum sandbox_change on_snapshot(void *ctx, sandbox_row *row, struct os_arena *a)
{
    struct snapshot *in = ctx;
    const Openshell__Compute__V1__DriverSandboxStatus *st = in->s->status;
    int old = (int)row->status->phase;
    if (old == PHASE(DELETING) || old == PHASE(ERROR) || !st || is_of_earlier_run(row, st))
        return SANDBOX_KEEP;
    int backend = sandbox_backend_phase(st);
    /* Asked under the sync lock: a session that registers later writes READY after us. */
    bool session = sessions_connected(in->gw->sessions, in->s->id);
    if (in->gw->settling && old == PHASE(READY))
        session = true; /* just started: its supervisor is on the way back */
    int next = composed_phase(old, backend, sandbox_backend_stopped(st), session);
    copy_driver_fields(row, st, a);
    row->status->phase = next;
    in->stopped = next == PHASE(STOPPED) && old != next;
    bool exited = row->status->_exit_code_case == OPENSHELL__V1__SANDBOX_STATUS___EXIT_CODE_EXIT_CODE;
    if (next == PHASE(STOPPED) && exited)
        sandbox_set_ready(row, a, "False", "MainProcessExited", "Canonical main process exited");
    else if (next == PHASE(STOPPED))
        sandbox_set_ready(row, a, "False", "Stopped", "Sandbox compute is stopped");
    else if (next == PHASE(READY))
        sandbox_set_ready(row, a, "True", "DependenciesReady", "Supervisor session connected");
    else if (backend == PHASE(READY) && next == PHASE(PROVISIONING))
        sandbox_set_ready(row, a, "False", "SupervisorNotConnected",
                          "Backend ready; waiting for supervisor session");
    return SANDBOX_WRITE;
}

void sandbox_apply_snapshot(struct gateway *gw, const driver_sandbox *s)
{
    cleanup_error struct os_error err = {0};
    struct snapshot ctx = {.gw = gw, .s = s};
    if (sandbox_change(gw, s->id, "apply driver snapshot", on_snapshot, &ctx, &err) < 0 &&
        err.code != OS_NOT_FOUND)
        os_log_warn("sandbox", "%s: %s", s->id, os_error_text(&err));
    else if (ctx.stopped)
        sandbox_end_sessions(gw, s->id);
}
