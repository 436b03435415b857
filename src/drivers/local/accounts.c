/* passwd and group of a sandbox: see accounts.h. */
#include "drivers/local/accounts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "sys/file.h"

#define ACCOUNT_FILE_MAX ((size_t)1 << 20)
#define SYSTEM_ID_MAX 999 /* above: people (login.defs) */
#define NOBODY_ID 65534

/* "name:x:id:rest"; group members are people too, so they are left out. */
static void keep_line(const struct local_settings *cfg, const char *line, size_t n, bool group,
                      struct os_buf *out)
{
    const char *name_end = memchr(line, ':', n), *end = line + n;
    const char *id = name_end ? memchr(name_end + 1, ':', (size_t)(end - name_end - 1)) : NULL;
    const char *id_end = id ? memchr(id + 1, ':', (size_t)(end - id - 1)) : NULL;
    uint64_t value;
    if (!id_end || !os_str_u64n(id + 1, (size_t)(id_end - id - 1), UINT32_MAX, &value))
        return;
    if ((value > SYSTEM_ID_MAX && value != NOBODY_ID) || value == cfg->agent_uid || value == cfg->worker_uid)
        return;
    size_t name = (size_t)(name_end - line);
    if ((name == strlen(ACCOUNTS_AGENT) && memcmp(line, ACCOUNTS_AGENT, name) == 0) ||
        (name == strlen(ACCOUNTS_WORKER) && memcmp(line, ACCOUNTS_WORKER, name) == 0))
        return;
    os_buf_add(out, line, name);
    os_buf_adds(out, ":x:");
    os_buf_add(out, id + 1, group ? (size_t)(id_end - id) : (size_t)(end - id - 1));
    os_buf_addc(out, '\n');
}

void accounts_filter(const struct local_settings *cfg, const char *text, bool group, struct os_buf *out)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        keep_line(cfg, text, n, group, out);
        text += n + (text[n] == '\n');
    }
}

static int write_file(const char *etc, const char *name, const struct os_buf *b, struct os_error *err)
{
    cleanup_free char *path = os_asprintf("%s/%s", etc, name);
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 || os_write_all(fd, os_buf_str(b), b->len) < 0 || fchmod(fd, 0644) < 0)
        return os_error_sys(err, errno, "cannot write '%s'", path);
    return 0;
}

int accounts_write(const struct local_settings *cfg, const char *etc, struct os_error *err)
{
    for (int group = 0; group < 2; group++) {
        const char *name = group ? "group" : "passwd";
        cleanup_free char *host = os_asprintf("/etc/%s", name);
        cleanup_buf struct os_buf in = {0}, out = {0};
        if (os_file_exists(host) && os_file_read(host, ACCOUNT_FILE_MAX, &in, err) < 0)
            return -1;
        accounts_filter(cfg, os_buf_str(&in), group, &out);
        if (group)
            os_buf_addf(&out, "%s:x:%u:\n%s:x:%u:\n", ACCOUNTS_AGENT, cfg->agent_uid, ACCOUNTS_WORKER,
                        cfg->worker_uid);
        else
            os_buf_addf(&out, "%s:x:%u:%u::/sandbox:%s\n%s:x:%u:%u::/nonexistent:/usr/sbin/nologin\n",
                        ACCOUNTS_AGENT, cfg->agent_uid, cfg->agent_uid,
                        os_file_exists("/bin/bash") ? "/bin/bash" : "/bin/sh", ACCOUNTS_WORKER,
                        cfg->worker_uid, cfg->worker_uid);
        if (write_file(etc, name, &out, err) < 0)
            return -1;
    }
    return 0;
}
