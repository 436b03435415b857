/* Block-style YAML of the object that policy_to_json makes. Strings are quoted exactly when they would read
 * back as something else. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "core/str.h"
#include "policy/model.h"
#include "policy/yaml_tree.h"

static bool alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool reads_back_plain(const char *s, size_t n)
{
    if (n == 0 || strlen(s) != n || yaml_plain_type(s) != YAML_STRING || !strcmp(s, "<<"))
        return false;
    if (!alnum(s[0]) && s[0] != '/' && s[0] != '_')
        return false;
    for (size_t i = 0; i < n; i++) {
        bool inner_colon = s[i] == ':' && i + 1 < n && s[i + 1] != ' ';
        bool inner_space = s[i] == ' ' && i + 1 < n && alnum(s[i + 1]);
        if (!alnum(s[i]) && !strchr("_-./*@+=~$", s[i]) && !inner_colon && !inner_space)
            return false;
    }
    return true;
}

static void put_string(struct os_buf *out, const char *s, size_t n)
{
    if (reads_back_plain(s, n)) {
        os_buf_add(out, s, n);
        return;
    }
    os_buf_addc(out, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\')
            os_buf_addf(out, "\\%c", c);
        else if (c == '\n')
            os_buf_adds(out, "\\n");
        else if (c == '\t')
            os_buf_adds(out, "\\t");
        else if (c < 0x20 || c == 0x7f)
            os_buf_addf(out, "\\x%02x", c);
        else if (c == 0xc2 && (unsigned char)s[i + 1] < 0xa0)
            os_buf_addf(out, "\\x%02x", (unsigned char)s[++i]); /* C1 controls and NEL */
        else if (c == 0xe2 && !memcmp(s + i, "\xe2\x80\xa8", 3))
            os_buf_adds(out, "\\u2028"), i += 2;
        else if (c == 0xe2 && !memcmp(s + i, "\xe2\x80\xa9", 3))
            os_buf_adds(out, "\\u2029"), i += 2;
        else if (c == 0xef && !memcmp(s + i, "\xef\xbb\xbf", 3))
            os_buf_adds(out, "\\ufeff"), i += 2;
        else if (c == 0xef && !memcmp(s + i, "\xef\xbf\xbe", 3))
            os_buf_adds(out, "\\ufffe"), i += 2;
        else if (c == 0xef && !memcmp(s + i, "\xef\xbf\xbf", 3))
            os_buf_adds(out, "\\uffff"), i += 2;
        else
            os_buf_addc(out, (char)c);
    }
    os_buf_addc(out, '"');
}

static void put_scalar(struct os_buf *out, const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_STRING:
        put_string(out, json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
        os_buf_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        break;
    case JSON_REAL:
        os_buf_addf(out, "%.17g", json_real_value(v));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        os_buf_adds(out, json_is_true(v) ? "true" : "false");
        break;
    default:
        os_buf_adds(out, "null");
        break;
    }
}

static void indent(struct os_buf *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        os_buf_addc(out, ' ');
}

static void put_block(struct os_buf *out, json_t *v, size_t depth, bool started);

/* Value behind "key:" or "-": on the same line when it fits there. */
static void put_value(struct os_buf *out, json_t *v, size_t depth, bool in_list)
{
    bool container = json_is_object(v) || json_is_array(v);
    if (!container) {
        os_buf_addc(out, ' ');
        put_scalar(out, v);
        os_buf_addc(out, '\n');
    } else if (json_array_size(v) + json_object_size(v) == 0) {
        os_buf_adds(out, json_is_object(v) ? " {}\n" : " []\n");
    } else if (in_list) {
        os_buf_addc(out, ' ');
        put_block(out, v, depth + 2, true);
    } else {
        os_buf_addc(out, '\n');
        put_block(out, v, json_is_array(v) ? depth : depth + 2, false);
    }
}

/* started: the first line already stands at the right column. */
static void put_block(struct os_buf *out, json_t *v, size_t depth, bool started)
{
    const char *key;
    json_t *child;
    size_t i;
    if (json_is_array(v)) {
        json_array_foreach(v, i, child)
        {
            indent(out, started && i == 0 ? 0 : depth);
            os_buf_addc(out, '-');
            put_value(out, child, depth, true);
        }
        return;
    }
    json_object_foreach(v, key, child)
    {
        indent(out, started ? 0 : depth);
        started = false;
        put_string(out, key, strlen(key));
        os_buf_addc(out, ':');
        put_value(out, child, depth, false);
    }
}

void policy_yaml_print(const policy_doc *doc, struct os_buf *out)
{
    json_t *o = policy_to_json(doc);
    put_block(out, o, 0, false);
    json_decref(o);
}
