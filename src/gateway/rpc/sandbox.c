/* CreateSandbox, GetSandbox, ListSandboxes (spec/gateway.md 4.2, 4.3). */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/id.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "gateway/names.h"
#include "gateway/rpc/handlers.h"
#include "gateway/rpc/policy_check.h"
#include "gateway/sandbox.h"
#include "gateway/validate.h"
#include "gateway/watch.h"
#include "policy/policy.h"
#include "rpc/pb.h"

#define PHASE(x) OPENSHELL__V1__SANDBOX_PHASE__SANDBOX_PHASE_##x

typedef Openshell__V1__CreateSandboxRequest create_request;

static ProtobufCMessage *sandbox_response(sandbox_row *row, struct os_arena *a)
{
    Openshell__V1__SandboxResponse *r = pb_new(a, openshell__v1__sandbox_response);
    r->sandbox = row;
    return &r->base;
}

int handler_workspace(struct gateway *gw, const char *requested, const char **workspace, struct os_error *err)
{
    cleanup_arena struct os_arena a = {0};
    struct store_object o;
    *workspace = *requested ? requested : "default";
    if (store_get_named(gw->store, STORE_WORKSPACE, "", *workspace, &a, &o, err) == 0)
        return 0;
    if (err->code == OS_NOT_FOUND)
        return os_error_set(err, OS_NOT_FOUND, "workspace '%s' not found", *workspace);
    return os_error_wrap(err, "fetch workspace failed");
}

/* --- create --- */

static void default_command(Openshell__V1__SandboxSpec *spec, struct os_arena *a)
{
    if (spec->n_command)
        return;
    char *argv[] = {(char *)"/bin/bash", (char *)"-l"};
    spec->command = os_arena_memdup(a, argv, sizeof(argv));
    spec->n_command = 2;
    spec->tty = true;
}

static int check_create(struct gateway *gw, const create_request *req, struct os_arena *a,
                        const char **workspace, struct os_error *err)
{
    Openshell__V1__SandboxSpec *spec = req->spec;
    if (!spec)
        return os_error_set(err, OS_INVALID_ARGUMENT, "spec is required");
    default_command(spec, a);
    if (validate_sandbox(req->name, spec, err) < 0 || validate_labels(req->labels, req->n_labels, err) < 0 ||
        validate_annotations("annotations", req->annotations, req->n_annotations, err) < 0 ||
        handler_workspace(gw, req->workspace, workspace, err) < 0)
        return -1;
    if (spec->n_providers)
        return os_error_set(err, OS_FAILED_PRECONDITION, "provider '%s' not found", spec->providers[0]);
    if (!spec->template_)
        spec->template_ = pb_new(a, openshell__v1__sandbox_template);
    if (!*spec->template_->image)
        spec->template_->image = (char *)gw->driver->ops->default_image;
    return spec->policy ? policy_check_whole(gw, spec->policy, err) : 0;
}

static sandbox_row *new_row(const create_request *req, const char *workspace, struct os_arena *a)
{
    sandbox_row *row = pb_new(a, openshell__v1__sandbox);
    Openshell__Datamodel__V1__ObjectMeta *m = pb_new(a, openshell__datamodel__v1__object_meta);
    char id[OS_UUID_LEN], name[OS_LIMIT_ROUTABLE_NAME + 1];
    m->id = os_arena_strdup(a, os_uuid(id));
    m->name = *req->name ? req->name : os_arena_strdup(a, name_generate(name, sizeof(name)));
    m->created_at_ms = os_clock_ms();
    m->resource_version = 1;
    m->workspace = os_arena_strdup(a, workspace);
    m->n_labels = req->n_labels;
    m->n_annotations = req->n_annotations;
    /* The two generated map entry types of request and metadata have the same layout but other descriptors.
     */
    m->labels = os_arena_alloc(a, (req->n_labels + 1) * sizeof(*m->labels));
    for (size_t i = 0; i < req->n_labels; i++) {
        m->labels[i] = pb_new(a, openshell__datamodel__v1__object_meta__labels_entry);
        m->labels[i]->key = req->labels[i]->key;
        m->labels[i]->value = req->labels[i]->value;
    }
    m->annotations = os_arena_alloc(a, (req->n_annotations + 1) * sizeof(*m->annotations));
    for (size_t i = 0; i < req->n_annotations; i++) {
        m->annotations[i] = pb_new(a, openshell__datamodel__v1__object_meta__annotations_entry);
        m->annotations[i]->key = req->annotations[i]->key;
        m->annotations[i]->value = req->annotations[i]->value;
    }
    row->metadata = m;
    row->spec = req->spec;
    row->status = pb_new(a, openshell__v1__sandbox_status);
    row->status->phase = PHASE(PROVISIONING);
    return row;
}

static void copy_env(Openshell__V1__SandboxSpec *spec, Openshell__Compute__V1__DriverSandboxSpec *out,
                     struct os_arena *a)
{
    out->n_environment = spec->n_environment;
    out->environment = os_arena_alloc(a, (spec->n_environment + 1) * sizeof(*out->environment));
    for (size_t i = 0; i < spec->n_environment; i++) {
        out->environment[i] = pb_new(a, openshell__compute__v1__driver_sandbox_spec__environment_entry);
        out->environment[i]->key = spec->environment[i]->key;
        out->environment[i]->value = spec->environment[i]->value;
    }
}

static const Google__Protobuf__Value *struct_field(const Google__Protobuf__Struct *s, const char *key)
{
    for (size_t i = 0; s && i < s->n_fields; i++)
        if (strcmp(s->fields[i]->key, key) == 0)
            return s->fields[i]->value;
    return NULL;
}

/* resources.<group>.<key> of the template: a quantity as text or as a plain number; "" when absent. */
static char *quantity(const Google__Protobuf__Struct *resources, const char *group, const char *key,
                      struct os_arena *a)
{
    const Google__Protobuf__Value *g = struct_field(resources, group), *v = NULL;
    if (g && g->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE)
        v = struct_field(g->struct_value, key);
    if (v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE)
        return v->string_value;
    if (v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE)
        return os_arena_printf(a, "%.15g", v->number_value);
    return (char *)"";
}

static Openshell__Compute__V1__DriverResourceRequirements *
driver_resources(const Google__Protobuf__Struct *from, struct os_arena *a)
{
    Openshell__Compute__V1__DriverResourceRequirements *r =
        pb_new(a, openshell__compute__v1__driver_resource_requirements);
    r->cpu_request = quantity(from, "requests", "cpu", a);
    r->cpu_limit = quantity(from, "limits", "cpu", a);
    r->memory_request = quantity(from, "requests", "memory", a);
    r->memory_limit = quantity(from, "limits", "memory", a);
    return r;
}

/* The block of the selected driver; the others' are none of its business (spec/drivers.md 2.5). */
static int driver_config(const Google__Protobuf__Struct *all, const char *driver,
                         Google__Protobuf__Struct **out, struct os_error *err)
{
    const Google__Protobuf__Value *v = struct_field(all, driver);
    *out = NULL;
    if (!v)
        return 0;
    if (v->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE)
        return os_error_set(err, OS_INVALID_ARGUMENT, "template.driver_config.%s must be an object", driver);
    *out = v->struct_value;
    return 0;
}

static Openshell__Compute__V1__ResourceRequirements *
requirements(const Openshell__V1__ResourceRequirements *from, struct os_arena *a)
{
    if (!from || !from->gpu)
        return NULL;
    Openshell__Compute__V1__ResourceRequirements *r =
        pb_new(a, openshell__compute__v1__resource_requirements);
    r->gpu = pb_new(a, openshell__compute__v1__gpu_resource_requirements);
    if (from->gpu->_count_case == OPENSHELL__V1__GPU_RESOURCE_REQUIREMENTS___COUNT_COUNT) {
        r->gpu->_count_case = OPENSHELL__COMPUTE__V1__GPU_RESOURCE_REQUIREMENTS___COUNT_COUNT;
        r->gpu->count = from->gpu->count;
    }
    return r;
}

static driver_sandbox *driver_request(const struct gateway *gw, const sandbox_row *row, struct os_arena *a,
                                      struct os_error *err)
{
    const Openshell__V1__SandboxTemplate *t = row->spec->template_;
    driver_sandbox *d = pb_new(a, openshell__compute__v1__driver_sandbox);
    d->id = row->metadata->id;
    d->name = row->metadata->name;
    d->workspace = row->metadata->workspace;
    d->status = pb_new(a, openshell__compute__v1__driver_sandbox_status);
    d->spec = pb_new(a, openshell__compute__v1__driver_sandbox_spec);
    d->spec->log_level = row->spec->log_level;
    d->spec->command = row->spec->command;
    d->spec->n_command = row->spec->n_command;
    d->spec->tty = row->spec->tty;
    d->spec->keep = row->spec->keep;
    d->spec->resource_requirements = requirements(row->spec->resource_requirements, a);
    copy_env(row->spec, d->spec, a);
    d->spec->template_ = pb_new(a, openshell__compute__v1__driver_sandbox_template);
    d->spec->template_->image = t->image;
    d->spec->template_->agent_socket_path = t->agent_socket;
    if (driver_config(t->driver_config, gw->driver->ops->name, &d->spec->template_->driver_config, err) < 0)
        return NULL;
    d->spec->template_->resources = t->resources ? driver_resources(t->resources, a) : NULL;
    d->spec->template_->n_environment = t->n_environment;
    d->spec->template_->environment =
        os_arena_alloc(a, (t->n_environment + 1) * sizeof(*d->spec->template_->environment));
    for (size_t i = 0; i < t->n_environment; i++) {
        Openshell__Compute__V1__DriverSandboxTemplate__EnvironmentEntry *e =
            pb_new(a, openshell__compute__v1__driver_sandbox_template__environment_entry);
        e->key = t->environment[i]->key;
        e->value = t->environment[i]->value;
        d->spec->template_->environment[i] = e;
    }
    return d;
}

static int insert_row(struct gateway *gw, const sandbox_row *row, struct os_arena *a, struct os_error *err)
{
    json_t *labels = json_object();
    for (size_t i = 0; i < row->metadata->n_labels; i++)
        json_object_set_new(labels, row->metadata->labels[i]->key,
                            json_string(row->metadata->labels[i]->value));
    cleanup_free char *text = json_dumps(labels, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(labels);
    size_t n;
    uint8_t *data = pb_pack(a, &row->base, &n);
    const struct store_object o = {.id = row->metadata->id,
                                   .type = STORE_SANDBOX,
                                   .name = row->metadata->name,
                                   .workspace = row->metadata->workspace,
                                   .labels = text,
                                   .payload = data,
                                   .payload_len = n,
                                   .created_at_ms = row->metadata->created_at_ms};
    if (store_insert(gw->store, &o, err) == 0)
        return 0;
    if (err->code == OS_ALREADY_EXISTS)
        return os_error_set(err, OS_ALREADY_EXISTS, "sandbox '%s' already exists", row->metadata->name);
    return os_error_wrap(err, "persist sandbox failed");
}

static int start_compute(struct gateway *gw, const sandbox_row *row, const driver_sandbox *request,
                         struct os_error *err)
{
    if (gw->driver->ops->create(gw->driver->self, request, err) == 0)
        return 0;
    cleanup_error struct os_error cleanup = {0};
    if (sandbox_remove(gw, row, &cleanup) < 0)
        os_log_error("sandbox", "%s: cannot remove the record of a failed create: %s", row->metadata->id,
                     os_error_text(&cleanup));
    if (err->code == OS_ALREADY_EXISTS)
        return os_error_set(err, OS_ALREADY_EXISTS, "sandbox already exists");
    if (err->code == OS_FAILED_PRECONDITION)
        return -1;
    os_error_wrap(err, "create sandbox failed");
    err->code = OS_INTERNAL;
    return -1;
}

int rpc_create_sandbox(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *a,
                       ProtobufCMessage **response, struct os_error *err)
{
    struct gateway *gw = ctx;
    const create_request *req = (const create_request *)request;
    const char *workspace;
    if (check_create(gw, req, a, &workspace, err) < 0)
        return -1;
    sandbox_row *row = new_row(req, workspace, a);
    driver_sandbox *compute = driver_request(gw, row, a, err);
    if (!compute || gw->driver->ops->validate(gw->driver->self, compute, err) < 0)
        return -1;
    cleanup_free char *token =
        gw->jwt ? jwt_mint_sandbox(gw->jwt, row->metadata->id, gw->jwt_ttl_s, NULL, err) : os_strdup("");
    if (!token)
        return -1;
    compute->spec->sandbox_token = token;
    pthread_mutex_t *gate = gateway_gate(gw, row->metadata->id);
    pthread_mutex_lock(gate);
    int rc = insert_row(gw, row, a, err);
    if (rc == 0)
        rc = start_compute(gw, row, compute, err);
    pthread_mutex_unlock(gate);
    explicit_bzero(token, strlen(token));
    if (rc < 0)
        return -1;
    gateway_log(gw, row->metadata->id, OS_LOG_INFO, "sandbox",
                "CreateSandbox request completed successfully");
    watches_status(gw->watches, row->metadata->id);
    *response = sandbox_response(row, a);
    return 0;
}

/* --- read --- */

int rpc_get_sandbox(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *a,
                    ProtobufCMessage **response, struct os_error *err)
{
    struct gateway *gw = ctx;
    const Openshell__V1__GetSandboxRequest *req = (const Openshell__V1__GetSandboxRequest *)request;
    const char *workspace;
    if (!*req->name)
        return os_error_set(err, OS_INVALID_ARGUMENT, "name is required");
    if (handler_workspace(gw, req->workspace, &workspace, err) < 0)
        return -1;
    sandbox_row *row = sandbox_load_named(gw, workspace, req->name, a, err);
    if (!row)
        return -1;
    *response = sandbox_response(row, a);
    return 0;
}

static bool selected(const sandbox_row *row, const struct validate_selector *pairs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool has = false;
        for (size_t k = 0; k < row->metadata->n_labels && !has; k++)
            has = strcmp(row->metadata->labels[k]->key, pairs[i].key) == 0 &&
                  strcmp(row->metadata->labels[k]->value, pairs[i].value) == 0;
        if (!has)
            return false;
    }
    return true;
}

int rpc_list_sandboxes(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *a,
                       ProtobufCMessage **response, struct os_error *err)
{
    struct gateway *gw = ctx;
    const Openshell__V1__ListSandboxesRequest *req = (const Openshell__V1__ListSandboxesRequest *)request;
    const char *workspace = NULL;
    struct validate_selector *pairs;
    size_t n_pairs, n = 0;
    struct store_object *rows;
    if (req->all_workspaces && *req->workspace)
        return os_error_set(err, OS_INVALID_ARGUMENT, "all_workspaces and workspace are mutually exclusive");
    if ((!req->all_workspaces && handler_workspace(gw, req->workspace, &workspace, err) < 0) ||
        validate_selector(a, req->label_selector, &pairs, &n_pairs, err) < 0)
        return -1;
    uint32_t limit = req->limit ? req->limit : OS_PAGE_DEFAULT;
    if (limit > OS_PAGE_MAX)
        limit = OS_PAGE_MAX;
    /* A selector filters before paging. */
    if (store_list(gw->store, STORE_SANDBOX, workspace, n_pairs ? 0 : limit, n_pairs ? 0 : req->offset, a,
                   &rows, &n, err) < 0)
        return os_error_wrap(err, "list sandboxes failed");
    Openshell__V1__ListSandboxesResponse *r = pb_new(a, openshell__v1__list_sandboxes_response);
    r->sandboxes = os_arena_alloc(a, (n + 1) * sizeof(*r->sandboxes));
    uint32_t skip = n_pairs ? req->offset : 0;
    for (size_t i = 0; i < n && r->n_sandboxes < limit; i++) {
        sandbox_row *row = sandbox_unpack(&rows[i], a, err);
        if (!row)
            return -1;
        if (!selected(row, pairs, n_pairs))
            continue;
        if (skip)
            skip--;
        else
            r->sandboxes[r->n_sandboxes++] = row;
    }
    *response = &r->base;
    return 0;
}
