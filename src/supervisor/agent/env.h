/* The environment of every process in the sandbox (spec/supervisor.md 8): what is inherited, what is
 * scrubbed, and the proxy and CA variables that point well-behaved clients at the egress. Pure: lists in,
 * list out. */
#ifndef SUPERVISOR_AGENT_ENV_H
#define SUPERVISOR_AGENT_ENV_H

#include <stdbool.h>

#include "core/error.h"
#include "core/str.h"

/* Everything is borrowed. */
struct agent_environment {
    const char *const *inherited; /* "K=V", NULL-terminated: the supervisor's own environment */
    const char *user;             /* name of the agent's account: USER and LOGNAME; NULL = "sandbox" */
    const char *home;             /* NULL = "/sandbox" */
    const char *proxy_url;        /* "http://10.200.0.1:3128"; NULL = no proxy variables */
    const char *ca_dir;           /* holds openshell-ca.pem and ca-bundle.pem; NULL = no CA variables */
};

struct agent_variable {
    const char *key, *value;
};

/* Main process: inherited without the scrubbed list, then identity, terminal, proxy and CA variables. HOME,
 * USER, LOGNAME, SHELL and TERM keep a value that OPENSHELL_USER_ENVIRONMENT names, LANG one that is
 * inherited. */
void agent_env_main(const struct agent_environment *e, bool tty, struct os_strv *out);

/* Exec: nothing inherited but PATH and the pairs of OPENSHELL_USER_ENVIRONMENT (keys OPENSHELL_* excepted);
 * `extra` (of the request) overrides all others. -1 with OS_INVALID_ARGUMENT on an empty key, one
 * with '=' or one that is scrubbed. */
int agent_env_exec(const struct agent_environment *e, bool tty, const struct agent_variable *extra,
                   size_t n_extra, struct os_strv *out, struct os_error *err);

/* True for a variable that no process of the sandbox may see: credentials of the supervisor and driver
 * identity. */
bool agent_env_scrubbed(const char *key);

#endif
