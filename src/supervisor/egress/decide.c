/* Who is it, and may it reach this host and port: process identity and the L4 rules, under one pinned policy
 * (spec/proxy.md 4.1, 4.2). */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

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

/* The owner is looked up by addresses and ports. Those of a connection that was reset can belong to another
 * one, of another process, while its request still waits to be read. */
static int check_connected(const struct egress_conn *c, struct os_error *err)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    if (getsockopt(c->client.fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
        (info.tcpi_state == TCP_ESTABLISHED || info.tcpi_state == TCP_CLOSE_WAIT))
        return 0;
    return os_error_set(err, OS_UNAVAILABLE,
                        "failed to resolve peer binary: the connection was reset before its owner was known");
}

bool decide_identify(struct egress_conn *c, const struct sockaddr_storage *to, struct os_error *err)
{
    const struct egress_options *opt = &c->egress->opt;
    if (opt->identify(opt->identify_ctx, &c->agent, to, &c->arena, &c->who, err) < 0 ||
        check_connected(c, err) < 0) {
        c->who = (struct egress_identity){0};
        return false;
    }
    const struct policy_process *p = &c->who.process;
    c->ancestors = join(&c->arena, p->ancestors, p->n_ancestors, " -> ");
    c->cmdline = join(&c->arena, p->cmdline, p->n_cmdline, ", ");
    return true;
}

/* The rules choose among the endpoints that the policy has for the destination. */
static int decide_by_rules(struct egress_conn *c, const struct policy_extra *extra, struct os_buf *reason)
{
    if (!policy_candidates_l4(c->engine, c->host, c->port, &c->l4)) {
        policy_l4_reason(c->engine, c->host, c->port, &c->who.process, reason);
        return -1;
    }
    enum policy_opinion o =
        extra->l4(extra->ctx, c->engine, c->host, c->port, &c->who.process, &c->l4, reason);
    c->l4.allow = c->l4.allow && o == POLICY_EXTRA_ALLOW;
    return c->l4.allow ? 0 : -1;
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
    const struct policy_extra *extra = c->egress->opt.extra;
    if (extra && extra->alone)
        return decide_by_rules(c, extra, reason);
    policy_decide_l4(c->engine, c->host, c->port, &c->who.process, &c->l4);
    if (c->l4.allow && (!extra || extra->l4(extra->ctx, c->engine, c->host, c->port, &c->who.process, &c->l4,
                                            reason) == POLICY_EXTRA_ALLOW))
        return 0;
    if (c->l4.allow)
        return -1;
    policy_l4_reason(c->engine, c->host, c->port, &c->who.process, reason);
    return -1;
}
