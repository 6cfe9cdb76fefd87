"""A receiver on Python's own ssl and threads: one JSON line per request on standard output, the port first. Ends with standard input."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WANTED = json.loads(sys.argv[1])
LOCK = threading.Lock()
NUMBERS = itertools.count(1)


def say(**line: object) -> None:
    with LOCK:
        print(json.dumps(line), flush=True)


def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(WANTED["pem"])
    context.load_verify_locations(WANTED["ca"])
    context.verify_mode = ssl.CERT_REQUIRED
    if WANTED["pinned"]:  # then "ca" is that one leaf
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[WANTED["version"]]
    context.minimum_version = context.maximum_version = version
    return context


CONTEXT = tls()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    request: ssl.SSLSocket

    def setup(self) -> None:
        # Here, on the connection's own thread: a slow handshake keeps nobody else waiting.
        self.request = CONTEXT.wrap_socket(self.request, server_side=True)
        self.number = next(NUMBERS)
        super().setup()

    def finish(self) -> None:
        super().finish()
        with contextlib.suppress(OSError):
            self.request.unwrap()  # a session that ended without a farewell is not resumed

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        shown = self.request.getpeercert(binary_form=True)
        say(
            connection=self.number,
            resumed=bool(self.request.session_reused),
            certificate=base64.b64encode(shown or b"").decode(),
            authorization=self.headers.get("Authorization", ""),
            path=self.path,
            status=200,
        )
        challenge = self.headers.get("X-AccessGrid-Webhook-Challenge")
        body = json.dumps({"challenge": challenge} if challenge else {"received": True}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if not WANTED["keepAlive"]:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        say(refused=str(sys.exc_info()[1]))


server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
say(port=server.server_port)
sys.stdin.read()
