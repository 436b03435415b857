/* What the inside of a local sandbox looks like, with real namespaces and mounts; needs root. A small static
 * program stands in for the supervisor and reports what it sees to the console log. */
#include "fixture.h"

static void the_supervisor_gets_its_identity_arguments_and_environment(void **state)
{
    struct fixture *f = *state;
    struct request r;
    cleanup_free char *log = run(f, &r, "");
    cleanup_free char *id = os_asprintf("env OPENSHELL_SANDBOX_ID=%s\n", r.id);
    assert_has(log, "pid = 1\n");
    assert_has(log, "hostname = demo\n");
    assert_has(log, "arg 0 = /opt/openshell/bin/openshell-sandbox\narg 1 = --workdir\narg 2 = /sandbox\n");
    assert_has(log, "arg 3 = --worker-uid\narg 4 = 58999\n");
    assert_has(log, " = --resolv-conf\narg 6 = /etc/openshell/operator/resolv.conf\n");
    assert_has(log, " = --extra-ca\narg 8 = /etc/openshell/operator/extra-ca.pem\n");
    assert_has(log, " = --extra-hosts\narg 10 = /etc/openshell/operator/extra-hosts\n");
    assert_has(log, " = --policy-rules\narg 12 = /etc/openshell/operator/rules.rego\n");
    assert_has(log, " = --policy-data\narg 14 = /etc/openshell/operator/policy-data.yaml\n");
    assert_has(log, " = --opa-path\narg 16 = /opt/openshell/bin/opa\n");
    assert_has(log, " = --upstream-proxy\narg 18 = http://proxy.corp:3128\n");
    assert_has(log, " = --upstream-no-proxy\narg 20 = corp,10.0.0.0/8\n");
    assert_has(log, " = --upstream-proxy-auth-file\narg 22 = /etc/openshell/auth/upstream-proxy\n");
    assert_has(log, "arg 23 = --upstream-proxy-auth-allow-insecure\n");
    assert_has(log, "arg 24 = --upstream-proxy-connect-by-hostname\n");
    assert_lacks(log, "user:pass");
    assert_has(log, id);
    assert_has(log, "env OPENSHELL_SANDBOX=demo\n");
    assert_has(log, "env OPENSHELL_ENDPOINT=https://127.0.0.1:17670\n");
    assert_has(log, "env OPENSHELL_LOG_LEVEL=info\n");
    assert_has(log, "env OPENSHELL_NETWORK_RUNTIME_CAPABILITIES=policy-dns-transparent-tcp\n");
    assert_has(log, "env OPENSHELL_SANDBOX_UID=58998\n");
    assert_has(log, "env OPENSHELL_SANDBOX_GID=58998\n");
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
            "cat /etc/openshell/auth/upstream-proxy;stat /etc/openshell/auth/upstream-proxy;"
            "cat /etc/openshell/operator/rules.rego;stat /etc/openshell/operator/policy-data.yaml;"
            "stat /opt/openshell/bin/opa;put /opt/openshell/bin/opa x;"
            "uid 58998;cat /etc/openshell/operator/rules.rego;cat /etc/openshell/operator/policy-data.yaml;"
            "cat /etc/openshell/auth/upstream-proxy;cat /etc/openshell/auth/sandbox.jwt;cat "
            "/etc/openshell/tls/client/tls.key;"
            "cat /etc/openshell/operator/extra-hosts;cat /etc/openshell/operator/extra-ca.pem;cat "
            "/etc/resolv.conf");
    assert_has(log, "cat /etc/openshell/auth/sandbox.jwt = TOKEN-TEXT\n");
    assert_has(log, "stat /etc/openshell/auth/sandbox.jwt = 100400 0 0\n");
    assert_has(log, "cat /etc/openshell/tls/client/tls.key = KEY TEXT\n");
    assert_has(log, "stat /etc/openshell/tls/client/tls.key = 100400 0 0\n");
    assert_has(log, "cat /etc/openshell/auth/sandbox.jwt = Permission denied\n");
    assert_has(log, "cat /etc/openshell/tls/client/tls.key = Permission denied\n");
    assert_has(log, "cat /etc/openshell/auth/upstream-proxy = user:pass\n");
    assert_has(log, "stat /etc/openshell/auth/upstream-proxy = 100400 0 0\n");
    assert_has(log, "cat /etc/openshell/auth/upstream-proxy = Permission denied\n");
    assert_has(log, "cat /etc/openshell/operator/rules.rego = RULES TEXT\n");
    assert_has(log, "stat /etc/openshell/operator/policy-data.yaml = 100400 0 0\n");
    assert_has(log, "stat /opt/openshell/bin/opa = 100755 0 0\n");
    assert_has(log, "put /opt/openshell/bin/opa = Read-only file system\n");
    assert_has(log, "cat /etc/openshell/operator/rules.rego = Permission denied\n");
    assert_has(log, "cat /etc/openshell/operator/policy-data.yaml = Permission denied\n");
    assert_has(log, "cat /etc/openshell/operator/extra-hosts = 10.1.2.3 demo.test\n");
    assert_has(log, "cat /etc/openshell/operator/extra-ca.pem = CA TEXT\n");
    assert_has(log, "cat /etc/resolv.conf = nameserver 10.200.0.1\n");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_supervisor_gets_its_identity_arguments_and_environment),
        TEST(token_and_keys_are_readable_by_root_only),
        TEST(the_host_is_hidden_but_for_its_system),
        TEST(dev_holds_harmless_devices_only),
        TEST(the_workspace_belongs_to_the_agent_and_the_supervisor_to_nobody),
    };
    if (geteuid() != 0) {
        puts("skip local driver: needs root");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
