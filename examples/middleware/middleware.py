#!/usr/bin/env python3
"""A middleware service: denies bodies with a word that the policy's config names, and marks what passes with a header.

    protoc -I proto --python_out=. proto/middleware.proto
    python3 middleware.py 127.0.0.1:7443

It listens in plaintext and checks no tokens, so register it with allow_insecure_transport = true. Needs python3-grpcio and
python3-protobuf."""
import concurrent.futures
import sys

import grpc
import middleware_pb2 as pb

MAX = 1048576  # bytes of a body or message


def word(config):
    return config["deny"] if "deny" in config else "forbidden"


def describe(request, context):
    operation, phase = pb.SupervisorMiddlewareOperation, pb.SupervisorMiddlewarePhase
    return pb.MiddlewareManifest(name="words", service_version="1", bindings=[
        pb.MiddlewareBinding(operation=o, phase=phase.SUPERVISOR_MIDDLEWARE_PHASE_PRE_CREDENTIALS, max_payload_bytes=MAX)
        for o in (operation.SUPERVISOR_MIDDLEWARE_OPERATION_HTTP_REQUEST, operation.SUPERVISOR_MIDDLEWARE_OPERATION_WEBSOCKET_MESSAGE)])


def validate(request, context):
    good = isinstance(word(request.config), str)
    return pb.ValidateConfigResponse(valid=good, reason="" if good else "deny must be a text")


def http(request, context):
    if word(request.config).encode() in request.body:
        return pb.HttpRequestResult(decision=pb.DECISION_DENY, reason_code="word_found")
    mark = pb.WriteHeader(name="x-openshell-middleware-words", value="checked", on_existing=pb.EXISTING_HEADER_ACTION_OVERWRITE)
    return pb.HttpRequestResult(decision=pb.DECISION_ALLOW, header_mutations=[pb.HeaderMutation(write=mark)])


def websocket(events, context):
    denied = ""
    for event in events:
        if event.HasField("preflight"):
            denied = word(event.preflight.config)
            yield pb.WebSocketSessionEventResult(preflight_decision=pb.WebSocketPreflightDecision(
                action=pb.WEB_SOCKET_PREFLIGHT_ACTION_INSPECT))
        elif event.HasField("message"):
            bad = denied in event.message.text
            yield pb.WebSocketSessionEventResult(message_result=pb.WebSocketMessageResult(
                sequence=event.message.sequence, decision=pb.DECISION_DENY if bad else pb.DECISION_ALLOW))


def main():
    handlers = {}
    for method in pb.DESCRIPTOR.services_by_name["SupervisorMiddleware"].methods:
        kind = "stream_stream" if method.client_streaming else "unary_unary"
        function = {"Describe": describe, "ValidateConfig": validate, "EvaluateHttpRequest": http, "EvaluateWebSocketSession": websocket}
        handlers[method.name] = getattr(grpc, kind + "_rpc_method_handler")(
            function[method.name], method.input_type._concrete_class.FromString, lambda m: m.SerializeToString())
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(32))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
        "openshell.middleware.v1.SupervisorMiddleware", handlers),))
    if not server.add_insecure_port(sys.argv[1]):
        sys.exit(f"cannot listen on {sys.argv[1]}")
    server.start()
    server.wait_for_termination()


main()
