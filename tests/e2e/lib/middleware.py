"""A middleware service for tests: Debian's grpcio, messages generated from proto/ at run time, and behaviour that a test
sets as it goes."""
import concurrent.futures
import importlib
import os
import pathlib
import sys
import threading

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
try:
    import grpc
except ImportError as error:
    if os.environ.get("OPENSHELL_DEBIAN_PYTHON") or not os.path.exists("/usr/bin/python3"):
        print(f"not ok modules: {error}; run scripts/install-deps.sh")
        sys.exit(1)
    os.environ["OPENSHELL_DEBIAN_PYTHON"] = "1"
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

from harness import ROOT, check, run  # noqa: E402

SERVICE = "openshell.middleware.v1.SupervisorMiddleware"
HTTP, WEBSOCKET = 1, 2
ALLOW, DENY = 1, 2
APPEND, OVERWRITE, KEEP = 1, 2, 3
INSPECT, SKIP_SESSION, DENY_SESSION = 1, 2, 3


def load(private):
    """The generated module openshell.middleware.v1."""
    directory = private.dir / "middleware-proto"
    directory.mkdir()
    r = run("protoc", f"-I{ROOT / 'proto'}", f"--python_out={directory}", ROOT / "proto/middleware.proto")
    check(r.code == 0, r)
    sys.path.insert(0, str(directory))
    return importlib.import_module("middleware_pb2")


class Service:
    """http(request) and socket(event, number) answer; they return messages, bytes to be sent as they are, or None (for a
    stream: no answer), raise for a gRPC error, or call stall(). What came is in `requests`, `events` and `checked`."""

    def __init__(self, pb, bindings=((HTTP, 4194304), (WEBSOCKET, 4194304)), cert=None, address="127.0.0.1:0"):
        self.pb = pb
        self.bindings, self.timeout, self.audience = bindings, "", ""
        self.cert, self.address = cert, address
        self.http = lambda r: self.allow()
        self.socket = self.echo
        self.valid = lambda r: pb.ValidateConfigResponse(valid=True)
        self.requests, self.events, self.checked, self.tokens = [], [], [], []
        self.released = threading.Event()
        self.active, self.most, self.lock = 0, 0, threading.Lock()
        self.start()

    def start(self):
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(160), options=[("grpc.so_reuseport", 0)])
        raw = lambda x: x if isinstance(x, bytes) else x.SerializeToString()  # noqa: E731
        pb = self.pb
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {
            "Describe": grpc.unary_unary_rpc_method_handler(self.on_describe, lambda b: b, raw),
            "ValidateConfig": grpc.unary_unary_rpc_method_handler(
                self.on_validate, pb.ValidateConfigRequest.FromString, raw),
            "EvaluateHttpRequest": grpc.unary_unary_rpc_method_handler(
                self.on_http, pb.HttpRequestEvaluation.FromString, raw),
            "EvaluateWebSocketSession": grpc.stream_stream_rpc_method_handler(
                self.on_socket, pb.WebSocketSessionEvent.FromString, raw)}),))
        if self.cert:
            chain, key = (pathlib.Path(p).read_bytes() for p in self.cert)
            self.port = self.server.add_secure_port(self.address, grpc.ssl_server_credentials([(key, chain)]))
        else:
            self.port = self.server.add_insecure_port(self.address)
        check(self.port, "the service cannot listen")
        self.address = f"{self.address.rsplit(':', 1)[0]}:{self.port}"
        self.server.start()

    @property
    def url(self):
        return f"{'https' if self.cert else 'http'}://{self.address}"

    def stop(self):
        self.released.set()
        self.server.stop(0).wait()
        self.released.clear()

    def reset(self):
        self.http, self.socket = (lambda r: self.allow()), self.echo
        self.released.set()
        self.requests.clear()
        self.events.clear()
        self.tokens.clear()
        self.released = threading.Event()
        self.most = 0

    # --- answers ---

    def allow(self, **kw):
        return self.pb.HttpRequestResult(decision=ALLOW, **kw)

    def deny(self, **kw):
        return self.pb.HttpRequestResult(decision=DENY, **kw)

    def body(self, data, **kw):
        return self.allow(body=data, has_body=True, **kw)

    def write(self, name, value, on_existing=APPEND):
        return self.pb.HeaderMutation(write=self.pb.WriteHeader(name=name, value=value, on_existing=on_existing))

    def remove(self, name):
        return self.pb.HeaderMutation(remove=self.pb.RemoveHeader(name=name))

    def preflight(self, action, **kw):
        return self.pb.WebSocketSessionEventResult(
            preflight_decision=self.pb.WebSocketPreflightDecision(action=action, **kw))

    def message(self, event, decision=ALLOW, **kw):
        kw.setdefault("sequence", event.message.sequence)
        return self.pb.WebSocketSessionEventResult(message_result=self.pb.WebSocketMessageResult(decision=decision, **kw))

    def echo(self, event, number):
        """Listens to everything and changes nothing."""
        if event.HasField("preflight"):
            return self.preflight(INSPECT)
        return self.message(event) if event.HasField("message") else None

    def stall(self):
        """Answers when the test says so."""
        self.released.wait(60)
        return self.allow()

    # --- the server ---

    def note(self, context):
        self.tokens.append(dict(context.invocation_metadata()).get("authorization"))

    def on_describe(self, _, context):
        self.note(context)
        pb = self.pb
        return pb.MiddlewareManifest(name="test", service_version="1", expected_audience=self.audience, bindings=[
            pb.MiddlewareBinding(operation=b[0], phase=b[2] if len(b) > 2 else 1, max_payload_bytes=b[1], timeout=self.timeout)
            for b in self.bindings])

    def on_validate(self, request, context):
        self.note(context)
        self.checked.append(request)
        return self.valid(request)

    def on_http(self, request, context):
        self.note(context)
        with self.lock:
            self.requests.append(request)
            self.active += 1
            self.most = max(self.most, self.active)
        try:
            return self.http(request)
        except ZeroDivisionError:
            context.abort(grpc.StatusCode.INTERNAL, "the service broke")
        finally:
            with self.lock:
                self.active -= 1

    def on_socket(self, events, context):
        self.note(context)
        number = 0
        try:
            for event in events:
                with self.lock:
                    self.events.append(event)
                answer = self.socket(event, number)
                number += 1
                if answer == "end":
                    return
                if answer is not None:
                    yield answer
        except ZeroDivisionError:
            context.abort(grpc.StatusCode.INTERNAL, "the service broke")
