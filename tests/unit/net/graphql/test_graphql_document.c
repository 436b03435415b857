/* GraphQL documents: the grammar, its limits, the choice of the operation, its root fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "core/limits.h"
#include "net/graphql/document.h"

static struct os_arena arena;

static int arena_teardown(void **state)
{
    os_arena_free(&arena);
    return 0;
}

/* "type name: field field", or the error. */
static const char *seen(const char *text, const char *operation)
{
    cleanup_graphql_document struct graphql_document d = {0};
    cleanup_error struct os_error err = {0};
    if (graphql_document_parse(&d, text, strlen(text), &err) < 0)
        return os_arena_strdup(&arena, os_error_text(&err));
    struct graphql_operation op = {0};
    const char *error = graphql_document_select(&d, operation, &arena, &op);
    if (error)
        return error;
    cleanup_buf struct os_buf b = {0};
    os_buf_addf(&b, "%s %s:", op.type, op.name ? op.name : "-");
    for (size_t i = 0; i < op.n_fields; i++)
        os_buf_addf(&b, " %s", op.fields[i]);
    return os_arena_strdup(&arena, os_buf_str(&b));
}

static void reads_operations(void **state)
{
    static const struct {
        const char *text, *name, *seen;
    } cases[] = {
        {"{a}", NULL, "query -: a"},
        {"\xef\xbb\xbf{a}", NULL, "query -: a"},
        {"query{b a b,a}", NULL, "query -: a b"},
        {"query Q { x: a { hidden } a(n: 1) }", NULL, "query Q: a"},
        {"mutation M @d(a: [1]) {del}", NULL, "mutation M: del"},
        {"subscription S($a: [Int!]! = [1] @x, $b: T) {s}", NULL, "subscription S: s"},
        {"query A{a} mutation B{b}", "B", "mutation B: b"},
        {"query A{a} mutation B{b}", "A", "query A: a"},
        {"{a} mutation B{b}", "B", "mutation B: b"},
        {"query query {query mutation fragment on}", NULL, "query query: fragment mutation on query"},
        {"query on {true: x null false}", NULL, "query on: false null x"},
        {"{__typename a}", NULL, "query -: __typename a"},
        {"\"\"\"says what\"\"\" query Q {a}", NULL, "query Q: a"},
        {"{a @skip(if: true) b @include(if: $x)}", NULL, "query -: a b"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++)
        assert_string_equal(seen(cases[i].text, cases[i].name), cases[i].seen);
}

static void expands_fragments(void **state)
{
    static const struct {
        const char *text, *seen;
    } cases[] = {
        {"{...F} fragment F on T {a b}", "query -: a b"},
        {"fragment F on T {a ...G} {...F} fragment G on T {c}", "query -: a c"},
        {"{... {a} ... on T {b ... @x {c}}}", "query -: a b c"},
        {"{x {...F}} fragment F on T {a}", "query -: x"},
        {"{... on T {...F @d}} fragment F on T {a}", "query -: a"},
        {"{a ...Unknown}", "query -: a"},
        {"{...A} fragment A on T {a ...B} fragment B on T {b ...A ...B}", "query -: a b"},
        {"query Q {...A} fragment A on T {x} fragment Unused on T {y}", "query Q: x"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++)
        assert_string_equal(seen(cases[i].text, NULL), cases[i].seen);
}

/* 2^200 paths lead to the last of these fragments; each is looked at once. */
static void expands_each_fragment_once(void **state)
{
    cleanup_buf struct os_buf b = {0};
    os_buf_adds(&b, "{...F0}");
    for (int i = 0; i < 200; i++)
        os_buf_addf(&b, "fragment F%d on T {...F%d ... on T {...F%d}}", i, i + 1, i + 1);
    os_buf_adds(&b, "fragment F200 on T {end}");
    assert_string_equal(seen(os_buf_str(&b), NULL), "query -: end");
}

static void bears_many_aliases(void **state)
{
    cleanup_buf struct os_buf b = {0};
    os_buf_adds(&b, "{");
    for (int i = 0; i < 6600; i++)
        os_buf_addf(&b, "a%d:f ", i);
    os_buf_adds(&b, "}");
    assert_string_equal(seen(os_buf_str(&b), NULL), "query -: f");
}

static void chooses_the_operation(void **state)
{
    assert_string_equal(seen("query A{a} query B{b}", NULL),
                        "GraphQL document has multiple operations but no operationName");
    assert_string_equal(seen("query A{a}", "B"), "GraphQL operationName \"B\" was not found");
    assert_string_equal(seen("query AB{a}", "A"), "GraphQL operationName \"A\" was not found");
    assert_string_equal(seen("fragment F on T {a}", "F"),
                        "GraphQL document contains no executable operation");
    assert_string_equal(seen(" ,\n# nothing", NULL), "GraphQL document contains no executable operation");
    assert_string_equal(seen("type T {a: Int}", NULL), "GraphQL document contains no executable operation");
    assert_string_equal(seen("query A{a} mutation A{b}", "A"),
                        "GraphQL document defines operation \"A\" more than once");
    assert_string_equal(seen("{...F} fragment F on T{a} fragment F on T{b}", NULL),
                        "GraphQL document defines fragment \"F\" more than once");
    assert_string_equal(seen("query Q", NULL), "GraphQL operation has no selection set");
    assert_string_equal(seen("mutation M($a: Int) @d query Q{a}", NULL),
                        "GraphQL operation has no selection set");
}

static void reads_values(void **state)
{
    static const char *const good[] = {
        "{f(a: 1 b: -0 c: 0.5 d: 1e5 e: -1.5E-3)}",
        "{f(a: \"}{\", b: \"\\\"}\", c: \"\\u00e9\\uD83D\\uDE00\\u{1F600}\\u{000000041}\\u{0}\")}",
        "{f(a: \"\"\"} \"quoted\" \\\"\"\" } \\n\n \"\"\", b: \"\", c: \"\"\"\"\"\")}",
        "{f(a: [] b: {} c: [[1] {x: [$v]}] d: true e: null f: ENUM g: $v)}",
        "{f(a: \"# no comment\") # \" comment }\n}",
        "{f #\r\n(a:1)#\n}",
        "{f(a: \"\xf0\x9f\x98\x80\") # \xf0\x9f\x98\x80\n}",
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(good); i++)
        assert_string_equal(seen(good[i], NULL), "query -: f");
}

static void refuses_malformed_documents(void **state)
{
    static const char *const bad[] = {
        /* structure */
        "{",
        "}",
        "{}",
        "{a",
        "{a}}",
        "{a:}",
        "{:a}",
        "{a b:}",
        "{a(}",
        "{a()}",
        "{a(b)}",
        "{a(b:)}",
        "{a{}}",
        "a",
        "Query {a}",
        "quer {a}",
        "query Q(){a}",
        "query ($a) {a}",
        "query ($a: ) {a}",
        "query (a: Int) {a}",
        "query ($a: [Int) {a}",
        "query ($a: Int!!) {a}",
        "query Q {a} }",
        "{a} garbage",
        "\"d\" {a}",
        "\"d\"",
        "fragment on on T {a}",
        "fragment F {a}",
        "fragment F on T",
        "fragment F on T {}",
        "fragment F($a: Int) on T {a}",
        "{...}",
        "{... on}",
        "{... on {a}}",
        "{... F {a}}",
        "{..a}",
        "{....a}",
        "{a @}",
        "{@d}",
        "{a & b}",
        "{a ! b}",
        "query Q query {a}",
        /* values */
        "query ($a: Int = $b) {a}",
        "query ($a: Int @d(x: $b)) {a}",
        "{a(b: $)}",
        "{a(b: [$])}",
        "{a(b: {$x: 1})}",
        "{$a}",
        "{a(b: 01)}",
        "{a(b: 1.)}",
        "{a(b: .5)}",
        "{a(b: 1e)}",
        "{a(b: -)}",
        "{a(b: +1)}",
        "{a(b: 0x1)}",
        "{a(b: 1.2.3)}",
        "{a(b: 1a)}",
        "{a(b: 1_)}",
        "{a(b: [1)}",
        "{a(b: {c: })}",
        "{a(b: {c})}",
        "{a(b: {1: 2})}",
        /* strings */
        "{a(b: \")}",
        "{a(b: \"x\n\")}",
        "{a(b: \"x\r\")}",
        "{a(b: \"\\x\")}",
        "{a(b: \"\\\")}",
        "{a(b: \"\\u12\")}",
        "{a(b: \"\\uD800\")}",
        "{a(b: \"\\uDC00\\uD800\")}",
        "{a(b: \"\\uD83D\\u0041\")}",
        "{a(b: \"\\u{}\")}",
        "{a(b: \"\\u{110000}\")}",
        "{a(b: \"\\u{D800}\")}",
        "{a(b: \"\\u{41\")}",
        "{a(b: \"\\u{4g}\")}",
        "{a(b: \"\"\"x)}",
        "{a(b: \"\"\"x\\\"\"\")}",
        "{a(b: \"\"\"\"\")}",
        "{a(b: \"\x01\")}",
        "{a(b: \"\"\"\x01\"\"\")}",
        /* characters */
        "{a\x01}",
        "{a;b}",
        "{\xc3\xa9}",
        "{a\xc2\xa0}",
        "{a \xff}",
        "{a} # \xff",
        "{a} #\x01",
        "{a ? b}",
        "{a} \\",
        /* comments that end in different places for different lexers */
        "{a} # x\r{b}",
        "{a} # x\xe2\x80\xa8{b}",
        "{a} # x\xe2\x80\xa9",
        "{a} # x\xc2\x85",
        "{a} # x\x0b",
        "{a} # x\x0c",
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++) {
        const char *error = seen(bad[i], NULL);
        if (strncmp(error, "line ", 5) != 0 && strcmp(error, "the document is not UTF-8") != 0 &&
            strcmp(error, "GraphQL operation has no selection set") != 0)
            fail_msg("\"%s\" gave: %s", bad[i], error);
    }
}

static void ignores_type_system_definitions(void **state)
{
    static const char *const good[] = {
        "schema @a {query: Q mutation: M} extend schema {subscription: S}",
        "\"d\" scalar Date @x(a: 1) extend scalar Date @y",
        "type T implements & A & B @d {\"d\" a(x: Int = 1 @d, \"\"\"e\"\"\" y: [T!]!): Int! @d b: T}",
        "type Empty interface I implements J {a: Int} extend type T implements C",
        "union U @d = | A | B union V = A union W extend union U = C",
        "enum E {\"d\" A @d B} extend enum E {C} enum F",
        "input In {a: Int = 1 b: [In!]} extend input In @d",
        "\"d\" directive @d(a: Int = 1) repeatable on | FIELD | QUERY directive @e on FIELD",
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(good); i++) {
        const char *text = os_arena_printf(&arena, "%s mutation M {m} %s", good[i], good[i]);
        assert_string_equal(seen(text, NULL), "mutation M: m");
    }
    static const char *const bad[] = {
        "type T {a}",
        "type T {}",
        "type T {a: Int = 1}",
        "type T {mutation {m}}",
        "schema {a: B}",
        "schema {query}",
        "enum E {true}",
        "enum E {}",
        "union U = ",
        "union U | A",
        "union U = A B",
        "input I {a}",
        "scalar",
        "extend",
        "extend query Q {a}",
        "\"d\" extend type T",
        "directive d on X",
        "directive @d FIELD",
        "directive @d on Field",
        "directive @d on query {a}",
        "extend directive @d on FIELD",
        "type T implements",
        "type T {a(): Int}",
        "type T implements A B {a: Int}",
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++) {
        const char *text = os_arena_printf(&arena, "query Q {q} %s", bad[i]);
        if (strncmp(seen(text, NULL), "line ", 5) != 0)
            fail_msg("\"%s\" gave: %s", text, seen(text, NULL));
    }
}

static void repeat(struct os_buf *b, const char *s, size_t n)
{
    while (n--)
        os_buf_adds(b, s);
}

/* left n times, middle, right n times. */
static const char *nested(const char *head, const char *left, size_t n, const char *right, const char *tail)
{
    cleanup_buf struct os_buf b = {0};
    os_buf_adds(&b, head);
    repeat(&b, left, n);
    repeat(&b, right, n);
    os_buf_adds(&b, tail);
    return os_arena_strdup(&arena, os_buf_str(&b));
}

static void bounds_recursion(void **state)
{
    static const struct {
        const char *head, *left, *right, *tail;
        size_t most;
    } cases[] = {{"{a", "{a", "}", "}", OS_GRAPHQL_DEPTH - 1},
                 {"{", "...{", "a}", "}", OS_GRAPHQL_DEPTH - 1},
                 {"{a(b:", "[", "]", ")}", OS_GRAPHQL_DEPTH - 1},
                 {"{a(b:{c:", "[", "]", "})}", OS_GRAPHQL_DEPTH - 2},
                 {"query ($a:T=", "[", "]", "){a}", OS_GRAPHQL_DEPTH}};
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++) {
        for (size_t n = cases[i].most; n < 10000; n = n == cases[i].most ? n + 1 : 10 * n) {
            const char *text = nested(cases[i].head, cases[i].left, n, cases[i].right, cases[i].tail);
            const char *got = seen(text, NULL);
            if (n == cases[i].most)
                assert_string_equal(got, "query -: a");
            else
                assert_non_null(strstr(got, "recursion limit of 128 exceeded"));
        }
    }
    assert_non_null(strstr(seen(nested("query ($a:", "[", 5000, "]", "){a}"), NULL), "recursion limit"));
}

static void bounds_tokens(void **state)
{
    assert_string_equal(seen(nested("{", "a ", OS_GRAPHQL_TOKENS - 2, "", "}"), NULL), "query -: a");
    assert_non_null(strstr(seen(nested("{", "a ", OS_GRAPHQL_TOKENS - 1, "", "}"), NULL),
                           "token limit of 20000 exceeded"));
}

static void says_where(void **state)
{
    assert_string_equal(seen("{\n  a(\r\n\xc3\xa9", NULL),
                        "line 3, column 1: character that no token begins with");
    assert_string_equal(seen("{a", NULL), "line 1, column 3: expected a name, found the end of the document");
    assert_string_equal(seen("{a(b 1)}", NULL), "line 1, column 6: expected \":\", found a number");
    assert_string_equal(seen("{a b(c d)}", NULL), "line 1, column 8: expected \":\", found \"d\"");
    assert_string_equal(seen("query ($a: T \"secret\") {a}", NULL),
                        "line 1, column 14: expected \"$\", found a string");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_operations),
        cmocka_unit_test(expands_fragments),
        cmocka_unit_test(expands_each_fragment_once),
        cmocka_unit_test(bears_many_aliases),
        cmocka_unit_test(chooses_the_operation),
        cmocka_unit_test(reads_values),
        cmocka_unit_test(refuses_malformed_documents),
        cmocka_unit_test(ignores_type_system_definitions),
        cmocka_unit_test(bounds_recursion),
        cmocka_unit_test(bounds_tokens),
        cmocka_unit_test(says_where),
    };
    return cmocka_run_group_tests(tests, NULL, arena_teardown);
}
