#!/usr/bin/env python3
"""gateway.toml: it is found, it rules, flags win, and mistakes in it stop the gateway with one clear line."""
import pathlib
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import BIN, Gateway, Private, Suite, check, contains, equal, free_port, run

suite = Suite()
case = suite.case
private = Private("config-file")


def refused(g, text):
    path = private.dir / "bad.toml"
    path.write_text(text)
    r = run(BIN / "openshell-gateway", "--port", "0", "--config", path, env=g.env, timeout=20)
    equal(r.code, 1, r)
    return r.err


@case
def the_file_in_the_configuration_directory_rules(g):
    health = free_port()
    path = private.dir / "config" / "openshell" / "gateway.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"""
[openshell]
version = 1
[openshell.gateway]
bind_address = "127.0.0.1:1"          # --port wins
health_bind_address = "127.0.0.1:{health}"
log_level = "debug"
compute_drivers = ["local"]
policy_validation_failure_mode = "retain_last_valid"
[openshell.gateway.gateway_jwt]
signing_key_path = "{g.state}/tls/jwt/signing.pem"
public_key_path = "{g.state}/tls/jwt/public.pem"
kid_path = "{g.state}/tls/jwt/kid"
gateway_id = "elsewhere"
ttl_secs = 3600
[openshell.drivers.local]
mask = ["/usr/share/doc"]
""")
    g.start()
    contains(g.log_text(), "gateway.toml")
    with urllib.request.urlopen(f"http://127.0.0.1:{health}/healthz", timeout=10) as r:
        equal(r.status, 200)
    g.must("sandbox", "create", "--name", "box", "--detach", "--", "sleep", "infinity")
    equal(g.exec("box", "sh", "-c", "ls /usr/share/doc | wc -l").out.strip(), "0")
    g.must("sandbox", "delete", "box")


@case
def mistakes_stop_it_with_one_line(g):
    contains(refused(g, "[openshell.gateway]\nprot = 1\n"),
             "configuration error: failed to parse gateway config file '")
    contains(refused(g, "[openshell.gateway]\nprot = 1\n"),
             "': line 2, column 1: unknown key 'prot' in [openshell.gateway]")
    contains(refused(g, "[openshell.gateway\n"), "line 1, column 19: ']' is missing")
    contains(refused(g, "[openshell.gateway]\ncompute_drivers = ['vm']\n"),
             "compute driver 'vm' is not built into this gateway")
    contains(refused(g, "[openshell.gateway]\ndatabase_url = 'x'\n"), "`database_url` is not allowed in the gateway config")
    r = run(BIN / "openshell-gateway", "--config", "/nonexistent/g.toml", env=g.env, timeout=20)
    equal((r.code, r.err), (1, "configuration error: failed to read gateway config file '/nonexistent/g.toml': "
                               "No such file or directory\n"))


def main():
    gateway = Gateway(private)
    # The keys the file names must be there before it is read.
    r = run(BIN / "openshell-gateway", "generate-certs", "--output-dir", gateway.state / "tls", env=gateway.env)
    check(r.code == 0, r)
    suite.run(gateway)


main()
