/* Endpoints as text: which scheme, which host, loopback or not. Pure. */
#ifndef CLI_ENDPOINT_H
#define CLI_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>

/* Host part of "scheme://host[:port][/...]" into out (IPv6 without brackets); false when there is none. */
bool endpoint_host(const char *endpoint, char *out, size_t n);
/* "localhost", 127.0.0.0/8 or ::1. */
bool endpoint_is_loopback(const char *endpoint);
/* Port of "scheme://host:port"; 0 when there is none. */
unsigned endpoint_port(const char *endpoint);
/* Equal but for trailing slashes. */
bool endpoint_same(const char *a, const char *b);

#endif
