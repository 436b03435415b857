/* openshell-sandbox: reads everything that needs privileges, splits into the privileged monitor and the
 * unprivileged worker (DESIGN 10), and lets each do its part. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "supervisor/monitor/account.h"
#include "supervisor/monitor/monitor.h"
#include "supervisor/options.h"
#include "supervisor/rules/rules.h"
#include "supervisor/sftp/sftp.h"
#include "supervisor/summary.h"
#include "supervisor/worker.h"
#include "sys/file.h"

#define LOG_TARGET "supervisor"
#define LOG_DIR "/var/log"
#define WORKSPACE "/sandbox"
#define EXIT_FATAL 1
#define EXIT_USAGE 2
#define PROCESS_LIMIT_TEXT 64 /* bytes of pids.max */
#define WORKER_STALL_S 5      /* a worker that reads nothing for so long is as good as gone */

/* Where the worker writes and others read. */
static int give_directory(const char *path, uid_t uid, gid_t gid, mode_t mode, struct os_error *err)
{
    if (os_dir_make(path, mode, err) < 0)
        return -1;
    cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0)
        return os_error_sys(err, errno, "cannot give '%s' to the worker", path);
    return 0;
}

/* Files and directories of the image, while there is neither worker nor agent (spec/supervisor.md 7.2). */
static int prepare_image(const struct supervisor_options *o, struct os_error *err)
{
    const struct monitor_config *id = &o->identity;
    struct os_error cleanup_error why = {0};
    if (o->driver_identity && (account_install(id->agent_uid, id->agent_gid, err) < 0 ||
                               account_own_tree(WORKSPACE, id->agent_uid, id->agent_gid, err) < 0))
        return -1;
    /* A worker that cannot write these still works: no TLS inspection, no summary, no log files. */
    if (give_directory(o->ca_dir, id->worker_uid, id->worker_gid, 0755, &why) < 0)
        os_log_warn(LOG_TARGET, "TLS termination will be disabled: %s", os_error_text(&why));
    if (give_directory(SUMMARY_DIR, id->worker_uid, id->worker_gid, 0755, &why) < 0)
        os_log_warn(LOG_TARGET, "there will be no policy summary in the sandbox: %s", os_error_text(&why));
    if (give_directory(LOG_DIR, 0, id->worker_gid, 0775, &why) < 0)
        os_log_warn(LOG_TARGET, "Could not open /var/log for log rotation; using stderr-only logging");
    return 0;
}

/* Without a limit one fork bomb takes the machine (spec/supervisor.md 7.3). */
static int check_process_limit(struct os_error *err)
{
    static const char *const files[] = {"/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"};
    struct os_buf cleanup_buf text = {0};
    for (size_t i = 0; i < OS_ARRAY_LEN(files) && text.len == 0; i++)
        os_file_read(files[i], PROCESS_LIMIT_TEXT, &text, NULL);
    uint64_t limit;
    if (text.len && os_str_u64(os_str_trim(text.data), UINT64_MAX, &limit))
        return 0;
    if (getenv("OPENSHELL_REQUIRE_RUNTIME_PID_LIMIT"))
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "OPENSHELL_REQUIRE_RUNTIME_PID_LIMIT is set, but the sandbox's control group has no process "
            "limit (pids.max)");
    os_log_info(LOG_TARGET, "the sandbox's control group shows no process limit");
    return 0;
}

static void wipe_secrets(void *ctx)
{
    options_wipe(ctx);
}

static int start_rules(struct supervisor_options *o, struct os_error *err)
{
    struct monitor_config *id = &o->identity;
    if (!o->rules.len)
        return 0;
    if (give_directory(RULES_DIR, id->worker_uid, id->worker_gid, 0700, err) < 0)
        return -1;
    id->rules_keeper =
        rules_keeper_start(o->opa, RULES_DIR, id->worker_uid, id->worker_gid, wipe_secrets, o, err);
    return id->rules_keeper > 0 ? 0 : -1;
}

static int run_monitor(struct supervisor_options *o, int fd, pid_t worker)
{
    struct os_error cleanup_error err = {0};
    struct monitor_sockets sockets;
    struct timeval stall = {.tv_sec = WORKER_STALL_S};
    options_wipe(o);
    if (monitor_network_setup(&sockets, &err) < 0 || monitor_send_sockets(fd, &sockets, &err) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof(stall)) < 0) {
        os_log_error(LOG_TARGET, "%s", err.code ? os_error_text(&err) : strerror(errno));
        return EXIT_FATAL; /* the worker sees the closed socket and ends */
    }
    return monitor_serve(&o->identity, fd, worker);
}

static int run(struct supervisor_options *o)
{
    struct os_error cleanup_error err = {0};
    int pair[2];
    if (check_process_limit(&err) < 0 || prepare_image(o, &err) < 0 || start_rules(o, &err) < 0) {
        os_log_error(LOG_TARGET, "%s", os_error_text(&err));
        return EXIT_FATAL;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        os_log_error(LOG_TARGET, "cannot make the worker's socket: %s", strerror(errno));
        return EXIT_FATAL;
    }
    pid_t worker = fork();
    if (worker < 0) {
        os_log_error(LOG_TARGET, "cannot fork the worker: %s", strerror(errno));
        return EXIT_FATAL;
    }
    close(pair[worker == 0 ? 0 : 1]);
    return worker == 0 ? worker_main(o, pair[1]) : run_monitor(o, pair[0], worker);
}

int main(int argc, char **argv)
{
    struct supervisor_options o;
    struct os_error cleanup_error err = {0};
    os_open_standard_fds();
    if (argc == 2 && strcmp(argv[1], "sftp-server") == 0)
        return sftp_main();
    umask(022);
    switch (options_read(argc, argv, &o, &err)) {
    case OPTIONS_SHOWN:
        return EXIT_SUCCESS;
    case OPTIONS_USAGE:
        fprintf(stderr, "error: %s\n\nFor more information, try '--help'.\n", os_error_text(&err));
        return EXIT_USAGE;
    case OPTIONS_FAILED:
        fprintf(stderr, "openshell-sandbox: %s\n", os_error_text(&err));
        return EXIT_FATAL;
    case OPTIONS_RUN:
        break;
    }
    os_log_set_level(o.log_level);
    return run(&o);
}
