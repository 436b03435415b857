/* The name server of the agent's network (DESIGN 11, spec/supervisor.md 4.3): answers the names that the
 * policy allows with made-up addresses, which trap.c turns back into the names, and everything else with a
 * definite no. Nothing is asked outside. */
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "core/clock.h"
#include "core/str.h"
#include "net/dnswire/dnswire.h"
#include "supervisor/egress/internal.h"
#include "supervisor/egress/names.h"

#define DATAGRAMS_AT_ONCE 32 /* before connections get their turn */

static bool allowed(struct egress *e, const char *name)
{
    struct policy_engine *engine = policy_slot_get(e->opt.policy);
    bool yes = policy_names_host(engine, name);
    policy_engine_unref(engine);
    return yes;
}

/* NOERROR with *record set where there is one; c says who asks, as far as that is known. */
static enum dnswire_rcode resolve(struct egress_conn *c, const struct dnswire_query *q,
                                  struct net_addr *address, bool *record)
{
    struct egress *e = c->egress;
    bool v6 = q->type == DNSWIRE_AAAA;
    if (!allowed(e, q->name)) {
        event_name_denied(c, q->name, "policy_dns_ineligible");
        return DNSWIRE_NXDOMAIN;
    }
    if (q->type != DNSWIRE_A && !(v6 && e->dns_ipv6))
        return DNSWIRE_NOERROR;
    switch (names_address(e->names, q->name, v6 ? AF_INET6 : AF_INET, address)) {
    case NAMES_FULL:
        event_name_denied(c, q->name, "policy_dns_publication_pool_exhausted");
        return DNSWIRE_SERVFAIL;
    case NAMES_NEW:
        event_name_published(e, q->name, address);
        break;
    case NAMES_KNOWN:
        break;
    }
    *record = true;
    return DNSWIRE_NOERROR;
}

/* The answer to one message in out (DNSWIRE_ANSWER_MAX bytes); 0 for none. */
static size_t answer(struct egress_conn *c, const uint8_t *p, size_t n, uint8_t *out)
{
    struct dnswire_query q;
    enum dnswire_rcode rcode;
    struct net_addr address;
    bool record = false;
    if (!dnswire_parse(p, n, &q, &rcode))
        return 0;
    if (rcode == DNSWIRE_NOERROR)
        rcode = resolve(c, &q, &address, &record);
    return dnswire_answer(&q, rcode, record ? &address : NULL, OS_NAMES_TTL, out);
}

/* --- datagrams --- */

void resolver_prepare(struct egress *e)
{
    int fd = e->opt.dns_udp, on = 1, family = 0;
    socklen_t len = sizeof(family);
    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) < 0)
        return;
    e->dns_ipv6 = family == AF_INET6;
    /* The answer has to come from the address that was asked. */
    setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
    if (e->dns_ipv6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
}

/* Keeps of the control messages the one that names the address, ready to be sent back: on a dual-stack socket
 * that is an IPv6 one also for IPv4. */
static void keep_local_address(struct msghdr *m)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        bool v4 = h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO;
        bool v6 = h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_PKTINFO;
        if (!v4 && !v6)
            continue;
        if (v4) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(h), sizeof(info));
            info = (struct in_pktinfo){.ipi_spec_dst = info.ipi_addr};
            memcpy(CMSG_DATA(h), &info, sizeof(info));
        } else {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(h), sizeof(info));
            info.ipi6_ifindex = 0;
            memcpy(CMSG_DATA(h), &info, sizeof(info));
        }
        size_t n = h->cmsg_len;
        memmove(m->msg_control, h, n);
        m->msg_controllen = CMSG_SPACE(n - CMSG_LEN(0));
        return;
    }
    m->msg_controllen = 0;
}

static bool serve_datagram(struct egress *e)
{
    static uint8_t in[DNSWIRE_QUERY_MAX + 1]; /* the accept thread's alone */
    uint8_t out[DNSWIRE_ANSWER_MAX];
    struct egress_conn c = {.egress = e};
    union {
        struct cmsghdr align;
        char room[256];
    } control;
    struct iovec iov = {.iov_base = in, .iov_len = sizeof(in)};
    struct msghdr m = {.msg_name = &c.agent,
                       .msg_namelen = sizeof(c.agent),
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(e->opt.dns_udp, &m, MSG_DONTWAIT);
    if (n < 0)
        return false;
    keep_local_address(&m);
    iov = (struct iovec){.iov_base = out, .iov_len = answer(&c, in, (size_t)n, out)};
    if (iov.iov_len)
        sendmsg(e->opt.dns_udp, &m, MSG_DONTWAIT);
    os_arena_free(&c.arena);
    return true;
}

void resolver_datagrams(struct egress *e)
{
    for (int i = 0; i < DATAGRAMS_AT_ONCE && serve_datagram(e); i++)
        ;
}

/* --- connections: messages behind their length in two bytes (RFC 1035 4.2.2) --- */

/* Reads n bytes; false when they do not come. */
static bool read_bytes(struct egress_conn *c, uint8_t *p, size_t n)
{
    int64_t end = os_clock_mono_ms() + OS_DNS_IDLE_MS;
    while (n) {
        int64_t left = end - os_clock_mono_ms();
        if (left <= 0 || !stream_wait(&c->client, POLLIN, (int)left))
            return false;
        ssize_t got = recv(c->client.fd, p, n, 0);
        if (got <= 0)
            return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

void resolver_serve(struct egress_conn *c)
{
    uint8_t *in = os_arena_alloc(&c->arena, DNSWIRE_QUERY_MAX);
    struct os_error err cleanup_error = {0};
    decide_identify(c, &c->local, &err);
    for (;;) {
        uint8_t length[2], out[2 + DNSWIRE_ANSWER_MAX];
        if (!read_bytes(c, length, sizeof(length)))
            return;
        size_t n = (size_t)(length[0] << 8 | length[1]);
        if (n > DNSWIRE_QUERY_MAX || !read_bytes(c, in, n))
            return;
        n = answer(c, in, n, out + 2);
        if (!n)
            return;
        out[0] = (uint8_t)(n >> 8);
        out[1] = (uint8_t)n;
        if (stream_send(&c->client, out, n + 2, OS_DNS_IDLE_MS) < 0)
            return;
    }
}
