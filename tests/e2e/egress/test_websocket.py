"""WebSockets: who may upgrade, which messages pass, what ends a session and with which code, and that nothing but what was
judged reaches the origin."""
import json
import pathlib
import sys
import time
import zlib

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
from harness import Suite, check, contains, equal, wait_for  # noqa: E402
from origins import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, WebSocketClient, ws_frame  # noqa: E402
from world import POLICY, main  # noqa: E402

suite = Suite()


def fresh(w):
    for o in (w.ws, w.ws_plain):
        with o.lock:
            o.seen, o.raw, o.frames = [], b"", []


def client(w, host="ws.test", path="/chat/open", more="", **kw):
    fresh(w)
    return WebSocketClient(w.egress.tls(f"{host}:4443"), f"{host}:4443", path, more, **kw)


def arrived(w):
    return [(opcode, payload) for opcode, _, _, payload, _ in w.ws.frames]


def deflate(text):
    z = zlib.compressobj(wbits=-15)
    return (z.compress(text) + z.flush(zlib.Z_SYNC_FLUSH))[:-4]


# --- the upgrade ---

@suite.case
def an_allowed_upgrade_and_its_messages(w):
    since = w.egress.mark()
    c = client(w)
    equal(c.response.status, 101, "status")
    c.send(TEXT, b"hello")
    equal(c.next()[:4], (TEXT, True, 0, b"hello"), "echo")
    equal(w.ws.frames[0][4], ws_frame(TEXT, b"hello"), "the frame arrives as it was sent")
    c.send(CLOSE, b"\x03\xe8bye")
    equal(c.closed(), 1000, "close code")
    w.egress.audit("[policy:bodies engine:l7-websocket]", since)
    w.egress.audit("HTTP:WEBSOCKET_TEXT [INFO] ALLOWED", since)


@suite.case
def upgrades_are_judged_by_path(w):
    r = client(w, path="/other").response
    equal((r.status, json.loads(r.body)["detail"]), (403, "GET /other not permitted by policy"), "path")
    equal(w.ws.seen, [], "origin")


@suite.case
def a_websocket_endpoint_takes_nothing_else(w):
    fresh(w)
    for head in ("GET /chat/open HTTP/1.1\r\n", "POST /chat/open HTTP/1.1\r\nContent-Length: 0\r\n",
                 "GET /chat/open HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
                 "GET /chat/open HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: short\r\n"
                 "Sec-WebSocket-Version: 13\r\n",
                 "GET /chat/open HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                 "Sec-WebSocket-Version: 13\r\n",
                 "GET /chat/open HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
                 "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 12\r\n"):
        r = w.egress.request("ws.test:4443", f"{head}Host: ws.test:4443\r\n\r\n".encode())
        equal((r.status, json.loads(r.body)["detail"]),
              (403, "websocket endpoint requires a valid WebSocket upgrade request"), head)
    equal(w.ws.seen, [], "origin")


@suite.case
def an_upstream_that_declines_answers_as_usual(w):
    equal(client(w, path="/chat/refuse").response.status, 400, "status")


@suite.case
def wrong_answers_to_an_upgrade_reach_nobody(w):
    for path in ("/chat/wrongkey", "/chat/extension", "/chat/protocol"):
        try:
            status = client(w, path=path).response.status
        except (AssertionError, OSError):
            status = None
        check(status != 101, f"{path}: a wrong 101 was passed on")


@suite.case
def extensions_are_reduced_to_the_safe_offer(w):
    c = client(w, more="Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10, x, permessage-deflate; "
                       "client_no_context_takeover\r\n")
    contains(w.ws.seen[0][1].decode(), "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover")
    equal(w.ws.seen[0][1].count(b"Extensions"), 1, "offers")
    c.send(TEXT, deflate(b"hello " * 100), rsv=4)
    opcode, fin, rsv, payload, masked = c.next()
    equal((opcode, rsv, zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")), (TEXT, 4, b"hello " * 100), "echo")
    client(w, more="Sec-WebSocket-Extensions: x-webkit-deflate-frame, permessage-deflate\r\n")
    check(b"Extensions" not in w.ws.seen[0][1], "an offer that keeps a context went upstream")


# --- messages ---

@suite.case
def a_refused_message_ends_the_session_with_1008(w):
    since = w.egress.mark()
    c = client(w, path="/chat/closed")
    equal(c.response.status, 101, "status")
    c.send(TEXT, b"secret text")
    equal(c.closed(), 1008, "close code")
    wait_for("the close upstream", lambda: w.ws.frames)
    equal(arrived(w), [(CLOSE, b"\x03\xf0")], "frames at the origin")
    line = w.egress.audit("HTTP:WEBSOCKET_TEXT [MED] DENIED", since)
    contains(line, "[reason:WEBSOCKET_TEXT /chat/closed not permitted by policy]")
    check("secret" not in line, "the event holds the message")


@suite.case
def fragments_are_judged_as_one_message(w):
    c = client(w)
    c.send(TEXT, b"he", fin=False)
    c.send(PING, b"in between")
    c.send(CONTINUATION, b"llo", fin=False)
    c.send(CONTINUATION, b"")
    frames = [c.next()[:4] for _ in range(2)]
    equal(sorted(frames), [(TEXT, True, 0, b"hello"), (PING, True, 0, b"in between")], "echoes")
    closed = client(w, path="/chat/closed")
    closed.send(TEXT, b"x", fin=False)
    time.sleep(0.2)
    equal(arrived(w), [], "a fragment went ahead of the judgement")
    closed.send(CONTINUATION, b"y")
    equal(closed.closed(), 1008, "close code")


@suite.case
def binary_and_control_frames_pass(w):
    c = client(w)
    big = bytes(range(256)) * 400
    c.send(BINARY, big, fin=False)
    c.send(PONG, b"p")
    c.send(CONTINUATION, b"end")
    got = [c.next() for _ in range(3)]
    equal([g[0] for g in got], [BINARY, PONG, CONTINUATION], "opcodes")
    equal(len(got[0][3]), len(big), "length")


@suite.case
def binary_messages_pass_where_text_would(w):
    """Servers turn what arrives into text, so that a rule for texts would hold nothing back."""
    c = client(w, path="/chat/closed")
    c.send(BINARY, b"text in disguise")
    equal(c.closed(), 1008, "no text allowed")
    since = w.egress.mark()
    c = client(w, "wsgql.test", "/graphql")
    c.send(BINARY, json.dumps({"type": "subscribe", "id": "1", "payload": {"query": "subscription { news }"}}).encode())
    equal(c.closed(), 1008, "what would be looked into")
    w.egress.audit("[reason:GraphQL request rejected: binary WebSocket messages are not supported]", since)
    check(all(opcode == CLOSE for opcode, _ in arrived(w)), f"{arrived(w)} went upstream")


@suite.case
def large_messages(w):
    c = client(w)
    text = b"0123456789" * 100000
    c.send(TEXT, text)
    equal(c.next()[3] == text, True, "1 MB comes back")
    c.send(TEXT, b"a" * (4 << 20), fin=False)
    c.send(CONTINUATION, b"a")
    equal(c.closed(), 1009, "over 4 MiB")


@suite.case
def what_inflates_without_end_is_too_big(w):
    c = client(w, more="Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n")
    c.send(TEXT, deflate(b"\0" * (8 << 20)), rsv=4)
    equal(c.closed(), 1009, "close code")


@suite.case
def broken_frames_end_the_session(w):
    for why, code, data in (
            ("unmasked_client_frame", 1002, ws_frame(TEXT, b"x", mask=None)),
            ("rsv_bits", 1002, ws_frame(TEXT, b"x", rsv=4)),
            ("rsv_bits", 1002, ws_frame(TEXT, b"x", rsv=1)),
            ("reserved_opcode", 1002, ws_frame(3, b"x")),
            ("invalid_length", 1002, ws_frame(TEXT, b"x", length=(126, 1))),
            ("invalid_length", 1002, ws_frame(TEXT, b"x", length=(127, 1 << 63))),
            ("invalid_control_frame", 1002, ws_frame(PING, b"x" * 126)),
            ("invalid_control_frame", 1002, ws_frame(PING, b"x", fin=False)),
            ("invalid_fragmentation", 1002, ws_frame(CONTINUATION, b"x")),
            ("invalid_fragmentation", 1002, ws_frame(TEXT, b"x", fin=False) + ws_frame(TEXT, b"y")),
            ("invalid_close_frame", 1002, ws_frame(CLOSE, b"x")),
            ("invalid_close_frame", 1002, ws_frame(CLOSE, b"\x03\xed")),
            ("invalid_utf8", 1007, ws_frame(TEXT, b"\xc0\x80")),
            ("invalid_utf8", 1007, ws_frame(TEXT, b"\xe2\x82", fin=False) + ws_frame(CONTINUATION, b"x"))):
        since = w.egress.mark()
        c = client(w)
        c.sock.sendall(data)
        equal(c.closed(), code, why)
        w.egress.audit(f"reason:{why}", since)
        check(all(opcode == CLOSE for opcode, _ in arrived(w)), f"{why}: {arrived(w)} went upstream")


@suite.case
def operations_over_a_websocket(w):
    def message(**kw):
        return json.dumps(kw).encode()

    c = client(w, "wsgql.test", "/graphql")
    for text in (message(type="connection_init"), message(type="subscribe", id="1", payload={"query": "subscription { news }"}),
                 message(type="complete", id="1"), message(type="ping")):
        c.send(TEXT, text)
        equal(c.next()[3], text, "echo")
    for text in (message(type="subscribe", id="1", payload={"query": "subscription { other }"}),
                 message(type="subscribe", id="1", payload={"query": "mutation { news }"}),
                 message(type="subscribe", id="", payload={"query": "subscription { news }"}),
                 message(type="unknown"), message(id="1"), b"news", b"{"):
        c = client(w, "wsgql.test", "/graphql")
        c.send(TEXT, text)
        equal(c.closed(), 1008, text)
        check(all(opcode == CLOSE for opcode, _ in arrived(w)), f"{text} went upstream")


# --- other endpoints and entry ways ---

@suite.case
def a_rest_endpoint_relays_an_allowed_upgrade_as_it_is(w):
    since = w.egress.mark()
    c = client(w, "wsraw.test", "/raw", more="Sec-WebSocket-Extensions: permessage-deflate\r\n")
    equal(c.response.status, 101, "status")
    contains(w.ws.seen[0][1].decode(), "Sec-WebSocket-Extensions: permessage-deflate")
    c.sock.sendall(b"\x81\x85\x00\x00\x00\x00hello")
    equal(c.next()[3], b"hello", "echo")
    w.egress.audit("-> GET https://wsraw.test:4443/raw [policy:bodies engine:l7-websocket]", since)
    equal(client(w, "wsraw.test", "/other").response.status, 403, "another path")


@suite.case
def absolute_form_may_upgrade_too(w):
    fresh(w)
    c = WebSocketClient(w.egress.dial(), "ws.test:8081", "http://ws.test:8081/chat/open")
    equal(c.response.status, 101, "status")
    c.send(TEXT, b"hello")
    equal(c.next()[3], b"hello", "echo")
    c = WebSocketClient(w.egress.dial(), "ws.test:8081", "http://ws.test:8081/chat/closed")
    c.send(TEXT, b"hello")
    equal(c.closed(), 1008, "close code")


@suite.case
def a_new_policy_ends_sessions_with_1012(w):
    c = client(w)
    raw = WebSocketClient(w.egress.tls("wsraw.test:4443"), "wsraw.test:4443", "/raw")
    c.send(TEXT, b"hello")
    c.next()
    try:
        w.egress.reload(POLICY + "\n")
        equal(c.closed(), 1012, "close code")
        equal(raw.closed(), None, "a raw relay just ends")
    finally:
        w.egress.reload(POLICY)


@suite.case
def a_message_that_waited_is_judged_by_the_new_policy(w):
    """32 messages are being put together, the next one waits for a place while the policy changes."""
    holders = []
    for _ in range(32):
        holders.append(WebSocketClient(w.egress.tls("ws.test:4443"), "ws.test:4443", "/chat/open"))
        holders[-1].send(TEXT, b"x", fin=False)
    time.sleep(0.3)
    c = client(w)
    c.send(TEXT, b"late")
    time.sleep(0.2)
    try:
        w.egress.reload(POLICY.replace('"/chat/open"', '"/chat/none"'))
        equal(c.closed(), 1012, "close code")
        check(all(opcode == CLOSE for opcode, _ in arrived(w)), f"{arrived(w)} went upstream")
    finally:
        w.egress.reload(POLICY)


@suite.case
def sessions_end_when_either_side_goes(w):
    c = client(w)
    c.sock.close()
    c = client(w)
    c.send(CLOSE, b"")
    equal(c.closed(), 0, "close without a code")
    equal(c.next(), None, "end")


if __name__ == "__main__":
    main(suite)
