/* Unit tests of the TOML reader: the forms that readers get wrong, and where errors are said to be. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "gateway/toml/toml.h"

static struct os_arena arena;

static const struct toml_value *parse(const char *text)
{
    cleanup_error struct os_error err = {0};
    const struct toml_value *root = toml_parse(&arena, text, strlen(text), &err);
    if (!root)
        fail_msg("%s\n%s", os_error_text(&err), text);
    return root;
}

/* Value at "a.b.2.c": keys and, in arrays, numbers from 0. */
static const struct toml_value *at(const struct toml_value *v, const char *path)
{
    char copy[100], *save = NULL;
    snprintf(copy, sizeof(copy), "%s", path);
    for (char *part = strtok_r(copy, ".", &save); part && v; part = strtok_r(NULL, ".", &save)) {
        if (v->type == TOML_TABLE) {
            v = toml_get(v, part);
            continue;
        }
        const struct toml_value *item = v->first;
        for (int i = atoi(part); item && i > 0; i--)
            item = item->next;
        v = item;
    }
    if (!v)
        fail_msg("nothing at %s", path);
    return v;
}

static const char *text_at(const char *document, const char *path)
{
    const struct toml_value *v = at(parse(document), path);
    assert_int_equal(v->type, TOML_STRING);
    return v->text;
}

static int64_t integer_at(const char *document, const char *path)
{
    const struct toml_value *v = at(parse(document), path);
    assert_int_equal(v->type, TOML_INTEGER);
    return v->integer;
}

static void refuse(const char *text, const char *part)
{
    cleanup_error struct os_error err = {0};
    if (toml_parse(&arena, text, strlen(text), &err))
        fail_msg("accepted: %s", text);
    if (!strstr(os_error_text(&err), part))
        fail_msg("'%s' is not in: %s", part, os_error_text(&err));
}

static int free_arena(void **state)
{
    os_arena_free(&arena);
    arena = (struct os_arena){0};
    return 0;
}

static void empty_documents(void **state)
{
    assert_null(parse("")->first);
    assert_null(parse(" \t\r\n# comment without an end of line")->first);
    assert_null(parse("\xef\xbb\xbf# after a byte order mark")->first);
}

static void keys(void **state)
{
    assert_int_equal(integer_at("a-b_1 = 1", "a-b_1"), 1);
    assert_int_equal(integer_at("1234 = 1", "1234"), 1);
}

static void dotted_and_quoted_keys(void **state)
{
    const struct toml_value *root = parse("site.\"google.com\" = true\n3.14 = \"pi\"\na . b\t.c = 1\n");
    assert_true(toml_get(toml_get(root, "site"), "google.com")->boolean);
    assert_string_equal(at(root, "3.14")->text, "pi");
    assert_int_equal(at(root, "a.b.c")->integer, 1);
    root = parse("\"\\u0041\" = 1\n'\\u0041' = 2\n\"\" = 3");
    assert_int_equal(toml_get(root, "A")->integer, 1);
    assert_int_equal(toml_get(root, "\\u0041")->integer, 2);
    assert_int_equal(toml_get(root, "")->integer, 3);
}

static void strings(void **state)
{
    assert_string_equal(text_at("a = \"\\b\\t\\n\\f\\r\\\"\\\\ \\u00e9 \\U0001F600\"", "a"),
                        "\b\t\n\f\r\"\\ \xc3\xa9 \xf0\x9f\x98\x80");
    assert_string_equal(text_at("a = 'C:\\Users\\n'", "a"), "C:\\Users\\n");
    assert_string_equal(text_at("a = \"# no comment\" # one", "a"), "# no comment");
    assert_string_equal(text_at("a = \"\"", "a"), "");
    assert_string_equal(text_at("a = '\t'", "a"), "\t");
}

static void multi_line_strings(void **state)
{
    assert_string_equal(text_at("a = \"\"\"\nRoses\nViolets\"\"\"", "a"), "Roses\nViolets");
    assert_string_equal(text_at("a = \"\"\"\\\n   The \\  \n\n\t quick\\\r\n brown\"\"\"", "a"),
                        "The quickbrown");
    assert_string_equal(text_at("a = \"\"\"x\"\"\"\"\"", "a"), "x\"\"");
    assert_string_equal(text_at("a = \"\"\"\"\"\"\"", "a"), "\"");
    assert_string_equal(text_at("a = \"\"\"a \"\" b\"\"\"", "a"), "a \"\" b");
    assert_string_equal(text_at("a = '''\n\\ ''x'' \n'''", "a"), "\\ ''x'' \n");
    assert_string_equal(text_at("a = ''''x''''", "a"), "'x'");
}

static void integers(void **state)
{
    assert_int_equal(integer_at("a = +99", "a"), 99);
    assert_int_equal(integer_at("a = -0", "a"), 0);
    assert_int_equal(integer_at("a = 1_2_3", "a"), 123);
    assert_int_equal(integer_at("a = 0xDEAD_beef", "a"), 0xdeadbeef);
    assert_int_equal(integer_at("a = 0o0755", "a"), 0755);
    assert_int_equal(integer_at("a = 0b1101", "a"), 13);
    assert_true(integer_at("a = -9223372036854775808", "a") == INT64_MIN);
    assert_true(integer_at("a = 0x7fffffffffffffff", "a") == INT64_MAX);
}

static void floats(void **state)
{
    static const struct {
        const char *text;
        double value;
    } cases[] = {{"a = 3.1415", 3.1415}, {"a = -0.01", -0.01},         {"a = 5e+22", 5e22},
                 {"a = 1e0_6", 1e6},     {"a = 6.626e-34", 6.626e-34}, {"a = 224_617.445_991", 224617.445991},
                 {"a = inf", INFINITY},  {"a = -inf", -INFINITY},      {"a = 0e0", 0}};
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++) {
        const struct toml_value *v = at(parse(cases[i].text), "a");
        assert_int_equal(v->type, TOML_FLOAT);
        assert_true(v->number == cases[i].value);
    }
    assert_true(isnan(at(parse("a = -nan"), "a")->number));
}

static void dates(void **state)
{
    static const char *const good[] = {"1979-05-27T07:32:00Z",
                                       "1979-05-27 07:32:00.999999-07:00",
                                       "1979-05-27t07:32:00",
                                       "1979-05-27",
                                       "07:32:00",
                                       "00:32:00.5",
                                       "2000-02-29"};
    static const char *const bad[] = {"1979-5-27",
                                      "1979-05-32",
                                      "1900-02-29",
                                      "1979-05-27T25:00:00",
                                      "1979-05-27T07:32",
                                      "07:32",
                                      "1979-05-27T07:32:00+25:00",
                                      "1979-05-27T",
                                      "0000-00-01",
                                      "1979-05-27 x"};
    char text[80];
    for (size_t i = 0; i < OS_ARRAY_LEN(good); i++) {
        snprintf(text, sizeof(text), "a = %s # day", good[i]);
        const struct toml_value *v = at(parse(text), "a");
        assert_int_equal(v->type, TOML_DATETIME);
        assert_string_equal(v->text, good[i]);
    }
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++) {
        snprintf(text, sizeof(text), "a = %s", bad[i]);
        refuse(text, "line 1, column");
    }
}

static void arrays(void **state)
{
    const struct toml_value *root = parse("a = [ 1, # one\n\n [ 'x', \"y\" ], {b = 2} , \r\n]\nb = []");
    assert_int_equal(at(root, "a.0")->integer, 1);
    assert_string_equal(at(root, "a.1.1")->text, "y");
    assert_int_equal(at(root, "a.2.b")->integer, 2);
    assert_null(at(root, "b")->first);
}

static void tables(void **state)
{
    const struct toml_value *root = parse(
        "[ a . \"b\" ]\nx = 1\n[a]\ny = 2\n[fruit]\napple.color = 1\n[fruit.apple.texture]\nsmooth = true\n"
        "[d.e.f]\n[d]\n");
    assert_int_equal(at(root, "a.b.x")->integer, 1);
    assert_int_equal(at(root, "a.y")->integer, 2);
    assert_true(at(root, "fruit.apple.texture.smooth")->boolean);
}

static void arrays_of_tables(void **state)
{
    const struct toml_value *root =
        parse("[[p]]\nn = 1\n[[p]]\n[p.sub]\nk = 5\n[[p.v]]\nm = 7\n[[p.v]]\nm = 8\n");
    assert_int_equal(at(root, "p.0.n")->integer, 1);
    assert_int_equal(at(root, "p.1.sub.k")->integer, 5);
    assert_int_equal(at(root, "p.1.v.1.m")->integer, 8);
}

static void inline_tables(void **state)
{
    const struct toml_value *root = parse("a = { x.y = 1, x.z = [\n1\n], 'q r' = {} }");
    assert_int_equal(at(root, "a.x.y")->integer, 1);
    assert_int_equal(at(root, "a.x.z.0")->integer, 1);
    assert_null(toml_get(at(root, "a"), "q r")->first);
}

static void what_is_no_toml(void **state)
{
    static const char *const bad[] = {"a",
                                      "a =",
                                      "= 1",
                                      "a = 1 b = 2",
                                      "a = 1\na = 2",
                                      "a.b = 1\na = 2",
                                      "a = 1\na.b = 2",
                                      "a = [1 2]",
                                      "a = [1,,2]",
                                      "a = [,]",
                                      "a = { x = 1, }",
                                      "a = {\nx = 1 }",
                                      "a = { x = 1 ",
                                      "a = [1",
                                      "a = 'x\ny'",
                                      "a = \"x\ny\"",
                                      "a = \"x",
                                      "a = \"\\x41\"",
                                      "a = \"\\ud800\"",
                                      "a = \"\\U00110000\"",
                                      "a = \"\\u004\"",
                                      "a = \"\x01\"",
                                      "# \x01",
                                      "a = 1 \r b",
                                      "a = 01",
                                      "a = 1_",
                                      "a = _1",
                                      "a = 1__2",
                                      "a = 0x",
                                      "a = 0x_1",
                                      "a = +0x1",
                                      "a = 0o8",
                                      "a = 1.",
                                      "a = .5",
                                      "a = 1.e1",
                                      "a = 1e",
                                      "a = 1._5",
                                      "a = 9223372036854775808",
                                      "a = True",
                                      "a = tru",
                                      "a = hello",
                                      "[a]\n[a]",
                                      "[a",
                                      "[]",
                                      "[a]]",
                                      "[a] b = 1",
                                      "[[a]\nb = 1",
                                      "[a]\n[[a]]",
                                      "[[a]]\n[a]",
                                      "a = []\n[[a]]",
                                      "a = {}\n[a.b]",
                                      "a = {}\na.b = 1",
                                      "[fruit]\napple.x = 1\n[fruit.apple]",
                                      "[a.b.c]\nz = 9\n[a]\nb.c.t = 1",
                                      "a = {b.c = 1, b = 2}",
                                      "\"\"\"a\"\"\" = 1",
                                      "a b = 1",
                                      "a.. = 1",
                                      "a = \"\"\"x\"\"\"\"\"\"",
                                      "a = ''''''''''",
                                      "[[a.b]]\n[a.b.c]\n[a.b.c]",
                                      "a = \"\\u0000\"",
                                      "a = 'x'y",
                                      "\xff = 1",
                                      "a = \"\"\"\\ x\"\"\""};
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++) {
        cleanup_error struct os_error err = {0};
        if (toml_parse(&arena, bad[i], strlen(bad[i]), &err))
            fail_msg("accepted: %s", bad[i]);
    }
    cleanup_error struct os_error err = {0};
    assert_null(toml_parse(&arena, "a = 1\0", 6, &err));
}

static void errors_name_their_place(void **state)
{
    refuse("a = 1\n  b = zzz\n", "line 2, column 7: 'zzz' is no number");
    refuse("\xc3\xa9 = 1", "line 1, column 1: a key is missing");
    refuse("a = '\xc3\xa9\xc3\xa9' x", "line 1, column 10: the line must end here");
    refuse("[a]\nx = 1\n[b]\n[a]", "line 4, column 2: 'a' has already been defined, in line 1");
    refuse("x = [\n1,\n2", "line 1, column 5: the array is not closed");
}

static void depth_and_size_are_bounded(void **state)
{
    char deep[300] = "a = ";
    memset(deep + 4, '[', 200);
    refuse(deep, "more than 32 values are nested");
    char *parts = calloc(1, 200);
    for (int i = 0; i < 40; i++)
        strcat(parts, "a.");
    strcat(parts, "a = 1");
    refuse(parts, "more than 32 parts");
    free(parts);
    char *big = malloc(TOML_TEXT_MAX + 2);
    memset(big, '#', TOML_TEXT_MAX + 1);
    big[TOML_TEXT_MAX + 1] = '\0';
    refuse(big, "at most");
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_documents),
        cmocka_unit_test(keys),
        cmocka_unit_test(dotted_and_quoted_keys),
        cmocka_unit_test(strings),
        cmocka_unit_test(multi_line_strings),
        cmocka_unit_test(integers),
        cmocka_unit_test(floats),
        cmocka_unit_test(dates),
        cmocka_unit_test(arrays),
        cmocka_unit_test(tables),
        cmocka_unit_test(arrays_of_tables),
        cmocka_unit_test(inline_tables),
        cmocka_unit_test(what_is_no_toml),
        cmocka_unit_test(errors_name_their_place),
        cmocka_unit_test(depth_and_size_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
