/* Policies as the user hands them over, and their way to the gateway; shared by the policy commands. */
#ifndef CLI_POLICY_FILE_H
#define CLI_POLICY_FILE_H

#include "core/arena.h"
#include "core/error.h"
#include "core/str.h"
#include "openshell.pb-c.h"

struct cli;

/* Reads and parses; everything in the arena. NULL with "failed to read sandbox policy from <path>" or the
 * parser's text, which names line and column. */
Openshell__Sandbox__V1__SandboxPolicy *policy_file_load(struct os_arena *a, const char *path,
                                                        struct os_error *err);

/* UpdateConfig for one sandbox; prints the warnings and what became of it, and waits when --wait says so.
 * Exit code, or -1 with *err. warnings may be NULL. */
int policy_submit(struct cli *cli, const char *name, Openshell__V1__UpdateConfigRequest *req,
                  const struct os_strv *warnings, struct os_error *err);

#endif
