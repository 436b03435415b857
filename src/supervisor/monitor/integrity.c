/* Trust on first use of executables: path -> SHA-256 and the fingerprint it was computed under. */
#include "supervisor/monitor/integrity.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/encode.h"
#include "core/limits.h"
#include "core/str.h"

#define HASH_BYTES 32
#define BUCKETS 256
#define READ_PIECE 65536

struct fingerprint {
    uint64_t size, dev, ino;
    int64_t mtime, mtime_ns, ctime, ctime_ns;
};

struct entry {
    struct entry *next;
    char *path;
    uint8_t hash[HASH_BYTES];
    struct fingerprint seen;
};

struct integrity {
    pthread_mutex_t lock;
    struct entry *buckets[BUCKETS];
    size_t n;
};

struct integrity *integrity_new(void)
{
    struct integrity *t = os_calloc(1, sizeof(*t));
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void integrity_free(struct integrity *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct entry *e = t->buckets[i], *next; e; e = next) {
            next = e->next;
            free(e->path);
            free(e);
        }
    }
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static struct entry **find(struct integrity *t, const char *path)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (const char *p = path; *p; p++)
        h = (h ^ (uint8_t)*p) * 16777619u;
    struct entry **at = &t->buckets[h % BUCKETS];
    while (*at && strcmp((*at)->path, path) != 0)
        at = &(*at)->next;
    return at;
}

static int fingerprint_of(int fd, struct fingerprint *out, struct os_error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return os_error_sys(err, errno, "cannot stat the executable");
    memset(out, 0, sizeof(*out)); /* compared as bytes */
    out->size = (uint64_t)st.st_size;
    out->dev = st.st_dev;
    out->ino = st.st_ino;
    out->mtime = st.st_mtim.tv_sec;
    out->mtime_ns = st.st_mtim.tv_nsec;
    out->ctime = st.st_ctim.tv_sec;
    out->ctime_ns = st.st_ctim.tv_nsec;
    return 0;
}

static int hash_file(int fd, uint8_t out[HASH_BYTES], struct os_error *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    cleanup_free uint8_t *piece = os_calloc(1, READ_PIECE);
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
    off_t at = 0;
    while (ok) {
        ssize_t n = pread(fd, piece, READ_PIECE, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            EVP_MD_CTX_free(ctx);
            return os_error_sys(err, errno, "cannot read the executable");
        }
        if (n == 0)
            break;
        ok = EVP_DigestUpdate(ctx, piece, (size_t)n) == 1;
        at += n;
    }
    ok = ok && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok ? 0 : os_error_set(err, OS_INTERNAL, "cannot compute SHA-256");
}

static int compare(struct integrity *t, const char *path, const struct fingerprint *now,
                   const uint8_t hash[HASH_BYTES], struct os_error *err)
{
    struct entry **at = find(t, path), *e = *at;
    if (!e) {
        if (t->n == OS_INTEGRITY_PATHS)
            return os_error_set(
                err, OS_RESOURCE_EXHAUSTED,
                "more than %d different executables made connections; no further one is trusted",
                OS_INTEGRITY_PATHS);
        e = os_calloc(1, sizeof(*e));
        e->path = os_strdup(path);
        memcpy(e->hash, hash, HASH_BYTES);
        *at = e;
        t->n++;
    } else if (memcmp(e->hash, hash, HASH_BYTES) != 0) {
        char first[2 * HASH_BYTES + 1], current[2 * HASH_BYTES + 1];
        return os_error_set(err, OS_PERMISSION_DENIED,
                            "Binary integrity violation: %s hash changed (cached: %s, current: %s)", path,
                            os_hex(e->hash, HASH_BYTES, first), os_hex(hash, HASH_BYTES, current));
    }
    e->seen = *now;
    return 0;
}

int integrity_check(struct integrity *t, const char *path, int fd, struct os_error *err)
{
    struct fingerprint now;
    if (fingerprint_of(fd, &now, err) < 0)
        return -1;
    pthread_mutex_lock(&t->lock);
    const struct entry *e = *find(t, path);
    bool known = e && memcmp(&e->seen, &now, sizeof(now)) == 0;
    pthread_mutex_unlock(&t->lock);
    if (known)
        return 0;
    uint8_t hash[HASH_BYTES];
    struct fingerprint after;
    if (hash_file(fd, hash, err) < 0 || fingerprint_of(fd, &after, err) < 0)
        return -1;
    if (memcmp(&now, &after, sizeof(now)) != 0)
        return os_error_set(err, OS_PERMISSION_DENIED,
                            "Binary integrity violation: %s changed while it was read", path);
    pthread_mutex_lock(&t->lock);
    int r = compare(t, path, &now, hash, err);
    pthread_mutex_unlock(&t->lock);
    return r;
}
