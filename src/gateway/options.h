/* What the gateway is told: flags, then environment, then gateway.toml, then defaults (spec/gateway.md 1.1,
 * 1.2). */
#ifndef GATEWAY_OPTIONS_H
#define GATEWAY_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/buf.h"
#include "core/error.h"
#include "core/log.h"
#include "core/str.h"
#include "gateway/config_file.h"

enum gateway_command {
    GATEWAY_SERVE,
    GATEWAY_GENERATE_CERTS,
    GATEWAY_HELP,
    GATEWAY_CERTS_HELP,
    GATEWAY_VERSION
};

struct gateway_options {
    enum gateway_command command;
    char *bind_address;   /* IP literal */
    uint16_t port;        /* 0 = any free port (printed in the start-up line) */
    uint16_t health_port; /* 0 = none */
    char *health_address; /* NULL = bind_address */
    enum os_log_level log_level;
    char *tls_cert, *tls_key, *tls_client_ca; /* files; NULL = not given */
    char *db_url;                             /* never NULL after parsing */
    uint64_t ssh_session_ttl_s;               /* 0 = never */
    bool disable_tls;
    bool mtls_auth_given, mtls_auth;
    bool allow_unauthenticated; /* callers who show nothing are the local user */
    struct os_strv server_sans;
    const char *policy_failure_mode;
    char *jwt_signing, *jwt_public, *jwt_kid; /* files; NULL = those of the local TLS directory */
    char *jwt_gateway_id;                     /* NULL = default */
    int64_t jwt_ttl_s;                        /* life of sandbox tokens, 0 = for ever */
    /* operator options of the local driver */
    char *local_extra_ca;    /* OPENSHELL_LOCAL_EXTRA_CA: PEM file of more upstream trust roots */
    char *local_extra_hosts; /* OPENSHELL_LOCAL_EXTRA_HOSTS: hosts file consulted before DNS */
    /* OPENSHELL_LOCAL_IMAGE_DIRS: where images may lie, ':' between; NULL = anywhere */
    char *local_image_dirs;
    char *local_https_proxy, *local_no_proxy, *local_proxy_auth_file; /* NULL = none */
    char *local_policy_rules, *local_policy_data, *local_opa;         /* NULL = none */
    bool local_proxy_auth_insecure, local_proxy_by_hostname;
    bool local_bind_mounts; /* OPENSHELL_LOCAL_ENABLE_BIND_MOUNTS: users may give host directories to
                               sandboxes */
    uint32_t local_agent_uid, local_worker_uid; /* 0 = the driver's */
    struct os_strv local_mask;                  /* more host paths to hide */
    /* which of the above came from flags or environment (bits of the flag numbers of options.c) */
    uint32_t given;
    struct config_middlewares middlewares; /* in file */
    struct os_arena file;
    char *config_path; /* --config; NULL = gateway.toml in the configuration directory, if it is there */
    /* generate-certs */
    char *output_dir;
    bool dry_run;
};

/* 0, or -1 with the usage error (exit 2). Every text is owned by *o. */
int gateway_options_parse(struct gateway_options *o, int argc, char **argv, struct os_error *err);
/* Adds what gateway.toml says about everything that neither a flag nor the environment did (exit 1). */
int gateway_options_read_file(struct gateway_options *o, struct os_error *err);
/* Rules between options (exit 1): the texts of spec/gateway.md 1.1. */
int gateway_options_check(const struct gateway_options *o, struct os_error *err);
void gateway_options_free(struct gateway_options *o);
/* The text of --help, or of generate-certs --help. */
void gateway_options_help(bool certs, struct os_buf *out);

#endif
