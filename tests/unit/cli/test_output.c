/* Neutralising, widths, tables, errors, documents, log lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/editor.h"
#include "cli/log_line.h"
#include "cli/output.h"
#include "cli/text.h"

static struct os_buf out;

static const char *clean(const char *s, size_t n, bool keep_lines)
{
    os_buf_clear(&out);
    text_clean(&out, s, n, keep_lines);
    return os_buf_str(&out);
}

static int teardown(void **state)
{
    os_buf_free(&out);
    return 0;
}

#define assert_clean(in, want) assert_string_equal(clean(in, sizeof(in) - 1, false), want)

static void test_clean(void **state)
{
    assert_clean("plain text", "plain text");
    assert_clean("\033[2J\033]0;owned\007", "\\x1b[2J\\x1b]0;owned\\x07");
    assert_clean("a\nb\rc\td", "a\\nb\\rc\\td");
    assert_clean("\xc2\x9b"
                 "31m",
                 "\\x9b31m"); /* C1 CSI */
    assert_clean("\x9b"
                 "31m",
                 "\xef\xbf\xbd"
                 "31m"); /* the same as a stray byte */
    assert_clean("\xe2\x80\xae"
                 "gpj.exe",
                 "\\u{202e}gpj.exe"); /* right-to-left override */
    assert_clean("a\0b", "a\\x00b");
    assert_clean("\x7f", "\\x7f");
    assert_clean("grün 日本", "grün 日本");
    assert_clean("\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd");                 /* overlong */
    assert_clean("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* surrogate */
    assert_clean("\xe6\x97", "\xef\xbf\xbd\xef\xbf\xbd");                 /* cut */
    assert_string_equal(clean("a\n\tb\033", 5, true), "a\n\tb\\x1b");
}

static void test_say(void **state)
{
    os_buf_clear(&out);
    say_buf(&out, true, BOLD "%s" END " %d %u %lld %llu %zu %.*s %%", "\033x\001", -1, 2u, -3LL, 4ULL,
            (size_t)5, 2, "abc");
    assert_string_equal(os_buf_str(&out), "\033[1m\\x1bx\\x01\033[0m -1 2 -3 4 5 ab %");
    os_buf_clear(&out);
    say_buf(&out, false, OK_MARK "✓" END " %s\n", "done");
    assert_string_equal(os_buf_str(&out), "✓ done\n");
}

static void test_width(void **state)
{
    assert_int_equal(text_width("abc"), 3);
    assert_int_equal(text_width("grün"), 4);
    assert_int_equal(text_width("日本"), 4);
    assert_int_equal(text_width("e\xcc\x81"), 1);
    assert_int_equal(text_width("🚀"), 2);
    assert_int_equal(text_width(""), 0);
    os_buf_clear(&out);
    text_cut(&out, "日本", 4);
    assert_string_equal(os_buf_str(&out), "日");
}

static void test_fit(void **state)
{
    struct os_arena a = {0};
    assert_string_equal(text_fit(&a, "short", 5), "short");
    assert_string_equal(text_fit(&a, "longer", 5), "long…");
    assert_string_equal(text_fit(&a, "\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2", 5), "\xe6\xbc\xa2\xe5\xad\x97…");
    assert_string_equal(text_fit(&a, "a\nb", 9), "a\\nb");
    assert_string_equal(text_fit(&a, "abc", 1), "…");
    os_arena_free(&a);
}

static void test_ssh_config(void **state)
{
    static const char one[] = "Host openshell-a.default\n    User sandbox\n";
    static const char two[] = "Host openshell-b.default\n    User sandbox\n";
    os_buf_clear(&out);
    editor_place_block("", one, &out);
    assert_string_equal(os_buf_str(&out), one);
    os_buf_clear(&out);
    editor_place_block(
        "Host openshell-a.default\n    User old\n\nHost openshell-b.default\n    User sandbox\n", one, &out);
    assert_string_equal(
        os_buf_str(&out),
        "Host openshell-a.default\n    User sandbox\n\nHost openshell-b.default\n    User sandbox\n");
    os_buf_clear(&out);
    editor_place_block(one, two, &out);
    assert_string_equal(
        os_buf_str(&out),
        "Host openshell-a.default\n    User sandbox\n\nHost openshell-b.default\n    User sandbox\n");

    const char *both = "Host openshell-a.default\n    ProxyCommand x --gateway-name g --name a\n\n"
                       "Host openshell-b.default\n    User sandbox\n";
    os_buf_clear(&out);
    editor_drop_block(both, one, " --gateway-name g --name a", &out);
    assert_string_equal(os_buf_str(&out), two);
    os_buf_clear(&out);
    editor_drop_block(both, one, " --gateway-name other --name a", &out); /* the same name, elsewhere */
    assert_string_equal(os_buf_str(&out), both);
    os_buf_clear(&out);
    editor_drop_block(both, two, " --gateway-name", &out); /* only the block itself counts */
    assert_string_equal(os_buf_str(&out), both);
    os_buf_clear(&out);
    editor_drop_block(both, two, "User", &out);
    assert_string_equal(os_buf_str(&out),
                        "Host openshell-a.default\n    ProxyCommand x --gateway-name g --name a\n");
    os_buf_clear(&out);
    editor_drop_block(two, two, "User", &out);
    assert_string_equal(os_buf_str(&out), "");

    static const char include[] = "Include \"/c/ssh_config\"";
    os_buf_clear(&out);
    editor_place_include("ForwardAgent no\nHost x\n  User y\n", include, &out);
    assert_string_equal(os_buf_str(&out), "ForwardAgent no\nInclude \"/c/ssh_config\"\n\nHost x\n  User y\n");
    os_buf_clear(&out);
    editor_place_include("Host x\n  User y\nInclude \"/c/ssh_config\"\n", include, &out);
    assert_string_equal(os_buf_str(&out), "Include \"/c/ssh_config\"\n\nHost x\n  User y\n");
    os_buf_clear(&out);
    editor_place_include("Include \"/c/ssh_config\"\nmatch all\n", include, &out);
    assert_string_equal(os_buf_str(&out), "Include \"/c/ssh_config\"\nmatch all\n");
    os_buf_clear(&out);
    editor_place_include("no newline", include, &out);
    assert_string_equal(os_buf_str(&out), "no newline\nInclude \"/c/ssh_config\"\n");
}

static void test_table(void **state)
{
    struct os_arena arena = {0};
    struct table t = {
        .arena = &arena, .columns = 3, .headers = {"NAME", "CREATED", "PHASE"}, .least = {0, 9, 0}};
    table_add(&t, "日本", NULL);
    table_add(&t, "now", NULL);
    table_add(&t, "Ready", GREEN);
    table_add(&t, "longer-name", NULL);
    table_add(&t, "a\nb", NULL);
    table_add(&t, "", NULL);
    os_buf_clear(&out);
    table_format(&t, false, &out);
    assert_string_equal(os_buf_str(&out), "NAME         CREATED    PHASE\n"
                                          "日本         now        Ready\n"
                                          "longer-name  a\\nb\n");
    os_buf_clear(&out);
    table_format(&t, true, &out);
    assert_non_null(strstr(os_buf_str(&out), "\033[1mNAME\033[0m         "));
    assert_non_null(strstr(os_buf_str(&out), "\033[32mReady\033[0m\n"));
    os_arena_free(&arena);
}

static void test_table_grows(void **state)
{
    struct os_arena arena = {0};
    struct table t = {.arena = &arena, .columns = 1, .headers = {"N"}};
    for (int i = 0; i < 100; i++)
        table_add(&t, os_arena_printf(&arena, "%d", i), NULL);
    assert_int_equal(t.n_cells, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(atoi(t.cells[i]), i);
    os_arena_free(&arena);
}

static void test_error(void **state)
{
    os_buf_clear(&out);
    error_format(&out, "one\ntwo\033" CAUSE "why\nmore" CAUSE "root", true, false);
    assert_string_equal(os_buf_str(&out),
                        "Error:   × one\n  │ two\\x1b\n  ├─▶ why\n  │   more\n  ╰─▶ root\n");
    os_buf_clear(&out);
    error_format(&out, "plain", false, false);
    assert_string_equal(os_buf_str(&out), "Error:   x plain\n");
}

static json_t *sample(void)
{
    return json_pack("[{s:s,s:i,s:{},s:[],s:[i,i],s:{s:b},s:n,s:s}]", "name", "demo", "n", 3, "labels",
                     "none", "list", 1, 2, "deep", "yes", 1, "policy", "text",
                     "12\xc2\x9b"
                     "x");
}

static void test_json(void **state)
{
    json_t *j = sample();
    assert_non_null(j);
    os_buf_clear(&out);
    json_format(j, &out);
    assert_string_equal(os_buf_str(&out),
                        "[\n  {\n    \"deep\": {\n      \"yes\": true\n    },\n    \"labels\": {},\n"
                        "    \"list\": [\n      1,\n      2\n    ],\n    \"n\": 3,\n"
                        "    \"name\": \"demo\",\n    \"none\": [],\n    \"policy\": null,\n"
                        "    \"text\": \"12\\u009Bx\"\n  }\n]\n");
    /* It parses back to the same value. */
    json_t *back = json_loads(os_buf_str(&out), 0, NULL);
    assert_true(json_equal(j, back));
    json_decref(back);
    json_decref(j);
    os_buf_clear(&out);
    j = json_array();
    json_format(j, &out);
    assert_string_equal(os_buf_str(&out), "[]\n");
    json_decref(j);
}

static void test_yaml(void **state)
{
    json_t *j = sample();
    os_buf_clear(&out);
    yaml_format(j, &out);
    assert_string_equal(os_buf_str(&out),
                        "- deep:\n    \"yes\": true\n  labels: {}\n  list:\n  - 1\n  - 2\n  \"n\": 3\n"
                        "  name: demo\n  none: []\n  policy: null\n  text: \"12\\u009Bx\"\n");
    json_decref(j);
    j = json_pack("{s:s,s:s,s:s,s:s}", "a", "no", "b", "1.5", "c", "", "d", "x: y");
    os_buf_clear(&out);
    yaml_format(j, &out);
    assert_string_equal(os_buf_str(&out), "a: \"no\"\nb: \"1.5\"\nc: \"\"\nd: \"x: y\"\n");
    json_decref(j);
}

static void test_log_line(void **state)
{
    typedef Openshell__V1__SandboxLogLine__FieldsEntry entry;
    entry b = OPENSHELL__V1__SANDBOX_LOG_LINE__FIELDS_ENTRY__INIT, a = b;
    Openshell__V1__SandboxLogLine line = OPENSHELL__V1__SANDBOX_LOG_LINE__INIT;
    entry *fields[] = {&b, &a};
    b.key = (char *)"b";
    b.value = (char *)"2\033";
    a.key = (char *)"a";
    a.value = (char *)"1";
    line.timestamp_ms = 1700000000007;
    line.level = (char *)"INFO";
    line.target = (char *)"proxy";
    line.message = (char *)"denied\nfake line";
    line.fields = fields;
    line.n_fields = 2;
    os_buf_clear(&out);
    log_line_format(&line, &out);
    assert_string_equal(os_buf_str(&out),
                        "[1700000000.007] [gateway] [INFO ] [proxy] denied\\nfake line a=1 b=2\\x1b\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),       cmocka_unit_test(test_say),        cmocka_unit_test(test_width),
        cmocka_unit_test(test_fit),         cmocka_unit_test(test_ssh_config), cmocka_unit_test(test_table),
        cmocka_unit_test(test_table_grows), cmocka_unit_test(test_error),      cmocka_unit_test(test_json),
        cmocka_unit_test(test_yaml),        cmocka_unit_test(test_log_line),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
