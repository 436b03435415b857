/* Incremental policy updates (spec/policy.md 9): operations applied to a document, all or none, and the
 * question whether a policy already covers a rule. Used alike by gateway and CLI. Pure and deterministic. */
#ifndef POLICY_MERGE_H
#define POLICY_MERGE_H

#include "openshell.pb-c.h"
#include "policy/policy.h"

typedef Openshell__V1__PolicyMergeOperation policy_merge_op;

/* What a request must bring along before anything is looked at: required fields, reserved names, hosts and
 * addresses that no policy can open (9.2, 9.4). OS_INVALID_ARGUMENT. */
int policy_merge_check(policy_merge_op *const *ops, size_t n, struct os_error *err);

/* The document after all operations, in order; NULL with *err when one of them fails. base may be NULL (empty
 * policy) and is not changed; the result shares memory with base, the operations and the arena. Appends the
 * warnings of 9.5. The result is not validated. */
policy_doc *policy_merge(struct os_arena *arena, const policy_doc *base, policy_merge_op *const *ops,
                         size_t n, struct os_strv *warnings, struct os_error *err);

/* One line that says what an operation does, for logs; in the arena. */
const char *policy_merge_summary(struct os_arena *arena, const policy_merge_op *op);

/* "allow_<host>_<port>", the name of a rule that nobody named; in the arena. */
char *policy_merge_rule_name(struct os_arena *arena, const char *host, uint32_t port);

/* True when every (binary, endpoint port) pair of the proposal is granted by some rule of the document (9.5).
 * Fields that the proposal leaves out match any value; a proposal without endpoints is not covered. */
bool policy_covers(const policy_doc *doc, const policy_rule *proposal);

#endif
