/* Disk space set aside beside the database. A sandbox can fill the disk, and what helps then, stopping and
 * deleting it, has to be written down too: the reserve is given up for that, and set aside again when there
 * is room. Any thread. */
#ifndef GATEWAY_STORE_RESERVE_H
#define GATEWAY_STORE_RESERVE_H

#include <stdbool.h>

/* Makes the file (0600) of OS_GATEWAY_RESERVE bytes unless it is there or the disk is too full for it. */
void reserve_keep(const char *path);
/* false when there was nothing to give up. */
bool reserve_release(const char *path);

#endif
