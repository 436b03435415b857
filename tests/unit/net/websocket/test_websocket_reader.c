/* One direction of a WebSocket session: messages, fragments, control frames between them, UTF-8, deflate,
 * limits (RFC 6455 5, 6, 7; RFC 7692; the cases are those that conformance suites try). Every input is given
 * whole and in small pieces, and must tell the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "core/arena.h"
#include "core/cleanup.h"
#include "core/str.h"
#include "net/websocket/websocket.h"

static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
static struct os_arena arena;

static int arena_teardown(void **state)
{
    os_arena_free(&arena);
    return 0;
}

/* --- building input --- */

static struct os_buf in;

static int input_setup(void **state)
{
    in = (struct os_buf){0};
    return 0;
}

static int input_teardown(void **state)
{
    os_buf_free(&in);
    return 0;
}

enum { FIN = 0x80, RSV1 = 0x40 };

static void frame_n(unsigned first, const uint8_t *mask, const void *payload, size_t n)
{
    uint8_t header[WEBSOCKET_HEADER_MAX];
    size_t header_n = websocket_frame_write(header, first & FIN, first & RSV1,
                                            (enum websocket_opcode)(first & 15), n, mask);
    os_buf_add(&in, header, header_n);
    os_buf_add(&in, payload, n);
    if (mask && n)
        websocket_mask(in.data + in.len - n, n, mask, 0);
}

static void frame(unsigned first, const char *payload)
{
    frame_n(first, key, payload, strlen(payload));
}

/* --- telling output --- */

static void tell_text(struct os_buf *b, const struct websocket_message *m)
{
    os_buf_addf(b, " text%s%s", m->single ? "" : "*", m->compressed ? "z" : "");
    if (m->n > 100)
        os_buf_addf(b, "(%zu)", m->n);
    else
        os_buf_addf(b, "(%s)", m->text);
}

/* Events of the input given in pieces of at most `piece` bytes. Passed on bytes are added to `passed`. */
static const char *tell(enum websocket_side side, bool deflate, size_t piece, struct os_buf *passed)
{
    cleanup_buf struct os_buf b = {0};
    struct websocket_reader *r = websocket_reader_new(side, deflate);
    enum websocket_event event = WEBSOCKET_MORE;
    struct websocket_step s;
    for (size_t at = 0; at < in.len && event != WEBSOCKET_FAILED;) {
        size_t end = in.len - at < piece ? in.len : at + piece;
        do {
            event = websocket_reader_step(r, (const uint8_t *)in.data + at, end - at, &s);
            at += s.taken;
            os_buf_add(passed, s.raw, s.raw_n);
            if (event == WEBSOCKET_TEXT_BEGIN)
                os_buf_adds(&b, " begin");
            if (event == WEBSOCKET_TEXT_BEGIN)
                assert_true(websocket_reader_in_text(r));
            if (event == WEBSOCKET_MESSAGE) {
                tell_text(&b, &s.message);
                assert_true(os_utf8_valid(s.message.text, s.message.n));
                if (s.message.single)
                    websocket_message_original(&s.message, passed);
            }
            if (event == WEBSOCKET_BINARY_BEGIN)
                os_buf_addf(&b, " bin%s(%d,%zu)", s.frame.fin ? "" : "-", s.frame.opcode,
                            (size_t)s.frame.length);
            if (event == WEBSOCKET_CONTROL)
                os_buf_addf(&b, " ctl(%d,%zu)", s.frame.opcode, (size_t)s.frame.length);
            if (event == WEBSOCKET_FAILED)
                os_buf_addf(&b, " fail(%u,%s)", websocket_error_code(s.error),
                            websocket_error_detail(s.error));
        } while (event != WEBSOCKET_MORE && event != WEBSOCKET_FAILED);
        if (event == WEBSOCKET_MORE)
            assert_int_equal(at, end);
    }
    if (event == WEBSOCKET_FAILED) /* for good */
        assert_int_equal(websocket_reader_step(r, (const uint8_t *)"\x81\x80\1\2\3\4", 6, &s),
                         WEBSOCKET_FAILED);
    websocket_reader_free(r);
    return os_arena_strdup(&arena, os_buf_str(&b));
}

static const char *told(enum websocket_side side, bool deflate)
{
    static const size_t pieces[] = {1, 2, 3, 7, 1000};
    cleanup_buf struct os_buf whole_passed = {0};
    const char *whole = tell(side, deflate, SIZE_MAX, &whole_passed);
    for (size_t i = in.len > 100000 ? 4 : 0; i < OS_ARRAY_LEN(pieces); i++) {
        cleanup_buf struct os_buf passed = {0};
        assert_string_equal(tell(side, deflate, pieces[i], &passed), whole);
        assert_int_equal(passed.len, whole_passed.len);
        if (passed.len)
            assert_memory_equal(passed.data, whole_passed.data, passed.len);
    }
    os_buf_clear(&in);
    return *whole ? whole + 1 : whole;
}

static const char *client(void)
{
    return told(WEBSOCKET_FROM_CLIENT, false);
}

static const char *deflated(void)
{
    return told(WEBSOCKET_FROM_CLIENT, true);
}

/* --- cases --- */

static void reads_text(void **state)
{
    frame(FIN | WEBSOCKET_TEXT, "Hello");
    frame(FIN | WEBSOCKET_TEXT, "");
    frame(FIN | WEBSOCKET_TEXT, "\xce\xba\xe1\xbd\xb9");
    assert_string_equal(client(), "begin text(Hello) begin text() begin text(\xce\xba\xe1\xbd\xb9)");
    frame_n(FIN | WEBSOCKET_TEXT, NULL, "Hello", 5);
    assert_string_equal(told(WEBSOCKET_FROM_SERVER, false), "begin text(Hello)");
    char *big = os_arena_alloc(&arena, 70001);
    static const size_t sizes[] = {125, 126, 127, 128, 65535, 65536, 70000};
    memset(big, '*', 70000);
    for (size_t i = 0; i < OS_ARRAY_LEN(sizes); i++) {
        frame_n(FIN | WEBSOCKET_TEXT, key, big, sizes[i]);
        assert_string_equal(client(), os_arena_printf(&arena, "begin text(%zu)", sizes[i]));
    }
}

static void passes_original_bytes(void **state)
{
    frame(FIN | WEBSOCKET_TEXT, "Hello");
    frame(FIN | WEBSOCKET_PING, "x");
    frame(WEBSOCKET_BINARY, "ab");
    frame(FIN | WEBSOCKET_CONTINUATION, "c");
    frame(FIN | WEBSOCKET_CLOSE, "\x03\xe8");
    cleanup_buf struct os_buf passed = {0};
    tell(WEBSOCKET_FROM_CLIENT, false, 2, &passed);
    assert_int_equal(passed.len, in.len);
    assert_memory_equal(passed.data, in.data, in.len);
}

static void assembles_fragments(void **state)
{
    frame(WEBSOCKET_TEXT, "Hel");
    frame(FIN | WEBSOCKET_CONTINUATION, "lo");
    assert_string_equal(client(), "begin text*(Hello)");
    frame(WEBSOCKET_TEXT, "");
    frame(WEBSOCKET_CONTINUATION, "");
    frame(FIN | WEBSOCKET_CONTINUATION, "");
    assert_string_equal(client(), "begin text*()");
    frame(WEBSOCKET_TEXT, "a");
    frame(FIN | WEBSOCKET_PING, "between");
    frame(WEBSOCKET_CONTINUATION, "b");
    frame(FIN | WEBSOCKET_PONG, "");
    frame(FIN | WEBSOCKET_CONTINUATION, "c");
    frame(FIN | WEBSOCKET_TEXT, "d");
    assert_string_equal(client(), "begin ctl(9,7) ctl(10,0) text*(abc) begin text(d)");
}

static void refuses_wrong_fragments(void **state)
{
    const char *failed = "fail(1002,invalid_fragmentation)";
    frame(FIN | WEBSOCKET_CONTINUATION, "x");
    assert_string_equal(client(), failed);
    frame(WEBSOCKET_CONTINUATION, "x");
    assert_string_equal(client(), failed);
    frame(WEBSOCKET_TEXT, "a");
    frame(FIN | WEBSOCKET_TEXT, "b");
    assert_string_equal(client(), "begin fail(1002,invalid_fragmentation)");
    frame(WEBSOCKET_TEXT, "a");
    frame(FIN | WEBSOCKET_BINARY, "b");
    assert_string_equal(client(), "begin fail(1002,invalid_fragmentation)");
    frame(WEBSOCKET_BINARY, "a");
    frame(WEBSOCKET_TEXT, "b");
    assert_string_equal(client(), "bin-(2,1) fail(1002,invalid_fragmentation)");
    frame(WEBSOCKET_TEXT, "a");
    frame(FIN | WEBSOCKET_CONTINUATION, "b");
    frame(FIN | WEBSOCKET_CONTINUATION, "c");
    assert_string_equal(client(), "begin text*(ab) fail(1002,invalid_fragmentation)");
    frame(WEBSOCKET_TEXT, "a");
    frame(FIN | WEBSOCKET_PING, "");
    frame(WEBSOCKET_TEXT, "b");
    assert_string_equal(client(), "begin ctl(9,0) fail(1002,invalid_fragmentation)");
}

static void hands_binary_through(void **state)
{
    frame(FIN | WEBSOCKET_BINARY, "\xff\xfe");
    frame(FIN | WEBSOCKET_BINARY, "");
    frame(WEBSOCKET_BINARY, "a");
    frame(FIN | WEBSOCKET_PING, "p");
    frame(WEBSOCKET_CONTINUATION, "");
    frame(FIN | WEBSOCKET_CONTINUATION, "bc");
    frame(FIN | WEBSOCKET_TEXT, "t");
    assert_string_equal(client(), "bin(2,2) bin(2,0) bin-(2,1) ctl(9,1) bin-(0,0) bin(0,2) begin text(t)");
    frame(FIN | RSV1 | WEBSOCKET_BINARY, "zzz");
    assert_string_equal(deflated(), "bin(2,3)");
}

static void holds_both_sides_to_their_mask(void **state)
{
    static const unsigned firsts[] = {FIN | WEBSOCKET_TEXT, FIN | WEBSOCKET_BINARY, FIN | WEBSOCKET_PING,
                                      FIN | WEBSOCKET_CLOSE};
    for (size_t i = 0; i < OS_ARRAY_LEN(firsts); i++) {
        frame_n(firsts[i], NULL, "", 0);
        assert_string_equal(client(), "fail(1002,unmasked_client_frame)");
        frame_n(firsts[i], key, "", 0);
        assert_string_equal(told(WEBSOCKET_FROM_SERVER, false), "fail(1002,protocol_error)");
    }
}

static void refuses_reserved_bits(void **state)
{
    frame(FIN | RSV1 | WEBSOCKET_TEXT, "x");
    assert_string_equal(client(), "fail(1002,rsv_bits)");
    frame(FIN | RSV1 | WEBSOCKET_BINARY, "x");
    assert_string_equal(client(), "fail(1002,rsv_bits)");
    frame(FIN | RSV1 | WEBSOCKET_PING, "x");
    assert_string_equal(deflated(), "fail(1002,rsv_bits)");
    frame(WEBSOCKET_TEXT, "a");
    frame(FIN | RSV1 | WEBSOCKET_CONTINUATION, "x");
    assert_string_equal(deflated(), "begin fail(1002,rsv_bits)");
    frame(WEBSOCKET_BINARY, "a");
    frame(RSV1 | WEBSOCKET_CONTINUATION, "x");
    assert_string_equal(deflated(), "bin-(2,1) fail(1002,rsv_bits)");
    os_buf_add(&in, "\xa1\x80\0\0\0\0", 6);
    assert_string_equal(deflated(), "fail(1002,rsv_bits)");
    os_buf_add(&in, "\x91\x80\0\0\0\0", 6);
    assert_string_equal(deflated(), "fail(1002,rsv_bits)");
    os_buf_add(&in, "\x83\x80\0\0\0\0", 6);
    assert_string_equal(client(), "fail(1002,reserved_opcode)");
    os_buf_add(&in, "\x8f\x80\0\0\0\0", 6);
    assert_string_equal(client(), "fail(1002,reserved_opcode)");
    os_buf_add(&in, "\x81\xfe\0\x7d\0\0\0\0", 8);
    assert_string_equal(client(), "fail(1002,invalid_length)");
    os_buf_add(&in, "\x09\x80\0\0\0\0", 6);
    assert_string_equal(client(), "fail(1002,invalid_control_frame)");
}

static void checks_utf8_of_whole_messages(void **state)
{
    const char *failed = "begin fail(1007,invalid_utf8)";
    static const char *const bad[] = {"\x80",
                                      "\xc3",
                                      "\xc0\xaf",
                                      "\xe0\x80\xaf",
                                      "\xf4\x90\x80\x80",
                                      "\xed\xa0\x80",
                                      "\xff",
                                      "a\xe2\x82",
                                      "\xf8\x88\x80\x80\x80",
                                      ("\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80"
                                       "edited")};
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++) {
        frame(FIN | WEBSOCKET_TEXT, bad[i]);
        assert_string_equal(client(), failed);
    }
    frame(WEBSOCKET_TEXT, "\xe2");
    frame(WEBSOCKET_CONTINUATION, "\x82");
    frame(FIN | WEBSOCKET_PING, "");
    frame(FIN | WEBSOCKET_CONTINUATION, "\xac");
    assert_string_equal(client(), "begin ctl(9,0) text*(\xe2\x82\xac)");
    frame(WEBSOCKET_TEXT, "\xe2\x82");
    frame(FIN | WEBSOCKET_CONTINUATION, "a");
    assert_string_equal(client(), failed);
    frame_n(FIN | WEBSOCKET_TEXT, key, "a\0b", 3);
    assert_string_equal(client(), "begin text(a)"); /* NUL is a character; the text goes on behind it */
}

static void passes_control_frames(void **state)
{
    char payload[126];
    memset(payload, 0xfe, sizeof(payload));
    frame_n(FIN | WEBSOCKET_PING, key, payload, 125);
    frame_n(FIN | WEBSOCKET_PONG, key, payload, 0);
    assert_string_equal(client(), "ctl(9,125) ctl(10,0)");
    os_buf_add(&in, "\x89\xfe\0\x7e", 4);
    assert_string_equal(client(), "fail(1002,invalid_control_frame)");
    frame(FIN | WEBSOCKET_PONG, "unsolicited");
    frame(FIN | WEBSOCKET_CLOSE, "");
    assert_string_equal(client(), "ctl(10,11) ctl(8,0)");
}

static void checks_close_frames(void **state)
{
    frame(FIN | WEBSOCKET_CLOSE, "\x03\xe8Hello");
    assert_string_equal(client(), "ctl(8,7)");
    frame(FIN | WEBSOCKET_CLOSE, "\x03");
    assert_string_equal(client(), "fail(1002,invalid_close_frame)");
    static const unsigned bad[] = {0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535};
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++) {
        frame_n(FIN | WEBSOCKET_CLOSE, key, (const uint8_t[]){(uint8_t)(bad[i] >> 8), (uint8_t)bad[i]}, 2);
        assert_string_equal(client(), "fail(1002,invalid_close_frame)");
    }
    frame(FIN | WEBSOCKET_CLOSE, "\x03\xe8\xff");
    assert_string_equal(client(), "fail(1007,invalid_utf8)");
    frame(FIN | WEBSOCKET_CLOSE, "\x03\xe8");
    frame(FIN | WEBSOCKET_PING, "");
    assert_string_equal(client(), "ctl(8,2) fail(1002,protocol_error)");
    frame(WEBSOCKET_TEXT, "a");
    frame(FIN | WEBSOCKET_CLOSE, "");
    frame(FIN | WEBSOCKET_CONTINUATION, "b");
    assert_string_equal(client(), "begin ctl(8,0) fail(1002,protocol_error)");
}

/* --- permessage-deflate --- */

/* Raw deflate with the end marker taken off, or (final) one that says it is the last block. */
static size_t squeeze(const char *text, size_t n, bool final, uint8_t *out, size_t cap)
{
    z_stream z = {.next_in = (Bytef *)text, .avail_in = (uInt)n, .next_out = out, .avail_out = (uInt)cap};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    int rc = deflate(&z, final ? Z_FINISH : Z_SYNC_FLUSH);
    assert_int_equal(rc, final ? Z_STREAM_END : Z_OK);
    size_t made = cap - z.avail_out - (final ? 0 : 4);
    deflateEnd(&z);
    return made;
}

static void inflates(void **state)
{
    /* The examples of RFC 7692 7.2.3. */
    frame_n(FIN | RSV1 | WEBSOCKET_TEXT, key, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    assert_string_equal(deflated(), "begin text*z(Hello)");
    frame_n(RSV1 | WEBSOCKET_TEXT, key, "\xf2\x48\xcd", 3);
    frame(FIN | WEBSOCKET_PING, "");
    frame_n(FIN | WEBSOCKET_CONTINUATION, key, "\xc9\xc9\x07\x00", 4);
    assert_string_equal(deflated(), "begin ctl(9,0) text*z(Hello)");
    frame_n(FIN | RSV1 | WEBSOCKET_TEXT, key, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11);
    assert_string_equal(deflated(), "begin text*z(Hello)");
    frame_n(FIN | RSV1 | WEBSOCKET_TEXT, key, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8); /* BFINAL */
    assert_string_equal(deflated(), "begin text*z(Hello)");
    frame_n(FIN | RSV1 | WEBSOCKET_TEXT, key, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13);
    assert_string_equal(deflated(), "begin text*z(Hello)");
    frame_n(FIN | RSV1 | WEBSOCKET_TEXT, key, "\x00", 1);
    frame(FIN | WEBSOCKET_TEXT, "plain");
    assert_string_equal(deflated(), "begin text*z() begin text(plain)");
}

static void refuses_bad_deflate(void **state)
{
    const char *failed = "begin fail(1002,protocol_error)";
    frame_n(FIN | RSV1 | WEBSOCKET_TEXT, key, "\xff\xff\xff", 3);
    assert_string_equal(deflated(), failed);
    for (size_t n = 0; n < 6; n++) { /* cut short */
        frame_n(FIN | RSV1 | WEBSOCKET_TEXT, key, "\xf2\x48\xcd\xc9\xc9\x07\x00", n);
        assert_string_equal(deflated(), failed);
    }
    /* context of the message before */
    frame_n(FIN | RSV1 | WEBSOCKET_TEXT, key, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    frame_n(FIN | RSV1 | WEBSOCKET_TEXT, key, "\xf2\x00\x11\x00\x00", 5);
    assert_string_equal(deflated(), "begin text*z(Hello) begin fail(1002,protocol_error)");
    uint8_t out[100];
    size_t n = squeeze("\xff\xfe", 2, false, out, sizeof(out));
    frame_n(FIN | RSV1 | WEBSOCKET_TEXT, key, out, n);
    assert_string_equal(deflated(), "begin fail(1007,invalid_utf8)");
    n = squeeze("Hello", 5, true, out, sizeof(out)); /* without the 0x00 behind the last block */
    frame_n(FIN | RSV1 | WEBSOCKET_TEXT, key, out, n);
    assert_string_equal(deflated(), failed);
}

static void reads_on_behind_last_blocks(void **state)
{
    uint8_t out[200];
    size_t n = squeeze("one ", 4, true, out, sizeof(out));
    n += squeeze("two ", 4, true, out + n, sizeof(out) - n);
    n += squeeze("three", 5, false, out + n, sizeof(out) - n);
    frame_n(FIN | RSV1 | WEBSOCKET_TEXT, key, out, n);
    assert_string_equal(deflated(), "begin text*z(one two three)");
}

static void bounds_what_is_inflated(void **state)
{
    size_t cap = 100000;
    char *text = calloc(1, OS_WEBSOCKET_TEXT + 1);
    uint8_t *out = malloc(cap);
    memset(text, ' ', OS_WEBSOCKET_TEXT + 1);
    frame_n(FIN | RSV1 | WEBSOCKET_TEXT, key, out, squeeze(text, OS_WEBSOCKET_TEXT, false, out, cap));
    assert_string_equal(deflated(), os_arena_printf(&arena, "begin text*z(%d)", OS_WEBSOCKET_TEXT));
    frame_n(FIN | RSV1 | WEBSOCKET_TEXT, key, out, squeeze(text, OS_WEBSOCKET_TEXT + 1, false, out, cap));
    assert_string_equal(deflated(), "begin fail(1009,invalid_length)");
    free(out);
    free(text);
}

/* --- limits --- */

static void bounds_text(void **state)
{
    char *text = malloc(OS_WEBSOCKET_TEXT + 1);
    memset(text, 'x', OS_WEBSOCKET_TEXT + 1);
    frame_n(FIN | WEBSOCKET_TEXT, key, text, OS_WEBSOCKET_TEXT);
    assert_string_equal(client(), os_arena_printf(&arena, "begin text(%d)", OS_WEBSOCKET_TEXT));
    uint8_t header[WEBSOCKET_HEADER_MAX]; /* refused before any payload */
    os_buf_add(&in, header,
               websocket_frame_write(header, true, false, WEBSOCKET_TEXT, OS_WEBSOCKET_TEXT + 1, key));
    assert_string_equal(client(), "fail(1009,invalid_length)");
    os_buf_add(&in, header, websocket_frame_write(header, true, true, WEBSOCKET_TEXT, INT64_MAX, key));
    assert_string_equal(deflated(), "fail(1009,invalid_length)");
    frame_n(WEBSOCKET_TEXT, key, text, OS_WEBSOCKET_TEXT);
    frame_n(WEBSOCKET_CONTINUATION, key, "", 0);
    frame_n(FIN | WEBSOCKET_CONTINUATION, key, "x", 1);
    assert_string_equal(client(), "begin fail(1009,invalid_length)");
    frame_n(WEBSOCKET_TEXT, key, "x", 1);
    os_buf_add(&in, header,
               websocket_frame_write(header, true, false, WEBSOCKET_CONTINUATION, INT64_MAX, key));
    assert_string_equal(client(), "begin fail(1009,invalid_length)");
    free(text);
}

static void bounds_fragments(void **state)
{
    for (size_t n = OS_WEBSOCKET_FRAGMENTS; n <= OS_WEBSOCKET_FRAGMENTS + 1; n++) {
        frame(WEBSOCKET_TEXT, "");
        for (size_t i = 2; i < n; i++)
            frame(WEBSOCKET_CONTINUATION, "");
        frame(FIN | WEBSOCKET_CONTINUATION, "");
        assert_string_equal(client(), n > OS_WEBSOCKET_FRAGMENTS ? "begin fail(1002,invalid_fragmentation)"
                                                                 : "begin text*()");
    }
}

static void bounds_binary_frames(void **state)
{
    uint8_t header[WEBSOCKET_HEADER_MAX];
    os_buf_add(&in, header,
               websocket_frame_write(header, true, false, WEBSOCKET_BINARY, OS_WEBSOCKET_BINARY_FRAME, key));
    os_buf_adds(&in, "some of it");
    assert_string_equal(client(), "bin(2,16777216)");
    os_buf_add(
        &in, header,
        websocket_frame_write(header, true, false, WEBSOCKET_BINARY, OS_WEBSOCKET_BINARY_FRAME + 1, key));
    assert_string_equal(client(), "fail(1002,invalid_length)");
}

/* --- writing --- */

static void writes_messages(void **state)
{
    char *text = os_arena_alloc(&arena, 100001);
    for (size_t i = 0; i < 100000; i++)
        text[i] = (char)('a' + i * i % 23);
    static const size_t sizes[] = {0, 1, 125, 126, 65536, 100000};
    for (size_t i = 0; i < 4 * OS_ARRAY_LEN(sizes); i++) {
        bool compressed = i & 1, masked = i & 2;
        size_t n = sizes[i / 4];
        struct os_buf out = {0};
        assert_int_equal(websocket_message_write(&out, text, n, compressed, masked ? key : NULL),
                         WEBSOCKET_OK);
        struct websocket_reader *r =
            websocket_reader_new(masked ? WEBSOCKET_FROM_CLIENT : WEBSOCKET_FROM_SERVER, compressed);
        struct websocket_step s;
        const uint8_t *p = (const uint8_t *)out.data;
        assert_int_equal(websocket_reader_step(r, p, out.len, &s), WEBSOCKET_TEXT_BEGIN);
        size_t at = s.taken;
        assert_int_equal(websocket_reader_step(r, p + at, out.len - at, &s), WEBSOCKET_MESSAGE);
        assert_int_equal(at + s.taken, out.len);
        assert_int_equal(s.message.n, n);
        assert_memory_equal(s.message.text, text, n);
        assert_int_equal(s.message.compressed, compressed);
        assert_false(websocket_reader_in_text(r));
        websocket_reader_free(r);
        os_buf_free(&out);
    }
    struct os_buf out = {.max = 10};
    assert_int_equal(websocket_message_write(&out, text, 100, false, key), WEBSOCKET_OK);
    assert_true(out.failed);
    os_buf_free(&out);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, input_setup, input_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(reads_text),
        CASE(passes_original_bytes),
        CASE(assembles_fragments),
        CASE(refuses_wrong_fragments),
        CASE(hands_binary_through),
        CASE(holds_both_sides_to_their_mask),
        CASE(refuses_reserved_bits),
        CASE(checks_utf8_of_whole_messages),
        CASE(passes_control_frames),
        CASE(checks_close_frames),
        CASE(inflates),
        CASE(refuses_bad_deflate),
        CASE(reads_on_behind_last_blocks),
        CASE(bounds_what_is_inflated),
        CASE(bounds_text),
        CASE(bounds_fragments),
        CASE(bounds_binary_frames),
        CASE(writes_messages),
    };
    return cmocka_run_group_tests(tests, NULL, arena_teardown);
}
