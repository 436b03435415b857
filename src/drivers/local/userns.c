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

#define IDS_NEEDED 65536u /* all ids that images and the machine's own files use */
#define FILE_MAX ((size_t)4 << 20)
#define KNOB                                                                                                 \
    "; install the package uidmap and run, as root: usermod --add-subuids 100000-165535 --add-subgids "      \
    "100000-165535 %s (or run the gateway as root)"

bool userns_parse(const char *text, const char *name, uid_t uid, uint32_t need, uint32_t *start, uint32_t *n)
{
    cleanup_strv struct os_strv lines = {0};
    cleanup_free char *number = os_asprintf("%u", uid);
    os_strv_split(&lines, text, '\n');
    for (size_t i = 0; i < lines.n; i++) {
        cleanup_strv struct os_strv f = {0};
        uint64_t first, count;
        os_strv_split(&f, lines.v[i], ':');
        if (f.n == 3 && ((*name && strcmp(f.v[0], name) == 0) || strcmp(f.v[0], number) == 0) &&
            os_str_u64(f.v[1], UINT32_MAX - 1, &first) && os_str_u64(f.v[2], UINT32_MAX - 1, &count) &&
            first > 0 && count >= need && first + count < UINT32_MAX) {
            *start = (uint32_t)first;
            *n = (uint32_t)count;
            return true;
        }
    }
    return false;
}

static void user_name(uid_t uid, char **out)
{
    cleanup_buf struct os_buf b = {0};
    cleanup_strv struct os_strv lines = {0};
    *out = os_asprintf("%u", uid);
    if (os_file_read("/etc/passwd", FILE_MAX, &b, NULL) < 0)
        return;
    os_strv_split(&lines, os_buf_str(&b), '\n');
    for (size_t i = 0; i < lines.n; i++) {
        cleanup_strv struct os_strv f = {0};
        uint64_t v;
        os_strv_split(&f, lines.v[i], ':');
        if (f.n < 4 || !os_str_u64(f.v[2], UINT32_MAX, &v) || v != uid)
            continue;
        free(*out);
        *out = os_strdup(f.v[0]);
        return;
    }
}

static int find_ids(const char *file, const char *user, uid_t uid, uint32_t *start, uint32_t *n,
                    struct os_error *err)
{
    cleanup_buf struct os_buf b = {0};
    if (os_file_exists(file) && os_file_read(file, FILE_MAX, &b, err) < 0)
        return -1;
    if (userns_parse(os_buf_str(&b), user, uid, IDS_NEEDED, start, n))
        return 0;
    return os_error_set(
        err, OS_FAILED_PRECONDITION,
        "the local driver runs as user '%s', which has no %u subordinate ids in %s to tell agent "
        "and supervisor apart" KNOB,
        user, IDS_NEEDED, file, user);
}

static char *helper(const char *name)
{
    static const char *const dirs[] = {"/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"};
    for (size_t i = 0; i < OS_ARRAY_LEN(dirs); i++) {
        cleanup_free char *path = os_asprintf("%s/%s", dirs[i], name);
        if (access(path, X_OK) == 0)
            return os_steal(path);
    }
    return NULL;
}

int userns_find(struct local_userns *out, struct os_error *err)
{
    *out = (struct local_userns){.uid = geteuid(), .gid = getegid()};
    if (out->uid == 0)
        return 0;
    cleanup_free char *user = NULL, *uidmap = helper("newuidmap"), *gidmap = helper("newgidmap");
    user_name(out->uid, &user);
    if (!uidmap || !gidmap)
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "the local driver runs as user '%s' and needs the programs newuidmap and "
                            "newgidmap" KNOB,
                            user, user);
    out->on = true;
    return find_ids("/etc/subuid", user, out->uid, &out->sub_uid, &out->sub_uids, err) < 0
               ? -1
               : find_ids("/etc/subgid", user, out->uid, &out->sub_gid, &out->sub_gids, err);
}

/* --- one namespace --- */

/* <helper> <pid> 0 <id> 1 1 <start> <count> */
static int map(const char *name, pid_t pid, uint32_t id, uint32_t start, uint32_t n, struct os_error *err)
{
    cleanup_free char *program = helper(name), *p = os_asprintf("%d", (int)pid), *own = os_asprintf("%u", id);
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
