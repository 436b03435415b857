/* Pieces of the merge. Messages are shared, never written to: a change makes a shallow copy with new lists.
 * Private to src/policy. */
#ifndef POLICY_MERGE_PRIV_H
#define POLICY_MERGE_PRIV_H

#include "policy/merge.h"
#include "policy/model.h"

typedef Openshell__Sandbox__V1__L7Rule policy_allow_doc;
typedef Openshell__Sandbox__V1__NetworkBinary policy_binary_doc;
typedef Openshell__Sandbox__V1__SandboxPolicy__NetworkPoliciesEntry policy_rule_entry;

struct merge {
    struct os_arena *arena;
    policy_doc *doc; /* the private copy */
    struct os_strv *warnings;
    struct os_error *err;
    size_t index; /* of the operation, for messages */
};

/* --- merge_endpoint.c --- */

/* A copy with sorted unique ports and lists without duplicates; both port fields are set. */
policy_endpoint_doc *merge_endpoint_normal(struct os_arena *arena, const policy_endpoint_doc *from);
bool merge_endpoint_has_port(const policy_endpoint_doc *ep, uint32_t port);
/* Same host and path and a common port, which goes to *port. */
bool merge_endpoints_overlap(const policy_endpoint_doc *a, const policy_endpoint_doc *b, uint32_t *port);
/* `into` with everything the incoming endpoint brings; *changed says whether it grants or handles anything
 * differently on the ports it had. NULL with m->err. */
policy_endpoint_doc *merge_endpoint(struct merge *m, const policy_endpoint_doc *into,
                                    const policy_endpoint_doc *incoming, uint32_t port, bool *changed);
/* A copy whose access preset is spelled out as rules; the same endpoint when it has none. NULL with m->err.
 */
policy_endpoint_doc *merge_expand_access(struct merge *m, const policy_endpoint_doc *ep, uint32_t port);
/* Appends what is not there yet; true when anything was. */
bool merge_append_allow(struct os_arena *arena, policy_endpoint_doc *ep, policy_allow_doc *const *list,
                        size_t n);
bool merge_append_deny(struct os_arena *arena, policy_endpoint_doc *ep, policy_deny_doc *const *list,
                       size_t n);
void merge_set_ports(struct os_arena *arena, policy_endpoint_doc *ep, const uint32_t *a, size_t na,
                     const uint32_t *b, size_t nb);

/* --- merge_contract.c: a host and port has one MCP contract or none --- */

/* "mcp(...)" or "non-mcp(...)", in the arena. */
const char *merge_contract_text(struct os_arena *arena, const policy_endpoint_doc *ep);
bool merge_is_mcp(const policy_endpoint_doc *ep);
/* Says nothing about its inspection at all. */
bool merge_no_contract(const policy_endpoint_doc *ep);
bool merge_same_contract(const policy_endpoint_doc *a, const policy_endpoint_doc *b);
/* Conflicts that base did not have already. */
int merge_check_contracts(const policy_doc *base, const policy_doc *doc, struct os_error *err);

/* --- merge_rule.c --- */

int merge_add_rule(struct merge *m, const Openshell__V1__AddNetworkRule *op);

/* --- coverage.c --- */

bool policy_clause_equal(const policy_clause *a, const policy_clause *b);
/* The operation's endpoint says all there is about this endpoint (9.5 "declares"); ports are not compared. */
bool policy_endpoint_declares(const policy_endpoint_doc *op, const policy_endpoint_doc *ep);

/* --- merge.c --- */

policy_rule_entry *merge_find_rule(const policy_doc *doc, const char *key);
/* Puts the rule under its key, replacing what was there. */
void merge_put_rule(struct merge *m, const char *key, policy_rule *rule);

#endif
