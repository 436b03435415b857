/* The inspection settings and rules of one endpoint, compiled: patterns, access presets (spec/policy.md 5.5),
 * registered GraphQL operations. What a protocol's rules speak of decides where a rule is filed. */
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "policy/engine_priv.h"
#include "policy/validate.h"

void compile_pattern(struct os_arena *arena, const char *text, char delimiter, struct l7_pattern *out)
{
    char *copy = os_arena_strdup(arena, policy_text(text));
    out->bad = glob_compile_arena(arena, copy, delimiter, &out->glob) != NULL;
}

/* A matcher is one pattern or a choice of several. */
static struct l7_pattern *compile_matcher(struct os_arena *arena, const policy_matcher *m, size_t *n)
{
    *n = m && m->n_any ? m->n_any : 1;
    struct l7_pattern *patterns = os_arena_alloc(arena, *n * sizeof(*patterns));
    for (size_t i = 0; i < *n; i++)
        compile_pattern(arena, m && m->n_any ? m->any[i] : m ? m->glob : "", '.', &patterns[i]);
    return patterns;
}

/* --- one rule --- */

/* An omitted path means every path, as everywhere else; a deny rule without a method denies every method. */
static void compile_clause(struct os_arena *arena, const policy_clause *from, bool deny, size_t at,
                           struct l7_clause *out)
{
    const char *method = policy_text(from->method);
    const char *path = policy_text(from->path);
    bool any = !strcmp(method, "*") || (deny && !*method);
    out->method = any ? NULL : os_arena_strdup(arena, method);
    out->at = (uint32_t)at;
    out->every_path = !*path || !strcmp(path, "**");
    if (!out->every_path)
        compile_pattern(arena, path, '/', &out->path);
    /* By key: whether a bad pattern is reached must not depend on the order of a map. */
    cleanup_arena struct os_arena scratch = {0};
    struct policy_map_entry **sorted = policy_map_sorted(&scratch, from->query, from->n_query);
    struct l7_query *query = os_arena_alloc(arena, from->n_query * sizeof(*query));
    for (size_t i = 0; i < from->n_query; i++) {
        query[i].key = os_arena_strdup(arena, policy_text(sorted[i]->key));
        query[i].patterns = compile_matcher(arena, (const void *)sorted[i]->value, &query[i].n);
    }
    out->query = query;
    out->n_query = from->n_query;
}

static void compile_operation(struct os_arena *arena, const policy_clause *from, struct l7_operation *out)
{
    const char *type = policy_text(from->operation_type), *name = policy_text(from->operation_name);
    out->type = strcmp(type, "*") != 0 ? os_arena_strdup(arena, type) : NULL;
    out->every_name = !*name;
    if (*name)
        compile_pattern(arena, name, '.', &out->name);
    struct l7_pattern *fields = os_arena_alloc(arena, from->n_fields * sizeof(*fields));
    for (size_t i = 0; i < from->n_fields; i++)
        compile_pattern(arena, from->fields[i], '.', &fields[i]);
    out->fields = fields;
    out->n_fields = from->n_fields;
}

/* Without a method: the tool's, or all of them. */
static void compile_call(struct os_arena *arena, const policy_clause *from, enum policy_protocol p,
                         struct l7_call *out)
{
    const char *method = policy_text(from->method);
    const struct policy_map_entry *tool =
        p == POLICY_MCP ? policy_map_find(from->params, from->n_params, "name") : NULL;
    if (tool) {
        out->names_tool = true;
        out->tools = compile_matcher(arena, (const void *)tool->value, &out->n_tools);
    }
    if (!*method)
        method = tool ? "tools/call" : "*";
    out->every_method = !strcmp(method, "*");
    if (p == POLICY_JSON_RPC)
        out->exact = os_arena_strdup(arena, method);
    else
        compile_pattern(arena, method, '.', &out->method);
}

/* --- all rules of an endpoint --- */

struct filing {
    struct os_arena *arena;
    enum policy_protocol protocol;
    bool deny;
    struct l7_clause *clauses;
    struct l7_operation *operations;
    struct l7_call *calls;
    struct l7_rules *rules;
};

static struct filing filing_new(struct os_arena *arena, enum policy_protocol protocol, bool deny, size_t n,
                                struct l7_rules *rules)
{
    struct filing f = {.arena = arena, .protocol = protocol, .deny = deny, .rules = rules};
    rules->clauses = f.clauses = os_arena_alloc(arena, n * sizeof(*f.clauses));
    rules->operations = f.operations = os_arena_alloc(arena, n * sizeof(*f.operations));
    rules->calls = f.calls = os_arena_alloc(arena, n * sizeof(*f.calls));
    return f;
}

static void file_clause(struct filing *f, const policy_clause *from, size_t at)
{
    struct l7_rules *r = f->rules;
    switch (f->protocol) {
    case POLICY_TCP:
        break;
    case POLICY_JSON_RPC:
    case POLICY_MCP:
        compile_call(f->arena, from, f->protocol, &f->calls[r->n_calls++]);
        break;
    case POLICY_GRAPHQL:
        compile_operation(f->arena, from, &f->operations[r->n_operations++]);
        break;
    case POLICY_WEBSOCKET:
        if (policy_clause_is_graphql(from)) {
            compile_operation(f->arena, from, &f->operations[r->n_operations++]);
            break;
        }
        /* fallthrough */
    case POLICY_L4:
    case POLICY_REST:
    case POLICY_SQL:
        compile_clause(f->arena, from, f->deny, at, &f->clauses[r->n_clauses++]);
        break;
    }
}

/* What a preset allows, as the rules that could be written instead. */
static void file_preset(struct os_arena *arena, enum policy_protocol p, const char *access,
                        struct l7_rules *rules)
{
    size_t n;
    const char *const *words = policy_access_words(p, access, &n);
    struct filing f = filing_new(arena, p, false, n, rules);
    for (size_t i = 0; i < n; i++) {
        const policy_clause rule = {.method = (char *)(p == POLICY_GRAPHQL ? "" : words[i]),
                                    .path = (char *)"**",
                                    .operation_type = (char *)(p == POLICY_GRAPHQL ? words[i] : "")};
        file_clause(&f, &rule, i);
    }
}

const char *const *policy_access_words(enum policy_protocol p, const char *access, size_t *n)
{
    static const char *const rest[] = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH"};
    static const char *const websocket[] = {"GET", "WEBSOCKET_TEXT"};
    static const char *const graphql[] = {"query", "mutation"};
    static const char *const full[] = {"*"};
    bool read_only = !strcmp(access, "read-only");
    *n = 0;
    if (!strcmp(access, "full")) {
        *n = OS_ARRAY_LEN(full);
        return full;
    }
    if (!read_only && strcmp(access, "read-write") != 0)
        return NULL;
    if (p == POLICY_WEBSOCKET) {
        *n = read_only ? 1 : OS_ARRAY_LEN(websocket);
        return websocket;
    }
    if (p == POLICY_GRAPHQL) {
        *n = read_only ? 1 : OS_ARRAY_LEN(graphql);
        return graphql;
    }
    *n = read_only ? 3 : OS_ARRAY_LEN(rest);
    return rest;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct l7_registered *)a)->key, ((const struct l7_registered *)b)->key);
}

static void compile_registry(struct os_arena *arena, const policy_endpoint_doc *from,
                             struct engine_endpoint *ep)
{
    if (!os_str_eq(from->persisted_queries, "allow_registered"))
        return;
    size_t n = from->n_graphql_persisted_queries;
    struct l7_registered *list = os_arena_alloc(arena, n * sizeof(*list));
    for (size_t i = 0; i < n; i++) {
        const policy_graphql *g = from->graphql_persisted_queries[i]->value;
        char **fields = os_arena_alloc(arena, (g ? g->n_fields : 0) * sizeof(*fields));
        for (size_t k = 0; g && k < g->n_fields; k++)
            fields[k] = os_arena_strdup(arena, g->fields[k]);
        list[i].key = os_arena_strdup(arena, policy_text(from->graphql_persisted_queries[i]->key));
        list[i].operation = (struct graphql_operation){
            .type = os_arena_strdup(arena, policy_text(g ? g->operation_type : NULL)),
            .name = g && g->operation_name && *g->operation_name ? os_arena_strdup(arena, g->operation_name)
                                                                 : NULL,
            .fields = (const char *const *)fields,
            .n_fields = g ? g->n_fields : 0,
        };
    }
    qsort(list, n, sizeof(*list), by_key);
    ep->registry = list;
    ep->n_registry = n;
}

static void compile_settings(const policy_endpoint_doc *from, struct policy_endpoint *pub)
{
    const Openshell__Sandbox__V1__McpOptions *mcp = from->mcp;
    uint32_t limit = pub->protocol == POLICY_GRAPHQL || pub->protocol == POLICY_WEBSOCKET
                         ? from->graphql_max_body_bytes
                         : from->json_rpc_max_body_bytes;
    pub->body_limit = limit ? limit : OS_L7_BODY_DEFAULT;
    if (pub->body_limit > OS_L7_BODY_MAX)
        pub->body_limit = OS_L7_BODY_MAX;
    pub->strict_tool_names = !mcp || !mcp->_strict_tool_names_case || mcp->strict_tool_names;
    pub->websocket_graphql = pub->protocol == POLICY_WEBSOCKET && policy_websocket_graphql(from);
    pub->websocket_credential_rewrite = from->websocket_credential_rewrite;
    pub->body_credential_rewrite = from->request_body_credential_rewrite;
    pub->allow_uninspected_credentials = from->allow_uninspected_credentials;
    pub->provider_credentialed = from->provider_credentialed;
}

void compile_l7(struct os_arena *arena, const policy_endpoint_doc *from, struct engine_endpoint *ep)
{
    enum policy_protocol p = ep->pub.protocol;
    compile_settings(from, &ep->pub);
    if (from->n_rules) {
        struct filing f = filing_new(arena, p, false, from->n_rules, &ep->allow);
        for (size_t i = 0; i < from->n_rules; i++)
            if (from->rules[i]->allow)
                file_clause(&f, from->rules[i]->allow, i);
    } else if (p != POLICY_TCP && p != POLICY_JSON_RPC && p != POLICY_MCP) {
        file_preset(arena, p, policy_text(from->access), &ep->allow);
    }
    struct filing f = filing_new(arena, p, true, from->n_deny_rules, &ep->deny);
    for (size_t i = 0; i < from->n_deny_rules; i++)
        file_clause(&f, policy_deny_clause(from->deny_rules[i]), i);
    ep->every_call = p == POLICY_MCP && policy_endpoint_allows_all_mcp(from);
    for (size_t i = 0; i < ep->allow.n_calls; i++)
        ep->tools_narrowed |= ep->allow.calls[i].names_tool;
    compile_registry(arena, from, ep);
}
