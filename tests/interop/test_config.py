#!/usr/bin/env python3
"""Settings and the global policy as a stock gRPC client sees them: what is kept, who wins, what reaches a supervisor.
Identity and the answers to supervisors that are empty so far."""
import importlib
import pathlib
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from client import Client, delete_sandboxes, gateway_or_skip, load_messages, refusal  # noqa: E402
from harness import Private, Suite, check, contains, equal, wait_for  # noqa: E402

suite = Suite()
case = suite.case
private = Private("config")
pb, sandbox_pb = load_messages(private)
inference_pb = importlib.import_module("inference_pb2")
gateway = api = None
KEYS = ["agent_policy_proposals_enabled", "ocsf_json_enabled", "proposal_approval_mode", "providers_v2_enabled",
        "secret_egress_allow", "secret_egress_mode"]
GLOBAL, SANDBOX = sandbox_pb.POLICY_SOURCE_GLOBAL, sandbox_pb.POLICY_SOURCE_SANDBOX


def connect():
    return Client(pb, f"127.0.0.1:{gateway.port}", gateway.ca, gateway.cert, gateway.key)


def restart():
    """Kills the gateway and starts it again; a new connection, since the old one only knows that it broke."""
    global api
    gateway.kill()
    gateway.start()
    api.close()
    api = connect()


def policy(host):
    return sandbox_pb.SandboxPolicy(version=1, network_policies={"r": sandbox_pb.NetworkPolicyRule(
        name="r", endpoints=[sandbox_pb.NetworkEndpoint(host=host, port=443)],
        binaries=[sandbox_pb.NetworkBinary(path="/usr/bin/curl")])})


def host_of(config):
    return config.policy.network_policies["r"].endpoints[0].host


def create(name, **fields):
    box = api.ask("CreateSandbox", name=name, spec=pb.SandboxSpec(command=["sleep", "infinity"], **fields)).sandbox
    list(api.ask("WatchSandbox", id=box.metadata.id, follow_status=True, stop_on_terminal=True))
    return box


def token_of(box):
    for path in (gateway.state / "local" / box.metadata.id).rglob("*"):
        if path.is_file() and path.stat().st_size < 1 << 20:
            found = re.search(rb"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]{86}", path.read_bytes())
            if found:
                return [("authorization", "Bearer " + found[0].decode())]
    raise AssertionError("no token was found")


def config(box):
    return api.ask("GetSandboxConfig", sandbox_id=box.metadata.id)


def flag(on):
    return sandbox_pb.SettingValue(bool_value=on)


def text(value):
    return sandbox_pb.SettingValue(string_value=value)


def loaded(box, host):
    """The supervisor has compiled the policy with that host."""
    def look():
        lines = api.ask("GetSandboxLogs", sandbox_id=box.metadata.id).logs
        return any(config(box).policy_hash in line.message and "eloaded" in line.message for line in lines)
    equal(host_of(config(box)), host)
    wait_for(f"the supervisor to run under {host}", look)


# --- identity ---

@case
def the_user_is_the_certificate():
    r = api.ask("GetCurrentUser")
    equal((r.subject, r.display_name, r.identity_provider), ("openshell-client", "openshell-client", "mtls"))
    equal(list(r.roles), ["openshell-user"])


@case
def a_sandbox_is_no_user_and_mints_nothing():
    box = create("token")
    meta = token_of(box)
    equal(refusal(lambda: api.call("GetCurrentUser", api.request("GetCurrentUser"), metadata=meta)),
          ("PERMISSION_DENIED", "sandbox principals may not call this method"))
    equal(refusal(lambda: api.call("IssueSandboxToken", api.request("IssueSandboxToken"), metadata=meta)),
          ("PERMISSION_DENIED", "this principal cannot mint a sandbox token; use RefreshSandboxToken"))
    r = api.call("GetSandboxProviderEnvironment",
                 api.request("GetSandboxProviderEnvironment", sandbox_id=box.metadata.id), metadata=meta)
    equal((dict(r.environment), r.provider_env_revision), ({}, config(box).provider_env_revision))
    bundle = api.channel.unary_unary("/openshell.inference.v1.Inference/GetInferenceBundle",
                                     request_serializer=inference_pb.GetInferenceBundleRequest.SerializeToString,
                                     response_deserializer=inference_pb.GetInferenceBundleResponse.FromString)
    r = bundle(inference_pb.GetInferenceBundleRequest(), metadata=meta, timeout=10)
    equal((len(r.routes), len(r.revision)), (0, 16))
    check(r.generated_at_ms > 0)
    other = api.request("GetSandboxProviderEnvironment", sandbox_id="6f1c2a52-0000-4000-8000-000000000001")
    equal(refusal(lambda: api.call("GetSandboxProviderEnvironment", other, metadata=meta))[0], "PERMISSION_DENIED")
    api.ask("DeleteSandbox", name="token")


# --- settings ---

@case
def every_registered_key_is_listed_and_unset():
    r = api.ask("GetGatewayConfig")
    equal(sorted(r.settings), KEYS)
    check(all(v.WhichOneof("value") is None for v in r.settings.values()), r)
    equal(r.settings_revision, 0)


@case
def a_global_setting_is_kept_and_counted():
    first = api.ask("UpdateConfig", **{"global": True}, setting_key="ocsf_json_enabled", setting_value=flag(True))
    again = api.ask("UpdateConfig", **{"global": True}, setting_key="ocsf_json_enabled", setting_value=flag(True))
    equal((first.settings_revision, again.settings_revision, first.version, first.policy_hash), (1, 1, 0, ""))
    r = api.ask("GetGatewayConfig")
    equal((r.settings["ocsf_json_enabled"].bool_value, r.settings_revision), (True, 1))


@case
def a_global_setting_wins_and_locks_the_key():
    box = create("settings")
    before = config(box)
    equal(before.settings["ocsf_json_enabled"].scope, sandbox_pb.SETTING_SCOPE_GLOBAL)
    equal(before.settings["proposal_approval_mode"].HasField("value"), False)
    equal(refusal(lambda: api.ask("UpdateConfig", name="settings", setting_key="ocsf_json_enabled",
                                  setting_value=flag(False))),
          ("FAILED_PRECONDITION",
           "setting 'ocsf_json_enabled' is managed globally; delete the global setting before sandbox update"))
    r = api.ask("UpdateConfig", name="settings", setting_key=" proposal_approval_mode ", setting_value=text("auto"),
                annotations={"why": "test"})
    equal((r.settings_revision, dict(r.annotations)), (1, {"why": "test"}))
    after = config(box)
    equal((after.settings["proposal_approval_mode"].scope, after.settings["proposal_approval_mode"].value.string_value),
          (sandbox_pb.SETTING_SCOPE_SANDBOX, "auto"))
    check(before.config_revision != after.config_revision, "the configuration revision stays")
    equal(before.policy_hash, after.policy_hash)
    restart()
    equal(config(box).config_revision, after.config_revision, "after a restart")
    r = api.ask("UpdateConfig", name="settings", setting_key="proposal_approval_mode", delete_setting=True)
    equal((r.deleted, r.settings_revision), (True, 2))
    r = api.ask("UpdateConfig", name="settings", setting_key="proposal_approval_mode", delete_setting=True)
    equal((r.deleted, r.settings_revision), (False, 2))
    equal(api.ask("UpdateConfig", name="settings", setting_key="no_such", delete_setting=True).deleted, False)


@case
def settings_go_with_their_sandbox():
    api.ask("UpdateConfig", name="settings", setting_key="proposal_approval_mode", setting_value=text("auto"))
    api.ask("DeleteSandbox", name="settings")
    box = create("settings")
    equal(config(box).settings["proposal_approval_mode"].HasField("value"), False)
    api.ask("DeleteSandbox", name="settings")


@case
def bad_settings_are_refused_by_name():
    create("bad")
    allowed = ("Allowed keys: providers_v2_enabled, ocsf_json_enabled, agent_policy_proposals_enabled, "
               "proposal_approval_mode, secret_egress_mode, secret_egress_allow")
    every, one = {"global": True}, {"name": "bad"}
    for where, fields, answer in (
            (every, dict(setting_key="nope", setting_value=flag(True)), f"unknown setting key 'nope'. {allowed}"),
            (every, dict(setting_key="nope"), f"unknown setting key 'nope'. {allowed}"),
            (every, dict(setting_key="policy", setting_value=flag(True)),
             "reserved key 'policy' must be set via the policy field"),
            (every, dict(setting_key="ocsf_json_enabled"), "setting_value is required"),
            (every, dict(setting_key="ocsf_json_enabled", setting_value=sandbox_pb.SettingValue()),
             "setting_value.value is required"),
            (every, dict(setting_key="ocsf_json_enabled", setting_value=text("true")),
             "setting 'ocsf_json_enabled' expects bool value"),
            (every, dict(setting_key="proposal_approval_mode", setting_value=flag(True)),
             "setting 'proposal_approval_mode' expects string value"),
            (every, dict(setting_key="proposal_approval_mode", setting_value=text("sometimes")),
             "setting 'proposal_approval_mode' expects one of [manual, auto]; got 'sometimes'"),
            (every, dict(setting_key="providers_v2_enabled", setting_value=sandbox_pb.SettingValue(bytes_value=b"1")),
             "setting 'providers_v2_enabled' expects bool value; bytes are not supported for this key"),
            (every, dict(setting_key="providers_v2_enabled", setting_value=flag(True), annotations={"a": "b"}),
             "annotations are only supported for sandbox-scoped updates"),
            (every, dict(merge_operations=[pb.PolicyMergeOperation()]),
             "merge_operations are not supported for global policy updates"),
            (every, dict(policy=policy("a.test"), delete_setting=True),
             "delete_setting cannot be combined with policy payload"),
            (one, dict(setting_key="nope"), "setting_value is required"),
            (one, dict(setting_key="nope", setting_value=flag(True)), f"unknown setting key 'nope'. {allowed}"),
            (one, dict(setting_key="policy", setting_value=flag(True)),
             "reserved key 'policy' must be set via policy commands"),
            (one, dict(setting_key="policy", policy=policy("a.test")),
             "policy, setting_key, and merge_operations are mutually exclusive"),
            ({}, dict(setting_key="providers_v2_enabled", setting_value=flag(True)),
             "name is required for sandbox-scoped updates")):
        equal(refusal(lambda: api.ask("UpdateConfig", **where, **fields)), ("INVALID_ARGUMENT", answer), str(fields))
    equal(refusal(lambda: api.ask("UpdateConfig", name="bad", merge_operations=[pb.PolicyMergeOperation()])),
          ("INVALID_ARGUMENT", "merge_operations[0] is missing an operation"))
    equal(refusal(lambda: api.ask("UpdateConfig", name="nobody", setting_key="providers_v2_enabled",
                                  setting_value=flag(True))), ("NOT_FOUND", "sandbox not found"))
    api.ask("DeleteSandbox", name="bad")


# --- global policy ---

@case
def a_global_policy_takes_over_everywhere_and_is_given_back():
    one, two = create("one", policy=policy("one.test")), create("two", policy=policy("two.test"))
    equal((config(one).policy_source, config(one).version, config(one).global_policy_version), (SANDBOX, 1, 0))
    equal(refusal(lambda: api.ask("GetSandboxPolicyStatus", **{"global": True})),
          ("NOT_FOUND", "no global policy revision found"))
    r = api.ask("UpdateConfig", **{"global": True}, policy=policy("all.test"))
    equal(r.version, 1)
    for box in (one, two):
        c = config(box)
        equal((c.policy_source, c.global_policy_version, c.policy_hash, c.version), (GLOBAL, 1, r.policy_hash, 1))
        loaded(box, "all.test")
    equal(refusal(lambda: api.ask("UpdateConfig", name="one", policy=policy("mine.test"))),
          ("FAILED_PRECONDITION", "policy is managed globally; delete global policy before sandbox policy update"))
    same = api.ask("UpdateConfig", **{"global": True}, policy=policy("all.test"))
    equal((same.version, same.settings_revision), (1, r.settings_revision))
    api.ask("UpdateConfig", **{"global": True}, policy=policy("other.test"))
    loaded(one, "other.test")
    revisions = api.ask("ListSandboxPolicies", **{"global": True}).revisions
    equal([(v.version, v.status) for v in revisions],
          [(2, pb.POLICY_STATUS_LOADED), (1, pb.POLICY_STATUS_SUPERSEDED)])
    status = api.ask("GetSandboxPolicyStatus", **{"global": True})
    equal((status.revision.version, status.active_version, host_of(status.revision)), (2, 0, "other.test"))
    restart()
    equal(host_of(config(two)), "other.test", "after a restart")
    gone = api.ask("UpdateConfig", **{"global": True}, setting_key="policy", delete_setting=True)
    equal(gone.deleted, True)
    equal(api.ask("UpdateConfig", **{"global": True}, setting_key="policy", delete_setting=True).deleted, False)
    loaded(one, "one.test")
    loaded(two, "two.test")
    equal(config(one).policy_source, SANDBOX)
    equal(api.ask("ListSandboxPolicies", **{"global": True}).revisions[0].status, pb.POLICY_STATUS_SUPERSEDED)
    back = api.ask("UpdateConfig", **{"global": True}, policy=policy("other.test"))
    equal(back.version, 3, "a superseded revision is not revived")
    api.ask("UpdateConfig", **{"global": True}, setting_key="policy", delete_setting=True)
    for name in ("one", "two"):
        api.ask("DeleteSandbox", name=name)


@case
def the_policy_never_shows_among_the_settings():
    api.ask("UpdateConfig", **{"global": True}, policy=policy("all.test"))
    equal(sorted(api.ask("GetGatewayConfig").settings), KEYS)
    api.ask("UpdateConfig", **{"global": True}, setting_key="policy", delete_setting=True)


@case
def a_sandbox_born_under_a_global_policy_gets_its_own_afterwards():
    api.ask("UpdateConfig", **{"global": True}, policy=policy("all.test"))
    box = create("late")
    equal((config(box).policy_source, host_of(config(box))), (GLOBAL, "all.test"))
    api.ask("UpdateConfig", **{"global": True}, setting_key="policy", delete_setting=True)
    wait_for("a policy of its own", lambda: config(box).version == 1 and config(box).policy_source == SANDBOX
             and "r" not in config(box).policy.network_policies and config(box).HasField("policy"))
    api.ask("DeleteSandbox", name="late")


@case
def a_bad_global_policy_is_refused_and_the_old_one_stays():
    api.ask("UpdateConfig", **{"global": True}, policy=policy("good.test"))
    for bad, part in ((sandbox_pb.SandboxPolicy(version=1, network_policies={"_provider_x": policy(
            "a.test").network_policies["r"]}), "reserved '_provider_' prefix"),
                      (sandbox_pb.SandboxPolicy(version=1, filesystem=sandbox_pb.FilesystemPolicy(
                          read_write=["relative"])), "unsafe content")):
        code, answer = refusal(lambda: api.ask("UpdateConfig", **{"global": True}, policy=bad))
        equal(code, "INVALID_ARGUMENT", answer)
        contains(answer, part)
    bound = policy("bound.test")
    bound.network_policies["r"].endpoints[0].credential_binding.SetInParent()
    equal(refusal(lambda: api.ask("UpdateConfig", **{"global": True}, policy=bound))[0] in
          ("FAILED_PRECONDITION", "INVALID_ARGUMENT"), True)
    equal(host_of(api.ask("GetSandboxPolicyStatus", **{"global": True}).revision), "good.test")
    api.ask("UpdateConfig", **{"global": True}, setting_key="policy", delete_setting=True)


# --- life cycle ---

@case
def stop_and_start_as_published():
    create("life")
    for method in ("StopSandbox", "StartSandbox"):
        equal(refusal(lambda: api.ask(method)), ("INVALID_ARGUMENT", "name is required"))
        equal(refusal(lambda: api.ask(method, name="nobody")), ("NOT_FOUND", "sandbox not found"))
    s = api.ask("StopSandbox", name="life").sandbox
    ready = [c for c in s.status.conditions if c.type == "Ready"][0]
    equal((s.status.phase, ready.status, ready.reason, ready.message),
          (pb.SANDBOX_PHASE_STOPPED, "False", "Stopped", "Sandbox compute is stopped"))
    equal(refusal(lambda: api.ask("ExecSandbox", sandbox_id=s.metadata.id, command=["true"])),
          ("FAILED_PRECONDITION", "sandbox is not ready"))
    s = api.ask("StartSandbox", name="life").sandbox
    check(s.status.phase in (pb.SANDBOX_PHASE_STARTING, pb.SANDBOX_PHASE_READY), s.status)
    list(api.ask("WatchSandbox", id=s.metadata.id, follow_status=True, stop_on_terminal=True))
    equal(api.ask("StartSandbox", name="life").sandbox.status.phase, pb.SANDBOX_PHASE_READY)
    api.ask("DeleteSandbox", name="life")


def main():
    global gateway, api
    gateway = gateway_or_skip(private, "config")
    api = connect()
    private.stack.callback(lambda: api.close())
    private.stack.callback(lambda: delete_sandboxes(api))
    suite.run()


main()
