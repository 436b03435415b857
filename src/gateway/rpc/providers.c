/* What a sandbox is given of providers and inference: no provider can be attached yet, so both are empty
 * (spec/providers.md 7, 10.4). */
#include "core/clock.h"
#include "gateway/identity/principal.h"
#include "gateway/rpc/handlers.h"
#include "gateway/sandbox.h"
#include "inference.pb-c.h"
#include "rpc/pb.h"

#define EMPTY_REVISION "0000000000000000"

int rpc_get_provider_environment(void *ctx, struct rpc_call *call, const ProtobufCMessage *request,
                                 struct os_arena *a, ProtobufCMessage **response, struct os_error *err)
{
    const Openshell__V1__GetSandboxProviderEnvironmentRequest *req =
        (const Openshell__V1__GetSandboxProviderEnvironmentRequest *)request;
    if (principal_require_supervisor(call, req->sandbox_id, err) < 0)
        return -1;
    const sandbox_row *row = sandbox_load(ctx, req->sandbox_id, a, err);
    if (!row)
        return -1;
    if (!row->spec)
        return os_error_set(err, OS_INTERNAL, "sandbox has no spec");
    *response = pb_new_desc(a, &openshell__v1__get_sandbox_provider_environment_response__descriptor);
    return 0;
}

int rpc_get_inference_bundle(void *ctx, struct rpc_call *call, const ProtobufCMessage *request,
                             struct os_arena *a, ProtobufCMessage **response, struct os_error *err)
{
    const struct principal *p = principal_sandbox(call);
    if (!p)
        return os_error_set(err, OS_PERMISSION_DENIED, "GetInferenceBundle requires a sandbox principal");
    if (!sandbox_load(ctx, p->sandbox_id, a, err))
        return -1;
    Openshell__Inference__V1__GetInferenceBundleResponse *r =
        pb_new(a, openshell__inference__v1__get_inference_bundle_response);
    r->revision = (char *)EMPTY_REVISION;
    r->generated_at_ms = os_clock_ms();
    *response = &r->base;
    return 0;
}
