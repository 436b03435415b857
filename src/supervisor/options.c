/* Command line and environment of openshell-sandbox. */
#include "supervisor/options.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/encode.h"
#include "core/limits.h"
#include "core/option.h"
#include "supervisor/monitor/account.h"
#include "supervisor/rules/rules.h"
#include "sys/file.h"

#define DEFAULT_CA_DIR "/etc/openshell-tls"
#define DEFAULT_WORKER 1337 /* spec/supervisor.md 1.1, the proxy's uid */
#define SECRET_MAX ((size_t)1 << 20)
#define HOSTS_MAX ((size_t)1 << 20)
#define ID_MAX 4294967294u

enum {
    OPT_NONE = 255,
#define OPTION(id, letter, name, metavar, env, fallback, help) OPT_##id,
#define UNSUPPORTED(name, metavar)
#include "supervisor/tbl/options.h"
    OPT_UNSUPPORTED,
};

#define ARGUMENT(metavar) (sizeof(metavar) > 1 ? required_argument : no_argument)

static const struct option flags[] = {
#define OPTION(id, letter, name, metavar, env, fallback, help)                                               \
    {name, ARGUMENT(metavar), NULL, letter ? letter : OPT_##id},
#define UNSUPPORTED(name, metavar) {name, ARGUMENT(metavar), NULL, OPT_UNSUPPORTED},
#include "supervisor/tbl/options.h"
    {0},
};

static void show_help(void)
{
    static const struct os_option listed[] = {
#define OPTION(id, letter, name, metavar, env, fallback, help) {name, letter, metavar, env, fallback, help},
#define UNSUPPORTED(name, metavar)
#include "supervisor/tbl/options.h"
    };
    struct os_buf cleanup_buf text = {0};
    os_option_help(listed, OS_ARRAY_LEN(listed), &text);
    fputs("Usage: openshell-sandbox [OPTIONS] [--] [COMMAND...]\n"
          "Runs COMMAND (or $OPENSHELL_MAIN_PROCESS_SPEC) isolated, with its network ruled by the sandbox's "
          "policy.\n\n",
          stdout);
    fputs(os_buf_str(&text), stdout);
}

/* Values as given, before they are interpreted. */
struct raw {
    const char *agent_uid, *worker_uid, *extra_hosts, *log_level, *timeout, *rules, *data, *opa;
    struct forward_proxy_given proxy; /* never from the environment */
};

static const char *env(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

static uint32_t env_u32(const char *name, uint32_t otherwise)
{
    uint64_t v;
    const char *text = env(name);
    return text && os_str_u64(text, UINT32_MAX, &v) ? (uint32_t)v : otherwise;
}

static enum options_result read_mode(const char *mode, struct os_error *err)
{
    struct os_strv cleanup_strv parts = {0};
    bool network = false, process = false;
    os_strv_split(&parts, mode, ',');
    for (size_t i = 0; i < parts.n; i++) {
        const char *p = os_str_trim(parts.v[i]);
        if (strcmp(p, "network-init") == 0 && parts.n > 1) {
            os_error_set(err, OS_INVALID_ARGUMENT,
                         "--mode=network-init cannot be combined with other components");
            return OPTIONS_USAGE;
        }
        if (strcmp(p, "network") == 0)
            network = true;
        else if (strcmp(p, "process") == 0)
            process = true;
        else if (strcmp(p, "network-init") != 0 && *p) {
            os_error_set(err, OS_INVALID_ARGUMENT,
                         "unknown mode component '%s' (expected 'network', 'process', or 'network-init')", p);
            return OPTIONS_USAGE;
        }
    }
    if (network && process)
        return OPTIONS_RUN;
    os_error_set(err, OS_UNIMPLEMENTED, "--mode=%s: this version runs 'network,process' only", mode);
    return OPTIONS_FAILED;
}

/* Where the text of an option goes; NULL for those that are more than a text. */
static const char **text_option(int c, struct supervisor_options *o, struct raw *raw)
{
    switch (c) {
    case 'w':
        return &o->workdir;
    case 't':
        return &raw->timeout;
    case OPT_SANDBOX_ID:
        return &o->sandbox_id;
    case OPT_SANDBOX:
        return &o->sandbox_name;
    case OPT_ENDPOINT:
        return &o->endpoint;
    case OPT_LOG_LEVEL:
        return &raw->log_level;
    case OPT_AGENT_UID:
        return &raw->agent_uid;
    case OPT_WORKER_UID:
        return &raw->worker_uid;
    case OPT_EXTRA_CA:
        return &o->extra_ca_file;
    case OPT_EXTRA_HOSTS:
        return &raw->extra_hosts;
    case OPT_RESOLV_CONF:
        return &o->resolv_conf;
    case OPT_PROXY:
        return &raw->proxy.url;
    case OPT_NO_PROXY:
        return &raw->proxy.no_proxy;
    case OPT_PROXY_AUTH:
        return &raw->proxy.auth_file;
    case OPT_POLICY_RULES:
        return &raw->rules;
    case OPT_POLICY_DATA:
        return &raw->data;
    case OPT_OPA_PATH:
        return &raw->opa;
    default:
        return NULL;
    }
}

static enum options_result read_flags(int argc, char **argv, struct supervisor_options *o, struct raw *raw,
                                      struct os_error *err)
{
    int c, index = 0;
    opterr = 0;
    optind = 0;
    while ((c = getopt_long(argc, argv, "+:w:t:ihV", flags, &index)) != -1) {
        enum options_result r = OPTIONS_RUN;
        const char **text = text_option(c, o, raw);
        if (text) {
            *text = optarg;
            continue;
        }
        switch (c) {
        case 'i':
            o->tty = true;
            break;
        case 'h':
            show_help();
            return OPTIONS_SHOWN;
        case 'V':
            puts("openshell-sandbox " OPENSHELL_VERSION);
            return OPTIONS_SHOWN;
        case OPT_PROXY_AUTH_INSECURE:
            raw->proxy.auth_allow_insecure = true;
            break;
        case OPT_PROXY_BY_NAME:
            raw->proxy.connect_by_hostname = true;
            break;
        case OPT_MODE:
            r = read_mode(optarg, err);
            break;
        case OPT_SSH_SOCKET:
        case OPT_IGNORED:
        case OPT_IGNORED_ARG:
            break;
        case OPT_UNSUPPORTED: /* dropped silently it would change what is enforced */
            os_error_set(err, OS_UNIMPLEMENTED, "--%s is not supported by this version", flags[index].name);
            return OPTIONS_FAILED;
        case ':':
            os_error_set(err, OS_INVALID_ARGUMENT, "'%s' needs a value", argv[optind - 1]);
            return OPTIONS_USAGE;
        default:
            os_error_set(err, OS_INVALID_ARGUMENT, "unexpected argument '%s'", argv[optind - 1]);
            return OPTIONS_USAGE;
        }
        if (r != OPTIONS_RUN)
            return r;
    }
    return OPTIONS_RUN;
}

static int read_id(const char *what, const char *text, uint32_t *out, struct os_error *err)
{
    uint64_t v;
    if (!os_str_u64(text, ID_MAX, &v) || v == 0)
        return os_error_set(err, OS_INVALID_ARGUMENT, "%s '%s' must be a numeric identity in range [1, %u]",
                            what, text, ID_MAX);
    *out = (uint32_t)v;
    return 0;
}

/* spec/supervisor.md 7.1 */
static int read_driver_identity(struct supervisor_options *o, struct os_error *err)
{
    const char *uid = env("OPENSHELL_SANDBOX_UID"), *gid = env("OPENSHELL_SANDBOX_GID");
    const char *image = env("OPENSHELL_OCI_IMAGE_USER");
    if (image && (uid || gid))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "OPENSHELL_OCI_IMAGE_USER conflicts with non-empty "
                            "OPENSHELL_SANDBOX_UID/OPENSHELL_SANDBOX_GID driver identity");
    if (image)
        return os_error_set(err, OS_UNIMPLEMENTED,
                            "OPENSHELL_OCI_IMAGE_USER is not supported by this version; the driver must set "
                            "OPENSHELL_SANDBOX_UID and OPENSHELL_SANDBOX_GID");
    if (!uid != !gid)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "OPENSHELL_SANDBOX_UID and OPENSHELL_SANDBOX_GID must be supplied together");
    o->driver_identity = uid != NULL;
    if (!uid)
        return account_lookup(&o->identity.agent_uid, &o->identity.agent_gid, err);
    uint64_t u, g;
    if (!os_str_u64(uid, ID_MAX, &u) || !os_str_u64(gid, ID_MAX, &g) || u == 0 || g == 0)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "driver UID/GID must be numeric identities in range [1, 4294967294]");
    o->identity.agent_uid = (uid_t)u;
    o->identity.agent_gid = (gid_t)g;
    return 0;
}

static int read_identity(struct supervisor_options *o, const struct raw *raw, struct os_error *err)
{
    struct monitor_config *id = &o->identity;
    if (raw->agent_uid) {
        if (read_id("--agent-uid", raw->agent_uid, &id->agent_uid, err) < 0)
            return -1;
        id->agent_gid = id->agent_uid;
        o->driver_identity = true;
    } else if (read_driver_identity(o, err) < 0) {
        return -1;
    }
    id->worker_uid = id->agent_uid == DEFAULT_WORKER ? DEFAULT_WORKER + 1 : DEFAULT_WORKER;
    if (raw->worker_uid && read_id("--worker-uid", raw->worker_uid, &id->worker_uid, err) < 0)
        return -1;
    id->worker_gid = id->worker_uid;
    if (id->worker_uid == id->agent_uid || id->worker_gid == id->agent_gid)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "the agent and the supervisor's worker need different identities, both are %u",
                            id->worker_uid);
    id->workdir = o->workdir;
    return 0;
}

static int read_secret(const char *what, const char *path, struct os_buf *out, struct os_error *err)
{
    out->max = SECRET_MAX + 1;
    if (path && os_file_read(path, SECRET_MAX, out, err) < 0)
        return os_error_wrap(err, "%s", what);
    return 0;
}

/* Token source, first non-empty (spec/supervisor.md 12). */
static int read_token(struct supervisor_options *o, struct os_error *err)
{
    const char *direct = env("OPENSHELL_SANDBOX_TOKEN"), *path = env("OPENSHELL_SANDBOX_TOKEN_FILE");
    if (direct)
        os_buf_adds(&o->token, direct);
    else if (read_secret("OPENSHELL_SANDBOX_TOKEN_FILE", path, &o->token, err) < 0)
        return -1;
    if (o->token.len) {
        const char *trimmed = os_str_trim(o->token.data);
        size_t n = strlen(trimmed);
        memmove(o->token.data, trimmed, n + 1);
        o->token.len = n;
    }
    if (o->token.len == 0)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "no sandbox token source available — set one of OPENSHELL_SANDBOX_TOKEN or "
                            "OPENSHELL_SANDBOX_TOKEN_FILE");
    return 0;
}

/* Rules narrow the policy of the gateway; with a data file they decide over that alone. */
static int read_rules(struct supervisor_options *o, const struct raw *raw, struct os_error *err)
{
    o->rules.max = OS_RULES_TEXT + 1;
    o->data.max = OS_LIMIT_POLICY_YAML + 1;
    if (raw->data && !raw->rules)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "--policy-data '%s' needs --policy-rules, the rules that decide over it",
                            raw->data);
    if (!raw->rules)
        return 0;
    if (raw->data && os_file_read(raw->data, OS_LIMIT_POLICY_YAML, &o->data, err) < 0)
        return os_error_wrap(err, "--policy-data");
    if (raw->data && !o->data.len)
        return os_error_set(err, OS_INVALID_ARGUMENT, "--policy-data: '%s' is empty", raw->data);
    if (os_file_read(raw->rules, OS_RULES_TEXT, &o->rules, err) < 0)
        return os_error_wrap(err, "--policy-rules");
    if (!o->rules.len || !os_utf8_valid(o->rules.data, o->rules.len))
        return os_error_set(err, OS_INVALID_ARGUMENT, "--policy-rules: '%s' holds no text in UTF-8",
                            raw->rules);
    o->opa = rules_find_opa(raw->opa, err);
    return o->opa ? 0 : -1;
}

static int read_upstream_proxy(struct supervisor_options *o, const struct raw *raw, struct os_error *err)
{
    static const struct forward_proxy_names names = {
        .url = "--upstream-proxy",
        .no_proxy = "--upstream-no-proxy",
        .auth_file = "--upstream-proxy-auth-file",
        .auth_allow_insecure = "--upstream-proxy-auth-allow-insecure",
        .connect_by_hostname = "--upstream-proxy-connect-by-hostname",
        .proxy = "upstream proxy",
    };
    if (forward_proxy_load(&o->upstream_proxy, &raw->proxy, &names, err) == 0)
        return 0;
    return os_error_wrap(err, "invalid upstream corporate proxy configuration");
}

static int read_files(struct supervisor_options *o, const struct raw *raw, struct os_error *err)
{
    if (read_token(o, err) < 0 ||
        read_secret("OPENSHELL_TLS_CA", env("OPENSHELL_TLS_CA"), &o->tls_ca, err) < 0 ||
        read_secret("OPENSHELL_TLS_CERT", env("OPENSHELL_TLS_CERT"), &o->tls_cert, err) < 0 ||
        read_secret("OPENSHELL_TLS_KEY", env("OPENSHELL_TLS_KEY"), &o->tls_key, err) < 0)
        return -1;
    o->extra_hosts.max = HOSTS_MAX + 1;
    if (raw->extra_hosts && os_file_read(raw->extra_hosts, HOSTS_MAX, &o->extra_hosts, err) < 0)
        return os_error_wrap(err, "--extra-hosts");
    if (o->resolv_conf && !os_file_exists(o->resolv_conf))
        return os_error_set(err, OS_NOT_FOUND, "--resolv-conf: '%s' does not exist", o->resolv_conf);
    if (o->extra_ca_file && !os_file_exists(o->extra_ca_file))
        return os_error_set(err, OS_NOT_FOUND, "--extra-ca: '%s' does not exist", o->extra_ca_file);
    return 0;
}

static int parse_main_process(const char *text, struct os_strv *command, bool *tty, struct os_error *err)
{
    json_error_t bad;
    json_t *spec = json_loads(text, JSON_REJECT_DUPLICATES, &bad);
    if (!spec)
        return os_error_set(err, OS_INVALID_ARGUMENT, "invalid OPENSHELL_MAIN_PROCESS_SPEC: %s", bad.text);
    const json_t *version = json_object_get(spec, "version"), *list = json_object_get(spec, "command");
    const json_t *terminal = json_object_get(spec, "tty");
    int r = 0;
    if (!json_is_integer(version) || !json_is_array(list) || !json_is_boolean(terminal))
        r = os_error_set(
            err, OS_INVALID_ARGUMENT,
            "invalid OPENSHELL_MAIN_PROCESS_SPEC: needs version (number), command (array), tty (boolean)");
    else if (json_integer_value(version) != 1)
        r = os_error_set(err, OS_INVALID_ARGUMENT, "unsupported OPENSHELL_MAIN_PROCESS_SPEC version %lld",
                         (long long)json_integer_value(version));
    for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
        const char *arg = json_string_value(json_array_get(list, i));
        if (arg)
            os_strv_add(command, arg);
        else
            r = os_error_set(err, OS_INVALID_ARGUMENT,
                             "invalid OPENSHELL_MAIN_PROCESS_SPEC: command[%zu] is not a string", i);
    }
    if (r == 0 && (command->n == 0 || command->v[0][0] == '\0'))
        r = os_error_set(err, OS_INVALID_ARGUMENT, "OPENSHELL_MAIN_PROCESS_SPEC command must not be empty");
    *tty = json_is_true(terminal);
    json_decref(spec);
    return r;
}

int options_main_process(const char *text, struct os_strv *command, bool *tty, struct os_error *err)
{
    static const char prefix[] = "base64url:";
    if (!os_str_starts(text, prefix))
        return parse_main_process(text, command, tty, err);
    struct os_buf cleanup_buf json = {.max = OS_LIMIT_COMMAND_TOTAL * 4};
    const char *encoded = text + sizeof(prefix) - 1;
    if (!os_base64url_decode(&json, encoded, strlen(encoded)))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "invalid OPENSHELL_MAIN_PROCESS_SPEC base64url: bad character or "
                            "length");
    if (!os_utf8_valid(os_buf_str(&json), json.len) || memchr(os_buf_str(&json), 0, json.len))
        return os_error_set(err, OS_INVALID_ARGUMENT, "invalid OPENSHELL_MAIN_PROCESS_SPEC UTF-8");
    return parse_main_process(os_buf_str(&json), command, tty, err);
}

static int read_command(int argc, char **argv, struct supervisor_options *o, struct os_error *err)
{
    if (optind < argc) {
        for (int i = optind; i < argc; i++)
            os_strv_add(&o->command, argv[i]);
        return o->command.v[0][0] ? 0 : os_error_set(err, OS_INVALID_ARGUMENT, "No command specified");
    }
    const char *spec = env("OPENSHELL_MAIN_PROCESS_SPEC");
    o->keep = o->identity.keep = os_str_eq(env("OPENSHELL_KEEP_AFTER_MAIN"), "true");
    if (spec)
        return options_main_process(spec, &o->command, &o->tty, err);
    os_strv_add(&o->command, "/bin/bash");
    os_strv_add(&o->command, "-l");
    o->tty = true;
    return 0;
}

static bool relaxed_identity(void)
{
    static const char *const relaxed[] = {"relaxed", "disabled", "endpoint-only", "false", "0"};
    const char *v = env("OPENSHELL_NETWORK_BINARY_IDENTITY");
    for (size_t i = 0; v && i < OS_ARRAY_LEN(relaxed); i++)
        if (strcmp(v, relaxed[i]) == 0)
            return true;
    return false;
}

static void read_levels(struct supervisor_options *o, const char *flag)
{
    const char *level = flag ? flag : env("OPENSHELL_LOG_LEVEL"), *push = env("OPENSHELL_LOG_PUSH_LEVEL");
    o->log_level = OS_LOG_WARN;
    o->push_level = OS_LOG_INFO;
    if (level)
        os_log_parse_level(level, &o->log_level);
    if (push)
        os_log_parse_level(push, &o->push_level);
}

enum options_result options_read(int argc, char **argv, struct supervisor_options *o, struct os_error *err)
{
    *o = (struct supervisor_options){
        .sandbox_id = env("OPENSHELL_SANDBOX_ID"),
        .sandbox_name = env("OPENSHELL_SANDBOX"),
        .endpoint = env("OPENSHELL_ENDPOINT"),
        .server_name = env("OPENSHELL_GATEWAY_TLS_SERVER_NAME"),
        .ca_dir = env("OPENSHELL_PROXY_TLS_DIR") ? env("OPENSHELL_PROXY_TLS_DIR") : DEFAULT_CA_DIR,
        .poll_seconds = env_u32("OPENSHELL_POLICY_POLL_INTERVAL_SECS", 0),
        .binary_identity = !relaxed_identity(),
    };
    struct raw raw = {.rules = env("OPENSHELL_POLICY_RULES"),
                      .data = env("OPENSHELL_POLICY_DATA"),
                      .opa = env("OPENSHELL_OPA_PATH")};
    enum options_result r = read_flags(argc, argv, o, &raw, err);
    if (r != OPTIONS_RUN)
        return r;
    uint64_t seconds = 0;
    if (raw.timeout && !os_str_u64(raw.timeout, UINT32_MAX, &seconds)) {
        os_error_set(err, OS_INVALID_ARGUMENT, "--timeout '%s' is not a number of seconds", raw.timeout);
        return OPTIONS_USAGE;
    }
    o->timeout_seconds = (uint32_t)seconds;
    read_levels(o, raw.log_level);
    if (!o->sandbox_id || !o->endpoint) {
        os_error_set(
            err, OS_INVALID_ARGUMENT,
            "Sandbox policy required. Provide:\n"
            "- --sandbox-id and --openshell-endpoint (or OPENSHELL_SANDBOX_ID and OPENSHELL_ENDPOINT)");
        return OPTIONS_FAILED;
    }
    if (read_command(argc, argv, o, err) < 0 || read_identity(o, &raw, err) < 0 ||
        read_files(o, &raw, err) < 0 || read_upstream_proxy(o, &raw, err) < 0 || read_rules(o, &raw, err) < 0)
        return OPTIONS_FAILED;
    return OPTIONS_RUN;
}

void options_wipe(struct supervisor_options *o)
{
    struct os_buf *const secrets[] = {&o->token, &o->tls_key, &o->upstream_proxy.authorization};
    for (size_t i = 0; i < OS_ARRAY_LEN(secrets); i++) {
        if (secrets[i]->data)
            explicit_bzero(secrets[i]->data, secrets[i]->cap);
        os_buf_free(secrets[i]);
    }
}
