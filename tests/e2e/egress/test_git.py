#!/usr/bin/env python3
"""git over smart HTTP, in a sandbox: clone, fetch and push are rights of their own. The server is git's own."""
import contextlib
import gzip
import http.server
import os
import pathlib
import ssl
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]
from harness import Private, Suite, check, contains, equal, run  # noqa: E402
from lab import Lab  # noqa: E402

suite = Suite()
case = suite.case
private = Private("git")
NAMES = ("read.test", "write.test", "full.test")
FETCH = """
          {allow: {method: GET, path: "/**/info/refs", query: {service: git-upload-pack}}},
          {allow: {method: POST, path: "/**/git-upload-pack"}}"""
PUSH = """,
          {allow: {method: GET, path: "/**/info/refs", query: {service: git-receive-pack}}},
          {allow: {method: POST, path: "/**/git-receive-pack"}}"""
POLICY = f"""
network_policies:
  fetch:
    endpoints:
      - {{host: read.test, port: 443, protocol: rest, enforcement: enforce, rules: [{FETCH}]}}
    binaries: [{{path: /usr/lib/git-core/git-remote-http}}, {{path: /usr/bin/git}}]
  push:
    endpoints:
      - {{host: write.test, port: 443, protocol: rest, enforcement: enforce, rules: [{FETCH}{PUSH}]}}
      - {{host: full.test, port: 443, protocol: rest, enforcement: enforce, access: full, deny_rules: [
          {{method: GET, path: "/**/info/refs", query: {{service: git-receive-pack}}}}, {{method: POST, path: "/**/git-receive-pack"}}]}}
    binaries: [{{path: /usr/bin/git}}]
"""


class GitServer:
    """git http-backend over TLS. `seen` holds method, path and query of every request."""

    def __init__(self, root, address, cert, key):
        self.seen = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def body(self):
                if self.headers.get("transfer-encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("content-length") or 0))
                data = b""
                while n := int(self.rfile.readline().split(b";")[0], 16):
                    data += self.rfile.read(n)
                    self.rfile.readline()
                self.rfile.readline()
                return data

            def serve(self):
                path, _, query = self.path.partition("?")
                outer.seen.append(f"{self.command} {self.path}")
                body = self.body()
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                env = {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(root), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
                       "QUERY_STRING": query, "REQUEST_METHOD": self.command, "CONTENT_TYPE": self.headers.get("content-type", ""),
                       "CONTENT_LENGTH": str(len(body)), "REMOTE_ADDR": "127.0.0.1", "REMOTE_USER": "tester",
                       "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
                       "GIT_PROTOCOL": self.headers.get("git-protocol", "")}
                done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=False)
                head, _, out = done.stdout.partition(b"\r\n\r\n")
                fields = [line.decode().split(": ", 1) for line in head.split(b"\r\n")]
                status = next((int(v.split()[0]) for k, v in fields if k == "Status"), 200)
                self.send_response(status)
                for k, v in fields:
                    if k != "Status":
                        self.send_header(k, v)
                self.send_header("content-length", str(len(out)))
                self.end_headers()
                self.wfile.write(out)

            do_GET = do_POST = serve

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        server = Server((address, 443), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()


class World(Lab):
    def __init__(self):
        super().__init__(private, 97, NAMES, POLICY)
        self.root = private.dir / "repositories"
        self.root.mkdir()
        bare = self.root / "team/repo.git"
        script = f"""set -e
git init -q --bare -b main {bare} && git -C {bare} config http.receivepack true
git init -q -b main {private.dir}/work && cd {private.dir}/work
git config user.email a@b && git config user.name a
for i in 1 2 3; do echo $i > file$i && git add . && git commit -qm "commit $i"; done
head -c 3000000 /dev/urandom > large && git add . && git commit -qm large && git push -q {bare} main"""
        done = run("sh", "-c", script)
        check(done.code == 0, done)
        self.server = GitServer(self.root, self.address, self.cert, self.key)
        self.start()
        self.good("sh", "-c", "git config --global user.email a@b && git config --global user.name a")

    def git(self, *argv, **kw):
        return self.run("git", *argv, env={"GIT_TERMINAL_PROMPT": "0"}, **kw)

    def head(self):
        return run("git", "--git-dir", self.root / "team/repo.git", "rev-parse", "main").out.strip()

    @contextlib.contextmanager
    def clone(self, host, *options, **kw):
        self.server.seen.clear()
        self.good("rm", "-rf", "/sandbox/clone")
        r = self.git("clone", "-q", *options, f"https://{host}/team/repo.git", "/sandbox/clone", **kw)
        check(r.code == 0, r)
        yield

    def commit(self, text):
        self.good("sh", "-c", f"cd /sandbox/clone && echo {text} > {text} && git add . && git commit -qm {text}")


@case
def clone(w):
    with w.clone("read.test"):
        equal(w.good("git", "-C", "/sandbox/clone", "rev-parse", "HEAD").strip(), w.head(), "head")
    w.good("git", "-C", "/sandbox/clone", "fsck")
    equal(w.server.seen[0], "GET /team/repo.git/info/refs?service=git-upload-pack", "first request")
    r = w.git("clone", "-q", "https://denied.test/team/repo.git", "/sandbox/no")
    check(r.code != 0 and "403" in r.err, f"another host: {r}")


@case
def clone_without_the_proxy_variables(w):
    with w.clone("read.test", direct=True):
        equal(w.good("git", "-C", "/sandbox/clone", "rev-list", "--count", "HEAD").strip(), "4", "commits")
    r = w.git("clone", "-q", "https://denied.test/team/repo.git", "/sandbox/no", direct=True)
    check(r.code != 0 and "resolve host" in r.err, f"another host: {r}")


@case
def shallow_and_partial_clones(w):
    with w.clone("read.test", "--depth", "1"):
        equal(w.good("git", "-C", "/sandbox/clone", "rev-list", "--count", "HEAD").strip(), "1", "commits")
    w.good("git", "-C", "/sandbox/clone", "fetch", "-q", "--unshallow")
    equal(w.good("git", "-C", "/sandbox/clone", "rev-list", "--count", "HEAD").strip(), "4", "commits")


@case
def fetch_and_pull(w):
    with w.clone("read.test"):
        done = run("sh", "-c", f"cd {private.dir}/work && echo more >> file1 && git commit -qam more && git push -q {w.root}/team/repo.git main")
        check(done.code == 0, done)
        w.good("git", "-C", "/sandbox/clone", "fetch", "-q")
        w.good("git", "-C", "/sandbox/clone", "pull", "-q")
        equal(w.good("git", "-C", "/sandbox/clone", "rev-parse", "HEAD").strip(), w.head(), "head")
    equal(w.good("git", "ls-remote", "https://read.test/team/repo.git", "main").split()[0], w.head(), "ls-remote")


def refused_push(w, host, why):
    before = w.head()
    with w.clone(host):
        w.commit("mine")
        r = w.git("-C", "/sandbox/clone", "push", "origin", "main")
    check(r.code != 0, f"the push went through: {r}")
    contains(r.err, "403")
    contains(r.err, f"remote: openshell: GET /team/repo.git/info/refs {why}")
    equal(w.head(), before, "head of the server")
    check(not any("receive-pack" in s for s in w.server.seen), f"the server saw {w.server.seen}")
    w.logged("HTTP:GET", "DENIED", "/team/repo.git/info/refs", f"-> GET https://{host}/")


@case
def push_without_the_right(w):
    """What may be fetched may not be pushed to; git shows the reason."""
    refused_push(w, "read.test", "not permitted by policy")


@case
def push_that_a_deny_rule_forbids(w):
    refused_push(w, "full.test", "blocked by deny rule")


@case
def a_pack_sent_without_asking_first_is_refused(w):
    """The right to push is not that of asking for references: the request with the pack is judged on its own."""
    w.server.seen.clear()
    r = w.run("git", "-c", "http.extraHeader=X: y", "ls-remote", "https://read.test/team/repo.git")
    check(r.code == 0, r)
    r = w.run("/usr/bin/git", "-c", "alias.post=!curl -sS -o /dev/null -w '%{http_code}' --data-binary 0000 -H "
              "'Content-Type: application/x-git-receive-pack-request' https://read.test/team/repo.git/git-receive-pack #", "post")
    equal(r.out, "403", "status")
    check(not any("receive-pack" in s for s in w.server.seen), f"the server saw {w.server.seen}")


@case
def push(w):
    with w.clone("write.test"):
        w.commit("pushed")
        w.good("git", "-C", "/sandbox/clone", "push", "-q", "origin", "main")
        equal(w.good("git", "-C", "/sandbox/clone", "rev-parse", "HEAD").strip(), w.head(), "head")
    check("POST /team/repo.git/git-receive-pack" in w.server.seen, w.server.seen)


@case
def a_large_push_in_chunks(w):
    """More than git's buffer: it sends the pack in chunks, after a probe of its own."""
    with w.clone("write.test"):
        w.good("sh", "-c", "cd /sandbox/clone && head -c 4000000 /dev/urandom > big && git add . && git commit -qm big && git push -q origin main")
        equal(w.good("git", "-C", "/sandbox/clone", "rev-parse", "HEAD").strip(), w.head(), "head")
    check(w.server.seen.count("POST /team/repo.git/git-receive-pack") == 2, w.server.seen)


@case
def other_programs_have_no_right(w):
    """The rule is for git: another program may not use its host."""
    w.server.seen.clear()
    r = w.run("curl", "-sS", "--max-time", "10", "https://read.test/team/repo.git/info/refs?service=git-upload-pack")
    check(r.code == 56 and "403" in r.err, r)
    equal(w.server.seen, [], "requests")


def main():
    if os.geteuid() != 0:
        print("skip git: the local driver needs root to set up what the tests look at")
        return
    suite.run(World())


main()
