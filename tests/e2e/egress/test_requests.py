"""Requests: REST rules in the three entry ways, absolute form, pipelining, bodies, responses and smuggling. Every case says
what it proves."""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
from harness import Suite, contains, equal  # noqa: E402
from origins import Response, read_all, read_head  # noqa: E402
from world import nothing_seen, main  # noqa: E402

suite = Suite()


# --- what: REST ---

@suite.case
def method_is_denied_with_the_published_body(w):
    w.fresh()
    since = w.egress.mark()
    r = w.egress.get("api.test", "/other?token=abc", "POST")
    equal(r.status_line, "HTTP/1.1 403 Forbidden", "status line")
    equal(r.fields["x-openshell-policy"], "api", "policy header")
    equal(r.fields["connection"], "close", "connection")
    request = {"layer": "l7", "method": "POST", "path": "/other", "host": "api.test", "port": 443, "binary": "/usr/bin/curl"}
    equal(json.loads(r.body), {
        "error": "policy_denied", "policy": "api", "rule": "POST /other", "detail": "POST /other not permitted by policy",
        "protocol": "rest", "rule_missing": {"type": "rest_allow", **request}, "next_steps": [], **request}, "body")
    line = w.egress.audit("HTTP:POST [MED] DENIED", since)
    equal(line, "HTTP:POST [MED] DENIED /usr/bin/curl(64) -> POST https://api.test/other [policy:api engine:l7] "
          "[reason:POST /other not permitted by policy]", "event")
    nothing_seen(w.tls)


@suite.case
def path_rules_stop_at_the_slash(w):
    equal(w.egress.get("api.test", "/v1/a", "POST").status, 200, "one segment")
    equal(w.egress.get("api.test", "/v1/a/b", "POST").status, 403, "two segments")
    equal(w.egress.get("api.test", "/v1", "POST").status, 403, "no segment")


@suite.case
def get_rule_allows_head(w):
    r = w.egress.get("api.test", "/x", "HEAD")
    equal((r.status, r.fields["content-length"]), (200, "1000"), "HEAD")


@suite.case
def query_rules_look_at_every_value(w):
    equal(w.egress.get("query.test", "/d?tag=foo-a&tag=foo%2Db").status, 200, "both match")
    equal(w.egress.get("query.test", "/d?tag=foo-a&tag=z").status, 403, "one does not")
    equal(w.egress.get("query.test", "/d").status, 403, "missing")
    equal(w.egress.get("query.test", "/d?tag=foo-%zz").status, 400, "bad escape")


@suite.case
def deny_wins_over_allow(w):
    """Another rule allows everything below /admin for the same binary; the deny still holds."""
    r = w.egress.get("api.test", "/admin/x")
    equal(json.loads(r.body)["detail"], "GET /admin/x blocked by deny rule", "detail")


@suite.case
def audit_mode_forwards_and_logs(w):
    since = w.egress.mark()
    equal(w.egress.get("audit.test", "/thing", "DELETE").status, 200, "status")
    w.egress.audit("HTTP:DELETE [LOW] OBSERVED /usr/bin/curl(64) -> DELETE https://audit.test/thing [policy:api engine:l7]",
                   since)


@suite.case
def upstream_sees_the_path_that_was_judged(w):
    for raw, seen in (("/%61dmin/x", None), ("/v1/../admin/x", None), ("/v1//%2e%2e/admin/x", None),
                      ("/a/%2e/b;x=y/./c", "/a/b/c"), ("/%7euser/%41?q=%41", "/~user/A?q=%41")):
        w.fresh()
        r = w.egress.get("api.test", raw)
        if seen:
            equal(w.tls.requests(), [f"GET {seen} HTTP/1.1"], raw)
        else:
            equal(json.loads(r.body)["detail"], "GET /admin/x blocked by deny rule", raw)
            nothing_seen(w.tls)


@suite.case
def encoded_slash_needs_the_endpoint_to_allow_it(w):
    w.fresh()
    since = w.egress.mark()
    r = w.egress.get("api.test", "/@s%2Fn")
    equal(r.status, 400, "status")
    w.egress.audit("allow_encoded_slash: true", since)
    nothing_seen(w.tls)
    w.egress.get("slash.test", "/@s%2fn")
    equal(w.tls.requests(), ["GET /@s%2Fn HTTP/1.1"], "kept")


@suite.case
def paths_above_the_root_are_refused(w):
    w.fresh()
    for path in ("/../x", "/%2e%2e/x", "/a/%00", "/a%", "/a%zz", "/a#b", "*", "x"):
        equal(w.egress.get("api.test", path).status, 400, path)
    nothing_seen(w.tls)


@suite.case
def plain_http_in_a_tunnel_is_judged_alike(w):
    w.fresh()
    with w.egress.open("plain.test:80") as s:
        s.sendall(b"GET /p HTTP/1.1\r\nHost: plain.test\r\n\r\n")
        equal(Response(s).status, 200, "GET")
        s.sendall(b"DELETE /p HTTP/1.1\r\nHost: plain.test\r\n\r\n")
        equal(json.loads(Response(s).body)["detail"], "DELETE /p not permitted by policy", "DELETE")
    equal(w.plain.requests(), ["GET /p HTTP/1.1"], "origin")


@suite.case
def the_three_entry_ways_decide_alike(w):
    for method, path, status in (("GET", "/a", 200), ("POST", "/v1/a", 200), ("POST", "/a", 403), ("GET", "/admin/x", 403),
                                 ("GET", "/%61dmin/x", 403)):
        tls = w.egress.get("api.test", path, method).status
        with w.egress.open("plain.test:80") as s:
            s.sendall(f"{method} {path} HTTP/1.1\r\nHost: plain.test\r\n\r\n".encode())
            tunnel = Response(s).status
        with w.egress.dial() as s:
            s.sendall(f"{method} http://plain.test{path} HTTP/1.1\r\nHost: plain.test\r\n\r\n".encode())
            forward = Response(s).status
        equal((tls, tunnel, forward), (status,) * 3, f"{method} {path}")


# --- absolute form ---

@suite.case
def absolute_form_reaches_the_origin_in_origin_form(w):
    w.fresh()
    since = w.egress.mark()
    answer = w.egress.ask(b"GET http://Plain.Test:8080/p?q HTTP/1.1\r\nHost: evil.test\r\nProxy-Authorization: x\r\n"
                          b"Proxy-Connection: keep-alive\r\nConnection: x-drop\r\nX-Drop: 1\r\nX-Keep: 2\r\n\r\n")
    contains(answer.decode(), "origin saw GET /p?q HTTP/1.1")
    equal(w.plain2.seen[0][1], b"GET /p?q HTTP/1.1\r\nX-Keep: 2\r\nVia: 1.1 openshell-sandbox\r\nHost: plain.test:8080",
          "head at the origin")
    w.egress.audit("HTTP:GET [INFO] ALLOWED /usr/bin/curl(64) -> GET http://plain.test:8080/p [policy:api engine:opa]", since)


@suite.case
def absolute_form_denials_to_the_letter(w):
    body = json.loads(w.egress.ask(b"GET http://nowhere.test/a?b=c HTTP/1.1\r\nHost: nowhere.test\r\n\r\n").split(b"\r\n\r\n")[1])
    equal(body, {"error": "policy_denied", "detail": "GET nowhere.test:80/a not permitted by policy"}, "L4")
    body = json.loads(w.egress.ask(b"PUT http://plain.test/a?b=c HTTP/1.1\r\n\r\n").split(b"\r\n\r\n")[1])
    equal(body["detail"], "PUT plain.test:80/a denied by L7 policy: PUT /a not permitted by policy", "L7")
    body = json.loads(w.egress.ask(b"GET http://meta.test/ HTTP/1.1\r\n\r\n").split(b"\r\n\r\n")[1])
    equal(body, {"error": "ssrf_denied", "detail": "GET meta.test:80 blocked: declared endpoint check failed"}, "address")
    body = json.loads(w.egress.ask(b"GET http://plain.test/../x HTTP/1.1\r\n\r\n").split(b"\r\n\r\n")[1])
    equal(body, {"error": "invalid_request_target", "detail": "request-target must be canonical"}, "target")


@suite.case
def absolute_form_of_other_schemes(w):
    equal(w.egress.ask(b"GET https://api.test/ HTTP/1.1\r\n\r\n"),
          b"HTTP/1.1 400 Bad Request\r\nContent-Length: 26\r\n\r\nUse CONNECT for HTTPS URLs", "https")
    body = json.loads(w.egress.ask(b"GET ftp://api.test/ HTTP/1.1\r\n\r\n").split(b"\r\n\r\n")[1])
    equal(body, {"error": "unsupported_proxy_scheme", "detail": "Forward proxy requests must use http"}, "ftp")
    equal(w.egress.ask(b"GET / HTTP/1.1\r\nHost: plain.test\r\n\r\n"), b"HTTP/1.1 400 Bad Request\r\n\r\n", "origin-form")


@suite.case
def absolute_form_forwards_exactly_one_request(w):
    """A second request in the same packet never reaches the origin, judged or not."""
    w.fresh()
    answer = w.egress.ask(b"POST http://plain.test/v1/a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
                          b"DELETE http://plain.test/b HTTP/1.1\r\nHost: plain.test\r\n\r\n")
    equal(answer.count(b"HTTP/1.1 "), 2, "status lines and echoes")  # the answer and its text
    equal(w.plain.requests(), ["POST /v1/a HTTP/1.1"], "origin")
    equal(b"DELETE" in w.plain.raw, False, "trailing bytes at the origin")


# --- requests on one connection ---

@suite.case
def requests_share_one_upstream_connection(w):
    w.fresh()
    with w.egress.tls("api.test:443") as s:
        for i in range(5):
            s.sendall(f"GET /k{i} HTTP/1.1\r\nHost: api.test\r\n\r\n".encode())
            equal(Response(s).status, 200, "status")
    equal(w.tls.requests(), [f"GET /k{i} HTTP/1.1" for i in range(5)], "requests")
    equal(len({n for n, _, _ in w.tls.seen}), 1, "upstream connections")


@suite.case
def pipelined_requests_are_answered_in_order(w):
    with w.egress.tls("api.test:443") as s:
        s.sendall(b"".join(b"GET /n%d HTTP/1.1\r\nHost: api.test\r\n\r\n" % i for i in range(20)))
        rest = b""
        for i in range(20):
            r = Response(s, rest)
            rest = r.rest
            contains(r.body.decode(), f"GET /n{i} ")


@suite.case
def pipelined_denied_request_is_not_sent(w):
    w.fresh()
    with w.egress.tls("api.test:443") as s:
        s.sendall(b"GET /ok HTTP/1.1\r\nHost: api.test\r\n\r\nDELETE /no HTTP/1.1\r\nHost: api.test\r\n\r\n"
                  b"GET /late HTTP/1.1\r\nHost: api.test\r\n\r\n")
        first = Response(s)
        second = Response(s, first.rest)
        equal((first.status, second.status), (200, 403), "statuses")
        equal(read_all(s), b"", "bytes behind the denial")
    equal(w.tls.requests(), ["GET /ok HTTP/1.1"], "origin")


@suite.case
def bodies_pass_at_every_split(w):
    w.fresh()
    body = b"3;ext=1\r\nabc\r\n4\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n"
    data = b"POST /v1/c HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    with w.egress.tls("api.test:443") as s:
        for i in range(len(data)):
            s.sendall(data[i:i + 1])
        equal(Response(s).body, b"origin saw POST /v1/c HTTP/1.1 with 7 bytes", "answer")
        s.sendall(b"POST /v1/l HTTP/1.1\r\nHost: api.test\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200000)
        equal(Response(s).body, b"origin saw POST /v1/l HTTP/1.1 with 200000 bytes", "answer")
    equal([b for _, _, b in w.tls.seen], [b"abcdefg", b"x" * 200000], "bodies")


@suite.case
def expect_100_continue_is_relayed(w):
    with w.egress.tls("api.test:443") as s:
        s.sendall(b"POST /v1/e HTTP/1.1\r\nHost: api.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        head, rest = read_head(s)
        equal(head, b"HTTP/1.1 100 Continue", "interim answer")
        s.sendall(b"body")
        contains(Response(s, rest).body.decode(), "with 4 bytes")


@suite.case
def early_answer_reaches_the_client(w):
    """The origin answers before it read the body: the client gets the answer and the connection ends."""
    with w.egress.open("plain.test:80") as s:
        s.sendall(b"POST /v1/x HTTP/1.1\r\nHost: plain.test\r\nContent-Length: 3\r\n\r\nabc")
        equal(Response(s).status, 200, "complete request")
    with w.egress.tls("slash.test:443") as s:
        s.sendall(b"GET /early HTTP/1.1\r\nHost: slash.test\r\nContent-Length: 100000\r\n\r\nabc")
        equal(Response(s).status, 413, "early answer")
        equal(read_all(s), b"", "rest")


@suite.case
def every_response_framing_is_relayed(w):
    with w.egress.tls("api.test:443") as s:
        s.sendall(b"GET /chunked HTTP/1.1\r\nHost: api.test\r\n\r\n")
        equal(Response(s).body, b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX: t\r\n\r\n", "chunked")
        s.sendall(b"GET /interim HTTP/1.1\r\nHost: api.test\r\n\r\n")
        r = Response(s)
        equal(r.status, 103, "interim")
        equal(Response(s, r.rest).body, b"ok", "final")
        s.sendall(b"GET /empty HTTP/1.1\r\nHost: api.test\r\n\r\n")
        equal(Response(s).status, 204, "no content")
        s.sendall(b"GET /big HTTP/1.1\r\nHost: api.test\r\n\r\n")
        equal(len(Response(s).body), 3000000, "big")
        s.sendall(b"GET /unframed HTTP/1.1\r\nHost: api.test\r\n\r\n")
        equal(Response(s).body, b"to the end", "unframed")


@suite.case
def unusable_responses_are_a_502(w):
    for path in ("/switch", "/ambiguous", "/vanish"):
        r = w.egress.get("api.test", path)
        equal((r.status, json.loads(r.body)["error"]), (502, "upstream_unreachable"), path)


@suite.case
def upgrades_do_not_pass(w):
    w.fresh()
    r = w.egress.get("api.test", "/up", more="Upgrade: h2c\r\nConnection: Upgrade\r\n")
    contains(json.loads(r.body)["detail"], "HTTP/2 cleartext upgrade (h2c) is not supported")
    nothing_seen(w.tls)
    w.egress.get("api.test", "/up", more="Upgrade: other\r\nConnection: Upgrade, X-Hop\r\nX-Hop: 1\r\n")
    equal(w.tls.seen[0][1], b"GET /up HTTP/1.1\r\nHost: api.test", "head at the origin")


# --- smuggling: nothing of these reaches an origin ---

SMUGGLING = {
    "cl_and_te": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two_lengths": b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "signed_length": b"Content-Length: +3\r\n\r\nabc",
    "length_list": b"Content-Length: 3, 3\r\n\r\nabc",
    "te_list": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "te_twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "te_obfuscated": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "folded_line": b"X: a\r\n b\r\n\r\n",
    "bare_lf": b"X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space_before_colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "nul_in_value": b"X: a\0b\r\n\r\n",
    "connection_hides_length": b"Connection: content-length\r\nContent-Length: 3\r\n\r\nabc",
    "chunk_extension_lf": b"Transfer-Encoding: chunked\r\n\r\n1;a\nx\r\nb\r\n0\r\n\r\n",
    "chunk_size_sign": b"Transfer-Encoding: chunked\r\n\r\n+1\r\nb\r\n0\r\n\r\n",
    "chunk_without_crlf": b"Transfer-Encoding: chunked\r\n\r\n1\r\nbc0\r\n\r\n",
    "two_hosts": b"Host: api.test\r\n\r\n",
}


def smuggling_case(name, tail):
    def case(w):
        w.fresh()
        with w.egress.tls("api.test:443") as s:
            s.sendall(b"POST /v1/s HTTP/1.1\r\nHost: api.test\r\n" + tail)
            equal(Response(s).status, 400, "in the tunnel")
            equal(read_all(s), b"", "bytes behind the refusal")
        nothing_seen(w.tls)
        if name != "two_hosts":
            answer = w.egress.ask(b"POST http://plain.test/v1/s HTTP/1.1\r\nHost: plain.test\r\n" + tail)
            contains(answer.split(b"\r\n")[0].decode(), "HTTP/1.1 400")
            nothing_seen(w.plain)
    case.__name__ = f"smuggling_{name}"
    suite.case(case)


for _name, _tail in SMUGGLING.items():
    smuggling_case(_name, _tail)


@suite.case
def missing_host_is_refused(w):
    r = w.egress.request("api.test:443", b"GET / HTTP/1.1\r\n\r\n")
    equal(r.status, 400, "status")


main(suite)
