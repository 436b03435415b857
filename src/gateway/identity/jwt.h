/* Sandbox tokens: JWS compact, EdDSA (Ed25519), as published (spec/identity.md 5). Any thread. */
#ifndef GATEWAY_JWT_H
#define GATEWAY_JWT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

struct jwt_keys;

/* Reads signing.pem, public.pem and kid of DIR. All three absent: *out = NULL and 0. Some absent: error. */
int jwt_keys_load(const char *dir, struct jwt_keys **out, struct os_error *err);
/* The same from three files; gateway_id (NULL = "openshell") is whom the tokens are for. */
int jwt_keys_load_files(const char *signing, const char *public, const char *kid, const char *gateway_id,
                        struct jwt_keys **out, struct os_error *err);
void jwt_keys_free(struct jwt_keys *k);

/* Token for a sandbox; ttl_secs 0 = never expires. Caller frees. *expires_at_ms may be NULL. */
char *jwt_mint_sandbox(const struct jwt_keys *k, const char *sandbox_id, int64_t ttl_secs,
                       int64_t *expires_at_ms, struct os_error *err);

/* Token for an extension service (spec/identity.md 5, extension tokens). sandbox_id NULL = the gateway itself
 * calls. ttl_secs as for sandbox tokens, capped at an hour, 15 minutes when 0. Caller frees. */
char *jwt_mint_extension(const struct jwt_keys *k, const char *sandbox_id, const char *audience,
                         int64_t ttl_secs, int64_t *expires_at_ms, struct os_error *err);
/* An audience that tokens may be for. */
int jwt_check_audience(const struct jwt_keys *k, const char *audience, struct os_error *err);

/* What others need to check our tokens. */
const char *jwt_issuer(const struct jwt_keys *k);
const char *jwt_kid(const struct jwt_keys *k);
bool jwt_public_key(const struct jwt_keys *k, unsigned char out[32]);

enum jwt_result {
    JWT_OK,
    JWT_NOT_MINE, /* another issuer's token: try the next authenticator */
    JWT_BAD,      /* *err says why, OS_UNAUTHENTICATED */
};
/* sandbox_id takes the UUID text (OS_UUID_LEN bytes). */
enum jwt_result jwt_verify_sandbox(const struct jwt_keys *k, const char *token, char *sandbox_id,
                                   struct os_error *err);

#endif
