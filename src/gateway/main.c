/* openshell-gateway: the control plane. main puts the parts together in the order of spec/gateway.md 1.3 and
 * takes them apart again. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/id.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "drivers/local/local.h"
#include "gateway/compute/events.h"
#include "gateway/gateway.h"
#include "gateway/health.h"
#include "gateway/identity/certs.h"
#include "gateway/identity/discovery.h"
#include "gateway/identity/principal.h"
#include "gateway/lifecycle.h"
#include "gateway/logbus.h"
#include "gateway/middlewares.h"
#include "gateway/options.h"
#include "gateway/rpc/grpc_health.h"
#include "gateway/rpc/handlers.h"
#include "gateway/session/sessions.h"
#include "gateway/ssh_session.h"
#include "gateway/store/reserve.h"
#include "gateway/watch.h"
#include "net/tls.h"
#include "sys/file.h"
#include "sys/notify.h"
#include "sys/paths.h"

#define WORKERS 16
#define WORK_QUEUE 2048
#define SHUTDOWN_GRACE_MS 1000
#define PEM_MAX (1 << 20)

static const char *const alpn[] = {"h2", "http/1.1", NULL};

/* The whole program; pieces are NULL until they are there. */
struct program {
    struct gateway gw;
    uv_loop_t loop;
    struct gateway_options options;
    struct compute_events *events;
    struct rpc_server *health; /* plain HTTP on --health-port */
    SSL_CTX *tls;
    uv_signal_t sigterm, sigint;
    uv_timer_t sweep; /* next reconciliation */
    uv_timer_t reap;  /* of SSH sessions */
    unsigned closing; /* servers that still shut down */
    int lock_fd;
    int port;
    char *state, *tls_dir;
    char *client_ca, *client_cert, *client_key; /* files supervisors connect with; NULL = plaintext */
};

/* Every failure carries the class of spec/gateway.md 1. */
static int fail(struct os_error *err, const char *class)
{
    return os_error_wrap(err, "%s error", class);
}

/* --- TLS --- */

static int read_pem(const char *path, struct os_buf *out, struct os_error *err)
{
    return os_file_read(path, PEM_MAX, out, err);
}

static int tls_context(struct program *p, const char *cert, const char *key, const char *ca,
                       struct os_error *err)
{
    cleanup_buf struct os_buf cert_pem = {0}, key_pem = {0}, ca_pem = {0};
    if (read_pem(cert, &cert_pem, err) < 0 || read_pem(key, &key_pem, err) < 0 ||
        (ca && read_pem(ca, &ca_pem, err) < 0))
        return -1;
    const struct net_tls_pem pem = {os_buf_str(&cert_pem), os_buf_str(&key_pem),
                                    ca ? os_buf_str(&ca_pem) : NULL};
    p->tls = net_tls_server(&pem, alpn, ca != NULL, err);
    explicit_bzero(key_pem.data, key_pem.len);
    return p->tls ? 0 : -1;
}

static int given_tls(struct program *p, struct os_error *err)
{
    const struct gateway_options *o = &p->options;
    if (!os_file_exists(p->client_ca) || !os_file_exists(p->client_cert) || !os_file_exists(p->client_key))
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "with --tls-cert, sandboxes need certificates of their own to connect with: put ca.crt, "
            "client/tls.crt and client/tls.key into %s",
            p->tls_dir);
    p->gw.mtls_auth = o->mtls_auth_given ? o->mtls_auth : o->tls_client_ca != NULL;
    return tls_context(p, o->tls_cert, o->tls_key, o->tls_client_ca, err);
}

static int own_tls(struct program *p, struct os_error *err)
{
    cleanup_free char *cert = os_asprintf("%s/server/tls.crt", p->tls_dir);
    cleanup_free char *key = os_asprintf("%s/server/tls.key", p->tls_dir);
    p->gw.mtls_auth = p->options.mtls_auth_given ? p->options.mtls_auth : true;
    return tls_context(p, cert, key, p->client_ca, err);
}

/* Keys of the local directory are looked at in any case: half of them missing is a mistake. */
static int load_jwt(struct program *p, struct os_error *err)
{
    const struct gateway_options *o = &p->options;
    cleanup_free char *dir = os_asprintf("%s/jwt", p->tls_dir);
    if (jwt_keys_load(dir, &p->gw.jwt, err) < 0)
        return -1;
    p->gw.jwt_ttl_s = o->jwt_ttl_s;
    if (!o->jwt_signing)
        return 0;
    jwt_keys_free(p->gw.jwt);
    return jwt_keys_load_files(o->jwt_signing, o->jwt_public, o->jwt_kid, o->jwt_gateway_id, &p->gw.jwt, err);
}

static int start_middlewares(struct program *p, struct os_error *err)
{
    struct gateway *gw = &p->gw;
    gw->middlewares = middlewares_new(&p->options.middlewares, gw->jwt, gw->jwt_ttl_s, err);
    return gw->middlewares ? 0 : fail(err, "configuration");
}

static int setup_identity(struct program *p, struct os_error *err)
{
    const struct gateway_options *o = &p->options;
    struct os_strv sans = {0};
    for (size_t i = 0; i < o->server_sans.n; i++)
        os_strv_add(&sans, o->server_sans.v[i]);
    if (strcmp(o->bind_address, "0.0.0.0") != 0 && strcmp(o->bind_address, "::") != 0)
        os_strv_add(&sans, o->bind_address);
    bool created = false;
    int rc = o->tls_cert ? 0 : certs_ensure(p->tls_dir, &sans, &created, err);
    os_strv_free(&sans);
    if (rc < 0)
        return fail(err, "configuration");
    if (created)
        os_log_info("gateway", "made certificates and token keys in %s", p->tls_dir);
    if (load_jwt(p, err) < 0)
        return fail(err, "configuration");
    if (o->disable_tls)
        return 0;
    p->client_ca = os_asprintf("%s/ca.crt", p->tls_dir);
    p->client_cert = os_asprintf("%s/client/tls.crt", p->tls_dir);
    p->client_key = os_asprintf("%s/client/tls.key", p->tls_dir);
    return (o->tls_cert ? given_tls(p, err) : own_tls(p, err)) < 0 ? fail(err, "TLS") : 0;
}

/* --- store --- */

static int default_workspace(struct gateway *gw, struct os_error *err)
{
    cleanup_arena struct os_arena a = {0};
    struct store_object have;
    if (store_get_named(gw->store, STORE_WORKSPACE, "", "default", &a, &have, err) == 0)
        return 0;
    if (err->code != OS_NOT_FOUND)
        return -1;
    os_error_clear(err);
    char id[OS_UUID_LEN];
    const struct store_object o = {.id = os_uuid(id),
                                   .type = STORE_WORKSPACE,
                                   .name = "default",
                                   .workspace = "",
                                   .payload = "",
                                   .created_at_ms = os_clock_ms()};
    return store_insert(gw->store, &o, err) < 0 && err->code != OS_ALREADY_EXISTS ? -1 : 0;
}

static int open_store(struct program *p, struct os_error *err)
{
    if (store_open(p->options.db_url, &p->gw.store, err) < 0 || default_workspace(&p->gw, err) < 0)
        return fail(err, "execution");
    return 0;
}

/* One gateway per state directory: two would fight over the same sandboxes. */
static int lock_state(struct program *p, struct os_error *err)
{
    cleanup_free char *path = os_asprintf("%s/gateway.lock", p->state);
    p->gw.reserve = os_asprintf("%s/gateway/reserve", p->state);
    if (os_dir_make(p->state, 0700, err) < 0)
        return fail(err, "I/O");
    p->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (p->lock_fd < 0) {
        os_error_sys(err, errno, "cannot open '%s'", path);
        return fail(err, "I/O");
    }
    const struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    /* A lock of the process, not of the descriptor: a launcher that was just being forked when we were killed
     * would hold that one on, and the next gateway would be refused. Nothing else opens the file. */
    if (fcntl(p->lock_fd, F_SETLK, &whole) == 0)
        return 0;
    os_error_set(
        err, OS_FAILED_PRECONDITION,
        "another gateway runs on the state in %s; stop it, or set XDG_STATE_HOME to keep the two apart",
        p->state);
    return fail(err, "configuration");
}

/* --- compute --- */

static char *endpoint(const struct program *p)
{
    const char *ip = p->options.bind_address, *scheme = p->tls ? "https" : "http";
    if (strcmp(ip, "0.0.0.0") == 0)
        ip = "127.0.0.1";
    else if (strcmp(ip, "::") == 0)
        ip = "::1";
    return strchr(ip, ':') ? os_asprintf("%s://[%s]:%d", scheme, ip, p->port)
                           : os_asprintf("%s://%s:%d", scheme, ip, p->port);
}

static int read_hosts(const char *path, struct os_buf *out, struct os_error *err)
{
    return path ? os_file_read(path, PEM_MAX, out, err) : 0;
}

static int start_driver(struct program *p, struct os_error *err)
{
    cleanup_free char *state = os_asprintf("%s/local", p->state), *url = endpoint(p);
    cleanup_free char *supervisor = os_program_path("openshell-sandbox");
    cleanup_free char *launcher = os_program_path("openshell-local-launcher");
    cleanup_buf struct os_buf hosts = {0};
    if (read_hosts(p->options.local_extra_hosts, &hosts, err) < 0)
        return fail(err, "configuration");
    const struct local_driver_config cfg = {
        .state_dir = state,
        .supervisor = supervisor,
        .launcher = launcher,
        .gateway_endpoint = url,
        .tls_ca = p->client_ca,
        .tls_cert = p->client_cert,
        .tls_key = p->client_key,
        .log_level = os_log_level_name(p->options.log_level),
        .extra_ca_file = p->options.local_extra_ca,
        .proxy = {.url = p->options.local_https_proxy,
                  .no_proxy = p->options.local_no_proxy,
                  .auth_file = p->options.local_proxy_auth_file,
                  .auth_allow_insecure = p->options.local_proxy_auth_insecure,
                  .connect_by_hostname = p->options.local_proxy_by_hostname},
        .policy_rules_file = p->options.local_policy_rules,
        .policy_data_file = p->options.local_policy_data,
        .opa_path = p->options.local_opa,
        .image_dirs = p->options.local_image_dirs,
        .enable_bind_mounts = p->options.local_bind_mounts,
        .agent_uid = p->options.local_agent_uid,
        .worker_uid = p->options.local_worker_uid,
        .mask = (const char *const *)p->options.local_mask.v,
        .extra_hosts = hosts.len ? os_buf_str(&hosts) : NULL,
    };
    p->gw.driver = local_driver_new(&cfg, err);
    if (!p->gw.driver)
        return fail(err, "execution");
    p->gw.driver->ops->watch(p->gw.driver->self, compute_events_push, p->events);
    return 0;
}

/* --- servers --- */

static void poke_watches(void *ctx, const char *sandbox_id)
{
    struct gateway *gw = ctx;
    watches_poke(gw->watches, sandbox_id);
}

static void register_handlers(struct gateway *gw)
{
#define UNARY(id, fn) rpc_server_unary(gw->rpc, RPC_##id, fn, gw);
#define STREAM(id, fn) rpc_server_stream(gw->rpc, RPC_##id, fn, gw);
#include "gateway/rpc/tbl/handlers.h"
}

static void primary_http(void *ctx, const struct rpc_http_request *req, struct rpc_http_response *resp)
{
    struct program *p = ctx;
    if (!discovery_http(p->gw.jwt, req, resp))
        health_http(p->gw.health, req, resp);
}

static int primary_authenticate(void *ctx, struct rpc_call *call, struct os_error *err)
{
    struct program *p = ctx;
    return principal_authenticate(&p->gw, call, err);
}

/* The same API for this user's CLI without the cost of TLS. What cannot be had is no reason not to start. */
static void listen_local(struct program *p)
{
    cleanup_error struct os_error err = {0};
    cleanup_free char *dir = os_asprintf("%s/gateway", p->state);
    cleanup_free char *path = os_asprintf("%s/api-%d.sock", dir, p->port);
    if (os_dir_make(dir, 0700, &err) < 0 || rpc_server_listen_unix(p->gw.rpc, path, &err) < 0)
        os_log_warn("gateway", "no local socket, clients use TCP: %s", os_error_text(&err));
}

static int start_servers(struct program *p, struct os_error *err)
{
    const struct gateway_options *o = &p->options;
    const struct rpc_server_options main_options = {.loop = &p->loop,
                                                    .tls = p->tls,
                                                    .workers = WORKERS,
                                                    .queue = WORK_QUEUE,
                                                    .authenticate = primary_authenticate,
                                                    .http = primary_http,
                                                    .ctx = p};
    p->gw.rpc = rpc_server_new(&main_options);
    p->gw.logs = logbus_new(poke_watches, &p->gw);
    p->gw.watches = watches_new(&p->gw);
    p->gw.sessions = sessions_new(&p->gw);
    p->events = compute_events_new(&p->gw);
    p->gw.health_watches = health_watches_new();
    p->gw.health = health_new(&p->gw, health_watches_tell, p->gw.health_watches);
    register_handlers(&p->gw);
    p->port = rpc_server_listen(p->gw.rpc, o->bind_address, o->port, err);
    if (p->port < 0)
        return fail(err, "transport");
    p->gw.host = o->bind_address;
    p->gw.port = (uint16_t)p->port;
    p->gw.tls = p->tls;
    p->gw.ssh_session_ttl_s = o->ssh_session_ttl_s;
    listen_local(p);
    if (!o->health_port)
        return 0;
    const struct rpc_server_options health = {
        .loop = &p->loop, .workers = 1, .queue = 1, .http = primary_http, .ctx = p};
    p->health = rpc_server_new(&health);
    if (rpc_server_listen(p->health, o->health_address ? o->health_address : o->bind_address, o->health_port,
                          err) < 0)
        return fail(err, "transport");
    return 0;
}

/* --- run --- */

static void closed(void *arg)
{
    struct program *p = arg;
    if (--p->closing == 0)
        uv_stop(&p->loop);
}

/* A manager that does not hear it does its own waiting. */
static void tell_manager(const char *state)
{
    cleanup_error struct os_error err = {0};
    if (os_notify(state, &err) < 0)
        os_log_warn("gateway", "%s", os_error_text(&err));
}

static void on_signal(uv_signal_t *s, int number)
{
    struct program *p = s->data;
    if (p->closing)
        return;
    os_log_info("gateway", "stopping on signal %d", number);
    p->gw.ending = true;
    tell_manager("STOPPING=1");
    health_ending(p->gw.health);
    p->closing = p->health ? 2 : 1;
    if (p->health)
        rpc_server_shutdown(p->health, 0, closed, p);
    rpc_server_shutdown(p->gw.rpc, SHUTDOWN_GRACE_MS, closed, p);
}

static void catch_signals(struct program *p)
{
    uv_signal_init(&p->loop, &p->sigterm);
    uv_signal_init(&p->loop, &p->sigint);
    p->sigterm.data = p->sigint.data = p;
    uv_signal_start(&p->sigterm, on_signal, SIGTERM);
    uv_signal_start(&p->sigint, on_signal, SIGINT);
}

static void reconcile_work(void *arg)
{
    struct program *p = arg;
    reserve_keep(p->gw.reserve);
    lifecycle_reconcile(&p->gw);
}

static void on_sweep(uv_timer_t *t);

static void reconciled(void *arg)
{
    struct program *p = arg;
    if (!uv_is_closing((uv_handle_t *)&p->sweep))
        uv_timer_start(&p->sweep, on_sweep, p->gw.settling ? OS_GATEWAY_SETTLE_MS : OS_GATEWAY_SWEEP_MS, 0);
}

static void on_sweep(uv_timer_t *t)
{
    struct program *p = t->data;
    p->gw.settling = false;
    rpc_server_work(p->gw.rpc, reconcile_work, reconciled, p);
}

static void reap_work(void *arg)
{
    struct program *p = arg;
    ssh_sessions_reap(&p->gw, NULL);
}

static void reap_done(void *arg)
{
}

static void on_reap(uv_timer_t *t)
{
    struct program *p = t->data;
    rpc_server_work(p->gw.rpc, reap_work, reap_done, p);
}

/* With a full disk the reserve is what a start is made of: from then on sandboxes can be deleted. */
static int start_compute(struct program *p, struct os_error *err)
{
    if (start_driver(p, err) == 0)
        return 0;
    if (err->sys_errno != ENOSPC || !reserve_release(p->gw.reserve))
        return -1;
    os_error_clear(err);
    return start_driver(p, err);
}

static int start(struct program *p, struct os_error *err)
{
    p->state = os_state_dir(err);
    p->tls_dir = p->state ? os_tls_dir(err) : NULL;
    if (!p->tls_dir || gateway_options_read_file(&p->options, err) < 0 ||
        gateway_options_check(&p->options, err) < 0)
        return fail(err, "configuration");
    os_log_set_level(p->options.log_level);
    p->gw.policy_failure_mode = p->options.policy_failure_mode;
    p->gw.allow_unauthenticated = p->options.allow_unauthenticated;
    if (p->options.config_path)
        os_log_info("gateway", "settings of %s", p->options.config_path);
    if (lock_state(p, err) < 0 || setup_identity(p, err) < 0 || start_middlewares(p, err) < 0 ||
        open_store(p, err) < 0 || start_servers(p, err) < 0 || start_compute(p, err) < 0)
        return -1;
    uv_timer_init(&p->loop, &p->sweep);
    uv_unref((uv_handle_t *)&p->sweep);
    p->sweep.data = p;
    rpc_server_work(p->gw.rpc, reconcile_work, reconciled, p);
    uv_timer_init(&p->loop, &p->reap);
    p->reap.data = p;
    uv_timer_start(&p->reap, on_reap, OS_SSH_SESSION_REAP_MS, OS_SSH_SESSION_REAP_MS);
    uv_unref((uv_handle_t *)&p->reap);
    catch_signals(p);
    cleanup_free char *url = endpoint(p);
    os_log_info("gateway", "openshell-gateway %s is listening on %s", OPENSHELL_VERSION, url);
    tell_manager("READY=1");
    return 0;
}

static void close_handle(uv_handle_t *h, void *arg)
{
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

static void stop(struct program *p)
{
    struct gateway *gw = &p->gw;
    if (p->health)
        rpc_server_free(p->health);
    if (gw->rpc)
        rpc_server_free(gw->rpc);
    if (gw->driver)
        gw->driver->ops->free(gw->driver->self);
    compute_events_free(p->events);
    if (gw->health)
        health_stop(gw->health);
    uv_walk(&p->loop, close_handle, NULL);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    uv_loop_close(&p->loop);
    health_free(gw->health);
    health_watches_free(gw->health_watches);
    sessions_free(gw->sessions);
    watches_free(gw->watches);
    logbus_free(gw->logs);
    if (gw->store)
        store_close(gw->store);
    free(gw->reserve);
    middlewares_free(gw->middlewares);
    mint_limit_free(&gw->mints);
    jwt_keys_free(gw->jwt);
    SSL_CTX_free(p->tls);
    if (p->lock_fd >= 0)
        close(p->lock_fd);
    char *texts[] = {p->state, p->tls_dir, p->client_ca, p->client_cert, p->client_key};
    for (size_t i = 0; i < OS_ARRAY_LEN(texts); i++)
        free(texts[i]);
}

static void prepare_process(void)
{
    struct rlimit files;
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int serve(struct program *p)
{
    cleanup_error struct os_error err = {0};
    prepare_process();
    os_log_set_level(p->options.log_level);
    p->lock_fd = -1;
    uv_loop_init(&p->loop);
    p->gw.loop = &p->loop;
    p->gw.settling = true;
    pthread_mutex_init(&p->gw.sync, NULL);
    mint_limit_init(&p->gw.mints);
    for (size_t i = 0; i < GATEWAY_GATES; i++)
        pthread_mutex_init(&p->gw.gates[i], NULL);
    int rc = start(p, &err);
    if (rc == 0)
        uv_run(&p->loop, UV_RUN_DEFAULT);
    else
        fprintf(stderr, "%s\n", os_error_text(&err));
    stop(p);
    return rc == 0 ? 0 : 1;
}

static int generate_certs(const struct gateway_options *o)
{
    cleanup_error struct os_error err = {0};
    bool created = false;
    int rc = o->dry_run ? certs_print(&o->server_sans, &err)
                        : certs_ensure(o->output_dir, &o->server_sans, &created, &err);
    if (rc < 0) {
        fprintf(stderr, "%s\n", os_error_text(&err));
        return 1;
    }
    if (!o->dry_run)
        printf("%s %s\n",
               created ? "wrote certificates and token keys to" : "kept the certificates and token keys in",
               o->output_dir);
    return 0;
}

static void show_help(bool certs)
{
    cleanup_buf struct os_buf text = {0};
    gateway_options_help(certs, &text);
    fputs(os_buf_str(&text), stdout);
}

int main(int argc, char **argv)
{
    static struct program p;
    cleanup_error struct os_error err = {0};
    os_open_standard_fds();
    if (gateway_options_parse(&p.options, argc, argv, &err) < 0) {
        fprintf(stderr, "error: %s\n", os_error_text(&err));
        gateway_options_free(&p.options);
        return 2;
    }
    int rc = 0;
    switch (p.options.command) {
    case GATEWAY_HELP:
    case GATEWAY_CERTS_HELP:
        show_help(p.options.command == GATEWAY_CERTS_HELP);
        break;
    case GATEWAY_VERSION:
        puts("openshell-gateway " OPENSHELL_VERSION);
        break;
    case GATEWAY_GENERATE_CERTS:
        rc = generate_certs(&p.options);
        break;
    case GATEWAY_SERVE:
        rc = serve(&p);
        break;
    }
    gateway_options_free(&p.options);
    return rc;
}
