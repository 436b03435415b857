/* Whether the gateway serves, as the standard gRPC health service tells it. */
#ifndef GATEWAY_HEALTH_H
#define GATEWAY_HEALTH_H

#include "gateway/gateway.h"

/* Loop thread: sets it, and tells everybody who watches when it changed. */
void health_set(struct gateway *gw, bool serving);
/* Any thread: true for the full name of a service that has handlers here (rpc/reflection.c). */
bool reflection_serves(const char *service);

#endif
