/* The policy as rules in Rego see it. Any thread. */
#ifndef POLICY_DATA_H
#define POLICY_DATA_H

#include "policy/engine.h"

/* The data document of spec/policy.md 7.3 as a jansson object, defaults and presets spelled out; new
 * reference. Of opt: binary_identity and resolve. The document says the same as policy_compile() of the same
 * arguments. */
struct json_t *policy_data(const policy_doc *doc, const struct policy_compile_options *opt);

#endif
