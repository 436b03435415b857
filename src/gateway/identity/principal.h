/* Who calls: attached to every RPC by the authenticate hook (spec/identity.md 1, 2, 8). */
#ifndef GATEWAY_PRINCIPAL_H
#define GATEWAY_PRINCIPAL_H

#include "core/id.h"
#include "core/str.h"
#include "rpc/server.h"

enum principal_kind { PRINCIPAL_USER, PRINCIPAL_SANDBOX };

struct principal {
    enum principal_kind kind;
    /* user */
    char *subject, *display_name;
    struct os_strv roles, scopes;
    const char *provider; /* "mtls" or "local_dev" */
    /* sandbox */
    char sandbox_id[OS_UUID_LEN];
};

/* rpc_authenticate_fn; ctx is the gateway. */
int principal_authenticate(void *ctx, struct rpc_call *call, struct os_error *err);

/* NULL when the caller is no user. */
const struct principal *principal_user(const struct rpc_call *call);
/* NULL when the caller is a user (or nobody). */
const struct principal *principal_sandbox(const struct rpc_call *call);
/* A sandbox may only name itself; users pass. OS_PERMISSION_DENIED otherwise. */
int principal_check_scope(const struct rpc_call *call, const char *sandbox_id, struct os_error *err);
/* Only this sandbox itself. */
int principal_require_supervisor(const struct rpc_call *call, const char *sandbox_id, struct os_error *err);

#endif
