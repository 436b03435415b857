/* A copy of the host's /etc: see etc.h. */
#include "drivers/local/etc.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "sys/file.h"

static const char *const own[] = {"/etc/passwd",     "/etc/group",     "/etc/passwd-",
                                  "/etc/group-",     "/etc/subuid*",   "/etc/subgid*",
                                  "/etc/hosts",      "/etc/hostname",  "/etc/resolv.conf",
                                  "/etc/machine-id", "/etc/openshell", "/etc/openshell-tls"};

struct copy {
    const struct local_settings *cfg;
    const char *const *hidden;
    size_t n;
    const char *to;
    size_t left; /* bytes that may still be copied */
};

static bool left_out(const struct copy *c, const char *path)
{
    for (size_t i = 0; i < c->n; i++)
        if (fnmatch(c->hidden[i], path, FNM_PATHNAME) == 0)
            return true;
    for (size_t i = 0; i < OS_ARRAY_LEN(own); i++)
        if (fnmatch(own[i], path, FNM_PATHNAME) == 0)
            return true;
    return os_strv_has(&c->cfg->mask, path);
}

/* What cannot be read is not there for a sandbox either. */
static int copy_file(struct copy *c, const char *from, const char *to, mode_t mode, struct os_error *err)
{
    cleanup_buf struct os_buf b = {0};
    if (os_file_read(from, c->left, &b, NULL) < 0)
        return 0;
    c->left -= b.len;
    cleanup_close int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || os_write_all(fd, os_buf_str(&b), b.len) < 0 || fchmod(fd, mode & 0777) < 0)
        return os_error_sys(err, errno, "cannot write '%s'", to);
    return 0;
}

static int copy_entry(struct copy *c, FTS *tree, FTSENT *e, struct os_error *err)
{
    char target[4096];
    cleanup_free char *to = os_asprintf("%s%s", c->to, e->fts_path + strlen("/etc"));
    if (e->fts_info == FTS_DP)
        return 0;
    if (left_out(c, e->fts_path)) {
        fts_set(tree, e, FTS_SKIP);
        return 0;
    }
    if (e->fts_info == FTS_F)
        return copy_file(c, e->fts_path, to, e->fts_statp->st_mode, err);
    if (e->fts_info == FTS_D)
        return mkdir(to, (e->fts_statp->st_mode & 0755) | 0700) < 0 && errno != EEXIST
                   ? os_error_sys(err, errno, "cannot create directory '%s'", to)
                   : 0;
    bool link = e->fts_info == FTS_SL || e->fts_info == FTS_SLNONE;
    ssize_t n = link ? readlink(e->fts_path, target, sizeof(target) - 1) : -1;
    if (n <= 0)
        return 0;
    target[n] = '\0';
    return symlink(target, to) < 0 ? os_error_sys(err, errno, "cannot create link '%s'", to) : 0;
}

int etc_copy(const struct local_settings *cfg, const char *const *hidden, size_t n, const char *to,
             struct os_error *err)
{
    char *const roots[] = {(char *)"/etc", NULL};
    struct copy c = {cfg, hidden, n, to, OS_LOCAL_ETC};
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    int rc = tree ? 0 : os_error_sys(err, errno, "cannot read '/etc'");
    for (FTSENT *e; rc == 0 && (e = fts_read(tree));)
        rc = copy_entry(&c, tree, e, err);
    if (tree)
        fts_close(tree);
    return rc;
}
