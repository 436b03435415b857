/* A WebSocket whose client messages are read: each text message is judged before it goes on, binary frames
 * and control frames pass as they are, what the server sends is copied (spec/proxy.md 14.3 to 14.5). */
#include "net/websocket/websocket.h"

#include <poll.h>
#include <string.h>
#include <sys/random.h>

#include "core/clock.h"
#include "supervisor/egress/credentials/marker.h"
#include "supervisor/egress/internal.h"

/* Bytes that wait for the upstream before no more are taken from the client. */
#define WAITING_MAX 65536

enum end {
    END_NONE,
    END_QUIET,    /* a peer is gone: nobody to tell */
    END_PROTOCOL, /* session.error says what the client did */
    END_POLICY,
    END_CREDENTIAL, /* told to the client only */
    END_RELOAD,
    END_CAPACITY,
    END_IDLE,  /* a message that does not come to its end */
    END_TOTAL, /* or takes too long */
    END_STUCK, /* the upstream takes nothing */
};

struct session {
    struct egress_request *r;
    struct egress_conn *c;
    const char *scheme;
    const struct policy_endpoint *config;
    struct websocket_reader *reader;
    struct os_buf out; /* to the upstream */
    size_t sent;       /* bytes of it that went */
    bool client_ended; /* nothing more comes from it */
    bool told_end;     /* and the upstream knows */
    bool in_frame;     /* a binary frame is under way to the upstream */
    uint64_t frame_left;
    bool capacity;      /* holds one of the places for messages */
    bool binary_judged; /* and may pass */
    int64_t begun_ms, heard_ms, moved_ms;
    enum websocket_error error;
    enum end end;
};

static void release(struct session *s)
{
    if (s->capacity)
        capacity_give(&s->c->egress->messages);
    s->capacity = false;
}

static void random_mask(uint8_t mask[4])
{
    if (getrandom(mask, 4, GRND_NONBLOCK) != 4)
        memset(mask, 0x5a, 4);
}

/* --- judging a message --- */

/* 0, or how the session ends. */
static enum end judge(struct session *s, const struct websocket_message *m)
{
    struct os_arena arena cleanup_arena = {0};
    struct egress_request r = *s->r;
    struct graphql_request g = {0};
    cleanup_buf struct os_buf reason = {0};
    const char *policy;
    r.arena = &arena;
    r.kind = POLICY_HTTP_MESSAGE;
    r.method = "WEBSOCKET_TEXT";
    if (s->config->protocol != POLICY_WEBSOCKET)
        return END_NONE;
    if (s->config->websocket_graphql) {
        enum graphql_message kind = graphql_parse_message(&arena, m->text, m->n, &g);
        if (kind == GRAPHQL_MESSAGE_CONTROL)
            return END_NONE;
        r.graphql = &g;
    }
    return request_judge(&r, s->scheme, false, &policy, &reason) == REQUEST_FORWARD ? END_NONE : END_POLICY;
}

/* A binary message passes where a text would; one whose text would be looked into does not. The rules and
 * what they look at stay the same for the whole session. */
static enum end judge_binary(struct session *s)
{
    static const char unread[] = "binary WebSocket messages are not supported";
    struct os_arena arena cleanup_arena = {0};
    struct graphql_request g = {.error = unread};
    cleanup_buf struct os_buf reason = {0};
    const char *policy;
    if (s->binary_judged || s->config->protocol != POLICY_WEBSOCKET)
        return END_NONE;
    struct egress_request r = *s->r;
    r.arena = &arena;
    r.kind = POLICY_HTTP_MESSAGE;
    r.method = "WEBSOCKET_TEXT";
    r.graphql = s->config->websocket_graphql ? &g : NULL;
    s->binary_judged = request_judge(&r, s->scheme, false, &policy, &reason) == REQUEST_FORWARD;
    return s->binary_judged ? END_NONE : END_POLICY;
}

static bool is_stale(const void *conn)
{
    return conn_stale(conn);
}

/* Traffic with credentials in it that nobody looked into must not leave. */
static bool is_guarded(const struct session *s)
{
    return s->config->provider_credentialed && !s->config->allow_uninspected_credentials;
}

static enum end take_message(struct session *s, const struct websocket_message *m)
{
    uint8_t mask[4];
    enum end end = conn_stale(s->c) ? END_RELOAD : judge(s, m);
    if (end)
        return end;
    if (is_guarded(s) && marker_in(m->text, m->n)) {
        event_uninspectable(s->c, "websocket-text");
        return END_CREDENTIAL;
    }
    if (m->single) {
        websocket_message_original(m, &s->out);
    } else {
        random_mask(mask);
        s->error = websocket_message_write(&s->out, m->text, m->n, m->compressed, mask);
    }
    if (s->out.failed && !s->error)
        s->error = WEBSOCKET_ERROR_MEMORY;
    return s->error ? END_PROTOCOL : END_NONE;
}

/* --- client -> upstream --- */

static enum end take_event(struct session *s, enum websocket_event event, const struct websocket_step *step)
{
    switch (event) {
    case WEBSOCKET_MORE:
        return END_NONE;
    case WEBSOCKET_TEXT_BEGIN:
        s->begun_ms = os_clock_mono_ms();
        s->capacity = capacity_take(&s->c->egress->messages, OS_WEBSOCKET_IDLE_MS, is_stale, s->c);
        return conn_stale(s->c) ? END_RELOAD : s->capacity ? END_NONE : END_CAPACITY;
    case WEBSOCKET_MESSAGE:
        release(s);
        return take_message(s, &step->message);
    case WEBSOCKET_BINARY_BEGIN:
        if (is_guarded(s)) {
            event_uninspectable(s->c, "websocket-binary");
            return END_CREDENTIAL;
        }
        if (conn_stale(s->c))
            return END_RELOAD;
        if (judge_binary(s) != END_NONE)
            return END_POLICY;
        s->frame_left = step->frame.length;
        s->in_frame = s->frame_left > 0;
        os_buf_add(&s->out, step->raw, step->raw_n);
        return END_NONE;
    case WEBSOCKET_PAYLOAD:
        s->frame_left -= step->raw_n;
        s->in_frame = s->frame_left > 0;
        os_buf_add(&s->out, step->raw, step->raw_n);
        return END_NONE;
    case WEBSOCKET_CONTROL:
        os_buf_add(&s->out, step->raw, step->raw_n);
        return END_NONE;
    case WEBSOCKET_FAILED:
        s->error = step->error;
        return END_PROTOCOL;
    }
    return END_QUIET;
}

/* Takes what the client sent as far as the upstream keeps up; true when something moved. */
static bool read_client(struct session *s)
{
    struct egress_stream *client = &s->c->client;
    bool moved = false;
    while (!s->end && !s->client_ended && s->out.len - s->sent < WAITING_MAX) {
        if (!stream_buffered(client)) {
            ssize_t n = stream_fill(client);
            if (n == STREAM_AGAIN)
                return moved;
            if (n <= 0) {
                s->client_ended = true;
                return true;
            }
            if (conn_stale(s->c)) {
                s->end = END_RELOAD;
                return true;
            }
            s->heard_ms = os_clock_mono_ms();
        }
        enum websocket_event event;
        do {
            struct websocket_step step = {0};
            event = websocket_reader_step(s->reader, (const uint8_t *)stream_bytes(client),
                                          stream_buffered(client), &step);
            s->end = take_event(s, event, &step);
            stream_consume(client, step.taken);
        } while (!s->end && event != WEBSOCKET_MORE);
        moved = true;
    }
    return moved;
}

static bool write_upstream(struct session *s)
{
    if (s->sent == s->out.len && s->client_ended && !s->told_end) {
        s->told_end = true;
        s->moved_ms = os_clock_mono_ms();
        stream_end(&s->c->upstream);
    }
    if (s->sent == s->out.len)
        return false;
    ssize_t n = stream_write(&s->c->upstream, s->out.data + s->sent, s->out.len - s->sent);
    if (n == STREAM_AGAIN)
        return false;
    if (n < 0) {
        s->end = END_QUIET;
        return true;
    }
    s->moved_ms = os_clock_mono_ms();
    s->sent += (size_t)n;
    if (s->sent == s->out.len) {
        if (s->out.cap > WAITING_MAX * 2)
            os_buf_free(&s->out);
        else
            os_buf_clear(&s->out);
        s->out.max = OS_WEBSOCKET_TEXT + 2 * WAITING_MAX;
        s->sent = 0;
    }
    return true;
}

/* --- waiting --- */

/* Milliseconds until a limit passes, -1 = none is running; *end says what would have happened. */
static int next_limit(const struct session *s, enum end *end)
{
    int64_t now = os_clock_mono_ms(), at = INT64_MAX;
    if (s->capacity) {
        at = s->heard_ms + OS_WEBSOCKET_IDLE_MS;
        *end = END_IDLE;
        if (s->begun_ms + OS_WEBSOCKET_TOTAL_MS < at) {
            at = s->begun_ms + OS_WEBSOCKET_TOTAL_MS;
            *end = END_TOTAL;
        }
    }
    if (s->told_end && s->moved_ms + OS_WEBSOCKET_IDLE_MS < at) {
        at = s->moved_ms + OS_WEBSOCKET_IDLE_MS;
        *end = END_QUIET;
    }
    if (s->sent < s->out.len && s->moved_ms + OS_WEBSOCKET_TOTAL_MS < at) {
        at = s->moved_ms + OS_WEBSOCKET_TOTAL_MS;
        *end = END_STUCK;
    }
    return at == INT64_MAX ? -1 : at > now ? (int)(at - now) : 0;
}

static void wait_any(struct session *s)
{
    struct egress_conn *c = s->c;
    struct pollfd p[] = {
        {.fd = c->client.fd}, {.fd = c->upstream.fd}, {.fd = c->reload_fd, .events = POLLIN}};
    enum end limit = END_NONE;
    if (!s->client_ended && s->out.len - s->sent < WAITING_MAX)
        p[0].events |= c->client.read_wants;
    if (s->sent < s->out.len)
        p[1].events |= c->upstream.write_wants;
    if (stream_buffered(&c->upstream))
        p[0].events |= c->client.write_wants;
    else
        p[1].events |= c->upstream.read_wants;
    for (size_t i = 0; i < 2; i++)
        if (!p[i].events)
            p[i].fd = -1;
    int n = poll(p, OS_ARRAY_LEN(p), next_limit(s, &limit));
    if (n == 0)
        s->end = limit;
    else if (p[2].revents)
        s->end = END_RELOAD;
}

/* --- the end --- */

static uint16_t close_code(const struct session *s)
{
    switch (s->end) {
    case END_NONE:
    case END_QUIET:
    case END_STUCK:
        return 0;
    case END_PROTOCOL:
        return websocket_error_code(s->error);
    case END_POLICY:
    case END_CREDENTIAL:
        return 1008;
    case END_RELOAD:
        return 1012;
    case END_CAPACITY:
        return 1013;
    case END_IDLE:
    case END_TOTAL:
        return 1002;
    }
    return 0;
}

static void log_end(const struct session *s)
{
    const char *detail = s->end == END_PROTOCOL   ? websocket_error_detail(s->error)
                         : s->end == END_CAPACITY ? "assembly_capacity_exhausted"
                         : s->end == END_IDLE     ? "message_assembly_idle_timeout"
                         : s->end == END_TOTAL    ? "message_assembly_total_timeout"
                                                  : NULL;
    if (!detail)
        return;
    const struct conn_event ev = {"Refuse", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "l7-websocket", detail};
    event_conn(s->c, &ev, "WEBSOCKET_CREDENTIAL_REWRITE closed ambiguous client frame [host:%s port:%u]",
               s->c->host, s->c->port);
}

/* Both sides are told, where a frame can be put in. */
static void say_goodbye(struct session *s)
{
    uint8_t frame[WEBSOCKET_HEADER_MAX + WEBSOCKET_CONTROL_MAX], mask[4];
    uint16_t code = close_code(s);
    if (!code)
        return;
    size_t n = websocket_close_write(frame, code, "", NULL);
    stream_send(&s->c->client, frame, n, OS_PROXY_LINGER_MS);
    if (s->end == END_CREDENTIAL || s->in_frame || s->sent)
        return;
    random_mask(mask);
    n = websocket_close_write(frame, code, "", mask);
    stream_send(&s->c->upstream, frame, n, OS_PROXY_LINGER_MS);
}

void websocket_serve(struct egress_request *r, const char *scheme, bool deflate)
{
    struct egress_conn *c = r->conn;
    struct session s = {.r = r,
                        .c = c,
                        .scheme = scheme,
                        .config = policy_l7_config(&c->l4, r->path),
                        .out = {.max = OS_WEBSOCKET_TEXT + 2 * WAITING_MAX},
                        .reader = websocket_reader_new(WEBSOCKET_FROM_CLIENT, deflate)};
    s.moved_ms = s.heard_ms = os_clock_mono_ms();
    conn_announce_reload(c, true);
    while (!s.end) {
        bool moved = read_client(&s);
        moved |= !s.end && write_upstream(&s);
        enum copy_step down = s.end ? COPY_IDLE : stream_copy(&c->upstream, &c->client);
        if (!s.end && (down == COPY_ENDED || down == COPY_BROKEN))
            s.end = END_QUIET;
        if (!s.end && !moved && down == COPY_IDLE)
            wait_any(&s);
    }
    conn_announce_reload(c, false);
    release(&s);
    log_end(&s);
    say_goodbye(&s);
    stream_finish(&c->upstream);
    stream_finish(&c->client);
    websocket_reader_free(s.reader);
    os_buf_free(&s.out);
}
