/* The parts of UpdateConfig (spec/gateway.md 6.4): policies in config_policy.c, settings in
 * config_settings.c. Each fills in the reply. */
#ifndef GATEWAY_RPC_CONFIG_UPDATE_H
#define GATEWAY_RPC_CONFIG_UPDATE_H

#include "gateway/sandbox.h"
#include "rpc/server.h"

typedef Openshell__V1__UpdateConfigRequest update_request;
typedef Openshell__V1__UpdateConfigResponse update_response;

int update_policy(struct gateway *gw, struct rpc_call *call, const update_request *req,
                  update_response *reply, struct os_arena *a, struct os_error *err);
int update_global_policy(struct gateway *gw, const update_request *req, update_response *reply,
                         struct os_arena *a, struct os_error *err);
int update_setting(struct gateway *gw, struct rpc_call *call, const update_request *req,
                   update_response *reply, struct os_arena *a, struct os_error *err);
int update_global_setting(struct gateway *gw, const update_request *req, update_response *reply,
                          struct os_arena *a, struct os_error *err);

/* The sandbox the request names, when the caller may change it. Under the sync lock. */
sandbox_row *update_target(struct gateway *gw, struct rpc_call *call, const update_request *req,
                           struct os_arena *a, struct os_error *err);
/* Merges the request's annotations into the row. */
int update_annotations(sandbox_row *row, const update_request *req, bool *changed, struct os_arena *a,
                       struct os_error *err);
void update_reply_annotations(update_response *reply, const sandbox_row *row, struct os_arena *a);

#endif
