/* Bare HTTP/2 client. */
#include "probe.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    struct probe *p = user;
    os_buf_addf(&p->headers, "%.*s: %.*s\n", (int)name_len, (const char *)name, (int)value_len,
                (const char *)value);
    return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *data, size_t n, void *user)
{
    struct probe *p = user;
    os_buf_add(&p->body, data, n);
    return 0;
}

static int on_stream_close(nghttp2_session *h2, int32_t id, uint32_t code, void *user)
{
    struct probe *p = user;
    p->closed++;
    p->reset_code = code;
    return 0;
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    struct probe *p = user;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        p->goaway = true;
        p->goaway_code = frame->goaway.error_code;
        if (p->goaways < OS_ARRAY_LEN(p->goaway_last))
            p->goaway_last[p->goaways++] = frame->goaway.last_stream_id;
    }
    return 0;
}

void probe_open(struct probe *p, struct fixture *f)
{
    *p = (struct probe){.f = f, .fd = fixture_dial(f)};
    nghttp2_session_callbacks *cb;
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_option *opt;
    nghttp2_option_new(&opt);
    nghttp2_option_set_max_send_header_block_length(opt, 1 << 20);
    nghttp2_session_client_new2(&p->h2, cb, p, opt);
    nghttp2_option_del(opt);
    nghttp2_session_callbacks_del(cb);
    nghttp2_submit_settings(p->h2, NGHTTP2_FLAG_NONE, NULL, 0);
}

void probe_close(struct probe *p)
{
    nghttp2_session_del(p->h2);
    close(p->fd);
    os_buf_free(&p->headers);
    os_buf_free(&p->body);
}

static ssize_t read_body(nghttp2_session *h2, int32_t id, uint8_t *buf, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    struct probe *p = user;
    size_t n = p->send_len < room ? p->send_len : room;
    memcpy(buf, p->send, n);
    p->send += n;
    p->send_len -= n;
    if (!p->send_len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static void set(nghttp2_nv *nv, const char *name, size_t name_len, const char *value)
{
    *nv = (nghttp2_nv){
        .name = (uint8_t *)name, .namelen = name_len, .value = (uint8_t *)value, .valuelen = strlen(value)};
}

int32_t probe_request(struct probe *p, const char *path, const char *const *extra, const void *body, size_t n)
{
    nghttp2_nv nv[32];
    size_t count = 5;
    set(&nv[0], ":method", 7, "POST");
    set(&nv[1], ":scheme", 7, "http");
    set(&nv[2], ":path", 5, path);
    set(&nv[3], ":authority", 10, "test");
    set(&nv[4], "content-type", 12, "application/grpc");
    for (; extra && *extra; extra++) {
        const char *colon = strchr(*extra + 1, ':');
        size_t len = (size_t)(colon - *extra), at = 0;
        while (at < count && !(nv[at].namelen == len && memcmp(nv[at].name, *extra, len) == 0))
            at++;
        set(&nv[at], *extra, len, colon + 2);
        count = at == count ? count + 1 : count;
    }
    p->send = body;
    p->send_len = n;
    nghttp2_data_provider provider = {.read_callback = read_body};
    int32_t id = nghttp2_submit_request(p->h2, NULL, nv, count, body ? &provider : NULL, NULL);
    assert_true(id > 0);
    return id;
}

static void send_ready(struct probe *p)
{
    const uint8_t *data;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(p->h2, &data)) > 0) {
        for (ssize_t off = 0; off < n;) {
            ssize_t w = send(p->fd, data + off, (size_t)(n - off), MSG_NOSIGNAL);
            if (w > 0) {
                off += w;
            } else if (errno == EAGAIN) {
                uv_run(&p->f->loop, UV_RUN_NOWAIT);
            } else {
                p->gone = true;
                return;
            }
        }
    }
}

void probe_step(struct probe *p)
{
    uint8_t buf[16384];
    send_ready(p);
    uv_run(&p->f->loop, UV_RUN_NOWAIT);
    struct pollfd fd = {.fd = p->fd, .events = POLLIN};
    poll(&fd, 1, 1);
    ssize_t n = recv(p->fd, buf, sizeof(buf), 0);
    if (n > 0)
        assert_int_equal(nghttp2_session_mem_recv(p->h2, buf, (size_t)n), n);
    else if (n == 0 || errno != EAGAIN)
        p->gone = true;
}

void probe_run(struct probe *p, unsigned want)
{
    for (int i = 0; i < 10000 && p->closed < want && !p->gone; i++)
        probe_step(p);
    os_buf_adds(&p->headers, "");
}
