/* The local gateway, found by its well-known files. */
#include "cli/gateway_local.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/confirm.h"
#include "cli/endpoint.h"
#include "core/cleanup.h"
#include "core/str.h"
#include "sys/paths.h"

#define SOCKET_PREFIX "api-"
#define SOCKET_SUFFIX ".sock"

bool gateway_socket_listens(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct stat st;
    if (strlen(path) >= sizeof(to.sun_path) || lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode) ||
        st.st_uid != geteuid())
        return false;
    strcpy(to.sun_path, path);
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
}

static bool socket_port(const char *name, uint64_t *port)
{
    size_t n = strlen(name), around = strlen(SOCKET_PREFIX SOCKET_SUFFIX);
    return n > around && os_str_starts(name, SOCKET_PREFIX) && os_str_ends(name, SOCKET_SUFFIX) &&
           os_str_u64n(name + strlen(SOCKET_PREFIX), n - around, UINT16_MAX, port) && *port;
}

unsigned gateway_local_port(void)
{
    cleanup_error struct os_error err = {0};
    cleanup_free char *state = os_state_dir(&err);
    cleanup_free char *dir = state ? os_asprintf("%s/gateway", state) : NULL;
    DIR *d = dir ? opendir(dir) : NULL;
    uint64_t port, found = 0;
    for (const struct dirent *e; !found && d && (e = readdir(d));) {
        cleanup_free char *path = os_asprintf("%s/%s", dir, e->d_name);
        if (socket_port(e->d_name, &port) && gateway_socket_listens(path))
            found = port;
    }
    if (d)
        closedir(d);
    return (unsigned)found;
}

/* --- offering --- */

/* Nothing takes connections at a loopback endpoint: the gateway is down, not slow. */
static bool is_down(const char *endpoint)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)endpoint_port(endpoint))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0;
}

/* What to ask; NULL when there is nothing that a start would mend. */
static const char *question(const struct cli *cli, bool resolved, const struct os_error *err)
{
    if (!resolved && err->code == OS_NOT_FOUND && !cli->gateway)
        return gateway_local_port() ? "A gateway of yours runs on this machine but is not registered. Use it?"
                                    : "No gateway is configured. Start one on this machine now?";
    if (resolved && cli->record && os_str_eq(cli->gateway, GATEWAY_LOCAL_NAME) &&
        os_str_starts(cli->endpoint, "https://127.0.0.1:") && is_down(cli->endpoint))
        return "The gateway on this machine is not running. Start it now?";
    return NULL;
}

int gateway_resolve_or_start(struct cli *cli, struct os_error *err)
{
    const char *port = getenv("OPENSHELL_SERVER_PORT");
    const struct gateway_start opt = {.port = port && *port ? port : NULL};
    int rc = cli_resolve(cli, err);
    const char *ask = question(cli, rc == 0, err);
    if (!ask)
        return rc;
    bool start = args_given(cli->args, "start-gateway");
    if (!start && !confirm_possible()) {
        if (rc < 0)
            return os_error_set(err, OS_NOT_FOUND, "%s\nA script can pass to sandbox create: --start-gateway",
                                os_arena_strdup(&cli->arena, os_error_text(err)));
        return 0; /* the call itself says that nobody answers */
    }
    if (!start && !confirm_yes(ask))
        return rc;
    os_error_clear(err);
    if (gateway_start(cli, &opt, err) != 0)
        return -1;
    cli->endpoint = cli->gateway = NULL;
    cli->record = NULL;
    return cli_resolve(cli, err);
}
