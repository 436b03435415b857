/* SSH connections: key exchange, authentication and the event loop around libssh. The library reads and
 * writes the socket itself, never blocking; libuv says when. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "supervisor/ssh/internal.h"

#define LOG_TARGET "ssh"
#define USER "sandbox"
#define POLLS_PER_TURN 16 /* library reads of one descriptor event; then others get their turn */

static void on_poll(uv_poll_t *h, int status, int events);
static void conn_turn(struct ssh_conn *c);

/* --- server --- */

struct sshd *sshd_new(uv_loop_t *loop, struct agent *agent, struct audit *audit)
{
    struct sshd *d = os_calloc(1, sizeof(*d));
    d->loop = loop;
    d->agent = agent;
    d->audit = audit;
    d->refs = 1;
    return d;
}

static void sshd_drop(struct sshd *d)
{
    if (--d->refs)
        return;
    if (d->bind)
        ssh_bind_free(d->bind);
    free(d);
}

static int make_host_key(struct sshd *d, struct os_error *err)
{
    ssh_key key = NULL;
    bool no = false;
    if (d->bind)
        return 0;
    d->bind = ssh_bind_new();
    if (d->bind && ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key) == SSH_OK &&
        ssh_bind_options_set(d->bind, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no) == SSH_OK &&
        ssh_bind_options_set(d->bind, SSH_BIND_OPTIONS_IMPORT_KEY, key) == SSH_OK)
        return 0; /* the key now belongs to the bind */
    ssh_key_free(key);
    if (d->bind)
        ssh_bind_free(d->bind);
    d->bind = NULL;
    return os_error_set(err, OS_INTERNAL, "cannot make the host key of the SSH server");
}

/* --- the end of a connection --- */

static void on_handle_closed(uv_handle_t *h)
{
    struct ssh_conn *c = h->data;
    c->open_handles--;
    conn_release(c);
}

void conn_release(struct ssh_conn *c)
{
    if (!c->closed || c->open_handles || c->dials)
        return;
    struct sshd *d = c->sshd;
    free(c);
    sshd_drop(d);
}

static void conn_close(struct ssh_conn *c)
{
    if (c->closed)
        return;
    c->closed = true;
    struct ssh_conn **at = &c->sshd->conns;
    while (*at && *at != c)
        at = &(*at)->next;
    if (*at)
        *at = c->next;
    /* libuv must let go of the descriptor before the library closes it. */
    uv_close((uv_handle_t *)&c->poll, on_handle_closed);
    uv_close((uv_handle_t *)&c->idle, on_handle_closed);
    uv_close((uv_handle_t *)&c->login, on_handle_closed);
    struct ssh_chan *next;
    for (struct ssh_chan *ch = c->chans; ch; ch = next) {
        next = ch->next;
        chan_free(ch);
    }
    ssh_event_remove_session(c->event, c->session);
    ssh_disconnect(c->session);
    ssh_free(c->session);
    ssh_event_free(c->event);
    c->session = NULL;
}

void sshd_free(struct sshd *d)
{
    if (!d)
        return;
    while (d->conns)
        conn_close(d->conns);
    sshd_drop(d);
}

/* --- events --- */

bool conn_congested(const struct ssh_conn *c)
{
    return ssh_get_status(c->session) & SSH_WRITE_PENDING;
}

static void on_idle(uv_idle_t *h)
{
    conn_turn(h->data);
}

void conn_wake(struct ssh_conn *c)
{
    if (!c->closed)
        uv_idle_start(&c->idle, on_idle);
}

static void watch(struct ssh_conn *c)
{
    uv_poll_start(&c->poll, UV_READABLE | (conn_congested(c) ? UV_WRITABLE : 0), on_poll);
}

/* No library frame is on the stack here: channels may be freed, and so may the connection. */
static void conn_turn(struct ssh_conn *c)
{
    if (c->closed)
        return;
    uv_idle_stop(&c->idle);
    struct ssh_chan *next;
    for (struct ssh_chan *ch = c->chans; ch && !c->over; ch = next) {
        next = ch->next;
        chan_turn(ch);
    }
    if (c->over || ssh_get_status(c->session) & (SSH_CLOSED | SSH_CLOSED_ERROR))
        conn_close(c);
    else
        watch(c);
}

static void exchange_keys(struct ssh_conn *c)
{
    int r = ssh_handle_key_exchange(c->session);
    if (r == SSH_AGAIN)
        return;
    if (r != SSH_OK) {
        os_log_debug(LOG_TARGET, "key exchange failed: %s", ssh_get_error(c->session));
        c->over = true;
        return;
    }
    c->kex_done = true;
    ssh_event_add_session(c->event, c->session);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct ssh_conn *c = h->data;
    if (!c->kex_done)
        exchange_keys(c);
    for (int i = 0; c->kex_done && !c->over && i < POLLS_PER_TURN; i++) {
        int r = ssh_event_dopoll(c->event, 0);
        if (r == SSH_ERROR)
            c->over = true;
        if (r != SSH_OK)
            break;
    }
    conn_turn(c);
}

static void on_login_timeout(uv_timer_t *t)
{
    struct ssh_conn *c = t->data;
    os_log_debug(LOG_TARGET, "a client did not authenticate in time");
    conn_close(c);
}

/* --- authentication --- */

static int check_user(struct ssh_conn *c, const char *user)
{
    if (os_str_eq(user, USER)) {
        c->authenticated = true;
        uv_timer_stop(&c->login);
        audit_emit(c->sshd->audit, &(struct audit_event){.cls = AUDIT_SSH,
                                                         .activity = "Open",
                                                         .severity = AUDIT_SEV_INFO,
                                                         .action = AUDIT_ALLOWED});
        return SSH_AUTH_SUCCESS;
    }
    if (++c->refused >= OS_SSH_LOGIN_ATTEMPTS) {
        c->over = true;
        conn_wake(c);
    }
    return SSH_AUTH_DENIED;
}

static int auth_none(ssh_session session, const char *user, void *conn)
{
    return check_user(conn, user);
}

/* Any key will do: clients that insist on offering one are let in on the relay's authority, too. */
static int auth_key(ssh_session session, const char *user, struct ssh_key_struct *key, char state, void *conn)
{
    struct ssh_conn *c = conn;
    if (state == SSH_PUBLICKEY_STATE_NONE)
        return os_str_eq(user, USER) ? SSH_AUTH_SUCCESS : SSH_AUTH_DENIED;
    return state == SSH_PUBLICKEY_STATE_VALID ? check_user(c, user) : SSH_AUTH_DENIED;
}

/* Without Kerberos there is no mechanism to choose. */
static ssh_string no_mechanism(ssh_session session, const char *user, int n, ssh_string *oids, void *conn)
{
    return NULL;
}

/* --- start --- */

static void prepare(struct ssh_conn *c)
{
    c->callbacks = (struct ssh_server_callbacks_struct){
        .userdata = c,
        .auth_none_function = auth_none,
        .auth_pubkey_function = auth_key,
        .gssapi_select_oid_function = no_mechanism,
        .channel_open_request_session_function = chan_open_session,
    };
    ssh_callbacks_init(&c->callbacks);
    ssh_set_server_callbacks(c->session, &c->callbacks);
    ssh_set_message_callback(c->session, forward_message, c);
    ssh_set_auth_methods(c->session, SSH_AUTH_METHOD_NONE | SSH_AUTH_METHOD_PUBLICKEY);
    ssh_set_blocking(c->session, 0);
}

static void handles(struct ssh_conn *c, int fd)
{
    uv_poll_init(c->sshd->loop, &c->poll, fd);
    uv_idle_init(c->sshd->loop, &c->idle);
    uv_timer_init(c->sshd->loop, &c->login);
    c->poll.data = c->idle.data = c->login.data = c;
    c->open_handles = 3;
    uv_timer_start(&c->login, on_login_timeout, OS_SSH_LOGIN_MS, 0);
}

int sshd_accept(struct sshd *d, int fd, struct os_error *err)
{
    int level = SSH_LOG_NONE;
    cleanup_close int owned = fd;
    if (make_host_key(d, err) < 0)
        return -1;
    struct ssh_conn *c = os_calloc(1, sizeof(*c));
    c->sshd = d;
    c->session = ssh_new();
    c->event = ssh_event_new();
    /* Compression would let a client make memory out of nothing. */
    if (!c->session || !c->event ||
        ssh_options_set(c->session, SSH_OPTIONS_LOG_VERBOSITY, &level) != SSH_OK ||
        ssh_options_set(c->session, SSH_OPTIONS_COMPRESSION, "no") != SSH_OK ||
        ssh_bind_accept_fd(d->bind, c->session, fd) != SSH_OK) {
        if (c->event)
            ssh_event_free(c->event);
        if (c->session && ssh_get_fd(c->session) == fd)
            owned = -1; /* closed with the session */
        ssh_free(c->session);
        free(c);
        return os_error_set(err, OS_INTERNAL, "cannot start an SSH connection");
    }
    owned = -1; /* the session's now */
    prepare(c);
    d->refs++;
    c->next = d->conns;
    d->conns = c;
    handles(c, fd);
    exchange_keys(c); /* sends our banner */
    conn_wake(c);
    return 0;
}
