/* Everything that can be said about a policy without a gateway: what would be refused, and what is accepted
 * but hardly meant. Pure. */
#ifndef POLICY_LINT_H
#define POLICY_LINT_H

#include "policy/policy.h"

enum policy_severity { POLICY_LINT_ERROR, POLICY_LINT_WARNING };

struct policy_finding {
    enum policy_severity severity;
    const char *check; /* a stable word for it: "audit-by-default" */
    const char *where; /* "network_policies.api.endpoints[0]"; "" for errors, whose text names the place */
    const char *text;
};

struct policy_findings {
    struct policy_finding *v; /* errors first, then in document order */
    size_t n;
    size_t errors;
};

/* Errors are what gateway or supervisor refuse; warnings what they accept (the list: docs/guide/policies.md).
 * In the arena. */
void policy_lint(struct os_arena *arena, const policy_doc *doc, struct policy_findings *out);

#endif
