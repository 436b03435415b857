/* Small-file and directory helpers for everything outside the hot paths. */
#ifndef OS_SYS_FILE_H
#define OS_SYS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "core/buf.h"
#include "core/error.h"

/* Appends the whole file to out, also what comes through a pipe within OS_PIPE_WAIT_MS; error when it is
 * larger than max bytes. errno is in err->sys_errno. */
int os_file_read(const char *path, size_t max, struct os_buf *out, struct os_error *err);
/* Writes data to a temporary sibling, fsyncs it, renames it over path and fsyncs the directory. */
int os_file_write_atomic(const char *path, const void *data, size_t n, mode_t mode, struct os_error *err);
/* mkdir -p; existing directories are fine. Mode applies to those created. */
int os_dir_make(const char *path, mode_t mode, struct os_error *err);
/* rm -rf without following symlinks and without crossing into other mounts; a missing path is fine. */
int os_dir_remove(const char *path, struct os_error *err);
bool os_file_exists(const char *path);
/* Writes all of data to fd, waiting out EINTR; -1 with errno on failure. */
int os_write_all(int fd, const void *data, size_t n);
/* Opens /dev/null for each of the descriptors 0 to 2 that is closed, so that no later one takes its place.
 * First thing in main. */
void os_open_standard_fds(void);
/* Directory the running executable is in; caller frees. NULL when unknown. */
char *os_exe_dir(void);
/* Path of a program that belongs to the running one: beside it, else in ../libexec/openshell seen from there.
 * Caller frees. When it is in neither place, the path beside is returned. */
char *os_program_path(const char *name);

#endif
