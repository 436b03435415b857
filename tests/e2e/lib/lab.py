"""A sandbox for real client programs: gateway, local driver, supervisor, and an address on this machine for the servers
that the programs talk to. Names and policy come from the suite; every name leads to that one address."""
import json
import os

from harness import Authority, Gateway, Skip, check, lo_address, wait_for

FILES = """version: 1
filesystem_policy:
  include_workdir: true
  read_only: [/usr, /lib, /lib64, /bin, /proc, /dev/urandom, /app, /etc, /var/log]
  read_write: [/tmp, /dev/null, /dev/shm]
landlock: {compatibility: best_effort}
"""
PATH = "/usr/local/bin:/usr/local/go/bin:/usr/bin:/bin"  # what a sandbox has of this machine
PROXY_VARIABLES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "grpc_proxy",
                   "NODE_USE_ENV_PROXY")


def by_both_ways(case):
    """A decorator: the same case by the proxy and around it. What is allowed may not depend on the client."""
    def both(fn):
        def by_the_proxy(w):
            w.fresh()
            fn(w, False)

        def direct(w):
            w.fresh()
            fn(w, True)
        for way in (by_the_proxy, direct):
            way.__name__ = f"{fn.__name__}_{way.__name__}"
            way.__doc__ = fn.__doc__
            case(way)
        return fn
    return both


class Lab:
    """One sandbox named box. net: the second byte of the address, another one for every suite."""

    def __init__(self, private, net, names, network_policies):
        self.private = private
        pid = os.getpid()
        self.address = lo_address(private, f"10.{net}.{pid % 250 + 1}.{pid // 250 % 250 + 1}")
        self.authority = Authority(private.dir)
        self.cert, self.key = self.authority.issue(*names)
        hosts = private.dir / "hosts"
        hosts.write_text("".join(f"{self.address} {name}\n" for name in names))
        self.gateway = Gateway(private, {"OPENSHELL_LOCAL_EXTRA_CA": str(self.authority.pem),
                                         "OPENSHELL_LOCAL_EXTRA_HOSTS": str(hosts)})
        self.policy = private.dir / "policy.yaml"
        self.policy.write_text(FILES + network_policies)

    def start(self):
        self.gateway.start()
        self.gateway.must("sandbox", "create", "--name", "box", "--policy", self.policy, "--detach", "--", "sleep", "infinity")
        return self

    def run(self, *argv, direct=False, env=None, stdin=b"", timeout=60):
        """Runs a program in the sandbox; direct: without the variables that name the proxy."""
        unset = [x for name in PROXY_VARIABLES for x in ("-u", name)] if direct else []
        more = [f"{k}={v}" for k, v in (env or {}).items()]
        return self.gateway.exec("box", "env", *unset, f"PATH={PATH}", "HOME=/sandbox", "PYTHONDONTWRITEBYTECODE=1", *more, *argv,
                                 stdin=stdin, timeout=timeout)

    def good(self, *argv, **kw):
        r = self.run(*argv, **kw)
        check(r.code == 0, r)
        return r.out

    def python(self, text, **kw):
        """What a Python program prints as JSON."""
        r = self.run("/usr/bin/python3", "-c", text, **kw)
        check(r.code == 0, r)
        return json.loads(r.out)

    def need(self, *modules):
        """Skips where Debian's Python in the sandbox lacks a module."""
        for module in modules:
            if self.run("/usr/bin/python3", "-c", f"import {module}").code:
                raise Skip(f"no Python module {module} on this machine; run scripts/install-deps.sh")

    def write(self, name, text):
        r = self.gateway.exec("box", "sh", "-c", f"mkdir -p $(dirname /sandbox/{name}) && cat > /sandbox/{name}",
                              stdin=text if isinstance(text, bytes) else text.encode())
        check(r.code == 0, r)

    def logged(self, *parts, lines=400):
        """Waits for one line of the sandbox's log with all of these parts."""
        def look():
            log = self.gateway.must("logs", "box", "-n", str(lines)).out
            return next((line for line in log.splitlines() if all(p in line for p in parts)), None)
        return wait_for(f"a log line with {parts}", look, 15, 0.2)
