"""Registries of one good package each, over TLS, for pip and npm. `seen` holds method and path of every request; what they
say of other packages is that these exist, too."""
import base64
import gzip
import hashlib
import http.server
import io
import json
import ssl
import tarfile
import threading
import zipfile


class Registry:
    def __init__(self, address, port, cert, key):
        self.seen, self.files = [], self.content(f"https://{self.host}:{port}")
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                self.rfile.read(int(self.headers.get("content-length") or 0))
                path = self.path.split("?")[0]
                outer.seen.append(f"{self.command} {path}")
                kind, body = outer.files.get(path, ("text/plain", None))
                self.send_response(200 if body is not None else 404)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            do_GET = do_PUT = do_POST = answer

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        server = Server((address, port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()


class PythonIndex(Registry):
    host = "pip.test"

    def content(self, base):
        files = {}
        for name in ("good", "forbidden"):
            wheel, info = io.BytesIO(), f"{name}-1.0.dist-info"
            with zipfile.ZipFile(wheel, "w") as z:
                z.writestr(f"{name}.py", f'WHAT = "the {name} one"\n')
                z.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
                z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
                z.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
            data = wheel.getvalue()
            file = f"{name}-1.0-py3-none-any.whl"
            page = f'<html><body><a href="/files/{file}#sha256={hashlib.sha256(data).hexdigest()}">{file}</a></body></html>'
            files[f"/simple/{name}/"] = ("text/html", page.encode())
            files[f"/files/{file}"] = ("application/octet-stream", data)
        return files


class NpmRegistry(Registry):
    host = "npm.test"

    def content(self, base):
        files = {}
        for name in ("good", "forbidden"):
            raw = io.BytesIO()
            with tarfile.open(fileobj=raw, mode="w") as t:
                for path, text in (("package.json", json.dumps({"name": name, "version": "1.0.0", "main": "index.js"})),
                                   ("index.js", f"module.exports = 'the {name} one';\n")):
                    entry = tarfile.TarInfo(f"package/{path}")
                    entry.size = len(text)
                    t.addfile(entry, io.BytesIO(text.encode()))
            data = gzip.compress(raw.getvalue())
            dist = {"tarball": f"{base}/{name}/-/{name}-1.0.0.tgz", "shasum": hashlib.sha1(data).hexdigest(),
                    "integrity": "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()}
            about = {"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {"name": name, "version": "1.0.0", "dist": dist}}}
            files[f"/{name}"] = ("application/json", json.dumps(about).encode())
            files[f"/{name}/-/{name}-1.0.0.tgz"] = ("application/octet-stream", data)
        return files
