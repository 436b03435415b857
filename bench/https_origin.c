/* HTTPS origin of the benchmarks: https_origin IP PORT CERT KEY. One thread per connection, a fixed small
 * answer to every request, in HTTP/1.1 or, where the client offers it, HTTP/2; WebSocket messages go back as
 * they came. Prints "ready" once it listens. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static SSL_CTX *ctx;

/* --- HTTP/2 --- */

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *buf, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    memcpy(buf, "hello\n", 6);
    *flags = NGHTTP2_DATA_FLAG_EOF;
    return 6;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    static const nghttp2_nv nv[] = {
        {(uint8_t *)":status", (uint8_t *)"200", 7, 3, 0},
        {(uint8_t *)"content-type", (uint8_t *)"text/plain", 12, 10, 0},
        {(uint8_t *)"content-length", (uint8_t *)"6", 14, 1, 0},
    };
    const nghttp2_data_provider body = {.read_callback = read_body};
    if (frame->hd.type == NGHTTP2_HEADERS)
        nghttp2_submit_response(session, frame->hd.stream_id, nv, 3, &body);
    return 0;
}

static void serve_h2(SSL *ssl)
{
    nghttp2_session *session;
    nghttp2_session_callbacks *cb;
    uint8_t in[16384], out[16384];
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_server_new(&session, cb, NULL);
    nghttp2_session_callbacks_del(cb);
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0);
    for (;;) {
        const uint8_t *data;
        ssize_t got;
        size_t have = 0;
        while (have < sizeof(out) / 2 && (got = nghttp2_session_mem_send(session, &data)) > 0 &&
               (size_t)got <= sizeof(out) - have) {
            memcpy(out + have, data, (size_t)got);
            have += (size_t)got;
        }
        if (have && SSL_write(ssl, out, (int)have) <= 0)
            break;
        int n = SSL_read(ssl, in, sizeof(in));
        if (n <= 0 || nghttp2_session_mem_recv(session, in, (size_t)n) < 0)
            break;
    }
    nghttp2_session_del(session);
}

/* --- WebSocket --- */

/* Masked frames of up to 125 bytes go back without a mask (RFC 6455 section 5.2). */
static void serve_websocket(SSL *ssl)
{
    unsigned char in[4096];
    int have = 0, n;
    while ((n = SSL_read(ssl, in + have, (int)sizeof(in) - have)) > 0) {
        have += n;
        while (have >= 6) {
            int len = in[1] & 127;
            if (!(in[1] & 128) || len > 125)
                return;
            if (have < 6 + len)
                break;
            for (int i = 0; i < len; i++)
                in[6 + i] ^= in[2 + i % 4];
            in[4] = in[0];
            in[5] = (unsigned char)len;
            if (SSL_write(ssl, in + 4, 2 + len) <= 0)
                return;
            have -= 6 + len;
            memmove(in, in + 6 + len, (size_t)have);
        }
    }
}

/* --- HTTP/1.1 --- */

static void serve_http1(SSL *ssl)
{
    static const char answer[] =
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nhello\n";
    /* To the key that the client of the benchmarks sends (RFC 6455 section 1.3). */
    static const char upgraded[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
                                   "Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    char buf[8192];
    int have = 0;
    for (;;) {
        int n = SSL_read(ssl, buf + have, (int)sizeof(buf) - 1 - have);
        if (n <= 0)
            break;
        have += n;
        buf[have] = '\0';
        if (!strstr(buf, "\r\n\r\n"))
            continue;
        have = 0;
        if (strcasestr(buf, "\r\nupgrade: websocket")) {
            if (SSL_write(ssl, upgraded, sizeof(upgraded) - 1) > 0)
                serve_websocket(ssl);
            break;
        }
        if (SSL_write(ssl, answer, sizeof(answer) - 1) <= 0)
            break;
    }
}

static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *n,
                           const unsigned char *offered, unsigned len, void *arg)
{
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, n, (const unsigned char *)"\x02h2\x08http/1.1", 12, offered, len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static void *serve(void *arg)
{
    int fd = (int)(long)arg;
    SSL *ssl = SSL_new(ctx);
    const unsigned char *alpn = NULL;
    unsigned n = 0;
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
        SSL_get0_alpn_selected(ssl, &alpn, &n);
        if (n == 2)
            serve_h2(ssl);
        else
            serve_http1(ssl);
    }
    SSL_free(ssl);
    close(fd);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: %s IP PORT CERT KEY\n", argv[0]);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_alpn_select_cb(ctx, select_protocol, NULL);
    if (SSL_CTX_use_certificate_chain_file(ctx, argv[3]) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, argv[4], SSL_FILETYPE_PEM) != 1) {
        fprintf(stderr, "cannot read %s or %s\n", argv[3], argv[4]);
        return 1;
    }
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    int one = 1, l = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (inet_pton(AF_INET, argv[1], &at.sin_addr) != 1 || bind(l, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        listen(l, 64) < 0) {
        perror("listen");
        return 1;
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        int fd = accept(l, NULL, NULL);
        pthread_t t;
        if (fd < 0)
            continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (pthread_create(&t, NULL, serve, (void *)(long)fd) != 0)
            close(fd);
        else
            pthread_detach(t);
    }
}
