/* Answers to questions about a policy, and the changes found for what is denied: each is applied again here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "policy/explain.h"

static struct os_arena arena;

static int forget(void **state)
{
    os_arena_free(&arena);
    return 0;
}

static policy_doc *parse(const char *rules)
{
    cleanup_error struct os_error err = {0};
    const char *text = os_arena_printf(&arena, "version: 1\nnetwork_policies: {%s}", rules);
    policy_doc *doc = policy_yaml_parse(&arena, text, strlen(text), &err);
    if (!doc)
        fail_msg("%s\n%s", text, os_error_text(&err));
    return doc;
}

/* "10.*" is private: it needs a declared host or a list that has it. */
static int vet(const struct policy_l4 *l4, const struct policy_question *q, struct os_error *reason)
{
    bool ok = strncmp(q->address, "10.", 3) != 0 || l4->declared_host;
    if (l4->n_configs && l4->configs[0]->n_allowed_ips) {
        ok = false;
        for (size_t i = 0; i < l4->configs[0]->n_allowed_ips; i++)
            ok |= l4->configs[0]->allowed_ips[i].addr[3] == (uint8_t)atoi(strrchr(q->address, '.') + 1);
    }
    return ok ? 0 : os_error_set(reason, OS_PERMISSION_DENIED, "%s is refused", q->address);
}

static struct policy_question ask(const char *method, const char *host, const char *target, const char *exe)
{
    return (struct policy_question){.host = host,
                                    .port = 443,
                                    .tls = true,
                                    .method = method,
                                    .target = target,
                                    .who = {.exe = exe},
                                    .check_address = vet};
}

#define CURL "binaries: [{path: /usr/bin/curl}]"
#define BASE                                                                                                 \
    "api: {endpoints: [{host: api.x.com, port: 443, protocol: rest, enforcement: enforce, rules: ["          \
    "{allow: {method: GET, path: '/v1/**'}}, {allow: {method: POST, path: /v1/a, query: {k: v}}}],"          \
    "deny_rules: [{method: '*', path: '/v1/admin/**'}]}], " CURL "},"                                        \
    "audit: {endpoints: [{host: audit.x.com, port: 443, protocol: rest, access: read-only}], " CURL "},"     \
    "skip: {endpoints: [{host: skip.x.com, port: 443, tls: skip, protocol: rest, access: read-only}], " CURL \
    "},"                                                                                                     \
    "plain: {endpoints: [{host: '*.plain.com', port: 443}, {host: b.com, port: 443}], " CURL "},"            \
    "listed: {endpoints: [{host: '*.lan.com', port: 443, allowed_ips: [10.0.0.1]}], " CURL "},"              \
    "paths: {endpoints: [{host: p.x.com, port: 443, path: '/a/**', protocol: rest, enforcement: enforce,"    \
    "access: full}], " CURL "}"

static void answers(void **state)
{
    static const struct {
        const char *method, *host, *target, *exe;
        enum policy_verdict verdict;
        enum policy_cause cause;
        const char *layer, *rule, *detail, *reason;
    } rows[] = {
        {"GET", "api.x.com", "/v1/x?q=1", "/usr/bin/curl", POLICY_VERDICT_ALLOWED, POLICY_CAUSE_NONE,
         "request", "api", "endpoints[0] (api.x.com:443), rules[0] (GET /v1/**)", NULL},
        {"POST", "api.x.com", "/v1/a?k=v", "/usr/bin/curl", POLICY_VERDICT_ALLOWED, POLICY_CAUSE_NONE,
         "request", "api", "endpoints[0] (api.x.com:443), rules[1] (POST /v1/a?k)", NULL},
        {"POST", "api.x.com", "/v1/a", "/usr/bin/curl", POLICY_VERDICT_DENIED, POLICY_CAUSE_NOT_ALLOWED,
         "request", "api", "endpoints[0] (api.x.com:443)", "POST /v1/a not permitted by policy"},
        {"GET", "api.x.com", "/v1/y/../admin/x", "/usr/bin/curl", POLICY_VERDICT_DENIED,
         POLICY_CAUSE_DENY_RULE, "request", "api",
         "endpoints[0] (api.x.com:443), deny_rules[0] (* /v1/admin/**)",
         "GET /v1/admin/x blocked by deny rule"},
        {"GET", "api.x.com", "/v1/%zz", "/usr/bin/curl", POLICY_VERDICT_DENIED, POLICY_CAUSE_OTHER, "request",
         "api", "endpoints[0] (api.x.com:443)",
         "request-target contains an invalid percent-encoded sequence"},
        {"GET", "api.x.com", "/v1/x", "/usr/bin/wget", POLICY_VERDICT_DENIED, POLICY_CAUSE_BINARY,
         "connection", NULL, NULL, "binary '/usr/bin/wget' not allowed in policy 'api'"},
        {"GET", "api.x.com", "/v1/x", NULL, POLICY_VERDICT_ALLOWED, POLICY_CAUSE_NONE, "request", "api",
         "endpoints[0] (api.x.com:443), rules[0] (GET /v1/**)", NULL},
        {"GET", "no.x.com", "/", "/usr/bin/curl", POLICY_VERDICT_DENIED, POLICY_CAUSE_ENDPOINT, "connection",
         NULL, NULL, "endpoint no.x.com:443 is not allowed by any policy"},
        {"GET", "audit.x.com", "/", "/usr/bin/curl", POLICY_VERDICT_ALLOWED, POLICY_CAUSE_NONE, "request",
         "audit", "endpoints[0] (audit.x.com:443), access: read-only", NULL},
        {"PUT", "audit.x.com", "/", "/usr/bin/curl", POLICY_VERDICT_AUDITED, POLICY_CAUSE_NOT_ALLOWED,
         "request", "audit", "endpoints[0] (audit.x.com:443)", "PUT / not permitted by policy"},
        {"PUT", "skip.x.com", "/", "/usr/bin/curl", POLICY_VERDICT_ALLOWED, POLICY_CAUSE_NONE, "connection",
         "skip", "endpoints[0] (skip.x.com:443)", NULL},
        {NULL, "b.com", NULL, "/usr/bin/curl", POLICY_VERDICT_ALLOWED, POLICY_CAUSE_NONE, "connection",
         "plain", "endpoints[1] (b.com:443)", NULL},
        {"GET", "p.x.com", "/b", "/usr/bin/curl", POLICY_VERDICT_DENIED, POLICY_CAUSE_NO_PATH, "request",
         "paths", "endpoints[0] (p.x.com:443/a/**)", "no L7 endpoint path matched request"},
    };
    policy_doc *doc = parse(BASE);
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        struct policy_question q = ask(rows[i].method, rows[i].host, rows[i].target, rows[i].exe);
        struct policy_answer a;
        assert_int_equal(policy_explain(&arena, doc, &q, &a, NULL), 0);
        assert_int_equal(a.verdict, rows[i].verdict);
        assert_int_equal(a.cause, rows[i].cause);
        assert_string_equal(a.layer, rows[i].layer);
        assert_int_equal(!a.rule, !rows[i].rule);
        if (a.rule) {
            assert_string_equal(a.rule, rows[i].rule);
            assert_string_equal(a.detail, rows[i].detail);
        }
        assert_int_equal(!a.reason, !rows[i].reason);
        if (a.reason && strncmp(a.reason, rows[i].reason, strlen(rows[i].reason)) != 0)
            fail_msg("%s", a.reason);
    }
    struct policy_question q = ask("PUT", "skip.x.com", "/", "/usr/bin/curl");
    struct policy_answer a;
    q.tls = false; /* in the clear it is read */
    assert_int_equal(policy_explain(&arena, doc, &q, &a, NULL), 0);
    assert_false(a.unread);
    assert_int_equal(a.verdict, POLICY_VERDICT_AUDITED);
    const char *const ancestors[] = {"/bin/sh", "/usr/bin/curl"};
    q = ask("GET", "api.x.com", "/v1/x", "/usr/bin/wget");
    q.who.ancestors = ancestors;
    q.who.n_ancestors = 2;
    assert_int_equal(policy_explain(&arena, doc, &q, &a, NULL), 0);
    assert_int_equal(a.verdict, POLICY_VERDICT_ALLOWED);
}

static void what_depends_on_a_body_is_not_decided(void **state)
{
    static const char *const protocols[] = {"graphql, access: read-only",
                                            "json-rpc, rules: [{allow: {method: a}}]",
                                            "mcp, rules: [{allow: {method: tools/call, tool: a}}]"};
    for (size_t i = 0; i < OS_ARRAY_LEN(protocols); i++) {
        policy_doc *doc = parse(os_arena_printf(
            &arena,
            "q: {endpoints: [{host: q.com, port: 443, path: /q, enforcement: enforce, protocol: %s}], " CURL
            "}",
            protocols[i]));
        struct policy_question q = ask("POST", "q.com", "/q", "/usr/bin/curl");
        struct policy_answer a;
        struct policy_fix found[POLICY_FIXES];
        assert_int_equal(policy_explain(&arena, doc, &q, &a, NULL), 0);
        assert_int_equal(a.verdict, POLICY_VERDICT_DEPENDS);
        assert_string_equal(a.rule, "q");
        assert_non_null(strstr(a.reason, "in the body"));
        assert_int_equal(policy_find_fixes(&arena, doc, &q, found), 0);
        q = ask("POST", "q.com", "/other", "/usr/bin/curl"); /* decided by the path alone */
        assert_int_equal(policy_explain(&arena, doc, &q, &a, NULL), 0);
        assert_int_equal(a.verdict, POLICY_VERDICT_DENIED);
        q = ask("POST", "q.com", "/q", "/usr/bin/wget");
        assert_int_equal(policy_explain(&arena, doc, &q, &a, NULL), 0);
        assert_int_equal(a.verdict, POLICY_VERDICT_DENIED);
    }
}

static void a_refused_document_has_no_answer(void **state)
{
    cleanup_error struct os_error err = {0};
    struct policy_question q = ask("GET", "a.com", "/", "/b");
    struct policy_answer a;
    policy_doc *doc = parse("r: {endpoints: [{host: '*.com', port: 443}], " CURL "}");
    assert_int_equal(policy_explain(&arena, doc, &q, &a, &err), -1);
    assert_non_null(strstr(os_error_text(&err), "TLD wildcard"));
    struct policy_fix fixes[POLICY_FIXES];
    assert_int_equal(policy_find_fixes(&arena, doc, &q, fixes), 0);
}

/* The changed rules of the first fix, which works when its operations are applied to the document. */
static const char *fix_of(const policy_doc *doc, const struct policy_question *q, size_t want_ops)
{
    struct policy_fix fixes[POLICY_FIXES];
    struct policy_answer a;
    cleanup_strv struct os_strv warnings = {0};
    cleanup_buf struct os_buf out = {0};
    size_t n = policy_find_fixes(&arena, doc, q, fixes);
    if (!n)
        return "none";
    for (size_t i = 0; i < n; i++) {
        const policy_doc *after = fixes[i].doc;
        if (fixes[i].n_ops)
            after = policy_merge(&arena, doc, fixes[i].ops, fixes[i].n_ops, &warnings, NULL);
        assert_non_null(after);
        assert_int_equal(policy_explain(&arena, after, q, &a, NULL), 0);
        assert_int_not_equal(a.verdict, POLICY_VERDICT_DENIED);
    }
    assert_int_equal(fixes[0].n_ops, want_ops);
    policy_yaml_print(policy_changed_rules(&arena, doc, fixes[0].doc), &out);
    return os_arena_strdup(&arena, os_buf_str(&out));
}

static void expect(const struct policy_question *q, size_t want_ops, const char *rules)
{
    cleanup_buf struct os_buf want = {0};
    policy_yaml_print(parse(rules), &want);
    assert_string_equal(fix_of(parse(BASE), q, want_ops), os_buf_str(&want));
}

static void fixes(void **state)
{
    struct policy_question q = ask("post", "new.com", "/a*b?x=1", "/usr/bin/curl");
    expect(&q, 2,
           "allow_new_com_443: {endpoints: [{host: new.com, port: 443, protocol: rest, enforcement: enforce,"
           "rules: [{allow: {method: POST, path: '/a\\*b'}}]}], " CURL "}");
    q = ask(NULL, "new.com", NULL, NULL);
    expect(
        &q, 1,
        "allow_new_com_443: {endpoints: [{host: new.com, port: 443}], binaries: [{path: " POLICY_ANY_PROGRAM
        "}]}");
    /* A program that lacks: what the others have, on that endpoint alone. */
    q = ask("GET", "b.com", "/", "/usr/bin/wget");
    expect(&q, 1,
           "allow_b_com_443: {endpoints: [{host: b.com, port: 443}], binaries: [{path: /usr/bin/wget}]}");
    q = ask("GET", "audit.x.com", "/", "/usr/bin/wget");
    expect(&q, 1,
           "audit: {endpoints: [{host: audit.x.com, port: 443, protocol: rest, access: read-only}],"
           "binaries: [{path: /usr/bin/curl}, {path: /usr/bin/wget}]}");
    /* One more request. */
    q = ask("PUT", "p.x.com", "/b", "/usr/bin/curl");
    expect(&q, 1,
           "allow_p_x_com_443: {endpoints: [{host: p.x.com, port: 443, protocol: rest, enforcement: enforce,"
           "rules: [{allow: {method: PUT, path: /b}}]}], " CURL "}");
    q = ask("PUT", "api.x.com", "/v1/b", "/usr/bin/curl");
    expect(&q, 1,
           "api: {endpoints: [{host: api.x.com, port: 443, protocol: rest, enforcement: enforce, rules: ["
           "{allow: {method: GET, path: '/v1/**'}}, {allow: {method: POST, path: /v1/a, query: {k: v}}},"
           "{allow: {method: PUT, path: /v1/b}}], deny_rules: [{method: '*', path: '/v1/admin/**'}]}], " CURL
           "}");
    /* A deny rule, and behind it no allow rule: by hand. */
    q = ask("PUT", "api.x.com", "/v1/admin/b", "/usr/bin/curl");
    expect(&q, 0,
           "api: {endpoints: [{host: api.x.com, port: 443, protocol: rest, enforcement: enforce, rules: ["
           "{allow: {method: GET, path: '/v1/**'}}, {allow: {method: POST, path: /v1/a, query: {k: v}}},"
           "{allow: {method: PUT, path: /v1/admin/b}}]}], " CURL "}");
    /* Addresses: by name, or in the list that is there. */
    q = ask(NULL, "a.plain.com", NULL, "/usr/bin/curl");
    q.address = "10.0.0.9";
    expect(&q, 1, "allow_a_plain_com_443: {endpoints: [{host: a.plain.com, port: 443}], " CURL "}");
    q = ask(NULL, "a.lan.com", NULL, "/usr/bin/curl");
    q.address = "10.0.0.9";
    expect(&q, 1,
           "listed: {endpoints: [{host: '*.lan.com', port: 443, allowed_ips: [10.0.0.1, 10.0.0.9]}], " CURL
           "}");
    /* Two things at once: the program and the request. */
    q = ask("PUT", "p.x.com", "/a/b", "/usr/bin/wget");
    assert_string_not_equal(fix_of(parse(BASE), &q, 1), "none");
}

static void nothing_to_change(void **state)
{
    policy_doc *doc =
        parse(BASE ", sql: {endpoints: [{host: s.com, port: 443, protocol: sql, access: full}], " CURL "}");
    struct policy_question q = ask("GET", "api.x.com", "/v1/%zz", "/usr/bin/curl");
    assert_string_equal(fix_of(doc, &q, 0), "none");
    q = ask("GET", "api.x.com", "/v1/x", "/usr/bin/curl"); /* allowed */
    assert_string_equal(fix_of(doc, &q, 0), "none");
    q = ask("GET", "s.com", "/", "/usr/bin/curl"); /* not read */
    assert_string_equal(fix_of(doc, &q, 0), "none");
    struct policy_answer a;
    assert_int_equal(policy_explain(&arena, doc, &q, &a, NULL), 0);
    assert_int_equal(a.verdict, POLICY_VERDICT_ALLOWED);
    assert_true(a.unread);
    q = ask("GET", "localhost", "/", "/usr/bin/curl"); /* closed whatever the policy says */
    assert_string_equal(fix_of(doc, &q, 0), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(answers, forget),
        cmocka_unit_test_teardown(a_refused_document_has_no_answer, forget),
        cmocka_unit_test_teardown(what_depends_on_a_body_is_not_decided, forget),
        cmocka_unit_test_teardown(fixes, forget),
        cmocka_unit_test_teardown(nothing_to_change, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
