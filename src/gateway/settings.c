/* Settings documents. */
#include "gateway/settings.h"

#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/encode.h"
#include "core/str.h"
#include "rpc/pb.h"

#define VALUE(x) OPENSHELL__SANDBOX__V1__SETTING_VALUE__VALUE_##x

const struct setting settings_registry[] = {
#define SETTING(key, kind, choices, used, help) {key, SETTING_##kind, choices},
#include "core/tbl/settings.h"
};
const size_t settings_registered = OS_ARRAY_LEN(settings_registry);

const struct setting *settings_find(const char *key)
{
    for (size_t i = 0; i < settings_registered; i++)
        if (strcmp(settings_registry[i].key, key) == 0)
            return &settings_registry[i];
    return NULL;
}

int settings_check_key(const char *key, struct os_error *err)
{
    if (settings_find(key))
        return 0;
    cleanup_strv struct os_strv keys = {0};
    for (size_t i = 0; i < settings_registered; i++)
        os_strv_add(&keys, settings_registry[i].key);
    cleanup_free char *all = os_strv_join(&keys, ", ");
    return os_error_set(err, OS_INVALID_ARGUMENT, "unknown setting key '%s'. Allowed keys: %s", key, all);
}

static int check_choice(const struct setting *s, const char *text, struct os_error *err)
{
    cleanup_strv struct os_strv choices = {0};
    os_strv_split(&choices, s->choices, ',');
    if (os_strv_has(&choices, text))
        return 0;
    cleanup_free char *all = os_strv_join(&choices, ", ");
    return os_error_set(err, OS_INVALID_ARGUMENT, "setting '%s' expects one of [%s]; got '%s'", s->key, all,
                        text);
}

int settings_check_value(const char *key, const setting_value *v, struct os_error *err)
{
    static const struct {
        const char *name;
        int value_case;
    } kinds[] = {[SETTING_BOOL] = {"bool", VALUE(BOOL_VALUE)},
                 [SETTING_STRING] = {"string", VALUE(STRING_VALUE)},
                 [SETTING_INT] = {"int", VALUE(INT_VALUE)}};
    const struct setting *s = settings_find(key);
    if (v->value_case == VALUE(_NOT_SET))
        return os_error_set(err, OS_INVALID_ARGUMENT, "setting_value.value is required");
    if (v->value_case == VALUE(BYTES_VALUE))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "setting '%s' expects %s value; bytes are not supported for this key", key,
                            kinds[s->kind].name);
    if ((int)v->value_case != kinds[s->kind].value_case)
        return os_error_set(err, OS_INVALID_ARGUMENT, "setting '%s' expects %s value", key,
                            kinds[s->kind].name);
    return s->choices ? check_choice(s, v->string_value, err) : 0;
}

/* --- documents --- */

static int parse(struct settings *s, const struct store_object *o, struct os_error *err)
{
    json_error_t why;
    json_t *doc = json_loadb(o->payload, o->payload_len, JSON_REJECT_DUPLICATES, &why);
    json_t *revision = json_object_get(doc, "revision"), *values = json_object_get(doc, "settings");
    bool good = json_is_integer(revision) && json_is_object(values);
    if (good) {
        strncpy(s->id, o->id, sizeof(s->id) - 1);
        s->stored = true;
        s->resource_version = o->resource_version;
        s->revision = (uint64_t)json_integer_value(revision);
        s->values = json_incref(values);
    }
    json_decref(doc);
    return good
               ? 0
               : os_error_set(err, OS_DATA_LOSS, "the stored settings document '%s' cannot be read", s->name);
}

static int load(struct gateway *gw, struct settings *s, struct os_error *err)
{
    cleanup_arena struct os_arena a = {0};
    struct store_object o;
    if (store_get_named(gw->store, s->type, s->workspace, s->name, &a, &o, err) == 0)
        return parse(s, &o, err);
    if (err->code != OS_NOT_FOUND)
        return os_error_wrap(err, "fetch settings failed");
    os_error_clear(err);
    os_uuid(s->id);
    s->values = json_object();
    return 0;
}

int settings_load_global(struct gateway *gw, struct settings *out, struct os_error *err)
{
    *out = (struct settings){.type = STORE_GATEWAY_SETTINGS, .name = "global", .workspace = ""};
    return load(gw, out, err);
}

int settings_load_sandbox(struct gateway *gw, const sandbox_row *row, struct settings *out,
                          struct os_error *err)
{
    *out = (struct settings){
        .type = STORE_SANDBOX_SETTINGS, .name = row->metadata->name, .workspace = row->metadata->workspace};
    return load(gw, out, err);
}

void settings_free(struct settings *s)
{
    json_decref(s->values);
    s->values = NULL;
}

static bool from_hex(const char *text, ProtobufCBinaryData *out, struct os_arena *a)
{
    size_t n = strlen(text);
    if (n % 2)
        return false;
    out->data = os_arena_alloc(a, n / 2 + 1);
    out->len = n / 2;
    for (size_t i = 0; i < n / 2; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *high = strchr(digits, text[2 * i]), *low = strchr(digits, text[2 * i + 1]);
        if (!high || !low)
            return false;
        out->data[i] = (uint8_t)((high - digits) << 4 | (low - digits));
    }
    return true;
}

setting_value *settings_get(const struct settings *s, const char *key, struct os_arena *a)
{
    const json_t *entry = json_object_get(s->values, key), *value = json_object_get(entry, "value");
    const char *type = json_string_value(json_object_get(entry, "type"));
    setting_value *v = pb_new(a, openshell__sandbox__v1__setting_value);
    if (os_str_eq(type, "Bool") && json_is_boolean(value)) {
        v->value_case = VALUE(BOOL_VALUE);
        v->bool_value = json_is_true(value);
    } else if (os_str_eq(type, "String") && json_is_string(value)) {
        v->value_case = VALUE(STRING_VALUE);
        v->string_value = os_arena_strdup(a, json_string_value(value));
    } else if (os_str_eq(type, "Int") && json_is_integer(value)) {
        v->value_case = VALUE(INT_VALUE);
        v->int_value = json_integer_value(value);
    } else if (os_str_eq(type, "Bytes") && json_is_string(value) &&
               from_hex(json_string_value(value), &v->bytes_value, a)) {
        v->value_case = VALUE(BYTES_VALUE);
    } else {
        return NULL;
    }
    return v;
}

bool settings_has(const struct settings *s, const char *key)
{
    return json_object_get(s->values, key) != NULL;
}

static json_t *entry_of(const setting_value *v)
{
    switch (v->value_case) {
    case VALUE(BOOL_VALUE):
        return json_pack("{s:s,s:b}", "type", "Bool", "value", (int)v->bool_value);
    case VALUE(STRING_VALUE):
        return json_pack("{s:s,s:s}", "type", "String", "value", v->string_value);
    case VALUE(INT_VALUE):
        return json_pack("{s:s,s:I}", "type", "Int", "value", (json_int_t)v->int_value);
    case VALUE(BYTES_VALUE):
        break;
    default:
        return NULL;
    }
    cleanup_free char *hex = os_calloc(2, v->bytes_value.len + 1);
    return json_pack("{s:s,s:s}", "type", "Bytes", "value",
                     os_hex(v->bytes_value.data, v->bytes_value.len, hex));
}

bool settings_put(struct settings *s, const char *key, const setting_value *value)
{
    const json_t *old = json_object_get(s->values, key);
    if (!value && !old)
        return false;
    if (!value) {
        json_object_del(s->values, key);
        s->revision++;
        return true;
    }
    json_t *entry = entry_of(value);
    if (old && json_equal(old, entry)) {
        json_decref(entry);
        return false;
    }
    json_object_set_new(s->values, key, entry);
    s->revision++;
    return true;
}

int settings_store(struct gateway *gw, struct settings *s, struct os_error *err)
{
    json_t *doc = json_pack("{s:I,s:O}", "revision", (json_int_t)s->revision, "settings", s->values);
    cleanup_free char *text = json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(doc);
    const struct store_object o = {.id = s->id,
                                   .type = s->type,
                                   .name = s->name,
                                   .workspace = s->workspace,
                                   .payload = text,
                                   .payload_len = strlen(text)};
    int rc = s->stored ? store_update(gw->store, s->type, s->id, s->resource_version, text, strlen(text),
                                      &s->resource_version, err)
                       : store_insert(gw->store, &o, err);
    if (rc == 0) {
        s->stored = true;
        return 0;
    }
    if (err->code == OS_ABORTED)
        return os_error_set(err, OS_ABORTED, "settings were modified concurrently; please retry");
    if (err->code == OS_ALREADY_EXISTS)
        return os_error_set(err, OS_ABORTED, "settings were created concurrently; please retry");
    return os_error_wrap(err, "store settings failed");
}
