/* The agent: its children, the main process and what the monitor says of them. */
#include "supervisor/agent/agent.h"

#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "supervisor/agent/internal.h"

#define DRAIN_MS 2000 /* spec/supervisor.md 10.3 */

static char *copy(const char *s)
{
    return s ? os_strdup(s) : NULL;
}

static void report_main(struct agent *a)
{
    if (a->main_reported)
        return;
    a->main_reported = true;
    uv_timer_stop(&a->drain);
    if (a->opt.on_main_exit)
        a->opt.on_main_exit(a->opt.ctx, a->main_status);
}

static void on_drained(uv_timer_t *t)
{
    report_main(t->data);
}

static void take_terminate(struct agent *a)
{
    if (a->opt.on_terminate)
        a->opt.on_terminate(a->opt.ctx, a->main && !a->main_ended);
}

static void on_wake(uv_async_t *h)
{
    struct agent *a = h->data;
    pthread_mutex_lock(&a->lock);
    struct agent_exit *exits = a->exits;
    bool terminated = a->terminated;
    a->exits = NULL;
    a->exits_tail = &a->exits;
    a->terminated = false;
    pthread_mutex_unlock(&a->lock);
    while (exits) {
        struct agent_exit *e = exits;
        exits = e->next;
        child_exited(&a->children, e->child, e->status);
        free(e);
    }
    if (terminated)
        take_terminate(a);
    attachments_pump(a);
    if (a->main_ended && attachments_ended(a))
        report_main(a);
}

struct agent *agent_new(const struct agent_options *opt)
{
    struct agent *a = os_calloc(1, sizeof(*a));
    a->opt = *opt;
    for (const char *const *p = opt->env.inherited; p && *p; p++)
        os_strv_add(&a->inherited, *p);
    a->user = copy(opt->env.user);
    a->home = copy(opt->env.home);
    a->proxy_url = copy(opt->env.proxy_url);
    a->ca_dir = copy(opt->env.ca_dir);
    a->env = (struct agent_environment){.inherited = (const char *const *)a->inherited.v,
                                        .user = a->user,
                                        .home = a->home,
                                        .proxy_url = a->proxy_url,
                                        .ca_dir = a->ca_dir};
    a->children.loop = opt->loop;
    a->exits_tail = &a->exits;
    pthread_mutex_init(&a->lock, NULL);
    uv_async_init(opt->loop, &a->wake, on_wake);
    a->wake.data = a;
    uv_timer_init(opt->loop, &a->drain);
    a->drain.data = a;
    a->open_handles = 2;
    return a;
}

void agent_set_monitor(struct agent *a, struct monitor_client *monitor)
{
    a->children.monitor = monitor;
}

struct monitor_client *agent_monitor(struct agent *a)
{
    return a->children.monitor;
}

static void on_closed(uv_handle_t *h)
{
    struct agent *a = h->data;
    if (--a->open_handles)
        return;
    while (a->exits) {
        struct agent_exit *e = a->exits;
        a->exits = e->next;
        free(e);
    }
    pthread_mutex_destroy(&a->lock);
    retain_free(&a->retain);
    os_strv_free(&a->inherited);
    free(a->user);
    free(a->home);
    free(a->proxy_url);
    free(a->ca_dir);
    free(a);
}

void agent_free(struct agent *a)
{
    if (!a)
        return;
    child_list_free(&a->children);
    a->main = NULL;
    uv_close((uv_handle_t *)&a->wake, on_closed);
    uv_close((uv_handle_t *)&a->drain, on_closed);
}

void agent_child_exited(void *agent, uint32_t child, int status)
{
    struct agent *a = agent;
    struct agent_exit *e = os_calloc(1, sizeof(*e));
    e->child = child;
    e->status = status;
    pthread_mutex_lock(&a->lock);
    *a->exits_tail = e;
    a->exits_tail = &e->next;
    pthread_mutex_unlock(&a->lock);
    uv_async_send(&a->wake);
}

void agent_terminated(void *agent)
{
    struct agent *a = agent;
    pthread_mutex_lock(&a->lock);
    a->terminated = true;
    pthread_mutex_unlock(&a->lock);
    uv_async_send(&a->wake);
}

int agent_environment_of(struct agent *a, const struct agent_command *cmd, bool main, struct os_strv *env,
                         struct os_error *err)
{
    if (!cmd->argv || !cmd->argv[0] || !*cmd->argv[0])
        return os_error_set(err, OS_INVALID_ARGUMENT, "the command is empty; name a program to run");
    if (!main)
        return agent_env_exec(&a->env, cmd->tty, cmd->env, cmd->n_env, env, err);
    agent_env_main(&a->env, cmd->tty, env);
    return 0;
}

/* --- main process --- */

struct monitor_spawn agent_spawn_of(const struct agent_command *cmd, const struct os_strv *env, bool main)
{
    return (struct monitor_spawn){.argv = cmd->argv,
                                  .env = (const char *const *)env->v,
                                  .workdir = cmd->workdir && *cmd->workdir ? cmd->workdir : NULL,
                                  .tty = cmd->tty,
                                  .cols = cmd->cols ? cmd->cols : 80,
                                  .rows = cmd->rows ? cmd->rows : 24,
                                  .main = main};
}

static void main_output(void *ctx, bool is_err, const uint8_t *data, size_t n)
{
    struct agent *a = ctx;
    retain_add(&a->retain, is_err, data, n);
    attachments_pump(a);
}

static void main_input_ready(void *ctx)
{
    attachments_input_ready(ctx);
}

static void main_end(void *ctx, int status)
{
    struct agent *a = ctx;
    a->main_ended = true;
    a->main_status = status;
    uv_timer_start(&a->drain, on_drained, DRAIN_MS, 0);
    attachments_pump(a);
    uv_async_send(&a->wake); /* reports when all attachments have ended */
}

int agent_start_main(struct agent *a, const struct agent_command *cmd, struct os_error *err)
{
    static const struct child_ops ops = {main_output, main_input_ready, main_end};
    cleanup_strv struct os_strv env = {0};
    if (a->main_pid)
        return os_error_set(err, OS_FAILED_PRECONDITION, "the main process has already been started");
    if (agent_environment_of(a, cmd, true, &env, err) < 0)
        return -1;
    const struct monitor_spawn spawn = agent_spawn_of(cmd, &env, true);
    a->main = child_spawn(&a->children, &spawn, cmd->timeout_seconds, &ops, a, err);
    if (!a->main)
        return -1;
    retain_init(&a->retain);
    a->main_pid = child_pid(a->main);
    a->main_tty = cmd->tty;
    return 0;
}

pid_t agent_main_pid(const struct agent *a)
{
    return a->main_pid;
}

void agent_main_note(struct agent *a, const char *text)
{
    if (!a->retain.bytes)
        retain_init(&a->retain);
    retain_add(&a->retain, true, (const uint8_t *)text, strlen(text));
}

uint64_t agent_main_output(const struct agent *a, size_t max,
                           void (*piece)(void *ctx, bool is_err, const uint8_t *data, size_t n), void *ctx)
{
    const struct retain *r = &a->retain;
    uint64_t pos = r->tail - r->head > max ? r->tail - max : r->head, before = pos;
    const uint8_t *data;
    bool is_err;
    for (size_t n; (n = retain_at(r, pos, max, &data, &is_err)); pos += n)
        piece(ctx, is_err, data, n);
    return before;
}
