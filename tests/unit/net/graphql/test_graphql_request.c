/* GraphQL requests: bodies, batches, GET parameters, WebSocket messages. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "core/limits.h"
#include "net/graphql/graphql.h"

static struct os_arena arena;

static int arena_teardown(void **state)
{
    os_arena_free(&arena);
    return 0;
}

/* "type name: fields [hash id]; ...", or the error. */
static const char *shown(const struct graphql_request *r)
{
    if (r->error) {
        assert_int_equal(r->n, 0);
        return r->error;
    }
    cleanup_buf struct os_buf b = {0};
    for (size_t i = 0; i < r->n; i++) {
        const struct graphql_operation *op = &r->operations[i];
        os_buf_addf(&b, "%s%s %s:", i ? "; " : "", op->type ? op->type : "?", op->name ? op->name : "-");
        for (size_t k = 0; k < op->n_fields; k++)
            os_buf_addf(&b, " %s", op->fields[k]);
        assert_int_equal(op->persisted, op->hash || op->id);
        if (op->persisted)
            os_buf_addf(&b, " [%s %s]", op->hash ? op->hash : "-", op->id ? op->id : "-");
    }
    return os_arena_strdup(&arena, os_buf_str(&b));
}

static const char *body_n(const char *text, size_t n)
{
    struct graphql_request r;
    graphql_parse_body(&arena, text, n, &r);
    return shown(&r);
}

/* Single quotes stand for double quotes. */
static const char *json(const char *text)
{
    char *s = os_arena_strdup(&arena, text);
    for (char *p = s; *p; p++)
        if (*p == '\'')
            *p = '"';
    return s;
}

static const char *body(const char *text)
{
    return body_n(json(text), strlen(text));
}

#define NOTHING "GraphQL request has no query document or persisted query identifier"

static void reads_bodies(void **state)
{
    static const struct {
        const char *text, *seen;
    } cases[] = {
        {"{'query':'{a}'}", "query -: a"},
        {"{'query':'query A{a} mutation B{b}','operationName':'B','variables':{'x':[1]}}", "mutation B: b"},
        {"{'query':'{a}','operationName':null}", "query -: a"},
        {"{'query':'{a}','operationName':''}", "query -: a"},
        {"{'query':'\\u007ba\\u007d'}", "query -: a"},
        {"[{'query':'{a}'},{'query':'mutation{b}'}]", "query -: a; mutation -: b"},
        {"{'extensions':{'persistedQuery':{'version':1,'sha256Hash':'ab'}}}", "? -: [ab -]"},
        {"{'query':'{a}','extensions':{'persistedQuery':{'sha256Hash':'ab'}}}", "query -: a [ab -]"},
        {"{'query':'{a}','id':'x','documentId':'y'}", "query -: a [- x]"},
        {"{'id':'x','operationName':'N'}", "? N: [- x]"},
        {"{'documentId':'x'}", "? -: [- x]"},
        {"{'queryId':'x','query':null}", "? -: [- x]"},
        {"{'queryId':'x','query':''}", "? -: [- x]"},
        {"{'id':'x','documentId':null}", "? -: [- x]"},
        {"{'id':'ab','extensions':{'persistedQuery':{'sha256Hash':'ab'}}}", "? -: [ab ab]"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++)
        assert_string_equal(body(cases[i].text), cases[i].seen);
}

static void refuses_bodies(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "GraphQL POST body is empty"},
        {"{", "GraphQL request body is not valid JSON: line 1, column 1: the text ends too early"},
        {"[]", "GraphQL batch request is empty"},
        {"1", "GraphQL JSON envelope must be an object or array"},
        {"'{a}'", "GraphQL JSON envelope must be an object or array"},
        {"[1]", "GraphQL batch item must be an object"},
        {"[{'query':'{a}'},[]]", "GraphQL batch item must be an object"},
        {"{}", NOTHING},
        {"[{'query':'{a}'},{}]", NOTHING},
        {"{'query':''}", NOTHING},
        {"{'id':5,'documentId':'x'}", NOTHING},
        {"{'id':null,'documentId':'x'}", NOTHING},
        {"{'id':''}", NOTHING},
        {"{'extensions':{'persistedQuery':{'sha256Hash':7}}}", NOTHING},
        {"{'extensions':{'persistedQuery':'ab'}}", NOTHING},
        {"{'extensions':'persistedQuery'}", NOTHING},
        {"{'query':['{a}'],'id':'x'}", "GraphQL query must be a string"},
        {"{'query':'{'}",
         "GraphQL document parse error: line 1, column 2: expected a name, found the end of the document"},
        {"{'query':'query Q'}", "GraphQL operation has no selection set"},
        {"{'query':'# x'}", "GraphQL document contains no executable operation"},
        {"{'query':'{a}','operationName':'B'}", "GraphQL operationName \"B\" was not found"},
        {"{'query':'{a} query B{b}'}", "GraphQL document has multiple operations but no operationName"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++)
        assert_string_equal(body(cases[i].text), cases[i].error);
}

/* Bodies that servers read differently. */
static void refuses_ambiguous_bodies(void **state)
{
    static const char *const bad[] = {
        "{'query':'{a}','query':'mutation{b}'}",
        "{'query':'{a}','\\u0071uery':'mutation{b}'}",
        "{'query':'{a}','Query':'mutation{b}'}",
        "{'QUERY':'mutation{b}','id':'x'}",
        "{'query':'query A{a} query B{b}','operationName':'A','operationname':'B'}",
        "{'query':'query A{a} query B{b}','operationName':'A','operationName':'B'}",
        "{'id':'x','id':'y'}",
        "{'id':'x','Id':'y'}",
        "{'id':'x','documentId':'y'}",
        "{'documentId':'x','queryId':'y'}",
        "{'id':'x','documentId':{'y':1}}",
        "{'id':'x','extensions':{'persistedQuery':{'sha256Hash':'y'}}}",
        "{'extensions':{'persistedQuery':{'sha256Hash':'x','sha256Hash':'y'}}}",
        "{'extensions':{'persistedQuery':{'sha256Hash':'x','sha256hash':'y'}}}",
        "{'extensions':{'persistedQuery':{'sha256Hash':'x'},'PersistedQuery':{}}}",
        "{'extensions':{},'extensions':{}}",
        "{'query':'{a}\\u0000'}",
        "{'query':'{a}\xff'}",
        "{'query':'{a}'} {'query':'mutation{b}'}",
        "\xef\xbb\xbf{'query':'{a}'}",
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++) {
        struct graphql_request r;
        graphql_parse_body(&arena, json(bad[i]), strlen(bad[i]), &r);
        if (!r.error)
            fail_msg("%s passed", bad[i]);
        assert_int_equal(r.n, 0);
    }
    assert_non_null(strstr(body_n("{\"query\":\"{a}\"}\0", 16), "is not valid JSON"));
}

static const char *params(size_t n, const struct graphql_param *p)
{
    struct graphql_request r;
    graphql_parse_params(&arena, p, n, &r);
    return shown(&r);
}

#define PARAMS(...)                                                                                          \
    params(sizeof((struct graphql_param[]){__VA_ARGS__}) / sizeof(struct graphql_param),                     \
           (struct graphql_param[]){__VA_ARGS__})

static void reads_parameters(void **state)
{
    const char *hash = "{\"persistedQuery\":{\"sha256Hash\":\"ab\"}}";
    assert_string_equal(PARAMS({"query", "{a}"}, {"x", "1"}, {"x", "2"}), "query -: a");
    assert_string_equal(PARAMS({"query", "query A{a} query B{b}"}, {"operationName", "B"}), "query B: b");
    assert_string_equal(PARAMS({"extensions", hash}), "? -: [ab -]");
    assert_string_equal(PARAMS({"extensions", hash}, {"query", "{a}"}), "query -: a [ab -]");
    assert_string_equal(PARAMS({"documentId", "x"}, {"id", ""}), "? -: [- x]");
    assert_string_equal(PARAMS({"query", "{a}"}, {"extensions", "no json"}), "query -: a");
    assert_string_equal(PARAMS({"query", "{a}"}, {"extensions", "[1]"}), "query -: a");
    assert_string_equal(PARAMS({"query", ""}, {"operationName", ""}), NOTHING);
    assert_string_equal(params(0, NULL), NOTHING);
}

static void refuses_parameters(void **state)
{
    assert_string_equal(PARAMS({"query", "{a}"}, {"query", "{a}"}),
                        "GraphQL GET parameter \"query\" must not appear more than once");
    assert_string_equal(PARAMS({"query", "{a}"}, {"query", ""}),
                        "GraphQL GET parameter \"query\" must not appear more than once");
    assert_string_equal(PARAMS({"extensions", "x"}, {"extensions", "x"}),
                        "GraphQL GET parameter \"extensions\" must not appear more than once");
    assert_string_equal(
        PARAMS({"documentId", "x"}, {"id", "y"}),
        "GraphQL GET persisted-query id parameters \"id\" and \"documentId\" must not be combined");
    assert_string_equal(PARAMS({"query", "{a}"}, {"Query", "mutation{b}"}),
                        "GraphQL GET parameter \"Query\" differs from \"query\" only in case");
    assert_string_equal(PARAMS({"id", "\xff"}), "GraphQL GET parameter \"id\" is not UTF-8");
    assert_string_equal(PARAMS({"id", "x"}, {"extensions", "{\"persistedQuery\":{\"sha256Hash\":\"y\"}}"}),
                        "GraphQL persisted-query identifiers \"sha256Hash\" and \"id\" must not be combined");
    assert_non_null(strstr(PARAMS({"id", "x"}, {"extensions", "{\"a\":1,\"a\":2}"}), "is not acceptable"));
    struct graphql_request r;
    graphql_refuse_method(&arena, "PUT", &r);
    assert_string_equal(shown(&r), "unsupported GraphQL HTTP method PUT");
}

static void reads_messages(void **state)
{
    static const struct {
        const char *text;
        enum graphql_message kind;
        const char *seen;
    } cases[] = {
        {"{'type':'connection_init','payload':{'token':1}}", GRAPHQL_MESSAGE_CONTROL, ""},
        {"{'type':'connection_terminate'}", GRAPHQL_MESSAGE_CONTROL, ""},
        {"{'type':'ping'}", GRAPHQL_MESSAGE_CONTROL, ""},
        {"{'type':'pong'}", GRAPHQL_MESSAGE_CONTROL, ""},
        {"{'type':'complete','id':'1'}", GRAPHQL_MESSAGE_CONTROL, ""},
        {"{'type':'stop','id':'1'}", GRAPHQL_MESSAGE_CONTROL, ""},
        {"{'type':'subscribe','id':'1','payload':{'query':'subscription{s}'}}", GRAPHQL_MESSAGE_OPERATION,
         "subscription -: s"},
        {"{'type':'start','id':'1','payload':{'query':'mutation M{m}'}}", GRAPHQL_MESSAGE_OPERATION,
         "mutation M: m"},
        {"{'type':'start','id':'1','payload':{'id':'x'}}", GRAPHQL_MESSAGE_OPERATION, "? -: [- x]"},
        {"{'type':'subscribe','id':'1','payload':{}}", GRAPHQL_MESSAGE_OPERATION, NOTHING},
        {"{'type':'subscribe','id':'1','payload':[]}", GRAPHQL_MESSAGE_REJECTED,
         "GraphQL WebSocket message \"subscribe\" needs an object \"payload\""},
        {"{'type':'subscribe','id':'','payload':{}}", GRAPHQL_MESSAGE_REJECTED,
         "GraphQL WebSocket message \"subscribe\" needs a non-empty string \"id\""},
        {"{'type':'start','id':1,'payload':{}}", GRAPHQL_MESSAGE_REJECTED,
         "GraphQL WebSocket message \"start\" needs a non-empty string \"id\""},
        {"{'type':'data','id':'1'}", GRAPHQL_MESSAGE_REJECTED,
         "GraphQL WebSocket message type \"data\" is not supported"},
        {"{'id':'1'}", GRAPHQL_MESSAGE_REJECTED, "GraphQL WebSocket message has no \"type\""},
        {"{'type':7}", GRAPHQL_MESSAGE_REJECTED, "GraphQL WebSocket message has no \"type\""},
        {"[]", GRAPHQL_MESSAGE_REJECTED, "GraphQL WebSocket message must be an object"},
        {"{'type':'ping','Type':'start'}", GRAPHQL_MESSAGE_REJECTED,
         "GraphQL WebSocket member \"Type\" differs from \"type\" only in case"},
        {"", GRAPHQL_MESSAGE_REJECTED,
         "GraphQL WebSocket message is not valid JSON: line 1, column 0: the text ends too early"},
        {"{'type':'ping','type':'start'}", GRAPHQL_MESSAGE_REJECTED,
         "GraphQL WebSocket message is not valid JSON: line 1, column 21: a member name is repeated"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++) {
        struct graphql_request r;
        assert_int_equal(graphql_parse_message(&arena, json(cases[i].text), strlen(cases[i].text), &r),
                         cases[i].kind);
        assert_string_equal(shown(&r), cases[i].seen);
    }
}

static void *read_body(void *text)
{
    struct graphql_request r;
    graphql_parse_body(&arena, text, strlen(text), &r);
    return (void *)r.error;
}

/* The deepest texts that are accepted, on the stack that a connection's thread has. */
static void fits_a_proxy_stack(void **state)
{
    cleanup_buf struct os_buf b = {0};
    os_buf_adds(&b, "{\"query\":\"{");
    for (int i = 1; i < OS_GRAPHQL_DEPTH; i++)
        os_buf_adds(&b, "...{");
    os_buf_adds(&b, "a");
    for (int i = 0; i < OS_GRAPHQL_DEPTH; i++)
        os_buf_adds(&b, "}");
    os_buf_adds(&b, "\",\"variables\":");
    for (int i = 1; i < OS_JSON_DEPTH; i++)
        os_buf_adds(&b, "[");
    for (int i = 1; i < OS_JSON_DEPTH; i++)
        os_buf_adds(&b, "]");
    os_buf_adds(&b, "}");
    pthread_attr_t attr;
    pthread_t thread;
    void *error = "not run";
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, OS_PROXY_STACK), 0);
    assert_int_equal(pthread_create(&thread, &attr, read_body, b.data), 0);
    assert_int_equal(pthread_join(thread, &error), 0);
    pthread_attr_destroy(&attr);
    assert_null(error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_bodies),
        cmocka_unit_test(refuses_bodies),
        cmocka_unit_test(refuses_ambiguous_bodies),
        cmocka_unit_test(reads_parameters),
        cmocka_unit_test(refuses_parameters),
        cmocka_unit_test(reads_messages),
        cmocka_unit_test(fits_a_proxy_stack),
    };
    return cmocka_run_group_tests(tests, NULL, arena_teardown);
}
