/* The user's terminal in raw mode, given back on every way out of the program. */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

/* Switches stdin's terminal to raw mode. From then on terminal_restore(), exit() and every fatal signal that
 * can be caught put the old modes back. */
int terminal_raw(struct os_error *err);
/* Old modes; harmless when not raw. Async-signal-safe. */
void terminal_restore(void);
/* Size of the terminal on stdin or stdout; 80x24 when neither is one. */
void terminal_size(uint32_t *cols, uint32_t *rows);

#endif
