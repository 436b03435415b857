/* The configuration a supervisor runs under (spec/gateway.md 6.3): built from the store, the same for
 * GetSandboxConfig and for pushes. Worker threads. */
#ifndef GATEWAY_CONFIG_H
#define GATEWAY_CONFIG_H

#include "gateway/sandbox.h"
#include "store.pb-c.h"

typedef Openshell__Store__V1__PolicyRevisionPayload policy_revision;

/* Builds the reply for a sandbox row; persists the create-time policy as revision 1 on first use. */
Openshell__Sandbox__V1__GetSandboxConfigResponse *config_build(struct gateway *gw, const sandbox_row *row,
                                                               struct os_arena *a, struct os_error *err);
/* Revisions of the policy of all sandboxes are kept under this in place of a sandbox id. */
#define CONFIG_GLOBAL_SCOPE "__global__"

/* Latest revision (version 0) or one of them; NULL with OS_NOT_FOUND. *o receives the row (may be NULL). */
policy_revision *config_revision(struct gateway *gw, const char *scope, uint32_t version, struct os_arena *a,
                                 struct store_object *o, struct os_error *err);
/* Sends the configuration in force to the connected supervisor. */
void config_push(struct gateway *gw, const sandbox_row *row);
/* The same to every connected supervisor. */
void config_push_all(struct gateway *gw);

#endif
