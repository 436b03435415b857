/* Policy files as the user hands them over. */
#ifndef CLI_POLICY_FILE_H
#define CLI_POLICY_FILE_H

#include "core/arena.h"
#include "core/error.h"
#include "sandbox.pb-c.h"

/* Reads and parses; everything in the arena. NULL with "failed to read sandbox policy from <path>" or the
 * parser's text, which names line and column. */
Openshell__Sandbox__V1__SandboxPolicy *policy_file_load(struct os_arena *a, const char *path,
                                                        struct os_error *err);

#endif
