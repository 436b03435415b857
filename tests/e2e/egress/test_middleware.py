"""The middleware chain with a real gRPC service: what stages see and change in HTTP/1 tunnels, absolute-form requests and
HTTP/2 streams; what happens when they deny, fail, take their time or say nonsense; and what cannot be looked into."""
import json
import os
import pathlib
import socket
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
import world  # noqa: E402
from h2_peers import H2Client  # noqa: E402
from harness import ROOT, Authority, Suite, check, contains, equal, free_port, wait_for  # noqa: E402
from middleware import APPEND, HTTP, KEEP, OVERWRITE, WEBSOCKET, Service  # noqa: E402
from middleware_world import KEY, POLICY, MiddlewareWorld, denied  # noqa: E402
from origins import TEXT, Response, read_all  # noqa: E402

suite = Suite()


# --- what a stage sees ---

@suite.case
def a_stage_sees_the_request(w):
    for way, ask in w.ways():
        w.fresh()
        status, _, _ = ask("POST", "/a/b?q=1&r=%20", b"hello", "X-One: 1\r\nX-Two: a\r\nX-Two: b\r\nAuthorization: secret\r\n"
                           "Cookie: secret\r\nX-Amz-Date: secret\r\nX-OpenShell-Credential-A: secret\r\n")
        equal((way, status), (way, 200), "status")
        r = w.service.requests[0]
        t = r.target
        equal((t.scheme, t.host, t.method, t.path, t.query), ("http" if way == "forward" else "https", "mw.test", "POST", "/a/b",
                                                            "q=1&r=%20"), "target")
        equal(t.port, {"http/1": 443, "forward": 80, "h2": 8443}[way], "port")
        equal([(h.name, h.value) for h in r.headers], [("x-one", "1"), ("x-two", "a"), ("x-two", "b")], f"headers {way}")
        equal((r.phase, r.body, r.middleware_name), (1, b"hello", "acme/guard"), "the rest")
        equal((r.context.sandbox_id, r.context.sandbox_name, r.context.workspace, r.context.HasField("originating_process")),
              ("test-id", "test-name", "test-workspace", False), "context")
        equal(len(r.context.request_id), 36, "request id")
        equal(json.loads(json.dumps({"mode": r.config["mode"], "a": list(r.config["limits"]["a"])})),
              {"mode": "strict", "a": [1, True, None]}, "config")
        head, body = w.arrived(way)
        equal(body, b"hello", "body")
        for kept in ("authorization: secret", "cookie: secret", "x-amz-date: secret"):
            contains(head, kept)


@suite.case
def hosts_are_selected(w):
    w.fresh()
    equal(w.http1("GET", "/", host="open.test")[0], 200, "optional")
    equal(len(w.service.requests), 1, "requests of open.test")
    equal(w.http1("GET", "/", host="redact.test")[0], 200, "excluded")
    equal(w.http1("GET", "/", host="not.mw.test")[0], 200, "a label more")
    equal(len(w.service.requests), 1, "requests in all")


@suite.case
def bodiless_requests_stay_so(w):
    for way, ask in w.ways():
        w.fresh()
        equal(ask("GET", "/x")[0], 200, way)
        head, body = w.arrived(way)
        check("content-length" not in head, f"{way}: a length appeared: {head}")
        equal(w.service.requests[0].body, b"", "body")


@suite.case
def chunked_bodies_are_read_and_sent_by_length(w):
    w.fresh()
    with w.egress.tls("mw.test:443") as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: mw.test\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        equal(Response(s).status, 100, "interim")
        s.sendall(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        equal(Response(s).status, 200, "status")
        s.sendall(b"GET /next HTTP/1.1\r\nHost: mw.test\r\n\r\n")
        equal(Response(s).status, 200, "the connection goes on")
    equal([r.body for r in w.service.requests], [b"abcde", b""], "bodies at the service")
    head = w.tls.seen[0][1].decode().lower()
    contains(head, "content-length: 5")
    check("transfer-encoding" not in head and "expect" not in head, head)
    w.fresh()
    r = w.egress.request("mw.test:443", b"POST / HTTP/1.1\r\nHost: mw.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                         b"1\r\na\r\n0\r\nX: t\r\n\r\n")
    equal(r.status, 400, "trailers")
    w.nothing()


# --- what it may answer ---

@suite.case
def a_denial_is_told(w):
    for way, ask in w.ways():
        w.fresh()
        since = w.egress.mark()
        w.service.http = lambda r: w.service.deny(reason="secret reason", reason_code="too_much")
        denied(ask("GET", "/x?token=1"), way, "middleware_denied", middleware="first", reason_code="too_much")
        line = w.egress.audit("middleware_denied:first:too_much", since)
        contains(line, "DENIED")
        check("secret" not in line and "token" not in line, line)
        w.service.http = lambda r: w.service.deny(reason_code="Not A Code", reason="x" * 100000)
        denied(ask("GET", "/"), way, "middleware_denied", middleware="first")
        w.nothing()


@suite.case
def bodies_are_replaced(w):
    for way, ask in w.ways():
        for method, before, after in (("POST", b"before", b"afterwards" * 3000), ("POST", b"before", b"")):
            w.fresh()
            w.service.http = lambda r: w.service.body(after)
            equal((way, ask(method, "/v1/x", before)[0]), (way, 200), "status")
            head, body = w.arrived(way)
            equal(body, after, f"body {way} {method}")
            contains(head, f"content-length: {len(after)}")
        w.fresh()
        w.service.http = lambda r: w.service.body(b"fresh")
        equal((way, ask("GET", "/v1/x", None)[0]), (way, 200), "status")
        equal(w.arrived(way)[1], b"", f"a request without a body stays without: {way}")
    w.fresh()
    w.service.http = lambda r: w.service.allow(body=b"ignored")
    equal(w.http1("POST", "/", b"kept")[0], 200, "status")
    equal(w.arrived("http/1")[1], b"kept", "a body without has_body")


@suite.case
def headers_are_changed(w):
    p = "X-OpenShell-Middleware-"
    for way, ask in w.ways():
        w.fresh()
        w.service.http = lambda r: w.service.allow(header_mutations=[
            w.service.write(p + "New", "n"), w.service.write(p + "Old", "added", APPEND),
            w.service.write(p + "Over", "new", OVERWRITE), w.service.write(p + "Skip", "new", KEEP),
            w.service.write(p + "Skip2", "new", KEEP), w.service.remove("x-gone")])
        equal(ask("GET", "/", None, f"{p}Old: 1\r\n{p}Over: 1\r\n{p}Over: 2\r\n{p}Skip: 1\r\nX-Gone: 1\r\nX-gone: 2\r\nX-Stay: 1\r\n")[0],
              200, way)
        head = w.arrived(way)[0]
        p1 = p.lower()
        got = sorted(l for l in head.split("\r\n") if l.startswith(("x-openshell", "x-gone", "x-stay")))
        equal(got, sorted([f"{p1}new: n", f"{p1}old: 1", f"{p1}old: added", f"{p1}over: new", f"{p1}skip: 1", f"{p1}skip2: new",
                           "x-stay: 1"]), way)


@suite.case
def mutations_that_are_not_allowed_change_nothing(w):
    s = w.service
    good = s.write("X-OpenShell-Middleware-A", "1")
    cases = [(s.write("Authorization", "x"), "protected_header"), (s.remove("Cookie"), "protected_header"),
             (s.remove("host"), "protected_header"), (s.remove("x-amz-date"), "protected_header"),
             (s.remove("X-OpenShell-Credential-X"), "protected_header"), (s.remove("te"), "hop_by_hop_header"),
             (s.remove("x-hop"), "hop_by_hop_header"), (s.write("X-Other", "x"), "write_namespace"),
             (s.write("X-OpenShell-Middleware-B", "a\r\nX: y"), "unsafe_value"), (s.write("bad name", "x"), "invalid_name"),
             (s.write("X-OpenShell-Middleware-B", "x", 0), "missing_existing_action"),
             (s.write("X-OpenShell-Middleware-B", "x", 9), "unsupported_existing_action"),
             (w.pb.HeaderMutation(), "empty"), (s.write("X-OpenShell-Middleware-B", "x" * 33000), "bytes_over_capacity")]
    for bad, code in cases:
        for host, name in (("mw.test", "first"), ("open.test", "optional")):
            w.fresh()
            w.service.http = lambda r: w.service.body(b"changed", header_mutations=[good, bad])
            answer = w.http1("POST", "/", b"asked", "Connection: x-hop\r\nX-Hop: 1\r\nX-Amz-Date: 1\r\n", host)
            w.said(f"middleware_failed: header_mutation_{code}")
            if host == "mw.test":
                denied(answer, "http/1")
                w.nothing()
            else:
                equal(answer[0], 200, code)
                head, body = w.arrived("http/1")
                equal(body, b"asked", "body")
                check("x-openshell-middleware" not in head and "x-amz-date" in head, head)
    w.fresh()
    w.service.http = lambda r: w.service.allow(header_mutations=[good] * 65)
    denied(w.http1("GET", "/"), "http/1")


# --- failures ---

@suite.case
def answers_that_are_none(w):
    pb = w.pb
    finding = pb.Finding(type="t", label="l")
    cases = [(lambda r: 1 // 0, "external_service_error"), (lambda r: b"\xff\xff\xff", "external_service_error"),
             (lambda r: w.service.stall(), "middleware_timeout"), (lambda r: pb.HttpRequestResult(), "invalid_response_decision"),
             (lambda r: pb.HttpRequestResult(decision=9), "invalid_response_decision"),
             (lambda r: w.service.body(b"x" * 1000001), "response_body_over_capacity"),
             (lambda r: w.service.allow(reason="x" * 5000), "response_reason_over_capacity"),
             (lambda r: w.service.allow(reason_code="Bad"), "response_reason_code_invalid"),
             (lambda r: w.service.allow(findings=[finding] * 33), "response_findings_over_capacity"),
             (lambda r: w.service.allow(findings=[pb.Finding(label="x" * 5000)]), "response_finding_over_capacity"),
             (lambda r: w.service.allow(metadata={str(i): "" for i in range(65)}), "response_metadata_count_over_capacity"),
             (lambda r: w.service.allow(metadata={"a": "x" * 33000}), "response_metadata_bytes_over_capacity")]
    for answer, code in cases:
        for way, ask in w.ways() if "invalid" not in code else w.ways()[:1]:
            w.fresh()
            since = w.egress.mark()
            w.service.http = answer
            denied(ask("POST", "/", b"x"), way)
            w.egress.audit(f"middleware_failed: {code}", since)
            w.egress.audit("FINDING", since)
            w.nothing()
            equal((code, way, ask("POST", "/", b"x", host="open.test")[0]), (code, way, 200), "fail_open")
            equal(w.arrived(way)[1], b"x", "body")


@suite.case
def a_service_that_is_gone(w):
    w.fresh()
    w.service.stop()
    try:
        for way, ask in w.ways():
            denied(ask("GET", "/"), way)
            equal(ask("GET", "/", host="open.test")[0], 200, f"{way} fail_open")
    finally:
        w.service.start()
    wait_for("the service again", lambda: w.http1("GET", "/")[0] == 200)


@suite.case
def a_service_that_is_not_registered(w):
    w.fresh()
    since = w.egress.mark()
    denied(w.http1("GET", "/", host="gone.test"), "http/1")
    w.egress.audit("middleware_failed: binding_not_described", since)
    w.nothing()


@suite.case
def bodies_over_capacity(w):
    long = b"x" * 1000001
    for way, ask in w.ways():
        w.fresh()
        if way == "h2":  # without Content-Length
            denied(ask("POST", "/", long), way)
            denied(ask("POST", "/", long, host="open.test"), way)
            denied(ask("POST", "/", long, "Content-Length: 1000001\r\n"), way)
            equal(ask("POST", "/", long, "Content-Length: 1000001\r\n", host="open.test")[0], 200, "declared, fail_open")
        else:
            denied(ask("POST", "/", long), way)
            w.nothing()
            since = w.egress.mark()
            equal(ask("POST", "/", long, host="open.test")[0], 200, "declared, fail_open")
            w.egress.audit("Request body unavailable to middleware", since)
        equal(w.service.requests, [], "requests at the service")
        equal(w.arrived(way)[1], long, "body")
    w.fresh()
    chunks = b"".join(b"%x\r\n%s\r\n" % (50000, b"x" * 50000) for _ in range(21)) + b"0\r\n\r\n"
    r = w.egress.request("open.test:443", b"POST / HTTP/1.1\r\nHost: open.test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    equal((r.status, json.loads(r.body)["error"]), (403, "middleware_failed"), "chunked, fail_open")
    w.nothing()


@suite.case
def requests_over_capacity(w):
    w.fresh()
    since = w.egress.mark()
    denied(w.http1("GET", "/", None, "".join(f"X-{i}: 1\r\n" for i in range(129))), "http/1")
    w.egress.audit("request_header_count_over_capacity", since)
    equal(w.service.requests, [], "requests")


# --- the built-in stage ---

@suite.case
def keys_are_redacted(w):
    text = f"a {KEY} b sk-short {KEY}\n".encode()
    for way, ask in w.ways():
        w.fresh()
        since = w.egress.mark()
        equal(ask("POST", "/v1/x", text, host="redact.test")[0], 200, way)
        equal(w.arrived(way)[1], b"a [REDACTED] b sk-short [REDACTED]\n", way)
        line = w.egress.audit("openai regex match", since)
        check("sk-" not in line, line)
        w.egress.audit("regex.openai", since)
        status, body, _ = ask("POST", "/", b"\xff" + text, host="redact.test")
        denied((status, body, {}), way)
        w.fresh()
        equal(ask("POST", "/v1/x", b"no key", host="redact.test")[0], 200, way)
        equal(w.arrived(way)[1], b"no key", "untouched")


@suite.case
def stages_run_in_order(w):
    w.fresh()
    seen = []
    w.service.http = lambda r: seen.append(r.body) or w.service.body(r.body + b" " + KEY.encode())
    equal(w.http1("POST", "/", KEY.encode(), host="two.test")[0], 200, "status")
    equal(seen, [KEY.encode()], "the first stage sees the key")
    equal(w.arrived("http/1")[1], b"[REDACTED] [REDACTED]", "the second redacts both")


# --- rules after a replacement ---

@suite.case
def replaced_bodies_are_judged_again(w):
    good, bad = json.dumps({"query": "{ viewer }"}).encode(), json.dumps({"query": "{ secret }"}).encode()
    for way, ask in (w.ways()[0], w.ways()[2]):
        for body in (bad, b"{", b"x" * 70000):
            w.fresh()
            w.service.http = lambda r: w.service.body(body)
            since = w.egress.mark()
            denied(ask("POST", "/graphql", good, host="gql.test"), way)
            w.egress.audit("DENIED", since)
            w.nothing()
        w.fresh()
        w.service.http = lambda r: w.service.body(good + b" ")
        equal(ask("POST", "/graphql", good, host="gql.test")[0], 200, way)
        equal(w.arrived(way)[1], good + b" ", "body")
    w.fresh()
    since = w.egress.mark()
    w.service.http = lambda r: w.service.body(bad)
    equal(w.http1("POST", "/audit", good, host="gql.test")[0], 200, "audit")
    w.egress.audit("OBSERVED", since)
    equal(w.arrived("http/1")[1], bad, "body")


# --- how many at once ---

def patient(w):
    w.service.timeout = "30s"
    w.services(f"acme/guard {w.service.url} 1000000 30s - -")
    w.egress.reload(POLICY)


def impatient(w):
    w.service.timeout = ""
    w.services(f"acme/guard {w.service.url} 1000000 1s - -")
    w.egress.reload(POLICY)


@suite.case
def admission_is_bounded(w):
    """96 requests fit; what comes then is shed before its body is read. All of them end once the service answers."""
    w.fresh()
    patient(w)
    w.service.http = lambda r: w.service.stall()
    statuses, lock = [], threading.Lock()

    def one():
        status = w.http1("GET", "/slow")[0]
        with lock:
            statuses.append(status)
    threads = [threading.Thread(target=one) for _ in range(100)]
    try:
        for t in threads:
            t.start()
        wait_for("four too many", lambda: len(statuses) == 4, 30)
        equal(statuses, [503] * 4, "statuses")
        since = w.egress.mark()

        def shed():
            with w.egress.tls("mw.test:443") as s:
                s.sendall(b"POST / HTTP/1.1\r\nHost: mw.test\r\nContent-Length: 5\r\n\r\n")
                r = Response(s)
                return r.status, json.loads(r.body)["error"]
        equal(shed(), (503, "middleware_failed"), "before the body")
        w.egress.audit("Middleware admission exhausted", since)
        equal(w.stream("GET", "/")[0], 503, "h2")
        equal(w.forward("GET", "/")[0], 503, "forward")
        equal(w.http1("GET", "/", host="redact.test")[0], 503, "for every chain")
    finally:
        w.service.released.set()
        for t in threads:
            t.join(30)
    equal((statuses.count(200), statuses.count(503)), (96, 4), "statuses")
    check(w.service.most == 32, f"{w.service.most} at once")
    wait_for("places again", lambda: w.http1("GET", "/")[0] == 200)
    impatient(w)


@suite.case
def a_slow_stage_holds_up_only_its_own_stream(w):
    w.fresh()
    patient(w)
    service = w.service
    w.service.http = lambda r: service.stall() if r.target.path == "/slow" else service.allow()
    with H2Client(w.egress.tls("mw.test:8443", alpn=("h2",))) as c:
        slow = [c.headers("GET", "/slow", authority="mw.test:8443") for _ in range(5)]
        wait_for("slow ones", lambda: w.service.active == 5)
        for i in range(20):
            equal(c.ask("GET", f"/v1/{i}", authority="mw.test:8443").status, 200, "a stream beside it")
        gone = c.headers("GET", "/slow", authority="mw.test:8443")
        wait_for("one more", lambda: w.service.active == 6)
        c.h.reset_stream(gone, 8)
        c.flush()
        equal(c.ask("GET", "/v1/x", authority="mw.test:8443").status, 200, "after a reset")
        w.service.released.set()
        for s in slow:
            equal(c.answer(s).status, 200, "the slow ones")
    # The tunnel ends while a stage thinks.
    w.fresh()
    w.service.http = lambda r: service.stall()
    c = H2Client(w.egress.tls("mw.test:8443", alpn=("h2",)))
    c.headers("GET", "/slow", authority="mw.test:8443")
    wait_for("the request", lambda: w.service.active == 1)
    c.sock.close()
    w.service.released.set()
    impatient(w)


# --- what cannot be looked into ---

@suite.case
def tunnels_that_nobody_can_read(w):
    with w.egress.open("l4.test:7") as s:
        s.sendall(b"SSH-2.0-x\r\n")
        got = read_all(s)
        contains(got.decode(), '"error":"unsupported_l7_protocol"')
        contains(got.decode(), "Unsupported tunnel protocol cannot be inspected by required middleware")
    with w.egress.open("l4.test:7") as s:
        s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        contains(read_all(s).decode(), "HTTP/2 prior-knowledge (h2c) cannot be inspected by required middleware")
    with w.egress.open("sql.test:7") as s:
        s.sendall(b"select 1;")
        contains(read_all(s).decode(), "unsupported_l7_protocol")
    for host in ("plain.test", "skipopen.test"):
        since = w.egress.mark()
        with w.egress.open(f"{host}:7") as s:
            s.sendall(b"SSH-2.0-x\r\n")
            equal(s.recv(100), b"SSH-2.0-x\r\n", host)
        w.egress.audit("Traffic cannot be inspected by middleware", since)


@suite.case
def uninspected_endpoints_have_their_chain_too(w):
    w.fresh()
    equal(w.http1("POST", "/", b"x", host="l4.test")[0], 200, "passes")
    equal(w.service.requests[0].body, b"x", "body")
    w.service.http = lambda r: w.service.deny()
    r = w.http1("POST", "/", b"x", host="l4.test")
    equal((r[0], json.loads(r[1])["error"]), (403, "middleware_denied"), "denied")


# --- the registry ---

def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@suite.case
def policy_and_services_are_swapped_together(w):
    w.fresh()
    good = f"acme/guard {w.service.url} 1000000 1s - -"

    def refused(line, *why):
        w.services(line)
        since = w.egress.mark()
        w.egress.process.send_signal(1)
        text = wait_for("the refusal", lambda: w.egress.find("REFUSED", since), 20)
        for part in why:
            contains(text, part)
        equal(w.http1("GET", "/")[0], 200, "the old pair")
    try:
        refused("acme/guard http://127.0.0.1:1 1000000 100ms - -", "supervisor middleware 'acme/guard' cannot be described")
        refused("openshell/x http://127.0.0.1:1 1000000 1s - -", "must be 1 to 128 characters")
        refused("acme/guard ftp://127.0.0.1:1 1000000 1s - -", "http:// or https://")
        refused(f"acme/guard {w.service.url} 4194305 1s - -", "max_payload_bytes must be between 1 and 4194304")
        refused(f"acme/guard {w.service.url} 1000 31s - -", "timeout must be")
        refused(f"acme/guard {w.service.url} 1000 1s - token", "must use https://")
        keep = w.service.bindings
        for bindings, why in (((), "no bindings"), (((HTTP, 4194304, 2),), "PRE_RETURN"), (((HTTP, 999999),), "above that of a binding"),
                              (((HTTP, 4194304), (HTTP, 4194304)), "twice"), (((HTTP, 0),), "between 1 and"), (((7, 5),), "must be HTTP_REQUEST")):
            w.service.bindings = bindings
            refused(good, "manifest of supervisor middleware 'acme/guard' is invalid", why)
        w.service.bindings = keep
    finally:
        w.service.bindings = ((HTTP, 4194304), (WEBSOCKET, 4194304))
        w.services(good)
        w.egress.reload(POLICY)


@suite.case
def a_service_without_a_websocket_binding_hears_of_none(w):
    w.fresh()
    w.service.bindings = ((HTTP, 4194304),)
    try:
        w.egress.reload(POLICY)
        since = w.egress.mark()
        c = w.socket()
        c.send(TEXT, b"x")
        equal((c.next()[3], [e for e in w.service.events if e.HasField("preflight")]), (b"x", []), "echo")
        w.said("binding_not_selected")
        equal(len(w.service.requests), 1, "the upgrade is a request")
        w.service.bindings = ((WEBSOCKET, 4194304),)
        w.egress.reload(POLICY)
        w.fresh()
        equal((w.http1("GET", "/")[0], w.service.requests), (200, []), "no HTTP binding")
    finally:
        w.service.bindings = ((HTTP, 4194304), (WEBSOCKET, 4194304))
        w.egress.reload(POLICY)


@suite.case
def services_over_tls_with_a_token(w):
    w.fresh()
    secure = Service(w.pb, cert=w.authority.issue("127.0.0.1"))
    try:
        w.services(f"acme/guard {secure.url} 1000000 5s {w.authority.pem} abc.def.ghi")
        w.egress.reload(POLICY)
        equal(w.http1("GET", "/")[0], 200, "status")
        equal((len(secure.requests), set(secure.tokens)), (1, {"Bearer abc.def.ghi"}), "tokens")
        other = w.private.dir / "other"
        other.mkdir(exist_ok=True)
        w.services(f"acme/guard {secure.url} 1000000 5s {Authority(other).pem} abc.def.ghi")
        since = w.egress.mark()
        w.egress.process.send_signal(1)
        wait_for("the refusal", lambda: w.egress.find("REFUSED", since), 20)
    finally:
        secure.stop()
        w.services(f"acme/guard {w.service.url} 1000000 1s - -")
        w.egress.reload(POLICY)


@suite.case
def the_example_of_the_guide(w):
    w.fresh()
    port = free_port()
    example = w.private.spawn(sys.executable, ROOT / "examples/middleware/middleware.py", f"127.0.0.1:{port}",
                              env={**os.environ, "PYTHONPATH": str(w.private.dir / "middleware-proto")})
    wait_for("the example", lambda: listens(port), 20)
    w.services(f"acme/guard http://127.0.0.1:{port} 100000 5s - -")
    w.egress.reload(POLICY.replace("config: {mode: strict, limits: {a: [1, true, null]}}", "config: {deny: swordfish}"))
    try:
        equal(w.http1("POST", "/", b"fine")[0], 200, "status")
        contains(w.arrived("http/1")[0], "x-openshell-middleware-words: checked")
        denied(w.http1("POST", "/", b"a swordfish"), "http/1", "middleware_denied", middleware="first", reason_code="word_found")
        c = w.socket()
        c.send(TEXT, b"fine")
        equal(c.next()[3], b"fine", "message")
        c.send(TEXT, b"swordfish")
        equal(c.closed(), 1008, "denied message")
    finally:
        example.terminate()
        w.services(f"acme/guard {w.service.url} 1000000 1s - -")
        w.egress.reload(POLICY)


@suite.case
def foreign_findings_are_not_believed(w):
    w.fresh()
    since = w.egress.mark()
    w.service.http = lambda r: w.service.allow(findings=[w.pb.Finding(type="evil\ntype", label="evil label", count=3, severity="high",
                                                                      confidence="evil")], metadata={"evil": "evil"}, reason="evil")
    equal(w.http1("GET", "/")[0], 200, "status")
    w.egress.audit("External middleware finding", since)
    with w.egress.lock:
        check(not any("evil" in l for l in w.egress.lines[since:] + w.egress.json), "the service's words are in the log")


if __name__ == "__main__":
    world.main(suite, MiddlewareWorld)
