#!/usr/bin/env python3
"""Middleware services through the built programs: registered in gateway.toml, checked when a policy names them, delivered to
the sandbox with tokens, and asked about what the agent sends."""
import base64
import json
import os
import pathlib
import re
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
import middleware  # noqa: E402
from harness import (BIN, Authority, Gateway, Origin, Private, Suite, check, contains, equal, free_port,  # noqa: E402
                     lo_address, run, wait_for)
from middleware import HTTP, WEBSOCKET, Service  # noqa: E402

suite = Suite()
case = suite.case
private = Private("mw")
ADDRESS = f"10.95.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250 + 1}"
pb = middleware.load(private)

POLICY = """version: 1
filesystem_policy:
  include_workdir: true
  read_only: [/usr, /lib, /proc, /dev/urandom, /app, /etc, /var/log]
  read_write: [/tmp, /dev/null]
landlock:
  compatibility: best_effort
network_policies:
  api:
    name: api
    endpoints:
      - host: api.test
        port: 443
        protocol: rest
        enforcement: enforce
        access: full
    binaries:
      - path: /usr/bin/curl
"""


def policy(*configs):
    """configs: (key, service, order, more)."""
    text = POLICY + "network_middlewares:\n"
    for key, service, order, more in configs:
        text += f"  {key}: {{middleware: {service}, order: {order}, endpoints: {{include: [api.test]}}{more}}}\n"
    path = private.dir / "policy.yaml"
    path.write_text(text)
    return path


class World:
    def __init__(self):
        lo_address(private, ADDRESS)
        self.authority = Authority(private.dir)
        self.origin = Origin(ADDRESS, 443, *self.authority.issue("api.test"))
        self.secure = Service(pb, cert=self.authority.issue("127.0.0.1"))
        self.open = Service(pb)
        hosts = private.dir / "hosts"
        hosts.write_text(f"{ADDRESS} api.test\n")
        self.gateway = Gateway(private, {"OPENSHELL_LOCAL_EXTRA_CA": str(self.authority.pem), "OPENSHELL_LOCAL_EXTRA_HOSTS": str(hosts)})
        self.health = free_port()
        self.config = private.dir / "config" / "openshell" / "gateway.toml"
        self.config.parent.mkdir(parents=True, exist_ok=True)

    def register(self, **more):
        secure = {"name": "acme/secure", "grpc_endpoint": self.secure.url, "max_payload_bytes": 100000,
                  "tls_ca_cert_path": str(self.authority.pem), "timeout": "5s"} | more.get("secure", {})
        plain = {"name": "acme/open", "grpc_endpoint": self.open.url, "max_payload_bytes": 100000,
                 "allow_insecure_transport": True} | more.get("open", {})
        self.config.write_text(f"[openshell]\nversion = 1\n[openshell.gateway]\nhealth_bind_address = \"127.0.0.1:{self.health}\"\n" + "".join(
            "[[openshell.supervisor.middleware]]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in t.items() if v is not None)
            for t in (secure, plain)))

    def refuses(self, text):
        g = self.gateway
        r = run(BIN / "openshell-gateway", "--port", str(g.port), env=g.env, timeout=60)
        equal(r.code, 1, r)
        contains(r.err, text)
        equal(len([l for l in r.err.splitlines() if "INFO" not in l]), 1, r)

    def passes(self, body="x"):
        """A request came through; one that a reload cut off did not."""
        return self.gateway.exec("box", "curl", "-sSf", "-o", "/dev/null", "--max-time", "20", "-d", body, "https://api.test/v1").code == 0

    def post(self, body, path="/v1"):
        r = self.gateway.exec("box", "curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", "-d", body, f"https://api.test{path}")
        check(r.code == 0, r)
        return int(r.out.rsplit("\n", 1)[1]), r.out.rsplit("\n", 1)[0]


def claims(token):
    """Header and claims of a token whose signature is good by the gateway's public key."""
    check(token and token.startswith("Bearer "), f"token {token!r}")
    head, body, sig = token[7:].split(".")

    def raw(s):
        return base64.urlsafe_b64decode(s + "=" * (-len(s) % 4))
    for name, data in (("signed", f"{head}.{body}".encode()), ("signature", raw(sig))):
        (private.dir / name).write_bytes(data)
    r = run("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", private.dir / "state/openshell/tls/jwt/public.pem", "-rawin",
            "-in", private.dir / "signed", "-sigfile", private.dir / "signature")
    check(r.code == 0, r)
    return json.loads(raw(head)), json.loads(raw(body))


# --- registration ---

@case
def mistakes_stop_the_gateway(w):
    for more, text in (({"secure": {"name": "openshell/mine"}}, "supervisor middleware name 'openshell/mine' must be 1 to 128"),
                       ({"secure": {"name": "acme/open"}}, "supervisor middleware 'acme/open' is registered twice"),
                       ({"secure": {"max_payload_bytes": 0}}, "max_payload_bytes must be between 1 and 4194304, not 0"),
                       ({"secure": {"timeout": "31s"}}, "between 10ms and 30s, not '31s'"),
                       ({"secure": {"tls_ca_cert_path": "/nonexistent"}}, "failed to read TLS CA certificate for supervisor "
                        "middleware 'acme/secure' from '/nonexistent': No such file or directory"),
                       ({"secure": {"tls_ca_cert_path": str(w.authority.key)}}, "PEM bundle contains a non-certificate block"),
                       ({"secure": {"audience": " x"}}, "extension audience must not have leading or trailing whitespace"),
                       ({"secure": {"audience": "openshell-gateway:openshell"}}, "must not equal the gateway sandbox audience"),
                       ({"open": {"allow_insecure_transport": None}}, "authenticated middleware 'acme/open' must use https://; set "
                        "allow_insecure_transport = true to opt this registration out of extension authentication instead")):
        w.register(**more)
        w.refuses("configuration error: middleware registration failed: ")
        w.refuses(text)
    w.register(open={"grpc_endpoint": "http://127.0.0.1:1"})
    w.refuses("supervisor middleware 'acme/open' at http://127.0.0.1:1 cannot be described")
    w.register()
    w.secure.audience = "someone else's"
    w.refuses("its expected_audience is not the audience of the registration")
    w.secure.audience = ""
    w.secure.bindings = ((HTTP, 4194304, 2),)
    w.refuses("phase PRE_RETURN is not supported")
    w.secure.bindings = ((HTTP, 4194304), (WEBSOCKET, 4194304))


@case
def the_gateway_starts_and_identifies_itself(w):
    w.secure.reset()
    w.open.reset()
    w.secure.audience = "urn:openshell:extension:middleware:acme/secure"
    w.register()
    w.gateway.start(30)
    head, body = claims(w.secure.tokens[-1])
    equal((head["typ"], head["alg"]), ("openshell-ext+jwt", "EdDSA"), "header")
    equal((body["caller_kind"], body["aud"], body["iss"], body["sub"]),
          ("gateway", w.secure.audience, "openshell-gateway:openshell", "openshell-gateway:openshell"), "claims")
    equal(body["exp"] - body["iat"], 900, "life")
    check("sandbox_id" not in body and len(body["jti"]) == 36, body)
    equal(w.open.tokens, [None], "a service that opted out gets none")


@case
def the_public_key_of_the_tokens_is_published(w):
    def get(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{w.health}{path}", timeout=20) as r:
            return json.load(r)
    head, _ = claims(w.secure.tokens[-1])
    key, = get("/.well-known/jwks.json")["keys"]
    equal({k: key[k] for k in ("kty", "crv", "alg", "use", "kid")},
          {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": head["kid"]}, "key")
    r = run("openssl", "pkey", "-pubin", "-in", private.dir / "state/openshell/tls/jwt/public.pem", "-outform", "DER", "-out",
            private.dir / "public.der")
    check(r.code == 0, r)
    equal(base64.urlsafe_b64decode(key["x"] + "="), (private.dir / "public.der").read_bytes()[-32:], "x")
    c = get("/.well-known/openid-configuration")
    equal((c["issuer"], c["jwks_uri"]), ("openshell-gateway:openshell", f"https://127.0.0.1:{w.health}/.well-known/jwks.json"), "where")


# --- policies ---

@case
def policies_are_checked_by_the_services(w):
    g = w.gateway

    def refused(configs, text):
        r = g.cli("sandbox", "create", "--name", "odd", "--policy", policy(*configs), "--detach", "--", "true")
        check(r.code != 0, r)
        contains(re.sub(r"\n\s*│? ?", " ", r.err), text)
    refused([("a", "acme/none", 1, "")], "policy middleware validation failed: middleware config 'a' names service 'acme/none', "
                                         "which is not registered with this gateway")
    refused([("a", "openshell/other", 1, "")], "no built-in middleware has this name")
    refused([("a", "openshell/regex", 1, ", config: {mode: detect}")], "mode must be 'redact'")
    w.secure.valid = lambda r: pb.ValidateConfigResponse(valid=False, reason="level must be a number")
    refused([("a", "acme/secure", 1, ", config: {level: high}")], "middleware config 'a' is refused by 'acme/secure': level must be a number")
    equal((w.secure.checked[-1].config["level"], w.secure.checked[-1].middleware_name), ("high", "acme/secure"), "what was asked")
    w.secure.valid = lambda r: 1 // 0
    refused([("a", "acme/secure", 1, "")], "cannot be checked by 'acme/secure'")
    w.secure.valid = lambda r: pb.ValidateConfigResponse(valid=True)


@case
def a_sandbox_asks_its_services(w):
    g = w.gateway
    w.secure.reset()
    w.open.reset()
    g.must("sandbox", "create", "--name", "box", "--policy",
           policy(("guard", "acme/secure", 1, ", config: {level: 3}"), ("second", "acme/open", 2, ""), ("keys", "openshell/regex", 3, "")),
           "--detach", "--", "sleep", "infinity")
    w.secure.http = lambda r: w.secure.body(r.body + b" sk-0123456789abcdef")
    status, text = w.post("hello")
    equal(status, 200, text)
    equal(w.origin.requests[-1]["body"], b"hello [REDACTED]", "body at the origin")
    equal([(r.body, r.config["level"], r.context.sandbox_name, r.context.workspace) for r in w.secure.requests],
          [(b"hello", 3, "box", "default")], "the first stage")
    equal([r.body for r in w.open.requests], [b"hello sk-0123456789abcdef"], "the second stage")
    sandbox_id = w.secure.requests[0].context.sandbox_id
    head, body = claims(w.secure.tokens[-1])
    equal((body["caller_kind"], body["sandbox_id"], body["aud"], body["sub"]),
          ("supervisor", sandbox_id, w.secure.audience, f"spiffe://openshell/sandbox/{sandbox_id}"), "claims")
    equal(set(w.open.tokens), {None}, "tokens of the other")
    w.secure.http = lambda r: w.secure.deny(reason_code="nope")
    status, text = w.post("hello")
    equal((status, json.loads(text)["error"], json.loads(text)["reason_code"]), (403, "middleware_denied", "nope"), "denied")
    wait_for("the event", lambda: "engine:middleware" in g.must("logs", "box").text)


@case
def a_new_policy_brings_other_services(w):
    g = w.gateway
    w.secure.reset()
    w.open.reset()
    g.must("policy", "set", "box", "--policy", policy(("only", "acme/open", 1, ", on_error: fail_open")), "--wait")
    equal(w.post("x")[0], 200, "status")
    equal((len(w.secure.requests), len(w.open.requests)), (0, 1), "who was asked")
    w.open.http = lambda r: 1 // 0
    equal(w.post("x")[0], 200, "fail_open")
    g.must("policy", "set", "box", "--policy", policy(("only", "acme/open", 1, "")), "--wait")
    equal(w.post("x")[0], 403, "fail_closed")
    w.open.reset()


@case
def services_that_are_gone_leave_the_old_pair(w):
    """The policy names a service that does not answer the supervisor any more: what was in force stays so."""
    g = w.gateway
    w.secure.reset()
    answers = [pb.ValidateConfigResponse(valid=True)]

    def valid_and_gone(r):
        """Answers the gateway, and describes nothing from then on."""
        w.secure.bindings = ()
        return answers[0]
    w.secure.valid = valid_and_gone
    g.must("policy", "set", "box", "--policy", policy(("guard", "acme/secure", 1, "")))
    wait_for("the refusal", lambda: "manifest of supervisor middleware 'acme/secure' is invalid" in g.must("logs", "box").text, 20)
    equal((w.post("x")[0], len(w.secure.requests)), (200, 0), "the old pair")
    w.secure.bindings = ((HTTP, 4194304), (WEBSOCKET, 4194304))
    w.secure.valid = lambda r: answers[0]
    wait_for("the new pair", lambda: w.passes() and w.secure.requests, 30)


@case
def a_changed_registration_reaches_the_sandbox(w):
    """The same policy, other services: both are published anew. And tokens that end soon are renewed."""
    g = w.gateway
    g.kill(15)
    tls = g.state / "tls"
    w.register(secure={"max_payload_bytes": 10})
    w.config.write_text(w.config.read_text() + f"""[openshell.gateway.gateway_jwt]
signing_key_path = "{tls}/jwt/signing.pem"
public_key_path = "{tls}/jwt/public.pem"
kid_path = "{tls}/jwt/kid"
ttl_secs = 8
""")
    g.start(30)
    wait_for("the sandbox", lambda: "Ready" in g.must("sandbox", "get", "box").text, 30)
    wait_for("the new limit", lambda: not w.passes("x" * 11), 30)
    w.secure.reset()
    equal(w.post("x")[0], 200, "status")
    equal(len(w.secure.requests), 1, "requests")
    first = w.secure.tokens[0]
    end = claims(first)[1]["exp"]
    check(end - claims(first)[1]["iat"] == 8, "life")

    def renewed():
        check(w.passes(), "a request in between did not pass")
        return w.secure.tokens[-1] != first and time.time() > end
    wait_for("another token", renewed, 30, 0.5)


@case
def a_policy_whose_service_is_gone_is_named(w):
    g = w.gateway
    g.kill(15)
    w.register(secure={"name": "acme/renamed"})
    w.secure.audience = ""
    g.start(30)
    r = g.cli("sandbox", "create", "--name", "odd", "--policy", policy(("a", "acme/secure", 1, "")), "--detach", "--", "true")
    contains(re.sub(r"\n\s*│? ?", " ", r.err), "not registered with this gateway")
    g.must("sandbox", "delete", "box")


def main():
    try:
        suite.run(World())
    finally:
        private.close()


main()
