/* Which policy is in force: from configurations of the gateway to the published engine, with its answer to
 * policies that cannot be compiled (spec/supervisor.md 13). Loop thread only. */
#ifndef SUPERVISOR_ENFORCEMENT_H
#define SUPERVISOR_ENFORCEMENT_H

#include <stdbool.h>

#include "core/arena.h"
#include "policy/engine.h"
#include "sandbox.pb-c.h"
#include "supervisor/audit/audit.h"

struct enforcement;

/* Acknowledges a revision to the gateway; error is NULL when it was loaded. */
typedef void enforcement_report_fn(void *ctx, uint32_t version, bool loaded, const char *error);

/* direct_tcp: the agent's network has the name server and the capture that protocol: tcp needs; without them
 * policies with such endpoints are refused (spec/policy.md 8.4). */
struct enforcement *enforcement_new(struct audit *audit, bool binary_identity, bool direct_tcp,
                                    enforcement_report_fn *report, void *ctx);
/* The first configuration: the engine is published, at worst as a quarantine that denies everything. Returns
 * the document whose static sections hold for the life of the sandbox, in the arena. */
policy_doc *enforcement_begin(struct enforcement *e,
                              const Openshell__Sandbox__V1__GetSandboxConfigResponse *config,
                              struct os_arena *arena);
/* A later configuration; only network policy changes. */
void enforcement_update(struct enforcement *e,
                        const Openshell__Sandbox__V1__GetSandboxConfigResponse *config);
/* What the sandbox brought along, for a gateway that has no policy for it; in the arena. */
policy_doc *enforcement_own_policy(struct enforcement *e, struct os_arena *arena);
/* The services that the policies of later configurations use; takes the reference, NULL = none. When they are
 * others than before, the next update is published even if its policy is the same. */
struct middleware_registry;
void enforcement_set_services(struct enforcement *e, struct middleware_registry *registry);
/* The policy is this data file and stays so, whatever the gateway sends; its revisions are reported as not
 * loaded. -1: the file is no policy that can be enforced. Before the first configuration, after
 * enforcement_use_rules. */
int enforcement_use_file(struct enforcement *e, const char *text, size_t n, struct os_error *err);
/* What tells the agent about the policy in force. Before the first configuration. */
struct summary;
void enforcement_use_summary(struct enforcement *e, struct summary *summary);
/* Rules that see every policy before it is published. Before the first configuration. */
struct rules;
void enforcement_use_rules(struct enforcement *e, struct rules *rules);
struct policy_slot *enforcement_slot(struct enforcement *e);

#endif
