"""Rules of the operator's own, in a real Open Policy Agent: they narrow what the policy allows, see the policy as data, and
while nobody is there to ask everything is denied."""
import json
import os
import pathlib
import shutil
import signal
import socket
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
from harness import Skip, Suite, check, contains, equal, wait_for  # noqa: E402
from opa import find_opa  # noqa: E402
from world import POLICY, Egress, main  # noqa: E402

suite = Suite()

# Whatever the policy says, except: nothing of l4.test, no /private, no mutation, no call of search.two; and every
# connection of a shell's children.
RULES = """
package openshell.sandbox

import rego.v1

hosts := {e.host | some p in data.network_policies; some e in p.endpoints}

blocked if input.network.host == "l4.test"

blocked if "/bin/sh" in input.exec.ancestors

egress_authorization := {"action": "deny", "deny_reason": sprintf("not %s, says the rule", [input.network.host])} if {
	blocked
} else := {"action": "allow", "matched_policy": "x", "exact_declared_endpoint_host": input.network.host != "db.lan"} if {
	input.network.host in hosts
} else := {"action": "deny", "deny_reason": "not in the data"}

refused if startswith(input.request.path, "/private")

refused if input.request.query_params.q[_] == "bad"

refused if input.request.graphql.operations[_].operation_type == "mutation"

refused if input.request.jsonrpc.tool == "search.two"

default allow_request := false

allow_request if not refused

request_deny_reason := sprintf("%s says no", [input.request.path])
"""


def opa_for_worker(w):
    """A copy that the worker's identity may run."""
    path = w.private.dir / "opa"
    if not path.exists():
        shutil.copy(find_opa(), path)
        path.chmod(0o755)
    return path


def start(w, label, rules=RULES):
    file = w.private.dir / f"{label}.rego"
    file.write_text(rules)
    opa = opa_for_worker(w)
    return Egress(w.private, w.authority, label, extra=["--rules", file, "--rules-dir", w.private.dir / f"{label}.run", "--opa", opa])


def agent_of(e):
    """Process id of the policy agent."""
    keeper = e.find("KEEPER ").split()[1]
    children = pathlib.Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    return int(children[0]) if children else None


@suite.case
def rules_narrow_connections(w):
    w.narrow = start(w, "narrow")
    equal(w.narrow.get("api.test").status, 200, "allowed by both")
    equal(w.narrow.refused("l4.test:443")[1]["reason"], "not l4.test, says the rule", "refused by the rule")
    contains(w.narrow.refused("nowhere.test:443")[1]["reason"], "is not allowed by any policy")
    with w.narrow.as_process("/usr/bin/curl", "/bin/sh"):
        equal(w.narrow.refused("api.test:443")[1]["reason"], "not api.test, says the rule", "by the process")
    contains(str(w.narrow.refused("db.lan:443")[1]), "internal address")


@suite.case
def rules_narrow_requests(w):
    answer = w.narrow.get("api.test", "/private/x")
    equal(answer.status, 403, "status")
    contains(answer.body.decode(), "/private/x says no")
    equal(w.narrow.get("api.test", "/x?q=bad").status, 403, "by a query parameter")
    equal(w.narrow.get("api.test", "/x?q=good").status, 200, "allowed by both")
    contains(w.narrow.get("api.test", "/admin/x").body.decode(), "blocked by deny rule")
    equal(w.narrow.get("audit.test", "/private/x").status, 200, "an endpoint that only audits")


@suite.case
def rules_see_the_policy_in_force(w):
    since = w.narrow.mark()
    w.narrow.reload(POLICY + "  more:\n    endpoints: [{host: other.test, port: 443, protocol: rest, enforcement: enforce, access: full}]\n"
                    "    binaries: [{path: /usr/bin/curl}]\n")
    equal(w.narrow.get("other.test").status, 200, "a host that was not in the data before")
    check(not w.narrow.find("REFUSED", since))


@suite.case
def agent_is_confined(w):
    pid = agent_of(w.narrow)
    status = dict(l.split(":\t", 1) for l in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in l)
    equal(status["Uid"].split(), ["1337"] * 4, "uid")
    equal(int(status["CapEff"], 16) | int(status["CapPrm"], 16) | int(status["CapBnd"], 16), 0, "capabilities")
    equal((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"), "filter")
    own = {os.readlink(f"/proc/{p}/ns/net") for p in (pid, w.narrow.process.pid)}
    equal(len(own), 2, "network namespaces")
    routes = pathlib.Path(f"/proc/{pid}/net/route").read_text().splitlines()
    equal(routes[1:], [], "routes of its network")
    equal((w.private.dir / "narrow.run").stat().st_mode & 0o777, 0o700, "mode of the socket's directory")


@suite.case
def nobody_to_ask_denies_and_comes_back(w):
    pid = agent_of(w.narrow)
    keeper = int(w.narrow.find("KEEPER ").split()[1])
    os.kill(keeper, signal.SIGSTOP)  # so that nothing starts it again meanwhile
    try:
        os.kill(pid, signal.SIGKILL)
        equal(w.narrow.refused("api.test:443")[1]["reason"], "policy engine unavailable", "reason")
    finally:
        os.kill(keeper, signal.SIGCONT)
    wait_for("another agent", lambda: agent_of(w.narrow) not in (None, pid), 20)

    def open_again():
        s, _ = w.narrow.connect("api.test:443")
        if s:
            s.close()
        return s
    wait_for("the rules", open_again, 30)
    equal(w.narrow.get("other.test").status, 200, "the policy in force is its data again")
    equal(w.narrow.refused("l4.test:443")[1]["reason"], "not l4.test, says the rule", "refused by the rule")


@suite.case
def open_connection_does_not_outlive_the_agent(w):
    pid, keeper = agent_of(w.narrow), int(w.narrow.find("KEEPER ").split()[1])
    with w.narrow.tls("api.test:443") as s:
        os.kill(keeper, signal.SIGSTOP)
        try:
            os.kill(pid, signal.SIGKILL)
            s.sendall(b"GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n")
            contains(s.recv(65536).decode(), "403 Forbidden")
        finally:
            os.kill(keeper, signal.SIGCONT)


@suite.case
def stock_rules_agree(w):
    stock = start(w, "stock", (HERE.parents[2] / "policy/rego/openshell.rego").read_text())
    equal(stock.get("api.test").status, 200, "allowed")
    equal(stock.get("api.test", "/admin/x").status, 403, "refused")


# A data file: no version, a key that no policy has, a matcher in the form of the contract.
DATA = """
owner: nobody reads this
network_policies:
  files:
    comment: left out
    endpoints:
      - {host: api.test, port: 443, protocol: rest, enforcement: enforce, rules: [{allow: {method: GET, path: /x, query: {q: {glob: a}}}}]}
      - {host: api.test, port: 443, protocol: rest, enforcement: enforce, path: /admin/**, access: read-only}
      - {host: plain.test, port: 80, protocol: rest, enforcement: enforce, access: read-only}
    binaries: [{path: /usr/bin/git}]
"""

# Allows what the data does not (any program, /other), and refuses what it allows.
ALONE = """
package openshell.sandbox

import rego.v1

first := {"policy_name": "files", "endpoint_index": 0, "endpoint": data.network_policies.files.endpoints[0]}

egress_authorization := {"action": "allow", "matched_policy": "files", "exact_declared_endpoint_host": true, "matched_endpoints": [first]} if {
	input.network.host == "api.test"
} else := {"action": "allow", "matched_endpoints": []} if {
	input.network.host == "l4.test"
} else := {"action": "allow", "matched_endpoints": [first]} if {
	input.network.host == "plain.test"
} else := {"action": "allow"} if {
	input.network.host == "other.test"
} else := {"action": "deny", "deny_reason": "the rules do not know it"}

default allow_request := false

allow_request if input.request.path in {"/other", "/x"}

request_deny_reason := sprintf("the rules refuse %s", [input.request.path])
"""


@suite.case
def rules_decide_alone_over_a_data_file(w):
    file = w.private.dir / "alone.rego"
    file.write_text(ALONE)
    e = Egress(w.private, w.authority, "alone", policy=DATA, extra=["--alone", "--rules", file, "--rules-dir", w.private.dir / "alone.run",
                                                                   "--opa", opa_for_worker(w)])
    w.fresh()
    equal(e.get("api.test", "/other").status, 200, "what the data does not allow, by a program it does not name")
    r = e.get("api.test", "/admin/x")
    equal((r.status, json.loads(r.body)["detail"]), (403, "the rules refuse /admin/x"), "what the data allows")
    equal(e.get("api.test", "/../x").status, 400, "what is no request stays none")
    equal(e.refused("nowhere.test:443")[1]["reason"], "the rules do not know it", "host")
    with e.open("l4.test:7") as s:  # no endpoint: allowed, and not looked into
        s.sendall(b"hello")
        s.shutdown(socket.SHUT_WR)
        contains(s.recv(100).decode(), "hello")
    contains(e.refused("other.test:443")[1]["reason"], "name no matched_endpoints")
    contains(e.refused("plain.test:80")[1]["reason"], "does not have for this destination")
    equal([head.split(b"\r\n")[0] for _, head, _ in w.tls.seen], [b"GET /other HTTP/1.1"], "requests at the origin")
    os.kill(int(e.find("KEEPER ").split()[1]), signal.SIGSTOP)
    try:
        os.kill(agent_of(e), signal.SIGKILL)
        equal(e.refused("api.test:443")[1]["reason"], "policy engine unavailable", "nobody to ask")
    finally:
        os.kill(int(e.find("KEEPER ").split()[1]), signal.SIGCONT)


@suite.case
def stock_rules_alone_decide_as_the_policy_does(w):
    file = w.private.dir / "stock-alone.rego"
    file.write_text((HERE.parents[2] / "policy/rego/openshell.rego").read_text())
    e = Egress(w.private, w.authority, "stock-alone", extra=["--alone", "--rules", file, "--rules-dir", w.private.dir / "stock-alone.run", "--opa",
                                                            opa_for_worker(w)])
    for host, path, status in (("api.test", "/x", 200), ("api.test", "/admin/x", 403), ("query.test", "/d?tag=foo-1", 200), ("query.test", "/d?tag=z", 403),
                               ("audit.test", "/x", 200), ("l4.test", "/any", 200)):
        equal(e.get(host, path).status, status, f"{host}{path}")
    contains(e.refused("nowhere.test:443")[1]["reason"], "is not allowed by any policy")
    contains(str(e.refused("x.db.lan:443")[1]), "internal address")
    with e.as_process("/usr/bin/wget"):
        contains(e.refused("api.test:443")[1]["reason"], "binary '/usr/bin/wget' not allowed in policy 'api'")


@suite.case
def rules_that_do_not_compile_are_named(w):
    try:
        start(w, "broken", "package openshell.sandbox\nallow if {\n")
    except AssertionError as why:
        contains(str(why), "--policy-rules, line 3")
    else:
        check(False, "started with broken rules")


@suite.case
def rules_without_an_answer_deny(w):
    silent = start(w, "silent", "package openshell.sandbox\nimport rego.v1\nallow_request := true\n")
    equal(silent.refused("api.test:443")[1]["reason"], "network connections not allowed by policy", "reason")


if __name__ == "__main__":
    try:
        find_opa()  # here is still a network to build it from
    except Skip as why:
        print(f"skip rules: {why}")
    else:
        main(suite)
