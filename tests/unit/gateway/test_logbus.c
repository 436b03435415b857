/* The rings of log lines: bounds in number and size, readers that fall behind, sandboxes that are gone. */
#include "gateway/logbus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/limits.h"
#include "core/str.h"

#define ID "6f1c2a52-0000-4000-8000-000000000001"

static void count(void *ctx, const char *id)
{
    assert_string_equal(id, ID);
    ++*(unsigned *)ctx;
}

static void add(struct logbus *b, const char *message)
{
    Openshell__V1__SandboxLogLine line = OPENSHELL__V1__SANDBOX_LOG_LINE__INIT;
    line.sandbox_id = (char *)ID;
    line.level = (char *)"INFO";
    line.message = (char *)message;
    logbus_add_line(b, ID, &line);
}

static Openshell__V1__SandboxLogLine *last(struct logbus *b, struct os_arena *a)
{
    ProtobufCMessage *out[1] = {NULL};
    uint64_t seq = logbus_head(b, ID, LOGBUS_LINES) - 1, lost;
    assert_int_equal(logbus_read(b, ID, LOGBUS_LINES, &seq, 1, a, out, &lost), 1);
    return (Openshell__V1__SandboxLogLine *)out[0];
}

static void test_a_slow_reader_learns_what_it_missed(void **state)
{
    unsigned pokes = 0;
    struct logbus *b = logbus_new(count, &pokes);
    for (int i = 0; i < OS_LOG_RING + 7; i++)
        add(b, "line");
    struct os_arena a = {0};
    ProtobufCMessage *out[4];
    uint64_t seq = 0, lost = 0;
    assert_int_equal(logbus_read(b, ID, LOGBUS_LINES, &seq, 4, &a, out, &lost), 4);
    assert_int_equal(lost, 7);
    assert_int_equal(seq, 11);
    assert_int_equal(pokes, OS_LOG_RING + 7);
    os_arena_free(&a);
    logbus_free(b);
}

static void test_a_long_line_is_cut_between_characters(void **state)
{
    unsigned pokes = 0;
    struct os_arena a = {0};
    struct logbus *b = logbus_new(count, &pokes);
    size_t n = 1 << 20;
    char *text = os_calloc(1, n + 1);
    for (size_t i = 0; i + 3 <= n; i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3);
    add(b, text);
    Openshell__V1__SandboxLogLine *line = last(b, &a);
    size_t kept = strlen(line->message);
    assert_true(kept > OS_LOG_LINE / 2 && kept < OS_LOG_LINE);
    assert_int_equal(kept % 3, 0);
    assert_memory_equal(line->message, text, kept);
    assert_string_equal(line->level, "INFO");
    free(text);
    os_arena_free(&a);
    logbus_free(b);
}

static void test_a_line_of_a_removed_sandbox_brings_nothing_back(void **state)
{
    unsigned pokes = 0;
    struct logbus *b = logbus_new(count, &pokes);
    add(b, "before");
    logbus_drop(b, ID);
    add(b, "late");
    assert_int_equal(logbus_head(b, ID, LOGBUS_LINES), 0);
    assert_int_equal(pokes, 1);
    logbus_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_slow_reader_learns_what_it_missed),
        cmocka_unit_test(test_a_long_line_is_cut_between_characters),
        cmocka_unit_test(test_a_line_of_a_removed_sandbox_brings_nothing_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
