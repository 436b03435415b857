/* `--editor`: a sandbox in an editor of this machine, over SSH (spec/cli.md 7.1, 7.2). */
#ifndef CLI_EDITOR_H
#define CLI_EDITOR_H

#include "cli/cli.h"

/* Puts the Host block of the sandbox into the managed SSH configuration, has ~/.ssh/config include that, and
 * starts "vscode" or "cursor" on the sandbox's workspace. The sandbox is Ready. */
int editor_open(struct cli *cli, const Openshell__V1__Sandbox *s, const char *editor, struct os_error *err);

/* The program of "vscode" or "cursor" can be started from here; OS_NOT_FOUND otherwise. */
int editor_check(const char *editor, struct os_error *err);
/* Takes the Host block of a deleted sandbox out of the managed SSH configuration, if this gateway's is there.
 * A file that cannot be written is only told. */
void editor_forget(struct cli *cli, const char *name);

/* The text of a managed configuration with `block` in the place of the block of the same Host line, else at
 * its end. */
void editor_place_block(const char *text, const char *block, struct os_buf *out);
/* The text of a managed configuration without the block of that Host line, if `part` is in the block. */
void editor_drop_block(const char *text, const char *host_line, const char *part, struct os_buf *out);
/* The text of a user's configuration with `include` (one line) before the first Host or Match and nowhere
 * else. */
void editor_place_include(const char *text, const char *include, struct os_buf *out);

#endif
