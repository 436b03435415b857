"""Who may reach what, and what a tunnel is: identity, L4 rules, addresses, TLS, limits, reload, traffic around the proxy.
Every case says what it proves."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
from harness import Skip, Suite, check, contains, equal, in_parallel, run, stop_process, wait_for  # noqa: E402
from origins import Origin, Response, read_all, read_head  # noqa: E402
from world import POLICY, PRIVATE, PUBLIC, PUBLIC2, Egress, nothing_seen, main  # noqa: E402

suite = Suite()


# --- who and where: L4 ---

@suite.case
def allowed_host_is_reached_through_the_sandbox_ca(w):
    """The certificate comes from the sandbox CA, is for the CONNECT host, and the origin gets the request."""
    w.fresh()
    with w.egress.tls("api.test:443") as s:
        names = [v for _, v in s.getpeercert()["subjectAltName"]]
        equal(names, ["api.test"], "certificate names")
        equal(s.selected_alpn_protocol(), "http/1.1", "ALPN")
        issuer = dict(x[0] for x in s.getpeercert()["issuer"])
        equal(issuer["commonName"], "OpenShell Sandbox CA", "issuer")
        s.sendall(b"GET /v1/x?q=1 HTTP/1.1\r\nHost: api.test\r\nX-A: b\r\n\r\n")
        equal(Response(s).body, b"origin saw GET /v1/x?q=1 HTTP/1.1 with 0 bytes", "body")
    equal(w.tls.seen[0][1], b"GET /v1/x?q=1 HTTP/1.1\r\nHost: api.test\r\nX-A: b", "head at the origin")


@suite.case
def allow_is_logged(w):
    since = w.egress.mark()
    equal(w.egress.get("api.test", "/v1/y?secret=1").status, 200, "status")
    w.egress.audit("NET:OPEN [INFO] ALLOWED /usr/bin/curl(64) -> api.test:443 [policy:api engine:opa]", since)
    line = w.egress.audit("HTTP:GET [INFO] ALLOWED", since)
    equal(line, "HTTP:GET [INFO] ALLOWED /usr/bin/curl(64) -> GET https://api.test/v1/y [policy:api engine:l7]", "line")


@suite.case
def unknown_host_is_denied_to_the_letter(w):
    since = w.egress.mark()
    answer = w.egress.ask(b"CONNECT nowhere.test:443 HTTP/1.1\r\n\r\n")
    body = (b'{"detail":"CONNECT nowhere.test:443 not permitted by policy","error":"policy_denied",'
            b'"reason":"endpoint nowhere.test:443 is not allowed by any policy"}')
    equal(answer, b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
          b"Connection: close\r\n\r\n%s" % (len(body), body), "answer")
    w.egress.audit("NET:OPEN [MED] DENIED /usr/bin/curl(64) -> nowhere.test:443 [policy:- engine:opa] "
                   "[reason:endpoint nowhere.test:443 is not allowed by any policy]", since)


@suite.case
def host_case_and_trailing_dot_do_not_matter(w):
    with w.egress.open("API.Test.:443"):
        pass


@suite.case
def other_port_is_denied(w):
    status, body = w.egress.refused("api.test:8443")
    equal(body["reason"], "endpoint api.test:8443 is not allowed by any policy", "reason")


@suite.case
def glob_matches_exactly_one_label(w):
    equal(w.egress.get("a.glob.test").status, 200, "status")
    equal(w.egress.refused("a.b.glob.test:443")[1]["error"], "policy_denied", "two labels")
    equal(w.egress.refused("glob.test:443")[1]["error"], "policy_denied", "no label")


@suite.case
def other_binary_is_denied_by_name(w):
    with w.egress.as_process("/usr/bin/wget"):
        _, body = w.egress.refused("api.test:443")
    contains(body["reason"], "binary '/usr/bin/wget' not allowed in policy 'api'")
    contains(body["reason"], "SYMLINK HINT")


@suite.case
def ancestor_grants(w):
    with w.egress.as_process("/usr/bin/node", "/bin/sh", "/opt/agent"):
        equal(w.egress.get("bin.test").status, 200, "status")
    with w.egress.as_process("/usr/bin/node", "/bin/sh"):
        contains(w.egress.refused("bin.test:443")[1]["reason"], "(ancestors: [/bin/sh], cmdline: [])")


@suite.case
def endpoint_and_binary_must_be_in_one_rule(w):
    with w.egress.as_process("/usr/bin/git"):
        equal(w.egress.refused("api.test:443")[1]["error"], "policy_denied", "error")


@suite.case
def unknown_owner_is_denied_with_its_reason(w):
    since = w.egress.mark()
    reason = "failed to resolve peer binary: No ESTABLISHED TCP connection found"
    with w.egress.as_process(reason, pid="!"):
        equal(w.egress.refused("api.test:443")[1]["reason"], reason, "reason")
    w.egress.audit(f"DENIED - -> api.test:443 [policy:- engine:opa] [reason:{reason}]", since)


@suite.case
def malformed_connect_targets_are_refused(w):
    for target in ("api.test", "api.test:0", "api.test:99999", ":443", "api.test:443x", "[::1:443", "u@api.test:443",
                   "api.test:+443", "http://api.test:443"):
        answer = w.egress.ask(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        equal(answer, b"HTTP/1.1 400 Bad Request\r\n\r\n", target)


@suite.case
def unreachable_upstream_is_a_502(w):
    status, body = w.egress.refused("db.lan:444")
    equal(status, "HTTP/1.1 502 Bad Gateway", "status")
    equal(body, {"error": "upstream_unreachable", "detail": "connection to db.lan:444 failed"}, "body")


# --- where: addresses ---

def ssrf(w, target, kind, reason):
    since = w.egress.mark()
    status, body = w.egress.refused(target)
    equal(status, "HTTP/1.1 403 Forbidden", "status")
    equal(body, {"error": "ssrf_denied", "detail": f"CONNECT {target} blocked: {kind}"}, "body")
    w.egress.audit(f"engine:ssrf] [reason:{reason}]", since)


@suite.case
def raw_ip_is_denied_unless_declared(w):
    equal(w.egress.refused(f"{PUBLIC2}:443")[1]["error"], "policy_denied", "undeclared")
    with w.egress.tls(f"{PUBLIC}:443") as s:
        equal([v for k, v in s.getpeercert()["subjectAltName"] if k == "IP Address"], [PUBLIC], "IP SAN")
        s.sendall(f"GET /ip HTTP/1.1\r\nHost: {PUBLIC}\r\n\r\n".encode())
        equal(Response(s).status, 200, "status")


@suite.case
def other_spellings_of_an_address_are_denied(w):
    for target in ("2130706433:80", "0x7f.1:80", "127.1:80", "0177.0.0.1:80", "[::ffff:7f00:1]:80", "[::]:80", "0:80",
                   "[::ffff:169.254.169.254]:80"):
        s, answer = w.egress.connect(target)
        check(s is None, f"CONNECT {target} was allowed")
        contains(answer[0].decode(), "HTTP/1.1 403")


@suite.case
def metadata_address_is_refused_even_when_declared(w):
    with w.metadata.lock:
        w.metadata.raw = b""
    ssrf(w, "169.254.169.254:80", "declared endpoint check failed",
         "169.254.169.254 resolves to always-blocked address 169.254.169.254, connection rejected")
    ssrf(w, "meta.test:80", "declared endpoint check failed",
         "meta.test resolves to always-blocked address 169.254.169.254, connection rejected")
    nothing_seen(w.metadata)


@suite.case
def loopback_is_refused_even_when_declared(w):
    with w.loopback.lock:
        w.loopback.raw = b""
    ssrf(w, "127.0.0.1:80", "declared endpoint check failed",
         "127.0.0.1 resolves to always-blocked address 127.0.0.1, connection rejected")
    ssrf(w, "loop.test:443", "declared endpoint check failed",
         "loop.test resolves to always-blocked address 127.0.0.1, connection rejected")
    equal(w.egress.refused("[::1]:80")[1], {"error": "ssrf_denied",
          "detail": "CONNECT ::1:80 blocked: declared endpoint check failed"}, "::1")
    nothing_seen(w.loopback)


@suite.case
def private_address_of_a_glob_host_is_refused(w):
    ssrf(w, "x.db.lan:443", "internal address",
         f"x.db.lan resolves to internal address {PRIVATE}, connection rejected")


@suite.case
def private_address_of_a_declared_host_is_allowed(w):
    equal(w.egress.get("db.lan").status, 200, "10/8")
    equal(w.egress.get("shared.lan").status, 200, "100.64/10")


@suite.case
def allowed_ips_open_and_narrow(w):
    equal(w.egress.get("list.lan").status, 200, "in the list")
    ssrf(w, "wrong.lan:443", "allowed_ips check failed",
         f"wrong.lan resolves to {PRIVATE} which is not in allowed_ips, connection rejected")


@suite.case
def hostless_endpoint_allows_by_address(w):
    equal(w.egress.request("any.lan:9443", b"GET / HTTP/1.1\r\nHost: any.lan:9443\r\n\r\n").status, 200, "in the list")
    s, answer = w.egress.connect("l4.test:9443")
    contains(answer[1].decode(), "allowed_ips check failed")


@suite.case
def one_bad_address_refuses_the_whole_name(w):
    """A name with a public and a private address: neither is dialled."""
    w.fresh()
    ssrf(w, "mixed.glob.test:443", "internal address",
         f"mixed.glob.test resolves to internal address {PRIVATE}, connection rejected")
    nothing_seen(w.tls)


@suite.case
def control_plane_port_is_refused(w):
    ssrf(w, "db.lan:6443", "declared endpoint check failed",
         "port 6443 is a blocked control-plane port, connection rejected")


@suite.case
def ipv6_origin_of_a_declared_host(w):
    if not w.ipv6:
        raise Skip("no IPv6 here")
    equal(w.egress.get("ula.lan").status, 200, "status")


@suite.case
def unresolvable_name_is_refused(w):
    status, body = w.egress.refused("unknown.glob.test:443")
    equal(body, {"error": "ssrf_denied", "detail": "CONNECT unknown.glob.test:443 blocked: internal address"}, "body")


# --- the authority of the tunnel ---

@suite.case
def other_host_in_a_tunnel_is_refused(w):
    w.fresh()
    since = w.egress.mark()
    for head in ("GET / HTTP/1.1\r\nHost: l4.test\r\n\r\n", "GET / HTTP/1.1\r\nHost: api.test:444\r\n\r\n",
                 "GET https://l4.test/ HTTP/1.1\r\nHost: l4.test\r\n\r\n"):
        r = w.egress.request("api.test:443", head.encode())
        equal(r.status_line, "HTTP/1.1 403 Forbidden", "status")
        equal(r.body, b'{"error":"request_authority_mismatch","message":"HTTP request authority does not match the '
              b'authorized tunnel endpoint"}', "body")
    w.egress.audit("[HIGH] DENIED /usr/bin/curl(64) -> GET https://api.test/ [policy:api engine:request-authority]", since)
    w.egress.audit("FINDING:BLOCKED [HIGH]", since)
    nothing_seen(w.tls)
    equal(w.egress.request("api.test:443", b"GET https://API.test/x HTTP/1.1\r\nHost: api.test.:443\r\n\r\n").status, 200,
          "same authority, other spelling")
    equal(w.egress.request("api.test:443", b"GET https://l4.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n").status, 400,
          "absolute target and Host differ")


@suite.case
def other_name_in_sni_is_refused(w):
    w.fresh()
    since = w.egress.mark()
    try:
        w.egress.tls("api.test:443", sni="l4.test")
        raise AssertionError("the handshake was accepted")
    except ssl.SSLError as why:
        contains(str(why).lower(), "unrecognized")
    w.egress.audit("DENIED /usr/bin/curl(64) -> api.test:443 [policy:api engine:request-authority] [reason:TLS server name "
                   "differs from the CONNECT host]", since)
    nothing_seen(w.tls)


@suite.case
def h2_only_client_is_told_so(w):
    since = w.egress.mark()
    try:
        w.egress.tls("api.test:443", alpn=("h2",))
        raise AssertionError("the handshake was accepted")
    except ssl.SSLError as why:
        contains(str(why).lower(), "no application protocol")
    w.egress.audit("DENIED /usr/bin/curl(64) -> api.test:443 [policy:api engine:tls] [reason:client offers h2 alone, "
                   "which the upstream does not speak", since)


@suite.case
def untrusted_upstream_is_a_502_with_the_reason(w):
    w.fresh()
    r = w.egress.get("badcert.test")
    body = json.loads(r.body)
    equal((r.status, body["error"]), (502, "upstream_unreachable"), "answer")
    contains(body["reason"], "certificate")
    equal(w.badcert.requests(), [], "origin")


# --- what is inside the tunnel ---

@suite.case
def other_protocols_do_not_pass_an_inspected_endpoint(w):
    w.fresh()
    for first, detail in ((b"SSH-2.0-x\r\n", "Unsupported tunnel protocol for L7-inspected endpoint"),
                          (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                           "HTTP/2 prior-knowledge (h2c) is not supported for L7-inspected endpoints")):
        with w.egress.open("plain.test:80") as s:
            s.sendall(first)
            r = Response(s)
        equal((r.status, json.loads(r.body)), (403, {"error": "unsupported_l7_protocol", "detail": detail}), "answer")
    nothing_seen(w.plain)


@suite.case
def opaque_tunnel_passes_bytes_and_half_closes(w):
    blob = os.urandom(2_000_000)
    with w.egress.open("l4.test:7") as s:
        threading.Thread(target=lambda: (s.sendall(blob), s.shutdown(socket.SHUT_WR)), daemon=True).start()
        got = read_all(s)
    check(got == blob + b"bye", f"{len(got)} bytes came back")


@suite.case
def server_may_speak_first_on_an_opaque_endpoint(w):
    with w.egress.open("l4.test:81") as s:
        equal(s.recv(100), b"220 hello\r\n", "greeting")
        s.sendall(b"quit")
        equal(s.recv(100), b"quit", "echo")


@suite.case
def data_sent_with_connect_is_not_lost(w):
    with w.egress.dial() as s:
        s.sendall(b"CONNECT l4.test:7 HTTP/1.1\r\n\r\nearly bytes")
        head, rest = read_head(s)
        contains(head.decode(), "200 Connection Established")
        while len(rest) < 11:
            rest += s.recv(100)
        equal(rest, b"early bytes", "echo")


@suite.case
def tls_skip_shows_the_origins_certificate(w):
    with w.egress.tls("skip.test:443", cafile=w.authority.pem) as s:
        equal(dict(x[0] for x in s.getpeercert()["issuer"])["commonName"], "test CA", "issuer")
        s.sendall(b"GET /raw HTTP/1.1\r\nHost: anything\r\n\r\n")
        equal(Response(s).status, 200, "status")


@suite.case
def uninspected_endpoint_is_still_parsed_strictly(w):
    """An endpoint without rules: every method passes, another Host or an ambiguous request does not."""
    since = w.egress.mark()
    equal(w.egress.get("l4.test", "/any", "PURGE").status, 200, "method")
    w.egress.audit("HTTP:PURGE [INFO] ALLOWED", since)
    equal(w.egress.request("l4.test:443", b"GET / HTTP/1.1\r\nHost: api.test\r\n\r\n").status, 403, "Host")
    equal(w.egress.request("l4.test:443", b"GET / HTTP/1.1\r\nHost: l4.test\r\nX : y\r\n\r\n").status, 400, "syntax")


# --- limits ---

@suite.case
def oversized_heads_are_refused(w):
    equal(w.egress.ask(b"CONNECT api.test:443 HTTP/1.1\r\nX: " + b"a" * 8192),
          b"HTTP/1.1 431 Request Header Fields Too Large\r\n\r\n", "first head")
    w.fresh()
    with w.egress.tls("api.test:443") as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: api.test\r\nX: " + b"a" * 17000 + b"\r\n\r\n")
        equal(Response(s).status, 400, "in the tunnel")
    nothing_seen(w.tls)
    with w.egress.tls("api.test:443") as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: api.test\r\nX: " + b"a" * 15000 + b"\r\n\r\n")
        equal(Response(s).status, 200, "just below")


@suite.case
def malformed_first_heads_are_refused(w):
    for data in (b"CONNECT api.test:443 HTTP/1.1\nHost: x\r\n\r\n", b"CONNECT  api.test:443 HTTP/1.1\r\n\r\n",
                 b"CONNECT api.test:443 HTTP/2.0\r\n\r\n", b"CONNECT api.test:443 HTTP/1.1\r\nX : y\r\n\r\n",
                 b"CONNECT api.test:443 HTTP/1.1\r\nX: \xff\r\n\r\n"):
        equal(w.egress.ask(data), b"HTTP/1.1 400 Bad Request\r\n\r\n", repr(data))


@suite.case
def slow_heads_arrive(w):
    with w.egress.dial() as s:
        for byte in b"CONNECT api.test:443 HTTP/1.1\r\n\r\n":
            s.sendall(bytes([byte]))
            time.sleep(0.001)
        contains(read_head(s)[0].decode(), "200 Connection Established")


@suite.case
def silent_clients_do_not_block_others(w):
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(w.egress.dial()).sendall(b"CONNECT ")
        equal(w.egress.get("api.test", "/among").status, 200, "status")


@suite.case
def connections_are_bounded_and_wait_their_turn(w):
    """512 connections are served; the next one waits in the listener's queue until one of them ends."""
    e = Egress(w.private, w.authority, "bounded")
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(e.dial()) for _ in range(512)]
        for s in held:
            s.sendall(b"CONNECT ")
        wait_for("512 threads", lambda: len(os.listdir(f"/proc/{e.process.pid}/task")) >= 513)
        late = stack.enter_context(e.dial())
        late.sendall(b"CONNECT nowhere.test:443 HTTP/1.1\r\n\r\n")
        late.settimeout(0.5)
        try:
            raise AssertionError(f"served beyond the bound: {late.recv(100)!r}")
        except TimeoutError:
            pass
        held[0].close()
        late.settimeout(20)
        contains(read_head(late)[0].decode(), "HTTP/1.1 403")
    stop_process(e.process)


@suite.case
def many_hosts_and_clients_at_once(w):
    def work(i):
        for k in range(5):
            r = w.egress.get(("api.test", "db.lan", "audit.test", "a.glob.test")[(i + k) % 4], f"/c{i}")
            equal(r.status, 200, "status")
    in_parallel(work, range(16))


# --- reload ---

@suite.case
def reload_takes_away_and_gives(w):
    e = Egress(w.private, w.authority, "reload")
    equal(e.get("api.test", "/one").status, 200, "before")
    e.reload(POLICY.replace("api.test", "gone.test"))
    equal(e.refused("api.test:443")[1]["reason"], "endpoint api.test:443 is not allowed by any policy", "taken away")
    e.reload(POLICY)
    equal(e.get("api.test", "/two").status, 200, "given back")
    e.reload(POLICY.replace("method: GET, path: \"/**\"", "method: GET, path: \"/only\""))
    equal(e.get("api.test", "/two").status, 403, "narrowed")
    stop_process(e.process)


@suite.case
def reload_cuts_open_tunnels(w):
    e = Egress(w.private, w.authority, "cut")
    idle, raw = e.tls("api.test:443"), e.open("l4.test:7")
    raw.sendall(b"x")
    equal(raw.recv(1), b"x", "echo")
    since = e.mark()
    e.reload(POLICY + "\n")
    equal(read_all(raw), b"", "opaque tunnel")
    equal(read_all(idle), b"", "inspected tunnel")
    e.audit("NET:CLOSE [INFO] /usr/bin/curl(64) -> api.test:443", since)
    e.audit("NET:CLOSE [INFO] /usr/bin/curl(64) -> l4.test:7", since)
    stop_process(e.process)


@suite.case
def bad_policy_keeps_the_old_one(w):
    e = Egress(w.private, w.authority, "bad")
    tunnel = e.open("l4.test:7")
    e.policy.write_text("version: 1\nnetwork_policies: {x: {endpoints: 3}}\n")
    since = e.mark()
    e.process.send_signal(signal.SIGHUP)
    wait_for("the refusal", lambda: e.find("REFUSED", since))
    equal(e.get("api.test", "/still").status, 200, "status")
    tunnel.sendall(b"alive")
    equal(tunnel.recv(10), b"alive", "tunnel")
    stop_process(e.process)


# --- TLS state ---

@suite.case
def without_a_ca_nothing_but_raw_tunnels_pass(w):
    nowhere = w.private.dir / "is-a-file"
    nowhere.write_text("")
    e = Egress(w.private, w.authority, "noca", ca_dir=nowhere)
    e.audit("CONFIG:DISABLED [HIGH] Failed to write CA files, TLS termination disabled: ")
    for target in ("api.test:443", "l4.test:7", "plain.test:80"):
        status, body = e.refused(target)
        equal(status, "HTTP/1.1 503 Service Unavailable", target)
        equal(body, {"error": "tls_termination_unavailable", "detail": "TLS termination unavailable (CA initialization "
                     "failed); refusing to tunnel — credential rewrite would be bypassed"}, target)
    with e.tls("skip.test:443", cafile=w.authority.pem) as s:
        s.sendall(b"GET /raw HTTP/1.1\r\nHost: x\r\n\r\n")
        equal(Response(s).status, 200, "tls: skip")
    stop_process(e.process)


@suite.case
def ca_files_hold_no_key(w):
    ca = (w.egress.ca_dir / "openshell-ca.pem").read_text()
    bundle = (w.egress.ca_dir / "ca-bundle.pem").read_text()
    equal(ca.count("BEGIN CERTIFICATE"), 1, "CA file")
    check(bundle.endswith(ca), "the bundle does not end in the CA")
    equal("PRIVATE" in ca + bundle, False, "private key")
    equal(sorted(p.name for p in w.egress.ca_dir.iterdir()), ["ca-bundle.pem", "openshell-ca.pem"], "files")
    r = run("openssl", "x509", "-in", w.egress.ca_dir / "openshell-ca.pem", "-noout", "-text")
    contains(r.out, "CA:TRUE")


# --- around the proxy ---

@suite.case
def direct_connection_is_reset_and_logged(w):
    since = w.egress.mark()
    with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", w.egress.trap), 10) as s:
        s.sendall(b"hello")
        equal(s.recv(10), b"", "data")
    line = w.egress.audit("NET:REFUSE", since)
    equal(line, f"NET:REFUSE [MED] DENIED /usr/bin/curl(64) -> 127.0.0.1:{w.egress.trap}/tcp "
          "[policy:bypass-detect engine:nftables] [reason:direct connection bypassed HTTP CONNECT proxy]", "event")
    w.egress.audit('FINDING:BLOCKED [MED] "Proxy Bypass Detected" [type:bypass-detect]', since)


@suite.case
def datagrams_are_dropped_and_logged_within_limits(w):
    since = w.egress.mark()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _ in range(200):
            s.sendto(b"x" * 100, ("127.0.0.1", w.egress.udp))
    w.egress.audit(f"127.0.0.1:{w.egress.udp}/udp [policy:bypass-detect", since)
    time.sleep(0.3)
    with w.egress.lock:
        n = sum("/udp" in l for l in w.egress.lines[since:])
    check(1 <= n <= 20, f"{n} events for 200 datagrams")


def in_namespace(e, script):
    """Runs Python text inside the sandbox network of the harness."""
    directory = wait_for("the namespace", lambda: e.find("NAMESPACE ")).split()[1]
    return run("nsenter", f"--net={directory}/ns/net", sys.executable, "-c", script, timeout=30)


DIRECT = """
import socket, sys
def dial(a, p):
    s = socket.socket(socket.AF_INET6 if ":" in a else socket.AF_INET); s.settimeout(10)
    try:
        s.connect((a, p)); s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n"); data = s.recv(100)
        print("data" if data else "closed")
    except OSError as why: print(type(why).__name__)
"""


@suite.case
def namespace_has_no_way_but_the_proxy(w):
    """In a sandbox network: the proxy answers; TCP and UDP to any address that policy does not name, old or new family, end
    in the trap."""
    if not shutil.which("nsenter"):
        raise Skip("nsenter is missing")
    e = Egress(w.private, w.authority, "netns", namespace=True)
    w.fresh()
    r = in_namespace(e, f"""
import socket
s = socket.create_connection(("10.200.0.1", 3128), 10)
s.sendall(b"GET http://plain.test/from-inside HTTP/1.1\\r\\n\\r\\n")
data = b""
while part := s.recv(4096): data += part
print(data.decode())
""")
    contains(r.text, "origin saw GET /from-inside")
    w.fresh()
    for address, port in ((PUBLIC, 80), (PUBLIC2, 443), ("8.8.8.8", 853), ("169.254.169.253", 80), ("10.7.0.9", 443)):
        since = e.mark()
        r = in_namespace(e, DIRECT + f"dial({address!r}, {port})")
        check("data" not in r.out, f"{address}:{port}: {r}")
        e.audit(f"NET:REFUSE [MED] DENIED /usr/bin/curl(64) -> {address}:{port}/tcp [policy:bypass-detect", since)
    since = e.mark()
    in_namespace(e, "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 123))")
    e.audit("-> 8.8.8.8:123/udp [policy:bypass-detect", since)
    if w.ipv6:
        since = e.mark()
        r = in_namespace(e, DIRECT + "dial('2001:db8::1', 443)")
        check("data" not in r.out, f"IPv6: {r}")
        e.audit("-> [2001:db8::1]:443/tcp [policy:bypass-detect", since)
    nothing_seen(w.plain)
    nothing_seen(w.tls)
    stop_process(e.process)


# --- the end ---

def shape(kind, body):
    """The published forms of a refusal (spec: 4.3, 5 and 6.3); anything else is an error."""
    def texts(*keys, optional=()):
        check(set(keys) <= set(body) <= set(keys) | set(optional), f"{kind}: keys {sorted(body)}")
        for key in set(body) & (set(keys) | set(optional)):
            check(isinstance(body[key], str) and body[key], f"{kind}: {key} is {body[key]!r}")
    if body["error"] == "request_authority_mismatch":
        texts("error", "message")
    elif "layer" in body:
        place = {"layer": str, "method": str, "path": str, "host": str, "port": int, "binary": str}
        whole = {"error": str, "policy": str, "rule": str, "detail": str, "protocol": str, "rule_missing": dict, "next_steps": list, **place}
        equal({k: type(v) for k, v in body.items()}, whole, kind)
        equal({k: type(v) for k, v in body["rule_missing"].items()}, {"type": str, **place}, f"{kind}: rule_missing")
        equal(body["next_steps"], [], f"{kind}: next_steps")
    else:
        texts("error", "detail", optional=("reason",))
    check(body["error"] in ("policy_denied", "ssrf_denied", "upstream_unreachable", "invalid_request", "invalid_request_target",
                            "request_authority_mismatch"), f"{kind}: error {body['error']}")


@suite.case
def refusals_have_one_shape_each(w):
    """Every kind of refusal is one of the published JSON objects, so that programs can act on it; none shows a query."""
    e = w.egress
    for kind, target in (("host", "nowhere.test:443"), ("port", "api.test:1"), ("private address", "x.db.lan:443"),
                         ("metadata", "169.254.169.254:80"), ("address list", "wrong.lan:443"), ("no upstream", "db.lan:444")):
        shape(kind, e.refused(target)[1])
    with e.as_process("/usr/bin/wget"):
        shape("binary", e.refused("api.test:443")[1])
    with e.as_process("nobody", pid="!"):
        shape("owner", e.refused("api.test:443")[1])
    for kind, method, path, status in (("method", "PUT", "/v1/x?k=s3cret", 403), ("path", "POST", "/x?k=s3cret", 403),
                                       ("deny rule", "GET", "/admin/x?k=s3cret", 403), ("target", "GET", "/../x?k=s3cret", 400)):
        r = e.get("api.test", path, method, more="Content-Length: 0\r\n")
        equal(r.status, status, kind)
        check(b"s3cret" not in r.body, f"{kind} shows the query: {r.body}")
        shape(kind, json.loads(r.body))
    r = e.request("api.test:443", b"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n")
    shape("authority", json.loads(r.body))
    for kind, line in (("absolute form, host", b"GET http://nowhere.test/?k=s3cret"), ("absolute form, path", b"POST http://plain.test/x?k=s3cret"),
                       ("absolute form, address", b"GET http://169.254.169.254/?k=s3cret"), ("absolute form, target", b"GET http://plain.test/../x")):
        answer = e.ask(line + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        check(b"s3cret" not in answer, f"{kind} shows the query: {answer}")
        shape(kind, json.loads(answer.split(b"\r\n\r\n", 1)[1]))


def chain(directory, authority, name):
    """A certificate under an intermediate authority: (leaf and intermediate, leaf alone, key)."""
    directory.mkdir()
    middle = {"key": directory / "middle.key", "csr": directory / "middle.csr", "pem": directory / "middle.pem"}
    extensions = directory / "ca.ext"
    extensions.write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
    authority._openssl("req", *authority._new_key(middle["key"]), "-subj", "/CN=test intermediate", "-out", middle["csr"])
    authority._openssl("x509", "-req", "-in", middle["csr"], "-CA", authority.pem, "-CAkey", authority.key, "-days", "2", "-extfile", extensions,
                       "-out", middle["pem"])
    below = object.__new__(type(authority))
    below.dir, below.pem, below.key = directory, middle["pem"], middle["key"]
    leaf, key = below.issue(name)
    whole = directory / "chain.pem"
    whole.write_text(leaf.read_text() + middle["pem"].read_text())
    return whole, leaf, key


@suite.case
def upstream_chains_with_and_without_their_intermediate(w):
    """A server that leaves its intermediate out is refused and named, not trusted."""
    whole, leaf, key = chain(w.private.dir / "chain", w.authority, "a.glob.test")
    Origin(PUBLIC2, 8443, whole, key)
    Origin(PUBLIC2, 8444, leaf, key)
    hosts = w.private.dir / "chain-hosts"
    hosts.write_text(f"{PUBLIC2} a.glob.test\n")
    policy = """version: 1
network_policies:
  k: {endpoints: [{host: a.glob.test, ports: [8443, 8444], protocol: rest, enforcement: enforce, access: read-only}],
      binaries: [{path: /usr/bin/curl}]}
"""
    e = Egress(w.private, w.authority, label="chains", policy=policy, extra=("--hosts", hosts))
    ask = b"GET /x HTTP/1.1\r\nHost: a.glob.test:%d\r\n\r\n"
    equal(e.request("a.glob.test:8443", ask % 8443).status, 200, "whole chain")
    r = e.request("a.glob.test:8444", ask % 8444)
    equal(r.status, 502, "without the intermediate")
    body = json.loads(r.body)
    contains(body["detail"], "a.glob.test:8444")
    contains(body["reason"], "unable to get local issuer certificate")


@suite.case
def every_refusal_left_an_event(w):
    """Answers that are not a success and deny or failure events go together, one to one."""
    since = w.egress.mark()
    asked = 0
    for data in (b"CONNECT nowhere.test:443 HTTP/1.1\r\n\r\n", b"CONNECT x HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
                 b"CONNECT meta.test:80 HTTP/1.1\r\n\r\n", b"GET https://x/ HTTP/1.1\r\n\r\n",
                 b"DELETE http://plain.test/ HTTP/1.1\r\n\r\n", b"GET http://plain.test/../ HTTP/1.1\r\n\r\n",
                 b"GET http://policy.local/ HTTP/1.1\r\n\r\n", b"\n\r\n\r\n",
                 b"CONNECT db.lan:444 HTTP/1.1\r\n\r\n", b"CONNECT x.db.lan:443 HTTP/1.1\r\n\r\n",
                 b"CONNECT wrong.lan:443 HTTP/1.1\r\n\r\n", b"GET ftp://plain.test/ HTTP/1.1\r\n\r\n",
                 b"GET http://plain.test/ HTTP/2.0\r\n\r\n",
                 b"GET http://plain.test/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                 b"GET http://plain.test/ HTTP/1.1\r\nA: b\r\n c\r\n\r\n", b"GET http://plain.test/ HTTP/1.1\nHost: plain.test\r\n\r\n",
                 b"GET http://plain.test/vanish HTTP/1.1\r\n\r\n", b"GET http://plain.test/ambiguous HTTP/1.1\r\n\r\n",
                 b"GET http://plain.test/%zz HTTP/1.1\r\n\r\n", b"CONNECT plain.test:80 HTTP/1.1\r\nX: " + b"x" * 20000):
        check(w.egress.ask(data).startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), repr(data[:200]))
        asked += 1
    for host, request in (("api.test", b"DELETE / HTTP/1.1\r\nHost: api.test\r\n\r\n"), ("api.test", b"GET / HTTP/1.1\r\n\r\n"),
                          ("api.test", b"GET /%2e%2e/x HTTP/1.1\r\nHost: api.test\r\n\r\n"),
                          ("api.test", b"GET /ok HTTP/1.1\r\nHost: other.test\r\n\r\n"), ("api.test", b"nonsense\r\n\r\n"),
                          ("api.test", b"GET /vanish HTTP/1.1\r\nHost: api.test\r\n\r\n"),
                          ("api.test", b"GET /ambiguous HTTP/1.1\r\nHost: api.test\r\n\r\n"),
                          ("api.test", b"GET /a HTTP/1.1\r\nHost: api.test\r\n\r\nDELETE / HTTP/1.1\r\nHost: api.test\r\n\r\n"),
                          ("badcert.test", b"GET / HTTP/1.1\r\nHost: badcert.test\r\n\r\n"),
                          ("l4.test", b"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n")):
        with w.egress.tls(f"{host}:443") as s:
            s.sendall(request)
            answers = read_all(s)
        refusals = len(re.findall(rb"HTTP/1\.1 [45]\d\d ", answers))
        equal(refusals, 1, f"{host}: refusals of {request!r} in {answers[:300]!r}")
        asked += 1
    time.sleep(0.1)
    with w.egress.lock:
        events = [l for l in w.egress.lines[since:] if " DENIED " in l or "NET:FAIL" in l]
    equal(len(events), asked, f"events {events}")


@suite.case
def hostile_values_make_one_short_line(w):
    """Control characters, ANSI sequences and megabytes in host, path, method and user agent: every event stays one line below
    4 KiB in both published forms, without a control byte."""
    since, json_since = w.egress.mark(), len(w.egress.json)
    evil = b"\x1b[31m\x1b]0;t\x07\x7f\xc2\x85\xff\x01"
    big = b"a" * (10 << 20)
    heads = [b"CONNECT %s.test:443 HTTP/1.1\r\n\r\n" % evil, b"CONNECT %s:443 HTTP/1.1\r\n\r\n" % big[:7000],
             b"CONNECT " + big, b"%s http://plain.test/ HTTP/1.1\r\n\r\n" % evil, b"%s http://plain.test/ HTTP/1.1\r\n\r\n" % big[:7000],
             b"GET http://plain.test/%s HTTP/1.1\r\n\r\n" % evil, b"DELETE http://plain.test/%s HTTP/1.1\r\n\r\n" % big[:7900],
             b"DELETE http://plain.test/%s HTTP/1.1\r\n\r\n" % (b"%1b%0a" * 1200), b"GET http://%s/ HTTP/1.1\r\n\r\n" % big[:7000],
             b"GET http://plain.test/ HTTP/1.1\r\nUser-Agent: %s\r\n\r\n" % evil,
             b"GET http://plain.test/ HTTP/1.1\r\nUser-Agent: " + big, b"GET http://plain.test/" + big,
             b"GET http://plain.test/ HTTP/1.1\r\nHost: %s\r\n\r\n" % evil]
    for head in heads:
        with w.egress.dial() as s:
            with contextlib.suppress(OSError):  # refused while it was still being sent
                s.sendall(head)
            read_all(s)
    for head in (b"DELETE /%s HTTP/1.1\r\nHost: api.test\r\n\r\n" % big[:15000], b"DELETE /%s HTTP/1.1\r\nHost: api.test\r\n\r\n" % evil,
                 b"GET / HTTP/1.1\r\nHost: api.test\r\nUser-Agent: " + big):
        with w.egress.tls("api.test:443") as s, contextlib.suppress(OSError, ssl.SSLError):
            s.sendall(head)
            read_all(s)
    with w.egress.as_process("/tmp/" + "p\x1b[31m" * 500):  # the agent names its programs
        w.egress.refused("api.test:443")
    time.sleep(0.2)
    with w.egress.lock:
        lines = w.egress.lines[since:] + w.egress.json[json_since:]
    for form in ("AUDIT ", "JSON "):
        events = [l[len(form):] for l in lines if l.startswith(form)]
        check(len(events) >= len(heads), f"{form}: {len(events)} events")
        for line in events:
            check(len(line.encode()) < 4096, f"{form}: {len(line.encode())} bytes: {line[:300]}")
            check(not re.search(r"[\x00-\x1f\x7f-\x9f]", line), repr(line[:300]))
    equal([l for l in lines if not l.startswith(("AUDIT ", "JSON "))], [], "other lines")
    for line in (l[5:] for l in lines if l.startswith("JSON ")):
        json.loads(line)


@suite.case
def stop_ends_every_connection(w):
    e = Egress(w.private, w.authority, "stop")
    open_ones = [e.open("l4.test:7"), e.tls("api.test:443"), e.dial()]
    e.process.terminate()
    equal(e.process.wait(20), 0, "exit status")
    for s in open_ones:
        equal(read_all(s), b"", "data")
    errors = (e.dir / "stderr").read_text()
    equal("ERROR" in errors or "runtime error" in errors, False, f"stderr {errors[-2000:]}")


main(suite)
