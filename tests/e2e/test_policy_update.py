#!/usr/bin/env python3
"""`policy update` and `policy check` with a real gateway and a real sandbox: what an update grants and takes away is in force
when --wait returns, and what the check says about a request is what the sandbox does with it."""
import concurrent.futures
import json
import os
import pathlib
import re
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
