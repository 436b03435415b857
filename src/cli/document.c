/* -o json and -o yaml: the same value, keys sorted (spec/cli.md 1.5). */
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "cli/text.h"
#include "core/cleanup.h"
#include "core/str.h"

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* jansson escapes controls below 0x20 but passes DEL, C1 and bidi characters: those are spelled as \uXXXX. */
static void write_string(struct os_buf *out, const json_t *v)
{
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    char *plain = json_dumps(v, JSON_ENCODE_ANY);
    cleanup_buf struct os_buf clean = {0};
    if (plain)
        text_clean(&clean, plain, strlen(plain), false);
    os_buf_adds(out, plain && strcmp(plain, os_buf_str(&clean)) == 0 ? plain : text ? text : "null");
    free(text);
    free(plain);
}

static void spaces(struct os_buf *out, size_t n)
{
    while (n--)
        os_buf_addc(out, ' ');
}

static const char **sorted_keys(const json_t *object, size_t *n)
{
    const char *key;
    json_t *value;
    const char **keys = os_calloc(json_object_size(object) + 1, sizeof(*keys));
    *n = 0;
    json_object_foreach((json_t *)object, key, value) keys[(*n)++] = key;
    qsort(keys, *n, sizeof(*keys), by_name);
    return keys;
}

static void json_value(const json_t *v, size_t depth, struct os_buf *out)
{
    bool object = json_is_object(v);
    if (json_is_string(v)) {
        write_string(out, v);
        return;
    }
    if (!object && !json_is_array(v)) {
        char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        os_buf_adds(out, text ? text : "null");
        free(text);
        return;
    }
    size_t n = object ? json_object_size(v) : json_array_size(v);
    if (!n) {
        os_buf_adds(out, object ? "{}" : "[]");
        return;
    }
    cleanup_free const char **keys = object ? sorted_keys(v, &n) : NULL;
    os_buf_adds(out, object ? "{\n" : "[\n");
    for (size_t i = 0; i < n; i++) {
        spaces(out, 2 * depth + 2);
        if (object) {
            json_t *key = json_string_nocheck(keys[i]);
            write_string(out, key);
            json_decref(key);
            os_buf_adds(out, ": ");
        }
        json_value(object ? json_object_get(v, keys[i]) : json_array_get(v, i), depth + 1, out);
        os_buf_adds(out, i + 1 < n ? ",\n" : "\n");
    }
    spaces(out, 2 * depth);
    os_buf_adds(out, object ? "}" : "]");
}

void json_format(const json_t *value, struct os_buf *out)
{
    json_value(value, 0, out);
    os_buf_addc(out, '\n');
}

/* Plain only where no YAML 1.1 or 1.2 reader can take the text for something else. */
static bool yaml_plain(const char *s)
{
    static const char *const words[] = {"null", "true", "false", "yes", "no", "on",
                                        "off",  "y",    "n",     "nan", "inf"};
    for (size_t i = 0; i < OS_ARRAY_LEN(words); i++)
        if (os_str_eq_nocase(s, words[i]))
            return false;
    if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/", *s) || !*s)
        return false;
    return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.-")] == '\0';
}

static void yaml_scalar(const json_t *v, struct os_buf *out)
{
    if (json_is_string(v) && yaml_plain(json_string_value(v)))
        os_buf_adds(out, json_string_value(v));
    else
        json_value(v, 0, out); /* a JSON scalar, {} and [] are YAML as well */
}

static bool yaml_nests(const json_t *v)
{
    return (json_is_object(v) && json_object_size(v)) || (json_is_array(v) && json_array_size(v));
}

/* The first line continues where the caller stands; the others start at column `indent`. */
static void yaml_value(const json_t *v, size_t indent, struct os_buf *out)
{
    bool object = json_is_object(v);
    size_t n = object ? 0 : json_array_size(v);
    cleanup_free const char **keys = object ? sorted_keys(v, &n) : NULL;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = object ? json_object_get(v, keys[i]) : json_array_get(v, i);
        if (i)
            spaces(out, indent);
        if (!object) {
            os_buf_adds(out, "- ");
            if (yaml_nests(item))
                yaml_value(item, indent + 2, out);
        } else {
            json_t *key = json_string_nocheck(keys[i]);
            yaml_scalar(key, out);
            json_decref(key);
            os_buf_addc(out, ':');
            if (yaml_nests(item)) {
                size_t inner = json_is_object(item) ? indent + 2 : indent;
                os_buf_addc(out, '\n');
                spaces(out, inner);
                yaml_value(item, inner, out);
            } else {
                os_buf_addc(out, ' ');
            }
        }
        if (!yaml_nests(item)) {
            yaml_scalar(item, out);
            os_buf_addc(out, '\n');
        }
    }
}

void yaml_format(const json_t *value, struct os_buf *out)
{
    if (yaml_nests(value)) {
        yaml_value(value, 0, out);
        return;
    }
    yaml_scalar(value, out);
    os_buf_addc(out, '\n');
}

void document_print(json_t *value, const char *format)
{
    cleanup_buf struct os_buf b = {0};
    if (strcmp(format, "yaml") == 0)
        yaml_format(value, &b);
    else
        json_format(value, &b);
    fwrite(os_buf_str(&b), 1, b.len, stdout);
    json_decref(value);
}
