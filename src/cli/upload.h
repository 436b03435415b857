/* Copying files into a sandbox, shared by `sandbox upload` and `sandbox create --upload` (spec/cli.md 7.5).
 */
#ifndef CLI_UPLOAD_H
#define CLI_UPLOAD_H

#include "cli/cli.h"

/* "local path does not exist: ..." unless something is there, be it a dangling link. */
int upload_check(const char *path, struct os_error *err);
/* Copies to `dest` (NULL = the workspace), without what .gitignore excludes unless --no-git-ignore was given.
 */
int upload_path(struct cli *cli, const char *sandbox_id, const char *path, const char *dest,
                struct os_error *err);

#endif
