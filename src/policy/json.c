/* Policy message -> jansson object in the published key order (spec/policy.md 1.7). The YAML printer renders
 * the same object, so both forms always agree. */
#include <math.h>
#include <string.h>

#include "policy/json_put.h"

/* --- rules --- */

static json_t *params_without_name(const policy_clause *c)
{
    json_t *o = map(c->params, c->n_params, matcher);
    json_object_del(o, "name");
    return o;
}

static json_t *clause(const policy_endpoint_doc *ep, const policy_clause *c)
{
    bool mcp = os_str_eq(ep->protocol, "mcp");
    const struct policy_map_entry *tool = mcp ? policy_map_find(c->params, c->n_params, "name") : NULL;
    bool implied = mcp && policy_endpoint_allows_all_mcp(ep) && c->method &&
                   !strcmp(c->method, tool ? "tools/call" : "*");
    json_t *o = json_object();
    if (!implied)
        put_text(o, "method", c->method);
    put_text(o, "path", c->path);
    put_text(o, "command", c->command);
    put_filled(o, "query", map(c->query, c->n_query, matcher));
    put_text(o, "operation_type", c->operation_type);
    put_text(o, "operation_name", c->operation_name);
    put_filled(o, "fields", texts(c->fields, c->n_fields));
    if (tool)
        json_object_set_new(o, "tool", matcher(tool->value));
    put_filled(o, "params", tool ? params_without_name(c) : map(c->params, c->n_params, matcher));
    return o;
}

static json_t *rules(const policy_endpoint_doc *ep)
{
    static const policy_clause empty;
    json_t *a = json_array();
    for (size_t i = 0; i < ep->n_rules; i++) {
        const policy_clause *c = ep->rules[i]->allow;
        json_t *o = json_object();
        json_object_set_new(o, "allow", clause(ep, c ? c : &empty));
        json_array_append_new(a, o);
    }
    return a;
}

static json_t *deny_rules(const policy_endpoint_doc *ep)
{
    json_t *a = json_array();
    for (size_t i = 0; i < ep->n_deny_rules; i++)
        json_array_append_new(a, clause(ep, policy_deny_clause(ep->deny_rules[i])));
    return a;
}

/* --- endpoints --- */

static json_int_t port(uint32_t p)
{
    return p > UINT16_MAX ? UINT16_MAX : p;
}

static void put_ports(json_t *o, const policy_endpoint_doc *ep)
{
    size_t n;
    const uint32_t *ports = policy_endpoint_ports(ep, &n);
    if (n == 1) {
        put_number(o, "port", port(ports[0]));
    } else if (n > 1) {
        json_t *a = json_array();
        for (size_t i = 0; i < n; i++)
            json_array_append_new(a, json_integer(port(ports[i])));
        json_object_set_new(o, "ports", a);
    }
}

static json_t *mcp_stanza(const policy_endpoint_doc *ep)
{
    json_t *o = json_object();
    put_number(o, "max_body_bytes", ep->json_rpc_max_body_bytes);
    if (ep->mcp && ep->mcp->_strict_tool_names_case)
        json_object_set_new(o, "strict_tool_names", json_boolean(ep->mcp->strict_tool_names));
    if (ep->mcp && ep->mcp->_allow_all_known_mcp_methods_case)
        json_object_set_new(o, "allow_all_known_mcp_methods",
                            json_boolean(ep->mcp->allow_all_known_mcp_methods));
    return o;
}

static json_t *json_rpc_stanza(const policy_endpoint_doc *ep)
{
    json_t *o = json_object();
    put_number(o, "max_body_bytes", ep->json_rpc_max_body_bytes);
    return o;
}

static json_t *endpoint(const policy_endpoint_doc *ep)
{
    json_t *o = json_object();
    put_text(o, "host", ep->host);
    put_text(o, "path", ep->path);
    put_ports(o, ep);
    put_text(o, "protocol", ep->protocol);
    put_text(o, "tls", ep->tls);
    put_text(o, "enforcement", ep->enforcement);
    put_text(o, "access", ep->access);
    put_filled(o, "rules", rules(ep));
    put_filled(o, "allowed_ips", texts(ep->allowed_ips, ep->n_allowed_ips));
    put_filled(o, "deny_rules", deny_rules(ep));
    put_true(o, "allow_encoded_slash", ep->allow_encoded_slash);
    put_true(o, "websocket_credential_rewrite", ep->websocket_credential_rewrite);
    put_true(o, "request_body_credential_rewrite", ep->request_body_credential_rewrite);
    put_true(o, "allow_uninspected_credentials", ep->allow_uninspected_credentials);
    put_text(o, "persisted_queries", ep->persisted_queries);
    put_filled(o, "graphql_persisted_queries",
               map(ep->graphql_persisted_queries, ep->n_graphql_persisted_queries, registered_operation));
    put_number(o, "graphql_max_body_bytes", ep->graphql_max_body_bytes);
    put_signing(o, ep);
    if (os_str_eq(ep->protocol, "mcp") || ep->mcp)
        put_filled(o, "mcp", mcp_stanza(ep));
    else
        put_filled(o, "json_rpc", json_rpc_stanza(ep));
    return o;
}

static json_t *policy(const ProtobufCMessage *value)
{
    const policy_rule *rule = (const void *)value;
    json_t *o = json_object();
    if (!rule)
        return o;
    put_text(o, "name", rule->name);
    json_t *endpoints = json_array();
    for (size_t i = 0; i < rule->n_endpoints; i++)
        json_array_append_new(endpoints, endpoint(rule->endpoints[i]));
    put_filled(o, "endpoints", endpoints);
    json_t *binaries = json_array();
    for (size_t i = 0; i < rule->n_binaries; i++) {
        json_t *b = json_object();
        json_object_set_new(b, "path", text(rule->binaries[i]->path));
        json_array_append_new(binaries, b);
    }
    put_filled(o, "binaries", binaries);
    return o;
}

/* --- middleware --- */

static json_t *structure(const Google__Protobuf__Struct *s);

static json_t *number(double d)
{
    if (!isfinite(d))
        return json_null();
    if (d > -9007199254740992.0 && d < 9007199254740992.0 && (double)(json_int_t)d == d)
        return json_integer((json_int_t)d);
    return json_real(d);
}

static json_t *value_of(const ProtobufCMessage *value)
{
    const Google__Protobuf__Value *v = (const void *)value;
    switch (v ? v->kind_case : GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE) {
    case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE:
        return number(v->number_value);
    case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE:
        return text(v->string_value);
    case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE:
        return json_boolean(v->bool_value);
    case GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE:
        return structure(v->struct_value);
    case GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE: {
        json_t *a = json_array();
        for (size_t i = 0; v->list_value && i < v->list_value->n_values; i++)
            json_array_append_new(a, value_of(&v->list_value->values[i]->base));
        return a;
    }
    default:
        return json_null();
    }
}

static json_t *structure(const Google__Protobuf__Struct *s)
{
    return s ? map(s->fields, s->n_fields, value_of) : json_object();
}

static json_t *middleware(const ProtobufCMessage *value)
{
    const policy_middleware *m = (const void *)value;
    json_t *o = json_object();
    if (!m)
        return o;
    put_text(o, "name", m->name);
    put_text(o, "middleware", m->middleware);
    put_number(o, "order", m->order);
    put_filled(o, "config", structure(m->config));
    put_text(o, "on_error", m->on_error);
    if (m->endpoints) {
        json_t *selector = json_object();
        put_filled(selector, "include", texts(m->endpoints->include, m->endpoints->n_include));
        put_filled(selector, "exclude", texts(m->endpoints->exclude, m->endpoints->n_exclude));
        json_object_set_new(o, "endpoints", selector);
    }
    return o;
}

json_t *policy_middlewares_json(const policy_doc *doc)
{
    return map(doc->network_middlewares, doc->n_network_middlewares, middleware);
}

/* --- document --- */

static void put_static(json_t *o, const policy_doc *doc)
{
    if (doc->filesystem) {
        json_t *fs = json_object();
        json_object_set_new(fs, "include_workdir", json_boolean(doc->filesystem->include_workdir));
        put_filled(fs, "read_only", texts(doc->filesystem->read_only, doc->filesystem->n_read_only));
        put_filled(fs, "read_write", texts(doc->filesystem->read_write, doc->filesystem->n_read_write));
        json_object_set_new(o, "filesystem_policy", fs);
    }
    if (doc->landlock) {
        json_t *landlock = json_object();
        put_text(landlock, "compatibility", doc->landlock->compatibility);
        json_object_set_new(o, "landlock", landlock);
    }
    if (doc->process) {
        json_t *process = json_object();
        put_text(process, "run_as_user", doc->process->run_as_user);
        put_text(process, "run_as_group", doc->process->run_as_group);
        put_filled(o, "process", process);
    }
}

struct json_t *policy_to_json(const policy_doc *doc)
{
    json_t *o = json_object();
    json_object_set_new(o, "version", json_integer(doc->version));
    put_static(o, doc);
    put_filled(o, "network_policies", map(doc->network_policies, doc->n_network_policies, policy));
    put_filled(o, "network_middlewares", policy_middlewares_json(doc));
    return o;
}
