/* The agent's identity in the image: passwd, group, and what belongs to it. */
#include "supervisor/monitor/account.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "sys/file.h"

#define PASSWD "/etc/passwd"
#define GROUP "/etc/group"
#define FILE_MAX ((size_t)1 << 20) /* spec/supervisor.md 7.1 */
#define ID_MAX 4294967294u
#define PASSWD_FIELDS 7

static bool is_ours(const char *line)
{
    return os_str_starts(line, ACCOUNT_NAME ":");
}

static void add_field(struct os_buf *out, const char *text)
{
    os_buf_addc(out, ':');
    os_buf_adds(out, text);
}

/* Field i of a split line, or a default. */
static const char *field(const struct os_strv *f, size_t i, const char *otherwise)
{
    return i < f->n ? f->v[i] : otherwise;
}

static void put_passwd(const struct os_strv *f, uid_t uid, gid_t gid, struct os_buf *out)
{
    os_buf_adds(out, ACCOUNT_NAME);
    add_field(out, field(f, 1, "x"));
    os_buf_addf(out, ":%u:%u", uid, gid);
    add_field(out, field(f, 4, ""));
    add_field(out, field(f, 5, "/sandbox"));
    add_field(out, field(f, 6, "/bin/sh"));
    os_buf_addc(out, '\n');
}

static void put_group(const struct os_strv *f, gid_t gid, struct os_buf *out)
{
    os_buf_adds(out, ACCOUNT_NAME);
    add_field(out, field(f, 1, "x"));
    os_buf_addf(out, ":%u", gid);
    add_field(out, field(f, 3, ""));
    os_buf_addc(out, '\n');
}

static void set(const char *text, bool passwd, uid_t uid, gid_t gid, struct os_buf *out)
{
    struct os_strv cleanup_strv lines = {0};
    os_strv_split(&lines, text, '\n');
    if (lines.n && lines.v[lines.n - 1][0] == '\0')
        free(lines.v[--lines.n]);
    bool done = false;
    for (size_t i = 0; i < lines.n; i++) {
        if (!is_ours(lines.v[i])) {
            os_buf_addf(out, "%s\n", lines.v[i]);
            continue;
        }
        if (done) /* a second line of the name would make it ambiguous */
            continue;
        struct os_strv cleanup_strv f = {0};
        os_strv_split(&f, lines.v[i], ':');
        passwd ? put_passwd(&f, uid, gid, out) : put_group(&f, gid, out);
        done = true;
    }
    const struct os_strv none = {0};
    if (!done)
        passwd ? put_passwd(&none, uid, gid, out) : put_group(&none, gid, out);
}

void account_passwd_set(const char *text, uid_t uid, gid_t gid, struct os_buf *out)
{
    set(text, true, uid, gid, out);
}

void account_group_set(const char *text, gid_t gid, struct os_buf *out)
{
    set(text, false, 0, gid, out);
}

int account_passwd_find(const char *text, uid_t *uid, gid_t *gid, struct os_error *err)
{
    struct os_strv cleanup_strv lines = {0};
    os_strv_split(&lines, text, '\n');
    bool found = false;
    for (size_t i = 0; i < lines.n; i++) {
        if (!is_ours(lines.v[i]))
            continue;
        if (found)
            return os_error_set(err, OS_INVALID_ARGUMENT, "account identity is ambiguous in '" PASSWD "'");
        struct os_strv cleanup_strv f = {0};
        os_strv_split(&f, lines.v[i], ':');
        uint64_t u, g;
        if (f.n != PASSWD_FIELDS || !os_str_u64(f.v[2], ID_MAX, &u) || !os_str_u64(f.v[3], ID_MAX, &g))
            return os_error_set(err, OS_INVALID_ARGUMENT,
                                "the '" ACCOUNT_NAME "' line of '" PASSWD "' is malformed");
        if (u == 0 || g == 0)
            return os_error_set(err, OS_INVALID_ARGUMENT,
                                "user '" ACCOUNT_NAME "' resolves to prohibited UID or GID 0");
        *uid = (uid_t)u;
        *gid = (gid_t)g;
        found = true;
    }
    return found ? 0
                 : os_error_set(
                       err, OS_NOT_FOUND,
                       "explicit process user '" ACCOUNT_NAME
                       "' was not found in the image; set OPENSHELL_SANDBOX_UID and OPENSHELL_SANDBOX_GID");
}

static int read_file(const char *path, struct os_buf *out, struct os_error *err)
{
    struct os_error cleanup_error why = {0};
    if (os_file_read(path, FILE_MAX, out, &why) == 0 || why.sys_errno == ENOENT)
        return 0;
    os_error_move(err, &why);
    return -1;
}

/* A file that is itself a mount cannot be replaced, only rewritten. */
static int write_file(const char *path, const struct os_buf *text, struct os_error *err)
{
    struct os_error cleanup_error why = {0};
    if (text->failed)
        return os_error_set(err, OS_RESOURCE_EXHAUSTED, "'%s' is too large", path);
    if (os_file_write_atomic(path, text->data, text->len, 0644, &why) == 0)
        return 0;
    if (why.sys_errno != EBUSY && why.sys_errno != EXDEV) {
        os_error_move(err, &why);
        return -1;
    }
    cleanup_close int fd = open(path, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || os_write_all(fd, text->data, text->len) < 0)
        return os_error_sys(err, errno, "cannot write '%s'", path);
    return 0;
}

int account_install(uid_t uid, gid_t gid, struct os_error *err)
{
    struct os_buf cleanup_buf passwd = {.max = FILE_MAX}, group = {.max = FILE_MAX};
    struct os_buf cleanup_buf new_passwd = {.max = 2 * FILE_MAX}, new_group = {.max = 2 * FILE_MAX};
    if (read_file(PASSWD, &passwd, err) < 0 || read_file(GROUP, &group, err) < 0)
        return -1;
    account_passwd_set(os_buf_str(&passwd), uid, gid, &new_passwd);
    account_group_set(os_buf_str(&group), gid, &new_group);
    /* Unchanged files are left alone: a root that is read-only but already right is fine. */
    if (strcmp(os_buf_str(&passwd), os_buf_str(&new_passwd)) != 0 && write_file(PASSWD, &new_passwd, err) < 0)
        return -1;
    if (strcmp(os_buf_str(&group), os_buf_str(&new_group)) != 0 && write_file(GROUP, &new_group, err) < 0)
        return -1;
    return 0;
}

int account_lookup(uid_t *uid, gid_t *gid, struct os_error *err)
{
    struct os_buf cleanup_buf passwd = {.max = FILE_MAX};
    if (read_file(PASSWD, &passwd, err) < 0)
        return -1;
    return account_passwd_find(os_buf_str(&passwd), uid, gid, err);
}

/* What is mounted in the tree is somebody else's: a directory of the machine that a user gave to the sandbox
 * keeps its owners, also when it lies in the same file system. */
static bool is_mount(const char *path)
{
    struct statx st;
    return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &st) < 0 ||
           (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

int account_own_tree(const char *path, uid_t uid, gid_t gid, struct os_error *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : os_error_sys(err, errno, "cannot stat '%s'", path);
    if (S_ISLNK(st.st_mode))
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "'%s' is a symlink: refusing to give it to the agent", path);
    if (st.st_uid == uid && st.st_gid == gid)
        return 0;
    char *const roots[] = {(char *)path, NULL};
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL);
    if (!tree)
        return os_error_sys(err, errno, "cannot walk '%s'", path);
    int result = 0;
    for (FTSENT *e; result == 0 && (e = fts_read(tree));) {
        if (e->fts_level > 0 && is_mount(e->fts_accpath)) {
            fts_set(tree, e, FTS_SKIP);
            continue;
        }
        /* Directories after their contents: a walk that was cut short is done again. */
        bool due = e->fts_info != FTS_D && e->fts_info != FTS_SL && e->fts_info != FTS_SLNONE;
        if (due && lchown(e->fts_accpath, uid, gid) < 0 && errno != EROFS && errno != ENOENT)
            result = os_error_sys(err, errno, "cannot give '%s' to the agent", e->fts_path);
    }
    fts_close(tree);
    return result;
}
