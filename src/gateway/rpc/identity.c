/* GetCurrentUser and IssueSandboxToken (spec/identity.md 3, 5). */
#include "core/str.h"
#include "gateway/identity/principal.h"
#include "gateway/rpc/handlers.h"
#include "openshell.pb-c.h"
#include "rpc/pb.h"

int rpc_get_current_user(void *ctx, struct rpc_call *call, const ProtobufCMessage *request,
                         struct os_arena *a, ProtobufCMessage **response, struct os_error *err)
{
    const struct principal *p = principal_user(call);
    if (!p)
        return os_error_set(err, OS_PERMISSION_DENIED, "GetCurrentUser requires a user principal");
    Openshell__V1__GetCurrentUserResponse *r = pb_new(a, openshell__v1__get_current_user_response);
    r->subject = p->subject;
    r->display_name = p->display_name;
    r->n_roles = p->roles.n;
    r->roles = p->roles.v;
    r->n_scopes = p->scopes.n;
    r->scopes = p->scopes.v;
    r->identity_provider = (char *)p->provider;
    *response = &r->base;
    return 0;
}

/* Exchanges what an orchestrator vouches for into a sandbox token. No driver of this gateway vouches: its
 * sandboxes are born with their token. */
int rpc_issue_token(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *a,
                    ProtobufCMessage **response, struct os_error *err)
{
    if (!principal_sandbox(call))
        return os_error_set(err, OS_PERMISSION_DENIED, "IssueSandboxToken requires a sandbox principal");
    return os_error_set(err, OS_PERMISSION_DENIED,
                        "this principal cannot mint a sandbox token; use RefreshSandboxToken");
}
