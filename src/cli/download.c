/* `sandbox download` (spec/cli.md 7.6): the sandbox's own tar over the exec stream, extracted here with
 * nothing taken on trust. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/extract.h"
#include "cli/output.h"
#include "cli/sandbox.h"
#include "cli/stream.h"
#include "core/cleanup.h"
#include "core/str.h"
#include "sys/file.h"

#define PROBE_MAX 16384 /* bytes of its answer */

/* Workspace root, the path with its links resolved, and what is there; each ended by a NUL. */
static const char PROBE[] = "root=$(pwd -P) || exit 1\n"
                            "real=$(realpath -- \"$1\" 2>/dev/null; echo x); real=${real%?x}\n"
                            "kind=missing\n"
                            "if [ -d \"$1\" ]; then kind=dir; elif [ -e \"$1\" ]; then kind=file; fi\n"
                            "printf '%s\\0%s\\0%s\\0' \"$root\" \"$real\" \"$kind\"\n";

/* --- what is asked for --- */

struct source {
    const char *path; /* as given */
    const char *root, *real;
    bool is_dir;
};

/* Absolute and clean: no empty, "." and ".." components; NULL when ".." leads above the root directory. */
static const char *clean(struct os_arena *a, const char *root, const char *path)
{
    char *out = os_arena_alloc(a, strlen(root) + strlen(path) + 3);
    cleanup_free char *full = *path == '/' ? os_strdup(path) : os_asprintf("%s/%s", root, path);
    size_t n = 0;
    for (const char *at = full; *at;) {
        size_t part = strcspn(at, "/");
        if (part == 2 && memcmp(at, "..", 2) == 0) {
            if (!n)
                return NULL;
            while (out[--n] != '/')
                ;
        } else if (part && !(part == 1 && *at == '.')) {
            out[n++] = '/';
            memcpy(out + n, at, part);
            n += part;
        }
        at += part + (at[part] == '/');
    }
    out[n] = '\0';
    return n ? out : "/";
}

static bool inside(const char *path, const char *root)
{
    size_t n = strlen(root);
    return path && strncmp(path, root, n) == 0 && (!path[n] || path[n] == '/');
}

static int check_root(struct os_arena *a, const char *root, struct os_error *err)
{
    if (*root != '/')
        return os_error_set(err, OS_FAILED_PRECONDITION, "remote workspace must be an absolute path");
    if (strcmp(root, "/") == 0)
        return os_error_set(err, OS_FAILED_PRECONDITION, "remote workspace resolved to the container root");
    if (!os_str_eq(clean(a, "", root), root))
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "remote workspace '%s' is not a canonical absolute path", root);
    return 0;
}

static int take_probe(void *ctx, const void *data, size_t n, struct os_error *err)
{
    struct os_buf *out = ctx;
    os_buf_add(out, data, n);
    return out->failed
               ? os_error_set(err, OS_DATA_LOSS,
                              "the sandbox answered more than %zu bytes when asked for the path", out->max)
               : 0;
}

static int parse_probe(const struct os_buf *text, struct os_arena *a, struct source *src,
                       struct os_error *err)
{
    const char *parts[3], *at = os_buf_str(text), *end = at + text->len;
    for (size_t i = 0; i < OS_ARRAY_LEN(parts); i++) {
        parts[i] = at;
        at = at < end ? memchr(at, '\0', (size_t)(end - at)) : NULL;
        if (!at)
            return os_error_set(err, OS_DATA_LOSS, "failed to resolve sandbox source path '%s'", src->path);
        at++;
    }
    if (!os_utf8_valid(parts[0], strlen(parts[0])))
        return os_error_set(err, OS_DATA_LOSS, "failed to resolve sandbox source path '%s'", src->path);
    src->root = os_arena_strdup(a, parts[0]);
    src->real = os_arena_strdup(a, parts[1]);
    if (check_root(a, src->root, err) < 0)
        return -1;
    if (!inside(clean(a, src->root, src->path), src->root))
        return os_error_set(err, OS_PERMISSION_DENIED,
                            "sandbox source path '%s' is outside the sandbox workspace (%s)", src->path,
                            src->root);
    if (strcmp(parts[2], "missing") == 0)
        return os_error_set(err, OS_NOT_FOUND, "sandbox source path '%s' does not exist", src->path);
    if (!inside(src->real, src->root))
        return os_error_set(err, OS_PERMISSION_DENIED,
                            "sandbox source path '%s' resolves to '%s', outside the sandbox workspace (%s)",
                            src->path, src->real, src->root);
    src->is_dir = strcmp(parts[2], "dir") == 0;
    return 0;
}

static int probe(struct cli *cli, const char *sandbox_id, struct source *src, struct os_error *err)
{
    struct os_buf cleanup_buf text = {.max = PROBE_MAX};
    const char *const command[] = {"/bin/sh", "-c", PROBE, "sh", src->path};
    const struct stream_io io = {.write = take_probe, .ctx = &text};
    if (!*src->path)
        return os_error_set(err, OS_INVALID_ARGUMENT, "sandbox source path is empty");
    int code = stream_run_command(cli, sandbox_id, command, OS_ARRAY_LEN(command), &io, err);
    if (code < 0)
        return -1;
    if (code > 0)
        return os_error_set(err, OS_UNKNOWN,
                            "failed to resolve sandbox source path '%s'" CAUSE "probe exited with status %d",
                            src->path, code);
    return parse_probe(&text, &cli->arena, src, err);
}

/* --- transfer --- */

static int take_archive(void *ctx, const void *data, size_t n, struct os_error *err)
{
    return extract_feed(ctx, data, n, err);
}

static int transfer(struct cli *cli, const char *sandbox_id, const char *dir, const char *what,
                    struct extract *x, struct os_error *err)
{
    const char *const command[] = {"tar", "cf", "-", "-C", dir, "--", what};
    const struct stream_io io = {.write = take_archive, .ctx = x};
    int code = stream_run_command(cli, sandbox_id, command, OS_ARRAY_LEN(command), &io, err);
    if (code > 0)
        return os_error_set(err, OS_UNKNOWN, "tar create in the sandbox exited with status %d", code);
    return code < 0 ? -1 : extract_finish(x, err);
}

static const char *base_of(struct os_arena *a, const char *path)
{
    return basename(os_arena_strdup(a, path));
}

/* Through a directory of its own beside the target, so that nothing half-made ever has the target's name. */
static int fetch_file(struct cli *cli, const char *sandbox_id, const struct source *src, const char *dest,
                      struct os_error *err)
{
    struct os_arena *a = &cli->arena;
    struct stat st;
    bool in_dir = os_str_ends(dest, "/") || (stat(dest, &st) == 0 && S_ISDIR(st.st_mode));
    const char *target = in_dir ? os_arena_printf(a, "%s/%s", dest, base_of(a, src->path)) : dest;
    if (stat(target, &st) == 0 && S_ISDIR(st.st_mode))
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "cannot overwrite directory '%s' with downloaded file", target);
    const char *parent = dirname(os_arena_strdup(a, target));
    char *temp = os_arena_printf(a, "%s/.openshell-download.XXXXXX", parent);
    if (os_dir_make(parent, 0777, err) < 0)
        return -1;
    if (!mkdtemp(temp))
        return os_error_sys(err, errno, "cannot make a directory in '%s'", parent);
    cleanup_close int root = open(temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *base = base_of(a, src->real);
    struct extract *x = extract_new(root, false, base);
    int rc = root < 0 ? os_error_sys(err, errno, "cannot open '%s'", temp)
                      : transfer(cli, sandbox_id, dirname(os_arena_strdup(a, src->real)), base, x, err);
    extract_free(x);
    const char *from = os_arena_printf(a, "%s/%s", temp, base);
    if (rc == 0 && rename(from, target) < 0)
        rc = os_error_sys(err, errno, "cannot write '%s'", target);
    unlink(from);
    rmdir(temp);
    return rc;
}

static int fetch_dir(struct cli *cli, const char *sandbox_id, const struct source *src, const char *dest,
                     struct os_error *err)
{
    struct stat st;
    bool there = stat(dest, &st) == 0;
    if (there && !S_ISDIR(st.st_mode))
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "cannot extract directory '%s' over non-directory destination '%s'", src->path,
                            dest);
    if (!there && os_dir_make(dest, 0777, err) < 0)
        return -1;
    cleanup_close int root = open(dest, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return os_error_sys(err, errno, "cannot open '%s'", dest);
    struct extract *x = extract_new(root, !there, NULL);
    int rc = transfer(cli, sandbox_id, src->real, ".", x, err);
    extract_free(x);
    return rc;
}

int sandbox_download_run(struct cli *cli, struct os_error *err)
{
    const char *name = args_positional(cli->args, 0), *dest = args_positional(cli->args, 2);
    struct source src = {.path = args_positional(cli->args, 1)};
    bool asked = dest && *dest;
    const Openshell__V1__Sandbox *s = cli_resolve(cli, err) < 0 ? NULL : cli_get_sandbox(cli, name, err);
    if (!s || sandbox_check_ready(s, err) < 0)
        return -1;
    const char *id = s->metadata->id;
    if (probe(cli, id, &src, err) < 0)
        return -1;
    /* What an agent made must not spread over the current directory, which may be a home directory. */
    if (!asked)
        dest = src.is_dir ? os_arena_printf(&cli->arena, "./%s", base_of(&cli->arena, src.real)) : ".";
    say(stderr, "Downloading sandbox:%s -> %s\n", src.path, dest);
    cli->catch_signals = true; /* nothing half-made is left behind */
    if ((src.is_dir ? fetch_dir(cli, id, &src, dest, err) : fetch_file(cli, id, &src, dest, err)) < 0)
        return -1;
    say(stderr, OK_MARK "✓" END " Download complete\n");
    return 0;
}
