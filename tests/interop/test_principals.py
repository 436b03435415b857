#!/usr/bin/env python3
"""Who may do what: the token of one sandbox against the methods of users, of other sandboxes and of nobody; connections
without certificates, plaintext, and the local socket."""
import os
import pathlib
import re
import socket
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from client import Client, delete_sandboxes, gateway_or_skip, load_messages, refusal  # noqa: E402
from harness import Private, Suite, check, contains, equal, run  # noqa: E402

suite = Suite()
case = suite.case
private = Private("principals")
pb, sandbox_pb = load_messages(private)
gateway = api = None
boxes = {}
tokens = {}


def connect():
    return Client(pb, f"127.0.0.1:{gateway.port}", gateway.ca, gateway.cert, gateway.key)


def token_of(box):
    """What the driver gave the supervisor of that sandbox."""
    found = set()
    for path in (gateway.state / "local" / box.metadata.id).rglob("*"):
        if path.is_file() and path.stat().st_size < 1 << 20:
            found |= set(re.findall(rb"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]{86}", path.read_bytes()))
    check(found, "no token was found")
    return found.pop().decode()


def as_sandbox(name):
    return [("authorization", "Bearer " + tokens[name])]


def message(method, **fields):
    m = api.request(method)
    known = {f.name for f in m.DESCRIPTOR.fields}
    for key, value in fields.items():
        if key in known:
            setattr(m, key, value)
    return m


@case
def methods_of_users_are_not_for_sandboxes():
    text = (pathlib.Path(__file__).resolve().parents[2] / "src/rpc/tbl/methods.h").read_text()
    modes = dict(re.findall(r'RPC_METHOD\(OpenShell_(\w+),.*, (\w+), "[^"]*", "[^"]*", "[^"]*"\)', text))
    check(len(modes) > 60, f"{len(modes)} methods were read")
    for m in api.service.methods:
        if modes[m.name] != "BEARER":
            continue
        request = message(m.name, name="one", id=boxes["one"].metadata.id, sandbox_id=boxes["one"].metadata.id)
        if m.client_streaming:
            request = [request]
        got = refusal(lambda: api.call(m.name, request, metadata=as_sandbox("one"), timeout=10))
        equal(got, ("PERMISSION_DENIED", "sandbox principals may not call this method"), m.name)


@case
def methods_of_supervisors_are_not_for_users():
    text = (pathlib.Path(__file__).resolve().parents[2] / "src/rpc/tbl/methods.h").read_text()
    modes = dict(re.findall(r'RPC_METHOD\(OpenShell_(\w+),.*, (\w+), "[^"]*", "[^"]*", "[^"]*"\)', text))
    for m in api.service.methods:
        if modes[m.name] != "SANDBOX":
            continue
        request = message(m.name, sandbox_id=boxes["one"].metadata.id)
        got = refusal(lambda: api.call(m.name, [request] if m.client_streaming else request, timeout=10))
        equal(got[0], "PERMISSION_DENIED", m.name)


@case
def one_sandbox_cannot_touch_another():
    other = boxes["two"].metadata.id
    status = pb.PolicyStatus.Value("POLICY_STATUS_LOADED")
    calls = {
        "GetSandboxConfig": api.request("GetSandboxConfig", sandbox_id=other),
        "ReportPolicyStatus": api.request("ReportPolicyStatus", sandbox_id=other, version=1, status=status),
        "ReportMainProcessExit": api.request("ReportMainProcessExit", sandbox_id=other, instance_id="x", exit_code=1),
        "UpdateConfig": api.request("UpdateConfig", name="two", policy=sandbox_pb.SandboxPolicy(version=1)),
        "PushSandboxLogs": [pb.PushSandboxLogsRequest(sandbox_id=other, logs=[pb.SandboxLogLine(message="forged")])],
        "ConnectSupervisor": [pb.SupervisorMessage(hello=pb.SupervisorHello(sandbox_id=other, instance_id="x"))],
    }
    for method, request in calls.items():
        code, text = refusal(lambda: api.call(method, request, metadata=as_sandbox("one"), timeout=10))
        equal(code, "PERMISSION_DENIED", f"{method} ({text})")
    equal(api.ask("GetSandbox", name="two").sandbox.status.phase, pb.SANDBOX_PHASE_READY, "phase")
    lines = api.ask("GetSandboxLogs", sandbox_id=other).logs
    check(not any("forged" in line.message for line in lines), "a forged line is in the log")


@case
def a_sandbox_changes_no_more_than_its_own_policy():
    for fields in (dict(setting_key="ocsf_json_enabled"), dict(delete_setting=True), {"global": True}, dict(name="")):
        request = api.request("UpdateConfig", **{"name": "one", "policy": sandbox_pb.SandboxPolicy(version=1), **fields})
        code, text = refusal(lambda: api.call("UpdateConfig", request, metadata=as_sandbox("one")))
        equal(code, "PERMISSION_DENIED", f"{fields} ({text})")


@case
def an_unknown_relay_is_not_found():
    frame = pb.RelayFrame(init=pb.RelayInit(channel_id="6f1c2a52-0000-4000-8000-000000000001"))
    equal(refusal(lambda: api.call("RelayStream", [frame], metadata=as_sandbox("one"), timeout=10)),
          ("NOT_FOUND", "unknown or expired relay channel"), "an unknown channel")
    equal(refusal(lambda: api.call("RelayStream", [pb.RelayFrame(data=b"x")], metadata=as_sandbox("one"), timeout=10))[0],
          "INVALID_ARGUMENT", "data first")
    equal(refusal(lambda: api.call("RelayStream", [], metadata=as_sandbox("one"), timeout=10))[0], "INVALID_ARGUMENT", "nothing")


@case
def changed_tokens_are_refused():
    head, body, mark = tokens["one"].split(".")
    other_body = tokens["two"].split(".")[1]
    for token in (f"{head}.{other_body}.{mark}", f"{head}.{body}.{mark[:-8]}AAAAAAAA", f"{head}.{body}.", f"{head}.{body}",
                  tokens["one"] + "x" * 60000):
        code, text = refusal(lambda: api.call("GetSandboxConfig", api.request("GetSandboxConfig", sandbox_id=boxes["one"].metadata.id),
                                              metadata=[("authorization", "Bearer " + token)], timeout=10))
        check(code in ("UNAUTHENTICATED", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED"), f"{code}: {text}")
        check(body not in text and mark not in text, "the token is in the answer")
    unsigned = "eyJhbGciOiJub25lIn0." + body + "."  # not ours: the client certificate counts, and that is no sandbox
    request = api.request("ReportPolicyStatus", sandbox_id=boxes["one"].metadata.id, version=1,
                          status=pb.PolicyStatus.Value("POLICY_STATUS_FAILED"))
    equal(refusal(lambda: api.call("ReportPolicyStatus", request, metadata=[("authorization", "Bearer " + unsigned)])),
          ("PERMISSION_DENIED", "this method requires a sandbox principal"), "an unsigned token")


@case
def a_token_ends_with_its_sandbox():
    api.ask("DeleteSandbox", name="two")
    code, text = refusal(lambda: api.call("GetSandboxConfig", api.request("GetSandboxConfig", sandbox_id=boxes["two"].metadata.id),
                                          metadata=as_sandbox("two")))
    equal(code, "NOT_FOUND", text)
    code, text = refusal(lambda: api.call("RefreshSandboxToken", api.request("RefreshSandboxToken"), metadata=as_sandbox("two")))
    equal(code, "NOT_FOUND", text)


@case
def the_local_socket_is_for_its_owner():
    path = gateway.state / "gateway" / f"api-{gateway.port}.sock"
    equal((os.stat(path).st_mode & 0o777, os.stat(path.parent).st_mode & 0o777), (0o600, 0o700), "modes")
    local = Client(pb, f"unix:{path}")
    check(local.ask("ListSandboxes").sandboxes, "the list is empty")
    code, text = refusal(lambda: local.call("ListSandboxes", local.request("ListSandboxes"), metadata=as_sandbox("one")))
    equal(code, "PERMISSION_DENIED", text)
    local.close()
    os.chmod(path.parent, 0o711)
    os.chmod(path, 0o666)
    for directory in (private.dir, *path.parents):
        if str(directory).startswith(str(private.dir)):
            os.chmod(directory, 0o711)
    script = pathlib.Path(private.dir / "stranger.py")
    script.write_text(f"""
import sys
sys.path.insert(0, {str(private.dir / 'proto')!r})
import grpc, openshell_pb2 as pb
c = grpc.insecure_channel("unix:{path}")
m = pb.DESCRIPTOR.services_by_name["OpenShell"].methods_by_name["ListSandboxes"]
stub = c.unary_unary("/openshell.v1.OpenShell/ListSandboxes", request_serializer=lambda x: x.SerializeToString(),
                     response_deserializer=m.output_type._concrete_class.FromString)
try:
    stub(m.input_type._concrete_class(), timeout=10)
    print("served")
except grpc.RpcError as e:
    print(e.code().name, e.details())
""")
    run("chmod", "-R", "a+rX", private.dir / "proto", script)
    r = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", script, timeout=30)
    contains(r.text, "UNAUTHENTICATED")


@case
def plaintext_on_the_tls_port_is_closed_without_a_word():
    for words in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 70000):
        with socket.create_connection(("127.0.0.1", gateway.port), 5) as s:
            s.settimeout(5)
            try:
                s.sendall(words)
                got = s.recv(4096)
            except ConnectionError:
                got = b""
            check(not got or got[0] == 21, f"answer to {words[:10]!r}: {got[:60]!r}")  # 21 is a TLS alert


def main():
    global gateway, api
    gateway = gateway_or_skip(private, "principals")
    api = connect()
    private.stack.callback(api.close)
    private.stack.callback(lambda: delete_sandboxes(api))
    for name in ("one", "two"):
        boxes[name] = api.ask("CreateSandbox", name=name, spec=pb.SandboxSpec(command=["sleep", "infinity"])).sandbox
        list(api.ask("WatchSandbox", id=boxes[name].metadata.id, follow_status=True, stop_on_terminal=True))
        tokens[name] = token_of(boxes[name])
    suite.run()


main()
