/* sock_diag: exact look-up of one TCP socket in the calling thread's network namespace. */
#ifndef NET_NETLINK_DIAG_H
#define NET_NETLINK_DIAG_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "core/error.h"

struct netlink_tcp {
    uint64_t inode; /* never 0 */
    uid_t uid;
};

/* The connection whose own address is `local` and whose peer is `remote`; an IPv4-mapped IPv6 address equals
 * the IPv4 one. OS_NOT_FOUND when there is none (or only a listener or a socket without owner). fd is a
 * NETLINK_SOCK_DIAG socket. */
int netlink_tcp_lookup(int fd, const struct sockaddr_storage *local, const struct sockaddr_storage *remote,
                       struct netlink_tcp *out, struct os_error *err);

#endif
