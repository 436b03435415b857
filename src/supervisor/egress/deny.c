/* Every answer that is not a success, letter by letter (spec/proxy.md 4.3, 5, 6.3). Each caller also emits
 * the event that goes with it. */
#include <jansson.h>
#include <string.h>

#include "core/str.h"
#include "supervisor/egress/internal.h"

static void answer(struct egress_stream *to, const char *status_line, const char *headers, const char *body)
{
    cleanup_buf struct os_buf out = {0};
    os_buf_addf(&out, "HTTP/1.1 %s\r\n%s\r\n%s", status_line, headers, body);
    if (!out.failed && stream_send(to, out.data, out.len, OS_PROXY_HANDSHAKE_MS) == 0)
        stream_finish(to);
}

void deny_bare(struct egress_stream *to, const char *status_line)
{
    answer(to, status_line, "", "");
}

void deny_plain(struct egress_stream *to, const char *status_line, const char *text)
{
    cleanup_free char *headers = os_asprintf("Content-Length: %zu\r\n", strlen(text));
    answer(to, status_line, headers, text);
}

/* JSON text of bytes that need not be UTF-8 (paths of executables). */
static json_t *text(const char *s)
{
    if (os_utf8_valid(s, strlen(s)))
        return json_string(s);
    cleanup_free char *copy = os_strdup(s);
    for (char *p = copy; *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    return json_string(copy);
}

static void send_json(struct egress_stream *to, const char *status_line, const char *more_headers,
                      json_t *body)
{
    cleanup_free char *json = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(body);
    if (!json)
        return;
    cleanup_free char *headers =
        os_asprintf("Content-Type: application/json\r\nContent-Length: %zu\r\n%sConnection: close\r\n",
                    strlen(json), more_headers);
    answer(to, status_line, headers, json);
}

void deny_json(struct egress_stream *to, const char *status_line, const char *error, const char *detail,
               const char *reason)
{
    json_t *body = json_object();
    json_object_set_new(body, "error", text(error));
    json_object_set_new(body, "detail", text(detail));
    if (reason && *reason)
        json_object_set_new(body, "reason", text(reason));
    send_json(to, status_line, "", body);
}

void deny_json_message(struct egress_stream *to, const char *status_line, const char *error,
                       const char *message)
{
    json_t *body = json_object();
    json_object_set_new(body, "error", text(error));
    json_object_set_new(body, "message", text(message));
    send_json(to, status_line, "", body);
}

/* A policy name is any YAML key; in a header only visible ASCII is left of it. */
static char *policy_header(const char *policy)
{
    cleanup_buf struct os_buf h = {0};
    os_buf_adds(&h, "X-OpenShell-Policy: ");
    for (const char *p = policy; *p; p++)
        os_buf_addc(&h, *p >= 0x20 && *p < 0x7f ? *p : '?');
    os_buf_adds(&h, "\r\n");
    return os_buf_take(&h);
}

static void set_request(json_t *o, const struct egress_request *r)
{
    const struct egress_conn *c = r->conn;
    json_object_set_new(o, "layer", text("l7"));
    json_object_set_new(o, "method", text(r->method));
    json_object_set_new(o, "path", text(r->path));
    json_object_set_new(o, "host", text(c->host));
    json_object_set_new(o, "port", json_integer(c->port));
    if (c->who.process.exe && *c->who.process.exe)
        json_object_set_new(o, "binary", text(c->who.process.exe));
}

void deny_request(struct egress_stream *to, const struct egress_request *r, const char *policy,
                  const char *detail)
{
    json_t *body = json_object(), *missing = json_object();
    cleanup_free char *rule = os_asprintf("%s %s", r->method, r->path);
    cleanup_free char *header = policy_header(policy);
    json_object_set_new(body, "error", text("policy_denied"));
    json_object_set_new(body, "policy", text(policy));
    json_object_set_new(body, "rule", text(rule));
    json_object_set_new(body, "detail", text(detail));
    json_object_set_new(body, "protocol", text("rest"));
    set_request(body, r);
    json_object_set_new(missing, "type", text("rest_allow"));
    set_request(missing, r);
    json_object_set_new(body, "rule_missing", missing);
    json_object_set_new(body, "next_steps", json_array());
    send_json(to, "403 Forbidden", header ? header : "", body);
}
