/* Decisions: the worked examples of the policy specification (section 10), as tables, plus reasons, index,
 * slot and quarantine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "policy/engine.h"
#include "policy/target.h"

static struct policy_engine *compile_opt(const char *policies, const struct policy_compile_options *opt)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    const char *text = os_arena_printf(&arena, "version: 1\nnetwork_policies: {%s}\n", policies);
    policy_doc *doc = policy_yaml_parse(&arena, text, strlen(text), &err);
    if (!doc)
        fail_msg("%s\n%s", text, os_error_text(&err));
    struct policy_engine *e = policy_compile(doc, opt, &err);
    if (!e)
        fail_msg("%s\n%s", text, os_error_text(&err));
    return e;
}

static struct policy_engine *compile(const char *policies)
{
    return compile_opt(policies, &(struct policy_compile_options){.binary_identity = true, .generation = 3});
}

static const char *const ancestors[] = {"/usr/local/bin/claude", "/usr/bin/bash"};
static const char *const cmdline[] = {"/srv/tool.py"};

static struct policy_process process(const char *exe)
{
    return (struct policy_process){
        .exe = exe, .ancestors = ancestors, .n_ancestors = 2, .cmdline = cmdline, .n_cmdline = 1};
}

#define CURL "binaries: [{path: /usr/bin/curl}]"
#define E(text) "endpoints: [{port: 443, " text "}]"
#define K(text) "k: {" CURL ", " E(text) "}"

struct l4_row {
    const char *policies, *exe, *host;
    uint16_t port;
    const char *policy; /* NULL = denied */
};

static void l4_examples(void **state)
{
    static const struct l4_row rows[] = {
        {"", "/usr/bin/curl", "api.x.com", 443, NULL},
        {K("host: api.x.com"), "/usr/bin/curl", "api.x.com", 443, "k"},
        {K("host: api.x.com"), "/usr/bin/curl", "API.X.COM", 443, "k"},
        {K("host: API.x.Com"), "/usr/bin/curl", "api.x.com", 443, "k"},
        {K("host: api.x.com"), "/usr/bin/curl", "api.x.com", 80, NULL},
        {K("host: api.x.com"), "/usr/bin/curl", "api.x.com.", 443, NULL},
        {K("host: api.x.com"), "/usr/bin/curl", "x.com", 443, NULL},
        {K("host: api.x.com"), "/usr/bin/wget", "api.x.com", 443, NULL},
        {"k: {binaries: [{path: /usr/local/bin/claude}], " E("host: api.x.com") "}", "/usr/bin/curl",
         "api.x.com", 443, "k"},
        {"k: {binaries: [{path: /srv/tool.py}], " E("host: api.x.com") "}", "/usr/bin/python3.11",
         "api.x.com", 443, NULL},
        {"k: {binaries: [{path: '/usr/bin/*'}], " E("host: api.x.com") "}", "/usr/bin/node", "api.x.com", 443,
         "k"},
        {"k: {binaries: [{path: '/usr/lib/*'}], " E("host: api.x.com") "}", "/usr/lib/sub/node", "api.x.com",
         443, NULL},
        {"k: {binaries: [{path: '/usr/**'}], " E("host: api.x.com") "}", "/usr/bin/sub/node", "api.x.com",
         443, "k"},
        {"k: {binaries: [{path: '/**'}], " E("host: api.x.com") "}", "/x", "api.x.com", 443, "k"},
        {"k: {binaries: [{path: '/usr/bin/cur?'}], " E("host: api.x.com") "}", "/usr/bin/curl", "api.x.com",
         443, NULL},
        {"k: {binaries: [], " E("host: api.x.com") "}", "/usr/bin/curl", "api.x.com", 443, NULL},
        {K("host: '*.x.com'"), "/usr/bin/curl", "a.x.com", 443, "k"},
        {K("host: '*.X.com'"), "/usr/bin/curl", "A.x.com", 443, "k"},
        {K("host: '*.x.com'"), "/usr/bin/curl", "x.com", 443, NULL},
        {K("host: '*.x.com'"), "/usr/bin/curl", "a.b.x.com", 443, NULL},
        {K("host: '*.x.com'"), "/usr/bin/curl", "a.x.com", 444, NULL},
        {K("host: '**.x.com'"), "/usr/bin/curl", "a.b.x.com", 443, "k"},
        {K("host: '**.x.com'"), "/usr/bin/curl", "x.com", 443, NULL},
        {K("host: '*-ai.x.com'"), "/usr/bin/curl", "us-ai.x.com", 443, "k"},
        {K("host: '*-ai.x.com'"), "/usr/bin/curl", "us.b-ai.x.com", 443, NULL},
        {K("host: '*.s3.*.amazonaws.com'"), "/usr/bin/curl", "b.s3.eu.amazonaws.com", 443, "k"},
        {K("host: '*.s3.*.amazonaws.com'"), "/usr/bin/curl", "b.s3.eu.amazonaws.org", 443, NULL},
        {"b: {" CURL ", " E("host: api.x.com") "}, a: {" CURL ", " E("host: '*.x.com'") "}", "/usr/bin/curl",
         "api.x.com", 443, "a"},
        {"a: {" CURL
         ", " E("host: host1.x.com") "}, b: {binaries: [{path: /usr/bin/wget}], " E("host: api.x.com") "}",
         "/usr/bin/curl", "api.x.com", 443, NULL},
        {K("host: '', allowed_ips: [10.1.0.0/16]"), "/usr/bin/curl", "whatever.test", 443, "k"},
        {K("host: '', allowed_ips: [10.1.0.0/16]"), "/usr/bin/curl", "whatever.test", 80, NULL},
        {K("host: 10.0.0.9"), "/usr/bin/curl", "10.0.0.9", 443, "k"},
        {K("host: '[2001:DB8::1]'"), "/usr/bin/curl", "2001:db8::1", 443, "k"},
        {"k: {" CURL ", endpoints: [{host: api.x.com, ports: [80, 443, 443]}]}", "/usr/bin/curl", "api.x.com",
         443, "k"},
        {"k: {" CURL ", endpoints: [{host: api.x.com, port: 8443, ports: [80]}]}", "/usr/bin/curl",
         "api.x.com", 8443, NULL},
        {K("host: a.x.com"), "", "a.x.com", 443, NULL},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        struct policy_engine *e = compile(rows[i].policies);
        struct policy_process who = process(rows[i].exe);
        struct policy_l4 l4;
        policy_decide_l4(e, rows[i].host, rows[i].port, &who, &l4);
        if (l4.allow != (rows[i].policy != NULL))
            fail_msg("%s: %s %s:%u", rows[i].policies, rows[i].exe, rows[i].host, rows[i].port);
        if (l4.allow)
            assert_string_equal(l4.policy, rows[i].policy);
        policy_engine_unref(e);
    }
}

static void identity_can_be_relaxed(void **state)
{
    struct policy_engine *e =
        compile_opt("k: {" E("host: api.x.com") "}", &(struct policy_compile_options){0});
    struct policy_l4 l4;
    struct policy_process who = process("/usr/bin/curl");
    policy_decide_l4(e, "api.x.com", 443, &who, &l4);
    assert_true(l4.allow);
    assert_true(l4.declared_host);
    policy_engine_unref(e);
}

static char *resolve(void *ctx, const char *path)
{
    assert_string_not_equal(path, "/opt/*");
    return strcmp(path, "/usr/bin/python3") ? NULL : os_strdup((const char *)ctx);
}

static void symlinks_are_resolved_at_compile_time(void **state)
{
    char target[] = "/usr/bin/python3.11";
    struct policy_compile_options opt = {.binary_identity = true, .resolve = resolve, .resolve_ctx = target};
    struct policy_engine *e = compile_opt(
        "k: {binaries: [{path: /usr/bin/python3}, {path: '/opt/*'}], " E("host: api.x.com") "}", &opt);
    static const struct {
        const char *exe;
        bool allow;
    } rows[] = {{"/usr/bin/python3.11", true},
                {"/usr/bin/python3", true},
                {"/usr/bin/python3.12", false},
                {"/opt/tool", true}};
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        struct policy_l4 l4;
        policy_decide_l4(e, "api.x.com", 443, &(struct policy_process){.exe = rows[i].exe}, &l4);
        assert_int_equal(l4.allow, rows[i].allow);
    }
    policy_engine_unref(e);
}

static void configurations_follow_rule_order(void **state)
{
    struct policy_engine *e = compile(
        "b: {" CURL ", endpoints: [{host: a.x.com, port: 443, protocol: rest, path: "
        "/b, access: full, allowed_ips: [10.0.0.0/8, 192.168.1.7, 'fd00::/8']},"
        " {host: a.x.com, port: 443, allowed_ips: ['fd00::/8', 192.168.1.7, "
        "10.0.0.0/8]}]},"
        "a: {" CURL ", endpoints: [{host: '*.x.com', port: 443, protocol: rest, "
        "access: full, enforcement: enforce, path: '/**', allowed_ips: [10.0.0.0/8, "
        "192.168.1.7, 'fd00::/8']}]},"
        "c: {" CURL
        ", " E("host: b.y.com") "},"
                                "d: {binaries: [{path: /bin/no}], " E("host: d.y.com, tls: skip") "}");
    struct policy_process who = process("/usr/bin/curl");
    struct policy_l4 l4;
    policy_decide_l4(e, "a.x.com", 443, &who, &l4);
    assert_true(l4.allow);
    assert_string_equal(l4.policy, "a");
    assert_int_equal(l4.n_matched, 3);
    assert_int_equal(l4.n_configs, 3);
    assert_string_equal(l4.configs[0]->policy_key, "a");
    assert_string_equal(l4.configs[0]->host, "*.x.com");
    assert_true(l4.configs[0]->enforce);
    assert_int_equal(l4.configs[0]->path_weight, 1);
    assert_int_equal(l4.configs[1]->path_weight, 2);
    assert_false(l4.configs[1]->enforce);
    assert_int_equal(l4.configs[2]->n_allowed_ips, 3);
    assert_int_equal(l4.configs[2]->allowed_ips[1].prefix, 32);
    assert_false(l4.configs[2]->allowed_ips_invalid);
    assert_true(policy_l4_inspects(&l4));
    assert_true(l4.declared_host);
    policy_engine_unref(e);
    e = compile(K("host: a.x.com, tls: skip"));
    policy_decide_l4(e, "a.x.com", 443, &who, &l4);
    assert_int_equal(l4.n_configs, 1);
    assert_int_equal(l4.configs[0]->tls, POLICY_TLS_SKIP);
    assert_false(policy_l4_inspects(&l4));
    policy_engine_unref(e);
}

static void declared_hosts(void **state)
{
    static const struct {
        const char *policies;
        bool declared;
    } rows[] = {
        {K("host: a.x.com"), true},
        {K("host: '*.x.com'"), false},
        {K("host: '', allowed_ips: [10.0.0.0/8]"), false},
        {"a: {" CURL ", " E("host: '*.x.com'") "}, b: {binaries: [{path: /bin/no}], " E("host: a.x.com") "}",
         false},
        {"a: {" CURL ", " E("host: '*.x.com'") "}, b: {" CURL ", " E("host: a.x.com") "}", true},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        struct policy_engine *e = compile(rows[i].policies);
        struct policy_process who = process("/usr/bin/curl");
        struct policy_l4 l4;
        policy_decide_l4(e, "a.x.com", 443, &who, &l4);
        assert_true(l4.allow);
        assert_int_equal(l4.declared_host, rows[i].declared);
        policy_engine_unref(e);
    }
}

static void proposals_do_not_declare(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    const char text[] = "version: 1\nnetwork_policies: {" K("host: a.x.com") "}";
    policy_doc *doc = policy_yaml_parse(&arena, text, strlen(text), &err);
    doc->network_policies[0]->value->endpoints[0]->advisor_proposed = true;
    struct policy_compile_options opt = {.binary_identity = true};
    struct policy_engine *e = policy_compile(doc, &opt, &err);
    struct policy_process who = process("/usr/bin/curl");
    struct policy_l4 l4;
    policy_decide_l4(e, "a.x.com", 443, &who, &l4);
    assert_true(l4.allow);
    assert_false(l4.declared_host);
    policy_engine_unref(e);
}

static const char *reason(const struct policy_engine *e, const char *host, uint16_t port, struct os_buf *out)
{
    struct policy_process who = process("/usr/bin/wget");
    os_buf_clear(out);
    policy_l4_reason(e, host, port, &who, out);
    return os_buf_str(out);
}

static void l4_reasons(void **state)
{
    cleanup_buf struct os_buf out = {0};
    struct policy_engine *e = compile("");
    assert_string_equal(reason(e, "a.x.com", 443, &out), "network connections not allowed by policy");
    policy_engine_unref(e);
    e = compile("b: {" CURL ", " E("host: a.x.com") "}, a: {" CURL ", " E("host: '*.x.com'") "}");
    assert_string_equal(reason(e, "b.y.com", 443, &out), "endpoint b.y.com:443 is not allowed by any policy");
    const char *text = reason(e, "a.x.com", 443, &out);
    static const char first[] = "binary '/usr/bin/wget' not allowed in policy 'a' (ancestors: "
                                "[/usr/local/bin/claude -> /usr/bin/bash], cmdline: [/srv/tool.py]). "
                                "SYMLINK HINT: ";
    assert_memory_equal(text, first, sizeof(first) - 1);
    assert_non_null(strstr(text, "readlink -f"));
    assert_non_null(strstr(text, "; binary '/usr/bin/wget' not allowed in policy 'b' (ancestors: "));
    policy_engine_unref(e);
    e = policy_quarantine("policy validation failed; fail-closed quarantine is active; candidate version 3 "
                          "rejected: x",
                          9);
    struct policy_process who = process("/usr/bin/curl");
    struct policy_l4 l4;
    policy_decide_l4(e, "a.x.com", 443, &who, &l4);
    assert_false(l4.allow);
    assert_string_equal(reason(e, "a.x.com", 443, &out),
                        "policy validation failed; fail-closed quarantine is active; candidate version 3 "
                        "rejected: x");
    assert_int_equal(policy_engine_generation(e), 9);
    policy_engine_unref(e);
}

struct l7_row {
    const char *policies, *method, *target;
    enum policy_l7_why why;
    const char *reason;
};

#define REST(text) K("host: api.x.com, protocol: rest, enforcement: enforce, " text)
#define RULES(text) REST("rules: [" text "]")
#define GRAPHQL_AND_REST                                                                                     \
    "k: {" CURL                                                                                              \
    ", endpoints: [{host: api.x.com, port: 443, protocol: rest, path: '/repos/**', access: full, "           \
    "enforcement: enforce}, {host: api.x.com, port: 443, protocol: graphql, path: /graphql, access: "        \
    "read-only, enforcement: enforce}]}"
#define TWO_RULES(binary)                                                                                    \
    "a: {binaries: [{path: " binary                                                                          \
    "}], " E("host: api.x.com, protocol: rest, enforcement: enforce, rules: [{allow: {method: GET, path: "   \
             "/**}}], "                                                                                      \
             "deny_rules: [{method: '*', path: '/admin/**'}]") "}, b: {" CURL                                \
                                                               ", " E("host: api.x.com, protocol: rest, "    \
                                                                      "enforcement: enforce, rules: "        \
                                                                      "[{allow: {method: '*', path: "        \
                                                                      "'**'}}]") "}"

static void l7_examples(void **state)
{
    static const struct l7_row rows[] = {
        {REST("access: read-only"), "GET", "/a", POLICY_L7_ALLOWED, NULL},
        {REST("access: read-only"), "HEAD", "/a", POLICY_L7_ALLOWED, NULL},
        {REST("access: read-only"), "OPTIONS", "/a", POLICY_L7_ALLOWED, NULL},
        {REST("access: read-only"), "POST", "/a", POLICY_L7_NOT_ALLOWED, "POST /a not permitted by policy"},
        {REST("access: read-write"), "PATCH", "/a", POLICY_L7_ALLOWED, NULL},
        {REST("access: read-write"), "DELETE", "/a", POLICY_L7_NOT_ALLOWED, NULL},
        {REST("access: full"), "DELETE", "/a", POLICY_L7_ALLOWED, NULL},
        {REST("access: full"), "BREW", "/a", POLICY_L7_ALLOWED, NULL},
        {RULES("{allow: {method: GET, path: '/v1/*'}}"), "GET", "/v1/a", POLICY_L7_ALLOWED, NULL},
        {RULES("{allow: {method: GET, path: '/v1/*'}}"), "GET", "/v1/a/b", POLICY_L7_NOT_ALLOWED, NULL},
        {RULES("{allow: {method: GET, path: '/v1/**'}}"), "GET", "/v1/a/b", POLICY_L7_ALLOWED, NULL},
        {RULES("{allow: {method: GET, path: '/v1/**'}}"), "GET", "/v1", POLICY_L7_NOT_ALLOWED, NULL},
        {RULES("{allow: {method: GET, path: '/v1/**'}}"), "HEAD", "/v1/a", POLICY_L7_ALLOWED, NULL},
        {RULES("{allow: {method: HEAD, path: /a}}"), "GET", "/a", POLICY_L7_NOT_ALLOWED, NULL},
        {RULES("{allow: {method: get, path: /a}}"), "GET", "/a", POLICY_L7_ALLOWED, NULL},
        {RULES("{allow: {method: GET, path: /a}}"), "get", "/a", POLICY_L7_ALLOWED, NULL},
        {RULES("{allow: {method: GET, path: /a}}"), "GET", "/x/../a", POLICY_L7_ALLOWED, NULL},
        {RULES("{allow: {method: GET, path: /a}}"), "GET", "/A", POLICY_L7_NOT_ALLOWED, NULL},
        {RULES("{allow: {method: GET}}"), "GET", "/any/where", POLICY_L7_ALLOWED, NULL},
        {RULES("{allow: {path: /a}}"), "GET", "/a", POLICY_L7_NOT_ALLOWED, NULL},
        {REST("allow_encoded_slash: true, rules: [{allow: {method: GET, path: '/*'}}]"), "GET", "/@s%2Fn",
         POLICY_L7_ALLOWED, NULL},
        {REST("access: full, deny_rules: [{method: '*', path: '/admin/**'}]"), "GET", "/admin/x",
         POLICY_L7_DENY_RULE, "GET /admin/x blocked by deny rule"},
        {REST("access: full, deny_rules: [{method: '*', path: '/admin/**'}]"), "GET", "/x/../admin/x",
         POLICY_L7_DENY_RULE, "GET /admin/x blocked by deny rule"},
        {REST("access: full, deny_rules: [{method: '*', path: '/admin/**'}]"), "GET", "/a", POLICY_L7_ALLOWED,
         NULL},
        {TWO_RULES("/usr/bin/curl"), "GET", "/admin/x", POLICY_L7_DENY_RULE, NULL},
        {TWO_RULES("/usr/bin/curl"), "POST", "/x", POLICY_L7_ALLOWED, NULL},
        {TWO_RULES("/usr/bin/wget"), "GET", "/admin/x", POLICY_L7_ALLOWED, NULL},
        {REST("access: full, deny_rules: [{method: DELETE}]"), "DELETE", "/a", POLICY_L7_DENY_RULE, NULL},
        {REST("access: full, deny_rules: [{path: /a}]"), "PUT", "/a", POLICY_L7_DENY_RULE, NULL},
        {REST("access: full, deny_rules: [{path: /a}]"), "PUT", "/b", POLICY_L7_ALLOWED, NULL},
        {RULES("{allow: {method: GET, path: /d, query: {tag: 'foo-*'}}}"), "GET", "/d?tag=foo-a&tag=foo-b",
         POLICY_L7_ALLOWED, NULL},
        {RULES("{allow: {method: GET, path: /d, query: {tag: 'foo-*'}}}"), "GET", "/d?tag=foo-a&tag=z",
         POLICY_L7_NOT_ALLOWED, NULL},
        {RULES("{allow: {method: GET, path: /d, query: {tag: 'foo-*'}}}"), "GET", "/d", POLICY_L7_NOT_ALLOWED,
         NULL},
        {RULES("{allow: {method: GET, path: /d, query: {tag: 'foo-*'}}}"), "GET", "/d?tag=foo-1.2",
         POLICY_L7_NOT_ALLOWED, NULL},
        {RULES("{allow: {method: GET, path: /d, query: {tag: 'foo-*'}}}"), "GET", "/d?TAG=foo-1",
         POLICY_L7_NOT_ALLOWED, NULL},
        {RULES("{allow: {method: GET, path: /d, query: {a: {any: [x, 'y*']}, b: '**'}}}"), "GET",
         "/d?a=yes&b=1.2.3&c=1", POLICY_L7_ALLOWED, NULL},
        {RULES("{allow: {method: GET, path: /d, query: {a: {any: [x, 'y*']}, b: '**'}}}"), "GET", "/d?a=yes",
         POLICY_L7_NOT_ALLOWED, NULL},
        {REST("access: full, deny_rules: [{method: POST, path: /a, query: {force: 'true'}}]"), "POST",
         "/a?force=no&force=true", POLICY_L7_DENY_RULE, "POST /a blocked by deny rule"},
        {REST("access: full, deny_rules: [{method: POST, path: /a, query: {force: 'true'}}]"), "POST", "/a",
         POLICY_L7_ALLOWED, NULL},
        {REST("access: full, deny_rules: [{method: POST, path: /a, query: {f: 'true', g: '1'}}]"), "POST",
         "/a?f=true", POLICY_L7_ALLOWED, NULL},
        {RULES("{allow: {method: GET, path: /d, query: {q: a b}}}"), "GET", "/d?q=a+b", POLICY_L7_ALLOWED,
         NULL},
        {GRAPHQL_AND_REST, "GET", "/other", POLICY_L7_NO_PATH, "no L7 endpoint path matched request"},
        {GRAPHQL_AND_REST, "GET", "/repos/x", POLICY_L7_ALLOWED, NULL},
        {GRAPHQL_AND_REST, "POST", "/graphql", POLICY_L7_ERROR, "request denied by policy"},
        {REST("path: '/v1/**', access: full"), "GET", "/v1", POLICY_L7_NOT_ALLOWED, NULL},
        {REST("path: '/v1/**', access: full"), "GET", "/v1/x", POLICY_L7_ALLOWED, NULL},
        {REST("path: '/v1/**', access: full"), "GET", "/v2", POLICY_L7_NO_PATH, NULL},
        {"a: {" CURL ", " E(
             "host: api.x.com, protocol: rest, enforcement: enforce, access: read-only") "}, "
                                                                                         "b: {" CURL ", " E(
                                                                                             "host: "
                                                                                             "api.x.com") "}",
         "POST", "/a", POLICY_L7_NOT_ALLOWED, NULL},
        {K("host: api.x.com"), "POST", "/a", POLICY_L7_ALLOWED, NULL},
        {K("host: api.x.com, protocol: websocket, access: full"), "GET", "/a", POLICY_L7_NEEDS_UPGRADE,
         "websocket endpoint requires a valid WebSocket upgrade request"},
        {K("host: api.x.com, protocol: sql, access: read-only"), "GET", "/a", POLICY_L7_ALLOWED, NULL},
        {K("host: api.x.com, protocol: json-rpc, rules: [{allow: {method: '*'}}]"), "POST", "/a",
         POLICY_L7_ERROR, NULL},
        {K("host: api.x.com, protocol: mcp, mcp: {allow_all_known_mcp_methods: true}"), "POST", "/a",
         POLICY_L7_ERROR, NULL},
        {"a: {" CURL ", " E("host: api.x.com, protocol: rest, path: '/v1/**', enforcement: enforce, access: "
                            "read-only") "}, b: {" CURL
                                         ", " E("host: api.x.com, protocol: websocket, access: full") "}",
         "POST", "/v1/a", POLICY_L7_NOT_ALLOWED, NULL},
        {"a: {" CURL ", " E("host: api.x.com, protocol: REST, enforcement: enforce, access: read-only") "}",
         "POST", "/a", POLICY_L7_NOT_ALLOWED, NULL},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_arena struct os_arena arena = {0};
        cleanup_buf struct os_buf text = {0};
        struct policy_engine *e = compile(rows[i].policies);
        struct policy_process who = process("/usr/bin/curl");
        struct policy_l4 l4;
        policy_decide_l4(e, "api.x.com", 443, &who, &l4);
        assert_true(l4.allow);
        struct policy_target t;
        assert_int_equal(policy_target_parse(&arena, rows[i].target, strlen(rows[i].target), true, &t, NULL),
                         0);
        struct policy_http req = {.method = rows[i].method, .path = t.path};
        assert_int_equal(policy_query_parse(&arena, t.query, &req.query, &req.n_query, NULL), 0);
        struct policy_l7 l7;
        policy_decide_http(e, &l4, &req, &l7);
        if (l7.why != rows[i].why)
            fail_msg("%s: %s %s is %d, want %d", rows[i].policies, rows[i].method, rows[i].target, l7.why,
                     rows[i].why);
        assert_int_equal(l7.allow, rows[i].why == POLICY_L7_ALLOWED);
        assert_false(l7.audit);
        assert_string_equal(l7.policy, l4.policy);
        policy_l7_reason(&l7, &req, &text);
        if (rows[i].reason)
            assert_string_equal(os_buf_str(&text), rows[i].reason);
        policy_engine_unref(e);
    }
}

static void audit_mode_lets_denied_requests_pass(void **state)
{
    static const struct {
        const char *policies;
        bool allow, audit;
    } rows[] = {
        {K("host: api.x.com, protocol: rest, access: read-only"), false, true},
        {K("host: api.x.com, protocol: rest, access: read-only, enforcement: audit"), false, true},
        {K("host: api.x.com, protocol: rest, access: read-only, enforcement: enforce"), false, false},
        {K("host: api.x.com, protocol: rest, access: full, deny_rules: [{method: POST, path: '**'}]"), false,
         true},
        {K("host: api.x.com, protocol: rest, access: full"), true, false},
        {K("host: api.x.com, protocol: websocket, access: full"), false, false},
        {K("host: api.x.com, protocol: rest, path: /b, access: full"), false, false},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        struct policy_engine *e = compile(rows[i].policies);
        struct policy_process who = process("/usr/bin/curl");
        struct policy_l4 l4;
        struct policy_l7 l7;
        policy_decide_l4(e, "api.x.com", 443, &who, &l4);
        policy_decide_http(e, &l4, &(struct policy_http){.method = "POST", .path = "/a"}, &l7);
        assert_int_equal(l7.allow, rows[i].allow);
        assert_int_equal(l7.audit, rows[i].audit);
        policy_engine_unref(e);
    }
}

static void too_many_matches_are_refused(void **state)
{
    cleanup_buf struct os_buf text = {0};
    for (int n = POLICY_MATCH_MAX; n <= POLICY_MATCH_MAX + 1; n++) {
        os_buf_clear(&text);
        for (int i = 0; i < n; i++)
            os_buf_addf(&text, "k%03d: {" CURL ", " E("host: api.x.com") "}, ", i);
        struct policy_engine *e = compile(os_buf_str(&text));
        struct policy_process who = process("/usr/bin/curl");
        struct policy_l4 l4;
        policy_decide_l4(e, "api.x.com", 443, &who, &l4);
        assert_int_equal(l4.allow, n == POLICY_MATCH_MAX);
        policy_engine_unref(e);
    }
}

static void a_thousand_rules_find_their_own(void **state)
{
    cleanup_buf struct os_buf text = {0};
    for (int i = 0; i < 1000; i++)
        os_buf_addf(&text,
                    "k%04d: {binaries: [{path: /bin/b%d}], endpoints: [{port: %d, host: '%sh%d.x.com'}]}, ",
                    i, i, 1000 + i % 7, i % 2 ? "*." : "", i);
    struct policy_engine *e = compile(os_buf_str(&text));
    for (int i = 0; i < 1000; i++) {
        char host[64];
        char exe[32];
        char key[16];
        snprintf(host, sizeof(host), "%sh%d.x.com", i % 2 ? "a." : "", i);
        snprintf(exe, sizeof(exe), "/bin/b%d", i);
        snprintf(key, sizeof(key), "k%04d", i);
        struct policy_process who = {.exe = exe};
        struct policy_l4 l4;
        policy_decide_l4(e, host, (uint16_t)(1000 + i % 7), &who, &l4);
        assert_true(l4.allow);
        assert_string_equal(l4.policy, key);
        policy_decide_l4(e, host, (uint16_t)(1001 + i % 7), &who, &l4);
        assert_false(l4.allow);
        who.exe = "/bin/other";
        policy_decide_l4(e, host, (uint16_t)(1000 + i % 7), &who, &l4);
        assert_false(l4.allow);
    }
    policy_engine_unref(e);
}

static void refused_documents_name_their_stage(void **state)
{
    static const struct {
        const char *policies, *error;
    } rows[] = {
        {K("host: '*.com'"),
         "policy validation failed:\nnetwork policy 'k': TLD wildcard '*.com' is not allowed; "
         "use subdomain wildcards like '*.example.com' instead"},
        {K("host: a.x.com, protocol: json-rpc, rules: [{allow: {method: 'a*'}}]"),
         "L7 policy validation failed:\nk.endpoints[0].rules[0].allow.method: generic JSON-RPC method rules "
         "do not "
         "support glob or wildcard matchers; use \"*\" to allow all methods or an exact method name"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_arena struct os_arena arena = {0};
        cleanup_error struct os_error err = {0};
        const char *text = os_arena_printf(&arena, "version: 1\nnetwork_policies: {%s}", rows[i].policies);
        policy_doc *doc = policy_yaml_parse(&arena, text, strlen(text), NULL);
        struct policy_compile_options opt = {.binary_identity = true};
        assert_null(policy_compile(doc, &opt, &err));
        assert_int_equal(err.code, OS_INVALID_ARGUMENT);
        assert_string_equal(err.msg, rows[i].error);
    }
}

static void count(void *ctx)
{
    ++*(int *)ctx;
}

static void slot_swaps_and_tells(void **state)
{
    int calls = 0;
    struct policy_slot *s = policy_slot_new(compile(""));
    policy_slot_watch(s, count, &calls);
    assert_int_equal(policy_slot_generation(s), 3);
    struct policy_engine *held = policy_slot_get(s);
    policy_slot_publish(s, policy_quarantine("q", 4));
    assert_int_equal(calls, 1);
    assert_int_equal(policy_slot_generation(s), 4);
    assert_int_equal(policy_engine_generation(held), 3);
    policy_engine_unref(held);
    held = policy_slot_get(s);
    assert_int_equal(policy_engine_generation(held), 4);
    policy_engine_unref(held);
    policy_slot_free(s);
}

static void names_of_a_policy(void **state)
{
    struct policy_engine *e =
        compile(K("host: API.x.com") ", l: {" CURL ", endpoints: [{host: '*.y.com', port: 1}, "
                                     "{host: '', port: 2, allowed_ips: [10.1.0.0/16]}]}");
    assert_true(policy_names_host(e, "api.x.com"));
    assert_true(policy_names_host(e, "a.y.com"));
    assert_false(policy_names_host(e, "x.com"));
    assert_false(policy_names_host(e, "y.com"));
    assert_false(policy_names_host(e, "a.b.y.com"));
    assert_false(policy_names_host(e, "whatever.test"));
    policy_engine_unref(e);
    e = policy_quarantine("no", 1);
    assert_false(policy_names_host(e, "api.x.com"));
    policy_engine_unref(e);
}

/* One matcher decides what a pattern means for the validator, for connections and for the name server. */
static void one_matcher_for_all_who_ask(void **state)
{
    static const struct {
        const char *pattern;
        bool valid;
        const char *yes, *no; /* hosts, separated by spaces */
    } rows[] = {
        {"api.x.com", true, "api.x.com", "x.com a.api.x.com api.x.org apixx.com"},
        {"*.x.com", true, "a.x.com", "x.com a.b.x.com xx.com"},
        {"**.x.com", true, "a.x.com a.b.x.com", "x.com"},
        {"api-*.x.com", true, "api-1.x.com api-.x.com", "api.x.com api-1.b.x.com"},
        {"*-ai.x.com", true, "us-ai.x.com", "us.b-ai.x.com us-ai.x.org"},
        {"*.s3.*.x.com", true, "b.s3.eu.x.com", "b.s3.x.com b.s3.a.b.x.com"},
        {"*", false, "", ""},
        {"**", false, "", ""},
        {"*.com", false, "", ""},
        {"**.com", false, "", ""},
        {"a**.x.com", false, "", ""},
        {"api.**.x.com", false, "", ""},
        {"api.a*.x.com", false, "", ""},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_arena struct os_arena arena = {0};
        cleanup_strv struct os_strv bad = {0};
        const char *text = os_arena_printf(
            &arena, "version: 1\nnetwork_policies: {k: {" CURL ", " E("host: '%s'") "}}", rows[i].pattern);
        policy_doc *doc = policy_yaml_parse(&arena, text, strlen(text), NULL);
        policy_validate(doc, &bad);
        if ((bad.n == 0) != rows[i].valid)
            fail_msg("%s: %zu violations", rows[i].pattern, bad.n);
        for (int expected = 0; expected < 2 && rows[i].valid; expected++) {
            cleanup_strv struct os_strv hosts = {0};
            struct policy_engine *e =
                compile(os_arena_printf(&arena, "k: {" CURL ", " E("host: '%s'") "}", rows[i].pattern));
            os_strv_split(&hosts, expected ? rows[i].yes : rows[i].no, ' ');
            for (size_t k = 0; k < hosts.n; k++) {
                struct policy_process who = process("/usr/bin/curl");
                struct policy_l4 l4;
                policy_decide_l4(e, hosts.v[k], 443, &who, &l4);
                if (l4.allow != expected || policy_names_host(e, hosts.v[k]) != expected)
                    fail_msg("%s and %s: connection %d, name %d, want %d", rows[i].pattern, hosts.v[k],
                             l4.allow, policy_names_host(e, hosts.v[k]), expected);
            }
            policy_engine_unref(e);
        }
    }
}

static void opaque_when_everything_that_matches_is_tcp(void **state)
{
    struct policy_engine *e = compile(
        "k: {" CURL ", endpoints: [{host: db.x.com, port: 1, protocol: tcp}, {host: a.x.com, port: 1}, "
        "{host: '*.y.com', port: 2, protocol: tcp}, {host: a.x.com, port: 2}]}");
    static const struct {
        const char *host;
        uint16_t port;
        bool opaque;
    } rows[] = {{"db.x.com", 1, true}, {"a.x.com", 1, false}, {"b.y.com", 2, true}, {"a.x.com", 2, false}};
    struct policy_process who = process("/usr/bin/curl");
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        struct policy_l4 l4;
        policy_decide_l4(e, rows[i].host, rows[i].port, &who, &l4);
        assert_true(l4.allow);
        assert_int_equal(l4.opaque, rows[i].opaque);
    }
    policy_engine_unref(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_a_policy),
        cmocka_unit_test(one_matcher_for_all_who_ask),
        cmocka_unit_test(opaque_when_everything_that_matches_is_tcp),
        cmocka_unit_test(l4_examples),
        cmocka_unit_test(identity_can_be_relaxed),
        cmocka_unit_test(symlinks_are_resolved_at_compile_time),
        cmocka_unit_test(configurations_follow_rule_order),
        cmocka_unit_test(declared_hosts),
        cmocka_unit_test(proposals_do_not_declare),
        cmocka_unit_test(l4_reasons),
        cmocka_unit_test(l7_examples),
        cmocka_unit_test(audit_mode_lets_denied_requests_pass),
        cmocka_unit_test(too_many_matches_are_refused),
        cmocka_unit_test(a_thousand_rules_find_their_own),
        cmocka_unit_test(refused_documents_name_their_stage),
        cmocka_unit_test(slot_swaps_and_tells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
