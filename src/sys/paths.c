/* Where a user's programs keep their files. */
#include "sys/paths.h"

#include <stdlib.h>

#include "core/cleanup.h"
#include "core/str.h"

static char *base(const char *variable, const char *below_home, struct os_error *err)
{
    const char *set = getenv(variable), *home = getenv("HOME");
    if (set && *set)
        return os_asprintf("%s/openshell", set);
    if (home && *home)
        return os_asprintf("%s/%s/openshell", home, below_home);
    os_error_set(err, OS_FAILED_PRECONDITION, "HOME is not set");
    return NULL;
}

char *os_config_dir(struct os_error *err)
{
    return base("XDG_CONFIG_HOME", ".config", err);
}

char *os_state_dir(struct os_error *err)
{
    return base("XDG_STATE_HOME", ".local/state", err);
}

char *os_tls_dir(struct os_error *err)
{
    const char *set = getenv("OPENSHELL_LOCAL_TLS_DIR");
    if (set && *set)
        return os_strdup(set);
    cleanup_free char *state = os_state_dir(err);
    return state ? os_asprintf("%s/tls", state) : NULL;
}
