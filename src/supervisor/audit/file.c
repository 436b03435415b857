/* The daily log. One write per line to a file opened for appending; the file changes with the UTC day.
 */
#include "supervisor/audit/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"
#include "sys/file.h"

struct audit_file {
    pthread_mutex_t lock;
    char *dir, *prefix;
    char day[11]; /* of the open file, "" = none */
    int fd;
};

struct audit_file *audit_file_new(const char *dir, const char *prefix)
{
    struct audit_file *f = os_calloc(1, sizeof(*f));
    pthread_mutex_init(&f->lock, NULL);
    f->dir = os_strdup(dir);
    f->prefix = os_strdup(prefix);
    f->fd = -1;
    return f;
}

void audit_file_free(struct audit_file *f)
{
    if (!f)
        return;
    if (f->fd >= 0)
        close(f->fd);
    pthread_mutex_destroy(&f->lock);
    free(f->dir);
    free(f->prefix);
    free(f);
}

void audit_text_line(int64_t time_ms, const char *shorthand, struct os_buf *out)
{
    char stamp[OS_CLOCK_TEXT_LEN];
    os_buf_addf(out, "%s OCSF %s", os_clock_iso(time_ms, stamp), shorthand);
}

/* True for "<prefix>.YYYY-MM-DD.log". */
static bool is_ours(const struct audit_file *f, const char *name)
{
    size_t n = strlen(f->prefix);
    if (strlen(name) != n + strlen(".YYYY-MM-DD.log") || strncmp(name, f->prefix, n) || name[n] != '.' ||
        !os_str_ends(name, ".log"))
        return false;
    for (size_t i = 0; i < 10; i++) {
        char c = name[n + 1 + i];
        if (i == 4 || i == 7 ? c != '-' : c < '0' || c > '9')
            return false;
    }
    return true;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void remove_old(const struct audit_file *f)
{
    cleanup_strv struct os_strv names = {0};
    DIR *d = opendir(f->dir);
    if (!d)
        return;
    for (const struct dirent *e; (e = readdir(d));)
        if (is_ours(f, e->d_name))
            os_strv_add(&names, e->d_name);
    if (names.n > OS_AUDIT_FILES)
        qsort(names.v, names.n, sizeof(*names.v), compare);
    for (size_t i = 0; names.n > OS_AUDIT_FILES && i < names.n - OS_AUDIT_FILES; i++)
        unlinkat(dirfd(d), names.v[i], 0);
    closedir(d);
}

static void open_day(struct audit_file *f, const char *day)
{
    if (f->fd >= 0)
        close(f->fd);
    cleanup_free char *path = os_asprintf("%s/%s.%s.log", f->dir, f->prefix, day);
    f->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (f->fd < 0)
        return;
    memcpy(f->day, day, sizeof(f->day));
    remove_old(f);
}

void audit_file_append(struct audit_file *f, int64_t time_ms, const char *lines, size_t n)
{
    char stamp[OS_CLOCK_TEXT_LEN], day[sizeof(f->day)];
    memcpy(day, os_clock_iso(time_ms, stamp), sizeof(day) - 1);
    day[sizeof(day) - 1] = '\0';
    pthread_mutex_lock(&f->lock);
    if (f->fd < 0 || strcmp(day, f->day))
        open_day(f, day);
    if (f->fd >= 0)
        os_write_all(f->fd, lines, n);
    pthread_mutex_unlock(&f->lock);
}

void audit_file_log(struct audit_file *f, int64_t time_ms, const char *level, const char *target,
                    const char *message)
{
    cleanup_buf struct os_buf line = {0};
    char stamp[OS_CLOCK_TEXT_LEN];
    os_buf_addf(&line, "%s %s %s: %s\n", os_clock_iso(time_ms, stamp), level, target, message);
    if (!line.failed)
        audit_file_append(f, time_ms, line.data, line.len);
}

void audit_file_sink(void *ctx, int64_t time_ms, const struct audit_event *ev, const char *shorthand)
{
    cleanup_buf struct os_buf line = {0};
    audit_text_line(time_ms, shorthand, &line);
    os_buf_addc(&line, '\n');
    if (!line.failed)
        audit_file_append(ctx, time_ms, line.data, line.len);
}
