/* Questions to the policy agent. What it has to know (the rules, the questions, the policy as data) it gets
 * from here, again whenever it turns out to be a new one or the policy has changed. */
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "policy/data.h"
#include "policy/input.h"
#include "supervisor/rules/internal.h"

#define LOG_TARGET "supervisor::rules"
#define UNAVAILABLE "policy engine unavailable"
#define DENIED "request denied by policy"

/* What is asked. The generation in every answer tells a restarted agent, and one with an older policy. */
static const char questions[] =
    "package openshell.supervisor\n"
    "import rego.v1\n"
    "default authorization := null\n"
    "authorization := data.openshell.sandbox.egress_authorization\n"
    "default allowed := false\n"
    "allowed := data.openshell.sandbox.allow_request\n"
    "default reason := \"\"\n"
    "reason := data.openshell.sandbox.request_deny_reason\n"
    "connection := {\"generation\": data.openshell_generation, \"authorization\": authorization}\n"
    "requests := {\"generation\": data.openshell_generation, \"answers\": [{\"allow\": a, \"reason\": why} "
    "|\n"
    "  some r in input.requests\n"
    "  a := allowed with input.request as r\n"
    "  why := reason with input.request as r]}\n";

struct rules {
    char *socket;
    const char *text;
    size_t n;
    struct policy_extra extra;
    pthread_mutex_t lock; /* data and generation; one push at a time */
    char *data;           /* JSON patch that puts the policy in place */
    uint64_t generation;
};

/* --- what the agent has to know --- */

static void add_member(json_t *patch, const char *key, json_t *value)
{
    cleanup_free char *path = os_asprintf("/%s", key);
    json_t *op = json_object();
    json_object_set_new(op, "op", json_string("add"));
    json_object_set_new(op, "path", json_string(path));
    json_object_set(op, "value", value);
    json_array_append_new(patch, op);
}

void rules_set_policy(struct rules *r, const policy_doc *doc, const struct policy_compile_options *opt)
{
    json_t *data = policy_data(doc, opt), *patch = json_array(), *value;
    const char *key;
    json_object_set_new(data, "openshell_generation", json_integer((json_int_t)opt->generation));
    json_object_foreach(data, key, value)
    {
        add_member(patch, key, value);
    }
    char *text = json_dumps(patch, JSON_COMPACT);
    json_decref(patch);
    json_decref(data);
    pthread_mutex_lock(&r->lock);
    free(r->data);
    r->data = text;
    r->generation = opt->generation;
    pthread_mutex_unlock(&r->lock);
}

/* The compiler's complaint out of an error answer. */
static int complain(const char *what, const struct os_buf *answer, int status, struct os_error *err)
{
    json_t *o = json_loadb(answer->data ? answer->data : "", answer->len, 0, NULL);
    const json_t *first = json_array_get(json_object_get(o, "errors"), 0);
    const char *text = json_string_value(json_object_get(first ? first : o, "message"));
    json_int_t row = json_integer_value(json_object_get(json_object_get(first, "location"), "row"));
    os_error_set(err, status >= 500 ? OS_UNAVAILABLE : OS_INVALID_ARGUMENT, "%s, line %lld: %s", what,
                 (long long)row, text ? text : "refused by the policy agent");
    json_decref(o);
    return -1;
}

static int put(const struct rules *r, const char *what, const char *method, const char *path,
               const char *type, const char *body, size_t n, struct os_error *err)
{
    cleanup_buf struct os_buf answer = {0};
    int status = rules_exchange(r->socket, method, path, type, body, n, &answer, err);
    if (status < 0)
        return -1;
    return status / 100 == 2 ? 0 : complain(what, &answer, status, err);
}

/* Holding the lock. The policy comes last: its generation says that everything is there. */
static int push(const struct rules *r, struct os_error *err)
{
    if (!r->data)
        return os_error_set(err, OS_UNAVAILABLE, "no policy has been received from the gateway yet");
    if (put(r, "--policy-rules", "PUT", "/v1/policies/rules.rego", "text/plain", r->text, r->n, err) < 0 ||
        put(r, "questions", "PUT", "/v1/policies/questions.rego", "text/plain", questions,
            sizeof(questions) - 1, err) < 0)
        return -1;
    return put(r, "policy data", "PATCH", "/v1/data", "application/json-patch+json", r->data, strlen(r->data),
               err);
}

/* --- questions --- */

/* "result" of the answer, when it was given under the newest policy. */
static json_t *ask_once(struct rules *r, const char *path, const char *body, struct os_error *err)
{
    cleanup_buf struct os_buf answer = {0};
    int status =
        rules_exchange(r->socket, "POST", path, "application/json", body, strlen(body), &answer, err);
    if (status < 0)
        return NULL;
    json_t *o = json_loadb(os_buf_str(&answer), answer.len, 0, NULL);
    json_t *result = json_incref(json_object_get(o, "result"));
    json_decref(o);
    pthread_mutex_lock(&r->lock);
    uint64_t want = r->generation;
    pthread_mutex_unlock(&r->lock);
    const json_t *got = json_object_get(result, "generation");
    if (json_is_integer(got) && (uint64_t)json_integer_value(got) == want)
        return result;
    json_decref(result);
    os_error_set(err, OS_UNAVAILABLE, "the policy agent does not know the policy (status %d)", status);
    return NULL;
}

static json_t *ask(struct rules *r, const char *path, json_t *input)
{
    struct os_error cleanup_error err = {0};
    json_t *body = json_object();
    json_object_set_new(body, "input", input);
    cleanup_free char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    json_t *result = text ? ask_once(r, path, text, &err) : NULL;
    if (result || !text)
        return result;
    pthread_mutex_lock(&r->lock);
    int pushed = push(r, &err);
    pthread_mutex_unlock(&r->lock);
    if (pushed == 0)
        result = ask_once(r, path, text, &err);
    if (!result)
        os_log_warn(LOG_TARGET, UNAVAILABLE ": %s", os_error_text(&err));
    return result;
}

static const char *text_of(const json_t *o, const char *key, const char *otherwise)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s && *s ? s : otherwise;
}

/* Element of matched_endpoints: {"policy_name": key, "endpoint_index": i}. */
static bool is_named(void *list, const char *key, size_t i)
{
    const json_t *m;
    size_t at;
    json_array_foreach(list, at, m)
    {
        const json_t *index = json_object_get(m, "endpoint_index");
        if (json_is_integer(index) && json_integer_value(index) == (json_int_t)i &&
            !strcmp(text_of(m, "policy_name", ""), key))
            return true;
    }
    return false;
}

/* Rules that decide alone say under which endpoints; without that nobody would know what to look into. */
static enum policy_opinion choose(const json_t *a, const struct policy_engine *e, struct policy_l4 *l4,
                                  struct os_buf *reason)
{
    json_t *list = json_object_get(a, "matched_endpoints");
    if (!json_is_array(list)) {
        os_buf_adds(reason, "the rules name no matched_endpoints");
        return POLICY_EXTRA_UNAVAILABLE;
    }
    policy_l4_choose(e, l4, is_named, list);
    if (l4->n_matched != json_array_size(list)) {
        os_buf_adds(
            reason,
            "the rules name matched_endpoints that the policy data does not have for this destination");
        return POLICY_EXTRA_UNAVAILABLE;
    }
    l4->declared_host = json_is_true(json_object_get(a, "exact_declared_endpoint_host"));
    return POLICY_EXTRA_ALLOW;
}

static enum policy_opinion ask_connection(void *ctx, const struct policy_engine *e, const char *host,
                                          uint16_t port, const struct policy_process *who,
                                          struct policy_l4 *l4, struct os_buf *reason)
{
    const struct rules *r = ctx;
    json_t *result = ask(ctx, "/v1/data/openshell/supervisor/connection", policy_input(host, port, who));
    if (!result) {
        os_buf_adds(reason, UNAVAILABLE);
        return POLICY_EXTRA_UNAVAILABLE;
    }
    const json_t *a = json_object_get(result, "authorization");
    bool allow = !strcmp(text_of(a, "action", ""), "allow");
    if (!allow)
        os_buf_adds(reason, text_of(a, "deny_reason", "network connections not allowed by policy"));
    enum policy_opinion opinion = allow ? POLICY_EXTRA_ALLOW : POLICY_EXTRA_DENY;
    if (allow && r->extra.alone)
        opinion = choose(a, e, l4, reason);
    else
        l4->declared_host &= json_is_true(json_object_get(a, "exact_declared_endpoint_host"));
    json_decref(result);
    return opinion;
}

static enum policy_opinion ask_request(void *ctx, const char *host, uint16_t port,
                                       const struct policy_process *who, const struct policy_http *req,
                                       struct os_buf *reason)
{
    json_t *input = policy_input(host, port, who), *requests = policy_input_requests(req);
    size_t n = json_array_size(requests), i;
    json_object_set_new(input, "requests", requests);
    json_t *result = ask(ctx, "/v1/data/openshell/supervisor/requests", input);
    const json_t *answers = json_object_get(result, "answers"), *a;
    if (!n || json_array_size(answers) != n) {
        json_decref(result);
        os_buf_adds(reason, UNAVAILABLE);
        return POLICY_EXTRA_UNAVAILABLE;
    }
    enum policy_opinion opinion = POLICY_EXTRA_ALLOW;
    json_array_foreach(answers, i, a)
    {
        if (opinion != POLICY_EXTRA_ALLOW || json_is_true(json_object_get(a, "allow")))
            continue;
        os_buf_adds(reason, text_of(a, "reason", DENIED));
        opinion = POLICY_EXTRA_DENY;
    }
    json_decref(result);
    return opinion;
}

/* --- life --- */

struct rules *rules_new(const char *dir, const char *text, size_t n, bool alone)
{
    struct rules *r = os_calloc(1, sizeof(*r));
    r->socket = os_asprintf("%s/" RULES_SOCKET, dir);
    r->text = text;
    r->n = n;
    r->extra = (struct policy_extra){.ctx = r, .alone = alone, .l4 = ask_connection, .l7 = ask_request};
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

int rules_load(struct rules *r, struct os_error *err)
{
    int64_t end = os_clock_mono_ms() + OS_RULES_START_MS;
    for (;;) {
        os_error_clear(err);
        pthread_mutex_lock(&r->lock);
        int pushed = push(r, err);
        pthread_mutex_unlock(&r->lock);
        if (pushed == 0 || err->code == OS_INVALID_ARGUMENT || os_clock_mono_ms() > end)
            return pushed;
        struct timespec pause = {.tv_nsec = 20000000};
        nanosleep(&pause, NULL);
    }
}

const struct policy_extra *rules_extra(struct rules *r)
{
    return &r->extra;
}

void rules_free(struct rules *r)
{
    if (!r)
        return;
    pthread_mutex_destroy(&r->lock);
    free(r->socket);
    free(r->data);
    free(r);
}
