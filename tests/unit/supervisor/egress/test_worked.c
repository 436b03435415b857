/* The worked decision table of the policy specification (spec/policy.md 10), row by row: the request as its
 * bytes come in, through the parsers, the engine and the address plans that a connection passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/websocket/handshake.h"
#include "supervisor/egress/internal.h"
#include "supervisor/monitor/integrity.h"

#define ROWS 78

enum outcome {
    REJECTED,   /* the policy does not load */
    NO_CONNECT, /* refused by host, port or program */
    NO_ADDRESS, /* refused by what the host resolves to */
    CONNECT,    /* allowed, addresses included where the row has one */
    UNREADABLE, /* the request is refused before the rules are asked */
    DENY,
    ALLOW,
    AUDIT, /* not allowed, but forwarded */
};

struct row {
    int n;
    const char *policies; /* inside network_policies: {} */
    const char *host;     /* NULL = api.x.com */
    uint16_t port;        /* 0 = 443 */
    const char *exe;      /* NULL = /usr/bin/curl */
    const char *ancestor; /* NULL = none */
    const char *address;  /* what the host resolves to; NULL = not looked at */
    const char *request;  /* head and body; NULL = connection only */
    const char *body;     /* JSON; the request is then method and path */
    const char *message;  /* a text message after the upgrade */
    enum outcome want;
    const char *text; /* part of the reason, or the matched policy, or the path that goes upstream */
    bool relaxed;     /* program identity is not looked at */
};

static bool seen[ROWS + 1];

#define CURL "binaries: [{path: /usr/bin/curl}]"
#define K(endpoints) "k: {" CURL ", endpoints: [" endpoints "]}"
#define BIN(paths, endpoints) "k: {binaries: [" paths "], endpoints: [" endpoints "]}"
#define E(text) "{port: 443, enforcement: enforce, " text "}"
#define L4(host) "{host: " host ", port: 443}"
#define API L4("api.x.com")
#define REST(text) K(E("host: api.x.com, protocol: rest, " text))
#define RULES(text) REST("rules: [" text "]")

#define REQ(line) line " HTTP/1.1\r\nHost: api.x.com\r\n\r\n"
#define POST(path, json) "POST " path, .body = json
#define UPGRADE                                                                                              \
    "GET /a HTTP/1.1\r\nHost: api.x.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                    \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

#define ADMIN_RULES                                                                                          \
    "protocol: rest, rules: [{allow: {method: GET, path: '/**'}}], deny_rules: [{method: '*', path: "        \
    "'/admin/**'}]"
#define ADMIN_AND_ALL(program)                                                                               \
    "a: {binaries: [{path: " program                                                                         \
    "}], endpoints: [" E("host: api.x.com, " ADMIN_RULES) "]}, "                                             \
                                                          "b: {" CURL ", endpoints: [" E(                    \
                                                              "host: api.x.com, protocol: rest, rules: "     \
                                                              "[{allow: {method: '*', path: '**'}}]") "]}"
#define TAG RULES("{allow: {method: GET, path: /d, query: {tag: 'foo-*'}}}")
#define FORCE REST("access: full, deny_rules: [{method: POST, path: /a, query: {force: 'true'}}]")
#define REPOS_AND_GRAPHQL                                                                                    \
    K(E("host: api.x.com, protocol: rest, path: '/repos/**', access: full") ", " E(                          \
        "host: api.x.com, protocol: graphql, path: /graphql, access: read-only"))
#define ALL_AND_GRAPHQL                                                                                      \
    K(E("host: api.x.com, protocol: rest, access: full") ", " E(                                             \
        "host: api.x.com, protocol: graphql, path: /graphql, access: read-only"))
#define GRAPHQL(text) K(E("host: api.x.com, protocol: graphql, " text))
#define HASHED                                                                                               \
    POST("/graphql", "{\"extensions\":{\"persistedQuery\":{\"version\":1,\"sha256Hash\":\"abc\"}}}")
#define MUTATION POST("/graphql", "{\"query\":\"mutation{deleteAll}\"}")
#define JSON_RPC(method) K(E("host: api.x.com, protocol: json-rpc, rules: [{allow: {method: " method "}}]"))
#define MCP(text) K(E("host: api.x.com, path: /mcp, protocol: mcp, " text))
#define SEARCH MCP("rules: [{allow: {method: tools/call, tool: search}}]")
#define ALLOW_ALL "mcp: {allow_all_known_mcp_methods: true}"
#define CALL(tool)                                                                                           \
    POST("/mcp",                                                                                             \
         "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"" tool "\"}}")
#define WS(access) K(E("host: api.x.com, protocol: websocket, access: " access))

static const struct row rows[] = {
    {1, "", .want = NO_CONNECT, .text = "network connections not allowed by policy"},
    {2, K(API), .want = CONNECT, .text = "k"},
    {3, K(API), .host = "API.X.COM", .want = CONNECT},
    {4, K(API), .port = 80, .want = NO_CONNECT, .text = "endpoint api.x.com:80 is not allowed by any policy"},
    {5, K(API), .host = "api.x.com.", .want = NO_CONNECT}, /* the proxy takes the dot off before it asks */
    {6, K(API), .exe = "/usr/bin/wget", .want = NO_CONNECT,
     .text = "binary '/usr/bin/wget' not allowed in policy 'k'"},
    {7, BIN("{path: /usr/local/bin/claude}", API), .ancestor = "/usr/local/bin/claude", .want = CONNECT},
    {8, BIN("{path: /srv/tool.py}", API), .exe = "/usr/bin/python3.11", .want = NO_CONNECT,
     .text = "cmdline: [/srv/tool.py]"},
    {9, BIN("{path: '/usr/bin/*'}", API), .exe = "/usr/bin/sub/node", .want = NO_CONNECT},
    {10, BIN("{path: '/usr/**'}", API), .exe = "/usr/bin/sub/node", .want = CONNECT},
    {11, BIN("", API), .want = NO_CONNECT},
    {12, BIN("", API), .relaxed = true, .want = CONNECT},
    {13, BIN("{path: /usr/bin/python3}", API), .exe = "/usr/bin/python3.11", .want = CONNECT},
    {14, K(L4("'*.x.com'")), .host = "a.x.com", .want = CONNECT},
    {15, K(L4("'*.x.com'")), .host = "x.com", .want = NO_CONNECT},
    {15, K(L4("'*.x.com'")), .host = "a.b.x.com", .want = NO_CONNECT},
    {16, K(L4("'**.x.com'")), .host = "a.b.x.com", .want = CONNECT},
    {16, K(L4("'**.x.com'")), .host = "x.com", .want = NO_CONNECT},
    {17, K(L4("'*-ai.x.com'")), .host = "us-ai.x.com", .want = CONNECT},
    {17, K(L4("'*-ai.x.com'")), .host = "us.b-ai.x.com", .want = NO_CONNECT},
    {18, K(L4("'*.com'")), .want = REJECTED, .text = "TLD wildcard '*.com' is not allowed"},
    {19, "b_rule: {" CURL ", endpoints: [" API "]}, a_rule: {" CURL ", endpoints: [" API "]}",
     .want = CONNECT, .text = "a_rule"},
    {20,
     "a: {" CURL
     ", endpoints: [" L4("host1.x.com") "]}, b: {binaries: [{path: /usr/bin/wget}], endpoints: [" API "]}",
     .want = NO_CONNECT},
    {21, K(L4("db.lan")), .host = "db.lan", .address = "10.0.0.5", .want = CONNECT},
    {22, K(L4("'*.db.lan'")), .host = "x.db.lan", .address = "10.0.0.5", .want = NO_ADDRESS,
     .text = "resolves to internal address 10.0.0.5, connection rejected"},
    {23, K("{host: '*.db.lan', port: 443, allowed_ips: [10.0.0.0/24]}"), .host = "x.db.lan",
     .address = "10.0.0.5", .want = CONNECT},
    {24, K("{host: '*.db.lan', port: 443, allowed_ips: [10.0.0.0/24]}"), .host = "x.db.lan",
     .address = "93.184.216.34", .want = NO_ADDRESS,
     .text = "which is not in allowed_ips, connection rejected"},
    {25, K(L4("meta.x.com")), .host = "meta.x.com", .address = "169.254.169.254", .want = NO_ADDRESS,
     .text = "always-blocked address"},
    {26, K("{host: '', port: 443, allowed_ips: [10.1.0.0/16]}"), .host = "any.name", .address = "10.1.2.3",
     .want = CONNECT},
    {27, K("{host: k8s.lan, port: 6443}"), .host = "k8s.lan", .port = 6443, .address = "10.0.0.5",
     .want = NO_ADDRESS, .text = "port 6443 is a blocked control-plane port"},
    {28, K(L4("10.0.0.9")), .host = "10.0.0.9", .address = "10.0.0.9", .want = CONNECT},
    {29, REST("access: read-only"), .request = REQ("GET /a"), .want = ALLOW},
    {29, REST("access: read-only"), .request = REQ("HEAD /a"), .want = ALLOW},
    {30, REST("access: read-only"), .request = REQ("POST /a"), .want = DENY,
     .text = "POST /a not permitted by policy"},
    {31, K("{host: api.x.com, port: 443, protocol: rest, access: read-only}"), .request = REQ("POST /a"),
     .want = AUDIT},
    {32, REST("access: read-write"), .request = REQ("DELETE /a"), .want = DENY},
    {33, RULES("{allow: {method: GET, path: '/v1/*'}}"), .request = REQ("GET /v1/a/b"), .want = DENY},
    {34, RULES("{allow: {method: GET, path: '/v1/**'}}"), .request = REQ("GET /v1/a/b"), .want = ALLOW},
    {35, RULES("{allow: {method: GET, path: '/v1/**'}}"), .request = REQ("GET /v1"), .want = DENY},
    {36, RULES("{allow: {method: GET, path: '/v1/**'}}"), .request = REQ("HEAD /v1/a"), .want = ALLOW},
    {37, RULES("{allow: {method: HEAD, path: /a}}"), .request = REQ("GET /a"), .want = DENY},
    {38, RULES("{allow: {method: get, path: /a}}"), .request = REQ("GET /a"), .want = ALLOW},
    {39, RULES("{allow: {method: GET, path: /a}}"), .request = REQ("GET /x/../a"), .want = ALLOW,
     .text = "/a"},
    {40, REST("access: full"), .request = REQ("GET /../a"), .want = UNREADABLE,
     .text = "would escape the path root"},
    {41, REST("access: full"), .request = REQ("GET /@s%2Fn"), .want = UNREADABLE,
     .text = "an encoded '/' (%2F)"},
    {42, REST("allow_encoded_slash: true, rules: [{allow: {method: GET, path: '/*'}}]"),
     .request = REQ("GET /@s%2Fn"), .want = ALLOW, .text = "/@s%2Fn"},
    {43, K(E("host: api.x.com, " ADMIN_RULES)), .request = REQ("GET /admin/x"), .want = DENY,
     .text = "GET /admin/x blocked by deny rule"},
    {44, ADMIN_AND_ALL("/usr/bin/curl"), .request = REQ("GET /admin/x"), .want = DENY,
     .text = "GET /admin/x blocked by deny rule"},
    {45, ADMIN_AND_ALL("/usr/bin/wget"), .request = REQ("GET /admin/x"), .want = ALLOW},
    /* The specification asks for better than its row: no path means every path, so the rule denies. */
    {46, REST("access: full, deny_rules: [{method: DELETE}]"), .request = REQ("DELETE /a"), .want = DENY},
    {47, TAG, .request = REQ("GET /d?tag=foo-a&tag=foo-b"), .want = ALLOW},
    {48, TAG, .request = REQ("GET /d?tag=foo-a&tag=z"), .want = DENY},
    {49, TAG, .request = REQ("GET /d"), .want = DENY},
    {50, TAG, .request = REQ("GET /d?tag=foo-1.2"), .want = DENY},
    {51, FORCE, .request = REQ("POST /a?force=no&force=true"), .want = DENY},
    {52, FORCE, .request = REQ("POST /a"), .want = ALLOW},
    {53, RULES("{allow: {method: GET, path: /d, query: {q: a b}}}"), .request = REQ("GET /d?q=a+b"),
     .want = ALLOW},
    {54, REPOS_AND_GRAPHQL, .request = MUTATION, .want = DENY,
     .text = "GraphQL operation blocked by endpoint policy"},
    {55, REPOS_AND_GRAPHQL, .request = REQ("GET /other"), .want = DENY,
     .text = "no L7 endpoint path matched request"},
    {56, ALL_AND_GRAPHQL, .request = MUTATION, .want = DENY,
     .text = "GraphQL operation blocked by endpoint policy"},
    {57, GRAPHQL("rules: [{allow: {operation_type: query, fields: [viewer]}}]"),
     .request = POST("/graphql", "{\"query\":\"{ viewer{id} repo{id} }\"}"), .want = DENY},
    {57, GRAPHQL("rules: [{allow: {operation_type: query, fields: [viewer]}}]"),
     .request = POST("/graphql", "{\"query\":\"{ viewer{id} }\"}"), .want = ALLOW},
    {58, GRAPHQL("access: full, deny_rules: [{operation_type: mutation, fields: ['delete*']}]"),
     .request = POST("/graphql", "{\"query\":\"mutation { a deleteRepo }\"}"), .want = DENY},
    {59, GRAPHQL("access: read-only"), .request = HASHED, .want = DENY,
     .text = "GraphQL persisted query is not registered"},
    {60,
     GRAPHQL("access: read-only, persisted_queries: allow_registered, graphql_persisted_queries: {abc: "
             "{operation_type: query}}"),
     .request = HASHED, .want = ALLOW},
    {61, K("{host: api.x.com, port: 443, protocol: graphql, access: full}"),
     .request = POST("/graphql", "{\"query\":\"{ {\"}"), .want = DENY, .text = "GraphQL request rejected: "},
    {62, JSON_RPC("reports.list"),
     .request = POST("/", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"reports.list\"}"), .want = ALLOW},
    {63, JSON_RPC("reports.list"),
     .request = POST("/", "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"reports.list\"},{\"jsonrpc\":\"2.0\","
                          "\"id\":2,\"method\":\"reports.delete\"}]"),
     .want = DENY},
    {64, JSON_RPC("'*'"), .request = POST("/", "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}"), .want = DENY,
     .text = "JSON-RPC response frames are not permitted from client to server"},
    {65, SEARCH, .request = CALL("search"), .want = ALLOW},
    {65, SEARCH, .request = CALL("send"), .want = DENY, .text = "POST /mcp not permitted by policy"},
    {66, SEARCH,
     .request = POST("/mcp", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{"
                             "\"protocolVersion\":\"2025-06-18\","
                             "\"capabilities\":{},\"clientInfo\":{\"name\":\"c\",\"version\":\"1\"}}}"),
     .want = DENY},
    {67, MCP(ALLOW_ALL ", deny_rules: [{method: tools/call, tool: rm}]"), .request = CALL("rm"),
     .want = DENY},
    {67, MCP(ALLOW_ALL ", deny_rules: [{method: tools/call, tool: rm}]"), .request = CALL("ls"),
     .want = ALLOW},
    {67, MCP(ALLOW_ALL ", deny_rules: [{method: tools/call, tool: rm}]"),
     .request = POST("/mcp", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vendor/x\"}"), .want = ALLOW},
    {68, MCP(ALLOW_ALL ", rules: [{allow: {tool: search}}]"),
     .request = POST("/mcp", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}"), .want = ALLOW},
    {68, MCP(ALLOW_ALL ", rules: [{allow: {tool: search}}]"), .request = CALL("ls"), .want = DENY},
    {69, K("{host: api.x.com, port: 443, path: /mcp, protocol: mcp, " ALLOW_ALL "}"), .request = CALL("a b"),
     .want = DENY, .text = "MCP tool name must match"},
    {70, SEARCH, .request = "GET /mcp HTTP/1.1\r\nHost: api.x.com\r\nAccept: text/event-stream\r\n\r\n",
     .want = ALLOW},
    {71, WS("read-only"), .request = UPGRADE, .want = ALLOW},
    {71, WS("read-only"), .request = UPGRADE, .message = "hello", .want = DENY},
    {72, WS("full"), .request = REQ("GET /a"), .want = DENY,
     .text = "websocket endpoint requires a valid WebSocket upgrade request"},
    {73,
     K("{host: api.x.com, port: 443, protocol: rest, enforcement: enforce, access: full}, "
       "{host: api.x.com, port: 443, protocol: rest, access: full}"),
     .want = REJECTED, .text = "enforcement=\"enforce\" vs \"audit\""},
    {74, K(E("host: api.x.com, protocol: rest, access: full") ", " API), .request = REQ("POST /a"),
     .want = ALLOW},
    {75,
     K(E("host: api.x.com, protocol: rest, access: full") ", {host: api.x.com, port: 443, protocol: tcp}"),
     .want = REJECTED, .text = "transparent_tcp_eligible=false vs true"},
    {76, K("{host: '*.x.com', port: 443, tls: skip}, " E("host: api.x.com, protocol: rest, access: full")),
     .want = REJECTED, .text = "tls=\"skip\" vs \"auto\""},
};

static char *resolve(void *ctx, const char *path)
{
    return strcmp(path, "/usr/bin/python3") ? NULL : os_strdup("/usr/bin/python3.11");
}

/* The engine, or NULL with what the gateway or the supervisor says against the policy. */
static struct policy_engine *load(const struct row *r, struct os_error *err)
{
    cleanup_arena struct os_arena arena = {0};
    const char *text = os_arena_printf(&arena, "version: 1\nnetwork_policies: {%s}\n", r->policies);
    policy_doc *doc = policy_yaml_parse(&arena, text, strlen(text), err);
    if (!doc)
        fail_msg("row %d: %s\n%s", r->n, text, os_error_text(err));
    if (policy_check(doc, err) < 0)
        return NULL;
    return policy_compile(
        doc,
        &(struct policy_compile_options){.binary_identity = !r->relaxed, .resolve = resolve, .generation = 1},
        err);
}

static void wants(const struct row *r, enum outcome got, const char *text)
{
    if (got != r->want || (r->text && !strstr(text, r->text)))
        fail_msg("row %d: outcome %d, want %d; says '%s', want '%s'", r->n, got, r->want, text,
                 r->text ? r->text : "");
}

static bool addresses_are_fit(const struct row *r, const struct policy_l4 *l4, const char *host,
                              struct os_error *reason)
{
    static const struct destination_gateway none;
    struct net_addrs addrs = {.n = 1};
    const char *kind;
    if (!r->address)
        return true;
    assert_int_equal(net_addr_parse(r->address, &addrs.v[0]), 0);
    return destination_check(l4, &none, host, r->port ? r->port : 443, &addrs, &kind, reason) == 0;
}

/* One request of the connection, as the egress path takes it. */
static enum outcome ask(const struct row *row, struct egress_conn *c, struct os_buf *text)
{
    struct egress_request r = {.conn = c, .arena = &c->arena, .head = &c->head};
    struct os_error err cleanup_error = {0};
    struct inspect_plan plan;
    struct policy_l7 l7;
    const char *head = row->request;
    if (row->body)
        head = os_arena_printf(r.arena, "%s HTTP/1.1\r\nHost: api.x.com\r\nContent-Length: %zu\r\n\r\n", head,
                               strlen(row->body));
    if (http1_parse_request(head, strlen(head), &c->head, &err) < 0)
        fail_msg("row %d: %s", row->n, os_error_text(&err));
    r.method = os_arena_strndup(r.arena, c->head.method.p, c->head.method.n);
    if (request_parse(&r, &err) < 0) {
        os_buf_adds(text, os_error_text(&err));
        return UNREADABLE;
    }
    upgrade_recognise(&r);
    assert_int_equal(inspect_plan(&r, &plan, &err), 0);
    os_buf_adds(&r.body, row->body ? row->body : "");
    inspect_request(&r, &plan);
    struct policy_http http = {.method = r.method,
                               .path = r.path,
                               .query = r.query,
                               .n_query = r.n_query,
                               .kind = r.kind,
                               .graphql = r.graphql,
                               .jsonrpc = r.jsonrpc};
    policy_decide_http(c->engine, &c->l4, &http, &l7);
    if (row->message && l7.allow) {
        http.method = "WEBSOCKET_TEXT";
        http.kind = POLICY_HTTP_MESSAGE;
        policy_decide_http(c->engine, &c->l4, &http, &l7);
    }
    if (l7.allow)
        os_buf_adds(text, r.path);
    else
        policy_l7_reason(&l7, &http, text);
    request_free(&r);
    return l7.allow ? ALLOW : l7.audit ? AUDIT : DENY;
}

static void try_row(const struct row *r)
{
    struct os_error err cleanup_error = {0};
    cleanup_buf struct os_buf text = {0};
    static struct egress e;
    struct egress_conn c = {.egress = &e, .engine = load(r, &err)};
    const char *host = r->host ? r->host : "api.x.com", *const cmdline[] = {"/srv/tool.py"};
    const struct policy_process who = {.exe = r->exe ? r->exe : "/usr/bin/curl",
                                       .ancestors = &r->ancestor,
                                       .n_ancestors = r->ancestor != NULL,
                                       .cmdline = cmdline,
                                       .n_cmdline = 1};
    seen[r->n] = true;
    if (!c.engine) {
        wants(r, REJECTED, os_error_text(&err));
        return;
    }
    policy_decide_l4(c.engine, host, r->port ? r->port : 443, &who, &c.l4);
    if (!c.l4.allow) {
        policy_l4_reason(c.engine, host, r->port ? r->port : 443, &who, &text);
        wants(r, NO_CONNECT, os_buf_str(&text));
    } else if (!addresses_are_fit(r, &c.l4, host, &err)) {
        wants(r, NO_ADDRESS, os_error_text(&err));
    } else if (!r->request) {
        wants(r, CONNECT, c.l4.policy);
    } else {
        egress_set_secrets(&e, NULL, NULL);
        enum outcome got = ask(r, &c, &text);
        wants(r, got, os_buf_str(&text));
        secret_rules_unref(e.secrets);
        e.secrets = NULL;
    }
    os_arena_free(&c.arena);
    policy_engine_unref(c.engine);
}

/* Row 77. */
static void quarantine(void)
{
    static const char why[] =
        "policy validation failed; fail-closed quarantine is active; candidate version 2 rejected: x";
    const struct policy_process who = {.exe = "/usr/bin/curl"};
    cleanup_buf struct os_buf text = {0};
    struct policy_engine *e = policy_quarantine(why, 2);
    struct policy_l4 l4;
    policy_decide_l4(e, "api.x.com", 443, &who, &l4);
    assert_false(l4.allow);
    policy_l4_reason(e, "api.x.com", 443, &who, &text);
    assert_string_equal(os_buf_str(&text), why);
    policy_engine_unref(e);
    seen[77] = true;
}

/* Row 78: identity fails before any rule is asked. That the connection is then refused is
 * a_replaced_program_is_not_trusted. */
static void replaced_program(void)
{
    struct os_error err cleanup_error = {0};
    struct integrity *t = integrity_new();
    FILE *f = tmpfile();
    assert_non_null(f);
    fputs("one", f);
    fflush(f);
    assert_int_equal(integrity_check(t, "/usr/bin/curl", fileno(f), &err), 0);
    fputs("two", f);
    fflush(f);
    assert_int_equal(integrity_check(t, "/usr/bin/curl", fileno(f), &err), -1);
    assert_non_null(
        strstr(os_error_text(&err), "Binary integrity violation: /usr/bin/curl hash changed (cached: "));
    fclose(f);
    integrity_free(t);
    seen[78] = true;
}

static void every_row(void **state)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++)
        try_row(&rows[i]);
    quarantine();
    replaced_program();
    for (int n = 1; n <= ROWS; n++)
        if (!seen[n])
            fail_msg("row %d of the table is not here", n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_row)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
