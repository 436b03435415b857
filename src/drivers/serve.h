/* A compute driver as a service of its own: openshell.compute.v1 over a UNIX socket (spec/drivers.md 1, 2.2).
 * Works with any driver. */
#ifndef DRIVERS_SERVE_H
#define DRIVERS_SERVE_H

#include "drivers/driver.h"

/* Serves on the socket until SIGTERM or SIGINT, then lets running calls end. Only processes of the same user
 * are served. The driver is freed at the end. 0, or -1 with *err when it could not start. */
int driver_serve(const struct driver *driver, const char *socket, struct os_error *err);

#endif
