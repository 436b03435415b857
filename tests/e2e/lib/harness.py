"""What the end-to-end tests share: a reporter, processes that never outlive a test, a gateway of its own in a private
directory, HTTPS origins with a private authority. Everything made here is undone at exit, also after a failure."""
import atexit
import concurrent.futures
import contextlib
import fcntl
import http.server
import json
import os
import pathlib
import pty
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("OPENSHELL_BUILD", ROOT / "build"))
BIN = BUILD / "bin"


class Skip(Exception):
    """Raised by a case that cannot run here; the text says why."""


class Suite:
    """Cases run in order of definition; one line of output per case."""

    def __init__(self):
        self.cases = []

    def case(self, fn):
        self.cases.append(fn)
        return fn

    def run(self, *args):
        only = sys.argv[1:]
        passed = failed = skipped = 0
        for fn in self.cases:
            name = fn.__name__
            if only and not any(word in name for word in only):
                continue
            try:
                fn(*args)
            except Skip as why:
                skipped += 1
                print(f"skip {name}: {why}", flush=True)
            except Exception as why:  # a failing case must not hide the others
                failed += 1
                text = " ".join(str(why).split())[:600] or type(why).__name__
                print(f"not ok {name}: {text}", flush=True)
                traceback.print_exc(limit=6, file=sys.stdout)
            else:
                passed += 1
                print(f"ok {name}", flush=True)
        print(f"# {passed} passed, {failed} failed, {skipped} skipped", flush=True)
        sys.exit(1 if failed or not passed + skipped else 0)


def check(condition, text="condition is false"):
    if not condition:
        raise AssertionError(text)


def equal(got, want, what="value"):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def contains(text, part):
    if part not in text:
        raise AssertionError(f"{part!r} is not in: {text[-1500:]}")


def wait_for(what, fn, seconds=10.0, every=0.02):
    """Polls until fn() is true; returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = fn()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"timed out after {seconds} s waiting for {what}")
        time.sleep(every)


class Result:
    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err
        self.text = out + err

    def __repr__(self):
        return f"{' '.join(map(str, self.argv))} -> {self.code}: {self.text[-1500:]}"


def run(*argv, env=None, stdin=b"", timeout=60, cwd=None):
    """Runs a command to its end; output as text."""
    p = subprocess.run([str(a) for a in argv], input=stdin, capture_output=True, timeout=timeout, env=env, cwd=cwd,
                       check=False)
    return Result(argv, p.returncode, p.stdout.decode("utf-8", "replace"), p.stderr.decode("utf-8", "replace"))


def on_terminal(*argv, env, answers=(), columns=80, seconds=30):
    """Runs a command on a terminal of its own: (what it shows, exit code). Each answer is (what to wait for, what is
    typed then)."""
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.execve(argv[0], [str(a) for a in argv], env)
    shown, seen, answers, end = b"", 0, list(answers), time.monotonic() + seconds
    while time.monotonic() < end:
        if not select.select([fd], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
        if answers and answers[0][0] in shown[seen:]:
            seen = len(shown)
            os.write(fd, answers.pop(0)[1])
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(fd)
    return shown.decode("utf-8", "replace"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def in_parallel(fn, values, most=None):
    """fn of each value, all at once, or that many at the most; the results in order, or the first failure."""
    values = list(values)
    with concurrent.futures.ThreadPoolExecutor(most or len(values)) as pool:
        return list(pool.map(fn, values))


# A program for a sandbox: sends back what it gets, and <end> after the end of its input.
ECHO_SERVER = """
import socket, threading
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", PORT)); s.listen(64)
print("listening", flush=True)
def serve(c):
    while True:
        d = c.recv(65536)
        if not d: break
        c.sendall(d)
    c.sendall(b"<end>"); c.close()
while True:
    c, _ = s.accept(); threading.Thread(target=serve, args=(c,), daemon=True).start()
"""


def talk(port, data, seconds=30):
    """Sends all of data to a local port while it reads; what came back up to the end."""
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.settimeout(seconds)

        def push():
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
        t = threading.Thread(target=push)
        t.start()
        got = b""
        while d := s.recv(65536):
            got += d
        t.join()
        return got


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Private:
    """A temporary directory, removed at exit, and processes that are killed at exit."""

    def __init__(self, label="test"):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"openshell-{label}.", dir="/tmp"))
        self.dir.chmod(0o711)
        self.stack = contextlib.ExitStack()
        atexit.register(self.close)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def close(self):
        self.stack.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def spawn(self, *argv, **kw):
        p = subprocess.Popen([str(a) for a in argv], **kw)
        self.stack.callback(stop_process, p)
        return p


def stop_process(p):
    if p.poll() is None:
        p.terminate()
        try:
            p.wait(5)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
    for pipe in (p.stdin, p.stdout, p.stderr):
        if pipe:
            pipe.close()


class Authority:
    """A certificate authority for test origins."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.pem, self.key = self.dir / "test-ca.pem", self.dir / "test-ca.key"
        self._openssl("req", "-x509", *self._new_key(self.key), "-days", "2", "-subj", "/CN=test CA",
                      "-out", self.pem)

    @staticmethod
    def _new_key(path):
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path)

    @staticmethod
    def _openssl(*argv):
        r = run("openssl", *argv)
        check(r.code == 0, r)

    def issue(self, *names):
        """Certificate and key files for host names or addresses."""
        stem = self.dir / names[0].replace("*", "_")
        cert, key, csr, ext = (stem.with_name(stem.name + s) for s in (".pem", ".key", ".csr", ".ext"))
        sans = ",".join(("IP:" if n.replace(".", "").isdigit() or ":" in n else "DNS:") + n for n in names)
        ext.write_text(f"subjectAltName={sans}\n")
        self._openssl("req", *self._new_key(key), "-subj", f"/CN={names[0]}", "-out", csr)
        self._openssl("x509", "-req", "-in", csr, "-CA", self.pem, "-CAkey", self.key, "-days", "2",
                      "-extfile", ext, "-out", cert)
        return cert, key


class Origin:
    """An HTTP(S) server that answers every request with a JSON description of it and remembers what it saw."""

    def __init__(self, address, port, cert=None, key=None):
        self.requests = []
        origin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                origin.requests.append({"method": self.command, "path": self.path, "body": body,
                                        "headers": dict(self.headers)})
                text = json.dumps({"method": self.command, "path": self.path, "says": "hello"}).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = answer

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # peers that hang up are part of the tests

        self.server = Server((address, port), Handler)
        if cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert, key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def lo_address(private, address):
    """A private address on the loopback interface, for origins; removed at exit."""
    run("ip", "address", "add", f"{address}/32", "dev", "lo")
    private.stack.callback(run, "ip", "address", "del", f"{address}/32", "dev", "lo")
    return address


USER = 64000  # an ordinary user that nobody is; set by run_as_user()


def user_prefix(private, uid):
    """What to put in front of a command so that it runs as an ordinary user with subordinate ids, without an account
    on the machine: passwd, subuid and subgid are its own in a mount namespace."""
    for program in ("newuidmap", "newgidmap", "setpriv", "unshare"):
        if not shutil.which(program):
            raise Skip(f"no {program} on this machine")
    etc = private.dir / "user-etc"
    if not etc.exists():
        etc.mkdir(mode=0o755)
        (etc / "passwd").write_text(pathlib.Path("/etc/passwd").read_text() + f"tester:x:{uid}:{uid}::/:/bin/sh\n")
        (etc / "subuid").write_text("tester:2000000:65536\n")
        (etc / "subgid").write_text("tester:2000000:65536\n")
        os.chown(private.dir, uid, uid)
    for name in ("passwd", "subuid", "subgid"):
        if not pathlib.Path("/etc", name).exists():
            raise Skip(f"no /etc/{name} to put another in the place of")
    script = "".join(f"mount --bind {etc}/{n} /etc/{n} && " for n in ("passwd", "subuid", "subgid"))
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c",
            script + f'exec setpriv --reuid {uid} --regid {uid} --clear-groups --inh-caps=-all "$@"', "sh"]


def is_listening(port):
    """Somebody listens on this TCP port of 127.0.0.1 or of all addresses. Nobody is called."""
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state = line.split()[1::2][:2]
        if state == "0A" and local.endswith(f":{port:04X}"):
            return True
    return False


class Gateway:
    """openshell-gateway with its own configuration and state, mTLS, SQLite and the local driver. OPENSHELL_TEST_USER=1
    in the environment: everything as an ordinary user."""

    def __init__(self, private, extra_env=None, args=(), user=bool(os.environ.get("OPENSHELL_TEST_USER"))):
        if os.geteuid() != 0:
            raise Skip("the tests of the local driver need root to set up what they look at")
        self.prefix = user_prefix(private, USER) if user else []
        self.private = private
        self.port = free_port()
        self.args = list(args)
        self.env = dict(os.environ)
        for name in list(self.env):
            if name.startswith("OPENSHELL_"):
                del self.env[name]
        self.env.update(XDG_CONFIG_HOME=str(private.dir / "config"), XDG_STATE_HOME=str(private.dir / "state"),
                        NO_COLOR="1", **(extra_env or {}))
        self.state = private.dir / "state" / "openshell"
        self.log = private.dir / "gateway.log"
        self.process = None
        private.stack.callback(self.close)

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    @property
    def mtls(self):
        """Directory with ca.crt, tls.crt and tls.key of a client."""
        return self.private.dir / "config" / "openshell" / "gateways" / "openshell" / "mtls"

    def start(self, seconds=10):
        # A launcher that a killed gateway had just begun holds its listener until it executes: who connects before that
        # meets nobody, and is reset.
        wait_for("the port of the gateway before", lambda: not is_listening(self.port), seconds, 0.005)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, str(BIN / "openshell-gateway"), "--port", str(self.port), *self.args], env=self.env,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"the gateway ended with {self.process.returncode}: {self.log_text()[-1500:]}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                break
            time.sleep(0.01)
        else:
            raise AssertionError(f"the gateway does not listen: {self.log_text()[-1500:]}")
        if not (self.private.dir / "config/openshell/gateways/openshell/metadata.json").exists():
            self.register()
        return self

    def register(self):
        r = self.cli("gateway", "add", self.url, "--local", "--name", "openshell")
        check(r.code == 0, r)

    def sandbox_dirs(self):
        """State directories of sandboxes, which must be gone once they are deleted. What all share has a dot name."""
        local = self.state / "local"
        return [d for d in local.iterdir() if d.is_dir() and d.name[0] != "."] if local.is_dir() else []

    def log_text(self):
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.wait(20)

    def cli(self, *argv, stdin=b"", timeout=60):
        return run(*self.prefix, BIN / "openshell", *argv, env=self.env, stdin=stdin, timeout=timeout)

    def must(self, *argv, **kw):
        r = self.cli(*argv, **kw)
        check(r.code == 0, r)
        return r

    def exec(self, name, *command, stdin=b"", timeout=60):
        return self.cli("sandbox", "exec", "-n", name, "--", *command, stdin=stdin, timeout=timeout)

    def close(self):
        """Deletes what the test left and stops."""
        if not self.process:
            return
        if self.process.poll() is None:
            with contextlib.suppress(Exception):
                for line in self.cli("sandbox", "list", "--names").out.split():
                    self.cli("sandbox", "delete", line)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
