/* `settings get`, `set`, `delete`, and `policy delete --global`, which is a setting too (spec/cli.md 11.2,
 * 12).
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/output.h"
#include "cli/sandbox.h"
#include "core/cleanup.h"
#include "core/encode.h"
#include "core/str.h"
#include "rpc/pb.h"

#define VALUE(x) OPENSHELL__SANDBOX__V1__SETTING_VALUE__VALUE_##x
#define UNSET "<unset>"

typedef Openshell__Sandbox__V1__SettingValue setting_value;
typedef Openshell__Sandbox__V1__GetSandboxConfigResponse config_response;
typedef Openshell__V1__UpdateConfigRequest update_request;
typedef Openshell__V1__UpdateConfigResponse update_response;

enum kind { BOOL, STRING, INT };

static const struct setting {
    const char *key;
    enum kind kind;
    const char *choices;
    bool used;
} registry[] = {
#define SETTING(key, kind, choices, used, help) {key, kind, choices, used},
#include "core/tbl/settings.h"
};

/* --- values --- */

static const char *value_text(const setting_value *v, struct os_arena *a)
{
    switch (v ? (int)v->value_case : VALUE(_NOT_SET)) {
    case VALUE(STRING_VALUE):
        return v->string_value;
    case VALUE(BOOL_VALUE):
        return v->bool_value ? "true" : "false";
    case VALUE(INT_VALUE):
        return os_arena_printf(a, "%" PRId64, v->int_value);
    case VALUE(BYTES_VALUE):
        return os_hex(v->bytes_value.data, v->bytes_value.len, os_arena_alloc(a, 2 * v->bytes_value.len + 1));
    }
    return UNSET;
}

static int unknown_key(const char *key, struct os_error *err)
{
    cleanup_strv struct os_strv keys = {0};
    for (size_t i = 0; i < OS_ARRAY_LEN(registry); i++)
        os_strv_add(&keys, registry[i].key);
    cleanup_free char *all = os_strv_join(&keys, ", ");
    return os_error_set(err, OS_INVALID_ARGUMENT, "unknown setting key '%s'. Allowed keys: %s", key, all);
}

static bool parse_bool(const char *text, int *out)
{
    static const char *const yes[] = {"1", "true", "yes", "y", "on"}, *const no[] = {"0", "false", "no", "n",
                                                                                     "off"};
    for (size_t i = 0; i < OS_ARRAY_LEN(yes); i++) {
        *out = os_str_eq_nocase(text, yes[i]);
        if (*out || os_str_eq_nocase(text, no[i]))
            return true;
    }
    return false;
}

static int parse_string(const struct setting *s, const char *text, struct os_error *err)
{
    cleanup_strv struct os_strv choices = {0};
    if (!s->choices)
        return 0;
    os_strv_split(&choices, s->choices, ',');
    if (os_strv_has(&choices, text))
        return 0;
    cleanup_free char *all = os_strv_join(&choices, ", ");
    return os_error_set(err, OS_INVALID_ARGUMENT, "invalid value '%s' for key '%s'; expected one of: %s",
                        text, s->key, all);
}

static int parse_int(const struct setting *s, const char *text, int64_t *out, struct os_error *err)
{
    uint64_t n;
    bool minus = *text == '-';
    if (!os_str_u64(text + minus, INT64_MAX, &n))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "invalid int value '%s' for key '%s'; expected base-10 integer", text, s->key);
    *out = minus ? -(int64_t)n : (int64_t)n;
    return 0;
}

static int parse_value(const char *key, const char *text, setting_value *out, struct os_error *err)
{
    const struct setting *s = NULL;
    for (size_t i = 0; i < OS_ARRAY_LEN(registry) && !s; i++)
        if (strcmp(registry[i].key, key) == 0)
            s = &registry[i];
    if (!s)
        return unknown_key(key, err);
    switch (s->kind) {
    case BOOL:
        out->value_case = VALUE(BOOL_VALUE);
        return parse_bool(text, &out->bool_value)
                   ? 0
                   : os_error_set(err, OS_INVALID_ARGUMENT,
                                  "invalid bool value '%s' for key '%s'; expected one of: "
                                  "true,false,yes,no,1,0",
                                  text, key);
    case STRING:
        out->value_case = VALUE(STRING_VALUE);
        out->string_value = (char *)text;
        return parse_string(s, text, err);
    case INT:
        break;
    }
    out->value_case = VALUE(INT_VALUE);
    return parse_int(s, text, &out->int_value, err);
}

/* --- get --- */

struct shown {
    const char *key, *value, *scope;
};

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct shown *)a)->key, ((const struct shown *)b)->key);
}

static void print_settings(struct shown *list, size_t n)
{
    say(stdout, n ? "Settings:\n" : "Settings:      No settings available.\n");
    qsort(list, n, sizeof(*list), by_key);
    for (size_t i = 0; i < n; i++)
        if (list[i].scope)
            say(stdout, "  %s = %s (%s)\n", list[i].key, list[i].value, list[i].scope);
        else
            say(stdout, "  %s = %s\n", list[i].key, list[i].value);
}

static int get_global(struct cli *cli, struct os_error *err)
{
    Openshell__Sandbox__V1__GetGatewayConfigRequest req =
        OPENSHELL__SANDBOX__V1__GET_GATEWAY_CONFIG_REQUEST__INIT;
    ProtobufCMessage *response;
    if (cli_call(cli, RPC_OpenShell_GetGatewayConfig, &req.base, CLI_READ_MS, &response, err) < 0)
        return -1;
    const Openshell__Sandbox__V1__GetGatewayConfigResponse *r =
        (const Openshell__Sandbox__V1__GetGatewayConfigResponse *)response;
    struct shown *list = os_arena_alloc(&cli->arena, (r->n_settings + 1) * sizeof(*list));
    for (size_t i = 0; i < r->n_settings; i++)
        list[i] = (struct shown){r->settings[i]->key, value_text(r->settings[i]->value, &cli->arena), NULL};
    if (!args_given(cli->args, "json")) {
        say(stdout, "Scope:         global\nSettings Rev:  %llu\n", (unsigned long long)r->settings_revision);
        print_settings(list, r->n_settings);
        return 0;
    }
    json_t *j = json_object(), *values = json_object();
    for (size_t i = 0; i < r->n_settings; i++)
        json_object_set_new(values, list[i].key, json_text(list[i].value));
    json_object_set_new(j, "scope", json_string("global"));
    json_object_set_new(j, "settings", values);
    json_object_set_new(j, "settings_revision", json_integer((json_int_t)r->settings_revision));
    document_print(j, "json");
    return 0;
}

static const char *scope_name(const Openshell__Sandbox__V1__EffectiveSetting *s)
{
    switch (s ? (int)s->scope : 0) {
    case OPENSHELL__SANDBOX__V1__SETTING_SCOPE__SETTING_SCOPE_SANDBOX:
        return "sandbox";
    case OPENSHELL__SANDBOX__V1__SETTING_SCOPE__SETTING_SCOPE_GLOBAL:
        return "global";
    }
    return "unset";
}

static void sandbox_settings_json(const char *name, const config_response *c, const char *source,
                                  const struct shown *list)
{
    json_t *j = json_object(), *values = json_object();
    for (size_t i = 0; i < c->n_settings; i++) {
        json_t *one = json_object();
        json_object_set_new(one, "scope", json_string(list[i].scope));
        json_object_set_new(one, "value", json_text(list[i].value));
        json_object_set_new(values, list[i].key, one);
    }
    json_object_set_new(j, "sandbox", json_text(name));
    json_object_set_new(j, "workspace", json_text(c->workspace));
    json_object_set_new(j, "config_revision", json_integer((json_int_t)c->config_revision));
    json_object_set_new(j, "policy_source", json_string(source));
    json_object_set_new(j, "policy_hash", json_text(c->policy_hash));
    json_object_set_new(j, "settings", values);
    document_print(j, "json");
}

static int get_sandbox(struct cli *cli, const char *name, struct os_error *err)
{
    const Openshell__V1__Sandbox *s = cli_get_sandbox(cli, name, err);
    const config_response *c = s ? cli_get_config(cli, s, err) : NULL;
    if (!c)
        return -1;
    struct shown *list = os_arena_alloc(&cli->arena, (c->n_settings + 1) * sizeof(*list));
    for (size_t i = 0; i < c->n_settings; i++) {
        const Openshell__Sandbox__V1__EffectiveSetting *e = c->settings[i]->value;
        list[i] =
            (struct shown){c->settings[i]->key, value_text(e ? e->value : NULL, &cli->arena), scope_name(e)};
    }
    bool global = c->policy_source == OPENSHELL__SANDBOX__V1__POLICY_SOURCE__POLICY_SOURCE_GLOBAL;
    const char *source = global ? "global" : "sandbox";
    if (args_given(cli->args, "json")) {
        sandbox_settings_json(name, c, source, list);
        return 0;
    }
    say(stdout, "Sandbox:       %s\nConfig Rev:    %llu\nPolicy Source: %s\nPolicy Hash:   %s\n", name,
        (unsigned long long)c->config_revision, source, c->policy_hash);
    print_settings(list, c->n_settings);
    return 0;
}

/* --global and a name contradict each other; *name is NULL with --global. */
static int target(struct cli *cli, const char **name, struct os_error *err)
{
    *name = args_positional(cli->args, 0);
    if (!args_given(cli->args, "global")) {
        *name = cli_sandbox_name(cli, *name, err);
        return *name ? 0 : -1;
    }
    if (*name)
        return os_error_set(err, OS_INVALID_ARGUMENT, "settings %s --global does not accept a sandbox name",
                            args_command(cli->args)->name);
    return cli_resolve(cli, err);
}

int settings_get_run(struct cli *cli, struct os_error *err)
{
    const char *name;
    if (target(cli, &name, err) < 0)
        return -1;
    return name ? get_sandbox(cli, name, err) : get_global(cli, err);
}

/* --- set, delete --- */

static const update_response *update(struct cli *cli, update_request *req, const char *name,
                                     struct os_error *err)
{
    ProtobufCMessage *response;
    req->global = !name;
    if (name) {
        req->name = (char *)name;
        req->workspace = (char *)cli->workspace;
    }
    if (cli_call(cli, RPC_OpenShell_UpdateConfig, &req->base, 0, &response, err) == 0)
        return (const update_response *)response;
    if (name)
        cli_sandbox_failed(cli, name, err);
    return NULL;
}

void settings_say_unused(const char *key)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(registry); i++)
        if (strcmp(registry[i].key, key) == 0 && !registry[i].used)
            say(stderr, YELLOW "!" END " %s is kept, but has no effect with gateways of this version\n", key);
}

int settings_set_run(struct cli *cli, struct os_error *err)
{
    const char *key = args_get(cli->args, "key"), *name;
    setting_value value = OPENSHELL__SANDBOX__V1__SETTING_VALUE__INIT;
    update_request req = OPENSHELL__V1__UPDATE_CONFIG_REQUEST__INIT;
    if (parse_value(key, args_get(cli->args, "value"), &value, err) < 0 || target(cli, &name, err) < 0 ||
        (!name && confirm_global_set(cli, key, err) < 0))
        return -1;
    req.setting_key = (char *)key;
    req.setting_value = &value;
    const update_response *r = update(cli, &req, name, err);
    if (!r)
        return -1;
    const char *text = value_text(&value, &cli->arena);
    if (name)
        say(stdout, OK_MARK "✓" END " Set sandbox setting %s=%s for %s (revision %llu)\n", key, text, name,
            (unsigned long long)r->settings_revision);
    else
        say(stdout, OK_MARK "✓" END " Set global setting %s=%s (revision %llu)\n", key, text,
            (unsigned long long)r->settings_revision);
    fflush(stdout);
    settings_say_unused(key);
    return 0;
}

static int delete_setting(struct cli *cli, const char *key, const char *name, struct os_error *err)
{
    update_request req = OPENSHELL__V1__UPDATE_CONFIG_REQUEST__INIT;
    if (!name && confirm_global_delete(cli, key, err) < 0)
        return -1;
    req.setting_key = (char *)key;
    req.delete_setting = true;
    const update_response *r = update(cli, &req, name, err);
    if (!r)
        return -1;
    unsigned long long revision = r->settings_revision;
    if (name && r->deleted)
        say(stdout, OK_MARK "✓" END " Deleted sandbox setting %s for %s (revision %llu)\n", key, name,
            revision);
    else if (name)
        say(stdout, YELLOW "!" END " Sandbox setting %s not found for %s\n", key, name);
    else if (r->deleted)
        say(stdout, OK_MARK "✓" END " Deleted global setting %s (revision %llu)\n", key, revision);
    else
        say(stdout, YELLOW "!" END " Global setting %s not found\n", key);
    return 0;
}

int settings_delete_run(struct cli *cli, struct os_error *err)
{
    const char *name;
    return target(cli, &name, err) < 0 ? -1 : delete_setting(cli, args_get(cli->args, "key"), name, err);
}

int policy_delete_run(struct cli *cli, struct os_error *err)
{
    if (!args_given(cli->args, "global"))
        return os_error_set(
            err, OS_INVALID_ARGUMENT,
            "sandbox policy delete is not supported; use --global to remove global policy lock");
    return cli_resolve(cli, err) < 0 ? -1 : delete_setting(cli, "policy", NULL, err);
}
