"""A stock gRPC client of the gateway: Debian's grpcio and protobuf, messages generated from proto/ at run time.

Nothing of the C client is used, so what passes here passes for any client of the published API.
"""
import glob
import importlib
import os
import subprocess
import sys

import harness

harness.need_modules("grpc", "google.protobuf")

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # refused handshakes are part of the tests

import grpc  # noqa: E402 (after the interpreter is settled)

SERVICE = "openshell.v1.OpenShell"


def load_messages():
    """Generates and imports the Python modules of proto/*.proto; returns those of the user-facing API."""
    directory = harness.temporary_directory()
    proto = os.path.join(harness.ROOT, "proto")
    files = sorted(glob.glob(os.path.join(proto, "*.proto")))
    done = subprocess.run(["protoc", "-I" + proto, "--python_out=" + directory] + files, stderr=subprocess.PIPE,
                          check=False)
    harness.equal(done.returncode, 0, "exit status of protoc (%s)" % done.stderr.decode(errors="replace"))
    sys.path.insert(0, directory)
    return tuple(importlib.import_module(m) for m in ("openshell_pb2", "sandbox_pb2", "datamodel_pb2"))


def read(path):
    with open(path, "rb") as f:
        return f.read()


class Client:
    """One channel. call(METHOD, request) answers as grpcio does: a message, or an iterator of messages; errors are
    grpc.RpcError."""

    def __init__(self, messages, target, ca=None, cert=None, key=None):
        """Plaintext without ca; ca, cert, key are files."""
        self.service = messages.DESCRIPTOR.services_by_name["OpenShell"]
        options = [("grpc.max_send_message_length", -1), ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        if ca is None:
            self.channel = grpc.insecure_channel(target, options)
        else:
            credentials = grpc.ssl_channel_credentials(read(ca), read(key) if key else None, read(cert) if cert else None)
            self.channel = grpc.secure_channel(target, credentials, options)

    def call(self, method, request, timeout=harness.PATIENCE, metadata=None):
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
    raise harness.Failure("the call succeeded")


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
            raise harness.Failure("an event without payload")
    harness.check(code is not None, "the stream ended without an exit event")
    return out, err, code
