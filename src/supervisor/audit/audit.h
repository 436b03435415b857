/* OCSF audit events (spec/supervisor.md 15): one struct in, the published shorthand line out; json.h
 * makes the other published form. Any thread. Secrets, placeholders, queries and bodies never get in here. */
#ifndef SUPERVISOR_AUDIT_H
#define SUPERVISOR_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"

enum audit_class {
#define AUDIT_CLASS(id, ...) AUDIT_##id,
#include "supervisor/audit/tbl/classes.h"
};

enum audit_severity {
    AUDIT_SEV_INFO = 1,
    AUDIT_SEV_LOW,
    AUDIT_SEV_MEDIUM,
    AUDIT_SEV_HIGH,
    AUDIT_SEV_CRITICAL,
    AUDIT_SEV_FATAL,
};

enum audit_action { AUDIT_ACTION_NONE, AUDIT_ALLOWED, AUDIT_DENIED, AUDIT_OBSERVED, AUDIT_MODIFIED };

/* Absent texts are NULL, absent numbers 0. Everything is borrowed for the call. */
struct audit_event {
    enum audit_class cls;
    const char *activity; /* "Open", "Refuse", "Listen", "Launch"...; for HTTP the method */
    enum audit_severity severity;
    enum audit_action action;
    const char *state;   /* CONFIG label: "loaded", "probed" ... */
    const char *process; /* executable path */
    int32_t pid;
    const char *ancestors, *cmdline; /* already joined; NULL = unknown */
    const char *source;              /* address the connection comes from */
    uint16_t source_port;
    const char *host;
    uint16_t port;
    const char *protocol;         /* "tcp", "udp" */
    const char *url;              /* HTTP: scheme://host[:port]/path, query removed */
    const char *rule, *rule_type; /* policy name ("-" when none) and "opa", "ssrf", "l7", ... */
    const char *detail;           /* status_detail: the reason */
    const char *message;
    const char *finding_uid, *title;
    int32_t exit_code;
    bool has_exit_code;
    /* CONFIG suffix keys; NULL = absent */
    const char *policy_version, *policy_hash;
};

struct audit;

/* Receives every line: shorthand without timestamp. Must not block. */
typedef void audit_sink(void *ctx, int64_t time_ms, const struct audit_event *ev, const char *shorthand);

struct audit *audit_new(void);
void audit_add_sink(struct audit *a, audit_sink *sink, void *ctx); /* before threads start */
void audit_emit(struct audit *a, const struct audit_event *ev);
void audit_free(struct audit *a);

/* The shorthand form alone (spec/supervisor.md 15.4); pure, unit-tested. */
void audit_shorthand(const struct audit_event *ev, struct os_buf *out);

#endif
