/* Checked copy of the driver's configuration: see settings.h. */
#include "drivers/local/settings.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "drivers/local/operator_rules.h"
#include "drivers/local/userns.h"
#include "sys/file.h"

/* Outside of what distributions and systemd hand out to people, services and containers. */
#define AGENT_UID 58998
#define WORKER_UID 58999

static char *copy(const char *s)
{
    return s ? os_strdup(s) : NULL;
}

static int check_program(const char *path, const char *what, struct os_error *err)
{
    struct stat st;
    if (!path || stat(path, &st) < 0 || !S_ISREG(st.st_mode) || access(path, X_OK) < 0)
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "the local driver needs the program '%s' (%s), and it is not there or not executable; "
            "install it beside openshell-gateway or in ../libexec/openshell seen from there",
            path ? path : "", what);
    return 0;
}

static int make_state_dir(const char *path, struct local_settings *out, struct os_error *err)
{
    if (os_dir_make(path, 0700, err) < 0)
        return -1;
    out->state_dir = realpath(path, NULL);
    if (!out->state_dir || chmod(out->state_dir, 0700) < 0)
        return os_error_sys(err, errno, "cannot use state directory '%s'", path);
    out->base_dir = os_asprintf("%s.base", out->state_dir);
    out->images_dir = os_asprintf("%s.images", out->state_dir);
    return os_dir_make(out->base_dir, 0700, err) < 0 ? -1 : os_dir_make(out->images_dir, 0700, err);
}

static void add_mask(struct local_settings *out, const char *path)
{
    cleanup_free char *real = path ? realpath(path, NULL) : NULL;
    if (real && real[1] && !os_strv_has(&out->mask, real))
        os_strv_add(&out->mask, real);
}

/* A directory of keys is hidden as a whole, unless it is one that everything needs. */
static void add_key_mask(struct local_settings *out, const char *key)
{
    cleanup_free char *path = copy(key);
    cleanup_free char *real = path ? realpath(path, NULL) : NULL;
    cleanup_free char *dir = copy(real);
    const char *parent = dir ? dirname(dir) : NULL;
    add_mask(out, real);
    if (parent && !os_str_eq(parent, "/etc") && !os_str_eq(parent, "/usr") && !os_str_eq(parent, "/etc/ssl"))
        add_mask(out, parent);
}

/* One that does not exist holds no image. */
static void add_image_dirs(struct local_settings *out, const char *list)
{
    cleanup_strv struct os_strv dirs = {0};
    out->image_dirs_set = list != NULL;
    if (list)
        os_strv_split(&dirs, list, ':');
    for (size_t i = 0; i < dirs.n; i++) {
        cleanup_free char *real = *dirs.v[i] == '/' ? realpath(dirs.v[i], NULL) : NULL;
        if (real)
            os_strv_add(&out->image_dirs, real);
    }
}

/* Everything is checked now; the credential is read again for each sandbox, so that it can be replaced. */
static int read_proxy(const struct local_driver_config *cfg, struct local_settings *out, struct os_error *err)
{
    static const struct forward_proxy_names keys = {.url = "https_proxy",
                                                    .no_proxy = "no_proxy",
                                                    .auth_file = "proxy_auth_file",
                                                    .auth_allow_insecure = "proxy_auth_allow_insecure",
                                                    .connect_by_hostname = "proxy_connect_by_hostname",
                                                    .proxy = "https_proxy"};
    struct forward_proxy checked;
    if (forward_proxy_load(&checked, &cfg->proxy, cfg->proxy_names ? cfg->proxy_names : &keys, err) < 0)
        return -1;
    forward_proxy_clear(&checked);
    out->proxy = copy(cfg->proxy.url);
    out->no_proxy = copy(cfg->proxy.no_proxy);
    out->proxy_auth_file = copy(cfg->proxy.auth_file);
    out->proxy_auth_allow_insecure = cfg->proxy.auth_allow_insecure;
    out->proxy_connect_by_hostname = cfg->proxy.connect_by_hostname;
    add_mask(out, out->proxy_auth_file);
    return 0;
}

int settings_load(const struct local_driver_config *cfg, struct local_settings *out, struct os_error *err)
{
    *out = (struct local_settings){.agent_uid = cfg->agent_uid ? cfg->agent_uid : AGENT_UID,
                                   .worker_uid = cfg->worker_uid ? cfg->worker_uid : WORKER_UID};
    if (userns_find(&out->userns, err) < 0)
        return -1;
    if (out->agent_uid == out->worker_uid)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "agent uid and worker uid are both %u; they must differ", out->agent_uid);
    if (!cfg->gateway_endpoint || !*cfg->gateway_endpoint)
        return os_error_set(err, OS_INVALID_ARGUMENT, "the local driver needs the gateway's endpoint");
    if (!cfg->tls_ca != !cfg->tls_cert || !cfg->tls_ca != !cfg->tls_key)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "client TLS for sandboxes needs CA, certificate and key; give all three or none");
    if (read_proxy(cfg, out, err) < 0 || operator_rules_load(cfg, out, err) < 0)
        return -1;
    if (check_program(cfg->supervisor, "supervisor", err) < 0 ||
        check_program(cfg->launcher, "launcher", err) < 0 || make_state_dir(cfg->state_dir, out, err) < 0)
        return -1;
    out->supervisor = realpath(cfg->supervisor, NULL);
    out->launcher = realpath(cfg->launcher, NULL);
    out->gateway_endpoint = os_strdup(cfg->gateway_endpoint);
    out->tls_ca = copy(cfg->tls_ca);
    out->tls_cert = copy(cfg->tls_cert);
    out->tls_key = copy(cfg->tls_key);
    out->log_level = os_strdup(cfg->log_level ? cfg->log_level : "warn");
    out->extra_ca_file = copy(cfg->extra_ca_file);
    out->extra_hosts = copy(cfg->extra_hosts);
    out->bind_mounts = cfg->enable_bind_mounts;
    add_image_dirs(out, cfg->image_dirs);
    add_mask(out, out->state_dir);
    add_mask(out, out->base_dir);
    add_mask(out, out->images_dir);
    add_mask(out, out->policy_rules_file);
    add_mask(out, out->policy_data_file);
    add_key_mask(out, cfg->tls_key);
    for (size_t i = 0; cfg->mask && cfg->mask[i]; i++)
        add_mask(out, cfg->mask[i]);
    return 0;
}

void settings_clear(struct local_settings *s)
{
    char *const texts[] = {
        s->base_dir,          s->images_dir,       s->state_dir, s->supervisor, s->launcher,
        s->gateway_endpoint,  s->tls_ca,           s->tls_cert,  s->tls_key,    s->log_level,
        s->extra_ca_file,     s->extra_hosts,      s->proxy,     s->no_proxy,   s->proxy_auth_file,
        s->policy_rules_file, s->policy_data_file, s->opa};
    for (size_t i = 0; i < OS_ARRAY_LEN(texts); i++)
        free(texts[i]);
    os_strv_free(&s->image_dirs);
    os_strv_free(&s->mask);
}
