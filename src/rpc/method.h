/* The method table: one row per RPC of the published API (tbl/methods.h, from the wire tables). */
#ifndef RPC_METHOD_H
#define RPC_METHOD_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

enum rpc_auth_mode {
    RPC_AUTH_NONE, /* driver protocols: the transport decides */
    RPC_AUTH_UNAUTHENTICATED,
    RPC_AUTH_BEARER,
    RPC_AUTH_SANDBOX,
    RPC_AUTH_DUAL,
};

enum rpc_method_id {
#define RPC_METHOD(id, ...) RPC_##id,
#include "rpc/tbl/methods.h"
    RPC_METHOD_COUNT,
};

struct rpc_method {
    enum rpc_method_id id;
    const char *path; /* "/package.Service/Method" */
    const char *service;
    const char *name;
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *response;
    bool client_stream;
    bool server_stream;
    enum rpc_auth_mode auth;
    const char *scope;          /* "" = none */
    const char *workspace_role; /* "", "user", "admin" */
    const char *global_role;    /* "", "platform_admin" */
};

/* Static data, any thread. */
const struct rpc_method *rpc_method(enum rpc_method_id id);
/* By :path, NULL when unknown. */
const struct rpc_method *rpc_method_find(const char *path);

#endif
