/* What a policy allows, in plain text for who has to live with it: people and agents inside the sandbox, who
 * would else find the rules only by being refused. Says no more than the policy does; the policy decides. No
 * I/O. */
#ifndef POLICY_SUMMARY_H
#define POLICY_SUMMARY_H

#include "core/buf.h"
#include "policy/policy.h"

/* Appends one block per network rule, sorted by key: programs, endpoints, what is allowed and denied there.
 * Every line ends with \n; control characters of names become '?'. */
void policy_summary_network(const policy_doc *doc, struct os_buf *out);
/* Appends the paths that may be read and changed; workdir (may be NULL) is where the policy includes the work
 * directory. */
void policy_summary_files(const policy_doc *doc, const char *workdir, struct os_buf *out);

#endif
