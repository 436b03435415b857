/* Host selectors of middleware configurations, and what an engine selects with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "policy/middleware.h"

static void patterns_match_label_by_label(void **state)
{
    static const struct {
        const char *pattern, *host;
        bool matches;
    } rows[] = {
        {"a.test", "a.test", true},
        {"A.Test", "a.tesT", true},
        {"a.test", "b.a.test", false},
        {"*.test", "a.test", true},
        {"*.test", "a.b.test", false},
        {"*.test", "test", false},
        {"**.test", "a.b.test", true},
        {"**.test", "test", false},
        {"**", "anything.at.all", true},
        {"**", "localhost", true},
        {"*", "localhost", true},
        {"*", "a.b", false},
        {"a.**.z", "a.b.c.z", true},
        {"a.**.z", "a.z", false},
        {"**.**", "a", false},
        {"**.**", "a.b", true},
        {"**.x.**", "a.x.x.b", true},
        {"api-?.test", "api-1.test", true},
        {"api-?.test", "api-12.test", false},
        {"api-[0-9].test", "api-7.test", true},
        {"api-[!0-9].test", "api-7.test", false},
        {"a*b.test", "aXXb.test", true},
        {"**", "a..b", false},
        {"**", "a.", false},
        {"**", "", false},
        {"10.0.0.*", "10.0.0.7", true},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_arena struct os_arena arena = {0};
        struct policy_selector s;
        policy_selector_make(&arena, rows[i].pattern, &s);
        if (policy_selector_matches(&s, rows[i].host) != rows[i].matches)
            fail_msg("%s against %s", rows[i].pattern, rows[i].host);
    }
    cleanup_arena struct os_arena arena = {0};
    struct policy_selector s;
    char many[2 * 200];
    for (size_t i = 0; i < sizeof(many); i++)
        many[i] = i % 2 ? '.' : 'a';
    many[sizeof(many) - 1] = '\0';
    policy_selector_make(&arena, "**", &s);
    assert_false(policy_selector_matches(&s, many));
    policy_selector_make(&arena, many, &s);
    assert_false(policy_selector_matches(&s, "a.a"));
}

static void patterns_overlap(void **state)
{
    static const struct {
        const char *a, *b;
        bool overlap;
    } rows[] = {
        {"a.test", "a.test", true},     {"a.test", "b.test", false},      {"*.test", "a.test", true},
        {"*.test", "a.b.test", false},  {"**", "a.b.test", true},         {"a.**", "**.z", true},
        {"a.*", "*.z", true},           {"**.test", "*.example", false},  {"*.test", "**.test", true},
        {"a.test", "**.b.test", false}, {"a[0-9].test", "b*.test", true},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_arena struct os_arena arena = {0};
        struct policy_selector a, b;
        policy_selector_make(&arena, rows[i].a, &a);
        policy_selector_make(&arena, rows[i].b, &b);
        if (policy_selectors_overlap(&a, &b) != rows[i].overlap ||
            policy_selectors_overlap(&b, &a) != rows[i].overlap)
            fail_msg("%s and %s", rows[i].a, rows[i].b);
    }
}

static int freed;

static void count_free(void *object)
{
    freed += *(int *)object;
}

static void engines_select_in_order(void **state)
{
    static const char text[] = "version: 1\nnetwork_middlewares:\n"
                               "  z: {middleware: m/z, order: -1, endpoints: {include: ['**.test']}}\n"
                               "  a: {middleware: m/a, order: 5, on_error: fail_open, config: {k: [1, x]}, "
                               "endpoints: {include: [a.test, '*.b'], "
                               "exclude: ['x.b']}}\n"
                               "  b: {middleware: m/b, order: 0, on_error: fail_closed, endpoints: {include: "
                               "['**'], exclude: ['**.test']}}\n";
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    const struct policy_middleware_config *out[OS_LIMIT_MIDDLEWARES];
    policy_doc *doc = policy_yaml_parse(&arena, text, strlen(text), &err);
    assert_non_null(doc);
    const struct policy_compile_options opt = {.generation = 1};
    struct policy_engine *e = policy_compile(doc, &opt, &err);
    assert_non_null(e);
    os_arena_free(&arena); /* the engine has copies */
    assert_int_equal(policy_middlewares_for(e, "a.test", out), 2);
    assert_string_equal(out[0]->key, "z");
    assert_string_equal(out[1]->key, "a");
    assert_string_equal(out[1]->service, "m/a");
    assert_true(out[1]->fail_open);
    assert_false(out[0]->fail_open);
    assert_null(out[0]->config);
    assert_string_equal(out[1]->config->fields[0]->key, "k");
    assert_true(out[1]->config_size > 0);
    assert_int_equal(policy_middlewares_for(e, "y.b", out), 2);
    assert_string_equal(out[0]->key, "b");
    assert_int_equal(policy_middlewares_for(e, "x.b", out), 1);
    assert_int_equal(policy_middlewares_for(e, "other", out), 1);

    int one = 1;
    assert_null(policy_engine_attached(e));
    policy_engine_attach(e, &one, count_free);
    assert_ptr_equal(policy_engine_attached(e), &one);
    policy_engine_unref(policy_engine_ref(e));
    assert_int_equal(freed, 0);
    policy_engine_unref(e);
    assert_int_equal(freed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_label_by_label),
        cmocka_unit_test(patterns_overlap),
        cmocka_unit_test(engines_select_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
