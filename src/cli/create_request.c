/* From the flags of `sandbox create` to its request (spec/cli.md 6.1, 6.2). */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/create.h"
#include "cli/editor.h"
#include "cli/gateway_local.h"
#include "cli/output.h"
#include "cli/policy_file.h"
#include "cli/struct_json.h"
#include "cli/upload.h"
#include "cli/values.h"
#include "core/cleanup.h"
#include "core/str.h"
#include "rpc/pb.h"

#define COMMUNITY_REGISTRY "ghcr.io/nvidia/openshell-community/sandboxes"

/* --- the request --- */

static int add_labels(struct cli *cli, create_request *req, struct os_error *err)
{
    size_t n = args_count(cli->args, "label");
    req->labels = os_arena_alloc(&cli->arena, (n + 1) * sizeof(*req->labels));
    for (size_t i = 0; i < n; i++) {
        const char *pair = args_nth(cli->args, "label", i), *value;
        size_t key_len;
        if (value_label(pair, &key_len, &value, err) < 0)
            return -1;
        req->labels[i] = pb_new(&cli->arena, openshell__v1__create_sandbox_request__labels_entry);
        req->labels[i]->key = os_arena_strndup(&cli->arena, pair, key_len);
        req->labels[i]->value = (char *)value;
    }
    req->n_labels = n;
    return 0;
}

static int add_environment(struct cli *cli, Openshell__V1__SandboxSpec *spec, struct os_error *err)
{
    size_t n = args_count(cli->args, "env");
    spec->environment = os_arena_alloc(&cli->arena, (n + 1) * sizeof(*spec->environment));
    for (size_t i = 0; i < n; i++) {
        const char *pair = args_nth(cli->args, "env", i), *value;
        size_t key_len;
        if (value_env(pair, &key_len, &value, err) < 0)
            return -1;
        spec->environment[i] = pb_new(&cli->arena, openshell__v1__sandbox_spec__environment_entry);
        spec->environment[i]->key = os_arena_strndup(&cli->arena, pair, key_len);
        spec->environment[i]->value = (char *)value;
    }
    spec->n_environment = n;
    return 0;
}

static int by_key(const void *a, const void *b)
{
    typedef Openshell__V1__SandboxSpec__EnvironmentEntry entry;
    return strcmp((*(entry *const *)a)->key, (*(entry *const *)b)->key);
}

/* Names the keys, never the values. */
static void warn_credentials(const struct cli *cli, const Openshell__V1__SandboxSpec *spec)
{
    if (args_given(cli->args, "no-credential-warnings"))
        return;
    qsort(spec->environment, spec->n_environment, sizeof(*spec->environment), by_key);
    for (size_t i = 0; i < spec->n_environment; i++)
        if (value_env_is_credential(spec->environment[i]->key, strlen(spec->environment[i]->key)))
            say(stderr,
                WARN_MARK "⚠" END " %s looks like a credential passed as a plain environment variable.\n"
                          "  The agent inside the sandbox can read this value directly.\n\n"
                          "  To hide it from the agent, use a provider instead of --env.\n\n",
                spec->environment[i]->key);
}

/* Looks like a path although nothing is there (spec/cli.md 6.2, step 3). */
static bool looks_local(const char *from)
{
    static const char *const prefixes[] = {"/", "./", "../", "~/"};
    for (size_t i = 0; i < OS_ARRAY_LEN(prefixes); i++)
        if (os_str_starts(from, prefixes[i]))
            return true;
    return strcmp(from, ".") == 0 || strcmp(from, "..") == 0 ||
           (strcasestr(from, "dockerfile") && !strpbrk(from, "/:"));
}

/* The local driver's own forms: "host", "dir:PATH" and "oci:PATH[:NAME]", the path made absolute. NULL when
 * it is none of them. */
static const char *local_image(struct cli *cli, const char *from)
{
    static const char *const forms[] = {"dir:", "oci:"};
    if (strcmp(from, "host") == 0)
        return from;
    for (size_t i = 0; i < OS_ARRAY_LEN(forms); i++) {
        const char *path = from + strlen(forms[i]);
        if (!os_str_starts(from, forms[i]))
            continue;
        cleanup_free char *cwd = *path == '/' ? NULL : getcwd(NULL, 0);
        return cwd ? os_arena_printf(&cli->arena, "%s%s/%s", forms[i], cwd, path) : from;
    }
    return NULL;
}

/* A file or directory of that name: what a build would be made of. Sets *err unless it is to be taken as the
 * name of an image. */
static void existing_source(const char *from, const struct stat *st, struct os_error *err)
{
    cleanup_free char *dockerfile = os_asprintf("%s/Dockerfile", from);
    bool file = S_ISREG(st->st_mode), dir = S_ISDIR(st->st_mode);
    if ((file && strcasestr(from, "dockerfile")) || (dir && access(dockerfile, F_OK) == 0))
        os_error_set(
            err, OS_UNIMPLEMENTED,
            "--from '%s' asks for an image to be built, which this version does not do.\nBuild it with "
            "another tool, save it, and use: --from oci:<FILE>",
            from);
    else if (dir)
        os_error_set(err, OS_INVALID_ARGUMENT,
                     "No Dockerfile found in directory: %s\nTo use the directory as the root file system: "
                     "--from dir:%s",
                     from, from);
    else if (file && looks_local(from))
        os_error_set(err, OS_INVALID_ARGUMENT, "local --from file is not a Dockerfile: %s", from);
    else if (!file)
        os_error_set(err, OS_INVALID_ARGUMENT, "local --from path is not a regular file or directory: %s",
                     from);
}

/* Image reference for --from; NULL with *err. */
static const char *image(struct cli *cli, const char *from, struct os_error *err)
{
    struct stat st;
    const char *local = local_image(cli, from);
    if (local)
        return local;
    if (stat(from, &st) == 0) {
        existing_source(from, &st, err);
        if (err->code != OS_OK)
            return NULL;
    } else if (looks_local(from)) {
        os_error_set(
            err, OS_INVALID_ARGUMENT,
            "local --from path does not exist: %s\nUse an existing Dockerfile, a directory containing "
            "Dockerfile, or a container image reference.",
            from);
        return NULL;
    }
    if (strpbrk(from, "/:."))
        return from;
    const char *registry = getenv("OPENSHELL_COMMUNITY_REGISTRY");
    if (!registry || !*registry)
        registry = COMMUNITY_REGISTRY;
    size_t n = strlen(registry);
    while (n && registry[n - 1] == '/')
        n--;
    return os_arena_printf(&cli->arena, "%.*s/%s:latest", (int)n, registry, from);
}

static int add_resources(struct cli *cli, Openshell__V1__SandboxTemplate *t, struct os_error *err)
{
    const char *cpu = args_get(cli->args, "cpu"), *memory = args_get(cli->args, "memory");
    if ((cpu && value_cpu(cpu, err) < 0) || (memory && value_memory(memory, err) < 0))
        return -1;
    if (!cpu && !memory)
        return 0;
    json_t *limits = json_object(), *resources = json_object();
    if (cpu)
        json_object_set_new(limits, "cpu", json_string(cpu));
    if (memory)
        json_object_set_new(limits, "memory", json_string(memory));
    json_object_set_new(resources, "limits", limits);
    t->resources = struct_from_json(&cli->arena, resources);
    json_decref(resources);
    return 0;
}

/* SRC[:DST][:ro|rw] as an element of the local driver's mounts; NULL with *err. */
static json_t *mount_json(const char *text, struct os_error *err)
{
    cleanup_free char *copy = os_strdup(text), *cwd = getcwd(NULL, 0);
    size_t n = strlen(copy);
    bool writable = os_str_ends(copy, ":rw");
    if (writable || os_str_ends(copy, ":ro"))
        copy[n - 3] = '\0';
    char *target = strchr(copy, ':');
    if (target)
        *target++ = '\0';
    if (!*copy || (target && *target != '/') || (target && strchr(target, ':'))) {
        os_error_set(err, OS_INVALID_ARGUMENT,
                     "invalid --mount '%s': expected SRC[:DST][:ro|rw], DST an absolute path in the sandbox",
                     text);
        return NULL;
    }
    cleanup_free char *source = *copy == '/' ? os_strdup(copy) : os_asprintf("%s/%s", cwd ? cwd : "", copy);
    cleanup_free char *real = realpath(source, NULL);
    const char *from = real ? real : source, *slash = strrchr(from, '/');
    cleanup_free char *own = os_asprintf("/sandbox/%s", slash + 1);
    if (!target && !slash[1]) {
        os_error_set(err, OS_INVALID_ARGUMENT, "--mount '%s' needs a DST", text);
        return NULL;
    }
    return json_pack("{s:s, s:s, s:s, s:b}", "type", "bind", "source", from, "target", target ? target : own,
                     "read_only", !writable);
}

/* Adds the directories of --mount to the block of the local driver. */
static int add_mounts(const struct cli *cli, json_t *config, struct os_error *err)
{
    size_t n = args_count(cli->args, "mount");
    if (!n)
        return 0;
    json_t *local = json_object_get(config, "local");
    if (!local)
        json_object_set_new(config, "local", local = json_object());
    json_t *mounts = json_object_get(local, "mounts");
    if (!mounts)
        json_object_set_new(local, "mounts", mounts = json_array());
    for (size_t i = 0; i < n; i++) {
        json_t *m = mount_json(args_nth(cli->args, "mount", i), err);
        if (!m)
            return -1;
        if (json_array_append_new(mounts, m) < 0)
            return os_error_set(
                err, OS_INVALID_ARGUMENT,
                "--mount cannot be combined with this --driver-config-json: its local.mounts is "
                "not a list");
    }
    return 0;
}

static int add_driver_config(struct cli *cli, Openshell__V1__SandboxTemplate *t, struct os_error *err)
{
    const char *text = args_get(cli->args, "driver-config-json");
    if (!text && !args_given(cli->args, "mount"))
        return 0;
    json_error_t why;
    json_t *j = json_loads(text ? text : "{}", JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!j)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "--driver-config-json must be valid JSON" CAUSE "%s (column %d)", why.text,
                            why.column);
    if (json_is_object(j) && add_mounts(cli, j, err) < 0) {
        json_decref(j);
        return -1;
    }
    t->driver_config = struct_from_json(&cli->arena, j);
    json_decref(j);
    if (!t->driver_config)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "--driver-config-json must be a JSON object keyed by driver name");
    return 0;
}

static int add_template(struct cli *cli, Openshell__V1__SandboxSpec *spec, struct os_error *err)
{
    const char *from = args_get(cli->args, "from");
    Openshell__V1__SandboxTemplate *t = pb_new(&cli->arena, openshell__v1__sandbox_template);
    if (from) {
        t->image = (char *)image(cli, from, err);
        if (!t->image)
            return -1;
    }
    if (add_resources(cli, t, err) < 0 || add_driver_config(cli, t, err) < 0)
        return -1;
    if (from || t->resources || t->driver_config)
        spec->template_ = t;
    return 0;
}

static int add_policy(struct cli *cli, Openshell__V1__SandboxSpec *spec, struct os_error *err)
{
    const char *file = args_get(cli->args, "policy");
    if (!file)
        return 0;
    spec->policy = policy_file_load(&cli->arena, file, err);
    return spec->policy ? 0 : -1;
}

/* LOCAL[:SANDBOX_PATH], split at the first colon. */
static void read_extras(struct cli *cli, struct create_extras *extras)
{
    size_t n = args_count(cli->args, "upload");
    *extras =
        (struct create_extras){.forward_text = args_get(cli->args, "forward"),
                               .uploads = os_arena_alloc(&cli->arena, (n + 1) * sizeof(*extras->uploads)),
                               .n_uploads = n};
    for (size_t i = 0; i < n; i++) {
        char *path = os_arena_strdup(&cli->arena, args_nth(cli->args, "upload", i));
        char *colon = strchr(path, ':');
        if (colon)
            *colon++ = '\0';
        extras->uploads[i] = (struct create_upload){path, colon && *colon ? colon : NULL};
    }
}

/* Its form was checked: a number, or nothing. */
static void add_gpu(struct cli *cli, Openshell__V1__SandboxSpec *spec)
{
    uint64_t count;
    if (!args_given(cli->args, "gpu"))
        return;
    spec->resource_requirements = pb_new(&cli->arena, openshell__v1__resource_requirements);
    Openshell__V1__GpuResourceRequirements *gpu = spec->resource_requirements->gpu =
        pb_new(&cli->arena, openshell__v1__gpu_resource_requirements);
    if (!os_str_u64(args_get(cli->args, "gpu"), UINT32_MAX, &count))
        return;
    gpu->_count_case = OPENSHELL__V1__GPU_RESOURCE_REQUIREMENTS___COUNT_COUNT;
    gpu->count = (uint32_t)count;
}

/* A variable that is not set leaves "" behind: hardly what was meant. */
static int check_texts(const struct args *args, struct os_error *err)
{
    if (args_given(args, "name") && !*args_get(args, "name"))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "--name must not be empty; leave it out to have a name generated");
    if (args_given(args, "from") && !*args_get(args, "from"))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "--from must not be empty; expected host, dir:PATH or oci:PATH[:NAME]");
    if (args->n_positional && !*args->positional[0])
        return os_error_set(err, OS_INVALID_ARGUMENT, "the command is empty; name a program to run");
    return 0;
}

create_request *create_request_build(struct cli *cli, struct create_extras *extras, struct os_error *err)
{
    static const char *const shell[] = {"/bin/bash", "-l"};
    const struct args *args = cli->args;
    create_request *req = pb_new(&cli->arena, openshell__v1__create_sandbox_request);
    read_extras(cli, extras);
    Openshell__V1__SandboxSpec *spec = req->spec = pb_new(&cli->arena, openshell__v1__sandbox_spec);
    if (add_labels(cli, req, err) < 0 || add_environment(cli, spec, err) < 0)
        return NULL;
    warn_credentials(cli, spec);
    add_gpu(cli, spec);
    for (size_t i = 0; i < extras->n_uploads; i++)
        if (upload_check(extras->uploads[i].path, err) < 0)
            return NULL;
    if (extras->forward_text &&
        forward_spec_parse(&cli->arena, extras->forward_text, false, &extras->forward, err) < 0)
        return NULL;
    if (args_given(cli->args, "editor") && cli->args->n_positional) {
        os_error_set(err, OS_INVALID_ARGUMENT,
                     "--editor cannot be used with a trailing command; use `openshell sandbox connect <name> "
                     "--editor ...` after the sandbox is ready");
        return NULL;
    }
    if (args_given(args, "editor") && editor_check(args_get(args, "editor"), err) < 0)
        return NULL;
    if (check_texts(args, err) < 0)
        return NULL;
    if (gateway_resolve_or_start(cli, err) < 0 || add_template(cli, spec, err) < 0 ||
        add_policy(cli, spec, err) < 0)
        return NULL;
    if (extras->forward_text) {
        extras->listener = forward_listen_or_explain(cli, &extras->forward, err);
        if (extras->listener < 0)
            return NULL;
    }
    if (args_given(args, "name"))
        req->name = (char *)args_get(args, "name");
    req->workspace = (char *)cli->workspace;
    spec->command = (char **)(args->n_positional ? args->positional : (const char **)shell);
    spec->n_command = args->n_positional ? args->n_positional : OS_ARRAY_LEN(shell);
    int tty = args_last_of(args, "tty", "no-tty");
    spec->tty = tty ? tty > 0 : isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    spec->keep = args_given(args, "keep");
    spec->n_providers = args_count(args, "provider");
    spec->providers = os_arena_alloc(&cli->arena, (spec->n_providers + 1) * sizeof(*spec->providers));
    for (size_t i = 0; i < spec->n_providers; i++)
        spec->providers[i] = (char *)args_nth(args, "provider", i);
    return req;
}
