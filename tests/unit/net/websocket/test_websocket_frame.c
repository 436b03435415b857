/* WebSocket frame headers, masks, close payloads (RFC 6455 5.2, 5.3, 5.5, 5.7, 7.4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "net/websocket/websocket.h"

static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d}; /* of RFC 6455 5.7 */

static void reads_what_it_writes(void **state)
{
    static const uint64_t lengths[] = {0, 1, 125, 126, 127, 65535, 65536, (uint64_t)1 << 32, INT64_MAX};
    static const size_t sizes[] = {2, 2, 2, 4, 4, 4, 10, 10, 10};
    for (size_t i = 0; i < OS_ARRAY_LEN(lengths); i++) {
        for (int bits = 0; bits < 8; bits++) {
            const uint8_t *mask = bits & 4 ? key : NULL;
            uint8_t out[WEBSOCKET_HEADER_MAX];
            size_t n = websocket_frame_write(out, bits & 1, bits & 2, WEBSOCKET_BINARY, lengths[i], mask);
            assert_int_equal(n, sizes[i] + (mask ? 4 : 0));
            struct websocket_frame f;
            enum websocket_error e;
            for (size_t k = 0; k < n; k++)
                assert_int_equal(websocket_frame_read(out, k, &f, &e), 0);
            assert_int_equal(websocket_frame_read(out, n, &f, &e), n);
            assert_int_equal(f.fin, bits & 1);
            assert_int_equal(f.rsv1, (bits & 2) != 0);
            assert_int_equal(f.masked, mask != NULL);
            assert_int_equal(f.opcode, WEBSOCKET_BINARY);
            assert_true(f.length == lengths[i]);
            assert_int_equal(f.raw_n, n);
            assert_memory_equal(f.raw, out, n);
            if (mask)
                assert_memory_equal(f.mask, key, 4);
        }
    }
}

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static void refuses_headers(void **state)
{
    static const struct {
        const uint8_t bytes[14];
        size_t n;
        enum websocket_error error;
    } cases[] = {
        {{0x93}, 1, WEBSOCKET_ERROR_RSV}, /* with a bad opcode too */
        {{0x91}, 1, WEBSOCKET_ERROR_RSV},
        {{0xa1}, 1, WEBSOCKET_ERROR_RSV},
        {{0xc8}, 1, WEBSOCKET_ERROR_RSV}, /* RSV1 on control frames */
        {{0xc9}, 1, WEBSOCKET_ERROR_RSV},
        {{0x83}, 1, WEBSOCKET_ERROR_OPCODE},
        {{0x84}, 1, WEBSOCKET_ERROR_OPCODE},
        {{0x85}, 1, WEBSOCKET_ERROR_OPCODE},
        {{0x86}, 1, WEBSOCKET_ERROR_OPCODE},
        {{0x87}, 1, WEBSOCKET_ERROR_OPCODE},
        {{0x8b}, 1, WEBSOCKET_ERROR_OPCODE},
        {{0x8f}, 1, WEBSOCKET_ERROR_OPCODE},
        {{0x0b}, 1, WEBSOCKET_ERROR_OPCODE},
        {{0x08}, 1, WEBSOCKET_ERROR_CONTROL}, /* fragmented control frames */
        {{0x09}, 1, WEBSOCKET_ERROR_CONTROL},
        {{0x0a}, 1, WEBSOCKET_ERROR_CONTROL},
        {{0x89, 0xfe}, 2, WEBSOCKET_ERROR_CONTROL}, /* longer than 125 */
        {{0x88, 0xff}, 2, WEBSOCKET_ERROR_CONTROL},
        {{0x89, 126, 0, 5}, 4, WEBSOCKET_ERROR_CONTROL},
        {{0x81, 126, 0, 0}, 4, WEBSOCKET_ERROR_LENGTH}, /* not minimal */
        {{0x81, 126, 0, 125}, 4, WEBSOCKET_ERROR_LENGTH},
        {{0x81, 127, 0, 0, 0, 0, 0, 0, 0, 5}, 10, WEBSOCKET_ERROR_LENGTH},
        {{0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 10, WEBSOCKET_ERROR_LENGTH},
        {{0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, 10, WEBSOCKET_ERROR_LENGTH}, /* top bit */
        {{0x81, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 10, WEBSOCKET_ERROR_LENGTH},
    };
    struct websocket_frame f;
    enum websocket_error e;
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++) {
        assert_int_equal(websocket_frame_read(cases[i].bytes, cases[i].n, &f, &e), -1);
        assert_int_equal(e, cases[i].error);
    }
    assert_int_equal(websocket_frame_read(BYTES(0x81, 126, 0, 126), &f, &e), 4);
    assert_int_equal(websocket_frame_read(BYTES(0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0), &f, &e), 10);
    assert_int_equal(websocket_frame_read(NULL, 0, &f, &e), 0);
}

static void masks(void **state)
{
    uint8_t hello[] = {0x7f, 0x9f, 0x4d, 0x51, 0x58}; /* RFC 6455 5.7 */
    websocket_mask(hello, 5, key, 0);
    assert_memory_equal(hello, "Hello", 5);
    uint8_t plain[100], whole[100], parts[100];
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = whole[i] = parts[i] = (uint8_t)(i * 7);
    websocket_mask(whole, sizeof(whole), key, 0);
    for (size_t i = 0; i < sizeof(plain); i++)
        assert_int_equal(whole[i], plain[i] ^ key[i % 4]);
    for (size_t at = 0, n = 0; at < sizeof(parts); at += n, n++) {
        size_t k = n < sizeof(parts) - at ? n : sizeof(parts) - at;
        websocket_mask(parts + at, k, key, at);
    }
    assert_memory_equal(parts, whole, sizeof(whole));
    websocket_mask(plain, 0, key, UINT64_MAX);
}

static enum websocket_error close_code(unsigned code, const char *reason)
{
    uint8_t payload[200] = {(uint8_t)(code >> 8), (uint8_t)code};
    memcpy(payload + 2, reason, strlen(reason));
    return websocket_close_check(payload, 2 + strlen(reason));
}

static void checks_close_payloads(void **state)
{
    static const unsigned good[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010,
                                    1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999};
    static const unsigned bad[] = {0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535};
    for (size_t i = 0; i < OS_ARRAY_LEN(good); i++)
        assert_int_equal(close_code(good[i], "why \xe2\x82\xac"), WEBSOCKET_OK);
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++)
        assert_int_equal(close_code(bad[i], ""), WEBSOCKET_ERROR_CLOSE_PAYLOAD);
    assert_int_equal(websocket_close_check(NULL, 0), WEBSOCKET_OK);
    assert_int_equal(websocket_close_check((const uint8_t *)"\x03", 1), WEBSOCKET_ERROR_CLOSE_PAYLOAD);
    assert_int_equal(close_code(1000, "\xff"), WEBSOCKET_ERROR_UTF8);
    assert_int_equal(close_code(1000, "\xe2\x82"), WEBSOCKET_ERROR_UTF8);
    assert_int_equal(close_code(1000, "\xed\xa0\x80"), WEBSOCKET_ERROR_UTF8);
}

static void writes_close_frames(void **state)
{
    uint8_t out[WEBSOCKET_HEADER_MAX + WEBSOCKET_CONTROL_MAX];
    assert_int_equal(websocket_close_write(out, 1008, "", NULL), 4);
    assert_memory_equal(out, "\x88\x02\x03\xf0", 4);
    assert_int_equal(websocket_close_write(out, 1008, "no", key), 10);
    assert_memory_equal(out, "\x88\x84\x37\xfa\x21\x3d", 6);
    websocket_mask(out + 6, 4, key, 0);
    assert_memory_equal(out + 6, "\x03\xf0no", 4);
    char reason[200];
    memset(reason, 'x', sizeof(reason));
    memcpy(reason + 122, "\xe2\x82\xac", 3);
    reason[199] = '\0';
    size_t n = websocket_close_write(out, 1002, reason, NULL);
    assert_int_equal(n, 2 + 2 + 122);
    assert_int_equal(websocket_close_check(out + 2, n - 2), WEBSOCKET_OK);
}

static void maps_errors(void **state)
{
    assert_int_equal(websocket_error_code(WEBSOCKET_OK), 0);
    assert_string_equal(websocket_error_detail(WEBSOCKET_OK), "");
    assert_int_equal(websocket_error_code(WEBSOCKET_ERROR_UNMASKED), 1002);
    assert_string_equal(websocket_error_detail(WEBSOCKET_ERROR_UNMASKED), "unmasked_client_frame");
    assert_int_equal(websocket_error_code(WEBSOCKET_ERROR_UTF8), 1007);
    assert_string_equal(websocket_error_detail(WEBSOCKET_ERROR_UTF8), "invalid_utf8");
    assert_int_equal(websocket_error_code(WEBSOCKET_ERROR_TEXT_SIZE), 1009);
    assert_int_equal(websocket_error_code(WEBSOCKET_ERROR_MEMORY), 1013);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(refuses_headers),
        cmocka_unit_test(masks),
        cmocka_unit_test(checks_close_payloads),
        cmocka_unit_test(writes_close_frames),
        cmocka_unit_test(maps_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
