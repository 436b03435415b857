/* Unpacked images: see store.h. An image is unpacked under a temporary name, brought to the disk and renamed,
 * so what has a digest as its name is complete. */
#include "drivers/local/image/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/id.h"
#include "core/limits.h"
#include "core/log.h"
#include "drivers/local/image/layout.h"
#include "drivers/local/image/unpack.h"
#include "drivers/local/userns.h"
#include "sys/file.h"

#define CONFIG_MAX ((size_t)4 << 20)
#define OWNERS_MAX ((size_t)512 << 20)
#define UNFINISHED ".new-"

struct use {
    char digest[DIGEST_LEN];
    unsigned count;
};

struct images {
    const struct local_settings *cfg;
    char *dir;
    pthread_mutex_t unpacking; /* one image at a time; taken before lock */
    pthread_mutex_t lock;      /* of the uses, and of what is there */
    struct use *uses;
    size_t n;
};

static struct use *use_of(struct images *s, const char *digest)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->uses[i].digest, digest) == 0)
            return &s->uses[i];
    s->uses = os_realloc(s->uses, s->n + 1, sizeof(*s->uses));
    s->uses[s->n] = (struct use){0};
    snprintf(s->uses[s->n].digest, DIGEST_LEN, "%s", digest);
    return &s->uses[s->n++];
}

static void discard(const struct images *s, const char *name)
{
    cleanup_error struct os_error err = {0};
    if (userns_remove(s->cfg, s->dir, name, &err) < 0)
        os_log_warn("local-driver", "%s", os_error_text(&err));
}

static void discard_unfinished(const struct images *s)
{
    cleanup_strv struct os_strv names = {0};
    DIR *d = opendir(s->dir);
    for (const struct dirent *e; d && (e = readdir(d));)
        if (os_str_starts(e->d_name, UNFINISHED))
            os_strv_add(&names, e->d_name);
    if (d)
        closedir(d);
    for (size_t i = 0; i < names.n; i++)
        discard(s, names.v[i]);
}

struct images *images_new(const struct local_settings *cfg, struct os_error *err)
{
    const char *dir = cfg->images_dir;
    if (os_dir_make(dir, 0700, err) < 0)
        return NULL;
    struct images *s = os_calloc(1, sizeof(*s));
    s->cfg = cfg;
    s->dir = os_strdup(dir);
    pthread_mutex_init(&s->unpacking, NULL);
    pthread_mutex_init(&s->lock, NULL);
    discard_unfinished(s);
    return s;
}

void images_free(struct images *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->unpacking);
    pthread_mutex_destroy(&s->lock);
    free(s->uses);
    free(s->dir);
    free(s);
}

char *images_root(const struct images *s, const char *digest)
{
    return os_asprintf("%s/%s/root", s->dir, digest);
}

int images_config(const struct images *s, const char *digest, struct image_config *out, struct os_error *err)
{
    cleanup_free char *path = os_asprintf("%s/%s/config.json", s->dir, digest);
    cleanup_buf struct os_buf b = {0};
    *out = (struct image_config){0};
    if (os_file_read(path, CONFIG_MAX, &b, err) < 0)
        return -1;
    return image_config_parse(os_buf_str(&b), b.len, out, err);
}

/* --- unpacking --- */

static int unpack_layers(const char *root, const struct image *image, struct os_buf *owners,
                         struct os_error *err)
{
    struct unpack_limits limits = {OS_LOCAL_IMAGE_BYTES, OS_LOCAL_IMAGE_ENTRIES};
    if (mkdir(root, 0755) < 0 || chmod(root, 0755) < 0)
        return os_error_sys(err, errno, "cannot create '%s'", root);
    cleanup_close int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return os_error_sys(err, errno, "cannot open '%s'", root);
    for (size_t i = 0; i < image->n_layers; i++) {
        const struct image_layer *l = &image->layers[i];
        const struct stream_source source = {l->fd, l->offset, l->size, l->digest, l->diff_id, 0};
        if (unpack_layer(fd, &source, &limits, owners, err) < 0)
            return os_error_wrap(err, "layer %zu of %zu", i + 1, image->n_layers);
    }
    return syncfs(fd) < 0 ? os_error_sys(err, errno, "cannot sync '%s'", root) : 0;
}

/* As an ordinary user: with the ids of the sandboxes' user namespace. */
static int give_to_owners(const struct images *s, const char *dir, const char *root,
                          const struct os_buf *owners, struct os_error *err)
{
    cleanup_free char *list = os_asprintf("%s/owners", dir);
    if (!s->cfg->userns.on)
        return 0;
    if (owners->failed)
        return os_error_set(err, OS_RESOURCE_EXHAUSTED,
                            "the list of the image's files and their owners exceeds %zu bytes; run the "
                            "gateway as root, which needs no list",
                            owners->max);
    const char *const words[] = {"owners", root, list, NULL};
    if (os_file_write_atomic(list, os_buf_str(owners), owners->len, 0600, err) < 0)
        return -1;
    return userns_run(s->cfg, words, err);
}

static int unpack(const struct images *s, const struct image *image, struct os_error *err)
{
    char id[OS_UUID_LEN];
    cleanup_free char *name = os_asprintf(UNFINISHED "%s", os_uuid(id));
    cleanup_free char *dir = os_asprintf("%s/%s", s->dir, name), *root = os_asprintf("%s/root", dir);
    cleanup_free char *config = os_asprintf("%s/config.json", dir);
    cleanup_free char *final = os_asprintf("%s/%s", s->dir, image->digest);
    cleanup_buf struct os_buf owners = {.max = OWNERS_MAX};
    if (mkdir(dir, 0700) < 0)
        return os_error_sys(err, errno, "cannot create '%s'", dir);
    int rc = os_file_write_atomic(config, image->json.data, image->json.len, 0600, err);
    rc = rc < 0 ? rc : unpack_layers(root, image, &owners, err);
    rc = rc < 0 ? rc : give_to_owners(s, dir, root, &owners, err);
    if (rc == 0 && rename(dir, final) < 0)
        rc = os_error_sys(err, errno, "cannot rename '%s'", dir);
    if (rc < 0)
        discard(s, name);
    return rc;
}

static int acquire(struct images *s, const struct image *image, struct os_error *err)
{
    cleanup_free char *dir = os_asprintf("%s/%s", s->dir, image->digest);
    pthread_mutex_lock(&s->lock);
    bool there = os_file_exists(dir);
    use_of(s, image->digest)->count++; /* from here on nobody removes it */
    pthread_mutex_unlock(&s->lock);
    if (there || unpack(s, image, err) == 0) {
        utimensat(AT_FDCWD, dir, NULL, 0); /* the time of its last use */
        return 0;
    }
    images_release(s, image->digest);
    return -1;
}

int images_acquire(struct images *s, const char *path, const char *name, char digest[DIGEST_LEN],
                   struct os_error *err)
{
    struct image image;
    int rc = layout_find(path, name, &image, err);
    if (rc == 0) {
        memcpy(digest, image.digest, DIGEST_LEN);
        pthread_mutex_lock(&s->unpacking);
        rc = acquire(s, &image, err);
        pthread_mutex_unlock(&s->unpacking);
    }
    image_clear(&image);
    return rc;
}

/* --- uses --- */

void images_adopt(struct images *s, const char *digest)
{
    pthread_mutex_lock(&s->lock);
    use_of(s, digest)->count++;
    pthread_mutex_unlock(&s->lock);
}

struct unused {
    char digest[DIGEST_LEN];
    struct timespec used;
};

static int newest_first(const void *a, const void *b)
{
    const struct timespec *x = &((const struct unused *)a)->used, *y = &((const struct unused *)b)->used;
    if (x->tv_sec != y->tv_sec)
        return x->tv_sec > y->tv_sec ? -1 : 1;
    return x->tv_nsec > y->tv_nsec ? -1 : x->tv_nsec < y->tv_nsec;
}

static void collect_locked(struct images *s)
{
    struct unused *v = NULL;
    size_t n = 0;
    DIR *d = opendir(s->dir);
    for (const struct dirent *e; d && (e = readdir(d));) {
        struct stat st;
        if (strlen(e->d_name) != DIGEST_LEN - 1 || use_of(s, e->d_name)->count ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        v = os_realloc(v, n + 1, sizeof(*v));
        memcpy(v[n].digest, e->d_name, DIGEST_LEN);
        v[n++].used = st.st_mtim;
    }
    if (d)
        closedir(d);
    if (n)
        qsort(v, n, sizeof(*v), newest_first);
    for (size_t i = OS_LOCAL_IMAGES_KEPT; i < n; i++)
        discard(s, v[i].digest);
    free(v);
}

void images_collect(struct images *s)
{
    pthread_mutex_lock(&s->lock);
    collect_locked(s);
    pthread_mutex_unlock(&s->lock);
}

void images_release(struct images *s, const char *digest)
{
    pthread_mutex_lock(&s->lock);
    struct use *u = use_of(s, digest);
    if (u->count && --u->count == 0)
        collect_locked(s);
    pthread_mutex_unlock(&s->lock);
}
