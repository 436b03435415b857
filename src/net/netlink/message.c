/* Netlink messages: builder and transaction. */
#include "net/netlink/message.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/cleanup.h"

#define REPLY_TIMEOUT_S 5 /* the kernel answers at once; this only bounds a broken one */
#define REPLY_MAX 16384

static uint8_t *claim(struct netlink_message *m, size_t n)
{
    size_t room = NLMSG_ALIGN(n);
    if (m->failed || room > sizeof(m->data) - m->len) {
        m->failed = true;
        return NULL;
    }
    uint8_t *at = m->data + m->len;
    memset(at, 0, room);
    m->len += room;
    return at;
}

static void grow(struct netlink_message *m)
{
    struct nlmsghdr *h = (struct nlmsghdr *)(m->data + m->current);
    h->nlmsg_len = (uint32_t)(m->len - m->current);
}

void netlink_begin(struct netlink_message *m, uint16_t type, uint16_t flags, const void *head, size_t n)
{
    size_t start = m->len;
    uint8_t *at = claim(m, NLMSG_HDRLEN + n);
    if (!at)
        return;
    m->current = start;
    struct nlmsghdr *h = (struct nlmsghdr *)at;
    h->nlmsg_type = type;
    h->nlmsg_flags = (uint16_t)(flags | NLM_F_REQUEST);
    h->nlmsg_seq = ++m->seq;
    if (n)
        memcpy(at + NLMSG_HDRLEN, head, n);
    if (flags & NLM_F_ACK)
        m->acks++;
    grow(m);
}

void netlink_put(struct netlink_message *m, uint16_t attr, const void *data, size_t n)
{
    if (n > UINT16_MAX - NLA_HDRLEN) {
        m->failed = true;
        return;
    }
    uint8_t *at = claim(m, NLA_HDRLEN + n);
    if (!at)
        return;
    struct nlattr *a = (struct nlattr *)at;
    a->nla_type = attr;
    a->nla_len = (uint16_t)(NLA_HDRLEN + n);
    if (n)
        memcpy(at + NLA_HDRLEN, data, n);
    grow(m);
}

void netlink_put_text(struct netlink_message *m, uint16_t attr, const char *text)
{
    netlink_put(m, attr, text, strlen(text) + 1);
}

void netlink_put_u32(struct netlink_message *m, uint16_t attr, uint32_t v)
{
    netlink_put(m, attr, &v, sizeof(v));
}

void netlink_put_be32(struct netlink_message *m, uint16_t attr, uint32_t v)
{
    netlink_put_u32(m, attr, htonl(v));
}

size_t netlink_open(struct netlink_message *m, uint16_t attr)
{
    size_t mark = m->len;
    netlink_put(m, attr | NLA_F_NESTED, NULL, 0);
    return mark;
}

void netlink_close(struct netlink_message *m, size_t mark)
{
    if (m->failed)
        return;
    struct nlattr *a = (struct nlattr *)(m->data + mark);
    a->nla_len = (uint16_t)(m->len - mark);
}

int netlink_socket(int protocol, struct os_error *err)
{
    cleanup_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return os_error_sys(err, errno, "cannot open a netlink socket (protocol %d)", protocol);
    struct timeval tv = {.tv_sec = REPLY_TIMEOUT_S};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) < 0)
        return os_error_sys(err, errno, "cannot set the netlink timeout");
    return os_steal_fd(fd);
}

/* Counts the acknowledgements in one datagram; the first refusal goes to *err. */
static int count_acks(const uint8_t *data, size_t n, unsigned *acks, const char *what, struct os_error *err)
{
    while (n >= NLMSG_HDRLEN) {
        const struct nlmsghdr *h = (const struct nlmsghdr *)data;
        size_t step = NLMSG_ALIGN((size_t)h->nlmsg_len);
        if (h->nlmsg_len < NLMSG_HDRLEN || h->nlmsg_len > n)
            return os_error_set(err, OS_INTERNAL, "%s: malformed netlink reply", what);
        if (h->nlmsg_type == NLMSG_ERROR) {
            struct nlmsgerr e;
            if (h->nlmsg_len < NLMSG_LENGTH(sizeof(e)))
                return os_error_set(err, OS_INTERNAL, "%s: short netlink reply", what);
            memcpy(&e, data + NLMSG_HDRLEN, sizeof(e));
            if (e.error)
                return os_error_sys(err, -e.error, "%s", what);
            ++*acks;
        }
        if (step >= n)
            break;
        data += step;
        n -= step;
    }
    return 0;
}

int netlink_commit(int fd, const struct netlink_message *m, const char *what, struct os_error *err)
{
    if (m->failed)
        return os_error_set(err, OS_INTERNAL, "%s: netlink message exceeds %d bytes", what,
                            NETLINK_MESSAGE_MAX);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(fd, m->data, m->len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) != (ssize_t)m->len)
        return os_error_sys(err, errno, "%s", what);
    unsigned acks = 0;
    while (acks < m->acks) {
        _Alignas(4) uint8_t reply[REPLY_MAX];
        ssize_t n = recv(fd, reply, sizeof(reply), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return os_error_sys(err, n < 0 ? errno : EIO, "%s: no netlink reply", what);
        if (count_acks(reply, (size_t)n, &acks, what, err) < 0)
            return -1;
    }
    return 0;
}

const void *netlink_find(const void *attrs, size_t len, uint16_t attr, size_t *n)
{
    const uint8_t *p = attrs;
    while (len >= NLA_HDRLEN) {
        struct nlattr a;
        memcpy(&a, p, sizeof(a));
        if (a.nla_len < NLA_HDRLEN || a.nla_len > len)
            return NULL;
        if ((a.nla_type & NLA_TYPE_MASK) == attr) {
            *n = (size_t)a.nla_len - NLA_HDRLEN;
            return p + NLA_HDRLEN;
        }
        size_t step = NLA_ALIGN((size_t)a.nla_len);
        if (step >= len)
            return NULL;
        p += step;
        len -= step;
    }
    return NULL;
}
