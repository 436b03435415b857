/* nf_tables: one batch that makes a table with chains and rules in the family inet. A rule is opened, gets
 * its matches and one verdict, and is closed; the whole batch is committed at once or not at all. */
#ifndef NET_NETLINK_NFT_H
#define NET_NETLINK_NFT_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "net/netlink/message.h"

struct nft_batch {
    struct netlink_message m;
    const char *table; /* borrowed */
    size_t rule, expressions;
};

void nft_begin(struct nft_batch *b, const char *table);
/* type "nat" or "filter"; hook NF_INET_*; policy accept. */
void nft_chain(struct nft_batch *b, const char *chain, const char *type, uint32_t hook, int32_t priority);
void nft_rule(struct nft_batch *b, const char *chain);
void nft_rule_end(struct nft_batch *b);

/* Matches */
void nft_match_l4(struct nft_batch *b, uint8_t protocol);                                /* meta l4proto */
void nft_match_daddr4(struct nft_batch *b, const uint8_t addr[4], uint8_t prefix_bytes); /* whole bytes */
void nft_match_daddr6(struct nft_batch *b, const uint8_t addr[16], uint8_t prefix_bytes);
void nft_match_dport(struct nft_batch *b, uint16_t port);

/* Verdicts */
void nft_accept(struct nft_batch *b);
void nft_redirect(struct nft_batch *b, uint16_t port);
/* Hands the packet to the local transparent socket on port, addresses unchanged; then accepts it. */
void nft_tproxy(struct nft_batch *b, uint16_t port);

/* fd: NETLINK_NETFILTER socket. */
int nft_commit(int fd, struct nft_batch *b, struct os_error *err);

#endif
