/* The configuration a supervisor runs under. */
#include "gateway/config.h"

#include <openssl/evp.h>
#include <string.h>

#include "core/clock.h"
#include "core/id.h"
#include "core/log.h"
#include "gateway/session/sessions.h"
#include "policy/policy.h"
#include "rpc/pb.h"

typedef Openshell__Sandbox__V1__GetSandboxConfigResponse config_response;
typedef Openshell__Sandbox__V1__GetSandboxConfigResponse__SettingsEntry settings_entry;

#define FAILURE_MODE "fail_closed"

/* Registered settings (spec/gateway.md 6.1), sorted. */
static const char *const setting_keys[] = {"agent_policy_proposals_enabled", "ocsf_json_enabled",
                                           "proposal_approval_mode", "providers_v2_enabled"};
#define N_SETTINGS (sizeof(setting_keys) / sizeof(setting_keys[0]))

policy_revision *config_revision(struct gateway *gw, const char *sandbox_id, uint32_t version,
                                 struct os_arena *a, struct store_object *o, struct os_error *err)
{
    struct store_object local;
    if (!o)
        o = &local;
    if (store_revision_get(gw->store, sandbox_id, version, a, o, err) < 0)
        return NULL;
    policy_revision *r = (policy_revision *)rpc_unpack(
        a, &openshell__store__v1__policy_revision_payload__descriptor, o->payload, o->payload_len);
    if (!r)
        os_error_set(err, OS_DATA_LOSS, "policy revision %lld of sandbox %s cannot be read",
                     (long long)o->version, sandbox_id);
    return r;
}

/* The create-time policy becomes revision 1; a concurrent writer may win, which is fine. */
static void adopt_create_policy(struct gateway *gw, const sandbox_row *row, const char *hash,
                                struct os_arena *a)
{
    cleanup_error struct os_error err = {0};
    char id[OS_UUID_LEN];
    policy_revision *r = pb_new(a, openshell__store__v1__policy_revision_payload);
    r->policy = row->spec->policy;
    r->policy_hash = (char *)hash;
    r->created_at_ms = os_clock_ms();
    size_t n;
    uint8_t *data = pb_pack(a, &r->base, &n);
    const struct store_object o = {.id = os_uuid(id),
                                   .type = STORE_POLICY,
                                   .scope = row->metadata->id,
                                   .workspace = row->metadata->workspace,
                                   .version = 1,
                                   .status = "loaded",
                                   .payload = data,
                                   .payload_len = n};
    struct store_object still;
    pthread_mutex_lock(&gw->sync); /* not for a sandbox that is removed meanwhile */
    if (store_get(gw->store, STORE_SANDBOX, row->metadata->id, a, &still, &err) == 0)
        store_insert(gw->store, &o, &err);
    pthread_mutex_unlock(&gw->sync);
    if (err.code != OS_OK && err.code != OS_NOT_FOUND && err.code != OS_ALREADY_EXISTS)
        os_log_warn("config", "%s: cannot store the create-time policy: %s", row->metadata->id,
                    os_error_text(&err));
}

static int source_policy(struct gateway *gw, const sandbox_row *row, struct os_arena *a, config_response *out,
                         struct os_error *err)
{
    char hash[65];
    struct store_object o;
    policy_revision *r = config_revision(gw, row->metadata->id, 0, a, &o, err);
    if (r) {
        out->policy = r->policy;
        out->version = (uint32_t)o.version;
        out->policy_hash = r->policy ? os_arena_strdup(a, policy_hash(r->policy, hash)) : (char *)"";
        return 0;
    }
    if (err->code != OS_NOT_FOUND)
        return -1;
    os_error_clear(err);
    if (!row->spec || !row->spec->policy)
        return 0;
    out->policy = row->spec->policy;
    out->policy_hash = os_arena_strdup(a, policy_hash(out->policy, hash));
    out->version = 1;
    adopt_create_policy(gw, row, out->policy_hash, a);
    return 0;
}

static void add_settings(config_response *out, struct os_arena *a)
{
    out->n_settings = N_SETTINGS;
    out->settings = os_arena_alloc(a, N_SETTINGS * sizeof(*out->settings));
    for (size_t i = 0; i < N_SETTINGS; i++) {
        settings_entry *e = pb_new(a, openshell__sandbox__v1__get_sandbox_config_response__settings_entry);
        e->key = (char *)setting_keys[i];
        e->value = pb_new(a, openshell__sandbox__v1__effective_setting);
        out->settings[i] = e;
    }
}

static void digest_i32(EVP_MD_CTX *md, int32_t v)
{
    unsigned char le[4] = {(unsigned char)v, (unsigned char)(v >> 8), (unsigned char)(v >> 16),
                           (unsigned char)(v >> 24)};
    EVP_DigestUpdate(md, le, sizeof(le));
}

/* Opaque change token (spec/gateway.md 6.5). */
static uint64_t revision_token(const config_response *c)
{
    unsigned char d[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    digest_i32(md, (int32_t)c->policy_source);
    EVP_DigestUpdate(md, c->policy_validation_failure_mode, strlen(c->policy_validation_failure_mode));
    unsigned char flag = (unsigned char)c->extension_authentication_enabled;
    EVP_DigestUpdate(md, &flag, 1);
    EVP_DigestUpdate(md, c->policy_hash, strlen(c->policy_hash));
    for (size_t i = 0; i < c->n_settings; i++) {
        EVP_DigestUpdate(md, c->settings[i]->key, strlen(c->settings[i]->key));
        digest_i32(md, (int32_t)c->settings[i]->value->scope);
    }
    EVP_DigestFinal_ex(md, d, NULL);
    EVP_MD_CTX_free(md);
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | d[i];
    return v;
}

config_response *config_build(struct gateway *gw, const sandbox_row *row, struct os_arena *a,
                              struct os_error *err)
{
    config_response *out = pb_new(a, openshell__sandbox__v1__get_sandbox_config_response);
    if (source_policy(gw, row, a, out, err) < 0)
        return NULL;
    out->policy_source = OPENSHELL__SANDBOX__V1__POLICY_SOURCE__POLICY_SOURCE_SANDBOX;
    out->workspace = row->metadata->workspace;
    out->policy_validation_failure_mode = (char *)FAILURE_MODE;
    out->extension_authentication_enabled = gw->jwt != NULL;
    add_settings(out, a);
    out->config_revision = revision_token(out);
    return out;
}

void config_push(struct gateway *gw, const sandbox_row *row)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    config_response *c = config_build(gw, row, &a, &err);
    if (!c) {
        os_log_warn("config", "%s: cannot build the configuration to push: %s", row->metadata->id,
                    os_error_text(&err));
        return;
    }
    size_t n;
    uint8_t *data = pb_pack(&a, &c->base, &n);
    sessions_push_config(gw->sessions, row->metadata->id, data, n);
}
