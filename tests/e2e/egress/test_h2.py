"""HTTP/2 through the inspecting proxy: which protocol is spoken, rules on every stream, what passes both ways and what a
hostile peer on either side achieves. Clients are curl, gRPC and python3-h2."""
import contextlib
import json
import pathlib
import struct
import sys
import time
import ssl

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
import world  # noqa: E402
from harness import Authority, Private, Suite, check, contains, equal, run, wait_for  # noqa: E402
from h2_peers import (CONTINUATION, DATA, GOAWAY, HEADERS, PING, RST, SETTINGS, H2Client, H2Origin, frame)  # noqa: E402
from world import PUBLIC, Egress  # noqa: E402

suite = Suite()
world.HOSTS.update({"h2.test": PUBLIC, "plain2.test": PUBLIC, "rpc.test": PUBLIC, "grpc.test": PUBLIC})

# Ports say what the origin speaks: 8443 both, 8444 h2 alone, 8445 http/1.1 alone, 8446 gRPC.
POLICY = """
version: 1
network_policies:
  api:
    endpoints:
      - {host: h2.test, ports: [8443, 8444, 8445], protocol: rest, enforcement: enforce, rules: [
          {allow: {method: GET, path: "/**"}}, {allow: {method: POST, path: "/v1/*"}}, {allow: {method: POST, path: "/hold*"}},
          {allow: {method: POST, path: "/early"}}],
          deny_rules: [{method: "*", path: "/admin/**"}]}
      - {host: grpc.test, port: 8446, protocol: rest, enforcement: enforce, rules: [
          {allow: {method: POST, path: "/t.Echo/*"}}], deny_rules: [{method: POST, path: /t.Echo/Secret}]}
      - {host: rpc.test, port: 8443, protocol: json-rpc, enforcement: enforce, rules: [
          {allow: {method: initialize}}]}
      - {host: plain2.test, port: 8443}
    binaries: [{path: /usr/bin/curl}]
"""


class H2World:
    def __init__(self):
        check(run("ip", "address", "add", f"{PUBLIC}/32", "dev", "lo").code == 0, "ip address add")
        self.private = Private("egress-h2")
        self.authority = Authority(self.private.dir)
        self.cert, self.key = self.authority.issue("h2.test", "plain2.test", "rpc.test", "grpc.test")
        self.origin = H2Origin(PUBLIC, 8443, self.cert, self.key, ("h2", "http/1.1"))
        self.h2only = H2Origin(PUBLIC, 8444, self.cert, self.key, ("h2",))
        self.h1only = H2Origin(PUBLIC, 8445, self.cert, self.key, ("http/1.1",))
        self.egress = Egress(self.private, self.authority, policy=POLICY)

    def fresh(self):
        self.origin.seen.clear()
        self.origin.resets.clear()
        self.origin.hold.clear()
        self.origin.got = 0

    def client(self, target="h2.test:8443", **kw):
        return H2Client(self.egress.tls(target, alpn=("h2", "http/1.1")), **kw)

    def paths(self):
        return [f"{s[0]} {s[1]}" for s in self.origin.seen]

    def curl(self, *argv):
        return run("curl", "-sS", "--max-time", "20", "--proxy", f"http://127.0.0.1:{self.egress.port}", "--cacert",
                   self.egress.ca_dir / "openshell-ca.pem", *argv)


# --- which protocol ---

@suite.case
def both_sides_speak_what_both_know(w):
    for port, offers, want in ((8443, ("h2", "http/1.1"), "h2"), (8443, ("http/1.1",), "http/1.1"), (8443, (), None),
                               (8443, ("h2",), "h2"), (8444, ("h2", "http/1.1"), "h2"), (8444, ("h2",), "h2"),
                               (8445, ("h2", "http/1.1"), "http/1.1")):
        with w.egress.tls(f"h2.test:{port}", alpn=offers) as s:
            equal(s.selected_alpn_protocol(), want, f"client {offers}, port {port}")


@suite.case
def http1_client_and_h2_upstream(w):
    w.fresh()
    r = w.egress.request("h2.test:8443", b"GET /x HTTP/1.1\r\nHost: h2.test:8443\r\n\r\n")
    equal(r.body, b"in HTTP1", "body")
    r = w.egress.request("h2.test:8445", b"GET /x HTTP/1.1\r\nHost: h2.test:8445\r\n\r\n", alpn=("h2", "http/1.1"))
    equal(r.body, b"in HTTP1", "fallback")


@suite.case
def h2_only_client_needs_an_h2_upstream(w):
    since = w.egress.mark()
    try:
        w.egress.tls("h2.test:8445", alpn=("h2",))
        raise AssertionError("the handshake was accepted")
    except ssl.SSLError as why:
        contains(str(why).lower(), "no application protocol")
    w.egress.audit("client offers h2 alone", since)


@suite.case
def wrong_name_is_refused_before_the_upstream_hears_of_it(w):
    since = w.egress.mark()
    before = len(w.origin.conns)
    try:
        w.egress.tls("h2.test:8443", sni="rpc.test", alpn=("h2",))
        raise AssertionError("the handshake was accepted")
    except ssl.SSLError as why:
        contains(str(why).lower(), "unrecognized name")
    w.egress.audit("TLS server name differs from the CONNECT host", since)
    equal(len(w.origin.conns), before, "connections at the origin")


# --- rules ---

@suite.case
def curl_is_judged(w):
    w.fresh()
    since = w.egress.mark()
    r = w.curl("--http2", "-w", "\n%{http_version} %{http_code}", "https://h2.test:8443/a/../b?q=1")
    equal(r.out, "origin saw GET /b?q=1 with 0 bytes\n2 200", "allowed")
    line = w.egress.audit("HTTP:GET [INFO] ALLOWED", since)
    equal(line, "HTTP:GET [INFO] ALLOWED /usr/bin/curl(64) -> GET https://h2.test:8443/b [policy:api engine:l7]", "event")
    r = w.curl("--http2", "-D", "-", "-X", "DELETE", "https://h2.test:8443/x?token=1")
    head, body = r.out.replace("\r", "").split("\n\n")[-2:]
    contains(head, "HTTP/2 403")
    contains(head, "x-openshell-policy: api")
    contains(head, "content-type: application/json")
    h1 = w.egress.request("h2.test:8443", b"DELETE /x?token=1 HTTP/1.1\r\nHost: h2.test:8443\r\n\r\n")
    equal(json.loads(body), json.loads(h1.body), "the same body as in HTTP/1")
    w.egress.audit("HTTP:DELETE [MED] DENIED /usr/bin/curl(64) -> DELETE https://h2.test:8443/x [policy:api engine:l7] "
                   "[reason:DELETE /x not permitted by policy]", since)
    equal(w.paths(), ["GET /b?q=1"], "origin")


@suite.case
def a_denied_stream_leaves_the_others_alone(w):
    w.fresh()
    with w.client() as c:
        never, denied, upload = c.headers("GET", "/never"), c.headers("GET", "/admin/x"), c.headers("POST", "/v1/a", end=False)
        a = c.answer(denied)
        equal((a.status, json.loads(a.body)["detail"]), (403, "GET /admin/x blocked by deny rule"), "denied")
        equal(c.data(upload, b"x" * 1000, end=True), 0, "left to send")
        equal(c.answer(upload).body, b"origin saw POST /v1/a with 1000 bytes", "upload")
        bad = c.headers("POST", "/other", end=False)
        equal(c.answer(bad).status, 403, "denied before its body")
        equal(c.ask("GET", "/z").status, 200, "next")
        check(not c.answers[never].done, "the open stream ended")
    equal(w.paths(), ["GET /never", "POST /v1/a", "GET /z"], "origin")


@suite.case
def upstream_sees_the_path_that_was_judged(w):
    w.fresh()
    with w.client() as c:
        for raw, status in (("/%61dmin/x", 403), ("/v1/../admin/x", 403), ("/a/%2e/b;x=y/./c", 200), ("/a%2Fb", 400),
                            ("/../x", 400), ("/a#b", 400), ("*", 400), ("x", 400), ("https://h2.test:8443/x", 400)):
            a = c.ask("GET", raw)
            check(a.status == status or (status == 400 and a.reset), f"{raw}: {a.status}")
    equal(w.paths(), ["GET /a/b/c"], "origin")


@suite.case
def only_the_endpoint_of_the_tunnel(w):
    w.fresh()
    with w.client() as c:
        for authority in ("other.test:8443", "h2.test", "h2.test:443", "rpc.test:8443"):
            since = w.egress.mark()
            a = c.ask("GET", "/x", authority=authority)
            equal((a.status, json.loads(a.body)["error"]), (403, "request_authority_mismatch"), authority)
            w.egress.audit("request authority mismatch", since)
        equal(c.ask("GET", "/x", authority="user@h2.test:8443").status, 400, "user info")
        equal(c.ask("GET", "/x", more=[("host", "other.test")]).status, 400, "another Host")
        equal(c.ask("GET", "/x", more=[("host", "h2.test:8443")]).status, 200, "the same Host")
        equal(c.ask("GET", "/x", authority="H2.test:8443").status, 200, "case")
    equal(w.paths(), ["GET /x", "GET /x"], "origin")
    equal(w.origin.seen[0][2].get("host"), None, "Host at the origin")


@suite.case
def malformed_requests_end_their_stream_only(w):
    w.fresh()
    base = {":method": "GET", ":scheme": "https", ":authority": "h2.test:8443", ":path": "/x"}

    def bad(change=(), more=(), drop=()):
        f = {**base, **dict(change)}
        return [(k, v) for k, v in f.items() if k not in drop] + list(more)
    cases = {
        "scheme http": bad({":scheme": "http"}), "no path": bad(drop=[":path"]), "no method": bad(drop=[":method"]),
        "no scheme": bad(drop=[":scheme"]), "no authority": bad(drop=[":authority"]), "empty path": bad({":path": ""}),
        "unknown pseudo": bad(more=[(":x", "y")])[:4] + [(":x", "y")], "pseudo twice": bad(more=[(":path", "/y")]),
        "pseudo late": bad(more=[("a", "b"), (":path", "/y")]), "upper case": bad(more=[("X-A", "b")]),
        "connection": bad(more=[("connection", "close")]), "keep-alive": bad(more=[("keep-alive", "1")]),
        "transfer-encoding": bad(more=[("transfer-encoding", "chunked")]), "upgrade": bad(more=[("upgrade", "h2c")]),
        "te": bad(more=[("te", "gzip")]), "line feed": bad(more=[("a", "b\nc: d")]), "nul": bad(more=[("a", "b\0")]),
        "name with colon": bad(more=[("a:b", "c")]), "status": bad(more=[(":status", "200")]),
        "CONNECT": [(":method", "CONNECT"), (":authority", "h2.test:8443")],
        "extended CONNECT": bad({":method": "CONNECT"}, drop=[":path"])[:3] + [(":path", "/x"), (":protocol", "websocket")],
        "method": bad({":method": "G ET"}), "length": bad(more=[("content-length", "x")]),
        "length twice": bad(more=[("content-length", "0"), ("content-length", "0")]),
        "length without body": bad(more=[("content-length", "5")]),
    }
    with w.client() as c:
        for name, fields in cases.items():
            since = w.egress.mark()
            a = c.answer(c.fields(fields))
            check(a.reset is not None or a.status == 400, f"{name}: {a.status} {a.fields}")
            w.egress.audit("http-parser", since)
        equal(c.ask("GET", "/good").status, 200, "the connection goes on")
    equal(w.paths(), ["GET /good"], "origin")


@suite.case
def bodies_that_rules_look_at_are_read_first(w):
    w.fresh()
    since = w.egress.mark()
    call = b'{"jsonrpc":"2.0","id":1,"method":"initialize"}'
    with w.client("rpc.test:8443") as c:
        args = {"authority": "rpc.test:8443", "end": False}
        stream = c.headers("POST", "/rpc", more=[("expect", "100-continue")], **args)
        c.until("100", lambda: c.answers[stream].interim)
        for i in range(0, len(call), 10):
            c.data(stream, call[i:i + 10])
        equal(w.paths(), [], "origin before the judgement")
        c.data(stream, b"", end=True)
        equal(c.answer(stream).body, b"origin saw POST /rpc with %d bytes" % len(call), "allowed")
        w.egress.audit("HTTP:POST [INFO] ALLOWED", since)
        fields = w.origin.seen[0][2]
        equal((fields["content-length"], fields.get("expect")), ([str(len(call))], None), "fields")
        stream = c.headers("POST", "/rpc", **args)
        c.data(stream, b"not JSON", end=True)
        equal(c.answer(stream).status, 403, "not understood")
        stream = c.headers("POST", "/rpc", **args)
        c.data(stream, b" " * 70000)
        a = c.answer(stream)
        equal(a.status, 400, "too long")
        contains(a.body.decode(), "HTTP request body exceeds 65536 byte inspection limit")
        equal(c.answer(c.headers("POST", "/rpc", more=[("content-length", "70000")], **args)).status, 400, "announced")
    equal(w.paths(), ["POST /rpc"], "origin")


@suite.case
def uninspected_streams_are_relayed_and_logged(w):
    w.fresh()
    since = w.egress.mark()
    with w.client("plain2.test:8443") as c:
        for i in range(2):
            equal(c.ask("DELETE", f"/any/{i}", authority="plain2.test:8443").status, 200, "status")
            w.egress.audit(f"DELETE https://plain2.test:8443/any/{i}", since)
        equal(c.ask("GET", "/x", authority="h2.test:8443").status, 403, "authority still counts")


# --- what passes ---

@suite.case
def big_bodies_both_ways_at_once(w):
    w.fresh()
    with w.client() as c:
        down = [c.headers("GET", "/big") for _ in range(3)]
        up = c.headers("POST", "/v1/up", end=False)
        equal(c.data(up, b"z" * 3000000, end=True), 0, "left to send")
        for s in down:
            equal(c.answer(s, 30).body, b"0123456789" * 300000, "download")
        equal(c.answer(up, 30).body, b"origin saw POST /v1/up with 3000000 bytes", "upload")


@suite.case
def a_stalled_stream_stops_only_itself(w):
    """Nothing is granted that the other side has not taken."""
    w.fresh()
    with w.client(auto=False) as c:
        stalled = c.headers("GET", "/big")
        c.until("the window to fill", lambda: len(c.answers[stalled].body) >= 65535)
        for i in range(3):
            equal(c.ask("HEAD", f"/x{i}").fields["content-length"], "1000", "another stream")
        equal(len(c.answers[stalled].body), 65535, "bytes beyond the window")
        c.auto = True
        c.h.increment_flow_control_window(65535, stalled)
        c.h.increment_flow_control_window(65535)
        c.flush()
        equal(len(c.answer(stalled, 30).body), 3000000, "rest")


@suite.case
def an_upstream_that_does_not_read_stops_the_client(w):
    w.fresh()
    with w.client() as c:
        stream = c.headers("POST", "/hold", end=False)
        left = c.data(stream, b"h" * 2000000)
        sent = 2000000 - left
        check(65535 <= sent <= 262144 + 65535 + 32768, f"{sent} bytes were taken")
        equal(c.ask("GET", "/x").status, 200, "another stream")
        w.origin.hold.set()
        equal(c.data(stream, b"h" * left, end=True), 0, "left to send")
        wait_for("the whole body", lambda: w.origin.got == 2000000)
    w.origin.hold.clear()


@suite.case
def trailers_and_interim_responses_pass(w):
    w.fresh()
    with w.client() as c:
        a = c.ask("GET", "/trailers")
        equal((a.body, a.trailers), (b"body", {"x-sum": "abc"}), "response")
        equal(c.ask("GET", "/interim").interim, [{":status": "103", "link": "x"}], "interim")
        stream = c.headers("POST", "/v1/t", more=[("te", "trailers"), ("expect", "100-continue"), ("trailer", "x-t")],
                           end=False)
        c.until("100", lambda: c.answers[stream].interim)
        c.data(stream, b"data")
        c.h.send_headers(stream, [("x-t", "1")], end_stream=True)
        c.flush()
        equal(c.answer(stream).status, 200, "status")
    method, path, fields, body, trailers = w.origin.seen[-1]
    equal((body, trailers, fields["te"], fields["trailer"]), (b"data", {"x-t": "1"}, ["trailers"], ["x-t"]), "request")


@suite.case
def resets_pass_both_ways(w):
    w.fresh()
    with w.client() as c:
        equal(c.ask("GET", "/reset").reset, 8, "CANCEL from the upstream")
        equal(c.ask("GET", "/refuse").reset, 7, "REFUSED_STREAM from the upstream")
        stream = c.headers("GET", "/never")
        wait_for("the request", lambda: "GET /never" in w.paths())
        c.h.reset_stream(stream, 8)
        c.flush()
        wait_for("CANCEL at the upstream", lambda: w.origin.resets == [8])
        early = c.headers("POST", "/early", end=False)
        a = c.answer(early)
        equal((a.status, a.body), (413, b"early"), "early answer")
        equal(c.ask("GET", "/x").status, 200, "next")


@suite.case
def an_upstream_that_leaves_lets_streams_finish(w):
    w.fresh()
    with w.client() as c:
        a = c.ask("GET", "/goaway")
        equal(a.body, b"last", "running stream")
        c.until("GOAWAY", lambda: c.goaway is not None)
        equal(c.goaway, 0, "code")
        c.until_closed()


@suite.case
def what_an_upstream_that_leaves_did_not_look_at_can_be_tried_again(w):
    w.fresh()
    with w.client() as c:
        equal(c.ask("GET", "/x").status, 200, "before")
        equal(c.ask("GET", "/turnaway").reset, 7, "REFUSED_STREAM")
        c.until_closed()


@suite.case
def an_upstream_that_vanishes_is_a_502_or_a_reset(w):
    w.fresh()
    since = w.egress.mark()
    with w.client() as c:
        a = c.ask("GET", "/vanish")
        equal((a.status, json.loads(a.body)["error"]), (502, "upstream_unreachable"), "answer")
        c.until_closed()
        equal(c.goaway, 0, "GOAWAY")
    w.egress.audit("NET:FAIL [LOW]", since)
    with w.client() as c:
        a = c.ask("GET", "/half")
        if a.status != 502:  # the end may overtake what was sent before it
            equal((a.status, a.body), (200, b"half"), "what came")
            check(a.reset is not None, "no reset")
    with w.client() as c:
        equal(c.ask("GET", "/headerbomb").status, 502, "response head too long")
        equal(c.ask("GET", "/x").status, 200, "next")


@suite.case
def a_client_that_leaves_ends_the_upstream(w):
    w.fresh()
    w.origin.goaways.clear()
    with w.client() as c:
        c.headers("GET", "/never")
        stream = c.headers("GET", "/x")
        c.raw(frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)))
        equal(c.answer(stream).status, 200, "running stream")
    wait_for("GOAWAY at the upstream", lambda: w.origin.goaways)


@suite.case
def policy_reload_ends_the_connection(w):
    w.fresh()
    since = w.egress.mark()
    with w.client() as c:
        c.headers("GET", "/never")
        equal(c.ask("GET", "/x").status, 200, "before")
        w.egress.reload(POLICY.replace("/v1/*", "/v2/*"))
        c.until_closed()
        equal(c.goaway, 0, "GOAWAY")
    w.egress.audit("NET:CLOSE", since)
    with w.client() as c:
        equal(c.ask("POST", "/v1/a").status, 403, "new policy")
    w.egress.reload(POLICY)


# --- hostile peers ---

def ends(w, c, since, text):
    c.until_closed(20)
    w.egress.audit(text, since)
    with w.client() as again:
        equal(again.ask("GET", "/x").status, 200, "others go on")


def flood(w, text, make, times=400):
    """Sends what make(i) gives until the connection ends."""
    since = w.egress.mark()
    with w.client() as c:
        c.receive(0.2)
        with contextlib.suppress(OSError):
            for i in range(times):
                c.raw(make(i))
        ends(w, c, since, text)


@suite.case
def streams_at_once_are_limited(w):
    w.fresh()
    since = w.egress.mark()
    with w.client() as c:
        c.until("settings", lambda: 3 in c.settings)
        equal((c.settings[3], c.settings[6]), (100, 16384), "announced limits")
        for _ in range(100):
            c.headers("GET", "/never")
        wait_for("the streams", lambda: len(w.origin.seen) == 100)
        check(not any(a.done for a in c.answers.values()), "a stream ended")
        c.h.remote_settings[3] = 1000
        c.h.remote_settings.acknowledge()
        c.headers("GET", "/never")
        ends(w, c, since, "HTTP/2")


@suite.case
def rapid_reset_ends_the_connection(w):
    c = w.client()
    since = w.egress.mark()
    with c:
        with contextlib.suppress(OSError):
            for i in range(2000):
                stream = c.headers("GET", "/never")
                c.h.reset_stream(stream, 8)
                c.flush()
        ends(w, c, since, "too many streams reset")


@suite.case
def malformed_requests_count_as_resets(w):
    since = w.egress.mark()
    with w.client() as c:
        with contextlib.suppress(OSError):
            for _ in range(2000):
                c.fields([(":method", "GET"), (":scheme", "https"), (":path", "/x"), ("connection", "x")])
        ends(w, c, since, "too many streams reset")


@suite.case
def floods_end_the_connection(w):
    flood(w, "too many frames without content", lambda i: frame(SETTINGS, 0, 0) * 20)
    flood(w, "too many frames without content", lambda i: frame(PING, 0, 0, b"12345678") * 20)
    flood(w, "too many frames without content", lambda i: frame(2, 0, 1, b"\0\0\0\0\1") * 20)


@suite.case
def empty_data_frames_end_the_connection(w):
    since = w.egress.mark()
    with w.client() as c:
        stream = c.headers("POST", "/v1/a", end=False)
        with contextlib.suppress(OSError):
            for _ in range(100):
                c.raw(frame(DATA, 0, stream) * 20)
        ends(w, c, since, "too many frames without content")


@suite.case
def continuation_floods_end_the_connection(w):
    since = w.egress.mark()
    with w.client() as c:
        with contextlib.suppress(OSError):
            c.raw(frame(HEADERS, 0, 1, b"\x82"))
            for _ in range(1000):
                c.raw(frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 100))
        ends(w, c, since, "HTTP/2")


@suite.case
def header_bombs_are_refused(w):
    w.fresh()
    with w.client() as c:
        c.h.max_outbound_frame_size  # the frame fits; its fields together do not
        a = c.ask("GET", "/x", more=[(f"x-{i}", "v" * 100) for i in range(130)])
        equal(a.status, 400, "many bytes")
        contains(a.body.decode(), "request head is longer than 16384 bytes")
        a = c.ask("GET", "/x", more=[("x-bomb", "v" * 3000)] * 100)
        equal(a.status, 400, "one field a hundred times")
        equal(c.ask("GET", "/y").status, 200, "next")
    equal(w.paths(), ["GET /y"], "origin")


@suite.case
def broken_framing_ends_the_connection(w):
    for data in (frame(DATA, 0, 0, b"x"), frame(HEADERS, 4, 2, b"\x82"), frame(SETTINGS, 0, 0, b"x" * 5),
                 frame(HEADERS, 4, 1, b"\xff\xff\xff\xff\xff"), frame(RST, 0, 99, b"\0\0\0\0"), b"\xff" * 100):
        since = w.egress.mark()
        with w.client() as c:
            c.raw(data)
            c.until_closed(20)
            w.egress.audit("HTTP/2", since)


@suite.case
def not_http2_behind_alpn_ends_the_connection(w):
    since = w.egress.mark()
    with w.egress.tls("h2.test:8443", alpn=("h2",)) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h2.test\r\n\r\n")
        while s.recv(65536):
            pass
    w.egress.audit("HTTP/2", since)


# --- gRPC ---

class Grpc:
    """Echo service without generated code; methods take and give bytes."""

    def __init__(self, w):
        import grpc
        from concurrent import futures
        self.grpc, self.cancelled = grpc, []

        def unary(request, context):
            md = dict(context.invocation_metadata())
            if "echo" in md:
                context.send_initial_metadata((("initial", md["echo"]),))
                context.set_trailing_metadata((("trailing", md["echo"]), ("bin-bin", b"\0\xff")))
            return request

        def fail(request, context):
            context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

        def count(request, context):
            for i in range(int(request)):
                yield b"%d" % i

        def chat(requests, context):
            for r in requests:
                yield r.upper()

        def slow(request, context):
            context.add_callback(lambda: self.cancelled.append(1))
            time.sleep(2)
            return b""
        handlers = {"Unary": grpc.unary_unary_rpc_method_handler(unary), "Secret": grpc.unary_unary_rpc_method_handler(unary),
                    "Fail": grpc.unary_unary_rpc_method_handler(fail), "Count": grpc.unary_stream_rpc_method_handler(count),
                    "Chat": grpc.stream_stream_rpc_method_handler(chat), "Slow": grpc.unary_unary_rpc_method_handler(slow)}
        self.server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
        self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("t.Echo", handlers)])
        cred = grpc.ssl_server_credentials([(open(w.key, "rb").read(), open(w.cert, "rb").read())])
        self.server.add_secure_port(f"{PUBLIC}:8446", cred)
        self.server.start()
        roots = open(w.egress.ca_dir / "openshell-ca.pem", "rb").read()
        self.channel = grpc.secure_channel("grpc.test:8446", grpc.ssl_channel_credentials(roots), options=[
            ("grpc.http_proxy", f"http://127.0.0.1:{w.egress.port}"), ("grpc.max_receive_message_length", -1),
            ("grpc.enable_retries", 0)])

    def call(self, method, kind="unary_unary"):
        return getattr(self.channel, kind)(f"/t.Echo/{method}")


def grpc_of(w):
    if not hasattr(w, "grpc"):
        w.grpc = Grpc(w)
    return w.grpc


@suite.case
def grpc_calls_pass(w):
    g = grpc_of(w)
    since = w.egress.mark()
    got, call = g.call("Unary").with_call(b"hello", metadata=(("echo", "v"),), timeout=20)
    equal(got, b"hello", "answer")
    equal(dict(call.initial_metadata())["initial"], "v", "initial metadata")
    trailing = dict(call.trailing_metadata())
    equal((trailing["trailing"], trailing["bin-bin"]), ("v", b"\0\xff"), "trailing metadata")
    w.egress.audit("HTTP:POST [INFO] ALLOWED /usr/bin/curl(64) -> POST https://grpc.test:8446/t.Echo/Unary", since)
    equal(list(g.call("Count", "unary_stream")(b"1000", timeout=20)), [b"%d" % i for i in range(1000)], "server streaming")
    equal(list(g.call("Chat", "stream_stream")(iter([b"a", b"b"]), timeout=20)), [b"A", b"B"], "both ways")
    big = b"0123456789abcdef" * 250000
    equal(g.call("Unary")(big, timeout=60), big, "4 MB both ways")


@suite.case
def grpc_status_passes(w):
    g = grpc_of(w)
    try:
        g.call("Fail")(b"", timeout=20)
        raise AssertionError("no error")
    except g.grpc.RpcError as why:
        equal((why.code(), why.details()), (g.grpc.StatusCode.NOT_FOUND, "no such thing"), "status")


@suite.case
def grpc_denial_is_permission_denied(w):
    g = grpc_of(w)
    since = w.egress.mark()
    for path in ("/t.Echo/Secret", "/t.Other/Unary"):
        try:
            g.channel.unary_unary(path)(b"x", timeout=20)
            raise AssertionError("no error")
        except g.grpc.RpcError as why:
            equal(why.code(), g.grpc.StatusCode.PERMISSION_DENIED, path)
            contains(why.details(), f"POST {path} ")
        w.egress.audit(f"DENIED /usr/bin/curl(64) -> POST https://grpc.test:8446{path}", since)
    equal(g.call("Unary")(b"y", timeout=20), b"y", "the channel goes on")


@suite.case
def grpc_denial_is_fields_alone(w):
    """A body would be taken for a message of the call."""
    w.fresh()
    with w.client("grpc.test:8446") as c:
        a = c.answer(c.headers("POST", "/t.Echo/Secret?a=1", authority="grpc.test:8446", more=[("content-type", "application/grpc+proto"), ("te", "trailers")]))
        equal((a.status, a.body, a.fields["grpc-status"], a.fields["content-type"]), (200, b"", "7", "application/grpc"), "answer")
        equal(a.fields["grpc-message"], "POST /t.Echo/Secret blocked by deny rule", "message")
        a = c.ask("POST", "/t.Echo/Secret", authority="grpc.test:8446")
        equal((a.status, json.loads(a.body)["error"]), (403, "policy_denied"), "no gRPC")


@suite.case
def grpc_deadline_cancels_upstream(w):
    g = grpc_of(w)
    try:
        g.call("Slow")(b"", timeout=0.3)
        raise AssertionError("no error")
    except g.grpc.RpcError as why:
        equal(why.code(), g.grpc.StatusCode.DEADLINE_EXCEEDED, "status")
    wait_for("the server to hear of it", lambda: g.cancelled)


@suite.case
def egress_ends_with_streams_open(w):
    """Last: every connection thread is gone when it stops."""
    with w.client() as c:
        c.headers("GET", "/never")
        c.receive(0.2)
        w.egress.process.terminate()
        wait_for("the end", lambda: w.egress.find("STOPPED"))
        equal(w.egress.process.wait(10), 0, "exit status")


if __name__ == "__main__":
    world.main(suite, H2World)
