/* The two TLS handshakes of an inspected tunnel. The agent's begins first and ends last: what it is answered
 * depends on what the upstream speaks. */
#include "supervisor/egress/internal.h"

int tls_attach(struct egress_stream *s, SSL *ssl, struct os_error *err)
{
    if (!ssl)
        return -1;
    s->outer = s->ssl;
    s->ssl = ssl;
    if (s->outer) {
        BIO *inside = BIO_new(BIO_f_ssl());
        if (!inside)
            return os_error_set(err, OS_RESOURCE_EXHAUSTED, "cannot attach TLS to TLS");
        BIO_set_ssl(inside, s->outer, BIO_NOCLOSE);
        SSL_set_bio(ssl, inside, inside);
        return 0;
    }
    if (SSL_set_fd(ssl, s->fd) != 1)
        return os_error_set(err, OS_RESOURCE_EXHAUSTED, "cannot attach TLS to the socket");
    return 0;
}

int tls_hold_agent(struct egress_conn *c, struct egress_hello *hello, struct os_error *err)
{
    if (tls_attach(&c->client, egress_ca_server(c->egress->ca, hello, err), err) < 0)
        return -1;
    return stream_handshake(&c->client, OS_PROXY_HANDSHAKE_MS, err) < 0 ? -1 : 0;
}

int tls_connect_upstream(struct egress_conn *c, struct egress_hello *hello, struct os_error *err)
{
    unsigned char offers[HELLO_OFFERS];
    const unsigned char *chosen = NULL;
    unsigned n = hello_offers(hello, offers);
    if (tls_attach(&c->upstream, egress_ca_client(c->egress->ca, c->host, err), err) < 0)
        return -1;
    if (SSL_set_alpn_protos(c->upstream.ssl, offers, n) != 0)
        return os_error_set(err, OS_RESOURCE_EXHAUSTED, "cannot offer protocols to the upstream");
    if (stream_handshake(&c->upstream, OS_PROXY_HANDSHAKE_MS, err) < 0)
        return -1;
    SSL_get0_alpn_selected(c->upstream.ssl, &chosen, &n);
    hello->speak_h2 = chosen && n == 2 && chosen[0] == 'h' && chosen[1] == '2';
    return 0;
}

int tls_accept_agent(struct egress_conn *c, struct egress_hello *hello, struct os_error *err)
{
    hello->released = true;
    return stream_handshake(&c->client, OS_PROXY_HANDSHAKE_MS, err) < 0 ? -1 : 0;
}
