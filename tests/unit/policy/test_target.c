/* Request targets: canonical form, refusals to the letter, query decoding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "policy/target.h"

static void canonical_paths(void **state)
{
    static const struct {
        const char *target;
        bool slash;
        const char *path, *query;
    } rows[] = {
        {"/", false, "/", NULL},
        {"", false, "/", NULL},
        {"/a", false, "/a", NULL},
        {"/a/", false, "/a/", NULL},
        {"//a///b//", false, "/a/b/", NULL},
        {"/x/../a", false, "/a", NULL},
        {"/x/%2e%2E/a", false, "/a", NULL},
        {"/a/b/..", false, "/a/", NULL},
        {"/a/..", false, "/", NULL},
        {"/a/.", false, "/a/", NULL},
        {"/./a/./b", false, "/a/b", NULL},
        {"/a;v=1/b;x", false, "/a/b", NULL},
        {"/a/..;x/b", false, "/b", NULL},
        {"/a%3Bx", false, "/a", NULL},
        {"/a?b=1?c", false, "/a", "b=1?c"},
        {"/a?", false, "/a", ""},
        {"/a?x=/../y", false, "/a", "x=/../y"},
        {"/%61%7e", false, "/a~", NULL},
        {"/a b\"<>", false, "/a%20b%22%3C%3E", NULL},
        {"/%c3%a9", false, "/%C3%A9", NULL},
        {"/%2541", false, "/%2541", NULL},
        {"/a%3fb", false, "/a%3Fb", NULL},
        {"/-._~!$&'()*+,=:@", false, "/-._~!$&'()*+,=:@", NULL},
        {"/@s%2Fn", true, "/@s%2Fn", NULL},
        {"/@s%2fn", true, "/@s%2Fn", NULL},
        {"http://h.test/a/../b?q", false, "/b", "q"},
        {"HTTPS://h.test:8443", false, "/", NULL},
        {"http://h.test?q", false, "/", "q"},
        {"?q", false, "/", "q"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_arena struct os_arena arena = {0};
        cleanup_error struct os_error err = {0};
        struct policy_target t;
        if (policy_target_parse(&arena, rows[i].target, strlen(rows[i].target), rows[i].slash, &t, &err))
            fail_msg("%s: %s", rows[i].target, os_error_text(&err));
        assert_string_equal(t.path, rows[i].path);
        assert_int_equal(t.query == NULL, rows[i].query == NULL);
        if (t.query)
            assert_string_equal(t.query, rows[i].query);
        assert_int_equal(t.has_encoded_slash, rows[i].slash);
    }
}

static void refused_targets(void **state)
{
    static const struct {
        const char *target;
        size_t n;
        bool slash;
        const char *text;
    } rows[] = {
        {"/a\tb", 0, false, " contains a null or control byte"},
        {"/a\0b", 4, false, " contains a null or control byte"},
        {"/a\x7f", 0, false, " contains a null or control byte"},
        {"/a%00", 0, false, " contains a null or control byte"},
        {"/a%0d%0a", 0, false, " contains a null or control byte"},
        {"/a?b\r", 0, false, " contains a null or control byte"},
        {"/a%4", 0, false, " contains an invalid percent-encoded sequence"},
        {"/a%", 0, false, " contains an invalid percent-encoded sequence"},
        {"/a%zz", 0, false, " contains an invalid percent-encoded sequence"},
        {"/a%+1", 0, false, " contains an invalid percent-encoded sequence"},
        {"/@s%2Fn", 0, false, " contains an encoded '/' (%2F) which is not allowed on this endpoint"},
        {"/a#b", 0, false, " contains a fragment"},
        {"/a?b#c", 0, false, " contains a fragment"},
        {"/\xc3\xa9", 0, false, " contains raw non-ASCII bytes; non-ASCII must be percent-encoded"},
        {"/..", 0, false, "'s `..` segment would escape the path root"},
        {"/../a", 0, false, "'s `..` segment would escape the path root"},
        {"/a/../../b", 0, false, "'s `..` segment would escape the path root"},
        {"/%2e%2e/a", 0, false, "'s `..` segment would escape the path root"},
        {"/a%2F..%2Fb", 0, true, " still contains a `.`/`..` segment after canonicalization"},
        {"/..%2Fb", 0, true, " still contains a `.`/`..` segment after canonicalization"},
        {"/a%2F.", 0, true, " still contains a `.`/`..` segment after canonicalization"},
        {"a/b", 0, false, " is not a valid origin-form path"},
        {"*", 0, false, " is not a valid origin-form path"},
        {"h.test:443", 0, false, " is not a valid origin-form path"},
        {"1http://h/a", 0, false, " is not a valid origin-form path"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_arena struct os_arena arena = {0};
        cleanup_error struct os_error err = {0};
        struct policy_target t;
        size_t n = rows[i].n ? rows[i].n : strlen(rows[i].target);
        assert_int_equal(policy_target_parse(&arena, rows[i].target, n, rows[i].slash, &t, &err), -1);
        assert_int_equal(err.code, OS_INVALID_ARGUMENT);
        assert_memory_equal(err.msg, "request-target", 14);
        assert_string_equal(err.msg + 14, rows[i].text);
    }
}

static void path_length_is_bounded(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    struct policy_target t;
    char target[4200];
    memset(target, 'a', sizeof(target));
    target[0] = '/';
    target[4096] = '?';
    assert_int_equal(policy_target_parse(&arena, target, sizeof(target), false, &t, &err), 0);
    assert_int_equal(strlen(t.path), 4096);
    target[4096] = 'a';
    assert_int_equal(policy_target_parse(&arena, target, sizeof(target), false, &t, &err), -1);
    assert_string_equal(err.msg, "request-target exceeds the configured maximum length");
}

static void queries_are_decoded(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    const struct policy_query_pair *p;
    size_t n;
    assert_int_equal(policy_query_parse(&arena, "q=a+b&tag=x&tag=%79&&flag&e=1=2&%6B=", &p, &n, &err), 0);
    static const char *want[][2] = {{"q", "a b"}, {"tag", "x"}, {"tag", "y"},
                                    {"flag", ""}, {"e", "1=2"}, {"k", ""}};
    assert_int_equal(n, OS_ARRAY_LEN(want));
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(p[i].key, want[i][0]);
        assert_string_equal(p[i].value, want[i][1]);
    }
    assert_int_equal(policy_query_parse(&arena, NULL, &p, &n, &err), 0);
    assert_int_equal(n, 0);
    assert_int_equal(policy_query_parse(&arena, "", &p, &n, &err), 0);
    assert_int_equal(n, 0);
    static const char *bad[] = {"a=%", "a=%4", "%zz=1", "a=%ff", "a=%c3", "a=%00", "%00=a"};
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++)
        assert_int_equal(policy_query_parse(&arena, bad[i], &p, &n, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_paths),
        cmocka_unit_test(refused_targets),
        cmocka_unit_test(path_length_is_bounded),
        cmocka_unit_test(queries_are_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
