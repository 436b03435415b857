/* Texts that come from outside: tokens, relay targets, the user's environment. First byte picks the parser.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "supervisor/agent/env.h"
#include "supervisor/agent/target.h"
#include "supervisor/session/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_target(const char *text, uint32_t port)
{
    cleanup_error struct os_error err = {0};
    char ip[TARGET_IP_LEN];
    if (target_resolve(text, port, ip, &err) == 0)
        assert(strcmp(ip, "::1") == 0 || strncmp(ip, "127.", 4) == 0);
    else
        assert(err.code == OS_INVALID_ARGUMENT);
}

static void check_environment(const char *text)
{
    cleanup_strv struct os_strv m = {0}, x = {0};
    cleanup_free char *pair = os_asprintf("OPENSHELL_USER_ENVIRONMENT=%s", text);
    const char *const inherited[] = {pair, NULL};
    const struct agent_environment e = {.inherited = inherited};
    agent_env_main(&e, true, &m);
    agent_env_exec(&e, true, NULL, 0, &x, NULL);
    assert(os_strv_has(&m, "OPENSHELL_SANDBOX=1") && os_strv_has(&x, "OPENSHELL_SANDBOX=1"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    cleanup_free char *text = os_strndup((const char *)data + 3, size - 3);
    switch (data[0] % 3) {
    case 0:
        assert(token_expiry(text) >= 0);
        break;
    case 1:
        check_target(text, (uint32_t)(data[1] | data[2] << 8));
        break;
    default:
        check_environment(text);
    }
    return 0;
}
