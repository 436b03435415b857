/* Sandbox tokens: minting and verification. */
#include "gateway/identity/jwt.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/encode.h"
#include "core/id.h"
#include "core/str.h"
#include "sys/file.h"

#define GATEWAY_ID "openshell"
#define SUBJECT_PREFIX "spiffe://openshell/sandbox/"
#define LEEWAY_SECS 60
#define EXTENSION_TYPE "openshell-ext+jwt"
#define EXTENSION_TTL 900      /* seconds, when sandbox tokens never expire */
#define EXTENSION_TTL_MAX 3600 /* seconds */
#define TOKEN_MAX 8192

struct jwt_keys {
    EVP_PKEY *signing, *verifying;
    char *kid;
    char *audience; /* issuer too */
};

static EVP_PKEY *read_key(const char *path, bool private, struct os_error *err)
{
    cleanup_buf struct os_buf pem = {0};
    if (os_file_read(path, 65536, &pem, err) < 0)
        return NULL;
    BIO *bio = BIO_new_mem_buf(os_buf_str(&pem), (int)pem.len);
    EVP_PKEY *key =
        private ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (key && EVP_PKEY_id(key) != EVP_PKEY_ED25519) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    if (!key)
        os_error_set(err, OS_INVALID_ARGUMENT, "'%s' is not an Ed25519 key in PEM", path);
    if (pem.data)
        explicit_bzero(pem.data, pem.cap);
    return key;
}

int jwt_keys_load_files(const char *signing, const char *public, const char *kid, const char *gateway_id,
                        struct jwt_keys **out, struct os_error *err)
{
    struct jwt_keys *k = os_calloc(1, sizeof(*k));
    cleanup_buf struct os_buf text = {0};
    *out = NULL;
    k->audience = os_asprintf("openshell-gateway:%s", gateway_id ? gateway_id : GATEWAY_ID);
    if (!(k->signing = read_key(signing, true, err))) {
        os_error_wrap(err, "failed to read sandbox JWT signing key from %s", signing);
    } else if (!(k->verifying = read_key(public, false, err))) {
        os_error_wrap(err, "failed to read sandbox JWT public key from %s", public);
    } else if (os_file_read(kid, 1024, &text, err) < 0) {
        os_error_wrap(err, "failed to read sandbox JWT kid from %s", kid);
    } else {
        k->kid = os_strdup(os_str_trim(text.data ? text.data : (char[1]){0}));
        if (*k->kid) {
            *out = k;
            return 0;
        }
        os_error_set(err, OS_FAILED_PRECONDITION, "sandbox JWT kid file %s is empty", kid);
    }
    jwt_keys_free(k);
    return -1;
}

int jwt_keys_load(const char *dir, struct jwt_keys **out, struct os_error *err)
{
    cleanup_free char *signing = os_asprintf("%s/signing.pem", dir);
    cleanup_free char *public = os_asprintf("%s/public.pem", dir);
    cleanup_free char *kid = os_asprintf("%s/kid", dir);
    int have = os_file_exists(signing) + os_file_exists(public) + os_file_exists(kid);
    *out = NULL;
    if (have == 0)
        return 0;
    if (have == 3)
        return jwt_keys_load_files(signing, public, kid, NULL, out, err);
    cleanup_free char *parent = os_strndup(dir, strlen(dir) - strlen("/jwt"));
    return os_error_set(err, OS_FAILED_PRECONDITION,
                        "partial local sandbox JWT state in %s: expected jwt/signing.pem, jwt/public.pem, "
                        "and jwt/kid",
                        parent);
}

void jwt_keys_free(struct jwt_keys *k)
{
    if (!k)
        return;
    EVP_PKEY_free(k->signing);
    EVP_PKEY_free(k->verifying);
    free(k->kid);
    free(k->audience);
    free(k);
}

static void add_json(struct os_buf *out, json_t *owned)
{
    cleanup_free char *text = json_dumps(owned, JSON_COMPACT);
    json_decref(owned);
    os_base64url_encode(out, text, strlen(text));
}

/* Takes header and claims; NULL with *err. */
static char *sign(const struct jwt_keys *k, json_t *header, json_t *claims, const char *what,
                  struct os_error *err)
{
    struct os_buf out = {.max = TOKEN_MAX};
    add_json(&out, header);
    os_buf_addc(&out, '.');
    add_json(&out, claims);
    unsigned char sig[64];
    size_t sig_len = sizeof(sig);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md && EVP_DigestSignInit(md, NULL, NULL, NULL, k->signing) == 1 &&
              EVP_DigestSign(md, sig, &sig_len, (const unsigned char *)out.data, out.len) == 1;
    EVP_MD_CTX_free(md);
    if (!ok) {
        os_buf_free(&out);
        os_error_set(err, OS_INTERNAL, "failed to mint %s token", what);
        return NULL;
    }
    os_buf_addc(&out, '.');
    os_base64url_encode(&out, sig, sig_len);
    return os_buf_take(&out);
}

char *jwt_mint_sandbox(const struct jwt_keys *k, const char *sandbox_id, int64_t ttl_secs,
                       int64_t *expires_at_ms, struct os_error *err)
{
    int64_t now = os_clock_ms() / 1000, exp = ttl_secs ? now + ttl_secs : 0;
    cleanup_free char *subject = os_asprintf(SUBJECT_PREFIX "%s", sandbox_id);
    json_t *header = json_pack("{s:s,s:s,s:s}", "typ", "JWT", "alg", "EdDSA", "kid", k->kid);
    json_t *claims =
        json_pack("{s:s,s:s,s:s,s:I,s:I,s:s}", "sub", subject, "iss", k->audience, "aud", k->audience, "iat",
                  (json_int_t)now, "exp", (json_int_t)exp, "sandbox_id", sandbox_id);
    if (expires_at_ms)
        *expires_at_ms = exp * 1000;
    return sign(k, header, claims, "sandbox", err);
}

int jwt_check_audience(const struct jwt_keys *k, const char *audience, struct os_error *err)
{
    size_t n = strlen(audience);
    if (!n)
        return os_error_set(err, OS_INVALID_ARGUMENT, "extension audience must not be empty");
    for (const char *p = audience; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return os_error_set(err, OS_INVALID_ARGUMENT,
                                "extension audience must not contain control characters");
    if (audience[0] == ' ' || audience[n - 1] == ' ')
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "extension audience must not have leading or trailing whitespace");
    if (strcmp(audience, k->audience) == 0)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "extension audience must not equal the gateway sandbox audience");
    return 0;
}

char *jwt_mint_extension(const struct jwt_keys *k, const char *sandbox_id, const char *audience,
                         int64_t ttl_secs, int64_t *expires_at_ms, struct os_error *err)
{
    char id[OS_UUID_LEN];
    int64_t ttl = !ttl_secs ? EXTENSION_TTL : ttl_secs > EXTENSION_TTL_MAX ? EXTENSION_TTL_MAX : ttl_secs;
    int64_t now = os_clock_ms() / 1000;
    if (jwt_check_audience(k, audience, err) < 0)
        return NULL;
    cleanup_free char *subject =
        sandbox_id ? os_asprintf(SUBJECT_PREFIX "%s", sandbox_id) : os_strdup(k->audience);
    json_t *header = json_pack("{s:s,s:s,s:s}", "typ", EXTENSION_TYPE, "alg", "EdDSA", "kid", k->kid);
    json_t *claims =
        json_pack("{s:s,s:s,s:s,s:I,s:I,s:s,s:s,s:s*}", "iss", k->audience, "aud", audience, "sub", subject,
                  "iat", (json_int_t)now, "exp", (json_int_t)(now + ttl), "jti", os_uuid(id), "caller_kind",
                  sandbox_id ? "supervisor" : "gateway", "sandbox_id", sandbox_id);
    if (expires_at_ms)
        *expires_at_ms = (now + ttl) * 1000;
    return sign(k, header, claims, "extension", err);
}

const char *jwt_issuer(const struct jwt_keys *k)
{
    return k->audience;
}

const char *jwt_kid(const struct jwt_keys *k)
{
    return k->kid;
}

bool jwt_public_key(const struct jwt_keys *k, unsigned char out[32])
{
    size_t n = 32;
    return EVP_PKEY_get_raw_public_key(k->verifying, out, &n) == 1 && n == 32;
}

static json_t *decode_json(const char *text, size_t n)
{
    cleanup_buf struct os_buf plain = {.max = TOKEN_MAX};
    if (!os_base64url_decode(&plain, text, n) || !plain.len)
        return NULL;
    return json_loadb(plain.data, plain.len, JSON_REJECT_DUPLICATES, NULL);
}

static const char *text_of(json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static enum jwt_result bad(struct os_error *err, const char *reason)
{
    if (reason)
        os_error_set(err, OS_UNAUTHENTICATED, "invalid token: %s", reason);
    else
        os_error_set(err, OS_UNAUTHENTICATED, "invalid token");
    return JWT_BAD;
}

static bool signature_ok(const struct jwt_keys *k, const char *token, const char *dot)
{
    cleanup_buf struct os_buf sig = {.max = 256};
    if (!os_base64url_decode(&sig, dot + 1, strlen(dot + 1)) || sig.len != 64)
        return false;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md && EVP_DigestVerifyInit(md, NULL, NULL, NULL, k->verifying) == 1 &&
              EVP_DigestVerify(md, (const unsigned char *)sig.data, sig.len, (const unsigned char *)token,
                               (size_t)(dot - token)) == 1;
    EVP_MD_CTX_free(md);
    return ok;
}

static enum jwt_result check_claims(const struct jwt_keys *k, json_t *claims, char *sandbox_id,
                                    struct os_error *err)
{
    json_t *exp = json_object_get(claims, "exp");
    if (!json_is_integer(exp))
        return bad(err, "MissingRequiredClaim(\"exp\")");
    if (strcmp(text_of(claims, "iss"), k->audience) != 0)
        return bad(err, "InvalidIssuer");
    if (strcmp(text_of(claims, "aud"), k->audience) != 0)
        return bad(err, "InvalidAudience");
    json_int_t at = json_integer_value(exp);
    if (at != 0 && at < os_clock_ms() / 1000 - LEEWAY_SECS)
        return bad(err, "ExpiredSignature");
    const char *id = text_of(claims, "sandbox_id"), *sub = text_of(claims, "sub");
    if (strlen(id) != OS_UUID_LEN - 1 || !os_str_starts(sub, SUBJECT_PREFIX) ||
        strcmp(sub + strlen(SUBJECT_PREFIX), id) != 0)
        return bad(err, "InvalidSubject");
    memcpy(sandbox_id, id, OS_UUID_LEN);
    return JWT_OK;
}

enum jwt_result jwt_verify_sandbox(const struct jwt_keys *k, const char *token, char *sandbox_id,
                                   struct os_error *err)
{
    const char *first = strchr(token, '.'), *last = strrchr(token, '.');
    if (strlen(token) > TOKEN_MAX || !first || first == last)
        return bad(err, NULL);
    json_t *header = decode_json(token, (size_t)(first - token));
    if (!json_is_object(header)) {
        json_decref(header);
        return bad(err, NULL);
    }
    bool extension = strcmp(text_of(header, "typ"), EXTENSION_TYPE) == 0;
    bool mine = strcmp(text_of(header, "kid"), k->kid) == 0 && strcmp(text_of(header, "alg"), "EdDSA") == 0;
    json_decref(header);
    if (extension) {
        os_error_set(err, OS_UNAUTHENTICATED, "extension tokens cannot authenticate to the gateway");
        return JWT_BAD;
    }
    if (!mine)
        return JWT_NOT_MINE;
    if (!signature_ok(k, token, last))
        return bad(err, "InvalidSignature");
    json_t *claims = decode_json(first + 1, (size_t)(last - first - 1));
    enum jwt_result r = json_is_object(claims) ? check_claims(k, claims, sandbox_id, err) : bad(err, "JSON");
    json_decref(claims);
    return r;
}
