/* gateway.toml: any text either parses into a tree that can be walked, or is refused with a place. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "gateway/config_file.h"
#include "gateway/toml/toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static size_t walk(const struct toml_value *v)
{
    size_t n = v->text ? strlen(v->text) : 1;
    for (const struct toml_value *child = v->first; child; child = child->next) {
        if (!child->line || !child->column || (v->type == TOML_TABLE && !child->key))
            abort();
        n += walk(child);
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0}, refused = {0};
    struct config_file f;
    const struct toml_value *root = toml_parse(&a, (const char *)data, n, &err);
    if (!root != (err.code != OS_OK) || (root && walk(root) == 0))
        abort();
    if (config_file_parse(&f, &a, "fuzz", (const char *)data, n, &refused) == 0 && !root)
        abort();
    return 0;
}
