/* Whether host and path patterns of endpoints have a common match (spec/policy.md 6): what cannot be told
 * counts as one. */
#ifndef POLICY_OVERLAP_H
#define POLICY_OVERLAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"

struct overlap_host {
    char *name; /* lower case; "" = any */
    size_t n;
    bool wild;             /* has a '*' */
    size_t prefix, suffix; /* bytes at its ends that stand for themselves */
};

/* Copies the name into the arena. */
void overlap_host_init(struct overlap_host *h, struct os_arena *arena, const char *host);
/* True when a look at their ends shows that they have no common match. */
bool overlap_hosts_apart(const struct overlap_host *a, const struct overlap_host *b);
/* steps grows by what it costs, about a nanosecond each. */
bool overlap_hosts(const struct overlap_host *a, const struct overlap_host *b, uint64_t *steps);
bool overlap_paths(const char *a, const char *b, uint64_t *steps);

#endif
