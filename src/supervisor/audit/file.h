/* Audit lines that stay: a daily file (spec/supervisor.md 15.1). */
#ifndef SUPERVISOR_AUDIT_FILE_H
#define SUPERVISOR_AUDIT_FILE_H

#include "supervisor/audit/audit.h"

struct audit_file;

/* Lines go to <dir>/<prefix>.YYYY-MM-DD.log (UTC), the newest three files stay. Nothing is opened before the
 * first line; a line that cannot be written is dropped. */
struct audit_file *audit_file_new(const char *dir, const char *prefix);
void audit_file_free(struct audit_file *f);
/* Appends n bytes, whole lines, to the file of that day. Any thread. */
void audit_file_append(struct audit_file *f, int64_t time_ms, const char *lines, size_t n);
/* audit_sink; ctx is the struct audit_file. Appends "<timestamp> OCSF <shorthand>". Any thread. */
void audit_file_sink(void *ctx, int64_t time_ms, const struct audit_event *ev, const char *shorthand);
/* Appends "<timestamp> <LEVEL> <target>: <message>": a line of the program's log. Any thread. */
void audit_file_log(struct audit_file *f, int64_t time_ms, const char *level, const char *target,
                    const char *message);
/* The line of the text log, without line end. */
void audit_text_line(int64_t time_ms, const char *shorthand, struct os_buf *out);

#endif
