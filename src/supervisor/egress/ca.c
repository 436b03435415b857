/* Sandbox CA, CA files for the agent, certificate cache, upstream trust. */
#include "supervisor/egress/ca.h"

#include <openssl/err.h>
#include <pthread.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "net/tls.h"
#include "sys/file.h"

#define CA_YEARS 10
#define LEAF_YEARS 2
#define COMMON_NAME_MAX 64 /* RFC 5280 ub-common-name */

struct leaf {
    char *host;
    X509 *cert;
    EVP_PKEY *key;
    uint64_t used;
};

struct egress_ca {
    X509 *cert;
    EVP_PKEY *key;
    STACK_OF(X509) * chain;
    SSL_CTX *server;
    char *extra_roots;           /* PEM of the operator, NULL = none */
    pthread_mutex_t client_lock; /* guards client */
    SSL_CTX *client;             /* made for the first upstream: reading the system's roots takes a while */
    pthread_mutex_t lock;        /* guards the cache */
    struct leaf leaves[OS_LEAF_CACHE];
    size_t n;
    uint64_t clock;
};

/* --- start --- */

static int make_ca(struct egress_ca *ca, struct os_error *err)
{
    const struct net_cert_request req = {
        .cn = "OpenShell Sandbox CA", .o = "OpenShell", .ca = true, .years = CA_YEARS};
    ca->key = net_key_new_p256();
    if (!ca->key)
        return net_tls_error(err, "cannot make a key");
    ca->cert = net_cert_issue(&req, ca->key, NULL, NULL, err);
    if (!ca->cert)
        return -1;
    ca->chain = sk_X509_new_null();
    if (!ca->chain || !sk_X509_push(ca->chain, ca->cert))
        return os_error_set(err, OS_RESOURCE_EXHAUSTED, "out of memory");
    return 0;
}

/* openshell-ca.pem is the CA alone, ca-bundle.pem the system's roots and the CA. */
static int write_files(const char *dir, const char *pem, struct os_buf *bundle, struct os_error *err)
{
    cleanup_free char *alone = os_asprintf("%s/openshell-ca.pem", dir);
    cleanup_free char *both = os_asprintf("%s/ca-bundle.pem", dir);
    if (bundle->len && bundle->data[bundle->len - 1] != '\n')
        os_buf_addc(bundle, '\n');
    os_buf_adds(bundle, pem);
    if (bundle->failed)
        return os_error_set(err, OS_RESOURCE_EXHAUSTED,
                            "the CA bundle for the agent exceeds %zu bytes; trust fewer roots",
                            os_buf_max(bundle));
    if (os_file_write_atomic(alone, pem, strlen(pem), 0644, err) < 0)
        return -1;
    return os_file_write_atomic(both, bundle->data, bundle->len, 0644, err);
}

static int make_server(struct egress_ca *ca, const char *pem, struct os_error *err)
{
    cleanup_free char *key = net_key_pem(ca->key);
    if (!key)
        return net_tls_error(err, "cannot encode the key");
    ca->server = net_tls_server(&(struct net_tls_pem){.cert = pem, .key = key}, NULL, false, err);
    OPENSSL_cleanse(key, strlen(key));
    if (!ca->server)
        return -1;
    SSL_CTX_set_session_cache_mode(ca->server, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ca->server, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ca->server, 0);
    hello_attach(ca->server);
    return 0;
}

static SSL_CTX *make_client(const char *extra_roots, struct os_error *err)
{
    cleanup_buf struct os_buf roots = {0};
    net_tls_system_bundle(&roots);
    if (extra_roots) {
        os_buf_addc(&roots, '\n');
        os_buf_adds(&roots, extra_roots);
    }
    if (roots.failed || !roots.len) {
        os_error_set(err, OS_FAILED_PRECONDITION, "no TLS root certificates available");
        return NULL;
    }
    return net_tls_client(&(struct net_tls_pem){.ca = os_buf_str(&roots)}, NULL, false, err);
}

/* The upstream trust; NULL with *err when the roots cannot be read, which is tried again next time. */
static SSL_CTX *client_context(struct egress_ca *ca, struct os_error *err)
{
    pthread_mutex_lock(&ca->client_lock);
    if (!ca->client)
        ca->client = make_client(ca->extra_roots, err);
    SSL_CTX *client = ca->client;
    pthread_mutex_unlock(&ca->client_lock);
    return client;
}

static int read_extra_roots(struct egress_ca *ca, const char *file, struct os_error *err)
{
    cleanup_buf struct os_buf text = {0};
    if (!file)
        return 0;
    if (os_file_read(file, OS_LIMIT_CA_BUNDLE, &text, err) < 0)
        return -1;
    ca->extra_roots = os_buf_take(&text);
    return 0;
}

struct egress_ca *egress_ca_new(const char *dir, const char *extra_ca_file, const char **what,
                                struct os_error *err)
{
    net_tls_init();
    struct egress_ca *ca = os_calloc(1, sizeof(*ca));
    cleanup_buf struct os_buf bundle = {0};
    pthread_mutex_init(&ca->lock, NULL);
    pthread_mutex_init(&ca->client_lock, NULL);
    *what = "Failed to generate ephemeral CA";
    cleanup_free char *pem = make_ca(ca, err) < 0 ? NULL : net_cert_pem(ca->cert);
    if (!pem || make_server(ca, pem, err) < 0)
        goto failed;
    *what = "Failed to load TLS root certificates";
    if (read_extra_roots(ca, extra_ca_file, err) < 0)
        goto failed;
    if (!net_tls_system_bundle(&bundle) && !ca->extra_roots) {
        os_error_set(err, OS_FAILED_PRECONDITION, "no TLS root certificates available");
        goto failed;
    }
    *what = "Failed to write CA files";
    if (write_files(dir, pem, &bundle, err) < 0)
        goto failed;
    return ca;
failed:
    egress_ca_free(ca);
    return NULL;
}

static void drop_leaf(struct leaf *l)
{
    free(l->host);
    X509_free(l->cert);
    EVP_PKEY_free(l->key);
    *l = (struct leaf){0};
}

void egress_ca_free(struct egress_ca *ca)
{
    if (!ca)
        return;
    for (size_t i = 0; i < ca->n; i++)
        drop_leaf(&ca->leaves[i]);
    SSL_CTX_free(ca->server);
    SSL_CTX_free(ca->client);
    sk_X509_free(ca->chain);
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
    pthread_mutex_destroy(&ca->lock);
    pthread_mutex_destroy(&ca->client_lock);
    free(ca->extra_roots);
    free(ca);
}

/* --- certificates --- */

static int issue(struct egress_ca *ca, const char *host, struct leaf *out, struct os_error *err)
{
    const char *const sans[] = {host, NULL};
    const struct net_cert_request req = {.cn = strlen(host) <= COMMON_NAME_MAX ? host : NULL,
                                         .sans = sans,
                                         .server_auth = true,
                                         .years = LEAF_YEARS};
    out->key = net_key_new_p256();
    if (!out->key)
        return net_tls_error(err, "cannot make a key");
    out->cert = net_cert_issue(&req, out->key, ca->cert, ca->key, err);
    if (!out->cert)
        return -1;
    out->host = os_strdup(host);
    return 0;
}

/* References to the cached certificate; false when there is none. Locked by the caller. */
static bool lookup(struct egress_ca *ca, const char *host, X509 **cert, EVP_PKEY **key)
{
    for (size_t i = 0; i < ca->n; i++) {
        struct leaf *l = &ca->leaves[i];
        if (strcmp(l->host, host))
            continue;
        l->used = ++ca->clock;
        X509_up_ref(l->cert);
        EVP_PKEY_up_ref(l->key);
        *cert = l->cert;
        *key = l->key;
        return true;
    }
    return false;
}

/* Stores a new certificate in place of the least recently used one. Locked by the caller. */
static void store(struct egress_ca *ca, struct leaf *fresh)
{
    struct leaf *slot = &ca->leaves[0];
    if (ca->n < OS_LEAF_CACHE)
        slot = &ca->leaves[ca->n++];
    else
        for (size_t i = 1; i < ca->n; i++)
            if (ca->leaves[i].used < slot->used)
                slot = &ca->leaves[i];
    drop_leaf(slot);
    *slot = *fresh;
}

static int certificate(struct egress_ca *ca, const char *host, X509 **cert, EVP_PKEY **key,
                       struct os_error *err)
{
    pthread_mutex_lock(&ca->lock);
    bool found = lookup(ca, host, cert, key);
    pthread_mutex_unlock(&ca->lock);
    if (found)
        return 0;
    struct leaf fresh = {0};
    if (issue(ca, host, &fresh, err) < 0) {
        drop_leaf(&fresh);
        return -1;
    }
    pthread_mutex_lock(&ca->lock);
    if (lookup(ca, host, cert, key)) {
        drop_leaf(&fresh);
    } else {
        store(ca, &fresh);
        lookup(ca, host, cert, key);
    }
    pthread_mutex_unlock(&ca->lock);
    return 0;
}

SSL *egress_ca_server(struct egress_ca *ca, struct egress_hello *hello, struct os_error *err)
{
    X509 *cert = NULL;
    EVP_PKEY *key = NULL;
    if (certificate(ca, hello->host, &cert, &key, err) < 0)
        return NULL;
    SSL *ssl = SSL_new(ca->server);
    bool ok = ssl && SSL_use_cert_and_key(ssl, cert, key, ca->chain, 1) == 1;
    X509_free(cert);
    EVP_PKEY_free(key);
    if (!ok) {
        net_tls_error(err, "cannot use the certificate made for the host");
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_app_data(ssl, hello);
    SSL_set_accept_state(ssl);
    return ssl;
}

SSL *egress_ca_client(struct egress_ca *ca, const char *host, struct os_error *err)
{
    SSL_CTX *client = client_context(ca, err);
    if (!client)
        return NULL;
    SSL *ssl = SSL_new(client);
    if (!ssl) {
        net_tls_error(err, "cannot start TLS");
        return NULL;
    }
    if (net_tls_expect_name(ssl, host, err) < 0) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_connect_state(ssl);
    return ssl;
}

size_t egress_ca_cached(struct egress_ca *ca)
{
    pthread_mutex_lock(&ca->lock);
    size_t n = ca->n;
    pthread_mutex_unlock(&ca->lock);
    return n;
}
