/* Request-target canonicalisation and query parsing (spec/policy.md 5.2, spec/proxy.md 3.4). What rules see
 * is what is sent upstream. No I/O; fuzzed. */
#ifndef POLICY_TARGET_H
#define POLICY_TARGET_H

#include <stdbool.h>

#include "core/arena.h"
#include "core/error.h"
#include "policy/engine.h"

struct policy_target {
    char *path;        /* canonical path */
    const char *query; /* raw text behind '?', NULL when there is none */
    bool has_encoded_slash;
};

/* target: origin-form or absolute-form, n bytes. On error OS_INVALID_ARGUMENT with the exact text of the
 * table in spec/proxy.md 3.4. Allocates in the arena. */
int policy_target_parse(struct os_arena *arena, const char *target, size_t n, bool allow_encoded_slash,
                        struct policy_target *out, struct os_error *err);
/* Decodes a raw query (may be NULL) into pairs. Strict: bad escape or invalid UTF-8 is an error. */
int policy_query_parse(struct os_arena *arena, const char *query, const struct policy_query_pair **pairs,
                       size_t *n, struct os_error *err);

#endif
