/* Checked copy of the driver's configuration. */
#ifndef DRIVERS_LOCAL_SETTINGS_H
#define DRIVERS_LOCAL_SETTINGS_H

#include "drivers/local/local.h"
#include "drivers/local/private.h"

/* Makes the state directory. On error *out is to be cleared all the same. */
int settings_load(const struct local_driver_config *cfg, struct local_settings *out, struct os_error *err);
void settings_clear(struct local_settings *s);

#endif
