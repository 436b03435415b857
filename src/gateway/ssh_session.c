/* Tokens of SSH sessions and their records. */
#include "gateway/ssh_session.h"

#include <openssl/sha.h>
#include <string.h>

#include "core/clock.h"
#include "core/encode.h"
#include "core/log.h"
#include "core/str.h"
#include "rpc/call.h"
#include "rpc/pb.h"
#include "store.pb-c.h"

#define REVOKE_TRIES 3

typedef Openshell__Store__V1__SshSessionPayload session_payload;

static const char *id_of(const char *token, char id[SSH_SESSION_ID_LEN])
{
    unsigned char hash[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)token, strlen(token), hash);
    return os_hex(hash, sizeof(hash), id);
}

int ssh_session_create(struct gateway *gw, const char *sandbox_id, const char *workspace,
                       char token[OS_UUID_LEN], int64_t *expires_at_ms, struct os_error *err)
{
    cleanup_arena struct os_arena a = {0};
    char id[SSH_SESSION_ID_LEN];
    session_payload p = OPENSHELL__STORE__V1__SSH_SESSION_PAYLOAD__INIT;
    p.sandbox_id = (char *)sandbox_id;
    p.created_at_ms = os_clock_ms();
    p.expires_at_ms = gw->ssh_session_ttl_s ? p.created_at_ms + (int64_t)gw->ssh_session_ttl_s * 1000 : 0;
    struct store_object o = {.id = id_of(os_uuid(token), id),
                             .type = STORE_SSH_SESSION,
                             .workspace = workspace,
                             .scope = sandbox_id,
                             .created_at_ms = p.created_at_ms};
    o.payload = pb_pack(&a, &p.base, &o.payload_len);
    *expires_at_ms = p.expires_at_ms;
    if (store_insert(gw->store, &o, err) == 0)
        return 0;
    os_error_wrap(err, "persist ssh session failed");
    err->code = OS_INTERNAL;
    return -1;
}

/* OS_NOT_FOUND when there is none. */
static session_payload *load(struct gateway *gw, const char *id, struct os_arena *a, struct store_object *o,
                             struct os_error *err)
{
    if (store_get(gw->store, STORE_SSH_SESSION, id, a, o, err) < 0)
        return NULL;
    session_payload *p = (session_payload *)rpc_unpack(
        a, &openshell__store__v1__ssh_session_payload__descriptor, o->payload, o->payload_len);
    if (!p)
        os_error_set(err, OS_DATA_LOSS, "the stored record of an ssh session cannot be read");
    return p;
}

int ssh_session_check(struct gateway *gw, const char *token, const char *sandbox_id,
                      char id[SSH_SESSION_ID_LEN], struct os_error *err)
{
    cleanup_arena struct os_arena a = {0};
    struct store_object o;
    const session_payload *p = load(gw, id_of(token, id), &a, &o, err);
    if (!p && err->code == OS_NOT_FOUND)
        return os_error_set(err, OS_UNAUTHENTICATED, "SSH session token not found");
    if (!p)
        return os_error_wrap(err, "fetch ssh session failed");
    if (p->revoked || strcmp(p->sandbox_id, sandbox_id) != 0)
        return os_error_set(err, OS_UNAUTHENTICATED, "SSH session token is not valid");
    if (p->expires_at_ms && os_clock_ms() > p->expires_at_ms)
        return os_error_set(err, OS_UNAUTHENTICATED, "SSH session token expired");
    return 0;
}

int ssh_session_revoke(struct gateway *gw, const char *token, bool *revoked, struct os_error *err)
{
    char id[SSH_SESSION_ID_LEN];
    id_of(token, id);
    *revoked = false;
    int rc = -1;
    for (int i = 0; i < REVOKE_TRIES && rc < 0; i++) {
        cleanup_arena struct os_arena a = {0};
        struct store_object o;
        size_t n;
        os_error_clear(err);
        session_payload *p = load(gw, id, &a, &o, err);
        if (!p && err->code == OS_NOT_FOUND) {
            os_error_clear(err);
            return 0;
        }
        if (!p)
            return os_error_wrap(err, "fetch ssh session failed");
        if (p->revoked) {
            *revoked = true;
            return 0;
        }
        p->revoked = true;
        const uint8_t *data = pb_pack(&a, &p->base, &n);
        rc = store_update(gw->store, STORE_SSH_SESSION, id, o.resource_version, data, n, NULL, err);
        if (rc < 0 && err->code != OS_ABORTED)
            break;
    }
    *revoked = rc == 0;
    return rc < 0 ? os_error_wrap(err, "revoke ssh session failed") : 0;
}

void ssh_sessions_reap(struct gateway *gw, const char *sandbox_id)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    struct store_object *rows = NULL;
    size_t n = 0;
    if (store_list(gw->store, STORE_SSH_SESSION, NULL, 0, 0, &a, &rows, &n, &err) < 0) {
        os_log_warn("ssh", "cannot read the stored ssh sessions: %s", os_error_text(&err));
        return;
    }
    int64_t now = os_clock_ms();
    for (size_t i = 0; i < n; i++) {
        const session_payload *p = (const session_payload *)rpc_unpack(
            &a, &openshell__store__v1__ssh_session_payload__descriptor, rows[i].payload, rows[i].payload_len);
        bool over = !p || p->revoked || (p->expires_at_ms && now > p->expires_at_ms) ||
                    (sandbox_id && strcmp(p->sandbox_id, sandbox_id) == 0);
        os_error_clear(&err);
        if (over && store_delete(gw->store, STORE_SSH_SESSION, rows[i].id, &err) < 0)
            os_log_warn("ssh", "cannot delete an ssh session: %s", os_error_text(&err));
    }
}
