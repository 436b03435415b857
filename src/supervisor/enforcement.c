/* Configurations of the gateway -> the published policy engine. */
#include "supervisor/enforcement.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "policy/middleware.h"
#include "supervisor/egress/middleware/registry.h"
#include "supervisor/rules/rules.h"
#include "supervisor/summary.h"
#include "sys/file.h"

typedef Openshell__Sandbox__V1__GetSandboxConfigResponse config_response;

#define RETAIN_MODE "retain_last_valid"
#define IMAGE_POLICY "/etc/openshell/policy.yaml"
#define IMAGE_POLICY_OLD "/etc/navigator/policy.yaml"

struct enforcement {
    struct audit *audit;
    bool binary_identity, direct_tcp;
    enforcement_report_fn *report;
    void *report_ctx;
    struct rules *rules;     /* NULL = none */
    struct summary *summary; /* NULL = none */
    const policy_doc *file;  /* the policy of a data file; NULL = the gateway's */
    struct os_arena file_arena;
    struct middleware_registry *services; /* of middleware; NULL = none */
    bool other_services;                  /* than the published policy has */
    struct policy_slot *slot;             /* NULL before the first configuration */
    uint64_t generation;
    char *hash; /* of the policy in force or, in quarantine, of the rejected one */
    uint32_t version;
    bool valid;    /* a policy was in force at some time */
    bool rejected; /* the last one was not accepted */
};

struct enforcement *enforcement_new(struct audit *audit, bool binary_identity, bool direct_tcp,
                                    enforcement_report_fn *report, void *ctx)
{
    struct enforcement *e = os_calloc(1, sizeof(*e));
    *e = (struct enforcement){.audit = audit,
                              .binary_identity = binary_identity,
                              .direct_tcp = direct_tcp,
                              .report = report,
                              .report_ctx = ctx};
    return e;
}

void enforcement_set_services(struct enforcement *e, struct middleware_registry *registry)
{
    e->other_services = e->other_services || e->services != registry;
    middleware_registry_unref(e->services);
    e->services = registry;
}

void enforcement_use_rules(struct enforcement *e, struct rules *rules)
{
    e->rules = rules;
}

int enforcement_use_file(struct enforcement *e, const char *text, size_t n, struct os_error *err)
{
    struct os_strv cleanup_strv violations = {0};
    const policy_doc *doc = policy_yaml_parse_data(&e->file_arena, text, n, err);
    if (!doc)
        return os_error_wrap(err, "--policy-data");
    policy_validate_runtime(doc, &violations);
    if (violations.n) {
        cleanup_free char *all = os_strv_join(&violations, "; ");
        return os_error_set(err, OS_INVALID_ARGUMENT, "--policy-data: policy validation failed: %s", all);
    }
    struct policy_engine *tried = policy_compile(doc, &(struct policy_compile_options){0}, err);
    if (!tried)
        return os_error_wrap(err, "--policy-data");
    policy_engine_unref(tried);
    e->file = doc;
    return 0;
}

void enforcement_use_summary(struct enforcement *e, struct summary *summary)
{
    e->summary = summary;
}

struct policy_slot *enforcement_slot(struct enforcement *e)
{
    return e->slot;
}

static void emit(const struct enforcement *e, const char *state, enum audit_severity severity,
                 const char *message, const char *hash)
{
    audit_emit(e->audit, &(struct audit_event){.cls = AUDIT_CONFIG,
                                               .activity = "Log",
                                               .severity = severity,
                                               .state = state,
                                               .message = message,
                                               .policy_hash = hash});
}

/* Only revisions of the sandbox itself are acknowledged (spec/supervisor.md 13.2). */
static void acknowledge(const struct enforcement *e, const config_response *c, bool loaded, const char *error)
{
    if (c->policy_source == OPENSHELL__SANDBOX__V1__POLICY_SOURCE__POLICY_SOURCE_SANDBOX && c->version > 0)
        e->report(e->report_ctx, c->version, loaded, error);
}

/* Policy binaries may be written as symlinks; the worker shares the agent's root. */
static char *resolve_binary(void *ctx, const char *path)
{
    (void)ctx;
    char *real = realpath(path, NULL);
    if (real && strcmp(real, path) == 0) {
        free(real);
        return NULL;
    }
    return real;
}

static void publish(struct enforcement *e, struct policy_engine *engine)
{
    if (e->slot)
        policy_slot_publish(e->slot, engine);
    else
        e->slot = policy_slot_new(engine);
}

static bool has_tcp(const policy_doc *doc)
{
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        const policy_rule *rule = doc->network_policies[i]->value;
        for (size_t k = 0; rule && k < rule->n_endpoints; k++)
            if (os_str_eq_nocase(rule->endpoints[k]->protocol, "tcp"))
                return true;
    }
    return false;
}

static struct policy_engine *compile(struct enforcement *e, const policy_doc *doc, uint32_t version,
                                     struct os_error *err)
{
    if (!e->direct_tcp && has_tcp(doc)) {
        os_error_set(err, OS_UNIMPLEMENTED, "%s",
                     e->valid
                         ? "candidate policy introduces protocol: tcp, but the runtime does not advertise "
                           "transparent TCP support; previous policy remains active"
                         : "policy contains protocol: tcp endpoints, but the selected runtime does not "
                           "advertise policy DNS and transparent TCP support");
        return NULL;
    }
    struct os_strv cleanup_strv violations = {0};
    policy_validate_runtime(doc, &violations);
    if (violations.n) {
        cleanup_free char *all = os_strv_join(&violations, "; ");
        os_error_set(err, OS_INVALID_ARGUMENT, "policy contains unsafe content: %s", all);
        return NULL;
    }
    struct policy_compile_options opt = {
        .binary_identity = e->binary_identity,
        .resolve = resolve_binary,
        .version = version,
        .generation = ++e->generation,
    };
    struct policy_engine *engine = policy_compile(doc, &opt, err);
    if (engine && e->services)
        policy_engine_attach(engine, middleware_registry_ref(e->services), middleware_registry_unref);
    if (engine && e->rules)
        rules_set_policy(e->rules, doc, &opt);
    return engine;
}

static void reject(struct enforcement *e, const config_response *c, const struct os_error *why)
{
    bool again = e->rejected && e->version == c->version && os_str_eq(e->hash, c->policy_hash);
    bool unsupported = why->code == OS_UNIMPLEMENTED; /* by the runtime: the mode does not matter */
    bool retain = e->valid && (unsupported || os_str_eq(c->policy_validation_failure_mode, RETAIN_MODE));
    cleanup_free char *reason = os_asprintf(
        "policy validation failed; fail-closed quarantine is active; candidate version %u rejected: %s",
        c->version, os_error_text(why));
    if (!retain) {
        publish(e, policy_quarantine(reason, ++e->generation));
        if (e->summary)
            summary_quarantine(e->summary, reason);
    }
    e->rejected = true;
    e->version = c->version;
    free(e->hash);
    e->hash = os_strdup(c->policy_hash);
    acknowledge(e, c, false, os_error_text(why));
    if (again)
        return;
    cleanup_free char *kept = os_asprintf(
        "policy validation failed; the previous policy stays active; candidate version %u rejected: %s",
        c->version, os_error_text(why));
    emit(e, retain ? "retained_last_valid" : "fail_closed", AUDIT_SEV_HIGH, retain ? kept : reason, NULL);
    cleanup_free char *uid = os_asprintf("policy-validation-failed-%u", c->version);
    audit_emit(e->audit, &(struct audit_event){.cls = AUDIT_FINDING,
                                               .activity = "Create",
                                               .severity = AUDIT_SEV_HIGH,
                                               .action = AUDIT_DENIED,
                                               .finding_uid = uid,
                                               .title = "Invalid policy generation rejected",
                                               .message = os_error_text(why)});
}

/* Its policy is not the one in force, and the gateway is to know that. */
static void decline(struct enforcement *e, const config_response *c)
{
    static const char why[] =
        "this sandbox takes its policy from files of its supervisor (--policy-data); revisions of "
        "the gateway are not loaded";
    if (!c->policy || (e->rejected && e->version == c->version))
        return;
    e->rejected = true;
    e->version = c->version;
    acknowledge(e, c, false, why);
    emit(e, "retained_local", AUDIT_SEV_LOW, why, NULL);
}

static void take_up(struct enforcement *e, const config_response *c, const policy_doc *doc,
                    struct policy_engine *engine)
{
    publish(e, engine);
    if (e->summary)
        summary_policy(e->summary, doc, c->version, c->policy_hash);
    e->rejected = e->other_services = false;
    e->valid = true;
    e->version = c->version;
    free(e->hash);
    e->hash = os_strdup(c->policy_hash);
    acknowledge(e, c, true, NULL);
}

/* The image's own policy, when the gateway has none (spec/supervisor.md 2.3). */
static policy_doc *image_policy(struct enforcement *e, struct os_arena *arena)
{
    struct os_error cleanup_error err = {0};
    struct os_buf cleanup_buf text = {0};
    const char *path = os_file_exists(IMAGE_POLICY) ? IMAGE_POLICY : IMAGE_POLICY_OLD;
    if (!os_file_exists(path))
        return policy_default(arena);
    policy_doc *doc = NULL;
    if (os_file_read(path, OS_LIMIT_POLICY_BYTES, &text, &err) == 0)
        doc = policy_yaml_parse(arena, os_buf_str(&text), text.len, &err);
    if (!doc) {
        emit(e, "fallback", AUDIT_SEV_MEDIUM, os_error_text(&err), NULL);
        return policy_default(arena);
    }
    if (policy_check(doc, &err) < 0) {
        audit_emit(e->audit, &(struct audit_event){.cls = AUDIT_FINDING,
                                                   .activity = "Create",
                                                   .severity = AUDIT_SEV_HIGH,
                                                   .finding_uid = "unsafe-disk-policy",
                                                   .title = "Unsafe Disk Policy Content",
                                                   .message = os_error_text(&err)});
        return policy_default(arena);
    }
    return doc;
}

static void enrich(struct enforcement *e, policy_doc *doc, struct os_arena *arena)
{
    if (doc->n_network_policies && policy_enrich(arena, doc, os_file_exists))
        emit(e, "enriched", AUDIT_SEV_INFO, "Enriched policy with baseline filesystem paths", NULL);
}

policy_doc *enforcement_own_policy(struct enforcement *e, struct os_arena *arena)
{
    policy_doc *doc = image_policy(e, arena);
    enrich(e, doc, arena);
    return doc;
}

/* The policy of the file, compiled anew under the generation that is published. */
static policy_doc *begin_with_file(struct enforcement *e, const config_response *c, struct os_arena *arena)
{
    struct os_error cleanup_error err = {0};
    char hash[65];
    policy_doc *doc = policy_copy(arena, e->file);
    enrich(e, doc, arena);
    policy_hash(doc, hash);
    struct policy_engine *engine = compile(e, doc, 0, &err);
    if (e->summary)
        summary_files(e->summary, doc);
    publish(e, engine ? engine : policy_quarantine(os_error_text(&err), ++e->generation));
    if (e->summary && engine)
        summary_policy(e->summary, doc, 0, hash);
    e->valid = engine != NULL;
    cleanup_free char *text = os_asprintf("Policy loaded from local files [policy_hash:%s]", hash);
    emit(e, "loaded", engine ? AUDIT_SEV_INFO : AUDIT_SEV_HIGH, engine ? text : os_error_text(&err), hash);
    decline(e, c);
    return doc;
}

policy_doc *enforcement_begin(struct enforcement *e, const config_response *c, struct os_arena *arena)
{
    struct os_error cleanup_error err = {0};
    if (e->file)
        return begin_with_file(e, c, arena);
    policy_doc *doc = c->policy ? policy_copy(arena, c->policy) : image_policy(e, arena);
    enrich(e, doc, arena);
    struct policy_engine *engine = compile(e, doc, c->version, &err);
    if (e->summary)
        summary_files(e->summary, engine ? doc : policy_default(arena));
    if (!engine) {
        reject(e, c, &err);
        return policy_default(arena);
    }
    take_up(e, c, doc, engine);
    if (!c->policy) { /* once the gateway has it too, it comes back under this hash: nothing to reload */
        char hash[65];
        free(e->hash);
        e->hash = os_strdup(policy_hash(doc, hash));
    }
    cleanup_free char *text = os_asprintf("Policy loaded [policy_hash:%s]", e->hash);
    emit(e, "loaded", AUDIT_SEV_INFO, text, e->hash);
    return doc;
}

void enforcement_update(struct enforcement *e, const config_response *c)
{
    if (e->file) {
        decline(e, c);
        return;
    }
    if (!c->policy)
        return;
    if (!e->rejected && !e->other_services && os_str_eq(e->hash, c->policy_hash)) {
        if (e->version != c->version) {
            e->version = c->version;
            acknowledge(e, c, true, NULL);
            cleanup_free char *text =
                os_asprintf("Acknowledged unchanged policy revision as loaded [version:%u]", c->version);
            emit(e, "loaded", AUDIT_SEV_INFO, text, NULL);
        }
        return;
    }
    struct os_error cleanup_error err = {0};
    struct policy_engine *engine = compile(e, c->policy, c->version, &err);
    if (!engine) {
        reject(e, c, &err);
        return;
    }
    take_up(e, c, c->policy, engine);
    cleanup_free char *text =
        c->global_policy_version > 0
            ? os_asprintf("Policy reloaded successfully (global) [policy_hash:%s global_version:%u]",
                          c->policy_hash, c->global_policy_version)
            : os_asprintf("Policy reloaded successfully [policy_hash:%s]", c->policy_hash);
    emit(e, "loaded", AUDIT_SEV_INFO, text, c->policy_hash);
}
