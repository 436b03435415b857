"""What must not leave: secrets that belong elsewhere and placeholders that nobody resolved, in every place of a request and
over every protocol. What the origin saw counts, and that no log has a secret in it."""
import base64
import json
import os
import pathlib
import sys
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
import world  # noqa: E402
from h2_peers import H2Client, H2Origin  # noqa: E402
from harness import Authority, Private, Suite, check, contains, equal, run, wait_for  # noqa: E402
from origins import CLOSE, TEXT, Origin, Response, WebSocketClient, WebSocketOrigin, read_all  # noqa: E402
from world import PUBLIC, Egress, main  # noqa: E402

suite = Suite()
NAMES = ("api.test", "api.github.com", "git.corp.test", "cred.test", "open.cred.test", "l4.cred.test", "skip.cred.test",
         "sql.cred.test", "rewrite.test", "ws.test", "gql.test")
world.HOSTS.clear()
world.HOSTS.update({n: PUBLIC for n in NAMES})

POLICY = """
version: 1
network_policies:
  api:
    endpoints:
      - {host: api.test, ports: [443, 80, 8443], protocol: rest, enforcement: enforce, rules: [
          {allow: {method: GET, path: "/**"}}, {allow: {method: POST, path: "/**"}}], deny_rules: [{method: "*", path: "/admin/**"}]}
      - {host: api.github.com, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: git.corp.test, port: 443}
      - {host: gql.test, port: 443, protocol: graphql, enforcement: enforce, access: full}
      - {host: cred.test, ports: [443, 80, 8443], protocol: rest, enforcement: enforce, access: full}
      - {host: open.cred.test, port: 443, protocol: rest, enforcement: enforce, access: full, allow_uninspected_credentials: true}
      - {host: l4.cred.test, port: 443}
      - {host: skip.cred.test, port: 443, protocol: rest, access: full, tls: skip}
      - {host: sql.cred.test, port: 443, protocol: sql, access: read-only}
      - {host: rewrite.test, port: 443, protocol: rest, enforcement: enforce, access: full, request_body_credential_rewrite: true}
      - {host: ws.test, port: 4443, protocol: websocket, enforcement: enforce, access: read-write}
      - {host: cred.test, port: 4443, protocol: websocket, enforcement: enforce, access: read-write}
    binaries: [{path: /usr/bin/curl}]
"""
# Put together here, so that no file of the project holds what looks like a real one.
R36 = "a8Kd0Lq7Zx3Vn5Bt2Ym9Wp4Rc6Ej1Uh8Sg0F"
GITHUB, ANTHROPIC = "ghp_" + R36, "sk-ant-" + "api03-" + R36 + R36
AWS_ID, AWS_SECRET = "AKIA" + "Q3EGRZWXY5T7UVHB", "a8Kd0Lq7Zx/Vn5Bt2Ym9Wp4Rc6Ej1Uh8Sg0FiTo+"
PEM = "-----BEGIN RSA PRIVATE" + " KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n-----END RSA PRIVATE KEY-----\n"
ALL = (R36, AWS_SECRET, "MIIEvQIBADANBgkq")
MARK = "openshell:resolve:" + "env:"
ALIAS = "OPENSHELL-RESOLVE-" + "ENV-"


class SecretWorld:
    def __init__(self):
        check(run("ip", "address", "add", f"{PUBLIC}/32", "dev", "lo").code == 0, "ip address add")
        self.private = Private("egress-secrets")
        cert, key = (authority := Authority(self.private.dir)).issue(*NAMES)
        self.tls, self.plain = Origin(PUBLIC, 443, cert, key), Origin(PUBLIC, 80)
        self.h2 = H2Origin(PUBLIC, 8443, cert, key)
        self.ws = WebSocketOrigin(PUBLIC, 4443, cert, key)
        self.settings = self.private.dir / "settings"
        self.settings.write_text("audit\n")
        self.marked = 0
        self.egress = Egress(self.private, authority, policy=POLICY,
                             extra=["--secrets", self.settings, "--credentialed", "cred.test"])

    def mode(self, mode, allow=""):
        self.settings.write_text(f"{mode}\n{allow}\n")
        self.egress.reload(POLICY)
        for o in (self.tls, self.plain, self.ws):
            with o.lock:
                o.seen, o.raw = [], b""
        self.ws.frames = []
        self.h2.seen.clear()
        self.h2.resets.clear()
        # Events are limited to 5 a second: every case starts with room for some.
        with self.egress.lock:
            spent = sum("secret_egress" in l for l in self.egress.lines[self.marked:])
        time.sleep(min(2, spent / 5))
        self.marked = self.egress.mark()
        return self.marked

    def ask(self, host, target, more="", body=b"", method=None):
        method = method or ("POST" if body else "GET")
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{more}{length}\r\n"
        return self.egress.request(f"{host}:443", head.encode() + body)

    def forward(self, host, target, more="", body=b""):
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        method = "POST" if body else "GET"
        data = self.egress.ask(f"{method} http://{host}{target} HTTP/1.1\r\nHost: {host}\r\n{more}{length}\r\n".encode() + body)
        head, _, rest = data.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), rest

    def h2_client(self, host="api.test"):
        return H2Client(self.egress.tls(f"{host}:8443", alpn=("h2",)))

    def h2_post(self, client, path, body, more=(), host="api.test"):
        stream = client.headers("POST", path, f"{host}:8443", more, end=False)
        client.data(stream, body, end=True)
        return client.answer(stream)


def blocked(r, rule, place, host="api.test"):
    """A complete 403 that says what and where."""
    status, body = (r.status, r.body) if hasattr(r, "status") else r
    equal(status, 403, f"status for {place}")
    answer = json.loads(body)
    equal(answer["error"], "secret_egress_denied", "error")
    contains(answer["detail"], f"({rule}, in its {place})")
    contains(answer["detail"], f"add {rule}@{host} to the setting secret_egress_allow")
    check(R36 not in body.decode(), "the answer repeats the secret")


def chunks(*parts, end=True):
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + (b"0\r\n\r\n" if end else b"")


def nowhere(w, part=R36):
    """No origin got it, in whatever form; what was said to the agent and logged neither."""
    time.sleep(0.05)
    for raw in (w.tls.raw, w.plain.raw, w.ws.raw, repr(w.ws.frames).encode(), repr(w.h2.seen).encode()):
        for form in (part, urllib.parse.quote(part), base64.b64encode(part.encode()).decode()[:20]):
            check(form.encode() not in raw, f"{form} arrived at an origin: {raw[-400:]}")


# --- audit ---

@suite.case
def audit_reports_and_passes_everything(w):
    since = w.mode("audit")
    equal(w.ask("api.test", f"/x?key={GITHUB}").status, 200, "query")
    line = w.egress.audit("FINDING:DETECTED [HIGH]", since)
    contains(line, 'Secret in request: github-token in query to api.test:443, fingerprint ')
    contains(line, "[type:openshell.secret_egress.github-token]")
    contains(w.tls.requests()[0], GITHUB)
    equal(w.ask("api.test", "/x", f"Authorization: Bearer {ANTHROPIC}\r\n").status, 200, "header")
    contains(w.egress.audit("anthropic-key in header Authorization", since), "DETECTED [HIGH]")
    equal(w.ask("api.test", "/x", body=PEM.encode()).status, 200, "body")
    contains(w.egress.audit("private-key in body", since), "DETECTED [HIGH]")
    equal(w.tls.seen[-1][2], PEM.encode(), "body at the origin")
    body = f"[default]\naws_access_key_id={AWS_ID}\naws_secret_access_key={AWS_SECRET}\n".encode()
    equal(w.ask("api.test", "/x", body=body).status, 200, "aws")
    w.egress.audit("aws-secret-access-key in body", since)
    contains(w.egress.audit("aws-access-key-id in body", since), "DETECTED [LOW]")


@suite.case
def audit_leaves_chunked_framing_alone(w):
    since = w.mode("audit")
    parts = [GITHUB[:7].encode(), GITHUB[7:].encode()]
    data = b"POST /x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n" + \
        b"".join(b"%x;ext=1\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\nX-T: 1\r\n\r\n"
    equal(w.egress.request("api.test:443", data).status, 200, "status")
    contains(w.tls.raw.decode(), ";ext=1")
    contains(w.tls.raw.decode(), "X-T: 1")
    w.egress.audit("github-token in body to api.test", since)


@suite.case
def the_same_secret_has_the_same_fingerprint_in_every_place(w):
    since = w.mode("audit")
    w.ask("api.test", f"/x?key={GITHUB}")
    w.ask("api.test", "/x", body=f"a {GITHUB}".encode())
    w.ask("api.test", f"/x?key={GITHUB[:-1]}Q")
    wait_for("three findings", lambda: len(findings(w, since)) == 3)
    one, two, three = (f["finding_info"]["desc"].split("fingerprint ")[1] for f in findings(w, since))
    equal(one, two, "fingerprint")
    check(one != three, "two secrets share a fingerprint")
    contains(findings(w, since)[1]["finding_info"]["desc"],
             "POST api.test:443/x carries a secret: rule github-token, place body, fingerprint ")


def findings(w, since):
    first = sum(1 for l in w.egress.lines[:since] if l.startswith("AUDIT "))
    events = [json.loads(l[5:]) for l in w.egress.json[first:]]
    return [e for e in events if e.get("finding_info", {}).get("uid", "").startswith("openshell.secret_egress")]


@suite.case
def hints_are_never_blocked(w):
    since = w.mode("enforce")
    jwt = "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0.x"
    equal(w.ask("api.test", f"/x?t={jwt}").status, 200, "query")
    contains(w.egress.audit("jwt in query", since), "FINDING:DETECTED [LOW]")
    equal(w.ask("api.test", "/x", body=b'{"client_secret": "x8Kd0Lq7Zx3Vn5Bt2Ym9Wp4"}').status, 200, "body")
    w.egress.audit("named-secret in body", since)
    since = w.mode("enforce")
    equal(w.ask("api.test", "/x", f"Authorization: Bearer {jwt}\r\nCookie: session_token=x8Kd0Lq7Zx3Vn5Bt2Ym9Wp4\r\n").status, 200, "header")
    equal(findings(w, since), [], "findings for sessions in headers")


@suite.case
def events_are_limited(w):
    since = w.mode("audit")
    with w.egress.tls("api.test:443") as s:
        for i in range(60):
            s.sendall(f"GET /x?key={GITHUB[:-2]}{i:02} HTTP/1.1\r\nHost: api.test\r\n\r\n".encode())
            Response(s)
    n = len(findings(w, since))
    check(0 < n < 50, f"{n} events for 60 secrets")
    time.sleep(1)
    w.ask("api.test", f"/x?key={GITHUB}")
    wait_for("the count", lambda: any("more not logged" in f["finding_info"]["desc"] for f in findings(w, since)))


# --- enforce ---

@suite.case
def enforce_refuses_heads(w):
    since = w.mode("enforce")
    basic = base64.b64encode(f"user:{GITHUB}".encode()).decode()
    for target, more, place in ((f"/x?a=1&key={GITHUB}", "", "query"), (f"/v1/{GITHUB}/x", "", "path"), (f"/x?{GITHUB}", "", "query"),
                                ("/x", f"Authorization: token {GITHUB}\r\n", "header Authorization"),
                                ("/x", f"Authorization: Basic {basic}\r\n", "header Authorization"),
                                ("/x", f"X-Data: {urllib.parse.quote('a=' + GITHUB)}\r\n", "header X-Data"),
                                ("/x", f"Cookie: a=b; t={GITHUB}\r\n", "header Cookie"), (f"/x#{GITHUB}", "", None)):
        r = w.ask("api.test", target, more)
        if place:
            blocked(r, "github-token", place)
            equal(r.fields["connection"], "close", "connection")
        nowhere(w)
    line = w.egress.audit("FINDING:BLOCKED [HIGH]", since)
    contains(line, "github-token in query")


@suite.case
def a_smuggled_query_is_seen_through(w):
    w.mode("enforce")
    b64, url = (f(b"data: " + GITHUB.encode() + b" and more").decode() for f in (base64.b64encode, base64.urlsafe_b64encode))
    every = "".join(f"%{c:02x}" for c in GITHUB.encode())
    for value in (GITHUB, every, urllib.parse.quote(every), b64, url, urllib.parse.quote(b64), "xy" + b64.rstrip("="),
                  base64.b64encode(GITHUB.encode()).decode()):
        blocked(w.ask("api.test", f"/x?q={value}"), "github-token", "query")
    blocked(w.ask("api.test", f"/x/{b64}"), "github-token", "path")
    nowhere(w)
    equal(w.ask("api.test", "/x?q=" + base64.b64encode(b"nothing of interest to anybody at all").decode()).status, 200, "other")


@suite.case
def enforce_refuses_bodies_before_anything_is_sent(w):
    w.mode("enforce")
    blocked(w.ask("api.test", "/x", body=b'{"a": "' + GITHUB.encode() + b'"}'), "github-token", "body")
    head = b"POST /x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    for cut in (1, 4, 20):
        parts = [b"x " + GITHUB[:cut].encode(), GITHUB[cut:].encode(), b" y"]
        blocked(w.egress.request("api.test:443", head + chunks(*parts)), "github-token", "body")
    nowhere(w)


@suite.case
def a_secret_in_mid_stream_breaks_the_body_off(w):
    w.mode("enforce")
    for head, wrap in ((b"Content-Length: 900000\r\n", lambda p: p), (b"Transfer-Encoding: chunked\r\n", lambda p: chunks(p, end=False))):
        with w.egress.tls("api.test:443") as s:
            s.sendall(b"POST /x HTTP/1.1\r\nHost: api.test\r\n" + head + b"\r\n" + wrap(b"a" * 200000))
            wait_for("the first part", lambda: w.tls.raw.count(b"a") >= 200000)
            s.sendall(wrap(b"b" * 100 + b" " + GITHUB[:20].encode()))
            wait_for("what is no secret", lambda: b"b" * 100 in w.tls.raw)
            time.sleep(0.1)
            s.sendall(wrap(GITHUB[20:].encode() + b" tail"))
            blocked(Response(s), "github-token", "body")
        equal(w.tls.seen, [], "complete requests")
        check(b"tail" not in w.tls.raw and R36[:6].encode() not in w.tls.raw, "more than the prefix arrived")
        w.tls.raw = b""


@suite.case
def what_is_no_secret_passes_unchanged_and_the_connection_lives(w):
    for mode in ("enforce", "redact", "audit", "off"):
        w.mode(mode)
        big = os.urandom(1500000) + base64.b64encode(os.urandom(300000)) + b"-BEGIN eyJ secret= token: sk-ghp_"
        with w.egress.tls("api.test:443") as s:
            s.sendall(b"POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: %d\r\n\r\n" % len(big) + big)
            equal(Response(s).status, 200, "fixed")
            pieces = [big[i:i + 70001] for i in range(0, len(big), 70001)]
            s.sendall(b"POST /b HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(*pieces) +
                      b"POST /c HTTP/1.1\r\nHost: api.test\r\nContent-Length: 3\r\n\r\nabc")
            equal(Response(s).status, 200, "chunked")
            equal(Response(s).body, b"origin saw POST /c HTTP/1.1 with 3 bytes", "pipelined")
        equal([b for _, _, b in w.tls.seen], [big, big, b"abc"], f"bodies in mode {mode}")
        equal(len({n for n, _, _ in w.tls.seen}), 1, "connections")


@suite.case
def off_looks_at_nothing_but_still_logs_no_secret(w):
    since = w.mode("off")
    equal(w.ask("api.test", f"/{GITHUB}?k={GITHUB}", body=GITHUB.encode()).status, 200, "status")
    equal(findings(w, since), [], "findings")
    contains(w.tls.requests()[0], GITHUB)


@suite.case
def rules_judge_the_path_as_it_is(w):
    since = w.mode("audit")
    r = w.ask("api.test", f"/admin/{GITHUB}")
    equal(r.status, 403, "status")
    answer = json.loads(r.body)
    equal(answer["path"], "/admin/ghp_" + "*" * len(R36), "path")
    contains(answer["detail"], "blocked by deny rule")
    check(R36 not in r.body.decode(), "the answer repeats it")
    w.egress.audit("DENIED /usr/bin/curl(64) -> GET https://api.test/admin/ghp_****", since)


@suite.case
def forward_requests(w):
    w.mode("enforce")
    blocked(w.forward("api.test", f"/x?key={GITHUB}"), "github-token", "query")
    blocked(w.forward("api.test", "/x", f"Authorization: Bearer {GITHUB}\r\n"), "github-token", "header Authorization")
    blocked(w.forward("api.test", "/x", body=b"a=" + GITHUB.encode()), "github-token", "body")
    nowhere(w)
    equal(w.forward("api.test", "/x", "Proxy-Authorization: Bearer x\r\n", body=b"plain")[0], 200, "other")
    w.mode("redact")
    equal(w.forward("api.test", f"/x?key={GITHUB}&z=1", body=b"a=" + GITHUB.encode() + b"&b=1")[0], 200, "redacted")
    contains(w.plain.requests()[0], "?key=ghp_" + "*" * len(R36) + "&z=1")
    equal(w.plain.seen[0][2], b"a=ghp_" + b"*" * len(R36) + b"&b=1", "body")


@suite.case
def http2_requests(w):
    since = w.mode("enforce")
    with w.h2_client() as c:
        for kw in ({"more": [("authorization", f"Bearer {GITHUB}")]}, {"path": f"/x?k={GITHUB}"}, {"path": f"/{GITHUB}"}):
            a = c.answer(c.headers("GET", kw.get("path", "/x"), "api.test:8443", kw.get("more", ())))
            equal((a.status, json.loads(a.body)["error"]), (403, "secret_egress_denied"), kw)
        a = c.answer(c.headers("GET", "/fine", "api.test:8443"))
        equal(a.status, 200, "the connection goes on")
        a = w.h2_post(c, "/x", b"x" * 30000 + b" " + GITHUB.encode() + b"y")
        equal((a.status, json.loads(a.body)["error"]), (403, "secret_egress_denied"), "body")
        equal(c.answer(c.headers("GET", "/fine2", "api.test:8443")).status, 200, "still")
        body = os.urandom(600000) + b"sk-"
        equal(w.h2_post(c, "/big", body).status, 200, "large body")
    nowhere(w)
    equal([s[1] for s in w.h2.seen], ["/fine", "/fine2", "/big"], "complete requests")
    equal(w.h2.seen[-1][3], body, "body at the origin")
    w.egress.audit("github-token in body to api.test:8443", since)


@suite.case
def http2_bodies_break_off_in_mid_stream(w):
    w.mode("enforce")
    with w.h2_client() as c:
        got = w.h2.got
        stream = c.headers("POST", "/x", "api.test:8443", end=False)
        c.data(stream, b"a" * 50000)
        wait_for("the first part", lambda: w.h2.got - got >= 50000)
        c.data(stream, b" " + GITHUB[:20].encode())
        c.data(stream, GITHUB[20:].encode())
        a = c.answer(stream)
        equal((a.status, json.loads(a.body)["error"]), (403, "secret_egress_denied"), "answer")
        wait_for("the reset at the origin", lambda: w.h2.resets)
        check(w.h2.got - got <= 50005, "more than the prefix arrived")
        stream = c.headers("POST", "/x", "api.test:8443", end=False)
        c.data(stream, b"body")
        c.h.send_headers(stream, [("x-t", GITHUB)], end_stream=True)
        c.flush()
        equal(c.answer(stream).status, 403, "trailers")
        for _ in range(40):  # what was held back gives its window back
            stream = c.headers("POST", "/x", "api.test:8443", end=False)
            equal(c.data(stream, b"a" * 60000 + b" " + GITHUB.encode() + b"b" * 60000), c.data(stream, b""), "left over")
            equal(c.answer(stream).status, 403, "again")
        equal(w.h2_post(c, "/last", b"z" * 5000000).status, 200, "more than the window of the connection")
    nowhere(w)


@suite.case
def http2_redacts(w):
    w.mode("redact")
    with w.h2_client() as c:
        a = w.h2_post(c, f"/x?k={GITHUB}", b"x " + GITHUB.encode() + b" y", [("x-key", GITHUB)])
        equal(a.status, 200, "status")
    method, path, fields, body, _ = w.h2.seen[0]
    stars = "ghp_" + "*" * len(R36)
    equal((path, fields["x-key"], body), (f"/x?k={stars}", [stars], f"x {stars} y".encode()), "request")
    nowhere(w)


def websocket(w, host="ws.test"):
    w.ws.frames = []
    return WebSocketClient(w.egress.tls(f"{host}:4443"), f"{host}:4443", "/chat")


@suite.case
def websocket_texts(w):
    since = w.mode("audit")
    c = websocket(w)
    c.send(TEXT, b"my key is " + GITHUB.encode())
    equal(c.next()[3], b"my key is " + GITHUB.encode(), "echo")
    contains(w.egress.audit("github-token in websocket-text to ws.test:4443", since), "DETECTED")
    since = w.mode("redact")
    c = websocket(w)
    c.send(TEXT, b"my key is " + GITHUB.encode() + b".")
    equal(c.next()[3], b"my key is ghp_" + b"*" * len(R36) + b".", "echo")
    c.send(TEXT, b"fine")
    equal(c.next()[3], b"fine", "the session goes on")
    since = w.mode("enforce")
    c = websocket(w)
    c.send(TEXT, b"fine")
    equal(c.next()[3], b"fine", "echo")
    c.send(TEXT, b"my key is ", fin=False)
    c.send(0, GITHUB.encode())
    equal(c.closed(), 1008, "close code")
    contains(w.egress.audit("github-token in websocket-text", since), "FINDING:BLOCKED [HIGH]")
    nowhere(w)


# --- redact ---

@suite.case
def redact_overwrites_and_keeps_lengths(w):
    since = w.mode("redact")
    stars = "ghp_" + "*" * len(R36)
    basic = base64.b64encode(f"user:{GITHUB}".encode()).decode()
    b64 = base64.b64encode(b"here: " + GITHUB.encode()).decode()
    r = w.ask("api.test", f"/x?a=1&key={GITHUB}&q={b64}&z=2", f"X-Key: {GITHUB}, x\r\nAuthorization: Basic {basic}\r\n",
              body=b'{"k":"' + GITHUB.encode() + b'","p":"' + PEM.replace("\n", "\\n").encode() + b'","z":1}')
    equal(r.status, 200, "status")
    _, head, body = w.tls.seen[0]
    contains(head.decode(), f"POST /x?a=1&key={stars}&q={'*' * len(b64)}&z=2 HTTP/1.1")
    contains(head.decode(), f"X-Key: {stars}, x\r\n")
    contains(head.decode(), f"Authorization: Basic {'*' * len(basic)}")
    equal(json.loads(body)["k"], stars, "body")
    equal(json.loads(body)["z"], 1, "body")
    contains(json.loads(body)["p"], "****END RSA PRIVATE KEY-----")
    head = b"POST /x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    equal(w.egress.request("api.test:443", head + chunks(b"x " + GITHUB[:9].encode(), GITHUB[9:].encode() + b" y")).status, 200, "chunked")
    equal(w.tls.seen[1][2], f"x {stars} y".encode(), "chunked body")
    blocked(w.ask("api.test", f"/x/{GITHUB}"), "github-token", "path")
    nowhere(w)
    nowhere(w, "MIIEvQIBADANBgkq")
    w.egress.audit("FINDING:LOGGED [HIGH]", since)


# --- where they belong ---

@suite.case
def a_secret_may_go_home(w):
    since = w.mode("enforce")
    equal(w.ask("api.github.com", "/x", f"Authorization: token {GITHUB}\r\n", body=GITHUB.encode()).status, 200, "github")
    equal(findings(w, since), [], "findings")
    blocked(w.ask("api.github.com", "/x", f"X-Key: {ANTHROPIC}\r\n"), "anthropic-key", "header X-Key", "api.github.com")
    blocked(w.ask("git.corp.test", "/x", f"Authorization: token {GITHUB}\r\n"), "github-token", "header Authorization", "git.corp.test")


@suite.case
def the_allow_list_opens_a_way(w):
    since = w.mode("enforce", f"github-token@corp.test,{GITHUB}")
    equal(w.ask("git.corp.test", "/x", f"Authorization: token {GITHUB}\r\n").status, 200, "listed")
    blocked(w.ask("api.test", "/x", f"Authorization: token {GITHUB}\r\n"), "github-token", "header Authorization")
    w.egress.audit("setting secret_egress_allow: entry 2 is not RULE@HOST and is ignored", since - 40 if since > 40 else 0)


# --- placeholders ---

@suite.case
def placeholders_in_heads_are_refused(w):
    since = w.mode("audit")
    basic = base64.b64encode(f"user:{MARK}KEY".encode()).decode()
    for target, more in ((f"/x?k={MARK}KEY", ""), (f"/x/{MARK}v12_KEY/y", ""), (f"/x?{MARK}KEY=1", ""),
                         (f"/x?k={urllib.parse.quote(MARK, safe='')}KEY", ""), (f"/x?k=%6f{MARK[1:]}KEY", ""),
                         ("/x", f"Authorization: Bearer {MARK}KEY\r\n"), ("/x", f"X-A: a {MARK}KEY b\r\n"),
                         ("/x", f"Authorization: Basic {basic}\r\n"), ("/x", f"X-B: xoxb-{ALIAS}KEY\r\n"), ("/x", f"{ALIAS}KEY: 1\r\n")):
        r = w.ask("api.test", target, more)
        equal((r.status, json.loads(r.body)), (500, {"error": "credential_unavailable",
                                                     "message": "Credential placeholder could not be resolved"}), target + more)
        equal(r.fields["connection"], "close", "connection")
    equal(w.tls.raw, b"", "bytes at the origin")
    line = w.egress.audit("[reason:credential_unavailable]", since)
    contains(line, "DENIED")
    w.egress.audit("GET https://api.test/x/[CREDENTIAL]/y", since)
    check(not any(MARK in l or ALIAS in l for l in w.egress.lines + w.egress.json), "a placeholder was logged")


@suite.case
def placeholders_over_http2_and_forward(w):
    w.mode("audit")
    with w.h2_client() as c:
        a = c.answer(c.headers("GET", "/x", "api.test:8443", [("authorization", f"Bearer {MARK}KEY")]))
        equal((a.status, json.loads(a.body)["error"]), (500, "credential_unavailable"), "http/2")
        equal(c.answer(c.headers("GET", "/x", "api.test:8443")).status, 200, "the connection goes on")
    want = (500, {"error": "credential_injection_failed", "detail": "unresolved credential placeholder in request"})
    for target, more, body in ((f"/x?k={MARK}KEY", "", b""), ("/x", f"X-A: {MARK}KEY\r\n", b""), ("/x", "", f"a {MARK}KEY".encode())):
        status, text = w.forward("api.test", target, more, body)
        equal((status, json.loads(text)), want, target)
    for target in (f"/x/{MARK}/y", f"/x?k={ALIAS}KEY"):
        status, text = w.forward("api.test", target)
        equal((status, json.loads(text)), (400, {"error": "invalid_credential_placeholder",
                                                 "detail": "request-target contains an invalid credential placeholder"}), target)
    equal(w.plain.raw, b"", "bytes at the origin")


@suite.case
def http10_without_host_carries_no_placeholder(w):
    w.mode("audit")
    r = w.egress.request("api.test:443", f"GET /x HTTP/1.0\r\nX-A: {MARK}KEY\r\n\r\n".encode())
    equal((r.status, json.loads(r.body)["error"]), (403, "request_authority_mismatch"), "answer")
    equal(w.egress.request("api.test:443", b"GET /x HTTP/1.0\r\n\r\n").status, 200, "without")


@suite.case
def placeholders_in_bodies_are_watched_where_there_are_credentials(w):
    for mode in ("audit", "off", "enforce"):
        since = w.mode(mode)
        body = f"a {MARK}KEY b".encode()
        equal(w.ask("api.test", "/x", body=body).status, 200, "no credentials here")
        equal(w.ask("open.cred.test", "/x", body=body).status, 200, "explicitly allowed")
        w.tls.raw = b""
        head = b"POST /x HTTP/1.1\r\nHost: cred.test\r\n"
        for data in (b"Content-Length: %d\r\n\r\n" % len(body) + body,
                     b"Transfer-Encoding: chunked\r\n\r\n" + chunks(body[:9], body[9:])):
            with w.egress.tls("cred.test:443") as s:
                s.sendall(head + data)
                equal(read_all(s), b"", "answer")
        check(MARK.encode() not in w.tls.raw, "the placeholder arrived")
        w.egress.audit("NET:REFUSE [HIGH] DENIED /usr/bin/curl(64) -> cred.test:443 [policy:api engine:credentials]", since)
        w.egress.audit("[type:openshell.credentials.traffic_uninspectable]", since)
        plain = os.urandom(300000) + b"openshell:resolve:env" + b"%6f"
        equal(w.ask("cred.test", "/x", body=plain).status, 200, "other bodies")
        equal(w.tls.seen[-1][2], plain, "body")
        r = w.ask("rewrite.test", "/x", body=body)
        equal((r.status, json.loads(r.body)["error"]), (500, "credential_unavailable"), "where it should be resolved")


@suite.case
def placeholders_in_http2_bodies(w):
    w.mode("audit")
    with w.h2_client("cred.test") as c:
        a = w.h2_post(c, "/x", b"a" * 40000 + MARK.encode() + b"KEY", host="cred.test")
        check(a.reset is not None, "the stream was not reset")
        equal(w.h2_post(c, "/y", b"a" * 40000 + b"openshell:", host="cred.test").status, 200, "others go on")
    equal([(s[1], s[3]) for s in w.h2.seen], [("/y", b"a" * 40000 + b"openshell:")], "requests")


@suite.case
def placeholders_in_websockets(w):
    w.mode("audit")
    c = websocket(w, "cred.test")
    c.send(TEXT, f"a {MARK}KEY".encode())
    equal(c.closed(), 1008, "text")
    c = websocket(w, "cred.test")
    c.send(2, b"binary")
    equal(c.closed(), 1008, "binary")
    equal(w.ws.frames, [], "frames at the origin")


# --- what nobody reads ---

@suite.case
def raw_tunnels_carry_no_credentials(w):
    since = w.mode("audit")
    for host in ("l4.cred.test", "skip.cred.test", "sql.cred.test"):
        status, answer = w.egress.refused(f"{host}:443")
        equal(status, "HTTP/1.1 403 Forbidden", host)
        equal(answer, {"error": "uninspected_credentials",
                       "detail": "credentialed endpoint requires L7 inspection; raw tunnel is not explicitly allowed"}, host)
    w.egress.audit("NET:OPEN [HIGH] DENIED /usr/bin/curl(64) -> l4.cred.test:443 [policy:api engine:credentials] "
                   "[reason:credentialed endpoint requires L7 inspection", since)
    w.egress.audit("[type:openshell.credentials.traffic_uninspectable]", since)
    w.egress.open("cred.test:443").close()
    w.egress.open("open.cred.test:443").close()


@suite.case
def no_log_has_a_secret(w):
    w.ask("api.test", "/end")
    w.egress.audit("GET https://api.test/end")
    with w.egress.lock:
        text = "\n".join(w.egress.lines + w.egress.json) + (w.egress.dir / "stderr").read_text()
    check(len(text) > 20000, "there are no logs to look at")
    for secret in ALL:
        for form in (secret, base64.b64encode(secret.encode()).decode()[:24], secret[:20]):
            check(form not in text, f"{form} is in a log")


@suite.case
def what_else_is_quoted_in_events_is_hidden(w):
    since = w.mode("off")
    body = json.dumps({"query": "query " + GITHUB + " { viewer }"}).encode()
    w.ask("gql.test", "/graphql", body=body)
    line = w.egress.audit("HTTP:POST [INFO] ALLOWED /usr/bin/curl(64) -> POST https://gql.test/graphql", since)
    r = w.ask("gql.test", "/graphql", f"Content-Encoding: {GITHUB}\r\n", body=body)
    equal(r.status, 400, "status")
    contains(w.egress.audit("content-encoding", since), "ghp_****")
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
    w.ask("api.test", "/" + jwt)
    w.ask("api.test", "/x", method="ghp_" + R36)
    w.egress.audit("https://api.test/x", since)
    with w.egress.lock:
        text = "\n".join(w.egress.lines + w.egress.json)
    for part in (R36, R36.upper(), jwt[-20:], jwt.upper()[-20:]):
        check(part not in text, f"{part} is in a log")


@suite.case
def methods_and_names_of_fields_are_no_way_out(w):
    w.mode("enforce")
    equal(w.ask("api.test", "/x", method="ghp_" + R36).status, 403, "method")
    equal(w.ask("api.test", "/x", f"{GITHUB}: 1\r\n").status, 403, "name of a field")
    nowhere(w)


@suite.case
def it_ends_cleanly(w):
    w.egress.process.terminate()
    equal(w.egress.process.wait(10), 0, "exit status")


if __name__ == "__main__":
    main(suite, SecretWorld)
