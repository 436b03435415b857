/* rtnetlink: links, addresses and routes of the calling thread's network namespace. fd is a NETLINK_ROUTE
 * socket (netlink_socket). */
#ifndef NET_NETLINK_ROUTE_H
#define NET_NETLINK_ROUTE_H

#include <stdint.h>

#include "core/error.h"

int netlink_link_up(int fd, int ifindex, struct os_error *err);
/* family AF_INET or AF_INET6; addr has 4 or 16 bytes. */
int netlink_address_add(int fd, int ifindex, int family, const void *addr, uint8_t prefix,
                        struct os_error *err);
/* "local default dev <ifindex>": every address of the family is ours. */
int netlink_route_local_default(int fd, int ifindex, int family, struct os_error *err);

#endif
