#!/usr/bin/env python3
"""`policy update` and `policy check` with a real gateway and a real sandbox: what an update grants and takes away is in force
when --wait returns, and what the check says about a request is what the sandbox does with it."""
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import BIN, Authority, Gateway, Origin, Private, Suite, check, contains, equal, lo_address

suite = Suite()
case = suite.case
private = Private("policy-update")
# One address per test process, so that two runs do not meet.
ADDRESS = f"10.96.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250 + 1}"
SPEC = "api.test:443:read-only:rest:enforce"
CURL = ("--binary", "/usr/bin/curl")


def update(g, *argv):
    return g.cli("policy", "update", "box", *argv)


def must_update(g, *argv):
    r = update(g, *argv)
    equal(r.code, 0, r)
    return r


def status(g, *argv, host="api.test"):
    """Status of a request from the sandbox, "refused" when the connection is."""
    r = g.exec("box", "curl", "-s", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}", *argv,
               f"https://{host}/v1/x")
    return "refused" if r.out == "000" else r.out


def revision(g):
    return json.loads(g.must("policy", "get", "box", "-o", "json").out)["version"]


def policy(g):
    return g.must("sandbox", "get", "box", "--policy-only").out


@case
def nothing_passes_at_first(g):
    g.must("sandbox", "create", "--name", "box", "--detach", "--", "sleep", "infinity")
    equal(status(g), "refused")


@case
def a_dry_run_shows_and_changes_nothing(g):
    before, text = revision(g), policy(g)
    r = must_update(g, "--add-endpoint", SPEC, "--dry-run")
    contains(r.err, "✓ Dry run preview for 1 incremental policy operation(s)\n")
    contains(r.err, "! rule 'allow_api_test_443' names no binary, so it allows nothing; name one with --binary")
    contains(r.out, "Policy:\n")
    contains(r.out, "allow_api_test_443:")
    equal((revision(g), policy(g)), (before, text))
    r = update(g, "--add-endpoint", SPEC, "--dry-run", "--wait")
    equal(r.code, 1, r)
    contains(r.err, "--wait cannot be combined with --dry-run")


@case
def a_rule_without_a_binary_is_mended_as_the_warning_says(g):
    rule = "allow_api_test_443"
    r = must_update(g, "--add-endpoint", SPEC, "--wait")
    contains(r.err, f"! rule '{rule}' names no binary, so it allows nothing, and --binary does not change that afterwards")
    for name in ((), ("--rule-name", "another")):  # by name, and by what it is about
        r = must_update(g, "--add-endpoint", SPEC, *name, *CURL)
        contains(r.err, "already authorizes any binary; kept that scope instead of narrowing it to /usr/bin/curl")
        contains(r.err, f"! rule '{rule}' names no binary, so it allows nothing")
        contains(r.err, "Policy unchanged")
    equal(status(g), "refused")
    command = r.err.split("with --binary: ")[1].splitlines()[0]
    equal(command, f"openshell policy update box --remove-rule {rule}")
    g.must(*command.split()[1:])
    r = must_update(g, "--add-endpoint", SPEC, *CURL, "--wait")
    check("!" not in r.err, r)
    equal(status(g), "200")
    must_update(g, "--remove-rule", rule, "--wait")
    r = must_update(g, "--add-endpoint", SPEC, "--binary", "curl", "--dry-run")
    contains(r.err, "! binary 'curl' does not start with '/', so no program has that path; name it like /usr/bin/curl")


@case
def an_added_endpoint_is_in_force_at_once(g):
    before = revision(g)
    r = must_update(g, "--add-endpoint", SPEC, *CURL, "--wait")
    contains(r.err, f"✓ Policy version {before + 1} submitted (hash: ")
    contains(r.err, f"✓ Policy version {before + 1} loaded (active version: {before + 1})")
    equal(r.out, "")
    equal((status(g), status(g, "-X", "POST")), ("200", "403"))


@case
def the_same_again_is_unchanged(g):
    before = revision(g)
    contains(must_update(g, "--add-endpoint", SPEC, *CURL, "--wait").err, f"· Policy unchanged (version {before}, hash: ")
    equal(revision(g), before)


@case
def allow_and_deny_rules(g):
    r = must_update(g, "--add-allow", "api.test:443:post:/v1/**", "--wait")
    contains(r.err, "! expanded access preset 'read-only' to explicit rules for endpoint api.test:443")
    equal((status(g), status(g, "-X", "POST"), status(g, "-X", "PUT")), ("200", "200", "403"))
    must_update(g, "--add-deny", "api.test:443:POST:/v1/x", "--wait")
    equal((status(g), status(g, "-X", "POST")), ("200", "403"))


@case
def a_removed_endpoint_is_refused_again(g):
    must_update(g, "--remove-endpoint", "api.test:443", "--wait")
    equal(status(g), "refused")
    check("api.test" not in policy(g), policy(g))
    before = revision(g)
    contains(must_update(g, "--remove-endpoint", "api.test:443", "--remove-rule", "nothing").err, "Policy unchanged")
    equal(revision(g), before)


@case
def errors_change_nothing(g):
    before = revision(g)
    for argv, text in (
            ((), "policy update requires at least one operation flag"),
            (CURL, "--binary can only be used with --add-endpoint"),
            (("--add-endpoint", "api.test"), "--add-endpoint expects host:port[:access[:protocol[:enforcement[:options]]]], "
                                             "got 'api.test'"),
            (("--add-endpoint", "localhost:80"), "is always blocked"),
            (("--add-endpoint", "*.com:443"), "TLD wildcard '*.com' is not allowed"),
            (("--add-allow", "api.test:443:GET:/"), "endpoint api.test:443 was not found in the current policy"),
            (("--add-endpoint", SPEC, "--add-deny", "none.test:443:GET:/"), "endpoint none.test:443 was not found")):
        r = update(g, *argv)
        equal(r.code, 1, r)
        contains(r.err, text)
    equal(g.cli("policy", "update", "box", "--add-endpont", "x").code, 2)
    equal(revision(g), before)


@case
def updates_at_the_same_time_all_land(g):
    before = revision(g)

    def one(i):
        return update(g, "--add-endpoint", f"h{i}.test:443", *CURL, "--wait")
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for r in pool.map(one, range(6)):
            equal(r.code, 0, r)
    text = policy(g)
    for i in range(6):
        contains(text, f"host: h{i}.test\n")
    equal(revision(g), before + 6)
    must_update(g, *(x for i in range(6) for x in ("--remove-rule", f"allow_h{i}_test_443")), "--wait")
    equal(revision(g), before + 7)


@case
def a_global_policy_locks_updates(g):
    path = private.dir / "global.yaml"
    path.write_text("version: 1\n")
    g.must("policy", "set", "--global", "--policy", path, "--yes")
    r = update(g, "--add-endpoint", SPEC, *CURL)
    equal(r.code, 1, r)
    contains(r.err, "policy is managed globally; delete the global policy before using `openshell policy update`")
    g.must("policy", "delete", "--global", "--yes")


# --- policy check ---

LINTED = """version: 1
network_policies:
  api:
    endpoints:
      - host: api.test
        port: 443
        protocol: rest
        enforcement: enforce
        rules:
          - allow: {method: GET, path: "/v1/**"}
        deny_rules:
          - {method: "*", path: "/v1/secret"}
      - host: "*.deep.test"
        port: 443
    binaries: [{path: /usr/bin/curl}]
"""


def check_file(g, path, *argv):
    """(exit code, findings, answer) of a check; the JSON and the text say the same."""
    r = g.cli("policy", "check", path, *argv, "-o", "json")
    text = g.cli("policy", "check", path, *argv)
    equal(r.code, text.code)
    j = json.loads(r.out)
    for finding in j["findings"]:
        contains(text.out, finding["text"])
    return r.code, j["findings"], j["answer"]


def written(name, text):
    path = private.dir / name
    path.write_text(text)
    return path


@case
def check_finds_what_would_be_refused(g):
    path = written("bad.yaml", "version: 1\nnetwork_policies: {r: {endpoints: [{host: '*.com', port: 443, protocol: rest}]}}\n")
    code, findings, answer = check_file(g, path, "--request", "GET https://a.com/")
    equal((code, answer), (1, None))
    equal({f["check"] for f in findings if f["severity"] == "error"}, {"invalid"})
    check({"no-binaries", "audit-by-default", "broad-host"} <= {f["check"] for f in findings}, findings)
    r = g.cli("policy", "set", "box", "--policy", path)
    for f in findings:
        if f["severity"] == "error" and not f["text"].startswith("r."):
            contains(r.err.replace("\\", ""), f["text"])
    r = g.cli("policy", "check", written("broken.yaml", "version: 1\nnope: 1\n"))
    equal(r.code, 1, r)
    contains(r.err, "unknown key `nope`")
    equal(g.cli("policy", "check").code, 2)
    equal(g.cli("policy", "check", path, "--binary", "/usr/bin/curl").code, 2)
    equal(g.cli("policy", "check", path, "--request", "GET https://a.com", "--connect", "a.com:1").code, 2)
    clean = written("clean.yaml", LINTED)
    equal(g.cli("policy", "check", clean).code, 0)
    for flag in ("--binary", "--ancestor"):
        r = g.cli("policy", "check", clean, "--request", "GET https://api.test/", flag, "curl")
        equal(r.code, 1, r)
        contains(r.err, f"{flag} expects the whole path of a program, like /usr/bin/curl; got 'curl'")


@case
def check_leaves_to_the_body_what_the_body_decides(g):
    path = written("graphql.yaml", LINTED.replace("version: 1", "version: 2") + """  graph:
    endpoints: [{host: graph.test, port: 443, protocol: graphql, enforcement: enforce, access: read-only}]
    binaries: [{path: /usr/bin/curl}]
  short:
    endpoints: [{host: s.test, port: 443, protocol: rest, enforcement: enforce, rules: [{allow: {method: GET, path: v1/x}}]}]
    binaries: [{path: /usr/bin/curl}]
""")
    code, findings, answer = check_file(g, path, "--request", "POST https://graph.test/graphql", *CURL)
    equal((code, answer["verdict"], answer["rule"], answer["fix"]), (4, "depends", "graph", None))
    contains(g.cli("policy", "check", path, "--request", "POST https://graph.test/graphql", *CURL).out,
             "⚠ depends on the body: POST https://graph.test/graphql by /usr/bin/curl")
    equal([f["check"] for f in findings], ["unknown-version", "relative-path"])


def request(g, method, path):
    r = g.exec("box", "curl", "-s", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}", "-X", method, "--path-as-is",
               f"https://api.test{path}")
    return {"200": "allowed", "403": "denied"}[r.out]


@case
def check_says_what_the_sandbox_does(g):
    path = written("live.yaml", policy(g).split("network_policies:")[0] + LINTED.split("version: 1\n")[1])
    g.must("policy", "set", "box", "--policy", path, "--wait")
    for method, target in (("GET", "/v1/x"), ("GET", "/v1/a/b?c=d"), ("POST", "/v1/x"), ("GET", "/v2"),
                           ("GET", "/v1/secret"), ("GET", "/v1/y/../secret"), ("GET", "/v1//x")):
        code, _, answer = check_file(g, path, "--request", f"{method} https://api.test{target}", *CURL)
        equal((answer["verdict"], code), (request(g, method, target), 0 if answer["verdict"] == "allowed" else 3), target)
    code, _, answer = check_file(g, path, "--connect", "www.deep.test:443", *CURL, "--address", ADDRESS)
    equal((code, answer["layer"]), (3, "address"))
    contains(answer["reason"], f"www.deep.test resolves to internal address {ADDRESS}")
    equal(status(g, host="www.deep.test"), "refused")


@case
def the_named_change_makes_it_pass(g):
    path = private.dir / "live.yaml"
    for question, works in ((("--request", "POST https://api.test/v1/x"), lambda: request(g, "POST", "/v1/x") == "allowed"),
                            (("--connect", "www.deep.test:443", "--address", ADDRESS),
                             lambda: status(g, host="www.deep.test") == "200")):
        check(not works())
        code, _, answer = check_file(g, path, *question, *CURL)
        equal(code, 3)
        command = answer["fix"]["command"].replace("openshell policy update NAME", f"{BIN / 'openshell'} policy update box")
        r = subprocess.run(["sh", "-c", command], env=g.env, capture_output=True, timeout=60, check=False)
        equal(r.returncode, 0, r)
        check(works(), command)
        code, _, again = check_file(g, written("after.yaml", policy(g)), *question, *CURL)
        equal((code, again["verdict"]), (0, "allowed"))
    code, _, answer = check_file(g, path, "--request", "GET https://api.test/v1/secret", *CURL)
    equal((code, answer["rule"], answer["fix"]["command"]), (3, "api", None))
    contains(answer["fix"]["note"], "deny rule")
    check("/v1/secret" not in answer["fix"]["yaml"], answer)


def main():
    authority = Authority(private.dir)
    (private.dir / "hosts").write_text(f"{ADDRESS} api.test\n{ADDRESS} www.deep.test\n")
    lo_address(private, ADDRESS)
    origin = Origin(ADDRESS, 443, *authority.issue("api.test", "www.deep.test"))
    private.stack.callback(origin.close)
    gateway = Gateway(private, {"OPENSHELL_LOCAL_EXTRA_CA": str(authority.pem),
                                "OPENSHELL_LOCAL_EXTRA_HOSTS": str(private.dir / "hosts")})
    gateway.start()
    suite.run(gateway)


main()
