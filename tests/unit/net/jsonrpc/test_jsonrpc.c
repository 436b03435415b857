/* JSON-RPC and MCP bodies: calls, responses, batches, and every row of the table of params. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "net/jsonrpc/jsonrpc.h"

static struct os_arena arena;

static int arena_teardown(void **state)
{
    os_arena_free(&arena);
    return 0;
}

/* "method(tool) ... [response]", or the error. Single quotes in text stand for double quotes. */
static const char *seen(enum jsonrpc_dialect dialect, bool strict, const char *text)
{
    char *s = os_arena_strdup(&arena, text);
    for (char *p = s; *p; p++)
        if (*p == '\'')
            *p = '"';
    struct jsonrpc_request r;
    jsonrpc_parse(&arena, dialect, strict, s, strlen(s), &r);
    assert_false(r.receive_stream);
    if (r.error) {
        assert_int_equal(r.n, 0);
        assert_false(r.has_response);
        return r.error;
    }
    cleanup_buf struct os_buf b = {0};
    for (size_t i = 0; i < r.n; i++)
        os_buf_addf(&b, "%s%s(%s)", i ? " " : "", r.calls[i].method, r.calls[i].tool ? r.calls[i].tool : "");
    if (r.has_response)
        os_buf_adds(&b, "[response]");
    return os_arena_strdup(&arena, os_buf_str(&b));
}

static const char *generic(const char *text)
{
    return seen(JSONRPC_GENERIC, true, text);
}

static const char *mcp(const char *text)
{
    return seen(JSONRPC_MCP, true, text);
}

static void reads_calls(void **state)
{
    static const struct {
        const char *text, *seen;
    } cases[] = {
        {"{'jsonrpc':'2.0','method':'a.b'}", "a.b()"},
        {"{'jsonrpc':'2.0','method':'tools/call','params':{'name':'x'},'id':1}", "tools/call()"},
        {"{'jsonrpc':'2.0','method':'m','params':[1,18446744073709551616],'id':null}", "m()"},
        {"[{'jsonrpc':'2.0','method':'a'},{'jsonrpc':'2.0','method':'b'}]", "a() b()"},
        {"{'jsonrpc':'2.0','result':{},'id':1}", "[response]"},
        {"{'jsonrpc':'2.0','result':null,'id':'x'}", "[response]"},
        {"{'jsonrpc':'2.0','error':{'code':1},'id':null}", "[response]"},
        {"[{'jsonrpc':'2.0','method':'a'},{'jsonrpc':'2.0','result':1,'id':1.5}]", "a()[response]"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++)
        assert_string_equal(generic(cases[i].text), cases[i].seen);
}

static void refuses_messages(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "invalid JSON"},
        {"{", "invalid JSON"},
        {"{'jsonrpc':'2.0','method':'a'}x", "invalid JSON"},
        {"{'jsonrpc':'2.0','method':'\\u0000'}", "invalid JSON"},
        {"[]", "empty batch"},
        {"1", "missing or non-string 'jsonrpc' field"},
        {"{}", "missing or non-string 'jsonrpc' field"},
        {"{'jsonrpc':2.0,'method':'a'}", "missing or non-string 'jsonrpc' field"},
        {"{'jsonrpc':'1.0','method':'a'}", "unsupported JSON-RPC version '1.0'"},
        {"{'jsonrpc':'2.0'}", "missing or non-string 'method' field"},
        {"{'jsonrpc':'2.0','method':1}", "missing or non-string 'method' field"},
        {"{'jsonrpc':'2.0','method':null,'id':1}", "missing or non-string 'method' field"},
        {"{'jsonrpc':'2.0','method':'a','result':1,'id':1}",
         "JSON-RPC message includes both method and result/error"},
        {"{'jsonrpc':'2.0','method':'a','error':{},'id':1}",
         "JSON-RPC message includes both method and result/error"},
        {"{'jsonrpc':'2.0','result':1,'error':{},'id':1}",
         "JSON-RPC response includes both result and error"},
        {"{'jsonrpc':'2.0','result':1}", "JSON-RPC response missing id"},
        {"{'jsonrpc':'2.0','result':1,'id':{}}", "JSON-RPC response id must be string, number, or null"},
        {"{'jsonrpc':'2.0','error':'x','id':1}", "JSON-RPC response error must be an object"},
        {"{'jsonrpc':'2.0','error':null,'id':1}", "JSON-RPC response error must be an object"},
        {"[1]", "batch item invalid: missing or non-string 'jsonrpc' field"},
        {"[[{'jsonrpc':'2.0','method':'a'}]]", "batch item invalid: missing or non-string 'jsonrpc' field"},
        {"[{'jsonrpc':'2.0','method':'a'},{'jsonrpc':'2.0'}]",
         "batch item invalid: missing or non-string 'method' field"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++) {
        assert_string_equal(generic(cases[i].text), cases[i].error);
        assert_string_equal(mcp(cases[i].text), cases[i].error);
    }
}

/* Bodies that servers read differently. */
static void refuses_ambiguous_messages(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"{'jsonrpc':'2.0','method':'a','method':'b','id':1}", "a member name is repeated"},
        {"{'jsonrpc':'2.0','method':'a','metho\\u0064':'b','id':1}", "a member name is repeated"},
        {"{'jsonrpc':'2.0','jsonrpc':'2.0','method':'a','id':1}", "a member name is repeated"},
        {"{'jsonrpc':'2.0','method':'a','params':{},'params':{},'id':1}", "a member name is repeated"},
        {"{'jsonrpc':'2.0','method':'a','Method':'b','id':1}", "differs from 'method' only in case"},
        {"{'jsonrpc':'2.0','method':'a','PARAMS':{},'id':1}", "differs from 'params' only in case"},
        {"{'jsonrpc':'2.0','method':'a','param\\u017f':{},'id':1}", "differs from 'params' only in case"},
        {"{'jsonrpc':'2.0','method':'a','Result':{},'id':1}", "differs from 'result' only in case"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++) {
        assert_non_null(strstr(generic(cases[i].text), cases[i].part));
        assert_non_null(strstr(mcp(cases[i].text), cases[i].part));
    }
    assert_non_null(
        strstr(mcp("{'jsonrpc':'2.0','method':'tools/call','params':{'name':'a','name':'b'},'id':1}"),
               "a member name is repeated"));
    assert_non_null(
        strstr(mcp("{'jsonrpc':'2.0','method':'tools/call','params':{'name':'a','Name':'b'},'id':1}"),
               "differs from 'name' only in case"));
    cleanup_buf struct os_buf deep = {0};
    os_buf_adds(&deep, "{'jsonrpc':'2.0','method':'a','params':");
    for (int i = 0; i < 200; i++)
        os_buf_adds(&deep, "[");
    assert_string_equal(generic(os_buf_str(&deep)),
                        "JSON-RPC body is not acceptable: nested deeper than 128 levels");
}

static const char *call(const char *method, const char *params)
{
    return mcp(os_arena_printf(&arena, "{'jsonrpc':'2.0','method':'%s','id':1%s%s}", method,
                               params ? ",'params':" : "", params ? params : ""));
}

static const char *notify(const char *method, const char *params)
{
    return mcp(os_arena_printf(&arena, "{'jsonrpc':'2.0','method':'%s','params':%s}", method, params));
}

static void checks_mcp_ids(void **state)
{
    static const char *const good[] = {"1", "-9223372036854775808", "9223372036854775807", "''", "'x'"};
    static const char *const bad[] = {"null", "true", "1.5", "9223372036854775808", "{}", "[]"};
    for (size_t i = 0; i < OS_ARRAY_LEN(good); i++)
        assert_string_equal(
            mcp(os_arena_printf(&arena, "{'jsonrpc':'2.0','method':'ping','id':%s}", good[i])), "ping()");
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++)
        assert_string_equal(mcp(os_arena_printf(&arena, "{'jsonrpc':'2.0','method':'ping','id':%s}", bad[i])),
                            "invalid MCP request: id must be a string or an integer");
}

struct params_case {
    const char *method, *params;
    const char *wrong; /* NULL = fine */
};

#define INIT(capabilities, info)                                                                             \
    "{'protocolVersion':'1','capabilities':" capabilities ",'clientInfo':" info "}"
#define INFO "{'name':'n','version':'v'}"
#define COMPLETE(ref) "{'ref':" ref ",'argument':{'name':'n','value':''}}"
#define REFERENCE_TEXT "'ref' must be a reference to a prompt with a name or a resource with a uri"

static const struct params_case requests[] = {
    {"initialize", INIT("{}", INFO), NULL},
    {"initialize", INIT("{'roots':{},'sampling':null,'x':1}", "{'name':'n','version':'v','title':1}"), NULL},
    {"initialize", NULL, "'protocolVersion' must be a string"},
    {"initialize", "null", "'protocolVersion' must be a string"},
    {"initialize", "{'protocolVersion':'1'}", "'capabilities' must be an object"},
    {"initialize", INIT("{'roots':1}", INFO), "'capabilities.roots' must be an object"},
    {"initialize", INIT("{'sampling':1}", INFO), "'capabilities.sampling' must be an object"},
    {"initialize", INIT("{'elicitation':1}", INFO), "'capabilities.elicitation' must be an object"},
    {"initialize", INIT("{'tasks':[]}", INFO), "'capabilities.tasks' must be an object"},
    {"initialize", INIT("{'experimental':''}", INFO), "'capabilities.experimental' must be an object"},
    {"initialize", INIT("{'extensions':false}", INFO), "'capabilities.extensions' must be an object"},
    {"initialize", INIT("{}", "null"), "'clientInfo' must be an object"},
    {"initialize", INIT("{}", "{'name':'n'}"), "'clientInfo.version' must be a string"},
    {"initialize", INIT("{}", "{'version':'n'}"), "'clientInfo.name' must be a string"},
    {"initialize", "[]", "params must be an object"},
    {"tools/call", "['x']", "params must be an object"},
    {"tools/call", "'x'", "params must be an object"},
    {"tools/call", NULL, "'name' must be a string"},
    {"tools/call", "{'name':1}", "'name' must be a string"},
    {"tools/call", "{'name':null}", "'name' must be a string"},
    {"tools/call", "{'name':'x','task':1}", "'task' must be an object"},
    {"tools/call", "{'name':'x','task':{'ttl':-1}}", "'task.ttl' must be an unsigned integer"},
    {"tools/call", "{'name':'x','_meta':1}", "'_meta' must be an object"},
    {"tools/call", "{'name':'x','_meta':{'progressToken':1.5}}",
     "'_meta.progressToken' must be a string or an integer"},
    {"resources/read", "{'uri':'u','_meta':{'progressToken':'x'}}", NULL},
    {"resources/read", "{}", "'uri' must be a string"},
    {"resources/subscribe", "{'uri':1}", "'uri' must be a string"},
    {"resources/unsubscribe", "{'uri':[]}", "'uri' must be a string"},
    {"prompts/get", "{'name':'p','arguments':{'a':'b'}}", NULL},
    {"prompts/get", "{'name':'p','arguments':null}", NULL},
    {"prompts/get", "{'name':'p','arguments':{'a':1}}", "'arguments' must be an object of strings"},
    {"prompts/get", "{'name':'p','arguments':[]}", "'arguments' must be an object of strings"},
    {"prompts/get", "{}", "'name' must be a string"},
    {"tasks/get", "{'taskId':'t'}", NULL},
    {"tasks/get", "{}", "'taskId' must be a string"},
    {"tasks/result", "{}", "'taskId' must be a string"},
    {"tasks/cancel", "{'taskId':'t','reason':'r'}", NULL},
    {"tasks/cancel", "{'taskId':'t','reason':1}", "'reason' must be a string"},
    {"tasks/update", "{'taskId':'t','inputResponses':{}}", NULL},
    {"tasks/update", "{'taskId':'t','inputResponses':[]}", "'inputResponses' must be an object"},
    {"logging/setLevel", "{'level':'warning'}", NULL},
    {"logging/setLevel", "{'level':'loud'}", "'level' must be a log level"},
    {"logging/setLevel", "{'level':3}", "'level' must be a log level"},
    {"completion/complete", COMPLETE("{'type':'ref/prompt','name':'n'}"), NULL},
    {"completion/complete", COMPLETE("{'type':'ref/resource','uri':'u'}"), NULL},
    {"completion/complete", COMPLETE("{'type':'ref/prompt','uri':'u'}"), REFERENCE_TEXT},
    {"completion/complete", COMPLETE("{'type':'ref/x','name':'n','uri':'u'}"), REFERENCE_TEXT},
    {"completion/complete", COMPLETE("{}"), REFERENCE_TEXT},
    {"completion/complete", "{'ref':{'type':'ref/prompt','name':'n'}}", "'argument' must be an object"},
    {"completion/complete", "{'ref':{'type':'ref/prompt','name':'n'},'argument':{'name':'n'}}",
     "'argument.value' must be a string"},
    {"ping", "[1]", NULL},
    {"tools/list", "{'cursor':1}", NULL},
    {"resources/list", "7", NULL},
    {"resources/templates/list", "[]", NULL},
    {"prompts/list", "'x'", NULL},
    {"tasks/list", "null", NULL},
    {"server/discover", "[]", NULL},
    {"messages/listen", "[]", NULL},
    {"vendor/x", "[1]", NULL},
    {"notifications/progress", "{}", NULL},
};

static const struct params_case notifications[] = {
    {"notifications/cancelled", "{}", NULL},
    {"notifications/cancelled", "{'requestId':1,'reason':'r'}", NULL},
    {"notifications/cancelled", "{'requestId':{}}", "'requestId' must be a string or an integer"},
    {"notifications/cancelled", "{'reason':1}", "'reason' must be a string"},
    {"notifications/cancelled", "[1]", "params must be an object"},
    {"notifications/progress", "{'progressToken':'t','progress':1.5,'total':2,'message':'m'}", NULL},
    {"notifications/progress", "{'progress':1}", "'progressToken' must be a string or an integer"},
    {"notifications/progress", "{'progressToken':1}", "'progress' must be a number"},
    {"notifications/progress", "{'progressToken':1,'progress':1,'total':'2'}", "'total' must be a number"},
    {"notifications/progress", "{'progressToken':1,'progress':1,'message':2}", "'message' must be a string"},
    {"notifications/initialized", "[]", NULL},
    {"resources/read", "{}", NULL},
    {"tools/call", "{}", "'name' must be a string"},
};

static void check_params(const struct params_case *c, const char *got, const char *kind)
{
    const char *want = os_arena_printf(&arena, "%s()", c->method);
    if (c->wrong && strncmp(c->wrong, "params", 6) == 0)
        want = os_arena_printf(&arena, "invalid MCP %s params: %s", kind, c->wrong);
    else if (c->wrong)
        want = os_arena_printf(&arena, "invalid MCP %s params: %s: %s", kind, c->method, c->wrong);
    assert_string_equal(got, want);
}

static void checks_mcp_params(void **state)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(requests); i++)
        check_params(&requests[i], call(requests[i].method, requests[i].params), "request");
    for (size_t i = 0; i < OS_ARRAY_LEN(notifications); i++)
        check_params(&notifications[i], notify(notifications[i].method, notifications[i].params),
                     "notification");
}

#define NAME_TEXT "MCP tool name must match ^[A-Za-z0-9_.-]{1,128}$ when strict_tool_names is enabled"

static void names_tools(void **state)
{
    assert_string_equal(call("tools/call", "{'name':'a.B_c-9','arguments':{'name':'z'}}"),
                        "tools/call(a.B_c-9)");
    assert_string_equal(
        call("tools/call", "{'name':'x','task':{'ttl':5},'arguments':[18446744073709551616]}"),
        "tools/call(x)");
    assert_string_equal(notify("tools/call", "{'name':'x'}"), "tools/call(x)");
    static const char *const bad[] = {"", "a b", "a/b", "\\u00e9", "a\\n"};
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++) {
        const char *params = os_arena_printf(&arena, "{'name':'%s'}", bad[i]);
        assert_string_equal(call("tools/call", params), NAME_TEXT);
        assert_string_equal(notify("tools/call", params), NAME_TEXT);
    }
    char name[130];
    memset(name, 'a', sizeof(name));
    name[129] = '\0';
    assert_string_equal(call("tools/call", os_arena_printf(&arena, "{'name':'%s'}", name)), NAME_TEXT);
    assert_string_equal(call("tools/call", os_arena_printf(&arena, "{'name':'%s'}", name + 1)),
                        os_arena_printf(&arena, "tools/call(%s)", name + 1));
    const char *text = "[{'jsonrpc':'2.0','method':'tools/call','id':1,'params':{'name':'a b'}}]";
    assert_string_equal(seen(JSONRPC_MCP, false, text), "tools/call(a b)");
    assert_string_equal(mcp(text), "batch item invalid: " NAME_TEXT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_calls),
        cmocka_unit_test(refuses_messages),
        cmocka_unit_test(refuses_ambiguous_messages),
        cmocka_unit_test(checks_mcp_ids),
        cmocka_unit_test(checks_mcp_params),
        cmocka_unit_test(names_tools),
    };
    return cmocka_run_group_tests(tests, NULL, arena_teardown);
}
