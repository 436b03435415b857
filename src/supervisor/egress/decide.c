/* Who is it, and may it reach this host and port: process identity and the L4 rules, under one pinned policy
 * (spec/proxy.md 4.1, 4.2). */
#include "supervisor/egress/internal.h"

/* Joined copy in the connection's arena; NULL for none. */
static const char *join(struct os_arena *arena, const char *const *v, size_t n, const char *sep)
{
    cleanup_buf struct os_buf text = {.max = OS_AUDIT_LINE};
    for (size_t i = 0; i < n && !text.failed; i++) {
        os_buf_adds(&text, i ? sep : "");
        os_buf_adds(&text, v[i]);
    }
    return text.len ? os_arena_strdup(arena, os_buf_str(&text)) : NULL;
}

bool decide_identify(struct egress_conn *c, const struct sockaddr_storage *to, struct os_error *err)
{
    const struct egress_options *opt = &c->egress->opt;
    if (opt->identify(opt->identify_ctx, &c->agent, to, &c->arena, &c->who, err) < 0) {
        c->who = (struct egress_identity){0};
        return false;
    }
    const struct policy_process *p = &c->who.process;
    c->ancestors = join(&c->arena, p->ancestors, p->n_ancestors, " -> ");
    c->cmdline = join(&c->arena, p->cmdline, p->n_cmdline, ", ");
    return true;
}

int decide_connection(struct egress_conn *c, struct os_buf *reason)
{
    struct os_error err cleanup_error = {0};
    c->engine = policy_slot_get(c->egress->opt.policy);
    c->generation = policy_engine_generation(c->engine);
    if (!decide_identify(c, &c->local, &err)) {
        os_buf_adds(reason, os_error_text(&err));
        return -1;
    }
    policy_decide_l4(c->engine, c->host, c->port, &c->who.process, &c->l4);
    if (c->l4.allow)
        return 0;
    policy_l4_reason(c->engine, c->host, c->port, &c->who.process, reason);
    return -1;
}
