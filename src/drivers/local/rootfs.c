/* What a sandbox runs over: see rootfs.h. */
#include "drivers/local/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "drivers/local/environ.h"
#include "drivers/local/launcher/inside.h"

#define DIR_PREFIX "dir:"
#define OCI_PREFIX "oci:"
#define ACCOUNTS_MAX ((size_t)4 << 20)

static bool below(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && (path[n] == '/' || !path[n]);
}

/* --- reference --- */

/* The path of the machine a reference names, resolved; NULL with *err. */
static char *resolve(const struct local_settings *cfg, const char *path, struct os_error *err)
{
    if (*path != '/') {
        os_error_set(err, OS_INVALID_ARGUMENT, "image path '%.256s' must be absolute", path);
        return NULL;
    }
    cleanup_free char *real = realpath(path, NULL);
    if (!real) {
        os_error_set(err, OS_FAILED_PRECONDITION,
                     "cannot use image path '%.256s' on the gateway's machine: %s", path, strerror(errno));
        return NULL;
    }
    bool allowed = !cfg->image_dirs_set;
    for (size_t i = 0; i < cfg->image_dirs.n; i++)
        allowed = allowed || below(real, cfg->image_dirs.v[i]);
    if (!allowed) {
        os_error_set(err, OS_FAILED_PRECONDITION,
                     "image path '%.256s' is not in one of the directories the operator allows "
                     "(OPENSHELL_LOCAL_IMAGE_DIRS of the gateway)",
                     path);
        return NULL;
    }
    for (size_t i = 0; i < cfg->mask.n; i++)
        if (below(real, cfg->mask.v[i]) || below(cfg->mask.v[i], real)) {
            os_error_set(err, OS_FAILED_PRECONDITION,
                         "image path '%.256s' overlaps with '%s', which is hidden from sandboxes", path,
                         cfg->mask.v[i]);
            return NULL;
        }
    return os_steal(real);
}

static char *resolve_dir(const struct local_settings *cfg, const char *path, struct os_error *err)
{
    struct stat st;
    cleanup_free char *real = resolve(cfg, path, err);
    if (!real)
        return NULL;
    if (!real[1] || stat(real, &st) < 0 || !S_ISDIR(st.st_mode)) {
        os_error_set(err, OS_FAILED_PRECONDITION,
                     real[1] ? "'%.256s' is not a directory"
                             : "'%.256s' is the machine's own root; use \"host\"",
                     path);
        return NULL;
    }
    return os_steal(real);
}

/* "PATH" or "PATH:NAME": an existing path is taken as it is. *name points into the reference. */
static char *resolve_oci(const struct local_settings *cfg, const char *text, const char **name,
                         struct os_error *err)
{
    const char *slash = strrchr(text, '/'), *colon = slash ? strchr(slash, ':') : NULL;
    *name = "";
    if (!colon || access(text, F_OK) == 0)
        return resolve(cfg, text, err);
    cleanup_free char *path = os_strndup(text, (size_t)(colon - text));
    *name = colon + 1;
    return resolve(cfg, path, err);
}

static bool is_host(const char *reference)
{
    return !*reference || strcmp(reference, "host") == 0;
}

int rootfs_check(const struct local_settings *cfg, const char *reference, struct os_error *err)
{
    const char *name;
    char *path;
    if (is_host(reference))
        return 0;
    if (os_str_starts(reference, DIR_PREFIX))
        path = resolve_dir(cfg, reference + strlen(DIR_PREFIX), err);
    else if (os_str_starts(reference, OCI_PREFIX))
        path = resolve_oci(cfg, reference + strlen(OCI_PREFIX), &name, err);
    else
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "local compute driver cannot run image '%.256s': it pulls nothing; use \"host\" for "
            "the machine's own system, \"dir:PATH\" for a directory, or \"oci:PATH\" for an OCI "
            "image layout or archive",
            reference);
    free(path);
    return path ? 0 : -1;
}

/* --- image --- */

static void read_inside(int root, const char *path, struct os_buf *out)
{
    cleanup_close int fd = inside_open(root, path, O_RDONLY | O_NONBLOCK);
    char chunk[16384];
    out->max = ACCOUNTS_MAX;
    for (ssize_t n; fd >= 0 && (n = read(fd, chunk, sizeof(chunk))) > 0;)
        os_buf_add(out, chunk, (size_t)n);
}

/* An image that wants to be root, or says nothing, gets the driver's own identity for agents. */
static int set_identity(const struct local_settings *cfg, struct rootfs *r, struct os_error *err)
{
    uint32_t uid, gid;
    cleanup_buf struct os_buf passwd = {0}, group = {0};
    cleanup_close int root = open(r->lower, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return os_error_sys(err, errno, "cannot open '%s'", r->lower);
    read_inside(root, "etc/passwd", &passwd);
    read_inside(root, "etc/group", &group);
    if (image_user_resolve(r->config.user, os_buf_str(&passwd), os_buf_str(&group), &uid, &gid, err) < 0)
        return -1;
    if (uid && gid) {
        r->uid = uid;
        r->gid = gid;
    }
    if (r->uid == cfg->worker_uid || r->gid == cfg->worker_uid)
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "the image wants to run as %u:%u, which is the identity of the supervisor's worker", r->uid,
            r->gid);
    return 0;
}

/* Reserved for the runtime or for the kernel (spec/drivers.md 3.1). */
static int check_workdir(const struct rootfs *r, struct os_error *err)
{
    static const char *const reserved[] = {"/opt/openshell",
                                           "/etc/openshell",
                                           "/etc/openshell-tls",
                                           "/run",
                                           "/var/run/netns",
                                           "/proc",
                                           "/sys",
                                           "/dev"};
    const char *dir = r->config.workdir;
    if (!dir || !*dir)
        return 0;
    if (*dir != '/' || strstr(dir, "/../") || os_str_ends(dir, "/.."))
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "the image's WorkingDir '%.256s' must be an absolute path without '..'", dir);
    for (size_t i = 0; i < OS_ARRAY_LEN(reserved); i++)
        if (below(dir, reserved[i]))
            return os_error_set(err, OS_FAILED_PRECONDITION,
                                "OCI WorkingDir '%.256s' conflicts with OpenShell control path '%s'", dir,
                                reserved[i]);
    return 0;
}

static int open_image(const struct local_settings *cfg, const struct images *images, struct rootfs *r,
                      struct os_error *err)
{
    r->lower = images_root(images, r->digest);
    return images_config(images, r->digest, &r->config, err) < 0 || set_identity(cfg, r, err) < 0
               ? -1
               : check_workdir(r, err);
}

static void rootfs_init(const struct local_settings *cfg, struct rootfs *r)
{
    *r = (struct rootfs){.uid = cfg->agent_uid, .gid = cfg->agent_uid};
}

static int acquire_image(const struct local_settings *cfg, struct images *images, const char *text,
                         struct rootfs *out, struct os_error *err)
{
    const char *name;
    cleanup_free char *path = resolve_oci(cfg, text, &name, err);
    if (!path || images_acquire(images, path, name, out->digest, err) < 0) {
        out->digest[0] = '\0';
        if (err && err->code == OS_DATA_LOSS)
            err->code = OS_FAILED_PRECONDITION;
        return path ? os_error_wrap(err, "image '%s'", path) : -1;
    }
    if (open_image(cfg, images, out, err) == 0)
        return 0;
    images_release(images, out->digest);
    return -1;
}

int rootfs_acquire(const struct local_settings *cfg, struct images *images, const char *reference,
                   struct rootfs *out, struct os_error *err)
{
    rootfs_init(cfg, out);
    if (is_host(reference))
        return 0;
    if (os_str_starts(reference, OCI_PREFIX))
        return acquire_image(cfg, images, reference + strlen(OCI_PREFIX), out, err);
    out->lower = resolve_dir(cfg, reference + strlen(DIR_PREFIX), err);
    return out->lower ? 0 : -1;
}

/* --- record --- */

#define RECORD_DIR "dir "
#define RECORD_IMAGE "image "

char *rootfs_record(const struct rootfs *r)
{
    if (*r->digest)
        return os_asprintf(RECORD_IMAGE "%s", r->digest);
    return r->lower ? os_asprintf(RECORD_DIR "%s", r->lower) : os_strdup("host");
}

int rootfs_open(const struct local_settings *cfg, const struct images *images, const char *record,
                struct rootfs *out, struct os_error *err)
{
    rootfs_init(cfg, out);
    if (is_host(record))
        return 0;
    if (os_str_starts(record, RECORD_DIR)) {
        out->lower = resolve_dir(cfg, record + strlen(RECORD_DIR), err);
        return out->lower ? 0 : -1;
    }
    cleanup_free char *text = os_asprintf("sha256:%s", record + strlen(RECORD_IMAGE));
    if (!os_str_starts(record, RECORD_IMAGE) || !digest_parse(text, out->digest))
        return os_error_set(err, OS_DATA_LOSS,
                            "the record of the sandbox's image is damaged; delete the sandbox");
    return open_image(cfg, images, out, err);
}

void rootfs_clear(struct rootfs *r)
{
    free(r->lower);
    image_config_clear(&r->config);
    *r = (struct rootfs){0};
}

/* --- questions --- */

bool rootfs_has(const struct rootfs *r, const char *path)
{
    cleanup_close int root = open(r->lower, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cleanup_close int fd = root < 0 ? -1 : inside_open(root, path, O_PATH);
    return fd >= 0;
}

const char *rootfs_workdir(const struct rootfs *r)
{
    const char *dir = r->config.workdir;
    return dir && *dir && strcmp(dir, "/") != 0 ? dir : INSIDE_WORKSPACE;
}
