/* The client certificate of each registered gateway. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/config.h"
#include "core/cleanup.h"
#include "core/limits.h"
#include "sys/file.h"

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

static int copy_into(const char *from, const char *dir, const char *name, mode_t mode, struct os_error *err)
{
    cleanup_buf struct os_buf data = {0};
    cleanup_free char *to = os_asprintf("%s/%s", dir, name);
    if (os_file_read(from, OS_LIMIT_CONFIG_FILE, &data, err) < 0)
        return -1;
    if (!data.len)
        return os_error_set(err, OS_FAILED_PRECONDITION, "'%s' is empty", from);
    return os_file_write_atomic(to, os_buf_str(&data), data.len, mode, err);
}

/* Puts the new directory in place of the old one; the old one comes back when that fails. */
static int swap_in(const char *tmp, const char *live, const char *bak, struct os_error *err)
{
    bool had = rename(live, bak) == 0;
    if (rename(tmp, live) == 0)
        return os_dir_remove(bak, err);
    int e = errno;
    if (had && rename(bak, live) < 0)
        return os_error_sys(err, errno, "cannot put '%s' back; it is at '%s'", live, bak);
    return os_error_sys(err, e, "cannot move '%s' into place", live);
}

static char *package_dir(struct os_error *err)
{
    const char *set = getenv("OPENSHELL_LOCAL_TLS_DIR");
    if (set && *set)
        return os_strdup(set);
    cleanup_free char *state = config_state(err);
    return state ? os_asprintf("%s/tls", state) : NULL;
}

int config_tls_import(const char *name, struct os_error *err)
{
    cleanup_free char *dir = package_dir(err);
    if (!dir || config_name_check(name, err) < 0)
        return -1;
    cleanup_free char *ca = os_asprintf("%s/ca.crt", dir), *cert = os_asprintf("%s/client/tls.crt", dir);
    cleanup_free char *key = os_asprintf("%s/client/tls.key", dir);
    if (!os_file_exists(ca) || !os_file_exists(cert) || !os_file_exists(key))
        return 0;
    cleanup_free char *tmp = config_gateway_path(name, "mtls.tmp", err);
    cleanup_free char *bak = config_gateway_path(name, "mtls.bak", err);
    cleanup_free char *live = config_gateway_path(name, "mtls", err);
    if (!tmp || !bak || !live || os_dir_remove(tmp, err) < 0 || os_dir_remove(bak, err) < 0 ||
        os_dir_make(tmp, 0700, err) < 0 || copy_into(ca, tmp, "ca.crt", 0600, err) < 0 ||
        copy_into(cert, tmp, "tls.crt", 0600, err) < 0 || copy_into(key, tmp, "tls.key", 0600, err) < 0)
        return -1;
    return swap_in(tmp, live, bak, err);
}
