/* Landlock: ruleset from paths (privileged, before the fork) and its enforcement (in the child). */
#include "supervisor/isolation/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "supervisor/isolation/implied.h"
#include "supervisor/isolation/plan.h"

#define LOG_TARGET "supervisor::landlock"

#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON
#define LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON (1U << 1) /* ABI 7 */
#endif

#define ACCESS_V1 (LANDLOCK_ACCESS_FS_REFER - 1) /* the 13 rights of ABI 1 */
#define ACCESS_READ (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define ACCESS_FILE                                                                                          \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |             \
     LANDLOCK_ACCESS_FS_TRUNCATE)

static uint64_t handled_rights(int abi)
{
    uint64_t rights = ACCESS_V1;
    if (abi >= 2)
        rights |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        rights |= LANDLOCK_ACCESS_FS_TRUNCATE; /* without it a read-only file can be emptied */
    return rights;
}

static const char *probe_text(int error, char *out, size_t n)
{
    switch (error) {
    case ENOSYS:
        return "not implemented (kernel lacks CONFIG_SECURITY_LANDLOCK)";
    case EOPNOTSUPP:
        return "not enabled (Landlock built into kernel but not in active LSM list)";
    case EPERM:
        return "blocked (container seccomp profile denies Landlock syscalls)";
    default:
        snprintf(out, n, "unexpected probe error (errno %d)", error);
        return out;
    }
}

static const char *path_text(int error)
{
    switch (error) {
    case ENOENT:
        return "path does not exist";
    case EACCES:
    case EPERM:
        return "permission denied";
    case ELOOP:
        return "too many symlink levels";
    case ENAMETOOLONG:
        return "path name too long";
    case ENOTDIR:
        return "path component is not a directory";
    default:
        return "unexpected error";
    }
}

/* errno of the refusal, 0 = fine. No agent process runs yet, so nothing changes underneath. */
static int check_links(const char *path, uid_t agent)
{
    char prefix[PATH_MAX];
    size_t n = strlen(path);
    if (n >= sizeof(prefix))
        return ENAMETOOLONG;
    memcpy(prefix, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (prefix[i] != '/' && prefix[i] != '\0')
            continue;
        char held = prefix[i];
        prefix[i] = '\0';
        struct stat st;
        if (lstat(prefix, &st) < 0)
            return errno;
        if (S_ISLNK(st.st_mode) && st.st_uid == agent)
            return EPERM;
        prefix[i] = held;
    }
    return 0;
}

static int add_path(int ruleset, const char *path, uid_t agent, uint64_t access, bool *opened)
{
    *opened = false;
    int bad = check_links(path, agent);
    if (bad)
        return bad;
    cleanup_close int fd = open(path, O_PATH | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return errno;
    *opened = true;
    if (!S_ISDIR(st.st_mode))
        access &= ACCESS_FILE;
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
        return errno;
    return 0;
}

static int unavailable(const struct isolation_paths *p, struct isolation_ruleset *out, const char *why,
                       struct os_error *err)
{
    snprintf(out->why, sizeof(out->why), "%s", why);
    if (p->hard_requirement)
        return os_error_set(err, OS_FAILED_PRECONDITION, "Landlock unavailable in hard_requirement mode: %s",
                            why);
    return 0;
}

/* 1 = go on, 0 = stop without Landlock, -1 = *err. */
static int add_paths(const struct isolation_paths *p, int ruleset, const char *const *paths, size_t n,
                     uint64_t access, struct isolation_ruleset *out, struct os_error *err)
{
    for (size_t i = 0; i < n; i++) {
        bool opened;
        int bad = add_path(ruleset, paths[i], p->agent, access, &opened);
        if (!bad) {
            out->rules++;
            continue;
        }
        if (opened) {
            char why[sizeof(out->why)];
            snprintf(why, sizeof(why), "cannot add a rule (errno %d)", bad);
            return unavailable(p, out, why, err);
        }
        if (p->hard_requirement)
            return os_error_set(err, OS_FAILED_PRECONDITION,
                                "Landlock path unavailable in hard_requirement mode: %s (%s): %s", paths[i],
                                path_text(bad), strerror(bad));
        out->skipped++;
        if (bad == ENOENT)
            os_log_debug(LOG_TARGET, "skipping missing Landlock path %s", paths[i]);
        else
            os_log_warn(LOG_TARGET, "Skipping inaccessible Landlock path (best-effort) [path:%s error:%s]",
                        paths[i], path_text(bad));
    }
    return 1;
}

/* Named by us, not by the policy: the link to it may be one of the kernel's. Without it only that program is
 * missing to the agent. */
static void add_program(int ruleset, const char *program)
{
    cleanup_close int fd = program ? open(program, O_PATH | O_CLOEXEC) : -1;
    struct landlock_path_beneath_attr rule = {
        .allowed_access = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE, .parent_fd = fd};
    if (program &&
        (fd < 0 || syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0))
        os_log_warn(LOG_TARGET, "the agent cannot run '%s': errno %d", program, errno);
}

int isolation_landlock_prepare(const struct isolation_paths *p, struct isolation_ruleset *out,
                               struct os_error *err)
{
    *out = (struct isolation_ruleset){.fd = -1};
    char text[64];
    int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    int probe = errno;
    if (abi > 0)
        out->abi = abi;
    if (p->n_read_only + p->n_read_write == 0)
        return 0; /* no paths at all: the file system is not restricted */
    if (abi <= 0)
        return unavailable(p, out, probe_text(probe, text, sizeof(text)), err);
    if (abi == 1 && p->hard_requirement)
        return unavailable(p, out, "the kernel's ABI 1 cannot restrict renames across directories", err);
    uint64_t handled = handled_rights(abi);
    struct landlock_ruleset_attr attr = {.handled_access_fs = handled};
    cleanup_close int fd =
        (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr.handled_access_fs), 0);
    if (fd < 0) {
        snprintf(text, sizeof(text), "cannot create a ruleset (errno %d)", errno);
        return unavailable(p, out, text, err);
    }
    int r = add_paths(p, fd, p->read_only, p->n_read_only, ACCESS_READ, out, err);
    if (r == 1)
        r = add_paths(p, fd, p->read_write, p->n_read_write, handled, out, err);
    if (r <= 0)
        return r;
    if (out->rules == 0) { /* an empty ruleset would deny everything, exec included */
        if (p->hard_requirement)
            return os_error_set(
                err, OS_FAILED_PRECONDITION,
                "Landlock ruleset has zero valid paths (hard_requirement): none of the %u listed "
                "paths can be opened",
                out->skipped);
        snprintf(out->why, sizeof(out->why), "none of the listed paths can be opened");
        return 0;
    }
    add_program(fd, p->program);
    isolation_implied(fd, p, ACCESS_READ, handled);
    out->fd = os_steal_fd(fd);
    return 0;
}

int isolation_landlock(const struct isolation *i)
{
    if (i->landlock < 0)
        return i->landlock_required ? EPERM : 0;
    /* The machine's audit log may have what programs are denied, not only this one before its exec. Kernels
     * that make no such records refuse the flag. */
    if (syscall(SYS_landlock_restrict_self, i->landlock, LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON) == 0)
        return 0;
    if (errno == EINVAL && syscall(SYS_landlock_restrict_self, i->landlock, 0) == 0)
        return 0;
    return errno;
}
