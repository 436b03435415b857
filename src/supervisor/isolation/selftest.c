/* The attempts of the self-test. Each is harmless when it succeeds and leaves nothing behind. */
#include "supervisor/isolation/selftest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"

#define EVERYBODY 0666

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Rules belong to files, whatever name they were given by. */
static bool listed(const struct stat *st, const char *const *paths, size_t n)
{
    struct stat rule;
    for (size_t i = 0; i < n; i++)
        if (stat(paths[i], &rule) == 0 && same_file(st, &rule))
            return true;
    return false;
}

/* The devices are where every root file system has them, two directories deep. */
static bool may_write(const char *device, const struct isolation_paths *p)
{
    const char *const beneath[] = {device, "/dev", "/"};
    struct stat st;
    for (size_t i = 0; i < OS_ARRAY_LEN(beneath); i++)
        if (stat(beneath[i], &st) < 0 || listed(&st, p->read_write, p->n_read_write))
            return true;
    return false;
}

struct selftest_plan selftest_choose(const struct isolation_paths *p, const struct isolation_ruleset *rules)
{
    static const char *const DEVICES[] = {"/dev/random", "/dev/urandom"}; /* see implied.c */
    struct selftest_plan plan = {.supervisor = getpid()};
    struct stat st;
    if (rules->fd < 0)
        return plan;
    for (size_t i = 0; i < OS_ARRAY_LEN(DEVICES) && !plan.write_path; i++)
        if (lstat(DEVICES[i], &st) == 0 && S_ISCHR(st.st_mode) && (st.st_mode & EVERYBODY) == EVERYBODY &&
            !may_write(DEVICES[i], p))
            plan.write_path = DEVICES[i];
    plan.read_root = stat("/", &st) == 0 && !listed(&st, p->read_only, p->n_read_only) &&
                     !listed(&st, p->read_write, p->n_read_write);
    return plan;
}

uint32_t selftest_tried(const struct selftest_plan *p)
{
    uint32_t all = (1u << SELFTEST_COUNT) - 1;
    if (!p->write_path)
        all &= ~(1u << SELFTEST_WRITE);
    if (!p->read_root)
        all &= ~(1u << SELFTEST_READ);
    return all;
}

static bool opens(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool makes_socket(int family, int type, int protocol)
{
    int fd = socket(family, type | SOCK_CLOEXEC, protocol);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* Connecting a datagram socket sends nothing, but asks for the route. An address that stays in the sandbox is
 * answered with itself or with one of loopback; a way out would have an address of its own. */
static bool has_way_out4(void)
{
    cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)}, from = {0};
    socklen_t n = sizeof(from);
    to.sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1, of nobody */
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        return false;
    if (getsockname(fd, (struct sockaddr *)&from, &n) < 0)
        return true;
    uint32_t source = ntohl(from.sin_addr.s_addr);
    return from.sin_addr.s_addr != to.sin_addr.s_addr && source >> 24 != 127 &&
           source != 0x0ac80001; /* the proxy's */
}

static bool has_way_out6(void)
{
    cleanup_close int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(9)}, from = {0};
    socklen_t n = sizeof(from);
    to.sin6_addr = (struct in6_addr){.s6_addr = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}}; /* 2001:db8::1 */
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        return false;
    if (getsockname(fd, (struct sockaddr *)&from, &n) < 0)
        return true;
    return !IN6_ARE_ADDR_EQUAL(&from.sin6_addr, &to.sin6_addr) && !IN6_IS_ADDR_LOOPBACK(&from.sin6_addr);
}

/* Without a filter the first two fail by their arguments (EFAULT) and the third succeeds. */
static bool calls_pass(void)
{
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL) == 0 || errno != EPERM)
        return true;
    if (syscall(SYS_ptrace, PTRACE_TRACEME, 0, NULL, NULL) == 0 || errno != EPERM)
        return true;
    return syscall(SYS_add_key, NULL, NULL, NULL, 0, 0) >= 0 || errno != EPERM;
}

uint32_t selftest_run(const struct selftest_plan *p)
{
    uint32_t passed = 0;
    if (p->write_path && opens(p->write_path, O_WRONLY))
        passed |= 1u << SELFTEST_WRITE;
    if (p->read_root && opens("/", O_RDONLY | O_DIRECTORY))
        passed |= 1u << SELFTEST_READ;
    if (has_way_out4() || has_way_out6())
        passed |= 1u << SELFTEST_NETWORK;
    if (makes_socket(AF_PACKET, SOCK_DGRAM, 0) || makes_socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG) ||
        makes_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP))
        passed |= 1u << SELFTEST_SOCKET;
    if (calls_pass())
        passed |= 1u << SELFTEST_SYSCALL;
    if (setuid(0) == 0 || setgid(0) == 0 || kill(p->supervisor, 0) == 0)
        passed |= 1u << SELFTEST_PRIVILEGE;
    return passed;
}

const char *selftest_text(enum selftest t)
{
    static const char *const TEXTS[] = {
#define SELFTEST(name, text) text,
        SELFTESTS
#undef SELFTEST
    };
    return TEXTS[t];
}
