/* Start and stop of egress. */
#include "supervisor/egress/egress.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/str.h"
#include "supervisor/egress/internal.h"
#include "sys/file.h"

static void make_nonblocking(int fd)
{
    int flags = fd >= 0 ? fcntl(fd, F_GETFL) : -1;
    if (flags >= 0)
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void read_gateway(struct egress *e)
{
    cleanup_buf struct os_buf hosts = {0};
    if (os_file_read("/etc/hosts", OS_LIMIT_HOSTS_FILE, &hosts, NULL) == 0)
        destination_gateway_read(os_buf_str(&hosts), &e->gateway);
}

static void start_ca(struct egress *e)
{
    struct os_error err cleanup_error = {0};
    const char *what;
    e->ca = egress_ca_new(e->opt.ca_dir, e->opt.extra_ca_file, &what, &err);
    if (!e->ca)
        event_ca_failed(e->opt.audit, what, &err);
}

/* --- secrets --- */

struct secret_rules *egress_secrets(struct egress *e)
{
    pthread_mutex_lock(&e->lock);
    struct secret_rules *r = secret_rules_ref(e->secrets);
    pthread_mutex_unlock(&e->lock);
    return r;
}

void egress_set_secrets(struct egress *e, const char *mode, const char *allow)
{
    struct secret_options opt = {.mode = secret_mode_parse(mode), .allow = allow};
    size_t bad;
    memcpy(opt.key, e->secret_key, sizeof(opt.key));
    struct secret_rules *fresh = secret_rules_new(&opt, &bad);
    pthread_mutex_lock(&e->lock);
    struct secret_rules *old = e->secrets;
    e->secrets = fresh;
    pthread_mutex_unlock(&e->lock);
    secret_rules_unref(old);
    if (bad)
        event_secret_setting(e, bad);
}

static void egress_free(struct egress *e)
{
    if (e->wake >= 0)
        close(e->wake);
    egress_ca_free(e->ca);
    names_free(e->names);
    free((void *)(uintptr_t)e->opt.extra_hosts);
    pthread_cond_destroy(&e->drained);
    pthread_mutex_destroy(&e->bypass.lock);
    pthread_mutex_destroy(&e->denied_names.lock);
    pthread_mutex_destroy(&e->secret_events.lock);
    secret_rules_unref(e->secrets);
    pthread_mutex_destroy(&e->proxy_failures.lock);
    capacity_destroy(&e->messages);
    middleware_state_destroy(&e->middleware);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

/* Connection threads inherit the mask: signals are the main thread's business, and a broken pipe is an error
 * code here. */
static int start_accepting(struct egress *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&e->accepter, NULL, egress_accept_loop, e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

struct egress *egress_start(const struct egress_options *opt, struct os_error *err)
{
    struct egress *e = os_calloc(1, sizeof(*e));
    e->opt = *opt;
    e->opt.extra_hosts = opt->extra_hosts ? os_strdup(opt->extra_hosts) : NULL;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->drained, NULL);
    event_limit_init(&e->bypass);
    event_limit_init(&e->denied_names);
    event_limit_init(&e->secret_events);
    event_limit_init(&e->proxy_failures);
    capacity_init(&e->messages, OS_WEBSOCKET_MESSAGES, OS_WEBSOCKET_WAITING);
    middleware_state_init(&e->middleware);
    e->names = names_new();
    e->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (e->wake < 0) {
        os_error_sys(err, errno, "cannot create an event descriptor");
        egress_free(e);
        return NULL;
    }
    if (RAND_bytes(e->secret_key, sizeof(e->secret_key)) != 1) {
        os_error_set(err, OS_INTERNAL, "no random bytes");
        egress_free(e);
        return NULL;
    }
    egress_set_secrets(e, opt->secret_mode, opt->secret_allow);
    make_nonblocking(opt->proxy_listener);
    make_nonblocking(opt->trap_listener);
    make_nonblocking(opt->udp_trap);
    make_nonblocking(opt->dns_tcp);
    make_nonblocking(opt->dns_udp);
    resolver_prepare(e);
    read_gateway(e);
    start_ca(e);
    policy_slot_watch(opt->policy, egress_cut, e);
    int rc = start_accepting(e);
    if (rc) {
        os_error_sys(err, rc, "cannot start the accept thread");
        return NULL; /* *e stays: the policy's watcher points to it */
    }
    event_listening(e);
    event_upstream_proxy(e);
    return e;
}

void egress_stop(struct egress *e)
{
    pthread_mutex_lock(&e->lock);
    e->stopping = true;
    pthread_mutex_unlock(&e->lock);
    eventfd_write(e->wake, 1);
    pthread_join(e->accepter, NULL);
    pthread_mutex_lock(&e->lock);
    for (const struct egress_conn *c = e->conns; c; c = c->next) {
        if (c->client_fd >= 0)
            shutdown(c->client_fd, SHUT_RDWR);
        if (c->upstream_fd >= 0)
            shutdown(c->upstream_fd, SHUT_RDWR);
    }
    while (e->live)
        pthread_cond_wait(&e->drained, &e->lock);
    pthread_mutex_unlock(&e->lock);
    close(e->opt.proxy_listener);
    if (e->opt.trap_listener >= 0)
        close(e->opt.trap_listener);
    if (e->opt.udp_trap >= 0)
        close(e->opt.udp_trap);
    if (e->opt.dns_tcp >= 0)
        close(e->opt.dns_tcp);
    if (e->opt.dns_udp >= 0)
        close(e->opt.dns_udp);
    egress_free(e);
}
