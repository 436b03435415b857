/* Where the policy agent's program is. */
#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "supervisor/rules/rules.h"

/* In a user namespace root of the machine is nobody: there a driver that named the program has bound it where
 * nothing in the sandbox can write. */
static bool unwritable(const char *path)
{
    struct statvfs fs;
    return statvfs(path, &fs) == 0 && (fs.f_flag & ST_RDONLY);
}

const char *rules_find_opa(const char *path, struct os_error *err)
{
    bool named = path != NULL;
    static const char *const places[] = {"/opt/openshell/bin/opa", "/usr/local/bin/opa", "/usr/bin/opa"};
    for (size_t i = 0; !path && i < OS_ARRAY_LEN(places); i++)
        if (access(places[i], X_OK) == 0)
            path = places[i];
    struct stat st;
    if (!path)
        os_error_set(err, OS_NOT_FOUND,
                     "--policy-rules needs Open Policy Agent, and neither %s nor %s nor %s is there; install "
                     "opa or name it with --opa-path",
                     places[0], places[1], places[2]);
    else if (path[0] != '/' || stat(path, &st) < 0 || !S_ISREG(st.st_mode) || access(path, X_OK) < 0)
        os_error_set(err, OS_NOT_FOUND, "--opa-path '%s' is not the absolute path of a program", path);
    else if ((st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH))) && !(named && unwritable(path)))
        os_error_set(
            err, OS_PERMISSION_DENIED,
            "--opa-path '%s' must belong to root, and nobody else may write it, or be on a read-only "
            "mount",
            path);
    else
        return path;
    return NULL;
}
