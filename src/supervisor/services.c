/* From a configuration to a registry: ask for tokens, describe the services off the loop, hand both on. One
 * preparation at a time; a configuration that comes meanwhile is taken up after it. */
#include "supervisor/services.h"

#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "rpc/call.h"
#include "rpc/pb.h"

#define LOG_TARGET "supervisor::middleware"

/* One preparation; freed with it. */
struct attempt {
    struct services *s;
    struct os_arena arena;
    session_config *config;
    struct middleware_token tokens[OS_MIDDLEWARE_CREDENTIALS];
    size_t n_tokens;
    struct middleware_registry *registry;
    struct os_error err;
    uv_work_t work;
};

struct services {
    uv_loop_t *loop;
    struct session *session;
    const char *sandbox_id, *sandbox_name;
    services_ready_fn *ready;
    void *ctx;
    struct middleware_loop *clients; /* NULL until the first service is named */
    struct attempt *current;         /* under way */
    session_config *next;            /* to be taken up after it, in next_arena */
    struct os_arena next_arena;
    uv_timer_t retry, renew;
    /* What is in force. */
    struct middleware_registry *registry; /* a reference */
    uint8_t *mark;                        /* the services it was made for, encoded */
    size_t mark_n;
    struct os_strv names; /* those that are called with tokens */
    struct os_arena kept_arena;
    session_config *kept; /* the last configuration, for another try */
    bool failed;          /* and it needs one */
};

static bool wants_token(const session_config *c, const middleware_registration *r)
{
    return c->extension_authentication_enabled && !r->allow_insecure_transport;
}

static session_config *copy(struct os_arena *arena, const session_config *c)
{
    size_t n;
    const uint8_t *bytes = pb_pack(arena, &c->base, &n);
    return (session_config *)rpc_unpack(
        arena, &openshell__sandbox__v1__get_sandbox_config_response__descriptor, bytes, n);
}

/* What a registry depends on. */
static uint8_t *mark_of(const session_config *c, size_t *n)
{
    session_config only = OPENSHELL__SANDBOX__V1__GET_SANDBOX_CONFIG_RESPONSE__INIT;
    only.supervisor_middleware_services = c->supervisor_middleware_services;
    only.n_supervisor_middleware_services = c->n_supervisor_middleware_services;
    only.extension_authentication_enabled = c->extension_authentication_enabled;
    only.workspace = c->workspace;
    *n = protobuf_c_message_get_packed_size(&only.base);
    uint8_t *bytes = os_calloc(1, *n + 1);
    protobuf_c_message_pack(&only.base, bytes);
    return bytes;
}

/* --- tokens --- */

/* What the gateway answered, when it is exactly what was asked for. */
static int take_tokens(const Openshell__V1__RefreshSandboxTokenResponse *r, char *const *names, size_t n,
                       struct middleware_token *out, struct os_error *err)
{
    bool exact = r->n_extension_credentials == n;
    for (size_t i = 0; exact && i < n; i++) {
        const Openshell__V1__ExtensionServiceCredential *c = r->extension_credentials[i];
        exact = strcmp(c->service_name, names[i]) == 0 && *c->token;
        out[i] = (struct middleware_token){c->service_name, c->token, c->expires_at_ms};
    }
    return exact ? 0
                 : os_error_set(err, OS_INTERNAL,
                                "the gateway answered with other extension credentials than asked");
}

static void renew_in(struct services *s, const struct middleware_token *tokens, size_t n);

static void on_renewed(void *ctx, const struct os_error *status,
                       const Openshell__V1__RefreshSandboxTokenResponse *r)
{
    struct services *s = ctx;
    struct middleware_token tokens[OS_MIDDLEWARE_CREDENTIALS];
    struct os_error cleanup_error err = {0};
    if (!s->registry)
        return;
    if (!r || take_tokens(r, s->names.v, s->names.n, tokens, &err) < 0) {
        os_log_warn(LOG_TARGET, "cannot renew the tokens of middleware services: %s",
                    os_error_text(r ? &err : status));
        renew_in(s, NULL, 0);
        return;
    }
    middleware_registry_set_tokens(s->registry, tokens, s->names.n);
    renew_in(s, tokens, s->names.n);
}

static void on_renew(uv_timer_t *timer)
{
    struct services *s = timer->data;
    session_extension_tokens(s->session, (const char *const *)s->names.v, s->names.n, on_renewed, s);
}

/* After four fifths of the shortest life; n 0 = soon, the last try failed. */
static void renew_in(struct services *s, const struct middleware_token *tokens, size_t n)
{
    int64_t now = os_clock_ms(), left = n ? INT64_MAX : OS_MIDDLEWARE_RETRY_MS;
    for (size_t i = 0; i < n; i++)
        if (tokens[i].expires_ms && tokens[i].expires_ms - now < left)
            left = tokens[i].expires_ms - now;
    if (left == INT64_MAX)
        return;
    int64_t wait = n ? left / 5 * 4 : left;
    uv_timer_start(&s->renew, on_renew, (uint64_t)(wait < 1000 ? 1000 : wait), 0);
}

/* --- one preparation --- */

static void begin(struct services *s, const session_config *config);

static void set_names(struct services *s, const session_config *c)
{
    os_strv_free(&s->names);
    for (size_t i = 0; i < c->n_supervisor_middleware_services; i++)
        if (wants_token(c, c->supervisor_middleware_services[i]))
            os_strv_add(&s->names, c->supervisor_middleware_services[i]->name);
}

/* The configuration is kept until the next one: for another try. */
static void hand_on(struct services *s, const session_config *config, const struct os_error *why)
{
    struct os_arena old = s->kept_arena;
    s->kept_arena = (struct os_arena){0};
    s->kept = copy(&s->kept_arena, config);
    s->failed = why != NULL;
    s->ready(s->ctx, s->kept, why ? NULL : middleware_registry_ref(s->registry), why);
    os_arena_free(&old);
}

static void on_retry(uv_timer_t *timer)
{
    struct services *s = timer->data;
    if (s->failed && !s->current)
        begin(s, s->kept);
}

static void attempt_free(struct attempt *a)
{
    os_error_clear(&a->err);
    os_arena_free(&a->arena);
    free(a);
}

static void finish(struct attempt *a)
{
    struct services *s = a->s;
    s->current = NULL;
    if (s->next) { /* what was prepared is of yesterday */
        struct os_arena arena = s->next_arena;
        session_config *next = s->next;
        middleware_registry_unref(a->registry);
        s->next = NULL;
        s->next_arena = (struct os_arena){0};
        services_prepare(s, next);
        os_arena_free(&arena);
    } else if (a->registry) {
        middleware_registry_unref(s->registry);
        s->registry = a->registry;
        free(s->mark);
        s->mark = mark_of(a->config, &s->mark_n);
        set_names(s, a->config);
        uv_timer_stop(&s->renew);
        if (a->n_tokens)
            renew_in(s, a->tokens, a->n_tokens);
        hand_on(s, a->config, NULL);
    } else {
        os_log_error(LOG_TARGET, "%s; asked again in %d s", os_error_text(&a->err),
                     OS_MIDDLEWARE_RETRY_MS / 1000);
        uv_timer_start(&s->retry, on_retry, OS_MIDDLEWARE_RETRY_MS, 0);
        hand_on(s, a->config, &a->err);
    }
    attempt_free(a);
}

static void build(uv_work_t *work)
{
    struct attempt *a = work->data;
    const struct middleware_registry_options opt = {
        .loop = a->s->clients,
        .services = a->config->supervisor_middleware_services,
        .n_services = a->config->n_supervisor_middleware_services,
        .authentication = a->config->extension_authentication_enabled,
        .tokens = a->tokens,
        .n_tokens = a->n_tokens,
        .sandbox_id = a->s->sandbox_id,
        .sandbox_name = a->s->sandbox_name,
        .workspace = a->config->workspace,
    };
    a->registry = middleware_registry_new(&opt, &a->err);
}

static void built(uv_work_t *work, int status)
{
    (void)status;
    finish(work->data);
}

static void build_later(struct attempt *a)
{
    a->work.data = a;
    if (uv_queue_work(a->s->loop, &a->work, build, built) == 0)
        return;
    os_error_set(&a->err, OS_RESOURCE_EXHAUSTED, "no thread to describe middleware services");
    finish(a);
}

static void on_tokens(void *ctx, const struct os_error *status,
                      const Openshell__V1__RefreshSandboxTokenResponse *r)
{
    struct attempt *a = ctx;
    struct os_strv cleanup_strv names = {0};
    const session_config *c = a->config;
    for (size_t i = 0; i < c->n_supervisor_middleware_services; i++)
        if (wants_token(c, c->supervisor_middleware_services[i]))
            os_strv_add(&names, c->supervisor_middleware_services[i]->name);
    if (!r)
        os_error_set(&a->err, status->code, "no tokens for middleware services: %s", os_error_text(status));
    else if (take_tokens(r, names.v, names.n, a->tokens, &a->err) == 0)
        a->n_tokens = names.n;
    if (a->err.code) {
        finish(a);
        return;
    }
    /* The answer goes when this returns. */
    for (size_t i = 0; i < a->n_tokens; i++) {
        a->tokens[i].service = os_arena_strdup(&a->arena, a->tokens[i].service);
        a->tokens[i].token = os_arena_strdup(&a->arena, a->tokens[i].token);
    }
    build_later(a);
}

static void begin(struct services *s, const session_config *config)
{
    struct attempt *a = os_calloc(1, sizeof(*a));
    const char *names[OS_MIDDLEWARE_CREDENTIALS];
    size_t n = 0;
    a->s = s;
    a->config = copy(&a->arena, config);
    s->current = a;
    uv_timer_stop(&s->retry);
    if (!s->clients)
        s->clients = middleware_loop_new();
    for (size_t i = 0; i < a->config->n_supervisor_middleware_services && n < OS_ARRAY_LEN(names); i++)
        if (wants_token(a->config, a->config->supervisor_middleware_services[i]))
            names[n++] = a->config->supervisor_middleware_services[i]->name;
    if (n)
        session_extension_tokens(s->session, names, n, on_tokens, a);
    else
        build_later(a);
}

void services_prepare(struct services *s, const session_config *config)
{
    size_t n;
    if (s->current) {
        os_arena_free(&s->next_arena);
        s->next = copy(&s->next_arena, config);
        return;
    }
    cleanup_free uint8_t *mark = mark_of(config, &n);
    bool same = s->registry && n == s->mark_n && memcmp(mark, s->mark, n) == 0;
    if (same) {
        hand_on(s, config, NULL);
        return;
    }
    if (config->n_supervisor_middleware_services) {
        begin(s, config);
        return;
    }
    middleware_registry_unref(s->registry);
    s->registry = NULL;
    uv_timer_stop(&s->renew);
    uv_timer_stop(&s->retry);
    hand_on(s, config, NULL);
}

struct services *services_new(uv_loop_t *loop, struct session *session, const char *sandbox_id,
                              const char *sandbox_name, services_ready_fn *ready, void *ctx)
{
    struct services *s = os_calloc(1, sizeof(*s));
    *s = (struct services){.loop = loop,
                           .session = session,
                           .sandbox_id = sandbox_id,
                           .sandbox_name = sandbox_name,
                           .ready = ready,
                           .ctx = ctx};
    uv_timer_init(loop, &s->retry);
    uv_timer_init(loop, &s->renew);
    s->retry.data = s->renew.data = s;
    uv_unref((uv_handle_t *)&s->retry);
    uv_unref((uv_handle_t *)&s->renew);
    return s;
}
