/* What the tests of the local driver share: a driver on a state directory of its own, sandbox descriptions,
 * the console log, and what is left on the host. */
#ifndef TESTS_DRIVERS_FIXTURE_H
#define TESTS_DRIVERS_FIXTURE_H

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

struct fixture {
    char dir[64]; /* holds state/ and the operator's files */
    char *state_dir;
    char *key, *proxy_auth, *rules, *ca, *secret;
    struct driver *d;
    pthread_mutex_t lock;
    struct os_strv events; /* "<kind> <id> <reason>" */
};

/* A sandbox description with everything it points to. */
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

void open_driver(struct fixture *f);
void close_driver(struct fixture *f);
void write_text(const char *path, const char *text);
/* cmocka setup and teardown; *state is the struct fixture. */
int set_up(void **state);
int tear_down(void **state);
/* A valid request; the stand-in does what script says (stand_in.c). */
void request_init(struct request *r, const char *script);
void create(struct fixture *f, struct request *r);
void remove_sandbox(struct fixture *f, const char *id);
/* The console log once it holds the text `times` times. */
char *wait_log(struct fixture *f, const char *id, const char *text, int times);
/* Creates and waits until the script is done; returns the console log. */
char *run(struct fixture *f, struct request *r, const char *script);
/* "<status>/<reason>" of the Ready condition, or the name of an error code. */
void assert_reason(struct fixture *f, const char *id, const char *expected);
void wait_reason(struct fixture *f, const char *id, const char *expected);
bool has_event(struct fixture *f, const char *kind, const char *id, const char *reason);
/* The host's view of the sandbox's pid 1. */
pid_t process_of(struct fixture *f, const char *id);
void assert_has(const char *log, const char *line);
void assert_lacks(const char *log, const char *text);
/* Control groups with this name, in all hierarchies. */
int count_cgroups(const char *id);
void assert_nothing_left(struct fixture *f, const char *id);

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

#endif
