/* ClientHello of the agent: server name, protocols. */
#include "supervisor/egress/hello.h"

#include <string.h>
#include <strings.h>

static size_t u16(const unsigned char *p)
{
    return (size_t)p[0] << 8 | p[1];
}

static bool is(const unsigned char *p, size_t n, const char *name)
{
    return n == strlen(name) && !memcmp(p, name, n);
}

void hello_read_alpn(struct egress_hello *h, const unsigned char *p, size_t n)
{
    if (n < 2 || u16(p) != n - 2)
        return;
    for (p += 2, n -= 2; n && (size_t)p[0] + 1 <= n; n -= (size_t)p[0] + 1, p += (size_t)p[0] + 1) {
        h->http1 = h->http1 || is(p + 1, p[0], "http/1.1");
        h->h2 = h->h2 || is(p + 1, p[0], "h2");
    }
}

/* A handshake for another host than the one that was authorised is a client error, or an attempt to reach
 * something else behind the same address. */
void hello_read_sni(struct egress_hello *h, const unsigned char *p, size_t n)
{
    h->wrong_name = true;
    if (n < 5 || u16(p) != n - 2 || p[2] != TLSEXT_NAMETYPE_host_name || u16(p + 3) != n - 5)
        return;
    p += 5;
    n -= 5;
    if (n && p[n - 1] == '.')
        n--;
    h->wrong_name = strlen(h->host) != n || strncasecmp(h->host, (const char *)p, n) != 0;
}

static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    struct egress_hello *h = SSL_get_app_data(ssl);
    const unsigned char *p;
    size_t n;
    if (h->released)
        return SSL_CLIENT_HELLO_SUCCESS;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n))
        hello_read_sni(h, p, n);
    if (h->wrong_name) {
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_CLIENT_HELLO_ERROR;
    }
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &p, &n))
        hello_read_alpn(h, p, n);
    return SSL_CLIENT_HELLO_RETRY;
}

static int on_select(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                     const unsigned char *offered, unsigned n, void *arg)
{
    const struct egress_hello *h = SSL_get_app_data(ssl);
    const char *want = h->speak_h2 ? "h2" : "http/1.1";
    for (const unsigned char *p = offered, *end = offered + n; p < end && p + p[0] < end; p += p[0] + 1) {
        if (!is(p + 1, p[0], want))
            continue;
        *out = p + 1;
        *out_len = p[0];
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 3.2 */
}

void hello_attach(SSL_CTX *server)
{
    SSL_CTX_set_client_hello_cb(server, on_client_hello, NULL);
    SSL_CTX_set_alpn_select_cb(server, on_select, NULL);
}

unsigned hello_offers(const struct egress_hello *h, unsigned char out[HELLO_OFFERS])
{
    unsigned n = 0;
    if (h->h2) {
        memcpy(out, "\x02h2", 3);
        n = 3;
    }
    if (h->http1 || !h->h2) {
        memcpy(out + n, "\x08http/1.1", 9);
        n += 9;
    }
    return n;
}
