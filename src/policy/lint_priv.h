/* Private to the lint: how a check reports. */
#ifndef POLICY_LINT_PRIV_H
#define POLICY_LINT_PRIV_H

#include <string.h>

#include "policy/lint.h"
#include "policy/model.h"
#include "policy/validate.h"

struct lint {
    struct os_arena *arena;
    struct policy_findings *out;
    const policy_doc *doc;
    /* where we are */
    const char *key;
    size_t endpoint;
    enum policy_protocol protocol;
};

/* A warning about the rule, about its endpoint, or about one of its clauses ("rules" or "deny_rules"). */
void lint_rule(struct lint *l, const char *check, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void lint_endpoint(struct lint *l, const char *check, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void lint_clause(struct lint *l, const char *list, size_t i, const char *check, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* A pattern of a path that begins with a letter or the like, where paths of requests have their '/'. */
static inline bool policy_path_never_matches(const char *path)
{
    return *path && !strchr("/*?[{\\", *path);
}

/* lint_rules.c: clauses that can never decide anything. */
void lint_clauses(struct lint *l, const policy_endpoint_doc *ep);

/* lint_neighbours.c: other endpoints that let through what this one looks into. */
void lint_neighbours(struct lint *l, const policy_endpoint_doc *ep);

#endif
