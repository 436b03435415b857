"""What the middleware suites share: origins of every kind, a real gRPC service, and one egress with a policy that uses it."""
import json
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
import middleware  # noqa: E402
import world  # noqa: E402
from h2_peers import H2Client, H2Origin  # noqa: E402
from harness import Authority, Private, check, equal, run, wait_for  # noqa: E402
from middleware import Service  # noqa: E402
from origins import TEXT, Origin, RawOrigin, WebSocketClient, WebSocketOrigin  # noqa: E402
from world import PUBLIC, Egress  # noqa: E402

HOSTS = ("mw.test", "open.test", "redact.test", "two.test", "gql.test", "gone.test", "l4.test", "skip.test", "skipopen.test",
         "sql.test", "not.mw.test", "plain.test")
world.HOSTS.update({h: PUBLIC for h in HOSTS})
KEY = "sk-" + "a1B2" * 5

POLICY = """
version: 1
network_policies:
  api:
    endpoints:
      - {host: mw.test, ports: [443, 80, 8443], protocol: rest, enforcement: enforce, access: full}
      - {host: open.test, ports: [443, 80, 8443, 4443], protocol: rest, enforcement: enforce, access: full}
      - {host: redact.test, ports: [443, 80, 8443, 4443], protocol: rest, enforcement: enforce, access: full}
      - {host: two.test, ports: [443, 80, 8443, 4443], protocol: rest, enforcement: enforce, access: full}
      - {host: mw.test, port: 4443, protocol: websocket, enforcement: enforce, rules: [{allow: {method: GET, path: "/**"}},
          {allow: {method: WEBSOCKET_TEXT, path: "/**"}}]}
      - {host: gql.test, ports: [443, 8443], protocol: graphql, enforcement: enforce, path: /graphql,
         rules: [{allow: {operation_type: query, fields: [viewer]}}]}
      - {host: gql.test, port: 443, protocol: graphql, path: /audit, rules: [{allow: {operation_type: query, fields: [viewer]}}]}
      - {host: gone.test, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: not.mw.test, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: l4.test, ports: [443, 7, 4443]}
      - {host: plain.test, ports: [443, 7]}
      - {host: sql.test, port: 7, protocol: sql, access: read-only}
      - {host: skipopen.test, port: 7, tls: skip}
    binaries: [{path: /usr/bin/curl}]
network_middlewares:
  first:
    middleware: acme/guard
    order: 1
    config: {mode: strict, limits: {a: [1, true, null]}}
    endpoints: {include: ["*.test"], exclude: [open.test, redact.test, gone.test, plain.test, skipopen.test]}
  optional:
    middleware: acme/guard
    order: 2
    on_error: fail_open
    endpoints: {include: [open.test, plain.test, skipopen.test]}
  redact:
    middleware: openshell/regex
    order: 3
    endpoints: {include: [redact.test, two.test]}
  absent:
    middleware: acme/absent
    order: 4
    endpoints: {include: [gone.test]}
"""


class MiddlewareWorld:
    def __init__(self):
        check(run("ip", "address", "add", f"{PUBLIC}/32", "dev", "lo").code == 0, "ip address add")
        self.private = Private("egress-mw")
        self.authority = Authority(self.private.dir)
        cert, key = self.authority.issue(*HOSTS)
        self.tls = Origin(PUBLIC, 443, cert, key)
        self.plain = Origin(PUBLIC, 80)
        self.h2 = H2Origin(PUBLIC, 8443, cert, key)
        self.ws = WebSocketOrigin(PUBLIC, 4443, cert, key)
        self.echo = RawOrigin(PUBLIC, 7)
        self.pb = middleware.load(self.private)
        self.service = Service(self.pb)
        self.list = self.private.dir / "services"
        self.services(f"acme/guard {self.service.url} 1000000 1s - -")
        self.egress = Egress(self.private, self.authority, policy=POLICY, extra=["--middleware", self.list])

    def services(self, *lines):
        self.list.write_text("\n".join(lines) + "\n")

    def fresh(self):
        self.service.reset()
        self.h2.seen.clear()
        for o in (self.tls, self.plain, self.ws):
            with o.lock:
                o.seen, o.raw = [], b""
        self.ws.frames = []

    # The three ways a request can come; each gives (status, body or JSON, headers).

    def http1(self, method, path, body=None, more="", host="mw.test"):
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}"
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        r = self.egress.request(f"{host}:443", (head + "\r\n").encode() + (body or b""))
        return r.status, r.body, r.headers if hasattr(r, "headers") else {}

    def forward(self, method, path, body=None, more="", host="mw.test"):
        head = f"{method} http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n{more}"
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        head, _, rest = self.egress.ask((head + "\r\n").encode() + (body or b"")).partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), rest, {}

    def stream(self, method, path, body=None, more="", host="mw.test"):
        fields = [tuple(x.strip() for x in l.split(":", 1)) for l in more.lower().split("\r\n") if l]
        with H2Client(self.egress.tls(f"{host}:8443", alpn=("h2",))) as c:
            s = c.headers(method, path, authority=f"{host}:8443", more=fields, end=body is None)
            if body is not None:
                c.data(s, body, end=True)
            a = c.answer(s)
            return int(a.status), bytes(a.body), {}

    def ways(self):
        return (("http/1", self.http1), ("forward", self.forward), ("h2", self.stream))

    def arrived(self, way):
        """(head in lower case, body) of the one request at the origin."""
        if way == "h2":
            equal(len(self.h2.seen), 1, "requests at the h2 origin")
            method, path, fields, body, _ = self.h2.seen[0]
            head = f"{method} {path}\r\n" + "".join(f"{k}: {x}\r\n" for k, v in fields.items() for x in v)
            return head.lower(), body
        origin = self.tls if way == "http/1" else self.plain
        equal(len(origin.seen), 1, f"requests at the origin ({way})")
        return origin.seen[0][1].decode().lower(), origin.seen[0][2]

    def nothing(self):
        time.sleep(0.05)
        equal((self.tls.seen, self.plain.seen, self.h2.seen), ([], [], []), "requests at the origins")

    def said(self, part, seconds=5):
        """Waits for an event with this part, in the form that says everything; forgets what came before it."""
        def look():
            with self.egress.lock:
                found = next((i for i, l in enumerate(self.egress.json) if part in l), None)
                if found is not None:
                    line = self.egress.json[found]
                    del self.egress.json[:found + 1]
                    return line
        return wait_for(f"an event with {part!r}", look, seconds)

    def socket(self, host="mw.test", path="/chat/open", more=""):
        return WebSocketClient(self.egress.tls(f"{host}:4443"), f"{host}:4443", path, more)

    def texts(self):
        return [f[3] for f in self.ws.frames if f[0] == TEXT]


def denied(answer, way, error="middleware_failed", **more):
    status, body, _ = answer
    detail = {"middleware_failed": "Request could not be processed by configured middleware",
              "middleware_denied": "Request rejected by configured middleware"}[error]
    got = json.loads(body)
    want = {"error": error, "detail": detail, "policy": "api", **more}
    if way != "forward":
        want |= {k: got[k] for k in ("layer", "method", "path", "host", "port", "binary")}
        equal(got["layer"], "l7", "layer")
    equal((status, got), (403, want), way)
