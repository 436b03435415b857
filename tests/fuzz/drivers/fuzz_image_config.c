/* What an image says about itself: its configuration, and the user it wants in its own account files. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "drivers/local/image/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct os_error cleanup_error err = {0};
    struct image_config c;
    uint32_t uid, gid;
    if (image_config_parse((const char *)data, size, &c, &err) == 0)
        for (size_t i = 0; i < c.env.n; i++)
            if (!strchr(c.env.v[i], '='))
                abort();
    image_config_clear(&c);
    cleanup_free char *text = os_strndup((const char *)data, size);
    char *user = text, *accounts = text + strlen(text);
    if (strchr(text, '\n')) {
        accounts = strchr(text, '\n');
        *accounts++ = '\0';
    }
    if (image_user_resolve(user, accounts, accounts, &uid, &gid, NULL) == 0 &&
        (uid == UINT32_MAX || gid == UINT32_MAX))
        abort();
    return 0;
}
