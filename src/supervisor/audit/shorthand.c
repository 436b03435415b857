/* The published one-line form of an event (spec/supervisor.md 15.4). Texts come from hostile places (paths,
 * host names, reasons): each is cut to its limit and leaves here as printable UTF-8 on one line. */
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "supervisor/audit/audit.h"

static const char *const tags[] = {"INFO", "INFO", "LOW", "MED", "HIGH", "CRIT", "FATAL"};
static const char *const actions[] = {NULL, "ALLOWED", "DENIED", "OBSERVED", "MODIFIED"};
static const char *const dispositions[] = {NULL, "ALLOWED", "BLOCKED", "DETECTED", "LOGGED"};
static const char *const prefixes[] = {
#define AUDIT_CLASS(id, prefix, ...) [AUDIT_##id] = prefix,
#include "supervisor/audit/tbl/classes.h"
};

/* Length of the UTF-8 sequence at p (of n bytes), 0 when it is not one or is a control character. */
static size_t printable(const char *p, size_t n)
{
    unsigned char c = (unsigned char)p[0];
    if (c < 0x80)
        return c >= 0x20 && c != 0x7f;
    size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (len > n || !os_utf8_valid(p, len))
        return 0;
    return len == 2 && c == 0xc2 && (unsigned char)p[1] < 0xa0 ? 0 : len;
}

/* Appends at most max bytes of s, then "..." when something was cut; max 0 = OS_AUDIT_TEXT. Line breaks and
 * tabs become spaces, other unprintable bytes '?'. */
static void add_text(struct os_buf *out, const char *s, size_t max)
{
    size_t limit = max ? max : OS_AUDIT_TEXT, n = strlen(s), at = 0;
    while (at < n) {
        size_t len = printable(s + at, n - at), step = len ? len : 1;
        if (at + step > limit) {
            os_buf_adds(out, "...");
            return;
        }
        if (len)
            os_buf_add(out, s + at, len);
        else
            os_buf_addc(out, strchr("\r\n\t", s[at]) ? ' ' : '?');
        at += step;
    }
}

static void add_upper(struct os_buf *out, const char *s)
{
    size_t from = out->len;
    add_text(out, s, 64);
    for (size_t i = from; i < out->len; i++)
        if (out->data[i] >= 'a' && out->data[i] <= 'z')
            out->data[i] = (char)(out->data[i] - 32);
}

/* "PREFIX:WORD [TAG]" */
static void add_start(struct os_buf *out, const struct audit_event *ev, const char *word)
{
    os_buf_adds(out, prefixes[ev->cls]);
    if (word) {
        os_buf_addc(out, ':');
        add_upper(out, word);
    }
    unsigned severity = ev->severity < OS_ARRAY_LEN(tags) ? ev->severity : 0;
    os_buf_addf(out, " [%s]", tags[severity]);
}

static void add_action(struct os_buf *out, const struct audit_event *ev)
{
    if (ev->action)
        os_buf_addf(out, " %s", actions[ev->action]);
}

static void add_process(struct os_buf *out, const struct audit_event *ev)
{
    os_buf_addc(out, ' ');
    add_text(out, ev->process, 0);
    if (ev->pid > 0)
        os_buf_addf(out, "(%d)", (int)ev->pid);
}

static void add_endpoint(struct os_buf *out, const struct audit_event *ev)
{
    os_buf_addc(out, ' ');
    bool ipv6 = strchr(ev->host, ':') != NULL;
    os_buf_adds(out, ipv6 ? "[" : "");
    add_text(out, ev->host, 0);
    os_buf_adds(out, ipv6 ? "]" : "");
    if (ev->port)
        os_buf_addf(out, ":%u", ev->port);
}

/* " [policy:P engine:T]" and, for denials, " [reason:R]"; true when something was added. */
static bool add_verdict(struct os_buf *out, const struct audit_event *ev)
{
    size_t before = out->len;
    if (ev->rule) {
        os_buf_adds(out, " [policy:");
        add_text(out, ev->rule, 0);
        os_buf_adds(out, " engine:");
        add_text(out, ev->rule_type ? ev->rule_type : "-", 0);
        os_buf_addc(out, ']');
    }
    const char *reason = ev->detail ? ev->detail : ev->message;
    if (ev->action == AUDIT_DENIED && reason && *reason) {
        os_buf_adds(out, " [reason:");
        add_text(out, reason, 256);
        os_buf_addc(out, ']');
    }
    return out->len > before;
}

static void add_message(struct os_buf *out, const struct audit_event *ev)
{
    os_buf_adds(out, " [msg:");
    add_text(out, ev->message, 120);
    os_buf_addc(out, ']');
}

static void network(const struct audit_event *ev, struct os_buf *out)
{
    add_start(out, ev, ev->activity ? ev->activity : "Other");
    add_action(out, ev);
    size_t before = out->len;
    if (ev->process)
        add_process(out, ev);
    if (ev->process && ev->host)
        os_buf_adds(out, " ->");
    if (ev->host)
        add_endpoint(out, ev);
    if (ev->host && ev->protocol) {
        os_buf_addc(out, '/');
        add_text(out, ev->protocol, 64);
    }
    bool shown = out->len > before;
    shown |= add_verdict(out, ev);
    if (ev->message && (!shown || os_str_eq(ev->detail, "transparent_tcp_allowed")))
        add_message(out, ev);
}

static void http(const struct audit_event *ev, struct os_buf *out)
{
    const char *method = ev->activity ? ev->activity : "UNKNOWN";
    add_start(out, ev, method);
    add_action(out, ev);
    if (ev->process) {
        add_process(out, ev);
        os_buf_adds(out, " ->");
    }
    os_buf_addc(out, ' ');
    add_text(out, method, 64);
    if (ev->url) {
        os_buf_addc(out, ' ');
        add_text(out, ev->url, 0);
    }
    add_verdict(out, ev);
    if (ev->message && ev->action != AUDIT_DENIED && os_str_eq(ev->rule_type, "l7-mcp"))
        add_message(out, ev);
}

static void ssh(const struct audit_event *ev, struct os_buf *out)
{
    add_start(out, ev, ev->activity ? ev->activity : "Other");
    add_action(out, ev);
    if (ev->host)
        add_endpoint(out, ev);
}

static void process(const struct audit_event *ev, struct os_buf *out)
{
    add_start(out, ev, ev->activity ? ev->activity : "Other");
    if (ev->process)
        add_process(out, ev);
    if (ev->has_exit_code)
        os_buf_addf(out, " [exit:%d]", (int)ev->exit_code);
    if (ev->cmdline) {
        os_buf_adds(out, " [cmd:");
        add_text(out, ev->cmdline, 256);
        os_buf_addc(out, ']');
    }
}

/* Title of a finding: cut at 120 bytes, quotes and backslashes escaped, control characters as \u{hex}. */
static void add_title(struct os_buf *out, const char *s)
{
    size_t n = strlen(s), at = 0;
    while (at < n) {
        size_t len = printable(s + at, n - at), step = len ? len : 1;
        if (at + step > 120) {
            os_buf_adds(out, "...");
            return;
        }
        if (s[at] == '"' || s[at] == '\\')
            os_buf_addf(out, "\\%c", s[at]);
        else if (len)
            os_buf_add(out, s + at, len);
        else if (s[at] == '\n' || s[at] == '\r' || s[at] == '\t')
            os_buf_adds(out, s[at] == '\n' ? "\\n" : s[at] == '\r' ? "\\r" : "\\t");
        else
            os_buf_addf(out, "\\u{%x}", (unsigned char)s[at]);
        at += step;
    }
}

static void finding(const struct audit_event *ev, struct os_buf *out)
{
    const char *word = ev->action ? dispositions[ev->action] : ev->activity;
    add_start(out, ev, word ? word : "Create");
    os_buf_adds(out, " \"");
    add_title(out, ev->title ? ev->title : "");
    os_buf_adds(out, "\" [type:");
    add_text(out, ev->finding_uid ? ev->finding_uid : "-", 0);
    os_buf_addc(out, ']');
}

static void config(const struct audit_event *ev, struct os_buf *out)
{
    add_start(out, ev, ev->state ? ev->state : "Other");
    if (ev->message) {
        os_buf_addc(out, ' ');
        add_text(out, ev->message, 0);
    }
    if (!ev->policy_version && !ev->policy_hash)
        return;
    os_buf_adds(out, " [");
    if (ev->policy_version) {
        os_buf_adds(out, "version:");
        add_text(out, ev->policy_version, 256);
    }
    if (ev->policy_hash) {
        os_buf_adds(out, ev->policy_version ? " hash:" : "hash:");
        add_text(out, ev->policy_hash, 256);
    }
    os_buf_addc(out, ']');
}

static void plain(const struct audit_event *ev, struct os_buf *out)
{
    add_start(out, ev, NULL);
    if (ev->message) {
        os_buf_addc(out, ' ');
        add_text(out, ev->message, 0);
    }
}

void audit_shorthand(const struct audit_event *ev, struct os_buf *out)
{
    switch (ev->cls) {
    case AUDIT_NET:
        network(ev, out);
        break;
    case AUDIT_HTTP:
        http(ev, out);
        break;
    case AUDIT_SSH:
        ssh(ev, out);
        break;
    case AUDIT_PROC:
        process(ev, out);
        break;
    case AUDIT_FINDING:
        finding(ev, out);
        break;
    case AUDIT_CONFIG:
        config(ev, out);
        break;
    case AUDIT_LIFECYCLE:
        add_start(out, ev, ev->activity ? ev->activity : "Other");
        os_buf_adds(out, " OpenShell Sandbox Supervisor success");
        break;
    case AUDIT_API:
        add_start(out, ev, ev->activity ? ev->activity : "Other");
        if (ev->message) {
            os_buf_adds(out, " [");
            add_text(out, ev->message, 256);
            os_buf_addc(out, ']');
        }
        break;
    case AUDIT_EVENT:
        plain(ev, out);
        break;
    }
}
