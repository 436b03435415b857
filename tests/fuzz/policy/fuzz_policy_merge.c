/* Input: an UpdateConfigRequest. Its merge operations are applied to a small policy: the base stays as it
 * was, the result is the same every time, and it is refused or can be compiled. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/engine.h"
#include "policy/merge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char base_text[] =
    "version: 1\n"
    "network_policies:\n"
    "  a:\n"
    "    endpoints:\n"
    "    - {host: a.com, ports: [80, 443], protocol: rest, access: read-only}\n"
    "    - {host: b.com, port: 443, protocol: rest, enforcement: enforce, rules: [{allow: {method: GET, "
    "path: /x}}]}\n"
    "    binaries: [{path: /b}, {path: /c}]\n"
    "  m:\n"
    "    endpoints: [{host: m.com, port: 443, protocol: mcp, rules: [{allow: {method: ping}}]}]\n"
    "    binaries: [{path: /b}]\n"
    "  w:\n"
    "    endpoints: [{host: '*.w.com', port: 443, allowed_ips: [10.0.0.0/16]}]\n";

static policy_doc *merge(struct os_arena *arena, const policy_doc *base,
                         const Openshell__V1__UpdateConfigRequest *req, char hash[65])
{
    cleanup_strv struct os_strv warnings = {0};
    cleanup_error struct os_error err = {0};
    if (policy_merge_check(req->merge_operations, req->n_merge_operations, &err) < 0 && !err.msg)
        abort();
    os_error_clear(&err);
    policy_doc *doc =
        policy_merge(arena, base, req->merge_operations, req->n_merge_operations, &warnings, &err);
    if (!doc && !err.msg)
        abort();
    if (doc)
        policy_hash(doc, hash);
    return doc;
}

static void check_result(struct os_arena *arena, const policy_doc *doc)
{
    const struct policy_compile_options opt = {.binary_identity = true};
    cleanup_strv struct os_strv bad = {0};
    cleanup_error struct os_error err = {0};
    policy_validate(doc, &bad);
    policy_validate_runtime(doc, &bad);
    policy_ambiguities(doc, &bad);
    struct policy_engine *e = policy_compile(doc, &opt, &err);
    if (!e != (bad.n > 0))
        abort();
    policy_engine_unref(e);
    for (size_t i = 0; i < doc->n_network_policies; i++)
        if (doc->network_policies[i]->value)
            policy_covers(doc, doc->network_policies[i]->value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 65536)
        return 0;
    cleanup_arena struct os_arena arena = {0};
    Openshell__V1__UpdateConfigRequest *req = openshell__v1__update_config_request__unpack(NULL, size, data);
    if (!req)
        return 0;
    policy_doc *base = policy_yaml_parse(&arena, base_text, strlen(base_text), NULL);
    char before[65];
    char after[65];
    char first[65];
    char second[65];
    policy_hash(base, before);
    policy_doc *doc = merge(&arena, base, req, first);
    policy_doc *again = merge(&arena, base, req, second);
    if (!doc != !again || (doc && strcmp(first, second) != 0) ||
        strcmp(before, policy_hash(base, after)) != 0)
        abort();
    if (doc)
        check_result(&arena, doc);
    merge(&arena, NULL, req, first);
    openshell__v1__update_config_request__free_unpacked(req, NULL);
    return 0;
}
