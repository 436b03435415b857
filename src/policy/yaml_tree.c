/* libyaml events to a bounded tree. First stage of reading a policy: text -> tree -> message. */
#include "policy/yaml_tree.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"

struct builder {
    struct os_arena *arena;
    struct os_error *err;
    size_t nodes;
    struct yaml_node *open[OS_LIMIT_POLICY_DEPTH]; /* lists and maps being read */
    struct yaml_node *last[OS_LIMIT_POLICY_DEPTH]; /* last child of each */
    size_t children[OS_LIMIT_POLICY_DEPTH];
    size_t depth;
    struct yaml_node *root;
};

static int refuse(struct builder *b, const yaml_event_t *e, const char *what)
{
    return os_error_set(b->err, OS_INVALID_ARGUMENT, "line %zu column %zu: %s", e->start_mark.line + 1,
                        e->start_mark.column + 1, what);
}

static bool digits(const char *s, const char *set)
{
    return *s && s[strspn(s, set)] == '\0';
}

static bool is_float(const char *s)
{
    static const char dec[] = "0123456789";
    if (*s == '+' || *s == '-')
        s++;
    if (!strcmp(s, ".inf") || !strcmp(s, ".Inf") || !strcmp(s, ".INF"))
        return true;
    size_t whole = strspn(s, dec);
    s += whole;
    size_t fraction = 0;
    if (*s == '.') {
        fraction = strspn(++s, dec);
        s += fraction;
    }
    if (whole + fraction == 0)
        return false;
    if (*s == 'e' || *s == 'E') {
        s++;
        if (*s == '+' || *s == '-')
            s++;
        return digits(s, dec);
    }
    return *s == '\0';
}

enum yaml_scalar yaml_plain_type(const char *s)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    static const char *const bools[] = {"true", "True", "TRUE", "false", "False", "FALSE"};
    static const char *const nans[] = {".nan", ".NaN", ".NAN"};
    for (size_t i = 0; i < OS_ARRAY_LEN(nulls); i++) {
        if (!strcmp(s, nulls[i]))
            return YAML_NULL;
    }
    for (size_t i = 0; i < OS_ARRAY_LEN(bools); i++) {
        if (!strcmp(s, bools[i]))
            return YAML_BOOL;
    }
    for (size_t i = 0; i < OS_ARRAY_LEN(nans); i++) {
        if (!strcmp(s, nans[i]))
            return YAML_FLOAT;
    }
    if (digits(s + (*s == '+' || *s == '-'), "0123456789") ||
        (os_str_starts(s, "0x") && digits(s + 2, "0123456789abcdefABCDEF")) ||
        (os_str_starts(s, "0o") && digits(s + 2, "01234567")))
        return YAML_INT;
    return is_float(s) ? YAML_FLOAT : YAML_STRING;
}

const char *yaml_node_what(const struct yaml_node *node)
{
    static const char *const scalars[] = {"nothing", "a boolean", "an integer", "a number", "a string"};
    if (node->kind == YAML_SCALAR)
        return scalars[node->scalar];
    return node->kind == YAML_LIST ? "a list" : "a mapping";
}

bool yaml_node_bool(const struct yaml_node *node, bool *out)
{
    if (node->kind != YAML_SCALAR || node->scalar != YAML_BOOL)
        return false;
    *out = node->text[0] == 't' || node->text[0] == 'T';
    return true;
}

bool yaml_node_int(const struct yaml_node *node, int64_t *out)
{
    if (node->kind != YAML_SCALAR || node->scalar != YAML_INT)
        return false;
    const char *s = node->text;
    int base = 10;
    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'o')) {
        base = s[1] == 'x' ? 16 : 8;
        s += 2;
    }
    errno = 0;
    *out = strtoll(s, NULL, base);
    return errno == 0;
}

bool yaml_node_double(const struct yaml_node *node, double *out)
{
    int64_t whole;
    if (yaml_node_int(node, &whole)) {
        *out = (double)whole;
        return true;
    }
    if (node->kind != YAML_SCALAR || (node->scalar != YAML_FLOAT && node->scalar != YAML_INT))
        return false;
    if (!strpbrk(node->text, "0123456789"))
        return false; /* .inf, .nan */
    *out = strtod(node->text, NULL);
    if (*out == 0)
        *out = 0; /* no negative zero: it has no text form of its own */
    return isfinite(*out);
}

/* Puts a node into the innermost open list or map. */
static int add(struct builder *b, const yaml_event_t *e, struct yaml_node *node)
{
    if (b->depth == 0) {
        b->root = node;
        return 0;
    }
    size_t top = b->depth - 1;
    struct yaml_node *parent = b->open[top];
    bool is_key = parent->kind == YAML_MAP && b->children[top] % 2 == 0;
    if (is_key && node->kind != YAML_SCALAR)
        return refuse(b, e, "a mapping key must be a scalar");
    if (is_key && !strcmp(node->text, "<<"))
        return refuse(b, e, "merge keys (<<) are not supported");
    if (b->last[top])
        b->last[top]->next = node;
    else
        parent->first = node;
    b->last[top] = node;
    b->children[top]++;
    if (parent->kind == YAML_LIST || is_key)
        parent->n++;
    return 0;
}

static int add_new(struct builder *b, const yaml_event_t *e, struct yaml_node value)
{
    if (++b->nodes > OS_LIMIT_POLICY_NODES)
        return refuse(b, e, "the document has too many elements");
    value.line = e->start_mark.line + 1;
    value.column = e->start_mark.column + 1;
    struct yaml_node *node = os_arena_memdup(b->arena, &value, sizeof(value));
    if (add(b, e, node))
        return -1;
    if (node->kind == YAML_SCALAR)
        return 0;
    if (b->depth == OS_LIMIT_POLICY_DEPTH)
        return refuse(b, e, "the document is nested too deep");
    b->open[b->depth] = node;
    b->last[b->depth] = NULL;
    b->children[b->depth++] = 0;
    return 0;
}

static int add_scalar(struct builder *b, const yaml_event_t *e)
{
    const char *text = (const char *)e->data.scalar.value;
    size_t n = e->data.scalar.length;
    if (e->data.scalar.anchor)
        return refuse(b, e, "anchors are not supported");
    if (e->data.scalar.tag)
        return refuse(b, e, "tags are not supported");
    if (memchr(text, '\0', n))
        return refuse(b, e, "a string contains a null character");
    bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    text = os_arena_strndup(b->arena, text, n);
    return add_new(b, e,
                   (struct yaml_node){.kind = YAML_SCALAR,
                                      .text = text,
                                      .scalar = plain ? yaml_plain_type(text) : YAML_STRING});
}

static int add_event(struct builder *b, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return add_scalar(b, e);
    case YAML_ALIAS_EVENT:
        return refuse(b, e, "aliases are not supported");
    case YAML_SEQUENCE_START_EVENT:
        if (e->data.sequence_start.anchor)
            return refuse(b, e, "anchors are not supported");
        if (e->data.sequence_start.tag)
            return refuse(b, e, "tags are not supported");
        return add_new(b, e, (struct yaml_node){.kind = YAML_LIST});
    case YAML_MAPPING_START_EVENT:
        if (e->data.mapping_start.anchor)
            return refuse(b, e, "anchors are not supported");
        if (e->data.mapping_start.tag)
            return refuse(b, e, "tags are not supported");
        return add_new(b, e, (struct yaml_node){.kind = YAML_MAP});
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        b->depth--;
        return 0;
    case YAML_DOCUMENT_START_EVENT:
        return b->root ? refuse(b, e, "only one document is allowed") : 0;
    default:
        return 0;
    }
}

static int syntax_error(const yaml_parser_t *p, struct os_error *err)
{
    const char *problem = p->problem ? p->problem : "not valid YAML";
    const char *gap = p->context ? " " : "";
    const char *context = p->context ? p->context : "";
    if (p->error == YAML_READER_ERROR)
        return os_error_set(err, OS_INVALID_ARGUMENT, "byte %zu: %s", p->problem_offset, problem);
    return os_error_set(err, OS_INVALID_ARGUMENT, "line %zu column %zu: %s%s%s", p->problem_mark.line + 1,
                        p->problem_mark.column + 1, problem, gap, context);
}

static int read_events(yaml_parser_t *p, struct builder *b)
{
    for (;;) {
        yaml_event_t e;
        if (!yaml_parser_parse(p, &e))
            return syntax_error(p, b->err);
        bool end = e.type == YAML_STREAM_END_EVENT;
        int rc = add_event(b, &e);
        yaml_event_delete(&e);
        if (rc || end)
            return rc;
    }
}

struct yaml_node *yaml_tree_parse(struct os_arena *arena, const char *text, size_t n, struct os_error *err)
{
    if (n > OS_LIMIT_POLICY_YAML) {
        os_error_set(err, OS_INVALID_ARGUMENT, "the document is too large (%zu > %d bytes)", n,
                     OS_LIMIT_POLICY_YAML);
        return NULL;
    }
    struct builder b = {.arena = arena, .err = err};
    yaml_parser_t p;
    if (!yaml_parser_initialize(&p)) {
        os_error_set(err, OS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&p, (const unsigned char *)text, n);
    int rc = read_events(&p, &b);
    yaml_parser_delete(&p);
    if (rc)
        return NULL;
    if (!b.root)
        os_error_set(err, OS_INVALID_ARGUMENT, "line 1 column 1: the document is empty");
    return b.root;
}
