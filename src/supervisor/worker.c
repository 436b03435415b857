/* The worker: one libuv loop that ties gateway session, policy, isolation, egress and the agent's processes
 * together, in the start-up order of spec/supervisor.md 2. Everything it reads may be hostile; it has no
 * privilege to lose. */
#include "supervisor/worker.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/id.h"
#include "core/limits.h"
#include "net/dns.h"
#include "supervisor/agent/agent.h"
#include "supervisor/audit/audit.h"
#include "supervisor/audit/file.h"
#include "supervisor/audit/json.h"
#include "supervisor/egress/egress.h"
#include "supervisor/enforcement.h"
#include "supervisor/isolation_report.h"
#include "supervisor/monitor/account.h"
#include "supervisor/monitor/client.h"
#include "supervisor/rules/rules.h"
#include "supervisor/services.h"
#include "supervisor/session/session.h"
#include "supervisor/ssh/sshd.h"
#include "supervisor/summary.h"

#define LOG_TARGET "supervisor"
#define LOG_DIR "/var/log"
#define LOG_PREFIX "openshell"
#define JSON_PREFIX "openshell-ocsf"
#define JSON_SETTING "ocsf_json_enabled"
#define SECRET_MODE_SETTING "secret_egress_mode"
#define SECRET_ALLOW_SETTING "secret_egress_allow"
#define HOME "/sandbox"
#define EXIT_FATAL 1
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127
#define EXIT_SIGTERM (128 + SIGTERM)
#define TEXT(n) #n
#define PORT_TEXT(n) TEXT(n)
#define PROXY_URL "http://10.200.0.1:" PORT_TEXT(OS_PROXY_PORT)

typedef Openshell__Sandbox__V1__SettingValue setting_value;

struct worker {
    const struct supervisor_options *opt;
    struct monitor_sockets sockets;
    uv_loop_t loop;
    uv_timer_t settle;
    struct audit *audit;
    struct audit_file *log_file;
    struct audit_json_file *json;
    bool json_enabled;
    char *secret_mode, *secret_allow; /* settings; NULL = unset */
    struct agent *agent;
    struct monitor_client *monitor;
    struct session *session;
    struct sshd *sshd;
    struct enforcement *enforcement;
    struct services *services;
    bool services_missing; /* and that was said */
    struct rules *rules;   /* NULL = the compiled policy decides alone */
    struct egress *egress;
    bool started; /* the first configuration was acted on */
    bool ending;
    int status;
};

/* --- lines out: stderr, file, gateway --- */

static void push_log(void *ctx, enum os_log_level level, const char *target, const char *message)
{
    struct worker *w = ctx;
    int64_t now = os_clock_ms();
    if (level <= OS_LOG_INFO)
        audit_file_log(w->log_file, now, os_log_level_name(level), target, message);
    if (level <= w->opt->push_level)
        session_log(w->session, now, os_log_level_name(level), target, message);
}

static void push_audit(void *ctx, int64_t time_ms, const struct audit_event *ev, const char *shorthand)
{
    (void)ev;
    struct worker *w = ctx;
    session_log(w->session, time_ms, "OCSF", "ocsf", shorthand);
}

static void print_audit(void *ctx, int64_t time_ms, const struct audit_event *ev, const char *shorthand)
{
    (void)ctx, (void)ev;
    struct os_buf cleanup_buf line = {0};
    audit_text_line(time_ms, shorthand, &line);
    fprintf(stderr, "%s\n", os_buf_str(&line));
}

static void open_sinks(struct worker *w)
{
    w->log_file = audit_file_new(LOG_DIR, LOG_PREFIX);
    audit_add_sink(w->audit, audit_file_sink, w->log_file);
    char hostname[HOST_NAME_MAX + 1] = "";
    gethostname(hostname, sizeof(hostname) - 1);
    const struct audit_origin origin = {.version = OPENSHELL_VERSION,
                                        .sandbox_id = w->opt->sandbox_id,
                                        .sandbox_name = w->opt->sandbox_name,
                                        .hostname = hostname,
                                        .image = getenv("OPENSHELL_CONTAINER_IMAGE")};
    w->json = audit_json_file_new(LOG_DIR, JSON_PREFIX, &origin);
    audit_add_sink(w->audit, audit_json_file_sink, w->json);
    if (w->opt->log_level >= OS_LOG_INFO)
        audit_add_sink(w->audit, print_audit, NULL);
    audit_add_sink(w->audit, push_audit, w);
    os_log_set_sink(push_log, w, w->opt->push_level > OS_LOG_INFO ? w->opt->push_level : OS_LOG_INFO);
}

/* --- the end --- */

static void quit(void *ctx)
{
    struct worker *w = ctx;
    monitor_client_quit(w->monitor, w->status);
    uv_stop(&w->loop);
}

static void end(struct worker *w, int status)
{
    if (w->ending)
        return;
    w->ending = true;
    w->status = status;
    session_stop(w->session, quit, w);
}

static void fatal(struct worker *w, const struct os_error *err)
{
    os_log_error(LOG_TARGET, "%s", os_error_text(err));
    end(w, EXIT_FATAL);
}

static void exit_reported(void *ctx)
{
    struct worker *w = ctx;
    end(w, w->status);
}

static void report_end(struct worker *w, int status, const char *start_error)
{
    w->status = status;
    session_report_exit(w->session, status, start_error, exit_reported, w);
}

static void stay(void *ctx)
{
    (void)ctx;
}

static const char *program_name(const struct worker *w)
{
    const char *path = w->opt->command.v[0], *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static void on_main_exit(void *ctx, int status)
{
    struct worker *w = ctx;
    audit_emit(w->audit, &(struct audit_event){.cls = AUDIT_PROC,
                                               .activity = "Terminate",
                                               .severity = status == 0 ? AUDIT_SEV_INFO : AUDIT_SEV_LOW,
                                               .process = program_name(w),
                                               .pid = agent_main_pid(w->agent),
                                               .exit_code = status,
                                               .has_exit_code = true});
    if (w->opt->keep)
        session_report_exit(w->session, status, NULL, stay, w);
    else
        report_end(w, status, NULL);
}

static void on_terminate(void *ctx, bool main_running)
{
    struct worker *w = ctx;
    if (!main_running) /* nothing to wait for: before the start, or the report is still on its way */
        end(w, w->status ? w->status : EXIT_SIGTERM);
}

/* --- start-up --- */

static int isolate(struct worker *w, const policy_doc *doc, struct os_error *err)
{
    struct os_strv cleanup_strv rw = {0};
    const Openshell__Sandbox__V1__FilesystemPolicy *fs = doc->filesystem;
    struct monitor_plan plan = {
        .hard_requirement = doc->landlock && os_str_eq(doc->landlock->compatibility, "hard_requirement"),
        .workdir = w->opt->workdir ? w->opt->workdir : "",
    };
    if (fs) {
        plan.read_only = (const char *const *)fs->read_only;
        plan.n_read_only = fs->n_read_only;
        for (size_t i = 0; i < fs->n_read_write; i++)
            os_strv_add(&rw, fs->read_write[i]);
        if (fs->include_workdir && plan.workdir[0] && !os_strv_has(&rw, plan.workdir))
            os_strv_add(&rw, plan.workdir);
    }
    plan.read_write = (const char *const *)rw.v;
    plan.n_read_write = rw.n;
    struct monitor_isolation got;
    if (monitor_client_isolate(w->monitor, &plan, &got, err) < 0)
        return -1;
    cleanup_free char *detail = NULL;
    bool complete = isolation_report(w->audit, &plan, &got, &detail);
    session_set_enforcement(w->session, complete, detail);
    return 0;
}

/* Rules that do not compile end the sandbox; an agent that is not there yet only has everything denied. */
static int load_rules(struct worker *w, struct os_error *err)
{
    struct os_error cleanup_error why = {0};
    if (!w->rules || rules_load(w->rules, &why) == 0)
        return 0;
    if (why.code == OS_INVALID_ARGUMENT)
        return os_error_set(err, why.code, "%s", os_error_text(&why));
    os_log_error(LOG_TARGET, "everything is denied until the policy agent is there: %s", os_error_text(&why));
    return 0;
}

static int start_egress(struct worker *w, struct os_error *err)
{
    struct egress_options opt = {
        .proxy_listener = w->sockets.proxy,
        .trap_listener = w->sockets.trap,
        .udp_trap = w->sockets.udp_trap,
        .dns_tcp = w->sockets.dns_tcp,
        .dns_udp = w->sockets.dns_udp,
        .policy = enforcement_slot(w->enforcement),
        .extra = w->rules ? rules_extra(w->rules) : NULL,
        .identify = monitor_client_identify,
        .identify_ctx = w->monitor,
        .audit = w->audit,
        .ca_dir = w->opt->ca_dir,
        .extra_ca_file = w->opt->extra_ca_file,
        .upstream_proxy = w->opt->upstream_proxy.url.host[0] ? &w->opt->upstream_proxy : NULL,
        .extra_hosts = w->opt->extra_hosts.len ? w->opt->extra_hosts.data : NULL,
        .secret_mode = w->secret_mode,
        .secret_allow = w->secret_allow,
    };
    w->egress = egress_start(&opt, err);
    return w->egress ? 0 : -1;
}

/* A command that cannot be run is the agent's end, not the supervisor's: shells' codes say why. */
static void main_failed(struct worker *w, const struct os_error *err)
{
    cleanup_free char *note = os_asprintf("openshell: %s\n", os_error_text(err));
    os_log_error(LOG_TARGET, "the main process cannot be started: %s", os_error_text(err));
    agent_main_note(w->agent, note);
    if (err->code == OS_NOT_FOUND)
        report_end(w, EXIT_NOT_FOUND, os_error_text(err));
    else if (err->code == OS_PERMISSION_DENIED || err->code == OS_INVALID_ARGUMENT)
        report_end(w, EXIT_NOT_EXECUTABLE, os_error_text(err));
    else
        fatal(w, err);
}

static void settle(uv_timer_t *timer)
{
    (void)timer;
    monitor_settle();
}

static void start(struct worker *w, const session_config *config)
{
    struct os_arena cleanup_arena arena = {0};
    struct os_error cleanup_error err = {0};
    const struct os_buf *data = &w->opt->data;
    if (data->len && enforcement_use_file(w->enforcement, data->data, data->len, &err) < 0) {
        fatal(w, &err);
        return;
    }
    const policy_doc *doc = enforcement_begin(w->enforcement, config, &arena);
    if (!config->policy && w->opt->sandbox_name && !w->opt->data.len)
        session_offer_policy(w->session, w->opt->sandbox_name, doc);
    if (isolate(w, doc, &err) < 0 || load_rules(w, &err) < 0 || start_egress(w, &err) < 0) {
        fatal(w, &err);
        return;
    }
    struct agent_command command = {
        .argv = (const char *const *)w->opt->command.v,
        .tty = w->opt->tty,
        .timeout_seconds = w->opt->timeout_seconds,
    };
    if (agent_start_main(w->agent, &command, &err) < 0) {
        main_failed(w, &err);
        return;
    }
    audit_emit(w->audit, &(struct audit_event){.cls = AUDIT_PROC,
                                               .activity = "Launch",
                                               .severity = AUDIT_SEV_INFO,
                                               .process = program_name(w),
                                               .pid = agent_main_pid(w->agent)});
    session_start(w->session);
    uv_timer_start(&w->settle, settle, OS_SETTLE_MS, 0);
}

/* The value of a setting, NULL when it is unset. */
static const setting_value *find_setting(const session_config *config, const char *key)
{
    for (size_t i = 0; i < config->n_settings; i++)
        if (os_str_eq(config->settings[i]->key, key) && config->settings[i]->value)
            return config->settings[i]->value->value;
    return NULL;
}

static const char *text_setting(const session_config *config, const char *key)
{
    const setting_value *v = find_setting(config, key);
    return v && v->value_case == OPENSHELL__SANDBOX__V1__SETTING_VALUE__VALUE_STRING_VALUE ? v->string_value
                                                                                           : NULL;
}

static void apply_json(struct worker *w, const session_config *config)
{
    const setting_value *v = find_setting(config, JSON_SETTING);
    bool json =
        v && v->value_case == OPENSHELL__SANDBOX__V1__SETTING_VALUE__VALUE_BOOL_VALUE && v->bool_value;
    if (json == w->json_enabled)
        return;
    w->json_enabled = json;
    audit_json_file_enable(w->json, json);
    os_log_info(LOG_TARGET, "setting changed: " JSON_SETTING " = %s", json ? "true" : "false");
}

/* Before the proxy runs the values are only kept: it starts with them. */
static void apply_secrets(struct worker *w, const session_config *config)
{
    const char *mode = text_setting(config, SECRET_MODE_SETTING);
    const char *allow = text_setting(config, SECRET_ALLOW_SETTING);
    if (os_str_eq(mode, w->secret_mode) && os_str_eq(allow, w->secret_allow))
        return;
    free(w->secret_mode);
    free(w->secret_allow);
    w->secret_mode = mode ? os_strdup(mode) : NULL;
    w->secret_allow = allow ? os_strdup(allow) : NULL;
    os_log_info(LOG_TARGET, "setting changed: " SECRET_MODE_SETTING " = %s", mode ? mode : "audit");
    if (w->egress)
        egress_set_secrets(w->egress, mode, allow);
}

/* The settings that a supervisor acts on (spec/supervisor.md 13.1). */
static void apply_settings(struct worker *w, const session_config *config)
{
    apply_json(w, config);
    apply_secrets(w, config);
}

/* A global policy that ruled from the start was taken away: the gateway is told what the sandbox brought
 * along and sends it back as its first revision. The old one stays in force until then. */
static void offer_own_policy(struct worker *w)
{
    struct os_arena cleanup_arena arena = {0};
    if (w->opt->sandbox_name && !w->opt->data.len)
        session_offer_policy(w->session, w->opt->sandbox_name,
                             enforcement_own_policy(w->enforcement, &arena));
}

/* Services that do not answer leave the policy and those of before in force. At the start there are none:
 * then what needs them is denied until they are there. */
static void on_services(void *ctx, const session_config *config, struct middleware_registry *registry,
                        const struct os_error *why)
{
    struct worker *w = ctx;
    if (w->ending) {
        middleware_registry_unref(registry);
        return;
    }
    if (why && !w->services_missing)
        audit_emit(w->audit,
                   &(struct audit_event){.cls = AUDIT_CONFIG,
                                         .activity = "Log",
                                         .severity = AUDIT_SEV_HIGH,
                                         .state = w->started ? "retained_last_valid" : "unavailable",
                                         .message = os_error_text(why)});
    w->services_missing = why != NULL;
    if (why && w->started)
        return;
    enforcement_set_services(w->enforcement, registry);
    if (w->started) {
        if (config->policy)
            enforcement_update(w->enforcement, config);
        else
            offer_own_policy(w);
        uv_timer_start(&w->settle, settle, OS_SETTLE_MS, 0);
        return;
    }
    w->started = true;
    start(w, config);
}

static void on_config(void *ctx, const session_config *config)
{
    struct worker *w = ctx;
    if (w->ending)
        return;
    apply_settings(w, config);
    services_prepare(w->services, config);
}

static void on_config_failed(void *ctx, const struct os_error *why)
{
    fatal(ctx, why);
}

static void report_policy(void *ctx, uint32_t version, bool loaded, const char *error)
{
    struct worker *w = ctx;
    session_report_policy(w->session, version, loaded, error);
}

static struct agent *make_agent(struct worker *w)
{
    struct agent_options opt = {
        .loop = &w->loop,
        .env = {.inherited = (const char *const *)environ,
                .user = ACCOUNT_NAME, /* whatever its number, /etc/passwd calls it that */
                .home = HOME,
                .proxy_url = PROXY_URL,
                .ca_dir = w->opt->ca_dir},
        .on_main_exit = on_main_exit,
        .on_terminate = on_terminate,
        .ctx = w,
    };
    return agent_new(&opt);
}

static int on_ssh(void *ctx, int fd, struct os_error *err)
{
    struct worker *w = ctx;
    return sshd_accept(w->sshd, fd, err);
}

static struct session *make_session(struct worker *w, struct os_error *err)
{
    char instance[OS_UUID_LEN];
    struct session_options opt = {
        .loop = &w->loop,
        .endpoint = w->opt->endpoint,
        .ca_pem = w->opt->tls_ca.len ? w->opt->tls_ca.data : NULL,
        .cert_pem = w->opt->tls_cert.len ? w->opt->tls_cert.data : NULL,
        .key_pem = w->opt->tls_key.len ? w->opt->tls_key.data : NULL,
        .server_name = w->opt->server_name,
        .token = w->opt->token.data,
        .sandbox_id = w->opt->sandbox_id,
        .instance_id = os_uuid(instance),
        .version = OPENSHELL_VERSION,
        .poll_seconds = w->opt->poll_seconds,
        .agent = w->agent,
        .on_config = on_config,
        .on_config_failed = on_config_failed,
        .on_ssh = on_ssh,
        .ctx = w,
    };
    return session_new(&opt, err);
}

static int confine(struct worker *w, int monitor, struct os_error *err)
{
    const struct monitor_config *id = &w->opt->identity;
    if (monitor_receive_sockets(monitor, &w->sockets, err) < 0 ||
        monitor_confine_worker(id->worker_uid, id->worker_gid, err) < 0)
        return -1;
    /* A worker without a monitor enforces nothing. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    /* Two descriptors per connection of the agent; the hard limit stays. */
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    return 0;
}

int worker_main(const struct supervisor_options *opt, int monitor)
{
    struct os_error cleanup_error err = {0};
    struct worker w = {.opt = opt};
    if (confine(&w, monitor, &err) < 0 || uv_loop_init(&w.loop) != 0) {
        os_log_error(LOG_TARGET, "%s", err.code ? os_error_text(&err) : "cannot start the event loop");
        return EXIT_FATAL;
    }
    uv_timer_init(&w.loop, &w.settle);
    if (opt->resolv_conf)
        net_dns_use_resolv_conf(opt->resolv_conf);
    w.audit = audit_new();
    w.agent = make_agent(&w);
    w.monitor = monitor_client_new(monitor, agent_child_exited, agent_terminated, w.agent);
    if (!w.monitor)
        return EXIT_FATAL;
    agent_set_monitor(w.agent, w.monitor);
    w.sshd = sshd_new(&w.loop, w.agent, w.audit);
    w.session = make_session(&w, &err);
    if (!w.session) {
        os_log_error(LOG_TARGET, "%s", os_error_text(&err));
        return EXIT_FATAL;
    }
    open_sinks(&w);
    os_log_info(LOG_TARGET, "Starting sandbox");
    w.enforcement = enforcement_new(w.audit, opt->binary_identity,
                                    w.sockets.trap >= 0 && w.sockets.dns_udp >= 0, report_policy, &w);
    if (opt->rules.len) {
        w.rules = rules_new(RULES_DIR, opt->rules.data, opt->rules.len, opt->data.len > 0);
        enforcement_use_rules(w.enforcement, w.rules);
    }
    w.services = services_new(&w.loop, w.session, opt->sandbox_id, opt->sandbox_name, on_services, &w);
    enforcement_use_summary(w.enforcement, summary_new(opt->workdir, w.rules != NULL, opt->data.len > 0));
    session_fetch_config(w.session);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    return w.status;
}
