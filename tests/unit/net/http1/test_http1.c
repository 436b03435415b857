/* HTTP/1 heads, fields, authorities and bodies: what is accepted, and above all what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "net/http1/http1.h"

static struct http1_head head;

static int request(const char *text)
{
    return http1_parse_request(text, strlen(text), &head, NULL);
}

static void parses_a_request(void **state)
{
    const char *text = "POST /a?b=c HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX:  y z \t\r\n\r\n";
    assert_int_equal(request(text), 0);
    assert_true(http1_text_is(head.method, "POST"));
    assert_true(http1_text_is(head.target, "/a?b=c"));
    assert_int_equal(head.minor, 1);
    assert_int_equal(head.n_fields, 3);
    assert_true(http1_text_is(http1_find(&head, "x", NULL)->value, "y z"));
    assert_int_equal(head.framing, HTTP1_LENGTH);
    assert_int_equal(head.length, 5);
    assert_null(http1_find(&head, "absent", NULL));
}

static void parses_a_response(void **state)
{
    const char *text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nX: \xe9\r\n\r\n";
    assert_int_equal(http1_parse_response(text, strlen(text), &head, NULL), 0);
    assert_int_equal(head.status, 200);
    assert_int_equal(head.framing, HTTP1_CHUNKED);
    text = "HTTP/1.0 304\r\n\r\n";
    assert_int_equal(http1_parse_response(text, strlen(text), &head, NULL), 0);
    assert_int_equal(head.framing, HTTP1_NO_BODY);
    static const char *const bad[] = {"HTTP/1.1 20 OK\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n",
                                      "HTTP/1.1 2000\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n",
                                      "HTTP/1.1 099 No\r\n\r\n"};
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++)
        assert_int_equal(http1_parse_response(bad[i], strlen(bad[i]), &head, NULL), -1);
}

static void refuses_ambiguous_requests(void **state)
{
    static const char *const bad[] = {
        "GET / HTTP/1.1\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost\r\n\r\n",
        "GET / HTTP/1.1\r\n: h\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\x01\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\x7f\r\n\r\n",
        "GET / HTTP/1.1\r\nX: \xe9\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / x HTTP/1.1\r\n\r\n",
        "GET /\tx HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.2\r\n\r\n",
        "GET / http/1.1\r\n\r\n",
        "GET /\r\n\r\n",
        " GET / HTTP/1.1\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\n\r\n",
        "G(T / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 0x1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length:\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked,\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: \"chunked\"\r\n\r\n",
        "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nConnection: close, host\r\n\r\n",
        "GET / HTTP/1.1\r\nConnection: Content-Length\r\n\r\n",
        "GET / HTTP/1.1\r\nConnection: transfer-encoding\r\n\r\n",
        "GET / HTTP/1.1\r\nConnection: close,,x\r\n\r\n",
        "GET / HTTP/1.1\r\nConnection:\r\n\r\n",
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++)
        if (request(bad[i]) != -1)
            fail_msg("accepted: %s", bad[i]);
    static const char nul[] = "GET / HTTP/1.1\r\nX: a\0b\r\n\r\n";
    assert_int_equal(http1_parse_request(nul, sizeof(nul) - 1, &head, NULL), -1);
}

static void tells_json_types(void **state)
{
    static const char *const json[] = {"application/json", "Application/JSON ; Charset=\"UTF-8\"",
                                       "application/json;", "application/graphql+json; charset=utf8",
                                       "application/json; version=1;charset=utf-8"};
    static const char *const other[] = {"",
                                        "json",
                                        "application/",
                                        "application/x-www-form-urlencoded",
                                        "text/json",
                                        "application/+json",
                                        "application/json, text/plain",
                                        "application/json text/plain",
                                        "application/json; charset=utf-7",
                                        "application/json; charset=utf-8; charset=utf-7",
                                        "application/json; charset*=utf-7''x",
                                        "application/json; charset =utf-8",
                                        "application/json; charset",
                                        "application/json; a=\"x;charset=utf-7\"",
                                        "application/json; a=\"\\\"\"",
                                        "; charset=utf-8",
                                        "application/graphql"};
    for (size_t i = 0; i < OS_ARRAY_LEN(json); i++)
        assert_true(http1_is_json_type((struct http1_text){json[i], strlen(json[i])}));
    for (size_t i = 0; i < OS_ARRAY_LEN(other); i++)
        assert_false(http1_is_json_type((struct http1_text){other[i], strlen(other[i])}));
}

static void accepts_equal_lengths(void **state)
{
    assert_int_equal(request("GET / HTTP/1.1\r\nContent-Length: 7\r\nContent-Length: 7\r\n\r\n"), 0);
    assert_int_equal(head.length, 7);
}

static void bounds_the_number_of_fields(void **state)
{
    struct os_buf b cleanup_buf = {0};
    os_buf_adds(&b, "GET / HTTP/1.1\r\n");
    for (int i = 0; i < OS_HTTP1_FIELDS; i++)
        os_buf_adds(&b, "a: b\r\n");
    os_buf_adds(&b, "\r\n");
    assert_int_equal(http1_parse_request(b.data, b.len, &head, NULL), 0);
    b.len -= 2;
    os_buf_adds(&b, "a: b\r\n\r\n");
    assert_int_equal(http1_parse_request(b.data, b.len, &head, NULL), -1);
}

static void finds_the_end_at_every_split(void **state)
{
    const char *text = "GET / HTTP/1.1\r\nA: b\r\n\r\nrest";
    size_t want = strlen(text) - 4;
    for (size_t cut = 0; cut < want; cut++) {
        size_t seen = 0;
        assert_int_equal(http1_head_end(text, cut, &seen), 0);
        assert_int_equal(http1_head_end(text, strlen(text), &seen), want);
    }
}

static void knows_hop_fields(void **state)
{
    assert_int_equal(
        request("GET / HTTP/1.1\r\nConnection: X-A , close\r\nx-a: 1\r\nUpgrade: h2c\r\nB: 1\r\n\r\n"), 0);
    const bool hop[] = {true, true, true, false};
    for (size_t i = 0; i < OS_ARRAY_LEN(hop); i++)
        assert_int_equal(http1_is_hop_field(&head, &head.fields[i]), hop[i]);
    assert_true(http1_has_token(&head, "connection", "CLOSE"));
    assert_false(http1_has_token(&head, "connection", "clos"));
}

static bool authority(const char *text, struct http1_authority *a)
{
    return http1_parse_authority((struct http1_text){text, strlen(text)}, a);
}

static void parses_authorities(void **state)
{
    struct http1_authority a;
    assert_true(authority("Api.Example.COM.:443", &a));
    assert_string_equal(a.host, "api.example.com");
    assert_int_equal(a.port, 443);
    assert_true(authority("[2001:DB8::1]:8", &a));
    assert_string_equal(a.host, "2001:db8::1");
    assert_true(a.ipv6);
    assert_int_equal(a.port, 8);
    assert_true(authority("[::1]", &a));
    assert_int_equal(a.port, 0);
    static const char *const bad[] = {
        "",       ":80",    "h:",    "h:0",      "h:65536",         "h:+1",       "h:1 ",
        "u@h:80", "h/x",    "[::1",  "[::1]80",  "[]:80",           "h..x:80",    ".h:80",
        "a b:80", "h%2e:1", "h:1:2", "h:000001", "[fe80::1%25x]:1", "\xc3\xa9:1", "."};
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++)
        if (authority(bad[i], &a))
            fail_msg("accepted: %s", bad[i]);
    char longest[300];
    memset(longest, 'a', sizeof(longest));
    assert_false(http1_parse_authority((struct http1_text){longest, 256}, &a));
    assert_true(http1_parse_authority((struct http1_text){longest, 255}, &a));
}

static void splits_absolute_targets(void **state)
{
    struct http1_text scheme, auth, rest;
    const char *t = "http://h:8080/a?b";
    assert_true(http1_split_absolute((struct http1_text){t, strlen(t)}, &scheme, &auth, &rest));
    assert_true(http1_text_is(scheme, "http"));
    assert_true(http1_text_is(auth, "h:8080"));
    assert_true(http1_text_is(rest, "/a?b"));
    t = "http://h?x=http://y";
    assert_true(http1_split_absolute((struct http1_text){t, strlen(t)}, &scheme, &auth, &rest));
    assert_true(http1_text_is(auth, "h"));
    assert_true(http1_text_is(rest, "?x=http://y"));
    static const char *const bad[] = {"/a://b", "://h", "http:///x", "h:80", "*"};
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++)
        assert_false(
            http1_split_absolute((struct http1_text){bad[i], strlen(bad[i])}, &scheme, &auth, &rest));
}

/* Feeds text one byte at a time; returns the bytes that belonged to the body, -1 on error. */
static int64_t feed_bytes(const char *text, struct http1_body *b)
{
    int64_t total = 0;
    for (const char *p = text; *p && !b->done; p++) {
        int64_t n = http1_body_feed(b, p, 1, NULL);
        if (n < 0)
            return -1;
        total += n;
    }
    return total;
}

static void follows_bodies(void **state)
{
    static const struct {
        const char *text;
        int64_t body; /* bytes of it, -1 = refused */
    } cases[] = {
        {"0\r\n\r\nGET", 5},
        {"3\r\nabc\r\n0\r\n\r\nX", 13},
        {"3;a=\"b\"\r\nabc\r\n000\r\nT: v\r\nU:\r\n\r\nX", 31},
        {"A \t\r\n0123456789\r\n0\r\n\r\n", 22},
        {"3\r\nabcd\r\n", -1},
        {"3\nabc\r\n", -1},
        {"3\r\nabc\n0\r\n\r\n", -1},
        {"+3\r\nabc\r\n", -1},
        {"0x3\r\nabc\r\n", -1},
        {" 3\r\nabc\r\n", -1},
        {"3 3\r\nabc\r\n", -1},
        {"\r\n", -1},
        {";x\r\n", -1},
        {"3;a\n\r\nabc", -1},
        {"3\rabc", -1},
        {"8000000000000000\r\n", -1},
        {"00000000000000001\r\n", -1},
        {"0\r\nT\r\n\r\n", -1},
        {"0\r\nT : v\r\n\r\n", -1},
        {"0\r\n fold\r\n\r\n", -1},
        {"0\r\nT: v\n\r\n", -1},
        {"0\r\n\rX", -1},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++) {
        struct http1_body b;
        http1_body_start(&b, HTTP1_CHUNKED, 0);
        int64_t whole = http1_body_feed(&b, cases[i].text, strlen(cases[i].text), NULL);
        bool done = b.done;
        http1_body_start(&b, HTTP1_CHUNKED, 0);
        int64_t single = feed_bytes(cases[i].text, &b);
        if (whole != cases[i].body || single != whole || done != (whole >= 0) || b.done != done)
            fail_msg("%s: whole %lld, by bytes %lld", cases[i].text, (long long)whole, (long long)single);
    }
}

static void follows_lengths(void **state)
{
    struct http1_body b;
    http1_body_start(&b, HTTP1_LENGTH, 5);
    assert_int_equal(http1_body_feed(&b, "abc", 3, NULL), 3);
    assert_false(b.done);
    assert_int_equal(http1_body_feed(&b, "defg", 4, NULL), 2);
    assert_true(b.done);
    assert_int_equal(http1_body_feed(&b, "x", 1, NULL), 0);
    http1_body_start(&b, HTTP1_LENGTH, 0);
    assert_true(b.done);
    http1_body_start(&b, HTTP1_NO_BODY, 0);
    assert_true(b.done);
}

static void bounds_chunk_lines(void **state)
{
    struct http1_body b;
    http1_body_start(&b, HTTP1_CHUNKED, 0);
    assert_int_equal(http1_body_feed(&b, "1;", 2, NULL), 2);
    int64_t n = 0;
    for (int i = 0; i < OS_HTTP1_CHUNK_LINE && n >= 0; i++)
        n = http1_body_feed(&b, "x", 1, NULL);
    assert_int_equal(n, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_a_request),
        cmocka_unit_test(parses_a_response),
        cmocka_unit_test(refuses_ambiguous_requests),
        cmocka_unit_test(tells_json_types),
        cmocka_unit_test(accepts_equal_lengths),
        cmocka_unit_test(bounds_the_number_of_fields),
        cmocka_unit_test(finds_the_end_at_every_split),
        cmocka_unit_test(knows_hop_fields),
        cmocka_unit_test(parses_authorities),
        cmocka_unit_test(splits_absolute_targets),
        cmocka_unit_test(follows_bodies),
        cmocka_unit_test(follows_lengths),
        cmocka_unit_test(bounds_chunk_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
