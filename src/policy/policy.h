/* The policy document: YAML <-> protobuf, validation, hash. The model is the generated protobuf-c message
 * itself; there is no second in-memory form. Used alike by CLI, gateway and supervisor. No I/O. */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include <stdbool.h>

#include "core/arena.h"
#include "core/buf.h"
#include "core/error.h"
#include "core/str.h"
#include "sandbox.pb-c.h"

typedef Openshell__Sandbox__V1__SandboxPolicy policy_doc;
typedef Openshell__Sandbox__V1__NetworkPolicyRule policy_rule;
typedef Openshell__Sandbox__V1__NetworkEndpoint policy_endpoint_doc;

/* Parses one YAML document (spec/policy.md 1). Every allocation is in the arena. Strict: unknown keys, wrong
 * scalar types, duplicate keys, anchors/aliases and tags are errors. Error text starts with
 * "failed to parse sandbox policy YAML: " and names line and column (1-based). NULL on error. */
policy_doc *policy_yaml_parse(struct os_arena *arena, const char *text, size_t n, struct os_error *err);
/* The same for the data file of a supervisor that takes its policy from files (spec/policy.md 1.1, 7.4):
 * unknown keys are left out, but not inside mcp, json_rpc and network_middlewares; version may be missing; a
 * matcher may be {glob: x}. Error text starts with "failed to parse policy data: ". */
policy_doc *policy_yaml_parse_data(struct os_arena *arena, const char *text, size_t n, struct os_error *err);
/* Normalised YAML (spec/policy.md 1.7) appended to out. */
void policy_yaml_print(const policy_doc *doc, struct os_buf *out);
/* The same value as a jansson object, for `-o json`; new reference. */
struct json_t;
struct json_t *policy_to_json(const policy_doc *doc);

/* Gateway rule set (spec/policy.md 2.1, 2.2, shared L7 reasons). Appends one text per violation. */
void policy_validate(const policy_doc *doc, struct os_strv *violations);
/* Rules that a running supervisor adds (2.3). Appends one text per violation. */
void policy_validate_runtime(const policy_doc *doc, struct os_strv *violations);
/* "policy contains unsafe content: a; b" as OS_INVALID_ARGUMENT when policy_validate finds anything. */
int policy_check(const policy_doc *doc, struct os_error *err);
/* Endpoints that overlap with contradicting settings (spec/policy.md 6): one text per pair, rules by key. */
void policy_ambiguities(const policy_doc *doc, struct os_strv *lines);
/* The same as OS_FAILED_PRECONDITION "network endpoint ambiguity validation failed:\n<texts>". */
int policy_check_ambiguity(const policy_doc *doc, struct os_error *err);
/* Cuts what providers contributed to an effective policy. */
void policy_drop_provider_rules(policy_doc *doc);
/* Keys that only the gateway itself may use; OS_INVALID_ARGUMENT. */
int policy_check_reserved(const policy_doc *doc, struct os_error *err);
/* What is well-formed, but nothing in these programs would do: refused, never silently dropped (DESIGN 12);
 * OS_FAILED_PRECONDITION. */
int policy_check_built(const policy_doc *doc, struct os_error *err);
/* Static sections against the policy the sandbox was created with (spec/policy.md 8.2). created may be NULL.
 */
int policy_check_static(const policy_doc *created, const policy_doc *update, struct os_error *err);
/* Lower-case hex SHA-256 (spec/policy.md 8.3); out takes 65 bytes. Returns out. */
const char *policy_hash(const policy_doc *doc, char out[65]);
/* Restrictive default (spec/policy.md 8.1), in the arena. */
policy_doc *policy_default(struct os_arena *arena);
/* Deep copy into the arena. */
policy_doc *policy_copy(struct os_arena *arena, const policy_doc *doc);
/* Adds baseline paths (spec/supervisor.md 2.2) that `exists` confirms, when doc has network policies, and GPU
 * paths when a GPU is there; true when doc changed. */
bool policy_enrich(struct os_arena *arena, policy_doc *doc, bool (*exists)(const char *path));

#endif
