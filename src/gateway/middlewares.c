/* Registered middleware services. A call to one has a client and a loop of its own: they are rare, and no
 * thread of the gateway has to be there for them. */
#include "gateway/middlewares.h"

#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"
#include "middleware.pb-c.h"
#include "rpc/client.h"
#include "rpc/pb.h"
#include "sys/file.h"

#define CA_MAX 1048576
#define AUDIENCE "urn:openshell:extension:middleware:"

struct registered {
    middleware_registration *r;
    bool authenticated;
};

struct middlewares {
    struct os_arena arena;
    const struct jwt_keys *jwt;
    int64_t jwt_ttl_s;
    struct registered *list; /* sorted by name */
    size_t n;
};

/* --- registration --- */

/* Certificates alone, as a supervisor is to get them. */
static int reencode(const char *pem, size_t n, struct os_buf *out, const char **why)
{
    BIO *in = BIO_new_mem_buf(pem, (int)n), *to = BIO_new(BIO_s_mem());
    char *name, *header;
    unsigned char *data;
    long len;
    size_t found = 0;
    *why = NULL;
    while (!*why && PEM_read_bio(in, &name, &header, &data, &len) == 1) {
        const unsigned char *p = data;
        X509 *cert = !strcmp(name, PEM_STRING_X509) ? d2i_X509(NULL, &p, len) : NULL;
        if (strcmp(name, PEM_STRING_X509) != 0)
            *why = "PEM bundle contains a non-certificate block";
        else if (!cert || PEM_write_bio_X509(to, cert) != 1)
            *why = "a certificate cannot be read";
        else
            found++;
        X509_free(cert);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(data);
    }
    if (!*why && !found)
        *why = "PEM bundle does not contain a certificate";
    char *bytes;
    long total = BIO_get_mem_data(to, &bytes);
    if (!*why)
        os_buf_add(out, bytes, (size_t)total);
    BIO_free(in);
    BIO_free(to);
    return *why ? -1 : 0;
}

static int read_ca(struct middlewares *m, const struct config_middleware *from, middleware_registration *r,
                   struct os_error *err)
{
    cleanup_buf struct os_buf pem = {0}, certs = {0};
    const char *why;
    if (!from->ca_path)
        return 0;
    if (os_file_read(from->ca_path, CA_MAX, &pem, err) < 0) {
        cleanup_free char *text = os_strdup(err->sys_errno ? strerror(err->sys_errno) : os_error_text(err));
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "failed to read TLS CA certificate for supervisor middleware '%s' from '%s': %s",
                            r->name, from->ca_path, text);
    }
    if (reencode(os_buf_str(&pem), pem.len, &certs, &why) < 0)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "invalid TLS CA certificate for supervisor middleware '%s' at '%s': %s", r->name,
                            from->ca_path, why);
    r->tls_ca_cert_pem = (ProtobufCBinaryData){certs.len, os_arena_memdup(&m->arena, certs.data, certs.len)};
    return 0;
}

static int register_one(struct middlewares *m, const struct config_middleware *from, struct registered *out,
                        struct os_error *err)
{
    middleware_registration *r = pb_new(&m->arena, openshell__sandbox__v1__supervisor_middleware_service);
    r->name = os_arena_strdup(&m->arena, from->name);
    r->grpc_endpoint = os_arena_strdup(&m->arena, from->endpoint);
    r->max_payload_bytes = from->max_payload.value;
    r->timeout = os_arena_strdup(&m->arena, from->timeout ? from->timeout : "");
    r->audience = from->audience ? os_arena_strdup(&m->arena, from->audience)
                                 : os_arena_printf(&m->arena, AUDIENCE "%s", from->name);
    r->allow_insecure_transport = from->insecure == CONFIG_TRUE;
    *out = (struct registered){r, m->jwt && !r->allow_insecure_transport};
    if (middleware_registration_check(r, out->authenticated, err) < 0 || read_ca(m, from, r, err) < 0)
        return -1;
    return out->authenticated ? jwt_check_audience(m->jwt, r->audience, err) : 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct registered *)a)->r->name, ((const struct registered *)b)->r->name);
}

static int register_all(struct middlewares *m, const struct config_middlewares *list, struct os_error *err)
{
    m->list = os_arena_alloc(&m->arena, (list->n + 1) * sizeof(*m->list));
    for (; m->n < list->n; m->n++)
        if (register_one(m, &list->v[m->n], &m->list[m->n], err) < 0)
            return -1;
    if (m->n > 1)
        qsort(m->list, m->n, sizeof(*m->list), by_name);
    for (size_t i = 1; i < m->n; i++)
        if (!strcmp(m->list[i].r->name, m->list[i - 1].r->name))
            return os_error_set(
                err, OS_INVALID_ARGUMENT,
                "supervisor middleware '%s' is registered twice; give one of them another name",
                m->list[i].r->name);
    return 0;
}

/* --- calls --- */

static int call(const struct middlewares *m, const struct registered *s, enum rpc_method_id method,
                const ProtobufCMessage *request, struct os_arena *a, ProtobufCMessage **out,
                struct os_error *err)
{
    cleanup_free char *token = NULL;
    cleanup_free char *ca = s->r->tls_ca_cert_pem.len ? os_strndup((const char *)s->r->tls_ca_cert_pem.data,
                                                                   s->r->tls_ca_cert_pem.len)
                                                      : NULL;
    uv_loop_t loop;
    if (s->authenticated &&
        !(token = jwt_mint_extension(m->jwt, NULL, s->r->audience, m->jwt_ttl_s, NULL, err)))
        return -1;
    if (uv_loop_init(&loop) != 0)
        return os_error_set(err, OS_RESOURCE_EXHAUSTED, "cannot start an event loop");
    const struct rpc_client_options opt = {.loop = &loop,
                                           .endpoint = s->r->grpc_endpoint,
                                           .ca_pem = ca,
                                           .bearer = token,
                                           .connect_ms = OS_MIDDLEWARE_CONNECT_MS};
    struct rpc_client *c = rpc_client_new(&opt, err);
    int rc = -1;
    if (c) {
        /* The time to connect is not the service's. */
        int64_t deadline = OS_MIDDLEWARE_CONNECT_MS + middleware_timeout_parse(s->r->timeout);
        rc = rpc_client_unary_wait(c, method, request, deadline, a, out, err);
    }
    rpc_client_free(c);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return rc;
}

static int describe(const struct middlewares *m, const struct registered *s, struct os_error *err)
{
    cleanup_arena struct os_arena a = {0};
    struct middleware_bindings bindings;
    Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
    ProtobufCMessage *answer;
    if (call(m, s, RPC_SupervisorMiddleware_Describe, &empty.base, &a, &answer, err) < 0)
        return os_error_wrap(err, "supervisor middleware '%s' at %s cannot be described", s->r->name,
                             s->r->grpc_endpoint);
    return middleware_manifest_check((const Openshell__Middleware__V1__MiddlewareManifest *)answer, s->r,
                                     s->authenticated, &bindings, err);
}

struct middlewares *middlewares_new(const struct config_middlewares *list, const struct jwt_keys *jwt,
                                    int64_t jwt_ttl_s, struct os_error *err)
{
    struct middlewares *m = os_calloc(1, sizeof(*m));
    *m = (struct middlewares){.jwt = jwt, .jwt_ttl_s = jwt_ttl_s};
    int rc = register_all(m, list, err);
    for (size_t i = 0; i < m->n && rc == 0; i++)
        rc = describe(m, &m->list[i], err);
    if (rc == 0)
        return m;
    os_error_wrap(err, "middleware registration failed");
    middlewares_free(m);
    return NULL;
}

void middlewares_free(struct middlewares *m)
{
    if (!m)
        return;
    os_arena_free(&m->arena);
    free(m);
}

/* --- policies --- */

static const struct registered *find(const struct middlewares *m, const char *name)
{
    for (size_t i = 0; i < m->n; i++)
        if (!strcmp(m->list[i].r->name, name))
            return &m->list[i];
    return NULL;
}

typedef Openshell__Sandbox__V1__NetworkMiddlewareConfig config_doc;

static int unknown(const char *key, const char *service, struct os_error *err)
{
    return os_error_set(
        err, OS_FAILED_PRECONDITION,
        "middleware config '%s' names service '%s', which is not registered with this gateway", key, service);
}

static int ask(const struct middlewares *m, const struct registered *s, const char *key, const config_doc *c,
               struct os_error *err)
{
    cleanup_arena struct os_arena a = {0};
    Openshell__Middleware__V1__ValidateConfigRequest request =
        OPENSHELL__MIDDLEWARE__V1__VALIDATE_CONFIG_REQUEST__INIT;
    Google__Protobuf__Struct none = GOOGLE__PROTOBUF__STRUCT__INIT;
    ProtobufCMessage *answer;
    request.middleware_name = s->r->name;
    request.config = c->config ? c->config : &none;
    if (google__protobuf__struct__get_packed_size(request.config) > OS_MIDDLEWARE_CONFIG)
        return os_error_set(err, OS_INVALID_ARGUMENT, "middleware config '%s' is longer than %d bytes", key,
                            OS_MIDDLEWARE_CONFIG);
    if (call(m, s, RPC_SupervisorMiddleware_ValidateConfig, &request.base, &a, &answer, err) < 0) {
        err->code = OS_FAILED_PRECONDITION;
        return os_error_wrap(err, "middleware config '%s' cannot be checked by '%s'", key, s->r->name);
    }
    const Openshell__Middleware__V1__ValidateConfigResponse *r =
        (const Openshell__Middleware__V1__ValidateConfigResponse *)answer;
    if (r->valid)
        return 0;
    return os_error_set(err, OS_INVALID_ARGUMENT, "middleware config '%s' is refused by '%s': %.*s", key,
                        s->r->name, OS_LIMIT_POLICY_REASON, *r->reason ? r->reason : "no reason given");
}

static int check(const struct middlewares *m, const char *key, const config_doc *c, struct os_error *err)
{
    if (os_str_starts(c->middleware, MIDDLEWARE_BUILTIN_PREFIX)) {
        const char *why = middleware_builtin_check(c->middleware, c->config);
        return why ? os_error_set(err, OS_INVALID_ARGUMENT, "middleware config '%s' is invalid: %s", key, why)
                   : 0;
    }
    const struct registered *s = find(m, c->middleware);
    return s ? ask(m, s, key, c, err) : unknown(key, c->middleware, err);
}

int middlewares_check_policy(const struct middlewares *m, const policy_doc *doc, struct os_error *err)
{
    for (size_t i = 0; i < doc->n_network_middlewares; i++) {
        const config_doc *c = doc->network_middlewares[i]->value;
        if (c && check(m, doc->network_middlewares[i]->key, c, err) < 0)
            return os_error_wrap(err, "policy middleware validation failed");
    }
    return 0;
}

int middlewares_select(const struct middlewares *m, const policy_doc *doc, struct os_arena *a,
                       middleware_registration ***out, size_t *n, struct os_error *err)
{
    *out = os_arena_alloc(a, (m->n + 1) * sizeof(**out));
    *n = 0;
    for (size_t i = 0; doc && i < doc->n_network_middlewares; i++) {
        const config_doc *c = doc->network_middlewares[i]->value;
        if (!c || find(m, c->middleware) || os_str_starts(c->middleware, MIDDLEWARE_BUILTIN_PREFIX))
            continue;
        unknown(doc->network_middlewares[i]->key, c->middleware, err);
        return os_error_wrap(err, "effective policy middleware registration is invalid");
    }
    for (size_t i = 0; i < m->n; i++) {
        bool used = false;
        for (size_t k = 0; doc && k < doc->n_network_middlewares && !used; k++) {
            const config_doc *c = doc->network_middlewares[k]->value;
            used = c && !strcmp(c->middleware, m->list[i].r->name);
        }
        if (used)
            (*out)[(*n)++] = m->list[i].r;
    }
    return 0;
}
