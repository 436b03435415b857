/* What the agent's TLS client asks for, and what it gets. Its handshake is held behind the ClientHello until
 * the upstream's is done, so that both sides speak the same protocol (RFC 7301). */
#ifndef SUPERVISOR_EGRESS_HELLO_H
#define SUPERVISOR_EGRESS_HELLO_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

struct egress_hello {
    const char *host; /* the one that was authorised */
    bool released;    /* the handshake may go on behind the ClientHello */
    bool wrong_name;  /* SNI names another host: the handshake was refused */
    bool http1, h2;   /* it offers http/1.1, h2 */
    bool speak_h2;    /* what to select; false = http/1.1 */
};

/* The most bytes hello_offers() writes. */
#define HELLO_OFFERS 12

/* Makes a server context hold and check handshakes. Each SSL has its struct egress_hello as app data. */
void hello_attach(SSL_CTX *server);
/* Read the two extensions of a ClientHello that matter here. Pure. */
void hello_read_alpn(struct egress_hello *h, const unsigned char *p, size_t n);
void hello_read_sni(struct egress_hello *h, const unsigned char *p, size_t n);
/* What the upstream is offered, as the ALPN extension has it: what the client offered and we can read.
 * Returns the length. */
unsigned hello_offers(const struct egress_hello *h, unsigned char out[HELLO_OFFERS]);

#endif
