/* The colon-separated forms of `policy update` (spec/policy.md 9.1) and the merge operations they stand for,
 * in both directions. Pure. */
#ifndef CLI_ENDPOINT_SPEC_H
#define CLI_ENDPOINT_SPEC_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/error.h"
#include "policy/merge.h"

/* host:port[:access[:protocol[:enforcement[:options]]]] of --add-endpoint; NULL with OS_INVALID_ARGUMENT. */
policy_endpoint_doc *endpoint_spec_parse(struct os_arena *a, const char *text, struct os_error *err);
/* host:port of --remove-endpoint. */
int endpoint_spec_parse_place(struct os_arena *a, const char *text, const char **host, uint32_t *port,
                              struct os_error *err);

/* host:port:METHOD:path_glob of --add-allow and --add-deny. */
struct request_spec {
    const char *host;
    uint32_t port;
    const char *method; /* upper case */
    const char *path;
};
int request_spec_parse(struct os_arena *a, const char *flag, const char *text, struct request_spec *out,
                       struct os_error *err);

/* The flags of one command line. */
struct update_flags {
    const char *const *add_endpoint,
        *const *remove_endpoint, *const *remove_rule, *const *add_allow, *const *add_deny, *const *binary;
    size_t n_add_endpoint, n_remove_endpoint, n_remove_rule, n_add_allow, n_add_deny, n_binary;
    const char *rule_name; /* NULL = from the endpoint */
};

struct update_operations {
    policy_merge_op **v;
    size_t n;
};

/* Operations in the order in which they are sent: endpoints in, endpoints out, rules out, allow, deny; one
 * operation for all rules of a host and port. */
int update_flags_parse(struct os_arena *a, const struct update_flags *flags, struct update_operations *out,
                       struct os_error *err);

/* " --add-endpoint ... --binary ..." that makes these operations, quoted for a shell. false when the flags
 * cannot say it; out is then unchanged. update_command.c */
bool update_flags_format(policy_merge_op *const *ops, size_t n, struct os_buf *out);

#endif
