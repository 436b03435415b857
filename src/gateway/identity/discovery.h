/* What services that are called with our tokens need to check them (spec/identity.md 5, public discovery). */
#ifndef GATEWAY_DISCOVERY_H
#define GATEWAY_DISCOVERY_H

#include "gateway/identity/jwt.h"
#include "rpc/server.h"

/* Answers /.well-known/jwks.json and /.well-known/openid-configuration; false: another path. k NULL = 404. */
bool discovery_http(const struct jwt_keys *k, const struct rpc_http_request *req,
                    struct rpc_http_response *resp);

#endif
