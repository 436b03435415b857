/* The isolation of a sandbox, for its log and its status. */
#include "supervisor/isolation_report.h"

#include <stdlib.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/str.h"
#include "supervisor/isolation/selftest.h"

static void emit(struct audit *audit, const char *state, enum audit_severity severity, const char *text)
{
    audit_emit(
        audit,
        &(struct audit_event){
            .cls = AUDIT_CONFIG, .activity = "Log", .severity = severity, .state = state, .message = text});
}

#define ABI_WITH_AUDIT 7 /* Linux 6.15 */

/* What the agent is denied in files happens between it and the kernel: it is no event here. */
static void say_where_denials_are(int abi)
{
    if (abi >= ABI_WITH_AUDIT)
        os_log_info("landlock",
                    "denied file accesses are no events here: the kernel writes them to the audit log of the "
                    "machine, as LANDLOCK_ACCESS, while auditing is on there");
    else
        os_log_info(
            "landlock",
            "denied file accesses are no events here: Landlock of this kernel (ABI %d) does not tell of "
            "them; that takes ABI %d, Linux 6.15",
            abi, ABI_WITH_AUDIT);
}

static void report_landlock(struct audit *audit, const struct monitor_plan *plan,
                            const struct monitor_isolation *got)
{
    if (plan->n_read_only + plan->n_read_write == 0) {
        emit(audit, "skipped", AUDIT_SEV_INFO, "Landlock filesystem sandbox skipped: no paths configured");
        return;
    }
    if (got->landlock_error[0]) {
        cleanup_free char *text =
            os_asprintf("Landlock filesystem sandbox unavailable: %s", got->landlock_error);
        audit_emit(audit, &(struct audit_event){.cls = AUDIT_FINDING,
                                                .activity = "Create",
                                                .severity = AUDIT_SEV_HIGH,
                                                .finding_uid = "landlock-unavailable",
                                                .title = "Landlock Filesystem Sandbox Unavailable",
                                                .message = text});
        return;
    }
    const char *compat = plan->hard_requirement ? "HardRequirement" : "BestEffort";
    cleanup_free char *probed =
        os_asprintf("Landlock filesystem sandbox available [abi:v%d compat:%s ro:%zu rw:%zu]",
                    got->landlock_abi, compat, plan->n_read_only, plan->n_read_write);
    cleanup_free char *built =
        os_asprintf("Landlock ruleset built [rules_applied:%u skipped:%u]", got->rules, got->skipped);
    emit(audit, "probed", AUDIT_SEV_INFO, probed);
    emit(audit, "built", AUDIT_SEV_INFO, built);
    say_where_denials_are(got->landlock_abi);
}

static char *tried_text(uint32_t tried)
{
    struct os_strv cleanup_strv texts = {0};
    for (int t = 0; t < SELFTEST_COUNT; t++)
        if (tried & 1u << t)
            os_strv_add(&texts, selftest_text((enum selftest)t));
    return os_strv_join(&texts, ", ");
}

bool isolation_report(struct audit *audit, const struct monitor_plan *plan,
                      const struct monitor_isolation *got, char **detail)
{
    report_landlock(audit, plan, got);
    cleanup_free char *tried = tried_text(got->tried);
    bool asked = plan->n_read_only + plan->n_read_write > 0, complete = !asked || !got->landlock_error[0];
    const char *missing = !complete ? "; files are not restricted: "
                          : asked   ? ""
                                    : "; the policy does not restrict files";
    *detail =
        os_asprintf("refused in a self-test: %s%s%s", tried, missing, complete ? "" : got->landlock_error);
    emit(audit, "verified", complete ? AUDIT_SEV_INFO : AUDIT_SEV_MEDIUM, *detail);
    return complete;
}
