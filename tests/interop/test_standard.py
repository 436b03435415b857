#!/usr/bin/env python3
"""The standard services of gRPC as a stock client sees them: health, and reflection good enough to call the API by it."""
import pathlib
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import client  # noqa: E402, F401 (settles the interpreter)
import grpc  # noqa: E402
from client import Gateway, load_messages, refusal  # noqa: E402
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: E402
from harness import Private, Suite, check, equal  # noqa: E402

suite = Suite()
case = suite.case
private = Private("standard")
load_messages(private)
import health_pb2  # noqa: E402 (generated just now)
import reflection_pb2  # noqa: E402

gateway = channel = None
SERVED = {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
          "openshell.v1.OpenShell", "openshell.inference.v1.Inference"}


def open_channel():
    credentials = grpc.ssl_channel_credentials(*(p.read_bytes() for p in (gateway.ca, gateway.key, gateway.cert)))
    return grpc.secure_channel(f"127.0.0.1:{gateway.port}", credentials, [("grpc.use_local_subchannel_pool", 1)])


def method(kind, path, answer):
    return getattr(channel, kind)(path, request_serializer=lambda x: x.SerializeToString(), response_deserializer=answer.FromString)


def check_health(service=""):
    return method("unary_unary", "/grpc.health.v1.Health/Check", health_pb2.HealthCheckResponse)(
        health_pb2.HealthCheckRequest(service=service), timeout=20).status


def reflect(*requests, version="v1"):
    call = method("stream_stream", f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                  reflection_pb2.ServerReflectionResponse)
    return list(call(iter(requests), timeout=20))


def ask(**fields):
    return reflection_pb2.ServerReflectionRequest(host="h", **fields)


@case
def health_of_the_server_and_of_each_service():
    for service in {""} | SERVED:
        equal(check_health(service), health_pb2.HealthCheckResponse.SERVING, service)
    equal(refusal(lambda: check_health("openshell.compute.v1.ComputeDriver"))[0], "NOT_FOUND", "not served here")
    equal(refusal(lambda: check_health("no.such"))[0], "NOT_FOUND", "unknown")


@case
def services_are_listed_once():
    for version in ("v1", "v1alpha"):
        r, = reflect(ask(list_services="*"), version=version)
        equal((r.valid_host, r.original_request.list_services), ("h", "*"), "echo")
        names = [s.name for s in r.list_services_response.service]
        equal((set(names), len(names)), (SERVED, len(SERVED)), "services")


@case
def a_client_is_built_from_reflection_alone():
    r, = reflect(ask(file_containing_symbol="openshell.v1.OpenShell"))
    pool = descriptor_pool.DescriptorPool()
    files = {}
    for data in r.file_descriptor_response.file_descriptor_proto:
        f = descriptor_pb2.FileDescriptorProto.FromString(data)
        files[f.name] = f

    def add(name):
        for needed in files[name].dependency:
            add(needed)
        try:
            pool.FindFileByName(name)
        except KeyError:
            pool.Add(files[name])

    add("openshell.proto")
    health = pool.FindServiceByName("openshell.v1.OpenShell").methods_by_name["Health"]
    factory = message_factory.MessageFactory(pool)
    request, answer = factory.GetPrototype(health.input_type), factory.GetPrototype(health.output_type)
    equal(method("unary_unary", "/openshell.v1.OpenShell/Health", answer)(request(), timeout=20).status, 1, "HEALTHY")


@case
def every_kind_of_question():
    requests = [ask(file_by_filename="health.proto"), ask(file_by_filename="store.proto"), ask(file_by_filename="../x"),
                ask(file_containing_symbol="openshell.v1.OpenShell.Health"), ask(file_containing_symbol="openshell.v1.Nothing"),
                ask(file_containing_extension={"containing_type": "google.protobuf.MethodOptions", "extension_number": 1}),
                ask(all_extension_numbers_of_type="google.protobuf.MethodOptions"), ask(all_extension_numbers_of_type="no.Such"), ask()]
    kinds = [r.WhichOneof("message_response") for r in reflect(*requests)]
    found, missing = "file_descriptor_response", "error_response"
    equal(kinds, [found, missing, missing, found, missing, missing, "all_extension_numbers_response", missing, missing], "answers")
    r = reflect(requests[6])[0].all_extension_numbers_response
    check(len(r.extension_number) >= 1, f"extensions: {r}")
    again = ask(file_containing_extension={"containing_type": "google.protobuf.MethodOptions",
                                           "extension_number": r.extension_number[0]})
    f = descriptor_pb2.FileDescriptorProto.FromString(reflect(again)[0].file_descriptor_response.file_descriptor_proto[0])
    equal(f.name, "options.proto", "the file of an extension")


@case
def many_questions_on_one_stream():
    """Far more than fits into a window: the answers wait for the reader, and all of them come."""
    n = 500
    equal(len(reflect(*[ask(file_containing_symbol="openshell.v1.OpenShell")] * n)), n, "answers")


@case
def a_watcher_hears_of_the_end_before_it_comes():
    global channel
    watch = method("unary_stream", "/grpc.health.v1.Health/Watch", health_pb2.HealthCheckResponse)
    unknown = watch(health_pb2.HealthCheckRequest(service="no.such"), timeout=60)
    equal(next(unknown).status, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN, "unknown service")
    events = watch(health_pb2.HealthCheckRequest(), timeout=60)
    equal(next(events).status, health_pb2.HealthCheckResponse.SERVING, "before")
    gateway.process.send_signal(signal.SIGTERM)
    equal(next(events).status, health_pb2.HealthCheckResponse.NOT_SERVING, "after")
    equal(refusal(lambda: events)[0], "UNAVAILABLE", "end of the stream")
    equal(gateway.process.wait(20), 0, "exit code")
    gateway.start()
    channel.close()
    channel = open_channel()
    equal(check_health(), health_pb2.HealthCheckResponse.SERVING, "a new gateway")


if __name__ == "__main__":
    gateway = Gateway(private).start()
    channel = open_channel()
    try:
        suite.run()
    finally:
        channel.close()
