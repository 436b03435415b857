/* Pieces of policy validation that share predicates. Private to src/policy. */
#ifndef POLICY_VALIDATE_H
#define POLICY_VALIDATE_H

#include "policy/engine.h"
#include "policy/model.h"

/* Known protocol, any letter case; false for an unknown name. */
bool policy_protocol_parse(const char *name, enum policy_protocol *out);
/* As the document spells it; "" for plain connections. */
const char *policy_protocol_name(enum policy_protocol p);
/* Reasons of spec/policy.md 2.2 "L7 reasons", in their order. */
void policy_l7_reasons(const policy_endpoint_doc *ep, struct os_strv *reasons);
/* The rule set's clauses all lack content. fields_count: fields and parameters other than the tool count. */
bool policy_rules_all_empty(const policy_endpoint_doc *ep, bool fields_count);
/* A rule that speaks of GraphQL operations. */
bool policy_clause_is_graphql(const policy_clause *c);
/* A websocket endpoint whose client messages are GraphQL operations (spec/policy.md 5.6). */
bool policy_websocket_graphql(const policy_endpoint_doc *ep);
/* Specificity of an endpoint path: its characters other than '*'. */
unsigned policy_path_weight(const char *path);
/* Methods, or operation types for graphql, that an access preset stands for (spec/policy.md 5.5): static, *n
 * of them; NULL when there is no such preset. */
const char *const *policy_access_words(enum policy_protocol p, const char *access, size_t *n);
/* How many labels a host name has. */
size_t policy_host_labels(const char *host);
/* Host selector of a middleware; NULL when good, else the message. */
char *policy_host_pattern_error(const char *pattern);
void policy_validate_middlewares(const policy_doc *doc, struct os_strv *out);
/* NULL when the entry is usable, else the published message (caller frees). */
char *policy_allowed_ip_error(const char *entry);
/* CIDR or single address; false when it is neither. */
bool policy_cidr_parse(const char *text, struct policy_cidr *out);
/* The first `bits` bits of two addresses are the same. */
bool policy_cidr_same_prefix(const uint8_t *a, const uint8_t *b, size_t bits);
/* Overlaps loopback, link-local or unspecified ranges, mapped forms included. */
bool policy_cidr_blocked(const struct policy_cidr *c);

#endif
