/* Input: flag byte, request-target. The canonical form is stable, clean and safe to send; queries decode or
 * fail. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/str.h"
#include "policy/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_clean(const struct policy_target *t)
{
    if (t->path[0] != '/' || strstr(t->path, "//") || strpbrk(t->path, "?#; \t\r\n"))
        abort();
    if (strstr(t->path, "/../") || strstr(t->path, "/./") || os_str_ends(t->path, "/..") ||
        os_str_ends(t->path, "/."))
        abort();
    if (strstr(t->path, "%2F") && !t->has_encoded_slash)
        abort();
    for (const char *p = t->path; *p; p++) {
        if (*p <= 0x20 || *p >= 0x7f)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    cleanup_arena struct os_arena arena = {0};
    bool slash = data[0] & 1;
    struct policy_target t;
    struct policy_target again;
    cleanup_error struct os_error err = {0};
    if (policy_target_parse(&arena, (const char *)data + 1, size - 1, slash, &t, &err)) {
        if (err.code != OS_INVALID_ARGUMENT || !os_str_starts(err.msg, "request-target"))
            abort();
        return 0;
    }
    check_clean(&t);
    size_t n = strlen(t.path);
    if (n <= OS_PROXY_PATH) {
        if (policy_target_parse(&arena, t.path, n, slash, &again, NULL) || strcmp(t.path, again.path) != 0)
            abort();
    }
    const struct policy_query_pair *pairs;
    size_t count;
    if (policy_query_parse(&arena, t.query, &pairs, &count, NULL) == 0) {
        for (size_t i = 0; i < count; i++) {
            if (!os_utf8_valid(pairs[i].key, strlen(pairs[i].key)) ||
                !os_utf8_valid(pairs[i].value, strlen(pairs[i].value)))
                abort();
        }
    }
    return 0;
}
