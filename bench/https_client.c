/* HTTPS client of the benchmarks: https_client [-2 | -n | -w] COUNT HOST CA ROUTE, where ROUTE is "direct IP
 * PORT" or "proxy IP PORT HOST PORT". Sends COUNT requests over one connection in HTTP/1.1, with -2 in
 * HTTP/2, with -n over a new connection each (TCP, CONNECT and TLS handshake count), with -w COUNT WebSocket
 * messages that come back. Prints "<p50> <p99>" of the round trips in microseconds. */
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

static SSL_CTX *ctx;

static void trust(const char *ca)
{
    ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_locations(ctx, ca, NULL) != 1) {
        fprintf(stderr, "cannot read %s\n", ca);
        exit(1);
    }
}

static SSL *handshake(int fd, const char *host, int h2)
{
    SSL *ssl = SSL_new(ctx);
    SSL_set_tlsext_host_name(ssl, host);
    SSL_set1_host(ssl, host);
    SSL_set_fd(ssl, fd);
    if (h2)
        SSL_set_alpn_protos(ssl, (const unsigned char *)"\x02h2", 3);
    if (SSL_connect(ssl) != 1) {
        fprintf(stderr, "TLS handshake failed: %s\n",
                X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
        exit(1);
    }
    return ssl;
}

/* --- HTTP/1.1 --- */

static void put(SSL *ssl, const void *data, int n)
{
    if (SSL_write(ssl, data, n) != n) {
        fprintf(stderr, "nothing more can be sent\n");
        exit(1);
    }
}

/* Reads until the answer ends with that text; its status line has to begin as wanted. */
static void answer(SSL *ssl, const char *status, const char *end)
{
    char buf[4096];
    size_t have = 0;
    do {
        int n = SSL_read(ssl, buf + have, (int)(sizeof(buf) - 1 - have));
        if (n <= 0) {
            fprintf(stderr, "the connection ended early\n");
            exit(1);
        }
        have += (size_t)n;
        buf[have] = '\0';
    } while (!strstr(buf, end));
    if (strncmp(buf, status, strlen(status)) != 0) {
        fprintf(stderr, "%s was expected: %s\n", status, buf);
        exit(1);
    }
}

static void request(SSL *ssl, const char *host)
{
    char buf[1024];
    put(ssl, buf, snprintf(buf, sizeof(buf), "GET /bench HTTP/1.1\r\nHost: %s\r\n\r\n", host));
    answer(ssl, "HTTP/1.1 200", "hello\n");
}

static void request_anew(const struct route *r, const char *host, double *took)
{
    double from = client_now_us();
    int fd = client_connect(r);
    SSL *ssl = handshake(fd, host, 0);
    request(ssl, host);
    *took = client_now_us() - from;
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
}

/* --- WebSocket --- */

#define MESSAGE 64 /* bytes */

/* The key of RFC 6455 section 1.3, which the origin knows the answer to. */
static void upgrade(SSL *ssl, const char *host)
{
    char buf[1024];
    put(ssl, buf,
        snprintf(buf, sizeof(buf),
                 "GET /socket HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                 host));
    answer(ssl, "HTTP/1.1 101", "\r\n\r\n");
}

/* One masked text frame; the answer is the same text without a mask (RFC 6455 section 5.2). */
static void message(SSL *ssl)
{
    unsigned char frame[6 + MESSAGE] = {0x81, 0x80 | MESSAGE, 0x12, 0x34, 0x56, 0x78}, back[2 + MESSAGE];
    for (int i = 0; i < MESSAGE; i++)
        frame[6 + i] = 'a' ^ frame[2 + i % 4];
    put(ssl, frame, sizeof(frame));
    for (int have = 0; have < (int)sizeof(back);) {
        int n = SSL_read(ssl, back + have, (int)sizeof(back) - have);
        if (n <= 0) {
            fprintf(stderr, "the connection ended early\n");
            exit(1);
        }
        have += n;
    }
    if (back[0] != 0x81 || back[1] != MESSAGE || back[2] != 'a' || back[1 + MESSAGE] != 'a') {
        fprintf(stderr, "another message came back\n");
        exit(1);
    }
}

/* --- HTTP/2 --- */

static int done;

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    if (code != NGHTTP2_NO_ERROR)
        exit(1);
    done = 1;
    return 0;
}

static nghttp2_session *start_h2(void)
{
    nghttp2_session *session;
    nghttp2_session_callbacks *cb;
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    nghttp2_session_client_new(&session, cb, NULL);
    nghttp2_session_callbacks_del(cb);
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0);
    return session;
}

static void push(nghttp2_session *session, SSL *ssl)
{
    const uint8_t *data;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(session, &data)) > 0)
        put(ssl, data, (int)n);
}

#define NV(name, value)                                                                                      \
    {                                                                                                        \
        (uint8_t *)(name), (uint8_t *)(value), strlen(name), strlen(value), 0                                \
    }

static void request_h2(nghttp2_session *session, SSL *ssl, const char *host)
{
    const nghttp2_nv nv[] = {NV(":method", "GET"), NV(":scheme", "https"), NV(":authority", host),
                             NV(":path", "/bench")};
    uint8_t buf[16384];
    nghttp2_submit_request(session, NULL, nv, 4, NULL, NULL);
    for (done = 0; !done;) {
        push(session, ssl);
        int n = SSL_read(ssl, buf, sizeof(buf));
        if (n <= 0 || nghttp2_session_mem_recv(session, buf, (size_t)n) < 0) {
            fprintf(stderr, "the connection ended early\n");
            exit(1);
        }
    }
}

static void usage(void)
{
    fprintf(stderr,
            "usage: https_client [-2 | -n | -w] COUNT HOST CA (direct IP PORT | proxy IP PORT HOST PORT)\n");
    exit(2);
}

int main(int argc, char **argv)
{
    struct route r;
    char mode = argc > 1 && argv[1][0] == '-' ? argv[1][1] : '1';
    argc -= mode != '1';
    argv += mode != '1';
    if (!mode || !strchr("12nw", mode) || argc < 5 || atoi(argv[1]) < 1 ||
        client_route(argc - 4, argv + 4, &r) < 0)
        usage();
    int count = atoi(argv[1]), warm = count / 10 + 10;
    const char *host = argv[2];
    trust(argv[3]);
    SSL *ssl = mode == 'n' ? NULL : handshake(client_connect(&r), host, mode == '2');
    nghttp2_session *session = mode == '2' ? start_h2() : NULL;
    if (mode == 'w')
        upgrade(ssl, host);
    double *took = calloc((size_t)(warm + count), sizeof(*took));
    for (int i = 0; i < warm + count; i++) {
        double from = client_now_us();
        if (mode == '2')
            request_h2(session, ssl, host);
        else if (mode == 'w')
            message(ssl);
        else if (mode == '1')
            request(ssl, host);
        took[i] = client_now_us() - from;
        if (mode == 'n')
            request_anew(&r, host, &took[i]);
    }
    client_print(took + warm, (size_t)count);
    free(took);
    return 0;
}
