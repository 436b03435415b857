/* What the clients of the benchmarks share. Each function ends the program with a message when something goes
 * wrong: a figure of half a run is worth nothing. */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <stddef.h>

/* Where connections go: to IP and port, or through the proxy there to target and target_port. */
struct route {
    const char *ip, *port;
    const char *target, *target_port; /* target NULL: direct */
};

/* Microseconds of a clock that only goes forward. */
double client_now_us(void);

/* "direct IP PORT" or "proxy IP PORT TARGET PORT"; returns -1 when argv is neither. Borrows argv. */
int client_route(int argc, char **argv, struct route *out);

/* A connected socket without Nagle's delay, at the far end of the CONNECT where there is a proxy. */
int client_connect(const struct route *r);

/* Prints "<p50> <p99>" of n values and a newline; sorts them. */
void client_print(double *took, size_t n);

#endif
