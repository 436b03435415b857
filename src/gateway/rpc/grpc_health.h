/* grpc.health.v1: readiness for gRPC clients. Loop thread. */
#ifndef GATEWAY_RPC_GRPC_HEALTH_H
#define GATEWAY_RPC_GRPC_HEALTH_H

struct health_watches;

struct health_watches *health_watches_new(void);
/* After the loop ended: every Watch call is over. */
void health_watches_free(struct health_watches *w);
/* health_fn: tells every Watch of a served service; ctx is the struct health_watches. */
void health_watches_tell(void *ctx, bool serving);

#endif
