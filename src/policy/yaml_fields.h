/* Table-driven reading of YAML mappings into generated messages: strict keys, strict scalar types, errors
 * that name the full path. Private to src/policy. */
#ifndef POLICY_YAML_FIELDS_H
#define POLICY_YAML_FIELDS_H

#include "policy/model.h"
#include "policy/yaml_tree.h"

/* Where in the document we are, innermost first; lives on the stack. */
struct yaml_path {
    const struct yaml_path *up;
    const char *key; /* NULL = list element */
    size_t index;
};

struct yaml_reader {
    struct os_arena *arena;
    struct os_error *err;
    bool loose; /* a data file: unknown keys are left out, no key is required at the top */
};

/* at is the path of node itself. */
typedef int yaml_read_fn(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                         void *msg);

enum yaml_field_type {
    YAML_FIELD_STRING,
    YAML_FIELD_BOOL,
    YAML_FIELD_U32,
    YAML_FIELD_U16, /* stored as uint32_t */
    YAML_FIELD_I32,
    YAML_FIELD_STRINGS, /* repeated string; its count stands in front of it */
    YAML_FIELD_CUSTOM,
};

struct yaml_field {
    const char *key;
    enum yaml_field_type type;
    size_t offset;
    yaml_read_fn *read; /* YAML_FIELD_CUSTOM */
    bool required;
};

/* Short forms for the field tables and reader functions. */
#define SANDBOX(name) (&openshell__sandbox__v1__##name##__descriptor)
#define FIELD(type, message, name)                                                                           \
    {                                                                                                        \
#name, YAML_FIELD_##type, offsetof(message, name), NULL, false                                       \
    }
#define CUSTOM(name, fn)                                                                                     \
    {                                                                                                        \
        name, YAML_FIELD_CUSTOM, 0, fn, false                                                                \
    }
#define READ_ARGS struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node, void *msg

/* Sets the error "<path>: <text> at line L column C"; returns -1. */
int yaml_fail(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
              const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* "expected <want>, got <what node is>". */
int yaml_expected(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                  const char *want);
int yaml_read_object(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                     const struct yaml_field *fields, size_t n, void *msg);
/* NULL on error. */
char *yaml_read_string(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node);
int yaml_read_strings(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                      char ***list, size_t *n);
int yaml_read_u32(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                  uint32_t max, uint32_t *out);
/* A list of objects of one type, or a map of them sorted by key (entry is the type of the map entry). */
int yaml_read_list(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                   const ProtobufCMessageDescriptor *type, yaml_read_fn *read, void *list, size_t *n);
int yaml_read_map(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                  const ProtobufCMessageDescriptor *entry, const ProtobufCMessageDescriptor *type,
                  yaml_read_fn *read, void *list, size_t *n);

/* `network_middlewares` into the document msg. */
int yaml_read_middlewares(READ_ARGS);

#endif
