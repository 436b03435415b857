/* Decisions on WebSocket messages, GraphQL operations and JSON-RPC calls: the worked examples of the policy
 * specification (section 10, 54-72) and their corners. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "policy/engine.h"

#define CURL "binaries: [{path: /usr/bin/curl}]"
#define E(text) "{host: api.x.com, port: 443, enforcement: enforce, " text "}"
#define K(text) "k: {" CURL ", endpoints: [" text "]}"

static struct policy_engine *compile(const char *policies)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    const char *text = os_arena_printf(&arena, "version: 1\nnetwork_policies: {%s}\n", policies);
    policy_doc *doc = policy_yaml_parse(&arena, text, strlen(text), &err);
    struct policy_engine *e =
        doc ? policy_compile(doc, &(struct policy_compile_options){.binary_identity = true}, &err) : NULL;
    if (!e)
        fail_msg("%s\n%s", text, os_error_text(&err));
    return e;
}

/* Decides and compares; the reason where one is given. */
static void expect(const char *policies, const struct policy_http *req, enum policy_l7_why why,
                   const char *reason)
{
    cleanup_buf struct os_buf text = {0};
    struct policy_engine *e = compile(policies);
    const struct policy_process who = {.exe = "/usr/bin/curl"};
    struct policy_l4 l4;
    struct policy_l7 l7;
    policy_decide_l4(e, "api.x.com", 443, &who, &l4);
    assert_true(l4.allow);
    policy_decide_http(e, &l4, req, &l7);
    policy_l7_reason(&l7, req, &text);
    if (l7.why != why || l7.allow != (why == POLICY_L7_ALLOWED))
        fail_msg("%s: %s %s: %s (%d, want %d)", policies, req->method, req->path, os_buf_str(&text), l7.why,
                 why);
    assert_false(l7.audit);
    if (reason)
        assert_string_equal(os_buf_str(&text), reason);
    policy_engine_unref(e);
}

/* --- GraphQL --- */

static const char *const viewer[] = {"viewer"};
static const char *const viewer_repo[] = {"repo", "viewer"};
static const char *const a_delete[] = {"a", "deleteRepo"};

#define OP(kind, list)                                                                                       \
    {                                                                                                        \
        .type = kind, .fields = list, .n_fields = OS_ARRAY_LEN(list)                                         \
    }

static void expect_operations(const char *policies, const char *path, const struct graphql_operation *ops,
                              size_t n, enum policy_l7_why why, const char *reason)
{
    const struct graphql_request g = {.operations = ops, .n = n};
    expect(policies, &(struct policy_http){.method = "POST", .path = path, .graphql = &g}, why, reason);
}

#define REPOS_AND_GRAPHQL                                                                                    \
    K(E("protocol: rest, path: '/repos/**', access: full") ", " E(                                           \
        "protocol: graphql, path: /graphql, access: read-only"))
#define EVERYTHING_AND_GRAPHQL                                                                               \
    K(E("protocol: rest, access: full") ", " E("protocol: graphql, path: /graphql, access: read-only"))
#define GRAPHQL(text) K(E("protocol: graphql, " text))
#define BLOCKED "GraphQL operation blocked by endpoint policy"

static void graphql_examples(void **state)
{
    const struct graphql_operation query = OP("query", viewer), mutation = OP("mutation", viewer),
                                   two = OP("query", viewer_repo), deletes = OP("mutation", a_delete),
                                   subscription = OP("subscription", viewer),
                                   named = {.type = "query",
                                            .name = "Get.Viewer",
                                            .fields = viewer,
                                            .n_fields = 1};
    const struct graphql_operation batch[] = {query, mutation};
    expect_operations(REPOS_AND_GRAPHQL, "/graphql", &mutation, 1, POLICY_L7_GRAPHQL_DENIED, BLOCKED);
    expect_operations(REPOS_AND_GRAPHQL, "/graphql", &query, 1, POLICY_L7_ALLOWED, NULL);
    expect_operations(EVERYTHING_AND_GRAPHQL, "/graphql", &mutation, 1, POLICY_L7_GRAPHQL_DENIED, BLOCKED);
    expect_operations(EVERYTHING_AND_GRAPHQL, "/graphql", &query, 1, POLICY_L7_ALLOWED, NULL);
    expect_operations(GRAPHQL("access: read-only"), "/graphql", batch, 2, POLICY_L7_GRAPHQL_DENIED, BLOCKED);
    expect_operations(GRAPHQL("access: read-write"), "/graphql", batch, 2, POLICY_L7_ALLOWED, NULL);
    expect_operations(GRAPHQL("access: read-write"), "/graphql", &subscription, 1, POLICY_L7_GRAPHQL_DENIED,
                      BLOCKED);
    expect_operations(GRAPHQL("access: full"), "/graphql", &subscription, 1, POLICY_L7_ALLOWED, NULL);
    expect_operations(GRAPHQL("access: full"), "/graphql", NULL, 0, POLICY_L7_GRAPHQL_DENIED, BLOCKED);

    static const char fields[] = GRAPHQL("rules: [{allow: {operation_type: query, fields: [viewer]}}]");
    expect_operations(fields, "/g", &query, 1, POLICY_L7_ALLOWED, NULL);
    expect_operations(fields, "/g", &two, 1, POLICY_L7_GRAPHQL_DENIED, BLOCKED);
    static const char deny[] =
        GRAPHQL("access: full, deny_rules: [{operation_type: mutation, fields: ['delete*']}]");
    expect_operations(deny, "/g", &deletes, 1, POLICY_L7_GRAPHQL_DENIED, BLOCKED);
    expect_operations(deny, "/g", &mutation, 1, POLICY_L7_ALLOWED, NULL);
    static const char by_name[] = GRAPHQL("rules: [{allow: {operation_type: '*', operation_name: 'Get.*'}}]");
    expect_operations(by_name, "/g", &named, 1, POLICY_L7_ALLOWED, NULL);
    expect_operations(by_name, "/g", &query, 1, POLICY_L7_GRAPHQL_DENIED, BLOCKED);
}

static void persisted_queries_come_from_the_registry(void **state)
{
#define REGISTRY                                                                                             \
    "graphql_persisted_queries: {abc: {operation_type: query, fields: [viewer]}, del: {operation_type: "     \
    "mutation}}"
    const struct graphql_operation by_hash = {.persisted = true, .hash = "abc"},
                                   unknown = {.persisted = true, .hash = "x"},
                                   by_id = {.persisted = true, .id = "del"},
                                   both = {.persisted = true, .hash = "x", .id = "abc"};
    static const char on[] = GRAPHQL("access: read-only, persisted_queries: allow_registered, " REGISTRY);
    static const char off[] = GRAPHQL("access: read-only, " REGISTRY);
    static const char text[] = "GraphQL persisted query is not registered";
    expect_operations(on, "/g", &by_hash, 1, POLICY_L7_ALLOWED, NULL);
    expect_operations(on, "/g", &unknown, 1, POLICY_L7_GRAPHQL_UNKNOWN, text);
    expect_operations(on, "/g", &both, 1, POLICY_L7_GRAPHQL_UNKNOWN, text);
    expect_operations(on, "/g", &by_id, 1, POLICY_L7_GRAPHQL_DENIED, BLOCKED);
    expect_operations(off, "/g", &by_hash, 1, POLICY_L7_GRAPHQL_UNKNOWN, text);
    expect_operations(GRAPHQL("access: full"), "/g", &unknown, 1, POLICY_L7_GRAPHQL_UNKNOWN, text);
}

static void what_is_not_understood_is_refused_even_in_audit_mode(void **state)
{
    const struct graphql_request bad = {.error = "GraphQL POST body is empty"};
    const struct policy_http req = {.method = "POST", .path = "/g", .graphql = &bad};
    expect(K("{host: api.x.com, port: 443, enforcement: audit, protocol: graphql, access: full}"), &req,
           POLICY_L7_GRAPHQL_ERROR, "GraphQL request rejected: GraphQL POST body is empty");
    const struct jsonrpc_request broken = {.error = "invalid JSON"};
    const struct policy_http call = {.method = "POST", .path = "/g", .jsonrpc = &broken};
    expect(K("{host: api.x.com, port: 443, protocol: mcp, mcp: {allow_all_known_mcp_methods: true}}"), &call,
           POLICY_L7_JSONRPC_ERROR, "JSON-RPC request rejected: invalid JSON");
    const struct policy_http unread = {.method = "POST", .path = "/g"};
    expect(K("{host: api.x.com, port: 443, protocol: mcp, mcp: {allow_all_known_mcp_methods: true}}"),
           &unread, POLICY_L7_ERROR, NULL);
}

/* --- JSON-RPC and MCP --- */

static void expect_calls(const char *policies, const struct jsonrpc_call *calls, size_t n,
                         enum policy_l7_why why)
{
    const struct jsonrpc_request j = {.calls = calls, .n = n};
    expect(policies, &(struct policy_http){.method = "POST", .path = "/mcp", .jsonrpc = &j}, why,
           why == POLICY_L7_NOT_ALLOWED ? "POST /mcp not permitted by policy"
           : why == POLICY_L7_DENY_RULE ? "POST /mcp blocked by deny rule"
                                        : NULL);
}

static void json_rpc_examples(void **state)
{
    static const char list[] = K(E("protocol: json-rpc, rules: [{allow: {method: reports.list}}]"));
    static const char all[] = K(E("protocol: json-rpc, rules: [{allow: {method: '*'}}]"));
    const struct jsonrpc_call batch[] = {{.method = "reports.list"}, {.method = "reports.delete"}};
    expect_calls(list, batch, 1, POLICY_L7_ALLOWED);
    expect_calls(list, batch, 2, POLICY_L7_NOT_ALLOWED);
    expect_calls(all, batch, 2, POLICY_L7_ALLOWED);
    expect_calls(all, NULL, 0, POLICY_L7_NOT_ALLOWED);
    const struct jsonrpc_request response = {.has_response = true}, stream = {.receive_stream = true};
    expect(all, &(struct policy_http){.method = "POST", .path = "/mcp", .jsonrpc = &response},
           POLICY_L7_JSONRPC_RESPONSE, "JSON-RPC response frames are not permitted from client to server");
    expect(all, &(struct policy_http){.method = "GET", .path = "/mcp", .jsonrpc = &stream},
           POLICY_L7_NOT_ALLOWED, NULL);
}

static void mcp_examples(void **state)
{
    static const char search[] = K(E("protocol: mcp, rules: [{allow: {method: tools/call, tool: search}}]"));
    static const char family[] = K(E("protocol: mcp, rules: [{allow: {method: 'tools/*'}}]"));
    static const char no_rm[] =
        K(E("protocol: mcp, mcp: {allow_all_known_mcp_methods: true}, deny_rules: [{method: "
            "tools/call, tool: rm}]"));
    static const char narrowed[] =
        K(E("protocol: mcp, mcp: {allow_all_known_mcp_methods: true}, rules: [{allow: {tool: search}}]"));
    const struct jsonrpc_call do_search = {"tools/call", "search"}, do_send = {"tools/call", "send"},
                              do_rm = {"tools/call", "rm"}, do_ls = {"tools/call", "ls"},
                              list = {"tools/list", NULL}, init = {"initialize", NULL},
                              vendor = {"vendor/x", NULL}, nameless = {"tools/call", NULL};
    expect_calls(search, &do_search, 1, POLICY_L7_ALLOWED);
    expect_calls(search, &do_send, 1, POLICY_L7_NOT_ALLOWED);
    expect_calls(search, &nameless, 1, POLICY_L7_NOT_ALLOWED);
    expect_calls(search, &init, 1, POLICY_L7_NOT_ALLOWED);
    expect_calls(family, &do_ls, 1, POLICY_L7_ALLOWED);
    expect_calls(family, &list, 1, POLICY_L7_ALLOWED);
    expect_calls(family, &init, 1, POLICY_L7_NOT_ALLOWED);
    expect_calls(no_rm, &do_rm, 1, POLICY_L7_DENY_RULE);
    expect_calls(no_rm, &do_ls, 1, POLICY_L7_ALLOWED);
    expect_calls(no_rm, &vendor, 1, POLICY_L7_ALLOWED);
    expect_calls(narrowed, &list, 1, POLICY_L7_ALLOWED);
    expect_calls(narrowed, &do_ls, 1, POLICY_L7_NOT_ALLOWED);
    expect_calls(narrowed, &do_search, 1, POLICY_L7_ALLOWED);
    const struct jsonrpc_request response = {.has_response = true}, stream = {.receive_stream = true},
                                 mixed = {.calls = &do_send, .n = 1, .has_response = true};
    expect(search, &(struct policy_http){.method = "POST", .path = "/m", .jsonrpc = &response},
           POLICY_L7_ALLOWED, NULL);
    expect(search, &(struct policy_http){.method = "GET", .path = "/m", .jsonrpc = &stream},
           POLICY_L7_ALLOWED, NULL);
    expect(search, &(struct policy_http){.method = "POST", .path = "/m", .jsonrpc = &mixed},
           POLICY_L7_NOT_ALLOWED, NULL);
}

/* --- WebSocket --- */

static void websocket_examples(void **state)
{
    static const char read_only[] = K(E("protocol: websocket, access: read-only"));
    static const char read_write[] = K(E("protocol: websocket, access: read-write"));
    static const char graphql[] = K(E("protocol: websocket, rules: [{allow: {method: GET, path: '**'}}, "
                                      "{allow: {operation_type: subscription}}]"));
    const struct policy_http get = {.method = "GET", .path = "/ws"},
                             upgrade = {.method = "GET", .path = "/ws", .kind = POLICY_HTTP_UPGRADE},
                             message = {
                                 .method = "WEBSOCKET_TEXT", .path = "/ws", .kind = POLICY_HTTP_MESSAGE};
    expect(read_only, &get, POLICY_L7_NEEDS_UPGRADE, NULL);
    expect(read_only, &upgrade, POLICY_L7_ALLOWED, NULL);
    expect(read_only, &message, POLICY_L7_NOT_ALLOWED, "WEBSOCKET_TEXT /ws not permitted by policy");
    expect(read_write, &message, POLICY_L7_ALLOWED, NULL);
    const struct graphql_operation subscription = OP("subscription", viewer),
                                   mutation = OP("mutation", viewer);
    struct graphql_request g = {.operations = &subscription, .n = 1};
    struct policy_http operation = message;
    operation.graphql = &g;
    expect(graphql, &upgrade, POLICY_L7_ALLOWED, NULL);
    expect(graphql, &message, POLICY_L7_ERROR, NULL);
    expect(graphql, &operation, POLICY_L7_ALLOWED, NULL);
    g.operations = &mutation;
    expect(graphql, &operation, POLICY_L7_GRAPHQL_DENIED, BLOCKED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(graphql_examples),
        cmocka_unit_test(persisted_queries_come_from_the_registry),
        cmocka_unit_test(what_is_not_understood_is_refused_even_in_audit_mode),
        cmocka_unit_test(json_rpc_examples),
        cmocka_unit_test(mcp_examples),
        cmocka_unit_test(websocket_examples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
