/* Where an image lies on this machine: see layout.h. */
#include "drivers/local/image/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "drivers/local/image/tar.h"
#include "drivers/local/launcher/inside.h"

#define JSON_MAX ((size_t)4 << 20) /* bytes of an index, manifest or configuration */
#define NESTING 4                  /* indexes within indexes */
#define REF_NAME "org.opencontainers.image.ref.name"

struct member {
    char *name, *link; /* link: NULL, or the member it stands for */
    uint64_t offset, size;
};

struct layout {
    const char *path;
    int fd; /* directory or archive */
    bool archive;
    struct member *members; /* of the archive */
    size_t n;
};

struct blob {
    int fd;
    uint64_t offset, size;
};

static void layout_close(struct layout *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->members[i].name);
        free(l->members[i].link);
    }
    free(l->members);
    if (l->fd >= 0)
        close(l->fd);
}

/* --- archive --- */

/* Reads ahead into a buffer; what the reader of headers skips is skipped in the file, too. */
struct cursor {
    int fd;
    uint64_t at;
};

static ssize_t cursor_read(void *ctx, void *data, size_t n, struct os_error *err)
{
    struct cursor *c = ctx;
    ssize_t got;
    do
        got = pread(c->fd, data, n, (off_t)c->at);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return os_error_sys(err, errno, "cannot read the archive");
    c->at += (uint64_t)got;
    return got;
}

/* Jumps over a file's content; the byte before its end is read all the same, so that a cut is noticed. */
static void jump(struct tar *t, struct cursor *c)
{
    uint64_t n = t->left > 1 ? t->left - 1 : 0;
    c->at += n;
    t->offset += n;
    t->left -= n;
}

static char *link_target(const struct tar_entry *e)
{
    if (e->type == TAR_HARD_LINK)
        return os_strdup(e->link);
    if (e->type != TAR_SYMBOLIC_LINK)
        return NULL;
    /* "../<layer>/layer.tar", as older versions of Docker write them */
    return os_strdup(os_str_starts(e->link, "../") ? e->link + 3 : e->link);
}

static int index_archive(struct layout *l, struct os_error *err)
{
    cleanup_free struct tar_entry *e = os_calloc(1, sizeof(*e));
    struct cursor c = {l->fd, 0};
    struct tar t;
    unsigned char magic[4] = {0};
    int rc;
    if (pread(l->fd, magic, sizeof(magic), 0) == sizeof(magic) &&
        (memcmp(magic, "\x1f\x8b", 2) == 0 || memcmp(magic, "\x28\xb5\x2f\xfd", 4) == 0))
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "the archive '%s' is compressed as a whole; decompress it (gunzip, unzstd) first",
                            l->path);
    tar_init(&t, cursor_read, &c, OS_LOCAL_IMAGE_MEMBERS);
    while ((rc = tar_next(&t, e, err)) > 0) {
        l->members = os_realloc(l->members, l->n + 1, sizeof(*l->members));
        l->members[l->n++] = (struct member){os_strdup(e->name), link_target(e), e->offset, e->size};
        jump(&t, &c);
    }
    return rc < 0 ? os_error_wrap(err, "'%s'", l->path) : 0;
}

static const struct member *member_named(const struct layout *l, const char *name)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->members[i].name, name) == 0)
            return &l->members[i];
    return NULL;
}

/* --- blobs --- */

static int open_blob(const struct layout *l, const char *name, struct blob *out, struct os_error *err)
{
    struct stat st;
    if (l->archive) {
        const struct member *m = member_named(l, name);
        if (m && m->link)
            m = member_named(l, m->link);
        if (!m || m->link)
            return os_error_set(err, OS_FAILED_PRECONDITION, "the image '%s' has no '%.128s'", l->path, name);
        *out = (struct blob){fcntl(l->fd, F_DUPFD_CLOEXEC, 0), m->offset, m->size};
    } else {
        *out = (struct blob){.fd = inside_open(l->fd, name, O_RDONLY | O_NONBLOCK)};
        if (out->fd < 0)
            return os_error_set(err, OS_FAILED_PRECONDITION, "cannot read '%.128s' of the image '%s': %s",
                                name, l->path, strerror(errno));
        if (fstat(out->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
            close(out->fd);
            out->fd = -1;
            return os_error_set(err, OS_FAILED_PRECONDITION, "'%.128s' of the image '%s' is no regular file",
                                name, l->path);
        }
        out->size = (uint64_t)st.st_size;
    }
    return out->fd < 0 ? os_error_sys(err, errno, "cannot read the image '%s'", l->path) : 0;
}

static bool has(const struct layout *l, const char *name)
{
    struct blob b = {.fd = -1};
    bool found = open_blob(l, name, &b, NULL) == 0;
    if (found)
        close(b.fd);
    return found;
}

/* The text of a small blob; its digest is compared when given. */
static int read_blob(const struct layout *l, const char *name, const char *digest, struct os_buf *out,
                     struct os_error *err)
{
    struct blob b = {.fd = -1};
    if (open_blob(l, name, &b, err) < 0)
        return -1;
    cleanup_close int fd = b.fd;
    if (b.size > JSON_MAX)
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "'%.128s' of the image '%s' has %llu bytes; %zu are allowed", name, l->path,
                            (unsigned long long)b.size, JSON_MAX);
    out->max = JSON_MAX + 1;
    if (!os_buf_reserve(out, (size_t)b.size + 1) ||
        pread(fd, out->data, (size_t)b.size, (off_t)b.offset) != (ssize_t)b.size)
        return os_error_set(err, OS_FAILED_PRECONDITION, "cannot read '%.128s' of the image '%s'", name,
                            l->path);
    out->len = (size_t)b.size;
    out->data[out->len] = '\0';
    struct stream *s =
        stream_open(&(struct stream_source){fd, b.offset, b.size, digest, "", UINT64_MAX}, err);
    int rc = s ? stream_finish(s, err) : -1;
    stream_free(s);
    return rc;
}

static json_t *read_json(const struct layout *l, const char *name, const char *digest, struct os_error *err)
{
    cleanup_buf struct os_buf b = {0};
    json_error_t why;
    if (read_blob(l, name, digest, &b, err) < 0)
        return NULL;
    json_t *j = json_loadb(os_buf_str(&b), b.len, JSON_REJECT_DUPLICATES, &why);
    if (!j)
        os_error_set(err, OS_FAILED_PRECONDITION, "'%.128s' of the image '%s' is not JSON: %s (line %d)",
                     name, l->path, why.text, why.line);
    return j;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

/* The digest of a descriptor and the name of its blob. */
static char *blob_of(const json_t *descriptor, char digest[DIGEST_LEN], struct os_error *err)
{
    if (digest_parse(text_of(descriptor, "digest"), digest))
        return os_asprintf("blobs/sha256/%s", digest);
    os_error_set(err, OS_FAILED_PRECONDITION,
                 "the image has the unusable digest '%.80s'; sha256 is supported",
                 text_of(descriptor, "digest"));
    return NULL;
}

/* --- OCI --- */

static int add_layer(const struct layout *l, const char *name, const char *digest, struct image *out,
                     struct os_error *err)
{
    struct blob b = {.fd = -1};
    size_t i = out->n_layers;
    if (i >= out->config.diff_ids.n)
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "the image has more layers than its configuration lists");
    if (open_blob(l, name, &b, err) < 0)
        return -1;
    out->layers = os_realloc(out->layers, i + 1, sizeof(*out->layers));
    out->layers[i] = (struct image_layer){.fd = b.fd, .offset = b.offset, .size = b.size};
    memcpy(out->layers[i].digest, digest, strlen(digest) + 1);
    memcpy(out->layers[i].diff_id, out->config.diff_ids.v[i], DIGEST_LEN);
    out->n_layers++;
    return 0;
}

static int check_layers(const struct image *out, struct os_error *err)
{
    if (out->n_layers > OS_LOCAL_IMAGE_LAYERS)
        return os_error_set(err, OS_FAILED_PRECONDITION, "the image has %zu layers; %d are allowed",
                            out->n_layers, OS_LOCAL_IMAGE_LAYERS);
    if (out->n_layers != out->config.diff_ids.n)
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "the image has %zu layers and its configuration lists %zu", out->n_layers,
                            out->config.diff_ids.n);
    return 0;
}

static int read_manifest(const struct layout *l, const json_t *manifest, struct image *out,
                         struct os_error *err)
{
    char digest[DIGEST_LEN];
    size_t i;
    const json_t *layer, *layers = json_object_get(manifest, "layers");
    cleanup_free char *config = blob_of(json_object_get(manifest, "config"), digest, err);
    if (!config || read_blob(l, config, digest, &out->json, err) < 0 ||
        image_config_parse(os_buf_str(&out->json), out->json.len, &out->config, err) < 0)
        return -1;
    json_array_foreach(layers, i, layer)
    {
        cleanup_free char *name = blob_of(layer, digest, err);
        if (!name || add_layer(l, name, digest, out, err) < 0)
            return -1;
    }
    return check_layers(out, err);
}

static bool fits_machine(const json_t *descriptor)
{
    const json_t *p = json_object_get(descriptor, "platform");
    return !p || (strcmp(text_of(p, "architecture"), IMAGE_ARCHITECTURE) == 0 &&
                  strcmp(text_of(p, "os"), "linux") == 0);
}

/* The one entry of an index with this name, for this machine. Borrowed; NULL with *err. */
static const json_t *pick(const struct layout *l, const json_t *index, const char *name, struct os_error *err)
{
    cleanup_strv struct os_strv names = {0};
    const json_t *d, *found = NULL;
    size_t i, n = 0;
    json_array_foreach(json_object_get(index, "manifests"), i, d)
    {
        const char *own = text_of(json_object_get(d, "annotations"), REF_NAME);
        if (*own)
            os_strv_add(&names, own);
        if (!fits_machine(d) || (*name && strcmp(own, name) != 0))
            continue;
        found = d;
        n++;
    }
    if (n == 1)
        return found;
    cleanup_free char *list = os_strv_join(&names, ", ");
    os_error_set(err, OS_FAILED_PRECONDITION,
                 "'%s' holds %zu images %s%.64s%s for linux/" IMAGE_ARCHITECTURE "; names in it: %.512s",
                 l->path, n, *name ? "named '" : "and none is named", name, *name ? "'" : "",
                 names.n ? list : "none");
    return NULL;
}

static int read_index(const struct layout *l, const json_t *index, const char *name, int depth,
                      struct image *out, struct os_error *err)
{
    const json_t *d = pick(l, index, name, err);
    cleanup_free char *blob = d ? blob_of(d, out->digest, err) : NULL;
    json_t *next = blob ? read_json(l, blob, out->digest, err) : NULL;
    int rc = -1;
    if (!next)
        return -1;
    if (json_object_get(next, "layers"))
        rc = read_manifest(l, next, out, err);
    else if (json_object_get(next, "manifests") && depth < NESTING)
        rc = read_index(l, next, "", depth + 1, out, err);
    else
        os_error_set(err, OS_FAILED_PRECONDITION, "'%s' of the image '%s' is neither a manifest nor an index",
                     blob, l->path);
    json_decref(next);
    return rc;
}

/* --- docker save --- */

static bool tagged(const json_t *entry, const char *name)
{
    size_t i;
    const json_t *tag;
    json_array_foreach(json_object_get(entry, "RepoTags"), i,
                       tag) if (json_is_string(tag) && strcmp(json_string_value(tag), name) == 0) return true;
    return false;
}

static int read_docker(const struct layout *l, const json_t *list, const char *name, struct image *out,
                       struct os_error *err)
{
    const json_t *e, *found = NULL, *layer;
    size_t i, n = 0;
    json_array_foreach(list, i, e)
    {
        if (*name && !tagged(e, name))
            continue;
        found = e;
        n++;
    }
    if (n != 1)
        return os_error_set(err, OS_FAILED_PRECONDITION, "'%s' holds %zu images%s%.64s; name one of them",
                            l->path, n, *name ? " tagged " : "", name);
    if (read_blob(l, text_of(found, "Config"), "", &out->json, err) < 0 ||
        image_config_parse(os_buf_str(&out->json), out->json.len, &out->config, err) < 0)
        return -1;
    json_array_foreach(json_object_get(found, "Layers"), i, layer)
    {
        const char *file = json_string_value(layer);
        if (add_layer(l, file ? file : "", "", out, err) < 0)
            return -1;
    }
    sha256_hex(os_buf_str(&out->json), out->json.len, out->digest);
    return check_layers(out, err);
}

/* --- one image --- */

static int find(const struct layout *l, const char *name, struct image *out, struct os_error *err)
{
    bool oci = has(l, "index.json");
    if (!oci && !has(l, "manifest.json"))
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "'%s' is no OCI image layout and no archive of `docker save`: it has neither "
                            "index.json nor manifest.json",
                            l->path);
    json_t *top = read_json(l, oci ? "index.json" : "manifest.json", "", err);
    if (!top)
        return -1;
    int rc = oci ? read_index(l, top, name, 0, out, err) : read_docker(l, top, name, out, err);
    json_decref(top);
    return rc;
}

int layout_find(const char *path, const char *name, struct image *out, struct os_error *err)
{
    struct layout l = {.path = path, .fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
    struct stat st;
    *out = (struct image){0};
    if (l.fd < 0 || fstat(l.fd, &st) < 0)
        return os_error_set(err, OS_FAILED_PRECONDITION, "cannot open the image '%s': %s", path,
                            strerror(errno));
    l.archive = !S_ISDIR(st.st_mode);
    int rc = 0;
    if (l.archive && !S_ISREG(st.st_mode))
        rc = os_error_set(err, OS_FAILED_PRECONDITION, "the image '%s' is neither a directory nor a file",
                          path);
    else if (l.archive)
        rc = index_archive(&l, err);
    if (rc == 0)
        rc = find(&l, name, out, err);
    layout_close(&l);
    return rc;
}

void image_clear(struct image *i)
{
    for (size_t k = 0; k < i->n_layers; k++)
        close(i->layers[k].fd);
    free(i->layers);
    os_buf_free(&i->json);
    image_config_clear(&i->config);
    *i = (struct image){0};
}
