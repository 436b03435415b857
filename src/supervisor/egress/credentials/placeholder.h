/* Credential placeholders in texts that are shown or judged (spec/proxy.md 9.1, 9.3): what stands for a
 * credential is named, never repeated. Pure. */
#ifndef SUPERVISOR_EGRESS_PLACEHOLDER_H
#define SUPERVISOR_EGRESS_PLACEHOLDER_H

#include <stdbool.h>
#include <stddef.h>

#include "core/arena.h"

#define PLACEHOLDER_SHOWN "[CREDENTIAL]"

struct placeholder {
    size_t from, n; /* the whole of it: an alias with its prefix */
    bool malformed; /* a marker without a key, or an alias without a prefix; n covers what is there */
};

/* The first placeholder at or behind `at` in a text that is not percent-encoded any more. False when there
 * is none. */
bool placeholder_find(const char *p, size_t n, size_t at, struct placeholder *out);

/* The text with every placeholder replaced by PLACEHOLDER_SHOWN; the text itself when there is none, else a
 * copy in the arena. *malformed (may be NULL) is set when one is malformed, and left alone otherwise. */
const char *placeholder_redact(struct os_arena *arena, const char *text, bool *malformed);

#endif
