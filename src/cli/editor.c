/* Opening editors on sandboxes. */
#include "cli/editor.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/ssh.h"
#include "cli/stream.h"
#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "sys/file.h"
#include "sys/paths.h"

static const struct editor {
    const char *name, *binary, *title;
} editors[] = {{"vscode", "code", "VS Code"}, {"cursor", "cursor", "Cursor"}};

/* Text of a file that need not exist. */
static int read_optional(const char *path, struct os_buf *out, struct os_error *err)
{
    if (os_file_read(path, OS_LIMIT_CONFIG_FILE, out, err) == 0)
        return 0;
    if (err->sys_errno != ENOENT)
        return -1;
    os_error_clear(err);
    return 0;
}

static int write_if_changed(const char *path, const struct os_buf *old, const struct os_buf *text,
                            struct os_error *err)
{
    if (strcmp(os_buf_str(old), os_buf_str(text)) == 0)
        return 0;
    cleanup_free char *real = realpath(path, NULL); /* a link to where the user keeps it stays a link */
    return os_file_write_atomic(real ? real : path, os_buf_str(text), text->len, 0600, err);
}

static int install(struct cli *cli, const char *name, struct os_error *err)
{
    cleanup_buf struct os_buf block = {0}, old = {0}, text = {0}, user = {0}, user_text = {0};
    cleanup_free char *root = os_config_dir(err);
    const char *home = getenv("HOME");
    if (!root || ssh_config_block(cli, name, &block, err) < 0)
        return -1;
    if (!home || !*home)
        return os_error_set(err, OS_FAILED_PRECONDITION, "HOME is not set");
    cleanup_free char *managed = os_asprintf("%s/ssh_config", root);
    cleanup_free char *dir = os_asprintf("%s/.ssh", home), *config = os_asprintf("%s/config", dir);
    cleanup_free char *include = os_asprintf("Include \"%s\"", managed);
    if (os_dir_make(root, 0700, err) < 0 || read_optional(managed, &old, err) < 0 ||
        os_dir_make(dir, 0700, err) < 0 || read_optional(config, &user, err) < 0)
        return -1;
    editor_place_block(os_buf_str(&old), os_buf_str(&block), &text);
    editor_place_include(os_buf_str(&user), include, &user_text);
    return write_if_changed(managed, &old, &text, err) < 0 ? -1
                                                           : write_if_changed(config, &user, &user_text, err);
}

void editor_forget(struct cli *cli, const char *name)
{
    cleanup_buf struct os_buf block = {0}, old = {0}, text = {0};
    cleanup_error struct os_error err = {0};
    cleanup_free char *root = os_config_dir(&err);
    cleanup_free char *managed = root ? os_asprintf("%s/ssh_config", root) : NULL;
    if (!managed || read_optional(managed, &old, &err) < 0 || !old.len)
        return;
    int rc = ssh_config_block(cli, name, &block, &err);
    const char *proxy = rc == 0 ? strstr(os_buf_str(&block), " ssh-proxy ") : NULL;
    if (proxy) {
        editor_drop_block(os_buf_str(&old), os_buf_str(&block), proxy, &text);
        rc = write_if_changed(managed, &old, &text, &err);
    }
    if (rc < 0)
        say(stderr, WARN_MARK "⚠" END " The Host block of sandbox %s stays in %s: %s\n", name, managed,
            os_error_text(&err));
}

static int take(void *ctx, const void *data, size_t n, struct os_error *err)
{
    struct os_buf *out = ctx;
    os_buf_add(out, data, n);
    return out->failed
               ? os_error_set(err, OS_DATA_LOSS,
                              "the workspace's path in the sandbox is longer than %zu bytes", out->max)
               : 0;
}

static int workspace_root(struct cli *cli, const char *sandbox_id, struct os_buf *out, struct os_error *err)
{
    static const char *const command[] = {"/bin/sh", "-c", "pwd -P"};
    const struct stream_io io = {.write = take, .ctx = out};
    int code = stream_run_command(cli, sandbox_id, command, OS_ARRAY_LEN(command), &io, err);
    if (code < 0)
        return -1;
    while (out->len && out->data[out->len - 1] == '\n')
        out->data[--out->len] = '\0';
    if (code > 0 || !out->len || *out->data != '/')
        return os_error_set(err, OS_FAILED_PRECONDITION, "remote workspace must be an absolute path");
    return 0;
}

static int launch(const struct editor *e, const char *alias, const char *root, struct os_error *err)
{
    cleanup_free char *remote = os_asprintf("ssh-remote+%s", alias);
    const char *const argv[] = {e->binary, "--remote", remote, root, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDERR_FILENO);
    int bad = posix_spawnp(&pid, e->binary, &actions, &attr, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    if (bad == ENOENT)
        return os_error_set(err, OS_NOT_FOUND, "%s is not installed or not on PATH", e->binary);
    return bad ? os_error_sys(err, bad, "cannot start %s", e->binary) : 0;
}

static const struct editor *find_editor(const char *name)
{
    return strcmp(name, editors[0].name) == 0 ? &editors[0] : &editors[1];
}

int editor_check(const char *editor, struct os_error *err)
{
    const struct editor *e = find_editor(editor);
    const char *path = getenv("PATH");
    cleanup_strv struct os_strv dirs = {0};
    os_strv_split(&dirs, path ? path : "/bin:/usr/bin", ':');
    for (size_t i = 0; i < dirs.n; i++) {
        cleanup_free char *file = os_asprintf("%s/%s", *dirs.v[i] ? dirs.v[i] : ".", e->binary);
        if (access(file, X_OK) == 0)
            return 0;
    }
    return os_error_set(err, OS_NOT_FOUND, "%s is not installed or not on PATH", e->binary);
}

int editor_open(struct cli *cli, const Openshell__V1__Sandbox *s, const char *editor, struct os_error *err)
{
    const struct editor *e = find_editor(editor);
    const char *name = s->metadata->name;
    cleanup_buf struct os_buf root = {.max = 4096};
    cleanup_free char *alias = os_asprintf("openshell-%s.%s", name, cli->workspace);
    if (editor_check(editor, err) < 0 || workspace_root(cli, s->metadata->id, &root, err) < 0 ||
        install(cli, name, err) < 0 || launch(e, alias, os_buf_str(&root), err) < 0)
        return -1;
    say(stderr, OK_MARK "✓" END " Opened %s for sandbox %s\n", e->title, name);
    return 0;
}
