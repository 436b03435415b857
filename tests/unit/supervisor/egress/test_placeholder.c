/* Placeholders in what is shown and judged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "supervisor/egress/credentials/placeholder.h"

static void redacted(void **state)
{
    static const struct {
        const char *text, *want;
        bool malformed;
    } rows[] = {
        {"/v1/x", "/v1/x", false},
        {"/v1/openshell:resolve:env:KEY/y", "/v1/[CREDENTIAL]/y", false},
        {"/bot openshell:resolve:env:v12_KEY_2:x", "/bot [CREDENTIAL]:x", false},
        {"/a/xoxb-OPENSHELL-RESOLVE-ENV-KEY/b", "/a/[CREDENTIAL]/b", false},
        {"/a/openshell:resolve:env:/b", "/a/[CREDENTIAL]/b", true},
        {"/a/OPENSHELL-RESOLVE-ENV-KEY", "/a/[CREDENTIAL]", true},
        {"/a/x.OPENSHELL-RESOLVE-ENV-", "/a/[CREDENTIAL]", true},
        {"openshell:resolve:env:A-openshell:resolve:env:B", "[CREDENTIAL]-[CREDENTIAL]", false},
        {"openshell:resolve:env:A.OPENSHELL-RESOLVE-ENV-B", "[CREDENTIAL][CREDENTIAL]", false},
        {"openshell:resolve:en", "openshell:resolve:en", false},
        {"", "", false},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        struct os_arena cleanup_arena arena = {0};
        bool malformed = false;
        const char *got = placeholder_redact(&arena, rows[i].text, &malformed);
        if (strcmp(got, rows[i].want) != 0 || malformed != rows[i].malformed)
            fail_msg("%s -> %s (%d)", rows[i].text, got, malformed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(redacted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
