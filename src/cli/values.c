/* Value forms of flags. */
#include "cli/values.h"

#include <ctype.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/str.h"

#define INVALID(err, ...) os_error_set(err, OS_INVALID_ARGUMENT, __VA_ARGS__)

int value_duration(const char *text, int64_t *ms, struct os_error *err)
{
    size_t n = strlen(text);
    uint64_t count;
    int64_t unit;
    if (!n)
        return INVALID(err, "empty duration string");
    switch (text[n - 1]) {
    case 's':
        unit = 1000;
        break;
    case 'm':
        unit = 60 * 1000;
        break;
    case 'h':
        unit = 60 * 60 * 1000;
        break;
    default:
        if (isdigit((unsigned char)text[n - 1]))
            return INVALID(err, "invalid duration: %s (expected e.g. 5m, 1h, 30s)", text);
        return INVALID(err, "unknown duration unit: %s (use s, m, or h)", text + strspn(text, "0123456789"));
    }
    if (!os_str_u64n(text, n - 1, (uint64_t)(INT64_MAX / unit), &count))
        return INVALID(err, "invalid duration: %s (expected e.g. 5m, 1h, 30s)", text);
    *ms = (int64_t)count * unit;
    return 0;
}

bool value_pair(const char *text, size_t *key_len, const char **value)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return false;
    *key_len = (size_t)(equals - text);
    *value = equals + 1;
    return true;
}

static bool env_key(const char *key, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool letter = (key[i] >= 'A' && key[i] <= 'Z') || (key[i] >= 'a' && key[i] <= 'z') || key[i] == '_';
        if (!letter && (i == 0 || key[i] < '0' || key[i] > '9'))
            return false;
    }
    return n > 0;
}

/* Messages never repeat what may be a value: the text is cut at '='. */
int value_env(const char *text, size_t *key_len, const char **value, struct os_error *err)
{
    const char *equals = strchr(text, '=');
    if (!equals)
        return INVALID(err, "--env expects KEY=VALUE, got '%s'", text);
    size_t n = (size_t)(equals - text);
    if (!env_key(text, n))
        return INVALID(err, "--env key must match [A-Za-z_][A-Za-z0-9_]*; got '%.*s'", (int)n, text);
    if (os_str_starts(text, "OPENSHELL_"))
        return INVALID(err, "--env keys starting with OPENSHELL_ are reserved; got '%.*s'", (int)n, text);
    *key_len = n;
    *value = equals + 1;
    return 0;
}

bool value_env_is_credential(const char *key, size_t n)
{
    static const char *const words[] = {"_token_",      "_secret_",     "_password_", "_credential_",
                                        "_access_key_", "_secret_key_", "_api_key_"};
    cleanup_free char *framed = os_asprintf("_%.*s_", (int)n, key);
    os_str_lower(framed);
    for (size_t i = 0; i < OS_ARRAY_LEN(words); i++)
        if (strstr(framed, words[i]))
            return true;
    return false;
}

int value_label(const char *text, size_t *key_len, const char **value, struct os_error *err)
{
    if (value_pair(text, key_len, value))
        return 0;
    return INVALID(err, "invalid label format '%s', expected key=value", text);
}

static bool only_zero(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] >= '1' && text[i] <= '9')
            return false;
    return true;
}

int value_cpu(const char *text, struct os_error *err)
{
    size_t n = strlen(text), digits = strspn(text, "0123456789"), fraction = 0;
    bool ok;
    if (!n)
        return INVALID(err, "--cpu must not be empty");
    if (text[digits] == '.') {
        fraction = strspn(text + digits + 1, "0123456789");
        ok = digits && fraction && !text[digits + 1 + fraction];
    } else {
        ok = digits && (!text[digits] || strcmp(text + digits, "m") == 0);
    }
    if (!ok)
        return INVALID(
            err,
            "invalid --cpu value '%s': expected positive cores or millicores, for example 2, 0.5, or 500m",
            text);
    if (only_zero(text, n))
        return INVALID(err, "--cpu must be greater than zero");
    return 0;
}

int value_memory(const char *text, struct os_error *err)
{
    static const char *const units[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "K", "M", "G", "T", "P", "E"};
    size_t digits = strspn(text, "0123456789");
    bool ok = false;
    for (size_t i = 0; digits && i < OS_ARRAY_LEN(units); i++)
        ok |= strcmp(text + digits, units[i]) == 0;
    if (!ok)
        return INVALID(
            err,
            "invalid --memory value '%s': expected positive bytes or a quantity such as 512Mi, 4Gi, or 8G",
            text);
    if (only_zero(text, digits))
        return INVALID(err, "--memory must be greater than zero");
    return 0;
}
