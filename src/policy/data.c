/* Policy message -> data document of the evaluation contract (spec/policy.md 7.3): what rules in Rego see.
 * Everything is spelled out there: one list of ports, presets as rules, flat protocol options. */
#include "policy/data.h"

#include "core/str.h"
#include "policy/json_put.h"
#include "policy/validate.h"

/* --- rules --- */

static json_t *matcher_object(const ProtobufCMessage *value)
{
    const policy_matcher *m = (const void *)value;
    json_t *o = json_object();
    if (m && m->n_any)
        json_object_set_new(o, "any", texts(m->any, m->n_any));
    else
        json_object_set_new(o, "glob", text(m ? m->glob : ""));
    return o;
}

/* A rule without a method: the tool's, or all of them. */
static const char *method_of(const policy_clause *c, enum policy_protocol p)
{
    const char *method = policy_text(c->method);
    if (*method || p != POLICY_MCP)
        return method;
    return policy_map_find(c->params, c->n_params, "name") ? "tools/call" : "*";
}

static void put_lists(json_t *o, const policy_clause *c)
{
    put_filled(o, "query", map(c->query, c->n_query, matcher_object));
    put_filled(o, "fields", texts(c->fields, c->n_fields));
    put_filled(o, "params", map(c->params, c->n_params, matcher_object));
}

static json_t *allow_rule(const policy_clause *c, enum policy_protocol p)
{
    json_t *allow = json_object();
    json_object_set_new(allow, "method", text(method_of(c, p)));
    json_object_set_new(allow, "path", text(c->path));
    json_object_set_new(allow, "command", text(c->command));
    json_object_set_new(allow, "operation_type", text(c->operation_type));
    json_object_set_new(allow, "operation_name", text(c->operation_name));
    put_lists(allow, c);
    json_t *rule = json_object();
    json_object_set_new(rule, "allow", allow);
    return rule;
}

static json_t *deny_rule(const policy_clause *c, enum policy_protocol p)
{
    json_t *deny = json_object();
    put_text(deny, "method", method_of(c, p));
    put_text(deny, "path", c->path);
    put_text(deny, "command", c->command);
    put_text(deny, "operation_type", c->operation_type);
    put_text(deny, "operation_name", c->operation_name);
    put_lists(deny, c);
    return deny;
}

static void append_preset(json_t *rules, enum policy_protocol p, const char *access)
{
    size_t n;
    const char *const *words = policy_access_words(p, access, &n);
    for (size_t i = 0; i < n; i++) {
        const policy_clause rule = {
            .method = (char *)(p == POLICY_GRAPHQL ? "" : words[i]),
            .path = (char *)(p == POLICY_GRAPHQL ? "" : "**"),
            .operation_type = (char *)(p == POLICY_GRAPHQL ? words[i] : ""),
        };
        json_array_append_new(rules, allow_rule(&rule, p));
    }
}

static json_t *rules_of(const policy_endpoint_doc *ep, enum policy_protocol p)
{
    static const policy_clause empty;
    json_t *rules = json_array();
    for (size_t i = 0; i < ep->n_rules; i++) {
        if (ep->rules[i]->allow)
            json_array_append_new(rules, allow_rule(ep->rules[i]->allow, p));
    }
    if (!ep->n_rules && p == POLICY_MCP && policy_endpoint_allows_all_mcp(ep))
        json_array_append_new(rules, allow_rule(&empty, p));
    else if (!ep->n_rules && p != POLICY_TCP && p != POLICY_MCP && p != POLICY_JSON_RPC)
        append_preset(rules, p, policy_text(ep->access));
    return rules;
}

static json_t *deny_rules_of(const policy_endpoint_doc *ep, enum policy_protocol p)
{
    json_t *rules = json_array();
    for (size_t i = 0; i < ep->n_deny_rules; i++)
        json_array_append_new(rules, deny_rule(policy_deny_clause(ep->deny_rules[i]), p));
    return rules;
}

/* --- endpoints --- */

static json_t *ports_of(const policy_endpoint_doc *ep)
{
    size_t n;
    const uint32_t *ports = policy_endpoint_ports(ep, &n);
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(a, json_integer(ports[i]));
    return a;
}

static void put_options(json_t *o, const policy_endpoint_doc *ep)
{
    put_text(o, "persisted_queries", ep->persisted_queries);
    put_filled(o, "graphql_persisted_queries",
               map(ep->graphql_persisted_queries, ep->n_graphql_persisted_queries, registered_operation));
    put_number(o, "graphql_max_body_bytes", ep->graphql_max_body_bytes);
    put_number(o, "json_rpc_max_body_bytes", ep->json_rpc_max_body_bytes);
    if (ep->mcp && ep->mcp->_strict_tool_names_case)
        json_object_set_new(o, "mcp_strict_tool_names", json_boolean(ep->mcp->strict_tool_names));
    if (ep->mcp && ep->mcp->_allow_all_known_mcp_methods_case)
        json_object_set_new(o, "mcp_allow_all_known_mcp_methods",
                            json_boolean(ep->mcp->allow_all_known_mcp_methods));
}

static void put_credentials(json_t *o, const policy_endpoint_doc *ep)
{
    put_true(o, "websocket_credential_rewrite", ep->websocket_credential_rewrite);
    put_true(o, "request_body_credential_rewrite", ep->request_body_credential_rewrite);
    put_true(o, "allow_uninspected_credentials", ep->allow_uninspected_credentials);
    put_signing(o, ep);
    put_true(o, "advisor_proposed", ep->advisor_proposed);
    put_true(o, "provider_credentialed", ep->provider_credentialed);
}

static json_t *endpoint_of(const policy_endpoint_doc *ep)
{
    cleanup_arena struct os_arena arena = {0};
    enum policy_protocol p = POLICY_L4;
    policy_protocol_parse(ep->protocol, &p);
    json_t *o = json_object();
    json_object_set_new(o, "host", text(policy_normal_host(&arena, policy_text(ep->host))));
    json_object_set_new(o, "ports", ports_of(ep));
    put_text(o, "path", ep->path);
    put_text(o, "protocol", os_str_lower(os_arena_strdup(&arena, policy_text(ep->protocol))));
    put_text(o, "tls", ep->tls);
    put_text(o, "enforcement", ep->enforcement);
    put_text(o, "access", ep->access);
    put_filled(o, "rules", rules_of(ep, p));
    put_filled(o, "allowed_ips", texts(ep->allowed_ips, ep->n_allowed_ips));
    put_filled(o, "deny_rules", deny_rules_of(ep, p));
    put_true(o, "allow_encoded_slash", ep->allow_encoded_slash);
    put_options(o, ep);
    put_credentials(o, ep);
    return o;
}

/* --- policies --- */

static void append_binary(json_t *list, const char *path, bool advisor)
{
    json_t *o = json_object();
    json_object_set_new(o, "path", text(path));
    put_true(o, "advisor_proposed", advisor);
    json_array_append_new(list, o);
}

/* A file name with a star in it would be read as a pattern: it is left out. */
static void append_target(json_t *list, const char *path, bool advisor,
                          const struct policy_compile_options *opt)
{
    if (!opt->resolve || strchr(path, '*'))
        return;
    cleanup_free char *target = opt->resolve(opt->resolve_ctx, path);
    if (target && strcmp(target, path) != 0 && !strchr(target, '*'))
        append_binary(list, target, advisor);
}

static json_t *policy_of(const char *key, const policy_rule *rule, const struct policy_compile_options *opt)
{
    json_t *o = json_object();
    json_t *endpoints = json_array();
    json_t *binaries = json_array();
    for (size_t i = 0; rule && i < rule->n_endpoints; i++)
        json_array_append_new(endpoints, endpoint_of(rule->endpoints[i]));
    for (size_t i = 0; rule && i < rule->n_binaries; i++) {
        const char *path = policy_text(rule->binaries[i]->path);
        bool advisor = policy_binary_advisor(rule->binaries[i]);
        append_binary(binaries, path, advisor);
        append_target(binaries, path, advisor, opt);
    }
    json_object_set_new(o, "name", text(policy_rule_name(key, rule)));
    json_object_set_new(o, "endpoints", endpoints);
    json_object_set_new(o, "binaries", binaries);
    return o;
}

/* --- document --- */

static void put_static(json_t *o, const policy_doc *doc)
{
    const policy_filesystem *from = doc->filesystem;
    json_t *fs = json_object();
    json_object_set_new(fs, "include_workdir", json_boolean(!from || from->include_workdir));
    json_object_set_new(fs, "read_only", texts(from ? from->read_only : NULL, from ? from->n_read_only : 0));
    json_object_set_new(fs, "read_write",
                        texts(from ? from->read_write : NULL, from ? from->n_read_write : 0));
    json_object_set_new(o, "filesystem_policy", fs);

    const char *compatibility = doc->landlock ? policy_text(doc->landlock->compatibility) : "";
    json_t *landlock = json_object();
    json_object_set_new(landlock, "compatibility", text(*compatibility ? compatibility : "best_effort"));
    json_object_set_new(o, "landlock", landlock);

    json_t *process = json_object();
    json_object_set_new(process, "run_as_user", text(doc->process ? doc->process->run_as_user : "sandbox"));
    json_object_set_new(process, "run_as_group", text(doc->process ? doc->process->run_as_group : "sandbox"));
    json_object_set_new(o, "process", process);
}

struct json_t *policy_data(const policy_doc *doc, const struct policy_compile_options *opt)
{
    json_t *o = json_object();
    put_static(o, doc);
    json_t *runtime = json_object();
    json_object_set_new(runtime, "require_binary_identity", json_boolean(opt->binary_identity));
    json_object_set_new(o, "runtime", runtime);
    json_t *policies = json_object();
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        const struct policy_map_entry *entry = (const void *)doc->network_policies[i];
        const char *key = policy_text(entry->key);
        put(policies, key, policy_of(key, (const void *)entry->value, opt));
    }
    json_object_set_new(o, "network_policies", policies);
    json_object_set_new(o, "network_middlewares", policy_middlewares_json(doc));
    return o;
}
