/* The client certificate of each registered gateway. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/config.h"
#include "core/cleanup.h"
#include "core/limits.h"
#include "sys/client_bundle.h"
#include "sys/file.h"
#include "sys/paths.h"

/* Characters outside [A-Za-z0-9._-] become '_' (an endpoint URL may stand in for a name). */
static char *tls_path(const char *name, const char *file, struct os_error *err)
{
    cleanup_free char *safe = os_strdup(name);
    for (char *c = safe; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
            *c = '_';
    if (config_name_check(safe, err) < 0)
        return NULL;
    cleanup_free char *below = os_asprintf("mtls/%s", file);
    return config_gateway_path(safe, below, err);
}

static const char *tls_read(struct os_arena *a, const char *name, const char *file, const char *what,
                            struct os_error *err)
{
    cleanup_free char *path = tls_path(name, file, err);
    if (!path)
        return NULL;
    cleanup_buf struct os_buf b = {0};
    if (os_file_read(path, OS_LIMIT_CONFIG_FILE, &b, err) < 0) {
        int e = err->sys_errno;
        os_error_set(err, OS_FAILED_PRECONDITION, "failed to read TLS %s from %s\037%s", what, path,
                     e ? strerror(e) : "not a readable file");
        return NULL;
    }
    if (!b.len) {
        os_error_set(err, OS_FAILED_PRECONDITION, "failed to read TLS %s from %s\037the file is empty", what,
                     path);
        return NULL;
    }
    return os_arena_strdup(a, os_buf_str(&b));
}

int config_tls_load(struct os_arena *a, const char *name, struct config_tls *out, struct os_error *err)
{
    out->ca = tls_read(a, name, "ca.crt", "CA", err);
    out->cert = out->ca ? tls_read(a, name, "tls.crt", "cert", err) : NULL;
    out->key = out->cert ? tls_read(a, name, "tls.key", "key", err) : NULL;
    return out->key ? 0 : -1;
}

bool config_tls_exists(const char *name)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    struct config_tls tls;
    return config_tls_load(&a, name, &tls, &err) == 0;
}

/* --- import --- */

int config_tls_import(const char *name, struct os_error *err)
{
    cleanup_free char *dir = os_tls_dir(err);
    if (!dir || config_name_check(name, err) < 0)
        return -1;
    cleanup_free char *ca = os_asprintf("%s/ca.crt", dir), *cert = os_asprintf("%s/client/tls.crt", dir);
    cleanup_free char *key = os_asprintf("%s/client/tls.key", dir);
    if (!os_file_exists(ca) || !os_file_exists(cert) || !os_file_exists(key))
        return 0;
    cleanup_free char *config = os_config_dir(err);
    cleanup_free char *gateway = config ? os_asprintf("%s/gateways/%s", config, name) : NULL;
    return gateway ? os_client_bundle_copy(dir, gateway, err) : -1;
}
