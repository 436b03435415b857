/* The client certificate of the gateway on this machine on its way to the CLI's configuration. */
#ifndef OS_SYS_CLIENT_BUNDLE_H
#define OS_SYS_CLIENT_BUNDLE_H

#include "core/error.h"

/* Copies ca.crt, client/tls.crt and client/tls.key of tls_dir into <gateway_dir>/mtls, readable for this user
 * only. They are written to a sibling that takes the place of the old directory, which stays when anything
 * fails. An empty file is an error. */
int os_client_bundle_copy(const char *tls_dir, const char *gateway_dir, struct os_error *err);

#endif
