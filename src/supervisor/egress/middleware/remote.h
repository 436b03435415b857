/* Middleware services of the operator, asked over gRPC (spec/proxy.md 13.2). Their clients live on the
 * middleware loop; these functions are for other threads and block where they say so. */
#ifndef SUPERVISOR_EGRESS_MIDDLEWARE_REMOTE_H
#define SUPERVISOR_EGRESS_MIDDLEWARE_REMOTE_H

#include "supervisor/egress/middleware/loop.h"
#include "supervisor/egress/middleware/service.h"

/* Describes the service and returns it, ready for the chain; blocks up to the operator's timeout and the time
 * to connect. token: bearer of every call, NULL = none; authenticated: without one no call is made.
 * NULL with *err. */
struct middleware_service *remote_new(struct middleware_loop *loop, const middleware_registration *r,
                                      bool authenticated, const char *token, int64_t token_expires_ms,
                                      struct os_error *err);
/* A new token for the calls from now on; expires_ms 0 = never. */
void remote_set_token(struct middleware_service *s, const char *token, int64_t expires_ms);
/* No call of it may be under way in a thread that waits. */
void remote_free(struct middleware_service *s);

#endif
