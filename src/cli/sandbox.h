/* How a sandbox is shown, shared by the sandbox commands. */
#ifndef CLI_SANDBOX_H
#define CLI_SANDBOX_H

#include <jansson.h>
#include <stdbool.h>

#include "openshell.pb-c.h"

/* "Ready" and so on (spec/cli.md 1.5). */
const char *sandbox_phase_name(Openshell__V1__SandboxPhase phase);
/* OS_FAILED_PRECONDITION unless commands can be run in it now. */
struct os_error;
int sandbox_check_ready(const Openshell__V1__Sandbox *s, struct os_error *err);
/* The sandbox is over because its main process is; what that wrote at last can still be read. */
bool sandbox_main_over(const Openshell__V1__Sandbox *s);
/* Object of spec/cli.md 6.5; new reference. */
json_t *sandbox_json(const Openshell__V1__Sandbox *s);
/* Ready=False condition as "<reason>: <message>", NULL when there is none; in the arena. */
struct os_arena;
const char *sandbox_reason(const Openshell__V1__Sandbox *s, struct os_arena *a);
/* The "Policy:" part of `sandbox get`, on stdout. */
void sandbox_print_policy(const Openshell__Sandbox__V1__SandboxPolicy *policy);
/* Text from the peer as a JSON string; bytes that are not UTF-8 are replaced. */
json_t *json_text(const char *s);

/* Says on stderr that a setting is kept for nothing, if so. */
void settings_say_unused(const char *key);

#endif
