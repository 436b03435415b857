/* HTTPS client of the benchmarks: https_client [-2] COUNT HOST PORT CA direct IP | proxy IP PORT. Sends COUNT
 * requests over one connection, in HTTP/1.1 or with -2 in HTTP/2, and prints "<p50> <p99>" of the round trips
 * in microseconds. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int dial(const char *ip, const char *port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, ip, &to.sin_addr) != 1 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        perror("connect");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static void tunnel(int fd, const char *host, const char *port)
{
    char buf[1024];
    int n =
        snprintf(buf, sizeof(buf), "CONNECT %s:%s HTTP/1.1\r\nHost: %s:%s\r\n\r\n", host, port, host, port);
    if (write(fd, buf, (size_t)n) != n)
        exit(1);
    ssize_t got = read(fd, buf, sizeof(buf) - 1);
    buf[got > 0 ? got : 0] = '\0';
    if (strncmp(buf, "HTTP/1.1 200", 12) != 0) {
        fprintf(stderr, "the proxy answered: %s\n", buf);
        exit(1);
    }
}

static SSL *handshake(int fd, const char *host, const char *ca, int h2)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_locations(ctx, ca, NULL) != 1) {
        fprintf(stderr, "cannot read %s\n", ca);
        exit(1);
    }
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

static void request(SSL *ssl, const char *host)
{
    char buf[4096];
    int n = snprintf(buf, sizeof(buf), "GET /bench HTTP/1.1\r\nHost: %s\r\n\r\n", host), have = 0;
    if (SSL_write(ssl, buf, n) != n)
        exit(1);
    do {
        n = SSL_read(ssl, buf + have, (int)sizeof(buf) - 1 - have);
        if (n <= 0) {
            fprintf(stderr, "the connection ended early\n");
            exit(1);
        }
        have += n;
        buf[have] = '\0';
    } while (!strstr(buf, "hello\n"));
    if (strncmp(buf, "HTTP/1.1 200", 12) != 0)
        exit(1);
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
        if (SSL_write(ssl, data, (int)n) != n)
            exit(1);
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

int main(int argc, char **argv)
{
    int h2 = argc > 1 && strcmp(argv[1], "-2") == 0;
    argc -= h2;
    argv += h2;
    if (argc < 7) {
        fprintf(stderr, "usage: https_client [-2] COUNT HOST PORT CA direct IP | proxy IP PORT\n");
        return 2;
    }
    int count = atoi(argv[1]), warm = count / 10 + 10;
    const char *host = argv[2], *port = argv[3];
    int proxied = strcmp(argv[5], "proxy") == 0 && argc == 8;
    int fd = dial(argv[6], proxied ? argv[7] : port);
    if (proxied)
        tunnel(fd, host, port);
    SSL *ssl = handshake(fd, host, argv[4], h2);
    nghttp2_session *session = h2 ? start_h2() : NULL;
    double *took = calloc((size_t)count, sizeof(*took));
    for (int i = -warm; i < count; i++) {
        double from = now_us();
        if (h2)
            request_h2(session, ssl, host);
        else
            request(ssl, host);
        if (i >= 0)
            took[i] = now_us() - from;
    }
    qsort(took, (size_t)count, sizeof(*took), by_value);
    printf("%.1f %.1f\n", took[count / 2], took[count * 99 / 100]);
    free(took);
    return 0;
}
