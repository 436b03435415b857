/* Opaque connections of the benchmarks; ROUTE is "direct IP PORT" or "proxy IP PORT HOST PORT":
 *   tunnels serve IP PORT       sends back what it gets; prints "ready"
 *   tunnels rate COUNT ROUTE    COUNT connections, a few at a time, with one message each; prints
 * connections/s tunnels new COUNT ROUTE     the same one after the other; prints "<p50> <p99>" in
 * microseconds tunnels ping COUNT ROUTE    messages over one connection; prints "<p50> <p99>" in microseconds
 *   tunnels idle COUNT ROUTE    opens that many, prints "ready" and keeps them until its input ends */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "client.h"

#define MESSAGE 64
#define THREADS 4 /* that open connections at once */
#define MOST 1000000

/* --- the far end --- */

static void echo(int fd)
{
    char buf[16384];
    ssize_t n = read(fd, buf, sizeof(buf));
    if (n <= 0 || write(fd, buf, (size_t)n) != n)
        close(fd);
}

static int serve(const char *ip, const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    int one = 1, l = socket(AF_INET, SOCK_STREAM, 0), ep = epoll_create1(0);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = l};
    setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (inet_pton(AF_INET, ip, &at.sin_addr) != 1 || bind(l, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        listen(l, 512) < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, l, &ev) < 0) {
        perror("listen");
        return 1;
    }
    puts("ready");
    fflush(stdout);
    while (epoll_wait(ep, &ev, 1, -1) == 1) {
        if (ev.data.fd != l) {
            echo(ev.data.fd);
            continue;
        }
        ev.data.fd = accept(l, NULL, NULL);
        if (ev.data.fd < 0)
            continue;
        setsockopt(ev.data.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (epoll_ctl(ep, EPOLL_CTL_ADD, ev.data.fd, &ev) < 0)
            close(ev.data.fd);
    }
    perror("epoll_wait");
    return 1;
}

/* --- the near end --- */

static void ping(int fd)
{
    char buf[MESSAGE] = "ping";
    if (write(fd, buf, sizeof(buf)) != sizeof(buf) ||
        recv(fd, buf, sizeof(buf), MSG_WAITALL) != sizeof(buf)) {
        fprintf(stderr, "the connection ended early\n");
        exit(1);
    }
}

static void connect_once(const struct route *r)
{
    int fd = client_connect(r);
    ping(fd);
    close(fd);
}

struct share {
    const struct route *route;
    size_t count;
};

static void *connect_many(void *arg)
{
    const struct share *s = arg;
    for (size_t i = 0; i < s->count; i++)
        connect_once(s->route);
    return NULL;
}

static void rate(const struct route *r, size_t count)
{
    struct share s = {r, (count + THREADS - 1) / THREADS};
    pthread_t t[THREADS];
    double from = client_now_us();
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&t[i], NULL, connect_many, &s) != 0) {
            fprintf(stderr, "no thread\n");
            exit(1);
        }
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    printf("%.0f\n", (double)(s.count * THREADS) * 1e6 / (client_now_us() - from));
}

/* Times COUNT round trips, over one connection or over a new one each. */
static void latency(const struct route *r, size_t count, int anew)
{
    double *took = calloc(count, sizeof(*took));
    size_t warm = count / 10 + 1;
    int fd = anew ? -1 : client_connect(r);
    for (size_t i = 0; i < warm + count; i++) {
        double from = client_now_us();
        if (anew)
            connect_once(r);
        else
            ping(fd);
        if (i >= warm)
            took[i - warm] = client_now_us() - from;
    }
    client_print(took, count);
    free(took);
}

static void idle(const struct route *r, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ping(client_connect(r)); /* closed by the end of the program */
    puts("ready");
    fflush(stdout);
    while (getchar() != EOF)
        ;
}

int main(int argc, char **argv)
{
    struct route r;
    signal(SIGPIPE, SIG_IGN);
    if (argc == 4 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2], argv[3]);
    size_t count = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    if (count < 1 || count > MOST || client_route(argc - 3, argv + 3, &r) < 0) {
        fprintf(stderr,
                "usage: %s serve IP PORT | (rate|new|ping|idle) COUNT (direct IP PORT | proxy IP PORT HOST "
                "PORT)\n",
                argv[0]);
        return 2;
    }
    if (strcmp(argv[1], "rate") == 0)
        rate(&r, count);
    else if (strcmp(argv[1], "new") == 0 || strcmp(argv[1], "ping") == 0)
        latency(&r, count, argv[1][0] == 'n');
    else if (strcmp(argv[1], "idle") == 0)
        idle(&r, count);
    else
        return 2;
    return 0;
}
