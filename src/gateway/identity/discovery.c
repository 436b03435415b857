/* The public key of the tokens as JWKS (RFC 7517, RFC 8037), and where to find it. No authentication: there
 * is nothing secret in it. */
#include "gateway/identity/discovery.h"

#include <jansson.h>
#include <string.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "core/encode.h"
#include "core/str.h"

#define JWKS "/.well-known/jwks.json"
#define CONFIGURATION "/.well-known/openid-configuration"

static json_t *jwks(const struct jwt_keys *k)
{
    unsigned char raw[32];
    cleanup_buf struct os_buf x = {0};
    if (!jwt_public_key(k, raw))
        return NULL;
    os_base64url_encode(&x, raw, sizeof(raw));
    return json_pack("{s:[{s:s,s:s,s:s,s:s,s:s,s:s}]}", "keys", "kty", "OKP", "crv", "Ed25519", "alg",
                     "EdDSA", "use", "sig", "kid", jwt_kid(k), "x", os_buf_str(&x));
}

static json_t *configuration(const struct jwt_keys *k, const char *host)
{
    cleanup_free char *uri = os_asprintf("https://%s" JWKS, host);
    return json_pack("{s:s,s:s,s:[s],s:[s],s:[s],s:[s],s:[s,s,s,s,s,s,s,s]}", "issuer", jwt_issuer(k),
                     "jwks_uri", uri, "id_token_signing_alg_values_supported", "EdDSA",
                     "response_types_supported", "id_token", "subject_types_supported", "public",
                     "scopes_supported", "openid", "claims_supported", "iss", "aud", "sub", "iat", "exp",
                     "jti", "caller_kind", "sandbox_id");
}

bool discovery_http(const struct jwt_keys *k, const struct rpc_http_request *req,
                    struct rpc_http_response *resp)
{
    bool keys = strcmp(req->path, JWKS) == 0;
    json_t *body = NULL;
    if (!keys && strcmp(req->path, CONFIGURATION) != 0)
        return false;
    if (strcmp(req->method, "GET") != 0 && strcmp(req->method, "HEAD") != 0) {
        resp->status = 405;
        return true;
    }
    if (!k) {
        resp->status = 404;
        return true;
    }
    if (keys)
        body = jwks(k);
    else if (req->host && *req->host)
        body = configuration(k, req->host);
    resp->status = body ? 200 : keys ? 500 : 400; /* 400: nobody said under which name we are reached */
    resp->content_type = body ? "application/json" : NULL;
    resp->body = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    return true;
}
