/* `policy set`, `get`, `list` (spec/cli.md 11). A name that is NULL stands for the policy of all sandboxes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/output.h"
#include "cli/policy_file.h"
#include "cli/sandbox.h"
#include "cli/text.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"
#include "policy/policy.h"
#include "sys/file.h"

#define HASH_SHOWN 12
#define POLL_FIRST_MS 5
#define POLL_MAX_MS 250
#define ERROR_SHOWN 40 /* bytes of a load error in a table */

#define STATUS(x) OPENSHELL__V1__POLICY_STATUS__POLICY_STATUS_##x

typedef Openshell__V1__GetSandboxPolicyStatusResponse status_response;
typedef Openshell__V1__SandboxPolicyRevision revision;
typedef Openshell__Sandbox__V1__GetSandboxConfigResponse config_response;

/* What `policy get --base` printed is a policy too: the lines before its "---" are blanked, so that line
 * numbers in messages stay true. */
static void blank_header(struct os_buf *text)
{
    static const char first[] = "Version:      ", end[] = "\n---\n";
    char *body = os_str_starts(os_buf_str(text), first) ? strstr(text->data, end) : NULL;
    if (!body)
        return;
    for (char *p = text->data; p < body + strlen(end); p++)
        if (*p != '\n')
            *p = ' ';
}

policy_doc *policy_file_load(struct os_arena *a, const char *path, struct os_error *err)
{
    cleanup_buf struct os_buf text = {0};
    if (os_file_read(path, OS_LIMIT_POLICY_YAML, &text, err) < 0) {
        cleanup_free char *why = os_strdup(err->sys_errno ? strerror(err->sys_errno) : os_error_text(err));
        os_error_set(err, OS_INVALID_ARGUMENT, "failed to read sandbox policy from %s" CAUSE "%s", path, why);
        return NULL;
    }
    blank_header(&text);
    policy_doc *doc = policy_yaml_parse(a, os_buf_str(&text), text.len, err);
    if (!doc)
        os_error_wrap(err, "%s", path);
    return doc;
}

static const char *status_name(Openshell__V1__PolicyStatus s)
{
    switch (s) {
    case STATUS(PENDING):
        return "Pending";
    case STATUS(LOADED):
        return "Loaded";
    case STATUS(FAILED):
        return "Failed";
    case STATUS(SUPERSEDED):
        return "Superseded";
    default:
        return "Unspecified";
    }
}

static status_response *fetch_status(struct cli *cli, const char *name, uint32_t version,
                                     struct os_error *err)
{
    Openshell__V1__GetSandboxPolicyStatusRequest req = OPENSHELL__V1__GET_SANDBOX_POLICY_STATUS_REQUEST__INIT;
    ProtobufCMessage *response;
    req.global = !name;
    if (name) {
        req.name = (char *)name;
        req.workspace = (char *)cli->workspace;
    }
    req.version = version;
    if (cli_call(cli, RPC_OpenShell_GetSandboxPolicyStatus, &req.base, CLI_READ_MS, &response, err) < 0) {
        if (name)
            cli_sandbox_failed(cli, name, err);
        return NULL;
    }
    status_response *r = (status_response *)response;
    if (r->revision)
        return r;
    os_error_set(err, OS_DATA_LOSS, "the gateway answered without a policy revision");
    return NULL;
}

/* --- set --- */

static void sleep_ms(int64_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
}

/* Exit code of a revision that is no longer pending; -1 while it is. */
static int settled(const status_response *r, uint32_t version)
{
    switch (r->revision->status) {
    case STATUS(LOADED):
        say(stderr, OK_MARK "✓" END " Policy version %u loaded (active version: %u)\n", version,
            r->active_version);
        return 0;
    case STATUS(FAILED):
        say(stderr, RED "✗" END " Policy version %u failed to load: %s\n", version, r->revision->load_error);
        return 1;
    case STATUS(SUPERSEDED):
        say(stderr, WARN_MARK "⚠" END " Policy version %u was superseded (active version: %u)\n", version,
            r->active_version);
        return 0;
    default:
        return -1;
    }
}

/* Nobody will load it before the sandbox is started again. */
static bool rests(struct cli *cli, const char *name, uint32_t version)
{
    cleanup_error struct os_error unknown = {0};
    const Openshell__V1__Sandbox *s = cli_get_sandbox(cli, name, &unknown);
    if (!s ||
        (s->status->phase != OPENSHELL__V1__SANDBOX_PHASE__SANDBOX_PHASE_STOPPED && !sandbox_main_over(s)))
        return false;
    say(stderr, DIM "·" END " Sandbox %s is %s; policy version %u counts from its next start\n", name,
        sandbox_phase_name(s->status->phase), version);
    return true;
}

static int wait_loaded(struct cli *cli, const char *name, uint32_t version, struct os_error *err)
{
    uint64_t seconds = args_number(cli->args, "timeout");
    int64_t limit = os_clock_mono_ms() + (int64_t)(seconds < INT32_MAX ? seconds : INT32_MAX) * 1000;
    for (int64_t pause = POLL_FIRST_MS;; pause = pause * 2 < POLL_MAX_MS ? pause * 2 : POLL_MAX_MS) {
        status_response *r = fetch_status(cli, name, version, err);
        if (!r)
            return -1;
        int code = settled(r, version);
        if (code >= 0)
            return code;
        if (rests(cli, name, version))
            return 0;
        if (os_clock_mono_ms() >= limit)
            break;
        sleep_ms(pause);
    }
    say(stderr, RED "✗" END " Timeout waiting for policy version %u to load\n", version);
    return CLI_EXIT_TIMEOUT;
}

static int set_global(struct cli *cli, struct os_error *err)
{
    Openshell__V1__UpdateConfigRequest req = OPENSHELL__V1__UPDATE_CONFIG_REQUEST__INIT;
    ProtobufCMessage *response;
    if (args_given(cli->args, "wait"))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "--wait is not supported for global policies; global policies are effective "
                            "immediately");
    req.policy = policy_file_load(&cli->arena, args_get(cli->args, "policy"), err);
    if (!req.policy || cli_resolve(cli, err) < 0 || confirm_global_set(cli, "policy", err) < 0)
        return -1;
    req.global = true;
    if (cli_call(cli, RPC_OpenShell_UpdateConfig, &req.base, 0, &response, err) < 0)
        return -1;
    const Openshell__V1__UpdateConfigResponse *r = (const Openshell__V1__UpdateConfigResponse *)response;
    say(stderr, OK_MARK "✓" END " Global policy configured (hash: %.*s, settings revision: %llu)\n",
        HASH_SHOWN, r->policy_hash, (unsigned long long)r->settings_revision);
    return 0;
}

int policy_submit(struct cli *cli, const char *name, Openshell__V1__UpdateConfigRequest *req,
                  const struct os_strv *warnings, struct os_error *err)
{
    /* Only to tell "unchanged" from "submitted": a gateway that cannot say is not an error. */
    cleanup_error struct os_error unknown = {0};
    status_response *before = fetch_status(cli, name, 0, &unknown);
    uint32_t current = before ? before->revision->version : 0;
    ProtobufCMessage *response;
    req->name = (char *)name;
    req->workspace = (char *)cli->workspace;
    if (cli_call(cli, RPC_OpenShell_UpdateConfig, &req->base, 0, &response, err) < 0)
        return cli_sandbox_failed(cli, name, err);
    for (size_t i = 0; warnings && i < warnings->n; i++)
        say(stderr, YELLOW "!" END " %s\n", warnings->v[i]);
    const Openshell__V1__UpdateConfigResponse *r = (const Openshell__V1__UpdateConfigResponse *)response;
    if (r->version == current)
        say(stderr, DIM "·" END " Policy unchanged (version %u, hash: %.*s)\n", r->version, HASH_SHOWN,
            r->policy_hash);
    else
        say(stderr, OK_MARK "✓" END " Policy version %u submitted (hash: %.*s)\n", r->version, HASH_SHOWN,
            r->policy_hash);
    /* Version 0: nothing changed, and there is no revision yet that could be waited for. */
    return args_given(cli->args, "wait") && r->version ? wait_loaded(cli, name, r->version, err) : 0;
}

int policy_set_run(struct cli *cli, struct os_error *err)
{
    if (args_given(cli->args, "global"))
        return set_global(cli, err);
    const char *name = cli_sandbox_name(cli, args_positional(cli->args, 0), err);
    if (!name)
        return -1;
    Openshell__V1__UpdateConfigRequest req = OPENSHELL__V1__UPDATE_CONFIG_REQUEST__INIT;
    req.policy = policy_file_load(&cli->arena, args_get(cli->args, "policy"), err);
    if (!req.policy)
        return -1;
    return policy_submit(cli, name, &req, NULL, err);
}

/* --- get --- */

static void print_yaml(const policy_doc *doc)
{
    cleanup_buf struct os_buf yaml = {0};
    policy_yaml_print(doc, &yaml);
    say(stdout, "---\n");
    say_block(stdout, os_buf_str(&yaml), 0);
}

static bool wants_body(const struct cli *cli)
{
    return args_given(cli->args, "full") || args_given(cli->args, "base");
}

static void effective_json(struct cli *cli, const char *name, const config_response *c, uint32_t active,
                           bool global)
{
    json_t *j = json_object();
    json_object_set_new(j, "scope", json_string("sandbox"));
    json_object_set_new(j, "sandbox", json_text(name));
    json_object_set_new(j, "status", json_string("effective"));
    json_object_set_new(j, "version", json_integer(c->version));
    json_object_set_new(j, "active_version", json_integer(active));
    json_object_set_new(j, "hash", json_text(c->policy_hash));
    json_object_set_new(j, "config_revision", json_integer((json_int_t)c->config_revision));
    json_object_set_new(j, "policy_source", json_string(global ? "global" : "sandbox"));
    if (c->global_policy_version)
        json_object_set_new(j, "global_policy_version", json_integer(c->global_policy_version));
    if (wants_body(cli))
        json_object_set_new(j, "policy", policy_to_json(c->policy));
    document_print(j, "json");
}

static int get_effective(struct cli *cli, const char *name, struct os_error *err)
{
    const Openshell__V1__Sandbox *s = cli_get_sandbox(cli, name, err);
    const config_response *c = s ? cli_get_config(cli, s, err) : NULL;
    if (!c)
        return -1;
    if (!c->policy)
        return os_error_set(err, OS_NOT_FOUND, "no active policy configured for sandbox '%s'", name);
    bool global = c->policy_source == OPENSHELL__SANDBOX__V1__POLICY_SOURCE__POLICY_SOURCE_GLOBAL;
    if (args_given(cli->args, "base"))
        policy_drop_provider_rules(c->policy);
    if (strcmp(args_get(cli->args, "output"), "json") == 0) {
        effective_json(cli, name, c, s->status->current_policy_version, global);
        return 0;
    }
    say(stdout, "Version:      %u\nHash:         %s\nStatus:       Effective\n", c->version, c->policy_hash);
    say(stdout, "Source:       %s\nConfig rev:   %llu\n", global ? "global" : "sandbox",
        (unsigned long long)c->config_revision);
    if (c->global_policy_version)
        say(stdout, "Global:       %u\n", c->global_policy_version);
    if (wants_body(cli))
        print_yaml(c->policy);
    return 0;
}

static void revision_json(struct cli *cli, const char *name, const status_response *s)
{
    const revision *r = s->revision;
    cleanup_free char *status = os_str_lower(os_strdup(status_name(r->status)));
    json_t *j = json_object();
    json_object_set_new(j, "scope", json_string(name ? "sandbox" : "global"));
    json_object_set_new(j, "status", json_string(status));
    json_object_set_new(j, "version", json_integer(r->version));
    if (name) {
        json_object_set_new(j, "sandbox", json_text(name));
        json_object_set_new(j, "active_version", json_integer(s->active_version));
    }
    json_object_set_new(j, "hash", json_text(r->policy_hash));
    if (r->created_at_ms)
        json_object_set_new(j, "created_at_ms", json_integer(r->created_at_ms));
    if (r->loaded_at_ms)
        json_object_set_new(j, "loaded_at_ms", json_integer(r->loaded_at_ms));
    if (*r->load_error)
        json_object_set_new(j, "load_error", json_text(r->load_error));
    if (wants_body(cli))
        json_object_set_new(j, "policy", r->policy ? policy_to_json(r->policy) : json_null());
    if (r->n_provenance) {
        json_t *p = json_object();
        for (size_t i = 0; i < r->n_provenance; i++)
            json_object_set_new(p, r->provenance[i]->key, json_text(r->provenance[i]->value));
        json_object_set_new(j, "provenance", p);
    }
    document_print(j, "json");
}

/* `version` is the one that was asked for, 0 = any. */
static void no_history(const char *name, uint32_t version)
{
    if (name)
        say(stderr, "No policy history found for sandbox '%s'\n", name);
    else
        say(stderr, "No global policy history found\n");
    if (version)
        say(stderr, "There is no revision %u. List them with: openshell policy list %s\n", version,
            name ? name : "--global");
}

static void print_time(struct cli *cli, const char *label, int64_t ms)
{
    if (ms)
        say(stdout, "%s %lld ms (%s)\n", label, (long long)ms, time_text(&cli->arena, ms));
}

static int get_revision(struct cli *cli, const char *name, uint32_t version, struct os_error *err)
{
    status_response *s = fetch_status(cli, name, version, err);
    if (!s && err->code == OS_NOT_FOUND && strstr(cli->server_message, "revision")) {
        os_error_clear(err);
        no_history(name, version);
        return 0;
    }
    if (!s)
        return -1;
    const revision *r = s->revision;
    if (r->policy && args_given(cli->args, "base"))
        policy_drop_provider_rules(r->policy);
    if (strcmp(args_get(cli->args, "output"), "json") == 0) {
        revision_json(cli, name, s);
        return 0;
    }
    if (!name)
        say(stdout, "Scope:        global\n");
    say(stdout, "Version:      %u\nHash:         %s\nStatus:       %s\n", r->version, r->policy_hash,
        status_name(r->status));
    if (name)
        say(stdout, "Active:       %u\n", s->active_version);
    print_time(cli, "Created:     ", r->created_at_ms);
    print_time(cli, "Loaded:      ", r->loaded_at_ms);
    if (name && *r->load_error)
        say(stdout, "Error:        %s\n", r->load_error);
    if (wants_body(cli) && r->policy)
        print_yaml(r->policy);
    else if (wants_body(cli))
        say(stderr, "Policy payload not available for this version\n");
    return 0;
}

/* The sandbox, or NULL with --global. */
static int scope(struct cli *cli, const char **name, struct os_error *err)
{
    *name = NULL;
    if (args_given(cli->args, "global"))
        return cli_resolve(cli, err);
    *name = cli_sandbox_name(cli, args_positional(cli->args, 0), err);
    return *name ? 0 : -1;
}

int policy_get_run(struct cli *cli, struct os_error *err)
{
    const char *name;
    uint32_t version = (uint32_t)args_number(cli->args, "rev");
    if (scope(cli, &name, err) < 0)
        return -1;
    if (!name)
        return get_revision(cli, NULL, version, err);
    return version ? get_revision(cli, name, version, err) : get_effective(cli, name, err);
}

/* --- list --- */

int policy_list_run(struct cli *cli, struct os_error *err)
{
    Openshell__V1__ListSandboxPoliciesRequest req = OPENSHELL__V1__LIST_SANDBOX_POLICIES_REQUEST__INIT;
    ProtobufCMessage *response;
    const char *name;
    if (scope(cli, &name, err) < 0)
        return -1;
    req.global = !name;
    if (name) {
        req.name = (char *)name;
        req.workspace = (char *)cli->workspace;
    }
    req.limit = (uint32_t)args_number(cli->args, "limit");
    if (cli_call(cli, RPC_OpenShell_ListSandboxPolicies, &req.base, CLI_READ_MS, &response, err) < 0)
        return name ? cli_sandbox_failed(cli, name, err) : -1;
    const Openshell__V1__ListSandboxPoliciesResponse *r =
        (const Openshell__V1__ListSandboxPoliciesResponse *)response;
    if (!r->n_revisions) {
        no_history(name, 0);
        return 0;
    }
    struct table t = {.arena = &cli->arena,
                      .columns = 5,
                      .headers = {"VERSION", "HASH", "STATUS", "CREATED", "ERROR"},
                      .least = {8, 14, 12, 24, 0},
                      .gap = " "};
    for (size_t i = 0; i < r->n_revisions; i++) {
        const revision *v = r->revisions[i];
        cleanup_buf struct os_buf error = {0};
        text_cut(&error, v->load_error, ERROR_SHOWN);
        table_add(&t, os_arena_printf(&cli->arena, "%u", v->version), NULL);
        table_add(&t, os_arena_printf(&cli->arena, "%.*s", HASH_SHOWN, v->policy_hash), NULL);
        table_add(&t, status_name(v->status), NULL);
        table_add(&t, os_arena_printf(&cli->arena, "%lld", (long long)v->created_at_ms), NULL);
        table_add(&t,
                  strlen(v->load_error) > ERROR_SHOWN
                      ? os_arena_printf(&cli->arena, "%s...", os_buf_str(&error))
                      : v->load_error,
                  NULL);
    }
    table_print(&t, stdout);
    return 0;
}
