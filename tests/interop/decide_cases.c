/* Decides cases for test_opa.py: one JSON object per input line {policy, identity, advisor_endpoints,
 * advisor_binaries, inputs}, one per output line: {refused} or {data, results}. Indexes name endpoints as
 * [policy key, index]. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/cleanup.h"
#include "policy/data.h"
#include "policy/engine_priv.h"
#include "policy/model.h"

#define LIST_MAX 16

static const char *string_at(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static size_t strings(const json_t *list, const char *out[LIST_MAX])
{
    size_t n = json_array_size(list);
    if (n > LIST_MAX)
        abort();
    for (size_t i = 0; i < n; i++)
        out[i] = json_string_value(json_array_get(list, i));
    return n;
}

/* --- provenance, which no YAML can say --- */

static policy_rule *rule_at(policy_doc *doc, const json_t *pair)
{
    const struct policy_map_entry *entry = policy_map_find(doc->network_policies, doc->n_network_policies,
                                                           json_string_value(json_array_get(pair, 0)));
    return entry ? (void *)entry->value : NULL;
}

static void mark_proposed(policy_doc *doc, const json_t *endpoints, const json_t *binaries)
{
    size_t i;
    const json_t *pair;
    json_array_foreach(endpoints, i, pair)
    {
        rule_at(doc, pair)->endpoints[json_integer_value(json_array_get(pair, 1))]->advisor_proposed = true;
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    json_array_foreach(binaries, i, pair)
    {
        rule_at(doc, pair)->binaries[json_integer_value(json_array_get(pair, 1))]->harness = true;
    }
#pragma GCC diagnostic pop
}

/* --- answers --- */

static json_t *place_of(const struct policy_engine *e, const void *endpoint)
{
    const struct engine_endpoint *ep = endpoint;
    if (!ep)
        return json_null();
    size_t index = 0;
    while (ep - index > e->endpoints && ep[-(ptrdiff_t)index - 1].rule == ep->rule)
        index++;
    return json_pack("[sI]", ep->pub.policy_key, (json_int_t)index);
}

static json_t *places(const struct policy_engine *e, const void *const *list, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(a, place_of(e, list[i]));
    return a;
}

static json_t *answer_l4(const struct policy_engine *e, const struct policy_l4 *l4, const json_t *network,
                         const struct policy_process *who)
{
    cleanup_buf struct os_buf reason = {0};
    const void *configs[POLICY_MATCH_MAX];
    for (size_t i = 0; i < l4->n_configs; i++)
        configs[i] = l4->configs[i];
    if (!l4->allow)
        policy_l4_reason(e, string_at(network, "host"),
                         (uint16_t)json_integer_value(json_object_get(network, "port")), who, &reason);
    return json_pack("{sb ss ss sb so so sb}", "allow", l4->allow, "policy", l4->policy ? l4->policy : "",
                     "reason", os_buf_str(&reason), "declared", l4->declared_host, "matched",
                     places(e, l4->matched, l4->n_matched), "configs", places(e, configs, l4->n_configs),
                     "inspects", policy_l4_inspects(l4));
}

/* --- requests --- */

static void read_graphql(struct os_arena *arena, const json_t *from, struct graphql_request *out)
{
    const json_t *list = json_object_get(from, "operations");
    struct graphql_operation *ops = os_arena_alloc(arena, json_array_size(list) * sizeof(*ops));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *op = json_array_get(list, i);
        const char **fields = os_arena_alloc(arena, LIST_MAX * sizeof(*fields));
        ops[i] = (struct graphql_operation){.type = string_at(op, "operation_type"),
                                            .name = string_at(op, "operation_name"),
                                            .fields = fields,
                                            .n_fields = strings(json_object_get(op, "fields"), fields),
                                            .persisted = json_is_true(json_object_get(op, "persisted_query")),
                                            .hash = string_at(op, "persisted_query_hash"),
                                            .id = string_at(op, "persisted_query_id")};
    }
    *out = (struct graphql_request){
        .operations = ops, .n = json_array_size(list), .error = string_at(from, "error")};
}

static void read_jsonrpc(struct os_arena *arena, const json_t *from, struct jsonrpc_request *out)
{
    const json_t *list = json_object_get(from, "calls");
    struct jsonrpc_call *calls = os_arena_alloc(arena, json_array_size(list) * sizeof(*calls));
    for (size_t i = 0; i < json_array_size(list); i++)
        calls[i] = (struct jsonrpc_call){.method = string_at(json_array_get(list, i), "method"),
                                         .tool = string_at(json_array_get(list, i), "tool")};
    *out = (struct jsonrpc_request){
        .calls = calls,
        .n = json_array_size(list),
        .has_response = json_is_true(json_object_get(from, "has_response")),
        .receive_stream = json_is_true(json_object_get(from, "receive_stream")),
        .error = string_at(from, "error"),
    };
}

static enum policy_http_kind kind_of(const char *text)
{
    return !strcmp(text, "upgrade")   ? POLICY_HTTP_UPGRADE
           : !strcmp(text, "message") ? POLICY_HTTP_MESSAGE
                                      : POLICY_HTTP_REQUEST;
}

/* A body is read as the protocol that the configuration asks for, as the egress path does. */
static json_t *answer_l7(const struct policy_engine *e, const struct policy_l4 *l4, const json_t *request)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_buf struct os_buf reason = {0};
    const json_t *query = json_object_get(request, "query");
    struct policy_query_pair *pairs = os_arena_alloc(&arena, json_array_size(query) * sizeof(*pairs));
    for (size_t i = 0; i < json_array_size(query); i++)
        pairs[i] = (struct policy_query_pair){json_string_value(json_array_get(json_array_get(query, i), 0)),
                                              json_string_value(json_array_get(json_array_get(query, i), 1))};
    struct graphql_request graphql;
    struct jsonrpc_request jsonrpc;
    struct policy_http req = {.method = string_at(request, "method"),
                              .path = string_at(request, "path"),
                              .query = pairs,
                              .n_query = json_array_size(query),
                              .kind = kind_of(string_at(request, "kind"))};
    const struct policy_endpoint *config = policy_l7_config(l4, req.path);
    if (config && (config->protocol == POLICY_GRAPHQL ||
                   (config->websocket_graphql && req.kind == POLICY_HTTP_MESSAGE))) {
        read_graphql(&arena, json_object_get(request, "graphql"), &graphql);
        req.graphql = &graphql;
    }
    if (config && (config->protocol == POLICY_JSON_RPC || config->protocol == POLICY_MCP)) {
        read_jsonrpc(&arena, json_object_get(request, "jsonrpc"), &jsonrpc);
        req.jsonrpc = &jsonrpc;
    }
    struct policy_l7 l7;
    policy_decide_http(e, l4, &req, &l7);
    if (!l7.allow)
        policy_l7_reason(&l7, &req, &reason);
    return json_pack("{sb sb si ss so sb sb}", "allow", l7.allow, "audit", l7.audit, "why", (int)l7.why,
                     "reason", os_buf_str(&reason), "config", place_of(e, l7.config), "graphql",
                     req.graphql != NULL, "jsonrpc", req.jsonrpc != NULL);
}

static json_t *answer(const struct policy_engine *e, const json_t *input)
{
    const json_t *network = json_object_get(input, "network"), *exec = json_object_get(input, "exec");
    const json_t *request = json_object_get(input, "request");
    const char *ancestors[LIST_MAX], *cmdline[LIST_MAX];
    const struct policy_process who = {.exe = string_at(exec, "path"),
                                       .ancestors = ancestors,
                                       .n_ancestors = strings(json_object_get(exec, "ancestors"), ancestors),
                                       .cmdline = cmdline,
                                       .n_cmdline = strings(json_object_get(exec, "cmdline_paths"), cmdline)};
    struct policy_l4 l4;
    policy_decide_l4(e, string_at(network, "host"),
                     (uint16_t)json_integer_value(json_object_get(network, "port")), &who, &l4);
    json_t *out = answer_l4(e, &l4, network, &who);
    if (l4.allow && json_is_object(request))
        json_object_set_new(out, "request", answer_l7(e, &l4, request));
    return out;
}

static json_t *decide(const json_t *line)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    const char *text = string_at(line, "policy");
    policy_doc *doc = policy_yaml_parse(&arena, text, strlen(text), &err);
    if (!doc)
        return json_pack("{ss}", "refused", os_error_text(&err));
    mark_proposed(doc, json_object_get(line, "advisor_endpoints"), json_object_get(line, "advisor_binaries"));
    const struct policy_compile_options opt = {.binary_identity =
                                                   json_is_true(json_object_get(line, "identity"))};
    struct policy_engine *e = policy_compile(doc, &opt, &err);
    if (!e)
        return json_pack("{ss}", "refused", os_error_text(&err));
    json_t *results = json_array();
    size_t i;
    const json_t *input;
    json_array_foreach(json_object_get(line, "inputs"), i, input)
    {
        json_array_append_new(results, answer(e, input));
    }
    policy_engine_unref(e);
    return json_pack("{so so}", "data", policy_data(doc, &opt), "results", results);
}

int main(void)
{
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) {
        json_t *in = json_loads(line, 0, NULL);
        if (!in)
            abort();
        json_t *out = decide(in);
        json_dumpf(out, stdout, JSON_COMPACT);
        puts("");
        fflush(stdout);
        json_decref(out);
        json_decref(in);
    }
    free(line);
    return 0;
}
