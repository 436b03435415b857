/* Server reflection without its stream. Any thread. */
#ifndef GATEWAY_RPC_REFLECTION_H
#define GATEWAY_RPC_REFLECTION_H

#include <stdbool.h>

#include "core/arena.h"
#include "reflection.pb-c.h"

/* Fills in the answer to one request; it borrows from the request, from static data and from the arena. What
 * is not there is an answer too, an error_response. False when the request asks for nothing. */
bool reflection_answer(struct os_arena *a, Grpc__Reflection__V1__ServerReflectionRequest *q,
                       Grpc__Reflection__V1__ServerReflectionResponse *r);

#endif
