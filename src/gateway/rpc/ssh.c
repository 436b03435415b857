/* CreateSshSession and RevokeSshSession (spec/gateway.md 4.10). */
#include <string.h>

#include "gateway/rpc/handlers.h"
#include "gateway/sandbox.h"
#include "gateway/ssh_session.h"
#include "rpc/pb.h"

int rpc_create_ssh_session(void *ctx, struct rpc_call *call, const ProtobufCMessage *request,
                           struct os_arena *a, ProtobufCMessage **response, struct os_error *err)
{
    struct gateway *gw = ctx;
    const Openshell__V1__CreateSshSessionRequest *req =
        (const Openshell__V1__CreateSshSessionRequest *)request;
    if (!*req->sandbox_id)
        return os_error_set(err, OS_INVALID_ARGUMENT, "sandbox_id is required");
    const sandbox_row *row = sandbox_load(gw, req->sandbox_id, a, err);
    if (!row)
        return -1;
    if (row->status->phase != OPENSHELL__V1__SANDBOX_PHASE__SANDBOX_PHASE_READY)
        return os_error_set(err, OS_FAILED_PRECONDITION, "sandbox is not ready");
    Openshell__V1__CreateSshSessionResponse *r = pb_new(a, openshell__v1__create_ssh_session_response);
    char token[OS_UUID_LEN];
    if (ssh_session_create(gw, row->metadata->id, row->metadata->workspace, token, &r->expires_at_ms, err) <
        0)
        return -1;
    r->sandbox_id = row->metadata->id;
    r->token = os_arena_strdup(a, token);
    r->gateway_host = os_arena_printf(a, strchr(gw->host, ':') ? "[%s]" : "%s", gw->host);
    r->gateway_port = gw->port;
    r->gateway_scheme = gw->tls ? (char *)"https" : (char *)"http";
    *response = &r->base;
    return 0;
}

int rpc_revoke_ssh_session(void *ctx, struct rpc_call *call, const ProtobufCMessage *request,
                           struct os_arena *a, ProtobufCMessage **response, struct os_error *err)
{
    const Openshell__V1__RevokeSshSessionRequest *req =
        (const Openshell__V1__RevokeSshSessionRequest *)request;
    if (!*req->token)
        return os_error_set(err, OS_INVALID_ARGUMENT, "token is required");
    bool revoked;
    if (ssh_session_revoke(ctx, req->token, &revoked, err) < 0)
        return -1;
    Openshell__V1__RevokeSshSessionResponse *r = pb_new(a, openshell__v1__revoke_ssh_session_response);
    r->revoked = revoked;
    *response = &r->base;
    return 0;
}
