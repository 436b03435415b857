/* The local driver as an ordinary user: see userns.h. */
#include "drivers/local/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "drivers/local/launch.h"
#include "drivers/local/launcher/plan.h"
#include "drivers/local/tree.h"
#include "sys/file.h"

/* --- one namespace --- */

/* <helper> <pid> 0 <id> 1 1 <start> <count> */
static int map(const char *name, pid_t pid, uint32_t id, uint32_t start, uint32_t n, struct os_error *err)
{
    cleanup_free char *program = subids_helper(name), *p = os_asprintf("%d", (int)pid),
                      *own = os_asprintf("%u", id);
    cleanup_free char *first = os_asprintf("%u", start), *count = os_asprintf("%u", n);
    char *const argv[] = {(char *)name, p, (char *)"0", own, (char *)"1", (char *)"1", first, count, NULL};
    char *const env[] = {NULL};
    pid_t child;
    int status = 0, rc = program ? posix_spawn(&child, program, NULL, NULL, argv, env) : ENOENT;
    while (rc == 0 && waitpid(child, &status, 0) < 0)
        rc = errno == EINTR ? 0 : errno;
    if (rc)
        return os_error_sys(err, rc, "cannot run %s", name);
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "%s cannot give a user namespace the ids %u-%u: it has to be set-uid root, and /etc/sub%cid "
            "has to list them for user %u",
            name, start, start + n - 1, name[3], geteuid());
    return 0;
}

int userns_map(const struct local_userns *u, pid_t pid, struct os_error *err)
{
    return map("newuidmap", pid, u->uid, u->sub_uid, u->sub_uids, err) < 0
               ? -1
               : map("newgidmap", pid, u->gid, u->sub_gid, u->sub_gids, err);
}

int userns_run(const struct local_settings *cfg, const char *const *words, struct os_error *err)
{
    struct launch l;
    char text[LAUNCH_ERROR_MAX + 1] = "";
    cleanup_buf struct os_buf plan = {0};
    os_buf_add(&plan, "user", sizeof("user"));
    for (; *words; words++)
        os_buf_add(&plan, *words, strlen(*words) + 1);
    cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (launch_begin(cfg, &plan, null, NULL, &l, err) < 0)
        return -1;
    launch_wait_end(l.pidfd, -1);
    ssize_t n = recv(l.control, text, sizeof(text) - 1, MSG_DONTWAIT);
    int status = launch_collect(l.pidfd);
    close(l.pidfd);
    close(l.control);
    if (status == 0)
        return 0;
    return os_error_set(err, OS_INTERNAL, "%s", n > 0 ? text : "the launcher ended unexpectedly");
}

int userns_remove(const struct local_settings *cfg, const char *dir, const char *name, struct os_error *err)
{
    const char *const words[] = {"remove", dir, name, NULL};
    return cfg->userns.on ? userns_run(cfg, words, err) : tree_remove(dir, name, err);
}
