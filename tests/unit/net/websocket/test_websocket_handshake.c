/* The WebSocket opening handshake (RFC 6455 4, RFC 7692 7.1): requests, answers, the safe offer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "net/websocket/handshake.h"

static struct http1_head request, response;
static char request_text[4096], response_text[4096];

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define SWITCH "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define CLIENT_ONLY "permessage-deflate; client_no_context_takeover"
#define BOTH "permessage-deflate; client_no_context_takeover; server_no_context_takeover"

static void parse_request(const char *line, const char *fields)
{
    int n = snprintf(request_text, sizeof(request_text), "%s\r\nHost: h\r\n%s\r\n", line, fields);
    assert_int_equal(http1_parse_request(request_text, (size_t)n, &request, NULL), 0);
}

static void parse_response(const char *line, const char *fields)
{
    int n = snprintf(response_text, sizeof(response_text), "%s\r\n%s\r\n", line, fields);
    assert_int_equal(http1_parse_response(response_text, (size_t)n, &response, NULL), 0);
}

static bool valid(const char *line, const char *fields)
{
    parse_request(line, fields);
    cleanup_error struct os_error err = {0};
    bool ok = websocket_check_request(&request, &err) == 0;
    assert_int_equal(ok, err.code == OS_OK);
    return ok;
}

static void tells_attempts(void **state)
{
    static const char *const attempts[] = {SWITCH, "Upgrade: h2c, WebSocket\r\n", KEY,
                                           "Sec-WebSocket-Version: 8\r\n", "sec-websocket-key: x\r\n"};
    for (size_t i = 0; i < OS_ARRAY_LEN(attempts); i++) {
        parse_request("POST / HTTP/1.1", attempts[i]);
        assert_true(websocket_is_attempt(&request));
    }
    parse_request("GET / HTTP/1.1", "Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: x\r\n");
    assert_false(websocket_is_attempt(&request));
}

static void accepts_requests(void **state)
{
    static const char *const good[] = {
        SWITCH KEY VERSION,
        "upgrade: WebSocket\r\nconnection: keep-alive, upgrade\r\n" KEY VERSION "Content-Length: 0\r\n",
        SWITCH KEY VERSION "Sec-WebSocket-Protocol: a, b.c\r\nSec-WebSocket-Protocol: d\r\n",
        SWITCH VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        SWITCH VERSION "Sec-WebSocket-Key: /+//////////////////zw==\r\n",
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(good); i++)
        assert_true(valid("GET /chat?x=1 HTTP/1.1", good[i]));
}

static void refuses_requests(void **state)
{
    static const char *const bad[] = {
        KEY VERSION,
        "Upgrade: websocket\r\n" KEY VERSION,
        "Connection: Upgrade\r\n" KEY VERSION,
        "Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n" KEY VERSION,
        "Upgrade: websocket\r\n" SWITCH KEY VERSION,
        "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEY VERSION,
        SWITCH VERSION,
        SWITCH KEY KEY VERSION,
        SWITCH KEY,
        SWITCH KEY VERSION VERSION,
        SWITCH KEY "Sec-WebSocket-Version: 8\r\n",
        SWITCH KEY "Sec-WebSocket-Version: 13, 8\r\n",
        SWITCH VERSION "Sec-WebSocket-Key: \r\n",
        SWITCH VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n",
        SWITCH VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n",
        SWITCH VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n",
        SWITCH VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ===\r\n",
        SWITCH VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j_Q==\r\n",
        SWITCH VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWUhIQ==\r\n",
        SWITCH KEY VERSION "Sec-WebSocket-Protocol: a b\r\n",
        SWITCH KEY VERSION "Sec-WebSocket-Protocol: a,,b\r\n",
        SWITCH KEY VERSION "Sec-WebSocket-Protocol: \r\n",
        SWITCH KEY VERSION "Content-Length: 5\r\n",
        SWITCH KEY VERSION "Transfer-Encoding: chunked\r\n",
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++)
        if (valid("GET / HTTP/1.1", bad[i]))
            fail_msg("accepted: %s", bad[i]);
    assert_false(valid("POST / HTTP/1.1", SWITCH KEY VERSION));
    assert_false(valid("get / HTTP/1.1", SWITCH KEY VERSION));
    assert_false(valid("GET / HTTP/1.0", SWITCH KEY VERSION));
}

static void computes_the_accept_value(void **state)
{
    char accept[WEBSOCKET_ACCEPT_TEXT];
    const char *key = "dGhlIHNhbXBsZSBub25jZQ=="; /* RFC 6455 1.3 */
    websocket_accept_for((struct http1_text){key, strlen(key)}, accept);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void makes_the_safe_offer(void **state)
{
    static const struct {
        const char *fields, *offer;
    } cases[] = {
        {"", NULL},
        {"permessage-deflate", NULL},
        {"permessage-deflate; client_max_window_bits", NULL},
        {CLIENT_ONLY, CLIENT_ONLY},
        {"permessage-deflate;client_no_context_takeover", CLIENT_ONLY},
        {"permessage-deflate ; server_no_context_takeover ; client_no_context_takeover", BOTH},
        {"permessage-deflate; server_no_context_takeover", NULL},
        {"permessage-deflate; client_no_context_takeover; client_no_context_takeover", NULL},
        {BOTH "; server_no_context_takeover", NULL},
        {"permessage-deflate; client_no_context_takeover=1", NULL},
        {"permessage-deflate; client_no_context_takeover=\"1\"", NULL},
        {CLIENT_ONLY "; client_max_window_bits=10", NULL},
        {CLIENT_ONLY "; x", NULL},
        {"permessage-deflate; client_max_window_bits, " BOTH ", " CLIENT_ONLY, BOTH},
        {"foo; bar=\"baz\", " CLIENT_ONLY, CLIENT_ONLY},
        {"x-webkit-deflate-frame, permessage-deflate; client_max_window_bits", NULL},
        {"Permessage-Deflate; client_no_context_takeover", NULL},
        /* malformed lists offer nothing */
        {CLIENT_ONLY ",", NULL},
        {", " CLIENT_ONLY, NULL},
        {CLIENT_ONLY ";", NULL},
        {CLIENT_ONLY " x", NULL},
        {"foo; bar=\"a,b\", " CLIENT_ONLY, NULL},
        {"foo; bar=\", " CLIENT_ONLY, NULL},
        {"foo; bar=\"\", " CLIENT_ONLY, NULL},
        {"foo; bar=\"\\", NULL},
        {"foo; =x, " CLIENT_ONLY, NULL},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++) {
        char fields[512] = "";
        if (*cases[i].fields)
            snprintf(fields, sizeof(fields), "Sec-WebSocket-Extensions: %s\r\n", cases[i].fields);
        parse_request("GET / HTTP/1.1", fields);
        const char *offer = websocket_safe_offer(&request);
        if (!offer != !cases[i].offer || (offer && strcmp(offer, cases[i].offer) != 0))
            fail_msg("%s gave %s", cases[i].fields, offer ? offer : "nothing");
    }
    parse_request("GET / HTTP/1.1",
                  "Sec-WebSocket-Extensions: foo\r\nSec-WebSocket-Extensions: " BOTH "\r\n");
    assert_string_equal(websocket_safe_offer(&request), BOTH);
}

static bool answers(const char *offer, const char *line, const char *fields, struct websocket_agreement *out)
{
    parse_response(line, fields);
    cleanup_error struct os_error err = {0};
    bool ok = websocket_check_response(&request, offer, &response, out, &err) == 0;
    assert_int_equal(ok, err.code == OS_OK);
    return ok;
}

#define OK_LINE "HTTP/1.1 101 Switching Protocols"

static void accepts_answers(void **state)
{
    struct websocket_agreement a;
    parse_request("GET / HTTP/1.1", SWITCH KEY VERSION "Sec-WebSocket-Protocol: x, graphql-transport-ws\r\n");
    assert_true(answers(NULL, OK_LINE, SWITCH ACCEPT, &a));
    assert_null(a.subprotocol.p);
    assert_false(a.deflate);
    assert_true(answers(BOTH, OK_LINE,
                        "upgrade: WebSocket\r\nconnection: upgrade\r\nContent-Length: 0\r\n" ACCEPT, &a));
    assert_false(a.deflate);
    assert_true(
        answers(CLIENT_ONLY, OK_LINE, SWITCH ACCEPT "Sec-WebSocket-Extensions: " CLIENT_ONLY "\r\n", &a));
    assert_true(a.deflate);
    assert_true(answers(BOTH, OK_LINE,
                        SWITCH ACCEPT
                        "Sec-WebSocket-Extensions: permessage-deflate;server_no_context_takeover;"
                        "client_no_context_takeover\r\n",
                        &a));
    assert_true(answers(NULL, OK_LINE, SWITCH ACCEPT "Sec-WebSocket-Protocol: graphql-transport-ws\r\n", &a));
    assert_true(http1_text_is(a.subprotocol, "graphql-transport-ws"));
}

static void refuses_answers(void **state)
{
    struct websocket_agreement a;
    parse_request("GET / HTTP/1.1", SWITCH KEY VERSION "Sec-WebSocket-Protocol: x, y\r\n");
    assert_false(answers(NULL, "HTTP/1.1 200 OK", SWITCH ACCEPT, &a));
    assert_false(answers(NULL, "HTTP/1.0 101 x", SWITCH ACCEPT, &a));
    static const char *const bad[] = {
        SWITCH,
        ACCEPT,
        "Upgrade: websocket\r\n" ACCEPT,
        "Connection: Upgrade\r\n" ACCEPT,
        "Upgrade: h2c\r\nConnection: Upgrade\r\n" ACCEPT,
        "Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n" ACCEPT,
        SWITCH ACCEPT ACCEPT,
        SWITCH "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOp=\r\n",
        SWITCH "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
        SWITCH "Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        SWITCH "Sec-WebSocket-Accept:\r\n",
        SWITCH ACCEPT "Sec-WebSocket-Protocol: z\r\n",
        SWITCH ACCEPT "Sec-WebSocket-Protocol: X\r\n",
        SWITCH ACCEPT "Sec-WebSocket-Protocol: x, y\r\n",
        SWITCH ACCEPT "Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: y\r\n",
        SWITCH ACCEPT "Sec-WebSocket-Protocol:\r\n",
        SWITCH ACCEPT "Content-Length: 5\r\n",
        SWITCH ACCEPT "Transfer-Encoding: chunked\r\n",
        SWITCH ACCEPT "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        SWITCH ACCEPT "Sec-WebSocket-Extensions: foo\r\n",
        SWITCH ACCEPT "Sec-WebSocket-Extensions: \r\n",
        SWITCH ACCEPT "Sec-WebSocket-Extensions: " BOTH "\r\n",
        SWITCH ACCEPT "Sec-WebSocket-Extensions: " CLIENT_ONLY ", foo\r\n",
        SWITCH ACCEPT "Sec-WebSocket-Extensions: foo, " CLIENT_ONLY "\r\n",
        SWITCH ACCEPT "Sec-WebSocket-Extensions: " CLIENT_ONLY "\r\nSec-WebSocket-Extensions: " CLIENT_ONLY
                      "\r\n",
        SWITCH ACCEPT "Sec-WebSocket-Extensions: " CLIENT_ONLY "; client_max_window_bits=9\r\n",
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++)
        if (answers(CLIENT_ONLY, OK_LINE, bad[i], &a))
            fail_msg("accepted: %s", bad[i]);
    assert_false(answers(NULL, OK_LINE, SWITCH ACCEPT "Sec-WebSocket-Extensions: " CLIENT_ONLY "\r\n", &a));
    parse_request("GET / HTTP/1.1", SWITCH KEY VERSION);
    assert_false(answers(NULL, OK_LINE, SWITCH ACCEPT "Sec-WebSocket-Protocol: x\r\n", &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_attempts),       cmocka_unit_test(accepts_requests),
        cmocka_unit_test(refuses_requests),     cmocka_unit_test(computes_the_accept_value),
        cmocka_unit_test(makes_the_safe_offer), cmocka_unit_test(accepts_answers),
        cmocka_unit_test(refuses_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
