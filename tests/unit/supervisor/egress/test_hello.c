/* The agent's ClientHello: offers, server name, and what the upstream is offered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "supervisor/egress/hello.h"

#define BYTES(s) (const unsigned char *)(s), sizeof(s) - 1

static void offers_what_both_know(void **state)
{
    static const struct {
        const char *alpn;
        size_t n;
        const char *offered;
    } cases[] = {
        {"", 0, "\x08http/1.1"}, /* no ALPN */
        {"\0\x09\x08http/1.1", 11, "\x08http/1.1"},
        {"\0\x03\x02h2", 5, "\x02h2"},
        {"\0\x0c\x08http/1.1\x02h2", 14, "\x02h2\x08http/1.1"},
        {"\0\x0d\x02h2\x09http/1.1x", 15, "\x02h2"},
        {"\0\x04\x03h2c", 6, "\x08http/1.1"},
        {"\0\x04\x02h2\x05", 6, "\x02h2"},   /* cut off behind a name */
        {"\0\x09\x02h2", 5, "\x08http/1.1"}, /* length is wrong */
        {"\0", 1, "\x08http/1.1"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++) {
        struct egress_hello h = {.host = "api.test"};
        unsigned char out[HELLO_OFFERS];
        hello_read_alpn(&h, (const unsigned char *)cases[i].alpn, cases[i].n);
        unsigned n = hello_offers(&h, out);
        assert_int_equal(n, strlen(cases[i].offered));
        assert_memory_equal(out, cases[i].offered, n);
    }
}

static bool accepts(const unsigned char *sni, size_t n)
{
    struct egress_hello h = {.host = "api.test"};
    hello_read_sni(&h, sni, n);
    return !h.wrong_name;
}

static void names_must_be_the_authorised_one(void **state)
{
    assert_true(accepts(BYTES("\0\x0b\0\0\x08"
                              "api.test")));
    assert_true(accepts(BYTES("\0\x0c\0\0\x09"
                              "API.test.")));
    assert_false(accepts(BYTES("\0\x0b\0\0\x08"
                               "app.test")));
    assert_false(accepts(BYTES("\0\x0d\0\0\x0a"
                               "api.test\0x")));
    assert_false(accepts(BYTES("\0\x0b\x01\0\x08"
                               "api.test"))); /* no host name */
    assert_false(accepts(BYTES("\0\x0b\0\0\x07"
                               "api.test")));
    assert_false(accepts(BYTES("\0\x0c\0\0\x08"
                               "api.test")));
    assert_false(accepts(BYTES("\0\x03\0\0")));
    assert_false(accepts(BYTES("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offers_what_both_know),
        cmocka_unit_test(names_must_be_the_authorised_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
