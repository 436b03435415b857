/* Strict JSON: what is refused before anybody decides on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "core/limits.h"
#include "net/json/strict.h"

static enum os_code code_of(const char *text, size_t n)
{
    cleanup_error struct os_error err = {0};
    json_auto_t *v = strict_json_parse(text, n, &err);
    assert_true(!v == (err.code != OS_OK));
    return err.code;
}

static enum os_code code(const char *text)
{
    return code_of(text, strlen(text));
}

static void accepts_json(void **state)
{
    static const char *const good[] = {"{}",
                                       "[]",
                                       "1",
                                       "\"x\"",
                                       "null",
                                       " {\"a\":[1,2.5e3,true,\"\\u00e9\\ud83d\\ude00\\\"\"]} \r\n",
                                       "{\"a\":{\"b\":1},\"b\":{\"b\":2}}",
                                       "18446744073709551616",
                                       "\"\xf0\x9f\x98\x80\""};
    for (size_t i = 0; i < OS_ARRAY_LEN(good); i++)
        assert_int_equal(code(good[i]), OS_OK);
}

static void refuses_what_is_no_json(void **state)
{
    static const char *const bad[] = {"",
                                      " ",
                                      "{",
                                      "[1,]",
                                      "{\"a\":1,}",
                                      "{'a':1}",
                                      "{a:1}",
                                      "[1] x",
                                      "[1][2]",
                                      "NaN",
                                      "[01]",
                                      "[+1]",
                                      "[.5]",
                                      "// c\n[]",
                                      "\xef\xbb\xbf[]",
                                      "\"\n\"",
                                      "\"\\ud800\"",
                                      "\"\\x41\"",
                                      "[1e999]",
                                      "\"\xc0\xaf\"",
                                      "\"\xff\"",
                                      "\"\\u0000\"",
                                      "[tru]",
                                      "[\"\\\"]",
                                      "]",
                                      "\"\xed\xa0\x80\""};
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++)
        assert_int_equal(code(bad[i]), OS_INVALID_ARGUMENT);
    assert_int_equal(code_of("[1]\0", 4), OS_INVALID_ARGUMENT);
    assert_int_equal(code_of("[\"a\0\"]", 6), OS_INVALID_ARGUMENT);
}

static void refuses_repeated_members(void **state)
{
    assert_int_equal(code("{\"a\":1,\"a\":1}"), OS_FAILED_PRECONDITION);
    assert_int_equal(code("{\"a\":1,\"\\u0061\":1}"), OS_FAILED_PRECONDITION);
    assert_int_equal(code("[{\"x\":{\"a\":1,\"b\":2,\"a\":1}}]"), OS_FAILED_PRECONDITION);
}

static void repeat(struct os_buf *b, const char *s, size_t n)
{
    while (n--)
        os_buf_adds(b, s);
}

static void bounds_depth_and_size(void **state)
{
    for (size_t depth = OS_JSON_DEPTH; depth <= OS_JSON_DEPTH + 1; depth++) {
        cleanup_buf struct os_buf b = {0};
        repeat(&b, "[", depth);
        repeat(&b, "]", depth);
        assert_int_equal(code_of(b.data, b.len), depth > OS_JSON_DEPTH ? OS_FAILED_PRECONDITION : OS_OK);
    }
    cleanup_buf struct os_buf deep = {0}, wide = {0}, text = {0};
    repeat(&deep, "{\"a\":[", 1000000);
    assert_int_equal(code_of(deep.data, deep.len), OS_FAILED_PRECONDITION);
    os_buf_adds(&wide, "[0");
    repeat(&wide, ",0", OS_JSON_VALUES);
    os_buf_adds(&wide, "]");
    assert_int_equal(code_of(wide.data, wide.len), OS_FAILED_PRECONDITION);
    os_buf_adds(&text, "[\"");
    repeat(&text, "[{,\\\"", 100000);
    os_buf_adds(&text, "\"]");
    assert_int_equal(code_of(text.data, text.len), OS_OK);
}

static void says_where(void **state)
{
    cleanup_error struct os_error err = {0};
    const char *text = "{\"a\":1,\n \"a\":secret}";
    assert_null(strict_json_parse(text, strlen(text), &err));
    assert_non_null(strstr(os_error_text(&err), "line 2, column"));
    assert_null(strstr(os_error_text(&err), "secret"));
}

static void finds_names_that_differ_in_case(void **state)
{
    assert_true(strict_json_same_but_case("Query", "query"));
    assert_true(strict_json_same_but_case("operationname", "operationName"));
    assert_true(strict_json_same_but_case("param\xc5\xbf", "params"));
    assert_true(strict_json_same_but_case("to\xe2\x84\xaa"
                                          "en",
                                          "token"));
    assert_false(strict_json_same_but_case("query", "query"));
    assert_false(strict_json_same_but_case("quer", "query"));
    assert_false(strict_json_same_but_case("queryx", "query"));
    assert_false(strict_json_same_but_case("", "query"));
    static const char *const names[] = {"method", "id"};
    json_auto_t *v = json_pack("{s:i,s:i}", "method", 1, "ID", 2);
    const char *of;
    assert_string_equal(strict_json_lookalike(v, names, 2, &of), "ID");
    assert_string_equal(of, "id");
    assert_null(strict_json_lookalike(v, names, 1, &of));
    assert_null(strict_json_lookalike(NULL, names, 1, &of));
}

static void tells_integers(void **state)
{
    static const struct {
        const char *text;
        bool integer;
    } cases[] = {{"0", true},
                 {"-9223372036854775808", true},
                 {"9223372036854775807", true},
                 {"9223372036854775808", false},
                 {"1.5", false},
                 {"1e300", false},
                 {"\"1\"", false},
                 {"null", false}};
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++) {
        json_auto_t *v = strict_json_parse(cases[i].text, strlen(cases[i].text), NULL);
        assert_non_null(v);
        assert_int_equal(strict_json_is_integer(v), cases[i].integer);
    }
    assert_false(strict_json_is_integer(NULL));
}

static void cuts_foreign_names(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    assert_string_equal(strict_json_excerpt(&arena, "a\nb\x7f"), "a?b?");
    char text[400];
    memset(text, 'x', sizeof(text));
    memcpy(text + OS_JSON_EXCERPT - 1, "\xc3\xa9", 2);
    text[399] = '\0';
    const char *cut = strict_json_excerpt(&arena, text);
    assert_int_equal(strlen(cut), OS_JSON_EXCERPT - 1 + 3);
    assert_string_equal(cut + OS_JSON_EXCERPT - 2, "x...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_json),
        cmocka_unit_test(refuses_what_is_no_json),
        cmocka_unit_test(refuses_repeated_members),
        cmocka_unit_test(bounds_depth_and_size),
        cmocka_unit_test(says_where),
        cmocka_unit_test(finds_names_that_differ_in_case),
        cmocka_unit_test(tells_integers),
        cmocka_unit_test(cuts_foreign_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
