/* `sandbox list`, `get`, `delete` (spec/cli.md 6.5). */
#include "cli/sandbox.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/editor.h"
#include "cli/forward.h"
#include "cli/output.h"
#include "cli/text.h"
#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "policy/policy.h"

#define PHASE(x) OPENSHELL__V1__SANDBOX_PHASE__SANDBOX_PHASE_##x

const char *sandbox_phase_name(Openshell__V1__SandboxPhase phase)
{
    switch (phase) {
    case PHASE(UNSPECIFIED):
        return "Unspecified";
    case PHASE(PROVISIONING):
        return "Provisioning";
    case PHASE(READY):
        return "Ready";
    case PHASE(ERROR):
        return "Error";
    case PHASE(DELETING):
        return "Deleting";
    case PHASE(STOPPING):
        return "Stopping";
    case PHASE(STOPPED):
        return "Stopped";
    case PHASE(STARTING):
        return "Starting";
    default:
        return "Unknown";
    }
}

bool sandbox_main_over(const Openshell__V1__Sandbox *s)
{
    return s->status && s->status->_exit_code_case == OPENSHELL__V1__SANDBOX_STATUS___EXIT_CODE_EXIT_CODE &&
           (s->status->phase == PHASE(STOPPED) || s->status->phase == PHASE(ERROR));
}

int sandbox_check_ready(const Openshell__V1__Sandbox *s, struct os_error *err)
{
    const char *name = s->metadata->name;
    cleanup_free char *what = NULL;
    if (s->status->phase == PHASE(READY))
        return 0;
    if (s->status->phase == PHASE(STOPPED))
        what = os_asprintf("start it again with: openshell sandbox start %s", name);
    else if (sandbox_main_over(s))
        what = os_asprintf("its main process ended with exit code %d; see its output with: openshell sandbox "
                           "connect %s",
                           (int)s->status->exit_code, name);
    else if (s->status->phase == PHASE(ERROR))
        what = os_asprintf("see why with: openshell sandbox get %s", name);
    return os_error_set(err, OS_FAILED_PRECONDITION, "sandbox '%s' is not ready (phase: %s); %s", name,
                        sandbox_phase_name(s->status->phase),
                        what ? what : "wait for it to reach Ready state");
}

static const char *phase_style(Openshell__V1__SandboxPhase phase)
{
    switch (phase) {
    case PHASE(READY):
        return GREEN;
    case PHASE(ERROR):
        return RED;
    case PHASE(PROVISIONING):
        return YELLOW;
    case PHASE(DELETING):
        return DIM;
    default:
        return NULL;
    }
}

json_t *json_text(const char *s)
{
    json_t *j = json_string(s);
    if (j)
        return j;
    cleanup_buf struct os_buf clean = {0};
    text_clean(&clean, s, strlen(s), true);
    return json_string(os_buf_str(&clean));
}

json_t *sandbox_json(const Openshell__V1__Sandbox *s)
{
    cleanup_arena struct os_arena a = {0};
    const Openshell__Datamodel__V1__ObjectMeta *m = s->metadata;
    json_t *j = json_object(), *labels = json_object(), *annotations = json_object();
    for (size_t i = 0; i < m->n_labels; i++)
        json_object_set_new(labels, m->labels[i]->key, json_text(m->labels[i]->value));
    for (size_t i = 0; i < m->n_annotations; i++)
        json_object_set_new(annotations, m->annotations[i]->key, json_text(m->annotations[i]->value));
    json_object_set_new(j, "id", json_text(m->id));
    json_object_set_new(j, "name", json_text(m->name));
    json_object_set_new(j, "workspace", json_text(m->workspace));
    json_object_set_new(j, "labels", labels);
    json_object_set_new(j, "annotations", annotations);
    json_object_set_new(j, "created_at", json_string(time_text(&a, m->created_at_ms)));
    json_object_set_new(j, "resource_version", json_integer((json_int_t)m->resource_version));
    json_object_set_new(j, "phase",
                        json_string(sandbox_phase_name(s->status ? s->status->phase : PHASE(UNSPECIFIED))));
    if (s->status && s->status->_exit_code_case == OPENSHELL__V1__SANDBOX_STATUS___EXIT_CODE_EXIT_CODE)
        json_object_set_new(j, "exit_code", json_integer(s->status->exit_code));
    json_object_set_new(j, "current_policy_version",
                        json_integer(s->status ? s->status->current_policy_version : 0));
    return j;
}

const char *sandbox_reason(const Openshell__V1__Sandbox *s, struct os_arena *a)
{
    for (size_t i = 0; s->status && i < s->status->n_conditions; i++) {
        const Openshell__V1__SandboxCondition *c = s->status->conditions[i];
        if (strcmp(c->type, "Ready") == 0 && strcmp(c->status, "False") == 0)
            return os_arena_printf(a, "%s: %s", c->reason, c->message);
    }
    return NULL;
}

/* --- list --- */

static void list_names(const struct cli *cli, const Openshell__V1__ListSandboxesResponse *r)
{
    bool ids = args_given(cli->args, "ids"), all = args_given(cli->args, "all-workspaces");
    for (size_t i = 0; i < r->n_sandboxes; i++) {
        const Openshell__Datamodel__V1__ObjectMeta *m = r->sandboxes[i]->metadata;
        if (ids)
            say(stdout, "%s\n", m->id);
        else
            say(stdout, "%s%s%s\n", all ? m->workspace : "", all ? "/" : "", m->name);
    }
}

static void list_table(struct cli *cli, const Openshell__V1__ListSandboxesResponse *r)
{
    bool all = args_given(cli->args, "all-workspaces");
    if (!r->n_sandboxes) {
        say(stdout, "No sandboxes found.\n");
        return;
    }
    struct table t = {.arena = &cli->arena, .columns = all ? 4 : 3};
    if (all)
        t.headers[0] = "WORKSPACE";
    t.headers[all + 0] = "NAME";
    t.headers[all + 1] = "CREATED";
    t.least[all + 1] = 19;
    t.headers[all + 2] = "PHASE";
    for (size_t i = 0; i < r->n_sandboxes; i++) {
        const Openshell__V1__Sandbox *s = r->sandboxes[i];
        Openshell__V1__SandboxPhase phase = s->status ? s->status->phase : PHASE(UNSPECIFIED);
        if (all)
            table_add(&t, s->metadata->workspace, NULL);
        table_add(&t, s->metadata->name, NULL);
        table_add(&t, time_text(&cli->arena, s->metadata->created_at_ms), NULL);
        table_add(&t, sandbox_phase_name(phase), phase_style(phase));
    }
    table_print(&t, stdout);
}

static int fetch_list(struct cli *cli, uint32_t limit, uint32_t offset, bool all,
                      Openshell__V1__ListSandboxesResponse **out, struct os_error *err)
{
    Openshell__V1__ListSandboxesRequest req = OPENSHELL__V1__LIST_SANDBOXES_REQUEST__INIT;
    ProtobufCMessage *response;
    if (cli_resolve(cli, err) < 0)
        return -1;
    req.limit = limit;
    req.offset = offset;
    req.all_workspaces = all;
    if (!all)
        req.workspace = (char *)cli->workspace;
    if (args_count(cli->args, "selector"))
        req.label_selector = (char *)args_get(cli->args, "selector");
    if (cli_call(cli, RPC_OpenShell_ListSandboxes, &req.base, CLI_READ_MS, &response, err) < 0)
        return -1;
    *out = (Openshell__V1__ListSandboxesResponse *)response;
    size_t n = 0;
    for (size_t i = 0; i < (*out)->n_sandboxes; i++)
        if ((*out)->sandboxes[i]->metadata)
            (*out)->sandboxes[n++] = (*out)->sandboxes[i];
    (*out)->n_sandboxes = n;
    return 0;
}

int sandbox_list_run(struct cli *cli, struct os_error *err)
{
    const char *format = args_get(cli->args, "output");
    Openshell__V1__ListSandboxesResponse *r;
    if (fetch_list(cli, (uint32_t)args_number(cli->args, "limit"), (uint32_t)args_number(cli->args, "offset"),
                   args_given(cli->args, "all-workspaces"), &r, err) < 0)
        return -1;
    if (args_given(cli->args, "ids") || args_given(cli->args, "names")) {
        list_names(cli, r);
    } else if (strcmp(format, "table") != 0) {
        json_t *list = json_array();
        for (size_t i = 0; i < r->n_sandboxes; i++)
            json_array_append_new(list, sandbox_json(r->sandboxes[i]));
        document_print(list, format);
    } else {
        list_table(cli, r);
    }
    return 0;
}

/* --- get --- */

struct pair {
    const char *key, *value;
};

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

static void print_pairs(const char *title, struct pair *pairs, size_t n)
{
    if (!n)
        return;
    qsort(pairs, n, sizeof(*pairs), by_key);
    say(stdout, "  " DIM "%s:" END " \n", title);
    for (size_t i = 0; i < n; i++)
        say(stdout, "    %s: %s\n", pairs[i].key, pairs[i].value);
}

/* What the supervisor's self-test found; of a sandbox that runs. */
static const Openshell__V1__SandboxCondition *enforcement(const Openshell__V1__Sandbox *s)
{
    if (s->status->phase == PHASE(READY))
        for (size_t i = 0; i < s->status->n_conditions; i++)
            if (strcmp(s->status->conditions[i]->type, "Enforced") == 0)
                return s->status->conditions[i];
    return NULL;
}

static json_t *conditions_json(const Openshell__V1__Sandbox *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->status->n_conditions; i++) {
        const Openshell__V1__SandboxCondition *c = s->status->conditions[i];
        json_t *j = json_object();
        json_object_set_new(j, "type", json_text(c->type));
        json_object_set_new(j, "status", json_text(c->status));
        json_object_set_new(j, "reason", json_text(c->reason));
        json_object_set_new(j, "message", json_text(c->message));
        json_array_append_new(list, j);
    }
    return list;
}

static void print_sandbox(struct cli *cli, const Openshell__V1__Sandbox *s)
{
    const Openshell__Datamodel__V1__ObjectMeta *m = s->metadata;
    struct pair *labels = os_arena_alloc(&cli->arena, (m->n_labels + 1) * sizeof(*labels));
    struct pair *notes = os_arena_alloc(&cli->arena, (m->n_annotations + 1) * sizeof(*notes));
    for (size_t i = 0; i < m->n_labels; i++)
        labels[i] = (struct pair){m->labels[i]->key, m->labels[i]->value};
    for (size_t i = 0; i < m->n_annotations; i++)
        notes[i] = (struct pair){m->annotations[i]->key, m->annotations[i]->value};
    say(stdout, TITLE "Sandbox:" END "\n\n");
    say(stdout, "  " DIM "Id:" END " %s\n  " DIM "Name:" END " %s\n", m->id, m->name);
    say(stdout, "  " DIM "Phase:" END " %s\n", sandbox_phase_name(s->status->phase));
    const char *reason = s->status->phase == PHASE(ERROR) ? sandbox_reason(s, &cli->arena) : NULL;
    if (reason)
        say(stdout, "  " DIM "Reason:" END " %s\n", reason);
    const Openshell__V1__SandboxCondition *enforced = enforcement(s);
    if (enforced)
        say(stdout, "  " DIM "Enforcement:" END " %s; %s\n",
            strcmp(enforced->status, "True") == 0 ? "complete" : "partial", enforced->message);
    if (s->status->_exit_code_case == OPENSHELL__V1__SANDBOX_STATUS___EXIT_CODE_EXIT_CODE)
        say(stdout, "  " DIM "Exit code:" END " %d\n", (int)s->status->exit_code);
    say(stdout, "  " DIM "Resource version:" END " %llu\n", (unsigned long long)m->resource_version);
    print_pairs("Labels", labels, m->n_labels);
    print_pairs("Annotations", notes, m->n_annotations);
}

static int print_policy_only(const Openshell__Sandbox__V1__GetSandboxConfigResponse *c, struct os_error *err)
{
    cleanup_buf struct os_buf yaml = {0};
    if (!c->policy)
        return os_error_set(err, OS_NOT_FOUND, "no active policy configured for this sandbox");
    policy_yaml_print(c->policy, &yaml);
    say_block(stdout, os_buf_str(&yaml), 0);
    return 0;
}

void sandbox_print_policy(const policy_doc *policy)
{
    cleanup_buf struct os_buf yaml = {0};
    policy_yaml_print(policy, &yaml);
    say(stdout, "\n" TITLE "Policy:" END "\n\n");
    say_block(stdout, os_buf_str(&yaml), 2);
}

int sandbox_get_run(struct cli *cli, struct os_error *err)
{
    const char *format = args_get(cli->args, "output");
    const char *name = cli_sandbox_name(cli, args_positional(cli->args, 0), err);
    Openshell__V1__Sandbox *s = name ? cli_get_sandbox(cli, name, err) : NULL;
    Openshell__Sandbox__V1__GetSandboxConfigResponse *c = s ? cli_get_config(cli, s, err) : NULL;
    if (!c)
        return -1;
    if (args_given(cli->args, "policy-only"))
        return print_policy_only(c, err);
    bool global = c->policy_source == OPENSHELL__SANDBOX__V1__POLICY_SOURCE__POLICY_SOURCE_GLOBAL;
    const char *source = global ? "global" : "sandbox";
    uint32_t revision = global ? c->global_policy_version : c->version;
    if (strcmp(format, "table") != 0) {
        json_t *j = sandbox_json(s);
        json_object_set_new(j, "conditions", conditions_json(s));
        json_object_set_new(j, "policy_source", json_string(source));
        json_object_set_new(j, "revision", revision ? json_integer(revision) : json_null());
        json_object_set_new(j, "policy", c->policy ? policy_to_json(c->policy) : json_null());
        document_print(j, format);
        return 0;
    }
    print_sandbox(cli, s);
    say(stdout, "  " DIM "Policy source:" END " %s\n", source);
    if (revision)
        say(stdout, "  " DIM "Revision:" END " %u\n", revision);
    if (c->policy)
        sandbox_print_policy(c->policy);
    return 0;
}

/* --- delete --- */

static int delete_one(struct cli *cli, const char *name, struct os_error *err)
{
    Openshell__V1__DeleteSandboxRequest req = OPENSHELL__V1__DELETE_SANDBOX_REQUEST__INIT;
    ProtobufCMessage *response;
    req.name = (char *)name;
    req.workspace = (char *)cli->workspace;
    forward_stop_sandbox(cli, name);
    bool gone = cli_call(cli, RPC_OpenShell_DeleteSandbox, &req.base, 0, &response, err) < 0;
    if (gone && err->code != OS_NOT_FOUND)
        return -1;
    os_error_clear(err);
    if (gone || !((Openshell__V1__DeleteSandboxResponse *)response)->deleted)
        say(stdout, YELLOW "!" END " Sandbox %s not found\n", name);
    else
        say(stdout, OK_MARK "✓" END " Deleted sandbox %s\n", name);
    config_forget_sandbox(cli->gateway, cli->workspace, name);
    editor_forget(cli, name);
    fflush(stdout);
    return 0;
}

int sandbox_delete_run(struct cli *cli, struct os_error *err)
{
    const struct args *args = cli->args;
    if (!args_given(args, "all") && !args->n_positional)
        return cli_usage_error(cli, "the following required arguments were not provided:\n  <NAME>...");
    if (cli_resolve(cli, err) < 0)
        return -1;
    for (size_t i = 0; i < args->n_positional; i++)
        if (delete_one(cli, args->positional[i], err) < 0)
            return -1;
    if (!args_given(args, "all"))
        return 0;
    Openshell__V1__ListSandboxesResponse *r;
    if (fetch_list(cli, OS_PAGE_MAX, 0, false, &r, err) < 0)
        return -1;
    if (!r->n_sandboxes)
        say(stdout, "No sandboxes to delete.\n");
    for (size_t i = 0; i < r->n_sandboxes; i++)
        if (delete_one(cli, r->sandboxes[i]->metadata->name, err) < 0)
            return -1;
    return 0;
}
