/* Validates one policy document from standard input as a gateway does with a request: parse, rules,
 * ambiguity, runtime rules. The documentation test runs it over the examples of the guide. Exit 0, or 1 with
 * the error. */
#include <stdio.h>
#include <stdlib.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "policy/policy.h"

static int check(struct os_error *err)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_strv struct os_strv bad = {0};
    char *text = os_arena_alloc(&arena, OS_LIMIT_POLICY_YAML + 1);
    size_t n = fread(text, 1, OS_LIMIT_POLICY_YAML, stdin);
    policy_doc *doc = policy_yaml_parse(&arena, text, n, err);
    if (!doc || policy_check(doc, err) < 0 || policy_check_ambiguity(doc, err) < 0)
        return -1;
    policy_validate_runtime(doc, &bad);
    if (!bad.n)
        return 0;
    cleanup_free char *all = os_strv_join(&bad, "; ");
    return os_error_set(err, OS_INVALID_ARGUMENT, "policy contains unsafe content: %s", all);
}

int main(void)
{
    cleanup_error struct os_error err = {0};
    if (check(&err) == 0)
        return EXIT_SUCCESS;
    puts(os_error_text(&err));
    return EXIT_FAILURE;
}
