/* The configuration a supervisor runs under. */
#include "gateway/config.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/id.h"
#include "core/log.h"
#include "gateway/middlewares.h"
#include "gateway/session/sessions.h"
#include "gateway/settings.h"
#include "policy/policy.h"
#include "rpc/pb.h"

typedef Openshell__Sandbox__V1__GetSandboxConfigResponse config_response;
typedef Openshell__Sandbox__V1__GetSandboxConfigResponse__SettingsEntry settings_entry;

policy_revision *config_revision(struct gateway *gw, const char *scope, uint32_t version, struct os_arena *a,
                                 struct store_object *o, struct os_error *err)
{
    struct store_object local;
    if (!o)
        o = &local;
    if (store_revision_get(gw->store, scope, version, a, o, err) < 0)
        return NULL;
    policy_revision *r = (policy_revision *)rpc_unpack(
        a, &openshell__store__v1__policy_revision_payload__descriptor, o->payload, o->payload_len);
    if (!r)
        os_error_set(err, OS_DATA_LOSS, "policy revision %lld of %s cannot be read", (long long)o->version,
                     scope);
    return r;
}

/* The create-time policy becomes revision 1; a concurrent writer may win, which is fine. */
static void adopt_create_policy(struct gateway *gw, const sandbox_row *row, const char *hash,
                                struct os_arena *a)
{
    cleanup_error struct os_error err = {0};
    policy_revision *r = pb_new(a, openshell__store__v1__policy_revision_payload);
    r->policy = row->spec->policy;
    r->policy_hash = (char *)hash;
    r->created_at_ms = os_clock_ms();
    size_t n;
    uint8_t *data = pb_pack(a, &r->base, &n);
    struct store_object still;
    pthread_mutex_lock(&gw->sync); /* not for a sandbox that is removed meanwhile */
    if (store_get(gw->store, STORE_SANDBOX, row->metadata->id, a, &still, &err) == 0)
        store_revision_insert(gw->store, row->metadata->id, row->metadata->workspace, 1, "loaded", data, n,
                              &err);
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

/* The policy of all sandboxes takes the place of theirs (spec/gateway.md 6.3 step 2). */
static int global_policy(struct gateway *gw, const struct settings *all, struct os_arena *a,
                         config_response *out, struct os_error *err)
{
    char hash[65];
    struct store_object o = {0};
    if (!settings_has(all, SETTINGS_POLICY_KEY)) {
        out->policy_source = OPENSHELL__SANDBOX__V1__POLICY_SOURCE__POLICY_SOURCE_SANDBOX;
        return 0;
    }
    const setting_value *v = settings_get(all, SETTINGS_POLICY_KEY, a);
    policy_doc *doc = NULL;
    if (v && v->value_case == OPENSHELL__SANDBOX__V1__SETTING_VALUE__VALUE_BYTES_VALUE)
        doc = (policy_doc *)rpc_unpack(a, &openshell__sandbox__v1__sandbox_policy__descriptor,
                                       v->bytes_value.data, v->bytes_value.len);
    if (!doc)
        return os_error_set(err, OS_DATA_LOSS, "the stored global policy cannot be read; set it again");
    if (store_revision_get(gw->store, CONFIG_GLOBAL_SCOPE, 0, a, &o, err) < 0)
        return os_error_wrap(err, "fetch global policy revision failed");
    out->policy_source = OPENSHELL__SANDBOX__V1__POLICY_SOURCE__POLICY_SOURCE_GLOBAL;
    out->global_policy_version = (uint32_t)o.version;
    out->policy = doc;
    out->policy_hash = os_arena_strdup(a, policy_hash(doc, hash));
    if (!out->version)
        out->version = 1;
    return 0;
}

static int by_key(const void *a, const void *b)
{
    return strcmp((*(settings_entry *const *)a)->key, (*(settings_entry *const *)b)->key);
}

/* What is set for all sandboxes wins. */
static void add_settings(const struct settings *all, const struct settings *own, config_response *out,
                         struct os_arena *a)
{
    out->settings = os_arena_alloc(a, settings_registered * sizeof(*out->settings));
    for (size_t i = 0; i < settings_registered; i++) {
        settings_entry *e = pb_new(a, openshell__sandbox__v1__get_sandbox_config_response__settings_entry);
        Openshell__Sandbox__V1__EffectiveSetting *s = pb_new(a, openshell__sandbox__v1__effective_setting);
        e->key = (char *)settings_registry[i].key;
        e->value = s;
        if ((s->value = settings_get(all, e->key, a)))
            s->scope = OPENSHELL__SANDBOX__V1__SETTING_SCOPE__SETTING_SCOPE_GLOBAL;
        else if ((s->value = settings_get(own, e->key, a)))
            s->scope = OPENSHELL__SANDBOX__V1__SETTING_SCOPE__SETTING_SCOPE_SANDBOX;
        out->settings[out->n_settings++] = e;
    }
    qsort(out->settings, out->n_settings, sizeof(*out->settings), by_key);
}

static void digest_i32(EVP_MD_CTX *md, int32_t v)
{
    unsigned char le[4] = {(unsigned char)v, (unsigned char)(v >> 8), (unsigned char)(v >> 16),
                           (unsigned char)(v >> 24)};
    EVP_DigestUpdate(md, le, sizeof(le));
}

static void digest_value(EVP_MD_CTX *md, const setting_value *v)
{
    unsigned char tag = 0, le[8];
    switch (v->value_case) {
    case OPENSHELL__SANDBOX__V1__SETTING_VALUE__VALUE_STRING_VALUE:
        EVP_DigestUpdate(md, &tag, 1);
        EVP_DigestUpdate(md, v->string_value, strlen(v->string_value));
        break;
    case OPENSHELL__SANDBOX__V1__SETTING_VALUE__VALUE_BOOL_VALUE:
        tag = 1;
        EVP_DigestUpdate(md, &tag, 1);
        le[0] = (unsigned char)v->bool_value;
        EVP_DigestUpdate(md, le, 1);
        break;
    case OPENSHELL__SANDBOX__V1__SETTING_VALUE__VALUE_INT_VALUE:
        tag = 2;
        EVP_DigestUpdate(md, &tag, 1);
        for (int i = 0; i < 8; i++)
            le[i] = (unsigned char)((uint64_t)v->int_value >> 8 * i);
        EVP_DigestUpdate(md, le, sizeof(le));
        break;
    default:
        break;
    }
}

static void digest_service(EVP_MD_CTX *md, const middleware_registration *s)
{
    cleanup_arena struct os_arena a = {0};
    size_t n;
    const uint8_t *bytes = pb_pack(&a, &s->base, &n);
    EVP_DigestUpdate(md, bytes, n);
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
        if (c->settings[i]->value->value)
            digest_value(md, c->settings[i]->value->value);
    }
    for (size_t i = 0; i < c->n_supervisor_middleware_services; i++)
        digest_service(md, c->supervisor_middleware_services[i]);
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
    cleanup_settings struct settings all = {0}, own = {0};
    if (settings_load_global(gw, &all, err) < 0 || settings_load_sandbox(gw, row, &own, err) < 0 ||
        source_policy(gw, row, a, out, err) < 0 || global_policy(gw, &all, a, out, err) < 0)
        return NULL;
    out->workspace = row->metadata->workspace;
    out->policy_validation_failure_mode = (char *)gw->policy_failure_mode;
    out->extension_authentication_enabled = gw->jwt != NULL;
    if (middlewares_select(gw->middlewares, out->policy, a, &out->supervisor_middleware_services,
                           &out->n_supervisor_middleware_services, err) < 0)
        return NULL;
    add_settings(&all, &own, out, a);
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

void config_push_all(struct gateway *gw)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    struct store_object *rows = NULL;
    size_t n = 0;
    if (store_list(gw->store, STORE_SANDBOX, NULL, 0, 0, &a, &rows, &n, &err) < 0) {
        os_log_error("config", "cannot push the configuration: %s", os_error_text(&err));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (!sessions_connected(gw->sessions, rows[i].id))
            continue;
        sandbox_row *row = sandbox_unpack(&rows[i], &a, &err);
        if (row)
            config_push(gw, row);
        os_error_clear(&err);
    }
}
