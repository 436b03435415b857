/* rtnetlink requests of the agent's namespace. */
#include "net/netlink/route.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include "net/netlink/message.h"

int netlink_link_up(int fd, int ifindex, struct os_error *err)
{
    struct netlink_message m = {0};
    struct ifinfomsg head = {.ifi_index = ifindex, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    netlink_begin(&m, RTM_NEWLINK, NLM_F_ACK, &head, sizeof(head));
    return netlink_commit(fd, &m, "setting the link up", err);
}

int netlink_address_add(int fd, int ifindex, int family, const void *addr, uint8_t prefix,
                        struct os_error *err)
{
    struct netlink_message m = {0};
    struct ifaddrmsg head = {
        .ifa_family = (uint8_t)family,
        .ifa_prefixlen = prefix,
        .ifa_scope = RT_SCOPE_UNIVERSE,
        .ifa_index = (uint32_t)ifindex,
    };
    size_t n = family == AF_INET ? 4 : 16;
    netlink_begin(&m, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &head, sizeof(head));
    netlink_put(&m, IFA_LOCAL, addr, n);
    netlink_put(&m, IFA_ADDRESS, addr, n);
    return netlink_commit(fd, &m, "adding the address", err);
}

int netlink_route_local_default(int fd, int ifindex, int family, struct os_error *err)
{
    struct netlink_message m = {0};
    struct rtmsg head = {
        .rtm_family = (uint8_t)family,
        .rtm_table = RT_TABLE_LOCAL,
        .rtm_protocol = RTPROT_STATIC,
        .rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE,
        .rtm_type = RTN_LOCAL,
    };
    netlink_begin(&m, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &head, sizeof(head));
    netlink_put_u32(&m, RTA_OIF, (uint32_t)ifindex);
    return netlink_commit(fd, &m, "adding the local default route", err);
}
