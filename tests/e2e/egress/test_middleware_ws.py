"""Middleware and WebSockets with a real gRPC service: who is asked before the upgrade, what is told of messages, and what
becomes of a session whose stages deny or fail."""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
import world  # noqa: E402
from harness import Suite, check, equal, wait_for  # noqa: E402
from middleware import DENY, DENY_SESSION, INSPECT, SKIP_SESSION  # noqa: E402
from middleware_world import KEY, POLICY, MiddlewareWorld  # noqa: E402
from origins import BINARY, CLOSE, TEXT  # noqa: E402

suite = Suite()


@suite.case
def a_session_from_preflight_to_the_end(w):
    w.fresh()
    since = w.egress.mark()
    c = w.socket(path="/chat/open?q=1", more="Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n")
    equal(c.response.status, 101, "status")
    p = w.service.events[0].preflight
    equal((p.target.scheme, p.target.host, p.target.port, p.target.method, p.target.path, p.target.query),
          ("wss", "mw.test", 4443, "GET", "/chat/open", ""), "target")
    equal((list(p.requested_subprotocols), p.phase, p.middleware_name, p.config["mode"]),
          (["a", "b"], 1, "acme/guard", "strict"), "preflight")
    check(p.session_id and p.context.request_id, "ids")
    check(b"Extensions" not in w.ws.seen[0][1], "an unsafe offer went upstream")
    c.send(TEXT, b"one")
    equal(c.next()[3], b"one", "echo")
    c.send(BINARY, b"\x00\x01")
    equal(c.next()[3], b"\x00\x01", "binary")
    c.send(TEXT, b"two\x00!")
    equal(c.next()[3], b"two\x00!", "echo")
    c.send(CLOSE, b"\x03\xe8")
    equal(c.closed(), 1000, "close")
    wait_for("the end", lambda: w.service.events[-1].HasField("session_end"))
    got = [(e.WhichOneof("event"), e.message.sequence, e.message.text, e.session_end.reason) for e in w.service.events]
    equal(got, [("preflight", 0, "", 0), ("session_start", 0, "", 0), ("message", 1, "one", 0), ("message", 3, "two\x00!", 0),
                ("session_end", 0, "", 1)], "events")
    w.egress.audit("engine:supervisor-middleware", since)
    equal(len(w.service.requests), 1, "the upgrade itself is a request")


@suite.case
def messages_are_replaced_and_denied(w):
    w.fresh()
    service = w.service

    def socket(event, number):
        text = event.message.text
        if text == "bad":
            return service.message(event, DENY, reason_code="no_way")
        if text == "change":
            return service.message(event, text="changed " * 100)
        return service.echo(event, number)
    service.socket = socket
    c = w.socket()
    c.send(TEXT, b"change")
    equal(c.next()[3], b"changed " * 100, "replaced")
    c.send(TEXT, b"bad")
    equal(c.closed(), 1008, "code")
    wait_for("the end", lambda: service.events[-1].HasField("session_end"))
    equal(service.events[-1].session_end.reason, 4, "MIDDLEWARE_DENIAL")
    equal(w.texts(), [b"changed " * 100], "at the origin")


@suite.case
def preflights_decide(w):
    service = w.service
    for action, kw, status, error in ((DENY_SESSION, {"reason_code": "closed"}, 403, "middleware_denied"), (SKIP_SESSION, {}, 101, None),
                                      (0, {}, 403, "middleware_failed"), (INSPECT, {"reason": "x" * 5000}, 403, "middleware_failed")):
        w.fresh()
        service.socket = lambda e, n: service.preflight(action, **kw) if e.HasField("preflight") else None
        c = w.socket()
        equal((action, c.response.status), (action, status), "status")
        if error:
            equal(json.loads(c.response.body)["error"], error, "error")
            equal(w.ws.seen, [], "origin")
        else:
            c.send(TEXT, b"unseen")
            equal(c.next()[3], b"unseen", "echo")
        wait_for("the end", lambda: service.events[-1].HasField("session_end"))
        equal(len(service.events), 2, "events")
        equal(service.events[-1].session_end.reason, {DENY_SESSION: 4, SKIP_SESSION: 10}.get(action, 5), "reason")
    for socket in (lambda e, n: "end", lambda e, n: 1 // 0, lambda e, n: b"\xff", lambda e, n: service.stall() and None):
        w.fresh()
        service.socket = socket
        c = w.socket()
        equal((c.response.status, json.loads(c.response.body)["error"]), (403, "middleware_failed"), "required")
        service.socket = socket
        c = w.socket("open.test")
        equal(c.response.status, 101, "fail_open")
        c.send(TEXT, b"x")
        equal(c.next()[3], b"x", "echo")
        service.released.set()


@suite.case
def endpoints_without_rules_have_their_sessions_too(w):
    w.fresh()
    w.service.socket = lambda e, n: w.service.message(e, text="changed") if e.HasField("message") else w.service.echo(e, n)
    c = w.socket("l4.test")
    c.send(TEXT, b"x")
    equal(c.next()[3], b"changed", "echo")
    c.send(CLOSE, b"\x03\xe8")
    equal(c.closed(), 1000, "close")


@suite.case
def upgrades_that_the_upstream_rejects(w):
    w.fresh()
    equal(w.socket(path="/chat/refuse").response.status, 400, "status")
    wait_for("the end", lambda: w.service.events[-1].HasField("session_end"))
    equal(w.service.events[-1].session_end.reason, 8, "UPSTREAM_REJECTED")


@suite.case
def failing_stages_in_a_session(w):
    service = w.service
    answers = [lambda e: service.message(e, sequence=99), lambda e: service.message(e, 0), lambda e: service.message(e, binary=b"x"),
               lambda e: service.preflight(INSPECT), lambda e: b"\xff", lambda e: "end", lambda e: 1 // 0,
               lambda e: service.message(e, text="x" * 1000001), lambda e: service.stall() and None]
    codes = ["message_result_sequence_mismatch", "invalid_response_decision", "replacement_type_mismatch",
             "unexpected_websocket_response", "external_service_error", "missing_message_result", "external_service_error",
             "response_message_over_capacity", "middleware_timeout"]
    for answer, code in zip(answers, codes):
        for host in ("mw.test", "open.test"):
            w.fresh()
            since = w.egress.mark()
            service.socket = lambda e, n: answer(e) if e.message.text == "now" else service.echo(e, n)
            c = w.socket(host)
            c.send(TEXT, b"fine")
            equal(c.next()[3], b"fine", "before")
            c.send(TEXT, b"now")
            if host == "mw.test":
                equal((code, c.closed()), (code, 1008), "code")
                equal(w.texts(), [b"fine"], "at the origin")
            else:
                equal((code, c.next()[3]), (code, b"now"), "fail_open")
                seen = len(service.events)
                c.send(TEXT, b"later")
                equal(c.next()[3], b"later", "later")
                equal([e.message.text for e in service.events[seen:] if e.HasField("message")], [], "a disabled stage is not asked")
                w.egress.audit("WebSocket middleware stage disabled", since)
            w.said(f"middleware_failed: {code}")
            service.released.set()


@suite.case
def messages_over_capacity(w):
    long = b"x" * 1000001
    w.fresh()
    c = w.socket("open.test")
    c.send(TEXT, long)
    equal(c.next()[3], long, "fail_open")
    c.send(TEXT, b"short")
    equal(c.next()[3], b"short", "still asked")
    equal([e.message.text for e in w.service.events if e.HasField("message")], ["short"], "messages at the service")
    c = w.socket()
    c.send(TEXT, long)
    equal(c.closed(), 1008, "required")


@suite.case
def messages_are_redacted_too(w):
    w.fresh()
    c = w.socket("redact.test")
    c.send(TEXT, f"key {KEY}".encode())
    equal(c.next()[3], b"key [REDACTED]", "echo")
    c.send(TEXT, b"none\x00")
    equal(c.next()[3], b"none\x00", "untouched")
    c = w.socket("two.test")
    w.service.socket = lambda e, n: w.service.message(e, text=f"{e.message.text} {KEY}") if e.message.text else w.service.echo(e, n)
    c.send(TEXT, b"x")
    equal(c.next()[3], b"x [REDACTED]", "both stages")


@suite.case
def sessions_are_bounded(w):
    w.fresh()
    held = [w.socket() for _ in range(32)]
    try:
        equal({c.response.status for c in held}, {101}, "statuses")
        since = w.egress.mark()
        c = w.socket()
        equal((c.response.status, json.loads(c.response.body)["error"]), (403, "middleware_failed"), "the one too many")
        w.egress.audit("middleware_session_capacity_exhausted", since)
        equal(w.socket("open.test").response.status, 101, "fail_open")
    finally:
        for c in held:
            c.sock.close()
    wait_for("permits again", lambda: w.socket().response.status == 101)


@suite.case
def a_reload_ends_sessions(w):
    w.fresh()
    c = w.socket()
    w.egress.reload(POLICY)
    equal(c.closed(), 1012, "code")
    wait_for("POLICY_RELOAD", lambda: any(e.session_end.reason == 3 for e in w.service.events))


if __name__ == "__main__":
    world.main(suite, MiddlewareWorld)
