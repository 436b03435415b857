/* What the local driver accepts in a DriverSandbox. */
#ifndef DRIVERS_LOCAL_SPEC_H
#define DRIVERS_LOCAL_SPEC_H

#include <stdbool.h>

#include "drivers/local/cgroup.h"
#include "drivers/local/private.h"

/* Names a state directory and a control group: letters, digits, '-' and '_', at most 64. */
bool spec_id_valid(const char *id);
/* Full check (spec/drivers.md 4.3 in the local driver's terms). */
int spec_validate(const struct local_settings *cfg, const driver_sandbox *s, const struct cgroups *cgroups,
                  struct os_error *err);
/* Its image reference, "" when it has none. */
const char *spec_image(const driver_sandbox *s);
/* Limits of a sandbox that passed spec_validate. */
void spec_limits(const driver_sandbox *s, struct local_limits *out);

/* "500m", "2", "0.5" in thousandths of a CPU; "64Mi", "1.5G", "1e9" never: plain decimal and suffix, in
 * bytes. */
int spec_parse_cpu(const char *text, uint64_t *out, struct os_error *err);
int spec_parse_memory(const char *text, uint64_t *out, struct os_error *err);

#endif
