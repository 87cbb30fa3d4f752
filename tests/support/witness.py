# SPDX-License-Identifier: Apache-2.0
"""A witness (c2sp.org/tlog-witness) that knows nothing of certsync's code, and that can be told to lie.

    with Witness(directory, "w1.example", {origin: checkpoint_key}) as w:
        w.url, w.vkey
        w.lie = "garbage"        # one of LIES; None: honest
        w.stop(); w.start()      # away, and back with what its file remembers

It checks consistency proofs by RFC 9162 section 2.1.4.2, and keeps what it cosigned in a file.
"""
import base64
import hashlib
import json
import os
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

LIES = ("garbage", "nothing", "another key", "another text", "old time", "huge", "endless", "redirect", "no size", "sizes", "status")
DASH = "\u2014 "


def raw(key):
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(name, kind, public):
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def vkey(name, kind, public):
    return f"{name}+{key_id(name, kind, public).hex()}+{base64.b64encode(bytes([kind]) + public).decode()}"


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def consistent(first, first_root, second, second_root, path):
    """RFC 9162 section 2.1.4.2."""
    if first == 0:
        return not path
    if first == second:
        return not path and first_root == second_root
    if first & (first - 1) == 0:
        path = [first_root, *path]
    if not path:
        return False
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node(c, fr), node(c, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == first_root and sr == second_root


class Refusal(Exception):
    def __init__(self, status, body="", content_type="text/plain"):
        super().__init__(status)
        self.status, self.body, self.content_type = status, body, content_type


class Witness:
    def __init__(self, directory, name, origins, tls=None):
        """origins: {origin: the log's verifier key}; tls: files of its certificate and key."""
        self.tls = tls
        self.name, self.origins, self.file = name, origins, directory / f"{name.replace('/', '_')}.json"
        self.key, self.other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self.vkey = vkey(name, 4, raw(self.key))
        self.lie, self.asked, self.port, self.server = None, 0, 0, None
        self.lock, self.ended = threading.Lock(), threading.Event()

    def start(self):
        witness = self
        self.ended.clear()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):  # noqa: N802, the name that the library wants
                witness.answer(self)

            def log_message(self, *_):
                pass
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/witness"
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self):
        self.ended.set()
        if self.server:
            self.server.shutdown()
            self.server.server_close()
        self.server = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # --- what it remembers

    def known(self):
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    def remember(self, origin, size, root):
        at = self.known()
        at[origin] = {"size": size, "root": base64.b64encode(root).decode()}
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(at))
        os.replace(part, self.file)

    # --- answers

    def line(self, text, key=None, at=None):
        key, at = key or self.key, int(time.time()) if at is None else at
        signature = key.sign(f"cosignature/v1\ntime {at}\n{text}".encode())
        blob = key_id(self.name, 4, raw(self.key)) + at.to_bytes(8, "big") + signature
        return f"{DASH}{self.name} {base64.b64encode(blob).decode()}\n"

    def judge(self, body):
        """The cosignature; or a Refusal."""
        head, text, lines = body.split("\n\n", 2)
        old, *path = head.split("\n")
        if not old.startswith("old ") or len(path) > 63:
            raise Refusal(400)
        text += "\n"
        origin, size, root = text.split("\n")[:3]
        old, size, root = int(old[4:]), int(size), base64.b64decode(root)
        if origin not in self.origins:
            raise Refusal(404)
        name, _, encoded = self.origins[origin].split("+", 2)
        public, signed = base64.b64decode(encoded)[1:], False
        for line in lines.splitlines():
            if line.startswith(f"{DASH}{name} "):
                try:
                    Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(line.split(" ")[2])[4:], text.encode())
                    signed = True
                except InvalidSignature:
                    pass
        if not signed:
            raise Refusal(403)
        if old > size:
            raise Refusal(400)
        with self.lock:
            at = self.known().get(origin, {"size": 0, "root": ""})
            if at["size"] != old:
                raise Refusal(409, f"{at['size']}\n", "text/x.tlog.size")
            if old == size and old > 0 and base64.b64decode(at["root"]) != root:
                raise Refusal(409, f"{at['size']}\n", "text/x.tlog.size")
            if not consistent(old, base64.b64decode(at["root"]), size, root, [base64.b64decode(h) for h in path]):
                raise Refusal(422)
            self.remember(origin, size, root)
        return text

    def answer(self, request):
        if self.ended.is_set():  # a connection from before the end
            request.close_connection = True
            return
        self.asked += 1
        try:
            assert request.path == "/witness/add-checkpoint"
            body = request.rfile.read(int(request.headers["Content-Length"])).decode()
            if self.lie:
                self.mislead(request, body)
                return
            self.send(request, 200, self.line(self.judge(body)))
        except Refusal as e:
            self.send(request, e.status, e.body, e.content_type)
        except (ConnectionError, TimeoutError):
            pass

    @staticmethod
    def send(request, status, body, content_type="text/plain", **headers):
        data = body if isinstance(body, bytes) else body.encode()
        request.send_response(status)
        request.send_header("Content-Type", content_type)
        request.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(data)

    def mislead(self, request, body):
        text = body.split("\n\n", 2)[1] + "\n"
        if self.lie == "garbage":
            self.send(request, 200, bytes(range(256)))
        elif self.lie == "nothing":
            self.send(request, 200, "")
        elif self.lie == "another key":
            self.send(request, 200, self.line(text, key=self.other))
        elif self.lie == "another text":
            self.send(request, 200, self.line(text.replace("\n", "\n9", 1)))
        elif self.lie == "old time":
            self.send(request, 200, self.line(text, at=int(time.time()) - 86400))
        elif self.lie == "huge":
            self.send(request, 200, self.line(text) + DASH + "x y\n" * 100000)
        elif self.lie == "endless":
            request.send_response(200)
            request.end_headers()
            while not self.ended.wait(0.1):
                request.wfile.write(b"\xe2")
        elif self.lie == "redirect":
            self.send(request, 307, self.line(text), Location=f"http://127.0.0.1:{self.port}/elsewhere")
        elif self.lie == "no size":
            self.send(request, 409, "many\n")
        elif self.lie == "sizes":
            self.send(request, 409, f"{1 + self.asked % 2}\n", "text/x.tlog.size")
        elif self.lie == "status":
            self.send(request, 204, "")
        else:
            raise ValueError(self.lie)
