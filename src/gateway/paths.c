/* Where the gateway keeps its files. */
#include "gateway/paths.h"

#include <stdlib.h>

#include "core/cleanup.h"
#include "core/str.h"

static char *base(const char *variable, const char *below_home, struct os_error *err)
{
    const char *set = getenv(variable), *home = getenv("HOME");
    if (set && *set)
        return os_strdup(set);
    if (home && *home)
        return os_asprintf("%s/%s", home, below_home);
    os_error_set(err, OS_FAILED_PRECONDITION, "HOME is not set");
    return NULL;
}

char *gateway_config_home(struct os_error *err)
{
    return base("XDG_CONFIG_HOME", ".config", err);
}

char *gateway_state_dir(struct os_error *err)
{
    cleanup_free char *state = base("XDG_STATE_HOME", ".local/state", err);
    return state ? os_asprintf("%s/openshell", state) : NULL;
}

char *gateway_tls_dir(struct os_error *err)
{
    const char *set = getenv("OPENSHELL_LOCAL_TLS_DIR");
    if (set && *set)
        return os_strdup(set);
    cleanup_free char *state = gateway_state_dir(err);
    return state ? os_asprintf("%s/tls", state) : NULL;
}
