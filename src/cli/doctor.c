/* `doctor check`: is what sandboxes on this machine are made of there? The published check asks for Docker
 * alone (spec/cli.md 18); here that is only one of the ways, and its absence no failure. */
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/program.h"
#include "core/cleanup.h"
#include "core/str.h"
#include "sys/file.h"
#include "sys/subids.h"

#define TEXT_MAX 65536
#define LABEL_WIDTH 20
#define LANDLOCK_ABI_FLAG 1U /* LANDLOCK_CREATE_RULESET_VERSION */

static void label(const char *what)
{
    cleanup_buf struct os_buf dots = {0};
    for (size_t n = strlen(what) + 1; n < LABEL_WIDTH; n++)
        os_buf_addc(&dots, '.');
    say(stdout, "  %s %s ", what, os_buf_str(&dots));
}

static bool good(const char *what, const char *verdict)
{
    label(what);
    say(stdout, GREEN "ok" END "%s%s\n", *verdict ? " " : "", verdict);
    return true;
}

static bool bad(const char *what, const char *why)
{
    label(what);
    say(stdout, RED "FAILED" END " %s\n", why);
    return false;
}

static bool check_programs(void)
{
    static const char *const programs[] = {"openshell-gateway", "openshell-sandbox",
                                           "openshell-local-launcher"};
    for (size_t i = 0; i < OS_ARRAY_LEN(programs); i++) {
        cleanup_free char *path = os_program_path(programs[i]);
        cleanup_free char *why =
            os_asprintf("(%s is missing; it belongs beside openshell or in ../libexec/openshell)", path);
        if (access(path, X_OK) < 0)
            return bad("Programs", why);
    }
    return good("Programs", "");
}

static bool check_privileges(void)
{
    cleanup_buf struct os_buf max = {0};
    if (geteuid() == 0)
        return good("Privileges", "(root)");
    if (os_file_read("/proc/sys/user/max_user_namespaces", 64, &max, NULL) < 0 ||
        strcmp(os_str_trim(max.data), "0") == 0)
        return bad("Privileges", "(not root, and user namespaces are off: sysctl user.max_user_namespaces)");
    struct local_userns ids;
    cleanup_error struct os_error err = {0};
    if (userns_find(&ids, &err) < 0) {
        cleanup_free char *why = os_asprintf("(%s)", os_error_text(&err));
        return bad("Privileges", why);
    }
    return good("Privileges", "(user namespaces)");
}

static bool check_overlay(void)
{
    cleanup_buf struct os_buf text = {0};
    if (os_file_read("/proc/filesystems", TEXT_MAX, &text, NULL) == 0 && strstr(text.data, "\toverlay\n"))
        return good("Overlay", "");
    return bad("Overlay", "(the kernel offers no overlay file system: modprobe overlay)");
}

static bool check_landlock(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_ABI_FLAG);
    cleanup_free char *version = os_asprintf("(version %ld)", abi);
    return abi > 0 ? good("Landlock", version)
                   : bad("Landlock", "(not enabled in this kernel: boot with lsm=landlock,...)");
}

static void show_docker(void)
{
    static const char *const argv[] = {"docker", "info", "--format", "{{.ServerVersion}}", NULL};
    cleanup_buf struct os_buf text = {.max = TEXT_MAX};
    const char *host = getenv("DOCKER_HOST");
    if (program_output(argv, NULL, &text) == 0 && text.len) {
        cleanup_free char *version = os_asprintf("(version %s)", os_str_trim(text.data));
        good("Docker", version);
    } else {
        label("Docker");
        say(stdout, "not available (not needed for local sandboxes)\n");
    }
    label("DOCKER_HOST");
    say(stdout, "%s\n", host && *host ? host : "(not set, using default socket)");
}

int doctor_check_run(struct cli *cli, struct os_error *err)
{
    static bool (*const checks[])(void) = {check_programs, check_privileges, check_overlay, check_landlock};
    size_t failed = 0;
    say(stdout, "Checking system prerequisites...\n\n");
    for (size_t i = 0; i < OS_ARRAY_LEN(checks); i++)
        failed += !checks[i]();
    show_docker();
    if (!failed) {
        say(stdout, "\nAll checks passed.\n");
        return 0;
    }
    return os_error_set(err, OS_FAILED_PRECONDITION, "%zu of %zu checks failed", failed,
                        OS_ARRAY_LEN(checks));
}
