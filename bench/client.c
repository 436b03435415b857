/* What the clients of the benchmarks share: connections, direct or through a proxy, and percentiles. */
#include "client.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

double client_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int client_route(int argc, char **argv, struct route *out)
{
    if (argc == 3 && strcmp(argv[0], "direct") == 0)
        *out = (struct route){argv[1], argv[2], NULL, NULL};
    else if (argc == 5 && strcmp(argv[0], "proxy") == 0)
        *out = (struct route){argv[1], argv[2], argv[3], argv[4]};
    else
        return -1;
    return 0;
}

/* Takes the head of the answer off the socket and nothing of what follows it. */
static void read_head(int fd, char *buf, size_t size)
{
    size_t have = 0;
    char *end = NULL;
    while (!end && have < size - 1) {
        ssize_t got = recv(fd, buf + have, size - 1 - have, MSG_PEEK);
        if (got <= 0)
            break;
        buf[have + (size_t)got] = '\0';
        end = strstr(buf, "\r\n\r\n");
        got = end ? end + 4 - (buf + have) : got;
        if (recv(fd, buf + have, (size_t)got, 0) != got)
            break;
        have += (size_t)got;
    }
    buf[have] = '\0';
}

static void tunnel(int fd, const char *host, const char *port)
{
    char buf[2048];
    int n =
        snprintf(buf, sizeof(buf), "CONNECT %s:%s HTTP/1.1\r\nHost: %s:%s\r\n\r\n", host, port, host, port);
    if (write(fd, buf, (size_t)n) != n) {
        perror("CONNECT");
        exit(1);
    }
    read_head(fd, buf, sizeof(buf));
    if (strncmp(buf, "HTTP/1.", 7) != 0 || strncmp(buf + 8, " 200", 4) != 0) {
        fprintf(stderr, "the proxy answered: %s", buf);
        read_head(fd, buf, sizeof(buf)); /* the body */
        fprintf(stderr, "%s\n", buf);
        exit(1);
    }
}

int client_connect(const struct route *r)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(r->port))};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, r->ip, &to.sin_addr) != 1 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        perror("connect");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (r->target)
        tunnel(fd, r->target, r->target_port);
    return fd;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

void client_print(double *took, size_t n)
{
    qsort(took, n, sizeof(*took), by_value);
    printf("%.1f %.1f\n", took[n / 2], took[n * 99 / 100]);
}
