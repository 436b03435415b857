/* One YAML document as a plain tree with positions: what a policy may consist of and nothing else (no
 * anchors, aliases, tags, merge keys or second documents). Private to src/policy. */
#ifndef POLICY_YAML_TREE_H
#define POLICY_YAML_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/error.h"

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };
enum yaml_scalar { YAML_NULL, YAML_BOOL, YAML_INT, YAML_FLOAT, YAML_STRING };

struct yaml_node {
    enum yaml_kind kind;
    size_t line, column;     /* 1-based */
    const char *text;        /* scalar */
    enum yaml_scalar scalar; /* YAML 1.2 core schema; quoted text is always a string */
    size_t n;                /* list items or map entries */
    struct yaml_node *first; /* children; in a map each value stands behind its key */
    struct yaml_node *next;
};

/* Depth, nodes and size are bounded. NULL on error, err naming line and column, without prefix. */
struct yaml_node *yaml_tree_parse(struct os_arena *arena, const char *text, size_t n, struct os_error *err);
/* How messages call a node: "a list", "a boolean", ... */
const char *yaml_node_what(const struct yaml_node *node);
/* Scalar type of plain text. */
enum yaml_scalar yaml_plain_type(const char *text);
/* Values; false when the node is of another type or the number does not fit. */
bool yaml_node_bool(const struct yaml_node *node, bool *out);
bool yaml_node_int(const struct yaml_node *node, int64_t *out);
bool yaml_node_double(const struct yaml_node *node, double *out);

#endif
