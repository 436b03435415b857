/* The programs that are not called by hand, section 8: from the option tables of their own sources. */
#include "cli/man/man.h"
#include "cli/man/page.h"
#include "core/cleanup.h"

static const struct os_option serve[] = {
#define SERVE(...) {__VA_ARGS__},
#define BOTH(...) {__VA_ARGS__},
#define CERTS(...)
#define OPTION(id, of, name, metavar, env, fallback, help) of(name, 0, metavar, env, fallback, help)
#define ENVIRONMENT(name, help)
#include "gateway/tbl/options.h"
#undef SERVE
#undef CERTS
};
static const struct os_option certs[] = {
#define SERVE(...)
#define CERTS(...) {__VA_ARGS__},
#define OPTION(id, of, name, metavar, env, fallback, help) of(name, 0, metavar, NULL, NULL, help)
#define ENVIRONMENT(name, help)
#include "gateway/tbl/options.h"
};
static const struct os_option supervisor[] = {
#define OPTION(id, letter, name, metavar, env, fallback, help) {name, letter, metavar, env, fallback, help},
#define UNSUPPORTED(name, metavar)
#include "supervisor/tbl/options.h"
};
static const struct os_option driver[] = {
#define OPTION(id, letter, name, metavar, env, fallback, help) {name, letter, metavar, env, fallback, help},
#include "drivers/local/tbl/options.h"
};
static const struct {
    const char *name, *text;
} variables[] = {
#define OPTION(id, of, name, metavar, env, fallback, help)
#define ENVIRONMENT(name, help) {name, help "."},
#include "gateway/tbl/options.h"
};

static void synopsis(struct man_page *p, const char *program, const char *rest)
{
    man_bold(p, program);
    man_plain(p, rest);
}

static int gateway(const char *dir, struct os_error *err)
{
    struct man_page p = {.dir = dir};
    man_begin(&p, "openshell-gateway", 8, "the control plane of OpenShell");
    man_heading(&p, "SYNOPSIS");
    synopsis(&p, "openshell-gateway", " [OPTIONS]");
    man_heading(&p, "DESCRIPTION");
    man_text(
        &p,
        "Keeps sandboxes, policies and sessions, and starts sandboxes on this machine. Runs as root, or as "
        "an "
        "ordinary user with subordinate ids. Without certificates it makes its own at the first start and "
        "lets only holders of the client certificate in.\n\n"
        "A flag wins over its variable, and both over gateway.toml(5). SIGTERM and SIGINT end it; sandboxes "
        "go on, and the next start takes them over. Under a service manager that sets NOTIFY_SOCKET it says "
        "READY=1 when it listens, and STOPPING=1.");
    man_heading(&p, "OPTIONS");
    man_options(&p, serve, OS_ARRAY_LEN(serve));
    man_heading(&p, "GENERATE-CERTS");
    man_bold(&p, "openshell-gateway generate-certs");
    man_plain(&p, " --output-dir DIR [--server-san SAN]... [--dry-run]");
    man_text(
        &p, "makes the certificate authority, server and client certificates and the sandbox token keys, and "
            "copies the client bundle to the configuration of openshell(1). Files that exist are kept.");
    man_options(&p, certs, OS_ARRAY_LEN(certs));
    man_heading(&p, "ENVIRONMENT");
    for (size_t i = 0; i < OS_ARRAY_LEN(variables); i++) {
        man_item(&p);
        man_bold(&p, variables[i].name);
        man_describe(&p, variables[i].text);
    }
    man_heading(&p, "EXIT STATUS");
    man_text(&p, "0 after a signal, 1 when it could not start, 2 when the command line is wrong.");
    man_see_also(
        &p, "openshell.1 openshell-gateway.1 gateway.toml.5 openshell-sandbox.8 openshell-driver-local.8");
    return man_end(&p, err);
}

static int sandbox(const char *dir, struct os_error *err)
{
    struct man_page p = {.dir = dir};
    man_begin(&p, "openshell-sandbox", 8, "the supervisor of one OpenShell sandbox");
    man_heading(&p, "SYNOPSIS");
    synopsis(&p, "openshell-sandbox", " [OPTIONS] [--] [COMMAND...]");
    man_heading(&p, "DESCRIPTION");
    man_text(
        &p,
        "Runs COMMAND, or what $OPENSHELL_MAIN_PROCESS_SPEC says, isolated, with its network ruled by the "
        "sandbox's policy. It is started by a compute driver, inside the sandbox; it is not called by hand. "
        "For the command line that handles sandboxes, see openshell-sandbox(1).");
    man_heading(&p, "OPTIONS");
    man_options(&p, supervisor, OS_ARRAY_LEN(supervisor));
    man_heading(&p, "EXIT STATUS");
    man_text(&p, "That of COMMAND; 124 when the time was up; 1 when the sandbox could not be set up.");
    man_see_also(&p, "openshell-sandbox.1 openshell-gateway.8 openshell-policy.5");
    return man_end(&p, err);
}

static int driver_local(const char *dir, struct os_error *err)
{
    struct man_page p = {.dir = dir};
    man_begin(&p, "openshell-driver-local", 8, "local OpenShell sandboxes for a gateway elsewhere");
    man_heading(&p, "SYNOPSIS");
    synopsis(&p, "openshell-driver-local",
             " --bind-socket PATH --state-dir DIR --gateway-endpoint URL [OPTIONS]");
    man_heading(&p, "DESCRIPTION");
    man_text(&p, "Runs sandboxes on this machine for a gateway that calls over a UNIX socket. The gateway "
                 "has the same "
                 "driver built in; this program is for gateways that have not.");
    man_heading(&p, "OPTIONS");
    man_options(&p, driver, OS_ARRAY_LEN(driver));
    man_see_also(&p, "openshell-gateway.8 openshell-sandbox.8");
    return man_end(&p, err);
}

int man_programs(const char *dir, struct os_error *err)
{
    return gateway(dir, err) < 0 || sandbox(dir, err) < 0 || driver_local(dir, err) < 0 ? -1 : 0;
}
