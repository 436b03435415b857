/* The published JSON form of audit events (spec/supervisor.md 15.3), and the daily file that keeps it. */
#ifndef SUPERVISOR_AUDIT_JSON_H
#define SUPERVISOR_AUDIT_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"
#include "supervisor/audit/audit.h"

/* Who reports; absent texts are NULL. Borrowed. */
struct audit_origin {
    const char *version, *sandbox_id, *sandbox_name, *hostname, *image;
};

/* Appends one object without line end, shorter than OS_AUDIT_JSON: texts that are too long for that are cut.
 * Texts that are not UTF-8 get '?' for the bytes in question. */
void audit_json(const struct audit_event *ev, const struct audit_origin *origin, int64_t time_ms,
                struct os_buf *out);

struct audit_json_file;
/* Lines go to <dir>/<prefix>.YYYY-MM-DD.log (UTC), the newest three files stay. Today's is made at once; it
 * stays empty until the sink is enabled. The texts of origin are copied. */
struct audit_json_file *audit_json_file_new(const char *dir, const char *prefix,
                                            const struct audit_origin *origin);
void audit_json_file_free(struct audit_json_file *f);
/* The setting ocsf_json_enabled. Any thread. */
void audit_json_file_enable(struct audit_json_file *f, bool on);
/* audit_sink; ctx is the struct audit_json_file. Any thread. */
void audit_json_file_sink(void *ctx, int64_t time_ms, const struct audit_event *ev, const char *shorthand);

#endif
