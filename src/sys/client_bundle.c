/* Certificate, key and CA move as one directory, so that a reader never sees parts of two bundles. */
#include "sys/client_bundle.h"

#include <errno.h>
#include <stdio.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "sys/file.h"

static int copy(const char *from_dir, const char *from, const char *to_dir, const char *to,
                struct os_error *err)
{
    cleanup_buf struct os_buf data = {0};
    cleanup_free char *source = os_asprintf("%s/%s", from_dir, from),
                      *target = os_asprintf("%s/%s", to_dir, to);
    if (os_file_read(source, OS_LIMIT_CONFIG_FILE, &data, err) < 0)
        return -1;
    if (!data.len)
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "'%s' is empty; put the file back, or remove '%s' and start the gateway again to have new "
            "certificates made",
            source, from_dir);
    return os_file_write_atomic(target, data.data, data.len, 0600, err);
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

int os_client_bundle_copy(const char *tls_dir, const char *gateway_dir, struct os_error *err)
{
    cleanup_free char *tmp = os_asprintf("%s/mtls.tmp", gateway_dir),
                      *bak = os_asprintf("%s/mtls.bak", gateway_dir);
    cleanup_free char *live = os_asprintf("%s/mtls", gateway_dir);
    if (os_dir_remove(tmp, err) < 0 || os_dir_remove(bak, err) < 0 || os_dir_make(tmp, 0700, err) < 0 ||
        copy(tls_dir, "ca.crt", tmp, "ca.crt", err) < 0 ||
        copy(tls_dir, "client/tls.crt", tmp, "tls.crt", err) < 0 ||
        copy(tls_dir, "client/tls.key", tmp, "tls.key", err) < 0)
        return -1;
    return swap_in(tmp, live, bak, err);
}
