/* Which process owns a connection (spec/supervisor.md 9): the kernel's socket table gives the inode, /proc
 * every process that holds it, and its executable, ancestors and command lines. Reads only what the kernel
 * says about processes; executables are handed to the worker as descriptors for hashing. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "net/netlink/diag.h"
#include "supervisor/monitor/internal.h"

#define MONITOR_PID 1
#define DELETED " (deleted)"

static void cleanup_dirp(DIR **d)
{
    if (*d)
        closedir(*d);
}

struct owners {
    pid_t pid[OS_SOCKET_OWNERS];
    size_t n;
    bool overflow;
    size_t left; /* descriptors that may still be looked at: the agent decides how many there are */
};

/* The whole policy identity of one process. */
struct identity {
    pid_t pid;
    struct os_strv exes; /* [0] the process itself, then its ancestors, parent first */
    struct os_strv cmdline;
    int fds[OS_ANCESTORS_MAX + 1]; /* executable of exes.v[i]; several may share a file */
};

static void identity_clear(struct identity *id)
{
    for (size_t i = 0; i < id->exes.n; i++)
        if (id->fds[i] >= 0)
            close(id->fds[i]);
    os_strv_free(&id->exes);
    os_strv_free(&id->cmdline);
}

/* One table of open files: /proc/<pid>/fd or /proc/<pid>/task/<tid>/fd. */
static bool table_holds(const char *path, const char *link, size_t *left)
{
    __attribute__((cleanup(cleanup_dirp))) DIR *d = opendir(path);
    if (!d)
        return false;
    size_t want = strlen(link);
    struct dirent *e;
    while (*left && (e = readdir(d))) {
        char target[64];
        if (!isdigit((unsigned char)e->d_name[0]))
            continue;
        (*left)--;
        ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof(target));
        if (n == (ssize_t)want && memcmp(target, link, want) == 0)
            return true;
    }
    return false;
}

/* A thread may have given itself a table of its own, to hide what it holds from a look at the process. */
static bool thread_holds(pid_t pid, const char *link, size_t *left)
{
    char path[96];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    __attribute__((cleanup(cleanup_dirp))) DIR *d = opendir(path);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        uint64_t tid;
        if (!os_str_u64(e->d_name, INT_MAX, &tid) || (pid_t)tid == pid ||
            syscall(SYS_kcmp, pid, (pid_t)tid, KCMP_FILES, 0, 0) == 0)
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task/%d/fd", (int)pid, (int)tid);
        if (table_holds(path, link, left))
            return true;
    }
    return false;
}

static bool holds_socket(pid_t pid, const char *link, size_t *left)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    return table_holds(path, link, left) || thread_holds(pid, link, left);
}

static int compare_pid(const void *a, const void *b)
{
    pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;
    return x < y ? -1 : x > y;
}

static int find_owners(const struct monitor *m, uint64_t inode, struct owners *out, struct os_error *err)
{
    char link[64];
    snprintf(link, sizeof(link), "socket:[%llu]", (unsigned long long)inode);
    __attribute__((cleanup(cleanup_dirp))) DIR *proc = opendir("/proc");
    if (!proc)
        return os_error_sys(err, errno, "failed to resolve peer binary: cannot read /proc");
    struct dirent *e;
    while ((e = readdir(proc))) {
        uint64_t pid;
        if (!os_str_u64(e->d_name, INT_MAX, &pid) || (pid_t)pid == getpid() || (pid_t)pid == m->worker)
            continue;
        bool holds = holds_socket((pid_t)pid, link, &out->left);
        if (!out->left)
            return os_error_set(err, OS_RESOURCE_EXHAUSTED,
                                "failed to resolve peer binary: more than %d descriptors are open in the "
                                "sandbox; close some",
                                OS_OWNER_DESCRIPTORS);
        if (!holds)
            continue;
        if (out->n == OS_SOCKET_OWNERS) {
            out->overflow = true;
            break;
        }
        out->pid[out->n++] = (pid_t)pid;
    }
    qsort(out->pid, out->n, sizeof(out->pid[0]), compare_pid);
    return 0;
}

/* Text of /proc/<pid>/exe; " (deleted)" goes only when no file of that full name exists. */
static int read_exe(pid_t pid, char out[PATH_MAX], struct os_error *err)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    ssize_t n = readlink(path, out, PATH_MAX - 1);
    if (n <= 0)
        return os_error_sys(err, n < 0 ? errno : ENOENT, "failed to resolve peer binary for PID %d",
                            (int)pid);
    out[n] = '\0';
    struct stat st;
    if (os_str_ends(out, DELETED) && lstat(out, &st) < 0)
        out[n - (ssize_t)strlen(DELETED)] = '\0';
    return 0;
}

static int add_exe(struct identity *id, pid_t pid, struct os_error *err)
{
    char text[PATH_MAX], path[64];
    if (read_exe(pid, text, err) < 0)
        return -1;
    snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return os_error_sys(err, errno, "failed to resolve peer binary for PID %d", (int)pid);
    id->fds[id->exes.n] = fd;
    os_strv_add(&id->exes, text);
    return 0;
}

/* Absolute paths among the arguments. */
static void add_cmdline(struct identity *id, pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    cleanup_free char *text = os_calloc(1, OS_CMDLINE + 1);
    size_t len = 0;
    ssize_t n;
    while (len < OS_CMDLINE && (n = read(fd, text + len, OS_CMDLINE - len)) > 0)
        len += (size_t)n;
    for (const char *p = text; p < text + len; p += strlen(p) + 1)
        if (*p == '/' && strlen(p) < PATH_MAX && id->cmdline.n < OS_CMDLINE_PATHS &&
            !os_strv_has(&id->cmdline, p))
            os_strv_add(&id->cmdline, p);
}

static pid_t parent_of(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return -1;
    text[n] = '\0';
    const char *end = strrchr(text, ')'); /* the name in parentheses is the process's own choice */
    int parent;
    char state;
    if (!end || sscanf(end + 1, " %c %d", &state, &parent) != 2)
        return -1;
    return parent;
}

/* Executable, ancestors up to the main process or the monitor (inclusive), command lines. */
static int read_identity(const struct monitor *m, pid_t pid, struct identity *id, struct os_error *err)
{
    id->pid = pid;
    pid_t at = pid;
    for (size_t depth = 0; depth <= OS_ANCESTORS_MAX; depth++) {
        if (add_exe(id, at, err) < 0)
            return -1;
        if (at != getpid()) /* our own arguments tell nothing about the agent */
            add_cmdline(id, at);
        if (at == m->main_pid || at == getpid() || at == MONITOR_PID)
            break;
        at = parent_of(at);
        if (at < 0)
            return os_error_set(err, OS_NOT_FOUND,
                                "failed to resolve peer binary for PID %d: an ancestor ended meanwhile",
                                (int)pid);
        if (at == 0)
            break;
    }
    return 0;
}

static bool same_file(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static bool same_list(const struct os_strv *a, const struct os_strv *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->v[i], b->v[i]) != 0)
            return false;
    return true;
}

static bool same_identity(const struct identity *a, const struct identity *b)
{
    if (!same_list(&a->exes, &b->exes) || !same_list(&a->cmdline, &b->cmdline))
        return false;
    for (size_t i = 0; i < a->exes.n; i++)
        if (!same_file(a->fds[i], b->fds[i]))
            return false;
    return true;
}

static int ambiguous(const struct owners *o, uint64_t inode, struct os_error *err)
{
    struct os_buf cleanup_buf list = {0};
    for (size_t i = 0; i < o->n; i++)
        os_buf_addf(&list, "%s%d", i ? ", " : "", (int)o->pid[i]);
    return os_error_set(
        err, OS_PERMISSION_DENIED,
        "ambiguous shared socket ownership: inode %llu is held by PIDs [%s%s] with different policy "
        "identities",
        (unsigned long long)inode, os_buf_str(&list), o->overflow ? ", ..." : "");
}

static void encode(const struct identity *id, struct os_buf *body, int *fds, size_t *n_fds)
{
    protocol_put_u32(body, (uint32_t)id->pid);
    protocol_put_list(body, (const char *const *)id->exes.v, id->exes.n);
    struct os_strv cleanup_strv paths = {0};
    for (size_t i = 0; i < id->cmdline.n; i++)
        if (!os_strv_has(&id->exes, id->cmdline.v[i]))
            os_strv_add(&paths, id->cmdline.v[i]);
    protocol_put_list(body, (const char *const *)paths.v, paths.n);
    for (size_t i = 0; i < id->exes.n; i++)
        fds[(*n_fds)++] = id->fds[i];
}

static int read_owners(const struct monitor *m, const struct owners *o, uint64_t inode,
                       struct identity *first, struct os_error *err)
{
    if (read_identity(m, o->pid[0], first, err) < 0)
        return -1;
    for (size_t i = 1; i < o->n; i++) {
        struct identity other = {0};
        int r = read_identity(m, o->pid[i], &other, err);
        bool same = r == 0 && same_identity(first, &other);
        identity_clear(&other);
        if (r < 0)
            return -1;
        if (!same)
            return ambiguous(o, inode, err);
    }
    return o->overflow ? ambiguous(o, inode, err) : 0;
}

static int find_connection(const struct monitor *m, const struct protocol_request *r, struct netlink_tcp *out,
                           struct os_error *err)
{
    if (m->main_pid == 0)
        return os_error_set(err, OS_FAILED_PRECONDITION, "entrypoint process not yet spawned");
    if (netlink_tcp_lookup(m->diag, &r->identify.agent, &r->identify.local, out, err) < 0)
        return os_error_wrap(err, "failed to resolve peer binary: No ESTABLISHED TCP connection found");
    return 0;
}

/* On success the caller owns fds (duplicates are not made: the identity gives them up). */
int monitor_identify(struct monitor *m, const struct protocol_request *r, struct os_buf *body, int *fds,
                     size_t *n_fds, struct os_error *err)
{
    struct netlink_tcp tcp;
    struct owners owners = {.left = OS_OWNER_DESCRIPTORS};
    if (find_connection(m, r, &tcp, err) < 0 || find_owners(m, tcp.inode, &owners, err) < 0)
        return -1;
    if (owners.n == 0)
        return os_error_set(err, OS_NOT_FOUND,
                            "failed to resolve peer binary: no process holds socket inode %llu",
                            (unsigned long long)tcp.inode);
    struct identity first = {0};
    int result = read_owners(m, &owners, tcp.inode, &first, err);
    if (result == 0) {
        encode(&first, body, fds, n_fds);
        for (size_t i = 0; i < first.exes.n; i++)
            first.fds[i] = -1; /* now the caller's */
    }
    identity_clear(&first);
    return result;
}
