/* GetSandboxConfig, GetGatewayConfig, and what UpdateConfig asks for (spec/gateway.md 6.2 - 6.4). */
#include "gateway/config.h"

#include <string.h>

#include "core/str.h"
#include "gateway/identity/principal.h"
#include "gateway/rpc/config_update.h"
#include "gateway/rpc/handlers.h"
#include "gateway/settings.h"
#include "gateway/validate.h"
#include "rpc/pb.h"

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

int rpc_get_gateway_config(void *ctx, struct rpc_call *call, const ProtobufCMessage *request,
                           struct os_arena *a, ProtobufCMessage **response, struct os_error *err)
{
    struct gateway *gw = ctx;
    cleanup_settings struct settings all = {0};
    if (settings_load_global(gw, &all, err) < 0)
        return -1;
    Openshell__Sandbox__V1__GetGatewayConfigResponse *r =
        pb_new(a, openshell__sandbox__v1__get_gateway_config_response);
    r->settings_revision = all.revision;
    r->settings = os_arena_alloc(a, settings_registered * sizeof(*r->settings));
    for (size_t i = 0; i < settings_registered; i++) {
        Openshell__Sandbox__V1__GetGatewayConfigResponse__SettingsEntry *e =
            pb_new(a, openshell__sandbox__v1__get_gateway_config_response__settings_entry);
        e->key = (char *)settings_registry[i].key;
        e->value = settings_get(&all, e->key, a);
        if (!e->value)
            e->value = pb_new(a, openshell__sandbox__v1__setting_value);
        r->settings[r->n_settings++] = e;
    }
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

sandbox_row *update_target(struct gateway *gw, struct rpc_call *call, const update_request *req,
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

static int check_global(const update_request *req, struct os_error *err)
{
    if (req->n_annotations)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "annotations are only supported for sandbox-scoped updates");
    if (req->n_merge_operations)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "merge_operations are not supported for global policy updates");
    return 0;
}

static int update(struct gateway *gw, struct rpc_call *call, const update_request *req,
                  update_response *reply, struct os_arena *a, struct os_error *err)
{
    if (req->policy && req->delete_setting)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "delete_setting cannot be combined with policy payload");
    if (req->global)
        return check_global(req, err) < 0 ? -1
               : req->policy              ? update_global_policy(gw, req, reply, a, err)
                                          : update_global_setting(gw, req, reply, a, err);
    return req->policy || req->n_merge_operations ? update_policy(gw, call, req, reply, a, err)
                                                  : update_setting(gw, call, req, reply, a, err);
}

int rpc_update_config(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *a,
                      ProtobufCMessage **response, struct os_error *err)
{
    const update_request *req = (const update_request *)request;
    update_response *reply = pb_new(a, openshell__v1__update_config_response);
    /* Generated map entries all look alike (validate.c checks it). */
    typedef Openshell__V1__CreateSandboxRequest__AnnotationsEntry entry;
    if (validate_annotations("annotations", (entry *const *)req->annotations, req->n_annotations, err) < 0 ||
        check_sandbox_caller(call, req, err) < 0 || check_one_of(req, err) < 0 ||
        update(ctx, call, req, reply, a, err) < 0)
        return -1;
    *response = &reply->base;
    return 0;
}
