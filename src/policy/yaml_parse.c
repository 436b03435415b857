/* YAML policy text -> protobuf message (spec/policy.md 1). Second stage: the tree against the published keys.
 */
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "policy/yaml_fields.h"

typedef Openshell__Sandbox__V1__LandlockPolicy landlock_doc;
typedef Openshell__Sandbox__V1__ProcessPolicy process_doc;
typedef Openshell__Sandbox__V1__NetworkBinary binary_doc;
typedef Openshell__Sandbox__V1__NetworkCredentialBinding binding_doc;

/* --- rules --- */

static bool is_any_matcher(const struct yaml_node *node)
{
    return node->kind == YAML_MAP && node->n == 1 && !strcmp(node->first->text, "any") &&
           node->first->next->kind == YAML_LIST;
}

static bool is_glob_matcher(const struct yaml_node *node)
{
    return node->kind == YAML_MAP && node->n == 1 && !strcmp(node->first->text, "glob");
}

static int read_matcher(READ_ARGS)
{
    policy_matcher *m = msg;
    if (r->loose && is_glob_matcher(node))
        return read_matcher(r, at, node->first->next, msg);
    if (node->kind == YAML_SCALAR) {
        m->glob = yaml_read_string(r, at, node);
        return m->glob ? 0 : -1;
    }
    if (!is_any_matcher(node))
        return yaml_expected(r, at, node, "a pattern or `any: [pattern, ...]`");
    const struct yaml_node *list = node->first->next;
    struct yaml_path here = {.up = at, .key = "any"};
    if (yaml_read_strings(r, &here, list, &m->any, &m->n_any))
        return -1;
    return m->n_any ? 0 : yaml_fail(r, &here, list, "the list must not be empty");
}

static bool is_deny(const policy_clause *c)
{
    return c->base.descriptor == SANDBOX(l7_deny_rule);
}

static int read_query(READ_ARGS)
{
    policy_clause *c = msg;
    const ProtobufCMessageDescriptor *entry =
        is_deny(c) ? SANDBOX(l7_deny_rule__query_entry) : SANDBOX(l7_allow__query_entry);
    return yaml_read_map(r, at, node, entry, SANDBOX(l7_query_matcher), read_matcher, &c->query, &c->n_query);
}

static void add_param(struct yaml_reader *r, policy_clause *c, const char *key, policy_matcher *value)
{
    struct policy_map_entry *entry = policy_message_new(
        r->arena, is_deny(c) ? SANDBOX(l7_deny_rule__params_entry) : SANDBOX(l7_allow__params_entry));
    entry->key = os_arena_strdup(r->arena, key);
    entry->value = &value->base;
    void **grown = os_arena_alloc(r->arena, (c->n_params + 1) * sizeof(void *));
    if (c->n_params)
        memcpy(grown, c->params, c->n_params * sizeof(void *));
    grown[c->n_params++] = entry;
    c->params = (void *)policy_map_sorted(r->arena, grown, c->n_params);
}

/* Nested mappings flatten to dotted keys. */
static int flatten_params(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                          const char *prefix, policy_clause *c)
{
    if (node->kind != YAML_MAP)
        return yaml_expected(r, at, node, "a mapping");
    for (const struct yaml_node *key = node->first; key; key = key->next->next) {
        const struct yaml_node *value = key->next;
        struct yaml_path here = {.up = at, .key = key->text};
        const char *name = *prefix ? os_arena_printf(r->arena, "%s.%s", prefix, key->text) : key->text;
        if (strlen(name) > OS_LIMIT_MAP_KEY)
            return yaml_fail(r, &here, key, "the parameter name is longer than %d bytes", OS_LIMIT_MAP_KEY);
        if (value->kind == YAML_MAP && !is_any_matcher(value) && !(r->loose && is_glob_matcher(value))) {
            if (flatten_params(r, &here, value, name, c))
                return -1;
            continue;
        }
        if (policy_map_find(c->params, c->n_params, name))
            return yaml_fail(r, at, key, "duplicate key `%s`", name);
        if (c->n_params == OS_LIMIT_MAP_ENTRIES)
            return yaml_fail(r, at, key, "more than %d parameters", OS_LIMIT_MAP_ENTRIES);
        policy_matcher *m = policy_message_new(r->arena, SANDBOX(l7_query_matcher));
        if (read_matcher(r, &here, value, m))
            return -1;
        add_param(r, c, name, m);
    }
    return 0;
}

static int read_params(READ_ARGS)
{
    return flatten_params(r, at, node, "", msg);
}

#define CLAUSE(type, name) FIELD(type, policy_clause, name)

/* Checked here, stored by read_clause once it is known whether params.name is there too. */
static int read_tool(READ_ARGS)
{
    policy_matcher scratch;
    openshell__sandbox__v1__l7_query_matcher__init(&scratch);
    return read_matcher(r, at, node, &scratch);
}

static const struct yaml_node *child(const struct yaml_node *map, const char *name)
{
    for (const struct yaml_node *key = map->first; key; key = key->next->next) {
        if (!strcmp(key->text, name))
            return key->next;
    }
    return NULL;
}

static int read_clause(READ_ARGS)
{
    static const struct yaml_field fields[] = {
        CLAUSE(STRING, method),      CLAUSE(STRING, path),           CLAUSE(STRING, command),
        CUSTOM("query", read_query), CLAUSE(STRING, operation_type), CLAUSE(STRING, operation_name),
        CLAUSE(STRINGS, fields),     CUSTOM("tool", read_tool),      CUSTOM("params", read_params),
    };
    if (yaml_read_object(r, at, node, fields, OS_ARRAY_LEN(fields), msg))
        return -1;
    policy_clause *c = msg;
    /* `tool` is an alias of params.name; the explicit parameter wins. */
    const struct yaml_node *tool = child(node, "tool");
    if (r->loose && tool && policy_map_find(c->params, c->n_params, "name"))
        return yaml_fail(r, at, tool, "MCP rules must use either tool or params.name, not both");
    if (tool && !policy_map_find(c->params, c->n_params, "name")) {
        policy_matcher *m = policy_message_new(r->arena, SANDBOX(l7_query_matcher));
        if (read_matcher(r, at, tool, m))
            return -1;
        add_param(r, c, "name", m);
    }
    return 0;
}

static int read_allow(READ_ARGS)
{
    Openshell__Sandbox__V1__L7Rule *rule = msg;
    rule->allow = policy_message_new(r->arena, SANDBOX(l7_allow));
    return read_clause(r, at, node, rule->allow);
}

static int read_rule_item(READ_ARGS)
{
    static const struct yaml_field fields[] = {
        {.key = "allow", .type = YAML_FIELD_CUSTOM, .read = read_allow, .required = true}};
    return yaml_read_object(r, at, node, fields, OS_ARRAY_LEN(fields), msg);
}

/* --- endpoints --- */

static int read_rules(READ_ARGS)
{
    policy_endpoint_doc *ep = msg;
    return yaml_read_list(r, at, node, SANDBOX(l7_rule), read_rule_item, &ep->rules, &ep->n_rules);
}

static int read_deny_rules(READ_ARGS)
{
    policy_endpoint_doc *ep = msg;
    return yaml_read_list(r, at, node, SANDBOX(l7_deny_rule), read_clause, &ep->deny_rules,
                          &ep->n_deny_rules);
}

static int read_ports(READ_ARGS)
{
    policy_endpoint_doc *ep = msg;
    if (node->kind != YAML_LIST)
        return yaml_expected(r, at, node, "a list of port numbers");
    ep->ports = os_arena_alloc(r->arena, node->n * sizeof(uint32_t));
    size_t i = 0;
    for (const struct yaml_node *item = node->first; item; item = item->next, i++) {
        struct yaml_path here = {.up = at, .index = i};
        if (yaml_read_u32(r, &here, item, UINT16_MAX, &ep->ports[i]))
            return -1;
    }
    ep->n_ports = i;
    return 0;
}

static int read_graphql(READ_ARGS)
{
    static const struct yaml_field fields[] = {
        FIELD(STRING, policy_graphql, operation_type),
        FIELD(STRING, policy_graphql, operation_name),
        FIELD(STRINGS, policy_graphql, fields),
    };
    return yaml_read_object(r, at, node, fields, OS_ARRAY_LEN(fields), msg);
}

static int read_registry(READ_ARGS)
{
    policy_endpoint_doc *ep = msg;
    return yaml_read_map(r, at, node, SANDBOX(network_endpoint__graphql_persisted_queries_entry),
                         SANDBOX(graphql_operation), read_graphql, &ep->graphql_persisted_queries,
                         &ep->n_graphql_persisted_queries);
}

static int read_binding(READ_ARGS)
{
    static const struct yaml_field fields[] = {
        {"provider", YAML_FIELD_STRING, offsetof(binding_doc, provider), NULL, true}};
    policy_endpoint_doc *ep = msg;
    ep->credential_binding = policy_message_new(r->arena, SANDBOX(network_credential_binding));
    return yaml_read_object(r, at, node, fields, OS_ARRAY_LEN(fields), ep->credential_binding);
}

struct limit_stanza {
    uint32_t max_body_bytes;
};

static int read_json_rpc(READ_ARGS)
{
    static const struct yaml_field fields[] = {FIELD(U32, struct limit_stanza, max_body_bytes)};
    struct limit_stanza stanza = {0};
    policy_endpoint_doc *ep = msg;
    if (yaml_read_object(r, at, node, fields, OS_ARRAY_LEN(fields), &stanza))
        return -1;
    ep->json_rpc_max_body_bytes = stanza.max_body_bytes;
    return 0;
}

struct mcp_stanza {
    uint32_t max_body_bytes;
    protobuf_c_boolean strict_tool_names, allow_all_known_mcp_methods;
};

static int read_mcp(READ_ARGS)
{
    static const struct yaml_field fields[] = {
        FIELD(U32, struct mcp_stanza, max_body_bytes),
        FIELD(BOOL, struct mcp_stanza, strict_tool_names),
        FIELD(BOOL, struct mcp_stanza, allow_all_known_mcp_methods),
    };
    struct mcp_stanza stanza = {0};
    if (yaml_read_object(r, at, node, fields, OS_ARRAY_LEN(fields), &stanza))
        return -1;
    bool strict = child(node, "strict_tool_names") != NULL;
    bool all = child(node, "allow_all_known_mcp_methods") != NULL;
    if (!strict && !all)
        return 0;
    policy_endpoint_doc *ep = msg;
    ep->mcp = policy_message_new(r->arena, SANDBOX(mcp_options));
    if (strict) {
        ep->mcp->_strict_tool_names_case =
            OPENSHELL__SANDBOX__V1__MCP_OPTIONS___STRICT_TOOL_NAMES_STRICT_TOOL_NAMES;
        ep->mcp->strict_tool_names = stanza.strict_tool_names;
    }
    if (all) {
        ep->mcp->_allow_all_known_mcp_methods_case =
            OPENSHELL__SANDBOX__V1__MCP_OPTIONS___ALLOW_ALL_KNOWN_MCP_METHODS_ALLOW_ALL_KNOWN_MCP_METHODS;
        ep->mcp->allow_all_known_mcp_methods = stanza.allow_all_known_mcp_methods;
    }
    return 0;
}

/* With allow_all_known_mcp_methods an omitted method has a fixed meaning; it is written out. */
static void fill_mcp_method(policy_clause *c)
{
    static char call[] = "tools/call";
    static char any[] = "*";
    if (!*c->method)
        c->method = policy_map_find(c->params, c->n_params, "name") ? call : any;
}

static void normalise_endpoint(struct yaml_reader *r, const struct yaml_node *node, policy_endpoint_doc *ep)
{
    if (ep->n_ports) {
        ep->port = ep->ports[0];
    } else if (ep->port) {
        ep->ports = os_arena_memdup(r->arena, &ep->port, sizeof(ep->port));
        ep->n_ports = 1;
    }
    if (*ep->protocol)
        ep->protocol = os_str_lower(os_arena_strdup(r->arena, ep->protocol));
    const struct yaml_node *mcp = child(node, "mcp");
    if (mcp) {
        int64_t max = 0;
        const struct yaml_node *limit = child(mcp, "max_body_bytes");
        if (limit)
            yaml_node_int(limit, &max);
        ep->json_rpc_max_body_bytes = (uint32_t)max;
    }
    if (strcmp(ep->protocol, "mcp") != 0 || !policy_endpoint_allows_all_mcp(ep))
        return;
    for (size_t i = 0; i < ep->n_rules; i++)
        fill_mcp_method(ep->rules[i]->allow);
    for (size_t i = 0; i < ep->n_deny_rules; i++)
        fill_mcp_method((policy_clause *)(void *)ep->deny_rules[i]);
}

#define ENDPOINT(type, name) FIELD(type, policy_endpoint_doc, name)

static int read_endpoint(READ_ARGS)
{
    static const struct yaml_field fields[] = {
        ENDPOINT(STRING, host),
        ENDPOINT(STRING, path),
        ENDPOINT(U16, port),
        CUSTOM("ports", read_ports),
        ENDPOINT(STRING, protocol),
        ENDPOINT(STRING, tls),
        ENDPOINT(STRING, enforcement),
        ENDPOINT(STRING, access),
        CUSTOM("rules", read_rules),
        ENDPOINT(STRINGS, allowed_ips),
        CUSTOM("deny_rules", read_deny_rules),
        ENDPOINT(BOOL, allow_encoded_slash),
        ENDPOINT(BOOL, websocket_credential_rewrite),
        ENDPOINT(BOOL, request_body_credential_rewrite),
        ENDPOINT(BOOL, allow_uninspected_credentials),
        ENDPOINT(STRING, persisted_queries),
        CUSTOM("graphql_persisted_queries", read_registry),
        ENDPOINT(U32, graphql_max_body_bytes),
        ENDPOINT(STRING, credential_signing),
        ENDPOINT(STRING, signing_service),
        ENDPOINT(STRING, signing_region),
        CUSTOM("credential_binding", read_binding),
        CUSTOM("json_rpc", read_json_rpc),
        CUSTOM("mcp", read_mcp),
    };
    if (yaml_read_object(r, at, node, fields, OS_ARRAY_LEN(fields), msg))
        return -1;
    normalise_endpoint(r, node, msg);
    return 0;
}

/* --- network policies --- */

/* `harness` is accepted for old files and means nothing. */
struct binary_stanza {
    char *path;
    protobuf_c_boolean harness;
};

static int read_binary(READ_ARGS)
{
    static const struct yaml_field fields[] = {
        {"path", YAML_FIELD_STRING, offsetof(struct binary_stanza, path), NULL, true},
        FIELD(BOOL, struct binary_stanza, harness),
    };
    struct binary_stanza stanza = {0};
    if (yaml_read_object(r, at, node, fields, OS_ARRAY_LEN(fields), &stanza))
        return -1;
    ((binary_doc *)msg)->path = stanza.path;
    return 0;
}

static int read_binaries(READ_ARGS)
{
    policy_rule *rule = msg;
    return yaml_read_list(r, at, node, SANDBOX(network_binary), read_binary, &rule->binaries,
                          &rule->n_binaries);
}

static int read_endpoints(READ_ARGS)
{
    policy_rule *rule = msg;
    return yaml_read_list(r, at, node, SANDBOX(network_endpoint), read_endpoint, &rule->endpoints,
                          &rule->n_endpoints);
}

static int read_policy(READ_ARGS)
{
    static const struct yaml_field fields[] = {
        FIELD(STRING, policy_rule, name),
        CUSTOM("endpoints", read_endpoints),
        CUSTOM("binaries", read_binaries),
    };
    if (yaml_read_object(r, at, node, fields, OS_ARRAY_LEN(fields), msg))
        return -1;
    policy_rule *rule = msg;
    if (!*rule->name)
        rule->name = (char *)(uintptr_t)at->key;
    return 0;
}

static int read_policies(READ_ARGS)
{
    policy_doc *doc = msg;
    return yaml_read_map(r, at, node, SANDBOX(sandbox_policy__network_policies_entry),
                         SANDBOX(network_policy_rule), read_policy, &doc->network_policies,
                         &doc->n_network_policies);
}

/* --- static sections --- */

static int read_filesystem(READ_ARGS)
{
    static const struct yaml_field fields[] = {
        FIELD(BOOL, policy_filesystem, include_workdir),
        FIELD(STRINGS, policy_filesystem, read_only),
        FIELD(STRINGS, policy_filesystem, read_write),
    };
    policy_doc *doc = msg;
    doc->filesystem = policy_message_new(r->arena, SANDBOX(filesystem_policy));
    return yaml_read_object(r, at, node, fields, OS_ARRAY_LEN(fields), doc->filesystem);
}

static int read_landlock(READ_ARGS)
{
    static const struct yaml_field fields[] = {FIELD(STRING, landlock_doc, compatibility)};
    policy_doc *doc = msg;
    doc->landlock = policy_message_new(r->arena, SANDBOX(landlock_policy));
    return yaml_read_object(r, at, node, fields, OS_ARRAY_LEN(fields), doc->landlock);
}

static int read_process(READ_ARGS)
{
    static const struct yaml_field fields[] = {
        FIELD(STRING, process_doc, run_as_user),
        FIELD(STRING, process_doc, run_as_group),
    };
    policy_doc *doc = msg;
    process_doc *p = policy_message_new(r->arena, SANDBOX(process_policy));
    if (yaml_read_object(r, at, node, fields, OS_ARRAY_LEN(fields), p))
        return -1;
    doc->process = *p->run_as_user || *p->run_as_group ? p : NULL;
    return 0;
}

static policy_doc *parse(struct os_arena *arena, const char *text, size_t n, bool loose, struct os_error *err)
{
    static const struct yaml_field fields[] = {
        {"version", YAML_FIELD_U32, offsetof(policy_doc, version), NULL, true},
        CUSTOM("filesystem_policy", read_filesystem),
        CUSTOM("landlock", read_landlock),
        CUSTOM("process", read_process),
        CUSTOM("network_policies", read_policies),
        CUSTOM("network_middlewares", yaml_read_middlewares),
    };
    struct os_error why = {0};
    struct yaml_reader reader = {.arena = arena, .err = &why, .loose = loose};
    policy_doc *doc = policy_message_new(arena, SANDBOX(sandbox_policy));
    struct yaml_node *root = yaml_tree_parse(arena, text, n, &why);
    if (root && yaml_read_object(&reader, NULL, root, fields, OS_ARRAY_LEN(fields), doc) == 0)
        return doc;
    os_error_wrap(&why, loose ? "failed to parse policy data" : "failed to parse sandbox policy YAML");
    os_error_move(err, &why);
    return NULL;
}

policy_doc *policy_yaml_parse(struct os_arena *arena, const char *text, size_t n, struct os_error *err)
{
    return parse(arena, text, n, false, err);
}

policy_doc *policy_yaml_parse_data(struct os_arena *arena, const char *text, size_t n, struct os_error *err)
{
    return parse(arena, text, n, true, err);
}
