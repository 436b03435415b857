/* Unit tests of src/core: bounds, encodings, numbers, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/arena.h"
#include "core/buf.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/encode.h"
#include "core/error.h"
#include "core/id.h"
#include "core/str.h"
#include "core/tar_header.h"

static void buffer_refuses_to_pass_its_maximum(void **state)
{
    struct os_buf b = {.max = 8};
    os_buf_adds(&b, "12345678");
    assert_false(b.failed);
    os_buf_addc(&b, '9');
    assert_true(b.failed);
    assert_string_equal(os_buf_str(&b), "12345678");
    assert_null(os_buf_take(&b));
    os_buf_clear(&b);
    os_buf_addf(&b, "%d", 42);
    assert_string_equal(os_buf_str(&b), "42");
    os_buf_free(&b);
}

static void buffer_consumes_from_the_front(void **state)
{
    struct os_buf b = {0};
    os_buf_adds(&b, "abcdef");
    os_buf_consume(&b, 2);
    assert_string_equal(os_buf_str(&b), "cdef");
    os_buf_consume(&b, 99);
    assert_int_equal(b.len, 0);
    os_buf_free(&b);
}

static void numbers_are_digits_only(void **state)
{
    uint64_t v = 7;
    assert_true(os_str_u64("65535", 65535, &v));
    assert_int_equal(v, 65535);
    assert_false(os_str_u64("65536", 65535, &v));
    assert_false(os_str_u64("+5", UINT64_MAX, &v));
    assert_false(os_str_u64("", UINT64_MAX, &v));
    assert_false(os_str_u64(" 5", UINT64_MAX, &v));
    assert_true(os_str_u64("18446744073709551615", UINT64_MAX, &v));
    assert_false(os_str_u64("18446744073709551616", UINT64_MAX, &v));
}

static void utf8_is_strict(void **state)
{
    assert_true(os_utf8_valid("gr\xc3\xbc\xc3\x9f", 6));
    assert_false(os_utf8_valid("\xc0\xaf", 2));         /* overlong '/' */
    assert_false(os_utf8_valid("\xed\xa0\x80", 3));     /* surrogate */
    assert_false(os_utf8_valid("\xf4\x90\x80\x80", 4)); /* above U+10FFFF */
    assert_false(os_utf8_valid("\xe2\x82", 2));         /* cut short */
}

static void base64_follows_rfc_4648(void **state)
{
    static const struct {
        const char *plain, *text;
    } vectors[] = {{"", ""},
                   {"f", "Zg=="},
                   {"fo", "Zm8="},
                   {"foo", "Zm9v"},
                   {"foob", "Zm9vYg=="},
                   {"fooba", "Zm9vYmE="},
                   {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        struct os_buf b = {0}, back = {0};
        os_base64_encode(&b, vectors[i].plain, strlen(vectors[i].plain));
        assert_string_equal(os_buf_str(&b), vectors[i].text);
        os_buf_clear(&b);
        os_base64url_encode(&b, vectors[i].plain, strlen(vectors[i].plain));
        assert_true(os_base64url_decode(&back, os_buf_str(&b), b.len));
        assert_string_equal(os_buf_str(&back), vectors[i].plain);
        os_buf_free(&b);
        os_buf_free(&back);
    }
    struct os_buf out = {0};
    assert_false(os_base64url_decode(&out, "Zg*", 3));
    assert_false(os_base64url_decode(&out, "Zh", 2)); /* stray low bits */
    os_buf_free(&out);
}

static void uuids_are_version_4(void **state)
{
    char a[OS_UUID_LEN], b[OS_UUID_LEN];
    os_uuid(a);
    os_uuid(b);
    assert_int_equal(strlen(a), 36);
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
    assert_string_not_equal(a, b);
}

static void errors_carry_code_and_context(void **state)
{
    struct os_error e = {0};
    assert_int_equal(os_error_set(&e, OS_NOT_FOUND, "no %s", "file"), -1);
    os_error_wrap(&e, "loading '%s'", "x");
    assert_int_equal(e.code, OS_NOT_FOUND);
    assert_string_equal(os_error_text(&e), "loading 'x': no file");
    os_error_clear(&e);
    os_error_sys(&e, 2, "open");
    assert_string_equal(os_error_text(&e), "open: No such file or directory");
    os_error_clear(&e);
}

static void lists_split_and_join(void **state)
{
    struct os_strv l = {0};
    os_strv_split(&l, "a,,b", ',');
    assert_int_equal(l.n, 3);
    assert_string_equal(l.v[1], "");
    char *j = os_strv_join(&l, "-");
    assert_string_equal(j, "a--b");
    free(j);
    os_strv_free(&l);
}

static void arena_memory_is_zeroed_and_aligned(void **state)
{
    struct os_arena a = {0};
    for (size_t n = 1; n < 9000; n = n * 3 + 1) {
        unsigned char *p = os_arena_alloc(&a, n);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, n);
    }
    assert_string_equal(os_arena_printf(&a, "%s-%d", "x", 3), "x-3");
    os_arena_free(&a);
}

static void times_have_the_published_forms(void **state)
{
    char out[OS_CLOCK_TEXT_LEN];
    assert_string_equal(os_clock_text(0, out), "1970-01-01 00:00:00");
    assert_string_equal(os_clock_text(-1, out), "-");
    assert_string_equal(os_clock_iso(1700000000123, out), "2023-11-14T22:13:20.123Z");
}

static void tar_numbers_are_octal_or_binary(void **state)
{
    static const struct {
        const char *field;
        size_t n;
        bool good;
        uint64_t want;
    } cases[] = {
        {"0000644\0", 8, true, 0644},
        {"    755 ", 8, true, 0755},
        {"\0\0\0\0\0\0\0", 8, true, 0},
        {"77777777777\0", 12, true, 077777777777},
        {"1777777777777777777777 ", 23, true, UINT64_MAX},
        {"2000000000000000000000 ", 23, false, 0}, /* beyond 64 bits */
        {"\x80\0\0\0\0\0\0\0\0\0\1\0", 12, true, 256},
        {"\x80\0\0\1\0\0\0\0\0\0\0\0", 12, false, 0},      /* beyond 64 bits */
        {"\xff\xff\xff\xff\xff\xff\xff\xff", 8, false, 0}, /* negative */
        {"0000x44\0", 8, false, 0},
        {"0000648\0", 8, false, 0},
        {"64 4    ", 8, false, 0},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++) {
        uint64_t got = 0;
        assert_int_equal(os_tar_number(cases[i].field, cases[i].n, &got), cases[i].good);
        if (cases[i].good)
            assert_true(got == cases[i].want);
    }
}

static void tar_checksums_are_checked(void **state)
{
    char block[OS_TAR_BLOCK] = "name";
    unsigned sum = 8 * ' ';
    for (size_t i = 0; i < sizeof(block); i++)
        sum += (unsigned char)block[i];
    snprintf(block + 148, 8, "%06o", sum);
    assert_true(os_tar_checksum_good(block));
    block[0]++;
    assert_false(os_tar_checksum_good(block));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_refuses_to_pass_its_maximum),
        cmocka_unit_test(buffer_consumes_from_the_front),
        cmocka_unit_test(numbers_are_digits_only),
        cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(base64_follows_rfc_4648),
        cmocka_unit_test(uuids_are_version_4),
        cmocka_unit_test(errors_carry_code_and_context),
        cmocka_unit_test(lists_split_and_join),
        cmocka_unit_test(arena_memory_is_zeroed_and_aligned),
        cmocka_unit_test(times_have_the_published_forms),
        cmocka_unit_test(tar_numbers_are_octal_or_binary),
        cmocka_unit_test(tar_checksums_are_checked),
    };
    return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
