/* Before the first child: the directories the policy promises, and the Landlock ruleset over them. Runs
 * privileged while no process of the agent exists, so nothing changes underneath; what an earlier run of the
 * agent left behind (links of its own) is not followed. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/str.h"
#include "supervisor/monitor/internal.h"

#define MANAGED_WORKDIR "/sandbox"

static int refuse_link(const char *path, const char *at, struct os_error *err)
{
    if (strcmp(path, at) == 0)
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "read_write path '%s' is a symlink — refusing to chown (potential privilege escalation)", path);
    return os_error_set(
        err, OS_FAILED_PRECONDITION,
        "read_write path '%s' leads through '%s', a symlink made by the agent; remove the link", path, at);
}

/* mkdir -p as the agent's; what exists keeps owner and mode. created: the last component was made here. */
static int make_directory(const struct monitor *m, const char *path, bool *created, struct os_error *err)
{
    char at[PATH_MAX];
    size_t n = strlen(path);
    if (n >= sizeof(at))
        return os_error_set(err, OS_INVALID_ARGUMENT, "policy path '%.60s...' is longer than %zu bytes", path,
                            sizeof(at) - 1);
    memcpy(at, path, n + 1);
    while (n > 1 && at[n - 1] == '/')
        at[--n] = '\0';
    *created = false;
    for (size_t i = 1; i <= n; i++) {
        if (at[i] != '/' && at[i] != '\0')
            continue;
        char held = at[i];
        at[i] = '\0';
        struct stat st;
        *created = false;
        if (lstat(at, &st) == 0) {
            if (S_ISLNK(st.st_mode) && (held == '\0' || st.st_uid == m->cfg->agent_uid))
                return refuse_link(path, at, err);
        } else if (errno != ENOENT || mkdir(at, 0755) < 0) {
            return os_error_sys(err, errno, "cannot make the directory '%s' of the policy", at);
        } else if (lchown(at, m->cfg->agent_uid, m->cfg->agent_gid) < 0) {
            return os_error_sys(err, errno, "cannot give the directory '%s' to the agent", at);
        } else {
            *created = true;
        }
        at[i] = held;
    }
    return 0;
}

/* The managed workspace is ours to make and the agent's to own. */
static int prepare_workdir(const struct monitor *m, const char *workdir, struct os_error *err)
{
    bool created;
    if (strcmp(workdir, MANAGED_WORKDIR) == 0 && make_directory(m, workdir, &created, err) < 0)
        return -1;
    struct stat st;
    if (lstat(workdir, &st) < 0)
        return os_error_sys(err, errno, "image workspace validation failed: %s", workdir);
    if (!S_ISDIR(st.st_mode))
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "image workspace validation failed: %s is not a directory", workdir);
    if (strcmp(workdir, MANAGED_WORKDIR) != 0)
        return 0;
    if (st.st_uid != m->cfg->agent_uid && lchown(workdir, m->cfg->agent_uid, m->cfg->agent_gid) < 0)
        return os_error_sys(err, errno, "cannot give %s to the agent", workdir);
    if ((st.st_mode & 0300) != 0300 && chmod(workdir, (st.st_mode & 07777) | 0300) < 0)
        return os_error_sys(err, errno, "cannot make %s writable", workdir);
    return 0;
}

int monitor_prepare(struct monitor *m, const struct protocol_request *r, struct os_error *err)
{
    if (m->isolated)
        return os_error_set(err, OS_FAILED_PRECONDITION, "the isolation of this sandbox is already set");
    if (r->isolate.workdir[0] && prepare_workdir(m, r->isolate.workdir, err) < 0)
        return -1;
    for (size_t i = 0; i < r->isolate.read_write.n; i++) {
        bool created;
        struct stat st;
        const char *path = r->isolate.read_write.v[i];
        if (lstat(path, &st) == 0 && !S_ISLNK(st.st_mode) && !S_ISDIR(st.st_mode))
            continue; /* a file or device that exists */
        if (make_directory(m, path, &created, err) < 0)
            return -1;
    }
    struct isolation_paths paths = {
        .read_only = r->isolate.read_only.v,
        .n_read_only = r->isolate.read_only.n,
        .read_write = r->isolate.read_write.v,
        .n_read_write = r->isolate.read_write.n,
        .hard_requirement = r->isolate.hard_requirement,
        .agent = m->cfg->agent_uid,
        .program = "/proc/self/exe", /* our SFTP server */
    };
    if (isolation_landlock_prepare(&paths, &m->landlock, err) < 0)
        return -1;
    m->landlock_required = paths.hard_requirement && paths.n_read_only + paths.n_read_write > 0;
    if (monitor_selftest(m, &paths, &m->tried, err) < 0)
        return -1;
    m->workdir = r->isolate.workdir[0] ? os_strdup(r->isolate.workdir) : NULL;
    m->isolated = true;
    return 0;
}
