/* gateway.toml (spec/gateway.md 1.2): what it says, checked key by key. No I/O but reading the file. */
#ifndef GATEWAY_CONFIG_FILE_H
#define GATEWAY_CONFIG_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/error.h"

enum config_bool { CONFIG_UNSET, CONFIG_FALSE, CONFIG_TRUE };

struct config_address {
    const char *ip; /* literal without brackets; NULL = not given */
    uint16_t port;
};

struct config_number {
    bool given;
    uint64_t value;
};

struct config_list {
    bool given;
    const char *const *v; /* NULL-terminated */
    size_t n;
};

/* One [[openshell.supervisor.middleware]]. */
struct config_middleware {
    const char *name, *endpoint, *ca_path, *audience, *timeout;
    enum config_bool insecure;
    struct config_number max_payload; /* bytes */
};

struct config_middlewares {
    const struct config_middleware *v;
    size_t n;
};

/* NULL, CONFIG_UNSET, given false: not in the file. Texts live in the arena given to config_file_parse. */
struct config_file {
    struct config_address bind, health;
    const char *log_level;
    struct config_list compute_drivers, server_sans;
    struct config_number ssh_session_ttl_secs;
    const char *failure_mode; /* "fail_closed" or "retain_last_valid" */
    enum config_bool disable_tls;
    const char *tls_cert, *tls_key, *tls_client_ca;
    enum config_bool allow_unauthenticated;
    bool mtls_table; /* [mtls_auth] is there */
    enum config_bool mtls_auth;
    const char *jwt_signing, *jwt_public, *jwt_kid; /* all or none */
    const char *jwt_gateway_id;
    struct config_number jwt_ttl_secs;
    struct config_middlewares middlewares;
    /* [openshell.drivers.local] */
    enum config_bool local_bind_mounts;
    const char *local_extra_ca, *local_extra_hosts;
    const char *local_https_proxy, *local_no_proxy, *local_proxy_auth_file;
    const char *local_policy_rules, *local_policy_data, *local_opa;
    enum config_bool local_proxy_auth_insecure, local_proxy_by_hostname;
    struct config_number local_agent_uid, local_worker_uid;
    struct config_list local_mask;
};

/* `path` is only named in messages. Unknown keys, and keys of parts that are not built, are errors. */
int config_file_parse(struct config_file *out, struct os_arena *arena, const char *path, const char *text,
                      size_t n, struct os_error *err);
int config_file_read(struct config_file *out, struct os_arena *arena, const char *path, struct os_error *err);

#endif
