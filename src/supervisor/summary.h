/* The file inside the sandbox that says in plain text what the policy in force allows. The agent reads it,
 * only the supervisor writes it; it decides nothing. Loop thread only. */
#ifndef SUPERVISOR_SUMMARY_H
#define SUPERVISOR_SUMMARY_H

#include <stdint.h>

#include "policy/policy.h"

#define SUMMARY_DIR "/etc/openshell/policy"
#define SUMMARY_FILE SUMMARY_DIR "/summary.txt"

struct summary;

/* workdir: the agent's work directory, may be NULL; rules: the operator's rules may refuse more than the
 * policy does; alone: they decide. */
struct summary *summary_new(const char *workdir, bool rules, bool alone);
/* The policy of the start: its file section holds for the life of the sandbox. */
void summary_files(struct summary *s, const policy_doc *doc);
/* A policy is in force: writes the file anew, mode 0444. A failure is a warning, once. */
void summary_policy(struct summary *s, const policy_doc *doc, uint32_t version, const char *hash);
/* Everything is refused, for this reason. */
void summary_quarantine(struct summary *s, const char *reason);

#endif
