/* An archive from a sandbox: whatever it holds, no entry leads out of its destination, and contents are as
 * long as was said. The first byte says in which pieces it arrives. */
#include <stdlib.h>
#include <string.h>

#include "cli/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t left;
    bool in_file;
};

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void check_path(const char *path)
{
    must(strlen(path) < TAR_PATH_MAX && *path != '/');
    for (const char *at = path; *at;) {
        size_t part = strcspn(at, "/");
        must(part && !(part == 1 && *at == '.') && !(part == 2 && memcmp(at, "..", 2) == 0));
        at += part;
        must(!*at || at[1]);
        at += *at == '/';
    }
}

static int on_entry(void *ctx, const struct tar_entry *e, struct os_error *err)
{
    struct seen *s = ctx;
    must(!s->in_file);
    check_path(e->path);
    must(*e->path || e->type == TAR_DIRECTORY);
    if (e->type == TAR_HARDLINK)
        check_path(e->link);
    must(e->mode <= 0777);
    must(e->type == TAR_FILE || !e->size);
    s->in_file = e->type == TAR_FILE;
    s->left = e->size;
    return 0;
}

static int on_data(void *ctx, const uint8_t *data, size_t n, struct os_error *err)
{
    struct seen *s = ctx;
    must(s->in_file && n && n <= s->left);
    s->left -= n;
    return 0;
}

static int on_end(void *ctx, struct os_error *err)
{
    struct seen *s = ctx;
    must(s->in_file && !s->left);
    s->in_file = false;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tar_ops ops = {on_entry, on_data, on_end};
    struct seen s = {0};
    if (!size)
        return 0;
    size_t piece = data[0] ? data[0] : size;
    struct tar_reader *r = tar_reader_new(&ops, &s);
    int rc = 0;
    for (size_t at = 1; at < size && rc == 0; at += piece)
        rc = tar_reader_feed(r, data + at, size - at < piece ? size - at : piece, NULL);
    if (rc == 0 && tar_reader_finish(r, NULL) == 0)
        must(!s.in_file);
    tar_reader_free(r);
    return 0;
}
