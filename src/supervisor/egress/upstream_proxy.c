/* The way out through the operator's proxy: CONNECT to a vetted address, or to the name where the operator
 * says so (spec/proxy.md 15). What comes out is c->upstream as if it had been dialled. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/str.h"
#include "supervisor/egress/internal.h"

enum attempt { ATTEMPT_DONE, ATTEMPT_NEXT /* another address may do */, ATTEMPT_OVER };

static char *target(const char *host, uint16_t port)
{
    return strchr(host, ':') ? os_asprintf("[%s]:%u", host, port) : os_asprintf("%s:%u", host, port);
}

/* The operator's choice, not the agent's: no destination rules apply. */
static int resolve(struct egress_conn *c, const struct forward_proxy *p, struct net_addrs *out,
                   struct os_error *err)
{
    struct net_addr literal;
    *out = (struct net_addrs){0};
    if (net_addr_parse(p->url.host, &literal) == 0)
        net_addrs_add(out, &literal);
    else if (c->egress->opt.extra_hosts)
        net_hosts_lookup(c->egress->opt.extra_hosts, p->url.host, out);
    return out->n ? 0 : net_dns_resolve(p->url.host, OS_PROXY_DNS_MS, out, err);
}

static void hang_up(struct egress_conn *c)
{
    conn_set_upstream(c, -1);
    stream_free(&c->upstream);
    if (c->upstream.fd >= 0)
        close(c->upstream.fd);
    c->upstream.fd = -1;
}

static int start_tls(struct egress_conn *c, const struct forward_proxy *p, int64_t end, struct os_error *err)
{
    if (!c->egress->ca)
        return os_error_set(err, OS_UNAVAILABLE, "an https:// proxy needs TLS, which is not available");
    if (tls_attach(&c->upstream, egress_ca_client(c->egress->ca, p->url.host, err), err) < 0)
        return -1;
    int64_t left = end - os_clock_mono_ms();
    return stream_handshake(&c->upstream, left > 0 ? (int)left : 0, err) < 0 ? -1 : 0;
}

/* to: "host:port". */
static int ask(struct egress_conn *c, const struct forward_proxy *p, const char *to, int64_t end,
               struct os_error *err)
{
    cleanup_buf struct os_buf request = {0};
    os_buf_reserve(&request, 2 * strlen(to) + p->authorization.len + 128); /* no copies of the credential */
    os_buf_addf(&request, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", to, to);
    if (p->authorization.len)
        os_buf_addf(&request, "Proxy-Authorization: %s\r\n", p->authorization.data);
    os_buf_adds(&request, "\r\n");
    int64_t left = end - os_clock_mono_ms();
    int rc =
        request.failed ? -1 : stream_send(&c->upstream, request.data, request.len, left > 0 ? (int)left : 0);
    if (request.data)
        explicit_bzero(request.data, request.cap);
    return rc < 0 ? os_error_set(err, OS_UNAVAILABLE, "it takes no request") : 0;
}

/* Only 200 opens the tunnel; what is behind the head belongs to it. */
static enum attempt answer(struct egress_conn *c, int64_t end, struct os_error *err)
{
    cleanup_free char *buf = malloc(OS_PROXY_FIRST_HEADER);
    cleanup_free struct http1_head *head = malloc(sizeof(*head));
    if (!buf || !head) {
        os_error_set(err, OS_RESOURCE_EXHAUSTED, "no memory for its answer");
        return ATTEMPT_OVER;
    }
    ssize_t n = head_read_exact(&c->upstream, buf, OS_PROXY_FIRST_HEADER, end, err);
    if (n == 0)
        os_error_set(err, OS_UNAVAILABLE, "it closed the connection instead of an answer");
    if (n <= 0 || http1_parse_response(buf, (size_t)n, head, err) < 0)
        return ATTEMPT_NEXT;
    if (head->status == 200)
        return ATTEMPT_DONE;
    if (head->status == 407) {
        os_error_set(err, OS_UNAUTHENTICATED,
                     "status 407: it wants credentials, or others than it was given");
        return ATTEMPT_OVER;
    }
    os_error_set(err, OS_UNAVAILABLE, "status %d", head->status);
    return ATTEMPT_NEXT;
}

static enum attempt try_one(struct egress_conn *c, const struct forward_proxy *p,
                            const struct net_addrs *proxy, const char *to, int64_t end, struct os_error *err)
{
    int error = dial_addresses(c, proxy, p->url.port, end);
    if (error) {
        os_error_sys(err, error, "cannot connect to it");
        return ATTEMPT_OVER;
    }
    enum attempt result = ATTEMPT_OVER;
    if (p->url.tls && start_tls(c, p, end, err) < 0)
        ;
    else if (c->asks_proxy)
        result = ATTEMPT_DONE;
    else
        result = ask(c, p, to, end, err) < 0 ? ATTEMPT_NEXT : answer(c, end, err);
    if (result != ATTEMPT_DONE)
        hang_up(c);
    return result;
}

/* Names the proxy, tells the operator, and makes it one kind of error. */
static int failed(struct egress_conn *c, const struct forward_proxy *p, struct os_error *err)
{
    cleanup_free char *name = target(p->url.host, p->url.port);
    err->code = OS_UNAVAILABLE;
    os_error_wrap(err, "upstream proxy %s", name);
    if (!conn_stale(c))
        event_upstream_proxy_failed(c->egress, err);
    return -1;
}

int upstream_proxy_dial(struct egress_conn *c, const struct forward_proxy *p, const struct net_addrs *addrs,
                        struct os_error *err)
{
    struct net_addrs proxy;
    enum attempt result = ATTEMPT_NEXT;
    /* A name is given on only where the agent gave one. What the operator's hosts file says, nobody else
     * knows. */
    struct net_addrs known = {0};
    if (c->egress->opt.extra_hosts)
        net_hosts_lookup(c->egress->opt.extra_hosts, c->host, &known);
    bool by_name = p->by_hostname && !c->captured && !known.n;
    /* Few proxies let CONNECT lead to port 80; a request with an address for its host would be answered as if
     * it was for another site. With a credential there is a tunnel all the same: what the proxy answers to a
     * request goes to the agent, and may show what was asked (TRACE, error pages). */
    c->asks_proxy = by_name && c->one_request && !p->authorization.len;
    size_t n = by_name ? 1 : addrs->n;
    int64_t end = os_clock_mono_ms() + OS_PROXY_CONNECT_MS;
    if (resolve(c, p, &proxy, err) < 0)
        return failed(c, p, err);
    for (size_t i = 0; i < n && result == ATTEMPT_NEXT; i++) {
        char text[INET6_ADDRSTRLEN];
        cleanup_free char *to = target(by_name ? c->host : net_addr_text(&addrs->v[i], text), c->port);
        int64_t now = os_clock_mono_ms(), share = (end - now) / (int64_t)(n - i);
        if (now >= end)
            break;
        result = try_one(c, p, &proxy, to, now + share, err);
        if (conn_stale(c))
            break;
    }
    if (result == ATTEMPT_DONE)
        return 0;
    return failed(c, p, err);
}
