/* One gRPC service: its client, and calls that a thread waits for. A call is owned twice, by who waits and by
 * the loop; whoever lets go last frees it. */
#include "supervisor/egress/middleware/remote.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"
#include "rpc/client.h"
#include "rpc/pb.h"
#include "supervisor/egress/middleware/remote_call.h"

const struct middleware_ops remote_ops = {remote_http, remote_open,      remote_receive,
                                          remote_send, remote_send_text, remote_close};

/* --- the client; on the loop --- */

struct creation {
    struct remote *r;
    const middleware_registration *from;
    const char *token;
    struct os_error *err;
};

static void create(void *arg)
{
    struct creation *c = arg;
    cleanup_free char *ca =
        c->from->tls_ca_cert_pem.len
            ? os_strndup((const char *)c->from->tls_ca_cert_pem.data, c->from->tls_ca_cert_pem.len)
            : NULL;
    const struct rpc_client_options opt = {.loop = middleware_loop_uv(c->r->loop),
                                           .endpoint = c->from->grpc_endpoint,
                                           .ca_pem = ca,
                                           .bearer = c->token,
                                           .max_message = OS_MIDDLEWARE_PAYLOAD + OS_MIDDLEWARE_ENVELOPE,
                                           .connect_ms = OS_MIDDLEWARE_CONNECT_MS};
    c->r->client = rpc_client_new(&opt, c->err);
}

static void destroy(void *arg)
{
    struct remote *r = arg;
    rpc_client_free(r->client);
    middleware_loop_drop(r->loop);
    free(r->name);
    free(r);
}

/* Not at once: this is called from inside the client. */
void remote_retire(struct remote *r)
{
    if (r->doomed && !r->calls)
        middleware_loop_post(r->loop, destroy, r);
}

static void doom(void *arg)
{
    struct remote *r = arg;
    r->doomed = true;
    remote_retire(r);
}

struct new_token {
    struct remote *r;
    const char *token;
};

static void set_token(void *arg)
{
    const struct new_token *t = arg;
    rpc_client_set_bearer(t->r->client, t->token);
}

void remote_set_token(struct middleware_service *s, const char *token, int64_t expires_ms)
{
    struct remote *r = s->self;
    struct new_token t = {r, token};
    middleware_loop_run(r->loop, set_token, &t);
    atomic_store(&r->expires_ms, expires_ms);
    atomic_store(&r->credential, token && *token);
}

/* --- description --- */

static int describe(struct remote *r, const middleware_registration *from, struct os_error *err)
{
    cleanup_arena struct os_arena arena = {0};
    Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
    const struct middleware_limit limit = {.end_ms = os_clock_mono_ms() + OS_MIDDLEWARE_CONNECT_MS +
                                                     middleware_timeout_parse(from->timeout)};
    ProtobufCMessage *m = NULL;
    if (remote_unary(r, RPC_SupervisorMiddleware_Describe, &empty.base, &limit, &arena, &m, err) != REMOTE_OK)
        return os_error_wrap(err, "supervisor middleware '%s' cannot be described", from->name);
    return middleware_manifest_check((const Openshell__Middleware__V1__MiddlewareManifest *)m, from,
                                     r->authenticated, &r->service.bindings, err);
}

struct middleware_service *remote_new(struct middleware_loop *loop, const middleware_registration *from,
                                      bool authenticated, const char *token, int64_t token_expires_ms,
                                      struct os_error *err)
{
    if (middleware_registration_check(from, authenticated, err) < 0)
        return NULL;
    if (authenticated && (!token || !*token)) {
        os_error_set(err, OS_UNAUTHENTICATED,
                     "supervisor middleware '%s': extension bearer token is unavailable", from->name);
        return NULL;
    }
    struct remote *r = os_calloc(1, sizeof(*r));
    middleware_loop_hold(loop);
    r->loop = loop;
    r->name = os_strdup(from->name);
    r->service =
        (struct middleware_service){.name = r->name, .external = true, .ops = &remote_ops, .self = r};
    r->authenticated = authenticated;
    atomic_init(&r->expires_ms, token_expires_ms);
    atomic_init(&r->credential, token && *token);
    struct creation c = {r, from, authenticated ? token : NULL, err};
    middleware_loop_run(loop, create, &c);
    if (!r->client) {
        os_error_wrap(err, "supervisor middleware '%s'", from->name);
        middleware_loop_drop(loop);
        free(r->name);
        free(r);
        return NULL;
    }
    if (describe(r, from, err) < 0) {
        remote_free(&r->service);
        return NULL;
    }
    return &r->service;
}

void remote_free(struct middleware_service *s)
{
    if (!s)
        return;
    struct remote *r = s->self;
    middleware_loop_post(r->loop, doom, r);
}
