/* The local driver with real namespaces, mounts and control groups; needs root. A small static program stands
 * in for the supervisor and reports what it sees to the console log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/id.h"
#include "core/str.h"
#include "drivers/local/local.h"
#include "sys/file.h"

#define WAIT_MS 20000
#define PARALLEL 20

struct fixture {
    char dir[64]; /* holds state/ and the operator's files */
    char *state_dir;
    char *key, *ca, *secret;
    struct driver *d;
    pthread_mutex_t lock;
    struct os_strv events; /* "<kind> <id> <reason>" */
};

/* --- fixture --- */

static void on_event(void *ctx, const driver_event *e)
{
    struct fixture *f = ctx;
    pthread_mutex_lock(&f->lock);
    switch (e->payload_case) {
    case OPENSHELL__COMPUTE__V1__WATCH_SANDBOXES_EVENT__PAYLOAD_SANDBOX:
        os_strv_addf(&f->events, "sandbox %s %s", e->sandbox->sandbox->id,
                     e->sandbox->sandbox->status->conditions[0]->reason);
        break;
    case OPENSHELL__COMPUTE__V1__WATCH_SANDBOXES_EVENT__PAYLOAD_DELETED:
        os_strv_addf(&f->events, "deleted %s", e->deleted->sandbox_id);
        break;
    case OPENSHELL__COMPUTE__V1__WATCH_SANDBOXES_EVENT__PAYLOAD_PLATFORM_EVENT:
        os_strv_addf(&f->events, "event %s %s", e->platform_event->sandbox_id,
                     e->platform_event->event->reason);
        break;
    default:
        break;
    }
    pthread_mutex_unlock(&f->lock);
}

static void open_driver(struct fixture *f)
{
    cleanup_error struct os_error err = {0};
    const char *mask[] = {f->secret, NULL};
    const struct local_driver_config cfg = {.state_dir = f->state_dir,
                                            .supervisor = STAND_IN,
                                            .launcher = LAUNCHER,
                                            .gateway_endpoint = "https://127.0.0.1:17670",
                                            .tls_ca = f->ca,
                                            .tls_cert = f->ca,
                                            .tls_key = f->key,
                                            .log_level = "info",
                                            .extra_ca_file = f->ca,
                                            .extra_hosts = "10.1.2.3 demo.test\n",
                                            .mask = mask};
    f->d = local_driver_new(&cfg, &err);
    if (!f->d)
        fail_msg("%s", os_error_text(&err));
    f->d->ops->watch(f->d->self, on_event, f);
}

static void close_driver(struct fixture *f)
{
    f->d->ops->free(f->d->self);
    f->d = NULL;
}

static void write_text(const char *path, const char *text)
{
    cleanup_error struct os_error err = {0};
    assert_int_equal(os_file_write_atomic(path, text, strlen(text), 0600, &err), 0);
}

static int set_up(void **state)
{
    struct fixture *f = os_calloc(1, sizeof(*f));
    pthread_mutex_init(&f->lock, NULL);
    snprintf(f->dir, sizeof(f->dir), "/tmp/openshell-driver-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->state_dir = os_asprintf("%s/state", f->dir);
    f->ca = os_asprintf("%s/ca.pem", f->dir);
    f->key = os_asprintf("%s/tls.key", f->dir);
    f->secret = os_asprintf("/opt/openshell-driver-test-%s", f->dir + strlen("/tmp/openshell-driver-"));
    write_text(f->ca, "CA TEXT\n");
    write_text(f->key, "KEY TEXT\n");
    assert_int_equal(mkdir(f->secret, 0755), 0);
    cleanup_free char *inside = os_asprintf("%s/password", f->secret);
    write_text(inside, "hunter2\n");
    open_driver(f);
    *state = f;
    return 0;
}

static int count_cgroups(const char *id);

static int tear_down(void **state)
{
    struct fixture *f = *state;
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    driver_sandbox **list = NULL;
    size_t n = 0;
    assert_int_equal(f->d->ops->list(f->d->self, &a, &list, &n, &err), 0);
    for (size_t i = 0; i < n; i++) {
        bool deleted;
        assert_int_equal(f->d->ops->remove(f->d->self, list[i]->id, &deleted, &err), 0);
    }
    close_driver(f);
    assert_int_equal(os_dir_remove(f->dir, &err), 0);
    assert_int_equal(os_dir_remove(f->secret, &err), 0);
    pthread_mutex_destroy(&f->lock);
    os_strv_free(&f->events);
    free(f->state_dir);
    free(f->key);
    free(f->ca);
    free(f->secret);
    free(f);
    return 0;
}

/* --- a sandbox description on the stack --- */

struct request {
    char id[OS_UUID_LEN];
    Openshell__Compute__V1__DriverSandbox s;
    Openshell__Compute__V1__DriverSandboxSpec spec;
    Openshell__Compute__V1__DriverSandboxTemplate template;
    Openshell__Compute__V1__DriverResourceRequirements resources;
    Openshell__Compute__V1__DriverSandboxSpec__EnvironmentEntry env[3];
    Openshell__Compute__V1__DriverSandboxSpec__EnvironmentEntry *envp[3];
    char *command[2];
};

static void request_init(struct request *r, const char *script)
{
    os_uuid(r->id);
    openshell__compute__v1__driver_sandbox__init(&r->s);
    openshell__compute__v1__driver_sandbox_spec__init(&r->spec);
    openshell__compute__v1__driver_sandbox_template__init(&r->template);
    openshell__compute__v1__driver_resource_requirements__init(&r->resources);
    const char *const env[][2] = {
        {"SCRIPT", script}, {"LD_PRELOAD", "/evil.so"}, {"OPENSHELL_ENDPOINT", "http://evil"}};
    for (size_t i = 0; i < 3; i++) {
        openshell__compute__v1__driver_sandbox_spec__environment_entry__init(&r->env[i]);
        r->env[i].key = (char *)env[i][0];
        r->env[i].value = (char *)env[i][1];
        r->envp[i] = &r->env[i];
    }
    r->s.id = r->id;
    r->s.name = (char *)"demo";
    r->s.workspace = (char *)"default";
    r->s.spec = &r->spec;
    r->spec.template_ = &r->template;
    r->template.resources = &r->resources;
    r->spec.environment = r->envp;
    r->spec.n_environment = 3;
    r->spec.sandbox_token = (char *)"TOKEN-TEXT";
    r->command[0] = (char *)"sleep";
    r->command[1] = (char *)"in\"finity\n";
    r->spec.command = r->command;
    r->spec.n_command = 2;
}

static void create(struct fixture *f, struct request *r)
{
    cleanup_error struct os_error err = {0};
    if (f->d->ops->create(f->d->self, &r->s, &err) < 0)
        fail_msg("create: %s", os_error_text(&err));
}

static void remove_sandbox(struct fixture *f, const char *id)
{
    cleanup_error struct os_error err = {0};
    bool deleted = false;
    if (f->d->ops->remove(f->d->self, id, &deleted, &err) < 0)
        fail_msg("remove: %s", os_error_text(&err));
    assert_true(deleted);
}

/* The console log once it holds the text for the n-th time. */
static char *wait_log(struct fixture *f, const char *id, const char *text, int times)
{
    cleanup_free char *path = os_asprintf("%s/%s/log", f->state_dir, id);
    struct os_buf b = {0};
    for (int64_t end = os_clock_mono_ms() + WAIT_MS; os_clock_mono_ms() < end; poll(NULL, 0, 2)) {
        cleanup_error struct os_error err = {0};
        os_buf_clear(&b);
        if (os_file_read(path, 1 << 20, &b, &err) < 0)
            continue;
        int seen = 0;
        for (const char *p = os_buf_str(&b); (p = strstr(p, text)); p++)
            seen++;
        if (seen >= times)
            return os_buf_take(&b);
    }
    fail_msg("the log of %s never says '%s': %s", id, text, os_buf_str(&b));
    return NULL;
}

static char *run(struct fixture *f, struct request *r, const char *script)
{
    request_init(r, script);
    create(f, r);
    return wait_log(f, r->id, "ready\n", 1);
}

static char *reason_of(struct fixture *f, const char *id)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    driver_sandbox *s = f->d->ops->get(f->d->self, id, &a, &err);
    if (!s)
        return os_strdup(os_code_name(err.code));
    return os_asprintf("%s/%s", s->status->conditions[0]->status, s->status->conditions[0]->reason);
}

static void assert_reason(struct fixture *f, const char *id, const char *expected)
{
    cleanup_free char *reason = reason_of(f, id);
    assert_string_equal(reason, expected);
}

static void wait_reason(struct fixture *f, const char *id, const char *expected)
{
    for (int64_t end = os_clock_mono_ms() + WAIT_MS; os_clock_mono_ms() < end; poll(NULL, 0, 2)) {
        cleanup_free char *reason = reason_of(f, id);
        if (strcmp(reason, expected) == 0)
            return;
    }
    assert_reason(f, id, expected);
}

static bool has_event(struct fixture *f, const char *kind, const char *id, const char *reason)
{
    cleanup_free char *text = os_asprintf("%s %s%s%s", kind, id, *reason ? " " : "", reason);
    pthread_mutex_lock(&f->lock);
    bool found = os_strv_has(&f->events, text);
    pthread_mutex_unlock(&f->lock);
    return found;
}

/* The host's view of the sandbox's pid 1. */
static pid_t process_of(struct fixture *f, const char *id)
{
    cleanup_free char *path = os_asprintf("%s/%s/process", f->state_dir, id);
    cleanup_buf struct os_buf b = {0};
    cleanup_error struct os_error err = {0};
    assert_int_equal(os_file_read(path, 4096, &b, &err), 0);
    return (pid_t)atoi(os_buf_str(&b));
}

static void assert_has(const char *log, const char *line)
{
    if (!strstr(log, line))
        fail_msg("no '%s' in:\n%s", line, log);
}

static void assert_lacks(const char *log, const char *text)
{
    if (strstr(log, text))
        fail_msg("'%s' in:\n%s", text, log);
}

/* --- what is left on the host --- */

static const char *wanted;
static int found;

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    if (type == FTW_D && strcmp(path + ftw->base, wanted) == 0)
        found++;
    return 0;
}

static int count_cgroups(const char *id)
{
    wanted = id;
    found = 0;
    nftw("/sys/fs/cgroup", visit, 16, FTW_PHYS);
    return found;
}

static void assert_nothing_left(struct fixture *f, const char *id)
{
    cleanup_buf struct os_buf mounts = {0};
    cleanup_error struct os_error err = {0};
    cleanup_free char *dir = os_asprintf("%s/%s", f->state_dir, id),
                      *trash = os_asprintf("%s/.trash-%s", f->state_dir, id);
    assert_int_equal(os_file_read("/proc/self/mountinfo", 4 << 20, &mounts, &err), 0);
    assert_null(strstr(os_buf_str(&mounts), id));
    assert_false(os_file_exists(dir));
    assert_false(os_file_exists(trash));
    assert_int_equal(count_cgroups(id), 0);
}

/* --- what a sandbox sees --- */

static void the_supervisor_gets_its_identity_arguments_and_environment(void **state)
{
    struct fixture *f = *state;
    struct request r;
    cleanup_free char *log = run(f, &r, "");
    cleanup_free char *id = os_asprintf("env OPENSHELL_SANDBOX_ID=%s\n", r.id);
    assert_has(log, "pid = 1\n");
    assert_has(log, "hostname = demo\n");
    assert_has(log, "arg 0 = /opt/openshell/bin/openshell-sandbox\narg 1 = --workdir\narg 2 = /sandbox\n");
    assert_has(log, " = --agent-uid\narg 4 = 58998\narg 5 = --worker-uid\narg 6 = 58999\n");
    assert_has(log, " = --extra-ca\narg 8 = /etc/openshell/operator/extra-ca.pem\n");
    assert_has(log, " = --extra-hosts\narg 10 = /etc/openshell/operator/extra-hosts\n");
    assert_has(log, id);
    assert_has(log, "env OPENSHELL_SANDBOX=demo\n");
    assert_has(log, "env OPENSHELL_ENDPOINT=https://127.0.0.1:17670\n");
    assert_has(log, "env OPENSHELL_LOG_LEVEL=info\n");
    assert_has(log, "env OPENSHELL_SANDBOX_UID=58998\n");
    assert_has(log, "env OPENSHELL_TLS_KEY=/etc/openshell/tls/client/tls.key\n");
    assert_has(
        log, "env OPENSHELL_MAIN_PROCESS_SPEC={\"version\":1,\"command\":[\"sleep\",\"in\\\"finity\\u000a\"],"
             "\"tty\":false}\n");
    assert_has(log, "env OPENSHELL_USER_ENVIRONMENT={\"SCRIPT\":\"\",\"LD_PRELOAD\":\"/evil.so\","
                    "\"OPENSHELL_ENDPOINT\":\"http://evil\"}\n");
    assert_lacks(log, "env LD_PRELOAD");
    assert_lacks(log, "env OPENSHELL_ENDPOINT=http://evil");
    assert_lacks(log, "TOKEN-TEXT");
    assert_reason(f, r.id, "True/BackendReady");
}

static void token_and_keys_are_readable_by_root_only(void **state)
{
    struct fixture *f = *state;
    struct request r;
    cleanup_free char *log =
        run(f, &r,
            "cat /etc/openshell/auth/sandbox.jwt;stat /etc/openshell/auth/sandbox.jwt;"
            "cat /etc/openshell/tls/client/tls.key;stat /etc/openshell/tls/client/tls.key;"
            "uid 58998;cat /etc/openshell/auth/sandbox.jwt;cat /etc/openshell/tls/client/tls.key;"
            "cat /etc/openshell/operator/extra-hosts;cat /etc/openshell/operator/extra-ca.pem");
    assert_has(log, "cat /etc/openshell/auth/sandbox.jwt = TOKEN-TEXT\n");
    assert_has(log, "stat /etc/openshell/auth/sandbox.jwt = 100400 0 0\n");
    assert_has(log, "cat /etc/openshell/tls/client/tls.key = KEY TEXT\n");
    assert_has(log, "stat /etc/openshell/tls/client/tls.key = 100400 0 0\n");
    assert_has(log, "cat /etc/openshell/auth/sandbox.jwt = Permission denied\n");
    assert_has(log, "cat /etc/openshell/tls/client/tls.key = Permission denied\n");
    assert_has(log, "cat /etc/openshell/operator/extra-hosts = 10.1.2.3 demo.test\n");
    assert_has(log, "cat /etc/openshell/operator/extra-ca.pem = CA TEXT\n");
}

static void the_host_is_hidden_but_for_its_system(void **state)
{
    struct fixture *f = *state;
    struct request r;
    cleanup_free char *script = os_asprintf(
        "ls /;ls /root;ls /home;ls /tmp;ls /run;ls /var/log;ls /mnt;ls %s;cat /etc/shadow;ls /etc/sudoers.d;"
        "ls /proc/scsi;cat /proc/keys;ls %s;ls /usr;cat /etc/passwd;ls /dev;ls /sys/class/net;"
        "cat /proc/self/mountinfo",
        f->secret, f->dir);
    cleanup_free char *log = run(f, &r, script);
    cleanup_free char *secret = os_asprintf("ls %s = \n", f->secret);
    cleanup_free char *outside = os_asprintf("ls %s = No such file or directory\n", f->dir);
    assert_has(log, "ls /root = \n");
    assert_has(log, "ls /home = \n");
    assert_has(log, "ls /tmp = \n");
    assert_has(log, "ls /var/log = \n");
    assert_has(log, "ls /mnt = \n");
    assert_has(log, secret);
    assert_has(log, outside);
    assert_has(log, "cat /etc/shadow = No such file or directory\n");
    assert_has(log, "cat /proc/keys = \n");
    assert_has(log, "sandbox:x:58998:58998::/sandbox:/bin/");
    assert_has(log, "ls /sys/class/net = \n");
    assert_lacks(log, "lost+found");
    char *usr = strstr(log, "ls /usr = ");
    assert_non_null(usr);
    assert_non_null(strstr(usr, "bin "));
    /* The mount table shows no overlay directory of the host. */
    assert_has(log, "upperdir=/proc/self/fd/");
}

static void dev_holds_harmless_devices_only(void **state)
{
    struct fixture *f = *state;
    struct request r;
    cleanup_free char *log = run(f, &r,
                                 "ls /dev;stat /dev/null;stat /dev/tty;stat /dev/ptmx;stat /dev/shm;uid "
                                 "58998;put /dev/null x;put /dev/new x");
    assert_has(log, "stat /dev/null = 20666 0 0\n");
    assert_has(log, "stat /dev/tty = 20666 0 0\n");
    assert_has(log, "stat /dev/ptmx = 120777 0 0\n");
    assert_has(log, "stat /dev/shm = 41777 0 0\n");
    assert_has(log, "put /dev/null = ok\n");
    assert_has(log, "put /dev/new = Permission denied\n");
    char *names = strstr(log, "ls /dev = ");
    assert_non_null(names);
    size_t n = 0;
    for (char *p = strchr(names, '=') + 2; *p != '\n'; p++)
        n += *p == ' ';
    assert_int_equal(n, 13); /* null zero full random urandom tty pts shm ptmx fd stdin stdout stderr */
}

static void the_workspace_belongs_to_the_agent_and_the_supervisor_to_nobody(void **state)
{
    struct fixture *f = *state;
    struct request r;
    cleanup_free char *log =
        run(f, &r,
            "stat /sandbox;put /opt/openshell/bin/openshell-sandbox x;put /proc/sys/kernel/domainname x;"
            "uid 58998;put /sandbox/file x;put /etc/file x;put /usr/file x;put /file x;put /tmp/file x");
    assert_has(log, "stat /sandbox = 40755 58998 58998\n");
    assert_has(log, "put /opt/openshell/bin/openshell-sandbox = Read-only file system\n");
    assert_has(log, "put /proc/sys/kernel/domainname = Read-only file system\n");
    assert_has(log, "put /sandbox/file = ok\n");
    assert_has(log, "put /tmp/file = ok\n");
    assert_has(log, "put /etc/file = Permission denied\n");
    assert_has(log, "put /usr/file = Read-only file system\n");
    assert_has(log, "put /file = Permission denied\n");
}

/* --- life --- */

static void stop_and_start_keep_what_was_written(void **state)
{
    struct fixture *f = *state;
    struct request r;
    cleanup_error struct os_error err = {0};
    free(run(f, &r,
             "cat /sandbox/kept;cat /etc/kept;cat /root/kept;put /sandbox/kept A;put /etc/kept B;"
             "put /usr/kept C;put /root/kept D;put /opt/kept E"));
    assert_false(os_file_exists("/etc/kept"));
    assert_false(os_file_exists("/usr/kept"));
    pid_t first = process_of(f, r.id);
    assert_int_equal(f->d->ops->stop(f->d->self, r.id, &err), 0);
    assert_int_equal(kill(first, 0), -1);
    assert_reason(f, r.id, "False/ContainerStopped");
    assert_true(has_event(f, "sandbox", r.id, "ContainerStopped"));
    assert_false(has_event(f, "sandbox", r.id, "ContainerExited"));
    assert_int_equal(count_cgroups(r.id), 0);
    assert_int_equal(f->d->ops->stop(f->d->self, r.id, &err), 0);
    assert_int_equal(f->d->ops->start(f->d->self, r.id, &err), 0);
    assert_int_equal(f->d->ops->start(f->d->self, r.id, &err), 0);
    assert_reason(f, r.id, "True/BackendReady");
    cleanup_free char *log = wait_log(f, r.id, "ready\n", 2);
    assert_has(log, "cat /sandbox/kept = A\n");
    assert_has(log, "cat /etc/kept = B\n");
    assert_has(log, "put /usr/kept = Read-only file system\n");
    assert_has(log, "put /opt/kept = Read-only file system\n");
    assert_has(log, "cat /root/kept = D\n");
}

static void remove_leaves_nothing_and_is_idempotent(void **state)
{
    struct fixture *f = *state;
    struct request r;
    cleanup_error struct os_error err = {0};
    bool deleted = true;
    free(run(f, &r, "children 5;deaf"));
    pid_t pid = process_of(f, r.id);
    remove_sandbox(f, r.id);
    assert_int_equal(kill(pid, 0), -1);
    assert_nothing_left(f, r.id);
    assert_true(has_event(f, "deleted", r.id, ""));
    assert_reason(f, r.id, "NOT_FOUND");
    assert_int_equal(f->d->ops->remove(f->d->self, r.id, &deleted, &err), 0);
    assert_false(deleted);
    assert_int_equal(f->d->ops->stop(f->d->self, r.id, &err), -1);
    assert_int_equal(err.code, OS_NOT_FOUND);
    assert_int_equal(f->d->ops->start(f->d->self, r.id, &err), -1);
    assert_int_equal(err.code, OS_NOT_FOUND);
}

static void an_exit_is_reported_with_its_status_and_last_words(void **state)
{
    struct fixture *f = *state;
    struct request r;
    request_init(&r, "say last-words;exit 7");
    create(f, &r);
    wait_reason(f, r.id, "False/ContainerExited");
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    driver_sandbox *s = f->d->ops->get(f->d->self, r.id, &a, &err);
    assert_string_equal(s->status->conditions[0]->message, "Supervisor exited with status 7: last-words");
    assert_true(has_event(f, "event", r.id, "Started"));
    for (int64_t end = os_clock_mono_ms() + WAIT_MS;
         os_clock_mono_ms() < end && !has_event(f, "sandbox", r.id, "ContainerExited");)
        poll(NULL, 0, 1);
    assert_true(has_event(f, "event", r.id, "ContainerExited"));
    assert_true(has_event(f, "sandbox", r.id, "ContainerExited"));
}

static void memory_exhaustion_is_named(void **state)
{
    struct fixture *f = *state;
    struct request r;
    cleanup_error struct os_error err = {0};
    request_init(&r, "eat 256");
    r.resources.memory_limit = (char *)"64Mi";
    if (f->d->ops->validate(f->d->self, &r.s, &err) < 0)
        skip();
    create(f, &r);
    wait_reason(f, r.id, "False/OOMKilled");
}

static void the_number_of_processes_is_limited(void **state)
{
    struct fixture *f = *state;
    struct request r;
    cleanup_free char *log = run(f, &r, "cat /sys/fs/cgroup/pids.max;children 4000");
    if (!strstr(log, "cat /sys/fs/cgroup/pids.max = 2048\n"))
        skip();
    assert_has(log, "children = 2047\n");
}

static void a_second_create_with_the_id_is_refused(void **state)
{
    struct fixture *f = *state;
    struct request r;
    cleanup_error struct os_error err = {0};
    free(run(f, &r, ""));
    assert_int_equal(f->d->ops->create(f->d->self, &r.s, &err), -1);
    assert_int_equal(err.code, OS_ALREADY_EXISTS);
    assert_string_equal(os_error_text(&err), "sandbox already exists");
    assert_reason(f, r.id, "True/BackendReady");
}

static void a_failed_launch_names_the_cause_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct request r;
    cleanup_error struct os_error err = {0};
    request_init(&r, "");
    cleanup_free char *key = os_asprintf("%s.away", f->key);
    assert_int_equal(rename(f->key, key), 0);
    assert_int_equal(f->d->ops->create(f->d->self, &r.s, &err), -1);
    assert_int_equal(rename(key, f->key), 0);
    assert_non_null(strstr(os_error_text(&err), "cannot start sandbox 'demo': cannot open '"));
    assert_nothing_left(f, r.id);
    assert_reason(f, r.id, "NOT_FOUND");
}

/* --- restarts --- */

static void a_new_driver_adopts_what_runs(void **state)
{
    struct fixture *f = *state;
    struct request running, stopped, ended;
    cleanup_error struct os_error err = {0};
    free(run(f, &running, ""));
    free(run(f, &stopped, ""));
    free(run(f, &ended, ""));
    pid_t pid = process_of(f, running.id), lost = process_of(f, ended.id);
    assert_int_equal(f->d->ops->stop(f->d->self, stopped.id, &err), 0);
    close_driver(f);
    assert_int_equal(kill(lost, SIGKILL), 0);
    assert_int_equal(waitpid(lost, NULL, 0), lost);
    open_driver(f);
    assert_reason(f, running.id, "True/BackendReady");
    assert_reason(f, stopped.id, "False/ContainerStopped");
    assert_reason(f, ended.id, "False/ContainerExited");
    cleanup_arena struct os_arena a = {0};
    driver_sandbox *s = f->d->ops->get(f->d->self, running.id, &a, &err);
    assert_string_equal(s->name, "demo");
    assert_string_equal(s->workspace, "default");
    assert_int_equal(kill(pid, SIGKILL), 0);
    wait_reason(f, running.id, "False/ContainerExited");
    assert_int_equal(f->d->ops->start(f->d->self, running.id, &err), 0);
    assert_reason(f, running.id, "True/BackendReady");
    remove_sandbox(f, running.id);
    assert_nothing_left(f, running.id);
}

/* A process that dies with SIGKILL while it creates sandboxes, at an arbitrary point. */
static void gateway_that_dies(struct fixture *f, int pipe_fd, struct request *r, int n)
{
    for (int i = 0; i < n; i++) {
        cleanup_error struct os_error err = {0};
        request_init(&r[i], "");
        if (write(pipe_fd, r[i].id, OS_UUID_LEN) != OS_UUID_LEN)
            _exit(1);
        f->d->ops->create(f->d->self, &r[i].s, &err);
    }
    _exit(0);
}

static void a_killed_gateway_leaves_nothing_that_cannot_be_removed(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 10; round++) {
        int fds[2];
        struct request r[4];
        close_driver(f);
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        if (pid == 0) {
            open_driver(f);
            gateway_that_dies(f, fds[1], r, 4);
        }
        close(fds[1]);
        char id[OS_UUID_LEN];
        struct os_strv ids = {0};
        /* The later the round, the later the blow. */
        for (int i = 0; i <= round % 4 && read(fds[0], id, sizeof(id)) == (ssize_t)sizeof(id); i++)
            os_strv_add(&ids, id);
        poll(NULL, 0, round);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        while (read(fds[0], id, sizeof(id)) == (ssize_t)sizeof(id))
            os_strv_add(&ids, id);
        close(fds[0]);
        open_driver(f);
        for (size_t i = 0; i < ids.n; i++) {
            bool deleted;
            cleanup_error struct os_error err = {0};
            if (f->d->ops->remove(f->d->self, ids.v[i], &deleted, &err) < 0)
                fail_msg("round %d: %s", round, os_error_text(&err));
            assert_nothing_left(f, ids.v[i]);
        }
        os_strv_free(&ids);
    }
}

static void a_recorded_pid_that_belongs_to_another_process_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct request r;
    free(run(f, &r, ""));
    pid_t pid = process_of(f, r.id);
    close_driver(f);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    /* Same boot, same pid as this test, another start time. */
    cleanup_free char *path = os_asprintf("%s/%s/process", f->state_dir, r.id);
    cleanup_buf struct os_buf b = {0};
    cleanup_error struct os_error err = {0};
    assert_int_equal(os_file_read(path, 4096, &b, &err), 0);
    cleanup_free char *forged = os_asprintf("%d %s", (int)getpid(), strchr(os_buf_str(&b), ' ') + 1);
    write_text(path, forged);
    open_driver(f);
    assert_reason(f, r.id, "False/ContainerExited");
    remove_sandbox(f, r.id);
}

/* --- hostile input --- */

static void refuse(struct fixture *f, struct request *r, enum os_code code, const char *text)
{
    cleanup_error struct os_error err = {0};
    assert_int_equal(f->d->ops->create(f->d->self, &r->s, &err), -1);
    assert_string_equal(os_code_name(err.code), os_code_name(code));
    if (!strstr(os_error_text(&err), text))
        fail_msg("'%s' does not say '%s'", os_error_text(&err), text);
}

static void hostile_ids_and_names_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const ids[] = {"", ".", "..", "../x", "a/b", ".trash-x", "a b", "a\nb", "x\x80"};
    static const char *const names[] = {"", "..", ".x", "a/b", "-x", "a b", "a\n127.0.0.1 x"};
    struct request r;
    request_init(&r, "");
    for (size_t i = 0; i < OS_ARRAY_LEN(ids); i++) {
        cleanup_error struct os_error err = {0};
        bool deleted;
        r.s.id = (char *)ids[i];
        refuse(f, &r, OS_INVALID_ARGUMENT, "sandbox id");
        assert_int_equal(f->d->ops->remove(f->d->self, ids[i], &deleted, &err), -1);
    }
    r.s.id = r.id;
    for (size_t i = 0; i < OS_ARRAY_LEN(names); i++) {
        r.s.name = (char *)names[i];
        refuse(f, &r, OS_INVALID_ARGUMENT, "sandbox name");
    }
}

static void what_the_driver_cannot_do_is_refused(void **state)
{
    struct fixture *f = *state;
    struct request r;
    Openshell__Compute__V1__ResourceRequirements needs = OPENSHELL__COMPUTE__V1__RESOURCE_REQUIREMENTS__INIT;
    Openshell__Compute__V1__GpuResourceRequirements gpu =
        OPENSHELL__COMPUTE__V1__GPU_RESOURCE_REQUIREMENTS__INIT;
    request_init(&r, "");
    r.template.image = (char *)"debian:12";
    refuse(f, &r, OS_FAILED_PRECONDITION, "cannot run image 'debian:12'");
    r.template.image = (char *)"host";
    r.template.agent_socket_path = (char *)"/x";
    refuse(f, &r, OS_FAILED_PRECONDITION, "template.agent_socket_path");
    r.template.agent_socket_path = (char *)"";
    r.resources.cpu_request = (char *)"1";
    refuse(f, &r, OS_FAILED_PRECONDITION, "resources.requests.cpu");
    r.resources.cpu_request = (char *)"";
    r.resources.cpu_limit = (char *)"many";
    refuse(f, &r, OS_FAILED_PRECONDITION, "invalid local cpu_limit 'many'");
    r.resources.cpu_limit = (char *)"";
    needs.gpu = &gpu;
    r.spec.resource_requirements = &needs;
    refuse(f, &r, OS_FAILED_PRECONDITION, "GPU");
    r.spec.resource_requirements = NULL;
    r.env[0].key = (char *)"A=B";
    refuse(f, &r, OS_INVALID_ARGUMENT, "'A=B'");
    r.env[0].key = (char *)"OK";
    r.s.spec = NULL;
    refuse(f, &r, OS_INVALID_ARGUMENT, "sandbox.spec is required");
}

static void links_left_by_a_sandbox_lead_nowhere(void **state)
{
    struct fixture *f = *state;
    struct request r;
    cleanup_error struct os_error err = {0};
    cleanup_free char *victim = os_asprintf("%s/victim", f->dir),
                      *file = os_asprintf("%s/victim/file", f->dir);
    assert_int_equal(mkdir(victim, 0777), 0);
    write_text(file, "precious\n");
    /* On the next start the driver writes below these names; on remove it walks over them. */
    cleanup_free char *script =
        os_asprintf("link %s /sandbox/dir;link %s /sandbox/file;link %s /usr/dir;link %s /var/lib/evil;"
                    "deep /sandbox/deep 3000",
                    victim, file, victim, victim);
    free(run(f, &r, script));
    assert_int_equal(f->d->ops->stop(f->d->self, r.id, &err), 0);
    cleanup_free char *hosts = os_asprintf("%s/%s/etc/hosts", f->state_dir, r.id);
    cleanup_free char *tmp = os_asprintf("%s/%s/root/tmp", f->state_dir, r.id);
    assert_int_equal(unlink(hosts), 0);
    assert_int_equal(symlink(file, hosts), 0);
    assert_int_equal(symlink(victim, tmp), 0);
    f->d->ops->start(f->d->self, r.id, &err);
    remove_sandbox(f, r.id);
    assert_nothing_left(f, r.id);
    cleanup_buf struct os_buf b = {0};
    assert_int_equal(os_file_read(file, 100, &b, &err), 0);
    assert_string_equal(os_buf_str(&b), "precious\n");
}

/* --- many --- */

struct worker {
    struct fixture *f;
    struct request r;
    int rc;
};

static void *create_one(void *arg)
{
    struct worker *w = arg;
    cleanup_error struct os_error err = {0};
    w->rc = w->f->d->ops->create(w->f->d->self, &w->r.s, &err);
    return NULL;
}

static void *remove_one(void *arg)
{
    struct worker *w = arg;
    cleanup_error struct os_error err = {0};
    bool deleted = false;
    w->rc = w->f->d->ops->remove(w->f->d->self, w->r.id, &deleted, &err);
    return NULL;
}

static void all(struct worker *w, void *(*fn)(void *))
{
    pthread_t threads[PARALLEL];
    for (int i = 0; i < PARALLEL; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fn, &w[i]), 0);
    for (int i = 0; i < PARALLEL; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(w[i].rc, 0);
    }
}

static void twenty_at_once_come_and_go(void **state)
{
    struct fixture *f = *state;
    static struct worker w[PARALLEL];
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    driver_sandbox **list;
    size_t n;
    for (int i = 0; i < PARALLEL; i++) {
        w[i].f = f;
        request_init(&w[i].r, "children 2");
    }
    all(w, create_one);
    assert_int_equal(f->d->ops->list(f->d->self, &a, &list, &n, &err), 0);
    assert_int_equal(n, PARALLEL);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(list[i]->status->conditions[0]->reason, "BackendReady");
    for (int i = 0; i < PARALLEL; i++)
        free(wait_log(f, w[i].r.id, "ready\n", 1));
    all(w, remove_one);
    for (int i = 0; i < PARALLEL; i++)
        assert_nothing_left(f, w[i].r.id);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_supervisor_gets_its_identity_arguments_and_environment),
        TEST(token_and_keys_are_readable_by_root_only),
        TEST(the_host_is_hidden_but_for_its_system),
        TEST(dev_holds_harmless_devices_only),
        TEST(the_workspace_belongs_to_the_agent_and_the_supervisor_to_nobody),
        TEST(stop_and_start_keep_what_was_written),
        TEST(remove_leaves_nothing_and_is_idempotent),
        TEST(an_exit_is_reported_with_its_status_and_last_words),
        TEST(memory_exhaustion_is_named),
        TEST(the_number_of_processes_is_limited),
        TEST(a_second_create_with_the_id_is_refused),
        TEST(a_failed_launch_names_the_cause_and_leaves_nothing),
        TEST(a_new_driver_adopts_what_runs),
        TEST(a_killed_gateway_leaves_nothing_that_cannot_be_removed),
        TEST(a_recorded_pid_that_belongs_to_another_process_is_left_alone),
        TEST(hostile_ids_and_names_are_refused),
        TEST(what_the_driver_cannot_do_is_refused),
        TEST(links_left_by_a_sandbox_lead_nowhere),
        TEST(twenty_at_once_come_and_go),
    };
    if (geteuid() != 0) {
        puts("skip local driver: needs root");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
