/* Raw throughput of the benchmarks:
 *   blast serve IP PORT                              sends zeroes to whoever connects; prints "ready"
 *   blast get MEGABYTES direct IP PORT               reads them and prints MB/s
 *   blast get MEGABYTES proxy IP PORT HOST PORT      the same through a CONNECT tunnel */
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (256 << 10)

static struct sockaddr_in address(const char *ip, const char *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    if (inet_pton(AF_INET, ip, &a.sin_addr) != 1) {
        fprintf(stderr, "not an address: %s\n", ip);
        exit(2);
    }
    return a;
}

static void *pour(void *arg)
{
    static const char zeroes[CHUNK];
    int fd = (int)(long)arg;
    while (write(fd, zeroes, sizeof(zeroes)) > 0)
        ;
    close(fd);
    return NULL;
}

static int serve(const char *ip, const char *port)
{
    struct sockaddr_in at = address(ip, port);
    int one = 1, l = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(l, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(l, 16) < 0) {
        perror("listen");
        return 1;
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        int fd = accept(l, NULL, NULL);
        pthread_t t;
        if (fd >= 0 && pthread_create(&t, NULL, pour, (void *)(long)fd) == 0)
            pthread_detach(t);
    }
}

static void tunnel(int fd, const char *host, const char *port)
{
    char buf[512];
    int n =
        snprintf(buf, sizeof(buf), "CONNECT %s:%s HTTP/1.1\r\nHost: %s:%s\r\n\r\n", host, port, host, port);
    size_t have = 0;
    if (write(fd, buf, (size_t)n) != n)
        exit(1);
    /* The head alone; what follows it is data. */
    while (have < sizeof(buf) - 1 && read(fd, buf + have, 1) == 1) {
        buf[++have] = '\0';
        if (strstr(buf, "\r\n\r\n"))
            break;
    }
    if (strncmp(buf, "HTTP/1.1 200", 12) != 0) {
        fprintf(stderr, "the proxy answered: %s\n", buf);
        exit(1);
    }
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int get(int argc, char **argv)
{
    static char buf[CHUNK];
    int64_t want = (int64_t)atoi(argv[2]) << 20, warm = want / 10, have = 0;
    struct sockaddr_in to = address(argv[4], argv[5]);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        perror("connect");
        return 1;
    }
    if (strcmp(argv[3], "proxy") == 0 && argc == 8)
        tunnel(fd, argv[6], argv[7]);
    double from = 0;
    while (have < want + warm) {
        ssize_t n = read(fd, buf, sizeof(buf));
        if (n <= 0) {
            fprintf(stderr, "the connection ended early\n");
            return 1;
        }
        have += n;
        if (from == 0 && have >= warm)
            from = now_s();
    }
    printf("%.0f\n", (double)want / 1e6 / (now_s() - from));
    return 0;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc == 4 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2], argv[3]);
    if (argc >= 6 && strcmp(argv[1], "get") == 0)
        return get(argc, argv);
    fprintf(
        stderr,
        "usage: %s serve IP PORT | get MEGABYTES direct IP PORT | get MEGABYTES proxy IP PORT HOST PORT\n",
        argv[0]);
    return 2;
}
