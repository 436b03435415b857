/* Building the registry: every service is described on a thread of its own. */
#include "supervisor/egress/middleware/registry.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "supervisor/egress/middleware/regex.h"
#include "supervisor/egress/middleware/remote.h"

static const struct middleware_service *const builtins[] = {&middleware_regex};

struct middleware_registry {
    atomic_uint refs;
    struct middleware_service **services;
    bool *authenticated;
    size_t n;
    char *sandbox_id, *sandbox_name, *workspace;
};

struct description {
    const struct middleware_registry_options *opt;
    const middleware_registration *from;
    struct middleware_service *service;
    struct os_error err;
    pthread_t thread;
    bool running;
};

static const struct middleware_token *token_of(const struct middleware_token *tokens, size_t n,
                                               const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(tokens[i].service, name))
            return &tokens[i];
    return NULL;
}

static void *describe(void *arg)
{
    struct description *d = arg;
    const struct middleware_token *t = token_of(d->opt->tokens, d->opt->n_tokens, d->from->name);
    d->service =
        remote_new(d->opt->loop, d->from, d->opt->authentication && !d->from->allow_insecure_transport,
                   t ? t->token : NULL, t ? t->expires_ms : 0, &d->err);
    return NULL;
}

static void describe_all(struct description *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        list[i].running = pthread_create(&list[i].thread, NULL, describe, &list[i]) == 0;
        if (!list[i].running)
            describe(&list[i]);
    }
    for (size_t i = 0; i < n; i++)
        if (list[i].running)
            pthread_join(list[i].thread, NULL);
}

static char *copy(const char *s)
{
    return os_strdup(s ? s : "");
}

struct middleware_registry *middleware_registry_new(const struct middleware_registry_options *opt,
                                                    struct os_error *err)
{
    struct middleware_registry *r = os_calloc(1, sizeof(*r));
    atomic_init(&r->refs, 1);
    cleanup_free struct description *list = os_calloc(opt->n_services + 1, sizeof(*list));
    bool failed = false;
    for (size_t i = 0; i < opt->n_services; i++)
        list[i] = (struct description){.opt = opt, .from = opt->services[i]};
    if (opt->loop || !opt->n_services)
        describe_all(list, opt->n_services);
    else
        failed = os_error_set(err, OS_INTERNAL, "middleware services cannot be reached: no loop") < 0;
    r->services = os_calloc(opt->n_services + 1, sizeof(struct middleware_service *));
    r->authenticated = os_calloc(opt->n_services + 1, sizeof(bool));
    r->sandbox_id = copy(opt->sandbox_id);
    r->sandbox_name = copy(opt->sandbox_name);
    r->workspace = copy(opt->workspace);
    for (size_t i = 0; i < opt->n_services && (opt->loop != NULL); i++) {
        if (list[i].service) {
            r->authenticated[r->n] = opt->authentication && !opt->services[i]->allow_insecure_transport;
            r->services[r->n++] = list[i].service;
        } else if (!failed) {
            failed = true;
            os_error_move(err, &list[i].err);
        }
        os_error_clear(&list[i].err);
    }
    if (!failed)
        return r;
    middleware_registry_unref(r);
    return NULL;
}

struct middleware_registry *middleware_registry_ref(struct middleware_registry *r)
{
    if (r)
        atomic_fetch_add(&r->refs, 1);
    return r;
}

void middleware_registry_unref(void *registry)
{
    struct middleware_registry *r = registry;
    if (!r || atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    for (size_t i = 0; i < r->n; i++)
        remote_free(r->services[i]);
    free(r->services);
    free(r->authenticated);
    free(r->sandbox_id);
    free(r->sandbox_name);
    free(r->workspace);
    free(r);
}

void middleware_registry_set_tokens(struct middleware_registry *r, const struct middleware_token *tokens,
                                    size_t n)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct middleware_token *t = token_of(tokens, n, r->services[i]->name);
        if (r->authenticated[i])
            remote_set_token(r->services[i], t ? t->token : NULL, t ? t->expires_ms : 0);
    }
}

const struct middleware_service *middleware_registry_find(const struct middleware_registry *registry,
                                                          const char *name)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(builtins); i++)
        if (!strcmp(builtins[i]->name, name))
            return builtins[i];
    for (size_t i = 0; registry && i < registry->n; i++)
        if (!strcmp(registry->services[i]->name, name))
            return registry->services[i];
    return NULL;
}

void middleware_registry_context(const struct middleware_registry *registry, mw_context *out)
{
    if (!registry)
        return;
    out->sandbox_id = registry->sandbox_id;
    out->sandbox_name = registry->sandbox_name;
    out->workspace = registry->workspace;
}
