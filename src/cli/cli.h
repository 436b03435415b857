/* One run of the program: the parsed command line and, once a command asked for it, the connection to the
 * gateway it resolved to (spec/cli.md 3). Lives for the whole run; everything is in its arena. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <uv.h>

#include "cli/args.h"
#include "cli/config.h"
#include "core/arena.h"
#include "openshell.pb-c.h"
#include "rpc/client.h"

#define CLI_READ_MS 30000 /* deadline of calls that only read */
#define CLI_EXIT_USAGE 2
#define CLI_EXIT_TIMEOUT 124

struct cli {
    const struct args *args;
    struct os_arena arena;
    /* set by cli_resolve() */
    const char *gateway; /* name for certificates and tokens */
    const char *endpoint;
    const struct gateway_record *record; /* NULL when only an endpoint was given */
    const char *workspace;
    bool tcp_only; /* set before cli_connect(): the registered endpoint itself is what the command is about */
    /* set by cli_connect() */
    const char *auth; /* "oidc", "edge", "mtls", "plaintext", "insecure", "local" */
    uv_loop_t loop;
    struct rpc_client *rpc;
    bool answered;      /* the gateway has answered a call */
    bool catch_signals; /* a stream is ended by SIGINT, SIGQUIT, SIGTERM with 128 + signal; the run goes on */
    int caught;         /* the signal that ended a stream, 0 = none */
    bool lost;          /* the connection broke or never came up */
    const char *server_message; /* of the last failed call, as the server sent it */
};

/* Chooses the gateway. OS_NOT_FOUND with cli->gateway NULL: none is configured; with it set: unknown name. */
int cli_resolve(struct cli *cli, struct os_error *err);
/* cli_resolve and a client with credentials; the connection itself opens with the first call. */
int cli_connect(struct cli *cli, struct os_error *err);
void cli_close(struct cli *cli);

/* One unary call; connects first. The response is in the arena. On failure *err has the server's code and the
 * text of spec/cli.md 1.2, and cli->server_message the bare message. */
int cli_call(struct cli *cli, enum rpc_method_id id, const ProtobufCMessage *request, int64_t deadline_ms,
             ProtobufCMessage **response, struct os_error *err);
/* Gives a status of a finished stream the same text. Returns -1. */
int cli_call_failed(struct cli *cli, const struct os_error *status, struct os_error *err);

/* Whether the gateway of a registration, not that of this run, answers Health within ms. */
bool cli_gateway_answers(struct cli *cli, const struct gateway_record *r, int64_t ms);

/* Credentials of the resolved gateway for rpc_client_new(); sets cli->auth. */
int cli_credentials(struct cli *cli, struct rpc_client_options *opt, struct os_error *err);

/* The sandbox a command is about: `name` if given, else the last used one (said on stderr). */
const char *cli_sandbox_name(struct cli *cli, const char *name, struct os_error *err);
/* GetSandbox; metadata, spec and status are never NULL in the result. */
Openshell__V1__Sandbox *cli_get_sandbox(struct cli *cli, const char *name, struct os_error *err);
/* GetSandboxConfig: what is in force in a sandbox that cli_get_sandbox() returned. In the arena; NULL with
 * *err. */
Openshell__Sandbox__V1__GetSandboxConfigResponse *
cli_get_config(struct cli *cli, const Openshell__V1__Sandbox *s, struct os_error *err);
/* Of a failed call about that sandbox: when it is not there, *err says so by name and how to list the others.
 * Returns -1. */
int cli_sandbox_failed(struct cli *cli, const char *name, struct os_error *err);
void cli_remember_sandbox(struct cli *cli, const char *name);

/* Prints a usage error that only the command itself can see. Returns CLI_EXIT_USAGE. */
int cli_usage_error(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
