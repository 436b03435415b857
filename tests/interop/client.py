"""A stock gRPC client of the gateway: Debian's grpcio and protobuf, messages generated from proto/ at run time.

Nothing of the C client is used, so what passes here passes for any client of the published API.
"""
import importlib
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e" / "lib"))

import harness  # noqa: E402 (found through the line above)


def use_debian_python():
    """Continues under Debian's own python3 when this interpreter lacks grpcio, which a Debian package provides."""
    try:
        import google.protobuf  # noqa: F401
        import grpc as _  # noqa: F401
    except ImportError as error:
        if os.environ.get("OPENSHELL_DEBIAN_PYTHON") or not os.path.exists("/usr/bin/python3"):
            print(f"not ok modules: {error}; run scripts/install-deps.sh")
            sys.exit(1)
        os.environ["OPENSHELL_DEBIAN_PYTHON"] = "1"
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])


os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # refused handshakes are part of the tests
use_debian_python()

import grpc  # noqa: E402 (after the interpreter is settled)

SERVICE = "openshell.v1.OpenShell"
PATIENCE = 60  # seconds a call may take; only failures take that long


class Gateway(harness.Gateway):
    """A gateway without our CLI: the client certificate comes from its state directory."""

    def __init__(self, private, **options):
        super().__init__(private, **options)
        tls = self.state / "tls"
        self.ca, self.cert, self.key = tls / "ca.crt", tls / "client" / "tls.crt", tls / "client" / "tls.key"

    def register(self):
        pass

    def hold(self, sandbox_id):
        """Stops the supervisor of a sandbox, so that it answers nothing; deleting the sandbox still works."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = pathlib.Path(f"/proc/{pid}/environ").read_bytes() + pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
                name = pathlib.Path(f"/proc/{pid}/exe").resolve().name
            except OSError:
                continue
            if sandbox_id.encode() in words and name == "openshell-sandbox":
                os.kill(int(pid), signal.SIGSTOP)

    def leftovers(self):
        """What sandboxes have left: processes besides the gateway's, mounts, directories."""
        mark = str(self.private.dir)
        found = [f"mount {m}" for m in pathlib.Path("/proc/mounts").read_text().splitlines() if mark in m]
        if (self.state / "local").is_dir():
            found += [f"directory {d}" for d in self.sandbox_dirs()]
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                text = b"".join(pathlib.Path(f"/proc/{pid}/{f}").read_bytes() for f in ("cmdline", "environ"))
                parent = pathlib.Path(f"/proc/{pid}/exe").resolve().name
            except OSError:
                continue
            if mark.encode() in text and int(pid) not in (os.getpid(), self.process.pid):
                found.append(f"process {pid} {parent}")
        return found


def start_gateway(private):
    """A running gateway with its own state and certificates; ended when private is closed."""
    return Gateway(private).start()


def gateway_or_skip(private, suite):
    """start_gateway(); where none can run, the whole suite is skipped."""
    try:
        return start_gateway(private)
    except harness.Skip as why:
        print(f"skip {suite}: {why}")
        sys.exit(0)


def delete_sandboxes(api):
    """A failed case must not leave one."""
    for s in api.ask("ListSandboxes").sandboxes:
        api.ask("DeleteSandbox", name=s.metadata.name)


def load_messages(private):
    """Generates and imports the Python modules of proto/*.proto; returns those of the user-facing API."""
    directory, proto = private.dir / "proto", harness.ROOT / "proto"
    directory.mkdir()
    r = harness.run("protoc", f"-I{proto}", f"--python_out={directory}", *sorted(proto.glob("*.proto")))
    harness.check(r.code == 0, r)
    sys.path.insert(0, str(directory))
    return importlib.import_module("openshell_pb2"), importlib.import_module("sandbox_pb2")


class Client:
    """One channel. call(METHOD, request) answers as grpcio does: a message, or an iterator of messages; errors are
    grpc.RpcError."""

    def __init__(self, messages, target, ca=None, cert=None, key=None):
        """Plaintext without ca; ca, cert, key are paths."""
        self.service = messages.DESCRIPTOR.services_by_name["OpenShell"]
        options = [("grpc.max_send_message_length", -1), ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        if ca is None:
            self.channel = grpc.insecure_channel(target, options)
        else:
            credentials = grpc.ssl_channel_credentials(ca.read_bytes(), key.read_bytes() if key else None, cert.read_bytes() if cert else None)
            self.channel = grpc.secure_channel(target, credentials, options)

    def call(self, method, request, timeout=PATIENCE, metadata=None):
        """request: a message, or for client streams an iterable of messages."""
        m = self.service.methods_by_name[method]
        kind = ("stream" if m.client_streaming else "unary") + "_" + ("stream" if m.server_streaming else "unary")
        stub = getattr(self.channel, kind)("/%s/%s" % (SERVICE, method),
                                           request_serializer=lambda x: x.SerializeToString(),
                                           response_deserializer=m.output_type._concrete_class.FromString)
        if m.client_streaming:
            request = iter(request)
        return stub(request, timeout=timeout, metadata=metadata)

    def request(self, method, **fields):
        """A request message of the method."""
        return self.service.methods_by_name[method].input_type._concrete_class(**fields)

    def ask(self, method, **fields):
        """A unary call in one line."""
        return self.call(method, self.request(method, **fields))

    def close(self):
        self.channel.close()


def code_of(error):
    """"NOT_FOUND" style name."""
    return error.code().name


def refusal(function):
    """(code name, text) of the error that function ends with; a stream is read to its end."""
    try:
        answer = function()
        if hasattr(answer, "__next__"):
            list(answer)
    except grpc.RpcError as e:
        return code_of(e), e.details()
    raise AssertionError("the call succeeded")


def read_exec(events):
    """(stdout, stderr, exit code) of an exec stream; exactly one exit, and it comes last."""
    out, err, code = b"", b"", None
    for event in events:
        harness.check(code is None, "an event after exit: %s" % event)
        kind = event.WhichOneof("payload")
        if kind == "stdout":
            out += event.stdout.data
        elif kind == "stderr":
            err += event.stderr.data
        elif kind == "exit":
            code = event.exit.exit_code
        else:
            raise AssertionError("an event without payload")
    harness.check(code is not None, "the stream ended without an exit event")
    return out, err, code
