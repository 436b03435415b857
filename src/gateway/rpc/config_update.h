/* The parts of UpdateConfig (spec/gateway.md 6.4): policies of one sandbox in config_revision.c and
 * config_merge.c, of all sandboxes in config_global.c, settings in config_settings.c. Each fills in the
 * reply. */
#ifndef GATEWAY_RPC_CONFIG_UPDATE_H
#define GATEWAY_RPC_CONFIG_UPDATE_H

#include "gateway/config.h"
#include "gateway/sandbox.h"
#include "policy/policy.h"
#include "rpc/server.h"

typedef Openshell__V1__UpdateConfigRequest update_request;
typedef Openshell__V1__UpdateConfigResponse update_response;

/* A policy of the request, or the merge operations of it when there is none. */
int update_policy(struct gateway *gw, struct rpc_call *call, const update_request *req,
                  update_response *reply, struct os_arena *a, struct os_error *err);
int update_global_policy(struct gateway *gw, const update_request *req, update_response *reply,
                         struct os_arena *a, struct os_error *err);
int update_setting(struct gateway *gw, struct rpc_call *call, const update_request *req,
                   update_response *reply, struct os_arena *a, struct os_error *err);
int update_global_setting(struct gateway *gw, const update_request *req, update_response *reply,
                          struct os_arena *a, struct os_error *err);

/* A policy on its way to becoming a revision. */
struct policy_proposal {
    policy_doc *doc;
    char hash[65];
    bool merged;    /* made from the policy that was there; the rest is about that one */
    bool unchanged; /* the same came out */
    uint32_t base;  /* its revision number, 0 when it has none */
};

/* Fills in the proposal from what is stored now; checked like a policy that was given whole. */
int update_merge(struct gateway *gw, struct rpc_call *call, const update_request *req,
                 struct policy_proposal *p, struct os_arena *a, struct os_error *err);
/* update_target() when no global policy stands in the way; NULL with *err. */
sandbox_row *update_policy_target(struct gateway *gw, struct rpc_call *call, const update_request *req,
                                  struct os_arena *a, struct os_error *err);
/* The latest revision and its number; *latest NULL and 0 when there is none. */
int update_latest(struct gateway *gw, const sandbox_row *row, struct os_arena *a, policy_revision **latest,
                  uint32_t *version, struct os_error *err);

/* The sandbox the request names, when the caller may change it. Under the sync lock. */
sandbox_row *update_target(struct gateway *gw, struct rpc_call *call, const update_request *req,
                           struct os_arena *a, struct os_error *err);
/* Merges the request's annotations into the row. */
int update_annotations(sandbox_row *row, const update_request *req, bool *changed, struct os_arena *a,
                       struct os_error *err);
void update_reply_annotations(update_response *reply, const sandbox_row *row, struct os_arena *a);

#endif
