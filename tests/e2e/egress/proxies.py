"""Forward proxies as operators have them: one of ours that is told how to behave, and Debian's tinyproxy."""
import base64
import contextlib
import os
import pathlib
import shutil
import socket
import ssl
import tempfile
import threading
import urllib.parse

from harness import BUILD, Skip, check, run, wait_for


class ForwardProxy:
    """Serves CONNECT, plain or under TLS. `asked` holds the head of every request. `mode` chooses what is wrong; `lead` maps
    the host that was asked for to one that is there."""

    def __init__(self, address, port, cert=None, key=None, credential=None):
        self.address, self.port, self.mode, self.lead, self.credential = address, port, "", {}, credential
        self.asked, self.raw, self.connections, self.open, self.lock = [], b"", 0, set(), threading.Lock()
        self.go_on = threading.Event()
        self.context = None
        if cert:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(cert, key)
        self.listener = socket.create_server((address, port), backlog=128)
        threading.Thread(target=self.accept, daemon=True).start()

    def fresh(self, mode=""):
        with self.lock:
            self.asked, self.raw, self.mode, self.connections = [], b"", mode, 0

    def targets(self):
        with self.lock:
            return [h.split(b" ")[1].decode() for h in self.asked]

    def accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
            threading.Thread(target=self.guarded, args=(conn,), daemon=True).start()

    def guarded(self, conn):
        with contextlib.suppress(OSError, ssl.SSLError), conn:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.mode == "no-tls":
                conn.recv(1)
                self.go_on.wait(60)
                return
            if self.context:
                conn = self.context.wrap_socket(conn, server_side=True)
            with self.lock:
                self.open.add(conn)
            try:
                self.serve(conn)
            finally:
                with self.lock:
                    self.open.discard(conn)
                conn.close()

    def serve(self, conn):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = conn.recv(1)
            if not byte:
                return
            head += byte
        with self.lock:
            self.asked.append(head)
        connect = head.startswith(b"CONNECT ")
        host, port = (head.split(b" ")[1].decode() if connect else urllib.parse.urlsplit(head.split(b" ")[1].decode()).netloc
                      + ":80").rsplit(":", 1)
        wanted = b"Proxy-Authorization: Basic " + base64.b64encode(self.credential or b"")
        if self.credential is not None and wanted not in head.split(b"\r\n"):
            conn.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n"
                         b"Content-Length: 0\r\n\r\n")
            return
        if connect and not self.answer(conn, host):
            return
        with socket.create_connection((self.lead.get(host.strip("[]"), host.strip("[]")), int(port)), 10) as up:
            up.settimeout(None)
            up.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not connect:
                up.sendall(head.replace(b" http://" + host.encode(), b" ", 1))
            back = threading.Thread(target=self.pump, args=(up, conn, False), daemon=True)
            back.start()
            self.pump(conn, up, True)
            back.join(60)

    def answer(self, conn, host):
        """True when the tunnel stands."""
        mode = self.mode
        if mode.startswith("refuse "):
            _, which, status = mode.split(" ")
            if which in (host, "all"):
                conn.sendall(f"HTTP/1.1 {status} No\r\nContent-Length: 2\r\nVia: x\r\n\r\nno".encode())
                return False
        elif mode.startswith("silent "):
            if mode.split(" ")[1] == host:
                self.go_on.wait(60)
                return False
        elif mode == "surplus":
            conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n220 early\r\n")
            return True
        elif mode == "silent":
            self.go_on.wait(60)
            return False
        elif mode == "drip":
            for byte in b"HTTP/1.1 200 OK\r\nX-Drip: 1\r\n\r\n":
                conn.sendall(bytes([byte]))
            return True
        elif mode == "drip for ever":
            conn.sendall(b"HTTP/1.1 200 OK\r\n")
            while not self.go_on.wait(0.05):
                conn.sendall(b"a")
            return False
        elif mode == "framed":  # RFC 9110 9.3.6: to be ignored
            conn.sendall(b"HTTP/1.0 200 Connection established\r\nContent-Length: 5\r\n\r\n")
            return True
        elif mode:
            conn.sendall({"garbage": b"\x00\x01\x02" * 100 + b"\r\n\r\n", "html": b"<html>\r\n\r\n", "empty": b"",
                          "long": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 3000 + b"\r\n", "half": b"HTTP/1.1 200 O",
                          "long line": b"HTTP/1.1 200 " + b"a" * 9000 + b"\r\n\r\n"}[mode])
            return False
        conn.sendall(b"HTTP/1.1 200 Connection established\r\nProxy-Agent: test\r\n\r\n")
        return True

    def pump(self, source, target, up):
        with contextlib.suppress(OSError, ssl.SSLError, ValueError):
            while data := source.recv(65536):
                if up:
                    with self.lock:
                        self.raw += data
                target.sendall(data)
        with contextlib.suppress(OSError, ssl.SSLError):
            target.shutdown(socket.SHUT_WR)

    def cut(self):
        with self.lock:
            for conn in self.open:
                with contextlib.suppress(OSError):
                    conn.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.go_on.set()
        self.listener.close()
        self.cut()


PROGRAM = BUILD / "test-programs/tinyproxy"  # kept: fetched once


def fetch_tinyproxy():
    """Debian's, without installing it: a proxy that starts with the machine is not what a test should leave behind. Before
    the namespace without a network."""
    if shutil.which("tinyproxy") or PROGRAM.exists() or os.environ.get("EGRESS_TEST_NAMESPACE") == "1":
        return
    with tempfile.TemporaryDirectory(prefix="openshell-tinyproxy.") as directory:
        os.chmod(directory, 0o777)
        run("sh", "-c", "apt-get download tinyproxy-bin && for d in *.deb; do dpkg -x \"$d\" .; done", cwd=directory,
            timeout=120)
        program = pathlib.Path(directory, "usr/bin/tinyproxy")
        if program.exists():
            PROGRAM.parent.mkdir(exist_ok=True)
            shutil.copy(program, PROGRAM.with_suffix(".new"))
            PROGRAM.with_suffix(".new").replace(PROGRAM)


def tinyproxy(private, port, more=""):
    program = shutil.which("tinyproxy") or PROGRAM
    if not os.path.exists(program):
        raise Skip("no tinyproxy on this machine, and its package cannot be fetched")
    log, conf = private.dir / "tinyproxy.log", private.dir / "tinyproxy.conf"
    log.touch()
    log.chmod(0o666)
    conf.write_text(f"Port {port}\nListen 127.0.0.1\nTimeout 60\nLogFile \"{log}\"\nLogLevel Connect\nMaxClients 50\n{more}")
    private.spawn(program, "-d", "-c", conf)

    def up():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
    wait_for("tinyproxy", up, 10)
    check(log.exists(), "tinyproxy's log")
    return log
