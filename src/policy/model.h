/* Small helpers over the generated policy messages. Private to src/policy. Allow and deny rules have the same
 * fields in the same order, so code that only reads or fills fields sees both as policy_clause. */
#ifndef POLICY_MODEL_H
#define POLICY_MODEL_H

#include <stddef.h>

#include "core/arena.h"
#include "policy/policy.h"
#include "struct.pb-c.h"

typedef Openshell__Sandbox__V1__L7Allow policy_clause;
typedef Openshell__Sandbox__V1__L7DenyRule policy_deny_doc;
typedef Openshell__Sandbox__V1__L7QueryMatcher policy_matcher;
typedef Openshell__Sandbox__V1__NetworkMiddlewareConfig policy_middleware;
typedef Openshell__Sandbox__V1__GraphqlOperation policy_graphql;
typedef Openshell__Sandbox__V1__FilesystemPolicy policy_filesystem;

/* What every generated map entry looks like. */
struct policy_map_entry {
    ProtobufCMessage base;
    char *key;
    ProtobufCMessage *value;
};

_Static_assert(offsetof(policy_clause, params) == offsetof(policy_deny_doc, params) &&
                   offsetof(policy_clause, fields) == offsetof(policy_deny_doc, fields) &&
                   offsetof(policy_clause, query) == offsetof(policy_deny_doc, query) &&
                   sizeof(policy_clause) == sizeof(policy_deny_doc),
               "allow and deny rules differ in layout");
_Static_assert(offsetof(Openshell__Sandbox__V1__L7Allow__QueryEntry, value) ==
                       offsetof(struct policy_map_entry, value) &&
                   offsetof(Openshell__Sandbox__V1__SandboxPolicy__NetworkPoliciesEntry, value) ==
                       offsetof(struct policy_map_entry, value),
               "map entries differ in layout");

/* Text of an optional string field, never NULL. */
static inline const char *policy_text(const char *s)
{
    return s ? s : "";
}

static inline const policy_clause *policy_deny_clause(const policy_deny_doc *d)
{
    return (const policy_clause *)(const void *)d;
}

/* A new message of the given type with defaults, in the arena. */
void *policy_message_new(struct os_arena *arena, const ProtobufCMessageDescriptor *type);
/* Entries of a map field sorted by key, in the arena. */
struct policy_map_entry **policy_map_sorted(struct os_arena *arena, const void *entries, size_t n);
/* The map entry with this key; NULL when absent. */
const struct policy_map_entry *policy_map_find(const void *entries, size_t n, const char *key);
/* Display name of a rule: its name, else the key. */
const char *policy_rule_name(const char *key, const policy_rule *rule);
/* The key of a rule that the gateway composes from a provider; users may not take such a name. */
bool policy_provider_key(const char *key);
bool policy_endpoint_allows_all_mcp(const policy_endpoint_doc *ep);
/* Ports of an endpoint: ports, else the single port; count in *n (0 when none is declared). */
const uint32_t *policy_endpoint_ports(const policy_endpoint_doc *ep, size_t *n);
/* Lower case, without brackets and root dot: the form in which requests name their host. */
char *policy_normal_host(struct os_arena *arena, const char *host);
/* path is dir or lies below it, as the names are written (links are not followed). */
bool policy_path_inside(const char *path, const char *dir);
/* Deprecated as a key of the file, but on the wire it marks what the policy advisor proposed. */
bool policy_binary_advisor(const Openshell__Sandbox__V1__NetworkBinary *b);

#endif
