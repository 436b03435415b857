/* GetSandboxConfig and UpdateConfig (full policy replacement) (spec/gateway.md 6.3, 6.4). */
#include "gateway/config.h"

#include <string.h>

#include "core/clock.h"
#include "core/id.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "gateway/identity/principal.h"
#include "gateway/rpc/handlers.h"
#include "gateway/rpc/policy_check.h"
#include "gateway/validate.h"
#include "gateway/watch.h"
#include "policy/policy.h"
#include "rpc/pb.h"

#define VERSION_TRIES 5

typedef Openshell__V1__UpdateConfigRequest update_request;

int rpc_get_sandbox_config(void *ctx, struct rpc_call *call, const ProtobufCMessage *request,
                           struct os_arena *a, ProtobufCMessage **response, struct os_error *err)
{
    struct gateway *gw = ctx;
    const Openshell__Sandbox__V1__GetSandboxConfigRequest *req =
        (const Openshell__Sandbox__V1__GetSandboxConfigRequest *)request;
    if (principal_check_scope(call, req->sandbox_id, err) < 0)
        return -1;
    sandbox_row *row = sandbox_load(gw, req->sandbox_id, a, err);
    Openshell__Sandbox__V1__GetSandboxConfigResponse *r = row ? config_build(gw, row, a, err) : NULL;
    if (!r)
        return -1;
    *response = &r->base;
    return 0;
}

/* --- UpdateConfig --- */

static int check_one_of(const update_request *req, struct os_error *err)
{
    cleanup_arena struct os_arena a = {0};
    bool setting = *os_str_trim(os_arena_strdup(&a, req->setting_key)) != '\0';
    int parts = (req->policy != NULL) + setting + (req->n_merge_operations > 0);
    if (parts > 1)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "policy, setting_key, and merge_operations are mutually exclusive");
    if (!parts)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "one of policy, setting_key, or merge_operations must be provided");
    return 0;
}

static int check_sandbox_caller(struct rpc_call *call, const update_request *req, struct os_error *err)
{
    if (!principal_sandbox(call))
        return 0;
    if (req->global)
        return os_error_set(err, OS_PERMISSION_DENIED, "sandbox callers cannot mutate global config");
    if (req->delete_setting)
        return os_error_set(err, OS_PERMISSION_DENIED, "sandbox callers cannot delete settings");
    if (!*req->name || !req->policy || *req->setting_key || req->n_merge_operations)
        return os_error_set(err, OS_PERMISSION_DENIED,
                            "sandbox callers may only perform sandbox policy sync");
    return 0;
}

/* What this gateway does not do yet is refused by name, never dropped. */
static int check_built(const update_request *req, struct os_error *err)
{
    if (req->global)
        return os_error_set(err, OS_UNIMPLEMENTED, "global configuration is not built into this gateway");
    if (req->n_merge_operations)
        return os_error_set(
            err, OS_UNIMPLEMENTED,
            "incremental policy updates are not built into this gateway; replace the whole policy");
    if (!req->policy)
        return os_error_set(err, OS_UNIMPLEMENTED, "settings are not built into this gateway");
    return 0;
}

static sandbox_row *target_row(struct gateway *gw, struct rpc_call *call, const update_request *req,
                               struct os_arena *a, struct os_error *err)
{
    const char *workspace;
    const struct principal *p = principal_sandbox(call);
    if (!*req->name) {
        os_error_set(err, OS_INVALID_ARGUMENT, "name is required for sandbox-scoped updates");
        return NULL;
    }
    if (handler_workspace(gw, req->workspace, &workspace, err) < 0)
        return NULL;
    sandbox_row *row = sandbox_load_named(gw, workspace, req->name, a, err);
    if (p && (!row || strcmp(row->metadata->id, p->sandbox_id) != 0)) {
        os_error_set(err, OS_PERMISSION_DENIED, "sandbox not found or not owned by caller");
        return NULL;
    }
    return row;
}

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

/* Merges the request's annotations into the row; true when the row changed. */
static bool project_annotations(sandbox_row *row, const update_request *req, struct os_arena *a)
{
    typedef Openshell__Datamodel__V1__ObjectMeta__AnnotationsEntry entry;
    Openshell__Datamodel__V1__ObjectMeta *m = row->metadata;
    entry **list = os_arena_alloc(a, (m->n_annotations + req->n_annotations + 1) * sizeof(*list));
    size_t n = m->n_annotations;
    bool changed = false;
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
        changed = true;
    }
    m->annotations = list;
    m->n_annotations = n;
    return changed;
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

static void reply_annotations(Openshell__V1__UpdateConfigResponse *r, const sandbox_row *row,
                              struct os_arena *a)
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
    sandbox_row *row = *out = target_row(gw, call, req, a, err);
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
    bool write_row = project_annotations(row, req, a) || backfill;
    if (row->metadata->n_annotations > OS_LIMIT_MAP_ENTRIES)
        return os_error_set(err, OS_INVALID_ARGUMENT, "annotations exceeds maximum entries (%zu > %d)",
                            row->metadata->n_annotations, OS_LIMIT_MAP_ENTRIES);
    if (!*fresh)
        return 0;
    /* A create-time policy that no supervisor has fetched yet still counts as version 1. */
    *version = latest ? (uint32_t)o.version + 1 : backfill ? 1 : 2;
    size_t n;
    uint8_t *data = new_revision(req, hash, a, &n);
    return commit(gw, row, write_row, *version, data, n, a, err);
}

int rpc_update_config(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *a,
                      ProtobufCMessage **response, struct os_error *err)
{
    struct gateway *gw = ctx;
    const update_request *req = (const update_request *)request;
    char hash[65];
    /* Generated map entries all look alike (validate.c checks it). */
    typedef Openshell__V1__CreateSandboxRequest__AnnotationsEntry entry;
    if (validate_annotations("annotations", (entry *const *)req->annotations, req->n_annotations, err) < 0 ||
        check_sandbox_caller(call, req, err) < 0 || check_one_of(req, err) < 0 || check_built(req, err) < 0)
        return -1;
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
    Openshell__V1__UpdateConfigResponse *r = pb_new(a, openshell__v1__update_config_response);
    r->version = version;
    r->policy_hash = os_arena_strdup(a, hash);
    reply_annotations(r, row, a);
    *response = &r->base;
    return 0;
}
