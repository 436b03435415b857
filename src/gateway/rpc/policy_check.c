/* Checks of a policy that came in a request. */
#include "gateway/rpc/policy_check.h"

#include <string.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "gateway/gateway.h"
#include "gateway/middlewares.h"

int policy_check_request(policy_doc *doc, struct os_error *err)
{
    if (policy_check_reserved(doc, err) < 0)
        return -1;
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        policy_rule *rule = doc->network_policies[i]->value;
        for (size_t k = 0; rule && k < rule->n_endpoints; k++)
            rule->endpoints[k]->provider_credentialed = false;
    }
    if (policy_check(doc, err) < 0 || policy_check_ambiguity(doc, err) < 0)
        return -1;
    cleanup_strv struct os_strv bad = {0};
    policy_validate_runtime(doc, &bad);
    if (!bad.n)
        return policy_check_built(doc, err);
    cleanup_free char *text = os_strv_join(&bad, "; ");
    return os_error_set(err, OS_INVALID_ARGUMENT, "policy contains unsafe content: %s", text);
}

int policy_check_whole(const struct gateway *gw, policy_doc *doc, struct os_error *err)
{
    return policy_check_request(doc, err) < 0 ? -1 : middlewares_check_policy(gw->middlewares, doc, err);
}
