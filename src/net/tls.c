/* TLS contexts from PEM in memory: what every listener and every connection of the three programs uses.
 * OpenSSL is started without its configuration file: inside a sandbox that file belongs to the image, and it
 * could load code into the process. */
#include "net/tls.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "net/dns.h"
#include "sys/file.h"

static pthread_once_t init_once = PTHREAD_ONCE_INIT;
static int alpn_index = -1;

static void free_alpn(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
    free(ptr);
}

static void init(void)
{
    OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    alpn_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_alpn);
}

void net_tls_init(void)
{
    pthread_once(&init_once, init);
}

/* --- errors --- */

static void add_queue(struct os_buf *text)
{
    unsigned long code;
    bool first = true;
    while ((code = ERR_get_error()) != 0) {
        const char *reason = ERR_reason_error_string(code);
        os_buf_adds(text, first ? ": " : ", ");
        if (reason)
            os_buf_adds(text, reason);
        else
            os_buf_addf(text, "error %lx", code);
        first = false;
    }
}

int net_tls_error(struct os_error *err, const char *what)
{
    cleanup_buf struct os_buf text = {0};
    os_buf_adds(&text, what);
    add_queue(&text);
    return os_error_set(err, OS_UNAVAILABLE, "%s", os_buf_str(&text));
}

int net_tls_error_of(SSL *ssl, struct os_error *err, const char *what)
{
    cleanup_buf struct os_buf text = {0};
    long verified = SSL_get_verify_result(ssl);
    os_buf_adds(&text, what);
    if (verified != X509_V_OK)
        os_buf_addf(&text, ": %s", X509_verify_cert_error_string(verified));
    add_queue(&text);
    return os_error_set(err, OS_UNAVAILABLE, "%s", os_buf_str(&text));
}

/* --- PEM --- */

/* Encrypted keys are refused; without this OpenSSL would ask the terminal. */
static int no_password(char *buf, int size, int rwflag, void *arg)
{
    return -1;
}

static BIO *text_bio(const char *pem)
{
    size_t n = strlen(pem);
    return n <= INT_MAX ? BIO_new_mem_buf(pem, (int)n) : NULL;
}

static int use_chain(SSL_CTX *ctx, const char *pem, struct os_error *err)
{
    BIO *bio = text_bio(pem);
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;
    int ok = cert && SSL_CTX_use_certificate(ctx, cert) == 1;
    X509_free(cert);
    while (ok && (cert = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL)
        if (SSL_CTX_add0_chain_cert(ctx, cert) != 1) {
            X509_free(cert);
            ok = 0;
        }
    BIO_free(bio);
    if (ok && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        ok = 0;
    if (!ok)
        return net_tls_error(err, "cannot use the certificate chain");
    ERR_clear_error();
    return 0;
}

static int use_key(SSL_CTX *ctx, const char *pem, struct os_error *err)
{
    BIO *bio = text_bio(pem);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    int ok = key && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    EVP_PKEY_free(key);
    BIO_free(bio);
    return ok ? 0 : net_tls_error(err, "cannot use the private key (it must match the certificate)");
}

static int use_identity(SSL_CTX *ctx, const struct net_tls_pem *pem, struct os_error *err)
{
    if (!pem->cert || !pem->key)
        return os_error_set(err, OS_INVALID_ARGUMENT, "a TLS certificate and its key must be given together");
    if (use_chain(ctx, pem->cert, err) < 0 || use_key(ctx, pem->key, err) < 0)
        return -1;
    return 0;
}

int net_tls_trust(SSL_CTX *ctx, const char *pem, struct os_error *err)
{
    BIO *bio = text_bio(pem);
    size_t added = 0;
    ERR_clear_error();
    while (bio && !BIO_eof(bio)) {
        X509 *cert = PEM_read_bio_X509(bio, NULL, no_password, NULL);
        if (cert)
            added += X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) == 1;
        else if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
            break;
        X509_free(cert);
    }
    BIO_free(bio);
    if (!added)
        return net_tls_error(err, "no usable certificate among the trust roots");
    ERR_clear_error();
    return 0;
}

bool net_tls_system_bundle(struct os_buf *out)
{
    static const char *const paths[] = {"/etc/ssl/certs/ca-certificates.crt",
                                        "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
                                        "/etc/ssl/cert.pem"};
    for (size_t i = 0; i < OS_ARRAY_LEN(paths); i++) {
        cleanup_buf struct os_buf text = {.max = OS_LIMIT_CA_BUNDLE + 1};
        if (os_file_read(paths[i], OS_LIMIT_CA_BUNDLE, &text, NULL) == 0 && text.len) {
            os_buf_add(out, text.data, text.len);
            return !out->failed;
        }
    }
    return false;
}

/* --- ALPN --- */

/* Wire form: each name behind its length. Caller frees; NULL when a name is empty or too long. */
static unsigned char *alpn_wire(const char *const *names, size_t *len)
{
    cleanup_buf struct os_buf wire = {0};
    for (size_t i = 0; names[i]; i++) {
        size_t n = strlen(names[i]);
        if (!n || n > 255)
            return NULL;
        os_buf_addc(&wire, (char)n);
        os_buf_add(&wire, names[i], n);
    }
    *len = wire.len;
    return (unsigned char *)os_buf_take(&wire);
}

struct alpn_list {
    unsigned len;
    unsigned char wire[];
};

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *offered, unsigned offered_len, void *arg)
{
    const struct alpn_list *ours = arg;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, ours->wire, ours->len, offered, offered_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 3.2 */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int set_alpn(SSL_CTX *ctx, const char *const *names, bool server, struct os_error *err)
{
    size_t len = 0;
    if (!names || !names[0])
        return 0;
    cleanup_free unsigned char *wire = alpn_wire(names, &len);
    if (!wire)
        return os_error_set(err, OS_INVALID_ARGUMENT, "ALPN names must have 1 to 255 bytes");
    if (!server)
        return SSL_CTX_set_alpn_protos(ctx, wire, (unsigned)len) == 0 ? 0 : net_tls_error(err, "ALPN");
    struct alpn_list *list = os_calloc(1, sizeof(*list) + len);
    list->len = (unsigned)len;
    memcpy(list->wire, wire, len);
    if (SSL_CTX_set_ex_data(ctx, alpn_index, list) != 1) {
        free(list);
        return net_tls_error(err, "ALPN");
    }
    SSL_CTX_set_alpn_select_cb(ctx, select_alpn, list);
    return 0;
}

/* --- contexts --- */

static SSL_CTX *new_context(const SSL_METHOD *method, struct os_error *err)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1) {
        net_tls_error(err, "cannot create a TLS context");
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    return ctx;
}

/* The names of the accepted issuers are sent along, so that clients with several certificates can choose. */
static void announce_client_cas(SSL_CTX *ctx)
{
    STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(ctx));
    for (int i = 0; i < sk_X509_OBJECT_num(objects); i++)
        SSL_CTX_add_client_CA(ctx, X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i)));
}

static int setup_server(SSL_CTX *ctx, const struct net_tls_pem *pem, const char *const *alpn, bool require,
                        struct os_error *err)
{
    static const unsigned char session_context[] = "openshell";
    if (use_identity(ctx, pem, err) < 0 || set_alpn(ctx, alpn, true, err) < 0)
        return -1;
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_id_context(ctx, session_context, sizeof(session_context) - 1);
    if (!pem->ca && require)
        return os_error_set(err, OS_INVALID_ARGUMENT, "client certificates need a CA to verify them");
    if (!pem->ca)
        return 0;
    if (net_tls_trust(ctx, pem->ca, err) < 0)
        return -1;
    announce_client_cas(ctx);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (require ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    return 0;
}

SSL_CTX *net_tls_server(const struct net_tls_pem *pem, const char *const *alpn, bool require,
                        struct os_error *err)
{
    net_tls_init();
    SSL_CTX *ctx = new_context(TLS_server_method(), err);
    if (ctx && setup_server(ctx, pem, alpn, require, err) < 0) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static int trust_system(SSL_CTX *ctx, struct os_error *err)
{
    cleanup_buf struct os_buf bundle = {0};
    if (!net_tls_system_bundle(&bundle))
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "no TLS root certificates available; install the ca-certificates package");
    return net_tls_trust(ctx, os_buf_str(&bundle), err);
}

static int setup_client(SSL_CTX *ctx, const struct net_tls_pem *pem, const char *const *alpn, bool insecure,
                        struct os_error *err)
{
    if (set_alpn(ctx, alpn, false, err) < 0)
        return -1;
    if ((pem->cert || pem->key) && use_identity(ctx, pem, err) < 0)
        return -1;
    if (insecure) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
        return 0;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (!pem->ca)
        return trust_system(ctx, err);
    /* What the user names as trusted is trusted, be it a root or an intermediate. */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    return net_tls_trust(ctx, pem->ca, err);
}

SSL_CTX *net_tls_client(const struct net_tls_pem *pem, const char *const *alpn, bool insecure,
                        struct os_error *err)
{
    net_tls_init();
    SSL_CTX *ctx = new_context(TLS_client_method(), err);
    if (ctx && setup_client(ctx, pem, alpn, insecure, err) < 0) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

int net_tls_expect_name(SSL *ssl, const char *name, struct os_error *err)
{
    struct net_addr addr;
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (net_addr_parse(name, &addr) == 0) {
        size_t n = addr.family == AF_INET ? sizeof(addr.v4) : sizeof(addr.v6);
        if (X509_VERIFY_PARAM_set1_ip(param, (const unsigned char *)&addr.v6, n) != 1)
            return net_tls_error(err, "cannot set the address to verify");
        return 0;
    }
    size_t n = strlen(name);
    if (n && name[n - 1] == '.')
        n--;
    if (!n || n > OS_LIMIT_HOST_NAME)
        return os_error_set(err, OS_INVALID_ARGUMENT, "a TLS server name must have 1 to %d bytes",
                            OS_LIMIT_HOST_NAME);
    cleanup_free char *plain = os_strndup(name, n);
    if (SSL_set_tlsext_host_name(ssl, plain) != 1 || X509_VERIFY_PARAM_set1_host(param, plain, n) != 1)
        return net_tls_error(err, "cannot set the name to verify");
    return 0;
}
