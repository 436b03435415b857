/* StopSandbox, StartSandbox, DeleteSandbox (spec/gateway.md 4.5, 4.6). */
#include "gateway/lifecycle.h"

#include "core/log.h"
#include "gateway/rpc/handlers.h"
#include "rpc/pb.h"

static sandbox_row *named(struct gateway *gw, const char *requested, const char *name, struct os_arena *a,
                          struct os_error *err)
{
    const char *workspace;
    if (!*name) {
        os_error_set(err, OS_INVALID_ARGUMENT, "name is required");
        return NULL;
    }
    return handler_workspace(gw, requested, &workspace, err) < 0
               ? NULL
               : sandbox_load_named(gw, workspace, name, a, err);
}

static int respond(sandbox_row *row, struct os_arena *a, ProtobufCMessage **response)
{
    if (!row)
        return -1;
    Openshell__V1__SandboxResponse *r = pb_new(a, openshell__v1__sandbox_response);
    r->sandbox = row;
    *response = &r->base;
    return 0;
}

int rpc_stop_sandbox(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *a,
                     ProtobufCMessage **response, struct os_error *err)
{
    struct gateway *gw = ctx;
    const Openshell__V1__StopSandboxRequest *req = (const Openshell__V1__StopSandboxRequest *)request;
    sandbox_row *row = named(gw, req->workspace, req->name, a, err);
    if (row)
        row = lifecycle_stop(gw, row->metadata->id, a, err);
    if (row)
        gateway_log(gw, row->metadata->id, OS_LOG_INFO, "sandbox", "StopSandbox request completed");
    return respond(row, a, response);
}

int rpc_start_sandbox(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *a,
                      ProtobufCMessage **response, struct os_error *err)
{
    struct gateway *gw = ctx;
    const Openshell__V1__StartSandboxRequest *req = (const Openshell__V1__StartSandboxRequest *)request;
    sandbox_row *row = named(gw, req->workspace, req->name, a, err);
    if (row)
        row = lifecycle_start(gw, row->metadata->id, a, err);
    if (row)
        gateway_log(gw, row->metadata->id, OS_LOG_INFO, "sandbox", "StartSandbox request completed");
    return respond(row, a, response);
}

int rpc_delete_sandbox(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *a,
                       ProtobufCMessage **response, struct os_error *err)
{
    struct gateway *gw = ctx;
    const Openshell__V1__DeleteSandboxRequest *req = (const Openshell__V1__DeleteSandboxRequest *)request;
    sandbox_row *row = named(gw, req->workspace, req->name, a, err);
    bool deleted;
    if (!row || lifecycle_delete(gw, row, &deleted, err) < 0)
        return -1;
    os_log_info("sandbox", "%s: deleted", row->metadata->id);
    Openshell__V1__DeleteSandboxResponse *r = pb_new(a, openshell__v1__delete_sandbox_response);
    r->deleted = deleted;
    *response = &r->base;
    return 0;
}
