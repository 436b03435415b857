/* What rules in Rego are asked (spec/policy.md 7.2). Any thread. */
#ifndef POLICY_INPUT_H
#define POLICY_INPUT_H

#include "policy/engine.h"

/* {"network": ..., "exec": ...}; new reference. */
struct json_t *policy_input(const char *host, uint16_t port, const struct policy_process *who);
/* Array of "request" objects, all of which have to be allowed: one, or one per call of a JSON-RPC batch,
 * responses first; new reference. */
struct json_t *policy_input_requests(const struct policy_http *req);

#endif
