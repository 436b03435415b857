"""A client without proxy support, in the sandbox network of an egress harness: sockets made there, a DNS client of its own."""
import contextlib
import ctypes
import os
import socket
import ssl
import struct
import threading

from harness import check, wait_for
from origins import read_all

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
A, AAAA, NXDOMAIN = 1, 28, 3


def question(name, qtype=A, qid=0x1234, flags=0x0100, qclass=1):
    labels = b"".join(bytes([len(p)]) + p.encode() for p in name.split("."))
    return struct.pack("!6H", qid, flags, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", qtype, qclass)


class Answer:
    """Strictly what a name server may say here: one question, at most one record."""

    def __init__(self, data, asked):
        qid, flags, self.questions, self.records, authorities, additionals = struct.unpack("!6H", data[:12])
        check(qid == struct.unpack("!H", asked[:2])[0] and flags & 0x8000 and authorities == 0, f"header {data[:12]!r}")
        self.rcode, self.address, self.ttl = flags & 15, None, None
        if self.questions:
            check(data[12:len(asked)] == asked[12:], f"question {data[12:]!r}")
        if self.records:
            name, qtype, qclass, self.ttl, n = struct.unpack("!HHHIH", data[len(asked):len(asked) + 12])
            raw = data[len(asked) + 12:]
            check((name, qclass, n) == (0xc00c, 1, len(raw)), f"record {data[len(asked):]!r}")
            self.address = socket.inet_ntop(socket.AF_INET6 if qtype == AAAA else socket.AF_INET, raw)


class Direct:
    def __init__(self, egress):
        self.egress = egress
        directory = wait_for("the namespace", lambda: egress.find("NAMESPACE ")).split()[1]
        self.path = f"{directory}/ns/net"

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
        """A socket belongs to the namespace it was made in, whoever uses it."""
        out = []

        def make():
            fd = os.open(self.path, os.O_RDONLY)
            check(libc.setns(fd, CLONE_NEWNET) == 0, f"setns: {os.strerror(ctypes.get_errno())}")
            os.close(fd)
            out.append(socket.socket(family, kind, protocol))
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        out[0].settimeout(20)
        return out[0]

    def family(self, address):
        return socket.AF_INET6 if ":" in address else socket.AF_INET

    def dial(self, address, port):
        s = self.socket(self.family(address))
        with contextlib.suppress(ConnectionResetError):  # accepted and refused before this end looked
            s.connect((address, port))
        with contextlib.suppress(OSError):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def exchange(self, message, server="10.200.0.1"):
        """One datagram there and back; None when nothing comes."""
        with self.socket(self.family(server), socket.SOCK_DGRAM) as s:
            s.connect((server, 53))  # an answer from another address would not arrive
            s.settimeout(2)
            s.send(message)
            try:
                return s.recv(65536)
            except TimeoutError:
                return None

    def ask(self, name, qtype=A, server="10.200.0.1", **kw):
        asked = question(name, qtype, **kw)
        data = self.exchange(asked, server)
        check(data is not None, f"no answer for {name} from {server}")
        return Answer(data, asked)

    def resolve(self, name, qtype=A):
        return self.ask(name, qtype).address

    def open(self, name, port, qtype=A):
        """Resolves and connects, as programs do. None when the name does not exist."""
        address = self.resolve(name, qtype)
        return self.dial(address, port) if address else None

    def tls(self, name, port=443, cafile=None, alpn=("http/1.1",), sni=None, qtype=A):
        context = ssl.create_default_context(cafile=str(cafile or self.egress.ca_dir / "openshell-ca.pem"))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        context.check_hostname = sni is None
        return context.wrap_socket(self.open(name, port, qtype), server_hostname=sni or name)

    def refused(self, s, data=b"x"):
        """The connection ends without a byte."""
        try:
            s.sendall(data)
            return read_all(s) == b""
        except ConnectionError:
            return True
        finally:
            s.close()
