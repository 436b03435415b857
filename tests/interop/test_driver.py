#!/usr/bin/env python3
"""openshell-driver-local over its UNIX socket, driven by a stock gRPC client: the published compute driver protocol."""
import os
import pathlib
import queue
import signal
import sys
import threading
import uuid

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import client  # noqa: E402 (settles the interpreter)
import grpc  # noqa: E402
from harness import BIN, Private, Skip, Suite, check, contains, equal, run, wait_for  # noqa: E402

suite = Suite()
case = suite.case
SERVICE = "openshell.compute.v1.ComputeDriver"


class Driver:
    def __init__(self, private, compute):
        if os.geteuid() != 0:
            raise Skip("needs root")
        self.private, self.compute = private, compute
        self.socket = private.dir / "driver" / "compute.sock"
        self.state = private.dir / "sandboxes"
        self.log = private.dir / "driver.log"
        self.start()

    def argv(self, path=None):
        return [BIN / "openshell-driver-local", "--bind-socket", path or self.socket, "--state-dir", self.state,
                "--gateway-endpoint", "http://127.0.0.1:9"]

    def start(self):
        with open(self.log, "ab") as log:
            self.process = self.private.spawn(*self.argv(), stdout=log, stderr=log)
        wait_for("the socket", lambda: self.socket.exists() or self.process.poll() is not None)
        check(self.process.poll() is None, self.log.read_text())
        self.channel = grpc.insecure_channel(f"unix:{self.socket}")
        self.service = self.compute.DESCRIPTOR.services_by_name["ComputeDriver"]

    def stub(self, method):
        m = self.service.methods_by_name[method]
        kind = self.channel.unary_stream if m.server_streaming else self.channel.unary_unary
        return kind(f"/{SERVICE}/{method}", request_serializer=lambda x: x.SerializeToString(),
                    response_deserializer=m.output_type._concrete_class.FromString), m.input_type._concrete_class

    def ask(self, method, **fields):
        call, request = self.stub(method)
        return call(request(**fields), timeout=60)

    def fails(self, code, part, method, **fields):
        try:
            self.ask(method, **fields)
        except grpc.RpcError as error:
            equal(client.code_of(error), code)
            contains(error.details(), part)
            return
        raise AssertionError(f"{method} succeeded")

    def watch(self):
        """A queue of events and the call."""
        call, request = self.stub("WatchSandboxes")
        stream, events = call(request()), queue.Queue()

        def read():
            try:
                for e in stream:
                    events.put(e)
            except grpc.RpcError:
                pass
            events.put(None)

        threading.Thread(target=read, daemon=True).start()
        return events, stream

    def sandbox(self, name="demo", **spec):
        template = self.compute.DriverSandboxTemplate(image=spec.pop("image", "host"))
        return self.compute.DriverSandbox(
            id=str(uuid.uuid4()), name=name, workspace="default",
            spec=self.compute.DriverSandboxSpec(command=["sleep", "inf"], sandbox_token="token", template=template, **spec))


def until(events, wanted):
    """The events up to the one wanted says yes to."""
    seen = []
    while True:
        e = events.get(timeout=30)
        seen.append(e)
        if e is None or wanted(e):
            return seen


@case
def capabilities_and_listeners(d):
    c = d.ask("GetCapabilities")
    equal((c.driver_name, c.default_image, c.gateway_manages_lifecycle), ("local", "host", True))
    check(c.driver_version)
    (one,) = d.ask("GetGatewayListenerRequirements").requirements
    equal(one.WhichOneof("selector"), "loopback_interface")
    d.ask("EnsureWorkspace", workspace="w")
    d.ask("DeleteWorkspace", workspace="w")


@case
def a_life(d):
    events, stream = d.watch()
    s = d.sandbox()
    d.ask("ValidateSandboxCreate", sandbox=s)
    equal(len(d.ask("ListSandboxes").sandboxes), 0)
    d.ask("CreateSandbox", sandbox=s)
    got = d.ask("GetSandbox", sandbox_id=s.id).sandbox
    equal((got.id, got.name, got.workspace, got.HasField("spec")), (s.id, "demo", "default", False))
    equal([x.id for x in d.ask("ListSandboxes").sandboxes], [s.id])
    d.fails("ALREADY_EXISTS", "sandbox already exists", "CreateSandbox", sandbox=s)
    d.ask("StopSandbox", sandbox_id=s.id)
    d.ask("StopSandbox", sandbox_id=s.id)
    equal(d.ask("GetSandbox", sandbox_id=s.id).sandbox.status.conditions[0].reason, "ContainerStopped")
    d.ask("StartSandbox", sandbox_id=s.id)
    equal(d.ask("DeleteSandbox", sandbox_id=s.id).deleted, True)
    equal(d.ask("DeleteSandbox", sandbox_id=s.id).deleted, False)
    seen = until(events, lambda e: e.WhichOneof("payload") == "deleted")
    check(any(e.WhichOneof("payload") == "platform_event" and e.platform_event.event.reason == "Created" for e in seen), seen)
    check(any(e.WhichOneof("payload") == "sandbox" and e.sandbox.sandbox.id == s.id for e in seen), seen)
    equal([p.name for p in d.state.iterdir()], [], "state directories")
    stream.cancel()


@case
def errors(d):
    d.fails("INVALID_ARGUMENT", "sandbox is required", "ValidateSandboxCreate")
    d.fails("INVALID_ARGUMENT", "sandbox is required", "CreateSandbox")
    d.fails("INVALID_ARGUMENT", "sandbox_id is required", "GetSandbox")
    d.fails("NOT_FOUND", "sandbox not found", "GetSandbox", sandbox_id="x")
    d.fails("NOT_FOUND", "sandbox not found", "StopSandbox", sandbox_id="x")
    d.fails("NOT_FOUND", "sandbox not found", "StartSandbox", sandbox_id="x")
    d.fails("FAILED_PRECONDITION", "pulls nothing", "CreateSandbox", sandbox=d.sandbox(image="debian:12"))


@case
def a_watch_begins_with_what_is_there_and_survives_the_driver(d):
    s = d.sandbox("kept")
    d.ask("CreateSandbox", sandbox=s)
    events, _ = d.watch()
    equal(until(events, lambda e: True)[0].sandbox.sandbox.id, s.id)
    d.process.send_signal(signal.SIGTERM)
    equal(d.process.wait(20), 0, "exit code")
    until(events, lambda e: False)
    check(not d.socket.exists(), "the socket is still there")
    d.channel.close()
    d.start()
    events, stream = d.watch()
    equal(until(events, lambda e: True)[0].sandbox.sandbox.id, s.id)
    equal(d.ask("DeleteSandbox", sandbox_id=s.id).deleted, True)
    stream.cancel()


@case
def the_socket_is_for_its_user_alone(d):
    equal(d.socket.stat().st_mode & 0o777, 0o600)
    equal(d.socket.parent.stat().st_mode & 0o777, 0o700)
    file = d.private.dir / "taken" / "file"
    file.parent.mkdir()
    file.write_text("x")
    r = run(*d.argv(file))
    equal(r.code, 1)
    contains(r.err, "exists but is not an owned Unix socket")
    equal(file.read_text(), "x")
    # A directory that lets others in, or is a link, is no place for it.
    (d.private.dir / "link").symlink_to(d.private.dir / "taken")
    r = run(*d.argv(d.private.dir / "link" / "sock"))
    equal(r.code, 1)
    contains(r.err, "is not a directory of this user")


@case
def other_users_are_refused(d):
    d.socket.parent.chmod(0o755)
    d.private.dir.chmod(0o755)
    d.socket.chmod(0o666)
    code = ("import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(20);"
            "s.sendall(bytes.fromhex(sys.argv[2])); n=0\n"
            "while n < 100:\n    c=s.recv(4096)\n    n+=len(c)\n    assert c")

    def frame(kind, flags, stream, body):
        return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body

    def field(name, value):
        return b"\x10" + bytes([len(name)]) + name + bytes([len(value)]) + value

    path = f"/{SERVICE}/GetCapabilities".encode()
    block = b"".join((field(b":method", b"POST"), field(b":scheme", b"http"), field(b":path", path), field(b":authority", b"x"),
                      field(b"content-type", b"application/grpc"), field(b"te", b"trailers")))
    request = (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, block) + frame(0, 1, 1, b"\0\0\0\0\0"))
    r = run("setpriv", "--reuid", "64000", "--regid", "64000", "--clear-groups", "/usr/bin/python3", "-c", code, d.socket, request.hex())
    check(r.code == 0, r)
    wait_for("the warning", lambda: "refused a call by user 64000" in d.log.read_text())
    d.ask("GetCapabilities")


@case
def bad_command_lines(d):
    equal(run(BIN / "openshell-driver-local").code, 2)
    equal(run(BIN / "openshell-driver-local", "--nonsense").code, 2)
    contains(run(BIN / "openshell-driver-local", "--version").out, "openshell-driver-local ")
    contains(run(BIN / "openshell-driver-local", "--help").out, "--bind-socket")
    r = run(*d.argv(d.private.dir / "x" / "sock"), "--tls-ca", "/nothing")
    equal(r.code, 1)
    contains(r.err, "give all three or none")
    r = run(*d.argv(d.private.dir / "x" / "sock"), "--policy-rules", "/nothing.rego")
    equal(r.code, 1)
    contains(r.err, "--policy-rules: ")
    contains(r.err, "/nothing.rego")
    r = run("env", "OPENSHELL_SANDBOX_POLICY_DATA=/data.yaml", *d.argv(d.private.dir / "x" / "sock"))
    equal(r.code, 1)
    contains(r.err, "--policy-data '/data.yaml' needs --policy-rules")


def main():
    private = Private("driver")
    client.load_messages(private)
    import compute_pb2
    suite.run(Driver(private, compute_pb2))


main()
