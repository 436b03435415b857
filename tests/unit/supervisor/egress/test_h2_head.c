/* Field sections of HTTP/2 become heads that read like those of HTTP/1, or say what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/str.h"
#include "supervisor/egress/l7/h2.h"

static void add(struct h2_section *s, const char *name, const char *value)
{
    h2_section_add(s, name, strlen(name), value, strlen(value));
}

/* A good request; NULL leaves a pseudo-header out. */
static struct h2_section request(const char *method, const char *scheme, const char *authority,
                                 const char *path)
{
    static const char *const names[] = {":method", ":scheme", ":authority", ":path"};
    const char *const values[] = {method, scheme, authority, path};
    struct h2_section s = {0};
    for (size_t i = 0; i < OS_ARRAY_LEN(names); i++)
        if (values[i])
            add(&s, names[i], values[i]);
    return s;
}

static struct h2_section good(void)
{
    return request("POST", "https", "h.test:8443", "/p?q");
}

static void assert_refused(struct h2_section s, bool ended, const char *text)
{
    struct os_error err cleanup_error = {0};
    assert_int_equal(h2_request_head(&s, "https", ended, &err), -1);
    assert_non_null(strstr(os_error_text(&err), text));
    assert_non_null(s.head);
    h2_section_free(&s);
}

static void reads_like_http1(void **state)
{
    struct h2_section s = good();
    add(&s, "content-length", "5");
    add(&s, "te", "trailers");
    add(&s, "x", " v ");
    assert_int_equal(h2_request_head(&s, "https", false, NULL), 0);
    const struct http1_head *h = s.head;
    assert_true(http1_text_is(h->method, "POST") && http1_text_is(h->target, "/p?q"));
    assert_int_equal(h->minor, 1);
    assert_int_equal(h->framing, HTTP1_LENGTH);
    assert_int_equal(h->length, 5);
    assert_true(http1_text_is(http1_find(h, "host", NULL)->value, "h.test:8443"));
    assert_true(http1_text_is(http1_find(h, "x", NULL)->value, "v"));
    h2_section_free(&s);
}

static void tells_whether_a_body_follows(void **state)
{
    struct h2_section s = good();
    assert_int_equal(h2_request_head(&s, "https", true, NULL), 0);
    assert_int_equal(s.head->framing, HTTP1_NO_BODY);
    h2_section_free(&s);
    s = good();
    assert_int_equal(h2_request_head(&s, "https", false, NULL), 0);
    assert_int_equal(s.head->framing, HTTP1_CHUNKED);
    h2_section_free(&s);
}

static void a_second_authority_is_kept_where_it_differs(void **state)
{
    struct h2_section s = good();
    add(&s, "host", "H.test:8443");
    assert_int_equal(h2_request_head(&s, "https", true, NULL), 0);
    assert_int_equal(s.head->n_fields, 1);
    h2_section_free(&s);
    s = good();
    add(&s, "host", "other.test");
    assert_int_equal(h2_request_head(&s, "https", true, NULL), 0);
    const struct http1_field *first = http1_find(s.head, "host", NULL);
    assert_non_null(http1_find(s.head, "host", first)); /* which the gate refuses */
    h2_section_free(&s);
}

static void pseudo_headers_are_checked(void **state)
{
    assert_refused((struct h2_section){0}, true, "method");
    assert_refused(request(NULL, "https", "h.test", "/"), true, "method");
    assert_refused(request("G ET", "https", "h.test", "/"), true, "method");
    assert_refused(request("CONNECT", NULL, "h.test", NULL), true, "CONNECT");
    assert_refused(request("GET", "http", "h.test", "/"), true, ":scheme");
    assert_refused(request("GET", NULL, "h.test", "/"), true, ":scheme");
    assert_refused(request("GET", "https", "h.test", NULL), true, ":path");
    assert_refused(request("GET", "https", "h.test", ""), true, ":path");
    assert_refused(request("OPTIONS", "https", "h.test", "*"), true, ":path");
    assert_refused(request("GET", "https", "h.test", "https://h.test/"), true, ":path");
    assert_refused(request("GET", "https", "h.test", "/a b"), true, "control byte");
    assert_refused(request("GET", "https", "h.test", "/\xff"), true, "UTF-8");
    assert_refused(request("GET", "https", "h\n.test", "/"), true, "UTF-8");
    struct h2_section s = good();
    add(&s, ":protocol", "websocket");
    assert_refused(s, true, "pseudo-header");
    s = good();
    add(&s, ":status", "200");
    assert_refused(s, true, "pseudo-header");
}

static void fields_are_checked(void **state)
{
    static const char *const bad[][3] = {
        {"connection", "close", "connection-specific"},
        {"keep-alive", "1", "connection-specific"},
        {"proxy-connection", "x", "connection-specific"},
        {"transfer-encoding", "chunked", "connection-specific"},
        {"upgrade", "h2c", "connection-specific"},
        {"te", "gzip", "connection-specific"},
        {"X", "v", "lower case"},
        {"a b", "v", "token"},
        {"", "v", "token"},
        {"a", "b\rc", "control byte"},
        {"a", "\xc3", "UTF-8"},
        {"content-length", "5x", "not a number"},
        {"content-length", "", "not a number"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++) {
        struct h2_section s = good();
        add(&s, bad[i][0], bad[i][1]);
        assert_refused(s, false, bad[i][2]);
    }
    struct h2_section s = good();
    add(&s, "content-length", "1");
    assert_refused(s, true, "without a body");
    s = good();
    add(&s, "content-length", "0");
    add(&s, "content-length", "0");
    assert_refused(s, false, "several");
}

static void what_is_too_long_is_not_kept(void **state)
{
    struct h2_section s = good();
    char big[1000];
    memset(big, 'v', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    for (int i = 0; i < 100; i++)
        add(&s, "x", big);
    assert_true(s.head->n_fields < 17);
    assert_refused(s, true, "longer than 16384 bytes");
    s = good();
    for (int i = 0; i < OS_HTTP1_FIELDS + 1; i++)
        add(&s, "x", "");
    assert_refused(s, true, "256 fields");
}

static void responses_need_a_status(void **state)
{
    static const struct {
        const char *status;
        int rc;
    } cases[] = {{"200", 0}, {"100", 0}, {"999", 0}, {"101", -1}, {"99", -1}, {"1000", -1}, {"abc", -1}};
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++) {
        struct h2_section s = {0};
        add(&s, ":status", cases[i].status);
        assert_int_equal(h2_response_head(&s, NULL), cases[i].rc);
        h2_section_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_like_http1),
        cmocka_unit_test(tells_whether_a_body_follows),
        cmocka_unit_test(a_second_authority_is_kept_where_it_differs),
        cmocka_unit_test(pseudo_headers_are_checked),
        cmocka_unit_test(fields_are_checked),
        cmocka_unit_test(what_is_too_long_is_not_kept),
        cmocka_unit_test(responses_need_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
