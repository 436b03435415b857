/* Any text: what parses prints to a form that parses to the same policy; validation and compilation survive
 * it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/engine.h"
#include "policy/policy.h"
#include "policy/summary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(struct os_arena *arena, const policy_doc *doc)
{
    cleanup_buf struct os_buf text = {0};
    cleanup_error struct os_error err = {0};
    char before[65];
    char after[65];
    policy_yaml_print(doc, &text);
    policy_doc *again = policy_yaml_parse(arena, os_buf_str(&text), text.len, &err);
    if (!again || strcmp(policy_hash(doc, before), policy_hash(again, after)) != 0)
        abort();
    if (strcmp(before, policy_hash(policy_copy(arena, doc), after)) != 0)
        abort();
}

/* Lines, and nothing in them that is not to be seen. */
static void check_summary(const policy_doc *doc)
{
    cleanup_buf struct os_buf text = {0};
    policy_summary_network(doc, &text);
    policy_summary_files(doc, "/sandbox", &text);
    if (text.failed || text.data[text.len - 1] != '\n')
        abort();
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < 0x20 && text.data[i] != '\n')
            abort();
}

/* A data file may say less exactly what it means, but what is a policy means the same there. */
static void check_data(struct os_arena *arena, const policy_doc *doc, const char *text, size_t n)
{
    char strict[65];
    char loose[65];
    policy_doc *data = policy_yaml_parse_data(arena, text, n, NULL);
    if (data && doc && strcmp(policy_hash(doc, strict), policy_hash(data, loose)) != 0)
        abort();
    if (data)
        check_summary(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 65536)
        return 0;
    cleanup_arena struct os_arena arena = {0};
    policy_doc *doc = policy_yaml_parse(&arena, (const char *)data, size, NULL);
    check_data(&arena, doc, (const char *)data, size);
    if (!doc)
        return 0;
    check_same(&arena, doc);
    struct policy_compile_options opt = {.binary_identity = true};
    struct policy_engine *e = policy_compile(doc, &opt, NULL);
    if (!e)
        return 0;
    struct policy_l4 l4;
    struct policy_process who = {.exe = "/usr/bin/curl"};
    policy_decide_l4(e, "api.x.com", 443, &who, &l4);
    struct policy_l7 l7;
    struct policy_query_pair pair = {"q", "a b"};
    struct policy_http req = {.method = "GET", .path = "/v1/a", .query = &pair, .n_query = 1};
    policy_decide_http(e, &l4, &req, &l7);
    if (l7.allow && !l4.allow)
        abort();
    policy_engine_unref(e);
    return 0;
}
