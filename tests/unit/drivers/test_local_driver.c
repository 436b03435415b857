/* The life of local sandboxes, with real namespaces, mounts and control groups; needs root. A small static
 * program stands in for the supervisor. */
#include "fixture.h"

#include <glob.h>

#define PARALLEL 20

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

static int count_bases(const struct fixture *f)
{
    cleanup_free char *pattern = os_asprintf("%s.base/*", f->state_dir);
    glob_t g = {0};
    int n = glob(pattern, 0, NULL, &g) == 0 ? (int)g.gl_pathc : 0;
    globfree(&g);
    return n;
}

/* What hides the host from a running sandbox must outlive the driver that started it. */
static void lower_layers_stay_as_long_as_a_sandbox_runs_on_them(void **state)
{
    struct fixture *f = *state;
    struct request r;
    assert_int_equal(count_bases(f), 1);
    free(run(f, &r, ""));
    close_driver(f);
    open_driver(f);
    assert_int_equal(count_bases(f), 2);
    cleanup_free char *hidden = os_asprintf("/proc/%d/root%s/password", (int)process_of(f, r.id), f->secret);
    cleanup_free char *system = os_asprintf("/proc/%d/root/etc/passwd", (int)process_of(f, r.id));
    assert_false(os_file_exists(hidden));
    assert_true(os_file_exists(system));
    remove_sandbox(f, r.id);
    close_driver(f);
    open_driver(f);
    assert_int_equal(count_bases(f), 1);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(stop_and_start_keep_what_was_written),
        TEST(remove_leaves_nothing_and_is_idempotent),
        TEST(an_exit_is_reported_with_its_status_and_last_words),
        TEST(memory_exhaustion_is_named),
        TEST(the_number_of_processes_is_limited),
        TEST(a_second_create_with_the_id_is_refused),
        TEST(a_failed_launch_names_the_cause_and_leaves_nothing),
        TEST(a_new_driver_adopts_what_runs),
        TEST(lower_layers_stay_as_long_as_a_sandbox_runs_on_them),
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
