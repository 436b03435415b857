/* The document: strict parsing with positions, normalised printing, hash, default, copy, baseline, static
 * sections. */
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
#include "policy/policy.h"

static policy_doc *parse(struct os_arena *arena, const char *text)
{
    cleanup_error struct os_error err = {0};
    policy_doc *doc = policy_yaml_parse(arena, text, strlen(text), &err);
    if (!doc)
        fail_msg("%s", os_error_text(&err));
    return doc;
}

static const char full[] = "version: 1\n"
                           "filesystem_policy:\n"
                           "  include_workdir: false\n"
                           "  read_only:\n"
                           "  - /usr\n"
                           "  read_write:\n"
                           "  - /tmp\n"
                           "landlock: {}\n"
                           "process:\n"
                           "  run_as_user: \"1500\"\n"
                           "  run_as_group: sandbox\n"
                           "network_policies:\n"
                           "  a_rule:\n"
                           "    name: A rule\n"
                           "    endpoints:\n"
                           "    - host: \"*.x.com\"\n"
                           "      path: /v1/**\n"
                           "      ports:\n"
                           "      - 443\n"
                           "      - 8443\n"
                           "      protocol: rest\n"
                           "      tls: terminate\n"
                           "      enforcement: enforce\n"
                           "      rules:\n"
                           "      - allow:\n"
                           "          method: GET\n"
                           "          path: /d\n"
                           "          query:\n"
                           "            q:\n"
                           "              any:\n"
                           "              - a b\n"
                           "              - c*\n"
                           "            tag: foo-*\n"
                           "      allowed_ips:\n"
                           "      - 10.0.0.0/24\n"
                           "      deny_rules:\n"
                           "      - method: \"*\"\n"
                           "        path: /admin/**\n"
                           "      allow_encoded_slash: true\n"
                           "      websocket_credential_rewrite: true\n"
                           "      request_body_credential_rewrite: true\n"
                           "      allow_uninspected_credentials: true\n"
                           "      signing_service: s3\n"
                           "      signing_region: eu-west-1\n"
                           "      credential_binding:\n"
                           "        provider: p\n"
                           "      json_rpc:\n"
                           "        max_body_bytes: 10\n"
                           "    - host: g.x.com\n"
                           "      port: 443\n"
                           "      protocol: graphql\n"
                           "      rules:\n"
                           "      - allow:\n"
                           "          operation_type: query\n"
                           "          operation_name: N*\n"
                           "          fields:\n"
                           "          - viewer\n"
                           "      persisted_queries: allow_registered\n"
                           "      graphql_persisted_queries:\n"
                           "        abc:\n"
                           "          operation_type: query\n"
                           "          fields:\n"
                           "          - viewer\n"
                           "      graphql_max_body_bytes: 70000\n"
                           "    - host: m.x.com\n"
                           "      port: 443\n"
                           "      protocol: mcp\n"
                           "      rules:\n"
                           "      - allow:\n"
                           "          tool: search\n"
                           "      - allow: {}\n"
                           "      deny_rules:\n"
                           "      - method: tools/list\n"
                           "        params:\n"
                           "          a.b: x\n"
                           "      mcp:\n"
                           "        max_body_bytes: 5\n"
                           "        strict_tool_names: false\n"
                           "        allow_all_known_mcp_methods: true\n"
                           "    binaries:\n"
                           "    - path: /usr/bin/curl\n"
                           "  b_rule:\n"
                           "    name: b_rule\n"
                           "    endpoints:\n"
                           "    - host: db.lan\n"
                           "      port: 5432\n"
                           "      protocol: tcp\n"
                           "network_middlewares:\n"
                           "  m:\n"
                           "    name: m\n"
                           "    middleware: openshell/regex\n"
                           "    order: -3\n"
                           "    config:\n"
                           "      a: 1\n"
                           "      b: 1.5\n"
                           "      c:\n"
                           "      - x\n"
                           "      - null\n"
                           "      - true\n"
                           "      - []\n"
                           "      - k: v\n"
                           "    on_error: fail_open\n"
                           "    endpoints:\n"
                           "      include:\n"
                           "      - \"**\"\n"
                           "      exclude:\n"
                           "      - x.com\n";

static void normal_form_is_a_fixed_point(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_buf struct os_buf out = {0};
    policy_doc *doc = parse(&arena, full);
    policy_yaml_print(doc, &out);
    assert_string_equal(os_buf_str(&out), full);
    char a[65];
    char b[65];
    policy_hash(doc, a);
    assert_string_equal(policy_hash(parse(&arena, os_buf_str(&out)), b), a);
    assert_string_equal(policy_hash(policy_copy(&arena, doc), b), a);
}

static void parsing_normalises(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_buf struct os_buf out = {0};
    policy_doc *doc =
        parse(&arena, "network_policies:\n"
                      "  z: {endpoints: [{protocol: REST, host: 10.0.0.9, port: 80, ports: [443, 8443]}]}\n"
                      "  a:\n"
                      "    binaries: [{harness: true, path: '/usr/bin/*'}]\n"
                      "    endpoints:\n"
                      "      - {host: h, port: 0x1bb, protocol: mcp,\n"
                      "         json_rpc: {max_body_bytes: 9}, mcp: {strict_tool_names: true},\n"
                      "         rules: [{allow: {method: tools/call, tool: t, params: {name: n}}},\n"
                      "                 {allow: {params: {a: {b: x, c: {any: [y]}}}}}]}\n"
                      "process: {}\n"
                      "version: 7\n");
    assert_int_equal(doc->version, 7);
    assert_null(doc->process);
    assert_null(doc->filesystem);
    assert_int_equal(doc->n_network_policies, 2);
    assert_string_equal(doc->network_policies[0]->key, "a");
    policy_endpoint_doc *z = doc->network_policies[1]->value->endpoints[0];
    assert_int_equal(z->port, 443);
    assert_int_equal(z->n_ports, 2);
    assert_string_equal(z->protocol, "rest");
    policy_endpoint_doc *ep = doc->network_policies[0]->value->endpoints[0];
    assert_int_equal(ep->json_rpc_max_body_bytes, 0);
    assert_int_equal(ep->ports[0], 443);
    policy_yaml_print(doc, &out);
    assert_string_equal(os_buf_str(&out), "version: 7\n"
                                          "network_policies:\n"
                                          "  a:\n"
                                          "    name: a\n"
                                          "    endpoints:\n"
                                          "    - host: h\n"
                                          "      port: 443\n"
                                          "      protocol: mcp\n"
                                          "      rules:\n"
                                          "      - allow:\n"
                                          "          method: tools/call\n"
                                          "          tool: n\n"
                                          "      - allow:\n"
                                          "          params:\n"
                                          "            a.b: x\n"
                                          "            a.c:\n"
                                          "              any:\n"
                                          "              - y\n"
                                          "      mcp:\n"
                                          "        strict_tool_names: true\n"
                                          "    binaries:\n"
                                          "    - path: /usr/bin/*\n"
                                          "  z:\n"
                                          "    name: z\n"
                                          "    endpoints:\n"
                                          "    - host: 10.0.0.9\n"
                                          "      ports:\n"
                                          "      - 443\n"
                                          "      - 8443\n"
                                          "      protocol: rest\n");
}

#define EP(text) "version: 1\nnetwork_policies: {k: {endpoints: [{" text "}]}}"
#define EP_AT "network_policies.k.endpoints[0]"

static void errors_name_path_and_position(void **state)
{
    static const struct {
        const char *yaml, *error;
    } rows[] = {
        {"", "line 1 column 1: the document is empty"},
        {"[]", "expected a mapping, got a list at line 1 column 1"},
        {"version: 1\nfoo: 2", "unknown key `foo`, expected one of: version, filesystem_policy, landlock, "
                               "process, network_policies, network_middlewares at line 2 column 1"},
        {"version: 1\nversion: 1", "duplicate key `version` at line 2 column 1"},
        {"landlock: {}", "missing key `version` at line 1 column 1"},
        {"version: \"1\"", "version: expected an integer, got a string `1` at line 1 column 10"},
        {"version: -1", "version: integer `-1` is out of range 0..4294967295 at line 1 column 10"},
        {"version: 4294967296",
         "version: integer `4294967296` is out of range 0..4294967295 at line 1 column 10"},
        {"version: 99999999999999999999",
         "version: integer `99999999999999999999` is out of range 0..4294967295 at line 1 column 10"},
        {"version:", "version: expected an integer, got nothing at line 1 column 9"},
        {"version: 1\nprocess: {run_as_user: 1500}", "process.run_as_user: expected a string (put it in "
                                                     "quotes), got an integer `1500` at line 2 column 24"},
        {"version: 1\nfilesystem_policy: {include_workdir: \"yes\"}",
         "filesystem_policy.include_workdir: expected true or false, got a string `yes` at line 2 column 38"},
        {"version: 1\nfilesystem_policy: {read_only: /usr}",
         "filesystem_policy.read_only: expected a list of strings, got a string `/usr` at line 2 column 32"},
        {"version: 1\nfilesystem_policy: {read_only: [/a, 5]}",
         "filesystem_policy.read_only[1]: expected a string (put it in quotes), got an integer `5` at line 2 "
         "column 37"},
        {"version: 1\nfilesystem_policy: {read_only: {}}",
         "filesystem_policy.read_only: expected a list of strings, got a mapping at line 2 column 32"},
        {"version: 1\nnetwork_policies: []",
         "network_policies: expected a mapping, got a list at line 2 column 19"},
        {"version: 1\nnetwork_policies: {a: {}, a: {}}",
         "network_policies: duplicate key `a` at line 2 column 19"},
        {EP("port: \"443\""), EP_AT ".port: expected an integer, got a string `443` at line 2 column 43"},
        {EP("port: 65536"), EP_AT ".port: integer `65536` is out of range 0..65535 at line 2 column 43"},
        {EP("ports: [1, 70000]"),
         EP_AT ".ports[1]: integer `70000` is out of range 0..65535 at line 2 column 48"},
        {EP("host: 1.5"),
         EP_AT ".host: expected a string (put it in quotes), got a number `1.5` at line 2 column 43"},
        {EP("host: true"),
         EP_AT ".host: expected a string (put it in quotes), got a boolean `true` at line 2 column 43"},
        {EP("host: "), EP_AT ".host: expected a string, got nothing at line 2 column 43"},
        {EP("Host: x"), NULL},
        {EP("advisor_proposed: true"), NULL},
        {EP("provider_credentialed: true"), NULL},
        {EP("rules: [{method: GET}]"),
         EP_AT ".rules[0]: unknown key `method`, expected one of: allow at line 2 column 46"},
        {EP("rules: [{}]"), EP_AT ".rules[0]: missing key `allow` at line 2 column 45"},
        {EP("deny_rules: [{allow: {}}]"), NULL},
        {EP("deny_rules: [{query: {a: {glob: x}}}]"),
         EP_AT ".deny_rules[0].query.a: expected a pattern or `any: [pattern, ...]`, got a mapping at line 2 "
               "column 62"},
        {EP("deny_rules: [{query: {a: {any: []}}}]"),
         EP_AT ".deny_rules[0].query.a.any: the list must not be empty at line 2 column 68"},
        {EP("deny_rules: [{query: {a: 1}}]"), NULL},
        {EP("deny_rules: [{params: {a.b: x, a: {b: y}}}]"),
         EP_AT ".deny_rules[0].params.a: duplicate key `a.b` at line 2 column 72"},
        {EP("mcp: {max: 1}"), NULL},
        {EP("mcp: {strict_tool_names: 1}"), NULL},
        {EP("json_rpc: 5"), EP_AT ".json_rpc: expected a mapping, got an integer `5` at line 2 column 47"},
        {EP("credential_binding: {}"),
         EP_AT ".credential_binding: missing key `provider` at line 2 column 57"},
        {"version: 1\nnetwork_policies: {k: {binaries: [{}]}}",
         "network_policies.k.binaries[0]: missing key `path` at line 2 column 35"},
        {"version: 1\nnetwork_policies: {k: {binaries: [/usr/bin/curl]}}",
         "network_policies.k.binaries[0]: expected a mapping, got a string `/usr/bin/curl` at line 2 column "
         "35"},
        {"version: &a 1", "line 1 column 10: anchors are not supported"},
        {"version: 1\nlandlock: &a {}", "line 2 column 11: anchors are not supported"},
        {"version: 1\nlandlock: *a", "line 2 column 11: aliases are not supported"},
        {"version: !!int 1", "line 1 column 10: tags are not supported"},
        {"version: 1\nlandlock: !x {}", "line 2 column 11: tags are not supported"},
        {"version: 1\nnetwork_policies: {<<: {}}", "line 2 column 20: merge keys (<<) are not supported"},
        {"version: 1\n--- \nversion: 1", "line 2 column 1: only one document is allowed"},
        {"{[a]: 1}", "line 1 column 2: a mapping key must be a scalar"},
        {"version: 1\nlandlock: {compatibility: \"a\\0b\"}",
         "line 2 column 27: a string contains a null character"},
        {"version: [", NULL},
        {"version: 1\n\tlandlock: {}", NULL},
        {"version: 1\nnetwork_middlewares: {m: {config: {a: .inf}}}",
         "network_middlewares.m.config.a: number `.inf` is not finite at line 2 column 39"},
        {"version: 1\nnetwork_middlewares: {m: {order: 2147483648}}", NULL},
        {"\xff\xfe", NULL},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_arena struct os_arena arena = {0};
        cleanup_error struct os_error err = {0};
        if (policy_yaml_parse(&arena, rows[i].yaml, strlen(rows[i].yaml), &err))
            fail_msg("accepted: %s", rows[i].yaml);
        assert_int_equal(err.code, OS_INVALID_ARGUMENT);
        const char prefix[] = "failed to parse sandbox policy YAML: ";
        assert_int_equal(strncmp(err.msg, prefix, sizeof(prefix) - 1), 0);
        if (rows[i].error && strcmp(err.msg + sizeof(prefix) - 1, rows[i].error) != 0)
            fail_msg("%s\n got: %s\nwant: %s", rows[i].yaml, err.msg + sizeof(prefix) - 1, rows[i].error);
    }
}

/* Each key of a full policy, misspelt or in the wrong case, is refused; so is each value of the wrong kind.
 */
static void every_mutated_key_is_refused(void **state)
{
    size_t mutated = 0;
    for (const char *colon = strchr(full, ':'); colon; colon = strchr(colon + 1, ':')) {
        const char *start = colon;
        while (start > full && (start[-1] == '_' || (start[-1] >= 'a' && start[-1] <= 'z')))
            start--;
        /* Free-form keys: rule names, query and parameter names, registry ids, configuration. */
        static const char *const open_keys[] = {"a_rule", "b_rule", "q", "tag", "abc",
                                                "m",      "a",      "b", "c",   "k"};
        char key[64];
        snprintf(key, sizeof(key), "%.*s", (int)(colon - start), start);
        bool skip = colon == start;
        for (size_t i = 0; i < OS_ARRAY_LEN(open_keys); i++)
            skip |= !strcmp(key, open_keys[i]);
        if (skip)
            continue;
        for (int kind = 0; kind < 2; kind++) {
            cleanup_arena struct os_arena arena = {0};
            cleanup_error struct os_error err = {0};
            cleanup_buf struct os_buf text = {0};
            os_buf_add(&text, full, (size_t)(start - full));
            if (kind == 0)
                os_buf_addf(&text, "%c%s", start[0] - 32, key + 1);
            else
                os_buf_addf(&text, "%sx", key);
            os_buf_adds(&text, colon);
            if (policy_yaml_parse(&arena, text.data, text.len, &err))
                fail_msg("accepted with key %s changed", key);
            mutated++;
        }
    }
    assert_true(mutated > 100);
}

static void size_and_depth_are_bounded(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    cleanup_buf struct os_buf text = {0};
    for (size_t i = 0; i < 100; i++)
        os_buf_addc(&text, '[');
    assert_null(policy_yaml_parse(&arena, text.data, text.len, &err));
    assert_non_null(strstr(err.msg, "nested too deep"));
    os_buf_clear(&text);
    os_buf_adds(&text, "version: 1\nfilesystem_policy: {read_only: [");
    for (size_t i = 0; i < 70000; i++)
        os_buf_adds(&text, "a,");
    os_buf_adds(&text, "]}");
    assert_null(policy_yaml_parse(&arena, text.data, text.len, &err));
    assert_non_null(strstr(err.msg, "too many elements"));
    os_buf_clear(&text);
    for (size_t i = 0; i < 1100; i++)
        os_buf_addf(&text, "# %01000d\n", 0);
    assert_null(policy_yaml_parse(&arena, text.data, text.len, &err));
    assert_non_null(strstr(err.msg, "too large"));
}

static void strings_survive_printing(void **state)
{
    static const char *const strings[] = {
        "",
        "~",
        "null",
        "true",
        "yes",
        "1",
        "0x1f",
        "1e3",
        ".5",
        ".inf",
        "-",
        "- a",
        "a: b",
        "a:",
        "a #b",
        "#a",
        "*",
        "&a",
        "!x",
        "%",
        "@a",
        "`",
        "'",
        "\"",
        "\\",
        "a\nb",
        "\n",
        "\t",
        " a",
        "a ",
        "[a",
        "{a}",
        "a,b",
        "\x01\x1f\x7f",
        "\xc2\x85",
        "\xc2\xa0",
        "\xe2\x80\xa8",
        "\xef\xbb\xbf",
        "\xef\xbf\xbe",
        "\xc3\xa9",
        "\xf0\x9f\x90\x9a",
        "<<",
        "---",
        "...",
        "?",
        "? a",
        "|",
        ">",
        "=",
        "0o17",
        "1_000",
        "12:30",
        "2020-01-01",
        "a:b",
        "http://x",
        ":",
        "\r\n",
        "+1",
        "+",
        "/a",
        "x=y",
        "$a",
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(strings); i++) {
        cleanup_arena struct os_arena arena = {0};
        cleanup_buf struct os_buf out = {0};
        policy_doc *doc = parse(&arena, "version: 1\nnetwork_policies: {k: {name: n}}");
        doc->network_policies[0]->key = (char *)(uintptr_t)strings[i];
        doc->network_policies[0]->value->name = os_arena_printf(&arena, "%s", strings[i]);
        policy_yaml_print(doc, &out);
        policy_doc *again;
        if (!strcmp(strings[i], "<<"))
            continue; /* refused as a key, whatever its quotes */
        again = parse(&arena, os_buf_str(&out));
        assert_string_equal(again->network_policies[0]->key, strings[i]);
        assert_string_equal(again->network_policies[0]->value->name, strings[i]);
    }
}

static void json_has_the_same_keys(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    json_t *o = policy_to_json(parse(&arena, full));
    assert_int_equal(json_integer_value(json_object_get(o, "version")), 1);
    json_t *fs = json_object_get(o, "filesystem_policy");
    assert_true(json_is_false(json_object_get(fs, "include_workdir")));
    json_t *rule = json_object_get(json_object_get(o, "network_policies"), "a_rule");
    json_t *ep = json_array_get(json_object_get(rule, "endpoints"), 0);
    assert_int_equal(json_array_size(json_object_get(ep, "ports")), 2);
    json_decref(o);
}

static void bytes_that_are_not_text_print_as_replacements(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_buf struct os_buf out = {0};
    policy_doc *doc = parse(&arena, "version: 1\nlandlock: {compatibility: x}");
    char bad[] = "a\xff\xc3\xa9\xe2\x80";
    doc->landlock->compatibility = bad;
    policy_yaml_print(doc, &out);
    assert_string_equal(os_buf_str(&out), "version: 1\nlandlock:\n  compatibility: "
                                          "\"a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\"\n");
}

static void hash_sees_content_not_order(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    policy_doc *doc = parse(&arena, full);
    char a[65];
    char b[65];
    policy_hash(doc, a);
    assert_int_equal(strlen(a), 64);
    policy_doc *other = policy_copy(&arena, doc);
    void *swap = other->network_policies[0];
    other->network_policies[0] = other->network_policies[1];
    other->network_policies[1] = swap;
    assert_string_equal(policy_hash(other, b), a);
    policy_endpoint_doc *ep = doc->network_policies[0]->value->endpoints[0];
    ep->rules[0]->allow->query[0]->value->any[0][0] = 'z';
    assert_string_not_equal(policy_hash(doc, b), a);
    policy_doc *empty = parse(&arena, "version: 1");
    assert_string_not_equal(policy_hash(empty, b), a);
    /* LP(08 01), LP("network_policies"), 0, LP("network_middlewares"), 0. */
    assert_string_equal(b, "1b621527d93a4bf142d82c81efd9c3245ddedeca7c6f210dc8e433d193473629");
}

static void default_is_restrictive(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_buf struct os_buf out = {0};
    policy_yaml_print(policy_default(&arena), &out);
    assert_string_equal(os_buf_str(&out), "version: 1\n"
                                          "filesystem_policy:\n"
                                          "  include_workdir: true\n"
                                          "  read_only:\n"
                                          "  - /usr\n"
                                          "  - /lib\n"
                                          "  - /proc\n"
                                          "  - /dev/urandom\n"
                                          "  - /app\n"
                                          "  - /etc\n"
                                          "  - /var/log\n"
                                          "  read_write:\n"
                                          "  - /tmp\n"
                                          "  - /dev/null\n"
                                          "landlock:\n"
                                          "  compatibility: best_effort\n");
}

static bool all_but_gpu(const char *path)
{
    return !strstr(path, "nvidia") && strcmp(path, "/dev/dxg") != 0 && strcmp(path, "/app") != 0;
}

static bool with_gpu(const char *path)
{
    return !strcmp(path, "/dev/nvidiactl") || !strcmp(path, "/dev/nvidia3") || !strcmp(path, "/proc") ||
           !strcmp(path, "/usr");
}

static const char *data_error(const char *text, struct os_error *err)
{
    cleanup_arena struct os_arena arena = {0};
    os_error_clear(err);
    return policy_yaml_parse_data(&arena, text, strlen(text), err) ? "" : os_error_text(err);
}

static void data_files_are_read_loosely(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    static const char text[] =
        "owner: x\nnetwork_policies:\n  k:\n    note: [1, {a: b}]\n    endpoints:\n"
        "    - {host: a.test, port: 1, colour: red, protocol: rest, rules: [{allow: {method: GET, "
        "path: /a, query: {q: {glob: 'x*'}}, also: 1}}]}\n";
    policy_doc *doc = policy_yaml_parse_data(&arena, text, strlen(text), &err);
    assert_non_null(doc);
    assert_null(policy_yaml_parse(&arena, text, strlen(text), NULL));
    const policy_endpoint_doc *ep = doc->network_policies[0]->value->endpoints[0];
    assert_string_equal(ep->rules[0]->allow->query[0]->value->glob, "x*");
    assert_string_equal(
        data_error("network_policies: {k: {endpoints: [{host: a.test, port: 1, mcp: {colour: red}}]}}", &err),
        "failed to parse policy data: network_policies.k.endpoints[0].mcp: unknown key `colour`, expected "
        "one "
        "of: max_body_bytes, strict_tool_names, allow_all_known_mcp_methods at line 1 column 66");
    assert_non_null(
        strstr(data_error("network_middlewares: {m: {colour: red}}", &err), "unknown key `colour`"));
    assert_non_null(
        strstr(data_error("network_policies: {k: {endpoints: [{host: a.test, port: '1'}]}}", &err),
               "expected an integer"));
    assert_non_null(strstr(data_error("network_policies: {k: {endpoints: [{host: a.test, port: 1, protocol: "
                                      "mcp, rules: [{allow: {tool: a, "
                                      "params: {name: b}}}]}]}}",
                                      &err),
                           "MCP rules must use either tool or params.name, not both"));
}

/* What the author keeps from being written stays so, and what may be written is not listed as readable
 * besides. */
static void the_baseline_takes_nothing_back(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_strv struct os_strv bad = {0};
    policy_doc *doc =
        parse(&arena, "version: 1\nfilesystem_policy: {read_only: [/tmp/keys, /usr], read_write: [/var]}\n"
                      "network_policies: {k: {}}");
    assert_true(policy_enrich(&arena, doc, all_but_gpu));
    for (size_t i = 0; i < doc->filesystem->n_read_write; i++)
        assert_string_not_equal(doc->filesystem->read_write[i], "/tmp");
    for (size_t i = 0; i < doc->filesystem->n_read_only; i++)
        assert_string_not_equal(doc->filesystem->read_only[i], "/var/log");
    policy_validate(doc, &bad);
    assert_int_equal(bad.n, 0);
}

static void baseline_paths(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_buf struct os_buf out = {0};
    policy_doc *doc = parse(&arena, "version: 1");
    assert_false(policy_enrich(&arena, doc, all_but_gpu));
    assert_null(doc->filesystem);
    doc = parse(&arena, "version: 1\nnetwork_policies: {k: {}}");
    assert_true(policy_enrich(&arena, doc, all_but_gpu));
    assert_true(doc->filesystem->include_workdir);
    assert_false(policy_enrich(&arena, doc, all_but_gpu));
    doc = parse(&arena, "version: 1\nfilesystem_policy: {read_only: [/tmp, /proc], read_write: [/etc]}\n"
                        "network_policies: {k: {}}");
    assert_true(policy_enrich(&arena, doc, all_but_gpu));
    doc->n_network_policies = 0;
    policy_yaml_print(doc, &out);
    assert_string_equal(os_buf_str(&out), "version: 1\n"
                                          "filesystem_policy:\n"
                                          "  include_workdir: false\n"
                                          "  read_only:\n"
                                          "  - /tmp\n"
                                          "  - /proc\n"
                                          "  - /usr\n"
                                          "  - /lib\n"
                                          "  - /var/log\n"
                                          "  - /dev/urandom\n"
                                          "  read_write:\n"
                                          "  - /etc\n");
    os_buf_clear(&out);
    doc = parse(&arena, "version: 1\nfilesystem_policy: {read_only: [/usr, /proc, /lib]}");
    assert_true(policy_enrich(&arena, doc, with_gpu));
    policy_yaml_print(doc, &out);
    assert_string_equal(os_buf_str(&out), "version: 1\n"
                                          "filesystem_policy:\n"
                                          "  include_workdir: false\n"
                                          "  read_only:\n"
                                          "  - /usr\n"
                                          "  - /lib\n"
                                          "  read_write:\n"
                                          "  - /dev/nvidiactl\n"
                                          "  - /proc\n"
                                          "  - /dev/nvidia3\n");
}

static void static_sections(void **state)
{
    static const char created[] =
        "version: 1\n"
        "filesystem_policy: {include_workdir: true, read_only: [/usr], read_write: [/tmp]}\n"
        "landlock: {compatibility: best_effort}\n"
        "process: {run_as_user: sandbox}\n";
#define FS "filesystem_policy: {include_workdir: true, read_only: [/usr], read_write: [/tmp]}\n"
#define PROC "process: {run_as_user: sandbox}\n"
    static const struct {
        const char *update, *error;
    } rows[] = {
        {FS PROC "landlock: {compatibility: best_effort}\n", NULL},
        {FS PROC, NULL},
        {FS PROC "landlock: {}\n", NULL},
        {PROC "filesystem_policy: {include_workdir: true, read_only: [/usr, /x], read_write: [/tmp, /y]}",
         NULL},
        {FS PROC "landlock: {compatibility: hard_requirement}\n",
         "landlock policy cannot be changed on a live sandbox (applied at startup)"},
        {FS, "process policy cannot be changed on a live sandbox (applied at startup)"},
        {FS "process: {run_as_user: \"0\"}",
         "process policy cannot be changed on a live sandbox (applied at startup)"},
        {FS "process: {run_as_user: sandbox, run_as_group: sandbox}",
         "process policy cannot be changed on a live sandbox (applied at startup)"},
        {PROC, "filesystem policy cannot be removed on a live sandbox"},
        {PROC "filesystem_policy: {read_only: [/usr], read_write: [/tmp]}",
         "filesystem include_workdir cannot be changed on a live sandbox"},
        {PROC "filesystem_policy: {include_workdir: true, read_write: [/tmp]}",
         "filesystem read_only path '/usr' cannot be removed on a live sandbox"},
        {PROC "filesystem_policy: {include_workdir: true, read_only: [/usr]}",
         "filesystem read_write path '/tmp' cannot be removed on a live sandbox"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_arena struct os_arena arena = {0};
        cleanup_error struct os_error err = {0};
        policy_doc *old = parse(&arena, created);
        policy_doc *now = parse(&arena, os_arena_printf(&arena, "version: 1\n%s", rows[i].update));
        assert_int_equal(policy_check_static(NULL, now, &err), 0);
        int rc = policy_check_static(old, now, &err);
        assert_int_equal(rc, rows[i].error ? -1 : 0);
        if (rows[i].error)
            assert_string_equal(os_error_text(&err), rows[i].error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normal_form_is_a_fixed_point),
        cmocka_unit_test(parsing_normalises),
        cmocka_unit_test(errors_name_path_and_position),
        cmocka_unit_test(every_mutated_key_is_refused),
        cmocka_unit_test(size_and_depth_are_bounded),
        cmocka_unit_test(strings_survive_printing),
        cmocka_unit_test(json_has_the_same_keys),
        cmocka_unit_test(bytes_that_are_not_text_print_as_replacements),
        cmocka_unit_test(hash_sees_content_not_order),
        cmocka_unit_test(default_is_restrictive),
        cmocka_unit_test(data_files_are_read_loosely),
        cmocka_unit_test(baseline_paths),
        cmocka_unit_test(the_baseline_takes_nothing_back),
        cmocka_unit_test(static_sections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
