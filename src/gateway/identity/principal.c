/* Authentication pipeline: sandbox token, then the owner of the local socket, then client
 * certificate, then (nothing configured) local user. */
#include "gateway/identity/principal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/str.h"
#include "gateway/gateway.h"

static void clear(struct principal *p)
{
    free(p->subject);
    free(p->display_name);
    os_strv_free(&p->roles);
    os_strv_free(&p->scopes);
}

static void principal_free(void *p)
{
    clear(p);
    free(p);
}

static void attach(struct rpc_call *call, const struct principal *p)
{
    struct principal *copy = os_calloc(1, sizeof(*copy));
    *copy = *p;
    rpc_call_set_principal(call, copy, principal_free);
}

/* OS_OK and *found, or refused with *err. */
static int from_token(struct gateway *gw, struct rpc_call *call, struct principal *p, bool *found,
                      struct os_error *err)
{
    const char *header = rpc_call_header(call, "authorization");
    *found = false;
    if (!gw->jwt || !header || !os_str_starts(header, "Bearer "))
        return 0;
    switch (jwt_verify_sandbox(gw->jwt, header + strlen("Bearer "), p->sandbox_id, err)) {
    case JWT_OK:
        p->kind = PRINCIPAL_SANDBOX;
        *found = true;
        return 0;
    case JWT_NOT_MINE:
        return 0;
    case JWT_BAD:
        break;
    }
    return -1;
}

static void local_user(struct principal *p, const char *subject, const char *display_name)
{
    p->subject = os_strdup(subject);
    p->display_name = os_strdup(display_name);
    p->provider = "local_dev";
    os_strv_add(&p->roles, "openshell-user");
    os_strv_add(&p->roles, "openshell-admin");
    os_strv_add(&p->scopes, "openshell:all");
}

static void certificate_user(struct principal *p, const struct rpc_peer *peer)
{
    p->subject = os_strdup(peer->cert_cn);
    p->display_name = os_strdup(peer->cert_cn);
    p->provider = "mtls";
    for (const char *const *ou = peer->cert_ou; ou && *ou; ou++)
        os_strv_add(&p->roles, *ou);
}

static int from_connection(struct gateway *gw, struct rpc_call *call, struct principal *p,
                           struct os_error *err)
{
    const struct rpc_peer *peer = rpc_call_peer(call);
    p->kind = PRINCIPAL_USER;
    if (peer->unix_socket && peer->uid != geteuid() && peer->uid != 0)
        return os_error_set(err, OS_UNAUTHENTICATED, "the local socket is for user %u only", geteuid());
    if (peer->unix_socket)
        local_user(p, "local", "Local user");
    else if (gw->mtls_auth && peer->cert_cn)
        certificate_user(p, peer);
    else if (gw->mtls_auth && !gw->allow_unauthenticated)
        return os_error_set(err, OS_UNAUTHENTICATED,
                            gw->jwt ? "missing authorization header" : "missing client certificate");
    else if (!peer->loopback && !gw->allow_unauthenticated)
        return os_error_set(
            err, OS_UNAUTHENTICATED,
            "without client certificates only callers on this machine are let in; connect over "
            "loopback or give the gateway --tls-client-ca");
    else
        local_user(p, "unauthenticated-local-dev", "Unauthenticated Local Dev");
    return 0;
}

/* Methods that need no caller; of gRPC's own services also those that do not exist (spec/identity.md 2). */
static bool is_for_anyone(const struct rpc_call *call)
{
    const struct rpc_method *m = rpc_call_method(call);
    if (m)
        return m->auth == RPC_AUTH_UNAUTHENTICATED;
    const char *path = rpc_call_header(call, ":path");
    return path && (os_str_starts(path, "/grpc.reflection.") || os_str_starts(path, "/grpc.health."));
}

int principal_authenticate(void *ctx, struct rpc_call *call, struct os_error *err)
{
    struct gateway *gw = ctx;
    const struct rpc_method *m = rpc_call_method(call);
    if (is_for_anyone(call))
        return 0;
    struct principal p = {0};
    bool found;
    if (from_token(gw, call, &p, &found, err) < 0 || (!found && from_connection(gw, call, &p, err) < 0))
        return -1;
    enum rpc_auth_mode mode = m ? m->auth : RPC_AUTH_BEARER;
    if (p.kind == PRINCIPAL_USER && mode == RPC_AUTH_SANDBOX) {
        clear(&p);
        return os_error_set(err, OS_PERMISSION_DENIED, "this method requires a sandbox principal");
    }
    if (p.kind == PRINCIPAL_SANDBOX && mode != RPC_AUTH_SANDBOX && mode != RPC_AUTH_DUAL)
        return os_error_set(err, OS_PERMISSION_DENIED, "sandbox principals may not call this method");
    attach(call, &p);
    return 0;
}

const struct principal *principal_user(const struct rpc_call *call)
{
    const struct principal *p = rpc_call_principal(call);
    return p && p->kind == PRINCIPAL_USER ? p : NULL;
}

const struct principal *principal_sandbox(const struct rpc_call *call)
{
    const struct principal *p = rpc_call_principal(call);
    return p && p->kind == PRINCIPAL_SANDBOX ? p : NULL;
}

int principal_check_scope(const struct rpc_call *call, const char *sandbox_id, struct os_error *err)
{
    const struct principal *p = principal_sandbox(call);
    if (p && strcmp(p->sandbox_id, sandbox_id) != 0)
        return os_error_set(err, OS_PERMISSION_DENIED,
                            "cross-sandbox access denied: principal does not own this sandbox");
    return 0;
}

int principal_require_supervisor(const struct rpc_call *call, const char *sandbox_id, struct os_error *err)
{
    if (!principal_sandbox(call))
        return os_error_set(err, OS_PERMISSION_DENIED, "supervisor RPCs require a sandbox principal");
    return principal_check_scope(call, sandbox_id, err);
}
