/* One audit event as an OCSF object. Every enum comes as <x>_id and its label; what is absent is left out. */
#include "supervisor/audit/json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "net/dns.h"

#define SCHEMA "1.8.0"
#define PRODUCT "OpenShell Sandbox Supervisor"
#define VENDOR "OpenShell"
#define PROXY_HOST "127.0.0.1"
#define IN_THE_MIDDLE 3 /* observation_point_id: neither source nor destination */
#define OTHER 99

struct label {
    int id;
    const char *text;
};

static const struct class
{
    int uid, category_uid, profiles;
    const char *name, *category;
} classes[] = {
#define AUDIT_CLASS(id, prefix, uid, name, category_uid, category, profiles)                                 \
    [AUDIT_##id] = {uid, category_uid, profiles, name, category},
#include "supervisor/audit/tbl/classes.h"
};
static const struct {
    enum audit_class cls;
    struct label label;
} activities[] = {
#define AUDIT_ACTIVITY(cls, id, name) {AUDIT_##cls, {id, name}},
#include "supervisor/audit/tbl/activities.h"
};
static const char *const profiles[] = {"container", "host", "security_control", "network_proxy"};
static const struct label severities[] = {{0, "Unknown"}, {1, "Informational"}, {2, "Low"},  {3, "Medium"},
                                          {4, "High"},    {5, "Critical"},      {6, "Fatal"}};
static const struct label actions[] = {{0}, {1, "Allowed"}, {2, "Denied"}, {3, "Observed"}, {4, "Modified"}};
static const struct label dispositions[] = {
    {0}, {1, "Allowed"}, {2, "Blocked"}, {15, "Detected"}, {17, "Logged"}};

/* --- values --- */

/* Text of bytes that need not be UTF-8 (paths, what peers sent). */
static json_t *text_value(const char *s)
{
    cleanup_free char *copy = os_strdup(s);
    return json_string(os_utf8_force(copy, strlen(copy)));
}

static void set_text(json_t *o, const char *key, const char *s)
{
    if (s && *s)
        json_object_set_new(o, key, text_value(s));
}

static void set_number(json_t *o, const char *key, json_int_t n)
{
    json_object_set_new(o, key, json_integer(n));
}

static void set_label(json_t *o, const char *key, struct label l)
{
    cleanup_free char *id = os_asprintf("%s_id", key);
    if (!l.text)
        return;
    set_number(o, id, l.id);
    set_text(o, key, l.text);
}

/* Adds the object unless it is empty. */
static void set_object(json_t *o, const char *key, json_t *value)
{
    if (json_object_size(value))
        json_object_set_new(o, key, value);
    else
        json_decref(value);
}

static bool known(const char *s)
{
    return s && *s && strcmp(s, "-") != 0;
}

/* --- every class --- */

static struct label activity(const struct audit_event *ev)
{
    struct label other = {OTHER, "Other"};
    const char *name = ev->cls == AUDIT_CONFIG ? "Log" : ev->activity;
    for (size_t i = 0; name && i < OS_ARRAY_LEN(activities); i++)
        if (activities[i].cls == ev->cls && os_str_eq_nocase(activities[i].label.text, name))
            return activities[i].label;
    return other;
}

static struct label status(const struct audit_event *ev)
{
    static const struct label success = {1, "Success"}, failure = {2, "Failure"};
    if (ev->action == AUDIT_DENIED || os_str_eq(ev->activity, "Fail") ||
        (ev->has_exit_code && ev->exit_code != 0))
        return failure;
    if (ev->action == AUDIT_ALLOWED || ev->has_exit_code || ev->cls == AUDIT_LIFECYCLE)
        return success;
    return (struct label){0};
}

static json_t *product(const struct audit_origin *origin)
{
    json_t *o = json_object();
    set_text(o, "name", PRODUCT);
    set_text(o, "vendor_name", VENDOR);
    set_text(o, "version", origin->version);
    return o;
}

static json_t *metadata(const struct class *c, const struct audit_origin *origin)
{
    json_t *o = json_object(), *list = json_array();
    for (int i = 0; i < c->profiles; i++)
        json_array_append_new(list, json_string(profiles[i]));
    set_text(o, "version", SCHEMA);
    json_object_set_new(o, "product", product(origin));
    json_object_set_new(o, "profiles", list);
    set_text(o, "uid", origin->sandbox_id);
    return o;
}

static void set_place(json_t *o, const struct audit_origin *origin)
{
    json_t *device = json_object(), *os = json_object(), *container = json_object(), *image = json_object();
    set_text(device, "hostname", origin->hostname);
    set_text(os, "name", "Linux");
    json_object_set_new(device, "os", os);
    json_object_set_new(o, "device", device);
    set_text(container, "name", origin->sandbox_name);
    set_text(container, "uid", origin->sandbox_id);
    set_text(image, "name", origin->image);
    set_object(container, "image", image);
    set_object(o, "container", container);
}

static void set_common(json_t *o, const struct audit_event *ev, const struct audit_origin *origin,
                       int64_t time_ms)
{
    const struct class *c = &classes[ev->cls];
    struct label a = activity(ev);
    cleanup_free char *type = os_asprintf("%s: %s", c->name, a.text);
    set_number(o, "class_uid", c->uid);
    set_text(o, "class_name", c->name);
    set_number(o, "category_uid", c->category_uid);
    set_text(o, "category_name", c->category);
    set_number(o, "activity_id", a.id);
    set_text(o, "activity_name", a.text);
    set_number(o, "type_uid", (json_int_t)c->uid * 100 + a.id);
    set_text(o, "type_name", type);
    set_number(o, "time", time_ms);
    set_label(o, "severity", severities[ev->severity < OS_ARRAY_LEN(severities) ? ev->severity : 0]);
    set_label(o, "status", status(ev));
    set_text(o, "message", ev->message);
    set_text(o, "status_detail", ev->detail);
    json_object_set_new(o, "metadata", metadata(c, origin));
    set_place(o, origin);
}

static void set_verdict(json_t *o, const struct audit_event *ev)
{
    set_label(o, "action", actions[ev->action]);
    set_label(o, "disposition", dispositions[ev->action]);
}

/* --- parts --- */

static json_t *endpoint(const char *host, uint16_t port)
{
    json_t *o = json_object();
    struct net_addr literal;
    if (known(host))
        set_text(o, net_addr_parse(host, &literal) == 0 ? "ip" : "domain", host);
    if (port)
        set_number(o, "port", port);
    return o;
}

/* The ancestors, parent first and joined by arrows, each inside the one before. */
static json_t *parents(const char *ancestors)
{
    cleanup_strv struct os_strv names = {0};
    json_t *o = NULL;
    for (const char *p = ancestors, *next; p; p = next) {
        const char *arrow = strstr(p, " -> ");
        os_strv_take(&names, arrow ? os_strndup(p, (size_t)(arrow - p)) : os_strdup(p));
        next = arrow ? arrow + strlen(" -> ") : NULL;
    }
    for (size_t i = names.n; i > 0; i--) {
        json_t *parent = json_object();
        set_text(parent, "name", names.v[i - 1]);
        if (o)
            json_object_set_new(parent, "parent_process", o);
        o = parent;
    }
    return o;
}

static json_t *process(const struct audit_event *ev)
{
    json_t *o = json_object();
    if (known(ev->process))
        set_text(o, "name", ev->process);
    if (ev->pid > 0)
        set_number(o, "pid", ev->pid);
    if (known(ev->cmdline))
        set_text(o, "cmd_line", ev->cmdline);
    if (known(ev->ancestors))
        json_object_set_new(o, "parent_process", parents(ev->ancestors));
    return o;
}

static void set_actor(json_t *o, const struct audit_event *ev)
{
    json_t *actor = json_object();
    set_object(actor, "process", process(ev));
    set_object(o, "actor", actor);
}

/* --- one class each --- */

static void set_network(json_t *o, const struct audit_event *ev)
{
    json_t *rule = json_object(), *connection = json_object();
    set_object(o, "src_endpoint", endpoint(ev->source, ev->source_port));
    set_object(o, "dst_endpoint", endpoint(ev->host, ev->port));
    json_object_set_new(o, "proxy_endpoint", endpoint(PROXY_HOST, OS_PROXY_PORT));
    set_actor(o, ev);
    set_text(rule, "name", ev->rule);
    set_text(rule, "type", ev->rule ? ev->rule_type : NULL);
    set_object(o, "firewall_rule", rule);
    set_verdict(o, ev);
    set_number(o, "observation_point_id", IN_THE_MIDDLE);
    json_object_set_new(o, "is_src_dst_assignment_known", json_true());
    set_text(connection, "protocol_name", ev->cls == AUDIT_NET ? ev->protocol : NULL);
    set_object(o, "connection_info", connection);
}

/* scheme://host[:port]/path, as the events carry it. */
static json_t *url(const struct audit_event *ev)
{
    json_t *o = json_object();
    const char *colon = strstr(ev->url, "://"), *path = colon ? strchr(colon + 3, '/') : NULL;
    cleanup_free char *scheme = colon ? os_strndup(ev->url, (size_t)(colon - ev->url)) : NULL;
    set_text(o, "scheme", scheme);
    set_text(o, "hostname", ev->host);
    set_text(o, "path", path);
    if (ev->port)
        set_number(o, "port", ev->port);
    return o;
}

static void set_http(json_t *o, const struct audit_event *ev)
{
    json_t *request = json_object();
    set_network(o, ev);
    set_text(request, "http_method", ev->activity);
    if (ev->url)
        json_object_set_new(request, "url", url(ev));
    set_object(o, "http_request", request);
}

static void set_ssh(json_t *o, const struct audit_event *ev)
{
    set_object(o, "src_endpoint", endpoint(ev->host, ev->port));
    set_actor(o, ev);
    set_verdict(o, ev);
}

static void set_process(json_t *o, const struct audit_event *ev)
{
    static const struct label spawn = {1, "Spawn"};
    json_object_set_new(o, "process", process(ev));
    if (os_str_eq(ev->activity, "Launch"))
        set_label(o, "launch_type", spawn);
    if (ev->has_exit_code)
        set_number(o, "exit_code", ev->exit_code);
    set_verdict(o, ev);
}

static void set_finding(json_t *o, const struct audit_event *ev)
{
    json_t *info = json_object(), *data = json_object();
    set_text(info, "uid", ev->finding_uid);
    set_text(info, "title", ev->title);
    set_text(info, "desc", ev->message);
    json_object_set_new(o, "finding_info", info);
    set_text(data, "dst_addr", ev->host);
    if (ev->host && ev->port)
        set_number(data, "dst_port", ev->port);
    set_text(data, "proto", ev->protocol);
    set_text(data, "binary", ev->process);
    if (ev->pid > 0)
        set_number(data, "binary_pid", ev->pid);
    set_text(data, "ancestors", ev->process ? ev->ancestors : NULL);
    if (json_object_size(data))
        json_object_set_new(o, "evidences", json_pack("[{s:O}]", "data", data));
    json_decref(data);
    json_object_set_new(o, "is_alert", json_true());
    set_verdict(o, ev);
}

static void set_config(json_t *o, const struct audit_event *ev)
{
    struct label state = {OTHER, ev->state};
    json_t *unmapped = json_object();
    if (os_str_eq(ev->state, "disabled"))
        state = (struct label){1, "Disabled"};
    else if (os_str_eq(ev->state, "enabled"))
        state = (struct label){2, "Enabled"};
    set_label(o, "state", state);
    set_text(unmapped, "policy_version", ev->policy_version);
    set_text(unmapped, "policy_hash", ev->policy_hash);
    set_object(o, "unmapped", unmapped);
}

/* Every text below the value gets at most max bytes, and "..." when something was cut. */
static void shorten(json_t *value, size_t max)
{
    const char *key;
    json_t *part;
    size_t i;
    json_object_foreach(value, key, part) shorten(part, max);
    json_array_foreach(value, i, part) shorten(part, max);
    if (!json_is_string(value) || json_string_length(value) <= max)
        return;
    cleanup_free char *text = os_strdup(json_string_value(value));
    size_t n = max;
    while (n && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--;
    text[n] = '\0';
    cleanup_free char *cut = os_asprintf("%s...", text);
    json_string_set(value, cut);
}

/* An agent chooses paths and names, and a reader counts on short lines: what is long is cut, more and more.
 */
static char *bounded_dump(json_t *o)
{
    static const size_t LIMITS[] = {1024, 384, 128, 32};
    char *line = json_dumps(o, JSON_COMPACT);
    for (size_t i = 0; i < OS_ARRAY_LEN(LIMITS) && line && strlen(line) >= OS_AUDIT_JSON; i++) {
        free(line);
        shorten(o, LIMITS[i]);
        line = json_dumps(o, JSON_COMPACT);
    }
    return line;
}

void audit_json(const struct audit_event *ev, const struct audit_origin *origin, int64_t time_ms,
                struct os_buf *out)
{
    json_t *o = json_object();
    set_common(o, ev, origin, time_ms);
    switch (ev->cls) {
    case AUDIT_NET:
        set_network(o, ev);
        break;
    case AUDIT_HTTP:
        set_http(o, ev);
        break;
    case AUDIT_SSH:
        set_ssh(o, ev);
        break;
    case AUDIT_PROC:
        set_process(o, ev);
        break;
    case AUDIT_FINDING:
        set_finding(o, ev);
        break;
    case AUDIT_CONFIG:
        set_config(o, ev);
        break;
    case AUDIT_LIFECYCLE:
        json_object_set_new(o, "app", product(origin));
        break;
    case AUDIT_API:
    case AUDIT_EVENT:
        break;
    }
    cleanup_free char *line = bounded_dump(o);
    json_decref(o);
    os_buf_adds(out, line ? line : "");
}
