"""The operator's forward proxy as the only way out: what it is asked for, what never goes through it, what it may do wrong.
Addresses behind it are not there in this namespace: what arrives came through the proxy."""
import base64
import pathlib
import socket
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
import world  # noqa: E402
from direct import Direct  # noqa: E402
from harness import BUILD, Authority, Private, Suite, check, contains, equal, free_port, run, stop_process, wait_for  # noqa: E402
from h2_peers import H2Client, H2Origin  # noqa: E402
from origins import Origin, RawOrigin, Response, WebSocketClient, WebSocketOrigin, read_all  # noqa: E402
from proxies import ForwardProxy, fetch_tinyproxy, tinyproxy  # noqa: E402
from world import PUBLIC, PUBLIC2, Egress, main  # noqa: E402

suite = Suite()
FAR, FAR2, LAN, FAR6 = "93.184.216.40", "93.184.216.41", "10.7.0.40", "2606:2800:220:1::40"  # nobody has these here
CREDENTIAL = "user:s3cret-pass word"
world.HOSTS.update({"far.test": FAR, "two.test": FAR, "lan.corp": LAN, "near.test": PUBLIC, "skip.far.test": FAR,
                    "h2.far.test": FAR, "ws.far.test": FAR, "proxy.test": "127.0.0.1",
                    "six.test": FAR6, "host.openshell.internal": PUBLIC})

POLICY = """
version: 1
network_policies:
  api:
    endpoints:
      - {host: far.test, ports: [443, 80], protocol: rest, enforcement: enforce, rules: [{allow: {method: GET, path: "/**"}},
          {allow: {method: POST, path: "/v1/*"}}]}
      - {host: two.test, ports: [443, 7]}
      - {host: lan.corp, port: 443}
      - {host: near.test, ports: [443, 7]}
      - {host: skip.far.test, port: 443, tls: skip}
      - {host: h2.far.test, port: 8443, protocol: rest, enforcement: enforce, access: full}
      - {host: ws.far.test, port: 4443, protocol: websocket, enforcement: enforce, rules: [{allow: {method: GET, path: "/**"}},
          {allow: {method: WEBSOCKET_TEXT, path: "/**"}}]}
      - {host: 93.184.216.40, port: 443}
      - {host: 127.0.0.1, port: 443}
      - {host: tcp.test, port: 7, protocol: tcp}
      - {host: gone.invalid, port: 443}
      - {host: six.test, port: 7}
      - {host: host.openshell.internal, port: 7}
      - {host: named.test, port: 443}
      - {host: named.test, port: 80, protocol: rest, enforcement: enforce, rules: [{allow: {method: GET, path: "/**"}},
          {allow: {method: POST, path: "/v1/*"}}]}
      - {host: "*.named.test", port: 443}
    binaries: [{path: /usr/bin/curl}]
"""


class ProxyWorld:
    def __init__(self):
        for a in (PUBLIC, PUBLIC2):
            check(run("ip", "address", "add", f"{a}/32", "dev", "lo").code == 0, "ip address add")
        self.private = Private("egress-proxy")
        self.authority = Authority(self.private.dir)
        self.cert, self.key = self.authority.issue("far.test", "two.test", "lan.corp", "near.test", "skip.far.test",
                                                   "h2.far.test", "ws.far.test", "named.test", FAR)
        self.tls = Origin(PUBLIC, 443, self.cert, self.key)
        self.plain = Origin(PUBLIC, 80)
        self.h2 = H2Origin(PUBLIC, 8443, self.cert, self.key, ("h2", "http/1.1"))
        self.ws = WebSocketOrigin(PUBLIC, 4443, self.cert, self.key)
        self.echo = RawOrigin(PUBLIC, 7)
        lead = {FAR: PUBLIC, FAR6: PUBLIC, FAR2: PUBLIC, LAN: PUBLIC, "far.test": PUBLIC, "two.test": PUBLIC, "tcp.test": PUBLIC, "named.test": PUBLIC}
        self.auth = self.private.dir / "credential"
        self.auth.write_text(CREDENTIAL + "\n")
        self.proxy = ForwardProxy("127.0.0.1", free_port())
        self.secret = ForwardProxy("127.0.0.1", free_port(), credential=CREDENTIAL.encode())
        pcert, pkey = self.authority.issue("proxy.test")
        self.secure = ForwardProxy("127.0.0.1", free_port(), pcert, pkey, credential=CREDENTIAL.encode())
        other = self.private.dir / "other"
        other.mkdir()
        self.untrusted = ForwardProxy("127.0.0.1", free_port(), *Authority(other).issue("proxy.test"))
        for p in (self.proxy, self.secret, self.secure, self.untrusted):
            p.lead = lead
        self.egress = self.start("proxied", self.proxy)

    def start(self, label, proxy, *more, scheme="http", host="127.0.0.1", **kw):
        return Egress(self.private, self.authority, label, POLICY, **kw,
                      extra=["--upstream-proxy", f"{scheme}://{host}:{proxy.port}", *more])


# --- what goes through it ---

@suite.case
def https_goes_through_by_the_checked_address(w):
    w.proxy.fresh()
    since = w.egress.mark()
    equal(w.egress.get("far.test", "/x").status, 200, "status")
    equal(w.proxy.asked, [f"CONNECT {FAR}:443 HTTP/1.1\r\nHost: {FAR}:443\r\n\r\n".encode()], "what the proxy was asked")
    contains(w.tls.seen[-1][1].decode(), "GET /x HTTP/1.1\r\nHost: far.test")
    w.egress.audit("ALLOWED /usr/bin/curl(64) -> far.test:443", since)
    check(b"GET /x" not in w.proxy.raw, "the proxy sees TLS only")


@suite.case
def the_start_is_an_event(w):
    line = w.egress.audit("Upstream corporate proxy enabled")
    contains(line, f"https_proxy=127.0.0.1:{w.proxy.port} no_proxy_entries=0 connect_target=validated-ip")


@suite.case
def rules_hold_as_without_it(w):
    w.proxy.fresh()
    equal(w.egress.get("far.test", "/v2", method="POST", more="Content-Length: 0\r\n").status, 403, "denied request")
    equal(w.egress.refused("unlisted.test:443")[0], "HTTP/1.1 403 Forbidden", "denied host")
    equal(w.egress.refused("127.0.0.1:443")[1]["error"], "ssrf_denied", "loopback")
    equal(w.egress.refused("gone.invalid:443")[1]["error"], "ssrf_denied", "a name that cannot be checked")
    equal(w.proxy.targets(), [f"{FAR}:443"], "only what the rules let through to it")


@suite.case
def plain_http_goes_through(w):
    w.proxy.fresh()
    answer = w.egress.ask(b"GET http://far.test/plain HTTP/1.1\r\nHost: far.test\r\n\r\n")
    contains(answer.decode(), "origin saw GET /plain HTTP/1.1")
    contains(w.egress.ask(b"GET http://far.test:80/again HTTP/1.0\r\n\r\n").decode(), "origin saw GET /again")
    equal(w.proxy.targets(), [f"{FAR}:80"] * 2, "targets")
    s = w.egress.open("far.test:80")
    s.sendall(b"GET /in HTTP/1.1\r\nHost: far.test\r\n\r\n")
    equal(Response(s).status, 200, "inside a tunnel")


@suite.case
def raw_tls_skip_h2_and_websocket_go_through(w):
    w.proxy.fresh()
    with w.egress.open("two.test:7") as s:
        s.sendall(b"ping")
        equal(s.recv(4), b"ping", "echo")
        s.shutdown(socket.SHUT_WR)
        equal(read_all(s), b"bye", "half-close")
    with w.egress.tls("skip.far.test:443", cafile=w.authority.pem) as s:
        s.sendall(b"GET /skip HTTP/1.1\r\nHost: skip.far.test\r\n\r\n")
        equal(Response(s).status, 200, "tls: skip")
    with H2Client(w.egress.tls("h2.far.test:8443", alpn=("h2", "http/1.1"))) as c:
        equal(c.ask("GET", "/x", authority="h2.far.test:8443").status, 200, "h2")
    ws = WebSocketClient(w.egress.tls("ws.far.test:4443"), "ws.far.test:4443", "/chat/x")
    ws.send(1, b"hello")
    equal(ws.next()[3], b"hello", "websocket")
    equal(sorted(w.proxy.targets()), sorted([f"{FAR}:7", f"{FAR}:443", f"{FAR}:8443", f"{FAR}:4443"]), "targets")


@suite.case
def captured_connections_go_through_by_address(w):
    e = w.start("captured", w.proxy, "--upstream-proxy-connect-by-hostname", namespace=True, etc_hosts=f"{FAR} named.test\n")
    d = Direct(e)
    w.proxy.fresh()
    with d.tls("named.test") as s:
        s.sendall(b"GET /direct HTTP/1.1\r\nHost: named.test\r\n\r\n")
        equal(Response(s).status, 200, "status")
    equal(w.proxy.targets(), [f"{FAR}:443"], "targets")
    w.proxy.fresh("refuse all 403")
    try:
        check(d.refused(d.open("named.test", 443)), "answered")
    finally:
        w.proxy.fresh()
    stop_process(e.process)


@suite.case
def a_server_that_speaks_first(w):
    greeter = RawOrigin(PUBLIC2, 7, b"220 hello\r\n")
    lead, w.proxy.lead = w.proxy.lead, {FAR: PUBLIC2}
    try:
        with w.egress.open("two.test:7") as s:
            equal(s.recv(11), b"220 hello\r\n", "greeting")
    finally:
        w.proxy.lead = lead
        greeter.listener.close()


@suite.case
def concurrent_connections_share_nothing(w):
    w.proxy.fresh()
    failures = []

    def work(i):
        try:
            for k in range(4):
                equal(w.egress.get(("far.test", "two.test")[k % 2], f"/c{i}").status, 200, "status")
        except Exception as why:
            failures.append(why)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    check(not failures, f"{failures[:3]}")
    equal(len(w.proxy.targets()), 64, "connections through the proxy")


# --- by name ---

@suite.case
def by_hostname_the_proxy_gets_the_name_after_the_checks(w):
    """Names of the operator's hosts file are known to nobody else: they go by address in both modes."""
    e = w.start("named", w.proxy, "--upstream-proxy-connect-by-hostname",
                etc_hosts=f"{FAR} named.test\n10.7.0.41 private.named.test\n")
    w.proxy.fresh()
    e.audit("connect_target=hostname")
    equal(e.get("far.test", "/n").status, 200, "status")
    equal(e.get("named.test", "/n").status, 200, "status")
    equal(e.get(FAR, "/n").status, 200, "status")
    contains(e.ask(b"GET http://named.test/p HTTP/1.1\r\nHost: named.test\r\n\r\n").decode(), "origin saw GET /p")
    equal(w.proxy.targets(), [f"{FAR}:443", "named.test:443", f"{FAR}:443", "http://named.test/p"],
          "targets")
    w.proxy.fresh()
    equal(e.refused("private.named.test:443")[1]["error"], "ssrf_denied", "an address that may not be dialled")
    equal(e.refused("gone.invalid:443")[1]["error"], "ssrf_denied", "no address, nothing to check")
    equal(w.proxy.targets(), [], "and nothing asked")
    stop_process(e.process)


@suite.case
def by_hostname_plain_http_is_asked_for_without_a_tunnel(w):
    """As every proxy expects it; an upgrade, and a name that only the operator knows, have their tunnel."""
    e = w.start("named-plain", w.proxy, "--upstream-proxy-connect-by-hostname", etc_hosts=f"{FAR} named.test\n")
    w.proxy.fresh()
    w.plain.raw = b""
    body = b"z" * 100000
    answer = e.ask(b"POST http://NAMED.test:80/v1/up?q=1 HTTP/1.1\r\nHost: other\r\nProxy-Authorization: Basic agent\r\n"
                   b"Content-Length: 100000\r\n\r\n" + body)
    contains(answer.decode(), "origin saw POST /v1/up?q=1 HTTP/1.1 with 100000 bytes")
    head = w.proxy.asked[0]
    check(head.startswith(b"POST http://named.test/v1/up?q=1 HTTP/1.1\r\n"), head)
    equal((head.count(b"Host: named.test\r\n"), head.count(b"Host:")), (1, 1), "Host")
    check(b"Basic agent" not in head, "the agent's went on")
    contains(e.ask(b"GET http://far.test/v HTTP/1.1\r\nHost: x\r\n\r\n").decode(), "origin saw GET /v")
    equal(e.ask(b"DELETE http://named.test/v HTTP/1.1\r\nHost: x\r\n\r\n").split(b" ")[1], b"403", "rules hold")
    equal(w.proxy.targets(), ["http://named.test/v1/up?q=1", f"{FAR}:80"], "targets")
    stop_process(e.process)
    e = w.start("named-without", w.secret, "--upstream-proxy-connect-by-hostname", etc_hosts=f"{FAR} named.test\n")
    answer = e.ask(b"GET http://named.test/p HTTP/1.1\r\nHost: x\r\n\r\n").decode()
    contains(answer, "502 Bad Gateway")
    check("407" not in answer and "Proxy-Auth" not in answer, answer)
    stop_process(e.process)


@suite.case
def what_a_proxy_answers_shows_no_credential(w):
    """A proxy may show what it was asked (TRACE, error pages): a request with the credential is never asked in the open."""
    e = w.start("named-secret", w.secret, "--upstream-proxy-connect-by-hostname", "--upstream-proxy-auth-file", w.auth,
                "--upstream-proxy-auth-allow-insecure", etc_hosts=f"{FAR} named.test\n")
    w.secret.fresh()
    encoded = base64.b64encode(CREDENTIAL.encode())
    for ask in (b"GET http://named.test/p HTTP/1.1\r\nHost: x\r\n\r\n",
                b"TRACE http://named.test/v1/t HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n"):
        check(encoded not in e.ask(ask), "the agent saw it")
    contains(e.ask(b"GET http://named.test/p HTTP/1.1\r\nHost: x\r\n\r\n").decode(), "origin saw GET /p")
    check(all(t == "named.test:80" for t in w.secret.targets()), w.secret.targets())
    check(all(h.startswith(b"CONNECT ") for h in w.secret.asked), "asked without a tunnel")
    stop_process(e.process)


# --- around it ---

@suite.case
def exceptions_are_dialled_directly(w):
    e = w.start("except", w.proxy, "--upstream-no-proxy", f"corp, .unused.test ,near.test:443,{PUBLIC2}/32,10.7.0.0/16:443")
    w.proxy.fresh()
    e.audit("no_proxy_entries=5")
    equal(e.get("near.test", "/direct").status, 200, "by name and port")
    equal(w.proxy.targets(), [], "near.test:443")
    with e.open("near.test:7") as s:  # the exception is for another port
        s.sendall(b"x")
        equal(s.recv(1), b"x", "echo")
    equal(w.proxy.targets(), [f"{PUBLIC}:7"], "near.test:7")
    status, body = e.refused("lan.corp:443")  # an exception: dialled here, where it is not
    equal((status, body["error"]), ("HTTP/1.1 502 Bad Gateway", "upstream_unreachable"), "lan.corp")
    equal(e.get("far.test").status, 200, "no exception")
    equal(w.proxy.targets()[1:], [f"{FAR}:443"], "far.test")
    stop_process(e.process)


@suite.case
def exceptions_by_address_match_what_names_resolve_to(w):
    """Of several addresses only those that an exception names are dialled."""
    e = w.start("except-address", w.proxy, "--upstream-no-proxy", f"{PUBLIC}/32")
    w.proxy.fresh()
    equal(e.get("near.test", "/a").status, 200, "direct")
    equal(w.proxy.targets(), [], "near.test")
    stop_process(e.process)
    hosts = w.private.dir / "more-hosts"
    hosts.write_text(f"{FAR2} near.test\n")
    e = w.start("except-one", w.proxy, "--hosts", hosts, "--upstream-no-proxy", f"{PUBLIC}/32")
    equal(e.get("near.test", "/one").status, 200, "the one of two that is an exception")
    stop_process(e.process)
    e = w.start("except-other", w.proxy, "--hosts", hosts, "--upstream-no-proxy", f"{FAR2}:443")
    equal(e.refused("near.test:443")[0], "HTTP/1.1 502 Bad Gateway", "the other one, which is not there")
    equal(w.proxy.targets(), [], "and nothing asked of the proxy")
    stop_process(e.process)
    e = w.start("except-all", w.proxy, "--upstream-no-proxy", "*")
    equal(e.get("near.test", "/b").status, 200, "direct")
    equal(w.proxy.targets(), [], "with *")
    stop_process(e.process)


@suite.case
def this_machine_is_never_behind_it(w):
    w.proxy.fresh()
    with w.egress.open("host.openshell.internal:7") as s:
        s.sendall(b"x")
        equal(s.recv(1), b"x", "echo")
    equal(w.proxy.targets(), [], "targets")


# --- credentials ---

@suite.case
def credentials_go_to_the_proxy_and_nowhere_else(w):
    e = w.start("secret", w.secret, "--upstream-proxy-auth-file", w.auth, "--upstream-proxy-auth-allow-insecure")
    w.tls.raw = w.plain.raw = b""
    encoded = base64.b64encode(CREDENTIAL.encode()).decode()
    r = e.get("far.test", "/s")
    equal(r.status, 200, "status")
    contains(w.secret.asked[-1].decode(), f"\r\nProxy-Authorization: Basic {encoded}\r\n")
    contains(e.ask(b"GET http://far.test/p HTTP/1.1\r\nHost: x\r\n\r\n").decode(), "origin saw GET /p")
    argv = pathlib.Path(f"/proc/{e.process.pid}/cmdline").read_bytes()
    seen = w.tls.raw + w.plain.raw + argv + r.head + r.body + (e.dir / "stderr").read_bytes()
    with e.lock:
        seen += "\n".join(e.lines + e.json).encode()
    for secret in (CREDENTIAL, encoded, "s3cret"):
        check(secret.encode() not in seen, f"{secret} got out")
    stop_process(e.process)


@suite.case
def without_credentials_a_407_is_a_502_that_the_operator_understands(w):
    e = w.start("without", w.secret)
    since = e.mark()
    w.secret.fresh()
    status, body = e.refused("far.test:443")
    equal((status, body["error"]), ("HTTP/1.1 502 Bad Gateway", "upstream_unreachable"), "answer")
    equal(body["detail"], "connection to far.test:443 failed", "the agent hears nothing of the proxy")
    e.audit(f"upstream proxy 127.0.0.1:{w.secret.port}: status 407: it wants credentials", since)
    answer = e.ask(b"GET http://far.test/p HTTP/1.1\r\nHost: x\r\n\r\n").decode()
    contains(answer, "502 Bad Gateway")
    check("407" not in answer and "Proxy-Auth" not in answer, answer)
    stop_process(e.process)


# --- over TLS ---

@suite.case
def an_https_proxy_is_verified_and_needs_no_flag_for_credentials(w):
    e = w.start("secure", w.secure, "--upstream-proxy-auth-file", w.auth, scheme="https", host="proxy.test")
    w.secure.fresh()
    equal(e.get("far.test", "/tls-in-tls").status, 200, "TLS in TLS")
    equal(w.secure.targets(), [f"{FAR}:443"], "target")
    contains(e.ask(b"GET http://far.test/p HTTP/1.1\r\nHost: x\r\n\r\n").decode(), "origin saw GET /p")
    with e.open("two.test:7") as s:
        s.sendall(b"ping")
        equal(s.recv(4), b"ping", "opaque")
        s.sendall(b"y" * 300000)
        got = b""
        while len(got) < 300000:
            got += s.recv(65536)
        equal(got, b"y" * 300000, "many bytes")
    with e.tls("skip.far.test:443", cafile=w.authority.pem) as s:
        s.sendall(b"GET /big HTTP/1.1\r\nHost: skip.far.test\r\n\r\n")
        equal(len(Response(s).body), 3000000, "tls: skip")
    r = e.get("far.test", "/big")
    equal(len(r.body), 3000000, "a big body, TLS in TLS")
    body = b"z" * 2000000
    r = e.request("far.test:443", b"POST /v1/x HTTP/1.1\r\nHost: far.test\r\nContent-Length: 2000000\r\n\r\n" + body)
    contains(r.body.decode(), "with 2000000 bytes")
    with H2Client(e.tls("h2.far.test:8443", alpn=("h2", "http/1.1"))) as c:
        equal(c.ask("GET", "/x", authority="h2.far.test:8443").status, 200, "h2")
    ws = WebSocketClient(e.tls("ws.far.test:4443"), "ws.far.test:4443", "/chat/x")
    ws.send(1, b"hello" * 1000)
    equal(ws.next()[3], b"hello" * 1000, "websocket")
    stop_process(e.process)


@suite.case
def a_proxy_that_nobody_vouches_for_is_not_used(w):
    for label, proxy, host in (("untrusted", w.untrusted, "proxy.test"), ("misnamed", w.secure, "127.0.0.1")):
        e = w.start(label, proxy, "--upstream-proxy-auth-file", w.auth, scheme="https", host=host)
        proxy.fresh()
        since = e.mark()
        equal(e.refused("far.test:443")[0], "HTTP/1.1 502 Bad Gateway", label)
        e.audit(f"upstream proxy {host}:{proxy.port}: TLS handshake failed", since)
        equal(proxy.asked, [], "no credential was sent")
        stop_process(e.process)


# --- proxies that misbehave ---

@suite.case
def broken_answers_are_a_502(w):
    for mode, why in (("garbage", ""), ("html", ""), ("empty", "it closed the connection instead of an answer"),
                      ("half", "it closed the connection"), ("long", "head is longer than 8192 bytes"),
                      ("long line", "head is longer than 8192 bytes"), ("refuse all 403", "status 403"),
                      ("refuse all 201", "status 201"), ("refuse all 302", "status 302"), ("refuse all 503", "status 503"),
                      ("refuse all 101", "status 101"), ("refuse all 100", "status 100")):
        w.proxy.fresh(mode)
        since = w.egress.mark()
        try:
            equal(w.egress.refused("far.test:443")[0], "HTTP/1.1 502 Bad Gateway", mode)
        finally:
            w.proxy.fresh()
        w.egress.audit("NET:FAIL [LOW] /usr/bin/curl(64) -> far.test:443", since)
        text = f"CONNECT refused for far.test:443: upstream proxy 127.0.0.1:{w.proxy.port}: {why}"
        check(any(text in line for line in list(w.egress.json)), f"no event says {text!r}")


@suite.case
def odd_answers_that_are_right_pass(w):
    for mode in ("drip", "framed"):
        w.proxy.fresh(mode)
        try:
            equal(w.egress.get("far.test", "/odd").status, 200, mode)
        finally:
            w.proxy.fresh()


@suite.case
def what_comes_with_the_answer_belongs_to_the_tunnel(w):
    for proxy, e in ((w.proxy, w.egress), (w.secure, w.start("surplus", w.secure, "--upstream-proxy-auth-file", w.auth,
                                                             scheme="https", host="proxy.test"))):
        proxy.fresh("surplus")
        try:
            with e.open("two.test:7") as s:
                got = b""
                while len(got) < 11:
                    got += s.recv(11)
                equal(got, b"220 early\r\n", "first bytes")
                s.sendall(b"x")
                equal(s.recv(1), b"x", "echo")
        finally:
            proxy.fresh()
    stop_process(e.process)


@suite.case
def ipv6_has_brackets(w):
    w.proxy.fresh()
    with w.egress.open("six.test:7") as s:
        s.sendall(b"x")
        equal(s.recv(1), b"x", "echo")
    equal(w.proxy.asked, [f"CONNECT [{FAR6}]:7 HTTP/1.1\r\nHost: [{FAR6}]:7\r\n\r\n".encode()], "what the proxy was asked")


@suite.case
def one_address_cannot_use_up_the_time_of_the_next(w):
    hosts = w.private.dir / "slow-hosts"
    hosts.write_text(f"{FAR2} far.test\n")
    e = w.start("slow", w.proxy, "--hosts", hosts, harness=BUILD / "tests/e2e/egress/egress_harness_short")
    w.proxy.fresh(f"silent {FAR}")
    try:
        with e.open("far.test:80") as s:
            s.sendall(b"GET /after HTTP/1.1\r\nHost: far.test\r\n\r\n")
            equal(Response(s).status, 200, "status")
        equal(w.proxy.targets(), [f"{FAR}:80", f"{FAR2}:80"], "in order")
        w.proxy.fresh("silent")
        equal(e.refused("far.test:443")[0], "HTTP/1.1 502 Bad Gateway", "a proxy that never answers")
        w.proxy.fresh("drip for ever")
        equal(e.refused("far.test:443")[0], "HTTP/1.1 502 Bad Gateway", "nor ever comes to an end")
    finally:
        w.proxy.fresh()
    stop_process(e.process)


@suite.case
def the_next_address_is_tried(w):
    hosts = w.private.dir / "two-hosts"
    hosts.write_text(f"{FAR2} far.test\n")
    e = w.start("two", w.proxy, "--hosts", hosts)
    w.proxy.fresh(f"refuse {FAR} 502")
    try:
        equal(e.get("far.test", "/second").status, 200, "status")
        equal(w.proxy.targets(), [f"{FAR}:443", f"{FAR2}:443"], "in order")
        w.proxy.fresh("refuse all 407")
        equal(e.refused("far.test:443")[0], "HTTP/1.1 502 Bad Gateway", "status")
        equal(len(w.proxy.targets()), 1, "credentials are not better at the next address")
    finally:
        w.proxy.fresh()
    stop_process(e.process)


@suite.case
def a_proxy_that_is_not_there_is_a_502(w):
    class Nobody:
        port = free_port()
    e = w.start("nobody", Nobody)
    since = e.mark()
    equal(e.refused("far.test:443")[0], "HTTP/1.1 502 Bad Gateway", "status")
    e.audit("cannot connect to it: Connection refused", since)
    stop_process(e.process)
    e = w.start("unknown", Nobody, host="proxy.invalid")
    since = e.mark()
    equal(e.refused("far.test:443")[0], "HTTP/1.1 502 Bad Gateway", "status")
    e.audit(f"[msg:upstream proxy proxy.invalid:{Nobody.port}: ", since)
    stop_process(e.process)


# --- policy changes ---

def waits(w, e, proxy, mode, scheme="http"):
    """A reload while the proxy keeps us waiting: answered at once, and the proxy's connection ends."""
    proxy.fresh(mode)
    with e.dial() as s:
        s.sendall(b"CONNECT far.test:443 HTTP/1.1\r\n\r\n")
        wait_for("the proxy to be asked", lambda: proxy.connections if mode == "no-tls" else proxy.asked)
        e.reload(POLICY + "\n#" + mode)
        r = Response(s)
        equal(r.status, 403, mode)
        contains(r.body.decode(), "not permitted because policy changed")
    proxy.fresh()


@suite.case
def a_policy_change_ends_the_wait_for_the_proxy(w):
    e = w.start("changes", w.proxy)
    for mode in ("silent", "drip for ever"):
        waits(w, e, w.proxy, mode)
    w.proxy.fresh("silent")
    with e.dial() as s:
        s.sendall(b"GET http://far.test/x HTTP/1.1\r\nHost: far.test\r\n\r\n")
        wait_for("the proxy to be asked", lambda: w.proxy.asked)
        e.reload(POLICY)
        equal(Response(s).status, 403, "plain HTTP")
    w.proxy.fresh()
    stop_process(e.process)
    e = w.start("changes-tls", w.secure, "--upstream-proxy-auth-file", w.auth, scheme="https", host="proxy.test")
    waits(w, e, w.secure, "no-tls")
    waits(w, e, w.secure, "silent")
    stop_process(e.process)


@suite.case
def a_policy_change_cuts_tunnels_through_it(w):
    for label, proxy, more, scheme, host in (("cut", w.proxy, [], "http", "127.0.0.1"),
                                             ("cut-tls", w.secure, ["--upstream-proxy-auth-file", w.auth], "https", "proxy.test")):
        e = w.start(label, proxy, *more, scheme=scheme, host=host)
        before = set(proxy.open)
        idle, raw = e.tls("far.test:443"), e.open("two.test:7")
        raw.sendall(b"x")
        equal(raw.recv(1), b"x", "echo")
        e.reload(POLICY + "\n")
        equal(read_all(raw), b"", "opaque tunnel")
        equal(read_all(idle), b"", "inspected tunnel")
        wait_for("the proxy's connections to end", lambda: proxy.open <= before)
        stop_process(e.process)


# --- a real one ---

@suite.case
def tinyproxy_serves_all_of_it(w):
    port = free_port()
    log = tinyproxy(w.private, port, "BasicAuth user s3cret\n")
    auth = w.private.dir / "tinyproxy-credential"
    auth.write_text("user:s3cret\n")

    class Real:
        pass
    Real.port = port
    e = w.start("tinyproxy", Real, "--upstream-proxy-auth-file", auth, "--upstream-proxy-auth-allow-insecure")
    equal(e.get("near.test", "/tiny").status, 200, "https")
    with e.open("near.test:7") as s:
        s.sendall(b"ping")
        equal(s.recv(4), b"ping", "opaque")
    contains(log.read_text(), f"CONNECT {PUBLIC}:443")
    stop_process(e.process)
    e = w.start("tinyproxy-no", Real)
    since = e.mark()
    equal(e.refused("near.test:443")[0], "HTTP/1.1 502 Bad Gateway", "without credentials")
    e.audit("status 40", since)
    stop_process(e.process)


if __name__ == "__main__":
    fetch_tinyproxy()
    main(suite, ProxyWorld)
