/* Input: a kind byte and a text for a flag of `policy update`, or a question of `policy check`. What is taken
 * makes sound operations, and what is written back as flags says the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/endpoint_spec.h"
#include "cli/question.h"
#include "core/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_endpoint(struct os_arena *a, const char *text)
{
    cleanup_error struct os_error err = {0};
    policy_endpoint_doc *ep = endpoint_spec_parse(a, text, &err);
    if (!ep != (err.code == OS_INVALID_ARGUMENT) || (!ep && !strstr(err.msg, "--add-endpoint ")))
        abort();
    if (ep && (!*ep->host || strpbrk(ep->host, "/: ") || !ep->port || ep->port > UINT16_MAX))
        abort();
}

static void check_flags(struct os_arena *a, unsigned kind, const char *text)
{
    const char *const list[] = {text};
    const char *const binary[] = {"/b"};
    struct update_flags f = {0};
    struct update_operations ops;
    cleanup_buf struct os_buf out = {0};
    if (kind == 0) {
        f = (struct update_flags){.add_endpoint = list, .n_add_endpoint = 1, .binary = binary, .n_binary = 1};
    } else if (kind == 1) {
        f = (struct update_flags){.remove_endpoint = list, .n_remove_endpoint = 1};
    } else if (kind == 2) {
        f = (struct update_flags){.add_allow = list, .n_add_allow = 1};
    } else {
        f = (struct update_flags){.add_deny = list, .n_add_deny = 1};
    }
    if (update_flags_parse(a, &f, &ops, NULL) < 0)
        return;
    if (ops.n != 1 || ops.v[0]->operation_case == 0)
        abort();
    policy_merge_check(ops.v, ops.n, NULL);
    if (update_flags_format(ops.v, ops.n, &out) && !os_str_starts(os_buf_str(&out), " --"))
        abort();
}

static void check_question(struct os_arena *a, const char *text, bool request)
{
    struct policy_question q = {0};
    cleanup_error struct os_error err = {0};
    int rc = request ? question_parse_request(a, text, &q, &err) : question_parse_connect(a, text, &q, &err);
    if (rc < 0 ? !err.msg : !*q.host || !q.port || (request && *q.target != '/'))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 8192)
        return 0;
    cleanup_arena struct os_arena arena = {0};
    unsigned kind = data[0] % 6;
    const char *text = os_arena_strndup(&arena, (const char *)data + 1, size - 1);
    if (kind == 0)
        check_endpoint(&arena, text);
    if (kind < 4)
        check_flags(&arena, kind, text);
    else
        check_question(&arena, text, kind == 4);
    return 0;
}
