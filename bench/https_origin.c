/* HTTPS origin of the benchmarks: https_origin IP PORT CERT KEY. One thread per connection, a fixed small
 * answer to every request head, keep-alive. Prints "ready" once it listens. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static SSL_CTX *ctx;

static void *serve(void *arg)
{
    static const char answer[] =
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nhello\n";
    int fd = (int)(long)arg;
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    char buf[8192];
    int have = 0;
    if (SSL_accept(ssl) == 1)
        for (;;) {
            int n = SSL_read(ssl, buf + have, (int)sizeof(buf) - 1 - have);
            if (n <= 0)
                break;
            have += n;
            buf[have] = '\0';
            if (!strstr(buf, "\r\n\r\n"))
                continue;
            have = 0;
            if (SSL_write(ssl, answer, sizeof(answer) - 1) <= 0)
                break;
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
