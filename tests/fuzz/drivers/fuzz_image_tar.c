/* The reader of image layers: any bytes as a tar archive, every name it lets through is safe, and no entry
 * has more content than the archive. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "drivers/local/image/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes {
    const uint8_t *data;
    size_t left;
};

static ssize_t read_bytes(void *ctx, void *out, size_t n, struct os_error *err)
{
    struct bytes *b = ctx;
    n = n < b->left ? n : b->left;
    if (n)
        memcpy(out, b->data, n);
    b->data += n;
    b->left -= n;
    return (ssize_t)n;
}

static void check_name(const char *name)
{
    if (strlen(name) > TAR_NAME_MAX || *name == '/')
        abort();
    for (const char *p = name; *p;) {
        size_t n = strcspn(p, "/");
        if (n == 0 || n > 255 || (n == 1 && *p == '.') || (n == 2 && memcmp(p, "..", 2) == 0))
            abort();
        p += n + (p[n] == '/');
        if (!*p && p[-1] == '/')
            abort();
    }
}

/* Right checksums, so that mutations get past them. */
static uint8_t *signed_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    if (size)
        memcpy(copy, data, size);
    for (size_t at = 0; at + 512 <= size; at += 512) {
        unsigned sum = 0;
        if (memcmp(copy + at + 257, "ustar", 5) != 0)
            continue;
        memset(copy + at + 148, ' ', 8);
        for (size_t i = 0; i < 512; i++)
            sum += copy[at + i];
        snprintf((char *)copy + at + 148, 8, "%06o", sum);
    }
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_free struct tar_entry *e = malloc(sizeof(*e));
    cleanup_free uint8_t *copy = signed_copy(data, size);
    struct bytes b = {copy, size};
    struct os_error cleanup_error err = {0};
    struct tar t;
    char content[300];
    int rc;
    tar_init(&t, read_bytes, &b, 1000);
    while ((rc = tar_next(&t, e, &err)) > 0) {
        uint64_t got = 0;
        check_name(e->name);
        if (e->type == TAR_HARD_LINK)
            check_name(e->link);
        if (e->mode > 07777 || (e->type != TAR_FILE && e->size))
            abort();
        for (ssize_t n; (n = tar_content(&t, content, sizeof(content), &err)) > 0;)
            got += (uint64_t)n;
        if (got > size || got > e->size)
            abort();
    }
    if (rc < 0 && !err.code)
        abort();
    return 0;
}
