/* UpdateConfig with a policy of one sandbox, given whole or as merge operations: from the proposal to a
 * stored and pushed revision (spec/gateway.md 6.4). Where a proposal of merge operations comes from:
 * config_merge.c. */
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
#include "policy/merge.h"
#include "rpc/pb.h"

#define VERSION_TRIES 5

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

static uint8_t *new_revision(const update_request *req, struct policy_proposal *p, struct os_arena *a,
                             size_t *n)
{
    policy_revision *r = pb_new(a, openshell__store__v1__policy_revision_payload);
    r->policy = p->doc;
    r->policy_hash = p->hash;
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

/* What one try found and did. */
struct revision {
    sandbox_row *row;
    bool write_row;
    uint32_t version; /* in force afterwards */
    bool fresh;       /* the version is new */
};

static int insert_revision(struct gateway *gw, const struct revision *v, const update_request *req,
                           struct policy_proposal *p, struct os_arena *a, struct os_error *err)
{
    size_t n;
    uint8_t *data = new_revision(req, p, a, &n);
    const char *scope = v->row->metadata->id;
    return store_revision_insert(gw->store, scope, v->row->metadata->workspace, v->version, "pending", data,
                                 n, err) < 0
               ? -1
               : store_revision_supersede(gw->store, scope, v->version, err);
}

/* Revision (when it is new), supersession and row (when it changed) as one transaction. */
static int commit(struct gateway *gw, const struct revision *v, const update_request *req,
                  struct policy_proposal *p, struct os_arena *a, struct os_error *err)
{
    sandbox_row *row = v->row;
    if (!v->fresh && !v->write_row)
        return 0;
    if (store_begin(gw->store, err) < 0)
        return -1;
    int rc = v->fresh ? insert_revision(gw, v, req, p, a, err) : 0;
    if (rc == 0 && v->write_row) {
        size_t n;
        uint8_t *data = pb_pack(a, &row->base, &n);
        rc = store_update(gw->store, STORE_SANDBOX, row->metadata->id, row->metadata->resource_version, data,
                          n, NULL, err);
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

sandbox_row *update_policy_target(struct gateway *gw, struct rpc_call *call, const update_request *req,
                                  struct os_arena *a, struct os_error *err)
{
    sandbox_row *row = update_target(gw, call, req, a, err);
    cleanup_settings struct settings all = {0};
    if (!row || settings_load_global(gw, &all, err) < 0)
        return NULL;
    if (!settings_has(&all, SETTINGS_POLICY_KEY))
        return row;
    os_error_set(err, OS_FAILED_PRECONDITION,
                 "policy is managed globally; delete global policy before sandbox policy update");
    return NULL;
}

int update_latest(struct gateway *gw, const sandbox_row *row, struct os_arena *a, policy_revision **latest,
                  uint32_t *version, struct os_error *err)
{
    cleanup_error struct os_error none = {0};
    struct store_object o = {0};
    *latest = config_revision(gw, row->metadata->id, 0, a, &o, &none);
    if (!*latest && none.code != OS_NOT_FOUND)
        return os_error_set(err, none.code, "fetch policy revision failed: %s", os_error_text(&none));
    *version = *latest ? (uint32_t)o.version : 0;
    return 0;
}

static int check_version(const sandbox_row *row, const update_request *req, struct os_error *err)
{
    if (!req->expected_resource_version || req->expected_resource_version == row->metadata->resource_version)
        return 0;
    return os_error_set(
        err, OS_ABORTED,
        "persist policy revision failed due to concurrent modification (current resource_version: %llu)",
        (unsigned long long)row->metadata->resource_version);
}

/* Under the sync lock. OS_ALREADY_EXISTS: somebody else was first. */
static int store_proposal(struct gateway *gw, struct rpc_call *call, const update_request *req,
                          struct policy_proposal *p, struct revision *v, struct os_arena *a,
                          struct os_error *err)
{
    policy_revision *latest;
    uint32_t number;
    sandbox_row *row = v->row = update_policy_target(gw, call, req, a, err);
    if (!row || policy_check_static(row->spec->policy, p->doc, err) < 0 || check_version(row, req, err) < 0 ||
        update_latest(gw, row, a, &latest, &number, err) < 0)
        return -1;
    if (p->merged && number != p->base)
        return os_error_set(err, OS_ALREADY_EXISTS, "policy revision %u exists already", number);
    v->fresh = latest ? strcmp(latest->policy_hash, p->hash) != 0 || !same_provenance(latest, req)
                      : !p->merged || !p->unchanged;
    bool backfill = v->fresh && !row->spec->policy;
    if (backfill)
        row->spec->policy = p->doc;
    if (update_annotations(row, req, &v->write_row, a, err) < 0)
        return -1;
    v->write_row = v->fresh ? v->write_row || backfill : v->write_row && p->merged;
    /* A create-time policy that no supervisor has fetched yet still counts as version 1. */
    v->version = !v->fresh ? number : latest ? number + 1 : backfill ? 1 : 2;
    if (commit(gw, v, req, p, a, err) < 0)
        return -1;
    if (v->fresh)
        config_push(gw, row); /* under the lock: the last commit is the last to be pushed */
    return 0;
}

/* Each try starts from what is stored by then; the last one keeps everybody else out while it does. */
static int try_to_store(struct gateway *gw, struct rpc_call *call, const update_request *req,
                        struct policy_proposal *p, struct revision *v, struct os_arena *a,
                        struct os_error *err)
{
    int rc = -1;
    for (int i = 1; i <= VERSION_TRIES && rc < 0; i++) {
        os_error_clear(err);
        if (i == VERSION_TRIES)
            pthread_mutex_lock(&gw->sync);
        rc = p->merged ? update_merge(gw, call, req, p, a, err) : 0;
        if (i < VERSION_TRIES)
            pthread_mutex_lock(&gw->sync);
        if (rc == 0)
            rc = store_proposal(gw, call, req, p, v, a, err);
        pthread_mutex_unlock(&gw->sync);
        if (rc < 0 && err->code != OS_ALREADY_EXISTS)
            return -1;
    }
    if (rc < 0)
        return os_error_set(
            err, OS_ABORTED,
            p->merged ? "apply_merge_operations_with_retry: gave up after %d version conflict retries"
                      : "UpdateConfig: gave up after %d policy version conflict retries",
            VERSION_TRIES);
    return 0;
}

static void log_merge(struct gateway *gw, const char *id, const update_request *req,
                      const struct policy_proposal *p, uint32_t version, struct os_arena *a)
{
    gateway_log(
        gw, id, OS_LOG_INFO, "config",
        "CONFIG:MERGED [INFO] gateway merged %zu incremental policy operation(s) [version:v%u hash:%s]",
        req->n_merge_operations, version, p->hash);
    for (size_t i = 0; i < req->n_merge_operations; i++)
        gateway_log(gw, id, OS_LOG_INFO, "config",
                    "CONFIG:MERGED [INFO] gateway merged incremental policy op: %s [version:v%u hash:%s]",
                    policy_merge_summary(a, req->merge_operations[i]), version, p->hash);
}

static int propose_given(const struct gateway *gw, struct rpc_call *call, const update_request *req,
                         struct policy_proposal *p, struct os_error *err)
{
    if (principal_sandbox(call))
        policy_drop_provider_rules(req->policy); /* a supervisor hands back the effective policy */
    p->doc = req->policy;
    policy_hash(p->doc, p->hash);
    return policy_check_whole(gw, p->doc, err);
}

int update_policy(struct gateway *gw, struct rpc_call *call, const update_request *req,
                  update_response *reply, struct os_arena *a, struct os_error *err)
{
    struct policy_proposal p = {.merged = !req->policy};
    struct revision v = {0};
    int rc = p.merged ? policy_merge_check(req->merge_operations, req->n_merge_operations, err)
                      : propose_given(gw, call, req, &p, err);
    if (rc < 0 || try_to_store(gw, call, req, &p, &v, a, err) < 0)
        return -1;
    const char *id = v.row->metadata->id;
    if (v.fresh || p.merged)
        watches_status(gw->watches, id);
    if (v.fresh)
        gateway_log(gw, id, OS_LOG_INFO, "config", "policy version %u submitted [hash:%s]", v.version,
                    p.hash);
    if (p.merged)
        log_merge(gw, id, req, &p, v.version, a);
    reply->version = v.version;
    reply->policy_hash = os_arena_strdup(a, p.hash);
    update_reply_annotations(reply, v.row, a);
    return 0;
}
