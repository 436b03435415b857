/* The environment a driver gives to the supervisor: see environ.h. */
#include "drivers/local/environ.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/cleanup.h"

typedef Openshell__Compute__V1__DriverSandboxSpec driver_spec;

bool environ_harmless(const char *name)
{
    /* Read by the C library, OpenSSL, c-ares, libuv and the supervisor itself. */
    static const char *const prefixes[] = {"OPENSHELL_", "LD_",    "GLIBC_", "MALLOC_", "OPENSSL_", "SSL_",
                                           "RES_",       "GCONV_", "CARES_", "UV_",     "SSLKEYLOG"};
    static const char *const names[] = {
        "PATH",  "RUST_LOG", "LOCALDOMAIN", "HOSTALIASES", "RESOLV_HOST_CONF", "LOCPATH", "NLSPATH",
        "TZDIR", "NIS_PATH", "GETCONF_DIR", "RANDFILE",    "TMPDIR",           "QLOGDIR"};
    for (size_t i = 0; i < OS_ARRAY_LEN(prefixes); i++)
        if (os_str_starts(name, prefixes[i]))
            return false;
    for (size_t i = 0; i < OS_ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0)
            return false;
    return true;
}

static bool stripped(const char *name)
{
    return strcmp(name, "OPENSHELL_SANDBOX_TOKEN") == 0 ||
           strcmp(name, "OPENSHELL_SANDBOX_TOKEN_FILE") == 0 ||
           strcmp(name, "OPENSHELL_GATEWAY_TLS_SERVER_NAME") == 0;
}

/* Later values replace earlier ones. */
static void put(struct os_strv *env, const char *name, const char *value)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < env->n; i++) {
        if (strncmp(env->v[i], name, n) == 0 && env->v[i][n] == '=') {
            free(env->v[i]);
            env->v[i] = os_asprintf("%s=%s", name, value);
            return;
        }
    }
    os_strv_addf(env, "%s=%s", name, value);
}

/* --- JSON --- */

static void json_string(struct os_buf *out, const char *s)
{
    os_buf_addc(out, '"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            os_buf_addf(out, "\\%c", *s);
        else if ((unsigned char)*s < ' ')
            os_buf_addf(out, "\\u%04x", (unsigned)(unsigned char)*s);
        else
            os_buf_addc(out, *s);
    }
    os_buf_addc(out, '"');
}

/* {"version":1,"command":[..],"tty":bool}; no command = a login shell on a terminal. */
static void main_process(struct os_buf *out, const driver_spec *spec)
{
    if (!spec->n_command) {
        os_buf_adds(out, "{\"version\":1,\"command\":[\"/bin/bash\",\"-l\"],\"tty\":true}");
        return;
    }
    os_buf_adds(out, "{\"version\":1,\"command\":[");
    for (size_t i = 0; i < spec->n_command; i++) {
        os_buf_adds(out, i ? "," : "");
        json_string(out, spec->command[i]);
    }
    os_buf_addf(out, "],\"tty\":%s}", spec->tty ? "true" : "false");
}

static void user_object(struct os_buf *out, const struct os_strv *user)
{
    for (size_t i = 0; i < user->n; i++) {
        const char *eq = strchr(user->v[i], '=');
        cleanup_free char *name = os_strndup(user->v[i], (size_t)(eq - user->v[i]));
        os_buf_addc(out, i ? ',' : '{');
        json_string(out, name);
        os_buf_addc(out, ':');
        json_string(out, eq + 1);
    }
    if (user->n)
        os_buf_addc(out, '}');
}

/* --- the parts --- */

static void collect_user(const driver_spec *spec, struct os_strv *user)
{
    const Openshell__Compute__V1__DriverSandboxTemplate *t = spec->template_;
    for (size_t i = 0; t && i < t->n_environment; i++)
        if (!stripped(t->environment[i]->key))
            put(user, t->environment[i]->key, t->environment[i]->value);
    for (size_t i = 0; i < spec->n_environment; i++)
        if (!stripped(spec->environment[i]->key))
            put(user, spec->environment[i]->key, spec->environment[i]->value);
}

static void put_user(struct os_strv *env, const struct os_strv *user)
{
    for (size_t i = 0; i < user->n; i++) {
        const char *eq = strchr(user->v[i], '=');
        cleanup_free char *name = os_strndup(user->v[i], (size_t)(eq - user->v[i]));
        if (environ_harmless(name))
            put(env, name, eq + 1);
    }
}

/* The supervisor starts no program by name, so the image's PATH leads only the agent. */
static const char *path_of(const struct rootfs *rootfs)
{
    for (size_t i = rootfs->config.env.n; i-- > 0;)
        if (os_str_starts(rootfs->config.env.v[i], "PATH=/"))
            return rootfs->config.env.v[i] + strlen("PATH=");
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

static void put_driver(const struct local_settings *cfg, const driver_sandbox *s, const struct rootfs *rootfs,
                       struct os_strv *env)
{
    char uid[16], gid[16];
    const char *image = s->spec->template_ ? s->spec->template_->image : "";
    snprintf(uid, sizeof(uid), "%u", rootfs->uid);
    snprintf(gid, sizeof(gid), "%u", rootfs->gid);
    put(env, "OPENSHELL_SANDBOX_ID", s->id);
    put(env, "OPENSHELL_SANDBOX", s->name);
    put(env, "OPENSHELL_ENDPOINT", cfg->gateway_endpoint);
    put(env, "OPENSHELL_SSH_SOCKET_PATH", INSIDE_SSH_SOCKET);
    put(env, "OPENSHELL_LOG_LEVEL", *s->spec->log_level ? s->spec->log_level : cfg->log_level);
    put(env, "OPENSHELL_TELEMETRY_ENABLED", "false");
    put(env, "OPENSHELL_NETWORK_RUNTIME_CAPABILITIES", "policy-dns-transparent-tcp");
    put(env, "OPENSHELL_CONTAINER_IMAGE", *image ? image : "host");
    put(env, "OPENSHELL_OCI_IMAGE_USER", "");
    put(env, "OPENSHELL_SANDBOX_UID", uid);
    put(env, "OPENSHELL_SANDBOX_GID", gid);
    if (cfg->tls_ca) {
        put(env, "OPENSHELL_TLS_CA", INSIDE_TLS "/ca.crt");
        put(env, "OPENSHELL_TLS_CERT", INSIDE_TLS "/tls.crt");
        put(env, "OPENSHELL_TLS_KEY", INSIDE_TLS "/tls.key");
    }
    if (s->spec->keep)
        put(env, "OPENSHELL_KEEP_AFTER_MAIN", "true");
    if (*s->spec->sandbox_token)
        put(env, "OPENSHELL_SANDBOX_TOKEN_FILE", INSIDE_TOKEN);
}

int environ_build(const struct local_settings *cfg, const driver_sandbox *s, const struct rootfs *rootfs,
                  struct os_strv *env, struct os_error *err)
{
    cleanup_buf struct os_buf command = {0}, object = {0};
    cleanup_strv struct os_strv user = {0};
    collect_user(s->spec, &user);
    main_process(&command, s->spec);
    user_object(&object, &user);
    if (command.failed || object.failed)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "command and environment of the sandbox need more than %zu bytes as JSON",
                            os_buf_max(&command));
    put(env, "HOME", "/root");
    put(env, "TERM", "xterm");
    put_user(env, &rootfs->config.env);
    put_user(env, &user);
    put(env, "PATH", path_of(rootfs));
    put_driver(cfg, s, rootfs, env);
    put(env, "OPENSHELL_MAIN_PROCESS_SPEC", os_buf_str(&command));
    if (user.n)
        put(env, "OPENSHELL_USER_ENVIRONMENT", os_buf_str(&object));
    return 0;
}
