/* Settings (spec/gateway.md 6.1): one JSON document for all sandboxes and one for each, in the store. Worker
 * threads; reading and then writing a document happens under the gateway's sync lock. */
#ifndef GATEWAY_SETTINGS_H
#define GATEWAY_SETTINGS_H

#include <jansson.h>

#include "core/id.h"
#include "gateway/sandbox.h"

/* Holds the global policy, packed. Never shown. */
#define SETTINGS_POLICY_KEY "policy"

typedef Openshell__Sandbox__V1__SettingValue setting_value;

enum setting_kind { SETTING_BOOL, SETTING_STRING, SETTING_INT };

struct setting {
    const char *key;
    enum setting_kind kind;
    const char *choices; /* "a,b"; NULL = any */
};

extern const struct setting settings_registry[];
extern const size_t settings_registered;
/* NULL = not registered. */
const struct setting *settings_find(const char *key);
/* OS_INVALID_ARGUMENT "unknown setting key ...". */
int settings_check_key(const char *key, struct os_error *err);
/* The value fits its registered key; key must be registered. */
int settings_check_value(const char *key, const setting_value *value, struct os_error *err);

struct settings {
    const char *type, *name, *workspace; /* where the document is kept */
    char id[OS_UUID_LEN];
    bool stored;
    uint64_t resource_version;
    uint64_t revision; /* counts real changes */
    json_t *values;    /* key -> {"type", "value"} */
};

#define cleanup_settings __attribute__((cleanup(settings_free)))

/* An absent document is empty, revision 0. */
int settings_load_global(struct gateway *gw, struct settings *out, struct os_error *err);
/* The row must outlive the document. */
int settings_load_sandbox(struct gateway *gw, const sandbox_row *row, struct settings *out,
                          struct os_error *err);
void settings_free(struct settings *s);

/* In the arena; NULL = unset, or stored in a form this program cannot read (then settings_has). */
setting_value *settings_get(const struct settings *s, const char *key, struct os_arena *a);
bool settings_has(const struct settings *s, const char *key);
/* value NULL removes. True when something changed; the revision has grown then. */
bool settings_put(struct settings *s, const char *key, const setting_value *value);
int settings_store(struct gateway *gw, struct settings *s, struct os_error *err);

#endif
