/* The sandbox CA (spec/proxy.md 8.1, 8.2): made at start, its key never leaves memory. Issues one certificate
 * per host and keeps the most recently used ones. */
#ifndef SUPERVISOR_EGRESS_CA_H
#define SUPERVISOR_EGRESS_CA_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "core/error.h"
#include "supervisor/egress/hello.h"

struct egress_ca;

/* Makes the CA, writes openshell-ca.pem and ca-bundle.pem to dir, and reads the upstream trust roots: the
 * system bundle and extra_ca_file (NULL = none). NULL with *err; *what then names the step that failed. */
struct egress_ca *egress_ca_new(const char *dir, const char *extra_ca_file, const char **what,
                                struct os_error *err);
void egress_ca_free(struct egress_ca *ca);

/* Server side for a connection to hello->host, with a certificate for it. The handshake stops once behind the
 * ClientHello (see hello.h), where a client that names another host in SNI is refused. hello must outlive the
 * SSL. Any thread. */
SSL *egress_ca_server(struct egress_ca *ca, struct egress_hello *hello, struct os_error *err);
/* Client side that verifies host. Any thread. */
SSL *egress_ca_client(struct egress_ca *ca, const char *host, struct os_error *err);
/* Hosts in the certificate cache. */
size_t egress_ca_cached(struct egress_ca *ca);

#endif
