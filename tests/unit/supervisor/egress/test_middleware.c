/* The pure parts of the middleware chain: redaction, headers, limits of answers, admission. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "rpc/pb.h"
#include "supervisor/egress/middleware/admission.h"
#include "supervisor/egress/middleware/regex.h"
#include "supervisor/egress/middleware/result.h"

#define KEY "sk-0123456789abcdef"

static void keys_are_redacted(void **state)
{
    static const struct {
        const char *text, *want;
        uint32_t found;
    } rows[] = {
        {"", "", 0},
        {"sk-", "", 0},
        {"sk-0123456789abcde", "", 0},
        {KEY, "[REDACTED]", 1},
        {KEY "_-Zz!", "[REDACTED]!", 1},
        {"a" KEY " " KEY "b", "a[REDACTED] [REDACTED]", 2},
        {"sk-short " KEY, "sk-short [REDACTED]", 1},
        {"sk-sk-sk-" KEY, "[REDACTED]", 1},
        {"sk-x "
         "sk-" KEY,
         "sk-x [REDACTED]", 1},
        {"Sk-0123456789abcdef", "", 0},
        {"\xc3\xa4" KEY "\xc3\xa4", "\xc3\xa4[REDACTED]\xc3\xa4", 1},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_buf struct os_buf out = {0};
        uint32_t found = middleware_redact(rows[i].text, strlen(rows[i].text), &out);
        if (found != rows[i].found || strcmp(os_buf_str(&out), rows[i].want) != 0)
            fail_msg("'%s': %u, '%s'", rows[i].text, found, os_buf_str(&out));
    }
    cleanup_buf struct os_buf out = {0};
    static const char nul[] = "a\0" KEY "\0b";
    assert_int_equal(middleware_redact(nul, sizeof(nul) - 1, &out), 1);
    assert_int_equal(out.len, 14);
    assert_memory_equal(out.data, "a\0[REDACTED]\0b", 14);
}

/* --- headers --- */

static void parse(struct http1_head *h, const char *fields, struct os_arena *arena)
{
    cleanup_error struct os_error err = {0};
    char *text = os_arena_printf(arena, "GET / HTTP/1.1\r\n%s\r\n", fields);
    if (http1_parse_request(text, strlen(text), h, &err) < 0)
        fail_msg("%s", os_error_text(&err));
}

static void hidden_headers(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    static struct http1_head h;
    mw_request m = OPENSHELL__MIDDLEWARE__V1__HTTP_REQUEST_EVALUATION__INIT;
    parse(&h,
          "Host: h\r\nX-A: 1\r\nAUTHORIZATION: s\r\nProxy-Authorization: s\r\nProxy-Authenticate: "
          "s\r\nCookie: s\r\n"
          "Content-Length: 0\r\nConnection: x-hop, close\r\nX-Hop: s\r\nProxy-Connection: s\r\nKeep-Alive: "
          "s\r\nTE: s\r\n"
          "Trailer: s\r\nUpgrade: s\r\nX-Amz-Anything: s\r\nX-OpenShell-Credentials: s\r\nx-b: 2\r\nX-A: "
          "3\r\nX-Amzn: 4\r\n",
          &arena);
    middleware_visible_headers(&h, &arena, &m);
    static const char *const want[] = {"x-a=1", "x-b=2", "x-a=3", "x-amzn=4"};
    assert_int_equal(m.n_headers, OS_ARRAY_LEN(want));
    for (size_t i = 0; i < m.n_headers; i++)
        assert_string_equal(os_arena_printf(&arena, "%s=%s", m.headers[i]->name, m.headers[i]->value),
                            want[i]);
}

struct change {
    const char *name, *value; /* value NULL = remove */
    int existing;
};

static const char *mutate(const char *fields, const struct change *c, size_t n, struct os_arena *arena,
                          char **out)
{
    struct http1_head *h = os_arena_alloc(arena, sizeof(*h));
    const struct http1_head *changed;
    mw_mutation **list = os_arena_alloc(arena, (n + 1) * sizeof(*list));
    cleanup_buf struct os_buf text = {0};
    parse(h, fields, arena);
    for (size_t i = 0; i < n; i++) {
        mw_mutation *m = list[i] = pb_new(arena, openshell__middleware__v1__header_mutation);
        if (c[i].value) {
            m->operation_case = OPENSHELL__MIDDLEWARE__V1__HEADER_MUTATION__OPERATION_WRITE;
            m->write = pb_new(arena, openshell__middleware__v1__write_header);
            m->write->name = (char *)(uintptr_t)c[i].name;
            m->write->value = (char *)(uintptr_t)c[i].value;
            m->write->on_existing = (Openshell__Middleware__V1__ExistingHeaderAction)c[i].existing;
        } else if (c[i].name) {
            m->operation_case = OPENSHELL__MIDDLEWARE__V1__HEADER_MUTATION__OPERATION_REMOVE;
            m->remove = pb_new(arena, openshell__middleware__v1__remove_header);
            m->remove->name = (char *)(uintptr_t)c[i].name;
        }
    }
    const char *failure = middleware_mutate(h, list, n, arena, &changed);
    if (failure)
        assert_ptr_equal(changed, h);
    for (size_t i = 0; i < changed->n_fields; i++)
        os_buf_addf(&text, "%.*s: %.*s\r\n", (int)changed->fields[i].name.n, changed->fields[i].name.p,
                    (int)changed->fields[i].value.n, changed->fields[i].value.p);
    *out = os_arena_strdup(arena, os_buf_str(&text));
    return failure;
}

#define P "x-openshell-middleware-"

static void mutations(void **state)
{
    enum { APPEND = 1, OVERWRITE, SKIP };
    static const char before[] =
        "Host: h\r\nConnection: x-hop\r\nX-Hop: 1\r\n" P "a: 1\r\nX-B: 2\r\nx-b: 3\r\n";
    static const struct {
        struct change c;
        const char *failure, *after; /* after NULL = as before */
    } rows[] = {
        {{P "n", "v", APPEND},
         NULL,
         "Host: h\r\nConnection: x-hop\r\nX-Hop: 1\r\n" P "a: 1\r\nX-B: 2\r\nx-b: 3\r\n" P "n: v\r\n"},
        {{"X-OpenShell-Middleware-A", "2", APPEND},
         NULL,
         "Host: h\r\nConnection: x-hop\r\nX-Hop: 1\r\n" P "a: 1\r\nX-B: 2\r\nx-b: 3\r\n" P "a: 2\r\n"},
        {{P "A", "2", OVERWRITE},
         NULL,
         "Host: h\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-B: 2\r\nx-b: 3\r\n" P "a: 2\r\n"},
        {{P "a", "2", SKIP}, NULL, NULL},
        {{"X-b", NULL, 0}, NULL, "Host: h\r\nConnection: x-hop\r\nX-Hop: 1\r\n" P "a: 1\r\n"},
        {{"absent", NULL, 0}, NULL, NULL},
        {{NULL, NULL, 0}, "header_mutation_empty", NULL},
        {{"", NULL, 0}, "header_mutation_invalid_name", NULL},
        {{"a b", NULL, 0}, "header_mutation_invalid_name", NULL},
        {{"Host", NULL, 0}, "header_mutation_protected_header", NULL},
        {{"x-hop", NULL, 0}, "header_mutation_hop_by_hop_header", NULL},
        {{"Connection", NULL, 0}, "header_mutation_hop_by_hop_header", NULL},
        {{"x-other", "v", APPEND}, "header_mutation_write_namespace", NULL},
        {{P, "v", APPEND}, "header_mutation_write_namespace", NULL},
        {{P "n", "a\nb", APPEND}, "header_mutation_unsafe_value", NULL},
        {{P "n", "a\x7f", APPEND}, "header_mutation_unsafe_value", NULL},
        {{P "n", "v", 0}, "header_mutation_missing_existing_action", NULL},
        {{P "n", "v", 4}, "header_mutation_unsupported_existing_action", NULL},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_arena struct os_arena arena = {0};
        char *after;
        const char *failure = mutate(before, &rows[i].c, 1, &arena, &after);
        if (!failure != !rows[i].failure || (failure && strcmp(failure, rows[i].failure) != 0))
            fail_msg("row %zu: %s", i, failure ? failure : "no failure");
        assert_string_equal(after, rows[i].after ? rows[i].after : before);
    }
}

static void mutations_are_bounded_and_atomic(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    struct change many[OS_MIDDLEWARE_MUTATIONS + 1];
    char *after, *value = os_arena_alloc(&arena, OS_MIDDLEWARE_MUTATION_TEXT + 1);
    for (size_t i = 0; i < OS_ARRAY_LEN(many); i++)
        many[i] = (struct change){P "n", "v", 1};
    assert_null(mutate("Host: h\r\n", many, OS_ARRAY_LEN(many) - 1, &arena, &after));
    assert_string_equal(mutate("Host: h\r\n", many, OS_ARRAY_LEN(many), &arena, &after),
                        "header_mutation_count_over_capacity");
    assert_string_equal(after, "Host: h\r\n");
    memset(value, 'v', OS_MIDDLEWARE_MUTATION_TEXT);
    many[0].value = value;
    assert_string_equal(mutate("Host: h\r\n", many, 1, &arena, &after),
                        "header_mutation_bytes_over_capacity");
    many[0].value = "fine";
    many[1].name = "other";
    assert_string_equal(mutate("Host: h\r\n", many, 2, &arena, &after), "header_mutation_write_namespace");
    assert_string_equal(after, "Host: h\r\n");
    /* A head that is full already. */
    cleanup_buf struct os_buf full = {0};
    for (int i = 0; i < OS_HTTP1_FIELDS; i++)
        os_buf_adds(&full, "A: b\r\n");
    assert_string_equal(mutate(os_buf_str(&full), many, 1, &arena, &after),
                        "header_mutation_count_over_capacity");
}

/* --- answers --- */

static void answers(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    mw_result r = OPENSHELL__MIDDLEWARE__V1__HTTP_REQUEST_RESULT__INIT;
    char *text = os_arena_alloc(&arena, OS_MIDDLEWARE_REASON + 2);
    assert_string_equal(middleware_check_result(&r, 10), "invalid_response_decision");
    r.decision = MW_ALLOW;
    assert_null(middleware_check_result(&r, 10));
    r.body = (ProtobufCBinaryData){11, (uint8_t *)"01234567890"};
    assert_null(middleware_check_result(&r, 10));
    r.has_body = true;
    assert_string_equal(middleware_check_result(&r, 10), "response_body_over_capacity");
    r.has_body = false;
    memset(text, 'x', OS_MIDDLEWARE_REASON + 1);
    r.reason = text;
    assert_string_equal(middleware_check_result(&r, 10), "response_reason_over_capacity");
    r.decision = MW_DENY;
    assert_null(middleware_check_result(&r, 10));
    static const char *const codes[] = {"a", "a_1", ""}, *const bad[] = {"A",   "1a",  "_a",
                                                                         "a-b", "a b", "\xc3\xa4"};
    for (size_t i = 0; i < OS_ARRAY_LEN(codes); i++)
        assert_true(middleware_reason_code_ok(codes[i]));
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++)
        assert_false(middleware_reason_code_ok(bad[i]));
    text[OS_MIDDLEWARE_REASON_CODE] = '\0';
    assert_true(middleware_reason_code_ok(text));
    text[OS_MIDDLEWARE_REASON_CODE] = 'x';
    text[OS_MIDDLEWARE_REASON_CODE + 1] = '\0';
    assert_false(middleware_reason_code_ok(text));
}

static void message_answers(void **state)
{
    mw_message_result r = OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_MESSAGE_RESULT__INIT;
    struct http1_text t;
    r.sequence = 7;
    assert_string_equal(middleware_check_message(&r, 7, true, 10), "invalid_response_decision");
    r.decision = MW_ALLOW;
    assert_null(middleware_check_message(&r, 7, true, 10));
    assert_false(middleware_replacement(&r, &t));
    assert_string_equal(middleware_check_message(&r, 8, true, 10), "message_result_sequence_mismatch");
    r.decision = MW_DENY;
    assert_null(middleware_check_message(&r, 8, true, 10));
    r.decision = MW_ALLOW;
    r.replacement_case = OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_MESSAGE_RESULT__REPLACEMENT_TEXT;
    r.text = (char *)"0123456789";
    assert_null(middleware_check_message(&r, 7, true, 10));
    assert_true(middleware_replacement(&r, &t));
    assert_int_equal(t.n, 10);
    assert_string_equal(middleware_check_message(&r, 7, true, 9), "response_message_over_capacity");
    r.replacement_case = OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_MESSAGE_RESULT__REPLACEMENT_BINARY;
    r.binary = (ProtobufCBinaryData){2, (uint8_t *)"a\0"};
    assert_string_equal(middleware_check_message(&r, 7, true, 9), "replacement_type_mismatch");
    assert_null(middleware_check_message(&r, 7, false, 9));
}

/* --- admission --- */

static void note(void *ctx)
{
    ++*(int *)ctx;
}

static void places_are_handed_over_in_order(void **state)
{
    struct admission a;
    int first = 0, second = 0;
    struct admission_ticket t[5] = {
        {0}, {0}, {.granted = note, .ctx = &first}, {.granted = note, .ctx = &second}, {0}};
    admission_init(&a, 2, 2);
    assert_int_equal(admission_ask(&a, &t[0]), ADMISSION_IN);
    assert_int_equal(admission_ask(&a, &t[1]), ADMISSION_IN);
    assert_int_equal(admission_ask(&a, &t[2]), ADMISSION_WAITING);
    assert_int_equal(admission_ask(&a, &t[3]), ADMISSION_WAITING);
    assert_int_equal(admission_ask(&a, &t[4]), ADMISSION_OUT);
    admission_give(&a, &t[4]);
    admission_give(&a, &t[0]);
    assert_int_equal(first, 1);
    assert_int_equal(second, 0);
    assert_int_equal(admission_look(&a, &t[2]), ADMISSION_IN);
    assert_int_equal(admission_ask(&a, &t[0]), ADMISSION_WAITING);
    admission_give(&a, &t[3]); /* leaves the queue */
    admission_give(&a, &t[1]);
    assert_int_equal(second, 0);
    assert_int_equal(admission_look(&a, &t[0]), ADMISSION_IN);
    admission_give(&a, &t[2]);
    admission_give(&a, &t[0]);
    admission_give(&a, &t[0]);
    assert_int_equal(a.taken, 0);
    assert_int_equal(a.waiting, 0);
    admission_destroy(&a);
}

static bool yes(void *ctx)
{
    return true;
}

static void waiting_ends(void **state)
{
    struct admission a;
    struct admission_ticket holder = {0}, waiter = {0};
    admission_init(&a, 1, 1);
    const struct middleware_limit cancelled = {.end_ms = os_clock_mono_ms() + 60000, .cancelled = yes},
                                  passed = {.end_ms = os_clock_mono_ms()};
    assert_true(admission_wait(&a, &holder, &cancelled));
    assert_false(admission_wait(&a, &waiter, &cancelled));
    assert_false(admission_wait(&a, &waiter, &passed));
    assert_int_equal(a.waiting, 0);
    admission_give(&a, &waiter);
    admission_give(&a, &holder);
    assert_true(admission_wait(&a, &waiter, &passed));
    admission_give(&a, &waiter);
    assert_int_equal(a.taken, 0);
    admission_destroy(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_redacted),
        cmocka_unit_test(hidden_headers),
        cmocka_unit_test(mutations),
        cmocka_unit_test(mutations_are_bounded_and_atomic),
        cmocka_unit_test(answers),
        cmocka_unit_test(message_answers),
        cmocka_unit_test(places_are_handed_over_in_order),
        cmocka_unit_test(waiting_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
