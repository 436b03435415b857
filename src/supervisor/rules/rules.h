/* Rules of the operator's own, in Rego: Open Policy Agent as a confined child, asked about every connection
 * and request that the compiled policy allows (docs/architecture/policy-contract.md). It can only narrow,
 * unless the policy is from a file, too: then it decides alone. Who cannot be asked denies. */
#ifndef SUPERVISOR_RULES_H
#define SUPERVISOR_RULES_H

#include <sys/types.h>

#include "core/error.h"
#include "policy/extra.h"

#define RULES_DIR "/run/openshell-rules"

/* Starts the keeper: a child without network, privileges and secrets that runs `opa` on a socket in dir,
 * which must belong to uid alone, and starts it again with growing pauses when it ends. wipe(ctx) clears the
 * secrets of this process in the child. Call while privileged and single-threaded. Its process id, or -1. */
pid_t rules_keeper_start(const char *opa, const char *dir, uid_t uid, gid_t gid, void (*wipe)(void *ctx),
                         void *ctx, struct os_error *err);
/* The program: path if given, else where packages put it. It must be root's alone to write; one that is given
 * may also be on a read-only mount. The text is borrowed or static. NULL: OS_NOT_FOUND, OS_PERMISSION_DENIED.
 */
const char *rules_find_opa(const char *path, struct os_error *err);

struct rules;

/* Asks the agent behind dir. text is borrowed. alone: the rules decide, the policy does not. */
struct rules *rules_new(const char *dir, const char *text, size_t n, bool alone);
/* The policy that rules see as data from now on. */
void rules_set_policy(struct rules *r, const policy_doc *doc, const struct policy_compile_options *opt);
/* Waits until the rules are loaded. OS_UNAVAILABLE: nobody answers yet, and every question is denied until
 * somebody does. OS_INVALID_ARGUMENT: the rules do not compile, with the compiler's message. */
int rules_load(struct rules *r, struct os_error *err);
/* Any thread; lives as long as r. */
const struct policy_extra *rules_extra(struct rules *r);
void rules_free(struct rules *r);

#endif
