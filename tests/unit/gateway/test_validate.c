/* Unit tests of the gateway's request validation: published texts, order and limits (spec/gateway.md 3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/arena.h"
#include "core/buf.h"
#include "core/str.h"
#include "gateway/validate.h"
#include "rpc/pb.h"

static void refused(int rc, struct os_error *err, const char *text)
{
    assert_int_equal(rc, -1);
    assert_int_equal(err->code, OS_INVALID_ARGUMENT);
    assert_string_equal(os_error_text(err), text);
    os_error_clear(err);
}

static void names_are_dns_labels(void **state)
{
    struct os_error err = {0};
    assert_int_equal(validate_label_name("name", "", 19, &err), 0);
    assert_int_equal(validate_label_name("name", "a1-b2", 19, &err), 0);
    assert_int_equal(validate_label_name("name", "0123456789012345678", 19, &err), 0);
    refused(validate_label_name("name", "01234567890123456789", 19, &err), &err,
            "name exceeds maximum length (20 > 19)");
    refused(validate_label_name("name", "Demo", 19, &err), &err,
            "name must contain only lowercase alphanumeric characters or hyphens");
    refused(validate_label_name("name", "../etc", 19, &err), &err,
            "name must contain only lowercase alphanumeric characters or hyphens");
    refused(validate_label_name("name", "-a", 19, &err), &err, "name must not start or end with a hyphen");
    refused(validate_label_name("name", "a-", 19, &err), &err, "name must not start or end with a hyphen");
    refused(validate_label_name("name", "a--b", 19, &err), &err, "name must not contain consecutive hyphens");
}

static void label_keys_and_values(void **state)
{
    struct os_error err = {0};
    assert_int_equal(validate_label_key("example.com/team_a.b-c", &err), 0);
    assert_int_equal(validate_label_value("", &err), 0);
    assert_int_equal(validate_label_value("v1.2_x-y", &err), 0);
    refused(validate_label_key("", &err), &err, "label key cannot be empty");
    refused(validate_label_key("/x", &err), &err,
            "label key prefix cannot be empty when '/' is present: '/x'");
    refused(validate_label_key("a/", &err), &err, "label key name segment cannot be empty: 'a/'");
    refused(validate_label_key("A.b/x", &err), &err,
            "label key prefix must be a DNS subdomain (lowercase alphanumeric, '-', '.'): 'A.b/x'");
    refused(validate_label_key("a..b/x", &err), &err,
            "label key prefix cannot contain consecutive dots: 'a..b/x'");
    refused(validate_label_key("_x", &err), &err,
            "label key name segment must start with alphanumeric character: '_x'");
    refused(validate_label_value("a b", &err), &err,
            "label value contains invalid characters (must be alphanumeric, '-', '_', or '.'): 'a b'");
    refused(validate_label_value("a.", &err), &err, "label value must end with alphanumeric character: 'a.'");
}

static void selectors(void **state)
{
    struct os_error err = {0};
    struct os_arena a = {0};
    struct validate_selector *pairs;
    size_t n;
    assert_int_equal(validate_selector(&a, " team = red ,, env=dev,team=blue", &pairs, &n, &err), 0);
    assert_int_equal(n, 2);
    assert_string_equal(pairs[0].key, "team");
    assert_string_equal(pairs[0].value, "blue");
    assert_string_equal(pairs[1].value, "dev");
    assert_int_equal(validate_selector(&a, "", &pairs, &n, &err), 0);
    assert_int_equal(n, 0);
    refused(validate_selector(&a, "team", &pairs, &n, &err), &err,
            "invalid label selector: expected 'key=value', got 'team'");
    refused(validate_selector(&a, "=x", &pairs, &n, &err), &err,
            "invalid label selector: key cannot be empty in '=x'");
    struct os_buf many = {0};
    for (int i = 0; i < 65; i++)
        os_buf_addf(&many, "k%d=v,", i);
    refused(validate_selector(&a, os_buf_str(&many), &pairs, &n, &err), &err,
            "label selector exceeds 64 pair limit");
    os_buf_free(&many);
    os_arena_free(&a);
}

static Openshell__V1__SandboxSpec *spec_with_env(struct os_arena *a, const char *key, const char *value)
{
    Openshell__V1__SandboxSpec *spec = pb_new(a, openshell__v1__sandbox_spec);
    Openshell__V1__SandboxSpec__EnvironmentEntry *e =
        pb_new(a, openshell__v1__sandbox_spec__environment_entry);
    e->key = (char *)key;
    e->value = (char *)value;
    spec->environment = os_arena_memdup(a, &e, sizeof(e));
    spec->n_environment = 1;
    return spec;
}

static void sandbox_environment(void **state)
{
    struct os_error err = {0};
    struct os_arena a = {0};
    assert_int_equal(validate_sandbox("demo", spec_with_env(&a, "PATH_2", "x y"), &err), 0);
    refused(validate_sandbox("demo", spec_with_env(&a, "1A", "x"), &err), &err,
            "spec.environment keys must match ^[A-Za-z_][A-Za-z0-9_]*$; got '1A'");
    refused(validate_sandbox("demo", spec_with_env(&a, "OPENSHELL_TOKEN", "x"), &err), &err,
            "spec.environment keys starting with OPENSHELL_ are reserved; got 'OPENSHELL_TOKEN'");
    refused(validate_sandbox("demo", spec_with_env(&a, "A", "x\ny"), &err), &err,
            "spec.environment value for 'A' contains newline or carriage return characters");
    char *big = os_arena_alloc(&a, 8194);
    memset(big, 'x', 8193);
    refused(validate_sandbox("demo", spec_with_env(&a, "A", big), &err), &err,
            "spec.environment value exceeds maximum length (8193 > 8192)");
    os_arena_free(&a);
}

static void sandbox_command(void **state)
{
    struct os_error err = {0};
    struct os_arena a = {0};
    Openshell__V1__SandboxSpec *spec = pb_new(&a, openshell__v1__sandbox_spec);
    char *argv[257];
    for (size_t i = 0; i < 257; i++)
        argv[i] = (char *)"x";
    spec->command = argv;
    spec->n_command = 256;
    assert_int_equal(validate_sandbox("", spec, &err), 0);
    spec->n_command = 257;
    refused(validate_sandbox("", spec, &err), &err, "spec.command exceeds 256 argument limit");
    argv[0] = (char *)"";
    spec->n_command = 1;
    refused(validate_sandbox("", spec, &err), &err, "spec.command[0] must not be empty");
    os_arena_free(&a);
}

static void exec_requests(void **state)
{
    struct os_error err = {0};
    char *argv[] = {(char *)"true"};
    Openshell__V1__ExecSandboxRequest req = OPENSHELL__V1__EXEC_SANDBOX_REQUEST__INIT;
    refused(validate_exec(&req, &err), &err, "sandbox_id is required");
    req.sandbox_id = (char *)"x";
    refused(validate_exec(&req, &err), &err, "command is required");
    req.attach_main = 1;
    assert_int_equal(validate_exec(&req, &err), 0);
    req.attach_main = 0;
    req.command = argv;
    req.n_command = 1;
    assert_int_equal(validate_exec(&req, &err), 0);
    req.workdir = (char *)"/a\n/b";
    refused(validate_exec(&req, &err), &err, "workdir contains newline or carriage return characters");
    req.workdir = (char *)"";
    Openshell__V1__ExecSandboxRequest__EnvironmentEntry e =
        OPENSHELL__V1__EXEC_SANDBOX_REQUEST__ENVIRONMENT_ENTRY__INIT;
    Openshell__V1__ExecSandboxRequest__EnvironmentEntry *env[] = {&e};
    req.environment = env;
    req.n_environment = 1;
    e.key = (char *)"OPENSHELL_X";
    e.value = (char *)"1";
    refused(validate_exec(&req, &err), &err,
            "environment keys starting with OPENSHELL_ are reserved; got 'OPENSHELL_X'");
    e.key = (char *)"OPENSHELL_PYFUNC_B64";
    assert_int_equal(validate_exec(&req, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_dns_labels),
        cmocka_unit_test(label_keys_and_values),
        cmocka_unit_test(selectors),
        cmocka_unit_test(sandbox_environment),
        cmocka_unit_test(sandbox_command),
        cmocka_unit_test(exec_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
