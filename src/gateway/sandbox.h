/* Sandbox rows: load, change under compare-and-swap, and the state machine of spec/gateway.md 5. Worker
 * threads (the store blocks). Messages live in the caller's arena. */
#ifndef GATEWAY_SANDBOX_H
#define GATEWAY_SANDBOX_H

#include "core/arena.h"
#include "core/error.h"
#include "gateway/gateway.h"
#include "openshell.pb-c.h"

typedef Openshell__V1__Sandbox sandbox_row;

/* OS_NOT_FOUND "sandbox not found". resource_version in the message is that of the row. */
sandbox_row *sandbox_load(struct gateway *gw, const char *id, struct os_arena *a, struct os_error *err);
sandbox_row *sandbox_load_named(struct gateway *gw, const char *workspace, const char *name,
                                struct os_arena *a, struct os_error *err);
sandbox_row *sandbox_unpack(const struct store_object *o, struct os_arena *a, struct os_error *err);

/* What a change function says. */
enum sandbox_change { SANDBOX_KEEP, SANDBOX_WRITE };
typedef enum sandbox_change sandbox_change_fn(void *ctx, sandbox_row *row, struct os_arena *a);

/* Loads, applies fn, writes back when asked, notifies watchers. Serialised by the sync lock; a lost race is
 * retried up to 3 times. `operation` names the write in the ABORTED text. */
int sandbox_change(struct gateway *gw, const char *id, const char *operation, sandbox_change_fn *fn,
                   void *ctx, struct os_error *err);

/* Replaces the Ready condition. */
void sandbox_set_ready(sandbox_row *row, struct os_arena *a, const char *status, const char *reason,
                       const char *message);
const char *sandbox_phase_name(int phase);
/* What connects to a sandbox ends: it has stopped or is gone. */
void sandbox_end_sessions(struct gateway *gw, const char *id);
/* Owned records, row, logs, watches and the live session. */
int sandbox_remove(struct gateway *gw, const sandbox_row *row, struct os_error *err);

/* --- events that move the phase --- */

/* What a supervisor says of itself when it connects. */
struct sandbox_supervisor {
    const char *instance_id;
    const char *enforcement; /* what its self-test found; NULL = it made none */
    bool complete;           /* everything the policy asks for is in force */
};
int sandbox_session_connected(struct gateway *gw, const char *id, const struct sandbox_supervisor *supervisor,
                              struct os_error *err);
void sandbox_session_lost(struct gateway *gw, const char *id);
/* Merges a driver snapshot (spec/drivers.md 1.4). */
void sandbox_apply_snapshot(struct gateway *gw, const driver_sandbox *snapshot);
/* What a driver's status means by itself (spec/drivers.md 1.4), and whether it confirms a stop. */
int sandbox_backend_phase(const Openshell__Compute__V1__DriverSandboxStatus *st);
bool sandbox_backend_stopped(const Openshell__Compute__V1__DriverSandboxStatus *st);

#endif
