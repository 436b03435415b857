/* What a session channel runs: a shell, a command, sftp, or an attachment to the main process
 * (spec/supervisor.md 10.2, 11). Everything is started by the agent, under its isolation. */
#include <signal.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "supervisor/ssh/internal.h"

#define EXIT_NOT_FOUND 127 /* as a shell answers */
#define EXIT_NOT_EXECUTABLE 126
#define ENV_READ_ONLY "OPENSHELL_MAIN_READ_ONLY"
#define FROM_MAIN 0x1 /* signals an attachment may send, too */

static const struct {
    const char *name;
    int number, flags;
} SIGNALS[] = {
    {"HUP", SIGHUP, FROM_MAIN},   {"INT", SIGINT, FROM_MAIN},   {"KILL", SIGKILL, FROM_MAIN},
    {"QUIT", SIGQUIT, FROM_MAIN}, {"TERM", SIGTERM, FROM_MAIN}, {"ABRT", SIGABRT, 0},
    {"ALRM", SIGALRM, 0},         {"PIPE", SIGPIPE, 0},         {"USR1", SIGUSR1, 0},
    {"USR2", SIGUSR2, 0},
};

/* The first one that exists. */
static const char *const SHELLS[] = {"/bin/bash", "/bin/sh"};
static const char *const SFTP_SERVERS[] = {"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server",
                                           "/usr/lib/ssh/sftp-server", "/usr/libexec/sftp-server"};
/* The program that starts the child is this one. */
static const char *const OWN_SFTP_SERVER[] = {"/proc/self/exe", "sftp-server", NULL};

/* --- output and end --- */

static void on_stdout(void *ctx, const uint8_t *data, size_t n)
{
    chan_output(ctx, false, data, n);
}

static void on_stderr(void *ctx, const uint8_t *data, size_t n)
{
    chan_output(ctx, true, data, n);
}

static void on_input_ready(void *ctx)
{
    struct ssh_chan *ch = ctx;
    conn_wake(ch->conn);
}

static void complain(struct ssh_chan *ch, const char *text)
{
    cleanup_free char *line = os_asprintf("openshell: %s\n", text);
    chan_output(ch, true, (const uint8_t *)line, strlen(line));
}

static void on_end(void *ctx, int status, const char *error)
{
    struct ssh_chan *ch = ctx;
    agent_stream_close(ch->stream);
    ch->stream = NULL;
    if (error)
        complain(ch, error);
    if (status < 0 && ch->attached)
        status = 0;
    chan_end(ch, error ? -1 : status);
}

static const struct agent_stream_ops ops = {on_stdout, on_stderr, on_input_ready, on_end};

/* --- input --- */

size_t run_input(struct ssh_chan *ch, const uint8_t *data, size_t n)
{
    if (agent_stream_queued(ch->stream) > OS_RELAY_WINDOW)
        return 0;
    agent_stream_write(ch->stream, data, n);
    return n;
}

void run_input_eof(struct ssh_chan *ch)
{
    agent_stream_eof(ch->stream);
}

/* --- starting --- */

/* As the client sees a command that cannot be run: text and status after the request was accepted. */
static void not_started(struct ssh_chan *ch, const struct os_error *err)
{
    complain(ch, os_error_text(err));
    chan_end(ch, err->code == OS_NOT_FOUND ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

static struct agent_stream *start(struct ssh_chan *ch, const char *const *argv, struct os_error *err)
{
    struct agent_variable env[OS_SSH_ENV + 1];
    size_t n = 0;
    for (; n < ch->env.n; n += 2) /* key, value, key, value */
        env[n / 2] = (struct agent_variable){ch->env.v[n], ch->env.v[n + 1]};
    n /= 2;
    if (ch->term)
        env[n++] = (struct agent_variable){"TERM", ch->term};
    const struct agent_command cmd = {
        .argv = argv, .tty = ch->term, .cols = ch->cols, .rows = ch->rows, .env = env, .n_env = n};
    return agent_exec(ch->conn->sshd->agent, &cmd, &ops, ch, err);
}

static void begin_shell(struct ssh_chan *ch, const char *command)
{
    struct os_error err = {0};
    for (size_t i = 0; i < OS_ARRAY_LEN(SHELLS) && !ch->stream; i++) {
        const char *const run[] = {SHELLS[i], "-lc", command, NULL};
        const char *const interactive[] = {SHELLS[i], "-i", NULL};
        const char *const plain[] = {SHELLS[i], NULL};
        os_error_clear(&err);
        ch->stream = start(ch, command ? run : ch->term ? interactive : plain, &err);
        if (!ch->stream && err.code != OS_NOT_FOUND)
            break;
    }
    if (!ch->stream)
        not_started(ch, &err);
    os_error_clear(&err);
}

static void begin_sftp(struct ssh_chan *ch)
{
    struct os_error err = {0};
    for (size_t i = 0; i < OS_ARRAY_LEN(SFTP_SERVERS) && !ch->stream; i++) {
        const char *const argv[] = {SFTP_SERVERS[i], NULL};
        os_error_clear(&err);
        ch->stream = start(ch, argv, &err);
    }
    if (!ch->stream) {
        os_error_clear(&err);
        ch->stream = start(ch, OWN_SFTP_SERVER, &err);
    }
    if (!ch->stream)
        not_started(ch, &err);
    os_error_clear(&err);
}

static void begin_attachment(struct ssh_chan *ch)
{
    struct os_error err = {0};
    ch->attached = true;
    ch->stream = agent_attach(ch->conn->sshd->agent, ch->read_only, ch->cols, ch->rows, &ops, ch, &err);
    if (!ch->stream)
        not_started(ch, &err);
    os_error_clear(&err);
}

/* --- requests --- */

static uint16_t dimension(int v)
{
    return v < 1 ? 1 : v > UINT16_MAX ? UINT16_MAX : (uint16_t)v;
}

static bool term_valid(const char *term)
{
    size_t n = strlen(term);
    for (size_t i = 0; i < n; i++)
        if (term[i] <= ' ' || term[i] > '~')
            return false;
    return n && n <= OS_SSH_TERM;
}

static int on_pty(ssh_session session, ssh_channel channel, const char *term, int cols, int rows, int px,
                  int py, void *ctx)
{
    struct ssh_chan *ch = ctx;
    if (ch->begun || ch->term)
        return -1;
    ch->term = os_strdup(term && term_valid(term) ? term : "xterm-256color");
    ch->cols = cols ? dimension(cols) : 80;
    ch->rows = rows ? dimension(rows) : 24;
    return 0;
}

static int on_resize(ssh_session session, ssh_channel channel, int cols, int rows, int px, int py, void *ctx)
{
    struct ssh_chan *ch = ctx;
    if (ch->stream)
        agent_stream_resize(ch->stream, dimension(cols), dimension(rows));
    return 0;
}

/* Locale and colours; the rest of the client's environment is none of the sandbox's business. */
static bool env_allowed(const char *key)
{
    return strcmp(key, "LANG") == 0 || strcmp(key, "COLORTERM") == 0 || strcmp(key, "TZ") == 0 ||
           os_str_starts(key, "LC_");
}

static bool env_valid(const char *key, const char *value)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < n; i++)
        if (!(key[i] == '_' || (key[i] >= 'A' && key[i] <= 'Z') || (key[i] >= '0' && key[i] <= '9')))
            return false;
    return n <= OS_SSH_ENV_KEY && strlen(value) <= OS_SSH_ENV_VALUE;
}

/* Always accepted, as clients expect; not always used. */
static int on_env(ssh_session session, ssh_channel channel, const char *key, const char *value, void *ctx)
{
    struct ssh_chan *ch = ctx;
    if (strcmp(key, ENV_READ_ONLY) == 0)
        ch->read_only = strcmp(value, "1") == 0;
    else if (!ch->begun && ch->env.n / 2 < OS_SSH_ENV && env_allowed(key) && env_valid(key, value)) {
        os_strv_add(&ch->env, key);
        os_strv_add(&ch->env, value);
    }
    return 0;
}

static int on_shell(ssh_session session, ssh_channel channel, void *ctx)
{
    struct ssh_chan *ch = ctx;
    if (ch->begun)
        return 1;
    ch->begun = true;
    begin_shell(ch, NULL);
    return 0;
}

static int on_exec(ssh_session session, ssh_channel channel, const char *command, void *ctx)
{
    struct ssh_chan *ch = ctx;
    if (ch->begun || !command)
        return 1;
    ch->begun = true;
    cleanup_free char *copy = os_strdup(command);
    const char *text = os_str_trim(copy);
    if (*text)
        begin_shell(ch, text);
    else
        chan_end(ch, 0);
    return 0;
}

static int on_subsystem(ssh_session session, ssh_channel channel, const char *name, void *ctx)
{
    struct ssh_chan *ch = ctx;
    if (ch->begun || !name)
        return 1;
    bool sftp = strcmp(name, "sftp") == 0;
    if (!sftp && strcmp(name, "openshell-main") != 0) {
        audit_emit(ch->conn->sshd->audit, &(struct audit_event){.cls = AUDIT_SSH,
                                                                .activity = "Refuse",
                                                                .severity = AUDIT_SEV_LOW,
                                                                .action = AUDIT_DENIED});
        return 1;
    }
    ch->begun = true;
    (sftp ? begin_sftp : begin_attachment)(ch);
    return 0;
}

static void on_signal(ssh_session session, ssh_channel channel, const char *name, void *ctx)
{
    struct ssh_chan *ch = ctx;
    for (size_t i = 0; ch->stream && i < OS_ARRAY_LEN(SIGNALS); i++)
        if (strcmp(SIGNALS[i].name, name) == 0 && (!ch->attached || SIGNALS[i].flags & FROM_MAIN))
            agent_stream_signal(ch->stream, SIGNALS[i].number);
}

void run_install(struct ssh_chan *ch)
{
    ch->callbacks.channel_pty_request_function = on_pty;
    ch->callbacks.channel_pty_window_change_function = on_resize;
    ch->callbacks.channel_env_request_function = on_env;
    ch->callbacks.channel_shell_request_function = on_shell;
    ch->callbacks.channel_exec_request_function = on_exec;
    ch->callbacks.channel_subsystem_request_function = on_subsystem;
    ch->callbacks.channel_signal_function = on_signal;
}
