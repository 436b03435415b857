/* Reader of /proc/<pid>/mountinfo. */
#include "drivers/local/mountinfo.h"

#include <stdbool.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/str.h"

static bool octal(char c)
{
    return c >= '0' && c <= '7';
}

/* "\040" is a blank, in place. */
static void unescape(char *s)
{
    char *out = s;
    while (*s) {
        if (s[0] == '\\' && octal(s[1]) && octal(s[2]) && octal(s[3])) {
            *out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 4;
        } else {
            *out++ = *s++;
        }
    }
    *out = '\0';
}

/* "id parent major:minor root point options [optional...] - type source super" */
static bool parse(char *line, struct mountinfo *m)
{
    char *field[6], *save = NULL, *dash = strstr(line, " - ");
    if (!dash)
        return false;
    *dash = '\0';
    for (int i = 0; i < 6; i++)
        if (!(field[i] = strtok_r(i ? NULL : line, " ", &save)))
            return false;
    char *type = strtok_r(dash + 3, " ", &save), *source = strtok_r(NULL, " ", &save);
    char *super = strtok_r(NULL, " ", &save);
    if (!type || !source)
        return false;
    unescape(field[3]);
    unescape(field[4]);
    *m = (struct mountinfo){field[3], field[4], type, super ? super : ""};
    return true;
}

void mountinfo_each(const char *text, mountinfo_fn *fn, void *ctx)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        cleanup_free char *line = os_strndup(text, n);
        struct mountinfo m;
        if (parse(line, &m))
            fn(ctx, &m);
        text += n + (text[n] == '\n');
    }
}
