/* State directories of the sandboxes: see state.h. */
#include "drivers/local/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/log.h"
#include "drivers/local/spec.h"
#include "drivers/local/tree.h"
#include "drivers/local/userns.h"
#include "sys/file.h"

#define SMALL_FILE 4096
#define LINE_MAX_LEN 300

char *state_path(const struct local_settings *cfg, const char *id)
{
    return os_asprintf("%s/%s", cfg->state_dir, id);
}

static char *file_path(const struct local_settings *cfg, const char *id, const char *name)
{
    return os_asprintf("%s/%s/%s", cfg->state_dir, id, name);
}

int state_make(const struct local_settings *cfg, const char *id, struct os_error *err)
{
    cleanup_free char *dir = state_path(cfg, id);
    if (mkdir(dir, 0700) < 0)
        return os_error_sys(err, errno, "cannot create state directory '%s'", dir);
    return 0;
}

/* Complete or not there: readers of another time never see half a file. */
static int replace(const char *path, const void *data, size_t n, struct os_error *err)
{
    cleanup_free char *tmp = os_asprintf("%s.new", path);
    cleanup_close int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || os_write_all(fd, data, n) < 0 || rename(tmp, path) < 0)
        return os_error_sys(err, errno, "cannot write '%s'", path);
    return 0;
}

/* --- spec --- */

int state_write_spec(const struct local_settings *cfg, const driver_sandbox *s, struct os_error *err)
{
    cleanup_free char *path = file_path(cfg, s->id, "spec");
    size_t n = openshell__compute__v1__driver_sandbox__get_packed_size(s);
    if (n > OS_LOCAL_SPEC)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "the sandbox description has %zu bytes; %zu are allowed", n, OS_LOCAL_SPEC);
    cleanup_free uint8_t *data = os_calloc(1, n + 1);
    openshell__compute__v1__driver_sandbox__pack(s, data);
    int rc = replace(path, data, n, err);
    explicit_bzero(data, n);
    return rc;
}

static int sync_path(const char *path, struct os_error *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? os_error_sys(err, errno, "cannot sync '%s'", path) : 0;
}

int state_sync(const struct local_settings *cfg, const char *id, struct os_error *err)
{
    cleanup_free char *dir = state_path(cfg, id), *spec = file_path(cfg, id, "spec");
    return sync_path(spec, err) < 0 || sync_path(dir, err) < 0 || sync_path(cfg->state_dir, err) < 0 ? -1 : 0;
}

driver_sandbox *state_read_spec(const struct local_settings *cfg, const char *id, struct os_error *err)
{
    cleanup_free char *path = file_path(cfg, id, "spec");
    cleanup_buf struct os_buf b = {0};
    if (!os_file_exists(path)) {
        os_error_set(err, OS_NOT_FOUND, "sandbox not found");
        return NULL;
    }
    if (os_file_read(path, OS_LOCAL_SPEC, &b, err) < 0)
        return NULL;
    driver_sandbox *s =
        openshell__compute__v1__driver_sandbox__unpack(NULL, b.len, (const uint8_t *)os_buf_str(&b));
    if (b.data)
        explicit_bzero(b.data, b.len);
    if (s && s->spec && strcmp(s->id, id) == 0)
        return s;
    if (s)
        openshell__compute__v1__driver_sandbox__free_unpacked(s, NULL);
    os_error_set(err, OS_DATA_LOSS, "'%s' is damaged; delete the sandbox", path);
    return NULL;
}

/* --- process and end --- */

static bool read_small(const struct local_settings *cfg, const char *id, const char *name, struct os_buf *b)
{
    cleanup_free char *path = file_path(cfg, id, name);
    cleanup_error struct os_error err = {0};
    return os_file_read(path, SMALL_FILE, b, &err) == 0;
}

int state_write_process(const struct local_settings *cfg, const char *id, const struct local_process *p,
                        struct os_error *err)
{
    cleanup_free char *path = file_path(cfg, id, "process");
    char text[240];
    int n = snprintf(text, sizeof(text), "%d %" PRIu64 " %s %s %s\n", (int)p->pid, p->start_time, p->boot_id,
                     p->instance_id, p->base);
    return replace(path, text, (size_t)n, err);
}

bool state_read_process(const struct local_settings *cfg, const char *id, struct local_process *p)
{
    cleanup_buf struct os_buf b = {0};
    int pid = 0;
    if (!read_small(cfg, id, "process", &b) ||
        sscanf(os_buf_str(&b), "%d %" SCNu64 " %36s %36s %36s", &pid, &p->start_time, p->boot_id,
               p->instance_id, p->base) != 5)
        return false;
    p->pid = pid;
    return pid > 0;
}

int state_write_ended(const struct local_settings *cfg, const char *id, const struct state_ended *e,
                      struct os_error *err)
{
    cleanup_free char *path = file_path(cfg, id, "ended");
    char text[64];
    if (!e)
        return unlink(path) < 0 && errno != ENOENT ? os_error_sys(err, errno, "cannot remove '%s'", path) : 0;
    int n = e->stopped ? snprintf(text, sizeof(text), "stopped\n")
                       : snprintf(text, sizeof(text), "exited %d%s\n", e->status, e->oom ? " oom" : "");
    return os_file_write_atomic(path, text, (size_t)n, 0600, err);
}

bool state_read_ended(const struct local_settings *cfg, const char *id, struct state_ended *e)
{
    cleanup_buf struct os_buf b = {0};
    *e = (struct state_ended){.status = -1};
    if (!read_small(cfg, id, "ended", &b))
        return false;
    e->stopped = os_str_starts(os_buf_str(&b), "stopped");
    if (!e->stopped && sscanf(os_buf_str(&b), "exited %d", &e->status) != 1)
        return false;
    e->oom = os_str_ends(os_buf_str(&b), " oom\n");
    return true;
}

/* --- root file system --- */

int state_write_rootfs(const struct local_settings *cfg, const char *id, const char *record,
                       struct os_error *err)
{
    cleanup_free char *path = file_path(cfg, id, "rootfs");
    return replace(path, record, strlen(record), err);
}

char *state_read_rootfs(const struct local_settings *cfg, const char *id)
{
    cleanup_buf struct os_buf b = {0};
    read_small(cfg, id, "rootfs", &b);
    return os_strdup(os_buf_str(&b));
}

char *state_read_image(const struct local_settings *cfg, const char *id)
{
    cleanup_free char *record = state_read_rootfs(cfg, id);
    return os_strdup(os_str_starts(record, "image ") ? record + strlen("image ") : "");
}

/* --- console log --- */

int state_open_log(const struct local_settings *cfg, const char *id, struct os_error *err)
{
    cleanup_free char *path = file_path(cfg, id, "log");
    struct stat st;
    bool full = stat(path, &st) == 0 && (size_t)st.st_size > OS_LOCAL_LOG;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | (full ? O_TRUNC : 0), 0600);
    return fd < 0 ? os_error_sys(err, errno, "cannot open '%s'", path) : fd;
}

char *state_last_line(const struct local_settings *cfg, const char *id)
{
    cleanup_free char *path = file_path(cfg, id, "log");
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char tail[SMALL_FILE + 1];
    off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    ssize_t n = size <= 0 ? 0 : pread(fd, tail, SMALL_FILE, size > SMALL_FILE ? size - SMALL_FILE : 0);
    while (n > 0 && (unsigned char)tail[n - 1] <= ' ')
        n--;
    if (n <= 0)
        return os_strdup("");
    tail[n] = '\0';
    char *line = memrchr(tail, '\n', (size_t)n);
    line = line ? line + 1 : tail;
    if (strlen(line) > LINE_MAX_LEN)
        line[LINE_MAX_LEN] = '\0';
    for (char *p = line; *p; p++)
        if ((unsigned char)*p < ' ' || (unsigned char)*p >= 0x7f)
            *p = ' ';
    return os_strdup(line);
}

/* --- directories --- */

static void clean_trash(const struct local_settings *cfg, const char *name)
{
    cleanup_error struct os_error err = {0};
    if (userns_remove(cfg, cfg->state_dir, name, &err) < 0)
        os_log_warn("local-driver", "%s", os_error_text(&err));
}

int state_scan(const struct local_settings *cfg, struct os_strv *ids, struct os_error *err)
{
    DIR *d = opendir(cfg->state_dir);
    if (!d)
        return os_error_sys(err, errno, "cannot read state directory '%s'", cfg->state_dir);
    struct os_strv trash = {0};
    for (const struct dirent *e; (e = readdir(d));) {
        cleanup_free char *spec = file_path(cfg, e->d_name, "spec");
        if (os_str_starts(e->d_name, STATE_TRASH) || (spec_id_valid(e->d_name) && !os_file_exists(spec)))
            os_strv_add(&trash, e->d_name);
        else if (spec_id_valid(e->d_name))
            os_strv_add(ids, e->d_name);
    }
    closedir(d);
    for (size_t i = 0; i < trash.n; i++)
        clean_trash(cfg, trash.v[i]);
    os_strv_free(&trash);
    return 0;
}

int state_remove(const struct local_settings *cfg, const char *id, bool *existed, struct os_error *err)
{
    cleanup_free char *dir = state_path(cfg, id), *trash = os_asprintf(STATE_TRASH "%s", id);
    cleanup_free char *to = state_path(cfg, trash);
    if (rename(dir, to) < 0 && (errno == ENOTEMPTY || errno == EEXIST)) {
        if (userns_remove(cfg, cfg->state_dir, trash, err) < 0)
            return -1;
        if (rename(dir, to) < 0 && errno != ENOENT)
            return os_error_sys(err, errno, "cannot rename '%s'", dir);
    }
    *existed = os_file_exists(to);
    return *existed ? userns_remove(cfg, cfg->state_dir, trash, err) : 0;
}

/* --- processes --- */

void state_boot_id(char out[OS_UUID_LEN])
{
    cleanup_buf struct os_buf b = {0};
    cleanup_error struct os_error err = {0};
    out[0] = '\0';
    if (os_file_read("/proc/sys/kernel/random/boot_id", SMALL_FILE, &b, &err) == 0)
        snprintf(out, OS_UUID_LEN, "%.36s", os_buf_str(&b));
}

uint64_t state_start_time(pid_t pid)
{
    char path[64];
    cleanup_buf struct os_buf b = {0};
    cleanup_error struct os_error err = {0};
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (os_file_read(path, SMALL_FILE, &b, &err) < 0)
        return 0;
    /* The name may hold anything; state is the first field after it, the start time the 20th. */
    char *p = strrchr(os_buf_str(&b), ')'), *save = NULL, *field = NULL;
    if (!p || p[1] != ' ' || p[2] == 'Z' || p[2] == 'X')
        return 0;
    for (int i = 0; i < 20; i++)
        if (!(field = strtok_r(i ? NULL : p + 1, " ", &save)))
            return 0;
    return strtoull(field, NULL, 10);
}
