/* Sandbox rows: load, change, remove. When a phase changes: phase.c. */
#include "gateway/sandbox.h"

#include <stdio.h>

#include "core/str.h"
#include "gateway/logbus.h"
#include "gateway/session/sessions.h"
#include "gateway/ssh_session.h"
#include "gateway/watch.h"
#include "rpc/pb.h"

#define CHANGE_TRIES 3

sandbox_row *sandbox_unpack(const struct store_object *o, struct os_arena *a, struct os_error *err)
{
    sandbox_row *row =
        (sandbox_row *)rpc_unpack(a, &openshell__v1__sandbox__descriptor, o->payload, o->payload_len);
    if (!row || !row->metadata) {
        os_error_set(err, OS_DATA_LOSS, "the stored record of sandbox %s cannot be read", o->id);
        return NULL;
    }
    if (!row->status)
        row->status = pb_new(a, openshell__v1__sandbox_status);
    row->metadata->resource_version = o->resource_version;
    return row;
}

static int not_found(struct os_error *err)
{
    if (err->code == OS_NOT_FOUND)
        return os_error_set(err, OS_NOT_FOUND, "sandbox not found");
    return os_error_wrap(err, "fetch sandbox failed");
}

sandbox_row *sandbox_load(struct gateway *gw, const char *id, struct os_arena *a, struct os_error *err)
{
    struct store_object o;
    if (store_get(gw->store, STORE_SANDBOX, id, a, &o, err) < 0) {
        not_found(err);
        return NULL;
    }
    return sandbox_unpack(&o, a, err);
}

sandbox_row *sandbox_load_named(struct gateway *gw, const char *workspace, const char *name,
                                struct os_arena *a, struct os_error *err)
{
    struct store_object o;
    if (store_get_named(gw->store, STORE_SANDBOX, workspace, name, a, &o, err) < 0) {
        not_found(err);
        return NULL;
    }
    return sandbox_unpack(&o, a, err);
}

static int change_once(struct gateway *gw, const char *id, sandbox_change_fn *fn, void *ctx,
                       struct os_error *err)
{
    cleanup_arena struct os_arena a = {0};
    sandbox_row *row = sandbox_load(gw, id, &a, err);
    if (!row)
        return -1;
    if (fn(ctx, row, &a) == SANDBOX_KEEP)
        return 0;
    size_t n;
    uint8_t *data = pb_pack(&a, &row->base, &n);
    return store_update(gw->store, STORE_SANDBOX, id, row->metadata->resource_version, data, n, NULL, err) < 0
               ? -1
               : 1;
}

int sandbox_change(struct gateway *gw, const char *id, const char *operation, sandbox_change_fn *fn,
                   void *ctx, struct os_error *err)
{
    int rc = -1;
    pthread_mutex_lock(&gw->sync);
    for (int i = 0; i < CHANGE_TRIES && rc < 0; i++) {
        os_error_clear(err);
        rc = change_once(gw, id, fn, ctx, err);
        if (rc < 0 && err->code != OS_ABORTED)
            break;
    }
    pthread_mutex_unlock(&gw->sync);
    if (rc > 0)
        watches_status(gw->watches, id);
    if (rc < 0 && err->code == OS_ABORTED) {
        char current[32];
        snprintf(current, sizeof(current), "%s", os_error_text(err));
        return os_error_set(err, OS_ABORTED,
                            "%s failed due to concurrent modification (current resource_version: %s)",
                            operation, current);
    }
    return rc < 0 ? -1 : 0;
}

void sandbox_end_sessions(struct gateway *gw, const char *id)
{
    sessions_close(gw->sessions, id);
    ssh_sessions_reap(gw, id);
}

int sandbox_remove(struct gateway *gw, const sandbox_row *row, struct os_error *err)
{
    const char *id = row->metadata->id;
    pthread_mutex_lock(&gw->sync); /* a policy revision that is just being added goes too, or is refused */
    int rc = store_remove_sandbox(gw->store, id, row->metadata->workspace, row->metadata->name, err);
    pthread_mutex_unlock(&gw->sync);
    if (rc < 0)
        return -1;
    sandbox_end_sessions(gw, id);
    watches_status(gw->watches, id);
    logbus_drop(gw->logs, id);
    return 0;
}
