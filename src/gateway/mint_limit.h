/* How often a sandbox may have tokens for its middleware services made (spec/identity.md 5). Any thread. */
#ifndef GATEWAY_MINT_LIMIT_H
#define GATEWAY_MINT_LIMIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/id.h"

struct mint_window {
    char sandbox_id[OS_UUID_LEN];
    int64_t begun_ms;
    unsigned calls;
};

struct mint_limit {
    pthread_mutex_t lock;
    struct mint_window *v;
    size_t n, cap;
};

void mint_limit_init(struct mint_limit *m);
void mint_limit_free(struct mint_limit *m);
/* Counts a call; false when there were OS_MIDDLEWARE_CREDENTIAL_CALLS in the minute that the first one began.
 */
bool mint_limit_take(struct mint_limit *m, const char *sandbox_id);

#endif
