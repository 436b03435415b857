/* What moves a sandbox between running, stopped and gone (spec/gateway.md 4.5, 4.6, 5.3 - 5.5): requests of
 * users, recovery when the driver fails, and what a restarted gateway picks up again. Each function takes the
 * sandbox's gate; worker threads. */
#ifndef GATEWAY_LIFECYCLE_H
#define GATEWAY_LIFECYCLE_H

#include "gateway/sandbox.h"

/* The row afterwards, in the arena; NULL with the published status. A sandbox in Error may be stopped and
 * started too: what is in it must not be lost. */
sandbox_row *lifecycle_stop(struct gateway *gw, const char *id, struct os_arena *a, struct os_error *err);
sandbox_row *lifecycle_start(struct gateway *gw, const char *id, struct os_arena *a, struct os_error *err);
/* *deleted = false: the driver had nothing of it. */
int lifecycle_delete(struct gateway *gw, const sandbox_row *row, bool *deleted, struct os_error *err);

/* At start and now and then: every stored sandbox is matched with what the driver has; what a killed gateway
 * left half done is finished. */
void lifecycle_reconcile(struct gateway *gw);

#endif
