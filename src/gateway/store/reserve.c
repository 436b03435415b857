/* Space for the writes that make space: see reserve.h. */
#include "gateway/store/reserve.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/log.h"

/* The reserve must not be what fills a small disk. */
static bool is_roomy(int fd)
{
    struct statvfs v;
    return fstatvfs(fd, &v) == 0 && v.f_bavail * v.f_frsize >= 8 * (unsigned long long)OS_GATEWAY_RESERVE;
}

void reserve_keep(const char *path)
{
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == OS_GATEWAY_RESERVE)
        return;
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0 && (!is_roomy(fd) || posix_fallocate(fd, 0, OS_GATEWAY_RESERVE) != 0))
        unlink(path);
}

bool reserve_release(const char *path)
{
    if (unlink(path) < 0)
        return false;
    os_log_warn("store", "the disk is full: gave up the reserve '%s'", path);
    return true;
}
