/* Memory that only start-up needed goes back to the kernel: a machine may run a thousand supervisors, and
 * most of what one maps while it starts (TLS, JSON, YAML, the filter compiler) it hardly touches again. */
#include <elf.h>
#include <link.h>
#include <malloc.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "supervisor/monitor/monitor.h"

/* Drops the mapped pages of the program's own read-only segments; the next use maps them again from the page
 * cache. Writable segments stay: they hold relocations and data. */
static int release_segments(struct dl_phdr_info *info, size_t size, void *ctx)
{
    (void)size, (void)ctx;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || p->p_flags & PF_W)
            continue;
        uintptr_t start = (info->dlpi_addr + p->p_vaddr) & ~(page - 1);
        uintptr_t end = (info->dlpi_addr + p->p_vaddr + p->p_memsz) & ~(page - 1);
        if (end > start)
            madvise((void *)start, end - start, MADV_DONTNEED);
    }
    return 1; /* the first object is the program */
}

void monitor_settle(void)
{
    malloc_trim(0);
    dl_iterate_phdr(release_segments, NULL);
}
