/* The parts of src/rpc without I/O: framing, status text, HTTP/1.1 heads, unpacking, the method table. */
#include "core/limits.h"
#include "fixture.h"
#include "rpc/frame.h"
#include "rpc/http1.h"
#include "rpc/status.h"
#include "struct.pb-c.h"

/* --- frame --- */

static void test_frame(void **state)
{
    uint8_t buf[RPC_FRAME_PREFIX + 300];
    const uint8_t *msg;
    size_t len;
    memset(buf, 7, sizeof(buf));
    rpc_frame_prefix(buf, 300);
    assert_memory_equal(buf, "\0\0\0\1\x2c", 5);
    for (size_t n = 0; n < sizeof(buf); n++) {
        assert_int_equal(rpc_frame_peek(buf, n, 300, &msg, &len), RPC_FRAME_MORE);
        assert_null(msg);
    }
    assert_int_equal(rpc_frame_peek(buf, sizeof(buf), 300, &msg, &len), RPC_FRAME_MESSAGE);
    assert_ptr_equal(msg, buf + 5);
    assert_int_equal(len, 300);
    /* verdicts as early as possible */
    assert_int_equal(rpc_frame_peek(buf, 5, 299, &msg, &len), RPC_FRAME_TOO_LARGE);
    assert_int_equal(len, 300);
    assert_int_equal(rpc_frame_peek((const uint8_t *)"\1", 1, 300, &msg, &len), RPC_FRAME_COMPRESSED);
    assert_int_equal(rpc_frame_peek((const uint8_t *)"\2", 1, 300, &msg, &len), RPC_FRAME_BAD_FLAG);
    assert_int_equal(rpc_frame_peek((const uint8_t *)"\0\xff\xff\xff\xff", 5, 1 << 20, &msg, &len),
                     RPC_FRAME_TOO_LARGE);
    assert_int_equal(len, UINT32_MAX);
    assert_int_equal(rpc_frame_peek((const uint8_t *)"\0\0\0\0\0", 5, 0, &msg, &len), RPC_FRAME_MESSAGE);
    assert_int_equal(len, 0);
}

/* --- status text --- */

static void check_encoded(const char *text, const char *want)
{
    cleanup_buf struct os_buf b = {0}, back = {0};
    rpc_message_encode(&b, text);
    assert_string_equal(os_buf_str(&b), want);
    rpc_message_decode(&back, b.data, b.len);
    assert_string_equal(os_buf_str(&back), text);
}

static void test_messages(void **state)
{
    check_encoded("plain text ~", "plain text ~");
    check_encoded("100%\n", "100%25%0A");
    check_encoded("\303\244", "%C3%A4");
    char big[10000];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    memcpy(big + OS_LIMIT_STATUS_MESSAGE - 4, "\303\244\303\244", 4);
    cleanup_buf struct os_buf b = {0};
    rpc_message_encode(&b, big);
    assert_true(b.len <= OS_LIMIT_STATUS_MESSAGE && b.len > OS_LIMIT_STATUS_MESSAGE - 12);
    assert_int_equal(b.data[b.len - 1], 'x'); /* not half a character */
}

static void check_decoded(const char *value, const char *want)
{
    cleanup_buf struct os_buf b = {0};
    rpc_message_decode(&b, value, strlen(value));
    assert_string_equal(os_buf_str(&b), want);
}

static void test_hostile_messages(void **state)
{
    check_decoded("a%", "a%");
    check_decoded("a%4", "a%4");
    check_decoded("a%zz", "a%zz");
    check_decoded("%41%1b[31m%00", "A?[31m?");
    check_decoded("x%ff%c3", "x??");
}

static void test_status_codes(void **state)
{
    assert_int_equal(rpc_status_parse("0", 1), OS_OK);
    assert_int_equal(rpc_status_parse("16", 2), OS_UNAUTHENTICATED);
    assert_int_equal(rpc_status_parse("17", 2), OS_UNKNOWN);
    assert_int_equal(rpc_status_parse("", 0), OS_UNKNOWN);
    assert_int_equal(rpc_status_parse("-1", 2), OS_UNKNOWN);
    assert_int_equal(rpc_code_of_http(401), OS_UNAUTHENTICATED);
    assert_int_equal(rpc_code_of_http(503), OS_UNAVAILABLE);
    assert_int_equal(rpc_code_of_http(200), OS_UNKNOWN);
    assert_int_equal(rpc_code_of_h2(7), OS_UNAVAILABLE);
    assert_int_equal(rpc_code_of_h2(8), OS_CANCELLED);
}

static void test_timeouts(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1 = malformed */
    } cases[] = {{"1500m", 1500},
                 {"2S", 2000},
                 {"1M", 60000},
                 {"1H", 3600000},
                 {"1u", 1},
                 {"1000u", 1},
                 {"1001u", 2},
                 {"1n", 1},
                 {"99999999m", 99999999},
                 {"99999999H", 315360000000},
                 {"0m", 0},
                 {"", -1},
                 {"m", -1},
                 {"5", -1},
                 {"5x", -1},
                 {"-5m", -1},
                 {"+5m", -1},
                 {" 5m", -1},
                 {"123456789m", -1}};
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++) {
        int64_t ms = -1;
        assert_int_equal(rpc_timeout_parse(cases[i].text, &ms), cases[i].ms >= 0);
        assert_int_equal(ms, cases[i].ms);
    }
    char out[RPC_TIMEOUT_TEXT];
    assert_string_equal(rpc_timeout_text(250, out), "250m");
    assert_string_equal(rpc_timeout_text(-3, out), "0m");
    assert_string_equal(rpc_timeout_text(100000000, out), "100000S");
}

/* --- HTTP/1.1 --- */

static int parse(const char *text, struct rpc_http1_head *out)
{
    static char buf[40000];
    size_t n = strlen(text);
    memcpy(buf, text, n + 1);
    return rpc_http1_parse(buf, n, out);
}

static void test_http1_heads(void **state)
{
    struct rpc_http1_head h;
    assert_int_equal(parse("GET /a/b?c=d HTTP/1.1\r\nhOST:  x:1 \r\nX-Request-Id: 7\r\n\r\nbody", &h), 200);
    assert_string_equal(h.method, "GET");
    assert_string_equal(h.path, "/a/b");
    assert_string_equal(h.host, "x:1");
    assert_string_equal(h.request_id, "7");
    assert_false(h.grpc);
    assert_int_equal(parse("GET / HTTP/1.1\r\nHost: x\r\n\r", &h), 0);
    assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n", &h), 200);
    assert_null(h.host);
    assert_int_equal(parse("POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/grpc+proto\r\n\r\n", &h),
                     200);
    assert_true(h.grpc);
    static const char *const bad[] = {
        "\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: x\r\n\r\n",
        "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA: b\001\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "G@T / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n\r\n",
        "GET / FTP/1.1\r\nHost: x\r\n\r\n",
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++) {
        if (parse(bad[i], &h) != 400)
            fail_msg("accepted: %s", bad[i]);
    }
    assert_int_equal(parse("GET / HTTP/2.0\r\nHost: x\r\n\r\n", &h), 505);
    char big[30000];
    memset(big, 'a', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    assert_int_equal(parse(big, &h), 431);
    memcpy(big, "GET /", 5);
    strcpy(big + 10000, " HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(parse(big, &h), 414);
    char nul[] = "GET / HTTP/1.1\r\nHost: x\0y\r\n\r\n";
    assert_int_equal(rpc_http1_parse(nul, sizeof(nul) - 1, &h), 400);
}

/* --- unpacking --- */

static ProtobufCMessage *unpack_name(struct os_arena *a, const char *bytes, size_t n)
{
    return rpc_unpack(a, &openshell__v1__get_sandbox_request__descriptor, (const uint8_t *)bytes, n);
}

/* UpdateConfigRequest { policy { network_policies { key: "x" } } }: the value is left out. */
static void test_unpack_map_without_value(void **state)
{
    cleanup_arena struct os_arena a = {0};
    static const uint8_t doc[] = {0x2a, 3, 0x0a, 1, 'x'}; /* network_policies = 5 */
    const Openshell__Sandbox__V1__SandboxPolicy *p =
        (const Openshell__Sandbox__V1__SandboxPolicy *)rpc_unpack(
            &a, &openshell__sandbox__v1__sandbox_policy__descriptor, doc, sizeof(doc));
    assert_non_null(p);
    assert_int_equal(p->n_network_policies, 1);
    assert_string_equal(p->network_policies[0]->key, "x");
    assert_non_null(p->network_policies[0]->value);
    assert_int_equal(p->network_policies[0]->value->n_endpoints, 0);
}

static void test_unpack(void **state)
{
    cleanup_arena struct os_arena a = {0};
    Openshell__V1__GetSandboxRequest *r;
    unsigned id = protobuf_c_message_descriptor_get_field_by_name(
                      &openshell__v1__get_sandbox_request__descriptor, "name")
                      ->id;
    char key = (char)(id << 3 | 2), m[16] = {key, 3, 'a', 'b', 'c'};
    r = (Openshell__V1__GetSandboxRequest *)unpack_name(&a, m, 5);
    assert_non_null(r);
    assert_string_equal(r->name, "abc");
    assert_non_null(unpack_name(&a, NULL, 0));
    assert_null(unpack_name(&a, m, 4)); /* cut short */
    m[3] = '\0';
    assert_null(unpack_name(&a, m, 5)); /* NUL inside */
    m[3] = '\xff';
    assert_null(unpack_name(&a, m, 5));                      /* not UTF-8 */
    assert_non_null(unpack_name(&a, "\xfa\x3f\x01\xff", 4)); /* unknown field 1023 holds bytes, not text */
    assert_null(unpack_name(&a, "\x03", 1));                 /* field 0 */
    assert_null(unpack_name(&a, "\x0b\x0c", 2));             /* groups */
    assert_null(unpack_name(&a, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11));
}

/* Value { list_value { values { ... } } } as deep as asked; two messages a level. */
static bool unpack_nested(unsigned messages)
{
    cleanup_arena struct os_arena a = {0};
    uint8_t buf[1024];
    size_t at = sizeof(buf);
    for (unsigned i = messages; i > 1; i--) {
        size_t n = sizeof(buf) - at;
        bool list = i % 2 == 0; /* the message inside is a ListValue */
        if (n >= 128) {
            buf[--at] = (uint8_t)(n >> 7);
            buf[--at] = (uint8_t)(n | 0x80);
        } else {
            buf[--at] = (uint8_t)n;
        }
        buf[--at] = list ? 6 << 3 | 2 : 1 << 3 | 2;
    }
    return rpc_unpack(&a, &google__protobuf__value__descriptor, buf + at, sizeof(buf) - at) != NULL;
}

static void test_unpack_nesting(void **state)
{
    assert_true(unpack_nested(1));
    assert_true(unpack_nested(OS_LIMIT_PROTO_DEPTH));
    assert_false(unpack_nested(OS_LIMIT_PROTO_DEPTH + 1));
}

/* Two bytes a piece on the wire, a struct each in memory: bounded. */
static void test_unpack_amplification(void **state)
{
    cleanup_arena struct os_arena a = {0};
    size_t n = OS_LIMIT_GRPC_MESSAGE;
    uint8_t *bytes = malloc(n);
    const ProtobufCFieldDescriptor *logs = protobuf_c_message_descriptor_get_field_by_name(
        &openshell__v1__push_sandbox_logs_request__descriptor, "logs");
    for (size_t i = 0; i < n; i += 2) {
        bytes[i] = (uint8_t)(logs->id << 3 | 2);
        bytes[i + 1] = 0;
    }
    assert_non_null(rpc_unpack(&a, &openshell__v1__push_sandbox_logs_request__descriptor, bytes, 2000));
    assert_null(rpc_unpack(&a, &openshell__v1__push_sandbox_logs_request__descriptor, bytes, n));
    free(bytes);
}

/* --- method table --- */

static void test_methods(void **state)
{
    for (int id = 0; id < RPC_METHOD_COUNT; id++) {
        const struct rpc_method *m = rpc_method((enum rpc_method_id)id);
        assert_int_equal(m->id, id);
        assert_ptr_equal(rpc_method_find(m->path), m);
    }
    static const struct {
        const char *request, *response;
    } types[] = {
#define RPC_METHOD(id, service, name, req, cs, resp, ...) {req, resp},
#include "rpc/tbl/methods.h"
    };
    for (int id = 0; id < RPC_METHOD_COUNT; id++) {
        assert_string_equal(rpc_method((enum rpc_method_id)id)->request->name, types[id].request);
        assert_string_equal(rpc_method((enum rpc_method_id)id)->response->name, types[id].response);
    }
    const struct rpc_method *m = rpc_method_find("/openshell.v1.OpenShell/ExecSandbox");
    assert_int_equal(m->id, RPC_OpenShell_ExecSandbox);
    assert_string_equal(m->service, "openshell.v1.OpenShell");
    assert_string_equal(m->name, "ExecSandbox");
    assert_string_equal(m->scope, "sandbox:write");
    assert_int_equal(m->auth, RPC_AUTH_BEARER);
    assert_true(m->server_stream && !m->client_stream);
    static const char *const unknown[] = {"",
                                          "/",
                                          "/openshell.v1.OpenShell/",
                                          "openshell.v1.OpenShell/Health",
                                          "/openshell.v1.OpenShell/health",
                                          "/openshell.v1.OpenShell/Health/"};
    for (size_t i = 0; i < OS_ARRAY_LEN(unknown); i++)
        assert_null(rpc_method_find(unknown[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_hostile_messages),
        cmocka_unit_test(test_status_codes),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_http1_heads),
        cmocka_unit_test(test_unpack),
        cmocka_unit_test(test_unpack_map_without_value),
        cmocka_unit_test(test_unpack_nesting),
        cmocka_unit_test(test_unpack_amplification),
        cmocka_unit_test(test_methods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
