/* --request and --connect of `policy check`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/question.h"
#include "core/cleanup.h"

static void requests(void **state)
{
    static const struct {
        const char *text, *method, *host;
        uint16_t port;
        bool tls;
        const char *target;
    } rows[] = {
        {"GET https://a.com", "GET", "a.com", 443, true, "/"},
        {"post  http://A.Com.:8080/v1/X?a=b#frag", "post", "a.com", 8080, false, "/v1/X?a=b"},
        {"GET https://a.com?x=1", "GET", "a.com", 443, true, "/?x=1"},
        {"GET https://[FD00::1]:8443/a b", "GET", "fd00::1", 8443, true, "/a b"},
        {"GET http://10.0.0.1/%2F..", "GET", "10.0.0.1", 80, false, "/%2F.."},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_arena struct os_arena arena = {0};
        cleanup_error struct os_error err = {0};
        struct policy_question q = {0};
        if (question_parse_request(&arena, rows[i].text, &q, &err) < 0)
            fail_msg("%s: %s", rows[i].text, os_error_text(&err));
        assert_string_equal(q.method, rows[i].method);
        assert_string_equal(q.host, rows[i].host);
        assert_string_equal(q.target, rows[i].target);
        assert_int_equal(q.port, rows[i].port);
        assert_int_equal(q.tls, rows[i].tls);
    }
}

static void bad_requests(void **state)
{
    static const char *const forms[] = {
        "", "GET", "https://a.com", "GET ftp://a.com", "G(T https://a.com", " https://a.com"};
    static const char *const places[] = {
        "GET https://",        "GET https://:443/", "GET https://a.com:0/", "GET https://a.com:x",
        "GET https://u@a.com", "GET https://[::1/", "GET https://*.a.com/", "GET https://a.com:65536/"};
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    struct policy_question q;
    for (size_t i = 0; i < OS_ARRAY_LEN(forms); i++) {
        assert_int_equal(question_parse_request(&arena, forms[i], &q, &err), -1);
        assert_non_null(strstr(os_error_text(&err), "--request expects \"METHOD URL\""));
    }
    for (size_t i = 0; i < OS_ARRAY_LEN(places); i++) {
        assert_int_equal(question_parse_request(&arena, places[i], &q, &err), -1);
        assert_non_null(strstr(os_error_text(&err), "--request has no usable host and port"));
    }
}

static void connections(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    struct policy_question q = {0};
    assert_int_equal(question_parse_connect(&arena, "DB.lan:5432", &q, &err), 0);
    assert_string_equal(q.host, "db.lan");
    assert_int_equal(q.port, 5432);
    assert_null(q.method);
    assert_int_equal(question_parse_connect(&arena, "[::1]:22", &q, &err), 0);
    assert_string_equal(q.host, "::1");
    static const char *const bad[] = {"",           "db.lan", "db.lan:", ":5",
                                      "db.lan:5:6", "a/b:5",  "[::1]",   "db.lan:0"};
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++) {
        assert_int_equal(question_parse_connect(&arena, bad[i], &q, &err), -1);
        assert_non_null(strstr(os_error_text(&err), "--connect expects HOST:PORT, got '"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(requests), cmocka_unit_test(bad_requests),
                                       cmocka_unit_test(connections)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
