/* `openshell-gateway generate-certs`, local mode (spec/identity.md 11): PKI files for a gateway on this
 * machine, made once and kept. */
#ifndef GATEWAY_CERTS_H
#define GATEWAY_CERTS_H

#include "core/error.h"
#include "core/str.h"

/* Creates or completes the files under dir and copies the client bundle into the CLI's configuration
 * (failure of that copy is only logged). Sets *created when anything was written under dir. */
int certs_ensure(const char *dir, const struct os_strv *extra_sans, bool *created, struct os_error *err);
/* Prints the material to stdout instead (--dry-run). */
int certs_print(const struct os_strv *extra_sans, struct os_error *err);

#endif
