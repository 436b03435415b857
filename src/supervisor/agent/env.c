/* Environment of the sandbox's processes: built by layers, a later layer overrides an earlier one. */
#include "supervisor/agent/env.h"

#include <jansson.h>
#include <string.h>

#include "core/cleanup.h"

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"
#define DEFAULT_LANG "C.UTF-8" /* names of files are UTF-8, and every libc has it */

static const char *const scrubbed[] = {
    "OPENSHELL_OCI_IMAGE_USER",
    "OPENSHELL_SANDBOX_UID",
    "OPENSHELL_SANDBOX_GID",
    "OPENSHELL_SANDBOX_TOKEN",
    "OPENSHELL_SANDBOX_TOKEN_FILE",
    "OPENSHELL_K8S_SA_TOKEN_FILE",
    "OPENSHELL_TLS_CA",
    "OPENSHELL_TLS_CERT",
    "OPENSHELL_TLS_KEY",
    "OPENSHELL_PROVIDER_SPIFFE_WORKLOAD_API_SOCKET",
    "OPENSHELL_NETWORK_RUNTIME_CAPABILITIES",
};

bool agent_env_scrubbed(const char *key)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(scrubbed); i++)
        if (strcmp(scrubbed[i], key) == 0)
            return true;
    return false;
}

static void set(struct os_strv *out, const char *key, const char *value)
{
    size_t n = strlen(key);
    char *pair = os_asprintf("%s=%s", key, value);
    for (size_t i = 0; i < out->n; i++) {
        if (strncmp(out->v[i], key, n) == 0 && out->v[i][n] == '=') {
            free(out->v[i]);
            out->v[i] = pair;
            return;
        }
    }
    os_strv_take(out, pair);
}

static const char *inherited(const struct agent_environment *e, const char *key)
{
    size_t n = strlen(key);
    for (const char *const *p = e->inherited; p && *p; p++)
        if (strncmp(*p, key, n) == 0 && (*p)[n] == '=')
            return *p + n + 1;
    return NULL;
}

/* OPENSHELL_USER_ENVIRONMENT as an object of strings; empty when absent or malformed. Caller decrefs. */
static json_t *user_environment(const struct agent_environment *e)
{
    const char *text = inherited(e, "OPENSHELL_USER_ENVIRONMENT");
    json_t *map = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const char *key;
    json_t *value;
    bool good = json_is_object(map);
    json_object_foreach(map, key, value) good = good && json_is_string(value) && *key && !strchr(key, '=');
    if (good)
        return map;
    json_decref(map);
    return json_object();
}

static void set_unless(struct os_strv *out, const json_t *user, const char *key, const char *value)
{
    if (!json_object_get(user, key))
        set(out, key, value);
}

static void set_network(const struct agent_environment *e, struct os_strv *out)
{
    static const char *const proxy[] = {"ALL_PROXY",  "HTTP_PROXY",  "HTTPS_PROXY",
                                        "http_proxy", "https_proxy", "grpc_proxy"};
    static const char *const ca[] = {"NODE_EXTRA_CA_CERTS", "DENO_CERT"};
    static const char *const bundle[] = {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
                                         "GIT_SSL_CAINFO"};
    if (e->proxy_url) {
        for (size_t i = 0; i < OS_ARRAY_LEN(proxy); i++)
            set(out, proxy[i], e->proxy_url);
        set(out, "NO_PROXY", "127.0.0.1,localhost,::1");
        set(out, "no_proxy", "127.0.0.1,localhost,::1");
        set(out, "NODE_USE_ENV_PROXY", "1");
    }
    if (!e->ca_dir)
        return;
    cleanup_free char *ca_file = os_asprintf("%s/openshell-ca.pem", e->ca_dir);
    cleanup_free char *bundle_file = os_asprintf("%s/ca-bundle.pem", e->ca_dir);
    for (size_t i = 0; i < OS_ARRAY_LEN(ca); i++)
        set(out, ca[i], ca_file);
    for (size_t i = 0; i < OS_ARRAY_LEN(bundle); i++)
        set(out, bundle[i], bundle_file);
}

static const char *user_of(const struct agent_environment *e)
{
    return e->user ? e->user : "sandbox";
}

static const char *home_of(const struct agent_environment *e)
{
    return e->home ? e->home : "/sandbox";
}

void agent_env_main(const struct agent_environment *e, bool tty, struct os_strv *out)
{
    json_t *user = user_environment(e);
    for (const char *const *p = e->inherited; p && *p; p++) {
        const char *eq = strchr(*p, '=');
        cleanup_free char *key = eq ? os_strndup(*p, (size_t)(eq - *p)) : NULL;
        if (key && *key && !agent_env_scrubbed(key))
            set(out, key, eq + 1);
    }
    set(out, "OPENSHELL_SANDBOX", "1");
    set_unless(out, user, "HOME", home_of(e));
    set_unless(out, user, "USER", user_of(e));
    set_unless(out, user, "LOGNAME", user_of(e));
    set_unless(out, user, "SHELL", "/bin/bash");
    if (!inherited(e, "LANG"))
        set(out, "LANG", DEFAULT_LANG);
    set_unless(out, user, "TERM", tty ? "xterm-256color" : "dumb");
    if (!inherited(e, "PATH"))
        set(out, "PATH", DEFAULT_PATH);
    set_network(e, out);
    json_decref(user);
}

int agent_env_exec(const struct agent_environment *e, bool tty, const struct agent_variable *extra,
                   size_t n_extra, struct os_strv *out, struct os_error *err)
{
    for (size_t i = 0; i < n_extra; i++) {
        if (!*extra[i].key || strchr(extra[i].key, '='))
            return os_error_set(
                err, OS_INVALID_ARGUMENT,
                "environment variable name '%.64s' is not valid: it must not be empty or contain '='",
                extra[i].key);
        if (agent_env_scrubbed(extra[i].key))
            return os_error_set(err, OS_INVALID_ARGUMENT, "environment variable '%s' is reserved",
                                extra[i].key);
    }
    const char *path = inherited(e, "PATH");
    set(out, "OPENSHELL_SANDBOX", "1");
    set(out, "HOME", home_of(e));
    set(out, "USER", user_of(e));
    set(out, "LOGNAME", user_of(e));
    set(out, "LANG", DEFAULT_LANG);
    set(out, "SHELL", "/bin/bash");
    set(out, "PATH", path ? path : DEFAULT_PATH);
    set(out, "TERM", tty ? "xterm-256color" : "dumb");
    json_t *user = user_environment(e);
    const char *key;
    json_t *value;
    json_object_foreach(user, key, value) if (!os_str_starts(key, "OPENSHELL_"))
        set(out, key, json_string_value(value));
    json_decref(user);
    set_network(e, out);
    for (size_t i = 0; i < n_extra; i++)
        set(out, extra[i].key, extra[i].value);
    return 0;
}
