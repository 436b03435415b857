/* The one TLS wrapper: contexts from PEM in memory, and keys and certificates made on the spot. TLS 1.2+. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "core/buf.h"
#include "core/error.h"

struct net_tls_pem {
    const char *cert; /* chain, leaf first; NULL = none (client) */
    const char *key;
    const char *ca; /* trust roots; NULL = system bundle for clients, no client certificates for servers */
};

/* Starts OpenSSL without its configuration file (in a sandbox it belongs to the image). Every function here
 * does it; a program that calls OpenSSL before them calls this first. Any thread, any number of times. */
void net_tls_init(void);
/* Server: ALPN from the list, in our order of preference ("h2", "http/1.1", NULL). With pem->ca a client
 * certificate is required (require) or optional but verified. */
SSL_CTX *net_tls_server(const struct net_tls_pem *pem, const char *const *alpn, bool require,
                        struct os_error *err);
/* Client: verifies against pem->ca only, or the first system bundle found. */
SSL_CTX *net_tls_client(const struct net_tls_pem *pem, const char *const *alpn, bool insecure,
                        struct os_error *err);
/* Sets SNI (unless name is an IP literal) and the name to verify on a client SSL. */
int net_tls_expect_name(SSL *ssl, const char *name, struct os_error *err);
/* Appends the OpenSSL error queue as text to *err (code OS_UNAVAILABLE) and clears the queue. Returns -1. */
int net_tls_error(struct os_error *err, const char *what);
/* The same for a failed handshake or read: says also why the peer's certificate was refused. Returns -1. */
int net_tls_error_of(SSL *ssl, struct os_error *err, const char *what);
/* Appends every certificate of the PEM text to the context's trust store; -1 when it holds none. */
int net_tls_trust(SSL_CTX *ctx, const char *pem, struct os_error *err);
/* Reads the first non-empty system bundle (spec/proxy.md 8.1) into out; false when there is none. */
bool net_tls_system_bundle(struct os_buf *out);

/* --- issuing --- */

struct net_cert_request {
    const char *cn, *o, *ou;       /* NULL = leave out */
    const char *const *sans;       /* NULL-terminated; IP literals become IP SANs */
    bool ca;                       /* CA:TRUE, keyCertSign + cRLSign; otherwise digitalSignature */
    bool server_auth, client_auth; /* EKU */
    int years;                     /* validity from one day ago */
};

/* New ECDSA P-256 key. NULL on failure. */
EVP_PKEY *net_key_new_p256(void);
EVP_PKEY *net_key_new_ed25519(void);
/* Certificate for key, signed by issuer/issuer_key with SHA-256; issuer NULL = self-signed. Caller frees. */
X509 *net_cert_issue(const struct net_cert_request *req, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                     struct os_error *err);
char *net_cert_pem(X509 *cert);      /* malloc'ed */
char *net_key_pem(EVP_PKEY *key);    /* PKCS#8, malloc'ed */
char *net_pubkey_pem(EVP_PKEY *key); /* SPKI, malloc'ed */

#endif
