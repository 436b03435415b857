#!/usr/bin/env python3
"""Incremental policy updates by a stock gRPC client: what becomes of the policy, revisions and their numbers, refusals with
code and text, writers at the same time, and what reaches the supervisor."""
import concurrent.futures
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from client import Client, delete_sandboxes, gateway_or_skip, load_messages, refusal  # noqa: E402
from harness import Private, Suite, check, contains, equal, wait_for  # noqa: E402

suite = Suite()
case = suite.case
private = Private("policy-merge")
pb, sandbox_pb = load_messages(private)
gateway = api = None
CURL = [sandbox_pb.NetworkBinary(path="/usr/bin/curl")]


def connect():
    return Client(pb, f"127.0.0.1:{gateway.port}", gateway.ca, gateway.cert, gateway.key)


def create(name, **fields):
    box = api.ask("CreateSandbox", name=name, spec=pb.SandboxSpec(command=["sleep", "infinity"], **fields)).sandbox
    list(api.ask("WatchSandbox", id=box.metadata.id, follow_status=True, stop_on_terminal=True))
    return box


def endpoint(host, **fields):
    return sandbox_pb.NetworkEndpoint(host=host, port=fields.pop("port", 443), **fields)


def add(name, *endpoints, binaries=CURL):
    return pb.PolicyMergeOperation(add_rule=pb.AddNetworkRule(
        rule_name=name, rule=sandbox_pb.NetworkPolicyRule(endpoints=endpoints, binaries=binaries)))


def drop(host, port=443, rule=""):
    return pb.PolicyMergeOperation(remove_endpoint=pb.RemoveNetworkEndpoint(rule_name=rule, host=host, port=port))


def update(name, *operations, client=None, **fields):
    return (client or api).ask("UpdateConfig", name=name, merge_operations=operations, **fields)


def latest(name):
    return api.ask("GetSandboxPolicyStatus", name=name).revision


def hosts(name):
    rules = latest(name).policy.network_policies
    return {key: [e.host for e in rule.endpoints] for key, rule in rules.items()}


def settled(name, version):
    wait_for(f"version {version} to be in force",
             lambda: api.ask("GetSandboxPolicyStatus", name=name).active_version == version)


@case
def operations_make_one_revision_that_is_loaded():
    create("one")
    wait_for("the first revision", lambda: api.ask("ListSandboxPolicies", name="one").revisions)
    before = latest("one")
    r = update("one", add("a", endpoint("a.test")), add("b", endpoint("b.test", protocol="rest", access="read-only")),
               pb.PolicyMergeOperation(add_deny_rules=pb.AddDenyRules(
                   host="b.test", port=443, deny_rules=[sandbox_pb.L7DenyRule(method="GET", path="/x")])),
               annotations={"why": "test"})
    equal((r.version, r.settings_revision, dict(r.annotations)), (before.version + 1, 0, {"why": "test"}))
    now = latest("one")
    equal((now.version, now.policy_hash, dict(now.provenance)), (r.version, r.policy_hash, {"why": "test"}))
    equal(now.policy.filesystem, before.policy.filesystem, "the static part")
    equal(hosts("one"), {"a": ["a.test"], "b": ["b.test"]})
    b = now.policy.network_policies["b"]
    equal((b.endpoints[0].access, b.endpoints[0].deny_rules[0].path, list(b.endpoints[0].ports)), ("read-only", "/x", [443]))
    settled("one", r.version)
    lines = [line.message for line in api.ask("GetSandboxLogs", sandbox_id=api.ask("GetSandbox", name="one").sandbox.metadata.id).logs]
    check(any(f"gateway merged 3 incremental policy operation(s) [version:v{r.version} hash:{r.policy_hash}]" in x
              for x in lines), lines)
    equal(sum("gateway merged incremental policy op: " in x for x in lines), 3, lines)


@case
def the_same_again_is_no_revision():
    before = latest("one")
    r = update("one", add("a", endpoint("A.test")), drop("nowhere.test"), annotations={"why": "test"})
    equal((r.version, r.policy_hash), (before.version, before.policy_hash))
    r = update("one", drop("nowhere.test"), annotations={"why": "other"})
    equal((r.version, r.policy_hash, dict(r.annotations)), (before.version + 1, before.policy_hash, {"why": "other"}),
          "other provenance")
    settled("one", r.version)


@case
def what_is_removed_is_gone():
    r = update("one", drop("a.test"), pb.PolicyMergeOperation(remove_binary=pb.RemoveNetworkBinary(
        rule_name="b", binary_path="/usr/bin/curl")))
    equal(hosts("one"), {})
    settled("one", r.version)


@case
def one_bad_operation_changes_nothing():
    before = latest("one")
    rest = sandbox_pb.L7Rule(allow=sandbox_pb.L7Allow(method="GET", path="/a"))
    for operations, code, part in (
            ([pb.PolicyMergeOperation()], "INVALID_ARGUMENT", "merge_operations[0] is missing an operation"),
            ([add("x")], "INVALID_ARGUMENT", "merge_operations[0].add_rule.rule must contain at least one endpoint"),
            ([add("ok", endpoint("ok.test")), drop("a.test", 0)], "INVALID_ARGUMENT",
             "merge_operations[1].remove_endpoint requires host and non-zero port"),
            ([add("_provider_x", endpoint("a.test"))], "INVALID_ARGUMENT", "uses reserved '_provider_' prefix"),
            ([add("x", endpoint("169.254.169.254"))], "INVALID_ARGUMENT", "is an always-blocked address"),
            ([add("x", endpoint("localhost"))], "INVALID_ARGUMENT", "'localhost' is always blocked"),
            ([add("ok", endpoint("ok.test")), pb.PolicyMergeOperation(add_allow_rules=pb.AddAllowRules(
                host="ok.test", port=443, rules=[rest]))], "FAILED_PRECONDITION", "has no L7 inspection configured"),
            ([pb.PolicyMergeOperation(add_allow_rules=pb.AddAllowRules(host="no.test", port=443, rules=[rest]))],
             "FAILED_PRECONDITION", "endpoint no.test:443 was not found in the current policy"),
            ([add("x", endpoint("*.com"))], "INVALID_ARGUMENT", "policy contains unsafe content: network policy 'x': TLD"),
            ([add("x", endpoint("amb.test", tls="skip")), add("y", endpoint("**.test"), endpoint("*.amb.test"))],
             "INVALID_ARGUMENT", "TLD wildcard '**.test'"),
            ([add("x", endpoint("amb.test", tls="skip")), add("y", endpoint("amb.test", path="/v", protocol="rest",
                                                                            access="full"))],
             "FAILED_PRECONDITION", "network endpoint ambiguity validation failed")):
        got = refusal(lambda: update("one", *operations))
        equal(got[0], code, got)
        contains(got[1], part)
    equal(refusal(lambda: update("nobody", drop("a.test"))), ("NOT_FOUND", "sandbox not found"))
    equal(refusal(lambda: update("one", drop("a.test"), expected_resource_version=99))[0], "ABORTED")
    equal(refusal(lambda: api.ask("UpdateConfig", name="one", merge_operations=[drop("a.test")],
                                  policy=sandbox_pb.SandboxPolicy()))[0], "INVALID_ARGUMENT")
    equal(refusal(lambda: api.ask("UpdateConfig", **{"global": True}, merge_operations=[drop("a.test")])),
          ("INVALID_ARGUMENT", "merge_operations are not supported for global policy updates"))
    now = latest("one")
    equal((now.version, now.policy_hash), (before.version, before.policy_hash))


@case
def writers_at_the_same_time_all_land():
    clients = [connect() for _ in range(8)]
    before = latest("one").version

    def write(i):
        for k in range(5):
            update("one", add(f"w{i}_{k}", endpoint(f"h{k}.w{i}.test")), client=clients[i])
    try:
        with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
            list(pool.map(write, range(len(clients))))
    finally:
        for c in clients:
            c.close()
    equal(sorted(hosts("one")), sorted(f"w{i}_{k}" for i in range(8) for k in range(5)))
    equal(latest("one").version, before + 40)
    settled("one", before + 40)


@case
def a_global_policy_locks_merges_too():
    api.ask("UpdateConfig", **{"global": True}, policy=sandbox_pb.SandboxPolicy(version=1))
    equal(refusal(lambda: update("one", drop("a.test"))),
          ("FAILED_PRECONDITION", "policy is managed globally; delete global policy before sandbox policy update"))
    api.ask("UpdateConfig", **{"global": True}, setting_key="policy", delete_setting=True)


@case
def the_policy_of_creation_is_the_base():
    create("two", policy=sandbox_pb.SandboxPolicy(version=1, network_policies={"r": sandbox_pb.NetworkPolicyRule(
        endpoints=[endpoint("first.test")], binaries=CURL)}))
    update("two", add("s", endpoint("second.test")))
    equal(hosts("two"), {"r": ["first.test"], "s": ["second.test"]})
    api.ask("DeleteSandbox", name="two")
    api.ask("DeleteSandbox", name="one")


def main():
    global gateway, api
    gateway = gateway_or_skip(private, "policy-merge")
    api = connect()
    private.stack.callback(lambda: api.close())
    private.stack.callback(lambda: delete_sandboxes(api))
    suite.run()


main()
