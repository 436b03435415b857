/* The launch plan of a sandbox: see plan.h. Read from top to bottom of plan_build it is the sandbox's file
 * system in the order in which it is put together. */
#include "drivers/local/plan.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "drivers/local/base.h"
#include "drivers/local/environ.h"
#include "drivers/local/mountinfo.h"
#include "drivers/local/shares.h"
#include "drivers/local/state.h"
#include "sys/file.h"

#define MATERIAL_MAX ((size_t)1 << 20) /* certificate, key, hosts and resolver files */
#define PLAN_SIZE ((size_t)64 << 10)
#define PLAN_SIZE_RULES (PLAN_SIZE + OS_RULES_TEXT + OS_LIMIT_POLICY_YAML)
#define MOUNTINFO_MAX ((size_t)4 << 20)
#define HOSTNAME_MAX 63
#define RUN_SIZE "64m"
#define CONTROL_SIZE "8m"

static const char *const var_dirs[] = {
#define X(path) path,
#include "drivers/local/tbl/var.h"
#undef X
};

/* Shows of the kernel that a sandbox has no business with. */
static const char *const proc_masked[] = {"proc/acpi",
                                          "proc/asound",
                                          "proc/kcore",
                                          "proc/keys",
                                          "proc/scsi",
                                          "proc/kmsg",
                                          "proc/timer_list",
                                          "proc/sysrq-trigger",
                                          "proc/sched_debug",
                                          "proc/latency_stats",
                                          "proc/kallsyms",
                                          "sys/firmware",
                                          "sys/class/net",
                                          "sys/devices/virtual/net",
                                          "sys/devices/virtual/powercap",
                                          "sys/kernel/debug",
                                          "sys/kernel/tracing"};
static const char *const proc_readonly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys"};

/* One operation: name and arguments, ended by NULL. */
static void op(struct os_buf *out, ...)
{
    va_list ap;
    va_start(ap, out);
    for (const char *text; (text = va_arg(ap, const char *));)
        os_buf_add(out, text, strlen(text) + 1);
    va_end(ap);
}

static void plan_namespaces(const driver_sandbox *s, const struct cgroups *cgroups,
                            const struct os_strv *leaves, struct os_buf *out)
{
    cleanup_free char *hostname =
        os_strndup(s->name, strlen(s->name) < HOSTNAME_MAX ? strlen(s->name) : HOSTNAME_MAX);
    for (size_t i = 0; i < leaves->n; i++)
        if (!cgroups->h[i].v2)
            op(out, "cgroup", leaves->v[i], NULL);
    op(out, "cgroupns", NULL);
    op(out, "hostname", hostname, NULL);
    op(out, "private", NULL);
}

/* --- the host's system --- */

struct submounts {
    const struct os_strv *tops;
    const struct local_settings *cfg;
    struct os_buf *out;
};

static bool below(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && (path[n] == '/' || !path[n]);
}

/* Overlays do not bring along what is mounted below their lower directory. /etc is left to its layer: what
 * container engines mount there (resolv.conf, hosts, hostname) is written anew. */
static void on_submount(void *ctx, const struct mountinfo *m)
{
    static const char *const types[] = {"ext2", "ext3",     "ext4",  "xfs",     "btrfs", "zfs",
                                        "f2fs", "squashfs", "erofs", "overlay", "tmpfs"};
    const struct submounts *sub = ctx;
    bool wanted = false;
    for (size_t i = 0; i < OS_ARRAY_LEN(types); i++)
        wanted = wanted || strcmp(m->type, types[i]) == 0;
    for (size_t i = 0; i < sub->cfg->mask.n; i++)
        wanted = wanted && !below(m->point, sub->cfg->mask.v[i]);
    if (!wanted || below(m->point, "/etc") || below(m->point, "/opt/openshell"))
        return;
    for (size_t i = 0; i < sub->tops->n; i++) {
        size_t n = strlen(sub->tops->v[i]);
        if (strncmp(m->point + 1, sub->tops->v[i], n) == 0 && m->point[n + 1] == '/')
            op(sub->out, "bind", m->point, m->point + 1, "ro", NULL);
    }
}

/* Only /etc is written to: by the supervisor, as root. */
static void plan_top(const struct local_settings *cfg, const char *dir, const char *top, struct os_buf *out)
{
    cleanup_free char *host = os_asprintf("/%s", top), *cover = base_path(cfg, top);
    cleanup_free char *upper = os_asprintf("%s/%s", dir, top), *work = os_asprintf("%s/%s-work", dir, top);
    if (!os_file_exists(cover))
        op(out, "bind", host, top, "ro", NULL);
    else if (strcmp(top, "etc") == 0)
        op(out, "overlay", cover, host, upper, work, top, NULL);
    else
        op(out, "overlay", cover, host, "", "", top, NULL);
}

/* As an ordinary user nothing of the host can be a lower layer: its directories are bound as they are, with
 * everything mounted in them, and what is to be hidden is mounted over. */
static void plan_user_system(const struct local_settings *cfg, const struct os_strv *tops, struct os_buf *out)
{
    cleanup_strv struct os_strv opt = {0};
    cleanup_free char *base = base_path(cfg, "root");
    base_opt(&opt);
    for (size_t i = 0; i < tops->n; i++) {
        cleanup_free char *host = os_asprintf("/%s", tops->v[i]);
        if (strcmp(tops->v[i], "etc") != 0 && strcmp(tops->v[i], "opt") != 0)
            op(out, "bind", host, tops->v[i], "ro", NULL);
    }
    for (size_t i = 0; i < opt.n; i++) {
        cleanup_free char *host = os_asprintf("/opt/%s", opt.v[i]), *point = os_asprintf("%s%s", base, host);
        if (os_file_exists(point))
            op(out, "bind", host, host + 1, "ro", NULL);
    }
    for (size_t i = 0; i < cfg->mask.n; i++)
        op(out, "mask", cfg->mask.v[i] + 1, NULL);
}

static int plan_host_system(const struct local_settings *cfg, const struct os_strv *tops, const char *dir,
                            struct os_buf *out, struct os_error *err)
{
    cleanup_buf struct os_buf mounts = {0};
    for (size_t i = 0; i < tops->n; i++)
        plan_top(cfg, dir, tops->v[i], out);
    if (os_file_read("/proc/self/mountinfo", MOUNTINFO_MAX, &mounts, err) < 0)
        return -1;
    mountinfo_each(os_buf_str(&mounts), on_submount, &(struct submounts){tops, cfg, out});
    return 0;
}

static int plan_system(const struct local_settings *cfg, const char *dir, struct os_buf *out,
                       struct os_error *err)
{
    cleanup_strv struct os_strv tops = {0};
    base_shared(cfg, &tops);
    if (cfg->userns.on)
        plan_user_system(cfg, &tops, out);
    else if (plan_host_system(cfg, &tops, dir, out, err) < 0)
        return -1;
    for (size_t i = 0; i < OS_ARRAY_LEN(var_dirs); i++) {
        cleanup_free char *host = os_asprintf("/%s", var_dirs[i]);
        if (os_file_exists(host))
            op(out, "bind", host, var_dirs[i], "ro", NULL);
    }
    return 0;
}

/* --- a root file system that is not the host's --- */

/* One without trust roots of its own gets the host's: neither the supervisor nor the agent could tell a
 * server from an impostor otherwise. */
static void plan_roots(const struct rootfs *rootfs, struct os_buf *out)
{
    static const char *const bundles[] = {"/etc/ssl/certs/ca-certificates.crt",
                                          "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
                                          "/etc/ssl/cert.pem"};
    const char *host = NULL;
    for (size_t i = OS_ARRAY_LEN(bundles); i-- > 0;) {
        if (rootfs_has(rootfs, bundles[i]))
            return;
        if (os_file_exists(bundles[i]))
            host = bundles[i];
    }
    if (!host)
        return;
    op(out, "dir", "etc/ssl", "755", "0", "0", NULL);
    op(out, "dir", "etc/ssl/certs", "755", "0", "0", NULL);
    op(out, "file", "etc/ssl/certs/ca-certificates.crt", "644", "0", "0", "", NULL);
    op(out, "bind", host, "etc/ssl/certs/ca-certificates.crt", "ro", NULL);
}

/* --- kernel file systems --- */

static void plan_kernel(const struct cgroups *cgroups, const struct os_strv *leaves, struct os_buf *out)
{
    op(out, "proc", "proc", NULL);
    op(out, "sysfs", "sys", NULL);
    op(out, "dev", "dev", NULL);
    for (size_t i = 0; i < OS_ARRAY_LEN(proc_masked); i++)
        op(out, "mask", proc_masked[i], NULL);
    for (size_t i = 0; i < OS_ARRAY_LEN(proc_readonly); i++)
        op(out, "readonly", proc_readonly[i], NULL);
    if (leaves->n == 1 && cgroups->h[0].v2) {
        op(out, "bind", leaves->v[0], "sys/fs/cgroup", "ro", NULL);
        return;
    }
    op(out, "tmpfs", "sys/fs/cgroup", "0755", "64k", NULL);
    for (size_t i = 0; i < leaves->n; i++) {
        cleanup_free char *at = os_asprintf("sys/fs/cgroup/%s", cgroups->h[i].label);
        op(out, "dir", at, "755", "0", "0", NULL);
        op(out, "bind", leaves->v[i], at, "ro", NULL);
        cleanup_free char *limit = os_asprintf("%s/pids.max", cgroups->h[i].label);
        if (cgroups->h[i].controllers & CGROUP_PIDS)
            op(out, "link", "sys/fs/cgroup/pids.max", limit, NULL);
    }
}

/* --- the sandbox's own --- */

static int plan_copy(const char *host, const char *inside, const char *mode, struct os_buf *out,
                     struct os_error *err)
{
    cleanup_buf struct os_buf b = {0};
    if (os_file_read(host, MATERIAL_MAX, &b, err) < 0)
        return -1;
    if (strlen(os_buf_str(&b)) != b.len)
        return os_error_set(err, OS_FAILED_PRECONDITION, "'%s' is not a text file", host);
    op(out, "file", inside, mode, "0", "0", os_buf_str(&b), NULL);
    if (b.data)
        explicit_bzero(b.data, b.len);
    return 0;
}

/* Token and keys live in a memory file system: readable by root, gone with the sandbox's namespace. */
static int plan_material(const struct local_settings *cfg, const driver_sandbox *s, struct os_buf *out,
                         struct os_error *err)
{
    op(out, "tmpfs", "etc/openshell", "0755", CONTROL_SIZE, NULL);
    op(out, "dir", "etc/openshell/auth", "700", "0", "0", NULL);
    op(out, "dir", "etc/openshell/tls", "700", "0", "0", NULL);
    op(out, "dir", "etc/openshell/tls/client", "700", "0", "0", NULL);
    op(out, "dir", "etc/openshell/operator", "755", "0", "0", NULL);
    if (*s->spec->sandbox_token) {
        cleanup_free char *line = os_asprintf("%s\n", s->spec->sandbox_token);
        op(out, "file", INSIDE_TOKEN, "400", "0", "0", line, NULL);
        explicit_bzero(line, strlen(line));
    }
    if (cfg->tls_ca && (plan_copy(cfg->tls_ca, INSIDE_TLS "/ca.crt", "400", out, err) < 0 ||
                        plan_copy(cfg->tls_cert, INSIDE_TLS "/tls.crt", "400", out, err) < 0 ||
                        plan_copy(cfg->tls_key, INSIDE_TLS "/tls.key", "400", out, err) < 0))
        return -1;
    if (cfg->proxy_auth_file && plan_copy(cfg->proxy_auth_file, INSIDE_PROXY_AUTH, "400", out, err) < 0)
        return -1;
    if (cfg->policy_rules_file && plan_copy(cfg->policy_rules_file, INSIDE_POLICY_RULES, "400", out, err) < 0)
        return -1;
    if (cfg->policy_data_file && plan_copy(cfg->policy_data_file, INSIDE_POLICY_DATA, "400", out, err) < 0)
        return -1;
    if (cfg->extra_hosts)
        op(out, "file", INSIDE_EXTRA_HOSTS, "444", "0", "0", cfg->extra_hosts, NULL);
    return cfg->extra_ca_file ? plan_copy(cfg->extra_ca_file, INSIDE_EXTRA_CA, "444", out, err) : 0;
}

/* The address this machine uses towards others; no packet is sent. */
static void own_address(char out[INET_ADDRSTRLEN])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9)};
    socklen_t n = sizeof(a);
    cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(out, INET_ADDRSTRLEN, "127.0.0.1");
    a.sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1, documentation (RFC 5737) */
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, n) == 0 &&
        getsockname(fd, (struct sockaddr *)&a, &n) == 0)
        inet_ntop(AF_INET, &a.sin_addr, out, INET_ADDRSTRLEN);
}

static int plan_network_files(const driver_sandbox *s, struct os_buf *out, struct os_error *err)
{
    char host[INET_ADDRSTRLEN];
    own_address(host);
    cleanup_free char *hosts =
        os_asprintf("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 %s\n"
                    "%s host.openshell.internal host.docker.internal\n",
                    s->name, host);
    cleanup_free char *name = os_asprintf("%s\n", s->name);
    op(out, "file", "etc/hosts", "644", "0", "0", hosts, NULL);
    op(out, "file", "etc/hostname", "644", "0", "0", name, NULL);
    /* The agent asks the name server of its own network, the supervisor those of the host. */
    op(out, "file", "etc/resolv.conf", "644", "0", "0", "nameserver 10.200.0.1\n", NULL);
    if (os_file_exists("/etc/resolv.conf"))
        return plan_copy("/etc/resolv.conf", INSIDE_RESOLV_CONF, "444", out, err);
    op(out, "file", INSIDE_RESOLV_CONF, "444", "0", "0", "", NULL);
    return 0;
}

/* An image that ships a workspace keeps it; it is then part of the sandbox's overlay. */
static void plan_own(const struct local_settings *cfg, const struct rootfs *rootfs, const char *dir,
                     struct os_buf *out)
{
    char uid[16], gid[16];
    cleanup_free char *workspace = os_asprintf("%s/workspace", dir);
    snprintf(uid, sizeof(uid), "%u", rootfs->uid);
    snprintf(gid, sizeof(gid), "%u", rootfs->gid);
    if (!rootfs->lower || !rootfs_has(rootfs, INSIDE_WORKSPACE)) {
        op(out, "bind", workspace, INSIDE_WORKSPACE, "rw", NULL);
        op(out, "own", INSIDE_WORKSPACE, uid, gid, NULL);
    }
    op(out, "tmpfs", "run", "0755", RUN_SIZE, NULL);
    op(out, "dir", "run/lock", "1777", "0", "0", NULL);
    op(out, "dir", "run/netns", "755", "0", "0", NULL);
    op(out, "dir", "run/openshell", "755", "0", "0", NULL);
    op(out, "bind", cfg->supervisor, INSIDE_SUPERVISOR, "ro", NULL);
    if (cfg->opa)
        op(out, "bind", cfg->opa, INSIDE_OPA, "ro", NULL);
}

/* What the user gave, checked again: the machine may have changed since the sandbox was created. */
static int plan_shares(const struct local_settings *cfg, const driver_sandbox *s, const struct rootfs *rootfs,
                       struct os_buf *out, struct os_error *err)
{
    struct shares shares;
    const Google__Protobuf__Struct *config = s->spec->template_ ? s->spec->template_->driver_config : NULL;
    int rc = shares_parse(cfg, config, rootfs_workdir(rootfs), &shares, err);
    for (size_t i = 0; rc == 0 && i < shares.n; i++) {
        const struct share *m = &shares.v[i];
        char mode[8], size[24];
        snprintf(mode, sizeof(mode), "%o", m->mode);
        snprintf(size, sizeof(size), "%" PRIu64, m->size);
        op(out, "point", m->target + 1, NULL);
        if (m->source)
            op(out, "share", m->source, m->target + 1, m->read_only ? "ro" : "rw", NULL);
        else
            op(out, "tmpfs", m->target + 1, mode, size, NULL);
    }
    shares_clear(&shares);
    return rc;
}

static void plan_operator(const struct local_settings *cfg, struct os_buf *out)
{
    const char *const pairs[][2] = {
        {"--extra-ca", cfg->extra_ca_file ? INSIDE_EXTRA_CA : NULL},
        {"--extra-hosts", cfg->extra_hosts ? INSIDE_EXTRA_HOSTS : NULL},
        {"--policy-rules", cfg->policy_rules_file ? INSIDE_POLICY_RULES : NULL},
        {"--policy-data", cfg->policy_data_file ? INSIDE_POLICY_DATA : NULL},
        {"--opa-path", cfg->opa ? INSIDE_OPA : NULL},
        {"--upstream-proxy", cfg->proxy},
        {"--upstream-no-proxy", cfg->no_proxy},
        {"--upstream-proxy-auth-file", cfg->proxy_auth_file ? INSIDE_PROXY_AUTH : NULL}};
    for (size_t i = 0; i < OS_ARRAY_LEN(pairs); i++) {
        if (!pairs[i][1])
            continue;
        op(out, "arg", pairs[i][0], NULL);
        op(out, "arg", pairs[i][1], NULL);
    }
    if (cfg->proxy_auth_allow_insecure)
        op(out, "arg", "--upstream-proxy-auth-allow-insecure", NULL);
    if (cfg->proxy_connect_by_hostname)
        op(out, "arg", "--upstream-proxy-connect-by-hostname", NULL);
}

static int plan_program(const struct local_settings *cfg, const driver_sandbox *s,
                        const struct rootfs *rootfs, struct os_buf *out, struct os_error *err)
{
    char worker[16];
    cleanup_strv struct os_strv env = {0};
    if (environ_build(cfg, s, rootfs, &env, err) < 0)
        return -1;
    for (size_t i = 0; i < env.n; i++)
        op(out, "env", env.v[i], NULL);
    snprintf(worker, sizeof(worker), "%u", cfg->worker_uid);
    const char *const args[] = {INSIDE_SUPERVISOR, "--workdir", rootfs_workdir(rootfs),
                                "--worker-uid",    worker,      "--resolv-conf",
                                INSIDE_RESOLV_CONF};
    for (size_t i = 0; i < OS_ARRAY_LEN(args); i++)
        op(out, "arg", args[i], NULL);
    plan_operator(cfg, out);
    op(out, "exec", INSIDE_SUPERVISOR, NULL);
    return 0;
}

int plan_build(const struct local_settings *cfg, const driver_sandbox *s, const struct rootfs *rootfs,
               const struct cgroups *cgroups, const struct os_strv *leaves, struct os_buf *out,
               struct os_error *err)
{
    cleanup_free char *dir = state_path(cfg, s->id), *root = os_asprintf("%s/root", dir);
    cleanup_free char *work = os_asprintf("%s/root-work", dir);
    cleanup_free char *base = base_path(cfg, rootfs->lower ? "image" : "root");
    os_buf_reserve(out, cfg->policy_rules_file
                            ? PLAN_SIZE_RULES
                            : PLAN_SIZE); /* growing would leave copies of the secrets behind */
    if (cfg->userns.on)
        op(out, "user", NULL);
    plan_namespaces(s, cgroups, leaves, out);
    op(out, "root", base, rootfs->lower ? rootfs->lower : "", root, work, NULL);
    if (rootfs->lower)
        plan_roots(rootfs, out);
    else if (plan_system(cfg, dir, out, err) < 0)
        return -1;
    plan_kernel(cgroups, leaves, out);
    plan_own(cfg, rootfs, dir, out);
    if (plan_material(cfg, s, out, err) < 0 || plan_network_files(s, out, err) < 0)
        return -1;
    if (plan_shares(cfg, s, rootfs, out, err) < 0)
        return -1;
    op(out, "settle", NULL);
    op(out, "pivot", NULL);
    op(out, "drop", NULL);
    if (plan_program(cfg, s, rootfs, out, err) < 0)
        return -1;
    return out->failed ? os_error_set(err, OS_RESOURCE_EXHAUSTED,
                                      "the launch plan has more than %zu bytes; give the sandbox fewer "
                                      "mounts or less environment",
                                      os_buf_max(out))
                       : 0;
}
