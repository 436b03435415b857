/* Every answer that is not a success, letter by letter (spec/proxy.md 4.3, 5, 6.3). Each caller also emits
 * the event that goes with it. */
#include <jansson.h>
#include <string.h>

#include "core/str.h"
#include "supervisor/egress/internal.h"

static void send_answer(struct egress_stream *to, const char *status_line, const char *headers,
                        const char *body)
{
    cleanup_buf struct os_buf out = {0};
    os_buf_addf(&out, "HTTP/1.1 %s\r\n%s\r\n%s", status_line, headers, body);
    if (!out.failed && stream_send(to, out.data, out.len, OS_PROXY_HANDSHAKE_MS) == 0)
        stream_finish(to);
}

void deny_bare(struct egress_stream *to, const char *status_line)
{
    send_answer(to, status_line, "", "");
}

void deny_plain(struct egress_stream *to, const char *status_line, const char *text)
{
    cleanup_free char *headers = os_asprintf("Content-Length: %zu\r\n", strlen(text));
    send_answer(to, status_line, headers, text);
}

/* JSON text of bytes that need not be UTF-8 (paths of executables). */
static json_t *text(const char *s)
{
    cleanup_free char *copy = os_strdup(s);
    return json_string(os_utf8_force(copy, strlen(copy)));
}

/* Takes the value. */
static void put_json(struct deny_answer *a, const char *status_line, json_t *body)
{
    a->status_line = status_line;
    a->type = "application/json";
    a->body = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(body);
}

void deny_make_json(struct deny_answer *a, const char *status_line, const char *error, const char *detail,
                    const char *reason)
{
    json_t *body = json_object();
    json_object_set_new(body, "error", text(error));
    json_object_set_new(body, "detail", text(detail));
    if (reason && *reason)
        json_object_set_new(body, "reason", text(reason));
    a->detail = os_strdup(detail);
    put_json(a, status_line, body);
}

void deny_make_message(struct deny_answer *a, const char *status_line, const char *error, const char *message)
{
    json_t *body = json_object();
    json_object_set_new(body, "error", text(error));
    json_object_set_new(body, "message", text(message));
    a->detail = os_strdup(message);
    put_json(a, status_line, body);
}

/* A policy name is any YAML key; in a header only visible ASCII is left of it. */
static char *policy_value(const char *policy)
{
    cleanup_buf struct os_buf h = {0};
    for (const char *p = policy; *p; p++)
        os_buf_addc(&h, *p >= 0x20 && *p < 0x7f ? *p : '?');
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

/* git shows its user what it is answered in plain text, and of anything else the status alone. */
static bool is_git(const struct egress_request *r)
{
    const struct http1_field *agent = r->head ? http1_find(r->head, "user-agent", NULL) : NULL;
    return agent && agent->value.n > 4 && !memcmp(agent->value.p, "git/", 4);
}

void deny_make_request(struct deny_answer *a, const struct egress_request *r, const char *policy,
                       const char *detail)
{
    a->policy = policy_value(policy);
    a->detail = os_strdup(detail);
    if (is_git(r)) {
        a->status_line = "403 Forbidden";
        a->type = "text/plain";
        a->body = os_asprintf("openshell: %s (policy %s, host %s:%u)\n", detail, a->policy, r->conn->host,
                              r->conn->port);
        return;
    }
    json_t *body = json_object(), *missing = json_object();
    cleanup_free char *rule = os_asprintf("%s %s", r->method, r->path);
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
    put_json(a, "403 Forbidden", body);
}

void deny_make_middleware(struct deny_answer *a, const struct egress_request *r, bool forward,
                          const char *config, const char *reason_code)
{
    const char *policy = r->conn->l4.policy ? r->conn->l4.policy : "-";
    json_t *body = json_object();
    json_object_set_new(body, "error", text(config ? "middleware_denied" : "middleware_failed"));
    a->detail = os_strdup(config ? "Request rejected by configured middleware"
                                 : "Request could not be processed by configured middleware");
    json_object_set_new(body, "detail", text(a->detail));
    json_object_set_new(body, "policy", text(policy));
    if (config)
        json_object_set_new(body, "middleware", text(config));
    if (*reason_code)
        json_object_set_new(body, "reason_code", text(reason_code));
    if (!forward)
        set_request(body, r);
    put_json(a, "403 Forbidden", body);
    if (!forward)
        a->policy = policy_value(policy);
}

void deny_answer_free(struct deny_answer *a)
{
    free(a->policy);
    free(a->detail);
    free(a->body);
    *a = (struct deny_answer){0};
}

void deny_send(struct egress_stream *to, const struct deny_answer *a)
{
    if (!a->body)
        return;
    cleanup_buf struct os_buf headers = {0};
    os_buf_addf(&headers, "Content-Type: %s\r\nContent-Length: %zu\r\n", a->type, strlen(a->body));
    if (a->policy)
        os_buf_addf(&headers, "X-OpenShell-Policy: %s\r\n", a->policy);
    os_buf_adds(&headers, "Connection: close\r\n");
    send_answer(to, a->status_line, os_buf_str(&headers), a->body);
}

void deny_json(struct egress_stream *to, const char *status_line, const char *error, const char *detail,
               const char *reason)
{
    struct deny_answer a cleanup_answer = {0};
    deny_make_json(&a, status_line, error, detail, reason);
    deny_send(to, &a);
}

void deny_request(struct egress_stream *to, const struct egress_request *r, const char *policy,
                  const char *detail)
{
    struct deny_answer a cleanup_answer = {0};
    deny_make_request(&a, r, policy, detail);
    deny_send(to, &a);
}
