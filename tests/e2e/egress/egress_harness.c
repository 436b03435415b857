/* Egress without the rest of the supervisor: policy from a YAML file (SIGHUP reads it again), process
 * identity from a text file, audit lines on stdout. SIGTERM ends it after every connection thread is gone.
 *
 *   egress_harness --policy FILE --identity FILE --ca-dir DIR [--extra-ca FILE] [--hosts FILE] [--namespace]
 *                  [--rules FILE --opa PATH --rules-dir DIR [--alone]] [--secrets FILE] [--credentialed HOST]
 *                  [--middleware FILE]
 *                  [the supervisor's --upstream-... options]
 *
 * The secrets file holds the settings secret_egress_mode and secret_egress_allow, one a line, and is read
 * again with the policy. Endpoints of a credentialed host are marked as a provider's, as the gateway does it.
 *
 * The identity file holds "pid", the executable and its ancestors, one a line; or "!" and the reason why the
 * owner cannot be told. The middleware file names services of operators, one a line: name, endpoint, bytes,
 * timeout, CA file and token ("-" = none); it is read again with the policy. Rules run in a real policy agent
 * under its keeper, as in a sandbox. With --namespace the sockets are made in a network namespace of their
 * own, as in a sandbox, and the ready line names a process directory that leads to it. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "policy/middleware.h"
#include "supervisor/audit/json.h"
#include "supervisor/egress/egress.h"
#include "supervisor/egress/middleware/registry.h"
#include "supervisor/monitor/monitor.h"
#include "supervisor/rules/rules.h"
#include "sys/file.h"

#define RULES_UID 1337

static const char *secrets_file, *credentialed;
static const char *policy_file, *identity_file, *rules_file, *rules_dir, *opa, *middleware_file;
static struct middleware_loop *middlewares;
static struct rules *rules;
static bool alone;
static pthread_mutex_t print_lock = PTHREAD_MUTEX_INITIALIZER;

static void say(const char *what, const char *text)
{
    pthread_mutex_lock(&print_lock);
    printf("%s %s\n", what, text);
    fflush(stdout);
    pthread_mutex_unlock(&print_lock);
}

static void die(const char *what, const struct os_error *err)
{
    fprintf(stderr, "egress_harness: %s: %s\n", what, err ? os_error_text(err) : strerror(errno));
    exit(1);
}

static void print_event(void *ctx, int64_t time_ms, const struct audit_event *ev, const char *shorthand)
{
    static const struct audit_origin origin = {.version = "test", .sandbox_id = "test"};
    cleanup_buf struct os_buf json = {0};
    audit_json(ev, &origin, time_ms, &json);
    say("JSON", os_buf_str(&json));
    say("AUDIT", shorthand);
}

static int identify(void *ctx, const struct sockaddr_storage *agent, const struct sockaddr_storage *local,
                    struct os_arena *arena, struct egress_identity *out, struct os_error *err)
{
    cleanup_buf struct os_buf text = {0};
    cleanup_strv struct os_strv lines = {0};
    if (os_file_read(identity_file, 65536, &text, err) < 0)
        return -1;
    os_strv_split(&lines, os_str_trim(text.data), '\n');
    if (lines.n < 2)
        return os_error_set(err, OS_INVALID_ARGUMENT, "identity file is too short");
    if (!strcmp(lines.v[0], "!"))
        return os_error_set(err, OS_NOT_FOUND, "%s", lines.v[1]);
    const char **ancestors = os_arena_alloc(arena, lines.n * sizeof(*ancestors));
    for (size_t i = 2; i < lines.n; i++)
        ancestors[i - 2] = os_arena_strdup(arena, lines.v[i]);
    *out = (struct egress_identity){.pid = atoi(lines.v[0]),
                                    .process = {.exe = os_arena_strdup(arena, lines.v[1]),
                                                .ancestors = ancestors,
                                                .n_ancestors = lines.n - 2}};
    return 0;
}

/* One line of the middleware file; *token is set when there is one. */
static middleware_registration *read_service(struct os_arena *arena, char *line, const char **token)
{
    cleanup_strv struct os_strv word = {0};
    struct os_error err cleanup_error = {0};
    middleware_registration *r = os_arena_alloc(arena, sizeof(*r));
    cleanup_buf struct os_buf ca = {0};
    openshell__sandbox__v1__supervisor_middleware_service__init(r);
    os_strv_split(&word, line, ' ');
    if (word.n != 6)
        die("middleware file", NULL);
    r->name = os_arena_strdup(arena, word.v[0]);
    r->grpc_endpoint = os_arena_strdup(arena, word.v[1]);
    r->max_payload_bytes = strtoull(word.v[2], NULL, 10);
    r->timeout = os_arena_strdup(arena, word.v[3]);
    if (strcmp(word.v[4], "-") != 0 && os_file_read(word.v[4], 65536, &ca, &err) < 0)
        die("CA file", &err);
    r->tls_ca_cert_pem =
        (ProtobufCBinaryData){ca.len, ca.len ? os_arena_memdup(arena, ca.data, ca.len) : NULL};
    *token = strcmp(word.v[5], "-") != 0 ? os_arena_strdup(arena, word.v[5]) : NULL;
    r->allow_insecure_transport = !*token;
    return r;
}

static struct middleware_registry *load_services(struct os_error *err)
{
    struct os_arena arena cleanup_arena = {0};
    cleanup_buf struct os_buf text = {0};
    cleanup_strv struct os_strv lines = {0};
    middleware_registration *list[64];
    struct middleware_token tokens[64];
    if (!middlewares)
        middlewares = middleware_loop_new();
    if (os_file_read(middleware_file, 65536, &text, err) < 0)
        return NULL;
    struct middleware_registry_options opt = {.loop = middlewares,
                                              .services = list,
                                              .authentication = true,
                                              .tokens = tokens,
                                              .sandbox_id = "test-id",
                                              .sandbox_name = "test-name",
                                              .workspace = "test-workspace"};
    os_strv_split(&lines, os_str_trim(text.data ? text.data : (char[1]){0}), '\n');
    for (size_t i = 0; i < lines.n && i < OS_ARRAY_LEN(list) && *lines.v[i]; i++) {
        const char *token;
        list[opt.n_services] = read_service(&arena, lines.v[i], &token);
        if (token)
            tokens[opt.n_tokens++] =
                (struct middleware_token){.service = list[opt.n_services]->name, .token = token};
        opt.n_services++;
    }
    return middleware_registry_new(&opt, err);
}

static struct policy_engine *load(uint64_t generation, struct os_error *err)
{
    struct os_arena arena cleanup_arena = {0};
    cleanup_buf struct os_buf text = {0};
    if (os_file_read(policy_file, 1 << 20, &text, err) < 0)
        return NULL;
    policy_doc *doc = alone ? policy_yaml_parse_data(&arena, os_buf_str(&text), text.len, err)
                            : policy_yaml_parse(&arena, os_buf_str(&text), text.len, err);
    if (!doc)
        return NULL;
    for (size_t i = 0; credentialed && i < doc->n_network_policies; i++)
        for (size_t k = 0; k < doc->network_policies[i]->value->n_endpoints; k++) {
            policy_endpoint_doc *ep = doc->network_policies[i]->value->endpoints[k];
            ep->provider_credentialed = os_str_ends(ep->host, credentialed);
        }
    const struct policy_compile_options opt = {
        .binary_identity = true, .version = (uint32_t)generation, .generation = generation};
    struct middleware_registry *services = middleware_file ? load_services(err) : NULL;
    if (middleware_file && !services)
        return NULL;
    struct policy_engine *engine = policy_compile(doc, &opt, err);
    if (engine && services)
        policy_engine_attach(engine, services, middleware_registry_unref);
    else
        middleware_registry_unref(services);
    if (engine && rules)
        rules_set_policy(rules, doc, &opt);
    return engine;
}

static int listen_on_loopback(int type)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 ||
        (type == SOCK_STREAM && listen(fd, 128) < 0))
        die("cannot listen", NULL);
    return fd;
}

static unsigned port_of(int fd)
{
    struct sockaddr_in sin = {0};
    socklen_t len = sizeof(sin);
    getsockname(fd, (struct sockaddr *)&sin, &len);
    return ntohs(sin.sin_port);
}

struct namespace
{
    struct monitor_sockets sockets;
    pthread_barrier_t made;
    long tid;
};

/* Stays alive so that the namespace can be entered through it. */
static void *namespace_main(void *arg)
{
    struct namespace *ns = arg;
    struct os_error err cleanup_error = {0};
    if (monitor_network_setup(&ns->sockets, &err) < 0)
        die("cannot set up the namespace", &err);
    ns->tid = syscall(SYS_gettid);
    pthread_barrier_wait(&ns->made);
    for (;;)
        pause();
    return NULL;
}

static void make_sockets(bool in_namespace, struct egress_options *opt)
{
    if (!in_namespace) {
        opt->proxy_listener = listen_on_loopback(SOCK_STREAM);
        opt->trap_listener = listen_on_loopback(SOCK_STREAM);
        opt->udp_trap = listen_on_loopback(SOCK_DGRAM);
        opt->dns_tcp = listen_on_loopback(SOCK_STREAM);
        opt->dns_udp = listen_on_loopback(SOCK_DGRAM);
        return;
    }
    static struct namespace ns;
    pthread_t thread;
    pthread_barrier_init(&ns.made, NULL, 2);
    if (pthread_create(&thread, NULL, namespace_main, &ns))
        die("cannot start a thread", NULL);
    pthread_barrier_wait(&ns.made);
    opt->proxy_listener = ns.sockets.proxy;
    opt->trap_listener = ns.sockets.trap;
    opt->udp_trap = ns.sockets.udp_trap;
    opt->dns_tcp = ns.sockets.dns_tcp;
    opt->dns_udp = ns.sockets.dns_udp;
    cleanup_free char *dir = os_asprintf("/proc/%d/task/%ld", (int)getpid(), ns.tid);
    say("NAMESPACE", dir);
}

/* mode and allow-list; kept for the start. */
static void read_secrets(const char **mode, const char **allow)
{
    static struct os_strv lines;
    cleanup_buf struct os_buf text = {0};
    if (!secrets_file || os_file_read(secrets_file, 65536, &text, NULL) < 0)
        return;
    os_strv_free(&lines);
    os_strv_split(&lines, os_str_trim(text.data), '\n');
    *mode = lines.v[0];
    *allow = lines.n > 1 ? lines.v[1] : NULL;
}

static void reload(struct egress *egress, struct policy_slot *slot, uint64_t generation)
{
    const char *mode = NULL, *allow = NULL;
    read_secrets(&mode, &allow);
    egress_set_secrets(egress, mode, allow);
    struct os_error err cleanup_error = {0};
    struct policy_engine *engine = load(generation, &err);
    if (!engine) {
        say("REFUSED", os_error_text(&err));
        return;
    }
    policy_slot_publish(slot, engine);
    say("RELOADED", "");
}

static void no_secrets(void *ctx)
{
}

/* Before anything else, as main does it. */
static void start_rules(struct os_error *err)
{
    static struct os_buf text;
    if (os_file_read(rules_file, 1 << 20, &text, err) < 0 || os_dir_make(rules_dir, 0700, err) < 0 ||
        chown(rules_dir, RULES_UID, RULES_UID) < 0 || !(opa = rules_find_opa(opa, err)))
        die("rules", err);
    pid_t keeper = rules_keeper_start(opa, rules_dir, RULES_UID, RULES_UID, no_secrets, NULL, err);
    if (keeper < 0)
        die("rules", err);
    cleanup_free char *pid = os_asprintf("%d", (int)keeper);
    say("KEEPER", pid);
    rules = rules_new(rules_dir, text.data, text.len, alone);
}

int main(int argc, char **argv)
{
    struct egress_options opt = {0};
    struct os_error err cleanup_error = {0};
    cleanup_buf struct os_buf hosts = {0};
    bool in_namespace = false;
    struct forward_proxy_given given = {0};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--namespace")) {
            in_namespace = true;
            continue;
        }
        if (!strcmp(argv[i], "--alone")) {
            alone = true;
            continue;
        }
        if (!strcmp(argv[i], "--upstream-proxy-auth-allow-insecure")) {
            given.auth_allow_insecure = true;
            continue;
        }
        if (!strcmp(argv[i], "--upstream-proxy-connect-by-hostname")) {
            given.connect_by_hostname = true;
            continue;
        }
        if (!strcmp(argv[i], "--upstream-proxy"))
            given.url = value;
        else if (!strcmp(argv[i], "--upstream-no-proxy"))
            given.no_proxy = value;
        else if (!strcmp(argv[i], "--upstream-proxy-auth-file"))
            given.auth_file = value;
        else if (!strcmp(argv[i], "--policy"))
            policy_file = value;
        else if (!strcmp(argv[i], "--identity"))
            identity_file = value;
        else if (!strcmp(argv[i], "--rules"))
            rules_file = value;
        else if (!strcmp(argv[i], "--rules-dir"))
            rules_dir = value;
        else if (!strcmp(argv[i], "--opa"))
            opa = value;
        else if (!strcmp(argv[i], "--secrets"))
            secrets_file = value;
        else if (!strcmp(argv[i], "--credentialed"))
            credentialed = value;
        else if (!strcmp(argv[i], "--middleware"))
            middleware_file = value;
        else if (!strcmp(argv[i], "--ca-dir"))
            opt.ca_dir = value;
        else if (!strcmp(argv[i], "--extra-ca"))
            opt.extra_ca_file = value;
        else if (!strcmp(argv[i], "--hosts") && os_file_read(value, 65536, &hosts, &err) < 0)
            die("cannot read the hosts file", &err);
        i++;
    }
    if (!policy_file || !identity_file || !opt.ca_dir)
        die("--policy, --identity and --ca-dir are needed", &err);
    static struct forward_proxy proxy;
    static const struct forward_proxy_names names = {
        "--upstream-proxy", "--upstream-no-proxy", "auth file", "insecure", "by hostname", "upstream proxy"};
    if (forward_proxy_load(&proxy, &given, &names, &err) < 0)
        die("proxy", &err);
    opt.upstream_proxy = given.url ? &proxy : NULL;
    if (rules_file)
        start_rules(&err);
    struct policy_engine *engine = load(1, &err);
    if (!engine)
        die("policy", &err);
    if (rules && rules_load(rules, &err) < 0)
        die("rules", &err);
    opt.extra = rules ? rules_extra(rules) : NULL;

    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    opt.policy = policy_slot_new(engine);
    opt.identify = identify;
    opt.audit = audit_new();
    opt.extra_hosts = hosts.data;
    audit_add_sink(opt.audit, print_event, NULL);
    make_sockets(in_namespace, &opt);
    read_secrets(&opt.secret_mode, &opt.secret_allow);
    struct egress *egress = egress_start(&opt, &err);
    if (!egress)
        die("egress", &err);
    cleanup_free char *ports =
        os_asprintf("%u %u %u", port_of(opt.proxy_listener), in_namespace ? 0 : port_of(opt.trap_listener),
                    in_namespace ? 0 : port_of(opt.udp_trap));
    say("READY", ports);
    int sig = 0;
    for (uint64_t generation = 2; sigwait(&set, &sig) == 0 && sig == SIGHUP; generation++)
        reload(egress, opt.policy, generation);
    egress_stop(egress);
    policy_slot_free(opt.policy);
    middleware_loop_free(middlewares);
    audit_free(opt.audit);
    say("STOPPED", "");
    return 0;
}
