/* Which gRPC services this gateway serves: those with at least one handler. Static data, any thread. */
#ifndef GATEWAY_RPC_SERVICES_H
#define GATEWAY_RPC_SERVICES_H

#include <stdbool.h>
#include <stddef.h>

/* Full names, sorted, each once. *n is their number. */
const char *const *services_served(size_t *n);
bool service_is_served(const char *name);

#endif
