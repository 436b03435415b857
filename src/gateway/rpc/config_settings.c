/* UpdateConfig with a setting: of one sandbox or of all (spec/gateway.md 6.1, 6.4). */
#include <stdint.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/str.h"
#include "gateway/config.h"
#include "gateway/rpc/config_update.h"
#include "gateway/settings.h"
#include "rpc/pb.h"

static const char *trimmed_key(const update_request *req, struct os_arena *a)
{
    return os_str_trim(os_arena_strdup(a, req->setting_key));
}

static int require_value(const update_request *req, struct os_error *err)
{
    return req->delete_setting || req->setting_value
               ? 0
               : os_error_set(err, OS_INVALID_ARGUMENT, "setting_value is required");
}

/* --- of all sandboxes --- */

static int check_global(const update_request *req, const char *key, struct os_error *err)
{
    bool policy = strcmp(key, SETTINGS_POLICY_KEY) == 0;
    if (policy)
        return req->delete_setting ? 0
                                   : os_error_set(err, OS_INVALID_ARGUMENT,
                                                  "reserved key 'policy' must be set via the policy field");
    if (settings_check_key(key, err) < 0 || require_value(req, err) < 0)
        return -1;
    return req->delete_setting ? 0 : settings_check_value(key, req->setting_value, err);
}

static int commit_global(struct gateway *gw, struct settings *all, bool policy_gone, struct os_error *err)
{
    if (store_begin(gw->store, err) < 0)
        return -1;
    if ((policy_gone && store_revision_supersede(gw->store, CONFIG_GLOBAL_SCOPE, UINT32_MAX, err) < 0) ||
        settings_store(gw, all, err) < 0) {
        store_rollback(gw->store);
        return -1;
    }
    return store_commit(gw->store, err);
}

int update_global_setting(struct gateway *gw, const update_request *req, update_response *reply,
                          struct os_arena *a, struct os_error *err)
{
    const char *key = trimmed_key(req, a);
    cleanup_settings struct settings all = {0};
    bool changed = false;
    if (check_global(req, key, err) < 0)
        return -1;
    pthread_mutex_lock(&gw->sync);
    int rc = settings_load_global(gw, &all, err);
    if (rc == 0) {
        changed = settings_put(&all, key, req->delete_setting ? NULL : req->setting_value);
        if (changed)
            rc = commit_global(gw, &all, strcmp(key, SETTINGS_POLICY_KEY) == 0, err);
        if (changed && rc == 0)
            config_push_all(gw); /* under the lock: the last commit is the last to be pushed */
    }
    pthread_mutex_unlock(&gw->sync);
    if (rc < 0)
        return -1;
    if (changed)
        os_log_info("config", "global setting '%s' %s", key, req->delete_setting ? "deleted" : "set");
    reply->settings_revision = all.revision;
    reply->deleted = changed && req->delete_setting;
    return 0;
}

/* --- of one sandbox --- */

static int check_sandbox(const struct settings *all, const update_request *req, const char *key,
                         struct os_error *err)
{
    if (strcmp(key, SETTINGS_POLICY_KEY) == 0)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "reserved key 'policy' must be set via policy commands");
    if (settings_has(all, key))
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "setting '%s' is managed globally; delete the global setting %s", key,
                            req->delete_setting ? "first" : "before sandbox update");
    if (req->delete_setting)
        return 0;
    if (require_value(req, err) < 0 || settings_check_key(key, err) < 0)
        return -1;
    return settings_check_value(key, req->setting_value, err);
}

static int store_row(struct gateway *gw, const sandbox_row *row, struct os_arena *a, struct os_error *err)
{
    size_t n;
    uint8_t *data = pb_pack(a, &row->base, &n);
    if (store_update(gw->store, STORE_SANDBOX, row->metadata->id, row->metadata->resource_version, data, n,
                     NULL, err) == 0)
        return 0;
    if (err->code != OS_ABORTED)
        return os_error_wrap(err, "store update annotations failed");
    cleanup_free char *current = os_strdup(os_error_text(err));
    return os_error_set(
        err, OS_ABORTED,
        "store update annotations failed due to concurrent modification (current resource_version: %s)",
        current);
}

/* In one transaction, so that a sandbox that is deleted meanwhile leaves no document behind. */
static int commit_sandbox(struct gateway *gw, const sandbox_row *row, bool write_row, struct settings *own,
                          bool changed, struct os_arena *a, struct os_error *err)
{
    if (store_begin(gw->store, err) < 0)
        return -1;
    int rc = sandbox_load(gw, row->metadata->id, a, err) ? 0 : -1;
    if (rc == 0 && changed)
        rc = settings_store(gw, own, err);
    if (rc == 0 && write_row)
        rc = store_row(gw, row, a, err);
    if (rc < 0) {
        store_rollback(gw->store);
        return -1;
    }
    return store_commit(gw->store, err);
}

static int update_locked(struct gateway *gw, struct rpc_call *call, const update_request *req,
                         update_response *reply, struct os_arena *a, struct os_error *err)
{
    const char *key = trimmed_key(req, a);
    cleanup_settings struct settings all = {0}, own = {0};
    sandbox_row *row = update_target(gw, call, req, a, err);
    if (!row || settings_load_global(gw, &all, err) < 0 || check_sandbox(&all, req, key, err) < 0 ||
        settings_load_sandbox(gw, row, &own, err) < 0)
        return -1;
    bool changed = settings_put(&own, key, req->delete_setting ? NULL : req->setting_value), write_row;
    if (update_annotations(row, req, &write_row, a, err) < 0)
        return -1;
    if ((changed || write_row) && commit_sandbox(gw, row, write_row, &own, changed, a, err) < 0)
        return -1;
    if (changed) {
        config_push(gw, row);
        gateway_log(gw, row->metadata->id, OS_LOG_INFO, "config", "setting '%s' %s", key,
                    req->delete_setting ? "deleted" : "set");
    }
    reply->settings_revision = own.revision;
    reply->deleted = changed && req->delete_setting;
    update_reply_annotations(reply, row, a);
    return 0;
}

int update_setting(struct gateway *gw, struct rpc_call *call, const update_request *req,
                   update_response *reply, struct os_arena *a, struct os_error *err)
{
    pthread_mutex_lock(&gw->sync);
    int rc = update_locked(gw, call, req, reply, a, err);
    pthread_mutex_unlock(&gw->sync);
    return rc;
}
