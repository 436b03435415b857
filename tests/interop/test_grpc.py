#!/usr/bin/env python3
"""The published API as a stock gRPC client sees it: identity, errors by name, and the life of a sandbox."""
import json
import pathlib
import re
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from client import (PATIENCE, Client, code_of, gateway_or_skip, grpc, load_messages, read_exec,  # noqa: E402
                    refusal)
from harness import (BIN, ROOT, Authority, Private, Skip, Suite, check, contains, equal, in_parallel,  # noqa: E402
                     run, wait_for)

suite = Suite()
case = suite.case
private = Private("interop")
pb, sandbox_pb = load_messages(private)
gateway = api = None
box = None  # the sandbox most cases share, once Ready
NAME = "interop"


def connect(cert=None, key=None, ca=None):
    return Client(pb, f"127.0.0.1:{gateway.port}", ca or gateway.ca, cert, key)


def delete_all():
    """A failed case must not leave a sandbox."""
    if gateway.process and gateway.process.poll() is None:
        for s in api.ask("ListSandboxes").sandboxes:
            api.ask("DeleteSandbox", name=s.metadata.name)


def ready_box():
    if box is None:
        raise Skip("no sandbox became Ready")
    return box


def gone(name):
    try:
        api.ask("GetSandbox", name=name)
    except grpc.RpcError as e:
        return code_of(e) == "NOT_FOUND"
    return False


# --- who may call ---

@case
def health_answers():
    r = api.ask("Health")
    equal(r.status, pb.SERVICE_STATUS_HEALTHY, "status")
    version = run(BIN / "openshell-gateway", "--version").out.strip()
    equal("openshell-gateway " + r.version, version, "version")


@case
def gateway_info_names_the_driver():
    r = api.ask("GetGatewayInfo")
    equal(r.status, pb.SERVICE_STATUS_HEALTHY, "status")
    equal([d.name for d in r.compute_drivers], ["local"], "drivers")
    equal(r.gateway_version, api.ask("Health").version, "version")


@case
def no_client_certificate_no_answer():
    stranger = connect()
    for method in ("Health", "ListSandboxes"):
        code, _ = refusal(lambda: stranger.ask(method))
        check(code in ("UNAVAILABLE", "UNAUTHENTICATED"), "%s ended with %s" % (method, code))
    stranger.close()


@case
def a_foreign_client_certificate_is_refused():
    (private.dir / "foreign").mkdir()
    cert, key = Authority(private.dir / "foreign").issue("openshell-client")
    stranger = connect(cert, key)
    code, _ = refusal(lambda: stranger.ask("ListSandboxes"))
    check(code in ("UNAVAILABLE", "UNAUTHENTICATED"), "ended with %s" % code)
    stranger.close()


@case
def the_gateway_certificate_is_verified():
    (private.dir / "another").mkdir()
    cert = Authority(private.dir / "another").pem
    wary = connect(gateway.cert, gateway.key, ca=cert)
    equal(refusal(lambda: wary.ask("Health"))[0], "UNAVAILABLE", "code")
    wary.close()


@case
def a_bad_token_is_unauthenticated():
    """A token that claims to be ours must verify, even over a connection with a good certificate."""
    for token in ("not-a-token", "a.b.c"):
        code, text = refusal(lambda: api.call("ListSandboxes", pb.ListSandboxesRequest(),
                                              metadata=(("authorization", "Bearer " + token),)))
        equal(code, "UNAUTHENTICATED", "code for '%s'" % token)
        contains(text, "invalid token")


@case
def supervisor_methods_are_not_for_users():
    for method in ("ReportPolicyStatus", "ReportMainProcessExit", "RefreshSandboxToken"):
        equal(refusal(lambda: api.ask(method)),
              ("PERMISSION_DENIED", "this method requires a sandbox principal"), method)


# --- errors ---

@case
def unbuilt_methods_are_unimplemented_by_name():
    table = (ROOT / "src/gateway/rpc/tbl/handlers.h").read_text()
    built = set(re.findall(r"(?:UNARY|STREAM)\(OpenShell_(\w+)", table))
    check("CreateSandbox" in built, "the table of built methods was not read")
    unbuilt = [m for m in api.service.methods if m.name not in built and not m.client_streaming]
    if not unbuilt:
        raise Skip("every method is built")
    for m in unbuilt:
        try:
            code, text = refusal(lambda: api.ask(m.name))
        except AssertionError as e:
            raise AssertionError("%s: %s" % (m.name, e)) from None
        if code == "PERMISSION_DENIED" and "sandbox principal" in text:
            continue  # a supervisor's method: the caller is refused first
        equal(code, "UNIMPLEMENTED", "code of %s" % m.name)
        contains(text, m.name)


@case
def unknown_methods_are_unimplemented():
    for path in ("/openshell.v1.OpenShell/NoSuchMethod", "/no.such.Service/Health"):
        stub = api.channel.unary_unary(path)
        equal(refusal(lambda: stub(b"", timeout=PATIENCE))[0], "UNIMPLEMENTED", path)


@case
def bad_input_is_an_invalid_argument():
    spec = pb.SandboxSpec
    cases = [
        ("CreateSandbox", {}, "spec is required"),
        ("CreateSandbox", dict(spec=spec(), name="a" * 20), "name exceeds maximum length (20 > 19)"),
        ("CreateSandbox", dict(spec=spec(), name="Upper"),
         "name must contain only lowercase alphanumeric characters or hyphens"),
        ("CreateSandbox", dict(spec=spec(), name="-a"), "name must not start or end with a hyphen"),
        ("CreateSandbox", dict(spec=spec(), name="a--b"), "name must not contain consecutive hyphens"),
        ("CreateSandbox", dict(spec=spec(environment={"1A": "x"})),
         "spec.environment keys must match ^[A-Za-z_][A-Za-z0-9_]*$; got '1A'"),
        ("CreateSandbox", dict(spec=spec(environment={"OPENSHELL_X": "x"})),
         "spec.environment keys starting with OPENSHELL_ are reserved; got 'OPENSHELL_X'"),
        ("CreateSandbox", dict(spec=spec(environment={"A": "x\ny"})),
         "spec.environment value for 'A' contains newline or carriage return characters"),
        ("CreateSandbox", dict(spec=spec(command=["", "x"])), "spec.command[0] must not be empty"),
        ("CreateSandbox", dict(spec=spec(command=["x"] * 257)), "spec.command exceeds 256 argument limit"),
        ("CreateSandbox", dict(spec=spec(), labels={"bad key": "x"}),
         "label key name segment contains invalid characters (must be alphanumeric, '-', '_', or '.'): 'bad key'"),
        ("GetSandbox", {}, "name is required"),
        ("DeleteSandbox", {}, "name is required"),
        ("ListSandboxes", dict(label_selector="nonsense"),
         "invalid label selector: expected 'key=value', got 'nonsense'"),
        ("ListSandboxes", dict(all_workspaces=True, workspace="default"),
         "all_workspaces and workspace are mutually exclusive"),
        ("WatchSandbox", {}, "id is required"),
        ("ExecSandbox", dict(command=["true"]), "sandbox_id is required"),
        ("ExecSandbox", dict(sandbox_id="x"), "command is required"),
        ("ExecSandbox", dict(sandbox_id="x", command=["x"] * 1025), "command array exceeds 1024 argument limit"),
        ("ExecSandbox", dict(sandbox_id="x", command=["x"], environment={"A B": ""}),
         "environment keys must match ^[A-Za-z_][A-Za-z0-9_]*$"),
        ("GetSandboxLogs", {}, "sandbox_id is required"),
        ("UpdateConfig", dict(name="x"),
         "one of policy, setting_key, or merge_operations must be provided"),
    ]
    wrong = []
    for method, fields, text in cases:
        try:
            got = refusal(lambda: api.ask(method, **fields))
        except AssertionError as e:
            got = str(e)
        if got[0] != "INVALID_ARGUMENT" or not got[1].startswith(text):
            wrong.append("%s wanted %r, got %r" % (method, text, got))
    check(not wrong, "; ".join(wrong))


@case
def null_bytes_in_texts_are_refused():
    """They must not cut a text short on its way; which of the two codes is left to the message decoder."""
    for method, fields in (("ExecSandbox", dict(sandbox_id="x", command=["a\0b"])),
                           ("GetSandbox", dict(name="a\0b")),
                           ("CreateSandbox", dict(spec=pb.SandboxSpec(environment={"A": "x\0y"})))):
        code, _ = refusal(lambda: api.ask(method, **fields))
        check(code in ("INVALID_ARGUMENT", "INTERNAL"), "%s ended with %s" % (method, code))


@case
def what_is_not_there_is_not_found():
    unknown = "00000000-0000-4000-8000-000000000000"
    for method, fields, text in (("GetSandbox", dict(name="nope"), "sandbox not found"),
                                 ("DeleteSandbox", dict(name="nope"), "sandbox not found"),
                                 ("WatchSandbox", dict(id=unknown), "sandbox not found"),
                                 ("ExecSandbox", dict(sandbox_id=unknown, command=["true"]), "sandbox not found"),
                                 ("GetSandboxLogs", dict(sandbox_id=unknown), "sandbox not found"),
                                 ("ListSandboxes", dict(workspace="nope"), "workspace 'nope' not found")):
        equal(refusal(lambda: api.ask(method, **fields)), ("NOT_FOUND", text), method)


@case
def an_oversized_message_is_out_of_range():
    big = pb.CreateSandboxRequest(spec=pb.SandboxSpec(log_level="x" * 1048577))
    code, text = refusal(lambda: api.call("CreateSandbox", big))
    equal(code, "OUT_OF_RANGE", "code")
    contains(text, "decoded message length too large: found %d bytes, the limit is: 1048576 bytes" % big.ByteSize())
    api.ask("Health")


@case
def garbage_is_refused_and_the_connection_lives():
    stub = api.channel.unary_unary("/openshell.v1.OpenShell/GetSandbox")
    code, _ = refusal(lambda: stub(b"\xff\xff\xff\xff", timeout=PATIENCE))
    check(code in ("INTERNAL", "INVALID_ARGUMENT"), "ended with %s" % code)
    api.ask("Health")


# --- the life of a sandbox ---

@case
def create_answers_at_once():
    r = api.ask("CreateSandbox", name=NAME, labels={"suite": "interop"}, annotations={"note": "kept"},
                spec=pb.SandboxSpec(command=["sleep", "infinity"], environment={"FROM_SPEC": "yes"})).sandbox
    equal(r.metadata.name, NAME, "name")
    check(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", r.metadata.id),
          "id is not a UUID: %s" % r.metadata.id)
    equal(r.metadata.workspace, "default", "workspace")
    equal(r.metadata.resource_version, 1, "resource version")
    equal(r.status.phase, pb.SANDBOX_PHASE_PROVISIONING, "phase")
    equal(dict(r.metadata.labels), {"suite": "interop"}, "labels")
    equal(list(r.spec.command), ["sleep", "infinity"], "command")
    check(not r.status.HasField("exit_code"), "an exit code is already there")


@case
def names_are_unique():
    code, text = refusal(lambda: api.ask("CreateSandbox", name=NAME, spec=pb.SandboxSpec()))
    equal((code, text), ("ALREADY_EXISTS", "sandbox '%s' already exists" % NAME))


@case
def watch_ends_when_ready():
    global box
    s = api.ask("GetSandbox", name=NAME).sandbox
    phases = []
    try:
        for event in api.ask("WatchSandbox", id=s.metadata.id, follow_status=True, stop_on_terminal=True):
            equal(event.WhichOneof("payload"), "sandbox", "event")
            phases.append(event.sandbox.status.phase)
            if phases[-1] == pb.SANDBOX_PHASE_ERROR:
                raise AssertionError("phase ERROR: %s" % event.sandbox.status.conditions)
    except grpc.RpcError as e:
        raise AssertionError("phases %s, then %s %s; gateway log: %s" % (phases, code_of(e), e.details(), gateway.log_text()[-1500:])) \
            from None
    equal(phases[-1], pb.SANDBOX_PHASE_READY, "last phase")
    box = api.ask("GetSandbox", name=NAME).sandbox
    equal(box.status.phase, pb.SANDBOX_PHASE_READY, "stored phase")
    ready = [c for c in box.status.conditions if c.type == "Ready"]
    equal([c.status for c in ready], ["True"], "Ready conditions")


@case
def platform_events_tell_the_progress_of_a_create():
    watched = api.ask("WatchSandbox", id=ready_box().metadata.id, follow_events=True, event_tail=50)
    next(watched)
    steps, seen = set(), 0
    for event in watched:
        seen += 1
        steps |= {key for key in event.event.metadata if key.startswith("openshell.progress.")}
        if seen == 4:
            break
    watched.cancel()
    check("openshell.progress.complete_step" in steps or "openshell.progress.active_step" in steps, "metadata: %s" % steps)


@case
def a_watch_of_a_ready_sandbox_ends_at_once():
    events = list(api.ask("WatchSandbox", id=ready_box().metadata.id, stop_on_terminal=True))
    equal([e.sandbox.status.phase for e in events], [pb.SANDBOX_PHASE_READY], "phases")


@case
def the_list_filters_and_pages():
    ready_box()

    def names(**fields):
        return [s.metadata.name for s in api.ask("ListSandboxes", **fields).sandboxes]

    equal(names(), [NAME], "all")
    equal(names(workspace="default"), [NAME], "in the workspace")
    equal(names(all_workspaces=True), [NAME], "in all workspaces")
    equal(names(label_selector="suite=interop"), [NAME], "selected")
    equal(names(label_selector="suite=other"), [], "selected by another value")
    equal(names(offset=1), [], "second page")


@case
def deadlines_and_cancelling_leave_the_gateway_well():
    request = api.request("WatchSandbox", id=ready_box().metadata.id)
    code, _ = refusal(lambda: api.call("WatchSandbox", request, timeout=0.2))
    equal(code, "DEADLINE_EXCEEDED", "code")
    stream = api.call("WatchSandbox", request)
    next(stream)
    stream.cancel()
    equal(refusal(lambda: stream)[0], "CANCELLED", "code")
    code, _ = refusal(lambda: api.call("ExecSandbox", api.request("ExecSandbox", sandbox_id=box.metadata.id,
                                                                  command=["sleep", "1000"]), timeout=0.5))
    equal(code, "DEADLINE_EXCEEDED", "code")
    equal(api.ask("Health").status, pb.SERVICE_STATUS_HEALTHY, "status")


# --- exec ---

def run_in_box(*command, **fields):
    return read_exec(api.ask("ExecSandbox", sandbox_id=ready_box().metadata.id, command=command, **fields))


@case
def exec_keeps_the_streams_apart_and_the_exit_code():
    equal(run_in_box("sh", "-c", "echo out; echo err >&2; exit 7"), (b"out\n", b"err\n", 7), "result")
    equal(run_in_box("true"), (b"", b"", 0), "result of true")


@case
def exec_does_not_reinterpret_arguments():
    words = ["a b", "$HOME", "'", '"', "", "*", "\n", "\\", "gr\u00fc\u00df", "--", ";", "`id`"]
    out, _, code = run_in_box("printf", "[%s]", *words)
    equal((out.decode(), code), ("".join("[%s]" % w for w in words), 0), "arguments")


@case
def exec_takes_stdin_environment_and_directory():
    data = bytes(range(256)) * 256
    equal(run_in_box("cat", stdin=data), (data, b"", 0), "echoed stdin")
    out, _, code = run_in_box("sh", "-c", "printf '%s,%s,' \"$FROM_CALL\" \"$FROM_SPEC\"; pwd", workdir="/tmp",
                              environment={"FROM_CALL": "it's $HERE"})
    equal((out, code), (b"it's $HERE,yes,/tmp\n", 0), "output")


@case
def exec_carries_much_output():
    out, _, code = run_in_box("sh", "-c", "yes '' | head -c 8388608 | tr '\\n' '\\0'")
    equal((len(out), out.count(0), code), (8388608, 8388608, 0), "bytes, zeroes and exit code")


@case
def exec_ends_at_its_timeout():
    out, _, code = run_in_box("sh", "-c", "echo before; sleep 1000", timeout_seconds=1)
    equal((out, code), (b"before\n", 124), "output and exit code")


@case
def exec_tells_signals_and_missing_programs():
    _, _, code = run_in_box("sh", "-c", "kill -9 $$")
    equal(code, 137, "exit code after SIGKILL")
    try:
        _, err, code = run_in_box("no-such-program-here")
    except grpc.RpcError as e:
        raise AssertionError("a missing program ended the call: %s %s" % (code_of(e), e.details())) from None
    equal(code, 127, "exit code of a missing program")


@case
def exec_with_a_terminal_has_one():
    out, _, code = run_in_box("sh", "-c", "test -t 0 && test -t 1 && test -t 2 && echo terminal", tty=True)
    equal((out.replace(b"\r", b""), code), (b"terminal\n", 0), "output")
    _, _, code = run_in_box("test", "-t", "1")
    equal(code, 1, "exit code without a terminal")


@case
def many_execs_at_once():
    results = in_parallel(lambda i: run_in_box("sh", "-c", "read x; echo ${x}%d; exit %d" % (i, i), stdin=b"in\n"),
                          range(16))
    equal(results, [(b"in%d\n" % i, b"", i) for i in range(16)], "results")


class Input:
    """Messages of an interactive exec, sent as the test goes on."""

    def __init__(self, *first):
        self.messages, self.ended, self.changed = list(first), False, threading.Condition()

    def send(self, **payload):
        with self.changed:
            self.messages.append(pb.ExecSandboxInput(**payload))
            self.changed.notify()

    def end(self):
        with self.changed:
            self.ended = True
            self.changed.notify()

    def __iter__(self):
        return self

    def __next__(self):
        with self.changed:
            while not self.messages and not self.ended:
                self.changed.wait()
            if not self.messages:
                raise StopIteration
            return self.messages.pop(0)


def start_interactive(*command, **fields):
    start = pb.ExecSandboxRequest(sandbox_id=ready_box().metadata.id, command=command, **fields)
    source = Input(pb.ExecSandboxInput(start=start))
    return source, api.call("ExecSandboxInteractive", source)


def read_until(stream, text):
    """stdout so far, once it holds text."""
    out = b""
    for event in stream:
        out += event.stdout.data
        if text in out:
            return out
    raise AssertionError("the stream ended after %r, without %r" % (out, text))


@case
def interactive_exec_is_a_conversation():
    source, stream = start_interactive("sh", "-c", "while read x; do echo got $x; done; exit 3")
    source.send(stdin=b"one\n")
    read_until(stream, b"got one\n")
    source.send(stdin=b"two\n")
    read_until(stream, b"got two\n")
    source.end()
    equal(read_exec(stream), (b"", b"", 3), "the rest after the end of input")


@case
def interactive_exec_survives_an_early_half_close():
    source, stream = start_interactive("sh", "-c", "cat; sleep 0.3; echo after; exit 5")
    source.send(stdin=b"input\n")
    source.end()
    equal(read_exec(stream), (b"input\nafter\n", b"", 5), "result")


@case
def interactive_terminals_have_a_size_and_change_it():
    source, stream = start_interactive("sh", "-c", "stty size; read x; stty size", tty=True, cols=101, rows=31)
    read_until(stream, b"31 101\r\n")
    source.send(resize=pb.ExecSandboxWindowResize(cols=80, rows=25))
    source.send(stdin=b"\n")
    out = read_until(stream, b"25 80\r\n")
    source.end()
    check(b"31 101" not in out, "the size did not change: %r" % out)
    equal(read_exec(stream)[2], 0, "exit code")


@case
def interactive_terminals_pass_control_c():
    source, stream = start_interactive("sh", "-c", "trap 'echo interrupted; exit 9' INT; echo go; while :; do sleep 0.05; done",
                                       tty=True)
    read_until(stream, b"go\r\n")
    source.send(stdin=b"\x03")
    out, _, code = read_exec(stream)
    source.end()
    check(b"interrupted" in out, "no sign of the trap: %r" % out)
    equal(code, 9, "exit code")


@case
def a_cancelled_interactive_exec_ends_its_process():
    mark = "3141592"
    source, stream = start_interactive("sh", "-c", "echo up; exec sleep " + mark)
    read_until(stream, b"up\n")
    stream.cancel()
    source.end()

    def ended():
        out, _, _ = run_in_box("sh", "-c", "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f; echo; done 2>/dev/null")
        return b"sleep " + mark.encode() not in out.replace(b"exec sleep", b"")

    wait_for("the process of the cancelled exec to end", ended, PATIENCE, 0.2)


@case
def interactive_exec_wants_its_start_first():
    code, _ = refusal(lambda: api.call("ExecSandboxInteractive", [pb.ExecSandboxInput(stdin=b"x")]))
    equal(code, "INVALID_ARGUMENT", "code of input before the start")
    code, text = refusal(lambda: api.call("ExecSandboxInteractive", []))
    equal((code, text), ("INVALID_ARGUMENT", "empty stream: expected start message"), "an empty stream")
    code, text = refusal(lambda: api.call("ExecSandboxInteractive",
                                          [pb.ExecSandboxInput(start=pb.ExecSandboxRequest(command=["true"]))]))
    equal((code, text), ("INVALID_ARGUMENT", "sandbox_id is required"), "a start without sandbox")


# --- policy and logs ---

@case
def a_policy_is_replaced_and_loaded():
    ready_box()
    rule = sandbox_pb.NetworkPolicyRule(name="api", endpoints=[sandbox_pb.NetworkEndpoint(host="api.example.com", port=443)],
                                        binaries=[sandbox_pb.NetworkBinary(path="/usr/bin/curl")])
    status = api.ask("GetSandboxPolicyStatus", name=NAME).revision
    policy = sandbox_pb.SandboxPolicy()
    policy.CopyFrom(status.policy)
    policy.network_policies["api"].CopyFrom(rule)
    r = api.ask("UpdateConfig", name=NAME, policy=policy, annotations={"why": "interop"})
    equal(r.version, status.version + 1, "version")
    equal(r.annotations["why"], "interop", "annotation")


    def active():
        now = api.ask("GetSandboxPolicyStatus", name=NAME)
        return now if now.active_version == r.version else None

    loaded = wait_for("the supervisor to load the policy", active, PATIENCE)
    equal(loaded.revision.policy_hash, r.policy_hash, "hash")
    equal(loaded.revision.policy.network_policies["api"].endpoints[0].host, "api.example.com", "host")
    again = api.ask("UpdateConfig", name=NAME, policy=policy, annotations={"why": "interop"})
    equal(again.version, r.version, "version of an unchanged policy")
    revisions = api.ask("ListSandboxPolicies", name=NAME).revisions
    equal([v.version for v in revisions], list(range(r.version, 0, -1)), "revisions, newest first")


@case
def a_setting_turns_the_json_log_on_and_off():
    """Every line is an object of the published schema; text and JSON tell the same events."""
    ready_box()
    script = "curl -s -m 5 -o /dev/null http://192.0.2.1/; cat /var/log/openshell-ocsf.*.log"

    def lines():
        return run_in_box("sh", "-c", script)[0].decode().splitlines()

    equal(lines(), [], "the log before")
    value = sandbox_pb.SettingValue(bool_value=True)
    try:
        api.ask("UpdateConfig", name=NAME, setting_key="ocsf_json_enabled", setting_value=value)
    except grpc.RpcError as e:
        if code_of(e) == "UNIMPLEMENTED":
            raise Skip(e.details()) from None
        raise
    objects = [json.loads(line) for line in wait_for("the log", lines)]
    for o in objects:
        equal(o["type_uid"], o["class_uid"] * 100 + o["activity_id"], "type")
        equal(o["metadata"]["version"], "1.8.0", "schema")
        equal((o["container"]["name"], o["metadata"]["uid"]), (NAME, box.metadata.id), "sandbox")
        check(None not in o.values(), o)
    refused = wait_for("the denial", lambda: [o for o in map(json.loads, lines()) if o["type_name"] == "HTTP Activity: Get"])
    equal((refused[0]["action"], refused[0]["disposition"], refused[0]["dst_endpoint"]),
          ("Denied", "Blocked", {"ip": "192.0.2.1", "port": 80}), "denial")
    value.bool_value = False
    api.ask("UpdateConfig", name=NAME, setting_key="ocsf_json_enabled", setting_value=value)
    wait_for("the log to rest", lambda: len(lines()) == len(lines()))


@case
def annotations_of_a_policy_are_bounded():
    ready_box()
    policy = api.ask("GetSandboxPolicyStatus", name=NAME).revision.policy
    for annotations, part in (({"why": "x" * 8193}, "value exceeds maximum length (8193 > 8192)"),
                              ({"-": "x"}, "label key name segment must start"),
                              ({"k%d" % i: "v" for i in range(129)}, "exceeds maximum entries (129 > 128)"),
                              ({"k%d" % i: "v" for i in range(128)}, "annotations exceeds maximum entries (1")):
        code, text = refusal(lambda: api.ask("UpdateConfig", name=NAME, policy=policy, annotations=annotations))
        equal(code, "INVALID_ARGUMENT", "code (%s)" % text)
        contains(text, part)


@case
def a_stale_resource_version_is_aborted():
    ready_box()
    policy = sandbox_pb.SandboxPolicy()
    policy.CopyFrom(api.ask("GetSandboxPolicyStatus", name=NAME).revision.policy)
    policy.network_policies["api"].name = "renamed"
    code, text = refusal(lambda: api.ask("UpdateConfig", name=NAME, policy=policy, expected_resource_version=1))
    equal(code, "ABORTED", "code (%s)" % text)


@case
def logs_are_kept_per_sandbox():
    r = api.ask("GetSandboxLogs", sandbox_id=ready_box().metadata.id)
    check(r.logs, "there are no log lines")
    equal({line.sandbox_id for line in r.logs}, {box.metadata.id}, "sandbox ids")
    check({line.source for line in r.logs} <= {"gateway", "sandbox"}, "an unknown source")
    times = [line.timestamp_ms for line in r.logs]
    check(r.buffer_total >= len(r.logs), "buffer_total is smaller than the answer")
    one = api.ask("GetSandboxLogs", sandbox_id=box.metadata.id, lines=1)
    equal(len(one.logs), 1, "lines")
    check(one.logs[0].timestamp_ms >= times[0], "the last line is older than the first")


@case
def delete_ends_execs_that_wait_for_the_sandbox():
    s = api.ask("CreateSandbox", name="brief", spec=pb.SandboxSpec(command=["sleep", "infinity"])).sandbox
    list(api.ask("WatchSandbox", id=s.metadata.id, follow_status=True, stop_on_terminal=True))
    gateway.hold(s.metadata.id)  # so that no relay is claimed
    waiting = [api.call("ExecSandbox", pb.ExecSandboxRequest(sandbox_id=s.metadata.id, command=["true"])) for _ in range(5)]
    time.sleep(0.3)
    start = time.monotonic()
    api.ask("DeleteSandbox", name="brief")
    for stream in waiting:
        equal(refusal(lambda: stream)[0], "UNAVAILABLE", "code")
    check(time.monotonic() - start < 5, "they waited for %.1f s" % (time.monotonic() - start))


@case
def a_sandbox_without_command_or_name_gets_both():
    s = api.ask("CreateSandbox", spec=pb.SandboxSpec()).sandbox
    equal((list(s.spec.command), s.spec.tty), (["/bin/bash", "-l"], True), "command and tty")
    check(re.fullmatch(r"[a-z]+-[a-z]+", s.metadata.name) and len(s.metadata.name) <= 19, "name '%s'" % s.metadata.name)
    check(api.ask("DeleteSandbox", name=s.metadata.name).deleted, "deleted is false")
    wait_for("the sandbox to go", lambda: gone(s.metadata.name), PATIENCE)


# --- the end ---

@case
def delete_ends_watches_and_leaves_nothing():
    watched = api.ask("WatchSandbox", id=ready_box().metadata.id, follow_status=True)
    next(watched)
    check(api.ask("DeleteSandbox", name=NAME).deleted, "deleted is false")
    last = None
    try:
        for event in watched:
            last = event.sandbox.status.phase
    except grpc.RpcError as e:
        raise AssertionError("the watch ended with %s %s" % (code_of(e), e.details())) from None
    equal(last, pb.SANDBOX_PHASE_DELETING, "last phase seen")
    wait_for("the sandbox to go", lambda: gone(NAME), PATIENCE)
    equal(refusal(lambda: api.ask("DeleteSandbox", name=NAME)), ("NOT_FOUND", "sandbox not found"), "second delete")
    equal(list(api.ask("ListSandboxes").sandboxes), [], "list")
    end = time.monotonic() + PATIENCE
    while gateway.leftovers() and time.monotonic() < end:
        time.sleep(0.05)
    equal(gateway.leftovers(), [], "left behind")


@case
def the_gateway_stops_clean():
    check(gateway.process.poll() is None, "the gateway ended on its own: %s" % gateway.log_text()[-1000:])
    gateway.process.terminate()
    equal(gateway.process.wait(PATIENCE), 0, "exit status")


def main():
    global gateway, api
    gateway = gateway_or_skip(private, "grpc")
    api = connect(gateway.cert, gateway.key)
    private.stack.callback(api.close)
    private.stack.callback(delete_all)
    suite.run()


main()
