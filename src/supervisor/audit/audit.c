/* Audit: one event in, every sink told. Sinks are registered before threads start, so emitting takes no lock
 * here; each sink guards what it owns. */
#include "supervisor/audit/audit.h"

#include <stdlib.h>

#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"

struct sink {
    audit_sink *fn;
    void *ctx;
};

struct audit {
    struct sink *sinks;
    size_t n;
};

struct audit *audit_new(void)
{
    return os_calloc(1, sizeof(struct audit));
}

void audit_add_sink(struct audit *a, audit_sink *sink, void *ctx)
{
    a->sinks = os_realloc(a->sinks, a->n + 1, sizeof(*a->sinks));
    a->sinks[a->n++] = (struct sink){sink, ctx};
}

void audit_emit(struct audit *a, const struct audit_event *ev)
{
    cleanup_buf struct os_buf line = {.max = OS_AUDIT_LINE * 4};
    int64_t now = os_clock_ms();
    audit_shorthand(ev, &line);
    for (size_t i = 0; i < a->n; i++)
        a->sinks[i].fn(a->sinks[i].ctx, now, ev, os_buf_str(&line));
}

void audit_free(struct audit *a)
{
    if (!a)
        return;
    free(a->sinks);
    free(a);
}
