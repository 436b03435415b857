/* nf_tables batch: tables, chains, rules as expressions over registers. */
#include "net/netlink/nft.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>

static void begin(struct nft_batch *b, uint16_t type, uint16_t flags, uint8_t family, uint16_t res_id)
{
    struct nfgenmsg head = {.nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(res_id)};
    netlink_begin(&b->m, type, flags, &head, sizeof(head));
}

static void begin_nft(struct nft_batch *b, uint16_t type, uint16_t flags)
{
    begin(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags | NLM_F_ACK, NFPROTO_INET, 0);
}

void nft_begin(struct nft_batch *b, const char *table)
{
    memset(b, 0, sizeof(*b));
    b->table = table;
    begin(b, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    begin_nft(b, NFT_MSG_NEWTABLE, NLM_F_CREATE);
    netlink_put_text(&b->m, NFTA_TABLE_NAME, table);
}

void nft_chain(struct nft_batch *b, const char *chain, const char *type, uint32_t hook, int32_t priority)
{
    begin_nft(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    netlink_put_text(&b->m, NFTA_CHAIN_TABLE, b->table);
    netlink_put_text(&b->m, NFTA_CHAIN_NAME, chain);
    size_t nest = netlink_open(&b->m, NFTA_CHAIN_HOOK);
    netlink_put_be32(&b->m, NFTA_HOOK_HOOKNUM, hook);
    netlink_put_be32(&b->m, NFTA_HOOK_PRIORITY, (uint32_t)priority);
    netlink_close(&b->m, nest);
    netlink_put_text(&b->m, NFTA_CHAIN_TYPE, type);
    netlink_put_be32(&b->m, NFTA_CHAIN_POLICY, NF_ACCEPT);
}

void nft_rule(struct nft_batch *b, const char *chain)
{
    begin_nft(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    netlink_put_text(&b->m, NFTA_RULE_TABLE, b->table);
    netlink_put_text(&b->m, NFTA_RULE_CHAIN, chain);
    b->expressions = netlink_open(&b->m, NFTA_RULE_EXPRESSIONS);
}

void nft_rule_end(struct nft_batch *b)
{
    netlink_close(&b->m, b->expressions);
}

struct expression {
    size_t element, data;
};

static struct expression open_expression(struct nft_batch *b, const char *name)
{
    struct expression e;
    e.element = netlink_open(&b->m, NFTA_LIST_ELEM);
    netlink_put_text(&b->m, NFTA_EXPR_NAME, name);
    e.data = netlink_open(&b->m, NFTA_EXPR_DATA);
    return e;
}

static void close_expression(struct nft_batch *b, struct expression e)
{
    netlink_close(&b->m, e.data);
    netlink_close(&b->m, e.element);
}

static void put_value(struct nft_batch *b, uint16_t attr, const void *data, size_t n)
{
    size_t nest = netlink_open(&b->m, attr);
    netlink_put(&b->m, NFTA_DATA_VALUE, data, n);
    netlink_close(&b->m, nest);
}

static void compare(struct nft_batch *b, const void *data, size_t n)
{
    struct expression e = open_expression(b, "cmp");
    netlink_put_be32(&b->m, NFTA_CMP_SREG, NFT_REG_1);
    netlink_put_be32(&b->m, NFTA_CMP_OP, NFT_CMP_EQ);
    put_value(b, NFTA_CMP_DATA, data, n);
    close_expression(b, e);
}

static void match_meta(struct nft_batch *b, uint32_t key, uint8_t value)
{
    struct expression e = open_expression(b, "meta");
    netlink_put_be32(&b->m, NFTA_META_DREG, NFT_REG_1);
    netlink_put_be32(&b->m, NFTA_META_KEY, key);
    close_expression(b, e);
    compare(b, &value, sizeof(value));
}

static void match_payload(struct nft_batch *b, uint32_t base, uint32_t offset, const void *data, size_t n)
{
    struct expression e = open_expression(b, "payload");
    netlink_put_be32(&b->m, NFTA_PAYLOAD_DREG, NFT_REG_1);
    netlink_put_be32(&b->m, NFTA_PAYLOAD_BASE, base);
    netlink_put_be32(&b->m, NFTA_PAYLOAD_OFFSET, offset);
    netlink_put_be32(&b->m, NFTA_PAYLOAD_LEN, (uint32_t)n);
    close_expression(b, e);
    compare(b, data, n);
}

void nft_match_l4(struct nft_batch *b, uint8_t protocol)
{
    match_meta(b, NFT_META_L4PROTO, protocol);
}

void nft_match_daddr4(struct nft_batch *b, const uint8_t addr[4], uint8_t prefix_bytes)
{
    match_meta(b, NFT_META_NFPROTO, NFPROTO_IPV4);
    match_payload(b, NFT_PAYLOAD_NETWORK_HEADER, 16, addr, prefix_bytes);
}

void nft_match_daddr6(struct nft_batch *b, const uint8_t addr[16], uint8_t prefix_bytes)
{
    match_meta(b, NFT_META_NFPROTO, NFPROTO_IPV6);
    match_payload(b, NFT_PAYLOAD_NETWORK_HEADER, 24, addr, prefix_bytes);
}

void nft_match_dport(struct nft_batch *b, uint16_t port)
{
    uint16_t wire = htons(port);
    match_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, &wire, sizeof(wire));
}

void nft_accept(struct nft_batch *b)
{
    struct expression e = open_expression(b, "immediate");
    netlink_put_be32(&b->m, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    size_t data = netlink_open(&b->m, NFTA_IMMEDIATE_DATA);
    size_t verdict = netlink_open(&b->m, NFTA_DATA_VERDICT);
    netlink_put_be32(&b->m, NFTA_VERDICT_CODE, NF_ACCEPT);
    netlink_close(&b->m, verdict);
    netlink_close(&b->m, data);
    close_expression(b, e);
}

static void load_port(struct nft_batch *b, uint16_t port)
{
    uint16_t wire = htons(port);
    struct expression e = open_expression(b, "immediate");
    netlink_put_be32(&b->m, NFTA_IMMEDIATE_DREG, NFT_REG_1);
    put_value(b, NFTA_IMMEDIATE_DATA, &wire, sizeof(wire));
    close_expression(b, e);
}

void nft_redirect(struct nft_batch *b, uint16_t port)
{
    load_port(b, port);
    struct expression e = open_expression(b, "redir");
    netlink_put_be32(&b->m, NFTA_REDIR_REG_PROTO_MIN, NFT_REG_1);
    close_expression(b, e);
}

void nft_tproxy(struct nft_batch *b, uint16_t port)
{
    load_port(b, port);
    struct expression e = open_expression(b, "tproxy");
    netlink_put_be32(&b->m, NFTA_TPROXY_FAMILY, NFPROTO_UNSPEC);
    netlink_put_be32(&b->m, NFTA_TPROXY_REG_PORT, NFT_REG_1);
    close_expression(b, e);
    nft_accept(b);
}

int nft_commit(int fd, struct nft_batch *b, struct os_error *err)
{
    begin(b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    return netlink_commit(fd, &b->m, "installing the nf_tables rules", err);
}
