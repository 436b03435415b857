/* The daily JSON log: one object per line, written while the setting says so. */
#include <stdatomic.h>
#include <stdlib.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"
#include "supervisor/audit/file.h"
#include "supervisor/audit/json.h"

struct audit_json_file {
    struct audit_file *file;
    atomic_bool enabled;
    char *texts[5]; /* what origin points to */
    struct audit_origin origin;
};

static const char *keep(struct audit_json_file *f, size_t i, const char *text)
{
    f->texts[i] = text ? os_strdup(text) : NULL;
    return f->texts[i];
}

struct audit_json_file *audit_json_file_new(const char *dir, const char *prefix,
                                            const struct audit_origin *origin)
{
    struct audit_json_file *f = os_calloc(1, sizeof(*f));
    f->file = audit_file_new(dir, prefix);
    f->origin = (struct audit_origin){.version = keep(f, 0, origin->version),
                                      .sandbox_id = keep(f, 1, origin->sandbox_id),
                                      .sandbox_name = keep(f, 2, origin->sandbox_name),
                                      .hostname = keep(f, 3, origin->hostname),
                                      .image = keep(f, 4, origin->image)};
    audit_file_append(f->file, os_clock_ms(), "", 0);
    return f;
}

void audit_json_file_free(struct audit_json_file *f)
{
    if (!f)
        return;
    audit_file_free(f->file);
    for (size_t i = 0; i < OS_ARRAY_LEN(f->texts); i++)
        free(f->texts[i]);
    free(f);
}

void audit_json_file_enable(struct audit_json_file *f, bool on)
{
    atomic_store(&f->enabled, on);
}

void audit_json_file_sink(void *ctx, int64_t time_ms, const struct audit_event *ev, const char *shorthand)
{
    (void)shorthand;
    struct audit_json_file *f = ctx;
    cleanup_buf struct os_buf line = {.max = OS_AUDIT_JSON + 1}; /* and its line end */
    if (!atomic_load(&f->enabled))
        return;
    audit_json(ev, &f->origin, time_ms, &line);
    os_buf_addc(&line, '\n');
    if (!line.failed)
        audit_file_append(f->file, time_ms, line.data, line.len);
}
