/* The man pages of all programs, made when they are built, from the tables that --help and the parsers use.
 */
#ifndef CLI_MAN_MAN_H
#define CLI_MAN_MAN_H

#include "core/error.h"

/* Each writes below <dir>/man<section>. */
int man_commands(const char *dir, struct os_error *err); /* openshell.1, openshell-GROUP-COMMAND.1 */
int man_programs(const char *dir, struct os_error *err); /* the programs beside it, section 8 */
int man_config(const char *dir, struct os_error *err);   /* gateway.toml.5 */

#endif
