/* Table-driven reading of YAML mappings. Every refusal says where, what was found and what belongs there. */
#include "policy/yaml_fields.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

static void put_path(struct os_buf *out, const struct yaml_path *at)
{
    if (!at)
        return;
    put_path(out, at->up);
    if (!at->key)
        os_buf_addf(out, "[%zu]", at->index);
    else
        os_buf_addf(out, "%s%.200s", out->len ? "." : "", at->key);
}

int yaml_fail(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
              const char *fmt, ...)
{
    cleanup_buf struct os_buf text = {0};
    put_path(&text, at);
    if (text.len)
        os_buf_adds(&text, ": ");
    va_list ap;
    va_start(ap, fmt);
    os_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    return os_error_set(r->err, OS_INVALID_ARGUMENT, "%s at line %zu column %zu", os_buf_str(&text),
                        node->line, node->column);
}

int yaml_expected(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                  const char *want)
{
    if (node->kind == YAML_SCALAR && node->scalar != YAML_NULL)
        return yaml_fail(r, at, node, "expected %s, got %s `%.80s`", want, yaml_node_what(node), node->text);
    return yaml_fail(r, at, node, "expected %s, got %s", want, yaml_node_what(node));
}

char *yaml_read_string(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node)
{
    if (node->kind != YAML_SCALAR || node->scalar != YAML_STRING) {
        bool quote = node->kind == YAML_SCALAR && node->scalar != YAML_NULL;
        yaml_expected(r, at, node, quote ? "a string (put it in quotes)" : "a string");
        return NULL;
    }
    return (char *)(uintptr_t)node->text;
}

int yaml_read_strings(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                      char ***list, size_t *n)
{
    if (node->kind != YAML_LIST)
        return yaml_expected(r, at, node, "a list of strings");
    *list = os_arena_alloc(r->arena, node->n * sizeof(char *));
    size_t i = 0;
    for (const struct yaml_node *item = node->first; item; item = item->next, i++) {
        struct yaml_path here = {.up = at, .index = i};
        (*list)[i] = yaml_read_string(r, &here, item);
        if (!(*list)[i])
            return -1;
    }
    *n = i;
    return 0;
}

static int read_integer(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                        int64_t min, int64_t max, int64_t *out)
{
    if (node->kind != YAML_SCALAR || node->scalar != YAML_INT)
        return yaml_expected(r, at, node, "an integer");
    if (!yaml_node_int(node, out) || *out < min || *out > max)
        return yaml_fail(r, at, node, "integer `%.40s` is out of range %" PRId64 "..%" PRId64, node->text,
                         min, max);
    return 0;
}

int yaml_read_u32(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                  uint32_t max, uint32_t *out)
{
    int64_t v = 0;
    if (read_integer(r, at, node, 0, max, &v))
        return -1;
    *out = (uint32_t)v;
    return 0;
}

static int read_field(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                      const struct yaml_field *f, void *msg)
{
    void *field = (char *)msg + f->offset;
    int64_t v = 0;
    bool flag = false;
    switch (f->type) {
    case YAML_FIELD_STRING:
        *(char **)field = yaml_read_string(r, at, node);
        return *(char **)field ? 0 : -1;
    case YAML_FIELD_BOOL:
        if (!yaml_node_bool(node, &flag))
            return yaml_expected(r, at, node, "true or false");
        *(protobuf_c_boolean *)field = flag;
        return 0;
    case YAML_FIELD_U32:
        return yaml_read_u32(r, at, node, UINT32_MAX, field);
    case YAML_FIELD_U16:
        return yaml_read_u32(r, at, node, UINT16_MAX, field);
    case YAML_FIELD_I32:
        if (read_integer(r, at, node, INT32_MIN, INT32_MAX, &v))
            return -1;
        *(int32_t *)field = (int32_t)v;
        return 0;
    case YAML_FIELD_STRINGS:
        return yaml_read_strings(r, at, node, field, (size_t *)((char *)field - sizeof(size_t)));
    case YAML_FIELD_CUSTOM:
        return f->read(r, at, node, msg);
    }
    return -1;
}

static int unknown_key(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *key,
                       const struct yaml_field *fields, size_t n)
{
    cleanup_buf struct os_buf known = {0};
    for (size_t i = 0; i < n; i++)
        os_buf_addf(&known, "%s%s", i ? ", " : "", fields[i].key);
    return yaml_fail(r, at, key, "unknown key `%.80s`, expected one of: %s", key->text, os_buf_str(&known));
}

/* Stanzas that a data file, too, must spell right. */
static int read_member(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                       const struct yaml_field *f, void *msg)
{
    static const char *const strict[] = {"mcp", "json_rpc", "network_middlewares"};
    bool loose = r->loose;
    for (size_t i = 0; i < OS_ARRAY_LEN(strict); i++)
        r->loose = r->loose && strcmp(f->key, strict[i]) != 0;
    int rc = read_field(r, at, node, f, msg);
    r->loose = loose;
    return rc;
}

int yaml_read_object(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                     const struct yaml_field *fields, size_t n, void *msg)
{
    if (node->kind != YAML_MAP)
        return yaml_expected(r, at, node, "a mapping");
    uint64_t seen = 0;
    for (const struct yaml_node *key = node->first; key; key = key->next->next) {
        size_t i = 0;
        while (i < n && strcmp(fields[i].key, key->text) != 0)
            i++;
        if (i == n && r->loose)
            continue;
        if (i == n)
            return unknown_key(r, at, key, fields, n);
        if (seen & (UINT64_C(1) << i))
            return yaml_fail(r, at, key, "duplicate key `%s`", key->text);
        seen |= UINT64_C(1) << i;
        struct yaml_path here = {.up = at, .key = fields[i].key};
        if (read_member(r, &here, key->next, &fields[i], msg))
            return -1;
    }
    for (size_t i = 0; i < n && (at || !r->loose); i++) {
        if (fields[i].required && !(seen & (UINT64_C(1) << i)))
            return yaml_fail(r, at, node, "missing key `%s`", fields[i].key);
    }
    return 0;
}

int yaml_read_list(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                   const ProtobufCMessageDescriptor *type, yaml_read_fn *read, void *list, size_t *n)
{
    if (node->kind != YAML_LIST)
        return yaml_expected(r, at, node, "a list");
    void **items = os_arena_alloc(r->arena, node->n * sizeof(void *));
    size_t i = 0;
    for (const struct yaml_node *item = node->first; item; item = item->next, i++) {
        struct yaml_path here = {.up = at, .index = i};
        items[i] = policy_message_new(r->arena, type);
        if (read(r, &here, item, items[i]))
            return -1;
    }
    *(void ***)list = items;
    *n = i;
    return 0;
}

int yaml_read_map(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                  const ProtobufCMessageDescriptor *entry, const ProtobufCMessageDescriptor *type,
                  yaml_read_fn *read, void *list, size_t *n)
{
    if (node->kind != YAML_MAP)
        return yaml_expected(r, at, node, "a mapping");
    struct policy_map_entry **items = os_arena_alloc(r->arena, node->n * sizeof(*items));
    size_t i = 0;
    for (const struct yaml_node *key = node->first; key; key = key->next->next, i++) {
        struct yaml_path here = {.up = at, .key = key->text};
        items[i] = policy_message_new(r->arena, entry);
        items[i]->key = (char *)(uintptr_t)key->text;
        items[i]->value = policy_message_new(r->arena, type);
        if (read(r, &here, key->next, items[i]->value))
            return -1;
    }
    items = policy_map_sorted(r->arena, items, i);
    for (size_t k = 1; k < i; k++) {
        if (!strcmp(items[k]->key, items[k - 1]->key))
            return yaml_fail(r, at, node, "duplicate key `%.80s`", items[k]->key);
    }
    *(struct policy_map_entry ***)list = items;
    *n = i;
    return 0;
}
