/* Keys and certificates made on the spot: the gateway's own PKI and the sandbox CA with its leaves. Names go
 * into the certificate as typed values, never through OpenSSL's configuration syntax. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "core/limits.h"
#include "core/str.h"
#include "net/dns.h"
#include "net/tls.h"

#define SERIAL_BITS 127    /* positive, within the 20 octets of RFC 5280 4.1.2.2 */
#define COMMON_NAME_MAX 64 /* characters, ub-common-name of RFC 5280 A.1 */
#define YEARS_MAX 100

EVP_PKEY *net_key_new_p256(void)
{
    net_tls_init();
    return EVP_EC_gen("P-256");
}

EVP_PKEY *net_key_new_ed25519(void)
{
    net_tls_init();
    return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}

static bool set_serial(X509 *cert)
{
    BIGNUM *serial = BN_new();
    bool ok = serial && BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
              BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)) != NULL;
    BN_free(serial);
    return ok;
}

static bool set_validity(X509 *cert, int years)
{
    time_t now = time(NULL);
    return X509_time_adj_ex(X509_getm_notBefore(cert), -1, 0, &now) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(cert), years * 365 + years / 4, 0, &now) != NULL;
}

static bool add_name(X509_NAME *name, const char *field, const char *value)
{
    return !value || X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)value, -1,
                                                -1, 0) == 1;
}

/* A common name that is too long is left out: verifiers look at the alternative names. */
static bool set_subject(X509 *cert, const struct net_cert_request *req)
{
    X509_NAME *name = X509_get_subject_name(cert);
    const char *cn = req->cn && strlen(req->cn) <= COMMON_NAME_MAX ? req->cn : NULL;
    return add_name(name, "O", req->o) && add_name(name, "OU", req->ou) && add_name(name, "CN", cn);
}

static bool add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

static bool dns_name_ok(const char *s)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++)
        if (s[i] <= ' ' || s[i] >= 0x7f)
            return false;
    return n > 0 && n <= OS_LIMIT_HOST_NAME;
}

static GENERAL_NAME *general_name(const char *san)
{
    struct net_addr addr;
    GENERAL_NAME *name = NULL;
    bool is_ip = net_addr_parse(san, &addr) == 0;
    if (!is_ip && !dns_name_ok(san))
        return NULL;
    ASN1_STRING *value = ASN1_STRING_type_new(is_ip ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    const void *data = is_ip ? (const void *)&addr.v6 : san;
    int len = !is_ip ? (int)strlen(san) : addr.family == AF_INET ? 4 : 16;
    if (value && ASN1_STRING_set(value, data, len) == 1)
        name = GENERAL_NAME_new();
    if (name)
        GENERAL_NAME_set0_value(name, is_ip ? GEN_IPADD : GEN_DNS, value);
    else
        ASN1_STRING_free(value);
    return name;
}

static bool add_sans(X509 *cert, const char *const *sans)
{
    if (!sans || !sans[0])
        return true;
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    bool ok = names != NULL;
    for (size_t i = 0; ok && sans[i]; i++) {
        GENERAL_NAME *name = general_name(sans[i]);
        ok = name && sk_GENERAL_NAME_push(names, name) > 0;
        if (!ok)
            GENERAL_NAME_free(name);
    }
    /* RFC 5280 4.2.1.6: critical when there is no subject */
    int critical = X509_NAME_entry_count(X509_get_subject_name(cert)) == 0;
    ok = ok && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, critical, 0) == 1;
    GENERAL_NAMES_free(names);
    return ok;
}

static bool add_extensions(X509 *cert, const struct net_cert_request *req, X509 *issuer)
{
    const char *usage = req->ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature";
    const char *purposes = req->server_auth && req->client_auth ? "serverAuth,clientAuth"
                           : req->server_auth                   ? "serverAuth"
                           : req->client_auth                   ? "clientAuth"
                                                                : NULL;
    return add_ext(cert, issuer, NID_basic_constraints, req->ca ? "critical,CA:TRUE" : "critical,CA:FALSE") &&
           add_ext(cert, issuer, NID_key_usage, usage) &&
           (!purposes || add_ext(cert, issuer, NID_ext_key_usage, purposes)) &&
           add_ext(cert, issuer, NID_subject_key_identifier, "hash") &&
           (issuer == cert || add_ext(cert, issuer, NID_authority_key_identifier, "keyid:always")) &&
           add_sans(cert, req->sans);
}

static bool fill(X509 *cert, const struct net_cert_request *req, EVP_PKEY *key, X509 *issuer,
                 EVP_PKEY *issuer_key)
{
    const EVP_MD *digest = EVP_PKEY_is_a(issuer_key, "ED25519") ? NULL : EVP_sha256();
    return X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
           set_validity(cert, req->years) && set_subject(cert, req) &&
           X509_set_issuer_name(cert, X509_get_subject_name(issuer)) == 1 &&
           X509_set_pubkey(cert, key) == 1 && add_extensions(cert, req, issuer) &&
           X509_sign(cert, issuer_key, digest) > 0;
}

X509 *net_cert_issue(const struct net_cert_request *req, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                     struct os_error *err)
{
    net_tls_init();
    if (req->years < 1 || req->years > YEARS_MAX) {
        os_error_set(err, OS_INVALID_ARGUMENT, "a certificate's validity must be 1 to %d years, not %d",
                     YEARS_MAX, req->years);
        return NULL;
    }
    X509 *cert = X509_new();
    bool ok = cert && fill(cert, req, key, issuer ? issuer : cert, issuer ? issuer_key : key);
    if (ok)
        return cert;
    net_tls_error(err, "cannot issue a certificate; check its names");
    X509_free(cert);
    return NULL;
}

/* --- PEM --- */

/* Takes the text out of bio and frees it. */
static char *bio_text(BIO *bio, int written)
{
    char *data = NULL;
    long n = bio && written == 1 ? BIO_get_mem_data(bio, &data) : 0;
    char *text = n > 0 ? os_strndup(data, (size_t)n) : NULL;
    BIO_free(bio);
    return text;
}

char *net_cert_pem(X509 *cert)
{
    BIO *bio = BIO_new(BIO_s_mem());
    return bio_text(bio, bio ? PEM_write_bio_X509(bio, cert) : 0);
}

char *net_key_pem(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    return bio_text(bio, bio ? PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) : 0);
}

char *net_pubkey_pem(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    return bio_text(bio, bio ? PEM_write_bio_PUBKEY(bio, key) : 0);
}
