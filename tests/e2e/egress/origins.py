"""Upstream servers that remember every byte they were sent, and a client that says exactly what it is told to."""
import base64
import contextlib
import hashlib
import socket
import ssl
import threading


class Listener:
    """Accepts for ever: guarded(connection, its number) runs in a thread of its own for each."""

    def __init__(self, address, port):
        self.connections = 0
        self.lock = threading.Lock()
        self.listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                number = self.connections
            threading.Thread(target=self.guarded, args=(conn, number), daemon=True).start()

    def close(self):
        self.listener.close()


class Origin(Listener):
    """HTTP/1 server, plain or TLS. `seen` holds (connection number, head, body) of every request that arrived whole;
    `raw` everything that was read. The path chooses the behaviour, see reply()."""

    def __init__(self, address, port, cert=None, key=None):
        self.seen, self.raw = [], b""
        self.context = None
        if cert:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(cert, key)
        super().__init__(address, port)

    def guarded(self, conn, number):
        with contextlib.suppress(OSError, ssl.SSLError, ValueError, AssertionError), conn:
            if self.context:
                conn = self.context.wrap_socket(conn, server_side=True)
            self.serve(conn, number)
            with contextlib.suppress(OSError):
                conn.close()

    def read(self, conn):
        data = conn.recv(65536)
        if not data:
            raise OSError("closed")
        with self.lock:
            self.raw += data
        return data

    def serve(self, conn, number):
        buf = b""
        while True:
            while b"\r\n\r\n" not in buf:
                buf += self.read(conn)
            head, buf = buf.split(b"\r\n\r\n", 1)
            path = head.split(b" ")[1].decode()
            fields = {l.split(b":", 1)[0].strip().lower(): l.split(b":", 1)[1].strip() for l in head.split(b"\r\n")[1:]}
            if path == "/early":
                conn.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly")
                return
            if b"100-continue" in fields.get(b"expect", b""):
                conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = b""
            if b"content-length" in fields:
                n = int(fields[b"content-length"])
                while len(buf) < n:
                    buf += self.read(conn)
                body, buf = buf[:n], buf[n:]
            elif fields.get(b"transfer-encoding") == b"chunked":
                body, buf = self.chunked(conn, buf)
            with self.lock:
                self.seen.append((number, head, body))
            if not self.reply(conn, path, head, body):
                return

    def chunked(self, conn, buf):
        body = b""
        while True:
            while b"\r\n" not in buf:
                buf += self.read(conn)
            line, buf = buf.split(b"\r\n", 1)
            n = int(line.split(b";")[0], 16)
            if n == 0:
                while True:
                    while b"\r\n" not in buf:
                        buf += self.read(conn)
                    line, buf = buf.split(b"\r\n", 1)
                    if not line:
                        return body, buf
            while len(buf) < n + 2:
                buf += self.read(conn)
            body, buf = body + buf[:n], buf[n + 2:]

    def reply(self, conn, path, head, body):
        """True when the connection goes on."""
        if path == "/chunked":
            conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5;x=y\r\nhello\r\n")
            conn.sendall(b"1\r\n!\r\n0\r\nX: t\r\n\r\n")
        elif path == "/unframed":
            conn.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end")
            return False
        elif path == "/interim":
            conn.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        elif path == "/switch":
            conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw")
        elif path == "/ambiguous":
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        elif path == "/vanish":
            return False
        elif path == "/empty":
            conn.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        elif path == "/big":
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"0123456789" * 300000)
        elif head.startswith(b"HEAD "):
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        else:
            text = b"origin saw " + head.split(b"\r\n")[0] + b" with %d bytes" % len(body)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
        return True

    def requests(self):
        with self.lock:
            return [head.split(b"\r\n")[0].decode() for _, head, _ in self.seen]


class RawOrigin(Listener):
    """TCP server: optional greeting first, then echoes until the peer ends its direction, then says "bye"."""

    def __init__(self, address, port, greeting=b""):
        self.greeting = greeting
        super().__init__(address, port)

    def guarded(self, conn, number):
        with contextlib.suppress(OSError), conn:
            conn.sendall(self.greeting)
            while data := conn.recv(65536):
                conn.sendall(data)
            conn.sendall(b"bye")


def read_head(sock, buf=b""):
    """Head bytes up to the empty line and what came behind it."""
    while b"\r\n\r\n" not in buf:
        data = sock.recv(65536)
        if not data:
            raise AssertionError(f"connection ended inside a head: {buf!r}")
        buf += data
    head, rest = buf.split(b"\r\n\r\n", 1)
    return head, rest


def read_all(sock):
    """Everything up to the end; a reset counts as the end."""
    data = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while part := sock.recv(65536):
            data += part
    return data


class Response:
    def __init__(self, sock, buf=b"", head_only=False):
        head, buf = read_head(sock, buf)
        lines = head.split(b"\r\n")
        self.status = int(lines[0].split(b" ")[1])
        self.status_line = lines[0].decode()
        self.fields = {l.split(b":", 1)[0].decode().lower(): l.split(b":", 1)[1].strip().decode() for l in lines[1:]}
        self.head, self.body = head, b""
        if head_only or self.status in (204, 304) or self.status < 200:
            pass
        elif "content-length" in self.fields:
            n = int(self.fields["content-length"])
            while len(buf) < n:
                data = sock.recv(65536)
                if not data:
                    raise AssertionError(f"connection ended inside a body: {buf!r}")
                buf += data
            self.body, buf = buf[:n], buf[n:]
        elif self.fields.get("transfer-encoding") == "chunked":
            while not (b"\r\n0\r\n" in buf and buf.endswith(b"\r\n\r\n")):
                data = sock.recv(65536)
                if not data:
                    raise AssertionError(f"connection ended inside a body: {buf!r}")
                buf += data
            self.body, buf = buf, b""
        else:
            self.body, buf = buf + read_all(sock), b""
        self.rest = buf


# --- WebSocket (RFC 6455), by hand: tests send what no library would ---

WS_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def ws_accept(key):
    return base64.b64encode(hashlib.sha1(key + WS_GUID).digest())


def ws_mask(payload, mask):
    n = len(payload)
    repeated = (mask * (n // 4 + 1))[:n]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(n, "big")


def ws_frame(opcode, payload=b"", fin=True, rsv=0, mask=b"\x01\x02\x03\x04", length=None):
    """One frame; mask None = unmasked; length = (kind, value) writes the length in that form."""
    n = len(payload)
    bit = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if length:
        head += bytes([bit | length[0]]) + length[1].to_bytes(8 if length[0] == 127 else 2, "big")
    elif n < 126:
        head += bytes([bit | n])
    elif n < 65536:
        head += bytes([bit | 126]) + n.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + n.to_bytes(8, "big")
    if mask:
        payload = ws_mask(payload, mask)
    return head + (mask or b"") + payload


class Frames:
    """Reads frames off a socket."""

    def __init__(self, sock, buf=b""):
        self.sock, self.buf, self.raw = sock, buf, b""

    def take(self, n):
        while len(self.buf) < n:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self.buf += data
        part, self.buf = self.buf[:n], self.buf[n:]
        self.raw += part
        return part

    def next(self):
        """(opcode, fin, rsv, payload, masked), or None at the end."""
        self.raw = b""
        try:
            a, b = self.take(2)
            n = b & 0x7f
            if n > 125:
                n = int.from_bytes(self.take(2 if n == 126 else 8), "big")
            mask = self.take(4) if b & 0x80 else None
            payload = self.take(n)
        except (EOFError, ConnectionError, ssl.SSLError):
            return None
        if mask:
            payload = ws_mask(payload, mask)
        return a & 0x0f, bool(a & 0x80), a >> 4 & 7, payload, mask is not None


class WebSocketOrigin(Origin):
    """Echoes messages. `frames` holds what came: (opcode, fin, rsv, payload, raw bytes). The path chooses what is wrong
    with the handshake."""

    def __init__(self, *args):
        self.frames = []
        super().__init__(*args)

    def serve(self, conn, number):
        head, buf = read_head(conn)
        with self.lock:
            self.raw += head
            self.seen.append((number, head, b""))
        path = head.split(b" ")[1]
        fields = {l.split(b":", 1)[0].strip().lower(): l.split(b":", 1)[1].strip() for l in head.split(b"\r\n")[1:]}
        if b"sec-websocket-key" not in fields or path == b"/chat/refuse":
            conn.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno")
            return
        key = fields[b"sec-websocket-key"] if path != b"/chat/wrongkey" else b"x"
        offer = fields.get(b"sec-websocket-extensions", b"")
        extension = b""
        if b"permessage-deflate" in offer or path == b"/chat/extension":
            extension = b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n"
        protocol = b"Sec-WebSocket-Protocol: other\r\n" if path == b"/chat/protocol" else b""
        conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     b"Sec-WebSocket-Accept: " + ws_accept(key) + b"\r\n" + extension + protocol + b"\r\n")
        frames = Frames(conn, buf)
        while frame := frames.next():
            opcode, fin, rsv, payload, _ = frame
            with self.lock:
                self.frames.append((opcode, fin, rsv, payload, frames.raw))
            conn.sendall(ws_frame(opcode, payload, fin, rsv, None))
            if opcode == CLOSE:
                return


class WebSocketClient:
    """A client on a socket that is connected already."""

    def __init__(self, sock, host, path, more="", key=b"dGhlIHNhbXBsZSBub25jZQ=="):
        self.sock = sock
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
                     f"{key.decode()}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n".encode())
        self.response = Response(sock)
        self.frames = Frames(sock, self.response.rest)

    def send(self, *args, **kw):
        self.sock.sendall(ws_frame(*args, **kw))

    def next(self):
        return self.frames.next()

    def closed(self):
        """The code of the close frame that ends the session; None when it just ends."""
        while frame := self.next():
            if frame[0] == CLOSE:
                return int.from_bytes(frame[3][:2], "big") if frame[3] else 0
        return None
