/* <config>/forwards/<sandbox>-<port>.pid: "<pid>\t<sandbox id>\t<bind address>". */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/forward.h"
#include "cli/output.h"
#include "core/cleanup.h"
#include "core/str.h"
#include "sys/file.h"
#include "sys/paths.h"

#define RECORD_MAX 4096
#define CMDLINE_MAX 65536
#define STOP_MS 200 /* for the process to be gone */
#define SUFFIX ".pid"

static char *directory(struct os_error *err)
{
    cleanup_free char *root = os_config_dir(err);
    return root ? os_asprintf("%s/forwards", root) : NULL;
}

static char *record_path(const char *sandbox, uint16_t port, struct os_error *err)
{
    cleanup_free char *dir = directory(err);
    return dir ? os_asprintf("%s/%s-%u" SUFFIX, dir, sandbox, port) : NULL;
}

/* A number may have been given to another process: only one that looks like this forwarder is meant. */
static bool is_forwarder(pid_t pid, const char *sandbox_id)
{
    cleanup_buf struct os_buf text = {0};
    cleanup_free char *path = os_asprintf("/proc/%d/cmdline", (int)pid);
    bool forwarder = false, id = false;
    if (!*sandbox_id || kill(pid, 0) < 0 || os_file_read(path, CMDLINE_MAX, &text, NULL) < 0)
        return false;
    for (size_t at = 0; at < text.len; at += strlen(text.data + at) + 1) {
        id = id || (forwarder && strcmp(text.data + at, sandbox_id) == 0);
        forwarder = forwarder || strcmp(text.data + at, "--forwarder") == 0;
    }
    return id;
}

int forward_record_write(const struct forward_record *r, struct os_error *err)
{
    cleanup_free char *dir = directory(err), *path = record_path(r->sandbox, r->port, err);
    if (!path || os_dir_make(dir, 0700, err) < 0)
        return -1;
    cleanup_free char *text = os_asprintf("%d\t%s\t%s", (int)r->pid, r->sandbox_id, r->bind);
    return os_file_write_atomic(path, text, strlen(text), 0600, err);
}

/* "<sandbox>-<port>.pid"; false for other files. */
static bool parse_name(struct os_arena *a, const char *name, struct forward_record *r)
{
    uint64_t port;
    const char *dash = strrchr(name, '-');
    size_t n = strlen(name);
    if (!dash || dash == name || !os_str_ends(name, SUFFIX) ||
        !os_str_u64n(dash + 1, (size_t)(name + n - strlen(SUFFIX) - dash - 1), UINT16_MAX, &port) || !port)
        return false;
    r->sandbox = os_arena_strndup(a, name, (size_t)(dash - name));
    r->port = (uint16_t)port;
    return true;
}

static void parse_text(struct os_arena *a, const char *text, struct forward_record *r)
{
    uint64_t pid = 0;
    size_t n = strcspn(text, "\t"), k = text[n] ? strcspn(text + n + 1, "\t\n") : 0;
    const char *id = text[n] ? text + n + 1 : "", *bind = id[k] == '\t' ? id + k + 1 : "127.0.0.1";
    if (os_str_u64n(text, n, INT32_MAX, &pid))
        r->pid = (pid_t)pid;
    r->sandbox_id = os_arena_strndup(a, id, k);
    r->bind = os_arena_strndup(a, bind, strcspn(bind, "\t\n"));
    r->running = r->pid > 0 && is_forwarder(r->pid, r->sandbox_id);
}

static int by_sandbox(const void *a, const void *b)
{
    const struct forward_record *x = a, *y = b;
    int d = strcmp(x->sandbox, y->sandbox);
    return d ? d : (x->port > y->port) - (x->port < y->port);
}

int forward_records(struct os_arena *a, struct forward_record **out, size_t *n, struct os_error *err)
{
    cleanup_free char *path = directory(err);
    *out = NULL;
    *n = 0;
    if (!path)
        return -1;
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT ? 0 : os_error_sys(err, errno, "cannot read '%s'", path);
    size_t cap = 0;
    for (const struct dirent *e; (e = readdir(dir));) {
        struct forward_record r = {0};
        cleanup_buf struct os_buf text = {0};
        cleanup_free char *file = os_asprintf("%s/%s", path, e->d_name);
        if (!parse_name(a, e->d_name, &r) || os_file_read(file, RECORD_MAX, &text, NULL) < 0)
            continue;
        parse_text(a, os_buf_str(&text), &r);
        if (*n == cap) {
            struct forward_record *grown = os_arena_alloc(a, (cap = cap ? 2 * cap : 16) * sizeof(*grown));
            if (*n)
                memcpy(grown, *out, *n * sizeof(*grown));
            *out = grown;
        }
        (*out)[(*n)++] = r;
    }
    closedir(dir);
    if (*n)
        qsort(*out, *n, sizeof(**out), by_sandbox);
    return 0;
}

void forward_record_stop(const struct forward_record *r)
{
    cleanup_error struct os_error err = {0};
    if (r->running && kill(r->pid, SIGTERM) == 0)
        for (int i = 0; i < STOP_MS / 10 && is_forwarder(r->pid, r->sandbox_id); i++)
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    cleanup_free char *path = record_path(r->sandbox, r->port, &err);
    if (path)
        unlink(path);
}

void forward_stop_sandbox(struct cli *cli, const char *sandbox)
{
    cleanup_error struct os_error err = {0};
    struct forward_record *list;
    size_t n;
    forward_records(&cli->arena, &list, &n, &err);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].sandbox, sandbox) != 0)
            continue;
        forward_record_stop(&list[i]);
        if (list[i].running)
            say(stderr, OK_MARK "✓" END " Stopped forward of port %u for sandbox %s\n", list[i].port,
                sandbox);
    }
}
