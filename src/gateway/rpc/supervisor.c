/* ReportMainProcessExit and RefreshSandboxToken (spec/gateway.md 8.3, spec/identity.md 5). */
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/log.h"
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
    if (req->n_extension_service_names)
        return os_error_set(err, OS_PERMISSION_DENIED,
                            "extension service '%s' is not selected by the sandbox policy",
                            req->extension_service_names[0]);
    if (!sandbox_load(gw, p->sandbox_id, a, err))
        return -1;
    Openshell__V1__RefreshSandboxTokenResponse *r = pb_new(a, openshell__v1__refresh_sandbox_token_response);
    cleanup_free char *token =
        jwt_mint_sandbox(gw->jwt, p->sandbox_id, gw->jwt_ttl_s, &r->expires_at_ms, err);
    if (!token)
        return -1;
    r->token = os_arena_strdup(a, token);
    *response = &r->base;
    return 0;
}
