# SPDX-License-Identifier: Apache-2.0
"""A receiver of webhooks on a loopback port: keeps each request that it answers, and answers as it is told.

    with Receiver() as r:
        r.url                     # http://127.0.0.1:PORT/hook, or https:// with tls=(certificate, key)
        r.behaviour = 503         # or a function of (request, body) that answers itself and returns None, or a status
        r.taken                   # [(headers, body)] that it answered with 2xx
"""
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    def __init__(self, tls=None):
        self.tls, self.port, self.server = tls, 0, None
        self.taken, self.asked, self.times, self.behaviour = [], 0, [], 204
        self.lock = threading.Lock()

    def start(self):
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):  # noqa: N802, the name that the library wants
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.answer(self, body)

            def do_GET(self):  # noqa: N802: whoever follows a redirect may come with it
                receiver.answer(self, b"")

            def log_message(self, *_):
                pass
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/hook?token=a-secret-of-the-url"

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
        self.server = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def answer(self, request, body):
        if not self.server:  # a connection from before the end
            request.close_connection = True
            return
        with self.lock:
            self.asked += 1
            self.times.append(time.monotonic())
            behaviour = self.behaviour
        try:
            status = behaviour(request, body) if callable(behaviour) else behaviour
            if status is None:
                return
            if 200 <= status < 300:
                with self.lock:
                    self.taken.append((dict(request.headers), body))
            request.send_response(status)
            request.send_header("Content-Length", "0")
            request.end_headers()
        except (ConnectionError, TimeoutError):
            pass

    # --- what came

    def events(self):
        with self.lock:
            return [json.loads(body) for _, body in self.taken]

    def ids(self):
        return [e["id"] for e in self.events()]
