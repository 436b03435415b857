/* What this system does not take, whoever wrote it: reserved keys, and settings that nothing here would obey.
 */
#include <string.h>

#include "policy/model.h"

int policy_check_reserved(const policy_doc *doc, struct os_error *err)
{
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        const char *key = policy_text(doc->network_policies[i]->key);
        if (policy_provider_key(key))
            return os_error_set(
                err, OS_INVALID_ARGUMENT,
                "network_policies key '%s' uses reserved '_provider_' prefix for provider composition; use "
                "'openshell policy get <sandbox> --base' for a round-trippable base policy, or use "
                "'openshell policy get <sandbox> --full' to inspect the effective policy including provider "
                "entries",
                key);
    }
    return 0;
}

int policy_check_built(const policy_doc *doc, struct os_error *err)
{
    const char *user = doc->process ? policy_text(doc->process->run_as_user) : "";
    const char *group = doc->process ? policy_text(doc->process->run_as_group) : "";
    if ((*user && strcmp(user, "sandbox") != 0) || (*group && strcmp(group, "sandbox") != 0))
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "process policy asks for user '%s' and group '%s'; sandboxes of this gateway run as "
            "sandbox:sandbox, leave both out",
            user, group);
    return 0;
}
