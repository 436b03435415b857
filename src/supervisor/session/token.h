/* When to renew a sandbox token (spec/supervisor.md 12). Pure. */
#ifndef SUPERVISOR_SESSION_TOKEN_H
#define SUPERVISOR_SESSION_TOKEN_H

#include <stdint.h>

/* `exp` of a JWT in seconds since the epoch; 0 when the token is no JWT or has none. The signature is not
 * checked: the value only schedules. */
int64_t token_expiry(const char *token);

/* Milliseconds until renewal: 80 % of the time left (1 s to 12 h) plus up to 9 % by `random`; 6 h when expiry
 * is unknown (0), 1 s when it has passed. */
int64_t token_renew_in(int64_t expiry_ms, int64_t now_ms, uint32_t random);

#endif
