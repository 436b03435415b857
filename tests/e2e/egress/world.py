"""What the egress suites share: origins, the egress harness and a client, in a network namespace of the test's own.
What an origin saw counts as much as what the client was answered."""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
from harness import BUILD, Authority, Private, check, contains, equal, run, wait_for  # noqa: E402
from origins import Origin, RawOrigin, Response, WebSocketOrigin, read_all  # noqa: E402

HARNESS = BUILD / "tests/e2e/egress/egress_harness"

# Public to the address classes, private to this namespace: nothing leaves it.
PUBLIC, PUBLIC2, PRIVATE, SHARED, ULA = "93.184.216.34", "93.184.216.35", "10.7.0.9", "100.64.0.9", "fd00:7::9"
HOSTS = {
    "api.test": PUBLIC, "other.test": PUBLIC, "a.glob.test": PUBLIC, "a.b.glob.test": PUBLIC, "glob.test": PUBLIC,
    "audit.test": PUBLIC, "slash.test": PUBLIC, "plain.test": PUBLIC, "raw.test": PUBLIC, "skip.test": PUBLIC,
    "l4.test": PUBLIC, "badcert.test": PUBLIC2, "bin.test": PUBLIC, "db.lan": PRIVATE, "x.db.lan": PRIVATE,
    "list.lan": PRIVATE, "wrong.lan": PRIVATE, "shared.lan": SHARED, "meta.test": "169.254.169.254",
    "loop.test": "127.0.0.1", "loop6.test": "::1", "mapped.test": "::ffff:127.0.0.1", "ula.lan": ULA, "any.lan": PRIVATE,
    "mixed.glob.test": PUBLIC, "tcp.test": PUBLIC, "query.test": PUBLIC,
    "gql.test": PUBLIC, "rpc.test": PUBLIC, "mcp.test": PUBLIC, "sql.test": PUBLIC,
    "ws.test": PUBLIC, "wsgql.test": PUBLIC, "wsraw.test": PUBLIC,
}

POLICY = """
version: 1
network_policies:
  api:
    endpoints:
      - {host: api.test, port: 443, protocol: rest, enforcement: enforce, rules: [
          {allow: {method: GET, path: "/**"}}, {allow: {method: POST, path: "/v1/*"}}],
          deny_rules: [{method: "*", path: "/admin/**"}]}
      - {host: plain.test, ports: [80, 8080], protocol: rest, enforcement: enforce, rules: [
          {allow: {method: GET, path: "/**"}}, {allow: {method: POST, path: "/v1/*"}}],
          deny_rules: [{method: "*", path: "/admin/**"}]}
      - {host: audit.test, port: 443, protocol: rest, access: read-only}
      - {host: slash.test, port: 443, protocol: rest, enforcement: enforce, allow_encoded_slash: true, rules: [
          {allow: {method: GET, path: "/*"}}]}
      - {host: query.test, port: 443, protocol: rest, enforcement: enforce, rules: [
          {allow: {method: GET, path: "/d", query: {tag: "foo-*"}}}]}
      - {host: badcert.test, port: 443, protocol: rest, enforcement: enforce, access: full}
    binaries: [{path: /usr/bin/curl}]
  bodies:
    endpoints:
      - {host: gql.test, ports: [443, 80], protocol: graphql, enforcement: enforce, path: /graphql, graphql_max_body_bytes: 2000,
         persisted_queries: allow_registered, graphql_persisted_queries: {abc: {operation_type: query, fields: [viewer]}},
         rules: [{allow: {operation_type: query, fields: [viewer, "repo*"]}}, {allow: {operation_type: mutation, operation_name: Safe}}],
         deny_rules: [{operation_type: "*", fields: [secret]}]}
      - {host: gql.test, ports: [443, 80], protocol: rest, enforcement: enforce, access: full}
      - {host: rpc.test, port: 443, protocol: json-rpc, enforcement: enforce, json_rpc: {max_body_bytes: 1000},
         rules: [{allow: {method: reports.list}}]}
      - {host: mcp.test, ports: [443, 80], protocol: mcp, enforcement: enforce, path: /mcp, rules: [{allow: {method: initialize}},
          {allow: {method: "tools/call", tool: "search*"}}], deny_rules: [{method: tools/call, tool: search.all}]}
      - {host: ws.test, ports: [4443, 8081], protocol: websocket, enforcement: enforce, rules: [{allow: {method: GET, path: "/chat/*"}},
          {allow: {method: WEBSOCKET_TEXT, path: "/chat/open"}}]}
      - {host: wsgql.test, port: 4443, protocol: websocket, enforcement: enforce, rules: [{allow: {method: GET, path: "/graphql"}},
          {allow: {operation_type: subscription, fields: [news]}}]}
      - {host: wsraw.test, port: 4443, protocol: rest, enforcement: enforce, rules: [{allow: {method: GET, path: "/raw"}}]}
      - {host: sql.test, port: 7, protocol: sql, access: read-only}
    binaries: [{path: /usr/bin/curl}]
  wide:
    endpoints:
      - {host: api.test, port: 443, protocol: rest, enforcement: enforce, access: full, path: /admin/**}
    binaries: [{path: /usr/bin/curl}]
  hosts:
    endpoints:
      - {host: l4.test, ports: [443, 80, 7, 81]}
      - {host: "*.glob.test", port: 443}
      - {host: skip.test, port: 443, tls: skip}
      - {host: 93.184.216.34, port: 443}
      - {host: db.lan, ports: [443, 444, 6443]}
      - {host: "*.db.lan", port: 443}
      - {host: list.lan, port: 443, allowed_ips: [10.7.0.0/16]}
      - {host: wrong.lan, port: 443, allowed_ips: [10.8.0.0/16]}
      - {host: shared.lan, port: 443}
      - {host: ula.lan, port: 443}
      - {host: meta.test, port: 80}
      - {host: 169.254.169.254, port: 80}
      - {host: 127.0.0.1, port: 80}
      - {host: "::1", port: 80}
      - {host: loop.test, port: 443}
      - {host: "", port: 9443, allowed_ips: [10.7.0.0/16]}
    binaries: [{path: /usr/bin/curl}]
  tools:
    endpoints: [{host: bin.test, port: 443}]
    binaries: [{path: /usr/bin/git}, {path: /opt/agent}]
"""


class Egress:
    """One harness process."""

    def __init__(self, private, authority, label="main", policy=POLICY, ca_dir=None, namespace=False, extra=(), etc_hosts=None,
                 harness=HARNESS):
        self.dir = private.dir / label
        self.dir.mkdir()
        self.policy, self.identity = self.dir / "policy.yaml", self.dir / "identity"
        self.ca_dir = ca_dir or self.dir / "ca"
        if not ca_dir:
            self.ca_dir.mkdir()
        hosts = self.dir / "hosts"
        hosts.write_text("".join(f"{a} {n}\n" for n, a in HOSTS.items()) + f"{PRIVATE} mixed.glob.test\n")
        self.policy.write_text(policy)
        self.who()
        argv = [harness, "--policy", self.policy, "--identity", self.identity, "--ca-dir", self.ca_dir, "--extra-ca",
                authority.pem, "--hosts", hosts] + (["--namespace"] if namespace else []) + list(extra)
        if etc_hosts is not None:  # names that the machine knows, not the operator's file
            (self.dir / "etc-hosts").write_text(etc_hosts)
            argv = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', self.dir / "etc-hosts", *argv]
        self.errors = open(self.dir / "stderr", "w+")
        self.process = private.spawn(*argv, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.lines, self.json, self.lock = [], [], threading.Lock()  # json: the events' other form
        threading.Thread(target=self.collect, daemon=True).start()
        ready = wait_for("the harness", lambda: self.find("READY ") or self.ended(), 20)
        self.port, self.trap, self.udp = map(int, ready.split()[1:])

    def ended(self):
        if self.process.poll() is not None:
            raise AssertionError(f"harness ended: {(self.dir / 'stderr').read_text()}")

    def collect(self):
        with contextlib.suppress(ValueError):  # closed under us when the process is stopped
            for line in self.process.stdout:
                with self.lock:
                    (self.json if line.startswith("JSON ") else self.lines).append(line.rstrip("\n"))

    def find(self, start, since=0):
        with self.lock:
            return next((l for l in self.lines[since:] if l.startswith(start)), None)

    def mark(self):
        with self.lock:
            return len(self.lines)

    def audit(self, part, since=0, seconds=5):
        """Waits for an audit line with this part."""
        def look():
            with self.lock:
                return next((l[6:] for l in self.lines[since:] if l.startswith("AUDIT ") and part in l), None)
        try:
            return wait_for(f"audit line with {part!r}", look, seconds)
        except AssertionError as why:
            with self.lock:
                raise AssertionError(f"{why}; lines: {self.lines[since:][-8:]}") from None

    def who(self, exe="/usr/bin/curl", *ancestors, pid=64):
        fresh = self.identity.with_suffix(".new")
        fresh.write_text("\n".join([str(pid), exe, *ancestors]) + "\n")
        fresh.replace(self.identity)

    @contextlib.contextmanager
    def as_process(self, exe, *ancestors, pid=64):
        self.who(exe, *ancestors, pid=pid)
        try:
            yield
        finally:
            self.who()

    def reload(self, policy):
        self.policy.write_text(policy)
        since = self.mark()
        self.process.send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: self.find("RELOADED", since))

    def dial(self, timeout=20):
        s = socket.create_connection(("127.0.0.1", self.port), timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def ask(self, data):
        """Sends bytes on a new connection and returns everything until the end."""
        with self.dial() as s:
            s.sendall(data)
            return read_all(s)

    def connect(self, target):
        """CONNECT; returns (socket, response head) with the socket in the tunnel."""
        s = self.dial()
        s.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        head, rest = b"", b""
        while not head.endswith(b"\r\n\r\n"):  # not a byte more: what follows belongs to the tunnel
            byte = s.recv(1)
            check(byte, f"connection ended inside the CONNECT answer: {head!r}")
            head += byte
        head = head[:-4]
        if head.split(b" ")[1] == b"200":
            return s, head
        n = int(re.search(rb"Content-Length: (\d+)", head)[1]) if b"Content-Length" in head else 0
        while len(rest) < n:
            rest += s.recv(65536)
        s.close()
        return None, (head, rest)

    def refused(self, target):
        """CONNECT that must be refused: (status line, parsed body)."""
        s, answer = self.connect(target)
        check(s is None, f"CONNECT {target} was allowed")
        head, body = answer
        contains(head.decode(), "Connection: close")
        contains(head.decode(), "Content-Type: application/json")
        return head.split(b"\r\n")[0].decode(), json.loads(body)

    def open(self, target):
        s, answer = self.connect(target)
        check(s is not None, f"CONNECT {target} was refused: {answer}")
        return s

    def tls(self, target, sni=None, cafile=None, alpn=("http/1.1",)):
        host = target.rsplit(":", 1)[0].strip("[]")
        context = ssl.create_default_context(cafile=str(cafile or self.ca_dir / "openshell-ca.pem"))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if sni:
            context.check_hostname = False
        return context.wrap_socket(self.open(target), server_hostname=sni or host)

    def request(self, target, data, **kw):
        with self.tls(target, **kw) as s:
            s.sendall(data)
            return Response(s, head_only=data.startswith(b"HEAD "))

    def get(self, host, path="/", method="GET", more=""):
        return self.request(f"{host}:443", f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode())


class World:
    """Origins and one egress, shared by the cases."""

    def __init__(self):
        for a in (PUBLIC, PUBLIC2, PRIVATE, SHARED, "169.254.169.254"):
            check(run("ip", "address", "add", f"{a}/32", "dev", "lo").code == 0, "ip address add")
        self.ipv6 = run("ip", "address", "add", f"{ULA}/128", "dev", "lo", "nodad").code == 0
        self.private = Private("egress")
        self.authority = Authority(self.private.dir)
        names = sorted(HOSTS) + [PUBLIC]
        names.remove("badcert.test")
        cert, key = self.authority.issue(*names)
        self.tls = Origin(PUBLIC, 443, cert, key)
        self.plain = Origin(PUBLIC, 80)
        self.plain2 = Origin(PUBLIC, 8080)
        other = self.private.dir / "other"
        other.mkdir()
        self.badcert = Origin(PUBLIC2, 443, *Authority(other).issue("badcert.test"))
        self.lan = Origin(PRIVATE, 443, cert, key)
        self.lan2 = Origin(PRIVATE, 9443, cert, key)
        self.shared = Origin(SHARED, 443, cert, key)
        self.metadata = Origin("169.254.169.254", 80)
        self.loopback = Origin("127.0.0.1", 80)
        self.loopback_tls = Origin("127.0.0.1", 443, cert, key)
        self.ula = Origin(ULA, 443, cert, key) if self.ipv6 else None
        self.echo = RawOrigin(PUBLIC, 7)
        self.ws = WebSocketOrigin(PUBLIC, 4443, cert, key)
        self.ws_plain = WebSocketOrigin(PUBLIC, 8081)
        self.greeter = RawOrigin(PUBLIC, 81, b"220 hello\r\n")
        self.egress = Egress(self.private, self.authority)

    def fresh(self):
        """Forgets what the origins saw."""
        for o in (self.tls, self.plain, self.plain2, self.lan, self.badcert):
            with o.lock:
                o.seen, o.raw = [], b""


def nothing_seen(origin):
    time.sleep(0.05)
    equal(origin.raw, b"", "bytes at the origin")


def main(suite, world=None):
    if os.geteuid() != 0:
        print("skip egress: needs root for a network namespace of its own")
        return
    if os.environ.get("EGRESS_TEST_NAMESPACE") != "1":
        os.environ["EGRESS_TEST_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
    check(run("ip", "link", "set", "lo", "up").code == 0, "ip link set lo up")
    suite.run((world or World)())
