/* SSH sessions: short-lived tokens that open connections into one sandbox (spec/gateway.md 4.10). The store
 * keeps only their hashes. Worker threads. */
#ifndef GATEWAY_SSH_SESSION_H
#define GATEWAY_SSH_SESSION_H

#include <stdbool.h>

#include "core/id.h"
#include "gateway/gateway.h"

#define SSH_SESSION_ID_LEN 65 /* hash of a token as text */

/* A new token for the sandbox; expires_at_ms 0 = never. */
int ssh_session_create(struct gateway *gw, const char *sandbox_id, const char *workspace,
                       char token[OS_UUID_LEN], int64_t *expires_at_ms, struct os_error *err);
/* OS_UNAUTHENTICATED with the published text unless the token is good for this sandbox now. `id` names the
 * session without giving the token away. */
int ssh_session_check(struct gateway *gw, const char *token, const char *sandbox_id,
                      char id[SSH_SESSION_ID_LEN], struct os_error *err);
/* *revoked false: unknown token. Open connections stay. */
int ssh_session_revoke(struct gateway *gw, const char *token, bool *revoked, struct os_error *err);
/* Deletes every session that is revoked or expired, and those of `sandbox_id` whatever their state. NULL =
 * of no sandbox in particular. Failures are logged. */
void ssh_sessions_reap(struct gateway *gw, const char *sandbox_id);

#endif
