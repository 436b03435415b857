/* UpdateConfig with the policy of all sandboxes: a revision of its own and the setting that puts it in force
 * (spec/gateway.md 6.4). */
#include <string.h>

#include "core/clock.h"
#include "core/id.h"
#include "core/log.h"
#include "core/str.h"
#include "gateway/config.h"
#include "gateway/rpc/config_update.h"
#include "gateway/rpc/policy_check.h"
#include "gateway/settings.h"
#include "policy/policy.h"
#include "rpc/pb.h"

static int check_global(const policy_doc *doc, struct os_error *err)
{
    for (size_t i = 0; i < doc->n_network_policies; i++)
        for (size_t k = 0; k < doc->network_policies[i]->value->n_endpoints; k++)
            if (doc->network_policies[i]->value->endpoints[k]->credential_binding)
                return os_error_set(
                    err, OS_FAILED_PRECONDITION,
                    "credential_binding is sandbox-scoped and cannot be used in a global policy");
    return 0;
}

static int insert_global(struct gateway *gw, const update_request *req, char *hash, uint32_t version,
                         struct os_arena *a, struct os_error *err)
{
    policy_revision *r = pb_new(a, openshell__store__v1__policy_revision_payload);
    r->policy = req->policy;
    r->policy_hash = hash;
    r->created_at_ms = r->loaded_at_ms = os_clock_ms();
    size_t n;
    uint8_t *data = pb_pack(a, &r->base, &n);
    return store_revision_insert(gw->store, CONFIG_GLOBAL_SCOPE, "", version, "loaded", data, n, err) < 0
               ? -1
               : store_revision_supersede(gw->store, CONFIG_GLOBAL_SCOPE, version, err);
}

/* Revision (when it is new) and setting as one transaction. */
static int commit_global(struct gateway *gw, const update_request *req, char *hash, struct settings *all,
                         uint32_t *version, bool *changed, struct os_arena *a, struct os_error *err)
{
    cleanup_error struct os_error none = {0};
    struct store_object o = {0};
    const policy_revision *latest = config_revision(gw, CONFIG_GLOBAL_SCOPE, 0, a, &o, &none);
    if (!latest && none.code != OS_NOT_FOUND)
        return os_error_set(err, none.code, "fetch policy revision failed: %s", os_error_text(&none));
    bool same = latest && strcmp(latest->policy_hash, hash) == 0 && os_str_eq(o.status, "loaded");
    *version = (uint32_t)o.version + !same;
    setting_value packed = OPENSHELL__SANDBOX__V1__SETTING_VALUE__INIT;
    packed.value_case = OPENSHELL__SANDBOX__V1__SETTING_VALUE__VALUE_BYTES_VALUE;
    packed.bytes_value.data = pb_pack(a, &req->policy->base, &packed.bytes_value.len);
    bool put = settings_put(all, SETTINGS_POLICY_KEY, &packed);
    *changed = !same || put;
    if (!*changed)
        return 0;
    if (store_begin(gw->store, err) < 0)
        return -1;
    if ((!same && insert_global(gw, req, hash, *version, a, err) < 0) ||
        (put && settings_store(gw, all, err) < 0)) {
        store_rollback(gw->store);
        return -1;
    }
    return store_commit(gw->store, err);
}

int update_global_policy(struct gateway *gw, const update_request *req, update_response *reply,
                         struct os_arena *a, struct os_error *err)
{
    char hash[65];
    cleanup_settings struct settings all = {0};
    bool changed = false;
    if (policy_check_whole(gw, req->policy, err) < 0 || check_global(req->policy, err) < 0)
        return -1;
    policy_hash(req->policy, hash);
    pthread_mutex_lock(&gw->sync);
    int rc = settings_load_global(gw, &all, err);
    if (rc == 0)
        rc = commit_global(gw, req, hash, &all, &reply->version, &changed, a, err);
    if (rc == 0 && changed)
        config_push_all(gw); /* under the lock: the last commit is the last to be pushed */
    pthread_mutex_unlock(&gw->sync);
    if (rc < 0)
        return -1;
    if (changed)
        os_log_info("config", "global policy version %u in force [hash:%s]", reply->version, hash);
    reply->policy_hash = os_arena_strdup(a, hash);
    reply->settings_revision = all.revision;
    return 0;
}
