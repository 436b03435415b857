/* MCP: the table of params, ids and tool names. */
#include "net/jsonrpc/mcp.h"

#include <string.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "net/json/strict.h"

#define STRICT_NAME_TEXT "MCP tool name must match ^[A-Za-z0-9_.-]{1,128}$ when strict_tool_names is enabled"

enum type {
#define TYPE(name, text) name,
#include "net/jsonrpc/tbl/types.h"
#undef TYPE
};

static const char *const type_texts[] = {
#define TYPE(name, text) [name] = (text),
#include "net/jsonrpc/tbl/types.h"
#undef TYPE
};

enum { OPTIONAL, NEEDED };

static const struct rule {
    bool notification;
    const char *method, *object, *member;
    enum type type;
    int needed;
} rules[] = {
#define REQUEST(...) {false, __VA_ARGS__},
#define NOTIFICATION(...) {true, __VA_ARGS__},
#include "net/jsonrpc/tbl/params.h"
#undef REQUEST
#undef NOTIFICATION
};

static bool is_level(const char *s)
{
#define LEVEL(name)                                                                                          \
    if (!strcmp(s, #name))                                                                                   \
        return true;
#include "net/jsonrpc/tbl/levels.h"
#undef LEVEL
    return false;
}

static bool is_strings(json_t *v)
{
    const char *key;
    json_t *item;
    json_object_foreach(v, key, item)
    {
        if (!json_is_string(item))
            return false;
    }
    return json_is_object(v);
}

static bool is_reference(const json_t *v)
{
    const char *type = json_string_value(json_object_get(v, "type"));
    if (os_str_eq(type, "ref/prompt"))
        return json_is_string(json_object_get(v, "name"));
    return os_str_eq(type, "ref/resource") && json_is_string(json_object_get(v, "uri"));
}

static bool is_unsigned(const json_t *v)
{
    /* Beyond 64 bits it came as a real (net/json/strict.h). */
    if (json_is_real(v))
        return json_real_value(v) >= 0 && json_real_value(v) < 0x1p64;
    return json_is_integer(v) && json_integer_value(v) >= 0;
}

static bool has_type(json_t *v, enum type type)
{
    switch (type) {
    case STRING:
        return json_is_string(v);
    case OBJECT:
        return json_is_object(v);
    case NUMBER:
        return json_is_number(v);
    case UNSIGNED:
        return is_unsigned(v);
    case STRING_OR_INTEGER:
        return json_is_string(v) || strict_json_is_integer(v);
    case STRINGS:
        return is_strings(v);
    case LEVEL:
        return json_is_string(v) && is_level(json_string_value(v));
    case REFERENCE:
        return is_reference(v);
    }
    return false;
}

/* Returns what is wrong, NULL when the rule holds. */
static const char *check_member(const struct rule *r, json_t *params, struct os_arena *arena)
{
    bool nested = *r->object != '\0';
    json_t *object = nested ? json_object_get(params, r->object) : params;
    json_t *v = json_object_get(object, r->member);
    if (!r->needed && (!v || json_is_null(v)))
        return NULL;
    if (has_type(v, r->type))
        return NULL;
    return os_arena_printf(arena, "%s: '%s%s%s' must be %s", r->method, r->object, nested ? "." : "",
                           r->member, type_texts[r->type]);
}

/* _meta, which any checked method may have. */
static const char *check_meta(const char *method, json_t *params, struct os_arena *arena)
{
    const struct rule meta = {false, method, "", "_meta", OBJECT, OPTIONAL};
    const struct rule token = {false, method, "_meta", "progressToken", STRING_OR_INTEGER, OPTIONAL};
    const char *wrong = check_member(&meta, params, arena);
    return wrong ? wrong : check_member(&token, params, arena);
}

static const char *check_params(const char *method, bool notification, json_t *params, struct os_arena *arena)
{
    bool known = false;
    for (size_t i = 0; i < OS_ARRAY_LEN(rules); i++) {
        const struct rule *r = &rules[i];
        if (r->notification != notification || strcmp(r->method, method) != 0)
            continue;
        if (params && !json_is_object(params) && !json_is_null(params))
            return "params must be an object";
        const char *wrong = known ? NULL : check_meta(method, params, arena);
        if (!wrong)
            wrong = check_member(r, params, arena);
        if (wrong)
            return wrong;
        known = true;
    }
    return NULL;
}

static bool is_strict_name(const char *s)
{
    size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");
    return n >= 1 && n <= 128 && !s[n];
}

static const char *read_tool(json_t *params, bool strict, struct os_arena *arena, struct jsonrpc_call *call)
{
    static const char *const names[] = {"name"};
    const char *of, *key = strict_json_lookalike(params, names, 1, &of);
    if (key)
        return os_arena_printf(arena, "MCP params member '%s' differs from '%s' only in case",
                               strict_json_excerpt(arena, key), of);
    const char *tool = json_string_value(json_object_get(params, "name"));
    if (strict && !is_strict_name(tool))
        return STRICT_NAME_TEXT;
    call->tool = os_arena_strdup(arena, tool);
    return NULL;
}

const char *mcp_check_call(json_t *message, bool strict_tool_names, struct os_arena *arena,
                           struct jsonrpc_call *call)
{
    const json_t *id = json_object_get(message, "id");
    if (id && !json_is_string(id) && !strict_json_is_integer(id))
        return "invalid MCP request: id must be a string or an integer";
    json_t *params = json_object_get(message, "params");
    /* A server may run a tool call that has no id: it is checked as one that has. */
    bool tool = !strcmp(call->method, "tools/call");
    const char *wrong = check_params(call->method, !id && !tool, params, arena);
    if (wrong)
        return os_arena_printf(arena, "invalid MCP %s params: %s", id ? "request" : "notification", wrong);
    return tool ? read_tool(params, strict_tool_names, arena, call) : NULL;
}
