/* The input documents of the evaluation contract (spec/policy.md 7.2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "core/cleanup.h"
#include "policy/input.h"

/* Takes got. */
static void expect(json_t *got, const char *want)
{
    json_error_t bad;
    json_t *wanted = json_loads(want, 0, &bad);
    if (!wanted)
        fail_msg("%s: %s", bad.text, want);
    if (!json_equal(got, wanted)) {
        cleanup_free char *text = json_dumps(got, JSON_SORT_KEYS);
        fail_msg("got %s, want %s", text, want);
    }
    json_decref(wanted);
    json_decref(got);
}

static void connections(void **state)
{
    const char *const ancestors[] = {"/bin/bash", "/opt/agent"}, *const cmdline[] = {"/srv/x.py"};
    const struct policy_process who = {.exe = "/usr/bin/caf\xc3\xa9\xff",
                                       .ancestors = ancestors,
                                       .n_ancestors = 2,
                                       .cmdline = cmdline,
                                       .n_cmdline = 1};
    expect(policy_input("api.x.com", 443, &who),
           "{\"network\": {\"host\": \"api.x.com\", \"port\": 443}, \"exec\": {\"path\": "
           "\"/usr/bin/caf\\u00e9\\ufffd\", \"ancestors\": [\"/bin/bash\", \"/opt/agent\"], "
           "\"cmdline_paths\": [\"/srv/x.py\"]}}");
    expect(policy_input("h", 1, &(struct policy_process){0}),
           "{\"network\": {\"host\": \"h\", \"port\": 1}, \"exec\": {\"path\": \"\", \"ancestors\": [], "
           "\"cmdline_paths\": []}}");
}

static void plain_requests(void **state)
{
    const struct policy_query_pair query[] = {{"k", "v1"}, {"", ""}, {"k", "v2"}};
    expect(
        policy_input_requests(
            &(struct policy_http){.method = "GET", .path = "/a", .query = query, .n_query = 3}),
        "[{\"method\": \"GET\", \"path\": \"/a\", \"query_params\": {\"k\": [\"v1\", \"v2\"], \"\": [\"\"]}, "
        "\"graphql\": null, \"jsonrpc\": null}]");
}

static void graphql_operations(void **state)
{
    const char *const fields[] = {"repo", "viewer"};
    const struct graphql_operation ops[] = {
        {.type = "query", .name = "N", .fields = fields, .n_fields = 2},
        {.persisted = true, .hash = "abc"},
        {.persisted = true, .id = "7"},
    };
    const struct graphql_request good = {.operations = ops, .n = 3}, bad = {.error = "syntax"};
    expect(policy_input_requests(&(struct policy_http){.method = "POST", .path = "/g", .graphql = &good}),
           "[{\"method\": \"POST\", \"path\": \"/g\", \"query_params\": {}, \"jsonrpc\": null, \"graphql\": "
           "{\"error\": null, \"operations\": [{\"operation_type\": \"query\", \"operation_name\": \"N\", "
           "\"fields\": [\"repo\", \"viewer\"], \"persisted_query\": false}, {\"fields\": [], "
           "\"persisted_query\": true, \"persisted_query_hash\": \"abc\"}, {\"fields\": [], "
           "\"persisted_query\": true, \"persisted_query_id\": \"7\"}]}}]");
    expect(policy_input_requests(&(struct policy_http){.method = "POST", .path = "/g", .graphql = &bad}),
           "[{\"method\": \"POST\", \"path\": \"/g\", \"query_params\": {}, \"jsonrpc\": null, \"graphql\": "
           "{\"error\": \"syntax\", \"operations\": []}}]");
}

#define RPC(method, params, tool, response, stream, error)                                                   \
    "{\"method\": \"POST\", \"path\": \"/m\", \"query_params\": {}, \"graphql\": null, \"jsonrpc\": "        \
    "{\"method\": " method ", \"params\": " params ", \"tool\": " tool ", \"has_response\": " response       \
    ", \"receive_stream\": " stream ", \"error\": " error "}}"
#define FRAME(response, stream, error) RPC("null", "null", "null", response, stream, error)

static void expect_rpc(const struct jsonrpc_request *j, const char *want)
{
    expect(policy_input_requests(&(struct policy_http){.method = "POST", .path = "/m", .jsonrpc = j}), want);
}

static void jsonrpc_calls_are_asked_about_one_by_one(void **state)
{
    const struct jsonrpc_call calls[] = {{"tools/call", "search"}, {"ping", NULL}};
    expect_rpc(&(struct jsonrpc_request){.calls = calls, .n = 2},
               "[" RPC("\"tools/call\"", "{\"name\": \"search\"}", "\"search\"", "false", "false",
                       "null") "," RPC("\"ping\"", "{}", "null", "false", "false", "null") "]");
    expect_rpc(
        &(struct jsonrpc_request){.calls = &calls[1], .n = 1, .has_response = true},
        "[" FRAME("true", "false", "null") "," RPC("\"ping\"", "{}", "null", "false", "false", "null") "]");
    expect_rpc(&(struct jsonrpc_request){.receive_stream = true}, "[" FRAME("false", "true", "null") "]");
    expect_rpc(&(struct jsonrpc_request){.error = "invalid JSON"},
               "[" FRAME("false", "false", "\"invalid JSON\"") "]");
    expect_rpc(&(struct jsonrpc_request){0}, "[" FRAME("false", "false", "null") "]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections),
        cmocka_unit_test(plain_requests),
        cmocka_unit_test(graphql_operations),
        cmocka_unit_test(jsonrpc_calls_are_asked_about_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
