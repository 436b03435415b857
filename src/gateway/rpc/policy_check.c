/* Checks of a policy that came in a request. */
#include "gateway/rpc/policy_check.h"

#include <string.h>

#include "core/cleanup.h"
#include "core/str.h"

/* What the document asks for and nothing here would do is refused, never silently dropped (DESIGN 12). */
static int check_built(const policy_doc *doc, struct os_error *err)
{
    if (doc->n_network_middlewares)
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "policy middleware validation failed: middleware config '%s' names service '%s', and "
            "no middleware is registered with this gateway",
            doc->network_middlewares[0]->key, doc->network_middlewares[0]->value->middleware);
    const char *user = doc->process ? doc->process->run_as_user : "";
    const char *group = doc->process ? doc->process->run_as_group : "";
    if ((*user && strcmp(user, "sandbox") != 0) || (*group && strcmp(group, "sandbox") != 0))
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "process policy asks for user '%s' and group '%s'; sandboxes of this gateway run as "
            "sandbox:sandbox, leave both out",
            user, group);
    return 0;
}

int policy_check_request(policy_doc *doc, struct os_error *err)
{
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        const char *key = doc->network_policies[i]->key;
        policy_rule *rule = doc->network_policies[i]->value;
        if (os_str_starts(key, "_provider_"))
            return os_error_set(
                err, OS_INVALID_ARGUMENT,
                "network_policies key '%s' uses reserved '_provider_' prefix for provider composition; use "
                "'openshell policy get <sandbox> --base' for a round-trippable base policy, or use "
                "'openshell "
                "policy get <sandbox> --full' to inspect the effective policy including provider entries",
                key);
        for (size_t k = 0; rule && k < rule->n_endpoints; k++)
            rule->endpoints[k]->provider_credentialed = false;
    }
    if (policy_check(doc, err) < 0 || policy_check_ambiguity(doc, err) < 0)
        return -1;
    cleanup_strv struct os_strv bad = {0};
    policy_validate_runtime(doc, &bad);
    if (!bad.n)
        return check_built(doc, err);
    cleanup_free char *text = os_strv_join(&bad, "; ");
    return os_error_set(err, OS_INVALID_ARGUMENT, "policy contains unsafe content: %s", text);
}
