/* Input: delimiter choice, pattern, newline, value. The verdicts agree with what the pattern check says, and
 * with a few laws that hold for every pattern. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "policy/glob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *pattern, char delimiter, const char *value)
{
    int got = policy_glob(pattern, delimiter, value);
    if ((got == -1) != (policy_glob_check(pattern) != NULL))
        abort();
    if (got < -1 || got > 1)
        abort();
    /* Without special characters a pattern is its own only match. */
    if (!strpbrk(pattern, "*?[{}\\") && got != !strcmp(pattern, value))
        abort();
    /* A leading "**" component adds matches, never removes one. */
    if (got == 1 && delimiter == '/') {
        char *wider = os_asprintf("**/%s", pattern);
        if (policy_glob(wider, delimiter, value) != 1)
            abort();
        free(wider);
    }
    if (!strcmp(pattern, value) && !policy_path_selects(pattern, value))
        abort();
    policy_path_selects(pattern, value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 4096)
        return 0;
    char *text = os_strndup((const char *)data + 1, size - 1);
    char *value = strchr(text, '\n');
    if (value) {
        *value++ = '\0';
        if (strlen(text) < 600) /* longer ones may pass the element limit with one delimiter only */
            check(text, data[0] & 1 ? '/' : '.', value);
    }
    free(text);
    return 0;
}
