/* Checks of a policy that came in a request, shared by create and update. */
#ifndef GATEWAY_RPC_POLICY_CHECK_H
#define GATEWAY_RPC_POLICY_CHECK_H

#include "core/error.h"
#include "policy/policy.h"

/* Clears gateway-owned markers, refuses reserved keys and unsafe content (spec/gateway.md 4.2 step 8). */
int policy_check_request(policy_doc *doc, struct os_error *err);
/* The same for a policy that was given whole: its middlewares are known and take their configuration. Asks
 * the services, so not under a lock. */
struct gateway;
int policy_check_whole(const struct gateway *gw, policy_doc *doc, struct os_error *err);

#endif
