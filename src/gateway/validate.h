/* Request validation shared by the handlers (spec/gateway.md 3). All failures are OS_INVALID_ARGUMENT with
 * the published texts; checks run in the published order. No I/O. */
#ifndef GATEWAY_VALIDATE_H
#define GATEWAY_VALIDATE_H

#include "core/error.h"
#include "openshell.pb-c.h"

typedef Openshell__V1__SandboxSpec__EnvironmentEntry validate_env_entry;

/* DNS-1123 label of at most max bytes; empty passes. */
int validate_label_name(const char *field, const char *value, size_t max, struct os_error *err);
int validate_label_key(const char *key, struct os_error *err);
int validate_label_value(const char *value, struct os_error *err);
int validate_labels(Openshell__V1__CreateSandboxRequest__LabelsEntry *const *e, size_t n,
                    struct os_error *err);
int validate_annotations(const char *field, Openshell__V1__CreateSandboxRequest__AnnotationsEntry *const *e,
                         size_t n, struct os_error *err);
/* Everything about a sandbox spec and its name, in the order of 3.2. */
int validate_sandbox(const char *name, const Openshell__V1__SandboxSpec *spec, struct os_error *err);
/* The request fields of ExecSandbox (4.8), in order; attach_main needs no command. */
int validate_exec(const Openshell__V1__ExecSandboxRequest *req, struct os_error *err);

struct validate_selector {
    char *key, *value;
};
/* Parses "k=v,k=v"; result in the arena, at most OS_LIMIT_SELECTOR_PAIRS. */
struct os_arena;
int validate_selector(struct os_arena *a, const char *text, struct validate_selector **out, size_t *n,
                      struct os_error *err);

#endif
