/* Per-sandbox rings of log lines and platform events (spec/gateway.md 7), in memory. Writers on any thread;
 * readers pull by sequence number, so a slow reader never holds memory: it finds out that it fell behind. */
#ifndef GATEWAY_LOGBUS_H
#define GATEWAY_LOGBUS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/arena.h"
#include "openshell.pb-c.h"

struct logbus;

/* Called after each append, from the appending thread. */
typedef void logbus_poke_fn(void *ctx, const char *sandbox_id);

struct logbus *logbus_new(logbus_poke_fn *poke, void *ctx);
void logbus_free(struct logbus *b);
/* A line of more than OS_LOG_LINE bytes is cut and loses its fields. */
void logbus_add_line(struct logbus *b, const char *sandbox_id, const Openshell__V1__SandboxLogLine *line);
void logbus_add_event(struct logbus *b, const char *sandbox_id, const Openshell__V1__PlatformEvent *event);
/* Frees what is kept of a sandbox for good: lines and events that still come for it are not kept. */
void logbus_drop(struct logbus *b, const char *sandbox_id);

enum logbus_kind { LOGBUS_LINES, LOGBUS_EVENTS };
/* Sequence number the next entry will get (starts at 0). */
uint64_t logbus_head(struct logbus *b, const char *sandbox_id, enum logbus_kind kind);
/* Copies up to max entries from *seq on into the arena and advances *seq past them. *lost = entries that were
 * overwritten before they were read. */
size_t logbus_read(struct logbus *b, const char *sandbox_id, enum logbus_kind kind, uint64_t *seq, size_t max,
                   struct os_arena *a, ProtobufCMessage **out, uint64_t *lost);

/* Published filter (7): source list and minimum level; NULL/empty passes all. */
struct logbus_filter {
    char *const *sources;
    size_t n_sources;
    const char *min_level;
    int64_t since_ms;
};
bool logbus_passes(const struct logbus_filter *f, const Openshell__V1__SandboxLogLine *line);

#endif
