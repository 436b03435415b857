#!/usr/bin/env python3
"""Programs of other languages in a sandbox: Node, Go, pip, npm and MCP. Each reaches what its policy allows and is refused
the rest. What is not on this machine and cannot be fetched is skipped by name."""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e" / "lib"), str(HERE.parent / "e2e" / "egress")]
from client import grpc  # noqa: E402
from fetched import go_program, node_packages, python_packages  # noqa: E402
from h2_peers import H2Origin  # noqa: E402
from harness import Private, Skip, Suite, check, contains, equal, wait_for  # noqa: E402
from lab import PATH, Lab, by_both_ways  # noqa: E402
from origins import Origin, WebSocketOrigin  # noqa: E402
from registries import NpmRegistry, PythonIndex  # noqa: E402

suite = Suite()
case = suite.case
both = by_both_ways(case)
private = Private("interop-clients")
NAMES = ("api.test", "h2.test", "grpc.test", "ws.test", "pip.test", "npm.test", "mcp.test", "denied.test")
POLICY = """
network_policies:
  web:
    endpoints:
      - {host: api.test, port: 443, protocol: rest, enforcement: enforce, rules: [
          {allow: {method: GET, path: "/**"}}, {allow: {method: POST, path: "/v1/*"}}], deny_rules: [{method: "*", path: "/admin/**"}]}
      - {host: h2.test, port: 8443, protocol: rest, enforcement: enforce, rules: [
          {allow: {method: GET, path: "/**"}}], deny_rules: [{method: "*", path: "/admin/**"}]}
      - {host: grpc.test, port: 8446, protocol: rest, enforcement: enforce, rules: [
          {allow: {method: POST, path: "/t.Echo/*"}}], deny_rules: [{method: POST, path: /t.Echo/Secret}]}
      - {host: ws.test, port: 4443, protocol: websocket, enforcement: enforce, rules: [
          {allow: {method: GET, path: "/chat/*"}}, {allow: {method: WEBSOCKET_TEXT, path: "/chat/open"}}]}
      - {host: pip.test, port: 8449, protocol: rest, enforcement: enforce, rules: [
          {allow: {method: GET, path: "/simple/good/"}}, {allow: {method: GET, path: "/files/**"}}]}
      - {host: npm.test, port: 8450, protocol: rest, enforcement: enforce, access: read-only, deny_rules: [
          {method: GET, path: "/forbidden"}]}
    binaries: [{path: "/**"}]
  mcp:
    endpoints:
      - {host: mcp.test, ports: [8447, 8448], protocol: mcp, enforcement: enforce, path: /mcp,
         mcp: {allow_all_known_mcp_methods: true}, rules: [{allow: {tool: search}}, {allow: {tool: count}}]}
    binaries: [{path: "/usr/bin/python3*"}]
"""


class Echo(grpc.GenericRpcHandler):
    def __init__(self):
        self.calls = []

    def service(self, details):
        self.calls.append(details.method)
        if details.method == "/t.Echo/Streams":
            return grpc.stream_stream_rpc_method_handler(lambda it, _: (b"echo " + m for m in it))
        return grpc.unary_unary_rpc_method_handler(lambda m, _: b"echo " + m)


class World(Lab):
    def __init__(self):
        super().__init__(private, 98, NAMES, POLICY)
        self.web = Origin(self.address, 443, self.cert, self.key)
        self.h2 = H2Origin(self.address, 8443, self.cert, self.key, ("h2", "http/1.1"))
        self.ws = WebSocketOrigin(self.address, 4443, self.cert, self.key)
        self.pip = PythonIndex(self.address, 8449, self.cert, self.key)
        self.npm = NpmRegistry(self.address, 8450, self.cert, self.key)
        self.echo = Echo()
        self.grpc = grpc.server(concurrent.futures.ThreadPoolExecutor(8), handlers=(self.echo,))
        credentials = grpc.ssl_server_credentials([(self.key.read_bytes(), self.cert.read_bytes())])
        check(self.grpc.add_secure_port(f"{self.address}:8446", credentials), "no port for the gRPC server")
        self.grpc.start()
        self.start()
        self.uploaded = set()

    def upload(self, path):
        """Brings a file or directory into the workspace, once; its path there."""
        if path not in self.uploaded:
            self.gateway.must("sandbox", "upload", "--no-git-ignore", "box", path, timeout=300)
            self.uploaded.add(path)
        return f"/sandbox/{pathlib.Path(path).name}"

    def node(self, text, **kw):
        if not shutil.which("node", path=PATH):
            raise Skip("no node on this machine (apt install nodejs)")
        self.write("program.cjs", text)
        r = self.run("node", "/sandbox/program.cjs", **kw)
        check(r.code == 0, r)
        return json.loads(r.out)

    def requests(self):
        return [head.split(b"\r\n")[0].decode().rsplit(" ", 1)[0] for _, head, _ in self.web.seen]

    def fresh(self):
        with self.web.lock:
            self.web.seen = []
        self.h2.seen.clear()
        self.echo.calls.clear()


# --- Node ---

@both
def node_fetch(w, direct):
    """The fetch of Node itself, which knows of no proxy before version 24."""
    got = w.node("""
(async () => {
  const out = {};
  out.allowed = await (await fetch('https://api.test/x')).text();
  const r = await fetch('https://api.test/v1/x', {method: 'DELETE'});
  out.refused = [r.status, (await r.json()).detail, r.headers.get('x-openshell-policy')];
  out.posted = (await fetch('https://api.test/v1/x', {method: 'POST', body: JSON.stringify({a: 1})})).status;
  out.many = (await Promise.all([...Array(12).keys()].map(n => fetch('https://api.test/' + (n % 2 ? 'admin/' : '') + n)))).map(r => r.status);
  try { await fetch('https://denied.test/'); } catch (e) { out.host = (e.cause && e.cause.code) || e.message; }
  console.log(JSON.stringify(out));
})();
""", direct=direct)
    equal(got["allowed"], "origin saw GET /x HTTP/1.1 with 0 bytes", "allowed")
    equal(got["refused"], [403, "DELETE /v1/x not permitted by policy", "web"], "refused")
    equal((got["posted"], got["many"]), (200, [200, 403] * 6), "statuses")
    check(got["host"] and got["host"] != "200", got)
    check(not any("admin" in r or "DELETE" in r for r in w.requests()), w.requests())


@both
def node_https(w, direct):
    got = w.node("""
const https = require('https'), out = {}, agent = new https.Agent({keepAlive: true, maxSockets: 1});
const ask = (method, path, host) => new Promise(done => {
  https.request({host: host || 'api.test', method, path, agent}, r => {
    let body = ''; r.on('data', d => body += d).on('end', () => done([r.statusCode, body])); }).on('error', e => done(e.code)).end(); });
(async () => {
  out.first = await ask('GET', '/1'); out.refused = (await ask('PUT', '/2'))[0]; out.again = await ask('GET', '/3');
  out.host = await ask('GET', '/', 'denied.test');
  console.log(JSON.stringify(out)); agent.destroy();
})();
""", direct=direct)
    equal((got["first"][0], got["refused"], got["again"][0]), (200, 403, 200), "statuses")
    equal(got["host"], "ENOTFOUND", "denied host")
    equal(w.requests(), ["GET /1", "GET /3"], "origin")


def node_modules(w):
    d = node_packages("node-clients-1", "ws@8.18.0", "undici@6.21.0", "@grpc/grpc-js@1.12.2")
    return w.upload(d)


@both
def node_undici(w, direct):
    """Undici with its proxy agent where the variables are, and HTTP/2."""
    modules = node_modules(w)
    got = w.node("""
const { request, Agent, EnvHttpProxyAgent } = require('%s/node_modules/undici');
(async () => {
  const out = {};
  const options = {allowH2: true};
  for (const [name, dispatcher] of [['env', new EnvHttpProxyAgent()], ['h2', new Agent(options)]]) {
    const ask = async (method, url) => { const r = await request(url, {method, dispatcher}); return [r.statusCode, await r.body.text()]; };
    out[name] = [await ask('GET', 'https://h2.test:8443/x'), (await ask('GET', 'https://h2.test:8443/admin/x'))[0]];
    try { await ask('GET', 'https://denied.test/'); out[name].push('reached'); } catch (e) { out[name].push('refused'); }
    await dispatcher.close();
  }
  console.log(JSON.stringify(out));
})();
""" % modules, direct=direct)
    equal(got["env"], [[200, "in HTTP1"], 403, "refused"], "as the environment says")
    equal(got["h2"], [[200, "origin saw GET /x with 0 bytes"], 403, "refused"], "HTTP/2")
    equal([s[1] for s in w.h2.seen], ["/x", "/x"], "origin")


@case
def node_ws(w):
    modules = node_modules(w)
    got = w.node("""
const WebSocket = require('%s/node_modules/ws');
const talk = (url, message) => new Promise(done => {
  const out = [], s = new WebSocket(url);
  s.on('open', () => { s.ping(); s.send(message); }).on('message', (m, binary) => { out.push(binary ? m.length : m.toString()); s.close(1000); })
   .on('pong', () => out.push('pong')).on('unexpected-response', (q, r) => { done(['status', r.statusCode]); s.terminate(); })
   .on('close', code => done([...out.sort(), code])).on('error', e => done([e.code || e.message])); });
(async () => {
  const out = {};
  out.text = await talk('wss://ws.test:4443/chat/open', 'hello');
  out.large = await talk('wss://ws.test:4443/chat/open', Buffer.alloc(256 * 1024));
  out.refused = await talk('wss://ws.test:4443/chat/quiet', 'hello');
  out.upgrade = await talk('wss://ws.test:4443/other', 'hello');
  out.host = await talk('wss://denied.test:4443/chat/open', 'hello');
  console.log(JSON.stringify(out));
})();
""" % modules)
    equal(got["text"], ["hello", "pong", 1000], "text")
    equal(got["large"], [262144, "pong", 1000], "binary")
    equal(got["refused"][-1], 1008, "a message that is not allowed")
    equal(got["upgrade"], ["status", 403], "upgrade")
    equal(got["host"], ["ENOTFOUND"], "denied host")


@both
def node_grpc(w, direct):
    modules = node_modules(w)
    got = w.node("""
const grpc = require('%s/node_modules/@grpc/grpc-js'), fs = require('fs');
const ca = fs.readFileSync(process.env.SSL_CERT_FILE), same = x => x;
const client = new grpc.Client('grpc.test:8446', grpc.credentials.createSsl(ca));
const deadline = () => ({deadline: Date.now() + 15000});
const unary = m => new Promise(done => client.makeUnaryRequest(m, same, same, Buffer.from('hi'), new grpc.Metadata(), deadline(),
  (e, r) => done(e ? e.code : r.toString())));
(async () => {
  const out = {unary: await unary('/t.Echo/Unary'), secret: await unary('/t.Echo/Secret')};
  out.streams = await new Promise(done => { const got = [], s = client.makeBidiStreamRequest('/t.Echo/Streams', same, same, new grpc.Metadata(), deadline());
    s.on('data', d => got.push(d.toString())).on('error', e => done(e.code)).on('end', () => done(got)); s.write(Buffer.from('1')); s.write(Buffer.from('2')); s.end(); });
  client.close(); console.log(JSON.stringify(out));
})();
""" % modules, direct=direct)
    equal(got, {"unary": "echo hi", "secret": 7, "streams": ["echo 1", "echo 2"]}, "answers")
    equal(w.echo.calls, ["/t.Echo/Unary", "/t.Echo/Streams"], "calls at the server")


# --- Go ---

GO_HTTP = """package main
import ("encoding/json"; "fmt"; "io"; "net/http"; "os"; "strings"; "sync")
func ask(method, url string) (string, int, string) {
  q, _ := http.NewRequest(method, url, nil)
  r, err := http.DefaultClient.Do(q)
  if err != nil { if strings.Contains(err.Error(), "no such host") { return "", -1, "" }; return "", -2, err.Error() }
  defer r.Body.Close()
  b, _ := io.ReadAll(r.Body)
  return r.Proto, r.StatusCode, string(b)
}
func main() {
  out := map[string]any{}
  p, s, b := ask("GET", "https://h2.test:8443/x"); out["allowed"] = []any{p, s, b}
  p, s, _ = ask("POST", "https://h2.test:8443/x"); out["refused"] = []any{p, s}
  p, s, b = ask("GET", "https://api.test/x"); out["http1"] = []any{p, s, b}
  _, s, _ = ask("GET", "https://api.test/admin/x"); out["denied"] = s
  _, s, b = ask("GET", "https://denied.test/"); out["host"] = s
  var w sync.WaitGroup; var m sync.Mutex; codes := map[string]int{}
  for i := 0; i < 30; i++ { w.Add(1); go func(i int) { defer w.Done()
    url := fmt.Sprintf("https://h2.test:8443/%d", i); if i % 3 == 0 { url = "https://h2.test:8443/admin/x" }
    _, s, _ := ask("GET", url); m.Lock(); codes[fmt.Sprint(s)]++; m.Unlock() }(i) }
  w.Wait(); out["many"] = codes
  json.NewEncoder(os.Stdout).Encode(out)
}
"""

GO_GRPC = """package main
import ("context"; "encoding/json"; "os"; "time"
  "google.golang.org/grpc"; "google.golang.org/grpc/credentials"; "google.golang.org/grpc/status")
type raw struct{}
func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(b []byte, v any) error { *v.(*[]byte) = append([]byte{}, b...); return nil }
func (raw) Name() string { return "proto" }
func main() {
  out := map[string]any{}
  c, err := grpc.NewClient("grpc.test:8446", grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(nil, "")), grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
  if err != nil { panic(err) }
  ctx, cancel := context.WithTimeout(context.Background(), 20 * time.Second); defer cancel()
  unary := func(m string) string { in, r := []byte("hi"), []byte{}; if err := c.Invoke(ctx, m, &in, &r); err != nil { return status.Code(err).String() }; return string(r) }
  out["unary"] = unary("/t.Echo/Unary"); out["secret"] = unary("/t.Echo/Secret"); out["other"] = unary("/t.Other/Unary")
  s, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/t.Echo/Streams")
  if err != nil { panic(err) }
  got := []string{}
  for _, m := range []string{"1", "2"} { b, r := []byte(m), []byte{}; s.SendMsg(&b); if err := s.RecvMsg(&r); err != nil { got = append(got, err.Error()) } else { got = append(got, string(r)) } }
  s.CloseSend(); out["streams"] = got
  json.NewEncoder(os.Stdout).Encode(out)
}
"""


def go(w, path, direct):
    r = w.run(w.upload(path), direct=direct)
    check(r.code == 0, r)
    return json.loads(r.out)


@both
def go_net_http(w, direct):
    got = go(w, go_program("gohttp", GO_HTTP), direct)
    equal(got["allowed"], ["HTTP/2.0", 200, "origin saw GET /x with 0 bytes"], "allowed")
    equal(got["refused"], ["HTTP/2.0", 403], "refused")
    equal(got["http1"], ["HTTP/1.1", 200, "origin saw GET /x HTTP/1.1 with 0 bytes"], "HTTP/1.1")
    equal((got["denied"], got["host"]), (403, -1 if direct else -2), "denied")
    equal(got["many"], {"200": 20, "403": 10}, "concurrent")
    check(not any("admin" in s[1] for s in w.h2.seen), "a refused request reached the origin")


@both
def go_grpc(w, direct):
    got = go(w, go_program("gogrpc", GO_GRPC, "google.golang.org/grpc@v1.66.2"), direct)
    equal(got, {"unary": "echo hi", "secret": "PermissionDenied", "other": "PermissionDenied", "streams": ["echo 1", "echo 2"]}, "answers")
    equal(w.echo.calls, ["/t.Echo/Unary", "/t.Echo/Streams"], "calls at the server")


# --- package managers ---

@both
def pip(w, direct):
    if w.run("/usr/bin/python3", "-m", "pip", "--version").code:
        raise Skip("no pip in the sandbox (apt install python3-pip)")
    w.pip.seen.clear()
    w.good("rm", "-rf", "/sandbox/site")
    def install(name):
        return w.run("env", "-u", "PIP_FIND_LINKS", "/usr/bin/python3", "-m", "pip", "install", "--no-cache-dir", "--target", "/sandbox/site", "--no-deps",
                     "--index-url", "https://pip.test:8449/simple/", "--retries", "0", "--timeout", "15", name, direct=direct)
    r = install("good==1.0")
    check(r.code == 0, r)
    equal(w.good("env", "PYTHONPATH=/sandbox/site", "/usr/bin/python3", "-c", "import good; print(good.WHAT)"), "the good one\n", "module")
    r = install("forbidden")
    check(r.code != 0, f"it was installed: {r}")
    contains(r.text, "No matching distribution found for forbidden")
    check(not any("forbidden" in s for s in w.pip.seen), w.pip.seen)
    w.logged("HTTP:GET", "DENIED", "/simple/forbidden/")


@both
def npm(w, direct):
    if not shutil.which("npm", path=PATH):
        raise Skip("no npm on this machine (apt install npm)")
    w.npm.seen.clear()
    w.good("sh", "-c", "rm -rf /sandbox/project && mkdir /sandbox/project && cd /sandbox/project && npm init -y >/dev/null")
    def npm_run(*argv):
        return w.run("npm", "--prefix", "/sandbox/project", "--registry", "https://npm.test:8450/", "--no-audit", "--no-fund", "--cache", "/tmp/npm-cache",
                     "--prefer-online", "--fetch-retries", "0", "--loglevel", "error", *argv, direct=direct, env={"npm_config_update_notifier": "false"})
    r = npm_run("install", "good@1.0.0")
    check(r.code == 0, r)
    equal(w.good("node", "-p", "require('/sandbox/project/node_modules/good')"), "the good one\n", "module")
    r = npm_run("install", "forbidden")
    check(r.code != 0 and "403" in r.text, r)
    w.write("project/pkg/package.json", '{"name": "mine", "version": "1.0.0"}')
    r = npm_run("publish", "/sandbox/project/pkg", "--//npm.test:8450/:_authToken=x")
    check(r.code != 0 and "403" in r.text, f"publish: {r}")
    check(not any("forbidden" in s or not s.startswith("GET ") for s in w.npm.seen), f"requests at the registry: {w.npm.seen}")


# --- MCP ---

MCP_VERSIONS = {"1": "mcp==1.30.0", "2": "mcp==2.3.0"}


def mcp_pair(w, major):
    """The SDK of one major version, and a server of it on this machine."""
    directory = python_packages(f"mcp-{MCP_VERSIONS[major][5:]}", MCP_VERSIONS[major])
    port = 8446 + int(major)
    log = private.dir / f"mcp-{major}.log"
    if not log.exists():
        private.spawn("/usr/bin/python3", HERE / "mcp_server.py", w.address, port, w.cert, w.key, private.dir / f"mcp-{major}.calls",
                      env=dict(os.environ, PYTHONPATH=str(directory), PYTHONDONTWRITEBYTECODE="1"), stdout=open(log, "wb"), stderr=subprocess.STDOUT)
    wait_for("the MCP server", lambda: "running on" in log.read_text() or ended(log), 60)
    return w.upload(directory), port


def ended(log):
    check("Traceback" not in log.read_text(), log.read_text()[-500:])


def mcp_case(w, major, direct):
    packages, port = mcp_pair(w, major)
    calls = private.dir / f"mcp-{major}.calls"
    calls.write_text("")
    w.write("mcp_client.py", (HERE / "mcp_client.py").read_text())
    r = w.run("/usr/bin/python3", "/sandbox/mcp_client.py", f"https://mcp.test:{port}/mcp", env={"PYTHONPATH": packages}, direct=direct)
    check(r.code == 0, (r, (private.dir / f"mcp-{major}.log").read_text()[-1000:]))
    got = json.loads(r.out.splitlines()[-1])
    equal(got["tools"], ["count", "remove", "search"], "tools that the server offers")
    equal(got["search"], "found x", "the tool that is allowed")
    equal(got["count"], "counted 3", "a tool that tells of its progress")
    equal(got["progress"], [1, 2, 3], "progress, by server-sent events while the call runs")
    check("removed" != got["remove"] and ("403" in got["remove"] or "error" in got["remove"]), f"the tool that is not: {got['remove']}")
    equal(calls.read_text().split(), ["search", "count"] + ["search"] * ("after" in got), "calls at the server")
    w.logged("HTTP:POST", "DENIED", f"mcp.test:{port}/mcp", "engine:l7-mcp", "POST /mcp not permitted by policy")
    return got


@both
def mcp_1(w, direct):
    """Sessions and server-sent events, as the first major version of the SDK speaks. It ends a session that is answered 403."""
    mcp_case(w, "1", direct)


@both
def mcp_2(w, direct):
    """Requests that stand alone, of the second major version; here a refusal is that of one call."""
    equal(mcp_case(w, "2", direct)["after"], "found y", "after the refusal")


def main():
    if os.geteuid() != 0:
        print("skip clients: the local driver needs root to set up what the tests look at")
        return
    suite.run(World())


main()
