#!/usr/bin/env python3
"""Programs as people use them, in a sandbox: each reaches what its policy allows and is refused the rest, with and without
the variables that name the proxy. Servers run on this machine; their certificates are from a private authority."""
import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import socket
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
import grpc  # noqa: E402
from h2_peers import H2Origin  # noqa: E402
from harness import Private, Suite, check, contains, equal  # noqa: E402
from lab import Lab, by_both_ways  # noqa: E402
from origins import Origin, RawOrigin, WebSocketOrigin  # noqa: E402

suite = Suite()
case = suite.case
both = by_both_ways(case)
private = Private("clients")

NAMES = ("api.test", "plain.test", "h2.test", "grpc.test", "ws.test", "raw.test", "tcp.test", "only.test", "gql.test", "rpc.test",
         "denied.test")
POLICY = """
network_policies:
  web:
    endpoints:
      - {host: api.test, port: 443, protocol: rest, enforcement: enforce, rules: [
          {allow: {method: GET, path: "/**"}}, {allow: {method: POST, path: "/v1/*"}}, {allow: {method: PUT, path: "/v1/*"}}],
          deny_rules: [{method: "*", path: "/admin/**"}]}
      - {host: plain.test, port: 8080, protocol: rest, enforcement: enforce, rules: [
          {allow: {method: GET, path: "/**"}}, {allow: {method: POST, path: "/v1/*"}}],
          deny_rules: [{method: "*", path: "/admin/**"}]}
      - {host: h2.test, port: 8443, protocol: rest, enforcement: enforce, rules: [
          {allow: {method: GET, path: "/**"}}, {allow: {method: POST, path: "/v1/*"}}],
          deny_rules: [{method: "*", path: "/admin/**"}]}
      - {host: grpc.test, port: 8446, protocol: rest, enforcement: enforce, rules: [
          {allow: {method: POST, path: "/t.Echo/*"}}], deny_rules: [{method: POST, path: /t.Echo/Secret}]}
      - {host: ws.test, port: 4443, protocol: websocket, enforcement: enforce, rules: [
          {allow: {method: GET, path: "/chat/*"}}, {allow: {method: WEBSOCKET_TEXT, path: "/chat/open"}}]}
      - {host: gql.test, port: 443, protocol: graphql, enforcement: enforce, rules: [
          {allow: {operation_type: query, fields: [viewer]}}]}
      - {host: rpc.test, port: 443, protocol: json-rpc, enforcement: enforce, rules: [{allow: {method: reports.list}}]}
      - {host: raw.test, port: 7070}
      - {host: tcp.test, port: 7070, protocol: tcp}
    binaries: [{path: "/**"}]
  only:
    endpoints: [{host: only.test, port: 443, protocol: rest, enforcement: enforce, access: read-only}]
    binaries: [{path: /usr/bin/curl}]
"""


class Web(Origin):
    """Adds what clients follow and unpack."""

    def reply(self, conn, path, head, body):
        if path.startswith("/to/"):
            conn.sendall(b"HTTP/1.1 302 Found\r\nLocation: https://" + path[4:].encode() + b"\r\nContent-Length: 0\r\n\r\n")
            return True
        if path == "/v1/sum":
            text = hashlib.sha256(body).hexdigest().encode()
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
            return True
        return super().reply(conn, path, head, body)


class Echo(grpc.GenericRpcHandler):
    """t.Echo: Unary, Streams (both ways) and Secret, which the policy forbids; messages are bytes."""

    def __init__(self):
        self.calls = []

    def service(self, details):
        self.calls.append(details.method)
        if details.method == "/t.Echo/Streams":
            return grpc.stream_stream_rpc_method_handler(lambda it, _: (b"echo " + m for m in it))
        if details.method == "/t.Echo/Fails":
            return grpc.unary_unary_rpc_method_handler(lambda m, c: c.abort(grpc.StatusCode.NOT_FOUND, "no such thing"))
        return grpc.unary_unary_rpc_method_handler(lambda m, _: b"echo " + m)


def serve_grpc(lab, handler):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), handlers=(handler,))
    credentials = grpc.ssl_server_credentials([(lab.key.read_bytes(), lab.cert.read_bytes())])
    check(server.add_secure_port(f"{lab.address}:8446", credentials), "no port for the gRPC server")
    server.start()
    return server


class World(Lab):
    def __init__(self):
        super().__init__(private, 96, NAMES, POLICY)
        self.web = Web(self.address, 443, self.cert, self.key)
        self.plain = Web(self.address, 8080)
        self.h2 = H2Origin(self.address, 8443, self.cert, self.key, ("h2", "http/1.1"))
        self.ws = WebSocketOrigin(self.address, 4443, self.cert, self.key)
        self.raw = RawOrigin(self.address, 7070)
        self.echo = Echo()
        self.grpc = serve_grpc(self, self.echo)
        self.start()

    def fresh(self):
        for o in (self.web, self.plain):
            with o.lock:
                o.seen, o.raw = [], b""

    def requests(self, origin=None):
        return [head.split(b"\r\n")[0].decode().rsplit(" ", 1)[0] for _, head, _ in (origin or self.web).seen]


def curl(w, *argv, **kw):
    return w.run("curl", "-sS", "--max-time", "20", *argv, **kw)


def refusal(text, method, path, **more):
    """The body of a refused request says what was refused, in fields that do not change."""
    body = json.loads(text)
    for key, value in {"error": "policy_denied", "layer": "l7", "method": method, "path": path, **more}.items():
        equal(body[key], value, key)
    return body


# --- curl ---

@both
def curl_http1(w, direct):
    equal(curl(w, "https://api.test/a/../b?q=1", direct=direct).out, "origin saw GET /b?q=1 HTTP/1.1 with 0 bytes", "allowed")
    r = curl(w, "-w", "\n%{http_code}", "-X", "DELETE", "https://api.test/v1/x?token=s3cret", direct=direct)
    body, code = r.out.rsplit("\n", 1)
    equal(code, "403", "status")
    refusal(body, "DELETE", "/v1/x", host="api.test", port=443, binary="/usr/bin/curl", policy="web",
            detail="DELETE /v1/x not permitted by policy")
    check("s3cret" not in body, "the refusal shows the query")
    equal(w.requests(), ["GET /b?q=1"], "origin")
    check("s3cret" not in w.logged("HTTP:DELETE", "DENIED", "/v1/x"), "the event shows the query")


@both
def curl_host_that_no_rule_names(w, direct):
    r = curl(w, "https://denied.test/", direct=direct)
    equal(r.code, 6 if direct else 56, "curl: unknown host, or the tunnel was refused")
    if not direct:
        contains(r.err, "403")
    equal(curl(w, "-o", "/dev/null", "-w", "%{http_code}", "https://api.test/", direct=direct).out, "200", "the allowed one")
    equal(w.requests(), ["GET /"], "origin")


@both
def curl_http2(w, direct):
    w.h2.seen.clear()
    equal(curl(w, "--http2", "-w", " %{http_version}", "https://h2.test:8443/x", direct=direct).out, "origin saw GET /x with 0 bytes 2")
    r = curl(w, "--http2", "-w", "\n%{http_version} %{http_code}", "https://h2.test:8443/admin/x", direct=direct)
    body, code = r.out.rsplit("\n", 1)
    equal(code, "2 403", "refused")
    refusal(body, "GET", "/admin/x", detail="GET /admin/x blocked by deny rule")
    equal([s[1] for s in w.h2.seen], ["/x"], "origin")


@both
def curl_many_streams_of_one_connection(w, direct):
    w.h2.seen.clear()
    argv = [x for n in range(12) for x in ("-o", "/dev/null", f"https://h2.test:8443/{'admin/' if n % 3 == 0 else ''}{n}")]
    r = curl(w, "--http2", "--parallel", "-w", "%{http_code}\n", *argv, direct=direct)
    equal(sorted(r.out.split()), ["200"] * 8 + ["403"] * 4, "statuses")
    equal(len(w.h2.seen), 8, "requests at the origin")


@both
def curl_plain_http(w, direct):
    """By the proxy this is the absolute form."""
    equal(curl(w, "http://plain.test:8080/x", direct=direct).out, "origin saw GET /x HTTP/1.1 with 0 bytes", "allowed")
    r = curl(w, "-w", "\n%{http_code}", "-d", "x", "http://plain.test:8080/admin/v1", direct=direct)
    equal(r.out.rsplit("\n", 1)[1], "403", "refused")
    equal(json.loads(r.out.rsplit("\n", 1)[0])["error"], "policy_denied", "body")
    equal(w.requests(w.plain), ["GET /x"], "origin")


@both
def curl_uploads(w, direct):
    data = os.urandom(700_000)
    w.write("upload", data)
    for how in (("-T", "/sandbox/upload"), ("-T", "/sandbox/upload", "-H", "Transfer-Encoding: chunked"),
                ("--data-binary", "@/sandbox/upload", "-H", "Expect: 100-continue")):
        equal(curl(w, *how, "https://api.test/v1/sum", direct=direct).out, hashlib.sha256(data).hexdigest(), str(how))
    r = curl(w, "-w", "%{http_code}", "-o", "/dev/null", "-F", "file=@/sandbox/upload", "https://api.test/v1/form", direct=direct)
    equal(r.out, "200", "form")
    r = curl(w, "-w", "%{http_code}", "-o", "/dev/null", "-T", "/sandbox/upload", "https://api.test/other", direct=direct)
    equal(r.out, "403", "refused")
    equal(w.requests(), ["PUT /v1/sum", "PUT /v1/sum", "POST /v1/sum", "POST /v1/form"], "origin")


@both
def curl_redirect_to_a_host_that_is_not_allowed(w, direct):
    equal(curl(w, "-L", "https://api.test/to/api.test/next", direct=direct).out, "origin saw GET /next HTTP/1.1 with 0 bytes", "allowed")
    r = curl(w, "-L", "https://api.test/to/denied.test/next", direct=direct)
    equal(r.code, 6 if direct else 56, "code")
    r = curl(w, "-L", "-w", "\n%{http_code}", "https://api.test/to/api.test/admin/x", direct=direct)
    equal(r.out.rsplit("\n", 1)[1], "403", "a path that is not allowed")
    equal(w.requests(), ["GET /to/api.test/next", "GET /next", "GET /to/denied.test/next", "GET /to/api.test/admin/x"], "origin")


@both
def curl_head_ranges_and_old_tls(w, direct):
    contains(curl(w, "-I", "https://api.test/x", direct=direct).out, "200 OK")
    equal(curl(w, "--tls-max", "1.2", "-o", "/dev/null", "-w", "%{http_code}", "https://api.test/x", direct=direct).out, "200", "TLS 1.2")
    check(curl(w, "--tls-max", "1.1", "https://api.test/x", direct=direct).code != 0, "TLS 1.1 was spoken")
    contains(curl(w, "-I", "https://api.test/admin/x", direct=direct).out, "403 Forbidden")


@both
def curl_graphql(w, direct):
    def ask(query):
        return curl(w, "-w", "\n%{http_code}", "-H", "Content-Type: application/json", "-d", json.dumps({"query": query}),
                    "https://gql.test/graphql", direct=direct).out.rsplit("\n", 1)
    equal(ask("{ viewer { id } }")[1], "200", "allowed")
    body, code = ask("mutation { deleteAll }")
    equal(code, "403", "refused")
    refusal(body, "POST", "/graphql", detail="GraphQL operation blocked by endpoint policy")
    equal(w.requests(), ["POST /graphql"], "origin")


@both
def curl_json_rpc(w, direct):
    def ask(method):
        return curl(w, "-o", "/dev/null", "-w", "%{http_code}", "-H", "Content-Type: application/json", "-d",
                    json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}), "https://rpc.test/", direct=direct).out
    equal(ask("reports.list"), "200", "allowed")
    equal(ask("reports.delete"), "403", "refused")
    equal(w.requests(), ["POST /"], "origin")


@both
def a_rule_for_one_program_is_for_that_program(w, direct):
    """The same request by another program: the process is known by its socket, not by what it says."""
    equal(curl(w, "-o", "/dev/null", "-w", "%{http_code}", "https://only.test/", direct=direct).out, "200", "curl")
    r = w.run("/usr/bin/python3", "-c", "import urllib.request as u\nu.urlopen(u.Request('https://only.test/', headers="
              "{'User-Agent': 'curl/7.88.1'}), timeout=10)", direct=direct)
    check(r.code != 0, f"Python was let through: {r}")
    equal(w.requests(), ["GET /"], "origin")
    w.logged("DENIED", "only.test:443", "binary '/usr/bin/python3")


# --- Python ---

@both
def python_urllib(w, direct):
    got = w.python("""
import json, urllib.error, urllib.request as u
out = {"allowed": u.urlopen("https://api.test/x", timeout=10).read().decode()}
try:
    u.urlopen(u.Request("https://api.test/x", method="DELETE"), timeout=10)
except urllib.error.HTTPError as e:
    out["refused"], out["body"] = e.code, json.loads(e.read())["detail"]
try:
    u.urlopen("https://denied.test/", timeout=10)
except urllib.error.URLError as e:
    out["host"] = str(e.reason)
print(json.dumps(out))
""", direct=direct)
    equal((got["allowed"], got["refused"], got["body"]), ("origin saw GET /x HTTP/1.1 with 0 bytes", 403,
                                                          "DELETE /x not permitted by policy"), "answers")
    contains(got["host"], "not known" if direct else "403")


@both
def python_requests(w, direct):
    w.need("requests")
    got = w.python("""
import json, requests
s = requests.Session()
out = {"allowed": [s.get("https://api.test/x", params={"q": n}, timeout=10).status_code for n in range(3)]}
out["posted"] = s.post("https://api.test/v1/a", json={"a": 1}, timeout=10).text
out["chunks"] = s.post("https://api.test/v1/a", data=(b"x" * 1000 for _ in range(5)), timeout=10).text
r = s.post("https://api.test/other", json={"a": 1}, timeout=10)
out["refused"] = [r.status_code, r.headers["content-type"], r.json()["rule"]]
out["streamed"] = sum(map(len, s.get("https://api.test/big", stream=True, timeout=10).iter_content(5000)))
out["again"] = s.get("https://api.test/x", timeout=10).status_code
for url in ("https://denied.test/", "https://api.test/to/denied.test/"):
    try:
        s.get(url, timeout=10)
    except requests.ConnectionError as e:
        out[url] = type(e).__name__
print(json.dumps(out))
""", direct=direct)
    equal(got["allowed"] + [got["again"]], [200] * 4, "statuses")
    equal(got["posted"], 'origin saw POST /v1/a HTTP/1.1 with 8 bytes', "post")
    equal(got["chunks"], 'origin saw POST /v1/a HTTP/1.1 with 5000 bytes', "chunks")
    equal(got["refused"], [403, "application/json", "POST /other"], "refused")
    equal(got["streamed"], 3000000, "streamed")
    for url in ("https://denied.test/", "https://api.test/to/denied.test/"):
        equal(got[url], "ConnectionError" if direct else "ProxyError", url)


@both
def python_urllib3(w, direct):
    w.need("urllib3")
    got = w.python(f"""
import json, os, urllib3
ca = os.environ["SSL_CERT_FILE"]
pool = urllib3.PoolManager(ca_certs=ca) if {direct} else urllib3.ProxyManager(os.environ["https_proxy"], ca_certs=ca)
out = {{"allowed": pool.request("GET", "https://api.test/x").status, "refused": pool.request("DELETE", "https://api.test/x").status,
       "plain": [pool.request("GET", "http://plain.test:8080" + p).status for p in ("/x", "/admin/x")]}}
try:
    pool.request("GET", "https://denied.test/", retries=False)
except urllib3.exceptions.HTTPError as e:
    out["host"] = type(e).__name__
print(json.dumps(out))
""", direct=direct)
    equal(got, {"allowed": 200, "refused": 403, "plain": [200, 403], "host": "NewConnectionError" if direct else "ProxyError"}, "answers")


@both
def python_httpx(w, direct):
    w.need("httpx")
    w.h2.seen.clear()
    got = w.python("""
import asyncio, json, httpx
out = {}
for version in (False, True):
    with httpx.Client(http2=version, timeout=10) as c:
        r = c.get("https://h2.test:8443/x")
        refused = c.post("https://h2.test:8443/other", json={"a": 1})
        out[str(version)] = [r.http_version, r.status_code, refused.status_code, refused.json()["detail"], refused.headers["x-openshell-policy"]]
async def many():
    async with httpx.AsyncClient(http2=True, timeout=20) as c:
        return [r.status_code for r in await asyncio.gather(*(c.get(f"https://h2.test:8443/{'admin/' if n % 2 else ''}{n}") for n in range(20)))]
out["many"] = asyncio.run(many())
try:
    httpx.get("https://denied.test/", timeout=10)
except httpx.HTTPError as e:
    out["host"] = type(e).__name__
print(json.dumps(out))
""", direct=direct)
    for version, name in (("False", "HTTP/1.1"), ("True", "HTTP/2")):
        equal(got[version], [name, 200, 403, "POST /other not permitted by policy", "web"], name)
    equal(got["many"], [200, 403] * 10, "concurrent")
    equal(got["host"], "ConnectError" if direct else "ProxyError", "denied host")
    check(all("admin" not in s[1] for s in w.h2.seen), "a refused request reached the origin")


@both
def python_http_client_keeps_its_connection(w, direct):
    """One connection, requests one after the other: a refusal ends it, and only what is allowed arrives."""
    got = w.python("""
import http.client, json, os, ssl, urllib.parse
def connect():
    proxy = os.environ.get("https_proxy")
    if not proxy:
        return http.client.HTTPSConnection("api.test", timeout=10)
    p = urllib.parse.urlsplit(proxy)
    c = http.client.HTTPSConnection(p.hostname, p.port, timeout=10)
    c.set_tunnel("api.test", 443)
    return c
c, out = connect(), []
for method, path in (("GET", "/1"), ("POST", "/v1/2"), ("GET", "/3"), ("GET", "/admin/4")):
    c.request(method, path, body=b"x" if method == "POST" else None)
    r = c.getresponse()
    r.read()
    out.append([r.status, r.getheader("connection")])
print(json.dumps(out))
""", direct=direct)
    equal([g[0] for g in got], [200, 200, 200, 403], "statuses")
    equal(got[-1][1], "close", "after a refusal")
    equal(w.requests(), ["GET /1", "POST /v1/2", "GET /3"], "origin")
    equal(len({number for number, _, _ in w.web.seen}), 1, "connections at the origin")


@case
def python_websockets(w):
    """The library knows no proxy: it resolves the name and connects."""
    w.need("websockets")
    got = w.python("""
import asyncio, json, websockets
async def main():
    out = {}
    async with websockets.connect("wss://ws.test:4443/chat/open", compression=None) as s:
        out["echo"] = []
        for m in ("hello", "x" * 100000, b"\\0\\1"):
            await s.send(m)
            got = await s.recv()
            out["echo"].append(got == m)
        await s.send(["in ", "parts"])
        out["parts"] = await s.recv()
        await (await s.ping())
    async with websockets.connect("wss://ws.test:4443/chat/open") as s:  # the extension is not offered further
        await s.send("plain")
        out["offered"] = [await s.recv(), [str(e) for e in s.extensions]]
    async with websockets.connect("wss://ws.test:4443/chat/quiet", compression=None) as s:
        try:
            await s.send("not allowed here")
            await s.recv()
        except websockets.ConnectionClosed as e:
            out["closed"] = e.code
    try:
        await websockets.connect("wss://ws.test:4443/other")
    except websockets.InvalidStatusCode as e:
        out["upgrade"] = e.status_code
    try:
        await websockets.connect("wss://denied.test:4443/chat/open")
    except OSError as e:
        out["host"] = type(e).__name__
    return out
print(json.dumps(asyncio.run(main())))
""")
    equal(got["echo"], [True] * 3, "echo")
    equal(got["parts"], "in parts", "fragments")
    equal(got["offered"][0], "plain", "with an extension on offer")
    equal((got["closed"], got["upgrade"], got["host"]), (1008, 403, "gaierror"), "refused")


GRPC = """
import json, os, grpc
ca = open(os.environ["SSL_CERT_FILE"], "rb").read()
out = {}
def channel(host, port=8446):
    return grpc.secure_channel(f"{host}:{port}", grpc.ssl_channel_credentials(ca))
def code(call, *args):
    try:
        return call(*args, timeout=15).decode()
    except grpc.RpcError as e:
        return [e.code().name, e.details()]
with channel("grpc.test") as c:
    out["unary"] = code(c.unary_unary("/t.Echo/Unary"), b"hi")
    out["big"] = len(code(c.unary_unary("/t.Echo/Unary"), b"x" * 1000000))
    out["streams"] = [m.decode() for m in c.stream_stream("/t.Echo/Streams")(iter([b"1", b"2", b"3"]), timeout=15)]
    out["fails"] = code(c.unary_unary("/t.Echo/Fails"), b"hi")
    out["secret"] = code(c.unary_unary("/t.Echo/Secret"), b"hi")
    out["other"] = code(c.unary_unary("/t.Other/Unary"), b"hi")
    out["after"] = code(c.unary_unary("/t.Echo/Unary"), b"again")
with channel("denied.test") as c:
    out["host"] = code(c.unary_unary("/t.Echo/Unary"), b"hi")
print(json.dumps(out))
"""


@both
def python_grpc(w, direct):
    """Unary and streaming calls; a refused call ends with PERMISSION_DENIED on its stream alone, the connection goes on."""
    w.echo.calls.clear()
    got = w.python(GRPC, direct=direct)
    equal((got["unary"], got["big"], got["streams"], got["after"]), ("echo hi", 1000005, ["echo 1", "echo 2", "echo 3"], "echo again"),
          "allowed")
    equal(got["fails"], ["NOT_FOUND", "no such thing"], "status in trailers")
    for what in ("secret", "other"):
        equal(got[what][0], "PERMISSION_DENIED", what)
    equal(got["host"][0], "UNAVAILABLE", "denied host")
    check("/t.Echo/Secret" not in w.echo.calls and "/t.Other/Unary" not in w.echo.calls, f"calls at the server: {w.echo.calls}")


# --- tools and sockets ---

@both
def openssl_s_client(w, direct):
    """TLS ends at the sandbox's own authority, which the programs of the sandbox trust."""
    proxy = [] if direct else ["-proxy", "$(echo $https_proxy | sed 's,.*//,,;s,/$,,')"]
    def ask(host, path):
        line = " ".join(["openssl", "s_client", "-ign_eof", "-verify_return_error", "-CAfile", "$SSL_CERT_FILE", "-servername", host, *proxy,
                         "-connect", f"{host}:443"])
        return w.run("sh", "-c", f"printf 'GET {path} HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n' | timeout 20 {line}",
                     direct=direct)
    r = ask("api.test", "/x")
    for part in ("OpenShell Sandbox CA", "Verify return code: 0 (ok)", "origin saw GET /x"):
        contains(r.text, part)
    contains(ask("api.test", "/admin/x").text, "403 Forbidden")
    r = ask("denied.test", "/x")
    check(r.code != 0 and "origin saw" not in r.text, f"denied.test: {r}")
    equal(w.requests(), ["GET /x"], "origin")


@case
def nc_by_the_proxy(w):
    nc = "timeout 20 nc -N -X connect -x $(echo $https_proxy | sed 's,.*//,,;s,/$,,')"
    equal(w.run("sh", "-c", f"echo hello | {nc} raw.test 7070").out, "hello\nbye", "allowed")
    for target in ("raw.test 7071", "denied.test 7070"):
        r = w.run("sh", "-c", f"echo hello | {nc} {target}")
        check(r.code != 0 and "hello" not in r.out, f"{target}: {r}")


@case
def nc_direct(w):
    equal(w.run("sh", "-c", "echo hello | timeout 20 nc -N tcp.test 7070").out, "hello\nbye", "an endpoint for any protocol")
    equal(w.run("sh", "-c", "echo hello | timeout 20 nc -N raw.test 7070").out, "hello\nbye", "an endpoint without protocol")
    for target in ("tcp.test 7071", "denied.test 7070", f"{w.address} 7070"):
        r = w.run("sh", "-c", f"echo hello | timeout 20 nc -N -w 10 {target}")
        equal(r.out, "", target)


@case
def nc_datagrams_go_nowhere(w):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((w.address, 7070))
    server.settimeout(0.5)
    r = w.run("sh", "-c", f"echo hello | timeout 5 nc -u -w 1 {w.address} 7070; echo hello | timeout 5 nc -u -w 1 tcp.test 7070")
    equal(r.out, "", "answers")
    with contextlib.suppress(TimeoutError):
        raise AssertionError(f"the server got {server.recv(100)!r}")
    server.close()


@case
def sockets_without_any_library(w):
    got = w.python(f"""
import json, socket
def talk(host, port, family=socket.AF_INET):
    try:
        with socket.socket(family) as s:
            s.settimeout(10)
            s.connect((socket.gethostbyname(host), port))
            s.sendall(b"hello")
            s.shutdown(socket.SHUT_WR)
            data = b""
            while part := s.recv(100):
                data += part
            return data.decode()
    except OSError as e:
        return type(e).__name__
print(json.dumps([talk("tcp.test", 7070), talk("raw.test", 7070), talk("tcp.test", 9), talk("denied.test", 7070),
                  talk("{w.address}", 7070), talk("169.254.169.254", 80), talk("127.0.0.1", 7070)]))
""")
    equal(got[:2], ["hellobye", "hellobye"], "allowed")
    for n, what in ((2, "port"), (3, "host"), (4, "address"), (5, "metadata"), (6, "loopback")):
        check(got[n] in ("", "gaierror", "ConnectionResetError", "ConnectionRefusedError", "BrokenPipeError"), f"{what}: {got[n]!r}")


@case
def names_by_every_way_to_ask(w):
    """getaddrinfo and a query of its own: an allowed name has an address, a denied one does not exist, at once."""
    got = w.python("""
import json, socket, struct
def look(name):
    try:
        return socket.getaddrinfo(name, 443, socket.AF_INET)[0][4][0].rsplit(".", 2)[0]
    except socket.gaierror as e:
        return e.errno == socket.EAI_NONAME
def ask(name, server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.connect((server, 53))
        s.send(struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + struct.pack("!BHH", 0, 1, 1))
        answer = s.recv(512)
        return [answer[3] & 15, struct.unpack("!H", answer[6:8])[0]]
server = next(l.split()[1] for l in open("/etc/resolv.conf") if l.startswith("nameserver"))
print(json.dumps([look("api.test"), look("denied.test"), ask("api.test", server), ask("denied.test", server), ask("denied.test", "8.8.8.8")]))
""")
    equal(got, ["198.18", True, [0, 1], [3, 0], [3, 0]], "answers")


@case
def a_policy_update_reaches_running_clients(w):
    """A program that goes on: its connection ends with the policy that allowed it, and the next is judged by the new one."""
    new = private.dir / "new.yaml"
    new.write_text(w.policy.read_text().replace("/admin/**", "/secret/**"))
    try:
        equal(curl(w, "-o", "/dev/null", "-w", "%{http_code}", "https://api.test/admin/x").out, "403", "before")
        w.gateway.must("policy", "set", "box", "--policy", new, "--wait")
        equal(curl(w, "-o", "/dev/null", "-w", "%{http_code}", "https://api.test/admin/x").out, "200", "after")
        equal(curl(w, "-o", "/dev/null", "-w", "%{http_code}", "https://api.test/secret/x").out, "403", "the new rule")
    finally:
        w.gateway.must("policy", "set", "box", "--policy", w.policy, "--wait")


@case
def the_policy_can_be_read_in_the_sandbox(w):
    """What may be done is in a text that agents read and cannot write, and that follows the policy."""
    path = "/etc/openshell/policy/summary.txt"
    text = w.good("cat", path)
    for line in ("rule web", "  for /** and what they start", "  api.test:443, rest", "    allow GET /**", "    allow POST /v1/*",
                 "    deny * /admin/**", "  gql.test:443, graphql", "    allow operation query fields viewer", "  rpc.test:443, json-rpc",
                 "    allow call reports.list", "  tcp.test:7070, any traffic", "rule only", "  for /usr/bin/curl and what they start",
                 "    allow HEAD **", "read and change", "  /sandbox"):
        check(line in text.splitlines(), f"no line {line!r} in: {text}")
    equal(w.good("stat", "-c", "%a", path), "444\n", "mode")
    for attempt in (f"echo x > {path}", f"rm -f {path}", f"mv {path} {path}.x", f"echo x > {path}.x", f"chmod 644 {path}"):
        check(w.run("sh", "-c", attempt).code != 0, f"the agent may: {attempt}")
    new = private.dir / "read.yaml"
    new.write_text(w.policy.read_text().replace("/admin/**", "/other/**"))
    try:
        w.gateway.must("policy", "set", "box", "--policy", new, "--wait")
        contains(w.good("cat", path), "    deny * /other/**\n")
    finally:
        w.gateway.must("policy", "set", "box", "--policy", w.policy, "--wait")
    equal("\n".join(l for l in w.good("cat", path).splitlines() if "version" not in l),
          "\n".join(l for l in text.splitlines() if "version" not in l), "text of the first policy")


def main():
    if os.geteuid() != 0:
        print("skip clients: the local driver needs root to set up what the tests look at")
        return
    suite.run(World())


main()
