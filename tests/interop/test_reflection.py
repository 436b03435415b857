#!/usr/bin/env python3
"""gRPC's own services as stock clients use them: health checks and watches, and a client of the whole API that knows no
.proto file but the one of server reflection."""
import importlib
import queue
import re
import signal
import sqlite3
import sys
import threading
import pathlib

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: E402

from client import PATIENCE, Client, code_of, gateway_or_skip, grpc, load_messages, refusal  # noqa: E402
from harness import ROOT, Private, Suite, check, contains, equal, wait_for  # noqa: E402

suite = Suite()
case = suite.case
private = Private("reflection")
pb, sandbox_pb = load_messages(private)
health_pb = importlib.import_module("health_pb2")
V1, ALPHA = importlib.import_module("reflection_pb2"), importlib.import_module("reflection_v1alpha_pb2")
STATUS = health_pb.HealthCheckResponse
gateway = api = None
BOTH = ((V1, "v1"), (ALPHA, "v1alpha"))


def connect():
    return Client(pb, f"127.0.0.1:{gateway.port}", gateway.ca, gateway.cert, gateway.key)


def served():
    """The services with a handler, by the two tables of the source."""
    methods = dict(re.findall(r'RPC_METHOD\((\w+), "([\w.]+)"', (ROOT / "src/rpc/tbl/methods.h").read_text()))
    handled = re.findall(r"(?:UNARY|STREAM)\((\w+),", (ROOT / "src/gateway/rpc/tbl/handlers.h").read_text())
    return sorted({methods[m] for m in handled})


# --- reflection ---

def reflect(requests, module=V1, version="v1", channel=None, timeout=PATIENCE):
    stub = (channel or api.channel).stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=lambda x: x.SerializeToString(), response_deserializer=module.ServerReflectionResponse.FromString)
    return stub(iter(requests), timeout=timeout)


def question(module=V1, **fields):
    return module.ServerReflectionRequest(host="here", **fields)


def ask(module=V1, version="v1", **fields):
    answers = list(reflect([question(module, **fields)], module, version))
    equal(len(answers), 1, "answers")
    equal((answers[0].valid_host, answers[0].original_request), ("here", question(module, **fields)), "echo")
    return answers[0]


def files_of(answer):
    equal(answer.WhichOneof("message_response"), "file_descriptor_response", f"answer {answer!s:.300}")
    return [descriptor_pb2.FileDescriptorProto.FromString(b) for b in answer.file_descriptor_response.file_descriptor_proto]


def not_found(answer):
    equal(answer.WhichOneof("message_response"), "error_response", f"answer {answer!s:.300}")
    equal(answer.error_response.error_code, grpc.StatusCode.NOT_FOUND.value[0], "code")
    return answer.error_response.error_message


class Reflected:
    """A client made of nothing but answers."""

    def __init__(self, module, version):
        self.pool, known = descriptor_pool.DescriptorPool(), set()
        services = ask(module, version, list_services="").list_services_response.service
        self.services = [s.name for s in services]
        for name in self.services:
            for f in reversed(files_of(ask(module, version, file_containing_symbol=name))):
                if f.name not in known and not known.add(f.name):
                    self.pool.Add(f)

    def call(self, service, method, /, **fields):
        m = self.pool.FindServiceByName(service).methods_by_name[method]
        factory = message_factory.MessageFactory(self.pool)
        kind = api.channel.unary_stream if m.server_streaming else api.channel.unary_unary
        stub = kind(f"/{service}/{method}", request_serializer=lambda x: x.SerializeToString(),
                    response_deserializer=factory.GetPrototype(m.output_type).FromString)
        return stub(factory.GetPrototype(m.input_type)(**fields), timeout=PATIENCE)


@case
def a_client_made_of_reflection_alone_works():
    for module, version in BOTH:
        client = Reflected(module, version)
        equal(client.services, served(), "services")
        equal(client.call("openshell.v1.OpenShell", "Health").status, pb.SERVICE_STATUS_HEALTHY, "Health")
        equal(client.call("grpc.health.v1.Health", "Check", service="openshell.v1.OpenShell").status, STATUS.SERVING, "Check")
        equal(refusal(lambda: client.call("openshell.v1.OpenShell", "GetSandbox", name="none")), ("NOT_FOUND", "sandbox not found"),
              "GetSandbox")
        mine = {m.name for m in pb.DESCRIPTOR.services_by_name["OpenShell"].methods}
        equal(set(client.pool.FindServiceByName("openshell.v1.OpenShell").methods_by_name), mine, "methods")


@case
def every_name_of_every_file_is_found():
    names = {}

    def add(f, scope, items):
        for item in items:
            name = scope + "." + item.name
            names[name] = f.name
            add(f, name, getattr(item, "nested_type", []))
            add(f, name, getattr(item, "enum_type", []))
            add(f, name, getattr(item, "method", []))
            add(f, scope, getattr(item, "value", []))  # enum values live beside their enum

    seen = {f.name: f for s in served() for f in files_of(ask(file_containing_symbol=s))}
    for f in seen.values():
        for items in (f.message_type, f.enum_type, f.service, f.extension):
            add(f, f.package, items)
        equal(files_of(ask(file_by_filename=f.name))[0], f, "file by name")
    check(len(names) > 400, f"{len(names)} names")
    answers = list(reflect([question(file_containing_symbol=n) for n in names]))
    equal([files_of(a)[0].name for a in answers], list(names.values()), "files")


@case
def what_is_not_there_is_not_found():
    for symbol in ("", ".", "openshell.v1.OpenShell.NoSuch", "openshell.v1.openshell", "openshell", ".openshell.v1.OpenShell",
                   "openshell.compute.v1.ComputeDriver", "x" * 1000):
        text = not_found(ask(file_containing_symbol=symbol))
        contains(text, f"symbol '{symbol[:256]}' is not known")
    for name in ("", "nope.proto", "/etc/passwd", "../proto/health.proto"):
        contains(not_found(ask(file_by_filename=name)), f"file '{name}'")


@case
def extensions_are_found_too():
    options = "google.protobuf.MethodOptions"
    r = ask(all_extension_numbers_of_type=options).all_extension_numbers_response
    equal((r.base_type_name, list(r.extension_number)), (options, [50000]), "numbers")
    x = V1.ExtensionRequest(containing_type=options, extension_number=50000)
    equal([f.name for f in files_of(ask(file_containing_extension=x))], ["options.proto", "google/protobuf/descriptor.proto"], "files")
    x.extension_number = 7
    contains(not_found(ask(file_containing_extension=x)), "extension '7 of google.protobuf.MethodOptions'")
    r = ask(all_extension_numbers_of_type="openshell.v1.Sandbox").all_extension_numbers_response
    equal((r.base_type_name, list(r.extension_number)), ("openshell.v1.Sandbox", []), "numbers of a type without")
    for name in ("no.such.Type", "openshell.v1.OpenShell"):
        contains(not_found(ask(all_extension_numbers_of_type=name)), "message type")


@case
def odd_questions_end_the_stream():
    equal(refusal(lambda: reflect([question()]))[0], "INVALID_ARGUMENT", "nothing asked")
    code, text = refusal(lambda: reflect([question(file_containing_symbol="x" * 5000)]))
    equal(code, "INVALID_ARGUMENT", text)
    equal(list(reflect([])), [], "no question")
    code, text = refusal(lambda: reflect([question(list_services="")] * 1001))
    equal(code, "RESOURCE_EXHAUSTED", text)
    equal(len(list(reflect([question(list_services="")] * 1000))), 1000, "answers")


@case
def a_client_that_does_not_read_is_not_answered():
    """Questions wait in the client until it reads; the gateway stays small and answers others."""
    before = rss()
    sent = [0]

    def endless():
        for _ in range(990):
            sent[0] += 1
            yield question(file_containing_symbol="openshell.v1.OpenShell")
    streams = [reflect(endless()) for _ in range(50)]
    for s in streams:
        next(s)
    equal(api.ask("Health").status, pb.SERVICE_STATUS_HEALTHY, "another call meanwhile")
    check(rss() - before < 60 << 20, f"the gateway grew by {(rss() - before) >> 20} MiB")
    check(len(list(streams[0])) == 989, "answers once they are read")
    for s in streams:
        s.cancel()


@case
def open_streams_are_bounded():
    done = threading.Event()

    def waiting():
        yield question(list_services="")
        done.wait(20)

    streams = [reflect(waiting()) for _ in range(64)]
    for s in streams:
        next(s)
    try:
        next(reflect(iter([question(list_services="")])))
        raise AssertionError("a 65th stream was served")
    except grpc.RpcError as e:
        equal(e.code(), grpc.StatusCode.RESOURCE_EXHAUSTED, e.details())
    for s in streams:
        s.cancel()
    done.set()
    wait_for("room", lambda: bool(ask(list_services="")), 5)


def rss():
    status = pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) << 10


# --- health ---

def health(method, channel=None, **fields):
    m = health_pb.DESCRIPTOR.services_by_name["Health"].methods_by_name[method]
    kind = (channel or api.channel).unary_stream if m.server_streaming else (channel or api.channel).unary_unary
    stub = kind(f"/grpc.health.v1.Health/{method}", request_serializer=lambda x: x.SerializeToString(),
                response_deserializer=m.output_type._concrete_class.FromString)
    return stub(m.input_type._concrete_class(**fields), timeout=PATIENCE)


class Watch:
    """What a Watch call hears, in order; None when it ended."""

    def __init__(self, service):
        self.call, self.heard, self.end = health("Watch", service=service), queue.Queue(), None
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        try:
            for r in self.call:
                self.heard.put(r.status)
        except grpc.RpcError as e:
            self.end = code_of(e)
        self.heard.put(None)

    def next(self):
        return self.heard.get(timeout=PATIENCE)


@case
def every_service_is_checked_by_name():
    wait_for("the first probe", lambda: health("Check").status == STATUS.SERVING, PATIENCE)
    for name in ["", *served()]:
        equal(health("Check", service=name).status, STATUS.SERVING, name)
    for name in ("nope", "openshell.compute.v1.ComputeDriver", "openshell.v1.OpenShell/Health", "x" * 5000):
        equal(refusal(lambda: health("Check", service=name)), ("NOT_FOUND", f"unknown service '{name[:256]}'"), name[:40])
    equal(dict((k, v.status) for k, v in health("List").statuses.items()), {n: STATUS.SERVING for n in ["", *served()]}, "list")


@case
def nobody_needs_a_token():
    """A bad one is not even looked at; methods that do not exist are unimplemented for anyone."""
    metadata = [("authorization", "Bearer a.b.c")]
    stub = api.channel.unary_unary("/grpc.health.v1.Health/Check")
    equal(stub(b"", timeout=PATIENCE, metadata=metadata), b"\x08\x01", "answer")
    for path in ("/grpc.health.v1.Health/Nope", "/grpc.reflection.v2.X/Y"):
        stub = api.channel.unary_unary(path)
        equal(refusal(lambda: stub(b"", timeout=PATIENCE, metadata=metadata))[0], "UNIMPLEMENTED", path)
    stub = api.channel.unary_unary("/grpc.healthy.X/Y")
    equal(refusal(lambda: stub(b"", timeout=PATIENCE, metadata=metadata))[0], "UNAUTHENTICATED", "another prefix")


@case
def a_watch_of_an_unknown_service_says_so_and_stays():
    w = Watch("nope")
    equal(w.next(), STATUS.SERVICE_UNKNOWN, "status")
    check(w.heard.empty() and w.thread.is_alive(), "the call ended")
    w.call.cancel()
    equal((w.next(), w.end), (None, "CANCELLED"), "end")


@case
def watches_hear_of_a_database_that_is_gone_and_back():
    w = Watch("openshell.v1.OpenShell")
    equal(w.next(), STATUS.SERVING, "at first")
    db = sqlite3.connect(next(gateway.state.rglob("*.db")))
    db.execute("ALTER TABLE objects RENAME TO away")
    db.commit()
    try:
        equal(w.next(), STATUS.NOT_SERVING, "without its table")
        equal(health("Check").status, STATUS.NOT_SERVING, "Check")
    finally:
        db.execute("ALTER TABLE away RENAME TO objects")
        db.commit()
        db.close()
    equal(w.next(), STATUS.SERVING, "with it again")
    w.call.cancel()


def refused(call):
    """What a Watch call that must be refused says; "" when it is not."""
    try:
        next(call)
        return ""
    except grpc.RpcError as e:
        equal(code_of(e), "RESOURCE_EXHAUSTED", "code")
        return e.details()


@case
def one_connection_cannot_take_all_watches():
    client = connect()
    try:
        calls = [health("Watch", client.channel) for _ in range(64)]
        for call in calls:
            equal(next(call).status, STATUS.SERVING, "within the bound")
        contains(refused(health("Watch", client.channel)), "open on this connection (at most 64); end one, or use Check")
        equal(health("Check", client.channel).status, STATUS.SERVING, "Check on that connection")
        w = Watch("")
        equal(w.next(), STATUS.SERVING, "a watch on another connection")
        w.call.cancel()
        calls.pop().cancel()
        wait_for("room for a watch", lambda: not refused(health("Watch", client.channel)), PATIENCE)
    finally:
        client.close()


@case
def watches_are_bounded():
    quiet = []
    try:
        for _ in range(17):
            client = connect()
            quiet.append((client, [health("Watch", client.channel) for _ in range(64)]))
        why = [refused(call) for call in quiet[-1][1]]
        check("too many health watches are open; use Check" in why, f"the last ones: {why}")
        equal(health("Check").status, STATUS.SERVING, "Check")
    finally:
        for client, calls in quiet:
            for call in calls:
                call.cancel()
            client.close()

    def heard():
        try:
            return next(health("Watch")).status == STATUS.SERVING
        except grpc.RpcError:
            return False
    wait_for("room for a watch", heard, PATIENCE)


# --- the end ---

@case
def a_stop_is_told_before_it_comes():
    """Watches hear it, then end UNAVAILABLE; a client that waits for the gateway is served by the next one."""
    w = Watch("")
    equal(w.next(), STATUS.SERVING, "at first")
    gateway.process.send_signal(signal.SIGTERM)
    equal(w.next(), STATUS.NOT_SERVING, "while it ends")
    equal((w.next(), w.end), (None, "UNAVAILABLE"), "the end")
    equal(gateway.process.wait(PATIENCE), 0, "exit status")
    gateway.start()
    stub = api.channel.unary_unary("/grpc.health.v1.Health/Check")
    equal(stub(b"", timeout=PATIENCE, wait_for_ready=True)[:1], b"\x08", "the next gateway")


@case
def a_restart_costs_waiting_clients_no_call():
    """Calls on their way when the gateway says goodbye are answered; later ones wait for the next gateway."""
    wait_for("the first probe", lambda: health("Check").status == STATUS.SERVING, PATIENCE)
    over, failures, answers = threading.Event(), [], [0] * 4

    def hammer(i):
        client = connect()
        stub = client.channel.unary_unary("/openshell.v1.OpenShell/Health")
        while not over.is_set():
            try:
                stub(b"", timeout=PATIENCE, wait_for_ready=True)
                answers[i] += 1
            except grpc.RpcError as e:
                failures.append((code_of(e), e.details()))
        client.close()
    threads = [threading.Thread(target=hammer, args=(i,)) for i in range(len(answers))]
    for t in threads:
        t.start()
    wait_for("the first answers", lambda: min(answers) > 10, PATIENCE)
    for _ in range(3):
        gateway.process.terminate()
        equal(gateway.process.wait(PATIENCE), 0, "exit status")
        before = list(answers)
        gateway.start()
        wait_for("answers of the next gateway", lambda: all(a > b + 10 for a, b in zip(answers, before)), PATIENCE)
    over.set()
    for t in threads:
        t.join(PATIENCE)
    equal(failures, [], "failures")


@case
def the_gateway_stops_clean():
    gateway.process.terminate()
    equal(gateway.process.wait(PATIENCE), 0, "exit status")


def main():
    global gateway, api
    gateway = gateway_or_skip(private, "reflection")
    api = connect()
    private.stack.callback(lambda: api.close())
    suite.run()


main()
