/* The two TLS handshakes of an inspected tunnel: first the agent's, then the upstream's. */
#include "supervisor/egress/internal.h"

static int attach(struct egress_stream *s, SSL *ssl, struct os_error *err)
{
    if (!ssl)
        return -1;
    s->ssl = ssl;
    if (SSL_set_fd(ssl, s->fd) != 1)
        return os_error_set(err, OS_RESOURCE_EXHAUSTED, "cannot attach TLS to the socket");
    return stream_handshake(s, OS_PROXY_HANDSHAKE_MS, err);
}

int tls_accept_agent(struct egress_conn *c, struct os_error *err)
{
    return attach(&c->client, egress_ca_server(c->egress->ca, c->host, err), err);
}

int tls_connect_upstream(struct egress_conn *c, struct os_error *err)
{
    return attach(&c->upstream, egress_ca_client(c->egress->ca, c->host, err), err);
}
