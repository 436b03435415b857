/* HTTP health routes (spec/gateway.md 2.2, 2.3) and the database probe behind them. */
#ifndef GATEWAY_READINESS_H
#define GATEWAY_READINESS_H

#include "gateway/gateway.h"

struct readiness;

/* Probes the store every 5 s on a worker, first at once. Loop thread. */
struct readiness *readiness_new(struct gateway *gw);
/* Stops the probe; call before the loop ends. */
void readiness_stop(struct readiness *r);
/* After the loop ended. */
void readiness_free(struct readiness *r);
/* rpc_http_fn; ctx is the struct readiness. */
void readiness_http(void *ctx, const struct rpc_http_request *req, struct rpc_http_response *resp);

#endif
