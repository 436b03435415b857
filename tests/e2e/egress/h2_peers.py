"""HTTP/2 peers for the egress suites: an origin whose behaviour the path chooses, and a client that says exactly what it
is told to, valid or not. Both on python3-h2."""
import contextlib
import ssl
import struct
import threading
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from origins import Listener


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)


class H2Origin(Listener):
    """HTTP/2 server under TLS. `seen` holds (method, path, fields, body, trailers) of complete requests; `resets` the
    error codes of streams that the peer reset."""

    def __init__(self, address, port, cert, key, alpn=("h2",)):
        self.seen, self.resets, self.goaways, self.got = [], [], [], 0
        self.conns = []
        self.hold = threading.Event()  # set: bodies of /hold are taken
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.context.set_alpn_protocols(list(alpn))
        super().__init__(address, port)

    def guarded(self, conn, number):
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError, KeyError), conn, \
                self.context.wrap_socket(conn, server_side=True) as conn:
            if conn.selected_alpn_protocol() == "h2":
                OriginConn(self, conn).serve()
            else:
                self.http1(conn)

    def http1(self, conn):
        data = b""
        while b"\r\n\r\n" not in data:
            more = conn.recv(65536)
            if not more:
                return
            data += more
        self.seen.append((data.split(b" ")[0].decode(), data.split(b" ")[1].decode(), {}, b"", None))
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nin HTTP1")


class OriginConn:
    def __init__(self, origin, sock):
        self.o, self.sock = origin, sock
        self.h = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=False, header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False))
        self.streams, self.out, self.closing = {}, {}, False

    def flush(self):
        data = self.h.data_to_send()
        if data:
            self.sock.sendall(data)

    def serve(self):
        self.h.initiate_connection()
        self.flush()
        self.o.conns.append(self)
        self.sock.settimeout(0.05)
        while not self.closing:
            try:
                data = self.sock.recv(65536)
                if not data:
                    return
            except TimeoutError:
                data = b""
            for event in self.h.receive_data(data) if data else []:
                self.on(event)
            if self.o.hold.is_set():
                for s in self.streams.values():
                    if s["held"]:
                        with contextlib.suppress(h2.exceptions.ProtocolError):
                            self.h.acknowledge_received_data(s["held"], s["id"])
                        s["held"] = 0
            self.pump()
            self.flush()

    def on(self, event):
        if isinstance(event, h2.events.RequestReceived):
            fields = {}
            for k, v in event.headers:
                fields.setdefault(k, []).append(v)
            s = self.streams[event.stream_id] = {"id": event.stream_id, "fields": fields, "body": b"", "held": 0,
                                                 "trailers": None, "path": fields[":path"][0]}
            self.begin(s)
        elif isinstance(event, h2.events.DataReceived):
            s = self.streams[event.stream_id]
            s["body"] += event.data
            self.o.got += len(event.data)
            if s["path"].startswith("/hold"):
                s["held"] += event.flow_controlled_length
            elif event.flow_controlled_length:
                self.h.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self.streams[event.stream_id]["trailers"] = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            self.end(self.streams[event.stream_id])
        elif isinstance(event, h2.events.StreamReset):
            self.o.resets.append(event.error_code)
            self.out.pop(event.stream_id, None)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.o.goaways.append(event.error_code)

    def begin(self, s):
        if "100-continue" in s["fields"].get("expect", []):
            self.h.send_headers(s["id"], [(":status", "100")])
        if s["path"] == "/early":
            self.respond(s, 413, b"early")
            self.flush()
            self.h.reset_stream(s["id"], 0)
        elif s["path"] == "/reset":
            self.h.reset_stream(s["id"], 8)
        elif s["path"] == "/refuse":
            self.h.reset_stream(s["id"], 7)
        elif s["path"] == "/vanish":
            self.closing = True

    def respond(self, s, status, body, more=(), trailers=None):
        self.h.send_headers(s["id"], [(":status", str(status)), ("content-length", str(len(body))), *more])
        self.out[s["id"]] = [body, trailers]
        self.pump()

    def pump(self):
        for stream, (body, trailers) in list(self.out.items()):
            try:
                while body:
                    n = min(len(body), self.h.local_flow_control_window(stream), self.h.max_outbound_frame_size)
                    if n <= 0:
                        break
                    self.h.send_data(stream, body[:n])
                    body = body[n:]
                self.out[stream][0] = body
                if not body:
                    del self.out[stream]
                    if trailers:
                        self.h.send_headers(stream, trailers, end_stream=True)
                    else:
                        self.h.end_stream(stream)
            except h2.exceptions.ProtocolError:
                self.out.pop(stream, None)

    def end(self, s):
        f = s["fields"]
        self.o.seen.append((f[":method"][0], s["path"], f, s["body"], s["trailers"]))
        path, stream = s["path"], s["id"]
        if path in ("/early", "/never", "/reset", "/refuse", "/vanish") or path.startswith("/hold"):
            return
        if path == "/big":
            self.respond(s, 200, b"0123456789" * 300000)
        elif path == "/trailers":
            self.respond(s, 200, b"body", trailers=[("x-sum", "abc")])
        elif path == "/interim":
            self.h.send_headers(stream, [(":status", "103"), ("link", "x")])
            self.respond(s, 200, b"ok")
        elif path.startswith("/interims/"):
            for _ in range(int(path.rsplit("/", 1)[1])):
                self.h.send_headers(stream, [(":status", "103"), ("link", "x")])
                self.flush()
            self.respond(s, 200, b"ok")
        elif path == "/headerbomb":
            self.respond(s, 200, b"", [(f"x-{i}", "v" * 1000) for i in range(20)])
        elif path == "/half":
            self.h.send_headers(stream, [(":status", "200"), ("content-length", "100")])
            self.h.send_data(stream, b"half")
            self.flush()
            self.closing = True
        elif path == "/turnaway":
            self.flush()
            self.sock.sendall(frame(GOAWAY, 0, 0, struct.pack(">II", stream - 2, 0)))
        elif path == "/goaway":
            self.flush()
            self.sock.sendall(frame(GOAWAY, 0, 0, struct.pack(">II", stream, 0)))
            time.sleep(0.1)
            self.respond(s, 200, b"last")
        elif f[":method"][0] == "HEAD":
            self.h.send_headers(stream, [(":status", "200"), ("content-length", "1000")], end_stream=True)
        else:
            self.respond(s, 200, f"origin saw {f[':method'][0]} {path} with {len(s['body'])} bytes".encode())


class Answer:
    def __init__(self):
        self.fields, self.body, self.trailers, self.interim = {}, b"", None, []
        self.ended, self.reset = False, None

    @property
    def status(self):
        return int(self.fields.get(":status", 0))

    @property
    def done(self):
        return self.ended or self.reset is not None


class H2Client:
    """One connection through the tunnel. Does not grant windows by itself when auto is False."""

    def __init__(self, sock, auto=True, window=None):
        self.sock, self.auto = sock, auto
        self.h = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False))
        if window is not None:
            self.h.local_settings[h2.settings.SettingCodes.INITIAL_WINDOW_SIZE] = window
        self.answers, self.goaway, self.closed, self.settings, self.rest = {}, None, False, {}, b""
        self.h.initiate_connection()
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def flush(self):
        data = self.h.data_to_send()
        if data:
            self.sock.sendall(data)

    def raw(self, data):
        self.sock.sendall(data)

    def headers(self, method, path, authority="h2.test:8443", more=(), end=True, scheme="https"):
        return self.fields([(":method", method), (":scheme", scheme), (":authority", authority), (":path", path), *more], end)

    def fields(self, fields, end=True):
        stream = self.h.get_next_available_stream_id()
        self.answers[stream] = Answer()
        self.h.send_headers(stream, fields, end_stream=end)
        self.flush()
        return stream

    def data(self, stream, data, end=False):
        """Sends as the window allows; False when it stays closed for a second."""
        until = time.monotonic() + 1
        while data:
            n = min(len(data), self.h.local_flow_control_window(stream), self.h.max_outbound_frame_size)
            if n:
                self.h.send_data(stream, data[:n])
                data = data[n:]
                until = time.monotonic() + 1
            self.flush()
            if not n:
                self.receive(0.05)
                if time.monotonic() > until or self.answers[stream].reset is not None or self.closed:
                    return len(data)
        if end:
            self.h.end_stream(stream)
            self.flush()
        return 0

    def receive(self, timeout):
        self.sock.settimeout(timeout)
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return False
        self.rest += data
        while len(self.rest) >= 9 and len(self.rest) >= 9 + int.from_bytes(self.rest[:3], "big"):
            n = 9 + int.from_bytes(self.rest[:3], "big")
            one, self.rest = self.rest[:n], self.rest[n:]
            if one[3] == GOAWAY:  # the library would take nothing more; running streams go on
                self.goaway = int.from_bytes(one[13:17], "big")
                continue
            for event in self.h.receive_data(one):
                self.on(event)
        with contextlib.suppress(OSError):
            self.flush()
        return True

    def on(self, event):
        a = self.answers.setdefault(getattr(event, "stream_id", 0) or 0, Answer())
        if isinstance(event, h2.events.InformationalResponseReceived):
            a.interim.append(dict(event.headers))
        elif isinstance(event, h2.events.ResponseReceived):
            a.fields = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            a.body += event.data
            if self.auto and event.flow_controlled_length:
                with contextlib.suppress(h2.exceptions.ProtocolError):
                    self.h.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            a.trailers = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            a.ended = True
        elif isinstance(event, h2.events.StreamReset):
            a.reset = int(event.error_code)
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self.settings.update({int(k): v.new_value for k, v in event.changed_settings.items()})

    def until(self, what, done, seconds=10):
        end = time.monotonic() + seconds
        while not done():
            if self.closed or time.monotonic() > end:
                raise AssertionError(f"{'closed' if self.closed else 'timed out'} waiting for {what}; goaway {self.goaway}")
            self.receive(0.1)

    def answer(self, stream, seconds=10):
        self.until(f"stream {stream}", lambda: self.answers[stream].done, seconds)
        return self.answers[stream]

    def ask(self, method, path, **kw):
        return self.answer(self.headers(method, path, **kw))

    def until_closed(self, seconds=10):
        end = time.monotonic() + seconds
        while not self.closed:
            if time.monotonic() > end:
                raise AssertionError("the connection stays open")
            self.receive(0.1)
