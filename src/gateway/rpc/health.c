/* Health and GetGatewayInfo. */
#include "gateway/rpc/handlers.h"
#include "openshell.pb-c.h"
#include "rpc/pb.h"

#define HEALTHY OPENSHELL__V1__SERVICE_STATUS__SERVICE_STATUS_HEALTHY

int rpc_health(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *a,
               ProtobufCMessage **response, struct os_error *err)
{
    Openshell__V1__HealthResponse *r = pb_new(a, openshell__v1__health_response);
    r->status = HEALTHY;
    r->version = (char *)OPENSHELL_VERSION;
    *response = &r->base;
    return 0;
}

int rpc_get_gateway_info(void *ctx, struct rpc_call *call, const ProtobufCMessage *request,
                         struct os_arena *a, ProtobufCMessage **response, struct os_error *err)
{
    struct gateway *gw = ctx;
    Openshell__V1__GetGatewayInfoResponse *r = pb_new(a, openshell__v1__get_gateway_info_response);
    Openshell__V1__ComputeDriverInfo *d = pb_new(a, openshell__v1__compute_driver_info);
    d->name = (char *)gw->driver->ops->name;
    d->capabilities = pb_new(a, openshell__v1__compute_driver_capabilities);
    d->capabilities->driver_name = (char *)gw->driver->ops->name;
    d->capabilities->driver_version = (char *)gw->driver->ops->version;
    r->status = HEALTHY;
    r->gateway_version = (char *)OPENSHELL_VERSION;
    r->n_compute_drivers = 1;
    r->compute_drivers = os_arena_memdup(a, &d, sizeof(d));
    *response = &r->base;
    return 0;
}
