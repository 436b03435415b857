#!/usr/bin/env python3
"""Whole sandboxes whose supervisors were given rules in Rego: by the local driver, as gateway.toml says, and by a driver
of another kind, which passes --policy-rules from inside the sandbox's root."""
import contextlib
import os
import pathlib
import shutil
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
import harness  # noqa: E402
from harness import BIN, Gateway, Origin, Private, Skip, Suite, check, contains, equal, free_port, lo_address, run, wait_for  # noqa: E402
from opa import find_opa  # noqa: E402

suite = Suite()
case = suite.case
private = Private("rules")
local = Private("rules-local")
ADDRESS = f"10.97.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250 + 1}"

# In the place of the supervisor: what a driver would say.
DRIVER = r"""
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    setenv("OPENSHELL_POLICY_RULES", "/etc/rules.rego", 1);
    if (!access("/etc/policy-data.yaml", F_OK))
        setenv("OPENSHELL_POLICY_DATA", "/etc/policy-data.yaml", 1);
    setenv("OPENSHELL_OPA_PATH", "/usr/bin/opa", 1);
    return execv("/usr/bin/supervisor", argv);
}
"""

AGENT = r"""
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
/* Asks the proxy for the target and prints the answer; --show FILE prints the file; without one it waits. */
int main(int argc, char **argv)
{
    if (argc < 2)
        for (;;)
            pause();
    char text[4096];
    if (argc > 2) {
        int f = open(argv[2], O_RDONLY);
        ssize_t got = read(f, text, sizeof(text));
        return write(1, text, got > 0 ? got : 0) <= 0;
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(3128)};
    inet_pton(AF_INET, "10.200.0.1", &to.sin_addr);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(s, (struct sockaddr *)&to, sizeof(to)) < 0)
        return 1;
    dprintf(s, "CONNECT %s HTTP/1.1\r\n\r\n", argv[1]);
    ssize_t n = read(s, text, sizeof(text));
    return write(1, text, n > 0 ? n : 0) < 0 || access("/run/openshell-rules/opa.sock", F_OK) == 0;
}
"""

RULES = """
package openshell.sandbox

import rego.v1

egress_authorization := {"action": "deny", "deny_reason": "the rules say no"}

allow_request := true
"""

POLICY = """version: 1
filesystem_policy: {include_workdir: true, read_only: [/], read_write: [/sandbox, /tmp, /dev/null]}
process: {run_as_user: sandbox, run_as_group: sandbox}
network_policies:
  all: {endpoints: [{host: api.test, port: 443}], binaries: [{path: "/**"}]}
"""


def build(name, text):
    source = private.dir / f"{name}.c"
    source.write_text(text)
    r = run("cc", "-static", "-O1", "-o", private.dir / name, source)
    check(r.code == 0, r)
    return private.dir / name


DATA = """
filesystem_policy: {include_workdir: true, read_only: [/], read_write: [/dev/null]}
network_policies:
  local: {endpoints: [{host: local.test, port: 443}], binaries: [{path: "/**"}]}
"""

LOCAL_RULES = """
package openshell.sandbox

import rego.v1

egress_authorization := {"action": "deny", "deny_reason": sprintf("the rules know %v", [object.keys(data.network_policies)])}
"""


def root_file_system(rules, data=None):
    root = private.dir / "root"
    shutil.rmtree(root, ignore_errors=True)
    for d in ("usr/bin", "etc", "tmp"):
        (root / d).mkdir(parents=True)
    for source, target in ((find_opa(), "usr/bin/opa"), (BIN / "openshell-sandbox", "usr/bin/supervisor"),
                           (private.dir / "agent", "agent")):
        shutil.copy(source, root / target)
        (root / target).chmod(0o755)
    (root / "etc/rules.rego").write_text(f"# {private.dir}\n{rules}")
    if data:
        (root / "etc/policy-data.yaml").write_text(data)
    return root


def agents(marker, program=None):
    """Policy agents that see the rules of this test in their root, or run this test's program."""
    mine = program and (local.dir / "opa").stat().st_ino
    found = []
    for p in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if not (p / "cmdline").read_bytes().startswith(b"opa\0run\0"):
                continue
            if (p / f"root{program}").stat().st_ino == mine if program else marker in (p / "root/etc/rules.rego").read_text():
                found.append(p.name)
    return found


@case
def rules_hold_in_a_sandbox(g):
    root = root_file_system(RULES)
    r = g.cli("sandbox", "create", "--name", "ruled", "--from", f"dir:{root}", "--policy", private.dir / "policy.yaml", "--detach", "--",
              "/agent")
    check(r.code == 0, (r, g.log_text()[-2000:]))
    r = g.cli("sandbox", "exec", "--name", "ruled", "--", "/agent", "api.test:443")
    check("the rules say no" in r.out, (r, g.cli("logs", "ruled").text[-1500:]))
    equal(r.code, 0, f"the agent does not see the socket: {r}")
    r = g.cli("sandbox", "exec", "--name", "ruled", "--", "/agent", "nowhere.test:443")
    contains(r.out, "is not allowed by any policy")
    equal(len(agents(str(private.dir))), 1, "policy agents")
    g.cli("sandbox", "delete", "ruled")
    wait_for("the end of the policy agent", lambda: not agents(str(private.dir)), 20)


@case
def a_policy_from_files_is_not_replaced(g):
    root = root_file_system(LOCAL_RULES, DATA)
    r = g.cli("sandbox", "create", "--name", "local", "--from", f"dir:{root}", "--policy", private.dir / "policy.yaml", "--detach", "--", "/agent")
    check(r.code == 0, (r, g.log_text()[-2000:]))
    contains(g.cli("sandbox", "exec", "--name", "local", "--", "/agent", "api.test:443").out, 'the rules know {\\"local\\"}')
    text = g.must("sandbox", "exec", "--name", "local", "--", "/agent", "--show", "/etc/openshell/policy/summary.txt").out
    contains(text, "rule local")
    contains(text, "The operator's own rules decide, over this policy.")
    new = private.dir / "local-new.yaml"
    new.write_text(POLICY.replace("api.test", "other.test"))
    r = g.cli("policy", "set", "local", "--policy", new, "--wait", "--timeout", "20")
    check(r.code != 0, f"said to be loaded: {r}")
    contains(r.text, "takes its policy from files of its supervisor")
    contains(g.cli("sandbox", "exec", "--name", "local", "--", "/agent", "other.test:443").out, 'the rules know {\\"local\\"}')
    g.cli("sandbox", "delete", "local")


@case
def policy_data_that_is_none_ends_the_sandbox(g):
    root = root_file_system(LOCAL_RULES, "network_policies: {k: {endpoints: [{host: a.test, port: x}]}}")
    g.cli("sandbox", "create", "--name", "nodata", "--from", f"dir:{root}", "--policy", private.dir / "policy.yaml", "--detach", "--", "/agent")
    wait_for("the reason", lambda: "--policy-data: failed to parse policy data: network_policies.k.endpoints[0].port" in
             g.cli("logs", "nodata").text, 20)
    g.cli("sandbox", "delete", "nodata")


@case
def rules_that_do_not_compile_end_the_sandbox(g):
    root = root_file_system("package openshell.sandbox\nallow if {\n")
    g.cli("sandbox", "create", "--name", "broken", "--from", f"dir:{root}", "--policy", private.dir / "policy.yaml", "--detach", "--",
          "/agent")
    wait_for("the reason", lambda: "--policy-rules, line 4" in g.cli("logs", "broken").text, 20)
    g.cli("sandbox", "delete", "broken")


# --- the local driver passes them on ---

NARROW = """
package openshell.sandbox

import rego.v1

egress_authorization := {"action": "deny", "deny_reason": "closed by the operator"} if {
	input.network.host == "closed.test"
} else := {"action": "allow", "exact_declared_endpoint_host": true}

allow_request := true
"""

TWO_HOSTS = """version: 1
network_policies:
  all:
    endpoints: [{host: open.test, port: 80}, {host: closed.test, port: 80}]
    binaries: [{path: "/**"}]
"""


def configure(**keys):
    path = local.dir / "config" / "openshell" / "gateway.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = local.dir.stat()
    for d in (path.parent, path.parent.parent):
        os.chown(d, owner.st_uid, owner.st_gid)
    path.write_text("[openshell.drivers.local]\n" + "".join(f'{k} = "{v}"\n' for k, v in keys.items()))


def curl(g, *argv):
    return g.exec("narrow", "curl", "-sS", "-w", " %{http_code}", "--max-time", "20", "-p", *argv)


@case
def the_local_driver_gives_them_to_every_sandbox(g):
    g = g.local
    g.must("sandbox", "create", "--name", "narrow", "--policy", local.dir / "policy.yaml", "--detach", "--", "sleep", "infinity")
    r = curl(g, "http://open.test/x")
    check(r.code == 0 and r.out.endswith(" 200"), (r, g.cli("logs", "narrow").text[-1500:]))
    r = curl(g, "http://closed.test/x")
    check(r.code != 0, f"the rules deny it: {r}")
    wait_for("the reason", lambda: "closed by the operator" in g.cli("logs", "narrow").text, 20)
    equal(len(agents(None, "/opt/openshell/bin/opa")), 1, "policy agents")
    for secret in ("/etc/openshell/operator/rules.rego", str(local.dir / "rules.rego")):
        r = g.exec("narrow", "cat", secret)
        check(r.code != 0 and "closed by" not in r.text, f"the agent reads the rules: {r}")


@case
def an_image_gets_them_too(g):
    """Nothing of its own is in the way of the program and the files, and nothing of it is taken for them."""
    g = g.local
    root = local.dir / "image"
    for d in ("opt/openshell/bin", "etc/openshell/operator", "tmp"):
        (root / d).mkdir(parents=True)
    shutil.copy(private.dir / "agent", root / "agent")
    (root / "opt/openshell/bin/opa").write_text("not this one")
    (root / "etc/openshell/operator/rules.rego").write_text("nor this")
    policy = local.dir / "image.yaml"
    policy.write_text(POLICY.replace("{host: api.test, port: 443}", "{host: open.test, port: 80}, {host: closed.test, port: 80}"))
    g.must("sandbox", "create", "--name", "image", "--from", f"dir:{root}", "--policy", policy, "--detach", "--", "/agent")
    contains(g.exec("image", "/agent", "open.test:80").out, "200 Connection Established")
    contains(g.exec("image", "/agent", "closed.test:80").out, "closed by the operator")
    g.must("sandbox", "delete", "image")


@case
def new_rules_hold_for_new_sandboxes(g):
    g = g.local
    (local.dir / "rules.rego").write_text(NARROW.replace("closed.test", "open.test"))
    g.must("sandbox", "stop", "narrow")
    g.must("sandbox", "start", "narrow")
    wait_for("the sandbox", lambda: g.exec("narrow", "true").code == 0, 20)
    check(curl(g, "http://open.test/x").code != 0, "the old rules hold")
    r = curl(g, "http://closed.test/x")
    check(r.code == 0 and r.out.endswith(" 200"), (r, g.cli("logs", "narrow").text[-1500:]))
    g.must("sandbox", "delete", "narrow")
    wait_for("the end of the policy agent", lambda: not agents(None, "/opt/openshell/bin/opa"), 20)


@case
def a_missing_file_stops_the_gateway_with_one_line(g):
    g = g.local
    good = {"policy_rules_file": local.dir / "rules.rego", "opa_path": local.dir / "opa"}
    for change, complaint in (({"policy_rules_file": local.dir / "none.rego"}, "policy_rules_file: "),
                              ({"policy_data_file": local.dir / "none.yaml"}, "policy_data_file: "),
                              ({"opa_path": local.dir / "none"}, "opa_path: ")):
        configure(**{**good, **change})
        env = dict(g.env, XDG_STATE_HOME=str(local.dir / "state-of-none"))
        r = run(*g.prefix, BIN / "openshell-gateway", "--port", str(free_port()), env=env, timeout=20)
        check(r.code != 0, r)
        lines = [line for line in r.text.splitlines() if complaint in line]
        equal(len(lines), 1, f"lines with '{complaint}' in {r.text}")
        contains(lines[0], "none")


def start_local():
    g = Gateway(local)
    lo_address(local, ADDRESS)
    origin = Origin(ADDRESS, 80)
    local.stack.callback(origin.close)
    shutil.copy(find_opa(), local.dir / "opa")
    (local.dir / "opa").chmod(0o755)
    (local.dir / "hosts").write_text(f"{ADDRESS} open.test closed.test\n")
    (local.dir / "rules.rego").write_text(NARROW)
    (local.dir / "policy.yaml").write_text(TWO_HOSTS)
    configure(policy_rules_file=local.dir / "rules.rego", opa_path=local.dir / "opa", extra_hosts_file=local.dir / "hosts")
    return g.start()


def main():
    try:
        find_opa()
        other = start_local()
        build("agent", AGENT)
        bin_dir = private.dir / "build/bin"
        shutil.copytree(BIN, bin_dir)
        shutil.copy(build("driver", DRIVER), bin_dir / "openshell-sandbox")
        (private.dir / "policy.yaml").write_text(POLICY)
        harness.BIN = bin_dir
        gateway = Gateway(private, extra_env={"OPENSHELL_LOCAL_IMAGE_DIRS": str(private.dir)}).start()
    except Skip as why:
        print(f"skip rules: {why}")
        return
    gateway.local = other
    suite.run(gateway)


main()
