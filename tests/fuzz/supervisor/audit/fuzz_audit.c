/* Any texts in an event: the shorthand stays one short printable line, the JSON form one short object that
 * parses. */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/arena.h"
#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "supervisor/audit/audit.h"
#include "supervisor/audit/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const char *p;
    size_t n;
    struct os_arena *arena;
};

static unsigned byte(struct input *in)
{
    if (!in->n)
        return 0;
    in->n--;
    return (unsigned char)*in->p++;
}

/* Up to the next NUL; NULL for nothing. */
static const char *text(struct input *in)
{
    size_t n = strnlen(in->p, in->n);
    const char *s = n ? os_arena_strndup(in->arena, in->p, n) : NULL;
    in->p += n + (n < in->n);
    in->n -= n + (n < in->n);
    return s;
}

/* URLs are made by the proxy: scheme, host, path. */
static const char *url(struct input *in)
{
    const char *rest = text(in);
    return rest ? os_arena_printf(in->arena, "https://%s", rest) : NULL;
}

static void check_line(const struct audit_event *ev)
{
    cleanup_buf struct os_buf line = {0};
    audit_shorthand(ev, &line);
    const char *s = os_buf_str(&line);
    if (line.failed || strlen(s) != line.len || !os_utf8_valid(s, line.len))
        abort();
    for (size_t i = 0; i < line.len; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
            abort();
}

static void check_json(const struct audit_event *ev, const struct audit_origin *origin)
{
    cleanup_buf struct os_buf line = {0};
    audit_json(ev, origin, 1767225600123, &line);
    if (line.failed || !line.len || line.len >= OS_AUDIT_JSON || memchr(line.data, '\n', line.len))
        abort();
    json_t *o = json_loadb(line.data, line.len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(o) || !json_is_integer(json_object_get(o, "class_uid")))
        abort();
    json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_arena struct os_arena arena = {0};
    struct input in = {(const char *)data, size, &arena};
    if (size > 65536)
        return 0;
    struct audit_event ev = {
        .cls = byte(&in) % (AUDIT_EVENT + 1),
        .severity = byte(&in) % (AUDIT_SEV_FATAL + 1),
        .action = byte(&in) % (AUDIT_MODIFIED + 1),
        .pid = (int32_t)byte(&in),
        .port = (uint16_t)byte(&in),
        .source_port = (uint16_t)byte(&in),
        .has_exit_code = byte(&in) & 1,
    };
    const char **const texts[] = {&ev.activity, &ev.state,   &ev.process,  &ev.ancestors,   &ev.cmdline,
                                  &ev.source,   &ev.host,    &ev.protocol, &ev.rule,        &ev.rule_type,
                                  &ev.detail,   &ev.message, &ev.title,    &ev.finding_uid, &ev.policy_hash};
    for (size_t i = 0; i < OS_ARRAY_LEN(texts); i++)
        *texts[i] = text(&in);
    ev.url = url(&in);
    const struct audit_origin origin = {
        .version = "1", .sandbox_id = text(&in), .sandbox_name = text(&in), .hostname = text(&in)};
    check_line(&ev);
    check_json(&ev, &origin);
    return 0;
}
