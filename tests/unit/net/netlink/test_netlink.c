/* Unit tests of src/net/netlink: what the builder puts on the wire and what the reader refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include "net/netlink/message.h"
#include "net/netlink/nft.h"

static void messages_are_framed_and_padded(void **state)
{
    struct netlink_message m = {0};
    uint32_t head = 0x01020304;
    netlink_begin(&m, 77, NLM_F_ACK, &head, sizeof(head));
    netlink_put_text(&m, 5, "ab"); /* 4 + 3 bytes, padded to 8 */
    netlink_begin(&m, 78, 0, NULL, 0);
    assert_false(m.failed);
    const struct nlmsghdr *h = (const struct nlmsghdr *)m.data;
    assert_int_equal(h->nlmsg_len, NLMSG_HDRLEN + 4 + 8);
    assert_int_equal(h->nlmsg_type, 77);
    assert_int_equal(h->nlmsg_flags, NLM_F_ACK | NLM_F_REQUEST);
    const struct nlmsghdr *second = (const struct nlmsghdr *)(m.data + h->nlmsg_len);
    assert_int_equal(second->nlmsg_len, NLMSG_HDRLEN);
    assert_int_equal(second->nlmsg_seq, h->nlmsg_seq + 1);
    assert_int_equal(m.acks, 1);
    assert_int_equal(m.len, h->nlmsg_len + second->nlmsg_len);
}

static void nested_attributes_have_the_length_of_their_contents(void **state)
{
    struct netlink_message m = {0};
    netlink_begin(&m, 1, 0, NULL, 0);
    size_t outer = netlink_open(&m, 9);
    netlink_put_be32(&m, 2, 0x0a0b0c0d);
    size_t inner = netlink_open(&m, 3);
    netlink_close(&m, inner);
    netlink_close(&m, outer);
    size_t n, k;
    const uint8_t *nest = netlink_find(m.data + NLMSG_HDRLEN, m.len - NLMSG_HDRLEN, 9, &n);
    assert_non_null(nest);
    assert_int_equal(n, 12);
    const uint8_t *value = netlink_find(nest, n, 2, &k);
    assert_int_equal(k, 4);
    assert_memory_equal(value, "\x0a\x0b\x0c\x0d", 4);
    assert_non_null(netlink_find(nest, n, 3, &k));
    assert_int_equal(k, 0);
    assert_null(netlink_find(nest, n, 4, &k));
}

static void a_full_message_fails_and_stays_as_it_was(void **state)
{
    struct netlink_message m = {0};
    char big[NETLINK_MESSAGE_MAX];
    memset(big, 1, sizeof(big));
    netlink_begin(&m, 1, 0, NULL, 0);
    netlink_put(&m, 1, big, NETLINK_MESSAGE_MAX - NLMSG_HDRLEN - NLA_HDRLEN + 1);
    assert_true(m.failed);
    assert_int_equal(m.len, NLMSG_HDRLEN);
    struct os_error err = {0};
    assert_int_equal(netlink_commit(-1, &m, "test", &err), -1);
    assert_string_equal(os_error_text(&err), "test: netlink message exceeds 8192 bytes");
    os_error_clear(&err);
}

static void malformed_attributes_are_not_followed(void **state)
{
    size_t n;
    const uint16_t too_long[] = {12, 1, 0, 0}, too_short[] = {3, 1, 0, 0};
    assert_null(netlink_find(too_long, sizeof(too_long), 1, &n));
    assert_null(netlink_find(too_short, sizeof(too_short), 1, &n));
    assert_null(netlink_find(too_short, 3, 1, &n));
    assert_null(netlink_find(NULL, 0, 1, &n));
}

static unsigned count(const struct netlink_message *m, uint16_t type)
{
    unsigned found = 0;
    for (size_t at = 0; at < m->len;) {
        const struct nlmsghdr *h = (const struct nlmsghdr *)(m->data + at);
        found += h->nlmsg_type == type;
        at += NLMSG_ALIGN(h->nlmsg_len);
    }
    return found;
}

static void a_rule_set_is_one_batch(void **state)
{
    struct nft_batch b;
    nft_begin(&b, "t");
    nft_chain(&b, "c", "nat", 3, -100);
    nft_rule(&b, "c");
    nft_match_l4(&b, 6);
    nft_redirect(&b, 15001);
    nft_rule_end(&b);
    struct os_error err = {0};
    assert_int_equal(nft_commit(-1, &b, &err), -1); /* no socket: only the bytes matter here */
    os_error_clear(&err);
    assert_false(b.m.failed);
    assert_int_equal(b.m.acks, 3);
    assert_int_equal(count(&b.m, NFNL_MSG_BATCH_BEGIN), 1);
    assert_int_equal(count(&b.m, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE), 1);
    assert_int_equal(count(&b.m, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN), 1);
    assert_int_equal(count(&b.m, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE), 1);
    assert_int_equal(count(&b.m, NFNL_MSG_BATCH_END), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_framed_and_padded),
        cmocka_unit_test(nested_attributes_have_the_length_of_their_contents),
        cmocka_unit_test(a_full_message_fails_and_stays_as_it_was),
        cmocka_unit_test(malformed_attributes_are_not_followed),
        cmocka_unit_test(a_rule_set_is_one_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
