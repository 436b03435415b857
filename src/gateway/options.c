/* Flags, environment and configuration file of the gateway. */
#include "gateway/options.h"

#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/option.h"
#include "gateway/config_file.h"
#include "net/dns.h"
#include "sys/file.h"
#include "sys/paths.h"

#define SSH_TTL_MAX UINT32_MAX /* seconds; more than a century */

enum flag_of { OF_SERVE, OF_CERTS, OF_BOTH };

enum flag_id {
#define OPTION(id, of, name, metavar, env, fallback, help) F_##id,
#define ENVIRONMENT(name, help)
#include "gateway/tbl/options.h"
    F_COUNT
};

/* One flag: how it is written, which command takes it, which variable stands in for it. */
static const struct flag {
    const char *name, *metavar, *env;
    enum flag_of of;
} flags[F_COUNT] = {
#define OPTION(id, of, name, metavar, env, fallback, help) {"--" name, metavar, env, OF_##of},
#define ENVIRONMENT(name, help)
#include "gateway/tbl/options.h"
};

static bool flag_allowed(enum flag_id id, bool certs)
{
    return flags[id].of == OF_BOTH || flags[id].of == (certs ? OF_CERTS : OF_SERVE);
}

void gateway_options_help(bool certs, struct os_buf *out)
{
    static const struct os_option listed[] = {
#define OPTION(id, of, name, metavar, env, fallback, help) {name, 0, metavar, env, fallback, help},
#define ENVIRONMENT(name, help)
#include "gateway/tbl/options.h"
        {"help", 'h', "", NULL, NULL, "this text"},
        {"version", 'V', "", NULL, NULL, "the version"},
    };
    static const char serve_text[] =
        "Usage: openshell-gateway [OPTIONS]\n"
        "       openshell-gateway generate-certs --output-dir DIR [--server-san SAN]... [--dry-run]\n\n"
        "The control plane of OpenShell: keeps sandboxes, policies and sessions, and starts sandboxes on "
        "this "
        "machine.\nWithout certificates it makes its own on first start and lets only holders of the client "
        "certificate in.\n\nOptions:\n";
    static const char certs_text[] =
        "Usage: openshell-gateway generate-certs --output-dir DIR [--server-san SAN]... [--dry-run]\n\n"
        "Makes the certificate authority, server and client certificates and the sandbox token keys of a "
        "gateway "
        "on\nthis machine, and copies the client bundle to the CLI's configuration. Files that exist are "
        "kept.\n\n";
    os_buf_adds(out, certs ? certs_text : serve_text);
    for (int i = 0; i < (int)OS_ARRAY_LEN(listed); i++) {
        struct os_option one = listed[i];
        if (certs)
            one.env = NULL; /* variables are the gateway's */
        if (i >= F_COUNT || flag_allowed(i, certs))
            os_option_help(&one, 1, out);
    }
    if (certs)
        return;
    os_buf_adds(out, "\nEnvironment for operators of the local driver:\n");
#define OPTION(id, of, name, metavar, env, fallback, help)
#define ENVIRONMENT(name, help) os_option_paragraph("  " name, help, out);
#include "gateway/tbl/options.h"
}

static int usage(struct os_error *err, const char *what, const char *arg)
{
    return os_error_set(err, OS_INVALID_ARGUMENT, "%s '%s'; see openshell-gateway --help", what, arg);
}

static void add_sans(struct gateway_options *o, const char *list)
{
    struct os_strv parts = {0};
    os_strv_split(&parts, list, ',');
    for (size_t i = 0; i < parts.n; i++) {
        char *one = os_str_trim(parts.v[i]);
        if (*one)
            os_strv_add(&o->server_sans, one);
    }
    os_strv_free(&parts);
}

static int parse_bool(const char *name, const char *text, bool *out, struct os_error *err)
{
    *out = strcmp(text, "true") == 0;
    if (*out || strcmp(text, "false") == 0)
        return 0;
    return os_error_set(err, OS_INVALID_ARGUMENT, "invalid value '%s' for '%s': expected true or false", text,
                        name);
}

static int parse_port(const char *name, const char *text, uint16_t *out, struct os_error *err)
{
    uint64_t n;
    if (!os_str_u64(text, 65535, &n))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "invalid value '%s' for '%s': expected a port, 0 to 65535", text, name);
    *out = (uint16_t)n;
    return 0;
}

static void set_text(char **to, const char *value)
{
    free(*to);
    *to = os_strdup(value);
}

/* Where the text of an option goes; NULL for those that are more than a text. */
static char **text_option(struct gateway_options *o, enum flag_id id)
{
    switch (id) {
    case F_TLS_CERT:
        return &o->tls_cert;
    case F_TLS_KEY:
        return &o->tls_key;
    case F_TLS_CLIENT_CA:
        return &o->tls_client_ca;
    case F_DB_URL:
        return &o->db_url;
    case F_CONFIG:
        return &o->config_path;
    case F_OUTPUT_DIR:
        return &o->output_dir;
    default:
        return NULL;
    }
}

static int take(struct gateway_options *o, enum flag_id id, const char *name, const char *value,
                struct os_error *err)
{
    struct net_addr addr;
    char **text = text_option(o, id);
    if (text) {
        set_text(text, value);
        return 0;
    }
    switch (id) {
    case F_BIND:
        if (net_addr_parse(value, &addr) < 0)
            return os_error_set(err, OS_INVALID_ARGUMENT,
                                "invalid value '%s' for '%s': expected an IP address", value, name);
        set_text(&o->bind_address, value);
        return 0;
    case F_PORT:
        return parse_port(name, value, &o->port, err);
    case F_HEALTH_PORT:
        return parse_port(name, value, &o->health_port, err);
    case F_LOG_LEVEL:
        if (!os_log_parse_level(value, &o->log_level))
            return os_error_set(err, OS_INVALID_ARGUMENT,
                                "invalid value '%s' for '%s': expected error, warn, info, debug or trace",
                                value, name);
        return 0;
    case F_DRIVERS:
        if (strcmp(value, "local") != 0)
            return os_error_set(err, OS_INVALID_ARGUMENT,
                                "compute driver '%s' is not built into this gateway; use --drivers local",
                                value);
        return 0;
    case F_DISABLE_TLS:
        return parse_bool(name, value, &o->disable_tls, err);
    case F_MTLS_AUTH:
        o->mtls_auth_given = true;
        return parse_bool(name, value, &o->mtls_auth, err);
    case F_SSH_TTL:
        if (!os_str_u64(value, SSH_TTL_MAX, &o->ssh_session_ttl_s))
            return os_error_set(err, OS_INVALID_ARGUMENT,
                                "invalid value '%s' for '%s': expected seconds, 0 = tokens never expire",
                                value, name);
        return 0;
    case F_SERVER_SAN:
        add_sans(o, value);
        return 0;
    case F_DRY_RUN:
        o->dry_run = true;
        return 0;
    default:
        return 0;
    }
}

static int parse_arguments(struct gateway_options *o, int argc, char **argv, struct os_error *err)
{
    bool certs = o->command == GATEWAY_GENERATE_CERTS;
    for (int i = certs ? 2 : 1; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0) {
            o->command = certs ? GATEWAY_CERTS_HELP : GATEWAY_HELP;
            return 0;
        }
        if (strcmp(arg, "-V") == 0 || strcmp(arg, "--version") == 0) {
            o->command = GATEWAY_VERSION;
            return 0;
        }
        const char *eq = strchr(arg, '=');
        size_t n = eq ? (size_t)(eq - arg) : strlen(arg);
        if (n == strlen("--driver") && strncmp(arg, "--driver", n) == 0)
            n = 0; /* alias, below */
        int id = F_DRIVERS;
        for (id = 0; n && id < F_COUNT; id++)
            if (strlen(flags[id].name) == n && strncmp(flags[id].name, arg, n) == 0 &&
                flag_allowed(id, certs))
                break;
        if (!n)
            id = F_DRIVERS;
        if (id == F_COUNT)
            return usage(err, "unexpected argument", arg);
        const char *value = eq ? eq + 1 : NULL;
        if (!*flags[id].metavar && eq)
            return usage(err, "this option takes no value:", arg);
        if (!*flags[id].metavar)
            value = "true";
        else if (!value && i + 1 == argc)
            return usage(err, "a value is required for", arg);
        else if (!value)
            value = argv[++i];
        if (!*value)
            return usage(err, "an empty value was given for", arg);
        o->given |= 1u << id;
        if (take(o, id, flags[id].name, value, err) < 0)
            return -1;
    }
    return 0;
}

static bool is_given(const struct gateway_options *o, enum flag_id id)
{
    return o->given & 1u << id;
}

static int parse_environment(struct gateway_options *o, struct os_error *err)
{
    for (int id = 0; id < F_COUNT; id++) {
        const char *value = flags[id].env && !is_given(o, id) ? getenv(flags[id].env) : NULL;
        if (!value || !*value)
            continue;
        o->given |= 1u << id;
        if (take(o, id, flags[id].env, value, err) < 0)
            return -1;
    }
    const char *port = getenv("OPENSHELL_DEFAULT_PORT");
    if (port && *port && !is_given(o, F_PORT) &&
        parse_port("OPENSHELL_DEFAULT_PORT", port, &o->port, err) < 0)
        return -1;
    const char *ca = getenv("OPENSHELL_LOCAL_EXTRA_CA"), *hosts = getenv("OPENSHELL_LOCAL_EXTRA_HOSTS");
    if (ca && *ca)
        set_text(&o->local_extra_ca, ca);
    if (hosts && *hosts)
        set_text(&o->local_extra_hosts, hosts);
    const char *image_dirs = getenv("OPENSHELL_LOCAL_IMAGE_DIRS");
    if (image_dirs)
        set_text(&o->local_image_dirs, image_dirs);
    const char *binds = getenv("OPENSHELL_LOCAL_ENABLE_BIND_MOUNTS");
    return binds && *binds
               ? parse_bool("OPENSHELL_LOCAL_ENABLE_BIND_MOUNTS", binds, &o->local_bind_mounts, err)
               : 0;
}

int gateway_options_parse(struct gateway_options *o, int argc, char **argv, struct os_error *err)
{
    memset(o, 0, sizeof(*o));
    o->port = 17670;
    o->ssh_session_ttl_s = OS_SSH_SESSION_TTL_S;
    o->log_level = OS_LOG_INFO;
    o->bind_address = os_strdup("127.0.0.1");
    o->policy_failure_mode = "fail_closed";
    if (argc > 1 && strcmp(argv[1], "generate-certs") == 0)
        o->command = GATEWAY_GENERATE_CERTS;
    if (parse_arguments(o, argc, argv, err) < 0)
        return -1;
    if (o->command == GATEWAY_GENERATE_CERTS && !o->output_dir && !o->dry_run)
        return os_error_set(
            err, OS_INVALID_ARGUMENT,
            "--output-dir is required: this build writes certificates to files, not to Kubernetes "
            "secrets");
    if (o->command != GATEWAY_SERVE)
        return 0;
    if (parse_environment(o, err) < 0)
        return -1;
    if (o->db_url)
        return 0;
    cleanup_free char *state = os_state_dir(err);
    if (!state)
        return -1;
    o->db_url = os_asprintf("sqlite:%s/gateway/openshell.db", state);
    return 0;
}

/* --- gateway.toml --- */

static void set_given(char **to, const char *value)
{
    if (value)
        set_text(to, value);
}

static void file_listeners(struct gateway_options *o, const struct config_file *f)
{
    if (f->bind.ip && !is_given(o, F_BIND))
        set_text(&o->bind_address, f->bind.ip);
    if (f->bind.ip && !is_given(o, F_PORT))
        o->port = f->bind.port;
    if (f->health.ip && !is_given(o, F_HEALTH_PORT)) {
        set_text(&o->health_address, f->health.ip);
        o->health_port = f->health.port;
    }
}

static void file_tls(struct gateway_options *o, const struct config_file *f)
{
    if (f->disable_tls != CONFIG_UNSET && !is_given(o, F_DISABLE_TLS))
        o->disable_tls = f->disable_tls == CONFIG_TRUE;
    if (o->disable_tls)
        return; /* [tls] is then ignored, as published */
    if (!is_given(o, F_TLS_CERT))
        set_given(&o->tls_cert, f->tls_cert);
    if (!is_given(o, F_TLS_KEY))
        set_given(&o->tls_key, f->tls_key);
    if (!is_given(o, F_TLS_CLIENT_CA))
        set_given(&o->tls_client_ca, f->tls_client_ca);
}

static void file_identity(struct gateway_options *o, const struct config_file *f)
{
    if (f->mtls_table && !is_given(o, F_MTLS_AUTH)) {
        o->mtls_auth_given = true;
        o->mtls_auth = f->mtls_auth == CONFIG_TRUE;
    }
    o->allow_unauthenticated = f->allow_unauthenticated == CONFIG_TRUE;
    set_given(&o->jwt_signing, f->jwt_signing);
    set_given(&o->jwt_public, f->jwt_public);
    set_given(&o->jwt_kid, f->jwt_kid);
    set_given(&o->jwt_gateway_id, f->jwt_gateway_id);
    o->jwt_ttl_s = (int64_t)f->jwt_ttl_secs.value;
}

/* The environment wins here too. */
static void file_local(struct gateway_options *o, const struct config_file *f)
{
    if (!o->local_extra_ca)
        set_given(&o->local_extra_ca, f->local_extra_ca);
    if (!o->local_extra_hosts)
        set_given(&o->local_extra_hosts, f->local_extra_hosts);
    set_given(&o->local_https_proxy, f->local_https_proxy);
    set_given(&o->local_no_proxy, f->local_no_proxy);
    set_given(&o->local_proxy_auth_file, f->local_proxy_auth_file);
    set_given(&o->local_policy_rules, f->local_policy_rules);
    set_given(&o->local_policy_data, f->local_policy_data);
    set_given(&o->local_opa, f->local_opa);
    o->local_proxy_auth_insecure = f->local_proxy_auth_insecure == CONFIG_TRUE;
    o->local_proxy_by_hostname = f->local_proxy_by_hostname == CONFIG_TRUE;
    const char *binds = getenv("OPENSHELL_LOCAL_ENABLE_BIND_MOUNTS");
    if (!binds || !*binds)
        o->local_bind_mounts = f->local_bind_mounts == CONFIG_TRUE;
    o->local_agent_uid = (uint32_t)f->local_agent_uid.value;
    o->local_worker_uid = (uint32_t)f->local_worker_uid.value;
    for (size_t i = 0; i < f->local_mask.n; i++)
        os_strv_add(&o->local_mask, f->local_mask.v[i]);
}

static int file_others(struct gateway_options *o, const struct config_file *f, struct os_error *err)
{
    for (size_t i = 0; !is_given(o, F_DRIVERS) && i < f->compute_drivers.n; i++)
        if (take(o, F_DRIVERS, "compute_drivers", f->compute_drivers.v[i], err) < 0)
            return -1;
    if (f->log_level && !is_given(o, F_LOG_LEVEL) && take(o, F_LOG_LEVEL, "log_level", f->log_level, err) < 0)
        return -1;
    for (size_t i = 0; !is_given(o, F_SERVER_SAN) && i < f->server_sans.n; i++)
        os_strv_add(&o->server_sans, f->server_sans.v[i]);
    if (f->ssh_session_ttl_secs.given && !is_given(o, F_SSH_TTL))
        o->ssh_session_ttl_s = f->ssh_session_ttl_secs.value;
    if (f->failure_mode && strcmp(f->failure_mode, "retain_last_valid") == 0)
        o->policy_failure_mode = "retain_last_valid";
    return 0;
}

int gateway_options_read_file(struct gateway_options *o, struct os_error *err)
{
    struct config_file f;
    if (!o->config_path) {
        cleanup_free char *dir = os_config_dir(err);
        if (!dir)
            return -1;
        cleanup_free char *path = os_asprintf("%s/gateway.toml", dir);
        if (!os_file_exists(path))
            return 0;
        set_text(&o->config_path, path);
    }
    if (config_file_read(&f, &o->file, o->config_path, err) < 0)
        return -1;
    o->middlewares = f.middlewares;
    file_listeners(o, &f);
    file_tls(o, &f);
    file_identity(o, &f);
    file_local(o, &f);
    return file_others(o, &f, err) < 0 ? os_error_wrap(err, "gateway config file '%s'", o->config_path) : 0;
}

int gateway_options_check(const struct gateway_options *o, struct os_error *err)
{
    if (o->disable_tls && o->tls_client_ca)
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "--disable-tls and --tls-client-ca are mutually exclusive. Client certificate verification "
            "requires that TLS be enabled.");
    if (o->disable_tls && o->mtls_auth)
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "mTLS user authentication requires TLS. Remove --disable-tls or disable "
                            "--enable-mtls-auth.");
    if (!o->disable_tls && o->tls_key && !o->tls_cert)
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "--tls-cert is required when TLS is enabled (use --disable-tls to skip)");
    if (!o->disable_tls && !o->tls_key && (o->tls_cert || o->tls_client_ca))
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "--tls-key is required when TLS is enabled (use --disable-tls to skip)");
    if (o->mtls_auth && o->tls_cert && !o->tls_client_ca)
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "mTLS user authentication requires --tls-client-ca so client certificates can be "
                            "verified.");
    if (o->health_port && o->health_port == o->port)
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "--port and --health-port must be different (both set to %d)", o->port);
    return 0;
}

void gateway_options_free(struct gateway_options *o)
{
    char **texts[] = {&o->bind_address,       &o->health_address,
                      &o->tls_cert,           &o->tls_key,
                      &o->tls_client_ca,      &o->db_url,
                      &o->local_extra_ca,     &o->config_path,
                      &o->local_extra_hosts,  &o->jwt_signing,
                      &o->jwt_public,         &o->jwt_kid,
                      &o->jwt_gateway_id,     &o->local_image_dirs,
                      &o->output_dir,         &o->local_https_proxy,
                      &o->local_no_proxy,     &o->local_proxy_auth_file,
                      &o->local_policy_rules, &o->local_policy_data,
                      &o->local_opa};
    for (size_t i = 0; i < OS_ARRAY_LEN(texts); i++)
        free(*texts[i]);
    os_strv_free(&o->server_sans);
    os_strv_free(&o->local_mask);
    os_arena_free(&o->file);
}
