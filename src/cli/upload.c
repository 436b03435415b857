/* `sandbox upload` (spec/cli.md 7.5): a tar archive over the exec stream to the sandbox's own tar. */
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/program.h"
#include "cli/sandbox.h"
#include "cli/stream.h"
#include "cli/tar.h"
#include "cli/upload.h"
#include "core/cleanup.h"
#include "core/str.h"

#define GIT_LIST_MAX ((size_t)64 << 20) /* bytes of a file list */

/* Where it goes: a directory of the sandbox and the name in it, "" for the contents alone. */
struct plan {
    const char *dir, *name;
};

static const char *base_of(struct os_arena *a, const char *path)
{
    char *copy = os_arena_strdup(a, path);
    const char *base = basename(copy);
    return strcmp(base, ".") == 0 || strcmp(base, "..") == 0 || strcmp(base, "/") == 0 ? "" : base;
}

static struct plan make_plan(struct os_arena *a, const char *path, const char *dest, bool is_dir)
{
    struct plan p = {.dir = dest ? dest : ".", .name = base_of(a, path)};
    size_t n = dest ? strlen(dest) : 0;
    if (is_dir || !n || dest[n - 1] == '/')
        return p;
    const char *slash = strrchr(dest, '/');
    if (slash == dest) /* a name at the root is taken as a directory */
        return p;
    p.dir = slash ? os_arena_strndup(a, dest, (size_t)(slash - dest)) : ".";
    p.name = slash ? slash + 1 : dest;
    return p;
}

/* --- .gitignore --- */

/* The environment without what would point git elsewhere. */
static char **git_environment(struct os_arena *a)
{
    static const char *const dropped[] = {"GIT_DIR=",
                                          "GIT_WORK_TREE=",
                                          "GIT_INDEX_FILE=",
                                          "GIT_PREFIX=",
                                          "GIT_COMMON_DIR=",
                                          "GIT_OBJECT_DIRECTORY=",
                                          "GIT_ALTERNATE_OBJECT_DIRECTORIES="};
    size_t n = 0, k = 0;
    while (environ[n])
        n++;
    char **env = os_arena_alloc(a, (n + 1) * sizeof(*env));
    for (size_t i = 0; i < n; i++) {
        bool keep = true;
        for (size_t d = 0; d < OS_ARRAY_LEN(dropped); d++)
            keep = keep && !os_str_starts(environ[i], dropped[d]);
        if (keep)
            env[k++] = environ[i];
    }
    return env;
}

/* Output of git in a directory; false when it failed for whatever reason. */
static bool git(struct os_arena *a, const char *dir, const char *const *words, struct os_buf *out)
{
    const char *argv[16] = {"git", "-C", dir};
    for (size_t n = 3; *words && n < OS_ARRAY_LEN(argv) - 1; words++)
        argv[n++] = *words;
    return program_output(argv, git_environment(a), out) == 0;
}

static char *dir_part(struct os_arena *a, const char *path)
{
    return dirname(os_arena_strdup(a, path));
}

/* Adds what git tracks or would track; false when git has nothing to say and everything is to be taken. */
static int add_by_git(struct tar_writer *w, struct os_arena *a, const char *path, bool is_dir,
                      const char *name, bool *used, struct os_error *err)
{
    struct os_buf cleanup_buf list = {.max = GIT_LIST_MAX};
    char absolute[PATH_MAX];
    *used = false;
    if (!realpath(path, absolute))
        return 0;
    const char *const words[] = {
        "ls-files", "-co", "--exclude-standard", "-z", "--", is_dir ? "." : base_of(a, absolute), NULL};
    if (!git(a, is_dir ? absolute : dir_part(a, absolute), words, &list))
        return 0;
    if (!list.len) {
        say(stderr, "⚠ .gitignore filtering excluded all files in %s; uploading unfiltered\n", path);
        return 0;
    }
    *used = true;
    if (!is_dir)
        return tar_writer_add(w, path, name, err);
    for (size_t at = 0; at < list.len; at += strlen(list.data + at) + 1) {
        const char *relative = list.data + at;
        if (tar_writer_add(w, os_arena_printf(a, "%s/%s", path, relative),
                           os_arena_printf(a, "%s%s%s", name, *name ? "/" : "", relative), err) < 0)
            return -1;
    }
    return 0;
}

static int collect(struct cli *cli, struct tar_writer *w, const char *path, const struct stat *st,
                   const char *name, struct os_error *err)
{
    bool used = false;
    if (!args_given(cli->args, "no-git-ignore") && !S_ISLNK(st->st_mode) &&
        add_by_git(w, &cli->arena, path, S_ISDIR(st->st_mode), name, &used, err) < 0)
        return -1;
    return used ? 0 : tar_writer_add_tree(w, path, name, err);
}

/* --- transfer --- */

static ssize_t next_bytes(void *ctx, void *data, size_t n, struct os_error *err)
{
    return tar_writer_read(ctx, data, n, err);
}

/* Into directory $1. What has a name of its own ($2) and is a file ($3) or new there is unpacked beside its
 * place and moved when it is complete, so that an upload that is broken off leaves nothing; the rest is
 * merged into what there is. -p keeps modes whatever the umask, -o leaves ownership to the agent. */
static const char RECEIVE[] = "mkdir -p -- \"$1\" || exit\n"
                              "to=$1/$2\n"
                              "if [ -z \"$2\" ] || { [ -z \"$3\" ] && [ -e \"$to\" -o -L \"$to\" ]; }; then\n"
                              "  exec tar xpof - -C \"$1\"\n"
                              "fi\n"
                              "if [ -d \"$to\" ] && [ ! -L \"$to\" ]; then\n"
                              "  echo \"cannot overwrite directory '$to' with a file\" >&2; exit 1\n"
                              "fi\n"
                              "temp=$1/.openshell-upload.$$\n"
                              "mkdir -m 700 -- \"$temp\" || exit\n"
                              "trap 'chmod -R u+rwX \"$temp\"; rm -rf -- \"$temp\"' EXIT\n"
                              "trap '' HUP INT TERM PIPE\n" /* the end of its input ends tar */
                              "tar xpof - -C \"$temp\" || exit\n"
                              "[ ! -L \"$to\" ] || rm -f -- \"$to\"\n"
                              "new=$temp/$2 mode=\n" /* a directory is moved by who may write to it */
                              "[ -w \"$new\" ] || { mode=$(stat -c %a \"$new\") && chmod u+w \"$new\"; }\n"
                              "mv -f -- \"$new\" \"$to\" || exit\n"
                              "[ -z \"$mode\" ] || chmod \"$mode\" \"$to\"\n";

static int transfer(struct cli *cli, const char *sandbox_id, const struct plan *plan, bool is_dir,
                    struct tar_writer *w, struct os_error *err)
{
    const char *const command[] = {"/bin/sh",           "-c", RECEIVE, "sh", plan->dir, plan->name,
                                   is_dir ? "" : "file"};
    const struct stream_io io = {.read = next_bytes, .ctx = w};
    int code = stream_run_command(cli, sandbox_id, command, OS_ARRAY_LEN(command), &io, err);
    if (code > 0)
        return os_error_set(err, OS_UNKNOWN, "tar extract in the sandbox exited with status %d", code);
    return code;
}

int upload_check(const char *path, struct os_error *err)
{
    struct stat st;
    return lstat(path, &st) == 0 ? 0 : os_error_set(err, OS_NOT_FOUND, "local path does not exist: %s", path);
}

int upload_path(struct cli *cli, const char *sandbox_id, const char *path, const char *dest,
                struct os_error *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return upload_check(path, err);
    const struct plan plan = make_plan(&cli->arena, path, dest, S_ISDIR(st.st_mode));
    struct tar_writer *w = tar_writer_new();
    int rc = collect(cli, w, path, &st, plan.name, err);
    bool catching = cli->catch_signals;
    cli->catch_signals = true;
    if (rc == 0)
        rc = transfer(cli, sandbox_id, &plan, S_ISDIR(st.st_mode), w, err);
    cli->catch_signals = catching;
    if (cli->caught)
        os_error_set(err, OS_CANCELLED,
                     S_ISDIR(st.st_mode) ? "interrupted; files that had arrived may be in the sandbox"
                                         : "interrupted; a file that is not complete is not in the sandbox");
    tar_writer_free(w);
    return rc;
}

int sandbox_upload_run(struct cli *cli, struct os_error *err)
{
    const char *name = args_positional(cli->args, 0), *path = args_positional(cli->args, 1);
    const char *dest = args_positional(cli->args, 2);
    if (dest && !*dest)
        dest = NULL;
    if (upload_check(path, err) < 0 || cli_resolve(cli, err) < 0)
        return -1;
    const Openshell__V1__Sandbox *s = cli_get_sandbox(cli, name, err);
    if (!s || sandbox_check_ready(s, err) < 0)
        return -1;
    say(stderr, "Uploading %s -> sandbox:%s\n", path, dest ? dest : "~");
    if (upload_path(cli, s->metadata->id, path, dest, err) < 0)
        return -1;
    say(stderr, OK_MARK "✓" END " Upload complete\n");
    return 0;
}
