/* The subordinate ids of the gateway's user: see subids.h. */
#include "sys/subids.h"

#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/str.h"
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

char *subids_helper(const char *name)
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
    cleanup_free char *user = NULL, *uidmap = subids_helper("newuidmap"),
                      *gidmap = subids_helper("newgidmap");
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
