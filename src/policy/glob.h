/* The published pattern functions (spec/policy.md 3): G for the evaluator, P for endpoint paths. */
#ifndef POLICY_GLOB_H
#define POLICY_GLOB_H

#include <stdbool.h>

/* G(pattern, delimiter, value): 1 match, 0 no match, -1 syntactically bad pattern or NUL (evaluation error).
 * Allocates nothing; time is bounded by |pattern| * |value| steps. */
int policy_glob(const char *pattern, char delimiter, const char *value);
/* NULL when the pattern is good, else what is wrong with it (static text). */
const char *policy_glob_check(const char *pattern);
/* P(pattern, path). */
bool policy_path_selects(const char *pattern, const char *path);

#endif
