/* The local driver's readers of text: quantities from the API, and the machine's mount, control group and
 * account tables. */
#include <stdint.h>
#include <stdlib.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "drivers/local/accounts.h"
#include "drivers/local/cgroup.h"
#include "drivers/local/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct local_settings cfg = {.agent_uid = 58998, .worker_uid = 58999};
    cleanup_free char *text = os_strndup((const char *)data, size);
    cleanup_buf struct os_buf users = {0}, groups = {0};
    struct cgroups cgroups = {0};
    uint64_t value = 0;
    if (spec_parse_memory(text, &value, NULL) == 0 && value < (16u << 20))
        abort();
    if (spec_parse_cpu(text, &value, NULL) == 0 && (value < 10 || value > UINT32_MAX))
        abort();
    accounts_filter(&cfg, text, false, &users);
    accounts_filter(&cfg, text, true, &groups);
    cgroups_parse(&cgroups, text, text);
    cgroups_clear(&cgroups);
    return 0;
}
