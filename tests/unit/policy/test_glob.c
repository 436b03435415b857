/* Pattern functions: the published table of behaviour, case by case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "policy/glob.h"

struct row {
    const char *pattern;
    char delimiter;
    const char *value;
    int want;
};

static void check(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int got = policy_glob(rows[i].pattern, rows[i].delimiter, rows[i].value);
        if (got != rows[i].want)
            fail_msg("G(%s, %c, %s) = %d, want %d", rows[i].pattern, rows[i].delimiter, rows[i].value, got,
                     rows[i].want);
    }
}

static void slash_patterns(void **state)
{
    static const struct row rows[] = {
        {"", '/', "", 1},
        {"", '/', "/", 0},
        {"*", '/', "", 1},
        {"*", '/', "abc", 1},
        {"*", '/', "a/c", 0},
        {"**", '/', "", 1},
        {"**", '/', "/a/b\n", 1},
        {"/usr/**", '/', "/usr/", 1},
        {"/usr/**", '/', "/usr/a/b", 1},
        {"/usr/**", '/', "/usr", 0},
        {"/usr/**", '/', "/usrx/a", 0},
        {"/**", '/', "/", 1},
        {"/**", '/', "/a/b", 1},
        {"/**", '/', "a", 0},
        {"/**/x", '/', "/x", 1},
        {"/**/x", '/', "/a/x", 1},
        {"/**/x", '/', "/a/b/x", 1},
        {"/**/x", '/', "/ax", 0},
        {"/**/x", '/', "x", 0},
        {"**/x", '/', "x", 1},
        {"**/x", '/', "/x", 1},
        {"**/x", '/', "/a/b/x", 1},
        {"**/x", '/', "a/x", 1},
        {"**/x", '/', "ax", 0},
        {"/a/*", '/', "/a/", 1},
        {"/a/*", '/', "/a/b", 1},
        {"/a/*", '/', "/a/b/c", 0},
        {"/a/*/c", '/', "/a/b/c", 1},
        {"/a/**/c", '/', "/a/c", 1},
        {"/a/**/c", '/', "/a/b/b/c", 1},
        {"/a/**/c", '/', "/a/bc", 0},
        {"/a/**/**/c", '/', "/a/c", 1},
        {"/a**", '/', "/abc", 1},
        {"/a**", '/', "/a/b", 0},
        {"/**b", '/', "/xb", 1},
        {"/**b", '/', "/x/b", 0},
        {"/***", '/', "/abc", 1},
        {"/***", '/', "/a/b", 0},
        {"/a?c", '/', "/abc", 1},
        {"/a?c", '/', "/a/c", 0},
        {"/a?c", '/', "/ac", 0},
        {"/[abc]", '/', "/b", 1},
        {"/[abc]", '/', "/d", 0},
        {"/[a-c]x", '/', "/cx", 1},
        {"/[a-cx-z0]", '/', "/y", 1},
        {"/[!a]", '/', "/b", 1},
        {"/[!a]", '/', "/a", 0},
        {"/[^a]", '/', "/a", 0},
        {"/[^a]", '/', "/b", 1},
        {"/a[!b]c", '/', "/a/c", 1},
        {"/a[.-0]c", '/', "/a/c", 1},
        {"[]a]", '/', "]", 1},
        {"[a-]", '/', "-", 1},
        {"a]", '/', "a]", 1},
        {"/{a,b}", '/', "/a", 1},
        {"/{a,b}", '/', "/b", 1},
        {"/{a,b}", '/', "/c", 0},
        {"/{a,b}", '/', "/", 0},
        {"/{a,b{c,d}}/z", '/', "/bd/z", 1},
        {"/{a,b{c,d}}/z", '/', "/b/z", 0},
        {"{**,[}]}", '/', "a/b", 1},
        {"{**,[}]}x", '/', "a/bx", 0},
        {"x{,y}", '/', "xy", 1},
        {"x{,y}", '/', "x", 0},
        {"x{y,}", '/', "xy", 1},
        {"x{y,}", '/', "x", 0},
        {"x{y,,z}", '/', "xz", 1},
        {"x{}", '/', "x", 1},
        {"x{,}z", '/', "xz", 1},
        {"{a/**,b}", '/', "a/x/y", 1},
        {"{a/**,b}", '/', "b", 1},
        {"{a/**,b}c", '/', "a/xc", 1},
        {"{a/**,b}c", '/', "a/x/c", 0},
        {"{*,b/c}", '/', "b/c", 1},
        {"a,b", '/', "a,b", 1},
        {"\\*", '/', "*", 1},
        {"\\*", '/', "a", 0},
        {"\\{a\\}", '/', "{a}", 1},
        {"a\\", '/', "a", -1},
        {"[a", '/', "a", -1},
        {"[", '/', "[", -1},
        {"[]", '/', "[]", -1},
        {"[z-a]", '/', "b", -1},
        {"{a", '/', "a", -1},
        {"a}", '/', "a", -1},
        {"{a,{b}", '/', "a", -1},
        {"Abc", '/', "abc", 0},
        {"/a.*", '/', "/a.b.c", 1},
        {"*a*b*c*", '/', "xxaxxbxxcxx", 1},
        {"*a*b*c*", '/', "xxaxxcxxbxx", 0},
        {"*.[ch]", '/', "main.c", 1},
    };
    check(rows, OS_ARRAY_LEN(rows));
}

static void dot_patterns(void **state)
{
    static const struct row rows[] = {
        {"*.x.com", '.', "a.x.com", 1},
        {"*.x.com", '.', "x.com", 0},
        {"*.x.com", '.', "a.b.x.com", 0},
        {"*.x.com", '.', ".x.com", 1},
        {"**.x.com", '.', "a.b.x.com", 1},
        {"**.x.com", '.', "a.x.com", 1},
        {"**.x.com", '.', "x.com", 0},
        {"**.x.com", '.', "ax.com", 0},
        {"*-ai.x.com", '.', "us-ai.x.com", 1},
        {"*-ai.x.com", '.', "us.b-ai.x.com", 0},
        {"api.**.com", '.', "api.x.y.com", 1},
        {"api.**.com", '.', "api.com", 0},
        {"*.s3.*.amazonaws.com", '.', "b.s3.eu.amazonaws.com", 1},
        {"*.s3.*.amazonaws.com", '.', "b.s3.amazonaws.com", 0},
        {"a**.com", '.', "ab.com", 1},
        {"a**.com", '.', "a.b.com", 0},
        {"a[!b]c", '.', "a.c", 0},
        {"a[.]c", '.', "a.c", 0},
        {"a[!b]c", '.', "axc", 1},
        {"foo-*", '.', "foo-1", 1},
        {"foo-*", '.', "foo-1.2", 0},
        {"foo-*", '.', "foo-a/b", 1},
        {"v1.*", '.', "v1.2", 1},
        {"v1.*", '.', "v1.2.3", 0},
        {"**", '.', "v1.2.3", 1},
        {"a?c", '.', "a.c", 0},
        {"{a,b}.x.com", '.', "b.x.com", 1},
    };
    check(rows, OS_ARRAY_LEN(rows));
}

static void endpoint_paths(void **state)
{
    static const struct {
        const char *pattern, *path;
        bool want;
    } rows[] = {
        {"", "/a", true},           {"**", "/a", true},          {"/**", "/", true},
        {"/v1", "/v1", true},       {"/v1", "/v1/", false},      {"/v1/**", "/v1", true},
        {"/v1/**", "/v1/", true},   {"/v1/**", "/v1/a/b", true}, {"/v1/**", "/v1x", false},
        {"/v*/**", "/v1/a", false}, {"/v*/**", "/v*/a", true},   {"/a/*", "/a/b/c", true},
        {"/a/*", "/a", false},      {"/a?b", "/a/b", true},      {"/[ab]", "/b", true},
        {"/[!ab]", "/b", false},    {"/[!ab]", "/c", true},      {"/[^a]", "/a", true},
        {"/{a,b}", "/a", false},    {"/{a,b}", "/{a,b}", true},  {"/a\\*", "/a\\x", true},
        {"/**/x", "/x", true},      {"/**/x", "/a/b/x", true},   {"/**/x", "/ax", false},
        {"/a**", "/ab", false},     {"/a**", "/a**", true},      {"/***", "/ab", false},
        {"/[a", "/a", false},       {"/[a", "/[a", true},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        if (policy_path_selects(rows[i].pattern, rows[i].path) != rows[i].want)
            fail_msg("P(%s, %s) should be %d", rows[i].pattern, rows[i].path, rows[i].want);
    }
}

static void bad_patterns_are_named(void **state)
{
    assert_null(policy_glob_check("/a/{b,c}/[x]/**"));
    assert_string_equal(policy_glob_check("[a"), "an unclosed '['");
    assert_string_equal(policy_glob_check("{a"), "an unclosed '{'");
    assert_string_equal(policy_glob_check("a}"), "an unmatched '}'");
    assert_string_equal(policy_glob_check("a\\"), "a trailing '\\'");
    char deep[64] = {0};
    memset(deep, '{', 20);
    memset(deep + 20, '}', 20);
    assert_string_equal(policy_glob_check(deep), "braces nested too deep");
}

/* A pattern that makes backtracking matchers exponential must stay linear here; the test would not end. */
static void hostile_patterns_stay_cheap(void **state)
{
    char pattern[801];
    char value[2001];
    for (size_t i = 0; i < 400; i++)
        memcpy(pattern + 2 * i, "*a", 2);
    pattern[800] = '\0';
    memset(value, 'a', 2000);
    value[1999] = 'b';
    value[2000] = '\0';
    assert_int_equal(policy_glob(pattern, '/', value), 0);
    char *huge = malloc(10001);
    memset(huge, 'x', 10000);
    huge[10000] = '\0';
    assert_int_equal(policy_glob(huge, '/', "x"), -1);
    free(huge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slash_patterns),
        cmocka_unit_test(dot_patterns),
        cmocka_unit_test(endpoint_paths),
        cmocka_unit_test(bad_patterns_are_named),
        cmocka_unit_test(hostile_patterns_stay_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
