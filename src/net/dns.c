/* Name resolution: IP literals, then /etc/hosts, then A and AAAA queries with c-ares on the calling thread.
 * Only ares_search() is called: it is the part of c-ares that needs no getaddrinfo or getservbyname, which a
 * static glibc serves with shared libraries or not at all. The caller judges the addresses; nothing here
 * decides what may be reached. */
#include "net/dns.h"

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"
#include "sys/file.h"

/* --- addresses --- */

int net_addr_parse(const char *text, struct net_addr *out)
{
    char inner[INET6_ADDRSTRLEN];
    memset(out, 0, sizeof(*out));
    if (text[0] == '[') {
        size_t n = strlen(text);
        if (n < 4 || n - 2 >= sizeof(inner) || text[n - 1] != ']')
            return -1;
        memcpy(inner, text + 1, n - 2);
        inner[n - 2] = '\0';
        text = inner;
    } else if (inet_pton(AF_INET, text, &out->v4) == 1) {
        out->family = AF_INET;
        return 0;
    }
    if (inet_pton(AF_INET6, text, &out->v6) != 1)
        return -1;
    out->family = AF_INET6;
    return 0;
}

const char *net_addr_text(const struct net_addr *a, char *out)
{
    if (!inet_ntop(a->family, &a->v6, out, INET6_ADDRSTRLEN))
        strcpy(out, "?");
    return out;
}

socklen_t net_addr_sockaddr(const struct net_addr *a, uint16_t port, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (a->family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        in->sin_addr = a->v4;
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    in6->sin6_addr = a->v6;
    return sizeof(*in6);
}

static bool addr_equal(const struct net_addr *a, const struct net_addr *b)
{
    if (a->family != b->family)
        return false;
    return a->family == AF_INET ? a->v4.s_addr == b->v4.s_addr : memcmp(&a->v6, &b->v6, sizeof(a->v6)) == 0;
}

bool net_addr_is_loopback(const struct net_addr *a)
{
    if (a->family == AF_INET)
        return ((const uint8_t *)&a->v4)[0] == 127;
    if (IN6_IS_ADDR_V4MAPPED(&a->v6))
        return a->v6.s6_addr[12] == 127;
    return IN6_IS_ADDR_LOOPBACK(&a->v6);
}

void net_addrs_add(struct net_addrs *l, const struct net_addr *a)
{
    for (size_t i = 0; i < l->n; i++)
        if (addr_equal(&l->v[i], a))
            return;
    if (l->n < NET_ADDRS_MAX)
        l->v[l->n++] = *a;
}

/* --- hosts file --- */

/* One word of [*at, end) that white space ends; false when there is none. */
static bool next_word(const char **at, const char *end, const char **word, size_t *n)
{
    const char *p = *at;
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r'))
        p++;
    *word = p;
    while (p < end && *p != ' ' && *p != '\t' && *p != '\r')
        p++;
    *n = (size_t)(p - *word);
    *at = p;
    return *n > 0;
}

static bool word_is_name(const char *word, size_t n, const char *name, size_t name_len)
{
    char copy[OS_LIMIT_HOST_NAME + 2];
    if (n && word[n - 1] == '.')
        n--;
    if (n != name_len || n >= sizeof(copy))
        return false;
    memcpy(copy, word, n);
    copy[n] = '\0';
    return os_str_eq_nocase(copy, name);
}

static void hosts_line(const char *p, const char *end, const char *name, size_t name_len,
                       struct net_addrs *out)
{
    const char *word;
    size_t n;
    char text[INET6_ADDRSTRLEN];
    struct net_addr addr;
    if (!next_word(&p, end, &word, &n) || n >= sizeof(text))
        return;
    memcpy(text, word, n);
    text[n] = '\0';
    if (text[0] == '[' || net_addr_parse(text, &addr) < 0)
        return;
    while (next_word(&p, end, &word, &n))
        if (word_is_name(word, n, name, name_len)) {
            net_addrs_add(out, &addr);
            return;
        }
}

void net_hosts_lookup(const char *hosts_text, const char *name, struct net_addrs *out)
{
    char plain[OS_LIMIT_HOST_NAME + 2];
    size_t len = strlen(name);
    if (len && name[len - 1] == '.')
        len--;
    if (!len || len >= sizeof(plain))
        return;
    memcpy(plain, name, len);
    plain[len] = '\0';
    for (const char *line = hosts_text; *line;) {
        const char *end = strchrnul(line, '\n');
        const char *comment = memchr(line, '#', (size_t)(end - line));
        hosts_line(line, comment ? comment : end, plain, len, out);
        line = *end ? end + 1 : end;
    }
}

/* --- names --- */

/* A label that inet_aton() style parsers read as a number: "1", "0x7f". Such a last label makes the whole
 * name an address shorthand ("127.1") that resolvers and peers disagree about, so it never is a name here. */
static bool label_is_number(const char *label, size_t n)
{
    if (n >= 2 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X'))
        return strspn(label + 2, "0123456789abcdefABCDEF") >= n - 2;
    return strspn(label, "0123456789") >= n;
}

static bool name_valid(const char *name)
{
    size_t len = strlen(name);
    if (len && name[len - 1] == '.')
        len--;
    if (!len || len > OS_LIMIT_HOST_NAME)
        return false;
    const char *label = name, *end = name + len;
    for (const char *p = name; p < end; p++) {
        char c = *p;
        if (c == '.') {
            if (p == label || p - label > OS_LIMIT_HOST_LABEL)
                return false;
            label = p + 1;
        } else if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '_')) {
            return false;
        }
    }
    size_t last = (size_t)(end - label);
    return last && last <= OS_LIMIT_HOST_LABEL && !label_is_number(label, last);
}

/* The text comes from a peer and goes to logs: shortened, control bytes shown as '?'. */
static int fail_not_a_name(const char *name, struct os_error *err)
{
    char shown[OS_LIMIT_HOST_NAME + 1];
    size_t n = strnlen(name, sizeof(shown) - 1);
    for (size_t i = 0; i < n; i++)
        shown[i] = name[i] > ' ' && name[i] < 0x7f ? name[i] : '?';
    shown[n] = '\0';
    return os_error_set(err, OS_NOT_FOUND, "'%s' is neither a host name nor an IP address", shown);
}

/* RFC 6761 6.3: "localhost" and names below it never leave the machine. */
static bool name_is_localhost(const char *name)
{
    char plain[OS_LIMIT_HOST_NAME + 2];
    size_t len = strlen(name);
    if (name[len - 1] == '.')
        len--;
    memcpy(plain, name, len);
    plain[len] = '\0';
    os_str_lower(plain);
    return strcmp(plain, "localhost") == 0 || os_str_ends(plain, ".localhost");
}

static void add_localhost(struct net_addrs *out)
{
    struct net_addr a;
    net_addr_parse("127.0.0.1", &a);
    net_addrs_add(out, &a);
    net_addr_parse("::1", &a);
    net_addrs_add(out, &a);
}

/* --- queries --- */

struct answer {
    struct net_addrs addrs;
    int status; /* ARES_* */
    bool done;
};

static void on_a(void *arg, int status, int timeouts, unsigned char *reply, int len)
{
    struct answer *a = arg;
    struct ares_addrttl rr[NET_ADDRS_MAX];
    int n = NET_ADDRS_MAX;
    a->done = true;
    a->status = status;
    if (status != ARES_SUCCESS)
        return;
    a->status = ares_parse_a_reply(reply, len, NULL, rr, &n);
    for (int i = 0; a->status == ARES_SUCCESS && i < n; i++)
        net_addrs_add(&a->addrs, &(struct net_addr){.family = AF_INET, .v4 = rr[i].ipaddr});
}

static void on_aaaa(void *arg, int status, int timeouts, unsigned char *reply, int len)
{
    struct answer *a = arg;
    struct ares_addr6ttl rr[NET_ADDRS_MAX];
    int n = NET_ADDRS_MAX;
    a->done = true;
    a->status = status;
    if (status != ARES_SUCCESS)
        return;
    a->status = ares_parse_aaaa_reply(reply, len, NULL, rr, &n);
    for (int i = 0; a->status == ARES_SUCCESS && i < n; i++) {
        struct net_addr addr = {.family = AF_INET6};
        memcpy(&addr.v6, &rr[i].ip6addr, sizeof(addr.v6));
        net_addrs_add(&a->addrs, &addr);
    }
}

/* Waits until a socket of the channel is ready or its own timer is due, and lets it work. */
static void channel_step(ares_channel channel, int64_t wait_ms)
{
    ares_socket_t socks[ARES_GETSOCK_MAXNUM];
    struct pollfd fds[ARES_GETSOCK_MAXNUM];
    /* Not the macros of ares.h: they shift a signed 1 by 31. */
    unsigned bits = (unsigned)ares_getsock(channel, socks, ARES_GETSOCK_MAXNUM);
    nfds_t n = 0;
    for (int i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
        bool readable = bits & (1u << i), writable = bits & (1u << (i + ARES_GETSOCK_MAXNUM));
        short events = (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0));
        if (events)
            fds[n++] = (struct pollfd){.fd = socks[i], .events = events};
    }
    struct timeval max = {wait_ms / 1000, (wait_ms % 1000) * 1000}, left;
    struct timeval *tv = ares_timeout(channel, &max, &left);
    int ms = (int)(tv->tv_sec * 1000 + (tv->tv_usec + 999) / 1000);
    int ready = poll(fds, n, ms);
    if (ready <= 0)
        ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    for (nfds_t i = 0; ready > 0 && i < n; i++) {
        bool broken = fds[i].revents & (POLLERR | POLLHUP | POLLNVAL);
        ares_process_fd(channel, fds[i].revents & POLLIN || broken ? fds[i].fd : ARES_SOCKET_BAD,
                        fds[i].revents & POLLOUT ? fds[i].fd : ARES_SOCKET_BAD);
    }
}

/* Runs both queries until they are answered, or until one has addresses and the other had its extra time,
 * or until the deadline. */
static void run_queries(ares_channel channel, const char *name, int timeout_ms, struct answer *v4,
                        struct answer *v6)
{
    int64_t deadline = os_clock_mono_ms() + timeout_ms;
    bool shortened = false;
    ares_search(channel, name, ns_c_in, ns_t_a, on_a, v4);
    ares_search(channel, name, ns_c_in, ns_t_aaaa, on_aaaa, v6);
    while (!v4->done || !v6->done) {
        int64_t now = os_clock_mono_ms();
        if (!shortened && ((v4->done && v4->addrs.n) || (v6->done && v6->addrs.n))) {
            shortened = true;
            if (deadline > now + OS_DNS_OTHER_FAMILY_MS)
                deadline = now + OS_DNS_OTHER_FAMILY_MS;
        }
        if (now >= deadline)
            break;
        channel_step(channel, deadline - now);
    }
    ares_cancel(channel); /* what is unanswered now ends with ARES_ECANCELLED */
}

static bool status_is_no_name(int status)
{
    return status == ARES_ENOTFOUND || status == ARES_ENODATA || status == ARES_EBADNAME;
}

static bool status_is_timeout(int status)
{
    return status == ARES_ETIMEOUT || status == ARES_ECANCELLED;
}

static int fail(const char *name, const struct answer *v4, const struct answer *v6, struct os_error *err)
{
    if (status_is_no_name(v4->status) && status_is_no_name(v6->status)) {
        if (v4->status == ARES_ENOTFOUND || v6->status == ARES_ENOTFOUND)
            return os_error_set(err, OS_NOT_FOUND, "'%s': no such name", name);
        return os_error_set(err, OS_NOT_FOUND, "'%s': the name has no addresses", name);
    }
    if (status_is_timeout(v4->status) || status_is_timeout(v6->status))
        return os_error_set(err, OS_DEADLINE_EXCEEDED, "'%s': no answer from the name servers in time", name);
    int status = status_is_no_name(v4->status) || v4->status == ARES_SUCCESS ? v6->status : v4->status;
    return os_error_set(err, OS_UNAVAILABLE, "'%s': name servers failed: %s", name, ares_strerror(status));
}

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void library_init(void)
{
    ares_library_init(ARES_LIB_INIT_ALL);
}

static int query_servers(const struct net_dns_source *from, const char *name, int timeout_ms,
                         struct net_addrs *out, struct os_error *err)
{
    struct ares_options options = {
        .resolvconf_path = (char *)from->resolv_conf, .udp_port = from->port, .tcp_port = from->port};
    ares_channel channel = NULL;
    struct answer v4 = {0}, v6 = {0};
    pthread_once(&library_once, library_init);
    int status =
        ares_init_options(&channel, &options, ARES_OPT_RESOLVCONF | ARES_OPT_UDP_PORT | ARES_OPT_TCP_PORT);
    if (status != ARES_SUCCESS)
        return os_error_set(err, OS_UNAVAILABLE, "'%s': cannot set up name resolution: %s", name,
                            ares_strerror(status));
    run_queries(channel, name, timeout_ms, &v4, &v6);
    ares_destroy(channel);
    for (size_t i = 0; i < v4.addrs.n; i++)
        net_addrs_add(out, &v4.addrs.v[i]);
    for (size_t i = 0; i < v6.addrs.n; i++)
        net_addrs_add(out, &v6.addrs.v[i]);
    return out->n ? 0 : fail(name, &v4, &v6, err);
}

/* --- entry points --- */

int net_dns_resolve_from(const struct net_dns_source *from, const char *name, int timeout_ms,
                         struct net_addrs *out, struct os_error *err)
{
    struct net_addr literal;
    *out = (struct net_addrs){0};
    if (net_addr_parse(name, &literal) == 0) {
        net_addrs_add(out, &literal);
        return 0;
    }
    if (!name_valid(name))
        return fail_not_a_name(name, err);
    cleanup_buf struct os_buf hosts = {.max = OS_LIMIT_HOSTS_FILE + 1};
    if (os_file_read(from->hosts, OS_LIMIT_HOSTS_FILE, &hosts, NULL) == 0)
        net_hosts_lookup(os_buf_str(&hosts), name, out);
    if (!out->n && name_is_localhost(name))
        add_localhost(out);
    return out->n ? 0 : query_servers(from, name, timeout_ms, out, err);
}

static struct net_dns_source system_source = {
    .hosts = "/etc/hosts", .resolv_conf = "/etc/resolv.conf", .port = 53};

void net_dns_use_resolv_conf(const char *path)
{
    system_source.resolv_conf = path;
}

int net_dns_resolve(const char *name, int timeout_ms, struct net_addrs *out, struct os_error *err)
{
    return net_dns_resolve_from(&system_source, name, timeout_ms, out, err);
}
