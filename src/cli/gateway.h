/* Registered gateways as they are shown (spec/cli.md 5.2). */
#ifndef CLI_GATEWAY_H
#define CLI_GATEWAY_H

#include "cli/cli.h"

/* "mtls", "plaintext", ... */
const char *gateway_auth_of(const struct gateway_record *r);
/* "cloud", "remote" or "local" */
const char *gateway_type_of(const struct gateway_record *r);
/* Prints every registration as `format` says. */
int gateway_show_list(struct cli *cli, const char *format, struct os_error *err);

#endif
