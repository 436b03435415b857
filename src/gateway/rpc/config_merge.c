/* UpdateConfig with merge operations: what they make of the policy that is in force (spec/gateway.md 6.4). */
#include <string.h>

#include "core/str.h"
#include "gateway/config.h"
#include "gateway/rpc/config_update.h"
#include "gateway/rpc/policy_check.h"
#include "policy/merge.h"

/* The latest revision, else the create-time policy, else nothing. */
int update_merge(struct gateway *gw, struct rpc_call *call, const update_request *req,
                 struct policy_proposal *p, struct os_arena *a, struct os_error *err)
{
    policy_revision *latest;
    char before[65];
    cleanup_strv struct os_strv warnings = {0}; /* the caller sees them in its own preview */
    sandbox_row *row = update_policy_target(gw, call, req, a, err);
    if (!row || update_latest(gw, row, a, &latest, &p->base, err) < 0)
        return -1;
    const policy_doc *base = latest ? latest->policy : row->spec->policy;
    p->doc = policy_merge(a, base, req->merge_operations, req->n_merge_operations, &warnings, err);
    if (!p->doc)
        return -1;
    policy_hash(p->doc, p->hash);
    p->unchanged = base ? strcmp(policy_hash(base, before), p->hash) == 0 : !p->doc->n_network_policies;
    return policy_check_request(p->doc, err);
}
