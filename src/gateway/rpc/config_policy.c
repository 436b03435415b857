/* UpdateConfig with a policy: a new revision of one sandbox, or the policy of all of them (spec/gateway.md
 * 6.4). */
#include <string.h>

#include "core/clock.h"
#include "core/id.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "gateway/config.h"
#include "gateway/identity/principal.h"
#include "gateway/rpc/config_update.h"
#include "gateway/rpc/policy_check.h"
#include "gateway/settings.h"
#include "gateway/watch.h"
#include "policy/policy.h"
#include "rpc/pb.h"

#define VERSION_TRIES 5

/* A supervisor hands back the effective policy: what the gateway composed into it is cut again. */
static void strip_provider_rules(policy_doc *doc)
{
    size_t kept = 0;
    for (size_t i = 0; i < doc->n_network_policies; i++)
        if (!os_str_starts(doc->network_policies[i]->key, "_provider_"))
            doc->network_policies[kept++] = doc->network_policies[i];
    doc->n_network_policies = kept;
}

static bool same_provenance(const policy_revision *r, const update_request *req)
{
    if (r->n_provenance != req->n_annotations)
        return false;
    for (size_t i = 0; i < req->n_annotations; i++) {
        bool found = false;
        for (size_t k = 0; k < r->n_provenance && !found; k++)
            found = strcmp(r->provenance[k]->key, req->annotations[i]->key) == 0 &&
                    strcmp(r->provenance[k]->value, req->annotations[i]->value) == 0;
        if (!found)
            return false;
    }
    return true;
}

int update_annotations(sandbox_row *row, const update_request *req, bool *changed, struct os_arena *a,
                       struct os_error *err)
{
    typedef Openshell__Datamodel__V1__ObjectMeta__AnnotationsEntry entry;
    Openshell__Datamodel__V1__ObjectMeta *m = row->metadata;
    entry **list = os_arena_alloc(a, (m->n_annotations + req->n_annotations + 1) * sizeof(*list));
    size_t n = m->n_annotations;
    *changed = false;
    if (n)
        memcpy(list, m->annotations, n * sizeof(*list));
    for (size_t i = 0; i < req->n_annotations; i++) {
        size_t k = 0;
        while (k < n && strcmp(list[k]->key, req->annotations[i]->key) != 0)
            k++;
        if (k < n && strcmp(list[k]->value, req->annotations[i]->value) == 0)
            continue;
        if (k == n)
            n++;
        list[k] = pb_new(a, openshell__datamodel__v1__object_meta__annotations_entry);
        list[k]->key = req->annotations[i]->key;
        list[k]->value = req->annotations[i]->value;
        *changed = true;
    }
    m->annotations = list;
    m->n_annotations = n;
    return n <= OS_LIMIT_MAP_ENTRIES
               ? 0
               : os_error_set(err, OS_INVALID_ARGUMENT, "annotations exceeds maximum entries (%zu > %d)", n,
                              OS_LIMIT_MAP_ENTRIES);
}

static uint8_t *new_revision(const update_request *req, char *hash, struct os_arena *a, size_t *n)
{
    policy_revision *r = pb_new(a, openshell__store__v1__policy_revision_payload);
    r->policy = req->policy;
    r->policy_hash = hash;
    r->created_at_ms = os_clock_ms();
    r->n_provenance = req->n_annotations;
    r->provenance = os_arena_alloc(a, (req->n_annotations + 1) * sizeof(*r->provenance));
    for (size_t i = 0; i < req->n_annotations; i++) {
        r->provenance[i] = pb_new(a, openshell__store__v1__policy_revision_payload__provenance_entry);
        r->provenance[i]->key = req->annotations[i]->key;
        r->provenance[i]->value = req->annotations[i]->value;
    }
    return pb_pack(a, &r->base, n);
}

/* Row (when it changed), revision and supersession as one transaction. */
static int commit(struct gateway *gw, sandbox_row *row, bool write_row, uint32_t version, const uint8_t *data,
                  size_t n, struct os_arena *a, struct os_error *err)
{
    char id[OS_UUID_LEN];
    const struct store_object o = {.id = os_uuid(id),
                                   .type = STORE_POLICY,
                                   .scope = row->metadata->id,
                                   .workspace = row->metadata->workspace,
                                   .version = version,
                                   .status = "pending",
                                   .payload = data,
                                   .payload_len = n};
    if (store_begin(gw->store, err) < 0)
        return -1;
    int rc = store_insert(gw->store, &o, err);
    if (rc == 0)
        rc = store_revision_supersede(gw->store, row->metadata->id, version, err);
    if (rc == 0 && write_row) {
        size_t row_n;
        uint8_t *row_data = pb_pack(a, &row->base, &row_n);
        rc = store_update(gw->store, STORE_SANDBOX, row->metadata->id, row->metadata->resource_version,
                          row_data, row_n, NULL, err);
    }
    if (rc < 0) {
        store_rollback(gw->store);
        return -1;
    }
    return store_commit(gw->store, err);
}

void update_reply_annotations(update_response *r, const sandbox_row *row, struct os_arena *a)
{
    r->n_annotations = row->metadata->n_annotations;
    r->annotations = os_arena_alloc(a, (r->n_annotations + 1) * sizeof(*r->annotations));
    for (size_t i = 0; i < r->n_annotations; i++) {
        r->annotations[i] = pb_new(a, openshell__v1__update_config_response__annotations_entry);
        r->annotations[i]->key = row->metadata->annotations[i]->key;
        r->annotations[i]->value = row->metadata->annotations[i]->value;
    }
}

/* Under the sync lock. *version is the one in force afterwards; *fresh says whether it is new. */
static int replace_policy(struct gateway *gw, struct rpc_call *call, const update_request *req, char *hash,
                          sandbox_row **out, uint32_t *version, bool *fresh, struct os_arena *a,
                          struct os_error *err)
{
    sandbox_row *row = *out = update_target(gw, call, req, a, err);
    cleanup_settings struct settings all = {0};
    if (row && settings_load_global(gw, &all, err) < 0)
        return -1;
    if (row && settings_has(&all, SETTINGS_POLICY_KEY))
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "policy is managed globally; delete global policy before sandbox policy update");
    if (!row || policy_check_static(row->spec->policy, req->policy, err) < 0)
        return -1;
    if (req->expected_resource_version && req->expected_resource_version != row->metadata->resource_version)
        return os_error_set(
            err, OS_ABORTED,
            "persist policy revision failed due to concurrent modification (current resource_version: %llu)",
            (unsigned long long)row->metadata->resource_version);
    cleanup_error struct os_error none = {0};
    struct store_object o = {0};
    const policy_revision *latest = config_revision(gw, row->metadata->id, 0, a, &o, &none);
    if (!latest && none.code != OS_NOT_FOUND)
        return os_error_set(err, none.code, "fetch policy revision failed: %s", os_error_text(&none));
    *version = (uint32_t)o.version;
    *fresh = !latest || strcmp(latest->policy_hash, hash) != 0 || !same_provenance(latest, req);
    bool backfill = !row->spec->policy;
    if (backfill)
        row->spec->policy = req->policy;
    bool write_row;
    if (update_annotations(row, req, &write_row, a, err) < 0)
        return -1;
    write_row |= backfill;
    if (!*fresh)
        return 0;
    /* A create-time policy that no supervisor has fetched yet still counts as version 1. */
    *version = latest ? (uint32_t)o.version + 1 : backfill ? 1 : 2;
    size_t n;
    uint8_t *data = new_revision(req, hash, a, &n);
    return commit(gw, row, write_row, *version, data, n, a, err);
}

/* Under the sync lock for each try: somebody else's revision may take the number. */
int update_policy(struct gateway *gw, struct rpc_call *call, const update_request *req,
                  update_response *reply, struct os_arena *a, struct os_error *err)
{
    char hash[65];
    if (principal_sandbox(call))
        strip_provider_rules(req->policy);
    if (policy_check_request(req->policy, err) < 0)
        return -1;
    policy_hash(req->policy, hash);
    sandbox_row *row = NULL;
    uint32_t version = 0;
    bool fresh = false;
    int rc = -1;
    for (int i = 0; i < VERSION_TRIES && rc < 0; i++) {
        os_error_clear(err);
        pthread_mutex_lock(&gw->sync);
        rc = replace_policy(gw, call, req, hash, &row, &version, &fresh, a, err);
        pthread_mutex_unlock(&gw->sync);
        if (rc < 0 && err->code != OS_ALREADY_EXISTS)
            return -1;
    }
    if (rc < 0)
        return os_error_set(err, OS_ABORTED, "UpdateConfig: gave up after %d policy version conflict retries",
                            VERSION_TRIES);
    if (fresh) {
        config_push(gw, row);
        watches_status(gw->watches, row->metadata->id);
        gateway_log(gw, row->metadata->id, OS_LOG_INFO, "config", "policy version %u submitted [hash:%s]",
                    version, hash);
    }
    reply->version = version;
    reply->policy_hash = os_arena_strdup(a, hash);
    update_reply_annotations(reply, row, a);
    return 0;
}

/* --- the policy of all sandboxes --- */

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
    char id[OS_UUID_LEN];
    policy_revision *r = pb_new(a, openshell__store__v1__policy_revision_payload);
    r->policy = req->policy;
    r->policy_hash = hash;
    r->created_at_ms = r->loaded_at_ms = os_clock_ms();
    size_t n;
    uint8_t *data = pb_pack(a, &r->base, &n);
    const struct store_object o = {.id = os_uuid(id),
                                   .type = STORE_POLICY,
                                   .scope = CONFIG_GLOBAL_SCOPE,
                                   .workspace = "",
                                   .version = version,
                                   .status = "loaded",
                                   .payload = data,
                                   .payload_len = n};
    return store_insert(gw->store, &o, err) < 0
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
    if (policy_check_request(req->policy, err) < 0 || check_global(req->policy, err) < 0)
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
