/* generate-certs, local mode: CA, server, client and sandbox-token keys. */
#include "gateway/identity/certs.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/encode.h"
#include "core/log.h"
#include "net/dns.h"
#include "net/tls.h"
#include "sys/client_bundle.h"
#include "sys/file.h"
#include "sys/paths.h"

#define YEARS 50
#define KEY_FILE_MAX 65536

static const char *const base_sans[] = {
    "openshell",
    "openshell.openshell.svc",
    "openshell.openshell.svc.cluster.local",
    "localhost",
    "openshell.localhost",
    "*.openshell.localhost",
    "host.docker.internal",
    "host.containers.internal",
    "127.0.0.1",
    "::1",
};

static const struct {
    const char *path;
    mode_t mode;
} tls_files[] = {{"ca.crt", 0644},         {"ca.key", 0600},         {"server/tls.crt", 0644},
                 {"server/tls.key", 0600}, {"client/tls.crt", 0644}, {"client/tls.key", 0600}},
  jwt_files[] = {{"jwt/signing.pem", 0600}, {"jwt/public.pem", 0644}, {"jwt/kid", 0644}};

/* PEM texts in the order of the tables above. */
struct material {
    char *tls[6];
    char *jwt[3];
};

static void material_free(struct material *m)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(m->tls); i++)
        free(m->tls[i]);
    for (size_t i = 0; i < OS_ARRAY_LEN(m->jwt); i++)
        free(m->jwt[i]);
}

static void all_sans(const struct os_strv *extra, struct os_strv *out)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(base_sans); i++)
        os_strv_add(out, base_sans[i]);
    for (size_t i = 0; i < extra->n; i++)
        if (!os_strv_has(out, extra->v[i]))
            os_strv_add(out, extra->v[i]);
}

static int make_tls(const struct os_strv *extra, struct material *m, struct os_error *err)
{
    cleanup_strv struct os_strv sans = {0};
    all_sans(extra, &sans);
    EVP_PKEY *keys[3] = {net_key_new_p256(), net_key_new_p256(), net_key_new_p256()};
    X509 *certs[3] = {0};
    const struct net_cert_request requests[3] = {
        {.cn = "openshell-ca", .o = "openshell", .ca = true, .years = YEARS},
        {.cn = "openshell-server", .sans = (const char *const *)sans.v, .server_auth = true, .years = YEARS},
        {.cn = "openshell-client", .ou = "openshell-user", .client_auth = true, .years = YEARS},
    };
    int rc = 0;
    for (int i = 0; i < 3 && rc == 0; i++) {
        certs[i] = keys[i] ? net_cert_issue(&requests[i], keys[i], certs[0], i ? keys[0] : NULL, err) : NULL;
        if (!certs[i]) {
            rc = -1;
            break;
        }
        m->tls[2 * i] = net_cert_pem(certs[i]);
        m->tls[2 * i + 1] = net_key_pem(keys[i]);
    }
    for (int i = 0; i < 3; i++) {
        X509_free(certs[i]);
        EVP_PKEY_free(keys[i]);
    }
    return rc;
}

static int make_jwt(struct material *m, struct os_error *err)
{
    EVP_PKEY *key = net_key_new_ed25519();
    unsigned char *der = NULL;
    int n = key ? i2d_PUBKEY(key, &der) : -1;
    if (n <= 0) {
        EVP_PKEY_free(key);
        return os_error_set(err, OS_INTERNAL, "cannot make an Ed25519 key");
    }
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(der, (size_t)n, digest);
    OPENSSL_free(der);
    m->jwt[0] = net_key_pem(key);
    m->jwt[1] = net_pubkey_pem(key);
    m->jwt[2] = os_calloc(1, 33);
    os_hex(digest, 16, m->jwt[2]);
    EVP_PKEY_free(key);
    return 0;
}

static int present(const char *dir, bool jwt)
{
    int have = 0;
    size_t n = jwt ? OS_ARRAY_LEN(jwt_files) : OS_ARRAY_LEN(tls_files);
    for (size_t i = 0; i < n; i++) {
        cleanup_free char *p = os_asprintf("%s/%s", dir, jwt ? jwt_files[i].path : tls_files[i].path);
        have += os_file_exists(p);
    }
    return have;
}

/* True when the server certificate carries every wanted SAN. */
static bool sans_covered(const char *dir, const struct os_strv *extra)
{
    cleanup_free char *path = os_asprintf("%s/server/tls.crt", dir);
    cleanup_buf struct os_buf pem = {0};
    cleanup_error struct os_error err = {0};
    if (os_file_read(path, KEY_FILE_MAX, &pem, &err) < 0)
        return false;
    BIO *bio = BIO_new_mem_buf(os_buf_str(&pem), (int)pem.len);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    cleanup_strv struct os_strv sans = {0};
    all_sans(extra, &sans);
    bool ok = cert != NULL;
    for (size_t i = 0; ok && i < sans.n; i++) {
        struct net_addr a;
        ok = net_addr_parse(sans.v[i], &a) == 0
                 ? X509_check_ip_asc(cert, sans.v[i], 0) == 1
                 : X509_check_host(cert, sans.v[i][0] == '*' ? sans.v[i] + 2 : sans.v[i], 0, 0, NULL) == 1 ||
                       sans.v[i][0] == '*';
    }
    X509_free(cert);
    return ok;
}

static int write_files(const char *dir, const struct material *m, struct os_error *err)
{
    static const char *const subdirs[] = {"", "/server", "/client", "/jwt"};
    for (size_t i = 0; i < OS_ARRAY_LEN(subdirs); i++) {
        cleanup_free char *d = os_asprintf("%s%s", dir, subdirs[i]);
        if (os_dir_make(d, 0700, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < OS_ARRAY_LEN(tls_files) + OS_ARRAY_LEN(jwt_files); i++) {
        bool jwt = i >= OS_ARRAY_LEN(tls_files);
        size_t k = jwt ? i - OS_ARRAY_LEN(tls_files) : i;
        const char *text = jwt ? m->jwt[k] : m->tls[k];
        if (!text)
            continue;
        cleanup_free char *p = os_asprintf("%s/%s", dir, jwt ? jwt_files[k].path : tls_files[k].path);
        if (os_file_write_atomic(p, text, strlen(text), jwt ? jwt_files[k].mode : tls_files[k].mode, err) < 0)
            return -1;
    }
    return 0;
}

/* For the CLI of this machine. */
static int publish_client_bundle(const char *dir, struct os_error *err)
{
    cleanup_free char *config = os_config_dir(err);
    cleanup_free char *gateway = config ? os_asprintf("%s/gateways/openshell", config) : NULL;
    return gateway ? os_client_bundle_copy(dir, gateway, err) : -1;
}

int certs_ensure(const char *dir, const struct os_strv *extra_sans, bool *created, struct os_error *err)
{
    int tls = present(dir, false), jwt = present(dir, true);
    if ((tls != 0 && tls != 6) || (jwt != 0 && jwt != 3) || (tls == 0 && jwt == 3))
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "partial PKI state in %s: some files exist but not all. Recover with: rm -rf %s (the "
            "gateway will regenerate on next start)",
            dir, dir);
    bool new_tls = tls == 0 || !sans_covered(dir, extra_sans);
    bool new_jwt = jwt == 0;
    *created = new_tls || new_jwt;
    struct material m = {0};
    int rc = 0;
    if (new_tls)
        rc = make_tls(extra_sans, &m, err);
    if (rc == 0 && new_jwt)
        rc = make_jwt(&m, err);
    if (rc == 0 && *created)
        rc = write_files(dir, &m, err);
    material_free(&m);
    if (rc < 0)
        return -1;
    cleanup_error struct os_error copy_err = {0};
    if (publish_client_bundle(dir, &copy_err) < 0)
        os_log_warn("certs", "could not copy the client certificate for the CLI: %s",
                    os_error_text(&copy_err));
    return 0;
}

int certs_print(const struct os_strv *extra_sans, struct os_error *err)
{
    struct material m = {0};
    if (make_tls(extra_sans, &m, err) < 0) {
        material_free(&m);
        return -1;
    }
    static const struct {
        const char *title;
        int index;
    } parts[] = {{"CA certificate", 0},
                 {"Server certificate", 2},
                 {"Server key", 3},
                 {"Client certificate", 4},
                 {"Client key", 5}};
    for (size_t i = 0; i < OS_ARRAY_LEN(parts); i++)
        printf("# %s\n%s", parts[i].title, m.tls[parts[i].index]);
    material_free(&m);
    return 0;
}
