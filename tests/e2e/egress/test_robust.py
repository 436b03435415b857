"""What slow, broken and hostile peers on either side achieve: nothing for long, and nothing beyond their own connection. And
what a policy change cuts, in every phase of a connection. Where time limits must be seen acting, the harness has short ones."""
import contextlib
import os
import pathlib
import socket
import ssl
import struct
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
import world  # noqa: E402
from harness import BUILD, Authority, Private, Suite, check, contains, equal, run, stop_process, wait_for  # noqa: E402
from h2_peers import H2Client, H2Origin  # noqa: E402
from origins import Response, WebSocketClient, WebSocketOrigin, read_all, read_head  # noqa: E402
from world import PUBLIC, PUBLIC2, Egress, main  # noqa: E402

suite = Suite()
world.HOSTS.update({"s.test": PUBLIC, "p.test": PUBLIC, "r.test": PUBLIC, "full.test": PUBLIC2, "ws.test": PUBLIC,
                    "wsraw.test": PUBLIC, "h2.test": PUBLIC, "q.test": PUBLIC})

# s.test speaks TLS, p.test plain HTTP, q.test both, with bodies that are judged; r.test is not looked into; full.test never completes a connection.
POLICY = """
version: 1
network_policies:
  api:
    endpoints:
      - {host: s.test, port: 443, protocol: rest, enforcement: enforce, access: full}
      - {host: p.test, ports: [80], protocol: rest, enforcement: enforce, access: full}
      - {host: r.test, port: 7}
      - {host: h2.test, port: 8443, protocol: rest, enforcement: enforce, access: full}
      - {host: full.test, ports: [443, 80]}
      - {host: q.test, ports: [443, 80, 8443], protocol: graphql, enforcement: enforce, rules: [{allow: {operation_type: query}}]}
      - {host: ws.test, port: 4443, protocol: websocket, enforcement: enforce, rules: [{allow: {method: GET, path: "/**"}},
          {allow: {method: WEBSOCKET_TEXT, path: "/**"}}]}
      - {host: wsraw.test, ports: [4443, 8081], protocol: rest, enforcement: enforce, access: full}
    binaries: [{path: /usr/bin/curl}]
"""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Scripted:
    """An upstream that does what `script` says: script(conn, head) behind every request head, hello(conn) in place of TLS.
    `open` are its connections, `raw` what they read."""

    def __init__(self, port, cert=None, key=None, address=PUBLIC):
        self.script, self.hello, self.open, self.raw, self.lock = None, None, set(), b"", threading.Lock()
        self.connections = 0
        self.context = None
        if cert:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(cert, key)
        self.listener = socket.create_server((address, port), backlog=128)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.guarded, args=(conn,), daemon=True).start()

    def guarded(self, conn):
        with self.lock:
            self.open.add(conn)
            self.connections += 1
        with contextlib.suppress(OSError, ssl.SSLError, ValueError, AssertionError), conn:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                if self.hello:
                    self.hello(conn)
                    return
                if self.context:
                    with self.context.wrap_socket(conn, server_side=True) as tls:
                        self.serve(tls)
                else:
                    self.serve(conn)
            finally:
                with self.lock:
                    self.open.discard(conn)

    def serve(self, conn):
        buf = b""
        while True:
            head, buf = read_head(conn, buf)
            with self.lock:
                self.raw += head
            going_on = self.script(conn, head)
            if not going_on:
                return

    def now(self, script=None, hello=None):
        """The behaviour from now on; the connections until now are forgotten."""
        with self.lock:
            self.script, self.hello, self.raw, self.open, self.connections = script, hello, b"", set(), 0


def says(*parts, then=False):
    """A script that sends these parts, and then keeps the connection (True), closes it (False) or resets it ("reset")."""
    def script(conn, head):
        for part in parts:
            conn.sendall(part)
        if then == "reset":
            reset(conn)
            return False
        if then == "wait":
            until_end(conn)
            return False
        return then
    return script


def reset(conn):
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    fd = conn.detach() if isinstance(conn, ssl.SSLSocket) else None
    if fd is not None:
        os.close(fd)
    else:
        conn.close()


def until_end(conn):
    """Reads until the peer is gone."""
    with contextlib.suppress(OSError, ssl.SSLError):
        conn.settimeout(60)
        while conn.recv(65536):
            pass


def drip(conn, data, forever=None):
    """One byte at a time, a little under a limit of idle time; `forever` is repeated until the peer is gone."""
    with contextlib.suppress(OSError, ssl.SSLError):
        for byte in data:
            conn.sendall(bytes([byte]))
            time.sleep(0.005)
        while forever:
            conn.sendall(forever)
            time.sleep(0.05)


class RobustWorld:
    def __init__(self):
        for a in (PUBLIC, PUBLIC2):
            check(run("ip", "address", "add", f"{a}/32", "dev", "lo").code == 0, "ip address add")
        self.private = Private("egress-robust")
        self.authority = Authority(self.private.dir)
        cert, key = self.authority.issue("s.test", "ws.test", "wsraw.test", "h2.test", "q.test")
        self.tls, self.plain = Scripted(443, cert, key), Scripted(80)
        self.raw = Scripted(7)
        self.h2 = H2Origin(PUBLIC, 8443, cert, key, ("h2",))
        self.ws, self.ws_plain = WebSocketOrigin(PUBLIC, 4443, cert, key), WebSocketOrigin(PUBLIC, 8081)
        self.full = []
        for port in (443, 80):  # a listener whose queue is full answers no SYN
            s = socket.socket()
            s.bind((PUBLIC2, port))
            s.listen(0)
            self.full.append(s)
            for _ in range(2):
                c = socket.socket()
                c.setblocking(False)
                c.connect_ex((PUBLIC2, port))
                self.full.append(c)
        self.egress = Egress(self.private, self.authority, policy=POLICY)
        self.short = Egress(self.private, self.authority, "short", POLICY,
                            harness=BUILD / "tests/e2e/egress/egress_harness_short")

    def reload(self, e=None):
        (e or self.egress).reload(POLICY + f"\n# {time.monotonic_ns()}")

    def alive(self, e):
        """And it still serves."""
        self.tls.now(says(OK))
        equal(get(e, "tunnel").status, 200, "status afterwards")


def send(e, way, data):
    """A request on one of the ways in; the socket."""
    if way == "tunnel":
        s = e.tls("s.test:443")
    elif way == "plain":
        s = e.open("p.test:80")
    else:
        s = e.dial()
        data = data.replace(b" /", b" http://p.test/", 1)
    s.sendall(data.replace(b"HOST", b"s.test" if way == "tunnel" else b"p.test"))
    return s


def request(method="GET", more=b"", path=b"/x", version=b"1.1"):
    return b"%s %s HTTP/%s\r\nHost: HOST\r\n%s\r\n" % (method.encode(), path, version, more)


def get(e, way, **kw):
    with send(e, way, request(**kw)) as s:
        return Response(s, head_only=kw.get("method") == "HEAD")


def origin(w, way):
    return w.tls if way == "tunnel" else w.plain


WAYS = ("tunnel", "plain", "forward")


def everywhere(w, script, check_one, e=None, ways=WAYS, data=None):
    for way in ways:
        origin(w, way).now(script)
        with send(e or w.egress, way, data or request()) as s:
            try:
                check_one(s, way)
            except Exception as why:
                raise AssertionError(f"{way}: {type(why).__name__} {why}") from None


def ended(what, connections):
    wait_for(what, lambda: not connections.open, 15)


# --- slow agents ---

@suite.case
def slow_first_heads_end(w):
    since = w.short.mark()
    with w.short.dial() as s, w.short.dial() as silent:
        thread = threading.Thread(target=drip, args=(s, b"CONNECT s.test:443 HTTP/1.1\r\n", b"X"), daemon=True)
        thread.start()
        equal(read_all(s), b"", "answer to a head that never ends")
        equal(read_all(silent), b"", "answer to silence")
    w.short.audit("Proxy connection error: no complete head in time", since)
    w.alive(w.short)


@suite.case
def slow_client_hellos_end(w):
    w.tls.now(says(OK))
    for send_more in (lambda s: None, lambda s: drip(s, b"\x16\x03\x01\x02\x00", b"\x01"), lambda s: s.sendall(b"\x16")):
        s = w.short.open("s.test:443")
        threading.Thread(target=send_more, args=(s,), daemon=True).start()
        read_all(s)
        s.close()
    ended("the upstream connections", w.tls)
    w.alive(w.short)


@suite.case
def slow_request_heads_and_bodies_in_tunnels_end(w):
    w.tls.now(says(then="wait"))
    with w.short.tls("s.test:443") as s:
        drip(s, b"GET /x HTTP/1.1\r\nHost: s.te")
        contains(read_all(s).decode(), "no complete request head within")
    equal(w.tls.raw, b"", "nothing of it went upstream")
    for way in WAYS:
        o = origin(w, way)
        o.now(says(then="wait"))
        with send(w.short, way, request("POST", b"Content-Length: 10\r\n") + b"12345") as s:
            read_all(s)
        ended(f"{way}: the upstream connection of a body that stalls", o)
    w.alive(w.short)


@suite.case
def an_agent_that_reads_nothing_holds_only_its_own_connection(w):
    """The response stays with the upstream; nothing piles up in the proxy."""
    blob = b"x" * 65536
    sent = []

    def flood(conn, head):
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        conn.settimeout(1)
        with contextlib.suppress(TimeoutError):
            for _ in range(3000):
                conn.sendall(blob)
                sent.append(len(blob))
        return False
    w.tls.now(flood)
    w.plain.now(flood)
    before = resident(w.egress)
    with contextlib.ExitStack() as stack:
        for way in WAYS:
            stack.enter_context(send(w.egress, way, request()))
        wait_for("the upstreams to stall", lambda: not w.tls.open and not w.plain.open, 30)
        check(resident(w.egress) - before < 4096, f"grew by {resident(w.egress) - before} KiB")
        w.alive(w.egress)


# --- bodies that are judged ---

QUERY = b'{"query": "{a}"%s}' % (b" " * 50000)
QUERY_WAYS = ("tunnel", "forward")


def query(e, way, body=QUERY, length=len(QUERY)):
    """A GraphQL request with this much of its body; the socket."""
    s = e.tls("q.test:443") if way == "tunnel" else e.dial()
    target = b"/x" if way == "tunnel" else b"http://q.test/x"
    s.sendall(b"POST %s HTTP/1.1\r\nHost: q.test\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (target, length))
    s.sendall(body)
    return s


def query_h2(e):
    """The same in HTTP/2: its status, or the code its stream was reset with."""
    with H2Client(e.tls("q.test:8443", alpn=("h2",))) as c:
        a = c.headers("POST", "/x", authority="q.test:8443", more=[("content-type", "application/json")], end=False)
        c.data(a, QUERY, end=True)
        answer = c.answer(a)
        return ("reset", int(answer.reset)) if answer.reset is not None else answer.status


def answer_of(s):
    with s:
        return Response(s)


@suite.case
def bodies_of_all_connections_together_are_bounded(w):
    """Every one of them within its limit, but there is room for two."""
    e = w.short
    w.tls.now(says(OK, then=True))
    w.plain.now(says(OK, then=True))
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(query(e, way, QUERY[:45000])) for way in ("tunnel", "forward")]

        def refused(way):
            for s in held:
                s.sendall(b" ")  # or they end for lack of progress
            r = answer_of(query(e, way))
            return r.status == 503 and r
        for way in QUERY_WAYS:
            r = wait_for(f"{way}: no room", lambda way=way: refused(way), 20)
            contains(r.body.decode(), '"error":"body_capacity_exhausted"')
            contains(r.body.decode(), "try again later")
        wait_for("HTTP/2: no room", lambda: [s.sendall(b" ") for s in held] and query_h2(e) == ("reset", 7), 20)
        reason = "bodies that wait to be judged exceed 131072 bytes in all connections"
        wait_for("the events", lambda: sum(reason in line for line in list(e.json)) >= 3)
        w.alive(e)
    for way in QUERY_WAYS:
        wait_for(f"{way}: room again", lambda way=way: answer_of(query(e, way)).status == 200, 20)
    wait_for("HTTP/2: room again", lambda: query_h2(e) == 200, 20)


@suite.case
def requests_that_wait_for_their_answer_hold_no_room(w):
    for o in (w.tls, w.plain):
        o.now(says(then="wait"))
    with contextlib.ExitStack() as stack:
        for n in range(1, 5):
            for way, o in zip(QUERY_WAYS, (w.tls, w.plain)):
                stack.enter_context(query(w.short, way))
                wait_for(f"{way}: request {n} at its upstream", lambda o=o, n=n: o.raw.count(b"POST") == n, 20)


# --- slow upstreams ---

@suite.case
def upstreams_that_do_not_complete_a_connection_are_a_502(w):
    with w.short.dial() as s:
        s.sendall(b"CONNECT full.test:443 HTTP/1.1\r\n\r\n")
        equal(Response(s).status, 502, "CONNECT")
    contains(w.short.ask(b"GET http://full.test/ HTTP/1.1\r\nHost: full.test\r\n\r\n").decode(), "502 Bad Gateway")


@suite.case
def slow_server_hellos_are_a_502(w):
    for hello in (until_end, lambda c: (c.recv(1), drip(c, b"\x16\x03\x03\x00\x7a\x02\x00", b"\x00"))):
        w.tls.now(hello=hello)
        with w.short.tls("s.test:443") as s:
            s.sendall(b"GET /x HTTP/1.1\r\nHost: s.test\r\n\r\n")
            r = Response(s)
        equal(r.status, 502, "status")
        contains(r.body.decode(), "TLS handshake timed out")
        ended("its connection", w.tls)
    w.alive(w.short)


@suite.case
def slow_response_heads_are_a_502(w):
    def script(conn, head):
        drip(conn, b"HTTP/1.1 200 OK\r\n", b"X")
        return False

    def look(s, way):
        equal(Response(s).status, 502, "status")
    everywhere(w, script, look, w.short)
    wait_for("the event", lambda: any("no complete response head within" in line for line in list(w.short.json)))


@suite.case
def an_upstream_may_think_as_long_as_it_likes_while_its_client_waits(w):
    """Models do. The short limits are long over when the answer comes."""
    def script(conn, head):
        time.sleep(3)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n12")
        time.sleep(3)
        conn.sendall(b"34")
        return False
    w.tls.now(script)
    w.plain.now(script)
    with contextlib.ExitStack() as stack:
        for s in [stack.enter_context(send(w.short, way, request())) for way in WAYS]:
            equal(Response(s).body, b"1234", "body")


@suite.case
def upstreams_that_take_no_body_end(w):
    def script(conn, head):
        time.sleep(8)
        return False
    for way in WAYS:
        origin(w, way).now(script)
        with send(w.short, way, request("POST", b"Content-Length: 100000000\r\n")) as s:
            s.settimeout(20)
            blob = b"x" * 65536

            def pour(s=s):
                with contextlib.suppress(OSError, ssl.SSLError):
                    for _ in range(1500):
                        s.sendall(blob)
            thread = threading.Thread(target=pour, daemon=True)
            thread.start()
            data = read_all(s)
            check(not data or b" 502 " in data.split(b"\r\n")[0], f"{way}: {data[:100]!r}")
            thread.join(20)
    w.alive(w.short)


# --- who leaves ---

@suite.case
def a_client_that_leaves_before_its_answer_ends_the_upstream(w):
    def script(conn, head):
        until_end(conn)
        return False
    for way in WAYS:
        o = origin(w, way)
        o.now(script)
        s = send(w.short, way, request())
        wait_for("the request", lambda o=o: o.raw)
        s.close()
        ended(f"{way}: the upstream connection", o)
        o.now(says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1", then="wait"))
        s = send(w.short, way, request())
        head, _ = read_head(s)
        contains(head.decode(), "200 OK")
        s.close()
        ended(f"{way}: the upstream connection inside a response", o)


@suite.case
def a_client_that_only_ended_its_direction_gets_its_answer(w):
    def script(conn, head):
        time.sleep(0.4)
        conn.sendall(OK)
        return False
    for way in ("plain", "forward"):
        w.plain.now(script)
        with send(w.short, way, request()) as s:
            s.shutdown(socket.SHUT_WR)
            equal(Response(s).body, b"ok", way)


@suite.case
def a_raw_tunnel_that_one_side_ended_does_not_stay_for_ever(w):
    w.raw.now(hello=lambda c: (c.settimeout(60), until_end(c), time.sleep(30)))
    with w.short.open("r.test:7") as s:
        s.sendall(b"x")
        s.shutdown(socket.SHUT_WR)
        equal(read_all(s), b"", "end")

    def half(conn):
        conn.sendall(b"bye")
        conn.shutdown(socket.SHUT_WR)
        until_end(conn)
    w.raw.now(hello=half)
    with w.short.open("r.test:7") as s:
        equal(s.recv(3), b"bye", "last word")
        equal(s.recv(1), b"", "half-close passes on")
        ended("the upstream connection", w.raw)
    w.raw.now(hello=half)
    with w.egress.open("r.test:7") as s:  # with ordinary limits the other direction goes on
        equal(s.recv(3), b"bye", "last word")
        equal(s.recv(1), b"", "half-close passes on")
        for _ in range(3):
            s.sendall(b"more")
        time.sleep(0.1)
        check(w.raw.open, "the open direction was cut")
    ended("the upstream connection", w.raw)


# --- broken upstreams ---

@suite.case
def resets_in_every_phase(w):
    """Before an answer it is a 502; inside one the client's connection ends without what would make it look complete."""
    for label, hello in (("at once", reset), ("inside its hello", lambda c: (c.recv(1), c.sendall(b"\x16\x03\x03"), reset(c))),
                         ("closed at once", lambda c: c.close()), ("not TLS", lambda c: c.sendall(b"HTTP/1.1 400 Bad\r\n\r\n"))):
        w.tls.now(hello=hello)
        try:
            with w.egress.tls("s.test:443") as s:
                s.sendall(b"GET /x HTTP/1.1\r\nHost: s.test\r\n\r\n")
                equal(Response(s).status, 502, label)
        except AssertionError as why:  # a reset may be there before the connection is known to stand
            check(label == "at once" and "CONNECT s.test:443 was refused: (b'HTTP/1.1 502" in str(why), f"{label}: {why}")
    for label, part in (("before the head", b""), ("inside the head", b"HTTP/1.1 200 OK\r\nX"), ("after 100", b"")):
        for then in ("reset", False):
            everywhere(w, says(part, then=then), lambda s, way, label=label: equal(Response(s).status, 502, label))
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"
    chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"
    for part in (head, chunk):
        for then in ("reset", False):
            def look(s, way):
                data = read_all(s)
                contains(data.decode(), " 200 OK\r\n")
                check(not data.endswith(b"0\r\n\r\n") and len(data) <= len(part), f"{data!r}")
            everywhere(w, says(part, then=then), look)
    w.alive(w.egress)


@suite.case
def unusable_heads_are_a_502(w):
    many = b"".join(b"X-%d: y\r\n" % i for i in range(300))
    for label, part in (
            ("garbage", os.urandom(100).replace(b"\n", b"x") + b"\r\n\r\n"), ("zeros", b"\0" * 100 + b"\r\n\r\n"),
            ("HTTP/0.9", b"<html></html>\r\n\r\n"), ("HTTP/2", b"HTTP/2.0 200 OK\r\n\r\n"), ("no version", b"HTTP 200 OK\r\n\r\n"),
            ("no number", b"HTTP/1.1 abc OK\r\n\r\n"), ("status 99", b"HTTP/1.1 099 OK\r\n\r\n"),
            ("status 1000", b"HTTP/1.1 1000 OK\r\n\r\n"), ("bare LF", b"HTTP/1.1 200 OK\nX: y\n\n\r\n\r\n"),
            ("folded", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n"), ("space before colon", b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n"),
            ("NUL", b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n"), ("no colon", b"HTTP/1.1 200 OK\r\nX\r\n\r\n"),
            ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            ("length list", b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab"),
            ("negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab"),
            ("huge length", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nab"),
            ("length and chunked", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            ("gzip, chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            ("identity", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n"),
            ("101 unasked", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
            ("300 fields", b"HTTP/1.1 200 OK\r\n" + many + b"\r\n"),
            ("20 KiB", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20000 + b"\r\n\r\n"),
            ("one line without end", b"HTTP/1.1 200 " + b"a" * 40000)):
        everywhere(w, says(part, then="wait"), lambda s, way, label=label: equal(Response(s).status, 502, label))
    w.alive(w.egress)


@suite.case
def heads_without_end_cost_16_kib(w):
    def script(conn, head):
        with contextlib.suppress(OSError, ssl.SSLError):
            conn.sendall(b"HTTP/1.1 200 OK\r\n")
            for _ in range(100000):
                conn.sendall(b"X-More: " + b"y" * 1000 + b"\r\n")
        return False
    before = resident(w.egress)
    everywhere(w, script, lambda s, way: equal(Response(s).status, 502, "status"))
    check(resident(w.egress) - before < 2048, "memory")


@suite.case
def broken_chunks_never_look_complete(w):
    for label, body in (("no hex", b"xyz\r\nabc\r\n0\r\n\r\n"), ("negative", b"-1\r\na\r\n0\r\n\r\n"),
                        ("too big", b"fffffffffffffffff\r\na\r\n0\r\n\r\n"), ("no CRLF after data", b"3\r\nabcX0\r\n\r\n"),
                        ("bare LF", b"3\nabc\n0\n\n"), ("empty size", b"\r\n\r\n"), ("0x", b"0x3\r\nabc\r\n0\r\n\r\n"),
                        ("endless extension", b"3;" + b"x" * 20000 + b"\r\nabc\r\n0\r\n\r\n"),
                        ("endless trailers", b"0\r\n" + b"X: y\r\n" * 5000 + b"\r\n"), ("space", b" 3\r\nabc\r\n0\r\n\r\n")):
        def look(s, way, label=label):
            data = read_all(s)
            check(b"0\r\n\r\n" not in data and not data.endswith(b"\r\n\r\n\r\n"), f"{label}: {data[-80:]!r}")
        everywhere(w, says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nok\r\n", body, then="wait"), look)
    w.alive(w.egress)


@suite.case
def what_is_sent_beyond_the_length_goes_nowhere(w):
    """And the connection is not used again: what comes next would be taken for the next answer."""
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    for label, head, kw in (("200", OK, {}), ("204", b"HTTP/1.1 204 No Content\r\n\r\n", {}),
                            ("304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", {}),
                            ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", {"method": "HEAD"}),
                            ("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", {})):
        for way in ("tunnel", "plain"):
            origin(w, way).now(says(head + evil, then="wait"))
            with send(w.egress, way, request(**kw)) as s:
                data = read_all(s)
                check(b"evil" not in data, f"{way} {label}: {data!r}")
                equal(data, head, f"{way} {label}")


@suite.case
def responses_without_a_body_keep_the_connection(w):
    answers = {b"/204": b"HTTP/1.1 204 No Content\r\n\r\n", b"/304": b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
               b"/head": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
               b"/headc": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"/zero": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
               b"/last": OK}

    def script(conn, head):
        conn.sendall(answers[head.split(b" ")[1]])
        return True
    for way in ("tunnel", "plain"):
        o = origin(w, way)
        o.now(script)
        s = send(w.egress, way, request(path=b"/204"))
        equal(Response(s).status, 204, way)
        host = b"s.test" if way == "tunnel" else b"p.test"
        for path, method in ((b"/304", "GET"), (b"/head", "HEAD"), (b"/headc", "HEAD"), (b"/zero", "GET"), (b"/last", "GET")):
            s.sendall(request(method, path=path).replace(b"HOST", host))
            r = Response(s, head_only=method == "HEAD")
            equal(r.head + b"\r\n\r\n" + r.body, answers[path], f"{way} {path}")
        equal(o.connections, 1, "one upstream connection")
        s.close()


@suite.case
def interim_responses_pass_and_are_counted(w):
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    few = b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 102 Processing\r\n\r\n" + hints * 14

    def passes(s, way):
        data = read_all(s) if way == "forward" else b""
        while not data.endswith(b"ok"):
            data += s.recv(65536)
        equal(data, few + OK, "bytes")
    everywhere(w, says(few, OK, then="wait"), passes)

    def some(s, way):
        data = read_all(s) if way == "forward" else b""
        while not data.endswith(b"ok"):
            data += s.recv(65536)
        equal(data, hints * 16 + OK, "the first of many")
    everywhere(w, says(hints * 30, OK, then="wait"), some)

    def flood(conn, head):
        with contextlib.suppress(OSError, ssl.SSLError):
            while True:
                conn.sendall(hints * 50)
        return False

    def refused(s, way):
        data = read_all(s)
        equal((data.count(b" 103 "), data.count(b" 502 Bad Gateway")), (16, 1), "without end")
    everywhere(w, flood, refused)
    with H2Client(w.egress.tls("h2.test:8443", alpn=("h2",))) as c:
        a = c.ask("GET", "/interims/40", authority="h2.test:8443")
        equal((a.status, a.body, len(a.interim)), (200, b"ok", 16), "HTTP/2")
        c.headers("GET", "/interims/5000")
        c.until_closed()

    def old(s, way):
        r = Response(s)
        equal((r.status, r.body), (200, b"ok"), "HTTP/1.0 knows no interim responses")
    everywhere(w, says(few, OK), old, data=request(version=b"1.0"))


@suite.case
def expect_100_continue_both_outcomes(w):
    ask = request("POST", b"Content-Length: 4\r\nExpect: 100-continue\r\n")

    def agrees(conn, head):
        conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = b""
        while len(body) < 4:
            body += conn.recv(4 - len(body))
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + body)
        return False

    def gets(s, way):
        contains(read_head(s)[0].decode(), "100 Continue")
        s.sendall(b"body")
        equal(Response(s).body, b"body", "answer")
    everywhere(w, agrees, gets, data=ask)

    def declined(s, way):
        r = Response(s)
        equal((r.status, r.body), (417, b"no"), "answer")
        equal(read_all(s), b"", "and the connection ends: a body may or may not follow")
    everywhere(w, says(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno", then="wait"), declined, data=ask)

    def mute(conn, head):  # knows nothing of Expect; the client sends its body after a while
        body = b""
        while len(body) < 4:
            body += conn.recv(4 - len(body))
        conn.sendall(OK)
        return False

    def impatient(s, way):
        time.sleep(0.2)
        s.sendall(b"body")
        equal(Response(s).body, b"ok", "answer")
    everywhere(w, mute, impatient, data=ask)


@suite.case
def early_answers_reach_the_client_whatever_follows(w):
    early = b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly"
    for then in (False, "wait"):
        def look(s, way):
            equal(Response(s).body, b"early", "answer")
        everywhere(w, says(early, then=then), look, data=request("POST", b"Content-Length: 100000000\r\n") + b"x" * 100000)


@suite.case
def trailers_pass(w):
    full = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Y: 2\r\n\r\n"

    def look(s, way):
        data = b""
        while len(data) < len(full):
            data += s.recv(65536)
        equal(data, full, "bytes")
    everywhere(w, says(full, then="wait"), look)


@suite.case
def a_body_to_the_end_of_the_connection(w):
    def look(s, way):
        data = read_all(s)
        contains(data.decode(), "Connection: close")
        check(data.endswith(b"\r\n\r\nto the end"), f"{data!r}")
    everywhere(w, says(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"to the ", b"end"), look)
    everywhere(w, says(b"HTTP/1.0 200 OK\r\n\r\n", b"to the ", b"end"), look)
    everywhere(w, says(b"HTTP/1.1 200 OK\r\n\r\n", b"to the ", b"end", then="wait"), look, w.short)  # 5 s of silence end it


@suite.case
def connections_are_reused_as_long_as_both_sides_want(w):
    for way in ("tunnel", "plain"):
        o, host = origin(w, way), b"s.test" if way == "tunnel" else b"p.test"
        o.now(says(OK, then=True))
        s = send(w.egress, way, request())
        for i in range(300):
            equal(Response(s).body, b"ok", f"{way} {i}")
            s.sendall(request(path=b"/%d" % i).replace(b"HOST", host))
        equal(Response(s).status, 200, "last")
        equal(o.connections, 1, "upstream connections")
        s.close()
        for label, script, more in (
                ("upstream says close", says(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", then="wait"), b""),
                ("client says close", says(OK, then="wait"), b"Connection: close\r\n"), ("upstream just closes", says(OK), b""),
                ("HTTP/1.0 upstream", says(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", then="wait"), b"")):
            o.now(script)
            with send(w.egress, way, request(more=more)) as s:
                equal(Response(s).body, b"ok", label)
                equal(read_all(s), b"", f"{way}: {label}")


@suite.case
def one_request_of_an_absolute_form_connection_is_served(w):
    w.plain.now(says(OK, then="wait"))
    with w.egress.dial() as s:
        s.sendall(b"GET http://p.test/1 HTTP/1.1\r\nHost: p.test\r\n\r\nGET http://p.test/2 HTTP/1.1\r\nHost: p.test\r\n\r\n")
        equal(read_all(s), OK, "one answer")
    check(b"/2" not in w.plain.raw, f"{w.plain.raw!r}")


# --- many ---

def resident(e):
    """KiB."""
    text = pathlib.Path(f"/proc/{e.process.pid}/status").read_text()
    return int(next(l for l in text.splitlines() if l.startswith("VmRSS")).split()[1])


def threads_of(e):
    return len(os.listdir(f"/proc/{e.process.pid}/task"))


def files_of(e):
    return len(os.listdir(f"/proc/{e.process.pid}/fd"))


def storm(e, times, peak):
    """Connections of every kind, by several hands, as fast as they can."""
    kinds = (b"", b"C", b"CONNECT s.test:443 HTTP/1.1\r\n\r\n", b"CONNECT nowhere.test:443 HTTP/1.1\r\n\r\n", b"\x00" * 200,
             b"GET http://p.test/x HTTP/1.1\r\nHost: p.test\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"X" * 9000)

    def work(first):
        held = []
        for i in range(first, times, 8):
            with contextlib.suppress(OSError):
                s = socket.create_connection(("127.0.0.1", e.port), 20)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", i % 3 == 0, 0))
                s.sendall(kinds[(i // 8) % len(kinds)])
                held.append(s)
            if len(held) > 30:
                held.pop(0).close()
        for s in held:
            s.close()
    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in workers:
        t.start()
    while any(t.is_alive() for t in workers):
        peak[0], peak[1] = max(peak[0], threads_of(e)), max(peak[1], files_of(e))
        time.sleep(0.02)


@suite.case
def ten_thousand_connections_leave_nothing_behind(w):
    w.tls.now(says(OK))
    w.plain.now(says(OK))
    e = Egress(w.private, w.authority, "storm", POLICY)
    base_threads = threads_of(e)
    get(e, "tunnel")
    wait_for("the first connection to end", lambda: threads_of(e) <= base_threads)
    base_files = files_of(e)
    storm(e, 2000, [0, 0])  # buffers, thread stacks and arenas that the allocator keeps
    wait_for("the first connections to end", lambda: threads_of(e) <= base_threads, 60)
    before, peak = resident(e), [0, 0]
    storm(e, 10000, peak)
    # 512 are served; a few more are on their last instructions when the machine is busy.
    check(peak[0] <= 512 + 128, f"{peak[0]} threads")
    check(peak[1] <= 2 * 512 + 128, f"{peak[1]} descriptors")
    wait_for("the threads to end", lambda: threads_of(e) <= base_threads, 60)
    equal(files_of(e), base_files, "descriptors")
    check(resident(e) - before < 8192, f"{before} KiB before, {resident(e)} KiB afterwards")
    w.alive(e)
    stop_process(e.process)


@suite.case
def refused_requests_leave_nothing_behind(w):
    before_files = files_of(w.egress)
    w.tls.now(says(b"HTTP/1.1 200 OK\r\nX", then="reset"))
    w.plain.now(says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1", then="reset"))
    for i in range(100):
        for way in WAYS:
            with send(w.egress, way, request()) as s:
                read_all(s)
    wait_for("the connections to end", lambda: files_of(w.egress) <= before_files)


# --- a policy change, phase by phase ---

@suite.case
def a_head_that_is_not_complete_is_judged_by_the_policy_then_in_force(w):
    w.tls.now(says(OK))
    with w.egress.dial() as s:
        s.sendall(b"CONNECT s.test:443 HTT")
        wait_for("the thread", lambda: threads_of(w.egress) > 2)
        w.reload()
        s.sendall(b"P/1.1\r\n\r\n")
        contains(read_head(s)[0].decode(), "200 Connection Established")
    with w.egress.dial() as s:
        s.sendall(b"CONNECT s.test:443 HTT")
        w.egress.reload(POLICY.replace("host: s.test", "host: gone.test"))
        s.sendall(b"P/1.1\r\n\r\n")
        equal(Response(s).status, 403, "taken away meanwhile")
    w.reload()


def dialling():
    """Connections of this namespace that wait for their peer (SYN_SENT)."""
    return sum(line.split()[3] == "02" for line in pathlib.Path("/proc/self/net/tcp").read_text().splitlines())


@suite.case
def while_it_is_dialled_a_change_is_answered_at_once(w):
    with w.egress.dial() as s, w.egress.dial() as f:
        before = dialling()
        s.sendall(b"CONNECT full.test:443 HTTP/1.1\r\n\r\n")
        f.sendall(b"GET http://full.test/ HTTP/1.1\r\nHost: full.test\r\n\r\n")
        wait_for("both to be dialled", lambda: dialling() >= before + 2)
        w.reload()
        for one in (s, f):
            r = Response(one)
            equal(r.status, 403, "status")
            contains(r.body.decode(), '"policy_denied"')


@suite.case
def in_a_tunnel_every_phase_is_cut(w):
    wait = says(then="wait")
    some = says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123", then="wait")
    endless = says(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\r\n\r\n", then="wait")

    def cut(label, o, make, reads=b""):
        s = make()
        wait_for(f"{label}: the upstream connection", lambda: o.open)
        got = b""
        while not got.endswith(reads):
            got += s.recv(1)
        w.reload()
        left = read_all(s)
        check(not left, f"{label}: {left!r}")
        ended(f"{label}: the upstream connection", o)
        s.close()
    w.tls.now(wait)
    cut("before the hello", w.tls, lambda: w.egress.open("s.test:443"))

    def half_hello():
        s = w.egress.open("s.test:443")
        s.sendall(b"\x16\x03\x01\x02\x00\x01")
        return s
    cut("inside the hello", w.tls, half_hello)
    w.tls.now(hello=until_end)

    def hello():
        s = w.egress.open("s.test:443")
        out, incoming = ssl.MemoryBIO(), ssl.MemoryBIO()
        t = ssl.create_default_context(cafile=str(w.egress.ca_dir / "openshell-ca.pem")).wrap_bio(incoming, out,
                                                                                               server_hostname="s.test")
        with contextlib.suppress(ssl.SSLWantReadError):
            t.do_handshake()
        s.sendall(out.read())
        time.sleep(0.1)
        return s
    cut("while the upstream shakes hands", w.tls, hello)
    w.tls.now(wait)
    cut("idle", w.tls, lambda: w.egress.tls("s.test:443"))
    for way in ("tunnel", "plain"):
        o = origin(w, way)
        o.now(wait)
        cut(f"{way}: inside a head", o, lambda way=way: send(w.egress, way, b"GET /x HTTP/1.1\r\nHos"))
        equal(o.raw, b"", "nothing of it went upstream")
        o.now(wait)
        cut(f"{way}: inside a body", o,
            lambda way=way: send(w.egress, way, request("POST", b"Content-Length: 10\r\n") + b"123"))
        o.now(wait)
        cut(f"{way}: before the answer", o, lambda way=way: send(w.egress, way, request()))
        o.now(some)
        cut(f"{way}: inside the answer", o, lambda way=way: send(w.egress, way, request()), b"123")
        o.now(endless)
        cut(f"{way}: an event stream", o, lambda way=way: send(w.egress, way, request()), b"data: 1\r\n\r\n")
    w.raw.now(hello=until_end)
    cut("raw", w.raw, lambda: w.egress.open("r.test:7"))


@suite.case
def an_agent_that_reads_nothing_is_cut_too(w):
    def flood(conn, head):
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        with contextlib.suppress(OSError, ssl.SSLError):
            for _ in range(16000):
                conn.sendall(b"x" * 65536)
        return False
    for way in WAYS:
        o = origin(w, way)
        o.now(flood)
        s = send(w.egress, way, request())
        wait_for("the response", lambda o=o: o.open and o.raw)
        time.sleep(0.2)
        w.reload()
        ended(f"{way}: the upstream connection", o)
        s.close()


@suite.case
def in_absolute_form_a_change_is_answered_while_that_can_be(w):
    wait = says(then="wait")
    for label, data, script, status in (("inside a body", request("POST", b"Content-Length: 10\r\n") + b"123", wait, 403),
                                        ("before the answer", request(), wait, 403),
                                        ("inside the answer", request(), says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123",
                                                                              then="wait"), 200)):
        w.plain.now(script)
        with send(w.egress, "forward", data) as s:
            wait_for("the request", lambda: w.plain.raw)
            head = b""
            if status == 200:
                head = read_head(s)[0]
            w.reload()
            if status == 403:
                r = Response(s)
                equal(r.status, 403, label)
                contains(r.body.decode(), "not permitted by policy")
            else:
                contains(head.decode(), "200 OK")
                check(len(read_all(s)) <= 3, label)
            ended(f"{label}: the upstream connection", w.plain)


@suite.case
def upgraded_connections_are_cut(w):
    before = threads_of(w.egress)
    parsed = WebSocketClient(w.egress.tls("ws.test:4443"), "ws.test:4443", "/x")
    raw = WebSocketClient(w.egress.tls("wsraw.test:4443"), "wsraw.test:4443", "/x")
    plain = WebSocketClient(w.egress.open("wsraw.test:8081"), "wsraw.test:8081", "/x")
    forward = WebSocketClient(w.egress.dial(), "wsraw.test:8081", "http://wsraw.test:8081/x")
    inside = WebSocketClient(w.egress.tls("ws.test:4443"), "ws.test:4443", "/x")
    for c in (parsed, raw, plain, forward):
        equal(c.response.status, 101, "upgrade")
        c.send(1, b"hello")
        equal(c.next()[3], b"hello", "echo")
    inside.send(1, b"first part", fin=False)
    time.sleep(0.1)
    w.reload()
    equal(parsed.closed(), 1012, "where messages are read")
    equal(inside.closed(), 1012, "inside a message")
    for label, c in (("raw", raw), ("plain", plain), ("absolute form", forward)):
        equal(c.closed(), None, label)
    wait_for("the threads to end, though no client closed", lambda: threads_of(w.egress) <= before)


@suite.case
def http2_ends_with_all_its_streams(w):
    """Idle, with a body on its way, inside an answer, with windows that are closed: GOAWAY, and the connection ends."""
    def uploading(c):
        c.data(c.headers("POST", "/hold", more=[("content-length", "100000")], end=False), b"x" * 1000)

    def answering(c):
        c.auto = False
        stream = c.headers("GET", "/big")
        c.until("the answer", lambda: c.answers[stream].body)

    def many(c):
        for _ in range(50):
            c.headers("GET", "/never")
    for label, make in (("idle", lambda c: None), ("inside a body", uploading), ("inside an answer", answering),
                        ("many streams", many), ("inside a head", lambda c: c.raw(b"\x00\x00\x10\x01\x04\x00"))):
        before = threads_of(w.egress)
        with H2Client(w.egress.tls("h2.test:8443", alpn=("h2",))) as c:
            equal(c.ask("GET", "/x").status, 200, "before")
            make(c)
            w.reload()
            try:
                c.until_closed()
            except AssertionError as why:
                raise AssertionError(f"{label}: {why}") from None
            equal(c.goaway, 0, f"{label}: GOAWAY")
            wait_for(f"{label}: the thread to end", lambda: threads_of(w.egress) <= before)


@suite.case
def http2_that_reads_nothing_ends_too(w):
    """An agent that takes nothing off its socket cannot keep the connection beyond a change."""
    before = threads_of(w.egress)
    c = H2Client(w.egress.tls("h2.test:8443", alpn=("h2",)), window=2**31 - 1)
    c.h.increment_flow_control_window(2**31 - 65536)
    c.flush()
    for _ in range(8):
        c.headers("GET", "/big")
    time.sleep(0.5)
    w.reload()
    wait_for("the thread to end", lambda: threads_of(w.egress) <= before, 15)
    c.sock.close()


@suite.case
def what_was_admitted_under_the_new_policy_stays(w):
    w.tls.now(says(OK, then=True))
    w.reload()
    s = send(w.egress, "tunnel", request())
    equal(Response(s).status, 200, "first")
    since = w.egress.mark()
    w.egress.policy.write_text("version: 1\nnetwork_policies: {x: {endpoints: 3}}\n")
    w.egress.process.send_signal(1)
    wait_for("the refusal", lambda: w.egress.find("REFUSED", since))
    s.sendall(request().replace(b"HOST", b"s.test"))
    equal(Response(s).status, 200, "a policy that is refused cuts nothing")
    s.close()
    w.reload()


@suite.case
def it_ends_with_connections_in_every_phase(w):
    """No thread waits for a peer when the sandbox ends."""
    w.tls.now(says(then="wait"))
    w.plain.now(says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1", then="wait"))
    with contextlib.ExitStack() as stack:
        for e in (w.egress, w.short):
            stack.enter_context(e.dial()).sendall(b"CONNECT ")
            for way in WAYS:
                stack.enter_context(send(e, way, request()))
        stack.enter_context(w.egress.dial()).sendall(b"CONNECT full.test:443 HTTP/1.1\r\n\r\n")
        stack.enter_context(w.egress.open("s.test:443"))
        time.sleep(0.2)
        for e in (w.egress, w.short):
            since = e.mark()
            e.process.terminate()
            wait_for("the harness to stop", lambda e=e, since=since: e.find("STOPPED", since), 15)
            equal(e.process.wait(10), 0, "status")


if __name__ == "__main__":
    main(suite, RobustWorld)
