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
#include <unistd.h>

#include "client.h"

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

static int get(int argc, char **argv)
{
    static char buf[CHUNK];
    int64_t want = (int64_t)atoi(argv[2]) << 20, warm = want / 10, have = 0;
    struct route r;
    if (want <= 0 || client_route(argc - 3, argv + 3, &r) < 0) {
        fprintf(stderr, "get: not an amount, or not a route\n");
        return 2;
    }
    int fd = client_connect(&r);
    double from = 0;
    while (have < want + warm) {
        ssize_t n = read(fd, buf, sizeof(buf));
        if (n <= 0) {
            fprintf(stderr, "the connection ended early\n");
            return 1;
        }
        have += n;
        if (from == 0 && have >= warm)
            from = client_now_us();
    }
    printf("%.0f\n", (double)want / (client_now_us() - from));
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
