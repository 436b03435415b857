/* DNS queries taken and refused, and the bytes of answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the above first */
#include <cmocka.h>
#include <string.h>

#include "net/dnswire/dnswire.h"

struct message {
    uint8_t p[9000];
    size_t n;
};

static void add(struct message *m, const void *data, size_t n)
{
    memcpy(m->p + m->n, data, n);
    m->n += n;
}

#define ADD(m, text) add(m, text, sizeof(text) - 1)

static struct message query(const char *question, size_t n)
{
    struct message m = {0};
    ADD(&m, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00");
    add(&m, question, n);
    return m;
}

#define QUERY(text) query(text, sizeof(text) - 1)
#define API                                                                                                  \
    "\x03"                                                                                                   \
    "aPi"                                                                                                    \
    "\x04"                                                                                                   \
    "test"                                                                                                   \
    "\x00"

static enum dnswire_rcode parse(const struct message *m, struct dnswire_query *q)
{
    enum dnswire_rcode rcode = DNSWIRE_REFUSED;
    assert_true(dnswire_parse(m->p, m->n, q, &rcode));
    return rcode;
}

static void plain_question(void **state)
{
    struct dnswire_query q;
    struct message m = QUERY(API "\x00\x01\x00\x01");
    assert_int_equal(parse(&m, &q), DNSWIRE_NOERROR);
    assert_int_equal(q.id, 0x1234);
    assert_true(q.recursion_desired);
    assert_false(q.edns);
    assert_string_equal(q.name, "api.test");
    assert_int_equal(q.type, DNSWIRE_A);
    assert_int_equal(q.question_len, 14);
}

static void question_with_edns(void **state)
{
    struct dnswire_query q;
    struct message m =
        QUERY(API "\x00\x1c\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x04\x00\x0c\x00\x00");
    m.p[11] = 1;
    assert_int_equal(parse(&m, &q), DNSWIRE_NOERROR);
    assert_true(q.edns);
    assert_int_equal(q.type, DNSWIRE_AAAA);
    m.p[32] = 1; /* version */
    assert_int_equal(parse(&m, &q), DNSWIRE_BADVERS);
    m.p[32] = 0;
    m.p[28] = 30; /* another type */
    assert_int_equal(parse(&m, &q), DNSWIRE_FORMERR);
}

static void what_is_no_query_gets_no_answer(void **state)
{
    struct dnswire_query q;
    enum dnswire_rcode rcode;
    struct message m = QUERY(API "\x00\x01\x00\x01");
    assert_false(dnswire_parse(m.p, 11, &q, &rcode));
    m.p[2] |= 0x80;
    assert_false(dnswire_parse(m.p, m.n, &q, &rcode));
}

static void malformed_queries(void **state)
{
    static const struct {
        const char *p;
        size_t n;
    } bad[] = {
#define BAD(text) {text, sizeof(text) - 1}
        BAD(API "\x00\x01\x00"),      /* cut */
        BAD(API "\x00\x01\x00\x01x"), /* more behind it */
        BAD("\x03"
            "api\xc0\x0c\x00\x01\x00\x01"), /* pointer */
        BAD("\x00\x00\x01\x00\x01"),        /* root */
        BAD("\x01"
            "1\x01"
            "2\x01"
            "3\x01"
            "4\x00\x00\x01\x00\x01"), /* address */
        BAD("\x03"
            "a b\x00\x00\x01\x00\x01"),
        BAD("\x03"
            "a.b\x00\x00\x01\x00\x01"), /* a dot inside a label */
        BAD("\x03"
            "a\x00"
            "b\x00\x00\x01\x00\x01"),
        BAD("\x03"
            "\xc3\xbc"
            "b\x00\x00\x01\x00\x01"),
        BAD("\x05"
            "api\x00\x00\x01\x00\x01"), /* label longer than what is there */
#undef BAD
    };
    struct dnswire_query q;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct message m = query(bad[i].p, bad[i].n);
        assert_int_equal(parse(&m, &q), DNSWIRE_FORMERR);
    }
}

static void wrong_headers(void **state)
{
    struct dnswire_query q;
    static const struct {
        uint8_t at, value;
        enum dnswire_rcode rcode;
    } wrong[] = {{2, 0x28, DNSWIRE_FORMERR}, {2, 0x03, DNSWIRE_FORMERR}, {5, 2, DNSWIRE_FORMERR},
                 {5, 0, DNSWIRE_FORMERR},    {7, 1, DNSWIRE_FORMERR},    {9, 1, DNSWIRE_FORMERR},
                 {11, 1, DNSWIRE_FORMERR},   {25, 3, DNSWIRE_NOTIMP},    {25, 255, DNSWIRE_NOTIMP}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct message m = QUERY(API "\x00\x01\x00\x01");
        m.p[wrong[i].at] = wrong[i].value;
        assert_int_equal(parse(&m, &q), wrong[i].rcode);
    }
    struct message m = QUERY(API "\x00\x01\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x1f\xe0");
    m.p[11] = 1;
    m.n += 0x1fe0; /* one byte less would do */
    assert_true(m.n > DNSWIRE_QUERY_MAX);
    assert_int_equal(parse(&m, &q), DNSWIRE_FORMERR);
}

static void longest_names(void **state)
{
    struct dnswire_query q;
    struct message m = QUERY("");
    for (int i = 0; i < 4; i++) {
        size_t label = i < 3 ? 63 : 61;
        m.p[m.n++] = (uint8_t)label;
        memset(m.p + m.n, 'x', label);
        m.n += label;
    }
    ADD(&m, "\x00\x00\x01\x00\x01");
    assert_int_equal(parse(&m, &q), DNSWIRE_NOERROR);
    assert_int_equal(strlen(q.name), 253);
    uint8_t out[DNSWIRE_ANSWER_MAX];
    struct net_addr a = {.family = AF_INET6};
    q.edns = true;
    assert_int_equal(dnswire_answer(&q, DNSWIRE_NOERROR, &a, 1, out), 12 + 259 + 28 + 11);
    m.p[12 + 3 * 64] = 62; /* one more: takes the root in */
    assert_int_equal(parse(&m, &q), DNSWIRE_FORMERR);
}

static void address_answer(void **state)
{
    static const uint8_t want[] = "\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" API "\x00\x01\x00\x01"
                                  "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\xc6\x12\x00\x01";
    struct dnswire_query q;
    struct message m = QUERY(API "\x00\x01\x00\x01");
    uint8_t out[DNSWIRE_ANSWER_MAX];
    struct net_addr a;
    parse(&m, &q);
    assert_int_equal(net_addr_parse("198.18.0.1", &a), 0);
    assert_int_equal(dnswire_answer(&q, DNSWIRE_NOERROR, &a, 30, out), sizeof(want) - 1);
    assert_memory_equal(out, want, sizeof(want) - 1);
}

static void negative_answers(void **state)
{
    static const uint8_t want[] = "\x12\x34\x81\x83\x00\x01\x00\x00\x00\x00\x00\x01" API "\x00\x01\x00\x01"
                                  "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
    struct dnswire_query q;
    struct message m = QUERY(API "\x00\x01\x00\x01");
    uint8_t out[DNSWIRE_ANSWER_MAX];
    parse(&m, &q);
    q.edns = true;
    assert_int_equal(dnswire_answer(&q, DNSWIRE_NXDOMAIN, NULL, 0, out), sizeof(want) - 1);
    assert_memory_equal(out, want, sizeof(want) - 1);
    assert_int_equal(dnswire_answer(&q, DNSWIRE_BADVERS, NULL, 0, out), sizeof(want) - 1);
    assert_int_equal(out[3], 0x80);
    assert_int_equal(out[sizeof(want) - 1 - 6], 1); /* upper bits of BADVERS */
}

static void unreadable_question_is_not_echoed(void **state)
{
    static const uint8_t want[] = "\x12\x34\x81\x81\x00\x00\x00\x00\x00\x00\x00\x00";
    struct dnswire_query q;
    struct message m = QUERY("\x05"
                             "api");
    uint8_t out[DNSWIRE_ANSWER_MAX];
    assert_int_equal(parse(&m, &q), DNSWIRE_FORMERR);
    assert_int_equal(dnswire_answer(&q, DNSWIRE_FORMERR, NULL, 0, out), 12);
    assert_memory_equal(out, want, 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_question),
        cmocka_unit_test(question_with_edns),
        cmocka_unit_test(malformed_queries),
        cmocka_unit_test(what_is_no_query_gets_no_answer),
        cmocka_unit_test(wrong_headers),
        cmocka_unit_test(longest_names),
        cmocka_unit_test(address_answer),
        cmocka_unit_test(negative_answers),
        cmocka_unit_test(unreadable_question_is_not_echoed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
