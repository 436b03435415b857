"""Programs that know no proxy: the name server of the sandbox, captured connections, and one decision on all three entry
ways. Every case says what it proves."""
import json
import os
import pathlib
import re
import socket
import ssl
import struct
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
from direct import AAAA, NXDOMAIN, Answer, Direct, question  # noqa: E402
from harness import Skip, Suite, check, contains, equal, in_parallel, stop_process, wait_for  # noqa: E402
from origins import Origin, Response, read_all  # noqa: E402
from world import HOSTS, POLICY, PRIVATE, PUBLIC, Egress, nothing_seen, main  # noqa: E402

suite = Suite()
HOSTS.update({"n0.many.test": PUBLIC, "plain80.test": PUBLIC})
POLICY_DIRECT = POLICY.replace("  tools:\n", """  raw:
    endpoints:
      - {host: tcp.test, ports: [7, 81, 80, 443], protocol: tcp}
      - {host: "*.many.test", port: 7, protocol: tcp}
      - {host: plain80.test, port: 80}
      - {host: "*.glob.test", port: 80}
      - {host: db.lan, port: 80}
      - {host: "*.db.lan", port: 80}
      - {host: list.lan, port: 80, allowed_ips: [10.7.0.0/16]}
      - {host: wrong.lan, port: 80, allowed_ips: [10.8.0.0/16]}
      - {host: skip.test, port: 80, tls: skip}
      - {host: slash.test, port: 80, protocol: rest, enforcement: enforce, allow_encoded_slash: true, access: read-only}
      - {host: audit.test, port: 80, protocol: rest, access: read-only}
      - {host: query.test, port: 80, protocol: rest, enforcement: enforce, rules: [
          {allow: {method: GET, path: "/d", query: {tag: "foo-*"}}}]}
      - {host: 93.184.216.34, port: 80}
      - {host: 10.7.0.9, port: 80}
    binaries: [{path: /usr/bin/curl}]
  tools80:
    endpoints: [{host: bin.test, port: 80}]
    binaries: [{path: /usr/bin/git}, {path: /opt/agent}]
  tools:
""")


def direct(w):
    """The egress that the cases share, in a sandbox network; made by the first one."""
    if not hasattr(w, "direct"):
        w.inside = Egress(w.private, w.authority, "direct", POLICY_DIRECT, namespace=True)
        w.direct = Direct(w.inside)
        w.lan80 = Origin(PRIVATE, 80)
        # The proxy of this egress is in the sandbox network as well.
        w.inside.dial = lambda timeout=20: w.direct.dial("10.200.0.1", 3128)
    return w.direct


def other(w, label, policy=POLICY_DIRECT):
    e = Egress(w.private, w.authority, label, policy, namespace=True)
    return e, Direct(e)


# --- names ---

@suite.case
def allowed_names_have_addresses_in_both_families(w):
    d = direct(w)
    four, six = d.ask("api.test"), d.ask("api.test", AAAA)
    equal((four.rcode, four.ttl), (0, 30), "answer")
    check(four.address.startswith("198.18."), four.address)
    if w.ipv6:
        check(six.address.startswith("fd23:6f70:656e::"), six.address)
    check(d.resolve("plain.test") != four.address, "two names share an address")


@suite.case
def addresses_are_stable_and_case_does_not_matter(w):
    d = direct(w)
    equal(len({d.resolve(n) for n in ("api.test", "API.test", "Api.TEST") * 5}), 1, "addresses")


@suite.case
def denied_names_do_not_exist_and_are_logged_once(w):
    d, since = direct(w), w.inside.mark()
    began = time.monotonic()
    for _ in range(20):
        for qtype in (1, AAAA):
            equal(d.ask("nowhere.test", qtype).rcode, NXDOMAIN, "code")
    check(time.monotonic() - began < 5, "slow")
    line = w.inside.audit("nowhere.test", since)
    equal(line, "NET:REFUSE [MED] DENIED - -> nowhere.test:53 [policy:- engine:policy-dns] [reason:policy_dns_ineligible]", "event")
    time.sleep(0.1)
    with w.inside.lock:
        equal(sum("nowhere.test" in l for l in w.inside.lines[since:]), 1, "events")


@suite.case
def globs_answer_what_they_match(w):
    d = direct(w)
    for name, exists in (("a.glob.test", True), ("b.glob.test", True), ("glob.test", False), ("a.b.glob.test", False),
                         ("any.lan", False), ("test", False), ("localhost", False), ("api.test.nowhere.test", False)):
        equal(d.ask(name).rcode, 0 if exists else NXDOMAIN, name)


@suite.case
def a_name_is_answered_whoever_asks_a_connection_is_not(w):
    """Binaries are judged where they are known: at the connection."""
    d = direct(w)
    with w.inside.as_process("/usr/bin/wget"):
        s = d.open("api.test", 443)
        check(d.refused(s), "data")


@suite.case
def other_types_of_allowed_names_are_empty(w):
    for qtype in (2, 5, 6, 12, 15, 16, 33, 65, 255):
        a = direct(w).ask("api.test", qtype)
        equal((a.rcode, a.records), (0, 0), f"type {qtype}")


@suite.case
def every_server_is_ours(w):
    """Whatever address is asked, this resolver answers, from that address; nothing leaves."""
    d = direct(w)
    want = d.resolve("api.test")
    for server in ("8.8.8.8", "127.0.0.53", "127.0.0.1", "169.254.169.254", "198.18.0.1", PUBLIC, *(("::1", "2001:db8::53")
                                                                                                  if w.ipv6 else ())):
        equal(d.ask("api.test", server=server).address, want, server)
        equal(d.ask("leak.nowhere.test", server=server).rcode, NXDOMAIN, server)


def read_all_short(s):
    """What comes within a moment: a frame that never completes is not answered."""
    s.settimeout(0.3)
    try:
        return read_all(s)
    except TimeoutError:
        return b""


@suite.case
def queries_over_tcp(w):
    """Several on one connection, split anywhere; the event names who asked."""
    d, since = direct(w), w.inside.mark()
    with d.dial("8.8.4.4", 53) as s:
        for name in ("api.test", "denied-by-tcp.test", "plain.test"):
            asked = question(name)
            for byte in struct.pack("!H", len(asked)) + asked:
                s.sendall(bytes([byte]))
            n, = struct.unpack("!H", s.recv(2, socket.MSG_WAITALL))
            equal(Answer(s.recv(n, socket.MSG_WAITALL), asked).rcode, NXDOMAIN if "denied" in name else 0, name)
    w.inside.audit("DENIED /usr/bin/curl(64) -> denied-by-tcp.test:53 [policy:- engine:policy-dns]", since)
    with d.dial("8.8.4.4", 53) as s:
        s.sendall(struct.pack("!H", 8193) + b"x" * 100)
        equal(read_all(s), b"", "too long")
    with d.dial("8.8.4.4", 53) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: api.test\r\n\r\n")
        equal(read_all_short(s), b"", "no DNS")


@suite.case
def edns_is_answered_in_kind(w):
    opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
    plain = bytearray(question("api.test"))
    plain[11] = 1
    data = direct(w).exchange(bytes(plain) + opt)
    equal(struct.unpack("!H", data[10:12])[0], 1, "additional records")
    check(data.endswith(b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)), repr(data))


@suite.case
def malformed_queries_get_formerr_or_silence(w):
    d = direct(w)
    good = question("api.test")
    for what, message, rcode in (
            ("status opcode", question("api.test", flags=0x1000), 1), ("two questions", good[:5] + b"\2" + good[6:], 1),
            ("cut", good[:-1], 1), ("more", good + b"x", 1), ("class", question("api.test", qclass=3), 4),
            ("address", question("1.2.3.4"), 1), ("blank", question("a b.test"), 1), ("too long", good + b"\0" * 9000, 1),
            ("pointer", good[:12] + b"\xc0\x0c" + good[-4:], 1), ("response", question("api.test", flags=0x8000), None),
            ("short", good[:11], None), ("empty", b"", None)):
        data = d.exchange(message)
        equal(data and data[3] & 15, rcode, what)


@suite.case
def the_table_of_names_is_bounded(w):
    """More names than fit: the rest is refused with an event, those that have an address keep it."""
    e, d = other(w, "full")
    first, since = d.resolve("n0.many.test"), e.mark()
    codes = [d.ask(f"x{i}.many.test").rcode for i in range(1100)]
    equal((codes.count(0), codes.count(2)), (1023, 77), "answered, refused")
    e.audit("policy_dns_publication_pool_exhausted", since)
    equal(d.resolve("n0.many.test"), first, "address")
    with d.dial(first, 7) as s:
        s.sendall(b"ping")
        equal(s.recv(10), b"ping", "echo")
    stop_process(e.process)


@suite.case
def addresses_survive_reloads_and_names_do_not(w):
    e, d = other(w, "names")
    address = d.resolve("api.test")
    e.reload(POLICY_DIRECT + "\n")
    equal(d.resolve("api.test"), address, "after a reload")
    e.reload(POLICY_DIRECT.replace("api.test", "gone.test"))
    equal(d.ask("api.test").rcode, NXDOMAIN, "taken away")
    since = e.mark()
    check(d.refused(d.dial(address, 443)), "an address kept from before")
    e.audit("DENIED /usr/bin/curl(64) -> api.test:443 [policy:- engine:opa] [reason:endpoint api.test:443 is not allowed", since)
    e.reload(POLICY_DIRECT)
    equal(d.resolve("api.test"), address, "given back")
    stop_process(e.process)


# --- captured connections ---

def get(s, host, path="/", method="GET"):
    s.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return Response(s)


@suite.case
def https_is_inspected_as_in_a_tunnel(w):
    d, since = direct(w), w.inside.mark()
    w.fresh()
    with d.tls("api.test") as s:
        equal([v for _, v in s.getpeercert()["subjectAltName"]], ["api.test"], "certificate")
        equal(get(s, "api.test", "/v1/x").body, b"origin saw GET /v1/x HTTP/1.1 with 0 bytes", "body")
        equal(json.loads(get(s, "api.test", "/other", "POST").body)["detail"], "POST /other not permitted by policy", "denied")
        equal(read_all(s), b"", "after the denial")
    equal(w.tls.requests(), ["GET /v1/x HTTP/1.1"], "origin")
    w.inside.audit("NET:OPEN [INFO] ALLOWED /usr/bin/curl(64) -> api.test:443 [policy:api engine:opa] "
                   "[msg:TRANSPARENT_TCP_L7 allowed api.test:443]", since)
    w.inside.audit("HTTP:POST [MED] DENIED /usr/bin/curl(64) -> POST https://api.test/other [policy:api engine:l7]", since)


@suite.case
def https_over_ipv6(w):
    if not w.ipv6:
        raise Skip("no IPv6 here")
    with direct(w).tls("api.test", qtype=AAAA) as s:
        equal(get(s, "api.test", "/six").status, 200, "status")


@suite.case
def plain_http_is_judged_request_by_request(w):
    d = direct(w)
    w.fresh()
    with d.open("plain.test", 80) as s:
        equal(get(s, "plain.test", "/a").status, 200, "GET")
        equal(get(s, "plain.test", "/b").status, 200, "GET again")
        equal(get(s, "plain.test", "/c", "DELETE").status, 403, "DELETE")
    equal(w.plain.requests(), ["GET /a HTTP/1.1", "GET /b HTTP/1.1"], "origin")


@suite.case
def another_host_inside_is_refused(w):
    w.fresh()
    with direct(w).open("plain.test", 80) as s:
        r = get(s, "l4.test")
    equal((r.status, json.loads(r.body)["error"]), (403, "request_authority_mismatch"), "Host")
    try:
        direct(w).tls("api.test", sni="l4.test")
        raise AssertionError("the handshake was accepted")
    except ssl.SSLError as why:
        contains(str(why).lower(), "unrecognized")
    nothing_seen(w.plain)


@suite.case
def protocol_tcp_passes_bytes_both_ways(w):
    d, since = direct(w), w.inside.mark()
    blob = os.urandom(1_000_000)
    with d.open("tcp.test", 7) as s:
        threading.Thread(target=lambda: (s.sendall(blob), s.shutdown(socket.SHUT_WR)), daemon=True).start()
        check(read_all(s) == blob + b"bye", "bytes differ")
    with d.open("tcp.test", 81) as s:
        equal(s.recv(100), b"220 hello\r\n", "the server speaks first")
    w.inside.audit("ALLOWED /usr/bin/curl(64) -> tcp.test:7 [policy:raw engine:opa] [msg:TRANSPARENT_TCP allowed tcp.test:7]", since)


@suite.case
def protocol_tcp_is_opaque_on_every_entry_way(w):
    """TLS through it is the origin's own; what looks like HTTP is not parsed."""
    d = direct(w)
    with d.tls("tcp.test", cafile=w.authority.pem) as s:
        equal(dict(x[0] for x in s.getpeercert()["issuer"])["commonName"], "test CA", "captured")
    with w.inside.tls("tcp.test:443", cafile=w.authority.pem) as s:
        equal(dict(x[0] for x in s.getpeercert()["issuer"])["commonName"], "test CA", "CONNECT")
    with d.open("tcp.test", 7) as s:
        s.sendall(b"GET / HTTP/1.1\r\nbroken\n\n")
        equal(s.recv(100), b"GET / HTTP/1.1\r\nbroken\n\n", "echo")


@suite.case
def tls_skip_passes_tls_unread(w):
    with direct(w).tls("skip.test", cafile=w.authority.pem) as s:
        equal(get(s, "anything").status, 200, "status")


@suite.case
def other_protocols_do_not_pass_an_inspected_endpoint(w):
    w.fresh()
    with direct(w).open("plain.test", 80) as s:
        s.sendall(b"SSH-2.0-x\r\n")
        contains(read_all(s).decode(), "unsupported_l7_protocol")
    nothing_seen(w.plain)


@suite.case
def refusals_say_why(w):
    """Wrong program, wrong port, unknown owner: a reset and the reason that CONNECT gives."""
    d = direct(w)
    w.fresh()
    address = d.resolve("api.test")
    for exe, port, reason in (("/usr/bin/wget", 443, "binary '/usr/bin/wget' not allowed in policy 'api'"),
                              ("/usr/bin/curl", 8443, "endpoint api.test:8443 is not allowed by any policy")):
        since = w.inside.mark()
        with w.inside.as_process(exe):
            check(d.refused(d.dial(address, port)), exe)
        line = w.inside.audit(f"NET:OPEN [MED] DENIED {exe}(64) -> api.test:{port} [policy:- engine:opa] [reason:", since)
        contains(line, reason)
    since = w.inside.mark()
    with w.inside.as_process("the owner is not known", pid="!"):
        check(d.refused(d.dial(address, 443)), "unknown owner")
    w.inside.audit("DENIED - -> api.test:443 [policy:- engine:opa] [reason:the owner is not known]", since)
    nothing_seen(w.tls)


@suite.case
def unmapped_synthetic_addresses_lead_nowhere(w):
    d = direct(w)
    for address in ("198.18.0.0", "198.18.255.255", *(("fd23:6f70:656e:1::1",) if w.ipv6 else ())):
        since = w.inside.mark()
        check(d.refused(d.dial(address, 443)), address)
        w.inside.audit("[policy:- engine:transparent-tcp] [reason:transparent_tcp_mapping_missing]", since)


@suite.case
def undeclared_addresses_are_bypass_attempts(w):
    d = direct(w)
    w.fresh()
    for address, port in (("8.8.8.8", 443), ("169.254.169.253", 80), (PRIVATE, 443), ("255.255.255.254", 80),
                          *((("2001:db8::1", 443), ("::ffff:8.8.8.8", 443)) if w.ipv6 else ())):
        since = w.inside.mark()
        check(d.refused(d.dial(address, port)), address)
        shown = f"[{address}]" if address.startswith("2001") else address.removeprefix("::ffff:")
        w.inside.audit(f"NET:REFUSE [MED] DENIED /usr/bin/curl(64) -> {shown}:{port}/tcp [policy:bypass-detect engine:nftables] "
                       "[reason:direct connection bypassed HTTP CONNECT proxy", since)
        time.sleep(0.25)  # within the limit of such events
    w.inside.audit('FINDING:BLOCKED [MED] "Proxy Bypass Detected" [type:bypass-detect]', since)
    nothing_seen(w.lan)


@suite.case
def declared_addresses_are_served(w):
    with direct(w).dial(PUBLIC, 80) as s:
        equal(get(s, PUBLIC, "/literal").status, 200, "status")


@suite.case
def metadata_stays_closed_even_when_declared(w):
    d, since = direct(w), w.inside.mark()
    with w.metadata.lock:
        w.metadata.raw = b""
    check(d.refused(d.dial("169.254.169.254", 80), b"GET / HTTP/1.0\r\n\r\n"), "address")
    w.inside.audit("169.254.169.254:80 [policy:hosts engine:ssrf] [reason:169.254.169.254 resolves to always-blocked address", since)
    check(d.refused(d.open("meta.test", 80), b"GET / HTTP/1.0\r\n\r\n"), "name")
    nothing_seen(w.metadata)


@suite.case
def our_own_ports_give_nothing_away(w):
    """The traps and the proxy, asked directly and with other protocols."""
    d = direct(w)
    for address, port in (("127.0.0.1", 15001), ("10.200.0.1", 15001), ("10.200.0.1", 80), ("10.200.0.1", 22)):
        check(d.refused(d.dial(address, port), b"GET / HTTP/1.1\r\nHost: api.test\r\n\r\n"), f"{address}:{port}")
    for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n\r\n", b"SSH-2.0-x\r\n\r\n\r\n",
                 b"\x05\x01\0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        with d.dial("10.200.0.1", 3128) as s:
            s.sendall(data)
            equal(read_all(s), b"HTTP/1.1 400 Bad Request\r\n\r\n", repr(data))
    with d.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"x", ("10.200.0.1", 3128))
        s.sendto(b"x", ("127.0.0.1", 15053))
    with d.dial("10.200.0.1", 3128) as s:
        s.sendall(b"CONNECT 10.200.0.1:3128 HTTP/1.1\r\n\r\n")
        contains(read_all(s).decode(), "403 Forbidden")


@suite.case
def synthetic_addresses_mean_the_name_on_every_entry_way(w):
    """A program that resolves by itself and then asks the proxy for the address."""
    d = direct(w)
    w.fresh()
    with w.inside.open(f"{d.resolve('plain.test')}:80") as s:
        equal(get(s, "plain.test", "/by-connect").status, 200, "CONNECT")
    contains(w.inside.ask(f"GET http://{d.resolve('plain.test')}/by-form HTTP/1.1\r\n\r\n".encode()).decode(), "by-form")
    equal(w.inside.refused("198.18.255.255:80")[1]["error"], "policy_denied", "unmapped")
    equal(len(w.plain.requests()), 2, "requests")


@suite.case
def other_datagrams_are_dropped_and_logged_within_limits(w):
    e, d = other(w, "udp")
    since = e.mark()
    with d.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.3)
        for port in (123, 443, 5353):
            s.sendto(b"x" * 100, (PUBLIC, port))
        try:
            raise AssertionError(f"an answer: {s.recv(100)!r}")
        except TimeoutError:
            pass
        e.audit(f"NET:REFUSE [MED] DENIED - -> {PUBLIC}:123/udp [policy:bypass-detect engine:nftables]", since)
        for _ in range(500):
            s.sendto(b"x", (PUBLIC, 443))
    equal(d.ask("api.test").rcode, 0, "names are answered meanwhile")
    with e.lock:
        n = sum("/udp" in l for l in e.lines[since:])
    check(3 <= n <= 20, f"{n} events")
    stop_process(e.process)


@suite.case
def a_flood_of_denied_names_is_logged_within_limits(w):
    e, d = other(w, "flood")
    since = e.mark()
    for i in range(300):
        equal(d.ask(f"q{i}.nowhere.test").rcode, NXDOMAIN, "code")
    with e.lock:
        n = sum("policy_dns_ineligible" in l for l in e.lines[since:])
    check(10 <= n <= 40, f"{n} events")
    stop_process(e.process)


@suite.case
def many_direct_connections_at_once(w):
    d = direct(w)

    def work(i):
        host = ("api.test", "a.glob.test", "audit.test")[i % 3]
        with d.tls(host) as s:
            equal(get(s, host, f"/c{i}").status, 200, "status")
    in_parallel(work, range(40))


@suite.case
def reload_cuts_and_opens_captured_connections(w):
    e, d = other(w, "cutdirect")
    raw, idle = d.open("tcp.test", 7), d.tls("api.test")
    raw.sendall(b"x")
    equal(raw.recv(1), b"x", "echo")
    since = e.mark()
    e.reload(POLICY_DIRECT.replace("host: tcp.test", "host: tcp2.test"))
    equal((read_all(raw), read_all(idle)), (b"", b""), "open connections")
    e.audit("NET:CLOSE [INFO] /usr/bin/curl(64) -> tcp.test:7", since)
    equal(d.ask("tcp.test").rcode, NXDOMAIN, "taken away")
    e.reload(POLICY_DIRECT)
    with d.open("tcp.test", 7) as s:
        s.sendall(b"back")
        equal(s.recv(10), b"back", "given back")
    with d.tls("api.test") as s:
        equal(get(s, "api.test").status, 200, "still allowed")
    stop_process(e.process)


# --- one decision ---

CURL, GIT = ("/usr/bin/curl",), ("/usr/bin/git",)
L4, L7, SSRF = ("ALLOWED", "raw", "opa", ""), ("ALLOWED", "raw", "l7", ""), "ssrf"
HTTP_API = ("ALLOWED", "api", "opa", "")


def none(host, port=80):
    return {("DENIED", "-", "opa", f"endpoint {host}:{port} is not allowed by any policy")}


def denied(policy, engine, reason):
    return ("DENIED", policy, engine, reason)


# (name, host, port, who, method, path, allowed, events); events are (action, policy, engine, reason).
DECISIONS = [
    ("exact_host", "plain80.test", 80, CURL, "GET", "/", True, {L4}),
    ("unknown_host", "unheard.test", 80, CURL, "GET", "/", False, none("unheard.test")),
    ("other_port", "plain80.test", 8081, CURL, "GET", "/", False, none("plain80.test", 8081)),
    ("glob", "a.glob.test", 80, CURL, "GET", "/", True, {L4}),
    ("glob_two_labels", "a.b.glob.test", 80, CURL, "GET", "/", False, none("a.b.glob.test")),
    ("other_binary", "plain80.test", 80, ("/usr/bin/wget",), "GET", "/", False,
     {denied("-", "opa", "binary '/usr/bin/wget' not allowed in policy 'raw'")}),
    ("binary", "bin.test", 80, GIT, "GET", "/", True, {("ALLOWED", "tools80", "opa", "")}),
    ("ancestor", "bin.test", 80, ("/usr/bin/node", "/opt/agent"), "GET", "/", True, {("ALLOWED", "tools80", "opa", "")}),
    ("no_ancestor", "bin.test", 80, ("/usr/bin/node", "/bin/sh"), "GET", "/", False,
     {denied("-", "opa", "binary '/usr/bin/node' not allowed in policy 'tools80'")}),
    ("private_declared", "db.lan", 80, CURL, "GET", "/", True, {L4}),
    ("private_by_glob", "x.db.lan", 80, CURL, "GET", "/", False,
     {denied("raw", SSRF, f"x.db.lan resolves to internal address {PRIVATE}, connection rejected")}),
    ("allowed_ips", "list.lan", 80, CURL, "GET", "/", True, {L4}),
    ("not_in_allowed_ips", "wrong.lan", 80, CURL, "GET", "/", False,
     {denied("raw", SSRF, f"wrong.lan resolves to {PRIVATE} which is not in allowed_ips, connection rejected")}),
    ("metadata", "meta.test", 80, CURL, "GET", "/", False,
     {denied("hosts", SSRF, "meta.test resolves to always-blocked address 169.254.169.254, connection rejected")}),
    ("one_bad_address", "mixed.glob.test", 80, CURL, "GET", "/", False,
     {denied("raw", SSRF, f"mixed.glob.test resolves to internal address {PRIVATE}, connection rejected")}),
    ("public_literal", PUBLIC, 80, CURL, "GET", "/", True, {L4}),
    ("private_literal", PRIVATE, 80, CURL, "GET", "/", True, {L4}),
    ("undeclared_literal", "8.8.8.8", 80, CURL, "GET", "/", False, none("8.8.8.8")),
    ("metadata_literal", "169.254.169.254", 80, CURL, "GET", "/", False,
     {denied("hosts", SSRF, "169.254.169.254 resolves to always-blocked address 169.254.169.254, connection rejected")}),
    ("tls_skip", "skip.test", 80, CURL, "GET", "/", True, {L4}),
    ("protocol_tcp", "tcp.test", 80, CURL, "GET", "/", True, {L4}),
    ("rest_allow", "plain.test", 80, CURL, "GET", "/a", True, {HTTP_API, ("ALLOWED", "api", "l7", "")}),
    ("rest_other_port", "plain.test", 8080, CURL, "POST", "/v1/a", True, {HTTP_API, ("ALLOWED", "api", "l7", "")}),
    ("rest_method", "plain.test", 80, CURL, "DELETE", "/a", False, {denied("api", "l7", "DELETE /a not permitted by policy")}),
    ("rest_path", "plain.test", 80, CURL, "POST", "/a", False, {denied("api", "l7", "POST /a not permitted by policy")}),
    ("rest_deny_rule", "plain.test", 80, CURL, "GET", "/admin/x", False, {denied("api", "l7", "GET /admin/x blocked by deny rule")}),
    ("rest_encoded", "plain.test", 80, CURL, "GET", "/%61dmin/x", False, {denied("api", "l7", "GET /admin/x blocked by deny rule")}),
    ("rest_dots", "plain.test", 80, CURL, "GET", "/v1/../admin/x", False,
     {denied("api", "l7", "GET /admin/x blocked by deny rule")}),
    ("rest_query", "query.test", 80, CURL, "GET", "/d?tag=foo-a", True, {L4, L7}),
    ("rest_other_query", "query.test", 80, CURL, "GET", "/d?tag=b", False, {denied("raw", "l7", "GET /d not permitted by policy")}),
    ("rest_audit", "audit.test", 80, CURL, "DELETE", "/t", True,
     {L4, ("OBSERVED", "raw", "l7", "")}),
    ("rest_encoded_slash", "slash.test", 80, CURL, "GET", "/@s%2Fn", True, {L4, L7}),
    ("rest_above_root", "plain.test", 80, CURL, "GET", "/../x", False, {denied("api", "http-parser", None)}),
]


def outcome(s, host, port, method, path):
    """True when the origin's answer came."""
    shown = host if port == 80 else f"{host}:{port}"
    try:
        s.sendall(f"{method} {path} HTTP/1.1\r\nHost: {shown}\r\nConnection: close\r\n\r\n".encode())
        return Response(s).status == 200
    except (ConnectionError, AssertionError):
        return False
    finally:
        s.close()


def by_connect(w, host, port, method, path):
    s, answer = w.inside.connect(f"{host}:{port}")
    return outcome(s, host, port, method, path) if s else b"HTTP/1.1 403" not in answer[0]


def by_absolute_form(w, host, port, method, path):
    shown = host if port == 80 else f"{host}:{port}"
    return w.inside.ask(f"{method} http://{shown}{path} HTTP/1.1\r\nHost: {shown}\r\n\r\n".encode()).startswith(b"HTTP/1.1 200")


def by_capture(w, host, port, method, path):
    d = w.direct
    if re.fullmatch(r"[\d.]+", host):
        return outcome(d.dial(host, port), host, port, method, path)
    s = d.open(host, port)
    return outcome(s, host, port, method, path) if s else False


def events_since(w, since, host):
    """(action, policy, engine, reason) of the decisions on host, without how it came in."""
    with w.inside.lock:
        lines = [l[6:] for l in w.inside.lines[since:] if l.startswith("AUDIT ") and host in l]
    found = []
    for line in lines:
        m = re.search(r"\] (ALLOWED|DENIED|OBSERVED) .* \[policy:(\S+) engine:([\w-]+)\](?: \[(?:reason|msg):(.*)\])?$", line)
        if m:
            found.append((m[1], m[2], m[3], m[4] if m[1] == "DENIED" else ""))
    return found


def agree(found, want):
    """Decisions are the same when the refusals are, and what was allowed before a refusal does not matter: an absolute-form
    request has its rules judged before its connection."""
    refusals = [f for f in found if f[0] == "DENIED"]
    wanted = {x for x in want if x[0] == "DENIED"}
    if not wanted:
        return set(found) == want and not refusals
    (want_one,) = wanted
    return len(refusals) == 1 and all(f[1:3] == want_one[1:3] and (f[3] or "").startswith(want_one[3] or "") for f in refusals)


def decision_case(name, host, port, who, method, path, allowed, events):
    def case(w):
        direct(w)
        literal = re.fullmatch(r"[\d.]+", host)
        for way in (by_connect, by_absolute_form, by_capture):
            want = events
            unnamed = ("DENIED", "-", "opa", f"endpoint {host}:{port} is not allowed by any policy") in events
            if way is by_capture and unnamed and literal:
                want = {("DENIED", "bypass-detect", "nftables", "direct connection bypassed HTTP CONNECT proxy")}
            elif way is by_capture and unnamed and host in ("unheard.test", "a.b.glob.test"):
                want = {("DENIED", "-", "policy-dns", "policy_dns_ineligible")}
            since = w.inside.mark()
            with w.inside.as_process(*who):
                equal(way(w, host, port, method, path), allowed, f"{way.__name__}: verdict")
            wait_for(f"{way.__name__}: {want}", lambda: agree(events_since(w, since, host), want), 3)
    case.__name__ = f"one_decision_{name}"
    suite.case(case)


for _row in DECISIONS:
    decision_case(*_row)

main(suite)
