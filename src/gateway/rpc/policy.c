/* GetSandboxPolicyStatus, ListSandboxPolicies, ReportPolicyStatus (spec/gateway.md 6.7). */
#include <string.h>

#include "core/clock.h"
#include "core/limits.h"
#include "core/log.h"
#include "gateway/config.h"
#include "gateway/identity/principal.h"
#include "gateway/rpc/handlers.h"
#include "rpc/pb.h"

#define STATUS(x) OPENSHELL__V1__POLICY_STATUS__POLICY_STATUS_##x

typedef Openshell__V1__SandboxPolicyRevision revision_msg;

static Openshell__V1__PolicyStatus status_of(const char *text)
{
    static const struct {
        const char *text;
        Openshell__V1__PolicyStatus status;
    } table[] = {{"pending", STATUS(PENDING)},
                 {"loaded", STATUS(LOADED)},
                 {"failed", STATUS(FAILED)},
                 {"superseded", STATUS(SUPERSEDED)}};
    for (size_t i = 0; text && i < sizeof(table) / sizeof(table[0]); i++)
        if (strcmp(table[i].text, text) == 0)
            return table[i].status;
    return STATUS(UNSPECIFIED);
}

static revision_msg *revision_message(const policy_revision *p, const struct store_object *o, bool body,
                                      struct os_arena *a)
{
    revision_msg *r = pb_new(a, openshell__v1__sandbox_policy_revision);
    r->version = (uint32_t)o->version;
    r->policy_hash = p->policy_hash;
    r->status = status_of(o->status);
    r->load_error = p->load_error;
    r->created_at_ms = p->created_at_ms;
    r->loaded_at_ms = p->loaded_at_ms;
    r->policy = body ? p->policy : NULL;
    r->n_provenance = p->n_provenance;
    r->provenance = os_arena_alloc(a, (p->n_provenance + 1) * sizeof(*r->provenance));
    for (size_t i = 0; i < p->n_provenance; i++) {
        r->provenance[i] = pb_new(a, openshell__v1__sandbox_policy_revision__provenance_entry);
        r->provenance[i]->key = p->provenance[i]->key;
        r->provenance[i]->value = p->provenance[i]->value;
    }
    return r;
}

/* What the revisions are kept under, and the sandbox's row (NULL when global); NULL with *err. */
static const char *scope_of(struct gateway *gw, bool global, const char *name, const char *requested,
                            sandbox_row **row, struct os_arena *a, struct os_error *err)
{
    const char *workspace;
    *row = NULL;
    if (global)
        return CONFIG_GLOBAL_SCOPE;
    if (!*name)
        os_error_set(err, OS_INVALID_ARGUMENT, "name is required");
    else if (handler_workspace(gw, requested, &workspace, err) == 0)
        *row = sandbox_load_named(gw, workspace, name, a, err);
    return *row ? (*row)->metadata->id : NULL;
}

int rpc_get_policy_status(void *ctx, struct rpc_call *call, const ProtobufCMessage *request,
                          struct os_arena *a, ProtobufCMessage **response, struct os_error *err)
{
    struct gateway *gw = ctx;
    const Openshell__V1__GetSandboxPolicyStatusRequest *req =
        (const Openshell__V1__GetSandboxPolicyStatusRequest *)request;
    sandbox_row *row;
    const char *scope = scope_of(gw, req->global, req->name, req->workspace, &row, a, err);
    if (!scope)
        return -1;
    struct store_object o;
    policy_revision *p = config_revision(gw, scope, req->version, a, &o, err);
    if (!p)
        return err->code == OS_NOT_FOUND
                   ? os_error_set(err, OS_NOT_FOUND,
                                  req->global ? "no global policy revision found"
                                              : "no policy revision found for this sandbox")
                   : -1;
    Openshell__V1__GetSandboxPolicyStatusResponse *r =
        pb_new(a, openshell__v1__get_sandbox_policy_status_response);
    r->revision = revision_message(p, &o, true, a);
    r->active_version = row ? row->status->current_policy_version : 0;
    *response = &r->base;
    return 0;
}

int rpc_list_policies(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *a,
                      ProtobufCMessage **response, struct os_error *err)
{
    struct gateway *gw = ctx;
    const Openshell__V1__ListSandboxPoliciesRequest *req =
        (const Openshell__V1__ListSandboxPoliciesRequest *)request;
    sandbox_row *row;
    const char *scope = scope_of(gw, req->global, req->name, req->workspace, &row, a, err);
    if (!scope)
        return -1;
    uint32_t limit = req->limit ? req->limit : OS_PAGE_DEFAULT_POLICIES;
    struct store_object *rows;
    size_t n;
    if (store_revision_list(gw->store, scope, limit > OS_PAGE_MAX ? OS_PAGE_MAX : limit, req->offset, a,
                            &rows, &n, err) < 0)
        return os_error_wrap(err, "list policies failed");
    Openshell__V1__ListSandboxPoliciesResponse *r = pb_new(a, openshell__v1__list_sandbox_policies_response);
    r->revisions = os_arena_alloc(a, (n + 1) * sizeof(*r->revisions));
    for (size_t i = 0; i < n; i++) {
        policy_revision *p =
            (policy_revision *)rpc_unpack(a, &openshell__store__v1__policy_revision_payload__descriptor,
                                          rows[i].payload, rows[i].payload_len);
        if (p)
            r->revisions[r->n_revisions++] = revision_message(p, &rows[i], false, a);
    }
    *response = &r->base;
    return 0;
}

/* --- report --- */

static enum sandbox_change set_version(void *ctx, sandbox_row *row, struct os_arena *a)
{
    uint32_t version = *(const uint32_t *)ctx;
    if (row->status->current_policy_version == version)
        return SANDBOX_KEEP;
    row->status->current_policy_version = version;
    return SANDBOX_WRITE;
}

static int check_report(const Openshell__V1__ReportPolicyStatusRequest *req, struct rpc_call *call,
                        struct os_error *err)
{
    if (principal_check_scope(call, req->sandbox_id, err) < 0)
        return -1;
    if (!*req->sandbox_id)
        return os_error_set(err, OS_INVALID_ARGUMENT, "sandbox_id is required");
    if (!req->version)
        return os_error_set(err, OS_INVALID_ARGUMENT, "version is required");
    if (req->status != STATUS(LOADED) && req->status != STATUS(FAILED))
        return os_error_set(err, OS_INVALID_ARGUMENT, "status must be LOADED or FAILED");
    return 0;
}

int rpc_report_policy_status(void *ctx, struct rpc_call *call, const ProtobufCMessage *request,
                             struct os_arena *a, ProtobufCMessage **response, struct os_error *err)
{
    struct gateway *gw = ctx;
    const Openshell__V1__ReportPolicyStatusRequest *req =
        (const Openshell__V1__ReportPolicyStatusRequest *)request;
    if (check_report(req, call, err) < 0)
        return -1;
    struct store_object o;
    policy_revision *p = config_revision(gw, req->sandbox_id, req->version, a, &o, err);
    if (!p)
        return err->code == OS_NOT_FOUND ? os_error_set(err, OS_NOT_FOUND, "policy revision not found") : -1;
    bool loaded = req->status == STATUS(LOADED);
    p->loaded_at_ms = loaded ? os_clock_ms() : 0;
    if (!loaded && *req->load_error)
        p->load_error = req->load_error;
    /* The row first: who sees the revision loaded finds it active. */
    uint32_t version = req->version;
    if (loaded &&
        sandbox_change(gw, req->sandbox_id, "update current_policy_version", set_version, &version, err) < 0)
        return -1;
    size_t n;
    uint8_t *data = pb_pack(a, &p->base, &n);
    if (store_begin(gw->store, err) < 0)
        return -1;
    int rc = store_revision_update(gw->store, req->sandbox_id, req->version, loaded ? "loaded" : "failed",
                                   data, n, err);
    if (rc == 0 && loaded)
        rc = store_revision_supersede(gw->store, req->sandbox_id, req->version, err);
    if (rc < 0) {
        store_rollback(gw->store);
        return -1;
    }
    if (store_commit(gw->store, err) < 0)
        return -1;
    gateway_log(gw, req->sandbox_id, loaded ? OS_LOG_INFO : OS_LOG_WARN, "config", "policy version %u %s%s%s",
                req->version, loaded ? "loaded" : "failed to load", loaded ? "" : ": ",
                loaded ? "" : req->load_error);
    *response = pb_new_desc(a, &openshell__v1__report_policy_status_response__descriptor);
    return 0;
}
