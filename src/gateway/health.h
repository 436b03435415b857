/* Whether this gateway can do its work: the database probe, the HTTP health routes
 * (spec/gateway.md 2.2, 2.3), and who else wants to know. Loop thread. */
#ifndef GATEWAY_HEALTH_H
#define GATEWAY_HEALTH_H

#include "gateway/gateway.h"

struct health;

/* The answer is another one than before. */
typedef void health_fn(void *ctx, bool serving);

/* Probes the store every 5 s on a worker, first at once. */
struct health *health_new(struct gateway *gw, health_fn *changed, void *ctx);
/* The database answers, and the gateway is not about to end. */
bool health_serving(const struct health *r);
/* The gateway is about to end: not serving from here on. */
void health_ending(struct health *r);
/* Stops the probe; call before the loop ends. */
void health_stop(struct health *r);
/* After the loop ended. */
void health_free(struct health *r);
/* rpc_http_fn; ctx is the struct health. */
void health_http(void *ctx, const struct rpc_http_request *req, struct rpc_http_response *resp);

#endif
