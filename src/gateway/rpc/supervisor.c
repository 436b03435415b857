/* ReportMainProcessExit and RefreshSandboxToken (spec/gateway.md 8.3, spec/identity.md 5). */
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/log.h"
#include "gateway/config.h"
#include "gateway/identity/principal.h"
#include "gateway/main_output.h"
#include "gateway/rpc/handlers.h"
#include "gateway/sandbox.h"
#include "rpc/pb.h"

#define PHASE(x) OPENSHELL__V1__SANDBOX_PHASE__SANDBOX_PHASE_##x

struct exit_report {
    struct gateway *gw;
    const Openshell__V1__ReportMainProcessExitRequest *req;
};

static enum sandbox_change set_exit(void *ctx, sandbox_row *row, struct os_arena *a)
{
    const struct exit_report *report = ctx;
    const Openshell__V1__ReportMainProcessExitRequest *req = report->req;
    Openshell__V1__SandboxStatus *st = row->status;
    bool same = strcmp(st->main_process_instance_id, req->instance_id) == 0;
    bool starting = st->phase == PHASE(STARTING);
    if (st->phase == PHASE(DELETING) || st->phase == PHASE(STOPPING) || st->phase == PHASE(STOPPED) ||
        (starting && same) || (!starting && !same && *st->main_process_instance_id) ||
        st->_exit_code_case == OPENSHELL__V1__SANDBOX_STATUS___EXIT_CODE_EXIT_CODE)
        return SANDBOX_KEEP;
    main_output_store(report->gw, req); /* before anybody can see that it ended */
    st->main_process_instance_id = req->instance_id;
    st->_exit_code_case = OPENSHELL__V1__SANDBOX_STATUS___EXIT_CODE_EXIT_CODE;
    st->exit_code = req->exit_code;
    if (row->spec && row->spec->keep)
        return SANDBOX_WRITE; /* a service: what ended was only its first command */
    /* A job: its success is no error. */
    st->phase = req->exit_code == 0 ? PHASE(STOPPED) : PHASE(ERROR);
    sandbox_set_ready(
        row, a, "False", "MainProcessExited",
        *req->start_error
            ? os_arena_printf(a, "Canonical main process could not be started: %s", req->start_error)
            : "Canonical main process exited");
    return SANDBOX_WRITE;
}

int rpc_report_exit(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *a,
                    ProtobufCMessage **response, struct os_error *err)
{
    struct gateway *gw = ctx;
    const Openshell__V1__ReportMainProcessExitRequest *req =
        (const Openshell__V1__ReportMainProcessExitRequest *)request;
    if (!*req->sandbox_id)
        return os_error_set(err, OS_INVALID_ARGUMENT, "sandbox_id is required");
    if (!*req->instance_id)
        return os_error_set(err, OS_INVALID_ARGUMENT, "instance_id is required");
    if (strlen(req->start_error) > OS_LIMIT_START_ERROR)
        return os_error_set(err, OS_INVALID_ARGUMENT, "start_error exceeds maximum length (%zu > %d)",
                            strlen(req->start_error), OS_LIMIT_START_ERROR);
    if (principal_require_supervisor(call, req->sandbox_id, err) < 0)
        return -1;
    struct exit_report report = {gw, req};
    if (sandbox_change(gw, req->sandbox_id, "report main process exit", set_exit, &report, err) < 0) {
        if (err->code != OS_NOT_FOUND) {
            err->code = OS_FAILED_PRECONDITION;
            return -1;
        }
        os_error_clear(err);
    } else {
        gateway_log(gw, req->sandbox_id, OS_LOG_INFO, "sandbox", "main process exited with code %d",
                    req->exit_code);
    }
    *response = pb_new_desc(a, &openshell__v1__report_main_process_exit_response__descriptor);
    return 0;
}

/* --- tokens for middleware services --- */

static int check_names(const Openshell__V1__RefreshSandboxTokenRequest *req, struct os_error *err)
{
    char *const *name = req->extension_service_names;
    if (req->n_extension_service_names > OS_MIDDLEWARE_CREDENTIALS)
        return os_error_set(err, OS_INVALID_ARGUMENT, "at most %d extension credentials may be requested",
                            OS_MIDDLEWARE_CREDENTIALS);
    for (size_t i = 0; i < req->n_extension_service_names; i++) {
        if (!*name[i])
            return os_error_set(err, OS_INVALID_ARGUMENT, "extension service names must not be empty");
        for (size_t k = 0; k < i; k++)
            if (strcmp(name[i], name[k]) == 0)
                return os_error_set(err, OS_INVALID_ARGUMENT, "duplicate extension service name '%s'",
                                    name[i]);
    }
    return 0;
}

typedef Openshell__Sandbox__V1__GetSandboxConfigResponse config_response;

static const Openshell__Sandbox__V1__SupervisorMiddlewareService *selected(const config_response *c,
                                                                           const char *name)
{
    for (size_t i = 0; i < c->n_supervisor_middleware_services; i++)
        if (strcmp(c->supervisor_middleware_services[i]->name, name) == 0)
            return c->supervisor_middleware_services[i];
    return NULL;
}

static Openshell__V1__ExtensionServiceCredential *mint(struct gateway *gw, const char *sandbox_id,
                                                       const config_response *c, const char *name,
                                                       struct os_arena *a, struct os_error *err)
{
    const Openshell__Sandbox__V1__SupervisorMiddlewareService *s = selected(c, name);
    Openshell__V1__ExtensionServiceCredential *out = pb_new(a, openshell__v1__extension_service_credential);
    if (!s) {
        os_error_set(err, OS_PERMISSION_DENIED,
                     "extension service '%.128s' is not selected by the sandbox policy", name);
        return NULL;
    }
    if (s->allow_insecure_transport) {
        os_error_set(
            err, OS_FAILED_PRECONDITION,
            "extension service '%s' opted out of extension authentication; no credential is minted for it",
            name);
        return NULL;
    }
    cleanup_free char *token =
        jwt_mint_extension(gw->jwt, sandbox_id, s->audience, gw->jwt_ttl_s, &out->expires_at_ms, err);
    if (!token)
        return NULL;
    out->service_name = s->name;
    out->token = os_arena_strdup(a, token);
    return out;
}

/* All or nothing; what is refused does not count as a call. */
static int extension_credentials(struct gateway *gw, const sandbox_row *row,
                                 const Openshell__V1__RefreshSandboxTokenRequest *req,
                                 Openshell__V1__RefreshSandboxTokenResponse *r, struct os_arena *a,
                                 struct os_error *err)
{
    const char *id = row->metadata->id;
    size_t n = req->n_extension_service_names;
    if (check_names(req, err) < 0)
        return -1;
    const config_response *c = config_build(gw, row, a, err);
    if (!c)
        return -1;
    r->extension_credentials = os_arena_alloc(a, (n + 1) * sizeof(*r->extension_credentials));
    for (size_t i = 0; i < n; i++) {
        r->extension_credentials[i] = mint(gw, id, c, req->extension_service_names[i], a, err);
        if (!r->extension_credentials[i])
            return -1;
    }
    if (!mint_limit_take(&gw->mints, id))
        return os_error_set(err, OS_RESOURCE_EXHAUSTED,
                            "extension credential minting rate limit exceeded for this sandbox");
    r->n_extension_credentials = n;
    return 0;
}

int rpc_refresh_token(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *a,
                      ProtobufCMessage **response, struct os_error *err)
{
    struct gateway *gw = ctx;
    const Openshell__V1__RefreshSandboxTokenRequest *req =
        (const Openshell__V1__RefreshSandboxTokenRequest *)request;
    const struct principal *p = principal_sandbox(call);
    if (!p)
        return os_error_set(err, OS_PERMISSION_DENIED, "RefreshSandboxToken requires a sandbox principal");
    if (!gw->jwt)
        return os_error_set(err, OS_UNAVAILABLE, "sandbox JWT minting is not configured on this gateway");
    sandbox_row *row = sandbox_load(gw, p->sandbox_id, a, err);
    if (!row)
        return -1;
    Openshell__V1__RefreshSandboxTokenResponse *r = pb_new(a, openshell__v1__refresh_sandbox_token_response);
    cleanup_free char *token =
        jwt_mint_sandbox(gw->jwt, p->sandbox_id, gw->jwt_ttl_s, &r->expires_at_ms, err);
    if (!token)
        return -1;
    r->token = os_arena_strdup(a, token);
    if (req->n_extension_service_names && extension_credentials(gw, row, req, r, a, err) < 0)
        return -1;
    *response = &r->base;
    return 0;
}
