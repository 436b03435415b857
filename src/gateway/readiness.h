/* Whether this gateway can do its work: the database probe, the HTTP health routes
 * (spec/gateway.md 2.2, 2.3), and who else wants to know. Loop thread. */
#ifndef GATEWAY_READINESS_H
#define GATEWAY_READINESS_H

#include "gateway/gateway.h"

struct readiness;

/* The answer is another one than before. */
typedef void readiness_fn(void *ctx, bool serving);

/* Probes the store every 5 s on a worker, first at once. */
struct readiness *readiness_new(struct gateway *gw, readiness_fn *changed, void *ctx);
/* The database answers, and the gateway is not about to end. */
bool readiness_serving(const struct readiness *r);
/* The gateway is about to end: not serving from here on. */
void readiness_ending(struct readiness *r);
/* Stops the probe; call before the loop ends. */
void readiness_stop(struct readiness *r);
/* After the loop ended. */
void readiness_free(struct readiness *r);
/* rpc_http_fn; ctx is the struct readiness. */
void readiness_http(void *ctx, const struct rpc_http_request *req, struct rpc_http_response *resp);

#endif
