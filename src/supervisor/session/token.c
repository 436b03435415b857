/* Expiry of sandbox tokens and the time of their renewal. */
#include "supervisor/session/token.h"

#include <jansson.h>
#include <string.h>

#include "core/encode.h"

#define HOUR_MS 3600000

int64_t token_expiry(const char *token)
{
    cleanup_buf struct os_buf payload = {.max = 16384};
    const char *dot = strchr(token, '.');
    const char *end = dot ? strchr(dot + 1, '.') : NULL;
    if (!end || !os_base64url_decode(&payload, dot + 1, (size_t)(end - dot - 1)))
        return 0;
    json_t *claims = json_loadb(os_buf_str(&payload), payload.len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *exp = json_object_get(claims, "exp");
    double at = json_is_number(exp) ? json_number_value(exp) : 0;
    json_decref(claims);
    return at > 0 && at < 1e12 ? (int64_t)at : 0;
}

int64_t token_renew_in(int64_t expiry_ms, int64_t now_ms, uint32_t random)
{
    int64_t wait = 6 * (int64_t)HOUR_MS;
    if (expiry_ms && expiry_ms <= now_ms)
        return 1000;
    if (expiry_ms)
        wait = (expiry_ms - now_ms) / 10 * 8;
    if (wait < 1000)
        wait = 1000;
    if (wait > 12 * (int64_t)HOUR_MS)
        wait = 12 * (int64_t)HOUR_MS;
    return wait + wait / 100 * (random % 10);
}
