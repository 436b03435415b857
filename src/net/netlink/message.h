/* Netlink messages: a bounded builder and one blocking transaction. rtnetlink, nf_tables and sock_diag are
 * spoken directly, so that the supervisor needs no ip, nft or ss in the image. */
#ifndef NET_NETLINK_MESSAGE_H
#define NET_NETLINK_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

#define NETLINK_MESSAGE_MAX 8192 /* bytes of one batch; ours are far smaller */

/* One or more messages in one send. Writing past the end sets `failed` and changes nothing. */
struct netlink_message {
    _Alignas(4) uint8_t data[NETLINK_MESSAGE_MAX];
    size_t len;
    size_t current; /* offset of the message being built */
    unsigned acks;  /* messages that ask for an acknowledgement */
    uint32_t seq;
    bool failed;
};

/* Starts a message of `type` behind the ones already there; NLM_F_REQUEST is added. head (n bytes) is the
 * protocol's own header. */
void netlink_begin(struct netlink_message *m, uint16_t type, uint16_t flags, const void *head, size_t n);
void netlink_put(struct netlink_message *m, uint16_t attr, const void *data, size_t n);
void netlink_put_text(struct netlink_message *m, uint16_t attr, const char *text); /* with NUL */
void netlink_put_u32(struct netlink_message *m, uint16_t attr, uint32_t v);        /* host order */
void netlink_put_be32(struct netlink_message *m, uint16_t attr, uint32_t v);
/* Nested attribute: returns the mark that netlink_close takes. */
size_t netlink_open(struct netlink_message *m, uint16_t attr);
void netlink_close(struct netlink_message *m, size_t mark);

/* Socket of a netlink protocol in the namespace of the calling thread; close-on-exec. -1 with *err. */
int netlink_socket(int protocol, struct os_error *err);
/* Sends everything and waits for every acknowledgement. The first refusal is the error, its errno in
 * err->sys_errno; what names the operation. */
int netlink_commit(int fd, const struct netlink_message *m, const char *what, struct os_error *err);

/* Finds an attribute in a run of attributes; NULL when absent or the run is malformed. *n = payload bytes. */
const void *netlink_find(const void *attrs, size_t len, uint16_t attr, size_t *n);

#endif
