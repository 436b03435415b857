/* What the tests of the local driver share: see fixture.h. */
#include "fixture.h"

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

void open_driver(struct fixture *f)
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
                                            .proxy = {.url = "http://proxy.corp:3128",
                                                      .no_proxy = "corp,10.0.0.0/8",
                                                      .auth_file = f->proxy_auth,
                                                      .auth_allow_insecure = true,
                                                      .connect_by_hostname = true},
                                            .policy_rules_file = f->rules,
                                            .policy_data_file = f->ca,
                                            .opa_path = "/bin/true",
                                            .mask = mask};
    f->d = local_driver_new(&cfg, &err);
    if (!f->d)
        fail_msg("%s", os_error_text(&err));
    f->d->ops->watch(f->d->self, on_event, f);
}

void close_driver(struct fixture *f)
{
    f->d->ops->free(f->d->self);
    f->d = NULL;
}

void write_text(const char *path, const char *text)
{
    cleanup_error struct os_error err = {0};
    assert_int_equal(os_file_write_atomic(path, text, strlen(text), 0600, &err), 0);
}

int set_up(void **state)
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
    f->proxy_auth = os_asprintf("%s/proxy-auth", f->dir);
    write_text(f->proxy_auth, "user:pass\n");
    f->rules = os_asprintf("%s/rules.rego", f->dir);
    write_text(f->rules, "RULES TEXT\n");
    assert_int_equal(mkdir(f->secret, 0755), 0);
    cleanup_free char *inside = os_asprintf("%s/password", f->secret);
    write_text(inside, "hunter2\n");
    open_driver(f);
    *state = f;
    return 0;
}

int tear_down(void **state)
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
    free(f->proxy_auth);
    free(f->rules);
    free(f->ca);
    free(f->secret);
    free(f);
    return 0;
}

/* --- a sandbox description on the stack --- */

void request_init(struct request *r, const char *script)
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

void create(struct fixture *f, struct request *r)
{
    cleanup_error struct os_error err = {0};
    if (f->d->ops->create(f->d->self, &r->s, &err) < 0)
        fail_msg("create: %s", os_error_text(&err));
}

void remove_sandbox(struct fixture *f, const char *id)
{
    cleanup_error struct os_error err = {0};
    bool deleted = false;
    if (f->d->ops->remove(f->d->self, id, &deleted, &err) < 0)
        fail_msg("remove: %s", os_error_text(&err));
    assert_true(deleted);
}

/* The console log once it holds the text for the n-th time. */
char *wait_log(struct fixture *f, const char *id, const char *text, int times)
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

char *run(struct fixture *f, struct request *r, const char *script)
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

void assert_reason(struct fixture *f, const char *id, const char *expected)
{
    cleanup_free char *reason = reason_of(f, id);
    assert_string_equal(reason, expected);
}

void wait_reason(struct fixture *f, const char *id, const char *expected)
{
    for (int64_t end = os_clock_mono_ms() + WAIT_MS; os_clock_mono_ms() < end; poll(NULL, 0, 2)) {
        cleanup_free char *reason = reason_of(f, id);
        if (strcmp(reason, expected) == 0)
            return;
    }
    assert_reason(f, id, expected);
}

bool has_event(struct fixture *f, const char *kind, const char *id, const char *reason)
{
    cleanup_free char *text = os_asprintf("%s %s%s%s", kind, id, *reason ? " " : "", reason);
    pthread_mutex_lock(&f->lock);
    bool found = os_strv_has(&f->events, text);
    pthread_mutex_unlock(&f->lock);
    return found;
}

/* The host's view of the sandbox's pid 1. */
pid_t process_of(struct fixture *f, const char *id)
{
    cleanup_free char *path = os_asprintf("%s/%s/process", f->state_dir, id);
    cleanup_buf struct os_buf b = {0};
    cleanup_error struct os_error err = {0};
    assert_int_equal(os_file_read(path, 4096, &b, &err), 0);
    return (pid_t)atoi(os_buf_str(&b));
}

void assert_has(const char *log, const char *line)
{
    if (!strstr(log, line))
        fail_msg("no '%s' in:\n%s", line, log);
}

void assert_lacks(const char *log, const char *text)
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

int count_cgroups(const char *id)
{
    wanted = id;
    found = 0;
    nftw("/sys/fs/cgroup", visit, 16, FTW_PHYS);
    return found;
}

void assert_nothing_left(struct fixture *f, const char *id)
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
