/* Paths that come with every policy: see implied.h. */
#include "supervisor/isolation/implied.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/cleanup.h"

/* /dev/random and /dev/urandom are not among the writable ones: the self-test tries to write to them. */
static const struct device {
    const char *path;
    unsigned major_number, minor_number;
    bool writable;
} devices[] = {{"/dev/null", 1, 3, true},    {"/dev/zero", 1, 5, true},     {"/dev/full", 1, 7, true},
               {"/dev/random", 1, 8, false}, {"/dev/urandom", 1, 9, false}, {"/dev/tty", 5, 0, true},
               {"/dev/ptmx", 5, 2, true}};

static const struct {
    const char *path;
    long type; /* f_type of statfs(2) */
} file_systems[] = {{"/dev/pts", DEVPTS_SUPER_MAGIC}, {"/dev/shm", TMPFS_MAGIC}};

static const char *const beside_usr[] = {"/bin", "/sbin", "/lib32", "/lib64", "/libx32"};

static void allow(int ruleset, int fd, uint64_t access)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0); /* else it stays denied */
}

static bool grants_usr(const struct isolation_paths *p)
{
    for (size_t i = 0; i < p->n_read_only; i++)
        if (!strcmp(p->read_only[i], "/usr"))
            return true;
    return false;
}

void isolation_implied(int ruleset, const struct isolation_paths *p, uint64_t read, uint64_t write)
{
    const uint64_t both = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        const struct device *d = &devices[i];
        struct stat st;
        cleanup_close int fd = open(d->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
            st.st_rdev == makedev(d->major_number, d->minor_number))
            allow(ruleset, fd, d->writable ? both : LANDLOCK_ACCESS_FS_READ_FILE);
    }
    for (size_t i = 0; i < sizeof(file_systems) / sizeof(file_systems[0]); i++) {
        struct statfs fs;
        cleanup_close int fd = open(file_systems[i].path, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == file_systems[i].type)
            allow(ruleset, fd, write);
    }
    for (size_t i = 0; i < sizeof(beside_usr) / sizeof(beside_usr[0]) && grants_usr(p); i++) {
        struct stat st;
        cleanup_close int fd = open(beside_usr[i], O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid != p->agent)
            allow(ruleset, fd, read);
    }
}
