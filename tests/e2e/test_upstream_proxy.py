#!/usr/bin/env python3
"""The operator's forward proxy from gateway.toml to the agent: what is set there rules real sandboxes, the credential
stays out of their reach, and a mistake stops the gateway."""
import base64
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "lib"), str(HERE / "egress")]
from harness import BIN, Authority, Gateway, Origin, Private, Suite, check, contains, equal, free_port, lo_address, run, wait_for
from proxies import ForwardProxy

suite = Suite()
case = suite.case
private = Private("upstream")
# The proxy leads to an address of this test's own; the one that names resolve to is nobody's (RFC 5737).
ADDRESS = f"10.96.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250 + 1}"
FAR = "192.0.2.77"
CREDENTIAL = "operator:s3cret-of-the-proxy"

POLICY = f"""version: 1
network_policies:
  api:
    endpoints:
      - {{host: far.test, port: 443, protocol: rest, enforcement: enforce, access: read-only}}
      - {{host: far.test, port: 80, protocol: rest, enforcement: enforce, access: read-only}}
      - {{host: near.test, port: 443}}
    binaries: [{{path: /usr/bin/curl}}]
"""


def curl(g, *argv):
    return g.exec("box", "curl", "-sS", "--max-time", "20", *argv)


@case
def https_and_http_of_the_agent_go_through_it(g):
    g.must("sandbox", "create", "--name", "box", "--policy", g.policy, "--detach", "--", "sleep", "infinity")
    r = curl(g, "https://far.test/x")
    contains(r.text, '"says": "hello"')
    r = curl(g, "http://far.test/y")
    contains(r.text, '"says": "hello"')
    equal(g.proxy.targets(), [f"{FAR}:443", f"{FAR}:80"], "what the proxy was asked")
    contains(g.proxy.asked[0].decode(), "Proxy-Authorization: Basic " + base64.b64encode(CREDENTIAL.encode()).decode())
    equal(curl(g, "-o", "/dev/null", "-w", "%{http_code}", "-X", "DELETE", "https://far.test/x").out, "403", "rules hold")


@case
def exceptions_go_around_it(g):
    before = len(g.proxy.targets())
    contains(curl(g, "https://near.test/x").text, '"says": "hello"')
    equal(len(g.proxy.targets()), before, "what the proxy was asked")


@case
def the_log_says_that_it_is_used_and_nothing_of_the_credential(g):
    wait_for("the event", lambda: "Upstream corporate proxy enabled: " in g.must("logs", "box", "-n", "500").out)
    text = g.must("logs", "box", "-n", "500").out
    for secret in (CREDENTIAL, "s3cret", base64.b64encode(CREDENTIAL.encode()).decode()):
        check(secret not in text and secret not in g.log_text(), f"{secret} in a log")


@case
def the_agent_cannot_see_it(g):
    r = g.exec("box", "sh", "-c", "cat /etc/openshell/auth/upstream-proxy /proc/1/environ; env; cat /proc/*/cmdline")
    check("s3cret" not in r.text, r)
    check("Permission denied" in r.text, r)
    r = g.exec("box", "sh", "-c", f"cat {g.credential}")
    check(r.code != 0 and "s3cret" not in r.text, r)


@case
def mistakes_stop_the_gateway(g):
    g.must("sandbox", "delete", "box")
    g.kill(15)
    path = private.dir / "bad.toml"
    for text, why in (('https_proxy = "socks5://p:1"', "https_proxy unsupported proxy scheme 'socks5'"),
                      ('https_proxy = "http://u:s3cret@p:1"', "https_proxy proxy URL must not contain credentials"),
                      ('https_proxy = ""', "'https_proxy' must not be empty"),
                      ('no_proxy = "corp"', "no_proxy is set but no https_proxy is configured"),
                      ('https_proxy = "http://p:1"\nproxy_auth_file = "/nonexistent"', "needs proxy_auth_allow_insecure"),
                      ('https_proxy = "https://p:1"\nproxy_auth_file = "/nonexistent"', "proxy_auth_file: cannot read '/nonexistent'")):
        path.write_text(f"[openshell.drivers.local]\n{text}\n")
        r = run(BIN / "openshell-gateway", "--port", "0", "--config", path, env=g.env, timeout=20)
        equal(r.code, 1, r)
        contains(r.err, why)
        check("s3cret" not in r.err, r)


def main():
    g = Gateway(private)
    lo_address(private, ADDRESS)
    authority = Authority(private.dir)
    origins = [Origin(ADDRESS, 443, *authority.issue("far.test", "near.test")), Origin(ADDRESS, 80)]
    for o in origins:
        private.stack.callback(o.close)
    g.proxy = ForwardProxy(ADDRESS, free_port(), credential=CREDENTIAL.encode())
    private.stack.callback(g.proxy.close)
    g.proxy.lead = {FAR: ADDRESS}
    hosts = private.dir / "hosts"
    hosts.write_text(f"{FAR} far.test\n{ADDRESS} near.test\n{ADDRESS} proxy.corp\n")
    g.credential = private.dir / "credential"
    g.credential.write_text(CREDENTIAL + "\n")
    g.policy = private.dir / "policy.yaml"
    g.policy.write_text(POLICY)
    path = private.dir / "config" / "openshell" / "gateway.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"""[openshell.drivers.local]
extra_ca_file = "{authority.pem}"
extra_hosts_file = "{hosts}"
https_proxy = "http://proxy.corp:{g.proxy.port}"
no_proxy = "near.test, 10.0.0.0/8"
proxy_auth_file = "{g.credential}"
proxy_auth_allow_insecure = true
""")
    g.start()
    suite.run(g)


main()
