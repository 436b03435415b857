/* The user's configuration directory: gateway registrations, the active gateway, client certificates, the
 * last-used sandbox (spec/cli.md 2). Files are read afresh each time; nothing is cached. */
#ifndef CLI_CONFIG_H
#define CLI_CONFIG_H

#include <stdbool.h>

#include "core/arena.h"
#include "core/error.h"
#include "core/str.h"

/* metadata.json of one gateway; texts live in the arena it was loaded into, NULL = absent. */
struct gateway_record {
    const char *name;
    const char *endpoint;
    bool is_remote;
    unsigned port;
    const char *remote_host, *resolved_host;
    const char *auth_mode;
    const char *edge_team_domain, *edge_auth_url;
    const char *oidc_issuer, *oidc_client_id, *oidc_audience, *oidc_scopes;
    const char *vm_driver_state_dir;
    bool system; /* found under the system root, not the user's */
};

/* $OPENSHELL_SYSTEM_GATEWAY_DIR or /etc/openshell; same layout, read-only. */
const char *config_system_root(void);

/* <root>/gateways/<name>/<file>; malloc'ed. The name was checked. NULL with *err. */
char *config_gateway_path(const char *name, const char *file, struct os_error *err);

/* One normal path component. */
bool config_name_valid(const char *name);
/* OS_INVALID_ARGUMENT "invalid gateway name ..."; 0 when fine. */
int config_name_check(const char *name, struct os_error *err);

/* User entry, else system entry. OS_NOT_FOUND when there is none; other codes when it cannot be read. */
int config_load(struct os_arena *a, const char *name, struct gateway_record *out, struct os_error *err);
/* Every readable registration, sorted by name; a broken user entry hides the system one. */
int config_list(struct os_arena *a, struct gateway_record **out, size_t *n, struct os_error *err);
/* True when the user's own directory has a metadata.json of that name, readable or not. */
bool config_user_has(const char *name);
/* Writes the user entry (directories 0700, file 0644). */
int config_save(const struct gateway_record *r, struct os_error *err);
/* As config_save, for text that is already JSON. */
int config_write_metadata(const char *name, const char *text, struct os_error *err);
/* Deletes metadata.json, tokens and marker of the user entry; the client certificate stays. */
int config_remove(const char *name, struct os_error *err);

/* Name in the arena, or NULL when none is set (also for unusable content). */
const char *config_active(struct os_arena *a);
int config_set_active(const char *name, struct os_error *err);
/* config_save() and config_set_active(). */
int config_use(const struct gateway_record *r, struct os_error *err);
int config_clear_active(struct os_error *err);

/* PEM texts of the client bundle of a gateway name, in the arena. -1: "failed to read TLS CA from <path>". */
struct config_tls {
    const char *ca, *cert, *key;
};
int config_tls_load(struct os_arena *a, const char *name, struct config_tls *out, struct os_error *err);
bool config_tls_exists(const char *name);
/* Copies the client bundle of a gateway package on this machine (spec/cli.md 5.1) when there is one. */
int config_tls_import(const char *name, struct os_error *err);

/* access_token of oidc_token.json; NULL when there is none. *expired when it ends within 30 s. */
const char *config_oidc_token(struct os_arena *a, const char *name, bool *expired);

/* Last-used sandbox of (gateway, workspace); NULL when none. Failures to write are ignored: it is a comfort.
 */
const char *config_last_sandbox(struct os_arena *a, const char *gateway, const char *workspace);
void config_set_last_sandbox(const char *gateway, const char *workspace, const char *sandbox);
void config_forget_sandbox(const char *gateway, const char *workspace, const char *sandbox);

#endif
